/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The software-device kit: a vDPA device in software is its feature bits, its config space and one
 * function that serves a queue; this implements every config op, once.
 *
 * Threads: each running queue belongs to one loop. Functions and ops marked [q] run on it; all
 * others on the control thread. Queues with the same vq_affinity key share a loop.
 *
 * Life of a queue: set up by the driver; started when DRIVER_OK is set and it is ready (in either
 * order); @run is called after kicks; stopped by a reset, suspend, stop_vq, an error: @stop is
 * called, then the kit waits until every chain was completed or cancelled, at most stop_timeout_ns;
 * then the device is marked broken (DEVICE_NEEDS_RESET) and its requests cancelled.
 *
 * Since 0.1, unless a function says otherwise.
 */
#ifndef UVDPA_SOFT_H
#define UVDPA_SOFT_H

#include <uvdpa/vdpa.h>
#include <uvdpa/vringh.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vdpa_soft;
struct vdpa_soft_vq;
struct vdpa_soft_core; /* private */

/** Embedded, by software devices, in their own structure. */
struct vdpa_soft {
	struct vdpa_device vdpa;
	struct vdpa_soft_core *core;
	const struct vdpa_soft_ops *ops;
	void *reserved[2];
};

struct vdpa_soft_ops {
	size_t size; /**< sizeof(struct vdpa_soft_ops) */
	/**
	 * M [q]. Serve the queue: get at most @budget requests, handle them, flush. Returns true to
	 * be called again before the loop sleeps (there may be more), false when the ring was found
	 * empty or nothing can be done before something else happens (then: vdpa_soft_vq_wake()).
	 */
	bool (*run)(struct vdpa_soft *dev, struct vdpa_soft_vq *vq, unsigned budget);
	/** O [q]. The queue starts; 0 or -errno (then it does not run, and the device needs a
	 * reset). */
	int (*start)(struct vdpa_soft *dev, struct vdpa_soft_vq *vq);
	/**
	 * O [q]. The queue is to stop: end what is out, soon. Requests may be given up only when
	 * vdpa_soft_vq_cancelling(): then vdpa_soft_cancel() them. Called again when a drain turns
	 * into that (a reset, or the deadline).
	 */
	void (*stop)(struct vdpa_soft *dev, struct vdpa_soft_vq *vq);
	/**
	 * O [q]. Memory of the driver, at these addresses in this process, is being taken away: let
	 * go of what was kept of it. Requests that still use it are waited for, as always.
	 */
	void (*memory_gone)(struct vdpa_soft *dev, struct vdpa_soft_vq *vq, uintptr_t first,
			    uintptr_t last);
	/** O [q]. It has stopped: nothing is out; free what start made. */
	void (*stopped)(struct vdpa_soft *dev, struct vdpa_soft_vq *vq);

