// SPDX-License-Identifier: BSD-3-Clause
/*
 * What the client asks for besides registers: memory for the device, its dirty log, resets. Each is
 * one op, which the control loop runs after what the registers wish.
 */
#include <errno.h>

#include "driver/virtio_pci/virtio_pci.h"

/* So long a client's reset waits for requests in flight: those that use the client's memory by
 * messages may not end before it has its answer. */
#define RESET_PATIENCE_NS 1000000000ull

/* ---- memory: one address space, number 0, which all groups of a device are in after a reset ----
 */

static int map(struct vpci *d, struct vpci_op *op)
{
	const struct vhost_vdpa_update update = {
		.perm = op->dma.perm,
		.iova = op->dma.iova,
		.size = op->dma.size,
	};
	struct vdpa_done done = vpci_op_done(d);

	if (!d->open)
		return -EIO;
	if (d->strict)
		vpci_forgive(d);
	return vhost_vdpa_iotlb_map(d->v, &update, op->dma.region, 0, &done);
}

int vpci_dma_map(void *arg, const struct vfio_user_dma *dma, const struct vdpa_done *done)
{
	const struct vpci_op op = {.run = map, .done = *done, .now = true, .dma = *dma};
	struct vpci *d = arg;

	/* No ring and no buffer lies in the device's own registers. */
	if (pci_bar_overlaps(d->pci, dma->iova, dma->size))
		vdpa_done_call(done, 0);
	else
		vpci_op_post(d, &op);
	return 0;
}

static int unmap(struct vpci *d, struct vpci_op *op)
{
	struct vdpa_done done = vpci_op_done(d);

	/* A device that was given back has nothing. */
	if (!d->open)
		return VPCI_OVER;
	return vhost_vdpa_iotlb_invalidate(d->v, 0, op->dma.iova, op->dma.iova + op->dma.size - 1,
					   &done);
}

int vpci_dma_unmap(void *arg, iova_t iova, uint64_t size, const struct vdpa_done *done)
{
	const struct vpci_op op = {
		.run = unmap, .done = *done, .dma = {.iova = iova, .size = size}};

	vpci_op_post(arg, &op);
	return 0;
}

static int dirty_log(struct vpci *d, struct vpci_op *op)
{
	struct vdpa_done done = vpci_op_done(d);

	return vdpa_set_dirty_log(d->vdev, op->log, &done);
}

int vpci_dirty_log(void *arg, struct vdpa_dirty_log *log, const struct vdpa_done *done)
{
	const struct vpci_op op = {.run = dirty_log, .done = *done, .log = log};

	vpci_op_post(arg, &op);
	return 0;
}

/* ---- configuration of the device ---- */

static int set_config(struct vpci *d, struct vpci_op *op)
{
	/* Where the driver may write is the device's to say. */
	vdpa_set_config(d->vdev, (unsigned)op->config.off, op->config.buf,
			(unsigned)op->config.len);
	vpci_look(d);
	return VPCI_OVER;
}

int vpci_config_write(struct vpci *d, unsigned off, const void *buf, unsigned len,
		      const struct vdpa_done *done)
{
	const struct vpci_op op = {.run = set_config,
				   .done = *done,
				   .now = true,
				   .config = {.off = off, .buf = buf, .len = len}};

	vpci_op_post(d, &op);
	return 0;
}

/* ---- reset; the end of a client ---- */

/* What the registers wished has been done. */
static int was_reset(struct vpci *d, struct vpci_op *op)
{
	vpci_mig_free(d);
	d->loaded = false;
	return VPCI_OVER;
}

int vpci_reset(void *arg, const struct vdpa_done *done)
{
	const struct vpci_op op = {
		.run = was_reset, .done = *done, .patience_ns = RESET_PATIENCE_NS};
	struct vpci *d = arg;

	vpci_regs_reset(d);
	pci_reset(d->pci);
	vpci_op_post(d, &op);
	return 0;
}

void vpci_gone(void *arg, const struct vdpa_done *done)
{
	const struct vpci_op op = {.run = vpci_close, .done = *done};
	struct vpci *d = arg;

	atomic_store(&d->connected, false);
	pthread_mutex_lock(&d->lock);
	vpci_regs_init(d);
	d->regs.used = d->regs.resetting = false;
	d->wish = (struct vpci_wish){0};
	pthread_mutex_unlock(&d->lock);
	vpci_isr_take(d);
	pci_reset(d->pci);
	vpci_op_post(d, &op);
}
