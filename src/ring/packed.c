// SPDX-License-Identifier: BSD-3-Clause
/*
 * The packed ring (virtio 1.3, 2.8), the device's end.
 *
 * One ring of descriptors, written by both sides, and two small event structures. The driver writes
 * chains one behind the other; two flags of a descriptor say, together with the lap that one is in,
 * whether it is available. A chain that is used takes one used descriptor, at the position that is
 * next to be used, which then moves on by the length of that chain. So a used descriptor overwrites
 * descriptors of other chains that are still out; they were copied when they were popped.
 *
 * A position counts descriptors over two laps, [0, 2 * num): the wrap counter is 1 in the first.
 * Positions between used and avail (descs_out) are ours; nothing there is read again.
 *
 * Who attacks: the driver, with any value in any word at any time. What is believed: nothing. Flags
 * are read first, with acquire order, each other word once behind them. A chain cannot loop: it
 * moves forward in the ring, and ends at the latest where our descriptors begin. A buffer id is
 * below num and not out already. An indirect table bounds its chain by its length. A batch writes
 * its used descriptors first, and the flags of the first of them last.
 */
#include <errno.h>

#include "ring/ring.h"

#define DESC_ALIGN 16
#define EVENT_ALIGN 4
/* What direct access to a descriptor needs: two aligned 64-bit words. */
#define DESC_PTR_ALIGN 8
/* How far ahead descriptors are fetched: four lines. */
#define DESCS_AHEAD 16

#define F_AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define F_USED (1u << VRING_PACKED_DESC_F_USED)
#define F_LAP (F_AVAIL | F_USED)

/* 2.8.14: struct pvirtq_event_suppress. */
#define EVENT_DESC 0
#define EVENT_FLAGS 2
#define EVENT_BYTES 4
#define EVENT_FLAGS_MASK 3
#define EVENT_WRAP (1u << VRING_PACKED_EVENT_F_WRAP_CTR)

/* ---- positions ---- */

static inline bool pos_wrap(const struct vringh *vr, uint32_t pos)
{
	return pos < vr->num;
}

static inline uint32_t pos_index(const struct vringh *vr, uint32_t pos)
{
	return pos < vr->num ? pos : pos - vr->num;
}

/* @n: at most two laps. */
static inline uint16_t pos_add(const struct vringh *vr, uint32_t pos, uint32_t n)
{
	pos += n;
	return (uint16_t)(pos < 2 * vr->num ? pos : pos - 2 * vr->num);
}

/* How far @to is ahead of @from. */
static inline uint32_t pos_ahead(const struct vringh *vr, uint32_t to, uint32_t from)
{
	return to >= from ? to - from : to + 2 * vr->num - from;
}

static inline uint16_t pos_make(const struct vringh *vr, uint16_t index, bool wrap)
{
	return (uint16_t)(wrap ? index : index + vr->num);
}

/* As event structures, vq states and notifications have it: index, and the counter on top. */
static inline uint16_t pos_off_wrap(const struct vringh *vr, uint32_t pos)
{
	return (uint16_t)(pos_index(vr, pos) | (pos_wrap(vr, pos) ? EVENT_WRAP : 0));
}

/* 2.8.1: the two flags of a descriptor that is available, or used, at @pos. */
static inline uint16_t flags_avail(const struct vringh *vr, uint32_t pos)
{
	return pos_wrap(vr, pos) ? F_AVAIL : F_USED;
}

static inline uint16_t flags_used(const struct vringh *vr, uint32_t pos)
{
	return pos_wrap(vr, pos) ? F_LAP : 0;
}

/* ---- birth ---- */

int vringh_state_check(const struct vdpa_vq_state *state, uint32_t num, bool packed,
		       struct vdpa_error *err)
{
	const struct vdpa_vq_state_packed *s = &state->packed;
	bool behind = s->last_used_idx <= s->last_avail_idx;

