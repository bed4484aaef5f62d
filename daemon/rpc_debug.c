// SPDX-License-Identifier: BSD-3-Clause
/* What people who look for a fault want to see. */
#include <errno.h>
#include "ctl/json.h"
#include "describe.h"
#include "devs.h"
#include "rpc.h"
#include "server.h"

#define IOTLB_DUMP_MAX 10000

static json_t *iotlb_json(const struct vhost_iotlb *iotlb, iova_t from, unsigned max)
{
	iova_t next;
	json_t *list = describe_ranges(iotlb, from, max, &next);

	return json_pack("{s:o, s:o, s:o}", "ranges", list, "total",
			 ctl_json_u64(iotlb ? iotlb->nmaps : 0), "next",
			 next ? ctl_json_hex(next) : json_null());
}

static void iotlb_dump(struct rpc_call *call)
{
	json_int_t asid = ctl_get_int(call->params, "asid", 0);
	unsigned max = (unsigned)ctl_get_int(call->params, "max", 1000);
	struct vdpa_attr from[] = {{"from", ctl_get_str(call->params, "from", "0")}, {NULL, NULL}};
	const struct vhost_iotlb *iotlb = NULL;
	struct vdpa_device *vdev = rpc_device(call);
	struct vdpa_error err = {0};
	int ret = 0;

	if (!vdev)
		return;
	if (asid >= (json_int_t)vdev->nas)
		ret = vdpa_error_set(&err, EINVAL, dev_object(vdev->name).s,
				     "asid %d does not exist: 0 to %u are there", (int)asid,
				     vdev->nas - 1);
	else if (!vdpa_has_ext(vdev, get_iotlb))
		ret = vdpa_error_set(&err, EOPNOTSUPP, dev_object(vdev->name).s,
				     "its parent does not show its address spaces");
	else
		iotlb = vdev->ext->get_iotlb(vdev, (unsigned)asid);
	if (ret)
		rpc_fail(call, ret, &err);
	else
		rpc_ok(call, iotlb_json(iotlb, vdpa_attr_u64(from, "from", 0), max));
}

static bool refs_one(void *arg, struct vdpa_device *vdev)
{
	return !json_object_set_new(arg, vdev->name, json_integer(vdpa_device_refs(vdev)));
}

static void debug_refs(struct rpc_call *call)
{
	json_t *devices = json_object();
	struct server_stats st;

	server_get_stats(call->d->server, &st);
	vdpa_for_each_device(call->d->ctx, refs_one, devices);
	rpc_ok(call, json_pack("{s:o, s:i, s:i}", "devices", devices, "clients", (int)st.clients,
			       "calls", (int)call->d->calls));
}

static void log_show(struct rpc_call *call)
{
	rpc_ok(call, logring_json(&call->d->log, (uint64_t)ctl_get_int(call->params, "since", 0),
				  (unsigned)ctl_get_int(call->params, "max", 100)));
}

static bool stats_one(void *arg, struct vdpa_device *vdev)
{
	json_t *vqs = json_array();

	for (uint32_t i = 0; vqs && i < vdev->nvqs; i++) {
		json_t *vq;

		describe_vstats(vdev, (uint16_t)i, &vq, NULL);
		json_array_append_new(vqs, vq ? vq : json_object());
	}
	return !json_object_set_new(arg, vdev->name, vqs);
}

static void stats(struct rpc_call *call)
{
	json_t *devices = json_object();
	struct server_stats st;

	server_get_stats(call->d->server, &st);
	vdpa_for_each_device(call->d->ctx, stats_one, devices);
	rpc_ok(call, json_pack("{s:o, s:{s:i, s:i, s:I, s:I, s:I, s:I, s:o}}", "devices", devices,
			       "daemon", "clients", (int)st.clients, "calls", (int)call->d->calls,
			       "accepted", (json_int_t)st.accepted, "refused",
			       (json_int_t)st.refused, "evicted", (json_int_t)st.evicted, "dropped",
			       (json_int_t)st.dropped, "events", ctl_json_u64(call->d->event_seq)));
}

static const struct ctl_param iotlb_params[] = {
	{.name = "name", .type = CTL_STRING, .required = true, .help = "of the device"},
	{.name = "asid", .type = CTL_INT, .min = 0, .max = 65535, .help = "address space, 0"},
	{.name = "from", .type = CTL_STRING, .help = "first address, as \"next\" of an answer"},
	{.name = "max", .type = CTL_INT, .min = 1, .max = IOTLB_DUMP_MAX, .help = "ranges, 1000"},
	{.name = NULL},
};

static const struct ctl_param log_params[] = {
	{.name = "since", .type = CTL_INT, .min = 0, .max = INT64_MAX, .help = "number of a line"},
	{.name = "max", .type = CTL_INT, .min = 1, .max = LOGRING_LINES, .help = "lines, 100"},
	{.name = NULL},
};

const struct rpc_method rpc_debug_methods[] = {
	{"iotlb.dump", "an address space of a device", iotlb_dump, iotlb_params},
	{"debug.refs", "references and connections", debug_refs, NULL},
	{"log", "the last lines of the log", log_show, log_params},
	{"stats", "counters of all queues and of the daemon", stats, NULL},
	{NULL, NULL, NULL, NULL},
};
