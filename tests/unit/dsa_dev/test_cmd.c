// SPDX-License-Identifier: BSD-3-Clause
/* Commands: every one, every status that it can end with, and what it leaves. */
#include "rig.h"

static struct rig rig;

static int start(void **state)
{
	rig_start(&rig, &rig_dedicated);
	return 0;
}

static int start_shared(void **state)
{
	rig_start(&rig, &rig_shared);
	return 0;
}

/* Two queues that the driver may configure, the second one shared. */
static int start_configurable(void **state)
{
	const struct dsa_vdev_wq wqs[] = {rig_dedicated, rig_shared};
	struct dsa_vdev_config config = rig_config(&rig, wqs, 2);

	config.configurable = true;
	assert_int_equal(dsa_vdev_new(&config, &rig.vdev), 0);
	rig.at_once = true;
	return 0;
}

static int end(void **state)
{
	rig_end(&rig);
	return 0;
}

/* ---- what does not depend on configuration ---- */

enum before { NEW, DEVICE, QUEUE, HALT_SW, HALT_FLR };

static void bring_to(enum before before)
{
	if (before == DEVICE || before == QUEUE)
		assert_int_equal(rig_cmd(&rig, DSA_CMD_ENABLE_DEVICE, 0), 0);
	if (before == QUEUE)
		assert_int_equal(rig_cmd(&rig, DSA_CMD_ENABLE_WQ, 0), 0);
	if (before == HALT_SW)
		dsa_vdev_halt(rig.vdev, DSA_RESET_SOFTWARE);
	if (before == HALT_FLR)
		dsa_vdev_halt(rig.vdev, DSA_RESET_FLR);
}

