// SPDX-License-Identifier: BSD-3-Clause
/*
 * The common configuration (virtio 1.3, section 4.1.4.3), by table: a write is one of a register's
 * width at its place, or it is none. Each register's function runs under the lock and says what is
 * to follow.
 *
 * What a register may be: section 4.1.4.3.1, and for the status 2.1 and 3.1. A driver may only add
 * bits to the status; FEATURES_OK is the device's to grant.
 */
#include <endian.h>
#include <string.h>

#include "driver/virtio_pci/virtio_pci.h"

#define QUEUE_RESET 58u /* offset of queue_reset */

enum follows { NOTHING, WAKE, NEGOTIATE };

/* ---- reading ---- */

static struct vpci_vq *selected(struct vpci *d)
{
	return d->regs.queue_select < d->vdev->nvqs ? &d->vq[d->regs.queue_select] : NULL;
}

static void put(uint8_t *at, uint64_t value, unsigned bytes)
{
	value = htole64(value);
	memcpy(at, &value, bytes);
}

static uint8_t status(const struct vpci_regs *regs)
{
	uint8_t s = regs->resetting ? regs->old_status : regs->status;

	return regs->needs_reset ? s | VIRTIO_CONFIG_S_NEEDS_RESET : s;
}

static uint32_t feature_word(const struct vpci *d, uint32_t select)
{
	return select < VPCI_FEATURE_WORDS ? (uint32_t)(d->offered[select / 2] >> select % 2 * 32)
					   : 0;
}

static void image_queue(struct vpci *d, uint8_t *to)
{
	const struct vpci_vq *q = selected(d);

	if (!q) {
		put(to + VIRTIO_PCI_COMMON_Q_MSIX, VPCI_NO_VECTOR, 2);
		return;
	}
	put(to + VIRTIO_PCI_COMMON_Q_SIZE, q->size, 2);
	put(to + VIRTIO_PCI_COMMON_Q_MSIX, atomic_load(&q->vector), 2);
	put(to + VIRTIO_PCI_COMMON_Q_ENABLE, q->enabled, 2);
	put(to + VIRTIO_PCI_COMMON_Q_NOFF, q->idx, 2);
	for (unsigned i = 0; i < 3; i++)
		put(to + VIRTIO_PCI_COMMON_Q_DESCLO + 8 * i, q->addr[i], 8);
	put(to + QUEUE_RESET, q->resetting, 2);
}

static void image(struct vpci *d, uint8_t to[VPCI_COMMON_BYTES])
{
	const struct vpci_regs *regs = &d->regs;

	memset(to, 0, VPCI_COMMON_BYTES);
	put(to + VIRTIO_PCI_COMMON_DFSELECT, regs->device_select, 4);
	put(to + VIRTIO_PCI_COMMON_DF, feature_word(d, regs->device_select), 4);
	put(to + VIRTIO_PCI_COMMON_GFSELECT, regs->driver_select, 4);
	if (regs->driver_select < VPCI_FEATURE_WORDS)
		put(to + VIRTIO_PCI_COMMON_GF, regs->features[regs->driver_select], 4);
	put(to + VIRTIO_PCI_COMMON_MSIX, atomic_load(&d->config_vector), 2);
	put(to + VIRTIO_PCI_COMMON_NUMQ, d->vdev->nvqs < 0xffff ? d->vdev->nvqs : 0xffff, 2);
	to[VIRTIO_PCI_COMMON_STATUS] = status(regs);
	to[VIRTIO_PCI_COMMON_CFGGENERATION] = (uint8_t)regs->generation;
	put(to + VIRTIO_PCI_COMMON_Q_SELECT, regs->queue_select, 2);
	image_queue(d, to);
}

void vpci_common_read(struct vpci *d, unsigned off, void *buf, unsigned len)
{
	uint8_t bytes[VPCI_COMMON_BYTES];

	if (off >= VPCI_COMMON_BYTES)
		return;
	pthread_mutex_lock(&d->lock);
	image(d, bytes);
	pthread_mutex_unlock(&d->lock);
	memcpy(buf, bytes + off, len < VPCI_COMMON_BYTES - off ? len : VPCI_COMMON_BYTES - off);
}

/* ---- the device's registers ---- */

static enum follows set_device_select(struct vpci *d, uint32_t value)
{
	d->regs.device_select = value;
	return NOTHING;
}

