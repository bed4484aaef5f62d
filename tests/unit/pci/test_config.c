// SPDX-License-Identifier: BSD-3-Clause
/* Configuration space, BARs, capabilities; lspci judges a dump. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "alloc_fail.h"
#include "pci/pci.h"

static const struct pci_dev_params params = {
	.vendor = 0x1b36,
	.device = 0x1041,
	.subsystem_vendor = 0x1234,
	.subsystem = 0x5678,
	.class_code = 0x020000,
	.revision = 1,
	.intx = true,
	.express = true,
};

static const struct pci_bar bar0 = {0x4000, PCI_BAR_MEM64, true};
static const struct pci_bar bar2 = {0x1000, PCI_BAR_MEM32, false};
static const struct pci_bar bar3 = {0x20, PCI_BAR_IO, false};
static const struct pci_msix msix = {5, 2, 2, 0, 0x800};
static const struct pci_dvsec dvsec = {0x8086, 7, 1, 0x18};

struct caps {
	int pm, msi, msix, express, vendor, dvsec;
};

static int fill(struct pci_dev *dev, struct caps *c)
{
	int r = pci_add_bar(dev, 0, &bar0);

	r = r ? r : pci_add_bar(dev, 2, &bar2);
	r = r ? r : pci_add_bar(dev, 3, &bar3);
	if (r)
		return r;
	c->pm = pci_add_pm(dev);
	c->express = pci_add_express(dev, PCI_EXP_TYPE_ENDPOINT, true);
	c->msi = pci_add_msi(dev, 4);
	c->vendor = pci_add_vendor(dev, 16);
	c->dvsec = pci_add_dvsec(dev, &dvsec);
	c->msix = pci_add_msix(dev, &msix);
	return c->msix < 0 ? c->msix : 0;
}

static struct pci_dev *new (struct caps *c)
{
	struct caps unwanted;
	struct pci_dev *dev;

	assert_int_equal(pci_dev_new(&params, &dev), 0);
	assert_int_equal(fill(dev, c ? c : &unwanted), 0);
	return dev;
}

static uint32_t rd(struct pci_dev *dev, unsigned off, unsigned len)
{
	uint32_t v = 0;

	pci_config_read(dev, off, &v, len);
	return v;
}

static unsigned wr(struct pci_dev *dev, unsigned off, uint32_t v, unsigned len)
{
	return pci_config_write(dev, off, &v, len);
}

static void test_header(void **state)
{
	struct pci_dev *dev = new (NULL);

	assert_int_equal(rd(dev, 0, 4), 0x10411b36);
	assert_int_equal(rd(dev, PCI_CLASS_REVISION, 4), 0x02000001);
	assert_int_equal(rd(dev, PCI_SUBSYSTEM_VENDOR_ID, 4), 0x56781234);
	assert_int_equal(rd(dev, PCI_INTERRUPT_PIN, 1), 1);
	assert_int_equal(pci_config_size(dev), 4096);
	/* What identifies it cannot be written, by any width. */
	assert_int_equal(wr(dev, 0, 0xffffffff, 4), 0);
	wr(dev, PCI_CLASS_REVISION + 1, 0xff, 1);
	wr(dev, PCI_HEADER_TYPE, 0xff, 1);
	assert_int_equal(rd(dev, 0, 4), 0x10411b36);
	assert_int_equal(rd(dev, PCI_CLASS_REVISION, 4), 0x02000001);
	assert_int_equal(rd(dev, PCI_HEADER_TYPE, 1), 0);
	pci_dev_free(dev);
}

static void test_command_and_status(void **state)
{
	struct pci_dev *dev = new (NULL);

	assert_false(pci_bus_master(dev));
	assert_int_equal(wr(dev, PCI_COMMAND, 0xffff, 2), PCI_EVENT_COMMAND);
	assert_int_equal(rd(dev, PCI_COMMAND, 2), 0x0547);
	assert_true(pci_bus_master(dev));
	assert_int_equal(wr(dev, PCI_COMMAND, 0x0547, 2), 0);
	/* Bits of the status register: a one clears, a zero leaves. */
	pci_set16(dev, PCI_STATUS, pci_get16(dev, PCI_STATUS) | 0xf900);
	wr(dev, PCI_STATUS, 0x8000, 2);
	assert_int_equal(rd(dev, PCI_STATUS, 2), 0x7910);
	wr(dev, PCI_COMMAND, 0xffff0000, 4);
	assert_int_equal(rd(dev, PCI_COMMAND, 4), 0x00100000);
	pci_dev_free(dev);
}

