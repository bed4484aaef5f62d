// SPDX-License-Identifier: BSD-3-Clause
/*
 * Can the device, or a queue, be enabled as it is configured? The device checks what concerns all
 * queues and groups, a queue what is its own. Where the driver may not configure anything, all of
 * this holds from the start, but for the PASID of a queue.
 */
#include "dsa_dev/vdev_impl.h"

static uint64_t group(struct dsa_vdev *vdev, unsigned g, unsigned off)
{
	return vdev_reg64(vdev, DSA_GRPCFG + g * DSA_GRPCFG_STRIDE + off);
}

static unsigned groups(struct dsa_vdev *vdev)
{
	return *vdev_reg(vdev, DSA_GRPCAP) & 0xff;
}

/* How many groups have bit @bit of what is at @off. */
static unsigned members(struct dsa_vdev *vdev, unsigned off, unsigned bit)
{
	unsigned n = 0;

	for (unsigned g = 0; g < groups(vdev); g++)
		n += group(vdev, g, off) >> bit & 1;
	return n;
}

static unsigned size_of(struct dsa_vdev *vdev, unsigned wq)
{
	return *vdev_wqcfg(vdev, wq, DSA_WQW_SIZE) & 0xffff;
}

static enum dsa_cmdsts check_sizes(struct dsa_vdev *vdev)
{
	unsigned sum = 0;

	for (unsigned i = 0; i < vdev->config.nwqs; i++)
		sum += size_of(vdev, i);
	return sum > (*vdev_reg(vdev, DSA_WQCAP) & 0xffff) ? DSA_CMDSTS_WQ_SIZES : 0;
}

static enum dsa_cmdsts check_group(struct dsa_vdev *vdev, unsigned g)
{
	uint64_t wqs = group(vdev, g, 0), engines = group(vdev, g, DSA_GRPCFG_ENGINES);
	uint32_t flags = (uint32_t)group(vdev, g, DSA_GRPCFG_FLAGS);
	unsigned have = *vdev_reg(vdev, DSA_GRPCAP) >> DSA_GRPCAP_RDBUF_SHIFT & 0xff;
	unsigned reserved = flags >> 8 & 0xff, allowed = flags >> 20 & 0xff;

	if (wqs >> vdev->config.nwqs || engines >> vdev->config.nengines)
		return DSA_CMDSTS_CONFIG;
	if (!wqs != !engines)
		return DSA_CMDSTS_GRP_CONFIG;
	if (wqs && (reserved > have || allowed > have || !allowed || allowed < reserved))
		return DSA_CMDSTS_GRP_CONFIG4;
	return 0;
}

static enum dsa_cmdsts check_membership(struct dsa_vdev *vdev)
{
	for (unsigned i = 0; i < vdev->config.nwqs; i++) {
		if (members(vdev, 0, i) != !!size_of(vdev, i))
			return DSA_CMDSTS_GRP_CONFIG2;
	}
	for (unsigned i = 0; i < vdev->config.nengines; i++) {
		if (members(vdev, DSA_GRPCFG_ENGINES, i) > 1)
			return DSA_CMDSTS_GRP_CONFIG3;
	}
	return 0;
}

/* A PASID that work would have, but that the device may not use: it has no PASID capability. */
static enum dsa_cmdsts check_pasids(struct dsa_vdev *vdev)
{
	for (unsigned i = 0; i < vdev->config.nvectors; i++) {
		uint32_t perm = *vdev_reg(vdev, DSA_MSIXPERM + i * DSA_MSIXPERM_STRIDE);

		if (perm & 1u << 3)
			return DSA_CMDSTS_PASID_INVAL;
	}
	return 0;
}

enum dsa_cmdsts vdev_check_device(struct dsa_vdev *vdev)
{
	enum dsa_cmdsts sts = 0;

	if (vdev_state(vdev) != DSA_DISABLED)
		return DSA_CMDSTS_DEV_ENABLED;
	if (!vdev->config.ops->bus_master(vdev->config.arg))
		return DSA_CMDSTS_BUSMASTER;
	sts = check_pasids(vdev);
	if (!sts)
		sts = check_sizes(vdev);
	for (unsigned g = 0; g < groups(vdev) && !sts; g++)
		sts = check_group(vdev, g);
	return sts ? sts : check_membership(vdev);
}

void vdev_wq_config(struct dsa_vdev *vdev, unsigned wq, struct dsa_vdev_wq *out)
{
	uint32_t mode = *vdev_wqcfg(vdev, wq, DSA_WQW_MODE);
	uint32_t limits = *vdev_wqcfg(vdev, wq, DSA_WQW_LIMITS);

	*out = (struct dsa_vdev_wq){
		.size = size_of(vdev, wq),
		.threshold = *vdev_wqcfg(vdev, wq, DSA_WQW_THRESHOLD) & 0xffff,
		.dedicated = mode & DSA_WQCFG_DEDICATED,
		.block_on_fault = mode & DSA_WQCFG_BOF,
		.priority = mode >> DSA_WQCFG_PRIO_SHIFT & DSA_WQCFG_PRIO,
		.xfer_shift = limits & DSA_WQCFG_XFER,
		.batch_shift = limits >> DSA_WQCFG_BATCH_SHIFT & DSA_WQCFG_BATCH,
	};
}

enum dsa_cmdsts vdev_check_wq(struct dsa_vdev *vdev, unsigned wq)
{
	struct dsa_vdev_wq c;
	uint64_t modes = vdev_reg64(vdev, DSA_WQCAP);

	if (vdev_state(vdev) != DSA_ENABLED)
		return DSA_CMDSTS_DEV_NOTEN;
	if (vdev_wq_enabled(vdev, wq))
		return DSA_CMDSTS_WQ_ENABLED;
	vdev_wq_config(vdev, wq, &c);
	if (!c.size || (!c.dedicated && c.threshold > c.size))
		return DSA_CMDSTS_WQ_SIZE;
	if (!c.priority)
		return DSA_CMDSTS_WQ_PRIOR;
	if (!(modes & (c.dedicated ? DSA_WQCAP_DEDICATED : DSA_WQCAP_SHARED)))
		return DSA_CMDSTS_WQ_MODE;
	if (c.block_on_fault && !(*vdev_reg(vdev, DSA_GENCAP) & DSA_GENCAP_BOF))
		return DSA_CMDSTS_BOF_EN;
	if (*vdev_wqcfg(vdev, wq, DSA_WQW_MODE) & DSA_WQCFG_PASID_EN)
		return DSA_CMDSTS_PASID_EN;
	if (c.batch_shift > vdev->config.batch_shift)
		return DSA_CMDSTS_MAX_BATCH;
	if (c.xfer_shift > vdev->config.xfer_shift)
		return DSA_CMDSTS_MAX_XFER;
	return 0;
}
