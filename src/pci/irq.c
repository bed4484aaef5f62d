// SPDX-License-Identifier: BSD-3-Clause
/*
 * INTx, MSI, MSI-X. An interrupt that cannot be told now, because it is masked, because the
 * function may not send it, or because nobody has asked for it, is pending, and is told when that
 * changes: none is lost.
 *
 * MSI and MSI-X are writes to memory: they need bus master (PCI Express 5.0, 7.5.1.1.3). INTx is
 * none, and has a bit of its own. In D3hot a function sends nothing at all (5.3.1.4).
 *
 * INTx is a level, of which the client is told by an eventfd. It masks the line by itself as it
 * takes one (VFIO_IRQ_INFO_AUTOMASKED) and says when it is to be told again.
 */
#include <errno.h>
#include <string.h>

#include "pci/pci_impl.h"

static bool msix_on(const struct pci_dev *dev)
{
	return dev->msi_x && pci_get16(dev, dev->msi_x + PCI_MSIX_FLAGS) & PCI_MSIX_FLAGS_ENABLE;
}

static bool msi_on(const struct pci_dev *dev)
{
	return dev->msi && pci_get16(dev, dev->msi + PCI_MSI_FLAGS) & PCI_MSI_FLAGS_ENABLE;
}

static bool may_write(const struct pci_dev *dev)
{
	return pci_bus_master(dev) && !pci_power_state(dev);
}

static int tell(struct pci_dev *dev, unsigned index, unsigned sub)
{
	return dev->params.trigger ? dev->params.trigger(dev->params.arg, index, sub) : -ENOENT;
}

/* ---- MSI-X ---- */

static bool pending(const struct pci_dev *dev, unsigned v)
{
	return dev->msix.pba[v / 8] >> (v % 8) & 1;
}

static void set_pending(struct pci_dev *dev, unsigned v, bool on)
{
	uint8_t *at = &dev->msix.pba[v / 8], bit = (uint8_t)(1u << v % 8);

	*at = on ? *at | bit : (uint8_t)(*at & ~bit);
}

static void msix_raise(struct pci_dev *dev, unsigned v)
{
	bool masked = dev->msix.masked[v] || !may_write(dev) ||
		      (pci_get16(dev, dev->msi_x + PCI_MSIX_FLAGS) & PCI_MSIX_FLAGS_MASKALL);

	set_pending(dev, v, masked || tell(dev, VFIO_PCI_MSIX_IRQ_INDEX, v));
}

static void msix_retry(struct pci_dev *dev, unsigned first, unsigned n)
{
	if (!msix_on(dev))
		return;
	for (unsigned v = first; v < first + n && v < dev->msix.at.vectors; v++) {
		if (pending(dev, v))
			msix_raise(dev, v);
	}
}

/* ---- MSI ---- */

/* The driver may have enabled fewer than there are (PCI 3.0, 6.8.3.4). */
static unsigned msi_enabled_vectors(const struct pci_dev *dev)
{
	uint16_t flags = pci_get16(dev, dev->msi + PCI_MSI_FLAGS);
	unsigned most = 1u << ((flags & PCI_MSI_FLAGS_QMASK) >> 1);
	unsigned log2 = (flags & PCI_MSI_FLAGS_QSIZE) >> 4;

	return log2 > 5 || 1u << log2 > most ? most : 1u << log2;
}

static void msi_raise(struct pci_dev *dev, unsigned v)
{
	v &= msi_enabled_vectors(dev) - 1;
	if (!may_write(dev) || tell(dev, VFIO_PCI_MSI_IRQ_INDEX, v))
		dev->msi_pending |= 1u << v;
	else
		dev->msi_pending &= ~(1u << v);
}

static void msi_retry(struct pci_dev *dev)
{
	uint32_t was = dev->msi_pending;

	if (!msi_on(dev))
		return;
	for (unsigned v = 0; v < 32; v++) {
		if (was >> v & 1) {
			dev->msi_pending &= ~(1u << v);
			msi_raise(dev, v);
		}
	}
}

