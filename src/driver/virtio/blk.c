// SPDX-License-Identifier: BSD-3-Clause
/*
 * virtio-blk driver: virtio 1.3, section 5.2.
 *
 * The device is hostile. The status byte starts as an impossible value and is read once; a read
 * that claims success but wrote less than was asked for is an error (2.7.8.2: what lies beyond the
 * used length is not to be relied on); a broken ring has the device reset before anybody gets his
 * buffers back.
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "driver/virtio/blk.h"

#define STATUS_NONE 0xff
#define BATCH 64u
#define ID_BYTES 20u

#define count(counter, n) atomic_fetch_add_explicit(&(counter), (n), memory_order_relaxed)
#define get_count(counter) atomic_load_explicit(&(counter), memory_order_relaxed)

/* ---- submission ---- */

static int check_range(const struct virtio_blk *blk, uint64_t sector, uint64_t nsectors)
{
	const struct virtio_blk_info *info = &blk->info;

	return sector > info->capacity_sectors || nsectors > info->capacity_sectors - sector
		       ? -EINVAL
		       : 0;
}

static int check_data(const struct virtio_blk *blk, const struct virtio_blk_request *req,
		      uint64_t *bytes)
{
	*bytes = 0;
	if (!req->nsg || !req->sg || req->nsg > blk->info.seg_max)
		return -EINVAL;
	for (unsigned i = 0; i < req->nsg; i++) {
		if (!req->sg[i].len || (blk->info.size_max && req->sg[i].len > blk->info.size_max))
			return -EINVAL;
		*bytes += req->sg[i].len;
	}
	return 0;
}

static int check_io(const struct virtio_blk *blk, const struct virtio_blk_request *req,
		    uint64_t *bytes)
{
	int r = check_data(blk, req, bytes);

	if (r)
		return r;
	if (*bytes % VIRTIO_BLK_SECTOR_BYTES || *bytes > UINT32_MAX - 1)
		return -EINVAL;
	return check_range(blk, req->sector, *bytes / VIRTIO_BLK_SECTOR_BYTES);
}

static int check_ranged(const struct virtio_blk *blk, const struct virtio_blk_request *req,
			uint32_t max)
{
	if (!max)
		return -EOPNOTSUPP;
	if (!req->nsectors || req->nsectors > max)
		return -EINVAL;
	return check_range(blk, req->sector, req->nsectors);
}

/* Is it a request that this device may be given? */
static int check(const struct virtio_blk *blk, const struct virtio_blk_request *req,
		 uint64_t *bytes)
{
	const struct virtio_blk_info *info = &blk->info;
	int r;

	*bytes = 0;
	switch (req->type) {
	case VIRTIO_BLK_T_IN:
		return check_io(blk, req, bytes);
	case VIRTIO_BLK_T_GET_ID:
		r = check_data(blk, req, bytes);
		return !r && *bytes != ID_BYTES ? -EINVAL : r;
	case VIRTIO_BLK_T_FLUSH:
		return info->flush ? 0 : -EOPNOTSUPP;
	}
	if (info->read_only)
		return -EROFS;
	switch (req->type) {
	case VIRTIO_BLK_T_OUT:
		return check_io(blk, req, bytes);
	case VIRTIO_BLK_T_DISCARD:
		return check_ranged(blk, req, info->max_discard_sectors);
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return check_ranged(blk, req, info->max_write_zeroes_sectors);
	}
	return -EINVAL;
}

static bool is_ranged(const struct virtio_blk_request *req)
{
	return req->type == VIRTIO_BLK_T_DISCARD || req->type == VIRTIO_BLK_T_WRITE_ZEROES;
}

static void fill_shared(struct virtio_blk_shared *shared, const struct virtio_blk_request *req)
{
	bool has_sector = req->type == VIRTIO_BLK_T_IN || req->type == VIRTIO_BLK_T_OUT;

	shared->hdr = (struct virtio_blk_outhdr){
		.type = htole32(req->type),
		.sector = htole64(has_sector ? req->sector : 0),
	};
	if (is_ranged(req)) {
		bool unmap = req->type == VIRTIO_BLK_T_WRITE_ZEROES && req->unmap;

		shared->range = (struct virtio_blk_discard_write_zeroes){
			.sector = htole64(req->sector),
			.num_sectors = htole32((uint32_t)req->nsectors),
			.flags = htole32(unmap ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0),
		};
	}
	shared->status = STATUS_NONE;
}

