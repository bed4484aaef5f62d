// SPDX-License-Identifier: BSD-3-Clause
/* A network interface by packet sockets: finding it, and what it is (net_packet.h). */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if_arp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "backend/net_packet.h"
#include "base/fd.h"

int net_packet_socket(void)
{
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1, r;

	if (fd < 0)
		return -errno;
	if (!setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)))
		return fd;
	r = -errno;
	close(fd);
	return r;
}

/* ---- birth ---- */

static int find_interface(struct packet_if *pi, const char *object, struct vdpa_error *err)
{
	struct ifreq ifr = {0};

	pi->ifindex = if_nametoindex(pi->ifname);
	if (!pi->ifindex)
		return vdpa_error_set(err, ENODEV, object, "there is no interface %s", pi->ifname);
	memcpy(ifr.ifr_name, pi->ifname, IFNAMSIZ);
	if (ioctl(pi->fd, SIOCGIFHWADDR, &ifr))
		return vdpa_error_set(err, errno, object, "interface %s: %s", pi->ifname,
				      strerror(errno));
	if (ifr.ifr_hwaddr.sa_family != ARPHRD_ETHER && ifr.ifr_hwaddr.sa_family != ARPHRD_LOOPBACK)
		return vdpa_error_set(err, EINVAL, object,
				      "interface %s has no Ethernet frames: its type is %u",
				      pi->ifname, ifr.ifr_hwaddr.sa_family);
	return 0;
}

/* All that this program needs its capability for, but for queues that stop and start again. */
static int make_sockets(struct packet_if *pi, const char *object, struct vdpa_error *err)
{
	pi->fd = net_packet_socket();
	for (unsigned i = 0; i < pi->pairs && pi->fd >= 0; i++) {
		pi->fds[i] = net_packet_socket();
		if (pi->fds[i] < 0)
			return vdpa_error_set(err, -pi->fds[i], object, "packet socket: %s",
					      strerror(-pi->fds[i]));
	}
	if (pi->fd == -EPERM)
		return vdpa_error_set(
			err, EPERM, object,
			"the packets of interface %s are for programs with CAP_NET_RAW",
			pi->ifname);
	return pi->fd < 0 ? vdpa_error_set(err, -pi->fd, object, "packet socket: %s",
					   strerror(-pi->fd))
			  : 0;
}

static void link_changed(struct net_link *link)
{
	struct packet_if *pi = vdpa_container_of(link, struct packet_if, link);

	if (pi->changed)
		pi->changed(pi->arg);
}

static void packet_close(struct net_backend *be)
{
	struct packet_if *pi = to_packet_if(be);

	net_link_close(&pi->link);
	vdpa_fd_close(&pi->fd);
	for (unsigned i = 0; i < PACKET_MAX_PAIRS; i++)
		vdpa_fd_close(&pi->fds[i]);
	pthread_mutex_destroy(&pi->lock);
	free(pi);
}

static struct packet_if *packet_new(const struct backend_open_params *params)
{
	const char *ifname = vdpa_attr_get(params->attrs, "ifname");
	struct packet_if *pi = calloc(1, sizeof(*pi));

	if (!pi)
		return NULL;
	pi->be.ops = &net_packet_ops;
	memcpy(pi->ifname, ifname, strnlen(ifname, IFNAMSIZ - 1));
	pi->pairs = params->pairs ? params->pairs : 1;
	pi->promisc = vdpa_attr_bool(params->attrs, "promisc", true);
	pi->fd = pi->group = -1;
	for (unsigned i = 0; i < PACKET_MAX_PAIRS; i++)
		pi->fds[i] = -1;
	pthread_mutex_init(&pi->lock, NULL);
	return pi;
}

static int packet_open(const struct backend_open_params *params, struct net_backend **out,
		       struct vdpa_error *err)
{
	struct packet_if *pi;
	int r;

	if (params->pairs > PACKET_MAX_PAIRS)
		return vdpa_error_set(err, EINVAL, params->name,
				      "max_vqp %u: this backend takes 1 to %d", params->pairs,
				      PACKET_MAX_PAIRS);
	pi = packet_new(params);
	if (!pi)
		return vdpa_error_set(err, ENOMEM, params->name, "no memory for the backend");
	r = make_sockets(pi, params->name, err);
	if (!r)
		r = find_interface(pi, params->name, err);
	if (!r) {
		r = net_link_open(&pi->link, vdpa_loop_group_control(params->loops), pi->ifindex,
				  link_changed);
		if (r)
			vdpa_error_set(err, -r, params->name, "interface %s: no news of it: %s",
				       pi->ifname, strerror(-r));
	}
	if (r) {
		packet_close(&pi->be);
		return r;
	}
	*out = &pi->be;
	return 0;
}

/* ---- what it is ---- */

static void packet_get_info(struct net_backend *be, struct net_backend_info *info)
{
	const struct packet_if *pi = to_packet_if(be);

	*info = (struct net_backend_info){
		.offload = NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6 | NET_OFFLOAD_ECN,
		.mtu = pi->link.mtu,
		.link_up = pi->link.up,
		.max_pairs = pi->pairs,
	};
}

static void packet_watch(struct net_backend *be, void (*changed)(void *arg), void *arg)
{
	struct packet_if *pi = to_packet_if(be);

	pi->changed = changed;
	pi->arg = arg;
}

static int packet_announce(struct net_backend *be, const uint8_t mac[6])
{
	struct packet_if *pi = to_packet_if(be);
	struct sockaddr_ll to = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_RARP),
		.sll_ifindex = (int)pi->ifindex,
	};
	/* The header of a packet socket has no num_buffers. */
	uint8_t packet[NET_HDR_BYTES - 2 + NET_RARP_BYTES] = {0};

	net_io_rarp(mac, packet + NET_HDR_BYTES - 2);
	return sendto(pi->fd, packet, sizeof(packet), MSG_NOSIGNAL, (struct sockaddr *)&to,
		      sizeof(to)) < 0
		       ? -errno
		       : 0;
}

static void packet_show(struct net_backend *be,
			void (*emit)(void *arg, const char *key, const char *value), void *arg)
{
	struct packet_if *pi = to_packet_if(be);

	emit(arg, "ifname", pi->ifname);
	emit(arg, "promisc", pi->promisc ? "on" : "off");
	net_io_show(&pi->stats, emit, arg);
}

static const struct vdpa_attr_spec packet_attrs[] = {
	{.name = "ifname",
	 .type = VDPA_ATTR_STRING,
	 .required = true,
	 .help = "interface with Ethernet frames"},
	{.name = "promisc",
	 .type = VDPA_ATTR_BOOL,
	 .help = "have the interface receive what is for other addresses than its own (default on: "
		 "the guest's is another one)"},
	{0},
};

const struct net_backend_ops net_packet_ops = {
	.name = "packet",
	.help = "an interface of this machine, by packet sockets",
	.attrs = packet_attrs,
	.open = packet_open,
	.close = packet_close,
	.get_info = packet_get_info,
	.port_open = net_packet_port_open,
	.port_close = net_packet_port_close,
	.send = net_io_send,
	.resume = net_io_resume,
	.poll = net_io_poll,
	.announce = packet_announce,
	.watch = packet_watch,
	.show = packet_show,
};
