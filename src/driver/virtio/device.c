// SPDX-License-Identifier: BSD-3-Clause
/* What programs see of a virtio device: attributes, configuration, reset, attach. */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "driver/virtio/device.h"

/* A device whose configuration changes faster than it can be read is not waited for. */
#define CONFIG_TRIES 64

const char *virtio_name(const struct virtio_device *dev)
{
	return dev->name;
}

const char *virtio_bus_name(const struct virtio_device *dev)
{
	return dev->bus_name;
}

struct vdpa_ctx *virtio_get_ctx(const struct virtio_device *dev)
{
	return dev->ctx;
}

uint32_t virtio_get_id(const struct virtio_device *dev)
{
	return dev->id;
}

const char *virtio_driver_name(const struct virtio_device *dev)
{
	return dev->drv ? dev->drv->name : NULL;
}

bool virtio_is_broken(const struct virtio_device *dev)
{
	return dev->state == VIRTIO_BROKEN || atomic_load(&dev->broken_pending);
}

uint64_t virtio_device_features(struct virtio_device *dev)
{
	return dev->ops->get_features(dev);
}

uint64_t virtio_driver_features(const struct virtio_device *dev)
{
	return dev->features;
}

uint8_t virtio_get_status(struct virtio_device *dev)
{
	return dev->ops->get_status(dev);
}

uint32_t virtio_get_generation(struct virtio_device *dev)
{
	return dev->ops->generation ? dev->ops->generation(dev) : 0;
}

unsigned virtio_num_queues(struct virtio_device *dev)
{
	return dev->ops->num_vqs(dev);
}

uint32_t virtio_queue_num_max(struct virtio_device *dev, uint16_t index)
{
	return index < dev->ops->num_vqs(dev) ? dev->ops->vq_num_max(dev, index) : 0;
}

bool virtio_queue_ready(struct virtio_device *dev, uint16_t index)
{
	return index < dev->ops->num_vqs(dev) && dev->ops->vq_ready(dev, index);
}

int virtio_config_read(struct virtio_device *dev, unsigned offset, void *buf, unsigned len)
{
	for (unsigned i = 0; i < CONFIG_TRIES; i++) {
		uint32_t before = virtio_get_generation(dev);
		int r = dev->ops->get(dev, offset, buf, len);

		if (r)
			return r;
		if (virtio_get_generation(dev) == before)
			return 0;
	}
	return -EAGAIN;
}

int virtio_config_write(struct virtio_device *dev, unsigned offset, const void *buf, unsigned len)
{
	return dev->ops->set(dev, offset, buf, len);
}

int virtio_cread16(struct virtio_device *dev, unsigned offset, uint16_t *value)
{
	int r = virtio_config_read(dev, offset, value, sizeof(*value));

	*value = le16toh(*value);
	return r;
}

int virtio_cread32(struct virtio_device *dev, unsigned offset, uint32_t *value)
{
	int r = virtio_config_read(dev, offset, value, sizeof(*value));

	*value = le32toh(*value);
	return r;
}

int virtio_cread64(struct virtio_device *dev, unsigned offset, uint64_t *value)
{
	int r = virtio_config_read(dev, offset, value, sizeof(*value));

	*value = le64toh(*value);
	return r;
}

static void config_posted(struct vdpa_loop_msg *msg)
{
	struct virtio_device *dev = vdpa_container_of(msg, struct virtio_device, config_msg);

	atomic_store(&dev->config_pending, false);
	if (dev->waiting_idle) {
		virtio_posted_ran(dev);
		return;
	}
	if (dev->state != VIRTIO_ATTACHED)
		return;
	if (dev->ops->get_status(dev) & VIRTIO_CONFIG_S_NEEDS_RESET) {
		virtio_device_broken(dev, "it says that it needs a reset");
	} else {
		virtio_enter(dev);
		dev->drv->config_changed(dev);
		virtio_leave(dev);
	}
}

void virtio_config_changed(struct virtio_device *dev)
{
	if (!atomic_exchange(&dev->config_pending, true))
		vdpa_loop_post(vdpa_ctx_control(dev->ctx), &dev->config_msg, config_posted);
}

static void reset_ended(struct virtio_device *dev, int result)
{
	virtio_life_ended(dev, VIRTIO_DETACHED, result);
}

int virtio_reset(struct virtio_device *dev, const struct vdpa_done *done)
{
	if (dev->state == VIRTIO_BUSY)
		return -EBUSY;
	dev->done = done ? *done : (struct vdpa_done){0};
	virtio_detach(dev, reset_ended);
	return 0;
}

int virtio_attach(struct virtio_device *dev, const struct virtio_options *options,
		  struct vdpa_error *err)
{
	if (dev->state != VIRTIO_DETACHED)
		return vdpa_error_set(
			err, EBUSY, dev->name,
			"a driver is attached, or the device is busy: reset it first");
	if (!virtio_match(dev->id))
		return vdpa_error_set(err, ENODEV, dev->name, "there is no driver for device id %u",
				      dev->id);
	if (options && options->size != sizeof(*options))
		return vdpa_error_set(err, EINVAL, dev->name, "options of an unknown size");
	if (options)
		dev->opts = *options;
	return virtio_start(dev, err);
}

int virtio_try_queue(struct virtio_device *dev, uint16_t index, uint32_t num,
		     struct vdpa_error *err)
{
	struct virtio_vq_params params = {.index = index, .num = num};
	struct virtio_vq *vq;
	int r;

	if (dev->state != VIRTIO_DETACHED)
		return vdpa_error_set(err, EBUSY, dev->name,
				      "a driver is attached: reset it first");
	if (!num) {
		virtio_log(dev, VDPA_LOG_WARN, "queue %u: invalid size 0", index);
		return vdpa_error_set(err, EINVAL, dev->name, "queue %u cannot have 0 entries",
				      index);
	}
	r = virtio_negotiate(dev, 0, err);
	if (!r)
		r = virtio_setup_vq(dev, &params, &vq, err);
	virtio_detach(dev, reset_ended);
	return r;
}

int virtio_wait(struct virtio_device *dev, const bool *flag, int64_t timeout_ns)
{
	return vdpa_ctx_wait(dev->ctx, flag, timeout_ns);
}

int virtio_wait_attached(struct virtio_device *dev, int64_t timeout_ns)
{
	uint64_t end = vdpa_clock_ns() + (uint64_t)timeout_ns;

	while (dev->state == VIRTIO_BUSY) {
		uint64_t now = vdpa_clock_ns();

		if (now >= end)
			return -ETIMEDOUT;
		vdpa_loop_run_once(vdpa_ctx_control(dev->ctx), (int64_t)(end - now));
	}
	if (dev->state == VIRTIO_ATTACHED)
		return 0;
	return dev->state == VIRTIO_BROKEN ? -EIO : -ENODEV;
}

void virtio_show(struct virtio_device *dev, vdpa_emit_fn emit, void *arg)
{
	char buf[512];

	emit(arg, "virtio", dev->name);
	emit(arg, "bus", dev->bus_name);
	emit(arg, "virtio_driver", dev->drv ? dev->drv->name : "none");
	emit(arg, "state",
	     dev->state == VIRTIO_ATTACHED ? "attached"
	     : dev->state == VIRTIO_BROKEN ? "broken"
	     : dev->state == VIRTIO_BUSY   ? "busy"
					   : "detached");
	emit(arg, "features", virtio_feature_names(dev->id, dev->features, buf, sizeof(buf)));
	if (dev->ops->show)
		dev->ops->show(dev, emit, arg);
	if (dev->drv && dev->priv)
		dev->drv->show(dev, emit, arg);
}
