/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The vDPA bus: devices, bus drivers, management devices. Names and meanings are Linux's
 * (include/linux/vdpa.h); what differs is said.
 *
 * A vDPA device has a datapath that is virtio's and a control path that is its parent's. Parents
 * implement vdpa_config_ops; bus drivers consume them through the wrappers below; neither knows the
 * other.
 *
 * Threads. Each context has one control loop. Unless a function says otherwise it is called on the
 * thread that runs that loop (or, before anything runs, on the only thread). Operations that have
 * to wait for a queue, a map or a peer do not block: they take a struct vdpa_done. The config
 * wrappers may be called from any thread: they take the device's lock.
 *
 * Since 0.1, unless a function says otherwise.
 */
#ifndef UVDPA_VDPA_H
#define UVDPA_VDPA_H

#include <uvdpa/log.h>
#include <uvdpa/loop.h>
#include <uvdpa/mem.h>
#include <uvdpa/types.h>
#include <uvdpa/vhost_iotlb.h>
#include <uvdpa/vringh.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vdpa_device;
struct vdpa_driver;
struct vdpa_mgmt_dev;

/* ---- context ---- */

/** Everything hangs off a context; two of them in one process do not see each other. */
struct vdpa_ctx;

struct vdpa_ctx_config {
	size_t size;	  /**< sizeof(struct vdpa_ctx_config) */
	unsigned workers; /**< queue loops with a thread each; 0: queues run on the control loop */
	struct vdpa_log log;
};

/** @config may be NULL. 0, -EINVAL, -ENOMEM, -EAGAIN (threads). */
VDPA_API int vdpa_ctx_new(const struct vdpa_ctx_config *config, struct vdpa_ctx **out);
/** Register every parent and every bus driver that this library was built with. 0 or -errno. */
VDPA_API int vdpa_register_builtin(struct vdpa_ctx *ctx);
/** Every device must have been deleted: -EBUSY otherwise, and nothing is freed. */
VDPA_API int vdpa_ctx_free(struct vdpa_ctx *ctx);
/**
 * The process is about to end: every driver is told (its shutdown, or remove) and gives its devices
 * back, then @done; nothing binds any more. The devices stay. -EALREADY.
 */
VDPA_API int vdpa_ctx_shutdown(struct vdpa_ctx *ctx, const struct vdpa_done *done);
/**
 * Something that a floor above the bus keeps for a context, found by @key (an address of its own).
 * @free (may be NULL) runs at the end of the context. 0, -EEXIST, -ENOMEM. Control thread.
 */
VDPA_API int vdpa_ctx_set_data(struct vdpa_ctx *ctx, const void *key, void *data,
			       void (*free)(void *data));
/** What was set for @key, or NULL. */
VDPA_API void *vdpa_ctx_get_data(struct vdpa_ctx *ctx, const void *key);
/** An object of a floor above the bus lives: vdpa_ctx_free() refuses until it is released. Control
 * thread. */
VDPA_API void vdpa_ctx_hold(struct vdpa_ctx *ctx);
VDPA_API void vdpa_ctx_release(struct vdpa_ctx *ctx);
VDPA_API struct vdpa_loop_group *vdpa_ctx_loops(struct vdpa_ctx *ctx);
VDPA_API struct vdpa_loop *vdpa_ctx_control(struct vdpa_ctx *ctx);
VDPA_API const struct vdpa_log *vdpa_ctx_log(struct vdpa_ctx *ctx);
/**
 * Run the control loop until *@flag becomes true or @timeout_ns has passed (-1: no limit). For
 * programs that drive the library from one thread; never from inside a callback. 0 or -ETIMEDOUT.
 */
VDPA_API int vdpa_ctx_wait(struct vdpa_ctx *ctx, const bool *flag, int64_t timeout_ns);

/* ---- config ops ---- */

/** Used-buffer or config-change callback. @callback runs on the loop that serves the queue. */
struct vdpa_callback {
	void (*callback)(void *priv); /**< NULL: none */
	void *priv;
	int trigger; /**< eventfd that stands for the callback: write it instead; -1: none; not
			owned */
};

struct vdpa_notification_area {
	uint64_t addr; /**< address in this process, page-aligned */
	uint64_t size;
};

/** Inclusive range of IOVAs a device can reach. */
struct vdpa_iova_range {
	iova_t first, last;
};

struct vdpa_cpumask {
	uint64_t bits[16];
};

/** Receives names and values. */
typedef void (*vdpa_stat_fn)(void *arg, const char *name, uint64_t value);
typedef void (*vdpa_emit_fn)(void *arg, const char *key, const char *value);

#define VDPA_RESET_F_CLEAN_MAP 1u

/**
 * What a parent implements. M: mandatory, O: optional (checked at registration). Unless marked [q],
 * called on the control thread with the device's lock held. None of them blocks; a parent that has
 * to, runs a thread of its own and offers the asynchronous forms of struct vdpa_ext_ops.
 *
 * Left out against Linux, because they have no meaning in user space: get_vq_irq (interrupt
 * bypass), bind_mm and unbind_mm (there is one mm), get_vq_map (there is no kernel DMA token).
 */
