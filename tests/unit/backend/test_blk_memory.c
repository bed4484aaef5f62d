// SPDX-License-Identifier: BSD-3-Clause
/* The disks without a file: ram and null; and finding and opening backends at all. */
#include "blk_backend.h"

static void test_ram(void **state)
{
	static uint8_t buf[65536], back[65536];
	struct iovec cut[3] = {{back, 1}, {back + 1, 4094}, {back + 4095, 65536 - 4095}};
	struct disk d;

	disk_open(&d, "ram", (struct vdpa_attr[]){{"size", "1M"}, {0}});
	assert_int_equal(d.info.capacity_bytes, 1 << 20);
	assert_true(d.info.discard && d.info.write_zeroes && !d.info.read_only);
	disk_pattern(buf, sizeof(buf), 1);
	assert_int_equal(disk_do(&d, BLK_WRITE, 512, buf, sizeof(buf)), 0);
	assert_int_equal(disk_do_iov(&d, BLK_READ, 512, cut, 3), 0);
	assert_memory_equal(buf, back, sizeof(buf));
	assert_int_equal(disk_do(&d, BLK_FLUSH, 0, NULL, 0), 0);
	/* Edges are kept, pages and parts of pages are zero. */
	assert_int_equal(disk_do_flags(&d, BLK_DISCARD, 0, 1024, 20 * 512), 0);
	assert_int_equal(disk_do(&d, BLK_READ, 512, back, sizeof(back)), 0);
	assert_memory_equal(buf, back, 512);
	assert_true(disk_is_zero(back + 512, 20 * 512));
	assert_memory_equal(buf + 21 * 512, back + 21 * 512, sizeof(buf) - 21 * 512);
	assert_int_equal(disk_do_flags(&d, BLK_WRITE_ZEROES, 0, 512, 512), 0);
	assert_int_equal(disk_do_flags(&d, BLK_WRITE_ZEROES, BLK_F_UNMAP, 512 * 100, 512), 0);
	assert_int_equal(disk_do(&d, BLK_READ, 512, back, 512), 0);
	assert_true(disk_is_zero(back, 512));
	assert_int_equal(disk_do(&d, BLK_READ, 512 * 100, back, 512), 0);
	assert_true(disk_is_zero(back, 512));
	/* The last sector. */
	assert_int_equal(disk_do(&d, BLK_WRITE, (1 << 20) - 512, buf, 512), 0);
	assert_int_equal(disk_do_flags(&d, BLK_DISCARD, 0, (1 << 20) - 512, 512), 0);
	disk_close(&d);
}

#define BIG (8u << 20)

/* A queue moves a slice per turn of its loop, whatever is asked of it: others have theirs. */
static void test_ram_turns(void **state)
{
	uint8_t *buf = malloc(BIG), *back = malloc(BIG);
	struct disk_io io, small;
	unsigned turns = 0, moved = 0, before;
	struct disk d;

	disk_open(&d, "ram", (struct vdpa_attr[]){{"size", "16M"}, {0}});
	disk_pattern(buf, BIG, 3);
	assert_int_equal(disk_do(&d, BLK_WRITE, 0, buf, BIG), 0);
	memset(back, 0, BIG);
	disk_prep(&io, BLK_READ, 0, back, BIG);
	disk_prep(&small, BLK_FLUSH, 0, NULL, 0);
	disk_submit(&d, &io);
	disk_submit(&d, &small);
	while (!io.done) {
		before = moved;
		while (moved < BIG && !memcmp(back + moved, buf + moved, 65536))
			moved += 65536;
		assert_true(moved - before <= 1 << 20);
		assert_true(turns++ < 10);
		vdpa_loop_run_once(d.loop, 0);
	}
	assert_int_equal(turns, 7);
	assert_memory_equal(back, buf, BIG);
	assert_int_equal(disk_wait(&d, &small), 0);
	/* Zeroes that are written take as long. */
	disk_prep(&io, BLK_WRITE_ZEROES, 0, NULL, BIG);
	disk_submit(&d, &io);
	for (turns = 0; !io.done; turns++)
		vdpa_loop_run_once(d.loop, 0);
	assert_int_equal(turns, 7);
	assert_int_equal(disk_do(&d, BLK_READ, 0, back, BIG), 0);
	assert_true(disk_is_zero(back, BIG));
	/* And can be called off. */
	disk_prep(&io, BLK_WRITE, 0, buf, BIG);
	disk_submit(&d, &io);
	assert_false(io.done);
	d.be->ops->cancel(d.q);
	assert_true(io.done);
	assert_int_equal(io.result, -ECANCELED);
	assert_int_equal(vdpa_loop_run_once(d.loop, 0), 0);
	disk_close(&d);
	free(buf);
	free(back);
}

