// SPDX-License-Identifier: BSD-3-Clause
/* A queue as the control thread sees it (kit.h has its states). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "parent/soft/kit.h"

/* ---- set up ---- */

int soft_set_vq_address(struct vdpa_device *vdev, uint16_t idx, iova_t desc, iova_t driver,
			iova_t device)
{
	struct vdpa_soft_vq *vq = soft_vq(vdev, idx);

	if (vq->state != SOFT_IDLE)
		return -EBUSY;
	vq->desc = desc;
	vq->driver = driver;
	vq->device = device;
	return 0;
}

void soft_set_vq_num(struct vdpa_device *vdev, uint16_t idx, uint32_t num)
{
	struct vdpa_soft_vq *vq = soft_vq(vdev, idx);

	if (vq->state == SOFT_IDLE && num && num <= vq->core->num_max)
		vq->num = num;
	else
		vdpa_log_limited(soft_log(vq->core), &vq->core->limit, VDPA_LOG_WARN, vq->object,
				 "ring size %u is ignored: %s", num,
				 vq->state == SOFT_IDLE ? "out of range" : "the queue runs");
}

uint16_t soft_get_vq_size(struct vdpa_device *vdev, uint16_t idx)
{
	return (uint16_t)soft_vq(vdev, idx)->num;
}

void soft_set_vq_ready(struct vdpa_device *vdev, uint16_t idx, bool ready)
{
	struct vdpa_soft_vq *vq = soft_vq(vdev, idx);

	if (vq->core->resetting)
		return;
	vq->ready = ready;
	soft_vq_update(vq);
}

bool soft_get_vq_ready(struct vdpa_device *vdev, uint16_t idx)
{
	return soft_vq(vdev, idx)->ready;
}

int soft_set_vq_state(struct vdpa_device *vdev, uint16_t idx, const struct vdpa_vq_state *state)
{
	struct vdpa_soft_vq *vq = soft_vq(vdev, idx);

	if (vq->state != SOFT_IDLE)
		return -EBUSY;
	vq->vstate = *state;
	vq->vstate_known = true;
	return 0;
}

struct vdpa_vq_state soft_vq_start_state(const struct vdpa_soft_vq *vq)
{
	bool packed = soft_packed(vq->core);

	return vq->vstate_known ? vq->vstate
				: vdpa_vq_state_from_base(VDPA_VQ_BASE_NEW(packed), packed);
}

/* While it runs: where it stood after its last batch. */
int soft_get_vq_state(struct vdpa_device *vdev, uint16_t idx, struct vdpa_vq_state *state)
{
	struct vdpa_soft_vq *vq = soft_vq(vdev, idx);

	if (vq->state == SOFT_IDLE) {
		*state = soft_vq_start_state(vq);
		return 0;
	}
	*state = vdpa_vq_state_from_base(atomic_load(&vq->shared.base), soft_packed(vq->core));
	return 0;
}

static void release_inflight(struct vdpa_soft_vq *vq)
{
	vringh_inflight_free(vq->inflight);
	vq->inflight = NULL;
}

int soft_set_vq_inflight(struct vdpa_device *vdev, uint16_t idx, void *area, size_t bytes)
{
	struct vdpa_soft_vq *vq = soft_vq(vdev, idx);

	if (vq->state != SOFT_IDLE && area)
		return -EBUSY;
	if (vq->state == SOFT_IDLE)
		release_inflight(vq);
	vq->inflight_area = area;
	vq->inflight_bytes = area ? bytes : 0;
	return 0;
}

/* ---- start ---- */

static int attach_views(struct vdpa_soft_vq *vq)
{
	struct vdpa_soft_core *core = vq->core;
	struct vdpa_device *vdev = &vq->dev->vdpa;
	struct vdpa_as *ring = soft_group_as(core, soft_get_vq_desc_group(vdev, vq->idx));
	struct vdpa_as *buf = soft_group_as(core, soft_get_vq_group(vdev, vq->idx));
	int r = vdpa_view_attach(buf, vq->loop, &soft_view_ops, vq, &vq->buf_view);

	if (r)
		return r;
	if (ring == buf) {
		vq->ring_view = vq->buf_view;
		return 0;
	}
	return vdpa_view_attach(ring, vq->loop, &soft_view_ops, vq, &vq->ring_view);
}

