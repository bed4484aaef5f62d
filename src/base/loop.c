// SPDX-License-Identifier: BSD-3-Clause
/* One loop: its iteration, and how it goes to sleep (loop_impl.h has the theory). */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/timerfd.h>
#include "base/fd.h"
#include "base/loop_impl.h"

static uintptr_t thread_self(void)
{
	return (uintptr_t)pthread_self();
}

/* Edge-triggered: nobody reads the counter, and it takes 2^64 messages to fill it. */
static void on_wake(struct vdpa_loop_fd *lfd, uint32_t revents)
{
}

static void on_timerfd(struct vdpa_loop_fd *lfd, uint32_t revents)
{
	vdpa_eventfd_drain(lfd->fd);
	lfd->loop->timerfd_ns = 0;
}

int loop_init(struct vdpa_loop *loop, struct vdpa_loop_group *group, unsigned index)
{
	int ret;

	memset(loop, 0, sizeof(*loop));
	loop->group = group;
	loop->index = index;
	atomic_init(&loop->sleeping, true);
	loop->wakefd = -1;
	loop->timerfd = -1;
	loop->epfd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epfd < 0)
		return -errno;
	loop->wakefd = vdpa_eventfd_new();
	ret = loop->wakefd < 0 ? loop->wakefd : 0;
	if (ret)
		goto err;
	loop->timerfd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (loop->timerfd < 0) {
		ret = -errno;
		goto err;
	}
	ret = vdpa_loop_fd_add(loop, &loop->wake_fd, loop->wakefd, EPOLLIN | EPOLLET, on_wake);
	if (!ret)
		ret = vdpa_loop_fd_add(loop, &loop->timer_fd, loop->timerfd, EPOLLIN, on_timerfd);
	if (ret)
		goto err;
	return 0;
err:
	loop_fini(loop);
	return ret;
}

void loop_fini(struct vdpa_loop *loop)
{
	vdpa_fd_close(&loop->timerfd);
	vdpa_fd_close(&loop->wakefd);
	vdpa_fd_close(&loop->epfd);
}

struct vdpa_loop_group *vdpa_loop_get_group(struct vdpa_loop *loop)
{
	return loop->group;
}

unsigned vdpa_loop_index(const struct vdpa_loop *loop)
{
	return loop->index;
}

bool vdpa_loop_is_current(const struct vdpa_loop *loop)
{
	uintptr_t owner = atomic_load_explicit(&loop->owner, memory_order_relaxed);

	return !owner || owner == thread_self();
}

void loop_claim(struct vdpa_loop *loop)
{
	atomic_store_explicit(&loop->owner, thread_self(), memory_order_relaxed);
	if (loop->urgent)
		atomic_store_explicit(&loop->urgent->owner, thread_self(), memory_order_relaxed);
}

static bool loop_pollers(struct vdpa_loop *loop)
{
	struct vdpa_loop_poller *p;
	bool ran = false;

	for (p = loop->pollers; p; p = loop->next_poller) {
		loop->next_poller = p->next;
		ran |= p->fn(p);
	}
	return ran;
}

void vdpa_loop_poller_add(struct vdpa_loop *loop, struct vdpa_loop_poller *poller,
			  bool (*fn)(struct vdpa_loop_poller *poller))
{
	struct vdpa_loop_poller **at = &loop->pollers;

	assert(vdpa_loop_is_current(loop));
	assert(!poller->loop);
	while (*at)
		at = &(*at)->next;
	poller->fn = fn;
	poller->next = NULL;
	poller->loop = loop;
	*at = poller;
	if (!atomic_load(&loop->running))
		loop_wake(loop);
}

void vdpa_loop_poller_del(struct vdpa_loop_poller *poller)
{
	struct vdpa_loop *loop = poller->loop;
	struct vdpa_loop_poller **at;

	if (!loop)
		return;
	assert(vdpa_loop_is_current(loop));
	for (at = &loop->pollers; *at != poller; at = &(*at)->next)
		assert(*at);
	*at = poller->next;
	if (loop->next_poller == poller)
		loop->next_poller = poller->next;
	poller->loop = NULL;
	poller->next = NULL;
}

/* Nanoseconds to what epoll_wait() takes, rounded up: never early. */
static int timeout_ms(int64_t timeout_ns)
{
	int64_t ms;

	if (timeout_ns < 0)
		return -1;
	ms = timeout_ns / 1000000 + (timeout_ns % 1000000 != 0);
	return ms > INT_MAX ? INT_MAX : (int)ms;
}

uint64_t vdpa_loop_now(struct vdpa_loop *loop)
{
	if (!loop->now_ns)
		loop->now_ns = vdpa_clock_ns();
	return loop->now_ns;
}

static void loop_count(struct vdpa_loop *loop, enum loop_counter counter)
{
	_Atomic uint64_t *c = &loop->counters[counter];

	atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}

void vdpa_loop_get_stats(const struct vdpa_loop *loop, struct vdpa_loop_stats *stats)
{
	const _Atomic uint64_t *c = loop->counters;

	stats->sleeps = atomic_load_explicit(&c[LOOP_SLEEPS], memory_order_relaxed);
	stats->wakeups = atomic_load_explicit(&c[LOOP_WAKEUPS], memory_order_relaxed);
	stats->spins = atomic_load_explicit(&c[LOOP_SPINS], memory_order_relaxed);
	stats->looks = atomic_load_explicit(&c[LOOP_LOOKS], memory_order_relaxed);
}

