// SPDX-License-Identifier: BSD-3-Clause
/* A NIC that gets another backend while it runs. */
#include "net_guest.h"
#include "net_wire.h"
#include "netns.h"

#define TSO4 (NG_CSUM | VDPA_BIT(VIRTIO_NET_F_HOST_TSO4))
#define GTSO4 (NG_GCSUM | VDPA_BIT(VIRTIO_NET_F_GUEST_TSO4))
#define STATUS VDPA_BIT(VIRTIO_NET_F_STATUS)

static const struct vdpa_attr loop[] = {{"backend", "loopback"}, {0}};
static const struct vdpa_attr nowhere[] = {{"backend", "null"}, {0}};
static const struct vdpa_attr t0[] = {{"backend", "tap"}, {"ifname", "t0"}, {0}};

static int set(struct soft_guest *g, const struct vdpa_attr *attrs, struct vdpa_error *err)
{
	struct vdpa_dev_set_config config = {.attrs = attrs};

	err->msg[0] = '\0';
	return vdpa_dev_set(g->dev, &config, err);
}

static bool is_on(struct soft_guest *g, const char *backend)
{
	struct nw_shown s = {.key = "backend"};

	g->dev->ext->show(g->dev, nw_show, &s);
	return !strcmp(s.value, backend);
}

static void change(struct soft_guest *g, const struct vdpa_attr *attrs)
{
	struct vdpa_error err;

	if (set(g, attrs, &err))
		fail_msg("%s", err.msg);
	for (unsigned i = 0; i < SG_TRIES && !is_on(g, attrs[0].value); i++)
		sg_run(g, SG_SECOND / 1000);
	assert_true(is_on(g, attrs[0].value));
}

static void start(struct soft_guest *g, unsigned workers, uint64_t features)
{
	sg_open(g, workers);
	sg_add(g, "soft_net", loop);
	sg_start(g, NG_FEATURES | features, 2, 64);
}

static void post_udp(struct soft_guest *g, uint32_t payload)
{
	struct nw_flow flow = {.dst_port = 5000, .payload = payload};

	memset(flow.dst, 0xff, 6);
	nw_post_udp(g, &flow);
}

static void test_there_and_back(void **state)
{
	struct soft_guest g;
	uint8_t buf[2048];
	uint32_t len;
	int fd;

	start(&g, (unsigned)(uintptr_t)*state, 0);
	change(&g, t0);
	netns_addr("t0", "02:00:00:00:00:02");
	assert_string_equal(vdpa_attr_get(vdpa_device_add_attrs(g.dev), "ifname"), "t0");
	fd = nw_udp_socket(5000);
	post_udp(&g, 300);
	assert_int_equal(nw_recv(&g, fd, buf, sizeof(buf)), 300);
	assert_true(nw_payload_good(buf, 0, 300));
	assert_true(ng_tx_done(&g, SG_PATIENCE));
	change(&g, loop);
	/* The dump makes the device as it is now. */
	assert_string_equal(vdpa_attr_get(vdpa_device_add_attrs(g.dev), "backend"), "loopback");
	assert_null(vdpa_attr_get(vdpa_device_add_attrs(g.dev), "ifname"));
	assert_int_equal(if_nametoindex("t0"), 0);
	ng_rx_post(&g, 0, 2048);
	post_udp(&g, 200);
	assert_non_null(ng_rx(&g, &len));
	assert_int_equal(len, 12 + 42 + 200);
	close(fd);
	sg_close(&g);
}

