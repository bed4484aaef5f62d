/* SPDX-License-Identifier: BSD-3-Clause */
/* The samples: parents of mediated devices to copy from. docs/mdev.md goes through them. */
#ifndef SAMPLE_SAMPLES_H
#define SAMPLE_SAMPLES_H

#include <uvdpa/mdev.h>

/* 0, -EEXIST, -ENOMEM. */
int mvnet_loopback_register(struct vdpa_ctx *ctx);
int mtty_register(struct vdpa_ctx *ctx); /* with vfio-user */

#endif
