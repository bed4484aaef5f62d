// SPDX-License-Identifier: BSD-3-Clause
/*
 * The split ring (virtio 1.3, 2.7), the device's end.
 *
 * Three areas: a table of descriptors; the driver area ("avail"), where the driver publishes heads
 * and an index; the device area ("used"), where we publish heads and an index. Indices run freely
 * modulo 2^16. A batch reads the driver's index once, with acquire order, then the heads, then the
 * descriptors; completions collect in a list of our own and are published with one release store.
 *
 * Who attacks: the driver, with any value in any word at any time. What is believed: nothing. The
 * index may be at most num ahead; a head is below num and not out already; a chain takes at most as
 * many steps as there are descriptors, a batch too (chains of one batch share none); an indirect
 * table bounds its chain by its length. An offence stops this ring and nothing else.
 */
#include <errno.h>

#include "ring/ring.h"

#define DESC_ALIGN 16
#define AVAIL_ALIGN 2
#define USED_ALIGN 4
/* What direct access to a descriptor needs: two aligned 64-bit loads. */
#define DESC_PTR_ALIGN 8

#define AVAIL_FLAGS 0
#define AVAIL_IDX 2
#define AVAIL_RING 4
#define USED_FLAGS 0
#define USED_IDX 2
#define USED_RING 4

static uint64_t used_event_off(const struct vringh *vr)
{
	return AVAIL_RING + 2ull * vr->num;
}

static uint64_t avail_event_off(const struct vringh *vr)
{
	return USED_RING + sizeof(struct guest_used_elem) * (uint64_t)vr->num;
}

/* ---- birth ---- */

static int split_init(struct vringh *vr, const struct vringh_config *config, struct vdpa_error *err)
{
	uint32_t num = config->num;
	unsigned event = vr->event_idx ? 2 : 0;
	int rc;

	if (num == 0 || num > 32768 || (num & (num - 1)))
		return vdpa_error_set(err, EINVAL, NULL,
				      "ring size %u is not a power of two between 1 and 32768",
				      num);
	vr->desc.iova = config->desc;
	vr->desc.bytes = sizeof(struct guest_desc) * (uint64_t)num;
	vr->desc.perm = VHOST_MAP_RO;
	vr->avail.iova = config->driver;
	vr->avail.bytes = used_event_off(vr) + event;
	vr->avail.perm = VHOST_MAP_RO;
	vr->used.iova = config->device;
	vr->used.bytes = avail_event_off(vr) + event;
	vr->used.perm = VHOST_MAP_WO;
	rc = ring_area_check(&vr->desc, DESC_ALIGN, "descriptor table", err);
	if (!rc)
		rc = ring_area_check(&vr->avail, AVAIL_ALIGN, "available ring", err);
	if (!rc)
		rc = ring_area_check(&vr->used, USED_ALIGN, "used ring", err);
	vr->last_avail = config->state.split.avail_index;
	return rc;
}

static int split_resolve(struct vringh *vr)
{
	int rc = ring_area_resolve(&vr->desc, DESC_PTR_ALIGN);

	if (!rc)
		rc = ring_area_resolve(&vr->avail, AVAIL_ALIGN);
	if (!rc)
		rc = ring_area_resolve(&vr->used, USED_ALIGN);
	return rc;
}

/*
 * Take up where the used ring says that the last device left. With an in-flight area, everything
 * that was popped is either used or found again there, which gives the available index too.
 */
static int split_start(struct vringh *vr)
{
	uint16_t used;
	int rc = ring_area_load16(&vr->used, USED_IDX, &used);

	if (rc)
		return rc;
	vr->last_used = used;
	vr->signalled = used;
	if (!vr->inflight)
		return 0;
	rc = ring_inflight_recover(vr->inflight, used);
	if (rc >= 0) {
		vr->resub_count = (uint32_t)rc;
		vr->last_avail = (uint16_t)(used + rc);
	}
	/* The batch reached the ring; nobody knows whether the call was made. */
	vr->call_owed = ring_inflight_repaired(vr->inflight);
	return 0;
}

