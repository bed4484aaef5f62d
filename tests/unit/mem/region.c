// SPDX-License-Identifier: BSD-3-Clause
/* Regions: what is mapped, what is refused, who owns what. */
#include "memtest.h"

#include <fcntl.h>
#include <stdio.h>

#include "../alloc_fail.h"
#include "../open_fds.h"

static void test_map(void **state)
{
	unsigned fds = open_fds();
	int fd = memtest_file(4 * PAGE), flags;
	struct vdpa_region *region;
	uint64_t offset;
	char byte = 0;

	assert_int_equal(vdpa_region_map(fd, PAGE, 2 * PAGE, 0x100000, RW, &region, NULL), 0);
	assert_int_equal(vdpa_region_size(region), 2 * PAGE);
	assert_int_equal(vdpa_region_gpa(region), 0x100000);
	assert_int_not_equal(vdpa_region_fd(region, &offset), fd);
	assert_int_equal(offset, PAGE);
	flags = fcntl(vdpa_region_fd(region, NULL), F_GETFD);
	assert_true(flags & FD_CLOEXEC);
	assert_int_equal(vdpa_region_addr(region, 8), (uintptr_t)vdpa_region_base(region) + 8);
	/* Shared, at the right offset, and independent of the caller's descriptor. */
	((char *)vdpa_region_base(region))[5] = 77;
	assert_int_equal(pread(fd, &byte, 1, PAGE + 5), 1);
	assert_int_equal(byte, 77);
	close(fd);
	((char *)vdpa_region_base(region))[2 * PAGE - 1] = 1;
	assert_ptr_equal(vdpa_region_get(region), region);
	vdpa_region_put(region);
	((char *)vdpa_region_base(region))[0] = 1;
	vdpa_region_put(region);
	vdpa_region_put(NULL);
	assert_null(vdpa_region_get(NULL));
	assert_int_equal(open_fds(), fds);
}

static void test_unaligned(void **state)
{
	/* Files need not be a multiple of the page: ring memory of real clients is not. */
	int fd = memtest_file(0xec10);
	struct vdpa_region *region;
	char byte = 9;

	assert_int_equal(pwrite(fd, &byte, 1, 0xec0f), 1);
	assert_int_equal(vdpa_region_map(fd, 0, 0xec10, 0, RW, &region, NULL), 0);
	assert_int_equal(((char *)vdpa_region_base(region))[0xec0f], 9);
	vdpa_region_put(region);
	assert_int_equal(vdpa_region_map(fd, 0x1003, 0xdc0d, 0, RW, &region, NULL), 0);
	assert_int_equal(((char *)vdpa_region_base(region))[0xdc0c], 9);
	vdpa_region_put(region);
	/* The rest of the last page is there too. */
	assert_int_equal(vdpa_region_map(fd, 0, 0xf000, 0, RW, &region, NULL), 0);
	assert_int_equal(((char *)vdpa_region_base(region))[0xefff], 0);
	vdpa_region_put(region);
	close(fd);
}

static unsigned free_huge_pages(void)
{
	FILE *f = fopen("/proc/meminfo", "r");
	char line[128];
	unsigned n = 0;

	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "HugePages_Free: %u", &n);
	if (f)
		fclose(f);
	return n;
}

/* A file of huge pages, of which we are given a piece that is aligned to small pages only. */
static void test_huge(void **state)
{
	int fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);
	struct vdpa_region *region;

	/* Skipped where the kernel has no hugetlbfs, or no huge page is set aside. */
	if (fd < 0 || free_huge_pages() < 2) {
		close(fd);
		skip();
	}
	assert_int_equal(ftruncate(fd, 4 << 20), 0);
	assert_int_equal(vdpa_region_map(fd, (2 << 20) - PAGE, 2 * PAGE, 0, RW, &region, NULL), 0);
	close(fd);
	((char *)vdpa_region_base(region))[2 * PAGE - 1] = 1;
	vdpa_region_put(region);
}

static void refuse(int want, int fd, uint64_t offset, uint64_t size, gpa_t gpa, int prot)
{
	struct vdpa_error err = {0};
	struct vdpa_region *region = NULL;

	assert_int_equal(vdpa_region_map(fd, offset, size, gpa, prot, &region, &err), want);
	assert_null(region);
	assert_true(err.msg[0] != 0);
	/* Without an error to fill as well. */
	assert_int_equal(vdpa_region_map(fd, offset, size, gpa, prot, &region, NULL), want);
}

