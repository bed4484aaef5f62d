// SPDX-License-Identifier: BSD-3-Clause
/*
 * A NIC with several pairs of queues, on its loopback cable: which pair gets a packet, by flow and
 * by RSS; reports of hashes; pairs that come and go under traffic.
 */
#include "cvq_guest.h"
#include "net_wire.h"

#define PAIRS 3
#define CTRL (2 * PAIRS)
#define NUM 32
#define BUF 2048
#define MQ (VDPA_BIT(VIRTIO_NET_F_CTRL_VQ) | VDPA_BIT(VIRTIO_NET_F_MQ))
#define RSS (VDPA_BIT(VIRTIO_NET_F_CTRL_VQ) | VDPA_BIT(VIRTIO_NET_F_RSS))
#define REPORT VDPA_BIT(VIRTIO_NET_F_HASH_REPORT)

static const struct vdpa_attr attrs[] = {
	{"backend", "loopback"}, {"rss", "on"}, {"hash_report", "on"}, {0}};

static const uint8_t key[40] = {
	0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
	0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
	0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
};

struct mq {
	struct soft_guest g;
	unsigned hdr_bytes;
	unsigned posted[PAIRS];
	uint32_t tx_out[PAIRS]; /* slots of test_switching(), a bit each */
};

static void start(struct mq *m, unsigned workers, uint64_t features)
{
	struct vdpa_dev_set_config config = {
		.mask = VDPA_CFG_NET_MAX_VQP, .attrs = attrs, .net.max_vq_pairs = PAIRS};
	struct vdpa_error err = {.msg = ""};

	memset(m, 0, sizeof(*m));
	sg_open(&m->g, workers);
	if (sg_try_add(&m->g, "soft_net", "d0", &config, &err))
		fail_msg("%s", err.msg);
	sg_use(&m->g, vdpa_find_device(m->g.ctx, "d0"));
	sg_start(&m->g, NG_FEATURES | features, CTRL + 1, NUM);
	m->hdr_bytes = features & REPORT ? 20 : 12;
}

static void stop(struct mq *m)
{
	sg_close(&m->g);
}

static uint8_t set_pairs(struct mq *m, uint16_t n)
{
	uint8_t data[2] = {(uint8_t)n, (uint8_t)(n >> 8)};
	struct cg_cmd cmd = {.vq = CTRL,
			     .class = VIRTIO_NET_CTRL_MQ,
			     .command = VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET,
			     .data = data,
			     .len = 2};

	return cg_run(&m->g, &cmd);
}

/* ---- traffic ---- */

/* Buffers of pair @pair: slots of its own. */
static size_t rx_at(unsigned pair, unsigned slot)
{
	return SG_DATA + 0x100000 + ((size_t)pair * NUM + slot) * BUF;
}

static void post(struct mq *m, unsigned pair, unsigned count)
{
	while (count--) {
		unsigned slot = m->posted[pair]++ % NUM;
		struct virtqueue_sg sg = sg_at(rx_at(pair, slot), BUF);

		sg_send(&m->g, 2 * pair, &sg, 0, 1, m->g.mem + rx_at(pair, slot));
	}
}

static void post_all(struct mq *m, unsigned count)
{
	for (unsigned i = 0; i < PAIRS; i++)
		post(m, i, count);
}

/* A UDP packet of flow @flow; @back: of its other direction. */
static uint32_t frame(uint8_t *f, uint16_t flow, bool back)
{
	struct nw_flow n = {
		.src_port = back ? 7 : flow, .dst_port = back ? flow : 7, .payload = 32};
	uint32_t len;
	uint8_t addr[4];

	memcpy(n.dst, (uint8_t[]){2, 0, 0, 0, 0, 1}, 6);
	len = nw_udp(&n, f);
	if (back) {
		memcpy(addr, f + 26, 4);
		memcpy(f + 26, f + 30, 4);
		memcpy(f + 30, addr, 4);
	}
	return len;
}