/* ---- pop ---- */

/* How many heads the driver has published beyond ours; -errno. */
static int split_avail_count(struct vringh *vr)
{
	uint16_t idx;
	uint16_t ahead;
	int rc = ring_area_load16_acquire(&vr->avail, AVAIL_IDX, &idx);

	if (ring_unlikely(rc))
		return ring_access_failed(vr, "the available ring", rc);
	ahead = (uint16_t)(idx - vr->last_avail);
	if (ring_unlikely(ahead > vr->num))
		return ring_bad(vr, "available index %u is %u ahead of %u, the ring has %u", idx,
				ahead, vr->last_avail, vr->num);
	return ahead;
}

/* Read @n heads; start fetching their descriptors. */
static int split_read_heads(struct vringh *vr, uint16_t *heads, unsigned n)
{
	uint32_t mask = vr->num - 1;
	const uint8_t *table = vr->desc.ptr;

	if (ring_unlikely(!vr->avail.ptr || !table)) {
		for (unsigned i = 0; i < n; i++) {
			uint64_t off = AVAIL_RING + 2ull * ((vr->last_avail + i) & mask);
			int rc = ring_area_load16(&vr->avail, off, &heads[i]);

			if (ring_unlikely(rc))
				return ring_access_failed(vr, "the available ring", rc);
		}
		return 0;
	}
	for (unsigned i = 0; i < n; i++) {
		uint64_t off = AVAIL_RING + 2ull * ((vr->last_avail + i) & mask);

		heads[i] = guest_load16(ring_area_word(&vr->avail, off), vr->avail.native);
		/* A head that is none is found out later. */
		__builtin_prefetch(table + (heads[i] & mask) * sizeof(struct guest_desc));
	}
	return 0;
}

/* virtio 1.3, 2.7.5.3: @d refers to a table of descriptors, which ends the chain. */
static int split_walk_indirect(struct ring_walk *w, const struct desc_copy *d)
{
	struct vringh *vr = w->vr;
	struct ring_area table = {.view = vr->ring_view,
				  .iova = d->addr,
				  .bytes = d->len,
				  .perm = VHOST_MAP_RO,
				  .native = vr->desc.native};
	uint32_t entries = d->len / (uint32_t)sizeof(struct guest_desc);
	uint32_t steps = entries < VRINGH_MAX_IOV ? entries : VRINGH_MAX_IOV;
	struct desc_copy c = {0};
	int rc;

	if (!vr->indirect)
		return ring_bad(vr, "head %u: indirect table without the feature", w->head);
	if (d->flags & VRING_DESC_F_NEXT)
		return ring_bad(vr, "head %u: descriptor with both INDIRECT and NEXT", w->head);
	if (d->len == 0 || d->len % sizeof(struct guest_desc))
		return ring_bad(vr, "head %u: indirect table of %u bytes", w->head, d->len);
	rc = ring_area_resolve(&table, 1);
	do {
		if (!rc && steps-- == 0)
			return ring_bad(vr,
					"head %u: loop in, or too long, an indirect table of %u",
					w->head, entries);
		if (!rc)
			rc = ring_area_desc(&table, c.next, &c);
		if (ring_unlikely(rc))
			return ring_access_failed(vr, "an indirect table", rc);
		if (c.flags & VRING_DESC_F_INDIRECT)
			return ring_bad(vr, "head %u: indirect table in an indirect table",
					w->head);
		rc = ring_walk_add(w, c.addr, c.len, c.flags & VRING_DESC_F_WRITE);
		if (ring_unlikely(rc))
			return rc;
		if ((c.flags & VRING_DESC_F_NEXT) && c.next >= entries)
			return ring_bad(vr, "head %u: next %u in an indirect table of %u", w->head,
					c.next, entries);
	} while (c.flags & VRING_DESC_F_NEXT);
	return 0;
}