static const struct {
	enum before before;
	unsigned cmd, operand;
	uint32_t sts;
	enum dsa_state device;
	bool queue; /* is enabled afterwards */
} table[] = {
	{NEW, 0, 0, DSA_CMDSTS_INVAL_CMD, DSA_DISABLED, false},
	{NEW, 15, 0, DSA_CMDSTS_INVAL_CMD, DSA_DISABLED, false},
	{QUEUE, 31, 0, DSA_CMDSTS_INVAL_CMD, DSA_ENABLED, true},
	{NEW, DSA_CMD_ENABLE_DEVICE, 0, 0, DSA_ENABLED, false},
	{DEVICE, DSA_CMD_ENABLE_DEVICE, 0, DSA_CMDSTS_DEV_ENABLED, DSA_ENABLED, false},
	{NEW, DSA_CMD_DISABLE_DEVICE, 0, DSA_CMDSTS_DIS_DEV_EN, DSA_DISABLED, false},
	{DEVICE, DSA_CMD_DISABLE_DEVICE, 0, 0, DSA_DISABLED, false},
	{QUEUE, DSA_CMD_DISABLE_DEVICE, 0, 0, DSA_DISABLED, false},
	{NEW, DSA_CMD_DRAIN_ALL, 0, DSA_CMDSTS_DEV_NOT_EN, DSA_DISABLED, false},
	{QUEUE, DSA_CMD_DRAIN_ALL, 0, 0, DSA_ENABLED, true},
	{NEW, DSA_CMD_ABORT_ALL, 0, DSA_CMDSTS_DEV_NOT_EN, DSA_DISABLED, false},
	{QUEUE, DSA_CMD_ABORT_ALL, 0, 0, DSA_ENABLED, true},
	{NEW, DSA_CMD_RESET_DEVICE, 0, 0, DSA_DISABLED, false},
	{QUEUE, DSA_CMD_RESET_DEVICE, 0, 0, DSA_DISABLED, false},
	{HALT_SW, DSA_CMD_RESET_DEVICE, 0, 0, DSA_DISABLED, false},
	{HALT_FLR, DSA_CMD_RESET_DEVICE, 0, DSA_CMDSTS_HW_ERR, DSA_HALTED, false},
	{NEW, DSA_CMD_ENABLE_WQ, 0, DSA_CMDSTS_DEV_NOTEN, DSA_DISABLED, false},
	{DEVICE, DSA_CMD_ENABLE_WQ, 0, 0, DSA_ENABLED, true},
	{DEVICE, DSA_CMD_ENABLE_WQ, 1, DSA_CMDSTS_INVAL_WQIDX, DSA_ENABLED, false},
	{DEVICE, DSA_CMD_ENABLE_WQ, 0xfffff, DSA_CMDSTS_INVAL_WQIDX, DSA_ENABLED, false},
	{QUEUE, DSA_CMD_ENABLE_WQ, 0, DSA_CMDSTS_WQ_ENABLED, DSA_ENABLED, true},
	{NEW, DSA_CMD_DISABLE_WQ, 1, DSA_CMDSTS_DEV_NOT_EN, DSA_DISABLED, false},
	{QUEUE, DSA_CMD_DISABLE_WQ, 1, 0, DSA_ENABLED, false},
	{DEVICE, DSA_CMD_DISABLE_WQ, 1, 0, DSA_ENABLED, false},
	{QUEUE, DSA_CMD_DISABLE_WQ, 0, DSA_CMDSTS_INVAL_WQIDX, DSA_ENABLED, true},
	{QUEUE, DSA_CMD_DISABLE_WQ, 3, DSA_CMDSTS_INVAL_WQIDX, DSA_ENABLED, true},
	{QUEUE, DSA_CMD_DISABLE_WQ, 0x10001, DSA_CMDSTS_INVAL_WQIDX, DSA_ENABLED, true},
	{NEW, DSA_CMD_DRAIN_WQ, 1, DSA_CMDSTS_DEV_NOT_EN, DSA_DISABLED, false},
	{QUEUE, DSA_CMD_DRAIN_WQ, 1, 0, DSA_ENABLED, true},
	{QUEUE, DSA_CMD_DRAIN_WQ, 2, DSA_CMDSTS_INVAL_WQIDX, DSA_ENABLED, true},
	{NEW, DSA_CMD_ABORT_WQ, 1, DSA_CMDSTS_DEV_NOT_EN, DSA_DISABLED, false},
	{QUEUE, DSA_CMD_ABORT_WQ, 1, 0, DSA_ENABLED, true},
	{QUEUE, DSA_CMD_ABORT_WQ, 2, DSA_CMDSTS_INVAL_WQIDX, DSA_ENABLED, true},
	{NEW, DSA_CMD_RESET_WQ, 1, DSA_CMDSTS_DEV_NOT_EN, DSA_DISABLED, false},
	{QUEUE, DSA_CMD_RESET_WQ, 1, 0, DSA_ENABLED, false},
	{DEVICE, DSA_CMD_RESET_WQ, 1, 0, DSA_ENABLED, false},
	{QUEUE, DSA_CMD_RESET_WQ, 2, DSA_CMDSTS_INVAL_WQIDX, DSA_ENABLED, true},
	{NEW, DSA_CMD_DRAIN_PASID, 0, DSA_CMDSTS_DEV_NOT_EN, DSA_DISABLED, false},
	{QUEUE, DSA_CMD_DRAIN_PASID, 0, 0, DSA_ENABLED, true},
	{QUEUE, DSA_CMD_DRAIN_PASID, 5, 0, DSA_ENABLED, true},
	{NEW, DSA_CMD_DRAIN_PASID, 5, DSA_CMDSTS_DEV_NOT_EN, DSA_DISABLED, false},
	{NEW, DSA_CMD_ABORT_PASID, 5, DSA_CMDSTS_DEV_NOT_EN, DSA_DISABLED, false},
	{NEW, DSA_CMD_ABORT_PASID, 0, DSA_CMDSTS_DEV_NOT_EN, DSA_DISABLED, false},
	{QUEUE, DSA_CMD_ABORT_PASID, 0, 0, DSA_ENABLED, true},
	{QUEUE, DSA_CMD_ABORT_PASID, 5, 0, DSA_ENABLED, true},
	{NEW, DSA_CMD_REQUEST_INT_HANDLE, 0, DSA_CMDSTS_INVAL_INT_IDX, DSA_DISABLED, false},
	{NEW, DSA_CMD_REQUEST_INT_HANDLE, 2, DSA_CMDSTS_INVAL_INT_IDX, DSA_DISABLED, false},
	{NEW, DSA_CMD_REQUEST_INT_HANDLE, 0x10001, DSA_CMDSTS_INVAL_INT_IDX, DSA_DISABLED, false},
	{NEW, DSA_CMD_RELEASE_INT_HANDLE, 1, DSA_CMDSTS_INVAL_INT_IDX, DSA_DISABLED, false},
	{NEW, DSA_CMD_RELEASE_INT_HANDLE, 0x10001, DSA_CMDSTS_INVAL_INT_IDX, DSA_DISABLED, false},
};

