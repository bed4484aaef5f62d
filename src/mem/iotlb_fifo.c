// SPDX-License-Identifier: BSD-3-Clause
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mem/iotlb_fifo.h"

struct entry {
	iova_t start;
	uint32_t number;
	uint32_t age; /* for sorting only */
};

struct fifo {
	size_t head, tail, cap; /* entries [head, tail) */
	struct entry e[];
};

static const struct vhost_iotlb_map *entry_map(const struct vhost_iotlb *iotlb,
					       const struct entry *entry)
{
	const struct vhost_iotlb_map *map;

	map = vhost_iotlb_itree_first(iotlb, entry->start, entry->start);
	if (map && map->start == entry->start && map->flags == entry->number)
		return map;
	return NULL;
}

static int oldest_first(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return (x->age < y->age) - (x->age > y->age);
}

static struct fifo *fifo_from_tree(const struct vhost_iotlb *iotlb, size_t cap)
{
	struct fifo *fifo = malloc(sizeof(*fifo) + cap * sizeof(fifo->e[0]));
	const struct vhost_iotlb_map *map;

	if (!fifo)
		return NULL;
	fifo->head = fifo->tail = 0;
	fifo->cap = cap;
	for (map = vhost_iotlb_itree_first(iotlb, 0, UINT64_MAX); map;
	     map = vhost_iotlb_itree_next(iotlb, map, 0, UINT64_MAX))
		fifo->e[fifo->tail++] =
			(struct entry){map->start, map->flags, (uint32_t)iotlb->txn - map->flags};
	qsort(fifo->e, fifo->tail, sizeof(fifo->e[0]), oldest_first);
	return fifo;
}

/* Drop entries whose range is gone; each of them was paid for by an insertion. */
static void fifo_compact(const struct vhost_iotlb *iotlb, struct fifo *fifo)
{
	size_t n = 0;

	for (size_t i = fifo->head; i < fifo->tail; i++) {
		if (entry_map(iotlb, &fifo->e[i]))
			fifo->e[n++] = fifo->e[i];
	}
	fifo->head = 0;
	fifo->tail = n;
}

int iotlb_fifo_reserve(struct vhost_iotlb *iotlb, unsigned n)
{
	struct fifo *fifo = iotlb->fifo;
	size_t cap;

	if (fifo && fifo->tail + n <= fifo->cap)
		return 0;
	if (fifo) {
		fifo_compact(iotlb, fifo);
		if (fifo->tail + n <= fifo->cap / 4 * 3)
			return 0;
	}
	cap = 2 * (size_t)iotlb->nmaps + n + 16;
	fifo = fifo_from_tree(iotlb, cap);
	if (!fifo)
		return -ENOMEM;
	iotlb_fifo_free(iotlb);
	iotlb->fifo = fifo;
	return 0;
}

void iotlb_fifo_push(struct vhost_iotlb *iotlb, const struct vhost_iotlb_map *map)
{
	struct fifo *fifo = iotlb->fifo;

	assert(fifo && fifo->tail < fifo->cap);
	fifo->e[fifo->tail++] = (struct entry){map->start, map->flags, 0};
}

const struct vhost_iotlb_map *iotlb_fifo_oldest(struct vhost_iotlb *iotlb)
{
	struct fifo *fifo = iotlb->fifo;
	const struct vhost_iotlb_map *map;

	while (fifo->head < fifo->tail) {
		map = entry_map(iotlb, &fifo->e[fifo->head]);
		if (map)
			return map;
		fifo->head++;
	}
	assert(!"every range is in the queue");
	return NULL;
}

void iotlb_fifo_free(struct vhost_iotlb *iotlb)
{
	free(iotlb->fifo);
	iotlb->fifo = NULL;
}