struct vdpa_config_ops {
	/* Virtqueue. idx < nvqs. Set up while the queue is not ready; -EBUSY otherwise. */
	int (*set_vq_address)(struct vdpa_device *vdev, uint16_t idx, iova_t desc, iova_t driver,
			      iova_t device);					  /**< M */
	void (*set_vq_num)(struct vdpa_device *vdev, uint16_t idx, uint32_t num); /**< M */
	void (*kick_vq)(struct vdpa_device *vdev, uint16_t idx);	    /**< M [q] any thread */
	void (*kick_vq_with_data)(struct vdpa_device *vdev, uint32_t data); /**< O [q] any thread */
	void (*set_vq_cb)(struct vdpa_device *vdev, uint16_t idx,
			  const struct vdpa_callback *cb); /**< M; copied */
	void (*set_vq_ready)(struct vdpa_device *vdev, uint16_t idx,
			     bool ready); /**< M; false starts the drain, see ext stop_vq */
	bool (*get_vq_ready)(struct vdpa_device *vdev, uint16_t idx); /**< M */
	int (*set_vq_state)(struct vdpa_device *vdev, uint16_t idx,
			    const struct vdpa_vq_state *state); /**< M */
	int (*get_vq_state)(struct vdpa_device *vdev, uint16_t idx,
			    struct vdpa_vq_state *state); /**< M; exact when stopped or suspended */
	int (*get_vendor_vq_stats)(struct vdpa_device *vdev, uint16_t idx, vdpa_stat_fn emit,
				   void *arg, struct vdpa_error *err); /**< O */
	struct vdpa_notification_area (*get_vq_notification)(struct vdpa_device *vdev,
							     uint16_t idx); /**< O */
	uint16_t (*get_vq_size)(struct vdpa_device *vdev, uint16_t idx);    /**< O */

	/* Device. */
	uint32_t (*get_vq_align)(struct vdpa_device *vdev); /**< M; bytes */
	uint32_t (*get_vq_group)(struct vdpa_device *vdev,
				 uint16_t idx); /**< O; with ngroups > 1: M */
	uint32_t (*get_vq_desc_group)(struct vdpa_device *vdev, uint16_t idx); /**< O */
	uint64_t (*get_device_features)(struct vdpa_device *vdev);	       /**< M */
	uint64_t (*get_backend_features)(
		struct vdpa_device *vdev); /**< O; VHOST_BACKEND_F_* bits */
	int (*set_driver_features)(struct vdpa_device *vdev, uint64_t features); /**< M */
	uint64_t (*get_driver_features)(struct vdpa_device *vdev);		 /**< M */
	void (*set_config_cb)(struct vdpa_device *vdev,
			      const struct vdpa_callback *cb); /**< M; copied */
	uint16_t (*get_vq_num_max)(struct vdpa_device *vdev);  /**< M */
	uint16_t (*get_vq_num_min)(struct vdpa_device *vdev);  /**< O */
	uint32_t (*get_device_id)(struct vdpa_device *vdev);   /**< M */
	uint32_t (*get_vendor_id)(struct vdpa_device *vdev);   /**< M */
	uint8_t (*get_status)(struct vdpa_device *vdev);       /**< M */
	void (*set_status)(struct vdpa_device *vdev,
			   uint8_t status);	/**< M; never 0: that is reset */
	int (*reset)(struct vdpa_device *vdev); /**< M */
	int (*compat_reset)(struct vdpa_device *vdev, uint32_t flags); /**< O */
	int (*suspend)(struct vdpa_device *vdev);		       /**< O */
	int (*resume)(struct vdpa_device *vdev);		       /**< O */
	size_t (*get_config_size)(struct vdpa_device *vdev);	       /**< M; bytes */
	void (*get_config)(struct vdpa_device *vdev, unsigned offset, void *buf,
			   unsigned len); /**< M; the wrapper has checked the bounds */
	void (*set_config)(struct vdpa_device *vdev, unsigned offset, const void *buf,
			   unsigned len);				    /**< M; same */
	uint32_t (*get_generation)(struct vdpa_device *vdev);		    /**< O */
	struct vdpa_iova_range (*get_iova_range)(struct vdpa_device *vdev); /**< O */
	int (*set_vq_affinity)(struct vdpa_device *vdev, uint16_t idx,
			       const struct vdpa_cpumask *mask); /**< O */
	const struct vdpa_cpumask *(*get_vq_affinity)(struct vdpa_device *vdev,
						      uint16_t idx); /**< O */

