/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Order of insertion, for tables with a limit and VHOST_IOTLB_FLAG_RETIRE. Each range carries the
 * low 32 bits of its insertion number in map->flags; the queue here is an index over that, may hold
 * ranges that are gone, and can be made again from the tree (a snapshot starts without one).
 */
#ifndef MEM_IOTLB_FIFO_H
#define MEM_IOTLB_FIFO_H

#include <uvdpa/vhost_iotlb.h>

static inline bool iotlb_fifo_wanted(const struct vhost_iotlb *iotlb)
{
	return iotlb->limit && (iotlb->flags & VHOST_IOTLB_FLAG_RETIRE);
}

/* Make room for @n more entries. 0 or -ENOMEM. */
int iotlb_fifo_reserve(struct vhost_iotlb *iotlb, unsigned n);
/* @map was numbered; it enters the queue. */
void iotlb_fifo_push(struct vhost_iotlb *iotlb, const struct vhost_iotlb_map *map);
/* The oldest range of a table that has some. */
const struct vhost_iotlb_map *iotlb_fifo_oldest(struct vhost_iotlb *iotlb);
void iotlb_fifo_free(struct vhost_iotlb *iotlb);

#endif
