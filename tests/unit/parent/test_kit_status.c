// SPDX-License-Identifier: BSD-3-Clause
/* The state machine: virtio 1.3, 2.1, 2.2, 2.5, 3.1. */
#include "hold_dev.h"

#define ACK VIRTIO_CONFIG_S_ACKNOWLEDGE
#define DRV VIRTIO_CONFIG_S_DRIVER
#define FOK VIRTIO_CONFIG_S_FEATURES_OK
#define DOK VIRTIO_CONFIG_S_DRIVER_OK
#define NR VIRTIO_CONFIG_S_NEEDS_RESET
#define FAILED VIRTIO_CONFIG_S_FAILED

struct row {
	uint64_t features;
	uint8_t set[5], want[5]; /* 0 ends */
};

static void test_table(void **state)
{
	static const struct row rows[] = {
		{SG_V1, {ACK, ACK | DRV, ACK | DRV | FOK, 15}, {ACK, 3, 11, 15}},
		/* Bits cannot be taken back. */
		{SG_V1, {11, 3, 8, 15}, {11, 11, 11, 15}},
		/* Nor in exchange for others. */
		{SG_V1, {3, 9, 11}, {3, 3, 11}},
		/* Features that the device refuses. */
		{SG_V1 | HOLD_F_BAD, {3, 11, 15}, {3, 3, 3}},
		{SG_V1 | HOLD_F_BAD, {15}, {3}},
		/* A modern driver without FEATURES_OK. */
		{SG_V1, {3, 7, 15}, {3, 3, 15}},
		/* A legacy driver. */
		{0, {1, 3, 7}, {1, 3, 7}},
		{HOLD_F_ONE, {7}, {7}},
		{HOLD_F_BAD, {7}, {3}},
		/* NEEDS_RESET is not the driver's to set; nor are unknown bits. */
		{SG_V1, {3 | NR, 0x33}, {3, 3}},
		{SG_V1, {15, 15 | FAILED}, {15, 15 | FAILED}},
	};
	struct soft_guest g;

	hold_open(&g, NULL);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(vdpa_set_features(g.dev, rows[i].features), 0);
		for (unsigned k = 0; k < 5 && rows[i].set[k]; k++) {
			vdpa_set_status(g.dev, rows[i].set[k]);
			if (vdpa_get_status(g.dev) != rows[i].want[k])
				fail_msg("row %zu step %u: 0x%02x instead of 0x%02x", i, k,
					 vdpa_get_status(g.dev), rows[i].want[k]);
		}
		sg_reset(&g);
	}
	assert_int_equal(vdpa_set_status(g.dev, 0), -EINVAL);
	sg_close(&g);
}

static void test_features(void **state)
{
	const uint64_t on_request =
		VDPA_BIT(VIRTIO_F_IN_ORDER) | VDPA_BIT(VIRTIO_F_NOTIFICATION_DATA);
	struct soft_guest g;

	hold_open(&g, NULL);
	assert_int_equal(vdpa_get_device_features(g.dev),
			 HOLD_F_ONE | HOLD_F_BAD | (vdpa_soft_kit_features() & ~on_request));
	assert_int_equal(vdpa_set_features(g.dev, VDPA_BIT(2)), -EINVAL);
	sg_negotiate(&g, SG_V1 | HOLD_F_ONE);
	assert_int_equal(vdpa_set_features(g.dev, SG_V1), -EBUSY);
	assert_int_equal(vdpa_set_features(g.dev, SG_V1 | HOLD_F_ONE), 0);
	assert_int_equal(vdpa_get_driver_features(g.dev), SG_V1 | HOLD_F_ONE);
	sg_reset(&g);
	assert_int_equal(vdpa_get_driver_features(g.dev), 0);
	/* There is no legacy packed ring. */
	assert_int_equal(vdpa_set_features(g.dev, VDPA_BIT(VIRTIO_F_RING_PACKED)), 0);
	assert_int_equal(vdpa_set_status(g.dev, SG_ACK | VIRTIO_CONFIG_S_FEATURES_OK), 0);
	assert_int_equal(vdpa_get_status(g.dev), SG_ACK);
	sg_close(&g);
}

