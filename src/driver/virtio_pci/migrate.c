// SPDX-License-Identifier: BSD-3-Clause
/*
 * States of migration. A device that is stopped is suspended: nothing is in flight. What is saved
 * is the registers, the PCI function, and the device's own state with where each queue stands; all
 * numbers little endian.
 *
 * Who attacks: who made the state that is loaded. It is checked before anything of it is used; the
 * device checks its own part, and src/pci its.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "driver/virtio_pci/virtio_pci.h"

#define MAGIC 0x50565655u /* "UVVP" */
#define VERSION 1u
#define STATE_MAX (16u << 20)

struct saved_head {
	uint32_t magic;
	uint16_t version, vq_bytes;
	uint32_t device_id, nvqs, pci_bytes, own_bytes;
	uint32_t device_select, driver_select, features[VPCI_FEATURE_WORDS];
	uint16_t queue_select, config_vector;
	uint8_t status, isr, reserved[2];
};

struct saved_vq {
	uint64_t addr[3];
	uint16_t size, vector;
	uint8_t enabled, reserved[3];
};

_Static_assert(sizeof(struct saved_head) == 56, "no holes");
_Static_assert(sizeof(struct saved_vq) == 32, "no holes");

void vpci_mig_free(struct vpci *d)
{
	free(d->state);
	d->state = NULL;
	d->state_bytes = d->state_at = 0;
}

/* ---- save ---- */

static size_t fixed_bytes(const struct vpci *d)
{
	return sizeof(struct saved_head) + d->vdev->nvqs * sizeof(struct saved_vq) +
	       pci_state_size(d->pci);
}

static void save_head(struct vpci *d, struct saved_head *h, size_t own)
{
	const struct vpci_regs *regs = &d->regs;

	*h = (struct saved_head){
		.magic = htole32(MAGIC),
		.version = htole16(VERSION),
		.vq_bytes = htole16(sizeof(struct saved_vq)),
		.device_id = htole32(vdpa_get_device_id(d->vdev)),
		.nvqs = htole32(d->vdev->nvqs),
		.pci_bytes = htole32((uint32_t)pci_state_size(d->pci)),
		.own_bytes = htole32((uint32_t)own),
		.device_select = htole32(regs->device_select),
		.driver_select = htole32(regs->driver_select),
		.queue_select = htole16(regs->queue_select),
		.config_vector = htole16(atomic_load(&d->config_vector)),
		.status = regs->status,
		.isr = atomic_load(&d->isr),
	};
	for (unsigned i = 0; i < VPCI_FEATURE_WORDS; i++)
		h->features[i] = htole32(regs->features[i]);
}

static void save_vq(const struct vpci_vq *q, uint8_t *to)
{
	struct saved_vq s = {
		.size = htole16(q->size),
		.vector = htole16(atomic_load(&q->vector)),
		.enabled = q->enabled,
	};

	for (unsigned i = 0; i < 3; i++)
		s.addr[i] = htole64(q->addr[i]);
	memcpy(to, &s, sizeof(s));
}

/* What the window into the BAR showed last is nothing of the function's. */
static void clear_window(struct vpci *d)
{
	pci_set32(d->pci, d->layout.pci_cfg + (unsigned)sizeof(struct virtio_pci_cap), 0);
}

static void save_ours(struct vpci *d, size_t own)
{
	uint8_t *to = d->state + sizeof(struct saved_head);
	struct saved_head h;

	pthread_mutex_lock(&d->lock);
	save_head(d, &h, own);
	for (uint32_t i = 0; i < d->vdev->nvqs; i++, to += sizeof(struct saved_vq))
		save_vq(&d->vq[i], to);
	pthread_mutex_unlock(&d->lock);
	memcpy(d->state, &h, sizeof(h));
	clear_window(d);
	pci_save(d->pci, to);
}

static int save(struct vpci *d)
{
	size_t fixed = fixed_bytes(d), own = 0;
	int r = vdpa_save_state(d->vdev, NULL, &own);

	/* One that was not fetched, before a reset. */
	vpci_mig_free(d);
	if (r && r != -ENOSPC)
		return r;
	d->state = malloc(fixed + own);
	if (!d->state)
		return -ENOMEM;
	r = vdpa_save_state(d->vdev, d->state + fixed, &own);
	if (r) {
		vpci_mig_free(d);
		return r;
	}
	save_ours(d, own);
	d->state_bytes = fixed + own;
	return 0;
}

/* ---- load ---- */

static int check_head(const struct vpci *d, const struct saved_head *h)
{
	const uint8_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
			       VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK |
			       VIRTIO_CONFIG_S_FAILED;

	if (le32toh(h->magic) != MAGIC || le16toh(h->version) != VERSION ||
	    le16toh(h->vq_bytes) != sizeof(struct saved_vq) ||
	    le32toh(h->device_id) != vdpa_get_device_id(d->vdev) ||
	    le32toh(h->nvqs) != d->vdev->nvqs || le32toh(h->pci_bytes) != pci_state_size(d->pci) ||
	    h->status & ~status)
		return -EINVAL;
	return le32toh(h->own_bytes) == d->state_bytes - fixed_bytes(d) ? 0 : -EINVAL;
}

static bool vector_ok(const struct vpci *d, uint16_t vector)
{
	return vector == VPCI_NO_VECTOR || vector < d->layout.vectors;
}

static int check_vq(const struct vpci_vq *q, const struct saved_vq *s)
{
	if (le16toh(s->size) > q->max || s->enabled > 1 || !vector_ok(q->d, le16toh(s->vector)))
		return -EINVAL;
	return 0;
}

