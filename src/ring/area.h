/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An area: a piece of ring memory (descriptor table, driver area, device area, an indirect table).
 *
 * When it is one aligned piece in this process, it is translated once per version of the map, and
 * accessors go straight to memory. Otherwise (scattered over ranges, down to one byte each, or by
 * message) every access is translated by itself: slower, never different. Index words remain atomic
 * as long as the word itself is in one piece.
 */
#ifndef RING_AREA_H
#define RING_AREA_H

#include <uvdpa/mem.h>

#include "ring/guest.h"

struct ring_area {
	struct vdpa_view *view;
	iova_t iova;
	uint64_t bytes;
	uint32_t perm;
	uint8_t *ptr; /* NULL: scattered, or by message */
	bool native;  /* byte order of its words */
};

/*
 * Translate @area; @align: what direct access needs. 0, also when the area must be accessed
 * piecemeal; -EAGAIN on a miss. A hole is found by the access that falls into it.
 */
int ring_area_resolve(struct ring_area *area, uintptr_t align);

/* Piecemeal accesses at byte @off; 0, -EFAULT, -EAGAIN or the region's error. */
int ring_area_slow_load16(const struct ring_area *area, uint64_t off, uint16_t *v);
int ring_area_slow_store16(const struct ring_area *area, uint64_t off, uint16_t v);
int ring_area_slow_desc(const struct ring_area *area, uint32_t i, struct desc_copy *d);
int ring_area_slow_pdesc(const struct ring_area *area, uint32_t i, struct pdesc_copy *d);
/* Use descriptor @i of a packed ring: its flags come last, with release order. */
int ring_area_slow_use(const struct ring_area *area, uint32_t i, uint32_t len, uint16_t id,
		       uint16_t flags);

static inline struct guest_le16 *ring_area_word(const struct ring_area *area, uint64_t off)
{
	return (struct guest_le16 *)(void *)(area->ptr + off);
}

static inline int ring_area_load16(const struct ring_area *area, uint64_t off, uint16_t *v)
{
	if (ring_unlikely(!area->ptr))
		return ring_area_slow_load16(area, off, v);
	*v = guest_load16(ring_area_word(area, off), area->native);
	return 0;
}

static inline int ring_area_load16_acquire(const struct ring_area *area, uint64_t off, uint16_t *v)
{
	if (ring_unlikely(!area->ptr))
		return ring_area_slow_load16(area, off, v);
	*v = guest_load16_acquire(ring_area_word(area, off), area->native);
	return 0;
}

/* Release; marks the dirty log. */
static inline int ring_area_store16(const struct ring_area *area, uint64_t off, uint16_t v)
{
	if (ring_unlikely(!area->ptr))
		return ring_area_slow_store16(area, off, v);
	guest_store16_release(ring_area_word(area, off), v, area->native);
	vdpa_view_dirty(area->view, area->ptr + off, sizeof(v));
	return 0;
}

static inline int ring_area_desc(const struct ring_area *area, uint32_t i, struct desc_copy *d)
{
	if (ring_unlikely(!area->ptr))
		return ring_area_slow_desc(area, i, d);
	guest_desc_load(area->ptr + (size_t)i * sizeof(struct guest_desc), d, area->native);
	return 0;
}

static inline void *ring_area_pdesc_ptr(const struct ring_area *area, uint32_t i)
{
	return area->ptr + (size_t)i * sizeof(struct guest_pdesc);
}

static inline int ring_area_pdesc(const struct ring_area *area, uint32_t i, struct pdesc_copy *d)
{
	if (ring_unlikely(!area->ptr))
		return ring_area_slow_pdesc(area, i, d);
	guest_pdesc_load(ring_area_pdesc_ptr(area, i), d);
	return 0;
}

#endif
