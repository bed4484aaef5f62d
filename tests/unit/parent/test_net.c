// SPDX-License-Identifier: BSD-3-Clause
/* The software NIC on its loopback cable: headers, layouts, buffers, filter, nothing lost. */
#include "net_guest.h"

static const struct vdpa_attr plain[] = {{"backend", "loopback"}, {0}};

static void start(struct soft_guest *g, unsigned workers, const struct vdpa_attr *attrs,
		  uint64_t features)
{
	sg_open(g, workers);
	sg_add(g, "soft_net", attrs);
	sg_start(g, features, 2, 16);
}

static void test_one(void **state)
{
	struct soft_guest g;
	uint32_t len;
	uint8_t *p;

	start(&g, 1, plain, NG_FEATURES);
	ng_rx_post(&g, 0, 2048);
	ng_frame(&g, 12, NULL, 1, 100);
	ng_tx_post(&g, 112);
	assert_true(ng_tx_done(&g, SG_PATIENCE));
	p = ng_rx(&g, &len);
	assert_non_null(p);
	assert_int_equal(len, 112);
	assert_memory_equal(p + 12, g.mem + NG_TX + 12, 100);
	/* 5.1.6.4.1: num_buffers is 1 without MRG_RXBUF, the rest of the header is zero. */
	assert_memory_equal(p, "\0\0\0\0\0\0\0\0\0\0\1\0", 12);
	assert_int_equal(sg_stat(&g, 0, "rx packets"), 1);
	assert_int_equal(sg_stat(&g, 0, "rx bytes"), 100);
	assert_int_equal(sg_stat(&g, 1, "tx packets"), 1);
	assert_int_equal(sg_stat(&g, 1, "tx bytes"), 100);
	sg_close(&g);
}

static unsigned loop_of(const struct soft_guest *g, unsigned idx)
{
	return vdpa_loop_index(
		vdpa_soft_vq_loop(vdpa_soft_get_vq(vdpa_to_soft(g->dev), (uint16_t)idx)));
}

/* One queue of a pair that runs, or none, changes its worker with the other: both go on there. */
static void test_moved_before_it_runs(void **state)
{
	unsigned ready = (unsigned)(uintptr_t)*state;
	struct soft_guest g;
	uint32_t len;

	sg_open(&g, 3);
	sg_add(&g, "soft_net", plain);
	sg_map(&g);
	sg_negotiate(&g, NG_FEATURES);
	for (unsigned i = 0; i < 2; i++)
		sg_queue_setup(&g, i, 16);
	for (unsigned i = 0; i < ready; i++)
		assert_int_equal(vdpa_set_vq_ready(g.dev, (uint16_t)i), 0);
	sg_driver_ok(&g);
	for (unsigned i = 0; i < 3; i++) {
		struct vdpa_attr workers[] = {{"workers", i == 1 ? "2" : "1"}, {0}};
		struct vdpa_dev_set_config config = {.attrs = workers};
		struct vdpa_error err = {.msg = ""};

		assert_int_equal(vdpa_dev_set(g.dev, &config, &err), 0);
	}
	for (unsigned i = ready; i < 2; i++)
		assert_int_equal(vdpa_set_vq_ready(g.dev, (uint16_t)i), 0);
	ng_rx_post(&g, 0, 2048);
	ng_frame(&g, 12, NULL, 1, 100);
	ng_tx_post(&g, 112);
	assert_true(ng_tx_done(&g, SG_PATIENCE));
	assert_non_null(ng_rx(&g, &len));
	/* One that ran was asked to move, and does when its loop comes to it. */
	for (unsigned i = 0; i < 2; i++) {
		for (unsigned n = 0; n < SG_TRIES && loop_of(&g, i) != 2; n++)
			sg_run(&g, SG_SECOND / 1000);
		assert_int_equal(loop_of(&g, i), 2);
	}
	sg_close(&g);
}

