// SPDX-License-Identifier: BSD-3-Clause
/*
 * The state of a device as an object that another daemon can take over, and of a NIC what its
 * control queue has led to. Who attacks: whoever made the object; the parent checks it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uvdpa/compat.h>
#include "ctl/drv.h"
#include "devs.h"
#include "describe.h"
#include "rpc.h"

/* A NIC with the longest tables has about 70 KiB. */
#define STATE_BYTES_MAX (256u << 10)

static json_t *save(struct vdpa_device *vdev, int *ret)
{
	size_t bytes = STATE_BYTES_MAX;
	uint8_t *state = malloc(bytes);
	json_t *obj = NULL;
	char *text;

	*ret = state ? vdpa_save_state(vdev, state, &bytes) : -ENOMEM;
	if (!*ret) {
		text = drv_base64(state, bytes);
		if (text)
			obj = json_pack("{s:s, s:I, s:I, s:s}", "name", vdev->name, "device_id",
					(json_int_t)vdpa_get_device_id(vdev), "bytes",
					(json_int_t)bytes, "state", text);
		free(text);
		*ret = obj ? 0 : -ENOMEM;
	}
	free(state);
	return obj;
}

static void dev_save(struct rpc_call *call)
{
	struct vdpa_device *vdev = rpc_device(call);
	struct vdpa_error err = {0};
	json_t *obj = NULL;
	int ret = -EOPNOTSUPP;

	if (!vdev)
		return;
	if (vdpa_has_ext(vdev, save_state))
		obj = save(vdev, &ret);
	if (ret)
		vdpa_error_set(&err, -ret, dev_object(vdev->name).s,
			       "its state cannot be saved: %s",
			       ret == -EBUSY	    ? "it runs; suspend it first"
			       : ret == -EOPNOTSUPP ? "its parent keeps no such object"
						    : strerror(-ret));
	rpc_end(call, ret, obj, &err);
}

static void dev_load(struct rpc_call *call)
{
	struct vdpa_device *vdev = rpc_device(call);
	struct vdpa_error err = {0};
	uint8_t *state = NULL;
	size_t bytes = 0;
	int ret;

	if (!vdev)
		return;
	ret = drv_unbase64(rpc_str(call, "state"), &state, &bytes);
	if (ret)
		vdpa_error_set(&err, -ret, dev_object(vdev->name).s,
			       ret == -EINVAL ? "\"state\" is not base64" : "out of memory");
	else if (!vdpa_has_ext(vdev, load_state))
		ret = vdpa_error_set(&err, EOPNOTSUPP, dev_object(vdev->name).s,
				     "its parent takes no state");
	else if (vdpa_device_driver(vdev))
		/* Its rings have gone on since. */
		ret = vdpa_error_set(&err, EBUSY, dev_object(vdev->name).s,
				     "state is loaded into a device that is new or unbound; it is "
				     "bound to %s",
				     vdpa_device_driver(vdev)->name);
	else
		ret = vdpa_load_state(vdev, state, bytes, &err);
	free(state);
	if (!ret)
		vdpa_notify(vdev, VDPA_EVENT_CHANGE, "state loaded");
	rpc_end(call, ret, NULL, &err);
}

/* A device of which its parent says something about a control queue. */
static struct vdpa_device *with_cvq(struct rpc_call *call, json_t **state)
{
	struct vdpa_device *vdev = rpc_device(call);
	struct vdpa_error err = {0};

	if (!vdev)
		return NULL;
	*state = describe_part(vdev, DESCRIBE_CVQ_STATE);
	if (json_object_size(*state))
		return vdev;
	json_decref(*state);
	rpc_fail(call,
		 vdpa_error_set(&err, EOPNOTSUPP, dev_object(vdev->name).s,
				"has no control queue, or no driver that negotiated one"),
		 &err);
	return NULL;
}

static void cvq_state(struct rpc_call *call)
{
	json_t *state, *commands;
	struct vdpa_device *vdev = with_cvq(call, &state);

	if (!vdev)
		return;
	commands = describe_part(vdev, DESCRIBE_CVQ_COMMAND);
	rpc_ok(call, json_pack("{s:s, s:o, s:o}", "name", vdev->name, "state", state, "commands",
			       commands));
}

static void cvq_intercept(struct rpc_call *call)
{
	bool on = ctl_get_bool(call->params, "on", true);
	json_t *attrs = json_pack("{s:s}", "intercept", on ? "on" : "off");
	struct vdpa_device *vdev = rpc_device(call);
	struct vdpa_error err = {0};

	if (vdev && vdpa_get_device_id(vdev) != VIRTIO_ID_NET)
		rpc_fail(call,
			 vdpa_error_set(&err, EOPNOTSUPP, dev_object(vdev->name).s,
					"is not a NIC: it has no control queue"),
			 &err);
	else if (vdev)
		rpc_end(call, devs_set(vdev, attrs, &err), NULL, &err);
	json_decref(attrs);
}

static const struct ctl_param name_only[] = {
	{.name = "name", .type = CTL_STRING, .required = true, .help = "of the device"},
	{.name = NULL},
};

static const struct ctl_param load_params[] = {
	{.name = "name", .type = CTL_STRING, .required = true, .help = "of the device"},
	{.name = "state", .type = CTL_STRING, .required = true, .help = "as dev.save answers"},
	{.name = NULL},
};

static const struct ctl_param intercept_params[] = {
	{.name = "name", .type = CTL_STRING, .required = true, .help = "of the NIC"},
	{.name = "on", .type = CTL_BOOL, .help = "false: stop, and forget; absent: true"},
	{.name = NULL},
};

const struct rpc_method rpc_state_methods[] = {
	{"dev.save", "the state of a device that is suspended, or does not run", dev_save,
	 name_only},
	{"dev.load", "give a device that is new or unbound the state of another one", dev_load,
	 load_params},
	{"cvq.state", "what a control queue has led to, as commands, and those it was told",
	 cvq_state, name_only},
	{"cvq.intercept", "keep the last commands of a control queue", cvq_intercept,
	 intercept_params},
	{NULL, NULL, NULL, NULL},
};
