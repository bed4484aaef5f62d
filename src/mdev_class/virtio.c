// SPDX-License-Identifier: BSD-3-Clause
/*
 * Class virtio: the driver has the device's parent put a vDPA device on that bus, called as the
 * mediated one. From there every bus driver takes it; unbinding waits until they gave it back.
 */
#include <errno.h>
#include <stdlib.h>
#include "mdev_class/class.h"

int mdev_set_virtio_ops(struct mdev_device *mdev, const struct mdev_virtio_ops *ops)
{
	const size_t least = offsetof(struct mdev_virtio_ops, add) + sizeof(ops->add);

	return mdev_set_class(mdev, MDEV_CLASS_ID_VIRTIO,
			      ops && ops->size >= least && ops->add ? ops : NULL);
}

const struct mdev_virtio_ops *mdev_get_virtio_ops(const struct mdev_device *mdev)
{
	return mdev_class_ops(mdev, MDEV_CLASS_ID_VIRTIO);
}

/* What the driver has of a device. */
struct virtio_mdev {
	struct mdev_device *mdev;
	struct vdpa_device *vdev;
	struct vdpa_done done;
};

struct vdpa_device *mdev_virtio_vdpa(const struct mdev_device *mdev)
{
	const struct virtio_mdev *vm = mdev_get_drvdata(mdev);

	return mdev_device_driver(mdev) == &virtio_mdev_driver ? vm->vdev : NULL;
}

static void left(void *arg, int result)
{
	struct virtio_mdev *vm = arg;
	struct mdev_device *mdev = vm->mdev;
	struct vdpa_done done = vm->done;

	vdpa_put_device(vm->vdev);
	free(vm);
	vdpa_done_call(&done, result);
	mdev_put(mdev);
}

/* Take the vDPA device away: its driver lets go first. */
static void leave(struct virtio_mdev *vm, const struct vdpa_done *done)
{
	const struct mdev_virtio_ops *ops = mdev_get_virtio_ops(vm->mdev);
	const bool own = ops->size >= sizeof(*ops) && ops->del;
	const struct vdpa_done then = {.fn = left, .arg = vm};
	int r;

	mdev_get(vm->mdev);
	vm->done = done ? *done : (struct vdpa_done){0};
	r = own ? ops->del(vm->mdev, vm->vdev, &then) : vdpa_unregister_device(vm->vdev, &then);
	if (r)
		left(vm, r);
}

static int probe(struct mdev_device *mdev, const struct vdpa_attr *attrs, struct vdpa_error *err)
{
	struct virtio_mdev *vm = calloc(1, sizeof(*vm));
	int r;

	if (!vm)
		return -ENOMEM;
	vm->mdev = mdev;
	r = mdev_get_virtio_ops(mdev)->add(mdev, mdev->uuid, &vm->vdev, err);
	if (r) {
		free(vm);
		return r;
	}
	vdpa_get_device(vm->vdev);
	mdev_set_drvdata(mdev, vm);
	/* Without an id it is no virtio device (virtio 1.3, section 5). */
	if (vdpa_get_device_id(vm->vdev))
		return 0;
	leave(vm, NULL);
	return vdpa_error_set(err, ENODEV, NULL, "the device's virtio id is 0");
}

static void remove_device(struct mdev_device *mdev, const struct vdpa_done *done)
{
	leave(mdev_get_drvdata(mdev), done);
}

static void show(struct mdev_device *mdev, vdpa_emit_fn emit, void *arg)
{
	emit(arg, "vdpa", mdev_virtio_vdpa(mdev)->name);
}

const struct mdev_driver virtio_mdev_driver = {
	.name = "virtio_mdev",
	.help = "puts devices of class virtio on the vDPA bus, called by their UUID",
	.bus = "mdev_virtio",
	.id_table = (const uint16_t[]){MDEV_CLASS_ID_VIRTIO, 0},
	.probe = probe,
	.remove = remove_device,
	.show = show,
	.autoprobe = true,
};