static void release_ring(struct vdpa_soft_vq *vq)
{
	if (vq->ring_view && vq->ring_view != vq->buf_view)
		vdpa_view_detach(vq->ring_view);
	if (vq->buf_view)
		vdpa_view_detach(vq->buf_view);
	vq->ring_view = NULL;
	vq->buf_view = NULL;
	vringh_free(vq->vr);
	vq->vr = NULL;
}

static int make_ring(struct vdpa_soft_vq *vq, struct vdpa_error *err)
{
	uint64_t features = atomic_load(&vq->core->features);
	struct vringh_config config = {
		.size = sizeof(config),
		.features = features,
		.num = vq->num,
		.desc = vq->desc,
		.driver = vq->driver,
		.device = vq->device,
		.state = soft_vq_start_state(vq),
		.priv_bytes = vq->core->priv_bytes,
		.read_only = soft_has_op(vq->dev, vq_read_only) &&
			     vq->dev->ops->vq_read_only(vq->dev, vq->idx),
		.legacy_layout = !(features & VDPA_BIT(VIRTIO_F_VERSION_1)),
	};
	int r;

	release_inflight(vq);
	if (vq->inflight_area) {
		r = vringh_inflight_new(vq->inflight_area, vq->inflight_bytes, vq->num,
					features & VDPA_BIT(VIRTIO_F_RING_PACKED), &vq->inflight,
					err);
		if (r)
			return r;
		config.inflight = vq->inflight;
	}
	r = attach_views(vq);
	if (r)
		return vdpa_error_set(err, -r, vq->object, "no view of the driver's memory: %s",
				      strerror(-r));
	config.ring_view = vq->ring_view;
	config.buf_view = vq->buf_view;
	return vringh_init(&config, &vq->vr, err);
}

static void vq_start(struct vdpa_soft_vq *vq)
{
	struct vdpa_error err = {.msg = ""};
	char why[SOFT_WHY_BYTES];

	if (make_ring(vq, &err)) {
		release_ring(vq);
		vq->failed = true;
		snprintf(why, sizeof(why), "its ring is not usable: %.150s", err.msg);
		soft_needs_reset(vq->core, vq->object, why);
		soft_callback(&vq->err);
		return;
	}
	atomic_store(&vq->shared.cancel_wanted, false);
	atomic_store(&vq->shared.drop, false);
	vq->state = SOFT_RUNNING;
	vdpa_get_device(&vq->dev->vdpa);
	vdpa_loop_post(vq->loop, &vq->start_msg, soft_vq_loop_start);
}

static bool should_run(struct vdpa_soft_vq *vq)
{
	const struct vdpa_soft_core *core = vq->core;
	uint8_t status = atomic_load(&core->status);

	return vq->ready && !vq->failed && !soft_moving(vq) && core->registered &&
	       !core->suspended && !core->resetting && !core->broken &&
	       (status & VIRTIO_CONFIG_S_DRIVER_OK) && !(status & VIRTIO_CONFIG_S_FAILED);
}

void soft_vq_update(struct vdpa_soft_vq *vq)
{
	bool run = should_run(vq);

	if (run && vq->state == SOFT_IDLE)
		vq_start(vq);
	else if (!run && vq->state == SOFT_RUNNING)
		soft_vq_stop(vq, false);
}

void soft_update_all(struct vdpa_soft_core *core)
{
	for (uint32_t i = 0; i < core->nvqs; i++)
		soft_vq_update(&core->vqs[i]);
}

/* ---- stop ---- */

static void deadline(struct vdpa_loop_timer *timer);

static void arm(struct vdpa_soft_vq *vq, uint64_t ns)
{
	vdpa_loop_timer_set(vq->core->control, &vq->timer, vdpa_clock_ns() + ns, deadline);
}

