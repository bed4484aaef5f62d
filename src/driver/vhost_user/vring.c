// SPDX-License-Identifier: BSD-3-Clause
/*
 * Rings ("Ring states"). Started and enabled are two independent facts; a ring runs when both hold
 * and its size and areas are known. It starts with SET_VRING_KICK (or VRING_KICK in band) and stops
 * with GET_VRING_BASE, which drains it; no kick is waited for, because older front ends send one
 * and newer ones need not. A ring whose set up is still incomplete starts with the message that
 * completes it.
 *
 * Who attacks: the front end chooses index, size, addresses and order. Areas must lie completely
 * inside one region each for the size that the ring has when it starts; what would change a running
 * ring is refused.
 */
#include "driver/vhost_user/server.h"

#include <errno.h>
#include <string.h>

#define POLL_NS 100000ull
#define POLL_IDLE_NS 5000000ull

static struct vu_ring *ring_get(struct vu_session *s, uint64_t idx, const char *name)
{
	if (idx < s->nrings)
		return &s->ring[idx];
	vu_log(s, VDPA_LOG_WARN, "vhost-user: %s: ring %llu of %u", name, (unsigned long long)idx,
	       s->nrings);
	return NULL;
}

static int ring_is_running(struct vu_ring *r, const char *name)
{
	vu_log(r->s, VDPA_LOG_WARN, "vhost-user: %s: ring %u is running", name, r->idx);
	return -EBUSY;
}

bool vu_ring_any_running(const struct vu_session *s)
{
	for (unsigned i = 0; i < s->nrings; i++)
		if (s->ring[i].running)
			return true;
	return false;
}

bool vu_packed(const struct vu_session *s)
{
	return s->features & VDPA_BIT(VIRTIO_F_RING_PACKED);
}

/* ---- areas: virtio 1.3, sections 2.7 and 2.8 ---- */

struct areas {
	uint64_t desc, avail, used; /* bytes */
};

static struct areas ring_areas(const struct vu_ring *r)
{
	uint64_t n = r->num, event = r->s->features & VDPA_BIT(VIRTIO_RING_F_EVENT_IDX) ? 2 : 0;

	if (vu_packed(r->s))
		return (struct areas){16 * n, 4, 4};
	return (struct areas){16 * n, 4 + 2 * n + event, 4 + 8 * n + event};
}

/* The ring's addresses as the device sees them. */
static int ring_xlate(const struct vu_ring *r, struct vhost_vring_addr *iova)
{
	struct areas a = ring_areas(r);
	int err = 0;

	*iova = r->addr;
	if (r->s->iommu)
		return 0;
	err = vu_mem_xlate(r->s, r->addr.desc_user_addr, a.desc, (uint64_t *)&iova->desc_user_addr);
	if (!err)
		err = vu_mem_xlate(r->s, r->addr.avail_user_addr, a.avail,
				   (uint64_t *)&iova->avail_user_addr);
	if (!err)
		err = vu_mem_xlate(r->s, r->addr.used_user_addr, a.used,
				   (uint64_t *)&iova->used_user_addr);
	return err;
}

bool vu_ring_in_place(const struct vu_ring *r)
{
	struct vhost_vring_addr iova;

	return ring_xlate(r, &iova) == 0 && iova.desc_user_addr == r->iova.desc_user_addr &&
	       iova.avail_user_addr == r->iova.avail_user_addr &&
	       iova.used_user_addr == r->iova.used_user_addr;
}

/* ---- polling ---- */

/* Did the ring move since the last look? A device that cannot say is taken to be at work. */
static bool ring_moved(struct vu_ring *r)
{
	uint32_t before = r->poll_seen;

	if (vhost_vdpa_get_vring_base(r->s->dev->v, r->idx, &r->poll_seen))
		return true;
	return r->poll_seen != before;
}

/*
 * The front end said that it does not kick: look at its rings from time to time, and less and less
 * often while nothing comes, since all devices share the loop.
 */
