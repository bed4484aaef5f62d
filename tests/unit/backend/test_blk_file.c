// SPDX-License-Identifier: BSD-3-Clause
/* The file backend, on a file system with direct I/O, on one in memory, and with everything
 * misaligned. */
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include "blk_backend.h"

#define MIB (1u << 20)

static const char *const dirs[] = {"/tmp", "/dev/shm", "/var/tmp"};
static const char *const caches[] = {"direct", "buffered"};

struct image {
	struct disk d;
	char *path;
	int fd;
};

static void open_image(struct image *im, const char *dir, const char *cache, uint64_t bytes)
{
	im->fd = disk_file(dir, bytes, &im->path);
	disk_open(&im->d, "file", (struct vdpa_attr[]){{"path", im->path}, {"cache", cache}, {0}});
}

static void close_image(struct image *im)
{
	disk_close(&im->d);
	close(im->fd);
	unlink(im->path);
	free(im->path);
}

static void each(void (*fn)(struct image *im))
{
	for (unsigned i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
		for (unsigned c = 0; c < 2; c++) {
			struct image im;

			open_image(&im, dirs[i], caches[c], 4 * MIB);
			fn(&im);
			close_image(&im);
		}
	}
}

/* ---- data ---- */

static void *aligned(size_t n)
{
	void *p = NULL;

	assert_int_equal(posix_memalign(&p, 4096, n), 0);
	return p;
}

static void rw(struct image *im)
{
	uint8_t *buf = aligned(MIB + 4096), *back = aligned(MIB + 4096);
	/* Offset, length, misalignment of the buffer: sectors, and memory of any kind. */
	static const struct {
		uint64_t off, len;
		unsigned skew;
	} cases[] = {
		{0, MIB, 0},
		{512, 512, 0},
		{4096, 4096, 512},
		{8192, MIB - 8192, 1},
		{1536, 9 * 512, 3},
		{4 * MIB - 512, 512, 0},
		{4 * MIB - 4096, 4096, 7},
		{4096, MIB - 4096, 13},
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		disk_pattern(buf + cases[i].skew, cases[i].len, i);
		memset(back, 0, MIB + 4096);
		assert_int_equal(
			disk_do(&im->d, BLK_WRITE, cases[i].off, buf + cases[i].skew, cases[i].len),
			0);
		assert_int_equal(
			disk_do(&im->d, BLK_READ, cases[i].off, back + cases[i].skew, cases[i].len),
			0);
		assert_memory_equal(buf + cases[i].skew, back + cases[i].skew, cases[i].len);
		/* And others see the same. */
		assert_int_equal(pread(im->fd, back, cases[i].len, (off_t)cases[i].off),
				 cases[i].len);
		assert_memory_equal(buf + cases[i].skew, back, cases[i].len);
	}
	assert_int_equal(disk_do(&im->d, BLK_FLUSH, 0, NULL, 0), 0);
	free(buf);
	free(back);
}

static void test_rw(void **state)
{
	each(rw);
}

/* More pieces than one system call takes, of odd sizes, aligned and not. */
static void pieces(struct image *im)
{
	uint8_t *buf = aligned(4 * MIB), *back = aligned(4 * MIB);
	static struct iovec iov[3000];
	size_t at = 0;
	unsigned n;

	disk_pattern(buf, 4 * MIB, 5);
	for (n = 0; n < 2999; n++) {
		iov[n] = (struct iovec){buf + at, n % 3 ? 512 : 1 + n % 7};
		at += iov[n].iov_len;
	}
	iov[n] = (struct iovec){buf + at, 512 - at % 512};
	at += iov[n++].iov_len;
	assert_int_equal(disk_do_iov(&im->d, BLK_WRITE, 512, iov, n), 0);
	assert_int_equal(disk_do(&im->d, BLK_READ, 512, back, at), 0);
	assert_memory_equal(buf, back, at);
	memset(buf, 0, 4 * MIB);
	assert_int_equal(disk_do_iov(&im->d, BLK_READ, 512, iov, n), 0);
	assert_memory_equal(buf, back, at);
	/* Aligned ones, too many. */
	for (n = 0; n < 1030; n++)
		iov[n] = (struct iovec){buf + (size_t)(n % 4) * 4096, 4096};
	assert_int_equal(disk_do_iov(&im->d, BLK_WRITE, 0, iov, 1000), 0);
	free(buf);
	free(back);
}

static void test_pieces(void **state)
{
	each(pieces);
}