static void test_status(void **state)
{
	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		uint32_t sts;

		rig_start(&rig, &rig_dedicated);
		bring_to(table[i].before);
		sts = rig_cmd(&rig, table[i].cmd, table[i].operand);
		if (sts != table[i].sts)
			fail_msg("row %u, command %u: 0x%x, not 0x%x", i, table[i].cmd, sts,
				 table[i].sts);
		assert_int_equal(dsa_vdev_state(rig.vdev), table[i].device);
		assert_int_equal(dsa_vdev_wq_enabled(rig.vdev, 0), table[i].queue);
		assert_int_equal(rig.enabled, table[i].queue);
		assert_int_equal(rig.interrupts, 0);
		rig_end(&rig);
	}
}

/* Whatever a command ends with, it interrupts if it is to. */
static void test_interrupt(void **state)
{
	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		rig_start(&rig, &rig_dedicated);
		bring_to(table[i].before);
		rig_cmd(&rig, table[i].cmd, table[i].operand | DSA_CMD_INT);
		assert_int_equal(rig.interrupts, 1);
		assert_int_equal(rig_read(&rig, DSA_INTCAUSE) & DSA_INTCAUSE_CMD, DSA_INTCAUSE_CMD);
		rig_end(&rig);
	}
}

/* Halted: nothing but the reset, by the driver's command only where that is enough. */
static void test_halt(void **state)
{
	for (unsigned cmd = 1; cmd <= 14; cmd++) {
		if (cmd == DSA_CMD_RESET_DEVICE)
			continue;
		rig_start(&rig, &rig_dedicated);
		rig_enable_all(&rig);
		dsa_vdev_halt(rig.vdev, DSA_RESET_SOFTWARE);
		assert_int_equal(rig_cmd(&rig, cmd, 1), DSA_CMDSTS_HW_ERR);
		rig_end(&rig);
	}
	rig_start(&rig, &rig_dedicated);
	rig_write(&rig, DSA_GENCTRL, DSA_GENCTRL_HALT);
	rig_enable_all(&rig);
	dsa_vdev_halt(rig.vdev, DSA_RESET_FLR);
	dsa_vdev_halt(rig.vdev, DSA_RESET_COLD); /* it is already */
	assert_int_equal(rig_read(&rig, DSA_GENSTS), DSA_HALTED | DSA_RESET_FLR << 2);
	assert_int_equal(rig_read(&rig, DSA_INTCAUSE), DSA_INTCAUSE_HALT);
	assert_int_equal(rig.interrupts, 1);
	assert_true(rig.quiet[DSA_VDEV_RESET].abort);
	assert_int_equal(rig_cmd(&rig, DSA_CMD_RESET_DEVICE, 0), DSA_CMDSTS_HW_ERR);
	dsa_vdev_reset(rig.vdev, rig_reset(&rig));
	assert_int_equal(rig.resets, 1);
	assert_int_equal(rig_read(&rig, DSA_GENSTS), 0);
	assert_int_equal(rig.enabled, 0);
	rig_enable_all(&rig);
	rig_end(&rig);
}

static void test_bus_master(void **state)
{
	rig.bus_master = false;
	assert_int_equal(rig_cmd(&rig, DSA_CMD_ENABLE_DEVICE, 0), DSA_CMDSTS_BUSMASTER);
	assert_int_equal(dsa_vdev_state(rig.vdev), DSA_DISABLED);
	rig.bus_master = true;
	assert_int_equal(rig_cmd(&rig, DSA_CMD_ENABLE_DEVICE, 0), 0);
}

static void test_command_that_is_not_offered(void **state)
{
	assert_int_equal(rig_read(&rig, DSA_CMDCAP) & 1u << 15, 0);
	assert_int_equal(rig_cmd(&rig, 15, 0), DSA_CMDSTS_INVAL_CMD);
}

static void test_no_memory_for_a_queue(void **state)
{
	rig.no_queue = true;
	assert_int_equal(rig_cmd(&rig, DSA_CMD_ENABLE_DEVICE, 0), 0);
	assert_int_equal(rig_cmd(&rig, DSA_CMD_ENABLE_WQ, 0), DSA_CMDSTS_HW_ERR);
	assert_false(dsa_vdev_wq_enabled(rig.vdev, 0));
}

