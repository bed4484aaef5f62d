// SPDX-License-Identifier: BSD-3-Clause
/*
 * A device's node. Rules and errors are Linux's (drivers/vdpa/vdpa_user/vduse_dev.c, 7.2).
 *
 * Who attacks: the process. Its descriptors are taken as they are: a kick writes to what it gave,
 * without waiting.
 */
#include "parent/vduse/vduse.h"

#include <errno.h>
#include <string.h>

static bool running(const struct vdu_dev *d)
{
	return atomic_load(&d->status) & VIRTIO_CONFIG_S_DRIVER_OK;
}

static struct vdu_vq *vq_get(struct vdu_dev *d, uint32_t index)
{
	return index < d->nvqs ? &d->vq[index] : NULL;
}

/* ---- configuration ---- */

static int set_config(struct vdu_dev *d, const uint8_t *arg)
{
	struct vduse_config_data c;

	memcpy(&c, arg, sizeof(c));
	if (!c.length || c.offset > d->config_bytes || c.length > d->config_bytes - c.offset)
		return -EINVAL;
	pthread_mutex_lock(&d->config_lock);
	memcpy(d->config + c.offset, arg + sizeof(c), c.length);
	/* Who has read some of it already finds another generation. */
	atomic_fetch_add(&d->generation, 1);
	pthread_mutex_unlock(&d->config_lock);
	return 0;
}

static int inject_config_irq(struct vdu_dev *d)
{
	if (!running(d))
		return -EINVAL;
	d->irqs++;
	vdu_config_changed(d);
	return 0;
}

/* ---- queues ---- */

static int vq_setup(struct vdu_dev *d, const uint8_t *arg)
{
	struct vduse_vq_config c;
	struct vdu_vq *vq;

	memcpy(&c, arg, sizeof(c));
	vq = vq_get(d, c.index);
	if (!vq || c.reserved1 || memcmp(c.reserved2, (uint16_t[10]){0}, sizeof(c.reserved2)))
		return -EINVAL;
	if (d->api ? c.group >= d->ngroups || running(d) : c.group)
		return -EINVAL;
	if (!c.max_size || c.max_size > 32768)
		return -EINVAL;
	/* On the bus the driver has seen it: it may be said again (by the next process), not
	 * changed. */
	if (d->vdev && (c.max_size != vq->num_max || c.group != vq->group))
		return -EBUSY;
	vq->num_max = c.max_size;
	vq->group = c.group;
	return 0;
}

static int vq_get_info(struct vdu_dev *d, uint8_t *arg)
{
	struct vduse_vq_info info;
	struct vdu_vq *vq;

	memcpy(&info, arg, sizeof(info));
	vq = vq_get(d, info.index);
	if (!vq)
		return -EINVAL;
	/* A process that goes on where another one died. */
	if (vq->runs)
		vdu_vq_look(vq);
	info = (struct vduse_vq_info){.index = vq->idx,
				      .num = vq->num,
				      .desc_addr = vq->desc,
				      .driver_addr = vq->driver,
				      .device_addr = vq->device,
				      .ready = vq->runs};
	if (vdu_packed(d))
		info.state.packed = (struct vduse_state_packed){
			.last_avail_counter = vq->state.packed.last_avail_counter,
			.last_avail_idx = vq->state.packed.last_avail_idx,
			.last_used_counter = vq->state.packed.last_used_counter,
			.last_used_idx = vq->state.packed.last_used_idx,
		};
	else
		info.state.avail_index = vq->state.split.avail_index;
	memcpy(arg, &info, sizeof(info));
	return 0;
}

/* The one that came along with @call; -1: none was given. -errno < -1. */
static int take_eventfd(struct vdu_call *call, int given)
{
	if (given == VDUSE_EVENTFD_DEASSIGN)
		return -1;
	if (call->fd < 0)
		return -EBADF;
	if (vdpa_fd_is_eventfd(call->fd) == 0)
		return -EINVAL;
	return vdpa_fd_take(&call->fd);
}

