// SPDX-License-Identifier: BSD-3-Clause
/* Capabilities, in the order in which they are added. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pci/pci_impl.h"

/* ---- the two chains ---- */

int pci_add_cap(struct pci_dev *dev, uint8_t id, unsigned len)
{
	unsigned at = dev->next_cap, link;

	if (len < 2 || len > PCI_CONFIG_BYTES - at)
		return -ENOSPC;
	link = dev->last_cap ? dev->last_cap + PCI_CAP_LIST_NEXT : PCI_CAPABILITY_LIST;
	pci_reg8(dev, link, (uint8_t)at, 0);
	pci_reg8(dev, at, id, 0);
	pci_reg16(dev, PCI_STATUS, pci_get16(dev, PCI_STATUS) | PCI_STATUS_CAP_LIST, 0);
	dev->last_cap = at;
	dev->next_cap = (at + len + 3) & ~3u;
	return (int)at;
}

int pci_add_ext_cap(struct pci_dev *dev, uint16_t id, uint8_t version, unsigned len)
{
	unsigned at = dev->next_ext;
	uint32_t last;

	if (!dev->params.express)
		return -EINVAL;
	if (len < 4 || len > dev->size - at)
		return -ENOSPC;
	if (dev->last_ext) {
		last = pci_get32(dev, dev->last_ext);
		pci_reg32(dev, dev->last_ext, last | at << 20, 0);
	}
	pci_reg32(dev, at, id | (uint32_t)(version & 0xf) << 16, 0);
	dev->last_ext = at;
	dev->next_ext = (at + len + 3) & ~3u;
	return (int)at;
}

int pci_add_vendor(struct pci_dev *dev, uint8_t len)
{
	int at = len < 3 ? -ENOSPC : pci_add_cap(dev, PCI_CAP_ID_VNDR, len);

	if (at > 0)
		pci_reg8(dev, (unsigned)at + 2, len, 0);
	return at;
}

/* PCI Express 5.0, 7.9.6. */
int pci_add_dvsec(struct pci_dev *dev, const struct pci_dvsec *d)
{
	int at = d->len < 10 || d->len > 0xfff
			 ? -ENOSPC
			 : pci_add_ext_cap(dev, PCI_EXT_CAP_ID_DVSEC, 1, d->len);

	if (at < 0)
		return at;
	pci_reg32(dev, (unsigned)at + PCI_DVSEC_HEADER1,
		  d->vendor | (uint32_t)(d->revision & 0xf) << 16 | (uint32_t)d->len << 20, 0);
	pci_reg16(dev, (unsigned)at + PCI_DVSEC_HEADER2, d->id, 0);
	return at;
}

/* ---- those with a meaning ---- */

int pci_add_pm(struct pci_dev *dev)
{
	int at = pci_add_cap(dev, PCI_CAP_ID_PM, PCI_PM_SIZEOF);

	if (at < 0)
		return at;
	dev->pm = (unsigned)at;
	pci_reg16(dev, dev->pm + PCI_PM_PMC, 3, 0);
	pci_reg16(dev, dev->pm + PCI_PM_CTRL, PCI_PM_CTRL_NO_SOFT_RESET, PCI_PM_CTRL_STATE_MASK);
	return at;
}