/* A discard of gigabytes, page by page too: meanwhile another queue of the loop is served. */
static void test_punch_turns(void **state)
{
	uint8_t *buf = malloc(65536), *back = malloc(65536);
	struct disk_io io, other;
	struct blk_request *req = &other.req;
	struct blk_queue *q2;
	unsigned turns = 0;
	struct disk d;

	disk_open(&d, "ram", (struct vdpa_attr[]){{"size", "4G"}, {0}});
	assert_int_equal(d.be->ops->queue_open(d.be, d.loop, 64, &q2), 0);
	memset(buf, 1, 65536);
	assert_int_equal(disk_do(&d, BLK_WRITE, 512, buf, 65536), 0);
	assert_int_equal(disk_do(&d, BLK_WRITE, (1u << 30) - 32768, buf, 65536), 0);
	disk_prep(&io, BLK_DISCARD, 1024, NULL, 1u << 30);
	disk_submit(&d, &io);
	while (!io.done) {
		disk_prep(&other, BLK_WRITE, 2ull << 30, buf, 512);
		d.be->ops->submit(q2, &req, 1);
		assert_true(other.done);
		assert_true(turns++ < 100);
		vdpa_loop_run_once(d.loop, 0);
	}
	assert_int_equal(io.result, 0);
	assert_true(turns >= 63);
	assert_int_equal(disk_do(&d, BLK_READ, 512, back, 65536), 0);
	assert_memory_equal(back, buf, 512);
	assert_true(disk_is_zero(back + 512, 65024));
	assert_int_equal(disk_do(&d, BLK_READ, (1u << 30) - 32768, back, 65536), 0);
	assert_true(disk_is_zero(back, 32768 + 1024));
	assert_memory_equal(back + 33792, buf, 65536 - 33792);
	d.be->ops->queue_close(q2);
	disk_close(&d);
	free(buf);
	free(back);
}

static long resident_pages(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	long size = 0, resident = 0;

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%ld %ld", &size, &resident), 2);
	fclose(f);
	return resident;
}

/* A discard gives memory back. A size that ThreadSanitizer has address space for, wherever else it
 * put things. */
static void test_ram_sparse(void **state)
{
	uint8_t *buf = malloc(16 << 20);
	struct disk d;
	long before, full, after;

	disk_open(&d, "ram", (struct vdpa_attr[]){{"size", "64G"}, {0}});
	memset(buf, 1, 16 << 20);
	before = resident_pages();
	assert_int_equal(disk_do(&d, BLK_WRITE, 32ull << 30, buf, 16 << 20), 0);
	full = resident_pages();
	assert_int_equal(disk_do_flags(&d, BLK_DISCARD, 0, 32ull << 30, 16 << 20), 0);
	after = resident_pages();
	assert_true(full - before > 3000);
	assert_true(full - after > 3000);
	disk_close(&d);
	free(buf);
}

/* Is there memory of ours for which 2 MiB pages were asked? */
static bool asks_for_huge_pages(void)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	bool found = false;
	char line[512];

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		found |= !strncmp(line, "VmFlags:", 8) && strstr(line, " hg");
	fclose(f);
	return found;
}

/* The same disk, of larger pages; a discard of a part of one leaves the rest. */
static void test_ram_huge(void **state)
{
	uint8_t *buf = malloc(BIG), *back = malloc(BIG);
	bool possible = !access("/sys/kernel/mm/transparent_hugepage/enabled", F_OK);
	struct disk d;

	disk_open(&d, "ram", (struct vdpa_attr[]){{"size", "16M"}, {0}});
	assert_false(asks_for_huge_pages());
	disk_close(&d);
	disk_open(&d, "ram", (struct vdpa_attr[]){{"size", "16M"}, {"huge_pages", "on"}, {0}});
	assert_true(asks_for_huge_pages() == possible);
	disk_pattern(buf, BIG, 5);
	assert_int_equal(disk_do(&d, BLK_WRITE, 1 << 20, buf, BIG), 0);
	assert_int_equal(disk_do_flags(&d, BLK_DISCARD, 0, 2 << 20, 1 << 20), 0);
	assert_int_equal(disk_do(&d, BLK_READ, 1 << 20, back, BIG), 0);
	memset(buf + (1 << 20), 0, 1 << 20);
	assert_memory_equal(back, buf, BIG);
	disk_close(&d);
	free(buf);
	free(back);
}

/* Disks that caches cannot hold are written another way: whatever begins and ends where. */
static void test_ram_large(void **state)
{
	static uint8_t buf[32768 + 3], back[32768];
	struct disk d;

	disk_open(&d, "ram", (struct vdpa_attr[]){{"size", "64M"}, {0}});
	for (unsigned i = 0; i < 64; i++) {
		uint64_t at = 4096 * 17 + 512 * (i % 5), len = 512 * (i + 1);

		disk_pattern(buf, sizeof(buf), i);
		assert_int_equal(disk_do(&d, BLK_WRITE, at, buf + i % 4, len), 0);
		assert_int_equal(disk_do(&d, BLK_READ, at, back, len), 0);
		assert_memory_equal(buf + i % 4, back, len);
	}
	/* What is before the first and behind the last of them. */
	assert_int_equal(disk_do(&d, BLK_READ, 4096 * 16, back, 4096), 0);
	assert_true(disk_is_zero(back, 4096));
	assert_int_equal(disk_do(&d, BLK_READ, 4096 * 26, back, 4096), 0);
	assert_true(disk_is_zero(back, 4096));
	disk_close(&d);
}

