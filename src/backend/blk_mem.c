// SPDX-License-Identifier: BSD-3-Clause
/*
 * Disks without a file. "ram" keeps its data in memory, which is sparse: a page exists once it was
 * written, and a discard gives it back. "null" is the same without the memory: writes vanish, and
 * reads give zeroes (or, for measuring everything around a disk, leave the buffer alone). Requests
 * that overlap in time and place have, as on any disk, no defined order.
 *
 * What is small is done inside submit. A queue does a slice of work at most per turn; what is left
 * of its requests is done by a poller, a slice per iteration of the loop, in the order in which
 * they came.
 *
 * Who attacks: a driver with requests of gigabytes, while other queues of the same loop wait.
 *
 * A piece of the disk can be bad, for those who try how a driver takes errors.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif
#include "backend/backends.h"

/* Work of one turn, in bytes that are copied or cleared; giving pages back costs less per byte. */
#define SLICE_BYTES (1u << 20)
#define PUNCH_RATIO 16u
/* A disk of that size does not fit into any cache: what is written there is not put into one. */
#define UNCACHED_BYTES (64ull << 20)
#define UNCACHED_LEAST 2048u

struct mem_queue {
	struct blk_queue q;
	struct vdpa_loop *loop;
	struct vdpa_loop_poller poller; /* while there are requests */
	struct blk_request *first, **tail;
};

struct mem_disk {
	struct blk_backend be;
	char *mem; /* NULL: nothing is kept */
	uint64_t capacity_bytes;
	uint64_t page_bytes;
	bool read_zeroes; /* without memory */
	bool huge_pages;  /* with memory: asked for */
	uint64_t bad_first, bad_bytes;
};

static struct mem_disk *to_disk(struct blk_backend *be)
{
	return vdpa_container_of(be, struct mem_disk, be);
}

static struct mem_queue *to_queue(struct blk_queue *q)
{
	return vdpa_container_of(q, struct mem_queue, q);
}

/* ---- birth and end ---- */

static int mem_open(const struct backend_open_params *params, uint64_t default_bytes,
		    struct mem_disk **out, struct vdpa_error *err)
{
	uint64_t size = vdpa_attr_size(params->attrs, "size", default_bytes);
	struct mem_disk *disk;

	if (size % BLK_SECTOR_BYTES)
		return vdpa_error_set(err, EINVAL, params->name,
				      "size %llu is not a multiple of 512 bytes",
				      (unsigned long long)size);
	disk = calloc(1, sizeof(*disk));
	if (!disk)
		return vdpa_error_set(err, ENOMEM, params->name, "no memory for the disk");
	disk->capacity_bytes = size;
	disk->bad_first = vdpa_attr_size(params->attrs, "bad_first", 0);
	disk->bad_bytes = vdpa_attr_size(params->attrs, "bad_bytes", 0);
	disk->page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	*out = disk;
	return 0;
}

static int ram_open(const struct backend_open_params *params, struct blk_backend **out,
		    struct vdpa_error *err)
{
	struct mem_disk *disk = NULL;
	int r = mem_open(params, 128ull << 20, &disk, err);
	void *mem;

	if (r)
		return r;
	mem = mmap(NULL, disk->capacity_bytes, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (mem == MAP_FAILED) {
		r = vdpa_error_set(err, ENOMEM, params->name,
				   "no address space for a disk of %llu bytes",
				   (unsigned long long)disk->capacity_bytes);
		free(disk);
		return r;
	}
	disk->huge_pages = vdpa_attr_bool(params->attrs, "huge_pages", false);
	/* A wish: where the system has none, the disk is only slower. */
	if (disk->huge_pages)
		(void)madvise(mem, disk->capacity_bytes, MADV_HUGEPAGE);
	disk->be.ops = &blk_ram_ops;
	disk->mem = mem;
	*out = &disk->be;
	return 0;
}

static int null_open(const struct backend_open_params *params, struct blk_backend **out,
		     struct vdpa_error *err)
{
	struct mem_disk *disk = NULL;
	int r = mem_open(params, 1ull << 40, &disk, err);

