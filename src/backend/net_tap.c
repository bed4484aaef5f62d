// SPDX-License-Identifier: BSD-3-Clause
/* A tap interface: its ports (net_tap.h). */
#include <errno.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>
#include "backend/net_tap.h"

#define TAP_PIECES 1024 /* UIO_MAXIOV */

static struct tap_port *to_tap_port(struct net_port *port)
{
	return vdpa_container_of(to_net_io(port), struct tap_port, io);
}

/* ---- packets ---- */

static int tap_fill(struct net_io *io)
{
	struct tap_port *tp = vdpa_container_of(io, struct tap_port, io);
	unsigned n = 0;

	while (n < NET_IO_BATCH) {
		uint8_t *buf = tp->mem + (size_t)n * NET_IO_BYTES;
		ssize_t r = read(tp->fd, buf, NET_IO_BYTES);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0 && errno != EAGAIN && !n)
			return -errno; /* the interface is gone */
		if (r < 0)
			break;
		/* "Was found right" is for drivers that do checksums (virtio 1.3, 5.1.6.4.1). */
		if (!(io->config.offload & NET_OFFLOAD_CSUM) && r)
			buf[0] &= VIRTIO_NET_HDR_F_NEEDS_CSUM;
		tp->iov[n] = (struct iovec){buf, (size_t)r};
		io->pkts[n] = (struct net_packet){&tp->iov[n], 1, (uint64_t)r, NULL};
		n++;
	}
	return (int)n;
}

static ssize_t tap_write(struct net_io *io, int fd, const struct net_packet *pkt)
{
	uint8_t *flat;
	size_t len;

	if (pkt->niov <= TAP_PIECES)
		return writev(fd, pkt->iov, (int)pkt->niov);
	flat = net_io_linear(io, pkt, 0, &len);
	if (flat)
		return write(fd, flat, len);
	errno = ENOMEM;
	return -1;
}

static unsigned tap_transmit(struct net_io *io, const struct net_packet *pkts, unsigned n)
{
	struct tap_port *tp = vdpa_container_of(io, struct tap_port, io);

	for (unsigned i = 0; i < n; i++) {
		ssize_t r;

		do {
			r = tap_write(io, tp->fd, &pkts[i]);
		} while (r < 0 && errno == EINTR);
		if (r >= 0)
			continue;
		if (errno == EAGAIN)
			return i;
		/* The interface is down, or the header is not what the kernel takes. */
		net_io_drop(&io->stats->tx_dropped, 1);
	}
	return n;
}

static const struct net_io_ops tap_io_ops = {.fill = tap_fill, .transmit = tap_transmit};

/* ---- ports ---- */

/* What the kernel may leave to the guest. All pairs of a device say the same. */
static int tap_set_offload(struct tap *tap, uint64_t offload)
{
	unsigned f = 0;

	if (offload & NET_OFFLOAD_CSUM) {
		f = TUN_F_CSUM;
		f |= offload & NET_OFFLOAD_TSO4 ? TUN_F_TSO4 : 0;
		f |= offload & NET_OFFLOAD_TSO6 ? TUN_F_TSO6 : 0;
		f |= f != TUN_F_CSUM && (offload & NET_OFFLOAD_ECN) ? TUN_F_TSO_ECN : 0;
	}
	if (atomic_exchange(&tap->offload, f) == f)
		return 0;
	return ioctl(tap->fd[0], TUNSETOFFLOAD, (unsigned long)f) ? -errno : 0;
}

static int tap_attach(const struct tap *tap, int fd, bool on)
{
	struct ifreq ifr = {.ifr_flags = on ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE};

	if (!tap->multi_queue)
		return 0;
	return ioctl(fd, TUNSETQUEUE, &ifr) ? -errno : 0;
}

static void tap_port_close(struct net_port *port)
{
	struct tap_port *tp = to_tap_port(port);

	net_io_fini(&tp->io);
	tap_attach(to_tap(port->be), tp->fd, false);
	free(tp->mem);
	free(tp);
}

static int tap_port_open(struct net_backend *be, const struct net_port_config *config,
			 struct net_port **out)
{
	struct tap *tap = to_tap(be);
	struct tap_port *tp;
	int r;

