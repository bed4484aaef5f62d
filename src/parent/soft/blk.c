// SPDX-License-Identifier: BSD-3-Clause
/* A software disk: what it offers, its birth, and its management device (blk.h). */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "parent/soft/blk.h"
#include "parent/soft/mgmt.h"

#define BLK_MAX_QUEUES 64
#define BLK_MAX_SEGS 510u /* a segment that crosses memory regions takes more than one piece */
/* The config space up to and with the write-zeroes limits (5.2.4). */
#define BLK_CONFIG_BYTES 60

_Static_assert(offsetof(struct virtio_blk_config, write_zeroes_may_unmap) + 4 == BLK_CONFIG_BYTES,
	       "layout of section 5.2.4");

/* ---- config space and write cache ---- */

/* 5.2.5: without FLUSH there is no way to ask for stable storage, so every write has to be on it.
 */
static void apply_cache(struct soft_blk *blk)
{
	uint8_t wce = 1;

	if (!blk->be->ops->set_writeback)
		return;
	if (vdpa_soft_has(&blk->soft, VIRTIO_BLK_F_CONFIG_WCE))
		vdpa_soft_config_get(&blk->soft, offsetof(struct virtio_blk_config, wce), &wce, 1);
	else
		wce = vdpa_soft_has(&blk->soft, VIRTIO_BLK_F_FLUSH);
	blk->be->ops->set_writeback(blk->be, wce);
}

static void blk_driver_ok(struct vdpa_soft *dev)
{
	apply_cache(to_blk(dev));
}

/* Until a driver says otherwise: writeback is what it will see, writethrough is what it gets. */
static void blk_reset(struct vdpa_soft *dev)
{
	struct soft_blk *blk = to_blk(dev);
	uint8_t wce = 1;

	vdpa_soft_config_store(dev, offsetof(struct virtio_blk_config, wce), &wce, 1);
	if (blk->be->ops->set_writeback)
		blk->be->ops->set_writeback(blk->be, false);
}

/* The write cache mode is the only field that the driver may write. */
static void blk_config_write(struct vdpa_soft *dev, unsigned offset, const void *buf, unsigned len)
{
	const unsigned at = offsetof(struct virtio_blk_config, wce);
	uint8_t wce;

	if (offset > at || at - offset >= len || !vdpa_soft_has(dev, VIRTIO_BLK_F_CONFIG_WCE))
		return;
	wce = ((const uint8_t *)buf)[at - offset] != 0;
	vdpa_soft_config_store(dev, at, &wce, 1);
	apply_cache(to_blk(dev));
}

static uint8_t log2_of(uint32_t ratio)
{
	uint8_t n = 0;

	while (ratio > 1) {
		ratio >>= 1;
		n++;
	}
	return n;
}

static void make_config(const struct soft_blk *blk, uint32_t block_bytes, uint8_t *config)
{
	const struct blk_backend_info *info = &blk->info;
	uint32_t physical =
		info->physical_block_bytes > block_bytes ? info->physical_block_bytes : block_bytes;
	uint32_t segs = blk->depth > 2 ? blk->depth - 2u : 1u;
	struct virtio_blk_config c;

	memset(&c, 0, sizeof(c));
	c.capacity = htole64(blk->capacity_sectors);
	c.seg_max = htole32(segs < BLK_MAX_SEGS ? segs : BLK_MAX_SEGS);
	c.blk_size = htole32(block_bytes);
	c.physical_block_exp = log2_of(physical / block_bytes);
	c.min_io_size = htole16((uint16_t)(info->min_io_bytes / block_bytes));
	c.opt_io_size = htole32(info->opt_io_bytes / block_bytes);
	c.wce = 1;
	c.num_queues = htole16((uint16_t)blk->num_queues);
	if (info->discard) {
		c.max_discard_sectors = htole32(BLK_MAX_DISCARD);
		c.max_discard_seg = htole32(1);
		c.discard_sector_alignment = htole32(physical / BLK_SECTOR);
	}
	if (info->write_zeroes) {
		c.max_write_zeroes_sectors = htole32(BLK_MAX_ZEROES);
		c.max_write_zeroes_seg = htole32(1);
		c.write_zeroes_may_unmap = info->write_zeroes_unmap;
	}
	memcpy(config, &c, BLK_CONFIG_BYTES);
}

