/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of the file backend. A request is carried out in steps (struct file_io): a step moves as
 * much as one submission is allowed to, and what is left makes the next one. So a short read or
 * write, more pieces than one call takes, a request of gigabytes, and a piece that direct I/O
 * cannot take are one mechanism. Requests of a batch that are neighbours on the disk may share a
 * step; when that does anything but succeed as a whole, each is begun anew by itself.
 *
 * A step is described as an io_uring submission. Where the file's data are memory (tmpfs), io_uring
 * would hand every step to a thread of the kernel, since these file systems cannot say "not now",
 * and a plain system call is several times faster: there the queue carries its steps out itself, a
 * bounded number of bytes per turn of the loop (blk_file_sync.c). Everywhere else each queue has an
 * io_uring of its own, whose descriptor the queue's loop watches; a batch is submitted by one
 * system call, and completions are taken from memory. Where the kernel can (6.1), it posts them
 * only when asked, instead of interrupting the loop.
 *
 * The file is open twice: through the page cache, and with O_DIRECT where it can be. Each step
 * picks: direct when offset, length and memory are aligned; direct through a bounce buffer when
 * only the memory is not; through the page cache when the offset or length is not, or when there is
 * no memory for a bounce buffer. The kernel keeps the two coherent for requests that do not overlap
 * in time, and for those that do a disk promises nothing either.
 *
 * Who attacks: whoever else can write to the file. It may shrink (what is missing reads as
 * zeroes), grow (ignored), or fill its file system (the write fails). And the driver, by requests
 * that keep the loop busy: hence the bounds.
 */
#ifndef BACKEND_BLK_FILE_H
#define BACKEND_BLK_FILE_H

#include <liburing.h>
#include <stdatomic.h>
#include "backend/backends.h"

#define FILE_IOS_MAX 1024 /* steps in flight per queue; further requests wait */
#define FILE_BOUNCE_BYTES (256u << 10)
#define FILE_BOUNCE_KEEP 8 /* idle bounce buffers that a queue keeps */
#define FILE_RETRIES 16	   /* of one step, after EINTR or EAGAIN */
/* Most bytes of one step: through the page cache they are copied while the loop waits. */
#define FILE_STEP_BYTES (1u << 20)
#define FILE_DIRECT_STEP_BYTES (4u << 20)
#define FILE_PUNCH_STEP_BYTES (16u << 20) /* when it is carried out by the loop itself */
/* Requests of one batch that share a step. */
#define FILE_MERGE_BYTES (256u << 10)
#define FILE_MERGE_PIECES 64u
/* Guest memory that is registered with the ring: in pieces, so that none takes long to pin. */
#define FILE_FIXED_MAX 64
#define FILE_FIXED_BYTES (64ull << 20)
#define FILE_MERGE_KEEP 16 /* lists of pieces that a queue keeps */

struct file_disk {
	struct blk_backend be;
	int fd;	       /* through the page cache; holds the lock */
	int direct_fd; /* -1: none */
	uint64_t capacity_bytes;
	uint32_t block_bytes, physical_block_bytes;
	uint32_t mem_align, offset_align; /* of direct I/O */
	bool block_device, read_only, locked;
	bool in_memory;	   /* the loop carries steps out itself */
	bool writethrough; /* whatever the driver asks for */
	bool unsafe;	   /* flushes are not carried out */
	bool fixed_buffers;
	_Atomic bool fixed_refused; /* and it was logged */
	bool punch;		    /* holes can be punched */
	/* Any loop. */
	_Atomic bool zero_range; /* FALLOC_FL_ZERO_RANGE works */
	_Atomic bool writeback;
	_Atomic int flush_error; /* a flush failed: data that the page cache dropped stays lost */
	const struct vdpa_log *log;
	char *name; /* of the device */
	char *path;
	const char *cache; /* as asked for */
};

struct file_queue;

enum file_stage {
	FILE_DATA,
	FILE_ALLOC, /* fallocate() */
	FILE_ZERO,  /* zeroes are written */
	FILE_SYNC,
};

