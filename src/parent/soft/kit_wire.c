// SPDX-License-Identifier: BSD-3-Clause
/*
 * Kicks and calls. The eventfds belong to the driver, which may close or replace them at any time,
 * also while the queue runs; the queue's loop must never read or write a number that means
 * something else by then. So the kit keeps duplicates, hands them to the loop by message, and the
 * loop closes what it no longer uses.
 *
 * Who attacks: a peer that shares the eventfd. It may drain it before us (the read must not wait),
 * hang it up, or send something that is no eventfd at all.
 */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>
#include "base/fd.h"
#include "parent/soft/kit.h"

void soft_wire_init(struct vdpa_soft_vq *vq)
{
	pthread_mutex_init(&vq->shared.lock, NULL);
	vq->shared.kick_fd = -1;
	vq->shared.call.fd = -1;
	vq->l.kick_fd = -1;
	vq->l.call.fd = -1;
}

/* Nothing runs any more. */
void soft_wire_fini(struct vdpa_soft_vq *vq)
{
	vdpa_fd_close(&vq->shared.kick_fd);
	vdpa_fd_close(&vq->shared.call.fd);
	vdpa_fd_close(&vq->l.kick_fd);
	vdpa_fd_close(&vq->l.call.fd);
	pthread_mutex_destroy(&vq->shared.lock);
}

/* ---- kicks, on the loop ---- */

/*
 * Also when the peer took O_NONBLOCK off, or drained it just now: RWF_NOWAIT. 8 when it was a kick.
 */
static ssize_t kick_read(int fd)
{
	uint64_t count;
	struct iovec iov = {&count, sizeof(count)};
	ssize_t r = preadv2(fd, &iov, 1, -1, RWF_NOWAIT);

	if (r >= 0 || (errno != EOPNOTSUPP && errno != ENOSYS))
		return r < 0 ? -errno : r;
	vdpa_fd_set_nonblock(fd, true);
	r = read(fd, &count, sizeof(count));
	return r < 0 ? -errno : r;
}

/*
 * A ring that waits for a translation looks once more: the driver may have mapped meanwhile what
 * was refused before, and this kick is all that says so.
 */
static void kick_came(struct vdpa_soft_vq *vq)
{
	soft_count(&vq->shared.counters[SOFT_KICKS], 1);
	if (vq->l.live && vq->l.parked)
		vringh_map_changed(vq->l.vr);
	/* When it does not run: the ring is looked at when it starts. */
	vdpa_soft_vq_wake(vq);
}

/*
 * An eventfd is watched by edges: each kick is an event, and nobody has to read the counter, which
 * would be a system call per kick. Anything else has to be emptied.
 */
static void kick_ready(struct vdpa_loop_fd *lfd, uint32_t revents)
{
	struct vdpa_soft_vq *vq = vdpa_container_of(lfd, struct vdpa_soft_vq, l.kick_lfd);
	ssize_t r;

	if (vq->l.kick_edges && !(revents & (EPOLLHUP | EPOLLERR)))
		r = 1;
	else
		r = kick_read(vq->l.kick_fd);
	if (r > 0) {
		kick_came(vq);
		return;
	}
	if (r == -EAGAIN && !(revents & (EPOLLHUP | EPOLLERR)))
		return;
	/* The peer hung up: the queue goes on with what it has, and is not woken this way again. */
	vdpa_loop_fd_del(&vq->l.kick_lfd);
}

void soft_wire_watch(struct vdpa_soft_vq *vq)
{
	uint32_t events = vq->l.kick_edges ? EPOLLIN | EPOLLET : EPOLLIN;
	int r;

	if (vq->l.kick_fd < 0 || vq->l.kick_lfd.loop)
		return;
	r = vdpa_loop_fd_add(vq->loop, &vq->l.kick_lfd, vq->l.kick_fd, events, kick_ready);
	if (r)
		vdpa_log_limited(soft_log(vq->core), &vq->l.limit, VDPA_LOG_WARN, vq->object,
				 "the kick cannot be watched: %s", strerror(-r));
}

void soft_wire_unwatch(struct vdpa_soft_vq *vq)
{
	vdpa_loop_fd_del(&vq->l.kick_lfd);
}

void soft_wire_apply(struct vdpa_soft_vq *vq)
{
	struct soft_vq_shared *s = &vq->shared;
	bool kick = false;

	pthread_mutex_lock(&s->lock);
	if (s->call_new) {
		vdpa_fd_close(&vq->l.call.fd);
		vq->l.call = s->call;
		s->call.fd = -1;
		s->call_new = false;
	}
	if (s->kick_new) {
		vdpa_loop_fd_del(&vq->l.kick_lfd);
		vdpa_fd_close(&vq->l.kick_fd);
		vq->l.kick_fd = vdpa_fd_take(&s->kick_fd);
		vq->l.kick_edges = s->kick_edges;
		s->kick_new = false;
		kick = true;
	}
	pthread_mutex_unlock(&s->lock);
	if (kick && vq->l.vr && !vq->l.stopping)
		soft_wire_watch(vq);
}

