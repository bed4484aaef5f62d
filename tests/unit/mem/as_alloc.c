// SPDX-License-Identifier: BSD-3-Clause
/* The n-th allocation fails, in every call that can say so: nothing was changed, nothing is lost.
 */
#include "memtest.h"

#include "../alloc_fail.h"

struct world {
	struct vdpa_loop_group *group;
	struct vdpa_as *as;
	struct vdpa_view *view;
	struct vdpa_region *r, *other;
};

static void world_new(struct world *w)
{
	assert_int_equal(vdpa_loop_group_new(0, &w->group), 0);
	assert_int_equal(vdpa_as_new(w->group, 0, &w->as), 0);
	assert_int_equal(
		vdpa_view_attach(w->as, vdpa_loop_group_control(w->group), NULL, NULL, &w->view),
		0);
	w->r = memtest_region(64 * PAGE, 0, 0);
	w->other = memtest_region(PAGE, 0, 0);
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(vdpa_as_map(w->as, i * 2 * PAGE, PAGE,
					     vdpa_region_addr(w->r, i * PAGE), VHOST_MAP_RW, w->r),
				 0);
	vdpa_view_refresh(w->view);
}

static void world_end(struct world *w)
{
	memtest_settle(w->group);
	vdpa_view_detach(w->view);
	vdpa_as_free(w->as);
	vdpa_region_put(w->r);
	vdpa_region_put(w->other);
	memtest_settle(w->group);
	vdpa_loop_group_free(w->group);
}

static bool world_reaches(struct world *w, iova_t iova)
{
	struct iovec iov;

	vdpa_view_refresh(w->view);
	return vdpa_view_xlate(w->view, iova, 1, VHOST_MAP_RW, &iov, 1) == 1;
}

static void test_new(void **state)
{
	struct vdpa_loop_group *group;

	assert_int_equal(vdpa_loop_group_new(0, &group), 0);
	for (alloc_fail_begin(); alloc_fail_more();) {
		struct vdpa_view *view = NULL;
		struct vdpa_as *as = NULL;
		int ret = vdpa_as_new(group, 0, &as);

		if (!ret)
			ret = vdpa_view_attach(as, vdpa_loop_group_control(group), NULL, NULL,
					       &view);
		alloc_fail_off();
		assert_true(ret == 0 || ret == -ENOMEM);
		vdpa_view_detach(view);
		vdpa_as_free(as);
	}
	vdpa_loop_group_free(group);
}

/* Attaching publishes what was mapped while nobody looked. */
static void test_attach(void **state)
{
	struct vdpa_region *r = memtest_region(PAGE, 0, 0);
	struct vdpa_loop_group *group;

	assert_int_equal(vdpa_loop_group_new(0, &group), 0);
	for (alloc_fail_begin(); alloc_fail_more();) {
		struct world w = {.group = group};
		int ret;

		alloc_fail_off();
		assert_int_equal(vdpa_as_new(group, 0, &w.as), 0);
		assert_int_equal(vdpa_as_map(w.as, 0, PAGE, vdpa_region_addr(r, 0), 3, r), 0);
		alloc_fail_countdown = alloc_fail_round;
		ret = vdpa_view_attach(w.as, vdpa_loop_group_control(group), NULL, NULL, &w.view);
		alloc_fail_off();
		assert_true(ret == 0 || ret == -ENOMEM);
		if (ret)
			assert_int_equal(vdpa_view_attach(w.as, vdpa_loop_group_control(group),
							  NULL, NULL, &w.view),
					 0);
		assert_true(world_reaches(&w, 0));
		vdpa_view_detach(w.view);
		vdpa_as_free(w.as);
	}
	vdpa_loop_group_free(group);
	vdpa_region_put(r);
}

static void test_map(void **state)
{
	for (alloc_fail_begin(); alloc_fail_more();) {
		struct world w;
		int ret;

		alloc_fail_off();
		world_new(&w);
		alloc_fail_countdown = alloc_fail_round;
		ret = vdpa_as_map(w.as, PAGE, PAGE, vdpa_region_addr(w.other, 0), 3, w.other);
		alloc_fail_off();
		assert_true(ret == 0 || ret == -ENOMEM);
		assert_int_equal(vdpa_as_iotlb(w.as)->nmaps, ret ? 64 : 65);
		assert_int_equal(world_reaches(&w, PAGE), !ret);
		world_end(&w);
	}
}

