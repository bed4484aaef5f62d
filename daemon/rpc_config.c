// SPDX-License-Identifier: BSD-3-Clause
#include "config.h"
#include "rpc.h"

static void dump(struct rpc_call *call)
{
	rpc_ok(call, config_dump(call->d));
}

static void loaded(void *arg, int ret, const struct vdpa_error *err)
{
	rpc_end(arg, ret, NULL, err);
}

static void load(struct rpc_call *call)
{
	config_load(call->d, json_object_get(call->params, "config"), loaded, call);
}

static const struct ctl_param load_params[] = {
	{.name = "config", .type = CTL_OBJECT, .required = true, .help = "as config.dump answers"},
	{.name = NULL},
};

const struct rpc_method rpc_config_methods[] = {
	{"config.dump", "all devices, as a configuration file", dump, NULL},
	{"config.load", "create the devices of a configuration, all or none", load, load_params},
	{NULL, NULL, NULL, NULL},
};