bool soft_wire_gone(struct vdpa_soft_vq *vq, struct vdpa_loop_msg *msg,
		    void (*fn)(struct vdpa_loop_msg *msg))
{
	struct vdpa_loop *loop = atomic_load(&vq->loop);

	if (vdpa_loop_is_current(loop))
		return false;
	vdpa_loop_post(loop, msg, fn);
	return true;
}

static void apply(struct vdpa_loop_msg *msg)
{
	struct vdpa_soft_vq *vq = vdpa_container_of(msg, struct vdpa_soft_vq, apply_msg);

	if (soft_wire_gone(vq, msg, apply))
		return;
	atomic_store(&vq->shared.apply_queued, false);
	soft_wire_apply(vq);
	/*
	 * A call that was due before there was somebody to be called: at worst one too many.
	 */
	if (vq->l.vr && !vq->l.cancelling)
		soft_wire_call(vq);
	vdpa_put_device(&vq->dev->vdpa);
}

static void kicked(struct vdpa_loop_msg *msg)
{
	struct vdpa_soft_vq *vq = vdpa_container_of(msg, struct vdpa_soft_vq, kick_msg);

	if (soft_wire_gone(vq, msg, kicked))
		return;
	atomic_store(&vq->shared.kick_queued, false);
	kick_came(vq);
	vdpa_put_device(&vq->dev->vdpa);
}

void soft_wire_call(struct vdpa_soft_vq *vq)
{
	struct soft_call *call = &vq->l.call;

	if (call->fd >= 0)
		vdpa_eventfd_signal_shared(call->fd);
	else if (call->callback)
		call->callback(call->priv);
}

/* ---- what control wants ---- */

static void apply_soon(struct vdpa_soft_vq *vq)
{
	if (atomic_exchange(&vq->shared.apply_queued, true))
		return;
	vdpa_get_device(&vq->dev->vdpa);
	vdpa_loop_post(vq->loop, &vq->apply_msg, apply);
}

void soft_kick_vq(struct vdpa_device *vdev, uint16_t idx)
{
	struct vdpa_soft_vq *vq = soft_vq(vdev, idx);

	if (atomic_exchange(&vq->shared.kick_queued, true))
		return;
	vdpa_get_device(vdev);
	vdpa_loop_post(vq->loop, &vq->kick_msg, kicked);
}

/*
 * virtio 1.3, 2.9: the upper half says where the driver stands. The ring says so too, and is what
 * counts: the data could be anything.
 */
void soft_kick_vq_with_data(struct vdpa_device *vdev, uint32_t data)
{
	soft_kick_vq(vdev, (uint16_t)data);
}

void soft_set_vq_cb(struct vdpa_device *vdev, uint16_t idx, const struct vdpa_callback *cb)
{
	struct vdpa_soft_vq *vq = soft_vq(vdev, idx);
	struct soft_call call = {.fd = -1};

	if (cb && cb->trigger >= 0) {
		call.fd = vdpa_fd_dup(cb->trigger);
		if (call.fd < 0) {
			vdpa_log(soft_log(vq->core), VDPA_LOG_ERR, vq->object,
				 "no file descriptor for the call: %s", strerror(-call.fd));
			soft_needs_reset(vq->core, vq->object, "its call could not be set");
			return;
		}
		vdpa_fd_set_nonblock(call.fd, true);
	} else if (cb) {
		call.callback = cb->callback;
		call.priv = cb->priv;
	}
	pthread_mutex_lock(&vq->shared.lock);
	vdpa_fd_close(&vq->shared.call.fd);
	vq->shared.call = call;
	vq->shared.call_new = true;
	pthread_mutex_unlock(&vq->shared.lock);
	apply_soon(vq);
}

int soft_set_vq_kick(struct vdpa_device *vdev, uint16_t idx, int fd)
{
	struct vdpa_soft_vq *vq = soft_vq(vdev, idx);
	int copy = -1;

	if (fd >= 0) {
		copy = vdpa_fd_dup(fd);
		if (copy < 0)
			return copy;
	}
	pthread_mutex_lock(&vq->shared.lock);
	vdpa_fd_close(&vq->shared.kick_fd);
	vq->shared.kick_fd = copy;
	vq->shared.kick_edges = copy >= 0 && vdpa_fd_is_eventfd(copy) == 1;
	vq->shared.kick_new = true;
	pthread_mutex_unlock(&vq->shared.lock);
	apply_soon(vq);
	return 0;
}

int soft_set_vq_err(struct vdpa_device *vdev, uint16_t idx, const struct vdpa_callback *cb)
{
	soft_vq(vdev, idx)->err = cb ? *cb : (struct vdpa_callback){.trigger = -1};
	return 0;
}
