// SPDX-License-Identifier: BSD-3-Clause
#include "pci_front.h"
#include "../patience.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <linux/virtio_pci.h>

#include "base/fd.h"

#define SERVE_NS 200000ull
#define QUEUES_MAX 16u
#define QUEUE_RESET 58u

struct front_vq {
	struct virtio_vq *vq; /* NULL: not set up */
	struct vdpa_loop_fd watch;
	int call, kick; /* kick: -1: a message */
	uint16_t notify_off;
};

struct front {
	struct virtio_device vd;
	struct vfio_user_client *c;
	struct pci_front_layout at;
	bool by_message, intx, post;
	unsigned nvqs;
	struct front_vq vqs[QUEUES_MAX];
	struct vdpa_loop_fd config_watch; /* or that of the line */
	int config_call;
	struct vdpa_loop_timer timer;
};

static struct front *to_front(struct virtio_device *dev)
{
	return vdpa_container_of(dev, struct front, vd);
}

/* ---- capabilities (virtio 1.3, section 4.1.4) ---- */

static int read_config(struct vfio_user_client *c, unsigned off, void *buf, size_t len)
{
	return vfio_user_region_read(c, VFIO_PCI_CONFIG_REGION_INDEX, off, buf, len);
}

static int structure(struct vfio_user_client *c, unsigned at, struct pci_front_layout *l)
{
	struct virtio_pci_notify_cap cap;
	int r = read_config(c, at, &cap, sizeof(cap));

	if (r)
		return r;
	switch (cap.cap.cfg_type) {
	case VIRTIO_PCI_CAP_COMMON_CFG:
		l->bar = cap.cap.bar;
		l->common = cap.cap.offset;
		break;
	case VIRTIO_PCI_CAP_NOTIFY_CFG:
		l->notify = cap.cap.offset;
		l->multiplier = cap.notify_off_multiplier;
		break;
	case VIRTIO_PCI_CAP_ISR_CFG:
		l->isr = cap.cap.offset;
		break;
	case VIRTIO_PCI_CAP_DEVICE_CFG:
		l->device = cap.cap.offset;
		l->device_bytes = cap.cap.length;
		break;
	case VIRTIO_PCI_CAP_PCI_CFG:
		l->pci_cfg = at;
		break;
	}
	return 0;
}

int pci_front_find(struct vfio_user_client *c, struct pci_front_layout *l)
{
	uint8_t head[2], at;
	uint16_t flags;
	int r = read_config(c, PCI_CAPABILITY_LIST, &at, 1);

	memset(l, 0, sizeof(*l));
	for (unsigned n = 0; !r && at && n < 48; n++, at = head[1]) {
		r = read_config(c, at, head, 2);
		if (!r && head[0] == PCI_CAP_ID_VNDR)
			r = structure(c, at, l);
		if (r || head[0] != PCI_CAP_ID_MSIX)
			continue;
		l->msix = at;
		r = read_config(c, at + PCI_MSIX_FLAGS, &flags, 2);
		l->vectors = (flags & PCI_MSIX_FLAGS_QSIZE) + 1u;
	}
	return r ? r : l->notify && l->isr && l->device ? 0 : -ENODEV;
}

/* ---- registers ---- */

static uint64_t get(struct front *f, unsigned off, unsigned bytes)
{
	uint64_t value = 0;

	vfio_user_region_read(f->c, f->at.bar, f->at.common + off, &value, bytes);
	return value;
}

static int put(struct front *f, unsigned off, uint64_t value, unsigned bytes)
{
	return vfio_user_region_write(f->c, f->at.bar, f->at.common + off, &value, bytes);
}

static bool outside(const struct front *f, unsigned offset, unsigned len)
{
	return !len || offset >= f->at.device_bytes || len > f->at.device_bytes - offset;
}

static int front_get(struct virtio_device *dev, unsigned offset, void *buf, unsigned len)
{
	struct front *f = to_front(dev);

	if (outside(f, offset, len))
		return -EINVAL;
	return vfio_user_region_read(f->c, f->at.bar, f->at.device + offset, buf, len);
}

