// SPDX-License-Identifier: BSD-3-Clause
/*
 * From checked descriptors to a chain's memory; the same for every ring format.
 *
 * A short chain of mapped memory lives in its slot and comes through here once, in
 * ring_walk_commit() without a call. Longer ones are put together in the ring's scratch array and
 * get a block of the right class from a pool: blocks are kept when the chain ends, so that a queue
 * in its stride does not allocate. What a queue can make us hold is bounded by its size times
 * VRINGH_MAX_IOV pieces.
 *
 * Buffers that are reached by message get memory of our own: read in when the chain is got, written
 * out to the byte when it is completed. It is zeroed first: a device that claims more than it wrote
 * must not hand out what lay in our heap. A driver attacks by the size of its buffers;
 * RING_BOUNCE_MAX_BYTES bounds what a queue holds.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "ring/ring.h"

static void walk_to_scratch(struct ring_walk *w)
{
	memcpy(w->vr->scratch, w->slot->iov, w->n * sizeof(struct iovec));
	w->iov = w->vr->scratch;
	w->cap = VRINGH_MAX_IOV;
}

/* The buffer is by message: one piece that has no memory yet. */
static int walk_add_remote(struct ring_walk *w, iova_t addr, uint32_t len)
{
	if (w->iov != w->vr->scratch)
		walk_to_scratch(w);
	assert(w->n < w->cap);
	w->iov[w->n] = (struct iovec){.iov_base = NULL, .iov_len = len};
	w->vr->scratch_iova[w->n] = addr;
	w->nremote++;
	w->remote_bytes += len;
	return 1;
}

int ring_walk_add_slow(struct ring_walk *w, iova_t addr, uint32_t len)
{
	uint32_t perm = w->writable ? VHOST_MAP_WO : VHOST_MAP_RO;
	int rc = -E2BIG;

	if (w->n < w->cap)
		rc = vdpa_view_xlate(w->vr->buf_view, addr, len, perm, w->iov + w->n,
				     w->cap - w->n);
	if (rc == -E2BIG && w->iov != w->vr->scratch) {
		walk_to_scratch(w);
		rc = vdpa_view_xlate(w->vr->buf_view, addr, len, perm, w->iov + w->n,
				     w->cap - w->n);
	}
	if (rc > 0)
		return rc;
	switch (rc) {
	case -EREMOTE:
		return walk_add_remote(w, addr, len);
	case -EAGAIN:
		w->vr->stats.misses++;
		return rc;
	case -E2BIG:
		return ring_bad(w->vr, "head %u: more than %u pieces", w->head, VRINGH_MAX_IOV);
	default:
		return ring_bad(
			w->vr,
			"head %u: buffer 0x%llx of %u bytes is not mapped for the device to %s",
			w->head, (unsigned long long)addr, len, w->writable ? "write" : "read");
	}
}

/* ---- memory of a chain ---- */

static struct iovec *pool_get(struct vringh *vr, unsigned n, unsigned *class)
{
	struct ring_iov_block *block;
	unsigned c = 0;

	while ((RING_IOV_CLASS_MIN << c) < (int)n)
		c++;
	*class = c;
	block = vr->blocks[c];
	if (block) {
		vr->blocks[c] = block->next;
		return block->iov;
	}
	block = malloc(sizeof(*block) + ((size_t)RING_IOV_CLASS_MIN << c) * sizeof(struct iovec));
	return block ? block->iov : NULL;
}

static void pool_put(struct vringh *vr, struct iovec *iov, unsigned class)
{
	struct ring_iov_block *block = (void *)((char *)iov - offsetof(struct ring_iov_block, iov));

	block->next = vr->blocks[class];
	vr->blocks[class] = block;
}

void ring_pool_free(struct vringh *vr)
{
	for (unsigned c = 0; c < RING_IOV_CLASSES; c++) {
		while (vr->blocks[c]) {
			struct ring_iov_block *block = vr->blocks[c];

			vr->blocks[c] = block->next;
			free(block);
		}
	}
}

/* No memory: wait for a chain to end; when none is out, that would be for ever. */
static int walk_no_memory(struct ring_walk *w)
{
	if (vringh_outstanding(w->vr) == 0)
		return ring_bad(w->vr, "head %u: no memory for its buffers", w->head);
	w->vr->park = RING_PARKED_MEMORY;
	return -EAGAIN;
}

static struct ring_bounce *bounce_new(const struct ring_walk *w)
{
	struct ring_bounce *b = malloc(sizeof(*b) + w->nremote * sizeof(b->pieces[0]));

	if (!b)
		return NULL;
	b->data = calloc(1, w->remote_bytes);
	if (!b->data) {
		free(b);
		return NULL;
	}
	b->bytes = w->remote_bytes;
	b->n = 0;
	return b;
}

static void bounce_free(struct ring_bounce *b)
{
	free(b->data);
	free(b);
}

/* Give each piece by message its memory, and fill what the device will read. */
static int bounce_fill(struct ring_walk *w, struct ring_bounce *b)
{
	uint8_t *p = b->data;

	for (unsigned i = 0; i < w->n; i++) {
		struct iovec *v = &w->iov[i];
		int rc = 0;

		if (v->iov_base)
			continue;
		if (i < w->nout)
			rc = vdpa_view_read(w->vr->buf_view, w->vr->scratch_iova[i], p, v->iov_len);
		if (rc)
			return ring_access_failed(w->vr, "a buffer by message", rc);
		v->iov_base = p;
		b->pieces[b->n++] = (struct ring_bounce_piece){w->vr->scratch_iova[i], i};
		p += v->iov_len;
	}
	return 0;
}

