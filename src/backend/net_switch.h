/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An Ethernet switch between the NICs of one context.
 *
 * net_switch.c       switches by name, opening, what can be seen
 * net_switch_port.c  lanes: opening, closing, what waits for a receiver
 * net_switch_send.c  from a lane to those that are to have the packet
 * net_switch_hold.c  packets that are out, batches of them, and how they come home
 * net_switch_fdb.c   which address is behind which port
 *
 * A port is a device; a lane is one of its queue pairs, and belongs to that pair's loop. A packet
 * is copied once, from the sender's buffers into the receiver's, by the receiver's loop. When both
 * lanes are on one loop that happens inside of send(). Else a batch of references to the sender's
 * packets is posted to the receiver's loop, and posted back when they are not needed any more. A
 * receiver without buffers keeps the batch for SWITCH_WAIT_NS; then its packets are lost, and from
 * there on others are lost at once, until it has buffers again. So nobody waits for anybody for
 * longer.
 *
 * Who owns what. A batch is its sender's but while its state is BUSY, when the receiver's loop
 * copies; the sender can take it back in any other state (revoke), and then only the empty shell
 * remains for the receiver to free. Ports and lanes are never freed before their switch, and a
 * switch not while a batch is on its way: a stale pointer leads to a lane that is closed, or
 * somebody else's, and the packet is lost, as on a cable that is pulled.
 *
 * Who attacks: a driver that floods, fills the table of addresses, takes others' addresses, or does
 * not take packets. Each costs it its own bandwidth.
 */
#ifndef BACKEND_NET_SWITCH_H
#define BACKEND_NET_SWITCH_H

#include <stdatomic.h>
#include "backend/backends.h"

#define SWITCH_PORTS 255
#define SWITCH_LANES 128
#define SWITCH_NAME_MAX 32
#define SWITCH_BATCH NET_PACKETS_MAX
/* Pieces of a packet that a batch has room for; what has more gets memory of its own. */
#define SWITCH_IOVS 4
/* Batches that a lane may have at one receiver, so that one receiver cannot use up all. */
#define SWITCH_QUOTA 64
#define SWITCH_WAIT_NS 1000000ull
#define SWITCH_AGING_S 300
#define SWITCH_LEARN_MAX 1024

/* ---- addresses ---- */

#define FDB_BUCKETS 512
#define FDB_WAYS 8

/* Address (48 bits), port + 1 (8 bits), FDB_STATIC; 0: free. */
struct fdb_entry {
	_Atomic uint64_t key;
	_Atomic uint32_t seen_s;
};

struct switch_fdb {
	uint64_t seed; /* no driver knows which addresses meet in a bucket */
	uint32_t aging_s;
	struct fdb_entry entries[FDB_BUCKETS][FDB_WAYS];
	_Atomic uint32_t count[SWITCH_PORTS]; /* learned */
	uint32_t limit[SWITCH_PORTS];	      /* of count; set before the port is seen */
};

#define FDB_NONE (-1)
void fdb_init(struct switch_fdb *fdb, uint32_t aging_s);
/* The port behind @mac, or FDB_NONE. Any loop. */
int fdb_lookup(const struct switch_fdb *fdb, uint64_t mac, uint32_t now_s);
/* A packet from @mac came in at @port. Any loop. True: it was behind another port before. */
bool fdb_learn(struct switch_fdb *fdb, uint64_t mac, unsigned port, uint32_t now_s);
/* @mac is behind @port, and stays there. Control thread. False: no room, or it is another's. */
bool fdb_add_static(struct switch_fdb *fdb, uint64_t mac, unsigned port);
/* Forget a port, or its fixed addresses only. Control thread. */
void fdb_forget(struct switch_fdb *fdb, unsigned port, bool only_static);

/* ---- packets that are out ---- */

/* A packet of a lane that was kept, by as many batches as @refs. The sender's loop's. */
struct switch_hold {
	void *cookie;
	unsigned refs;
	struct switch_hold *next; /* free */
};

enum {
	BATCH_WAITS,  /* its packets are there */
	BATCH_BUSY,   /* the receiver's loop is at it */
	BATCH_WANTED, /* BUSY, and the sender wants it back */
	BATCH_EMPTY,  /* the sender has taken its packets back */
};

struct switch_batch {
	_Atomic unsigned state;
	struct net_switch *sw;
	struct vdpa_loop_msg msg;
	/* Set by the sender before it goes out. */
	struct switch_lane *from, *to;
	struct vdpa_loop *home, *there;
	void (*sent)(void *arg, void *const *cookies, unsigned n);
	void *sent_arg;
	unsigned n;
	struct switch_hold *holds[SWITCH_BATCH];
	struct net_packet pkts[SWITCH_BATCH];
	uint8_t wire[SWITCH_BATCH][NET_HDR_BYTES];
	struct iovec iov[SWITCH_BATCH][SWITCH_IOVS];
	struct list out; /* in from->out: the sender's */
	/* The receiver's, while it waits there. */
	struct switch_batch *next;
	uint64_t deadline_ns;
	unsigned at;   /* packets before this one were delivered, or lost */
	unsigned lost; /* because the receiver has gone */
};

