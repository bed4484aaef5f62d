// SPDX-License-Identifier: BSD-3-Clause
/*
 * The driver's end of a packed ring (virtio 1.3, 2.8).
 *
 * One ring of descriptors: the driver writes requests into it from place to place, the device
 * writes used descriptors over them, at places of its own. Two flags of each descriptor, AVAIL and
 * USED, say whose turn it is: both change their meaning with every lap, as the wrap counter of the
 * side that writes does. A request is known by its buffer id; it takes as many places as it has
 * descriptors, and its used descriptor stands for all of them.
 *
 * What is added is not seen before it is published: the flags of a batch's first descriptor are
 * written last, and a device does not look beyond a descriptor that is not available (2.8.20).
 *
 * Memory: the ring, then the driver's and the device's event suppression areas, each in a cache
 * line of its own, then the indirect tables. The format exists only since virtio 1.1: it is
 * little-endian.
 *
 * Who attacks: see virtqueue_impl.h. Of the ring, only the descriptor at the place where the next
 * used one must be is ever read.
 */
#include "ring/virtqueue_impl.h"

#define F_AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define F_USED (1u << VRING_PACKED_DESC_F_USED)

/* 2.8.14: offset and wrap counter in the low half, flags in the high one: written and read as one
 * word, so that they belong together. */
#define EVENT_FLAGS_SHIFT 16
#define EVENT_WRAP_SHIFT VRING_PACKED_EVENT_F_WRAP_CTR

void vq_packed_layout(uint32_t num, struct vq_layout *l)
{
	l->driver = vq_align(num * sizeof(struct guest_pdesc), 64);
	l->device = l->driver + 64;
	l->tables = l->device + 64;
}

static struct guest_pdesc *place_desc(const struct virtqueue *vq, uint16_t place)
{
	return (struct guest_pdesc *)(void *)vq->mem + place;
}

/* Flags of a descriptor that is available (the other side's bit is the opposite), in this lap. */
static uint16_t avail_bits(bool wrap)
{
	return wrap ? F_AVAIL : F_USED;
}

static void put_event(const struct virtqueue *vq, uint16_t flags)
{
	uint32_t at = vq->next_used | (uint32_t)vq->used_wrap << EVENT_WRAP_SHIFT;

	guest_store32((struct guest_le32 *)(void *)vq->avail,
		      at | (uint32_t)flags << EVENT_FLAGS_SHIFT, false);
}

void vq_packed_init(struct virtqueue *vq)
{
	for (uint32_t i = 0; i < vq->num; i++)
		vq->req[i].next = (uint16_t)(i + 1 < vq->num ? i + 1 : 0);
	vq->avail_wrap = vq->used_wrap = true;
	if (vq->event_idx)
		put_event(vq, VRING_PACKED_EVENT_FLAG_DESC);
}

/* ---- add ---- */

/* One descriptor, at the next place; its flags may have to wait. */
static void put_desc(struct virtqueue *vq, const struct desc_copy *c)
{
	struct guest_pdesc *d = place_desc(vq, vq->next_avail);
	uint16_t flags = c->flags | avail_bits(vq->avail_wrap);

	guest_store64(&d->addr, c->addr, false);
	guest_store32(&d->len, c->len, false);
	guest_store16(&d->id, c->next, false);
	if (vq->unpublished++ == 0) {
		vq->first_place = vq->next_avail;
		vq->first_flags = flags;
	} else {
		guest_store16(&d->flags, flags, false);
	}
	if (++vq->next_avail == vq->num) {
		vq->next_avail = 0;
		vq->avail_wrap = !vq->avail_wrap;
	}
}

/* 2.8.7: in a table only WRITE counts, and entries follow each other. */
static void add_indirect(struct virtqueue *vq, const struct virtqueue_sg *sg, unsigned nout,
			 unsigned total)
{
	uint16_t id = vq->free_head;
	size_t off = vq_table_off(vq, id);
	struct guest_pdesc *table = (struct guest_pdesc *)(void *)(vq->mem + off);
	struct desc_copy c = {.addr = vq->mem_iova + off,
			      .len = total * (uint32_t)sizeof(*table),
			      .flags = VRING_DESC_F_INDIRECT,
			      .next = id};

	for (unsigned i = 0; i < total; i++) {
		guest_store64(&table[i].addr, sg[i].addr, false);
		guest_store32(&table[i].len, sg[i].len, false);
		guest_store16(&table[i].id, 0, false);
		guest_store16(&table[i].flags, i >= nout ? VRING_DESC_F_WRITE : 0, false);
	}
	put_desc(vq, &c);
}

