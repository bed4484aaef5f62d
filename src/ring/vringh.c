// SPDX-License-Identifier: BSD-3-Clause
/*
 * A ring's life, and the frame around what its format does.
 *
 * Nothing touches guest memory before the first call on the queue's loop: areas may be mapped later
 * than the ring is made. Every call first makes sure that the areas are translated in the newest
 * map; a miss parks the ring until the map changes; anything that the driver got wrong stops the
 * ring for good, with the reason kept. Who attacks, and how each offence is found: split.c and
 * packed.c.
 */
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "ring/ring.h"

#define RING_PRIV_ALIGN 16

int ring_bad(struct vringh *vr, const char *fmt, ...)
{
	va_list ap;

	if (!vr->dead) {
		va_start(ap, fmt);
		vsnprintf(vr->error, sizeof(vr->error), fmt, ap);
		va_end(ap);
		vr->dead = true;
		vr->stats.bad++;
	}
	return -EBADMSG;
}

int ring_access_failed(struct vringh *vr, const char *what, int rc)
{
	if (rc == -EAGAIN) {
		vr->stats.misses++;
		return rc;
	}
	return ring_bad(vr, "%s cannot be reached: %s", what, strerror(-rc));
}

int ring_ready_slow(struct vringh *vr)
{
	int rc = 0;

	if (!vr->areas_valid)
		rc = vr->fmt->resolve(vr);
	if (!rc) {
		vr->areas_valid = true;
		if (!vr->started)
			rc = vr->fmt->start(vr);
	}
	if (rc)
		return ring_access_failed(vr, "the ring", rc);
	vr->started = true;
	return 0;
}

/* ---- birth and end ---- */

int ring_area_check(const struct ring_area *area, unsigned align, const char *name,
		    struct vdpa_error *err)
{
	if (area->iova & (align - 1))
		return vdpa_error_set(
			err, EINVAL, NULL,
			"%s at 0x%llx is not aligned to %u bytes (virtio 1.3, 2.7 and 2.8.10)",
			name, (unsigned long long)area->iova, align);
	if (area->iova + area->bytes - 1 < area->iova)
		return vdpa_error_set(err, EINVAL, NULL,
				      "%s at 0x%llx runs over the end of the address space", name,
				      (unsigned long long)area->iova);
	return 0;
}

static int config_check(const struct vringh_config *config, struct vdpa_error *err)
{
	bool packed = config->features & VDPA_BIT(VIRTIO_F_RING_PACKED);

	if (config->size != sizeof(*config))
		return vdpa_error_set(err, EINVAL, NULL,
				      "vringh_config of %zu bytes, known are %zu", config->size,
				      sizeof(*config));
	if (!config->ring_view || !config->buf_view)
		return vdpa_error_set(err, EINVAL, NULL, "a ring needs a view of its memory");
	if (config->inflight && !ring_inflight_fits(config->inflight, config->num, packed))
		return vdpa_error_set(err, EINVAL, NULL,
				      "in-flight area is not for a %s ring of %u",
				      packed ? "packed" : "split", config->num);
	return 0;
}

static int ring_alloc(struct vringh *vr, size_t priv_bytes)
{
	size_t num = vr->num;
	size_t stride = (priv_bytes + RING_PRIV_ALIGN - 1) & ~(size_t)(RING_PRIV_ALIGN - 1);

	if (stride < priv_bytes || (stride && num > SIZE_MAX / stride))
		return -ENOMEM;
	vr->head_out = calloc(num, sizeof(vr->head_out[0]));
	vr->free = calloc(num, sizeof(vr->free[0]));
	vr->got = calloc(num, sizeof(vr->got[0]));
	vr->pending = calloc(num, sizeof(vr->pending[0]));
	vr->scratch = calloc(VRINGH_MAX_IOV, sizeof(vr->scratch[0]));
	vr->scratch_iova = calloc(VRINGH_MAX_IOV, sizeof(vr->scratch_iova[0]));
	vr->slots = aligned_alloc(_Alignof(struct ring_slot), num * sizeof(vr->slots[0]));
	if (vr->slots)
		memset(vr->slots, 0, num * sizeof(vr->slots[0]));
	if (stride)
		vr->priv = aligned_alloc(RING_PRIV_ALIGN, num * stride);
	if (vr->in_order)
		vr->held = calloc(num, sizeof(vr->held[0]));
	if (!vr->head_out || !vr->free || !vr->got || !vr->pending || !vr->scratch ||
	    !vr->scratch_iova || !vr->slots || (stride && !vr->priv) || (vr->in_order && !vr->held))
		return -ENOMEM;
	if (stride)
		memset(vr->priv, 0, num * stride);
	for (size_t i = 0; i < num; i++) {
		/* The stack hands slot 0 out first. */
		vr->free[i] = (uint16_t)(num - 1 - i);
		vr->slots[i].chain.index = (uint16_t)i;
		vr->slots[i].chain.priv = stride ? vr->priv + i * stride : NULL;
	}
	vr->nfree = vr->num;
	return 0;
}

