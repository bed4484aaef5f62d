// SPDX-License-Identifier: BSD-3-Clause
/*
 * Where everything lies (virtio 1.3, sections 4.1.2 to 4.1.4): one BAR of 64 bits with a page for
 * each structure and the doorbells behind them, and one for MSI-X.
 */
#include <errno.h>
#include <string.h>
#include <uvdpa/virtio.h>

#include "driver/virtio_pci/virtio_pci.h"

#define VENDOR 0x1af4u
#define DEVICE_BASE 0x1040u
#define SUBSYSTEM 0x1100u

static uint32_t class_of(uint32_t device_id)
{
	switch (device_id) {
	case VIRTIO_ID_NET:
		return 0x020000;
	case VIRTIO_ID_BLOCK:
		return 0x010000;
	default:
		return 0x00ff00;
	}
}

static uint64_t power_of_two(uint64_t n)
{
	uint64_t p = 4096;

	while (p < n)
		p <<= 1;
	return p;
}

/* ---- the capabilities of the structures (section 4.1.4) ---- */

struct structure {
	uint8_t type, len;
	uint32_t off, bytes;
};

static int add(struct pci_dev *pci, const struct structure *s)
{
	int at = pci_add_vendor(pci, s->len);

	if (at < 0)
		return at;
	pci_reg8(pci, (unsigned)at + VIRTIO_PCI_CAP_CFG_TYPE, s->type, 0);
	pci_reg8(pci, (unsigned)at + VIRTIO_PCI_CAP_BAR, VPCI_BAR, 0);
	pci_reg32(pci, (unsigned)at + VIRTIO_PCI_CAP_OFFSET, s->off, 0);
	pci_reg32(pci, (unsigned)at + VIRTIO_PCI_CAP_LENGTH, s->bytes, 0);
	return at;
}

static int add_notify(struct vpci *d, uint32_t bytes)
{
	const struct structure s = {VIRTIO_PCI_CAP_NOTIFY_CFG, 20, VPCI_NOTIFY, bytes};
	int at = add(d->pci, &s);

	if (at > 0)
		pci_reg32(d->pci, (unsigned)at + VIRTIO_PCI_NOTIFY_CAP_MULT, VPCI_NOTIFY_STRIDE, 0);
	return at;
}

/* The window: which bytes of which BAR, is the driver's to write (section 4.1.4.9). */
static int add_window(struct vpci *d)
{
	const struct structure s = {VIRTIO_PCI_CAP_PCI_CFG, 20, 0, 0};
	int at = add(d->pci, &s);

	if (at < 0)
		return at;
	pci_reg8(d->pci, (unsigned)at + VIRTIO_PCI_CAP_BAR, 0, 0xff);
	pci_reg32(d->pci, (unsigned)at + VIRTIO_PCI_CAP_OFFSET, 0, ~0u);
	pci_reg32(d->pci, (unsigned)at + VIRTIO_PCI_CAP_LENGTH, 0, ~0u);
	d->layout.pci_cfg = (unsigned)at;
	return at;
}

static int add_structures(struct vpci *d)
{
	uint32_t config = (uint32_t)vdpa_get_config_size(d->vdev);
	const struct structure s[] = {
		{VIRTIO_PCI_CAP_COMMON_CFG, 16, VPCI_COMMON, VPCI_COMMON_BYTES},
		{VIRTIO_PCI_CAP_ISR_CFG, 16, VPCI_ISR, 1},
		/* Room to grow: a driver must not ask for more than there is. */
		{VIRTIO_PCI_CAP_DEVICE_CFG, 16, VPCI_DEVICE, config ? config : 4},
	};
	int at = 0;

	for (unsigned i = 0; i < sizeof(s) / sizeof(s[0]) && at >= 0; i++)
		at = add(d->pci, &s[i]);
	if (at >= 0)
		at = add_notify(d, d->vdev->nvqs * VPCI_NOTIFY_STRIDE);
	return at < 0 ? at : add_window(d);
}

/* ---- the function ---- */

static int add_bars(struct vpci *d)
{
	uint64_t table = (uint64_t)d->layout.vectors * 16, pba = (d->layout.vectors + 63) / 64 * 8;
	const struct pci_bar bar = {
		power_of_two(VPCI_NOTIFY + (uint64_t)d->vdev->nvqs * VPCI_NOTIFY_STRIDE),
		PCI_BAR_MEM64, true};
	const struct pci_bar msix_bar = {power_of_two(table + pba), PCI_BAR_MEM32, false};
	const struct pci_msix msix = {d->layout.vectors, VPCI_MSIX_BAR, VPCI_MSIX_BAR, 0,
				      (uint32_t)table};
	int r = pci_add_bar(d->pci, VPCI_BAR, &bar);

	if (!d->layout.msix)
		return r;
	if (!r)
		r = pci_add_bar(d->pci, VPCI_MSIX_BAR, &msix_bar);
	return r ? r : pci_add_msix(d->pci, &msix);
}

static int trigger(void *arg, unsigned index, unsigned sub)
{
	struct vpci *d = arg;
	struct vfio_user_server *server = atomic_load(&d->server);

	return server ? vfio_user_irq_trigger(server, index, sub) : -ENOENT;
}

int vpci_layout(struct vpci *d, struct vdpa_error *err)
{
	uint32_t id = vdpa_get_device_id(d->vdev);
	size_t config = vdpa_get_config_size(d->vdev);
	const struct pci_dev_params params = {
		.vendor = VENDOR,
		.device = (uint16_t)(DEVICE_BASE + id),
		.subsystem_vendor = VENDOR,
		.subsystem = SUBSYSTEM,
		.class_code = class_of(id),
		.revision = 1,
		.intx = true,
		.express = true,
		.trigger = trigger,
		.arg = d,
	};
	int r;

	if (config > VPCI_CONFIG_MAX)
		return vdpa_error_set(err, EOPNOTSUPP, NULL,
				      "%zu bytes of configuration; there is room for %u", config,
				      VPCI_CONFIG_MAX);
	/* One for the configuration, one for each queue, as far as MSI-X goes. */
	if (d->layout.msix)
		d->layout.vectors = d->vdev->nvqs < PCI_MSIX_MAX ? d->vdev->nvqs + 1 : PCI_MSIX_MAX;
	r = pci_dev_new(&params, &d->pci);
	if (!r)
		r = add_bars(d);
	if (r >= 0)
		r = pci_add_pm(d->pci);
	if (r >= 0)
		r = pci_add_express(d->pci, PCI_EXP_TYPE_ENDPOINT, true);
	if (r >= 0)
		r = add_structures(d);
	return r >= 0 ? 0 : vdpa_error_set(err, -r, NULL, "%s", strerror(-r));
}
