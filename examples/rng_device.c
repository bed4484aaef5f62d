// SPDX-License-Identifier: BSD-3-Clause
/*
 * A whole virtio device: an entropy source (virtio 1.3, section 5.4). It has one queue, no config
 * space and no features of its own; the driver sends empty buffers, the device fills them.
 *
 * All the rest is the kit's (uvdpa/soft.h), and every bus driver can serve it: a virtual machine
 * over vhost-user, or a driver in the same process. docs/adding-a-device.md goes through this file.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include <uvdpa/compat.h>
#include <uvdpa/soft.h>
#include "rng_device.h"

#define RNG_BATCH 16
#define RNG_MAX_BYTES 65536u /* a request takes a bounded piece of its queue's turn */

struct rng {
	struct vdpa_soft soft;	/* first: the kit allocates the whole structure */
	uint32_t max_bytes;	/* of one request */
	_Atomic uint64_t bytes; /* written by the queue's loop, read by the control thread */
};

static struct rng *to_rng(struct vdpa_soft *dev)
{
	return (struct rng *)dev;
}

/* One request: random bytes into its writable pieces. Returns how many. */
static uint32_t fill(struct rng *rng, struct vdpa_soft_vq *vq, struct vringh_chain *chain)
{
	uint8_t buf[256]; /* what getrandom() gives in one piece */
	uint32_t done = 0;

	while (done < chain->in_len && done < rng->max_bytes) {
		size_t n = sizeof(buf);

		if (n > rng->max_bytes - done)
			n = rng->max_bytes - done;
		if (getrandom(buf, n, 0) != (ssize_t)n)
			break;
		/* Copies as much as there is room for, wherever its pieces are cut. */
		n = vdpa_soft_push(vq, chain, done, buf, n);
		if (!n)
			break;
		done += (uint32_t)n;
	}
	return done;
}

/* Serve the queue, on its loop: at most @budget requests; true when there may be more. */
static bool rng_run(struct vdpa_soft *dev, struct vdpa_soft_vq *vq, unsigned budget)
{
	struct rng *rng = to_rng(dev);
	struct vringh_chain *chains[RNG_BATCH];
	unsigned max = budget < RNG_BATCH ? budget : RNG_BATCH;
	unsigned n = vdpa_soft_getdesc(vq, chains, max);

	for (unsigned i = 0; i < n; i++) {
		uint32_t bytes = fill(rng, vq, chains[i]);

		if (!chains[i]->in_len) /* counted, and a rate-limited line in the log */
			vdpa_soft_bad_request(vq, chains[i], "nothing to fill");
		rng->bytes += bytes;
		vdpa_soft_complete(vq, chains[i], bytes);
	}
	return n == max; /* what was completed is published when this returns */
}

static void rng_stats(struct vdpa_soft *dev, struct vdpa_soft_vq *vq, vdpa_stat_fn emit, void *arg)
{
	emit(arg, "bytes", to_rng(dev)->bytes);
}

static const struct vdpa_soft_ops rng_ops = {
	.size = sizeof(rng_ops),
	.run = rng_run,
	.vq_stats = rng_stats,
};

/* ---- making one: "uvdpa dev add name r0 mgmtdev example_rng max_bytes 4096" ---- */

static const struct vdpa_attr_spec rng_attrs[] = {
	{.name = "max_bytes",
	 .type = VDPA_ATTR_SIZE,
	 .min = 1,
	 .max = RNG_MAX_BYTES,
	 .help = "most bytes that one request gets (default 64K)"},
	{0},
};

static int rng_dev_add(struct vdpa_mgmt_dev *mdev, const char *name,
		       const struct vdpa_dev_set_config *config, struct vdpa_error *err)
{
	struct vdpa_soft_params params = {
		.size = sizeof(params),
		.struct_size = sizeof(struct rng),
		.ops = &rng_ops,
		.name = name,
		.parent = mdev->name,
		.device_id = VIRTIO_ID_RNG,
		.nvqs = 1,
	};
	struct rng *rng = vdpa_soft_alloc(mdev->ctx, &params, err);
	int r;

	if (!rng)
		return -ENOMEM;
	rng->max_bytes = (uint32_t)vdpa_attr_size(config->attrs, "max_bytes", RNG_MAX_BYTES);
	rng->soft.vdpa.mdev = mdev;
	r = vdpa_soft_register(&rng->soft, err);
	if (r)
		vdpa_put_device(&rng->soft.vdpa);
	return r;
}

static void rng_release(struct vdpa_mgmt_dev *mdev)
{
	free(mdev);
}

static const struct vdpa_mgmtdev_ops rng_mgmt_ops = {
	.dev_add = rng_dev_add,
	.dev_del = vdpa_soft_dev_del,
};

int rng_register(struct vdpa_ctx *ctx)
{
	static const uint32_t ids[] = {VIRTIO_ID_RNG, 0};
	struct vdpa_mgmt_dev *mdev = calloc(1, sizeof(*mdev));
	int r;

	if (!mdev)
		return -ENOMEM;
	mdev->name = "example_rng";
	mdev->help = "an entropy source";
	mdev->ops = &rng_mgmt_ops;
	mdev->id_table = ids;
	mdev->supported_features = vdpa_soft_kit_features();
	mdev->max_supported_vqs = 1;
	mdev->attrs = rng_attrs;
	mdev->release = rng_release;
	r = vdpa_mgmtdev_register(ctx, mdev);
	if (r)
		free(mdev);
	return r;
}