	if (!packed)
		return 0;
	if (s->last_avail_idx >= num || s->last_used_idx >= num)
		return vdpa_error_set(err, EINVAL, NULL,
				      "state of a packed ring: available %u, used %u, the ring has "
				      "%u",
				      s->last_avail_idx, s->last_used_idx, num);
	/* Used follows available, by at most a lap. */
	if (behind == (s->last_avail_counter == s->last_used_counter) ||
	    s->last_used_idx == s->last_avail_idx)
		return 0;
	return vdpa_error_set(err, EINVAL, NULL,
			      "state of a packed ring: used %u, wrap %u does not follow available "
			      "%u, wrap %u within a lap",
			      s->last_used_idx, s->last_used_counter, s->last_avail_idx,
			      s->last_avail_counter);
}

static void take_state(struct vringh *vr, const struct vdpa_vq_state_packed *s)
{
	vr->last_avail = pos_make(vr, s->last_avail_idx, s->last_avail_counter);
	vr->last_used = pos_make(vr, s->last_used_idx, s->last_used_counter);
	vr->descs_out = pos_ahead(vr, vr->last_avail, vr->last_used);
}

static int packed_init(struct vringh *vr, const struct vringh_config *config,
		       struct vdpa_error *err)
{
	uint32_t num = config->num;
	int rc;

	if (num == 0 || num > 32768)
		return vdpa_error_set(err, EINVAL, NULL, "ring size %u is not between 1 and 32768",
				      num);
	if (config->legacy_layout)
		return vdpa_error_set(err, EINVAL, NULL, "a packed ring needs VIRTIO_F_VERSION_1");
	vr->desc.iova = config->desc;
	vr->desc.bytes = sizeof(struct guest_pdesc) * (uint64_t)num;
	vr->desc.perm = VHOST_MAP_RW;
	vr->avail.iova = config->driver;
	vr->avail.bytes = EVENT_BYTES;
	vr->avail.perm = VHOST_MAP_RO;
	vr->used.iova = config->device;
	vr->used.bytes = EVENT_BYTES;
	vr->used.perm = VHOST_MAP_WO;
	vr->table_write = config->read_only ? 0 : VRING_DESC_F_WRITE;
	rc = ring_area_check(&vr->desc, DESC_ALIGN, "descriptor ring", err);
	if (!rc)
		rc = ring_area_check(&vr->avail, EVENT_ALIGN, "driver event structure", err);
	if (!rc)
		rc = ring_area_check(&vr->used, EVENT_ALIGN, "device event structure", err);
	if (!rc)
		rc = vringh_state_check(&config->state, num, true, err);
	if (!rc)
		take_state(vr, &config->state.packed);
	return rc;
}

static int packed_resolve(struct vringh *vr)
{
	int rc = ring_area_resolve(&vr->desc, DESC_PTR_ALIGN);

	if (!rc)
		rc = ring_area_resolve(&vr->avail, EVENT_ALIGN);
	if (!rc)
		rc = ring_area_resolve(&vr->used, EVENT_ALIGN);
	return rc;
}

/*
 * Positions that are ours, but the first, may hold used descriptors of a batch that was not
 * published: take them back before anything is.
 */
static int unuse(struct vringh *vr)
{
	for (uint32_t i = 1; i < vr->descs_out; i++) {
		uint16_t pos = pos_add(vr, vr->last_used, i);
		uint64_t off = pos_index(vr, pos) * sizeof(struct guest_pdesc) +
			       offsetof(struct guest_pdesc, flags);
		uint16_t flags;
		int rc = ring_area_load16(&vr->desc, off, &flags);

		if (!rc && (flags & F_LAP) == flags_used(vr, pos)) {
			ring_crash_point();
			rc = ring_area_store16(&vr->desc, off, flags_avail(vr, pos));
		}
		if (rc)
			return rc;
	}
	return 0;
}

/*
 * With an in-flight area, that says where the ring stands: a front end cannot know of a device that
 * died, nothing in the ring tells.
 */
static int packed_start(struct vringh *vr)
{
	struct ring_inflight_packed at = {.used_idx = (uint16_t)pos_index(vr, vr->last_used),
					  .used_wrap = pos_wrap(vr, vr->last_used)};
	bool published = false, wrap;
	struct pdesc_copy d;
	uint16_t index;
	int rc;

	if (!vr->inflight)
		return 0;
	if (ring_inflight_packed_in_doubt(vr->inflight, &index, &wrap)) {
		rc = ring_area_pdesc(&vr->desc, index, &d);
		if (rc)
			return rc;
		published = (d.flags & F_LAP) != flags_avail(vr, pos_make(vr, index, wrap));
	}
	rc = ring_inflight_packed_recover(vr->inflight, published, &at);
	if (rc < 0)
		return 0;
	vr->resub_count = (uint32_t)rc;
	vr->last_used = pos_make(vr, at.used_idx, at.used_wrap);
	vr->last_avail = pos_add(vr, vr->last_used, at.descs);
	vr->descs_out = at.descs;
	/* The batch reached the ring; nobody knows whether the call was made. */
	vr->call_owed = ring_inflight_repaired(vr->inflight);
	return unuse(vr);
}

