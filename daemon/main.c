// SPDX-License-Identifier: BSD-3-Clause
/*
 * uvdpad: start, run the control loop, and end in order: listening stops, devices are unbound and
 * removed, answers that are still owed are sent, the socket goes away.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include <uvdpa/mem.h>
#include <uvdpa/vduse.h>
#include "base/fd.h"
#include "base/list.h"
#include "ctl/json.h"
#include "ctl/service.h"
#include "config.h"
#include "daemon.h"
#include "devs.h"
#include "dsas.h"
#include "mdevs.h"
#include "plugins.h"
#include "rpc.h"
#include "server.h"
#include "sysfs.h"
#include "uvdpa-config.h"

/* Longest time for devices to let go at the end; a queue that does not drain takes up to 30 s. */
#define END_TIMEOUT_NS 45000000000ull
#define BUS_TIMEOUT_NS 5000000000ull

void daemon_quit(struct daemon *d)
{
	d->quits++;
	vdpa_loop_stop(d->loop);
}

static void complain(const struct vdpa_error *err)
{
	fprintf(stderr, "<3>uvdpad: %s%s%s\n", err->object, *err->object ? ": " : "", err->msg);
}

/* ---- signals ---- */

/* Before any thread exists, so that all of them inherit the mask. */
static int signals_block(void)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void signal_event(struct vdpa_loop_fd *lfd, uint32_t revents)
{
	struct daemon *d = vdpa_container_of(lfd, struct daemon, signals);
	struct signalfd_siginfo info;

	(void)revents;
	while (read(lfd->fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGHUP) {
			vdpa_log(&d->log.log, VDPA_LOG_INFO, "",
				 "SIGHUP ignored: there is nothing to read again, the state is "
				 "changed over the control socket");
			continue;
		}
		vdpa_log(&d->log.log, VDPA_LOG_INFO, "", "ending: signal %u", info.ssi_signo);
		daemon_quit(d);
	}
}

/* ---- events ---- */

static void bus_event(struct vdpa_subscriber *sub, const struct vdpa_event *event)
{
	static const char *const names[] = {
		[VDPA_EVENT_ADD] = "add",	[VDPA_EVENT_DEL] = "del",
		[VDPA_EVENT_BIND] = "bind",	[VDPA_EVENT_UNBIND] = "unbind",
		[VDPA_EVENT_CHANGE] = "change", [VDPA_EVENT_BROKEN] = "broken",
	};
	struct daemon *d = vdpa_container_of(sub, struct daemon, events);
	const struct vdpa_driver *drv = vdpa_device_driver(event->vdev);

	d->event_seq++;
	rpc_event(d, json_pack("{s:I, s:s, s:s, s:o, s:s?}", "seq", (json_int_t)d->event_seq,
			       "event", names[event->type], "dev", event->vdev->name, "detail",
			       ctl_json_text(event->detail), "driver", drv ? drv->name : NULL));
}

/* ---- sockets ---- */

static int serve_fd(struct daemon *d, int fd, struct vdpa_error *err)
{
	bool listening;
	int ret = ctl_check_socket(fd, &listening, err);

	if (ret)
		return ret;
	vdpa_fd_set_cloexec(fd, true);
	ret = listening ? server_listen(d->server, fd) : server_adopt(d->server, fd);
	return ret ? vdpa_error_set(err, -ret, NULL, "file descriptor %d cannot be served: %s", fd,
				    strerror(-ret))
		   : 0;
}

static int open_path(struct daemon *d, bool is_default, struct vdpa_error *err)
{
	struct ctl_listen_params p = {
		.path = d->opt.socket,
		.mode = d->opt.mode,
		.uid = d->opt.uid,
		.gid = d->opt.gid,
	};
	int ret = 0;

	if (is_default)
		ret = ctl_default_path(d->opt.socket, sizeof(d->opt.socket), err);
	if (!ret && is_default)
		ret = ctl_default_dir(d->opt.socket, err);
	if (!ret)
		ret = ctl_listen_open(&d->listen, &p, err);
	return ret;
}

static void deserted(void *arg)
{
	struct daemon *d = arg;

	if (daemon_is_ending(d))
		return;
	vdpa_log(&d->log.log, VDPA_LOG_INFO, "", "ending: the connection that was given is closed");
	daemon_quit(d);
}

