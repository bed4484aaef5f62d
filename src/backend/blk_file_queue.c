// SPDX-License-Identifier: BSD-3-Clause
/* One queue's io_uring (blk_file.h has the theory). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "backend/blk_file.h"
#include "base/fd.h"

#define RETRY_NS 1000000ull

static bool reap(struct file_queue *fq);

/* @io is free; its requests, one or several, are over. */
static void finish(struct file_queue *fq, struct file_io *io, int result)
{
	struct blk_request *req = io->req, *next;
	bool merged = io->merge != NULL;

	blk_file_io_end(fq, io);
	io->busy = false;
	io->next = fq->idle;
	fq->idle = io;
	for (; req; req = next) {
		next = merged ? req->next : NULL;
		req->done(req, result);
	}
}

static void stall(struct file_queue *fq, struct file_io *io)
{
	io->next = NULL;
	*fq->stalled_tail = io;
	fq->stalled_tail = &io->next;
}

static void step(struct file_queue *fq, struct file_io *io)
{
	struct io_uring_sqe *sqe;

	if (io->cancelled) {
		finish(fq, io, -ECANCELED);
		return;
	}
	sqe = fq->disk->in_memory ? NULL : io_uring_get_sqe(&fq->ring);
	if (sqe)
		blk_file_io_prepare(fq, io, sqe);
	else
		stall(fq, io);
}

static void start(struct file_queue *fq, struct blk_request *req)
{
	struct file_io *io = fq->idle;
	int result;

	if (!io) {
		req->next = NULL;
		*fq->waiting_tail = req;
		fq->waiting_tail = &req->next;
		return;
	}
	fq->idle = io->next;
	blk_file_io_begin(fq, io, req);
	io->busy = true;
	if (blk_file_io_trivial(fq, io, &result))
		finish(fq, io, result);
	else
		step(fq, io);
}

/* As many of @reqs as go together; returns how many. */
static unsigned start_some(struct file_queue *fq, struct blk_request **reqs, unsigned n)
{
	unsigned together = blk_file_merge_count(fq, reqs, n);
	struct file_io *io = fq->idle;

	if (together < 2 || !io || !blk_file_merge_begin(fq, io, reqs, together)) {
		start(fq, reqs[0]);
		return 1;
	}
	fq->idle = io->next;
	io->busy = true;
	step(fq, io);
	return together;
}

/* Which of them failed, or is not complete, shows when each is done by itself. */
static void split(struct file_queue *fq, struct file_io *io)
{
	struct blk_request *req = io->req, *next;

	blk_file_io_end(fq, io);
	io->busy = false;
	io->next = fq->idle;
	fq->idle = io;
	for (; req; req = next) {
		next = req->next;
		start(fq, req);
	}
}

/* A step ended. */
static void ended(struct file_queue *fq, struct file_io *io, int res)
{
	int r;

	if (io->merge) {
		if (res >= 0 && (uint64_t)res == io->merge->bytes)
			finish(fq, io, 0);
		else if (io->cancelled)
			finish(fq, io, -ECANCELED);
		else
			split(fq, io);
		return;
	}
	r = blk_file_io_advance(fq, io, res);
	if (r > 0)
		step(fq, io);
	else
		finish(fq, io, r);
}

static void unwait(struct file_queue *fq)
{
	while (fq->idle && fq->waiting) {
		struct blk_request *req = fq->waiting;

		fq->waiting = req->next;
		if (!fq->waiting)
			fq->waiting_tail = &fq->waiting;
		start(fq, req);
	}
}

/* ---- steps that the loop carries out ---- */

/* What a step keeps the loop from doing, in bytes that are copied. */
static uint64_t cost(const struct file_io *io)
{
	uint64_t bytes = io->step_bytes;

	if (io->stage == FILE_ALLOC)
		bytes /= FILE_PUNCH_STEP_BYTES / FILE_STEP_BYTES;
	return bytes < BLK_SECTOR_BYTES ? BLK_SECTOR_BYTES : bytes;
}

/* One turn. A request that is not done afterwards goes behind the others. */
static void work(struct file_queue *fq)
{
	uint64_t left = FILE_STEP_BYTES;
	struct io_uring_sqe sqe;

	unwait(fq);
	while (left && fq->stalled) {
		struct file_io *io = fq->stalled;
		uint64_t bytes;

		fq->stalled = io->next;
		if (!fq->stalled)
			fq->stalled_tail = &fq->stalled;
		/* Newer versions of liburing clear some fields where they hand one out, and not
		 * again. */
		memset(&sqe, 0, sizeof(sqe));
		blk_file_io_prepare(fq, io, &sqe);
		bytes = cost(io);
		left -= bytes < left ? bytes : left;
		ended(fq, io, blk_file_sync(&sqe));
		unwait(fq);
	}
}