/* ---- pop ---- */

/*
 * 2.8.7: @d refers to a table of descriptors, which is the whole list. All entries belong to it, in
 * their order; of their flags only WRITE means something, so there is no second level.
 */
static int packed_walk_indirect(struct ring_walk *w, const struct pdesc_copy *d)
{
	struct vringh *vr = w->vr;
	struct ring_area table = {
		.view = vr->ring_view, .iova = d->addr, .bytes = d->len, .perm = VHOST_MAP_RO};
	uint32_t entries = d->len / (uint32_t)sizeof(struct guest_pdesc);
	int rc;

	if (!vr->indirect)
		return ring_bad(vr, "descriptor %u: indirect table without the feature", w->head);
	if (d->flags & VRING_DESC_F_NEXT)
		return ring_bad(vr, "descriptor %u: both INDIRECT and NEXT", w->head);
	if (d->len == 0 || d->len % sizeof(struct guest_pdesc))
		return ring_bad(vr, "descriptor %u: indirect table of %u bytes", w->head, d->len);
	if (entries > VRINGH_MAX_IOV)
		return ring_bad(vr, "descriptor %u: indirect table of %u, at most %u are taken",
				w->head, entries, VRINGH_MAX_IOV);
	rc = ring_area_resolve(&table, 1);
	for (uint32_t i = 0; i < entries; i++) {
		struct pdesc_copy c;

		if (!rc)
			rc = ring_area_pdesc(&table, i, &c);
		if (ring_unlikely(rc))
			return ring_access_failed(vr, "an indirect table", rc);
		rc = ring_walk_add(w, c.addr, c.len, c.flags & vr->table_write);
		if (ring_unlikely(rc))
			return rc;
	}
	return 0;
}

/* The next descriptor of a list; @n were seen. */
static int packed_walk_next(struct ring_walk *w, uint32_t n, struct pdesc_copy *d)
{
	struct vringh *vr = w->vr;
	uint32_t pos = pos_add(vr, vr->last_avail, n);
	int rc;

	if (ring_unlikely(n >= vr->num - vr->descs_out))
		return ring_bad(vr,
				"descriptor %u: a list of more than the %u descriptors that may be "
				"available",
				w->head, vr->num - vr->descs_out);
	rc = ring_area_pdesc(&vr->desc, pos_index(vr, pos), d);
	if (ring_unlikely(rc))
		return ring_access_failed(vr, "the descriptor ring", rc);
	/* 2.8.6: the flags must be right in all descriptors of a list. */
	if (ring_unlikely((d->flags & F_LAP) != flags_avail(vr, pos)))
		return ring_bad(vr, "descriptor %u: its list runs into one that is not available",
				w->head);
	if (ring_unlikely(d->flags & VRING_DESC_F_INDIRECT))
		return ring_bad(vr, "descriptor %u: indirect table in a list", w->head);
	if (ring_unlikely(vr->inflight != NULL))
		ring_inflight_capture(vr->inflight, d);
	return 0;
}

/* @d: the first descriptor, then the last one, which has the buffer id. How many, or -errno. */
static inline int packed_walk(struct ring_walk *w, struct pdesc_copy *d)
{
	uint32_t n = 1;
	int rc;

	if (ring_unlikely(w->vr->inflight != NULL)) {
		ring_inflight_packed_begin(w->vr->inflight);
		ring_inflight_capture(w->vr->inflight, d);
	}
	if (d->flags & VRING_DESC_F_INDIRECT) {
		rc = packed_walk_indirect(w, d);
		return rc ? rc : 1;
	}
	for (;; n++) {
		rc = ring_walk_add(w, d->addr, d->len, d->flags & VRING_DESC_F_WRITE);
		if (ring_unlikely(rc))
			return rc;
		if (!(d->flags & VRING_DESC_F_NEXT))
			return (int)n;
		rc = packed_walk_next(w, n, d);
		if (ring_unlikely(rc))
			return rc;
	}
}