/* Descriptor @i of the table, of chain @head. */
static inline int split_desc(struct vringh *vr, uint16_t head, uint16_t i, struct desc_copy *d)
{
	int rc;

	if (ring_unlikely(i >= vr->num))
		return ring_bad(vr, "head %u: next %u, the table has %u", head, i, vr->num);
	if (ring_unlikely(vr->budget-- == 0))
		return ring_bad(vr, "head %u: descriptors form a loop, or are shared", head);
	rc = ring_area_desc(&vr->desc, i, d);
	return ring_unlikely(rc) ? ring_access_failed(vr, "the descriptor table", rc) : 0;
}

/* @d: the first one. */
static int split_walk(struct ring_walk *w, struct desc_copy d)
{
	struct vringh *vr = w->vr;
	int rc;

	for (;;) {
		if (d.flags & VRING_DESC_F_INDIRECT)
			return split_walk_indirect(w, &d);
		rc = ring_walk_add(w, d.addr, d.len, d.flags & VRING_DESC_F_WRITE);
		if (ring_unlikely(rc) || !(d.flags & VRING_DESC_F_NEXT))
			return rc;
		rc = split_desc(vr, w->head, d.next, &d);
		if (ring_unlikely(rc))
			return rc;
	}
}

/* Make a chain of @head; @first: see split_pop_any(). On an error nothing has changed. */
static int split_pop_one(struct vringh *vr, uint16_t head, const struct desc_copy *first,
			 struct vringh_chain **out)
{
	struct desc_copy d;
	struct ring_walk w;
	int rc = 0;

	if (first)
		d = *first;
	else
		rc = split_desc(vr, head, head, &d);
	if (ring_unlikely(rc))
		return rc;
	ring_walk_begin(&w, vr, head);
	rc = split_walk(&w, d);
	if (ring_likely(!rc))
		rc = ring_walk_commit(&w);
	if (ring_unlikely(rc))
		return rc;
	vr->head_out[head] = 1;
	ring_got(vr);
	*out = &w.slot->chain;
	return 0;
}

/* Requests that a former process did not finish come first, in their order. */
static int split_pop_resubmitted(struct vringh *vr, struct vringh_chain **chains, unsigned max)
{
	unsigned got = 0;

	while (got < max && vr->resub_next < vr->resub_count) {
		uint16_t head = ring_inflight_resubmit(vr->inflight, vr->resub_next);
		int rc = split_pop_one(vr, head, NULL, &chains[got]);

		if (rc)
			return got ? (int)got : rc;
		chains[got]->state |= RING_SLOT_RESUBMITTED;
		vr->resub_next++;
		got++;
	}
	return (int)got;
}

/* The first descriptor of the next chain, if it was read already. */
struct split_next {
	bool read;
	struct desc_copy d;
};

/*
 * From the front of @heads, chains of one buffer that lies in a range that was hit lately: most
 * are. Returns how many; the next one is another kind, or an offence: @next is its descriptor,
 * which is not read again. Everything that is looked at more than once is in a
 * variable of its own, because the compiler must take it that what is stored here may lie over @vr.
 */
static unsigned split_pop_singles(struct vringh *vr, const uint16_t *heads,
				  struct vringh_chain **chains, unsigned n, struct split_next *next)
{
	const struct view_hit hit = vr->buf_view->hits[0];
	bool known = vr->buf_view->nhits && !region_by_message(hit.region);
	const uint16_t *free = vr->free + vr->nfree;
	const uint8_t *table = vr->desc.ptr;
	uint8_t *head_out = vr->head_out;
	struct ring_slot *slots = vr->slots;
	uint32_t num = vr->num;
	bool native = vr->desc.native;
	unsigned i;