	/* DMA: set_map, or dma_map and dma_unmap (both or neither), or none (platform IOMMU). */
	int (*set_map)(struct vdpa_device *vdev, unsigned asid,
		       struct vhost_iotlb *iotlb); /**< O */
	int (*dma_map)(struct vdpa_device *vdev, unsigned asid, iova_t iova, uint64_t size,
		       uint64_t addr, uint32_t perm,
		       void *opaque); /**< O; opaque: struct vdpa_region */
	int (*dma_unmap)(struct vdpa_device *vdev, unsigned asid, iova_t iova,
			 uint64_t size); /**< O; all ranges in there, holes between them are fine */
	int (*reset_map)(struct vdpa_device *vdev, unsigned asid); /**< O */
	int (*set_group_asid)(struct vdpa_device *vdev, unsigned group,
			      unsigned asid); /**< O; nas > 1: M */

	/**
	 * O; the last reference is gone: free what the parent allocated (not vdev itself). Also
	 * called for a device that was never registered, as it was left by whoever built it (zeroed
	 * at first).
	 */
	void (*free)(struct vdpa_device *vdev);
};

/**
 * What Linux does not have. Size-prefixed: members beyond @size are absent. All optional; with an
 * asynchronous form missing, the wrapper calls the plain op and completes at once.
 */
struct vdpa_ext_ops {
	size_t size; /**< sizeof(struct vdpa_ext_ops) */

	/** Stop one queue: what was got is completed or cancelled, then @done. Its state is exact
	 * then. */
	int (*stop_vq)(struct vdpa_device *vdev, uint16_t idx, const struct vdpa_done *done);
	/** Reset: all queues stopped, nothing is written to guest memory any more, then status 0,
	 * then @done. */
	int (*reset)(struct vdpa_device *vdev, const struct vdpa_done *done);
	/** As config op suspend; @done when every queue is quiet. */
	int (*suspend)(struct vdpa_device *vdev, const struct vdpa_done *done);
	int (*set_map)(struct vdpa_device *vdev, unsigned asid, struct vhost_iotlb *iotlb,
		       const struct vdpa_done *done);
	int (*dma_unmap)(struct vdpa_device *vdev, unsigned asid, iova_t iova, uint64_t size,
			 const struct vdpa_done *done);
	int (*reset_map)(struct vdpa_device *vdev, unsigned asid, const struct vdpa_done *done);
	/** VIRTIO_F_RING_RESET, virtio 1.3 section 2.6.1. */
	int (*reset_vq)(struct vdpa_device *vdev, uint16_t idx, const struct vdpa_done *done);

	/** Poll @fd (eventfd, not owned, stays open until replaced; -1: none) for kicks of queue
	 * @idx. */
	int (*set_vq_kick)(struct vdpa_device *vdev, uint16_t idx, int fd);
	/** Told when queue @idx stops because of an error. Copied. */
	int (*set_vq_err)(struct vdpa_device *vdev, uint16_t idx, const struct vdpa_callback *cb);
	/**
	 * Track requests in @area (shared with the peer) from the next start on; NULL: do not.
	 * @area stays the caller's, and in use until it is replaced while the queue does not run,
	 * or until a reset is complete. A reset forgets the requests that it cancels, for good.
	 * NULL is legal while the queue runs too, and they are in @area afterwards, whatever comes:
	 * for who gives a device back that others shall go on with.
	 */
	int (*set_vq_inflight)(struct vdpa_device *vdev, uint16_t idx, void *area, size_t bytes);
	/** Holes of an address space are misses (fn not NULL) or faults. */
	int (*set_miss)(struct vdpa_device *vdev, unsigned asid, vdpa_as_miss_fn fn, void *arg);
	/** A miss that was reported has been answered; true: to be asked again
	 * (vdpa_as_miss_settled). */
	bool (*miss_settled)(struct vdpa_device *vdev, unsigned asid, iova_t iova, uint32_t perm);
	/** Log all writes, of all queues; NULL ends it. @done when every queue does so. */
	int (*set_dirty_log)(struct vdpa_device *vdev, struct vdpa_dirty_log *log,
			     const struct vdpa_done *done);

	/** Features above 63: word @i (1, 2, ...) of the feature array. */
	uint64_t (*get_features_word)(struct vdpa_device *vdev, unsigned i);
	int (*set_features_word)(struct vdpa_device *vdev, unsigned i, uint64_t features);

	/** Save: device state as a versioned object of at most *@bytes; load it. While suspended.
	 */
	int (*save_state)(struct vdpa_device *vdev, void *buf, size_t *bytes);
	int (*load_state)(struct vdpa_device *vdev, const void *buf, size_t bytes,
			  struct vdpa_error *err);

