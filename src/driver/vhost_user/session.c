// SPDX-License-Identifier: BSD-3-Clause
/*
 * One connection: framing, descriptors, answers, and the end of it.
 *
 * Who attacks: whoever is at the other end of the socket. It may send any bytes in any portions
 * with any number of descriptors, never read our answers, and go away at any point. So: at most one
 * message is held, at most one answer waits to be sent (and nothing is read until it has gone),
 * descriptors that no message wants are closed, and a framing error ends the session, since nothing
 * after it can be trusted to be a header.
 */
#include "driver/vhost_user/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* Messages of one session per wake-up: other devices share the control loop. */
#define BUDGET 32

static void session_io(struct vdpa_loop_fd *lfd, uint32_t revents);
static void session_down(struct vu_session *s);

/* ---- waiting ---- */

void vu_wait_begin(struct vu_session *s, void (*next)(struct vu_session *s, int result))
{
	s->wait = (struct vu_wait){.n = 1, .next = next};
}

static void wait_done(void *arg, int result)
{
	vu_wait_put(arg, result);
}

struct vdpa_done vu_wait_add(struct vu_session *s)
{
	s->wait.n++;
	return (struct vdpa_done){.fn = wait_done, .arg = s};
}

void vu_wait_put(struct vu_session *s, int result)
{
	if (result && !s->wait.result)
		s->wait.result = result;
	if (--s->wait.n)
		return;
	s->wait.next(s, s->closing ? -ECANCELED : s->wait.result);
}

static void done_cb(void *arg, int result)
{
	vu_session_done(arg, result);
}

struct vdpa_done vu_session_done_cb(struct vu_session *s)
{
	return (struct vdpa_done){.fn = done_cb, .arg = s};
}

/* ---- sending ---- */

static void want(struct vu_session *s)
{
	uint32_t events = 0;

	if (s->tx_len)
		events = EPOLLOUT;
	else if (!s->deferred)
		events = EPOLLIN;
	if (s->lfd.loop && s->lfd.events != events && vdpa_loop_fd_mod(&s->lfd, events))
		vu_session_close(s, "cannot watch the socket");
}

static int flush_tx(struct vu_session *s, int fd)
{
	struct iovec iov = {s->tx + s->tx_off, s->tx_len - s->tx_off};
	ssize_t n = vdpa_sock_send(s->fd, &iov, 1, &fd, fd >= 0 ? 1 : 0);

	if (n == -EAGAIN && fd < 0)
		return 0;
	if (n < 0)
		return (int)n;
	s->tx_off += (size_t)n;
	if (s->tx_off == s->tx_len)
		s->tx_len = s->tx_off = 0;
	return 0;
}

/*
 * Answers are small and one at a time, so the socket has room for them unless the peer does not
 * read. A descriptor must go with the first byte: a peer that left no room for even that is given
 * up.
 */
void vu_reply(struct vu_session *s, const void *payload, uint32_t size, int fd)
{
	struct vhost_user_hdr hdr = {
		.request = s->msg.hdr.request,
		.flags = VHOST_USER_VERSION | VHOST_USER_FLAG_REPLY,
		.size = size,
	};

	if (s->closing)
		return;
	if (s->tx_len || sizeof(hdr) + size > sizeof(s->tx)) {
		vu_session_close(s, "more than one answer to a message");
		return;
	}
	memcpy(s->tx, &hdr, sizeof(hdr));
	if (size)
		memcpy(s->tx + sizeof(hdr), payload, size);
	s->tx_len = sizeof(hdr) + size;
	if (flush_tx(s, fd))
		vu_session_close(s, "the front end does not take answers");
}

void vu_reply_u64(struct vu_session *s, uint64_t value)
{
	vu_reply(s, &value, sizeof(value), -1);
}

/* ---- receiving ---- */

/* More bytes of the part [@got, @want) of header or payload. 1: some came; 0: not now; -1: closed.
 */
static int receive(struct vu_session *s, void *buf, size_t len)
{
	struct vdpa_fds fds;
	ssize_t n = vdpa_sock_recv(s->fd, buf, len, &fds, MSG_DONTWAIT);

	if (s->rx_len == 0) {
		s->msg.fds = fds;
	} else if (fds.n || fds.surplus || fds.truncated) {
		vdpa_fds_close(&fds);
		vu_session_close(s, "descriptors in the middle of a message");
		return -1;
	}
	if (n == -EAGAIN || n == -EINTR)
		return 0;
	if (n <= 0) {
		vdpa_fds_close(&s->msg.fds);
		vu_session_close(s, n ? strerror((int)-n) : s->rx_len ? "in a message" : NULL);
		return -1;
	}
	s->rx_len += (size_t)n;
	return 1;
}

/* 1: a message is complete; 0: not yet; -1: the session is over. */
static int receive_message(struct vu_session *s)
{
	const size_t hdr_len = sizeof(s->msg.hdr);
	const char *why;
	int ret;

	while (s->rx_len < hdr_len) {
		ret = receive(s, (uint8_t *)&s->msg.hdr + s->rx_len, hdr_len - s->rx_len);
		if (ret <= 0)
			return ret;
		if (s->rx_len == hdr_len && !vhost_user_hdr_valid(&s->msg.hdr, false, &why)) {
			vu_log(s, VDPA_LOG_WARN, "vhost-user: header of request %u: %s",
			       s->msg.hdr.request, why);
			s->dev->refused++;
			vu_session_close(s, "framing");
			return -1;
		}
	}
	while (s->rx_len < hdr_len + s->msg.hdr.size) {
		size_t off = s->rx_len - hdr_len;

		ret = receive(s, s->payload.bytes + off, s->msg.hdr.size - off);
		if (ret <= 0)
			return ret;
	}
	return 1;
}

