// SPDX-License-Identifier: BSD-3-Clause
/*
 * The server that protocol tests talk to: one test disk on the vhost-user bus driver, and a
 *line-based command channel on stdin and stdout. Log lines go to stderr.
 *
 *	vu_server [--device blk|net|soft_net] [--queues N] [--workers N] [--file PATH] [--no-config]
 *[--set-map] [--stop-ms N] [--stuck] KEY=VALUE...
 *
 *	vu_server --messages		the table of messages, as docs/vhost-user.md has it
 *
 * KEY=VALUE are the attributes of the binding. Commands, each answered by lines that end with "."
 *or "! error": show, stats, delay US, hold, out, config OFFSET HEX, broken, announced, unbind,
 *bind, quit.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <uvdpa/compat.h>
#include <uvdpa/soft.h>
#include <uvdpa/vhost_user.h>
#include "driver/vhost_user/server.h"
#include "testdisk.h"

#define MAX_ATTRS 16

struct server {
	struct vdpa_ctx *ctx;
	struct testdisk *disk; /* NULL: a NIC of the library's own */
	struct vdpa_device *vdev;
	struct vdpa_attr attrs[MAX_ATTRS + 1];
	struct vdpa_loop_fd in;
	struct vdpa_subscriber sub;
	char line[512];
	size_t len;
	bool unbound, gone;
};

static void log_line(void *arg, enum vdpa_log_level level, const char *object, const char *msg)
{
	fprintf(stderr, "<%d>%s: %s\n", level, object, msg);
}

static void emit(void *arg, const char *key, const char *value)
{
	printf("%s=%s\n", key, value);
}

static void event(struct vdpa_subscriber *sub, const struct vdpa_event *ev)
{
	if (ev->type == VDPA_EVENT_CHANGE)
		fprintf(stderr, "event: %s\n", ev->detail);
}

static void unbound(void *arg, int result)
{
	struct server *s = arg;

	s->unbound = true;
	printf(".\n");
	fflush(stdout);
}

static int do_bind(struct server *s)
{
	struct vdpa_error err = {0};
	int ret = vdpa_bind(s->vdev, "vhost-user", s->attrs, &err);

	if (ret)
		printf("! %d %s: %s\n", -ret, err.object, err.msg);
	s->unbound = ret;
	return ret;
}

static int set_config(struct server *s, const char *args)
{
	uint8_t bytes[64];
	unsigned off = 0, n = 0, byte;
	int used;

	if (sscanf(args, "%u %n", &off, &used) < 1)
		return -EINVAL;
	for (args += used; n < sizeof(bytes) && sscanf(args, "%2x", &byte) == 1; args += 2)
		bytes[n++] = (uint8_t)byte;
	return vdpa_soft_config_set(vdpa_to_soft(s->vdev), off, bytes, n);
}

static void emit_stat(void *arg, const char *name, uint64_t value)
{
	printf("%u/%s=%llu\n", *(unsigned *)arg, name, (unsigned long long)value);
}

static int show_stats(struct server *s)
{
	int ret = 0;

	for (unsigned i = 0; i < s->vdev->nvqs && !ret; i++)
		ret = vdpa_get_vq_stats(s->vdev, (uint16_t)i, emit_stat, &i, NULL);
	return ret;
}

