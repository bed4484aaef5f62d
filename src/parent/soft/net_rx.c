// SPDX-License-Identifier: BSD-3-Clause
/*
 * From the backend to the driver (virtio 1.3, section 5.1.6.4). A packet is copied, once, into the
 * driver's buffers, one or (MRG_RXBUF) several. When there are none, nothing of the packet is
 * taken, and the backend keeps it.
 *
 * Who attacks: the receiving driver, by buffers of odd sizes: one that cannot hold a header is
 * given back empty; a packet that no buffer can hold is dropped, not waited for. And the packet's
 * sender, who may be in another guest: its header was checked when it came, its memory is only
 * read.
 */
#include <string.h>
#include "parent/soft/net.h"

enum rx_result {
	RX_TAKEN,
	RX_DROPPED,
	RX_STARVED,
};

/* What one packet is on its way: header and pieces that hold the frame from @skip on. */
struct rx_packet {
	struct net_hdr hdr;
	const struct iovec *iov;
	unsigned niov;
	uint64_t skip;
	uint32_t len; /* of the frame */
};

/* ---- copying ---- */

/* memmove: a guest may well send from where it receives. */
static void copy_pieces(const struct rx_packet *pkt, uint64_t from, struct iovec to)
{
	char *dst = to.iov_base;
	uint64_t skip = pkt->skip + from;
	size_t left = to.iov_len;

	for (unsigned i = 0; i < pkt->niov && left; i++) {
		size_t n = pkt->iov[i].iov_len;

		if (skip >= n) {
			skip -= n;
			continue;
		}
		n -= skip;
		if (n > left)
			n = left;
		memmove(dst, (const char *)pkt->iov[i].iov_base + skip, n);
		dst += n;
		left -= n;
		skip = 0;
	}
}

/* Frame bytes from @from on, into the chain behind byte @at of its writable part; how many. */
static uint32_t copy_frame(const struct rx_packet *pkt, uint32_t from,
			   const struct vringh_chain *chain, uint64_t at)
{
	const struct iovec *in = chain->iov + chain->nout;
	uint32_t done = 0, left = pkt->len - from;

	for (unsigned i = 0; i < chain->nin && done < left; i++) {
		size_t n = in[i].iov_len;

		if (at >= n) {
			at -= n;
			continue;
		}
		n -= at;
		if (n > left - done)
			n = left - done;
		copy_pieces(pkt, from + done, (struct iovec){(char *)in[i].iov_base + at, n});
		done += (uint32_t)n;
		at = 0;
	}
	return done;
}

/* ---- buffers ---- */

/*
 * A buffer, the first of a packet with room for a header; what has none is given back empty. NULL:
 * there is none, or (*@never) none that can be used before the ones in front of it.
 */
static struct vringh_chain *next_buffer(struct net_pair *pair, bool first, bool *never)
{
	struct vringh_chain *chain;

	while (vdpa_soft_getdesc(pair->rx, &chain, 1)) {
		if (chain->in_len >= (first ? pair->hdr_bytes : 1u))
			return chain;
		if (!first) {
			vdpa_soft_abandon(pair->rx, 1);
			*never = true;
			return NULL;
		}
		net_count(&pair->rx_stats[NET_STAT_ERRORS], 1);
		vdpa_soft_bad_request(pair->rx, chain, "buffer without room for a header");
		vdpa_soft_complete(pair->rx, chain, 0);
	}
	return NULL;
}

/* Get buffers for @bytes; their number. 0: not enough; *@never: and there will not be. */
static unsigned get_buffers(struct net_pair *pair, uint64_t bytes, struct vringh_chain **chains,
			    bool *never)
{
	bool merge = pair->features & VDPA_BIT(VIRTIO_NET_F_MRG_RXBUF);
	unsigned max = merge ? NET_MAX_RX_CHAINS : 1, n = 0;
	uint64_t room = 0;

	if (max > pair->rx_num)
		max = pair->rx_num;
	while (room < bytes && n < max) {
		chains[n] = next_buffer(pair, n == 0, never);
		if (!chains[n])
			break;
		room += chains[n++]->in_len;
	}
	if (room >= bytes)
		return n;
	*never |= n == max;
	vdpa_soft_abandon(pair->rx, n);
	return 0;
}

static enum rx_result put_packet(struct net_pair *pair, const struct rx_packet *pkt)
{
	struct vringh_chain *chains[NET_MAX_RX_CHAINS];
	uint8_t wire[NET_HDR_BYTES];
	bool never = false;
	uint32_t done = 0;
	unsigned n = get_buffers(pair, (uint64_t)pair->hdr_bytes + pkt->len, chains, &never);

	if (!n && never) {
		net_count(&pair->rx_stats[NET_STAT_OVERRUNS], 1);
		net_count(&pair->rx_stats[NET_STAT_DROPS], 1);
		return RX_DROPPED;
	}
	if (!n)
		return RX_STARVED;
	net_hdr_put(&pkt->hdr, (uint16_t)n, wire);
	vdpa_soft_push(pair->rx, chains[0], 0, wire, pair->hdr_bytes);
	for (unsigned i = 0; i < n; i++) {
		unsigned at = i ? 0 : pair->hdr_bytes;
		uint32_t part = copy_frame(pkt, done, chains[i], at);

		done += part;
		vdpa_soft_complete(pair->rx, chains[i], at + part);
	}
	net_count(&pair->rx_stats[NET_STAT_PACKETS], 1);
	net_count(&pair->rx_stats[NET_STAT_BYTES], pkt->len);
	return RX_TAKEN;
}

