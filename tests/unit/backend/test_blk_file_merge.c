// SPDX-License-Identifier: BSD-3-Clause
/*
 * The file backend on batches: neighbours that share a step, and what becomes of them when that
 * does not simply succeed; large requests in slices; a worker's loop; no memory.
 */
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include "alloc_fail.h"
#include "backend/blk_file.h"
#include "blk_backend.h"

#define MIB (1u << 20)
#define PAGE 4096u
#define BATCH 32u

static const char *const dirs[] = {"/tmp", "/dev/shm"};

struct batch {
	struct disk d;
	char *path;
	int fd;
	uint8_t *buf;
	struct disk_io io[BATCH];
	struct blk_request *reqs[BATCH];
};

static void setup(struct batch *b, const char *dir, const char *cache, uint64_t bytes)
{
	memset(b, 0, sizeof(*b));
	b->fd = disk_file(dir, bytes, &b->path);
	disk_open(&b->d, "file", (struct vdpa_attr[]){{"path", b->path}, {"cache", cache}, {0}});
	b->buf = mmap(NULL, BATCH * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		      0);
	assert_ptr_not_equal(b->buf, MAP_FAILED);
}

static void teardown(struct batch *b)
{
	munmap(b->buf, BATCH * PAGE);
	disk_close(&b->d);
	close(b->fd);
	unlink(b->path);
	free(b->path);
}

/* A page each, one behind the other. */
static void neighbours(struct batch *b, enum blk_op op, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		disk_prep(&b->io[i], op, (uint64_t)i * PAGE, b->buf + i * PAGE, PAGE);
		b->reqs[i] = &b->io[i].req;
	}
	b->d.be->ops->submit(b->d.q, b->reqs, n);
}

static void each(void (*fn)(struct batch *b))
{
	static const char *const caches[] = {"none", "writeback", "writethrough", "unsafe",
					     "directsync"};

	for (unsigned i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
		for (unsigned c = 0; c < sizeof(caches) / sizeof(caches[0]); c++) {
			struct batch b;

			setup(&b, dirs[i], caches[c], MIB);
			fn(&b);
			teardown(&b);
		}
	}
}

static void data(struct batch *b)
{
	uint8_t *back = malloc(BATCH * PAGE);

	disk_pattern(b->buf, BATCH * PAGE, 4);
	neighbours(b, BLK_WRITE, BATCH);
	for (unsigned i = 0; i < BATCH; i++)
		assert_int_equal(disk_wait(&b->d, &b->io[i]), 0);
	assert_int_equal(pread(b->fd, back, BATCH * PAGE, 0), BATCH * PAGE);
	assert_memory_equal(back, b->buf, BATCH * PAGE);
	memset(b->buf, 0, BATCH * PAGE);
	neighbours(b, BLK_READ, BATCH);
	for (unsigned i = 0; i < BATCH; i++)
		assert_int_equal(disk_wait(&b->d, &b->io[i]), 0);
	assert_memory_equal(back, b->buf, BATCH * PAGE);
	assert_int_equal(disk_do(&b->d, BLK_FLUSH, 0, NULL, 0), 0);
	free(back);
}

static void test_data(void **state)
{
	each(data);
}

/* Half of them lie behind the end of a file that shrank: they read zeroes. */
static void ends_early(struct batch *b)
{
	disk_pattern(b->buf, BATCH * PAGE, 4);
	neighbours(b, BLK_WRITE, BATCH);
	for (unsigned i = 0; i < BATCH; i++)
		assert_int_equal(disk_wait(&b->d, &b->io[i]), 0);
	assert_int_equal(ftruncate(b->fd, 10 * PAGE + 700), 0);
	memset(b->buf, 0xee, BATCH * PAGE);
	neighbours(b, BLK_READ, BATCH);
	for (unsigned i = 0; i < BATCH; i++)
		assert_int_equal(disk_wait(&b->d, &b->io[i]), 0);
	assert_false(disk_is_zero(b->buf + 10 * PAGE, 700));
	assert_true(disk_is_zero(b->buf + 10 * PAGE + 700, 22 * PAGE - 700));
}

static void test_ends_early(void **state)
{
	each(ends_early);
}

