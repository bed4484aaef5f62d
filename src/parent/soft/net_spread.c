// SPDX-License-Identifier: BSD-3-Clause
/*
 * How a packet comes to another pair's receive queue (net_steer.h).
 *
 * A port that could not deliver waits for one of these: its own pair's buffers (starved), those of
 * another pair on its loop (waits_for), a parcel that comes home, or any pair that receives (both
 * waits). What ends the wait has the port resumed, and the packets are looked at anew.
 */
#include <stdlib.h>
#include <string.h>
#include "parent/soft/net_ctrl.h"
#include "parent/soft/net_steer.h"

#define PARCEL_ALIGN 16u

/*
 * Copies of packets. The sending pair's until it is posted, then the receiving loop's, which posts
 * it home. While it is out a reference on the device is held.
 */
struct net_parcel {
	struct vdpa_loop_msg msg;
	struct net_parcel *next; /* in the receiver's queue, or free */
	struct net_pair *from, *to;
	struct vdpa_loop *home, *there;
	unsigned n, at;	       /* packets before @at were delivered, or lost */
	unsigned lost;	       /* nobody could have them */
	uint32_t next_segment; /* of packet @at */
	size_t used;
	struct net_packet pkts[NET_BATCH];
	struct iovec iov[NET_BATCH][2];
	uint8_t bytes[NET_PARCEL_BYTES];
};

_Static_assert(NET_PARCEL_BYTES >= NET_HDR_BYTES + NET_MAX_FRAME + PARCEL_ALIGN,
	       "holds any packet");

static struct vdpa_loop *rx_loop(const struct net_pair *pair)
{
	return atomic_load_explicit(&pair->net->steer->rx_loop[pair->index], memory_order_acquire);
}

/* ---- waiting ---- */

/* The port tries again. */
static void resume(struct net_pair *pair)
{
	pair->waits = false;
	pair->waits_for = NULL;
	if (pair->port)
		pair->be->ops->resume(pair->port);
}

static void look(struct vdpa_loop_msg *msg);

static void look_soon(struct net_pair *pair)
{
	struct vdpa_loop *loop = atomic_load(&pair->port_loop);

	if (!loop || atomic_exchange(&pair->look_queued, true))
		return;
	vdpa_get_device(&pair->net->soft.vdpa);
	pair->look_loop = loop;
	vdpa_loop_post(loop, &pair->look_msg, look);
}

void net_spread_look_all(struct soft_net *net)
{
	for (unsigned i = 0; net->steer && i < net->npairs; i++)
		look_soon(&net->pairs[i]);
}

/* Ports on this loop that wait for buffers of @pair. */
static void wake_waiting(struct net_pair *pair)
{
	struct vdpa_loop *here = atomic_load(&pair->port_loop);
	struct soft_net *net = pair->net;

	if (!pair->wanted)
		return;
	pair->wanted = false;
	for (unsigned i = 0; i < net->npairs; i++) {
		struct net_pair *other = &net->pairs[i];

		if (atomic_load(&other->port_loop) == here && other->waits_for == pair)
			resume(other);
	}
}

/* ---- parcels ---- */

/* NULL: no memory. */
static struct net_parcel *parcel_get(struct net_pair *pair)
{
	struct net_parcel *parcel = pair->free_parcels;

	if (parcel)
		pair->free_parcels = parcel->next;
	else
		parcel = malloc(sizeof(*parcel));
	if (!parcel)
		return NULL;
	parcel->from = pair;
	parcel->home = atomic_load(&pair->port_loop);
	parcel->n = parcel->at = parcel->lost = 0;
	parcel->next_segment = 0;
	parcel->used = 0;
	return parcel;
}

/* False: there is no room for it. */
static bool parcel_add(struct net_parcel *parcel, const struct net_packet *pkt)
{
	struct iovec *iov = parcel->iov[parcel->n];
	uint8_t *to = parcel->bytes + parcel->used;
	size_t len = pkt->len_bytes;

	if (len > sizeof(parcel->bytes) - parcel->used || parcel->n == NET_BATCH)
		return false;
	net_packet_copy(pkt, 0, to, len);
	iov[0] = (struct iovec){to, NET_HDR_BYTES};
	iov[1] = (struct iovec){to + NET_HDR_BYTES, len - NET_HDR_BYTES};
	parcel->pkts[parcel->n++] = (struct net_packet){iov, 2, len, NULL};
	parcel->used += (len + PARCEL_ALIGN - 1) & ~(size_t)(PARCEL_ALIGN - 1);
	if (parcel->used > sizeof(parcel->bytes))
		parcel->used = sizeof(parcel->bytes);
	return true;
}

