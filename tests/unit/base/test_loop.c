// SPDX-License-Identifier: BSD-3-Clause
/* One loop on one thread: order, descriptors, timers, pollers, embedding. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <uvdpa/loop.h>
#include "base/cmocka_inc.h"
#include "base/fd.h"
#include "base/list.h"
#include "alloc_fail.h"

static struct vdpa_loop_group *group;
static struct vdpa_loop *loop;
static char trace[256];

static int setup(void **state)
{
	trace[0] = '\0';
	if (vdpa_loop_group_new(0, &group))
		return -1;
	loop = vdpa_loop_group_control(group);
	return 0;
}

static int teardown(void **state)
{
	vdpa_loop_group_free(group);
	return 0;
}

static void note(const char *what)
{
	strncat(trace, what, sizeof(trace) - strlen(trace) - 1);
}

struct named_msg {
	struct vdpa_loop_msg msg;
	const char *name;
	unsigned repost;
};

static void on_msg(struct vdpa_loop_msg *msg)
{
	struct named_msg *m = vdpa_container_of(msg, struct named_msg, msg);

	note(m->name);
	if (m->repost) {
		m->repost--;
		vdpa_loop_post(loop, msg, on_msg);
	}
}

static void messages_keep_their_order(void **state)
{
	struct named_msg a = {.name = "a"}, b = {.name = "b"}, c = {.name = "c"};

	vdpa_loop_post(loop, &a.msg, on_msg);
	vdpa_loop_post(loop, &b.msg, on_msg);
	vdpa_loop_post(loop, &c.msg, on_msg);
	assert_string_equal(trace, "");
	assert_int_equal(vdpa_loop_run_once(loop, -1), 1);
	assert_string_equal(trace, "abc");
	assert_int_equal(vdpa_loop_run_once(loop, 0), 0);
}

static void call_runs_at_once_on_its_own_thread(void **state)
{
	struct named_msg a = {.name = "a"};

	vdpa_loop_call(loop, &a.msg, on_msg);
	assert_string_equal(trace, "a");
}

struct named_fd {
	struct vdpa_loop_fd lfd;
	const char *name;
	int fd;
	struct named_fd *kill; /* delete, and spoil, this one in the callback */
	struct named_msg *post;
	unsigned hits;
};

static void on_fd(struct vdpa_loop_fd *lfd, uint32_t revents)
{
	struct named_fd *f = vdpa_container_of(lfd, struct named_fd, lfd);

	f->hits++;
	note(f->name);
	vdpa_eventfd_drain(f->fd);
	if (f->post)
		vdpa_loop_post(loop, &f->post->msg, on_msg);
	if (f->kill) {
		vdpa_loop_fd_del(&f->kill->lfd);
		memset(&f->kill->lfd, 0xa5, sizeof(f->kill->lfd));
		f->kill = NULL;
	}
}

static void named_fd_start(struct named_fd *f, const char *name)
{
	memset(f, 0, sizeof(*f));
	f->name = name;
	f->fd = vdpa_eventfd_new();
	assert_true(f->fd >= 0);
	assert_int_equal(vdpa_loop_fd_add(loop, &f->lfd, f->fd, EPOLLIN, on_fd), 0);
}

static void messages_run_before_and_between_fd_events(void **state)
{
	struct named_msg first = {.name = "m"}, between = {.name = "b"};
	struct named_fd x, y;

	named_fd_start(&x, "x");
	named_fd_start(&y, "y");
	x.post = &between;
	vdpa_eventfd_signal(x.fd);
	vdpa_eventfd_signal(y.fd);
	vdpa_loop_post(loop, &first.msg, on_msg);
	assert_int_equal(vdpa_loop_run_once(loop, -1), 1);
	assert_string_equal(trace, "mxby");
	vdpa_loop_fd_del(&x.lfd);
	vdpa_loop_fd_del(&y.lfd);
	close(x.fd);
	close(y.fd);
}

/* Whichever comes first deletes the other, whose event is in the same batch. */
static void deleted_fd_gets_no_stale_event(void **state)
{
	struct named_fd *x = malloc(sizeof(*x)), *y = malloc(sizeof(*y));
	int fds[2];

	named_fd_start(x, "x");
	named_fd_start(y, "y");
	fds[0] = x->fd;
	fds[1] = y->fd;
	x->kill = y;
	y->kill = x;
	vdpa_eventfd_signal(x->fd);
	vdpa_eventfd_signal(y->fd);
	assert_int_equal(vdpa_loop_run_once(loop, -1), 1);
	assert_int_equal(x->hits + y->hits, 1);
	assert_int_equal(strlen(trace), 1);
	vdpa_loop_fd_del(x->hits ? &x->lfd : &y->lfd);
	free(x);
	free(y);
	assert_int_equal(vdpa_loop_run_once(loop, 0), 0);
	close(fds[0]);
	close(fds[1]);
}

