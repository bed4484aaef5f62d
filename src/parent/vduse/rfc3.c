// SPDX-License-Identifier: BSD-3-Clause
/*
 * What only the first published design has. Its process is asked by messages what it offers, when
 * it opens its device: so a device is put on the bus after it has answered. From there on all that
 * Linux hands out by ioctls is told: the driver's features before FEATURES_OK, each queue before
 * DRIVER_OK; and whether it took effect is asked after it.
 *
 * Its configuration is kept here as it said last, since nobody waits for it: what the driver writes
 * goes to it as a message, is what the driver reads at once, and is asked for again after that. It
 * is asked for at every status, too; where it is another one then, the driver is told.
 *
 * Interrupts are eventfds of the process, watched by edges: one that it makes a semaphore, or fills
 * to the brim, is no more work than one write to it.
 *
 * Who attacks: the process, by its answers and eventfds; the driver, by writes to the configuration
 * faster than the process takes them.
 */
#include "parent/vduse/vduse.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#define BOUNCE_MIN (1ull << 20)
#define BOUNCE_MAX (1ull << 30)
#define WRITES_MAX 1024u
/* The ring's other format has more state than its messages have room for. */
#define NOT_OFFERED VDPA_BIT(VIRTIO_F_RING_PACKED)

/* ---- a device is made ---- */

/* It said nothing of how much there is: what types had then, or as much as a message holds. */
static uint32_t config_bytes(uint32_t device_id)
{
	static const struct {
		uint32_t id, bytes;
	} sizes[] = {{VIRTIO_ID_NET, 24},    {VIRTIO_ID_BLOCK, 60}, {VIRTIO_ID_CONSOLE, 12},
		     {VIRTIO_ID_RNG, 0},     {VIRTIO_ID_SCSI, 36},  {VIRTIO_ID_GPU, 16},
		     {VIRTIO_ID_INPUT, 136}, {VIRTIO_ID_VSOCK, 8},  {VIRTIO_ID_FS, 40}};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		if (sizes[i].id == device_id)
			return sizes[i].bytes;
	}
	return VDUSE_RFC3_DATA;
}

int vdu_rfc3_create(struct vdu_conn *c, const struct vduse_rfc3_dev *dev)
{
	_Alignas(uint64_t) uint8_t buf[sizeof(struct vduse_dev_config) + VDUSE_RFC3_DATA] = {0};
	struct vduse_dev_config *config = (struct vduse_dev_config *)(void *)buf;
	struct vdu_dev *d;
	int ret;

	if (!dev->vq_size_max || dev->vq_size_max > 32768)
		return -EINVAL;
	snprintf(config->name, sizeof(config->name), VDUSE_RFC3_NAME, dev->id);
	config->vendor_id = dev->vendor_id;
	config->device_id = dev->device_id;
	config->vq_num = dev->vq_num;
	config->vq_align = dev->vq_align;
	config->config_size = config_bytes(dev->device_id);
	ret = vdu_dev_make(c->ep, config, 0, &d);
	if (ret)
		return ret;
	d->profile = &vdu_rfc3;
	d->bounce_bytes = dev->bounce_bytes;
	if (d->bounce_bytes && d->bounce_bytes < BOUNCE_MIN)
		d->bounce_bytes = BOUNCE_MIN;
	if (d->bounce_bytes > BOUNCE_MAX)
		d->bounce_bytes = BOUNCE_MAX;
	for (uint32_t i = 0; i < d->nvqs; i++)
		d->vq[i].num_max = dev->vq_size_max;
	return 0;
}

int vdu_rfc3_known(const struct vdu_dev *d, struct vdpa_error *err)
{
	if (d->profile != &vdu_rfc3 || (d->knows_features && d->knows_config))
		return 0;
	return vdpa_error_set(err, EAGAIN, NULL,
			      "its process has not answered yet what it offers (GET_FEATURES, "
			      "GET_CONFIG): try again when it has");
}

/* ---- configuration ---- */

static void config_said(struct vdu_msg *msg, const struct vdu_answer *a, int result)
{
	struct vdu_dev *d = msg->d;
	bool changed, known = d->knows_config;

	d->config_asked = false;
	/* What was written since then is asked for after that. */
	if (!a || d->config_writes)
		return;
	if (result) {
		vdu_log(d, VDPA_LOG_WARN, "vduse: its process refuses GET_CONFIG");
		return;
	}
	pthread_mutex_lock(&d->config_lock);
	changed = memcmp(d->config, a->config, d->config_bytes);
	memcpy(d->config, a->config, d->config_bytes);
	if (changed && known)
		atomic_fetch_add(&d->generation, 1);
	pthread_mutex_unlock(&d->config_lock);
	d->knows_config = true;
	if (!changed || !known)
		return;
	d->irqs++;
	vdu_config_changed(d);
}

