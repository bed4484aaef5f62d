// SPDX-License-Identifier: BSD-3-Clause
/*
 * In-flight tracking of a packed ring (vhost-user specification, "Inflight I/O tracking", packed
 * virtqueue).
 *
 * A used descriptor overwrites descriptors of chains that are still out, so the area holds copies:
 * entries, linked to one list per chain, and a free list. What changes them comes in pairs: the
 * value, and the "old" one that counts after a death. A pop takes entries and then moves
 * old_free_head; a batch gives entries back and moves used_idx, publishes, then clears the marks
 * and moves the old ones. Death before the publication: the batch did not happen; behind: it did,
 * and the ring's descriptor at old_used_idx tells which.
 *
 * Who attacks: as with the split one. The area is copied once; the shadow is checked: lists that
 * are not disjoint, too long or closed, ids that are not the ring's or come twice, are no requests.
 */
#include <errno.h>
#include <stdlib.h>

#include "ring/inflight.h"

#define PSTORE(in, member, v)                                                                      \
	do {                                                                                       \
		(in)->phead.member = (v);                                                          \
		AREA_STORE(&(in)->parea->head.member, (in)->phead.member);                         \
	} while (0)
#define DSTORE(in, i, member, v)                                                                   \
	do {                                                                                       \
		(in)->pshadow[i].member = (v);                                                     \
		AREA_STORE(&(in)->parea->desc[i].member, (in)->pshadow[i].member);                 \
	} while (0)

int inflight_packed_alloc(struct vringh_inflight *in)
{
	in->pshadow = calloc(in->num, sizeof(in->pshadow[0]));
	in->entry = calloc(in->num, sizeof(in->entry[0]));
	in->captured = calloc(in->num, sizeof(in->captured[0]));
	in->seen = calloc(in->num, sizeof(in->seen[0]));
	return in->pshadow && in->entry && in->captured && in->seen ? 0 : -ENOMEM;
}

void inflight_packed_attach(struct vringh_inflight *in)
{
	memcpy(&in->phead, &in->parea->head, sizeof(in->phead));
	memcpy(in->pshadow, in->parea->desc, in->num * sizeof(in->pshadow[0]));
	__asm__ volatile("" : "+m"(*in) : : "memory");
}

/* ---- pop ---- */

void ring_inflight_capture(struct vringh_inflight *in, const struct pdesc_copy *d)
{
	in->captured[in->ncaptured++] = *d;
}

void ring_inflight_packed_begin(struct vringh_inflight *in)
{
	in->ncaptured = 0;
}

static void put_desc(struct vringh_inflight *in, uint16_t i, const struct pdesc_copy *d)
{
	DSTORE(in, i, addr, d->addr);
	DSTORE(in, i, len, d->len);
	DSTORE(in, i, flags, d->flags);
	DSTORE(in, i, id, d->id);
}

void ring_inflight_packed_pop(struct vringh_inflight *in, uint16_t id)
{
	uint16_t first = in->phead.free_head, at = first, last = first;

	DSTORE(in, first, num, 0);
	DSTORE(in, first, counter, in->counter);
	in->counter++;
	DSTORE(in, first, inflight, 1);
	for (uint32_t k = 0; k < in->ncaptured; k++) {
		last = at;
		put_desc(in, at, &in->captured[k]);
		at = in->pshadow[at].next;
	}
	DSTORE(in, first, last, last);
	DSTORE(in, first, num, (uint16_t)in->ncaptured);
	PSTORE(in, free_head, at);
	PSTORE(in, old_free_head, at);
	in->entry[id] = first;
}

/* The entries of @first's list go to the free list; not for good yet. */
static void give_back(struct vringh_inflight *in, uint16_t first)
{
	DSTORE(in, in->pshadow[first].last, next, in->phead.free_head);
	PSTORE(in, free_head, first);
}

void ring_inflight_packed_unpop(struct vringh_inflight *in, uint16_t id)
{
	uint16_t first = in->entry[id];

	give_back(in, first);
	PSTORE(in, old_free_head, first);
	DSTORE(in, first, inflight, 0);
}