static void ranges(struct image *im)
{
	uint8_t *buf = aligned(2 * MIB), *back = aligned(2 * MIB);
	struct stat full, punched;

	memset(buf, 0x77, 2 * MIB);
	assert_int_equal(disk_do(&im->d, BLK_WRITE, 0, buf, 2 * MIB), 0);
	assert_int_equal(disk_do(&im->d, BLK_FLUSH, 0, NULL, 0), 0);
	fstat(im->fd, &full);
	assert_true(im->d.info.write_zeroes);
	assert_int_equal(disk_do_flags(&im->d, BLK_WRITE_ZEROES, 0, 512, 512 * 5), 0);
	assert_int_equal(disk_do_flags(&im->d, BLK_WRITE_ZEROES, BLK_F_FUA, 8192, MIB / 2 + 512),
			 0);
	assert_int_equal(disk_do(&im->d, BLK_READ, 0, back, 2 * MIB), 0);
	assert_memory_equal(buf, back, 512);
	assert_true(disk_is_zero(back + 512, 5 * 512));
	assert_memory_equal(buf, back + 6 * 512, 8192 - 6 * 512);
	assert_true(disk_is_zero(back + 8192, MIB / 2 + 512));
	assert_memory_equal(buf, back + 8192 + MIB / 2 + 512, MIB / 2);
	if (im->d.info.discard) {
		assert_int_equal(disk_do_flags(&im->d, BLK_DISCARD, 0, MIB, MIB), 0);
		assert_int_equal(disk_do_flags(&im->d, BLK_FLUSH, 0, 0, 0), 0);
		fstat(im->fd, &punched);
		assert_true(punched.st_blocks < full.st_blocks);
		assert_int_equal(disk_do(&im->d, BLK_READ, MIB, back, MIB), 0);
		assert_true(disk_is_zero(back, MIB));
	}
	assert_int_equal(disk_do_flags(&im->d, BLK_WRITE_ZEROES, BLK_F_UNMAP, 0, MIB), 0);
	/* Nothing of that changes the size. */
	assert_int_equal(disk_do_flags(&im->d, BLK_WRITE_ZEROES, 0, 4 * MIB - 512, 512), 0);
	fstat(im->fd, &punched);
	assert_int_equal(punched.st_size, 4 * MIB);
	free(buf);
	free(back);
}

static void test_ranges(void **state)
{
	each(ranges);
}

static void writethrough(struct image *im)
{
	uint8_t *buf = aligned(8192);

	disk_pattern(buf, 8192, 3);
	im->d.be->ops->set_writeback(im->d.be, false);
	assert_int_equal(disk_do(&im->d, BLK_WRITE, 0, buf, 8192), 0);
	assert_int_equal(disk_do_flags(&im->d, BLK_WRITE_ZEROES, 0, 8192, 4096), 0);
	im->d.be->ops->set_writeback(im->d.be, true);
	assert_int_equal(disk_do(&im->d, BLK_WRITE, 0, buf, 8192), 0);
	free(buf);
}

static void test_writethrough(void **state)
{
	each(writethrough);
}

/* ---- a file that changes under us ---- */

static void shrunk(struct image *im)
{
	uint8_t *buf = aligned(MIB);

	disk_pattern(buf, MIB, 1);
	assert_int_equal(disk_do(&im->d, BLK_WRITE, 0, buf, MIB), 0);
	assert_int_equal(ftruncate(im->fd, 5000), 0);
	memset(buf, 0xee, MIB);
	assert_int_equal(disk_do(&im->d, BLK_READ, 0, buf, MIB), 0);
	assert_true(disk_is_zero(buf + 5000, MIB - 5000));
	assert_false(disk_is_zero(buf, 5000));
	assert_int_equal(disk_do(&im->d, BLK_READ, 2 * MIB, buf, MIB), 0);
	assert_true(disk_is_zero(buf, MIB));
	free(buf);
}

static void test_shrunk(void **state)
{
	each(shrunk);
}