static uint8_t *tx_slot(struct mq *m, unsigned pair)
{
	uint8_t *p = m->g.mem + SG_DATA + (size_t)pair * BUF;

	memset(p, 0, m->hdr_bytes);
	return p;
}

/* Send from @pair and wait until it is gone. */
static void send_from(struct mq *m, unsigned pair, uint16_t flow, bool back)
{
	uint8_t *p = tx_slot(m, pair);
	struct virtqueue_sg sg;
	uint32_t len;

	sg = sg_at((size_t)(p - m->g.mem), m->hdr_bytes + frame(p + m->hdr_bytes, flow, back));
	sg_send(&m->g, 2 * pair + 1, &sg, 1, 0, p);
	assert_non_null(sg_get(&m->g, 2 * pair + 1, &len, 10 * SG_SECOND));
}

/* The pair that gets the next packet; -1: none does. */
static int who(struct mq *m, uint8_t **packet, int64_t ns)
{
	uint64_t end = vdpa_clock_ns() + (uint64_t)ns;
	uint32_t len;

	do {
		for (unsigned i = 0; i < PAIRS; i++) {
			uint8_t *p = sg_get(&m->g, 2 * i, &len, SG_SECOND / 1000);

			if (packet)
				*packet = p;
			if (p)
				return (int)i;
		}
	} while (vdpa_clock_ns() < end);
	return -1;
}

static int who_gets(struct mq *m, unsigned from, uint16_t flow)
{
	send_from(m, from, flow, false);
	return who(m, NULL, SG_PATIENCE);
}

/* ---- by flow ---- */

/* 5.1.6.5.6.2: until the driver says more, one. */
static void test_default(void **state)
{
	struct mq m;

	start(&m, (unsigned)(uintptr_t)*state, MQ);
	post_all(&m, 8);
	for (unsigned i = 0; i < PAIRS; i++)
		assert_int_equal(who_gets(&m, i, (uint16_t)(1000 + i)), 0);
	assert_int_equal(set_pairs(&m, PAIRS), VIRTIO_NET_OK);
	for (unsigned i = 0; i < PAIRS; i++)
		assert_int_equal(who_gets(&m, i, (uint16_t)(1000 + i)), i);
	assert_int_equal(set_pairs(&m, 1), VIRTIO_NET_OK);
	for (unsigned i = 0; i < PAIRS; i++)
		assert_int_equal(who_gets(&m, i, (uint16_t)(1000 + i)), 0);
	stop(&m);
}

static void test_bad_pairs(void **state)
{
	static const uint16_t bad[] = {0, PAIRS + 1, 0x100, 0x8000, 0xffff};
	struct mq m;

	start(&m, 0, MQ);
	post_all(&m, 4);
	assert_int_equal(set_pairs(&m, 2), VIRTIO_NET_OK);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(set_pairs(&m, bad[i]), VIRTIO_NET_ERR);
	assert_int_equal(who_gets(&m, 1, 1), 1);
	assert_int_equal(who_gets(&m, 2, 1), 0);
	stop(&m);
}

/* The answer comes to the pair that sent last, whichever port it comes in by. */
static void test_flow_moves(void **state)
{
	struct mq m;

	start(&m, (unsigned)(uintptr_t)*state, MQ);
	assert_int_equal(set_pairs(&m, PAIRS), VIRTIO_NET_OK);
	post_all(&m, 16);
	for (unsigned i = 0; i < 2 * PAIRS; i++) {
		/* Its own packet comes back, which tells where the flow is. */
		assert_int_equal(who_gets(&m, i % PAIRS, 77), i % PAIRS);
	}
	/* What has no addresses stays where it came in. */
	for (unsigned i = 0; i < PAIRS; i++) {
		uint8_t *p = tx_slot(&m, i);
		struct virtqueue_sg sg = sg_at((size_t)(p - m.g.mem), 12 + 60);
		uint32_t len;

		memset(p + 12, 0, 60);
		sg_send(&m.g, 2 * i + 1, &sg, 1, 0, p);
		assert_non_null(sg_get(&m.g, 2 * i + 1, &len, SG_PATIENCE));
		assert_int_equal(who(&m, NULL, SG_PATIENCE), i);
	}
	stop(&m);
}

