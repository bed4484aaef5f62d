// SPDX-License-Identifier: BSD-3-Clause
/*
 * Config wrappers of the device as a whole. Who attacks: what arrives here as offset, length,
 * status or feature bits was often written by a guest; parents see it checked.
 */
#include <errno.h>
#include <string.h>
#include <uvdpa/compat.h>
#include "vdpa/core.h"

/* A parent whose generation moves at every look is broken, not busy. */
#define CONFIG_READ_TRIES 64

uint64_t vdpa_get_device_features(struct vdpa_device *vdev)
{
	uint64_t features;

	vdpa_lock(vdev);
	features = vdev->config->get_device_features(vdev);
	vdpa_unlock(vdev);
	return features;
}

uint64_t vdpa_get_backend_features(struct vdpa_device *vdev)
{
	uint64_t features = 0;

	vdpa_lock(vdev);
	if (vdev->config->get_backend_features)
		features = vdev->config->get_backend_features(vdev);
	vdpa_unlock(vdev);
	return features;
}

static int set_features_locked(struct vdpa_device *vdev, uint64_t features)
{
	int ret;

	if (features & ~vdev->config->get_device_features(vdev))
		return -EINVAL;
	ret = vdev->config->set_driver_features(vdev, features);
	if (!ret)
		vdev->features_valid = true;
	return ret;
}

int vdpa_set_features(struct vdpa_device *vdev, uint64_t features)
{
	int ret;

	vdpa_lock(vdev);
	ret = set_features_locked(vdev, features);
	vdpa_unlock(vdev);
	return ret;
}

uint64_t vdpa_get_driver_features(struct vdpa_device *vdev)
{
	uint64_t features;

	vdpa_lock(vdev);
	features = vdev->config->get_driver_features(vdev);
	vdpa_unlock(vdev);
	return features;
}

uint8_t vdpa_get_status(struct vdpa_device *vdev)
{
	uint8_t status;

	vdpa_lock(vdev);
	status = vdev->config->get_status(vdev);
	vdpa_unlock(vdev);
	return status;
}

int vdpa_set_status(struct vdpa_device *vdev, uint8_t status)
{
	if (!status)
		return -EINVAL;
	vdpa_lock(vdev);
	vdev->config->set_status(vdev, status);
	vdpa_unlock(vdev);
	return 0;
}

int vdpa_reset(struct vdpa_device *vdev, const struct vdpa_done *done)
{
	int ret;

	vdpa_enter(vdev);
	vdev->features_valid = false;
	vdev->core->suspended = false;
	if (vdpa_has_ext(vdev, reset)) {
		ret = vdev->ext->reset(vdev, done);
		vdpa_leave(vdev);
		return ret;
	}
	ret = vdev->config->reset(vdev);
	vdpa_leave(vdev);
	if (!ret)
		vdpa_done_call(done, 0);
	return ret;
}

/* Whoever is told of the end may resume on the spot: what he says last counts. */
static int suspend_locked(struct vdpa_device *vdev, const struct vdpa_done *done, bool *later)
{
	bool before = vdev->core->suspended;
	int ret = -EOPNOTSUPP;

	*later = vdpa_has_ext(vdev, suspend);
	vdev->core->suspended = true;
	if (*later)
		ret = vdev->ext->suspend(vdev, done);
	else if (vdev->config->suspend)
		ret = vdev->config->suspend(vdev);
	if (ret)
		vdev->core->suspended = before;
	return ret;
}

int vdpa_suspend(struct vdpa_device *vdev, const struct vdpa_done *done)
{
	bool later;
	int ret;

	vdpa_enter(vdev);
	ret = suspend_locked(vdev, done, &later);
	vdpa_leave(vdev);
	if (!ret && !later)
		vdpa_done_call(done, 0);
	return ret;
}

int vdpa_resume(struct vdpa_device *vdev)
{
	int ret = -EOPNOTSUPP;

	vdpa_lock(vdev);
	if (vdev->config->resume)
		ret = vdev->config->resume(vdev);
	if (!ret)
		vdev->core->suspended = false;
	vdpa_unlock(vdev);
	return ret;
}

bool vdpa_suspended(struct vdpa_device *vdev)
{
	bool suspended;

	vdpa_lock(vdev);
	suspended = vdev->core->suspended;
	vdpa_unlock(vdev);
	return suspended;
}