	if (config->pair >= tap->nfds)
		return -EINVAL;
	tp = calloc(1, sizeof(*tp));
	if (!tp)
		return -ENOMEM;
	net_io_init(&tp->io, be, config, &tap_io_ops, &tap->stats);
	tp->fd = tap->fd[config->pair];
	/* Address space only: pages come with packets of their size. */
	tp->mem = malloc((size_t)NET_IO_BATCH * NET_IO_BYTES);
	r = tp->mem ? tap_attach(tap, tp->fd, true) : -ENOMEM;
	if (!r)
		r = tap_set_offload(tap, config->offload);
	if (!r)
		r = net_io_attach(&tp->io, tp->fd);
	if (r) {
		tap_port_close(&tp->io.port);
		return r;
	}
	*out = &tp->io.port;
	return 0;
}

/* ---- what it is ---- */

static void tap_get_info(struct net_backend *be, struct net_backend_info *info)
{
	const struct tap *tap = to_tap(be);

	*info = (struct net_backend_info){
		.offload = NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6 | NET_OFFLOAD_ECN,
		.mtu = tap->link.mtu,
		.link_up = !tap->link.lfd.loop || tap->link.up,
		.max_pairs = tap->nfds,
	};
}

static void tap_watch(struct net_backend *be, void (*changed)(void *arg), void *arg)
{
	struct tap *tap = to_tap(be);

	tap->changed = changed;
	tap->arg = arg;
}

/* By the first queue that is attached. */
static int tap_announce(struct net_backend *be, const uint8_t mac[6])
{
	uint8_t packet[NET_HDR_BYTES + NET_RARP_BYTES] = {0};
	struct tap *tap = to_tap(be);

	net_io_rarp(mac, packet + NET_HDR_BYTES);
	for (unsigned i = 0; i < tap->nfds; i++)
		if (write(tap->fd[i], packet, sizeof(packet)) == sizeof(packet))
			return 0;
	return -errno;
}

static void tap_show(struct net_backend *be,
		     void (*emit)(void *arg, const char *key, const char *value), void *arg)
{
	struct tap *tap = to_tap(be);
	unsigned f = atomic_load(&tap->offload);
	char text[64];

	emit(arg, "ifname", tap->ifname);
	snprintf(text, sizeof(text), "%s%s%s%s", f & TUN_F_CSUM ? "csum" : "none",
		 f & TUN_F_TSO4 ? " tso4" : "", f & TUN_F_TSO6 ? " tso6" : "",
		 f & TUN_F_TSO_ECN ? " ecn" : "");
	emit(arg, "interface_offload", text);
	net_io_show(&tap->stats, emit, arg);
}

static const struct vdpa_attr_spec tap_attrs[] = {
	{.name = "ifname",
	 .type = VDPA_ATTR_STRING,
	 .help = "tap interface; made, for as long as the device uses it, when there is none"},
	{.name = "fd",
	 .type = VDPA_ATTR_FD,
	 .help = "instead: descriptor of a tap interface with vnet_hdr (fd1 to fd7: of further "
		 "queue pairs)"},
	{.name = "fd1", .type = VDPA_ATTR_FD, .help = "of the second queue pair"},
	{.name = "fd2", .type = VDPA_ATTR_FD, .help = "of the third"},
	{.name = "fd3", .type = VDPA_ATTR_FD, .help = "of the fourth"},
	{.name = "fd4", .type = VDPA_ATTR_FD, .help = "of the fifth"},
	{.name = "fd5", .type = VDPA_ATTR_FD, .help = "of the sixth"},
	{.name = "fd6", .type = VDPA_ATTR_FD, .help = "of the seventh"},
	{.name = "fd7", .type = VDPA_ATTR_FD, .help = "of the eighth"},
	{.name = "sndbuf",
	 .type = VDPA_ATTR_SIZE,
	 .min = 1,
	 .max = INT32_MAX,
	 .help = "bytes that may be under way in the kernel; then the guest waits (default: no "
		 "limit)"},
	{0},
};

const struct net_backend_ops net_tap_ops = {
	.name = "tap",
	.help = "a tap interface of this machine",
	.attrs = tap_attrs,
	.open = net_tap_open,
	.close = net_tap_close,
	.get_info = tap_get_info,
	.port_open = tap_port_open,
	.port_close = tap_port_close,
	.send = net_io_send,
	.resume = net_io_resume,
	.poll = net_io_poll,
	.announce = tap_announce,
	.watch = tap_watch,
	.show = tap_show,
};