static void fd_may_delete_itself(void **state)
{
	struct named_fd x;

	named_fd_start(&x, "x");
	x.kill = &x;
	vdpa_eventfd_signal(x.fd);
	assert_int_equal(vdpa_loop_run_once(loop, -1), 1);
	vdpa_eventfd_signal(x.fd);
	assert_int_equal(vdpa_loop_run_once(loop, 0), 0);
	assert_int_equal(x.hits, 1);
	close(x.fd);
}

static void fd_mod_silences(void **state)
{
	struct named_fd x;

	named_fd_start(&x, "x");
	assert_int_equal(vdpa_loop_fd_mod(&x.lfd, 0), 0);
	vdpa_eventfd_signal(x.fd);
	assert_int_equal(vdpa_loop_run_once(loop, 0), 0);
	assert_int_equal(vdpa_loop_fd_mod(&x.lfd, EPOLLIN), 0);
	assert_int_equal(vdpa_loop_run_once(loop, 0), 1);
	vdpa_loop_fd_del(&x.lfd);
	vdpa_loop_fd_del(&x.lfd);
	assert_int_equal(vdpa_loop_fd_mod(&x.lfd, EPOLLIN), -EINVAL);
	close(x.fd);
}

static struct named_fd narrow[2];

/* Whoever is first tells the loop not to look at the other, whose event is in the same batch. */
static void on_narrow(struct vdpa_loop_fd *lfd, uint32_t revents)
{
	struct named_fd *f = vdpa_container_of(lfd, struct named_fd, lfd);

	f->hits++;
	assert_int_equal(vdpa_loop_fd_mod(&narrow[f == &narrow[0]].lfd, 0), 0);
	vdpa_eventfd_drain(f->fd);
}

static void fd_mod_holds_within_a_batch(void **state)
{
	for (int i = 0; i < 2; i++) {
		memset(&narrow[i], 0, sizeof(narrow[i]));
		narrow[i].fd = vdpa_eventfd_new();
		assert_int_equal(
			vdpa_loop_fd_add(loop, &narrow[i].lfd, narrow[i].fd, EPOLLIN, on_narrow),
			0);
		vdpa_eventfd_signal(narrow[i].fd);
	}
	assert_int_equal(vdpa_loop_run_once(loop, -1), 1);
	assert_int_equal(narrow[0].hits + narrow[1].hits, 1);
	for (int i = 0; i < 2; i++) {
		vdpa_loop_fd_del(&narrow[i].lfd);
		close(narrow[i].fd);
	}
}

static void fd_add_reports_errors(void **state)
{
	struct vdpa_loop_fd lfd = {0};

	assert_int_equal(vdpa_loop_fd_add(loop, &lfd, -1, EPOLLIN, on_fd), -EBADF);
	assert_null(lfd.loop);
	vdpa_loop_fd_del(&lfd);
}

/* A message that posts itself for ever must not keep a descriptor waiting. */
static void reposting_message_does_not_starve(void **state)
{
	struct named_msg m = {.name = ".", .repost = 1000000};
	struct named_fd x;

	named_fd_start(&x, "x");
	vdpa_eventfd_signal(x.fd);
	vdpa_loop_post(loop, &m.msg, on_msg);
	assert_int_equal(vdpa_loop_run_once(loop, -1), 1);
	assert_int_equal(x.hits, 1);
	assert_true(m.repost > 1000000 - 10);
	m.repost = 0;
	assert_int_equal(vdpa_loop_run_once(loop, -1), 1);
	vdpa_loop_fd_del(&x.lfd);
	close(x.fd);
}

struct named_timer {
	struct vdpa_loop_timer timer;
	const char *name;
	struct named_timer *cancel;
	unsigned rearm;
};

static void on_timer(struct vdpa_loop_timer *timer)
{
	struct named_timer *t = vdpa_container_of(timer, struct named_timer, timer);

	note(t->name);
	assert_null(timer->loop);
	if (t->cancel)
		vdpa_loop_timer_cancel(&t->cancel->timer);
	if (t->rearm) {
		t->rearm--;
		vdpa_loop_timer_set(loop, timer, 1, on_timer);
	}
}