/* The queue has no PASID to use: none was given to the device. */
static void test_pasid(void **state)
{
	assert_int_equal(rig_cmd(&rig, DSA_CMD_ENABLE_DEVICE, 0), 0);
	rig_write(&rig, DSA_WQCFG + 8, DSA_WQCFG_PASID_EN | 5 << DSA_WQCFG_PASID_SHIFT);
	assert_int_equal(rig_read(&rig, DSA_WQCFG + 8), 0xa1 | DSA_WQCFG_PASID_EN | 0x500);
	assert_int_equal(rig_cmd(&rig, DSA_CMD_ENABLE_WQ, 0), DSA_CMDSTS_PASID_EN);
	rig_write(&rig, DSA_WQCFG + 8, 0);
	assert_int_equal(rig_cmd(&rig, DSA_CMD_ENABLE_WQ, 0), 0);
	rig_cmd(&rig, DSA_CMD_DISABLE_DEVICE, 0);
	rig_write(&rig, DSA_MSIXPERM + 8, 1u << 3);
	assert_int_equal(rig_cmd(&rig, DSA_CMD_ENABLE_DEVICE, 0), DSA_CMDSTS_PASID_INVAL);
}

static void test_shared_queue(void **state)
{
	rig_enable_all(&rig);
	assert_false(rig.config.dedicated);
	assert_int_equal(rig.config.threshold, 48);
	assert_int_equal(rig_read(&rig, DSA_WQCAP + 4), 1u << 16);
	assert_int_equal(rig_read(&rig, DSA_WQCFG + 24), 1u << 30 | 0x20000000);
}

/* ---- configuration by the driver ---- */

#define WQ0(word) (DSA_WQCFG + (word)*4)

static void test_device_configuration(void **state)
{
	static const struct {
		unsigned off;
		uint32_t value, sts;
	} wrong[] = {
		{WQ0(DSA_WQW_SIZE), 65, DSA_CMDSTS_WQ_SIZES},
		{WQ0(DSA_WQW_SIZE), 0xffff, DSA_CMDSTS_WQ_SIZES},
		{DSA_GRPCFG, 7, DSA_CMDSTS_CONFIG},		/* a third queue */
		{DSA_GRPCFG + 32, 7, DSA_CMDSTS_CONFIG},	/* a third engine */
		{DSA_GRPCFG, 0, DSA_CMDSTS_GRP_CONFIG},		/* engines without queues */
		{DSA_GRPCFG + 32, 0, DSA_CMDSTS_GRP_CONFIG},	/* and the other way round */
		{DSA_GRPCFG, 1, DSA_CMDSTS_GRP_CONFIG2},	/* the second one in no group */
		{WQ0(DSA_WQW_SIZE), 0, DSA_CMDSTS_GRP_CONFIG2}, /* no size, but in a group */
		{DSA_GRPCFG + 40, 0, DSA_CMDSTS_GRP_CONFIG4},	/* no read buffer allowed */
		{DSA_GRPCFG + 40, 9u << 20, DSA_CMDSTS_GRP_CONFIG4},
		{DSA_GRPCFG + 40, 8u << 20 | 9u << 8, DSA_CMDSTS_GRP_CONFIG4},
		{DSA_GRPCFG + 40, 2u << 20 | 4u << 8, DSA_CMDSTS_GRP_CONFIG4},
	};
	uint32_t before;

	assert_int_equal(rig_read(&rig, DSA_GRPCAP), 0x802);
	assert_true(rig_read(&rig, DSA_GENCAP) >> 31);
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		before = rig_read(&rig, wrong[i].off);
		rig_write(&rig, wrong[i].off, wrong[i].value);
		assert_int_equal(rig_cmd(&rig, DSA_CMD_ENABLE_DEVICE, 0), wrong[i].sts);
		rig_write(&rig, wrong[i].off, before);
	}
	/* An engine in two groups, each with a queue. */
	rig_write(&rig, DSA_GRPCFG, 1);
	rig_write(&rig, DSA_GRPCFG + 64, 2);
	rig_write(&rig, DSA_GRPCFG + 64 + 32, 2);
	rig_write(&rig, DSA_GRPCFG + 64 + 40, 8u << 20);
	assert_int_equal(rig_cmd(&rig, DSA_CMD_ENABLE_DEVICE, 0), DSA_CMDSTS_GRP_CONFIG3);
	rig_write(&rig, DSA_GRPCFG + 32, 1);
	assert_int_equal(rig_cmd(&rig, DSA_CMD_ENABLE_DEVICE, 0), 0);
	/* Locked now. */
	rig_write(&rig, DSA_GRPCFG, 0);
	assert_int_equal(rig_read(&rig, DSA_GRPCFG), 1);
}

