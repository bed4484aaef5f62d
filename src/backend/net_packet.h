/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A network interface of this machine, by packet sockets: the guest is where the interface's wire
 * goes to. What comes in by the interface is the guest's (the host gets its own copy), what the
 * guest sends goes out. Packets are received in a ring that the kernel shares with us
 * (TPACKET_V3), a block at a time, and delivered out of it; a block goes back when the device has
 * all of it. The kernel says in a virtio header what it left to do, and does what the guest's
 * header says (PACKET_VNET_HDR).
 *
 * Several queue pairs are a fanout group of sockets, by flow, of those whose ports are open. A
 * socket cannot leave its group, so it is closed with its port, and the next port makes a new one.
 *
 * Who attacks: the network, whose frames are data; the guest, by its headers: the kernel checks
 * them, and what it refuses is counted.
 */
#ifndef BACKEND_NET_PACKET_H
#define BACKEND_NET_PACKET_H

#include <pthread.h>
#include "backend/net_io.h"
#include "backend/net_link.h"

#define PACKET_MAX_PAIRS 128

struct packet_if {
	struct net_backend be;
	char ifname[IFNAMSIZ];
	unsigned ifindex;
	unsigned pairs;
	bool promisc;
	struct net_link link;
	void (*changed)(void *arg);
	void *arg;
	int fd; /* receives nothing: for announcements */

	/* Under the lock. */
	pthread_mutex_t lock;
	int fds[PACKET_MAX_PAIRS]; /* made, and not used yet; -1: none */
	int group;		   /* fanout; -1: none */
	unsigned members;

	struct net_io_stats stats;
};

static inline struct packet_if *to_packet_if(struct net_backend *be)
{
	return vdpa_container_of(be, struct packet_if, be);
}

/* A socket that receives nothing yet. fd or -errno. */
int net_packet_socket(void);

int net_packet_port_open(struct net_backend *be, const struct net_port_config *config,
			 struct net_port **out);
void net_packet_port_close(struct net_port *port);

#endif
