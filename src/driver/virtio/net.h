/* SPDX-License-Identifier: BSD-3-Clause */
/* The virtio-net driver's own. */
#ifndef DRIVER_VIRTIO_NET_H
#define DRIVER_VIRTIO_NET_H

#include "driver/virtio/device.h"

#define NET_HDR ((size_t)sizeof(struct virtio_net_hdr_v1))
/* Ethernet header, with a VLAN tag. */
#define ETH_HDR_MAX 18u
#define GSO_FRAME_MAX 65550u

#define net_count(counter, n) atomic_fetch_add_explicit(&(counter), (n), memory_order_relaxed)
#define net_get_count(counter) atomic_load_explicit(&(counter), memory_order_relaxed)

/* A buffer for one packet (or, mergeable, a piece of one). */
struct net_buf {
	uint8_t *mem;
	iova_t iova;
	uint16_t next; /* tx: free ones */
};

enum virtio_net_state {
	NET_RUNNING,
	NET_STOPPED, /* a reset is coming, or has been */
};

/* One pair of queues: its thread's ([q]), but @state. */
struct virtio_net_pair {
	struct virtio_net *net;
	unsigned index;
	struct virtio_vq *rx, *tx;
	struct net_buf *rx_bufs, *tx_bufs;
	void *rx_mem, *tx_mem;
	size_t rx_buf_bytes, tx_buf_bytes;
	unsigned ntx;
	uint16_t tx_free; /* ntx: none */
	bool tx_refused;  /* somebody waits for room */

	/* The packet that is being put together. */
	struct iovec *parts;	     /* rx->num */
	struct net_buf **part_bufs;  /* rx->num */
	unsigned nparts, want_parts; /* want 0: none begun */
	size_t packet_len;
	struct virtio_net_offload offload;
	bool discard; /* it is malformed: only give its buffers back */

	_Atomic int state;
	_Atomic bool rx_off, tx_off; /* that queue alone is being reset */
	_Atomic uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes, rx_errors, rx_dropped, tx_full;
};

/* The control queue: the control thread's. */
struct virtio_net_cvq {
	struct virtio_vq *vq; /* NULL: there is none */
	uint8_t *out, *in;
	iova_t out_iova, in_iova;
	bool busy;
	bool ack_wanted; /* the device asked for an announcement, which was made */
	struct virtio_net_command cmd;
	struct vdpa_loop_timer timer;
};

struct virtio_net {
	struct virtio_device *dev;
	struct virtio_net_cvq cvq;
	unsigned max_pairs; /* that the device has */
	struct virtio_net_info info;
	struct virtio_net_pair *pairs;
	virtio_net_rx_fn on_rx;
	void *on_rx_arg;
	void (*on_room)(void *arg, unsigned pair);
	void *on_room_arg;
	void (*on_change)(void *arg);
	void *on_change_arg;
};

/* net_rx.c */
int net_rx_init(struct virtio_net_pair *p, struct vdpa_error *err);
void net_rx_fill(struct virtio_net_pair *p);
unsigned net_rx_reap(struct virtio_net_pair *p, unsigned max);
void net_rx_used(struct virtio_vq *vq);
void net_rx_free(struct virtio_net_pair *p);
/* The ring is empty, and of another size maybe. 0, -EINVAL (too small) or -ENOMEM. */
int net_rx_restart(struct virtio_net_pair *p);

/* net_tx.c */
int net_tx_init(struct virtio_net_pair *p, struct vdpa_error *err);
void net_tx_reap(struct virtio_net_pair *p);
/* Reap, and tell who waits for room. */
void net_tx_done(struct virtio_net_pair *p);
void net_tx_used(struct virtio_vq *vq);
void net_tx_free(struct virtio_net_pair *p);
int net_tx_restart(struct virtio_net_pair *p);

/* net_cvq.c */
int net_cvq_init(struct virtio_net *net, struct vdpa_error *err);
/* A command that is out ends with -EIO. */
void net_cvq_end(struct virtio_net *net);
void net_cvq_free(struct virtio_net *net);
/* DRIVER_OK: tell the device how many pairs are in use. */
void net_cvq_ready(struct virtio_net *net);
/* The device asks for an announcement (5.1.6.5.4). */
void net_cvq_announce(struct virtio_net *net);

#endif
