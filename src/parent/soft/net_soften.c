// SPDX-License-Identifier: BSD-3-Clause
/*
 * What the driver negotiated stays when the device gets another backend. What that backend does not
 * take is done here, on a copy: checksums are filled in, large TCP packets are cut.
 *
 * Who attacks: the sending driver (net_hdr.c), which may also change a packet while it waits for
 * the port: each try is planned anew, on a new copy.
 */
#include <string.h>
#include "parent/soft/net.h"

static uint64_t gso_offload(uint8_t gso_type)
{
	uint64_t o = gso_type & VIRTIO_NET_HDR_GSO_ECN ? NET_OFFLOAD_ECN : 0;

	switch (gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return o | NET_OFFLOAD_TSO4;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return o | NET_OFFLOAD_TSO6;
	}
	return o;
}

/* What the packet with this header wants of the backend. */
static uint64_t wants(const struct net_hdr *hdr)
{
	return gso_offload(hdr->gso_type) |
	       (hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM ? NET_OFFLOAD_CSUM : 0);
}

size_t net_packet_copy(const struct net_packet *pkt, uint64_t skip, uint8_t *to, size_t len)
{
	size_t left = len;

	for (unsigned i = 0; i < pkt->niov && left; i++) {
		size_t n = pkt->iov[i].iov_len;

		if (skip >= n) {
			skip -= n;
			continue;
		}
		n = n - skip < left ? n - skip : left;
		memcpy(to, (const char *)pkt->iov[i].iov_base + skip, n);
		to += n;
		left -= n;
		skip = 0;
	}
	return len - left;
}

static bool send_frame(struct net_pair *pair, const struct net_frame *frame)
{
	uint8_t wire[NET_HDR_BYTES] = {0};
	struct iovec iov[2] = {{wire, sizeof(wire)}, {frame->data, frame->len}};
	struct net_packet pkt = {iov, 2, sizeof(wire) + (uint64_t)frame->len};

	return pair->be->ops->send(pair->port, &pkt, 1);
}

/* True when the packet is done with. */
static bool send_segments(struct net_pair *pair, const struct net_hdr *hdr,
			  const struct net_frame *frame)
{
	struct net_frame to = {.data = pair->segment};
	struct net_gso gso;

	if (!net_gso_plan(&gso, hdr, frame)) {
		net_count(&pair->tx_stats[NET_STAT_ERRORS], 1);
		return true;
	}
	for (; pair->next_soft < gso.segments; pair->next_soft++) {
		net_gso_build(&gso, frame, pair->next_soft, &to);
		if (!send_frame(pair, &to))
			return false;
	}
	return true;
}

static bool send_one(struct net_pair *pair, const struct net_packet *pkt)
{
	struct net_frame frame = {.data = pair->frame};
	uint8_t wire[NET_HDR_BYTES];
	struct net_hdr hdr;

	net_packet_copy(pkt, 0, wire, sizeof(wire));
	net_hdr_get(&hdr, wire);
	if (!(wants(&hdr) & pair->soften))
		return pair->be->ops->send(pair->port, pkt, 1);
	frame.len = (uint32_t)(pkt->len_bytes - NET_HDR_BYTES);
	net_packet_copy(pkt, NET_HDR_BYTES, frame.data, frame.len);
	if (hdr.gso_type != VIRTIO_NET_HDR_GSO_NONE)
		return send_segments(pair, &hdr, &frame);
	if (net_csum_fill(&hdr, &frame))
		return send_frame(pair, &frame);
	net_count(&pair->tx_stats[NET_STAT_ERRORS], 1);
	return true;
}

unsigned net_send_softened(struct net_pair *pair, const struct net_packet *pkts, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (!send_one(pair, &pkts[i]))
			return i;
		pair->next_soft = 0;
	}
	return n;
}