/* Only the request whose memory is gone fails, and its neighbours' data are right. */
static void one_bad(struct batch *b)
{
	const unsigned bad = 7;

	disk_pattern(b->buf, BATCH * PAGE, 9);
	assert_int_equal(pwrite(b->fd, b->buf, BATCH * PAGE, 0), BATCH * PAGE);
	for (unsigned op = BLK_READ; op <= BLK_WRITE; op++) {
		uint8_t back[PAGE], want[PAGE];

		assert_int_equal(mprotect(b->buf + bad * PAGE, PAGE, PROT_NONE), 0);
		neighbours(b, op, BATCH);
		for (unsigned i = 0; i < BATCH; i++)
			assert_int_equal(disk_wait(&b->d, &b->io[i]), i == bad ? -EFAULT : 0);
		assert_int_equal(mprotect(b->buf + bad * PAGE, PAGE, PROT_READ | PROT_WRITE), 0);
		for (unsigned i = 0; i < BATCH; i++) {
			assert_int_equal(pread(b->fd, back, PAGE, i * PAGE), PAGE);
			memcpy(want, b->buf + i * PAGE, PAGE);
			assert_true(i == bad || !memcmp(back, want, PAGE));
		}
	}
}

static void test_one_bad(void **state)
{
	each(one_bad);
}

/* What is below the limit is written, what is beyond fails: each by itself. */
static void over_limit(struct batch *b)
{
	struct rlimit old, small;

	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &old);
	small = (struct rlimit){12 * PAGE, old.rlim_max};
	disk_pattern(b->buf, BATCH * PAGE, 2);
	setrlimit(RLIMIT_FSIZE, &small);
	neighbours(b, BLK_WRITE, BATCH);
	for (unsigned i = 0; i < BATCH; i++)
		assert_int_equal(disk_wait(&b->d, &b->io[i]), i < 12 ? 0 : -EFBIG);
	setrlimit(RLIMIT_FSIZE, &old);
	neighbours(b, BLK_WRITE, BATCH);
	for (unsigned i = 0; i < BATCH; i++)
		assert_int_equal(disk_wait(&b->d, &b->io[i]), 0);
}

static void test_over_limit(void **state)
{
	each(over_limit);
}

/* A file system that is full: a mount of our own, of 64 KiB for a sparse file of 1 MiB. */
static void test_no_space(void **state)
{
	char dir[] = "/tmp/uvdpa-full-XXXXXX";
	struct batch b;
	unsigned ok = 0;

	assert_non_null(mkdtemp(dir));
	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", dir, "tmpfs", 0, "size=64k")) {
		rmdir(dir);
		skip();
	}
	setup(&b, dir, "none", MIB);
	neighbours(&b, BLK_WRITE, BATCH);
	for (unsigned i = 0; i < BATCH; i++) {
		int r = disk_wait(&b.d, &b.io[i]);

		assert_true(r == 0 || r == -ENOSPC);
		ok += !r;
	}
	assert_int_equal(ok, 65536 / PAGE);
	/* And there is some again. */
	assert_int_equal(disk_do_flags(&b.d, BLK_DISCARD, 0, 0, 65536), 0);
	assert_int_equal(disk_do(&b.d, BLK_WRITE, 65536, b.buf, PAGE), 0);
	teardown(&b);
	umount(dir);
	rmdir(dir);
}

/* All come back once, done or cancelled, and what is done is done. */
static void cancelled(struct batch *b)
{
	for (unsigned round = 0; round < 20; round++) {
		disk_pattern(b->buf, BATCH * PAGE, round);
		neighbours(b, round & 1 ? BLK_READ : BLK_WRITE, BATCH);
		b->d.be->ops->cancel(b->d.q);
		for (unsigned i = 0; i < BATCH; i++) {
			int r = disk_wait(&b->d, &b->io[i]);

			assert_true(r == 0 || r == -ECANCELED);
		}
		assert_int_equal(disk_do(&b->d, BLK_READ, 0, b->buf, PAGE), 0);
	}
}

static void test_cancelled(void **state)
{
	each(cancelled);
}

/* ---- who goes together ---- */

static unsigned together(struct file_disk *disk, struct disk_io *io, unsigned n)
{
	struct file_queue fq = {.disk = disk};
	struct blk_request *reqs[80];

	for (unsigned i = 0; i < n; i++)
		reqs[i] = &io[i].req;
	return blk_file_merge_count(&fq, reqs, n);
}

static void fill(struct disk_io *io, unsigned n, uint64_t len)
{
	static uint8_t buf[PAGE * 2] __attribute__((aligned(4096)));

	for (unsigned i = 0; i < n; i++)
		disk_prep(&io[i], BLK_WRITE, i * len, buf, len);
}