/* The sender waits for the receiver, and goes on by itself. */
static void test_no_loss(void **state)
{
	struct soft_guest g;
	uint32_t len;
	unsigned sent = 0, got = 0;

	start(&g, (unsigned)(uintptr_t)*state, plain, NG_FEATURES);
	ng_frame(&g, 12, NULL, 1, 60);
	for (unsigned i = 0; i < 16; i++)
		ng_tx_post(&g, 72);
	assert_false(ng_tx_done(&g, SG_SECOND / 20));
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < 3 && got + i < 16; i++)
			ng_rx_post(&g, i, 1600);
		for (unsigned i = 0; i < 3 && got < 16; i++, got++)
			assert_non_null(sg_get(&g, 0, &len, SG_PATIENCE));
	}
	while (sent < 16 && ng_tx_done(&g, SG_PATIENCE))
		sent++;
	assert_int_equal(sent, 16);
	assert_int_equal(sg_stat(&g, 0, "rx packets"), 16);
	assert_int_equal(sg_stat(&g, 0, "rx drops"), 0);
	sg_close(&g);
}

static void test_mergeable(void **state)
{
	struct soft_guest g;
	uint32_t len, total = 0;
	unsigned n = 0;

	start(&g, 0, plain, NG_FEATURES | NG_MRG);
	ng_frame(&g, 12, NULL, 1, 1000);
	ng_tx_post(&g, 1012);
	/* 5 x 200 < 1012: nothing may be touched before there is enough. */
	for (unsigned i = 0; i < 5; i++)
		ng_rx_post(&g, i, 200);
	assert_null(ng_rx_any(&g, &len));
	ng_rx_post(&g, 5, 200);
	for (uint8_t *p; total < 1012 && (p = ng_rx(&g, &len)); n++) {
		uint32_t skip = n ? 0 : 12;

		if (!n)
			assert_int_equal(p[10] | p[11] << 8, 6);
		assert_memory_equal(p + skip, g.mem + NG_TX + (n ? total : 12), len - skip);
		total += len;
	}
	assert_int_equal(n, 6);
	assert_int_equal(total, 1012);
	sg_close(&g);
}

static void test_oversize(void **state)
{
	struct soft_guest g;
	uint32_t len;

	start(&g, 0, plain, NG_FEATURES);
	ng_rx_post(&g, 0, 111);
	ng_frame(&g, 12, NULL, 1, 100);
	ng_tx_post(&g, 112);
	assert_true(ng_tx_done(&g, SG_PATIENCE));
	assert_null(ng_rx_any(&g, &len));
	assert_int_equal(sg_stat(&g, 0, "rx overruns"), 1);
	assert_int_equal(sg_stat(&g, 0, "rx drops"), 1);
	/* The buffer is still there. */
	ng_frame(&g, 12, NULL, 1, 99);
	ng_tx_post(&g, 111);
	assert_non_null(ng_rx(&g, &len));
	assert_int_equal(len, 111);
	sg_close(&g);
}

static void test_small_buffers(void **state)
{
	struct soft_guest g;
	uint32_t len = 1;

	start(&g, 0, plain, NG_FEATURES | NG_MRG);
	for (unsigned i = 0; i < 11; i++)
		ng_rx_post(&g, i, i + 1);
	ng_rx_post(&g, 11, 500);
	ng_frame(&g, 12, NULL, 1, 60);
	ng_tx_post(&g, 72);
	for (unsigned i = 0; i < 11; i++) {
		assert_non_null(ng_rx(&g, &len));
		assert_int_equal(len, 0);
	}
	assert_non_null(ng_rx(&g, &len));
	assert_int_equal(len, 72);
	assert_int_equal(sg_stat(&g, 0, "rx errors"), 11);
	sg_close(&g);
}

static void test_runts(void **state)
{
	struct soft_guest g;
	uint32_t len;

	start(&g, 0, plain, NG_FEATURES);
	ng_rx_post(&g, 0, 2048);
	ng_frame(&g, 12, NULL, 1, 100);
	for (uint32_t n = 1; n < 26; n++) {
		ng_tx_post(&g, n);
		assert_true(ng_tx_done(&g, SG_PATIENCE));
	}
	assert_null(ng_rx_any(&g, &len));
	assert_int_equal(sg_stat(&g, 1, "tx errors"), 25);
	ng_tx_post(&g, 26);
	assert_true(ng_tx_done(&g, SG_PATIENCE));
	assert_non_null(ng_rx(&g, &len));
	assert_int_equal(len, 26);
	/* A giant. */
	ng_rx_post(&g, 0, 100000);
	ng_tx_post(&g, 12 + 65535 + 14 + 8 + 1);
	assert_true(ng_tx_done(&g, SG_PATIENCE));
	assert_int_equal(sg_stat(&g, 1, "tx errors"), 26);
	ng_tx_post(&g, 12 + 65535 + 14 + 8);
	assert_non_null(ng_rx(&g, &len));
	sg_close(&g);
}

