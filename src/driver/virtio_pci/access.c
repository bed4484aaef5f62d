// SPDX-License-Identifier: BSD-3-Clause
/*
 * What the client reads and writes. Everything here runs on the server's loop; reads end at once.
 *
 * Who attacks: the client and the guest behind it, by any access of any size (up to what the
 * protocol allows) at any place of any region. What is not a register reads as 0 and is not
 * written.
 */
#include <errno.h>
#include <string.h>

#include "driver/virtio_pci/virtio_pci.h"

/* ---- BAR 0 ---- */

/* The part of [@off, @off + *@len) that lies in the page of one structure. */
static unsigned in_page(uint64_t off, size_t len)
{
	size_t left = VPCI_ISR - off % VPCI_ISR;

	return (unsigned)(len < left ? len : left);
}

static void device_read(struct vpci *d, unsigned off, uint8_t *buf, unsigned len)
{
	pthread_mutex_lock(&d->lock);
	memcpy(buf, d->regs.config + off, len);
	pthread_mutex_unlock(&d->lock);
}

static void bar_read(struct vpci *d, uint64_t off, uint8_t *buf, size_t len)
{
	unsigned n = in_page(off, len);

	memset(buf, 0, len);
	if (off < VPCI_ISR)
		vpci_common_read(d, (unsigned)off, buf, n);
	else if (off == VPCI_ISR)
		buf[0] = vpci_isr_take(d);
	else if (off >= VPCI_DEVICE && off < VPCI_NOTIFY)
		device_read(d, (unsigned)off - VPCI_DEVICE, buf, n);
}

/* The place says which queue; what is written would be its number (section 4.1.5.2). */
static void doorbell(struct vpci *d, uint64_t off)
{
	uint64_t idx = (off - VPCI_NOTIFY) / VPCI_NOTIFY_STRIDE;

	if (idx < d->vdev->nvqs && !(off % VPCI_NOTIFY_STRIDE))
		vpci_kick(d, (uint16_t)idx);
}

static int bar_write(struct vpci *d, uint64_t off, const void *buf, size_t len,
		     const struct vdpa_done *done)
{
	unsigned n = in_page(off, len);

	if (off < VPCI_ISR)
		return vpci_common_write(d, (unsigned)off, buf, n, done);
	if (off >= VPCI_DEVICE && off < VPCI_NOTIFY)
		return vpci_config_write(d, (unsigned)off - VPCI_DEVICE, buf, n, done);
	if (off >= VPCI_NOTIFY)
		doorbell(d, off);
	vdpa_done_call(done, 0);
	return 0;
}

/* ---- the window (section 4.1.4.9) ---- */

struct window {
	uint64_t off;
	unsigned len;
};

/* Do [@off, @off + @len) of the configuration space touch its data, and what lies behind it? */
static bool window(const struct vpci *d, uint64_t off, size_t len, struct window *w)
{
	unsigned at = d->layout.pci_cfg, data = at + sizeof(struct virtio_pci_cap);
	uint32_t size = pci_bar_size(d->pci, VPCI_BAR) ? 1 : 0;

	if (!size || off >= data + 4 || off + len <= data ||
	    pci_get8(d->pci, at + VIRTIO_PCI_CAP_BAR) != VPCI_BAR)
		return false;
	w->off = pci_get32(d->pci, at + VIRTIO_PCI_CAP_OFFSET);
	w->len = pci_get32(d->pci, at + VIRTIO_PCI_CAP_LENGTH);
	return (w->len == 1 || w->len == 2 || w->len == 4) && !(w->off % w->len) &&
	       w->off < pci_bar_size(d->pci, VPCI_BAR);
}

static void config_read(struct vpci *d, uint64_t off, void *buf, size_t len)
{
	unsigned data = d->layout.pci_cfg + sizeof(struct virtio_pci_cap);
	uint8_t bytes[4] = {0};
	struct window w;

	if (window(d, off, len, &w)) {
		bar_read(d, w.off, bytes, w.len);
		for (unsigned i = 0; i < 4; i++)
			pci_set8(d->pci, data + i, bytes[i]);
	}
	pci_config_read(d->pci, (unsigned)off, buf, (unsigned)len);
}

