/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vringh: the device's end of a virtqueue (virtio 1.3, sections 2.6, 2.7 and 2.8). The only code
 * that walks descriptors.
 *
 * Who attacks: the driver, which may change every byte of ring and buffers at any time. Each
 * descriptor is copied once, the copy is checked, and only the copy is used. Work per call is
 * bounded by the queue's size. A malformed ring stops its queue (-EBADMSG) and nothing else.
 *
 * Ring, descriptors and buffers are reached through views, each may be scattered over ranges or lie
 * in memory by message. All calls: the queue's loop, unless stated.
 *
 * A chain that was got is accounted for exactly once: completed, abandoned (given back, in reverse
 * order), or dropped by vringh_cancel() - after which nothing of it is written to guest memory.
 *
 * Since 0.1, unless a function says otherwise.
 */
#ifndef UVDPA_VRINGH_H
#define UVDPA_VRINGH_H

#include <uvdpa/mem.h>
#include <uvdpa/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vringh;
struct vringh_inflight;

/** Most pieces of memory in one chain; a chain with more is malformed (IOV_MAX of Linux). */
#define VRINGH_MAX_IOV 1024

/** What GET_VRING_BASE, get_vq_state and set_vq_state carry (Linux: struct vdpa_vq_state). */
struct vdpa_vq_state_split {
	uint16_t avail_index;
};
struct vdpa_vq_state_packed {
	uint16_t last_avail_counter : 1;
	uint16_t last_avail_idx : 15;
	uint16_t last_used_counter : 1;
	uint16_t last_used_idx : 15;
};
struct vdpa_vq_state {
	union {
		struct vdpa_vq_state_split split;
		struct vdpa_vq_state_packed packed;
	};
};

/**
 * As vhost's VRING_BASE has it: split: the index; packed: available index, its wrap counter in bit
 * 15, and the same of used in the upper half (vhost-user specification, "Ring states").
 */
static inline uint32_t vdpa_vq_state_to_base(const struct vdpa_vq_state *state, bool packed)
{
	if (!packed)
		return state->split.avail_index;
	return (uint32_t)state->packed.last_avail_idx |
	       (uint32_t)state->packed.last_avail_counter << 15 |
	       (uint32_t)state->packed.last_used_idx << 16 |
	       (uint32_t)state->packed.last_used_counter << 31;
}
static inline struct vdpa_vq_state vdpa_vq_state_from_base(uint32_t base, bool packed)
{
	struct vdpa_vq_state state;

	state.packed.last_avail_idx = base & 0x7fff;
	state.packed.last_avail_counter = (base >> 15) & 1;
	state.packed.last_used_idx = (base >> 16) & 0x7fff;
	state.packed.last_used_counter = base >> 31;
	if (!packed) {
		state.packed.last_used_idx = 0;
		state.packed.last_used_counter = 0;
		state.split.avail_index = (uint16_t)base;
	}
	return state;
}
/** Of a ring that was never used: both wrap counters of a packed ring are 1 (virtio 1.3, 2.8.1). */
#define VDPA_VQ_BASE_NEW(packed) ((packed) ? 0x80008000u : 0u)

/** One request. Read-only for the device but @user and the priv area. */
struct vringh_chain {
	struct iovec *iov; /**< first @nout pieces to read from, then @nin pieces to write to */
	uint16_t nout, nin;
	uint16_t head;		  /**< index of the head descriptor (split) or buffer id (packed) */
	uint16_t state;		  /* private */
	uint16_t index;		  /* private: slot */
	uint16_t ndesc;		  /* private: descriptors of the ring that it takes (packed) */
	uint16_t order;		  /* private: where it stands among those that were got */
	uint64_t out_len, in_len; /**< bytes to read, bytes that may be written */
	void *priv; /**< priv_bytes of the device's own, for its request; zeroed once, at start */
	void *user; /**< the device's */
};

struct vringh_config {
	size_t size;	   /**< sizeof(struct vringh_config) */
	uint64_t features; /**< negotiated: RING_PACKED, INDIRECT_DESC, EVENT_IDX, IN_ORDER,
			      VERSION_1 */
	uint32_t num;	   /**< ring size, at most 32768; split: a power of two */
	iova_t desc, driver, device;	  /**< the three areas (split: table, avail, used; packed:
					     ring, driver's and device's event structure) */
	struct vdpa_view *ring_view;	  /**< for the three areas and for indirect tables */
	struct vdpa_view *buf_view;	  /**< for buffers; may be the same */
	struct vdpa_vq_state state;	  /**< where to go on */
	size_t priv_bytes;		  /**< per-request memory of the device */
	struct vringh_inflight *inflight; /**< NULL: not tracked */
	/**
	 * A queue whose buffers the device only reads. WRITE in an indirect table of a packed ring
	 * is ignored then: DPDK's driver leaves it set there, also at what it sends.
	 */
	bool read_only;
	bool legacy_layout; /**< no VERSION_1: avail, used at the legacy offsets were computed by
			       the driver; native endian */
};

/**
 * Can a ring of @num entries stand at @state? 0 or -EINVAL with @err. vringh_init() asks it too.
 * Any thread.
 */
VDPA_API int vringh_state_check(const struct vdpa_vq_state *state, uint32_t num, bool packed,
				struct vdpa_error *err);

/** Counters; all are totals since the queue was started. */
struct vringh_stats {
	uint64_t chains, completed, bytes_out, bytes_in;
	uint64_t notify_sent, notify_suppressed;
	uint64_t misses, bad;
};

