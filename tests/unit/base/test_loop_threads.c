// SPDX-License-Identifier: BSD-3-Clause
/* Loops and threads: posting, waking, the grace period. ThreadSanitizer is one of the judges. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uvdpa/loop.h>
#include "base/cmocka_inc.h"
#include "base/list.h"

#define WAIT_NS 10000000000ull /* nothing here takes a hundredth of it */

static struct vdpa_loop_group *group;
static struct vdpa_loop *control;

static int setup(void **state)
{
	if (vdpa_loop_group_new(3, &group))
		return -1;
	control = vdpa_loop_group_control(group);
	return 0;
}

static int teardown(void **state)
{
	vdpa_loop_group_free(group);
	return 0;
}

static void run_until(atomic_uint *counter, unsigned want)
{
	uint64_t end = vdpa_clock_ns() + WAIT_NS;

	while (atomic_load(counter) < want) {
		assert_true(vdpa_clock_ns() < end);
		assert_true(vdpa_loop_run_once(control, 1000000) >= 0);
	}
}

struct post {
	struct vdpa_loop_msg msg;
	unsigned sender, seq;
	unsigned *expected; /* per sender; the receiving loop's */
	atomic_uint *count;
};

static void on_post(struct vdpa_loop_msg *msg)
{
	struct post *p = vdpa_container_of(msg, struct post, msg);

	/* Messages of one sender keep their order. */
	if (p->seq != p->expected[p->sender])
		abort();
	p->expected[p->sender]++;
	atomic_fetch_add(p->count, 1);
}

#define SENDERS 4
#define POSTS 5000

struct sender {
	struct vdpa_loop *to;
	struct post *posts;
};

static void *send_all(void *arg)
{
	struct sender *s = arg;

	for (unsigned i = 0; i < POSTS; i++)
		vdpa_loop_post(s->to, &s->posts[i].msg, on_post);
	return NULL;
}

static void many_senders_to(struct vdpa_loop *to)
{
	struct sender senders[SENDERS];
	pthread_t threads[SENDERS];
	unsigned expected[SENDERS] = {0};
	atomic_uint count = 0;

	for (unsigned s = 0; s < SENDERS; s++) {
		senders[s].to = to;
		senders[s].posts = calloc(POSTS, sizeof(struct post));
		for (unsigned i = 0; i < POSTS; i++)
			senders[s].posts[i] = (struct post){
				.sender = s, .seq = i, .expected = expected, .count = &count};
		assert_int_equal(pthread_create(&threads[s], NULL, send_all, &senders[s]), 0);
	}
	run_until(&count, SENDERS * POSTS);
	for (unsigned s = 0; s < SENDERS; s++) {
		pthread_join(threads[s], NULL);
		free(senders[s].posts);
	}
}

static void many_senders_one_order(void **state)
{
	many_senders_to(control);
	many_senders_to(vdpa_loop_group_worker(group, 1));
}

/*
 * Ping-pong: each side sleeps between two messages, so that every one of them has to wake a loop. A
 * wake-up that is lost hangs the test. Random pauses move the post around the moment of falling
 * asleep.
 */
struct pong {
	struct vdpa_loop_msg msg;
	struct vdpa_loop *there;
	atomic_uint rounds;
	bool back;
	unsigned seed;
};

static void on_pong(struct vdpa_loop_msg *msg)
{
	struct pong *p = vdpa_container_of(msg, struct pong, msg);

	p->seed = p->seed * 1103515245u + 12345u;
	for (volatile unsigned i = p->seed >> 22; i; i--)
		;
	p->back = !p->back;
	if (atomic_fetch_add(&p->rounds, 1) < 20000)
		vdpa_loop_post(p->back ? control : p->there, msg, on_pong);
}

static void no_wake_up_is_lost(void **state)
{
	struct pong p = {.there = vdpa_loop_group_worker(group, 0), .seed = 1};

	vdpa_loop_post(p.there, &p.msg, on_pong);
	run_until(&p.rounds, 20001);
}

struct probe {
	struct vdpa_loop_msg msg;
	struct vdpa_loop *self;
	atomic_uint done;
	bool current, others_not, signals_blocked;
	char name[16];
};

