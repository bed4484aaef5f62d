// SPDX-License-Identifier: BSD-3-Clause
/*
 * The driver's end of a split ring (virtio 1.3, 2.7).
 *
 * Memory: descriptor table, driver area, and, from the next 4096-byte boundary on (as the legacy
 * layout wants it), the device area; behind them one indirect table per descriptor when that was
 * negotiated.
 *
 * Who attacks: the device, which shares all of this memory and may write anywhere in it. So the
 * table and the driver area are only ever written here; links, lengths and tokens are kept in
 * memory of our own. What the device says (used index, id, length) is checked against that; a lie
 * breaks the queue for good.
 */
#include <errno.h>
#include <stdlib.h>

#include <uvdpa/compat.h>
#include <uvdpa/virtqueue.h>

#include "ring/guest.h"

#define VQ_MAX_NUM 32768
#define VQ_ALIGN 4096
/* Entries of an indirect table: longer requests use the ring's own descriptors. */
#define VQ_INDIRECT_MAX 128

#define AVAIL_RING 4
#define USED_RING 4

/* Per descriptor; a request's is that of its head. */
struct vq_desc {
	void *token;	   /* NULL: no request starts here */
	uint64_t writable; /* bytes that the device may write */
	uint16_t next;	   /* of the chain, or of the free list */
	uint16_t count;	   /* descriptors of the request */
};

struct virtqueue {
	uint32_t num;
	uint32_t ntable; /* entries of an indirect table; 0: not negotiated */
	bool event_idx, native, modern;
	bool broken;
	bool want_cb;
	uint8_t *mem;
	iova_t mem_iova;
	struct guest_desc *desc;
	uint8_t *avail, *used;
	size_t table_off;

	uint16_t free_head;
	uint32_t nfree;
	unsigned outstanding;
	uint16_t avail_idx;	/* next to fill */
	uint16_t published_idx; /* what the device sees */
	uint16_t last_used;
	struct vq_desc state[];
};

/* ---- layout ---- */

static size_t avail_off(uint32_t num)
{
	return num * sizeof(struct guest_desc);
}

static size_t used_off(uint32_t num)
{
	size_t end = avail_off(num) + AVAIL_RING + 2 * (size_t)num + 2;

	return (end + VQ_ALIGN - 1) & ~(size_t)(VQ_ALIGN - 1);
}

static size_t table_off(uint32_t num)
{
	size_t end = used_off(num) + USED_RING + sizeof(struct guest_used_elem) * (size_t)num + 2;

	return (end + 63) & ~(size_t)63;
}

static uint32_t table_entries(uint32_t num, uint64_t features)
{
	if (!(features & VDPA_BIT(VIRTIO_RING_F_INDIRECT_DESC)))
		return 0;
	return num < VQ_INDIRECT_MAX ? num : VQ_INDIRECT_MAX;
}

