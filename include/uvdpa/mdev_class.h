/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The classes of mediated devices that are built in, and their buses and drivers.
 *
 * class   bus           driver        what it does
 * virtio  mdev_virtio   virtio_mdev   puts the device on the vDPA bus
 * vhost   mdev_virtio   (reserved)
 * vfio    mdev          vfio_mdev     serves the device to a VMM over vfio-user
 *
 * Threads: the control thread, unless something else is said.
 *
 * Since 0.1.
 */
#ifndef UVDPA_MDEV_CLASS_H
#define UVDPA_MDEV_CLASS_H

#include <uvdpa/mdev.h>
#include <uvdpa/vfio_user.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- virtio ---- */

/**
 * A device of class virtio is a vDPA device: what it can do is its vdpa_config_ops. This is only
 * how it comes to be, each time that virtio_mdev takes the mediated device, and how it goes.
 */
struct mdev_virtio_ops {
	size_t size; /**< sizeof(struct mdev_virtio_ops) */
	/**
	 * M. Allocate and register a vDPA device called @name: vdpa_alloc_device() and
	 * vdpa_register_device(), or those of the kit in soft.h. 0 or -errno with @err.
	 */
	int (*add)(struct mdev_device *mdev, const char *name, struct vdpa_device **out,
		   struct vdpa_error *err);
	/** O. Unregister it, then @done (copied). NULL: vdpa_unregister_device(). */
	int (*del)(struct mdev_device *mdev, struct vdpa_device *vdev,
		   const struct vdpa_done *done);
};

/** In create(): the device is of class virtio. Errors as mdev_set_class(). */
VDPA_API int mdev_set_virtio_ops(struct mdev_device *mdev, const struct mdev_virtio_ops *ops);
/** NULL: the device is of another class. */
VDPA_API const struct mdev_virtio_ops *mdev_get_virtio_ops(const struct mdev_device *mdev);
/** The vDPA device, called as the mediated one; NULL: virtio_mdev does not have it. */
VDPA_API struct vdpa_device *mdev_virtio_vdpa(const struct mdev_device *mdev);

/* ---- vfio ---- */

/**
 * A device of class vfio has regions, interrupts, memory of its user's, a reset and a migration
 * state: struct vfio_user_ops.
 */
struct mdev_vfio_ops {
	size_t size; /**< sizeof(struct mdev_vfio_ops) */
	/**
	 * M. Describe it: set flags, regions, irqs, ops, arg, dma_timeout_ns, dma_budget_ns of
	 * @config. What they point to lives as long as the device. path, name, attrs and log are
	 * the driver's. 0 or -errno with @err.
	 */
	int (*describe)(struct mdev_device *mdev, struct vfio_user_config *config,
			struct vdpa_error *err);
	/** O. The loop that its ops run on. NULL: the control loop. */
	struct vdpa_loop *(*loop)(struct mdev_device *mdev);
	/** O. @srv is there, for interrupts, until @close has called its @done. */
	void (*open)(struct mdev_device *mdev, struct vfio_user_server *srv);
	/** O. It is to go: use it no more, then @done (copied). The ops may still be called. */
	void (*close)(struct mdev_device *mdev, const struct vdpa_done *done);
};

/** In create(): the device is of class vfio. Errors as mdev_set_class(). */
VDPA_API int mdev_set_vfio_ops(struct mdev_device *mdev, const struct mdev_vfio_ops *ops);
VDPA_API const struct mdev_vfio_ops *mdev_get_vfio_ops(const struct mdev_device *mdev);
/**
 * Where vfio_mdev listens when it is not told a path: @folder/UUID.sock; so it takes devices by
 * itself. NULL: only when it is told a path. Copied. -ENOMEM.
 */
VDPA_API int mdev_vfio_set_folder(struct vdpa_ctx *ctx, const char *folder);

/** Register the buses and drivers of the classes that are built in. vdpa_register_builtin() does
 * so. 0 or -errno. */
VDPA_API int mdev_register_classes(struct vdpa_ctx *ctx);

#ifdef __cplusplus
}
#endif
#endif
