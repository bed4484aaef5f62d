// SPDX-License-Identifier: BSD-3-Clause
/*
 * Vrings of the vhost uAPI. Numbers, addresses and indices come from the peer and are checked here
 * (and again by the device); descriptors are owned here, the device only uses them.
 *
 * States of a vring: disabled (set up is legal), started (the device has it: only descriptors may
 * change), stopping (a drain is under way: nothing is legal but descriptors). A reset of the device
 * disables all. Between disabled and started it may be enabled only: until DRIVER_OK the device is
 * not told, since drivers enable rings first and set them up afterwards (QEMU without a control
 * queue).
 */
#include "driver/vhost_vdpa/impl.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/fd.h"

static const struct vdpa_callback no_callback = {.trigger = -1};

static struct vv_vring *vring_get(const struct vhost_vdpa *v, uint32_t idx)
{
	return idx < v->vdev->nvqs ? &v->vring[idx] : NULL;
}

static bool is_packed(const struct vhost_vdpa *v)
{
	return vdpa_get_driver_features(v->vdev) & VDPA_BIT(VIRTIO_F_RING_PACKED);
}

/* May number, addresses and base of the ring be changed? Linux asks the device's status instead. */
static bool may_set_up(const struct vhost_vdpa *v, const struct vv_vring *r)
{
	if (r->stopping)
		return false;
	if (v->params.flags & VHOST_VDPA_F_LIVE_RINGS)
		return !r->started;
	return v->suspended || !(vdpa_get_status(v->vdev) & VIRTIO_CONFIG_S_DRIVER_OK);
}

uint16_t vhost_vdpa_get_vring_num(struct vhost_vdpa *v)
{
	return vdpa_get_vq_num_max(v->vdev);
}

int vhost_vdpa_get_vring_size(struct vhost_vdpa *v, uint32_t idx, uint32_t *size)
{
	if (!vring_get(v, idx))
		return -ENOBUFS;
	if (!v->vdev->config->get_vq_size)
		return -EOPNOTSUPP;
	*size = v->vdev->config->get_vq_size(v->vdev, (uint16_t)idx);
	return 0;
}

int vhost_vdpa_get_vring_group(struct vhost_vdpa *v, uint32_t idx, uint32_t *group)
{
	if (!vring_get(v, idx))
		return -ENOBUFS;
	*group = vdpa_get_vq_group(v->vdev, (uint16_t)idx);
	return *group < v->vdev->ngroups ? 0 : -EIO;
}

int vhost_vdpa_get_vring_desc_group(struct vhost_vdpa *v, uint32_t idx, uint32_t *group)
{
	if (!vring_get(v, idx))
		return -ENOBUFS;
	if (!v->vdev->config->get_vq_desc_group)
		return -EOPNOTSUPP;
	*group = v->vdev->config->get_vq_desc_group(v->vdev, (uint16_t)idx);
	return *group < v->vdev->ngroups ? 0 : -EIO;
}

int vhost_vdpa_set_vring_busyloop(struct vhost_vdpa *v, uint32_t idx, uint32_t us)
{
	struct vv_vring *r = vring_get(v, idx);

	if (!r)
		return -ENOBUFS;
	r->busyloop_us = us;
	return 0;
}

int vhost_vdpa_get_vring_busyloop(struct vhost_vdpa *v, uint32_t idx, uint32_t *us)
{
	struct vv_vring *r = vring_get(v, idx);

	if (!r)
		return -ENOBUFS;
	*us = r->busyloop_us;
	return 0;
}

int vhost_vdpa_set_vring_num(struct vhost_vdpa *v, uint32_t idx, uint32_t num)
{
	struct vv_vring *r = vring_get(v, idx);

	if (!r)
		return -ENOBUFS;
	if (!num || num > UINT16_MAX)
		return -EINVAL;
	if (r->started || r->stopping)
		return -EBUSY;
	return vdpa_set_vq_num(v->vdev, (uint16_t)idx, num);
}

