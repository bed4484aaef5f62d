// SPDX-License-Identifier: BSD-3-Clause
/*
 * The device's state machine: virtio 1.3, sections 2.1 (status), 2.2 (features), 2.5 (config space)
 * and 3.1 (the order of things).
 *
 * The driver may only add bits to the status; reset takes them off. FEATURES_OK stays clear when
 * the features are not usable: the driver reads it back. A legacy driver knows no FEATURES_OK; its
 * features are checked at DRIVER_OK. DEVICE_NEEDS_RESET is ours, and stays until a reset.
 *
 * What happens together: a reset ends a suspend; suspend and set_status during a reset are refused.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "base/fd.h"
#include "parent/soft/kit.h"

#define STATUS_KNOWN                                                                               \
	(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_DRIVER_OK |        \
	 VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_NEEDS_RESET | VIRTIO_CONFIG_S_FAILED)

void soft_callback(const struct vdpa_callback *cb)
{
	if (cb->trigger >= 0)
		vdpa_eventfd_signal_shared(cb->trigger);
	else if (cb->callback)
		cb->callback(cb->priv);
}

/* ---- features ---- */

uint64_t soft_get_device_features(struct vdpa_device *vdev)
{
	return soft_core(vdev)->offered;
}

uint64_t soft_get_backend_features(struct vdpa_device *vdev)
{
	struct vdpa_soft_core *core = soft_core(vdev);
	uint64_t features = VDPA_BIT(VHOST_BACKEND_F_IOTLB_MSG_V2) |
			    VDPA_BIT(VHOST_BACKEND_F_IOTLB_BATCH) |
			    VDPA_BIT(VHOST_BACKEND_F_SUSPEND) | VDPA_BIT(VHOST_BACKEND_F_RESUME) |
			    VDPA_BIT(VHOST_BACKEND_F_ENABLE_AFTER_DRIVER_OK);

	if (core->nas > 1)
		features |= VDPA_BIT(VHOST_BACKEND_F_IOTLB_ASID);
	if (core->nas > 1 && soft_has_op(core->dev, vq_desc_group))
		features |= VDPA_BIT(VHOST_BACKEND_F_DESC_ASID);
	return features;
}

int soft_check_features(struct vdpa_soft_core *core, uint64_t features)
{
	if (features & ~core->offered)
		return -EINVAL;
	/* virtio 1.3, 2.8: the format came with version 1, and there is no legacy layout of it. */
	if ((features & VDPA_BIT(VIRTIO_F_RING_PACKED)) &&
	    !(features & VDPA_BIT(VIRTIO_F_VERSION_1)))
		return -EINVAL;
	if (soft_has_op(core->dev, check_features) &&
	    core->dev->ops->check_features(core->dev, features))
		return -EINVAL;
	return 0;
}

int soft_set_driver_features(struct vdpa_device *vdev, uint64_t features)
{
	struct vdpa_soft_core *core = soft_core(vdev);
	uint8_t status = atomic_load(&core->status);

	if (features & ~core->offered)
		return -EINVAL;
	if (core->resetting)
		return -EBUSY;
	if (features == atomic_load(&core->features))
		return 0;
	if (status & (VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK))
		return -EBUSY;
	atomic_store(&core->features, features);
	return 0;
}

uint64_t soft_get_driver_features(struct vdpa_device *vdev)
{
	return atomic_load(&soft_core(vdev)->features);
}

uint64_t vdpa_soft_features(const struct vdpa_soft *dev)
{
	return atomic_load_explicit(&dev->core->features, memory_order_relaxed);
}

bool vdpa_soft_has(const struct vdpa_soft *dev, unsigned feature_bit)
{
	return vdpa_soft_features(dev) & VDPA_BIT(feature_bit);
}

/* ---- status ---- */

uint8_t soft_get_status(struct vdpa_device *vdev)
{
	return atomic_load(&soft_core(vdev)->status);
}

static void refuse(struct vdpa_soft_core *core, const char *what)
{
	vdpa_log_limited(soft_log(core), &core->limit, VDPA_LOG_WARN, core->dev->vdpa.name, "%s",
			 what);
}

/* Which of the bits that the driver wants to add does it get? */
static uint8_t grant(struct vdpa_soft_core *core, uint8_t old, uint8_t added)
{
	uint64_t features = atomic_load(&core->features);
	bool usable = soft_check_features(core, features) == 0;

	if ((added & VIRTIO_CONFIG_S_FEATURES_OK) && !usable) {
		refuse(core,
		       "the driver's features are not usable together: FEATURES_OK stays off");
		added &= (uint8_t) ~(VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK);
	}
	if (!(added & VIRTIO_CONFIG_S_DRIVER_OK) || ((old | added) & VIRTIO_CONFIG_S_FEATURES_OK))
		return added;
	/* 3.1.1, step 5: only a legacy driver may leave FEATURES_OK out. */
	if (features & VDPA_BIT(VIRTIO_F_VERSION_1)) {
		refuse(core, "DRIVER_OK without FEATURES_OK is refused");
		added &= (uint8_t)~VIRTIO_CONFIG_S_DRIVER_OK;
	} else if (!usable) {
		refuse(core, "the legacy driver's features are not usable together: no DRIVER_OK");
		added &= (uint8_t)~VIRTIO_CONFIG_S_DRIVER_OK;
	}
	return added;
}

