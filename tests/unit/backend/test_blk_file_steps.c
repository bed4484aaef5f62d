// SPDX-License-Identifier: BSD-3-Clause
/* The steps of the file backend, with results that no file system of a test machine gives. */
#include "blk_backend.h"

#include <linux/falloc.h>

#include "backend/blk_file.h"

struct steps {
	struct file_disk disk;
	struct file_queue fq;
	struct file_io io;
	struct disk_io req;
	uint8_t buf[16384];
};

static void begin(struct steps *s, enum blk_op op, uint32_t flags, uint64_t len)
{
	disk_prep(&s->req, op, 0, s->buf, len);
	s->req.req.flags = flags;
	blk_file_io_begin(&s->fq, &s->io, &s->req.req);
}

static void setup(struct steps *s)
{
	memset(s, 0, sizeof(*s));
	s->fq.disk = &s->disk;
	s->disk.fd = 100;
	s->disk.direct_fd = -1;
	s->disk.mem_align = s->disk.offset_align = 512;
	s->disk.punch = true;
	atomic_store(&s->disk.zero_range, true);
	atomic_store(&s->disk.writeback, true);
}

static struct io_uring_sqe prepare(struct steps *s)
{
	struct io_uring_sqe sqe;

	memset(&sqe, 0, sizeof(sqe));
	blk_file_io_prepare(&s->fq, &s->io, &sqe);
	return sqe;
}

/* After one flush failed, no later one may say that all is well. */
static void test_flush_error_stays(void **state)
{
	struct steps s;
	int result;

	setup(&s);
	begin(&s, BLK_FLUSH, 0, 0);
	assert_false(blk_file_io_trivial(&s.fq, &s.io, &result));
	assert_int_equal(prepare(&s).opcode, IORING_OP_FSYNC);
	assert_int_equal(blk_file_io_advance(&s.fq, &s.io, -EIO), -EIO);
	begin(&s, BLK_FLUSH, 0, 0);
	assert_true(blk_file_io_trivial(&s.fq, &s.io, &result));
	assert_int_equal(result, -EIO);
}

static void test_retries_end(void **state)
{
	struct steps s;

	setup(&s);
	begin(&s, BLK_WRITE, 0, 4096);
	for (unsigned i = 0; i < FILE_RETRIES; i++)
		assert_int_equal(blk_file_io_advance(&s.fq, &s.io, i & 1 ? -EINTR : -EAGAIN), 1);
	assert_int_equal(blk_file_io_advance(&s.fq, &s.io, -EAGAIN), -EAGAIN);
}

/* A cancelled step is not tried again, whatever its error. */
static void test_cancelled(void **state)
{
	struct steps s;

	setup(&s);
	begin(&s, BLK_WRITE, 0, 4096);
	s.io.cancelled = true;
	assert_int_equal(blk_file_io_advance(&s.fq, &s.io, -EINTR), -ECANCELED);
}

static void test_short(void **state)
{
	struct steps s;
	struct io_uring_sqe sqe;

	setup(&s);
	begin(&s, BLK_WRITE, 0, 4096);
	prepare(&s);
	assert_int_equal(blk_file_io_advance(&s.fq, &s.io, 1000), 1);
	sqe = prepare(&s);
	assert_int_equal(sqe.opcode, IORING_OP_WRITE);
	assert_int_equal(sqe.off, 1000);
	assert_ptr_equal((void *)(uintptr_t)sqe.addr, s.buf + 1000);
	assert_int_equal(sqe.len, 3096);
	assert_int_equal(blk_file_io_advance(&s.fq, &s.io, 3096), 0);
	/* A write that writes nothing is an error; a read that reads nothing is the end of the
	 * file. */
	begin(&s, BLK_WRITE, 0, 4096);
	assert_int_equal(blk_file_io_advance(&s.fq, &s.io, 0), -EIO);
	memset(s.buf, 1, sizeof(s.buf));
	begin(&s, BLK_READ, 0, 4096);
	assert_int_equal(blk_file_io_advance(&s.fq, &s.io, 100), 1);
	assert_int_equal(blk_file_io_advance(&s.fq, &s.io, 0), 0);
	assert_int_equal(s.buf[99], 1);
	assert_true(disk_is_zero(s.buf + 100, 3996));
	assert_int_equal(s.buf[4096], 1);
}

