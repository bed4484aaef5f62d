// SPDX-License-Identifier: BSD-3-Clause
/*
 * Where a packet goes: to the port that its destination was seen at, or to all (broadcast,
 * multicast, unknown), never back to where it came from, and not from one isolated port to another.
 *
 * Who attacks: the sender. The addresses are read once from its memory; what it changes there
 * afterwards changes what the receiver sees, not who gets it.
 */
#include <endian.h>
#include <string.h>
#include "backend/net_switch.h"

#define MAC_MASK ((1ull << 48) - 1)
#define MAC_GROUP 1u /* of the first byte, which is the lowest here */
#define ETH_ADDRS 12

/* Beside port numbers. */
#define TO_ALL (-1)
#define TO_NOBODY (-2)

struct send {
	struct switch_lane *lane;
	const struct net_packet *pkts;
	unsigned n;
	uint32_t now_s;
	uint32_t flood;
	int to[SWITCH_BATCH];
	struct switch_hold *holds[SWITCH_BATCH];
};

_Static_assert(SWITCH_BATCH <= 32, "a bit each");

/* ---- addresses ---- */

static void gather_addrs(const struct net_packet *pkt, uint8_t to[ETH_ADDRS])
{
	size_t got = 0;

	memset(to, 0, ETH_ADDRS);
	for (unsigned i = 1; i < pkt->niov && got < ETH_ADDRS; i++) {
		size_t n = pkt->iov[i].iov_len;

		if (n > ETH_ADDRS - got)
			n = ETH_ADDRS - got;
		memcpy(to + got, pkt->iov[i].iov_base, n);
		got += n;
	}
}

static void read_addrs(const struct net_packet *pkt, uint64_t *dst, uint64_t *src)
{
	uint8_t addrs[ETH_ADDRS];
	uint64_t low, high;

	if (pkt->niov > 1 && pkt->iov[1].iov_len >= ETH_ADDRS)
		memcpy(addrs, pkt->iov[1].iov_base, ETH_ADDRS);
	else
		gather_addrs(pkt, addrs);
	memcpy(&low, addrs, sizeof(low));
	memcpy(&high, addrs + ETH_ADDRS - sizeof(high), sizeof(high));
	*dst = le64toh(low) & MAC_MASK;
	*src = le64toh(high) >> 16;
}

static void learn(struct send *s, uint64_t src)
{
	struct switch_lane *lane = s->lane;

	if (src == lane->learned_mac && s->now_s == lane->learned_s)
		return;
	lane->learned_mac = src;
	lane->learned_s = s->now_s;
	if (!src || (src & MAC_GROUP))
		return;
	if (fdb_learn(&lane->sp->sw->fdb, src, lane->sp->id, s->now_s))
		lane_count(lane, LANE_MOVED, 1);
}

static int find_port(const struct send *s, uint64_t dst)
{
	const struct switch_port *sp = s->lane->sp;
	int id;

	if (dst & MAC_GROUP)
		return TO_ALL;
	id = fdb_lookup(&sp->sw->fdb, dst, s->now_s);
	if (id == FDB_NONE)
		return TO_ALL;
	return id == (int)sp->id ? TO_NOBODY : id;
}

/* ---- receivers ---- */

/* The lane of @sp that packets of @from go to: the same one of several, when it is open. */
static struct switch_lane *lane_for(const struct switch_lane *from, struct switch_port *sp,
				    struct vdpa_loop **loop)
{
	unsigned pairs = atomic_load_explicit(&sp->pairs, memory_order_relaxed);

	for (unsigned i = 0; i < pairs; i++) {
		unsigned at = (from->index + i) % pairs;
		struct switch_lane *lane =
			atomic_load_explicit(&sp->lanes[at], memory_order_acquire);

		*loop = lane ? atomic_load_explicit(&lane->loop, memory_order_acquire) : NULL;
		if (*loop)
			return lane;
	}
	return NULL;
}

static struct switch_lane *receiver(const struct send *s, unsigned id, struct vdpa_loop **loop)
{
	const struct switch_port *own = s->lane->sp;
	struct switch_port *sp = atomic_load_explicit(&own->sw->ports[id], memory_order_acquire);

	if (!sp || sp == own || !atomic_load_explicit(&sp->open, memory_order_relaxed) ||
	    (sp->isolated && own->isolated))
		return NULL;
	return lane_for(s->lane, sp, loop);
}

static bool is_stuck(const struct switch_lane *lane)
{
	return atomic_load_explicit(&lane->stuck, memory_order_relaxed);
}

/* It has enough of ours, and is at work on it: wait, rather than lose packets. */
static bool must_wait(const struct send *s, unsigned id)
{
	struct vdpa_loop *loop;
	const struct switch_lane *lane;

	if (s->lane->nout[id] < SWITCH_QUOTA)
		return false;
	lane = receiver(s, id, &loop);
	return lane && !is_stuck(lane);
}

/* Packets of @mask are to be had later: they are held. Those that cannot be are lost. True when
 * the first of them is not. */
