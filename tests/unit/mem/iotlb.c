// SPDX-License-Identifier: BSD-3-Clause
/* The IOTLB's semantics, one by one: those of Linux's vhost_iotlb, and what is refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <uvdpa/vhost_iotlb.h>

#include "../alloc_fail.h"

#define U64 UINT64_MAX

static const struct vhost_iotlb_map *first(const struct vhost_iotlb *t, iova_t a, iova_t b)
{
	return vhost_iotlb_itree_first(t, a, b);
}

static void test_inclusive(void **state)
{
	struct vhost_iotlb *t = vhost_iotlb_alloc(0, 0);
	const struct vhost_iotlb_map *map;
	int cookie;

	assert_int_equal(
		vhost_iotlb_add_range_ctx(t, 0x1000, 0x1fff, 0xabc000, VHOST_MAP_RO, &cookie), 0);
	assert_int_equal(t->nmaps, 1);
	assert_null(first(t, 0, 0xfff));
	assert_null(first(t, 0x2000, U64));
	map = first(t, 0x1fff, U64);
	assert_non_null(map);
	assert_int_equal(map->start, 0x1000);
	assert_int_equal(map->last, 0x1fff);
	assert_int_equal(map->addr, 0xabc000);
	assert_int_equal(map->perm, VHOST_MAP_RO);
	assert_ptr_equal(map->opaque, &cookie);
	assert_ptr_equal(first(t, 0, 0x1000), map);
	assert_ptr_equal(first(t, 0x1800, 0x1800), map);
	vhost_iotlb_free(t);
}

static void test_refused(void **state)
{
	struct vhost_iotlb t;

	vhost_iotlb_init(&t, 0, 0);
	assert_int_equal(vhost_iotlb_add_range(&t, 2, 1, 0, 3), -EINVAL);
	assert_int_equal(vhost_iotlb_add_range(&t, 0, U64, 1, 3), -EINVAL);
	assert_int_equal(vhost_iotlb_add_range(&t, 0, 0x1000, U64 - 0xfff, 3), -EINVAL);
	assert_int_equal(vhost_iotlb_add_range(&t, 0, 0xfff, 0, 0), -EINVAL);
	assert_int_equal(vhost_iotlb_add_range(&t, 0, 0xfff, 0, 4), -EINVAL);
	assert_int_equal(t.nmaps, 0);
	/* The last byte may be the last there is. */
	assert_int_equal(vhost_iotlb_add_range(&t, 0, 0xfff, U64 - 0xfff, 3), 0);
	vhost_iotlb_reset(&t);
}