	/** O. Veto: is this set of features usable? 0 or -EINVAL. FEATURES_OK was asked for. */
	int (*check_features)(struct vdpa_soft *dev, uint64_t features);
	/** O. DRIVER_OK was set / the device was reset (features and queues are cleared already).
	 */
	void (*driver_ok)(struct vdpa_soft *dev);
	void (*reset)(struct vdpa_soft *dev);
	/** O. The driver wrote @len bytes of config at @offset (in bounds). NULL: ignored. */
	void (*config_write)(struct vdpa_soft *dev, unsigned offset, const void *buf, unsigned len);
	/** O. Queues with equal keys share a loop. NULL: the index is the key. */
	unsigned (*vq_affinity)(struct vdpa_soft *dev, uint16_t idx);
	/** O. Names and values of the queue's statistics. */
	void (*vq_stats)(struct vdpa_soft *dev, struct vdpa_soft_vq *vq, vdpa_stat_fn emit,
			 void *arg);
	/** O. With VDPA_SOFT_GROUPS_OWN: the group of a queue, and of its descriptor area. */
	unsigned (*vq_group)(struct vdpa_soft *dev, uint16_t idx);
	unsigned (*vq_desc_group)(struct vdpa_soft *dev, uint16_t idx);
	/** O. */
	int (*announce)(struct vdpa_soft *dev, const uint8_t mac[6]);
	void (*show)(struct vdpa_soft *dev, vdpa_emit_fn emit, void *arg);
	/** O. State beyond the kit's own (which it saves itself): see struct vdpa_ext_ops. */
	int (*save_state)(struct vdpa_soft *dev, void *buf, size_t *bytes);
	int (*load_state)(struct vdpa_soft *dev, const void *buf, size_t bytes,
			  struct vdpa_error *err);
	/** O. Last reference is gone: free the device's own. */
	void (*free)(struct vdpa_soft *dev);
	/**
	 * O [q]. Look for completions, without waiting and, if possible, without a system call;
	 * called after each @run. True when there were some.
	 */
	bool (*poll)(struct vdpa_soft *dev, struct vdpa_soft_vq *vq);
	/**
	 * O [q]. Memory is to go that requests which are out refer to: end, soon, what the device
	 * need not keep.
	 */
	void (*reclaim)(struct vdpa_soft *dev, struct vdpa_soft_vq *vq);
	/** O. Does the device only read what comes through this queue? See read_only in vringh.h.
	 */
	bool (*vq_read_only)(struct vdpa_soft *dev, uint16_t idx);
	/**
	 * O. Is the queue served on the control thread (a control queue: few requests, which change
	 * what the control thread owns)? Asked when DRIVER_OK is set, after @driver_ok: it may
	 * depend on features.
	 */
	bool (*vq_control)(struct vdpa_soft *dev, uint16_t idx);
	/** O. The driver reset this queue alone (virtio 1.3, section 2.6.1). */
	void (*vq_reset)(struct vdpa_soft *dev, uint16_t idx);
};

enum vdpa_soft_map {
	VDPA_SOFT_DMA_MAP, /**< incremental: dma_map and dma_unmap */
	VDPA_SOFT_SET_MAP, /**< the whole table at once */
};

/**
 * Which queues share a virtqueue group, and with it an address space. With desc_group the rings and
 * descriptor tables, also indirect ones, are in other groups than the buffers.
 */
enum vdpa_soft_groups {
	VDPA_SOFT_GROUPS_DEFAULT, /**< OWN with the op vq_group, CVQ with control_vq, or SINGLE */
	VDPA_SOFT_GROUPS_OWN,	  /**< as the ops say: ngroups and nas are given */
	VDPA_SOFT_GROUPS_SINGLE,  /**< all in 0; descriptors in 1 */
	VDPA_SOFT_GROUPS_CVQ,	 /**< the control queue in 1, all else in 0; its descriptors in 2 */
	VDPA_SOFT_GROUPS_PER_VQ, /**< queue N in N; its descriptors in nvqs + N */
};

struct vdpa_soft_params {
	size_t size;	    /**< sizeof(struct vdpa_soft_params) */
	size_t struct_size; /**< of the device's structure, which begins with its struct vdpa_soft
			     */
	const struct vdpa_soft_ops *ops;
	const char *name;
	const char *parent;
	uint32_t device_id; /**< VIRTIO_ID_* */
	uint32_t vendor_id;
	/** Offered, besides what the kit adds: vdpa_soft_kit_features(). */
	uint64_t features;
	uint64_t features_off; /**< of the kit's: do not offer */
	uint32_t nvqs;
	uint16_t num_max;   /**< ring size, a power of two; 0: 256 */
	const void *config; /**< initial config space, little endian, copied */
	size_t config_bytes;
	size_t priv_bytes; /**< per request */
	enum vdpa_soft_groups groups;
	bool desc_group;
	bool control_vq;  /**< there is a control queue: the op vq_control says which one */
	unsigned ngroups; /**< with GROUPS_OWN */
	unsigned nas;	  /**< 0: as many as groups; with GROUPS_OWN: 1 */
	enum vdpa_soft_map map;
	uint64_t stop_timeout_ns; /**< 0: 30 s */
	unsigned budget;	  /**< requests per wake-up and queue; 0: 64 */
	unsigned busyloop_us;	  /**< vdpa_soft_set_busyloop() */
	const char *workers;	  /**< as the attribute; NULL: all, in turn */
};