/* One request on its way; the queue's loop. */
struct file_io {
	struct blk_request *req;  /* merged: the first one; the others follow by their next */
	struct file_merge *merge; /* NULL: one request only */
	struct file_io *next;
	enum file_stage stage;
	uint64_t moved_bytes; /* READ, WRITE, zeroes: done so far */
	uint64_t step_bytes;  /* of the step under way: asked for */
	unsigned piece;	      /* where moved_bytes is in the request's pieces */
	size_t piece_off;
	struct iovec single; /* rest of a piece, or the bounce buffer */
	void *bounce;
	unsigned retries;
	bool busy, cancelled, direct, no_direct;
};

/* Pieces of neighbours. */
struct file_merge {
	struct file_merge *next;
	uint64_t bytes;
	unsigned niov;
	struct iovec iov[FILE_MERGE_PIECES];
};

struct file_queue {
	struct blk_queue q;
	struct file_disk *disk;
	struct vdpa_loop *loop;
	struct io_uring ring;	  /* not with in_memory */
	struct file_fixed *fixed; /* NULL: no fixed buffers */
	bool registered;	  /* the ring knows the files: 0 page cache, 1 direct */
	int eventfd;
	struct vdpa_loop_fd lfd;
	struct vdpa_loop_poller poller; /* in_memory: while there are steps */
	struct vdpa_loop_timer retry;
	struct file_io *ios;
	unsigned nios;
	struct file_io *idle;
	struct file_io *stalled, **stalled_tail; /* no submission entry was free, or in_memory */
	struct blk_request *waiting, **waiting_tail; /* no struct file_io was free */
	void *bounces[FILE_BOUNCE_KEEP];
	unsigned nbounces;
	struct file_merge *merges; /* idle */
	unsigned nmerges;
};

static inline struct file_disk *to_file(struct blk_backend *be)
{
	return vdpa_container_of(be, struct file_disk, be);
}

static inline struct file_queue *to_file_queue(struct blk_queue *q)
{
	return vdpa_container_of(q, struct file_queue, q);
}

extern const char *const blk_file_caches[]; /* the first is the default */

int blk_file_open(const struct backend_open_params *params, struct blk_backend **out,
		  struct vdpa_error *err);
void blk_file_close(struct blk_backend *be);

int blk_file_queue_open(struct blk_backend *be, struct vdpa_loop *loop, unsigned depth,
			struct blk_queue **out);
void blk_file_queue_close(struct blk_queue *q);
void blk_file_submit(struct blk_queue *q, struct blk_request **reqs, unsigned n);
void blk_file_cancel(struct blk_queue *q);
bool blk_file_poll(struct blk_queue *q);

/* Steps. Begin one request: fills @io. */
void blk_file_io_begin(struct file_queue *fq, struct file_io *io, struct blk_request *req);
/* Describe the next step in @sqe. */
void blk_file_io_prepare(struct file_queue *fq, struct file_io *io, struct io_uring_sqe *sqe);
/* The step ended with @res. Returns 1 when another one is needed, else 0 or -errno: the request's.
 */
int blk_file_io_advance(struct file_queue *fq, struct file_io *io, int res);
/* Needs no submission at all? Then *@result is the request's. */
bool blk_file_io_trivial(struct file_queue *fq, struct file_io *io, int *result);
void blk_file_io_end(struct file_queue *fq, struct file_io *io);
/* Writes of @req are to be on stable storage when they complete? */
bool blk_file_needs_sync(const struct file_disk *disk, const struct blk_request *req);

/* How many requests from the front can share a step; 1: none with the first. */
unsigned blk_file_merge_count(const struct file_queue *fq, struct blk_request *const *reqs,
			      unsigned n);
/* Begin a step of @n requests in @io. False: no memory, begin them one by one. */
bool blk_file_merge_begin(struct file_queue *fq, struct file_io *io, struct blk_request **reqs,
			  unsigned n);
void blk_file_merge_end(struct file_queue *fq, struct file_io *io);
void blk_file_merge_free(struct file_queue *fq);

/* Slot of the registered memory that holds all of it; -1: none. */
int blk_file_fixed_find(struct file_queue *fq, const void *addr, size_t len);
void blk_file_fixed_setup(struct file_queue *fq);
void blk_file_fixed_gone(struct blk_queue *q, uintptr_t first, uintptr_t last);
void blk_file_fixed_free(struct file_queue *fq);

/* Carry the step out now: its result, as the ring would give it. */
int blk_file_sync(const struct io_uring_sqe *sqe);

#endif
