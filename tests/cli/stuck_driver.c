// SPDX-License-Identifier: BSD-3-Clause
/*
 * A plugin for the tests: a driver of the class of examples/mdev_plugin.c that never gives a device
 * back.
 */
#include <uvdpa/plugin.h>
#include "mdev_plugin.h"

static int probe(struct mdev_device *mdev, const struct vdpa_attr *attrs, struct vdpa_error *err)
{
	return 0;
}

static void remove_device(struct mdev_device *mdev, const struct vdpa_done *done)
{
	mdev_log(mdev, VDPA_LOG_INFO, "is kept");
}

static const uint16_t ids[] = {HELLO_CLASS, 0};
static const struct mdev_driver driver = {
	.name = "stuck_driver",
	.help = "keeps devices for ever",
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

UVDPA_PLUGIN(.name = "stuck_driver", .aliases = aliases, .init = init);
