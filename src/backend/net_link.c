// SPDX-License-Identifier: BSD-3-Clause
/*
 * The kernel tells of every interface of the namespace over rtnetlink; one of them is ours. The
 * same socket asks for the state at the beginning, and again when messages were lost.
 *
 * Who attacks: nobody but the kernel can send to us; what does not come from it is ignored.
 */
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "backend/net_link.h"
#include "base/fd.h"
#include "base/list.h"

#ifndef IFF_LOWER_UP
#define IFF_LOWER_UP (1u << 16) /* linux/if.h, which does not go together with net/if.h */
#endif
#define LINK_MESSAGES_MAX 64 /* per turn */

/* Attributes of a link, @len bytes: its MTU, 0 without one. */
static uint16_t mtu_of(const char *at, size_t len)
{
	struct rtattr a;
	uint32_t mtu = 0;

	while (len >= sizeof(a)) {
		memcpy(&a, at, sizeof(a));
		if (a.rta_len < sizeof(a) || a.rta_len > len)
			break;
		if (a.rta_type == IFLA_MTU && a.rta_len >= RTA_LENGTH(sizeof(mtu)))
			memcpy(&mtu, at + RTA_LENGTH(0), sizeof(mtu));
		if (RTA_ALIGN(a.rta_len) >= len)
			break;
		at += RTA_ALIGN(a.rta_len);
		len -= RTA_ALIGN(a.rta_len);
	}
	return mtu < UINT16_MAX ? (uint16_t)mtu : UINT16_MAX;
}

/* A message at @at, as long as its header says. */
static void take_message(struct net_link *link, const char *at, const struct nlmsghdr *nlh)
{
	const unsigned both = IFF_UP | IFF_LOWER_UP;
	struct ifinfomsg ifi;

	if ((nlh->nlmsg_type != RTM_NEWLINK && nlh->nlmsg_type != RTM_DELLINK) ||
	    nlh->nlmsg_len < NLMSG_LENGTH(sizeof(ifi)))
		return;
	memcpy(&ifi, at + NLMSG_HDRLEN, sizeof(ifi));
	/* A bridge tells of its ports with a family of its own: "deleted" is from the bridge. */
	if (ifi.ifi_family != AF_UNSPEC || (unsigned)ifi.ifi_index != link->ifindex)
		return;
	if (nlh->nlmsg_type == RTM_DELLINK) {
		link->up = false;
		return;
	}
	link->up = (ifi.ifi_flags & both) == both;
	link->mtu = mtu_of(at + NLMSG_SPACE(sizeof(ifi)),
			   nlh->nlmsg_len > NLMSG_SPACE(sizeof(ifi))
				   ? nlh->nlmsg_len - NLMSG_SPACE(sizeof(ifi))
				   : 0);
}

static void take_messages(struct net_link *link, const char *at, size_t len)
{
	struct nlmsghdr nlh;

	while (len >= sizeof(nlh)) {
		memcpy(&nlh, at, sizeof(nlh));
		if (nlh.nlmsg_len < sizeof(nlh) || nlh.nlmsg_len > len)
			break;
		take_message(link, at, &nlh);
		if (NLMSG_ALIGN(nlh.nlmsg_len) >= len)
			break;
		at += NLMSG_ALIGN(nlh.nlmsg_len);
		len -= NLMSG_ALIGN(nlh.nlmsg_len);
	}
}

/* Returns 0 when there is nothing more, 1 when there was something, or -errno. */
static int take_datagram(struct net_link *link)
{
	char buf[16384];
	struct sockaddr_nl from = {0};
	socklen_t len = sizeof(from);
	ssize_t n =
		recvfrom(link->fd, buf, sizeof(buf), MSG_DONTWAIT, (struct sockaddr *)&from, &len);

	if (n < 0)
		return errno == EAGAIN ? 0 : errno == EINTR ? 1 : -errno;
	if (!from.nl_pid)
		take_messages(link, buf, (size_t)n);
	return 1;
}

static int ask(struct net_link *link)
{
	struct {
		struct nlmsghdr nlh;
		struct ifinfomsg ifi;
	} req = {
		.nlh = {.nlmsg_len = sizeof(req),
			.nlmsg_type = RTM_GETLINK,
			.nlmsg_flags = NLM_F_REQUEST},
		.ifi = {.ifi_family = AF_UNSPEC, .ifi_index = (int)link->ifindex},
	};

	return send(link->fd, &req, sizeof(req), MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* The kernel answers within ask(), so what is asked for is there already. */
static void take_all(struct net_link *link)
{
	int r = 1;

	for (unsigned i = 0; r > 0 && i < LINK_MESSAGES_MAX; i++) {
		r = take_datagram(link);
		if (r == -ENOBUFS)
			r = ask(link) ? 0 : 1;
	}
}

static void on_message(struct vdpa_loop_fd *lfd, uint32_t revents)
{
	struct net_link *link = vdpa_container_of(lfd, struct net_link, lfd);
	uint16_t mtu = link->mtu;
	bool up = link->up;

	take_all(link);
	if (up != link->up || mtu != link->mtu)
		link->changed(link);
}

int net_link_open(struct net_link *link, struct vdpa_loop *control, unsigned ifindex,
		  void (*changed)(struct net_link *link))
{
	struct sockaddr_nl addr = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
	int r;

	memset(link, 0, sizeof(*link));
	link->ifindex = ifindex;
	link->changed = changed;
	link->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	if (link->fd < 0)
		return -errno;
	r = bind(link->fd, (struct sockaddr *)&addr, sizeof(addr)) ? -errno : ask(link);
	if (!r) {
		take_all(link);
		r = vdpa_loop_fd_add(control, &link->lfd, link->fd, EPOLLIN, on_message);
	}
	if (r)
		vdpa_fd_close(&link->fd);
	return r;
}

void net_link_close(struct net_link *link)
{
	if (!link->lfd.loop)
		return;
	vdpa_loop_fd_del(&link->lfd);
	vdpa_fd_close(&link->fd);
}

static int if_ioctl(unsigned long request, struct ifreq *ifr)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), r;

	if (fd < 0)
		return -errno;
	r = ioctl(fd, request, ifr) ? -errno : 0;
	close(fd);
	return r;
}

int net_link_set_up(const char *ifname)
{
	struct ifreq ifr = {0};
	int r;

	strncpy(ifr.ifr_name, ifname, IFNAMSIZ - 1);
	r = if_ioctl(SIOCGIFFLAGS, &ifr);
	if (r)
		return r;
	ifr.ifr_flags |= IFF_UP;
	return if_ioctl(SIOCSIFFLAGS, &ifr);
}

int net_link_set_mtu(const char *ifname, uint16_t mtu)
{
	struct ifreq ifr = {0};

	strncpy(ifr.ifr_name, ifname, IFNAMSIZ - 1);
	ifr.ifr_mtu = mtu;
	return if_ioctl(SIOCSIFMTU, &ifr);
}
