// SPDX-License-Identifier: BSD-3-Clause
/*
 * Life of a virtio device: virtio 1.3, section 3.1 (initialisation) and 2.1 (status). The states
 * and who may change them are documented in device.h.
 *
 * The order that protects our memory: first the device is reset, and only when that is through are
 * requests given back, rings freed and memory unmapped.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include "driver/virtio/device.h"

/* What the ring and the transports understand; the driver adds its own. */
#define CORE_FEATURES                                                                              \
	(VDPA_BIT(VIRTIO_F_VERSION_1) | VDPA_BIT(VIRTIO_F_ACCESS_PLATFORM) |                       \
	 VDPA_BIT(VIRTIO_RING_F_INDIRECT_DESC) | VDPA_BIT(VIRTIO_RING_F_EVENT_IDX) |               \
	 VDPA_BIT(VIRTIO_F_RING_PACKED) | VDPA_BIT(VIRTIO_F_IN_ORDER) |                            \
	 VDPA_BIT(VIRTIO_F_NOTIFICATION_DATA) | VDPA_BIT(VIRTIO_F_RING_RESET))

void virtio_device_init(struct virtio_device *dev, struct vdpa_ctx *ctx,
			const struct virtio_config_ops *ops, uint32_t id)
{
	dev->ctx = ctx;
	dev->ops = ops;
	dev->id = id;
	dev->state = VIRTIO_DETACHED;
	list_init(&dev->link);
	virtio_mem_init(dev);
}

/* ---- reset ---- */

/* Before queues are freed theirs has to have run; before the device is, all. */
static bool idle(const struct virtio_device *dev)
{
	if (!virtio_vqs_idle(dev))
		return false;
	return !dev->waiting_all ||
	       (!atomic_load(&dev->config_pending) && !atomic_load(&dev->broken_pending));
}

void virtio_posted_ran(struct virtio_device *dev)
{
	if (!dev->waiting_idle || !idle(dev))
		return;
	dev->waiting_idle = false;
	dev->next(dev, dev->reset_result);
}

static void reset_through(void *arg, int result)
{
	struct virtio_device *dev = arg;

	if (result)
		virtio_log(dev, VDPA_LOG_ERR, "the device does not reset: %s", strerror(-result));
	dev->reset_result = result;
	dev->waiting_idle = true;
	virtio_posted_ran(dev);
}

static void reset_now(struct virtio_device *dev)
{
	int r = dev->ops->reset(dev, &(struct vdpa_done){reset_through, dev});

	if (r)
		reset_through(dev, r);
}

static void reset_posted(struct vdpa_loop_msg *msg)
{
	reset_now(vdpa_container_of(msg, struct virtio_device, reset_msg));
}

void virtio_reset_then(struct virtio_device *dev,
		       void (*next)(struct virtio_device *dev, int result))
{
	dev->next = next;
	if (atomic_load(&dev->depth))
		vdpa_loop_post(vdpa_ctx_control(dev->ctx), &dev->reset_msg, reset_posted);
	else
		reset_now(dev);
}

/* ---- attach ---- */

