// SPDX-License-Identifier: BSD-3-Clause
/* Life of a connection, its queue of commands, and its place on the loop. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "vfio_user/conn_impl.h"

/* More than these wait: the socket is not read until some are done. */
#define CMDS_SOFT 256u
#define CMD_BYTES_SOFT (4u << 20)
/* Messages that one event may bring before others have their turn. */
#define READS_MAX 64

/* ---- references ---- */

struct vfu_conn *vfu_conn_get(struct vfu_conn *conn)
{
	atomic_fetch_add_explicit(&conn->refs, 1, memory_order_relaxed);
	return conn;
}

void vfu_conn_put(struct vfu_conn *conn)
{
	if (atomic_fetch_sub_explicit(&conn->refs, 1, memory_order_acq_rel) != 1)
		return;
	vfu_conn_drop_unsent(conn);
	vdpa_fd_close(&conn->fd);
	pthread_cond_destroy(&conn->answered);
	pthread_mutex_destroy(&conn->lock);
	free(conn);
}

/* ---- commands ---- */

static void drop_cmds(struct vfu_conn *conn)
{
	struct list *node;

	while ((node = list_pop(&conn->cmds)))
		vfu_msg_free(list_entry(node, struct vfu_msg, link));
	conn->ncmds = conn->cmd_bytes = 0;
	vfu_msg_free(conn->in);
	conn->in = NULL;
	vdpa_fds_close(&conn->fds);
}

static void tell_closed(struct vfu_conn *conn)
{
	int why;

	if (conn->told || conn->current)
		return;
	conn->told = true;
	drop_cmds(conn);
	pthread_mutex_lock(&conn->lock);
	why = conn->ended_by;
	pthread_mutex_unlock(&conn->lock);
	conn->ops->closed(conn->arg, why);
}

void vfu_conn_dispatch(struct vfu_conn *conn)
{
	struct list *node;

	if (conn->dispatching)
		return;
	conn->dispatching = true;
	vfu_conn_get(conn);
	while (!conn->dead && !conn->current && (node = list_pop(&conn->cmds))) {
		conn->current = list_entry(node, struct vfu_msg, link);
		conn->ncmds--;
		conn->cmd_bytes -= conn->current->len;
		conn->ops->command(conn->arg, conn->current);
	}
	conn->dispatching = false;
	if (conn->dead)
		tell_closed(conn);
	vfu_conn_put(conn);
}

void vfu_conn_next(struct vfu_conn *conn)
{
	vfu_msg_free(conn->current);
	conn->current = NULL;
	if (conn->dispatching)
		return;
	if (conn->loop)
		vfu_conn_wake(conn);
	else
		vfu_conn_dispatch(conn);
}

/* ---- the loop ---- */

/*
 * A reply may lie behind any number of commands: while one is waited for, reading goes on, up to
 * the hard limit. Who begins to wait looks at @paused.
 */
static uint32_t wanted(struct vfu_conn *conn)
{
	bool full = conn->ncmds > CMDS_SOFT || conn->cmd_bytes > CMD_BYTES_SOFT, waited, unsent;

	atomic_store(&conn->paused, full);
	pthread_mutex_lock(&conn->lock);
	waited = !list_empty(&conn->waiters);
	unsent = !list_empty(&conn->out);
	pthread_mutex_unlock(&conn->lock);
	return (full && !waited ? 0 : EPOLLIN) | (unsent ? EPOLLOUT : 0);
}

static void set_events(struct vfu_conn *conn)
{
	uint32_t events = wanted(conn);

	if (!conn->dead && conn->lfd.events != events && vdpa_loop_fd_mod(&conn->lfd, events))
		vfu_conn_close(conn, -ENOMEM);
}