static void ring_setup(struct vringh *vr, const struct vringh_config *config)
{
	uint64_t f = config->features;
	bool native = config->legacy_layout;

	vr->fmt = f & VDPA_BIT(VIRTIO_F_RING_PACKED) ? &ring_packed_format : &ring_split_format;
	vr->num = config->num;
	vr->event_idx = f & VDPA_BIT(VIRTIO_RING_F_EVENT_IDX);
	vr->indirect = f & VDPA_BIT(VIRTIO_RING_F_INDIRECT_DESC);
	vr->in_order = f & VDPA_BIT(VIRTIO_F_IN_ORDER);
	vr->notify_on_empty = f & VDPA_BIT(VIRTIO_F_NOTIFY_ON_EMPTY);
	vr->ring_view = config->ring_view;
	vr->buf_view = config->buf_view;
	vr->inflight = config->inflight;
	vr->desc.view = vr->avail.view = vr->used.view = vr->ring_view;
	vr->desc.native = vr->avail.native = vr->used.native = native;
}

int vringh_init(const struct vringh_config *config, struct vringh **out, struct vdpa_error *err)
{
	struct vringh *vr;
	int rc = config_check(config, err);

	if (rc)
		return rc;
	vr = calloc(1, sizeof(*vr));
	if (!vr)
		return vdpa_error_set(err, ENOMEM, NULL, "no memory for a ring");
	ring_setup(vr, config);
	rc = vr->fmt->init(vr, config, err);
	if (!rc) {
		rc = ring_alloc(vr, config->priv_bytes);
		if (rc)
			vdpa_error_set(err, ENOMEM, NULL, "no memory for a ring of %u",
				       config->num);
	}
	if (rc) {
		vringh_free(vr);
		return rc;
	}
	*out = vr;
	return 0;
}

/* Chains ended: who waited for that goes on. */
static void slots_dropped(struct vringh *vr)
{
	vdpa_view_request_done(vr->buf_view);
	if (ring_unlikely(vr->ring_view != vr->buf_view))
		vdpa_view_request_done(vr->ring_view);
	if (ring_unlikely(vr->park == RING_PARKED_MEMORY))
		vr->park = RING_RUNS;
}

static void slot_drop(struct vringh *vr, struct ring_slot *slot)
{
	ring_chain_release(vr, slot);
	vr->free[vr->nfree++] = (uint16_t)slot->chain.index;
	slots_dropped(vr);
}

void vringh_free(struct vringh *vr)
{
	if (!vr)
		return;
	for (uint32_t i = 0; vr->slots && i < vr->num; i++) {
		if (ring_slot_out(&vr->slots[i]))
			ring_chain_release(vr, &vr->slots[i]);
	}
	ring_pool_free(vr);
	free(vr->head_out);
	free(vr->free);
	free(vr->got);
	free(vr->pending);
	free(vr->held);
	free(vr->scratch);
	free(vr->scratch_iova);
	free(vr->slots);
	free(vr->priv);
	free(vr);
}

/* ---- pop ---- */

/* A page behind the ring or its buffers is gone: what was read there are zeroes of ours. */
static bool memory_lost(const struct vringh *vr)
{
	return vdpa_view_broken(vr->buf_view) ||
	       (vr->ring_view != vr->buf_view && vdpa_view_broken(vr->ring_view));
}

static void count_popped(struct vringh *vr, struct vringh_chain *const *chains, unsigned n)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < n; i++)
		bytes += chains[i]->out_len;
	vr->stats.chains += n;
	vr->stats.bytes_out += bytes;
}

