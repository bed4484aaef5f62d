/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A PCI function as its driver sees it: configuration space, capabilities, BARs, interrupts. It
 * knows no transport and no device: who has a device describes its registers here, hands accesses
 * to the configuration space and to the MSI-X table through, and raises interrupts.
 *
 * config.c   the registers: what they are after a reset, which bits can be written, which written
 *            ones are cleared; events
 * cap.c      the capabilities that have a meaning here, and room for those that have none
 * irq.c      INTx, MSI, MSI-X
 * state.c    save and load
 *
 * Specifications: PCI Local Bus 3.0, PCI Express Base 5.0, PCI Power Management 1.2. Names of
 * registers and bits are those of linux/pci_regs.h. Offsets are bytes; registers are little-endian.
 *
 * Threads: everything belongs to one thread at a time (the one that serves the driver's accesses),
 * but interrupts, which any thread may raise.
 *
 * Who attacks: the driver, by any access of any width at any place; none has an effect beyond the
 * bits that were declared writable.
 */
#ifndef PCI_PCI_H
#define PCI_PCI_H

#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <uvdpa/types.h>
#include <uvdpa/vfio_user.h>

struct pci_dev;

#define PCI_BARS 6u
#define PCI_CONFIG_BYTES 256u
#define PCI_CONFIG_EXPRESS_BYTES 4096u
#define PCI_MSIX_MAX 2048u

struct pci_dev_params {
	uint16_t vendor, device, subsystem_vendor, subsystem;
	uint32_t class_code; /* base, sub and interface: 24 bits */
	uint8_t revision;
	bool intx;    /* there is an INTx line (pin A) */
	bool express; /* 4096 bytes of configuration space */
	/*
	 * Tell the driver: 0, or -errno when it has not asked for this interrupt (it is pending
	 * then). @index: VFIO_PCI_INTX_IRQ_INDEX, _MSI_, _MSIX_. Any thread; with the lock of the
	 * device's interrupts held. As vfio_user_irq_trigger().
	 */
	int (*trigger)(void *arg, unsigned index, unsigned sub);
	void *arg;
};

/* 0 or -ENOMEM. */
int pci_dev_new(const struct pci_dev_params *params, struct pci_dev **out);
/* NULL is allowed. */
void pci_dev_free(struct pci_dev *dev);

/* ---- registers: before the first access ---- */

/*
 * The register at @off is @value after a reset, and the driver can write the bits of @writable. The
 * register lies in the configuration space (our own invariant).
 */
void pci_reg8(struct pci_dev *dev, unsigned off, uint8_t value, uint8_t writable);
void pci_reg16(struct pci_dev *dev, unsigned off, uint16_t value, uint16_t writable);
void pci_reg32(struct pci_dev *dev, unsigned off, uint32_t value, uint32_t writable);
/* A one that the driver writes to these bits clears them. */
void pci_reg_w1c(struct pci_dev *dev, unsigned off, uint32_t bits);

/* ---- registers: the device's own accesses, any time; no mask applies ---- */

uint8_t pci_get8(const struct pci_dev *dev, unsigned off);
uint16_t pci_get16(const struct pci_dev *dev, unsigned off);
uint32_t pci_get32(const struct pci_dev *dev, unsigned off);
void pci_set8(struct pci_dev *dev, unsigned off, uint8_t value);
void pci_set16(struct pci_dev *dev, unsigned off, uint16_t value);
void pci_set32(struct pci_dev *dev, unsigned off, uint32_t value);

/* ---- BARs ---- */

enum pci_bar_type { PCI_BAR_MEM32, PCI_BAR_MEM64, PCI_BAR_IO };

struct pci_bar {
	uint64_t size; /* bytes; a power of two, at least 16 (io: 4) */
	enum pci_bar_type type;
	bool prefetch;
};

/* MEM64 takes @index + 1 too. 0; -EINVAL: such a BAR cannot be, or there is one already. */
int pci_add_bar(struct pci_dev *dev, unsigned index, const struct pci_bar *bar);
/* Where the driver put it; 0: nowhere yet, or there is none. */
uint64_t pci_bar_address(const struct pci_dev *dev, unsigned index);
uint64_t pci_bar_size(const struct pci_dev *dev, unsigned index);
/* Does [@addr, @addr + @size) touch what the function itself answers at (memory BARs that the
 * driver has placed and switched on)? */
bool pci_bar_overlaps(const struct pci_dev *dev, uint64_t addr, uint64_t size);

/* ---- capabilities: at which offset, or -ENOSPC ---- */

/* @len bytes, the header included, zeroed: registers follow by pci_reg*(). */
int pci_add_cap(struct pci_dev *dev, uint8_t id, unsigned len);
/* The same of the extended ones, from 0x100 on; -EINVAL: not an express device. */
int pci_add_ext_cap(struct pci_dev *dev, uint16_t id, uint8_t version, unsigned len);
/* Vendor specific: @len with the three bytes of header; of which the last is its length. */
int pci_add_vendor(struct pci_dev *dev, uint8_t len);

/* Designated vendor-specific: @len bytes with the header of 10. */
struct pci_dvsec {
	uint16_t vendor, id;
	uint8_t revision;
	unsigned len;
};
int pci_add_dvsec(struct pci_dev *dev, const struct pci_dvsec *dvsec);

/* Power management: D0 and D3hot; the state is kept in D3hot. */
int pci_add_pm(struct pci_dev *dev);
/* @type: PCI_EXP_TYPE_ENDPOINT, PCI_EXP_TYPE_RC_END. @flr: function level reset. */
int pci_add_express(struct pci_dev *dev, unsigned type, bool flr);
/* 1, 2, 4, 8, 16 or 32 vectors, 64 bit addresses. -EINVAL. */
int pci_add_msi(struct pci_dev *dev, unsigned vectors);

struct pci_msix {
	unsigned vectors; /* 1 .. PCI_MSIX_MAX */
	unsigned table_bar, pba_bar;
	uint32_t table_off, pba_off; /* multiples of 8, and both lie in their BARs */
};
/* -EINVAL, -ENOMEM as well. */
int pci_add_msix(struct pci_dev *dev, const struct pci_msix *msix);

/* ---- the driver's accesses ---- */

/* What a write did that somebody may have to know. */
#define PCI_EVENT_COMMAND 0x1u /* the command register changed */
#define PCI_EVENT_BAR 0x2u     /* a BAR was moved */
#define PCI_EVENT_POWER 0x4u   /* pci_power_state() changed */
#define PCI_EVENT_MSI 0x8u     /* MSI was enabled, disabled, or has another number of vectors */
#define PCI_EVENT_MSIX 0x10u   /* MSI-X was enabled, disabled, masked or unmasked */
#define PCI_EVENT_FLR 0x20u    /* a function level reset is asked for: reset, then pci_reset() */

/* [@off, @off + @len) must lie in the configuration space. */
void pci_config_read(const struct pci_dev *dev, unsigned off, void *buf, unsigned len);
/* PCI_EVENT_*. */
unsigned pci_config_write(struct pci_dev *dev, unsigned off, const void *buf, unsigned len);
unsigned pci_config_size(const struct pci_dev *dev);
/* All registers, and the interrupts, as they are after a reset; what is pending is forgotten. */
void pci_reset(struct pci_dev *dev);

bool pci_bus_master(const struct pci_dev *dev);
/* 0 .. 3. */
unsigned pci_power_state(const struct pci_dev *dev);

/*
 * An access to a BAR: true when MSI-X table or PBA lie in [@off, @off + @len) of it, which then has
 * been done. Bytes beside them read as 0.
 */
bool pci_msix_read(struct pci_dev *dev, unsigned bar, uint64_t off, void *buf, unsigned len);
bool pci_msix_write(struct pci_dev *dev, unsigned bar, uint64_t off, const void *buf, unsigned len);

/* ---- interrupts ---- */

/*
 * Raise vector @vector, with MSI or MSI-X: told, or pending until it is unmasked or asked for, and
 * the function may write to memory (it is bus master, in D0). Without either of the two, nothing:
 * INTx is pci_intx(). True: one of them is enabled. Any thread.
 *
 * A vector that the driver masks in the table is masked. One that it has never touched is not,
 * though its mask bit reads as 1: a client that keeps the table to itself (QEMU) asks for the
 * eventfds of those that are in use, and takes them away.
 */
bool pci_msi_raise(struct pci_dev *dev, unsigned vector);
/* The level of the INTx line. Any thread. Told at each edge, and again when it was unmasked, or
 * switched on: by its bit of the command register, or by D0. */
void pci_intx(struct pci_dev *dev, bool level);
/* Is MSI or MSI-X enabled? Any thread. */
bool pci_msi_enabled(struct pci_dev *dev);

/* Eventfds came or went (irqs_changed of vfio_user.h): what is pending may be told now. */
void pci_irqs_changed(struct pci_dev *dev, unsigned index, unsigned start, unsigned count);
/* The client masks or unmasks INTx (irq_mask of vfio_user.h). */
void pci_irq_mask(struct pci_dev *dev, unsigned index, unsigned sub, bool mask);

/* ---- for a server of vfio-user ---- */

struct pci_vfio {
	struct vfio_user_region regions[VFIO_PCI_NUM_REGIONS];
	struct vfio_user_irqs irqs[VFIO_PCI_NUM_IRQS];
};

/*
 * Sizes and flags of the BARs, of the configuration space and of the interrupts into @vfio, which
 * may be changed afterwards; and into @config that the device is PCI and has these, of which it
 * keeps the place.
 */
void pci_vfio_describe(const struct pci_dev *dev, struct pci_vfio *vfio,
		       struct vfio_user_config *config);

/* ---- save and load ---- */

/* Bytes of the state: depends on what was added, not on what the driver did. */
size_t pci_state_size(const struct pci_dev *dev);
void pci_save(const struct pci_dev *dev, void *buf);
/*
 * Only what the driver could have written is taken; interrupts that were pending are told.
 * -EINVAL: the state of another kind of device (nothing was changed).
 */
int pci_load(struct pci_dev *dev, const void *buf, size_t len);

#endif