size_t virtqueue_mem_bytes(uint32_t num, uint64_t features)
{
	size_t tables = (size_t)num * table_entries(num, features) * sizeof(struct guest_desc);

	return (table_off(num) + tables + VQ_ALIGN - 1) & ~(size_t)(VQ_ALIGN - 1);
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

/* ---- birth ---- */

int virtqueue_new(const struct virtqueue_config *config, struct virtqueue **out)
{
	uint32_t num = config->num;
	struct virtqueue *vq;

	if (config->size != sizeof(*config) || !config->mem || ((uintptr_t)config->mem & 63))
		return -EINVAL;
	if (config->features & VDPA_BIT(VIRTIO_F_RING_PACKED))
		return -ENOTSUP;
	if (num == 0 || num > VQ_MAX_NUM || (num & (num - 1)))
		return -EINVAL;
	vq = calloc(1, sizeof(*vq) + num * sizeof(vq->state[0]));
	if (!vq)
		return -ENOMEM;
	vq->num = num;
	vq->ntable = table_entries(num, config->features);
	vq->event_idx = config->features & VDPA_BIT(VIRTIO_RING_F_EVENT_IDX);
	vq->modern = config->features & VDPA_BIT(VIRTIO_F_VERSION_1);
	vq->native = !vq->modern;
	vq->want_cb = true;
	vq->mem = config->mem;
	vq->mem_iova = config->mem_iova;
	vq->desc = config->mem;
	vq->avail = vq->mem + avail_off(num);
	vq->used = vq->mem + used_off(num);
	vq->table_off = table_off(num);
	vq->nfree = num;
	for (uint32_t i = 0; i < num; i++)
		vq->state[i].next = (uint16_t)(i + 1);
	*out = vq;
	return 0;
}

void virtqueue_free(struct virtqueue *vq)
{
	free(vq);
}

void virtqueue_addrs(const struct virtqueue *vq, iova_t *desc, iova_t *driver, iova_t *device)
{
	*desc = vq->mem_iova;
	*driver = vq->mem_iova + avail_off(vq->num);
	*device = vq->mem_iova + used_off(vq->num);
}

uint32_t virtqueue_num(const struct virtqueue *vq)
{
	return vq->num;
}

/* ---- add ---- */

static void put_desc(const struct virtqueue *vq, struct guest_desc *d, const struct desc_copy *c)
{
	guest_store64(&d->addr, c->addr, vq->native);
	guest_store32(&d->len, c->len, vq->native);
	guest_store16(&d->flags, c->flags, vq->native);
	guest_store16(&d->next, c->next, vq->native);
}

/* Flags of piece @i of a chain. */
static uint16_t piece_flags(unsigned i, unsigned nout, unsigned total)
{
	return (uint16_t)((i >= nout ? VRING_DESC_F_WRITE : 0) |
			  (i + 1 < total ? VRING_DESC_F_NEXT : 0));
}

static void add_indirect(struct virtqueue *vq, uint16_t head, const struct virtqueue_sg *sg,
			 unsigned nout, unsigned total)
{
	size_t off = vq->table_off + (size_t)head * vq->ntable * sizeof(struct guest_desc);
	struct guest_desc *table = (struct guest_desc *)(void *)(vq->mem + off);
	struct desc_copy c = {.addr = vq->mem_iova + off,
			      .len = total * (uint32_t)sizeof(*table),
			      .flags = VRING_DESC_F_INDIRECT};

	for (unsigned i = 0; i < total; i++) {
		struct desc_copy p = {sg[i].addr, sg[i].len, piece_flags(i, nout, total),
				      (uint16_t)(i + 1)};

		put_desc(vq, &table[i], &p);
	}
	put_desc(vq, &vq->desc[head], &c);
	vq->free_head = vq->state[head].next;
}

static void add_direct(struct virtqueue *vq, const struct virtqueue_sg *sg, unsigned nout,
		       unsigned total)
{
	uint16_t at = vq->free_head;

	for (unsigned i = 0; i < total; i++) {
		struct desc_copy p = {sg[i].addr, sg[i].len, piece_flags(i, nout, total),
				      vq->state[at].next};

		put_desc(vq, &vq->desc[at], &p);
		at = vq->state[at].next;
	}
	vq->free_head = at;
}

int virtqueue_add(struct virtqueue *vq, const struct virtqueue_sg *sg, unsigned nout, unsigned nin,
		  void *token)
{
	unsigned total = nout + nin;
	bool indirect = total > 1 && total <= vq->ntable;
	unsigned need = indirect ? 1 : total;
	uint16_t head = vq->free_head;
	uint64_t writable = 0;

	if (!token || nout > VQ_MAX_NUM || nin > VQ_MAX_NUM || total == 0 || need > vq->num)
		return -EINVAL;
	if (need > vq->nfree || vq->broken)
		return -ENOSPC;
	for (unsigned i = nout; i < total; i++)
		writable += sg[i].len;
	if (indirect)
		add_indirect(vq, head, sg, nout, total);
	else
		add_direct(vq, sg, nout, total);
	vq->state[head].token = token;
	vq->state[head].writable = writable;
	vq->state[head].count = (uint16_t)need;
	vq->nfree -= need;
	vq->outstanding++;
	guest_store16(vq_word(vq->avail, AVAIL_RING + 2 * (size_t)(vq->avail_idx & (vq->num - 1))),
		      head, vq->native);
	vq->avail_idx++;
	return 0;
}

bool virtqueue_publish(struct virtqueue *vq)
{
	uint16_t old = vq->published_idx, now = vq->avail_idx;

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

/* ---- get ---- */

static void *break_queue(struct virtqueue *vq)
{
	vq->broken = true;
	return NULL;
}

/* The request that starts at @head is over: its descriptors are free. */
static void *release(struct virtqueue *vq, uint16_t head)
{
	void *token = vq->state[head].token;
	uint16_t tail = head;

	for (unsigned i = 1; i < vq->state[head].count; i++)
		tail = vq->state[tail].next;
	vq->state[tail].next = vq->free_head;
	vq->free_head = head;
	vq->nfree += vq->state[head].count;
	vq->outstanding--;
	vq->state[head].token = NULL;
	return token;
}

void *virtqueue_get(struct virtqueue *vq, uint32_t *len)
{
	const struct guest_used_elem *e;
	uint32_t id, got;
	uint16_t idx;
	void *token;

	if (vq->broken)
		return NULL;
	idx = guest_load16_acquire(vq_word(vq->used, 2), vq->native);
	if (idx == vq->last_used)
		return NULL;
	if ((uint16_t)(idx - vq->last_used) > vq->outstanding)
		return break_queue(vq);
	e = (const struct guest_used_elem *)(void *)(vq->used + USED_RING) +
	    (vq->last_used & (vq->num - 1));
	id = guest_load32(&e->id, vq->native);
	got = guest_load32(&e->len, vq->native);
	if (id >= vq->num || !vq->state[id].token)
		return break_queue(vq);
	if (got > vq->state[id].writable) {
		/* 2.7.8.3: legacy devices are known to report too much; nobody else may. */
		if (vq->modern)
			return break_queue(vq);
		got = (uint32_t)vq->state[id].writable;
	}
	vq->last_used++;
	if (vq->event_idx && vq->want_cb)
		guest_store16(used_event(vq), vq->last_used, vq->native);
	token = release(vq, (uint16_t)id);
	if (len)
		*len = got;
	return token;
}

/* ---- suppression ---- */

bool virtqueue_enable_cb(struct virtqueue *vq)
{
	vq->want_cb = true;
	if (vq->event_idx)
		guest_store16(used_event(vq), vq->last_used, vq->native);
	else
		guest_store16(vq_word(vq->avail, 0), 0, vq->native);
	/* Our wish is visible before we look for the last time. */
	ring_fence();
	return guest_load16_acquire(vq_word(vq->used, 2), vq->native) != vq->last_used;
}

void virtqueue_disable_cb(struct virtqueue *vq)
{
	vq->want_cb = false;
	if (vq->event_idx)
		/* As far ahead as an index can be. */
		guest_store16(used_event(vq), (uint16_t)(vq->last_used - 1), vq->native);
	else
		guest_store16(vq_word(vq->avail, 0), VRING_AVAIL_F_NO_INTERRUPT, vq->native);
}

/* ---- questions ---- */

unsigned virtqueue_outstanding(const struct virtqueue *vq)
{
	return vq->outstanding;
}

unsigned virtqueue_num_free(const struct virtqueue *vq)
{
	return vq->nfree;
}

bool virtqueue_broken(const struct virtqueue *vq)
{
	return vq->broken;
}

void *virtqueue_detach_unused(struct virtqueue *vq)
{
	for (uint32_t i = 0; i < vq->num; i++) {
		if (vq->state[i].token)
			return release(vq, (uint16_t)i);
	}
	return NULL;
}
