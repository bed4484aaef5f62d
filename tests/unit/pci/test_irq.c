// SPDX-License-Identifier: BSD-3-Clause
/* Interrupts: told, masked, pending, and never lost. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "pci/pci.h"

/* The client: how often it was told, and of what it wants to be told. */
static struct client {
	unsigned told[VFIO_PCI_NUM_IRQS][40];
	bool deaf;
} client;

static int trigger(void *arg, unsigned index, unsigned sub)
{
	struct client *c = arg;

	if (c->deaf)
		return -ENOENT;
	c->told[index][sub]++;
	return 0;
}

static struct pci_dev *dev;
static unsigned msix_ctl, msi_ctl, pm_ctl;

#define TABLE 0x0u
#define PBA 0x800u

static void ctl(unsigned at, uint16_t value)
{
	pci_config_write(dev, at, &value, 2);
}

static int setup(void **state)
{
	static const struct pci_dev_params params = {
		.vendor = 1, .device = 2, .intx = true, .trigger = trigger, .arg = &client};
	static const struct pci_bar bar = {0x1000, PCI_BAR_MEM32, false};
	static const struct pci_msix msix = {40, 1, 1, TABLE, PBA};

	memset(&client, 0, sizeof(client));
	assert_int_equal(pci_dev_new(&params, &dev), 0);
	assert_int_equal(pci_add_bar(dev, 1, &bar), 0);
	pm_ctl = (unsigned)pci_add_pm(dev) + PCI_PM_CTRL;
	msi_ctl = (unsigned)pci_add_msi(dev, 8) + PCI_MSI_FLAGS;
	msix_ctl = (unsigned)pci_add_msix(dev, &msix) + PCI_MSIX_FLAGS;
	ctl(PCI_COMMAND, PCI_COMMAND_MASTER);
	return 0;
}

static int teardown(void **state)
{
	pci_dev_free(dev);
	return 0;
}

static void vector_ctl(unsigned v, uint32_t value)
{
	assert_true(pci_msix_write(dev, 1, TABLE + v * 16 + 12, &value, 4));
}

static uint64_t pba(void)
{
	uint64_t bits;

	assert_true(pci_msix_read(dev, 1, PBA, &bits, 8));
	return bits;
}

static void test_msix(void **state)
{
	unsigned *told = client.told[VFIO_PCI_MSIX_IRQ_INDEX];

	assert_false(pci_msi_raise(dev, 3));
	assert_false(pci_msi_enabled(dev));
	ctl(msix_ctl, PCI_MSIX_FLAGS_ENABLE);
	assert_true(pci_msi_enabled(dev));
	/* The client keeps the table to itself: the mask of a vector that was never written is 1
	 * to look at, and not in force. */
	assert_true(pci_msi_raise(dev, 3));
	assert_int_equal(told[3], 1);
	vector_ctl(3, 1);
	assert_true(pci_msi_raise(dev, 3));
	assert_true(pci_msi_raise(dev, 3));
	assert_int_equal(told[3], 1);
	assert_int_equal(pba(), 8);
	vector_ctl(3, 0);
	assert_int_equal(told[3], 2);
	assert_int_equal(pba(), 0);
	/* A vector that does not exist. */
	assert_true(pci_msi_raise(dev, 40));
}

