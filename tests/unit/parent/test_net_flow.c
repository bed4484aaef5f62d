// SPDX-License-Identifier: BSD-3-Clause
/*
 * Hashes of flows: the numbers that Microsoft publishes for its RSS ("Verifying the RSS hash
 * calculation"), which types apply to which packet, and headers that are not what they seem.
 */
#include <arpa/inet.h>
#include <linux/virtio_net.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "parent/soft/net_flow.h"

#define ALL NET_RSS_TYPES
#define V4 VIRTIO_NET_RSS_HASH_TYPE_IPv4
#define TCP4 VIRTIO_NET_RSS_HASH_TYPE_TCPv4
#define UDP4 VIRTIO_NET_RSS_HASH_TYPE_UDPv4
#define V6 VIRTIO_NET_RSS_HASH_TYPE_IPv6
#define TCP6 VIRTIO_NET_RSS_HASH_TYPE_TCPv6
#define UDP6 VIRTIO_NET_RSS_HASH_TYPE_UDPv6
#define EX VIRTIO_NET_RSS_HASH_TYPE_IP_EX
#define TCP_EX VIRTIO_NET_RSS_HASH_TYPE_TCP_EX
#define UDP_EX VIRTIO_NET_RSS_HASH_TYPE_UDP_EX

static const uint8_t key[NET_RSS_KEY] = {
	0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
	0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
	0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
};

struct vector {
	const char *dst;
	uint16_t dport;
	const char *src;
	uint16_t sport;
	uint32_t plain, with_ports;
};

static const struct vector vectors4[] = {
	{"161.142.100.80", 1766, "66.9.149.187", 2794, 0x323e8fc2, 0x51ccc178},
	{"65.69.140.83", 4739, "199.92.111.2", 14230, 0xd718262a, 0xc626b0ea},
	{"12.22.207.184", 38024, "24.19.198.95", 12898, 0xd2d0a5de, 0x5c2b394a},
	{"209.142.163.6", 2217, "38.27.205.30", 48228, 0x82989176, 0xafc7327f},
	{"202.188.127.2", 1303, "153.39.163.191", 44251, 0x5d1809c5, 0x10e828a2},
};

static const struct vector vectors6[] = {
	{"3ffe:2501:200:3::1", 1766, "3ffe:2501:200:1fff::7", 2794, 0x2cc18cd5, 0x40207d3d},
	{"ff02::1", 4739, "3ffe:501:8::260:97ff:fe40:efab", 14230, 0x0f0c461c, 0xdde51bbf},
	{"fe80::200:f8ff:fe21:67cf", 38024, "3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251,
	 0x4b61e985, 0x02d1feef},
};

/* ---- packets ---- */

struct packet {
	uint8_t b[512];
	size_t len;
};

static void put(struct packet *p, const void *bytes, size_t n)
{
	memcpy(p->b + p->len, bytes, n);
	p->len += n;
}

static void put16(struct packet *p, uint16_t v)
{
	put(p, (uint8_t[]){(uint8_t)(v >> 8), (uint8_t)v}, 2);
}

static void ether(struct packet *p, uint16_t type, unsigned tags)
{
	memset(p, 0, sizeof(*p));
	p->len = 12;
	if (tags > 1)
		put(p, "\x88\xa8\x00\x05", 4);
	if (tags)
		put(p, "\x81\x00\x20\x07", 4);
	put16(p, type);
}

static void ports(struct packet *p, const struct vector *v)
{
	put16(p, v->sport);
	put16(p, v->dport);
	p->len += 16; /* of a TCP header */
}

/* @options: words of them; @fragment: as in the header. */
static void ipv4(struct packet *p, const struct vector *v, uint8_t proto, unsigned options,
		 uint16_t fragment)
{
	size_t at = p->len;

	p->b[at] = (uint8_t)(0x45 + options);
	p->b[at + 6] = (uint8_t)(fragment >> 8);
	p->b[at + 7] = (uint8_t)fragment;
	p->b[at + 9] = proto;
	assert_int_equal(inet_pton(AF_INET, v->src, p->b + at + 12), 1);
	assert_int_equal(inet_pton(AF_INET, v->dst, p->b + at + 16), 1);
	p->len += 20 + options * 4;
	ports(p, v);
	p->b[at + 3] = (uint8_t)(p->len - at);
}

static size_t ipv6(struct packet *p, const char *src, const char *dst, uint8_t next)
{
	size_t at = p->len;

	p->b[at] = 0x60;
	p->b[at + 6] = next;
	assert_int_equal(inet_pton(AF_INET6, src, p->b + at + 8), 1);
	assert_int_equal(inet_pton(AF_INET6, dst, p->b + at + 24), 1);
	p->len += 40;
	return at;
}

