// SPDX-License-Identifier: BSD-3-Clause
/* The bus: its devices in order, its drivers, and events. */
#include <errno.h>
#include <string.h>
#include "describe.h"
#include "devs.h"
#include "rpc.h"
#include "server.h"

static bool device_line(void *arg, struct vdpa_device *vdev)
{
	const struct vdpa_driver *drv = vdpa_device_driver(vdev);
	const char *override = vdpa_get_driver_override(vdev);

	return !json_array_append_new(
		arg, json_pack("{s:s, s:I, s:s, s:s?, s:s?}", "name", vdev->name, "index",
			       (json_int_t)vdev->index, "parent", vdev->parent, "driver",
			       drv ? drv->name : NULL, "driver_override", override));
}

static void bus_devices(struct rpc_call *call)
{
	json_t *list = json_array();

	vdpa_for_each_device(call->d->ctx, device_line, list);
	rpc_ok(call, list);
}

struct driver_users {
	const struct vdpa_driver *drv;
	json_t *names;
};

static bool driver_user(void *arg, struct vdpa_device *vdev)
{
	struct driver_users *u = arg;

	if (vdpa_device_driver(vdev) == u->drv)
		json_array_append_new(u->names, json_string(vdev->name));
	return true;
}

struct drivers {
	struct vdpa_ctx *ctx;
	json_t *list;
};

static bool driver_line(void *arg, const struct vdpa_driver *drv)
{
	struct drivers *ds = arg;
	struct driver_users u = {.drv = drv, .names = json_array()};

	vdpa_for_each_device(ds->ctx, driver_user, &u);
	return !json_array_append_new(
		ds->list, json_pack("{s:s, s:s, s:b, s:o, s:o}", "name", drv->name, "help",
				    drv->help ? drv->help : "", "autoprobe", drv->autoprobe,
				    "devices", u.names, "attrs", describe_attrs(drv->attrs)));
}

static void bus_drivers(struct rpc_call *call)
{
	struct drivers ds = {.ctx = call->d->ctx, .list = json_array()};

	vdpa_for_each_driver(ds.ctx, driver_line, &ds);
	rpc_ok(call, ds.list);
}

static void driver_unload(struct rpc_call *call)
{
	const char *name = rpc_str(call, "driver");
	struct vdpa_error err = {0};
	const struct vdpa_driver *drv = devs_driver(call->d, name, &err);
	int ret;

	if (!drv) {
		rpc_fail(call, -ENODEV, &err);
		return;
	}
	ret = vdpa_unregister_driver(call->d->ctx, drv);
	if (ret == -EBUSY)
		vdpa_error_set(&err, EBUSY, NULL, "driver %s is in use: unbind its devices first",
			       name);
	rpc_end(call, ret, NULL, &err);
}

static void monitor(struct rpc_call *call)
{
	conn_subscribe(call->conn);
	rpc_ok(call,
	       json_pack("{s:b, s:I}", "subscribed", 1, "seq", (json_int_t)call->d->event_seq));
}

static const struct ctl_param unload_params[] = {
	{.name = "driver", .type = CTL_STRING, .required = true, .help = "to take off the bus"},
	{.name = NULL},
};

const struct rpc_method rpc_bus_methods[] = {
	{"bus.devices", "devices on the bus, in order of registration", bus_devices, NULL},
	{"bus.drivers", "drivers on the bus, with their attributes and devices", bus_drivers, NULL},
	{"driver.unload", "take a driver off the bus; not while a device is bound to it",
	 driver_unload, unload_params},
	{"monitor", "from now on send events as notifications", monitor, NULL},
	{NULL, NULL, NULL, NULL},
};