static void test_queue_configuration(void **state)
{
	static const struct {
		unsigned word;
		uint32_t value, sts;
	} wrong[] = {
		{DSA_WQW_MODE, 0x01, DSA_CMDSTS_WQ_PRIOR},
		{DSA_WQW_MODE, 0xa3, DSA_CMDSTS_BOF_EN},
		{DSA_WQW_MODE, 0xa1 | DSA_WQCFG_PASID_EN, DSA_CMDSTS_PASID_EN},
		{DSA_WQW_LIMITS, 22 | 5 << 5, DSA_CMDSTS_MAX_XFER},
		{DSA_WQW_LIMITS, 21 | 6 << 5, DSA_CMDSTS_MAX_BATCH},
	};
	uint32_t before;

	assert_int_equal(rig_cmd(&rig, DSA_CMD_ENABLE_DEVICE, 0), 0);
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		before = rig_read(&rig, WQ0(wrong[i].word));
		rig_write(&rig, WQ0(wrong[i].word), wrong[i].value);
		assert_int_equal(rig_cmd(&rig, DSA_CMD_ENABLE_WQ, 0), wrong[i].sts);
		rig_write(&rig, WQ0(wrong[i].word), before);
	}
	/* The shared one: a threshold beyond its size. */
	rig_write(&rig, WQ0(DSA_WQW_THRESHOLD) + 32, 65);
	assert_int_equal(rig_cmd(&rig, DSA_CMD_ENABLE_WQ, 1), DSA_CMDSTS_WQ_SIZE);
	rig_write(&rig, WQ0(DSA_WQW_THRESHOLD) + 32, 1);
	assert_int_equal(rig_cmd(&rig, DSA_CMD_ENABLE_WQ, 1), 0);
	assert_int_equal(rig.config.threshold, 1);
	assert_int_equal(rig_cmd(&rig, DSA_CMD_ENABLE_WQ, 0), 0);
	assert_int_equal(rig_cmd(&rig, DSA_CMD_DISABLE_WQ, 3), 0);
	assert_int_equal(rig.enabled, 0);
}

/* A mode that the device does not have: it can only be asked for where all can be configured. */
static void test_queue_mode(void **state)
{
	rig_write(&rig, WQ0(DSA_WQW_MODE), 0xa0); /* shared: not taken over */
	assert_int_equal(rig_read(&rig, WQ0(DSA_WQW_MODE)), 0xa1);
}

/* ---- in time ---- */

static void test_commands_wait(void **state)
{
	static const struct {
		unsigned cmd, operand;
		bool abort, takes; /* takes: descriptors, meanwhile */
		bool others;	   /* a PASID that no queue here works for: nothing is waited for */
	} waiting[] = {
		{DSA_CMD_DISABLE_DEVICE, 0, false, false},
		{DSA_CMD_DRAIN_ALL, 0, false, true},
		{DSA_CMD_ABORT_ALL, 0, true, true},
		{DSA_CMD_RESET_DEVICE, 0, true, false},
		{DSA_CMD_DISABLE_WQ, 1, false, false},
		{DSA_CMD_DRAIN_WQ, 1, false, true},
		{DSA_CMD_ABORT_WQ, 1, true, true},
		{DSA_CMD_RESET_WQ, 1, true, false},
		{DSA_CMD_DRAIN_PASID, 0, false, true},
		{DSA_CMD_ABORT_PASID, 0, true, true},
		{DSA_CMD_DRAIN_PASID, 5, false, true, true},
		{DSA_CMD_ABORT_PASID, 5, true, true, true},
	};
	const uint8_t desc[DSA_DESC_BYTES] = {0};

	for (unsigned i = 0; i < sizeof(waiting) / sizeof(waiting[0]); i++) {
		struct dsa_vdev_stats stats;

		rig_start(&rig, &rig_dedicated);
		rig_enable_all(&rig);
		rig.at_once = false;
		assert_int_equal(rig_cmd(&rig, waiting[i].cmd, waiting[i].operand | DSA_CMD_INT),
				 DSA_CMDSTS_ACTIVE);
		assert_int_equal(rig.quiet[DSA_VDEV_COMMAND].abort, waiting[i].abort);
		assert_int_equal(rig.quiet[DSA_VDEV_COMMAND].wqs, !waiting[i].others);
		assert_true(dsa_vdev_wq_enabled(rig.vdev, 0)); /* until it is quiet */
		assert_int_equal(rig.interrupts, 0);
		/* What is written meanwhile is ignored. */
		assert_int_equal(rig_cmd(&rig, DSA_CMD_DRAIN_ALL, DSA_CMD_INT), DSA_CMDSTS_ACTIVE);
		dsa_vdev_get_stats(rig.vdev, &stats);
		assert_int_equal(stats.ignored, 1);
		dsa_vdev_portal_write(rig.vdev, 0, desc, sizeof(desc));
		assert_int_equal(rig.n, waiting[i].takes);
		rig_quiet(&rig, DSA_VDEV_COMMAND);
		assert_int_equal(rig_read(&rig, DSA_CMDSTS), 0);
		assert_int_equal(rig.interrupts, 1);
		assert_int_equal(dsa_vdev_wq_enabled(rig.vdev, 0), waiting[i].takes);
		rig.at_once = true;
		rig_end(&rig);
	}
}

