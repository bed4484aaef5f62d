// SPDX-License-Identifier: BSD-3-Clause
/* Config wrappers of one virtqueue: the index is checked here, once for every parent. */
#include <errno.h>
#include <string.h>
#include <uvdpa/compat.h>
#include "vdpa/core.h"

static bool vq_exists(const struct vdpa_device *vdev, uint16_t idx)
{
	return idx < vdev->nvqs;
}

int vdpa_set_vq_address(struct vdpa_device *vdev, uint16_t idx, iova_t desc, iova_t driver,
			iova_t device)
{
	int ret;

	if (!vq_exists(vdev, idx))
		return -EINVAL;
	vdpa_lock(vdev);
	ret = vdev->config->set_vq_address(vdev, idx, desc, driver, device);
	vdpa_unlock(vdev);
	return ret;
}

/* Virtio 1.3, section 2.7 (split: a power of two, at most 32768) and 2.8.10.1 (packed: at most
 * 32768). */
static int vq_num_check(struct vdpa_device *vdev, uint16_t idx, uint32_t num)
{
	bool packed = vdev->config->get_driver_features(vdev) & VDPA_BIT(VIRTIO_F_RING_PACKED);

	if (num < vdpa_get_vq_num_min(vdev) || num > vdpa_get_vq_num_max(vdev) || num > 32768)
		return -EINVAL;
	if (!packed && (num & (num - 1)))
		return -EINVAL;
	return vdev->config->get_vq_ready(vdev, idx) ? -EBUSY : 0;
}

int vdpa_set_vq_num(struct vdpa_device *vdev, uint16_t idx, uint32_t num)
{
	int ret;

	if (!vq_exists(vdev, idx))
		return -EINVAL;
	vdpa_lock(vdev);
	ret = vq_num_check(vdev, idx, num);
	if (!ret)
		vdev->config->set_vq_num(vdev, idx, num);
	vdpa_unlock(vdev);
	return ret;
}

int vdpa_set_vq_cb(struct vdpa_device *vdev, uint16_t idx, const struct vdpa_callback *cb)
{
	static const struct vdpa_callback none = {.trigger = -1};

	if (!vq_exists(vdev, idx))
		return -EINVAL;
	vdpa_lock(vdev);
	vdev->config->set_vq_cb(vdev, idx, cb ? cb : &none);
	vdpa_unlock(vdev);
	return 0;
}

int vdpa_set_vq_ready(struct vdpa_device *vdev, uint16_t idx)
{
	if (!vq_exists(vdev, idx))
		return -EINVAL;
	vdpa_lock(vdev);
	vdev->config->set_vq_ready(vdev, idx, true);
	vdpa_unlock(vdev);
	return 0;
}

int vdpa_stop_vq(struct vdpa_device *vdev, uint16_t idx, const struct vdpa_done *done)
{
	int ret;

	if (!vq_exists(vdev, idx))
		return -EINVAL;
	vdpa_enter(vdev);
	if (vdpa_has_ext(vdev, stop_vq)) {
		ret = vdev->ext->stop_vq(vdev, idx, done);
		vdpa_leave(vdev);
		return ret;
	}
	vdev->config->set_vq_ready(vdev, idx, false);
	vdpa_leave(vdev);
	vdpa_done_call(done, 0);
	return 0;
}

int vdpa_reset_vq(struct vdpa_device *vdev, uint16_t idx, const struct vdpa_done *done)
{
	int ret = -EOPNOTSUPP;

	if (!vq_exists(vdev, idx))
		return -EINVAL;
	vdpa_enter(vdev);
	if (vdpa_has_ext(vdev, reset_vq))
		ret = vdev->ext->reset_vq(vdev, idx, done);
	vdpa_leave(vdev);
	return ret;
}

bool vdpa_get_vq_ready(struct vdpa_device *vdev, uint16_t idx)
{
	bool ready;

	if (!vq_exists(vdev, idx))
		return false;
	vdpa_lock(vdev);
	ready = vdev->config->get_vq_ready(vdev, idx);
	vdpa_unlock(vdev);
	return ready;
}

int vdpa_set_vq_state(struct vdpa_device *vdev, uint16_t idx, const struct vdpa_vq_state *state)
{
	int ret;

	if (!vq_exists(vdev, idx))
		return -EINVAL;
	vdpa_lock(vdev);
	ret = vdev->config->set_vq_state(vdev, idx, state);
	vdpa_unlock(vdev);
	return ret;
}

int vdpa_get_vq_state(struct vdpa_device *vdev, uint16_t idx, struct vdpa_vq_state *state)
{
	int ret;

	memset(state, 0, sizeof(*state));
	if (!vq_exists(vdev, idx))
		return -EINVAL;
	vdpa_lock(vdev);
	ret = vdev->config->get_vq_state(vdev, idx, state);
	vdpa_unlock(vdev);
	return ret;
}

/* Any thread, no lock: this is the doorbell. */
int vdpa_kick_vq(struct vdpa_device *vdev, uint16_t idx)
{
	if (!vq_exists(vdev, idx))
		return -EINVAL;
	vdev->config->kick_vq(vdev, idx);
	return 0;
}

