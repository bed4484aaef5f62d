// SPDX-License-Identifier: BSD-3-Clause
/* Methods that show devices. */
#include <errno.h>
#include <string.h>
#include "ctl/json.h"
#include "describe.h"
#include "devs.h"
#include "rpc.h"

typedef json_t *(*describe_fn)(struct vdpa_device *vdev, bool all);

struct collect {
	json_t *list;
	describe_fn describe;
	bool all;
};

static bool collect_one(void *arg, struct vdpa_device *vdev)
{
	struct collect *c = arg;

	return !json_array_append_new(c->list, c->describe(vdev, c->all));
}

/* One device when a name is given, all of them otherwise: always a list. */
static void show_devices(struct rpc_call *call, describe_fn describe)
{
	struct collect c = {
		.describe = describe,
		.all = ctl_get_bool(call->params, "all", false),
	};
	struct vdpa_device *vdev = NULL;

	if (rpc_str(call, "name")) {
		vdev = rpc_device(call);
		if (!vdev)
			return;
	}
	c.list = json_array();
	if (vdev)
		collect_one(&c, vdev);
	else
		vdpa_for_each_device(call->d->ctx, collect_one, &c);
	rpc_ok(call, c.list);
}

static void dev_show(struct rpc_call *call)
{
	show_devices(call, describe_device);
}

static json_t *named_config(struct vdpa_device *vdev, bool all)
{
	return json_pack("{s:s, s:o}", "name", vdev->name, "config", describe_config(vdev, all));
}

static void dev_config_show(struct rpc_call *call)
{
	show_devices(call, named_config);
}

static json_t *named_vstats(struct vdpa_device *vdev, bool all)
{
	json_t *list = json_array(), *obj;
	struct vdpa_error err = {0};

	(void)all;
	for (uint32_t i = 0; list && i < vdev->nvqs; i++) {
		json_t *vq;

		if (!describe_vstats(vdev, (uint16_t)i, &vq, &err))
			json_array_append_new(
				list, json_pack("{s:I, s:o}", "qidx", (json_int_t)i, "stats", vq));
	}
	obj = json_pack("{s:s, s:o}", "name", vdev->name, "queues", list);
	if (obj && !json_array_size(list) && *err.msg)
		json_object_set_new(obj, "none_because", ctl_json_text(err.msg));
	return obj;
}

static void dev_vstats_show(struct rpc_call *call)
{
	json_int_t idx = ctl_get_int(call->params, "qidx", -1);
	struct vdpa_error err = {0};
	struct vdpa_device *vdev;
	json_t *vq;
	int ret;

	if (!rpc_str(call, "name")) {
		show_devices(call, named_vstats);
		return;
	}
	vdev = rpc_device(call);
	if (!vdev)
		return;
	if (idx < 0) {
		/* A device that was asked for by name and has none (yet) says why. */
		ret = describe_vstats(vdev, 0, &vq, &err);
		json_decref(vq);
		if (ret)
			rpc_fail(call, ret, &err);
		else
			show_devices(call, named_vstats);
		return;
	}
	if (idx >= (json_int_t)vdev->nvqs) {
		rpc_fail(call,
			 vdpa_error_set(&err, EINVAL, dev_object(vdev->name).s,
					"qidx %d does not exist: 0 to %u are there", (int)idx,
					vdev->nvqs - 1),
			 &err);
		return;
	}
	ret = describe_vstats(vdev, (uint16_t)idx, &vq, &err);
	rpc_end(call, ret,
		vq ? json_pack("[{s:s, s:[{s:I, s:o}]}]", "name", vdev->name, "queues", "qidx", idx,
			       "stats", vq)
		   : NULL,
		&err);
}

static json_t *layers(struct vdpa_device *vdev, bool all)
{
	json_t *obj = describe_device(vdev, false);

	(void)all;
	json_object_set_new(obj, "driver", describe_binding(vdev));
	json_object_set_new(obj, "index", json_integer(vdev->index));
	json_object_set_new(obj, "parent", json_string(vdev->parent));
	json_object_set_new(obj, "dma_device", json_string(vdev->dma_device));
	json_object_set_new(obj, "show", describe_parent(vdev));
	return obj;
}

static void group_show(struct rpc_call *call)
{
	show_devices(call, describe_groups);
}

static void as_show(struct rpc_call *call)
{
	show_devices(call, describe_address_spaces);
}

static void topology(struct rpc_call *call)
{
	show_devices(call, layers);
}

#define CVQ_PREFIX "cvq_"

/* What the parent shows of its control queue. */
static json_t *named_cvq(struct vdpa_device *vdev, bool all)
{
	json_t *parent = describe_parent(vdev), *cvq = json_object(), *value;
	const size_t skip = strlen(CVQ_PREFIX);
	const char *key;

	(void)all;
	json_object_foreach(parent, key, value)
	{
		if (!strncmp(key, CVQ_PREFIX, skip))
			json_object_set(cvq, key + skip, value);
	}
	json_decref(parent);
	return json_pack("{s:s, s:o}", "name", vdev->name, "cvq", cvq);
}

static void cvq_show(struct rpc_call *call)
{
	show_devices(call, named_cvq);
}

static const struct ctl_param show_params[] = {
	{.name = "name", .type = CTL_STRING, .help = "of one device; absent: all"},
	{.name = "all", .type = CTL_BOOL, .help = "more than iproute2 shows"},
	{.name = NULL},
};

static const struct ctl_param vstats_params[] = {
	{.name = "name", .type = CTL_STRING, .help = "of one device; absent: all"},
	{.name = "qidx", .type = CTL_INT, .min = 0, .max = 65535, .help = "one queue; absent: all"},
	{.name = NULL},
};

static const struct ctl_param topology_params[] = {
	{.name = "name", .type = CTL_STRING, .help = "of one device; absent: all"},
	{.name = NULL},
};

const struct rpc_method rpc_show_methods[] = {
	{"dev.show", "devices", dev_show, show_params},
	{"dev.config.show", "configuration spaces, decoded", dev_config_show, show_params},
	{"dev.vstats.show", "statistics of queues", dev_vstats_show, vstats_params},
	{"topology", "each device with what is above and beneath it", topology, topology_params},
	{"cvq.show", "control queues: what they have led to, and the last commands", cvq_show,
	 show_params},
	{"group.show", "virtqueue groups, with the address space of each", group_show, show_params},
	{"as.show", "address spaces, with what is mapped in each", as_show, show_params},
	{NULL, NULL, NULL, NULL},
};
