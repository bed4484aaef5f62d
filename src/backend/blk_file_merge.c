// SPDX-License-Identifier: BSD-3-Clause
/* Neighbours on the disk in one step (blk_file.h has the theory). */
#include <stdlib.h>
#include <string.h>
#include "backend/blk_file.h"

static bool aligned(const struct file_disk *disk, const struct blk_request *req)
{
	if (disk->direct_fd < 0)
		return true;
	if (req->offset_bytes % disk->offset_align)
		return false;
	for (unsigned i = 0; i < req->niov; i++) {
		if ((uintptr_t)req->iov[i].iov_base % disk->mem_align ||
		    req->iov[i].iov_len % disk->offset_align)
			return false;
	}
	return true;
}

static bool mergeable(const struct file_disk *disk, const struct blk_request *req)
{
	return (req->op == BLK_READ || (req->op == BLK_WRITE && !disk->read_only)) &&
	       req->len_bytes;
}

unsigned blk_file_merge_count(const struct file_queue *fq, struct blk_request *const *reqs,
			      unsigned n)
{
	const struct blk_request *first = reqs[0];
	uint64_t end = first->offset_bytes + first->len_bytes, bytes = first->len_bytes;
	unsigned pieces = first->niov, i;

	/* The usual answer is no: the cheap questions first. */
	if (n < 2 || reqs[1]->offset_bytes != end || !mergeable(fq->disk, first) ||
	    !aligned(fq->disk, first))
		return 1;
	for (i = 1; i < n; i++) {
		const struct blk_request *req = reqs[i];

		if (req->offset_bytes != end || req->op != first->op ||
		    req->flags != first->flags || !req->len_bytes ||
		    req->len_bytes > FILE_MERGE_BYTES ||
		    bytes + req->len_bytes > FILE_MERGE_BYTES ||
		    pieces + req->niov > FILE_MERGE_PIECES || !aligned(fq->disk, req))
			break;
		bytes += req->len_bytes;
		end += req->len_bytes;
		pieces += req->niov;
	}
	return i;
}

bool blk_file_merge_begin(struct file_queue *fq, struct file_io *io, struct blk_request **reqs,
			  unsigned n)
{
	struct file_merge *merge = fq->merges;

	if (merge) {
		fq->merges = merge->next;
		fq->nmerges--;
	} else {
		merge = malloc(sizeof(*merge));
		if (!merge)
			return false;
	}
	blk_file_io_begin(fq, io, reqs[0]);
	merge->bytes = 0;
	merge->niov = 0;
	for (unsigned i = 0; i < n; i++) {
		memcpy(merge->iov + merge->niov, reqs[i]->iov,
		       reqs[i]->niov * sizeof(merge->iov[0]));
		merge->niov += reqs[i]->niov;
		merge->bytes += reqs[i]->len_bytes;
		reqs[i]->next = i + 1 < n ? reqs[i + 1] : NULL;
	}
	io->merge = merge;
	return true;
}

void blk_file_merge_end(struct file_queue *fq, struct file_io *io)
{
	struct file_merge *merge = io->merge;

	if (!merge)
		return;
	io->merge = NULL;
	if (fq->nmerges == FILE_MERGE_KEEP) {
		free(merge);
		return;
	}
	merge->next = fq->merges;
	fq->merges = merge;
	fq->nmerges++;
}

void blk_file_merge_free(struct file_queue *fq)
{
	while (fq->merges) {
		struct file_merge *merge = fq->merges;

		fq->merges = merge->next;
		free(merge);
	}
}
