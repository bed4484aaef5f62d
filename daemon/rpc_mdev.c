// SPDX-License-Identifier: BSD-3-Clause
/* Methods of mediated devices. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "ctl/json.h"
#include "describe.h"
#include "mdevs.h"
#include "plugins.h"
#include "rpc.h"
#include "vdpa/name_list.h"

static struct mdev_device *device_of(struct rpc_call *call)
{
	struct vdpa_error err = {0};
	struct mdev_device *mdev = mdevs_find(call->d, rpc_str(call, "uuid"), &err);

	if (!mdev)
		rpc_fail(call, -ENODEV, &err);
	return mdev;
}

/* ---- types ---- */

static json_t *types_of(struct mdev_parent *parent)
{
	json_t *list = json_array();

	for (const struct mdev_type *t = parent->types; t->id; t++) {
		const struct mdev_type_name name = mdev_type_name(parent, t);

		json_array_append_new(list, json_pack("{s:s, s:i, s:s, s:s, s:s, s:o}", "mdev_type",
						      name.s, "available_instances",
						      (int)mdev_available_instances(parent, t),
						      "device_api", t->device_api, "name",
						      t->name ? t->name : name.s, "description",
						      t->description ? t->description : "", "attrs",
						      describe_attrs(t->attrs)));
	}
	return list;
}

static bool collect_parent(void *arg, struct mdev_parent *parent)
{
	json_array_append_new(
		arg, json_pack("{s:s, s:s, s:s, s:o}", "parent", parent->name, "driver",
			       parent->driver ? parent->driver : parent->name, "help",
			       parent->help ? parent->help : "", "types", types_of(parent)));
	return true;
}

static bool name_parent(void *arg, struct mdev_parent *parent)
{
	vdpa_name_list_add(arg, parent->name);
	return true;
}

static void types(struct rpc_call *call)
{
	const char *name = rpc_str(call, "parent");
	struct mdev_parent *parent = name ? mdev_find_parent(call->d->ctx, name) : NULL;
	struct vdpa_error err = {0};
	json_t *list;

	if (name && !parent) {
		struct vdpa_name_list names = VDPA_NAME_LIST_INIT;

		mdev_for_each_parent(call->d->ctx, name_parent, &names);
		rpc_fail(call,
			 vdpa_error_set(&err, ENODEV, NULL,
					"there is no parent \"%.63s\"; there are: %s", name,
					names.s),
			 &err);
		return;
	}
	list = json_array();
	if (parent)
		collect_parent(list, parent);
	else
		mdev_for_each_parent(call->d->ctx, collect_parent, list);
	rpc_ok(call, list);
}

/* ---- devices ---- */

static bool collect_device(void *arg, struct mdev_device *mdev)
{
	json_array_append_new(arg, mdevs_describe(mdev));
	return true;
}

static void show(struct rpc_call *call)
{
	struct mdev_device *mdev;
	json_t *list;

	if (rpc_str(call, "uuid")) {
		mdev = device_of(call);
		if (mdev)
			rpc_ok(call, json_pack("[o]", mdevs_describe(mdev)));
		return;
	}
	list = json_array();
	mdev_for_each(call->d->ctx, collect_device, list);
	rpc_ok(call, list);
}

static void create(struct rpc_call *call)
{
	const json_t *drv = json_object_get(call->params, "driver");
	const struct mdev_wish wish = {
		.uuid = rpc_str(call, "uuid"),
		.parent = rpc_str(call, "parent"),
		.type = rpc_str(call, "mdev_type"),
		.attrs = json_object_get(call->params, "attrs"),
		.driver = json_string_value(json_object_get(drv, "name")),
		.driver_attrs = json_object_get(drv, "attrs"),
	};
	struct vdpa_error err = {0};

	rpc_end(call, mdevs_create(call->d, &wish, &err), NULL, &err);
}

static void ended(void *arg, int result)
{
	rpc_end(arg, result, NULL, NULL);
}

