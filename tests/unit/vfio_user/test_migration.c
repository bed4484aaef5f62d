// SPDX-License-Identifier: BSD-3-Clause
/* States, their arcs, the data, and which pages were written. */
#include "toy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <uvdpa/vhost_iotlb.h>

#define GET VFIO_DEVICE_FEATURE_GET
#define SET VFIO_DEVICE_FEATURE_SET
#define PROBE VFIO_DEVICE_FEATURE_PROBE
#define MIGRATION 1
#define STATE 2
#define LOG_START 6
#define LOG_STOP 7
#define LOG_REPORT 8

static int set_state(uint32_t to)
{
	uint32_t data[2] = {to, UINT32_MAX};
	int r = vfio_user_feature(toy.client, SET | STATE, data, sizeof(data), sizeof(data));

	return r < 0 ? r : 0;
}

static uint32_t get_state(void)
{
	uint32_t data[2] = {0};

	assert_int_equal(vfio_user_feature(toy.client, GET | STATE, data, 0, sizeof(data)), 8);
	return data[0];
}

static void test_probe(void **state)
{
	uint64_t flags = 0;

	assert_int_equal(vfio_user_feature(toy.client, GET | MIGRATION, &flags, 0, 8), 8);
	assert_int_equal(flags, 5); /* STOP_COPY, PRE_COPY */
	assert_int_equal(vfio_user_feature(toy.client, PROBE | GET | SET | STATE, NULL, 0, 0), 0);
	assert_int_equal(vfio_user_feature(toy.client, PROBE | SET | MIGRATION, NULL, 0, 0),
			 -ENOTTY);
	assert_int_equal(vfio_user_feature(toy.client, GET | SET | STATE, &flags, 8, 8), -EINVAL);
	assert_int_equal(vfio_user_feature(toy.client, STATE, &flags, 8, 8), -EINVAL);
	assert_int_equal(vfio_user_feature(toy.client, GET | 3, &flags, 0, 8), -ENOTTY);
	assert_int_equal(vfio_user_feature(toy.client, GET | 0xffff, &flags, 0, 8), -ENOTTY);
	assert_int_equal(vfio_user_feature(toy.client, 1u << 19 | STATE, &flags, 0, 8), -EINVAL);
	assert_int_equal(vfio_user_feature(toy.client, SET | STATE, &flags, 4, 8), -EINVAL);
}

/* How many arcs each change takes, by the rules of linux/vfio.h; 0: there is no way. */
static void test_arcs(void **state)
{
	static const struct {
		unsigned from, to, arcs;
	} ways[] = {
		{2, 1, 1}, {2, 3, 2}, {2, 4, 2}, {2, 6, 1}, {1, 2, 1}, {1, 3, 1}, {1, 4, 1},
		{1, 6, 2}, {3, 1, 1}, {3, 2, 2}, {3, 4, 2}, {4, 1, 1}, {4, 2, 2}, {4, 3, 2},
		{4, 6, 3}, {6, 1, 2}, {6, 2, 1}, {6, 3, 1}, {6, 4, 3},
	};

	for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		unsigned before;

		assert_int_equal(set_state(2), 0);
		assert_int_equal(set_state(ways[i].from), 0);
		before = toy.arcs;
		assert_int_equal(set_state(ways[i].to), 0);
		assert_int_equal(toy.arcs - before, ways[i].arcs);
		assert_int_equal(get_state(), ways[i].to);
	}
	assert_int_equal(set_state(2), 0);
	assert_int_equal(set_state(3), 0);
	assert_int_equal(set_state(6), -EINVAL); /* from STOP_COPY to PRE_COPY */
	assert_int_equal(get_state(), 3);
	for (unsigned bad = 0; bad < 20; bad += bad == 0 ? 5 : bad == 5 ? 2 : 1)
		assert_int_equal(set_state(bad), -EINVAL);
	toy.refuse = true;
	assert_int_equal(set_state(2), -EIO);
	toy.refuse = false;
	assert_int_equal(get_state(), 3);
	/* A reset makes it run. */
	assert_int_equal(vfio_user_reset(toy.client), 0);
	assert_int_equal(get_state(), 2);
}