static uint64_t offered(const struct soft_blk *blk)
{
	uint64_t f = VDPA_BIT(VIRTIO_BLK_F_SEG_MAX) | VDPA_BIT(VIRTIO_BLK_F_BLK_SIZE) |
		     VDPA_BIT(VIRTIO_BLK_F_FLUSH) | VDPA_BIT(VIRTIO_BLK_F_TOPOLOGY);

	if (blk->read_only)
		f |= VDPA_BIT(VIRTIO_BLK_F_RO);
	if (blk->num_queues > 1)
		f |= VDPA_BIT(VIRTIO_BLK_F_MQ);
	if (blk->be->ops->set_writeback && blk->info.volatile_cache)
		f |= VDPA_BIT(VIRTIO_BLK_F_CONFIG_WCE);
	if (blk->info.discard && !blk->read_only)
		f |= VDPA_BIT(VIRTIO_BLK_F_DISCARD);
	if (blk->info.write_zeroes && !blk->read_only)
		f |= VDPA_BIT(VIRTIO_BLK_F_WRITE_ZEROES);
	return f;
}

/* ---- queues ---- */

static bool blk_bounds(void *arg, const void *addr, uintptr_t *first, uintptr_t *last)
{
	return vdpa_soft_vq_bounds(arg, addr, first, last);
}

static int blk_start(struct vdpa_soft *dev, struct vdpa_soft_vq *vq)
{
	struct soft_blk *blk = to_blk(dev);
	struct blk_vq *bv = vdpa_soft_vq_get_priv(vq);
	int r = blk->be->ops->queue_open(blk->be, vdpa_soft_vq_loop(vq), blk->depth, &bv->bq);

	if (r)
		return r;
	bv->bq->bounds = blk_bounds;
	bv->bq->bounds_arg = vq;
	return 0;
}

static void blk_memory_gone(struct vdpa_soft *dev, struct vdpa_soft_vq *vq, uintptr_t first,
			    uintptr_t last)
{
	struct soft_blk *blk = to_blk(dev);
	struct blk_vq *bv = vdpa_soft_vq_get_priv(vq);

	if (blk->be->ops->memory_gone)
		blk->be->ops->memory_gone(bv->bq, first, last);
}

/* A drain waits for the disk; only what nobody will ask for any more is called off. */
static void blk_stop(struct vdpa_soft *dev, struct vdpa_soft_vq *vq)
{
	struct soft_blk *blk = to_blk(dev);
	struct blk_vq *bv = vdpa_soft_vq_get_priv(vq);

	if (vdpa_soft_vq_cancelling(vq) && blk->be->ops->cancel)
		blk->be->ops->cancel(bv->bq);
}

static void blk_stopped(struct vdpa_soft *dev, struct vdpa_soft_vq *vq)
{
	struct blk_vq *bv = vdpa_soft_vq_get_priv(vq);

	to_blk(dev)->be->ops->queue_close(bv->bq);
	bv->bq = NULL;
}

static bool blk_poll(struct vdpa_soft *dev, struct vdpa_soft_vq *vq)
{
	struct soft_blk *blk = to_blk(dev);
	struct blk_vq *bv = vdpa_soft_vq_get_priv(vq);

	return blk->be->ops->poll && blk->be->ops->poll(bv->bq);
}