/* PCI Express 5.0, 7.5.3: version 2 of the structure; one that is integrated has no link. */
int pci_add_express(struct pci_dev *dev, unsigned type, bool flr)
{
	int at = pci_add_cap(dev, PCI_CAP_ID_EXP, PCI_CAP_EXP_ENDPOINT_SIZEOF_V2);
	const uint16_t ctl = PCI_EXP_DEVCTL_CERE | PCI_EXP_DEVCTL_NFERE | PCI_EXP_DEVCTL_FERE |
			     PCI_EXP_DEVCTL_URRE | PCI_EXP_DEVCTL_RELAX_EN |
			     PCI_EXP_DEVCTL_PAYLOAD | PCI_EXP_DEVCTL_NOSNOOP_EN |
			     PCI_EXP_DEVCTL_READRQ;
	unsigned x;

	if (at < 0)
		return at;
	x = dev->express = (unsigned)at;
	pci_reg16(dev, x + PCI_EXP_FLAGS, (uint16_t)(2 | type << 4), 0);
	pci_reg32(dev, x + PCI_EXP_DEVCAP, PCI_EXP_DEVCAP_RBER | (flr ? PCI_EXP_DEVCAP_FLR : 0), 0);
	pci_reg16(dev, x + PCI_EXP_DEVCTL,
		  PCI_EXP_DEVCTL_RELAX_EN | PCI_EXP_DEVCTL_NOSNOOP_EN | PCI_EXP_DEVCTL_READRQ_512B,
		  ctl | (flr ? PCI_EXP_DEVCTL_BCR_FLR : 0));
	pci_reg_w1c(dev, x + PCI_EXP_DEVCTL,
		    (uint32_t)(PCI_EXP_DEVSTA_CED | PCI_EXP_DEVSTA_NFED | PCI_EXP_DEVSTA_FED |
			       PCI_EXP_DEVSTA_URD)
			    << 16);
	if (type == PCI_EXP_TYPE_RC_END)
		return at;
	/* One lane at 2.5 GT/s, up. */
	pci_reg32(dev, x + PCI_EXP_LNKCAP, PCI_EXP_LNKCAP_SLS_2_5GB | 1u << 4, 0);
	pci_reg16(dev, x + PCI_EXP_LNKCTL, 0, PCI_EXP_LNKCTL_ASPMC | PCI_EXP_LNKCTL_CCC);
	pci_reg16(dev, x + PCI_EXP_LNKSTA, PCI_EXP_LNKSTA_CLS_2_5GB | PCI_EXP_LNKSTA_NLW_X1, 0);
	return at;
}

int pci_add_msi(struct pci_dev *dev, unsigned vectors)
{
	unsigned log2 = 0;
	int at;

	while (log2 < 5 && 1u << log2 != vectors)
		log2++;
	if (1u << log2 != vectors)
		return -EINVAL;
	at = pci_add_cap(dev, PCI_CAP_ID_MSI, 14);
	if (at < 0)
		return at;
	dev->msi = (unsigned)at;
	pci_reg16(dev, dev->msi + PCI_MSI_FLAGS, (uint16_t)(PCI_MSI_FLAGS_64BIT | log2 << 1),
		  PCI_MSI_FLAGS_ENABLE | PCI_MSI_FLAGS_QSIZE);
	pci_reg32(dev, dev->msi + PCI_MSI_ADDRESS_LO, 0, ~3u);
	pci_reg32(dev, dev->msi + PCI_MSI_ADDRESS_HI, 0, ~0u);
	pci_reg16(dev, dev->msi + PCI_MSI_DATA_64, 0, 0xffff);
	return at;
}

static bool msix_fits(const struct pci_dev *dev, unsigned bar, uint32_t off, unsigned bytes)
{
	uint64_t size = pci_bar_size(dev, bar);

	return !(off & 7) && off <= size && bytes <= size - off;
}

int pci_add_msix(struct pci_dev *dev, const struct pci_msix *msix)
{
	unsigned n = msix->vectors, table = n * PCI_MSIX_ENTRY, pba = (n + 63) / 64 * 8;
	struct pci_msix_state *s = &dev->msix;
	int at;

	if (!n || n > PCI_MSIX_MAX || dev->msi_x ||
	    !msix_fits(dev, msix->table_bar, msix->table_off, table) ||
	    !msix_fits(dev, msix->pba_bar, msix->pba_off, pba))
		return -EINVAL;
	s->table = calloc(n, PCI_MSIX_ENTRY);
	s->pba = calloc(1, pba);
	s->masked = calloc(n, sizeof(*s->masked));
	at = s->table && s->pba && s->masked ? pci_add_cap(dev, PCI_CAP_ID_MSIX, 12) : -ENOMEM;
	if (at < 0) {
		free(s->table);
		free(s->pba);
		free(s->masked);
		*s = (struct pci_msix_state){0};
		return at;
	}
	s->at = *msix;
	s->table_bytes = table;
	s->pba_bytes = pba;
	dev->msi_x = (unsigned)at;
	pci_reg16(dev, dev->msi_x + PCI_MSIX_FLAGS, (uint16_t)(n - 1),
		  PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	pci_reg32(dev, dev->msi_x + PCI_MSIX_TABLE, msix->table_off | msix->table_bar, 0);
	pci_reg32(dev, dev->msi_x + PCI_MSIX_PBA, msix->pba_off | msix->pba_bar, 0);
	pci_irq_reset(dev);
	return at;
}