static void test_sync_writes(void **state)
{
	struct steps s;

	setup(&s);
	begin(&s, BLK_WRITE, 0, 512);
	assert_int_equal(prepare(&s).rw_flags, 0);
	begin(&s, BLK_WRITE, BLK_F_FUA, 512);
	assert_int_equal(prepare(&s).rw_flags, RWF_DSYNC);
	atomic_store(&s.disk.writeback, false);
	begin(&s, BLK_WRITE, 0, 512);
	assert_int_equal(prepare(&s).rw_flags, RWF_DSYNC);
	/* Zeroes have no such flag: they are flushed behind. */
	begin(&s, BLK_WRITE_ZEROES, 0, 512);
	assert_int_equal(prepare(&s).opcode, IORING_OP_FALLOCATE);
	assert_int_equal(blk_file_io_advance(&s.fq, &s.io, 0), 1);
	assert_int_equal(prepare(&s).opcode, IORING_OP_FSYNC);
	assert_int_equal(blk_file_io_advance(&s.fq, &s.io, 0), 0);
}

/* Direct I/O that a file system refuses after all goes through the page cache. */
static void test_direct_refused(void **state)
{
	struct steps s;

	setup(&s);
	s.disk.direct_fd = 101;
	s.disk.mem_align = 1;
	begin(&s, BLK_READ, 0, 4096);
	assert_int_equal(prepare(&s).fd, 101);
	assert_int_equal(blk_file_io_advance(&s.fq, &s.io, -EINVAL), 1);
	assert_int_equal(prepare(&s).fd, 100);
	assert_int_equal(blk_file_io_advance(&s.fq, &s.io, -EINVAL), -EINVAL);
	blk_file_io_end(&s.fq, &s.io);
}

static void test_bounce(void **state)
{
	struct steps s;
	struct io_uring_sqe sqe;

	setup(&s);
	s.disk.direct_fd = 101;
	s.disk.mem_align = 4096;
	disk_prep(&s.req, BLK_READ, 0, s.buf + 1, 8192);
	blk_file_io_begin(&s.fq, &s.io, &s.req.req);
	sqe = prepare(&s);
	assert_int_equal(sqe.fd, 101);
	assert_int_equal(sqe.addr % 4096, 0);
	memset((void *)(uintptr_t)sqe.addr, 0x33, 8192);
	assert_int_equal(blk_file_io_advance(&s.fq, &s.io, 8192), 0);
	assert_int_equal(s.buf[1], 0x33);
	assert_int_equal(s.buf[8192], 0x33);
	assert_int_equal(s.buf[8193], 0);
	blk_file_io_end(&s.fq, &s.io);
	assert_int_equal(s.fq.nbounces, 1);
	while (s.fq.nbounces)
		free(s.fq.bounces[--s.fq.nbounces]);
}

static void test_zero_fallback(void **state)
{
	struct steps s;
	struct io_uring_sqe sqe;
	uint64_t at = 0;

	setup(&s);
	begin(&s, BLK_WRITE_ZEROES, 0, 3 * 1024 * 1024 + 512);
	assert_int_equal(prepare(&s).len, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE);
	assert_int_equal(blk_file_io_advance(&s.fq, &s.io, -EOPNOTSUPP), 1);
	for (int r = 1; r == 1; at += s.io.step_bytes) {
		sqe = prepare(&s);
		assert_int_equal(sqe.opcode, IORING_OP_WRITEV);
		assert_int_equal(sqe.off, at);
		r = blk_file_io_advance(&s.fq, &s.io, (int)s.io.step_bytes);
		assert_true(r >= 0);
	}
	assert_int_equal(at, 3 * 1024 * 1024 + 512);
	/* It is not asked for again; a hole still is. */
	begin(&s, BLK_WRITE_ZEROES, 0, 512);
	assert_int_equal(prepare(&s).opcode, IORING_OP_WRITEV);
	begin(&s, BLK_WRITE_ZEROES, BLK_F_UNMAP, 512);
	assert_int_equal(prepare(&s).len, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
	/* A discard is a hint. */
	begin(&s, BLK_DISCARD, 0, 512);
	assert_int_equal(blk_file_io_advance(&s.fq, &s.io, -EINVAL), 0);
	begin(&s, BLK_DISCARD, 0, 512);
	assert_int_equal(blk_file_io_advance(&s.fq, &s.io, -EIO), -EIO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flush_error_stays),
		cmocka_unit_test(test_retries_end),
		cmocka_unit_test(test_cancelled),
		cmocka_unit_test(test_short),
		cmocka_unit_test(test_sync_writes),
		cmocka_unit_test(test_direct_refused),
		cmocka_unit_test(test_bounce),
		cmocka_unit_test(test_zero_fallback),
	};

	return cmocka_run_group_tests_name("blk file steps", tests, NULL, NULL);
}
