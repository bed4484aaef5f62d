// SPDX-License-Identifier: BSD-3-Clause
/* Translation and guest access through a view: edges, holes, kinds of memory, the dirty log. */
#include "memtest.h"

struct fixture {
	struct vdpa_loop_group *group;
	struct vdpa_as *as;
	struct vdpa_view *view;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_int_equal(vdpa_loop_group_new(0, &f->group), 0);
	assert_int_equal(vdpa_as_new(f->group, 3, &f->as), 0);
	assert_int_equal(
		vdpa_view_attach(f->as, vdpa_loop_group_control(f->group), NULL, NULL, &f->view),
		0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	vdpa_view_detach(f->view);
	vdpa_as_free(f->as);
	memtest_settle(f->group);
	vdpa_loop_group_free(f->group);
	free(f);
	return 0;
}

static void map(struct fixture *f, iova_t iova, uint64_t size, struct vdpa_region *region,
		uint64_t off, uint32_t perm)
{
	assert_int_equal(
		vdpa_as_map(f->as, iova, size, vdpa_region_addr(region, off), perm, region), 0);
	vdpa_view_refresh(f->view);
}

static void test_edges(void **state)
{
	struct fixture *f = *state;
	struct vdpa_region *r = memtest_region(4 * PAGE, 0, 0);
	char *base = vdpa_region_base(r);
	struct iovec iov[4];

	map(f, 0x10000, 4 * PAGE, r, 0, VHOST_MAP_RW);
	assert_int_equal(vdpa_view_xlate(f->view, 0x10000, 4 * PAGE, VHOST_MAP_RW, iov, 4), 1);
	assert_ptr_equal(iov[0].iov_base, base);
	assert_int_equal(iov[0].iov_len, 4 * PAGE);
	assert_int_equal(vdpa_view_xlate(f->view, 0x13fff, 1, VHOST_MAP_RW, iov, 4), 1);
	assert_ptr_equal(iov[0].iov_base, base + 4 * PAGE - 1);
	assert_int_equal(vdpa_view_xlate(f->view, 0x13fff, 2, VHOST_MAP_RO, iov, 4), -EFAULT);
	assert_int_equal(vdpa_view_xlate(f->view, 0xffff, 2, VHOST_MAP_RO, iov, 4), -EFAULT);
	assert_int_equal(vdpa_view_xlate(f->view, 0xffff, 1, VHOST_MAP_RO, iov, 4), -EFAULT);
	assert_int_equal(vdpa_view_xlate(f->view, 0x14000, 1, VHOST_MAP_RO, iov, 4), -EFAULT);
	/* Nothing asked for: nothing needed, not even a range. */
	assert_int_equal(vdpa_view_xlate(f->view, 0xdead0000, 0, VHOST_MAP_RO, iov, 4), 0);
	assert_int_equal(vdpa_view_xlate(f->view, 0x10000, 1, VHOST_MAP_RO, iov, 0), -E2BIG);
	/* Ends that wrap. */
	assert_int_equal(vdpa_view_xlate(f->view, 0x10000, UINT64_MAX, VHOST_MAP_RO, iov, 4),
			 -EFAULT);
	assert_int_equal(vdpa_view_xlate(f->view, UINT64_MAX, 2, VHOST_MAP_RO, iov, 4), -EFAULT);
	assert_int_equal(
		vdpa_view_xlate(f->view, 0x13000, UINT64_MAX - 0x13000 + 2, VHOST_MAP_RO, iov, 4),
		-EFAULT);
	assert_int_equal(vdpa_view_read(f->view, UINT64_MAX, iov, 2), -EFAULT);
	assert_int_equal(vdpa_view_write(f->view, UINT64_MAX, iov, 2), -EFAULT);
	vdpa_region_put(r);
}

/* The last byte of the address space can be mapped and reached. */
static void test_top(void **state)
{
	struct fixture *f = *state;
	struct vdpa_region *r = memtest_region(PAGE, 0, 0);
	struct iovec iov[2];
	char c[2];

	map(f, UINT64_MAX - 0xfff, PAGE, r, 0, VHOST_MAP_RW);
	assert_int_equal(vdpa_view_xlate(f->view, UINT64_MAX - 0xfff, PAGE, VHOST_MAP_RW, iov, 2),
			 1);
	assert_int_equal(vdpa_view_read(f->view, UINT64_MAX - 1, c, 2), 0);
	assert_int_equal(vdpa_view_read(f->view, UINT64_MAX, c, 2), -EFAULT);
	vdpa_region_put(r);
}

static void test_permissions(void **state)
{
	struct fixture *f = *state;
	struct vdpa_region *r = memtest_region(3 * PAGE, 0, 0);
	struct iovec iov[4];
	char c[2] = {1, 2};

	map(f, 0, PAGE, r, 0, VHOST_MAP_RO);
	map(f, PAGE, PAGE, r, PAGE, VHOST_MAP_WO);
	map(f, 2 * PAGE, PAGE, r, 2 * PAGE, VHOST_MAP_RW);
	assert_int_equal(vdpa_view_xlate(f->view, 0, 1, VHOST_MAP_RO, iov, 4), 1);
	assert_int_equal(vdpa_view_xlate(f->view, 0, 1, VHOST_MAP_WO, iov, 4), -EFAULT);
	assert_int_equal(vdpa_view_xlate(f->view, 0, 1, VHOST_MAP_RW, iov, 4), -EFAULT);
	assert_int_equal(vdpa_view_xlate(f->view, PAGE, 1, VHOST_MAP_RO, iov, 4), -EFAULT);
	assert_int_equal(vdpa_view_xlate(f->view, PAGE, 1, VHOST_MAP_WO, iov, 4), 1);
	assert_int_equal(vdpa_view_xlate(f->view, 2 * PAGE, 1, VHOST_MAP_RW, iov, 4), 1);
	/* The first byte may, the second may not. */
	assert_int_equal(vdpa_view_xlate(f->view, PAGE - 1, 2, VHOST_MAP_RO, iov, 4), -EFAULT);
	assert_int_equal(vdpa_view_read(f->view, PAGE - 1, c, 2), -EFAULT);
	assert_int_equal(vdpa_view_write(f->view, PAGE - 1, c, 2), -EFAULT);
	/* WO then RW: all may be written; joined, as they are neighbours here too. */
	assert_int_equal(vdpa_view_xlate(f->view, 2 * PAGE - 1, 2, VHOST_MAP_WO, iov, 4), 1);
	assert_int_equal(iov[0].iov_len, 2);
	assert_int_equal(vdpa_view_write(f->view, 2 * PAGE - 1, c, 2), 0);
	vdpa_region_put(r);
}

/* What was looked up in an old map is not found any more, however much of it was remembered. */
static void test_nothing_is_remembered(void **state)
{
	struct fixture *f = *state;
	struct vdpa_region *r = memtest_region(9 * PAGE, 0, 0);
	unsigned gone = 0;
	struct iovec iov;

	map(f, 8 * PAGE, PAGE, r, 8 * PAGE, VHOST_MAP_RW);
	for (unsigned known = 0; known <= 8; known++) {
		for (unsigned i = 0; i < 8; i++)
			map(f, i * PAGE, PAGE, r, i * PAGE, VHOST_MAP_RW);
		for (unsigned i = 0; i < known; i++)
			assert_int_equal(
				vdpa_view_xlate(f->view, i * PAGE, 1, VHOST_MAP_RO, &iov, 1), 1);
		assert_int_equal(vdpa_as_unmap(f->as, 0, 8 * PAGE - 1,
					       &(struct vdpa_done){memtest_count, &gone}),
				 0);
		memtest_run_until(f->group, &gone, known + 1);
		for (unsigned i = 0; i < 8; i++) {
			assert_int_equal(
				vdpa_view_xlate(f->view, 8 * PAGE, 1, VHOST_MAP_RO, &iov, 1), 1);
			assert_int_equal(
				vdpa_view_xlate(f->view, i * PAGE, 1, VHOST_MAP_RO, &iov, 1),
				-EFAULT);
		}
	}
	vdpa_region_put(r);
}

/* ---- looking ahead ---- */

#define MANY 13000u

/* MANY ranges of one byte, every second address from 0 on: range i is byte (i + @shift) of @r. */
static void map_many(struct fixture *f, struct vdpa_region *r, unsigned shift)
{
	vdpa_as_batch_begin(f->as);
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(vdpa_as_map(f->as, 2 * i, 1,
					     vdpa_region_addr(r, (i + shift) % PAGE), VHOST_MAP_RO,
					     r),
				 0);
	vdpa_as_batch_end(f->as);
	vdpa_view_refresh(f->view);
}

static void assert_byte(struct fixture *f, unsigned i, const char *want)
{
	struct iovec iov;

	assert_int_equal(vdpa_view_xlate(f->view, 2 * i, 1, VHOST_MAP_RO, &iov, 1), 1);
	assert_ptr_equal(iov.iov_base, want);
}

static void test_ahead(void **state)
{
	struct fixture *f = *state;
	struct vdpa_region *r = memtest_region(PAGE, 0, 0);
	const char *base = vdpa_region_base(r);
	iova_t iova[VDPA_VIEW_AHEAD + 9];
	struct iovec iov[2];

	map_many(f, r, 0);
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < VDPA_VIEW_AHEAD + 9; i++)
			iova[i] = 2ull * ((i + 1) * 7919u * (round + 1) % MANY);
		/* Too many are too many; nobody need keep to the order, or ask at all. */
		vdpa_view_ahead(f->view, iova, VDPA_VIEW_AHEAD + 9 - round);
		for (unsigned i = 0; i < VDPA_VIEW_AHEAD + 9; i++) {
			unsigned k = round % 2 ? i : VDPA_VIEW_AHEAD + 8 - i;
			unsigned at = (unsigned)(iova[k] / 2);

			assert_byte(f, at, base + at % PAGE);
		}
	}
	/* Holes, the end of all ranges, what may not be written, what goes on beyond a range. */
	for (unsigned i = 0; i < 9; i++)
		iova[i] = 1000 + i;
	iova[0] = 2 * MANY;
	iova[1] = UINT64_MAX;
	vdpa_view_ahead(f->view, iova, 9);
	for (unsigned i = 0; i < 9; i++) {
		bool hole = i < 2 || iova[i] % 2;

		assert_int_equal(vdpa_view_xlate(f->view, iova[i], 1, VHOST_MAP_RO, iov, 2),
				 hole ? -EFAULT : 1);
		assert_int_equal(vdpa_view_xlate(f->view, iova[i], 1, VHOST_MAP_WO, iov, 2),
				 -EFAULT);
		assert_int_equal(vdpa_view_xlate(f->view, iova[i], 2, VHOST_MAP_RO, iov, 2),
				 -EFAULT);
	}
	vdpa_region_put(r);
}