/* ---- RSS ---- */

struct rss {
	uint32_t types;
	uint16_t mask, unclassified, max_tx;
	uint16_t table[256];
	unsigned key_bytes, cut;
	unsigned said_bytes; /* of the key, when it lies */
};

static uint8_t set_rss(struct mq *m, const struct rss *r)
{
	uint8_t data[1024], *p = data;
	struct cg_cmd cmd = {.vq = CTRL,
			     .class = VIRTIO_NET_CTRL_MQ,
			     .command = VIRTIO_NET_CTRL_MQ_RSS_CONFIG,
			     .data = data};

	memcpy(p, &r->types, 4);
	memcpy(p + 4, &r->mask, 2);
	memcpy(p + 6, &r->unclassified, 2);
	p += 8;
	for (unsigned i = 0; i <= r->mask && i < 256; i++, p += 2)
		memcpy(p, &r->table[i], 2);
	memcpy(p, &r->max_tx, 2);
	p[2] = (uint8_t)(r->said_bytes ? r->said_bytes : r->key_bytes);
	memcpy(p + 3, key, r->key_bytes);
	cmd.len = (uint32_t)(p + 3 + r->key_bytes - data) - r->cut;
	return cg_run(&m->g, &cmd);
}

/* As in test_net_flow.c: a hash worked out bit by bit. */
static uint32_t toeplitz(const uint8_t *in, unsigned n)
{
	uint32_t hash = 0;

	for (unsigned bit = 0; bit < 8 * n; bit++) {
		uint32_t window = 0;

		for (unsigned k = 0; k < 32; k++)
			window = window << 1 | (key[(bit + k) / 8] >> (7 - (bit + k) % 8) & 1);
		if (in[bit / 8] >> (7 - bit % 8) & 1)
			hash ^= window;
	}
	return hash;
}

static uint32_t hash_of(uint16_t flow)
{
	uint8_t f[128];

	frame(f, flow, false);
	/* Addresses and ports follow each other. */
	return toeplitz(f + 26, 12);
}

static void test_rss(void **state)
{
	struct rss r = {.types = 7,
			.mask = 3,
			.table = {0, 1, 2, 1},
			.max_tx = PAIRS,
			.unclassified = 2,
			.key_bytes = 40};
	struct mq m;

	start(&m, (unsigned)(uintptr_t)*state, MQ | RSS);
	assert_int_equal(set_rss(&m, &r), VIRTIO_NET_OK);
	for (uint16_t i = 0; i < 40; i++) {
		int want = r.table[hash_of((uint16_t)(5000 + i)) & 3];

		post_all(&m, 1);
		assert_int_equal(who_gets(&m, i % PAIRS, (uint16_t)(5000 + i)), want);
		if (i % 8 == 7) {
			/* The buffers that nobody needed. */
			sg_reset(&m.g);
			memset(m.posted, 0, sizeof(m.posted));
			sg_start(&m.g, NG_FEATURES | MQ | RSS, CTRL + 1, NUM);
			assert_int_equal(set_rss(&m, &r), VIRTIO_NET_OK);
		}
	}
	/* Without a hash. */
	r.types = 2;
	assert_int_equal(set_rss(&m, &r), VIRTIO_NET_OK);
	post_all(&m, 1);
	assert_int_equal(who_gets(&m, 0, 5000), 2);
	/* The last command decides. */
	assert_int_equal(set_pairs(&m, 1), VIRTIO_NET_OK);
	assert_int_equal(who_gets(&m, 1, 5000), 0);
	stop(&m);
}

