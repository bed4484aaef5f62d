// SPDX-License-Identifier: BSD-3-Clause
/*
 * Class vfio: the driver serves the device over vfio-user, to one VMM at a time, on a socket whose
 * path it was told, or in the context's folder for them. Who attacks is the VMM behind that socket,
 * and its guest: messages are checked in src/vfio_user, what is in them by the device.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/unix.h"
#include "mdev_class/class.h"

/* Under its address a context keeps the folder's name. */
static const char folder_key;

struct vfio_mdev {
	struct mdev_device *mdev;
	const struct mdev_vfio_ops *ops;
	struct vfio_user_server *srv;
	struct vdpa_done done;
	char path[PATH_MAX];
};

struct folder {
	char *path; /* NULL: none */
};

static void folder_free(void *data)
{
	struct folder *f = data;

	free(f->path);
	free(f);
}

static struct folder *folder_get(struct vdpa_ctx *ctx)
{
	struct folder *f = vdpa_ctx_get_data(ctx, &folder_key);

	if (f)
		return f;
	f = calloc(1, sizeof(*f));
	if (f && vdpa_ctx_set_data(ctx, &folder_key, f, folder_free)) {
		free(f);
		f = NULL;
	}
	return f;
}

int mdev_vfio_set_folder(struct vdpa_ctx *ctx, const char *folder)
{
	struct folder *f = folder_get(ctx);
	char *copy = folder ? strdup(folder) : NULL;

	if (!f || (folder && !copy)) {
		free(copy);
		return -ENOMEM;
	}
	free(f->path);
	f->path = copy;
	return 0;
}

#define HAS(ops, member)                                                                           \
	((ops)->size >= offsetof(struct mdev_vfio_ops, member) + sizeof((ops)->member) &&          \
	 (ops)->member)

int mdev_set_vfio_ops(struct mdev_device *mdev, const struct mdev_vfio_ops *ops)
{
	return mdev_set_class(mdev, MDEV_CLASS_ID_VFIO, ops && HAS(ops, describe) ? ops : NULL);
}

const struct mdev_vfio_ops *mdev_get_vfio_ops(const struct mdev_device *mdev)
{
	return mdev_class_ops(mdev, MDEV_CLASS_ID_VFIO);
}

/* ---- the driver ---- */

static int choose_path(struct vfio_mdev *vm, const struct vdpa_attr *attrs, struct vdpa_error *err)
{
	const struct folder *f = vdpa_ctx_get_data(vm->mdev->ctx, &folder_key);
	const char *path = vdpa_attr_get(attrs, "path");
	int len;

	if (!path && (!f || !f->path))
		return vdpa_error_set(err, EDESTADDRREQ, NULL,
				      "there is no folder for sockets: bind with path=FILE");
	if (path)
		len = snprintf(vm->path, sizeof(vm->path), "%s", path);
	else
		len = snprintf(vm->path, sizeof(vm->path), "%s/%s.sock", f->path, vm->mdev->uuid);
	if (len < 0 || (size_t)len >= sizeof(vm->path))
		return vdpa_error_set(err, ENAMETOOLONG, NULL, "the socket's path is too long");
	return 0;
}

static int serve(struct vfio_mdev *vm, const struct vdpa_attr *attrs, struct vdpa_error *err)
{
	struct vdpa_loop *loop = vdpa_ctx_control(vm->mdev->ctx);
	struct vfio_user_config config = {
		.size = sizeof(config),
		.arg = vm->mdev,
	};
	int r = choose_path(vm, attrs, err);

	if (!r)
		r = vm->ops->describe(vm->mdev, &config, err);
	if (r)
		return r;
	config.path = vm->path;
	config.name = vm->mdev->uuid;
	config.attrs = attrs;
	config.log = vdpa_ctx_log(vm->mdev->ctx);
	if (HAS(vm->ops, loop) && vm->ops->loop(vm->mdev))
		loop = vm->ops->loop(vm->mdev);
	return vfio_user_server_new(loop, &config, &vm->srv, err);
}

static int probe(struct mdev_device *mdev, const struct vdpa_attr *attrs, struct vdpa_error *err)
{
	struct vfio_mdev *vm = calloc(1, sizeof(*vm));
	int r;

	if (!vm)
		return -ENOMEM;
	vm->mdev = mdev;
	vm->ops = mdev_get_vfio_ops(mdev);
	r = serve(vm, attrs, err);
	if (r) {
		free(vm);
		return r;
	}
	mdev_set_drvdata(mdev, vm);
	if (HAS(vm->ops, open))
		vm->ops->open(mdev, vm->srv);
	return 0;
}

static void freed(void *arg, int result)
{
	struct vfio_mdev *vm = arg;
	struct vdpa_done done = vm->done;

	free(vm);
	vdpa_done_call(&done, result);
}

static void closed(void *arg, int result)
{
	struct vfio_mdev *vm = arg;
	const struct vdpa_done then = {.fn = freed, .arg = vm};

	vfio_user_server_free(vm->srv, &then);
}

static void remove_device(struct mdev_device *mdev, const struct vdpa_done *done)
{
	struct vfio_mdev *vm = mdev_get_drvdata(mdev);
	const struct vdpa_done then = {.fn = closed, .arg = vm};

	vm->done = *done;
	if (HAS(vm->ops, close))
		vm->ops->close(mdev, &then);
	else
		closed(vm, 0);
}

static void show(struct mdev_device *mdev, vdpa_emit_fn emit, void *arg)
{
	struct vfio_mdev *vm = mdev_get_drvdata(mdev);
	struct vfio_user_stats stats;
	char clients[24];

	vfio_user_server_stats(vm->srv, &stats);
	snprintf(clients, sizeof(clients), "%llu", (unsigned long long)stats.clients);
	emit(arg, "path", vm->path);
	emit(arg, "clients", clients);
}

static const struct vdpa_attr_spec attrs[] = {
	{.name = "path", .type = VDPA_ATTR_PATH, .help = "socket to listen on"},
	VDPA_UNIX_ATTR_SPECS,
	{0},
};

const struct mdev_driver vfio_mdev_driver = {
	.name = "vfio_mdev",
	.help = "serves devices of class vfio to a VMM, over vfio-user",
	.bus = "mdev",
	.id_table = (const uint16_t[]){MDEV_CLASS_ID_VFIO, 0},
	.attrs = attrs,
	.probe = probe,
	.remove = remove_device,
	.show = show,
	.autoprobe = true,
};
