// SPDX-License-Identifier: BSD-3-Clause
/*
 * The configuration space: three masks over an array of bytes decide what a write does, so that no
 * register needs code of its own; what a write has changed is found by comparing.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pci/pci_impl.h"

#define COMMAND_WRITABLE                                                                           \
	(PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY |           \
	 PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE)
#define STATUS_W1C                                                                                 \
	(PCI_STATUS_PARITY | PCI_STATUS_SIG_TARGET_ABORT | PCI_STATUS_REC_TARGET_ABORT |           \
	 PCI_STATUS_REC_MASTER_ABORT | PCI_STATUS_SIG_SYSTEM_ERROR | PCI_STATUS_DETECTED_PARITY)

/* ---- the device's own accesses ---- */

static void put(uint8_t *at, uint32_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		at[i] = (uint8_t)(value >> 8 * i);
}

static uint32_t get(const uint8_t *at, unsigned bytes)
{
	uint32_t value = 0;

	for (unsigned i = 0; i < bytes; i++)
		value |= (uint32_t)at[i] << 8 * i;
	return value;
}

static void reg(struct pci_dev *dev, unsigned off, unsigned bytes, const uint32_t value_writable[2])
{
	assert(off + bytes <= dev->size);
	put(dev->config + off, value_writable[0], bytes);
	put(dev->initial + off, value_writable[0], bytes);
	put(dev->writable + off, value_writable[1], bytes);
}

void pci_reg8(struct pci_dev *dev, unsigned off, uint8_t value, uint8_t writable)
{
	reg(dev, off, 1, (const uint32_t[]){value, writable});
}

void pci_reg16(struct pci_dev *dev, unsigned off, uint16_t value, uint16_t writable)
{
	reg(dev, off, 2, (const uint32_t[]){value, writable});
}

void pci_reg32(struct pci_dev *dev, unsigned off, uint32_t value, uint32_t writable)
{
	reg(dev, off, 4, (const uint32_t[]){value, writable});
}

void pci_reg_w1c(struct pci_dev *dev, unsigned off, uint32_t bits)
{
	assert(off + 4 <= dev->size);
	put(dev->w1c + off, get(dev->w1c + off, 4) | bits, 4);
}

uint8_t pci_get8(const struct pci_dev *dev, unsigned off)
{
	return dev->config[off];
}

uint16_t pci_get16(const struct pci_dev *dev, unsigned off)
{
	return (uint16_t)get(dev->config + off, 2);
}

uint32_t pci_get32(const struct pci_dev *dev, unsigned off)
{
	return get(dev->config + off, 4);
}

void pci_set8(struct pci_dev *dev, unsigned off, uint8_t value)
{
	put(dev->config + off, value, 1);
}

void pci_set16(struct pci_dev *dev, unsigned off, uint16_t value)
{
	put(dev->config + off, value, 2);
}

void pci_set32(struct pci_dev *dev, unsigned off, uint32_t value)
{
	put(dev->config + off, value, 4);
}

/* ---- birth ---- */

static void header(struct pci_dev *dev)
{
	const struct pci_dev_params *p = &dev->params;

	pci_reg16(dev, PCI_VENDOR_ID, p->vendor, 0);
	pci_reg16(dev, PCI_DEVICE_ID, p->device, 0);
	pci_reg16(dev, PCI_COMMAND, 0, COMMAND_WRITABLE);
	pci_reg_w1c(dev, PCI_COMMAND, (uint32_t)STATUS_W1C << 16);
	pci_reg32(dev, PCI_CLASS_REVISION, p->class_code << 8 | p->revision, 0);
	pci_reg8(dev, PCI_CACHE_LINE_SIZE, 0, 0xff);
	pci_reg8(dev, PCI_LATENCY_TIMER, 0, p->express ? 0 : 0xff);
	pci_reg16(dev, PCI_SUBSYSTEM_VENDOR_ID, p->subsystem_vendor, 0);
	pci_reg16(dev, PCI_SUBSYSTEM_ID, p->subsystem, 0);
	pci_reg8(dev, PCI_INTERRUPT_LINE, 0, 0xff);
	pci_reg8(dev, PCI_INTERRUPT_PIN, p->intx ? 1 : 0, 0);
}

int pci_dev_new(const struct pci_dev_params *params, struct pci_dev **out)
{
	struct pci_dev *dev = calloc(1, sizeof(*dev));

	if (!dev)
		return -ENOMEM;
	dev->params = *params;
	dev->size = params->express ? PCI_CONFIG_EXPRESS_BYTES : PCI_CONFIG_BYTES;
	dev->next_cap = PCI_STD_HEADER_SIZEOF;
	dev->next_ext = PCI_CONFIG_BYTES;
	pthread_mutex_init(&dev->lock, NULL);
	header(dev);
	*out = dev;
	return 0;
}