/* ---- publication ---- */

void ring_inflight_packed_batch(struct vringh_inflight *in, const struct ring_pending *batch,
				uint32_t n, uint16_t used_idx, bool used_wrap)
{
	for (uint32_t i = 0; i < n; i++)
		give_back(in, in->entry[batch[i].id]);
	/* The two together say that there is a batch; whichever of them is new, there is. */
	PSTORE(in, used_idx, used_idx);
	PSTORE(in, used_wrap, used_wrap);
}

/* It was not published: as if it had not been begun. */
void ring_inflight_packed_abort(struct vringh_inflight *in)
{
	PSTORE(in, used_idx, in->phead.old_used_idx);
	PSTORE(in, used_wrap, in->phead.old_used_wrap);
	PSTORE(in, free_head, in->phead.old_free_head);
}

static void commit(struct vringh_inflight *in)
{
	PSTORE(in, old_free_head, in->phead.free_head);
	PSTORE(in, old_used_idx, in->phead.used_idx);
	PSTORE(in, old_used_wrap, in->phead.used_wrap);
}

void ring_inflight_packed_end(struct vringh_inflight *in, const struct ring_pending *batch,
			      uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		DSTORE(in, in->entry[batch[i].id], inflight, 0);
	commit(in);
}

/* ---- recovery ---- */

static bool head_valid(const struct vringh_inflight *in)
{
	const struct inflight_packed_head *h = &in->phead;

	return h->free_head <= in->num && h->old_free_head <= in->num && h->used_idx < in->num &&
	       h->old_used_idx < in->num && h->used_wrap <= 1 && h->old_used_wrap <= 1;
}

bool ring_inflight_packed_in_doubt(const struct vringh_inflight *in, uint16_t *index, bool *wrap)
{
	const struct inflight_packed_head *h = &in->phead;

	if (!in->known || !head_valid(in) || h->free_head == h->old_free_head)
		return false;
	*index = h->old_used_idx;
	*wrap = h->old_used_wrap;
	return h->used_idx != h->old_used_idx || h->used_wrap != h->old_used_wrap;
}

/* Nothing is known: write an area that is valid and empty; the version comes last. */
static void init_area(struct vringh_inflight *in, uint16_t used_idx, bool used_wrap)
{
	AREA_STORE(&in->parea->head.version, (uint16_t)0);
	memset(&in->phead, 0, sizeof(in->phead));
	memset(in->pshadow, 0, in->num * sizeof(in->pshadow[0]));
	for (uint32_t i = 0; i < in->num; i++)
		in->pshadow[i].next = (uint16_t)(i + 1);
	memcpy(in->parea->desc, in->pshadow, in->num * sizeof(in->pshadow[0]));
	in->counter = 0;
	in->nresub = 0;
	PSTORE(in, features, 0);
	PSTORE(in, desc_num, (uint16_t)in->num);
	PSTORE(in, free_head, 0);
	PSTORE(in, old_free_head, 0);
	PSTORE(in, used_idx, used_idx);
	PSTORE(in, used_wrap, used_wrap);
	PSTORE(in, old_used_idx, used_idx);
	PSTORE(in, old_used_wrap, used_wrap);
	PSTORE(in, version, INFLIGHT_VERSION);
	in->known = true;
}

/*
 * Free entries are no requests, whatever their marks say. Returns how many there are, and sets
 * their bytes in @seen.
 */
static uint32_t clear_free(struct vringh_inflight *in)
{
	uint32_t n = 0;

	for (uint16_t i = in->phead.free_head; i < in->num && !in->seen[i]; n++) {
		in->seen[i] = 1;
		if (in->pshadow[i].inflight)
			DSTORE(in, i, inflight, 0);
		i = in->pshadow[i].next;
	}
	return n;
}