	/** The address spaces as they are, for dumps: NULL when the parent has no such asid. */
	const struct vhost_iotlb *(*get_iotlb)(struct vdpa_device *vdev, unsigned asid);
	/** What the parent wants shown of itself and of its backend ("backend" "ram", ...). */
	void (*show)(struct vdpa_device *vdev, vdpa_emit_fn emit, void *arg);
	/** The front end asks to announce @mac from the device's port (SEND_RARP). */
	int (*announce)(struct vdpa_device *vdev, const uint8_t mac[6]);
	/** The address space that a group is tied to; of a group that is none: 0. */
	unsigned (*get_group_asid)(struct vdpa_device *vdev, unsigned group);
	/** [q] The loop that serves the queue now. Any thread. */
	struct vdpa_loop *(*get_vq_loop)(struct vdpa_device *vdev, uint16_t idx);
};

/* ---- devices ---- */

struct vdpa_device_core; /* private */

/** Embedded, as first or any member, by parents. Read-only for everybody but the core. */
struct vdpa_device {
	struct vdpa_ctx *ctx;
	struct vdpa_device_core *core;
	const struct vdpa_config_ops *config;
	const struct vdpa_ext_ops *ext; /**< NULL: none; set by the parent before registration */
	struct vdpa_mgmt_dev *mdev;	/**< NULL: not created through a management device */
	const char *name;		/**< unique in the context, at most VDPA_NAME_MAX bytes */
	const char *parent;		/**< name of the parent, for people */
	const char *dma_device;		/**< what does the DMA; the parent unless set otherwise */
	unsigned index;
	uint32_t nvqs, ngroups, nas;
	bool use_va, features_valid;
	void *reserved[4];
};

#define VDPA_NAME_MAX 63

struct vdpa_alloc_params {
	size_t device_size; /**< sizeof(struct vdpa_device): checked */
	size_t size;	    /**< of the structure that embeds it */
	size_t offset;	    /**< of the vdpa_device in it */
	const struct vdpa_config_ops *config;
	const char *name;	/**< NULL: "vdpaINDEX" */
	const char *parent;	/**< copied */
	const char *dma_device; /**< copied; NULL: @parent */
	unsigned ngroups, nas;	/**< 0 counts as 1 */
	bool use_va;
};

/**
 * First half of a birth: allocate, zeroed, with one reference. Checks the ops. Returns the
 * embedding structure or NULL with *@err filled: -EINVAL (mandatory op missing, dma_map without
 * dma_unmap, use_va without a map op, ngroups or nas without their ops, bad name), -EEXIST,
 * -ENOMEM. Invisible until registered; to undo before that: vdpa_put_device().
 */
VDPA_API void *vdpa_alloc_device_params(struct vdpa_ctx *ctx,
					const struct vdpa_alloc_params *params,
					struct vdpa_error *err);

/** vdpa_alloc_device(ctx, struct my_dev, vdpa, &ops, "parent", ngroups, nas, name, use_va, err) */
#define vdpa_alloc_device(ctx, type, member, ops, parent_name, ngroups_, nas_, name_, use_va_,     \
			  err)                                                                     \
	((type *)vdpa_alloc_device_params(                                                         \
		(ctx),                                                                             \
		&(struct vdpa_alloc_params){.device_size = sizeof(struct vdpa_device),             \
					    .size = sizeof(type),                                  \
					    .offset = offsetof(type, member),                      \
					    .config = (ops),                                       \
					    .name = (name_),                                       \
					    .parent = (parent_name),                               \
					    .dma_device = NULL,                                    \
					    .ngroups = (ngroups_),                                 \
					    .nas = (nas_),                                         \
					    .use_va = (use_va_)},                                  \
		(err)))

/** Second half: number of queues known, device becomes visible, an event is sent, a matching driver
 * may bind. */
VDPA_API int vdpa_register_device(struct vdpa_device *vdev, uint32_t nvqs, struct vdpa_error *err);
/**
 * Unbind (waits for the driver, asynchronously), make invisible, drop the registration's reference
 * (the one of the allocation), @done. -EALREADY, -EINVAL (not registered), -EBUSY (from inside its
 * driver's probe).
 */
VDPA_API int vdpa_unregister_device(struct vdpa_device *vdev, const struct vdpa_done *done);
VDPA_API struct vdpa_device *vdpa_get_device(struct vdpa_device *vdev);
VDPA_API void vdpa_put_device(struct vdpa_device *vdev);
VDPA_API unsigned vdpa_device_refs(const struct vdpa_device *vdev);

VDPA_API struct vdpa_device *vdpa_find_device(struct vdpa_ctx *ctx, const char *name);
/** @fn returns false to stop. Order of registration. */
VDPA_API void vdpa_for_each_device(struct vdpa_ctx *ctx,
				   bool (*fn)(void *arg, struct vdpa_device *vdev), void *arg);
/** The driver that is bound, or NULL; and the attributes that it was bound with (never NULL). */
VDPA_API const struct vdpa_driver *vdpa_device_driver(const struct vdpa_device *vdev);
VDPA_API const struct vdpa_attr *vdpa_device_bind_attrs(const struct vdpa_device *vdev);
/**
 * The attributes that the device was created with through its management device (never NULL), those
 * of struct vdpa_dev_set_config too ("mac", "mtu", "max_vqp", "device_features"), as vdpa_dev_set()
 * has changed them since.
 */