static void ipv6_end(struct packet *p, size_t at)
{
	p->b[at + 4] = (uint8_t)((p->len - at - 40) >> 8);
	p->b[at + 5] = (uint8_t)(p->len - at - 40);
}

static uint16_t hash_of(const struct packet *p, uint32_t types, uint32_t *hash)
{
	struct net_toeplitz t;
	struct net_flow flow;

	net_toeplitz_key(&t, key, sizeof(key));
	net_flow_parse(&flow, p->b, p->len < NET_FLOW_BYTES ? p->len : NET_FLOW_BYTES, p->len);
	return net_rss_hash(&t, types, &flow, hash);
}

static void expect(const struct packet *p, uint32_t types, uint16_t report, uint32_t want)
{
	uint32_t hash;

	assert_int_equal(hash_of(p, types, &hash), report);
	assert_int_equal(hash, want);
}

/* ---- numbers ---- */

static void test_vectors_ipv4(void **state)
{
	for (unsigned i = 0; i < sizeof(vectors4) / sizeof(vectors4[0]); i++) {
		const struct vector *v = &vectors4[i];
		struct packet p;

		ether(&p, 0x0800, i % 3);
		ipv4(&p, v, IPPROTO_TCP, i * 2, 0x4000);
		expect(&p, ALL, VIRTIO_NET_HASH_REPORT_TCPv4, v->with_ports);
		expect(&p, V4 | UDP4, VIRTIO_NET_HASH_REPORT_IPv4, v->plain);
		expect(&p, TCP4, VIRTIO_NET_HASH_REPORT_TCPv4, v->with_ports);
		expect(&p, UDP4 | V6 | TCP6, VIRTIO_NET_HASH_REPORT_NONE, 0);
		ether(&p, 0x0800, 0);
		ipv4(&p, v, IPPROTO_UDP, 0, 0);
		expect(&p, ALL, VIRTIO_NET_HASH_REPORT_UDPv4, v->with_ports);
		expect(&p, V4 | TCP4, VIRTIO_NET_HASH_REPORT_IPv4, v->plain);
		ether(&p, 0x0800, 0);
		ipv4(&p, v, IPPROTO_ICMP, 0, 0);
		expect(&p, ALL, VIRTIO_NET_HASH_REPORT_IPv4, v->plain);
		expect(&p, 0, VIRTIO_NET_HASH_REPORT_NONE, 0);
	}
}

static void test_vectors_ipv6(void **state)
{
	for (unsigned i = 0; i < sizeof(vectors6) / sizeof(vectors6[0]); i++) {
		const struct vector *v = &vectors6[i];
		struct packet p;
		size_t at;

		for (unsigned udp = 0; udp < 2; udp++) {
			ether(&p, 0x86dd, i);
			at = ipv6(&p, v->src, v->dst, udp ? IPPROTO_UDP : IPPROTO_TCP);
			ports(&p, v);
			ipv6_end(&p, at);
			expect(&p, ALL, VIRTIO_NET_HASH_REPORT_TCPv6 + udp, v->with_ports);
			expect(&p, V6, VIRTIO_NET_HASH_REPORT_IPv6, v->plain);
			expect(&p, udp ? TCP6 : UDP6, VIRTIO_NET_HASH_REPORT_NONE, 0);
			/* Types for extension headers mean nothing without one. */
			expect(&p, EX | TCP_EX | UDP_EX, VIRTIO_NET_HASH_REPORT_NONE, 0);
		}
	}
}

/* A key that ends early goes on with zeroes. */
static void test_short_key(void **state)
{
	uint8_t padded[NET_RSS_KEY] = {0}, input[NET_RSS_INPUT];
	struct net_toeplitz a, b;

	for (size_t i = 0; i < sizeof(input); i++)
		input[i] = (uint8_t)(i * 37 + 11);
	for (size_t len = 0; len <= sizeof(key); len++) {
		memset(padded, 0, sizeof(padded));
		memcpy(padded, key, len);
		net_toeplitz_key(&a, key, len);
		net_toeplitz_key(&b, padded, sizeof(padded));
		assert_int_equal(net_toeplitz_hash(&a, input, sizeof(input)),
				 net_toeplitz_hash(&b, input, sizeof(input)));
	}
}

/* ---- what a packet is ---- */

