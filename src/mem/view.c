// SPDX-License-Identifier: BSD-3-Clause
/*
 * Views: attaching, moving from one version of the map to the next, and the messages that make a
 * queue do so.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mem/as.h"
#include "mem/iotlb_tree.h"
#include "mem/sigbus.h"

void view_put(struct vdpa_view *view)
{
	if (!vdpa_ref_put(&view->refs))
		return;
	pthread_mutex_destroy(&view->lock);
	free(view);
}

/* The view has moved to @root: nothing that it remembers holds. */
static void view_forget(struct vdpa_view *view, const struct as_root *root)
{
	view->nhits = view->next_hit = 0;
	view->ahead.n = view->ahead.next = 0;
	view->deep = iotlb_tree_is_deep(&root->map);
}

int vdpa_view_attach(struct vdpa_as *as, struct vdpa_loop *loop, const struct vdpa_view_ops *ops,
		     void *arg, struct vdpa_view **out)
{
	struct vdpa_view *view = calloc(1, sizeof(*view));
	pthread_mutexattr_t attr;

	if (!view)
		return -ENOMEM;
	vdpa_ref_init(&view->refs);
	view->as = as;
	view->loop = loop;
	view->ops = ops;
	view->arg = arg;
	as->nviews++;
	if (as->unpublished) {
		if (as_prepare(as)) {
			as->nviews--;
			free(view);
			return -ENOMEM;
		}
		as_publish(as);
	}
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&view->lock, &attr);
	pthread_mutexattr_destroy(&attr);
	atomic_init(&view->root, atomic_load(&as->root));
	view_forget(view, atomic_load(&view->root));
	list_add_tail(&as->views, &view->node);
	*out = view;
	return 0;
}

void vdpa_view_detach(struct vdpa_view *view)
{
	struct vdpa_as *as;

	if (!view)
		return;
	as = view->as;
	/* From here on messages leave the view alone: what was its loop's is ours. */
	pthread_mutex_lock(&view->lock);
	view->dead = true;
	pthread_mutex_unlock(&view->lock);
	list_del(&view->node);
	as->nviews--;
	atomic_store(&view->root, NULL);
	as_change_view_gone(as, view);
	as_reclaim(as);
	view_put(view);
}

bool vdpa_view_refresh(struct vdpa_view *view)
{
	struct as_root *root = atomic_load(&view->as->root), *seen;

	if (root == atomic_load_explicit(&view->root, memory_order_relaxed))
		return false;
	/* Memory that only the old map names may be lost already: do not forget it. */
	vdpa_view_broken(view);
	do {
		seen = root;
		atomic_store(&view->root, seen);
		root = atomic_load(&view->as->root);
	} while (root != seen);
	view_forget(view, seen);
	return true;
}

static void view_kicked(struct vdpa_loop_msg *msg)
{
	struct vdpa_view *view = vdpa_container_of(msg, struct vdpa_view, kick);

	pthread_mutex_lock(&view->lock);
	/* Both before the map is looked at: what changes after that kicks again. */
	atomic_store(&view->kicked, false);
	atomic_store(&view->parked, false);
	if (!view->dead) {
		vdpa_view_refresh(view);
		if (view->ops && view->ops->changed)
			view->ops->changed(view->arg);
	}
	pthread_mutex_unlock(&view->lock);
	view_put(view);
}

/* Any thread. */
void view_kick(struct vdpa_view *view)
{
	if (atomic_exchange(&view->kicked, true))
		return;
	vdpa_ref_get(&view->refs);
	vdpa_loop_post(view->loop, &view->kick, view_kicked);
}

static bool root_broken(const struct as_root *root)
{
	const struct vhost_iotlb_map *map;
	const struct vdpa_region *region;

	for (map = vhost_iotlb_itree_first(&root->hva, 0, UINT64_MAX); map;
	     map = vhost_iotlb_itree_next(&root->hva, map, 0, UINT64_MAX)) {
		region = map->opaque;
		if (atomic_load(&region->broken))
			return true;
	}
	for (unsigned i = 0; root->extra && i < root->extra->n; i++) {
		if (atomic_load(&root->extra->regions[i]->broken))
			return true;
	}
	return false;
}

bool vdpa_view_broken(struct vdpa_view *view)
{
	unsigned long events = sigbus_events();

	if (events == view->sigbus_seen)
		return view->broken;
	view->sigbus_seen = events;
	if (root_broken(atomic_load_explicit(&view->root, memory_order_relaxed)))
		view->broken = true;
	return view->broken;
}
