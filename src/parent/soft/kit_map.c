// SPDX-License-Identifier: BSD-3-Clause
/* Address spaces: their maps, what is missing in them, the dirty log. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
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

void soft_map_reset(struct vdpa_soft_core *core)
{
	memset(core->group_asid, 0, core->ngroups * sizeof(core->group_asid[0]));
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
