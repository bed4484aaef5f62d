// SPDX-License-Identifier: BSD-3-Clause
/* Frames over a socket: reading and writing them, on the port's loop (net_socket.h). */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "backend/net_socket.h"

#define SOCK_PIECES 512	   /* of one call */
#define SOCK_LAST_TURNS 64 /* of receiving, when the peer has gone */

struct sock_port {
	struct net_io io;
	struct net_sock *ns;
	struct vdpa_loop_fd wake_lfd;
	int fd; /* our own; -1: no connection */
	unsigned life;
	uint8_t *mem;	/* SOCK_STREAM_BYTES, or a slot per datagram */
	size_t at, end; /* stream: of mem, read and not looked at yet */
	uint8_t *rest;	/* stream: of a frame that is partly sent */
	size_t rest_at, rest_bytes;
	uint8_t header[NET_HDR_BYTES]; /* of everything that is received */
	struct iovec iov[NET_IO_BATCH][2];
};

static struct sock_port *to_sock_port(struct net_io *io)
{
	return vdpa_container_of(io, struct sock_port, io);
}

/* The control loop ends the connection. @why: a constant. */
static void lost(struct sock_port *sp, const char *why)
{
	struct net_sock *ns = sp->ns;

	pthread_mutex_lock(&ns->lock);
	if (ns->life == sp->life) {
		ns->lost = true;
		ns->why = why;
	}
	pthread_mutex_unlock(&ns->lock);
	vdpa_eventfd_signal(ns->wake_control);
}

static void add_packet(struct sock_port *sp, unsigned i, uint8_t *frame, size_t len)
{
	struct iovec *iov = sp->iov[i];

	iov[0] = (struct iovec){sp->header, NET_HDR_BYTES};
	iov[1] = (struct iovec){frame, len};
	sp->io.pkts[i] = (struct net_packet){iov, 2, NET_HDR_BYTES + (uint64_t)len};
}

/* ---- receiving from a stream ---- */

static uint32_t length_at(const uint8_t *p)
{
	uint32_t len;

	memcpy(&len, p, sizeof(len));
	return be32toh(len);
}

/* Whole frames of what was read, or -EPROTO. */
static int cut(struct sock_port *sp)
{
	unsigned n = 0;

	while (n < NET_IO_BATCH && sp->end - sp->at >= SOCK_LENGTH_BYTES) {
		uint32_t len = length_at(sp->mem + sp->at);

		if (len > SOCK_FRAME_MAX) {
			atomic_fetch_add(&sp->ns->bad_frames, 1);
			lost(sp, "the peer sent a length that no frame has; disconnected");
			return n ? (int)n : -EPROTO;
		}
		if (sp->end - sp->at - SOCK_LENGTH_BYTES < len)
			break;
		add_packet(sp, n++, sp->mem + sp->at + SOCK_LENGTH_BYTES, len);
		sp->at += SOCK_LENGTH_BYTES + len;
	}
	return (int)n;
}

static int stream_fill(struct net_io *io)
{
	struct sock_port *sp = to_sock_port(io);
	ssize_t r;
	int n = cut(sp);

	if (n)
		return n;
	/* Everything before has been delivered: make room for the rest of a frame. */
	memmove(sp->mem, sp->mem + sp->at, sp->end - sp->at);
	sp->end -= sp->at;
	sp->at = 0;
	do {
		r = recv(sp->fd, sp->mem + sp->end, SOCK_STREAM_BYTES - sp->end, MSG_DONTWAIT);
	} while (r < 0 && errno == EINTR);
	if (r < 0 && errno == EAGAIN)
		return 0;
	if (r <= 0) {
		lost(sp, "the peer has gone");
		return -EPIPE;
	}
	sp->end += (size_t)r;
	return cut(sp);
}

/* ---- sending to a stream ---- */

struct stream_batch {
	struct iovec iov[SOCK_PIECES];
	uint32_t length[NET_IO_BATCH]; /* big endian */
	unsigned niov, n;
	size_t bytes;
};