int vdu_setup_eventfd(struct vdu_dev *d, struct vdu_call *call,
		      int (*set)(struct vdu_vq *vq, int fd))
{
	struct vduse_vq_eventfd e;
	struct vdu_vq *vq;
	int fd;

	memcpy(&e, call->arg, sizeof(e));
	vq = vq_get(d, e.index);
	if (!vq)
		return -EINVAL;
	fd = take_eventfd(call, e.fd);
	return fd < -1 ? fd : set(vq, fd);
}

static int vq_inject_irq(struct vdu_dev *d, const uint8_t *arg)
{
	struct vdu_vq *vq;
	uint32_t index;

	memcpy(&index, arg, sizeof(index));
	vq = vq_get(d, index);
	if (!vq || !running(d))
		return -EINVAL;
	vdu_call_vq(vq);
	return 0;
}

/* ---- memory ---- */

int vdu_get_fd(struct vdu_dev *d, struct vdu_call *call, struct vduse_iotlb_entry *e)
{
	int fd;

	if (e->start > e->last || e->asid >= d->nas)
		return -EINVAL;
	fd = vdu_map_fd(d, e);
	if (fd < 0)
		return fd;
	call->result_fd = fd;
	d->granted = true;
	return 0;
}

static int iotlb_get_fd(struct vdu_dev *d, struct vdu_call *call)
{
	struct vduse_iotlb_entry e = {0};
	bool v0 = call->ioctl->cmd == VDUSE_IOTLB_GET_FD;
	size_t bytes = v0 ? offsetof(struct vduse_iotlb_entry, padding) : sizeof(e);
	int ret;

	if (!v0 && !d->api)
		return -ENOTTY;
	memcpy(&e, call->arg, bytes);
	if (memcmp(e.reserved, (uint32_t[11]){0}, sizeof(e.reserved)))
		return -EINVAL;
	ret = vdu_get_fd(d, call, &e);
	if (!ret)
		memcpy(call->arg, &e, bytes);
	return ret;
}

static int iotlb_get_info(struct vdu_dev *d, uint8_t *arg)
{
	struct vduse_iova_info info;
	int ret;

	memcpy(&info, arg, sizeof(info));
	if (info.start > info.last || info.padding || info.reserved[0] || info.reserved[1] ||
	    info.asid >= d->nas)
		return -EINVAL;
	ret = vdu_map_info(d, &info);
	memcpy(arg, &info, sizeof(info));
	return ret;
}

/*
 * For the process addresses are always IOVAs, whether or not the driver knows of that: those of
 * vhost-user do not, and there are processes that take what they get for their own addresses then
 * (DPDK).
 */
uint64_t vdu_features_for_process(const struct vdu_dev *d)
{
	uint64_t features = atomic_load(&d->driver_features);

	return features ? features | (d->features & VDPA_BIT(VIRTIO_F_ACCESS_PLATFORM)) : 0;
}

int vdu_device_ioctl(struct vdu_conn *c, struct vdu_call *call)
{
	struct vdu_dev *d = c->dev;
	uint64_t features;

	switch (call->ioctl->cmd) {
	case VDUSE_DEV_GET_FEATURES:
		features = vdu_features_for_process(d);
		memcpy(call->arg, &features, sizeof(features));
		return 0;
	case VDUSE_DEV_SET_CONFIG:
		return set_config(d, call->arg);
	case VDUSE_DEV_INJECT_CONFIG_IRQ:
		return inject_config_irq(d);
	case VDUSE_VQ_SETUP:
		return vq_setup(d, call->arg);
	case VDUSE_VQ_GET_INFO:
		return vq_get_info(d, call->arg);
	case VDUSE_VQ_SETUP_KICKFD:
		return vdu_setup_eventfd(d, call, vdu_set_kickfd);
	case VDUSE_VQ_INJECT_IRQ:
		return vq_inject_irq(d, call->arg);
	case VDUSE_IOTLB_GET_FD:
	case VDUSE_IOTLB_GET_FD2:
		return iotlb_get_fd(d, call);
	case VDUSE_IOTLB_GET_INFO:
		return iotlb_get_info(d, call->arg);
	case VDUSE_IOTLB_REG_UMEM:
	case VDUSE_IOTLB_DEREG_UMEM:
		return -EOPNOTSUPP;
	default:
		return -ENOTTY;
	}
}
