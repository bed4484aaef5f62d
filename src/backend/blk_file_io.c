// SPDX-License-Identifier: BSD-3-Clause
/* The steps of one request (blk_file.h has the theory). */
#include <errno.h>
#include <limits.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdlib.h>
#include "backend/blk_file.h"

#ifndef IOV_MAX
#define IOV_MAX 1024
#endif

#define ZERO_BYTES (64u << 10)
#define ZERO_PIECES 16u

static const char zeroes[ZERO_BYTES] __attribute__((aligned(4096)));

static void *bounce_get(struct file_queue *fq)
{
	void *buf;

	if (fq->nbounces)
		return fq->bounces[--fq->nbounces];
	return posix_memalign(&buf, 4096, FILE_BOUNCE_BYTES) ? NULL : buf;
}

static void bounce_put(struct file_queue *fq, struct file_io *io)
{
	if (!io->bounce)
		return;
	if (fq->nbounces < FILE_BOUNCE_KEEP)
		fq->bounces[fq->nbounces++] = io->bounce;
	else
		free(io->bounce);
	io->bounce = NULL;
}

bool blk_file_needs_sync(const struct file_disk *disk, const struct blk_request *req)
{
	if (disk->unsafe)
		return false;
	return (req->flags & BLK_F_FUA) || disk->writethrough || !atomic_load(&disk->writeback);
}

void blk_file_io_begin(struct file_queue *fq, struct file_io *io, struct blk_request *req)
{
	struct file_io *next = io->next;

	*io = (struct file_io){.req = req, .next = next};
	switch (req->op) {
	case BLK_READ:
	case BLK_WRITE:
		io->stage = FILE_DATA;
		break;
	case BLK_FLUSH:
		io->stage = FILE_SYNC;
		break;
	case BLK_DISCARD:
		io->stage = FILE_ALLOC;
		break;
	case BLK_WRITE_ZEROES:
		io->stage = FILE_ALLOC;
		if (!atomic_load(&fq->disk->zero_range) &&
		    !((req->flags & BLK_F_UNMAP) && fq->disk->punch))
			io->stage = FILE_ZERO;
		break;
	}
}

bool blk_file_io_trivial(struct file_queue *fq, struct file_io *io, int *result)
{
	const struct blk_request *req = io->req;

	*result = 0;
	if (fq->disk->read_only) {
		*result = req->op == BLK_READ || req->op == BLK_FLUSH ? 0 : -EROFS;
		return req->op != BLK_READ || !req->len_bytes;
	}
	if (req->op == BLK_FLUSH) {
		if (fq->disk->unsafe)
			return true;
		*result = atomic_load(&fq->disk->flush_error);
		return *result != 0;
	}
	if (req->op == BLK_DISCARD && !fq->disk->punch) {
		*result = -EOPNOTSUPP;
		return true;
	}
	return !req->len_bytes;
}

/* Some of the request's memory, from where it is. */
struct run {
	const struct iovec *iov;
	unsigned n;
	uint64_t bytes;
	bool aligned; /* for direct I/O */
};

static void skip_done(struct file_io *io)
{
	const struct blk_request *req = io->req;

	while (io->piece < req->niov && io->piece_off >= req->iov[io->piece].iov_len) {
		io->piece_off -= req->iov[io->piece].iov_len;
		io->piece++;
	}
}

static bool piece_aligned(const struct file_disk *disk, const struct iovec *iov)
{
	return !((uintptr_t)iov->iov_base % disk->mem_align || iov->iov_len % disk->offset_align);
}

/* The rest of a piece that was begun, or the front of one that is too large. */
static void part_run(const struct file_disk *disk, struct file_io *io, uint64_t max,
		     struct run *run)
{
	const struct iovec *iov = &io->req->iov[io->piece];

	io->single.iov_base = (char *)iov->iov_base + io->piece_off;
	io->single.iov_len = iov->iov_len - io->piece_off;
	if (io->single.iov_len > max)
		io->single.iov_len = max;
	*run = (struct run){&io->single, 1, io->single.iov_len, true};
	if (disk->direct_fd >= 0)
		run->aligned = piece_aligned(disk, run->iov);
}

/*
 * As much as one step takes. A long run of aligned pieces is not made to share the fate of a piece
 * that is not aligned and comes later; a short one is: copying it is cheaper than a step more.
 */
static void next_run(const struct file_disk *disk, struct file_io *io, uint64_t max,
		     struct run *run)
{
	const struct blk_request *req = io->req;
	unsigned i;