/* ---- what the driver did not negotiate ---- */

static bool takes_gso(const struct net_pair *pair, uint8_t gso_type)
{
	uint64_t f = pair->features;

	if ((gso_type & VIRTIO_NET_HDR_GSO_ECN) && !(f & VDPA_BIT(VIRTIO_NET_F_GUEST_ECN)))
		return false;
	switch (gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_NONE:
		return true;
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return f & VDPA_BIT(VIRTIO_NET_F_GUEST_TSO4);
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return f & VDPA_BIT(VIRTIO_NET_F_GUEST_TSO6);
	}
	return false;
}

static enum rx_result put_segments(struct net_pair *pair, const struct net_hdr *hdr,
				   const struct net_frame *frame)
{
	struct net_frame to = {.data = pair->segment};
	struct net_gso gso;

	if (!net_gso_plan(&gso, hdr, frame)) {
		net_count(&pair->rx_stats[NET_STAT_ERRORS], 1);
		return RX_DROPPED;
	}
	/* Those that the driver has already, it does not get again. */
	for (; pair->next_segment < gso.segments; pair->next_segment++) {
		struct iovec iov = {.iov_base = to.data};
		struct rx_packet pkt = {.iov = &iov, .niov = 1};

		net_gso_build(&gso, frame, pair->next_segment, &to);
		iov.iov_len = to.len;
		pkt.len = to.len;
		if (put_packet(pair, &pkt) == RX_STARVED)
			return RX_STARVED;
	}
	return RX_TAKEN;
}

/* Change a copy of the packet until the driver can have it. */
static enum rx_result put_changed(struct net_pair *pair, struct rx_packet *pkt)
{
	struct net_frame frame = {.data = pair->frame, .len = pkt->len};
	struct iovec iov = {frame.data, frame.len};

	copy_pieces(pkt, 0, iov);
	if (!takes_gso(pair, pkt->hdr.gso_type))
		return put_segments(pair, &pkt->hdr, &frame);
	if (!net_csum_fill(&pkt->hdr, &frame)) {
		net_count(&pair->rx_stats[NET_STAT_ERRORS], 1);
		return RX_DROPPED;
	}
	pkt->iov = &iov;
	pkt->niov = 1;
	pkt->skip = 0;
	return put_packet(pair, pkt);
}

/* ---- delivery ---- */

/* Own address, broadcast and multicast pass. */
static bool wanted(const struct soft_net *net, const struct rx_packet *pkt)
{
	uint8_t dst[8] = {0};
	uint64_t addr = 0;

	if (!net->filter)
		return true;
	copy_pieces(pkt, 0, (struct iovec){dst, 6});
	if (dst[0] & 1)
		return true;
	for (unsigned i = 0; i < 6; i++)
		addr |= (uint64_t)dst[i] << (8 * i);
	return addr == atomic_load_explicit(&net->mac, memory_order_relaxed);
}

static enum rx_result deliver_one(struct net_pair *pair, const struct net_packet *from)
{
	struct rx_packet pkt = {.iov = from->iov, .niov = from->niov};
	uint8_t wire[NET_HDR_BYTES];

	if (from->len_bytes < NET_HDR_BYTES + NET_ETH_BYTES ||
	    from->len_bytes > NET_HDR_BYTES + (uint64_t)NET_MAX_FRAME) {
		net_count(&pair->rx_stats[NET_STAT_ERRORS], 1);
		return RX_DROPPED;
	}
	copy_pieces(&pkt, 0, (struct iovec){wire, sizeof(wire)});
	net_hdr_get(&pkt.hdr, wire);
	pkt.skip = NET_HDR_BYTES;
	pkt.len = (uint32_t)(from->len_bytes - NET_HDR_BYTES);
	if (!wanted(pair->net, &pkt)) {
		net_count(&pair->rx_stats[NET_STAT_DROPS], 1);
		return RX_DROPPED;
	}
	if (!takes_gso(pair, pkt.hdr.gso_type) ||
	    ((pkt.hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) &&
	     !(pair->features & VDPA_BIT(VIRTIO_NET_F_GUEST_CSUM))))
		return put_changed(pair, &pkt);
	return put_packet(pair, &pkt);
}

/* True unless it waits for buffers. */
static bool deliver(struct net_pair *pair, const struct net_packet *pkt)
{
	if (deliver_one(pair, pkt) == RX_STARVED)
		return false;
	pair->next_segment = 0;
	return true;
}

unsigned net_rx_deliver(void *arg, const struct net_packet *pkts, unsigned n)
{
	struct net_pair *pair = arg;
	unsigned i = 0;

	/* A queue that does not run yet has no buffers; nothing is lost meanwhile. */
	if (pair->rx && vdpa_soft_vq_running(pair->rx)) {
		while (i < n && deliver(pair, &pkts[i]))
			i++;
		vdpa_soft_flush(pair->rx);
	}
	if (i < n)
		pair->starved = true;
	return i;
}
