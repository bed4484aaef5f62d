// SPDX-License-Identifier: BSD-3-Clause
/*
 * vhost_iotlb: validation, limits and the public names, on the tree of iotlb_tree.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mem/iotlb_fifo.h"
#include "mem/iotlb_tree.h"

void vhost_iotlb_init(struct vhost_iotlb *iotlb, unsigned limit, unsigned flags)
{
	memset(iotlb, 0, sizeof(*iotlb));
	iotlb->limit = limit;
	iotlb->flags = flags;
}

struct vhost_iotlb *vhost_iotlb_alloc(unsigned limit, unsigned flags)
{
	struct vhost_iotlb *iotlb = malloc(sizeof(*iotlb));

	if (iotlb)
		vhost_iotlb_init(iotlb, limit, flags);
	return iotlb;
}

void vhost_iotlb_reset(struct vhost_iotlb *iotlb)
{
	struct iotlb_pool *pool = iotlb_pool(iotlb);

	iotlb_fifo_free(iotlb);
	if (iotlb->root)
		iotlb_node_put(pool, iotlb->root);
	iotlb->root = NULL;
	iotlb->nmaps = 0;
	if (pool) {
		iotlb_pool_trim(pool);
		iotlb_pool_put(pool);
	}
	iotlb->reserved[0] = NULL;
}

void vhost_iotlb_free(struct vhost_iotlb *iotlb)
{
	if (!iotlb)
		return;
	vhost_iotlb_reset(iotlb);
	free(iotlb);
}

void vhost_iotlb_snapshot(struct vhost_iotlb *iotlb, struct vhost_iotlb *snap)
{
	*snap = *iotlb;
	snap->fifo = NULL;
	if (snap->root)
		snap->root->ref++;
	if (iotlb_pool(snap))
		iotlb_pool_get(iotlb_pool(snap));
}

const struct vhost_iotlb_map *vhost_iotlb_itree_first(const struct vhost_iotlb *iotlb, iova_t start,
						      iova_t last)
{
	const struct vhost_iotlb_map *map = iotlb_tree_lower(iotlb, start);

	return map && map->start <= last ? map : NULL;
}

const struct vhost_iotlb_map *vhost_iotlb_itree_next(const struct vhost_iotlb *iotlb,
						     const struct vhost_iotlb_map *map,
						     iova_t start, iova_t last)
{
	if (map->last >= last)
		return NULL;
	return vhost_iotlb_itree_first(iotlb, map->last < start ? start : map->last + 1, last);
}

/* ---- adding ---- */

/*
 * Memory for @n insertions at @start, the first of which may retire the oldest range. Only an
 * empty table takes two at once (the full range).
 */
static int add_reserve(struct vhost_iotlb *iotlb, iova_t start, unsigned n, bool retire)
{
	unsigned need[IOTLB_KINDS] = {0};

	if (!iotlb_pool(iotlb)) {
		iotlb->reserved[0] = iotlb_pool_new();
		if (!iotlb_pool(iotlb))
			return -ENOMEM;
	}
	if (iotlb->root && iotlb->root->level + 2 > IOTLB_MAX_LEVELS)
		return -ENOMEM;
	if (iotlb_fifo_wanted(iotlb) && iotlb_fifo_reserve(iotlb, n))
		return -ENOMEM;
	if (retire) {
		iotlb_tree_need_remove(iotlb, iotlb_fifo_oldest(iotlb)->last, need);
		iotlb_tree_need_insert_any(iotlb, need);
	} else {
		iotlb_tree_need_insert(iotlb, start, need);
	}
	return iotlb_pool_reserve(iotlb_pool(iotlb), need);
}

static void add_one(struct vhost_iotlb *iotlb, struct vhost_iotlb_map *map)
{
	iotlb->txn++;
	if (iotlb_fifo_wanted(iotlb)) {
		map->flags = (uint32_t)iotlb->txn;
		iotlb_fifo_push(iotlb, map);
	}
	iotlb_tree_insert(iotlb, map);
}