static void add_direct(struct virtqueue *vq, const struct virtqueue_sg *sg, unsigned nout,
		       unsigned total)
{
	for (unsigned i = 0; i < total; i++) {
		struct desc_copy c = {sg[i].addr, sg[i].len, vq_piece_flags(i, nout, total),
				      vq->free_head};

		put_desc(vq, &c);
	}
}

int vq_packed_add(struct virtqueue *vq, const struct virtqueue_sg *sg, unsigned nout, unsigned nin,
		  void *token)
{
	unsigned total = nout + nin, need;
	struct vq_request *r = &vq->req[vq->free_head];
	int rc = vq_check_add(vq, nout, nin, &need);

	if (rc)
		return rc;
	if (need != total)
		add_indirect(vq, sg, nout, total);
	else
		add_direct(vq, sg, nout, total);
	r->token = token;
	r->writable = vq_writable(sg, nout, total);
	r->count = (uint16_t)need;
	r->seq = vq->avail_seq;
	vq->avail_seq += need;
	vq->free_head = r->next;
	vq->nfree -= need;
	vq->outstanding++;
	return 0;
}

/* 2.8.14, 2.8.21.3.1: does the device want to know of the last @n descriptors? */
static bool wants_kick(const struct virtqueue *vq, uint16_t n)
{
	uint32_t word = guest_load32((const struct guest_le32 *)(const void *)vq->used, false);
	uint16_t flags = (uint16_t)(word >> EVENT_FLAGS_SHIFT);
	uint16_t event = word & ((1u << EVENT_WRAP_SHIFT) - 1);
	bool wrap = word >> EVENT_WRAP_SHIFT & 1;

	if (flags == VRING_PACKED_EVENT_FLAG_DISABLE)
		return false;
	if (flags != VRING_PACKED_EVENT_FLAG_DESC || !vq->event_idx)
		return true;
	if (wrap != vq->avail_wrap)
		event = (uint16_t)(event - vq->num);
	return ring_event_passed(event, vq->next_avail, (uint16_t)(vq->next_avail - n));
}

bool vq_packed_publish(struct virtqueue *vq)
{
	uint16_t n = vq->unpublished;

	if (n == 0)
		return false;
	guest_store16_release(&place_desc(vq, vq->first_place)->flags, vq->first_flags, false);
	vq->unpublished = 0;
	/* The batch is visible before we look whether the device wants to know. */
	ring_fence();
	return wants_kick(vq, n);
}

uint16_t vq_packed_next_avail(const struct virtqueue *vq)
{
	return (uint16_t)(vq->next_avail | vq->avail_wrap << 15);
}

/* ---- get ---- */

VQ_INLINE void *release(struct virtqueue *vq, uint16_t id)
{
	struct vq_request *r = &vq->req[id];
	void *token = r->token;

	/* In order ids come back in the order in which they were taken: the links are a ring. */
	if (!vq->in_order) {
		r->next = vq->free_head;
		vq->free_head = id;
	}
	vq->nfree += r->count;
	vq->outstanding--;
	r->token = NULL;
	return token;
}

void *vq_packed_release(struct virtqueue *vq, uint16_t id)
{
	return release(vq, id);
}

/* 2.8.1: both flags equal the counter of this lap. */
static bool is_used(const struct virtqueue *vq, uint16_t place, bool wrap, uint16_t *flags)
{
	*flags = guest_load16_acquire(&place_desc(vq, place)->flags, false);
	return !!(*flags & F_AVAIL) == wrap && !!(*flags & F_USED) == wrap;
}

/*
 * The used descriptor at @place: its request, or NULL when it says what cannot be.
 *
 * 2.8.5: without the flag WRITE the length means nothing. There are devices that never set the flag
 * and do mean it (QEMU's), so a length that could be is taken all the same.
 */
VQ_INLINE const struct vq_request *used_request(const struct virtqueue *vq, uint16_t place,
						uint16_t flags, uint16_t *id, uint32_t *len)
{
	const struct guest_pdesc *d = place_desc(vq, place);
	const struct vq_request *r;

	*id = guest_load16(&d->id, false);
	*len = guest_load32(&d->len, false);
	if (*id >= vq->num || !vq->req[*id].token)
		return NULL;
	r = &vq->req[*id];
	if (*len > r->writable) {
		if (flags & VRING_DESC_F_WRITE)
			return NULL;
		*len = 0;
	}
	return r;
}

VQ_INLINE void *end_request(struct virtqueue *vq, uint16_t id)
{
	const struct vq_request *r = &vq->req[id];
	uint32_t next = vq->next_used + r->count;

	if (next >= vq->num) {
		next -= vq->num;
		vq->used_wrap = !vq->used_wrap;
	}
	vq->next_used = (uint16_t)next;
	vq->used_seq += r->count;
	if (vq->event_idx && vq->want_cb)
		put_event(vq, VRING_PACKED_EVENT_FLAG_DESC);
	return release(vq, id);
}

