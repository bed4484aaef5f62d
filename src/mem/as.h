/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inside of address spaces and views.
 *
 * The control thread changes the map and publishes it: a root is an immutable version of everything
 * that a queue needs (map, reverse table, miss function, dirty log). A view holds one root at a
 * time, and says which in view->root, by the rule of hazard pointers: it writes there what it is
 * about to use, and looks whether that is still the published one. The control thread frees a root
 * that is neither published nor named by any view, so at most one root per view lingers, however
 * fast the map changes, and neither side waits.
 *
 * A removal is done when every view that was attached has moved to a root without the range and has
 * no request in flight over it. Each view is asked by a message on its loop, and answers by one; a
 * view that has such a request keeps the question until vdpa_view_request_done().
 *
 * Who touches what: fields of vdpa_as are the control thread's, but as->root (written by it, read
 * by all) and as->misses (locked). Fields of vdpa_view say it at each.
 */
#ifndef MEM_AS_H
#define MEM_AS_H

#include <pthread.h>
#include <stdatomic.h>

#include <uvdpa/mem.h>

#include "base/list.h"
#include "base/ref.h"
#include "mem/region.h"

/* ---- versions ---- */

/* Regions that share memory with another one (only wrapped ones can): no tree holds both. */
struct as_extra {
	unsigned refs;
	unsigned n;
	struct vdpa_region *regions[];
};

struct as_root {
	struct vhost_iotlb map; /* by IOVA; opaque: region, referenced by as_use */
	struct vhost_iotlb
		hva; /* by address in this process; opaque: region, weak; addr: its GPA */
	struct as_extra *extra; /* or NULL */
	vdpa_as_miss_fn miss;
	void *miss_arg;
	struct vdpa_dirty_log *log;
	uint64_t gen;
	struct as_root *next; /* retired: control thread */
};

/* ---- regions in use ---- */

/* One per region of the address space: in its map, or in a removal that is not done. */
struct as_use {
	struct vdpa_region *region;
	uint64_t count; /* ranges */
	bool in_hva, in_extra;
	uint64_t born;	     /* last version before it entered the reverse table */
	uint64_t gone_gen;   /* last version whose reverse table names it; 0: none */
	struct as_use *next; /* in as->gone */
};

/* ---- misses ---- */

#define AS_MISSES 256

struct as_miss {
	iova_t iova;
	uint32_t perm;
	bool answered; /* a range was added there: gone when it is published */
	bool again;    /* somebody ran into it since it was reported */
};

struct as_misses {
	pthread_mutex_t lock; /* not on the way of a request that finds its memory */
	unsigned n;
	struct as_miss *m; /* AS_MISSES, from the first miss function on */
};

/* ---- changes that have a completion ---- */

struct as_change;

struct as_wait {
	struct vdpa_loop_msg msg;
	struct as_change *change;
	struct vdpa_view *view; /* NULL: detached before it was asked */
	struct as_wait *next;	/* in view->stuck */
};

/* What was removed: ranges of @before in [@first, @last] that are not the same in @after. */
struct as_change {
	struct vdpa_as *as;
	struct vhost_iotlb before, after;
	iova_t first, last;
	struct vdpa_done done;
	struct list unsent; /* in as->unsent */
	unsigned left, nwaits;
	struct as_wait waits[];
};

/* ---- the two objects ---- */

struct vdpa_as {
	_Atomic(struct as_root *) root;
	struct as_misses misses;

	struct vdpa_loop_group *group;
	unsigned asid;
	bool freed, unpublished, misses_stale;
	unsigned batch, changes;
	uint64_t gen;
	struct vhost_iotlb map, hva;
	struct as_extra *extra;
	vdpa_as_miss_fn miss;
	void *miss_arg;
	struct vdpa_dirty_log *log;
	struct vhost_iotlb uses; /* by address of the region; addr: its as_use */
	struct as_use *last_use;
	struct as_use *gone; /* regions whose memory is released, named by some table still */
	struct as_root *spare, *retired;
	struct list views, unsent;
	unsigned nviews;
};

