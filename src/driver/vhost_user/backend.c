// SPDX-License-Identifier: BSD-3-Clause
/*
 * The channel for requests of ours ("Back-end communication"): IOTLB misses, config changes, and
 * calls and errors in band.
 *
 * Who attacks: the front end may never read the channel, never answer, or answer rubbish. What is
 * to be sent is kept as flags and as a bounded list, not as a queue of messages; one request is
 * under way at a time when answers are to be had (REPLY_ACK), so that answers cannot be confused.
 */
#include "driver/vhost_user/server.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>

static void channel_close(struct vu_backend *b)
{
	vdpa_loop_fd_del(&b->lfd);
	vdpa_fd_close(&b->fd);
	vdpa_loop_timer_cancel(&b->settle_timer);
	b->awaiting = false;
	b->tx_len = b->tx_off = b->rx_len = b->nsettled = 0;
}

void vu_backend_close(struct vu_session *s)
{
	channel_close(&s->backend);
}

static void channel_lost(struct vu_session *s)
{
	channel_close(&s->backend);
	vu_iotlb_update_miss(s);
}

/* ---- sending ---- */

static void compose(struct vu_backend *b, uint32_t request, const void *payload, uint32_t size)
{
	struct vhost_user_hdr hdr = {.request = request, .flags = VHOST_USER_VERSION, .size = size};

	if (vu_has_proto(b->s, VHOST_USER_PROTOCOL_F_REPLY_ACK)) {
		hdr.flags |= VHOST_USER_FLAG_NEED_REPLY;
		b->awaiting = true;
		b->awaited = request;
	}
	memcpy(b->tx, &hdr, sizeof(hdr));
	if (size)
		memcpy(b->tx + sizeof(hdr), payload, size);
	b->tx_len = sizeof(hdr) + size;
	b->tx_off = 0;
}

static bool take_miss(struct vu_dev *dev, struct vhost_iotlb_msg *msg)
{
	bool any;

	pthread_mutex_lock(&dev->miss_lock);
	any = dev->nmisses;
	if (any) {
		*msg = dev->miss[0];
		dev->nmisses--;
		memmove(&dev->miss[0], &dev->miss[1], dev->nmisses * sizeof(dev->miss[0]));
	}
	pthread_mutex_unlock(&dev->miss_lock);
	return any;
}

static bool compose_inband(struct vu_backend *b)
{
	struct vu_session *s = b->s;

	if (!vu_has_proto(s, VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS))
		return false;
	for (unsigned n = 0; n < s->nrings; n++) {
		struct vu_ring *r = &s->ring[(b->next_ring + n) % s->nrings];
		struct vhost_vring_state state = {.index = r->idx};
		uint32_t request;

		if (atomic_exchange(&r->err_pending, false))
			request = VHOST_USER_BACKEND_VRING_ERR;
		else if (atomic_exchange(&r->call_pending, false))
			request = VHOST_USER_BACKEND_VRING_CALL;
		else
			continue;
		b->next_ring = r->idx + 1u;
		compose(b, request, &state, sizeof(state));
		return true;
	}
	return false;
}

static bool compose_next(struct vu_backend *b)
{
	struct vu_dev *dev = b->s->dev;
	struct vhost_iotlb_msg miss;

	while (take_miss(dev, &miss)) {
		/* Found missing in a map that was out of date by then. */
		if (vu_iotlb_has(b->s, &miss))
			continue;
		b->miss = miss;
		compose(b, VHOST_USER_BACKEND_IOTLB_MSG, &miss, sizeof(miss));
		if (!b->awaiting)
			vu_iotlb_settle(b->s, &miss);
		return true;
	}
	/* "Suspended device state": nothing is said while all rings are stopped; it is kept for
	 * later. */
	if (vu_session_state(b->s) != VU_RUNNING)
		return false;
	if (vu_has_proto(b->s, VHOST_USER_PROTOCOL_F_CONFIG) &&
	    atomic_exchange(&dev->config_changed, false)) {
		compose(b, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG, NULL, 0);
		return true;
	}
	return compose_inband(b);
}

static int flush_tx(struct vu_backend *b)
{
	struct iovec iov = {b->tx + b->tx_off, b->tx_len - b->tx_off};
	ssize_t n = vdpa_sock_send(b->fd, &iov, 1, NULL, 0);

	if (n == -EAGAIN)
		return 0;
	if (n < 0)
		return (int)n;
	b->tx_off += (size_t)n;
	if (b->tx_off == b->tx_len)
		b->tx_len = b->tx_off = 0;
	return 0;
}

