// SPDX-License-Identifier: BSD-3-Clause
/*
 * Address spaces: the control thread's side. What can fail is done first: the next version's root
 * is allocated before the map is changed, so that publishing never fails.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "mem/as.h"

/* ---- versions ---- */

/* Memory for the next version. Without views there is nobody to publish for: attaching does it. */
int as_prepare(struct vdpa_as *as)
{
	if (!as->spare && as->nviews)
		as->spare = calloc(1, sizeof(*as->spare));
	return as->spare || !as->nviews ? 0 : -ENOMEM;
}

static void root_free(struct as_root *root)
{
	vhost_iotlb_reset(&root->map);
	vhost_iotlb_reset(&root->hva);
	as_extra_put(root->extra);
	vdpa_dirty_log_put(root->log);
	free(root);
}

static bool root_in_use(struct vdpa_as *as, const struct as_root *root)
{
	struct vdpa_view *view;

	list_for_each_entry (view, &as->views, node) {
		if (atomic_load(&view->root) == root)
			return true;
	}
	return false;
}

void as_reclaim(struct vdpa_as *as)
{
	struct as_root **at = &as->retired, *root;
	uint64_t oldest = atomic_load(&as->root)->gen;

	while ((root = *at)) {
		if (root_in_use(as, root)) {
			oldest = root->gen < oldest ? root->gen : oldest;
			at = &root->next;
			continue;
		}
		*at = root->next;
		root_free(root);
	}
	as_use_sweep(as, oldest);
}

static void root_fill(struct as_root *root, struct vdpa_as *as)
{
	vhost_iotlb_snapshot(&as->map, &root->map);
	vhost_iotlb_snapshot(&as->hva, &root->hva);
	root->extra = as->extra;
	if (root->extra)
		root->extra->refs++;
	root->miss = as->miss;
	root->miss_arg = as->miss_arg;
	root->log = vdpa_dirty_log_get(as->log);
	root->gen = ++as->gen;
}

void as_publish(struct vdpa_as *as)
{
	struct as_root *root = as->spare, *old = atomic_load(&as->root);
	struct vdpa_view *view;

	assert(root); /* as_prepare() */
	as->spare = NULL;
	root_fill(root, as);
	as->unpublished = false;
	atomic_store(&as->root, root);
	old->next = as->retired;
	as->retired = old;
	as_miss_published(as);
	as_reclaim(as);
	list_for_each_entry (view, &as->views, node) {
		if (atomic_load(&view->parked))
			view_kick(view);
	}
}

void as_changed(struct vdpa_as *as)
{
	as->unpublished = true;
	if (!as->batch && as->nviews)
		as_publish(as);
}

void vdpa_as_batch_begin(struct vdpa_as *as)
{
	as->batch++;
}

void vdpa_as_batch_end(struct vdpa_as *as)
{
	assert(as->batch);
	if (--as->batch)
		return;
	if (as->unpublished && as->nviews)
		as_publish(as);
	as_change_send_all(as);
}

/* ---- birth and death ---- */

int vdpa_as_new(struct vdpa_loop_group *group, unsigned asid, struct vdpa_as **out)
{
	struct vdpa_as *as = calloc(1, sizeof(*as));
	struct as_root *root = calloc(1, sizeof(*root));

	if (!as || !root) {
		free(as);
		free(root);
		return -ENOMEM;
	}
	as->group = group;
	as->asid = asid;
	list_init(&as->views);
	list_init(&as->unsent);
	pthread_mutex_init(&as->misses.lock, NULL);
	vhost_iotlb_init(&as->map, 0, 0);
	vhost_iotlb_init(&as->hva, 0, 0);
	vhost_iotlb_init(&as->uses, 0, 0);
	root_fill(root, as);
	atomic_init(&as->root, root);
	*out = as;
	return 0;
}

static void as_destroy(struct vdpa_as *as)
{
	struct as_root *root;

	while ((root = as->retired)) {
		as->retired = root->next;
		root_free(root);
	}
	root_free(atomic_load(&as->root));
	free(as->spare);
	vhost_iotlb_reset(&as->map);
	as_use_free_all(as);
	vdpa_dirty_log_put(as->log);
	pthread_mutex_destroy(&as->misses.lock);
	free(as->misses.m);
	free(as);
}

/* A change is through: the last one of an address space that was freed meanwhile ends it. */
void as_change_over(struct vdpa_as *as)
{
	if (!--as->changes && as->freed)
		as_destroy(as);
}

void vdpa_as_free(struct vdpa_as *as)
{
	if (!as)
		return;
	assert(!as->nviews);
	as->freed = true;
	as->batch = 0;
	as->changes++;
	as_change_send_all(as);
	as_change_over(as);
}