	if (r)
		return r;
	disk->be.ops = &blk_null_ops;
	disk->read_zeroes = vdpa_attr_bool(params->attrs, "read_zeroes", true);
	*out = &disk->be;
	return 0;
}

static void mem_close(struct blk_backend *be)
{
	struct mem_disk *disk = to_disk(be);

	if (disk->mem)
		munmap(disk->mem, disk->capacity_bytes);
	free(disk);
}

static void mem_get_info(struct blk_backend *be, struct blk_backend_info *info)
{
	*info = (struct blk_backend_info){
		.capacity_bytes = to_disk(be)->capacity_bytes,
		.block_bytes = BLK_SECTOR_BYTES,
		.alignment_bytes = 1,
		.discard = true,
		.write_zeroes = true,
		.write_zeroes_unmap = true,
	};
}

static int mem_queue_open(struct blk_backend *be, struct vdpa_loop *loop, unsigned depth,
			  struct blk_queue **out)
{
	struct mem_queue *mq = calloc(1, sizeof(*mq));

	if (!mq)
		return -ENOMEM;
	mq->q.be = be;
	mq->loop = loop;
	mq->tail = &mq->first;
	*out = &mq->q;
	return 0;
}

static void mem_queue_close(struct blk_queue *q)
{
	struct mem_queue *mq = to_queue(q);

	assert(!mq->first);
	vdpa_loop_poller_del(&mq->poller);
	free(mq);
}

/* ---- one slice ---- */

/* Whole pages go back to the system and read as zeroes; the edges are written. */
static int punch(struct mem_disk *disk, uint64_t offset, uint64_t len)
{
	uint64_t page = disk->page_bytes, end = offset + len;
	uint64_t first = (offset + page - 1) / page * page, last = end / page * page;

	if (first >= last) {
		memset(disk->mem + offset, 0, len);
		return 0;
	}
	memset(disk->mem + offset, 0, first - offset);
	memset(disk->mem + last, 0, end - last);
	return madvise(disk->mem + first, last - first, MADV_DONTNEED) ? -errno : 0;
}

static void copy_out(const struct blk_request *req, uint64_t at, const char *mem, uint64_t len)
{
	if (req->niov == 1)
		memcpy((char *)req->iov->iov_base + at, mem, len);
	else
		blk_iov_from_buf(req->iov, req->niov, at, mem, len);
}

/*
 * Storing past the caches spares reading what is overwritten, which is half of what such a copy
 * waits for. @mem is a sector's beginning, or where a slice ended: both are aligned.
 */
static void copy_uncached(char *mem, const char *from, uint64_t len)
{
#ifdef __SSE2__
	uint64_t whole = (uintptr_t)mem % 16 ? 0 : len / 64 * 64;

	for (uint64_t i = 0; i < whole; i += 64) {
		__m128i a = _mm_loadu_si128((const __m128i *)(const void *)(from + i));
		__m128i b = _mm_loadu_si128((const __m128i *)(const void *)(from + i + 16));
		__m128i c = _mm_loadu_si128((const __m128i *)(const void *)(from + i + 32));
		__m128i d = _mm_loadu_si128((const __m128i *)(const void *)(from + i + 48));

		_mm_stream_si128((__m128i *)(void *)(mem + i), a);
		_mm_stream_si128((__m128i *)(void *)(mem + i + 16), b);
		_mm_stream_si128((__m128i *)(void *)(mem + i + 32), c);
		_mm_stream_si128((__m128i *)(void *)(mem + i + 48), d);
	}
	/* Such stores are not in order by themselves; who reads the disk next may be another loop.
	 */
	_mm_sfence();
	mem += whole;
	from += whole;
	len -= whole;
#endif
	memcpy(mem, from, len);
}

static void copy_in(const struct mem_disk *disk, const struct blk_request *req, uint64_t at,
		    char *mem, uint64_t len)
{
	const char *from = req->niov == 1 ? (const char *)req->iov->iov_base + at : NULL;

	if (from && len >= UNCACHED_LEAST && disk->capacity_bytes >= UNCACHED_BYTES)
		copy_uncached(mem, from, len);
	else if (from)
		memcpy(mem, from, len);
	else
		blk_iov_to_buf(req->iov, req->niov, at, mem, len);
}

static void null_slice(const struct mem_disk *disk, const struct blk_request *req, uint64_t at,
		       uint64_t len)
{
	if (req->op != BLK_READ || !disk->read_zeroes)
		return;
	if (req->niov == 1)
		memset((char *)req->iov->iov_base + at, 0, len);
	else
		blk_iov_zero(req->iov, req->niov, at, len);
}

/* Does any of them lie where the disk is bad? */
static bool is_bad(const struct mem_disk *disk, uint64_t first, uint64_t len)
{
	if (first >= disk->bad_first)
		return len && first - disk->bad_first < disk->bad_bytes;
	return disk->bad_bytes && disk->bad_first - first < len;
}

/* The @len bytes of a request from its byte @at on. */
static int slice(struct mem_disk *disk, const struct blk_request *req, uint64_t at, uint64_t len)
{
	char *mem = disk->mem;

	if (is_bad(disk, req->offset_bytes + at, len))
		return -EIO;
	if (!mem) {
		null_slice(disk, req, at, len);
		return 0;
	}
	mem += req->offset_bytes + at;
	switch (req->op) {
	case BLK_READ:
		copy_out(req, at, mem, len);
		return 0;
	case BLK_WRITE:
		copy_in(disk, req, at, mem, len);
		return 0;
	case BLK_WRITE_ZEROES:
		if (!(req->flags & BLK_F_UNMAP)) {
			memset(mem, 0, len);
			return 0;
		}
		/* fallthrough */
	case BLK_DISCARD:
		return punch(disk, req->offset_bytes + at, len);
	case BLK_FLUSH:
		break;
	}
	return 0;
}

/* How many bytes of such a request are worth one that is copied; 0: it costs nothing. */
static unsigned bytes_per_cost(const struct mem_disk *disk, const struct blk_request *req)
{
	if (!disk->mem)
		return req->op == BLK_READ && disk->read_zeroes;
	if (req->op == BLK_DISCARD || (req->op == BLK_WRITE_ZEROES && (req->flags & BLK_F_UNMAP)))
		return PUNCH_RATIO;
	return 1;
}

/* ---- requests that have to wait; backend[0] is how much of one is done ---- */

static void mem_pop(struct mem_queue *mq, int result)
{
	struct blk_request *req = mq->first;

	mq->first = req->next;
	if (!mq->first)
		mq->tail = &mq->first;
	req->done(req, result);
}

/* How much of the rest of @req is done with @left of the turn. */
static uint64_t cut(const struct mem_disk *disk, const struct blk_request *req, unsigned ratio,
		    uint64_t left)
{
	uint64_t at = req->offset_bytes + req->backend[0];
	uint64_t len = req->len_bytes - req->backend[0], end;

	if (!ratio || len <= left * ratio)
		return len;
	if (ratio == 1)
		return left;
	/* Between pages, or each cut would leave one that is written instead of given back. */
	end = at + left * ratio;
	end -= end % disk->page_bytes;
	return end > at ? end - at : left * ratio;
}

/* One turn. */
static void mem_work(struct mem_queue *mq)
{
	struct mem_disk *disk = to_disk(mq->q.be);
	uint64_t left = SLICE_BYTES;
	struct blk_request *req;

	while (left && (req = mq->first)) {
		unsigned ratio = bytes_per_cost(disk, req);
		uint64_t len = cut(disk, req, ratio, left);
		int r = slice(disk, req, req->backend[0], len);

		req->backend[0] += len;
		if (ratio)
			left -= len < ratio ? 1 : len / ratio;
		if (r || req->backend[0] == req->len_bytes)
			mem_pop(mq, r);
	}
}

static bool mem_turn(struct vdpa_loop_poller *poller)
{
	struct mem_queue *mq = vdpa_container_of(poller, struct mem_queue, poller);

	mem_work(mq);
	if (!mq->first)
		vdpa_loop_poller_del(poller);
	return true;
}

static void mem_wait(struct mem_queue *mq, struct blk_request **reqs, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		reqs[i]->next = NULL;
		reqs[i]->backend[0] = 0;
		*mq->tail = reqs[i];
		mq->tail = &reqs[i]->next;
	}
}

