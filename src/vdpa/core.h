/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inside of the bus, for src/vdpa alone.
 *
 * Everything here belongs to the control thread but three things: a device's reference count
 * (atomic), its lock with what the parent keeps behind it (the config wrappers, any thread), and
 * the release of a device, which is sent to the control thread when the last reference is dropped
 * elsewhere.
 */
#ifndef VDPA_CORE_H
#define VDPA_CORE_H

#include <pthread.h>
#include <uvdpa/vdpa.h>
#include "base/list.h"
#include "base/ref.h"
#include "base/walk.h"
#include "vdpa/ids.h"

/* A dev_add that is under way, by name: registration finds it. */
struct vdpa_adding {
	struct vdpa_mgmt_dev *mdev;
	const char *name;
	struct vdpa_attr *attrs; /* for the device; NULL once taken */
	struct vdpa_adding *outer;
};

/* Names are looked up several times per command, and there may be thousands. */
#define VDPA_NAME_BUCKETS 256

struct vdpa_ctx {
	struct vdpa_log log;
	struct vdpa_loop_group *loops;
	struct list devices;		      /* registered, by core->node, in that order */
	struct list names[VDPA_NAME_BUCKETS]; /* the same, by core->name_node */
	unsigned alive; /* devices allocated and not yet released, and others' holds */
	struct vdpa_ids ids;
	struct list drivers;  /* struct vdpa_driver_entry */
	struct list mgmtdevs; /* struct vdpa_mgmt_core */
	struct vdpa_subscriber *subscribers;
	struct walk *walks;
	struct vdpa_adding *adding;
	bool shutting_down;
	struct vdpa_done shutdown_done;
	struct list data; /* struct vdpa_ctx_datum */
};

/* What a floor above keeps for the context. */
struct vdpa_ctx_datum {
	struct list node;
	const void *key;
	void *data;
	void (*free)(void *data);
};

struct vdpa_driver_entry {
	struct list node;
	const struct vdpa_driver *drv;
	unsigned users; /* devices bound, and binds under way */
};

struct vdpa_mgmt_core {
	struct list node;
	struct vdpa_mgmt_dev *mdev;
	bool going; /* no more devices; @done when the last is gone */
	struct vdpa_done done;
};

/*
 * NEW -> LIVE (register) -> GOING (unregister, waits for the driver) -> GONE. Visible while LIVE
 * and GOING; can be bound while LIVE.
 */
enum vdpa_dev_state { VDPA_DEV_NEW, VDPA_DEV_LIVE, VDPA_DEV_GOING, VDPA_DEV_GONE };

/* UNBOUND -> BINDING (in probe) -> BOUND -> UNBINDING (in remove, asynchronous) -> UNBOUND. */
enum vdpa_bind_state { VDPA_UNBOUND, VDPA_BINDING, VDPA_BOUND, VDPA_UNBINDING };

struct vdpa_device_core {
	struct vdpa_device *vdev;
	void *alloc; /* the embedding structure */
	struct vdpa_ref ref;
	pthread_mutex_t lock; /* recursive: around every config op but kick_vq */
	bool suspended;	      /* under the lock */
	struct list node, name_node;
	enum vdpa_dev_state state;
	enum vdpa_bind_state bind;
	struct vdpa_driver_entry *drv; /* not NULL: BINDING, BOUND, UNBINDING */
	void *drvdata;
	struct vdpa_attr *bind_attrs; /* NULL: none */
	struct vdpa_attr *add_attrs;
	char *driver_override;
	struct vdpa_done unbind_done, unregister_done;
	struct vdpa_loop_msg release_msg;
	char name[VDPA_NAME_MAX + 1];
	char *parent, *dma_device;
};

static inline void vdpa_lock(struct vdpa_device *vdev)
{
	pthread_mutex_lock(&vdev->core->lock);
}

static inline void vdpa_unlock(struct vdpa_device *vdev)
{
	pthread_mutex_unlock(&vdev->core->lock);
}

/*
 * The same around an op that takes a completion: that may come before the op returns, and whoever
 * it tells may end the device on the spot.
 */
static inline void vdpa_enter(struct vdpa_device *vdev)
{
	vdpa_lock(vdpa_get_device(vdev));
}

static inline void vdpa_leave(struct vdpa_device *vdev)
{
	vdpa_unlock(vdev);
	vdpa_put_device(vdev);
}

/* validate.c */
int vdpa_validate_params(const struct vdpa_alloc_params *params, struct vdpa_error *err);
int vdpa_validate_registration(struct vdpa_device *vdev, uint32_t nvqs, struct vdpa_error *err);

/* bind.c */
/** The device became visible: offer it to the drivers that take devices by themselves. */
void vdpa_device_attach(struct vdpa_device *vdev);
/** A driver was registered: offer it the devices that are there. */
void vdpa_driver_attach(struct vdpa_ctx *ctx, struct vdpa_driver_entry *entry);

/* device.c */
/** The driver has let go of a device that is to be unregistered. */
void vdpa_unregister_finish(struct vdpa_device *vdev);

/* driver.c */
struct vdpa_driver_entry *vdpa_driver_entry_find(struct vdpa_ctx *ctx, const char *name);

/* mgmt.c */
/** The device is being registered: take what a dev_add under way has for it. */
void vdpa_mgmt_adopt(struct vdpa_device *vdev);
/** @vdev has left the bus, and leaves its management device. What to call when that was the last it
 * waited for. */
struct vdpa_done vdpa_mgmt_device_gone(struct vdpa_device *vdev);

/* mgmt_check.c */
int vdpa_mgmt_check_add(const struct vdpa_mgmt_dev *mdev, const char *name,
			const struct vdpa_dev_set_config *config, struct vdpa_error *err);
/* Is @key everybody's, or of the management device itself? Others are a backend's. */
bool vdpa_mgmt_own_attr(const struct vdpa_mgmt_dev *mdev, const char *key);
int vdpa_mgmt_check_set(struct vdpa_device *vdev, const struct vdpa_dev_set_config *config,
			struct vdpa_error *err);
/** "dev/NAME", for errors. */
struct vdpa_object_name {
	char s[VDPA_NAME_MAX + 8];
};
struct vdpa_object_name vdpa_dev_object(const char *name);

#endif
