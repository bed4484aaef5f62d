// SPDX-License-Identifier: BSD-3-Clause
/*
 * Reading. Each receive asks for no more than the message still lacks, so that descriptors stay
 * with the message they came with.
 *
 * Who attacks: the peer, by sizes, types, and descriptors. A message that cannot be one ends the
 * connection, since where the next begins is not known. How much waits here has a limit; beyond it
 * the socket is not read.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/loop_urgent.h"
#include "vfio_user/conn_impl.h"

/* Commands that wait: a client may send many at once. While a reply is waited for, which lies
 * behind them, more is read. */
#define CMDS_HARD 65536u
#define CMD_BYTES_HARD (32u << 20)

void vfu_msg_free(struct vfu_msg *msg)
{
	if (!msg)
		return;
	vdpa_fds_close(&msg->fds);
	free(msg);
}

static int check_head(const struct vfu_header *h)
{
	unsigned type = h->flags & VFU_F_TYPE;

	if (h->size < sizeof(*h) || h->size > sizeof(*h) + VFU_PAYLOAD_MAX)
		return -EMSGSIZE;
	return type > VFU_F_REPLY ? -EPROTO : 0;
}

/* Descriptors of one receive join those of the message. */
static int join_fds(struct vfu_conn *conn, struct vdpa_fds *fds)
{
	int r = fds->surplus || fds->truncated ? -EPROTO : 0;

	for (unsigned i = 0; i < fds->n && !r; i++) {
		if (conn->fds.n == VFU_FDS_MAX)
			r = -EPROTO;
		else
			conn->fds.fd[conn->fds.n++] = vdpa_fds_take(fds, i);
	}
	vdpa_fds_close(fds);
	return r;
}

/* Take at most @len bytes: how many, 0 for none there, or -errno. */
static ssize_t take(struct vfu_conn *conn, void *to, size_t len)
{
	struct vdpa_fds fds;
	ssize_t n = vdpa_sock_recv(conn->fd, to, len, &fds, 0);
	int r = join_fds(conn, &fds);

	if (n == -EAGAIN || n == -EINTR)
		return 0;
	if (r)
		return r;
	if (n == 0)
		return -ECONNRESET;
	if (n > 0)
		conn->got += (size_t)n;
	return n;
}

/* The header is there: make room for the rest. */
static int begin(struct vfu_conn *conn)
{
	size_t len;
	int r = check_head(&conn->head);

	if (r)
		return r;
	len = conn->head.size - sizeof(conn->head);
	conn->in = malloc(sizeof(*conn->in) + len);
	if (!conn->in)
		return -ENOMEM;
	conn->in->head = conn->head;
	conn->in->len = len;
	conn->in->fds.n = 0;
	return 0;
}

/* The message is complete: a reply is given to who waits; a command waits its turn. */
static int end(struct vfu_conn *conn)
{
	struct vfu_msg *msg = conn->in;

	conn->in = NULL;
	conn->got = 0;
	msg->fds = conn->fds;
	conn->fds = (struct vdpa_fds){.n = 0};
	if ((msg->head.flags & VFU_F_TYPE) == VFU_F_REPLY)
		return vfu_conn_reply(conn, msg);
	list_add_tail(&conn->cmds, &msg->link);
	conn->ncmds++;
	conn->cmd_bytes += msg->len;
	return conn->ncmds > CMDS_HARD || conn->cmd_bytes > CMD_BYTES_HARD ? -ENOBUFS : 0;
}

int vfu_conn_read(struct vfu_conn *conn)
{
	ssize_t n;
	int r;

	if (!conn->in) {
		n = take(conn, (char *)&conn->head + conn->got, sizeof(conn->head) - conn->got);
		if (n <= 0)
			return (int)n;
		if (conn->got < sizeof(conn->head))
			return 1;
		r = begin(conn);
		if (r)
			return r;
	}
	if (conn->got < conn->head.size) {
		n = take(conn, conn->in->data + (conn->got - sizeof(conn->head)),
			 conn->head.size - conn->got);
		if (n <= 0)
			return (int)n;
	}
	if (conn->got < conn->head.size)
		return 1;
	r = end(conn);
	return r ? r : 1;
}

int vfu_conn_read_wait(struct vfu_conn *conn, uint64_t deadline_ns)
{
	struct vdpa_loop *urgent =
		conn->loop ? vdpa_loop_group_urgent(vdpa_loop_get_group(conn->loop)) : NULL;
	struct pollfd p[2] = {
		{.fd = conn->fd, .events = POLLIN},
		{.fd = urgent ? vdpa_loop_pollfd(urgent) : -1, .events = POLLIN},
	};
	uint64_t now = vdpa_clock_ns();
	struct timespec left = {0};
	int r;

	if (now >= deadline_ns)
		return -ETIMEDOUT;
	if (deadline_ns - now > 1000000000ull)
		left.tv_sec = 1; /* and then again */
	else
		left.tv_nsec = (long)(deadline_ns - now) % 1000000000l;
	if (vfu_conn_unsent(conn))
		p[0].events |= POLLOUT;
	if (ppoll(p, 2, &left, NULL) <= 0)
		return 0;
	if (p[1].revents)
		vdpa_loop_serve_urgent(urgent, 0);
	r = p[0].revents & POLLOUT ? vfu_conn_flush(conn) : 0;
	return r ? r : vfu_conn_read(conn);
}
