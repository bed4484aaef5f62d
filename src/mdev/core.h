/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inside of the core of mediated devices, for src/mdev alone. Everything belongs to the control
 * thread. It knows classes by their numbers only: neither VFIO nor virtio is named here.
 */
#ifndef MDEV_CORE_H
#define MDEV_CORE_H

#include <uvdpa/mdev.h>
#include "base/ref.h"
#include "base/walk.h"

/* What a context has of mediated devices. */
struct mdev_state {
	struct vdpa_ctx *ctx;
	struct list buses, drivers, parents; /* entries below */
	struct list devices;		     /* visible, by core->node */
	struct mdev_subscriber *subscribers;
	struct walk *walks;
	bool shutting_down;
	struct vdpa_done shutdown_done;
};

struct mdev_bus_entry {
	struct list node;
	const struct mdev_bus *bus;
};

struct mdev_driver_entry {
	struct list node;
	const struct mdev_driver *drv;
	unsigned users; /* devices bound, and what must not lose it */
};

struct mdev_parent_entry {
	struct list node;
	struct mdev_parent *parent;
	unsigned devices; /* that are not gone yet, those being created too */
	bool going;
	struct vdpa_done done;
};

/* NEW (in create) -> LIVE -> GOING (the driver, then the parent lets go) -> GONE. */
enum mdev_dev_state { MDEV_NEW, MDEV_LIVE, MDEV_GOING, MDEV_GONE };
enum mdev_bind_state { MDEV_UNBOUND, MDEV_BINDING, MDEV_BOUND, MDEV_UNBINDING };

struct mdev_core {
	struct mdev_device *mdev;
	struct mdev_state *state_of;
	void *alloc; /* the embedding structure */
	struct vdpa_ref ref;
	struct list node;
	char uuid[MDEV_UUID_BYTES];
	enum mdev_dev_state state;
	uint16_t class_id;
	const void *class_ops;
	struct vdpa_attr *attrs; /* NULL: none */
	enum mdev_bind_state bind;
	struct mdev_driver_entry *drv; /* not NULL: BINDING, BOUND, UNBINDING */
	void *drvdata;
	struct vdpa_attr *bind_attrs;
	struct vdpa_done unbind_done, remove_done;
};

struct mdev_object_name {
	char s[MDEV_UUID_BYTES + 8];
};
/* "mdev/UUID", for errors. */
struct mdev_object_name mdev_object(const char *uuid);

/* Member of the parent's ops, or NULL: an older parent does not have those at the end. */
#define mdev_op(parent, member)                                                                    \
	(offsetof(struct mdev_parent_ops, member) + sizeof((parent)->ops->member) <=               \
			 (parent)->ops->size                                                       \
		 ? (parent)->ops->member                                                           \
		 : NULL)

/* state.c */
/* NULL: without memory; or, not asked to @make it, there is none. */
struct mdev_state *mdev_state(struct vdpa_ctx *ctx, bool make);
bool mdev_name_valid(const char *name);
void mdev_notify_device(struct mdev_device *mdev, enum mdev_event_type type, const char *detail);
void mdev_notify_parent(struct mdev_state *st, enum mdev_event_type type,
			struct mdev_parent *parent);

/* parent.c */
struct mdev_parent_entry *mdev_parent_entry(const struct mdev_parent *parent);
/* One of its devices has gone. What to call now. */
struct vdpa_done mdev_parent_left(struct mdev_parent *parent);

/* bind.c */
void mdev_attach(struct mdev_device *mdev);
/* Its driver lets go. It is BOUND. */
void mdev_unbind_start(struct mdev_device *mdev, const struct vdpa_done *done);

/* device.c */
/* The driver has let go of a device that is to go. */
void mdev_remove_go_on(struct mdev_device *mdev);

#endif
