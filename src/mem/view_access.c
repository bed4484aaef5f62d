// SPDX-License-Identifier: BSD-3-Clause
/*
 * Translation and guest access. Who attacks: the guest chooses address and length of every access;
 * ranges are the peer's. Nothing here trusts either: a piece ends where its range ends, and a sum
 * that wraps is a fault.
 */
#include <errno.h>
#include <string.h>

#include "mem/as.h"
#include "mem/iotlb_tree.h"
#include "mem/sigbus.h"

static struct as_root *view_root(const struct vdpa_view *view)
{
	return atomic_load_explicit(&view->root, memory_order_relaxed);
}

static inline struct view_hit hit_of(const struct vhost_iotlb_map *map)
{
	return (struct view_hit){.start = map->start,
				 .last = map->last,
				 .span = map->last - map->start,
				 .addr = map->addr,
				 .region = map->opaque,
				 .perm = map->perm};
}

/* ---- looking ahead ---- */

void vdpa_view_ahead(struct vdpa_view *view, const iova_t *iova, unsigned n)
{
	struct view_ahead *ahead = &view->ahead;

	if (!view->deep)
		return;
	ahead->n = ahead->next = 0;
	for (unsigned i = 0; i < n && ahead->n < VDPA_VIEW_AHEAD; i++) {
		if (!view_hit_find(view, iova[i]))
			ahead->iova[ahead->n++] = iova[i];
	}
	iotlb_tree_lower_n(&view_root(view)->map, ahead->iova, ahead->n, ahead->map);
}

/* Where in @ahead's list @iova is, or its end. */
static inline unsigned ahead_find(const struct view_ahead *ahead, iova_t iova)
{
	unsigned i = ahead->next;

	while (i < ahead->n && ahead->iova[i] != iova)
		i++;
	return i;
}

/* The range that holds @iova, or NULL. */
static const struct vhost_iotlb_map *view_map(struct vdpa_view *view, iova_t iova)
{
	struct view_ahead *ahead = &view->ahead;
	unsigned i = ahead_find(ahead, iova);

	if (i == ahead->n)
		return vhost_iotlb_itree_first(&view_root(view)->map, iova, iova);
	ahead->next = i + 1;
	return ahead->map[i] && ahead->map[i]->start <= iova ? ahead->map[i] : NULL;
}

const void *view_peek(const struct vdpa_view *view, iova_t iova, uint64_t len, uint32_t perm)
{
	const struct view_hit *hit = view_hit_find(view, iova);
	const struct view_ahead *ahead = &view->ahead;
	struct view_hit found;
	unsigned i;

	if (!hit) {
		i = ahead_find(ahead, iova);
		if (i == ahead->n || !ahead->map[i])
			return NULL;
		found = hit_of(ahead->map[i]);
		hit = &found;
	}
	if (iova - hit->start > hit->span || len - 1 > hit->last - iova ||
	    (hit->perm & perm) != perm || region_by_message(hit->region))
		return NULL;
	return (const void *)(uintptr_t)(hit->addr + (iova - hit->start));
}

/* ---- one address ---- */

static inline const struct view_hit *view_find(struct vdpa_view *view, iova_t iova)
{
	const struct view_hit *known = view_hit_find(view, iova);
	const struct vhost_iotlb_map *map;
	struct view_hit *hit;

	if (known)
		return known;
	map = view_map(view, iova);
	if (!map)
		return NULL;
	hit = &view->hits[view->next_hit++ % VIEW_HITS];
	*hit = hit_of(map);
	view->nhits = view->nhits < VIEW_HITS ? view->nhits + 1 : VIEW_HITS;
	return hit;
}

/*
 * There is a newer version of the map than the one that was about to answer no: send the caller
 * away, and see to it that changed() is called. Parking comes before looking; the control thread
 * publishes before it looks for the parked: one of the two sees the other.
 */
static bool view_outdated(struct vdpa_view *view)
{
	atomic_store(&view->parked, true);
	if (atomic_load(&view->as->root) == view_root(view))
		return false;
	view_kick(view);
	return true;
}

static int view_denied(struct vdpa_view *view)
{
	return view_outdated(view) ? -EAGAIN : -EFAULT;
}

static int view_hole(struct vdpa_view *view, iova_t iova, uint32_t perm)
{
	const struct as_root *root = view_root(view);
	bool fresh;

	if (!root->miss)
		return view_denied(view);
	if (view_outdated(view))
		return -EAGAIN;
	fresh = as_miss_add(view->as, iova, perm);
	/* What was published before the miss was recorded does not count as its answer. */
	if (view_outdated(view)) {
		if (fresh)
			as_miss_del(view->as, iova, perm);
		return -EAGAIN;
	}
	if (fresh)
		root->miss(root->miss_arg, view->as->asid, iova, perm);
	return -EAGAIN;
}

/* The range that holds @iova and allows @perm: 0, -EFAULT or -EAGAIN. */
static inline int view_lookup(struct vdpa_view *view, iova_t iova, uint32_t perm,
			      const struct view_hit **out)
{
	const struct view_hit *hit = view_find(view, iova);

	if (!hit)
		return view_hole(view, iova, perm);
	if ((hit->perm & perm) != perm)
		return view_denied(view);
	*out = hit;
	return 0;
}