static void test_null(void **state)
{
	uint8_t buf[1024];
	struct disk d;

	disk_open(&d, "null", NULL);
	assert_int_equal(d.info.capacity_bytes, 1ull << 40);
	memset(buf, 7, sizeof(buf));
	assert_int_equal(disk_do(&d, BLK_WRITE, 0, buf, sizeof(buf)), 0);
	assert_int_equal(disk_do(&d, BLK_READ, 0, buf, sizeof(buf)), 0);
	assert_true(disk_is_zero(buf, sizeof(buf)));
	assert_int_equal(disk_do_flags(&d, BLK_DISCARD, 0, 0, 512), 0);
	assert_int_equal(disk_do_flags(&d, BLK_WRITE_ZEROES, 0, 0, 512), 0);
	disk_close(&d);
}

static void test_null_turns(void **state)
{
	uint8_t *buf = malloc(BIG);
	struct disk_io io;
	unsigned turns = 0;
	struct disk d;

	disk_open(&d, "null", NULL);
	memset(buf, 7, BIG);
	disk_prep(&io, BLK_READ, 0, buf, BIG);
	disk_submit(&d, &io);
	for (; !io.done; turns++)
		vdpa_loop_run_once(d.loop, 0);
	assert_int_equal(turns, 7);
	assert_true(disk_is_zero(buf, BIG));
	/* What vanishes takes no time. */
	disk_prep(&io, BLK_WRITE, 0, buf, BIG);
	disk_submit(&d, &io);
	assert_true(io.done);
	disk_close(&d);
	disk_open(&d, "null", (struct vdpa_attr[]){{"read_zeroes", "off"}, {0}});
	memset(buf, 7, BIG);
	assert_int_equal(disk_do(&d, BLK_READ, 0, buf, BIG), 0);
	assert_int_equal(buf[0], 7);
	assert_int_equal(buf[BIG - 1], 7);
	disk_close(&d);
	free(buf);
}

/* Whatever touches the bad piece fails, at once or in turns; nothing else does, and nothing of it
 * is moved. */
static void bad_piece(const char *backend)
{
	static const struct {
		uint64_t offset, len;
		int result;
	} reads[] = {
		{0, 65536, 0},		 {65536 - 512, 1024, -EIO},
		{65536, 512, -EIO},	 {69632 - 512, 512, -EIO},
		{69632, 65536, 0},	 {0, BIG, -EIO},
		{69632, BIG - 69632, 0},
	};
	uint8_t *buf = malloc(BIG);
	struct disk d;

	disk_open(&d, backend,
		  (struct vdpa_attr[]){
			  {"size", "8M"}, {"bad_first", "64K"}, {"bad_bytes", "4K"}, {0}});
	for (unsigned i = 0; i < sizeof(reads) / sizeof(reads[0]); i++) {
		memset(buf, 7, BIG);
		assert_int_equal(disk_do(&d, BLK_READ, reads[i].offset, buf, reads[i].len),
				 reads[i].result);
		assert_int_equal(disk_do(&d, BLK_WRITE, reads[i].offset, buf, reads[i].len),
				 reads[i].result);
	}
	assert_int_equal(disk_do_flags(&d, BLK_DISCARD, 0, 0, BIG), -EIO);
	assert_int_equal(disk_do(&d, BLK_FLUSH, 0, NULL, 0), 0);
	disk_close(&d);
	free(buf);
}

static void test_bad_piece(void **state)
{
	bad_piece("ram");
	bad_piece("null");
}

static void test_find(void **state)
{
	struct vdpa_error err;
	struct disk d;

	assert_non_null(blk_backend_find("ram"));
	assert_null(blk_backend_find("tape"));
	assert_non_null(net_backend_find("loopback"));
	assert_null(net_backend_find(""));
	assert_int_equal(disk_try_open(&d, "tape", NULL, &err), -ENOENT);
	assert_non_null(strstr(err.msg, "ram"));
	assert_int_equal(disk_try_open(&d, "ram", (struct vdpa_attr[]){{"sise", "1M"}, {0}}, &err),
			 -EINVAL);
	assert_int_equal(disk_try_open(&d, "ram", (struct vdpa_attr[]){{"size", "513"}, {0}}, &err),
			 -EINVAL);
	assert_int_equal(
		disk_try_open(&d, "null", (struct vdpa_attr[]){{"size", "513"}, {0}}, &err),
		-EINVAL);
	for (unsigned i = 0; blk_backend_list()[i]; i++)
		assert_non_null(blk_backend_list()[i]->help);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ram),	    cmocka_unit_test(test_ram_turns),
		cmocka_unit_test(test_ram_sparse),  cmocka_unit_test(test_ram_huge),
		cmocka_unit_test(test_ram_large),   cmocka_unit_test(test_null),
		cmocka_unit_test(test_punch_turns), cmocka_unit_test(test_null_turns),
		cmocka_unit_test(test_bad_piece),   cmocka_unit_test(test_find),
	};

	return cmocka_run_group_tests_name("blk memory", tests, NULL, NULL);
}