void pci_dev_free(struct pci_dev *dev)
{
	if (!dev)
		return;
	pthread_mutex_destroy(&dev->lock);
	free(dev->msix.table);
	free(dev->msix.pba);
	free(dev->msix.masked);
	free(dev);
}

unsigned pci_config_size(const struct pci_dev *dev)
{
	return dev->size;
}

/* ---- BARs: a register whose lower bits cannot be written tells its size (PCI 3.0, 6.2.5.1) ----
 */

static bool bar_ok(const struct pci_dev *dev, unsigned index, const struct pci_bar *bar)
{
	uint64_t least = bar->type == PCI_BAR_IO ? 4 : 16;
	unsigned last = index + (bar->type == PCI_BAR_MEM64);

	if (last >= PCI_BARS || dev->bars[index].size || dev->bar_upper[index] ||
	    dev->bars[last].size || bar->size < least || bar->size & (bar->size - 1))
		return false;
	return bar->type == PCI_BAR_MEM64 || bar->size <= 0x80000000u;
}

int pci_add_bar(struct pci_dev *dev, unsigned index, const struct pci_bar *bar)
{
	unsigned off = PCI_BASE_ADDRESS_0 + 4 * index;
	uint64_t mask = ~(bar->size - 1);
	uint32_t type = bar->prefetch ? PCI_BASE_ADDRESS_MEM_PREFETCH : 0;

	if (!bar_ok(dev, index, bar))
		return -EINVAL;
	if (bar->type == PCI_BAR_IO)
		type = PCI_BASE_ADDRESS_SPACE_IO;
	else if (bar->type == PCI_BAR_MEM64)
		type |= PCI_BASE_ADDRESS_MEM_TYPE_64;
	dev->bars[index] = *bar;
	pci_reg32(dev, off, type, (uint32_t)mask);
	if (bar->type == PCI_BAR_MEM64) {
		dev->bar_upper[index + 1] = true;
		pci_reg32(dev, off + 4, 0, (uint32_t)(mask >> 32));
	}
	return 0;
}

uint64_t pci_bar_size(const struct pci_dev *dev, unsigned index)
{
	return index < PCI_BARS ? dev->bars[index].size : 0;
}

uint64_t pci_bar_address(const struct pci_dev *dev, unsigned index)
{
	unsigned off = PCI_BASE_ADDRESS_0 + 4 * index;
	uint64_t address;

	if (!pci_bar_size(dev, index))
		return 0;
	address = pci_get32(dev, off) & ~(dev->bars[index].size - 1);
	if (dev->bars[index].type == PCI_BAR_MEM64)
		address |= (uint64_t)pci_get32(dev, off + 4) << 32;
	return address;
}

static bool overlaps(const struct pci_dev *dev, unsigned index, uint64_t addr, uint64_t size)
{
	uint64_t bar = pci_bar_address(dev, index);

	if (!bar || dev->bars[index].type == PCI_BAR_IO)
		return false;
	return bar <= addr ? addr - bar < pci_bar_size(dev, index) : bar - addr < size;
}

bool pci_bar_overlaps(const struct pci_dev *dev, uint64_t addr, uint64_t size)
{
	bool any = false;

	if (!(pci_get16(dev, PCI_COMMAND) & PCI_COMMAND_MEMORY))
		return false;
	for (unsigned i = 0; i < PCI_BARS && !any; i++)
		any = overlaps(dev, i, addr, size);
	return any;
}

/* ---- the driver's accesses ---- */

void pci_config_read(const struct pci_dev *dev, unsigned off, void *buf, unsigned len)
{
	struct pci_dev *d = (struct pci_dev *)(uintptr_t)dev; /* for its lock */

	assert(off <= dev->size && len <= dev->size - off);
	pthread_mutex_lock(&d->lock);
	memcpy(buf, dev->config + off, len);
	pthread_mutex_unlock(&d->lock);
}

/* What other parts of the device look at. */
struct watched {
	uint16_t command, msi, msix, power;
	uint8_t bars[4 * PCI_BARS];
};

static struct watched look(const struct pci_dev *dev)
{
	struct watched w = {.command = pci_get16(dev, PCI_COMMAND)};

	if (dev->msi)
		w.msi = pci_get16(dev, dev->msi + PCI_MSI_FLAGS);
	if (dev->msi_x)
		w.msix = pci_get16(dev, dev->msi_x + PCI_MSIX_FLAGS);
	if (dev->pm)
		w.power = pci_get16(dev, dev->pm + PCI_PM_CTRL);
	memcpy(w.bars, dev->config + PCI_BASE_ADDRESS_0, sizeof(w.bars));
	return w;
}