/* Function level reset: the registers are new at once, the device is when it can. */
static void config_event(struct vpci *d, unsigned events)
{
	if (!(events & PCI_EVENT_FLR))
		return;
	vpci_regs_reset(d);
	pci_reset(d->pci);
}

static int config_write(struct vpci *d, uint64_t off, const void *buf, size_t len,
			const struct vdpa_done *done)
{
	unsigned data = d->layout.pci_cfg + sizeof(struct virtio_pci_cap);
	struct window w;

	config_event(d, pci_config_write(d->pci, (unsigned)off, buf, (unsigned)len));
	/* Only as a whole: else which bytes are meant is not known. */
	if (window(d, off, len, &w) && off == data && len >= w.len)
		return bar_write(d, w.off, buf, w.len, done);
	vdpa_done_call(done, 0);
	return 0;
}

/* ---- of struct vfio_user_ops ---- */

static int region_read(void *arg, unsigned region, uint64_t off, void *buf, size_t len,
		       const struct vdpa_done *done)
{
	struct vpci *d = arg;

	if (region == VFIO_PCI_CONFIG_REGION_INDEX)
		config_read(d, off, buf, len);
	else if (region == VPCI_BAR)
		bar_read(d, off, buf, len);
	else if (!pci_msix_read(d->pci, region, off, buf, (unsigned)len))
		memset(buf, 0, len);
	vdpa_done_call(done, 0);
	return 0;
}

static int region_write(void *arg, unsigned region, uint64_t off, const void *buf, size_t len,
			const struct vdpa_done *done)
{
	struct vpci *d = arg;

	if (region == VPCI_BAR)
		return bar_write(d, off, buf, len, done);
	if (region == VFIO_PCI_CONFIG_REGION_INDEX)
		return config_write(d, off, buf, len, done);
	pci_msix_write(d->pci, region, off, buf, (unsigned)len);
	vdpa_done_call(done, 0);
	return 0;
}

static unsigned ioeventfds(void *arg, unsigned region, struct vfio_user_ioeventfd *out,
			   unsigned max)
{
	struct vpci *d = arg;
	unsigned n = 0;

	for (; region == VPCI_BAR && n < d->vdev->nvqs && n < max; n++)
		out[n] = (struct vfio_user_ioeventfd){
			.offset = VPCI_NOTIFY + n * VPCI_NOTIFY_STRIDE,
			.fd = d->vq[n].kick,
		};
	return n;
}

/* ---- the rest of struct vfio_user_ops ---- */

static void connected(void *arg)
{
	struct vpci *d = arg;

	atomic_store(&d->connected, true);
	pthread_mutex_lock(&d->lock);
	d->wish.open = true;
	pthread_mutex_unlock(&d->lock);
	vpci_wake(d);
}

static void irqs_changed(void *arg, unsigned index, unsigned start, unsigned count)
{
	struct vpci *d = arg;

	pci_irqs_changed(d->pci, index, start, count);
}

static void irq_mask(void *arg, unsigned index, unsigned sub, bool mask)
{
	struct vpci *d = arg;

	pci_irq_mask(d->pci, index, sub, mask);
}

#define COMMON_OPS                                                                                 \
	.size = sizeof(struct vfio_user_ops), .reentrant = true, .connected = connected,           \
	.gone = vpci_gone, .dma_map = vpci_dma_map, .dma_unmap = vpci_dma_unmap,                   \
	.region_read = region_read, .region_write = region_write, .region_ioeventfds = ioeventfds, \
	.irqs_changed = irqs_changed, .irq_mask = irq_mask, .reset = vpci_reset

static const struct vfio_user_ops plain_ops = {COMMON_OPS};
/* Of a device whose state can be saved. */
static const struct vfio_user_ops migration_ops = {
	COMMON_OPS,
	.mig_arc = vpci_mig_arc,
	.mig_read = vpci_mig_read,
	.mig_write = vpci_mig_write,
	.dirty_log = vpci_dirty_log,
};

static bool can_migrate(const struct vdpa_device *vdev)
{
	return vdpa_has_ext(vdev, save_state) && vdpa_has_ext(vdev, load_state) &&
	       vdpa_has_ext(vdev, set_dirty_log) && vdev->config->suspend && vdev->config->resume;
}

const struct vfio_user_ops *vpci_ops(const struct vdpa_device *vdev)
{
	return can_migrate(vdev) ? &migration_ops : &plain_ops;
}
