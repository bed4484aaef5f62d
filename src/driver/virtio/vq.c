// SPDX-License-Identifier: BSD-3-Clause
/*
 * Queues of a virtio device. Interrupts come on any thread; they are posted to the control loop,
 * once until they were handled there. Ring memory is freed only after the device was reset and what
 * was posted has run.
 */
#include <errno.h>
#include <stdlib.h>
#include "driver/virtio/device.h"

#define DEFAULT_NUM 256u

static void vq_posted(struct vdpa_loop_msg *msg)
{
	struct virtio_vq *vq = vdpa_container_of(msg, struct virtio_vq, msg);
	struct virtio_device *dev = vq->dev;

	atomic_store(&vq->pending, false);
	if (dev->waiting_idle) {
		virtio_posted_ran(dev);
	} else if (dev->state == VIRTIO_ATTACHED) {
		virtio_enter(dev);
		vq->callback(vq);
		virtio_leave(dev);
	}
}

void virtio_vq_again(struct virtio_vq *vq)
{
	if (vq->callback && !atomic_exchange(&vq->pending, true))
		vdpa_loop_post(vdpa_ctx_control(vq->dev->ctx), &vq->msg, vq_posted);
}

void virtio_vq_interrupt(struct virtio_vq *vq)
{
	atomic_fetch_add_explicit(&vq->calls, 1, memory_order_relaxed);
	virtio_vq_again(vq);
}

void virtio_vq_kick(struct virtio_vq *vq)
{
	if (!virtqueue_publish(vq->ring))
		return;
	atomic_fetch_add_explicit(&vq->kicks, 1, memory_order_relaxed);
	vq->dev->ops->notify(vq->dev, vq);
}

struct virtio_vq *virtio_vq_find(const struct virtio_device *dev, uint16_t index)
{
	for (unsigned i = 0; i < dev->nvqs; i++) {
		if (dev->vqs[i]->index == index)
			return dev->vqs[i];
	}
	return NULL;
}

static uint32_t num_max(struct virtio_device *dev, uint16_t index)
{
	const struct virtio_vq *vq = virtio_vq_find(dev, index);

	return vq ? vq->num_max : dev->ops->vq_num_max(dev, index);
}

/* A queue that cannot be is an error, and somebody should see it. */
static int bad_num(struct virtio_device *dev, uint16_t index, uint32_t num, struct vdpa_error *err)
{
	const char *what = virtio_has_feature(dev, VIRTIO_F_RING_PACKED) ? "" : "a power of two, ";
	uint32_t max = num_max(dev, index);

	virtio_log(dev, VDPA_LOG_WARN, "queue %u: invalid size %u (%sat most %u)", index, num, what,
		   max);
	return vdpa_error_set(err, EINVAL, dev->name,
			      "queue %u cannot have %u entries: %sat most %u", index, num, what,
			      max);
}

int virtio_vq_check_num(struct virtio_device *dev, uint16_t index, uint32_t *num,
			struct vdpa_error *err)
{
	uint32_t max = num_max(dev, index), n = *num;

	if (!max) {
		virtio_log(dev, VDPA_LOG_WARN, "queue %u: the device says its size is 0", index);
		return vdpa_error_set(err, ENODEV, dev->name, "queue %u is not there", index);
	}
	if (!n) {
		n = DEFAULT_NUM;
		while (n > max)
			n >>= 1;
	}
	/* 2.7: a power of two. 2.8.10.1: any. */
	if (n > max || n > 32768 ||
	    ((n & (n - 1)) && !virtio_has_feature(dev, VIRTIO_F_RING_PACKED)))
		return bad_num(dev, index, n, err);
	*num = n;
	return 0;
}

static void ring_free(struct virtio_vq *vq)
{
	if (vq->ring)
		virtqueue_free(vq->ring);
	virtio_mem_free(vq->dev, vq->mem);
	vq->ring = NULL;
	vq->mem = NULL;
}