static void test_together(void **state)
{
	struct file_disk disk = {.direct_fd = 3, .mem_align = 512, .offset_align = 512};
	static struct disk_io io[80];

	fill(io, 80, 512);
	assert_int_equal(together(&disk, io, 1), 1);
	assert_int_equal(together(&disk, io, 80), FILE_MERGE_PIECES);
	fill(io, 80, 128 * 1024);
	assert_int_equal(together(&disk, io, 80), 2);
	fill(io, 80, UINT64_MAX / 16);
	assert_int_equal(together(&disk, io, 80), 1);
	fill(io, 8, 4096);
	io[5].req.op = BLK_READ;
	assert_int_equal(together(&disk, io, 8), 5);
	io[4].req.flags = BLK_F_FUA;
	assert_int_equal(together(&disk, io, 8), 4);
	io[3].req.offset_bytes += 512;
	assert_int_equal(together(&disk, io, 8), 3);
	io[2].one.iov_base = (char *)io[2].one.iov_base + 1;
	assert_int_equal(together(&disk, io, 8), 2);
	io[1].req.len_bytes = 0;
	assert_int_equal(together(&disk, io, 8), 1);
	/* Without direct I/O memory is of any kind. */
	disk.direct_fd = -1;
	fill(io, 8, 4096);
	io[2].one.iov_base = (char *)io[2].one.iov_base + 1;
	assert_int_equal(together(&disk, io, 8), 8);
	disk.read_only = true;
	assert_int_equal(together(&disk, io, 8), 1);
	fill(io, 8, 4096);
	io[0].req.op = BLK_FLUSH;
	assert_int_equal(together(&disk, io, 8), 1);
}

/* ---- large ones ---- */

#define LARGE (24u * MIB)

static void test_large(void **state)
{
	uint8_t *buf = malloc(LARGE + 4096), *back = malloc(LARGE);

	disk_pattern(buf, LARGE + 4096, 6);
	for (unsigned i = 0; i < 4; i++) {
		const char *cache = i & 1 ? "writeback" : "none";
		struct batch b;

		setup(&b, dirs[i / 2], cache, LARGE);
		/* Aligned for nothing. */
		assert_int_equal(disk_do(&b.d, BLK_WRITE, 0, buf + 1, LARGE), 0);
		memset(back, 0, LARGE);
		assert_int_equal(disk_do(&b.d, BLK_READ, 0, back, LARGE), 0);
		assert_memory_equal(buf + 1, back, LARGE);
		teardown(&b);
	}
	free(buf);
	free(back);
}

/* While one queue moves, or gives back, a lot, another one on the loop has its turns. */
static void test_neighbour(void **state)
{
	uint8_t *buf = calloc(1, LARGE);
	struct disk_io big, small;
	struct blk_request *req = &small.req;
	struct blk_queue *q2;
	unsigned turns = 0;
	struct batch b;

	setup(&b, "/dev/shm", "writeback", 512ull * MIB);
	assert_int_equal(b.d.be->ops->queue_open(b.d.be, b.d.loop, 64, &q2), 0);
	for (unsigned op = 0; op < 2; op++) {
		disk_prep(&big, op ? BLK_DISCARD : BLK_WRITE, 0, buf, op ? 512ull * MIB : LARGE);
		disk_submit(&b.d, &big);
		for (turns = 0; !big.done; turns++) {
			disk_prep(&small, BLK_READ, 0, b.buf, PAGE);
			b.d.be->ops->submit(q2, &req, 1);
			assert_true(small.done);
			assert_int_equal(small.result, 0);
			vdpa_loop_run_once(b.d.loop, 0);
		}
		assert_int_equal(big.result, 0);
		assert_true(turns >= (op ? 31 : 23));
	}
	b.d.be->ops->queue_close(q2);
	teardown(&b);
	free(buf);
}

/* ---- on a worker, whose ring posts completions when asked ---- */

struct worker {
	struct vdpa_loop_msg msg;
	struct batch *b;
	struct vdpa_loop *loop;
	struct blk_queue *q;
	sem_t sem;
	unsigned left, rounds;
	bool polls;
	struct vdpa_loop_poller poller;
	struct blk_request req[BATCH];
	struct iovec iov[BATCH];
	struct blk_request *reqs[BATCH];
};

static struct worker worker;

static void worker_round(struct vdpa_loop_msg *msg);

static void worker_done(struct blk_request *req, int result)
{
	assert_int_equal(result, 0);
	assert_true(worker.left > 0);
	if (--worker.left == 0)
		vdpa_loop_post(worker.loop, &worker.msg, worker_round);
}