static void test_rss_refused(void **state)
{
	const struct rss good = {
		.types = 7, .mask = 1, .table = {0, 1}, .max_tx = 1, .key_bytes = 40};
	struct rss bad[12];
	struct mq m;

	for (unsigned i = 0; i < 12; i++)
		bad[i] = good;
	bad[0].types = 0x200;
	bad[1].mask = 2;
	bad[2].mask = 128;
	bad[3].mask = 255;
	bad[4].table[1] = PAIRS;
	bad[5].table[0] = 0x8000;
	bad[6].unclassified = PAIRS;
	bad[7].max_tx = 0;
	bad[8].max_tx = PAIRS + 1;
	bad[9].said_bytes = 41;
	bad[10].said_bytes = 39;
	bad[11].cut = 1;
	start(&m, 0, MQ | RSS);
	for (unsigned i = 0; i < 12; i++)
		assert_int_equal(set_rss(&m, &bad[i]), VIRTIO_NET_ERR);
	for (unsigned cut = 0; cut < 50; cut++) {
		struct rss r = good;

		r.cut = cut;
		assert_int_equal(set_rss(&m, &r), cut ? VIRTIO_NET_ERR : VIRTIO_NET_OK);
	}
	bad[0] = good;
	bad[0].mask = 127;
	bad[0].key_bytes = 0;
	assert_int_equal(set_rss(&m, &bad[0]), VIRTIO_NET_OK);
	stop(&m);
	/* Not negotiated. */
	start(&m, 0, MQ);
	assert_int_equal(set_rss(&m, &good), VIRTIO_NET_ERR);
	stop(&m);
}

/* ---- reports ---- */

static uint8_t set_hash(struct mq *m, uint32_t types, uint8_t reserved)
{
	uint8_t data[13 + sizeof(key)] = {(uint8_t)types, (uint8_t)(types >> 8)};
	struct cg_cmd cmd = {.vq = CTRL,
			     .class = VIRTIO_NET_CTRL_MQ,
			     .command = VIRTIO_NET_CTRL_MQ_HASH_CONFIG,
			     .data = data,
			     .len = sizeof(data)};

	data[11] = reserved;
	data[12] = sizeof(key);
	memcpy(data + 13, key, sizeof(key));
	return cg_run(&m->g, &cmd);
}

static void expect_report(struct mq *m, uint16_t flow, uint32_t hash, uint16_t report)
{
	uint8_t want[20] = {[10] = 1}, f[128], *p;
	uint32_t len = frame(f, flow, false);

	memcpy(want + 12, &hash, 4);
	memcpy(want + 16, &report, 2);
	send_from(m, 0, flow, false);
	assert_int_equal(who(m, &p, SG_PATIENCE), 0);
	assert_memory_equal(p, want, 20);
	assert_memory_equal(p + 20, f, len);
}

static void test_report(void **state)
{
	uint64_t mrg = (uintptr_t)*state ? NG_MRG : 0;
	struct mq m;

	start(&m, 0, MQ | REPORT | mrg);
	post(&m, 0, 8);
	/* 5.1.6.5.6.4: none, until types are set. */
	expect_report(&m, 9, 0, VIRTIO_NET_HASH_REPORT_NONE);
	assert_int_equal(set_hash(&m, 7, 1), VIRTIO_NET_ERR);
	assert_int_equal(set_hash(&m, 0x200, 0), VIRTIO_NET_ERR);
	expect_report(&m, 9, 0, VIRTIO_NET_HASH_REPORT_NONE);
	assert_int_equal(set_hash(&m, 7, 0), VIRTIO_NET_OK);
	expect_report(&m, 9, hash_of(9), VIRTIO_NET_HASH_REPORT_UDPv4);
	expect_report(&m, 10, hash_of(10), VIRTIO_NET_HASH_REPORT_UDPv4);
	assert_int_equal(set_hash(&m, 2, 0), VIRTIO_NET_OK);
	expect_report(&m, 9, 0, VIRTIO_NET_HASH_REPORT_NONE);
	stop(&m);
}