/**
 * Start a ring. Returns 0; -EINVAL (size, alignment: @err says which), -EFAULT or -EAGAIN (areas
 * not mapped (yet): allowed, the first vringh_getdesc() tries again, so this is not an error of
 * init), -ENOTSUP (a ring format that is not built in), -ENOMEM. On the control thread, before the
 * queue runs.
 */
VDPA_API int vringh_init(const struct vringh_config *config, struct vringh **out,
			 struct vdpa_error *err);
/** Chains that are still out are dropped. Control thread, after the queue has stopped. */
VDPA_API void vringh_free(struct vringh *vr);

/**
 * Get up to @max requests. Returns how many (0: ring empty); -EAGAIN (a translation is missing;
 * parked until the map changes. Or: chains that are out hold all the memory that this queue may
 * take for buffers by message; parked until one of them ends. So: try again after
 * vringh_map_changed() and after completions); -EBADMSG (malformed: vringh_error() says why; the
 * ring has stopped for good); -EFAULT is reported as -EBADMSG too.
 */
VDPA_API int vringh_getdesc(struct vringh *vr, struct vringh_chain **chains, unsigned max);
/** Give the last @n chains that were got back to the ring, untouched, as if never got. */
VDPA_API void vringh_abandon(struct vringh *vr, unsigned n);
/**
 * End a request: @written bytes (at most in_len), from the start of its writable part, were
 * written. The chain is no longer the device's. Not visible to the driver before vringh_flush();
 * with IN_ORDER negotiated also not before all that were got earlier have ended.
 */
VDPA_API void vringh_complete(struct vringh *vr, struct vringh_chain *chain, uint32_t written);
/** vringh_complete() of @n chains, in this order; @written: for each, or NULL when it is 0 for all.
 */
VDPA_API void vringh_complete_n(struct vringh *vr, struct vringh_chain *const *chains,
				const uint32_t *written, unsigned n);
/**
 * Make completions visible. Returns 0, -EBADMSG (the used ring cannot be reached), or -EAGAIN (not
 * yet: flush again after vringh_map_changed(); nothing is lost meanwhile).
 */
VDPA_API int vringh_flush(struct vringh *vr);
/**
 * After a flush: does the driver want a call? (Event index, NO_INTERRUPT, NOTIFY_ON_EMPTY.) Of a
 * ring that is tracked in flight, ask once after the first vringh_getdesc() too: a process that
 * died may owe one.
 */
VDPA_API bool vringh_need_notify(struct vringh *vr);
/**
 * Ask the driver for kicks. Returns true when vringh_getdesc() has something to say, requests that
 * came in meanwhile or -EBADMSG: call it before sleeping. vringh_notify_disable() is a hint: kicks
 * may still come.
 */
VDPA_API bool vringh_notify_enable(struct vringh *vr);
VDPA_API void vringh_notify_disable(struct vringh *vr);

/** Copy from / to a chain's pieces at byte @off of its readable / writable part; returns bytes
 * copied. */
VDPA_API size_t vringh_iov_pull(const struct vringh_chain *chain, uint64_t off, void *buf,
				size_t len);
VDPA_API size_t vringh_iov_push(const struct vringh_chain *chain, uint64_t off, const void *buf,
				size_t len);

/** Number of chains that are out. */
VDPA_API unsigned vringh_outstanding(const struct vringh *vr);
/** Forget a chain: nothing of it is written; it stays un-used in the ring. For resets. */
VDPA_API void vringh_cancel(struct vringh *vr, struct vringh_chain *chain);
/** Visit every chain that is out. */
VDPA_API void vringh_for_each(struct vringh *vr, void (*fn)(void *arg, struct vringh_chain *chain),
			      void *arg);
/**
 * Where the ring stands: next available, and of a packed ring next used, as GET_VRING_BASE wants
 * it. Any time after it stopped.
 */
VDPA_API struct vdpa_vq_state vringh_state(const struct vringh *vr);
VDPA_API const struct vringh_stats *vringh_get_stats(const struct vringh *vr);
/** Why the ring stopped: one line, or NULL. */
VDPA_API const char *vringh_error(const struct vringh *vr);
/**
 * For vdpa_view_ops of the queue's views: forward to these. vringh_map_changed() also whenever
 * vdpa_view_refresh() of one of them returned true: the ring keeps translations of its areas.
 */
VDPA_API bool vringh_in_use(const struct vringh *vr, uintptr_t first, uintptr_t last);
VDPA_API void vringh_map_changed(struct vringh *vr);

/* ---- in-flight tracking (vhost-user specification, "Inflight I/O tracking") ---- */

/** Bytes that the shared area of one queue of @num entries takes. */
VDPA_API size_t vringh_inflight_bytes(uint32_t num, bool packed);
/**
 * Use @area (shared, hostile: a peer may change it at any time) for a queue of @num entries. It is
 * validated on attach: requests that were in flight are got again, oldest first. The area must stay
 * until free. Returns 0, -EINVAL (size, version, num) with @err, -ENOMEM.
 */
VDPA_API int vringh_inflight_new(void *area, size_t bytes, uint32_t num, bool packed,
				 struct vringh_inflight **out, struct vdpa_error *err);
VDPA_API void vringh_inflight_free(struct vringh_inflight *inflight);
/**
 * The driver reset the ring: what was in flight is not to be done again. Between vringh_free() and
 * the next vringh_init() with @inflight.
 */
VDPA_API void vringh_inflight_forget(struct vringh_inflight *inflight);

#ifdef __cplusplus
}
#endif
#endif