static int ask_config(struct vdu_dev *d)
{
	struct vdu_msg *msg;

	d->knows_config |= !d->config_bytes;
	if (d->config_asked || !d->config_bytes)
		return 0;
	msg = vdu_msg_new(d, VDU_GET_CONFIG, config_said);
	if (!msg)
		return -ENOMEM;
	d->config_asked = true;
	msg->config.len = d->config_bytes;
	vdu_send(msg);
	return 0;
}

static void config_written(struct vdu_msg *msg, const struct vdu_answer *a, int result)
{
	struct vdu_dev *d = msg->d;

	d->config_writes--;
	if (!a)
		return;
	if (result)
		vdu_log(d, VDPA_LOG_WARN, "vduse: its process refuses SET_CONFIG of %u bytes at %u",
			msg->config.len, msg->config.offset);
	/* Without memory for it, it is asked for with the next write, or status. */
	if (!d->config_writes)
		ask_config(d);
}

void vdu_rfc3_set_config(struct vdu_dev *d, unsigned offset, unsigned len)
{
	struct vdu_msg *msg = NULL;

	if (d->config_writes < WRITES_MAX)
		msg = vdu_msg_new(d, VDU_SET_CONFIG, config_written);
	if (!msg) {
		vdu_log(d, VDPA_LOG_WARN,
			"a write of %u bytes of configuration at %u is lost: its process does not "
			"take them as fast as they come",
			len, offset);
		return;
	}
	msg->config.offset = offset;
	msg->config.len = len;
	memcpy(msg->config.data, d->config + offset, len);
	d->config_writes++;
	vdu_send(msg);
}

/* ---- a process comes, and goes ---- */

static void features_said(struct vdu_msg *msg, const struct vdu_answer *a, int result)
{
	struct vdu_dev *d = msg->d;
	uint64_t features;

	if (!a)
		return;
	/* Addresses are IOVAs in any case. */
	features = (a->features & ~NOT_OFFERED) | VDPA_BIT(VIRTIO_F_ACCESS_PLATFORM);
	if (!d->vdev) {
		d->knows_features = !result;
		if (!result)
			d->features = features;
		else
			vdu_log(d, VDPA_LOG_WARN, "vduse: its process refuses GET_FEATURES");
	} else if (result || (d->features & ~features)) {
		vdu_break(d, -EIO, "its process offers less than the one that made it");
	}
}

int vdu_rfc3_connected(struct vdu_dev *d)
{
	struct vdu_msg *msg;

	if (d->profile != &vdu_rfc3)
		return 0;
	if (!d->vdev)
		d->knows_features = d->knows_config = false;
	/* Of a process before it, which did not answer. */
	if (vdu_msg_unsent(d, VDU_GET_FEATURES, 0))
		return ask_config(d);
	msg = vdu_msg_new(d, VDU_GET_FEATURES, features_said);
	if (!msg)
		return -ENOMEM;
	vdu_send(msg);
	return ask_config(d);
}

/* ---- what comes before a status ---- */

static void refused(struct vdu_dev *d, enum vdu_op op, int result)
{
	char why[128];

	snprintf(why, sizeof(why), "its process refuses %s", vdu_op_name(op));
	vdu_break(d, result, why);
}

static void part_answered(struct vdu_msg *msg, const struct vdu_answer *a, int result)
{
	if (a && result)
		refused(msg->d, msg->op, result);
}

static int tell_queue(struct vdu_dev *d);

static void queue_told(struct vdu_msg *msg, const struct vdu_answer *a, int result)
{
	struct vdu_dev *d = msg->d;

	if (!a)
		return;
	if (result || !a->ready) {
		refused(d, result ? VDU_GET_VQ_READY : VDU_SET_VQ_READY, -EIO);
		return;
	}
	d->asking++;
	if (tell_queue(d))
		vdu_break(d, -ENOMEM, "no memory for a message");
}

/* The next queue that is to run; after the last one, the status. */
static int tell_queue(struct vdu_dev *d)
{
	static const enum vdu_op parts[] = {VDU_SET_VQ_NUM, VDU_SET_VQ_ADDR, VDU_SET_VQ_STATE,
					    VDU_SET_VQ_READY, VDU_GET_VQ_READY};

	while (d->asking < d->nvqs && !d->vq[d->asking].runs)
		d->asking++;
	if (d->asking == d->nvqs)
		return vdu_say_status(d);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		struct vdu_msg *msg = vdu_msg_new(
			d, parts[i], parts[i] == VDU_GET_VQ_READY ? queue_told : part_answered);

		if (!msg)
			return -ENOMEM;
		msg->index = d->asking;
		vdu_send(msg);
	}
	return 0;
}