/* Header, then data or range, then status. */
static int add(struct virtio_blk_vq *q, unsigned i, const struct virtio_blk_request *req)
{
	struct virtqueue_sg sg[VIRTIO_BLK_SEGS_MAX + 1 + VIRTIO_PIECES_MAX];
	iova_t iova = q->shared_iova + i * sizeof(struct virtio_blk_shared);
	struct virtqueue_sg hdr = {iova + offsetof(struct virtio_blk_shared, hdr),
				   sizeof(struct virtio_blk_outhdr)};
	unsigned n = virtio_cut(q->blk->dev, sg, hdr, VIRTIO_PIECES_MAX), nout = n;

	if (is_ranged(req)) {
		sg[n++] = (struct virtqueue_sg){iova + offsetof(struct virtio_blk_shared, range),
						sizeof(struct virtio_blk_discard_write_zeroes)};
		nout = n;
	} else if (q->slots[i].bytes) {
		memcpy(&sg[n], req->sg, req->nsg * sizeof(sg[0]));
		n += req->nsg;
		nout = q->slots[i].from_device ? nout : n;
	}
	sg[n++] = (struct virtqueue_sg){iova + offsetof(struct virtio_blk_shared, status), 1};
	return virtqueue_add(q->vq->ring, sg, nout, n - nout, &q->slots[i]);
}

static void slot_put(struct virtio_blk_vq *q, struct virtio_blk_slot *slot)
{
	slot->req = NULL;
	slot->next = q->free_slot;
	q->free_slot = (uint16_t)(slot - q->slots);
}

int virtio_blk_submit(struct virtio_blk *blk, unsigned queue, struct virtio_blk_request *req)
{
	struct virtio_blk_slot *slot;
	struct virtio_blk_vq *q;
	uint64_t bytes;
	int r;

	if (queue >= blk->info.queues)
		return -EINVAL;
	q = &blk->vqs[queue];
	if (atomic_load_explicit(&q->state, memory_order_acquire) != BLK_VQ_RUNNING)
		return -EIO;
	r = check(blk, req, &bytes);
	if (r)
		return r;
	if (q->free_slot == q->vq->num)
		return -ENOSPC;
	slot = &q->slots[q->free_slot];
	slot->req = req;
	slot->bytes = bytes;
	slot->from_device = req->type == VIRTIO_BLK_T_IN || req->type == VIRTIO_BLK_T_GET_ID;
	fill_shared(&q->shared[q->free_slot], req);
	r = add(q, q->free_slot, req);
	if (r) {
		slot->req = NULL;
		return virtqueue_broken(q->vq->ring) ? -EIO : r;
	}
	q->free_slot = slot->next;
	return 0;
}

void virtio_blk_kick(struct virtio_blk *blk, unsigned queue)
{
	struct virtio_blk_vq *q;

	if (queue >= blk->info.queues)
		return;
	q = &blk->vqs[queue];
	if (atomic_load_explicit(&q->state, memory_order_acquire) == BLK_VQ_RUNNING)
		virtio_vq_kick(q->vq);
}

/* ---- completion ---- */

static int result_of(const struct virtio_blk_slot *slot, uint8_t status, uint32_t len)
{
	switch (status) {
	case VIRTIO_BLK_S_OK:
		return slot->from_device && len < slot->bytes + 1 ? -EIO : 0;
	case VIRTIO_BLK_S_UNSUPP:
		return -EOPNOTSUPP;
	default:
		return -EIO;
	}
}

static void account(struct virtio_blk_vq *q, const struct virtio_blk_slot *slot, int result)
{
	if (result) {
		count(q->errors, 1);
	} else if (slot->req->type == VIRTIO_BLK_T_IN) {
		count(q->reads, 1);
		count(q->read_bytes, slot->bytes);
	} else if (slot->req->type == VIRTIO_BLK_T_OUT) {
		count(q->writes, 1);
		count(q->written_bytes, slot->bytes);
	} else {
		count(q->others, 1);
	}
}

