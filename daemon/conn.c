// SPDX-License-Identifier: BSD-3-Clause
/*
 * One client. Who attacks: whoever may open the socket. Everything it can make us keep is bounded:
 * the line it is sending (ctl_in), calls under way (then its socket is not read), and answers it
 * does not read (then no more calls are taken, and in the end the connection is dropped).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "base/fd.h"
#include "ctl/listen.h"
#include "server_impl.h"

static void conn_put(struct conn *c)
{
	if (--c->refs)
		return;
	ctl_in_fini(&c->in);
	ctl_out_fini(&c->out);
	free(c);
}

void conn_close(struct conn *c)
{
	struct server *s = c->server;

	if (!s)
		return;
	c->server = NULL;
	vdpa_loop_fd_del(&c->lfd);
	vdpa_fd_close(&c->fd);
	list_del(&c->node);
	s->stats.clients--;
	conn_put(c);
}

static void conn_drop(struct conn *c)
{
	struct server *s = c->server;

	conn_close(c);
	server_conn_gone(s);
}

static bool conn_may_take(const struct conn *c)
{
	return c->pending < CONN_PENDING_MAX && ctl_out_waiting(&c->out) < CONN_OUT_SOFT;
}

/* Tell the loop what we wait for; drop a connection that is finished. */
static void conn_update(struct conn *c)
{
	uint32_t events = 0;

	if (!c->server)
		return;
	if (c->eof && !c->pending && !c->posted && !ctl_out_waiting(&c->out)) {
		conn_drop(c);
		return;
	}
	if (!c->eof && !c->posted && conn_may_take(c))
		events |= EPOLLIN;
	if (ctl_out_waiting(&c->out))
		events |= EPOLLOUT;
	if (events != c->lfd.events && vdpa_loop_fd_mod(&c->lfd, events))
		conn_drop(c);
}

static void conn_more(struct vdpa_loop_msg *msg);

/* Lines that are there already make no descriptor readable: come back by message. */
static void conn_post(struct conn *c)
{
	if (c->posted || !c->server)
		return;
	c->posted = true;
	c->refs++;
	vdpa_loop_post(c->server->p.loop, &c->more, conn_more);
}

static void conn_take_lines(struct conn *c)
{
	char *line;
	size_t len;

	for (unsigned i = 0; c->server; i++) {
		if (!conn_may_take(c))
			return; /* conn_release() or conn_writable() comes back */
		if (i == CONN_LINES_PER_TURN) {
			conn_post(c);
			return;
		}
		if (!ctl_in_line(&c->in, &line, &len))
			return;
		c->server->p.line(c->server->p.arg, c, line, len);
	}
}

static void conn_more(struct vdpa_loop_msg *msg)
{
	struct conn *c = vdpa_container_of(msg, struct conn, more);

	c->posted = false;
	if (c->server) {
		conn_take_lines(c);
		conn_update(c);
	}
	conn_put(c);
}

static const char too_long[] = "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32600,"
			       "\"message\":\"the request is longer than 1048576 bytes\"}}";

static void conn_readable(struct conn *c)
{
	ssize_t n = ctl_in_read(&c->in, c->fd);

	if (n == -EAGAIN)
		return;
	if (n == -EMSGSIZE) {
		/* Where the next request begins is unknown: answer, and hang up. */
		conn_send(c, too_long, sizeof(too_long) - 1);
		if (c->server)
			conn_drop(c);
		return;
	}
	if (n < 0) {
		conn_drop(c);
		return;
	}
	c->active_ns = vdpa_clock_ns();
	if (!n)
		c->eof = true;
	conn_take_lines(c);
}

static void conn_writable(struct conn *c)
{
	int ret = ctl_out_write(&c->out, c->fd);

	if (ret && ret != -EAGAIN) {
		conn_drop(c);
		return;
	}
	if (conn_may_take(c))
		conn_post(c);
}

static void conn_event(struct vdpa_loop_fd *lfd, uint32_t revents)
{
	struct conn *c = vdpa_container_of(lfd, struct conn, lfd);

	c->refs++;
	if (revents & EPOLLOUT)
		conn_writable(c);
	if (c->server && (revents & EPOLLIN))
		conn_readable(c);
	else if (c->server && (revents & (EPOLLHUP | EPOLLERR)))
		conn_drop(c); /* nobody is left to read an answer */
	conn_update(c);
	conn_put(c);
}

int conn_new(struct server *s, int fd, struct conn **out)
{
	struct conn *c = calloc(1, sizeof(*c));
	gid_t gid;
	int ret;

	if (!c) {
		close(fd);
		return -ENOMEM;
	}
	c->fd = fd;
	c->refs = 1;
	c->active_ns = vdpa_clock_ns();
	list_init(&c->node);
	ctl_in_init(&c->in, CTL_REQUEST_MAX);
	ctl_out_init(&c->out, CTL_REPLY_MAX + CONN_EVENTS_MAX);
	ret = vdpa_fd_set_nonblock(fd, true);
	if (!ret)
		ret = ctl_peer(fd, &c->pid, &c->uid, &gid);
	if (!ret)
		ret = vdpa_loop_fd_add(s->p.loop, &c->lfd, fd, EPOLLIN, conn_event);
	if (ret) {
		vdpa_fd_close(&c->fd);
		conn_put(c);
		return ret;
	}
	c->server = s;
	list_add_tail(&s->conns, &c->node);
	s->stats.clients++;
	*out = c;
	return 0;
}

bool conn_is_idle(const struct conn *c)
{
	return !c->pending && !c->subscribed && !c->posted && !ctl_out_waiting(&c->out);
}

void conn_send(struct conn *c, const char *line, size_t len)
{
	int ret;

	if (!c->server)
		return;
	ret = ctl_out_line(&c->out, line, len);
	if (!ret)
		ret = ctl_out_write(&c->out, c->fd);
	if (ret && ret != -EAGAIN)
		conn_hang_up(c);
	else
		conn_update(c);
}

void conn_hang_up(struct conn *c)
{
	if (!c->server)
		return;
	c->server->stats.dropped++;
	conn_drop(c);
}

void conn_subscribe(struct conn *c)
{
	c->subscribed = true;
}

void conn_hold(struct conn *c)
{
	c->refs++;
	c->pending++;
}

void conn_release(struct conn *c)
{
	bool was_full = c->pending-- == CONN_PENDING_MAX;

	if (c->server && was_full)
		conn_post(c);
	conn_update(c);
	conn_put(c);
}