int vringh_getdesc(struct vringh *vr, struct vringh_chain **chains, unsigned max)
{
	int n;

	if (ring_unlikely(vr->dead))
		return -EBADMSG;
	if (ring_unlikely(vr->park != RING_RUNS))
		return -EAGAIN;
	n = ring_ready(vr);
	if (ring_likely(!n))
		n = vr->fmt->pop(vr, chains, max);
	if (ring_unlikely(memory_lost(vr)))
		ring_bad(vr, "the file behind the driver's memory shrank");
	if (ring_likely(n >= 0)) {
		count_popped(vr, chains, (unsigned)n);
		return n;
	}
	if (n == -EAGAIN && vr->park == RING_RUNS)
		vr->park = RING_PARKED_MAP;
	return n;
}

void vringh_abandon(struct vringh *vr, unsigned n)
{
	while (n--) {
		struct ring_slot *slot;
		struct vringh_chain *chain;

		vr->got_pos = (vr->got_pos ? vr->got_pos : vr->num) - 1;
		slot = &vr->slots[vr->got[vr->got_pos]];
		chain = &slot->chain;
		assert(ring_slot_out(slot));
		if (chain->state & RING_SLOT_RESUBMITTED) {
			vr->resub_next--;
		} else {
			vr->fmt->unpop(vr, chain);
			if (vr->inflight)
				ring_inflight_unpop(vr->inflight, chain->head);
		}
		vr->head_out[chain->head] = 0;
		vr->stats.chains--;
		vr->stats.bytes_out -= chain->out_len;
		slot_drop(vr, slot);
	}
}

void vringh_cancel(struct vringh *vr, struct vringh_chain *chain)
{
	struct ring_slot *slot = ring_chain_slot(chain);

	assert(ring_slot_out(slot));
	/* The head stays marked: it is not the driver's again until the ring is made anew. */
	slot_drop(vr, slot);
}

/* ---- push ---- */

/* The next ones in the order in which they were got, as far as they have ended. */
static void release_held(struct vringh *vr)
{
	struct ring_held *held = &vr->held[vr->held_next];

	while (held->ended) {
		held->ended = false;
		vr->nheld--;
		vr->pending[vr->npending++] = held->done;
		vr->pending_descs += ring_pending_descs(&held->done);
		if (++vr->held_next == vr->num)
			vr->held_next = 0;
		held = &vr->held[vr->held_next];
	}
}

static inline void pending_set(struct ring_pending *p, const struct vringh_chain *chain,
			       uint32_t written, bool silent)
{
	p->len = written;
	p->id = chain->head;
	p->rest = (uint16_t)((chain->ndesc - 1u) & ~RING_SILENT);
	if (silent)
		p->rest |= RING_SILENT;
}

static inline void chain_ended(struct vringh *vr, const struct vringh_chain *chain,
			       uint32_t written)
{
	struct ring_held *held;

	if (ring_likely(!vr->held)) {
		pending_set(&vr->pending[vr->npending++], chain, written, false);
		vr->pending_descs += chain->ndesc;
		return;
	}
	held = &vr->held[chain->order];
	/* Nothing could be written: what the driver takes it to be is what it is. */
	pending_set(&held->done, chain, written, !chain->in_len);
	held->ended = true;
	vr->nheld++;
	release_held(vr);
}

void vringh_complete(struct vringh *vr, struct vringh_chain *chain, uint32_t written)
{
	struct ring_slot *slot = ring_chain_slot(chain);
	int rc;

	assert(ring_slot_out(slot));
	if (ring_unlikely(written > chain->in_len))
		written = (uint32_t)chain->in_len;
	if (written) {
		rc = ring_chain_deliver(vr, slot, written);
		if (ring_unlikely(rc)) {
			/* The data is lost: better no answer than a wrong one. */
			ring_bad(vr, "head %u: its buffer cannot be written any more: %s",
				 chain->head, strerror(-rc));
			slot_drop(vr, slot);
			return;
		}
	}
	chain_ended(vr, chain, written);
	vr->stats.completed++;
	vr->stats.bytes_in += written;
	slot_drop(vr, slot);
}

/*
 * From the front, chains that need nothing but to be said to have ended: they fit in their slots,
 * are the next in order where that matters, nobody waits for them, and there is no log. How many.
 * Variables: see split_pop_singles().
 */