static void end(struct virtio_blk_vq *q, struct virtio_blk_slot *slot, int result)
{
	struct virtio_blk_request *req = slot->req;

	account(q, slot, result);
	slot_put(q, slot);
	req->done(req, result);
}

/* The device was reset: nothing is written any more. */
static void fail_all(struct virtio_blk_vq *q)
{
	struct virtio_blk_slot *slot;

	if (!q->vq)
		return;
	while ((slot = virtqueue_detach_unused(q->vq->ring)))
		end(q, slot, -EIO);
}

static unsigned reap(struct virtio_blk_vq *q, unsigned max)
{
	struct virtio_blk_slot *slot;
	unsigned n = 0;
	uint32_t len;

	while (n < max && (slot = virtqueue_get(q->vq->ring, &len))) {
		uint8_t status = q->shared[slot - q->slots].status;

		end(q, slot, result_of(slot, status, len));
		n++;
	}
	if (virtqueue_broken(q->vq->ring) &&
	    atomic_load_explicit(&q->state, memory_order_relaxed) == BLK_VQ_RUNNING)
		virtio_device_broken(q->blk->dev, "a used entry that cannot be");
	return n;
}

unsigned virtio_blk_poll(struct virtio_blk *blk, unsigned queue, unsigned max)
{
	struct virtio_blk_vq *q;
	unsigned n = 0;

	if (queue >= blk->info.queues)
		return 0;
	q = &blk->vqs[queue];
	virtio_enter(blk->dev);
	switch (atomic_load_explicit(&q->state, memory_order_acquire)) {
	case BLK_VQ_RUNNING:
		n = reap(q, max);
		break;
	case BLK_VQ_DEAD:
		fail_all(q);
		break;
	}
	virtio_leave(blk->dev);
	return n;
}

unsigned virtio_blk_outstanding(struct virtio_blk *blk, unsigned queue)
{
	return queue < blk->info.queues ? virtqueue_outstanding(blk->vqs[queue].vq->ring) : 0;
}

static void used(struct virtio_vq *vq)
{
	struct virtio_blk_vq *q = vq->priv;

	virtqueue_disable_cb(vq->ring);
	if (reap(q, BATCH) == BATCH || virtqueue_enable_cb(vq->ring))
		virtio_vq_again(vq);
	/* Callbacks submit without kicking when they are many: once per batch is enough. */
	if (atomic_load_explicit(&q->state, memory_order_relaxed) == BLK_VQ_RUNNING)
		virtio_vq_kick(vq);
}

/* ---- probe ---- */

static void slots_free(struct virtio_blk_vq *q)
{
	free(q->slots);
	virtio_mem_free(q->blk->dev, q->shared);
	q->slots = NULL;
	q->shared = NULL;
}

/* What depends on the queue's size. 0, -EINVAL (too small), -ENOMEM. */
static int slots_new(struct virtio_blk_vq *q)
{
	struct virtio_device *dev = q->blk->dev;
	uint32_t num = q->vq->num;
	unsigned own = 1 + virtio_pieces(dev, sizeof(struct virtio_blk_outhdr), VIRTIO_PIECES_MAX);

	/* 2.6.5.3.1: no request is longer than the queue; header and status take their part. */
	if (num <= own)
		return -EINVAL;
	if (q->blk->info.seg_max > num - own)
		q->blk->info.seg_max = num - own;
	q->blk->info.queue_size = num;
	q->slots = calloc(num, sizeof(*q->slots));
	q->shared = virtio_mem_alloc(dev, num * sizeof(*q->shared), &q->shared_iova);
	if (!q->slots || !q->shared)
		return -ENOMEM;
	for (unsigned k = 0; k < num; k++)
		q->slots[k].next = (uint16_t)(k + 1);
	q->free_slot = 0;
	return 0;
}

static int vq_init(struct virtio_blk *blk, unsigned i, struct vdpa_error *err)
{
	struct virtio_device *dev = blk->dev;
	struct virtio_blk_vq *q = &blk->vqs[i];
	struct virtio_vq_params params = {
		.index = (uint16_t)i,
		.num = dev->opts.queue_size,
		.callback = dev->opts.poll ? NULL : used,
		.priv = q,
	};
	int r;

	r = virtio_setup_vq(dev, &params, &q->vq, err);
	if (r)
		return r;
	r = slots_new(q);
	if (r == -EINVAL)
		return vdpa_error_set(err, EINVAL, dev->name,
				      "a disk's queue needs more than %u entries", q->vq->num);
	return r ? vdpa_error_set(err, -r, dev->name, "no memory for queue %u", i) : 0;
}