/* What waits in the ring, because the old backend took nothing, goes out by the new one. */
static void test_ring_is_kept(void **state)
{
	struct soft_guest g;
	uint8_t buf[2048];
	int fd;

	netns_ip("tuntap add dev t0 mode tap vnet_hdr");
	netns_ip("link set t0 up");
	netns_addr("t0", "02:00:00:00:00:02");
	fd = nw_udp_socket(5000);
	start(&g, (unsigned)(uintptr_t)*state, 0);
	for (unsigned i = 0; i < 40; i++)
		post_udp(&g, 100);
	assert_false(ng_tx_done(&g, SG_SECOND / 20));
	change(&g, t0);
	for (unsigned i = 0; i < 40; i++) {
		assert_true(ng_tx_done(&g, SG_PATIENCE));
		assert_int_equal(nw_recv(&g, fd, buf, sizeof(buf)), 100);
	}
	assert_int_equal(sg_stat(&g, 1, "tx packets"), 40);
	close(fd);
	sg_close(&g);
}

/* Nothing happens when the new backend does not open, or does not fit. */
static void test_refused(void **state)
{
	struct vdpa_dev_set_config config = {.mask = VDPA_CFG_NET_MAX_VQP | VDPA_CFG_NET_MTU,
					     .attrs = loop,
					     .net = {.max_vq_pairs = 2, .mtu = 9000}};
	struct vdpa_error err;
	struct soft_guest g;
	unsigned fds;
	uint32_t len;

	netns_ip("tuntap add dev t1 mode tap vnet_hdr");
	netns_ip("tuntap add dev t0 mode tap vnet_hdr multi_queue");
	sg_open(&g, 0);
	assert_int_equal(sg_try_add(&g, "soft_net", "d0", &config, &err), 0);
	sg_use(&g, vdpa_find_device(g.ctx, "d0"));
	sg_start(&g, NG_FEATURES, 2, 16);
	fds = sg_open_fds();
	assert_int_equal(set(&g, (struct vdpa_attr[]){{"backend", "none"}, {0}}, &err), -ENOENT);
	assert_int_equal(set(&g, (struct vdpa_attr[]){{"backend", "tap"}, {0}}, &err), -EINVAL);
	assert_int_equal(set(&g, (struct vdpa_attr[]){{"ifname", "t0"}, {0}}, &err), -EINVAL);
	assert_int_equal(set(&g, (struct vdpa_attr[]){{0}}, &err), -EOPNOTSUPP);
	assert_int_equal(
		set(&g, (struct vdpa_attr[]){{"backend", "loopback"}, {"filter", "on"}, {0}}, &err),
		-EOPNOTSUPP);
	assert_int_equal(
		set(&g, (struct vdpa_attr[]){{"backend", "tap"}, {"ifname", "t1"}, {0}}, &err),
		-EINVAL);
	assert_non_null(strstr(err.msg, "multi_queue"));
	assert_int_equal(set(&g, t0, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "mtu of 9000: this backend takes at most 1500"));
	assert_int_equal(sg_open_fds(), fds);
	assert_true(is_on(&g, "loopback"));
	assert_null(vdpa_attr_get(vdpa_device_add_attrs(g.dev), "ifname"));
	ng_rx_post(&g, 0, 2048);
	post_udp(&g, 200);
	assert_non_null(ng_rx(&g, &len));
	sg_close(&g);
}

/* The driver is told of the new link; offloads are those that it negotiated. */
static void test_link_and_offload(void **state)
{
	struct nw_shown s = {.key = "interface_offload"};
	struct soft_guest g;
	uint8_t status[2];

	netns_ip("tuntap add dev t0 mode tap vnet_hdr");
	start(&g, 0, STATUS | TSO4 | GTSO4);
	sg_run(&g, SG_SECOND / 100);
	change(&g, t0);
	assert_int_equal(g.config_calls, 1);
	vdpa_get_config(g.dev, offsetof(struct virtio_net_config, status), status, 2);
	assert_int_equal(status[0], 0);
	g.dev->ext->show(g.dev, nw_show, &s);
	assert_string_equal(s.value, "csum tso4");
	netns_ip("link set t0 up");
	for (unsigned i = 0; i < SG_TRIES && g.config_calls < 2; i++)
		sg_run(&g, SG_SECOND / 1000);
	vdpa_get_config(g.dev, offsetof(struct virtio_net_config, status), status, 2);
	assert_int_equal(status[0], VIRTIO_NET_S_LINK_UP);
	sg_close(&g);
}

