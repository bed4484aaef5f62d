// SPDX-License-Identifier: BSD-3-Clause
/*
 * Removals across threads: two queues on two workers. A removal waits for the request that
 * overlaps it, on whichever loop, and for no other.
 */
#include "memtest.h"

struct queue {
	struct vdpa_loop_msg msg; /* first: found again by a cast */
	struct vdpa_loop *loop;
	struct vdpa_view *view;
	iova_t want;
	uintptr_t first, last; /* the request in flight; 0: none */
	int ret;
	unsigned done;
};

static bool queue_in_use(void *arg, uintptr_t first, uintptr_t last)
{
	struct queue *q = arg;

	assert_true(vdpa_loop_is_current(q->loop));
	return q->last && q->first <= last && first <= q->last;
}

static void queue_changed(void *arg)
{
	struct queue *q = arg;

	assert_true(vdpa_loop_is_current(q->loop));
}

static const struct vdpa_view_ops ops = {queue_in_use, queue_changed};

struct fixture {
	struct vdpa_loop_group *group;
	struct vdpa_as *as;
	struct vdpa_region *r;
	struct queue q[2];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_int_equal(vdpa_loop_group_new(2, &f->group), 0);
	assert_int_equal(vdpa_as_new(f->group, 0, &f->as), 0);
	f->r = memtest_region(16 * PAGE, 0, 0);
	for (unsigned i = 0; i < 2; i++) {
		f->q[i].loop = vdpa_loop_group_worker(f->group, i);
		assert_int_equal(
			vdpa_view_attach(f->as, f->q[i].loop, &ops, &f->q[i], &f->q[i].view), 0);
	}
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	memtest_settle(f->group);
	vdpa_view_detach(f->q[0].view);
	vdpa_view_detach(f->q[1].view);
	vdpa_as_free(f->as);
	vdpa_region_put(f->r);
	memtest_settle(f->group);
	vdpa_loop_group_free(f->group);
	free(f);
	return 0;
}

static void begin_on_loop(struct vdpa_loop_msg *msg)
{
	struct queue *q = (struct queue *)(void *)msg;
	struct iovec iov;

	vdpa_view_refresh(q->view);
	q->ret = vdpa_view_xlate(q->view, q->want, 16, VHOST_MAP_RW, &iov, 1);
	if (q->ret == 1) {
		q->first = (uintptr_t)iov.iov_base;
		q->last = q->first + iov.iov_len - 1;
	}
	__atomic_fetch_add(&q->done, 1, __ATOMIC_RELEASE);
}

static void end_on_loop(struct vdpa_loop_msg *msg)
{
	struct queue *q = (struct queue *)(void *)msg;

	*(volatile char *)q->first = 1;
	q->last = 0;
	vdpa_view_request_done(q->view);
	__atomic_fetch_add(&q->done, 1, __ATOMIC_RELEASE);
}

static void begin(struct fixture *f, unsigned i, iova_t iova)
{
	unsigned want = f->q[i].done + 1;

	f->q[i].want = iova;
	vdpa_loop_post(f->q[i].loop, &f->q[i].msg, begin_on_loop);
	memtest_run_until(f->group, &f->q[i].done, want);
}

static void end(struct fixture *f, unsigned i)
{
	unsigned want = f->q[i].done + 1;

	vdpa_loop_post(f->q[i].loop, &f->q[i].msg, end_on_loop);
	memtest_run_until(f->group, &f->q[i].done, want);
}

static void map(struct fixture *f, iova_t iova, uint64_t at)
{
	assert_int_equal(vdpa_as_map(f->as, iova, PAGE, vdpa_region_addr(f->r, at * PAGE),
				     VHOST_MAP_RW, f->r),
			 0);
}

static void unmap(struct fixture *f, iova_t iova, iova_t last, unsigned *n)
{
	struct vdpa_done done = {memtest_count, n};

	assert_int_equal(vdpa_as_unmap(f->as, iova, last, &done), 0);
}