/* ---- the map ---- */

static bool map_valid(const struct vhost_iotlb_map *map)
{
	const struct vdpa_region *region = map->opaque;

	return region && region_takes(region, map->addr, map->last - map->start, map->perm);
}

int vdpa_as_map(struct vdpa_as *as, iova_t iova, uint64_t size, uint64_t addr, uint32_t perm,
		struct vdpa_region *region)
{
	struct vhost_iotlb_map map = {.start = iova, .addr = addr, .opaque = region, .perm = perm};
	int ret;

	map.last = iova + (size - 1);
	if (!size || map.last < iova || !map_valid(&map))
		return -EINVAL;
	if (as_prepare(as) || as_use_get(as, region))
		return -ENOMEM;
	ret = vhost_iotlb_add_range_ctx(&as->map, iova, map.last, addr, perm, region);
	if (ret) {
		as_use_put(as, region);
		return ret;
	}
	as_miss_answered(as, iova, map.last);
	as_changed(as);
	return 0;
}

int vdpa_as_unmap(struct vdpa_as *as, iova_t iova, iova_t last, const struct vdpa_done *done)
{
	struct as_change *change;
	int ret;

	if (last < iova)
		return -EINVAL;
	change = as_change_new(as, done);
	if (!change)
		return -ENOMEM;
	vhost_iotlb_snapshot(&as->map, &change->before);
	change->first = iova;
	change->last = last;
	ret = as_prepare(as);
	if (!ret)
		ret = vhost_iotlb_del_range(&as->map, iova, last, NULL, NULL);
	if (ret <= 0) {
		as_change_free(change);
		if (!ret)
			vdpa_done_call(done, 0);
		return ret;
	}
	as_changed(as);
	as_change_start(change);
	return 0;
}

/* A reference for each range of @after that @before does not have; all or none. */
static int use_new_ranges(struct as_change *change)
{
	struct as_change added = {
		.before = change->after, .after = change->before, .last = UINT64_MAX};
	const struct vhost_iotlb_map *map = NULL, *undo = NULL;
	int ret = 0;

	while (!ret && (map = as_change_next(&added, map)))
		ret = map_valid(map) ? as_use_get(change->as, map->opaque) : -EINVAL;
	if (!ret)
		return 0;
	while ((undo = as_change_next(&added, undo)) && undo->start != map->start)
		as_use_put(change->as, undo->opaque);
	return ret;
}

int vdpa_as_set_map(struct vdpa_as *as, struct vhost_iotlb *iotlb, const struct vdpa_done *done)
{
	struct as_change *change = as_change_new(as, done);
	int ret;

	if (!change)
		return -ENOMEM;
	vhost_iotlb_snapshot(&as->map, &change->before);
	vhost_iotlb_snapshot(iotlb, &change->after);
	change->first = 0;
	change->last = UINT64_MAX;
	ret = as_prepare(as);
	if (!ret)
		ret = use_new_ranges(change);
	if (ret) {
		as_change_free(change);
		return ret;
	}
	vhost_iotlb_reset(&as->map);
	vhost_iotlb_snapshot(&change->after, &as->map);
	/* The limit was the caller's, for its own table. */
	as->map.limit = as->map.flags = 0;
	as_miss_answered(as, 0, UINT64_MAX);
	as_changed(as);
	as_change_start(change);
	return 0;
}

const struct vhost_iotlb *vdpa_as_iotlb(const struct vdpa_as *as)
{
	return &as->map;
}

/* ---- misses and the dirty log ---- */

int vdpa_as_set_miss(struct vdpa_as *as, vdpa_as_miss_fn fn, void *arg)
{
	if (fn && !as->misses.m)
		as->misses.m = calloc(AS_MISSES, sizeof(as->misses.m[0]));
	if ((fn && !as->misses.m) || as_prepare(as))
		return -ENOMEM;
	as->miss = fn;
	as->miss_arg = arg;
	as->misses_stale = true;
	as_changed(as);
	return 0;
}

int vdpa_as_set_dirty_log(struct vdpa_as *as, struct vdpa_dirty_log *log,
			  const struct vdpa_done *done)
{
	struct as_change *change = as_change_new(as, done);

	if (!change)
		return -ENOMEM;
	if (as_prepare(as)) {
		as_change_free(change);
		return -ENOMEM;
	}
	vdpa_dirty_log_get(log);
	vdpa_dirty_log_put(as->log);
	as->log = log;
	if (!as->nviews) {
		/* Nobody looks at the last version, and nothing is published: it must not keep the
		 * old log. */
		struct as_root *root = atomic_load(&as->root);

		vdpa_dirty_log_put(root->log);
		root->log = NULL;
	}
	as_changed(as);
	as_change_start(change);
	return 0;
}
