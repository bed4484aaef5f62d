// SPDX-License-Identifier: BSD-3-Clause
/*
 * Requests of ours, and their replies. A number is given again only when nobody waits for it. A
 * reply that nobody waits for is no error when its request has timed out, which cannot be told from
 * one that was never asked for; but after a timeout the connection is at its end anyway.
 *
 * Who attacks: a peer that answers each request just in time. Whoever waits for it serves nobody
 * else, so that all such waits together have a budget. It is one of slowness: however many answers
 * that come soon cost nothing.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/loop_urgent.h"
#include "vfio_user/conn_impl.h"

/* Under the lock. */
static struct vfu_waiter *find(struct vfu_conn *conn, uint16_t id)
{
	struct vfu_waiter *w;

	list_for_each_entry (w, &conn->waiters, link) {
		if (w->id == id)
			return w;
	}
	return NULL;
}

/* Under the lock: what the peer answered. */
static int result_of(struct vfu_call *call, struct vfu_msg *msg)
{
	if (msg->head.cmd != call->cmd)
		return -EPROTO;
	if (msg->head.flags & VFU_F_ERROR)
		return msg->head.error && msg->head.error < 4096 ? -(int)msg->head.error : -EIO;
	if (msg->len > call->reply_max || (msg->fds.n && !call->reply_fds))
		return -EPROTO;
	if (msg->len)
		memcpy(call->reply, msg->data, msg->len);
	call->reply_len = msg->len;
	if (call->reply_fds) {
		*call->reply_fds = msg->fds;
		msg->fds.n = 0;
	}
	return 0;
}

/* Under the lock. */
static void tell(struct vfu_conn *conn, struct vfu_waiter *w, int result)
{
	w->result = result;
	w->done = true;
	if (!w->urgent)
		pthread_cond_broadcast(&conn->answered);
	else if (w->urgent != conn->loop)
		vdpa_loop_nudge(w->urgent); /* the reader looks by itself */
}

int vfu_conn_reply(struct vfu_conn *conn, struct vfu_msg *msg)
{
	struct vfu_waiter *w;
	int r = -EPROTO;

	pthread_mutex_lock(&conn->lock);
	w = find(conn, msg->head.id);
	if (w) {
		list_del(&w->link);
		tell(conn, w, result_of(w->call, msg));
		r = w->result == -EPROTO ? -EPROTO : 0;
	}
	pthread_mutex_unlock(&conn->lock);
	vfu_msg_free(msg);
	return r;
}

void vfu_conn_fail_waiters(struct vfu_conn *conn, int why)
{
	struct list *node;

	while ((node = list_pop(&conn->waiters)))
		tell(conn, list_entry(node, struct vfu_waiter, link), why == -EPROTO ? why : -EIO);
}

static bool is_reader(const struct vfu_conn *conn)
{
	return !conn->loop || vdpa_loop_is_current(conn->loop);
}

static bool is_done(struct vfu_conn *conn, const struct vfu_waiter *w)
{
	bool done;

	pthread_mutex_lock(&conn->lock);
	done = w->done;
	pthread_mutex_unlock(&conn->lock);
	return done;
}

/*
 * The loop inside of this thread's goes on, whoever reads the connection: a client that serves our
 * request only after one of its own was answered may have sent that to another device, which is
 * served here. -EBUSY: it is the one that waits.
 */
static int serve_until(struct vfu_conn *conn, struct vfu_waiter *w, uint64_t deadline)
{
	uint64_t now = vdpa_clock_ns();
	int r = 0;

	for (; !is_done(conn, w) && r >= 0 && now < deadline; now = vdpa_clock_ns())
		r = vdpa_loop_serve_urgent(w->urgent, (int64_t)(deadline - now));
	return r < 0 ? r : is_done(conn, w) ? 0 : -ETIMEDOUT;
}

/* The reader reads on until its reply is there. */
static int read_until(struct vfu_conn *conn, struct vfu_waiter *w, uint64_t deadline)
{
	int r = w->urgent ? serve_until(conn, w, deadline) : -EBUSY;

	if (r != -EBUSY)
		return r;
	r = 0;
	while (!is_done(conn, w) && r >= 0) {
		r = vfu_conn_read_wait(conn, deadline);
		/* Without a loop nobody else serves the peer's commands. */
		if (r > 0 && !conn->loop)
			vfu_conn_dispatch(conn);
	}
	if (r < 0)
		vfu_conn_close(conn, r);
	else if (conn->loop)
		vfu_conn_wake(conn); /* commands that came in between */
	return r;
}

