// SPDX-License-Identifier: BSD-3-Clause
/* What the header of a packet says: checked, honoured, and done for a receiver that cannot do it.
 */
#include "net_guest.h"

static const struct vdpa_attr plain[] = {{"backend", "loopback"}, {0}};

#define TSO4 (NG_CSUM | VDPA_BIT(VIRTIO_NET_F_HOST_TSO4))
#define GTSO4 (NG_GCSUM | VDPA_BIT(VIRTIO_NET_F_GUEST_TSO4))
#define TSO6 (NG_CSUM | VDPA_BIT(VIRTIO_NET_F_HOST_TSO6))

static void start(struct soft_guest *g, uint64_t features)
{
	sg_open(g, 0);
	sg_add(g, "soft_net", plain);
	sg_start(g, NG_FEATURES | features, 2, 64);
}

static uint16_t be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)be16(p) << 16 | be16(p + 2);
}

static void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static uint32_t sum(uint32_t s, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		s += i & 1 ? p[i] : (uint32_t)p[i] << 8;
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return s;
}

/* Ethernet, IPv4 or 6, TCP with a partial checksum, @payload bytes; frame length. */
static uint32_t make_tcp(struct soft_guest *g, bool v6, uint32_t payload, struct ng_hdr *hdr)
{
	uint32_t iph = v6 ? 40 : 20, l4 = 14 + iph, len = l4 + 20 + payload;
	uint8_t *f = g->mem + NG_TX + 12, *ip = f + 14, *tcp = f + l4;

	for (uint32_t i = 0; i < len; i++)
		f[i] = (uint8_t)(i * 11 + 3);
	memset(f, 2, 12);
	put16(f + 12, v6 ? 0x86dd : 0x0800);
	memset(ip, 0, iph + 20);
	if (v6) {
		ip[0] = 0x60;
		put16(ip + 4, 20 + payload);
		ip[6] = 6;
		memset(ip + 8, 0x20, 32);
	} else {
		ip[0] = 0x45;
		put16(ip + 2, 40 + payload);
		put16(ip + 4, 77);
		ip[9] = 6;
		memset(ip + 12, 10, 8);
		put16(ip + 10, (uint16_t)~sum(0, ip, 20));
	}
	put16(tcp + 6, 1000); /* sequence number */
	tcp[12] = 5 << 4;
	tcp[13] = 0x99; /* CWR ACK PSH FIN */
	put16(tcp + 16, sum(sum(6 + 20 + payload, v6 ? ip + 8 : ip + 12, v6 ? 32 : 8), tcp, 0));
	*hdr = (struct ng_hdr){
		.flags = 1,
		.csum_start = (uint16_t)l4,
		.csum_offset = 16,
	};
	return len;
}

static bool tcp_good(const uint8_t *f, uint32_t len, bool v6)
{
	const uint8_t *ip = f + 14, *tcp = ip + (v6 ? 40 : 20);
	uint32_t n = len - (uint32_t)(tcp - f);

	if (!v6 && (sum(0, ip, 20) != 0xffff || be16(ip + 2) != len - 14))
		return false;
	if (v6 && be16(ip + 4) != len - 54)
		return false;
	return sum(sum(6 + n, v6 ? ip + 8 : ip + 12, v6 ? 32 : 8), tcp, n) == 0xffff;
}

static void send_hdr(struct soft_guest *g, const struct ng_hdr *hdr, uint32_t len)
{
	memcpy(g->mem + NG_TX, hdr, 12);
	ng_tx_post(g, 12 + len);
}

