// SPDX-License-Identifier: BSD-3-Clause
/*
 * The driver's end of a split ring (virtio 1.3, 2.7).
 *
 * Memory: descriptor table, driver area, and, from the next 4096-byte boundary on (as the legacy
 * layout wants it), the device area; behind them the indirect tables.
 *
 * In order (2.7.9): requests end in the order in which they were added, and the used entry of one
 * stands for all before it. Descriptors are then taken from the table in ring order, which is how
 * the free list starts and, as chains come back in the order in which they were taken, stays.
 *
 * Who attacks: see virtqueue_impl.h.
 */
#include "ring/virtqueue_impl.h"

#define AVAIL_RING 4
#define USED_RING 4

void vq_split_layout(uint32_t num, struct vq_layout *l)
{
	l->driver = num * sizeof(struct guest_desc);
	l->device = vq_align(l->driver + AVAIL_RING + 2 * (size_t)num + 2, VQ_PAGE);
	l->tables = vq_align(
		l->device + USED_RING + sizeof(struct guest_used_elem) * (size_t)num + 2, 64);
}

static struct guest_le16 *vq_word(uint8_t *area, size_t off)
{
	return (struct guest_le16 *)(void *)(area + off);
}

static struct guest_le16 *used_event(const struct virtqueue *vq)
{
	return vq_word(vq->avail, AVAIL_RING + 2 * (size_t)vq->num);
}

static struct guest_le16 *avail_event(const struct virtqueue *vq)
{
	return vq_word(vq->used, USED_RING + sizeof(struct guest_used_elem) * (size_t)vq->num);
}

static const struct guest_used_elem *used_elem(const struct virtqueue *vq, uint32_t seq)
{
	return (const struct guest_used_elem *)(void *)(vq->used + USED_RING) +
	       (seq & (vq->num - 1));
}

void vq_split_init(struct virtqueue *vq)
{
	for (uint32_t i = 0; i < vq->num; i++)
		vq->req[i].next = (uint16_t)((i + 1) & (vq->num - 1));
}

/* ---- add ---- */

static void put_desc(const struct virtqueue *vq, struct guest_desc *d, const struct desc_copy *c)
{
	guest_store64(&d->addr, c->addr, vq->native);
	guest_store32(&d->len, c->len, vq->native);
	guest_store16(&d->flags, c->flags, vq->native);
	guest_store16(&d->next, c->next, vq->native);
}

static void add_indirect(struct virtqueue *vq, const struct virtqueue_sg *sg, unsigned nout,
			 unsigned total)
{
	uint16_t head = vq->free_head;
	size_t off = vq_table_off(vq, head);
	struct guest_desc *table = (struct guest_desc *)(void *)(vq->mem + off);
	struct desc_copy c = {.addr = vq->mem_iova + off,
			      .len = total * (uint32_t)sizeof(*table),
			      .flags = VRING_DESC_F_INDIRECT};

	for (unsigned i = 0; i < total; i++) {
		struct desc_copy p = {sg[i].addr, sg[i].len, vq_piece_flags(i, nout, total),
				      (uint16_t)(i + 1)};

		put_desc(vq, &table[i], &p);
	}
	put_desc(vq, &vq->desc[head], &c);
	vq->free_head = vq->req[head].next;
}

static void add_direct(struct virtqueue *vq, const struct virtqueue_sg *sg, unsigned nout,
		       unsigned total)
{
	uint16_t at = vq->free_head;

	for (unsigned i = 0; i < total; i++) {
		struct desc_copy p = {sg[i].addr, sg[i].len, vq_piece_flags(i, nout, total),
				      vq->req[at].next};

		put_desc(vq, &vq->desc[at], &p);
		at = vq->req[at].next;
	}
	vq->free_head = at;
}

int vq_split_add(struct virtqueue *vq, const struct virtqueue_sg *sg, unsigned nout, unsigned nin,
		 void *token)
{
	unsigned total = nout + nin, need;
	uint16_t head = vq->free_head;
	struct vq_request *r = &vq->req[head];
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
	vq->nfree -= need;
	vq->outstanding++;
	guest_store16(vq_word(vq->avail, AVAIL_RING + 2 * (size_t)(vq->avail_seq & (vq->num - 1))),
		      head, vq->native);
	vq->avail_seq++;
	return 0;
}

bool vq_split_publish(struct virtqueue *vq)
{
	uint16_t old = vq->published_idx, now = (uint16_t)vq->avail_seq;

	if (now == old)
		return false;
	guest_store16_release(vq_word(vq->avail, 2), now, vq->native);
	vq->published_idx = now;
	/* The index is visible before we look whether the device wants to know. */
	ring_fence();
	if (vq->event_idx)
		return ring_event_passed(guest_load16(avail_event(vq), vq->native), now, old);
	return !(guest_load16(vq_word(vq->used, 0), vq->native) & VRING_USED_F_NO_NOTIFY);
}

uint16_t vq_split_next_avail(const struct virtqueue *vq)
{
	return (uint16_t)vq->avail_seq;
}

/* ---- get ---- */