/* Of a packet in several buffers the first one has the header; and one too small for it is none. */
static void test_report_merged(void **state)
{
	uint8_t f[128], whole[128];
	uint32_t bytes = frame(f, 9, false), got = 0, len;
	struct virtqueue_sg sg;
	unsigned n = 0;
	struct mq m;

	start(&m, 0, MQ | REPORT | NG_MRG);
	assert_int_equal(set_hash(&m, 7, 0), VIRTIO_NET_OK);
	for (unsigned i = 0; i < 8; i++) {
		sg = sg_at(rx_at(0, i), i ? 24 : 19);
		sg_send(&m.g, 0, &sg, 0, 1, m.g.mem + rx_at(0, i));
	}
	send_from(&m, 0, 9, false);
	assert_non_null(sg_get(&m.g, 0, &len, SG_PATIENCE));
	assert_int_equal(len, 0);
	for (uint8_t *p; got < 20 + bytes && (p = sg_get(&m.g, 0, &len, SG_PATIENCE)); n++) {
		if (!n)
			assert_int_equal(p[10], (20 + bytes + 23) / 24);
		memcpy(whole + got, p, len);
		got += len;
	}
	assert_int_equal(got, 20 + bytes);
	assert_int_equal(whole[16], VIRTIO_NET_HASH_REPORT_UDPv4);
	assert_memory_equal(whole + 20, f, bytes);
	stop(&m);
}

/* The driver's header, cut at every byte. */
static void test_report_send(void **state)
{
	uint8_t f[128], *p, *got;
	uint32_t bytes = frame(f, 9, false), len;
	struct mq m;

	start(&m, 0, MQ | REPORT);
	post(&m, 0, 21);
	for (uint32_t cut = 1; cut <= 20; cut++) {
		struct virtqueue_sg sg[2];

		p = tx_slot(&m, 0);
		memcpy(p + 20, f, bytes);
		sg[0] = sg_at((size_t)(p - m.g.mem), cut);
		sg[1] = sg_at((size_t)(p - m.g.mem) + cut, 20 + bytes - cut);
		sg_send(&m.g, 1, sg, 2, 0, p);
		assert_non_null(sg_get(&m.g, 1, &len, SG_PATIENCE));
		got = sg_get(&m.g, 0, &len, SG_PATIENCE);
		assert_non_null(got);
		assert_int_equal(len, 20 + bytes);
		assert_memory_equal(got + 20, f, bytes);
	}
	stop(&m);
}

/* ---- what waits ---- */

/* No buffers where the flow goes: it waits there, and goes elsewhere when that pair is off. */
static void test_waits(void **state)
{
	struct mq m;
	uint32_t len;

	start(&m, (unsigned)(uintptr_t)*state, MQ | RSS);
	for (unsigned round = 0; round < 2; round++) {
		struct rss r = {.types = 0, .unclassified = 2, .max_tx = PAIRS, .table = {2}};
		uint8_t *p = tx_slot(&m, 0);
		struct virtqueue_sg sg;
		unsigned sent = 0;

		assert_int_equal(set_rss(&m, &r), VIRTIO_NET_OK);
		sg = sg_at((size_t)(p - m.g.mem), 12 + frame(p + 12, 5, false));
		for (unsigned i = 0; i < 8; i++)
			sg_send(&m.g, 1, &sg, 1, 0, p);
		assert_int_equal(who(&m, NULL, SG_SECOND / 20), -1);
		if (round) {
			post(&m, 1, 8);
			assert_int_equal(set_pairs(&m, 2), VIRTIO_NET_OK);
			post(&m, 0, 8);
		} else {
			post(&m, 2, 8);
		}
		for (unsigned i = 0; i < 8; i++)
			assert_int_equal(who(&m, NULL, SG_PATIENCE) == 2, !round);
		while (sent < 8 && sg_get(&m.g, 1, &len, SG_PATIENCE))
			sent++;
		assert_int_equal(sent, 8);
		assert_int_equal(who(&m, NULL, SG_SECOND / 100), -1);
	}
	stop(&m);
}

/* ---- all at once ---- */

