// SPDX-License-Identifier: BSD-3-Clause
/* The register file: what is there after a reset, and what accesses of any kind do to it. */
#include "rig.h"

#include "alloc_fail.h"

static struct rig rig;

static int start(void **state)
{
	rig_start(&rig, &rig_dedicated);
	return 0;
}

static int end(void **state)
{
	rig_end(&rig);
	return 0;
}

static uint64_t read64(unsigned off)
{
	uint64_t value;

	assert_int_equal(dsa_vdev_read(rig.vdev, off, &value, 8), 0);
	return value;
}

static void test_after_reset(void **state)
{
	static const struct {
		unsigned off;
		uint64_t value;
	} expected[] = {
		{DSA_VER, 0x100},
		{DSA_GENCAP, 1u << 1 | 1u << 4 | 21u << 16 | 5u << 21},
		{DSA_WQCAP, 64 | 1u << 16 | 1ull << 49},
		{DSA_GRPCAP, 0x801},
		{DSA_ENGCAP, 2},
		{DSA_OPCAP_REG, DSA_OPCAP},
		{DSA_OPCAP_REG + 8, 0},
		{DSA_OPCAP_REG + 16, 0},
		{DSA_OPCAP_REG + 24, 0},
		{DSA_OFFSETS, 4 | 5 << 16 | 3ull << 32}, /* no IMS for the driver */
		{DSA_OFFSETS + 8, 0},			 /* no performance counters */
		{DSA_CMDCAP, 0x7ffe},
		{0xe0, 0}, /* no event log */
		{DSA_GRPCFG, 1},
		{DSA_GRPCFG + 32, 3},
		{DSA_GRPCFG + 40, 0x800009},
		{DSA_WQCFG, 64},
		{DSA_WQCFG + 8, 0xa1 | (21ull | 5 << 5) << 32},
		{DSA_WQCFG + 24, 0x20000000},
	};

	for (unsigned i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
		assert_int_equal(read64(expected[i].off), expected[i].value);
}

/* Each word that can change: what is read after all ones were written, and when. */
static void test_writable_bits(void **state)
{
	static const struct {
		unsigned off;
		uint32_t disabled, enabled;
	} words[] = {
		{DSA_GENCFG, 0x10ff, 0},
		{DSA_GENCTRL, 3, 3},
		{DSA_MSIXPERM, 0xfffff00c, 0xfffff00c},
		{DSA_MSIXPERM + 8, 0xfffff00c, 0xfffff00c},
		{DSA_WQCFG + 8, 0x3fffff00 | 0xa1, 0x3fffff00 | 0xa1},
	};
	uint32_t before[DSA_BAR0_BYTES / 4], after, ones = UINT32_MAX;

	for (int enabled = 0; enabled < 2; enabled++) {
		if (enabled)
			assert_int_equal(rig_cmd(&rig, DSA_CMD_ENABLE_DEVICE, 0), 0);
		for (unsigned off = 0; off < DSA_BAR0_BYTES; off += 4)
			before[off / 4] = rig_read(&rig, off);
		for (unsigned off = 0; off < DSA_BAR0_BYTES; off += 4) {
			uint32_t expected = before[off / 4];

			if (off == DSA_CMD)
				continue;
			for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
				if (words[i].off == off)
					expected = enabled ? words[i].enabled : words[i].disabled;
			}
			assert_int_equal(dsa_vdev_write(rig.vdev, off, &ones, 4), 0);
			after = rig_read(&rig, off);
			if (after != expected)
				fail_msg("0x%x: 0x%x, not 0x%x", off, after, expected);
			rig_write(&rig, off, 0);
		}
		/* And nothing beside it: all as it was. */
		for (unsigned off = 0; off < DSA_BAR0_BYTES; off += 4) {
			if (off == DSA_WQCFG + 8)
				assert_int_equal(rig_read(&rig, off), 0xa1);
			else if (off != DSA_CMD)
				assert_int_equal(rig_read(&rig, off), before[off / 4]);
		}
	}
}