/* Returns 1 when the answer comes later. */
static int command(struct server *s, const char *line)
{
	struct vdpa_device *vdev = s->vdev;
	struct vdpa_done done = {.fn = unbound, .arg = s};
	const struct vdpa_driver *drv = vdpa_device_driver(vdev);

	if (!strcmp(line, "show")) {
		if (drv)
			drv->show(vdev, emit, NULL);
	} else if (!strcmp(line, "stats")) {
		return show_stats(s);
	} else if (!strcmp(line, "quit")) {
		vdpa_loop_stop(vdpa_ctx_control(s->ctx));
	} else if (!s->disk) {
		return -EINVAL;
	} else if (!strncmp(line, "delay ", 6)) {
		testdisk_delay(s->disk, strtoull(line + 6, NULL, 0));
	} else if (!strcmp(line, "hold")) {
		testdisk_delay(s->disk, ~0ull);
	} else if (!strcmp(line, "out")) {
		printf("%u\n", testdisk_out(s->disk));
	} else if (!strncmp(line, "config ", 7)) {
		return set_config(s, line + 7);
	} else if (!strcmp(line, "broken")) {
		vdpa_soft_broken(vdpa_to_soft(vdev), "the test says so");
	} else if (!strcmp(line, "announced")) {
		const uint8_t *m = testdisk_announced(s->disk);

		printf("%02x%02x%02x%02x%02x%02x\n", m[0], m[1], m[2], m[3], m[4], m[5]);
	} else if (!strcmp(line, "unbind")) {
		int ret = vdpa_unbind(vdev, &done);

		return ret ? ret : 1;
	} else if (!strcmp(line, "bind")) {
		return do_bind(s);
	} else {
		return -EINVAL;
	}
	return 0;
}

static void input(struct vdpa_loop_fd *lfd, uint32_t revents)
{
	struct server *s = (struct server *)(void *)((char *)lfd - offsetof(struct server, in));
	ssize_t n = read(lfd->fd, s->line + s->len, sizeof(s->line) - 1 - s->len);
	char *end;

	if (n <= 0) {
		vdpa_loop_stop(vdpa_ctx_control(s->ctx));
		return;
	}
	s->len += (size_t)n;
	s->line[s->len] = '\0';
	while ((end = strchr(s->line, '\n'))) {
		int ret;

		*end = '\0';
		ret = command(s, s->line);
		if (ret < 0)
			printf("! %d\n", -ret);
		if (ret <= 0)
			printf(".\n");
		fflush(stdout);
		s->len -= (size_t)(end + 1 - s->line);
		memmove(s->line, end + 1, s->len + 1);
	}
}

static void gone(void *arg, int result)
{
	*(bool *)arg = true;
}

static int teardown(struct server *s)
{
	struct vdpa_device *vdev = s->vdev;
	struct vdpa_done done = {.fn = gone, .arg = &s->gone};

	vdpa_loop_fd_del(&s->in);
	if (s->disk ? vdpa_unregister_device(vdev, &done) : vdpa_dev_del(vdev, &done, NULL))
		return 1;
	if (vdpa_ctx_wait(s->ctx, &s->gone, 30000000000ll)) {
		fprintf(stderr, "the device does not go away\n");
		return 1;
	}
	vdpa_unsubscribe(s->ctx, &s->sub);
	if (s->disk)
		vdpa_unregister_driver(s->ctx, vhost_user_driver());
	/* What the end of the device posted has to run. */
	for (int i = 0; i < 100 && s->ctx; i++) {
		vdpa_loop_run_once(vdpa_ctx_control(s->ctx), 1000000);
		if (!vdpa_ctx_free(s->ctx))
			s->ctx = NULL;
	}
	return s->ctx ? 1 : 0;
}

static int serve(struct server *s)
{
	if (do_bind(s))
		return 1;
	s->sub.fn = event;
	vdpa_subscribe(s->ctx, &s->sub);
	if (vdpa_loop_fd_add(vdpa_ctx_control(s->ctx), &s->in, STDIN_FILENO, EPOLLIN, input))
		return 1;
	printf("ready %d\n", getpid());
	fflush(stdout);
	return vdpa_loop_run(vdpa_ctx_control(s->ctx)) ? 1 : 0;
}

static void list_messages(void)
{
	static const char *const states[] = {
		[VU_ANY] = "any time",
		[VU_OWNER] = "after SET_OWNER",
		[VU_OWNED] = "after SET_OWNER, no ring started",
	};

	for (uint32_t i = 0; i < VHOST_USER_REQUEST_END; i++) {
		const struct vu_msg_spec *m = vu_msg_spec(i);
		char fds[16], size[16];

		if (!m)
			continue;
		snprintf(size, sizeof(size), m->min == m->max ? "%u" : "%u-%u", m->min, m->max);
		snprintf(fds, sizeof(fds), m->fds_min == m->fds_max ? "%u" : "%u-%u", m->fds_min,
			 m->fds_max);
		printf("| %u | %s | %s | %s | %s%s | %s | %s | %s |\n", i, m->name, size, fds,
		       m->feature == VU_NO_FEATURE ? "" : vu_proto_name((unsigned)m->feature),
		       m->flags & VU_OFFERED ? " (offered)" : "", states[m->states],
		       m->flags & VU_REPLIES ? "own"
		       : m->flags & VU_SOFT  ? "ack, soft"
					     : "ack",
		       m->what);
	}
}

