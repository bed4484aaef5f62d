/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtqueue: the driver's end of a ring, split or packed (virtio 1.3, sections 2.7 and 2.8), in
 * order or not (2.7.9, 2.8.9). The memory of ring and indirect tables is the caller's; the device
 * is not trusted: used ids, lengths, indices and flags are checked. One thread at a time.
 *
 * Since 0.1, unless a function says otherwise.
 */
#ifndef UVDPA_VIRTQUEUE_H
#define UVDPA_VIRTQUEUE_H

#include <uvdpa/types.h>
#include <uvdpa/vringh.h>

#ifdef __cplusplus
extern "C" {
#endif

struct virtqueue;

/** A buffer as the device will see it. */
struct virtqueue_sg {
	iova_t addr;
	uint32_t len;
};

struct virtqueue_config {
	size_t size; /**< sizeof(struct virtqueue_config) */
	uint32_t num;
	uint64_t features; /**< negotiated: RING_PACKED, INDIRECT_DESC, EVENT_IDX, VERSION_1,
			      IN_ORDER */
	void *mem; /**< virtqueue_mem_bytes() bytes, zeroed, page-aligned; stays the caller's */
	iova_t mem_iova; /**< where the device sees @mem */
	/** With INDIRECT_DESC: requests of at least so many pieces go through a table, others lie
	 * in the ring; 0: two. UINT32_MAX: none does. */
	uint32_t indirect_min;
};

/** Bytes of ring memory (with room for indirect tables when @features has INDIRECT_DESC). */
VDPA_API size_t virtqueue_mem_bytes(uint32_t num, uint64_t features);
/** Returns 0, -EINVAL (num beyond 32768 or, split, not a power of two), -ENOMEM. */
VDPA_API int virtqueue_new(const struct virtqueue_config *config, struct virtqueue **out);
VDPA_API void virtqueue_free(struct virtqueue *vq);
/** The three areas, for the device: descriptors, driver area, device area (2.6). */
VDPA_API void virtqueue_addrs(const struct virtqueue *vq, iova_t *desc, iova_t *driver,
			      iova_t *device);
VDPA_API uint32_t virtqueue_num(const struct virtqueue *vq);

/**
 * Make one request available: first @nout readable, then @nin writable pieces. @token comes back
 * with the completion; not NULL. Returns 0, -ENOSPC (ring full), -EINVAL (no piece, or more than
 * the ring allows). Visible to the device after virtqueue_publish().
 */
VDPA_API int virtqueue_add(struct virtqueue *vq, const struct virtqueue_sg *sg, unsigned nout,
			   unsigned nin, void *token);
/** Publish; returns true when the device wants a kick. */
VDPA_API bool virtqueue_publish(struct virtqueue *vq);
/**
 * Upper half of a notification with data (NOTIFICATION_DATA, 2.9): where the next request will be
 * made available. Split: the available index; packed: a place, and the wrap counter as bit 15.
 */
VDPA_API uint16_t virtqueue_next_avail(const struct virtqueue *vq);
/**
 * Next completion: its token, and in @len what the device says it wrote; NULL when there is none.
 * In order, requests come back as they were added, and those that the device skipped in its used
 * ring count as written completely. A device that breaks the rules breaks the queue: NULL from then
 * on, see virtqueue_broken().
 */
VDPA_API void *virtqueue_get(struct virtqueue *vq, uint32_t *len);
/** Ask for calls; returns true when completions came in meanwhile. */
VDPA_API bool virtqueue_enable_cb(struct virtqueue *vq);
VDPA_API void virtqueue_disable_cb(struct virtqueue *vq);
/** Requests not completed; free descriptors; true after the device broke the rules. */
VDPA_API unsigned virtqueue_outstanding(const struct virtqueue *vq);
VDPA_API unsigned virtqueue_num_free(const struct virtqueue *vq);
VDPA_API bool virtqueue_broken(const struct virtqueue *vq);
/** After the device was reset: the token of some request that was not completed, or NULL. Nothing
 * may be added to the queue any more. */
VDPA_API void *virtqueue_detach_unused(struct virtqueue *vq);
/** What set_vq_state gives a device for a queue that was not used yet. */
VDPA_API struct vdpa_vq_state virtqueue_first_state(const struct virtqueue *vq);
/**
 * What to give a device that starts anew on the queue as it is, because the former one died: it
 * goes on where the used ring ends. 0; -ESTALE: requests ended out of order, so that the ring alone
 * does not tell which ones are open (an in-flight area does; @state is good for that); -EBADMSG:
 * what the device left in the ring cannot be.
 */
VDPA_API int virtqueue_device_state(const struct virtqueue *vq, struct vdpa_vq_state *state);

#ifdef __cplusplus
}
#endif
#endif
