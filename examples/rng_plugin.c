// SPDX-License-Identifier: BSD-3-Clause
/*
 * The device of rng_device.c as a plugin of uvdpad, built outside of the tree:
 *
 *	gcc -shared -fPIC -o rng.so rng_plugin.c rng_device.c $(pkg-config --cflags uvdpa)
 *
 * With it in --plugin-dir, "uvdpa dev add name r0 mgmtdev example_rng" makes one, and every driver
 *of the daemon can have it.
 */
#include <uvdpa/plugin.h>
#include "rng_device.h"

static int init(struct vdpa_ctx *ctx, struct vdpa_error *err)
{
	int r = rng_register(ctx);

	return r ? vdpa_error_set(err, -r, "example_rng", "cannot be registered") : 0;
}

static const char *const aliases[] = {"uvdpad:start", NULL};

UVDPA_PLUGIN(.name = "rng", .aliases = aliases, .init = init);
