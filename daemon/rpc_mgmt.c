// SPDX-License-Identifier: BSD-3-Clause
/* Management devices, and the attributes that they and their backends take. */
#include <errno.h>
#include <string.h>
#include <uvdpa/backend.h>
#include <uvdpa/compat.h>
#include "describe.h"
#include "devs.h"
#include "rpc.h"

struct collect {
	json_t *list;
	bool all;
};

static json_t *backend_json(const char *class, const char *name, const char *help,
			    const struct vdpa_attr_spec *attrs)
{
	return json_pack("{s:s, s:s, s:s, s:o}", "name", name, "class", class, "help",
			 help ? help : "", "attrs", describe_attrs(attrs));
}

static void add_blk_backends(json_t *list)
{
	for (const struct blk_backend_ops *const *b = blk_backend_list(); list && b && *b; b++)
		json_array_append_new(list,
				      backend_json("block", (*b)->name, (*b)->help, (*b)->attrs));
}

static void add_net_backends(json_t *list)
{
	for (const struct net_backend_ops *const *b = net_backend_list(); list && b && *b; b++)
		json_array_append_new(list,
				      backend_json("net", (*b)->name, (*b)->help, (*b)->attrs));
}

/* Those that @mdev's attribute "backend" chooses from; NULL: it has none. */
static json_t *backends_of(const struct vdpa_mgmt_dev *mdev)
{
	const struct vdpa_attr_spec *s = mdev->attrs;
	json_t *list;

	while (s && s->name && strcmp(s->name, "backend"))
		s++;
	if (!s || !s->name || !mdev->id_table)
		return NULL;
	list = json_array();
	if (mdev->id_table[0] == VIRTIO_ID_BLOCK)
		add_blk_backends(list);
	else if (mdev->id_table[0] == VIRTIO_ID_NET)
		add_net_backends(list);
	return list;
}

static bool collect_one(void *arg, struct vdpa_mgmt_dev *mdev)
{
	struct collect *c = arg;
	json_t *m = describe_mgmtdev(mdev, c->all);
	json_t *backends = m && c->all ? backends_of(mdev) : NULL;

	if (backends)
		json_object_set_new(m, "backends", backends);
	return !json_array_append_new(c->list, m);
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

static void backends(struct rpc_call *call)
{
	json_t *list = json_array();

	add_blk_backends(list);
	add_net_backends(list);
	rpc_ok(call, list);
}

static const struct ctl_param show_params[] = {
	{.name = "name", .type = CTL_STRING, .help = "NAME or BUS/NAME; absent: all"},
	{.name = "all",
	 .type = CTL_BOOL,
	 .help = "with the attributes of dev.add, and the backends"},
	{.name = NULL},
};

const struct rpc_method rpc_mgmt_methods[] = {
	{"mgmtdev.show", "what can create devices", mgmtdev_show, show_params},
	{"backend.show", "where the bytes of disks and NICs can go", backends, NULL},
	{NULL, NULL, NULL, NULL},
};