	next->read = false;
	if (n > vr->budget)
		n = vr->budget;
	if (!table || !known)
		n = 0;
	for (i = 0; i < n; i++) {
		uint16_t head = heads[i];
		struct ring_slot *slot;
		struct desc_copy c;
		uint64_t off;
		bool write;

		if (ring_unlikely(head >= num || head_out[head]))
			break;
		/* Not before: a head that is not out has a slot, one that is out may find none
		 * left. */
		slot = &slots[*--free];
		guest_desc_load(table + head * sizeof(struct guest_desc), &c, native);
		write = c.flags & VRING_DESC_F_WRITE;
		off = c.addr - hit.start;
		if (ring_unlikely((c.flags & (VRING_DESC_F_NEXT | VRING_DESC_F_INDIRECT)) ||
				  off > hit.span || c.len - 1u > hit.span - off || !c.len ||
				  !(hit.perm & (write ? VHOST_MAP_WO : VHOST_MAP_RO)))) {
			*next = (struct split_next){true, c};
			break;
		}
		ring_single_fill(slot, head, (void *)(uintptr_t)(hit.addr + off), c.len, write);
		head_out[head] = 1;
		chains[i] = &slot->chain;
	}
	ring_got_n(vr, chains, i);
	vr->budget -= i + next->read;
	vr->last_avail = (uint16_t)(vr->last_avail + i);
	return i;
}

/* Any chain; @d: its first descriptor when that was read already. */
static int split_pop_any(struct vringh *vr, uint16_t head, const struct desc_copy *d,
			 struct vringh_chain **out)
{
	int rc;

	if (ring_unlikely(head >= vr->num))
		return ring_bad(vr, "head %u, the ring has %u", head, vr->num);
	if (ring_unlikely(vr->head_out[head]))
		return ring_bad(vr, "head %u was made available while it is out", head);
	rc = split_pop_one(vr, head, d, out);
	if (ring_unlikely(rc))
		return rc;
	vr->last_avail++;
	if (ring_unlikely(vr->inflight != NULL))
		ring_inflight_pop(vr->inflight, head);
	return 0;
}

static inline void split_hint(const struct vringh *vr, uint16_t i, struct desc_copy *d)
{
	guest_desc_hint(vr->desc.ptr + (i & (vr->num - 1)) * sizeof(struct guest_desc), d,
			vr->desc.native);
}

/* The chain that begins with @d; it ends at the latest where there is no room any more. */
static bool split_chain_ahead(const struct vringh *vr, struct desc_copy d, struct ring_ahead *a)
{
	while (ring_ahead_add(a, d.addr, d.len, d.flags & VRING_DESC_F_INDIRECT)) {
		if (!(d.flags & VRING_DESC_F_NEXT))
			return true;
		split_hint(vr, d.next, &d);
	}
	return false;
}

/* Look ahead for chains from the front of @heads; for how many, at least one. See ahead.c. */
static unsigned split_look_ahead(struct vringh *vr, const uint16_t *heads, unsigned n,
				 const struct split_next *first)
{
	struct desc_copy d = first->d;
	struct ring_ahead a;
	unsigned i;

	a.n = a.used = 0;
	for (i = 0; i < n; i++) {
		if (i || !first->read)
			split_hint(vr, heads[i], &d);
		if (!split_chain_ahead(vr, d, &a))
			break;
	}
	ring_ahead_look(vr, &a);
	return i ? i : 1;
}

static int split_pop_heads(struct vringh *vr, const uint16_t *heads, struct vringh_chain **chains,
			   unsigned n)
{
	unsigned i = 0, ahead = 0;

	while (i < n) {
		struct split_next next = {.read = false};
		int rc;

		if (ring_likely(!vr->inflight))
			i += split_pop_singles(vr, heads + i, chains + i, n - i, &next);
		if (i == n)
			break;
		if (ring_ahead_wanted(vr) && i >= ahead)
			ahead = i + split_look_ahead(vr, heads + i, n - i, &next);
		rc = split_pop_any(vr, heads[i], next.read ? &next.d : NULL, &chains[i]);
		if (ring_unlikely(rc))
			return i ? (int)i : rc;
		i++;
	}
	return (int)n;
}