/* ---- ports ---- */

enum lane_stat {
	LANE_RX_PACKETS, /* from the device */
	LANE_RX_BYTES,
	LANE_FLOODED,	 /* of these, to more than one */
	LANE_LOST,	 /* that this lane sent, because a receiver was not there, or stuck */
	LANE_MOVED,	 /* addresses that were elsewhere before */
	LANE_TX_PACKETS, /* to the device */
	LANE_TX_BYTES,
	LANE_TX_DROPPED, /* because the device had no buffers */
	LANE_STATS,
};

struct switch_lane {
	/* Any loop. */
	_Atomic(struct vdpa_loop *) loop; /* NULL: closed */
	_Atomic bool stuck;		  /* packets waited in vain */
	_Atomic uint64_t stats[LANE_STATS];
	/* Set at birth. */
	struct switch_port *sp;
	unsigned index;
	/* The loop's. */
	struct net_port port;
	struct net_port_config config;
	bool blocked;	 /* a send() was cut short */
	bool delivering; /* what is delivered now may make room for more, in vain */
	struct switch_batch *first, **last; /* wait for buffers */
	struct vdpa_loop_timer timer;
	struct list out; /* batches of ours */
	uint8_t nout[SWITCH_PORTS];
	struct switch_batch *free_batches;
	struct switch_hold *free_holds;
	uint64_t learned_mac;
	uint32_t learned_s;
};

struct switch_port {
	struct net_backend be;
	struct net_switch *sw;
	unsigned id;
	bool isolated;
	char name[64];		/* of the device */
	_Atomic unsigned pairs; /* that the device has: no lane is behind them */
	_Atomic bool open;
	_Atomic(struct switch_lane *) lanes[SWITCH_LANES];
};

struct net_switch {
	struct list node;
	struct net_backend_shared *shared;
	char name[SWITCH_NAME_MAX];
	unsigned open; /* ports; the control thread's */
	unsigned next_id;
	_Atomic unsigned away; /* batches that are posted, or wait at a receiver */
	_Atomic unsigned nports;
	_Atomic(struct switch_port *) ports[SWITCH_PORTS];
	struct switch_fdb fdb;
};

static inline struct switch_lane *switch_lane_of(struct net_port *port)
{
	return vdpa_container_of(port, struct switch_lane, port);
}

static inline void lane_count(struct switch_lane *lane, enum lane_stat stat, uint64_t n)
{
	_Atomic uint64_t *c = &lane->stats[stat];

	atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

/* net_switch_port.c: lanes; all on the lane's loop. */
int switch_lane_open(struct net_backend *be, const struct net_port_config *config,
		     struct net_port **out);
void switch_lane_close(struct net_port *port);
void switch_lane_resume(struct net_port *port);
/* How many were taken; none while others wait. */
unsigned switch_lane_deliver(struct switch_lane *lane, const struct net_packet *pkts, unsigned n);
/* @batch waits for @lane's buffers. */
void switch_lane_queue(struct switch_lane *lane, struct switch_batch *batch);

/* net_switch_send.c */
unsigned switch_send_held(struct net_port *port, const struct net_packet *pkts, unsigned n,
			  uint32_t *held);

/* net_switch_hold.c: the sender's loop, if not stated */
/* A hold for a packet that no batch refers to yet; NULL without memory. */
struct switch_hold *switch_hold_new(struct switch_lane *lane, void *cookie);
void switch_hold_free(struct switch_lane *lane, struct switch_hold *hold);
/* An empty batch; NULL without memory. */
struct switch_batch *switch_batch_new(struct switch_lane *from, struct switch_lane *to,
				      struct vdpa_loop *there);
/* Refer to @pkt. False: no memory. */
bool switch_batch_add(struct switch_batch *batch, const struct net_packet *pkt,
		      struct switch_hold *hold);
/* It goes to its receiver, on this loop or another one. */
void switch_batch_go(struct switch_batch *batch);
/* The receiver's loop: may it begin? False: the packets were taken back; @batch is gone. */
bool switch_batch_begin(struct switch_batch *batch);
/* The receiver's loop: it goes on later. False: it is wanted back, so end it. */
bool switch_batch_pause(struct switch_batch *batch);
/* The receiver's loop has done with it. */
void switch_batch_end(struct switch_batch *batch);
void switch_revoke(struct net_port *port);
/* What the lane keeps for use again. */
void switch_lane_trim(struct switch_lane *lane);

#endif