static void poll_rings(struct vdpa_loop_timer *timer)
{
	struct vu_session *s = vdpa_container_of(timer, struct vu_session, poll_timer);
	bool again = false, moved = false;

	for (unsigned i = 0; i < s->nrings; i++) {
		struct vu_ring *r = &s->ring[i];

		if (!r->running || !r->poll)
			continue;
		moved |= ring_moved(r);
		vhost_vdpa_kick_vring(s->dev->v, i);
		again = true;
	}
	s->poll_ns *= 2;
	if (moved)
		s->poll_ns = POLL_NS;
	else if (s->poll_ns > POLL_IDLE_NS)
		s->poll_ns = POLL_IDLE_NS;
	if (again)
		vdpa_loop_timer_set(vdpa_ctx_control(s->dev->vdev->ctx), timer,
				    vdpa_clock_ns() + s->poll_ns, poll_rings);
}

static void poll_start(struct vu_session *s)
{
	s->poll_ns = POLL_NS;
	if (!s->poll_timer.loop)
		vdpa_loop_timer_set(vdpa_ctx_control(s->dev->vdev->ctx), &s->poll_timer,
				    vdpa_clock_ns() + POLL_NS, poll_rings);
}

/* ---- start and stop ---- */

uint32_t vu_ring_base(const struct vu_ring *r)
{
	return r->have_base ? r->base : VDPA_VQ_BASE_NEW(vu_packed(r->s));
}

void vu_ring_set_base(struct vu_ring *r, uint32_t base)
{
	r->base = base;
	r->have_base = true;
}

int vu_ring_place(struct vu_ring *r)
{
	int err = ring_xlate(r, &r->iova);

	if (err)
		vu_log(r->s, VDPA_LOG_WARN, "vhost-user: ring %u does not lie in the memory table",
		       r->idx);
	return err;
}

static int ring_start(struct vu_ring *r)
{
	struct vhost_vdpa *v = r->s->dev->v;
	int err = vu_ring_place(r);

	if (!err)
		err = vu_activate(r->s);
	if (!err)
		err = vhost_vdpa_set_vring_num(v, r->idx, r->num);
	if (!err)
		err = vhost_vdpa_set_vring_addr(v, r->idx, &r->iova);
	if (!err)
		err = vhost_vdpa_set_vring_base(v, r->idx, vu_ring_base(r));
	if (!err)
		err = vu_inflight_apply(r);
	if (err)
		return err;
	vu_ring_apply_inband(r);
	err = vhost_vdpa_set_vring_enable(v, r->idx, true, NULL);
	if (err)
		return err;
	r->running = true;
	vhost_vdpa_kick_vring(v, r->idx);
	if (r->poll)
		poll_start(r->s);
	vu_backend_work(r->s);
	return 0;
}

int vu_ring_update(struct vu_ring *r)
{
	int err;

	if (r->running || !r->started || !r->num || !r->have_addr || r->s->closing)
		return 0;
	/* The table comes before or after the addresses. */
	if (!r->s->iommu && !r->s->nregions)
		return 0;
	if (!r->enabled)
		return vu_discard_wanted(r) ? vu_discard_start(r) : 0;
	vu_discard_stop(r);
	err = ring_start(r);
	if (err)
		vu_log(r->s, VDPA_LOG_WARN, "vhost-user: ring %u does not start: %s", r->idx,
		       strerror(-err));
	return err;
}

void vu_ring_stopped(struct vu_ring *r)
{
	uint32_t base;

	r->running = false;
	if (!vhost_vdpa_get_vring_base(r->s->dev->v, r->idx, &base))
		vu_ring_set_base(r, base);
}

static void ring_stop_done(void *arg, int result)
{
	struct vu_ring *r = arg;
	struct vdpa_done done = r->stop_done;

	vu_ring_stopped(r);
	if (result)
		vu_log(r->s, VDPA_LOG_ERR, "vhost-user: ring %u did not drain: %s", r->idx,
		       strerror(-result));
	else
		vu_inflight_clear_ring(r);
	vdpa_done_call(&done, result);
}

