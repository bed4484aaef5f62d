// SPDX-License-Identifier: BSD-3-Clause
/* Methods that drive a device bound to virtio-vdpa, in this process. */
#include <errno.h>
#include <string.h>
#include <uvdpa/virtio.h>
#include "ctl/drv.h"
#include "rpc.h"
#include "vdpa/name_list.h"

static void drv_show(struct rpc_call *call)
{
	rpc_ok(call, drv_list(call->d->ctx));
}

static void ended(void *arg, int ret, json_t *result, const struct vdpa_error *err)
{
	rpc_end(arg, ret, result, err);
}

struct by_name {
	const char *name;
	struct virtio_device *dev;
};

static bool match_vdpa(void *arg, struct virtio_device *dev)
{
	struct by_name *by = arg;
	const char *bus = virtio_bus_name(dev);

	if (strncmp(bus, "vdpa/", 5) || strcmp(bus + 5, by->name))
		return true;
	by->dev = dev;
	return false;
}

/* By its own name, or by that of the vDPA device that it is made of. */
static struct virtio_device *find(struct vdpa_ctx *ctx, const char *name)
{
	struct by_name by = {.name = name, .dev = virtio_find(ctx, name)};

	if (!by.dev)
		virtio_for_each(ctx, match_vdpa, &by);
	return by.dev;
}

static bool list_virtio(void *arg, struct virtio_device *dev)
{
	vdpa_name_list_add(arg, virtio_name(dev));
	return true;
}

static int no_device(struct vdpa_ctx *ctx, const char *name, struct vdpa_error *err)
{
	struct vdpa_name_list list = VDPA_NAME_LIST_INIT;

	virtio_for_each(ctx, list_virtio, &list);
	return vdpa_error_set(err, ENODEV, name,
			      "there is no such virtio device (there are: %s); bind a device to "
			      "virtio-vdpa",
			      list.s);
}

static int no_operation(const char *name, const char *op, struct vdpa_error *err)
{
	struct vdpa_name_list list = VDPA_NAME_LIST_INIT;

	for (const struct drv_op *o = drv_ops; o->name; o++)
		vdpa_name_list_add(&list, o->name);
	return vdpa_error_set(err, ENOENT, name,
			      "there is no operation \"%s\" (there are: %s); drv.ops lists them",
			      op, list.s);
}

static void call_op(struct rpc_call *call)
{
	const char *name = rpc_str(call, "name"), *opname = rpc_str(call, "op");
	struct virtio_device *dev = find(call->d->ctx, name);
	const struct drv_op *op = drv_find(opname);
	json_t *params = json_object_get(call->params, "params");
	json_t *none = params ? NULL : json_object();
	struct vdpa_error err = {0};
	int ret = 0;

	if (!dev)
		ret = no_device(call->d->ctx, name, &err);
	else if (!op)
		ret = no_operation(name, opname, &err);
	else
		ret = ctl_params_check(op->params, params ? params : none, name, &err);
	if (ret)
		rpc_fail(call, ret, &err);
	else
		op->fn(dev, params ? params : none, ended, call);
	json_decref(none);
}

static void drv_describe(struct rpc_call *call)
{
	json_t *list = json_array();

	for (const struct drv_op *op = drv_ops; list && op->name; op++)
		json_array_append_new(list,
				      json_pack("{s:s, s:s, s:o}", "name", op->name, "help",
						op->help, "params", ctl_params_json(op->params)));
	rpc_ok(call, list);
}

static const struct ctl_param call_params[] = {
	{.name = "name",
	 .type = CTL_STRING,
	 .required = true,
	 .help = "of the virtio device, or of the vDPA device that it is made of"},
	{.name = "op", .type = CTL_STRING, .required = true, .help = "as drv.ops lists them"},
	{.name = "params", .type = CTL_OBJECT, .help = "of the operation"},
	{.name = NULL},
};

const struct rpc_method rpc_drv_methods[] = {
	{"drv.show", "virtio devices in this process", drv_show, NULL},
	{"drv.ops", "operations on virtio devices, and their parameters", drv_describe, NULL},
	{"drv.call", "carry out an operation on a virtio device", call_op, call_params},
	{NULL, NULL, NULL, NULL},
};