/* How many of the packets that are out have come back, wherever; buffers are given back. */
static unsigned reap(struct mq *m)
{
	unsigned n = 0;
	uint32_t len;

	for (unsigned i = 0; i < PAIRS; i++) {
		uint8_t *p;

		while ((p = virtqueue_get(m->g.q[2 * i].vq, &len))) {
			struct virtqueue_sg sg = sg_at((size_t)(p - m->g.mem), BUF);

			assert_true(len > 12);
			sg_send(&m->g, 2 * i, &sg, 0, 1, p);
			n++;
		}
		while ((p = virtqueue_get(m->g.q[2 * i + 1].vq, &len)))
			m->tx_out[i] &= ~(1u << (size_t)(p - m->g.mem - SG_DATA) / BUF % 32);
	}
	return n;
}

/* A packet of @flow from @pair, without waiting; false: all its slots are out. */
static bool send_one(struct mq *m, unsigned pair, uint16_t flow, bool back)
{
	unsigned slot = (unsigned)__builtin_ctz(~m->tx_out[pair]);
	struct virtqueue_sg sg;
	uint8_t *p;

	if (m->tx_out[pair] == UINT32_MAX)
		return false;
	p = tx_slot(m, 32 * (1 + pair) + slot);
	sg = sg_at((size_t)(p - m->g.mem), 12 + frame(p + 12, flow, back));
	m->tx_out[pair] |= 1u << slot;
	sg_send(&m->g, 2 * pair + 1, &sg, 1, 0, p);
	return true;
}

/*
 * Pairs are switched and tables changed while packets are under way from all queues: each comes
 * back once.
 */
static void test_switching(void **state)
{
	const char *env = getenv("UVDPA_TEST_ROUNDS");
	unsigned rounds = env ? (unsigned)atoi(env) * 20 : 300, sent = 0, got = 0;
	struct mq m;

	start(&m, (unsigned)(uintptr_t)*state, MQ | RSS);
	post_all(&m, NUM);
	for (unsigned round = 0; round < rounds; round++) {
		struct rss r = {.types = 7,
				.mask = 7,
				.max_tx = 1,
				.key_bytes = 40,
				.unclassified = (uint16_t)(round % PAIRS)};

		for (unsigned i = 0; i < 8; i++)
			r.table[i] = (uint16_t)((round * 5 + i) % PAIRS);
		for (unsigned i = 0; i < 12; i++)
			sent += send_one(&m, i % PAIRS, (uint16_t)(round % 97), i & 1);
		if (round % 3 == 2)
			assert_int_equal(set_rss(&m, &r), VIRTIO_NET_OK);
		else
			assert_int_equal(set_pairs(&m, (uint16_t)(1 + round % PAIRS)),
					 VIRTIO_NET_OK);
		got += reap(&m);
	}
	for (unsigned i = 0; i < SG_TRIES && got < sent; i++) {
		sg_run(&m.g, SG_SECOND / 1000);
		got += reap(&m);
	}
	assert_int_equal(got, sent);
	for (unsigned i = 0; i < PAIRS; i++)
		assert_int_equal(sg_stat(&m.g, 2 * i, "rx drops"), 0);
	stop(&m);
}

/* A pair's queue is stopped with packets on their way to it: the others get them. */
static void test_queue_stops(void **state)
{
	struct mq m;
	uint32_t len;

	start(&m, (unsigned)(uintptr_t)*state, MQ);
	assert_int_equal(set_pairs(&m, PAIRS), VIRTIO_NET_OK);
	for (unsigned round = 0; round < 20; round++) {
		struct sg_wait wait = {0};
		struct vdpa_done done = sg_done(&wait);
		uint8_t *p = tx_slot(&m, 0);
		struct virtqueue_sg sg;

		/* The flow is pair 2's, which has no buffers. */
		sg = sg_at((size_t)(p - m.g.mem), 12 + frame(p + 12, 5, false));
		sg_send(&m.g, 5, &sg, 1, 0, p);
		sg_run(&m.g, SG_SECOND / 1000);
		assert_int_equal(vdpa_stop_vq(m.g.dev, 4, &done), 0);
		assert_int_equal(sg_wait(&m.g, &wait), 0);
		post(&m, 0, 1);
		assert_int_equal(who(&m, NULL, SG_PATIENCE), 0);
		assert_non_null(sg_get(&m.g, 5, &len, SG_PATIENCE));
		assert_int_equal(vdpa_set_vq_ready(m.g.dev, 4), 0);
		sg_run(&m.g, SG_SECOND / 1000);
	}
	stop(&m);
}

