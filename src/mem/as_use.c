// SPDX-License-Identifier: BSD-3-Clause
/*
 * Which regions an address space uses, and the reverse table (address in this process to GPA).
 * A region enters both with its first range and leaves with the removal of its last one. The
 * reverse table is part of every published version, so a region's structure (not its memory) stays
 * until no version names it.
 */
#include <errno.h>
#include <stdlib.h>

#include "mem/as.h"

static struct as_use *use_find(struct vdpa_as *as, const struct vdpa_region *region)
{
	const struct vhost_iotlb_map *map;

	if (as->last_use && as->last_use->region == region)
		return as->last_use;
	map = vhost_iotlb_itree_first(&as->uses, (uintptr_t)region, (uintptr_t)region);
	if (map)
		as->last_use = map->opaque;
	return map ? map->opaque : NULL;
}

void as_extra_put(struct as_extra *extra)
{
	if (extra && !--extra->refs)
		free(extra);
}

/* The table without @del (may be NULL) and with @add (may be NULL). */
static int extra_replace(struct vdpa_as *as, const struct vdpa_region *del, struct vdpa_region *add)
{
	unsigned n = as->extra ? as->extra->n : 0;
	struct as_extra *extra = malloc(sizeof(*extra) + (n + 1) * sizeof(extra->regions[0]));

	if (!extra)
		return -ENOMEM;
	extra->refs = 1;
	extra->n = 0;
	for (unsigned i = 0; i < n; i++) {
		if (as->extra->regions[i] != del)
			extra->regions[extra->n++] = as->extra->regions[i];
	}
	if (add)
		extra->regions[extra->n++] = add;
	as_extra_put(as->extra);
	as->extra = extra;
	return 0;
}

static int reverse_add(struct vdpa_as *as, struct as_use *use)
{
	struct vdpa_region *region = use->region;
	uint64_t base = (uintptr_t)region->base;
	int ret;

	if (region_by_message(region))
		return 0;
	ret = vhost_iotlb_add_range_ctx(&as->hva, base, base + (region->size - 1), region->gpa,
					VHOST_MAP_RW, region);
	use->in_hva = !ret;
	if (ret != -EEXIST)
		return ret;
	ret = extra_replace(as, NULL, region);
	use->in_extra = !ret;
	return ret;
}

/* Without memory it stays, which marks too much at worst, and is tried again. */
static void reverse_del(struct vdpa_as *as, struct as_use *use)
{
	uint64_t base = (uintptr_t)use->region->base;

	if (use->in_hva &&
	    vhost_iotlb_map_free(&as->hva, vhost_iotlb_itree_first(&as->hva, base, base)) == 0)
		use->in_hva = false;
	if (use->in_extra && extra_replace(as, use->region, NULL) == 0)
		use->in_extra = false;
	use->gone_gen = use->born == as->gen ? 0 : as->gen;
}

static struct as_use *use_new(struct vdpa_as *as, struct vdpa_region *region)
{
	struct as_use *use = calloc(1, sizeof(*use));

	if (!use)
		return NULL;
	use->region = region;
	use->born = as->gen;
	if (vhost_iotlb_add_range_ctx(&as->uses, (uintptr_t)region, (uintptr_t)region, 0,
				      VHOST_MAP_RW, use)) {
		free(use);
		return NULL;
	}
	if (reverse_add(as, use)) {
		vhost_iotlb_del_range(&as->uses, (uintptr_t)region, (uintptr_t)region, NULL, NULL);
		free(use);
		return NULL;
	}
	vdpa_region_get(region);
	region_weak_get(region);
	return use;
}

int as_use_get(struct vdpa_as *as, struct vdpa_region *region)
{
	struct as_use *use = use_find(as, region);

	if (!use)
		use = use_new(as, region);
	if (!use)
		return -ENOMEM;
	as->last_use = use;
	use->count++;
	return 0;
}

void as_use_put(struct vdpa_as *as, struct vdpa_region *region)
{
	struct as_use *use = use_find(as, region);

	if (--use->count)
		return;
	/* A table that never had a snapshot is changed in place: this cannot fail. */
	vhost_iotlb_del_range(&as->uses, (uintptr_t)region, (uintptr_t)region, NULL, NULL);
	as->last_use = NULL;
	reverse_del(as, use);
	use->next = as->gone;
	as->gone = use;
	vdpa_region_put(region);
}

void as_use_sweep(struct vdpa_as *as, uint64_t oldest)
{
	struct as_use **at = &as->gone, *use;

	while ((use = *at)) {
		if (use->in_hva || use->in_extra)
			reverse_del(as, use);
		if (use->in_hva || use->in_extra || use->gone_gen >= oldest) {
			at = &use->next;
			continue;
		}
		*at = use->next;
		region_weak_put(use->region);
		free(use);
	}
}

void as_use_free_all(struct vdpa_as *as)
{
	const struct vhost_iotlb_map *map;
	struct as_use *use;

	for (map = vhost_iotlb_itree_first(&as->uses, 0, UINT64_MAX); map;
	     map = vhost_iotlb_itree_next(&as->uses, map, 0, UINT64_MAX)) {
		use = map->opaque;
		use->next = as->gone;
		as->gone = use;
		vdpa_region_put(use->region);
	}
	vhost_iotlb_reset(&as->uses);
	vhost_iotlb_reset(&as->hva);
	as_extra_put(as->extra);
	while ((use = as->gone)) {
		as->gone = use->next;
		region_weak_put(use->region);
		free(use);
	}
}
