// SPDX-License-Identifier: BSD-3-Clause
/*
 * Config wrappers of groups, address spaces and their maps. Who attacks: a peer with ranges that
 * are empty or wrap, and with numbers one past the end.
 */
#include <errno.h>
#include "vdpa/core.h"

static bool as_exists(const struct vdpa_device *vdev, unsigned asid)
{
	return asid < vdev->nas;
}

int vdpa_set_group_asid(struct vdpa_device *vdev, unsigned group, unsigned asid)
{
	int ret = -EOPNOTSUPP;

	if (group >= vdev->ngroups || !as_exists(vdev, asid))
		return -EINVAL;
	vdpa_lock(vdev);
	if (vdev->config->set_group_asid)
		ret = vdev->config->set_group_asid(vdev, group, asid);
	vdpa_unlock(vdev);
	return ret;
}

unsigned vdpa_get_group_asid(struct vdpa_device *vdev, unsigned group)
{
	unsigned asid = 0;

	if (group >= vdev->ngroups)
		return 0;
	vdpa_lock(vdev);
	if (vdpa_has_ext(vdev, get_group_asid))
		asid = vdev->ext->get_group_asid(vdev, group);
	vdpa_unlock(vdev);
	return asid;
}

struct vdpa_iova_range vdpa_get_iova_range(struct vdpa_device *vdev)
{
	struct vdpa_iova_range range = {.first = 0, .last = UINT64_MAX};

	vdpa_lock(vdev);
	if (vdev->config->get_iova_range)
		range = vdev->config->get_iova_range(vdev);
	vdpa_unlock(vdev);
	return range;
}

bool vdpa_has_set_map(const struct vdpa_device *vdev)
{
	return vdev->config->set_map || vdpa_has_ext(vdev, set_map);
}

bool vdpa_has_dma_map(const struct vdpa_device *vdev)
{
	return vdev->config->dma_map != NULL;
}

/* Not empty, and its last byte has an address. */
static bool iova_range_ok(iova_t iova, uint64_t size)
{
	return size && size - 1 <= UINT64_MAX - iova;
}

int vdpa_dma_map(struct vdpa_device *vdev, unsigned asid, iova_t iova, uint64_t size, uint64_t addr,
		 uint32_t perm, struct vdpa_region *region)
{
	int ret;

	if (!as_exists(vdev, asid) || !iova_range_ok(iova, size))
		return -EINVAL;
	if (!perm || perm & ~VHOST_MAP_RW)
		return -EINVAL;
	if (!vdev->config->dma_map)
		return -EOPNOTSUPP;
	vdpa_lock(vdev);
	ret = vdev->config->dma_map(vdev, asid, iova, size, addr, perm, region);
	vdpa_unlock(vdev);
	return ret;
}

int vdpa_dma_unmap(struct vdpa_device *vdev, unsigned asid, iova_t iova, uint64_t size,
		   const struct vdpa_done *done)
{
	int ret;

	if (!as_exists(vdev, asid) || !iova_range_ok(iova, size))
		return -EINVAL;
	if (!vdev->config->dma_unmap)
		return -EOPNOTSUPP;
	vdpa_enter(vdev);
	if (vdpa_has_ext(vdev, dma_unmap)) {
		ret = vdev->ext->dma_unmap(vdev, asid, iova, size, done);
		vdpa_leave(vdev);
		return ret;
	}
	ret = vdev->config->dma_unmap(vdev, asid, iova, size);
	vdpa_leave(vdev);
	if (!ret)
		vdpa_done_call(done, 0);
	return ret;
}

int vdpa_set_map(struct vdpa_device *vdev, unsigned asid, struct vhost_iotlb *iotlb,
		 const struct vdpa_done *done)
{
	int ret = -EOPNOTSUPP;

	if (!as_exists(vdev, asid))
		return -EINVAL;
	vdpa_enter(vdev);
	if (vdpa_has_ext(vdev, set_map)) {
		ret = vdev->ext->set_map(vdev, asid, iotlb, done);
		vdpa_leave(vdev);
		return ret;
	}
	if (vdev->config->set_map)
		ret = vdev->config->set_map(vdev, asid, iotlb);
	vdpa_leave(vdev);
	if (!ret)
		vdpa_done_call(done, 0);
	return ret;
}

int vdpa_reset_map(struct vdpa_device *vdev, unsigned asid, const struct vdpa_done *done)
{
	int ret = -EOPNOTSUPP;

	if (!as_exists(vdev, asid))
		return -EINVAL;
	vdpa_enter(vdev);
	if (vdpa_has_ext(vdev, reset_map)) {
		ret = vdev->ext->reset_map(vdev, asid, done);
		vdpa_leave(vdev);
		return ret;
	}
	if (vdev->config->reset_map)
		ret = vdev->config->reset_map(vdev, asid);
	vdpa_leave(vdev);
	if (!ret)
		vdpa_done_call(done, 0);
	return ret;
}