int vhost_vdpa_set_vring_addr(struct vhost_vdpa *v, uint32_t idx,
			      const struct vhost_vring_addr *addr)
{
	struct vv_vring *r = vring_get(v, idx);

	if (!r)
		return -ENOBUFS;
	if (!may_set_up(v, r))
		return -EINVAL;
	return vdpa_set_vq_address(v->vdev, (uint16_t)idx, addr->desc_user_addr,
				   addr->avail_user_addr, addr->used_user_addr);
}

int vhost_vdpa_set_vring_base(struct vhost_vdpa *v, uint32_t idx, uint32_t base)
{
	struct vv_vring *r = vring_get(v, idx);
	struct vdpa_vq_state state;
	bool packed = is_packed(v);

	if (!r)
		return -ENOBUFS;
	if (!may_set_up(v, r))
		return -EINVAL;
	if (!packed && base > UINT16_MAX)
		return -EINVAL;
	/*
	 * Of a packed ring also the used half. There are drivers that know of the other one only
	 * (DPDK): what was available to their last device was used.
	 */
	if (packed && !(base >> 16))
		base |= base << 16;
	state = vdpa_vq_state_from_base(base, packed);
	return vdpa_set_vq_state(v->vdev, (uint16_t)idx, &state);
}

int vhost_vdpa_get_vring_base(struct vhost_vdpa *v, uint32_t idx, uint32_t *base)
{
	struct vdpa_vq_state state;
	int err;

	if (!vring_get(v, idx))
		return -ENOBUFS;
	memset(&state, 0, sizeof(state));
	err = vdpa_get_vq_state(v->vdev, (uint16_t)idx, &state);
	if (err)
		return err;
	*base = vdpa_vq_state_to_base(&state, is_packed(v));
	return 0;
}

/* ---- descriptors ---- */

static int apply_call(struct vv_vring *r)
{
	struct vdpa_callback cb = r->call_cb;

	if (r->call)
		cb = (struct vdpa_callback){.trigger = r->call->fd};
	return vdpa_set_vq_cb(r->v->vdev, (uint16_t)r->idx, &cb);
}

static int apply_err(struct vv_vring *r)
{
	struct vdpa_callback cb = r->err_cb;
	int err;

	if (r->err)
		cb = (struct vdpa_callback){.trigger = r->err->fd};
	err = vdpa_set_vq_err(r->v->vdev, (uint16_t)r->idx, &cb);
	/* A parent without it cannot tell of errors; that is no reason to refuse the descriptor. */
	return err == -EOPNOTSUPP ? 0 : err;
}

static void kick_ready(struct vdpa_loop_fd *lfd, uint32_t revents)
{
	struct vv_vring *r = vdpa_container_of(lfd, struct vv_vring, kick_watch);
	int64_t n = vdpa_eventfd_drain(lfd->fd);

	/* A descriptor that is no eventfd, or a pipe whose writer is gone, would wake us for ever.
	 */
	if (n < 0 || (n == 0 && (revents & (EPOLLHUP | EPOLLERR)))) {
		vdpa_loop_fd_del(lfd);
		return;
	}
	if (r->started)
		vdpa_kick_vq(r->v->vdev, (uint16_t)r->idx);
}

static int apply_kick(struct vv_vring *r)
{
	struct vdpa_device *vdev = r->v->vdev;
	int fd = r->kick ? r->kick->fd : -1;
	int err;

	vdpa_loop_fd_del(&r->kick_watch);
	err = vdpa_set_vq_kick(vdev, (uint16_t)r->idx, fd);
	if (err != -EOPNOTSUPP || fd < 0)
		return err == -EOPNOTSUPP ? 0 : err;
	err = vdpa_fd_set_nonblock(fd, true);
	if (err)
		return err;
	return vdpa_loop_fd_add(vdpa_ctx_control(vdev->ctx), &r->kick_watch, fd, EPOLLIN,
				kick_ready);
}

