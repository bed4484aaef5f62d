// SPDX-License-Identifier: BSD-3-Clause
/*
 * The IOTLB against a naive array: a long random walk of insertions, removals and lookups, during
 * which snapshots are taken and later compared with what the array was at that time.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <uvdpa/vhost_iotlb.h>

#include "mem/iotlb_tree.h"

#define MAX_MAPS 4096
#define SNAPS 8

struct model {
	struct vhost_iotlb_map m[MAX_MAPS];
	unsigned n;
};

struct snap {
	struct vhost_iotlb iotlb;
	struct model *model;
};

static uint64_t rng_state = 0x853c49e6748fea9bull;

static uint64_t rng(void)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return rng_state;
}

static unsigned model_first(const struct model *model, iova_t start)
{
	unsigned lo = 0, hi = model->n;

	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;

		if (model->m[mid].last < start)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static int model_add(struct model *model, const struct vhost_iotlb_map *map)
{
	unsigned i = model_first(model, map->start);

	if (i < model->n && model->m[i].start <= map->last)
		return -EEXIST;
	memmove(&model->m[i + 1], &model->m[i], (model->n - i) * sizeof(*map));
	model->m[i] = *map;
	model->n++;
	return 0;
}

static int model_del(struct model *model, iova_t start, iova_t last)
{
	unsigned i = model_first(model, start), k = 0;

	while (i + k < model->n && model->m[i + k].start <= last)
		k++;
	memmove(&model->m[i], &model->m[i + k], (model->n - i - k) * sizeof(model->m[0]));
	model->n -= k;
	return (int)k;
}

static void assert_same_map(const struct vhost_iotlb_map *a, const struct vhost_iotlb_map *b)
{
	assert_int_equal(a->start, b->start);
	assert_int_equal(a->last, b->last);
	assert_int_equal(a->addr, b->addr);
	assert_int_equal(a->perm, b->perm);
	assert_ptr_equal(a->opaque, b->opaque);
}

static void assert_same(const struct vhost_iotlb *iotlb, const struct model *model)
{
	const struct vhost_iotlb_map *map = vhost_iotlb_itree_first(iotlb, 0, UINT64_MAX);

	assert_int_equal(iotlb->nmaps, model->n);
	for (unsigned i = 0; i < model->n; i++) {
		assert_non_null(map);
		assert_same_map(map, &model->m[i]);
		map = vhost_iotlb_itree_next(iotlb, map, 0, UINT64_MAX);
	}
	assert_null(map);
}

struct removed {
	const struct model *model;
	unsigned at, n;
};

static void check_removed(void *arg, const struct vhost_iotlb_map *map)
{
	struct removed *removed = arg;

	assert_same_map(map, &removed->model->m[removed->at + removed->n++]);
}

static void step_add(struct vhost_iotlb *iotlb, struct model *model, uint64_t space)
{
	uint64_t start = rng() % space;
	struct vhost_iotlb_map map = {
		.start = start,
		.last = start + rng() % 64,
		.addr = rng() >> 8,
		.perm = 1 + (uint32_t)(rng() % 3),
		.opaque = (void *)(uintptr_t)(rng() & 0xfff0),
	};
	int ret;

	if (model->n == MAX_MAPS)
		return;
	ret = vhost_iotlb_add_range_ctx(iotlb, map.start, map.last, map.addr, map.perm, map.opaque);
	assert_int_equal(ret, model_add(model, &map));
}

static void step_del(struct vhost_iotlb *iotlb, struct model *model, uint64_t space)
{
	uint64_t start = rng() % space, last = start + rng() % (rng() % 16 ? 64 : space / 64);
	struct removed removed = {.model = model, .at = model_first(model, start)};
	struct model *before = NULL;
	int ret;

	if (rng() % 2) {
		ret = vhost_iotlb_del_range(iotlb, start, last, NULL, NULL);
	} else {
		before = malloc(sizeof(*before));
		memcpy(before, model, sizeof(*before));
		removed.model = before;
		ret = vhost_iotlb_del_range(iotlb, start, last, check_removed, &removed);
		assert_int_equal(ret, removed.n);
	}
	assert_int_equal(ret, model_del(model, start, last));
	free(before);
}

static void step_lookup(const struct vhost_iotlb *iotlb, const struct model *model, uint64_t space)
{
	uint64_t start = rng() % space, last = start + rng() % 200;
	const struct vhost_iotlb_map *map = vhost_iotlb_itree_first(iotlb, start, last);
	unsigned i = model_first(model, start);

	for (; i < model->n && model->m[i].start <= last; i++) {
		assert_non_null(map);
		assert_same_map(map, &model->m[i]);
		map = vhost_iotlb_itree_next(iotlb, map, start, last);
	}
	assert_null(map);
}

/* Several at once: the same as one by one, also beyond both ends, and twice the same. */
static void step_lookup_many(const struct vhost_iotlb *iotlb, uint64_t space)
{
	const struct vhost_iotlb_map *map[2 * IOTLB_GROUP + 1];
	uint64_t x[2 * IOTLB_GROUP + 1] = {0, UINT64_MAX};
	unsigned n = (unsigned)(rng() % (2 * IOTLB_GROUP + 2));

	for (unsigned i = 2; i < n; i++)
		x[i] = rng() % 8 ? rng() % (space + 200) : x[i - 1];
	iotlb_tree_lower_n(iotlb, x, n, map);
	for (unsigned i = 0; i < n; i++)
		assert_ptr_equal(map[i], iotlb_tree_lower(iotlb, x[i]));
}

