// SPDX-License-Identifier: BSD-3-Clause
/*
 * From the driver to the backend (virtio 1.3, section 5.1.6.2). The header is copied and
 * checked; the frame goes from the driver's memory to wherever the backend puts it. What the
 * backend does not take goes back to the ring, in its order, and is got again when it does.
 *
 * Who attacks: the sending driver. Runts, giants and headers that cannot be are counted, completed
 * and go nowhere.
 */
#include <string.h>
#include "parent/soft/net.h"
#include "parent/soft/net_copy.h"
#include "parent/soft/net_steer.h"

/* A batch: packets, and what their pieces are made of. */
struct tx_batch {
	unsigned n, niov;
	uint32_t bad; /* a bit each */
	struct vringh_chain *chains[NET_BATCH];
	struct net_packet pkts[NET_BATCH];
	uint8_t wire[NET_BATCH][NET_HDR_BYTES];
};

_Static_assert(NET_BATCH <= NET_PACKETS_MAX && NET_BATCH <= 32, "a bit each");

/* The header as we pass it on, then the frame's pieces: skip the driver's header. */
static void make_packet(struct net_pair *pair, struct tx_batch *b, const uint8_t *wire)
{
	const struct vringh_chain *chain = b->chains[b->n];
	struct iovec *iov = &pair->iov[b->niov];
	uint64_t skip = pair->hdr_bytes;
	unsigned n = 0;

	iov[n].iov_base = (void *)(uintptr_t)wire;
	iov[n++].iov_len = NET_HDR_BYTES;
	for (unsigned p = 0; p < chain->nout; p++) {
		const struct iovec *from = &chain->iov[p];

		if (skip >= from->iov_len) {
			skip -= from->iov_len;
			continue;
		}
		iov[n].iov_base = (char *)from->iov_base + skip;
		iov[n++].iov_len = from->iov_len - skip;
		skip = 0;
	}
	b->pkts[b->n] = (struct net_packet){
		.iov = iov,
		.niov = n,
		.len_bytes = chain->out_len - pair->hdr_bytes + NET_HDR_BYTES,
		.cookie = b->chains[b->n],
	};
	b->niov += n;
}

/* Copy the driver's header, once: what is checked is what is passed on. */
static void pull_header(const struct net_pair *pair, const struct vringh_chain *chain,
			uint8_t wire[NET_HDR_BYTES])
{
	if (chain->iov[0].iov_len >= NET_HDR_BYTES) {
		memcpy(wire, chain->iov[0].iov_base, NET_HDR_BYTES);
		return;
	}
	memset(wire, 0, NET_HDR_BYTES);
	vringh_iov_pull(chain, 0, wire,
			pair->hdr_bytes < NET_HDR_BYTES ? pair->hdr_bytes : NET_HDR_BYTES);
}

static bool parse(struct net_pair *pair, struct tx_batch *b)
{
	const struct vringh_chain *chain = b->chains[b->n];
	uint8_t *wire = b->wire[b->n];
	struct net_hdr hdr;
	uint64_t frame;

	if (chain->out_len < pair->hdr_bytes + NET_ETH_BYTES) {
		vdpa_soft_bad_request(pair->tx, chain, "shorter than an Ethernet header");
		return false;
	}
	frame = chain->out_len - pair->hdr_bytes;
	if (frame > NET_MAX_FRAME) {
		vdpa_soft_bad_request(pair->tx, chain, "longer than any packet");
		return false;
	}
	pull_header(pair, chain, wire);
	if (net_hdr_plain(wire)) {
		make_packet(pair, b, net_plain_header);
		return true;
	}
	net_hdr_get(&hdr, wire);
	if (!net_hdr_valid(&hdr, pair->features, frame)) {
		vdpa_soft_bad_request(pair->tx, chain, "its header describes no such packet");
		return false;
	}
	net_hdr_put(&hdr, 0, wire);
	make_packet(pair, b, wire);
	return true;
}

/*
 * The usual packet: one piece, and nothing left to do. All that is read of the header is whether it
 * is so; if not, who looks again looks at a copy.
 */