	skip_done(io);
	if (io->piece_off || req->iov[io->piece].iov_len > max) {
		part_run(disk, io, max, run);
		return;
	}
	*run = (struct run){&req->iov[io->piece], 0, 0, true};
	for (i = io->piece; i < req->niov && run->n < IOV_MAX; i++) {
		const struct iovec *iov = &req->iov[i];
		bool aligned = disk->direct_fd < 0 || piece_aligned(disk, iov);

		if (run->bytes + iov->iov_len > max ||
		    (!aligned && run->aligned && run->bytes > FILE_BOUNCE_BYTES))
			break;
		run->aligned &= aligned;
		run->bytes += iov->iov_len;
		run->n++;
	}
}

/* Through a bounce buffer? Then it is filled (for a write) and io->single describes it. */
static bool bounce_step(struct file_queue *fq, struct file_io *io, struct run *run)
{
	const struct blk_request *req = io->req;
	uint64_t bytes = req->len_bytes - io->moved_bytes;

	if (bytes > FILE_BOUNCE_BYTES)
		bytes = FILE_BOUNCE_BYTES;
	bytes -= bytes % fq->disk->offset_align;
	if (!bytes)
		return false;
	io->bounce = bounce_get(fq);
	if (!io->bounce)
		return false;
	if (req->op == BLK_WRITE)
		blk_iov_to_buf(req->iov, req->niov, io->moved_bytes, io->bounce, bytes);
	io->single.iov_base = io->bounce;
	io->single.iov_len = bytes;
	*run = (struct run){&io->single, 1, bytes, true};
	return true;
}

/* One piece needs no list of pieces: cheaper. */
static void prepare_rw(struct file_queue *fq, struct file_io *io, const struct run *run,
		       struct io_uring_sqe *sqe)
{
	const struct blk_request *req = io->req;
	uint64_t offset = req->offset_bytes + io->moved_bytes;
	int fd = io->direct ? fq->disk->direct_fd : fq->disk->fd;
	unsigned len = run->n == 1 ? (unsigned)run->bytes : run->n;
	const void *addr = run->n == 1 ? run->iov->iov_base : (const void *)run->iov;
	int slot;
	static const uint8_t ops[2][2] = {{IORING_OP_READV, IORING_OP_READ},
					  {IORING_OP_WRITEV, IORING_OP_WRITE}};

	io_uring_prep_rw(ops[req->op == BLK_WRITE][run->n == 1], sqe, fd, addr, len, offset);
	slot = io->direct && run->n == 1 && !io->bounce ? blk_file_fixed_find(fq, addr, len) : -1;
	if (slot >= 0) {
		sqe->opcode = req->op == BLK_WRITE ? IORING_OP_WRITE_FIXED : IORING_OP_READ_FIXED;
		sqe->buf_index = (uint16_t)slot;
	}
	if (req->op == BLK_WRITE && blk_file_needs_sync(fq->disk, req))
		sqe->rw_flags = RWF_DSYNC;
	io->step_bytes = run->bytes;
}

static void prepare_data(struct file_queue *fq, struct file_io *io, struct io_uring_sqe *sqe)
{
	struct file_disk *disk = fq->disk;
	uint64_t offset = io->req->offset_bytes + io->moved_bytes;
	struct run run;

	io->direct = disk->direct_fd >= 0 && !io->no_direct && offset % disk->offset_align == 0;
	if (io->merge)
		run = (struct run){io->merge->iov, io->merge->niov, io->merge->bytes, true};
	else
		next_run(disk, io, io->direct ? FILE_DIRECT_STEP_BYTES : FILE_STEP_BYTES, &run);
	if (io->direct && !run.aligned && !bounce_step(fq, io, &run))
		io->direct = false;
	prepare_rw(fq, io, &run, sqe);
}

static void prepare_alloc(struct file_queue *fq, struct file_io *io, struct io_uring_sqe *sqe)
{
	const struct blk_request *req = io->req;
	bool hole = req->op == BLK_DISCARD || ((req->flags & BLK_F_UNMAP) && fq->disk->punch);
	int mode = FALLOC_FL_KEEP_SIZE | (hole ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);

	io->step_bytes = req->len_bytes - io->moved_bytes;
	/* The ring hands it to a thread. */
	if (fq->disk->in_memory && io->step_bytes > FILE_PUNCH_STEP_BYTES)
		io->step_bytes = FILE_PUNCH_STEP_BYTES;
	io_uring_prep_fallocate(sqe, fq->disk->fd, mode,
				(off_t)(req->offset_bytes + io->moved_bytes),
				(off_t)io->step_bytes);
}