static int split_pop(struct vringh *vr, struct vringh_chain **chains, unsigned max)
{
	uint16_t heads[RING_BATCH];
	unsigned got = 0;
	int avail, n;

	vr->budget = vr->num;
	if (ring_unlikely(vr->resub_next < vr->resub_count)) {
		n = split_pop_resubmitted(vr, chains, max);
		if (n < 0 || vr->resub_next < vr->resub_count)
			return n;
		got = (unsigned)n;
	}
	avail = split_avail_count(vr);
	if (avail < 0)
		return got ? (int)got : avail;
	if (max > got + (unsigned)avail)
		max = got + (unsigned)avail;
	while (got < max) {
		unsigned want = max - got < RING_BATCH ? max - got : RING_BATCH;

		n = split_read_heads(vr, heads, want);
		if (ring_likely(!n))
			n = split_pop_heads(vr, heads, chains + got, want);
		if (n < 0)
			return got ? (int)got : n;
		got += (unsigned)n;
		if ((unsigned)n < want)
			break;
	}
	return (int)got;
}

static void split_unpop(struct vringh *vr, const struct vringh_chain *chain)
{
	(void)chain;
	vr->last_avail--;
}

/* ---- push ---- */

static void used_put_direct(struct vringh *vr, uint32_t at, const struct ring_pending *p,
			    uint32_t n)
{
	uint8_t *first = vr->used.ptr + USED_RING + sizeof(struct guest_used_elem) * (size_t)at;
	struct guest_used_elem *e = (struct guest_used_elem *)(void *)first;

	for (uint32_t i = 0; i < n; i++) {
		guest_store32(&e[i].id, p[i].id, vr->used.native);
		guest_store32(&e[i].len, p[i].len, vr->used.native);
	}
	vdpa_view_dirty(vr->ring_view, first, n * sizeof(*e));
}

static int used_put_slow(struct vringh *vr, uint32_t at, const struct ring_pending *p, uint32_t n)
{
	iova_t iova = vr->used.iova + USED_RING + sizeof(struct guest_used_elem) * (uint64_t)at;
	struct guest_used_elem e[RING_BATCH];

	while (n) {
		uint32_t part = n < RING_BATCH ? n : RING_BATCH;
		int rc;

		for (uint32_t i = 0; i < part; i++) {
			e[i].id.raw = guest_cpu32(p[i].id, vr->used.native);
			e[i].len.raw = guest_cpu32(p[i].len, vr->used.native);
		}
		rc = vdpa_view_write(vr->ring_view, iova, e, part * sizeof(e[0]));
		if (rc)
			return rc;
		iova += part * sizeof(e[0]);
		p += part;
		n -= part;
	}
	return 0;
}

static int used_put(struct vringh *vr, uint32_t at, const struct ring_pending *p, uint32_t n)
{
	if (ring_unlikely(!vr->used.ptr))
		return used_put_slow(vr, at, p, n);
	used_put_direct(vr, at, p, n);
	return 0;
}

/* One element per run of completions that can do with one, where the first of them would be. */
static int used_put_in_order(struct vringh *vr)
{
	int rc = 0;

	for (uint32_t i = vr->npending; i > 0 && !rc;) {
		const struct ring_pending *p = &vr->pending[i - 1];

		ring_pending_batch(vr, &i);
		rc = used_put(vr, (vr->last_used + i) & (vr->num - 1), p, 1);
	}
	return rc;
}

/* Write the elements of the batch, in one or two runs. */
static int used_put_all(struct vringh *vr)
{
	uint32_t at = vr->last_used & (vr->num - 1);
	uint32_t n = vr->npending;
	uint32_t first = n < vr->num - at ? n : vr->num - at;
	int rc;

	if (vr->in_order)
		return used_put_in_order(vr);
	rc = used_put(vr, at, vr->pending, first);
	if (!rc && n > first)
		rc = used_put(vr, 0, vr->pending + first, n - first);
	return rc;
}