struct view_hit {
	iova_t start, last;
	uint64_t span; /* last - start: one comparison, which is easily predicted, instead of two */
	uint64_t addr;
	struct vdpa_region *region;
	uint32_t perm;
};

#define VIEW_HITS 4

/* Addresses of which it is known that they are asked for soon, and what they find in the map. */
struct view_ahead {
	unsigned n, next; /* those before @next were asked for */
	iova_t iova[VDPA_VIEW_AHEAD];
	const struct vhost_iotlb_map *map[VDPA_VIEW_AHEAD]; /* or NULL */
};

struct vdpa_view {
	/* The loop's; @root is read by the control thread. */
	_Atomic(struct as_root *) root;
	struct view_hit hits[VIEW_HITS];
	unsigned next_hit, nhits;
	bool deep; /* the map is large: worth looking ahead */
	struct as_wait *stuck;
	unsigned long sigbus_seen;
	bool broken;
	/* Both sides'. */
	_Atomic bool parked; /* a caller was sent away with -EAGAIN */
	_Atomic bool kicked; /* @kick is posted */
	struct vdpa_loop_msg kick;
	struct vdpa_ref refs;
	pthread_mutex_t lock; /* messages against detach; recursive */
	bool dead;	      /* under the lock */
	/* Constant. */
	struct vdpa_as *as;
	struct vdpa_loop *loop;
	const struct vdpa_view_ops *ops;
	void *arg;
	/* The control thread's. */
	struct list node;
	/* The loop's. */
	struct view_ahead ahead;
};

/*
 * The remembered range that holds @iova, or NULL. Everybody who looks for one does it here: what
 * lies in @hits beyond @nhits is of an old map, and its memory may be gone.
 */
static inline const struct view_hit *view_hit_find(const struct vdpa_view *view, iova_t iova)
{
	for (unsigned i = 0; i < view->nhits; i++) {
		if (iova - view->hits[i].start <= view->hits[i].span)
			return &view->hits[i];
	}
	return NULL;
}

/* Are writes through @view logged? */
static inline bool view_logged(const struct vdpa_view *view)
{
	return atomic_load_explicit(&view->root, memory_order_relaxed)->log;
}

/* as.c */
int as_prepare(struct vdpa_as *as);
void as_changed(struct vdpa_as *as);
void as_publish(struct vdpa_as *as);
void as_reclaim(struct vdpa_as *as);
void as_change_over(struct vdpa_as *as);

/* as_use.c */
int as_use_get(struct vdpa_as *as, struct vdpa_region *region);
void as_use_put(struct vdpa_as *as, struct vdpa_region *region);
/* Free what no table names any more; @oldest: the oldest version that lives. */
void as_use_sweep(struct vdpa_as *as, uint64_t oldest);
void as_use_free_all(struct vdpa_as *as);
void as_extra_put(struct as_extra *extra);

/* as_miss.c */
void as_miss_answered(struct vdpa_as *as, iova_t first, iova_t last);
void as_miss_published(struct vdpa_as *as);
bool as_miss_add(struct vdpa_as *as, iova_t iova, uint32_t perm);
void as_miss_del(struct vdpa_as *as, iova_t iova, uint32_t perm);

/* as_change.c */
struct as_change *as_change_new(struct vdpa_as *as, const struct vdpa_done *done);
void as_change_free(struct as_change *change);
/* The change is made: ask the views once it is published. May complete at once. */
void as_change_start(struct as_change *change);
void as_change_send_all(struct vdpa_as *as);
void as_change_view_gone(struct vdpa_as *as, struct vdpa_view *view);
/* Next removed range after @map (NULL: first). */
const struct vhost_iotlb_map *as_change_next(const struct as_change *change,
					     const struct vhost_iotlb_map *map);

/* view_access.c */
/* What is at @iova, [@iova, @iova + @len), if that is known without a wait, or NULL: no fault. */
const void *view_peek(const struct vdpa_view *view, iova_t iova, uint64_t len, uint32_t perm);

/* view.c */
void view_kick(struct vdpa_view *view);
void view_put(struct vdpa_view *view);

#endif
