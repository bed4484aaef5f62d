// SPDX-License-Identifier: BSD-3-Clause
/*
 * Queues. The kick of each is an eventfd that is given to the client and to the device: a doorbell
 * of a client that uses it reaches the queue's loop and nothing else. A call raises the queue's
 * vector, or, without MSI-X, the line.
 *
 * Who attacks: the guest, by sizes and addresses; the device checks them, and a queue that it does
 * not take makes the device need a reset.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/fd.h"
#include "base/list.h"
#include "driver/virtio_pci/virtio_pci.h"

/* ---- birth and end ---- */

int vpci_vqs_new(struct vpci *d)
{
	int r = 0;

	d->vq = calloc(d->vdev->nvqs ? d->vdev->nvqs : 1, sizeof(*d->vq));
	if (!d->vq)
		return -ENOMEM;
	for (uint32_t i = 0; i < d->vdev->nvqs; i++) {
		struct vpci_vq *q = &d->vq[i];

		q->d = d;
		q->idx = (uint16_t)i;
		q->max = vdpa_get_vq_size(d->vdev, q->idx);
		q->kick = vdpa_eventfd_new();
		if (q->kick < 0)
			r = q->kick;
	}
	return r;
}

void vpci_vqs_free(struct vpci *d)
{
	for (uint32_t i = 0; d->vq && i < d->vdev->nvqs; i++)
		vdpa_fd_close(&d->vq[i].kick);
	free(d->vq);
}

/* ---- interrupts: any thread ---- */

static void raise(struct vpci *d, unsigned vector, uint8_t bit)
{
	if (pci_msi_raise(d->pci, vector))
		return;
	atomic_fetch_or(&d->isr, bit);
	pci_intx(d->pci, true);
}

static void call(void *priv)
{
	struct vpci_vq *q = priv;

	atomic_fetch_add_explicit(&q->calls, 1, memory_order_relaxed);
	raise(q->d, atomic_load(&q->vector), VPCI_ISR_QUEUE);
}

void vpci_config_irq(struct vpci *d)
{
	raise(d, atomic_load(&d->config_vector), VIRTIO_PCI_ISR_CONFIG);
}

/* ---- kicks ---- */

void vpci_kick(struct vpci *d, uint16_t idx)
{
	atomic_fetch_add_explicit(&d->vq[idx].doorbells, 1, memory_order_relaxed);
	vdpa_kick_vq(d->vdev, idx);
}

/* For devices that do not poll it by themselves. */
static void kicked(struct vdpa_loop_fd *lfd, uint32_t revents)
{
	struct vpci_vq *q = vdpa_container_of(lfd, struct vpci_vq, watch);

	vdpa_eventfd_drain(lfd->fd);
	vdpa_kick_vq(q->d->vdev, q->idx);
}

static int wire_kick(struct vpci_vq *q)
{
	int r = vdpa_set_vq_kick(q->d->vdev, q->idx, q->kick);

	if (r != -EOPNOTSUPP)
		return r;
	vdpa_loop_fd_del(&q->watch);
	return vdpa_loop_fd_add(vdpa_ctx_control(q->d->vdev->ctx), &q->watch, q->kick, EPOLLIN,
				kicked);
}

/* ---- start ---- */

int vpci_vq_wire(struct vpci_vq *q)
{
	const struct vdpa_callback cb = {.callback = call, .priv = q, .trigger = -1};
	int r = vdpa_set_vq_cb(q->d->vdev, q->idx, &cb);

	if (!r)
		r = wire_kick(q);
	q->running = !r;
	return r;
}

/* A ring that is new: index 0, both wrap counters 1 where there are such (section 2.8.1). */
static int set_first_state(struct vpci_vq *q, bool packed)
{
	struct vdpa_vq_state state = vdpa_vq_state_from_base(packed ? 0x80008000u : 0, packed);

	return vdpa_set_vq_state(q->d->vdev, q->idx, &state);
}

int vpci_vq_start(struct vpci_vq *q)
{
	struct vdpa_device *vdev = q->d->vdev;
	bool packed = vdpa_get_driver_features(vdev) & VDPA_BIT(VIRTIO_F_RING_PACKED);
	uint64_t addr[3];
	uint16_t size;
	int r = 0;

	pthread_mutex_lock(&q->d->lock);
	/* Reset meanwhile: these are not the addresses that it was enabled with. */
	if (!q->enabled || q->resetting)
		r = -ECANCELED;
	size = q->size;
	memcpy(addr, q->addr, sizeof(addr));
	pthread_mutex_unlock(&q->d->lock);
	if (!r)
		r = vdpa_set_vq_num(vdev, q->idx, size);
	if (!r)
		r = vdpa_set_vq_address(vdev, q->idx, addr[0], addr[1], addr[2]);
	if (!r)
		r = set_first_state(q, packed);
	if (!r)
		r = vpci_vq_wire(q);
	if (!r)
		r = vdpa_set_vq_ready(vdev, q->idx);
	if (r && r != -ECANCELED)
		vpci_log(q->d, VDPA_LOG_ERR, "virtio-pci: queue %u of %u entries: %s", q->idx, size,
			 strerror(-r));
	return r;
}

static void stopped(struct vpci_vq *q)
{
	q->running = false;
	vdpa_loop_fd_del(&q->watch);
}

void vpci_vqs_stopped(struct vpci *d)
{
	for (uint32_t i = 0; i < d->vdev->nvqs; i++)
		stopped(&d->vq[i]);
}

/* ---- wishes of single queues ---- */

static void reset_over(void *arg, int result)
{
	struct vpci *d = arg;
	struct vpci_vq *q = d->resetting_vq;

	d->busy = false;
	d->resetting_vq = NULL;
	stopped(q);
	pthread_mutex_lock(&d->lock);
	/* The device may have been reset meanwhile, and the queue's registers with it. */
	if (q->resetting) {
		q->resetting = q->enabled = false;
		q->size = q->max;
		memset(q->addr, 0, sizeof(q->addr));
		atomic_store(&q->vector, VPCI_NO_VECTOR);
	}
	pthread_mutex_unlock(&d->lock);
	if (result && result != -ECANCELED)
		vpci_broke(d, "a queue could not be reset");
	vpci_work(d);
}

static void reset(struct vpci_vq *q)
{
	struct vpci *d = q->d;
	int r;

	d->busy = true;
	d->resetting_vq = q;
	r = q->running ? vdpa_reset_vq(d->vdev, q->idx, &(struct vdpa_done){reset_over, d}) : 1;
	if (r)
		reset_over(d, r < 0 ? r : 0);
}

bool vpci_vq_wish(struct vpci *d)
{
	struct vpci_vq *q = NULL;
	bool wants_reset = false, wants_start = false;

	pthread_mutex_lock(&d->lock);
	for (uint32_t i = 0; i < d->vdev->nvqs && !wants_reset && !wants_start; i++) {
		q = &d->vq[i];
		wants_reset = q->reset_wanted;
		wants_start = q->start_wanted && d->started;
		q->reset_wanted = false;
		if (wants_start)
			q->start_wanted = false;
	}
	if (!wants_reset && !wants_start)
		d->wish.queues = false;
	pthread_mutex_unlock(&d->lock);
	if (wants_reset)
		reset(q);
	else if (wants_start && !q->running && vpci_vq_start(q))
		vpci_broke(d, "a queue could not be started");
	return wants_reset || wants_start;
}