/* One page of zeroes, many times over. */
static void prepare_zero(struct file_queue *fq, struct file_io *io, struct io_uring_sqe *sqe)
{
	static const struct iovec whole[ZERO_PIECES] = {
#define Z {(void *)(uintptr_t)zeroes, ZERO_BYTES}
		Z, Z, Z, Z, Z, Z, Z, Z, Z, Z, Z, Z, Z, Z, Z, Z,
#undef Z
	};
	uint64_t left = io->req->len_bytes - io->moved_bytes;
	uint64_t offset = io->req->offset_bytes + io->moved_bytes;
	const struct iovec *iov = whole;
	unsigned n = left / ZERO_BYTES < ZERO_PIECES ? (unsigned)(left / ZERO_BYTES) : ZERO_PIECES;

	if (!n) {
		io->single = (struct iovec){whole[0].iov_base, left};
		iov = &io->single;
		n = 1;
	}
	io->step_bytes = left < ZERO_BYTES ? left : (uint64_t)n * ZERO_BYTES;
	io_uring_prep_writev(sqe, fq->disk->fd, iov, n, offset);
}

void blk_file_io_prepare(struct file_queue *fq, struct file_io *io, struct io_uring_sqe *sqe)
{
	switch (io->stage) {
	case FILE_DATA:
		prepare_data(fq, io, sqe);
		break;
	case FILE_ALLOC:
		prepare_alloc(fq, io, sqe);
		break;
	case FILE_ZERO:
		prepare_zero(fq, io, sqe);
		break;
	case FILE_SYNC:
		io_uring_prep_fsync(sqe, fq->disk->fd, IORING_FSYNC_DATASYNC);
		break;
	}
	if (fq->registered) {
		sqe->fd = io->stage == FILE_DATA && io->direct;
		sqe->flags |= IOSQE_FIXED_FILE;
	}
	io_uring_sqe_set_data(sqe, io);
}

static int advance_data(struct file_queue *fq, struct file_io *io, uint64_t res)
{
	const struct blk_request *req = io->req;
	bool read = req->op == BLK_READ;

	if (read && io->bounce)
		blk_iov_from_buf(req->iov, req->niov, io->moved_bytes, io->bounce, res);
	bounce_put(fq, io);
	if (!res && !read)
		return -EIO;
	if (!res) {
		/* The file ends early: the rest of the disk reads as a hole would. */
		blk_iov_zero(req->iov, req->niov, io->moved_bytes,
			     req->len_bytes - io->moved_bytes);
		return 0;
	}
	io->retries = 0;
	io->moved_bytes += res;
	io->piece_off += res;
	return io->moved_bytes < req->len_bytes;
}

/* Zeroes are there; must they be on stable storage too? */
static int advance_zeroes(struct file_queue *fq, struct file_io *io)
{
	if (io->req->op != BLK_WRITE_ZEROES || !blk_file_needs_sync(fq->disk, io->req))
		return 0;
	io->stage = FILE_SYNC;
	return 1;
}

static int advance_error(struct file_queue *fq, struct file_io *io, int error)
{
	struct file_disk *disk = fq->disk;
	bool refused = error == -EOPNOTSUPP || error == -EINVAL || error == -ENOSYS;

	bounce_put(fq, io);
	if (io->cancelled)
		return -ECANCELED;
	if ((error == -EINTR || error == -EAGAIN) && io->retries++ < FILE_RETRIES)
		return 1;
	if (io->stage == FILE_DATA && io->direct && error == -EINVAL) {
		io->no_direct = true;
		return 1;
	}
	if (io->stage == FILE_ALLOC && refused) {
		/* A discard is a hint; zeroes are not. */
		if (io->req->op == BLK_DISCARD)
			return 0;
		if (error == -EOPNOTSUPP && !(io->req->flags & BLK_F_UNMAP))
			atomic_store(&disk->zero_range, false);
		io->stage = FILE_ZERO;
		return 1;
	}
	/*
	 * After a failed fsync() the page cache forgets what it could not write, and the next one
	 * would succeed: the driver must not take that for "everything is safe".
	 */
	if (io->stage == FILE_SYNC)
		atomic_store(&disk->flush_error, error);
	return error;
}

int blk_file_io_advance(struct file_queue *fq, struct file_io *io, int res)
{
	if (res < 0)
		return advance_error(fq, io, res);
	switch (io->stage) {
	case FILE_DATA:
		return advance_data(fq, io, (uint64_t)res);
	case FILE_ALLOC:
		io->moved_bytes += io->step_bytes;
		return io->moved_bytes < io->req->len_bytes ? 1 : advance_zeroes(fq, io);
	case FILE_ZERO:
		if (!res)
			return -EIO;
		io->moved_bytes += (uint64_t)res;
		return io->moved_bytes < io->req->len_bytes ? 1 : advance_zeroes(fq, io);
	case FILE_SYNC:
		break;
	}
	return 0;
}

void blk_file_io_end(struct file_queue *fq, struct file_io *io)
{
	bounce_put(fq, io);
	blk_file_merge_end(fq, io);
	io->req = NULL;
}