/* Sent and received in pieces that are cut anywhere. */
static void test_cuts(void **state)
{
	struct soft_guest g;

	start(&g, 0, plain, NG_FEATURES);
	for (uint32_t cut = 1; cut < 72; cut++) {
		struct virtqueue_sg tx[2] = {sg_at(NG_TX, cut), sg_at(NG_TX + cut, 72 - cut)};
		struct virtqueue_sg rx[2] = {sg_at(NG_RX, cut), sg_at(NG_RX + 4096, 72 - cut)};
		uint32_t len;

		ng_frame(&g, 12, NULL, (uint8_t)cut, 60);
		sg_send(&g, 0, rx, 0, 2, g.mem);
		sg_send(&g, 1, tx, 2, 0, g.mem);
		assert_non_null(sg_get(&g, 0, &len, SG_PATIENCE));
		assert_true(ng_tx_done(&g, SG_PATIENCE));
		assert_int_equal(len, 72);
		memmove(g.mem + NG_RX + cut, g.mem + NG_RX + 4096, 72 - cut);
		assert_memory_equal(g.mem + NG_RX + 12, g.mem + NG_TX + 12, 60);
	}
	sg_close(&g);
}

/*
 * Buffers that come round have the header of the packet before in them, which may be right, or
 * wrong in any byte: in a piece of its own, and in one with the frame.
 */
static void test_header_before(void **state)
{
	static const uint8_t header[12] = {[10] = 1};
	struct soft_guest g;

	start(&g, 0, plain, NG_FEATURES);
	ng_frame(&g, 12, NULL, 1, 60);
	for (unsigned i = 0; i < 2 * (sizeof(header) + 1); i++) {
		unsigned wrong = i / 2, pieces = 1 + i % 2;
		struct virtqueue_sg rx[2] = {sg_at(NG_RX, pieces == 1 ? 72 : 12),
					     sg_at(NG_RX + 12, 60)};
		uint8_t *p = g.mem + NG_RX;
		uint32_t len;

		memset(p, 0xee, 72);
		memcpy(p, header, sizeof(header));
		if (wrong < sizeof(header))
			p[wrong] ^= 0x10;
		sg_send(&g, 0, rx, 0, pieces, p);
		ng_tx_post(&g, 72);
		assert_true(ng_tx_done(&g, SG_PATIENCE));
		assert_ptr_equal(ng_rx(&g, &len), p);
		assert_int_equal(len, 72);
		assert_memory_equal(p, header, sizeof(header));
		assert_memory_equal(p + 12, g.mem + NG_TX + 12, 60);
	}
	sg_close(&g);
}

/* A guest that receives where it sends from. */
static void test_overlap(void **state)
{
	struct soft_guest g;
	struct virtqueue_sg rx = sg_at(NG_TX + 3, 200);
	uint8_t sent[100];
	uint32_t len;

	start(&g, 0, plain, NG_FEATURES);
	ng_frame(&g, 12, NULL, 1, 100);
	memcpy(sent, g.mem + NG_TX + 12, 100);
	sg_send(&g, 0, &rx, 0, 1, g.mem);
	ng_tx_post(&g, 112);
	assert_non_null(sg_get(&g, 0, &len, SG_PATIENCE));
	assert_int_equal(len, 112);
	sg_close(&g);
}

static void test_legacy_header(void **state)
{
	struct soft_guest g;
	uint32_t len;
	uint8_t *p;

	start(&g, 0, plain, VDPA_BIT(VIRTIO_NET_F_MAC));
	ng_rx_post(&g, 0, 2048);
	ng_frame(&g, 10, NULL, 1, 60);
	ng_tx_post(&g, 70);
	p = ng_rx(&g, &len);
	assert_non_null(p);
	assert_int_equal(len, 70);
	assert_memory_equal(p, "\0\0\0\0\0\0\0\0\0\0", 10);
	assert_memory_equal(p + 10, g.mem + NG_TX + 10, 60);
	sg_close(&g);
}