/* A full file system is an error of the write, and of nothing else. */
static void test_full(void **state)
{
	struct rlimit old, small = {MIB, MIB};
	struct image im;
	uint8_t *buf = aligned(2 * MIB);

	signal(SIGXFSZ, SIG_IGN);
	open_image(&im, "/tmp", "buffered", 4 * MIB);
	disk_pattern(buf, 2 * MIB, 1);
	getrlimit(RLIMIT_FSIZE, &old);
	small.rlim_max = old.rlim_max;
	setrlimit(RLIMIT_FSIZE, &small);
	assert_int_not_equal(disk_do(&im.d, BLK_WRITE, MIB, buf, 4096), 0);
	/* Half of it fits: still an error. */
	assert_int_not_equal(disk_do(&im.d, BLK_WRITE, 0, buf, 2 * MIB), 0);
	setrlimit(RLIMIT_FSIZE, &old);
	assert_int_equal(disk_do(&im.d, BLK_WRITE, MIB, buf, 4096), 0);
	assert_int_equal(disk_do(&im.d, BLK_READ, 0, buf, 4096), 0);
	close_image(&im);
	free(buf);
}

/* ---- many at a time ---- */

static void test_deep(void **state)
{
	enum { N = 1500 };
	struct disk_io *io = calloc(N, sizeof(*io));
	struct blk_request **reqs = calloc(N, sizeof(*reqs));
	uint8_t *buf = aligned(N * 512), *back = aligned(N * 512);
	struct image im;

	/* The queue was opened for 64: the rest waits its turn. */
	open_image(&im, "/tmp", "direct", 4 * MIB);
	disk_pattern(buf, N * 512, 9);
	for (unsigned i = 0; i < N; i++) {
		disk_prep(&io[i], BLK_WRITE, i * 512, buf + i * 512, 512);
		reqs[i] = &io[i].req;
	}
	im.d.be->ops->submit(im.d.q, reqs, N);
	for (unsigned i = 0; i < N; i++)
		assert_int_equal(disk_wait(&im.d, &io[i]), 0);
	assert_int_equal(disk_do(&im.d, BLK_READ, 0, back, N * 512), 0);
	assert_memory_equal(buf, back, N * 512);
	close_image(&im);
	free(io);
	free(reqs);
	free(buf);
	free(back);
}

/* Everything that was submitted comes back once, done or cancelled. */
static void test_cancel(void **state)
{
	enum { N = 400 };
	struct disk_io *io = calloc(N, sizeof(*io));
	struct blk_request **reqs = calloc(N, sizeof(*reqs));
	uint8_t *buf = aligned(65536);
	unsigned cancelled = 0;
	struct image im;

	open_image(&im, "/tmp", "buffered", 4 * MIB);
	memset(buf, 1, 65536);
	for (unsigned i = 0; i < N; i++) {
		disk_prep(&io[i], i % 3 ? BLK_WRITE : BLK_READ, 0, buf, 65536);
		reqs[i] = &io[i].req;
	}
	im.d.be->ops->submit(im.d.q, reqs, N);
	im.d.be->ops->cancel(im.d.q);
	for (unsigned i = 0; i < N; i++) {
		int r = disk_wait(&im.d, &io[i]);

		assert_true(r == 0 || r == -ECANCELED);
		cancelled += r != 0;
	}
	assert_true(cancelled >= N - 64);
	/* And the queue still works. */
	assert_int_equal(disk_do(&im.d, BLK_READ, 0, buf, 4096), 0);
	im.d.be->ops->cancel(im.d.q);
	assert_int_equal(disk_do(&im.d, BLK_READ, 0, buf, 4096), 0);
	close_image(&im);
	free(io);
	free(reqs);
	free(buf);
}

/* ---- opening ---- */

static void refused(const struct vdpa_attr *attrs, int code, const char *word)
{
	struct vdpa_error err = {.msg = ""};
	unsigned fds = open_fds();
	struct disk d;

	assert_int_equal(disk_try_open(&d, "file", attrs, &err), code);
	if (!strstr(err.msg, word))
		fail_msg("\"%s\" does not mention \"%s\"", err.msg, word);
	assert_int_equal(open_fds(), fds);
}

#define ATTRS(...) ((struct vdpa_attr[]){__VA_ARGS__, {0}})

static void test_open_errors(void **state)
{
	char *path, fifo[] = "/tmp/uvdpa-fifo-XXXXXX";
	int fd = disk_file("/tmp", 511, &path);

	refused(ATTRS({"path", path}), -EINVAL, "511");
	refused(ATTRS({"path", "/tmp"}, {"read_only", "on"}), -EINVAL, "regular");
	refused(ATTRS({"path", "/dev/null"}), -EINVAL, "regular");
	refused(ATTRS({"path", "/no/such"}), -ENOENT, "/no/such");
	close(mkstemp(fifo));
	unlink(fifo);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	refused(ATTRS({"path", fifo}, {"read_only", "on"}), -EINVAL, "regular");
	unlink(fifo);
	close(fd);
	unlink(path);
	free(path);
}

