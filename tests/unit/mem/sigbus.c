// SPDX-License-Identifier: BSD-3-Clause
/* A peer shrinks a file that we have mapped: its region breaks, and nothing else does. */
#include "memtest.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

static unsigned chained;
static struct sigaction ours;

/* cmocka puts handlers of its own in place for the time of each test. */
static void take_over(void)
{
	sigaction(SIGBUS, &ours, NULL);
}

static void earlier_handler(int sig)
{
	chained++;
}

static volatile char *bytes_of(const struct vdpa_region *region)
{
	return vdpa_region_base(region);
}

static void test_truncated(void **state)
{
	int fd = memtest_file(4 * PAGE), other = memtest_file(PAGE);
	struct vdpa_region *region, *good;

	take_over();
	assert_int_equal(vdpa_region_map(fd, 0, 4 * PAGE, 0, RW, &region, NULL), 0);
	assert_int_equal(vdpa_region_map(other, 0, PAGE, 0, RW, &good, NULL), 0);
	bytes_of(region)[0] = 1;
	bytes_of(region)[3 * PAGE] = 3;
	bytes_of(good)[0] = 7;
	assert_int_equal(ftruncate(fd, PAGE), 0);
	assert_false(vdpa_region_broken(region));
	/* The rest of the file is still the file. */
	assert_int_equal(bytes_of(region)[0], 1);
	assert_false(vdpa_region_broken(region));
	assert_int_equal(bytes_of(region)[3 * PAGE], 0);
	assert_true(vdpa_region_broken(region));
	bytes_of(region)[2 * PAGE] = 5;
	assert_int_equal(bytes_of(region)[2 * PAGE], 5);
	assert_false(vdpa_region_broken(good));
	assert_int_equal(bytes_of(good)[0], 7);
	vdpa_region_put(region);
	vdpa_region_put(good);
	close(fd);
	close(other);
}

struct breakage {
	struct vdpa_loop_msg msg;
	struct vdpa_view *view, *other;
	unsigned done;
	bool broken, other_broken;
	char value;
	int ret;
};

static void read_on_worker(struct vdpa_loop_msg *msg)
{
	struct breakage *b = (struct breakage *)(void *)msg;

	vdpa_view_refresh(b->view);
	vdpa_view_refresh(b->other);
	b->ret = vdpa_view_read(b->view, 0, &b->value, 1);
	b->broken = vdpa_view_broken(b->view);
	b->other_broken = vdpa_view_broken(b->other);
	__atomic_store_n(&b->done, 1, __ATOMIC_RELEASE);
}

/* On a worker's thread, through views: the one whose memory it was is broken, the other is not. */
static void test_view(void **state)
{
	struct vdpa_region *region = memtest_region(PAGE, 0, 1), *good = memtest_region(PAGE, 0, 2);
	struct vdpa_as *as[2];
	struct vdpa_loop_group *group;
	struct vdpa_loop *loop;
	struct breakage b = {.value = 99};

	take_over();
	assert_int_equal(vdpa_loop_group_new(1, &group), 0);
	loop = vdpa_loop_group_worker(group, 0);
	for (unsigned i = 0; i < 2; i++) {
		struct vdpa_region *r = i ? good : region;

		assert_int_equal(vdpa_as_new(group, i, &as[i]), 0);
		assert_int_equal(
			vdpa_as_map(as[i], 0, PAGE, vdpa_region_addr(r, 0), VHOST_MAP_RW, r), 0);
		assert_int_equal(vdpa_view_attach(as[i], loop, NULL, NULL, i ? &b.other : &b.view),
				 0);
	}
	assert_false(vdpa_view_broken(b.view));
	assert_int_equal(ftruncate(vdpa_region_fd(region, NULL), 0), 0);
	vdpa_loop_post(loop, &b.msg, read_on_worker);
	memtest_run_until(group, &b.done, 1);
	assert_int_equal(b.ret, 0);
	assert_int_equal(b.value, 0);
	assert_true(b.broken);
	assert_false(b.other_broken);
	vdpa_view_detach(b.view);
	vdpa_view_detach(b.other);
	vdpa_as_free(as[0]);
	vdpa_as_free(as[1]);
	vdpa_region_put(region);
	vdpa_region_put(good);
	memtest_settle(group);
	vdpa_loop_group_free(group);
}

