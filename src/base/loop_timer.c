// SPDX-License-Identifier: BSD-3-Clause
/*
 * Timers: a list by deadline, and one timerfd for its head, so that a loop that is embedded
 * elsewhere wakes too. The timerfd is only touched when the head moved forward: one that fires
 * early costs an empty iteration, re-arming at each change would cost a system call per request.
 */
#include <assert.h>
#include <sys/timerfd.h>
#include "base/loop_impl.h"

void vdpa_loop_timer_set(struct vdpa_loop *loop, struct vdpa_loop_timer *timer,
			 uint64_t deadline_ns, void (*fn)(struct vdpa_loop_timer *timer))
{
	struct vdpa_loop_timer **at = &loop->timers;

	assert(vdpa_loop_is_current(loop));
	vdpa_loop_timer_cancel(timer);
	while (*at && (*at)->deadline_ns <= deadline_ns)
		at = &(*at)->next;
	timer->deadline_ns = deadline_ns;
	timer->fn = fn;
	timer->loop = loop;
	timer->next = *at;
	*at = timer;
	if (!atomic_load(&loop->running))
		loop_timer_arm(loop);
}

static bool timer_unlink(struct vdpa_loop_timer **list, struct vdpa_loop_timer *timer)
{
	for (; *list; list = &(*list)->next) {
		if (*list != timer)
			continue;
		*list = timer->next;
		return true;
	}
	return false;
}

void vdpa_loop_timer_cancel(struct vdpa_loop_timer *timer)
{
	struct vdpa_loop *loop = timer->loop;
	bool found;

	if (!loop)
		return;
	assert(vdpa_loop_is_current(loop));
	found = timer_unlink(&loop->timers, timer) || timer_unlink(&loop->expired, timer);
	assert(found);
	(void)found;
	timer->loop = NULL;
	timer->next = NULL;
}

void loop_timer_arm(struct vdpa_loop *loop)
{
	struct itimerspec its = {0};
	uint64_t ns;

	if (!loop->timers)
		return;
	ns = loop->timers->deadline_ns;
	if (!ns)
		ns = 1; /* all zeroes would disarm */
	if (loop->timerfd_ns && loop->timerfd_ns <= ns)
		return;
	its.it_value.tv_sec = (time_t)(ns / 1000000000u);
	its.it_value.tv_nsec = (long)(ns % 1000000000u);
	if (!timerfd_settime(loop->timerfd, TFD_TIMER_ABSTIME, &its, NULL))
		loop->timerfd_ns = ns;
}

/* Those that are due now; one that arms itself again, for the past even, has its turn next time. */
bool loop_timers(struct vdpa_loop *loop)
{
	struct vdpa_loop_timer **end = &loop->timers;
	uint64_t now;

	if (!loop->timers)
		return false;
	now = vdpa_loop_now(loop);
	while (*end && (*end)->deadline_ns <= now)
		end = &(*end)->next;
	if (end == &loop->timers)
		return false;
	loop->expired = loop->timers;
	loop->timers = *end;
	*end = NULL;
	while (loop->expired) {
		struct vdpa_loop_timer *t = loop->expired;

		loop->expired = t->next;
		t->next = NULL;
		t->loop = NULL;
		t->fn(t);
	}
	return true;
}
