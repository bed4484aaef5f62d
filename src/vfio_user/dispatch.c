// SPDX-License-Identifier: BSD-3-Clause
/*
 * The table of commands, the rules that hold for all of them, and how a command goes on when the
 * device has done its part. A command that is refused is answered with its errno, and the session
 * goes on; only what comes before a version was agreed on ends it.
 */
#include "vfio_user/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct vfu_spec {
	const char *name;
	uint32_t min, max; /* payload */
	unsigned fds;	   /* most that may come */
	int (*handler)(struct vfio_user_server *srv, struct vfu_msg *msg);
};

#define FIXED(type) sizeof(type), sizeof(type)
#define FROM(type) sizeof(type), VFU_PAYLOAD_MAX

static const struct vfu_spec table[VFU_CMDS] = {
	[VFU_VERSION] = {"VERSION", FROM(struct vfu_version), 0, vfu_version},
	[VFU_DMA_MAP] = {"DMA_MAP", FIXED(struct vfu_dma_map), 1, vfu_dma_map},
	/* Some clients of older drafts put an empty bitmap behind it. */
	[VFU_DMA_UNMAP] = {"DMA_UNMAP", FROM(struct vfu_dma_unmap), 0, vfu_dma_unmap},
	[VFU_DEVICE_GET_INFO] = {"DEVICE_GET_INFO", FROM(struct vfu_device_info), 0, vfu_get_info},
	[VFU_DEVICE_GET_REGION_INFO] = {"DEVICE_GET_REGION_INFO", FROM(struct vfio_region_info), 0,
					vfu_get_region_info},
	[VFU_DEVICE_GET_REGION_IO_FDS] = {"DEVICE_GET_REGION_IO_FDS", FIXED(struct vfu_io_fds), 0,
					  vfu_get_region_io_fds},
	[VFU_DEVICE_GET_IRQ_INFO] = {"DEVICE_GET_IRQ_INFO", FROM(struct vfio_irq_info), 0,
				     vfu_get_irq_info},
	[VFU_DEVICE_SET_IRQS] = {"DEVICE_SET_IRQS", FROM(struct vfio_irq_set), VFU_FDS_MAX,
				 vfu_set_irqs},
	[VFU_REGION_READ] = {"REGION_READ", FIXED(struct vfu_access), 0, vfu_region_read},
	[VFU_REGION_WRITE] = {"REGION_WRITE", FROM(struct vfu_access), 0, vfu_region_write},
	[VFU_DEVICE_RESET] = {"DEVICE_RESET", 0, 0, 0, vfu_reset},
	[VFU_REGION_WRITE_MULTI] = {"REGION_WRITE_MULTI", FROM(uint64_t), 0,
				    vfu_region_write_multi},
	[VFU_DEVICE_FEATURE] = {"DEVICE_FEATURE", FROM(struct vfu_feature), 0, vfu_feature},
	[VFU_MIG_DATA_READ] = {"MIG_DATA_READ", FIXED(struct vfu_mig_data), 0, vfu_mig_data_read},
	[VFU_MIG_DATA_WRITE] = {"MIG_DATA_WRITE", FROM(struct vfu_mig_data), 0, vfu_mig_data_write},
};

const char *vfu_cmd_name(unsigned cmd)
{
	if (cmd == VFU_DMA_READ)
		return "DMA_READ";
	if (cmd == VFU_DMA_WRITE)
		return "DMA_WRITE";
	return cmd < VFU_CMDS && table[cmd].name ? table[cmd].name : "?";
}

void *vfu_reply(struct vfio_user_server *srv, size_t len)
{
	srv->cmd.reply = calloc(1, len ? len : 1);
	srv->cmd.reply_len = srv->cmd.reply ? len : 0;
	return srv->cmd.reply;
}

int vfu_later(int r)
{
	return r ? r : VFU_LATER;
}

/* ---- the end of a command ---- */

static void refuse(struct vfio_user_server *srv, const struct vfu_msg *msg, int r)
{
	vfu_count(srv->refused);
	if (srv->config.log)
		vdpa_log_limited(srv->config.log, &srv->limit, VDPA_LOG_WARN, srv->name,
				 "vfio-user: %s of %zu bytes is refused: %s",
				 vfu_cmd_name(msg->head.cmd), msg->len, strerror(-r));
}