/* Is it a list of its own, of a request of its own? */
static bool take_list(struct vringh_inflight *in, uint16_t first)
{
	const struct inflight_pdesc *d = in->pshadow;
	uint16_t at = first, last = first;

	if (d[first].num == 0 || d[first].num > in->num)
		return false;
	for (uint32_t k = 0; k < d[first].num; k++) {
		if (at >= in->num || in->seen[at])
			return false;
		in->seen[at] = 1;
		last = at;
		at = d[at].next;
	}
	if (last != d[first].last || d[last].id >= in->num || in->entry[d[last].id] != UINT16_MAX)
		return false;
	in->entry[d[last].id] = first;
	return true;
}

/* Entries that are neither free nor of a request: whoever wrote that, all others are free now. */
static void rebuild_free(struct vringh_inflight *in)
{
	uint16_t head = (uint16_t)in->num;

	memset(in->seen, 0, in->num);
	for (uint32_t i = 0; i < in->nresub; i++) {
		uint16_t at = in->resub[i];

		for (uint32_t k = in->pshadow[at].num; k; k--, at = in->pshadow[at].next)
			in->seen[at] = 1;
	}
	for (uint32_t i = in->num; i-- > 0;) {
		if (in->seen[i])
			continue;
		DSTORE(in, i, inflight, 0);
		DSTORE(in, i, next, head);
		head = (uint16_t)i;
	}
	PSTORE(in, free_head, head);
	PSTORE(in, old_free_head, head);
}

static int by_counter(const void *a, const void *b, void *arg)
{
	const struct inflight_pdesc *shadow = arg;
	uint16_t i = *(const uint16_t *)a, j = *(const uint16_t *)b;

	if (shadow[i].counter != shadow[j].counter)
		return shadow[i].counter < shadow[j].counter ? -1 : 1;
	return i < j ? -1 : i > j;
}

/* Find the requests; returns how many descriptors of the ring they take. */
static uint32_t collect(struct vringh_inflight *in)
{
	uint32_t nfree, descs = 0;

	memset(in->seen, 0, in->num);
	memset(in->entry, 0xff, in->num * sizeof(in->entry[0]));
	in->nresub = 0;
	in->counter = 0;
	nfree = clear_free(in);
	for (uint32_t i = 0; i < in->num; i++) {
		if (in->seen[i] || !in->pshadow[i].inflight || !take_list(in, (uint16_t)i))
			continue;
		in->resub[in->nresub++] = (uint16_t)i;
		descs += in->pshadow[i].num;
		if (in->counter <= in->pshadow[i].counter)
			in->counter = in->pshadow[i].counter + 1;
	}
	if (nfree + descs != in->num)
		rebuild_free(in);
	qsort_r(in->resub, in->nresub, sizeof(in->resub[0]), by_counter, in->pshadow);
	return descs;
}

int ring_inflight_packed_recover(struct vringh_inflight *in, bool published,
				 struct ring_inflight_packed *out)
{
	/* The first of the old ones that is moved. */
	bool committed = in->phead.free_head == in->phead.old_free_head;
	bool batch = in->phead.used_idx != in->phead.old_used_idx ||
		     in->phead.used_wrap != in->phead.old_used_wrap;

	in->repaired = false;
	if (!in->known || !head_valid(in)) {
		init_area(in, out->used_idx, out->used_wrap);
		return -ENODATA;
	}
	if (committed || published) {
		in->repaired = batch;
		commit(in);
	} else {
		ring_inflight_packed_abort(in);
	}
	out->descs = collect(in);
	out->used_idx = in->phead.used_idx;
	out->used_wrap = in->phead.used_wrap;
	return (int)in->nresub;
}

const struct pdesc_copy *ring_inflight_packed_list(struct vringh_inflight *in, uint32_t i,
						   uint32_t *n)
{
	uint16_t at = in->resub[i];

	*n = in->pshadow[at].num;
	for (uint32_t k = 0; k < *n; k++, at = in->pshadow[at].next) {
		const struct inflight_pdesc *d = &in->pshadow[at];

		in->captured[k] = (struct pdesc_copy){d->addr, d->len, d->id, d->flags};
	}
	return in->captured;
}