static int parse(struct server *s, int argc, char **argv, struct testdisk_params *p,
		 struct vdpa_ctx_config *config)
{
	static const struct option options[] = {
		{"device", 1, NULL, 'd'},  {"queues", 1, NULL, 'q'},	{"workers", 1, NULL, 'w'},
		{"file", 1, NULL, 'f'},	   {"no-config", 0, NULL, 'n'}, {"set-map", 0, NULL, 's'},
		{"stop-ms", 1, NULL, 't'}, {"stuck", 0, NULL, 'k'},	{NULL, 0, NULL, 0},
	};
	unsigned n = 0;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'd')
			p->device_id = !strcmp(optarg, "net")	     ? VIRTIO_ID_NET
				       : !strcmp(optarg, "soft_net") ? 0
								     : VIRTIO_ID_BLOCK;
		else if (c == 'q')
			p->nvqs = (unsigned)atoi(optarg);
		else if (c == 'w')
			config->workers = (unsigned)atoi(optarg);
		else if (c == 'f')
			p->file = optarg;
		else if (c == 'n')
			p->no_config = true;
		else if (c == 's')
			p->set_map = true;
		else if (c == 't')
			p->stop_ms = (unsigned)atoi(optarg);
		else if (c == 'k')
			p->stuck = true;
		else
			return -EINVAL;
	}
	for (; optind < argc && n < MAX_ATTRS; optind++, n++) {
		char *eq = strchr(argv[optind], '=');

		if (!eq)
			return -EINVAL;
		*eq = '\0';
		s->attrs[n] = (struct vdpa_attr){argv[optind], eq + 1};
	}
	return 0;
}

static int make(struct server *s, const struct testdisk_params *p, struct vdpa_error *err)
{
	struct vdpa_dev_set_config nic = {.mask = VDPA_CFG_NET_MAX_VQP,
					  .net.max_vq_pairs = (uint16_t)(p->nvqs / 2)};
	int ret;

	if (!p->device_id) {
		ret = vdpa_register_builtin(s->ctx);
		if (!ret)
			ret = vdpa_dev_add(vdpa_mgmtdev_find(s->ctx, "soft_net"), "t0", &nic, err);
		if (ret)
			return ret;
		s->vdev = vdpa_find_device(s->ctx, "t0");
		return 0;
	}
	ret = vdpa_register_driver(s->ctx, vhost_user_driver());
	if (!ret)
		ret = testdisk_new(s->ctx, p, &s->disk, err);
	if (!ret)
		s->vdev = testdisk_device(s->disk);
	return ret;
}

int main(int argc, char **argv)
{
	struct testdisk_params params = {.bytes = 1 << 20, .nvqs = 2, .device_id = VIRTIO_ID_BLOCK};
	struct vdpa_ctx_config config = {.size = sizeof(config),
					 .workers = 1,
					 .log = {.fn = log_line, .level = VDPA_LOG_DEBUG}};
	static struct server s;
	struct vdpa_error err = {0};
	int ret;

	signal(SIGPIPE, SIG_IGN);
	if (argc == 2 && !strcmp(argv[1], "--messages")) {
		list_messages();
		return 0;
	}
	if (parse(&s, argc, argv, &params, &config))
		return 2;
	vdpa_sigbus_install();
	if (vdpa_ctx_new(&config, &s.ctx))
		return 1;
	if (make(&s, &params, &err)) {
		fprintf(stderr, "%s\n", err.msg);
		return 1;
	}
	ret = serve(&s);
	return teardown(&s) ? 1 : ret;
}