/* 0, or the reason why the buffer cannot have this id. */
static inline int packed_check_id(struct vringh *vr, uint16_t id)
{
	if (ring_unlikely(id >= vr->num))
		return ring_bad(vr, "buffer id %u, the ring has %u", id, vr->num);
	if (ring_unlikely(vr->head_out[id]))
		return ring_bad(vr, "buffer id %u was made available while it is out", id);
	return 0;
}

/* Is there a descriptor at the next position? 1 and its copy; 0; or -errno. */
static inline int packed_peek(struct vringh *vr, struct pdesc_copy *d)
{
	uint32_t pos = vr->last_avail;
	int rc = ring_area_pdesc(&vr->desc, pos_index(vr, pos), d);

	if (ring_unlikely(rc))
		return ring_access_failed(vr, "the descriptor ring", rc);
	return (d->flags & F_LAP) == flags_avail(vr, pos);
}

/* @d: the first descriptor. How many there are, or -errno; then nothing has changed. */
static int packed_pop_walk(struct vringh *vr, struct pdesc_copy *d, struct vringh_chain **out)
{
	struct ring_walk w;
	int n, rc;

	ring_walk_begin(&w, vr, (uint16_t)pos_index(vr, vr->last_avail));
	n = packed_walk(&w, d);
	if (ring_unlikely(n < 0))
		return n;
	rc = packed_check_id(vr, d->id);
	if (ring_unlikely(rc))
		return rc;
	w.head = d->id;
	rc = ring_walk_commit(&w);
	*out = &w.slot->chain;
	return ring_unlikely(rc) ? rc : n;
}

/*
 * At the front, up to @max chains of one buffer that lies in a range that was hit lately: most are.
 * Returns how many. What comes then: *@more is 1, and *@d a copy of a descriptor of another kind,
 * or an offence, which is not read again; or *@more is 0, and nothing is available; or it is -1,
 * and nothing was looked at. Why all the variables: see split_pop_singles().
 */
static unsigned packed_pop_singles(struct vringh *vr, struct vringh_chain **chains, unsigned max,
				   struct pdesc_copy *d, int *more)
{
	const struct view_hit hit = vr->buf_view->hits[0];
	const uint16_t *free = vr->free + vr->nfree;
	uint8_t *head_out = vr->head_out;
	struct ring_slot *slots = vr->slots;
	uint32_t num = vr->num, pos = vr->last_avail, room = num - vr->descs_out;
	uint16_t lap = flags_avail(vr, pos);
	unsigned i;

	*more = -1;
	if (ring_unlikely(!vr->desc.ptr || vr->inflight || !vr->buf_view->nhits ||
			  region_by_message(hit.region)))
		return 0;
	for (i = 0; i < max && i < room; i++) {
		struct ring_slot *slot = &slots[*--free];
		struct pdesc_copy c;
		uint64_t off;
		bool write;

		/* The next lines: the driver has just written them. Beyond the ring it does
		 * nothing. */
		__builtin_prefetch(ring_area_pdesc_ptr(&vr->desc, (pos < num ? pos : pos - num) +
									  DESCS_AHEAD));
		guest_pdesc_load(ring_area_pdesc_ptr(&vr->desc, pos < num ? pos : pos - num), &c);
		*more = (c.flags & F_LAP) == lap;
		if (!*more)
			break;
		write = c.flags & VRING_DESC_F_WRITE;
		off = c.addr - hit.start;
		if (ring_unlikely((c.flags & (VRING_DESC_F_NEXT | VRING_DESC_F_INDIRECT)) ||
				  c.id >= num || head_out[c.id] || off > hit.span || !c.len ||
				  c.len - 1u > hit.span - off ||
				  !(hit.perm & (write ? VHOST_MAP_WO : VHOST_MAP_RO)))) {
			*d = c;
			break;
		}
		ring_single_fill(slot, c.id, (void *)(uintptr_t)(hit.addr + off), c.len, write);
		slot->chain.ndesc = 1;
		head_out[c.id] = 1;
		chains[i] = &slot->chain;
		*more = -1;
		if (++pos == num || pos == 2 * num) {
			pos = pos == num ? num : 0;
			lap ^= F_LAP;
		}
	}
	ring_got_n(vr, chains, i);
	vr->last_avail = (uint16_t)pos;
	vr->descs_out += i;
	return i;
}

