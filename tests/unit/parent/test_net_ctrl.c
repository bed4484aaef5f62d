// SPDX-License-Identifier: BSD-3-Clause
/* The NIC's control queue: framing, every command with its bad variants, and what it leads to. */
#include "cvq_guest.h"
#include "net_wire.h"

static const struct vdpa_attr plain[] = {{"backend", "loopback"}, {0}};

static void start(struct soft_guest *g, unsigned workers, uint64_t features)
{
	sg_open(g, workers);
	sg_add(g, "soft_net", plain);
	sg_start(g, NG_FEATURES | features, 3, 16);
}

/* ---- framing ---- */

static void test_order_of_parts(void **state)
{
	static const uint8_t mac[6] = {0x02, 1, 2, 3, 4, 5};
	struct soft_guest g;
	uint8_t got[6];

	start(&g, 1, CG_RX);
	for (uint32_t piece = 0; piece < 9; piece++) {
		uint8_t m[6];
		struct cg_cmd cmd = {
			.class = VIRTIO_NET_CTRL_MAC,
			.command = VIRTIO_NET_CTRL_MAC_ADDR_SET,
			.data = m,
			.len = 6,
			.piece = piece,
			.result = piece * 3,
		};

		memcpy(m, mac, 6);
		m[5] = (uint8_t)piece;
		assert_int_equal(cg_run(&g, &cmd), VIRTIO_NET_OK);
		/* No result: one byte, whatever there is room for. */
		assert_int_equal(cmd.written, 1);
		vdpa_get_config(g.dev, 0, got, 6);
		assert_memory_equal(got, m, 6);
	}
	sg_close(&g);
}

static void test_framing_bad(void **state)
{
	struct virtqueue_sg sg[2];
	struct soft_guest g;

	start(&g, 0, CG_RX);
	/* Without a place for an answer nothing is done. */
	memcpy(g.mem + CG_OUT, "\x01\x01\x02\x09\x09\x09\x09\x09", 8);
	sg[0] = sg_at(CG_OUT, 8);
	assert_int_equal(sg_io(&g, 2, sg, 1, 0), 0);
	assert_int_equal(sg_stat(&g, 2, "bad_requests"), 1);
	/* Nothing but a place for an answer; and half a command. */
	for (uint32_t n = 0; n < 2; n++) {
		g.mem[CG_IN] = CG_NONE;
		sg[0] = sg_at(n ? CG_OUT : CG_IN, 1);
		sg[1] = sg_at(CG_IN, 1);
		assert_int_equal(sg_io(&g, 2, sg, n, 1), 1);
		assert_int_equal(g.mem[CG_IN], VIRTIO_NET_ERR);
	}
	assert_int_equal(sg_stat(&g, 2, "cvq requests"), 3);
	assert_int_equal(sg_stat(&g, 2, "cvq errors"), 3);
	assert_int_equal(sg_stat(&g, 2, "cvq successes"), 0);
	/* The queue goes on. */
	assert_int_equal(cg_rx_mode(&g, VIRTIO_NET_CTRL_RX_PROMISC, 0), VIRTIO_NET_OK);
	assert_int_equal(sg_stat(&g, 2, "cvq successes"), 1);
	assert_int_equal(vdpa_get_status(g.dev) & VIRTIO_CONFIG_S_NEEDS_RESET, 0);
	sg_close(&g);
}

static void test_unknown(void **state)
{
	struct soft_guest g;
	uint8_t zeroes[16] = {0};

	start(&g, 0, CG_RX);
	for (unsigned class = 0; class < 256; class += class < 10 ? 1 : 49) {
		for (unsigned command = 6; command < 256; command += 83)
			assert_int_equal(cg_send(&g, (uint8_t) class, (uint8_t)command, zeroes, 2),
					 VIRTIO_NET_ERR);
	}
	sg_close(&g);
}

/* A command whose feature was not negotiated does not exist. */
static void test_not_negotiated(void **state)
{
	static const uint8_t data[8] = {2};
	struct soft_guest g;

	start(&g, 0, VDPA_BIT(VIRTIO_NET_F_CTRL_VQ));
	for (uint8_t class = 0; class < 10; class ++)
		for (uint8_t command = 0; command < 7; command++)
			for (uint32_t len = 0; len < 9; len++)
				assert_int_equal(cg_send(&g, class, command, data, len),
						 VIRTIO_NET_ERR);
	sg_close(&g);
}

