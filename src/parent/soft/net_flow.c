// SPDX-License-Identifier: BSD-3-Clause
/*
 * Reading the headers of a frame: Ethernet with up to two VLAN tags, IPv4 with options, IPv6 with
 * extension headers, and the ports of TCP and UDP. A fragment has no ports, not even the first one:
 * all fragments of a packet are to come to the same queue.
 *
 * Who attacks: who sends the packet. Each length that a header contains is checked against what is
 * there, each step takes at least eight bytes, and what cannot be is no flow, which costs the
 * packet its queue, and nothing else.
 */
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <string.h>
#include "parent/soft/net_flow.h"

#define ETH_BYTES 14u
#define VLAN_BYTES 4u
#define VLAN_TAGS 2
#define IPV4_MIN 20u
#define IPV4_FRAGMENT 0x3fff /* more of them, or not the first */
#define IPV6_BYTES 40u
#define IPV6_FRAGMENT 0xfff9
#define EXT_MIN 8u
#define TCP_MIN 20u
#define UDP_BYTES 8u
#define EXT_AH 51
#define EXT_MOBILITY 135
#define EXT_HIP 139
#define EXT_SHIM6 140
#define ROUTING_HOME 2	 /* type of a routing header (RFC 6275, section 6.4) */
#define OPTION_PAD1 0	 /* one byte */
#define OPTION_HOME 0xc9 /* RFC 6275, section 6.3 */

/* What is looked at: [@at, @end) of the packet is left, of which @len bytes are at hand. */
struct cursor {
	const uint8_t *p;
	size_t at, len, end;
};

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

/* The next @n bytes, all of them; NULL: there are fewer. */
static const uint8_t *peek(const struct cursor *c, size_t n)
{
	size_t end = c->len < c->end ? c->len : c->end;

	return c->at <= end && n <= end - c->at ? c->p + c->at : NULL;
}

/* The IP packet is so long, and what comes behind it is padding. 0: the frame says how long. */
static void limit(struct cursor *c, size_t packet_bytes)
{
	if (packet_bytes && packet_bytes < c->end - c->at)
		c->end = c->at + packet_bytes;
}

static void parse_ports(struct net_flow *flow, const struct cursor *c, uint8_t proto)
{
	const uint8_t *p = NULL;

	if (proto == IPPROTO_TCP)
		p = peek(c, TCP_MIN);
	else if (proto == IPPROTO_UDP)
		p = peek(c, UDP_BYTES);
	if (!p)
		return;
	flow->proto = proto;
	memcpy(flow->ports, p, sizeof(flow->ports));
}

static void parse_ipv4(struct net_flow *flow, struct cursor *c)
{
	const uint8_t *p = peek(c, IPV4_MIN);
	unsigned bytes;

	if (!p || p[0] >> 4 != 4)
		return;
	bytes = (p[0] & 15u) * 4;
	limit(c, get16(p + 2));
	if (bytes < IPV4_MIN || !peek(c, bytes))
		return;
	flow->ip = 4;
	memcpy(flow->addrs.src, p + 12, 4);
	memcpy(flow->addrs.dst, p + 16, 4);
	c->at += bytes;
	if (!(get16(p + 6) & IPV4_FRAGMENT))
		parse_ports(flow, c, p[9]);
}

/* ---- IPv6 ---- */

static void parse_options(struct net_flow *flow, const uint8_t *p, size_t bytes)
{
	size_t at = 2;

	while (at < bytes) {
		size_t n;

		if (p[at] == OPTION_PAD1) {
			at++;
			continue;
		}
		if (bytes - at < 2)
			return;
		n = p[at + 1];
		if (n > bytes - at - 2)
			return;
		if (p[at] == OPTION_HOME && n == NET_IP_BYTES)
			memcpy(flow->home.src, p + at + 2, NET_IP_BYTES);
		at += 2 + n;
	}
}