static enum follows set_driver_select(struct vpci *d, uint32_t value)
{
	d->regs.driver_select = value;
	return NOTHING;
}

static enum follows set_features(struct vpci *d, uint32_t value)
{
	if (d->regs.driver_select < VPCI_FEATURE_WORDS &&
	    !(d->regs.status & VIRTIO_CONFIG_S_FEATURES_OK))
		d->regs.features[d->regs.driver_select] = value;
	return NOTHING;
}

/* A vector that does not exist cannot be had (section 4.1.5.1.2.1). */
static uint16_t vector(const struct vpci *d, uint32_t value)
{
	return value < d->layout.vectors ? (uint16_t)value : VPCI_NO_VECTOR;
}

static enum follows set_config_vector(struct vpci *d, uint32_t value)
{
	atomic_store(&d->config_vector, vector(d, value));
	return NOTHING;
}

static enum follows set_queue_select(struct vpci *d, uint32_t value)
{
	d->regs.queue_select = (uint16_t)value;
	return NOTHING;
}

void vpci_regs_init(struct vpci *d)
{
	struct vpci_regs *regs = &d->regs;

	regs->device_select = regs->driver_select = 0;
	memset(regs->features, 0, sizeof(regs->features));
	regs->queue_select = 0;
	regs->status = 0;
	atomic_store(&d->config_vector, VPCI_NO_VECTOR);
	for (uint32_t i = 0; i < d->vdev->nvqs; i++) {
		struct vpci_vq *q = &d->vq[i];

		q->size = q->max;
		memset(q->addr, 0, sizeof(q->addr));
		q->enabled = q->start_wanted = q->reset_wanted = q->resetting = false;
		atomic_store(&q->vector, VPCI_NO_VECTOR);
	}
}

/* Under the lock. A device that knows nothing of its driver is as new as it was. */
static enum follows reset(struct vpci *d)
{
	uint8_t was = status(&d->regs);

	vpci_regs_init(d);
	d->wish.start = d->wish.queues = false;
	if (!d->regs.used && !d->regs.needs_reset)
		return NOTHING;
	d->regs.old_status = was | VIRTIO_CONFIG_S_ACKNOWLEDGE;
	d->regs.resetting = d->wish.reset = true;
	d->regs.used = false;
	return WAKE;
}

void vpci_regs_reset(struct vpci *d)
{
	enum follows follows;

	pthread_mutex_lock(&d->lock);
	follows = reset(d);
	pthread_mutex_unlock(&d->lock);
	vpci_isr_take(d);
	if (follows == WAKE)
		vpci_wake(d);
}

static enum follows set_status(struct vpci *d, uint32_t value)
{
	const uint8_t late = VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK;
	struct vpci_regs *regs = &d->regs;
	uint8_t added = (uint8_t)value & (uint8_t)~regs->status;

	if (!value)
		return reset(d);
	regs->status |= added & (uint8_t) ~(late | VIRTIO_CONFIG_S_NEEDS_RESET);
	if (added & VIRTIO_CONFIG_S_FEATURES_OK) {
		regs->used = true;
		return NEGOTIATE;
	}
	if (!(added & VIRTIO_CONFIG_S_DRIVER_OK) || !(regs->status & VIRTIO_CONFIG_S_FEATURES_OK))
		return NOTHING;
	regs->status |= VIRTIO_CONFIG_S_DRIVER_OK;
	d->wish.start = true;
	return WAKE;
}

/* ---- the selected queue's ---- */

static enum follows set_queue_size(struct vpci *d, uint32_t value)
{
	struct vpci_vq *q = selected(d);

	if (q && !q->enabled && value && value <= q->max)
		q->size = (uint16_t)value;
	return NOTHING;
}

static enum follows set_queue_vector(struct vpci *d, uint32_t value)
{
	struct vpci_vq *q = selected(d);

	if (q)
		atomic_store(&q->vector, vector(d, value));
	return NOTHING;
}

/* Before DRIVER_OK it only says so; after it, it starts (after a reset of the queue). */
static enum follows set_queue_enable(struct vpci *d, uint32_t value)
{
	struct vpci_vq *q = selected(d);

	if (!q || value != 1 || q->enabled || q->resetting)
		return NOTHING;
	q->enabled = q->start_wanted = true;
	if (!(d->regs.status & VIRTIO_CONFIG_S_DRIVER_OK))
		return NOTHING;
	d->wish.queues = true;
	return WAKE;
}

