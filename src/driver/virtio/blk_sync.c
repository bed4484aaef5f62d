// SPDX-License-Identifier: BSD-3-Clause
/*
 * virtio-blk for simple programs: one request, and wait. What is out when the time is over is not
 * forgotten: its memory stays until the device was reset, then the request frees itself.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "driver/virtio/blk.h"

#define TIMEOUT_NS (30 * 1000000000ll)
#define RESET_TIMEOUT_NS (5 * 1000000000ll)
#define CHUNK_BYTES (1u << 20)

struct sync_op {
	struct virtio_blk_request req;
	struct virtio_device *dev;
	struct virtqueue_sg sg[VIRTIO_BLK_SEGS_MAX];
	void *mem; /* bounce; NULL: none */
	void *to;  /* where what was read goes; NULL: nowhere */
	size_t bytes;
	bool done;
	bool abandoned; /* nobody waits any more */
	int result;
};

/* The device exists here, whatever happens to it later. */
static void op_done(struct virtio_blk_request *req, int result)
{
	struct sync_op *op = vdpa_container_of(req, struct sync_op, req);

	if (!result && op->to)
		memcpy(op->to, op->mem, op->bytes);
	virtio_mem_free(op->dev, op->mem);
	op->mem = NULL;
	op->result = result;
	op->done = true;
	if (op->abandoned)
		free(op);
}

static struct sync_op *op_new(struct virtio_blk *blk, uint32_t type)
{
	struct sync_op *op = calloc(1, sizeof(*op));

	if (!op)
		return NULL;
	op->dev = blk->dev;
	op->req.type = type;
	op->req.done = op_done;
	return op;
}

/* Give it @bytes of bounce memory, in pieces that the device takes. */
static int op_data(struct virtio_blk *blk, struct sync_op *op, size_t bytes)
{
	uint32_t piece = blk->info.size_max ? blk->info.size_max : UINT32_MAX;
	iova_t iova;
	size_t off = 0;

	op->mem = virtio_mem_alloc(blk->dev, bytes, &iova);
	if (!op->mem)
		return -ENOMEM;
	op->bytes = bytes;
	while (off < bytes && op->req.nsg < VIRTIO_BLK_SEGS_MAX) {
		uint32_t len = bytes - off < piece ? (uint32_t)(bytes - off) : piece;

		op->sg[op->req.nsg++] = (struct virtqueue_sg){iova + off, len};
		off += len;
	}
	op->req.sg = op->sg;
	return off == bytes ? 0 : -EINVAL;
}

static void pump(struct virtio_blk *blk, struct sync_op *op, int64_t timeout_ns)
{
	uint64_t end = vdpa_clock_ns() + (uint64_t)timeout_ns;
	struct vdpa_ctx *ctx = blk->dev->ctx;

	if (!blk->dev->opts.poll) {
		vdpa_ctx_wait(ctx, &op->done, timeout_ns);
		return;
	}
	while (!op->done && vdpa_clock_ns() < end) {
		virtio_blk_poll(blk, 0, 64);
		if (!op->done)
			vdpa_loop_run_once(vdpa_ctx_control(ctx), 0);
	}
}

/* Room in the queue comes with the completions of others. */
static int submit(struct virtio_blk *blk, struct sync_op *op)
{
	uint64_t end = vdpa_clock_ns() + TIMEOUT_NS;
	bool gone = false;
	int r;

	blk->gone = &gone;
	while ((r = virtio_blk_submit(blk, 0, &op->req)) == -ENOSPC && vdpa_clock_ns() < end) {
		virtio_blk_kick(blk, 0);
		virtio_blk_poll(blk, 0, 64);
		vdpa_loop_run_once(vdpa_ctx_control(blk->dev->ctx), 1000000);
		if (gone) {
			op->mem = NULL; /* freed with the device */
			return -EIO;
		}
	}
	blk->gone = NULL;
	return r == -ENOSPC ? -ETIMEDOUT : r;
}

/* Consumes @op. */
static int run(struct virtio_blk *blk, struct sync_op *op)
{
	int r = submit(blk, op);

	if (r) {
		if (op->mem)
			virtio_mem_free(blk->dev, op->mem);
		free(op);
		return r;
	}
	virtio_blk_kick(blk, 0);
	pump(blk, op, TIMEOUT_NS);
	if (!op->done) {
		virtio_device_broken(blk->dev, "a request was not completed in time");
		pump(blk, op, RESET_TIMEOUT_NS);
		r = -ETIMEDOUT;
	}
	if (!op->done) {
		op->to = NULL;
		op->abandoned = true;
		return r;
	}
	r = r ? r : op->result;
	free(op);
	return r;
}

