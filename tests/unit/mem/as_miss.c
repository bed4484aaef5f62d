// SPDX-License-Identifier: BSD-3-Clause
/* Hit, fault, miss: who is told, how often, and that nobody sleeps through the answer. */
#include "memtest.h"

struct fixture {
	struct vdpa_loop_group *group;
	struct vdpa_as *as;
	struct vdpa_region *r;
	struct vdpa_view *view[2];
	unsigned changed[2];
	unsigned misses;
	iova_t iova;
	uint32_t perm;
};

static void on_changed(void *arg)
{
	(*(unsigned *)arg)++;
}

static const struct vdpa_view_ops ops = {.changed = on_changed};

static void on_miss(void *arg, unsigned asid, iova_t iova, uint32_t perm)
{
	struct fixture *f = arg;

	assert_int_equal(asid, 9);
	f->misses++;
	f->iova = iova;
	f->perm = perm;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_int_equal(vdpa_loop_group_new(0, &f->group), 0);
	assert_int_equal(vdpa_as_new(f->group, 9, &f->as), 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(vdpa_view_attach(f->as, vdpa_loop_group_control(f->group), &ops,
						  &f->changed[i], &f->view[i]),
				 0);
	f->r = memtest_region(16 * PAGE, 0, 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	vdpa_view_detach(f->view[0]);
	vdpa_view_detach(f->view[1]);
	vdpa_as_free(f->as);
	vdpa_region_put(f->r);
	memtest_settle(f->group);
	vdpa_loop_group_free(f->group);
	free(f);
	return 0;
}

static void with_miss(struct fixture *f)
{
	assert_int_equal(vdpa_as_set_miss(f->as, on_miss, f), 0);
	vdpa_view_refresh(f->view[0]);
	vdpa_view_refresh(f->view[1]);
}

static void map(struct fixture *f, iova_t iova, uint32_t perm)
{
	assert_int_equal(vdpa_as_map(f->as, iova, PAGE, vdpa_region_addr(f->r, 0), perm, f->r), 0);
}

static void unmap(struct fixture *f, iova_t iova)
{
	assert_int_equal(vdpa_as_unmap(f->as, iova, iova, NULL), 0);
}

static int try(struct fixture *f, unsigned i, iova_t iova, uint32_t perm)
{
	struct iovec iov;

	return vdpa_view_xlate(f->view[i], iova, 8, perm, &iov, 1);
}

static void test_once(void **state)
{
	struct fixture *f = *state;

	with_miss(f);
	assert_int_equal(try(f, 0, 0x5008, VHOST_MAP_RO), -EAGAIN);
	assert_int_equal(f->misses, 1);
	assert_int_equal(f->iova, 0x5008);
	assert_int_equal(f->perm, VHOST_MAP_RO);
	/* Outstanding: not again, neither by this view nor by another. */
	assert_int_equal(try(f, 0, 0x5008, VHOST_MAP_RO), -EAGAIN);
	assert_int_equal(try(f, 1, 0x5008, VHOST_MAP_RO), -EAGAIN);
	assert_int_equal(f->misses, 1);
	/* Another address or another access is another miss. */
	assert_int_equal(try(f, 0, 0x5008, VHOST_MAP_WO), -EAGAIN);
	assert_int_equal(f->misses, 2);
	assert_int_equal(try(f, 0, 0x9000, VHOST_MAP_RO), -EAGAIN);
	assert_int_equal(f->misses, 3);
	map(f, 0x5000, VHOST_MAP_RW);
	memtest_settle(f->group);
	assert_int_equal(f->changed[0], 1);
	assert_int_equal(f->changed[1], 1);
	assert_int_equal(try(f, 0, 0x5008, VHOST_MAP_RO), 1);
	assert_int_equal(try(f, 1, 0x5008, VHOST_MAP_WO), 1);
	/* 0x9000 waits still; it is not asked for again because something else came. */
	assert_int_equal(try(f, 0, 0x9000, VHOST_MAP_RO), -EAGAIN);
	assert_int_equal(f->misses, 3);
	/* Removed: a miss anew. */
	unmap(f, 0x5000);
	memtest_settle(f->group);
	assert_int_equal(try(f, 0, 0x5008, VHOST_MAP_RO), -EAGAIN);
	assert_int_equal(f->misses, 4);
}

/* Answered and taken away before the queue looked: it must ask again, or sleep for ever. */
static void test_answer_missed(void **state)
{
	struct fixture *f = *state;

	with_miss(f);
	assert_int_equal(try(f, 0, 0x5000, VHOST_MAP_RO), -EAGAIN);
	map(f, 0x5000, VHOST_MAP_RW);
	unmap(f, 0x5000);
	memtest_settle(f->group);
	assert_true(f->changed[0] >= 1);
	assert_int_equal(try(f, 0, 0x5000, VHOST_MAP_RO), -EAGAIN);
	assert_int_equal(f->misses, 2);
	/* The same inside a batch. */
	vdpa_as_batch_begin(f->as);
	map(f, 0x5000, VHOST_MAP_RW);
	unmap(f, 0x5000);
	vdpa_as_batch_end(f->as);
	memtest_settle(f->group);
	assert_int_equal(try(f, 0, 0x5000, VHOST_MAP_RO), -EAGAIN);
	assert_int_equal(f->misses, 3);
}

/* A range that is there but does not allow it is a fault, not a miss. */
static void test_denied(void **state)
{
	struct fixture *f = *state;

	with_miss(f);
	map(f, 0x5000, VHOST_MAP_RO);
	vdpa_view_refresh(f->view[0]);
	assert_int_equal(try(f, 0, 0x5000, VHOST_MAP_WO), -EFAULT);
	assert_int_equal(f->misses, 0);
}

static void test_helpers_park(void **state)
{
	struct fixture *f = *state;
	char c[16] = {0};

	with_miss(f);
	map(f, 0x5000, VHOST_MAP_RW);
	vdpa_view_refresh(f->view[0]);
	assert_int_equal(vdpa_view_read(f->view[0], 0x5ff8, c, 16), -EAGAIN);
	assert_int_equal(f->iova, 0x6000);
	assert_int_equal(f->perm, VHOST_MAP_RO);
	assert_int_equal(vdpa_view_write(f->view[0], 0x5ff8, c, 16), -EAGAIN);
	assert_int_equal(f->perm, VHOST_MAP_WO);
	map(f, 0x6000, VHOST_MAP_RW);
	memtest_settle(f->group);
	assert_int_equal(vdpa_view_write(f->view[0], 0x5ff8, c, 16), 0);
}

/* A fault is never answered from an old map: come again, and changed() comes by itself. */
static void test_outdated(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(try(f, 0, 0x5000, VHOST_MAP_RO), -EFAULT);
	map(f, 0x5000, VHOST_MAP_RO);
	memtest_settle(f->group);
	map(f, 0x6000, VHOST_MAP_RW);
	assert_int_equal(try(f, 0, 0x6000, VHOST_MAP_RO), -EAGAIN);
	f->changed[0] = 0;
	memtest_settle(f->group);
	assert_int_equal(f->changed[0], 1);
	assert_int_equal(try(f, 0, 0x6000, VHOST_MAP_RO), 1);
	/* Permission: it was widened meanwhile. */
	vdpa_as_batch_begin(f->as);
	unmap(f, 0x5000);
	map(f, 0x5000, VHOST_MAP_RW);
	vdpa_as_batch_end(f->as);
	assert_int_equal(try(f, 0, 0x5000, VHOST_MAP_WO), -EAGAIN);
	memtest_settle(f->group);
	assert_int_equal(try(f, 0, 0x5000, VHOST_MAP_WO), 1);
	/* A miss: nothing is reported that is answered already. */
	with_miss(f);
	map(f, 0x7000, VHOST_MAP_RW);
	assert_int_equal(try(f, 0, 0x7000, VHOST_MAP_RO), -EAGAIN);
	assert_int_equal(f->misses, 0);
	memtest_settle(f->group);
	assert_int_equal(try(f, 0, 0x7000, VHOST_MAP_RO), 1);
}

/* Switching misses off makes faults of what is parked; a new listener hears everything again. */
static void test_switch(void **state)
{
	struct fixture *f = *state;

	with_miss(f);
	assert_int_equal(try(f, 0, 0x5000, VHOST_MAP_RO), -EAGAIN);
	assert_int_equal(vdpa_as_set_miss(f->as, NULL, NULL), 0);
	memtest_settle(f->group);
	assert_int_equal(f->changed[0], 1);
	assert_int_equal(try(f, 0, 0x5000, VHOST_MAP_RO), -EFAULT);
	with_miss(f);
	assert_int_equal(try(f, 0, 0x5000, VHOST_MAP_RO), -EAGAIN);
	assert_int_equal(f->misses, 2);
	with_miss(f);
	memtest_settle(f->group);
	assert_int_equal(try(f, 0, 0x5000, VHOST_MAP_RO), -EAGAIN);
	assert_int_equal(f->misses, 3);
}

/* A guest that misses everywhere: bounded memory, and each is reported at least once. */
static void test_flood(void **state)
{
	struct fixture *f = *state;

	with_miss(f);
	for (unsigned i = 0; i < 100000; i++)
		assert_int_equal(try(f, 0, i * PAGE, VHOST_MAP_RO), -EAGAIN);
	assert_int_equal(f->misses, 100000);
	map(f, 0x5000, VHOST_MAP_RW);
	memtest_settle(f->group);
	assert_int_equal(try(f, 0, 0x5000, VHOST_MAP_RO), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* The answer was no: the next access asks again, an access before it is not forgotten. */
static void test_settled(void **state)
{
	struct fixture *f = *state;

	with_miss(f);
	assert_int_equal(try(f, 0, 0x5008, VHOST_MAP_RO), -EAGAIN);
	assert_int_equal(f->misses, 1);
	assert_false(vdpa_as_miss_settled(f->as, 0x5008, VHOST_MAP_WO));
	assert_int_equal(try(f, 1, 0x5008, VHOST_MAP_RO), -EAGAIN);
	assert_int_equal(f->misses, 1);
	/* Once more, by whoever was told; and then not. */
	assert_true(vdpa_as_miss_settled(f->as, 0x5008, VHOST_MAP_RO));
	assert_false(vdpa_as_miss_settled(f->as, 0x5008, VHOST_MAP_RO));
	assert_false(vdpa_as_miss_settled(f->as, 0x5008, VHOST_MAP_RO));
	assert_int_equal(f->misses, 1);
	assert_int_equal(try(f, 0, 0x5008, VHOST_MAP_RO), -EAGAIN);
	assert_int_equal(f->misses, 2);
	/* There was an answer: nothing is left to ask. */
	assert_int_equal(try(f, 1, 0x5008, VHOST_MAP_RO), -EAGAIN);
	map(f, 0x5000, VHOST_MAP_RW);
	assert_false(vdpa_as_miss_settled(f->as, 0x5008, VHOST_MAP_RO));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_once),	 TEST(test_answer_missed), TEST(test_denied),
		TEST(test_helpers_park), TEST(test_outdated),	   TEST(test_switch),
		TEST(test_flood),	 TEST(test_settled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