/* Once more before the first change is through, and deleting the device then. */
static void test_overtaken(void **state)
{
	struct vdpa_error err;
	struct soft_guest g;

	start(&g, (unsigned)(uintptr_t)*state, 0);
	assert_int_equal(set(&g, t0, &err), 0);
	assert_int_equal(set(&g, loop, &err), -EBUSY);
	sg_close(&g);
	assert_int_equal(if_nametoindex("t0"), 0);
}

/* Back and forth under traffic; a packet of the guest's is sent once. */
static void test_under_traffic(void **state)
{
	unsigned done = 0, posted = 0;
	struct soft_guest g;

	start(&g, 2, 0);
	for (unsigned i = 0; i < 30; i++)
		ng_rx_post(&g, i, 2048);
	for (unsigned round = 0; round < 20; round++) {
		struct vdpa_error err;
		uint32_t len;

		for (; posted < done + 20; posted++)
			post_udp(&g, 60);
		set(&g, round & 1 ? loop : t0, &err);
		while (ng_tx_done(&g, SG_SECOND / 500))
			done++;
		for (uint8_t *p; (p = sg_get(&g, 0, &len, SG_SECOND / 1000));)
			ng_rx_post(&g, (unsigned)(p - g.mem - NG_RX) / NG_RX_BYTES, 2048);
	}
	while (done < posted && ng_tx_done(&g, SG_PATIENCE))
		done++;
	assert_int_equal(done, posted);
	assert_int_equal(sg_stat(&g, 1, "tx packets"), posted);
	sg_close(&g);
}

/* Other workers and another backend at once: a port is its queues' loop's, wherever that is. */
static void test_moved_meanwhile(void **state)
{
	static const char *const workers[] = {"0", "1", "2"};
	struct soft_guest g;
	uint32_t len;

	start(&g, 3, 0);
	change(&g, nowhere);
	for (unsigned round = 0; round < 60; round++) {
		const struct vdpa_attr to[] = {{"workers", workers[round % 3]}, {0}};
		struct vdpa_error err;

		/* Every other time the queues move while they do not run. */
		if (round & 1)
			sg_reset(&g);
		assert_int_equal(set(&g, to, &err), 0);
		for (unsigned i = 0; i < round % 4; i++)
			sg_run(&g, SG_SECOND / 20000);
		set(&g, round & 2 ? nowhere : t0, &err);
		if (round & 1)
			sg_start(&g, NG_FEATURES, 2, 64);
		post_udp(&g, 60);
		assert_true(ng_tx_done(&g, SG_PATIENCE));
	}
	/* The last change may still be under way. */
	sg_run(&g, SG_SECOND / 10);
	change(&g, loop);
	ng_rx_post(&g, 0, 2048);
	post_udp(&g, 100);
	assert_non_null(sg_get(&g, 0, &len, SG_PATIENCE));
	sg_close(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_there_and_back, netns_fresh),
		{"there_and_back_worker", test_there_and_back, netns_fresh, NULL, (void *)1},
		cmocka_unit_test_setup(test_ring_is_kept, netns_fresh),
		{"ring_is_kept_worker", test_ring_is_kept, netns_fresh, NULL, (void *)1},
		cmocka_unit_test_setup(test_refused, netns_fresh),
		cmocka_unit_test_setup(test_link_and_offload, netns_fresh),
		cmocka_unit_test_setup(test_overtaken, netns_fresh),
		{"overtaken_worker", test_overtaken, netns_fresh, NULL, (void *)1},
		cmocka_unit_test_setup(test_under_traffic, netns_fresh),
		cmocka_unit_test_setup(test_moved_meanwhile, netns_fresh),
	};

	netns_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
