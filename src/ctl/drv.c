// SPDX-License-Identifier: BSD-3-Clause
/* Operations that every virtio device has. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/list.h"
#include "ctl/drv_impl.h"
#include "ctl/json.h"
#include "ctl/names.h"

void drv_fail(struct virtio_device *dev, drv_done_fn done, void *arg, int ret, const char *why)
{
	struct vdpa_error err = {0};

	vdpa_error_set(&err, -ret, virtio_name(dev), "%s", why);
	done(arg, ret, NULL, &err);
}

bool drv_alive(struct vdpa_ctx *ctx, const char *name, const struct virtio_device *dev)
{
	return virtio_find(ctx, name) == dev;
}

static void find_mode(void *arg, const char *key, const char *value)
{
	if (!strcmp(key, "mode"))
		*(bool *)arg = !strcmp(value, "poll");
}

#define POLL_MAX 64

/* Looking may end the operation, and with it @poller. */
static bool poll_once(struct vdpa_loop_poller *poller)
{
	struct drv_poll *poll = vdpa_container_of(poller, struct drv_poll, poller);
	struct virtio_blk *blk;
	struct virtio_net *net;

	if (!drv_alive(poll->ctx, poll->name, poll->dev))
		return false;
	blk = virtio_blk_of(poll->dev);
	if (blk)
		return virtio_blk_poll(blk, 0, POLL_MAX) != 0;
	net = virtio_net_of(poll->dev);
	return net && virtio_net_poll(net, 0, POLL_MAX) != 0;
}

void drv_poll_start(struct drv_poll *poll, struct virtio_device *dev)
{
	poll->ctx = virtio_get_ctx(dev);
	poll->dev = dev;
	snprintf(poll->name, sizeof(poll->name), "%s", virtio_name(dev));
	virtio_show(dev, find_mode, &poll->on);
	if (poll->on)
		vdpa_loop_poller_add(vdpa_ctx_control(poll->ctx), &poll->poller, poll_once);
}

void drv_poll_stop(struct drv_poll *poll)
{
	if (poll->on)
		vdpa_loop_poller_del(&poll->poller);
	poll->on = false;
}

static bool list_one(void *arg, struct virtio_device *dev)
{
	const char *driver = virtio_driver_name(dev);

	return !json_array_append_new(arg,
				      json_pack("{s:s, s:s, s:s?}", "name", virtio_name(dev), "bus",
						virtio_bus_name(dev), "driver", driver));
}

json_t *drv_list(struct vdpa_ctx *ctx)
{
	json_t *list = json_array();

	virtio_for_each(ctx, list_one, list);
	return list;
}

/* ---- looking ---- */

static void emit_pair(void *arg, const char *key, const char *value)
{
	json_object_set_new(arg, key, ctl_json_text(value));
}

static void op_info(struct virtio_device *dev, const json_t *params, drv_done_fn done, void *arg)
{
	json_t *obj = json_pack("{s:s, s:s, s:b}", "name", virtio_name(dev), "type",
				ctl_type_name(virtio_get_id(dev)), "broken", virtio_is_broken(dev));

	(void)params;
	if (obj)
		virtio_show(dev, emit_pair, obj);
	done(arg, 0, obj, NULL);
}

static void op_features(struct virtio_device *dev, const json_t *params, drv_done_fn done,
			void *arg)
{
	uint32_t id = virtio_get_id(dev);

	(void)params;
	done(arg, 0,
	     json_pack("{s:o, s:o}", "offered", ctl_features_json(id, virtio_device_features(dev)),
		       "negotiated", ctl_features_json(id, virtio_driver_features(dev))),
	     NULL);
}

static void op_status(struct virtio_device *dev, const json_t *params, drv_done_fn done, void *arg)
{
	json_t *vqs = json_array();

	(void)params;
	for (unsigned i = 0; i < virtio_num_queues(dev); i++)
		json_array_append_new(vqs,
				      json_pack("{s:i, s:I, s:b}", "index", (int)i, "num_max",
						(json_int_t)virtio_queue_num_max(dev, (uint16_t)i),
						"ready", virtio_queue_ready(dev, (uint16_t)i)));
	done(arg, 0,
	     json_pack("{s:o, s:I, s:b, s:o}", "status", ctl_status_json(virtio_get_status(dev)),
		       "generation", (json_int_t)virtio_get_generation(dev), "broken",
		       virtio_is_broken(dev), "vqs", vqs),
	     NULL);
}

/* ---- reset and attach ---- */

struct reset {
	drv_done_fn done;
	void *arg;
};

static void reset_done(void *arg, int result)
{
	struct reset *r = arg;
	struct vdpa_error err = {0};

	if (result)
		vdpa_error_set(&err, -result, NULL, "reset failed: %s", strerror(-result));
	r->done(r->arg, result, NULL, result ? &err : NULL);
	free(r);
}

static void op_reset(struct virtio_device *dev, const json_t *params, drv_done_fn done, void *arg)
{
	struct reset *r = malloc(sizeof(*r));
	int ret = -ENOMEM;

	(void)params;
	if (r) {
		*r = (struct reset){.done = done, .arg = arg};
		ret = virtio_reset(dev, &(struct vdpa_done){reset_done, r});
	}
	if (!ret)
		return;
	free(r);
	drv_fail(dev, done, arg, ret, ret == -EBUSY ? "a reset is under way" : strerror(-ret));
}