static void blk_vq_stats(struct vdpa_soft *dev, struct vdpa_soft_vq *vq, vdpa_stat_fn emit,
			 void *arg)
{
	static const char *const names[BLK_STATS] = {
		[BLK_STAT_READS] = "reads",	    [BLK_STAT_READ_BYTES] = "read bytes",
		[BLK_STAT_WRITES] = "writes",	    [BLK_STAT_WRITE_BYTES] = "write bytes",
		[BLK_STAT_FLUSHES] = "flushes",	    [BLK_STAT_DISCARDS] = "discards",
		[BLK_STAT_ZEROES] = "write zeroes", [BLK_STAT_ERRORS] = "errors",
	};
	struct blk_vq *bv = vdpa_soft_vq_get_priv(vq);

	for (unsigned i = 0; i < BLK_STATS; i++)
		emit(arg, names[i], atomic_load_explicit(&bv->stats[i], memory_order_relaxed));
}

static void blk_show(struct vdpa_soft *dev, vdpa_emit_fn emit, void *arg)
{
	struct soft_blk *blk = to_blk(dev);
	char id[BLK_ID_BYTES + 1] = "";

	memcpy(id, blk->id, BLK_ID_BYTES);
	emit(arg, "backend", blk->be->ops->name);
	emit(arg, "serial", id);
	emit(arg, "read_only", blk->read_only ? "on" : "off");
	if (blk->be->ops->show)
		blk->be->ops->show(blk->be, emit, arg);
}

/* ---- state: the one thing that the driver can set ---- */

struct blk_state {
	uint64_t capacity_sectors;
	uint8_t wce;
	uint8_t reserved[7];
};

static int blk_save(struct vdpa_soft *dev, void *buf, size_t *bytes)
{
	struct blk_state state = {.capacity_sectors = htole64(to_blk(dev)->capacity_sectors)};
	bool fits = buf && *bytes >= sizeof(state);

	*bytes = sizeof(state);
	if (!fits)
		return -ENOSPC;
	vdpa_soft_config_get(dev, offsetof(struct virtio_blk_config, wce), &state.wce, 1);
	memcpy(buf, &state, sizeof(state));
	return 0;
}

static int blk_load(struct vdpa_soft *dev, const void *buf, size_t bytes, struct vdpa_error *err)
{
	struct soft_blk *blk = to_blk(dev);
	static const uint8_t none[7];
	struct blk_state state;

	if (bytes != sizeof(state))
		return vdpa_error_set(err, EINVAL, dev->vdpa.name,
				      "the disk's part of the state has %zu bytes instead of %zu",
				      bytes, sizeof(state));
	memcpy(&state, buf, sizeof(state));
	if (state.wce > 1 || memcmp(state.reserved, none, sizeof(none)))
		return vdpa_error_set(err, EINVAL, dev->vdpa.name,
				      "the disk's part of the state has unknown flags");
	if (le64toh(state.capacity_sectors) != blk->capacity_sectors)
		return vdpa_error_set(err, EINVAL, dev->vdpa.name,
				      "the state is of a disk of %llu sectors, this has %llu",
				      (unsigned long long)le64toh(state.capacity_sectors),
				      (unsigned long long)blk->capacity_sectors);
	return vdpa_soft_config_store(dev, offsetof(struct virtio_blk_config, wce), &state.wce, 1);
}

/* ---- birth and end ---- */

static void blk_free(struct vdpa_soft *dev)
{
	struct soft_blk *blk = to_blk(dev);

	for (unsigned i = 0; i < blk->num_queues; i++)
		free(vdpa_soft_vq_get_priv(vdpa_soft_get_vq(dev, (uint16_t)i)));
	if (blk->be)
		blk->be->ops->close(blk->be);
}

static const struct vdpa_soft_ops blk_ops = {
	.size = sizeof(blk_ops),
	.run = soft_blk_run,
	.poll = blk_poll,
	.start = blk_start,
	.stop = blk_stop,
	.stopped = blk_stopped,
	.memory_gone = blk_memory_gone,
	.driver_ok = blk_driver_ok,
	.reset = blk_reset,
	.config_write = blk_config_write,
	.vq_stats = blk_vq_stats,
	.show = blk_show,
	.save_state = blk_save,
	.load_state = blk_load,
	.free = blk_free,
};