static bool turn(struct vdpa_loop_poller *poller)
{
	struct file_queue *fq = vdpa_container_of(poller, struct file_queue, poller);

	work(fq);
	if (!fq->stalled)
		vdpa_loop_poller_del(poller);
	return true;
}

/* ---- steps that the ring carries out ---- */

static void retry(struct vdpa_loop_timer *timer);

/* Hand over what was prepared. What the kernel does not take now is offered again soon. */
static void push(struct file_queue *fq)
{
	int r = 0;

	if (io_uring_sq_ready(&fq->ring))
		r = io_uring_submit(&fq->ring);
	if (r < 0 || io_uring_sq_ready(&fq->ring) || fq->stalled)
		vdpa_loop_timer_set(fq->loop, &fq->retry, vdpa_clock_ns() + RETRY_NS, retry);
}

static void unstall(struct file_queue *fq)
{
	struct file_io *io = fq->stalled;

	fq->stalled = NULL;
	fq->stalled_tail = &fq->stalled;
	while (io) {
		struct file_io *next = io->next;

		step(fq, io);
		io = next;
	}
}

static void retry(struct vdpa_loop_timer *timer)
{
	struct file_queue *fq = vdpa_container_of(timer, struct file_queue, retry);

	reap(fq);
}

/* The kernel has completions that it posts when asked, or that did not fit. */
static bool must_ask(const struct file_queue *fq)
{
	unsigned flags = __atomic_load_n(fq->ring.sq.kflags, __ATOMIC_RELAXED);

	return flags & (IORING_SQ_CQ_OVERFLOW | IORING_SQ_TASKRUN);
}

/* Bounded: what had completed when we looked, at most a ring full. */
static bool reap(struct file_queue *fq)
{
	struct io_uring_cqe *cqe;
	bool any = false;
	unsigned n;

	if (must_ask(fq))
		io_uring_get_events(&fq->ring);
	n = io_uring_cq_ready(&fq->ring);
	while (n-- && !io_uring_peek_cqe(&fq->ring, &cqe)) {
		struct file_io *io = io_uring_cqe_get_data(cqe);
		int res = cqe->res;

		io_uring_cqe_seen(&fq->ring, cqe);
		if (!io)
			continue;
		any = true;
		ended(fq, io, res);
	}
	unstall(fq);
	unwait(fq);
	push(fq);
	return any;
}

/* Each signal is an edge of its own, so the eventfd need not be read. */
static void ring_ready(struct vdpa_loop_fd *lfd, uint32_t revents)
{
	struct file_queue *fq = vdpa_container_of(lfd, struct file_queue, lfd);

	reap(fq);
	/* Completions beyond the bound, or that the kernel keeps while the ring is full. */
	if (io_uring_cq_ready(&fq->ring) || must_ask(fq))
		vdpa_eventfd_signal(fq->eventfd);
}

void blk_file_submit(struct blk_queue *q, struct blk_request **reqs, unsigned n)
{
	struct file_queue *fq = to_file_queue(q);
	bool busy = fq->stalled != NULL;

	for (unsigned i = 0; i < n;)
		i += start_some(fq, reqs + i, n - i);
	if (!fq->disk->in_memory) {
		push(fq);
		return;
	}
	if (!busy)
		work(fq);
	if (fq->stalled && !fq->poller.loop)
		vdpa_loop_poller_add(fq->loop, &fq->poller, turn);
}

/* A look into memory: no system call when there is nothing. */
bool blk_file_poll(struct blk_queue *q)
{
	struct file_queue *fq = to_file_queue(q);

	if (fq->disk->in_memory || (!io_uring_cq_ready(&fq->ring) && !must_ask(fq)))
		return false;
	return reap(fq);
}