static void test_backend_features(void **state)
{
	const uint64_t always =
		VDPA_BIT(VHOST_BACKEND_F_IOTLB_MSG_V2) | VDPA_BIT(VHOST_BACKEND_F_IOTLB_BATCH) |
		VDPA_BIT(VHOST_BACKEND_F_SUSPEND) | VDPA_BIT(VHOST_BACKEND_F_RESUME) |
		VDPA_BIT(VHOST_BACKEND_F_ENABLE_AFTER_DRIVER_OK);
	struct hold_params two = {.nas = 2, .ngroups = 2};
	struct soft_guest g;

	hold_open(&g, NULL);
	assert_int_equal(vdpa_get_backend_features(g.dev), always);
	sg_close(&g);
	hold_open(&g, &two);
	assert_int_equal(vdpa_get_backend_features(g.dev),
			 always | VDPA_BIT(VHOST_BACKEND_F_IOTLB_ASID) |
				 VDPA_BIT(VHOST_BACKEND_F_DESC_ASID));
	sg_close(&g);
}

static void test_config(void **state)
{
	struct soft_guest g;
	struct hold_dev *dev = hold_open(&g, NULL);
	uint8_t buf[16], nine = 9;
	uint32_t gen, gen2;

	sg_negotiate(&g, SG_V1);
	assert_int_equal(vdpa_read_config(g.dev, 0, buf, 16, &gen), 0);
	assert_memory_equal(buf, "\1\2\3\4\5\6\7\10\0\0\0\0\0\0\0\0", 16);
	/* Before DRIVER_OK nobody is called. */
	assert_int_equal(vdpa_soft_config_set(&dev->soft, 2, &nine, 1), 0);
	assert_int_equal(g.config_calls, 0);
	vdpa_read_config(g.dev, 2, buf, 1, &gen2);
	assert_int_equal(buf[0], 9);
	assert_int_not_equal(gen, gen2);
	sg_driver_ok(&g);
	vdpa_soft_config_set(&dev->soft, 3, &nine, 1);
	assert_int_equal(g.config_calls, 1);
	/* The driver's own write calls nobody. */
	assert_int_equal(vdpa_set_config(g.dev, 15, &nine, 1), 0);
	assert_int_equal(g.config_calls, 1);
	vdpa_read_config(g.dev, 15, buf, 1, &gen);
	assert_int_equal(buf[0], 9);
	assert_int_equal(vdpa_set_config(g.dev, 15, buf, 2), -EINVAL);
	assert_int_equal(vdpa_set_config(g.dev, 16, buf, 1), -EINVAL);
	assert_int_equal(vdpa_soft_config_set(&dev->soft, 16, &nine, 1), -EINVAL);
	assert_int_equal(vdpa_soft_config_set(&dev->soft, UINT32_MAX, &nine, 2), -EINVAL);
	vdpa_soft_config_get(&dev->soft, 15, buf, 2);
	assert_memory_equal(buf, "\0\0", 2);
	sg_reset(&g);
	vdpa_read_config(g.dev, 0, buf, 16, &gen2);
	assert_int_not_equal(gen, gen2);
	sg_close(&g);
}

struct events {
	struct vdpa_subscriber sub;
	unsigned broken, change;
	char detail[200];
};

static void on_event(struct vdpa_subscriber *sub, const struct vdpa_event *event)
{
	struct events *e = (struct events *)sub;

	e->broken += event->type == VDPA_EVENT_BROKEN;
	e->change += event->type == VDPA_EVENT_CHANGE;
	if (event->type == VDPA_EVENT_BROKEN)
		snprintf(e->detail, sizeof(e->detail), "%s", event->detail);
}

