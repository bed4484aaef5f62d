/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A network namespace of the test's own, and the kernel's end of its interfaces. The first test
 * that needs a namespace calls netns_enter(), which ends the program with 77 where the kernel makes
 * none.
 */
#ifndef TESTS_NETNS_H
#define TESTS_NETNS_H

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Run a command of iproute2; it has to work. */
static inline void netns_ip(const char *args)
{
	char line[256];

	snprintf(line, sizeof(line), "ip %s", args);
	if (system(line))
		fail_msg("%s", line);
}

/* A setup function of cmocka's. What an earlier test left behind stays in its namespace. */
static inline int netns_fresh(void **state)
{
	/* What the kernel says by itself, about IPv6, would only be in the way. */
	return unshare(CLONE_NEWNET) ||
	       system("echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6; ip link set lo up");
}

/* Be root, if only of a user namespace of our own. */
static inline void netns_enter(void)
{
	if (geteuid() && unshare(CLONE_NEWUSER)) {
		perror("no user namespace");
		exit(77);
	}
	if (netns_fresh(NULL)) {
		perror("no network namespace");
		exit(77);
	}
	if (access("/dev/net/tun", R_OK | W_OK)) {
		perror("/dev/net/tun");
		exit(77);
	}
}

static inline int netns_tap_fd(const char *ifname, short flags)
{
	struct ifreq ifr = {.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | flags)};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	strcpy(ifr.ifr_name, ifname);
	assert_int_equal(ioctl(fd, TUNSETIFF, &ifr), 0);
	return fd;
}

/* All packets of an interface, with the header that says what the kernel left to do. */
static inline int netns_packet(const char *ifname, bool vnet_hdr)
{
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL)), one = 1;
	struct sockaddr_ll ll = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = (int)if_nametoindex(ifname),
	};

	assert_true(fd >= 0 && ll.sll_ifindex);
	if (vnet_hdr)
		assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&ll, sizeof(ll)), 0);
	return fd;
}

/* The interface has 10.7.0.1/24, and knows 10.7.0.2 to have the address @mac. */
static inline void netns_addr(const char *ifname, const char *mac)
{
	char line[128];

	snprintf(line, sizeof(line), "addr add 10.7.0.1/24 dev %s", ifname);
	netns_ip(line);
	snprintf(line, sizeof(line), "neigh replace 10.7.0.2 lladdr %s dev %s nud permanent", mac,
		 ifname);
	netns_ip(line);
}

static inline void netns_mac(const char *ifname, uint8_t mac[6])
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = {0};

	strcpy(ifr.ifr_name, ifname);
	assert_int_equal(ioctl(fd, SIOCGIFHWADDR, &ifr), 0);
	memcpy(mac, ifr.ifr_hwaddr.sa_data, 6);
	close(fd);
}

#endif
