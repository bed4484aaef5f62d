// SPDX-License-Identifier: BSD-3-Clause
/* The management device "vduse": what a process has made is put on the bus by its name. */
#include "parent/vduse/vduse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uvdpa/soft.h>

static int check_vqs(const struct vdu_dev *d, struct vdpa_error *err)
{
	for (uint32_t i = 0; i < d->nvqs; i++) {
		if (!d->vq[i].num_max)
			return vdpa_error_set(err, EINVAL, NULL,
					      "its process has not set up queue %u of %u yet "
					      "(VDUSE_VQ_SETUP)",
					      i, d->nvqs);
	}
	return 0;
}

static int dev_add(struct vdpa_mgmt_dev *mdev, const char *name,
		   const struct vdpa_dev_set_config *config, struct vdpa_error *err)
{
	struct vdu_endpoint *ep = vdu_endpoint(mdev->ctx);
	struct vdu_dev *d = ep ? vdu_find(ep, name) : NULL;
	const char *isolation;
	int ret;

	if (!ep || ep->listen.sock.fd < 0)
		return vdpa_error_set(err, ENOTCONN, NULL,
				      "there is no endpoint for device processes: start the daemon "
				      "with --vduse PATH");
	if (!d)
		return vdpa_error_set(err, ENODEV, NULL,
				      "no process has made a VDUSE device called \"%s\" at %s",
				      name, ep->listen.sock.path);
	if (d->vdev)
		return vdpa_error_set(err, EBUSY, NULL, "it is still being deleted");
	ret = check_vqs(d, err);
	if (!ret)
		ret = vdu_rfc3_known(d, err);
	if (ret)
		return ret;
	d->timeout_ns = vdpa_attr_u64(config->attrs, "msg_timeout_ms", VDU_TIMEOUT_MS) * 1000000ull;
	isolation = vdpa_attr_get(config->attrs, "isolation");
	if (isolation && !strcmp(isolation, "bounce"))
		return vdu_bounce_add(d, config, err);
	return vdu_vdpa_add(d, config, err);
}

static int dev_del(struct vdpa_mgmt_dev *mdev, struct vdpa_device *vdev,
		   const struct vdpa_done *done)
{
	struct vdu_dev *d = vdu_find(vdu_endpoint(mdev->ctx), vdev->name);

	return d->user ? vdpa_soft_dev_del(mdev, vdev, done) : vdpa_unregister_device(vdev, done);
}

static const struct vdpa_mgmtdev_ops ops = {
	.dev_add = dev_add,
	.dev_del = dev_del,
};

static const char *const isolations[] = {"shared", "bounce", NULL};

static const struct vdpa_attr_spec attrs[] = {
	{.name = "isolation",
	 .type = VDPA_ATTR_ENUM,
	 .choices = isolations,
	 .help = "shared: the process gets the driver's memory (default); bounce: copies of what "
		 "it needs"},
	{.name = "bounce_size",
	 .type = VDPA_ATTR_SIZE,
	 .min = 1 << 20,
	 .max = 1 << 30,
	 .help = "bytes of bounce pages, for all queues; default 64M"},
	{.name = "msg_timeout_ms",
	 .type = VDPA_ATTR_U64,
	 .max = 3600000,
	 .help = "time that the process has to answer a message; 0: for ever; default 30000"},
	{.name = NULL},
};

/* As Linux lists them; a process may make others. */
static const uint32_t ids[] = {VIRTIO_ID_NET, VIRTIO_ID_BLOCK, 0};

static void release(struct vdpa_mgmt_dev *mdev)
{
	free(mdev);
}

int vduse_parent_register(struct vdpa_ctx *ctx)
{
	struct vdpa_mgmt_dev *mdev = calloc(1, sizeof(*mdev));
	int ret;

	if (!mdev)
		return -ENOMEM;
	*mdev = (struct vdpa_mgmt_dev){
		.name = "vduse",
		.help = "devices of other processes, by VDUSE",
		.ops = &ops,
		.id_table = ids,
		.config_attr_mask = VDPA_CFG_FEATURES,
		.supported_features = UINT64_MAX,
		.max_supported_vqs = VDUSE_VQS_MAX,
		.attrs = attrs,
		.release = release,
	};
	ret = vdpa_mgmtdev_register(ctx, mdev);
	if (ret)
		free(mdev);
	return ret;
}
