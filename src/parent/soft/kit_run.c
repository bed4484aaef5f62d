// SPDX-License-Identifier: BSD-3-Clause
/*
 * A queue as its loop sees it. While there may be work it is a poller of the loop, and is given one
 * budget per iteration: a queue that never runs dry takes turns with everything else. When the ring
 * was found empty it is looked at for a while (kit_spin.c); then kicks are asked for, the ring is
 * looked at once more, and the poller leaves.
 *
 * Who attacks: the driver, through the ring (vringh finds out; here the queue is stopped and the
 * control thread told), and by kicking for nothing (a kick costs one empty look).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "parent/soft/kit.h"

static bool serve(struct vdpa_loop_poller *poller);

/* ---- telling control ---- */

/* What getdesc, flush or start found: the queue takes no more requests; control stops it. */
static void fail(struct vdpa_soft_vq *vq, const char *why)
{
	if (vq->l.failed)
		return;
	vq->l.failed = true;
	vq->l.live = false;
	/* Nobody is told of a queue that is about to end: but its end waits for nothing more. */
	if (vq->l.stopping)
		return;
	pthread_mutex_lock(&vq->shared.lock);
	snprintf(vq->shared.why, sizeof(vq->shared.why), "%s", why ? why : "");
	pthread_mutex_unlock(&vq->shared.lock);
	soft_count(&vq->shared.counters[SOFT_BAD_RINGS], 1);
	vdpa_loop_post(vq->core->control, &vq->error_msg, soft_vq_error);
}

static void publish(struct vdpa_soft_vq *vq)
{
	const struct vringh_stats *s = vringh_get_stats(vq->l.vr);
	_Atomic uint64_t *c = vq->shared.counters;
	const uint64_t *base = vq->l.base;
	struct vdpa_vq_state state = vringh_state(vq->l.vr);

	atomic_store_explicit(&c[SOFT_CHAINS], base[SOFT_CHAINS] + s->chains, memory_order_relaxed);
	atomic_store_explicit(&c[SOFT_COMPLETED], base[SOFT_COMPLETED] + s->completed,
			      memory_order_relaxed);
	atomic_store_explicit(&c[SOFT_MISSES], base[SOFT_MISSES] + s->misses, memory_order_relaxed);
	atomic_store_explicit(&vq->shared.base,
			      vdpa_vq_state_to_base(&state, soft_packed(vq->core)),
			      memory_order_relaxed);
}

/* ---- stopping ---- */

/*
 * What was completed must reach the used ring before the queue counts as stopped, unless it is
 * being reset, or the ring is beyond help.
 */
static bool published(struct vdpa_soft_vq *vq)
{
	vdpa_soft_flush(vq);
	return vq->l.cancelling || vq->l.failed || !vq->l.unpublished;
}

static void check_drained(struct vdpa_soft_vq *vq)
{
	if (!vq->l.stopping || vq->l.drained || vringh_outstanding(vq->l.vr) || !published(vq))
		return;
	vq->l.drained = true;
	vdpa_loop_poller_del(&vq->l.poller);
	if (vq->l.started && soft_has_op(vq->dev, stopped))
		vq->dev->ops->stopped(vq->dev, vq);
	vq->l.started = false;
	publish(vq);
	for (unsigned i = 0; i < SOFT_COUNTERS; i++)
		vq->l.base[i] = atomic_load_explicit(&vq->shared.counters[i], memory_order_relaxed);
	vq->l.vr = NULL;
	vdpa_loop_post(vq->core->control, &vq->stopped_msg, soft_vq_stopped);
}

static void drain(struct vdpa_loop_msg *msg)
{
	struct vdpa_soft_vq *vq = vdpa_container_of(msg, struct vdpa_soft_vq, drain_msg);

	vq->l.drain_queued = false;
	if (vq->l.vr)
		check_drained(vq);
	vdpa_put_device(&vq->dev->vdpa);
}

/* From inside of a completion: the queue must not end under the hands of who completes. */
static void drain_soon(struct vdpa_soft_vq *vq)
{
	if (!vq->l.stopping || vq->l.drained || vq->l.drain_queued || vringh_outstanding(vq->l.vr))
		return;
	vq->l.drain_queued = true;
	vdpa_get_device(&vq->dev->vdpa);
	vdpa_loop_post(vq->loop, &vq->drain_msg, drain);
}

