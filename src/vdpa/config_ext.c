// SPDX-License-Identifier: BSD-3-Clause
/* Wrappers of what Linux does not have: present only when the parent's table says so. */
#include <errno.h>
#include "vdpa/core.h"

int vdpa_set_vq_kick(struct vdpa_device *vdev, uint16_t idx, int fd)
{
	int ret = -EOPNOTSUPP;

	if (idx >= vdev->nvqs)
		return -EINVAL;
	vdpa_lock(vdev);
	if (vdpa_has_ext(vdev, set_vq_kick))
		ret = vdev->ext->set_vq_kick(vdev, idx, fd);
	vdpa_unlock(vdev);
	return ret;
}

int vdpa_set_vq_err(struct vdpa_device *vdev, uint16_t idx, const struct vdpa_callback *cb)
{
	static const struct vdpa_callback none = {.trigger = -1};
	int ret = -EOPNOTSUPP;

	if (idx >= vdev->nvqs)
		return -EINVAL;
	vdpa_lock(vdev);
	if (vdpa_has_ext(vdev, set_vq_err))
		ret = vdev->ext->set_vq_err(vdev, idx, cb ? cb : &none);
	vdpa_unlock(vdev);
	return ret;
}

int vdpa_set_vq_inflight(struct vdpa_device *vdev, uint16_t idx, void *area, size_t bytes)
{
	int ret = -EOPNOTSUPP;

	if (idx >= vdev->nvqs)
		return -EINVAL;
	vdpa_lock(vdev);
	if (vdpa_has_ext(vdev, set_vq_inflight))
		ret = vdev->ext->set_vq_inflight(vdev, idx, area, bytes);
	vdpa_unlock(vdev);
	return ret;
}

int vdpa_set_miss(struct vdpa_device *vdev, unsigned asid, vdpa_as_miss_fn fn, void *arg)
{
	int ret = -EOPNOTSUPP;

	if (asid >= vdev->nas)
		return -EINVAL;
	vdpa_lock(vdev);
	if (vdpa_has_ext(vdev, set_miss))
		ret = vdev->ext->set_miss(vdev, asid, fn, arg);
	vdpa_unlock(vdev);
	return ret;
}

bool vdpa_miss_settled(struct vdpa_device *vdev, unsigned asid, iova_t iova, uint32_t perm)
{
	bool again = false;

	if (asid >= vdev->nas)
		return false;
	vdpa_lock(vdev);
	if (vdpa_has_ext(vdev, miss_settled))
		again = vdev->ext->miss_settled(vdev, asid, iova, perm);
	vdpa_unlock(vdev);
	return again;
}

int vdpa_set_dirty_log(struct vdpa_device *vdev, struct vdpa_dirty_log *log,
		       const struct vdpa_done *done)
{
	int ret = -EOPNOTSUPP;

	vdpa_enter(vdev);
	if (vdpa_has_ext(vdev, set_dirty_log))
		ret = vdev->ext->set_dirty_log(vdev, log, done);
	vdpa_leave(vdev);
	return ret;
}

int vdpa_announce(struct vdpa_device *vdev, const uint8_t mac[6])
{
	int ret = -EOPNOTSUPP;

	vdpa_lock(vdev);
	if (vdpa_has_ext(vdev, announce))
		ret = vdev->ext->announce(vdev, mac);
	vdpa_unlock(vdev);
	return ret;
}

int vdpa_save_state(struct vdpa_device *vdev, void *buf, size_t *bytes)
{
	int ret = -EOPNOTSUPP;

	vdpa_lock(vdev);
	if (vdpa_has_ext(vdev, save_state))
		ret = vdev->ext->save_state(vdev, buf, bytes);
	vdpa_unlock(vdev);
	return ret;
}

int vdpa_load_state(struct vdpa_device *vdev, const void *buf, size_t bytes, struct vdpa_error *err)
{
	int ret;

	vdpa_lock(vdev);
	if (vdpa_has_ext(vdev, load_state))
		ret = vdev->ext->load_state(vdev, buf, bytes, err);
	else
		ret = vdpa_error_set(err, EOPNOTSUPP, vdev->name, "its state cannot be loaded");
	if (!ret)
		vdev->core->suspended = true;
	vdpa_unlock(vdev);
	return ret;
}

/* Any thread, no lock: as the doorbell. */
struct vdpa_loop *vdpa_get_vq_loop(struct vdpa_device *vdev, uint16_t idx)
{
	struct vdpa_loop *loop = NULL;

	if (idx < vdev->nvqs && vdpa_has_ext(vdev, get_vq_loop))
		loop = vdev->ext->get_vq_loop(vdev, idx);
	return loop ? loop : vdpa_ctx_control(vdev->ctx);
}

uint64_t vdpa_get_features_word(struct vdpa_device *vdev, unsigned i)
{
	uint64_t word = 0;

	vdpa_lock(vdev);
	if (vdpa_has_ext(vdev, get_features_word))
		word = vdev->ext->get_features_word(vdev, i);
	vdpa_unlock(vdev);
	return word;
}

int vdpa_set_features_word(struct vdpa_device *vdev, unsigned i, uint64_t features)
{
	int ret = features ? -EINVAL : 0;

	vdpa_lock(vdev);
	if (vdpa_has_ext(vdev, set_features_word))
		ret = vdev->ext->set_features_word(vdev, i, features);
	vdpa_unlock(vdev);
	return ret;
}
