/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Driving a virtio device on a person's behalf: what "uvdpa drv" does, in the daemon on a device of
 * its own, or in the command over a vhost-user socket. Operations are asynchronous; their
 * parameters are JSON.
 *
 * A device can go away, or be reset, under an operation: its requests then end with an error, and
 * the operation does.
 */
#ifndef CTL_DRV_H
#define CTL_DRV_H

#include <jansson.h>
#include <uvdpa/virtio.h>
#include "ctl/params.h"

/** @result: taken over by the callee; NULL on an error, or when there is nothing to say. */
typedef void (*drv_done_fn)(void *arg, int ret, json_t *result, const struct vdpa_error *err);

struct drv_op {
	const char *name; /* "info", "blk.read"; NULL ends the table */
	const char *help;
	const struct ctl_param *params; /* besides "name", the device */
	void (*fn)(struct virtio_device *dev, const json_t *params, drv_done_fn done, void *arg);
};

extern const struct drv_op drv_ops[];
const struct drv_op *drv_find(const char *name);

/** [{name, bus, driver}] of all virtio devices of @ctx. */
json_t *drv_list(struct vdpa_ctx *ctx);

/** Base64, RFC 4648 section 4. New string (free); NULL without memory. */
char *drv_base64(const uint8_t *data, size_t len);
/** 0 and *@out (free), -EINVAL, -ENOMEM. */
int drv_unbase64(const char *text, uint8_t **out, size_t *len);

#endif