/* As many packets as one call takes. False: the first one has too many pieces for that. */
static bool gather(struct stream_batch *b, const struct net_packet *pkts, unsigned n)
{
	b->niov = b->n = 0;
	b->bytes = 0;
	while (b->n < n && b->n < NET_IO_BATCH && b->niov < SOCK_PIECES - 1) {
		const struct net_packet *pkt = &pkts[b->n];
		uint32_t len = (uint32_t)(pkt->len_bytes - NET_HDR_BYTES);
		unsigned pieces = net_io_pieces(pkt, NET_HDR_BYTES, &b->iov[b->niov + 1],
						SOCK_PIECES - 1 - b->niov);

		if (!pieces)
			break;
		b->length[b->n] = htobe32(len);
		b->iov[b->niov] = (struct iovec){&b->length[b->n], SOCK_LENGTH_BYTES};
		b->niov += 1 + pieces;
		b->bytes += SOCK_LENGTH_BYTES + len;
		b->n++;
	}
	return b->n;
}

static ssize_t send_some(struct sock_port *sp, struct iovec *iov, unsigned niov)
{
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = niov};
	ssize_t r;

	do {
		r = sendmsg(sp->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

/* What is left of the packet of which @sent bytes went out goes when there is room. */
static void keep_rest(struct sock_port *sp, const struct net_packet *pkt, size_t sent)
{
	uint32_t len = (uint32_t)(pkt->len_bytes - NET_HDR_BYTES), wire = htobe32(len);

	memcpy(sp->rest, &wire, SOCK_LENGTH_BYTES);
	net_io_copy(pkt, NET_HDR_BYTES, sp->rest + SOCK_LENGTH_BYTES, len);
	sp->rest_at = sent;
	sp->rest_bytes = SOCK_LENGTH_BYTES + len;
	sp->io.unsent = true;
}

/* Returns 0 when nothing is left, -EAGAIN, or another error. */
static int send_rest(struct sock_port *sp)
{
	while (sp->io.unsent) {
		struct iovec iov = {sp->rest + sp->rest_at, sp->rest_bytes - sp->rest_at};
		ssize_t r = send_some(sp, &iov, 1);

		if (r < 0)
			return (int)r;
		sp->rest_at += (size_t)r;
		sp->io.unsent = sp->rest_at < sp->rest_bytes;
	}
	return 0;
}

/* The end of the connection takes everything. */
static unsigned send_failed(struct sock_port *sp, unsigned n, int error)
{
	if (error == -EAGAIN)
		return 0;
	sp->io.unsent = false;
	net_io_drop(&sp->io.stats->tx_dropped, n);
	lost(sp, "the peer has gone");
	return n;
}

/* A packet of very many pieces. */
static unsigned send_flat(struct sock_port *sp, const struct net_packet *pkt)
{
	ssize_t r;

	keep_rest(sp, pkt, 0);
	r = send_rest(sp);
	return r && r != -EAGAIN ? send_failed(sp, 1, (int)r) : 1;
}

static unsigned stream_some(struct sock_port *sp, const struct net_packet *pkts, unsigned n)
{
	struct stream_batch b;
	unsigned done = 0;
	ssize_t r;

	if (!gather(&b, pkts, n))
		return send_flat(sp, pkts);
	r = send_some(sp, b.iov, b.niov);
	if (r < 0)
		return send_failed(sp, b.n, (int)r);
	for (size_t left = (size_t)r; done < b.n && left; done++) {
		size_t bytes = SOCK_LENGTH_BYTES + (size_t)pkts[done].len_bytes - NET_HDR_BYTES;

		if (left < bytes) {
			keep_rest(sp, &pkts[done], left);
			left = bytes;
		}
		left -= bytes;
	}
	return done;
}

static unsigned stream_transmit(struct net_io *io, const struct net_packet *pkts, unsigned n)
{
	struct sock_port *sp = to_sock_port(io);
	int r = send_rest(sp);
	unsigned done = 0;

	if (r)
		return send_failed(sp, n, r);
	while (done < n && !io->unsent) {
		unsigned some = stream_some(sp, pkts + done, n - done);

		if (!some)
			break;
		done += some;
	}
	return done;
}

static void stream_flush(struct net_io *io)
{
	struct sock_port *sp = to_sock_port(io);
	int r = send_rest(sp);

	if (r && r != -EAGAIN)
		send_failed(sp, 0, r);
}

/* ---- datagrams ---- */

static int dgram_fill(struct net_io *io)
{
	struct sock_port *sp = to_sock_port(io);
	struct mmsghdr msgs[NET_IO_BATCH];
	struct iovec iov[NET_IO_BATCH];
	unsigned n = 0;
	int r;

	memset(msgs, 0, sizeof(msgs));
	for (unsigned i = 0; i < NET_IO_BATCH; i++) {
		iov[i] = (struct iovec){sp->mem + (size_t)i * NET_IO_BYTES, NET_IO_BYTES};
		msgs[i].msg_hdr.msg_iov = &iov[i];
		msgs[i].msg_hdr.msg_iovlen = 1;
	}
	do {
		r = recvmmsg(sp->fd, msgs, NET_IO_BATCH, MSG_DONTWAIT, NULL);
	} while (r < 0 && errno == EINTR);
	for (int i = 0; i < r; i++) {
		if (msgs[i].msg_hdr.msg_flags & MSG_TRUNC)
			atomic_fetch_add(&sp->ns->bad_frames, 1);
		else
			add_packet(sp, n++, iov[i].iov_base, msgs[i].msg_len);
	}
	return (int)n;
}

/* Returns 0, -EAGAIN, or another error: of this packet, or of the peer. */
static int send_dgram(struct sock_port *sp, const struct net_packet *pkt)
{
	struct iovec iov[SOCK_PIECES];
	unsigned n = net_io_pieces(pkt, NET_HDR_BYTES, iov, SOCK_PIECES);
	ssize_t r;

	if (!n) {
		iov[0].iov_base = net_io_linear(&sp->io, pkt, NET_HDR_BYTES, &iov[0].iov_len);
		if (!iov[0].iov_base)
			return -ENOMEM;
		n = 1;
	}
	r = send_some(sp, iov, n);
	return r < 0 ? (int)r : 0;
}

static unsigned dgram_transmit(struct net_io *io, const struct net_packet *pkts, unsigned n)
{
	struct sock_port *sp = to_sock_port(io);

	for (unsigned i = 0; i < n; i++) {
		int r = send_dgram(sp, &pkts[i]);

		if (r == -EAGAIN)
			return i;
		if (!r)
			continue;
		net_io_drop(&io->stats->tx_dropped, 1);
		if (r == -ECONNREFUSED || r == -ENOTCONN || r == -ECONNRESET || r == -EPIPE)
			lost(sp, "the peer has gone");
	}
	return n;
}

/* ---- the connection comes and goes ---- */

/*
 * An error that a datagram socket kept for us goes by being read. A stream is at its end; what can
 * still be read of it is read when the control loop, which sees the same, says so.
 */
static void sock_hangup(struct net_io *io)
{
	struct sock_port *sp = to_sock_port(io);
	socklen_t len = sizeof(int);
	int error = 0;

	if (sp->ns->type == SOCK_STREAM || getsockopt(sp->fd, SOL_SOCKET, SO_ERROR, &error, &len) ||
	    !error)
		vdpa_loop_fd_del(&io->lfd);
	lost(sp, "the peer has gone");
}

static const struct net_io_ops stream_ops = {
	.fill = stream_fill,
	.transmit = stream_transmit,
	.flush = stream_flush,
	.hangup = sock_hangup,
};
static const struct net_io_ops dgram_ops = {
	.fill = dgram_fill,
	.transmit = dgram_transmit,
	.hangup = sock_hangup,
};

/* What the peer sent before it went is delivered, as far as there are buffers. */
static void let_go(struct sock_port *sp)
{
	struct net_io *io = &sp->io;

	if (sp->fd < 0)
		return;
	for (unsigned i = 0; i < SOCK_LAST_TURNS && !io->starved && net_io_receive(io); i++)
		;
	net_io_discard(io);
	io->unsent = false;
	net_io_detach(io);
	vdpa_fd_close(&sp->fd);
	sp->at = sp->end = 0;
}

/* Take over what the control loop has; @rarp: an announcement that is due. True: there is one. */
static bool look(struct sock_port *sp, uint8_t rarp[NET_RARP_BYTES])
{
	struct net_sock *ns = sp->ns;
	unsigned life;
	bool announce;
	int fd;

	pthread_mutex_lock(&ns->lock);
	life = ns->life;
	fd = life != sp->life && ns->fd >= 0 ? vdpa_fd_dup(ns->fd) : -1;
	announce = ns->announce;
	ns->announce = false;
	net_io_rarp(ns->mac, rarp);
	pthread_mutex_unlock(&ns->lock);
	if (life == sp->life)
		return announce;
	let_go(sp);
	sp->life = life;
	sp->fd = fd;
	if (fd >= 0 && net_io_attach(&sp->io, fd))
		vdpa_fd_close(&sp->fd);
	return announce;
}

static void on_wake(struct vdpa_loop_fd *lfd, uint32_t revents)
{
	struct sock_port *sp = vdpa_container_of(lfd, struct sock_port, wake_lfd);
	uint8_t header[NET_HDR_BYTES] = {0}, rarp[NET_RARP_BYTES];
	struct iovec iov[2] = {{header, sizeof(header)}, {rarp, sizeof(rarp)}};
	struct net_packet pkt = {iov, 2, sizeof(header) + sizeof(rarp)};

	vdpa_eventfd_drain(lfd->fd);
	if (look(sp, rarp))
		net_io_push(&sp->io, &pkt);
}

/* ---- life ---- */

void net_socket_port_close(struct net_port *port)
{
	struct sock_port *sp = to_sock_port(to_net_io(port));

	vdpa_loop_fd_del(&sp->wake_lfd);
	net_io_fini(&sp->io);
}

void net_socket_port_free(struct sock_port *sp)
{
	if (!sp)
		return;
	vdpa_fd_close(&sp->fd);
	free(sp->mem);
	free(sp->rest);
	free(sp);
}

static struct sock_port *port_new(struct net_sock *ns)
{
	bool stream = ns->type == SOCK_STREAM;
	struct sock_port *sp = calloc(1, sizeof(*sp));

	if (!sp)
		return NULL;
	sp->ns = ns;
	sp->fd = -1;
	sp->mem = malloc(stream ? SOCK_STREAM_BYTES : (size_t)NET_IO_BATCH * NET_IO_BYTES);
	sp->rest = malloc(SOCK_LENGTH_BYTES + SOCK_FRAME_MAX);
	if (sp->mem && sp->rest)
		return sp;
	net_socket_port_free(sp);
	return NULL;
}

int net_socket_port_open(struct net_backend *be, const struct net_port_config *config,
			 struct net_port **out)
{
	struct net_sock *ns = to_sock(be);
	uint8_t rarp[NET_RARP_BYTES];
	struct sock_port *sp;
	int r;

	if (config->pair)
		return -EINVAL;
	if (!ns->port)
		ns->port = port_new(ns);
	sp = ns->port;
	if (!sp)
		return -ENOMEM;
	net_io_init(&sp->io, be, config, ns->type == SOCK_STREAM ? &stream_ops : &dgram_ops,
		    &ns->stats);
	r = vdpa_loop_fd_add(config->loop, &sp->wake_lfd, ns->wake_port, EPOLLIN, on_wake);
	/* The connection of the port before, if it is still the one. */
	if (!r && sp->fd >= 0)
		r = net_io_attach(&sp->io, sp->fd);
	if (r) {
		net_socket_port_close(&sp->io.port);
		return r;
	}
	look(sp, rarp);
	*out = &sp->io.port;
	return 0;
}
