// SPDX-License-Identifier: BSD-3-Clause
/*
 * How long a queue is looked at after its work, before its loop may sleep. Meanwhile kicks are
 * suppressed, and the ring is polled.
 *
 * With a busyloop (of the device, as vhost's busyloop_timeout): for a time that adapts between
 * nothing and that value. Each wait that ended is judged by how long it was: one that the busyloop
 * would have covered makes the time longer, one that it would not have makes it shorter. So a
 * driver that comes back soon is awaited, and one that comes back late costs nothing.
 *
 * Without one: only for as long as work has paid for, a fraction of a microsecond per request.
 * Going to sleep and being woken costs more than a short wait, and a driver and a device that fall
 * asleep for each other in turn do little else. What was saved is spent at once, when it is enough
 * for the wake-up of a driver that waits for us; whoever does not come in that time has to save
 * longer before it is tried again. So waiting never costs more than working did, and an idle queue
 * nothing.
 *
 * Who attacks: a driver that wants more than its share of a loop. Looking at an empty ring costs
 * its neighbours tens of nanoseconds per turn; and how long a queue is looked at is the operator's
 * word.
 */
#include "parent/soft/kit.h"

#define SPIN_FIRST_NS 8000u  /* of a busyloop, after a wait that it would have covered */
#define SPIN_LEAST_NS 1000u  /* less is none */
#define SPIN_REQUEST_NS 500u /* what a request pays */
#define SPIN_SAVED_NS 50000u /* most that can be saved, and what a try takes */
#define SPIN_DEAREST 64u

static uint64_t busyloop_ns(const struct vdpa_soft_vq *vq)
{
	return 1000ull * atomic_load_explicit(&vq->core->busyloop_us, memory_order_relaxed);
}

/* The queue slept for @gap_ns after its work: would the busyloop have covered it? */
static void judge(struct soft_spin *s, uint64_t gap_ns, uint64_t max_ns)
{
	/* The device's value may be less than it was. */
	if (s->adapted_ns > max_ns)
		s->adapted_ns = max_ns;
	if (gap_ns > max_ns) {
		s->adapted_ns /= 2;
		if (s->adapted_ns < SPIN_LEAST_NS)
			s->adapted_ns = 0;
		return;
	}
	s->adapted_ns = s->adapted_ns ? 2 * s->adapted_ns : SPIN_FIRST_NS;
	if (s->adapted_ns > max_ns)
		s->adapted_ns = max_ns;
}

static void earn(struct soft_spin *s, unsigned requests)
{
	s->saved_ns += (uint64_t)requests * SPIN_REQUEST_NS / s->price;
	if (s->saved_ns > SPIN_SAVED_NS)
		s->saved_ns = SPIN_SAVED_NS;
}

static void spend(struct soft_spin *s, uint64_t ns)
{
	s->saved_ns -= ns < s->saved_ns ? ns : s->saved_ns;
}

void soft_spin_reset(struct vdpa_soft_vq *vq)
{
	vq->l.spin = (struct soft_spin){.price = 1};
}

void soft_spin_worked(struct vdpa_soft_vq *vq, unsigned requests)
{
	struct soft_spin *s = &vq->l.spin;
	uint64_t max = busyloop_ns(vq);

	if (s->since_ns) {
		uint64_t gap = vdpa_loop_now(vq->loop) - s->since_ns;

		if (max && s->gave_up)
			judge(s, gap, max);
		if (!max && !s->gave_up) {
			spend(s, gap);
			s->trusted = true;
			s->price = 1;
		}
		s->since_ns = 0;
	}
	s->gave_up = false;
	if (!max)
		earn(s, requests);
}

static uint64_t limit(struct vdpa_soft_vq *vq)
{
	struct soft_spin *s = &vq->l.spin;
	uint64_t max = busyloop_ns(vq);

	if (max)
		return s->adapted_ns < max ? s->adapted_ns
					   : max; /* the device's may have changed */
	return s->trusted || s->saved_ns == SPIN_SAVED_NS ? s->saved_ns : 0;
}

/* Nobody came in the time that was paid for. */
static void gave_up(struct soft_spin *s)
{
	s->gave_up = true;
	if (!s->limit_ns)
		return;
	s->saved_ns = 0;
	/* It was a try, or the end of a series of hits. */
	if (!s->trusted && s->price < SPIN_DEAREST)
		s->price *= 2;
	s->trusted = false;
}

bool soft_spin_wait(struct vdpa_soft_vq *vq)
{
	struct soft_spin *s = &vq->l.spin;

	if (!s->since_ns) {
		s->limit_ns = limit(vq);
		s->gave_up = false;
		/* Without any use for it the clock is not read. */
		if (s->limit_ns || busyloop_ns(vq))
			s->since_ns = vdpa_loop_now(vq->loop);
		if (s->limit_ns)
			return true;
	} else if (!s->gave_up && vdpa_loop_now(vq->loop) - s->since_ns < s->limit_ns) {
		return true;
	}
	gave_up(s);
	return false;
}

void vdpa_soft_set_busyloop(struct vdpa_soft *dev, unsigned us)
{
	atomic_store_explicit(&dev->core->busyloop_us, us, memory_order_relaxed);
}

unsigned vdpa_soft_get_busyloop(const struct vdpa_soft *dev)
{
	return atomic_load_explicit(&dev->core->busyloop_us, memory_order_relaxed);
}