static int front_set(struct virtio_device *dev, unsigned offset, const void *buf, unsigned len)
{
	struct front *f = to_front(dev);

	if (outside(f, offset, len))
		return -EINVAL;
	return vfio_user_region_write(f->c, f->at.bar, f->at.device + offset, buf, len);
}

static uint32_t front_generation(struct virtio_device *dev)
{
	return (uint32_t)get(to_front(dev), VIRTIO_PCI_COMMON_CFGGENERATION, 1);
}

static uint8_t front_get_status(struct virtio_device *dev)
{
	return (uint8_t)get(to_front(dev), VIRTIO_PCI_COMMON_STATUS, 1);
}

static int front_set_status(struct virtio_device *dev, uint8_t status)
{
	return put(to_front(dev), VIRTIO_PCI_COMMON_STATUS, status, 1);
}

/* Until the register is 0, as a driver does it; the device may need our memory meanwhile. */
static int until_zero(struct front *f, unsigned off, unsigned bytes)
{
	uint64_t end = vdpa_clock_ns() + PATIENCE_NS;

	while (get(f, off, bytes)) {
		if (vdpa_clock_ns() > end)
			return -ETIMEDOUT;
		vfio_user_client_serve(f->c, SERVE_NS);
	}
	return 0;
}

/* It is masked by being told. */
static void unmask_line(struct front *f)
{
	const struct vfio_user_irq_set unmask = {
		.flags = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK,
		.index = VFIO_PCI_INTX_IRQ_INDEX,
		.count = 1,
	};

	vfio_user_set_irqs(f->c, &unmask);
}

static int front_reset(struct virtio_device *dev, const struct vdpa_done *done)
{
	struct front *f = to_front(dev);
	int r = put(f, VIRTIO_PCI_COMMON_STATUS, 0, 1);

	if (!r)
		r = until_zero(f, VIRTIO_PCI_COMMON_STATUS, 1);
	for (unsigned i = 0; i < f->nvqs && f->vqs[i].call >= 0; i++)
		vdpa_eventfd_drain(f->vqs[i].call);
	if (f->config_call >= 0)
		vdpa_eventfd_drain(f->config_call);
	if (f->intx)
		unmask_line(f);
	vdpa_done_call(done, r);
	return 0;
}

static uint64_t front_get_features(struct virtio_device *dev)
{
	struct front *f = to_front(dev);
	uint64_t features;

	put(f, VIRTIO_PCI_COMMON_DFSELECT, 0, 4);
	features = get(f, VIRTIO_PCI_COMMON_DF, 4);
	put(f, VIRTIO_PCI_COMMON_DFSELECT, 1, 4);
	return features | get(f, VIRTIO_PCI_COMMON_DF, 4) << 32;
}

static int front_finalize_features(struct virtio_device *dev, struct vdpa_error *err)
{
	struct front *f = to_front(dev);
	int r;

	if (dev->features & ~front_get_features(dev))
		return -EINVAL;
	r = put(f, VIRTIO_PCI_COMMON_GFSELECT, 0, 4);
	if (!r)
		r = put(f, VIRTIO_PCI_COMMON_GF, (uint32_t)dev->features, 4);
	if (!r)
		r = put(f, VIRTIO_PCI_COMMON_GFSELECT, 1, 4);
	if (!r)
		r = put(f, VIRTIO_PCI_COMMON_GF, dev->features >> 32, 4);
	return r;
}

/* ---- interrupts ---- */

static void vq_called(struct vdpa_loop_fd *lfd, uint32_t revents)
{
	struct front_vq *q = vdpa_container_of(lfd, struct front_vq, watch);

	vdpa_eventfd_drain(lfd->fd);
	if (q->vq)
		virtio_vq_interrupt(q->vq);
}

static void config_called(struct vdpa_loop_fd *lfd, uint32_t revents)
{
	struct front *f = vdpa_container_of(lfd, struct front, config_watch);

	vdpa_eventfd_drain(lfd->fd);
	virtio_config_changed(&f->vd);
}