static int split_flush(struct vringh *vr)
{
	uint32_t n = vr->npending;
	uint16_t now = (uint16_t)(vr->last_used + n);
	int rc = used_put_all(vr);

	if (ring_unlikely(rc))
		return rc;
	if (ring_unlikely(vr->inflight != NULL)) {
		for (uint32_t i = vr->batch_marked; i < n; i++)
			ring_inflight_batch_add(vr->inflight, vr->pending[i].id);
		vr->batch_marked = n;
	}
	rc = ring_area_store16(&vr->used, USED_IDX, now);
	if (ring_unlikely(rc))
		return rc;
	if (ring_unlikely(vr->inflight != NULL))
		ring_inflight_batch_end(vr->inflight, vr->pending, n, now);
	/* Half of the index space has gone by since the last decision: the difference means
	 * nothing. */
	if (ring_unlikely((uint16_t)(now - vr->signalled) < (uint16_t)n)) {
		vr->signalled_valid = false;
		vr->call_owed = true;
	}
	ring_pending_published(vr);
	vr->last_used = now;
	vr->batch_marked = 0;
	return 0;
}

/* ---- suppression, both ways (virtio 1.3, 2.7.7 and 2.7.10) ---- */

static bool split_need_notify(struct vringh *vr)
{
	uint16_t old = vr->signalled, now = vr->last_used, v;
	bool valid = vr->signalled_valid;

	vr->signalled = now;
	vr->signalled_valid = true;
	if (now == old && !vr->call_owed)
		return false;
	vr->call_owed = false;
	/* The used index is visible before we look whether the driver wants to know. */
	ring_fence();
	if (ring_unlikely(vr->notify_on_empty)) {
		if (ring_area_load16(&vr->avail, AVAIL_IDX, &v) || v == vr->last_avail)
			return true;
	}
	if (!vr->event_idx) {
		if (ring_area_load16(&vr->avail, AVAIL_FLAGS, &v))
			return true;
		return !(v & VRING_AVAIL_F_NO_INTERRUPT);
	}
	if (!valid || ring_area_load16(&vr->avail, used_event_off(vr), &v))
		return true;
	return ring_event_passed(v, now, old);
}

static int split_write_suppression(struct vringh *vr, bool on)
{
	int rc;

	if (vr->event_idx) {
		/* Off: the event index just stays behind. */
		if (!on || (vr->notify == RING_NOTIFY_ON && vr->avail_event == vr->last_avail))
			return 0;
		rc = ring_area_store16(&vr->used, avail_event_off(vr), vr->last_avail);
		if (!rc)
			vr->avail_event = vr->last_avail;
		return rc;
	}
	if (vr->notify == (on ? RING_NOTIFY_ON : RING_NOTIFY_OFF))
		return 0;
	return ring_area_store16(&vr->used, USED_FLAGS, on ? 0 : VRING_USED_F_NO_NOTIFY);
}

static bool split_notify_enable(struct vringh *vr)
{
	uint16_t idx;
	int rc = split_write_suppression(vr, true);

	if (!rc) {
		vr->notify = RING_NOTIFY_ON;
		/* Our wish is visible before we look for the last time. */
		ring_fence();
		rc = ring_area_load16_acquire(&vr->avail, AVAIL_IDX, &idx);
	}
	if (ring_unlikely(rc))
		return ring_access_failed(vr, "the ring", rc) != -EAGAIN;
	return idx != vr->last_avail;
}

static void split_notify_disable(struct vringh *vr)
{
	if (!split_write_suppression(vr, false))
		vr->notify = RING_NOTIFY_OFF;
}

static struct vdpa_vq_state split_state(const struct vringh *vr)
{
	return (struct vdpa_vq_state){.split.avail_index = vr->last_avail};
}

const struct vringh_format ring_split_format = {
	.name = "split",
	.init = split_init,
	.resolve = split_resolve,
	.start = split_start,
	.pop = split_pop,
	.unpop = split_unpop,
	.flush = split_flush,
	.need_notify = split_need_notify,
	.notify_enable = split_notify_enable,
	.notify_disable = split_notify_disable,
	.state = split_state,
};