/* Sockets given by descriptor first; a path only when asked for, or when there are none. */
static int open_sockets(struct daemon *d, struct vdpa_error *err)
{
	int n = ctl_listen_fds(), ret = 0;

	for (int i = 0; i < n && !ret; i++)
		ret = serve_fd(d, CTL_LISTEN_FDS_START + i, err);
	for (unsigned i = 0; i < d->opt.nfds && !ret; i++)
		ret = serve_fd(d, d->opt.fd[i], err);
	if (!ret && d->listen.fd >= 0)
		ret = server_listen(d->server, d->listen.fd);
	return ret;
}

static int open_vduse(struct daemon *d, struct vdpa_error *err)
{
#ifdef VDPA_HAVE_VDUSE_PARENT
	struct vdpa_attr attrs[] = {
		{"socket_mode", d->opt.vduse_mode},
		{d->opt.vduse_owner ? "socket_owner" : NULL, d->opt.vduse_owner},
		{NULL, NULL}};

	int ret = d->opt.vduse ? vduse_listen(d->ctx, d->opt.vduse, attrs, err) : 0;

	/* Others ask for it, who may be elsewhere. */
	if (!ret && d->opt.vduse)
		d->vduse = realpath(d->opt.vduse, NULL);
	return ret;
#else
	return d->opt.vduse ? vdpa_error_set(err, EOPNOTSUPP, NULL,
					     "--vduse: this daemon was built without it")
			    : 0;
#endif
}

/* ---- life ---- */

static int tie_workers(struct daemon *d, struct vdpa_error *err)
{
	for (unsigned i = 0; d->opt.ncpus && i < d->opt.workers; i++) {
		unsigned cpu = d->opt.cpu[i % d->opt.ncpus];
		int ret = vdpa_loop_group_set_cpu(vdpa_ctx_loops(d->ctx), i, cpu);

		if (ret)
			return vdpa_error_set(
				err, -ret, NULL,
				"--worker-cpus: worker %u cannot run on processor %u: "
				"%s",
				i, cpu, strerror(-ret));
	}
	return 0;
}

static int start_bus(struct daemon *d, struct vdpa_error *err)
{
	struct vdpa_ctx_config config = {
		.size = sizeof(config),
		.workers = d->opt.workers,
		.log = d->log.log,
	};
	int ret = vdpa_ctx_new(&config, &d->ctx);

	if (ret)
		return vdpa_error_set(err, -ret, NULL, "cannot start: %s", strerror(-ret));
	d->loop = vdpa_ctx_control(d->ctx);
	ret = tie_workers(d, err);
	if (ret)
		return ret;
	ret = vdpa_register_builtin(d->ctx);
	if (ret)
		return vdpa_error_set(err, -ret, NULL, "cannot register what is built in: %s",
				      strerror(-ret));
	d->events.fn = bus_event;
	return 0;
}

static int start_server(struct daemon *d, struct vdpa_error *err)
{
	struct server_params params = {
		.loop = d->loop,
		.log = &d->log.log,
		.max_clients = d->opt.max_clients,
		.allow_uid = d->opt.uid,
		.allow_gid = d->opt.gid,
		.line = rpc_line,
		.deserted = deserted,
		.arg = d,
	};
	int ret = server_new(&params, &d->server);

	if (ret)
		return vdpa_error_set(err, -ret, NULL, "cannot start: %s", strerror(-ret));
	vdpa_subscribe(d->ctx, &d->events);
	return 0;
}

/*
 * Order: the lock on the path first (a second daemon must not touch anything), then the devices of
 * the configuration, and only then clients.
 */
static int start(struct daemon *d, int sigfd, struct vdpa_error *err)
{
	bool by_fd = d->opt.nfds || getenv("LISTEN_FDS");
	int ret = 0;

	if (*d->opt.socket || !by_fd)
		ret = open_path(d, !*d->opt.socket, err);
	if (!ret)
		ret = start_bus(d, err);
	if (!ret)
		ret = start_server(d, err);
	if (!ret)
		ret = open_vduse(d, err);
	if (!ret)
		ret = mdevs_init(d, err);
#ifdef VDPA_HAVE_MDEV
	if (!ret && d->opt.plugin_dir)
		ret = plugins_init(d, err);
#endif
	if (!ret && d->opt.config)
		ret = config_load_file(d, d->opt.config, err);
	if (!ret)
		mdevs_autostart(d);
#ifdef VDPA_HAVE_SYSFS
	if (!ret && d->opt.sysfs)
		ret = sysfs_start(d, err);
#endif
	if (!ret)
		ret = open_sockets(d, err);
	if (!ret)
		ret = vdpa_loop_fd_add(d->loop, &d->signals, sigfd, EPOLLIN, signal_event);
	return ret;
}