/**
 * First half of a birth: allocate (zeroed) and set up. The device then sets its own members and
 * calls vdpa_soft_register(). To undo before that: vdpa_put_device(). NULL with @err on error.
 */
VDPA_API void *vdpa_soft_alloc(struct vdpa_ctx *ctx, const struct vdpa_soft_params *params,
			       struct vdpa_error *err);
VDPA_API int vdpa_soft_register(struct vdpa_soft *dev, struct vdpa_error *err);
/**
 * The features that the kit can offer besides the device's own, unless features_off says not to.
 * IN_ORDER and NOTIFICATION_DATA only when they are in features.
 */
VDPA_API uint64_t vdpa_soft_kit_features(void);
/** For parents that let their user choose "dma_map" or "set_map", "workers", ...: attributes that
 * the kit understands. */
VDPA_API extern const struct vdpa_attr_spec vdpa_soft_attrs[];
/** Apply those of @attrs that are the kit's to @params (before alloc). */
VDPA_API void vdpa_soft_params_attrs(struct vdpa_soft_params *params,
				     const struct vdpa_attr *attrs);

/**
 * dev_del for parents: unregister, reset what nobody drives any more, free, then @done. The device
 * is freed with its last reference, which a stuck backend, or somebody else, may hold for longer.
 */
VDPA_API int vdpa_soft_dev_del(struct vdpa_mgmt_dev *mdev, struct vdpa_device *vdev,
			       const struct vdpa_done *done);

/**
 * After work a queue is looked at for at most @us microseconds (as long as that has been worth it)
 * before its loop sleeps and needs a kick. 0: only as long as its requests have paid for, which is
 * never longer than they took. Control thread; for the next wait of each queue.
 */
VDPA_API void vdpa_soft_set_busyloop(struct vdpa_soft *dev, unsigned us);
VDPA_API unsigned vdpa_soft_get_busyloop(const struct vdpa_soft *dev);
/**
 * dev_set_attr for parents: those of the kit's attributes that a device takes while it exists
 * (busyloop, workers). -EINVAL with @err: another one.
 */
VDPA_API int vdpa_soft_dev_set(struct vdpa_mgmt_dev *mdev, struct vdpa_device *vdev,
			       const struct vdpa_dev_set_config *config, struct vdpa_error *err);

/**
 * Notification coalescing (virtio 1.3, section 5.1.6.5.9): after a notification the next one waits
 * until @max_requests have been completed since, or @max_usecs microseconds after the first of
 * them. No longer than the whole ring is completed, or the queue stops. Either of them 0: nothing
 * waits. Control thread; holds until it is set again.
 */
VDPA_API void vdpa_soft_set_coal(struct vdpa_soft *dev, uint16_t idx, uint32_t max_requests,
				 uint32_t max_usecs);

/* Device. Any loop. */
VDPA_API uint64_t vdpa_soft_features(const struct vdpa_soft *dev); /**< negotiated */
VDPA_API bool vdpa_soft_has(const struct vdpa_soft *dev, unsigned feature_bit);
/** Change config bytes from the device's side: generation goes up, the driver is told. Control
 * thread. */
VDPA_API int vdpa_soft_config_set(struct vdpa_soft *dev, unsigned offset, const void *buf,
				  unsigned len);
/** As above, for what the driver itself wrote (inside config_write): nobody is told. */
VDPA_API int vdpa_soft_config_store(struct vdpa_soft *dev, unsigned offset, const void *buf,
				    unsigned len);
