// SPDX-License-Identifier: BSD-3-Clause
/*
 * Address spaces. A queue belongs to a group, its descriptor area perhaps to another; each group is
 * tied to an address space (ASID). A queue's views are attached to them when it starts, so a
 * group's ASID can change only while none of its queues runs.
 */
#include <errno.h>
#include <stdlib.h>
#include "parent/soft/kit.h"

int soft_map_init(struct vdpa_soft_core *core)
{
	struct vdpa_loop_group *loops = vdpa_ctx_loops(core->dev->vdpa.ctx);
	int r;

	core->as = calloc(core->nas, sizeof(core->as[0]));
	core->group_asid = calloc(core->ngroups, sizeof(core->group_asid[0]));
	if (!core->as || !core->group_asid)
		return -ENOMEM;
	for (unsigned i = 0; i < core->nas; i++) {
		r = vdpa_as_new(loops, i, &core->as[i]);
		if (r)
			return r;
	}
	return 0;
}

void soft_map_fini(struct vdpa_soft_core *core)
{
	for (unsigned i = 0; core->as && i < core->nas; i++)
		if (core->as[i])
			vdpa_as_free(core->as[i]);
	free(core->as);
	free(core->group_asid);
}

struct vdpa_as *soft_group_as(struct vdpa_soft_core *core, unsigned group)
{
	return core->as[core->group_asid[group]];
}

uint32_t soft_get_vq_group(struct vdpa_device *vdev, uint16_t idx)
{
	struct vdpa_soft *dev = vdpa_to_soft(vdev);
	unsigned group = soft_has_op(dev, vq_group) ? dev->ops->vq_group(dev, idx) : 0;

	return group < dev->core->ngroups ? group : 0;
}

uint32_t soft_get_vq_desc_group(struct vdpa_device *vdev, uint16_t idx)
{
	struct vdpa_soft *dev = vdpa_to_soft(vdev);
	unsigned group;

	if (!soft_has_op(dev, vq_desc_group))
		return soft_get_vq_group(vdev, idx);
	group = dev->ops->vq_desc_group(dev, idx);
	return group < dev->core->ngroups ? group : 0;
}

static bool group_in_use(struct vdpa_soft_core *core, unsigned group)
{
	struct vdpa_device *vdev = &core->dev->vdpa;

	for (uint32_t i = 0; i < core->nvqs; i++) {
		uint16_t idx = (uint16_t)i;

		if (core->vqs[i].state != SOFT_IDLE && (soft_get_vq_group(vdev, idx) == group ||
							soft_get_vq_desc_group(vdev, idx) == group))
			return true;
	}
	return false;
}

int soft_set_group_asid(struct vdpa_device *vdev, unsigned group, unsigned asid)
{
	struct vdpa_soft_core *core = soft_core(vdev);

	if (group >= core->ngroups || asid >= core->nas)
		return -EINVAL;
	if (group_in_use(core, group))
		return -EBUSY;
	core->group_asid[group] = asid;
	return 0;
}

struct vdpa_iova_range soft_get_iova_range(struct vdpa_device *vdev)
{
	return (struct vdpa_iova_range){0, UINT64_MAX};
}

int soft_set_map_done(struct vdpa_device *vdev, unsigned asid, struct vhost_iotlb *iotlb,
		      const struct vdpa_done *done)
{
	struct vdpa_soft_core *core = soft_core(vdev);

	if (asid >= core->nas)
		return -EINVAL;
	return vdpa_as_set_map(core->as[asid], iotlb, done);
}

int soft_set_map(struct vdpa_device *vdev, unsigned asid, struct vhost_iotlb *iotlb)
{
	return soft_set_map_done(vdev, asid, iotlb, NULL);
}

int soft_dma_map(struct vdpa_device *vdev, unsigned asid, iova_t iova, uint64_t size, uint64_t addr,
		 uint32_t perm, void *opaque)
{
	struct vdpa_soft_core *core = soft_core(vdev);

	if (asid >= core->nas || !opaque)
		return -EINVAL;
	return vdpa_as_map(core->as[asid], iova, size, addr, perm, opaque);
}

int soft_dma_unmap_done(struct vdpa_device *vdev, unsigned asid, iova_t iova, uint64_t size,
			const struct vdpa_done *done)
{
	struct vdpa_soft_core *core = soft_core(vdev);

	if (asid >= core->nas || !size || size - 1 > UINT64_MAX - iova)
		return -EINVAL;
	return vdpa_as_unmap(core->as[asid], iova, iova + (size - 1), done);
}

int soft_dma_unmap(struct vdpa_device *vdev, unsigned asid, iova_t iova, uint64_t size)
{
	return soft_dma_unmap_done(vdev, asid, iova, size, NULL);
}

int soft_reset_map_done(struct vdpa_device *vdev, unsigned asid, const struct vdpa_done *done)
{
	struct vdpa_soft_core *core = soft_core(vdev);

	if (asid >= core->nas)
		return -EINVAL;
	return vdpa_as_unmap(core->as[asid], 0, UINT64_MAX, done);
}

int soft_reset_map(struct vdpa_device *vdev, unsigned asid)
{
	return soft_reset_map_done(vdev, asid, NULL);
}

int soft_set_miss(struct vdpa_device *vdev, unsigned asid, vdpa_as_miss_fn fn, void *arg)
{
	struct vdpa_soft_core *core = soft_core(vdev);

	if (asid >= core->nas)
		return -EINVAL;
	return vdpa_as_set_miss(core->as[asid], fn, arg);
}

bool soft_miss_settled(struct vdpa_device *vdev, unsigned asid, iova_t iova, uint32_t perm)
{
	struct vdpa_soft_core *core = soft_core(vdev);

	return asid < core->nas && vdpa_as_miss_settled(core->as[asid], iova, perm);
}

/* One done() for all address spaces. */
struct dirty_join {
	struct vdpa_done done;
	unsigned left;
	int result;
};

static void dirty_joined(void *arg, int result)
{
	struct dirty_join *join = arg;

	if (result)
		join->result = result;
	if (--join->left)
		return;
	vdpa_done_call(&join->done, join->result);
	free(join);
}

int soft_set_dirty_log(struct vdpa_device *vdev, struct vdpa_dirty_log *log,
		       const struct vdpa_done *done)
{
	struct vdpa_soft_core *core = soft_core(vdev);
	struct dirty_join *join = calloc(1, sizeof(*join));
	unsigned begun = 0;
	int r, result = 0;

	if (!join)
		return -ENOMEM;
	if (done)
		join->done = *done;
	/* One more than there are: an answer inside the call must not end the whole early. */
	join->left = core->nas + 1;
	for (unsigned i = 0; i < core->nas; i++) {
		r = vdpa_as_set_dirty_log(core->as[i], log,
					  &(struct vdpa_done){dirty_joined, join});
		if (!r) {
			begun++;
			continue;
		}
		join->left--;
		result = r;
	}
	/* Nothing was changed, and nobody will answer. */
	if (!begun) {
		free(join);
		return result;
	}
	dirty_joined(join, result);
	return 0;
}

const struct vhost_iotlb *soft_get_iotlb(struct vdpa_device *vdev, unsigned asid)
{
	struct vdpa_soft_core *core = soft_core(vdev);

	return asid < core->nas ? vdpa_as_iotlb(core->as[asid]) : NULL;
}
