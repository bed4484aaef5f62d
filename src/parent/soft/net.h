/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-net (virtio 1.3, section 5.1) on a network backend.
 *
 * net.c      what is offered, birth, the management device
 * net_pair.c a queue pair: its port, statistics
 * net_tx.c   from the driver to the backend
 * net_rx.c   from the backend to the driver
 * net_hdr.c  the header of a packet: checks, checksum, segmentation
 * net_soften.c what the backend cannot do for the driver
 * net_change.c another backend for a device that runs
 * net_ctrl.h  the control queue, and what the driver configures by it
 * net_steer.h which of several pairs gets a packet, and how
 *
 * Both queues of a pair live on one loop. Nothing is queued here: a packet that nobody takes stays
 * in the driver's ring (its chain is given back), and is got again when there is room. A backend
 * may hold a packet that it took; its chain is out until net_tx_sent().
 */
#ifndef PARENT_SOFT_NET_H
#define PARENT_SOFT_NET_H

#include <stdatomic.h>
#include <string.h>
#include <uvdpa/backend.h>
#include <uvdpa/compat.h>
#include <uvdpa/soft.h>
#include "base/list.h"

/* With the control queue as many queues as a vhost-user front end can name. */
#define NET_MAX_PAIRS 128
#define NET_BATCH 32
#define NET_ETH_BYTES 14
/* A frame with the largest IP packet, and two VLAN tags; more is no packet. */
#define NET_MAX_FRAME (65535u + NET_ETH_BYTES + 8)
#define NET_MAX_RX_CHAINS 64
#define NET_TX_IOVS 2048

enum net_stat {
	NET_STAT_PACKETS,
	NET_STAT_BYTES,
	NET_STAT_ERRORS,
	NET_STAT_DROPS,
	NET_STAT_OVERRUNS,
	NET_STAT_CSUM, /* a checksum is left to do */
	NET_STAT_GSO,
	NET_STAT_GSO_BYTES,
	NET_STATS,
};

/* The header with its numbers in host order. */
struct net_hdr {
	uint8_t flags, gso_type;
	uint16_t hdr_len, gso_size, csum_start, csum_offset;
};

struct soft_net;
struct soft_add;
struct net_state;
struct net_ctrl;
struct net_ctrl_record;
struct net_steer;
struct net_parcel;

/* A frame in memory of our own: what has to be changed before it is delivered. */
struct net_frame {
	uint8_t *data; /* NET_MAX_FRAME bytes */
	uint32_t len;
};

/* Segments of a packet that the receiver does not take whole. */
struct net_gso {
	struct net_hdr hdr;
	uint32_t header_bytes; /* Ethernet to TCP */
	uint32_t l3, l4;       /* where they start */
	uint32_t segments;
	bool ipv6;
};

/* The pair's loop's, but for the counters. */
struct net_pair {
	struct soft_net *net;
	unsigned index;
	struct net_backend *be;	      /* whose port it has, or will have */
	uint64_t be_offload;	      /* NET_OFFLOAD_* that its send() takes */
	struct net_port *port;	      /* while one of the queues runs */
	struct vdpa_soft_vq *rx, *tx; /* while they run */
	uint32_t rx_num;
	unsigned hdr_bytes;
	uint64_t features;
	bool starved;		  /* a packet waits for receive buffers */
	bool blocked;		  /* the port takes nothing */
	uint32_t next_segment;	  /* of the packet that its port could not deliver yet */
	uint64_t soften;	  /* NET_OFFLOAD_* of the driver that the backend does not take */
	uint32_t next_soft;	  /* segment of the packet that waits for the port */
	uint8_t *frame, *segment; /* NET_MAX_FRAME bytes each */
	struct iovec *iov;	  /* NET_TX_IOVS */
	struct iovec (*plain)[2]; /* NET_BATCH: net_plain_header, and a frame */
	_Atomic uint64_t rx_stats[NET_STATS], tx_stats[NET_STATS];
	/* Of a device with several: net_spread.c. */
	unsigned learned;			   /* batches that were looked at */
	bool waits;				   /* its port, for something else than buffers */
	struct net_pair *waits_for;		   /* its port, for this one's buffers */
	bool wanted;				   /* others wait for its buffers */
	struct net_parcel *parcels, **last_parcel; /* for its receive queue */
	struct net_parcel *free_parcels;
	_Atomic unsigned parcels_out;
	_Atomic uint64_t
		parcels_lost; /* packets; any loop: a parcel may come home to a former one */
	_Atomic(struct vdpa_loop *) port_loop; /* NULL: no port. Any loop. */
	_Atomic bool look_queued;
	struct vdpa_loop *look_loop;
	struct vdpa_loop_msg look_msg;
};

struct soft_net {
	struct vdpa_soft soft;
	struct net_backend *be;
	struct net_backend_info info;
	unsigned npairs;
	struct net_pair *pairs;
	bool filter;		   /* as it begins: see net_state_default() */
	bool intercept;		   /* likewise */
	unsigned announced;	   /* times; the control thread's */
	struct net_change *change; /* under way; the control thread's */
	uint8_t perm_mac[6];	   /* after a reset; the control thread's */
	struct net_ctrl *ctrl;
	struct net_ctrl_record *record;	   /* NULL: commands are not kept; the control thread's */
	_Atomic(struct net_state *) state; /* net_ctrl.h */
	struct net_steer *steer;	   /* NULL: one pair */
};

static inline struct soft_net *to_net(struct vdpa_soft *dev)
{
	return vdpa_container_of(dev, struct soft_net, soft);
}

