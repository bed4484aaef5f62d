/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A port on a file descriptor: what tap, socket and packet share. Packets are received in batches
 * into memory of the port's own; what the device has no buffers for is held, and the descriptor is
 * not looked at until there are some. What the descriptor does not take stays with the device,
 * until it is writable.
 */
#ifndef BACKEND_NET_IO_H
#define BACKEND_NET_IO_H

#include <stdatomic.h>
#include "backend/backends.h"

#define NET_IO_BATCH NET_PACKETS_MAX
#define NET_IO_BUDGET 128 /* packets received per turn */
/* A header and the largest frame: an IP packet of 64 KiB, Ethernet, two VLAN tags. */
#define NET_IO_BYTES (NET_HDR_BYTES + 65535u + 14 + 8)
#define NET_IO_FRAME_MIN 14

struct net_io;

struct net_io_ops {
	/*
	 * Receive into io->pkts, at most NET_IO_BATCH: how many; 0: there are none now; -errno:
	 * none will come any more.
	 */
	int (*fill)(struct net_io *io);
	/*
	 * Send from the front: how many were taken. What cannot be sent at all is dropped, counted
	 * and taken. Fewer than @n: when the descriptor is writable.
	 */
	unsigned (*transmit)(struct net_io *io, const struct net_packet *pkts, unsigned n);
	/* The descriptor is writable: go on with what transmit() began (io->unsent). */
	void (*flush)(struct net_io *io);
	/* The descriptor has an error, or its other end is gone. NULL: it is not used any more. */
	void (*hangup)(struct net_io *io);
};

/* Packets that went nowhere, of a backend's ports on any loop. */
struct net_io_stats {
	_Atomic uint64_t rx_dropped, tx_dropped;
};

/* The port's loop's. */
struct net_io {
	struct net_port port;
	struct net_port_config config;
	const struct net_io_ops *ops;
	struct net_io_stats *stats;
	struct vdpa_loop_fd lfd;
	struct vdpa_loop_poller more; /* while a turn was too short */
	struct net_packet pkts[NET_IO_BATCH];
	unsigned first, n; /* of pkts: held */
	bool open;	   /* there is a descriptor; it is watched, but for one that hung up */
	bool starved;	   /* the device has no buffers */
	bool blocked;	   /* the descriptor takes nothing */
	bool unsent;	   /* part of a packet that was taken is not sent yet */
	uint8_t *bounce;   /* NET_IO_BYTES, made when needed */
};

static inline struct net_io *to_net_io(struct net_port *port)
{
	return vdpa_container_of(port, struct net_io, port);
}

/* The beginning and end of a port; in between its descriptor may come and go. */
void net_io_init(struct net_io *io, struct net_backend *be, const struct net_port_config *config,
		 const struct net_io_ops *ops, struct net_io_stats *stats);
/* What is held is dropped and counted. */
void net_io_fini(struct net_io *io);
/* The same, of a port that goes on. */
void net_io_discard(struct net_io *io);
int net_io_attach(struct net_io *io, int fd);
void net_io_detach(struct net_io *io);

/* As in struct net_backend_ops. Without a descriptor what is sent is dropped. */
unsigned net_io_send(struct net_port *port, const struct net_packet *pkts, unsigned n);
void net_io_resume(struct net_port *port);
bool net_io_poll(struct net_port *port);

/* One turn of receiving: was there anything? */
bool net_io_receive(struct net_io *io);
/* A packet of our own, if there is room for it just now. */
void net_io_push(struct net_io *io, const struct net_packet *pkt);
static inline void net_io_drop(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* @pkt without its first @skip bytes: pieces in @to, at most @max; their number, 0: too many. */
unsigned net_io_pieces(const struct net_packet *pkt, uint64_t skip, struct iovec *to, unsigned max);
/* Copy @len bytes of @pkt from byte @skip on; how many there were. */
size_t net_io_copy(const struct net_packet *pkt, uint64_t skip, void *to, size_t len);
/* All of @pkt but @skip bytes, in one piece of the port's memory. NULL: no memory, or too long. */
uint8_t *net_io_linear(struct net_io *io, const struct net_packet *pkt, uint64_t skip, size_t *len);

void net_io_show(const struct net_io_stats *stats,
		 void (*emit)(void *arg, const char *key, const char *value), void *arg);

/* Who has @mac is here: a frame that says so to all (RARP, RFC 903), without header. */
#define NET_RARP_BYTES 60
void net_io_rarp(const uint8_t mac[6], uint8_t frame[NET_RARP_BYTES]);

#endif