static void send_to(struct soft_guest *g, const uint8_t dst[6])
{
	ng_frame(g, 12, NULL, 0, 60);
	memcpy(g->mem + NG_TX + 12, dst, 6);
	ng_tx_post(g, 72);
	assert_true(ng_tx_done(g, SG_PATIENCE));
}

/* Several pairs without a control queue, for a front end that has one; then MQ is of no use. */
static void test_pairs_and_features(void **state)
{
	struct vdpa_dev_set_config config = {
		.mask = VDPA_CFG_NET_MAX_VQP | VDPA_CFG_FEATURES,
		.device_features = NG_FEATURES,
		.net.max_vq_pairs = 2,
		.attrs = plain,
	};
	struct vdpa_error err;
	struct soft_guest g;

	sg_open(&g, 0);
	assert_int_equal(sg_try_add(&g, "soft_net", "d0", &config, &err), -EINVAL);
	config.device_features |= VDPA_BIT(VIRTIO_NET_F_MQ);
	assert_int_equal(sg_try_add(&g, "soft_net", "d0", &config, &err), -EINVAL);
	assert_string_equal(err.msg, "device_features has MQ, which needs CTRL_VQ");
	config.device_features |= VDPA_BIT(VIRTIO_NET_F_CTRL_VQ);
	assert_int_equal(sg_try_add(&g, "soft_net", "d0", &config, &err), 0);
	sg_use(&g, vdpa_find_device(g.ctx, "d0"));
	assert_int_equal(vdpa_get_device_features(g.dev) & ~config.device_features, 0);
	assert_int_equal(g.dev->nvqs, 5);
	sg_start(&g, NG_FEATURES, 4, 16);
	sg_close(&g);
}

static void test_filter(void **state)
{
	const uint8_t own[6] = {2, 1, 2, 3, 4, 5}, other[6] = {2, 1, 2, 3, 4, 6};
	const uint8_t broadcast[6] = {255, 255, 255, 255, 255, 255};
	const uint8_t multicast[6] = {0x33, 0x33, 0, 0, 0, 1};
	struct vdpa_attr on[] = {{"filter", "on"}, {0}};
	struct vdpa_dev_set_config config = {.mask = VDPA_CFG_NET_MAC, .attrs = on};
	struct vdpa_error err = {.msg = ""};
	struct soft_guest g;
	uint32_t len;

	sg_open(&g, 0);
	memcpy(config.net.mac, own, 6);
	assert_int_equal(sg_try_add(&g, "soft_net", "d0", &config, &err), 0);
	sg_use(&g, vdpa_find_device(g.ctx, "d0"));
	sg_start(&g, NG_FEATURES, 2, 16);
	for (unsigned i = 0; i < 4; i++)
		ng_rx_post(&g, i, 2048);
	send_to(&g, own);
	assert_non_null(ng_rx(&g, &len));
	send_to(&g, broadcast);
	assert_non_null(ng_rx(&g, &len));
	send_to(&g, multicast);
	assert_non_null(ng_rx(&g, &len));
	send_to(&g, other);
	assert_null(ng_rx_any(&g, &len));
	assert_int_equal(sg_stat(&g, 0, "rx drops"), 1);
	/* The address may be changed from outside. */
	memcpy(config.net.mac, other, 6);
	assert_int_equal(vdpa_dev_set(g.dev, &config, &err), -EINVAL); /* "filter" cannot */
	config.attrs = NULL;
	assert_int_equal(vdpa_dev_set(g.dev, &config, &err), 0);
	assert_int_equal(g.config_calls, 1);
	send_to(&g, other);
	assert_non_null(ng_rx(&g, &len));
	config.net.mac[0] = 1;
	assert_int_equal(vdpa_dev_set(g.dev, &config, &err), -EINVAL);
	sg_close(&g);
}

static void test_no_filter(void **state)
{
	const uint8_t other[6] = {2, 9, 9, 9, 9, 9};
	struct soft_guest g;
	uint32_t len;

	start(&g, 0, plain, NG_FEATURES);
	ng_rx_post(&g, 0, 2048);
	send_to(&g, other);
	assert_non_null(ng_rx(&g, &len));
	sg_close(&g);
}