static int blk_probe(struct virtio_device *dev, struct vdpa_error *err)
{
	struct virtio_blk *blk = calloc(1, sizeof(*blk));
	int r;

	if (!blk)
		return vdpa_error_set(err, ENOMEM, dev->name, "no memory");
	blk->dev = dev;
	r = virtio_blk_read_config(dev, &blk->info);
	if (!r)
		blk->vqs = calloc(blk->info.queues, sizeof(*blk->vqs));
	if (r || !blk->vqs) {
		free(blk);
		r = r ? r : -ENOMEM;
		return vdpa_error_set(err, -r, dev->name, "cannot use the disk's configuration: %s",
				      strerror(-r));
	}
	blk->info.features = dev->features;
	dev->priv = blk;
	for (unsigned i = 0; i < blk->info.queues; i++)
		blk->vqs[i].blk = blk;
	for (unsigned i = 0; !r && i < blk->info.queues; i++)
		r = vq_init(blk, i, err);
	return r;
}

/* ---- life ---- */

static void blk_stop(struct virtio_device *dev)
{
	struct virtio_blk *blk = dev->priv;

	for (unsigned i = 0; i < blk->info.queues; i++)
		atomic_store(&blk->vqs[i].state, BLK_VQ_STOPPED);
}

static void blk_broken(struct virtio_device *dev)
{
	struct virtio_blk *blk = dev->priv;

	for (unsigned i = 0; i < blk->info.queues; i++) {
		/* In poll mode the queue's thread finds out. */
		if (!dev->opts.poll)
			fail_all(&blk->vqs[i]);
		atomic_store(&blk->vqs[i].state, BLK_VQ_DEAD);
	}
}

static void blk_remove(struct virtio_device *dev)
{
	struct virtio_blk *blk = dev->priv;

	if (!blk)
		return;
	for (unsigned i = 0; i < blk->info.queues; i++) {
		struct virtio_blk_vq *q = &blk->vqs[i];

		atomic_store(&q->state, BLK_VQ_STOPPED);
		fail_all(q);
		slots_free(q);
	}
	if (blk->gone)
		*blk->gone = true;
	free(blk->vqs);
	free(blk);
	dev->priv = NULL;
}

static void blk_vq_stop(struct virtio_vq *vq)
{
	struct virtio_blk_vq *q = vq->priv;

	atomic_store(&q->state, BLK_VQ_STOPPED);
}

static void blk_vq_drained(struct virtio_vq *vq)
{
	struct virtio_blk_vq *q = vq->priv;

	fail_all(q);
	slots_free(q);
}

static int blk_vq_restart(struct virtio_vq *vq)
{
	struct virtio_blk_vq *q = vq->priv;
	int r = slots_new(q);

	if (!r)
		atomic_store(&q->state, BLK_VQ_RUNNING);
	return r;
}

static void blk_config_changed(struct virtio_device *dev)
{
	struct virtio_blk *blk = dev->priv;
	struct virtio_blk_info info = blk->info;

	/* Only what may change while the driver runs. */
	if (!virtio_cread64(dev, virtio_blk_cfg(capacity), &info.capacity_sectors))
		blk->info.capacity_sectors = info.capacity_sectors;
	if (blk->on_change)
		blk->on_change(blk->on_change_arg);
}

static void emit_u64(vdpa_emit_fn emit, void *arg, const char *key, uint64_t value)
{
	char buf[24];

	snprintf(buf, sizeof(buf), "%llu", (unsigned long long)value);
	emit(arg, key, buf);
}