/* 2.8.9: the descriptor lies where that of the batch's first request would be, and names the last
 * one; in order, ids are given out in a ring. */
static void batch_begin(struct virtqueue *vq, uint16_t id, uint32_t len)
{
	uint32_t n = id + (id >= vq->oldest ? 0 : vq->num) - vq->oldest;

	vq->batch_left = (uint16_t)(n + 1);
	vq->batch_len = len;
}

static void *get_in_order(struct virtqueue *vq, uint32_t *len)
{
	uint16_t id = vq->oldest;
	const struct vq_request *r = &vq->req[id];

	if (len)
		*len = vq->batch_left == 1 ? vq->batch_len : vq_skipped_len(r);
	vq->batch_left--;
	vq->oldest = r->next;
	return end_request(vq, id);
}

void *vq_packed_get(struct virtqueue *vq, uint32_t *len)
{
	uint16_t flags, id;
	uint32_t got;

	if (vq->batch_left)
		return get_in_order(vq, len);
	if (vq->broken || !is_used(vq, vq->next_used, vq->used_wrap, &flags))
		return NULL;
	if (!used_request(vq, vq->next_used, flags, &id, &got))
		return vq_break(vq);
	if (vq->in_order) {
		batch_begin(vq, id, got);
		return get_in_order(vq, len);
	}
	if (len)
		*len = got;
	return end_request(vq, id);
}

/* ---- suppression ---- */

bool vq_packed_enable_cb(struct virtqueue *vq)
{
	uint16_t flags;

	put_event(vq,
		  vq->event_idx ? VRING_PACKED_EVENT_FLAG_DESC : VRING_PACKED_EVENT_FLAG_ENABLE);
	/* Our wish is visible before we look for the last time. */
	ring_fence();
	return vq->batch_left || is_used(vq, vq->next_used, vq->used_wrap, &flags);
}

void vq_packed_disable_cb(struct virtqueue *vq)
{
	put_event(vq, VRING_PACKED_EVENT_FLAG_DISABLE);
}

/* ---- a device that starts anew ---- */

/* Where the device will write its next used descriptor, by what it has written. */
struct walk {
	uint16_t place;
	bool wrap;
	uint32_t seq;
	uint32_t reach; /* beyond the youngest request that was used */
	unsigned nused;
};

static void walk_over(const struct virtqueue *vq, struct walk *w, const struct vq_request *r)
{
	uint32_t next = w->place + r->count;

	w->wrap ^= next >= vq->num;
	w->place = (uint16_t)(next >= vq->num ? next - vq->num : next);
	w->seq += r->count;
	w->nused++;
	if ((int32_t)(r->seq + r->count - w->reach) > 0)
		w->reach = r->seq + r->count;
}

static int walk_used(const struct virtqueue *vq, struct walk *w)
{
	const struct vq_request *r = &vq->req[vq->oldest];
	uint16_t flags, id;
	uint32_t len;

	for (unsigned i = 0; i < vq->batch_left; i++, r = &vq->req[r->next])
		walk_over(vq, w, r);
	while (w->nused < vq->outstanding && is_used(vq, w->place, w->wrap, &flags)) {
		const struct vq_request *last = used_request(vq, w->place, flags, &id, &len);

		if (!last)
			return -EBADMSG;
		for (; vq->in_order && r != last && w->nused < vq->outstanding;
		     r = &vq->req[r->next])
			walk_over(vq, w, r);
		walk_over(vq, w, last);
		r = &vq->req[last->next];
	}
	return w->nused > vq->outstanding ? -EBADMSG : 0;
}

/*
 * It starts with the descriptor at its used place. Used descriptors have overwritten all before
 * that: those must be of requests that were used, which they need not be when the device did not
 * keep the order.
 */
int vq_packed_device_state(const struct virtqueue *vq, struct vdpa_vq_state *state)
{
	struct walk w = {.place = vq->next_used,
			 .wrap = vq->used_wrap,
			 .seq = vq->used_seq,
			 .reach = vq->used_seq};
	uint32_t before = 0;
	int rc = walk_used(vq, &w);

	*state = (struct vdpa_vq_state){
		.packed = {.last_avail_counter = w.wrap,
			   .last_avail_idx = w.place,
			   .last_used_counter = w.wrap,
			   .last_used_idx = w.place},
	};
	if (rc || vq->in_order)
		return rc;
	if ((int32_t)(w.reach - w.seq) > 0)
		return -ESTALE;
	for (uint32_t i = 0; i < vq->num; i++)
		before += vq->req[i].token && (int32_t)(vq->req[i].seq - w.seq) < 0;
	return before == w.nused ? 0 : -ESTALE;
}
