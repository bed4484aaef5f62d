// SPDX-License-Identifier: BSD-3-Clause
/* The buses of the classes that are built in. */
#include "mdev_class/class.h"
#include "uvdpa-config.h"

static const struct mdev_class virtio_classes[] = {
	{MDEV_CLASS_ID_VIRTIO, "virtio", "virtio devices: they come to the vDPA bus"},
	{MDEV_CLASS_ID_VHOST, "vhost", "reserved"},
	{0},
};
static const struct mdev_bus virtio_bus = {"mdev_virtio", virtio_classes};

static const struct mdev_class vfio_classes[] = {
	{MDEV_CLASS_ID_VFIO, "vfio", "whole devices, with regions and interrupts"},
	{0},
};
static const struct mdev_bus vfio_bus = {"mdev", vfio_classes};

int mdev_register_classes(struct vdpa_ctx *ctx)
{
	int r = mdev_register_bus(ctx, &vfio_bus);

	if (!r)
		r = mdev_register_bus(ctx, &virtio_bus);
	if (!r)
		r = mdev_register_driver(ctx, &virtio_mdev_driver);
#ifdef VDPA_HAVE_VFIO_USER
	if (!r)
		r = mdev_register_driver(ctx, &vfio_mdev_driver);
#endif
	return r;
}
