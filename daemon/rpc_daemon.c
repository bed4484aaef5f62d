// SPDX-License-Identifier: BSD-3-Clause
#include <unistd.h>
#include "ctl/proto.h"
#include "devs.h"
#include "rpc.h"
#include "server.h"
#include "uvdpa-config.h"

static void api_version(struct rpc_call *call)
{
	rpc_ok(call, json_pack("{s:i, s:i}", "major", CTL_API_MAJOR, "minor", CTL_API_MINOR));
}

static void describe(struct rpc_call *call)
{
	rpc_ok(call, rpc_describe());
}

static void info(struct rpc_call *call)
{
	struct daemon *d = call->d;
	struct server_stats st;

	server_get_stats(d->server, &st);
	rpc_ok(call,
	       json_pack("{s:s, s:{s:i, s:i}, s:i, s:i, s:I, s:s?, s:s?, s:i, s:i, s:i}", "version",
			 VDPA_VERSION, "api", "major", CTL_API_MAJOR, "minor", CTL_API_MINOR, "pid",
			 (int)getpid(), "uid", (int)geteuid(), "uptime_s",
			 (json_int_t)((vdpa_clock_ns() - d->started_ns) / 1000000000), "socket",
			 d->listen.path, "vduse", d->vduse, "workers", (int)d->opt.workers,
			 "devices", (int)devs_count(d), "clients", (int)st.clients));
}

/* The control loop first, which has no number among the workers. */
static json_t *worker_json(struct vdpa_loop_group *loops, const struct vdpa_loop *loop)
{
	unsigned index = vdpa_loop_index(loop);
	int cpu = index ? vdpa_loop_group_get_cpu(loops, index - 1) : -1;
	struct vdpa_loop_stats st;
	json_t *obj;

	vdpa_loop_get_stats(loop, &st);
	obj = json_pack("{s:o, s:o, s:I, s:I, s:I, s:I}", "worker",
			index ? json_integer(index - 1) : json_string("control"), "cpu",
			cpu < 0 ? json_null() : json_integer(cpu), "sleeps", (json_int_t)st.sleeps,
			"wakeups", (json_int_t)st.wakeups, "spins", (json_int_t)st.spins, "looks",
			(json_int_t)st.looks);
	return obj;
}

static void worker_show(struct rpc_call *call)
{
	struct vdpa_loop_group *loops = vdpa_ctx_loops(call->d->ctx);
	json_t *list = json_array();

	json_array_append_new(list, worker_json(loops, vdpa_loop_group_control(loops)));
	for (unsigned i = 0; i < vdpa_loop_group_workers(loops); i++)
		json_array_append_new(list, worker_json(loops, vdpa_loop_group_worker(loops, i)));
	rpc_ok(call, list);
}

static void stop(struct rpc_call *call)
{
	struct daemon *d = call->d;

	vdpa_log(&d->log.log, VDPA_LOG_INFO, "", "ending: a client asked for it");
	rpc_ok(call, NULL);
	daemon_quit(d);
}

const struct rpc_method rpc_daemon_methods[] = {
	{"api.version", "of this protocol", api_version, NULL},
	{"rpc.describe", "all methods and their parameters", describe, NULL},
	{"daemon.info", "version, process, socket, numbers", info, NULL},
	{"worker.show", "threads, their processors and what they did", worker_show, NULL},
	{"daemon.stop", "remove all devices and end", stop, NULL},
	{NULL, NULL, NULL, NULL},
};
