// SPDX-License-Identifier: BSD-3-Clause
/*
 * IOTLB messages: what the peer asks to map is recorded per address space and given to the device
 * by dma_map/dma_unmap as it comes, or by set_map, once per message or once per batch (whichever
 * the device has).
 *
 * The peer chooses IOVAs, sizes and user addresses. Ranges are inclusive and checked before any sum
 * is formed; a user address is good only where the front finds it in memory that the peer itself
 * gave.
 *
 * Each range recorded holds a reference on its region. The device's address space holds its own
 * until nothing in flight uses the range, so ours goes as soon as the range is removed here.
 */
#include "driver/vhost_vdpa/impl.h"

#include <errno.h>
#include <stdlib.h>

static struct vhost_iotlb *as_get(const struct vhost_vdpa *v, unsigned asid)
{
	return asid < v->vdev->nas ? &v->as[asid] : NULL;
}

int vv_iotlb_check(const struct vhost_vdpa *v, unsigned asid)
{
	if (!v->owner)
		return -EPERM;
	if (!as_get(v, asid))
		return -EINVAL;
	if (v->in_batch && v->batch_asid != asid)
		return -EINVAL;
	return 0;
}

static int check_update(struct vhost_vdpa *v, const struct vhost_vdpa_update *u)
{
	struct vdpa_iova_range range = vdpa_get_iova_range(v->vdev);
	int err = vv_iotlb_check(v, u->asid);

	if (err)
		return err;
	if (!u->perm || (u->perm & ~VHOST_MAP_RW))
		return -EINVAL;
	if (!u->size || u->size - 1 > UINT64_MAX - u->iova || u->size - 1 > UINT64_MAX - u->uaddr)
		return -EINVAL;
	if (u->iova < range.first || u->iova + (u->size - 1) > range.last)
		return -EINVAL;
	if (vhost_iotlb_itree_first(as_get(v, u->asid), u->iova, u->iova + (u->size - 1)))
		return -EEXIST;
	return 0;
}

/* Room for @n more? The peer decides how many entries there are, and each costs memory. */
static int check_room(struct vhost_vdpa *v, unsigned asid, uint64_t n)
{
	unsigned max = v->params.max_entries;

	if (as_get(v, asid)->nmaps + n <= max)
		return 0;
	vdpa_log_limited(vdpa_ctx_log(v->vdev->ctx), &v->limit, VDPA_LOG_WARN, v->vdev->name,
			 "address space %u is full: the limit is %u entries", asid, max);
	return -ENOSPC;
}

static int add_range(struct vhost_vdpa *v, const struct vhost_vdpa_update *u,
		     const struct vhost_vdpa_piece *piece)
{
	struct vhost_iotlb *tlb = as_get(v, u->asid);
	uint64_t addr = vdpa_region_addr(piece->region, piece->off);
	int err;

	err = vhost_iotlb_add_range_ctx(tlb, u->iova, u->iova + (u->size - 1), addr, u->perm,
					piece->region);
	if (err)
		return err;
	vdpa_region_get(piece->region);
	if (!vdpa_has_dma_map(v->vdev))
		return 0;
	err = vdpa_dma_map(v->vdev, u->asid, u->iova, u->size, addr, u->perm, piece->region);
	if (!err)
		return 0;
	/* Without memory to take it out again it stays recorded, and is unmapped with the rest. */
	if (vhost_iotlb_map_free(tlb, vhost_iotlb_itree_first(tlb, u->iova, u->iova)) == 0)
		vdpa_region_put(piece->region);
	return err;
}

/* All that lies in [@first, @last] is to go, out of a device that is told range by range, too. */
static int device_unmap(struct vhost_vdpa *v, unsigned asid, iova_t first, iova_t last,
			struct vv_join *join)
{
	struct vdpa_done done;
	int err;

	if (!vdpa_has_dma_map(v->vdev))
		return 0;
	done = vv_join_add(join);
	err = vdpa_dma_unmap(v->vdev, asid, first, last - first + 1, &done);
	if (err)
		vv_join_put(join, err);
	return err;
}

/*
 * Take out all that overlaps [@iova, @last], which is something: one change of the record and one
 * of the device, however many entries it is. The device is told the bounds of whole entries. The
 * record as it was is kept until the device agreed: on an error nothing has changed.
 */
static int del_span(struct vhost_vdpa *v, unsigned asid, iova_t iova, iova_t last,
		    struct vv_join *join)
{
	struct vhost_iotlb *tlb = as_get(v, asid), before;
	const struct vhost_iotlb_map *map;
	iova_t first, end = last;
	int err;

	vhost_iotlb_snapshot(tlb, &before);
	err = vhost_iotlb_del_range(tlb, iova, last, NULL, NULL);
	map = vhost_iotlb_itree_first(&before, iova, last);
	first = map->start;
	for (; map; map = vhost_iotlb_itree_next(&before, map, iova, last))
		end = map->last;
	err = err < 0 ? err : device_unmap(v, asid, first, end, join);
	if (err) {
		vhost_iotlb_reset(tlb);
		*tlb = before;
		return err;
	}
	for (map = vhost_iotlb_itree_first(&before, iova, last); map;
	     map = vhost_iotlb_itree_next(&before, map, iova, last))
		vdpa_region_put(map->opaque);
	vhost_iotlb_reset(&before);
	return 0;
}

