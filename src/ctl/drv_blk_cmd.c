// SPDX-License-Identifier: BSD-3-Clause
/* Disk requests that are one request each, and what a disk says of itself. */
#include <errno.h>
#include <linux/virtio_blk.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/list.h"
#include "ctl/drv_impl.h"
#include "ctl/json.h"

#define ID_BYTES 20

struct blk_cmd {
	struct vdpa_ctx *ctx;
	struct virtio_device *dev;
	char name[32];
	struct virtio_blk_request req;
	struct virtqueue_sg sg;
	uint8_t *buf; /* GET_ID */
	bool timed_out;
	struct vdpa_loop_timer timer;
	struct drv_poll poll;
	drv_done_fn done;
	void *arg;
};

static json_t *cmd_result(const struct blk_cmd *cmd)
{
	char id[ID_BYTES + 1] = "";

	if (!cmd->buf)
		return NULL;
	memcpy(id, cmd->buf, ID_BYTES);
	return json_pack("{s:o}", "id", ctl_json_text(id));
}

static void cmd_done(struct virtio_blk_request *req, int result)
{
	struct blk_cmd *cmd = req->user;
	struct vdpa_error err = {0};
	json_t *answer = result ? NULL : cmd_result(cmd);

	vdpa_loop_timer_cancel(&cmd->timer);
	drv_poll_stop(&cmd->poll);
	virtio_mem_free(cmd->dev, cmd->buf);
	if (result && cmd->timed_out)
		result = -ETIMEDOUT;
	if (result)
		vdpa_error_set(&err, -result, cmd->name, "the request failed: %s",
			       strerror(-result));
	cmd->done(cmd->arg, result, answer, result ? &err : NULL);
	free(cmd);
}

static void cmd_timeout(struct vdpa_loop_timer *timer)
{
	struct blk_cmd *cmd = vdpa_container_of(timer, struct blk_cmd, timer);

	cmd->timed_out = true;
	if (drv_alive(cmd->ctx, cmd->name, cmd->dev) && virtio_reset(cmd->dev, NULL))
		vdpa_loop_timer_set(vdpa_ctx_control(cmd->ctx), timer,
				    vdpa_clock_ns() + DRV_TIMEOUT_NS, cmd_timeout);
}

static void cmd_drop(struct blk_cmd *cmd, int ret)
{
	static const char *const why[] = {"the disk cannot do that", "the range is not on the disk",
					  "the disk is read-only"};

	vdpa_loop_timer_cancel(&cmd->timer);
	drv_poll_stop(&cmd->poll);
	virtio_mem_free(cmd->dev, cmd->buf);
	drv_fail(cmd->dev, cmd->done, cmd->arg, ret,
		 ret == -EOPNOTSUPP ? why[0]
		 : ret == -EINVAL   ? why[1]
		 : ret == -EROFS    ? why[2]
				    : strerror(-ret));
	free(cmd);
}

static void cmd_submit(struct blk_cmd *cmd)
{
	struct virtio_blk *blk = virtio_blk_of(cmd->dev);
	int ret;

	vdpa_loop_timer_set(vdpa_ctx_control(cmd->ctx), &cmd->timer,
			    vdpa_clock_ns() + DRV_TIMEOUT_NS, cmd_timeout);
	drv_poll_start(&cmd->poll, cmd->dev);
	ret = virtio_blk_submit(blk, 0, &cmd->req);
	if (ret)
		cmd_drop(cmd, ret);
	else
		virtio_blk_kick(blk, 0);
}

static struct blk_cmd *cmd_new(struct virtio_device *dev, uint32_t type, drv_done_fn done,
			       void *arg)
{
	struct blk_cmd *cmd = NULL;

	if (!virtio_blk_of(dev)) {
		drv_fail(dev, done, arg, -ENODEV, "is not a disk, or its driver is not attached");
		return NULL;
	}
	cmd = calloc(1, sizeof(*cmd));
	if (!cmd) {
		drv_fail(dev, done, arg, -ENOMEM, "out of memory");
		return NULL;
	}
	cmd->ctx = virtio_get_ctx(dev);
	cmd->dev = dev;
	cmd->done = done;
	cmd->arg = arg;
	cmd->req = (struct virtio_blk_request){.type = type, .done = cmd_done, .user = cmd};
	snprintf(cmd->name, sizeof(cmd->name), "%s", virtio_name(dev));
	return cmd;
}