/* What was looked up ahead in one map is nothing in the next one. */
static void test_ahead_of_a_change(void **state)
{
	struct fixture *f = *state;
	struct vdpa_region *a = memtest_region(PAGE, 0, 0), *b = memtest_region(PAGE, 0, 0);
	iova_t iova[8];
	struct iovec iov;
	unsigned gone = 0;

	map_many(f, a, 0);
	for (unsigned i = 0; i < 8; i++)
		iova[i] = 2 * (100 + 100 * i);
	vdpa_view_ahead(f->view, iova, 8);
	assert_byte(f, 100, (char *)vdpa_region_base(a) + 100);
	/* Not yet picked up. */
	assert_int_equal(
		vdpa_as_unmap(f->as, 0, UINT64_MAX, &(struct vdpa_done){memtest_count, &gone}), 0);
	assert_byte(f, 200, (char *)vdpa_region_base(a) + 200);
	memtest_run_until(f->group, &gone, 1);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(vdpa_view_xlate(f->view, iova[i], 1, VHOST_MAP_RO, &iov, 1),
				 -EFAULT);
	vdpa_region_put(a);
	map_many(f, b, 1);
	vdpa_view_ahead(f->view, iova, 8);
	for (unsigned i = 0; i < 8; i++)
		assert_byte(f, 100 + 100 * i, (char *)vdpa_region_base(b) + 101 + 100 * i);
	vdpa_region_put(b);
}

