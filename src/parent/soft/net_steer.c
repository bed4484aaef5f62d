// SPDX-License-Identifier: BSD-3-Clause
/*
 * Which pair gets a packet (net_steer.h). With automatic steering (virtio 1.3, section 5.1.6.5.6)
 * it is the one that last sent the flow; a flow that nobody sent, or that has no addresses, stays
 * with the pair that it came in by. With RSS (5.1.6.5.7) the driver's table says.
 *
 * The table of flows has one place for each hash, and whoever sends writes his number there: a
 * word, without order among the loops. What is lost that way, or by flows that meet, is a hint.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include "parent/soft/net_ctrl.h"
#include "parent/soft/net_steer.h"

#define PAIR_BITS 0xffu
/* About so many packets of a batch are looked at when they are sent: a flow has more of them. */
#define LEARN_MAX 4u

_Static_assert(NET_MAX_PAIRS < PAIR_BITS, "pair + 1 fits");

int net_steer_new(struct soft_net *net)
{
	struct net_steer *steer;

	if (net->npairs == 1)
		return 0;
	steer = calloc(1, sizeof(*steer) + net->npairs * sizeof(steer->rx_loop[0]));
	if (!steer)
		return -ENOMEM;
	net->steer = steer;
	return getrandom(&steer->seed, sizeof(steer->seed), 0) == sizeof(steer->seed) ? 0 : -EIO;
}

bool net_steer_on(const struct soft_net *net, const struct net_state *s, unsigned i)
{
	return s->on[i / 64] >> i % 64 & 1 &&
	       atomic_load_explicit(&net->steer->rx_loop[i], memory_order_acquire);
}

int net_steer_any(const struct soft_net *net, const struct net_state *s, unsigned usual)
{
	for (unsigned i = 0; i < net->npairs; i++) {
		unsigned at = (usual + i) % net->npairs;

		if (net_steer_on(net, s, at))
			return (int)at;
	}
	return NET_TO_NOBODY;
}

/* ---- flows ---- */

static void flow_of(struct net_flow *flow, const struct net_packet *pkt, uint64_t skip)
{
	uint8_t head[NET_FLOW_BYTES];
	size_t n = net_packet_copy(pkt, skip, head, sizeof(head));

	net_flow_parse(flow, head, n, pkt->len_bytes - skip);
}

static _Atomic uint32_t *flow_entry(struct net_steer *steer, const struct net_packet *pkt,
				    uint32_t *tag)
{
	struct net_flow flow;
	uint32_t hash;

	flow_of(&flow, pkt, NET_HDR_BYTES);
	hash = net_flow_hash(&flow, steer->seed);
	if (!hash)
		return NULL;
	*tag = hash & ~PAIR_BITS;
	return &steer->flows[(hash ^ hash >> 16) & (NET_FLOWS - 1)];
}

void net_steer_learn(struct net_pair *pair, const struct net_packet *pkts, unsigned n, uint32_t bad)
{
	const struct net_state *s = net_state_get(pair->net);
	unsigned step = n > LEARN_MAX ? n / LEARN_MAX : 1;

	if (s->by_rss || s->spread == 1)
		return;
	for (unsigned i = pair->learned++ % step; i < n; i += step) {
		_Atomic uint32_t *entry;
		uint32_t tag;

		if (bad >> i & 1)
			continue;
		entry = flow_entry(pair->net->steer, &pkts[i], &tag);
		tag |= pair->index + 1;
		/* Usually it is there already, and the line stays everybody's. */
		if (entry && atomic_load_explicit(entry, memory_order_relaxed) != tag)
			atomic_store_explicit(entry, tag, memory_order_relaxed);
	}
}

/* Who sent the flow last; NET_TO_NOBODY: not known. */
static int who_sent(const struct soft_net *net, const struct net_packet *pkt)
{
	uint32_t tag, known;
	const _Atomic uint32_t *entry = flow_entry(net->steer, pkt, &tag);

	if (!entry)
		return NET_TO_NOBODY;
	known = atomic_load_explicit(entry, memory_order_relaxed);
	if (!known || (known & ~PAIR_BITS) != tag)
		return NET_TO_NOBODY;
	return (int)(known & PAIR_BITS) - 1;
}

/* ---- RSS ---- */

static int pick_rss(const struct soft_net *net, const struct net_state *s,
		    const struct net_packet *pkt)
{
	const struct net_rss *rss = s->rss;
	unsigned to = rss->unclassified;
	struct net_flow flow;
	uint32_t hash;

	flow_of(&flow, pkt, NET_HDR_BYTES);
	if (net_rss_hash(&rss->toeplitz, rss->types, &flow, &hash))
		to = rss->table[hash & rss->mask];
	if (net_steer_on(net, s, to))
		return (int)to;
	/* 5.1.6.5.7.2: a queue that is being reset gets nothing, and nobody in its place. */
	if (vdpa_soft_has(&net->soft, VIRTIO_F_RING_RESET))
		return NET_TO_NOWHERE;
	return net_steer_any(net, s, to);
}

int net_steer_pick(const struct soft_net *net, const struct net_state *s,
		   const struct net_packet *pkt, unsigned usual)
{
	int to = NET_TO_NOBODY;

	if (s->by_rss)
		return pick_rss(net, s, pkt);
	if (s->spread > 1)
		to = who_sent(net, pkt);
	if (to >= 0 && net_steer_on(net, s, (unsigned)to))
		return to;
	return net_steer_any(net, s, usual);
}

void net_steer_report(const struct net_state *s, const struct net_packet *pkt, uint64_t skip,
		      uint8_t to[NET_REPORT_BYTES])
{
	uint16_t report = VIRTIO_NET_HASH_REPORT_NONE;
	uint32_t hash = 0;
	struct net_flow flow;

	if (s->rss && s->rss->types) {
		flow_of(&flow, pkt, skip);
		report = net_rss_hash(&s->rss->toeplitz, s->rss->types, &flow, &hash);
	}
	hash = htole32(hash);
	report = htole16(report);
	memset(to, 0, NET_REPORT_BYTES);
	memcpy(to, &hash, sizeof(hash));
	memcpy(to + sizeof(hash), &report, sizeof(report));
}
