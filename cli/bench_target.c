// SPDX-License-Identifier: BSD-3-Clause
/* The device under load: one that is made here and served by a thread of its own, or one behind a
 * socket. */
#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <linux/virtio_ids.h>
#include <uvdpa/vhost_user.h>
#include "bench.h"

#define NAME "bench"
#define ATTACH_NS 5000000000ll
#define END_NS 40000000000ll

/* ---- CPU time ---- */

static double seconds_of(int who)
{
	struct rusage u;

	getrusage(who, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

double bench_driver_cpu(void)
{
	return seconds_of(RUSAGE_THREAD);
}

/* Nanoseconds on a CPU: the first number of schedstat. */
static uint64_t thread_ns(int pid, const char *task)
{
	unsigned long long ns = 0;
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%.16s/schedstat", pid, task);
	f = fopen(path, "re");
	if (!f)
		return 0;
	if (fscanf(f, "%llu", &ns) != 1)
		ns = 0;
	fclose(f);
	return ns;
}

static double process_seconds(int pid)
{
	struct dirent *entry;
	uint64_t ns = 0;
	char path[32];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	if (!dir)
		return -1;
	while ((entry = readdir(dir))) {
		if (*entry->d_name != '.')
			ns += thread_ns(pid, entry->d_name);
	}
	closedir(dir);
	return (double)ns / 1e9;
}

double bench_device_cpu(const struct bench *b)
{
	if (!b->opt->socket)
		return seconds_of(RUSAGE_SELF) - seconds_of(RUSAGE_THREAD);
	return b->peer_pid ? process_seconds(b->peer_pid) : -1;
}

int bench_pin(int cpu, struct vdpa_error *err)
{
	cpu_set_t set;

	if (cpu < 0)
		return 0;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (!sched_setaffinity(0, sizeof(set), &set))
		return 0;
	return vdpa_error_set(err, errno, NULL, "cannot run on CPU %d: %s", cpu, strerror(errno));
}

/* ---- over a socket ---- */

/* Connected here, because the kernel tells who listens there. */
static int connect_to(struct bench *b, struct vdpa_error *err)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct ucred cred = {0};
	socklen_t len = sizeof(cred);
	int fd, ret;

	if (strlen(b->opt->socket) >= sizeof(addr.sun_path))
		return vdpa_error_set(err, ENAMETOOLONG, b->opt->socket,
				      "the path of a socket has at most %zu bytes",
				      sizeof(addr.sun_path) - 1);
	strcpy(addr.sun_path, b->opt->socket);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		ret = vdpa_error_set(err, errno, b->opt->socket, "%s", strerror(errno));
		if (fd >= 0)
			close(fd);
		return ret;
	}
	if (!getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) && cred.pid > 0)
		b->peer_pid = cred.pid;
	return fd;
}

static int open_socket(struct bench *b, struct vdpa_error *err)
{
	struct virtio_options options = {
		.size = sizeof(options),
		.queue_size = (uint32_t)b->opt->queue_size,
		.poll = b->opt->poll,
	};
	struct vhost_user_frontend_config front = {
		.size = sizeof(front),
		.device_id = b->opt->net ? VIRTIO_ID_NET : VIRTIO_ID_BLOCK,
		.queue_size_max = (uint32_t)b->opt->queue_size,
		.options = &options,
	};

	front.fd = connect_to(b, err);
	if (front.fd < 0)
		return front.fd;
	return vhost_user_frontend_new(b->ctx, &front, &b->dev, err);
}

/* ---- in this process ---- */

static int open_here(struct bench *b, struct vdpa_error *err)
{
	const char *parent = b->opt->net ? "soft_net" : "soft_blk";
	struct vdpa_mgmt_dev *mgmt = vdpa_mgmtdev_find(b->ctx, parent);
	struct vdpa_attr bind[3] = {{"mode", b->opt->poll ? "poll" : "callback"}};
	struct vdpa_dev_set_config config = {.attrs = b->opt->attrs};
	char queue_size[24];
	int ret;

	if (!mgmt)
		return vdpa_error_set(err, ENODEV, NULL, "this program was built without %s",
				      parent);
	if (b->opt->queue_size) {
		snprintf(queue_size, sizeof(queue_size), "%llu",
			 (unsigned long long)b->opt->queue_size);
		bind[1] = (struct vdpa_attr){"queue_size", queue_size};
	}
	ret = vdpa_dev_add(mgmt, NAME, &config, err);
	if (ret)
		return ret;
	b->vdev = vdpa_find_device(b->ctx, NAME);
	ret = vdpa_bind(b->vdev, "virtio-vdpa", bind, err);
	if (!ret)
		b->dev = virtio_find(b->ctx, "virtio0"); /* the only one */
	return ret;
}

/* ---- both ---- */

static void print_log(void *arg, enum vdpa_log_level level, const char *object, const char *msg)
{
	(void)arg;
	(void)level;
	fprintf(stderr, "uvdpa: %s%s%s\n", object, *object ? ": " : "", msg);
}

int bench_connect(struct bench *b, struct vdpa_error *err)
{
	struct vdpa_ctx_config config = {
		.size = sizeof(config),
		.workers = b->opt->socket ? 0 : 1,
		.log = {.fn = print_log, .level = VDPA_LOG_WARN},
	};
	/* Threads inherit the CPU that they are made on. */
	int ret = bench_pin(b->opt->device_cpu, err);

	if (!ret)
		ret = vdpa_ctx_new(&config, &b->ctx);
	if (!ret)
		ret = vdpa_register_builtin(b->ctx);
	if (!ret)
		ret = bench_pin(b->opt->cpu, err);
	if (ret)
		return ret;
	/* Else a sleep until the next request is due lasts 50 us longer. */
	prctl(PR_SET_TIMERSLACK, 1);
	b->loop = vdpa_ctx_control(b->ctx);
	ret = b->opt->socket ? open_socket(b, err) : open_here(b, err);
	if (!ret)
		ret = virtio_wait_attached(b->dev, ATTACH_NS);
	return ret;
}

static void ended(void *arg, int result)
{
	(void)result;
	*(bool *)arg = true;
}

void bench_disconnect(struct bench *b)
{
	bool gone = false;
	struct vdpa_done done = {ended, &gone};

	if (!b->ctx)
		return;
	if (b->vdev) {
		if (!vdpa_dev_del(b->vdev, &done, NULL))
			vdpa_ctx_wait(b->ctx, &gone, END_NS);
	} else if (b->dev) {
		vhost_user_frontend_free(b->dev, &done);
		vdpa_ctx_wait(b->ctx, &gone, END_NS);
	}
	/* A device that could not be had is let go by messages. */
	while (b->loop && vdpa_loop_run_once(b->loop, 0) > 0)
		;
	for (int tries = 500; vdpa_ctx_free(b->ctx) == -EBUSY && tries; tries--)
		vdpa_loop_run_once(b->loop, 10000000);
	b->ctx = NULL;
}
