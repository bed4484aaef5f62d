// SPDX-License-Identifier: BSD-3-Clause
/* Methods that change devices. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "describe.h"
#include "devs.h"
#include "rpc.h"

static const struct ctl_param name_only[] = {
	{.name = "name", .type = CTL_STRING, .required = true, .help = "of the device"},
	{.name = NULL},
};

/* For operations of the bus whose completion carries no more than a result. */
struct pending {
	struct rpc_call *call;
	const char *what;
};

static void finish(void *arg, int ret, const struct vdpa_error *err)
{
	rpc_end(arg, ret, NULL, err);
}

static void pending_done(void *arg, int result)
{
	struct pending *p = arg;
	struct rpc_call *call = p->call;
	struct vdpa_error err = {0};

	if (result)
		vdpa_error_set(&err, -result, dev_object(rpc_str(call, "name")).s, "%s failed: %s",
			       p->what, strerror(-result));
	free(p);
	rpc_end(call, result, NULL, &err);
}

static void start_pending(struct rpc_call *call, const char *what,
			  int (*op)(struct vdpa_device *vdev, const struct vdpa_done *done))
{
	struct vdpa_device *vdev = rpc_device(call);
	struct pending *p;
	int ret;

	if (!vdev)
		return;
	p = malloc(sizeof(*p));
	if (!p) {
		rpc_fail(call, -ENOMEM, NULL);
		return;
	}
	*p = (struct pending){.call = call, .what = what};
	ret = op(vdev, &(struct vdpa_done){pending_done, p});
	if (ret)
		pending_done(p, ret);
}

static void bound(void *arg, int ret, const struct vdpa_error *err)
{
	struct rpc_call *call = arg;
	struct vdpa_device *vdev = vdpa_find_device(call->d->ctx, rpc_str(call, "name"));

	rpc_end(call, ret, !ret && vdev ? describe_node(vdev) : NULL, err);
}

static void dev_add(struct rpc_call *call)
{
	const json_t *drv = json_object_get(call->params, "driver");
	struct dev_wish wish = {
		.name = rpc_str(call, "name"),
		.mgmtdev = rpc_str(call, "mgmtdev"),
		.attrs = json_object_get(call->params, "attrs"),
		.driver = json_string_value(json_object_get(drv, "name")),
		.driver_attrs = json_object_get(drv, "attrs"),
	};
	struct vdpa_error err = {0};

	if (drv && !wish.driver)
		rpc_fail(call,
			 vdpa_error_set(&err, EINVAL, dev_object(wish.name).s,
					"\"driver\" must have a \"name\""),
			 &err);
	else
		devs_create(call->d, &wish, bound, call);
}

static void dev_del(struct rpc_call *call)
{
	devs_delete(call->d, rpc_str(call, "name"), finish, call);
}

static void dev_set(struct rpc_call *call)
{
	struct vdpa_device *vdev = rpc_device(call);
	struct vdpa_error err = {0};

	if (vdev)
		rpc_end(call, devs_set(vdev, json_object_get(call->params, "attrs"), &err), NULL,
			&err);
}

static void dev_bind(struct rpc_call *call)
{
	struct vdpa_device *vdev = rpc_device(call);

	if (vdev)
		devs_bind(vdev, rpc_str(call, "driver"), json_object_get(call->params, "attrs"),
			  bound, call);
}

static void dev_unbind(struct rpc_call *call)
{
	struct vdpa_device *vdev = rpc_device(call);
	struct vdpa_error err = {0};

	if (!vdev)
		return;
	if (!vdpa_device_driver(vdev))
		rpc_fail(call,
			 vdpa_error_set(&err, ENODEV, dev_object(vdev->name).s,
					"is not bound to a driver"),
			 &err);
	else
		start_pending(call, "unbind", vdpa_unbind);
}

static void dev_suspend(struct rpc_call *call)
{
	start_pending(call, "suspend", vdpa_suspend);
}

static void dev_resume(struct rpc_call *call)
{
	struct vdpa_device *vdev = rpc_device(call);
	struct vdpa_error err = {0};
	int ret;

	if (!vdev)
		return;
	ret = vdpa_resume(vdev);
	if (ret)
		vdpa_error_set(&err, -ret, dev_object(vdev->name).s, "resume failed: %s",
			       strerror(-ret));
	rpc_end(call, ret, NULL, &err);
}

/* From the address that it has. */
static void dev_announce(struct rpc_call *call)
{
	struct vdpa_device *vdev = rpc_device(call);
	struct vdpa_error err = {0};
	uint8_t mac[6];
	int ret;

	if (!vdev)
		return;
	describe_peek(vdev, 0, mac, sizeof(mac));
	ret = vdpa_announce(vdev, mac);
	if (ret)
		vdpa_error_set(&err, -ret, dev_object(vdev->name).s, "announce failed: %s",
			       ret == -EOPNOTSUPP ? "it is not a NIC" : strerror(-ret));
	rpc_end(call, ret, NULL, &err);
}

static void dev_override(struct rpc_call *call)
{
	struct vdpa_device *vdev = rpc_device(call);
	struct vdpa_error err = {0};
	int ret;

	if (!vdev)
		return;
	ret = vdpa_set_driver_override(vdev, rpc_str(call, "driver"));
	if (ret)
		vdpa_error_set(&err, -ret, dev_object(vdev->name).s, "driver_override: %s",
			       strerror(-ret));
	rpc_end(call, ret, NULL, &err);
}

static const struct ctl_param add_params[] = {
	{.name = "name", .type = CTL_STRING, .required = true, .help = "of the new device"},
	{.name = "mgmtdev", .type = CTL_STRING, .required = true, .help = "that creates it"},
	{.name = "attrs", .type = CTL_ATTRS, .help = "of the device and its backend"},
	{.name = "driver", .type = CTL_OBJECT, .help = "bind to it: {name, attrs}"},
	{.name = NULL},
};

static const struct ctl_param set_params[] = {
	{.name = "name", .type = CTL_STRING, .required = true, .help = "of the device"},
	{.name = "attrs", .type = CTL_ATTRS, .required = true, .help = "to change"},
	{.name = NULL},
};

static const struct ctl_param bind_params[] = {
	{.name = "name", .type = CTL_STRING, .required = true, .help = "of the device"},
	{.name = "driver", .type = CTL_STRING, .required = true, .help = "to bind to"},
	{.name = "attrs", .type = CTL_ATTRS, .help = "of the driver"},
	{.name = NULL},
};

static const struct ctl_param override_params[] = {
	{.name = "name", .type = CTL_STRING, .required = true, .help = "of the device"},
	{.name = "driver", .type = CTL_STRING, .help = "the only one that may bind; absent: any"},
	{.name = NULL},
};

const struct rpc_method rpc_dev_methods[] = {
	{"dev.add", "create a device, and bind it when a driver is given", dev_add, add_params},
	{"dev.del", "unbind and remove a device; answers when it is gone", dev_del, name_only},
	{"dev.set", "change attributes of a device", dev_set, set_params},
	{"dev.bind", "give a device to a driver; answers when that has what it wants", dev_bind,
	 bind_params},
	{"dev.unbind", "take a device from its driver; answers when that has let go", dev_unbind,
	 name_only},
	{"dev.suspend", "stop the queues; answers when they are quiet", dev_suspend, name_only},
	{"dev.resume", "let the queues run again", dev_resume, name_only},
	{"dev.announce", "have the network told where a NIC is", dev_announce, name_only},
	{"dev.override", "let only one driver bind a device", dev_override, override_params},
	{NULL, NULL, NULL, NULL},
};