/* The sender's loop, or the one that was when it went out. */
static void come_home(struct vdpa_loop_msg *msg)
{
	struct net_parcel *parcel = vdpa_container_of(msg, struct net_parcel, msg);
	struct net_pair *from = parcel->from;
	bool here = atomic_load(&from->port_loop) == parcel->home;

	atomic_fetch_add_explicit(&from->parcels_lost, parcel->lost, memory_order_relaxed);
	atomic_fetch_sub(&from->parcels_out, 1);
	if (here) {
		parcel->next = from->free_parcels;
		from->free_parcels = parcel;
	} else {
		free(parcel);
	}
	if (here && from->waits)
		resume(from);
	else if (!here)
		look_soon(from);
	vdpa_put_device(&from->net->soft.vdpa);
}

static void go_home(struct net_parcel *parcel)
{
	vdpa_loop_post(parcel->home, &parcel->msg, come_home);
}

static void arrive(struct vdpa_loop_msg *msg);

/* Its receiver may not have it: somebody else, or nobody. */
static void go_on(struct net_parcel *parcel)
{
	struct soft_net *net = parcel->from->net;
	int to = net_steer_any(net, net_state_get(net), parcel->to->index);
	struct vdpa_loop *there = to >= 0 ? rx_loop(&net->pairs[to]) : NULL;

	if (!there) {
		parcel->lost = parcel->n - parcel->at;
		go_home(parcel);
		return;
	}
	parcel->to = &net->pairs[to];
	parcel->there = there;
	vdpa_loop_post(there, &parcel->msg, arrive);
}

/* ---- the receiving pair ---- */

static struct net_parcel *pop_parcel(struct net_pair *pair)
{
	struct net_parcel *parcel = pair->parcels;

	pair->parcels = parcel->next;
	if (!pair->parcels)
		pair->last_parcel = &pair->parcels;
	return parcel;
}

/* True: all that came is delivered, or went on. */
static bool deliver_parcels(struct net_pair *pair)
{
	while (pair->parcels) {
		struct net_parcel *parcel = pair->parcels;

		if (!net_steer_on(pair->net, net_state_get(pair->net), pair->index)) {
			go_on(pop_parcel(pair));
			continue;
		}
		parcel->at += net_rx_put(pair, parcel->pkts + parcel->at, parcel->n - parcel->at,
					 &parcel->next_segment);
		if (parcel->at < parcel->n) {
			pair->starved = true;
			return false;
		}
		go_home(pop_parcel(pair));
	}
	return true;
}

static void arrive(struct vdpa_loop_msg *msg)
{
	struct net_parcel *parcel = vdpa_container_of(msg, struct net_parcel, msg);
	struct net_pair *pair = parcel->to;

	if (rx_loop(pair) != parcel->there) {
		go_on(parcel);
		return;
	}
	parcel->next = NULL;
	*pair->last_parcel = parcel;
	pair->last_parcel = &parcel->next;
	if (pair->parcels == parcel)
		deliver_parcels(pair);
}

static void look(struct vdpa_loop_msg *msg)
{
	struct net_pair *pair = vdpa_container_of(msg, struct net_pair, look_msg);
	struct vdpa_loop *loop = pair->look_loop;

	atomic_store(&pair->look_queued, false);
	if (atomic_load(&pair->port_loop) != loop) {
		/* It has moved meanwhile, or has no port, and nothing waits. */
		look_soon(pair);
	} else {
		if (rx_loop(pair) == loop)
			deliver_parcels(pair);
		/* Those who wait for its buffers may have to go elsewhere. */
		wake_waiting(pair);
		if (pair->waits || pair->starved)
			resume(pair);
	}
	vdpa_put_device(&pair->net->soft.vdpa);
}

/* ---- the pair that a packet came in by ---- */

static unsigned drop(struct net_pair *pair, unsigned n)
{
	net_count(&pair->rx_stats[NET_STAT_DROPS], n);
	pair->next_segment = 0;
	return n;
}