static void on_probe(struct vdpa_loop_msg *msg)
{
	struct probe *p = vdpa_container_of(msg, struct probe, msg);
	sigset_t set;

	p->current = vdpa_loop_is_current(p->self);
	p->others_not = true;
	for (unsigned i = 0; i < 3; i++) {
		struct vdpa_loop *w = vdpa_loop_group_worker(group, i);

		if (w != p->self && vdpa_loop_is_current(w))
			p->others_not = false;
	}
	pthread_sigmask(SIG_SETMASK, NULL, &set);
	p->signals_blocked = sigismember(&set, SIGTERM) && sigismember(&set, SIGCHLD) &&
			     sigismember(&set, SIGUSR1);
	pthread_getname_np(pthread_self(), p->name, sizeof(p->name));
	atomic_store(&p->done, 1);
}

static void workers_are_named_deaf_and_know_themselves(void **state)
{
	for (unsigned i = 0; i < 3; i++) {
		struct probe p = {.self = vdpa_loop_group_worker(group, i)};
		char want[32];

		/* At once, and not only when its thread has come to it. */
		assert_false(vdpa_loop_is_current(p.self));
		assert_int_equal(vdpa_loop_index(p.self), i + 1);
		assert_ptr_equal(vdpa_loop_get_group(p.self), group);
		vdpa_loop_call(p.self, &p.msg, on_probe);
		run_until(&p.done, 1);
		assert_true(p.current && p.others_not && p.signals_blocked);
		snprintf(want, sizeof(want), "vdpa-worker%u", i);
		assert_string_equal(p.name, want);
	}
	assert_ptr_equal(vdpa_loop_group_worker(group, 3), vdpa_loop_group_worker(group, 0));
	assert_int_equal(vdpa_loop_group_workers(group), 3);
	assert_int_equal(vdpa_loop_index(control), 0);
	assert_int_equal(vdpa_loop_run(vdpa_loop_group_worker(group, 0)), -EINVAL);
	assert_int_equal(vdpa_loop_run_once(vdpa_loop_group_worker(group, 0), 0), -EINVAL);
}

/* A worker that is kept busy holds the grace period up; what it does after is not waited for. */
struct busy {
	struct vdpa_loop_msg msg;
	atomic_uint entered, leave;
};

static void on_busy(struct vdpa_loop_msg *msg)
{
	struct busy *b = vdpa_container_of(msg, struct busy, msg);

	atomic_store(&b->entered, 1);
	while (!atomic_load(&b->leave))
		usleep(100);
}

static atomic_uint synced;

static void on_sync(struct vdpa_loop_sync *sync)
{
	assert_true(vdpa_loop_is_current(control));
	atomic_fetch_add(&synced, 1);
}

static void grace_period_waits_for_every_loop(void **state)
{
	struct vdpa_loop_sync sync;

	for (unsigned i = 0; i < 3; i++) {
		struct busy busy = {.entered = 0};

		atomic_store(&synced, 0);
		vdpa_loop_post(vdpa_loop_group_worker(group, i), &busy.msg, on_busy);
		run_until(&busy.entered, 1);
		vdpa_loop_group_sync(group, &sync, on_sync);
		for (int k = 0; k < 20; k++)
			vdpa_loop_run_once(control, 1000000);
		assert_int_equal(atomic_load(&synced), 0);
		atomic_store(&busy.leave, 1);
		run_until(&synced, 1);
	}
}

static struct vdpa_loop *stopped;

static void on_signal(int sig)
{
	vdpa_loop_stop(stopped);
}

static void stop_from_a_signal_handler(void **state)
{
	struct sigaction sa = {.sa_handler = on_signal}, old;
	uint64_t start = vdpa_clock_ns();

	stopped = control;
	assert_int_equal(sigaction(SIGALRM, &sa, &old), 0);
	ualarm(20000, 0);
	assert_int_equal(vdpa_loop_run(control), 0);
	assert_true(vdpa_clock_ns() - start < WAIT_NS);
	sigaction(SIGALRM, &old, NULL);
}

static void *stop_soon(void *arg)
{
	usleep(5000);
	vdpa_loop_stop(arg);
	return NULL;
}

static void stop_from_another_thread(void **state)
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, stop_soon, control), 0);
	assert_int_equal(vdpa_loop_run(control), 0);
	pthread_join(thread, NULL);
}

static void groups_come_and_go(void **state)
{
	for (int i = 0; i < 50; i++) {
		struct vdpa_loop_group *g;

		assert_int_equal(vdpa_loop_group_new(4, &g), 0);
		vdpa_loop_group_free(g);
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(many_senders_one_order),
		T(no_wake_up_is_lost),
		T(workers_are_named_deaf_and_know_themselves),
		T(grace_period_waits_for_every_loop),
		T(stop_from_a_signal_handler),
		T(stop_from_another_thread),
		cmocka_unit_test(groups_come_and_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
