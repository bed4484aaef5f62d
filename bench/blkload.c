// SPDX-License-Identifier: BSD-3-Clause
/*
 * A load on a disk through libblkio, which is not ours: the same driver for both sides of a
 * comparison. Built inside the test bed's tree, where libblkio is. PATH is a vhost-user socket, or
 * /dev/vhost-vdpa-N.
 *
 *	blkload PATH KEY=VALUE...
 *
 *	mode    poll: blkioq_do_io() in a loop, interrupts off; event: sleep until called
 *	op      read, write
 *	order   random, sequential
 *	bytes   of a request
 *	depth   requests kept in flight
 *	ms      how long to measure; warm_ms before that
 *	least   go on until as many requests are done
 *	span    bytes of the disk that are used, from its beginning
 *	pid     process whose CPU time is reported beside ours (the device's)
 *
 * Prints one line of JSON. Latencies: one look at the clock per turn of the loop stamps what is
 * submitted and what is completed in that turn.
 */
#include <blkio.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "../cli/histogram.h"

#define DEPTH_MAX 1024
#define TIMEOUT_MS 10000

struct load {
	struct blkio *b;
	struct blkioq *q;
	struct blkio_mem_region mem;
	bool poll, write, random, counting;
	uint64_t bytes, depth, ms, warm_ms, least, span, pid;
	uint64_t next, rng;
	uint64_t began[DEPTH_MAX];
	uint64_t turns;
	struct histogram latency;
};