void soft_set_status(struct vdpa_device *vdev, uint8_t status)
{
	struct vdpa_soft_core *core = soft_core(vdev);
	uint8_t old = atomic_load(&core->status), added;

	if (core->resetting) {
		refuse(core, "a status set during a reset is ignored");
		return;
	}
	status |= old & VIRTIO_CONFIG_S_NEEDS_RESET;
	if (old & ~status) {
		refuse(core, "status bits can be taken back by a reset only");
		return;
	}
	added = status & STATUS_KNOWN & (uint8_t)~old & (uint8_t)~VIRTIO_CONFIG_S_NEEDS_RESET;
	added = grant(core, old, added);
	atomic_store(&core->status, old | added);
	if ((added & VIRTIO_CONFIG_S_DRIVER_OK) && soft_has_op(core->dev, driver_ok))
		core->dev->ops->driver_ok(core->dev);
	if (added & VIRTIO_CONFIG_S_DRIVER_OK)
		soft_place_all(core);
	soft_update_all(core);
}

void soft_needs_reset(struct vdpa_soft_core *core, const char *object, const char *why)
{
	uint8_t old = atomic_fetch_or(&core->status, VIRTIO_CONFIG_S_NEEDS_RESET);

	vdpa_log_limited(soft_log(core), &core->limit, VDPA_LOG_ERR, object,
			 "DEVICE_NEEDS_RESET: %s", why);
	if (old & VIRTIO_CONFIG_S_NEEDS_RESET)
		return;
	if (core->registered)
		vdpa_notify(&core->dev->vdpa, VDPA_EVENT_BROKEN, why);
	/* 2.1.2: a driver that is running is told by a configuration change. */
	if (old & VIRTIO_CONFIG_S_DRIVER_OK)
		soft_callback(&core->config_cb);
}

static void broke(struct vdpa_loop_msg *msg)
{
	struct vdpa_soft_core *core = vdpa_container_of(msg, struct vdpa_soft_core, broken_msg);
	char why[SOFT_WHY_BYTES];
	unsigned epoch;

	pthread_mutex_lock(&core->broken_lock);
	memcpy(why, core->broken_why, sizeof(why));
	epoch = core->broken_epoch;
	core->broken_queued = false;
	pthread_mutex_unlock(&core->broken_lock);
	/* A reset came first: what broke is gone. */
	if (epoch == atomic_load(&core->epoch) && !core->broken) {
		core->broken = true;
		soft_needs_reset(core, core->dev->vdpa.name, why);
		soft_update_all(core);
	}
	vdpa_put_device(&core->dev->vdpa);
}

void vdpa_soft_broken(struct vdpa_soft *dev, const char *why)
{
	struct vdpa_soft_core *core = dev->core;
	bool post;

	pthread_mutex_lock(&core->broken_lock);
	post = !core->broken_queued;
	if (post) {
		snprintf(core->broken_why, sizeof(core->broken_why), "%s", why);
		core->broken_epoch = atomic_load(&core->epoch);
		core->broken_queued = true;
	}
	pthread_mutex_unlock(&core->broken_lock);
	if (!post)
		return;
	vdpa_get_device(&dev->vdpa);
	vdpa_loop_post(core->control, &core->broken_msg, broke);
}

/* ---- reset and suspend ---- */

static bool all_settled(const struct vdpa_soft_core *core, int *result)
{
	*result = 0;
	for (uint32_t i = 0; i < core->nvqs; i++) {
		if (!soft_vq_settled(&core->vqs[i]))
			return false;
		if (core->vqs[i].state == SOFT_STRANDED)
			*result = -ETIMEDOUT;
	}
	return true;
}

/* Everything has stopped: the device is as new. */
static void finish_reset(struct vdpa_soft_core *core, int result)
{
	core->suspended = false;
	atomic_store(&core->features, 0);
	soft_map_reset(core);
	atomic_fetch_add(&core->epoch, 1);
	atomic_fetch_add(&core->generation, 1);
	for (uint32_t i = 0; i < core->nvqs; i++) {
		struct vdpa_soft_vq *vq = &core->vqs[i];
		bool stuck = vq->state != SOFT_IDLE;

		soft_vq_forget(vq);
		soft_vq_clear(vq);
		vq->failed = stuck;
		soft_set_vq_cb(&core->dev->vdpa, vq->idx, NULL);
		soft_set_vq_kick(&core->dev->vdpa, vq->idx, -1);
	}
	/* What a backend still holds keeps the device broken. */
	core->broken = result != 0;
	atomic_store(&core->status, result ? VIRTIO_CONFIG_S_NEEDS_RESET : 0);
	core->resetting = false;
	if (soft_has_op(core->dev, reset))
		core->dev->ops->reset(core->dev);
	soft_wake_waiters(core, &core->reset_waiters, result);
}