/* Reads and writes from the front, as long as the turn lasts; returns how many. */
static unsigned mem_at_once(struct mem_disk *disk, struct blk_request **reqs, unsigned n)
{
	uint64_t left = SLICE_BYTES;
	unsigned i;

	for (i = 0; i < n; i++) {
		struct blk_request *req = reqs[i];

		if (req->op > BLK_WRITE || req->len_bytes > left)
			break;
		left -= req->len_bytes;
		/* Random places miss cache and TLB: the next one is fetched during this copy. */
		if (disk->mem && i + 1 < n)
			__builtin_prefetch(disk->mem + reqs[i + 1]->offset_bytes);
		req->done(req, slice(disk, req, 0, req->len_bytes));
	}
	return i;
}

static void mem_submit(struct blk_queue *q, struct blk_request **reqs, unsigned n)
{
	struct mem_queue *mq = to_queue(q);
	unsigned i;

	if (mq->first) {
		mem_wait(mq, reqs, n);
		return;
	}
	i = mem_at_once(to_disk(q->be), reqs, n);
	if (i == n)
		return;
	mem_wait(mq, reqs + i, n - i);
	if (!i)
		mem_work(mq);
	if (mq->first && !mq->poller.loop)
		vdpa_loop_poller_add(mq->loop, &mq->poller, mem_turn);
}

