// SPDX-License-Identifier: BSD-3-Clause
/* Bind, unbind, and who may open. Who attacks: local users, by connecting (base/unix.h). */
#include "driver/vhost_cdev/cdev.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char cdevs_key;

/* ---- numbers ---- */

/* All of a context, by number. */
static struct list *cdevs(struct vdpa_ctx *ctx)
{
	struct list *all = vdpa_ctx_get_data(ctx, &cdevs_key);

	if (all)
		return all;
	all = malloc(sizeof(*all));
	if (!all)
		return NULL;
	list_init(all);
	if (vdpa_ctx_set_data(ctx, &cdevs_key, all, free)) {
		free(all);
		return NULL;
	}
	return all;
}

/* The smallest number that is free, as Linux does it. */
static int number(struct cdev *cdev)
{
	struct list *all = cdevs(cdev->vdev->ctx), *at;

	if (!all)
		return -ENOMEM;
	for (at = all->next; at != all; at = at->next) {
		if (vdpa_container_of(at, struct cdev, link)->index != cdev->index)
			break;
		cdev->index++;
	}
	list_add_tail(at, &cdev->link);
	return 0;
}

/* ---- connections ---- */

/* The one before closes: open(2) waits for that. */
static bool ready(struct vdpa_listener *listener)
{
	struct cdev *cdev = vdpa_container_of(listener, struct cdev, listen);

	return !cdev->session || !cdev_session_ends(cdev->session);
}

static int accepted(struct vdpa_listener *listener, int fd)
{
	struct cdev *cdev = vdpa_container_of(listener, struct cdev, listen);

	if (!cdev->session)
		return cdev_session_new(cdev, fd);
	cdev->busy++;
	cdev_refuse(fd, -EBUSY);
	return 0;
}

static void listen_init(struct cdev *cdev)
{
	cdev->listen = VDPA_LISTENER_INIT;
	cdev->listen.loop = vdpa_ctx_control(cdev->vdev->ctx);
	cdev->listen.log = vdpa_ctx_log(cdev->vdev->ctx);
	cdev->listen.object = cdev->vdev->name;
	cdev->listen.what = "vhost-vdpa";
	cdev->listen.ready = ready;
	cdev->listen.accepted = accepted;
}

static void cdev_free(struct cdev *cdev)
{
	vdpa_listener_close(&cdev->listen);
	if (cdev->link.next)
		list_del(&cdev->link);
	vhost_vdpa_free(cdev->v);
	free(cdev);
}

static void remove_finish(struct cdev *cdev)
{
	struct vdpa_done done = cdev->removed;

	vdpa_set_drvdata(cdev->vdev, NULL);
	cdev_free(cdev);
	vdpa_done_call(&done, 0);
}

void cdev_session_gone(struct cdev *cdev)
{
	if (cdev->removing)
		remove_finish(cdev);
	else
		vdpa_listener_resume(&cdev->listen);
}

/* ---- bind and unbind ---- */

static void chardev_name(const struct cdev *cdev, char name[CDEV_NAME_BYTES])
{
	snprintf(name, CDEV_NAME_BYTES, "vhost-vdpa-%u", cdev->index);
}

static int listen_begin(struct cdev *cdev, const struct vdpa_attr *attrs, struct vdpa_error *err)
{
	const char *path = vdpa_attr_get(attrs, "path");
	struct cdev_cuse_config config;
	char name[CDEV_NAME_BYTES];
	int ret = vdpa_listener_open(&cdev->listen, path, SOCK_SEQPACKET, attrs, err);

	if (ret || !vdpa_attr_bool(attrs, "chardev", false))
		return ret;
	chardev_name(cdev, name);
	config = (struct cdev_cuse_config){.name = name,
					   .socket = cdev->listen.sock.path,
					   .loop = vdpa_ctx_control(cdev->vdev->ctx),
					   .log = vdpa_ctx_log(cdev->vdev->ctx)};
	return cdev_cuse_start(&config, &cdev->cuse, err);
}

static int probe(struct vdpa_device *vdev, const struct vdpa_attr *attrs, struct vdpa_error *err)
{
	struct vhost_vdpa_params params = {.size = sizeof(params), .resolve = cdev_mem_resolve};
	struct cdev *cdev = calloc(1, sizeof(*cdev));
	int ret;

	if (!cdev)
		return vdpa_error_set(err, ENOMEM, vdev->name, "no memory");
	cdev->vdev = vdev;
	listen_init(cdev);
	cdev->limit = (struct vdpa_ratelimit)VDPA_RATELIMIT_INIT;
	params.arg = cdev;
	ret = vhost_vdpa_new(vdev, &params, &cdev->v);
	if (!ret)
		ret = number(cdev);
	if (ret)
		vdpa_error_set(err, -ret, vdev->name, "%s", strerror(-ret));
	else
		ret = listen_begin(cdev, attrs, err);
	if (ret)
		cdev_free(cdev);
	else
		vdpa_set_drvdata(vdev, cdev);
	return ret;
}

static void remove_session(void *arg, int result)
{
	struct cdev *cdev = arg;

	cdev->cuse = NULL;
	if (cdev->session)
		cdev_session_close(cdev->session);
	else
		remove_finish(cdev);
}

static void remove_dev(struct vdpa_device *vdev, const struct vdpa_done *done)
{
	struct cdev *cdev = vdpa_get_drvdata(vdev);

	cdev->removing = true;
	cdev->removed = *done;
	vdpa_listener_close(&cdev->listen);
	if (cdev->cuse)
		cdev_cuse_stop(cdev->cuse, &(struct vdpa_done){.fn = remove_session, .arg = cdev});
	else
		remove_session(cdev, 0);
}

static void show_number(vdpa_emit_fn emit, void *arg, const char *key, uint64_t value)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	emit(arg, key, text);
}

static void show(struct vdpa_device *vdev, vdpa_emit_fn emit, void *arg)
{
	const struct cdev *cdev = vdpa_get_drvdata(vdev);
	char text[CDEV_NAME_BYTES];

	if (!cdev)
		return;
	chardev_name(cdev, text);
	emit(arg, "chardev", text);
	emit(arg, "cuse", cdev->cuse ? "on" : "off");
	emit(arg, "path", cdev->listen.sock.path ? cdev->listen.sock.path : "");
	emit(arg, "open", cdev->session && cdev->session->open ? "yes" : "no");
	show_number(emit, arg, "opens", cdev->opens);
	show_number(emit, arg, "opens_refused", cdev->busy);
	show_number(emit, arg, "ioctls", cdev->ioctls);
	show_number(emit, arg, "messages", cdev->writes);
	show_number(emit, arg, "refused", cdev->refused);
}

static const struct vdpa_attr_spec attrs[] = {
	{.name = "path",
	 .type = VDPA_ATTR_PATH,
	 .required = true,
	 .help = "socket that stands for the character device"},
	VDPA_UNIX_ATTR_SPECS,
	{.name = "chardev",
	 .type = VDPA_ATTR_BOOL,
	 .help = "also as the character device /dev/vhost-vdpa-N, by CUSE (default off)"},
	{.name = NULL},
};

static const struct vdpa_driver driver = {
	.name = "vhost-vdpa",
	.help = "serve a device as /dev/vhost-vdpa-N",
	.attrs = attrs,
	.probe = probe,
	.remove = remove_dev,
	.show = show,
};

const struct vdpa_driver *vhost_cdev_driver(void)
{
	return &driver;
}