static void test_draining_state(void **state)
{
	rig_enable_all(&rig);
	rig.at_once = false;
	rig_cmd(&rig, DSA_CMD_DISABLE_DEVICE, 0);
	assert_int_equal(dsa_vdev_state(rig.vdev), DSA_DRAINING);
	rig_quiet(&rig, DSA_VDEV_COMMAND);
	assert_int_equal(dsa_vdev_state(rig.vdev), DSA_DISABLED);
}

/* A reset, a halt, or both, over a command that waits. */
static void test_reset_over_a_command(void **state)
{
	for (int halted = 0; halted < 2; halted++) {
		for (int order = 0; order < 2; order++) {
			rig_start(&rig, &rig_dedicated);
			rig_enable_all(&rig);
			rig.at_once = false;
			rig_cmd(&rig, DSA_CMD_DRAIN_WQ, 1 | DSA_CMD_INT);
			if (halted)
				dsa_vdev_halt(rig.vdev, DSA_RESET_FLR);
			dsa_vdev_reset(rig.vdev, rig_reset(&rig));
			assert_true(rig.quiet[DSA_VDEV_RESET].abort);
			assert_int_equal(rig.quiet[DSA_VDEV_RESET].calls, 1);
			rig_quiet(&rig, order ? DSA_VDEV_RESET : DSA_VDEV_COMMAND);
			assert_int_equal(rig.resets, 0);
			rig_quiet(&rig, order ? DSA_VDEV_COMMAND : DSA_VDEV_RESET);
			assert_int_equal(rig.resets, 1);
			assert_int_equal(rig_read(&rig, DSA_CMDSTS), 0);
			assert_int_equal(rig_read(&rig, DSA_GENSTS), 0);
			assert_int_equal(rig.interrupts, 0); /* it ended in the reset */
			assert_int_equal(rig.enabled, 0);
			rig.at_once = true;
			rig_enable_all(&rig);
			rig_end(&rig);
		}
	}
}

static void test_halt_over_a_command(void **state)
{
	rig_enable_all(&rig);
	rig.at_once = false;
	rig_cmd(&rig, DSA_CMD_DISABLE_WQ, 1);
	dsa_vdev_halt(rig.vdev, DSA_RESET_SOFTWARE);
	rig_quiet(&rig, DSA_VDEV_COMMAND);
	assert_int_equal(rig_read(&rig, DSA_CMDSTS), DSA_CMDSTS_HW_ERR);
	rig_quiet(&rig, DSA_VDEV_RESET);
	assert_int_equal(dsa_vdev_state(rig.vdev), DSA_HALTED);
	rig.at_once = true;
	assert_int_equal(rig_cmd(&rig, DSA_CMD_RESET_DEVICE, 0), 0);
}

static void stopped(void *arg, int result)
{
	(*(unsigned *)arg)++;
}

