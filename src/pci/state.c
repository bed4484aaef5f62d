// SPDX-License-Identifier: BSD-3-Clause
/*
 * Save and load: the configuration space, then interrupts. What is loaded comes from a peer: it is
 * taken as if the driver had written it, but that read-only bits must be the same.
 */
#include <errno.h>
#include <string.h>

#include "pci/pci_impl.h"

/* Behind the configuration space: MSI-X table, PBA, one byte per vector, and */
struct tail {
	uint32_t msi_pending;
	uint8_t intx_level, reserved[3];
};

size_t pci_state_size(const struct pci_dev *dev)
{
	const struct pci_msix_state *s = &dev->msix;

	return dev->size + s->table_bytes + s->pba_bytes + s->at.vectors + sizeof(struct tail);
}

void pci_save(const struct pci_dev *dev, void *buf)
{
	struct pci_dev *d = (struct pci_dev *)(uintptr_t)dev; /* for its lock */
	const struct pci_msix_state *s = &dev->msix;
	struct tail tail = {0};
	uint8_t *to = buf;

	pthread_mutex_lock(&d->lock);
	memcpy(to, dev->config, dev->size);
	to += dev->size;
	if (s->table_bytes) {
		memcpy(to, s->table, s->table_bytes);
		memcpy(to + s->table_bytes, s->pba, s->pba_bytes);
		to += s->table_bytes + s->pba_bytes;
	}
	for (unsigned v = 0; v < s->at.vectors; v++)
		*to++ = s->masked[v];
	tail.msi_pending = dev->msi_pending;
	tail.intx_level = dev->intx_level;
	memcpy(to, &tail, sizeof(tail));
	pthread_mutex_unlock(&d->lock);
}

/* States 1 and 2 cannot be written: nothing is in them. */
static bool power_ok(const struct pci_dev *dev, const uint8_t *config)
{
	unsigned state = dev->pm ? config[dev->pm + PCI_PM_CTRL] & PCI_PM_CTRL_STATE_MASK : 0;

	return state != 1 && state != 2;
}

/* INTx's bit of the status register is no writable one, and says something of the moment. */
static bool same_kind(const struct pci_dev *dev, const uint8_t *config)
{
	for (unsigned i = 0; i < dev->size; i++) {
		uint8_t fixed = (uint8_t) ~(dev->writable[i] | dev->w1c[i]);

		if (i == PCI_STATUS)
			fixed &= (uint8_t)~PCI_STATUS_INTERRUPT;
		if ((config[i] ^ dev->config[i]) & fixed)
			return false;
	}
	return true;
}

static void load_irqs(struct pci_dev *dev, const uint8_t *from)
{
	struct pci_msix_state *s = &dev->msix;
	struct tail tail;

	for (unsigned i = 0; i < s->table_bytes; i++)
		s->table[i] = *from++ & pci_msix_writable(i % PCI_MSIX_ENTRY);
	if (s->pba_bytes)
		memcpy(s->pba, from, s->pba_bytes);
	from += s->pba_bytes;
	for (unsigned v = 0; v < s->at.vectors; v++)
		s->masked[v] = *from++ & 1;
	memcpy(&tail, from, sizeof(tail));
	dev->msi_pending = tail.msi_pending;
	dev->intx_level = dev->params.intx && tail.intx_level & 1;
	dev->intx_masked = false;
}

int pci_load(struct pci_dev *dev, const void *buf, size_t len)
{
	const uint8_t *from = buf;

	if (len != pci_state_size(dev))
		return -EINVAL;
	pthread_mutex_lock(&dev->lock);
	if (!same_kind(dev, from) || !power_ok(dev, from)) {
		pthread_mutex_unlock(&dev->lock);
		return -EINVAL;
	}
	memcpy(dev->config, from, dev->size);
	if (dev->express)
		dev->config[dev->express + PCI_EXP_DEVCTL + 1] &= 0x7f; /* no reset is asked for */
	load_irqs(dev, from + dev->size);
	pci_irq_update(dev);
	pthread_mutex_unlock(&dev->lock);
	return 0;
}
