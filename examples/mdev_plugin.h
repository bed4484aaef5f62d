/* SPDX-License-Identifier: BSD-3-Clause */
/* What the parent and the driver of the example's class agree on. */
#ifndef MDEV_PLUGIN_H
#define MDEV_PLUGIN_H

#include <uvdpa/mdev.h>

#define HELLO_BUS "hello_bus"
#define HELLO_CLASS 0x100

struct hello_ops {
	const char *(*read_text)(struct mdev_device *mdev);
};

#endif