static void begin_stop(struct vdpa_soft_vq *vq)
{
	vq->l.live = false;
	vq->l.stopping = true;
	vq->l.cancelling = atomic_load(&vq->shared.cancel_wanted);
	soft_wire_unwatch(vq);
	soft_coal_stop(vq, vq->l.cancelling);
	if (!vq->l.reclaim)
		vdpa_loop_poller_del(&vq->l.poller);
	if (vq->l.started && soft_has_op(vq->dev, stop))
		vq->dev->ops->stop(vq->dev, vq);
	check_drained(vq);
}

void soft_vq_loop_stop(struct vdpa_loop_msg *msg)
{
	struct vdpa_soft_vq *vq = vdpa_container_of(msg, struct vdpa_soft_vq, stop_msg);

	begin_stop(vq);
}

/* The drain takes too long, or a reset overtook it. */
void soft_vq_loop_cancel(struct vdpa_loop_msg *msg)
{
	struct vdpa_soft_vq *vq = vdpa_container_of(msg, struct vdpa_soft_vq, cancel_msg);

	atomic_store(&vq->shared.cancel_queued, false);
	if (vq->l.vr && vq->l.stopping && !vq->l.drained && !vq->l.cancelling)
		begin_stop(vq);
	vdpa_put_device(&vq->dev->vdpa);
}

/* ---- starting ---- */

void soft_vq_loop_start(struct vdpa_loop_msg *msg)
{
	struct vdpa_soft_vq *vq = vdpa_container_of(msg, struct vdpa_soft_vq, start_msg);
	struct soft_vq_loop *l = &vq->l;
	char why[SOFT_WHY_BYTES];
	int r = 0;

	l->vr = vq->vr;
	l->live = true;
	l->stopping = l->cancelling = l->failed = l->drained = false;
	l->kicks_off = l->unpublished = l->parked = l->reclaim = false;
	l->ask_owed = vq->inflight != NULL;
	soft_spin_reset(vq);
	soft_coal_start(vq);
	l->misses_answered = 0;
	soft_wire_apply(vq);
	soft_wire_watch(vq);
	publish(vq);
	if (soft_has_op(vq->dev, start))
		r = vq->dev->ops->start(vq->dev, vq);
	if (r) {
		snprintf(why, sizeof(why), "it cannot be started: %s", strerror(-r));
		fail(vq, why);
		return;
	}
	l->started = true;
	/* A ring that goes on may still have the suppression of its former life in it. */
	vringh_notify_enable(l->vr);
	vdpa_soft_vq_wake(vq);
}

/* ---- serving ---- */

static bool refresh(struct vdpa_soft_vq *vq)
{
	bool changed = vdpa_view_refresh(vq->ring_view);

	if (vq->buf_view != vq->ring_view)
		changed |= vdpa_view_refresh(vq->buf_view);
	if (changed)
		vringh_map_changed(vq->l.vr);
	return changed;
}

static void check_broken(struct vdpa_soft_vq *vq)
{
	if (vdpa_view_broken(vq->buf_view) ||
	    (vq->ring_view != vq->buf_view && vdpa_view_broken(vq->ring_view)))
		vdpa_soft_broken(vq->dev, "the file behind the driver's memory shrank");
}

/* Ask for kicks; true when requests came in meanwhile. */
static bool rearm(struct vdpa_soft_vq *vq)
{
	vq->l.kicks_off = false;
	return vringh_notify_enable(vq->l.vr);
}

/* Completions that are there need not be waited for. */
static bool poll_device(struct vdpa_soft_vq *vq)
{
	return vq->l.live && soft_has_op(vq->dev, poll) && vq->dev->ops->poll(vq->dev, vq);
}

/* Memory is wanted back that what is out lies in, also of a queue that takes nothing any more. */
static void reclaim(struct vdpa_soft_vq *vq)
{
	bool wanted = vq->l.reclaim && vq->l.started;

	vq->l.reclaim = false;
	if (wanted)
		vq->dev->ops->reclaim(vq->dev, vq);
}