static unsigned complete_simple(struct vringh *vr, struct vringh_chain *const *chains,
				const uint32_t *written, unsigned n)
{
	struct ring_pending *pending = vr->pending + vr->npending;
	uint16_t *free = vr->free + vr->nfree;
	uint32_t num = vr->num, next = vr->held_next;
	bool in_order = vr->held;
	uint32_t descs = 0;
	uint64_t bytes = 0;
	unsigned i;

	if (view_logged(vr->buf_view) || ring_unlikely(vr->nheld))
		return 0;
	for (i = 0; i < n; i++) {
		struct vringh_chain *chain = chains[i];
		uint32_t w = written ? written[i] : 0;

		/* Out, and with nothing else in its state. */
		if (ring_unlikely(chain->state != RING_SLOT_OUT || ring_chain_slot(chain)->bounce))
			break;
		if (in_order && ring_unlikely(chain->order != next))
			break;
		if (ring_unlikely(w > chain->in_len))
			w = (uint32_t)chain->in_len;
		pending_set(pending, chain, w, in_order && !chain->in_len);
		next = next + 1 == num ? 0 : next + 1;
		pending++;
		*free++ = chain->index;
		chain->state = 0;
		descs += chain->ndesc;
		bytes += w;
	}
	if (in_order)
		vr->held_next = next;
	vr->npending += i;
	vr->pending_descs += descs;
	vr->nfree += i;
	vr->stats.completed += i;
	vr->stats.bytes_in += bytes;
	if (i)
		slots_dropped(vr);
	return i;
}

void vringh_complete_n(struct vringh *vr, struct vringh_chain *const *chains,
		       const uint32_t *written, unsigned n)
{
	for (unsigned i = complete_simple(vr, chains, written, n); i < n; i++)
		vringh_complete(vr, chains[i], written ? written[i] : 0);
}

int vringh_flush(struct vringh *vr)
{
	int rc;

	if (!vr->npending)
		return 0;
	rc = ring_ready(vr);
	if (ring_likely(!rc))
		rc = vr->fmt->flush(vr);
	if (ring_unlikely(rc && rc != -EBADMSG))
		rc = ring_access_failed(vr, "the used ring", rc);
	return rc;
}

/* ---- suppression ---- */

bool vringh_need_notify(struct vringh *vr)
{
	bool yes;

	/* Cannot ask: one call too many does no harm, one too few hangs the driver. */
	yes = ring_ready(vr) || vr->fmt->need_notify(vr);
	if (yes)
		vr->stats.notify_sent++;
	else
		vr->stats.notify_suppressed++;
	return yes;
}

bool vringh_notify_enable(struct vringh *vr)
{
	int rc;

	/* What vringh_getdesc() would say has to be heard, also when it is an error. */
	if (ring_unlikely(vr->dead))
		return true;
	if (ring_unlikely(vr->park != RING_RUNS))
		return false;
	rc = ring_ready(vr);
	if (ring_unlikely(rc))
		return rc != -EAGAIN;
	return vr->fmt->notify_enable(vr) || vr->resub_next < vr->resub_count;
}

void vringh_notify_disable(struct vringh *vr)
{
	if (!vr->dead && ring_ready(vr) == 0)
		vr->fmt->notify_disable(vr);
}

/* ---- questions ---- */

unsigned vringh_outstanding(const struct vringh *vr)
{
	return vr->num - vr->nfree;
}

void vringh_for_each(struct vringh *vr, void (*fn)(void *arg, struct vringh_chain *chain),
		     void *arg)
{
	for (uint32_t i = 0; i < vr->num; i++) {
		if (ring_slot_out(&vr->slots[i]))
			fn(arg, &vr->slots[i].chain);
	}
}

struct vdpa_vq_state vringh_state(const struct vringh *vr)
{
	return vr->fmt->state(vr);
}

const struct vringh_stats *vringh_get_stats(const struct vringh *vr)
{
	return &vr->stats;
}

const char *vringh_error(const struct vringh *vr)
{
	return vr->dead ? vr->error : NULL;
}

static bool slot_overlaps(const struct ring_slot *slot, uintptr_t first, uintptr_t last)
{
	const struct vringh_chain *chain = &slot->chain;

	for (unsigned i = 0; i < (unsigned)chain->nout + chain->nin; i++) {
		uintptr_t base = (uintptr_t)chain->iov[i].iov_base;

		if (base <= last && base + (chain->iov[i].iov_len - 1) >= first)
			return true;
	}
	return false;
}

bool vringh_in_use(const struct vringh *vr, uintptr_t first, uintptr_t last)
{
	for (uint32_t i = 0; i < vr->num; i++) {
		if (ring_slot_out(&vr->slots[i]) && slot_overlaps(&vr->slots[i], first, last))
			return true;
	}
	return false;
}

void vringh_map_changed(struct vringh *vr)
{
	vr->areas_valid = false;
	vr->desc.ptr = vr->avail.ptr = vr->used.ptr = NULL;
	vr->park = RING_RUNS;
}
