// SPDX-License-Identifier: BSD-3-Clause
/*
 * Changes with a completion: removals, and a new dirty log. One message to each view that was
 * attached, one back; as.h has the theory.
 */
#include <errno.h>
#include <stdlib.h>

#include "mem/as.h"

struct as_change *as_change_new(struct vdpa_as *as, const struct vdpa_done *done)
{
	struct as_change *change;
	struct vdpa_view *view;

	change = calloc(1, sizeof(*change) + as->nviews * sizeof(change->waits[0]));
	if (!change)
		return NULL;
	change->as = as;
	change->first = 1; /* nothing removed, until the caller says so */
	if (done)
		change->done = *done;
	list_init(&change->unsent);
	list_for_each_entry (view, &as->views, node) {
		change->waits[change->nwaits].change = change;
		change->waits[change->nwaits++].view = view;
	}
	change->left = change->nwaits;
	return change;
}

void as_change_free(struct as_change *change)
{
	vhost_iotlb_reset(&change->before);
	vhost_iotlb_reset(&change->after);
	free(change);
}

static bool same_range(const struct vhost_iotlb *iotlb, const struct vhost_iotlb_map *map)
{
	const struct vhost_iotlb_map *m = vhost_iotlb_itree_first(iotlb, map->start, map->start);

	return m && m->start == map->start && m->last == map->last && m->addr == map->addr &&
	       m->perm == map->perm && m->opaque == map->opaque;
}

const struct vhost_iotlb_map *as_change_next(const struct as_change *change,
					     const struct vhost_iotlb_map *map)
{
	iova_t first = change->first, last = change->last;

	if (first > last)
		return NULL;
	do {
		map = map ? vhost_iotlb_itree_next(&change->before, map, first, last)
			  : vhost_iotlb_itree_first(&change->before, first, last);
	} while (map && same_range(&change->after, map));
	return map;
}

/* Control thread: every view is through. */
static void change_complete(struct as_change *change)
{
	struct vdpa_as *as = change->as;
	struct vdpa_done done = change->done;
	const struct vhost_iotlb_map *map = NULL;

	while ((map = as_change_next(change, map)))
		as_use_put(as, map->opaque);
	as_change_free(change);
	as_reclaim(as);
	vdpa_done_call(&done, 0);
	as_change_over(as);
}

static void wait_over(struct as_change *change)
{
	if (!--change->left)
		change_complete(change);
}

static void change_answered(struct vdpa_loop_msg *msg)
{
	struct as_wait *wait = vdpa_container_of(msg, struct as_wait, msg);
	struct vdpa_view *view = wait->view;

	wait_over(wait->change);
	view_put(view);
}

/* The view is through with this change. Its loop, or the control thread when the view is dead. */
static void wait_answer(struct as_wait *wait)
{
	vdpa_loop_post(vdpa_loop_group_control(wait->change->as->group), &wait->msg,
		       change_answered);
}

/* Ranges that follow each other in this process are asked for in one go. */
static bool change_in_use(const struct vdpa_view *view, const struct as_change *change)
{
	const struct vhost_iotlb_map *map = NULL;
	uint64_t first = 0, last = 0;
	bool pending = false;

	if (!view->ops || !view->ops->in_use)
		return false;
	while ((map = as_change_next(change, map))) {
		const struct vdpa_region *region = map->opaque;

		if (region_by_message(region))
			continue;
		if (pending && map->addr == last + 1) {
			last = map->addr + (map->last - map->start);
			continue;
		}
		if (pending && view->ops->in_use(view->arg, first, last))
			return true;
		first = map->addr;
		last = map->addr + (map->last - map->start);
		pending = true;
	}
	return pending && view->ops->in_use(view->arg, first, last);
}

static void change_ask(struct vdpa_loop_msg *msg)
{
	struct as_wait *wait = vdpa_container_of(msg, struct as_wait, msg);
	struct vdpa_view *view = wait->view;
	bool stuck = false;

	pthread_mutex_lock(&view->lock);
	if (!view->dead && vdpa_view_refresh(view) && view->ops && view->ops->changed)
		view->ops->changed(view->arg);
	if (!view->dead && change_in_use(view, wait->change)) {
		wait->next = view->stuck;
		view->stuck = wait;
		stuck = true;
	}
	pthread_mutex_unlock(&view->lock);
	if (!stuck)
		wait_answer(wait);
}

void vdpa_view_request_done(struct vdpa_view *view)
{
	struct as_wait **at = &view->stuck, *wait;

	while ((wait = *at)) {
		if (change_in_use(view, wait->change)) {
			at = &wait->next;
			continue;
		}
		*at = wait->next;
		wait_answer(wait);
	}
}

static void change_send(struct as_change *change)
{
	unsigned n = change->nwaits;

	/* One more, so that the change stays while its messages go out. */
	change->left++;
	for (unsigned i = 0; i < n; i++) {
		struct as_wait *wait = &change->waits[i];

		if (!wait->view)
			continue;
		vdpa_ref_get(&wait->view->refs);
		vdpa_loop_post(wait->view->loop, &wait->msg, change_ask);
	}
	wait_over(change);
}

void as_change_start(struct as_change *change)
{
	struct vdpa_as *as = change->as;

	as->changes++;
	list_add_tail(&as->unsent, &change->unsent);
	if (!as->batch)
		as_change_send_all(as);
}

void as_change_send_all(struct vdpa_as *as)
{
	struct list *node;

	as->changes++; /* keeps the address space */
	while ((node = list_pop(&as->unsent)))
		change_send(list_entry(node, struct as_change, unsent));
	as_change_over(as);
}

/* Control thread; no message runs on the view's loop any more. */
void as_change_view_gone(struct vdpa_as *as, struct vdpa_view *view)
{
	struct as_change *change;
	struct as_wait *wait;

	list_for_each_entry (change, &as->unsent, unsent) {
		for (unsigned i = 0; i < change->nwaits; i++) {
			if (change->waits[i].view != view)
				continue;
			change->waits[i].view = NULL;
			change->left--;
		}
	}
	while ((wait = view->stuck)) {
		view->stuck = wait->next;
		wait_answer(wait);
	}
}
