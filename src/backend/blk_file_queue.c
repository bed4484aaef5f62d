// SPDX-License-Identifier: BSD-3-Clause
/* One queue's io_uring (blk_file.h has the theory). */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "backend/blk_file.h"
#include "base/fd.h"

#define RETRY_NS 1000000ull

static bool reap(struct file_queue *fq);

static void finish(struct file_queue *fq, struct file_io *io, int result)
{
	struct blk_request *req = io->req;

	blk_file_io_end(fq, io);
	io->busy = false;
	io->next = fq->idle;
	fq->idle = io;
	req->done(req, result);
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
	sqe = io_uring_get_sqe(&fq->ring);
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

static void retry(struct vdpa_loop_timer *timer)
{
	struct file_queue *fq = vdpa_container_of(timer, struct file_queue, retry);

	reap(fq);
}

/* Bounded: what had completed when we looked, at most a ring full. */
static bool reap(struct file_queue *fq)
{
	unsigned n = io_uring_cq_ready(&fq->ring);
	struct io_uring_cqe *cqe;
	bool any = false;

	while (n-- && !io_uring_peek_cqe(&fq->ring, &cqe)) {
		struct file_io *io = io_uring_cqe_get_data(cqe);
		int r, res = cqe->res;

		io_uring_cqe_seen(&fq->ring, cqe);
		if (!io)
			continue;
		any = true;
		r = blk_file_io_advance(fq, io, res);
		if (r > 0)
			step(fq, io);
		else
			finish(fq, io, r);
	}
	unstall(fq);
	unwait(fq);
	push(fq);
	return any;
}

static void ring_ready(struct vdpa_loop_fd *lfd, uint32_t revents)
{
	struct file_queue *fq = vdpa_container_of(lfd, struct file_queue, lfd);

	vdpa_eventfd_drain(fq->eventfd);
	reap(fq);
	/* Completions beyond the bound, or that the kernel keeps while the ring is full. */
	if (io_uring_cq_ready(&fq->ring) || io_uring_cq_has_overflow(&fq->ring))
		vdpa_eventfd_signal(fq->eventfd);
}

void blk_file_submit(struct blk_queue *q, struct blk_request **reqs, unsigned n)
{
	struct file_queue *fq = to_file_queue(q);

	for (unsigned i = 0; i < n; i++)
		start(fq, reqs[i]);
	push(fq);
}

bool blk_file_poll(struct blk_queue *q)
{
	return reap(to_file_queue(q));
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

static int queue_setup(struct file_queue *fq)
{
	int r;

	r = io_uring_register_eventfd(&fq->ring, fq->eventfd);
	if (!r)
		r = vdpa_loop_fd_add(fq->loop, &fq->lfd, fq->eventfd, EPOLLIN, ring_ready);
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
	r = io_uring_queue_init(fq->nios, &fq->ring, 0);
	if (r) {
		free(fq->ios);
		free(fq);
		return r;
	}
	fq->eventfd = vdpa_eventfd_new();
	r = fq->eventfd < 0 ? fq->eventfd : queue_setup(fq);
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
	vdpa_loop_fd_del(&fq->lfd);
	io_uring_queue_exit(&fq->ring);
	vdpa_fd_close(&fq->eventfd);
	while (fq->nbounces)
		free(fq->bounces[--fq->nbounces]);
	free(fq->ios);
	free(fq);
}