bool pci_msi_raise(struct pci_dev *dev, unsigned vector)
{
	bool on = true;

	pthread_mutex_lock(&dev->lock);
	if (msix_on(dev)) {
		if (vector < dev->msix.at.vectors)
			msix_raise(dev, vector);
	} else if (msi_on(dev)) {
		msi_raise(dev, vector);
	} else {
		on = false;
	}
	pthread_mutex_unlock(&dev->lock);
	return on;
}

bool pci_msi_enabled(struct pci_dev *dev)
{
	bool on;

	pthread_mutex_lock(&dev->lock);
	on = msix_on(dev) || msi_on(dev);
	pthread_mutex_unlock(&dev->lock);
	return on;
}

/* ---- INTx ---- */

/* While MSI or MSI-X is enabled a function must not use INTx (PCI 3.0, 6.8.1.3 and 6.8.2.3). */
static void intx_retry(struct pci_dev *dev)
{
	if (!dev->intx_level || dev->intx_masked || msix_on(dev) || msi_on(dev) ||
	    pci_power_state(dev) || pci_get16(dev, PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE)
		return;
	if (!tell(dev, VFIO_PCI_INTX_IRQ_INDEX, 0))
		dev->intx_masked = true;
}

void pci_intx(struct pci_dev *dev, bool level)
{
	uint16_t status;

	if (!dev->params.intx)
		return;
	pthread_mutex_lock(&dev->lock);
	status = pci_get16(dev, PCI_STATUS) & (uint16_t)~PCI_STATUS_INTERRUPT;
	pci_set16(dev, PCI_STATUS, level ? status | PCI_STATUS_INTERRUPT : status);
	dev->intx_level = level;
	intx_retry(dev);
	pthread_mutex_unlock(&dev->lock);
}

void pci_irq_mask(struct pci_dev *dev, unsigned index, unsigned sub, bool mask)
{
	if (index != VFIO_PCI_INTX_IRQ_INDEX || sub)
		return;
	pthread_mutex_lock(&dev->lock);
	dev->intx_masked = mask;
	intx_retry(dev);
	pthread_mutex_unlock(&dev->lock);
}

/* ---- what changes them ---- */

void pci_irqs_changed(struct pci_dev *dev, unsigned index, unsigned start, unsigned count)
{
	pthread_mutex_lock(&dev->lock);
	if (index == VFIO_PCI_INTX_IRQ_INDEX) {
		dev->intx_masked = false;
		intx_retry(dev);
	} else if (index == VFIO_PCI_MSI_IRQ_INDEX) {
		msi_retry(dev);
	} else if (index == VFIO_PCI_MSIX_IRQ_INDEX) {
		msix_retry(dev, start, count);
	}
	pthread_mutex_unlock(&dev->lock);
}

void pci_irq_update(struct pci_dev *dev)
{
	msix_retry(dev, 0, dev->msix.at.vectors);
	msi_retry(dev);
	intx_retry(dev);
}

/* All vectors are masked after a reset (PCI 3.0, 6.8.2.9). */
void pci_irq_reset(struct pci_dev *dev)
{
	struct pci_msix_state *s = &dev->msix;

	dev->intx_level = dev->intx_masked = false;
	dev->msi_pending = 0;
	if (!dev->msi_x)
		return;
	memset(s->table, 0, s->table_bytes);
	memset(s->pba, 0, s->pba_bytes);
	memset(s->masked, 0, s->at.vectors * sizeof(*s->masked));
	for (unsigned v = 0; v < s->at.vectors; v++)
		s->table[v * PCI_MSIX_ENTRY + PCI_MSIX_ENTRY_VECTOR_CTRL] =
			PCI_MSIX_ENTRY_CTRL_MASKBIT;
}

/* ---- the table ---- */

/* The part of [@off, @off + @len) that lies in @size bytes at @at; false: none. */
static bool part(uint64_t off, unsigned len, uint32_t at, unsigned size, unsigned range[2])
{
	uint64_t first = off > at ? off : at;
	uint64_t end = off + len < (uint64_t)at + size ? off + len : (uint64_t)at + size;

	if (first >= end)
		return false;
	range[0] = (unsigned)(first - at);
	range[1] = (unsigned)(end - first);
	return true;
}

bool pci_msix_read(struct pci_dev *dev, unsigned bar, uint64_t off, void *buf, unsigned len)
{
	const struct pci_msix_state *s = &dev->msix;
	unsigned t[2], p[2];
	bool table = s->table_bytes && bar == s->at.table_bar &&
		     part(off, len, s->at.table_off, s->table_bytes, t);
	bool pba = s->pba_bytes && bar == s->at.pba_bar &&
		   part(off, len, s->at.pba_off, s->pba_bytes, p);

	if (!table && !pba)
		return false;
	memset(buf, 0, len);
	pthread_mutex_lock(&dev->lock);
	if (table)
		memcpy((uint8_t *)buf + (s->at.table_off + t[0] - off), s->table + t[0], t[1]);
	if (pba)
		memcpy((uint8_t *)buf + (s->at.pba_off + p[0] - off), s->pba + p[0], p[1]);
	pthread_mutex_unlock(&dev->lock);
	return true;
}

uint8_t pci_msix_writable(unsigned at)
{
	if (at == PCI_MSIX_ENTRY_LOWER_ADDR)
		return 0xfc;
	if (at < PCI_MSIX_ENTRY_VECTOR_CTRL)
		return 0xff;
	return at == PCI_MSIX_ENTRY_VECTOR_CTRL ? PCI_MSIX_ENTRY_CTRL_MASKBIT : 0;
}

static void table_write(struct pci_dev *dev, unsigned off, const uint8_t *from, unsigned len)
{
	struct pci_msix_state *s = &dev->msix;

	for (unsigned i = off; i < off + len; i++, from++) {
		unsigned at = i % PCI_MSIX_ENTRY;

		s->table[i] = *from & pci_msix_writable(at);
		if (at == PCI_MSIX_ENTRY_VECTOR_CTRL)
			s->masked[i / PCI_MSIX_ENTRY] = s->table[i];
	}
	msix_retry(dev, off / PCI_MSIX_ENTRY, len / PCI_MSIX_ENTRY + 2);
}

bool pci_msix_write(struct pci_dev *dev, unsigned bar, uint64_t off, const void *buf, unsigned len)
{
	const struct pci_msix_state *s = &dev->msix;
	unsigned t[2], p[2];
	bool table = s->table_bytes && bar == s->at.table_bar &&
		     part(off, len, s->at.table_off, s->table_bytes, t);

	if (table) {
		pthread_mutex_lock(&dev->lock);
		table_write(dev, t[0], (const uint8_t *)buf + (s->at.table_off + t[0] - off), t[1]);
		pthread_mutex_unlock(&dev->lock);
	}
	/* Pending bits cannot be written (PCI 3.0, 6.8.2.10). */
	return table || (s->pba_bytes && bar == s->at.pba_bar &&
			 part(off, len, s->at.pba_off, s->pba_bytes, p));
}

/* ---- for a server of vfio-user ---- */

void pci_vfio_irqs(const struct pci_dev *dev, struct vfio_user_irqs irqs[VFIO_PCI_NUM_IRQS])
{
	memset(irqs, 0, VFIO_PCI_NUM_IRQS * sizeof(*irqs));
	if (dev->params.intx)
		irqs[VFIO_PCI_INTX_IRQ_INDEX] =
			(struct vfio_user_irqs){1, VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_MASKABLE |
							   VFIO_IRQ_INFO_AUTOMASKED};
	if (dev->msi)
		irqs[VFIO_PCI_MSI_IRQ_INDEX] = (struct vfio_user_irqs){
			1u << ((pci_get16(dev, dev->msi + PCI_MSI_FLAGS) & PCI_MSI_FLAGS_QMASK) >>
			       1),
			VFIO_IRQ_INFO_EVENTFD};
	if (dev->msi_x)
		irqs[VFIO_PCI_MSIX_IRQ_INDEX] =
			(struct vfio_user_irqs){dev->msix.at.vectors, VFIO_IRQ_INFO_EVENTFD};
	/* Errors of the bus, and a wish to have the device back: told by whoever has the device. */
	irqs[VFIO_PCI_ERR_IRQ_INDEX] = (struct vfio_user_irqs){1, VFIO_IRQ_INFO_EVENTFD};
	irqs[VFIO_PCI_REQ_IRQ_INDEX] = (struct vfio_user_irqs){1, VFIO_IRQ_INFO_EVENTFD};
}