static void test_partial_passes(void **state)
{
	struct soft_guest g;
	struct ng_hdr hdr;
	uint32_t len, n;
	uint8_t *p;

	start(&g, NG_CSUM | NG_GCSUM);
	ng_rx_post(&g, 0, 2048);
	n = make_tcp(&g, false, 100, &hdr);
	send_hdr(&g, &hdr, n);
	p = ng_rx(&g, &len);
	assert_non_null(p);
	assert_int_equal(p[0], VIRTIO_NET_HDR_F_NEEDS_CSUM);
	assert_int_equal(p[6] | p[7] << 8, 34);
	assert_int_equal(p[8] | p[9] << 8, 16);
	assert_memory_equal(p + 12, g.mem + NG_TX + 12, n);
	sg_close(&g);
}

static void test_partial_filled(void **state)
{
	struct soft_guest g;
	struct ng_hdr hdr;
	uint32_t len, n;
	uint8_t *p;

	start(&g, NG_CSUM);
	for (unsigned payload = 99; payload < 101; payload++) {
		ng_rx_post(&g, 0, 2048);
		n = make_tcp(&g, false, payload, &hdr);
		send_hdr(&g, &hdr, n);
		p = ng_rx(&g, &len);
		assert_non_null(p);
		assert_int_equal(p[0], 0);
		assert_int_equal(len, n + 12);
		assert_true(tcp_good(p + 12, n, false));
		assert_true(ng_tx_done(&g, SG_PATIENCE));
	}
	sg_close(&g);
}

static void test_tso_passes(void **state)
{
	struct soft_guest g;
	struct ng_hdr hdr;
	uint32_t len, n;
	uint8_t *p;

	start(&g, TSO4 | GTSO4);
	ng_rx_post(&g, 0, 70000);
	n = make_tcp(&g, false, 10000, &hdr);
	hdr.gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
	hdr.gso_size = 1400;
	hdr.hdr_len = 54;
	send_hdr(&g, &hdr, n);
	p = ng_rx(&g, &len);
	assert_non_null(p);
	assert_int_equal(len, n + 12);
	assert_int_equal(p[1], VIRTIO_NET_HDR_GSO_TCPV4);
	assert_int_equal(p[4] | p[5] << 8, 1400);
	sg_close(&g);
}

/* The receiver did not negotiate large packets: it gets them cut, even when its buffers come late.
 */
static void cut(uint64_t features, bool v6, unsigned at_a_time)
{
	struct soft_guest g;
	struct ng_hdr hdr;
	uint32_t len, n, got = 0;
	unsigned i;

	start(&g, features);
	n = make_tcp(&g, v6, 10000, &hdr);
	hdr.gso_type = v6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4;
	hdr.gso_size = 1400;
	send_hdr(&g, &hdr, n);
	for (i = 0; got < 10000; i++) {
		uint32_t l4 = v6 ? 54 : 34, want = 10000 - got < 1400 ? 10000 - got : 1400;
		uint8_t *p;

		if (i % at_a_time == 0)
			for (unsigned b = 0; b < at_a_time; b++)
				ng_rx_post(&g, i % 16 + b, 2048);
		p = ng_rx(&g, &len);
		assert_non_null(p);
		p += 12;
		assert_int_equal(len, 12 + l4 + 20 + want);
		assert_true(tcp_good(p, len - 12, v6));
		assert_int_equal(be32(p + l4 + 4), be32(g.mem + NG_TX + 12 + l4 + 4) + got);
		assert_int_equal(p[l4 + 13], got + want == 10000 ? 0x19 : got ? 0x10 : 0x90);
		if (!v6)
			assert_int_equal(be16(p + 18), 77 + i);
		assert_memory_equal(p + l4 + 20, g.mem + NG_TX + 12 + l4 + 20 + got, want);
		got += want;
	}
	assert_int_equal(i, 8);
	assert_true(ng_tx_done(&g, SG_PATIENCE));
	sg_close(&g);
}

static void test_tso_cut(void **state)
{
	cut(TSO4, false, 16);
	cut(TSO4 | NG_GCSUM, false, 16);
	cut(TSO6, true, 16);
}

static void test_tso_cut_slowly(void **state)
{
	cut(TSO4, false, 1);
	cut(TSO6, true, 3);
}