/* Broken before the map moved on: the view must not forget. */
static void test_sticky(void **state)
{
	struct vdpa_region *region = memtest_region(PAGE, 0, 1), *good = memtest_region(PAGE, 0, 2);
	struct vdpa_loop_group *group;
	struct vdpa_view *view;
	struct vdpa_as *as;
	unsigned done = 0;
	char c;

	take_over();
	assert_int_equal(vdpa_loop_group_new(0, &group), 0);
	assert_int_equal(vdpa_as_new(group, 0, &as), 0);
	assert_int_equal(vdpa_view_attach(as, vdpa_loop_group_control(group), NULL, NULL, &view),
			 0);
	assert_int_equal(
		vdpa_as_map(as, 0, PAGE, vdpa_region_addr(region, 0), VHOST_MAP_RW, region), 0);
	vdpa_view_refresh(view);
	assert_int_equal(ftruncate(vdpa_region_fd(region, NULL), 0), 0);
	assert_int_equal(vdpa_view_read(view, 0, &c, 1), 0);
	assert_int_equal(
		vdpa_as_unmap(as, 0, UINT64_MAX, &(struct vdpa_done){memtest_count, &done}), 0);
	memtest_run_until(group, &done, 1);
	/* Two versions later no table names the region any more. */
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(vdpa_as_map(as, i * PAGE, PAGE, vdpa_region_addr(good, 0),
					     VHOST_MAP_RW, good),
				 0);
		vdpa_view_refresh(view);
	}
	assert_true(vdpa_view_broken(view));
	vdpa_view_detach(view);
	vdpa_as_free(as);
	vdpa_region_put(region);
	vdpa_region_put(good);
	vdpa_loop_group_free(group);
}

/* Many regions come and go: slots are found, and found again. */
static void test_many(void **state)
{
	struct vdpa_region *regions[200];
	int fd = memtest_file(200 * PAGE);

	take_over();
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 200; i++)
			assert_int_equal(
				vdpa_region_map(fd, i * PAGE, PAGE, 0, RW, &regions[i], NULL), 0);
		assert_int_equal(ftruncate(fd, 100 * PAGE), 0);
		bytes_of(regions[150])[7] = 1;
		for (unsigned i = 0; i < 200; i++)
			assert_int_equal(vdpa_region_broken(regions[i]), i == 150);
		for (unsigned i = 0; i < 200; i++)
			vdpa_region_put(regions[(i * 7 + round) % 200]);
		assert_int_equal(ftruncate(fd, 200 * PAGE), 0);
	}
	close(fd);
}

/* What is not ours goes to the handler that was there. */
/* How many mappings of this process lie in [@first, @last]. */
static unsigned mappings(uintptr_t first, uintptr_t last)
{
	FILE *f = fopen("/proc/self/maps", "r");
	unsigned long from, to;
	unsigned n = 0;
	char line[512];

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx", &from, &to) == 2 && from <= last && to - 1 >= first)
			n++;
	}
	fclose(f);
	return n;
}

/* Faults on every second page, from either end, do not use up the process's mappings. */
static void test_alternate(void **state)
{
	uint64_t size = 2048 * PAGE;

	take_over();
	for (int down = 0; down < 2; down++) {
		int fd = memtest_file(size);
		struct vdpa_region *region;
		uintptr_t first;

		assert_int_equal(vdpa_region_map(fd, 0, size, 0, RW, &region, NULL), 0);
		assert_int_equal(ftruncate(fd, 0), 0);
		for (unsigned i = 1; i < 2048; i += 2)
			assert_int_equal(bytes_of(region)[(down ? 2048 - i : i) * PAGE], 0);
		first = (uintptr_t)vdpa_region_base(region);
		assert_in_range(mappings(first, first + size - 1), 1, 4);
		assert_true(vdpa_region_broken(region));
		vdpa_region_put(region);
		close(fd);
	}
}

static void test_chain(void **state)
{
	take_over();
	raise(SIGBUS);
	assert_int_equal(chained, 1);
	/* Installing twice must not put us behind ourselves. */
	assert_int_equal(vdpa_sigbus_install(), 0);
	raise(SIGBUS);
	assert_int_equal(chained, 2);
}

/* A fault outside of all regions, with no other handler, ends the process as ever. */
static void test_not_ours(void **state)
{
	int status, fd = memtest_file(PAGE);
	volatile char *map = mmap(NULL, PAGE, RW, MAP_SHARED, fd, 0);
	pid_t pid = fork();

	if (pid == 0) {
		struct sigaction dfl = {.sa_handler = SIG_DFL};

		/* As if nothing had been there before us. */
		sigaction(SIGBUS, &dfl, NULL);
		if (ftruncate(fd, 0))
			_exit(1);
		map[0] = 1;
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) != 0);
	munmap((void *)(uintptr_t)map, PAGE);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_truncated), cmocka_unit_test(test_view),
		cmocka_unit_test(test_sticky),	  cmocka_unit_test(test_many),
		cmocka_unit_test(test_alternate), cmocka_unit_test(test_chain),
		cmocka_unit_test(test_not_ours),
	};
	struct sigaction sa = {.sa_handler = earlier_handler};

	sigaction(SIGBUS, &sa, NULL);
	if (vdpa_sigbus_install() || sigaction(SIGBUS, NULL, &ours))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