static void test_waits(void **state)
{
	struct fixture *f = *state;
	unsigned a = 0, b = 0;

	map(f, 0x1000, 1);
	map(f, 0x2000, 2);
	begin(f, 0, 0x1100);
	begin(f, 1, 0x2200);
	assert_int_equal(f->q[0].ret, 1);
	assert_int_equal(f->q[1].ret, 1);
	unmap(f, 0x1000, 0x1000, &a);
	/* A later removal does not queue up behind an earlier one that waits. */
	unmap(f, 0x2000, 0x2000, &b);
	memtest_settle(f->group);
	memtest_settle(f->group);
	assert_int_equal(a + b, 0);
	end(f, 1);
	memtest_run_until(f->group, &b, 1);
	assert_int_equal(a, 0);
	end(f, 0);
	memtest_run_until(f->group, &a, 1);
}

static void test_not_others(void **state)
{
	struct fixture *f = *state;
	unsigned n = 0;

	map(f, 0x1000, 1);
	map(f, 0x2000, 2);
	map(f, 0x3000, 3);
	begin(f, 0, 0x1ff0);
	begin(f, 1, 0x3000);
	/* Neighbours on both sides are in flight. */
	unmap(f, 0x2000, 0x2fff, &n);
	memtest_run_until(f->group, &n, 1);
	/* New requests do not reach it, those under way are undisturbed. */
	begin(f, 0, 0x2000);
	assert_int_equal(f->q[0].ret, -EFAULT);
	end(f, 0);
	end(f, 1);
	unmap(f, 0, UINT64_MAX, &n);
	memtest_run_until(f->group, &n, 2);
}

/* Both queues have a request over the same range: the last one counts. */
static void test_both(void **state)
{
	struct fixture *f = *state;
	unsigned n = 0;

	map(f, 0x1000, 1);
	begin(f, 0, 0x1000);
	begin(f, 1, 0x1010);
	unmap(f, 0, UINT64_MAX, &n);
	memtest_settle(f->group);
	end(f, 0);
	memtest_settle(f->group);
	assert_int_equal(n, 0);
	end(f, 1);
	memtest_run_until(f->group, &n, 1);
}

/* Added at the same IOVA while the old one waits: new requests use the new memory. */
static void test_replaced(void **state)
{
	struct fixture *f = *state;
	unsigned n = 0;

	map(f, 0x1000, 1);
	begin(f, 0, 0x1000);
	unmap(f, 0x1000, 0x1000, &n);
	map(f, 0x1000, 7);
	begin(f, 1, 0x1000);
	assert_int_equal(f->q[1].first, vdpa_region_addr(f->r, 7 * PAGE));
	end(f, 1);
	memtest_settle(f->group);
	assert_int_equal(n, 0);
	end(f, 0);
	memtest_run_until(f->group, &n, 1);
}

/* Attaching and detaching while others run and a removal is under way. */
static void test_attach_running(void **state)
{
	struct fixture *f = *state;
	struct queue late = {.loop = f->q[1].loop};
	unsigned n = 0;

	map(f, 0x1000, 1);
	begin(f, 0, 0x1000);
	unmap(f, 0x1000, 0x1000, &n);
	assert_int_equal(vdpa_view_attach(f->as, late.loop, &ops, &late, &late.view), 0);
	vdpa_view_detach(f->q[1].view);
	f->q[1].view = NULL;
	end(f, 0);
	memtest_run_until(f->group, &n, 1);
	vdpa_view_detach(late.view);
}

/* The log is in use everywhere once its completion runs. */
static void test_log_everywhere(void **state)
{
	struct fixture *f = *state;
	struct vdpa_dirty_log *log;
	unsigned n = 0;

	assert_int_equal(vdpa_dirty_log_new(PAGE, &log), 0);
	assert_int_equal(vdpa_as_set_dirty_log(f->as, log, &(struct vdpa_done){memtest_count, &n}),
			 0);
	assert_int_equal(n, 0);
	memtest_run_until(f->group, &n, 1);
	assert_int_equal(vdpa_as_set_dirty_log(f->as, NULL, &(struct vdpa_done){memtest_count, &n}),
			 0);
	memtest_run_until(f->group, &n, 2);
	vdpa_dirty_log_put(log);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_waits),    TEST(test_not_others),	TEST(test_both),
		TEST(test_replaced), TEST(test_attach_running), TEST(test_log_everywhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