int vhost_iotlb_add_range_ctx(struct vhost_iotlb *iotlb, iova_t start, iova_t last, uint64_t addr,
			      uint32_t perm, void *opaque)
{
	struct vhost_iotlb_map map = {start, last, addr, opaque, perm, 0};
	bool full_range = start == 0 && last == UINT64_MAX;
	unsigned n = full_range ? 2 : 1;
	bool retire = false;

	if (last < start || perm < VHOST_MAP_RO || perm > VHOST_MAP_RW ||
	    addr + (last - start) < addr)
		return -EINVAL;
	if (vhost_iotlb_itree_first(iotlb, start, last))
		return -EEXIST;
	if (iotlb->limit && iotlb->nmaps + n > iotlb->limit) {
		retire = iotlb_fifo_wanted(iotlb) && iotlb->nmaps;
		if (!retire)
			return -ENOMEM;
	}
	if (add_reserve(iotlb, start, n, retire))
		return -ENOMEM;
	if (retire)
		iotlb_tree_remove(iotlb, iotlb_fifo_oldest(iotlb)->last);
	if (full_range) {
		map.last = UINT64_MAX / 2;
		add_one(iotlb, &map);
		map.start = map.last + 1;
		map.addr += map.start;
		map.last = last;
	}
	add_one(iotlb, &map);
	return 0;
}

int vhost_iotlb_add_range(struct vhost_iotlb *iotlb, iova_t start, iova_t last, uint64_t addr,
			  uint32_t perm)
{
	return vhost_iotlb_add_range_ctx(iotlb, start, last, addr, perm, NULL);
}

/* ---- removing ---- */

static int remove_one(struct vhost_iotlb *iotlb, uint64_t last)
{
	unsigned need[IOTLB_KINDS] = {0};

	iotlb_tree_need_remove(iotlb, last, need);
	if (iotlb_pool_reserve(iotlb_pool(iotlb), need))
		return -ENOMEM;
	iotlb_tree_remove(iotlb, last);
	return 0;
}

int vhost_iotlb_map_free(struct vhost_iotlb *iotlb, const struct vhost_iotlb_map *map)
{
	int ret = remove_one(iotlb, map->last);

	if (!ret)
		iotlb_pool_trim(iotlb_pool(iotlb));
	return ret;
}

static bool covers_all(const struct vhost_iotlb *iotlb, iova_t start, iova_t last)
{
	const struct vhost_iotlb_map *map = vhost_iotlb_itree_first(iotlb, 0, UINT64_MAX);

	return map && map->last >= start && iotlb_max_key(iotlb->root) <= last;
}

/* The table before the change is kept until all is done: it is what -ENOMEM goes back to. */
static int remove_many(struct vhost_iotlb *iotlb, iova_t start, iova_t last)
{
	struct iotlb_pool *pool = iotlb_pool(iotlb);
	struct vhost_iotlb_node *before = iotlb->root;
	uint64_t nmaps = iotlb->nmaps;
	const struct vhost_iotlb_map *map;

	if (covers_all(iotlb, start, last)) {
		iotlb_node_put(pool, before);
		iotlb->root = NULL;
		iotlb->nmaps = 0;
		return 0;
	}
	before->ref++;
	while ((map = vhost_iotlb_itree_first(iotlb, start, last))) {
		if (!remove_one(iotlb, map->last))
			continue;
		if (iotlb->root)
			iotlb_node_put(pool, iotlb->root);
		iotlb->root = before;
		iotlb->nmaps = nmaps;
		return -ENOMEM;
	}
	iotlb_node_put(pool, before);
	return 0;
}

static void tell_removed(const struct vhost_iotlb *before, iova_t start, iova_t last,
			 void (*fn)(void *arg, const struct vhost_iotlb_map *map), void *arg)
{
	const struct vhost_iotlb_map *map = vhost_iotlb_itree_first(before, start, last);

	for (; map; map = vhost_iotlb_itree_next(before, map, start, last))
		fn(arg, map);
}

int vhost_iotlb_del_range(struct vhost_iotlb *iotlb, iova_t start, iova_t last,
			  void (*fn)(void *arg, const struct vhost_iotlb_map *map), void *arg)
{
	const struct vhost_iotlb_map *map;
	struct vhost_iotlb before;
	uint64_t nmaps = iotlb->nmaps;
	int ret;

	map = last < start ? NULL : vhost_iotlb_itree_first(iotlb, start, last);
	if (!map)
		return 0;
	if (fn)
		vhost_iotlb_snapshot(iotlb, &before);
	if (vhost_iotlb_itree_next(iotlb, map, start, last))
		ret = remove_many(iotlb, start, last);
	else
		ret = remove_one(iotlb, map->last);
	if (fn && !ret)
		tell_removed(&before, start, last, fn, arg);
	if (fn)
		vhost_iotlb_reset(&before);
	iotlb_pool_trim(iotlb_pool(iotlb));
	return ret ? ret : (int)(nmaps - iotlb->nmaps);
}