static void test_data(void **state)
{
	uint8_t saved[sizeof(toy.state)], chunk[333];
	size_t at = 0;
	ssize_t n;

	for (size_t i = 0; i < sizeof(toy.state); i++)
		toy.state[i] = (uint8_t)(i * 7);
	assert_int_equal(vfio_user_mig_read(toy.client, chunk, sizeof(chunk)), -EBUSY);
	assert_int_equal(vfio_user_mig_write(toy.client, chunk, sizeof(chunk)), -EBUSY);
	assert_int_equal(set_state(3), 0);
	while ((n = vfio_user_mig_read(toy.client, chunk, sizeof(chunk))) > 0) {
		assert_true(at + (size_t)n <= sizeof(saved));
		memcpy(saved + at, chunk, (size_t)n);
		at += (size_t)n;
	}
	assert_int_equal(n, 0);
	assert_int_equal(at, sizeof(saved));
	assert_memory_equal(saved, toy.state, sizeof(saved));
	/* Into another one: here the same, wiped. */
	memset(toy.state, 0, sizeof(toy.state));
	assert_int_equal(set_state(4), 0);
	for (at = 0; at < sizeof(saved); at += 1000)
		assert_int_equal(vfio_user_mig_write(toy.client, saved + at, 1000), 0);
	assert_int_equal(vfio_user_mig_write(toy.client, saved, 1), -EINVAL);
	assert_int_equal(set_state(2), 0);
	assert_memory_equal(saved, toy.state, sizeof(saved));
}

struct report {
	uint64_t iova, length, page;
	uint64_t bits[8];
};

static int report(uint64_t iova, uint64_t length, uint64_t page, struct report *r)
{
	*r = (struct report){.iova = iova, .length = length, .page = page};
	return vfio_user_feature(toy.client, GET | LOG_REPORT, r, 24, sizeof(*r));
}

static void write_page(uint64_t page)
{
	uint64_t words[3] = {0, page * 4096 + 100, 8};

	assert_int_equal(vfio_user_region_write(toy.client, 0, TOY_COPY_HERE, words, 24), 0);
}

static void test_dirty(void **state)
{
	struct vfio_user_mem mem = {.iova = 0, .size = 1 << 20, .perm = VHOST_MAP_RW};
	struct {
		uint64_t page;
		uint32_t n, reserved;
		uint64_t iova, length;
	} start = {4096, 1, 0, 0, 1 << 20};
	struct report r;
	void *at;

	mem.fd = toy_memfd(1 << 20, &at);
	assert_int_equal(vfio_user_dma_map(toy.client, &mem), 0);
	assert_int_equal(report(0, 1 << 20, 4096, &r), -EINVAL); /* not begun */
	assert_int_equal(vfio_user_feature(toy.client, SET | LOG_STOP, NULL, 0, 0), -EINVAL);
	write_page(7);
	start.n = 2; /* which did not come */
	assert_int_equal(vfio_user_feature(toy.client, SET | LOG_START, &start, 32, 32), -EINVAL);
	start.n = 1;
	start.length = 1ull << 50;
	assert_int_equal(vfio_user_feature(toy.client, SET | LOG_START, &start, 32, 32), -E2BIG);
	start.iova = UINT64_MAX;
	assert_int_equal(vfio_user_feature(toy.client, SET | LOG_START, &start, 32, 32), -EINVAL);
	start.iova = 0;
	start.length = 1 << 20;
	assert_int_equal(vfio_user_feature(toy.client, SET | LOG_START, &start, 32, 32), 32);
	assert_int_equal(vfio_user_feature(toy.client, SET | LOG_START, &start, 32, 32), -EBUSY);
	write_page(9);
	write_page(200);
	assert_int_equal(report(0, 1 << 20, 4096, &r), 24 + 32);
	assert_int_equal(r.bits[0], 1ull << 9);
	assert_int_equal(r.bits[3], 1ull << (200 - 192));
	/* What was told is forgotten; larger pages. */
	write_page(33);
	assert_int_equal(report(0, 1 << 20, 65536, &r), 24 + 8);
	assert_int_equal(r.bits[0], 1 << 2);
	assert_int_equal(report(0, 1 << 20, 4096, &r), 24 + 32);
	assert_int_equal(r.bits[0] | r.bits[1] | r.bits[2] | r.bits[3], 0);
	assert_int_equal(report(0, 1 << 20, 2048, &r), -EINVAL);
	assert_int_equal(report(0, 1 << 20, 12288, &r), -EINVAL);
	assert_int_equal(report(4096, UINT64_MAX - 4095, 4096, &r), -EINVAL);
	assert_int_equal(report(0, 1ull << 40, 4096, &r), -E2BIG);
	assert_int_equal(vfio_user_feature(toy.client, SET | LOG_STOP, NULL, 0, 0), 0);
	assert_int_equal(report(0, 1 << 20, 4096, &r), -EINVAL);
	/* Of everything that is mapped. */
	assert_int_equal(
		vfio_user_feature(toy.client, SET | LOG_START, &(uint64_t[]){4096, 0}, 16, 16), 16);
	write_page(255);
	assert_int_equal(report(0, 1 << 20, 4096, &r), 24 + 32);
	assert_int_equal(r.bits[3], 1ull << 63);
	/* The client goes, and the log with it. */
	munmap(at, 1 << 20);
	close(mem.fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {TOY_TEST(test_probe), TOY_TEST(test_arcs),
					   TOY_TEST(test_data), TOY_TEST(test_dirty)};

	return cmocka_run_group_tests_name("vfio-user migration", tests, NULL, NULL);
}
