// SPDX-License-Identifier: BSD-3-Clause
/*
 * A disk in memory. The memory is sparse: a page exists once it was written, and a discard gives
 * it back. Requests that overlap in time and place have, as on any disk, no defined order.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "backend/backends.h"

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
	struct blk_queue *q = calloc(1, sizeof(*q));

	if (!q)
		return -ENOMEM;
	q->be = be;
	*out = q;
	return 0;
}

static void ram_queue_close(struct blk_queue *q)
{
	free(q);
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

static int ram_request(struct ram_disk *disk, const struct blk_request *req)
{
	char *at = disk->mem + req->offset_bytes;

	switch (req->op) {
	case BLK_READ:
		blk_iov_from_buf(req->iov, req->niov, 0, at, req->len_bytes);
		return 0;
	case BLK_WRITE:
		blk_iov_to_buf(req->iov, req->niov, 0, at, req->len_bytes);
		return 0;
	case BLK_FLUSH:
		return 0;
	case BLK_DISCARD:
		return ram_punch(disk, req->offset_bytes, req->len_bytes);
	case BLK_WRITE_ZEROES:
		if (req->flags & BLK_F_UNMAP)
			return ram_punch(disk, req->offset_bytes, req->len_bytes);
		memset(at, 0, req->len_bytes);
		return 0;
	}
	return -EOPNOTSUPP;
}

static void ram_submit(struct blk_queue *q, struct blk_request **reqs, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		reqs[i]->done(reqs[i], ram_request(to_ram(q->be), reqs[i]));
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
	.show = ram_show,
};