/* Headers that cannot be. */
static void test_bad_headers(void **state)
{
	struct soft_guest g;
	struct ng_hdr good, h;
	uint32_t len, n;
	unsigned bad = 0;

	start(&g, TSO4 | GTSO4);
	for (unsigned i = 0; i < 8; i++)
		ng_rx_post(&g, i, 70000);
	n = make_tcp(&g, false, 3000, &good);
	good.gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
	good.gso_size = 1000;
#define BAD(field, value)                                                                          \
	do {                                                                                       \
		h = good;                                                                          \
		h.field = value;                                                                   \
		send_hdr(&g, &h, n);                                                               \
		assert_true(ng_tx_done(&g, SG_PATIENCE));                                          \
		assert_int_equal(sg_stat(&g, 1, "tx errors"), ++bad);                              \
	} while (0)
	BAD(flags, 0); /* a large packet has a partial checksum */
	BAD(gso_size, 0);
	BAD(gso_type, VIRTIO_NET_HDR_GSO_TCPV6); /* not negotiated */
	BAD(gso_type, VIRTIO_NET_HDR_GSO_UDP);
	BAD(gso_type, VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN);
	BAD(gso_type, 0x7f);
	BAD(csum_start, 13);
	BAD(csum_start, (uint16_t)(n - 1));
	BAD(csum_start, 0xffff);
	BAD(csum_offset, 0xffff);
	BAD(csum_offset, 6);
	assert_null(ng_rx_any(&g, &len));
	/* hdr_len is only a hint; other flags are ignored. */
	h = good;
	h.hdr_len = 0xffff;
	h.flags |= VIRTIO_NET_HDR_F_DATA_VALID | 0x80;
	send_hdr(&g, &h, n);
	assert_non_null(ng_rx(&g, &len));
	assert_int_equal(len, n + 12);
	sg_close(&g);
}

static void test_no_offload_negotiated(void **state)
{
	struct soft_guest g;
	struct ng_hdr hdr;
	uint32_t n;

	start(&g, 0);
	ng_rx_post(&g, 0, 2048);
	n = make_tcp(&g, false, 100, &hdr);
	send_hdr(&g, &hdr, n);
	assert_true(ng_tx_done(&g, SG_PATIENCE));
	assert_int_equal(sg_stat(&g, 1, "tx errors"), 1);
	sg_close(&g);
}

/* Lies inside the packet that is to be cut. */
static void test_cut_lies(void **state)
{
	struct soft_guest g;
	struct ng_hdr hdr;
	uint32_t len, n;
	const struct {
		unsigned at;
		uint8_t value;
	} lies[] = {
		{12, 0x86}, {14, 0x4f}, {14, 0x40}, {23, 17}, {46, 0x40}, {12, 0x81},
	};

	start(&g, TSO4);
	for (unsigned i = 0; i < 8; i++)
		ng_rx_post(&g, i, 4096);
	for (unsigned i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		n = make_tcp(&g, false, 3000, &hdr);
		hdr.gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
		hdr.gso_size = 1000;
		g.mem[NG_TX + 12 + lies[i].at] = lies[i].value;
		send_hdr(&g, &hdr, n);
		assert_true(ng_tx_done(&g, SG_PATIENCE));
		assert_int_equal(sg_stat(&g, 0, "rx errors"), i + 1);
	}
	assert_null(ng_rx_any(&g, &len));
	sg_close(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_partial_passes),
		cmocka_unit_test(test_partial_filled),
		cmocka_unit_test(test_tso_passes),
		cmocka_unit_test(test_tso_cut),
		cmocka_unit_test(test_tso_cut_slowly),
		cmocka_unit_test(test_bad_headers),
		cmocka_unit_test(test_no_offload_negotiated),
		cmocka_unit_test(test_cut_lies),
	};

	return cmocka_run_group_tests_name("net offload", tests, NULL, NULL);
}
