// SPDX-License-Identifier: BSD-3-Clause
/* The dirty log, bit by bit. */
#include "memtest.h"

#include "../alloc_fail.h"

static unsigned bits(const uint64_t *bitmap, unsigned words)
{
	unsigned n = 0;

	for (unsigned i = 0; i < words; i++)
		n += (unsigned)__builtin_popcountll(bitmap[i]);
	return n;
}

static void test_mark(void **state)
{
	struct vdpa_dirty_log *log;
	uint64_t map[4];

	assert_int_equal(vdpa_dirty_log_new(256 * PAGE, &log), 0);
	vdpa_dirty_log_mark(log, 3 * PAGE + 5, 0);
	assert_int_equal(vdpa_dirty_log_sync(log, 0, 256, map, false), 0);
	assert_int_equal(bits(map, 4), 0);
	/* One byte, one page; a write across an edge, two; first and last byte count. */
	vdpa_dirty_log_mark(log, 3 * PAGE + 5, 1);
	vdpa_dirty_log_mark(log, 64 * PAGE - 1, 2);
	vdpa_dirty_log_mark(log, 100 * PAGE, PAGE);
	vdpa_dirty_log_mark(log, 200 * PAGE + 1, PAGE);
	assert_int_equal(vdpa_dirty_log_sync(log, 0, 256, map, false), 0);
	assert_int_equal(map[0], 1ull << 3 | 1ull << 63);
	assert_int_equal(map[1], 1ull << 0 | 1ull << 36);
	assert_int_equal(map[2], 0);
	assert_int_equal(map[3], 1ull << 8 | 1ull << 9);
	assert_int_equal(vdpa_dirty_log_beyond(log), 0);
	vdpa_dirty_log_put(log);
}

static void test_sync_clear(void **state)
{
	struct vdpa_dirty_log *log;
	uint64_t map[5];

	assert_int_equal(vdpa_dirty_log_new(256 * PAGE, &log), 0);
	vdpa_dirty_log_mark(log, 10 * PAGE, 200 * PAGE);
	/* A window that begins and ends inside bytes takes its own pages only. */
	assert_int_equal(vdpa_dirty_log_sync(log, 13 * PAGE, 70, map, true), 0);
	assert_int_equal(map[0], UINT64_MAX);
	assert_int_equal(map[1], 0x3f);
	assert_int_equal(vdpa_dirty_log_sync(log, 0, 256, map, false), 0);
	assert_int_equal(bits(map, 4), 200 - 70);
	assert_int_equal(map[0], 7ull << 10);
	assert_int_equal(vdpa_dirty_log_sync(log, 13 * PAGE, 70, map, true), 0);
	assert_int_equal(bits(map, 2), 0);
	/* Beyond the log everything is clean. */
	assert_int_equal(vdpa_dirty_log_sync(log, 200 * PAGE, 300, map, false), 0);
	assert_int_equal(bits(map, 5), 10);
	assert_int_equal(vdpa_dirty_log_sync(log, 1000 * PAGE, 64, map, false), 0);
	assert_int_equal(map[0], 0);
	assert_int_equal(vdpa_dirty_log_sync(log, 1, 64, map, false), -EINVAL);
	assert_int_equal(vdpa_dirty_log_sync(log, PAGE, UINT64_MAX / PAGE + 1, map, false),
			 -EINVAL);
	assert_int_equal(vdpa_dirty_log_sync(log, 0, 0, map, false), 0);
	vdpa_dirty_log_put(log);
}

static void test_beyond(void **state)
{
	struct vdpa_dirty_log *log;
	uint64_t map[2];

	assert_int_equal(vdpa_dirty_log_new(64 * PAGE, &log), 0);
	vdpa_dirty_log_mark(log, 63 * PAGE, 3 * PAGE);
	assert_int_equal(vdpa_dirty_log_beyond(log), 2);
	vdpa_dirty_log_mark(log, 64 * PAGE, 1);
	assert_int_equal(vdpa_dirty_log_beyond(log), 3);
	/* A sum that wraps ends at the last page there is. */
	vdpa_dirty_log_mark(log, UINT64_MAX - 10, 100);
	assert_int_equal(vdpa_dirty_log_beyond(log), 4);
	assert_int_equal(vdpa_dirty_log_sync(log, 0, 64, map, false), 0);
	assert_int_equal(map[0], 1ull << 63);
	vdpa_dirty_log_put(log);
	assert_int_equal(vdpa_dirty_log_new(0, &log), -EINVAL);
	assert_int_equal(vdpa_dirty_log_new(UINT64_MAX, &log), -ENOMEM);
}

/* The layout that a vhost-user peer expects: bit n % 8 of byte n / 8, at the offset it gave. */
static void test_shared(void **state)
{
	int fd = memtest_file(3 * PAGE);
	struct vdpa_dirty_log *log, *again;
	struct vdpa_error err = {0};
	uint8_t bytes[16];

	assert_int_equal(vdpa_dirty_log_map(fd, 0x1010, 8, &log, &err), 0);
	vdpa_dirty_log_mark(log, 9 * PAGE, 1);
	vdpa_dirty_log_mark(log, 63 * PAGE, 2 * PAGE);
	assert_int_equal(vdpa_dirty_log_beyond(log), 1);
	assert_int_equal(pread(fd, bytes, 16, 0x100c), 16);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(bytes[i], i == 5 ? 2 : i == 11 ? 0x80 : 0);
	again = vdpa_dirty_log_get(log);
	vdpa_dirty_log_put(log);
	vdpa_dirty_log_mark(again, 0, 1);
	vdpa_dirty_log_put(again);
	vdpa_dirty_log_put(NULL);
	assert_null(vdpa_dirty_log_get(NULL));
	assert_int_equal(vdpa_dirty_log_map(fd, 2 * PAGE, PAGE + 1, &log, &err), -EINVAL);
	assert_int_equal(vdpa_dirty_log_map(fd, 0, 0, &log, &err), -EINVAL);
	close(fd);
}

static void test_alloc(void **state)
{
	int fd = memtest_file(PAGE);

	for (alloc_fail_begin(); alloc_fail_more();) {
		struct vdpa_dirty_log *own = NULL, *shared = NULL;
		int a = vdpa_dirty_log_new(PAGE, &own);
		int b = vdpa_dirty_log_map(fd, 0, PAGE, &shared, NULL);

		alloc_fail_off();
		assert_true((a == 0 || a == -ENOMEM) && (b == 0 || b == -ENOMEM));
		vdpa_dirty_log_put(own);
		vdpa_dirty_log_put(shared);
	}
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mark),   cmocka_unit_test(test_sync_clear),
		cmocka_unit_test(test_beyond), cmocka_unit_test(test_shared),
		cmocka_unit_test(test_alloc),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
