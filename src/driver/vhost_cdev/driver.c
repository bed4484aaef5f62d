// SPDX-License-Identifier: BSD-3-Clause
/* Bind, unbind, and who may open. Who attacks: local users, by connecting (base/unix.h). */
#include "driver/vhost_cdev/cdev.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define RETRY_NS 1000000000ull

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

static void accept_ready(struct vdpa_loop_fd *lfd, uint32_t revents);

static void resume(struct cdev *cdev)
{
	if (cdev->listen.fd < 0 || cdev->listen_lfd.loop)
		return;
	vdpa_loop_fd_add(vdpa_ctx_control(cdev->vdev->ctx), &cdev->listen_lfd, cdev->listen.fd,
			 EPOLLIN, accept_ready);
}

static void retry(struct vdpa_loop_timer *timer)
{
	resume(vdpa_container_of(timer, struct cdev, retry));
}

/* Not now, not often: without free descriptors the listener would stay readable. */
static void accept_failed(struct cdev *cdev, int err)
{
	vdpa_log_limited(vdpa_ctx_log(cdev->vdev->ctx), &cdev->limit, VDPA_LOG_ERR,
			 cdev->vdev->name, "vhost-vdpa: cannot take a connection: %s",
			 strerror(err));
	vdpa_loop_fd_del(&cdev->listen_lfd);
	vdpa_loop_timer_set(vdpa_ctx_control(cdev->vdev->ctx), &cdev->retry,
			    vdpa_clock_ns() + RETRY_NS, retry);
}

static void accept_ready(struct vdpa_loop_fd *lfd, uint32_t revents)
{
	struct cdev *cdev = vdpa_container_of(lfd, struct cdev, listen_lfd);
	int fd, err;

	/* The one before closes: open(2) waits for that. */
	if (cdev->session && cdev_session_ends(cdev->session)) {
		vdpa_loop_fd_del(lfd);
		return;
	}
	fd = accept4(lfd->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0) {
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			accept_failed(cdev, errno);
		return;
	}
	if (cdev->session) {
		cdev->busy++;
		cdev_refuse(fd, -EBUSY);
		return;
	}
	err = cdev_session_new(cdev, fd);
	if (err)
		accept_failed(cdev, -err);
}

static void cdev_free(struct cdev *cdev)
{
	vdpa_loop_timer_cancel(&cdev->retry);
	vdpa_loop_fd_del(&cdev->listen_lfd);
	vdpa_unix_close(&cdev->listen);
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
		resume(cdev);
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
	int ret = vdpa_unix_listen(&cdev->listen, path, SOCK_SEQPACKET, attrs, err);

	if (ret)
		return ret;
	ret = vdpa_loop_fd_add(vdpa_ctx_control(cdev->vdev->ctx), &cdev->listen_lfd,
			       cdev->listen.fd, EPOLLIN, accept_ready);
	if (ret)
		return vdpa_error_set(err, -ret, cdev->vdev->name, "%s: %s", path, strerror(-ret));
	if (!vdpa_attr_bool(attrs, "chardev", false))
		return 0;
	chardev_name(cdev, name);
	config = (struct cdev_cuse_config){.name = name,
					   .socket = cdev->listen.path,
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
	cdev->listen.fd = -1;
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
	vdpa_loop_timer_cancel(&cdev->retry);
	vdpa_loop_fd_del(&cdev->listen_lfd);
	vdpa_unix_close(&cdev->listen);
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
	emit(arg, "path", cdev->listen.path ? cdev->listen.path : "");
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
	{.name = "socket_mode",
	 .type = VDPA_ATTR_STRING,
	 .help = "permissions of the socket file, octal"},
	{.name = "socket_owner",
	 .type = VDPA_ATTR_STRING,
	 .help = "owner of the socket file, USER, USER:GROUP or :GROUP"},
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
