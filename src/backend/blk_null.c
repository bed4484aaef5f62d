// SPDX-License-Identifier: BSD-3-Clause
/*
 * A disk that keeps nothing: writes vanish, reads give zeroes (not whatever the buffer held: a
 * driver that reads must get what a disk would give). For measuring everything around a disk.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "backend/backends.h"

struct null_disk {
	struct blk_backend be;
	uint64_t capacity_bytes;
};

static const struct vdpa_attr_spec null_attrs[] = {
	{.name = "size",
	 .type = VDPA_ATTR_SIZE,
	 .min = BLK_SECTOR_BYTES,
	 .max = 1ull << 60,
	 .help = "capacity in bytes (default 1T)"},
	{0},
};

static struct null_disk *to_null(struct blk_backend *be)
{
	return vdpa_container_of(be, struct null_disk, be);
}

static int null_open(const struct backend_open_params *params, struct blk_backend **out,
		     struct vdpa_error *err)
{
	uint64_t size = vdpa_attr_size(params->attrs, "size", 1ull << 40);
	struct null_disk *disk;

	if (size % BLK_SECTOR_BYTES)
		return vdpa_error_set(err, EINVAL, params->name,
				      "size %llu is not a multiple of 512 bytes",
				      (unsigned long long)size);
	disk = calloc(1, sizeof(*disk));
	if (!disk)
		return vdpa_error_set(err, ENOMEM, params->name, "no memory for the disk");
	disk->be.ops = &blk_null_ops;
	disk->capacity_bytes = size;
	*out = &disk->be;
	return 0;
}

static void null_close(struct blk_backend *be)
{
	free(to_null(be));
}

static void null_get_info(struct blk_backend *be, struct blk_backend_info *info)
{
	*info = (struct blk_backend_info){
		.capacity_bytes = to_null(be)->capacity_bytes,
		.block_bytes = BLK_SECTOR_BYTES,
		.alignment_bytes = 1,
		.discard = true,
		.write_zeroes = true,
		.write_zeroes_unmap = true,
	};
}

static int null_queue_open(struct blk_backend *be, struct vdpa_loop *loop, unsigned depth,
			   struct blk_queue **out)
{
	struct blk_queue *q = calloc(1, sizeof(*q));

	if (!q)
		return -ENOMEM;
	q->be = be;
	*out = q;
	return 0;
}

static void null_queue_close(struct blk_queue *q)
{
	free(q);
}

static void null_submit(struct blk_queue *q, struct blk_request **reqs, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct blk_request *req = reqs[i];

		if (req->op == BLK_READ)
			blk_iov_zero(req->iov, req->niov, 0, req->len_bytes);
		req->done(req, 0);
	}
}

static void null_show(struct blk_backend *be,
		      void (*emit)(void *arg, const char *key, const char *value), void *arg)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)to_null(be)->capacity_bytes);
	emit(arg, "size", text);
}

const struct blk_backend_ops blk_null_ops = {
	.name = "null",
	.help = "keeps nothing: writes vanish, reads give zeroes",
	.attrs = null_attrs,
	.open = null_open,
	.close = null_close,
	.get_info = null_get_info,
	.queue_open = null_queue_open,
	.queue_close = null_queue_close,
	.submit = null_submit,
	.show = null_show,
};