static inline void net_count(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

/* net_pair.c */
int net_pairs_new(struct soft_net *net);
void net_pairs_free(struct soft_net *net);
int net_start(struct vdpa_soft *dev, struct vdpa_soft_vq *vq);
void net_stop(struct vdpa_soft *dev, struct vdpa_soft_vq *vq);
void net_reclaim(struct vdpa_soft *dev, struct vdpa_soft_vq *vq);
void net_stopped(struct vdpa_soft *dev, struct vdpa_soft_vq *vq);
bool net_run(struct vdpa_soft *dev, struct vdpa_soft_vq *vq, unsigned budget);
void net_vq_stats(struct vdpa_soft *dev, struct vdpa_soft_vq *vq, vdpa_stat_fn emit, void *arg);
uint64_t net_offload(uint64_t features, bool guest);

/* Is there a port now? With none, nothing is taken from the ring. [q] */
int net_port_open(struct net_pair *pair, struct vdpa_loop *loop);
void net_port_close(struct net_pair *pair);

/* net_soften.c: bytes of a packet, from byte @skip on; how many there were. */
size_t net_packet_copy(const struct net_packet *pkt, uint64_t skip, uint8_t *to, size_t len);
/* send(), for packets that the backend does not take as they are. */
unsigned net_send_softened(struct net_pair *pair, const struct net_packet *pkts, unsigned n);
/* As the backend's send_held(). [q] */
static inline unsigned net_send(struct net_pair *pair, const struct net_packet *pkts, unsigned n,
				uint32_t *held)
{
	const struct net_backend_ops *ops = pair->be->ops;

	if (ops->send_held)
		return ops->send_held(pair->port, pkts, n, held);
	if (pair->soften)
		return net_send_softened(pair, pkts, n);
	return ops->send(pair->port, pkts, n);
}

/* net.c */
/* What the backend is opened with, and its device's address told. */
struct backend_open_params net_open_params(const struct soft_add *add);
/*
 * Have the network told where the NIC is: by the backend, and by the driver, who knows more
 * addresses than one (5.1.6.5.4).
 */
int net_announce(struct vdpa_soft *dev, const uint8_t mac[6]);
/* Is it the address of a station? */
bool net_mac_valid(const uint8_t mac[6]);
void net_tell_mac(struct net_backend *be, const uint8_t mac[6]);

/* net_change.c */
/* Open another backend, and move to it: for soft_add(). @arg: the struct soft_net. */
int net_change_backend(void *arg, const struct soft_add *add, struct vdpa_error *err);
/* Watch the backend's link, and show it to the driver. Control thread. */
void net_link_watch(struct soft_net *net);

/* net_tx.c, net_rx.c */
bool net_tx_run(struct net_pair *pair, unsigned budget);
void net_tx_sent(void *arg, void *const *cookies, unsigned n);
unsigned net_rx_deliver(void *arg, const struct net_packet *pkts, unsigned n);
/*
 * Into the receive queue of @pair: how many were taken. @next: segments of the first one that the
 * driver has already; afterwards of the first that was not taken.
 */
unsigned net_rx_put(struct net_pair *pair, const struct net_packet *pkts, unsigned n,
		    uint32_t *next);
static inline bool net_rx_bad_length(const struct net_packet *pkt)
{
	return pkt->len_bytes < NET_HDR_BYTES + NET_ETH_BYTES ||
	       pkt->len_bytes > NET_HDR_BYTES + (uint64_t)NET_MAX_FRAME;
}

/* net_hdr.c */
/* What is in front of a packet that leaves nothing to anybody to do. */
extern const uint8_t net_plain_header[NET_HDR_BYTES];
/* Neither a checksum nor segments are left to do: then the other words mean nothing. */
static inline bool net_hdr_plain(const uint8_t *wire)
{
	return !(wire[0] & VIRTIO_NET_HDR_F_NEEDS_CSUM) && wire[1] == VIRTIO_NET_HDR_GSO_NONE;
}
/* A packet of @len bytes left something to do: for the statistics. */
static inline void net_count_offload(_Atomic uint64_t *stats, const uint8_t *wire, uint64_t len)
{
	if (wire[0] & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		net_count(&stats[NET_STAT_CSUM], 1);
	if (wire[1] == VIRTIO_NET_HDR_GSO_NONE)
		return;
	net_count(&stats[NET_STAT_GSO], 1);
	net_count(&stats[NET_STAT_GSO_BYTES], len);
}
/* The count of buffers, the last word (5.1.6.4). */
static inline void net_hdr_put_buffers(uint8_t wire[NET_HDR_BYTES], uint16_t n)
{
	wire[10] = (uint8_t)n;
	wire[11] = (uint8_t)(n >> 8);
}
void net_hdr_get(struct net_hdr *hdr, const uint8_t wire[NET_HDR_BYTES]);
void net_hdr_put(const struct net_hdr *hdr, uint16_t num_buffers, uint8_t wire[NET_HDR_BYTES]);
/*
 * Is what the driver says of its packet of @len bytes possible, with the features that it
 * negotiated? @hdr is cleaned of what means nothing.
 */
bool net_hdr_valid(struct net_hdr *hdr, uint64_t features, uint64_t len);
/* Fill the checksum that the header leaves to others; the header says so afterwards. */
bool net_csum_fill(struct net_hdr *hdr, struct net_frame *frame);
/* How is @frame cut into segments? False: it is not what its header says. */
bool net_gso_plan(struct net_gso *gso, const struct net_hdr *hdr, const struct net_frame *frame);
/* Build segment @i of @frame in @to. */
void net_gso_build(const struct net_gso *gso, const struct net_frame *frame, uint32_t i,
		   struct net_frame *to);

#endif
