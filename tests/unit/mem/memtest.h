/* SPDX-License-Identifier: BSD-3-Clause */
/* What the tests of this floor share: a file as memory, a loop that is run until something is so.
 */
#ifndef TESTS_MEMTEST_H
#define TESTS_MEMTEST_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include <uvdpa/mem.h>
#include "../patience.h"

#define RW (PROT_READ | PROT_WRITE)
#define PAGE 4096ull

static inline int memtest_file(size_t bytes)
{
	int fd = memfd_create("memtest", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	return fd;
}

/* A region over a file of its own; byte i of it is (i * 7 + seed) & 0xff. */
static inline struct vdpa_region *memtest_region(size_t bytes, gpa_t gpa, unsigned seed)
{
	struct vdpa_region *region;
	int fd = memtest_file(bytes);
	char *base;

	assert_int_equal(vdpa_region_map(fd, 0, bytes, gpa, RW, &region, NULL), 0);
	close(fd);
	base = vdpa_region_base(region);
	for (size_t i = 0; i < bytes; i++)
		base[i] = (char)(i * 7 + seed);
	return region;
}

static inline void memtest_count(void *arg, int result)
{
	assert_int_equal(result, 0);
	(*(unsigned *)arg)++;
}

/* Run the control loop until *@n is @want. */
static inline void memtest_run_until(struct vdpa_loop_group *group, const unsigned *n,
				     unsigned want)
{
	uint64_t end = vdpa_clock_ns() + PATIENCE_NS;

	while (__atomic_load_n(n, __ATOMIC_ACQUIRE) != want && vdpa_clock_ns() < end)
		vdpa_loop_run_once(vdpa_loop_group_control(group), 10000000);
	assert_int_equal(__atomic_load_n(n, __ATOMIC_ACQUIRE), want);
}

static inline void memtest_synced(struct vdpa_loop_sync *sync)
{
	sync->group = NULL;
}

/* Every loop passes between two batches, messages under way come home. */
static inline void memtest_settle(struct vdpa_loop_group *group)
{
	uint64_t end = vdpa_clock_ns() + PATIENCE_NS;
	struct vdpa_loop_sync sync;

	vdpa_loop_group_sync(group, &sync, memtest_synced);
	while (sync.group && vdpa_clock_ns() < end)
		vdpa_loop_run_once(vdpa_loop_group_control(group), 10000000);
	assert_null(sync.group);
}

#endif
