// SPDX-License-Identifier: BSD-3-Clause
/*
 * Memory of the kernel's driver: regions of IOVAs, each in a file that the kernel hands out
 * (IOTLB_GET_FD). A region is mapped, whole, when a queue first runs into it. For the virtio driver
 * of the kernel there is one region of bounce pages, and one for each piece of coherent memory
 * (rings); for a program behind vhost-vdpa the regions are its own files.
 *
 * What the kernel does not know is a fault: it has the whole map at any time. Then everything that
 * it does know is mapped at once, and from there on holes are faults, until the kernel says that
 * its map has changed.
 *
 * Who attacks: the driver, by the addresses in its rings; and a program behind vhost-vdpa, whose
 * files may shrink (the memory floor's matter).
 */
#include "driver/vduse_export/export.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"

/* ---- mapping ---- */

static int map_region(struct vde *d, unsigned asid, int fd, const struct vduse_iotlb_entry *e)
{
	struct vhost_vdpa_update u = {
		.asid = asid,
		.perm = e->perm,
		.iova = e->start,
		.size = e->last - e->start + 1,
	};
	int prot = e->perm & VHOST_MAP_WO ? PROT_READ | PROT_WRITE : PROT_READ;
	struct vdpa_error err = {.msg = ""};
	struct vdpa_region *region;
	int ret = vdpa_region_map(fd, e->offset, u.size, 0, prot, &region, &err);

	if (ret) {
		vde_log_limited(d, VDPA_LOG_ERR, "vduse: memory at 0x%llx: %s",
				(unsigned long long)e->start, err.msg);
		return ret;
	}
	ret = vhost_vdpa_iotlb_map(d->v, &u, region, 0, NULL);
	vdpa_region_put(region);
	if (!ret)
		d->regions++;
	return ret;
}

/* The first region of the kernel's in [@first, @last], unless it is mapped. *@end: its last byte.
 */
static int map_first(struct vde *d, unsigned asid, iova_t first, iova_t last, iova_t *end)
{
	struct vduse_iotlb_entry e;
	int fd = vde_iotlb_fd(d, asid, first, last, &e), ret = 0;

	if (fd < 0)
		return fd;
	*end = e.last;
	if (!vhost_iotlb_itree_first(vhost_vdpa_iotlb(d->v, asid), e.start, e.last))
		ret = map_region(d, asid, fd, &e);
	close(fd);
	return ret;
}

static void map_all(struct vde *d, unsigned asid)
{
	iova_t at = 0, end;

	while (!map_first(d, asid, at, UINT64_MAX, &end) && end < UINT64_MAX)
		at = end + 1;
}

/* ---- misses ---- */

void vde_miss(void *arg, unsigned asid, iova_t iova, uint32_t perm)
{
	struct vde *d = arg;

	pthread_mutex_lock(&d->miss_lock);
	if (d->nmisses < VDE_MISSES * d->nvqs)
		d->miss[d->nmisses++] = (struct vde_miss){.asid = asid, .iova = iova, .perm = perm};
	pthread_mutex_unlock(&d->miss_lock);
	vde_post(d);
}

static bool take_miss(struct vde *d, struct vde_miss *miss)
{
	bool found;

	pthread_mutex_lock(&d->miss_lock);
	found = d->nmisses > 0;
	if (found)
		*miss = d->miss[--d->nmisses];
	pthread_mutex_unlock(&d->miss_lock);
	return found;
}

/* Whoever waits for a miss tries again, and is told that nothing is there. */
static void fault(struct vde *d, const struct vde_miss *miss, int why)
{
	d->faults++;
	vde_log_limited(d, VDPA_LOG_WARN,
			"vduse: the driver names address 0x%llx of space %u, which is not mapped "
			"(%d)",
			(unsigned long long)miss->iova, miss->asid, why);
	if (d->faulting[miss->asid])
		return;
	map_all(d, miss->asid);
	d->faulting[miss->asid] = true;
	vdpa_set_miss(d->vdev, miss->asid, NULL, NULL);
}