static void worker_round(struct vdpa_loop_msg *msg)
{
	if (!worker.rounds--) {
		vdpa_loop_poller_del(&worker.poller);
		worker.b->d.be->ops->queue_close(worker.q);
		sem_post(&worker.sem);
		return;
	}
	worker.left = BATCH;
	for (unsigned i = 0; i < BATCH; i++) {
		unsigned at = worker.rounds % 3 ? i * 5 % BATCH : i;

		worker.iov[i] = (struct iovec){worker.b->buf + at * PAGE, PAGE};
		worker.req[i] = (struct blk_request){
			.op = worker.rounds & 1 ? BLK_READ : BLK_WRITE,
			.offset_bytes = at * PAGE,
			.len_bytes = PAGE,
			.iov = &worker.iov[i],
			.niov = 1,
			.done = worker_done,
		};
		worker.reqs[i] = &worker.req[i];
	}
	worker.b->d.be->ops->submit(worker.q, worker.reqs, BATCH);
}

static bool worker_poll(struct vdpa_loop_poller *poller)
{
	return worker.b->d.be->ops->poll(worker.q);
}

static void worker_open(struct vdpa_loop_msg *msg)
{
	assert_int_equal(
		worker.b->d.be->ops->queue_open(worker.b->d.be, worker.loop, 64, &worker.q), 0);
	if (worker.polls)
		vdpa_loop_poller_add(worker.loop, &worker.poller, worker_poll);
	worker_round(msg);
}

static void on_worker(struct batch *b)
{
	uint8_t *want = malloc(BATCH * PAGE);
	struct vdpa_loop_group *group;

	assert_int_equal(vdpa_loop_group_new(1, &group), 0);
	disk_pattern(b->buf, BATCH * PAGE, 8);
	memcpy(want, b->buf, BATCH * PAGE);
	for (unsigned polls = 0; polls < 2; polls++) {
		memset(&worker, 0, sizeof(worker));
		worker.b = b;
		worker.loop = vdpa_loop_group_worker(group, 0);
		worker.rounds = 21;
		worker.polls = polls;
		sem_init(&worker.sem, 0, 0);
		vdpa_loop_post(worker.loop, &worker.msg, worker_open);
		sem_wait(&worker.sem);
		sem_destroy(&worker.sem);
		assert_memory_equal(want, b->buf, BATCH * PAGE);
	}
	vdpa_loop_group_free(group);
	free(want);
}

static void test_on_worker(void **state)
{
	each(on_worker);
}

/* ---- fixed buffers ---- */

static struct {
	uint8_t *base;
	size_t bytes;
	unsigned asked;
} guest;

static bool guest_bounds(void *arg, const void *addr, uintptr_t *first, uintptr_t *last)
{
	guest.asked++;
	if ((uintptr_t)addr - (uintptr_t)guest.base >= guest.bytes)
		return false;
	*first = (uintptr_t)guest.base;
	*last = *first + guest.bytes - 1;
	return true;
}

/* Memory of a new file at @at, or anywhere. */
static uint8_t *guest_memory(void *at, size_t bytes)
{
	int fd = memfd_create("guest", MFD_CLOEXEC);
	uint8_t *p;

	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	p = mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | (at ? MAP_FIXED : 0), fd, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	close(fd);
	return p;
}

static void fixed_setup(struct batch *b)
{
	memset(b, 0, sizeof(*b));
	b->fd = disk_file("/tmp", MIB, &b->path);
	disk_open(&b->d, "file",
		  (struct vdpa_attr[]){{"path", b->path}, {"fixed_buffers", "on"}, {0}});
	if (to_file(b->d.be)->direct_fd < 0) {
		teardown(b);
		skip();
	}
	guest.asked = 0;
	guest.bytes = BATCH * PAGE;
	guest.base = guest_memory(NULL, guest.bytes);
	b->buf = guest.base;
	b->d.q->bounds = guest_bounds;
}

