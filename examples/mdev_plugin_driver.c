// SPDX-License-Identifier: BSD-3-Clause
/*
 * The other half of the example: a driver for the class of mdev_plugin.c, in a plugin that is
 * started when the first device of that class is there.
 */
#include <uvdpa/plugin.h>
#include "mdev_plugin.h"

static int probe(struct mdev_device *mdev, const struct vdpa_attr *attrs, struct vdpa_error *err)
{
	const struct hello_ops *ops = mdev_class_ops(mdev, HELLO_CLASS);

	mdev_log(mdev, VDPA_LOG_INFO, "says %s", ops->read_text(mdev));
	return 0;
}

static void remove_device(struct mdev_device *mdev, const struct vdpa_done *done)
{
	vdpa_done_call(done, 0);
}

static const uint16_t ids[] = {HELLO_CLASS, 0};
static const struct mdev_driver driver = {
	.name = "hello_driver",
	.help = "logs what devices say",
	.bus = HELLO_BUS,
	.id_table = ids,
	.probe = probe,
	.remove = remove_device,
	.autoprobe = true,
};

static int init(struct vdpa_ctx *ctx, struct vdpa_error *err)
{
	return mdev_register_driver(ctx, &driver);
}

static const char *const aliases[] = {HELLO_BUS ":c100", NULL};

UVDPA_PLUGIN(.name = "hello_driver", .aliases = aliases, .init = init);