static bool serve(struct vdpa_loop_poller *poller)
{
	struct vdpa_soft_vq *vq = vdpa_container_of(poller, struct vdpa_soft_vq, l.poller);
	bool more, worked;

	reclaim(vq);
	if (!vq->l.live) {
		vdpa_loop_poller_del(poller);
		return false;
	}
	refresh(vq);
	vq->l.in_run = true;
	vq->l.short_of = vq->l.dry = vq->l.look_again = false;
	vq->l.got = 0;
	more = vq->dev->ops->run(vq->dev, vq, vq->core->budget);
	worked = poll_device(vq) || vq->l.got;
	vq->l.in_run = false;
	vdpa_soft_flush(vq);
	if (worked)
		soft_spin_worked(vq, vq->l.got);
	if ((more || vq->l.look_again) && vq->l.live)
		return true;
	if (vq->l.live && vq->l.short_of && (soft_spin_wait(vq) || rearm(vq)))
		return worked;
	vdpa_loop_poller_del(poller);
	return worked;
}

/* The device is asked later: here requests must not end, and whoever asks counts them. */
static bool view_in_use(void *arg, uintptr_t first, uintptr_t last)
{
	struct vdpa_soft_vq *vq = arg;

	if (vq->l.started && soft_has_op(vq->dev, memory_gone))
		vq->dev->ops->memory_gone(vq->dev, vq, first, last);
	if (!vq->l.vr || !vringh_in_use(vq->l.vr, first, last))
		return false;
	if (soft_has_op(vq->dev, reclaim)) {
		vq->l.reclaim = true;
		if (!vq->l.poller.loop)
			vdpa_loop_poller_add(vq->loop, &vq->l.poller, serve);
	}
	return true;
}

/*
 * A ring that missed nothing is not looked at: behind an IOMMU, a device that reads without having
 * been kicked may read what its driver has just unmapped, and the guest would see a fault.
 */
static void view_changed(void *arg)
{
	struct vdpa_soft_vq *vq = arg;
	uint64_t misses;

	if (!vq->l.vr)
		return;
	vringh_map_changed(vq->l.vr);
	misses = vringh_get_stats(vq->l.vr)->misses;
	if (vq->l.stopping)
		drain_soon(vq);
	else if (misses != vq->l.misses_answered)
		vdpa_soft_vq_wake(vq);
	vq->l.misses_answered = misses;
}

const struct vdpa_view_ops soft_view_ops = {.in_use = view_in_use, .changed = view_changed};

/* ---- what a device calls ---- */

static void call(struct vdpa_soft_vq *vq)
{
	soft_count(&vq->shared.counters[SOFT_CALLS], 1);
	soft_wire_call(vq);
}

void soft_vq_notify(struct vdpa_soft_vq *vq)
{
	if (vringh_need_notify(vq->l.vr))
		call(vq);
	else
		soft_count(&vq->shared.counters[SOFT_CALLS_SUPPRESSED], 1);
}

/* A process that died with the batch in the used ring may not have come to the call. */
static void call_owed(struct vdpa_soft_vq *vq)
{
	vq->l.ask_owed = false;
	if (vringh_need_notify(vq->l.vr))
		call(vq);
}

unsigned vdpa_soft_getdesc(struct vdpa_soft_vq *vq, struct vringh_chain **chains, unsigned max)
{
	struct soft_vq_loop *l = &vq->l;
	int n;

	if (!l->live || !max)
		return 0;
	if (!l->in_run)
		refresh(vq);
	n = vringh_getdesc(l->vr, chains, max);
	l->short_of = false;
	if (n == -EAGAIN) {
		l->parked = true;
		publish(vq);
		return 0;
	}
	if (n < 0) {
		fail(vq, vringh_error(l->vr));
		return 0;
	}
	if (l->ask_owed)
		call_owed(vq);
	l->short_of = (unsigned)n < max;
	l->dry = !n;
	l->got += (unsigned)n;
	if (n && !l->kicks_off) {
		vringh_notify_disable(l->vr);
		l->kicks_off = true;
	}
	/* Outside of run() nobody else would ask for the kick that ends the shortage. */
	if (!l->in_run && l->short_of && rearm(vq))
		vdpa_soft_vq_wake(vq);
	return (unsigned)n;
}

/* A chain ended: that may be what the ring, or the end of the queue, waited for. */
static void ended(struct vdpa_soft_vq *vq)
{
	if (vq->l.parked) {
		vq->l.parked = false;
		vdpa_soft_vq_wake(vq);
	}
	drain_soon(vq);
}