static void cancel_soon(struct vdpa_soft_vq *vq)
{
	atomic_store(&vq->shared.cancel_wanted, true);
	if (atomic_exchange(&vq->shared.cancel_queued, true))
		return;
	vdpa_get_device(&vq->dev->vdpa);
	vdpa_loop_post(vq->loop, &vq->cancel_msg, soft_vq_loop_cancel);
}

void soft_vq_stop(struct vdpa_soft_vq *vq, bool cancel)
{
	switch (vq->state) {
	case SOFT_IDLE:
		break;
	case SOFT_RUNNING:
		vq->state = SOFT_STOPPING;
		atomic_store(&vq->shared.cancel_wanted, cancel);
		vdpa_loop_post(vq->loop, &vq->stop_msg, soft_vq_loop_stop);
		arm(vq, vq->core->stop_timeout_ns);
		break;
	case SOFT_STOPPING:
		if (cancel)
			cancel_soon(vq);
		break;
	case SOFT_OVERDUE:
		break;
	case SOFT_STRANDED:
		/* Somebody waits for it anew. */
		vq->state = SOFT_OVERDUE;
		arm(vq, vq->core->stop_timeout_ns);
		break;
	}
}

static void strand(struct vdpa_soft_vq *vq)
{
	vdpa_loop_timer_cancel(&vq->timer);
	vq->state = SOFT_STRANDED;
	soft_wake_waiters(vq->core, &vq->waiters, -ETIMEDOUT);
	soft_settle(vq->core);
}

static void deadline(struct vdpa_loop_timer *timer)
{
	struct vdpa_soft_vq *vq = vdpa_container_of(timer, struct vdpa_soft_vq, timer);

	if (vq->state == SOFT_OVERDUE) {
		strand(vq);
		return;
	}
	vq->state = SOFT_OVERDUE;
	vq->failed = true;
	atomic_store_explicit(&vq->shared.drop, true, memory_order_release);
	cancel_soon(vq);
	arm(vq, SOFT_CANCEL_TIMEOUT_NS);
	vq->core->broken = true;
	soft_needs_reset(vq->core, vq->object,
			 "requests are stuck in the backend: it did not stop in time");
	soft_update_all(vq->core);
}

void soft_vq_stopped(struct vdpa_loop_msg *msg)
{
	struct vdpa_soft_vq *vq = vdpa_container_of(msg, struct vdpa_soft_vq, stopped_msg);
	struct vdpa_device *vdev = &vq->dev->vdpa;

	vdpa_loop_timer_cancel(&vq->timer);
	vq->vstate = vringh_state(vq->vr);
	vq->vstate_known = true;
	release_ring(vq);
	vq->state = SOFT_IDLE;
	soft_wake_waiters(vq->core, &vq->waiters, 0);
	soft_settle(vq->core);
	soft_move_go_on(vq);
	soft_vq_update(vq);
	vdpa_put_device(vdev);
}

void soft_vq_error(struct vdpa_loop_msg *msg)
{
	struct vdpa_soft_vq *vq = vdpa_container_of(msg, struct vdpa_soft_vq, error_msg);
	char why[SOFT_WHY_BYTES];

	pthread_mutex_lock(&vq->shared.lock);
	snprintf(why, sizeof(why), "%s", vq->shared.why);
	pthread_mutex_unlock(&vq->shared.lock);
	vq->failed = true;
	soft_needs_reset(vq->core, vq->object, why);
	soft_callback(&vq->err);
	soft_vq_update(vq);
}

int soft_stop_vq(struct vdpa_device *vdev, uint16_t idx, const struct vdpa_done *done)
{
	struct vdpa_soft_vq *vq = soft_vq(vdev, idx);
	int r = soft_wait(&vq->waiters, done);

	if (r)
		return r;
	vq->ready = false;
	soft_vq_stop(vq, false);
	if (vq->state == SOFT_IDLE)
		soft_wake_waiters(vq->core, &vq->waiters, 0);
	return 0;
}

void soft_vq_forget(struct vdpa_soft_vq *vq)
{
	if (vq->inflight && vq->inflight_area)
		vringh_inflight_forget(vq->inflight);
}