static void blk_show(struct virtio_device *dev, vdpa_emit_fn emit, void *arg)
{
	struct virtio_blk *blk = dev->priv;
	struct virtio_blk_stats sum = {0};

	for (unsigned i = 0; i < blk->info.queues; i++) {
		struct virtio_blk_stats s;

		virtio_blk_get_stats(blk, i, &s);
		sum.reads += s.reads;
		sum.writes += s.writes;
		sum.others += s.others;
		sum.read_bytes += s.read_bytes;
		sum.written_bytes += s.written_bytes;
		sum.errors += s.errors;
		sum.kicks += s.kicks;
		sum.calls += s.calls;
	}
	emit_u64(emit, arg, "capacity_sectors", blk->info.capacity_sectors);
	emit_u64(emit, arg, "queues", blk->info.queues);
	emit_u64(emit, arg, "queue_size", blk->info.queue_size);
	emit(arg, "mode", dev->opts.poll ? "poll" : "callback");
	emit_u64(emit, arg, "reads", sum.reads);
	emit_u64(emit, arg, "writes", sum.writes);
	emit_u64(emit, arg, "others", sum.others);
	emit_u64(emit, arg, "read_bytes", sum.read_bytes);
	emit_u64(emit, arg, "written_bytes", sum.written_bytes);
	emit_u64(emit, arg, "errors", sum.errors);
	emit_u64(emit, arg, "kicks", sum.kicks);
	emit_u64(emit, arg, "calls", sum.calls);
}

const struct virtio_driver virtio_blk_driver = {
	.name = "virtio-blk",
	.device_id = VIRTIO_ID_BLOCK,
	.features = VDPA_BIT(VIRTIO_BLK_F_SIZE_MAX) | VDPA_BIT(VIRTIO_BLK_F_SEG_MAX) |
		    VDPA_BIT(VIRTIO_BLK_F_RO) | VDPA_BIT(VIRTIO_BLK_F_BLK_SIZE) |
		    VDPA_BIT(VIRTIO_BLK_F_FLUSH) | VDPA_BIT(VIRTIO_BLK_F_TOPOLOGY) |
		    VDPA_BIT(VIRTIO_BLK_F_CONFIG_WCE) | VDPA_BIT(VIRTIO_BLK_F_MQ) |
		    VDPA_BIT(VIRTIO_BLK_F_DISCARD) | VDPA_BIT(VIRTIO_BLK_F_WRITE_ZEROES),
	.num_min = 3,
	.probe = blk_probe,
	.stop = blk_stop,
	.broken = blk_broken,
	.remove = blk_remove,
	.config_changed = blk_config_changed,
	.show = blk_show,
	.vq_stop = blk_vq_stop,
	.vq_drained = blk_vq_drained,
	.vq_restart = blk_vq_restart,
};

/* ---- for programs ---- */

struct virtio_blk *virtio_blk_of(struct virtio_device *dev)
{
	return dev->drv == &virtio_blk_driver ? dev->priv : NULL;
}

struct virtio_device *virtio_blk_device(struct virtio_blk *blk)
{
	return blk->dev;
}

void virtio_blk_get_info(struct virtio_blk *blk, struct virtio_blk_info *info)
{
	*info = blk->info;
}

void virtio_blk_get_stats(struct virtio_blk *blk, unsigned queue, struct virtio_blk_stats *stats)
{
	struct virtio_blk_vq *q;

	memset(stats, 0, sizeof(*stats));
	if (queue >= blk->info.queues)
		return;
	q = &blk->vqs[queue];
	stats->reads = get_count(q->reads);
	stats->writes = get_count(q->writes);
	stats->others = get_count(q->others);
	stats->read_bytes = get_count(q->read_bytes);
	stats->written_bytes = get_count(q->written_bytes);
	stats->errors = get_count(q->errors);
	stats->kicks = get_count(q->vq->kicks);
	stats->calls = get_count(q->vq->calls);
}

void virtio_blk_on_change(struct virtio_blk *blk, void (*fn)(void *arg), void *arg)
{
	blk->on_change = fn;
	blk->on_change_arg = arg;
}

int virtio_blk_set_writeback(struct virtio_blk *blk, bool writeback)
{
	uint8_t wce = writeback;
	int r;

	if (!virtio_has_feature(blk->dev, VIRTIO_BLK_F_CONFIG_WCE))
		return -EOPNOTSUPP;
	r = virtio_config_write(blk->dev, virtio_blk_cfg(wce), &wce, 1);
	if (!r)
		blk->info.writeback = writeback;
	return r;
}