static void answer(struct vfio_user_server *srv, int r)
{
	struct vfu_cmd_state *cmd = &srv->cmd;
	struct iovec iov = {cmd->reply, cmd->reply_len};
	struct vfu_out out = {.head = cmd->msg->head};

	out.head.flags = VFU_F_REPLY;
	if (r < 0) {
		refuse(srv, cmd->msg, r);
		out.head.flags |= VFU_F_ERROR;
		out.head.error = (uint32_t)-r;
	} else {
		out.head.error = 0;
		out.iov = &iov;
		out.niov = 1;
		out.fds = cmd->fds;
		out.nfds = cmd->nfds;
	}
	if (!(cmd->msg->head.flags & VFU_F_NO_REPLY)) {
		r = vfu_conn_send(srv->conn, &out);
		/* Without its answer the client would wait for ever. */
		if (r && r != -EIO)
			vfu_conn_close(srv->conn, r);
	}
	if (!srv->versioned)
		vfu_conn_close(srv->conn, -EPROTO);
	free(cmd->reply);
	*cmd = (struct vfu_cmd_state){0};
	vfu_conn_next(srv->conn);
}

/* The handler, or what came after it, said @r. */
static void go_on(struct vfio_user_server *srv, int r)
{
	struct vfu_cmd_state *cmd = &srv->cmd;

	while (r == VFU_LATER) {
		cmd->in_handler = false;
		if (!cmd->over)
			return;
		cmd->over = false;
		cmd->in_handler = true;
		r = cmd->then ? cmd->then(srv, cmd->result) : cmd->result;
	}
	cmd->in_handler = false;
	if (cmd->msg) {
		answer(srv, r);
	} else {
		*cmd = (struct vfu_cmd_state){0};
		vfu_session_over(srv);
	}
}

static void device_part_over(struct vfio_user_server *srv)
{
	srv->cmd.over = true;
	if (!srv->cmd.in_handler)
		go_on(srv, VFU_LATER);
}

static void over_posted(struct vdpa_loop_msg *msg)
{
	device_part_over(vdpa_container_of(msg, struct vfio_user_server, cmd_over));
}

static void device_done(void *arg, int result)
{
	struct vfio_user_server *srv = arg;

	srv->cmd.result = result > 0 ? 0 : result;
	if (vdpa_loop_is_current(srv->loop))
		device_part_over(srv);
	else
		vdpa_loop_post(srv->loop, &srv->cmd_over, over_posted);
}

struct vdpa_done vfu_device_done(struct vfio_user_server *srv)
{
	return (struct vdpa_done){device_done, srv};
}

void vfu_run(struct vfio_user_server *srv, int (*fn)(struct vfio_user_server *srv, int result))
{
	srv->cmd = (struct vfu_cmd_state){.then = fn, .in_handler = true};
	go_on(srv, fn(srv, 0));
}

/* ---- the beginning ---- */

static int check(struct vfio_user_server *srv, const struct vfu_msg *msg)
{
	const struct vfu_spec *spec;

	if (msg->head.cmd >= VFU_CMDS || !table[msg->head.cmd].name)
		return -ENOTSUP;
	spec = &table[msg->head.cmd];
	if (srv->versioned == (msg->head.cmd == VFU_VERSION))
		return -EPROTO;
	if (msg->len < spec->min || msg->len > spec->max || msg->fds.n > spec->fds)
		return -EINVAL;
	return 0;
}

static void command(void *arg, struct vfu_msg *msg)
{
	struct vfio_user_server *srv = arg;
	int r = check(srv, msg);

	vfu_count(srv->commands);
	srv->cmd = (struct vfu_cmd_state){.msg = msg, .in_handler = true};
	if (!r)
		r = table[msg->head.cmd].handler(srv, msg);
	go_on(srv, r);
}

static int client_gone(struct vfio_user_server *srv, int result)
{
	struct vdpa_done done = vfu_device_done(srv);

	srv->cmd.then = vfu_dma_unmap_all;
	if (!srv->versioned || !srv->ops->gone)
		return vfu_dma_unmap_all(srv, 0);
	srv->ops->gone(srv->arg, &done);
	return VFU_LATER;
}

static void closed(void *arg, int why)
{
	struct vfio_user_server *srv = arg;

	if (srv->config.log && srv->versioned && (why == -ETIME || why == -ETIMEDOUT))
		vdpa_log_limited(srv->config.log, &srv->limit, VDPA_LOG_WARN, srv->name,
				 "vfio-user: the client is sent away: %s",
				 why == -ETIME ? "its answers to requests for its memory are too "
						 "slow, and hold up others"
					       : "it did not answer a request for its memory");
	else if (srv->config.log && srv->versioned)
		vdpa_log(srv->config.log, VDPA_LOG_INFO, srv->name,
			 "vfio-user: the client has gone (%s)", strerror(-why));
	vfu_irqs_forget(srv);
	vfu_run(srv, client_gone);
}

const struct vfu_conn_ops vfu_server_conn_ops = {
	.command = command,
	.closed = closed,
};