/* virtio 1.3, section 2.6.1: what was in flight is forgotten, and the queue is as after a reset. */
struct vq_reset {
	struct vdpa_soft_vq *vq;
	struct vdpa_done done;
};

static void vq_reset_end(void *arg, int result)
{
	struct vq_reset *reset = arg;
	struct vdpa_device *vdev = &reset->vq->dev->vdpa;

	if (reset->vq->state == SOFT_IDLE && !reset->vq->ready) {
		soft_vq_forget(reset->vq);
		soft_vq_clear(reset->vq);
		if (soft_has_op(reset->vq->dev, vq_reset))
			reset->vq->dev->ops->vq_reset(reset->vq->dev, reset->vq->idx);
	}
	vdpa_done_call(&reset->done, result);
	free(reset);
	vdpa_put_device(vdev);
}

int soft_reset_vq(struct vdpa_device *vdev, uint16_t idx, const struct vdpa_done *done)
{
	struct vdpa_soft_vq *vq = soft_vq(vdev, idx);
	struct vq_reset *reset = calloc(1, sizeof(*reset));
	int r;

	if (!reset)
		return -ENOMEM;
	reset->vq = vq;
	if (done)
		reset->done = *done;
	r = soft_wait(&vq->waiters, &(struct vdpa_done){vq_reset_end, reset});
	if (r) {
		free(reset);
		return r;
	}
	vdpa_get_device(vdev);
	vq->ready = false;
	soft_vq_stop(vq, true);
	if (vq->state == SOFT_IDLE)
		soft_wake_waiters(vq->core, &vq->waiters, 0);
	return 0;
}

/* ---- counters ---- */

int soft_get_vq_stats(struct vdpa_device *vdev, uint16_t idx, vdpa_stat_fn emit, void *arg,
		      struct vdpa_error *err)
{
	static const char *const names[SOFT_COUNTERS] = {
		[SOFT_CHAINS] = "received_desc",
		[SOFT_COMPLETED] = "completed_desc",
		[SOFT_KICKS] = "kicks",
		[SOFT_CALLS] = "calls",
		[SOFT_CALLS_SUPPRESSED] = "calls_suppressed",
		[SOFT_MISSES] = "misses",
		[SOFT_BAD_RINGS] = "bad_rings",
		[SOFT_BAD_REQUESTS] = "bad_requests",
	};
	struct vdpa_soft_vq *vq = soft_vq(vdev, idx);

	if (soft_has_op(vq->dev, vq_stats))
		vq->dev->ops->vq_stats(vq->dev, vq, emit, arg);
	for (unsigned i = 0; i < SOFT_COUNTERS; i++)
		emit(arg, names[i],
		     atomic_load_explicit(&vq->shared.counters[i], memory_order_relaxed));
	return 0;
}

/* ---- birth and end ---- */

void soft_vq_clear(struct vdpa_soft_vq *vq)
{
	if (!vq->vr)
		release_inflight(vq);
	vq->ready = false;
	vq->failed = false;
	vq->num = vq->core->num_max;
	vq->desc = vq->driver = vq->device = 0;
	vq->vstate = (struct vdpa_vq_state){0};
	vq->vstate_known = false;
	vq->inflight_area = NULL;
	vq->inflight_bytes = 0;
	atomic_store(&vq->shared.base, 0);
}

void soft_vq_init(struct vdpa_soft_core *core, uint16_t idx)
{
	struct vdpa_soft_vq *vq = &core->vqs[idx];

	vq->core = core;
	vq->dev = core->dev;
	vq->idx = idx;
	vq->err.trigger = -1;
	vq->l.limit = (struct vdpa_ratelimit)VDPA_RATELIMIT_INIT;
	snprintf(vq->object, sizeof(vq->object), "%s/vq%u", core->dev->vdpa.name, idx);
	soft_wire_init(vq);
	soft_vq_clear(vq);
}

void soft_vq_fini(struct vdpa_soft_vq *vq)
{
	release_inflight(vq);
	free(vq->affinity);
	soft_wire_fini(vq);
}