void vu_backend_work(struct vu_session *s)
{
	struct vu_backend *b = &s->backend;
	uint32_t events;

	if (b->fd < 0)
		return;
	while (!b->tx_len && !b->awaiting && compose_next(b))
		if (flush_tx(b)) {
			channel_lost(s);
			return;
		}
	events = EPOLLIN | (b->tx_len ? EPOLLOUT : 0);
	if (b->lfd.events != events && vdpa_loop_fd_mod(&b->lfd, events))
		channel_lost(s);
}

/* ---- answers ---- */

static int answer(struct vu_backend *b)
{
	struct vhost_user_hdr hdr;
	uint64_t result;
	const char *why;

	memcpy(&hdr, b->rx, sizeof(hdr));
	memcpy(&result, b->rx + sizeof(hdr), sizeof(result));
	if (!vhost_user_hdr_valid(&hdr, true, &why) || !b->awaiting || hdr.request != b->awaited ||
	    hdr.size != sizeof(result))
		return -EPROTO;
	b->awaiting = false;
	b->rx_len = 0;
	if (hdr.request == VHOST_USER_BACKEND_IOTLB_MSG)
		vu_iotlb_settle(b->s, &b->miss);
	if (result && hdr.request == VHOST_USER_BACKEND_IOTLB_MSG)
		vu_log(b->s, VDPA_LOG_WARN,
		       "vhost-user: the front end has no translation for 0x%llx",
		       (unsigned long long)b->miss.iova);
	return 0;
}

/* 0: nothing more now; -errno: the channel is of no use any more. */
static int receive(struct vu_backend *b)
{
	struct vdpa_fds fds;
	ssize_t n;
	int err;

	for (;;) {
		n = vdpa_sock_recv(b->fd, b->rx + b->rx_len, sizeof(b->rx) - b->rx_len, &fds,
				   MSG_DONTWAIT);
		vdpa_fds_close(&fds);
		if (n == -EAGAIN || n == -EINTR)
			return 0;
		if (n <= 0)
			return n ? (int)n : -EPIPE;
		b->rx_len += (size_t)n;
		if (b->rx_len < sizeof(b->rx))
			continue;
		err = answer(b);
		if (err)
			return err;
	}
}

static void channel_io(struct vdpa_loop_fd *lfd, uint32_t revents)
{
	struct vu_backend *b = vdpa_container_of(lfd, struct vu_backend, lfd);
	int err = 0;

	if ((revents & EPOLLOUT) && b->tx_len)
		err = flush_tx(b);
	if (!err)
		err = receive(b);
	if (!err) {
		vu_backend_work(b->s);
		return;
	}
	if (err == -EPROTO)
		vu_log(b->s, VDPA_LOG_WARN,
		       "vhost-user: the channel for requests brought no answer "
		       "that was due, and is closed");
	channel_lost(b->s);
}

/* ---- set up ---- */

int vu_backend_set(struct vu_session *s, int fd)
{
	struct vu_backend *b = &s->backend;
	struct stat st;
	int err = 0;

	if (fstat(fd, &st))
		err = -errno;
	else if (!S_ISSOCK(st.st_mode))
		err = -ENOTSOCK;
	else
		err = vdpa_fd_set_nonblock(fd, true);
	if (!err) {
		channel_close(b);
		err = vdpa_loop_fd_add(vdpa_ctx_control(s->dev->vdev->ctx), &b->lfd, fd, EPOLLIN,
				       channel_io);
	}
	if (err)
		vdpa_fd_close(&fd);
	b->fd = err ? b->fd : fd;
	return err;
}

int vu_set_backend_req_fd(struct vu_session *s, struct vu_msg *msg)
{
	int err = vu_backend_set(s, vdpa_fds_take(&msg->fds, 0));

	if (err) {
		vu_log(s, VDPA_LOG_WARN, "vhost-user: SET_BACKEND_REQ_FD: %s", strerror(-err));
		return err;
	}
	vu_iotlb_update_miss(s);
	vu_backend_work(s);
	return 0;
}

static void inband_call(void *priv)
{
	struct vu_ring *r = priv;

	if (!atomic_exchange(&r->call_pending, true))
		vu_dev_post(r->s->dev);
}

static void inband_err(void *priv)
{
	struct vu_ring *r = priv;

	if (!atomic_exchange(&r->err_pending, true))
		vu_dev_post(r->s->dev);
}

/* A descriptor, once it was set (or refused to be set: polling), goes before messages. */
void vu_ring_apply_inband(struct vu_ring *r)
{
	bool on = vu_has_proto(r->s, VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS);
	struct vdpa_callback call = {.callback = inband_call, .priv = r, .trigger = -1};
	struct vdpa_callback err = {.callback = inband_err, .priv = r, .trigger = -1};

	if (!r->call_set)
		vhost_vdpa_set_vring_call_cb(r->s->dev->v, r->idx, on ? &call : NULL);
	if (!r->err_set)
		vhost_vdpa_set_vring_err_cb(r->s->dev->v, r->idx, on ? &err : NULL);
}
