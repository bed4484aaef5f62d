// SPDX-License-Identifier: BSD-3-Clause
/*
 * From the backend to the driver (virtio 1.3, section 5.1.6.4). A packet is copied, once, into the
 * driver's buffers, one or (MRG_RXBUF) several. When there are none, nothing of the packet is
 * taken, and the backend keeps it. Buffers are got for a whole batch of packets; those that are
 * left over go back to the ring.
 *
 * Who attacks: the receiving driver, by buffers of odd sizes: one that cannot hold a header is
 * given back empty; a packet that no buffer can hold is dropped, not waited for. And the packet's
 * sender, who may be in another guest: its header was checked when it came, its memory is only
 * read.
 */
#include <endian.h>
#include <string.h>
#include "parent/soft/net_copy.h"
#include "parent/soft/net_ctrl.h"
#include "parent/soft/net_steer.h"

enum rx_result {
	RX_TAKEN,
	RX_DROPPED,
	RX_STARVED,
};

/* Buffers that were got, and the counters of one delivery. */
struct rx_batch {
	struct net_pair *pair;
	const struct net_state *state;
	uint32_t next;	   /* segment, of the packet in hand */
	uint64_t features; /* that the driver has in force */
	unsigned at, n;	   /* chains[at..n) are free */
	unsigned wanted;   /* how many packets are still to come, the one in hand included */
	uint64_t packets, bytes;
	/* Of the buffers before @at: those from here on are full, and not completed yet. */
	unsigned full;
	uint32_t written[NET_MAX_RX_CHAINS + NET_BATCH];
	struct vringh_chain *chains[NET_MAX_RX_CHAINS + NET_BATCH];
};

/* What one packet is on its way: header and pieces that hold the frame from @skip on. */
struct rx_packet {
	uint8_t wire[NET_HDR_BYTES];
	const struct iovec *iov;
	unsigned niov;
	uint64_t skip;
	uint32_t len; /* of the frame */
};

/* ---- copying ---- */

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
		net_copy(dst, (const char *)pkt->iov[i].iov_base + skip, n);
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

/* The next buffer has @written bytes in it. */
static void fill_buffer(struct rx_batch *b, uint32_t written)
{
	b->written[b->at++] = written;
}

static void complete_full(struct rx_batch *b)
{
	vdpa_soft_complete_n(b->pair->rx, &b->chains[b->full], &b->written[b->full],
			     b->at - b->full);
	b->full = b->at;
}

/* The header is looked at first, and the frame only written: see put_header(). */
static inline void fetch_buffer(const struct net_pair *pair, const struct vringh_chain *chain)
{
	const struct iovec *in = chain->iov + chain->nout;

	if (!chain->nin)
		return;
	net_prefetch(in->iov_base);
	net_prefetch_write((const char *)in->iov_base + pair->hdr_bytes);
}

/* Get more buffers, as many as there are packets to come; false: there are none. */
static bool more_buffers(struct rx_batch *b)
{
	unsigned want = b->wanted < NET_BATCH ? b->wanted : NET_BATCH, got;

	complete_full(b);
	memmove(b->chains, b->chains + b->at, (b->n - b->at) * sizeof(b->chains[0]));
	b->n -= b->at;
	b->at = b->full = 0;
	got = vdpa_soft_getdesc(b->pair->rx, b->chains + b->n, want);
	for (unsigned i = b->n; i < b->n + got; i++)
		fetch_buffer(b->pair, b->chains[i]);
	b->n += got;
	return got;
}

/* Buffers that have no room for a header are given back empty, while they are the next. */
static void skip_runts(struct rx_batch *b)
{
	struct net_pair *pair = b->pair;

	while ((b->at < b->n || more_buffers(b)) && b->chains[b->at]->in_len < pair->hdr_bytes) {
		net_count(&pair->rx_stats[NET_STAT_ERRORS], 1);
		vdpa_soft_bad_request(pair->rx, b->chains[b->at],
				      "buffer without room for a header");
		fill_buffer(b, 0);
	}
}