void soft_settle(struct vdpa_soft_core *core)
{
	int result;

	if (!all_settled(core, &result))
		return;
	if (core->resetting)
		finish_reset(core, result);
	else if (core->suspended)
		soft_wake_waiters(core, &core->suspend_waiters, result);
}

int soft_reset_done(struct vdpa_device *vdev, const struct vdpa_done *done)
{
	struct vdpa_soft_core *core = soft_core(vdev);
	int r = soft_wait(&core->reset_waiters, done);

	if (r)
		return r;
	soft_wake_waiters(core, &core->suspend_waiters, -ECANCELED);
	core->resetting = true;
	for (uint32_t i = 0; i < core->nvqs; i++) {
		core->vqs[i].ready = false;
		soft_vq_stop(&core->vqs[i], true);
	}
	soft_settle(core);
	return 0;
}

int soft_reset(struct vdpa_device *vdev)
{
	return soft_reset_done(vdev, NULL);
}

int soft_suspend_done(struct vdpa_device *vdev, const struct vdpa_done *done)
{
	struct vdpa_soft_core *core = soft_core(vdev);
	int r;

	if (core->resetting)
		return -EBUSY;
	r = soft_wait(&core->suspend_waiters, done);
	if (r)
		return r;
	core->suspended = true;
	soft_update_all(core);
	soft_settle(core);
	return 0;
}

int soft_suspend(struct vdpa_device *vdev)
{
	return soft_suspend_done(vdev, NULL);
}

/* Kicks that came meanwhile: an eventfd kept them, and a ring is looked at when it starts. */
int soft_resume(struct vdpa_device *vdev)
{
	struct vdpa_soft_core *core = soft_core(vdev);

	if (core->resetting)
		return -EBUSY;
	core->suspended = false;
	soft_wake_waiters(core, &core->suspend_waiters, -ECANCELED);
	soft_update_all(core);
	return 0;
}

/* ---- config space ---- */

void soft_set_config_cb(struct vdpa_device *vdev, const struct vdpa_callback *cb)
{
	soft_core(vdev)->config_cb = cb ? *cb : (struct vdpa_callback){.trigger = -1};
}

size_t soft_get_config_size(struct vdpa_device *vdev)
{
	return soft_core(vdev)->config_bytes;
}

static bool config_bounds(const struct vdpa_soft_core *core, unsigned offset, unsigned len)
{
	return offset <= core->config_bytes && len <= core->config_bytes - offset;
}

void vdpa_soft_config_get(struct vdpa_soft *dev, unsigned offset, void *buf, unsigned len)
{
	struct vdpa_soft_core *core = dev->core;

	memset(buf, 0, len);
	if (!config_bounds(core, offset, len))
		return;
	pthread_mutex_lock(&core->config_lock);
	memcpy(buf, core->config + offset, len);
	pthread_mutex_unlock(&core->config_lock);
}

void soft_get_config(struct vdpa_device *vdev, unsigned offset, void *buf, unsigned len)
{
	vdpa_soft_config_get(vdpa_to_soft(vdev), offset, buf, len);
}

void soft_set_config(struct vdpa_device *vdev, unsigned offset, const void *buf, unsigned len)
{
	struct vdpa_soft *dev = vdpa_to_soft(vdev);

	if (len && config_bounds(dev->core, offset, len) && soft_has_op(dev, config_write))
		dev->ops->config_write(dev, offset, buf, len);
}

int vdpa_soft_config_store(struct vdpa_soft *dev, unsigned offset, const void *buf, unsigned len)
{
	struct vdpa_soft_core *core = dev->core;

	if (!config_bounds(core, offset, len))
		return -EINVAL;
	pthread_mutex_lock(&core->config_lock);
	memcpy(core->config + offset, buf, len);
	atomic_fetch_add(&core->generation, 1);
	pthread_mutex_unlock(&core->config_lock);
	return 0;
}

int vdpa_soft_config_set(struct vdpa_soft *dev, unsigned offset, const void *buf, unsigned len)
{
	struct vdpa_soft_core *core = dev->core;
	int r = vdpa_soft_config_store(dev, offset, buf, len);

	if (r)
		return r;
	if (core->registered)
		vdpa_notify(&dev->vdpa, VDPA_EVENT_CHANGE, "config");
	if (atomic_load(&core->status) & VIRTIO_CONFIG_S_DRIVER_OK)
		soft_callback(&core->config_cb);
	return 0;
}

uint32_t soft_get_generation(struct vdpa_device *vdev)
{
	return atomic_load(&soft_core(vdev)->generation);
}