static void test_lengths(void **state)
{
	static const struct {
		uint8_t class, command;
		uint32_t len;
	} fixed[] = {
		{VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, 1},
		{VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI, 1},
		{VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLUNI, 1},
		{VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOMULTI, 1},
		{VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOUNI, 1},
		{VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOBCAST, 1},
		{VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, 8},
		{VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, 2},
		{VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_DEL, 2},
	};
	uint8_t zeroes[32] = {0};
	struct soft_guest g;

	start(&g, 0, CG_RX | CG_VLAN);
	for (unsigned i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
		for (uint32_t len = 0; len < 20; len++)
			assert_int_equal(cg_send(&g, fixed[i].class, fixed[i].command, zeroes, len),
					 len == fixed[i].len ? VIRTIO_NET_OK : VIRTIO_NET_ERR);
	sg_close(&g);
}

static void test_no_feature_no_queue(void **state)
{
	const uint64_t without = SG_V1 | NG_FEATURES;
	struct vdpa_dev_set_config config = {
		.mask = VDPA_CFG_FEATURES,
		.device_features = without,
	};
	struct vdpa_error err = {.msg = ""};
	struct soft_guest g;

	sg_open(&g, 0);
	assert_int_equal(sg_try_add(&g, "soft_net", "n0", &config, &err), 0);
	sg_use(&g, vdpa_find_device(g.ctx, "n0"));
	assert_int_equal(g.dev->nvqs, 2);
	sg_close(&g);
	/* Offered and not negotiated: the queue is there, and does nothing. */
	start(&g, 1, 0);
	assert_int_equal(g.dev->nvqs, 3);
	memset(g.mem + CG_OUT, 0, 3);
	sg_send(&g, 2, (struct virtqueue_sg[]){sg_at(CG_OUT, 3), sg_at(CG_IN, 1)}, 1, 1, g.mem);
	assert_null(sg_get(&g, 2, &(uint32_t){0}, SG_SECOND / 20));
	sg_close(&g);
	/* 5.1.3.1: what needs the queue. */
	for (unsigned i = 0; i < 4; i++) {
		static const unsigned bits[] = {VIRTIO_NET_F_CTRL_RX, VIRTIO_NET_F_CTRL_VLAN,
						VIRTIO_NET_F_CTRL_MAC_ADDR, VIRTIO_NET_F_CTRL_RX};

		sg_open(&g, 0);
		sg_add(&g, "soft_net", plain);
		vdpa_set_status(g.dev, SG_ACK);
		vdpa_set_features(g.dev, NG_FEATURES | VDPA_BIT(bits[i]));
		vdpa_set_status(g.dev, SG_ACK | VIRTIO_CONFIG_S_FEATURES_OK);
		assert_false(vdpa_get_status(g.dev) & VIRTIO_CONFIG_S_FEATURES_OK);
		sg_close(&g);
	}
}

/* ---- what is received ---- */

/* Send a frame to @dst, tagged for @vlan unless that is negative; was it received? */
static bool arrives(struct soft_guest *g, const uint8_t dst[6], int vlan)
{
	uint8_t *frame = g->mem + NG_TX + 12;
	uint32_t len;
	uint8_t *p;

	ng_frame(g, 12, NULL, 0, 60);
	memcpy(frame, dst, 6);
	if (vlan >= 0)
		memcpy(frame + 12, (uint8_t[]){0x81, 0, (uint8_t)(0x60 | vlan >> 8), (uint8_t)vlan},
		       4);
	ng_tx_post(g, 72);
	assert_true(ng_tx_done(g, SG_PATIENCE));
	p = sg_get_any(g, 0, &len, SG_SECOND / 50);
	if (!p)
		return false;
	assert_memory_equal(p + 12, frame, 60);
	ng_rx_post(g, 0, 2048);
	return true;
}

static const uint8_t own[6] = {0x02, 0, 0, 0, 0, 0x77}, other[6] = {0x02, 0, 0, 0, 0, 0x88},
		     group[6] = {0x01, 0, 0x5e, 0, 0, 0x01}, bcast[6] = "\xff\xff\xff\xff\xff\xff";

#define ON(mode) assert_int_equal(cg_rx_mode(g, VIRTIO_NET_CTRL_RX_##mode, 1), VIRTIO_NET_OK)
#define OFF(mode) assert_int_equal(cg_rx_mode(g, VIRTIO_NET_CTRL_RX_##mode, 0), VIRTIO_NET_OK)

static void expect(struct soft_guest *g, bool to_own, bool to_other, bool to_group, bool to_all)
{
	uint64_t before = sg_stat(g, 0, "rx drops");

	assert_int_equal(arrives(g, own, -1), to_own);
	assert_int_equal(arrives(g, other, -1), to_other);
	assert_int_equal(arrives(g, group, -1), to_group);
	assert_int_equal(arrives(g, bcast, -1), to_all);
	assert_int_equal(sg_stat(g, 0, "rx drops") - before,
			 4 - to_own - to_other - to_group - to_all);
}

static void open_filtered(struct soft_guest *g, unsigned workers, uint64_t features)
{
	start(g, workers, features);
	ng_rx_post(g, 0, 2048);
	assert_int_equal(cg_send(g, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, own, 6),
			 VIRTIO_NET_OK);
}

static void test_modes(void **state)
{
	struct soft_guest guest, *g = &guest;

	open_filtered(g, (unsigned)(uintptr_t)*state, CG_RX);
	expect(g, true, true, true, true);
	OFF(PROMISC);
	expect(g, true, false, false, true);
	ON(ALLMULTI);
	expect(g, true, false, true, true);
	ON(NOMULTI);
	expect(g, true, false, false, true);
	ON(ALLUNI);
	expect(g, true, true, false, true);
	ON(NOUNI);
	expect(g, false, false, false, true);
	ON(NOBCAST);
	expect(g, false, false, false, false);
	/* Above all others. */
	ON(PROMISC);
	expect(g, true, true, true, true);
	OFF(PROMISC);
	OFF(NOMULTI);
	OFF(NOUNI);
	OFF(ALLUNI);
	/* Broadcast is no multicast here. */
	expect(g, true, false, true, false);
	OFF(NOBCAST);
	expect(g, true, false, true, true);
	for (uint8_t command = 0; command < 6; command++)
		assert_int_equal(cg_rx_mode(g, command, 2), VIRTIO_NET_ERR);
	expect(g, true, false, true, true);
	sg_close(g);
}

static void test_mac_table(void **state)
{
	struct soft_guest guest, *g = &guest;
	uint8_t data[64 + 6 * 300], uni[150], multi[150];
	uint32_t len;

	open_filtered(g, 1, CG_RX);
	OFF(PROMISC);
	len = cg_mac_table(data, (uint8_t[]){3, 0x88, 1}, 3, (uint8_t[]){9, 1, 5}, 3);
	for (uint32_t piece = 0; piece < 8; piece++) {
		struct cg_cmd cmd = {
			.class = VIRTIO_NET_CTRL_MAC,
			.command = VIRTIO_NET_CTRL_MAC_TABLE_SET,
			.data = data,
			.len = len,
			.piece = piece ? 5 + piece : 0,
		};

		assert_int_equal(cg_run(g, &cmd), VIRTIO_NET_OK);
		expect(g, true, true, true, true);
	}
	assert_false(arrives(g, (uint8_t[]){0x02, 0, 0, 0, 0, 0x87}, -1));
	assert_true(arrives(g, (uint8_t[]){0x02, 0, 0, 0, 0, 1}, -1));
	assert_false(arrives(g, (uint8_t[]){0x01, 0, 0x5e, 0, 0, 3}, -1));
	/* Every shorter or longer one is refused, and changes nothing. */
	for (uint32_t n = 0; n < len; n++)
		assert_int_equal(
			cg_send(g, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, data, n),
			VIRTIO_NET_ERR);
	assert_int_equal(
		cg_send(g, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, data, len + 1),
		VIRTIO_NET_ERR);
	expect(g, true, true, true, true);
	/* Large ones. */
	for (unsigned i = 0; i < 150; i++)
		uni[i] = multi[i] = (uint8_t)(200 - i);
	len = cg_mac_table(data, uni, 150, multi, 150);
	assert_int_equal(cg_send(g, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, data, len),
			 VIRTIO_NET_OK);
	assert_true(arrives(g, (uint8_t[]){0x02, 0, 0, 0, 0, 51}, -1));
	assert_false(arrives(g, (uint8_t[]){0x02, 0, 0, 0, 0, 50}, -1));
	assert_true(arrives(g, (uint8_t[]){0x01, 0, 0x5e, 0, 0, 200}, -1));
	/* And none. */
	len = cg_mac_table(data, uni, 0, multi, 0);
	assert_int_equal(cg_send(g, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, data, len),
			 VIRTIO_NET_OK);
	expect(g, true, false, false, true);
	sg_close(g);
}

/* Counts that promise more than there is. */
static void test_mac_counts(void **state)
{
	static const uint32_t counts[] = {0xffffffff, 0x80000000, 0x2aaaaaab,
					  0x2aaaaaaa, 0x15555556, 0x10000,
					  0xfffffffe, 2,	  0x7fffffff};
	struct soft_guest g;

	start(&g, 0, CG_RX);
	for (unsigned i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		uint8_t data[20] = {0};

		for (unsigned at = 0; at < 16; at += 4) {
			memset(data, 0, sizeof(data));
			memcpy(data + at, &counts[i], 4);
			if (at == 8)
				continue; /* inside of an address, or behind the tables */
			for (uint32_t len = 8; len < 16; len++)
				if (at + 4 <= len && at < 8)
					assert_int_equal(cg_send(&g, VIRTIO_NET_CTRL_MAC,
								 VIRTIO_NET_CTRL_MAC_TABLE_SET,
								 data, len),
							 VIRTIO_NET_ERR);
		}
	}
	/* Longer than any command: refused without a look at it. */
	memset(g.mem + CG_OUT, 0, 0x20000);
	g.mem[CG_OUT] = VIRTIO_NET_CTRL_MAC;
	for (uint32_t len = 2 + 65536; len < 2 + 65540; len++) {
		struct virtqueue_sg sg[2] = {sg_at(CG_OUT, len), sg_at(CG_OUT + 0x30000, 1)};
		uint32_t n = (len - 2 - 8) / 6;

		memcpy(g.mem + CG_OUT + 2, &n, 4);
		g.mem[CG_OUT + 0x30000] = CG_NONE;
		sg_io(&g, 2, sg, 1, 1);
		assert_int_equal(g.mem[CG_OUT + 0x30000], VIRTIO_NET_ERR);
	}
	sg_close(&g);
}

static void test_mac_addr(void **state)
{
	static const uint8_t none[6];
	struct soft_guest guest, *g = &guest;
	uint8_t before[6], got[6];

	start(g, 1, CG_RX);
	vdpa_get_config(g->dev, 0, before, 6);
	assert_int_equal(cg_send(g, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, none, 6),
			 VIRTIO_NET_ERR);
	assert_int_equal(cg_send(g, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, group, 6),
			 VIRTIO_NET_ERR);
	assert_int_equal(cg_send(g, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, own, 5),
			 VIRTIO_NET_ERR);
	vdpa_get_config(g->dev, 0, got, 6);
	assert_memory_equal(got, before, 6);
	assert_int_equal(cg_send(g, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, own, 6),
			 VIRTIO_NET_OK);
	vdpa_get_config(g->dev, 0, got, 6);
	assert_memory_equal(got, own, 6);
	/* A reset brings back the one that it was given. */
	sg_reset(g);
	vdpa_set_features(g->dev, NG_FEATURES);
	vdpa_get_config(g->dev, 0, got, 6);
	assert_memory_equal(got, before, 6);
	sg_close(g);
}

static void test_vlans(void **state)
{
	struct soft_guest guest, *g = &guest;

	open_filtered(g, 1, CG_RX | CG_VLAN);
	/* Promiscuous mode is above the table. */
	assert_true(arrives(g, own, 5));
	OFF(PROMISC);
	assert_false(arrives(g, own, 5));
	assert_true(arrives(g, own, -1));
	assert_int_equal(cg_vlan(g, VIRTIO_NET_CTRL_VLAN_ADD, 5), VIRTIO_NET_OK);
	assert_int_equal(cg_vlan(g, VIRTIO_NET_CTRL_VLAN_ADD, 4095), VIRTIO_NET_OK);
	assert_true(arrives(g, own, 5));
	assert_true(arrives(g, own, 4095));
	assert_false(arrives(g, own, 4));
	assert_false(arrives(g, own, 0));
	assert_false(arrives(g, other, 5));
	assert_int_equal(cg_vlan(g, VIRTIO_NET_CTRL_VLAN_DEL, 5), VIRTIO_NET_OK);
	assert_false(arrives(g, own, 5));
	/* One that is not there. */
	assert_int_equal(cg_vlan(g, VIRTIO_NET_CTRL_VLAN_DEL, 5), VIRTIO_NET_OK);
	assert_int_equal(cg_vlan(g, VIRTIO_NET_CTRL_VLAN_ADD, 4096), VIRTIO_NET_ERR);
	assert_int_equal(cg_vlan(g, VIRTIO_NET_CTRL_VLAN_DEL, 0xffff), VIRTIO_NET_ERR);
	sg_close(g);
}

/* The table alone, without receive modes. */
static void test_vlans_alone(void **state)
{
	struct soft_guest guest, *g = &guest;

	start(g, 1, CG_VLAN);
	ng_rx_post(g, 0, 2048);
	assert_false(arrives(g, own, 7));
	assert_true(arrives(g, other, -1));
	assert_int_equal(cg_vlan(g, VIRTIO_NET_CTRL_VLAN_ADD, 7), VIRTIO_NET_OK);
	assert_true(arrives(g, own, 7));
	sg_close(g);
}

/* ---- announcement ---- */

static uint16_t config_status(struct soft_guest *g)
{
	struct virtio_net_config c;

	vdpa_get_config(g->dev, 0, &c, 12);
	return c.status;
}

static void config_called(void *arg)
{
	((struct soft_guest *)arg)->config_calls++;
}

static void test_announce(void **state)
{
	struct vdpa_callback cb = {.callback = config_called, .trigger = -1};
	struct soft_guest guest = {0}, *g = &guest;

	start(g, 1,
	      VDPA_BIT(VIRTIO_NET_F_CTRL_VQ) | VDPA_BIT(VIRTIO_NET_F_STATUS) |
		      VDPA_BIT(VIRTIO_NET_F_GUEST_ANNOUNCE));
	cb.priv = g;
	vdpa_set_config_cb(g->dev, &cb);
	g->config_calls = 0;
	assert_int_equal(config_status(g), VIRTIO_NET_S_LINK_UP);
	assert_int_equal(vdpa_announce(g->dev, own), 0);
	assert_int_equal(config_status(g), VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
	assert_int_equal(g->config_calls, 1);
	assert_int_equal(cg_send(g, VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, own, 1),
			 VIRTIO_NET_ERR);
	assert_int_equal(config_status(g), VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
	assert_int_equal(
		cg_send(g, VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, NULL, 0),
		VIRTIO_NET_OK);
	assert_int_equal(config_status(g), VIRTIO_NET_S_LINK_UP);
	/* The driver knows that it has answered. */
	assert_int_equal(g->config_calls, 1);
	/* A question that nobody answered ends with the reset. */
	assert_int_equal(vdpa_announce(g->dev, own), 0);
	sg_reset(g);
	vdpa_set_features(g->dev, NG_FEATURES);
	assert_int_equal(config_status(g), VIRTIO_NET_S_LINK_UP);
	assert_int_equal(vdpa_announce(g->dev, own), 0);
	assert_int_equal(config_status(g), VIRTIO_NET_S_LINK_UP);
	sg_close(g);
}

/* ---- offloads ---- */

#define OFFLOADS                                                                                   \
	(NG_GCSUM | VDPA_BIT(VIRTIO_NET_F_GUEST_TSO4) | VDPA_BIT(VIRTIO_NET_F_CTRL_VQ) |           \
	 VDPA_BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) | NG_CSUM | VDPA_BIT(VIRTIO_NET_F_HOST_TSO4))

static uint8_t set_offloads(struct soft_guest *g, uint64_t on)
{
	return cg_send(g, VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, &on,
		       sizeof(on));
}

/* Of a packet that is sent to be cut: how many come, and what is said of the first. */
static unsigned gso_arrives(struct soft_guest *g, uint8_t *flags, uint8_t *gso_type)
{
	struct nw_flow flow = {.dst = {2, 0, 0, 0, 0, 1},
			       .src = {2},
			       .dst_port = 9,
			       .partial = true,
			       .payload = 3000};
	uint32_t len;
	unsigned n = 0;
	uint8_t *p;

	nw_gso_header(g->mem + NG_TX, 1000);
	ng_tx_post(g, 12 + nw_tcp(&flow, g->mem + NG_TX + 12));
	while ((p = sg_get_any(g, 0, &len, SG_SECOND / 20))) {
		if (!n++) {
			*flags = p[0];
			*gso_type = p[1];
		}
		if (!(p[0] & VIRTIO_NET_HDR_F_NEEDS_CSUM))
			assert_true(nw_l4_good(p + 12, len - 12));
	}
	for (unsigned i = 0; i < n; i++)
		ng_rx_post(g, i, 4096);
	assert_true(ng_tx_done(g, SG_PATIENCE));
	return n;
}

static void test_offloads(void **state)
{
	const uint64_t csum = NG_GCSUM, tso = VDPA_BIT(VIRTIO_NET_F_GUEST_TSO4);
	struct soft_guest guest, *g = &guest;
	uint8_t flags, type;

	start(g, 1, OFFLOADS);
	for (unsigned i = 0; i < 4; i++)
		ng_rx_post(g, i, 4096);
	/* Those that were negotiated are on. */
	assert_int_equal(gso_arrives(g, &flags, &type), 1);
	assert_int_equal(type, VIRTIO_NET_HDR_GSO_TCPV4);
	assert_int_equal(set_offloads(g, csum), VIRTIO_NET_OK);
	assert_int_equal(gso_arrives(g, &flags, &type), 3);
	assert_int_equal(type, VIRTIO_NET_HDR_GSO_NONE);
	assert_int_equal(set_offloads(g, csum | tso), VIRTIO_NET_OK);
	assert_int_equal(gso_arrives(g, &flags, &type), 1);
	assert_int_equal(flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
	/* Segmentation without checksums is none. */
	assert_int_equal(set_offloads(g, tso), VIRTIO_NET_OK);
	assert_int_equal(gso_arrives(g, &flags, &type), 3);
	assert_int_equal(flags, 0);
	assert_int_equal(set_offloads(g, 0), VIRTIO_NET_OK);
	assert_int_equal(gso_arrives(g, &flags, &type), 3);
	/* What was not negotiated cannot be on. */
	for (unsigned bit = 0; bit < 64; bit++)
		if (!((csum | tso) >> bit & 1))
			assert_int_equal(set_offloads(g, VDPA_BIT(bit) | csum), VIRTIO_NET_ERR);
	assert_int_equal(gso_arrives(g, &flags, &type), 3);
	sg_close(g);
}

/* ---- coalescing ---- */

#define COAL                                                                                       \
	(VDPA_BIT(VIRTIO_NET_F_CTRL_VQ) | VDPA_BIT(VIRTIO_NET_F_NOTF_COAL) |                       \
	 VDPA_BIT(VIRTIO_NET_F_VQ_NOTF_COAL))
#define FOREVER 0xffffffffu /* microseconds; more than an hour */

static uint8_t set_coal(struct soft_guest *g, uint8_t command, uint32_t packets, uint32_t usecs)
{
	uint32_t data[2] = {packets, usecs};

	return cg_send(g, VIRTIO_NET_CTRL_NOTF_COAL, command, data, sizeof(data));
}

static uint8_t set_coal_vq(struct soft_guest *g, uint16_t vq, uint32_t packets, uint32_t usecs)
{
	uint32_t data[3] = {vq | 0xabcd0000u, packets, usecs};

	return cg_send(g, VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET, data,
		       sizeof(data));
}

static uint8_t get_coal_vq(struct soft_guest *g, uint16_t vq, uint32_t *packets, uint32_t *usecs)
{
	struct cg_cmd cmd = {
		.class = VIRTIO_NET_CTRL_NOTF_COAL,
		.command = VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET,
		.data = &vq,
		.len = 2,
		.result = 8,
		.piece = 3,
	};
	uint8_t ack = cg_run(g, &cmd);

	assert_int_equal(cmd.written, ack == VIRTIO_NET_OK ? 9 : 1);
	memcpy(packets, g->mem + CG_IN + 1, 4);
	memcpy(usecs, g->mem + CG_IN + 5, 4);
	return ack;
}

static void test_coal_commands(void **state)
{
	struct soft_guest guest, *g = &guest;
	uint32_t packets, usecs;

	start(g, 1, COAL);
	assert_int_equal(get_coal_vq(g, 0, &packets, &usecs), VIRTIO_NET_OK);
	assert_true(!packets && !usecs);
	/* The last one counts, whichever command it was. */
	assert_int_equal(set_coal(g, VIRTIO_NET_CTRL_NOTF_COAL_RX_SET, 4, 50), VIRTIO_NET_OK);
	assert_int_equal(get_coal_vq(g, 0, &packets, &usecs), VIRTIO_NET_OK);
	assert_true(packets == 4 && usecs == 50);
	assert_int_equal(get_coal_vq(g, 1, &packets, &usecs), VIRTIO_NET_OK);
	assert_true(!packets && !usecs);
	assert_int_equal(set_coal_vq(g, 0, 5, 60), VIRTIO_NET_OK);
	assert_int_equal(set_coal_vq(g, 1, 6, 70), VIRTIO_NET_OK);
	assert_int_equal(get_coal_vq(g, 0, &packets, &usecs), VIRTIO_NET_OK);
	assert_true(packets == 5 && usecs == 60);
	assert_int_equal(set_coal(g, VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 7, 80), VIRTIO_NET_OK);
	assert_int_equal(get_coal_vq(g, 1, &packets, &usecs), VIRTIO_NET_OK);
	assert_true(packets == 7 && usecs == 80);
	/* The control queue, and those that there are not. */
	for (unsigned vq = 2; vq < 65536; vq += vq < 9 ? 1 : 8191) {
		assert_int_equal(set_coal_vq(g, (uint16_t)vq, 1, 1), VIRTIO_NET_ERR);
		assert_int_equal(get_coal_vq(g, (uint16_t)vq, &packets, &usecs), VIRTIO_NET_ERR);
	}
	sg_reset(g);
	sg_start(g, NG_FEATURES | COAL, 3, 16);
	assert_int_equal(get_coal_vq(g, 1, &packets, &usecs), VIRTIO_NET_OK);
	assert_true(!packets && !usecs);
	sg_close(g);
}

/* A queue that is not enabled has no parameters; enabled again, those of its direction. */
static void test_coal_enabled(void **state)
{
	struct soft_guest guest, *g = &guest;
	struct sg_wait wait = {0};
	struct vdpa_done done = sg_done(&wait);
	uint32_t packets, usecs;

	start(g, 1, COAL | VDPA_BIT(VIRTIO_F_RING_RESET));
	assert_int_equal(set_coal(g, VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 7, 80), VIRTIO_NET_OK);
	assert_int_equal(set_coal_vq(g, 1, 5, 60), VIRTIO_NET_OK);
	assert_int_equal(vdpa_reset_vq(g->dev, 1, &done), 0);
	assert_int_equal(sg_wait(g, &wait), 0);
	assert_int_equal(get_coal_vq(g, 1, &packets, &usecs), VIRTIO_NET_ERR);
	assert_int_equal(set_coal_vq(g, 1, 5, 60), VIRTIO_NET_ERR);
	sg_queue(g, 1, 16);
	assert_int_equal(get_coal_vq(g, 1, &packets, &usecs), VIRTIO_NET_OK);
	assert_true(packets == 7 && usecs == 80);
	sg_close(g);
}

static void send_some(struct soft_guest *g, unsigned n)
{
	uint64_t before = sg_stat(g, 1, "tx packets");

	ng_frame(g, 12, NULL, 1, 60);
	for (unsigned i = 0; i < n; i++)
		ng_tx_post(g, 72);
	for (unsigned i = 0; i < SG_TRIES && sg_stat(g, 1, "tx packets") - before < n; i++)
		sg_run(g, SG_SECOND / 1000);
	sg_run(g, SG_SECOND / 1000);
	assert_int_equal(sg_stat(g, 1, "tx packets") - before, n);
}

static void take_some(struct soft_guest *g, unsigned n)
{
	while (n--)
		assert_true(ng_tx_done(g, SG_PATIENCE));
}

/* Calls, and questions about them that were answered with no. */
static uint64_t told(struct soft_guest *g, unsigned vq)
{
	return sg_stat(g, vq, "calls") + sg_stat(g, vq, "calls_suppressed");
}

static void test_coal_packets(void **state)
{
	struct vdpa_attr null[] = {{"backend", "null"}, {0}};
	struct soft_guest guest, *g = &guest;
	uint64_t before;

	sg_open(g, (unsigned)(uintptr_t)*state);
	sg_add(g, "soft_net", null);
	sg_start(g, NG_FEATURES | COAL, 3, 16);
	send_some(g, 1);
	take_some(g, 1);
	assert_int_equal(set_coal(g, VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 4, FOREVER), VIRTIO_NET_OK);
	sg_run(g, SG_SECOND / 100);
	before = told(g, 1);
	for (unsigned i = 0; i < 3; i++)
		send_some(g, 1);
	assert_int_equal(told(g, 1), before);
	send_some(g, 1);
	assert_int_equal(told(g, 1), before + 1);
	take_some(g, 4);
	/* Counting begins anew. */
	send_some(g, 1);
	send_some(g, 1);
	assert_int_equal(told(g, 1), before + 1);
	/* New parameters that these two satisfy. */
	assert_int_equal(set_coal(g, VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 2, FOREVER), VIRTIO_NET_OK);
	sg_run(g, SG_SECOND / 100);
	assert_int_equal(told(g, 1), before + 2);
	send_some(g, 1);
	assert_int_equal(told(g, 1), before + 2);
	/* Off: nothing waits, nor does what waited. */
	assert_int_equal(set_coal(g, VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 2, 0), VIRTIO_NET_OK);
	sg_run(g, SG_SECOND / 100);
	assert_int_equal(told(g, 1), before + 3);
	send_some(g, 1);
	assert_int_equal(told(g, 1), before + 4);
	take_some(g, 4);
	/* More than the ring has: then the ring. */
	assert_int_equal(set_coal(g, VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 1000, FOREVER),
			 VIRTIO_NET_OK);
	sg_run(g, SG_SECOND / 100);
	send_some(g, 16);
	assert_int_equal(told(g, 1), before + 5);
	take_some(g, 16);
	/* A queue that stops says what it has. */
	send_some(g, 1);
	assert_int_equal(told(g, 1), before + 5);
	vdpa_suspend(g->dev, NULL);
	sg_run(g, SG_SECOND / 100);
	assert_int_equal(told(g, 1), before + 6);
	sg_close(g);
}

static void test_coal_time(void **state)
{
	struct vdpa_attr null[] = {{"backend", "null"}, {0}};
	struct soft_guest guest, *g = &guest;
	uint64_t before;

	sg_open(g, 1);
	sg_add(g, "soft_net", null);
	sg_start(g, NG_FEATURES | COAL, 3, 16);
	assert_int_equal(set_coal(g, VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 10, FOREVER), VIRTIO_NET_OK);
	sg_run(g, SG_SECOND / 100);
	before = told(g, 1);
	send_some(g, 2);
	sg_run(g, SG_SECOND / 20);
	assert_int_equal(told(g, 1), before);
	/* A shorter time, which they have waited for already. */
	assert_int_equal(set_coal_vq(g, 1, 10, 1000), VIRTIO_NET_OK);
	for (unsigned i = 0; i < SG_TRIES && told(g, 1) == before; i++)
		sg_run(g, SG_SECOND / 1000);
	assert_int_equal(told(g, 1), before + 1);
	take_some(g, 2);
	/* And one that has to come. */
	send_some(g, 1);
	for (unsigned i = 0; i < SG_TRIES && told(g, 1) == before + 1; i++)
		sg_run(g, SG_SECOND / 1000);
	assert_int_equal(told(g, 1), before + 2);
	/* A reset does not wait for it, and nobody is told after it. */
	assert_int_equal(set_coal(g, VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 10, FOREVER), VIRTIO_NET_OK);
	sg_run(g, SG_SECOND / 100);
	send_some(g, 1);
	sg_reset(g);
	assert_int_equal(told(g, 1), before + 2);
	sg_close(g);
}

/* ---- statistics ---- */

#define STATS                                                                                      \
	(VDPA_BIT(VIRTIO_NET_F_CTRL_VQ) | VDPA_BIT(VIRTIO_NET_F_DEVICE_STATS) | NG_CSUM | NG_GCSUM)

struct stats_request {
	uint16_t vq, reserved[3];
	uint64_t types;
};

static uint8_t get_stats(struct soft_guest *g, const struct stats_request *r, unsigned n,
			 uint32_t room, uint32_t *written)
{
	struct cg_cmd cmd = {
		.class = VIRTIO_NET_CTRL_STATS,
		.command = VIRTIO_NET_CTRL_STATS_GET,
		.data = r,
		.len = n * (uint32_t)sizeof(*r),
		.result = room,
		.piece = 97,
	};
	uint8_t ack = cg_run(g, &cmd);

	*written = cmd.written - 1;
	return ack;
}

static uint64_t stats_word(const struct soft_guest *g, unsigned at)
{
	uint64_t v;

	memcpy(&v, g->mem + CG_IN + 1 + at, 8);
	return v;
}

static void test_stats(void **state)
{
	struct soft_guest guest, *g = &guest;
	struct cg_cmd query = {
		.class = VIRTIO_NET_CTRL_STATS,
		.command = VIRTIO_NET_CTRL_STATS_QUERY,
		.result = 8,
	};
	struct stats_request all[3] = {
		{.vq = 0, .types = VIRTIO_NET_STATS_TYPE_RX_BASIC},
		{.vq = 1, .types = VIRTIO_NET_STATS_TYPE_TX_BASIC | VIRTIO_NET_STATS_TYPE_TX_CSUM},
		{.vq = 2, .types = VIRTIO_NET_STATS_TYPE_CVQ},
	};
	uint32_t written;

	start(g, 1, STATS);
	ng_rx_post(g, 0, 2048);
	ng_frame(g, 12, NULL, 1, 60);
	ng_tx_post(g, 72);
	take_some(g, 1);
	assert_non_null(ng_rx(g, &written));
	assert_int_equal(cg_run(g, &query), VIRTIO_NET_OK);
	assert_int_equal(query.written, 9);
	assert_int_equal(stats_word(g, 0),
			 VIRTIO_NET_STATS_TYPE_RX_BASIC | VIRTIO_NET_STATS_TYPE_RX_GSO |
				 VIRTIO_NET_STATS_TYPE_TX_BASIC | VIRTIO_NET_STATS_TYPE_TX_CSUM |
				 VIRTIO_NET_STATS_TYPE_CVQ);
	assert_int_equal(get_stats(g, all, 3, 1024, &written), VIRTIO_NET_OK);
	assert_int_equal(written, 56 + 56 + 24 + 24);
	assert_int_equal(stats_word(g, 0), 56ull << 48);
	assert_int_equal(stats_word(g, 16), 1);	 /* rx_packets */
	assert_int_equal(stats_word(g, 24), 60); /* rx_bytes */
	assert_int_equal(stats_word(g, 56), 56ull << 48 | 1 << 16 | 16);
	assert_int_equal(stats_word(g, 72), 1); /* tx_packets */
	assert_int_equal(stats_word(g, 112), 24ull << 48 | 1 << 16 | 17);
	assert_int_equal(stats_word(g, 120), 1); /* tx_csum_none */
	assert_int_equal(stats_word(g, 136), 24ull << 48 | 2 << 16 | 32);
	/* The command itself is one of them. */
	assert_int_equal(stats_word(g, 144), 2);
	assert_int_equal(stats_word(g, 152), 2);
	/* Less room: what fits. */
	for (uint32_t room = 0; room < 170; room += 7) {
		assert_int_equal(get_stats(g, all, 3, room, &written), VIRTIO_NET_OK);
		assert_int_equal(written, room < 160 ? room : 160);
	}
	sg_close(g);
}

static void test_stats_bad(void **state)
{
	struct soft_guest guest, *g = &guest;
	struct stats_request r[2] = {{.vq = 0, .types = VIRTIO_NET_STATS_TYPE_RX_BASIC}};
	uint32_t written;

	start(g, 0, STATS);
	for (unsigned vq = 0; vq < 65536; vq += vq < 5 ? 1 : 4093) {
		for (unsigned bit = 0; bit < 64; bit++) {
			bool good = (vq == 0 && bit == 0) || (vq == 2 && bit == 32) ||
				    (vq == 1 && (bit == 16 || bit == 17));

			r[1] = (struct stats_request){.vq = (uint16_t)vq, .types = 1ull << bit};
			assert_int_equal(get_stats(g, r, 2, 256, &written),
					 good ? VIRTIO_NET_OK : VIRTIO_NET_ERR);
			/* One that is wrong fails all of it. */
			assert_true(good || !written);
		}
	}
	for (uint32_t len = 0; len < 40; len++)
		assert_int_equal(cg_send(g, VIRTIO_NET_CTRL_STATS, VIRTIO_NET_CTRL_STATS_GET,
					 (struct stats_request[3]){{.vq = 0}}, len),
				 len && len % 16 == 0 ? VIRTIO_NET_OK : VIRTIO_NET_ERR);
	sg_close(g);
}

/* ---- life ---- */

static void test_reset(void **state)
{
	struct soft_guest guest, *g = &guest;
	uint8_t data[64];
	uint32_t len;

	open_filtered(g, 1, CG_RX | CG_VLAN);
	OFF(PROMISC);
	ON(NOBCAST);
	len = cg_mac_table(data, (uint8_t[]){0x88}, 1, (uint8_t[]){1}, 1);
	assert_int_equal(cg_send(g, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, data, len),
			 VIRTIO_NET_OK);
	assert_int_equal(cg_vlan(g, VIRTIO_NET_CTRL_VLAN_ADD, 5), VIRTIO_NET_OK);
	sg_reset(g);
	sg_start(g, NG_FEATURES | CG_RX | CG_VLAN, 3, 16);
	ng_rx_post(g, 0, 2048);
	assert_int_equal(cg_send(g, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, own, 6),
			 VIRTIO_NET_OK);
	expect(g, true, true, true, true);
	OFF(PROMISC);
	expect(g, true, false, false, true);
	assert_false(arrives(g, own, 5));
	sg_close(g);
}

/* Commands as fast as they go, while packets are received and the device is reset. */
static void test_storm(void **state)
{
	struct soft_guest guest, *g = &guest;

	for (unsigned round = 0; round < 5; round++) {
		start(g, 2, CG_RX | CG_VLAN);
		ng_rx_post(g, 0, 2048);
		ng_frame(g, 12, NULL, 1, 60);
		for (unsigned i = 0; i < 200; i++) {
			uint32_t len;

			ng_tx_post(g, 72);
			assert_int_equal(cg_vlan(g, i & 1, (uint16_t)(i / 2)), VIRTIO_NET_OK);
			assert_int_equal(cg_rx_mode(g, VIRTIO_NET_CTRL_RX_PROMISC, i & 1),
					 VIRTIO_NET_OK);
			assert_true(ng_tx_done(g, SG_PATIENCE));
			if (sg_get(g, 0, &len, 0))
				ng_rx_post(g, 0, 2048);
		}
		/* One is under way when the device is reset. */
		g->mem[CG_OUT] = g->mem[CG_OUT + 1] = g->mem[CG_OUT + 2] = 0;
		sg_send(g, 2, (struct virtqueue_sg[]){sg_at(CG_OUT, 3), sg_at(CG_IN, 1)}, 1, 1,
			g->mem);
		sg_run(g, 0);
		sg_reset(g);
		sg_close(g);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order_of_parts),
		cmocka_unit_test(test_framing_bad),
		cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_not_negotiated),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_no_feature_no_queue),
		cmocka_unit_test_prestate(test_modes, (void *)0),
		cmocka_unit_test_prestate(test_modes, (void *)2),
		cmocka_unit_test(test_mac_table),
		cmocka_unit_test(test_mac_counts),
		cmocka_unit_test(test_mac_addr),
		cmocka_unit_test(test_vlans),
		cmocka_unit_test(test_vlans_alone),
		cmocka_unit_test(test_announce),
		cmocka_unit_test(test_offloads),
		cmocka_unit_test(test_coal_commands),
		cmocka_unit_test(test_coal_enabled),
		cmocka_unit_test_prestate(test_coal_packets, (void *)0),
		cmocka_unit_test_prestate(test_coal_packets, (void *)2),
		cmocka_unit_test(test_coal_time),
		cmocka_unit_test(test_stats),
		cmocka_unit_test(test_stats_bad),
		cmocka_unit_test(test_reset),
		cmocka_unit_test(test_storm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