VDPA_API void vdpa_soft_config_get(struct vdpa_soft *dev, unsigned offset, void *buf, unsigned len);
/** DEVICE_NEEDS_RESET, config call, event, rate-limited log line. Any loop. @why: copied. */
VDPA_API void vdpa_soft_broken(struct vdpa_soft *dev, const char *why);
VDPA_API struct vdpa_soft_vq *vdpa_soft_get_vq(struct vdpa_soft *dev, uint16_t idx);
static inline struct vdpa_soft *vdpa_to_soft(struct vdpa_device *vdev)
{
	return (struct vdpa_soft *)(void *)((char *)vdev - offsetof(struct vdpa_soft, vdpa));
}

/* Queue. [q] all of them, but index and the user pointer. */
VDPA_API uint16_t vdpa_soft_vq_index(const struct vdpa_soft_vq *vq);
VDPA_API struct vdpa_soft *vdpa_soft_vq_dev(struct vdpa_soft_vq *vq);
VDPA_API struct vdpa_loop *vdpa_soft_vq_loop(struct vdpa_soft_vq *vq);
VDPA_API bool vdpa_soft_vq_running(const struct vdpa_soft_vq *vq);
/** The device's own pointer, per queue. */
VDPA_API void vdpa_soft_vq_set_priv(struct vdpa_soft_vq *vq, void *priv);
VDPA_API void *vdpa_soft_vq_get_priv(const struct vdpa_soft_vq *vq);
/**
 * As vringh_getdesc(), but a malformed ring is dealt with by the kit (queue stopped,
 * DEVICE_NEEDS_RESET, log, counter), and a miss parks: returns the number of requests, 0 in those
 * cases.
 */
VDPA_API unsigned vdpa_soft_getdesc(struct vdpa_soft_vq *vq, struct vringh_chain **chains,
				    unsigned max);
/**
 * As vringh_abandon(). A @run that needs more requests than there are asks until it gets none, then
 * abandons what it has: it is called again when the driver adds some. Who abandons for another
 * reason wakes the queue when that is over.
 */
VDPA_API void vdpa_soft_abandon(struct vdpa_soft_vq *vq, unsigned n);
VDPA_API void vdpa_soft_complete(struct vdpa_soft_vq *vq, struct vringh_chain *chain,
				 uint32_t written);
/** vdpa_soft_complete() of @n requests, in this order; @written: for each, or NULL when it is 0 for
 * all. */
VDPA_API void vdpa_soft_complete_n(struct vdpa_soft_vq *vq, struct vringh_chain *const *chains,
				   const uint32_t *written, unsigned n);
/** Forget a request: nothing of it is written, the driver does not get it back. For resets. */
VDPA_API void vdpa_soft_cancel(struct vdpa_soft_vq *vq, struct vringh_chain *chain);
/** Is the queue being stopped for good (reset), so that requests may be cancelled? */
VDPA_API bool vdpa_soft_vq_cancelling(const struct vdpa_soft_vq *vq);
/** The queue was given up, after its deadline: nothing may be written to the driver's memory. */
VDPA_API bool vdpa_soft_vq_dropping(const struct vdpa_soft_vq *vq);
/** vringh_iov_push(), but nothing when dropping. For completions that come late. */
VDPA_API size_t vdpa_soft_push(struct vdpa_soft_vq *vq, const struct vringh_chain *chain,
			       uint64_t off, const void *buf, size_t len);
/** Publish completions and call the driver if it wants that. */
VDPA_API void vdpa_soft_flush(struct vdpa_soft_vq *vq);
/** vdpa_view_bounds() of the queue's buffers. */
VDPA_API bool vdpa_soft_vq_bounds(struct vdpa_soft_vq *vq, const void *addr, uintptr_t *first,
				  uintptr_t *last);
/** Have @run called soon. [q]; for another loop's queue post a message. */
VDPA_API void vdpa_soft_vq_wake(struct vdpa_soft_vq *vq);
/** A request that the device cannot parse: count and log it; DEVICE_NEEDS_RESET is the device's
 * choice. */
VDPA_API void vdpa_soft_bad_request(struct vdpa_soft_vq *vq, const struct vringh_chain *chain,
				    const char *why);

#ifdef __cplusplus
}
#endif
#endif