VDPA_API const struct vdpa_attr *vdpa_device_add_attrs(const struct vdpa_device *vdev);
/** Private pointer of the bound driver. */
VDPA_API void vdpa_set_drvdata(struct vdpa_device *vdev, void *data);
VDPA_API void *vdpa_get_drvdata(const struct vdpa_device *vdev);
/** Log with the device as the object. */
#define vdpa_dev_log(vdev, level, ...)                                                             \
	vdpa_log(vdpa_ctx_log((vdev)->ctx), level, (vdev)->name, __VA_ARGS__)

/* ---- bus drivers ---- */

struct vdpa_driver {
	const char *name;
	const char *help;		    /**< one line */
	const struct vdpa_attr_spec *attrs; /**< what bind accepts; NULL: nothing */
	/** NULL: every device. @err: why not. */
	bool (*match)(const struct vdpa_device *vdev, struct vdpa_error *err);
	/**
	 * Take the device. @attrs were checked against the table and stay until it is unbound. 0 or
	 * -errno with @err.
	 */
	int (*probe)(struct vdpa_device *vdev, const struct vdpa_attr *attrs,
		     struct vdpa_error *err);
	/**
	 * O: probe only began. @done (copied) once the driver has what it wants, or with -errno and
	 * *@err (which stays until then) when it never will: it is unbound then, by who asked. 0,
	 * or -EBUSY (somebody waits already): @done will not be called. A removal ends it with
	 * -ECANCELED.
	 */
	int (*settle)(struct vdpa_device *vdev, struct vdpa_error *err,
		      const struct vdpa_done *done);
	/** Give the device back: reset it, then call @done (copied) exactly once. */
	void (*remove)(struct vdpa_device *vdev, const struct vdpa_done *done);
	/** The process is about to end (vdpa_ctx_shutdown()). NULL: remove is called. */
	void (*shutdown)(struct vdpa_device *vdev, const struct vdpa_done *done);
	/** What people want to know of the binding ("path", "connected", ...). May be NULL. */
	void (*show)(struct vdpa_device *vdev, vdpa_emit_fn emit, void *arg);
	/** Drivers that take new devices by themselves set it; first registered wins, as in Linux.
	 */
	bool autoprobe;
};

/** @drv stays the caller's and must live until unregistered. -EINVAL (no name, probe or remove),
 * -EEXIST, -ENOMEM. */
VDPA_API int vdpa_register_driver(struct vdpa_ctx *ctx, const struct vdpa_driver *drv);
/** -EBUSY while a device is bound to it. */
VDPA_API int vdpa_unregister_driver(struct vdpa_ctx *ctx, const struct vdpa_driver *drv);
VDPA_API const struct vdpa_driver *vdpa_find_driver(struct vdpa_ctx *ctx, const char *name);
VDPA_API void vdpa_for_each_driver(struct vdpa_ctx *ctx,
				   bool (*fn)(void *arg, const struct vdpa_driver *drv), void *arg);

/**
 * Bind @vdev to the driver called @driver. -ENODEV (no such driver), -EBUSY (bound already), -ENXIO
 * (no match), -EPERM (driver_override names another), or probe's error; @err filled.
 */
VDPA_API int vdpa_bind(struct vdpa_device *vdev, const char *driver, const struct vdpa_attr *attrs,
		       struct vdpa_error *err);
/**
 * Wait for what bind only began (struct vdpa_driver, settle); @done at once for a driver that began
 * nothing. -ENODEV when not bound, -EBUSY when somebody waits already.
 */
VDPA_API int vdpa_settle(struct vdpa_device *vdev, struct vdpa_error *err,
			 const struct vdpa_done *done);
/** -ENODEV when not bound, -EALREADY while an unbind is under way; else @done when the driver has
 * let go. */
VDPA_API int vdpa_unbind(struct vdpa_device *vdev, const struct vdpa_done *done);
/** Only this driver may bind from now on; NULL: any. Copied. */
VDPA_API int vdpa_set_driver_override(struct vdpa_device *vdev, const char *driver);
VDPA_API const char *vdpa_get_driver_override(const struct vdpa_device *vdev);

/* ---- config wrappers: what bus drivers call ---- */

VDPA_API uint64_t vdpa_get_device_features(struct vdpa_device *vdev);
VDPA_API uint64_t vdpa_get_backend_features(struct vdpa_device *vdev);
/** -EINVAL: bits that the device does not offer, or the parent's error. */
VDPA_API int vdpa_set_features(struct vdpa_device *vdev, uint64_t features);
VDPA_API uint64_t vdpa_get_driver_features(struct vdpa_device *vdev);
/** The specification's name of feature bit @bit of devices of type @device_id ("BLK_SIZE"), or
 * NULL.
 */
VDPA_API const char *vdpa_feature_name(uint32_t device_id, unsigned bit);
/**
 * Names of the bits of @features, separated by blanks; those without a name as bit_N. Names that do
 * not fit are left out, whole. Returns @buf.
 */