static void timers_run_by_deadline(void **state)
{
	uint64_t now = vdpa_clock_ns();
	struct named_timer a = {.name = "a"}, b = {.name = "b"}, c = {.name = "c"},
			   late = {.name = "L"};

	vdpa_loop_timer_set(loop, &late.timer, now + 3600ull * 1000000000, on_timer);
	vdpa_loop_timer_set(loop, &c.timer, now + 2000000, on_timer);
	vdpa_loop_timer_set(loop, &a.timer, now + 1000000, on_timer);
	vdpa_loop_timer_set(loop, &b.timer, now + 1000000, on_timer);
	while (strlen(trace) < 3)
		assert_true(vdpa_loop_run_once(loop, -1) >= 0);
	assert_string_equal(trace, "abc");
	assert_true(vdpa_clock_ns() >= now + 2000000);
	vdpa_loop_timer_cancel(&late.timer);
	vdpa_loop_timer_cancel(&late.timer);
}

static void timer_set_again_moves(void **state)
{
	struct named_timer a = {.name = "a"}, b = {.name = "b"};

	vdpa_loop_timer_set(loop, &a.timer, 1, on_timer);
	vdpa_loop_timer_set(loop, &b.timer, 2, on_timer);
	vdpa_loop_timer_set(loop, &a.timer, 3, on_timer);
	assert_int_equal(vdpa_loop_run_once(loop, -1), 1);
	assert_string_equal(trace, "ba");
}

static void timer_callback_cancels_one_that_is_due(void **state)
{
	struct named_timer b = {.name = "b"}, a = {.name = "a", .cancel = &b};

	vdpa_loop_timer_set(loop, &a.timer, 1, on_timer);
	vdpa_loop_timer_set(loop, &b.timer, 2, on_timer);
	assert_int_equal(vdpa_loop_run_once(loop, -1), 1);
	assert_string_equal(trace, "a");
}

static void timer_armed_for_the_past_takes_turns(void **state)
{
	struct named_timer a = {.name = "a", .rearm = 3};

	vdpa_loop_timer_set(loop, &a.timer, 0, on_timer);
	assert_int_equal(vdpa_loop_run_once(loop, -1), 1);
	assert_string_equal(trace, "a");
	for (int i = 0; i < 100 && strlen(trace) < 4; i++)
		assert_true(vdpa_loop_run_once(loop, 1000000) >= 0);
	assert_string_equal(trace, "aaaa");
}

struct counted_poller {
	struct vdpa_loop_poller poller;
	unsigned hits;
	bool del_self;
	struct counted_poller *del;
};

static bool on_poll(struct vdpa_loop_poller *poller)
{
	struct counted_poller *p = vdpa_container_of(poller, struct counted_poller, poller);

	p->hits++;
	if (p->del_self)
		vdpa_loop_poller_del(poller);
	if (p->del)
		vdpa_loop_poller_del(&p->del->poller);
	return true;
}

static void pollers_run_each_iteration_and_may_be_deleted(void **state)
{
	struct counted_poller c = {0}, b = {0}, a = {.del_self = true, .del = &b};

	vdpa_loop_poller_add(loop, &a.poller, on_poll);
	vdpa_loop_poller_add(loop, &b.poller, on_poll);
	vdpa_loop_poller_add(loop, &c.poller, on_poll);
	assert_int_equal(vdpa_loop_run_once(loop, -1), 1);
	assert_int_equal(vdpa_loop_run_once(loop, -1), 1);
	assert_int_equal(a.hits, 1);
	assert_int_equal(b.hits, 0);
	assert_int_equal(c.hits, 2);
	vdpa_loop_poller_del(&c.poller);
	vdpa_loop_poller_del(&c.poller);
	assert_int_equal(vdpa_loop_run_once(loop, 0), 0);
}