static void test_queue_is_locked_while_enabled(void **state)
{
	rig_enable_all(&rig);
	rig_write(&rig, DSA_WQCFG + 8, UINT32_MAX);
	assert_int_equal(rig_read(&rig, DSA_WQCFG + 8), 0xa1);
}

static void test_write_one_to_clear(void **state)
{
	struct dsa_error error = {.status = 0x10, .op = 3};

	rig_write(&rig, DSA_GENCTRL, DSA_GENCTRL_SOFTERR);
	dsa_vdev_error(rig.vdev, 0, &error);
	dsa_vdev_error(rig.vdev, 0, &error);
	assert_int_equal(rig_cmd(&rig, 30, DSA_CMD_INT), DSA_CMDSTS_INVAL_CMD);
	assert_int_equal(rig_read(&rig, DSA_INTCAUSE), DSA_INTCAUSE_ERR | DSA_INTCAUSE_CMD);
	rig_write(&rig, DSA_INTCAUSE, DSA_INTCAUSE_CMD);
	assert_int_equal(rig_read(&rig, DSA_INTCAUSE), DSA_INTCAUSE_ERR);
	rig_write(&rig, DSA_INTCAUSE, 0);
	assert_int_equal(rig_read(&rig, DSA_INTCAUSE), DSA_INTCAUSE_ERR);
	rig_write(&rig, DSA_INTCAUSE, UINT32_MAX);
	assert_int_equal(rig_read(&rig, DSA_INTCAUSE), 0);

	assert_int_equal(rig_read(&rig, DSA_SWERR) & 3, 3);
	rig_write(&rig, DSA_SWERR, DSA_SWERR_OVERFLOW);
	assert_int_equal(rig_read(&rig, DSA_SWERR) & 3, 1);
	rig_write(&rig, DSA_SWERR, UINT32_MAX);
	assert_int_equal(rig_read(&rig, DSA_SWERR) & 3, 0);
	assert_int_not_equal(rig_read(&rig, DSA_SWERR), 0); /* the rest is read only */
}

/* All sizes at all places around a register and around the ends. */
static void test_sizes_and_alignment(void **state)
{
	static const uint64_t places[] = {0,
					  8,
					  DSA_GENCTRL,
					  DSA_WQCFG,
					  DSA_REGS_BYTES - 16,
					  DSA_BAR0_BYTES - 16,
					  DSA_BAR0_BYTES,
					  UINT64_MAX - 32};
	uint8_t buf[80] = {0};
	struct dsa_vdev_stats stats;
	uint64_t refused = 0;

	for (unsigned p = 0; p < sizeof(places) / sizeof(places[0]); p++) {
		for (unsigned i = 0; i < 16; i++) {
			for (unsigned len = 0; len <= 65; len++) {
				uint64_t off = places[p] + i;
				bool power = len == 1 || len == 2 || len == 4 || len == 8;
				bool in = off < DSA_BAR0_BYTES && power && !(off % len);
				bool out = in && len >= 4;

				assert_int_equal(dsa_vdev_read(rig.vdev, off, buf, len),
						 in ? 0 : -EINVAL);
				assert_int_equal(dsa_vdev_write(rig.vdev, off, buf, len),
						 out ? 0 : -EINVAL);
				refused += !in + !out;
			}
		}
	}
	dsa_vdev_get_stats(rig.vdev, &stats);
	assert_int_equal(stats.refused, refused);
}

/* Bytes and halves are those of the word; 8 bytes are two words. */
static void test_widths_agree(void **state)
{
	uint64_t two = (uint64_t)DSA_GENCTRL_HALT << 32 | 0x1055;

	for (unsigned off = 0; off < DSA_REGS_BYTES; off++) {
		uint8_t byte;

		assert_int_equal(dsa_vdev_read(rig.vdev, off, &byte, 1), 0);
		assert_int_equal(byte, rig_read(&rig, off & ~3u) >> off % 4 * 8 & 0xff);
	}
	assert_int_equal(dsa_vdev_write(rig.vdev, DSA_GENCFG, &two, 8), 0);
	assert_int_equal(rig_read(&rig, DSA_GENCFG), 0x1055);
	assert_int_equal(rig_read(&rig, DSA_GENCFG + 4), 0);
	assert_int_equal(read64(DSA_GENCFG), 0x1055);
}

