// SPDX-License-Identifier: BSD-3-Clause
/*
 * A disk in memory. The memory is sparse: a page exists once it was written, and a discard gives
 * it back. Requests that overlap in time and place have, as on any disk, no defined order.
 *
 * Who attacks: a driver with requests of gigabytes, while other queues of the same loop wait. A
 * queue copies a slice at most per turn; what is left of its requests is done by a poller, a slice
 * per iteration of the loop, in the order in which they came.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "backend/backends.h"

/* Bytes that a queue copies or clears in one turn; what takes no copy is not counted. */
#define SLICE_BYTES (1u << 20)

struct ram_queue {
	struct blk_queue q;
	struct vdpa_loop *loop;
	struct vdpa_loop_poller poller; /* while there are requests */
	struct blk_request *first, **tail;
};

struct ram_disk {
	struct blk_backend be;
	char *mem;
	uint64_t capacity_bytes;
	uint64_t page_bytes;
};

static const struct vdpa_attr_spec ram_attrs[] = {
	{.name = "size",
	 .type = VDPA_ATTR_SIZE,
	 .min = BLK_SECTOR_BYTES,
	 .max = 1ull << 46,
	 .help = "capacity in bytes (default 128M)"},
	{0},
};

static struct ram_disk *to_ram(struct blk_backend *be)
{
	return vdpa_container_of(be, struct ram_disk, be);
}

static struct ram_queue *to_rq(struct blk_queue *q)
{
	return vdpa_container_of(q, struct ram_queue, q);
}

static int ram_open(const struct backend_open_params *params, struct blk_backend **out,
		    struct vdpa_error *err)
{
	uint64_t size = vdpa_attr_size(params->attrs, "size", 128ull << 20);
	struct ram_disk *disk;
	void *mem;

	if (size % BLK_SECTOR_BYTES)
		return vdpa_error_set(err, EINVAL, params->name,
				      "size %llu is not a multiple of 512 bytes",
				      (unsigned long long)size);
	disk = calloc(1, sizeof(*disk));
	if (!disk)
		return vdpa_error_set(err, ENOMEM, params->name, "no memory for the disk");
	mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		   -1, 0);
	if (mem == MAP_FAILED) {
		free(disk);
		return vdpa_error_set(err, ENOMEM, params->name,
				      "no address space for a disk of %llu bytes",
				      (unsigned long long)size);
	}
	disk->be.ops = &blk_ram_ops;
	disk->mem = mem;
	disk->capacity_bytes = size;
	disk->page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	*out = &disk->be;
	return 0;
}

static void ram_close(struct blk_backend *be)
{
	struct ram_disk *disk = to_ram(be);

	munmap(disk->mem, disk->capacity_bytes);
	free(disk);
}

static void ram_get_info(struct blk_backend *be, struct blk_backend_info *info)
{
	*info = (struct blk_backend_info){
		.capacity_bytes = to_ram(be)->capacity_bytes,
		.block_bytes = BLK_SECTOR_BYTES,
		.alignment_bytes = 1,
		.discard = true,
		.write_zeroes = true,
		.write_zeroes_unmap = true,
	};
}

static int ram_queue_open(struct blk_backend *be, struct vdpa_loop *loop, unsigned depth,
			  struct blk_queue **out)
{
	struct ram_queue *rq = calloc(1, sizeof(*rq));

	if (!rq)
		return -ENOMEM;
	rq->q.be = be;
	rq->loop = loop;
	rq->tail = &rq->first;
	*out = &rq->q;
	return 0;
}

static void ram_queue_close(struct blk_queue *q)
{
	struct ram_queue *rq = to_rq(q);

	assert(!rq->first);
	vdpa_loop_poller_del(&rq->poller);
	free(rq);
}

/* Whole pages go back to the system and read as zeroes; the edges are written. */
static int ram_punch(struct ram_disk *disk, uint64_t offset, uint64_t len)
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