static void quiet(void *arg, int ret, const struct vdpa_error *err)
{
	struct daemon *d = arg;

	if (ret && ret != -EALREADY && ret != -EBUSY)
		vdpa_log(&d->log.log, VDPA_LOG_WARN, err->object, "%s", err->msg);
}

static bool name_one(void *arg, struct vdpa_device *vdev)
{
	/* Others go with what made them. */
	if (vdev->mdev)
		json_array_append_new(arg, json_string(vdev->name));
	return true;
}

static void delete_all(struct daemon *d)
{
	json_t *names = json_array(), *name;
	size_t i;

	vdpa_for_each_device(d->ctx, name_one, names);
	json_array_foreach(names, i, name) devs_delete(d, json_string_value(name), quiet, d);
	json_decref(names);
}

static void end_devices(struct daemon *d)
{
	uint64_t deadline = vdpa_clock_ns() + END_TIMEOUT_NS;
	unsigned quits = d->quits;

	server_stop_listening(d->server);
	mdevs_end(d);
	delete_all(d);
	while (devs_count(d) || mdevs_count(d) || d->calls) {
		uint64_t now = vdpa_clock_ns();

		if (now >= deadline || d->quits > quits + 1) {
			vdpa_log(&d->log.log, VDPA_LOG_ERR, "",
				 "%u devices do not let go: ending without them",
				 devs_count(d) + mdevs_count(d));
			d->result = 1;
			return;
		}
		vdpa_loop_run_once(d->loop, (int64_t)(deadline - now));
	}
	dsas_end(d);
	while (dsas_count(d) && vdpa_clock_ns() < deadline)
		vdpa_loop_run_once(d->loop, 10000000);
}

/* The last reference to a device may be dropped by a message that is still on its way. */
static int end_bus(struct daemon *d)
{
	uint64_t deadline = vdpa_clock_ns() + BUS_TIMEOUT_NS;
	int ret;

	while ((ret = vdpa_ctx_free(d->ctx)) == -EBUSY && vdpa_clock_ns() < deadline)
		vdpa_loop_run_once(d->loop, 10000000);
	return ret;
}

static void end(struct daemon *d, int sigfd)
{
	ctl_notify("STOPPING=1");
	if (d->server)
		end_devices(d);
	server_free(d->server);
	d->server = NULL;
	if (d->ctx && d->events.fn)
		vdpa_unsubscribe(d->ctx, &d->events);
#ifdef VDPA_HAVE_SYSFS
	sysfs_stop(d);
#endif
	if (d->ctx)
		mdevs_fini(d);
	if (d->loop)
		vdpa_loop_fd_del(&d->signals);
	close(sigfd);
	ctl_listen_close(&d->listen);
	if (d->ctx && !d->result && end_bus(d))
		d->result = 1;
#ifdef VDPA_HAVE_MDEV
	/* A device that did not let go may still be of a plugin's. */
	if (!d->result)
		plugins_fini(d);
#endif
}

int main(int argc, char **argv)
{
	static struct daemon d = {.listen = CTL_LISTEN_INIT};
	struct vdpa_error err = {0};
	int sigfd, ret = options_parse(&d.opt, argc, argv);

	if (ret >= 0)
		return ret;
	logring_init(&d.log, d.opt.level);
	d.started_ns = vdpa_clock_ns();
	sigfd = signals_block();
	ret = vdpa_sigbus_install();
	if (ret)
		vdpa_error_set(&err, -ret, NULL, "SIGBUS: %s", strerror(-ret));
	else
		ret = start(&d, sigfd, &err);
	if (ret) {
		complain(&err);
		d.result = 1;
		d.quits++;
	} else {
		vdpa_log(&d.log.log, VDPA_LOG_INFO, "", "uvdpad %s serves %s", VDPA_VERSION,
			 d.listen.path ? d.listen.path : "the sockets it was given");
		ctl_notify("READY=1");
		ctl_ready_fd(d.opt.ready_fd);
		while (!daemon_is_ending(&d))
			vdpa_loop_run(d.loop);
	}
	end(&d, sigfd);
	logring_fini(&d.log);
	return d.result;
}
