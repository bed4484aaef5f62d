// SPDX-License-Identifier: BSD-3-Clause
/*
 * One message out, one reply in. The peer is hostile: it may send anything, slowly, in pieces, with
 * descriptors, or nothing. Every wait has a deadline; a header is checked before a byte of payload
 * is read; what is not due is closed and ends the connection.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include "driver/vhost_user/frontend.h"

/* Until @events on the channel, or the deadline. What else has to be served is served meanwhile. */
static int wait_for(struct fe_channel *ch, short events, uint64_t deadline)
{
	for (;;) {
		struct pollfd p[2] = {
			{.fd = ch->sock, .events = events},
			{.fd = ch->other_fd ? ch->other_fd(ch->arg) : -1, .events = POLLIN},
		};
		uint64_t now = vdpa_clock_ns();
		int n;

		if (now >= deadline)
			return -ETIMEDOUT;
		n = poll(p, 2, (int)((deadline - now) / 1000000 + 1));
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n <= 0)
			continue;
		if (p[1].revents)
			ch->other(ch->arg);
		/* Serving the other channel may have ended this one. */
		if (ch->sock < 0)
			return -ECONNRESET;
		if (p[0].revents)
			return 0;
	}
}

int fe_send(struct fe_channel *ch, const struct fe_msg *msg, const int *fds, unsigned nfds)
{
	uint64_t deadline = vdpa_clock_ns() + ch->timeout_ns;
	size_t len = sizeof(msg->hdr) + msg->hdr.size, off = 0;
	char buf[sizeof(msg->hdr) + VHOST_USER_MAX_PAYLOAD];

	if (ch->sock < 0)
		return -ENOTCONN;
	if (msg->hdr.size > VHOST_USER_MAX_PAYLOAD)
		return -EINVAL;
	memcpy(buf, &msg->hdr, sizeof(msg->hdr));
	memcpy(buf + sizeof(msg->hdr), &msg->p, msg->hdr.size);
	while (off < len) {
		struct iovec iov = {buf + off, len - off};
		ssize_t n = vdpa_sock_send(ch->sock, &iov, 1, fds, nfds);
		int r;

		if (n > 0) {
			off += (size_t)n;
			nfds = 0;
			continue;
		}
		if (n != -EAGAIN)
			return n < 0 ? (int)n : -EPIPE;
		r = wait_for(ch, POLLOUT, deadline);
		if (r)
			return r;
	}
	return 0;
}

/* Descriptors that came with a piece join those of the message. */
static int keep_fds(struct vdpa_fds *all, struct vdpa_fds *more)
{
	bool ok = !more->surplus && !more->truncated && all->n + more->n <= VHOST_USER_MAX_FDS;

	for (unsigned i = 0; ok && i < more->n; i++)
		all->fd[all->n++] = more->fd[i];
	if (!ok)
		vdpa_fds_close(more);
	return ok ? 0 : -EPROTO;
}

static int read_all(struct fe_channel *ch, void *buf, size_t len, struct vdpa_fds *fds,
		    uint64_t deadline)
{
	size_t off = 0;

	while (off < len) {
		struct vdpa_fds more;
		ssize_t n = vdpa_sock_recv(ch->sock, (char *)buf + off, len - off, &more, 0);
		int r;

		if (n == -EAGAIN) {
			r = wait_for(ch, POLLIN, deadline);
		} else if (n <= 0) {
			vdpa_fds_close(&more);
			r = n ? (int)n : -ECONNRESET;
		} else {
			r = keep_fds(fds, &more);
			off += (size_t)n;
		}
		if (r)
			return r;
	}
	return 0;
}

int fe_recv(struct fe_channel *ch, struct fe_msg *msg, bool reply)
{
	uint64_t deadline = vdpa_clock_ns() + ch->timeout_ns;
	int r;

	memset(&msg->fds, 0, sizeof(msg->fds));
	if (ch->sock < 0)
		return -ENOTCONN;
	r = read_all(ch, &msg->hdr, sizeof(msg->hdr), &msg->fds, deadline);
	if (!r && !vhost_user_hdr_valid(&msg->hdr, reply, NULL))
		r = -EPROTO;
	if (!r)
		r = read_all(ch, &msg->p, msg->hdr.size, &msg->fds, deadline);
	if (r)
		vdpa_fds_close(&msg->fds);
	return r;
}

int fe_transact(struct fe_channel *ch, struct fe_msg *msg, const int *fds, unsigned nfds,
		const struct fe_expect *expect)
{
	uint32_t request = msg->hdr.request;
	int r = fe_send(ch, msg, fds, nfds);

	if (!r)
		r = fe_recv(ch, msg, true);
	if (r)
		return r;
	if (msg->hdr.request == request && msg->hdr.size >= expect->min &&
	    msg->hdr.size <= expect->max && msg->fds.n <= expect->max_fds)
		return 0;
	vdpa_fds_close(&msg->fds);
	return -EPROTO;
}
