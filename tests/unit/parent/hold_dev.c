// SPDX-License-Identifier: BSD-3-Clause
#include "hold_dev.h"

static void serve(struct vdpa_soft_vq *vq, struct vringh_chain *chain)
{
	uint8_t fill[256];
	uint64_t off = 0;

	memset(fill, HOLD_FILL, sizeof(fill));
	while (off < chain->in_len) {
		size_t n = chain->in_len - off < sizeof(fill) ? (size_t)(chain->in_len - off)
							      : sizeof(fill);

		if (!vdpa_soft_push(vq, chain, off, fill, n))
			break;
		off += n;
	}
	vdpa_soft_complete(vq, chain, (uint32_t)chain->in_len);
}

static bool hold_run(struct vdpa_soft *sdev, struct vdpa_soft_vq *vq, unsigned budget)
{
	struct hold_dev *dev = hold_of(sdev);
	struct hold_queue *q = &dev->q[vdpa_soft_vq_index(vq)];
	struct vringh_chain *chains[64];
	unsigned max = budget < 64 ? budget : 64;
	unsigned n = vdpa_soft_getdesc(vq, chains, max);

	dev->runs++;
	if (n > dev->max_budget)
		dev->max_budget = n;
	for (unsigned i = 0; i < n; i++) {
		q->served++;
		if (dev->hold)
			q->held[q->n++] = chains[i];
		else
			serve(vq, chains[i]);
	}
	return n == max || dev->endless;
}

void hold_release(struct hold_dev *dev, unsigned idx)
{
	struct hold_queue *q = &dev->q[idx];
	unsigned n = q->n;

	q->n = 0;
	for (unsigned i = 0; i < n; i++)
		serve(q->vq, q->held[i]);
	if (n)
		vdpa_soft_flush(q->vq);
}

static int hold_start(struct vdpa_soft *sdev, struct vdpa_soft_vq *vq)
{
	struct hold_dev *dev = hold_of(sdev);
	struct hold_queue *q = &dev->q[vdpa_soft_vq_index(vq)];

	if (dev->start_error)
		return dev->start_error;
	q->vq = vq;
	q->starts++;
	return 0;
}

static void hold_stop(struct vdpa_soft *sdev, struct vdpa_soft_vq *vq)
{
	struct hold_dev *dev = hold_of(sdev);
	struct hold_queue *q = &dev->q[vdpa_soft_vq_index(vq)];

	q->stops++;
	if (dev->ignore_stop || !vdpa_soft_vq_cancelling(vq))
		return;
	while (q->n)
		vdpa_soft_cancel(vq, q->held[--q->n]);
}

static void hold_stopped(struct vdpa_soft *sdev, struct vdpa_soft_vq *vq)
{
	struct hold_queue *q = &hold_of(sdev)->q[vdpa_soft_vq_index(vq)];

	assert_int_equal(q->n, 0);
	q->stoppeds++;
	q->vq = NULL;
}

static int hold_check(struct vdpa_soft *sdev, uint64_t features)
{
	return features & HOLD_F_BAD ? -EINVAL : 0;
}

static void hold_driver_ok(struct vdpa_soft *sdev)
{
	hold_of(sdev)->driver_oks++;
}

static void hold_reset(struct vdpa_soft *sdev)
{
	hold_of(sdev)->resets++;
}

static void hold_config(struct vdpa_soft *sdev, unsigned offset, const void *buf, unsigned len)
{
	vdpa_soft_config_store(sdev, offset, buf, len);
}

static int hold_save(struct vdpa_soft *sdev, void *buf, size_t *bytes)
{
	bool fits = buf && *bytes >= sizeof(uint32_t);

	*bytes = sizeof(uint32_t);
	if (!fits)
		return -ENOSPC;
	memcpy(buf, &hold_of(sdev)->own, sizeof(uint32_t));
	return 0;
}

static int hold_load(struct vdpa_soft *sdev, const void *buf, size_t bytes, struct vdpa_error *err)
{
	if (bytes != sizeof(uint32_t))
		return vdpa_error_set(err, EINVAL, NULL, "%zu bytes", bytes);
	memcpy(&hold_of(sdev)->own, buf, sizeof(uint32_t));
	return 0;
}

/* Odd queues have their buffers in group 1; descriptors are in the last group. */
static unsigned hold_group(struct vdpa_soft *sdev, uint16_t idx)
{
	return sdev->vdpa.ngroups > 1 ? idx & 1 : 0;
}

static unsigned hold_desc_group(struct vdpa_soft *sdev, uint16_t idx)
{
	return sdev->vdpa.ngroups - 1;
}

/* As of a NIC: where it is depends on features. */
static bool hold_control(struct vdpa_soft *sdev, uint16_t idx)
{
	return idx == (vdpa_soft_features(sdev) & HOLD_F_ONE ? HOLD_QUEUES - 1 : 2);
}

static void hold_free(struct vdpa_soft *sdev)
{
	struct hold_dev *dev = hold_of(sdev);

	if (dev->freed)
		(*dev->freed)++;
}

static const struct vdpa_soft_ops hold_ops = {
	.size = sizeof(hold_ops),
	.run = hold_run,
	.start = hold_start,
	.stop = hold_stop,
	.stopped = hold_stopped,
	.check_features = hold_check,
	.driver_ok = hold_driver_ok,
	.reset = hold_reset,
	.config_write = hold_config,
	.vq_group = hold_group,
	.vq_desc_group = hold_desc_group,
	.vq_control = hold_control,
	.save_state = hold_save,
	.load_state = hold_load,
	.free = hold_free,
};

struct hold_dev *hold_make(struct vdpa_ctx *ctx, const char *name, const struct hold_params *p,
			   struct vdpa_error *err)
{
	static const uint8_t config[16] = {1, 2, 3, 4, 5, 6, 7, 8};
	struct vdpa_soft_params params = {
		.size = sizeof(params),
		.struct_size = sizeof(struct hold_dev),
		.ops = &hold_ops,
		.name = name,
		.parent = "hold",
		.device_id = 42,
		.vendor_id = 7,
		.features = HOLD_F_ONE | HOLD_F_BAD,
		.nvqs = HOLD_QUEUES,
		.config = config,
		.config_bytes = sizeof(config),
		.priv_bytes = 24,
		.groups = p ? p->groups : VDPA_SOFT_GROUPS_DEFAULT,
		.desc_group = p && p->desc_group,
		.control_vq = p && p->control,
		.nas = p ? p->nas : 0,
		.ngroups = p ? p->ngroups : 0,
		.map = p ? p->map : VDPA_SOFT_DMA_MAP,
		.stop_timeout_ns = p ? p->stop_timeout_ns : 0,
		.budget = p ? p->budget : 0,
	};

	return vdpa_soft_alloc(ctx, &params, err);
}

struct hold_dev *hold_open(struct soft_guest *g, const struct hold_params *params)
{
	struct vdpa_error err = {.msg = ""};
	struct hold_dev *dev;

	sg_open(g, 0);
	dev = hold_make(g->ctx, "h0", params, &err);
	assert_non_null(dev);
	assert_int_equal(vdpa_soft_register(&dev->soft, &err), 0);
	sg_use(g, &dev->soft.vdpa);
	return dev;
}

void hold_post(struct soft_guest *g, unsigned idx, unsigned slot, uint32_t len)
{
	struct virtqueue_sg sg = sg_at(SG_DATA + slot * 4096, len);

	memset(g->mem + SG_DATA + slot * 4096, 0, 4096);
	sg_send(g, idx, &sg, 0, 1, g->mem + SG_DATA + slot * 4096);
}
