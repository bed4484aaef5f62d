/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtqueue: the driver's end of a ring (virtio 1.3, section 2.6). The memory of ring and indirect
 * tables is the caller's; the device is not trusted: used ids and lengths are checked. One thread
 * at a time.
 */
#ifndef UVDPA_VIRTQUEUE_H
#define UVDPA_VIRTQUEUE_H

#include <uvdpa/types.h>

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
};

/** Bytes of ring memory (with room for indirect tables when @features has INDIRECT_DESC). */
VDPA_API size_t virtqueue_mem_bytes(uint32_t num, uint64_t features);
/** Returns 0, -EINVAL (num not a power of two or beyond 32768), -ENOTSUP (format), -ENOMEM. */
VDPA_API int virtqueue_new(const struct virtqueue_config *config, struct virtqueue **out);
VDPA_API void virtqueue_free(struct virtqueue *vq);
/** The three areas, for the device. */
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
 * Next completion: its token, and in @len what the device says it wrote; NULL when there is none.
 * A device that breaks the rules breaks the queue: NULL from then on, see virtqueue_broken().
 */
VDPA_API void *virtqueue_get(struct virtqueue *vq, uint32_t *len);
/** Ask for calls; returns true when completions came in meanwhile. */
VDPA_API bool virtqueue_enable_cb(struct virtqueue *vq);
VDPA_API void virtqueue_disable_cb(struct virtqueue *vq);
/** Requests not completed; free descriptors; true after the device broke the rules. */
VDPA_API unsigned virtqueue_outstanding(const struct virtqueue *vq);
VDPA_API unsigned virtqueue_num_free(const struct virtqueue *vq);
VDPA_API bool virtqueue_broken(const struct virtqueue *vq);
/** After the device was reset: the token of some request that was not completed, or NULL. */
VDPA_API void *virtqueue_detach_unused(struct virtqueue *vq);

#ifdef __cplusplus
}
#endif
#endif