static bool keep(struct send *s, struct switch_lane *to, struct vdpa_loop *loop, uint32_t mask)
{
	struct switch_lane *from = s->lane;
	struct switch_batch *batch = switch_batch_new(from, to, loop);
	uint32_t first = mask & -mask, lost = 0;

	for (; mask; mask &= mask - 1) {
		unsigned i = (unsigned)__builtin_ctz(mask);

		if (batch && !s->holds[i])
			s->holds[i] = switch_hold_new(from, s->pkts[i].cookie);
		if (!batch || !s->holds[i] || !switch_batch_add(batch, &s->pkts[i], s->holds[i]))
			lost |= 1u << i;
	}
	lane_count(from, LANE_LOST, (unsigned)__builtin_popcount(lost));
	if (batch && batch->n) {
		switch_batch_go(batch);
	} else if (batch) {
		batch->next = from->free_batches;
		from->free_batches = batch;
	}
	return !(lost & first);
}

/* At once, both being on one loop; what is left of @mask. */
static uint32_t give(struct send *s, struct switch_lane *to, uint32_t mask)
{
	struct net_packet some[SWITCH_BATCH];
	const struct net_packet *pkts = s->pkts;
	unsigned n = 0;

	if (mask == UINT32_MAX >> (32 - s->n)) {
		n = s->n;
	} else {
		for (uint32_t m = mask; m; m &= m - 1)
			some[n++] = s->pkts[__builtin_ctz(m)];
		pkts = some;
	}
	for (n = switch_lane_deliver(to, pkts, n); n; n--)
		mask &= mask - 1;
	return mask;
}

/* To a lane on our own loop. One that is stuck gets what it takes, and the rest is lost. */
static void send_here(struct send *s, struct switch_lane *to, uint32_t mask)
{
	bool waiting = to->first;

	mask = give(s, to, mask);
	if (!mask)
		return;
	if (is_stuck(to))
		lane_count(to, LANE_TX_DROPPED, (unsigned)__builtin_popcount(mask));
	else if (keep(s, to, to->config.loop, mask))
		return;
	/* The packet that it had begun with, if any, does not come again. */
	if (!waiting)
		to->config.forget(to->config.arg);
}

static void send_to(struct send *s, unsigned id, uint32_t mask)
{
	struct vdpa_loop *loop = NULL;
	struct switch_lane *to = receiver(s, id, &loop);

	if (!to) {
		/* Of what is sent to all, this one gets nothing: that is no loss. */
		lane_count(s->lane, LANE_LOST, (unsigned)__builtin_popcount(mask & ~s->flood));
		return;
	}
	if (loop == s->lane->config.loop) {
		send_here(s, to, mask);
	} else if (is_stuck(to) || s->lane->nout[id] >= SWITCH_QUOTA) {
		lane_count(s->lane, LANE_LOST, (unsigned)__builtin_popcount(mask));
	} else {
		keep(s, to, loop, mask);
	}
}

/* ---- a batch of packets ---- */

static uint32_t mask_to(const struct send *s, int id)
{
	uint32_t mask = 0;

	for (unsigned i = 0; i < s->n; i++)
		mask |= (uint32_t)(s->to[i] == id) << i;
	return mask;
}

static void send_all(struct send *s)
{
	struct net_switch *sw = s->lane->sp->sw;
	uint32_t rest = (UINT32_MAX >> (32 - s->n)) & ~s->flood;

	if (s->flood) {
		unsigned n = atomic_load_explicit(&sw->nports, memory_order_acquire);

		for (unsigned id = 0; id < n; id++) {
			uint32_t mask = s->flood | mask_to(s, (int)id);

			if (id != s->lane->sp->id)
				send_to(s, id, mask);
		}
		return;
	}
	while (rest) {
		int id = s->to[__builtin_ctz(rest)];
		uint32_t mask = mask_to(s, id);

		if (id != TO_NOBODY)
			send_to(s, (unsigned)id, mask);
		rest &= ~mask;
	}
}

/* Ends early, the lane blocked, where a packet has to wait. */
static void sort_out(struct send *s, unsigned n)
{
	struct switch_lane *lane = s->lane;
	uint64_t bytes = 0;

	s->flood = 0;
	for (s->n = 0; s->n < n; s->n++) {
		unsigned i = s->n;
		uint64_t dst, src;

		read_addrs(&s->pkts[i], &dst, &src);
		learn(s, src);
		s->to[i] = find_port(s, dst);
		s->holds[i] = NULL;
		if (s->to[i] >= 0 && must_wait(s, (unsigned)s->to[i])) {
			lane->blocked = true;
			break;
		}
		if (s->to[i] == TO_ALL)
			s->flood |= 1u << i;
		bytes += s->pkts[i].len_bytes - NET_HDR_BYTES;
	}
	lane_count(lane, LANE_RX_PACKETS, s->n);
	lane_count(lane, LANE_RX_BYTES, bytes);
	lane_count(lane, LANE_FLOODED, (unsigned)__builtin_popcount(s->flood));
}

unsigned switch_send_held(struct net_port *port, const struct net_packet *pkts, unsigned n,
			  uint32_t *held)
{
	struct send s = {.lane = switch_lane_of(port), .pkts = pkts};

	*held = 0;
	s.now_s = (uint32_t)(vdpa_clock_ns() / 1000000000);
	sort_out(&s, n < SWITCH_BATCH ? n : SWITCH_BATCH);
	if (!s.n)
		return 0;
	send_all(&s);
	for (unsigned i = 0; i < s.n; i++) {
		if (s.holds[i] && s.holds[i]->refs)
			*held |= 1u << i;
		else if (s.holds[i])
			switch_hold_free(s.lane, s.holds[i]);
	}
	return s.n;
}