static const struct vdpa_attr_spec blk_attrs[] = {
	{.name = "backend",
	 .type = VDPA_ATTR_STRING,
	 .help = "where the data is: ram (default), file, null; its own attributes follow"},
	{.name = "num_queues",
	 .type = VDPA_ATTR_U64,
	 .min = 1,
	 .max = BLK_MAX_QUEUES,
	 .help = "request queues (default 1)"},
	{.name = "serial",
	 .type = VDPA_ATTR_STRING,
	 .help = "identification, at most 20 bytes (default: the device's name)"},
	{.name = "read_only", .type = VDPA_ATTR_BOOL, .help = "refuse writes (default off)"},
	{.name = "block_size",
	 .type = VDPA_ATTR_U64,
	 .min = 512,
	 .max = 65536,
	 .help = "logical block in bytes, a power of two (default: the backend's)"},
	{0},
};

/* What is known before the device exists. */
struct blk_plan {
	struct soft_blk blk;
	uint32_t block_bytes;
	uint8_t config[BLK_CONFIG_BYTES];
};

static int plan_blocks(struct blk_plan *plan, const struct vdpa_attr *attrs, struct vdpa_error *err)
{
	uint64_t block = vdpa_attr_u64(attrs, "block_size", plan->blk.info.block_bytes);

	if (block & (block - 1))
		return vdpa_error_set(err, EINVAL, NULL, "block_size %llu is not a power of two",
				      (unsigned long long)block);
	if (block < plan->blk.info.block_bytes || plan->blk.info.capacity_bytes % block)
		return vdpa_error_set(err, EINVAL, NULL,
				      "block_size %llu does not fit a backend of %llu bytes in "
				      "blocks of %u",
				      (unsigned long long)block,
				      (unsigned long long)plan->blk.info.capacity_bytes,
				      plan->blk.info.block_bytes);
	plan->block_bytes = (uint32_t)block;
	return 0;
}

static int plan_disk(struct blk_plan *plan, const char *name, const struct vdpa_attr *attrs,
		     struct vdpa_error *err)
{
	const char *serial = vdpa_attr_get(attrs, "serial");
	struct soft_blk *blk = &plan->blk;

	blk->be->ops->get_info(blk->be, &blk->info);
	blk->capacity_sectors = blk->info.capacity_bytes / BLK_SECTOR;
	blk->read_only = blk->info.read_only || vdpa_attr_bool(attrs, "read_only", false);
	blk->num_queues = (unsigned)vdpa_attr_u64(attrs, "num_queues", 1);
	if (!serial)
		serial = blk->info.serial[0] ? blk->info.serial : name;
	else if (strlen(serial) > BLK_ID_BYTES)
		return vdpa_error_set(err, EINVAL, NULL, "serial \"%.40s\" has more than %d bytes",
				      serial, BLK_ID_BYTES);
	memcpy(blk->id, serial, strnlen(serial, BLK_ID_BYTES));
	return plan_blocks(plan, attrs, err);
}

/* Takes the backend over, whatever happens. */
static int make_device(struct vdpa_mgmt_dev *mdev, struct blk_plan *plan,
		       struct vdpa_soft_params *params, struct vdpa_error *err)
{
	struct blk_backend *be = plan->blk.be;
	struct soft_blk *blk;