/* Is [offset, offset + len) a piece, and not an empty one, of the config space? */
static bool config_range_ok(struct vdpa_device *vdev, unsigned offset, unsigned len)
{
	size_t size = vdev->config->get_config_size(vdev);

	return len && offset < size && len <= size - offset;
}

/*
 * Virtio 1.3, section 2.4.1: a driver reads the config space before FEATURES_OK only as far as it
 * needs for the negotiation; a legacy driver (section 2.4.3, 3.1.2) may do so without negotiating
 * at all, and is then one that takes no feature. What it can see may depend on that.
 */
static void config_assume_legacy(struct vdpa_device *vdev)
{
	if (!vdev->features_valid)
		set_features_locked(vdev, 0);
}

static void config_read_locked(struct vdpa_device *vdev, unsigned offset, void *buf, unsigned len)
{
	/* Nothing of ours gets out when a parent fills less than it was asked for. */
	memset(buf, 0, len);
	vdev->config->get_config(vdev, offset, buf, len);
}

int vdpa_get_config(struct vdpa_device *vdev, unsigned offset, void *buf, unsigned len)
{
	int ret = -EINVAL;

	vdpa_lock(vdev);
	config_assume_legacy(vdev);
	if (config_range_ok(vdev, offset, len)) {
		config_read_locked(vdev, offset, buf, len);
		ret = 0;
	}
	vdpa_unlock(vdev);
	return ret;
}

int vdpa_set_config(struct vdpa_device *vdev, unsigned offset, const void *buf, unsigned len)
{
	int ret = -EINVAL;

	vdpa_lock(vdev);
	if (config_range_ok(vdev, offset, len)) {
		vdev->config->set_config(vdev, offset, buf, len);
		ret = 0;
	}
	vdpa_unlock(vdev);
	return ret;
}

/* Virtio 1.3, section 2.5.1: read again until the generation stands still. */
static int config_read_consistent(struct vdpa_device *vdev, unsigned offset, void *buf,
				  unsigned len, uint32_t *generation)
{
	for (unsigned i = 0; i < CONFIG_READ_TRIES; i++) {
		uint32_t before = vdpa_get_generation(vdev);

		config_read_locked(vdev, offset, buf, len);
		*generation = vdpa_get_generation(vdev);
		if (*generation == before)
			return 0;
	}
	memset(buf, 0, len);
	return -EAGAIN;
}

int vdpa_read_config(struct vdpa_device *vdev, unsigned offset, void *buf, unsigned len,
		     uint32_t *generation)
{
	uint32_t unwanted;
	int ret = -EINVAL;

	vdpa_lock(vdev);
	config_assume_legacy(vdev);
	if (config_range_ok(vdev, offset, len))
		ret = config_read_consistent(vdev, offset, buf, len,
					     generation ? generation : &unwanted);
	vdpa_unlock(vdev);
	return ret;
}

uint32_t vdpa_get_generation(struct vdpa_device *vdev)
{
	uint32_t generation = 0;

	vdpa_lock(vdev);
	if (vdev->config->get_generation)
		generation = vdev->config->get_generation(vdev);
	vdpa_unlock(vdev);
	return generation;
}

size_t vdpa_get_config_size(struct vdpa_device *vdev)
{
	size_t size;

	vdpa_lock(vdev);
	size = vdev->config->get_config_size(vdev);
	vdpa_unlock(vdev);
	return size;
}

static const struct vdpa_callback no_callback = {.trigger = -1};

void vdpa_set_config_cb(struct vdpa_device *vdev, const struct vdpa_callback *cb)
{
	vdpa_lock(vdev);
	vdev->config->set_config_cb(vdev, cb ? cb : &no_callback);
	vdpa_unlock(vdev);
}

uint32_t vdpa_get_device_id(struct vdpa_device *vdev)
{
	uint32_t id;

	vdpa_lock(vdev);
	id = vdev->config->get_device_id(vdev);
	vdpa_unlock(vdev);
	return id;
}

uint32_t vdpa_get_vendor_id(struct vdpa_device *vdev)
{
	uint32_t id;

	vdpa_lock(vdev);
	id = vdev->config->get_vendor_id(vdev);
	vdpa_unlock(vdev);
	return id;
}