/*
 * How many of the next buffers hold @bytes? 0: not enough; *@never: and there will not be, because
 * a packet has as many as it can, or the next one holds nothing.
 */
static unsigned get_buffers(struct rx_batch *b, uint64_t bytes, bool *never)
{
	bool merge = b->pair->features & VDPA_BIT(VIRTIO_NET_F_MRG_RXBUF);
	unsigned max = merge ? NET_MAX_RX_CHAINS : 1, n = 0;
	uint64_t room = 0;

	if (max > b->pair->rx_num)
		max = b->pair->rx_num;
	skip_runts(b);
	while (room < bytes && n < max) {
		uint64_t in_len;

		if (b->at + n == b->n && !more_buffers(b))
			return 0;
		in_len = b->chains[b->at + n]->in_len;
		if (!in_len)
			break;
		room += in_len;
		n++;
	}
	if (room >= bytes)
		return n;
	*never = true;
	return 0;
}

/* 5.1.6.4.4 */
static void report_hash(const struct rx_batch *b, const struct rx_packet *pkt,
			uint8_t to[NET_REPORT_BYTES])
{
	const struct net_packet whole = {pkt->iov, pkt->niov, pkt->skip + pkt->len, NULL};

	net_steer_report(b->state, &whole, pkt->skip, to);
}

/*
 * The header in front of the frame, unless it is there already, which it mostly is: a driver's
 * buffers come round, and headers are all alike. What is not stored need not be taken from the
 * driver's processor, which has the line because it read the header that was there before.
 */
static void put_header(const struct net_pair *pair, const struct vringh_chain *chain,
		       const uint8_t *wire)
{
	const struct iovec *in = chain->iov + chain->nout;

	if (in->iov_len < pair->hdr_bytes || memcmp(in->iov_base, wire, pair->hdr_bytes))
		vdpa_soft_push(pair->rx, chain, 0, wire, pair->hdr_bytes);
}

static enum rx_result put_packet(struct rx_batch *b, const struct rx_packet *pkt)
{
	struct net_pair *pair = b->pair;
	uint8_t wire[NET_HDR_BYTES + NET_REPORT_BYTES];
	bool never = false;
	uint32_t done = 0;
	unsigned n = get_buffers(b, (uint64_t)pair->hdr_bytes + pkt->len, &never);

	if (!n && never) {
		net_count(&pair->rx_stats[NET_STAT_OVERRUNS], 1);
		net_count(&pair->rx_stats[NET_STAT_DROPS], 1);
		return RX_DROPPED;
	}
	if (!n)
		return RX_STARVED;
	memcpy(wire, pkt->wire, NET_HDR_BYTES);
	net_hdr_put_buffers(wire, (uint16_t)n);
	if (pair->hdr_bytes == sizeof(wire))
		report_hash(b, pkt, wire + NET_HDR_BYTES);
	put_header(pair, b->chains[b->at], wire);
	for (unsigned i = 0; i < n; i++) {
		unsigned at = i ? 0 : pair->hdr_bytes;
		uint32_t part = copy_frame(pkt, done, b->chains[b->at], at);

		done += part;
		fill_buffer(b, at + part);
	}
	if (!net_hdr_plain(wire))
		net_count_offload(pair->rx_stats, wire, pkt->len);
	b->packets++;
	b->bytes += pkt->len;
	return RX_TAKEN;
}

/* ---- what the driver did not negotiate ---- */