static int loop_epoll(struct vdpa_loop *loop, int64_t timeout_ns)
{
	int n = epoll_wait(loop->epfd, loop->events, LOOP_EVENTS, timeout_ms(timeout_ns));

	return n < 0 && errno == EINTR ? 0 : n < 0 ? -errno : n;
}

/* The inbox is looked at after @sleeping was announced: see loop_impl.h. */
static int loop_sleep(struct vdpa_loop *loop, int64_t timeout_ns)
{
	int n;

	atomic_store(&loop->sleeping, true);
	if (loop_has_messages(loop)) {
		timeout_ns = 0;
		loop_count(loop, LOOP_LOOKS);
	} else {
		loop_count(loop, LOOP_SLEEPS);
	}
	n = loop_epoll(loop, timeout_ns);
	if (timeout_ns && n > 0)
		loop_count(loop, LOOP_WAKEUPS);
	atomic_store(&loop->sleeping, false);
	loop->now_ns = 0;
	return n;
}

/* Descriptors have to be looked at now? While there are pollers that is not free. */
static bool loop_look_due(struct vdpa_loop *loop)
{
	uint64_t now = vdpa_loop_now(loop);

	if (now - loop->look_ns < LOOP_LOOK_NS)
		return false;
	loop->look_ns = now;
	return true;
}

/* @timeout_ns < 0: the loop runs for long, and need not look at each iteration. */
static int loop_wait(struct vdpa_loop *loop, int64_t timeout_ns)
{
	loop->now_ns = 0;
	if (!loop->pollers && timeout_ns)
		return loop_sleep(loop, timeout_ns);
	if (timeout_ns < 0 && !loop_look_due(loop))
		return 0;
	loop_count(loop, LOOP_LOOKS);
	return loop_epoll(loop, 0);
}

static int loop_iterate(struct vdpa_loop *loop, int64_t timeout_ns)
{
	bool ran, awake = loop->pollers;
	int n;

	loop_timer_arm(loop);
	n = loop_wait(loop, timeout_ns);
	if (n < 0)
		return n;
	loop->nevents = n;
	loop->at_event = 0;
	ran = loop_messages(loop);
	ran |= loop_fds(loop);
	ran |= loop_timers(loop);
	ran |= loop_pollers(loop);
	if (awake && !ran)
		loop_count(loop, LOOP_SPINS);
	return ran;
}

static int loop_enter(struct vdpa_loop *loop)
{
	if (atomic_exchange(&loop->running, true))
		return -EBUSY;
	loop_claim(loop);
	atomic_store(&loop->sleeping, false);
	return 0;
}

/* Nobody runs the loop from here on: what is left to do must show at its epoll fd. */
static void loop_leave(struct vdpa_loop *loop)
{
	loop_timer_arm(loop);
	atomic_store(&loop->sleeping, true);
	if (loop_has_messages(loop) || loop->pollers)
		loop_wake(loop);
	atomic_store(&loop->running, false);
}

/* The first look is for the common case: no write. */
static bool loop_stopped(struct vdpa_loop *loop)
{
	return atomic_load_explicit(&loop->stop, memory_order_relaxed) &&
	       atomic_exchange(&loop->stop, false);
}

int loop_run(struct vdpa_loop *loop)
{
	int ret = loop_enter(loop);

	if (ret)
		return ret;
	while (ret >= 0 && !loop_stopped(loop))
		ret = loop_iterate(loop, -1);
	loop_leave(loop);
	return ret < 0 ? ret : 0;
}

int vdpa_loop_run(struct vdpa_loop *loop)
{
	return loop->index ? -EINVAL : loop_run(loop);
}

int vdpa_loop_run_once(struct vdpa_loop *loop, int64_t timeout_ns)
{
	int ret;

	if (loop->index)
		return -EINVAL;
	ret = loop_enter(loop);
	if (ret)
		return ret;
	ret = loop_iterate(loop, timeout_ns);
	loop_leave(loop);
	return ret;
}

struct vdpa_loop *vdpa_loop_urgent(struct vdpa_loop *loop)
{
	return loop->urgent ? loop->urgent : loop;
}

int vdpa_loop_serve_urgent(struct vdpa_loop *urgent, int64_t timeout_ns)
{
	int ret = urgent->urgent ? -EINVAL : loop_enter(urgent);

	if (ret)
		return ret;
	ret = loop_iterate(urgent, timeout_ns);
	loop_leave(urgent);
	return ret;
}

void loop_on_urgent(struct vdpa_loop_fd *lfd, uint32_t revents)
{
	vdpa_loop_serve_urgent(lfd->loop->urgent, 0);
}

void vdpa_loop_stop(struct vdpa_loop *loop)
{
	atomic_store(&loop->stop, true);
	loop_wake(loop);
}

int vdpa_loop_pollfd(const struct vdpa_loop *loop)
{
	return loop->epfd;
}