static void start_op(struct rpc_call *call, const char *what,
		     int (*op)(struct mdev_device *mdev, const struct vdpa_done *done))
{
	struct mdev_device *mdev = device_of(call);
	const struct vdpa_done done = {ended, call};
	struct vdpa_error err = {0};
	int ret;

	if (!mdev)
		return;
	mdev_get(mdev);
	ret = op(mdev, &done);
	if (ret)
		rpc_fail(call,
			 vdpa_error_set(&err, -ret, mdev->uuid, "%s: %s", what, strerror(-ret)),
			 &err);
	mdev_put(mdev);
}

static void remove_device(struct rpc_call *call)
{
	start_op(call, "remove", mdev_remove);
}

static void unbind(struct rpc_call *call)
{
	start_op(call, "unbind", mdev_unbind);
}

static void set(struct rpc_call *call)
{
	struct mdev_device *mdev = device_of(call);
	struct vdpa_error err = {0};

	if (mdev)
		rpc_end(call, mdevs_set(mdev, json_object_get(call->params, "attrs"), &err), NULL,
			&err);
}

static void bind(struct rpc_call *call)
{
	struct mdev_device *mdev = device_of(call);
	struct vdpa_attr *attrs = NULL;
	struct vdpa_error err = {0};
	int ret;

	if (!mdev)
		return;
	ret = ctl_attrs_from_json(json_object_get(call->params, "attrs"), mdev->uuid, &attrs, &err);
	if (!ret)
		ret = mdev_bind(mdev, rpc_str(call, "driver"), attrs, &err);
	ctl_attrs_free(attrs);
	rpc_end(call, ret, NULL, &err);
}

/* ---- definitions ---- */

static void list_defined(struct rpc_call *call)
{
	json_t *list = json_array(), *def;
	const char *uuid;

	mdevs_reread(call->d);
	json_object_foreach(call->d->mdev_defs, uuid, def)
	{
		json_t *copy = json_deep_copy(def);

		json_object_set_new(copy, "active",
				    json_boolean(mdev_find(call->d->ctx, uuid) != NULL));
		json_array_append_new(list, copy);
	}
	rpc_ok(call, list);
}

/* With a type: as given. Without: as the device is. */
static void define(struct rpc_call *call)
{
	const char *start = ctl_get_str(call->params, "start", "manual");
	const char *type = rpc_str(call, "mdev_type");
	struct mdev_device *mdev = type ? NULL : device_of(call);
	struct vdpa_error err = {0};
	json_t *def;
	int ret;

	if (!type && !mdev)
		return;
	def = mdev ? mdevs_describe(mdev) : json_copy(call->params);
	json_object_set_new(def, "start", json_string(start));
	mdevs_reread(call->d);
	ret = mdevs_define(call->d, def, &err);
	json_decref(def);
	rpc_end(call, ret, NULL, &err);
}

static void undefine(struct rpc_call *call)
{
	struct vdpa_error err = {0};

	mdevs_reread(call->d);
	rpc_end(call, mdevs_undefine(call->d, rpc_str(call, "uuid"), &err), NULL, &err);
}

static void start(struct rpc_call *call)
{
	struct vdpa_error err = {0};

	mdevs_reread(call->d);
	rpc_end(call, mdevs_start(call->d, rpc_str(call, "uuid"), &err), NULL, &err);
}

/* ---- buses ---- */

static bool collect_bus(void *arg, const struct mdev_bus *bus)
{
	json_t *classes = json_array();

	for (const struct mdev_class *c = bus->classes; c->id; c++)
		json_array_append_new(classes, json_pack("{s:i, s:s, s:s}", "id", c->id, "name",
							 c->name, "help", c->help));
	json_array_append_new(arg, json_pack("{s:s, s:o}", "name", bus->name, "classes", classes));
	return true;
}

static void buses(struct rpc_call *call)
{
	json_t *list = json_array();

	mdev_for_each_bus(call->d->ctx, collect_bus, list);
	rpc_ok(call, list);
}