/*
 * Any chain; @first: its first descriptor when that was read already. 1: popped; 0: nothing is
 * available; or -errno, then nothing has changed.
 */
static int packed_pop_any(struct vringh *vr, const struct pdesc_copy *first,
			  struct vringh_chain **out)
{
	struct pdesc_copy d;
	int n, rc = 1;

	if (first)
		d = *first;
	else
		rc = packed_peek(vr, &d);
	if (rc <= 0)
		return rc;
	if (ring_unlikely(vr->descs_out == vr->num))
		return ring_bad(vr, "descriptor %u was made available while it is out",
				pos_index(vr, vr->last_avail));
	n = packed_pop_walk(vr, &d, out);
	if (ring_unlikely(n < 0))
		return n;
	(*out)->ndesc = (uint16_t)n;
	vr->head_out[d.id] = 1;
	vr->last_avail = pos_add(vr, vr->last_avail, (uint32_t)n);
	vr->descs_out += (uint32_t)n;
	if (ring_unlikely(vr->inflight != NULL))
		ring_inflight_packed_pop(vr->inflight, d.id);
	ring_got(vr);
	return 1;
}

/* The descriptors of a chain that a former process had popped, as the area has them. */
static int walk_again(struct ring_walk *w, const struct pdesc_copy *d, uint32_t n)
{
	int rc = 0;

	if (n == 1 && (d->flags & VRING_DESC_F_INDIRECT))
		return packed_walk_indirect(w, d);
	for (uint32_t i = 0; i < n && !rc; i++) {
		if (d[i].flags & VRING_DESC_F_INDIRECT)
			return ring_bad(w->vr, "buffer id %u: indirect table in a list", w->head);
		rc = ring_walk_add(w, d[i].addr, d[i].len, d[i].flags & VRING_DESC_F_WRITE);
	}
	return rc;
}

/* Requests that a former process did not finish come first, in their order. */
static int packed_pop_resubmitted(struct vringh *vr, struct vringh_chain **chains, unsigned max)
{
	unsigned got = 0;

	while (got < max && vr->resub_next < vr->resub_count) {
		struct ring_walk w;
		uint32_t n;
		const struct pdesc_copy *d =
			ring_inflight_packed_list(vr->inflight, vr->resub_next, &n);
		int rc;

		ring_walk_begin(&w, vr, d[n - 1].id);
		rc = walk_again(&w, d, n);
		if (!rc)
			rc = ring_walk_commit(&w);
		if (rc)
			return got ? (int)got : rc;
		w.slot->chain.state |= RING_SLOT_RESUBMITTED;
		w.slot->chain.ndesc = (uint16_t)n;
		vr->head_out[w.head] = 1;
		ring_got(vr);
		chains[got++] = &w.slot->chain;
		vr->resub_next++;
	}
	return (int)got;
}

/* Look ahead for up to @max chains; for how many descriptors, at least one. See ahead.c. */
static uint32_t packed_look_ahead(struct vringh *vr, unsigned max, const struct pdesc_copy *first)
{
	uint32_t n, room = vr->num - vr->descs_out;
	struct ring_ahead a;

	a.n = a.used = 0;
	for (n = 0; n < room && max; n++) {
		uint32_t pos = pos_add(vr, vr->last_avail, n);
		struct pdesc_copy d;
		bool table;

		if (n || !first)
			guest_pdesc_hint(ring_area_pdesc_ptr(&vr->desc, pos_index(vr, pos)), &d);
		else
			d = *first;
		table = d.flags & VRING_DESC_F_INDIRECT;
		if ((d.flags & F_LAP) != flags_avail(vr, pos) ||
		    !ring_ahead_add(&a, d.addr, d.len, table))
			break;
		max -= !(d.flags & VRING_DESC_F_NEXT);
	}
	ring_ahead_look(vr, &a);
	return n ? n : 1;
}