void vdpa_soft_abandon(struct vdpa_soft_vq *vq, unsigned n)
{
	if (!n)
		return;
	/* Too few: a kick is to come for what the driver adds to them. */
	if (vq->l.in_run && vq->l.dry && vq->l.live)
		vq->l.look_again = rearm(vq);
	vringh_abandon(vq->l.vr, n);
	/* The ring is not empty, whatever the last getdesc saw. */
	vq->l.short_of = false;
	drain_soon(vq);
}

void vdpa_soft_cancel(struct vdpa_soft_vq *vq, struct vringh_chain *chain)
{
	vringh_cancel(vq->l.vr, chain);
	ended(vq);
}

bool vdpa_soft_vq_dropping(const struct vdpa_soft_vq *vq)
{
	return atomic_load_explicit(&vq->shared.drop, memory_order_acquire);
}

void vdpa_soft_complete(struct vdpa_soft_vq *vq, struct vringh_chain *chain, uint32_t written)
{
	if (vdpa_soft_vq_dropping(vq))
		vringh_cancel(vq->l.vr, chain);
	else
		vringh_complete(vq->l.vr, chain, written);
	vq->l.unpublished = true;
	ended(vq);
}

void vdpa_soft_complete_n(struct vdpa_soft_vq *vq, struct vringh_chain *const *chains,
			  const uint32_t *written, unsigned n)
{
	if (!n)
		return;
	if (vdpa_soft_vq_dropping(vq)) {
		for (unsigned i = 0; i < n; i++)
			vringh_cancel(vq->l.vr, chains[i]);
	} else {
		vringh_complete_n(vq->l.vr, chains, written, n);
	}
	vq->l.unpublished = true;
	ended(vq);
}

size_t vdpa_soft_push(struct vdpa_soft_vq *vq, const struct vringh_chain *chain, uint64_t off,
		      const void *buf, size_t len)
{
	return vdpa_soft_vq_dropping(vq) ? 0 : vringh_iov_push(chain, off, buf, len);
}

void vdpa_soft_flush(struct vdpa_soft_vq *vq)
{
	struct soft_vq_loop *l = &vq->l;
	int r;

	if (!l->vr || l->drained)
		return;
	check_broken(vq);
	publish(vq);
	if (!l->unpublished || vdpa_soft_vq_dropping(vq))
		return;
	r = vringh_flush(l->vr);
	if (r == -EBADMSG)
		fail(vq, vringh_error(l->vr));
	if (r)
		return;
	l->unpublished = false;
	if (!l->coal.max_usecs || !soft_coal_hold(vq))
		soft_vq_notify(vq);
}

bool vdpa_soft_vq_bounds(struct vdpa_soft_vq *vq, const void *addr, uintptr_t *first,
			 uintptr_t *last)
{
	return vq->l.vr && vdpa_view_bounds(vq->buf_view, addr, first, last);
}

void vdpa_soft_vq_wake(struct vdpa_soft_vq *vq)
{
	if (vq->l.live && !vq->l.poller.loop)
		vdpa_loop_poller_add(vq->loop, &vq->l.poller, serve);
}

void vdpa_soft_bad_request(struct vdpa_soft_vq *vq, const struct vringh_chain *chain,
			   const char *why)
{
	soft_count(&vq->shared.counters[SOFT_BAD_REQUESTS], 1);
	vdpa_log_limited(soft_log(vq->core), &vq->l.limit, VDPA_LOG_WARN, vq->object,
			 "bad request, head %u: %s", chain->head, why);
}

uint16_t vdpa_soft_vq_index(const struct vdpa_soft_vq *vq)
{
	return vq->idx;
}

struct vdpa_soft *vdpa_soft_vq_dev(struct vdpa_soft_vq *vq)
{
	return vq->dev;
}

struct vdpa_loop *vdpa_soft_vq_loop(struct vdpa_soft_vq *vq)
{
	return vq->loop;
}

bool vdpa_soft_vq_running(const struct vdpa_soft_vq *vq)
{
	return vq->l.live;
}

bool vdpa_soft_vq_cancelling(const struct vdpa_soft_vq *vq)
{
	return vq->l.cancelling;
}

void vdpa_soft_vq_set_priv(struct vdpa_soft_vq *vq, void *priv)
{
	vq->priv = priv;
}

void *vdpa_soft_vq_get_priv(const struct vdpa_soft_vq *vq)
{
	return vq->priv;
}
