/* SPDX-License-Identifier: BSD-3-Clause */
/* Inside of drv*.c. */
#ifndef CTL_DRV_IMPL_H
#define CTL_DRV_IMPL_H

#include "ctl/drv.h"

/* An operation ends when nothing has happened for so long; the device is reset then. */
#define DRV_TIMEOUT_NS 30000000000ull

typedef void drv_fn(struct virtio_device *dev, const json_t *params, drv_done_fn done, void *arg);

drv_fn drv_blk_info, drv_blk_id, drv_blk_read, drv_blk_write, drv_blk_fill, drv_blk_verify,
	drv_blk_flush, drv_blk_discard, drv_blk_zero;
drv_fn drv_net_info, drv_net_ping, drv_net_pktgen, drv_net_command;
drv_fn drv_config_read, drv_config_write;

extern const struct ctl_param drv_read_params[], drv_write_params[], drv_fill_params[],
	drv_range_params[], drv_ping_params[], drv_pktgen_params[], drv_command_params[],
	drv_config_read_params[], drv_config_write_params[];

/** -EINVAL: no pairs of small hexadecimal digits, or more than @room. */
int drv_from_hex(const char *text, uint8_t *to, size_t room, size_t *len);
/** NULL without memory. */
json_t *drv_to_hex(const uint8_t *from, size_t len);

/** End an operation that failed at once. */
void drv_fail(struct virtio_device *dev, drv_done_fn done, void *arg, int ret, const char *why);
/**
 * A device in poll mode finds completions when somebody looks: as long as an operation is under
 * way, this does. Embedded in the operation; harmless in callback mode, where it is not used.
 */
struct drv_poll {
	struct vdpa_loop_poller poller;
	struct vdpa_ctx *ctx;
	struct virtio_device *dev;
	char name[32]; /* the device may go away under the operation */
	bool on;
};
void drv_poll_start(struct drv_poll *poll, struct virtio_device *dev);
void drv_poll_stop(struct drv_poll *poll);

/** Is @dev, which was called @name in @ctx, still there? */
bool drv_alive(struct vdpa_ctx *ctx, const char *name, const struct virtio_device *dev);

#endif