static void test_refused(void **state)
{
	unsigned fds = open_fds();
	int fd = memtest_file(4 * PAGE), pipes[2], ro, dir;
	char path[64];

	refuse(-EINVAL, fd, 0, 0, 0, RW);
	refuse(-EINVAL, fd, 0, 4 * PAGE + 1, 0, RW); /* shorter than claimed */
	refuse(-EINVAL, fd, PAGE, 4 * PAGE, 0, RW);
	refuse(-EINVAL, fd, 4 * PAGE, 1, 0, RW);
	refuse(-EINVAL, fd, UINT64_MAX, 2, 0, RW); /* wrap */
	refuse(-EINVAL, fd, 2, UINT64_MAX, 0, RW);
	refuse(-EINVAL, fd, UINT64_MAX - 0xfff, PAGE, 0, RW);
	refuse(-EINVAL, fd, INT64_MAX, PAGE, 0, RW);
	refuse(-EINVAL, fd, 0, PAGE, UINT64_MAX, RW); /* GPA wraps */
	refuse(-EINVAL, fd, 0, PAGE, 0, PROT_EXEC | PROT_READ);
	refuse(-EINVAL, fd, 0, PAGE, 0, PROT_WRITE);
	refuse(-EINVAL, fd, 0, PAGE, 0, 0);
	refuse(-EBADF, -1, 0, PAGE, 0, RW);
	refuse(-EBADF, 9999, 0, PAGE, 0, RW);
	assert_int_equal(pipe(pipes), 0);
	refuse(-ENODEV, pipes[0], 0, PAGE, 0, PROT_READ);
	close(pipes[0]);
	close(pipes[1]);
	dir = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	refuse(-ENODEV, dir, 0, PAGE, 0, PROT_READ);
	close(dir);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ro = open(path, O_RDONLY | O_CLOEXEC);
	refuse(-EACCES, ro, 0, PAGE, 0, RW);
	close(ro);
	close(fd);
	assert_int_equal(open_fds(), fds);
}

static void test_read_only(void **state)
{
	int fd = memtest_file(PAGE);
	struct vdpa_region *region;
	struct vdpa_as *as;

	assert_int_equal(vdpa_region_map(fd, 0, PAGE, 0, PROT_READ, &region, NULL), 0);
	/* What cannot be written must not be mapped for writing: that would be a fault in our
	 * process. */
	assert_int_equal(vdpa_as_new(NULL, 0, &as), 0);
	assert_int_equal(
		vdpa_as_map(as, 0, PAGE, vdpa_region_addr(region, 0), VHOST_MAP_RW, region),
		-EINVAL);
	assert_int_equal(
		vdpa_as_map(as, 0, PAGE, vdpa_region_addr(region, 0), VHOST_MAP_WO, region),
		-EINVAL);
	assert_int_equal(
		vdpa_as_map(as, 0, PAGE, vdpa_region_addr(region, 0), VHOST_MAP_RO, region), 0);
	vdpa_as_free(as);
	vdpa_region_put(region);
	close(fd);
}

static unsigned released;

static void release(void *arg)
{
	released++;
}

static int no_read(void *arg, uint64_t off, void *buf, size_t len)
{
	return -EIO;
}

static int no_write(void *arg, uint64_t off, const void *buf, size_t len)
{
	return -EIO;
}

static void test_other_kinds(void **state)
{
	static const struct vdpa_region_ops ops = {no_read, no_write, release};
	static const struct vdpa_region_ops half = {no_read, NULL, NULL};
	struct vdpa_region *region;
	char mem[64];

	assert_int_equal(vdpa_region_wrap(mem, 0, 0, &region), -EINVAL);
	assert_int_equal(vdpa_region_wrap(mem, UINT64_MAX, 0, &region), -EINVAL);
	assert_int_equal(vdpa_region_wrap(mem, 64, UINT64_MAX - 62, &region), -EINVAL);
	assert_int_equal(vdpa_region_wrap(mem, 64, UINT64_MAX - 63, &region), 0);
	assert_ptr_equal(vdpa_region_base(region), mem);
	assert_int_equal(vdpa_region_fd(region, NULL), -1);
	assert_false(vdpa_region_broken(region));
	vdpa_region_put(region);

	assert_int_equal(vdpa_region_by_message(NULL, NULL, 64, 0, &region), -EINVAL);
	assert_int_equal(vdpa_region_by_message(&half, NULL, 64, 0, &region), -EINVAL);
	assert_int_equal(vdpa_region_by_message(&ops, NULL, 0, 0, &region), -EINVAL);
	assert_int_equal(vdpa_region_by_message(&ops, NULL, 64, 0, &region), 0);
	assert_null(vdpa_region_base(region));
	assert_int_equal(vdpa_region_addr(region, 12), 12);
	vdpa_region_get(region);
	vdpa_region_put(region);
	assert_int_equal(released, 0);
	vdpa_region_put(region);
	assert_int_equal(released, 1);
}

static void test_alloc(void **state)
{
	static const struct vdpa_region_ops ops = {no_read, no_write, NULL};
	unsigned fds = open_fds();
	int fd = memtest_file(PAGE);
	char mem[64];

	for (alloc_fail_begin(); alloc_fail_more();) {
		struct vdpa_region *a = NULL, *b = NULL, *c = NULL;
		struct vdpa_error err = {0};
		int ret[3];

		ret[0] = vdpa_region_map(fd, 0, PAGE, 0, RW, &a, &err);
		ret[1] = vdpa_region_wrap(mem, 64, 0, &b);
		ret[2] = vdpa_region_by_message(&ops, NULL, 64, 0, &c);
		alloc_fail_off();
		for (unsigned i = 0; i < 3; i++)
			assert_true(ret[i] == 0 || ret[i] == -ENOMEM);
		vdpa_region_put(a);
		vdpa_region_put(b);
		vdpa_region_put(c);
	}
	close(fd);
	assert_int_equal(open_fds(), fds);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_map),	  cmocka_unit_test(test_unaligned),
		cmocka_unit_test(test_refused),	  cmocka_unit_test(test_huge),
		cmocka_unit_test(test_read_only), cmocka_unit_test(test_other_kinds),
		cmocka_unit_test(test_alloc),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
