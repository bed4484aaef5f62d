/* SPDX-License-Identifier: BSD-3-Clause */
/* The drivers of the classes. */
#ifndef MDEV_CLASS_CLASS_H
#define MDEV_CLASS_CLASS_H

#include <uvdpa/mdev_class.h>

extern const struct mdev_driver virtio_mdev_driver, vfio_mdev_driver;

#endif