/* Bus master is cleared: told when nothing is in flight, once, whatever else is under way. */
static void test_stop(void **state)
{
	unsigned n = 0;
	const struct vdpa_done done = {stopped, &n};

	dsa_vdev_stop(rig.vdev, &done);
	assert_int_equal(n, 1);
	assert_int_equal(dsa_vdev_state(rig.vdev), DSA_DISABLED);
	rig_write(&rig, DSA_GENCTRL, DSA_GENCTRL_HALT);
	rig_enable_all(&rig);
	rig.at_once = false;
	rig_cmd(&rig, DSA_CMD_RESET_DEVICE, 0);
	dsa_vdev_stop(rig.vdev, &done);
	assert_int_equal(dsa_vdev_state(rig.vdev), DSA_HALTED);
	assert_true(rig.quiet[DSA_VDEV_RESET].abort);
	rig_quiet(&rig, DSA_VDEV_COMMAND);
	assert_int_equal(n, 1);
	rig_quiet(&rig, DSA_VDEV_RESET);
	assert_int_equal(n, 2);
	assert_int_equal(rig_read(&rig, DSA_CMDSTS), 0);
	assert_int_equal(dsa_vdev_state(rig.vdev), DSA_DISABLED);
	/* After a halt it waits for the same. */
	rig.at_once = true;
	rig_enable_all(&rig);
	rig.at_once = false;
	dsa_vdev_halt(rig.vdev, DSA_RESET_FLR);
	dsa_vdev_stop(rig.vdev, &done);
	assert_int_equal(rig.quiet[DSA_VDEV_RESET].calls, 2);
	dsa_vdev_reset(rig.vdev, rig_reset(&rig));
	rig_quiet(&rig, DSA_VDEV_RESET);
	assert_int_equal(n, 3);
	assert_int_equal(rig.resets, 1);
	assert_int_equal(rig.interrupts, 0);
	rig.at_once = true;
}

/* The command that ends a halt is not over before what the halt has aborted. */
static void test_reset_after_halt_waits_for_both(void **state)
{
	rig_enable_all(&rig);
	rig.at_once = false;
	dsa_vdev_halt(rig.vdev, DSA_RESET_SOFTWARE);
	assert_int_equal(rig_cmd(&rig, DSA_CMD_RESET_DEVICE, 0), DSA_CMDSTS_ACTIVE);
	rig_quiet(&rig, DSA_VDEV_COMMAND);
	assert_int_equal(rig_read(&rig, DSA_CMDSTS), DSA_CMDSTS_ACTIVE);
	assert_int_equal(rig.enabled, 1);
	rig_quiet(&rig, DSA_VDEV_RESET);
	assert_int_equal(rig_read(&rig, DSA_CMDSTS), 0);
	assert_int_equal(rig.enabled, 0);
	rig.at_once = true;
}

static void test_reset_leaves_nothing(void **state)
{
	struct dsa_error error = {.status = 0x10};
	uint16_t handle;

	rig_write(&rig, DSA_GENCFG, 0x1000);
	rig_write(&rig, DSA_GENCTRL, 3);
	rig_write(&rig, DSA_MSIXPERM, 4);
	rig_enable_all(&rig);
	handle = (uint16_t)(rig_cmd(&rig, DSA_CMD_REQUEST_INT_HANDLE, 1) >> 8);
	assert_true(ims_vectors_valid(rig.vectors, handle));
	dsa_vdev_error(rig.vdev, 0, &error);
	assert_int_equal(rig_cmd(&rig, DSA_CMD_RESET_DEVICE, 0), 0);
	assert_int_equal(rig_read(&rig, DSA_GENCFG), 0);
	assert_int_equal(rig_read(&rig, DSA_GENCTRL), 0);
	assert_int_equal(rig_read(&rig, DSA_MSIXPERM), 0);
	assert_int_equal(rig_read(&rig, DSA_INTCAUSE), 0);
	assert_int_equal(rig_read(&rig, DSA_SWERR), 0);
	assert_int_equal(ims_vectors_release(rig.vectors, handle), -ENOENT);
	assert_int_equal(rig_read(&rig, DSA_WQCFG), 64);
}

/* ---- handles, errors ---- */

static void test_handles(void **state)
{
	struct ims_irq irq = {rig_signal, &rig, 3, "other"};
	uint32_t sts = rig_cmd(&rig, DSA_CMD_REQUEST_INT_HANDLE, 1);
	uint16_t handle = (uint16_t)(sts >> 8);
	unsigned slots[8];

	assert_int_equal(sts & ~0xffff00u, 0);
	assert_int_equal(ims_vectors_send(rig.vectors, handle, 9), 0);
	assert_int_equal(rig.vector[1], 1);
	assert_int_equal(rig_cmd(&rig, DSA_CMD_RELEASE_INT_HANDLE, handle), 0);
	assert_int_equal(rig_cmd(&rig, DSA_CMD_RELEASE_INT_HANDLE, handle),
			 DSA_CMDSTS_INVAL_INT_IDX);
	assert_int_equal(rig_cmd(&rig, DSA_CMD_REQUEST_INT_HANDLE, 1), sts);

	dsa_vdev_revoke(rig.vdev);
	assert_int_equal(rig_read(&rig, DSA_INTCAUSE), DSA_INTCAUSE_REVOKED);
	assert_int_equal(rig.interrupts, 1);
	assert_int_equal(ims_vectors_send(rig.vectors, handle, 9), -ENOENT);
	rig_write(&rig, DSA_INTCAUSE, DSA_INTCAUSE_REVOKED);
	assert_int_equal(rig_read(&rig, DSA_INTCAUSE), 0);
	sts = rig_cmd(&rig, DSA_CMD_REQUEST_INT_HANDLE, 1);
	assert_int_equal(sts & 0xff, 0);
	assert_int_not_equal(sts >> 8, handle);

	/* Revoked, and others have taken all there are. */
	dsa_vdev_revoke(rig.vdev);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(ims_alloc(rig.ims, &irq, &slots[i]), 0);
	assert_int_equal(rig_cmd(&rig, DSA_CMD_REQUEST_INT_HANDLE, 1), DSA_CMDSTS_NO_HANDLE);
	for (unsigned i = 0; i < 8; i++)
		ims_release(rig.ims, slots[i]);
	assert_int_equal(rig_cmd(&rig, DSA_CMD_REQUEST_INT_HANDLE, 1) & 0xff, 0);
}