/* Section 2.6.1. */
static enum follows set_queue_reset(struct vpci *d, uint32_t value)
{
	struct vpci_vq *q = selected(d);

	if (!q || value != 1 || !q->enabled || q->resetting || !vpci_has(d, VIRTIO_F_RING_RESET))
		return NOTHING;
	q->resetting = q->reset_wanted = true;
	q->start_wanted = false;
	d->wish.queues = true;
	return WAKE;
}

static enum follows set_address(struct vpci *d, unsigned half, uint32_t value)
{
	struct vpci_vq *q = selected(d);
	unsigned shift = half % 2 * 32;

	if (!q || q->enabled)
		return NOTHING;
	q->addr[half / 2] &= ~((uint64_t)UINT32_MAX << shift);
	q->addr[half / 2] |= (uint64_t)value << shift;
	return NOTHING;
}

/* ---- writing ---- */

static const struct reg {
	unsigned off, bytes;
	enum follows (*set)(struct vpci *d, uint32_t value);
} table[] = {
	{VIRTIO_PCI_COMMON_DFSELECT, 4, set_device_select},
	{VIRTIO_PCI_COMMON_GFSELECT, 4, set_driver_select},
	{VIRTIO_PCI_COMMON_GF, 4, set_features},
	{VIRTIO_PCI_COMMON_MSIX, 2, set_config_vector},
	{VIRTIO_PCI_COMMON_STATUS, 1, set_status},
	{VIRTIO_PCI_COMMON_Q_SELECT, 2, set_queue_select},
	{VIRTIO_PCI_COMMON_Q_SIZE, 2, set_queue_size},
	{VIRTIO_PCI_COMMON_Q_MSIX, 2, set_queue_vector},
	{VIRTIO_PCI_COMMON_Q_ENABLE, 2, set_queue_enable},
	{QUEUE_RESET, 2, set_queue_reset},
};

static uint64_t value_of(const void *buf, unsigned len)
{
	uint64_t value = 0;

	memcpy(&value, buf, len);
	return le64toh(value);
}

/* Fields of 64 bits are written whole, or by halves (section 4.1.3.1). */
static enum follows write_addresses(struct vpci *d, unsigned off, const void *buf, unsigned len)
{
	unsigned half = (off - VIRTIO_PCI_COMMON_Q_DESCLO) / 4;
	uint64_t value;

	if (off % 4 || (len != 4 && (len != 8 || off % 8)))
		return NOTHING;
	value = value_of(buf, len);
	set_address(d, half, (uint32_t)value);
	if (len == 8)
		set_address(d, half + 1, (uint32_t)(value >> 32));
	return NOTHING;
}

static enum follows write_one(struct vpci *d, unsigned off, const void *buf, unsigned len)
{
	if (off >= VIRTIO_PCI_COMMON_Q_DESCLO && off < VIRTIO_PCI_COMMON_Q_USEDHI + 4)
		return write_addresses(d, off, buf, len);
	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (table[i].off == off && table[i].bytes == len)
			return table[i].set(d, (uint32_t)value_of(buf, len));
	}
	return NOTHING;
}

int vpci_common_write(struct vpci *d, unsigned off, const void *buf, unsigned len,
		      const struct vdpa_done *done)
{
	struct vpci_op op = {.run = vpci_negotiate, .done = *done, .now = true};
	enum follows follows;

	pthread_mutex_lock(&d->lock);
	follows = write_one(d, off, buf, len);
	pthread_mutex_unlock(&d->lock);
	if (follows == NEGOTIATE) {
		memcpy(&op.status, buf, 1);
		vpci_op_post(d, &op);
		return 0;
	}
	if (off == VIRTIO_PCI_COMMON_STATUS && len == 1 && !*(const uint8_t *)buf)
		vpci_isr_take(d);
	if (follows == WAKE)
		vpci_wake(d);
	vdpa_done_call(done, 0);
	return 0;
}

/* ---- interrupt status (section 4.1.4.5) ---- */

uint8_t vpci_isr_take(struct vpci *d)
{
	uint8_t isr = atomic_exchange(&d->isr, 0);

	pci_intx(d->pci, false);
	/* Set again in between: its rise may have come before this fall. */
	if (atomic_load(&d->isr))
		pci_intx(d->pci, true);
	return isr;
}