static bool readable(void)
{
	struct pollfd p = {.fd = vdpa_loop_pollfd(loop), .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

static void pollfd_shows_messages_fds_timers_and_pollers(void **state)
{
	struct named_msg m = {.name = "m", .repost = 5};
	struct named_timer t = {.name = "t"};
	struct counted_poller p = {.del_self = true};
	struct named_fd x;

	assert_false(readable());
	vdpa_loop_post(loop, &m.msg, on_msg);
	assert_true(readable());
	assert_int_equal(vdpa_loop_run_once(loop, 0), 1);
	/* It posted itself from inside: no other thread wakes us for that. */
	assert_true(readable());
	while (vdpa_loop_run_once(loop, 0))
		;
	assert_false(readable());
	vdpa_loop_timer_set(loop, &t.timer, 1, on_timer);
	assert_true(readable());
	while (vdpa_loop_run_once(loop, 0))
		;
	assert_false(readable());
	vdpa_loop_poller_add(loop, &p.poller, on_poll);
	assert_true(readable());
	while (vdpa_loop_run_once(loop, 0))
		;
	assert_false(readable());
	named_fd_start(&x, "x");
	vdpa_eventfd_signal(x.fd);
	assert_true(readable());
	vdpa_loop_fd_del(&x.lfd);
	assert_false(readable());
	close(x.fd);
	assert_string_equal(trace, "mmmmmmt");
}

static void run_once_times_out(void **state)
{
	uint64_t start = vdpa_clock_ns();

	assert_int_equal(vdpa_loop_run_once(loop, 5000000), 0);
	assert_true(vdpa_clock_ns() - start >= 5000000);
}

static int nested_result;

static void on_nested(struct vdpa_loop_msg *msg)
{
	nested_result = vdpa_loop_run_once(loop, 0);
}

static void running_from_inside_is_refused(void **state)
{
	struct vdpa_loop_msg m;

	vdpa_loop_post(loop, &m, on_nested);
	assert_int_equal(vdpa_loop_run_once(loop, 0), 1);
	assert_int_equal(nested_result, -EBUSY);
}

static void stop_before_run_is_not_lost(void **state)
{
	vdpa_loop_stop(loop);
	assert_int_equal(vdpa_loop_run(loop), 0);
}

static void on_sync(struct vdpa_loop_sync *sync)
{
	note("s");
}

static void sync_without_workers_is_asynchronous_too(void **state)
{
	struct vdpa_loop_sync sync;

	vdpa_loop_group_sync(group, &sync, on_sync);
	assert_string_equal(trace, "");
	assert_int_equal(vdpa_loop_run_once(loop, 0), 1);
	assert_string_equal(trace, "s");
}

static void group_allocation_failures(void **state)
{
	struct vdpa_loop_group *g;

	for (alloc_fail_begin(); alloc_fail_more();) {
		int ret = vdpa_loop_group_new(2, &g);

		alloc_fail_off();
		if (!ret)
			vdpa_loop_group_free(g);
		else
			assert_int_equal(ret, -ENOMEM);
	}
	assert_int_equal(vdpa_loop_group_new(100000, &g), -EINVAL);
}

/* ---- the loop inside ---- */

static struct named_msg inner, outer;
static int inner_again;

static void on_inner(struct vdpa_loop_msg *msg)
{
	on_msg(msg);
	inner_again = vdpa_loop_serve_urgent(vdpa_loop_urgent(loop), 0);
}

/* Something on the outer loop waits: the inner one goes on, the outer one does not. */
static void on_outer(struct vdpa_loop_msg *msg)
{
	struct vdpa_loop *urgent = vdpa_loop_urgent(loop);
	static struct named_msg later = {.name = "later "};

	note("begin ");
	vdpa_loop_post(loop, &later.msg, on_msg);
	vdpa_loop_post(urgent, &inner.msg, on_inner);
	assert_int_equal(vdpa_loop_serve_urgent(urgent, 1000000), 1);
	assert_int_equal(vdpa_loop_serve_urgent(urgent, 1000000), 0);
	note("end ");
}

static void inner_loop_goes_on(void **state)
{
	struct vdpa_loop *urgent = vdpa_loop_urgent(loop);

	assert_ptr_not_equal(urgent, loop);
	assert_ptr_equal(vdpa_loop_urgent(urgent), urgent);
	assert_ptr_equal(vdpa_loop_get_group(urgent), group);
	assert_int_equal(vdpa_loop_serve_urgent(loop, 0), -EINVAL);
	/* With the rest, where nothing waits. */
	inner = (struct named_msg){.name = "inner "};
	vdpa_loop_post(urgent, &inner.msg, on_inner);
	while (!trace[0])
		assert_true(vdpa_loop_run_once(loop, 1000000000) >= 0);
	assert_string_equal(trace, "inner ");
	assert_int_equal(inner_again, -EBUSY);
	trace[0] = '\0';
	vdpa_loop_post(loop, &outer.msg, on_outer);
	while (vdpa_loop_run_once(loop, 1000000) > 0)
		;
	assert_string_equal(trace, "begin inner end later ");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(messages_keep_their_order),
		T(call_runs_at_once_on_its_own_thread),
		T(messages_run_before_and_between_fd_events),
		T(deleted_fd_gets_no_stale_event),
		T(fd_may_delete_itself),
		T(fd_mod_silences),
		T(fd_mod_holds_within_a_batch),
		T(fd_add_reports_errors),
		T(reposting_message_does_not_starve),
		T(timers_run_by_deadline),
		T(timer_set_again_moves),
		T(timer_callback_cancels_one_that_is_due),
		T(timer_armed_for_the_past_takes_turns),
		T(pollers_run_each_iteration_and_may_be_deleted),
		T(pollfd_shows_messages_fds_timers_and_pollers),
		T(run_once_times_out),
		T(running_from_inside_is_refused),
		T(stop_before_run_is_not_lost),
		T(sync_without_workers_is_asynchronous_too),
		T(inner_loop_goes_on),
		cmocka_unit_test(group_allocation_failures),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