static void read_messages(struct vu_session *s)
{
	for (unsigned n = 0; n < BUDGET; n++) {
		if (s->closing || s->deferred || s->tx_len || receive_message(s) <= 0)
			return;
		s->rx_len = 0;
		vu_dispatch(s);
	}
}

static void session_io(struct vdpa_loop_fd *lfd, uint32_t revents)
{
	struct vu_session *s = vdpa_container_of(lfd, struct vu_session, lfd);

	s->in_handler = true;
	if ((revents & EPOLLOUT) && s->tx_len && flush_tx(s, -1))
		vu_session_close(s, "the front end does not take answers");
	if ((revents & (EPOLLHUP | EPOLLERR)) && (s->deferred || s->tx_len))
		vu_session_close(s, NULL);
	read_messages(s);
	s->in_handler = false;
	if (s->closing)
		session_down(s);
	else
		want(s);
}

/* ---- deferred answers ---- */

void vu_session_done(struct vu_session *s, int result)
{
	if (!s->deferred) {
		/* Still inside the handler: its caller picks this up. */
		s->done_called = true;
		s->done_result = result;
		return;
	}
	s->deferred = false;
	vu_dispatch_end(s, result);
	if (s->in_handler)
		return;
	if (s->closing)
		session_down(s);
	else
		want(s);
}

/* ---- life ---- */

static void opened(void *arg, int result)
{
	struct vu_session *s = arg;
	struct vu_dev *dev = s->dev;

	s->deferred = false;
	if (!result && !s->closing)
		result = vdpa_loop_fd_add(vdpa_ctx_control(dev->vdev->ctx), &s->lfd, s->fd, EPOLLIN,
					  session_io);
	if (result)
		vu_session_close(s, strerror(-result));
	if (s->closing) {
		session_down(s);
		return;
	}
	vu_dev_opened(dev);
	vu_log(s, VDPA_LOG_INFO, "vhost-user: connected");
	vdpa_notify(dev->vdev, VDPA_EVENT_CHANGE, VHOST_USER_EVENT_CONNECTED);
}

static struct vu_session *session_alloc(struct vu_dev *dev, int fd)
{
	struct vu_session *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->nrings = vu_rings(dev->vdev, dev->control_queue);
	s->ring = calloc(s->nrings ? s->nrings : 1, sizeof(*s->ring));
	if (!s->ring) {
		free(s);
		return NULL;
	}
	s->dev = dev;
	s->fd = fd;
	s->log_fd = -1;
	s->backend.s = s;
	s->backend.fd = -1;
	s->msg.payload = &s->payload;
	for (unsigned i = 0; i < s->nrings; i++) {
		s->ring[i].s = s;
		s->ring[i].idx = (uint16_t)i;
	}
	return s;
}

int vu_session_new(struct vu_dev *dev, int fd)
{
	struct vu_session *s;
	int err = vdpa_fd_set_nonblock(fd, true);

	s = err ? NULL : session_alloc(dev, fd);
	if (!s) {
		close(fd);
		return err ? err : -ENOMEM;
	}
	dev->session = s;
	dev->connections++;
	s->deferred = true;
	err = vhost_vdpa_open(dev->v, &(struct vdpa_done){.fn = opened, .arg = s});
	if (err) {
		dev->session = NULL;
		close(fd);
		free(s->ring);
		free(s);
	}
	return err;
}

static void session_freed(void *arg, int result)
{
	struct vu_session *s = arg;
	struct vu_dev *dev = s->dev;

	/* No queue runs any more: without one there is nothing that this could fail for. */
	vu_iotlb_update_miss(s);
	vu_log_free(s);
	vu_mem_free(s);
	vu_inflight_free(s);
	free(s->ring);
	free(s);
	dev->session = NULL;
	vu_dev_session_gone(dev);
}

static void session_unlogged(void *arg, int result)
{
	struct vu_session *s = arg;
	struct vdpa_done done = {.fn = session_freed, .arg = s};

	if (vhost_vdpa_release(s->dev->v, &done))
		session_freed(s, 0);
}

/* Nothing of this session is under way: give the device back to its initial state. */
static void session_down(struct vu_session *s)
{
	struct vdpa_done done = {.fn = session_unlogged, .arg = s};

	if (s->down || s->deferred)
		return;
	s->down = true;
	/* Those of a message that never became whole, or whose header was none. */
	vdpa_fds_close(&s->msg.fds);
	for (unsigned i = 0; i < s->nrings; i++)
		vu_discard_stop(&s->ring[i]);
	s->features = 0;
	s->logging = false;
	if (!s->log || vu_log_apply(s, &done))
		session_unlogged(s, 0);
}

void vu_session_close(struct vu_session *s, const char *why)
{
	struct vdpa_device *vdev = s->dev->vdev;

	if (s->closing)
		return;
	s->closing = true;
	vu_log(s, why ? VDPA_LOG_WARN : VDPA_LOG_INFO, "vhost-user: connection ends%s%s",
	       why ? ": " : "", why ? why : "");
	vdpa_loop_fd_del(&s->lfd);
	vdpa_loop_timer_cancel(&s->poll_timer);
	vu_backend_close(s);
	vdpa_fd_close(&s->fd);
	vdpa_fd_close(&s->log_fd);
	vdpa_notify(vdev, VDPA_EVENT_CHANGE, VHOST_USER_EVENT_DISCONNECTED);
	if (!s->in_handler && !s->deferred)
		session_down(s);
}