static void line_rose(struct vdpa_loop_fd *lfd, uint32_t revents)
{
	struct front *f = vdpa_container_of(lfd, struct front, config_watch);
	uint8_t isr = 0;

	vdpa_eventfd_drain(lfd->fd);
	vfio_user_region_read(f->c, f->at.bar, f->at.isr, &isr, 1);
	if (isr & VIRTIO_PCI_ISR_CONFIG)
		virtio_config_changed(&f->vd);
	for (unsigned i = 0; isr & 1 && i < f->nvqs; i++)
		if (f->vqs[i].vq)
			virtio_vq_interrupt(f->vqs[i].vq);
	unmask_line(f);
}

static int ask_irq(struct front *f, unsigned index, unsigned sub, int fd)
{
	const struct vfio_user_irq_set set = {
		.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
		.index = index,
		.start = sub,
		.count = 1,
		.data = &fd,
	};

	return vfio_user_set_irqs(f->c, &set);
}

static int interrupts(struct front *f)
{
	struct vdpa_loop *control = vdpa_ctx_control(f->vd.ctx);
	uint16_t flags = PCI_MSIX_FLAGS_ENABLE;
	uint16_t command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	int r;

	f->config_call = vdpa_eventfd_new();
	r = vdpa_loop_fd_add(control, &f->config_watch, f->config_call, EPOLLIN,
			     f->intx ? line_rose : config_called);
	if (!r)
		r = ask_irq(f, f->intx ? VFIO_PCI_INTX_IRQ_INDEX : VFIO_PCI_MSIX_IRQ_INDEX, 0,
			    f->config_call);
	for (unsigned i = 0; i < f->nvqs && !r && !f->intx; i++) {
		f->vqs[i].call = vdpa_eventfd_new();
		r = ask_irq(f, VFIO_PCI_MSIX_IRQ_INDEX, i + 1, f->vqs[i].call);
	}
	if (!r)
		r = vfio_user_region_write(f->c, VFIO_PCI_CONFIG_REGION_INDEX, PCI_COMMAND,
					   &command, 2);
	if (!r && !f->intx)
		r = vfio_user_region_write(f->c, VFIO_PCI_CONFIG_REGION_INDEX,
					   f->at.msix + PCI_MSIX_FLAGS, &flags, 2);
	return r;
}

/* ---- queues ---- */

static unsigned front_num_vqs(struct virtio_device *dev)
{
	return to_front(dev)->nvqs;
}

static void select_vq(struct front *f, uint16_t index)
{
	put(f, VIRTIO_PCI_COMMON_Q_SELECT, index, 2);
}

static uint32_t front_vq_num_max(struct virtio_device *dev, uint16_t index)
{
	struct front *f = to_front(dev);

	select_vq(f, index);
	return (uint32_t)get(f, VIRTIO_PCI_COMMON_Q_SIZE, 2);
}