int vu_ring_stop(struct vu_ring *r, const struct vdpa_done *done)
{
	r->stop_done = *done;
	return vhost_vdpa_set_vring_enable(r->s->dev->v, r->idx, false,
					   &(struct vdpa_done){.fn = ring_stop_done, .arg = r});
}

/* ---- set up ---- */

int vu_set_vring_num(struct vu_session *s, struct vu_msg *msg)
{
	struct vu_ring *r = ring_get(s, msg->payload->state.index, "SET_VRING_NUM");
	int err;

	if (!r)
		return -EINVAL;
	if (r->running)
		return ring_is_running(r, "SET_VRING_NUM");
	err = vhost_vdpa_set_vring_num(s->dev->v, r->idx, msg->payload->state.num);
	if (err) {
		vu_log(s, VDPA_LOG_WARN, "vhost-user: SET_VRING_NUM: ring %u: %u is not possible",
		       r->idx, msg->payload->state.num);
		return err;
	}
	vu_discard_stop(r);
	r->num = msg->payload->state.num;
	return vu_ring_update(r);
}

/*
 * A used ring is logged where it is. Whoever wants that elsewhere has a ring that is not where the
 * guest sees it, and would miss pages.
 */
static bool log_addr_ok(struct vu_ring *r, const struct vhost_vring_addr *addr)
{
	uint64_t gpa;

	if (!(addr->flags & (1u << VHOST_VRING_F_LOG)) || r->s->iommu || !r->s->nregions ||
	    vu_mem_xlate(r->s, addr->used_user_addr, 1, &gpa) || gpa == addr->log_guest_addr)
		return true;
	vu_log(r->s, VDPA_LOG_WARN,
	       "vhost-user: SET_VRING_ADDR: ring %u: the used ring is at guest address 0x%llx, and "
	       "can be "
	       "logged there only, not at 0x%llx",
	       r->idx, (unsigned long long)gpa, (unsigned long long)addr->log_guest_addr);
	return false;
}

/* Of a running ring only what the log is concerned with may change. */
static int change_running(struct vu_ring *r, const struct vhost_vring_addr *addr)
{
	if (addr->desc_user_addr != r->addr.desc_user_addr ||
	    addr->avail_user_addr != r->addr.avail_user_addr ||
	    addr->used_user_addr != r->addr.used_user_addr)
		return ring_is_running(r, "SET_VRING_ADDR");
	r->addr = *addr;
	return 0;
}

int vu_set_vring_addr(struct vu_session *s, struct vu_msg *msg)
{
	const struct vhost_vring_addr *addr = &msg->payload->addr;
	struct vu_ring *r = ring_get(s, addr->index, "SET_VRING_ADDR");
	struct vhost_vring_addr before, iova;
	const char *why;

	if (!r)
		return -EINVAL;
	if (!vhost_user_vring_addr_valid(addr, &why)) {
		vu_log(s, VDPA_LOG_WARN, "vhost-user: SET_VRING_ADDR: ring %u: %s", r->idx, why);
		return -EINVAL;
	}
	if (!log_addr_ok(r, addr))
		return -EINVAL;
	if (r->running)
		return change_running(r, addr);
	before = r->addr;
	r->addr = *addr;
	if (s->nregions && ring_xlate(r, &iova)) {
		vu_log(s, VDPA_LOG_WARN,
		       "vhost-user: SET_VRING_ADDR: ring %u does not lie in the memory table",
		       r->idx);
		r->addr = before;
		return -EFAULT;
	}
	vu_discard_stop(r);
	r->have_addr = true;
	return vu_ring_update(r);
}

int vu_set_vring_base(struct vu_session *s, struct vu_msg *msg)
{
	struct vu_ring *r = ring_get(s, msg->payload->state.index, "SET_VRING_BASE");
	const char *why;

	if (!r)
		return -EINVAL;
	if (r->running)
		return ring_is_running(r, "SET_VRING_BASE");
	if (!vu_packed(s) && !vhost_user_vring_base_split_valid(&msg->payload->state, &why)) {
		vu_log(s, VDPA_LOG_WARN, "vhost-user: SET_VRING_BASE: ring %u: %s", r->idx, why);
		return -EINVAL;
	}
	vu_discard_stop(r);
	vu_ring_set_base(r, msg->payload->state.num);
	return vu_ring_update(r);
}