/* Put @fd into @slot; @apply tells the device. On error the old one stays in force. */
static int replace_fd(struct vv_vring *r, struct vv_fd **slot, int fd,
		      int (*apply)(struct vv_vring *r))
{
	struct vv_fd *old = *slot, *vfd;
	int err = vv_fd_new(r->v, fd, &vfd);

	if (err)
		return err;
	*slot = vfd;
	err = apply(r);
	if (err) {
		*slot = old;
		apply(r);
		old = vfd;
	}
	vv_fd_retire(&old);
	return err;
}

int vhost_vdpa_set_vring_kick(struct vhost_vdpa *v, uint32_t idx, int fd)
{
	struct vv_vring *r = vring_get(v, idx);

	if (!r) {
		vdpa_fd_close(&fd);
		return -ENOBUFS;
	}
	return replace_fd(r, &r->kick, fd, apply_kick);
}

int vhost_vdpa_set_vring_call(struct vhost_vdpa *v, uint32_t idx, int fd)
{
	struct vv_vring *r = vring_get(v, idx);

	if (!r) {
		vdpa_fd_close(&fd);
		return -ENOBUFS;
	}
	return replace_fd(r, &r->call, fd, apply_call);
}

int vhost_vdpa_set_vring_err(struct vhost_vdpa *v, uint32_t idx, int fd)
{
	struct vv_vring *r = vring_get(v, idx);

	if (!r) {
		vdpa_fd_close(&fd);
		return -ENOBUFS;
	}
	return replace_fd(r, &r->err, fd, apply_err);
}

int vhost_vdpa_set_vring_call_cb(struct vhost_vdpa *v, uint32_t idx, const struct vdpa_callback *cb)
{
	struct vv_vring *r = vring_get(v, idx);

	if (!r)
		return -ENOBUFS;
	r->call_cb = cb ? *cb : no_callback;
	return apply_call(r);
}

int vhost_vdpa_set_vring_err_cb(struct vhost_vdpa *v, uint32_t idx, const struct vdpa_callback *cb)
{
	struct vv_vring *r = vring_get(v, idx);

	if (!r)
		return -ENOBUFS;
	r->err_cb = cb ? *cb : no_callback;
	return apply_err(r);
}

int vhost_vdpa_call_vring(struct vhost_vdpa *v, uint32_t idx)
{
	struct vv_vring *r = vring_get(v, idx);

	if (!r)
		return -ENOBUFS;
	if (r->call)
		return vdpa_eventfd_signal_shared(r->call->fd);
	if (r->call_cb.callback)
		r->call_cb.callback(r->call_cb.priv);
	return 0;
}

int vhost_vdpa_kick_vring(struct vhost_vdpa *v, uint32_t idx)
{
	struct vv_vring *r = vring_get(v, idx);

	if (!r)
		return -ENOBUFS;
	return r->started ? vdpa_kick_vq(v->vdev, (uint16_t)idx) : 0;
}

int vhost_vdpa_set_vring_inflight(struct vhost_vdpa *v, uint32_t idx, void *area, size_t bytes)
{
	struct vv_vring *r = vring_get(v, idx);

	if (!r)
		return -ENOBUFS;
	if (r->started || r->stopping)
		return -EBUSY;
	if (!area && !r->inflight)
		return 0;
	r->inflight = area;
	r->inflight_bytes = bytes;
	return vdpa_set_vq_inflight(v->vdev, (uint16_t)idx, area, bytes);
}

/* ---- enable ---- */

static void vring_stopped(void *arg, int result)
{
	struct vv_vring *r = arg;
	struct vdpa_done done = r->stop_done;

	r->stopping = false;
	vdpa_done_call(&done, result);
}

