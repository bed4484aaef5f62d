// SPDX-License-Identifier: BSD-3-Clause
/*
 * What the configuration space of a disk says: virtio 1.3, section 5.2.4. The device may say
 * anything; what cannot be is replaced by what can, and the driver works with what is left.
 */
#include <errno.h>
#include "driver/virtio/blk.h"

static int read_limits(struct virtio_device *dev, struct virtio_blk_info *info)
{
	int r = virtio_cread64(dev, virtio_blk_cfg(capacity), &info->capacity_sectors);

	info->seg_max = VIRTIO_BLK_SEGS_MAX;
	if (!r && virtio_has_feature(dev, VIRTIO_BLK_F_SEG_MAX))
		r = virtio_cread32(dev, virtio_blk_cfg(seg_max), &info->seg_max);
	if (!r && virtio_has_feature(dev, VIRTIO_BLK_F_SIZE_MAX))
		r = virtio_cread32(dev, virtio_blk_cfg(size_max), &info->size_max);
	/* As Linux does with a device that allows none. */
	if (!info->seg_max)
		info->seg_max = 1;
	if (info->seg_max > VIRTIO_BLK_SEGS_MAX)
		info->seg_max = VIRTIO_BLK_SEGS_MAX;
	return r;
}

static int read_topology(struct virtio_device *dev, struct virtio_blk_info *info)
{
	uint8_t exponent = 0;
	uint16_t min_io;
	int r = 0;

	info->block_bytes = VIRTIO_BLK_SECTOR_BYTES;
	if (virtio_has_feature(dev, VIRTIO_BLK_F_BLK_SIZE))
		r = virtio_cread32(dev, virtio_blk_cfg(blk_size), &info->block_bytes);
	if (info->block_bytes < 512 || info->block_bytes > 65536 ||
	    (info->block_bytes & (info->block_bytes - 1))) {
		virtio_log(dev, VDPA_LOG_WARN, "impossible block size %u: 512 is used",
			   info->block_bytes);
		info->block_bytes = VIRTIO_BLK_SECTOR_BYTES;
	}
	info->physical_block_bytes = info->block_bytes;
	if (r || !virtio_has_feature(dev, VIRTIO_BLK_F_TOPOLOGY))
		return r;
	r = virtio_config_read(dev, virtio_blk_cfg(physical_block_exp), &exponent, 1);
	if (!r)
		r = virtio_cread16(dev, virtio_blk_cfg(min_io_size), &min_io);
	if (!r)
		r = virtio_cread32(dev, virtio_blk_cfg(opt_io_size), &info->opt_io_blocks);
	if (r)
		return r;
	info->min_io_blocks = min_io;
	if (exponent <= 8)
		info->physical_block_bytes <<= exponent;
	return 0;
}

static int read_abilities(struct virtio_device *dev, struct virtio_blk_info *info)
{
	uint8_t wce;
	int r = 0;

	info->read_only = virtio_has_feature(dev, VIRTIO_BLK_F_RO);
	info->flush = virtio_has_feature(dev, VIRTIO_BLK_F_FLUSH);
	info->discard = virtio_has_feature(dev, VIRTIO_BLK_F_DISCARD);
	info->write_zeroes = virtio_has_feature(dev, VIRTIO_BLK_F_WRITE_ZEROES);
	info->writeback = info->flush;
	if (info->discard)
		r = virtio_cread32(dev, virtio_blk_cfg(max_discard_sectors),
				   &info->max_discard_sectors);
	if (!r && info->write_zeroes)
		r = virtio_cread32(dev, virtio_blk_cfg(max_write_zeroes_sectors),
				   &info->max_write_zeroes_sectors);
	if (!r && virtio_has_feature(dev, VIRTIO_BLK_F_CONFIG_WCE)) {
		r = virtio_config_read(dev, virtio_blk_cfg(wce), &wce, 1);
		info->writeback = !r && wce;
	}
	return r;
}

static int read_queues(struct virtio_device *dev, struct virtio_blk_info *info)
{
	unsigned want = dev->opts.queues ? dev->opts.queues : 1, have = dev->ops->num_vqs(dev);
	uint16_t n = 1;
	int r = 0;

	if (virtio_has_feature(dev, VIRTIO_BLK_F_MQ))
		r = virtio_cread16(dev, virtio_blk_cfg(num_queues), &n);
	if (n && n < have)
		have = n;
	info->queues = want < have ? want : have;
	return r;
}

int virtio_blk_read_config(struct virtio_device *dev, struct virtio_blk_info *info)
{
	int r = read_limits(dev, info);

	if (!r)
		r = read_topology(dev, info);
	if (!r)
		r = read_abilities(dev, info);
	if (!r)
		r = read_queues(dev, info);
	return !r && !info->queues ? -ENODEV : r;
}
