/* SPDX-License-Identifier: BSD-3-Clause */
/* What the kernel says of a network interface: is there a link, how large may a packet be. */
#ifndef BACKEND_NET_LINK_H
#define BACKEND_NET_LINK_H

#include <net/if.h>
#include <uvdpa/loop.h>

/* Everything is the control loop's. */
struct net_link {
	struct vdpa_loop_fd lfd; /* not watched: nothing is known of the interface */
	int fd;
	unsigned ifindex;
	bool up;      /* administratively, and there is a carrier */
	uint16_t mtu; /* 0: unknown */
	void (*changed)(struct net_link *link);
};

/*
 * Learn the state of interface @ifindex of our network namespace, and tell @changed from now on, on
 * the @control loop. Returns 0 or -errno; net_link_close() undoes it.
 */
int net_link_open(struct net_link *link, struct vdpa_loop *control, unsigned ifindex,
		  void (*changed)(struct net_link *link));
void net_link_close(struct net_link *link);

/* Of interface @ifname: bring it up, give it an MTU. 0 or -errno. */
int net_link_set_up(const char *ifname);
int net_link_set_mtu(const char *ifname, uint16_t mtu);

#endif