/* @vq's ring, memory and size, which it has not. On error it has none. */
static int ring_new(struct virtio_vq *vq, uint32_t num)
{
	struct virtio_device *dev = vq->dev;
	struct virtqueue_config config = {
		.size = sizeof(config),
		.num = num,
		.features = dev->features,
		.indirect_min = dev->opts.indirect_min,
	};
	int r;

	vq->num = num;
	vq->ring = NULL;
	vq->mem = virtio_mem_alloc(dev, virtqueue_mem_bytes(num, dev->features), &vq->mem_iova);
	if (!vq->mem)
		return -ENOMEM;
	config.mem = vq->mem;
	config.mem_iova = vq->mem_iova;
	r = virtqueue_new(&config, &vq->ring);
	if (r)
		ring_free(vq);
	return r;
}

static void vq_free(struct virtio_vq *vq)
{
	ring_free(vq);
	free(vq);
}

static int vq_alloc(struct virtio_device *dev, const struct virtio_vq_params *params, uint32_t num,
		    struct virtio_vq **out)
{
	struct virtio_vq *vq = calloc(1, sizeof(*vq));
	int r;

	if (!vq)
		return -ENOMEM;
	vq->dev = dev;
	vq->index = params->index;
	vq->num_max = dev->ops->vq_num_max(dev, params->index);
	vq->callback = params->callback;
	vq->priv = params->priv;
	r = ring_new(vq, num);
	if (r) {
		free(vq);
		return r;
	}
	*out = vq;
	return 0;
}

/* Give the device a queue whose ring is new. */
static int vq_hand_over(struct virtio_vq *vq, struct vdpa_error *err)
{
	struct virtio_device *dev = vq->dev;
	int r = dev->ops->setup_vq(dev, vq, err);

	if (r)
		virtio_log(dev, VDPA_LOG_WARN, "queue %u of %u entries was refused: error %d",
			   vq->index, vq->num, -r);
	else if (!vq->callback)
		virtqueue_disable_cb(vq->ring);
	return r;
}

int virtio_vq_renew(struct virtio_vq *vq, uint32_t num, struct vdpa_error *err)
{
	struct virtio_vq old = {
		.dev = vq->dev, .ring = vq->ring, .mem = vq->mem, .mem_iova = vq->mem_iova};
	uint32_t old_num = vq->num;
	int r = ring_new(vq, num);

	if (!r) {
		r = vq_hand_over(vq, err);
		if (!r) {
			ring_free(&old);
			return 0;
		}
		ring_free(vq);
	}
	vq->ring = old.ring;
	vq->mem = old.mem;
	vq->mem_iova = old.mem_iova;
	vq->num = old_num;
	return r;
}

int virtio_setup_vq(struct virtio_device *dev, const struct virtio_vq_params *params,
		    struct virtio_vq **out, struct vdpa_error *err)
{
	struct virtio_vq **vqs, *vq;
	uint32_t num = params->num;
	int r;

	if (params->index >= dev->ops->num_vqs(dev))
		return vdpa_error_set(err, EINVAL, dev->name, "there is no queue %u: it has %u",
				      params->index, dev->ops->num_vqs(dev));
	if (virtio_vq_find(dev, params->index))
		return vdpa_error_set(err, EBUSY, dev->name, "queue %u is in use", params->index);
	r = virtio_vq_check_num(dev, params->index, &num, err);
	if (r)
		return r;
	vqs = realloc(dev->vqs, (dev->nvqs + 1) * sizeof(struct virtio_vq *));
	if (!vqs)
		return -ENOMEM;
	dev->vqs = vqs;
	r = vq_alloc(dev, params, num, &vq);
	if (r)
		return vdpa_error_set(err, -r, dev->name, "no memory for queue %u of %u entries",
				      params->index, num);
	r = vq_hand_over(vq, err);
	if (r) {
		vq_free(vq);
		return r;
	}
	dev->vqs[dev->nvqs++] = vq;
	*out = vq;
	return 0;
}

bool virtio_vqs_idle(const struct virtio_device *dev)
{
	for (unsigned i = 0; i < dev->nvqs; i++) {
		if (atomic_load(&dev->vqs[i]->pending))
			return false;
	}
	return true;
}

void virtio_del_vqs(struct virtio_device *dev)
{
	for (unsigned i = 0; i < dev->nvqs; i++) {
		struct virtio_vq *vq = dev->vqs[i];

		if (dev->ops->del_vq)
			dev->ops->del_vq(dev, vq);
		vq_free(vq);
	}
	free(dev->vqs);
	dev->vqs = NULL;
	dev->nvqs = 0;
}
