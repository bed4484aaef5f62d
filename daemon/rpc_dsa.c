// SPDX-License-Identifier: BSD-3-Clause
/* Methods of software DSAs and of their interrupt message storage. */
#include <errno.h>
#include <string.h>
#include "ctl/json.h"
#include "dsa_dev/dev.h"
#include "dsa_dev/vdev.h"
#include "dsas.h"
#include "mdevs.h"
#include "rpc.h"

/* ---- devices ---- */

static int attrs_of(const struct rpc_call *call, const char *object, struct vdpa_attr **attrs,
		    struct vdpa_error *err)
{
	return ctl_attrs_from_json(json_object_get(call->params, "attrs"), object, attrs, err);
}

static void add(struct rpc_call *call)
{
	const char *name = rpc_str(call, "name");
	struct vdpa_attr *attrs = NULL;
	struct vdpa_error err = {0};
	int r = attrs_of(call, name, &attrs, &err);

	if (!r)
		r = dsa_dev_add(call->d->ctx, name, attrs, NULL, &err);
	ctl_attrs_free(attrs);
	rpc_end(call, r, NULL, &err);
}

/* The device that parameter "name" names; NULL: the call has ended with an error. */
static struct dsa_dev *device_of(struct rpc_call *call)
{
	const char *name = rpc_str(call, "name");
	struct dsa_dev *dev = dsa_dev_find(call->d->ctx, name);
	struct vdpa_error err = {0};

	if (!dev)
		rpc_fail(call, vdpa_error_set(&err, ENODEV, name, "there is no DSA of this name"),
			 &err);
	return dev;
}

static void del(struct rpc_call *call)
{
	struct dsa_dev *dev = device_of(call);
	struct vdpa_error err = {0};

	if (dev)
		rpc_end(call, dsa_dev_del(dev, &err), NULL, &err);
}

static void show(struct rpc_call *call)
{
	rpc_ok(call, dsas_describe(call->d));
}

static void config(struct rpc_call *call)
{
	const char *path = rpc_str(call, "path");
	struct vdpa_attr *attrs = NULL;
	struct vdpa_error err = {0};
	int r = attrs_of(call, path, &attrs, &err);

	if (!r)
		r = dsa_config(call->d->ctx, path, attrs, &err);
	ctl_attrs_free(attrs);
	rpc_end(call, r, NULL, &err);
}

static void enable(struct rpc_call *call)
{
	struct vdpa_error err = {0};

	rpc_end(call, dsas_enable(call->d, rpc_str(call, "path"), &err), NULL, &err);
}

static void disabled(void *arg, int result)
{
	rpc_end(arg, result, NULL, NULL);
}

static void disable(struct rpc_call *call)
{
	const struct vdpa_done done = {disabled, call};
	struct vdpa_error err = {0};
	int r = dsa_disable(call->d->ctx, rpc_str(call, "path"), &done, &err);

	if (r)
		rpc_fail(call, r, &err);
}

static void drivers(struct rpc_call *call)
{
	rpc_ok(call, dsas_drivers(call->d));
}

static void save(struct rpc_call *call)
{
	rpc_ok(call, dsas_save(call->d));
}

static void load(struct rpc_call *call)
{
	struct vdpa_error err = {0};

	rpc_end(call, dsas_apply(call->d, json_object_get(call->params, "devices"), &err), NULL,
		&err);
}

/* ---- mediated devices ---- */

static struct mdev_device *mdev_of(struct rpc_call *call)
{
	struct vdpa_error err = {0};
	struct mdev_device *mdev = mdevs_find(call->d, rpc_str(call, "uuid"), &err);

	if (!mdev)
		rpc_fail(call, -ENODEV, &err);
	return mdev;
}

static void inject(struct rpc_call *call)
{
	struct mdev_device *mdev = mdev_of(call);
	struct vdpa_error err = {0};

	if (mdev)
		rpc_end(call, dsa_mdev_inject(mdev, rpc_str(call, "fault"), &err), NULL, &err);
}

static void emit_reg(void *arg, const char *name, unsigned off, uint32_t value)
{
	json_array_append_new(arg, json_pack("{s:s, s:o, s:o}", "name", name, "offset",
					     ctl_json_hex(off), "value", ctl_json_hex(value)));
}

static void regs(struct rpc_call *call)
{
	struct mdev_device *mdev = mdev_of(call);
	struct dsa_vdev *vdev = mdev ? dsa_mdev_vdev(mdev) : NULL;
	struct vdpa_error err = {0};
	json_t *list;

	if (!mdev)
		return;
	if (!vdev) {
		rpc_fail(call, vdpa_error_set(&err, ENOTTY, mdev->uuid, "this device is no DSA"),
			 &err);
		return;
	}
	list = json_array();
	dsa_vdev_dump(vdev, emit_reg, list);
	rpc_ok(call, list);
}

/* ---- interrupt message storage ---- */

static json_t *slot_json(struct ims *ims, unsigned i)
{
	struct ims_slot s;
	char owner[64];
	bool used = ims_look(ims, i, &s, owner, sizeof(owner));

	return json_pack("{s:i, s:b, s:s, s:o, s:o, s:o, s:b, s:b, s:b, s:i}", "slot", i, "used",
			 used, "owner", used ? owner : "", "addr", ctl_json_hex(s.addr), "data",
			 ctl_json_hex(s.data), "ctrl", ctl_json_hex(s.ctrl), "masked",
			 s.ctrl & IMS_CTRL_MASK, "pending", s.ctrl & IMS_CTRL_PENDING,
			 "pasid_enabled", s.ctrl & IMS_CTRL_PASID_EN, "pasid",
			 s.ctrl >> IMS_CTRL_PASID_SHIFT);
}