static unsigned named;

static void count_name(void *arg, const char *name, unsigned off, uint32_t value)
{
	assert_int_equal(value, rig_read(&rig, off));
	named++;
}

static void test_dump(void **state)
{
	named = 0;
	dsa_vdev_dump(rig.vdev, count_name, NULL);
	assert_true(named > 30);
	assert_int_equal(dsa_vdev_peek(rig.vdev, DSA_REGS_BYTES), 0);
}

static void test_refused_configurations(void **state)
{
	static const struct {
		unsigned nwqs, nengines, nvectors, xfer, batch;
		struct dsa_vdev_wq wq;
	} bad[] = {
		{0, 1, 2, 21, 5, {64, 0, true, false, 10, 21, 5}},
		{DSA_WQS_MAX + 1, 1, 2, 21, 5, {64, 0, true, false, 10, 21, 5}},
		{1, 0, 2, 21, 5, {64, 0, true, false, 10, 21, 5}},
		{1, 9, 2, 21, 5, {64, 0, true, false, 10, 21, 5}},
		{1, 1, 0, 21, 5, {64, 0, true, false, 10, 21, 5}},
		{1, 1, 99, 21, 5, {64, 0, true, false, 10, 21, 5}},
		{1, 1, 2, 32, 5, {64, 0, true, false, 10, 21, 5}},
		{1, 1, 2, 21, 11, {64, 0, true, false, 10, 21, 5}},
		{1, 1, 2, 21, 5, {0, 0, true, false, 10, 21, 5}},
		{1, 1, 2, 21, 5, {DSA_MAX_QUEUE + 1, 0, true, false, 10, 21, 5}},
		{1, 1, 2, 21, 5, {64, 65, false, false, 10, 21, 5}},
		{1, 1, 2, 21, 5, {64, 0, true, false, 0, 21, 5}},
		{1, 1, 2, 21, 5, {64, 0, true, false, 16, 21, 5}},
		{1, 1, 2, 21, 5, {64, 0, true, false, 10, 22, 5}},
		{1, 1, 2, 21, 5, {64, 0, true, false, 10, 21, 6}},
	};
	struct dsa_vdev *vdev;
	struct rig other;

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct dsa_vdev_config config = rig_config(&other, &bad[i].wq, bad[i].nwqs);

		config.nengines = bad[i].nengines;
		config.nvectors = bad[i].nvectors;
		config.xfer_shift = bad[i].xfer;
		config.batch_shift = bad[i].batch;
		assert_int_equal(dsa_vdev_new(&config, &vdev), -EINVAL);
		other.vdev = NULL;
		rig_end(&other);
	}
}

static void test_allocation(void **state)
{
	struct rig other;
	struct dsa_vdev_config config = rig_config(&other, &rig_dedicated, 1);

	for (alloc_fail_begin(); alloc_fail_more();) {
		int r = dsa_vdev_new(&config, &other.vdev);

		alloc_fail_off();
		if (!r)
			dsa_vdev_free(other.vdev);
		else
			assert_int_equal(r, -ENOMEM);
	}
	other.vdev = NULL;
	rig_end(&other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_after_reset, start, end),
		cmocka_unit_test_setup_teardown(test_writable_bits, start, end),
		cmocka_unit_test_setup_teardown(test_queue_is_locked_while_enabled, start, end),
		cmocka_unit_test_setup_teardown(test_write_one_to_clear, start, end),
		cmocka_unit_test_setup_teardown(test_sizes_and_alignment, start, end),
		cmocka_unit_test_setup_teardown(test_widths_agree, start, end),
		cmocka_unit_test_setup_teardown(test_dump, start, end),
		cmocka_unit_test(test_refused_configurations),
		cmocka_unit_test(test_allocation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
