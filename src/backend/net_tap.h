/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A tap interface of Linux. Each queue pair has a descriptor of the interface; with several the
 * kernel spreads flows over those that are attached, which a pair's is while its port is open.
 * Packets carry the virtio header on both ways (IFF_VNET_HDR), 12 bytes, little endian: what the
 * guest and the interface can do, no byte of a frame is touched for here.
 *
 * Who attacks: the guest, by its headers: the kernel checks them, and what it refuses is counted.
 */
#ifndef BACKEND_NET_TAP_H
#define BACKEND_NET_TAP_H

#include "backend/net_io.h"
#include "backend/net_link.h"

#define TAP_MAX_PAIRS 128
#define TAP_MAX_FDS 8 /* that are given: each has an attribute */

struct tap {
	struct net_backend be;
	int fd[TAP_MAX_PAIRS];
	unsigned nfds;
	char ifname[IFNAMSIZ];
	bool multi_queue;
	struct net_link link; /* not watched: the interface is in another namespace */
	void (*changed)(void *arg);
	void *arg;
	_Atomic unsigned offload; /* TUN_F_*, as the interface has them */
	struct net_io_stats stats;
};

struct tap_port {
	struct net_io io;
	int fd; /* the backend's */
	uint8_t *mem;
	struct iovec iov[NET_IO_BATCH];
};

static inline struct tap *to_tap(struct net_backend *be)
{
	return vdpa_container_of(be, struct tap, be);
}

int net_tap_open(const struct backend_open_params *params, struct net_backend **out,
		 struct vdpa_error *err);
void net_tap_close(struct net_backend *be);

#endif
