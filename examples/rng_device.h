/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RNG_DEVICE_H
#define RNG_DEVICE_H

#include <uvdpa/vdpa.h>

/** Register the management device "example_rng" with @ctx. 0 or -errno. */
int rng_register(struct vdpa_ctx *ctx);

#endif