/* ---- the state ---- */

static void suspend(struct mq *m)
{
	struct sg_wait wait = {0};
	struct vdpa_done done = sg_done(&wait);

	assert_int_equal(vdpa_suspend(m->g.dev, &done), 0);
	assert_int_equal(sg_wait(&m->g, &wait), 0);
}

static size_t save(struct mq *m, uint8_t *buf, size_t room)
{
	assert_int_equal(m->g.dev->ext->save_state(m->g.dev, buf, &room), 0);
	return room;
}

static const char *steering(struct mq *m)
{
	static struct nw_shown s;

	s = (struct nw_shown){.key = "steering"};
	m->g.dev->ext->show(m->g.dev, nw_show, &s);
	return s.value;
}

/* What the commands led to is kept: the table, and which of the two commands came last. */
static void test_state(void **state)
{
	const struct rss r = {.types = 7,
			      .mask = 3,
			      .table = {0, 1, 2, 1},
			      .max_tx = 2,
			      .unclassified = 2,
			      .key_bytes = 40};
	static uint8_t a[8192], b[8192];
	struct vdpa_error err = {.msg = ""};
	struct mq m;

	for (unsigned last = 0; last < 2; last++) {
		size_t n;

		start(&m, 0, MQ | RSS | REPORT);
		assert_int_equal(set_rss(&m, &r), VIRTIO_NET_OK);
		if (last)
			assert_int_equal(set_pairs(&m, 2), VIRTIO_NET_OK);
		suspend(&m);
		n = save(&m, a, sizeof(a));
		vdpa_resume(m.g.dev);
		assert_int_equal(set_hash(&m, 1, 0), VIRTIO_NET_OK);
		assert_int_equal(set_pairs(&m, 3), VIRTIO_NET_OK);
		suspend(&m);
		assert_int_equal(m.g.dev->ext->load_state(m.g.dev, a, n, &err), 0);
		assert_string_equal(steering(&m), last ? "automatic" : "rss");
		assert_int_equal(save(&m, b, sizeof(b)), n);
		/* But for the config space's generation and what follows it in the kit's header. */
		assert_memory_equal(a, b, 44);
		assert_memory_equal(a + 56, b + 56, n - 56);
		/* Each byte of it, wrong: refused, or something that commands could have led to. */
		for (size_t i = 0; i < n; i++) {
			memcpy(b, a, n);
			b[i] ^= (uint8_t)(1 + i % 255);
			m.g.dev->ext->load_state(m.g.dev, b, n, &err);
			m.g.dev->ext->load_state(m.g.dev, a, i, &err);
		}
		stop(&m);
	}
}

#define WITH(test, n)                                                                              \
	{                                                                                          \
#test "_" #n, test, NULL, NULL, (void *)n                                          \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH(test_default, 0),	   WITH(test_default, 2),	WITH(test_bad_pairs, 0),
		WITH(test_flow_moves, 0),  WITH(test_flow_moves, 3),	WITH(test_rss, 0),
		WITH(test_rss, 2),	   WITH(test_rss_refused, 0),	WITH(test_report, 0),
		WITH(test_report, 1),	   WITH(test_report_merged, 0), WITH(test_report_send, 0),
		WITH(test_waits, 0),	   WITH(test_waits, 1),		WITH(test_waits, 3),
		WITH(test_switching, 0),   WITH(test_switching, 1),	WITH(test_switching, 3),
		WITH(test_queue_stops, 0), WITH(test_queue_stops, 3),	WITH(test_state, 0),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
