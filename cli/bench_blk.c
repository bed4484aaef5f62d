// SPDX-License-Identifier: BSD-3-Clause
/* Requests of one size on the first queue of a disk, at random or one after the other. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <linux/virtio_blk.h>
#include "base/list.h"
#include "bench.h"

#define POLL_BATCH 64u
#define SPAN_BYTES (1ull << 30) /* of the disk that are used, at most */

struct slot {
	struct virtio_blk_request req;
	struct virtqueue_sg sg;
	struct bench *b;
	struct slot *next; /* while it is free */
	uint64_t began_ns;
};

struct blk_load {
	struct virtio_blk *blk;
	struct slot *slots, *free;
	void *mem;
	uint64_t blocks, sectors, next, rng;
};

static uint64_t next_block(struct bench *b, struct blk_load *l)
{
	if (b->opt->sequential)
		return l->next++ % l->blocks;
	l->rng ^= l->rng << 13;
	l->rng ^= l->rng >> 7;
	l->rng ^= l->rng << 17;
	return (uint64_t)((unsigned __int128)l->rng * l->blocks >> 64);
}

static void done(struct virtio_blk_request *req, int result)
{
	struct slot *slot = vdpa_container_of(req, struct slot, req);
	struct blk_load *l = slot->b->priv;

	slot->next = l->free;
	l->free = slot;
	bench_done(slot->b, slot->began_ns, !result);
}

static int blk_submit(struct bench *b, uint64_t began_ns)
{
	struct blk_load *l = b->priv;
	struct slot *slot = l->free;
	int ret;

	if (!slot)
		return -ENOSPC;
	slot->began_ns = began_ns;
	slot->req.sector = next_block(b, l) * l->sectors;
	ret = virtio_blk_submit(l->blk, 0, &slot->req);
	if (!ret)
		l->free = slot->next;
	return ret;
}

static void blk_kick(struct bench *b)
{
	virtio_blk_kick(((struct blk_load *)b->priv)->blk, 0);
}

static void blk_poll(struct bench *b)
{
	virtio_blk_poll(((struct blk_load *)b->priv)->blk, 0, POLL_BATCH);
}

static int check(const struct bench *b, const struct virtio_blk_info *info, struct vdpa_error *err)
{
	const char *name = virtio_name(b->dev);

	if (b->opt->size % VIRTIO_BLK_SECTOR_BYTES || b->opt->size % info->block_bytes)
		return vdpa_error_set(err, EINVAL, name,
				      "requests of %llu bytes are no whole blocks of %u bytes",
				      (unsigned long long)b->opt->size, info->block_bytes);
	if (b->opt->size > info->capacity_sectors * VIRTIO_BLK_SECTOR_BYTES)
		return vdpa_error_set(err, EINVAL, name, "the disk is smaller than one request");
	if (b->opt->what == BENCH_WRITE && info->read_only)
		return vdpa_error_set(err, EROFS, name, "the disk is read-only");
	return 0;
}

static int make_slots(struct bench *b, struct blk_load *l)
{
	iova_t iova;

	l->slots = calloc(b->opt->depth, sizeof(*l->slots));
	l->mem = virtio_mem_alloc(b->dev, b->opt->depth * b->opt->size, &iova);
	if (!l->slots || !l->mem)
		return -ENOMEM;
	for (uint64_t i = 0; i < b->opt->depth; i++) {
		struct slot *slot = &l->slots[i];

		slot->b = b;
		slot->sg = (struct virtqueue_sg){iova + i * b->opt->size, (uint32_t)b->opt->size};
		slot->req = (struct virtio_blk_request){
			.type = b->opt->what == BENCH_WRITE ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN,
			.sg = &slot->sg,
			.nsg = 1,
			.done = done,
		};
		slot->next = l->free;
		l->free = slot;
	}
	return 0;
}

static int blk_open(struct bench *b, struct vdpa_error *err)
{
	struct blk_load *l = calloc(1, sizeof(*l));
	struct virtio_blk_info info;
	uint64_t bytes;
	int ret;

	b->priv = l;
	if (!l)
		return vdpa_error_set(err, ENOMEM, NULL, "no memory for the load");
	l->blk = virtio_blk_of(b->dev);
	if (!l->blk)
		return vdpa_error_set(err, ENODEV, virtio_name(b->dev), "is no disk");
	virtio_blk_get_info(l->blk, &info);
	ret = check(b, &info, err);
	if (ret)
		return ret;
	bytes = info.capacity_sectors * VIRTIO_BLK_SECTOR_BYTES;
	l->sectors = b->opt->size / VIRTIO_BLK_SECTOR_BYTES;
	l->blocks = (bytes < SPAN_BYTES ? bytes : SPAN_BYTES) / b->opt->size;
	if (!l->blocks)
		l->blocks = 1;
	l->rng = 0x9e3779b97f4a7c15ull;
	ret = make_slots(b, l);
	return ret ? vdpa_error_set(err, -ret, NULL, "no memory for %llu requests of %llu bytes",
				    (unsigned long long)b->opt->depth,
				    (unsigned long long)b->opt->size)
		   : 0;
}

static void blk_close(struct bench *b)
{
	struct blk_load *l = b->priv;

	if (l)
		free(l->slots);
	free(l);
}

const struct bench_ops bench_blk_ops = {
	.open = blk_open,
	.submit = blk_submit,
	.kick = blk_kick,
	.poll = blk_poll,
	.close = blk_close,
};