/* In order the free descriptors are one run of the table, and their links stay. */
VQ_INLINE void *release(struct virtqueue *vq, uint16_t head, bool in_order)
{
	struct vq_request *r = &vq->req[head];
	void *token = r->token;
	uint16_t tail = head;

	if (!in_order) {
		for (unsigned i = 1; i < r->count; i++)
			tail = vq->req[tail].next;
		vq->req[tail].next = vq->free_head;
		vq->free_head = head;
	}
	vq->nfree += r->count;
	vq->outstanding--;
	r->token = NULL;
	return token;
}

void *vq_split_release(struct virtqueue *vq, uint16_t head)
{
	return release(vq, head, vq->in_order);
}

static uint16_t used_idx(const struct virtqueue *vq)
{
	return guest_load16_acquire(vq_word(vq->used, 2), vq->native);
}

/* The entry at @seq: its request, or NULL when it says what cannot be. */
VQ_INLINE const struct vq_request *used_request(const struct virtqueue *vq, uint32_t seq,
						uint32_t *id, uint32_t *len)
{
	const struct guest_used_elem *e = used_elem(vq, seq);

	*id = guest_load32(&e->id, vq->native);
	*len = guest_load32(&e->len, vq->native);
	if (*id >= vq->num || !vq->req[*id].token || !vq_check_len(vq, &vq->req[*id], len))
		return NULL;
	return &vq->req[*id];
}

VQ_INLINE void *end_request(struct virtqueue *vq, uint32_t id, bool in_order)
{
	vq->used_seq++;
	if (vq->event_idx && vq->want_cb)
		guest_store16(used_event(vq), (uint16_t)vq->used_seq, vq->native);
	return release(vq, (uint16_t)id, in_order);
}

/*
 * 2.7.9: the entry lies where that of the batch's first request would be, and names the last one.
 * What it stands for must be out, and be counted by the used index.
 */
static bool batch_begin(struct virtqueue *vq, uint16_t nused)
{
	const struct vq_request *r;
	uint32_t id;

	r = used_request(vq, vq->used_seq, &id, &vq->batch_len);
	if (!r || r->seq - vq->used_seq >= nused) {
		vq_break(vq);
		return false;
	}
	vq->batch_left = (uint16_t)(r->seq - vq->used_seq + 1);
	return true;
}

static void *get_in_order(struct virtqueue *vq, uint32_t *len)
{
	uint16_t nused = (uint16_t)(used_idx(vq) - vq->used_seq), head = vq->oldest;
	const struct vq_request *r = &vq->req[head];

	if (nused == 0 && !vq->batch_left)
		return NULL;
	if (nused > vq->outstanding)
		return vq_break(vq);
	if (!vq->batch_left && !batch_begin(vq, nused))
		return NULL;
	if (len)
		*len = vq->batch_left == 1 ? vq->batch_len : vq_skipped_len(r);
	vq->batch_left--;
	vq->oldest = (uint16_t)((head + r->count) & (vq->num - 1));
	return end_request(vq, head, true);
}

void *vq_split_get(struct virtqueue *vq, uint32_t *len)
{
	uint32_t id, got;
	uint16_t nused;

	if (vq->broken)
		return NULL;
	if (vq->in_order)
		return get_in_order(vq, len);
	nused = (uint16_t)(used_idx(vq) - vq->used_seq);
	if (nused == 0)
		return NULL;
	if (nused > vq->outstanding || !used_request(vq, vq->used_seq, &id, &got))
		return vq_break(vq);
	if (len)
		*len = got;
	return end_request(vq, id, false);
}

/* ---- suppression ---- */

bool vq_split_enable_cb(struct virtqueue *vq)
{
	if (vq->event_idx)
		guest_store16(used_event(vq), (uint16_t)vq->used_seq, vq->native);
	else
		guest_store16(vq_word(vq->avail, 0), 0, vq->native);
	/* Our wish is visible before we look for the last time. */
	ring_fence();
	return vq->batch_left || used_idx(vq) != (uint16_t)vq->used_seq;
}

void vq_split_disable_cb(struct virtqueue *vq)
{
	if (vq->event_idx)
		/* As far ahead as an index can be. */
		guest_store16(used_event(vq), (uint16_t)(vq->used_seq - 1), vq->native);
	else
		guest_store16(vq_word(vq->avail, 0), VRING_AVAIL_F_NO_INTERRUPT, vq->native);
}

/* ---- a device that starts anew ---- */

/*
 * It starts with the entry of the available ring at the used index. Those before are lost to it:
 * they must be the ones that it has used, which they need not be when it did not keep the order.
 */
int vq_split_device_state(const struct virtqueue *vq, struct vdpa_vq_state *state)
{
	uint16_t nused = (uint16_t)(used_idx(vq) - vq->used_seq);
	uint32_t at = vq->used_seq + nused, before = 0;

	*state = (struct vdpa_vq_state){.split.avail_index = (uint16_t)at};
	if (nused > vq->outstanding)
		return -EBADMSG;
	if (vq->in_order)
		return 0;
	for (uint32_t i = 0; i < nused; i++) {
		uint32_t id, len;
		const struct vq_request *r = used_request(vq, vq->used_seq + i, &id, &len);

		if (!r)
			return -EBADMSG;
		if ((int32_t)(r->seq - at) >= 0)
			return -ESTALE;
	}
	for (uint32_t i = 0; i < vq->num; i++)
		before += vq->req[i].token && (int32_t)(vq->req[i].seq - at) < 0;
	return before == nused ? 0 : -ESTALE;
}