static void test_overlap(void **state)
{
	static const iova_t bad[][2] = {
		{0x2000, 0x2fff}, {0x2000, 0x2000}, {0x2fff, 0x2fff}, {0x1fff, 0x2000},
		{0x2fff, 0x3000}, {0x1000, 0x4000}, {0, U64},
	};
	struct vhost_iotlb t;

	vhost_iotlb_init(&t, 0, 0);
	assert_int_equal(vhost_iotlb_add_range(&t, 0x2000, 0x2fff, 0, 3), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(vhost_iotlb_add_range(&t, bad[i][0], bad[i][1], 0, 3), -EEXIST);
	assert_int_equal(t.nmaps, 1);
	/* Adjacent is not overlapping. */
	assert_int_equal(vhost_iotlb_add_range(&t, 0x1000, 0x1fff, 0, 3), 0);
	assert_int_equal(vhost_iotlb_add_range(&t, 0x3000, 0x3fff, 0, 3), 0);
	assert_int_equal(first(&t, 0x1fff, 0x2000)->start, 0x1000);
	assert_int_equal(first(&t, 0x2000, 0x2000)->start, 0x2000);
	assert_int_equal(first(&t, 0x3000, 0x3000)->start, 0x3000);
	vhost_iotlb_reset(&t);
}

/* CVE class: a size of 2^64 wrapped to 0 and made an endless loop. */
static void test_full_range(void **state)
{
	const struct vhost_iotlb_map *map;
	struct vhost_iotlb t;

	vhost_iotlb_init(&t, 0, 0);
	assert_int_equal(vhost_iotlb_add_range(&t, 0, U64, 0, VHOST_MAP_RW), 0);
	assert_int_equal(t.nmaps, 2);
	map = first(&t, 0, U64);
	assert_int_equal(map->start, 0);
	assert_int_equal(map->last, U64 / 2);
	map = vhost_iotlb_itree_next(&t, map, 0, U64);
	assert_int_equal(map->start, U64 / 2 + 1);
	assert_int_equal(map->addr, U64 / 2 + 1);
	assert_int_equal(map->last, U64);
	assert_null(vhost_iotlb_itree_next(&t, map, 0, U64));
	assert_ptr_equal(first(&t, U64, U64), map);
	assert_int_equal(vhost_iotlb_add_range(&t, 0, U64, 0, VHOST_MAP_RW), -EEXIST);
	assert_int_equal(vhost_iotlb_del_range(&t, U64, U64, NULL, NULL), 1);
	assert_null(first(&t, U64, U64));
	assert_int_equal(vhost_iotlb_del_range(&t, 0, U64, NULL, NULL), 1);
	assert_int_equal(t.nmaps, 0);
	vhost_iotlb_reset(&t);
}

static void test_del_whole(void **state)
{
	struct vhost_iotlb t;

	vhost_iotlb_init(&t, 0, 0);
	for (iova_t a = 0; a < 10; a++)
		assert_int_equal(vhost_iotlb_add_range(&t, a * 16, a * 16 + 7, 0, 3), 0);
	assert_int_equal(vhost_iotlb_del_range(&t, 8, 15, NULL, NULL), 0);
	assert_int_equal(vhost_iotlb_del_range(&t, 9, 8, NULL, NULL), 0);
	/* One byte of a range takes the whole range, as in Linux. */
	assert_int_equal(vhost_iotlb_del_range(&t, 7, 16, NULL, NULL), 2);
	assert_null(first(&t, 0, 31));
	assert_non_null(first(&t, 32, 32));
	assert_int_equal(vhost_iotlb_del_range(&t, 0, U64, NULL, NULL), 8);
	assert_int_equal(vhost_iotlb_add_range(&t, 0, 7, 0, 3), 0);
	vhost_iotlb_reset(&t);
	assert_int_equal(t.nmaps, 0);
	assert_int_equal(vhost_iotlb_add_range(&t, 0, 7, 0, 3), 0);
	vhost_iotlb_reset(&t);
}

static void test_limit(void **state)
{
	struct vhost_iotlb t;

	vhost_iotlb_init(&t, 3, 0);
	for (iova_t a = 0; a < 3; a++)
		assert_int_equal(vhost_iotlb_add_range(&t, a, a, 0, 3), 0);
	assert_int_equal(vhost_iotlb_add_range(&t, 9, 9, 0, 3), -ENOMEM);
	assert_int_equal(t.nmaps, 3);
	assert_int_equal(vhost_iotlb_del_range(&t, 1, 1, NULL, NULL), 1);
	assert_int_equal(vhost_iotlb_add_range(&t, 9, 9, 0, 3), 0);
	vhost_iotlb_reset(&t);

	/* The full range takes two. */
	vhost_iotlb_init(&t, 1, 0);
	assert_int_equal(vhost_iotlb_add_range(&t, 0, U64, 0, 3), -ENOMEM);
	assert_int_equal(vhost_iotlb_add_range(&t, 0, U64 - 1, 0, 3), 0);
	vhost_iotlb_reset(&t);
	vhost_iotlb_init(&t, 1, VHOST_IOTLB_FLAG_RETIRE);
	assert_int_equal(vhost_iotlb_add_range(&t, 0, U64, 0, 3), -ENOMEM);
	assert_int_equal(t.nmaps, 0);
	vhost_iotlb_reset(&t);
}

static void test_retire(void **state)
{
	/* Order of insertion differs from order of address. */
	static const iova_t order[] = {50, 10, 90, 30};
	struct vhost_iotlb t;

	vhost_iotlb_init(&t, 4, VHOST_IOTLB_FLAG_RETIRE);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(vhost_iotlb_add_range(&t, order[i], order[i], 0, 3), 0);
	/* An overlap is refused before anything is retired. */
	assert_int_equal(vhost_iotlb_add_range(&t, 90, 95, 0, 3), -EEXIST);
	assert_non_null(first(&t, 50, 50));
	assert_int_equal(vhost_iotlb_add_range(&t, 20, 20, 0, 3), 0);
	assert_null(first(&t, 50, 50));
	assert_int_equal(t.nmaps, 4);
	/* A range that was removed and added again is the youngest. */
	assert_int_equal(vhost_iotlb_del_range(&t, 10, 10, NULL, NULL), 1);
	assert_int_equal(vhost_iotlb_add_range(&t, 10, 10, 0, 3), 0);
	assert_int_equal(vhost_iotlb_add_range(&t, 60, 60, 0, 3), 0);
	assert_null(first(&t, 90, 90));
	assert_non_null(first(&t, 10, 10));
	vhost_iotlb_reset(&t);
}

/* A snapshot has no queue of its own; it finds the order again when it is changed. */
static void test_retire_snapshot(void **state)
{
	struct vhost_iotlb t, snap;

	vhost_iotlb_init(&t, 100, VHOST_IOTLB_FLAG_RETIRE);
	for (iova_t i = 0; i < 100; i++)
		assert_int_equal(vhost_iotlb_add_range(&t, i * 37 % 100, i * 37 % 100, 0, 3), 0);
	vhost_iotlb_snapshot(&t, &snap);
	for (iova_t i = 0; i < 40; i++) {
		assert_int_equal(vhost_iotlb_add_range(&snap, 1000 + i, 1000 + i, 0, 3), 0);
		assert_null(first(&snap, i * 37 % 100, i * 37 % 100));
		assert_int_equal(snap.nmaps, 100);
	}
	for (iova_t i = 0; i < 100; i++)
		assert_non_null(first(&t, i, i));
	vhost_iotlb_reset(&snap);
	/* Many turns: stale entries of the queue do not pile up. */
	for (iova_t i = 0; i < 20000; i++) {
		assert_int_equal(vhost_iotlb_add_range(&t, 2000 + i, 2000 + i, 0, 3), 0);
		if (i % 3 == 0)
			vhost_iotlb_del_range(&t, 2000 + i, 2000 + i, NULL, NULL);
		assert_true(t.nmaps <= 100);
	}
	vhost_iotlb_reset(&t);
}

static void fill(struct vhost_iotlb *t, unsigned n)
{
	for (iova_t i = 0; i < n; i++)
		assert_int_equal(vhost_iotlb_add_range(t, i * 16, i * 16 + 7, i, 3), 0);
}

static void assert_filled(const struct vhost_iotlb *t, unsigned n)
{
	assert_int_equal(t->nmaps, n);
	for (iova_t i = 0; i < n; i++)
		assert_int_equal(first(t, i * 16 + 7, i * 16 + 20)->addr, i);
}

/* The n-th allocation fails: the table is as it was. */
static void test_alloc_add(void **state)
{
	for (unsigned n = 0; n < 500; n += 83) {
		for (alloc_fail_begin(); alloc_fail_more();) {
			struct vhost_iotlb *t = vhost_iotlb_alloc(0, 0);
			struct vhost_iotlb snap;
			int ret;

			if (!t)
				continue;
			alloc_fail_off();
			fill(t, n);
			vhost_iotlb_snapshot(t, &snap);
			alloc_fail_countdown = alloc_fail_round;
			ret = vhost_iotlb_add_range(t, 8, 15, 77, 3);
			alloc_fail_off();
			assert_true(ret == 0 || ret == -ENOMEM);
			if (ret)
				assert_filled(t, n);
			else
				assert_int_equal(first(t, 8, 15)->addr, 77);
			assert_filled(&snap, n);
			vhost_iotlb_reset(&snap);
			vhost_iotlb_free(t);
		}
	}
}

static void test_alloc_retire(void **state)
{
	for (alloc_fail_begin(); alloc_fail_more();) {
		struct vhost_iotlb t, snap;
		int ret;

		alloc_fail_off();
		vhost_iotlb_init(&t, 300, VHOST_IOTLB_FLAG_RETIRE);
		fill(&t, 300);
		vhost_iotlb_snapshot(&t, &snap);
		alloc_fail_countdown = alloc_fail_round;
		ret = vhost_iotlb_add_range(&snap, 8, 15, 77, 3);
		alloc_fail_off();
		if (ret) {
			assert_int_equal(ret, -ENOMEM);
			assert_filled(&snap, 300);
		} else {
			assert_int_equal(snap.nmaps, 300);
			assert_null(first(&snap, 0, 7));
		}
		assert_filled(&t, 300);
		vhost_iotlb_reset(&snap);
		vhost_iotlb_reset(&t);
	}
}

static void not_called(void *arg, const struct vhost_iotlb_map *map)
{
	*(bool *)arg = true;
}

/* Removes the middle half; returns true when it failed. */
static bool del_middle(unsigned n)
{
	struct vhost_iotlb t, snap;
	bool called = false;
	int ret;

	vhost_iotlb_init(&t, 0, 0);
	fill(&t, n);
	vhost_iotlb_snapshot(&t, &snap);
	alloc_fail_countdown = alloc_fail_round;
	ret = vhost_iotlb_del_range(&t, 16 * (n / 4), 16 * (n / 4 * 3) - 1, not_called, &called);
	alloc_fail_off();
	assert_filled(&snap, n);
	if (ret == -ENOMEM) {
		assert_false(called);
		assert_filled(&t, n);
	} else {
		assert_int_equal(ret, n / 4 * 2);
		assert_int_equal(called, n / 4 > 0);
	}
	vhost_iotlb_reset(&snap);
	/* Alone, a table is changed in place: no allocation, no failure. */
	alloc_fail_countdown = 0;
	assert_int_equal(vhost_iotlb_map_free(&t, first(&t, 0, 0)), 0);
	alloc_fail_off();
	vhost_iotlb_reset(&t);
	return ret == -ENOMEM;
}

/* Sizes at which memory runs out before the first step, and between two. */
static void test_alloc_del(void **state)
{
	for (unsigned n = 4; n < 700; n += 1 + n / 12) {
		for (alloc_fail_begin(); alloc_fail_more();) {
			alloc_fail_off();
			alloc_fail_hit = del_middle(n);
		}
	}
}

/* An empty table shares nothing with its snapshot, not even the pool. */
static void test_snapshot_of_empty(void **state)
{
	struct vhost_iotlb t, snap;

	vhost_iotlb_init(&t, 0, 0);
	vhost_iotlb_snapshot(&t, &snap);
	assert_int_equal(vhost_iotlb_add_range(&t, 1, 1, 0, 3), 0);
	assert_int_equal(snap.nmaps, 0);
	assert_null(first(&snap, 0, U64));
	assert_int_equal(vhost_iotlb_add_range(&snap, 5, 5, 0, 3), 0);
	assert_null(first(&t, 5, 5));
	vhost_iotlb_reset(&snap);
	vhost_iotlb_reset(&t);
	vhost_iotlb_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_inclusive), cmocka_unit_test(test_refused),
		cmocka_unit_test(test_overlap),	  cmocka_unit_test(test_full_range),
		cmocka_unit_test(test_del_whole), cmocka_unit_test(test_limit),
		cmocka_unit_test(test_retire),	  cmocka_unit_test(test_retire_snapshot),
		cmocka_unit_test(test_alloc_add), cmocka_unit_test(test_alloc_retire),
		cmocka_unit_test(test_alloc_del), cmocka_unit_test(test_snapshot_of_empty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
