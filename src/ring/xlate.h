/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The usual case of a translation, without a call: the buffer lies in one range that this view hit
 * lately. All else, and every answer other than yes, is vdpa_view_xlate()'s.
 */
#ifndef RING_XLATE_H
#define RING_XLATE_H

#include "mem/as.h"

#include "ring/guest.h"

/* @len is not 0. */
static inline bool ring_xlate_hit(const struct vdpa_view *view, iova_t iova, uint32_t len,
				  uint32_t perm, struct iovec *iov)
{
	const struct view_hit *hit = view_hit_find(view, iova);
	iova_t last = iova + (len - 1);

	if (ring_unlikely(!hit || last > hit->last || last < iova || (hit->perm & perm) != perm ||
			  region_by_message(hit->region)))
		return false;
	iov->iov_base = (void *)(uintptr_t)(hit->addr + (iova - hit->start));
	iov->iov_len = len;
	return true;
}

#endif
