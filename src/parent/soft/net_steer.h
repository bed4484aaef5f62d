/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Several queue pairs (virtio 1.3, sections 5.1.6.5.6 and 5.1.6.5.7): which one gets a packet, and
 * how the packet comes there.
 *
 * net_steer.c   which pair: the one that last sent the flow, or what RSS says
 * net_spread.c  how: at once, when both pairs live on one loop; else as a copy, handed over
 * net_ctrl_rss.c the commands
 *
 * A backend delivers to the pair whose port a packet came in by. There it is decided who gets it.
 * The kernel (tap, packet) and the switch keep a flow on one port, so as a rule the packet stays
 * where it is. What has to go to another loop is copied, a parcel at a time, and each pair has at
 * most NET_PARCELS of them out: then its port waits, as if there were no buffers. So nothing is
 * lost and nothing grows. A parcel that comes to a pair which may not have it any more goes on to
 * one that may.
 *
 * Who attacks: the driver, that has queues without buffers, or stops one while packets are on their
 * way to it: it gets its own packets later. And senders, by flows that meet in the table: their
 * packets go to the pair that they came in by.
 */
#ifndef PARENT_SOFT_NET_STEER_H
#define PARENT_SOFT_NET_STEER_H

#include "parent/soft/net.h"
#include "parent/soft/net_flow.h"

#define NET_RSS_TABLE 128 /* entries */
#define NET_FLOWS 4096	  /* a power of two */
#define NET_PARCELS 8
#define NET_PARCEL_BYTES (128u << 10)
#define NET_REPORT_BYTES 8 /* behind the header, of reports of hashes (5.1.6) */

struct net_state;

/* What VIRTIO_NET_CTRL_MQ_RSS_CONFIG or HASH_CONFIG said. Not changed once made. */
struct net_rss {
	unsigned refs; /* the control thread's */
	uint32_t types;
	uint16_t unclassified, mask, max_tx_vq;
	uint8_t key_bytes;
	uint8_t key[NET_RSS_KEY];
	uint16_t table[NET_RSS_TABLE];
	struct net_toeplitz toeplitz;
};

/* Pairs of a device that has several. */
struct net_steer {
	uint64_t seed;			       /* no sender knows which flows meet */
	_Atomic bool orphans;		       /* a packet waits for any pair to receive */
	_Atomic uint32_t flows[NET_FLOWS];     /* hash, its low bits being the pair + 1; 0: none */
	_Atomic(struct vdpa_loop *) rx_loop[]; /* of each pair whose receive queue runs */
};

struct net_parcel;

/* Beside the pair's number. */
enum {
	NET_TO_NOBODY = -1,  /* no pair may receive: it waits */
	NET_TO_NOWHERE = -2, /* it is dropped */
};

/* net_steer.c */
int net_steer_new(struct soft_net *net);
/* May pair @i receive? */
bool net_steer_on(const struct soft_net *net, const struct net_state *s, unsigned i);
/* Who gets what came in by @usual's port. [q] */
int net_steer_pick(const struct soft_net *net, const struct net_state *s,
		   const struct net_packet *pkt, unsigned usual);
/* Any pair that may receive, @usual if it is one; NET_TO_NOBODY. */
int net_steer_any(const struct soft_net *net, const struct net_state *s, unsigned usual);
/* @pair sends these, but for those whose bit is in @bad: what comes back is to come to it. [q] */
void net_steer_learn(struct net_pair *pair, const struct net_packet *pkts, unsigned n,
		     uint32_t bad);
/* Of the packet whose frame begins at byte @skip: hash_value and hash_report, as in its header.
 * [q] */
void net_steer_report(const struct net_state *s, const struct net_packet *pkt, uint64_t skip,
		      uint8_t to[NET_REPORT_BYTES]);

/* net_spread.c; all [q], but look_all() */
/* As deliver() of a port, for a device with several pairs. */
unsigned net_spread(struct net_pair *pair, const struct net_packet *pkts, unsigned n);
/* The receive queue begins, has buffers again, or has ended. */
void net_spread_begin(struct net_pair *pair, struct vdpa_loop *loop);
void net_spread_resume(struct net_pair *pair);
void net_spread_end(struct net_pair *pair);
/* The port was opened on @loop, or is closed (NULL). */
void net_spread_port(struct net_pair *pair, struct vdpa_loop *loop);
/* Somebody else may have to have what waits: each pair, on its loop, looks. Any thread. */
void net_spread_look_all(struct soft_net *net);

#endif