static void mem_cancel(struct blk_queue *q)
{
	struct mem_queue *mq = to_queue(q);

	while (mq->first)
		mem_pop(mq, -ECANCELED);
	vdpa_loop_poller_del(&mq->poller);
}

/* ---- the tables ---- */

static void mem_show(struct blk_backend *be,
		     void (*emit)(void *arg, const char *key, const char *value), void *arg)
{
	struct mem_disk *disk = to_disk(be);
	char text[32];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)disk->capacity_bytes);
	emit(arg, "size", text);
	if (disk->bad_bytes) {
		snprintf(text, sizeof(text), "%llu+%llu", (unsigned long long)disk->bad_first,
			 (unsigned long long)disk->bad_bytes);
		emit(arg, "bad", text);
	}
	if (disk->mem)
		emit(arg, "huge_pages", disk->huge_pages ? "on" : "off");
	else
		emit(arg, "read_zeroes", disk->read_zeroes ? "on" : "off");
}

/* clang-format off */
#define BAD_ATTRS                                                                                  \
	{.name = "bad_first",                                                                      \
	 .type = VDPA_ATTR_SIZE,                                                                   \
	 .help = "where the bad piece begins, in bytes (default 0)"},                              \
	{.name = "bad_bytes",                                                                      \
	 .type = VDPA_ATTR_SIZE,                                                                   \
	 .help = "how long it is: requests that touch it fail with EIO (default 0: there is none)"}
/* clang-format on */

static const struct vdpa_attr_spec ram_attrs[] = {
	{.name = "size",
	 .type = VDPA_ATTR_SIZE,
	 .min = BLK_SECTOR_BYTES,
	 .max = 1ull << 46,
	 .help = "capacity in bytes (default 128M)"},
	{.name = "huge_pages",
	 .type = VDPA_ATTR_BOOL,
	 .help = "faster, and memory comes in pieces of 2M instead of 4K (default off)"},
	BAD_ATTRS,
	{0},
};

static const struct vdpa_attr_spec null_attrs[] = {
	{.name = "size",
	 .type = VDPA_ATTR_SIZE,
	 .min = BLK_SECTOR_BYTES,
	 .max = 1ull << 60,
	 .help = "capacity in bytes (default 1T)"},
	{.name = "read_zeroes",
	 .type = VDPA_ATTR_BOOL,
	 .help = "reads give zeroes (default on); off: buffers stay as they are"},
	BAD_ATTRS,
	{0},
};

const struct blk_backend_ops blk_ram_ops = {
	.name = "ram",
	.help = "in memory, lost when the device is deleted",
	.attrs = ram_attrs,
	.open = ram_open,
	.close = mem_close,
	.get_info = mem_get_info,
	.queue_open = mem_queue_open,
	.queue_close = mem_queue_close,
	.submit = mem_submit,
	.cancel = mem_cancel,
	.show = mem_show,
};

const struct blk_backend_ops blk_null_ops = {
	.name = "null",
	.help = "keeps nothing: writes vanish, reads give zeroes",
	.attrs = null_attrs,
	.open = null_open,
	.close = mem_close,
	.get_info = mem_get_info,
	.queue_open = mem_queue_open,
	.queue_close = mem_queue_close,
	.submit = mem_submit,
	.cancel = mem_cancel,
	.show = mem_show,
};