static int packed_pop(struct vringh *vr, struct vringh_chain **chains, unsigned max)
{
	uint32_t ahead = vr->descs_out;
	unsigned got = 0;

	if (ring_unlikely(vr->resub_next < vr->resub_count)) {
		int n = packed_pop_resubmitted(vr, chains, max);

		if (n < 0 || vr->resub_next < vr->resub_count)
			return n;
		got = (unsigned)n;
	}
	while (got < max) {
		struct pdesc_copy d;
		int more, rc;

		got += packed_pop_singles(vr, chains + got, max - got, &d, &more);
		if (got == max || !more)
			break;
		if (ring_ahead_wanted(vr) && vr->descs_out >= ahead)
			ahead = vr->descs_out +
				packed_look_ahead(vr, max - got, more > 0 ? &d : NULL);
		rc = packed_pop_any(vr, more > 0 ? &d : NULL, &chains[got]);
		if (ring_unlikely(rc < 0))
			return got ? (int)got : rc;
		if (!rc)
			break;
		got++;
	}
	return (int)got;
}

static void packed_unpop(struct vringh *vr, const struct vringh_chain *chain)
{
	vr->last_avail = pos_add(vr, vr->last_avail, 2 * vr->num - chain->ndesc);
	vr->descs_out -= chain->ndesc;
}

/* ---- push ---- */

/* 2.8.3: WRITE in a used descriptor: data was written, the length means something. */
static inline uint16_t used_desc_flags(const struct vringh *vr, uint32_t pos,
				       const struct ring_pending *p)
{
	return (uint16_t)(flags_used(vr, pos) | (p->len ? VRING_DESC_F_WRITE : 0));
}

static inline int used_put(struct vringh *vr, uint32_t pos, const struct ring_pending *p, bool last)
{
	uint32_t i = pos_index(vr, pos);
	uint16_t flags = used_desc_flags(vr, pos, p);

	ring_crash_point();
	if (ring_unlikely(!vr->desc.ptr))
		return ring_area_slow_use(&vr->desc, i, p->len, p->id, flags);
	guest_pdesc_use(ring_area_pdesc_ptr(&vr->desc, i), p->len, p->id, flags, last);
	return 0;
}

/* Log what used_put() wrote. */
static void used_log(struct vringh *vr, uint32_t pos)
{
	struct guest_pdesc *d = ring_area_pdesc_ptr(&vr->desc, pos_index(vr, pos));

	vdpa_view_dirty(vr->ring_view, &d->len, sizeof(*d) - offsetof(struct guest_pdesc, len));
}

/*
 * Use all that is pending, up to @end, from there backwards: the first position last, for the
 * driver looks at no other before it. Those beside it are then written just before it, and a driver
 * that polls does not fetch their line in between.
 */
static int used_put_all(struct vringh *vr, uint16_t end)
{
	bool log = vr->desc.ptr && view_logged(vr->ring_view);
	uint16_t pos = end;

	for (uint32_t i = vr->npending; i > 0;) {
		const struct ring_pending *p = &vr->pending[i - 1];
		uint32_t descs = ring_pending_batch(vr, &i);
		int rc;

		pos = pos_add(vr, pos, 2 * vr->num - descs);
		rc = used_put(vr, pos, p, i == 0);
		if (ring_unlikely(rc))
			return rc;
		if (ring_unlikely(log))
			used_log(vr, pos);
	}
	return 0;
}

/* The same with the area told of it. */
static int used_put_tracked(struct vringh *vr, uint16_t end)
{
	int rc;

	ring_inflight_packed_batch(vr->inflight, vr->pending, vr->npending,
				   (uint16_t)pos_index(vr, end), pos_wrap(vr, end));
	rc = used_put_all(vr, end);
	ring_crash_point();
	if (rc)
		ring_inflight_packed_abort(vr->inflight);
	else
		ring_inflight_packed_end(vr->inflight, vr->pending, vr->npending);
	return rc;
}

static int packed_flush(struct vringh *vr)
{
	uint32_t descs = vr->pending_descs;
	uint16_t end = pos_add(vr, vr->last_used, descs);
	int rc = ring_unlikely(vr->inflight != NULL) ? used_put_tracked(vr, end)
						     : used_put_all(vr, end);

	if (ring_unlikely(rc))
		return rc;
	ring_pending_published(vr);
	vr->descs_out -= descs;
	/* Two laps since the last decision: more cannot be told apart, and need not be. */
	vr->descs_used = vr->descs_used < vr->num ? vr->descs_used + descs : 2 * vr->num;
	vr->last_used = end;
	return 0;
}