static int del_overlapping(struct vhost_vdpa *v, unsigned asid, iova_t iova, iova_t last,
			   struct vv_join *join)
{
	const struct vhost_iotlb *tlb = as_get(v, asid);
	const struct vhost_iotlb_map *map = vhost_iotlb_itree_first(tlb, iova, last);
	int err;

	if (!map)
		return 0;
	/* 2^64 bytes have no size: the first entry goes by itself. */
	if (!map->start && vhost_iotlb_itree_first(tlb, UINT64_MAX, UINT64_MAX) &&
	    last == UINT64_MAX) {
		iova = map->last + 1;
		err = del_span(v, asid, 0, map->last, join);
		if (err)
			return err;
	}
	return del_span(v, asid, iova, last, join);
}

/* Does the device want the whole table? Where it has both, ranges one by one go first, as in Linux.
 */
static bool wants_table(const struct vhost_vdpa *v)
{
	return vdpa_has_set_map(v->vdev) && !vdpa_has_dma_map(v->vdev);
}

/* What was recorded goes to such a device now, unless a batch is open. */
static int publish(struct vhost_vdpa *v, unsigned asid, struct vv_join *join)
{
	struct vdpa_done done;
	int err;

	if (!wants_table(v) || v->in_batch)
		return 0;
	done = vv_join_add(join);
	err = vdpa_set_map(v->vdev, asid, as_get(v, asid), &done);
	if (err)
		vv_join_put(join, err);
	return err;
}

/*
 * The end of an operation that may have begun several others. An error before anything was begun is
 * returned and @done forgotten; afterwards the last completion brings it.
 */
static int finish(struct vv_join *join, int err)
{
	if (err && join->refs == 1) {
		free(join);
		return err;
	}
	vv_join_put(join, err);
	return 0;
}

/* Undo of a half-made update. What cannot be undone for want of memory stays mapped, as it was
 * asked. */
static void undo(struct vhost_vdpa *v, const struct vhost_vdpa_update *u)
{
	struct vv_join *join = vv_join_new(NULL);

	if (!join)
		return;
	del_overlapping(v, u->asid, u->iova, u->iova + (u->size - 1), join);
	vv_join_put(join, 0);
}

static int resolve(struct vhost_vdpa *v, uint64_t uaddr, uint64_t left,
		   struct vhost_vdpa_piece *piece)
{
	int err;

	*piece = (struct vhost_vdpa_piece){0};
	err = v->params.resolve(v->params.arg, uaddr, left, piece);
	if (!err && (!piece->size || piece->size > left))
		err = -EFAULT;
	return err;
}

/* Before anything is changed: a device that saw a part of the update would miss the rest again. */
static int check_pieces(struct vhost_vdpa *v, const struct vhost_vdpa_update *u)
{
	struct vhost_vdpa_piece piece;
	uint64_t n = 0;
	int err;

	for (uint64_t at = 0; at < u->size; at += piece.size, n++) {
		err = resolve(v, u->uaddr + at, u->size - at, &piece);
		if (err)
			return err;
	}
	return check_room(v, u->asid, n);
}

static int update_pieces(struct vhost_vdpa *v, const struct vhost_vdpa_update *u)
{
	struct vhost_vdpa_update part = *u;
	struct vhost_vdpa_piece piece;
	uint64_t left = u->size;
	int err;

	while (left) {
		err = resolve(v, part.uaddr, left, &piece);
		part.size = piece.size;
		if (!err)
			err = add_range(v, &part, &piece);
		if (err)
			return err;
		left -= piece.size;
		part.iova += piece.size;
		part.uaddr += piece.size;
	}
	return 0;
}

int vhost_vdpa_iotlb_update(struct vhost_vdpa *v, const struct vhost_vdpa_update *update,
			    const struct vdpa_done *done)
{
	struct vv_join *join;
	int err = check_update(v, update);

	if (err)
		return err;
	if (!v->params.resolve)
		return -EFAULT;
	err = check_pieces(v, update);
	if (err)
		return err;
	join = vv_join_new(done);
	if (!join)
		return -ENOMEM;
	err = update_pieces(v, update);
	if (!err)
		err = publish(v, update->asid, join);
	if (err)
		undo(v, update);
	return finish(join, err);
}

int vhost_vdpa_iotlb_map(struct vhost_vdpa *v, const struct vhost_vdpa_update *update,
			 struct vdpa_region *region, uint64_t off, const struct vdpa_done *done)
{
	struct vhost_vdpa_piece piece = {.region = region, .off = off, .size = update->size};
	uint64_t size = vdpa_region_size(region);
	struct vv_join *join;
	int err = check_update(v, update);