static bool takes_gso(uint64_t f, uint8_t gso_type)
{
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

static enum rx_result put_segments(struct rx_batch *b, const struct net_hdr *hdr,
				   const struct net_frame *frame)
{
	struct net_pair *pair = b->pair;
	struct net_frame to = {.data = pair->segment};
	struct net_gso gso;

	if (!net_gso_plan(&gso, hdr, frame)) {
		net_count(&pair->rx_stats[NET_STAT_ERRORS], 1);
		return RX_DROPPED;
	}
	/* Those that the driver has already, it does not get again. */
	for (; b->next < gso.segments; b->next++) {
		struct iovec iov = {.iov_base = to.data};
		struct rx_packet pkt = {.iov = &iov, .niov = 1};

		net_gso_build(&gso, frame, b->next, &to);
		iov.iov_len = to.len;
		pkt.len = to.len;
		if (put_packet(b, &pkt) == RX_STARVED)
			return RX_STARVED;
	}
	return RX_TAKEN;
}

/* Change a copy of the packet until the driver can have it. */
static enum rx_result put_changed(struct rx_batch *b, struct rx_packet *pkt)
{
	struct net_pair *pair = b->pair;
	struct net_frame frame = {.data = pair->frame, .len = pkt->len};
	struct iovec iov = {frame.data, frame.len};
	struct net_hdr hdr;

	net_hdr_get(&hdr, pkt->wire);
	copy_pieces(pkt, 0, iov);
	/* Once begun in segments, whatever the driver takes by now. */
	if (b->next || !takes_gso(b->features, hdr.gso_type))
		return put_segments(b, &hdr, &frame);
	if (!net_csum_fill(&hdr, &frame)) {
		net_count(&pair->rx_stats[NET_STAT_ERRORS], 1);
		return RX_DROPPED;
	}
	net_hdr_put(&hdr, 0, pkt->wire);
	pkt->iov = &iov;
	pkt->niov = 1;
	pkt->skip = 0;
	return put_packet(b, pkt);
}

/* Can the driver have it as it is? */
static bool takes(const struct rx_batch *b, const uint8_t wire[NET_HDR_BYTES])
{
	if (net_hdr_plain(wire))
		return true;
	return !b->next && takes_gso(b->features, wire[1]) &&
	       (!(wire[0] & VIRTIO_NET_HDR_F_NEEDS_CSUM) ||
		b->features & VDPA_BIT(VIRTIO_NET_F_GUEST_CSUM));
}

/* ---- delivery ---- */

static bool wanted(const struct net_state *state, const struct net_packet *from)
{
	struct rx_packet pkt = {.iov = from->iov, .niov = from->niov, .skip = NET_HDR_BYTES};
	uint8_t head[NET_HEAD_BYTES] = {0};

	if (from->niov == 2 && from->iov[0].iov_len == NET_HDR_BYTES &&
	    from->iov[1].iov_len >= sizeof(head))
		memcpy(head, from->iov[1].iov_base, sizeof(head));
	else
		copy_pieces(&pkt, 0, (struct iovec){head, sizeof(head)});
	return net_filter_pass(state, head);
}

static enum rx_result deliver_one(struct rx_batch *b, const struct net_packet *from)
{
	struct rx_packet pkt = {.iov = from->iov, .niov = from->niov};
	struct net_pair *pair = b->pair;

	if (net_rx_bad_length(from)) {
		net_count(&pair->rx_stats[NET_STAT_ERRORS], 1);
		return RX_DROPPED;
	}
	copy_pieces(&pkt, 0, (struct iovec){pkt.wire, sizeof(pkt.wire)});
	pkt.skip = NET_HDR_BYTES;
	pkt.len = (uint32_t)(from->len_bytes - NET_HDR_BYTES);
	return takes(b, pkt.wire) ? put_packet(b, &pkt) : put_changed(b, &pkt);
}

/* Where is the frame, if header and frame are one piece, or one each? */
static inline bool whole_frame(const struct net_packet *from, struct iovec *frame)
{
	const struct iovec *iov = from->iov;

	if (from->niov == 2 && iov[0].iov_len == NET_HDR_BYTES)
		*frame = iov[1];
	else if (from->niov == 1 && iov[0].iov_len > NET_HDR_BYTES)
		*frame = (struct iovec){(uint8_t *)iov[0].iov_base + NET_HDR_BYTES,
					iov[0].iov_len - NET_HDR_BYTES};
	else
		return false;
	return frame->iov_len >= NET_ETH_BYTES && frame->iov_len <= NET_MAX_FRAME;
}

/*
 * As put_header(), into one piece, of a packet in one buffer. In registers: words whose bytes were
 * only just stored are there when all stores before them are, and those wait for the driver's
 * lines.
 */
static inline void put_header_fast(uint8_t *to, const uint8_t *wire)
{
	uint64_t start, old_start;
	uint32_t rest, old_rest;

	_Static_assert(sizeof(start) + sizeof(rest) == NET_HDR_BYTES, "the header in two words");
	memcpy(&start, wire, sizeof(start));
	memcpy(&rest, wire + sizeof(start), sizeof(rest));
	rest = htole32((le32toh(rest) & 0xffff) | 1u << 16);
	memcpy(&old_start, to, sizeof(start));
	memcpy(&old_rest, to + sizeof(start), sizeof(rest));
	if (start == old_start && rest == old_rest)
		return;
	memcpy(to, &start, sizeof(start));
	memcpy(to + sizeof(start), &rest, sizeof(rest));
}

/*
 * The usual case: the frame is in one piece, nothing is to be changed, and the next buffer is one
 * piece with room for header and frame. False: not so, and nothing was done.
 */
static inline bool deliver_fast(struct rx_batch *b, const struct net_packet *from)
{
	const struct net_pair *pair = b->pair;
	const struct vringh_chain *chain;
	const struct iovec *in;
	struct iovec frame;
	uint8_t *dst;

	if (b->at == b->n || !whole_frame(from, &frame) || !net_hdr_plain(from->iov[0].iov_base))
		return false;
	chain = b->chains[b->at];
	in = chain->iov + chain->nout;
	if (chain->nin != 1 || in->iov_len < pair->hdr_bytes + frame.iov_len)
		return false;
	dst = in->iov_base;
	/* The last two bytes are the number of buffers, or the frame's and overwritten. */
	put_header_fast(dst, from->iov[0].iov_base);
	net_copy(dst + pair->hdr_bytes, frame.iov_base, frame.iov_len);
	fill_buffer(b, (uint32_t)(pair->hdr_bytes + frame.iov_len));
	b->packets++;
	b->bytes += frame.iov_len;
	return true;
}

/* True unless it waits for buffers. */
static bool deliver(struct rx_batch *b, const struct net_packet *pkt, bool fast)
{
	if (b->state->filter && !wanted(b->state, pkt)) {
		net_count(&b->pair->rx_stats[NET_STAT_DROPS], 1);
		return true;
	}
	if (fast && deliver_fast(b, pkt))
		return true;
	if (deliver_one(b, pkt) == RX_STARVED)
		return false;
	b->next = 0;
	return true;
}

static unsigned deliver_batch(struct net_pair *pair, const struct net_packet *pkts, unsigned n,
			      uint32_t *next)
{
	bool fast = pair->hdr_bytes <= NET_HDR_BYTES;
	struct rx_batch b;
	unsigned i;

	b.pair = pair;
	b.state = net_state_get(pair->net);
	b.next = *next;
	b.features = pair->features & ~b.state->guest_off;
	b.at = b.n = b.full = 0;
	b.packets = b.bytes = 0;
	b.wanted = n;
	more_buffers(&b);
	for (i = 0; i < n && deliver(&b, &pkts[i], fast); i++)
		b.wanted = n - i - 1;
	complete_full(&b);
	vdpa_soft_abandon(pair->rx, b.n - b.at);
	net_count(&pair->rx_stats[NET_STAT_PACKETS], b.packets);
	net_count(&pair->rx_stats[NET_STAT_BYTES], b.bytes);
	vdpa_soft_flush(pair->rx);
	*next = b.next;
	return i;
}

unsigned net_rx_put(struct net_pair *pair, const struct net_packet *pkts, unsigned n,
		    uint32_t *next)
{
	/* A queue that does not run yet has no buffers; nothing is lost meanwhile. */
	if (!n || !pair->rx || !vdpa_soft_vq_running(pair->rx))
		return 0;
	return deliver_batch(pair, pkts, n, next);
}

unsigned net_rx_deliver(void *arg, const struct net_packet *pkts, unsigned n)
{
	struct net_pair *pair = arg;
	unsigned i;

	if (pair->net->steer)
		return net_spread(pair, pkts, n);
	i = net_rx_put(pair, pkts, n, &pair->next_segment);
	if (i < n)
		pair->starved = true;
	return i;
}