void vde_memory_misses(struct vde *d)
{
	const struct vhost_iotlb_map *map;
	struct vde_miss miss;
	iova_t end;
	int ret;

	while (take_miss(d, &miss)) {
		if (d->faulting[miss.asid])
			continue;
		d->misses++;
		ret = map_first(d, miss.asid, miss.iova, miss.iova, &end);
		map = vhost_iotlb_itree_first(vhost_vdpa_iotlb(d->v, miss.asid), miss.iova,
					      miss.iova);
		if (!map || (map->perm & miss.perm) != miss.perm)
			fault(d, &miss, ret);
	}
}

void vde_memory_listen(struct vde *d, unsigned asid)
{
	if (!vdpa_has_ext(d->vdev, set_miss)) {
		map_all(d, asid);
		return;
	}
	d->faulting[asid] = false;
	vdpa_set_miss(d->vdev, asid, vde_miss, d);
}

/* ---- changes ---- */

/* Is what is mapped there still what the kernel has there? */
static bool unchanged(struct vde *d, unsigned asid, const struct vhost_iotlb_map *map)
{
	uint64_t offset, skip = map->addr - vdpa_region_addr(map->opaque, 0);
	int ours = vdpa_region_fd(map->opaque, &offset);
	struct vduse_iotlb_entry e;
	struct stat a, b;
	int fd = vde_iotlb_fd(d, asid, map->start, map->last, &e);
	bool same;

	if (fd < 0)
		return false;
	/* The kernel's own files have one inode in common, which says nothing. */
	same = e.start == map->start && e.last == map->last && e.perm == map->perm &&
	       e.offset == offset + skip && !fstat(ours, &a) && !fstat(fd, &b) &&
	       S_ISREG(a.st_mode) && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
	close(fd);
	return same;
}

/* One completion for what is taken out range by range. */
struct update {
	struct vdpa_done done;
	unsigned refs;
	int result;
};

static void update_put(void *arg, int result)
{
	struct update *u = arg;

	if (result)
		u->result = result;
	if (--u->refs)
		return;
	vdpa_done_call(&u->done, u->result);
	free(u);
}

/* The first entry from @at on that is no longer true. */
static bool find_stale(struct vde *d, unsigned asid, iova_t at, iova_t last,
		       struct vhost_iotlb_map *stale)
{
	const struct vhost_iotlb *tlb = vhost_vdpa_iotlb(d->v, asid);
	const struct vhost_iotlb_map *map = vhost_iotlb_itree_first(tlb, at, last);

	while (map && unchanged(d, asid, map))
		map = vhost_iotlb_itree_next(tlb, map, at, last);
	if (map)
		*stale = *map;
	return map;
}

int vde_memory_update(struct vde *d, unsigned asid, iova_t first, iova_t last,
		      const struct vdpa_done *done)
{
	struct vhost_iotlb_map stale;
	struct update *u;
	int ret;

	if (asid >= d->vdev->nas || last < first)
		return -EINVAL;
	u = calloc(1, sizeof(*u));
	if (!u)
		return -ENOMEM;
	u->done = *done;
	u->refs = 1;
	while (find_stale(d, asid, first, last, &stale)) {
		u->refs++;
		ret = vhost_vdpa_iotlb_invalidate(d->v, asid, stale.start, stale.last,
						  &(struct vdpa_done){update_put, u});
		if (ret) {
			update_put(u, ret);
			break;
		}
		first = stale.last;
		if (first == last)
			break;
		first++;
	}
	vde_memory_listen(d, asid);
	update_put(u, 0);
	return 0;
}

static void release_next(void *arg, int result)
{
	struct vde *d = arg;
	int ret;

	if (result || d->unmap_asid == d->vdev->nas) {
		d->unmapped(d, result);
		return;
	}
	ret = vhost_vdpa_iotlb_invalidate(d->v, d->unmap_asid++, 0, UINT64_MAX,
					  &(struct vdpa_done){release_next, d});
	if (ret)
		d->unmapped(d, ret);
}

void vde_memory_release(struct vde *d, void (*unmapped)(struct vde *d, int result))
{
	pthread_mutex_lock(&d->miss_lock);
	d->nmisses = 0;
	pthread_mutex_unlock(&d->miss_lock);
	d->unmap_asid = 0;
	d->unmapped = unmapped;
	release_next(d, 0);
}
