/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The inside of a virtqueue: one driver's end, two ring formats.
 *
 * virtqueue.c         birth, questions, and which format a call goes to
 * virtqueue_split.c   descriptor table, avail ring, used ring
 * virtqueue_packed.c  one ring of descriptors, wrap counters
 *
 * A call branches on the format once, and jumps there; the formats do not share their inner loops.
 *
 * Who attacks: the device, which shares the memory of the ring and may write anywhere in it. So
 * that memory is only ever written here, but for what the device has to say; links, lengths,
 * positions and tokens are kept in memory of our own. What the device says (used index, id, length,
 * flags) is checked against that; a lie breaks the queue for good.
 */
#ifndef RING_VIRTQUEUE_IMPL_H
#define RING_VIRTQUEUE_IMPL_H

#include <errno.h>

#include <uvdpa/compat.h>
#include <uvdpa/virtqueue.h>

#include "ring/guest.h"

/* On the way of every request, from more than one place. */
#define VQ_INLINE static inline __attribute__((always_inline))

#define VQ_MAX_NUM 32768
#define VQ_PAGE 4096
/* Entries of an indirect table: longer requests use the ring's own descriptors. */
#define VQ_INDIRECT_MAX 128

/* Per head (split), per buffer id (packed). */
struct vq_request {
	void *token;	   /* NULL: no request */
	uint64_t writable; /* bytes that the device may write */
	uint16_t next;	   /* split: of the chain, or of the free list; packed: of the free list */
	uint16_t count;	   /* descriptors of the request */
	uint32_t seq;	   /* requests (packed: descriptors) that were added before it */
};

struct virtqueue {
	/* Set at birth. */
	uint32_t num;
	uint32_t ntable;       /* entries of an indirect table; 0: not negotiated */
	uint32_t indirect_min; /* pieces from which on a table is used */
	bool packed, in_order, event_idx, native, modern;
	uint8_t *mem;
	iova_t mem_iova;
	struct guest_desc *desc; /* split: the table; packed: see virtqueue_packed.c */
	uint8_t *avail, *used;	 /* driver area, device area */
	size_t table_off;

	bool broken;
	bool want_cb;
	uint16_t free_head; /* of the requests that are free */
	uint32_t nfree;	    /* descriptors */
	unsigned outstanding;

	/* As vq_request.seq: next to add, next to be used. Split: the indices, in their low half.
	 */
	uint32_t avail_seq, used_seq;
	uint16_t published_idx; /* split: what the device sees */

	/* Packed. */
	uint16_t next_avail, next_used; /* places in the ring */
	bool avail_wrap, used_wrap;
	uint16_t unpublished; /* descriptors of the batch that is being added */
	uint16_t first_place; /* its first one, whose flags make the batch visible */
	uint16_t first_flags;

	/* In order: one used entry stands for all requests up to its own. */
	uint16_t oldest;     /* request that ends next */
	uint16_t batch_left; /* of the last used entry, still to be handed out */
	uint32_t batch_len;  /* what that entry said; of its last request */

	struct vq_request req[];
};

/* ---- virtqueue.c: what formats call ---- */

static inline void *vq_break(struct virtqueue *vq)
{
	vq->broken = true;
	return NULL;
}

static inline size_t vq_align(size_t v, size_t to)
{
	return (v + to - 1) & ~(to - 1);
}

/* Where the indirect table of request @id lies in the ring's memory. */
static inline size_t vq_table_off(const struct virtqueue *vq, uint16_t id)
{
	return vq->table_off + (size_t)id * vq->ntable * sizeof(struct guest_desc);
}

static inline bool vq_indirect(const struct virtqueue *vq, unsigned total)
{
	return total >= vq->indirect_min && total <= vq->ntable;
}

/*
 * What request @r may report, out of what the device said. False: it lies. Legacy devices are known
 * to report too much (virtio 1.3, 2.7.8.3); nobody else may.
 */
static inline bool vq_check_len(const struct virtqueue *vq, const struct vq_request *r,
				uint32_t *len)
{
	if (ring_likely(*len <= r->writable))
		return true;
	if (vq->modern)
		return false;
	*len = (uint32_t)r->writable;
	return true;
}

/* Virtio 1.3, 2.7.9 and 2.8.9: buffers that a batch skips count as used completely. */
static inline uint32_t vq_skipped_len(const struct vq_request *r)
{
	return r->writable > UINT32_MAX ? UINT32_MAX : (uint32_t)r->writable;
}

/*
 * May a request of @nout + @nin pieces be added? 0 with *@need descriptors, or -errno. The sum of
 * the pieces was checked against wrapping by limits of each.
 */
static inline int vq_check_add(const struct virtqueue *vq, unsigned nout, unsigned nin,
			       unsigned *need)
{
	unsigned total = nout + nin;

	*need = vq_indirect(vq, total) ? 1 : total;
	if (nout > VQ_MAX_NUM || nin > VQ_MAX_NUM || total == 0 || *need > vq->num)
		return -EINVAL;
	return *need > vq->nfree || vq->broken ? -ENOSPC : 0;
}

/* Flags of piece @i of a chain. */
static inline uint16_t vq_piece_flags(unsigned i, unsigned nout, unsigned total)
{
	return (uint16_t)((i >= nout ? VRING_DESC_F_WRITE : 0) |
			  (i + 1 < total ? VRING_DESC_F_NEXT : 0));
}

static inline uint64_t vq_writable(const struct virtqueue_sg *sg, unsigned nout, unsigned total)
{
	uint64_t bytes = 0;

	for (unsigned i = nout; i < total; i++)
		bytes += sg[i].len;
	return bytes;
}

/* ---- the formats ---- */

/* Offsets in the ring's memory. */
struct vq_layout {
	size_t driver, device, tables;
};

#define VQ_FORMAT(name)                                                                            \
	void vq_##name##_layout(uint32_t num, struct vq_layout *l);                                \
	void vq_##name##_init(struct virtqueue *vq);                                               \
	int vq_##name##_add(struct virtqueue *vq, const struct virtqueue_sg *sg, unsigned nout,    \
			    unsigned nin, void *token);                                            \
	bool vq_##name##_publish(struct virtqueue *vq);                                            \
	void *vq_##name##_get(struct virtqueue *vq, uint32_t *len);                                \
	bool vq_##name##_enable_cb(struct virtqueue *vq);                                          \
	void vq_##name##_disable_cb(struct virtqueue *vq);                                         \
	/* The request @id is over: its descriptors are free. Returns its token. */                \
	void *vq_##name##_release(struct virtqueue *vq, uint16_t id);                              \
	int vq_##name##_device_state(const struct virtqueue *vq, struct vdpa_vq_state *state);     \
	uint16_t vq_##name##_next_avail(const struct virtqueue *vq)

VQ_FORMAT(split);
VQ_FORMAT(packed);

#endif
