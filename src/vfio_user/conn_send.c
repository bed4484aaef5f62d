// SPDX-License-Identifier: BSD-3-Clause
/*
 * Sending. A message goes out whole, in one piece or, where the socket is full, by the reader when
 * there is room again; nobody waits for that. A peer that does not read is at its end when what it
 * owes us room for is more than OUT_MAX.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "vfio_user/conn_impl.h"

#define OUT_MAX (8u << 20)

/* A message that is on its way. */
struct out_msg {
	struct list link;
	size_t len, sent;
	int fds[VFU_FDS_MAX];
	unsigned nfds;
	uint8_t data[];
};

static void out_free(struct out_msg *m)
{
	for (unsigned i = 0; i < m->nfds; i++)
		vdpa_fd_close(&m->fds[i]);
	free(m);
}

static struct out_msg *out_new(const struct iovec *iov, unsigned niov, const int *fds,
			       unsigned nfds)
{
	size_t len = 0;
	struct out_msg *m;

	for (unsigned i = 0; i < niov; i++)
		len += iov[i].iov_len;
	m = malloc(sizeof(*m) + len);
	if (!m)
		return NULL;
	m->len = m->sent = 0;
	m->nfds = 0;
	for (unsigned i = 0; i < niov; i++) {
		if (iov[i].iov_len)
			memcpy(m->data + m->len, iov[i].iov_base, iov[i].iov_len);
		m->len += iov[i].iov_len;
	}
	for (unsigned i = 0; i < nfds; i++) {
		int fd = vdpa_fd_dup(fds[i]);

		if (fd < 0) {
			out_free(m);
			return NULL;
		}
		m->fds[m->nfds++] = fd;
	}
	return m;
}

/* 1: it is out; 0: the socket is full; or -errno. */
static int push(struct vfu_conn *conn, struct out_msg *m)
{
	while (m->sent < m->len) {
		struct iovec iov = {m->data + m->sent, m->len - m->sent};
		bool first = !m->sent;
		ssize_t n = vdpa_sock_send(conn->fd, &iov, 1, m->fds, first ? m->nfds : 0);

		if (n == -EINTR)
			continue;
		if (n == -EAGAIN)
			return 0;
		if (n < 0)
			return (int)n;
		m->sent += (size_t)n;
	}
	return 1;
}

/* Under the lock. 0, or -errno. */
static int flush(struct vfu_conn *conn)
{
	struct list *node;

	while ((node = list_first(&conn->out))) {
		struct out_msg *m = list_entry(node, struct out_msg, link);
		int r = push(conn, m);

		if (r <= 0)
			return r;
		conn->out_bytes -= m->len;
		list_del(node);
		out_free(m);
	}
	return 0;
}

int vfu_conn_flush(struct vfu_conn *conn)
{
	int r;

	pthread_mutex_lock(&conn->lock);
	r = flush(conn);
	pthread_mutex_unlock(&conn->lock);
	return r;
}

bool vfu_conn_unsent(struct vfu_conn *conn)
{
	bool any;

	pthread_mutex_lock(&conn->lock);
	any = !list_empty(&conn->out);
	pthread_mutex_unlock(&conn->lock);
	return any;
}

void vfu_conn_drop_unsent(struct vfu_conn *conn)
{
	struct list *node;

	while ((node = list_pop(&conn->out)))
		out_free(list_entry(node, struct out_msg, link));
	conn->out_bytes = 0;
}

/* Under the lock. */
static int queue(struct vfu_conn *conn, struct out_msg *m)
{
	if (conn->dead)
		return -EIO;
	if (conn->out_bytes + m->len > OUT_MAX)
		return -ENOBUFS;
	list_add_tail(&conn->out, &m->link);
	conn->out_bytes += m->len;
	return 0;
}

int vfu_conn_send(struct vfu_conn *conn, const struct vfu_out *out)
{
	struct vfu_header h = out->head;
	struct iovec all[5] = {{&h, sizeof(h)}};
	struct out_msg *m;
	bool more;
	int r;

	if (out->niov > 4 || out->nfds > VFU_FDS_MAX)
		return -EINVAL;
	h.size = sizeof(h);
	for (unsigned i = 0; i < out->niov; i++) {
		all[i + 1] = out->iov[i];
		h.size += (uint32_t)out->iov[i].iov_len;
	}
	m = out_new(all, out->niov + 1, out->fds, out->nfds);
	if (!m)
		return -ENOMEM;
	pthread_mutex_lock(&conn->lock);
	r = queue(conn, m);
	if (!r) {
		m = NULL;
		r = flush(conn);
	}
	more = !list_empty(&conn->out);
	pthread_mutex_unlock(&conn->lock);
	if (m)
		out_free(m);
	/* The reader sends the rest, or finds out that the peer has gone. */
	if (more || r)
		vfu_conn_wake(conn);
	return r && r != -ENOBUFS && r != -EIO ? -EIO : r;
}