static size_t chunk_bytes(const struct virtio_blk *blk)
{
	uint64_t max = (uint64_t)blk->info.size_max * blk->info.seg_max;

	return max && max < CHUNK_BYTES ? (size_t)max & ~(size_t)511 : CHUNK_BYTES;
}

static int one_io(struct virtio_blk *blk, uint64_t sector, void *to, const void *from, size_t bytes)
{
	struct sync_op *op = op_new(blk, to ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT);
	int r;

	if (!op)
		return -ENOMEM;
	r = op_data(blk, op, bytes);
	if (r) {
		virtio_mem_free(blk->dev, op->mem);
		free(op);
		return r;
	}
	op->to = to;
	if (from)
		memcpy(op->mem, from, bytes);
	op->req.sector = sector;
	return run(blk, op);
}

/* The device can go away while we wait; then the piece fails, and @blk is not touched again. */
static int io(struct virtio_blk *blk, uint64_t sector, uint8_t *to, const uint8_t *from,
	      size_t bytes)
{
	size_t chunk = chunk_bytes(blk), off = 0;
	int r = 0;

	if (!chunk || !bytes || bytes % VIRTIO_BLK_SECTOR_BYTES)
		return -EINVAL;
	if (bytes / VIRTIO_BLK_SECTOR_BYTES > blk->info.capacity_sectors)
		return -EINVAL;
	while (!r && off < bytes) {
		size_t n = bytes - off < chunk ? bytes - off : chunk;

		r = one_io(blk, sector + off / VIRTIO_BLK_SECTOR_BYTES, to ? to + off : NULL,
			   from ? from + off : NULL, n);
		off += n;
	}
	return r;
}

int virtio_blk_read(struct virtio_blk *blk, uint64_t sector, void *buf, size_t bytes)
{
	return io(blk, sector, buf, NULL, bytes);
}

int virtio_blk_write(struct virtio_blk *blk, uint64_t sector, const void *buf, size_t bytes)
{
	return io(blk, sector, NULL, buf, bytes);
}

int virtio_blk_flush(struct virtio_blk *blk)
{
	struct sync_op *op = op_new(blk, VIRTIO_BLK_T_FLUSH);

	return op ? run(blk, op) : -ENOMEM;
}

struct range {
	uint32_t type;
	uint64_t sector, nsectors;
	uint32_t max;
	bool unmap;
};

static int ranged(struct virtio_blk *blk, struct range range)
{
	int r = 0;

	if (!range.max)
		return -EOPNOTSUPP;
	if (!range.nsectors || range.sector > UINT64_MAX - range.nsectors)
		return -EINVAL;
	while (!r && range.nsectors) {
		struct sync_op *op = op_new(blk, range.type);
		uint64_t n = range.nsectors < range.max ? range.nsectors : range.max;

		if (!op)
			return -ENOMEM;
		op->req.sector = range.sector;
		op->req.nsectors = n;
		op->req.unmap = range.unmap;
		r = run(blk, op);
		range.sector += n;
		range.nsectors -= n;
	}
	return r;
}

int virtio_blk_discard(struct virtio_blk *blk, uint64_t sector, uint64_t nsectors)
{
	return ranged(blk, (struct range){.type = VIRTIO_BLK_T_DISCARD,
					  .sector = sector,
					  .nsectors = nsectors,
					  .max = blk->info.max_discard_sectors});
}

int virtio_blk_write_zeroes(struct virtio_blk *blk, uint64_t sector, uint64_t nsectors, bool unmap)
{
	return ranged(blk, (struct range){.type = VIRTIO_BLK_T_WRITE_ZEROES,
					  .sector = sector,
					  .nsectors = nsectors,
					  .max = blk->info.max_write_zeroes_sectors,
					  .unmap = unmap});
}

int virtio_blk_get_id(struct virtio_blk *blk, char id[21])
{
	struct sync_op *op = op_new(blk, VIRTIO_BLK_T_GET_ID);
	int r;

	if (!op)
		return -ENOMEM;
	memset(id, 0, 21);
	r = op_data(blk, op, 20);
	if (r) {
		virtio_mem_free(blk->dev, op->mem);
		free(op);
		return r;
	}
	op->to = id;
	return run(blk, op);
}
