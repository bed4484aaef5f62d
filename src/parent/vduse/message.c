// SPDX-License-Identifier: BSD-3-Clause
/*
 * Requests to the process. One is out at a time, and the next one goes when it was answered: device
 * processes work that way anyhow. A request that nobody answers in time breaks the device; the time
 * runs from when it is first in line, whether or not there is a process.
 *
 * A process that dies with a request leaves it to the next one. So a request may be seen twice.
 *
 * Who attacks: the process, by answers that are late, doubled, of a wrong size or of nobody's
 * question: those are counted, and change nothing.
 */
#include "parent/vduse/vduse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

static struct vdu_msg *first(const struct vdu_dev *d)
{
	struct list *node = list_first(&d->msgs);

	return node ? list_entry(node, struct vdu_msg, node) : NULL;
}

static void expired(struct vdpa_loop_timer *timer)
{
	struct vdu_dev *d = vdpa_container_of(timer, struct vdu_dev, timer);

	if (d->broken)
		vdu_messages_fail(d, -EIO);
	else
		vdu_break(d, -ETIMEDOUT,
			  d->conn ? "its process did not answer in time (msg_timeout_ms)"
				  : "it has no process, and none came in time (msg_timeout_ms)");
}

static void send_first(struct vdu_dev *d, struct vdu_msg *msg)
{
	uint8_t buf[VDU_WIRE_MAX];
	struct iovec iov = {buf, 0};

	if (!d->conn || d->conn->file < 0 || msg->sent)
		return;
	iov.iov_len = d->profile->encode(msg, buf);
	/* There is room: it is the only one. A process that is gone is found out by its file. */
	msg->sent = vdpa_sock_send(d->conn->file, &iov, 1, NULL, 0) == (ssize_t)iov.iov_len;
	if (msg->sent)
		d->messages++;
}

/* The first one goes out, and its time runs. */
static void pump(struct vdu_dev *d)
{
	struct vdu_msg *msg = first(d);
	uint64_t now = vdpa_clock_ns();

	if (!msg) {
		vdpa_loop_timer_cancel(&d->timer);
		return;
	}
	if (!msg->deadline_ns)
		msg->deadline_ns = d->broken ? now : now + d->timeout_ns;
	if (d->broken || d->timeout_ns)
		vdpa_loop_timer_set(vdu_loop(d), &d->timer, msg->deadline_ns, expired);
	if (!d->broken)
		send_first(d, msg);
}

struct vdu_msg *vdu_msg_new(struct vdu_dev *d, enum vdu_op op,
			    void (*done)(struct vdu_msg *msg, const struct vdu_answer *a,
					 int result))
{
	struct vdu_msg *msg = calloc(1, sizeof(*msg));

	if (!msg)
		return NULL;
	msg->d = d;
	msg->done = done;
	msg->op = op;
	return msg;
}

void vdu_send(struct vdu_msg *msg)
{
	struct vdu_dev *d = msg->d;

	msg->id = d->next_id++;
	list_add_tail(&d->msgs, &msg->node);
	if (first(d) == msg)
		pump(d);
}

struct vdu_msg *vdu_msg_unsent(const struct vdu_dev *d, enum vdu_op op, uint32_t index)
{
	struct vdu_msg *msg;

	list_for_each_entry (msg, &d->msgs, node) {
		if (msg->op == op && msg->index == index && !msg->sent)
			return msg;
	}
	return NULL;
}

static void finish(struct vdu_msg *msg, const struct vdu_answer *a, int result)
{
	list_del(&msg->node);
	msg->done(msg, a, result);
	free(msg);
}

void vdu_messages_fail(struct vdu_dev *d, int result)
{
	struct list all = LIST_INIT(all), *node;

	vdpa_loop_timer_cancel(&d->timer);
	list_splice_tail(&all, &d->msgs);
	while ((node = list_first(&all)))
		finish(list_entry(node, struct vdu_msg, node), NULL, result);
}

/* ---- answers ---- */

static void answered(struct vdu_dev *d, const struct vdu_answer *a)
{
	struct vdu_msg *msg = first(d);

	if (!msg || !msg->sent || a->id != msg->id) {
		d->answers_late++;
		vdu_log(d, VDPA_LOG_WARN, "vduse: an answer (%u) that nobody waits for", a->id);
		return;
	}
	if (a->failed)
		d->failures++;
	finish(msg, a, a->failed ? -EIO : 0);
	pump(d);
}

void vdu_messages_ready(struct vdu_dev *d, uint32_t revents)
{
	uint8_t buf[VDU_WIRE_MAX];
	size_t bytes = d->profile->response_bytes;
	struct vdu_answer a;
	struct vdpa_fds fds;
	/* One byte more is too many, however many come. */
	ssize_t n = vdpa_sock_recv(d->conn->file, buf, bytes + 1, &fds, 0);

	vdpa_fds_close(&fds);
	if (n == -EAGAIN || n == -EINTR)
		return;
	if (n <= 0) {
		vdu_conn_close(d->conn);
		return;
	}
	if ((size_t)n != bytes) {
		d->answers_bad++;
		vdu_log(d, VDPA_LOG_WARN, "vduse: an answer of %zd bytes; they have %zu", n, bytes);
		return;
	}
	d->profile->decode(buf, &a);
	answered(d, &a);
}

/* ---- processes come and go ---- */

void vdu_messages_connected(struct vdu_dev *d)
{
	vdu_log_life(d, VDPA_LOG_INFO, "vduse: a process opened it");
	vdu_engine_connected(d);
	pump(d);
}

/* Who is gone uses no memory: what waits for that goes on. */
static struct vdu_msg *next_unmap(struct vdu_dev *d)
{
	struct vdu_msg *msg;

	list_for_each_entry (msg, &d->msgs, node) {
		if (msg->op == VDU_UPDATE_IOTLB)
			return msg;
	}
	return NULL;
}

void vdu_messages_disconnected(struct vdu_dev *d)
{
	struct vdu_msg *msg;

	vdu_log_life(d, VDPA_LOG_INFO, "vduse: its process is gone");
	d->granted = false;
	for (uint32_t i = 0; i < d->nvqs; i++)
		vdu_set_kickfd(&d->vq[i], -1);
	vdu_rfc3_disconnected(d);
	while ((msg = next_unmap(d)))
		finish(msg, NULL, 0);
	list_for_each_entry (msg, &d->msgs, node)
		msg->sent = false;
	if (d->vdev)
		vdpa_notify(d->vdev, VDPA_EVENT_CHANGE, "its process is gone");
	vdu_engine_run(d);
	pump(d);
}
