/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Software DSAs as a host's administrator sees them: a device with engines, groups and work queues,
 * configured in the words of accel-config. A queue of type "mdev" that is enabled can be given to a
 * mediated device: a guest then sees a DSA with that queue. Those of other types are for code in
 * this process: uvdpa/dsa_wq.h.
 *
 *	queue	disabled --enable--> enabled --a mediated device takes it--> locked
 *		enabled --disable--> leaving, while somebody has it open --> disabled
 *	device	disabled --enable--> enabled; its groups' engines run then
 *
 * Size and group of a queue, and an engine's group, are changed while the device is disabled; all
 * else of a queue while the queue is. A queue that is locked cannot be disabled, nor its device.
 *
 * Paths are those of accel-config: dsa0, dsa0/wq0.1, dsa0/engine0.2, dsa0/group0.0.
 *
 * Threads: the control thread, where another rule is not given.
 */
#ifndef DSA_DEV_DEV_H
#define DSA_DEV_DEV_H

#include <uvdpa/mdev.h>
#include <uvdpa/vdpa.h>

#include "dsa_dev/regs.h"
#include "ims/ims.h"

struct dsa_dev;

/* Attributes of a new device: engines, wqs, groups, wq_size, ims_slots, ir. */
extern const struct vdpa_attr_spec dsa_dev_spec[];
/* Those that can be changed: of a queue, an engine, a group, the device. */
extern const struct vdpa_attr_spec dsa_wq_spec[], dsa_engine_spec[], dsa_group_spec[],
	dsa_device_spec[];

/* @name: "dsa" and a number. 0; -EINVAL, -EEXIST, -ENOMEM with @err. */
int dsa_dev_add(struct vdpa_ctx *ctx, const char *name, const struct vdpa_attr *attrs,
		struct dsa_dev **out, struct vdpa_error *err);
/* -EBUSY: it is enabled. */
int dsa_dev_del(struct dsa_dev *dev, struct vdpa_error *err);
/* Disable it and delete it, as soon as no mediated device has a queue of it. */
void dsa_dev_drop(struct dsa_dev *dev);
struct dsa_dev *dsa_dev_find(struct vdpa_ctx *ctx, const char *name);
void dsa_dev_for_each(struct vdpa_ctx *ctx, bool (*fn)(void *arg, struct dsa_dev *dev), void *arg);
/* All devices go, after the mediated devices have; then @done. */
void dsa_shutdown(struct vdpa_ctx *ctx, const struct vdpa_done *done);

const char *dsa_dev_name(const struct dsa_dev *dev);
struct ims *dsa_dev_ims(const struct dsa_dev *dev);

/*
 * Change attributes of what @path names. All or none. -ENODEV (no such thing), -EINVAL, -ERANGE,
 * -EBUSY (its state does not allow it).
 */
int dsa_config(struct vdpa_ctx *ctx, const char *path, const struct vdpa_attr *attrs,
	       struct vdpa_error *err);
/*
 * Several changes of @dev, of which in the end all are kept, or none (@r is not 0, or its queues
 * have too many entries together). Between the two nothing else is done to it. NULL: no memory. May
 * be nested; the last that began ends first. 0, @r, or -ERANGE with @err.
 */
struct dsa_change;
struct dsa_change *dsa_dev_begin(struct dsa_dev *dev);
int dsa_dev_end(struct dsa_change *change, int r, struct vdpa_error *err);
/* A device or a queue. -EINVAL: how it is configured it cannot be; -EALREADY; -EBUSY; -ENODEV. */
int dsa_enable(struct vdpa_ctx *ctx, const char *path, struct vdpa_error *err);
/* @done: as it says; an error that is returned does not call it. */
int dsa_disable(struct vdpa_ctx *ctx, const char *path, const struct vdpa_done *done,
		struct vdpa_error *err);

/* One thing of a device, by its path: calls @emit for each of its attributes. */
typedef void (*dsa_emit_fn)(void *arg, const char *key, const char *value);
int dsa_show(struct vdpa_ctx *ctx, const char *path, dsa_emit_fn emit, void *arg);
/*
 * The driver of the queue that @path names: "user", "mdev", or its driver_name; NULL: it has no
 * type, or is no queue. Is it there?
 */
const char *dsa_wq_driver_name(struct vdpa_ctx *ctx, const char *path);
bool dsa_wq_driver_exists(struct vdpa_ctx *ctx, const char *name);
void dsa_wq_for_each_driver(struct vdpa_ctx *ctx,
			    void (*fn)(void *arg, const char *name, const char *help), void *arg);
/* How many of each there are. */
struct dsa_counts {
	unsigned engines, groups, wqs;
	bool enabled;
};
void dsa_dev_counts(const struct dsa_dev *dev, struct dsa_counts *out);

/* ---- mediated devices ---- */

struct dsa_vdev;

/* The virtual device of a mediated one; NULL: it is another parent's. */
struct dsa_vdev *dsa_mdev_vdev(struct mdev_device *mdev);
/*
 * What a host's driver would tell: "swerr", "revoke", "halt" (recovered by the guest's driver),
 * "flr" (a halt that a function level reset ends), "err" (the error interrupt of VFIO), "request"
 * (the device is wanted back). -EINVAL: none of these; -ENOTTY: no DSA.
 */
int dsa_mdev_inject(struct mdev_device *mdev, const char *what, struct vdpa_error *err);

#endif
