/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The persistent B+tree below vhost_iotlb: search, insert, remove. No limits, no validation.
 * Reservations are the caller's: a change never fails half-way.
 */
#ifndef MEM_IOTLB_TREE_H
#define MEM_IOTLB_TREE_H

#include "mem/iotlb_node.h"

static inline struct iotlb_pool *iotlb_pool(const struct vhost_iotlb *iotlb)
{
	return iotlb->reserved[0];
}

/* First range whose last address is >= @x, or NULL. */
const struct vhost_iotlb_map *iotlb_tree_lower(const struct vhost_iotlb *iotlb, uint64_t x);
/* The same of @n addresses, in any order; in a tree that is deep, much faster than one by one. */
void iotlb_tree_lower_n(const struct vhost_iotlb *iotlb, const uint64_t *x, unsigned n,
			const struct vhost_iotlb_map **out);

/* Below that many levels a tree is in the processor's caches (12,600 ranges: 600 to 1,200 KiB). */
#define IOTLB_DEEP 3
/* How many go down side by side. */
#define IOTLB_GROUP 32

static inline bool iotlb_tree_is_deep(const struct vhost_iotlb *iotlb)
{
	return iotlb->root && iotlb->root->level >= IOTLB_DEEP;
}

/* Add to @need what one insertion takes (at @start), or at most takes anywhere after a removal. */
void iotlb_tree_need_insert(const struct vhost_iotlb *iotlb, uint64_t start,
			    unsigned need[IOTLB_KINDS]);
void iotlb_tree_need_insert_any(const struct vhost_iotlb *iotlb, unsigned need[IOTLB_KINDS]);
/* Add to @need what removing the range that ends at @last takes. */
void iotlb_tree_need_remove(const struct vhost_iotlb *iotlb, uint64_t last,
			    unsigned need[IOTLB_KINDS]);

/* Insert @map, which overlaps nothing. */
void iotlb_tree_insert(struct vhost_iotlb *iotlb, const struct vhost_iotlb_map *map);
/* Remove the range that ends at @last, which is there. */
void iotlb_tree_remove(struct vhost_iotlb *iotlb, uint64_t last);

#endif
