// SPDX-License-Identifier: BSD-3-Clause
/*
 * Fixed buffers: memory of the guest that the ring knows, so that direct I/O need not look its
 * pages up for each request. It is pinned while it is known, which is what the user chose: memory
 * that the guest gives back (balloon, virtio-mem), and post-copy migration, do not go with it.
 *
 * Memory is registered when a request first uses it, in pieces of at most FILE_FIXED_BYTES that lie
 * inside of one region, and let go of when anything of it is taken away. A stale registration would
 * be I/O on pages that are no longer the guest's: so nothing is ever registered beyond the bounds
 * that the queue's owner gives, who tells when they end. What cannot be registered (RLIMIT_MEMLOCK,
 * too many pieces) goes the usual way.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "backend/blk_file.h"

struct fixed_piece {
	uintptr_t first, last; /* last 0: free */
};

struct file_fixed {
	unsigned hit; /* the last one that was used */
	unsigned n;   /* none beyond */
	bool full;
	struct fixed_piece pieces[FILE_FIXED_MAX];
};

static bool holds(const struct fixed_piece *piece, uintptr_t first, uintptr_t last)
{
	return piece->first <= first && last <= piece->last;
}

static int update(struct file_queue *fq, unsigned slot, const struct iovec *iov)
{
	__u64 tag = 0;
	int r = io_uring_register_buffers_update_tag(&fq->ring, slot, iov, &tag, 1);

	return r < 0 ? r : 0;
}

/* The piece of [@first, @last] around @addr: cut at multiples from its start. */
static struct fixed_piece cut(uintptr_t addr, uintptr_t first, uintptr_t last)
{
	struct fixed_piece piece;

	piece.first = addr - (addr - first) % FILE_FIXED_BYTES;
	piece.last =
		last - piece.first < FILE_FIXED_BYTES ? last : piece.first + FILE_FIXED_BYTES - 1;
	return piece;
}

static void refused(struct file_queue *fq, int error)
{
	fq->fixed->full = true;
	if (atomic_exchange(&fq->disk->fixed_refused, true))
		return;
	vdpa_log(fq->disk->log, VDPA_LOG_WARN, fq->disk->name,
		 "fixed_buffers: memory cannot be registered (%s; the limit of locked memory, "
		 "RLIMIT_MEMLOCK, counts): I/O goes on without",
		 strerror(-error));
}

static int add(struct file_queue *fq, const void *addr)
{
	struct file_fixed *fixed = fq->fixed;
	uintptr_t first, last;
	struct fixed_piece piece;
	unsigned slot = 0;
	int r;

	if (fixed->full || !fq->q.bounds || !fq->q.bounds(fq->q.bounds_arg, addr, &first, &last))
		return -1;
	while (slot < fixed->n && fixed->pieces[slot].last)
		slot++;
	if (slot == FILE_FIXED_MAX) {
		fixed->full = true;
		return -1;
	}
	piece = cut((uintptr_t)addr, first, last);
	r = update(fq, slot, &(struct iovec){(void *)piece.first, piece.last - piece.first + 1});
	if (r) {
		refused(fq, r);
		return -1;
	}
	fixed->pieces[slot] = piece;
	if (slot == fixed->n)
		fixed->n++;
	return (int)slot;
}

int blk_file_fixed_find(struct file_queue *fq, const void *addr, size_t len)
{
	struct file_fixed *fixed = fq->fixed;
	uintptr_t first = (uintptr_t)addr, last = first + (len - 1);
	int slot;

	if (!fixed)
		return -1;
	if (holds(&fixed->pieces[fixed->hit], first, last))
		return (int)fixed->hit;
	for (unsigned i = 0; i < fixed->n; i++) {
		if (fixed->pieces[i].first <= first && first <= fixed->pieces[i].last) {
			fixed->hit = i;
			return holds(&fixed->pieces[i], first, last) ? (int)i : -1;
		}
	}
	slot = add(fq, addr);
	if (slot < 0)
		return -1;
	fixed->hit = (unsigned)slot;
	return holds(&fixed->pieces[slot], first, last) ? slot : -1;
}

/* Requests under way have references of their own on what they use. */
void blk_file_fixed_gone(struct blk_queue *q, uintptr_t first, uintptr_t last)
{
	struct file_queue *fq = to_file_queue(q);
	struct file_fixed *fixed = fq->fixed;

	for (unsigned i = 0; fixed && i < fixed->n; i++) {
		struct fixed_piece *piece = &fixed->pieces[i];

		if (!piece->last || piece->first > last || piece->last < first)
			continue;
		*piece = (struct fixed_piece){0};
		fixed->full = false;
		if (update(fq, i, &(struct iovec){0})) {
			/* The kernel will not let go of one: then of all. */
			io_uring_unregister_buffers(&fq->ring);
			blk_file_fixed_free(fq);
			return;
		}
	}
}

/* Without them a disk is as good, and slower. */
void blk_file_fixed_setup(struct file_queue *fq)
{
	int r;

	if (!fq->disk->fixed_buffers)
		return;
	fq->fixed = calloc(1, sizeof(*fq->fixed));
	if (!fq->fixed)
		return;
	r = io_uring_register_buffers_sparse(&fq->ring, FILE_FIXED_MAX);
	if (!r)
		return;
	refused(fq, r);
	blk_file_fixed_free(fq);
}

void blk_file_fixed_free(struct file_queue *fq)
{
	free(fq->fixed);
	fq->fixed = NULL;
}
