// SPDX-License-Identifier: BSD-3-Clause
/* Management devices, and the attributes that they and their backends take. */
#include <errno.h>
#include <uvdpa/backend.h>
#include "describe.h"
#include "devs.h"
#include "rpc.h"

struct collect {
	json_t *list;
	bool all;
};

static bool collect_one(void *arg, struct vdpa_mgmt_dev *mdev)
{
	struct collect *c = arg;

	return !json_array_append_new(c->list, describe_mgmtdev(mdev, c->all));
}

static void mgmtdev_show(struct rpc_call *call)
{
	struct collect c = {.all = ctl_get_bool(call->params, "all", false)};
	const char *name = rpc_str(call, "name");
	struct vdpa_error err = {0};
	struct vdpa_mgmt_dev *mdev = name ? devs_mgmtdev(call->d, name, &err) : NULL;

	if (name && !mdev) {
		rpc_fail(call, -ENODEV, &err);
		return;
	}
	c.list = json_array();
	if (mdev)
		collect_one(&c, mdev);
	else
		vdpa_for_each_mgmtdev(call->d->ctx, collect_one, &c);
	rpc_ok(call, c.list);
}

static json_t *backend_json(const char *class, const char *name, const char *help,
			    const struct vdpa_attr_spec *attrs)
{
	return json_pack("{s:s, s:s, s:s, s:o}", "name", name, "class", class, "help",
			 help ? help : "", "attrs", describe_attrs(attrs));
}

static void backends(struct rpc_call *call)
{
	json_t *list = json_array();

	for (const struct blk_backend_ops *const *b = blk_backend_list(); list && b && *b; b++)
		json_array_append_new(list,
				      backend_json("block", (*b)->name, (*b)->help, (*b)->attrs));
	for (const struct net_backend_ops *const *b = net_backend_list(); list && b && *b; b++)
		json_array_append_new(list,
				      backend_json("net", (*b)->name, (*b)->help, (*b)->attrs));
	rpc_ok(call, list);
}

static const struct ctl_param show_params[] = {
	{.name = "name", .type = CTL_STRING, .help = "NAME or BUS/NAME; absent: all"},
	{.name = "all", .type = CTL_BOOL, .help = "with the attributes of dev.add"},
	{.name = NULL},
};

const struct rpc_method rpc_mgmt_methods[] = {
	{"mgmtdev.show", "what can create devices", mgmtdev_show, show_params},
	{"backend.show", "where the bytes of disks and NICs can go", backends, NULL},
	{NULL, NULL, NULL, NULL},
};
