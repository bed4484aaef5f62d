// SPDX-License-Identifier: BSD-3-Clause
/* A port on a file descriptor (net_io.h). */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include "backend/net_io.h"

/* ---- what is waited for ---- */

static void update(struct net_io *io)
{
	uint32_t events =
		(io->starved ? 0u : EPOLLIN) | (io->blocked || io->unsent ? EPOLLOUT : 0u);

	if (io->lfd.loop)
		vdpa_loop_fd_mod(&io->lfd, events);
}

/* ---- receiving ---- */

/* Give the device what is held; true when nothing is left. */
static bool hand_over(struct net_io *io)
{
	if (io->first < io->n)
		io->first +=
			io->config.deliver(io->config.arg, &io->pkts[io->first], io->n - io->first);
	io->starved = io->first < io->n;
	return !io->starved;
}

static bool next_turn(struct vdpa_loop_poller *poller)
{
	struct net_io *io = vdpa_container_of(poller, struct net_io, more);

	vdpa_loop_poller_del(poller);
	return !io->starved && net_io_receive(io);
}

bool net_io_receive(struct net_io *io)
{
	unsigned left = NET_IO_BUDGET;
	bool any = false;

	while (hand_over(io) && io->open && left) {
		int n = io->ops->fill(io);

		if (n < 0)
			net_io_detach(io);
		if (n <= 0)
			break;
		io->first = 0;
		io->n = (unsigned)n;
		left -= (unsigned)n < left ? (unsigned)n : left;
		any = true;
	}
	/* What a port has read already makes no descriptor readable. */
	if (!left && !io->starved && io->open && !io->more.loop)
		vdpa_loop_poller_add(io->config.loop, &io->more, next_turn);
	update(io);
	return any;
}

void net_io_resume(struct net_port *port)
{
	struct net_io *io = to_net_io(port);

	if (!io->starved)
		return;
	io->starved = false;
	net_io_receive(io);
}

bool net_io_poll(struct net_port *port)
{
	struct net_io *io = to_net_io(port);

	return !io->starved && io->open && net_io_receive(io);
}

/* ---- sending ---- */

unsigned net_io_send(struct net_port *port, const struct net_packet *pkts, unsigned n)
{
	struct net_io *io = to_net_io(port);
	unsigned taken = 0;

	if (!io->open) {
		net_io_drop(&io->stats->tx_dropped, n);
		return n;
	}
	if (!io->blocked)
		taken = io->ops->transmit(io, pkts, n);
	/* Its end may have been found just now: nobody would call for what is left. */
	if (taken < n && !io->open) {
		net_io_drop(&io->stats->tx_dropped, n - taken);
		return n;
	}
	io->blocked = taken < n;
	update(io);
	return taken;
}

void net_io_push(struct net_io *io, const struct net_packet *pkt)
{
	if (io->open && !io->blocked)
		io->ops->transmit(io, pkt, 1);
	update(io);
}

static void unblock(struct net_io *io)
{
	if (!io->blocked)
		return;
	io->blocked = false;
	io->config.writable(io->config.arg);
}

/* ---- life ---- */

static void on_event(struct vdpa_loop_fd *lfd, uint32_t revents)
{
	struct net_io *io = vdpa_container_of(lfd, struct net_io, lfd);

	if ((revents & EPOLLOUT) && io->unsent)
		io->ops->flush(io);
	if ((revents & EPOLLOUT) && !io->unsent)
		unblock(io);
	if ((revents & EPOLLIN) && !io->starved)
		net_io_receive(io);
	if ((revents & (EPOLLERR | EPOLLHUP)) && io->open) {
		if (io->ops->hangup)
			io->ops->hangup(io);
		else
			net_io_detach(io);
	}
	update(io);
}

void net_io_init(struct net_io *io, struct net_backend *be, const struct net_port_config *config,
		 const struct net_io_ops *ops, struct net_io_stats *stats)
{
	io->port.be = be;
	io->config = *config;
	io->ops = ops;
	io->stats = stats;
	io->starved = io->blocked = false;
	io->first = io->n = 0;
}

int net_io_attach(struct net_io *io, int fd)
{
	int r = vdpa_loop_fd_add(io->config.loop, &io->lfd, fd, EPOLLIN, on_event);

	io->open = !r;
	update(io);
	return r;
}

void net_io_detach(struct net_io *io)
{
	vdpa_loop_fd_del(&io->lfd);
	vdpa_loop_poller_del(&io->more);
	io->open = false;
	unblock(io);
}

void net_io_discard(struct net_io *io)
{
	net_io_drop(&io->stats->rx_dropped, io->n - io->first);
	if (io->first < io->n && io->config.forget)
		io->config.forget(io->config.arg);
	io->first = io->n = 0;
	io->starved = false;
}

void net_io_fini(struct net_io *io)
{
	vdpa_loop_fd_del(&io->lfd);
	vdpa_loop_poller_del(&io->more);
	io->open = false;
	net_io_discard(io);
	free(io->bounce);
	io->bounce = NULL;
}

/* ---- pieces ---- */

unsigned net_io_pieces(const struct net_packet *pkt, uint64_t skip, struct iovec *to, unsigned max)
{
	unsigned n = 0;

	for (unsigned i = 0; i < pkt->niov; i++) {
		size_t len = pkt->iov[i].iov_len;

		if (skip >= len) {
			skip -= len;
			continue;
		}
		if (n == max)
			return 0;
		to[n++] = (struct iovec){(char *)pkt->iov[i].iov_base + skip, len - skip};
		skip = 0;
	}
	return n;
}

size_t net_io_copy(const struct net_packet *pkt, uint64_t skip, void *to, size_t len)
{
	size_t done = 0;

	for (unsigned i = 0; i < pkt->niov && done < len; i++) {
		size_t n = pkt->iov[i].iov_len;

		if (skip >= n) {
			skip -= n;
			continue;
		}
		n -= skip;
		if (n > len - done)
			n = len - done;
		memcpy((char *)to + done, (const char *)pkt->iov[i].iov_base + skip, n);
		done += n;
		skip = 0;
	}
	return done;
}

uint8_t *net_io_linear(struct net_io *io, const struct net_packet *pkt, uint64_t skip, size_t *len)
{
	if (pkt->len_bytes > NET_IO_BYTES || pkt->len_bytes < skip)
		return NULL;
	if (!io->bounce)
		io->bounce = malloc(NET_IO_BYTES);
	if (!io->bounce)
		return NULL;
	*len = net_io_copy(pkt, skip, io->bounce, NET_IO_BYTES);
	return io->bounce;
}

/* ---- what all of them say ---- */

void net_io_show(const struct net_io_stats *stats,
		 void (*emit)(void *arg, const char *key, const char *value), void *arg)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64,
		 atomic_load_explicit(&stats->rx_dropped, memory_order_relaxed));
	emit(arg, "backend_rx_dropped", text);
	snprintf(text, sizeof(text), "%" PRIu64,
		 atomic_load_explicit(&stats->tx_dropped, memory_order_relaxed));
	emit(arg, "backend_tx_dropped", text);
}

void net_io_rarp(const uint8_t mac[6], uint8_t frame[NET_RARP_BYTES])
{
	static const uint8_t body[] = {0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3};

	memset(frame, 0, NET_RARP_BYTES);
	memset(frame, 0xff, 6);
	memcpy(frame + 6, mac, 6);
	memcpy(frame + 12, body, sizeof(body));
	memcpy(frame + 22, mac, 6); /* sender's address */
	memcpy(frame + 32, mac, 6); /* target's */
}