static int front_setup_vq(struct virtio_device *dev, struct virtio_vq *vq, struct vdpa_error *err)
{
	struct front *f = to_front(dev);
	struct front_vq *q = &f->vqs[vq->index];
	iova_t addr[3];
	int r;

	virtqueue_addrs(vq->ring, &addr[0], &addr[1], &addr[2]);
	select_vq(f, vq->index);
	put(f, VIRTIO_PCI_COMMON_Q_SIZE, vq->num, 2);
	if (!f->intx) {
		put(f, VIRTIO_PCI_COMMON_MSIX, 0, 2);
		put(f, VIRTIO_PCI_COMMON_Q_MSIX, vq->callback ? vq->index + 1u : 0xffffu, 2);
	}
	for (unsigned i = 0; i < 3; i++) {
		/* By halves and whole, in turn. */
		if (vq->index % 2) {
			put(f, VIRTIO_PCI_COMMON_Q_DESCLO + 8 * i, addr[i], 8);
			continue;
		}
		put(f, VIRTIO_PCI_COMMON_Q_DESCLO + 8 * i, (uint32_t)addr[i], 4);
		put(f, VIRTIO_PCI_COMMON_Q_DESCHI + 8 * i, addr[i] >> 32, 4);
	}
	q->notify_off = (uint16_t)get(f, VIRTIO_PCI_COMMON_Q_NOFF, 2);
	r = put(f, VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
	if (!r && get(f, VIRTIO_PCI_COMMON_Q_ENABLE, 2) != 1)
		r = -EIO;
	q->vq = r ? NULL : vq;
	if (!r && !f->intx && !q->watch.loop)
		r = vdpa_loop_fd_add(vdpa_ctx_control(dev->ctx), &q->watch, q->call, EPOLLIN,
				     vq_called);
	return r ? vdpa_error_set(err, -r, dev->name, "queue %u: %s", vq->index, strerror(-r)) : 0;
}

static void front_del_vq(struct virtio_device *dev, struct virtio_vq *vq)
{
	struct front_vq *q = &to_front(dev)->vqs[vq->index];

	vdpa_loop_fd_del(&q->watch);
	q->vq = NULL;
}

static bool front_vq_ready(struct virtio_device *dev, uint16_t index)
{
	struct front *f = to_front(dev);

	select_vq(f, index);
	return get(f, VIRTIO_PCI_COMMON_Q_ENABLE, 2);
}

static int front_reset_vq(struct virtio_device *dev, struct virtio_vq *vq,
			  const struct vdpa_done *done)
{
	struct front *f = to_front(dev);
	int r;

	select_vq(f, vq->index);
	put(f, QUEUE_RESET, 1, 2);
	r = until_zero(f, QUEUE_RESET, 2);
	if (!r && get(f, VIRTIO_PCI_COMMON_Q_ENABLE, 2))
		r = -EIO;
	if (r)
		return r;
	vdpa_done_call(done, 0);
	return 0;
}

static void front_notify(struct virtio_device *dev, struct virtio_vq *vq)
{
	struct front *f = to_front(dev);
	const struct front_vq *q = &f->vqs[vq->index];

	if (q->kick >= 0)
		vdpa_eventfd_signal(q->kick);
	else
		vfio_user_region_post(f->c, f->at.bar,
				      f->at.notify + q->notify_off * f->at.multiplier, &vq->index,
				      2);
}

/* ---- memory ---- */

static struct vdpa_iova_range front_iova_range(struct virtio_device *dev)
{
	return (struct vdpa_iova_range){.first = 0, .last = (1ull << 38) - 1};
}

static int front_map(struct virtio_device *dev, iova_t iova, struct vdpa_region *region)
{
	struct front *f = to_front(dev);
	struct vfio_user_mem mem = {
		.iova = iova,
		.size = (vdpa_region_size(region) + 4095) & ~4095ull,
		.perm = VHOST_MAP_RW,
		.fd = -1,
		.mem = vdpa_region_base(region),
	};

	if (!f->by_message) {
		mem.fd = vdpa_region_fd(region, &mem.offset);
		mem.mem = NULL;
	}
	return vfio_user_dma_map(f->c, &mem);
}

static int front_unmap(struct virtio_device *dev, iova_t iova, struct vdpa_region *region,
		       const struct vdpa_done *done)
{
	uint64_t size = (vdpa_region_size(region) + 4095) & ~4095ull;
	int r = vfio_user_dma_unmap(to_front(dev)->c, iova, size);

	if (!r)
		vdpa_done_call(done, 0);
	return r;
}

static void serve(struct vdpa_loop_timer *timer)
{
	struct front *f = vdpa_container_of(timer, struct front, timer);

	if (vfio_user_client_serve(f->c, 50000) == -EIO) {
		virtio_device_broken(&f->vd, "the server has gone");
		return;
	}
	vdpa_loop_timer_set(vdpa_ctx_control(f->vd.ctx), timer, vdpa_clock_ns() + SERVE_NS, serve);
}

/* ---- birth and end ---- */

static void front_disconnect(struct virtio_device *dev)
{
	struct front *f = to_front(dev);

	vdpa_loop_timer_cancel(&f->timer);
	vdpa_loop_fd_del(&f->config_watch);
	for (unsigned i = 0; i < f->nvqs; i++)
		vdpa_loop_fd_del(&f->vqs[i].watch);
}

static void front_release(struct virtio_device *dev)
{
	struct front *f = to_front(dev);

	vfio_user_client_free(f->c);
	vdpa_fd_close(&f->config_call);
	for (unsigned i = 0; i < QUEUES_MAX; i++) {
		vdpa_fd_close(&f->vqs[i].call);
		vdpa_fd_close(&f->vqs[i].kick);
	}
	free(f);
}

static const struct virtio_config_ops front_ops = {
	.transport = "pci",
	.get = front_get,
	.set = front_set,
	.generation = front_generation,
	.get_status = front_get_status,
	.set_status = front_set_status,
	.reset = front_reset,
	.get_features = front_get_features,
	.finalize_features = front_finalize_features,
	.num_vqs = front_num_vqs,
	.vq_num_max = front_vq_num_max,
	.setup_vq = front_setup_vq,
	.del_vq = front_del_vq,
	.vq_ready = front_vq_ready,
	.reset_vq = front_reset_vq,
	.notify = front_notify,
	.iova_range = front_iova_range,
	.map = front_map,
	.unmap = front_unmap,
	.disconnect = front_disconnect,
	.release = front_release,
};

static void take_ioeventfds(struct front *f)
{
	struct vfio_user_ioeventfd fds[QUEUES_MAX];
	int n = f->post ? 0 : vfio_user_get_ioeventfds(f->c, f->at.bar, fds, QUEUES_MAX);

	for (int i = 0; i < n; i++) {
		unsigned idx = (unsigned)(fds[i].offset - f->at.notify) / f->at.multiplier;

		if (idx < QUEUES_MAX && f->vqs[idx].kick < 0)
			f->vqs[idx].kick = vdpa_fd_take(&fds[i].fd);
		vdpa_fd_close(&fds[i].fd);
	}
}

static int probe(struct front *f, uint32_t *id)
{
	uint16_t command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, ids[2];
	int r = read_config(f->c, 0, ids, sizeof(ids));

	*id = ids[1] - 0x1040u;
	if (!r && ids[0] != 0x1af4)
		r = -ENODEV;
	if (!r)
		r = vfio_user_region_write(f->c, VFIO_PCI_CONFIG_REGION_INDEX, PCI_COMMAND,
					   &command, 2);
	if (!r)
		r = pci_front_find(f->c, &f->at);
	if (r)
		return r;
	f->nvqs = (unsigned)get(f, VIRTIO_PCI_COMMON_NUMQ, 2);
	if (f->nvqs > QUEUES_MAX)
		f->nvqs = QUEUES_MAX;
	take_ioeventfds(f);
	return 0;
}

int pci_front_new(struct vdpa_ctx *ctx, const struct pci_front_config *config,
		  struct virtio_device **out, struct vdpa_error *err)
{
	struct front *f = calloc(1, sizeof(*f));
	uint32_t id = 0;
	int r;

	if (!f)
		return -ENOMEM;
	f->by_message = config->by_message;
	f->intx = config->intx;
	f->post = config->post;
	f->config_call = -1;
	for (unsigned i = 0; i < QUEUES_MAX; i++)
		f->vqs[i].call = f->vqs[i].kick = -1;
	f->vd.ctx = ctx;
	r = vfio_user_client_new(config->path, PATIENCE_NS, &f->c, err);
	if (!r)
		r = probe(f, &id);
	if (!r)
		r = interrupts(f);
	if (r) {
		front_disconnect(&f->vd);
		front_release(&f->vd);
		return r;
	}
	virtio_device_init(&f->vd, ctx, &front_ops, id);
	snprintf(f->vd.bus_name, sizeof(f->vd.bus_name), "vfio-user/%s", config->path);
	if (!config->unserved)
		vdpa_loop_timer_set(vdpa_ctx_control(ctx), &f->timer, vdpa_clock_ns(), serve);
	r = virtio_device_register(&f->vd, config->options, err);
	if (!r)
		*out = &f->vd;
	return r;
}

void pci_front_free(struct virtio_device *dev, const struct vdpa_done *done)
{
	virtio_device_unregister(dev, done);
}

struct vfio_user_client *pci_front_client(struct virtio_device *dev)
{
	return to_front(dev)->c;
}

bool pci_front_has_ioeventfd(struct virtio_device *dev, uint16_t index)
{
	return to_front(dev)->vqs[index].kick >= 0;
}
