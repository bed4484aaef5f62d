// SPDX-License-Identifier: BSD-3-Clause
/*
 * The header in front of a packet (virtio 1.3, section 5.1.6), and what has to be done when the
 * receiver did not negotiate what the sender used: the checksum is filled in, a large TCP packet is
 * cut.
 *
 * Who attacks: the sending driver, whose header says where in its packet something is. Every offset
 * is checked against the packet's length, and every length that the packet itself contains (IP, TCP
 * header length) against the same, on a copy that nobody can change.
 */
#include <linux/if_ether.h>
#include <string.h>
#include "parent/soft/net.h"

#define PROTO_TCP 6
#define TCP_FIN 0x01
#define TCP_PSH 0x08
#define TCP_CWR 0x80
#define TCP_MIN 20
#define TCP_CSUM 16
#define IPV4_MIN 20
#define IPV6_BYTES 40
#define HEADERS_MAX 512u /* of one segment: each of them gets a copy */

const uint8_t net_plain_header[NET_HDR_BYTES];

static uint16_t get16le(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static void put16le(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

static void put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, (uint16_t)(v >> 16));
	put16(p + 2, (uint16_t)v);
}

void net_hdr_get(struct net_hdr *hdr, const uint8_t wire[NET_HDR_BYTES])
{
	hdr->flags = wire[0];
	hdr->gso_type = wire[1];
	hdr->hdr_len = get16le(wire + 2);
	hdr->gso_size = get16le(wire + 4);
	hdr->csum_start = get16le(wire + 6);
	hdr->csum_offset = get16le(wire + 8);
}

void net_hdr_put(const struct net_hdr *hdr, uint16_t num_buffers, uint8_t wire[NET_HDR_BYTES])
{
	wire[0] = hdr->flags;
	wire[1] = hdr->gso_type;
	put16le(wire + 2, hdr->hdr_len);
	put16le(wire + 4, hdr->gso_size);
	put16le(wire + 6, hdr->csum_start);
	put16le(wire + 8, hdr->csum_offset);
	put16le(wire + 10, num_buffers);
}

static bool gso_negotiated(const struct net_hdr *hdr, uint64_t features)
{
	bool ecn = hdr->gso_type & VIRTIO_NET_HDR_GSO_ECN;

	if (ecn && !(features & VDPA_BIT(VIRTIO_NET_F_HOST_ECN)))
		return false;
	switch (hdr->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return features & VDPA_BIT(VIRTIO_NET_F_HOST_TSO4);
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return features & VDPA_BIT(VIRTIO_NET_F_HOST_TSO6);
	}
	return false;
}

bool net_hdr_valid(struct net_hdr *hdr, uint64_t features, uint64_t len)
{
	/* 5.1.6.2: of the flags only this one is the driver's to set; others are ignored. */
	hdr->flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM;
	if (hdr->flags) {
		if (!(features & VDPA_BIT(VIRTIO_NET_F_CSUM)))
			return false;
		if (hdr->csum_start < NET_ETH_BYTES ||
		    (uint64_t)hdr->csum_start + hdr->csum_offset + 2 > len)
			return false;
	} else {
		hdr->csum_start = hdr->csum_offset = 0;
	}
	if (hdr->gso_type == VIRTIO_NET_HDR_GSO_NONE) {
		hdr->gso_size = hdr->hdr_len = 0;
		return true;
	}
	if (!gso_negotiated(hdr, features) || !hdr->flags || !hdr->gso_size)
		return false;
	/* hdr_len is a hint, and may be wrong: say what is certain. */
	if ((uint64_t)hdr->csum_start + TCP_MIN > len || hdr->csum_offset != TCP_CSUM)
		return false;
	if (hdr->hdr_len < hdr->csum_start + TCP_MIN || hdr->hdr_len > len)
		hdr->hdr_len = (uint16_t)(hdr->csum_start + TCP_MIN);
	return true;
}

/* ---- checksums ---- */

static uint64_t sum_bytes(uint64_t sum, const uint8_t *p, size_t len)
{
	for (; len > 1; len -= 2, p += 2)
		sum += get16(p);
	return len ? sum + ((uint64_t)p[0] << 8) : sum;
}