static void test_fragments(void **state)
{
	const struct vector *v = &vectors4[0];
	static const uint16_t parts[] = {0x2000, 0x0001, 0x2001, 0x1fff};
	struct packet p;

	for (unsigned i = 0; i < 4; i++) {
		ether(&p, 0x0800, 0);
		ipv4(&p, v, IPPROTO_UDP, 0, parts[i]);
		expect(&p, ALL, VIRTIO_NET_HASH_REPORT_IPv4, v->plain);
		expect(&p, UDP4, VIRTIO_NET_HASH_REPORT_NONE, 0);
	}
}

static void test_ipv6_fragments(void **state)
{
	static const uint8_t parts[][8] = {
		{IPPROTO_TCP, 0, 0, 1}, {IPPROTO_TCP, 0, 0, 8}, {IPPROTO_TCP, 0, 0xff, 0xf9}};
	const uint8_t whole[8] = {IPPROTO_TCP, 0, 0, 0};
	const struct vector *v = &vectors6[0];
	struct packet p;
	size_t at;

	for (unsigned i = 0; i < 3; i++) {
		ether(&p, 0x86dd, 0);
		at = ipv6(&p, v->src, v->dst, IPPROTO_FRAGMENT);
		put(&p, parts[i], 8);
		ports(&p, v);
		ipv6_end(&p, at);
		expect(&p, ALL, VIRTIO_NET_HASH_REPORT_IPv6_EX, v->plain);
		expect(&p, V6 | TCP6, VIRTIO_NET_HASH_REPORT_IPv6, v->plain);
	}
	ether(&p, 0x86dd, 0);
	at = ipv6(&p, v->src, v->dst, IPPROTO_FRAGMENT);
	put(&p, whole, 8);
	ports(&p, v);
	ipv6_end(&p, at);
	expect(&p, ALL, VIRTIO_NET_HASH_REPORT_TCPv6_EX, v->with_ports);
}

/* Headers on the way to the ports; two of them say whose addresses are meant. */
static void extended(struct packet *p, const struct vector *v, bool mobile)
{
	uint8_t home[24] = {IPPROTO_ROUTING, 2, 1, 2, 0, 0, 0xc9, 16};
	uint8_t route[24] = {51, 2, 2, 1}, ah[16] = {IPPROTO_TCP, 2};
	const uint8_t hop[8] = {IPPROTO_DSTOPTS, 0, 1, 4};
	size_t at;

	assert_int_equal(inet_pton(AF_INET6, v->src, home + 8), 1);
	assert_int_equal(inet_pton(AF_INET6, v->dst, route + 8), 1);
	if (!mobile) {
		home[6] = 0x1e;
		route[2] = 3;
	}
	ether(p, 0x86dd, 0);
	at = ipv6(p, mobile ? "::1" : v->src, mobile ? "::2" : v->dst, IPPROTO_HOPOPTS);
	put(p, hop, sizeof(hop));
	put(p, home, sizeof(home));
	put(p, route, sizeof(route));
	put(p, ah, sizeof(ah));
	ports(p, v);
	ipv6_end(p, at);
}

static void test_extended(void **state)
{
	const struct vector *v = &vectors6[1];
	struct packet p;
	uint32_t hash;

	extended(&p, v, true);
	expect(&p, ALL, VIRTIO_NET_HASH_REPORT_TCPv6_EX, v->with_ports);
	expect(&p, EX | UDP_EX, VIRTIO_NET_HASH_REPORT_IPv6_EX, v->plain);
	/* Else the headers are passed over, and the addresses are the packet's. */
	assert_int_equal(hash_of(&p, V6 | TCP6, &hash), VIRTIO_NET_HASH_REPORT_TCPv6);
	assert_int_not_equal(hash, v->with_ports);
	extended(&p, v, false);
	expect(&p, ALL, VIRTIO_NET_HASH_REPORT_TCPv6_EX, v->with_ports);
	expect(&p, V6 | TCP6, VIRTIO_NET_HASH_REPORT_TCPv6, v->with_ports);
}