static inline bool parse_fast(const struct net_pair *pair, struct tx_batch *b)
{
	const struct vringh_chain *chain = b->chains[b->n];
	struct iovec *iov = pair->plain[b->n];
	uint64_t frame = chain->out_len - pair->hdr_bytes;
	uint8_t start[2];

	if (chain->nout != 1 || chain->out_len < pair->hdr_bytes + NET_ETH_BYTES ||
	    frame > NET_MAX_FRAME)
		return false;
	memcpy(start, chain->iov[0].iov_base, sizeof(start));
	if (!net_hdr_plain(start))
		return false;
	iov[1].iov_base = (uint8_t *)chain->iov[0].iov_base + pair->hdr_bytes;
	iov[1].iov_len = frame;
	b->pkts[b->n].iov = iov;
	b->pkts[b->n].niov = 2;
	b->pkts[b->n].len_bytes = frame + NET_HDR_BYTES;
	b->pkts[b->n].cookie = b->chains[b->n];
	return true;
}

static void fill_batch(struct net_pair *pair, struct tx_batch *b, unsigned got)
{
	for (unsigned i = 0; i < got; i++) {
		if (b->chains[i]->nout)
			net_prefetch(b->chains[i]->iov[0].iov_base);
	}
	b->bad = 0;
	b->niov = 0;
	for (b->n = 0; b->n < got; b->n++) {
		if (parse_fast(pair, b))
			continue;
		/* A chain of many pieces ends the batch early: the rest comes with the next. */
		if (b->niov + b->chains[b->n]->nout + 1 > NET_TX_IOVS)
			break;
		if (!parse(pair, b))
			b->bad |= 1u << b->n;
	}
}

/* Packets [@first, @first + @n) of the batch: how many were taken. They are completed. */
static unsigned send_run(struct net_pair *pair, struct tx_batch *b, unsigned first, unsigned n)
{
	uint32_t held = 0;
	unsigned taken = net_send(pair, &b->pkts[first], n, &held);
	uint64_t bytes = 0;

	for (unsigned i = 0; i < taken; i++) {
		const struct net_packet *pkt = &b->pkts[first + i];

		bytes += pkt->len_bytes - NET_HDR_BYTES;
		if (pkt->iov[0].iov_base != net_plain_header)
			net_count_offload(pair->tx_stats, pkt->iov[0].iov_base,
					  pkt->len_bytes - NET_HDR_BYTES);
	}
	if (!held)
		vdpa_soft_complete_n(pair->tx, &b->chains[first], NULL, taken);
	for (unsigned i = 0; held && i < taken; i++) {
		if (!(held >> i & 1))
			vdpa_soft_complete(pair->tx, b->chains[first + i], 0);
	}
	net_count(&pair->tx_stats[NET_STAT_PACKETS], taken);
	net_count(&pair->tx_stats[NET_STAT_BYTES], bytes);
	return taken;
}

/* The queue runs, or is being stopped: it waits for what is held. */
void net_tx_sent(void *arg, void *const *cookies, unsigned n)
{
	struct net_pair *pair = arg;

	if (!vdpa_soft_vq_cancelling(pair->tx))
		vdpa_soft_complete_n(pair->tx, (struct vringh_chain *const *)cookies, NULL, n);
	else
		for (unsigned i = 0; i < n; i++)
			vdpa_soft_cancel(pair->tx, cookies[i]);
	vdpa_soft_flush(pair->tx);
}

/* In the ring's order: what is bad ends between what is good. Returns how many have ended. */
static unsigned send_batch(struct net_pair *pair, struct tx_batch *b)
{
	unsigned at = 0;

	while (at < b->n) {
		uint32_t bad = b->bad >> at;
		unsigned run = bad ? (unsigned)__builtin_ctz(bad) : b->n - at;
		unsigned taken = run ? send_run(pair, b, at, run) : 0;

		at += taken;
		if (taken < run)
			break;
		if (at < b->n) {
			net_count(&pair->tx_stats[NET_STAT_ERRORS], 1);
			vdpa_soft_complete(pair->tx, b->chains[at++], 0);
		}
	}
	return at;
}

/* One batch of at most @max; true when there may be more. */
static bool run_batch(struct net_pair *pair, unsigned max)
{
	struct tx_batch b;
	unsigned got = vdpa_soft_getdesc(pair->tx, b.chains, max), ended;

	fill_batch(pair, &b, got);
	if (pair->net->steer)
		net_steer_learn(pair, b.pkts, b.n, b.bad);
	ended = send_batch(pair, &b);
	if (ended < b.n)
		pair->blocked = true;
	vdpa_soft_abandon(pair->tx, got - ended);
	return !pair->blocked && (got == max || ended < got);
}

bool net_tx_run(struct net_pair *pair, unsigned budget)
{
	bool more = !pair->blocked;

	while (more && budget) {
		unsigned max = budget < NET_BATCH ? budget : NET_BATCH;

		more = run_batch(pair, max);
		budget -= max;
	}
	return more;
}
