// SPDX-License-Identifier: BSD-3-Clause
/*
 * The Toeplitz hash (virtio 1.3, section 5.1.6.4.3). Each bit of the input that is set contributes
 * the 32 bits of the key that begin at its position. What half a byte contributes is worked out
 * once per key: 4.5 kB, and 24 or 72 look-ups per packet.
 *
 * Who attacks: nobody can leave the table by what it looks up. A driver that knows its key can find
 * flows with equal hashes: they are its own.
 */
#include <linux/virtio_net.h>
#include <netinet/in.h>
#include <string.h>
#include "parent/soft/net_flow.h"

_Static_assert(NET_RSS_TYPES == (VIRTIO_NET_RSS_HASH_TYPE_UDP_EX << 1) - 1, "all that there are");

/* 32 bits of the key from bit @at on. */
static uint32_t window(const uint8_t *key, unsigned at)
{
	uint64_t five = 0;

	for (unsigned i = 0; i < 5; i++)
		five = five << 8 | (at / 8 + i < NET_RSS_KEY ? key[at / 8 + i] : 0);
	return (uint32_t)(five >> (8 - at % 8));
}

/* What these four bits contribute, the first of them being bit @at of the input. */
static uint32_t contribution(const uint8_t *key, unsigned at, unsigned bits)
{
	uint32_t sum = 0;

	for (unsigned i = 0; i < 4; i++)
		sum ^= bits & 8u >> i ? window(key, at + i) : 0;
	return sum;
}

void net_toeplitz_key(struct net_toeplitz *t, const uint8_t *key, size_t len)
{
	uint8_t whole[NET_RSS_KEY] = {0};

	memcpy(whole, key, len < sizeof(whole) ? len : sizeof(whole));
	for (unsigned i = 0; i < 2 * NET_RSS_INPUT; i++)
		for (unsigned bits = 0; bits < 16; bits++)
			t->part[i][bits] = contribution(whole, 4 * i, bits);
}

uint32_t net_toeplitz_hash(const struct net_toeplitz *t, const uint8_t *input, size_t len)
{
	uint32_t hash = 0;

	for (size_t i = 0; i < len && i < NET_RSS_INPUT; i++)
		hash ^= t->part[2 * i][input[i] >> 4] ^ t->part[2 * i + 1][input[i] & 15];
	return hash;
}

/* Addresses of @bytes each, and the ports. */
static uint32_t hash_of(const struct net_toeplitz *t, const struct net_addrs *addrs, size_t bytes,
			const uint8_t *ports)
{
	uint8_t input[NET_RSS_INPUT];
	size_t n = 2 * bytes;

	memcpy(input, addrs->src, bytes);
	memcpy(input + bytes, addrs->dst, bytes);
	if (ports) {
		memcpy(input + n, ports, 4);
		n += 4;
	}
	return net_toeplitz_hash(t, input, n);
}

/* Types are in threes: without ports, TCP, UDP. What of @types is the flow's own, as a report. */
static uint16_t choose(uint32_t types, uint16_t plain_report, uint8_t proto)
{
	uint32_t plain = 1u << (plain_report - 1);

	if (proto == IPPROTO_TCP && types & plain << 1)
		return plain_report + 1;
	if (proto == IPPROTO_UDP && types & plain << 2)
		return plain_report + 2;
	return types & plain ? plain_report : VIRTIO_NET_HASH_REPORT_NONE;
}

uint16_t net_rss_hash(const struct net_toeplitz *t, uint32_t types, const struct net_flow *flow,
		      uint32_t *hash)
{
	const struct net_addrs *addrs = &flow->addrs;
	uint16_t base = flow->ip == 4 ? VIRTIO_NET_HASH_REPORT_IPv4 : VIRTIO_NET_HASH_REPORT_IPv6;
	uint16_t report = VIRTIO_NET_HASH_REPORT_NONE;

	*hash = 0;
	if (!flow->ip)
		return report;
	if (flow->extended)
		report = choose(types, VIRTIO_NET_HASH_REPORT_IPv6_EX, flow->proto);
	if (report) {
		addrs = &flow->home;
		base = VIRTIO_NET_HASH_REPORT_IPv6_EX;
	} else {
		report = choose(types, base, flow->proto);
	}
	if (report)
		*hash = hash_of(t, addrs, flow->ip == 4 ? 4 : NET_IP_BYTES,
				report > base ? flow->ports : NULL);
	return report;
}