static uint16_t sum_fold(uint64_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

bool net_csum_fill(struct net_hdr *hdr, struct net_frame *frame)
{
	uint32_t start = hdr->csum_start, at = start + hdr->csum_offset;
	uint16_t sum;

	if (at + 2 > frame->len || start > frame->len)
		return false;
	/* The field holds the sum of the pseudo header already. */
	sum = sum_fold(sum_bytes(0, frame->data + start, frame->len - start));
	/* In UDP a zero means that there is none (RFC 768). Elsewhere both are zero. */
	put16(frame->data + at, sum ? sum : 0xffff);
	hdr->flags = 0;
	hdr->csum_start = hdr->csum_offset = 0;
	return true;
}

/* ---- segmentation ---- */

/* Where the network header is, behind at most two VLAN tags; and of what kind. */
static uint32_t find_l3(const struct net_frame *frame, uint16_t *type)
{
	uint32_t at = 12;

	for (unsigned tags = 0; tags < 3; tags++, at += 4) {
		if (at + 2 > frame->len)
			break;
		*type = get16(frame->data + at);
		if (*type != ETH_P_8021Q && *type != ETH_P_8021AD)
			return at + 2;
	}
	return 0;
}

static bool plan_ip(struct net_gso *gso, const struct net_frame *frame, uint16_t type)
{
	const uint8_t *ip = frame->data + gso->l3;
	bool v4 = (gso->hdr.gso_type & ~VIRTIO_NET_HDR_GSO_ECN) == VIRTIO_NET_HDR_GSO_TCPV4;

	gso->ipv6 = !v4;
	if (v4)
		return type == ETH_P_IP && gso->l4 >= gso->l3 + IPV4_MIN &&
		       (ip[0] & 0xf) * 4u == gso->l4 - gso->l3 && ip[9] == PROTO_TCP;
	return type == ETH_P_IPV6 && gso->l4 >= gso->l3 + IPV6_BYTES;
}

bool net_gso_plan(struct net_gso *gso, const struct net_hdr *hdr, const struct net_frame *frame)
{
	uint32_t tcp_bytes, payload;
	uint16_t type = 0;

	gso->hdr = *hdr;
	gso->l3 = find_l3(frame, &type);
	gso->l4 = hdr->csum_start;
	if (!gso->l3 || gso->l4 + TCP_MIN > frame->len || !hdr->gso_size ||
	    !plan_ip(gso, frame, type))
		return false;
	tcp_bytes = (frame->data[gso->l4 + 12] >> 4) * 4u;
	gso->header_bytes = gso->l4 + tcp_bytes;
	if (tcp_bytes < TCP_MIN || gso->header_bytes >= frame->len ||
	    gso->header_bytes > HEADERS_MAX)
		return false;
	payload = frame->len - gso->header_bytes;
	gso->segments = (payload + hdr->gso_size - 1) / hdr->gso_size;
	return true;
}

static void segment_ip(const struct net_gso *gso, uint32_t i, struct net_frame *to)
{
	uint8_t *ip = to->data + gso->l3;

	if (gso->ipv6) {
		put16(ip + 4, (uint16_t)(to->len - gso->l3 - IPV6_BYTES));
		return;
	}
	put16(ip + 2, (uint16_t)(to->len - gso->l3));
	put16(ip + 4, (uint16_t)(get16(ip + 4) + i));
	put16(ip + 10, 0);
	put16(ip + 10, sum_fold(sum_bytes(0, ip, gso->l4 - gso->l3)));
}

static void segment_tcp(const struct net_gso *gso, uint32_t i, struct net_frame *to)
{
	uint8_t *tcp = to->data + gso->l4;
	const uint8_t *ip = to->data + gso->l3;
	uint32_t len = to->len - gso->l4;
	uint64_t sum = len + PROTO_TCP;

	put32(tcp + 4, get32(tcp + 4) + i * gso->hdr.gso_size);
	if (i + 1 < gso->segments)
		tcp[13] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
	if (i)
		tcp[13] &= (uint8_t)~TCP_CWR;
	sum = gso->ipv6 ? sum_bytes(sum, ip + 8, 32) : sum_bytes(sum, ip + 12, 8);
	put16(tcp + TCP_CSUM, 0);
	put16(tcp + TCP_CSUM, sum_fold(sum_bytes(sum, tcp, len)));
}

void net_gso_build(const struct net_gso *gso, const struct net_frame *frame, uint32_t i,
		   struct net_frame *to)
{
	uint32_t from = gso->header_bytes + i * gso->hdr.gso_size;
	uint32_t n = frame->len - from < gso->hdr.gso_size ? frame->len - from : gso->hdr.gso_size;

	memcpy(to->data, frame->data, gso->header_bytes);
	memcpy(to->data + gso->header_bytes, frame->data + from, n);
	to->len = gso->header_bytes + n;
	segment_ip(gso, i, to);
	segment_tcp(gso, i, to);
}
