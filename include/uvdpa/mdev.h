/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Mediated devices: a parent makes devices of its types on request, each with a UUID. What a device
 * is for is its class; the core knows the class's number only, and that a bus with this class has
 * drivers for it. The classes that are built in are in mdev_class.h.
 *
 * Names and errors are those of Linux (Documentation/driver-api/vfio-mediated-device.rst).
 *
 * Threads: everything here runs on the context's control thread.
 *
 * Since 0.1.
 */
#ifndef UVDPA_MDEV_H
#define UVDPA_MDEV_H

#include <uvdpa/vdpa.h>

#ifdef __cplusplus
extern "C" {
#endif

struct mdev_device;
struct mdev_parent;

/** Numbers of classes (16 bits). A bus of one's own takes one from 0x100 on. */
enum mdev_class_id {
	MDEV_CLASS_ID_NONE = 0,
	MDEV_CLASS_ID_VIRTIO = 1,
	MDEV_CLASS_ID_VHOST = 2, /**< reserved: no device has it, no driver takes it */
	MDEV_CLASS_ID_VFIO = 3,
};

#define MDEV_UUID_BYTES 37 /**< of a UUID in text, with its end */

/* ---- buses and classes ---- */

struct mdev_class {
	uint16_t id; /**< 0 ends a table */
	const char *name;
	const char *help;
};

/** Classes whose devices meet their drivers here. */
struct mdev_bus {
	const char *name;		  /**< begins the MODALIAS */
	const struct mdev_class *classes; /**< each class is on one bus only */
};

/** @bus stays the caller's until the context ends. -EINVAL, -EEXIST (its name, or one of its
 * classes), -ENOMEM. */
VDPA_API int mdev_register_bus(struct vdpa_ctx *ctx, const struct mdev_bus *bus);
/** @fn returns false to stop. In order of registration; so are all that follow. */
VDPA_API void mdev_for_each_bus(struct vdpa_ctx *ctx,
				bool (*fn)(void *arg, const struct mdev_bus *bus), void *arg);
/** The bus with this class, and the class (@class may be NULL); or NULL. */
VDPA_API const struct mdev_bus *mdev_bus_of(struct vdpa_ctx *ctx, uint16_t id,
					    const struct mdev_class **class_out);

/* ---- parents and types ---- */

struct mdev_type {
	const char *id;		 /**< NULL ends a table. The type is called DRIVER-ID */
	const char *name;	 /**< for people; NULL: the type's */
	const char *description; /**< may be NULL */
	const char *device_api;	 /**< "vfio-pci", "virtio-mdev" */
	unsigned instances; /**< devices of this type at a time; for whom does not count itself */
	/** What can be set of a device, when it is made and later; NULL: nothing. */
	const struct vdpa_attr_spec *attrs;
};

struct mdev_parent_ops {
	size_t size;	    /**< sizeof(struct mdev_parent_ops) */
	size_t device_size; /**< sizeof(struct mdev_device): checked */
	size_t struct_size; /**< of the structure that embeds it; 0: there is none */
	size_t offset;	    /**< of the mdev_device in it */
	/**
	 * M. The device's structure is there, zeroed. It must be given its class: mdev_set_class(),
	 * or what the class has for it. 0 or -errno with @err; what it made is then undone by
	 * itself.
	 */
	int (*create)(struct mdev_device *mdev, struct vdpa_error *err);
	/**
	 * O. No driver has it any more: undo what create() did, then @done (copied) exactly once.
	 * Also when a creation fails after create(). Its structure is freed with the last
	 * reference.
	 */
	void (*remove)(struct mdev_device *mdev, const struct vdpa_done *done);
	/** O. How many more devices of this type there can be. NULL: by the type's instances. */
	unsigned (*available_instances)(struct mdev_parent *parent, const struct mdev_type *type);
	/** O. An attribute of the type's table, checked against it. 0 or -errno with @err. */
	int (*set_attr)(struct mdev_device *mdev, const char *key, const char *value,
			struct vdpa_error *err);
	/** O. The attributes as they are, and what else is to be shown. */
	void (*show)(struct mdev_device *mdev, vdpa_emit_fn emit, void *arg);
};

/** Embedded, by whoever makes devices. */
struct mdev_parent {
	const char *name;   /**< as it is called in class/mdev_bus */
	const char *driver; /**< begins the names of its types; NULL: @name */
	const char *help;   /**< one line; may be NULL */
	const struct mdev_parent_ops *ops;
	const struct mdev_type *types;
	/** O. The core has forgotten it (unregistered, or the context was freed): free it. */
	void (*release)(struct mdev_parent *parent);
	struct vdpa_ctx *ctx; /**< set by registration */
	void *reserved[3];
};

/**
 * @parent and its tables stay the caller's until it is unregistered, or the context was freed.
 * -EINVAL (a name missing or bad, no types, no create, sizes that do not fit), -EEXIST, -ENOMEM.
 */
VDPA_API int mdev_register_parent(struct vdpa_ctx *ctx, struct mdev_parent *parent,
				  struct vdpa_error *err);
/** Removes its devices first; @done when all are gone. -EINVAL, -EALREADY. */
VDPA_API int mdev_unregister_parent(struct mdev_parent *parent, const struct vdpa_done *done);
VDPA_API struct mdev_parent *mdev_find_parent(struct vdpa_ctx *ctx, const char *name);
VDPA_API void mdev_for_each_parent(struct vdpa_ctx *ctx,
				   bool (*fn)(void *arg, struct mdev_parent *parent), void *arg);
/** "DRIVER-ID". */
struct mdev_type_name {
	char s[2 * VDPA_NAME_MAX + 2];
};
VDPA_API struct mdev_type_name mdev_type_name(const struct mdev_parent *parent,
					      const struct mdev_type *type);
/** By that name. */
VDPA_API const struct mdev_type *mdev_find_type(const struct mdev_parent *parent, const char *name);
VDPA_API unsigned mdev_available_instances(struct mdev_parent *parent,
					   const struct mdev_type *type);
/** Devices that there are of this type; of all types: @type NULL. */
VDPA_API unsigned mdev_count(const struct mdev_parent *parent, const struct mdev_type *type);

/* ---- devices ---- */

struct mdev_core; /* private */

/** Embedded by parents, as first or any member. Read-only for everybody but the core. */
struct mdev_device {
	struct vdpa_ctx *ctx;
	struct mdev_core *core;
	struct mdev_parent *parent;   /**< NULL: it is gone; so is the type */
	const struct mdev_type *type; /**< of the parent's table */
	const char *uuid;	      /**< in lower case */
	void *reserved[2];
};

/** Is @text a UUID? In lower case to @out (may be NULL). */
VDPA_API bool mdev_uuid_valid(const char *text, char out[MDEV_UUID_BYTES]);

/** What is asked of a parent. */
struct mdev_request {
	struct mdev_parent *parent;
	const struct mdev_type *type; /**< of the parent's table */
	const char *uuid;
	const struct vdpa_attr *attrs; /**< may be NULL */
};

/**
 * Make a device: its parent's create(), its attributes, then it is visible, and a driver may
 * take it. @out may be NULL. -EINVAL (no UUID; an attribute; create() gave it no class), -EEXIST
 * (the UUID is in use), -EUSERS (no instance is left), -ENODEV (the parent goes), -ENOMEM, or
 * create()'s; @err filled.
 */
VDPA_API int mdev_create(const struct mdev_request *req, struct mdev_device **out,
			 struct vdpa_error *err);
/**
 * Remove it, also while it is in use: its driver lets go, its parent's remove(), @done. -EALREADY,
 * -EBUSY (from inside of create, or of its driver's probe).
 */
VDPA_API int mdev_remove(struct mdev_device *mdev, const struct vdpa_done *done);
VDPA_API struct mdev_device *mdev_find(struct vdpa_ctx *ctx, const char *uuid);
VDPA_API void mdev_for_each(struct vdpa_ctx *ctx, bool (*fn)(void *arg, struct mdev_device *mdev),
			    void *arg);
/** Remove all devices, then @done. Nothing is created from now on. -EALREADY. */
VDPA_API int mdev_shutdown(struct vdpa_ctx *ctx, const struct vdpa_done *done);
VDPA_API struct mdev_device *mdev_get(struct mdev_device *mdev);
VDPA_API void mdev_put(struct mdev_device *mdev);

/**
 * In create(), once: what the device is for, and its class's ops (which live as long as the
 * device). -EINVAL (no such class, or no ops), -EALREADY (it has one, and keeps it); both are
 * logged.
 */
VDPA_API int mdev_set_class(struct mdev_device *mdev, uint16_t id, const void *ops);
VDPA_API uint16_t mdev_class_id(const struct mdev_device *mdev);
/** The ops that were set with class @id; NULL: the device is of another class. */
VDPA_API const void *mdev_class_ops(const struct mdev_device *mdev, uint16_t id);
/** "BUS:cXX": what a driver, or a plugin, is found by. */
struct mdev_modalias {
	char s[VDPA_NAME_MAX + 8];
};
VDPA_API struct mdev_modalias mdev_modalias(const struct mdev_device *mdev);
/** -EINVAL (no such attribute, or value), or the parent's; @err filled. */
VDPA_API int mdev_set_attr(struct mdev_device *mdev, const char *key, const char *value,
			   struct vdpa_error *err);
/** The attributes that were set, the last value of each (never NULL). */
VDPA_API const struct vdpa_attr *mdev_attrs(const struct mdev_device *mdev);
/** What its parent shows of it. */
VDPA_API void mdev_show(struct mdev_device *mdev, vdpa_emit_fn emit, void *arg);
#define mdev_log(mdev, level, ...)                                                                 \
	vdpa_log(vdpa_ctx_log((mdev)->ctx), level, (mdev)->uuid, __VA_ARGS__)

/* ---- drivers ---- */

struct mdev_driver {
	const char *name;
	const char *help;
	const char *bus;
	const uint16_t *id_table; /**< classes that it takes, ended by 0 */
	const struct vdpa_attr_spec *attrs;
	/** Take the device: 0 or -errno with @err. @attrs stay until it is unbound. */
	int (*probe)(struct mdev_device *mdev, const struct vdpa_attr *attrs,
		     struct vdpa_error *err);
	/** Give it back, then @done (copied) exactly once. */
	void (*remove)(struct mdev_device *mdev, const struct vdpa_done *done);
	/** O. What people want to know of the binding. */
	void (*show)(struct mdev_device *mdev, vdpa_emit_fn emit, void *arg);
	bool autoprobe; /**< takes new devices by itself */
};

/** @drv stays the caller's until unregistered. -EINVAL (no name, bus, id table, probe or remove),
 * -EEXIST, -ENOMEM. */
VDPA_API int mdev_register_driver(struct vdpa_ctx *ctx, const struct mdev_driver *drv);
/** -EBUSY while a device is bound to it, -ENOENT. */
VDPA_API int mdev_unregister_driver(struct vdpa_ctx *ctx, const struct mdev_driver *drv);
VDPA_API const struct mdev_driver *mdev_find_driver(struct vdpa_ctx *ctx, const char *name);
VDPA_API void mdev_for_each_driver(struct vdpa_ctx *ctx,
				   bool (*fn)(void *arg, const struct mdev_driver *drv), void *arg);
/** -ENODEV (no such driver), -EBUSY (bound), -ENXIO (of another bus or class), or probe's; @err
 * filled. */
VDPA_API int mdev_bind(struct mdev_device *mdev, const char *driver, const struct vdpa_attr *attrs,
		       struct vdpa_error *err);
/** -ENODEV when not bound, -EALREADY while it is under way. */
VDPA_API int mdev_unbind(struct mdev_device *mdev, const struct vdpa_done *done);
VDPA_API const struct mdev_driver *mdev_device_driver(const struct mdev_device *mdev);
/** What it was bound with (never NULL). */
VDPA_API const struct vdpa_attr *mdev_bind_attrs(const struct mdev_device *mdev);
/** The bound driver's own. */
VDPA_API void mdev_set_drvdata(struct mdev_device *mdev, void *data);
VDPA_API void *mdev_get_drvdata(const struct mdev_device *mdev);

/* ---- events ---- */

enum mdev_event_type {
	MDEV_EVENT_ADD,
	MDEV_EVENT_DEL,
	MDEV_EVENT_BIND,
	MDEV_EVENT_UNBIND,
	MDEV_EVENT_CHANGE, /**< an attribute */
	MDEV_EVENT_PARENT_ADD,
	MDEV_EVENT_PARENT_DEL,
};

struct mdev_event {
	enum mdev_event_type type;
	struct mdev_device *mdev; /**< NULL: it is the parent's */
	struct mdev_parent *parent;
	const char *modalias; /**< of a device; else "" */
	const char *detail;   /**< the driver's name, the attribute's; else "" */
};

struct mdev_subscriber {
	void (*fn)(struct mdev_subscriber *sub, const struct mdev_event *event);
	struct mdev_subscriber *next; /* the core's */
};

/** May come and go inside of a callback. -ENOMEM. */
VDPA_API int mdev_subscribe(struct vdpa_ctx *ctx, struct mdev_subscriber *sub);
VDPA_API void mdev_unsubscribe(struct vdpa_ctx *ctx, struct mdev_subscriber *sub);

#ifdef __cplusplus
}
#endif
#endif