static int vring_stop(struct vv_vring *r, const struct vdpa_done *done)
{
	int err;

	r->stopping = true;
	r->started = false;
	r->stop_done = done ? *done : (struct vdpa_done){0};
	err = vdpa_stop_vq(r->v->vdev, (uint16_t)r->idx,
			   &(struct vdpa_done){.fn = vring_stopped, .arg = r});
	if (err) {
		r->stopping = false;
		r->started = true;
	}
	return err;
}

/* A reset of the device may have dropped what was set before: tell it all of it again. */
static int vring_start(struct vv_vring *r)
{
	struct vdpa_device *vdev = r->v->vdev;
	int err;

	err = apply_call(r);
	if (!err)
		err = apply_err(r);
	if (!err && r->inflight)
		err = vdpa_set_vq_inflight(vdev, (uint16_t)r->idx, r->inflight, r->inflight_bytes);
	if (!err)
		err = apply_kick(r);
	if (!err)
		err = vdpa_set_vq_ready(vdev, (uint16_t)r->idx);
	if (!err)
		r->started = true;
	return err;
}

int vv_vrings_start(struct vhost_vdpa *v)
{
	int err = 0;

	for (uint32_t i = 0; i < v->vdev->nvqs && !err; i++) {
		if (v->vring[i].enabled && !v->vring[i].started)
			err = vring_start(&v->vring[i]);
	}
	return err;
}

/* May an enabled ring run at once? Until DRIVER_OK it may still be set up. */
static bool starts_now(struct vhost_vdpa *v)
{
	return (v->params.flags & VHOST_VDPA_F_LIVE_RINGS) ||
	       (vdpa_get_status(v->vdev) & VIRTIO_CONFIG_S_DRIVER_OK);
}

int vhost_vdpa_set_vring_enable(struct vhost_vdpa *v, uint32_t idx, bool enable,
				const struct vdpa_done *done)
{
	struct vv_vring *r = vring_get(v, idx);
	int err;

	if (!r)
		return -ENOBUFS;
	if (r->stopping)
		return -EBUSY;
	if (enable && !r->started && starts_now(v)) {
		err = vring_start(r);
		if (err)
			return err;
	}
	r->enabled = enable;
	if (!enable && r->started) {
		err = vring_stop(r, done);
		r->enabled = err;
		return err;
	}
	vdpa_done_call(done, 0);
	return 0;
}

bool vhost_vdpa_get_vring_enable(const struct vhost_vdpa *v, uint32_t idx)
{
	struct vv_vring *r = vring_get(v, idx);

	return r && r->enabled;
}

/* ---- life ---- */

void vv_vrings_init(struct vhost_vdpa *v)
{
	for (uint32_t i = 0; i < v->vdev->nvqs; i++) {
		v->vring[i].v = v;
		v->vring[i].idx = i;
		v->vring[i].call_cb = no_callback;
		v->vring[i].err_cb = no_callback;
	}
}

void vv_vrings_were_reset(struct vhost_vdpa *v)
{
	for (uint32_t i = 0; i < v->vdev->nvqs; i++)
		v->vring[i].enabled = v->vring[i].started = false;
}

void vv_vrings_untrack(struct vhost_vdpa *v)
{
	for (uint32_t i = 0; i < v->vdev->nvqs; i++)
		if (v->vring[i].inflight)
			vdpa_set_vq_inflight(v->vdev, (uint16_t)i, NULL, 0);
}

void vv_vrings_release(struct vhost_vdpa *v)
{
	for (uint32_t i = 0; i < v->vdev->nvqs; i++) {
		struct vv_vring *r = &v->vring[i];

		r->call_cb = no_callback;
		r->err_cb = no_callback;
		if (r->kick)
			replace_fd(r, &r->kick, -1, apply_kick);
		replace_fd(r, &r->call, -1, apply_call);
		replace_fd(r, &r->err, -1, apply_err);
		if (r->inflight)
			vhost_vdpa_set_vring_inflight(v, i, NULL, 0);
	}
}