static void test_unmap(void **state)
{
	for (alloc_fail_begin(); alloc_fail_more();) {
		struct world w;
		unsigned n = 0;
		int ret;

		alloc_fail_off();
		world_new(&w);
		alloc_fail_countdown = alloc_fail_round;
		ret = vdpa_as_unmap(w.as, 10 * PAGE, 100 * PAGE,
				    &(struct vdpa_done){memtest_count, &n});
		alloc_fail_off();
		assert_true(ret == 0 || ret == -ENOMEM);
		memtest_settle(w.group);
		memtest_settle(w.group);
		assert_int_equal(n, !ret);
		assert_int_equal(vdpa_as_iotlb(w.as)->nmaps, ret ? 64 : 64 - 46);
		assert_int_equal(world_reaches(&w, 10 * PAGE), !!ret);
		world_end(&w);
	}
}

/* The completion runs without memory too: what cannot be removed from the reverse table is later.
 */
static void test_completion(void **state)
{
	for (alloc_fail_begin(); alloc_fail_more();) {
		struct world w;
		unsigned n = 0;

		alloc_fail_off();
		world_new(&w);
		assert_int_equal(
			vdpa_as_map(w.as, PAGE, PAGE, vdpa_region_addr(w.other, 0), 3, w.other), 0);
		assert_int_equal(
			vdpa_as_unmap(w.as, PAGE, PAGE, &(struct vdpa_done){memtest_count, &n}), 0);
		alloc_fail_countdown = alloc_fail_round;
		memtest_run_until(w.group, &n, 1);
		alloc_fail_off();
		/* The same memory, mapped again. */
		assert_int_equal(
			vdpa_as_map(w.as, PAGE, PAGE, vdpa_region_addr(w.other, 0), 3, w.other), 0);
		assert_true(world_reaches(&w, PAGE));
		world_end(&w);
	}
}

static void test_set_map(void **state)
{
	for (alloc_fail_begin(); alloc_fail_more();) {
		struct vhost_iotlb t;
		struct world w;
		unsigned n = 0;
		int ret;

		alloc_fail_off();
		world_new(&w);
		vhost_iotlb_init(&t, 0, 0);
		assert_int_equal(vhost_iotlb_add_range_ctx(&t, 0, PAGE - 1,
							   vdpa_region_addr(w.r, 0), 3, w.r),
				 0);
		assert_int_equal(vhost_iotlb_add_range_ctx(&t, PAGE, 2 * PAGE - 1,
							   vdpa_region_addr(w.other, 0), 3,
							   w.other),
				 0);
		alloc_fail_countdown = alloc_fail_round;
		ret = vdpa_as_set_map(w.as, &t, &(struct vdpa_done){memtest_count, &n});
		alloc_fail_off();
		assert_true(ret == 0 || ret == -ENOMEM);
		memtest_settle(w.group);
		memtest_settle(w.group);
		assert_int_equal(n, !ret);
		assert_int_equal(world_reaches(&w, PAGE), !ret);
		assert_int_equal(world_reaches(&w, 2 * PAGE), !!ret);
		vhost_iotlb_reset(&t);
		world_end(&w);
	}
}

static void no_miss(void *arg, unsigned asid, iova_t iova, uint32_t perm)
{
}

static void test_switches(void **state)
{
	struct vdpa_dirty_log *log;

	assert_int_equal(vdpa_dirty_log_new(1 << 20, &log), 0);
	for (alloc_fail_begin(); alloc_fail_more();) {
		struct world w;
		unsigned n = 0;
		int miss, dirty;

		alloc_fail_off();
		world_new(&w);
		alloc_fail_countdown = alloc_fail_round;
		miss = vdpa_as_set_miss(w.as, no_miss, NULL);
		dirty = vdpa_as_set_dirty_log(w.as, log, &(struct vdpa_done){memtest_count, &n});
		alloc_fail_off();
		assert_true((miss == 0 || miss == -ENOMEM) && (dirty == 0 || dirty == -ENOMEM));
		memtest_settle(w.group);
		memtest_settle(w.group);
		assert_int_equal(n, !dirty);
		assert_true(world_reaches(&w, 0));
		world_end(&w);
	}
	vdpa_dirty_log_put(log);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_new),	   cmocka_unit_test(test_attach),
		cmocka_unit_test(test_map),	   cmocka_unit_test(test_unmap),
		cmocka_unit_test(test_completion), cmocka_unit_test(test_set_map),
		cmocka_unit_test(test_switches),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