int virtio_negotiate(struct virtio_device *dev, uint64_t wanted, struct vdpa_error *err)
{
	uint64_t offered;
	int r;

	r = dev->ops->set_status(dev, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	if (!r)
		r = dev->ops->set_status(dev, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	if (r)
		return vdpa_error_set(err, -r, dev->name, "cannot set the device's status: %s",
				      strerror(-r));
	offered = dev->ops->get_features(dev);
	dev->features = offered & (wanted | CORE_FEATURES) & ~dev->opts.features_off;
	if (!dev->ops->reset_vq)
		dev->features &= ~VDPA_BIT(VIRTIO_F_RING_RESET);
	r = dev->ops->finalize_features(dev, err);
	if (r)
		return r;
	r = dev->ops->set_status(dev, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
					      VIRTIO_CONFIG_S_FEATURES_OK);
	/* 3.1.1 step 6: the device answers by keeping the bit. */
	if (r || !(dev->ops->get_status(dev) & VIRTIO_CONFIG_S_FEATURES_OK))
		return vdpa_error_set(err, ENOTSUP, dev->name, "the device refuses features %#llx",
				      (unsigned long long)dev->features);
	return 0;
}

static void start_failed(struct virtio_device *dev, int result)
{
	(void)result;
	virtio_life_ended(dev, VIRTIO_DETACHED, dev->start_error);
}

int virtio_start(struct virtio_device *dev, struct vdpa_error *err)
{
	const struct virtio_driver *drv = virtio_match(dev->id);
	int r;

	dev->state = VIRTIO_BUSY;
	dev->drv = NULL;
	r = virtio_negotiate(dev, drv->features, err);
	if (!r) {
		dev->drv = drv;
		r = drv->probe(dev, err);
	}
	if (!r) {
		dev->state = VIRTIO_ATTACHED;
		r = dev->ops->set_status(dev, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
						      VIRTIO_CONFIG_S_FEATURES_OK |
						      VIRTIO_CONFIG_S_DRIVER_OK);
		if (r)
			vdpa_error_set(err, -r, dev->name, "the device does not start: %s",
				       strerror(-r));
	}
	if (r) {
		dev->ops->set_status(dev, dev->ops->get_status(dev) | VIRTIO_CONFIG_S_FAILED);
		dev->start_error = r;
		virtio_detach(dev, start_failed);
		return r;
	}
	if (drv->ready)
		drv->ready(dev);
	return 0;
}

/* ---- detach ---- */

static void detach_reset(struct virtio_device *dev, int result)
{
	if (dev->drv)
		dev->drv->remove(dev);
	virtio_del_vqs(dev);
	atomic_fetch_add(&dev->epoch, 1);
	dev->drv = NULL;
	dev->priv = NULL;
	dev->features = 0;
	dev->after(dev, result);
}

void virtio_detach(struct virtio_device *dev, void (*after)(struct virtio_device *dev, int result))
{
	dev->state = VIRTIO_BUSY;
	dev->after = after;
	if (dev->drv && dev->priv)
		dev->drv->stop(dev);
	virtio_reset_then(dev, detach_reset);
}

static void remove_end(struct virtio_device *dev, int result)
{
	struct vdpa_done done = dev->remove_done;

	(void)result;
	virtio_bus_del(dev);
	dev->ops->release(dev);
	vdpa_done_call(&done, 0);
}

/* A change of the configuration may have been posted since the reset. */
static void unmapped(struct virtio_device *dev, int result)
{
	dev->next = remove_end;
	dev->reset_result = result;
	dev->waiting_idle = true;
	dev->waiting_all = true;
	virtio_posted_ran(dev);
}

static void detached_for_remove(struct virtio_device *dev, int result)
{
	(void)result;
	dev->ops->disconnect(dev);
	virtio_mem_release(dev, unmapped);
}

static void remove_begin(struct virtio_device *dev)
{
	dev->remove_wanted = false;
	virtio_detach(dev, detached_for_remove);
}

void virtio_device_unregister(struct virtio_device *dev, const struct vdpa_done *done)
{
	assert(!dev->remove_wanted);
	dev->remove_done = done ? *done : (struct vdpa_done){0};
	if (dev->state == VIRTIO_BUSY)
		dev->remove_wanted = true;
	else
		remove_begin(dev);
}

void virtio_life_ended(struct virtio_device *dev, enum virtio_state state, int result)
{
	struct vdpa_done done = dev->done;
	bool remove = dev->remove_wanted;

	dev->state = state;
	dev->done = (struct vdpa_done){0};
	vdpa_done_call(&done, result);
	if (remove)
		remove_begin(dev);
}

/* ---- broken ---- */

static void broken_reset(struct virtio_device *dev, int result)
{
	dev->drv->broken(dev);
	virtio_life_ended(dev, VIRTIO_BROKEN, result);
}

static void broken_posted(struct vdpa_loop_msg *msg)
{
	struct virtio_device *dev = vdpa_container_of(msg, struct virtio_device, broken_msg);
	const char *why = atomic_load(&dev->broken_why);

	atomic_store(&dev->broken_pending, false);
	if (dev->waiting_idle) {
		virtio_posted_ran(dev);
		return;
	}
	/* Said of an earlier attachment: it has been reset since. */
	if (dev->state != VIRTIO_ATTACHED || atomic_load(&dev->broken_epoch) != dev->epoch)
		return;
	virtio_log(dev, VDPA_LOG_ERR, "device broken, it is reset: %s", why);
	dev->state = VIRTIO_BUSY;
	dev->drv->stop(dev);
	virtio_reset_then(dev, broken_reset);
}

void virtio_device_broken(struct virtio_device *dev, const char *why)
{
	if (atomic_exchange(&dev->broken_pending, true))
		return;
	atomic_store(&dev->broken_why, why);
	atomic_store(&dev->broken_epoch, atomic_load(&dev->epoch));
	vdpa_loop_post(vdpa_ctx_control(dev->ctx), &dev->broken_msg, broken_posted);
}

/* ---- registration ---- */

static void register_reset(struct virtio_device *dev, int result)
{
	int r = result;

	if (!r && (dev->remove_wanted || !virtio_match(dev->id))) {
		if (!dev->remove_wanted)
			virtio_log(dev, VDPA_LOG_INFO, "no driver for device id %u", dev->id);
		virtio_life_ended(dev, VIRTIO_DETACHED, 0);
		return;
	}
	if (!r)
		r = virtio_start(dev, dev->start_err);
	else
		virtio_life_ended(dev, VIRTIO_DETACHED, r);
	if (!r)
		return;
	if (dev->start_result)
		*dev->start_result = r;
	else
		virtio_log(dev, VDPA_LOG_ERR, "the driver cannot start: %s", strerror(-r));
}

int virtio_device_register(struct virtio_device *dev, const struct virtio_options *opts,
			   struct vdpa_error *err)
{
	int result = 0, r = virtio_bus_add(dev);

	if (r) {
		dev->ops->disconnect(dev);
		dev->ops->release(dev);
		return vdpa_error_set(err, -r, NULL, "no memory for the virtio bus");
	}
	if (opts)
		dev->opts = *opts;
	dev->state = VIRTIO_BUSY;
	dev->start_err = err;
	dev->start_result = &result;
	/* Status 0: whoever had it before has reset it, and its word can be taken for that. */
	if (dev->ops->get_status(dev))
		virtio_reset_then(dev, register_reset);
	else
		register_reset(dev, 0);
	dev->start_err = NULL;
	dev->start_result = NULL;
	if (result)
		virtio_device_unregister(dev, NULL);
	return result;
}