static int walk_bounce(struct ring_walk *w)
{
	struct vringh *vr = w->vr;
	struct ring_bounce *b;
	int rc;

	if (w->remote_bytes > RING_BOUNCE_MAX_BYTES)
		return ring_bad(vr, "head %u: %llu bytes by message, at most %llu are taken",
				w->head, (unsigned long long)w->remote_bytes,
				RING_BOUNCE_MAX_BYTES);
	if (vr->bounce_bytes + w->remote_bytes > RING_BOUNCE_MAX_BYTES)
		return walk_no_memory(w);
	b = bounce_new(w);
	if (!b)
		return walk_no_memory(w);
	rc = bounce_fill(w, b);
	if (rc) {
		bounce_free(b);
		return rc;
	}
	vr->bounce_bytes += b->bytes;
	w->slot->bounce = b;
	return 0;
}

int ring_walk_settle(struct ring_walk *w)
{
	struct vringh_chain *chain = &w->slot->chain;
	unsigned class;
	int rc;

	if (w->out_len + w->in_len > RING_CHAIN_MAX_BYTES)
		return ring_bad(w->vr, "head %u: longer than 2^32 bytes", w->head);
	if (w->n > RING_INLINE_IOV) {
		struct iovec *iov = pool_get(w->vr, w->n, &class);

		if (!iov)
			return walk_no_memory(w);
		chain->iov = iov;
		chain->state = (uint16_t)((class + 1) << RING_SLOT_CLASS_SHIFT);
	}
	rc = w->nremote ? walk_bounce(w) : 0;
	if (rc) {
		ring_chain_release(w->vr, w->slot);
		return rc;
	}
	if (w->iov != chain->iov)
		memcpy(chain->iov, w->iov, w->n * sizeof(*w->iov));
	return 0;
}

void ring_chain_release(struct vringh *vr, struct ring_slot *slot)
{
	unsigned class = slot->chain.state >> RING_SLOT_CLASS_SHIFT;

	if (ring_unlikely(class))
		pool_put(vr, slot->chain.iov, class - 1);
	if (ring_unlikely(slot->bounce != NULL)) {
		vr->bounce_bytes -= slot->bounce->bytes;
		bounce_free(slot->bounce);
		slot->bounce = NULL;
	}
	slot->chain.state = 0;
}

/* ---- what the device wrote ---- */

/* Write one piece that is by message; @at: where in the bounce list, which is in the order of
 * pieces. */
static int deliver_piece(struct vringh *vr, struct ring_slot *slot, unsigned piece, size_t len,
			 unsigned *at)
{
	const struct iovec *v = &slot->chain.iov[piece];
	const struct ring_bounce *b = slot->bounce;

	if (ring_likely(!b)) {
		vdpa_view_dirty(vr->buf_view, v->iov_base, len);
		return 0;
	}
	while (*at < b->n && b->pieces[*at].piece < piece)
		(*at)++;
	if (*at < b->n && b->pieces[*at].piece == piece)
		return vdpa_view_write(vr->buf_view, b->pieces[*at].iova, v->iov_base, len);
	vdpa_view_dirty(vr->buf_view, v->iov_base, len);
	return 0;
}

int ring_chain_deliver(struct vringh *vr, struct ring_slot *slot, uint64_t written)
{
	const struct vringh_chain *chain = &slot->chain;
	unsigned i = chain->nout, at = 0;

	while (written) {
		const struct iovec *v = &chain->iov[i];
		size_t len = written < v->iov_len ? (size_t)written : v->iov_len;
		int rc = deliver_piece(vr, slot, i, len, &at);

		if (rc)
			return rc;
		written -= len;
		i++;
	}
	return 0;
}

/* ---- for devices ---- */

/* Copy between @buf and pieces [@iov, @iov + @n), from byte @off on. */
static size_t iov_copy(const struct iovec *iov, unsigned n, uint64_t off, void *to,
		       const void *from, size_t len)
{
	size_t done = 0;

	for (unsigned i = 0; i < n && done < len; i++) {
		size_t room, part;
		uint8_t *p;

		if (off >= iov[i].iov_len) {
			off -= iov[i].iov_len;
			continue;
		}
		room = iov[i].iov_len - (size_t)off;
		part = room < len - done ? room : len - done;
		p = (uint8_t *)iov[i].iov_base + off;
		if (to)
			memcpy((uint8_t *)to + done, p, part);
		else
			memcpy(p, (const uint8_t *)from + done, part);
		off = 0;
		done += part;
	}
	return done;
}

size_t vringh_iov_pull(const struct vringh_chain *chain, uint64_t off, void *buf, size_t len)
{
	return iov_copy(chain->iov, chain->nout, off, buf, NULL, len);
}

size_t vringh_iov_push(const struct vringh_chain *chain, uint64_t off, const void *buf, size_t len)
{
	return iov_copy(chain->iov + chain->nout, chain->nin, off, NULL, buf, len);
}