static void readable(struct vdpa_loop_fd *lfd, uint32_t revents)
{
	struct vfu_conn *conn = vdpa_container_of(lfd, struct vfu_conn, lfd);
	int r = 1;

	vfu_conn_get(conn);
	if (revents & EPOLLOUT)
		r = vfu_conn_flush(conn);
	for (unsigned i = 0; i < READS_MAX && r >= 0 && !conn->dead; i++) {
		if (!(wanted(conn) & EPOLLIN))
			break;
		r = vfu_conn_read(conn);
		if (!r)
			break;
		vfu_conn_dispatch(conn);
	}
	if (r < 0)
		vfu_conn_close(conn, r);
	else if (revents & (EPOLLHUP | EPOLLERR) && !(wanted(conn) & EPOLLIN))
		vfu_conn_close(conn, -ECONNRESET);
	set_events(conn);
	vfu_conn_put(conn);
}

static void woken(struct vdpa_loop_msg *msg)
{
	struct vfu_conn *conn = vdpa_container_of(msg, struct vfu_conn, wake);
	int r;

	atomic_store(&conn->woken, false);
	r = vfu_conn_flush(conn);
	if (conn->dead || r < 0)
		vfu_conn_close(conn, r < 0 ? r : -EIO);
	vfu_conn_dispatch(conn);
	set_events(conn);
	vfu_conn_put(conn);
}

void vfu_conn_wake(struct vfu_conn *conn)
{
	if (!conn->loop || atomic_exchange(&conn->woken, true))
		return;
	vfu_conn_get(conn);
	vdpa_loop_post(conn->loop, &conn->wake, woken);
}

/* ---- life ---- */

int vfu_conn_new(struct vdpa_loop *loop, int fd, const struct vfu_conn_ops *ops, void *arg,
		 struct vfu_conn **out)
{
	struct vfu_conn *conn = calloc(1, sizeof(*conn));
	pthread_condattr_t attr;
	int r;

	if (!conn) {
		vdpa_fd_close(&fd);
		return -ENOMEM;
	}
	atomic_init(&conn->refs, 1);
	conn->loop = loop;
	conn->fd = fd;
	conn->ops = ops;
	conn->arg = arg;
	list_init(&conn->cmds);
	list_init(&conn->out);
	list_init(&conn->waiters);
	pthread_mutex_init(&conn->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&conn->answered, &attr);
	pthread_condattr_destroy(&attr);
	r = vdpa_fd_set_nonblock(fd, true);
	if (!r && loop)
		r = vdpa_loop_fd_add(loop, &conn->lfd, fd, EPOLLIN, readable);
	if (r) {
		vfu_conn_put(conn);
		return r;
	}
	*out = conn;
	return 0;
}

static void mark_dead(struct vfu_conn *conn, int why)
{
	pthread_mutex_lock(&conn->lock);
	atomic_store(&conn->dead, true);
	if (!conn->ended_by)
		conn->ended_by = why;
	vfu_conn_fail_waiters(conn, why);
	pthread_mutex_unlock(&conn->lock);
}

void vfu_conn_close(struct vfu_conn *conn, int why)
{
	if (conn->closing)
		return;
	conn->closing = true;
	mark_dead(conn, why ? why : -ECONNRESET);
	vdpa_loop_fd_del(&conn->lfd);
	if (!conn->dispatching)
		tell_closed(conn);
}

void vfu_conn_abort(struct vfu_conn *conn, int why)
{
	mark_dead(conn, why);
	vfu_conn_wake(conn);
}

int vfu_conn_pump(struct vfu_conn *conn, int64_t timeout_ns)
{
	uint64_t deadline = timeout_ns < 0 ? UINT64_MAX : vdpa_clock_ns() + (uint64_t)timeout_ns;
	int r;

	do {
		if (conn->dead)
			return -EIO;
		r = vfu_conn_read_wait(conn, deadline);
	} while (!r);
	if (r < 0 && r != -ETIMEDOUT)
		vfu_conn_close(conn, r);
	vfu_conn_dispatch(conn);
	return r < 0 ? r : 0;
}