/* ---- suppression, both ways (virtio 1.3, 2.8.10 and 2.8.14) ---- */

/* Did the last @since descriptors up to @now pass the one that @off_wrap names? */
static bool event_passed(const struct vringh *vr, uint16_t off_wrap, uint32_t since)
{
	uint16_t index = off_wrap & (uint16_t)~EVENT_WRAP, event;
	uint32_t ago;

	/* Nonsense: one call too many does no harm. */
	if (index >= vr->num || since >= 2 * vr->num)
		return true;
	event = pos_make(vr, index, off_wrap & EVENT_WRAP);
	ago = pos_ahead(vr, vr->last_used, event);
	return ago != 0 && ago <= since;
}

static bool packed_need_notify(struct vringh *vr)
{
	uint32_t since = vr->descs_used;
	bool valid = vr->signalled_valid;
	uint16_t flags, off_wrap;

	vr->descs_used = 0;
	if (!since && !vr->call_owed)
		return false;
	vr->signalled_valid = true;
	vr->call_owed = false;
	/* What was used is visible before we look whether the driver wants to know. */
	ring_fence();
	if (!valid || ring_area_load16_acquire(&vr->avail, EVENT_FLAGS, &flags))
		return true;
	flags &= EVENT_FLAGS_MASK;
	if (flags != VRING_PACKED_EVENT_FLAG_DESC || !vr->event_idx)
		return flags != VRING_PACKED_EVENT_FLAG_DISABLE;
	if (ring_area_load16(&vr->avail, EVENT_DESC, &off_wrap))
		return true;
	return event_passed(vr, off_wrap, since);
}

static int packed_write_suppression(struct vringh *vr, bool on)
{
	enum ring_notify want = on ? RING_NOTIFY_ON : RING_NOTIFY_OFF;
	uint16_t flags = VRING_PACKED_EVENT_FLAG_DISABLE;
	int rc = 0;

	if (on)
		flags = vr->event_idx ? VRING_PACKED_EVENT_FLAG_DESC
				      : VRING_PACKED_EVENT_FLAG_ENABLE;
	if (on && vr->event_idx && (vr->notify != want || vr->avail_event != vr->last_avail)) {
		rc = ring_area_store16(&vr->used, EVENT_DESC, pos_off_wrap(vr, vr->last_avail));
		if (!rc)
			vr->avail_event = vr->last_avail;
	}
	if (!rc && vr->notify != want)
		rc = ring_area_store16(&vr->used, EVENT_FLAGS, flags);
	if (!rc)
		vr->notify = want;
	return rc;
}

static bool packed_notify_enable(struct vringh *vr)
{
	struct pdesc_copy d;
	int rc = packed_write_suppression(vr, true);

	if (ring_unlikely(rc))
		return ring_access_failed(vr, "the device event structure", rc) != -EAGAIN;
	/* Our wish is visible before we look for the last time. */
	ring_fence();
	rc = packed_peek(vr, &d);
	return rc && rc != -EAGAIN;
}

static void packed_notify_disable(struct vringh *vr)
{
	packed_write_suppression(vr, false);
}

static struct vdpa_vq_state packed_state(const struct vringh *vr)
{
	struct vdpa_vq_state s = {0};

	s.packed.last_avail_idx = pos_index(vr, vr->last_avail) & 0x7fff;
	s.packed.last_avail_counter = pos_wrap(vr, vr->last_avail);
	s.packed.last_used_idx = pos_index(vr, vr->last_used) & 0x7fff;
	s.packed.last_used_counter = pos_wrap(vr, vr->last_used);
	return s;
}

const struct vringh_format ring_packed_format = {
	.name = "packed",
	.init = packed_init,
	.resolve = packed_resolve,
	.start = packed_start,
	.pop = packed_pop,
	.unpop = packed_unpop,
	.flush = packed_flush,
	.need_notify = packed_need_notify,
	.notify_enable = packed_notify_enable,
	.notify_disable = packed_notify_disable,
	.state = packed_state,
};