static bool collect_driver(void *arg, const struct mdev_driver *drv)
{
	json_t *ids = json_array();

	for (const uint16_t *id = drv->id_table; *id; id++)
		json_array_append_new(ids, json_integer(*id));
	json_array_append_new(arg,
			      json_pack("{s:s, s:s, s:s, s:o, s:o}", "name", drv->name, "help",
					drv->help ? drv->help : "", "bus", drv->bus, "class_ids",
					ids, "attrs", describe_attrs(drv->attrs)));
	return true;
}

static void drivers(struct rpc_call *call)
{
	json_t *list = json_array();

	mdev_for_each_driver(call->d->ctx, collect_driver, list);
	rpc_ok(call, list);
}

static void plugins(struct rpc_call *call)
{
	rpc_ok(call, plugins_describe(call->d));
}

#define UUID_PARAM                                                                                 \
	{                                                                                          \
		.name = "uuid", .type = CTL_STRING, .required = true, .help = "of the device"      \
	}

static const struct ctl_param types_params[] = {
	{.name = "parent", .type = CTL_STRING, .help = "absent: all"},
	{.name = NULL},
};
static const struct ctl_param show_params[] = {
	{.name = "uuid", .type = CTL_STRING, .help = "absent: all"},
	{.name = NULL},
};
static const struct ctl_param uuid_params[] = {UUID_PARAM, {.name = NULL}};
static const struct ctl_param create_params[] = {
	UUID_PARAM,
	{.name = "mdev_type", .type = CTL_STRING, .required = true, .help = "of a parent"},
	{.name = "parent", .type = CTL_STRING, .help = "absent: the one that has the type"},
	{.name = "attrs", .type = CTL_ATTRS, .help = "of the type"},
	{.name = "driver", .type = CTL_OBJECT, .help = "bind to it: {name, attrs}"},
	{.name = NULL},
};
static const struct ctl_param set_params[] = {
	UUID_PARAM,
	{.name = "attrs", .type = CTL_ATTRS, .required = true, .help = "to change"},
	{.name = NULL},
};
static const struct ctl_param bind_params[] = {
	UUID_PARAM,
	{.name = "driver", .type = CTL_STRING, .required = true, .help = "to bind to"},
	{.name = "attrs", .type = CTL_ATTRS, .help = "of the driver"},
	{.name = NULL},
};
static const struct ctl_param define_params[] = {
	UUID_PARAM,
	{.name = "mdev_type", .type = CTL_STRING, .help = "absent: as the device is"},
	{.name = "parent", .type = CTL_STRING, .help = "of the device"},
	{.name = "start", .type = CTL_STRING, .help = "auto: with the daemon; manual (default)"},
	{.name = "attrs", .type = CTL_ATTRS, .help = "of the type"},
	{.name = NULL},
};

const struct rpc_method rpc_mdev_methods[] = {
	{"mdev.types", "what can make mediated devices, and of which types", types, types_params},
	{"mdev.show", "mediated devices that are there", show, show_params},
	{"mdev.create", "make a mediated device, and bind it when a driver is given", create,
	 create_params},
	{"mdev.remove", "remove a mediated device; answers when it is gone", remove_device,
	 uuid_params},
	{"mdev.set", "change attributes of a mediated device", set, set_params},
	{"mdev.bind", "give a mediated device to a driver", bind, bind_params},
	{"mdev.unbind", "take it from its driver; answers when that has let go", unbind,
	 uuid_params},
	{"mdev.defined", "mediated devices that are defined", list_defined, NULL},
	{"mdev.define", "remember a mediated device, to make it again", define, define_params},
	{"mdev.undefine", "forget a definition", undefine, uuid_params},
	{"mdev.start", "make the device of a definition", start, uuid_params},
	{"mdev.buses", "buses of mediated devices, with their classes", buses, NULL},
	{"mdev.drivers", "drivers of mediated devices", drivers, NULL},
	{"mdev.plugins", "plugins, and what they are for", plugins, NULL},
	{NULL, NULL, NULL, NULL},
};