static void sleep_until(struct vfu_conn *conn, struct vfu_waiter *w, uint64_t deadline)
{
	struct timespec at = {.tv_sec = (time_t)(deadline / 1000000000ull),
			      .tv_nsec = (long)(deadline % 1000000000ull)};

	pthread_mutex_lock(&conn->lock);
	while (!w->done && pthread_cond_timedwait(&conn->answered, &conn->lock, &at) != ETIMEDOUT) {
	}
	pthread_mutex_unlock(&conn->lock);
}

/* Under the lock. */
static void enlist(struct vfu_conn *conn, struct vfu_waiter *w)
{
	do {
		w->id = ++conn->last_id;
	} while (find(conn, w->id));
	list_add_tail(&conn->waiters, &w->link);
}

/* What of a wait is slow, and how much of the time that passes is given back. */
#define SLOW_NS 100000000ull
#define GIVEN_BACK 10

/* Under the lock. A wait since @begin is over: was that more than the budget has? */
static bool is_too_slow(struct vfu_conn *conn, uint64_t begin)
{
	uint64_t now = vdpa_clock_ns(), back = (now - conn->slow_at) / GIVEN_BACK;

	if (!conn->budget_ns || now - begin <= SLOW_NS)
		return false;
	conn->slow_ns -= back < conn->slow_ns ? back : conn->slow_ns;
	conn->slow_ns += now - begin - SLOW_NS;
	conn->slow_at = now;
	return conn->slow_ns > conn->budget_ns;
}

static int wait_reply(struct vfu_conn *conn, struct vfu_waiter *w, uint64_t timeout_ns)
{
	uint64_t begin = vdpa_clock_ns(), deadline = begin + timeout_ns;
	bool too_slow;
	int r = 0;

	if (is_reader(conn))
		r = read_until(conn, w, deadline);
	else if (w->urgent)
		r = serve_until(conn, w, deadline);
	else
		sleep_until(conn, w, deadline);
	pthread_mutex_lock(&conn->lock);
	if (!w->done) {
		list_del(&w->link);
		w->result = r < 0 ? r : -ETIMEDOUT;
	} else if (r == -ETIMEDOUT) {
		/* The reader has ended the connection for it, which to all others is -EIO. */
		w->result = r;
	}
	too_slow = !conn->dead && is_too_slow(conn, begin);
	pthread_mutex_unlock(&conn->lock);
	if (w->result == -ETIMEDOUT || too_slow)
		vfu_conn_abort(conn, too_slow ? -ETIME : -ETIMEDOUT);
	return w->result;
}

/* What may be served while this thread waits: for the reader, what brings the reply. */
static struct vdpa_loop *urgent_of(struct vfu_conn *conn)
{
	struct vdpa_loop *urgent;

	if (!conn->loop)
		return NULL;
	urgent = vdpa_loop_group_urgent(vdpa_loop_get_group(conn->loop));
	if (is_reader(conn) && (urgent != conn->loop || !conn->reentrant))
		return NULL;
	return urgent;
}

int vfu_conn_call(struct vfu_conn *conn, struct vfu_call *call)
{
	struct vfu_waiter w = {.call = call, .urgent = urgent_of(conn)};
	struct vfu_out out = {
		.head = {.cmd = call->cmd},
		.iov = call->iov,
		.niov = call->niov,
		.fds = call->fds,
		.nfds = call->nfds,
	};
	int r = 0;

	call->reply_len = 0;
	if (call->reply_fds)
		*call->reply_fds = (struct vdpa_fds){.n = 0};
	pthread_mutex_lock(&conn->lock);
	if (conn->dead)
		r = -EIO;
	else
		enlist(conn, &w);
	pthread_mutex_unlock(&conn->lock);
	if (r)
		return r;
	if (atomic_load(&conn->paused))
		vfu_conn_wake(conn);
	out.head.id = w.id;
	r = vfu_conn_send(conn, &out);
	if (r) {
		pthread_mutex_lock(&conn->lock);
		if (!w.done)
			list_del(&w.link);
		pthread_mutex_unlock(&conn->lock);
		return r;
	}
	return wait_reply(conn, &w, call->timeout_ns);
}