/* As many as fit; 0: it has to wait. */
static unsigned hand_over(struct net_pair *pair, struct net_pair *to, const struct net_packet *pkts,
			  unsigned n)
{
	struct vdpa_loop *there = rx_loop(to);
	struct net_parcel *parcel = NULL;
	unsigned i = 0;

	if (!there) {
		/* It has just ended: who gets it instead? */
		pair->waits = true;
		look_soon(pair);
		return 0;
	}
	if (atomic_load(&pair->parcels_out) < NET_PARCELS)
		parcel = parcel_get(pair);
	else
		pair->waits = true;
	if (!parcel)
		return pair->waits ? 0 : drop(pair, n);
	parcel->next_segment = pair->next_segment;
	pair->next_segment = 0;
	while (i < n && parcel_add(parcel, &pkts[i]))
		i++;
	parcel->to = to;
	parcel->there = there;
	atomic_fetch_add(&pair->parcels_out, 1);
	vdpa_get_device(&pair->net->soft.vdpa);
	vdpa_loop_post(there, &parcel->msg, arrive);
	return i;
}

static unsigned hand_over_all(struct net_pair *pair, struct net_pair *to,
			      const struct net_packet *pkts, unsigned n)
{
	unsigned done = 0, some = 1;

	while (done < n && some) {
		some = hand_over(pair, to, pkts + done, n - done);
		done += some;
	}
	return done;
}

/* To another pair on this loop. */
static unsigned put_here(struct net_pair *pair, struct net_pair *to, const struct net_packet *pkts,
			 unsigned n)
{
	unsigned done = net_rx_put(to, pkts, n, &pair->next_segment);

	if (done == n)
		return n;
	to->starved = true;
	if (to != pair) {
		to->wanted = true;
		pair->waits_for = to;
	}
	return done;
}

static unsigned put_run(struct net_pair *pair, int index, const struct net_packet *pkts, unsigned n)
{
	struct net_pair *to;

	if (index == NET_TO_NOWHERE)
		return drop(pair, n);
	to = &pair->net->pairs[index];
	if (rx_loop(to) == atomic_load_explicit(&pair->port_loop, memory_order_relaxed))
		return put_here(pair, to, pkts, n);
	return hand_over_all(pair, to, pkts, n);
}

/* Nobody receives. Whoever begins to, from here on, has this port look again. */
static int wait_for_any(struct net_pair *pair, const struct net_state *s)
{
	int to;

	pair->waits = true;
	atomic_store(&pair->net->steer->orphans, true);
	to = net_steer_any(pair->net, s, pair->index);
	if (to >= 0)
		pair->waits = false;
	return to;
}

unsigned net_spread(struct net_pair *pair, const struct net_packet *pkts, unsigned n)
{
	const struct net_state *s = net_state_get(pair->net);
	int to[NET_PACKETS_MAX];
	unsigned done = 0;

	for (unsigned i = 0; i < n; i++) {
		if (net_rx_bad_length(&pkts[i]))
			to[i] = NET_TO_NOWHERE;
		else
			to[i] = net_steer_pick(pair->net, s, &pkts[i], pair->index);
	}
	while (done < n) {
		unsigned run = 1, some;

		if (to[done] == NET_TO_NOBODY)
			to[done] = wait_for_any(pair, s);
		if (to[done] == NET_TO_NOBODY)
			break;
		while (done + run < n && to[done + run] == to[done])
			run++;
		some = put_run(pair, to[done], pkts + done, run);
		done += some;
		if (some < run)
			break;
	}
	return done;
}

/* ---- the receive queue begins and ends ---- */

void net_spread_begin(struct net_pair *pair, struct vdpa_loop *loop)
{
	struct net_steer *steer = pair->net->steer;

	atomic_store(&steer->rx_loop[pair->index], loop);
	if (atomic_exchange(&steer->orphans, false))
		net_spread_look_all(pair->net);
}

void net_spread_resume(struct net_pair *pair)
{
	if (!deliver_parcels(pair))
		return;
	wake_waiting(pair);
	resume(pair);
}

void net_spread_end(struct net_pair *pair)
{
	atomic_store(&pair->net->steer->rx_loop[pair->index], NULL);
	while (pair->parcels)
		go_on(pop_parcel(pair));
	wake_waiting(pair);
	/* What came in by its own port is for others now. */
	if (pair->starved && pair->port)
		resume(pair);
	pair->starved = false;
}

void net_spread_port(struct net_pair *pair, struct vdpa_loop *loop)
{
	struct net_parcel *parcel;

	pair->waits = false;
	pair->waits_for = NULL;
	atomic_store(&pair->port_loop, loop);
	while (!loop && (parcel = pair->free_parcels)) {
		pair->free_parcels = parcel->next;
		free(parcel);
	}
}
