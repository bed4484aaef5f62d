// SPDX-License-Identifier: BSD-3-Clause
/*
 * From the driver to the backend (virtio 1.3, section 5.1.6.2). The header is copied and
 * checked; the frame goes from the driver's memory to wherever the backend puts it. What the
 * backend does not take goes back to the ring, in its order, and is got again when it does.
 *
 * Who attacks: the sending driver. Runts, giants and headers that cannot be are counted, completed
 * and go nowhere.
 */
#include "parent/soft/net.h"

/* A batch: packets, and what their pieces are made of. */
struct tx_batch {
	struct vringh_chain *chains[NET_BATCH];
	struct net_packet pkts[NET_BATCH];
	uint8_t wire[NET_BATCH][NET_HDR_BYTES];
	bool good[NET_BATCH];
	unsigned n;
	unsigned niov;
};

/* The header as we pass it on, then the frame's pieces: skip the driver's header. */
static void make_packet(struct net_pair *pair, struct tx_batch *b, unsigned i)
{
	const struct vringh_chain *chain = b->chains[i];
	struct iovec *iov = &pair->iov[b->niov];
	uint64_t skip = pair->hdr_bytes;
	unsigned n = 0;

	iov[n++] = (struct iovec){b->wire[i], NET_HDR_BYTES};
	for (unsigned p = 0; p < chain->nout; p++) {
		const struct iovec *from = &chain->iov[p];

		if (skip >= from->iov_len) {
			skip -= from->iov_len;
			continue;
		}
		iov[n++] = (struct iovec){(char *)from->iov_base + skip, from->iov_len - skip};
		skip = 0;
	}
	b->pkts[i] = (struct net_packet){
		.iov = iov,
		.niov = n,
		.len_bytes = chain->out_len - pair->hdr_bytes + NET_HDR_BYTES,
	};
	b->niov += n;
}

static bool parse(struct net_pair *pair, struct tx_batch *b, unsigned i)
{
	const struct vringh_chain *chain = b->chains[i];
	uint8_t wire[NET_HDR_BYTES] = {0};
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
	vringh_iov_pull(chain, 0, wire, pair->hdr_bytes);
	net_hdr_get(&hdr, wire);
	if (!net_hdr_valid(&hdr, pair->features, frame)) {
		vdpa_soft_bad_request(pair->tx, chain, "its header describes no such packet");
		return false;
	}
	net_hdr_put(&hdr, 0, b->wire[i]);
	make_packet(pair, b, i);
	return true;
}

/* Packets [@first, @first + @n) of the batch: how many were taken. They are completed. */
static unsigned send_run(struct net_pair *pair, struct tx_batch *b, unsigned first, unsigned n)
{
	unsigned taken = pair->net->be->ops->send(pair->port, &b->pkts[first], n);

	for (unsigned i = first; i < first + taken; i++) {
		net_count(&pair->tx_stats[NET_STAT_PACKETS], 1);
		net_count(&pair->tx_stats[NET_STAT_BYTES], b->pkts[i].len_bytes - NET_HDR_BYTES);
		vdpa_soft_complete(pair->tx, b->chains[i], 0);
	}
	return taken;
}

/* In the ring's order: what is bad ends between what is good. Returns how many have ended. */
static unsigned send_batch(struct net_pair *pair, struct tx_batch *b)
{
	unsigned at = 0;

	while (at < b->n) {
		unsigned run = 0, taken;

		while (at + run < b->n && b->good[at + run])
			run++;
		taken = run ? send_run(pair, b, at, run) : 0;
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

bool net_tx_run(struct net_pair *pair, unsigned budget)
{
	struct tx_batch b;
	unsigned max = budget < NET_BATCH ? budget : NET_BATCH, got, ended;

	if (pair->blocked)
		return false;
	got = vdpa_soft_getdesc(pair->tx, b.chains, max);
	b.niov = 0;
	for (b.n = 0; b.n < got; b.n++) {
		/* A chain of many pieces ends the batch early: the rest comes with the next. */
		if (b.niov + b.chains[b.n]->nout + 1 > NET_TX_IOVS)
			break;
		b.good[b.n] = parse(pair, &b, b.n);
	}
	ended = send_batch(pair, &b);
	if (ended < b.n)
		pair->blocked = true;
	vdpa_soft_abandon(pair->tx, got - ended);
	return !pair->blocked && (got == max || ended < got);
}