/* How long the extension header of type @next is; 0: it is none that can be passed over. */
static size_t ext_bytes(uint8_t next, const uint8_t *p)
{
	switch (next) {
	case IPPROTO_HOPOPTS:
	case IPPROTO_DSTOPTS:
	case IPPROTO_ROUTING:
	case EXT_MOBILITY:
	case EXT_HIP:
	case EXT_SHIM6:
		return (p[1] + 1u) * 8;
	case EXT_AH:
		return (p[1] + 2u) * 4;
	case IPPROTO_FRAGMENT:
		return EXT_MIN;
	}
	return 0;
}

/* True: go on behind it. */
static bool parse_ext(struct net_flow *flow, uint8_t type, const uint8_t *p, size_t bytes)
{
	if (type == IPPROTO_DSTOPTS)
		parse_options(flow, p, bytes);
	else if (type == IPPROTO_ROUTING && p[2] == ROUTING_HOME && bytes >= 8 + NET_IP_BYTES)
		memcpy(flow->home.dst, p + 8, NET_IP_BYTES);
	else if (type == IPPROTO_FRAGMENT)
		return !(get16(p + 2) & IPV6_FRAGMENT);
	return true;
}

static void parse_ipv6(struct net_flow *flow, struct cursor *c)
{
	const uint8_t *p = peek(c, IPV6_BYTES);
	uint8_t next;
	size_t bytes;

	if (!p || p[0] >> 4 != 6)
		return;
	limit(c, get16(p + 4) ? IPV6_BYTES + get16(p + 4) : 0);
	flow->ip = 6;
	memcpy(&flow->addrs, p + 8, sizeof(flow->addrs));
	flow->home = flow->addrs;
	next = p[6];
	c->at += IPV6_BYTES;
	while ((p = peek(c, EXT_MIN)) && (bytes = ext_bytes(next, p))) {
		flow->extended = true;
		if (!peek(c, bytes) || !parse_ext(flow, next, p, bytes))
			return;
		next = p[0];
		c->at += bytes;
	}
	parse_ports(flow, c, next);
}

void net_flow_parse(struct net_flow *flow, const uint8_t *bytes, size_t len, size_t frame_bytes)
{
	struct cursor c = {.p = bytes, .at = ETH_BYTES, .len = len, .end = frame_bytes};
	uint16_t type;

	memset(flow, 0, sizeof(*flow));
	if (len < ETH_BYTES || frame_bytes < ETH_BYTES)
		return;
	type = get16(bytes + ETH_BYTES - 2);
	for (unsigned i = 0; i < VLAN_TAGS && (type == ETH_P_8021Q || type == ETH_P_8021AD); i++) {
		const uint8_t *p = peek(&c, VLAN_BYTES);

		if (!p)
			return;
		type = get16(p + 2);
		c.at += VLAN_BYTES;
	}
	if (type == ETH_P_IP)
		parse_ipv4(flow, &c);
	else if (type == ETH_P_IPV6)
		parse_ipv6(flow, &c);
}

/* ---- a hash of our own ---- */

static uint64_t mix(uint64_t n)
{
	n ^= n >> 32;
	n *= 0x9fb21c651e98df25ull;
	n ^= n >> 29;
	n *= 0xd6e8feb86659fd93ull;
	return n ^ n >> 32;
}

struct words {
	uint64_t high, low;
};

/*
 * What does not change when source and destination change places: the ends' difference and their
 * sum. Two flows between the same ends with each other's ports are one.
 */
uint32_t net_flow_hash(const struct net_flow *flow, uint64_t seed)
{
	uint64_t ports = get16(flow->ports) ^ get16(flow->ports + 2), h;
	struct words src, dst;

	if (!flow->ip)
		return 0;
	memcpy(&src, flow->addrs.src, sizeof(src));
	memcpy(&dst, flow->addrs.dst, sizeof(dst));
	h = (src.high ^ dst.high) + (src.low ^ dst.low) * 31 + (ports << 8 | flow->proto);
	h = mix(h ^ seed) + src.high + dst.high + (src.low + dst.low) * 31 + get16(flow->ports) +
	    get16(flow->ports + 2);
	h = mix(h);
	return (uint32_t)h ? (uint32_t)h : 1;
}