static void find_announced(void *arg, const char *key, const char *value)
{
	if (!strcmp(key, "announced"))
		snprintf(arg, 16, "%s", value);
}

static void test_config(void **state)
{
	char announced[16] = "";
	struct vdpa_dev_set_config config = {.mask = VDPA_CFG_NET_MTU | VDPA_CFG_NET_MAX_VQP};
	struct vdpa_error err = {.msg = ""};
	struct virtio_net_config c;
	struct soft_guest g;

	sg_open(&g, 0);
	config.net.mtu = 9000;
	config.net.max_vq_pairs = 3;
	assert_int_equal(sg_try_add(&g, "soft_net", "d0", &config, &err), 0);
	sg_use(&g, vdpa_find_device(g.ctx, "d0"));
	/* And the control queue. */
	assert_int_equal(g.dev->nvqs, 7);
	assert_true(vdpa_get_device_features(g.dev) & VDPA_BIT(VIRTIO_NET_F_MQ));
	assert_int_equal(vdpa_get_config_size(g.dev), 12);
	sg_negotiate(&g, NG_FEATURES);
	assert_int_equal(vdpa_get_config(g.dev, 0, &c, 12), 0);
	assert_int_equal(c.mtu, 9000);
	assert_int_equal(c.max_virtqueue_pairs, 3);
	assert_int_equal(c.status, VIRTIO_NET_S_LINK_UP);
	assert_int_equal(c.mac[0] & 3, 2);
	assert_int_equal(vdpa_announce(g.dev, c.mac), 0);
	assert_int_equal(vdpa_announce(g.dev, c.mac), 0);
	g.dev->ext->show(g.dev, find_announced, announced);
	assert_string_equal(announced, "2");
	config.net.max_vq_pairs = 129;
	assert_int_equal(sg_try_add(&g, "soft_net", "d1", &config, &err), -EINVAL);
	sg_close(&g);
}

/* 5.1.3.1 */
static void test_feature_rules(void **state)
{
	const uint64_t bad[] = {
		VDPA_BIT(VIRTIO_NET_F_GUEST_TSO4),
		VDPA_BIT(VIRTIO_NET_F_GUEST_TSO6) | NG_CSUM,
		VDPA_BIT(VIRTIO_NET_F_HOST_TSO4) | NG_GCSUM,
		VDPA_BIT(VIRTIO_NET_F_HOST_TSO6),
		VDPA_BIT(VIRTIO_NET_F_HOST_ECN) | NG_CSUM,
		VDPA_BIT(VIRTIO_NET_F_GUEST_ECN) | NG_GCSUM,
	};
	struct soft_guest g;

	sg_open(&g, 0);
	sg_add(&g, "soft_net", plain);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		vdpa_set_status(g.dev, SG_ACK);
		assert_int_equal(vdpa_set_features(g.dev, SG_V1 | bad[i]), 0);
		vdpa_set_status(g.dev, SG_ACK | VIRTIO_CONFIG_S_FEATURES_OK);
		assert_int_equal(vdpa_get_status(g.dev), SG_ACK);
		sg_reset(&g);
	}
	sg_close(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one),
		cmocka_unit_test_prestate(test_moved_before_it_runs, (void *)0),
		cmocka_unit_test_prestate(test_moved_before_it_runs, (void *)1),
		cmocka_unit_test_prestate(test_moved_before_it_runs, (void *)2),
		cmocka_unit_test_prestate(test_no_loss, (void *)0),
		cmocka_unit_test_prestate(test_no_loss, (void *)2),
		cmocka_unit_test(test_mergeable),
		cmocka_unit_test(test_oversize),
		cmocka_unit_test(test_small_buffers),
		cmocka_unit_test(test_runts),
		cmocka_unit_test(test_cuts),
		cmocka_unit_test(test_header_before),
		cmocka_unit_test(test_overlap),
		cmocka_unit_test(test_legacy_header),
		cmocka_unit_test(test_pairs_and_features),
		cmocka_unit_test(test_filter),
		cmocka_unit_test(test_no_filter),
		cmocka_unit_test(test_config),
		cmocka_unit_test(test_feature_rules),
	};

	return cmocka_run_group_tests_name("net", tests, NULL, NULL);
}
