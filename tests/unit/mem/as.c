// SPDX-License-Identifier: BSD-3-Clause
/* Address spaces on one loop: publishing, batches, set_map, who keeps a region, teardown in any
 * order. */
#include "memtest.h"

struct queue {
	struct vdpa_view *view;
	uintptr_t first, last; /* of a request in flight; 0: none */
	unsigned changed, asked;
	bool detach;
};

static bool queue_in_use(void *arg, uintptr_t first, uintptr_t last)
{
	struct queue *q = arg;

	q->asked++;
	assert_true(first <= last);
	return q->last && q->first <= last && first <= q->last;
}

static void queue_changed(void *arg)
{
	struct queue *q = arg;

	q->changed++;
	if (q->detach)
		vdpa_view_detach(q->view);
}

static const struct vdpa_view_ops queue_ops = {queue_in_use, queue_changed};

struct fixture {
	struct vdpa_loop_group *group;
	struct vdpa_as *as;
	struct vdpa_region *r;
	struct queue q;
};

static void attach(struct fixture *f, struct queue *q)
{
	assert_int_equal(
		vdpa_view_attach(f->as, vdpa_loop_group_control(f->group), &queue_ops, q, &q->view),
		0);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_int_equal(vdpa_loop_group_new(0, &f->group), 0);
	assert_int_equal(vdpa_as_new(f->group, 0, &f->as), 0);
	f->r = memtest_region(16 * PAGE, 0, 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	vdpa_view_detach(f->q.view);
	vdpa_as_free(f->as);
	vdpa_region_put(f->r);
	memtest_settle(f->group);
	vdpa_loop_group_free(f->group);
	free(f);
	return 0;
}

static int map(struct fixture *f, iova_t iova, uint64_t pages, uint64_t at)
{
	return vdpa_as_map(f->as, iova, pages * PAGE, vdpa_region_addr(f->r, at * PAGE),
			   VHOST_MAP_RW, f->r);
}

static struct vdpa_done count(unsigned *n)
{
	return (struct vdpa_done){memtest_count, n};
}

static bool reaches(struct queue *q, iova_t iova)
{
	struct iovec iov;

	return vdpa_view_xlate(q->view, iova, 1, VHOST_MAP_RW, &iov, 1) == 1;
}

static void test_refused(void **state)
{
	struct fixture *f = *state;
	uint64_t base = vdpa_region_addr(f->r, 0);

	assert_int_equal(vdpa_as_map(f->as, 0, 0, base, 3, f->r), -EINVAL);
	assert_int_equal(vdpa_as_map(f->as, UINT64_MAX, 2, base, 3, f->r), -EINVAL);
	assert_int_equal(vdpa_as_map(f->as, 0, 16 * PAGE + 1, base, 3, f->r), -EINVAL);
	assert_int_equal(vdpa_as_map(f->as, 0, PAGE, base - 1, 3, f->r), -EINVAL);
	assert_int_equal(vdpa_as_map(f->as, 0, PAGE, base + 15 * PAGE + 1, 3, f->r), -EINVAL);
	assert_int_equal(vdpa_as_map(f->as, 0, UINT64_MAX, base, 3, f->r), -EINVAL);
	assert_int_equal(vdpa_as_map(f->as, 0, PAGE, base, 0, f->r), -EINVAL);
	assert_int_equal(vdpa_as_map(f->as, 0, PAGE, base, 4, f->r), -EINVAL);
	assert_int_equal(vdpa_as_map(f->as, 0, PAGE, base, 3, NULL), -EINVAL);
	assert_int_equal(vdpa_as_unmap(f->as, 1, 0, NULL), -EINVAL);
	assert_int_equal(map(f, 0x1000, 1, 0), 0);
	assert_int_equal(map(f, 0x1000, 1, 0), -EEXIST);
	assert_int_equal(vdpa_as_iotlb(f->as)->nmaps, 1);
}

/* A view sees a version as a whole, and moves only when it is told to. */
static void test_versions(void **state)
{
	struct fixture *f = *state;
	unsigned done = 0;

	assert_int_equal(map(f, 0, 1, 0), 0);
	attach(f, &f->q);
	assert_true(reaches(&f->q, 0));
	assert_false(vdpa_view_refresh(f->q.view));
	assert_int_equal(map(f, PAGE, 1, 1), 0);
	assert_true(reaches(&f->q, 0));
	assert_true(vdpa_view_refresh(f->q.view));
	assert_true(reaches(&f->q, PAGE));
	assert_false(vdpa_view_refresh(f->q.view));
	assert_int_equal(vdpa_as_unmap(f->as, 0, 0, &(struct vdpa_done){memtest_count, &done}), 0);
	/* Until it picks the removal up, the memory is there. */
	assert_true(reaches(&f->q, 0));
	assert_int_equal(done, 0);
	memtest_run_until(f->group, &done, 1);
	assert_false(reaches(&f->q, 0));
	assert_true(reaches(&f->q, PAGE));
	assert_int_equal(f->q.asked, 1);
	assert_int_equal(f->q.changed, 1);
}

static void test_batch(void **state)
{
	struct fixture *f = *state;
	unsigned done = 0;
	struct vdpa_done d = count(&done);

	attach(f, &f->q);
	vdpa_as_batch_begin(f->as);
	vdpa_as_batch_begin(f->as);
	assert_int_equal(map(f, 0, 4, 0), 0);
	vdpa_as_batch_end(f->as);
	assert_false(vdpa_view_refresh(f->q.view));
	assert_int_equal(vdpa_as_unmap(f->as, 0, 0, &d), 0);
	assert_int_equal(map(f, 0, 2, 8), 0);
	memtest_settle(f->group);
	assert_int_equal(done, 0);
	vdpa_as_batch_end(f->as);
	assert_true(vdpa_view_refresh(f->q.view));
	assert_true(reaches(&f->q, 0));
	assert_true(reaches(&f->q, 2 * PAGE - 1));
	assert_false(vdpa_view_refresh(f->q.view));
	memtest_run_until(f->group, &done, 1);
}

/* Nobody attached: a removal is done at once, also while another address space has views. */
static void test_no_views(void **state)
{
	struct fixture *f = *state;
	unsigned done = 0;
	struct vdpa_done d = count(&done);

	assert_int_equal(map(f, 0, 4, 0), 0);
	assert_int_equal(vdpa_as_unmap(f->as, 0, UINT64_MAX, &d), 0);
	assert_int_equal(done, 1);
	/* Nothing there: nothing to wait for. */
	attach(f, &f->q);
	assert_int_equal(vdpa_as_unmap(f->as, 0, UINT64_MAX, &d), 0);
	assert_int_equal(done, 2);
	assert_false(reaches(&f->q, 0));
}

static unsigned released;

static void release(void *arg)
{
	released++;
}

static int rw_never(void *arg, uint64_t off, void *buf, size_t len)
{
	return -EIO;
}

static int w_never(void *arg, uint64_t off, const void *buf, size_t len)
{
	return -EIO;
}

/* The address space keeps a region exactly until the removal of its last range has completed. */
static void test_region_life(void **state)
{
	static const struct vdpa_region_ops ops = {rw_never, w_never, release};
	struct fixture *f = *state;
	struct vdpa_region *m;
	unsigned done = 0;
	struct vdpa_done d = count(&done);

	released = 0;
	attach(f, &f->q);
	assert_int_equal(vdpa_region_by_message(&ops, NULL, 4 * PAGE, 0, &m), 0);
	assert_int_equal(vdpa_as_map(f->as, 0, PAGE, 0, 3, m), 0);
	assert_int_equal(vdpa_as_map(f->as, PAGE, PAGE, PAGE, 3, m), 0);
	vdpa_region_put(m);
	assert_int_equal(vdpa_as_unmap(f->as, 0, 0, &d), 0);
	memtest_run_until(f->group, &done, 1);
	assert_int_equal(released, 0);
	assert_int_equal(vdpa_as_unmap(f->as, PAGE, PAGE, &d), 0);
	assert_int_equal(released, 0);
	memtest_run_until(f->group, &done, 2);
	assert_int_equal(released, 1);
	/* And what was refused keeps nothing. */
	assert_int_equal(vdpa_region_by_message(&ops, NULL, PAGE, 0, &m), 0);
	assert_int_equal(map(f, 0, 1, 0), 0);
	assert_int_equal(vdpa_as_map(f->as, 0, PAGE, 0, 3, m), -EEXIST);
	vdpa_region_put(m);
	assert_int_equal(released, 2);
}

static void put(struct vhost_iotlb *t, struct fixture *f, iova_t iova, uint64_t at)
{
	assert_int_equal(vhost_iotlb_add_range_ctx(t, iova, iova + PAGE - 1,
						   vdpa_region_addr(f->r, at * PAGE), VHOST_MAP_RW,
						   f->r),
			 0);
}

static void test_set_map(void **state)
{
	struct fixture *f = *state;
	uintptr_t base = vdpa_region_addr(f->r, 0);
	struct vhost_iotlb t;
	unsigned done = 0;
	struct vdpa_done d = count(&done);

	vhost_iotlb_init(&t, 100, 0);
	assert_int_equal(map(f, 0, 1, 0), 0);
	assert_int_equal(map(f, PAGE, 1, 1), 0);
	assert_int_equal(map(f, 2 * PAGE, 1, 2), 0);
	attach(f, &f->q);
	put(&t, f, 0, 0);	 /* the same */
	put(&t, f, PAGE, 5);	 /* moved */
	put(&t, f, 9 * PAGE, 9); /* new; 2 is gone */
	/* A request over the range that stays does not hold anything up. */
	f->q.first = base;
	f->q.last = base + 10;
	assert_int_equal(vdpa_as_set_map(f->as, &t, &d), 0);
	assert_true(vdpa_view_refresh(f->q.view));
	assert_false(reaches(&f->q, 2 * PAGE));
	assert_true(reaches(&f->q, 9 * PAGE));
	memtest_run_until(f->group, &done, 1);
	/* One over a range that moved does. */
	f->q.first = base + 5 * PAGE;
	f->q.last = f->q.first;
	vhost_iotlb_reset(&t);
	put(&t, f, 0, 0);
	assert_int_equal(vdpa_as_set_map(f->as, &t, &d), 0);
	memtest_settle(f->group);
	memtest_settle(f->group);
	assert_int_equal(done, 1);
	f->q.last = 0;
	vdpa_view_request_done(f->q.view);
	memtest_run_until(f->group, &done, 2);
	/* The caller's table stays its own, and so does the address space's. */
	put(&t, f, 3 * PAGE, 3);
	assert_int_equal(vdpa_as_iotlb(f->as)->nmaps, 1);
	assert_int_equal(map(f, 7 * PAGE, 1, 7), 0);
	assert_int_equal(t.nmaps, 2);
	vhost_iotlb_reset(&t);
}

static void test_set_map_refused(void **state)
{
	struct fixture *f = *state;
	struct vhost_iotlb t;

	vhost_iotlb_init(&t, 0, 0);
	assert_int_equal(map(f, 0, 1, 0), 0);
	put(&t, f, PAGE, 1);
	assert_int_equal(vhost_iotlb_add_range(&t, 5 * PAGE, 6 * PAGE - 1, 0, 3), 0);
	assert_int_equal(vdpa_as_set_map(f->as, &t, NULL), -EINVAL);
	vhost_iotlb_del_range(&t, 5 * PAGE, 5 * PAGE, NULL, NULL);
	assert_int_equal(vhost_iotlb_add_range_ctx(&t, 5 * PAGE, 6 * PAGE - 1, 0, 3, f->r), 0);
	assert_int_equal(vdpa_as_set_map(f->as, &t, NULL), -EINVAL);
	assert_int_equal(vdpa_as_iotlb(f->as)->nmaps, 1);
	assert_non_null(vhost_iotlb_itree_first(vdpa_as_iotlb(f->as), 0, 0));
	/* To itself. */
	vhost_iotlb_del_range(&t, 5 * PAGE, 5 * PAGE, NULL, NULL);
	assert_int_equal(vdpa_as_set_map(f->as, &t, NULL), 0);
	assert_int_equal(vdpa_as_iotlb(f->as)->nmaps, 1);
	vhost_iotlb_reset(&t);
}

/* Written through a translation that is older than the log, and than the removal of its range. */
static void test_dirty_old_request(void **state)
{
	struct fixture *f = *state;
	struct vdpa_region *r = memtest_region(2 * PAGE, 5 * PAGE, 0);
	struct vdpa_dirty_log *log;
	unsigned removed = 0, logging = 0;
	struct vdpa_done dr = count(&removed), dl = count(&logging);
	char *base = vdpa_region_base(r);
	uint64_t bits;

	attach(f, &f->q);
	assert_int_equal(vdpa_as_map(f->as, 0, 2 * PAGE, (uintptr_t)base, 3, r), 0);
	vdpa_region_put(r);
	vdpa_view_refresh(f->q.view);
	f->q.first = (uintptr_t)base + PAGE;
	f->q.last = f->q.first + 99;
	assert_int_equal(vdpa_dirty_log_new(64 * PAGE, &log), 0);
	assert_int_equal(vdpa_as_set_dirty_log(f->as, log, &dl), 0);
	memtest_run_until(f->group, &logging, 1);
	assert_int_equal(vdpa_as_unmap(f->as, 0, UINT64_MAX, &dr), 0);
	memtest_settle(f->group);
	memtest_settle(f->group);
	/* The map is gone, the request is not: its write must be seen. */
	assert_int_equal(removed, 0);
	base[PAGE] = 1;
	vdpa_view_dirty(f->q.view, base + PAGE, 100);
	assert_int_equal(vdpa_dirty_log_sync(log, 0, 64, &bits, true), 0);
	assert_int_equal(bits, 1ull << 6);
	f->q.last = 0;
	vdpa_view_request_done(f->q.view);
	memtest_run_until(f->group, &removed, 1);
	assert_int_equal(vdpa_as_set_dirty_log(f->as, NULL, &dl), 0);
	memtest_run_until(f->group, &logging, 2);
	vdpa_dirty_log_put(log);
}

/* A table that is published still may name a region whose memory is gone, but never touch it. */
static void test_dirty_stale(void **state)
{
	struct fixture *f = *state;
	char *mem = malloc(PAGE);
	struct vdpa_dirty_log *log;
	struct vdpa_region *r;
	unsigned done = 0;
	struct vdpa_done d = count(&done);

	attach(f, &f->q);
	assert_int_equal(vdpa_dirty_log_new(64 * PAGE, &log), 0);
	assert_int_equal(vdpa_as_set_dirty_log(f->as, log, NULL), 0);
	assert_int_equal(vdpa_region_wrap(mem, PAGE, 0, &r), 0);
	assert_int_equal(vdpa_as_map(f->as, 0, PAGE, (uintptr_t)mem, 3, r), 0);
	vdpa_region_put(r);
	assert_int_equal(vdpa_as_unmap(f->as, 0, 0, &d), 0);
	memtest_run_until(f->group, &done, 1);
	vdpa_view_dirty(f->q.view, mem, 1);
	assert_int_equal(map(f, 0, 1, 0), 0);
	vdpa_view_dirty(f->q.view, mem, 1);
	vdpa_view_refresh(f->q.view);
	vdpa_view_dirty(f->q.view, mem, 1);
	vdpa_dirty_log_put(log);
	free(mem);
}

/* A queue that goes while a removal waits for it: the removal goes on. */
static void test_detach_stuck(void **state)
{
	struct fixture *f = *state;
	unsigned done = 0;
	struct vdpa_done d = count(&done);

	attach(f, &f->q);
	assert_int_equal(map(f, 0, 1, 0), 0);
	f->q.first = vdpa_region_addr(f->r, 0);
	f->q.last = f->q.first + 1;
	assert_int_equal(vdpa_as_unmap(f->as, 0, 0, &d), 0);
	memtest_settle(f->group);
	memtest_settle(f->group);
	assert_int_equal(done, 0);
	vdpa_view_detach(f->q.view);
	f->q.view = NULL;
	memtest_run_until(f->group, &done, 1);
}

/* Detached before the message came, inside a batch, and from its own callback. */
static void test_detach_early(void **state)
{
	struct fixture *f = *state;
	struct queue other = {0};
	unsigned done = 0;
	struct vdpa_done d = count(&done);

	attach(f, &f->q);
	attach(f, &other);
	assert_int_equal(map(f, 0, 4, 0), 0);
	assert_int_equal(vdpa_as_unmap(f->as, 0, 0, &d), 0);
	vdpa_view_detach(f->q.view);
	memtest_run_until(f->group, &done, 1);
	assert_int_equal(f->q.changed, 0);
	assert_int_equal(other.changed, 1);

	attach(f, &f->q);
	assert_int_equal(map(f, 0, 4, 0), 0);
	vdpa_as_batch_begin(f->as);
	assert_int_equal(vdpa_as_unmap(f->as, 0, 0, &d), 0);
	vdpa_view_detach(f->q.view);
	attach(f, &f->q);
	vdpa_as_batch_end(f->as);
	memtest_run_until(f->group, &done, 2);
	assert_false(reaches(&f->q, 0));

	assert_int_equal(map(f, 0, 4, 0), 0);
	f->q.detach = true;
	assert_int_equal(vdpa_as_unmap(f->as, 0, 0, &d), 0);
	memtest_run_until(f->group, &done, 3);
	f->q.view = NULL;
	vdpa_view_detach(other.view);
	vdpa_view_detach(NULL);
}

static void free_as(void *arg, int result)
{
	vdpa_as_free(arg);
}

/* The address space goes from a completion, or while its removals are under way. */
static void test_end(void **state)
{
	struct fixture *f = *state;
	struct vdpa_as *as;
	struct vdpa_view *view;
	unsigned done = 0;
	struct vdpa_done d = count(&done);

	assert_int_equal(vdpa_as_new(f->group, 1, &as), 0);
	assert_int_equal(vdpa_as_map(as, 0, PAGE, vdpa_region_addr(f->r, 0), 3, f->r), 0);
	d = (struct vdpa_done){free_as, as};
	assert_int_equal(vdpa_as_unmap(as, 0, 0, &d), 0);

	assert_int_equal(vdpa_as_new(f->group, 1, &as), 0);
	assert_int_equal(vdpa_as_map(as, 0, PAGE, vdpa_region_addr(f->r, 0), 3, f->r), 0);
	assert_int_equal(vdpa_view_attach(as, vdpa_loop_group_control(f->group), NULL, NULL, &view),
			 0);
	d = count(&done);
	assert_int_equal(vdpa_as_unmap(as, 0, 0, &d), 0);
	vdpa_view_detach(view);
	vdpa_as_free(as);
	assert_int_equal(done, 0);
	memtest_run_until(f->group, &done, 1);

	/* Inside a batch that nobody will end. */
	assert_int_equal(vdpa_as_new(f->group, 1, &as), 0);
	vdpa_as_batch_begin(as);
	assert_int_equal(vdpa_as_map(as, 0, PAGE, vdpa_region_addr(f->r, 0), 3, f->r), 0);
	assert_int_equal(vdpa_as_unmap(as, 0, 0, &d), 0);
	vdpa_as_free(as);
	memtest_run_until(f->group, &done, 2);
	vdpa_as_free(NULL);
}

/* A map that changes for ever while a view sleeps does not pile up versions or regions. */
static void test_churn(void **state)
{
	struct fixture *f = *state;
	struct vdpa_region *r;

	attach(f, &f->q);
	for (unsigned i = 0; i < 3000; i++) {
		static char mem[PAGE];

		assert_int_equal(vdpa_region_wrap(mem, PAGE, 0, &r), 0);
		assert_int_equal(vdpa_as_map(f->as, i * PAGE, PAGE, (uintptr_t)mem, 3, r), 0);
		vdpa_region_put(r);
		if (i >= 10)
			assert_int_equal(
				vdpa_as_unmap(f->as, (i - 10) * PAGE, (i - 10) * PAGE, NULL), 0);
		if (i % 100 == 0)
			memtest_settle(f->group);
	}
	memtest_settle(f->group);
	assert_int_equal(vdpa_as_iotlb(f->as)->nmaps, 10);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_refused),	    TEST(test_versions),
		TEST(test_batch),	    TEST(test_no_views),
		TEST(test_region_life),	    TEST(test_set_map),
		TEST(test_set_map_refused), TEST(test_detach_stuck),
		TEST(test_detach_early),    TEST(test_dirty_old_request),
		TEST(test_dirty_stale),	    TEST(test_end),
		TEST(test_churn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