/* ---- stop ---- */

static void base_answer(void *arg, int result)
{
	struct vu_ring *r = arg;
	struct vu_session *s = r->s;
	struct vhost_vring_state state = {.index = r->idx, .num = vu_ring_base(r)};

	if (!s->closing)
		vu_reply(s, &state, sizeof(state), -1);
	vu_session_done(s, result);
}

static void base_drained(void *arg, int result)
{
	struct vu_ring *r = arg;
	struct vu_session *s = r->s;
	struct vdpa_done done = {.fn = base_answer, .arg = r};
	int err = 0;

	/* A base would tell of requests that completed and did not: there is no way to say no but
	 * to end the session. */
	if (result) {
		vu_session_done(s, result);
		return;
	}
	r->started = false;
	r->poll = false;
	if (!s->closing)
		vhost_vdpa_set_vring_kick(s->dev->v, r->idx, -1);
	if (s->closing || vu_session_state(s) == VU_RUNNING)
		base_answer(r, 0);
	else
		err = vu_iotlb_forget(s, &done);
	if (err)
		vu_session_done(s, err);
}

/* num is reserved here, and some front ends leave what they like in it. */
int vu_get_vring_base(struct vu_session *s, struct vu_msg *msg)
{
	struct vu_ring *r = ring_get(s, msg->payload->state.index, "GET_VRING_BASE");
	struct vdpa_done done = {.fn = base_drained, .arg = r};
	int err = 0;

	if (!r)
		return -EINVAL;
	vu_discard_stop(r);
	if (r->running)
		err = vu_ring_stop(r, &done);
	else
		base_drained(r, 0);
	return err ? err : VU_DEFERRED;
}

/* It is started still: maybe somebody else has to serve it now. */
static void disabled(void *arg, int result)
{
	struct vu_ring *r = arg;

	vu_session_done(r->s, result ? result : vu_ring_update(r));
}

int vu_set_vring_enable(struct vu_session *s, struct vu_msg *msg)
{
	struct vu_ring *r = ring_get(s, msg->payload->state.index, "SET_VRING_ENABLE");
	struct vdpa_done done = {.fn = disabled, .arg = r};
	const char *why;
	int err;

	if (!r)
		return -EINVAL;
	if (!vhost_user_vring_flag_valid(&msg->payload->state, &why)) {
		vu_log(s, VDPA_LOG_WARN, "vhost-user: SET_VRING_ENABLE: ring %u: %s", r->idx, why);
		return -EINVAL;
	}
	r->enabled = msg->payload->state.num;
	if (r->enabled || !r->running)
		return vu_ring_update(r);
	err = vu_ring_stop(r, &done);
	return err ? err : VU_DEFERRED;
}

/* ---- descriptors ---- */

/*
 * A file may wait for its file system, a terminal for its reader, a socket for its peer; an eventfd
 * waits for nothing that cannot be asked before.
 */
static bool fd_is_eventfd(struct vu_ring *r, int fd, const char *name)
{
	int is = vdpa_fd_is_eventfd(fd);

	if (is < 0)
		vu_log(r->s, VDPA_LOG_WARN,
		       "vhost-user: %s: ring %u: whether the descriptor is an eventfd cannot be "
		       "found out (/proc/self/fd: %s)",
		       name, r->idx, strerror(-is));
	else if (!is)
		vu_log(r->s, VDPA_LOG_WARN, "vhost-user: %s: ring %u: the descriptor is no eventfd",
		       name, r->idx);
	return is > 0;
}

/* The ring of a descriptor message, its descriptor (-1: none came, as announced) in *@fd. NULL:
 * refused. */
static struct vu_ring *ring_fd(struct vu_session *s, struct vu_msg *msg, const char *name, int *fd)
{
	uint64_t u64 = msg->payload->u64;
	const char *why;
	struct vu_ring *r;