static void ims_show(struct rpc_call *call)
{
	struct dsa_dev *dev = device_of(call);
	struct ims_stats stats;
	struct ims_slot s;
	struct ims *ims;
	json_t *list;
	bool all;

	if (!dev)
		return;
	all = ctl_get_bool(call->params, "all", false);
	ims = dsa_dev_ims(dev);
	list = json_array();
	for (unsigned i = 0; i < ims_slots(ims); i++) {
		if (all || ims_look(ims, i, &s, NULL, 0))
			json_array_append_new(list, slot_json(ims, i));
	}
	ims_get_stats(ims, &stats);
	rpc_ok(call,
	       json_pack("{s:s, s:i, s:i, s:b, s:I, s:I, s:I, s:I, s:o}", "name", dsa_dev_name(dev),
			 "slots", ims_slots(ims), "used", ims_used(ims), "remapping",
			 ims_remaps(ims), "delivered", (json_int_t)stats.delivered, "held",
			 (json_int_t)stats.held, "wrong_pasid", (json_int_t)stats.pasid, "bad",
			 (json_int_t)stats.bad, "list", list));
}

static void change_slot(struct rpc_call *call, int (*change)(struct ims *ims, unsigned slot))
{
	struct dsa_dev *dev = device_of(call);
	struct vdpa_error err = {0};
	unsigned slot;
	int r;

	if (!dev)
		return;
	slot = (unsigned)ctl_get_int(call->params, "slot", 0);
	r = change(dsa_dev_ims(dev), slot);
	if (r)
		vdpa_error_set(&err, -r, dsa_dev_name(dev), "slot %u is not in use", slot);
	rpc_end(call, r, NULL, &err);
}

static void mask(struct rpc_call *call)
{
	change_slot(call, ims_mask);
}

static void unmask(struct rpc_call *call)
{
	change_slot(call, ims_unmask);
}

#define NAME_PARAM                                                                                 \
	{                                                                                          \
		.name = "name", .type = CTL_STRING, .required = true, .help = "of the DSA"         \
	}
#define UUID_PARAM                                                                                 \
	{                                                                                          \
		.name = "uuid", .type = CTL_STRING, .required = true,                              \
		.help = "of the mediated device"                                                   \
	}

static const struct ctl_param add_params[] = {
	NAME_PARAM,
	{.name = "attrs",
	 .type = CTL_ATTRS,
	 .help = "engines, wqs, groups, wq_size, ims_slots, ir"},
	{.name = NULL},
};
static const struct ctl_param name_params[] = {NAME_PARAM, {.name = NULL}};
static const struct ctl_param path_params[] = {
	{.name = "path", .type = CTL_STRING, .required = true, .help = "dsa0, or dsa0/wq0.1"},
	{.name = NULL},
};
static const struct ctl_param config_params[] = {
	{.name = "path",
	 .type = CTL_STRING,
	 .required = true,
	 .help = "dsa0, dsa0/wq0.1, dsa0/engine0.0 or dsa0/group0.0"},
	{.name = "attrs", .type = CTL_ATTRS, .required = true, .help = "in accel-config's words"},
	{.name = NULL},
};
static const struct ctl_param load_params[] = {
	{.name = "devices",
	 .type = CTL_ARRAY,
	 .required = true,
	 .help = "what accel-config save-config writes"},
	{.name = NULL},
};
static const struct ctl_param inject_params[] = {
	UUID_PARAM,
	{.name = "fault",
	 .type = CTL_STRING,
	 .required = true,
	 .help = "swerr, revoke, halt, flr, err or request"},
	{.name = NULL},
};
static const struct ctl_param uuid_params[] = {UUID_PARAM, {.name = NULL}};
static const struct ctl_param ims_params[] = {
	NAME_PARAM,
	{.name = "all", .type = CTL_BOOL, .help = "slots that are not in use as well"},
	{.name = NULL},
};
static const struct ctl_param slot_params[] = {
	NAME_PARAM,
	{.name = "slot",
	 .type = CTL_INT,
	 .required = true,
	 .min = 0,
	 .max = IMS_SLOTS_MAX - 1,
	 .help = "number"},
	{.name = NULL},
};

const struct rpc_method rpc_dsa_methods[] = {
	{"dsa.add", "make a software DSA", add, add_params},
	{"dsa.del", "delete one that is disabled", del, name_params},
	{"dsa.show", "software DSAs with groups, engines and queues", show, NULL},
	{"dsa.config", "change attributes of a device, queue, engine or group", config,
	 config_params},
	{"dsa.enable", "enable a device or a queue", enable, path_params},
	{"dsa.disable", "disable a device or a queue; answers when it is", disable, path_params},
	{"dsa.drivers", "drivers of queues, and the queues that they have", drivers, NULL},
	{"dsa.save", "what accel-config save-config writes", save, NULL},
	{"dsa.load", "take over what accel-config save-config wrote", load, load_params},
	{"dsa.inject", "cause what hardware could tell a guest", inject, inject_params},
	{"dsa.regs", "registers of a mediated device", regs, uuid_params},
	{"ims.show", "interrupt message storage of a DSA", ims_show, ims_params},
	{"ims.mask", "mask a slot", mask, slot_params},
	{"ims.unmask", "unmask a slot; what is pending is sent", unmask, slot_params},
	{NULL, NULL, NULL, NULL},
};