/* What waits is ended here; what the kernel has is asked back, and comes back through the ring. */
void blk_file_cancel(struct blk_queue *q)
{
	struct file_queue *fq = to_file_queue(q);
	struct blk_request *req = fq->waiting;

	fq->waiting = NULL;
	fq->waiting_tail = &fq->waiting;
	while (req) {
		struct blk_request *next = req->next;

		req->done(req, -ECANCELED);
		req = next;
	}
	for (unsigned i = 0; i < fq->nios; i++)
		if (fq->ios[i].busy)
			fq->ios[i].cancelled = true;
	unstall(fq);
	if (fq->disk->in_memory) {
		vdpa_loop_poller_del(&fq->poller);
		return;
	}
	for (unsigned i = 0; i < fq->nios; i++) {
		struct io_uring_sqe *sqe;

		if (!fq->ios[i].busy)
			continue;
		sqe = io_uring_get_sqe(&fq->ring);
		if (!sqe) {
			push(fq);
			sqe = io_uring_get_sqe(&fq->ring);
		}
		if (!sqe)
			break; /* it completes by itself, later */
		io_uring_prep_cancel(sqe, &fq->ios[i], 0);
		io_uring_sqe_set_data(sqe, NULL);
	}
	push(fq);
}

/*
 * A worker's ring belongs to one thread: the kernel may leave completions where they are until that
 * thread asks, instead of interrupting it. The control loop may be run by any.
 */
static int ring_init(struct file_queue *fq)
{
	int r = -EINVAL;

	if (vdpa_loop_index(fq->loop))
		r = io_uring_queue_init(fq->nios, &fq->ring,
					IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
						IORING_SETUP_TASKRUN_FLAG);
	if (r == -EINVAL)
		r = io_uring_queue_init(fq->nios, &fq->ring, 0);
	return r;
}

static int ring_setup(struct file_queue *fq)
{
	int fds[2] = {fq->disk->fd, fq->disk->direct_fd};
	int r = ring_init(fq);

	if (r) {
		fq->ring.ring_fd = -1;
		return r;
	}
	/* Saves a look-up per step; where it is not possible, nothing is lost. */
	fq->registered = !io_uring_register_files(&fq->ring, fds, fds[1] < 0 ? 1 : 2);
	blk_file_fixed_setup(fq);
	fq->eventfd = vdpa_eventfd_new();
	if (fq->eventfd < 0)
		return fq->eventfd;
	r = io_uring_register_eventfd(&fq->ring, fq->eventfd);
	if (!r)
		r = vdpa_loop_fd_add(fq->loop, &fq->lfd, fq->eventfd, EPOLLIN | EPOLLET,
				     ring_ready);
	return r;
}

static struct file_queue *queue_alloc(struct blk_backend *be, struct vdpa_loop *loop,
				      unsigned depth)
{
	struct file_queue *fq = calloc(1, sizeof(*fq));

	if (!fq)
		return NULL;
	fq->q.be = be;
	fq->disk = to_file(be);
	fq->loop = loop;
	fq->eventfd = -1;
	fq->ring.ring_fd = -1;
	fq->stalled_tail = &fq->stalled;
	fq->waiting_tail = &fq->waiting;
	fq->nios = depth < 1 ? 1 : depth > FILE_IOS_MAX ? FILE_IOS_MAX : depth;
	fq->ios = calloc(fq->nios, sizeof(*fq->ios));
	if (!fq->ios) {
		free(fq);
		return NULL;
	}
	for (unsigned i = 0; i < fq->nios; i++) {
		fq->ios[i].next = fq->idle;
		fq->idle = &fq->ios[i];
	}
	return fq;
}

int blk_file_queue_open(struct blk_backend *be, struct vdpa_loop *loop, unsigned depth,
			struct blk_queue **out)
{
	struct file_queue *fq = queue_alloc(be, loop, depth);
	int r;

	if (!fq)
		return -ENOMEM;
	r = fq->disk->in_memory ? 0 : ring_setup(fq);
	if (r) {
		blk_file_queue_close(&fq->q);
		return r;
	}
	*out = &fq->q;
	return 0;
}

void blk_file_queue_close(struct blk_queue *q)
{
	struct file_queue *fq = to_file_queue(q);

	vdpa_loop_timer_cancel(&fq->retry);
	vdpa_loop_poller_del(&fq->poller);
	vdpa_loop_fd_del(&fq->lfd);
	/* Now, and not when the kernel comes to it. */
	if (fq->fixed)
		io_uring_unregister_buffers(&fq->ring);
	if (fq->registered)
		io_uring_unregister_files(&fq->ring);
	if (fq->ring.ring_fd >= 0)
		io_uring_queue_exit(&fq->ring);
	blk_file_fixed_free(fq);
	vdpa_fd_close(&fq->eventfd);
	while (fq->nbounces)
		free(fq->bounces[--fq->nbounces]);
	blk_file_merge_free(fq);
	free(fq->ios);
	free(fq);
}