	if (!vhost_user_vring_fd_valid(u64, msg->fds.n, &why)) {
		vu_log(s, VDPA_LOG_WARN, "vhost-user: %s: %s", name, why);
		return NULL;
	}
	r = ring_get(s, u64 & VHOST_USER_VRING_IDX_MASK, name);
	if (!r || (msg->fds.n && !fd_is_eventfd(r, msg->fds.fd[0], name)))
		return NULL;
	*fd = msg->fds.n ? vdpa_fds_take(&msg->fds, 0) : -1;
	return r;
}

/* The end of a message that brought a descriptor: the ones before it may have to be waited for. */
static int fd_given(struct vu_session *s, int err)
{
	struct vdpa_done done = vu_session_done_cb(s);

	return !err && vhost_vdpa_settle(s->dev->v, &done) ? VU_DEFERRED : err;
}

int vu_set_vring_kick(struct vu_session *s, struct vu_msg *msg)
{
	int fd = -1, err;
	struct vu_ring *r = ring_fd(s, msg, "SET_VRING_KICK", &fd);

	if (!r)
		return -EINVAL;
	r->poll = fd < 0;
	err = vhost_vdpa_set_vring_kick(s->dev->v, r->idx, fd);
	if (err)
		return err;
	r->started = true;
	if (r->running && r->poll)
		poll_start(s);
	return fd_given(s, vu_ring_update(r));
}

int vu_set_vring_call(struct vu_session *s, struct vu_msg *msg)
{
	int fd = -1;
	struct vu_ring *r = ring_fd(s, msg, "SET_VRING_CALL", &fd);

	if (!r)
		return -EINVAL;
	if (!r->call_set) {
		r->call_set = true;
		vhost_vdpa_set_vring_call_cb(s->dev->v, r->idx, NULL);
	}
	return fd_given(s, vhost_vdpa_set_vring_call(s->dev->v, r->idx, fd));
}

int vu_set_vring_err(struct vu_session *s, struct vu_msg *msg)
{
	int fd = -1;
	struct vu_ring *r = ring_fd(s, msg, "SET_VRING_ERR", &fd);

	if (!r)
		return -EINVAL;
	if (!r->err_set) {
		r->err_set = true;
		vhost_vdpa_set_vring_err_cb(s->dev->v, r->idx, NULL);
	}
	return fd_given(s, vhost_vdpa_set_vring_err(s->dev->v, r->idx, fd));
}

int vu_vring_kick(struct vu_session *s, struct vu_msg *msg)
{
	struct vu_ring *r = ring_get(s, msg->payload->state.index, "VRING_KICK");
	const char *why;
	int err;

	if (!r)
		return -EINVAL;
	if (!vhost_user_vring_reserved_valid(&msg->payload->state, &why)) {
		vu_log(s, VDPA_LOG_WARN, "vhost-user: VRING_KICK: ring %u: %s", r->idx, why);
		return -EINVAL;
	}
	r->started = true;
	err = vu_ring_update(r);
	return err ? err : vhost_vdpa_kick_vring(s->dev->v, r->idx);
}

int vu_set_vring_endian(struct vu_session *s, struct vu_msg *msg)
{
	struct vu_ring *r = ring_get(s, msg->payload->state.index, "SET_VRING_ENDIAN");
	const uint16_t one = 1;
	bool host_is_big = !*(const uint8_t *)&one;
	const char *why;

	if (!r)
		return -EINVAL;
	if (!vhost_user_vring_flag_valid(&msg->payload->state, &why)) {
		vu_log(s, VDPA_LOG_WARN, "vhost-user: SET_VRING_ENDIAN: ring %u: %s", r->idx, why);
		return -EINVAL;
	}
	if ((bool)msg->payload->state.num == host_is_big)
		return 0;
	vu_log(s, VDPA_LOG_WARN,
	       "vhost-user: ring %u: the driver is a legacy one of the other byte order: "
	       "cross-endian "
	       "rings are not supported, use a driver with VIRTIO_F_VERSION_1",
	       r->idx);
	return -EOPNOTSUPP;
}
