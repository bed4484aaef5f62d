// SPDX-License-Identifier: BSD-3-Clause
/*
 * One queue of a virtio device is reset and enabled again, with another size if wanted: virtio 1.3,
 * section 2.6.1 (VIRTIO_F_RING_RESET). The device is BUSY meanwhile: no other change of state
 * begins, and interrupts of its other queues wait. As with a reset of the device, requests are
 * given back, and memory is reused, only when the device has let go of the queue.
 */
#include <errno.h>
#include <string.h>
#include "driver/virtio/device.h"

/* Interrupts that came meanwhile were dropped, and whoever waits for them would wait forever. */
static void catch_up(struct virtio_device *dev)
{
	for (unsigned i = 0; i < dev->nvqs; i++)
		virtio_vq_again(dev->vqs[i]);
	virtio_config_changed(dev);
}

static void queue_let_go(void *arg, int result)
{
	struct virtio_device *dev = arg;
	struct virtio_vq *vq = dev->reset_vq;
	int r = result;

	dev->reset_vq = NULL;
	if (!r) {
		dev->drv->vq_drained(vq);
		r = virtio_vq_renew(vq, dev->reset_num, NULL);
	}
	if (!r)
		r = dev->drv->vq_restart(vq);
	catch_up(dev);
	if (r) {
		virtio_log(dev, VDPA_LOG_ERR, "queue %u does not come back: %s", vq->index,
			   strerror(-r));
		virtio_device_broken(dev, "a queue that was reset does not come back");
	}
	virtio_life_ended(dev, VIRTIO_ATTACHED, r);
}

static void reset_queue(struct virtio_device *dev)
{
	int r = dev->ops->reset_vq(dev, dev->reset_vq, &(struct vdpa_done){queue_let_go, dev});

	if (r)
		queue_let_go(dev, r);
}

static void reset_posted(struct vdpa_loop_msg *msg)
{
	reset_queue(vdpa_container_of(msg, struct virtio_device, reset_msg));
}

static int check(struct virtio_device *dev, uint16_t index, uint32_t *num, struct vdpa_error *err)
{
	struct virtio_vq *vq = virtio_vq_find(dev, index);

	if (dev->state != VIRTIO_ATTACHED)
		return vdpa_error_set(err, EBUSY, dev->name,
				      "no driver is attached, or the device is busy");
	if (!virtio_has_feature(dev, VIRTIO_F_RING_RESET))
		return vdpa_error_set(
			err, EOPNOTSUPP, dev->name,
			"single queues cannot be reset: RING_RESET was not negotiated");
	if (!vq)
		return vdpa_error_set(err, EINVAL, dev->name, "queue %u is not in use", index);
	if (!*num)
		*num = vq->num;
	if (*num < dev->drv->num_min)
		return vdpa_error_set(err, EINVAL, dev->name,
				      "queue %u cannot have %u entries: at least %u", index, *num,
				      dev->drv->num_min);
	return virtio_vq_check_num(dev, index, num, err);
}

int virtio_queue_reset(struct virtio_device *dev, uint16_t index, uint32_t num,
		       const struct vdpa_done *done, struct vdpa_error *err)
{
	int r = check(dev, index, &num, err);

	if (r)
		return r;
	dev->state = VIRTIO_BUSY;
	dev->done = done ? *done : (struct vdpa_done){0};
	dev->reset_vq = virtio_vq_find(dev, index);
	dev->reset_num = num;
	dev->drv->vq_stop(dev->reset_vq);
	if (atomic_load(&dev->depth))
		vdpa_loop_post(vdpa_ctx_control(dev->ctx), &dev->reset_msg, reset_posted);
	else
		reset_queue(dev);
	return 0;
}