static void op_attach(struct virtio_device *dev, const json_t *params, drv_done_fn done, void *arg)
{
	struct vdpa_error err = {0};
	int ret = virtio_attach(dev, NULL, &err);

	(void)params;
	if (ret && !*err.msg)
		vdpa_error_set(&err, -ret, virtio_name(dev), "attach failed: %s", strerror(-ret));
	done(arg, ret, NULL, ret ? &err : NULL);
}

static void op_vq_setup(struct virtio_device *dev, const json_t *params, drv_done_fn done,
			void *arg)
{
	struct vdpa_error err = {0};
	int ret = virtio_try_queue(dev, (uint16_t)ctl_get_int(params, "index", 0),
				   (uint32_t)ctl_get_int(params, "size", 0), &err);

	if (ret && !*err.msg)
		vdpa_error_set(&err, -ret, virtio_name(dev), "%s",
			       ret == -EBUSY ? "its driver is attached: reset it first"
					     : strerror(-ret));
	done(arg, ret, NULL, ret ? &err : NULL);
}

/* ---- conformance ---- */

struct conform {
	drv_done_fn done;
	void *arg;
	json_t *list;
};

static void conform_report(void *arg, const char *op, bool pass, const char *detail)
{
	struct conform *c = arg;

	json_array_append_new(c->list, json_pack("{s:s, s:b, s:o}", "op", op, "pass", pass,
						 "detail", ctl_json_text(detail)));
}

/* -EIO says that something failed, which the list says already. */
static void conform_done(void *arg, int result)
{
	struct conform *c = arg;
	struct vdpa_error err = {0};

	if (result && result != -EIO) {
		vdpa_error_set(&err, -result, NULL, "%s", strerror(-result));
		json_decref(c->list);
		c->done(c->arg, result, NULL, &err);
	} else {
		c->done(c->arg, 0,
			json_pack("{s:b, s:o}", "pass", result == 0, "operations", c->list), NULL);
	}
	free(c);
}

static void op_conform(struct virtio_device *dev, const json_t *params, drv_done_fn done, void *arg)
{
	struct conform *c = calloc(1, sizeof(*c));
	int ret = -ENOMEM;

	(void)params;
	if (c) {
		*c = (struct conform){.done = done, .arg = arg, .list = json_array()};
		ret = virtio_conform(dev, conform_report, c, &(struct vdpa_done){conform_done, c});
	}
	if (!ret)
		return;
	if (c)
		json_decref(c->list);
	free(c);
	drv_fail(dev, done, arg, ret, strerror(-ret));
}

static const struct ctl_param vq_params[] = {
	{.name = "index", .type = CTL_INT, .min = 0, .max = 65535, .help = "of the queue, 0"},
	{.name = "size",
	 .type = CTL_INT,
	 .required = true,
	 .min = 0,
	 .max = 65536,
	 .help = "entries"},
	{.name = NULL},
};

const struct drv_op drv_ops[] = {
	{"info", "name, bus, driver, counters", NULL, op_info},
	{"features", "offered and negotiated", NULL, op_features},
	{"status", "status bits, generation, queues", NULL, op_status},
	{"reset", "detach the driver and reset the device", NULL, op_reset},
	{"attach", "attach the driver again", NULL, op_attach},
	{"vq_setup", "try a ring size; the driver must be detached", vq_params, op_vq_setup},
	{"conform", "run each operation of the transport", NULL, op_conform},
	{"config.read", "bytes of the configuration space", drv_config_read_params,
	 drv_config_read},
	{"config.write", "write bytes of the configuration space", drv_config_write_params,
	 drv_config_write},
	{"blk.info", "what the disk says of itself", NULL, drv_blk_info},
	{"blk.id", "serial number", NULL, drv_blk_id},
	{"blk.read", "bytes of the disk, base64", drv_read_params, drv_blk_read},
	{"blk.write", "write bytes", drv_write_params, drv_blk_write},
	{"blk.fill", "write a pattern", drv_fill_params, drv_blk_fill},
	{"blk.verify", "read, and compare with the pattern", drv_fill_params, drv_blk_verify},
	{"blk.flush", "what was written before is on stable storage after", NULL, drv_blk_flush},
	{"blk.discard", "give space back", drv_range_params, drv_blk_discard},
	{"blk.zero", "write zeroes", drv_range_params, drv_blk_zero},
	{"net.info", "what the NIC says of itself", NULL, drv_net_info},
	{"net.ping", "send packets to its own address one by one, and wait for each",
	 drv_ping_params, drv_net_ping},
	{"net.pktgen", "send packets to its own address as fast as they come back",
	 drv_pktgen_params, drv_net_pktgen},
	{"net.command", "a command on the control queue", drv_command_params, drv_net_command},
	{NULL, NULL, NULL, NULL},
};

const struct drv_op *drv_find(const char *name)
{
	for (const struct drv_op *op = drv_ops; op->name; op++) {
		if (!strcmp(op->name, name))
			return op;
	}
	return NULL;
}