static void test_bars(void **state)
{
	struct pci_dev *dev = new (NULL);
	struct pci_bar bad = {0x3000, PCI_BAR_MEM32, false};

	/* Sizing: what is read back after all ones. */
	assert_int_equal(rd(dev, PCI_BASE_ADDRESS_0, 4), 0xc);
	assert_int_equal(wr(dev, PCI_BASE_ADDRESS_0, ~0u, 4), PCI_EVENT_BAR);
	wr(dev, PCI_BASE_ADDRESS_1, ~0u, 4);
	wr(dev, PCI_BASE_ADDRESS_2, ~0u, 4);
	wr(dev, PCI_BASE_ADDRESS_3, ~0u, 4);
	wr(dev, PCI_BASE_ADDRESS_4, ~0u, 4);
	wr(dev, PCI_ROM_ADDRESS, ~0u, 4);
	assert_int_equal(rd(dev, PCI_BASE_ADDRESS_0, 4), 0xffffc00c);
	assert_int_equal(rd(dev, PCI_BASE_ADDRESS_1, 4), 0xffffffff);
	assert_int_equal(rd(dev, PCI_BASE_ADDRESS_2, 4), 0xfffff000);
	assert_int_equal(rd(dev, PCI_BASE_ADDRESS_3, 4), 0xffffffe1);
	assert_int_equal(rd(dev, PCI_BASE_ADDRESS_4, 4), 0);
	assert_int_equal(rd(dev, PCI_ROM_ADDRESS, 4), 0);
	wr(dev, PCI_BASE_ADDRESS_0, 0x12344321, 4);
	wr(dev, PCI_BASE_ADDRESS_1, 0x80, 4);
	assert_int_equal(pci_bar_address(dev, 0), 0x8012344000);
	assert_int_equal(pci_bar_size(dev, 0), 0x4000);
	assert_int_equal(pci_bar_address(dev, 1), 0);
	assert_int_equal(pci_bar_address(dev, 7), 0);
	/* What the function answers at, once it does. */
	wr(dev, PCI_BASE_ADDRESS_2, 0, 4);
	assert_false(pci_bar_overlaps(dev, 0x8012344000, 0x1000));
	wr(dev, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	assert_true(pci_bar_overlaps(dev, 0x8012344000, 1));
	assert_true(pci_bar_overlaps(dev, 0x8012347fff, 1));
	assert_true(pci_bar_overlaps(dev, 0x8012343fff, 2));
	assert_true(pci_bar_overlaps(dev, 0, UINT64_MAX));
	assert_false(pci_bar_overlaps(dev, 0x8012343fff, 1));
	assert_false(pci_bar_overlaps(dev, 0x8012348000, UINT64_MAX - 0x8012348000));
	assert_false(pci_bar_overlaps(dev, 0, 0x8012344000)); /* and no port of BAR 3 counts */
	/* What cannot be. */
	assert_int_equal(pci_add_bar(dev, 4, &bad), -EINVAL);
	assert_int_equal(pci_add_bar(dev, 0, &bar2), -EINVAL);
	assert_int_equal(pci_add_bar(dev, 1, &bar2), -EINVAL);
	assert_int_equal(pci_add_bar(dev, 5, &bar0), -EINVAL);
	assert_int_equal(pci_add_bar(dev, 6, &bar2), -EINVAL);
	bad.size = 8;
	assert_int_equal(pci_add_bar(dev, 4, &bad), -EINVAL);
	pci_dev_free(dev);
}

static void test_chain(void **state)
{
	static const uint8_t ids[] = {PCI_CAP_ID_PM, PCI_CAP_ID_EXP, PCI_CAP_ID_MSI,
				      PCI_CAP_ID_VNDR, PCI_CAP_ID_MSIX};
	struct caps c;
	struct pci_dev *dev = new (&c);
	unsigned at = rd(dev, PCI_CAPABILITY_LIST, 1);

	for (unsigned i = 0; i < sizeof(ids); i++) {
		assert_int_equal(rd(dev, at, 1), ids[i]);
		at = rd(dev, at + 1, 1);
	}
	assert_int_equal(at, 0);
	assert_int_equal(rd(dev, c.vendor + 2, 1), 16);
	assert_int_equal(rd(dev, 0x100, 4), 0x00010023);
	assert_int_equal(rd(dev, 0x104, 4), 0x01818086);
	assert_int_equal(rd(dev, 0x108, 2), 7);
	/* A second extended one is behind the first. */
	assert_int_equal(pci_add_ext_cap(dev, 0x1b, 1, 8), 0x118);
	assert_int_equal(rd(dev, 0x100, 4), 0x11810023);
	assert_int_equal(pci_add_ext_cap(dev, 0x1b, 1, 0x1000), -ENOSPC);
	assert_int_equal(pci_add_cap(dev, 9, 0xf0), -ENOSPC);
	assert_int_equal(pci_add_cap(dev, 9, 1), -ENOSPC);
	assert_int_equal(pci_add_vendor(dev, 2), -ENOSPC);
	assert_int_equal(pci_add_msi(dev, 3), -EINVAL);
	assert_int_equal(pci_add_msi(dev, 64), -EINVAL);
	assert_int_equal(pci_add_msix(dev, &msix), -EINVAL);
	pci_dev_free(dev);
}

static void test_msix_must_fit(void **state)
{
	static const struct pci_msix bad[] = {
		{0, 2, 2, 0, 0x800},	{2049, 0, 0, 0, 0},	 {5, 1, 2, 0, 0x800},
		{5, 2, 2, 4, 0x800},	{5, 2, 2, 0xfb8, 0x800}, {5, 2, 2, 0, 0xffc},
		{5, 2, 2, 0, 0x100000}, {5, 9, 2, 0, 0x800},
	};
	struct pci_dev *dev;

	assert_int_equal(pci_dev_new(&params, &dev), 0);
	assert_int_equal(pci_add_bar(dev, 0, &bar0), 0);
	assert_int_equal(pci_add_bar(dev, 2, &bar2), 0);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(pci_add_msix(dev, &bad[i]), -EINVAL);
	pci_dev_free(dev);
}

static void test_power(void **state)
{
	struct caps c;
	struct pci_dev *dev = new (&c);

	assert_int_equal(pci_power_state(dev), 0);
	assert_int_equal(wr(dev, c.pm + PCI_PM_CTRL, 3, 2), PCI_EVENT_POWER);
	assert_int_equal(pci_power_state(dev), 3);
	/* D1 and D2 are not there. */
	assert_int_equal(wr(dev, c.pm + PCI_PM_CTRL, 1, 2), 0);
	assert_int_equal(pci_power_state(dev), 3);
	assert_int_equal(wr(dev, c.pm + PCI_PM_CTRL, 0, 2), PCI_EVENT_POWER);
	pci_dev_free(dev);
}

static void test_flr(void **state)
{
	struct caps c;
	struct pci_dev *dev = new (&c);
	unsigned ctl = c.express + PCI_EXP_DEVCTL;

	wr(dev, PCI_COMMAND, 7, 2);
	assert_true(rd(dev, c.express + PCI_EXP_DEVCAP, 4) & PCI_EXP_DEVCAP_FLR);
	assert_int_equal(wr(dev, ctl, 0x8000 | rd(dev, ctl, 2), 2), PCI_EVENT_FLR);
	assert_int_equal(rd(dev, ctl, 2) & 0x8000, 0);
	/* Whoever hears of it resets. */
	assert_int_equal(rd(dev, PCI_COMMAND, 2), 7);
	pci_reset(dev);
	assert_int_equal(rd(dev, PCI_COMMAND, 2), 0);
	assert_int_equal(rd(dev, 0, 4), 0x10411b36);
	pci_dev_free(dev);
}

static void test_every_write_of_everything(void **state)
{
	struct pci_dev *dev = new (NULL), *twin = new (NULL);
	uint8_t before[4096], ones[4096], now[4096];

	memset(ones, 0xff, sizeof(ones));
	pci_config_read(twin, 0, before, 4096);
	for (unsigned len = 1; len <= 8; len++) {
		for (unsigned off = 0; off + len <= 4096; off++)
			pci_config_write(dev, off, ones, len);
	}
	pci_config_write(dev, 0, ones, 4096);
	/* The chains are what they were, and a reset brings back all. */
	for (unsigned at = rd(dev, PCI_CAPABILITY_LIST, 1), n = 0; at; at = rd(dev, at + 1, 1))
		assert_true(++n < 6 && rd(dev, at, 1) == before[at]);
	pci_reset(dev);
	pci_config_read(dev, 0, now, 4096);
	assert_memory_equal(before, now, 4096);
	pci_dev_free(dev);
	pci_dev_free(twin);
}

static void test_regions_and_irqs(void **state)
{
	struct pci_vfio vfio;
	struct vfio_user_config config = {.size = sizeof(config)};
	const struct vfio_user_region *regions = vfio.regions;
	const struct vfio_user_irqs *irqs = vfio.irqs;
	struct pci_dev *dev = new (NULL);

	pci_vfio_describe(dev, &vfio, &config);
	assert_int_equal(config.flags, VFIO_DEVICE_FLAGS_PCI);
	assert_ptr_equal(config.regions, regions);
	assert_int_equal(config.nregions, VFIO_PCI_NUM_REGIONS);
	assert_ptr_equal(config.irqs, irqs);
	assert_int_equal(config.nirqs, VFIO_PCI_NUM_IRQS);
	assert_int_equal(regions[0].size, 0x4000);
	assert_int_equal(regions[1].size, 0);
	assert_int_equal(regions[2].size, 0x1000);
	assert_int_equal(regions[VFIO_PCI_CONFIG_REGION_INDEX].size, 4096);
	assert_int_equal(regions[VFIO_PCI_CONFIG_REGION_INDEX].flags, 3);
	assert_int_equal(irqs[VFIO_PCI_INTX_IRQ_INDEX].count, 1);
	assert_true(irqs[VFIO_PCI_INTX_IRQ_INDEX].flags & VFIO_IRQ_INFO_AUTOMASKED);
	assert_int_equal(irqs[VFIO_PCI_MSI_IRQ_INDEX].count, 4);
	assert_int_equal(irqs[VFIO_PCI_MSIX_IRQ_INDEX].count, 5);
	assert_int_equal(irqs[VFIO_PCI_ERR_IRQ_INDEX].count, 1);
	pci_dev_free(dev);
}

static void test_save_and_load(void **state)
{
	struct caps c;
	struct pci_dev *a = new (&c), *b = new (NULL), *other;
	size_t len = pci_state_size(a);
	uint8_t *buf = malloc(len), x[4096], y[4096];

	assert_non_null(buf);
	wr(a, PCI_COMMAND, 6, 2);
	wr(a, PCI_BASE_ADDRESS_0, 0xfe000000, 4);
	wr(a, c.msix + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE, 2);
	pci_save(a, buf);
	assert_int_equal(pci_load(b, buf, len), 0);
	pci_config_read(a, 0, x, 4096);
	pci_config_read(b, 0, y, 4096);
	assert_memory_equal(x, y, 4096);
	assert_int_equal(pci_bar_address(b, 0), 0xfe000000);
	/* Too short; of another device. */
	assert_int_equal(pci_load(b, buf, len - 1), -EINVAL);
	buf[PCI_DEVICE_ID] ^= 2;
	assert_int_equal(pci_load(b, buf, len), -EINVAL);
	assert_int_equal(pci_dev_new(&params, &other), 0);
	pci_save(a, buf);
	assert_int_equal(pci_load(other, buf, len), -EINVAL);
	/* Nor are bits that no driver can write: of the table's first entry, and of power. */
	buf[4096] = buf[4096 + PCI_MSIX_ENTRY_VECTOR_CTRL] = 0xff;
	assert_int_equal(pci_load(b, buf, len), 0);
	assert_true(pci_msix_read(b, 2, 0, x, 16));
	assert_int_equal(x[PCI_MSIX_ENTRY_LOWER_ADDR], 0xfc);
	assert_int_equal(x[PCI_MSIX_ENTRY_VECTOR_CTRL], PCI_MSIX_ENTRY_CTRL_MASKBIT);
	buf[c.pm + PCI_PM_CTRL] |= 2;
	assert_int_equal(pci_load(b, buf, len), -EINVAL);
	buf[c.pm + PCI_PM_CTRL] |= 3;
	assert_int_equal(pci_load(b, buf, len), 0);
	/* A reset that nobody asked for is not loaded. */
	buf[c.express + PCI_EXP_DEVCTL + 1] |= 0x80;
	assert_int_equal(pci_load(b, buf, len), 0);
	assert_int_equal(rd(b, c.express + PCI_EXP_DEVCTL, 2) & 0x8000, 0);
	free(buf);
	pci_dev_free(a);
	pci_dev_free(b);
	pci_dev_free(other);
}

static void test_no_memory(void **state)
{
	struct pci_dev *dev;
	struct caps c;

	for (alloc_fail_begin(); alloc_fail_more();) {
		if (pci_dev_new(&params, &dev))
			continue;
		if (fill(dev, &c) == 0)
			assert_int_equal(rd(dev, c.msix, 1), PCI_CAP_ID_MSIX);
		alloc_fail_off();
		pci_dev_free(dev);
	}
	pci_dev_free(NULL);
}

/* ---- the judge ---- */

static void dump(struct pci_dev *dev, const char *path)
{
	FILE *f = fopen(path, "w");
	uint8_t config[4096];

	assert_non_null(f);
	pci_config_read(dev, 0, config, sizeof(config));
	fprintf(f, "00:01.0 Device\n");
	for (unsigned i = 0; i < sizeof(config); i++)
		fprintf(f,
			i % 16 ? " %02x"
			: i    ? "\n%03x: %02x"
			       : "%03x: %02x",
			i % 16 ? config[i] : i, config[i]);
	fprintf(f, "\n");
	fclose(f);
}

static void has(const char *text, const char *what)
{
	if (!strstr(text, what))
		fail_msg("lspci does not say \"%s\":\n%s", what, text);
}

static void test_lspci(void **state)
{
	char path[] = "/tmp/uvdpa-pci-XXXXXX", command[128], text[16384];
	struct pci_dev *dev;
	int fd = mkstemp(path);
	size_t n;
	FILE *f;

	assert_true(fd >= 0);
	close(fd);
	dev = new (NULL);
	wr(dev, PCI_COMMAND, 6, 2);
	dump(dev, path);
	snprintf(command, sizeof(command), "lspci -vvv -nn -F %s 2>&1", path);
	f = popen(command, "r");
	assert_non_null(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	assert_int_equal(pclose(f), 0);
	unlink(path);
	has(text, "[1b36:1041] (rev 01)");
	has(text, "Control: I/O- Mem+ BusMaster+");
	has(text, "Interrupt: pin A");
	has(text, "Power Management version 3");
	has(text, "Express (v2) Endpoint");
	has(text, "FLReset+");
	has(text, "MSI: Enable- Count=1/4 Maskable- 64bit+");
	has(text, "MSI-X: Enable- Count=5 Masked-");
	has(text, "Vector table: BAR=2 offset=00000000");
	has(text, "PBA: BAR=2 offset=00000800");
	has(text, "Vendor Specific Information: Len=10");
	has(text, "Designated Vendor-Specific: Vendor=8086 ID=0007 Rev=1 Len=24");
	assert_null(strstr(text, "Unknown"));
	pci_dev_free(dev);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header),
		cmocka_unit_test(test_command_and_status),
		cmocka_unit_test(test_bars),
		cmocka_unit_test(test_chain),
		cmocka_unit_test(test_msix_must_fit),
		cmocka_unit_test(test_power),
		cmocka_unit_test(test_flr),
		cmocka_unit_test(test_every_write_of_everything),
		cmocka_unit_test(test_regions_and_irqs),
		cmocka_unit_test(test_save_and_load),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_lspci),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