VDPA_API const char *vdpa_feature_names(uint32_t device_id, uint64_t features, char *buf,
					size_t len);
/** The same of a device's status: "DRIVER_OK" (virtio 1.3, section 2.1). */
VDPA_API const char *vdpa_status_name(unsigned bit);
VDPA_API const char *vdpa_status_names(uint8_t status, char *buf, size_t len);
VDPA_API uint8_t vdpa_get_status(struct vdpa_device *vdev);
/** @status 0 is refused with -EINVAL: use vdpa_reset(). */
VDPA_API int vdpa_set_status(struct vdpa_device *vdev, uint8_t status);
VDPA_API int vdpa_reset(struct vdpa_device *vdev, const struct vdpa_done *done);
VDPA_API int vdpa_suspend(struct vdpa_device *vdev, const struct vdpa_done *done);
VDPA_API int vdpa_resume(struct vdpa_device *vdev);
/** Was it suspended, or given a state, and not resumed or reset since? Any thread. */
VDPA_API bool vdpa_suspended(struct vdpa_device *vdev);
/** -EINVAL: [@offset, @offset + @len) is empty or not inside the config space. A read before
 * set_features is a legacy driver's: features become 0. */
VDPA_API int vdpa_get_config(struct vdpa_device *vdev, unsigned offset, void *buf, unsigned len);
VDPA_API int vdpa_set_config(struct vdpa_device *vdev, unsigned offset, const void *buf,
			     unsigned len);
/**
 * Config and its generation as one consistent piece: as above, and *@generation (may be NULL).
 * -EAGAIN: the parent changed it at every one of many tries.
 */
VDPA_API int vdpa_read_config(struct vdpa_device *vdev, unsigned offset, void *buf, unsigned len,
			      uint32_t *generation);
VDPA_API uint32_t vdpa_get_generation(struct vdpa_device *vdev);
VDPA_API size_t vdpa_get_config_size(struct vdpa_device *vdev);
VDPA_API void vdpa_set_config_cb(struct vdpa_device *vdev, const struct vdpa_callback *cb);

/** All with -EINVAL for idx >= nvqs. */
VDPA_API int vdpa_set_vq_address(struct vdpa_device *vdev, uint16_t idx, iova_t desc, iova_t driver,
				 iova_t device);
/** -EINVAL as well: beyond get_vq_num_max/min, or (split) not a power of two. -EBUSY while the
 * queue is ready. */
VDPA_API int vdpa_set_vq_num(struct vdpa_device *vdev, uint16_t idx, uint32_t num);
VDPA_API int vdpa_set_vq_cb(struct vdpa_device *vdev, uint16_t idx, const struct vdpa_callback *cb);
VDPA_API int vdpa_set_vq_ready(struct vdpa_device *vdev, uint16_t idx);
VDPA_API int vdpa_stop_vq(struct vdpa_device *vdev, uint16_t idx, const struct vdpa_done *done);
VDPA_API bool vdpa_get_vq_ready(struct vdpa_device *vdev, uint16_t idx);
VDPA_API int vdpa_set_vq_state(struct vdpa_device *vdev, uint16_t idx,
			       const struct vdpa_vq_state *state);
VDPA_API int vdpa_get_vq_state(struct vdpa_device *vdev, uint16_t idx, struct vdpa_vq_state *state);
VDPA_API int vdpa_kick_vq(struct vdpa_device *vdev, uint16_t idx);
/** @data: virtio 1.3 section 2.9. -EOPNOTSUPP when the parent does not take it. */
VDPA_API int vdpa_kick_vq_with_data(struct vdpa_device *vdev, uint32_t data);
/** Reset one queue (VIRTIO_F_RING_RESET). -EOPNOTSUPP. */
VDPA_API int vdpa_reset_vq(struct vdpa_device *vdev, uint16_t idx, const struct vdpa_done *done);
/** -EOPNOTSUPP (no statistics), -EAGAIN (features not negotiated yet); @err filled. */
VDPA_API int vdpa_get_vq_stats(struct vdpa_device *vdev, uint16_t idx, vdpa_stat_fn emit, void *arg,
			       struct vdpa_error *err);
VDPA_API uint16_t vdpa_get_vq_num_max(struct vdpa_device *vdev);
VDPA_API uint16_t vdpa_get_vq_num_min(struct vdpa_device *vdev);
/** Largest size of this queue; get_vq_num_max where the parent does not tell them apart. 0: no such
 * queue. */
VDPA_API uint16_t vdpa_get_vq_size(struct vdpa_device *vdev, uint16_t idx);
VDPA_API uint32_t vdpa_get_vq_align(struct vdpa_device *vdev);
/** Size 0: none. */
VDPA_API struct vdpa_notification_area vdpa_get_vq_notification(struct vdpa_device *vdev,
								uint16_t idx);