static void test_swerr(void **state)
{
	struct dsa_error error = {.status = 0x80 | 0x1a,
				  .op = 3,
				  .pasid = 0x12345,
				  .priv = true,
				  .batch = true,
				  .batch_index = 7,
				  .invalid_flags = 0x55,
				  .fault_addr = 0x1122334455667788};

	/* No interrupt that was not asked for. */
	dsa_vdev_error(rig.vdev, 0, &error);
	assert_int_equal(rig.interrupts, 0);
	assert_int_equal(rig_read(&rig, DSA_SWERR), 0x00001a7d);
	assert_int_equal(rig_read(&rig, DSA_SWERR + 4), 0x01234503);
	assert_int_equal(rig_read(&rig, DSA_SWERR + 8), 7);
	assert_int_equal(rig_read(&rig, DSA_SWERR + 12), 0x55);
	assert_int_equal(rig_read(&rig, DSA_SWERR + 16), 0x55667788);
	assert_int_equal(rig_read(&rig, DSA_SWERR + 20), 0x11223344);
	/* The first one stays. */
	rig_write(&rig, DSA_GENCTRL, DSA_GENCTRL_SOFTERR);
	error = (struct dsa_error){.status = 0x10, .op = 9};
	dsa_vdev_error(rig.vdev, 0, &error);
	assert_int_equal(rig_read(&rig, DSA_SWERR), 0x00001a7f);
	assert_int_equal(rig.interrupts, 0);
	rig_write(&rig, DSA_SWERR, 3);
	dsa_vdev_error(rig.vdev, 0, &error);
	assert_int_equal(rig_read(&rig, DSA_SWERR), 0x0000100d);
	assert_int_equal(rig_read(&rig, DSA_SWERR + 4), 9);
	assert_int_equal(rig_read(&rig, DSA_SWERR + 16), 0);
	assert_int_equal(rig_read(&rig, DSA_INTCAUSE), DSA_INTCAUSE_ERR);
	assert_int_equal(rig.interrupts, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_interrupt),
		cmocka_unit_test(test_halt),
		cmocka_unit_test(test_commands_wait),
		cmocka_unit_test(test_reset_over_a_command),
		cmocka_unit_test_setup_teardown(test_bus_master, start, end),
		cmocka_unit_test_setup_teardown(test_command_that_is_not_offered, start, end),
		cmocka_unit_test_setup_teardown(test_no_memory_for_a_queue, start, end),
		cmocka_unit_test_setup_teardown(test_pasid, start, end),
		cmocka_unit_test_setup_teardown(test_shared_queue, start_shared, end),
		cmocka_unit_test_setup_teardown(test_device_configuration, start_configurable, end),
		cmocka_unit_test_setup_teardown(test_queue_configuration, start_configurable, end),
		cmocka_unit_test_setup_teardown(test_queue_mode, start, end),
		cmocka_unit_test_setup_teardown(test_draining_state, start, end),
		cmocka_unit_test_setup_teardown(test_halt_over_a_command, start, end),
		cmocka_unit_test_setup_teardown(test_stop, start, end),
		cmocka_unit_test_setup_teardown(test_reset_after_halt_waits_for_both, start, end),
		cmocka_unit_test_setup_teardown(test_reset_leaves_nothing, start, end),
		cmocka_unit_test_setup_teardown(test_handles, start, end),
		cmocka_unit_test_setup_teardown(test_swerr, start, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