	make_config(&plan->blk, plan->block_bytes, plan->config);
	params->config = plan->config;
	params->config_bytes = BLK_CONFIG_BYTES;
	blk = vdpa_soft_alloc(mdev->ctx, params, err);
	if (!blk) {
		be->ops->close(be);
		return -ENOMEM;
	}
	plan->blk.soft = blk->soft;
	*blk = plan->blk;
	blk->soft.vdpa.mdev = mdev;
	for (unsigned i = 0; i < blk->num_queues; i++) {
		struct blk_vq *bv = calloc(1, sizeof(*bv));

		if (!bv)
			return soft_born(&blk->soft, -ENOMEM, err);
		bv->vq = vdpa_soft_get_vq(&blk->soft, (uint16_t)i);
		vdpa_soft_vq_set_priv(bv->vq, bv);
	}
	blk_reset(&blk->soft);
	return soft_born(&blk->soft, 0, err);
}

static int add_with(void *arg, const struct soft_add *add, struct vdpa_error *err)
{
	struct backend_open_params open = soft_open_params(add);
	struct vdpa_soft_params params = {
		.size = sizeof(params),
		.struct_size = sizeof(struct soft_blk),
		.ops = &blk_ops,
		.name = add->name,
		.parent = add->mdev->name,
		.device_id = VIRTIO_ID_BLOCK,
		.priv_bytes = sizeof(struct blk_io),
	};
	struct blk_plan plan = {0};
	int r = blk_backend_open(add->backend, &open, &plan.blk.be, err);

	if (r)
		return r;
	r = plan_disk(&plan, add->name, add->attrs.parent, err);
	if (!r) {
		vdpa_soft_params_attrs(&params, add->attrs.parent);
		params.nvqs = plan.blk.num_queues;
		params.features = offered(&plan.blk);
		plan.blk.depth = params.num_max ? params.num_max : 256;
		r = soft_apply_features(&params, add->config, err);
	}
	if (r) {
		plan.blk.be->ops->close(plan.blk.be);
		return r;
	}
	return make_device(add->mdev, &plan, &params, err);
}

static int blk_dev_add(struct vdpa_mgmt_dev *mdev, const char *name,
		       const struct vdpa_dev_set_config *config, struct vdpa_error *err)
{
	const char *backend = vdpa_attr_get(config->attrs, "backend");
	const struct blk_backend_ops *ops = blk_backend_find(backend ? backend : "ram");
	struct soft_add add = {.mdev = mdev, .name = name, .config = config};

	if (!ops)
		return blk_backend_open(backend, &(struct backend_open_params){.name = name}, NULL,
					err);
	add.backend = ops->name;
	add.specs = ops->attrs;
	return soft_add(&add, add_with, NULL, err);
}

static const struct vdpa_mgmtdev_ops blk_mgmt_ops = {
	.dev_add = blk_dev_add,
	.dev_del = vdpa_soft_dev_del,
	.dev_set_attr = vdpa_soft_dev_set,
};

int soft_blk_register(struct vdpa_ctx *ctx)
{
	static const uint32_t ids[] = {VIRTIO_ID_BLOCK, 0};
	struct vdpa_mgmt_dev tmpl = {
		.name = "soft_blk",
		.help = "disks in software",
		.ops = &blk_mgmt_ops,
		.id_table = ids,
		.config_attr_mask = VDPA_CFG_FEATURES,
		.supported_features =
			vdpa_soft_kit_features() | VDPA_BIT(VIRTIO_BLK_F_SEG_MAX) |
			VDPA_BIT(VIRTIO_BLK_F_BLK_SIZE) | VDPA_BIT(VIRTIO_BLK_F_FLUSH) |
			VDPA_BIT(VIRTIO_BLK_F_TOPOLOGY) | VDPA_BIT(VIRTIO_BLK_F_RO) |
			VDPA_BIT(VIRTIO_BLK_F_MQ) | VDPA_BIT(VIRTIO_BLK_F_CONFIG_WCE) |
			VDPA_BIT(VIRTIO_BLK_F_DISCARD) | VDPA_BIT(VIRTIO_BLK_F_WRITE_ZEROES),
		.max_supported_vqs = BLK_MAX_QUEUES,
	};

	return soft_mgmt_register(ctx, &tmpl, blk_attrs);
}