/** -EOPNOTSUPP. */
VDPA_API int vdpa_set_vq_affinity(struct vdpa_device *vdev, uint16_t idx,
				  const struct vdpa_cpumask *mask);
VDPA_API uint32_t vdpa_get_device_id(struct vdpa_device *vdev);
VDPA_API uint32_t vdpa_get_vendor_id(struct vdpa_device *vdev);
VDPA_API uint32_t vdpa_get_vq_group(struct vdpa_device *vdev, uint16_t idx);
/** Group of the queue's descriptor area; the queue's own where the parent does not tell them apart.
 */
VDPA_API uint32_t vdpa_get_vq_desc_group(struct vdpa_device *vdev, uint16_t idx);
/** -EINVAL: no such group or address space; -EBUSY: a queue of the group runs; -EOPNOTSUPP. */
VDPA_API int vdpa_set_group_asid(struct vdpa_device *vdev, unsigned group, unsigned asid);
/** For dumps: 0 where the parent does not say. */
VDPA_API unsigned vdpa_get_group_asid(struct vdpa_device *vdev, unsigned group);
VDPA_API struct vdpa_iova_range vdpa_get_iova_range(struct vdpa_device *vdev);
/** Does the device translate by itself (set_map or dma_map), and how does it want to be told? */
VDPA_API bool vdpa_has_set_map(const struct vdpa_device *vdev);
VDPA_API bool vdpa_has_dma_map(const struct vdpa_device *vdev);
VDPA_API int vdpa_dma_map(struct vdpa_device *vdev, unsigned asid, iova_t iova, uint64_t size,
			  uint64_t addr, uint32_t perm, struct vdpa_region *region);
VDPA_API int vdpa_dma_unmap(struct vdpa_device *vdev, unsigned asid, iova_t iova, uint64_t size,
			    const struct vdpa_done *done);
VDPA_API int vdpa_set_map(struct vdpa_device *vdev, unsigned asid, struct vhost_iotlb *iotlb,
			  const struct vdpa_done *done);
VDPA_API int vdpa_reset_map(struct vdpa_device *vdev, unsigned asid, const struct vdpa_done *done);
/** Present member of the extension table? */
#define vdpa_has_ext(vdev, member)                                                                 \
	((vdev)->ext &&                                                                            \
	 offsetof(struct vdpa_ext_ops, member) + sizeof((vdev)->ext->member) <=                    \
		 (vdev)->ext->size &&                                                              \
	 (vdev)->ext->member)
/** -EOPNOTSUPP when the parent does not have it; else as the member of struct vdpa_ext_ops. */
VDPA_API int vdpa_set_vq_kick(struct vdpa_device *vdev, uint16_t idx, int fd);
VDPA_API int vdpa_set_vq_err(struct vdpa_device *vdev, uint16_t idx,
			     const struct vdpa_callback *cb);
VDPA_API int vdpa_set_vq_inflight(struct vdpa_device *vdev, uint16_t idx, void *area, size_t bytes);
VDPA_API int vdpa_set_miss(struct vdpa_device *vdev, unsigned asid, vdpa_as_miss_fn fn, void *arg);
/** False where the device has no such op. Control thread. */
VDPA_API bool vdpa_miss_settled(struct vdpa_device *vdev, unsigned asid, iova_t iova,
				uint32_t perm);
VDPA_API int vdpa_set_dirty_log(struct vdpa_device *vdev, struct vdpa_dirty_log *log,
				const struct vdpa_done *done);
/** -ENOSPC: *@bytes says how many it takes (@buf may be NULL with 0); -EBUSY: a queue runs. */
VDPA_API int vdpa_save_state(struct vdpa_device *vdev, void *buf, size_t *bytes);
/** Into a device that is new or suspended; it is suspended then, until vdpa_resume(). -EINVAL with
 * @err: of another device, or not a state. */
VDPA_API int vdpa_load_state(struct vdpa_device *vdev, const void *buf, size_t bytes,
			     struct vdpa_error *err);
/** The loop that serves the queue now; the control loop where the parent does not say. Any thread.
 */
VDPA_API struct vdpa_loop *vdpa_get_vq_loop(struct vdpa_device *vdev, uint16_t idx);
VDPA_API int vdpa_announce(struct vdpa_device *vdev, const uint8_t mac[6]);
/** Word @i (1, 2, ...) of the features; 0 when the parent has none above 63. */
VDPA_API uint64_t vdpa_get_features_word(struct vdpa_device *vdev, unsigned i);
/** -EINVAL when the parent has none above 63 and @features is not 0. */
VDPA_API int vdpa_set_features_word(struct vdpa_device *vdev, unsigned i, uint64_t features);

/* ---- management devices ---- */

enum vdpa_dev_config_bit {
	VDPA_CFG_FEATURES = 1u << 0,
	VDPA_CFG_NET_MAC = 1u << 1,
	VDPA_CFG_NET_MTU = 1u << 2,
	VDPA_CFG_NET_MAX_VQP = 1u << 3,
};

