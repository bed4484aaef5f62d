// SPDX-License-Identifier: BSD-3-Clause
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "daemon_harness.h"
#include "devs.h"
#include "dsas.h"
#include "mdevs.h"
#include "rpc.h"
#include "server.h"

/* Longest time for the daemon to come to rest: anything longer is a hang. */
#define REST_NS 20000000000ull

static struct daemon d;

void daemon_quit(struct daemon *daemon)
{
	(void)daemon;
}

static void bus_event(struct vdpa_subscriber *sub, const struct vdpa_event *event)
{
	(void)sub;
	rpc_event(&d, json_pack("{s:i, s:s}", "event", (int)event->type, "dev", event->vdev->name));
}

static void start(void)
{
	struct vdpa_ctx_config config = {.size = sizeof(config), .log = {.level = VDPA_LOG_ERR}};
	struct server_params params = {
		.max_clients = 4,
		.allow_uid = (uid_t)-1,
		.allow_gid = (gid_t)-1,
		.line = rpc_line,
		.arg = &d,
	};

	logring_init(&d.log, VDPA_LOG_ERR);
	config.log = d.log.log;
	assert(!vdpa_ctx_new(&config, &d.ctx));
	assert(!vdpa_register_builtin(d.ctx));
	d.loop = vdpa_ctx_control(d.ctx);
	params.loop = d.loop;
	params.log = &d.log.log;
	assert(!server_new(&params, &d.server));
	d.events.fn = bus_event;
	vdpa_subscribe(d.ctx, &d.events);
	assert(!mdevs_init(&d, NULL));
}

struct daemon *harness_daemon(void)
{
	if (!d.ctx)
		start();
	return &d;
}

static void drain(int fd)
{
	char buf[65536];

	while (recv(fd, buf, sizeof(buf), MSG_DONTWAIT) > 0)
		;
}

static void run_until_rest(bool (*done)(void))
{
	uint64_t deadline = vdpa_clock_ns() + REST_NS;

	while (!done()) {
		assert(vdpa_clock_ns() < deadline);
		vdpa_loop_run_once(d.loop, 1000000);
	}
}

static bool no_client(void)
{
	struct server_stats st;

	server_get_stats(d.server, &st);
	return !st.clients;
}

static bool nothing_left(void)
{
	return !devs_count(&d) && !mdevs_count(&d) && !dsas_count(&d) && !d.calls;
}

void harness_client(const void *data, size_t len)
{
	const char *p = data;
	int fds[2];

	harness_daemon();
	assert(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds));
	assert(!server_adopt(d.server, fds[1]));
	for (int turns = 0; len && turns < 10000; turns++) {
		ssize_t n = send(fds[0], p, len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n > 0) {
			p += n;
			len -= (size_t)n;
		} else if (errno != EAGAIN) {
			break;
		}
		vdpa_loop_run_once(d.loop, 0);
		drain(fds[0]);
	}
	for (int i = 0; i < 20 && vdpa_loop_run_once(d.loop, 0) > 0; i++)
		drain(fds[0]);
	close(fds[0]);
	run_until_rest(no_client);
}

static void quiet(void *arg, int ret, const struct vdpa_error *err)
{
	(void)arg;
	(void)ret;
	(void)err;
}

static bool delete_one(void *arg, struct vdpa_device *vdev)
{
	json_array_append_new(arg, json_string(vdev->name));
	return true;
}

static bool remove_one(void *arg, struct mdev_device *mdev)
{
	mdev_remove(mdev, NULL);
	return true;
}

void harness_clean(void)
{
	json_t *names = json_array(), *name;
	size_t i;

	mdev_for_each(d.ctx, remove_one, NULL);
	json_object_clear(d.mdev_defs);
	vdpa_for_each_device(d.ctx, delete_one, names);
	json_array_foreach(names, i, name) devs_delete(&d, json_string_value(name), quiet, NULL);
	json_decref(names);
	dsas_end(&d);
	run_until_rest(nothing_left);
}

size_t harness_text(const char *const *words, const uint8_t *data, size_t size, char *out,
		    size_t max)
{
	size_t nwords = 0, used = 0;

	while (words[nwords])
		nwords++;
	for (size_t i = 0; i < size; i++) {
		const char *word = data[i] < nwords ? words[data[i]] : NULL;
		size_t len = word ? strlen(word) : 1;

		if (used + len > max)
			break;
		memcpy(out + used, word ? word : (const char *)&data[i], len);
		used += len;
	}
	return used;
}