/* Other memory at the same address is what later requests use, and not the pages that were. */
static void test_fixed_removal(void **state)
{
	static uint8_t old[PAGE];
	struct batch b;

	fixed_setup(&b);
	for (unsigned round = 0; round < 4; round++) {
		disk_pattern(b.buf, BATCH * PAGE, round);
		memcpy(old, b.buf, PAGE);
		for (unsigned i = 0; i < BATCH; i += 2)
			assert_int_equal(disk_do(&b.d, BLK_WRITE, i * PAGE, b.buf + i * PAGE, PAGE),
					 0);
		/* Asked once for a region, not for each request. */
		assert_int_equal(guest.asked, round + 1);
		/* Taken away while reads of it are under way: these end, in the old memory. */
		for (unsigned i = 0; i < BATCH; i++) {
			disk_prep(&b.io[i], BLK_READ, (uint64_t)(BATCH - 1 - i) * PAGE,
				  b.buf + i * PAGE, PAGE);
			b.reqs[i] = &b.io[i].req;
		}
		b.d.be->ops->submit(b.d.q, b.reqs, BATCH);
		b.d.be->ops->memory_gone(b.d.q, (uintptr_t)guest.base + 5,
					 (uintptr_t)guest.base + 5);
		for (unsigned i = 0; i < BATCH; i++)
			assert_int_equal(disk_wait(&b.d, &b.io[i]), 0);
		assert_memory_equal(b.buf + (BATCH - 1) * PAGE, old, PAGE);
		guest_memory(guest.base, guest.bytes);
		assert_int_equal(disk_do(&b.d, BLK_READ, 0, b.buf, PAGE), 0);
		assert_memory_equal(b.buf, old, PAGE);
	}
	munmap(guest.base, guest.bytes);
	b.buf = MAP_FAILED;
	disk_close(&b.d);
	close(b.fd);
	unlink(b.path);
	free(b.path);
}

/* What does not lie in one region, or may not be pinned, is moved all the same. */
static void test_fixed_refused(void **state)
{
	struct rlimit old, none = {0, 0};
	uint8_t *other = guest_memory(NULL, PAGE);
	struct batch b;

	fixed_setup(&b);
	disk_pattern(other, PAGE, 3);
	assert_int_equal(disk_do(&b.d, BLK_WRITE, 0, other, PAGE), 0);
	getrlimit(RLIMIT_MEMLOCK, &old);
	none.rlim_max = old.rlim_max;
	setrlimit(RLIMIT_MEMLOCK, &none);
	mprotect(b.buf, BATCH * PAGE, PROT_NONE);
	assert_int_equal(disk_do(&b.d, BLK_READ, 0, b.buf, PAGE), -EFAULT);
	mprotect(b.buf, BATCH * PAGE, PROT_READ | PROT_WRITE);
	setrlimit(RLIMIT_MEMLOCK, &old);
	assert_true(atomic_load(&to_file(b.d.be)->fixed_refused));
	assert_int_equal(disk_do(&b.d, BLK_READ, 0, b.buf, PAGE), 0);
	assert_memory_equal(b.buf, other, PAGE);
	munmap(other, PAGE);
	teardown(&b);
}

/* ---- no memory ---- */

static void test_no_memory(void **state)
{
	struct vdpa_loop_group *loops;
	unsigned fds;
	struct batch b;

	assert_int_equal(vdpa_loop_group_new(0, &loops), 0);
	for (unsigned i = 0; i < 2; i++) {
		setup(&b, dirs[i], "none", MIB);
		b.d.be->ops->queue_close(b.d.q);
		fds = open_fds();
		for (alloc_fail_begin(); alloc_fail_more();) {
			struct blk_queue *q = NULL;
			int r = b.d.be->ops->queue_open(b.d.be, b.d.loop, 64, &q);

			b.d.q = q;
			/* A request needs memory of its own for no more than speed. */
			if (!r)
				neighbours(&b, BLK_WRITE, BATCH);
			for (unsigned k = 0; !r && k < BATCH; k++)
				assert_int_equal(disk_wait(&b.d, &b.io[k]), 0);
			if (!r)
				assert_int_equal(disk_do(&b.d, BLK_READ, 0, b.buf + 1, PAGE), 0);
			alloc_fail_off();
			if (!r)
				b.d.be->ops->queue_close(q);
			assert_int_equal(open_fds(), fds);
		}
		assert_int_equal(b.d.be->ops->queue_open(b.d.be, b.d.loop, 64, &b.d.q), 0);
		teardown(&b);
	}
	vdpa_loop_group_free(loops);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_data),	      cmocka_unit_test(test_ends_early),
		cmocka_unit_test(test_one_bad),	      cmocka_unit_test(test_over_limit),
		cmocka_unit_test(test_cancelled),     cmocka_unit_test(test_together),
		cmocka_unit_test(test_large),	      cmocka_unit_test(test_neighbour),
		cmocka_unit_test(test_on_worker),     cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_no_space),      cmocka_unit_test(test_fixed_removal),
		cmocka_unit_test(test_fixed_refused),
	};

	return cmocka_run_group_tests_name("blk file batches", tests, NULL, NULL);
}