static void test_function_mask(void **state)
{
	unsigned *told = client.told[VFIO_PCI_MSIX_IRQ_INDEX];

	ctl(msix_ctl, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	pci_msi_raise(dev, 0);
	pci_msi_raise(dev, 39);
	assert_int_equal(pba(), 1 | 1ull << 39);
	assert_int_equal(told[0] + told[39], 0);
	vector_ctl(39, 1);
	ctl(msix_ctl, PCI_MSIX_FLAGS_ENABLE);
	assert_int_equal(told[0], 1);
	assert_int_equal(told[39], 0);
	assert_int_equal(pba(), 1ull << 39);
	pci_reset(dev);
	assert_int_equal(pba(), 0);
}

static void test_nobody_asked_yet(void **state)
{
	unsigned *told = client.told[VFIO_PCI_MSIX_IRQ_INDEX];

	ctl(msix_ctl, PCI_MSIX_FLAGS_ENABLE);
	client.deaf = true;
	pci_msi_raise(dev, 7);
	assert_int_equal(pba(), 0x80);
	client.deaf = false;
	pci_irqs_changed(dev, VFIO_PCI_MSIX_IRQ_INDEX, 0, 7);
	assert_int_equal(told[7], 0);
	pci_irqs_changed(dev, VFIO_PCI_MSIX_IRQ_INDEX, 7, 1);
	assert_int_equal(told[7], 1);
	assert_int_equal(pba(), 0);
}

static void test_table(void **state)
{
	uint8_t buf[64], ones[64];
	uint64_t v = 0;

	memset(ones, 0xff, sizeof(ones));
	/* Masked after a reset. */
	assert_true(pci_msix_read(dev, 1, TABLE + 12, &v, 4));
	assert_int_equal(v, 1);
	assert_true(pci_msix_write(dev, 1, TABLE, ones, 16));
	assert_true(pci_msix_read(dev, 1, TABLE, buf, 16));
	assert_int_equal(buf[0], 0xfc);
	assert_int_equal(buf[11], 0xff);
	assert_int_equal(buf[12], 1);
	assert_int_equal(buf[13], 0);
	/* Across its end; beside it; another BAR; the PBA is read-only. */
	assert_true(pci_msix_write(dev, 1, TABLE + 40 * 16 - 4, ones, 64));
	assert_true(pci_msix_read(dev, 1, TABLE + 40 * 16 - 4, buf, 64));
	assert_int_equal(buf[0], 1);
	assert_int_equal(buf[4], 0);
	assert_int_equal(buf[63], 0);
	assert_false(pci_msix_read(dev, 1, TABLE + 40 * 16, buf, 64));
	assert_false(pci_msix_write(dev, 0, TABLE, ones, 4));
	assert_true(pci_msix_write(dev, 1, PBA, ones, 8));
	assert_int_equal(pba(), 0);
	/* A byte at a time. */
	assert_true(pci_msix_write(dev, 1, TABLE + 16 + 12, "\0", 1));
	assert_true(pci_msix_read(dev, 1, TABLE + 16 + 12, &v, 4));
	assert_int_equal(v, 0);
}

static void test_msi(void **state)
{
	unsigned *told = client.told[VFIO_PCI_MSI_IRQ_INDEX];

	/* Four of eight: the others share. */
	ctl(msi_ctl, PCI_MSI_FLAGS_ENABLE | 2 << 4);
	assert_true(pci_msi_raise(dev, 3));
	assert_true(pci_msi_raise(dev, 5));
	assert_int_equal(told[3], 1);
	assert_int_equal(told[1], 1);
	/* More than there are. */
	ctl(msi_ctl, PCI_MSI_FLAGS_ENABLE | 7 << 4);
	pci_msi_raise(dev, 9);
	assert_int_equal(told[1], 2);
	client.deaf = true;
	pci_msi_raise(dev, 0);
	client.deaf = false;
	pci_irqs_changed(dev, VFIO_PCI_MSI_IRQ_INDEX, 0, 1);
	assert_int_equal(told[0], 1);
	pci_irqs_changed(dev, VFIO_PCI_MSI_IRQ_INDEX, 0, 1);
	assert_int_equal(told[0], 1);
}

static void test_intx(void **state)
{
	unsigned *told = &client.told[VFIO_PCI_INTX_IRQ_INDEX][0];

	pci_intx(dev, true);
	assert_int_equal(*told, 1);
	assert_true(pci_get16(dev, PCI_STATUS) & PCI_STATUS_INTERRUPT);
	/* Masked by being told; still up when it is unmasked: told again. */
	pci_intx(dev, true);
	assert_int_equal(*told, 1);
	pci_irq_mask(dev, VFIO_PCI_INTX_IRQ_INDEX, 0, false);
	assert_int_equal(*told, 2);
	pci_intx(dev, false);
	assert_false(pci_get16(dev, PCI_STATUS) & PCI_STATUS_INTERRUPT);
	pci_irq_mask(dev, VFIO_PCI_INTX_IRQ_INDEX, 0, false);
	assert_int_equal(*told, 2);
	/* Masked by the client. */
	pci_irq_mask(dev, VFIO_PCI_INTX_IRQ_INDEX, 0, true);
	pci_intx(dev, true);
	assert_int_equal(*told, 2);
	pci_irq_mask(dev, VFIO_PCI_INTX_IRQ_INDEX, 0, false);
	assert_int_equal(*told, 3);
}

static void test_intx_disabled(void **state)
{
	unsigned *told = &client.told[VFIO_PCI_INTX_IRQ_INDEX][0];

	ctl(PCI_COMMAND, PCI_COMMAND_INTX_DISABLE);
	pci_intx(dev, true);
	assert_int_equal(*told, 0);
	ctl(PCI_COMMAND, 0);
	assert_int_equal(*told, 1);
	/* With MSI-X there is no INTx. */
	pci_intx(dev, false);
	pci_irq_mask(dev, VFIO_PCI_INTX_IRQ_INDEX, 0, false);
	ctl(msix_ctl, PCI_MSIX_FLAGS_ENABLE);
	pci_intx(dev, true);
	assert_int_equal(*told, 1);
	ctl(msix_ctl, 0);
	assert_int_equal(*told, 2);
	/* A client that comes anew is told of a line that is up. */
	client.deaf = true;
	pci_irqs_changed(dev, VFIO_PCI_INTX_IRQ_INDEX, 0, 1);
	client.deaf = false;
	pci_irqs_changed(dev, VFIO_PCI_INTX_IRQ_INDEX, 0, 1);
	assert_int_equal(*told, 3);
}

/* A message is a write to memory, for which a function has to be bus master. */
static void test_bus_master(void **state)
{
	unsigned *msix = client.told[VFIO_PCI_MSIX_IRQ_INDEX];
	unsigned *msi = client.told[VFIO_PCI_MSI_IRQ_INDEX];

	ctl(PCI_COMMAND, PCI_COMMAND_MEMORY);
	ctl(msix_ctl, PCI_MSIX_FLAGS_ENABLE);
	assert_true(pci_msi_raise(dev, 3));
	assert_true(pci_msi_raise(dev, 4));
	assert_int_equal(pba(), 0x18);
	/* Nothing else lets them through: a new eventfd, the mask's end, the enable bit. */
	pci_irqs_changed(dev, VFIO_PCI_MSIX_IRQ_INDEX, 0, 40);
	vector_ctl(4, 1);
	vector_ctl(3, 0);
	ctl(msix_ctl, 0);
	ctl(msix_ctl, PCI_MSIX_FLAGS_ENABLE);
	assert_int_equal(msix[3] + msix[4], 0);
	ctl(PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	assert_int_equal(msix[3], 1);
	assert_int_equal(msix[4], 0);
	assert_int_equal(pba(), 0x10);
	ctl(msix_ctl, 0);
	ctl(PCI_COMMAND, 0);
	ctl(msi_ctl, PCI_MSI_FLAGS_ENABLE);
	assert_true(pci_msi_raise(dev, 0));
	pci_irqs_changed(dev, VFIO_PCI_MSI_IRQ_INDEX, 0, 1);
	assert_int_equal(msi[0], 0);
	ctl(PCI_COMMAND, PCI_COMMAND_MASTER);
	assert_int_equal(msi[0], 1);
	/* INTx is none. */
	ctl(msi_ctl, 0);
	ctl(PCI_COMMAND, 0);
	pci_intx(dev, true);
	assert_int_equal(client.told[VFIO_PCI_INTX_IRQ_INDEX][0], 1);
}

/* Asleep, a function sends nothing; its registers, and what is pending, are kept. */
static void test_d3hot(void **state)
{
	unsigned *msix = client.told[VFIO_PCI_MSIX_IRQ_INDEX];
	unsigned *intx = &client.told[VFIO_PCI_INTX_IRQ_INDEX][0];

	ctl(pm_ctl, 3);
	pci_intx(dev, true);
	assert_true(pci_get16(dev, PCI_STATUS) & PCI_STATUS_INTERRUPT);
	pci_irq_mask(dev, VFIO_PCI_INTX_IRQ_INDEX, 0, false);
	assert_int_equal(*intx, 0);
	ctl(pm_ctl, 0);
	assert_int_equal(*intx, 1);
	pci_intx(dev, false);
	ctl(msix_ctl, PCI_MSIX_FLAGS_ENABLE);
	ctl(pm_ctl, 3);
	assert_true(pci_msi_raise(dev, 7));
	assert_int_equal(pba(), 0x80);
	assert_int_equal(msix[7], 0);
	ctl(pm_ctl, 0);
	assert_int_equal(msix[7], 1);
	assert_int_equal(pba(), 0);
}

/* The bit says that INTx wants something, whether it may or not. What was pending when a reset came
 * is nobody's any more. */
static void test_status_and_reset(void **state)
{
	unsigned *msix = client.told[VFIO_PCI_MSIX_IRQ_INDEX];
	unsigned *intx = &client.told[VFIO_PCI_INTX_IRQ_INDEX][0];

	ctl(PCI_COMMAND, PCI_COMMAND_INTX_DISABLE);
	pci_intx(dev, true);
	assert_true(pci_get16(dev, PCI_STATUS) & PCI_STATUS_INTERRUPT);
	ctl(msix_ctl, PCI_MSIX_FLAGS_ENABLE);
	pci_msi_raise(dev, 7);
	assert_int_equal(pba(), 0x80);
	pci_reset(dev);
	assert_false(pci_get16(dev, PCI_STATUS) & PCI_STATUS_INTERRUPT);
	assert_int_equal(pci_get16(dev, PCI_COMMAND), 0);
	ctl(PCI_COMMAND, PCI_COMMAND_MASTER);
	ctl(msix_ctl, PCI_MSIX_FLAGS_ENABLE);
	ctl(msix_ctl, 0);
	pci_irq_mask(dev, VFIO_PCI_INTX_IRQ_INDEX, 0, false);
	assert_int_equal(msix[7] + *intx, 0);
}

static void test_load_tells(void **state)
{
	size_t len = pci_state_size(dev);
	void *buf = malloc(len);

	assert_non_null(buf);
	ctl(msix_ctl, PCI_MSIX_FLAGS_ENABLE);
	client.deaf = true;
	pci_msi_raise(dev, 2);
	pci_save(dev, buf);
	pci_reset(dev);
	client.deaf = false;
	assert_int_equal(pci_load(dev, buf, len), 0);
	assert_int_equal(client.told[VFIO_PCI_MSIX_IRQ_INDEX][2], 1);
	free(buf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_msix, setup, teardown),
		cmocka_unit_test_setup_teardown(test_function_mask, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nobody_asked_yet, setup, teardown),
		cmocka_unit_test_setup_teardown(test_table, setup, teardown),
		cmocka_unit_test_setup_teardown(test_msi, setup, teardown),
		cmocka_unit_test_setup_teardown(test_intx, setup, teardown),
		cmocka_unit_test_setup_teardown(test_intx_disabled, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bus_master, setup, teardown),
		cmocka_unit_test_setup_teardown(test_d3hot, setup, teardown),
		cmocka_unit_test_setup_teardown(test_status_and_reset, setup, teardown),
		cmocka_unit_test_setup_teardown(test_load_tells, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