/* It looks for memory when it is told that there is other: at each status, as then. */
int vdu_rfc3_before(struct vdu_dev *d)
{
	uint8_t added = d->telling & (uint8_t)~d->told;
	struct vdu_msg *msg = vdu_msg_new(d, VDU_UPDATE_IOTLB, part_answered);

	if (!msg)
		return -ENOMEM;
	msg->iova.last = UINT64_MAX;
	vdu_send(msg);
	if (d->telling && ask_config(d))
		return -ENOMEM;
	if (added & VIRTIO_CONFIG_S_FEATURES_OK) {
		msg = vdu_msg_new(d, VDU_SET_FEATURES, part_answered);
		if (!msg)
			return -ENOMEM;
		vdu_send(msg);
	}
	if (!(added & VIRTIO_CONFIG_S_DRIVER_OK))
		return vdu_say_status(d);
	d->asking = 0;
	return tell_queue(d);
}

/* ---- memory ---- */

static void maps_told(struct vdu_msg *msg, const struct vdu_answer *a, int result)
{
	struct vdu_dev *d = msg->d;

	d->maps_asked = false;
	if (a && d->maps_new)
		vdu_rfc3_mapped(d);
}

/* One message for all that came since the last one. Who misses some finds it with GET_FD, too. */
void vdu_rfc3_mapped(struct vdu_dev *d)
{
	struct vdu_msg *msg;

	if (d->profile != &vdu_rfc3 || !d->conn || !(d->told & VIRTIO_CONFIG_S_DRIVER_OK))
		return;
	d->maps_new = d->maps_asked;
	msg = d->maps_asked ? NULL : vdu_msg_new(d, VDU_UPDATE_IOTLB, maps_told);
	if (!msg)
		return;
	d->maps_asked = true;
	msg->iova.last = UINT64_MAX;
	vdu_send(msg);
}

static int get_fd(struct vdu_dev *d, struct vdu_call *call)
{
	struct vduse_rfc3_entry mine;
	struct vduse_iotlb_entry e = {0};
	int ret;

	memcpy(&mine, call->arg, sizeof(mine));
	e.start = mine.start;
	e.last = mine.last;
	ret = vdu_get_fd(d, call, &e);
	mine = (struct vduse_rfc3_entry){
		.offset = e.offset, .start = e.start, .last = e.last, .perm = e.perm};
	memcpy(call->arg, &mine, sizeof(mine));
	return ret;
}

/* ---- interrupts ---- */

static void irq_drain(struct vdu_vq *vq)
{
	/* As in Linux: whether the queue runs does not matter, for it may just have stopped. */
	if (vdpa_eventfd_drain(vq->irq_lfd.fd) > 0 &&
	    (atomic_load(&vq->d->status) & VIRTIO_CONFIG_S_DRIVER_OK))
		vdu_call_vq(vq);
}

static void irq_ready(struct vdpa_loop_fd *lfd, uint32_t revents)
{
	irq_drain(vdpa_container_of(lfd, struct vdu_vq, irq_lfd));
}

static void irq_clear(struct vdu_vq *vq)
{
	if (!vq->irq_lfd.loop)
		return;
	vdpa_loop_fd_del(&vq->irq_lfd);
	/* What was completed is not lost with it. */
	irq_drain(vq);
	vdpa_fd_close(&vq->irq_lfd.fd);
	vq->d->ep->nkicks--;
}

/* Takes @fd; -1: none. */
static int set_irqfd(struct vdu_vq *vq, int fd)
{
	int ret;

	irq_clear(vq);
	if (fd < 0)
		return 0;
	/* The driver was called, and the process cut off: nobody takes another one away again. */
	if (!vq->d->conn) {
		vdpa_fd_close(&fd);
		return -ECONNRESET;
	}
	ret = vdu_fds_left(vq->d->ep, 1) ? 0 : -EMFILE;
	if (!ret)
		ret = vdpa_loop_fd_add(vdu_loop(vq->d), &vq->irq_lfd, fd, EPOLLIN | EPOLLET,
				       irq_ready);
	if (ret)
		vdpa_fd_close(&fd);
	else
		vq->d->ep->nkicks++;
	return ret;
}

void vdu_rfc3_disconnected(struct vdu_dev *d)
{
	if (d->profile != &vdu_rfc3)
		return;
	d->maps_new = false;
	for (uint32_t i = 0; i < d->nvqs; i++)
		irq_clear(&d->vq[i]);
	/* In the middle of a step: the next one would be asked for what this one was told. */
	if (d->engine_busy)
		vdu_stop_alone(d);
}

/* ---- ioctls ---- */

int vdu_rfc3_ioctl(struct vdu_conn *c, struct vdu_call *call)
{
	switch (call->ioctl->cmd) {
	case VDUSE_RFC3_IOTLB_GET_FD:
		return get_fd(c->dev, call);
	case VDUSE_RFC3_VQ_SETUP_KICKFD:
		return vdu_setup_eventfd(c->dev, call, vdu_set_kickfd);
	case VDUSE_RFC3_VQ_SETUP_IRQFD:
		return vdu_setup_eventfd(c->dev, call, set_irqfd);
	default:
		return -ENOTTY;
	}
}