static int check(const struct vpci *d, struct saved_head *h, const uint8_t *vqs)
{
	struct saved_vq s;
	int r;

	if (d->state_bytes < fixed_bytes(d))
		return -EINVAL;
	memcpy(h, d->state, sizeof(*h));
	r = check_head(d, h);
	if (!r && !vector_ok(d, le16toh(h->config_vector)))
		r = -EINVAL;
	for (uint32_t i = 0; i < d->vdev->nvqs && !r; i++) {
		memcpy(&s, vqs + i * sizeof(s), sizeof(s));
		r = check_vq(&d->vq[i], &s);
	}
	return r;
}

static void load_vq(struct vpci_vq *q, const uint8_t *from, bool running)
{
	struct saved_vq s;

	memcpy(&s, from, sizeof(s));
	q->size = le16toh(s.size);
	q->enabled = s.enabled;
	q->start_wanted = s.enabled && !running;
	q->reset_wanted = q->resetting = false;
	for (unsigned i = 0; i < 3; i++)
		q->addr[i] = le64toh(s.addr[i]);
	atomic_store(&q->vector, le16toh(s.vector));
}

static void load_regs(struct vpci *d, const struct saved_head *h, const uint8_t *vqs)
{
	struct vpci_regs *regs = &d->regs;

	pthread_mutex_lock(&d->lock);
	regs->device_select = le32toh(h->device_select);
	regs->driver_select = le32toh(h->driver_select);
	for (unsigned i = 0; i < VPCI_FEATURE_WORDS; i++)
		regs->features[i] = le32toh(h->features[i]);
	regs->queue_select = le16toh(h->queue_select);
	regs->status = h->status;
	regs->used = true;
	atomic_store(&d->config_vector, le16toh(h->config_vector));
	atomic_store(&d->isr, h->isr & (VPCI_ISR_QUEUE | VIRTIO_PCI_ISR_CONFIG));
	for (uint32_t i = 0; i < d->vdev->nvqs; i++)
		load_vq(&d->vq[i], vqs + i * sizeof(struct saved_vq),
			h->status & VIRTIO_CONFIG_S_DRIVER_OK);
	pthread_mutex_unlock(&d->lock);
}

/* The device has its queues already, and does nothing with them before it is resumed. */
static int wire(struct vpci *d)
{
	int r = 0;

	d->started = d->regs.status & VIRTIO_CONFIG_S_DRIVER_OK;
	for (uint32_t i = 0; i < d->vdev->nvqs && d->started && !r; i++) {
		if (d->vq[i].enabled)
			r = vpci_vq_wire(&d->vq[i]);
	}
	return r;
}

static int load(struct vpci *d)
{
	const uint8_t *vqs = d->state + sizeof(struct saved_head);
	const uint8_t *pci = vqs + d->vdev->nvqs * sizeof(struct saved_vq);
	size_t fixed = fixed_bytes(d), pci_bytes = pci_state_size(d->pci);
	struct vdpa_error err = {0};
	struct saved_head h;
	int r = check(d, &h, vqs);

	if (r) {
		vpci_log(d, VDPA_LOG_WARN, "virtio-pci: this is not a state of this device");
		return r;
	}
	r = vdpa_load_state(d->vdev, d->state + fixed, d->state_bytes - fixed, &err);
	if (r) {
		vpci_log(d, VDPA_LOG_WARN, "virtio-pci: the state is refused: %s", err.msg);
		return r;
	}
	d->loaded = true;
	load_regs(d, &h, vqs);
	clear_window(d);
	r = pci_load(d->pci, pci, pci_bytes);
	if (!r)
		r = wire(d);
	vpci_look(d);
	return r;
}

/* ---- arcs ---- */

static int resume(struct vpci *d)
{
	/* What was loaded is suspended whatever its status is. */
	int r = d->loaded ? vdpa_resume(d->vdev) : vhost_vdpa_resume(d->v);

	d->loaded = false;
	return r;
}

static int run_arc(struct vpci *d, struct vpci_op *op)
{
	struct vdpa_done done = vpci_op_done(d);
	int r = 0;

	if (!d->open)
		return -EIO;
	if (op->from == VFIO_USER_MIG_RUNNING)
		return vhost_vdpa_suspend(d->v, &done);
	if (op->to == VFIO_USER_MIG_RUNNING)
		r = resume(d);
	else if (op->to == VFIO_USER_MIG_STOP_COPY)
		r = save(d);
	else if (op->from == VFIO_USER_MIG_RESUMING)
		r = load(d);
	if (op->to != VFIO_USER_MIG_STOP_COPY && !r)
		vpci_mig_free(d);
	return r ? r : VPCI_OVER;
}

int vpci_mig_arc(void *arg, enum vfio_user_mig_state from, enum vfio_user_mig_state to,
		 const struct vdpa_done *done)
{
	const struct vpci_op op = {.run = run_arc, .done = *done, .from = from, .to = to};

	vpci_op_post(arg, &op);
	return 0;
}

ssize_t vpci_mig_read(void *arg, void *buf, size_t len)
{
	struct vpci *d = arg;
	size_t left = d->state_bytes - d->state_at, n = len < left ? len : left;

	if (n)
		memcpy(buf, d->state + d->state_at, n);
	d->state_at += n;
	return (ssize_t)n;
}

int vpci_mig_write(void *arg, const void *buf, size_t len)
{
	struct vpci *d = arg;
	uint8_t *more;

	if (len > STATE_MAX - d->state_bytes)
		return -ENOSPC;
	if (!len)
		return 0;
	more = realloc(d->state, d->state_bytes + len);
	if (!more)
		return -ENOMEM;
	memcpy(more + d->state_bytes, buf, len);
	d->state = more;
	d->state_bytes += len;
	return 0;
}