static void test_lock(void **state)
{
	struct vdpa_error err;
	struct image im;
	struct disk d;

	open_image(&im, "/tmp", "direct", MIB);
	refused(ATTRS({"path", im.path}), -EBUSY, "lock off");
	refused(ATTRS({"path", im.path}, {"read_only", "on"}), -EBUSY, "in use");
	assert_int_equal(disk_try_open(&d, "file", ATTRS({"path", im.path}, {"lock", "off"}), &err),
			 0);
	d.be->ops->close(d.be);
	close_image(&im);
}

/* Others that hold the same open files: as an io_uring of the kernel does, for a moment after the
 * end. */
static unsigned hold_files(const char *path, int *held, unsigned max)
{
	char name[64], target[256];
	unsigned n = 0;

	for (int fd = 0; fd < 256 && n < max; fd++) {
		ssize_t len;

		snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
		len = readlink(name, target, sizeof(target) - 1);
		if (len < 0)
			continue;
		target[len] = '\0';
		if (!strcmp(target, path))
			held[n++] = dup(fd);
	}
	return n;
}

static void test_lock_ends_with_the_disk(void **state)
{
	struct image im;
	struct disk d;
	int held[8];
	unsigned n;

	open_image(&im, "/tmp", "direct", MIB);
	n = hold_files(im.path, held, 8);
	assert_true(n >= 2);
	disk_close(&im.d);
	disk_open(&d, "file", ATTRS({"path", im.path}));
	disk_close(&d);
	while (n)
		close(held[--n]);
	disk_open(&im.d, "file", ATTRS({"path", im.path}));
	close_image(&im);
}

/* Whoever was killed a moment ago is waited for. */
static void test_lock_that_is_going(void **state)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char *path, byte;
	int fd = disk_file("/tmp", MIB, &path), pair[2], status;
	struct disk d;
	pid_t pid;

	assert_int_equal(pipe(pair), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		int own = open(path, O_RDWR);

		if (fcntl(own, F_OFD_SETLK, &lock) || write(pair[1], "", 1) != 1)
			_exit(1);
		usleep(50000);
		_exit(0);
	}
	assert_int_equal(read(pair[0], &byte, 1), 1);
	disk_open(&d, "file", ATTRS({"path", path}));
	disk_close(&d);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close(pair[0]);
	close(pair[1]);
	close(fd);
	unlink(path);
	free(path);
}

static void test_shared_read_only(void **state)
{
	struct vdpa_error err;
	uint8_t buf[512] = {0};
	struct disk d, d2;
	char *path;
	int fd = disk_file("/tmp", MIB + 100, &path);

	disk_open(&d, "file", ATTRS({"path", path}, {"read_only", "on"}));
	assert_int_equal(d.info.capacity_bytes, MIB);
	assert_true(d.info.read_only);
	assert_false(d.info.discard || d.info.write_zeroes);
	/* Two readers do not hurt each other. */
	assert_int_equal(
		disk_try_open(&d2, "file", ATTRS({"path", path}, {"read_only", "on"}), &err), 0);
	d2.be->ops->close(d2.be);
	assert_int_equal(disk_do(&d, BLK_WRITE, 0, buf, 512), -EROFS);
	assert_int_equal(disk_do_flags(&d, BLK_DISCARD, 0, 0, 512), -EROFS);
	assert_int_equal(disk_do_flags(&d, BLK_WRITE_ZEROES, 0, 0, 512), -EROFS);
	assert_int_equal(disk_do(&d, BLK_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(disk_do(&d, BLK_READ, 0, buf, 512), 0);
	disk_close(&d);
	close(fd);
	unlink(path);
	free(path);
}

static void test_no_leaks(void **state)
{
	unsigned before = open_fds();
	struct image im;

	for (unsigned i = 0; i < 20; i++) {
		open_image(&im, "/tmp", caches[i & 1], MIB);
		close_image(&im);
	}
	assert_int_equal(open_fds(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rw),
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_writethrough),
		cmocka_unit_test(test_shrunk),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_deep),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_open_errors),
		cmocka_unit_test(test_lock),
		cmocka_unit_test(test_lock_ends_with_the_disk),
		cmocka_unit_test(test_lock_that_is_going),
		cmocka_unit_test(test_shared_read_only),
		cmocka_unit_test(test_no_leaks),
	};

	return cmocka_run_group_tests_name("blk file", tests, NULL, NULL);
}