/* ---- requests, a slice at a time; backend[0] is how much of one is done ---- */

/* Does it take as long as it has bytes? */
static bool touches_bytes(const struct blk_request *req)
{
	return req->op == BLK_READ || req->op == BLK_WRITE ||
	       (req->op == BLK_WRITE_ZEROES && !(req->flags & BLK_F_UNMAP));
}

/* The next @len bytes of it. */
static void ram_slice(struct ram_disk *disk, const struct blk_request *req, uint64_t len)
{
	uint64_t at = req->backend[0];
	char *mem = disk->mem + req->offset_bytes + at;

	if (req->op == BLK_READ)
		blk_iov_from_buf(req->iov, req->niov, at, mem, len);
	else if (req->op == BLK_WRITE)
		blk_iov_to_buf(req->iov, req->niov, at, mem, len);
	else
		memset(mem, 0, len);
}

static int ram_whole(struct ram_disk *disk, const struct blk_request *req)
{
	switch (req->op) {
	case BLK_FLUSH:
		return 0;
	case BLK_DISCARD:
	case BLK_WRITE_ZEROES:
		return ram_punch(disk, req->offset_bytes, req->len_bytes);
	default:
		return -EOPNOTSUPP;
	}
}

static void ram_pop(struct ram_queue *rq, int result)
{
	struct blk_request *req = rq->first;

	rq->first = req->next;
	if (!rq->first)
		rq->tail = &rq->first;
	req->done(req, result);
}

/* One turn. */
static void ram_work(struct ram_queue *rq)
{
	struct ram_disk *disk = to_ram(rq->q.be);
	uint64_t left = SLICE_BYTES;
	struct blk_request *req;

	while (left && (req = rq->first)) {
		uint64_t len = req->len_bytes - req->backend[0];

		if (!touches_bytes(req)) {
			ram_pop(rq, ram_whole(disk, req));
			continue;
		}
		if (len > left)
			len = left;
		ram_slice(disk, req, len);
		left -= len;
		req->backend[0] += len;
		if (req->backend[0] == req->len_bytes)
			ram_pop(rq, 0);
	}
}

static bool ram_turn(struct vdpa_loop_poller *poller)
{
	struct ram_queue *rq = vdpa_container_of(poller, struct ram_queue, poller);

	ram_work(rq);
	if (!rq->first)
		vdpa_loop_poller_del(poller);
	return true;
}

static void ram_submit(struct blk_queue *q, struct blk_request **reqs, unsigned n)
{
	struct ram_queue *rq = to_rq(q);
	bool idle = !rq->first;

	for (unsigned i = 0; i < n; i++) {
		reqs[i]->next = NULL;
		reqs[i]->backend[0] = 0;
		*rq->tail = reqs[i];
		rq->tail = &reqs[i]->next;
	}
	if (!idle)
		return;
	ram_work(rq);
	if (rq->first && !rq->poller.loop)
		vdpa_loop_poller_add(rq->loop, &rq->poller, ram_turn);
}

static void ram_cancel(struct blk_queue *q)
{
	struct ram_queue *rq = to_rq(q);

	while (rq->first)
		ram_pop(rq, -ECANCELED);
	vdpa_loop_poller_del(&rq->poller);
}

static void ram_show(struct blk_backend *be,
		     void (*emit)(void *arg, const char *key, const char *value), void *arg)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)to_ram(be)->capacity_bytes);
	emit(arg, "size", text);
}

const struct blk_backend_ops blk_ram_ops = {
	.name = "ram",
	.help = "in memory, lost when the device is deleted",
	.attrs = ram_attrs,
	.open = ram_open,
	.close = ram_close,
	.get_info = ram_get_info,
	.queue_open = ram_queue_open,
	.queue_close = ram_queue_close,
	.submit = ram_submit,
	.cancel = ram_cancel,
	.show = ram_show,
};