/* Virtio 1.3, section 2.9: the low half names the queue. */
int vdpa_kick_vq_with_data(struct vdpa_device *vdev, uint32_t data)
{
	if (!vq_exists(vdev, (uint16_t)data))
		return -EINVAL;
	if (!vdev->config->kick_vq_with_data)
		return -EOPNOTSUPP;
	vdev->config->kick_vq_with_data(vdev, data);
	return 0;
}

static int vq_stats_locked(struct vdpa_device *vdev, uint16_t idx, vdpa_stat_fn emit, void *arg,
			   struct vdpa_error *err)
{
	struct vdpa_object_name object = vdpa_dev_object(vdev->name);
	int ret;

	if (!vdev->config->get_vendor_vq_stats)
		return vdpa_error_set(err, EOPNOTSUPP, object.s, "the device keeps no statistics");
	if (!(vdev->config->get_status(vdev) & VIRTIO_CONFIG_S_FEATURES_OK))
		return vdpa_error_set(err, EAGAIN, object.s,
				      "no driver has negotiated features yet");
	if (err)
		err->msg[0] = '\0';
	ret = vdev->config->get_vendor_vq_stats(vdev, idx, emit, arg, err);
	if (ret && err && !err->msg[0])
		vdpa_error_set(err, -ret, object.s, "no statistics of virtqueue %u: %s", idx,
			       strerror(-ret));
	return ret;
}

int vdpa_get_vq_stats(struct vdpa_device *vdev, uint16_t idx, vdpa_stat_fn emit, void *arg,
		      struct vdpa_error *err)
{
	int ret;

	if (!vq_exists(vdev, idx))
		return vdpa_error_set(err, EINVAL, vdpa_dev_object(vdev->name).s,
				      "virtqueue %u does not exist: there are %u", idx, vdev->nvqs);
	vdpa_lock(vdev);
	ret = vq_stats_locked(vdev, idx, emit, arg, err);
	vdpa_unlock(vdev);
	return ret;
}

uint16_t vdpa_get_vq_num_max(struct vdpa_device *vdev)
{
	uint16_t num;

	vdpa_lock(vdev);
	num = vdev->config->get_vq_num_max(vdev);
	vdpa_unlock(vdev);
	return num;
}

uint16_t vdpa_get_vq_num_min(struct vdpa_device *vdev)
{
	uint16_t num = 1;

	vdpa_lock(vdev);
	if (vdev->config->get_vq_num_min)
		num = vdev->config->get_vq_num_min(vdev);
	vdpa_unlock(vdev);
	return num ? num : 1;
}

uint16_t vdpa_get_vq_size(struct vdpa_device *vdev, uint16_t idx)
{
	uint16_t size = 0;

	if (!vq_exists(vdev, idx))
		return 0;
	vdpa_lock(vdev);
	if (vdev->config->get_vq_size)
		size = vdev->config->get_vq_size(vdev, idx);
	else
		size = vdev->config->get_vq_num_max(vdev);
	vdpa_unlock(vdev);
	return size;
}

uint32_t vdpa_get_vq_align(struct vdpa_device *vdev)
{
	uint32_t align;

	vdpa_lock(vdev);
	align = vdev->config->get_vq_align(vdev);
	vdpa_unlock(vdev);
	return align;
}

uint32_t vdpa_get_vq_group(struct vdpa_device *vdev, uint16_t idx)
{
	uint32_t group = 0;

	if (!vq_exists(vdev, idx))
		return 0;
	vdpa_lock(vdev);
	if (vdev->config->get_vq_group)
		group = vdev->config->get_vq_group(vdev, idx);
	vdpa_unlock(vdev);
	return group;
}

/* Without a group of their own the descriptors are in the queue's. */
uint32_t vdpa_get_vq_desc_group(struct vdpa_device *vdev, uint16_t idx)
{
	uint32_t group;

	if (!vq_exists(vdev, idx))
		return 0;
	vdpa_lock(vdev);
	if (vdev->config->get_vq_desc_group)
		group = vdev->config->get_vq_desc_group(vdev, idx);
	else
		group = vdpa_get_vq_group(vdev, idx);
	vdpa_unlock(vdev);
	return group;
}

struct vdpa_notification_area vdpa_get_vq_notification(struct vdpa_device *vdev, uint16_t idx)
{
	struct vdpa_notification_area area = {0};

	if (!vq_exists(vdev, idx))
		return area;
	vdpa_lock(vdev);
	if (vdev->config->get_vq_notification)
		area = vdev->config->get_vq_notification(vdev, idx);
	vdpa_unlock(vdev);
	return area;
}

int vdpa_set_vq_affinity(struct vdpa_device *vdev, uint16_t idx, const struct vdpa_cpumask *mask)
{
	int ret = -EOPNOTSUPP;

	if (!vq_exists(vdev, idx))
		return -EINVAL;
	vdpa_lock(vdev);
	if (vdev->config->set_vq_affinity)
		ret = vdev->config->set_vq_affinity(vdev, idx, mask);
	vdpa_unlock(vdev);
	return ret;
}