/* Both directions are one flow, and different flows are different. */
static void test_flow_hash(void **state)
{
	struct vector v = vectors4[0], back = {v.src, v.sport, v.dst, v.dport, 0, 0};
	struct net_flow a, b, c;
	struct packet p;

	ether(&p, 0x0800, 0);
	ipv4(&p, &v, IPPROTO_TCP, 0, 0);
	net_flow_parse(&a, p.b, p.len, p.len);
	ether(&p, 0x0800, 1);
	ipv4(&p, &back, IPPROTO_TCP, 3, 0);
	net_flow_parse(&b, p.b, p.len, p.len);
	assert_int_equal(net_flow_hash(&a, 7), net_flow_hash(&b, 7));
	assert_int_not_equal(net_flow_hash(&a, 7), net_flow_hash(&a, 8));
	v.sport++;
	ether(&p, 0x0800, 0);
	ipv4(&p, &v, IPPROTO_TCP, 0, 0);
	net_flow_parse(&c, p.b, p.len, p.len);
	assert_int_not_equal(net_flow_hash(&a, 7), net_flow_hash(&c, 7));
	ether(&p, 0x0800, 0);
	ipv4(&p, &vectors4[0], IPPROTO_UDP, 0, 0);
	net_flow_parse(&c, p.b, p.len, p.len);
	assert_int_not_equal(net_flow_hash(&a, 7), net_flow_hash(&c, 7));
	ether(&p, 0x0806, 0);
	net_flow_parse(&c, p.b, p.len, p.len);
	assert_int_equal(net_flow_hash(&c, 7), 0);
}

/* ---- headers that lie ---- */

/* In memory that ends where the packet does: nothing behind it may be read. */
static void parse_exact(struct net_flow *flow, const uint8_t *bytes, size_t len, size_t frame)
{
	uint8_t *copy = malloc(len ? len : 1);

	assert_non_null(copy);
	memcpy(copy, bytes, len);
	net_flow_parse(flow, copy, len, frame);
	free(copy);
}

static void test_truncated(void **state)
{
	struct packet p;
	struct net_flow flow;

	for (unsigned kind = 0; kind < 3; kind++) {
		if (kind < 2)
			ether(&p, 0x0800, 2);
		if (kind < 2)
			ipv4(&p, &vectors4[1], kind ? IPPROTO_UDP : IPPROTO_TCP, 10, 0);
		else
			extended(&p, &vectors6[0], true);
		for (size_t len = 0; len <= p.len; len++) {
			parse_exact(&flow, p.b, len, len);
			assert_true(len == p.len || !flow.proto || kind == 1);
			parse_exact(&flow, p.b, len, p.len);
			parse_exact(&flow, p.b, p.len, len);
		}
		assert_true(flow.proto);
	}
}

/* The IP packet is shorter than its frame: what comes behind is not of it. */
static void test_padding(void **state)
{
	const struct vector *v = &vectors4[2];
	struct packet p;

	for (unsigned bytes = 20; bytes < 40; bytes++) {
		ether(&p, 0x0800, 0);
		ipv4(&p, v, IPPROTO_TCP, 0, 0);
		p.b[17] = (uint8_t)bytes;
		expect(&p, ALL, VIRTIO_NET_HASH_REPORT_IPv4, v->plain);
	}
	/* A large packet that is to be cut may say nothing. */
	p.b[17] = 0;
	expect(&p, ALL, VIRTIO_NET_HASH_REPORT_TCPv4, v->with_ports);
	/* A header of less than 20 bytes, or longer than the packet, is none. */
	p.b[14] = 0x44;
	expect(&p, ALL, VIRTIO_NET_HASH_REPORT_NONE, 0);
	p.b[14] = 0x4f;
	expect(&p, ALL, VIRTIO_NET_HASH_REPORT_NONE, 0);
	p.b[14] = 0x65;
	expect(&p, ALL, VIRTIO_NET_HASH_REPORT_NONE, 0);
}

/* Every byte of the headers takes every value: nothing is read beyond, and it ends. */
static void test_every_byte(void **state)
{
	struct packet p;
	struct net_flow flow;

	for (unsigned kind = 0; kind < 2; kind++) {
		if (kind)
			extended(&p, &vectors6[2], true);
		else
			ether(&p, 0x0800, 1);
		if (!kind)
			ipv4(&p, &vectors4[3], IPPROTO_TCP, 2, 0);
		for (size_t at = 12; at < p.len; at++) {
			uint8_t was = p.b[at];

			for (unsigned v = 0; v < 256; v++) {
				p.b[at] = (uint8_t)v;
				parse_exact(&flow, p.b, p.len, p.len);
			}
			p.b[at] = was;
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors_ipv4),   cmocka_unit_test(test_vectors_ipv6),
		cmocka_unit_test(test_short_key),      cmocka_unit_test(test_fragments),
		cmocka_unit_test(test_ipv6_fragments), cmocka_unit_test(test_extended),
		cmocka_unit_test(test_flow_hash),      cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_padding),	       cmocka_unit_test(test_every_byte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