static unsigned events(const struct watched *a, const struct watched *b)
{
	unsigned e = 0;

	if (a->command != b->command)
		e |= PCI_EVENT_COMMAND;
	if (memcmp(a->bars, b->bars, sizeof(a->bars)))
		e |= PCI_EVENT_BAR;
	if ((a->power ^ b->power) & PCI_PM_CTRL_STATE_MASK)
		e |= PCI_EVENT_POWER;
	if (a->msi != b->msi)
		e |= PCI_EVENT_MSI;
	if (a->msix != b->msix)
		e |= PCI_EVENT_MSIX;
	return e;
}

/* The bit reads as 0 (PCI Express 5.0, 7.5.3.4). */
static unsigned take_flr(struct pci_dev *dev)
{
	unsigned at = dev->express + PCI_EXP_DEVCTL;
	uint16_t ctl;

	if (!dev->express)
		return 0;
	ctl = pci_get16(dev, at);
	if (!(ctl & PCI_EXP_DEVCTL_BCR_FLR))
		return 0;
	pci_set16(dev, at, ctl & (uint16_t)~PCI_EXP_DEVCTL_BCR_FLR);
	return PCI_EVENT_FLR;
}

/* States 1 and 2 are not there: such a write changes nothing (PM 1.2, 3.2.4). */
static void check_power(struct pci_dev *dev, const struct watched *before)
{
	unsigned state = pci_power_state(dev);

	if (state == 1 || state == 2)
		pci_set16(dev, dev->pm + PCI_PM_CTRL, before->power);
}

unsigned pci_config_write(struct pci_dev *dev, unsigned off, const void *buf, unsigned len)
{
	const uint8_t *from = buf;
	struct watched before, after;
	unsigned e;

	assert(off <= dev->size && len <= dev->size - off);
	pthread_mutex_lock(&dev->lock);
	before = look(dev);
	for (unsigned i = 0; i < len; i++) {
		uint8_t *to = &dev->config[off + i], w = dev->writable[off + i];

		*to = (uint8_t)((*to & ~w) | (from[i] & w));
		*to = (uint8_t)(*to & ~(from[i] & dev->w1c[off + i]));
	}
	check_power(dev, &before);
	e = take_flr(dev);
	after = look(dev);
	e |= events(&before, &after);
	if (e & (PCI_EVENT_COMMAND | PCI_EVENT_POWER | PCI_EVENT_MSI | PCI_EVENT_MSIX))
		pci_irq_update(dev);
	pthread_mutex_unlock(&dev->lock);
	return e;
}

void pci_reset(struct pci_dev *dev)
{
	pthread_mutex_lock(&dev->lock);
	memcpy(dev->config, dev->initial, dev->size);
	pci_irq_reset(dev);
	pthread_mutex_unlock(&dev->lock);
}

bool pci_bus_master(const struct pci_dev *dev)
{
	return pci_get16(dev, PCI_COMMAND) & PCI_COMMAND_MASTER;
}

unsigned pci_power_state(const struct pci_dev *dev)
{
	return dev->pm ? pci_get16(dev, dev->pm + PCI_PM_CTRL) & PCI_PM_CTRL_STATE_MASK : 0;
}

/* ---- for a server of vfio-user ---- */

static void describe_regions(const struct pci_dev *dev,
			     struct vfio_user_region regions[VFIO_PCI_NUM_REGIONS])
{
	const uint32_t rw = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;

	for (unsigned i = 0; i < VFIO_PCI_NUM_REGIONS; i++)
		regions[i] = (struct vfio_user_region){.fd = -1};
	for (unsigned i = 0; i < PCI_BARS; i++) {
		regions[i].size = dev->bars[i].size;
		regions[i].flags = dev->bars[i].size ? rw : 0;
	}
	regions[VFIO_PCI_CONFIG_REGION_INDEX].size = dev->size;
	regions[VFIO_PCI_CONFIG_REGION_INDEX].flags = rw;
}

void pci_vfio_describe(const struct pci_dev *dev, struct pci_vfio *vfio,
		       struct vfio_user_config *config)
{
	describe_regions(dev, vfio->regions);
	pci_vfio_irqs(dev, vfio->irqs);
	config->flags = VFIO_DEVICE_FLAGS_PCI;
	config->regions = vfio->regions;
	config->nregions = VFIO_PCI_NUM_REGIONS;
	config->irqs = vfio->irqs;
	config->nirqs = VFIO_PCI_NUM_IRQS;
}