static void must(const char *what, int ret)
{
	if (ret >= 0)
		return;
	fprintf(stderr, "blkload: %s: %s (%s)\n", what, strerror(-ret), blkio_get_error_msg());
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* ---- requests ---- */

static uint64_t next_offset(struct load *l)
{
	uint64_t blocks = l->span / l->bytes;

	if (!l->random) {
		l->next = l->next + 1 < blocks ? l->next + 1 : 0;
		return l->next * l->bytes;
	}
	l->rng ^= l->rng << 13;
	l->rng ^= l->rng >> 7;
	l->rng ^= l->rng << 17;
	return (uint64_t)((unsigned __int128)l->rng * blocks >> 64) * l->bytes;
}

static void submit(struct load *l, uint64_t slot, uint64_t now)
{
	char *buf = (char *)l->mem.addr + slot * l->bytes;
	void *data = (void *)(uintptr_t)slot;

	l->began[slot] = now;
	if (l->write)
		blkioq_write(l->q, next_offset(l), buf, l->bytes, data, 0);
	else
		blkioq_read(l->q, next_offset(l), buf, l->bytes, data, 0);
}

/* Submit what is new, take what is done, and submit as much again with the next call. */
static int turn(struct load *l, uint64_t *now)
{
	static struct blkio_completion done[DEPTH_MAX];
	int n = blkioq_do_io(l->q, done, 0, l->depth, NULL);

	must("do_io", n);
	l->turns++;
	*now = now_ns();
	for (int i = 0; i < n; i++) {
		uint64_t slot = (uintptr_t)done[i].user_data;

		if (done[i].ret) {
			fprintf(stderr, "blkload: a request failed: %s\n", strerror(-done[i].ret));
			exit(1);
		}
		if (l->counting)
			histogram_add(&l->latency, *now - l->began[slot]);
		submit(l, slot, *now);
	}
	return n;
}

static void sleep_on(struct load *l)
{
	struct pollfd p = {.fd = blkioq_get_completion_fd(l->q), .events = POLLIN};
	uint64_t ignored;

	if (poll(&p, 1, TIMEOUT_MS) <= 0) {
		fprintf(stderr, "blkload: no completion in %d ms\n", TIMEOUT_MS);
		exit(1);
	}
	if (read(p.fd, &ignored, sizeof(ignored)) < 0 && errno != EAGAIN) {
		perror("blkload: completion eventfd");
		exit(1);
	}
}

static void run_until(struct load *l, uint64_t end)
{
	uint64_t now = now_ns(), last = now;

	while (now < end || (l->counting && l->latency.count < l->least)) {
		if (turn(l, &now))
			last = now;
		else if (!l->poll)
			sleep_on(l);
		else if (now - last > TIMEOUT_MS * 1000000ull) {
			fprintf(stderr, "blkload: no completion in %d ms\n", TIMEOUT_MS);
			exit(1);
		}
	}
}

/* ---- CPU time ---- */

static double own_cpu(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return u.ru_utime.tv_sec + u.ru_stime.tv_sec +
	       (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* Fields 14 and 15 of /proc/PID/stat; the second one may contain blanks and brackets. */
static double cpu_of(uint64_t pid)
{
	unsigned long user = 0, sys = 0;
	char path[64], text[1024];
	const char *at;
	size_t n;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%llu/stat", (unsigned long long)pid);
	f = pid ? fopen(path, "r") : NULL;
	if (!f)
		return 0;
	n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[n] = '\0';
	at = strrchr(text, ')');
	if (!at || sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
			  &sys) != 2)
		return 0;
	return (double)(user + sys) / sysconf(_SC_CLK_TCK);
}

/* ---- */

static void parse(struct load *l, int argc, char **argv)
{
	static const struct {
		const char *name;
		size_t offset;
	} numbers[] = {
		{"bytes", offsetof(struct load, bytes)},
		{"depth", offsetof(struct load, depth)},
		{"ms", offsetof(struct load, ms)},
		{"warm_ms", offsetof(struct load, warm_ms)},
		{"span", offsetof(struct load, span)},
		{"pid", offsetof(struct load, pid)},
		{"least", offsetof(struct load, least)},
	};

	for (int i = 2; i < argc; i++) {
		const char *value = strchr(argv[i], '=');
		size_t k = 0;

		for (; value && k < sizeof(numbers) / sizeof(numbers[0]); k++) {
			if (!strncmp(argv[i], numbers[k].name, value - argv[i]) &&
			    !numbers[k].name[value - argv[i]])
				break;
		}
		if (value && k < sizeof(numbers) / sizeof(numbers[0])) {
			*(uint64_t *)((char *)l + numbers[k].offset) = strtoull(value + 1, NULL, 0);
		} else if (!strcmp(argv[i], "mode=poll")) {
			l->poll = true;
		} else if (!strcmp(argv[i], "op=write")) {
			l->write = true;
		} else if (!strcmp(argv[i], "order=sequential")) {
			l->random = false;
		} else if (strcmp(argv[i], "mode=event") && strcmp(argv[i], "op=read") &&
			   strcmp(argv[i], "order=random")) {
			fprintf(stderr, "blkload: %s?\n", argv[i]);
			exit(2);
		}
	}
	if (!l->depth || l->depth > DEPTH_MAX || !l->bytes || l->bytes % 512) {
		fprintf(stderr, "blkload: depth 1 to %d, bytes a multiple of 512\n", DEPTH_MAX);
		exit(2);
	}
}

static void connect_to(struct load *l, const char *path)
{
	uint64_t capacity;
	struct stat st;
	bool node = !stat(path, &st) && S_ISCHR(st.st_mode);

	must("create",
	     blkio_create(node ? "virtio-blk-vhost-vdpa" : "virtio-blk-vhost-user", &l->b));
	must("path", blkio_set_str(l->b, "path", path));
	must("connect", blkio_connect(l->b));
	must("start", blkio_start(l->b));
	l->q = blkio_get_queue(l->b, 0);
	must("capacity", blkio_get_uint64(l->b, "capacity", &capacity));
	if (!l->span || l->span > capacity)
		l->span = capacity;
	must("memory", blkio_alloc_mem_region(l->b, &l->mem, l->depth * l->bytes));
	must("memory", blkio_map_mem_region(l->b, &l->mem));
	memset(l->mem.addr, 0x5a, l->mem.len);
	blkioq_set_completion_fd_enabled(l->q, !l->poll);
}

static void print(const struct load *l, double seconds, double driver_cpu, double device_cpu)
{
	const struct histogram *h = &l->latency;

	printf("{\"ops\": %llu, \"seconds\": %.6f, \"iops\": %.1f, \"avg_us\": %.3f, "
	       "\"p50_us\": %.3f, \"p99_us\": %.3f, \"p999_us\": %.3f, \"max_us\": %.3f, "
	       "\"turns\": %llu, \"driver_cpu\": %.4f, \"device_cpu\": %.2f}\n",
	       (unsigned long long)h->count, seconds, h->count / seconds,
	       histogram_mean_ns(h) / 1e3, histogram_percentile_ns(h, 0.5) / 1e3,
	       histogram_percentile_ns(h, 0.99) / 1e3, histogram_percentile_ns(h, 0.999) / 1e3,
	       h->max_ns / 1e3, (unsigned long long)l->turns, driver_cpu, device_cpu);
}

int main(int argc, char **argv)
{
	static struct load l = {
		.random = true,
		.bytes = 4096,
		.depth = 1,
		.ms = 1000,
		.warm_ms = 100,
		.rng = 0x9e3779b97f4a7c15ull,
	};
	double cpu, device_cpu;
	uint64_t began, ns;

	if (argc < 2)
		return fprintf(stderr, "usage: blkload PATH KEY=VALUE...\n"), 2;
	prctl(PR_SET_PDEATHSIG, 9);
	parse(&l, argc, argv);
	connect_to(&l, argv[1]);
	began = now_ns();
	for (uint64_t slot = 0; slot < l.depth; slot++)
		submit(&l, slot, began);
	run_until(&l, began + l.warm_ms * 1000000);
	l.turns = 0;
	l.counting = true;
	cpu = own_cpu();
	device_cpu = cpu_of(l.pid);
	began = now_ns();
	run_until(&l, began + l.ms * 1000000);
	ns = now_ns() - began;
	print(&l, (double)ns / 1e9, own_cpu() - cpu, cpu_of(l.pid) - device_cpu);
	fflush(stdout);
	/* Requests are out: the back end ends them when the connection goes. */
	_exit(0);
}