	if (err)
		return err;
	if (off > size || update->size > size - off)
		return -EFAULT;
	err = check_room(v, update->asid, 1);
	if (err)
		return err;
	join = vv_join_new(done);
	if (!join)
		return -ENOMEM;
	err = add_range(v, update, &piece);
	if (!err) {
		err = publish(v, update->asid, join);
		if (err)
			undo(v, update);
	}
	return finish(join, err);
}

int vhost_vdpa_iotlb_invalidate(struct vhost_vdpa *v, unsigned asid, iova_t iova, iova_t last,
				const struct vdpa_done *done)
{
	struct vv_join *join;
	int err = vv_iotlb_check(v, asid);

	if (err)
		return err;
	if (last < iova)
		return -EINVAL;
	if (!vhost_iotlb_itree_first(as_get(v, asid), iova, last)) {
		vdpa_done_call(done, 0);
		return 0;
	}
	join = vv_join_new(done);
	if (!join)
		return -ENOMEM;
	err = del_overlapping(v, asid, iova, last, join);
	if (!err)
		err = publish(v, asid, join);
	return finish(join, err);
}

/* The last address of the entries from @map on that follow each other and lie in one region. */
static iova_t run_end(const struct vhost_iotlb *tlb, const struct vhost_iotlb_map *map)
{
	const struct vhost_iotlb_map *next = map;

	while (next && next->opaque == map->opaque) {
		map = next;
		next = vhost_iotlb_itree_next(tlb, map, 0, UINT64_MAX);
	}
	return map->last;
}

static int forget_in(struct vhost_vdpa *v, unsigned asid, const struct vdpa_region *region,
		     struct vv_join *join)
{
	struct vhost_iotlb *tlb = as_get(v, asid);
	const struct vhost_iotlb_map *map = vhost_iotlb_itree_first(tlb, 0, UINT64_MAX);
	bool changed = false;
	iova_t from = 0;
	int err;

	for (; map; map = vhost_iotlb_itree_first(tlb, from, UINT64_MAX)) {
		iova_t last = run_end(tlb, map);

		if (map->opaque == region) {
			err = del_overlapping(v, asid, map->start, last, join);
			if (err)
				return err;
			changed = true;
		}
		if (last == UINT64_MAX)
			break;
		from = last + 1;
	}
	return changed ? publish(v, asid, join) : 0;
}

int vhost_vdpa_iotlb_forget(struct vhost_vdpa *v, const struct vdpa_region *region,
			    const struct vdpa_done *done)
{
	struct vv_join *join = vv_join_new(done);
	int err = 0;

	if (!join)
		return -ENOMEM;
	for (unsigned asid = 0; asid < v->vdev->nas && !err; asid++)
		err = forget_in(v, asid, region, join);
	return finish(join, err);
}

int vhost_vdpa_iotlb_batch_begin(struct vhost_vdpa *v, unsigned asid)
{
	int err = vv_iotlb_check(v, asid);

	if (err)
		return err;
	v->in_batch = true;
	v->batch_asid = asid;
	return 0;
}

int vhost_vdpa_iotlb_batch_end(struct vhost_vdpa *v, unsigned asid, const struct vdpa_done *done)
{
	struct vv_join *join;
	int err = vv_iotlb_check(v, asid);

	if (err)
		return err;
	if (!v->in_batch) {
		vdpa_done_call(done, 0);
		return 0;
	}
	join = vv_join_new(done);
	if (!join)
		return -ENOMEM;
	v->in_batch = false;
	return finish(join, publish(v, asid, join));
}

const struct vhost_iotlb *vhost_vdpa_iotlb(const struct vhost_vdpa *v, unsigned asid)
{
	return as_get(v, asid);
}

static void put_region(void *arg, const struct vhost_iotlb_map *map)
{
	vdpa_region_put(map->opaque);
}

/* Without per-range unmaps the last resort is to drop the record: the reset of the map ends the
 * use. */
static int release_as(struct vhost_vdpa *v, unsigned asid, struct vv_join *join)
{
	struct vhost_iotlb *tlb = as_get(v, asid);
	int err = 0;

	if (!vhost_iotlb_itree_first(tlb, 0, UINT64_MAX))
		return 0;
	if (vdpa_has_dma_map(v->vdev))
		err = del_overlapping(v, asid, 0, UINT64_MAX, join);
	else if (vhost_iotlb_del_range(tlb, 0, UINT64_MAX, put_region, NULL) < 0)
		err = -ENOMEM;
	return err ? err : publish(v, asid, join);
}

int vv_iotlb_release(struct vhost_vdpa *v, const struct vdpa_done *done)
{
	struct vv_join *join = vv_join_new(done);
	int err = 0, ret;

	if (!join)
		return -ENOMEM;
	v->in_batch = false;
	for (unsigned asid = 0; asid < v->vdev->nas; asid++) {
		ret = release_as(v, asid, join);
		if (ret && !err)
			err = ret;
	}
	return finish(join, err);
}