void drv_blk_id(struct virtio_device *dev, const json_t *params, drv_done_fn done, void *arg)
{
	struct blk_cmd *cmd = cmd_new(dev, VIRTIO_BLK_T_GET_ID, done, arg);

	(void)params;
	if (!cmd)
		return;
	cmd->buf = virtio_mem_alloc(dev, ID_BYTES, &cmd->sg.addr);
	if (!cmd->buf) {
		cmd_drop(cmd, -ENOMEM);
		return;
	}
	cmd->sg.len = ID_BYTES;
	cmd->req.sg = &cmd->sg;
	cmd->req.nsg = 1;
	cmd_submit(cmd);
}

void drv_blk_flush(struct virtio_device *dev, const json_t *params, drv_done_fn done, void *arg)
{
	struct blk_cmd *cmd = cmd_new(dev, VIRTIO_BLK_T_FLUSH, done, arg);

	(void)params;
	if (cmd)
		cmd_submit(cmd);
}

static void range_cmd(struct virtio_device *dev, uint32_t type, const json_t *params,
		      drv_done_fn done, void *arg)
{
	json_int_t offset = ctl_get_int(params, "offset", 0), len = ctl_get_int(params, "len", 0);
	struct blk_cmd *cmd = cmd_new(dev, type, done, arg);

	if (!cmd)
		return;
	cmd->req.sector = (uint64_t)offset / VIRTIO_BLK_SECTOR_BYTES;
	cmd->req.nsectors = (uint64_t)len / VIRTIO_BLK_SECTOR_BYTES;
	cmd->req.unmap = type == VIRTIO_BLK_T_WRITE_ZEROES;
	if (offset % VIRTIO_BLK_SECTOR_BYTES || len % VIRTIO_BLK_SECTOR_BYTES || !len)
		cmd_drop(cmd, -EINVAL);
	else
		cmd_submit(cmd);
}

void drv_blk_discard(struct virtio_device *dev, const json_t *params, drv_done_fn done, void *arg)
{
	range_cmd(dev, VIRTIO_BLK_T_DISCARD, params, done, arg);
}

void drv_blk_zero(struct virtio_device *dev, const json_t *params, drv_done_fn done, void *arg)
{
	range_cmd(dev, VIRTIO_BLK_T_WRITE_ZEROES, params, done, arg);
}

static json_t *blk_counters(struct virtio_blk *blk, unsigned queues)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < queues; i++) {
		struct virtio_blk_stats s;

		virtio_blk_get_stats(blk, i, &s);
		json_array_append_new(
			list,
			json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "reads",
				  ctl_json_u64(s.reads), "writes", ctl_json_u64(s.writes), "others",
				  ctl_json_u64(s.others), "read_bytes", ctl_json_u64(s.read_bytes),
				  "written_bytes", ctl_json_u64(s.written_bytes), "errors",
				  ctl_json_u64(s.errors), "kicks", ctl_json_u64(s.kicks), "calls",
				  ctl_json_u64(s.calls)));
	}
	return list;
}

void drv_blk_info(struct virtio_device *dev, const json_t *params, drv_done_fn done, void *arg)
{
	struct virtio_blk *blk = virtio_blk_of(dev);
	struct virtio_blk_info i;

	(void)params;
	if (!blk) {
		drv_fail(dev, done, arg, -ENODEV, "is not a disk, or its driver is not attached");
		return;
	}
	virtio_blk_get_info(blk, &i);
	done(arg, 0,
	     json_pack("{s:o, s:I, s:I, s:I, s:i, s:I, s:b, s:b, s:b, s:b, s:b, s:o}",
		       "capacity_sectors", ctl_json_u64(i.capacity_sectors), "block_bytes",
		       (json_int_t)i.block_bytes, "physical_block_bytes",
		       (json_int_t)i.physical_block_bytes, "seg_max", (json_int_t)i.seg_max,
		       "queues", (int)i.queues, "queue_size", (json_int_t)i.queue_size, "read_only",
		       i.read_only, "flush", i.flush, "discard", i.discard, "write_zeroes",
		       i.write_zeroes, "writeback", i.writeback, "counters",
		       blk_counters(blk, i.queues)),
	     NULL);
}
