/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of src/pci share. */
#ifndef PCI_PCI_IMPL_H
#define PCI_PCI_IMPL_H

#include <pthread.h>

#include "pci/pci.h"

/* One entry of the table, as the driver sees it. */
#define PCI_MSIX_ENTRY 16u

struct pci_msix_state {
	struct pci_msix at;
	uint8_t *table; /* entries */
	uint8_t *pba;	/* pending bits, in whole quadwords */
	bool *masked;	/* by the driver */
	unsigned table_bytes, pba_bytes;
};

struct pci_dev {
	struct pci_dev_params params;
	unsigned size; /* of the configuration space */
	uint8_t config[PCI_CONFIG_EXPRESS_BYTES];
	uint8_t initial[PCI_CONFIG_EXPRESS_BYTES];
	uint8_t writable[PCI_CONFIG_EXPRESS_BYTES];
	uint8_t w1c[PCI_CONFIG_EXPRESS_BYTES];
	struct pci_bar bars[PCI_BARS]; /* size 0: none */
	bool bar_upper[PCI_BARS];      /* second half of the one before */

	/* Offsets; 0: there is none. */
	unsigned last_cap, next_cap; /* of the chain; where the next one goes */
	unsigned last_ext, next_ext;
	unsigned pm, express, msi, msi_x;

	/* Interrupts: under the lock, as are the registers that irq.c looks at. */
	pthread_mutex_t lock;
	bool intx_level, intx_masked;
	uint32_t msi_pending;
	struct pci_msix_state msix;
};

/* irq.c, under the lock: a register that interrupts depend on was written. */
void pci_irq_update(struct pci_dev *dev);
void pci_irq_reset(struct pci_dev *dev);
/* Which bits of byte @at of an entry of the table can be written. */
uint8_t pci_msix_writable(unsigned at);

/* irq.c, for pci_vfio_describe(). */
void pci_vfio_irqs(const struct pci_dev *dev, struct vfio_user_irqs irqs[VFIO_PCI_NUM_IRQS]);

#endif