static void count_miss(void *arg, unsigned asid, iova_t iova, uint32_t perm)
{
	(*(unsigned *)arg)++;
}

/* To look ahead is not to ask. */
static void test_ahead_reports_no_miss(void **state)
{
	struct fixture *f = *state;
	struct vdpa_region *r = memtest_region(PAGE, 0, 0);
	iova_t iova[3] = {1, 3, 2 * MANY + 5};
	unsigned misses = 0;
	struct iovec iov;

	map_many(f, r, 0);
	assert_int_equal(vdpa_as_set_miss(f->as, count_miss, &misses), 0);
	vdpa_view_refresh(f->view);
	vdpa_view_ahead(f->view, iova, 3);
	assert_int_equal(misses, 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(vdpa_view_xlate(f->view, iova[i], 1, VHOST_MAP_RO, &iov, 1),
				 -EAGAIN);
	assert_int_equal(misses, 3);
	vdpa_region_put(r);
}

/* Every byte in a range of its own, in an order of their own. */
static void test_scattered(void **state)
{
	struct fixture *f = *state;
	struct vdpa_region *r = memtest_region(PAGE, 0, 0);
	char *base = vdpa_region_base(r), buf[64], back[64];
	struct iovec iov[64];

	vdpa_as_batch_begin(f->as);
	for (unsigned i = 0; i < 64; i++)
		map(f, 0x1000 + i, 1, r, i * 37 % 64, VHOST_MAP_RW);
	vdpa_as_batch_end(f->as);
	/* Nothing of a batch is seen before its end, all of it after. */
	assert_true(vdpa_view_refresh(f->view));
	assert_int_equal(vdpa_view_xlate(f->view, 0x1000, 64, VHOST_MAP_RO, iov, 64), 64);
	for (unsigned i = 0; i < 64; i++) {
		assert_ptr_equal(iov[i].iov_base, base + i * 37 % 64);
		assert_int_equal(iov[i].iov_len, 1);
		buf[i] = (char)(i + 50);
	}
	assert_int_equal(vdpa_view_xlate(f->view, 0x1000, 64, VHOST_MAP_RO, iov, 63), -E2BIG);
	assert_int_equal(vdpa_view_write(f->view, 0x1000, buf, 64), 0);
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(base[i * 37 % 64], i + 50);
	assert_int_equal(vdpa_view_read(f->view, 0x1000, back, 64), 0);
	assert_memory_equal(buf, back, 64);
	vdpa_region_put(r);
}

static void test_join(void **state)
{
	struct fixture *f = *state;
	struct vdpa_region *r = memtest_region(4 * PAGE, 0, 0);
	struct iovec iov[4];

	map(f, 0, PAGE, r, 0, VHOST_MAP_RW);
	map(f, PAGE, PAGE, r, PAGE, VHOST_MAP_RW);
	map(f, 2 * PAGE, PAGE, r, 3 * PAGE, VHOST_MAP_RW);
	map(f, 3 * PAGE, PAGE, r, 2 * PAGE, VHOST_MAP_RW);
	assert_int_equal(vdpa_view_xlate(f->view, 10, 4 * PAGE - 20, VHOST_MAP_RW, iov, 4), 3);
	assert_int_equal(iov[0].iov_len, 2 * PAGE - 10);
	assert_int_equal(iov[1].iov_len, PAGE);
	assert_int_equal(iov[2].iov_len, PAGE - 10);
	vdpa_region_put(r);
}

/* ---- memory by message ---- */

struct remote {
	char mem[PAGE];
	unsigned reads, writes;
	int fail;
};

static int remote_read(void *arg, uint64_t off, void *buf, size_t len)
{
	struct remote *remote = arg;

	assert_true(off + len <= PAGE);
	remote->reads++;
	memcpy(buf, remote->mem + off, len);
	return remote->fail;
}

static int remote_write(void *arg, uint64_t off, const void *buf, size_t len)
{
	struct remote *remote = arg;

	assert_true(off + len <= PAGE);
	remote->writes++;
	if (!remote->fail)
		memcpy(remote->mem + off, buf, len);
	return remote->fail;
}

static const struct vdpa_region_ops remote_ops = {remote_read, remote_write, NULL};

static void test_message(void **state)
{
	struct fixture *f = *state;
	struct vdpa_region *r = memtest_region(PAGE, 0, 0), *m;
	struct remote remote = {.mem = "0123456789"};
	char *base = vdpa_region_base(r), buf[PAGE];
	struct iovec iov[4];

	assert_int_equal(vdpa_region_by_message(&remote_ops, &remote, PAGE, PAGE, &m), 0);
	map(f, 0, PAGE, r, 0, VHOST_MAP_RW);
	map(f, PAGE, PAGE - 8, m, 8, VHOST_MAP_RW);
	assert_int_equal(vdpa_view_xlate(f->view, PAGE, 1, VHOST_MAP_RO, iov, 4), -EREMOTE);
	assert_int_equal(vdpa_view_xlate(f->view, PAGE - 1, 2, VHOST_MAP_RO, iov, 4), -EREMOTE);
	/* Across both kinds. */
	base[PAGE - 1] = 'x';
	assert_int_equal(vdpa_view_read(f->view, PAGE - 1, buf, 3), 0);
	assert_memory_equal(buf, "x89", 3);
	assert_int_equal(vdpa_view_write(f->view, PAGE - 2, "abcd", 4), 0);
	assert_memory_equal(base + PAGE - 2, "ab", 2);
	assert_memory_equal(remote.mem, "01234567cd", 10);
	/* A hole behind it: an error, and nothing was begun. */
	remote.reads = remote.writes = 0;
	assert_int_equal(vdpa_view_read(f->view, PAGE - 1, buf, PAGE), -EFAULT);
	assert_int_equal(vdpa_view_write(f->view, PAGE - 1, buf, PAGE), -EFAULT);
	assert_int_equal(remote.reads + remote.writes, 0);
	assert_int_equal(base[PAGE - 1], 'b');
	/* Its own error is handed on; a part is no success. */
	remote.fail = -EPIPE;
	assert_int_equal(vdpa_view_read(f->view, PAGE - 1, buf, 2), -EPIPE);
	assert_int_equal(vdpa_view_write(f->view, PAGE - 1, buf, 2), -EPIPE);
	/* A map must stay inside the region. */
	assert_int_equal(vdpa_as_map(f->as, 0x10000, PAGE, 1, VHOST_MAP_RW, m), -EINVAL);
	vdpa_region_put(r);
	vdpa_region_put(m);
	/* While @remote lives. */
	assert_int_equal(vdpa_as_unmap(f->as, 0, UINT64_MAX, NULL), 0);
	memtest_settle(f->group);
}

/* ---- dirty log ---- */

static uint64_t take(struct vdpa_dirty_log *log)
{
	uint64_t bits;

	assert_int_equal(vdpa_dirty_log_sync(log, 0, 64, &bits, true), 0);
	return bits;
}

static void test_dirty(void **state)
{
	struct fixture *f = *state;
	/* GPAs, IOVAs and addresses here are three different things. */
	struct vdpa_region *a = memtest_region(4 * PAGE, 20 * PAGE, 0);
	struct vdpa_region *b = memtest_region(4 * PAGE, 40 * PAGE, 0), *m;
	struct remote remote = {.mem = ""};
	char *base = vdpa_region_base(a), *other = vdpa_region_base(b), buf[2 * PAGE] = {0};
	struct vdpa_dirty_log *log;

	assert_int_equal(vdpa_region_by_message(&remote_ops, &remote, PAGE, 50 * PAGE, &m), 0);
	map(f, 0x100000, 4 * PAGE, a, 0, VHOST_MAP_RW);
	map(f, 0x100000 + 4 * PAGE, 3 * PAGE, b, PAGE, VHOST_MAP_RW);
	map(f, 0x200000, PAGE, m, 0, VHOST_MAP_RW);
	/* Without a log nothing happens. */
	vdpa_view_dirty(f->view, base, 1);
	assert_int_equal(vdpa_dirty_log_new(64 * PAGE, &log), 0);
	assert_int_equal(vdpa_as_set_dirty_log(f->as, log, NULL), 0);
	vdpa_view_refresh(f->view);
	assert_int_equal(take(log), 0);
	assert_int_equal(vdpa_view_write(f->view, 0x100000 + PAGE + 5, buf, 1), 0);
	assert_int_equal(take(log), 1ull << 21);
	assert_int_equal(vdpa_view_write(f->view, 0x100000 + 2 * PAGE - 1, buf, 2), 0);
	assert_int_equal(take(log), 3ull << 21);
	/* From one region into the next. */
	assert_int_equal(vdpa_view_write(f->view, 0x100000 + 4 * PAGE - 1, buf, 2), 0);
	assert_int_equal(take(log), 1ull << 23 | 1ull << 41);
	assert_int_equal(vdpa_view_write(f->view, 0x200000, buf, 1), 0);
	assert_int_equal(take(log), 1ull << 50);
	/* Reading and failing leave no mark. */
	assert_int_equal(vdpa_view_read(f->view, 0x100000, buf, PAGE), 0);
	assert_int_equal(vdpa_view_write(f->view, 0x100000 + 7 * PAGE - 1, buf, 2), -EFAULT);
	assert_int_equal(take(log), 0);
	/* By address. */
	vdpa_view_dirty(f->view, base + 3 * PAGE, 0);
	vdpa_view_dirty(f->view, base + 2 * PAGE - 1, 1);
	vdpa_view_dirty(f->view, other + 3 * PAGE - 1, 2);
	assert_int_equal(take(log), 1ull << 21 | 3ull << 42);
	vdpa_view_dirty(f->view, buf, sizeof(buf)); /* nobody's */
	assert_int_equal(take(log), 0);
	assert_int_equal(vdpa_as_set_dirty_log(f->as, NULL, NULL), 0);
	vdpa_view_refresh(f->view);
	assert_int_equal(vdpa_view_write(f->view, 0x100000, buf, 1), 0);
	assert_int_equal(take(log), 0);
	vdpa_dirty_log_put(log);
	vdpa_region_put(a);
	vdpa_region_put(b);
	vdpa_region_put(m);
	assert_int_equal(vdpa_as_unmap(f->as, 0, UINT64_MAX, NULL), 0);
	memtest_settle(f->group);
}

/* Two regions over the same memory, at two guest addresses: both are dirty. */
static void test_dirty_alias(void **state)
{
	struct fixture *f = *state;
	struct vdpa_region *a, *b;
	struct vdpa_dirty_log *log;
	static char mem[4 * PAGE];

	assert_int_equal(vdpa_region_wrap(mem, 4 * PAGE, 8 * PAGE, &a), 0);
	assert_int_equal(vdpa_region_wrap(mem + PAGE, 2 * PAGE, 32 * PAGE, &b), 0);
	map(f, 0, PAGE, a, 0, VHOST_MAP_RW);
	map(f, PAGE, PAGE, b, 0, VHOST_MAP_RW);
	assert_int_equal(vdpa_dirty_log_new(64 * PAGE, &log), 0);
	assert_int_equal(vdpa_as_set_dirty_log(f->as, log, NULL), 0);
	vdpa_view_refresh(f->view);
	vdpa_view_dirty(f->view, mem + PAGE, 1);
	assert_int_equal(take(log), 1ull << 9 | 1ull << 32);
	vdpa_view_dirty(f->view, mem, 4 * PAGE);
	assert_int_equal(take(log), 15ull << 8 | 3ull << 32);
	/* Either may go first. */
	assert_int_equal(vdpa_as_unmap(f->as, 0, 0, NULL), 0);
	memtest_settle(f->group);
	vdpa_as_batch_begin(f->as);
	map(f, 5 * PAGE, PAGE, b, 0, VHOST_MAP_RW);
	vdpa_as_batch_end(f->as);
	vdpa_view_refresh(f->view);
	vdpa_view_dirty(f->view, mem + PAGE, 1);
	assert_int_equal(take(log), 1ull << 32);
	assert_int_equal(vdpa_as_unmap(f->as, 0, UINT64_MAX, NULL), 0);
	memtest_settle(f->group);
	vdpa_region_put(a);
	vdpa_region_put(b);
	vdpa_dirty_log_put(log);
}

/* Memory that a trusted driver shares as it is: IOVA and address are the same. */
static void test_identity(void **state)
{
	struct fixture *f = *state;
	struct vdpa_region *all;
	struct iovec iov[2];
	char mem[16], buf[16] = "identity mapping";

	assert_int_equal(vdpa_region_wrap(NULL, UINT64_MAX, 0, &all), 0);
	map(f, 0, UINT64_MAX, all, 0, VHOST_MAP_RW);
	assert_int_equal(vdpa_view_write(f->view, (uintptr_t)mem, buf, 16), 0);
	assert_memory_equal(mem, buf, 16);
	assert_int_equal(vdpa_view_xlate(f->view, (uintptr_t)mem, 16, VHOST_MAP_RW, iov, 2), 1);
	assert_ptr_equal(iov[0].iov_base, mem);
	vdpa_region_put(all);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_edges),
		TEST(test_top),
		TEST(test_permissions),
		TEST(test_nothing_is_remembered),
		TEST(test_ahead),
		TEST(test_ahead_of_a_change),
		TEST(test_ahead_reports_no_miss),
		TEST(test_scattered),
		TEST(test_join),
		TEST(test_message),
		TEST(test_dirty),
		TEST(test_dirty_alias),
		TEST(test_identity),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
