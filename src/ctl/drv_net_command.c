// SPDX-License-Identifier: BSD-3-Clause
/* A command on a NIC's control queue, in bytes: who asks knows what they mean. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/list.h"
#include "ctl/drv_impl.h"
#include "ctl/json.h"

/* How soon it is tried again while another command is under way, and how often. */
#define AGAIN_NS 1000000ull
#define TRIES 10000u

struct command {
	drv_done_fn done;
	void *arg;
	struct vdpa_ctx *ctx;
	struct virtio_device *dev;
	char name[32];
	struct virtio_net_command cmd;
	struct vdpa_loop_timer timer;
	unsigned tries;
	uint8_t data[VIRTIO_NET_COMMAND_BYTES];
};

static const char *why_not(int ret)
{
	switch (ret) {
	case -EREMOTEIO:
		return "the device answers VIRTIO_NET_ERR";
	case -EOPNOTSUPP:
		return "has no control queue";
	case -EBUSY:
		return "another command is under way";
	case -ENODEV:
	case -EIO:
		return "went away, or did not answer";
	}
	return strerror(-ret);
}

static void command_done(void *arg, int ret, const void *result, size_t bytes)
{
	struct command *c = arg;
	struct vdpa_error err = {0};

	if (ret)
		vdpa_error_set(&err, -ret, c->name, "%s", why_not(ret));
	c->done(c->arg, ret, ret ? NULL : json_pack("{s:o}", "result", drv_to_hex(result, bytes)),
		ret ? &err : NULL);
	free(c);
}

/* The driver has commands of its own: they end soon. */
static void attempt(struct vdpa_loop_timer *timer)
{
	struct command *c = vdpa_container_of(timer, struct command, timer);
	struct virtio_net *net = drv_alive(c->ctx, c->name, c->dev) ? virtio_net_of(c->dev) : NULL;
	int ret = net ? virtio_net_command(net, &c->cmd) : -ENODEV;

	if (ret == -EBUSY && c->tries++ < TRIES)
		vdpa_loop_timer_set(vdpa_ctx_control(c->ctx), &c->timer, vdpa_clock_ns() + AGAIN_NS,
				    attempt);
	else if (ret)
		command_done(c, ret, NULL, 0);
}

void drv_net_command(struct virtio_device *dev, const json_t *params, drv_done_fn done, void *arg)
{
	struct command *c = calloc(1, sizeof(*c));
	int ret = c ? 0 : -ENOMEM;

	if (!ret && !virtio_net_of(dev)) {
		free(c);
		drv_fail(dev, done, arg, -ENODEV, "is not a NIC, or its driver is not attached");
		return;
	}
	if (!ret)
		ret = drv_from_hex(ctl_get_str(params, "data", ""), c->data, sizeof(c->data),
				   &c->cmd.len);
	if (ret) {
		free(c);
		drv_fail(dev, done, arg, ret, strerror(-ret));
		return;
	}
	c->done = done;
	c->arg = arg;
	c->ctx = virtio_get_ctx(dev);
	c->dev = dev;
	snprintf(c->name, sizeof(c->name), "%s", virtio_name(dev));
	c->cmd.class_ = (uint8_t)ctl_get_int(params, "class", 0);
	c->cmd.command = (uint8_t)ctl_get_int(params, "command", 0);
	c->cmd.room = (size_t)ctl_get_int(params, "room", 0);
	c->cmd.data = c->data;
	c->cmd.done = command_done;
	c->cmd.arg = c;
	attempt(&c->timer);
}

const struct ctl_param drv_command_params[] = {
	{.name = "class", .type = CTL_INT, .required = true, .max = 255, .help = "of commands"},
	{.name = "command", .type = CTL_INT, .required = true, .max = 255, .help = "in the class"},
	{.name = "data", .type = CTL_STRING, .help = "hexadecimal digits"},
	{.name = "room",
	 .type = CTL_INT,
	 .max = VIRTIO_NET_COMMAND_BYTES,
	 .help = "bytes for a result, 0"},
	{.name = NULL},
};
