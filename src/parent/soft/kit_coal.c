// SPDX-License-Identifier: BSD-3-Clause
/*
 * Notification coalescing. Completions are made visible as ever; only the question whether the
 * driver wants to be told of them, and the call, wait: until there are as many as it asked for, or
 * until the first of them has waited as long as it allows, whichever comes first. Then the question
 * is asked once for all of them, so suppression (event index, flags) works as without.
 *
 * A driver may ask for more requests than its ring has, or for an hour: it would wait for what
 * cannot come. A ring that was completed as a whole is told of, and so is all when the queue stops.
 */
#include "parent/soft/kit.h"

static void tell(struct vdpa_soft_vq *vq)
{
	vdpa_loop_timer_cancel(&vq->l.coal.timer);
	vq->l.coal.told = vringh_get_stats(vq->l.vr)->completed;
	soft_vq_notify(vq);
}

static void timed_out(struct vdpa_loop_timer *timer)
{
	tell(vdpa_container_of(timer, struct vdpa_soft_vq, l.coal.timer));
}

static bool enough(const struct vdpa_soft_vq *vq)
{
	const struct soft_coal *coal = &vq->l.coal;
	uint64_t n = vringh_get_stats(vq->l.vr)->completed - coal->told;

	return n >= coal->max_requests || n >= vq->num;
}

static void arm(struct vdpa_soft_vq *vq)
{
	struct soft_coal *coal = &vq->l.coal;

	vdpa_loop_timer_set(vq->loop, &coal->timer,
			    coal->since_ns + (uint64_t)coal->max_usecs * 1000, timed_out);
}

bool soft_coal_hold(struct vdpa_soft_vq *vq)
{
	struct soft_coal *coal = &vq->l.coal;

	if (vq->l.stopping || enough(vq)) {
		vdpa_loop_timer_cancel(&coal->timer);
		coal->told = vringh_get_stats(vq->l.vr)->completed;
		return false;
	}
	if (!coal->timer.loop) {
		coal->since_ns = vdpa_clock_ns();
		arm(vq);
	}
	return true;
}

/* Both, or nothing waits. */
static void take_over(struct vdpa_soft_vq *vq)
{
	uint64_t wanted = atomic_load(&vq->shared.coal);

	vq->l.coal.max_requests = (uint32_t)(wanted >> 32);
	vq->l.coal.max_usecs = vq->l.coal.max_requests ? (uint32_t)wanted : 0;
}

void soft_coal_start(struct vdpa_soft_vq *vq)
{
	vq->l.coal.told = 0;
	take_over(vq);
}

void soft_coal_stop(struct vdpa_soft_vq *vq, bool cancel)
{
	if (!vq->l.coal.timer.loop)
		return;
	if (cancel)
		vdpa_loop_timer_cancel(&vq->l.coal.timer);
	else
		tell(vq);
}

/* 5.1.6.5.9.4: whoever waits by the old parameters may not have to by the new ones. */
static void changed(struct vdpa_loop_msg *msg)
{
	struct vdpa_soft_vq *vq = vdpa_container_of(msg, struct vdpa_soft_vq, coal_msg);
	struct vdpa_device *vdev = &vq->dev->vdpa;

	if (soft_wire_gone(vq, msg, changed))
		return;
	atomic_store(&vq->shared.coal_queued, false);
	take_over(vq);
	if (vq->l.coal.timer.loop) {
		if (!vq->l.coal.max_usecs || enough(vq))
			tell(vq);
		else
			arm(vq);
	} else if (vq->l.vr) {
		vq->l.coal.told = vringh_get_stats(vq->l.vr)->completed;
	}
	vdpa_put_device(vdev);
}

void vdpa_soft_set_coal(struct vdpa_soft *dev, uint16_t idx, uint32_t max_requests,
			uint32_t max_usecs)
{
	struct vdpa_soft_vq *vq = vdpa_soft_get_vq(dev, idx);

	if (!vq)
		return;
	atomic_store(&vq->shared.coal, (uint64_t)max_requests << 32 | max_usecs);
	if (atomic_exchange(&vq->shared.coal_queued, true))
		return;
	vdpa_get_device(&dev->vdpa);
	vdpa_loop_post(vq->loop, &vq->coal_msg, changed);
}