struct vdpa_dev_set_config {
	uint64_t mask; /**< VDPA_CFG_* : what was given */
	uint64_t device_features;
	struct {
		uint8_t mac[6];
		uint16_t mtu;
		uint16_t max_vq_pairs;
	} net;
	/** The parent's own ("backend" "file", "path" "x"): checked by the parent. */
	const struct vdpa_attr *attrs;
};

struct vdpa_mgmtdev_ops {
	/** Create and register a device called @name. 0 or -errno with @err, and nothing left
	 * behind. */
	int (*dev_add)(struct vdpa_mgmt_dev *mdev, const char *name,
		       const struct vdpa_dev_set_config *config, struct vdpa_error *err);
	/** Unregister it: vdpa_unregister_device(dev, done). */
	int (*dev_del)(struct vdpa_mgmt_dev *mdev, struct vdpa_device *vdev,
		       const struct vdpa_done *done);
	/** O: change @config's masked attributes of a device; -EOPNOTSUPP. */
	int (*dev_set_attr)(struct vdpa_mgmt_dev *mdev, struct vdpa_device *vdev,
			    const struct vdpa_dev_set_config *config, struct vdpa_error *err);
};

struct vdpa_mgmt_dev {
	struct vdpa_ctx *ctx; /**< set by registration */
	const char *bus;      /**< NULL: none */
	const char *name;
	const char *help;
	const struct vdpa_mgmtdev_ops *ops;
	const uint32_t *id_table;  /**< virtio device ids, ended by 0 */
	uint64_t config_attr_mask; /**< VDPA_CFG_* that dev_add accepts */
	uint64_t supported_features;
	uint32_t max_supported_vqs;
	const struct vdpa_attr_spec
		*attrs; /**< further attributes of dev_add; NULL: none. With a "backend" among them,
			   keys that are not in the table are that backend's, and the parent checks
			   them; else the core checks all */
	/** O: the bus has forgotten it (unregistered, or the context was freed): free it. */
	void (*release)(struct vdpa_mgmt_dev *mdev);
	struct vdpa_mgmt_dev *next; /**< the bus's */
	void *reserved[2];
};

VDPA_API int vdpa_mgmtdev_register(struct vdpa_ctx *ctx, struct vdpa_mgmt_dev *mdev);
/** Deletes its devices first; @done when all are gone. */
VDPA_API int vdpa_mgmtdev_unregister(struct vdpa_mgmt_dev *mdev, const struct vdpa_done *done);
VDPA_API struct vdpa_mgmt_dev *vdpa_mgmtdev_find(struct vdpa_ctx *ctx, const char *name);
VDPA_API void vdpa_for_each_mgmtdev(struct vdpa_ctx *ctx,
				    bool (*fn)(void *arg, struct vdpa_mgmt_dev *mdev), void *arg);
/**
 * Linux's checks (name free and valid; attributes supported: -EOPNOTSUPP; mac, mtu, max_vqp need
 * their feature bit when features are given; mtu at least 68; max_vqp at least 1), then the
 * parent's dev_add.
 */
VDPA_API int vdpa_dev_add(struct vdpa_mgmt_dev *mdev, const char *name,
			  const struct vdpa_dev_set_config *config, struct vdpa_error *err);
/** -EINVAL: not created through a management device ("Only user created device can be deleted by
 * user"). */
VDPA_API int vdpa_dev_del(struct vdpa_device *vdev, const struct vdpa_done *done,
			  struct vdpa_error *err);
VDPA_API int vdpa_dev_set(struct vdpa_device *vdev, const struct vdpa_dev_set_config *config,
			  struct vdpa_error *err);

/* ---- events ---- */

enum vdpa_event_type {
	VDPA_EVENT_ADD,
	VDPA_EVENT_DEL,
	VDPA_EVENT_BIND,
	VDPA_EVENT_UNBIND,
	VDPA_EVENT_CHANGE, /**< status, configuration, connection: @detail says what */
	VDPA_EVENT_BROKEN, /**< the device needs a reset; @detail: why */
};

struct vdpa_event {
	enum vdpa_event_type type;
	struct vdpa_device *vdev;
	const char *detail; /**< one line or "" */
};

struct vdpa_subscriber {
	void (*fn)(struct vdpa_subscriber *sub, const struct vdpa_event *event);
	struct vdpa_subscriber *next; /* the bus's */
};

VDPA_API void vdpa_subscribe(struct vdpa_ctx *ctx, struct vdpa_subscriber *sub);
VDPA_API void vdpa_unsubscribe(struct vdpa_ctx *ctx, struct vdpa_subscriber *sub);
/** Tell subscribers. Control thread. */
VDPA_API void vdpa_notify(struct vdpa_device *vdev, enum vdpa_event_type type, const char *detail);

#ifdef __cplusplus
}
#endif
#endif
