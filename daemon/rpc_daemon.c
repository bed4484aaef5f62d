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
	rpc_ok(call, json_pack("{s:s, s:{s:i, s:i}, s:i, s:i, s:I, s:s?, s:i, s:i, s:i}", "version",
			       VDPA_VERSION, "api", "major", CTL_API_MAJOR, "minor", CTL_API_MINOR,
			       "pid", (int)getpid(), "uid", (int)geteuid(), "uptime_s",
			       (json_int_t)((vdpa_clock_ns() - d->started_ns) / 1000000000),
			       "socket", d->listen.path, "workers", (int)d->opt.workers, "devices",
			       (int)devs_count(d), "clients", (int)st.clients));
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
	{"daemon.stop", "remove all devices and end", stop, NULL},
	{NULL, NULL, NULL, NULL},
};