static void snap_end(struct snap *snap)
{
	if (!snap->model)
		return;
	assert_same(&snap->iotlb, snap->model);
	vhost_iotlb_reset(&snap->iotlb);
	free(snap->model);
	snap->model = NULL;
}

static void snap_take(struct snap *snap, struct vhost_iotlb *iotlb, const struct model *model)
{
	snap_end(snap);
	snap->model = malloc(sizeof(*snap->model));
	assert_non_null(snap->model);
	memcpy(snap->model, model, sizeof(*model));
	vhost_iotlb_snapshot(iotlb, &snap->iotlb);
}

/* A snapshot is a table of its own: what happens to it must not show in its origin. */
static void snap_disturb(struct snap *snap, uint64_t space)
{
	if (!snap->model)
		return;
	step_add(&snap->iotlb, snap->model, space);
	step_del(&snap->iotlb, snap->model, space);
}

static void walk(unsigned steps, uint64_t space, unsigned adds)
{
	struct model *model = calloc(1, sizeof(*model));
	struct snap snaps[SNAPS] = {0};
	struct vhost_iotlb iotlb;

	vhost_iotlb_init(&iotlb, 0, 0);
	for (unsigned i = 0; i < steps; i++) {
		/* Waves: the table grows in one and shrinks in the next. */
		unsigned p = (i / (steps / 8)) % 2 ? 100 - adds : adds;

		if (rng() % 100 < p)
			step_add(&iotlb, model, space);
		else
			step_del(&iotlb, model, space);
		step_lookup(&iotlb, model, space);
		if (i % 16 == 0)
			step_lookup_many(&iotlb, space);
		if (rng() % 64 == 0)
			snap_take(&snaps[rng() % SNAPS], &iotlb, model);
		if (rng() % 64 == 0)
			snap_disturb(&snaps[rng() % SNAPS], space);
		if (i % 1024 == 0)
			assert_same(&iotlb, model);
	}
	for (unsigned i = 0; i < SNAPS; i++)
		snap_end(&snaps[i]);
	assert_same(&iotlb, model);
	vhost_iotlb_reset(&iotlb);
	free(model);
}

static void test_sparse(void **state)
{
	walk(40000, 1u << 20, 90);
}

static void test_dense(void **state)
{
	walk(40000, 1u << 14, 70);
}

static void test_small(void **state)
{
	walk(20000, 1u << 9, 60);
}

/* Ascending, descending and from the middle outwards, then emptied from either end. */
static void test_orders(void **state)
{
	for (unsigned order = 0; order < 4; order++) {
		struct model *model = calloc(1, sizeof(*model));
		struct vhost_iotlb iotlb;

		vhost_iotlb_init(&iotlb, 0, 0);
		for (unsigned i = 0; i < 4000; i++) {
			unsigned at = order % 2 ? 3999 - i : i;
			struct vhost_iotlb_map map = {.start = at * 2, .last = at * 2, .perm = 3};

			if (order > 1)
				map.start = map.last = i % 2 ? 8000 + i : 8000 - i;
			assert_int_equal(model_add(model, &map), 0);
			assert_int_equal(vhost_iotlb_add_range(&iotlb, map.start, map.last, 0, 3),
					 0);
		}
		assert_same(&iotlb, model);
		for (unsigned i = 0; i < 4000; i++) {
			const struct vhost_iotlb_map *map = &model->m[order % 2 ? 0 : model->n - 1];

			assert_int_equal(vhost_iotlb_map_free(
						 &iotlb, vhost_iotlb_itree_first(&iotlb, map->start,
										 map->start)),
					 0);
			model_del(model, map->start, map->start);
			if (i % 512 == 0)
				assert_same(&iotlb, model);
		}
		assert_int_equal(iotlb.nmaps, 0);
		vhost_iotlb_reset(&iotlb);
		free(model);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_small),
		cmocka_unit_test(test_dense),
		cmocka_unit_test(test_sparse),
		cmocka_unit_test(test_orders),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