static void test_broken_device(void **state)
{
	struct events e = {.sub.fn = on_event};
	struct soft_guest g;
	struct hold_dev *dev = hold_open(&g, NULL);

	vdpa_subscribe(g.ctx, &e.sub);
	sg_start(&g, SG_V1, 2, 16);
	sg_run(&g, SG_SECOND / 100);
	vdpa_soft_broken(&dev->soft, "on fire");
	vdpa_soft_broken(&dev->soft, "again");
	sg_until_status(&g, NR);
	assert_int_equal(vdpa_get_status(g.dev), SG_ACK | FOK | DOK | NR);
	assert_int_equal(e.broken, 1);
	assert_string_equal(e.detail, "on fire");
	assert_int_equal(g.config_calls, 1);
	sg_run(&g, SG_SECOND / 100);
	assert_int_equal(dev->q[0].stoppeds, 1);
	assert_int_equal(dev->q[1].stoppeds, 1);
	/* Sticky, whatever the driver writes; gone with the reset. */
	vdpa_set_status(g.dev, SG_ACK | FOK | DOK);
	assert_true(vdpa_get_status(g.dev) & NR);
	vdpa_set_status(g.dev, SG_ACK | FOK | DOK | FAILED);
	assert_int_equal(vdpa_get_status(g.dev), SG_ACK | FOK | DOK | FAILED | NR);
	sg_reset(&g);
	sg_start(&g, SG_V1, 0, 0);
	assert_int_equal(vdpa_get_status(g.dev) & NR, 0);
	vdpa_unsubscribe(g.ctx, &e.sub);
	sg_close(&g);
}

/* What broke before a reset does not break what comes after it. */
static void test_broken_then_reset(void **state)
{
	struct soft_guest g;
	struct hold_dev *dev = hold_open(&g, NULL);

	sg_map(&g);
	sg_negotiate(&g, SG_V1);
	vdpa_soft_broken(&dev->soft, "too late");
	vdpa_reset(g.dev, NULL);
	sg_run(&g, SG_SECOND / 100);
	assert_int_equal(vdpa_get_status(g.dev), 0);
	sg_close(&g);
}

static void err_called(void *priv)
{
	(*(unsigned *)priv)++;
}

/* One queue's ring is broken: it stops, the device says so, the other goes on. */
static void test_malformed_ring(void **state)
{
	unsigned errs = 0;
	struct vdpa_callback cb = {err_called, &errs, -1};
	struct events e = {.sub.fn = on_event};
	struct soft_guest g;
	struct hold_dev *dev = hold_open(&g, NULL);
	struct virtqueue_sg bad = {0x1000, 64};
	uint32_t len;

	vdpa_subscribe(g.ctx, &e.sub);
	assert_int_equal(vdpa_set_vq_err(g.dev, 0, &cb), 0);
	sg_start(&g, SG_V1, 2, 16);
	sg_send(&g, 0, &bad, 0, 1, &g);
	sg_until_status(&g, NR);
	assert_int_equal(e.broken, 1);
	assert_int_equal(errs, 1);
	assert_non_null(strstr(e.detail, "head 0"));
	assert_int_equal(sg_stat(&g, 0, "bad_rings"), 1);
	sg_run(&g, SG_SECOND / 100);
	assert_int_equal(dev->q[0].stoppeds, 1);
	hold_post(&g, 1, 0, 100);
	assert_non_null(sg_get(&g, 1, &len, SG_PATIENCE));
	assert_int_equal(len, 100);
	vdpa_unsubscribe(g.ctx, &e.sub);
	sg_close(&g);
}

static void test_start_error(void **state)
{
	struct soft_guest g;
	struct hold_dev *dev = hold_open(&g, NULL);

	dev->start_error = -ENXIO;
	sg_start(&g, SG_V1, 1, 16);
	sg_until_status(&g, NR);
	sg_run(&g, SG_SECOND / 100);
	assert_int_equal(dev->q[0].starts, 0);
	assert_int_equal(dev->q[0].stoppeds, 0);
	dev->start_error = 0;
	sg_reset(&g);
	sg_start(&g, SG_V1, 1, 16);
	sg_run(&g, SG_SECOND / 100);
	assert_int_equal(dev->q[0].starts, 1);
	sg_close(&g);
}

/* A million bad things, and the log stays short. */
static void test_log_is_limited(void **state)
{
	struct soft_guest g;

	hold_open(&g, NULL);
	sg_negotiate(&g, SG_V1);
	for (unsigned i = 0; i < 1000000; i++)
		vdpa_set_status(g.dev, 1);
	assert_true(g.log_lines < 50);
	sg_close(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_features),
		cmocka_unit_test(test_backend_features),
		cmocka_unit_test(test_config),
		cmocka_unit_test(test_broken_device),
		cmocka_unit_test(test_broken_then_reset),
		cmocka_unit_test(test_malformed_ring),
		cmocka_unit_test(test_start_error),
		cmocka_unit_test(test_log_is_limited),
	};

	return cmocka_run_group_tests_name("kit status", tests, NULL, NULL);
}