int vdpa_view_xlate(struct vdpa_view *view, iova_t iova, uint64_t len, uint32_t perm,
		    struct iovec *iov, unsigned max)
{
	iova_t last = iova + (len - 1), end;
	const struct view_hit *hit = NULL;
	char *base, *joint = NULL;
	unsigned n = 0;
	int ret;

	if (!len)
		return 0;
	if (last < iova)
		return -EFAULT;
	for (;; iova = end + 1) {
		ret = view_lookup(view, iova, perm, &hit);
		if (ret)
			return ret;
		if (region_by_message(hit->region))
			return -EREMOTE;
		end = last < hit->last ? last : hit->last;
		base = (char *)(uintptr_t)(hit->addr + (iova - hit->start));
		if (!n || base != joint) {
			if (n == max)
				return -E2BIG;
			iov[n++] = (struct iovec){.iov_base = base};
		}
		iov[n - 1].iov_len += end - iova + 1;
		joint = base + (end - iova + 1);
		if (end == last)
			return (int)n;
	}
}

/* Is all of [@iova, @last] there? Before a copy begins, so that nothing is copied in part. */
static int view_check(struct vdpa_view *view, iova_t iova, iova_t last, uint32_t perm)
{
	const struct view_hit *hit = NULL;
	int ret;

	for (;; iova = hit->last + 1) {
		ret = view_lookup(view, iova, perm, &hit);
		if (ret || hit->last >= last)
			return ret;
	}
}

int vdpa_view_read(struct vdpa_view *view, iova_t iova, void *buf, size_t len)
{
	iova_t last = iova + (len - 1);
	const struct view_hit *hit;
	char *to = buf;
	int ret;

	if (!len)
		return 0;
	ret = last < iova ? -EFAULT : view_check(view, iova, last, VHOST_MAP_RO);
	while (!ret && len) {
		uint64_t n, addr;

		hit = view_find(view, iova);
		n = (last < hit->last ? last : hit->last) - iova + 1;
		addr = hit->addr + (iova - hit->start);
		if (region_by_message(hit->region))
			ret = hit->region->ops->read(hit->region->arg, addr, to, n);
		else
			memcpy(to, (const void *)(uintptr_t)addr, n);
		to += n;
		iova += n;
		len -= n;
	}
	return ret;
}

int vdpa_view_write(struct vdpa_view *view, iova_t iova, const void *buf, size_t len)
{
	iova_t last = iova + (len - 1);
	struct vdpa_dirty_log *log = view_root(view)->log;
	const char *from = buf;
	int ret;

	if (!len)
		return 0;
	ret = last < iova ? -EFAULT : view_check(view, iova, last, VHOST_MAP_WO);
	while (!ret && len) {
		const struct view_hit *hit = view_find(view, iova);
		uint64_t n = (last < hit->last ? last : hit->last) - iova + 1;
		uint64_t addr = hit->addr + (iova - hit->start);
		const struct vdpa_region *region = hit->region;

		if (region_by_message(region))
			ret = region->ops->write(region->arg, addr, from, n);
		else
			memcpy((void *)(uintptr_t)addr, from, n);
		/* Also after an error: how much of it arrived is unknown. */
		if (log)
			vdpa_dirty_log_mark(log, region->gpa + (addr - (uintptr_t)region->base), n);
		from += n;
		iova += n;
		len -= n;
	}
	return ret;
}

static void mark_overlap(struct vdpa_dirty_log *log, const struct vdpa_region *region,
			 uint64_t first, uint64_t last)
{
	uint64_t base = (uintptr_t)region->base, end = base + (region->size - 1);

	if (first < base)
		first = base;
	if (last > end)
		last = end;
	if (first <= last)
		vdpa_dirty_log_mark(log, region->gpa + (first - base), last - first + 1);
}

void vdpa_view_dirty(struct vdpa_view *view, const void *addr, size_t len)
{
	const struct as_root *root = view_root(view);
	uint64_t first = (uintptr_t)addr, last = first + (len - 1);
	const struct vhost_iotlb_map *map;

	if (!root->log || !len)
		return;
	for (map = vhost_iotlb_itree_first(&root->hva, first, last); map;
	     map = vhost_iotlb_itree_next(&root->hva, map, first, last))
		mark_overlap(root->log, map->opaque, first, last);
	for (unsigned i = 0; root->extra && i < root->extra->n; i++)
		mark_overlap(root->log, root->extra->regions[i], first, last);
}

bool vdpa_view_bounds(struct vdpa_view *view, const void *addr, uintptr_t *first, uintptr_t *last)
{
	uint64_t at = (uintptr_t)addr;
	const struct vhost_iotlb_map *map = vhost_iotlb_itree_first(&view_root(view)->hva, at, at);

	const struct vdpa_region *region = map ? map->opaque : NULL;

	/* The table may still name one whose memory is gone. */
	if (!region || !atomic_load(&region->refs.n))
		return false;
	*first = (uintptr_t)map->start;
	*last = (uintptr_t)map->last;
	return true;
}
