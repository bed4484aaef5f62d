/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * "uvdpa bench": a load on one device from our own drivers, in this process or over a vhost-user
 * socket.
 *
 * cmd_bench.c      words, and what is printed
 * bench_target.c   the device, and CPU time of both sides
 * bench_run.c      when the next request is due, and waiting for it
 * bench_blk.c, bench_net.c   requests and packets
 */
#ifndef CLI_BENCH_H
#define CLI_BENCH_H

#include <uvdpa/virtio.h>
#include "cli.h"
#include "histogram.h"

#define BENCH_ATTRS_MAX 32
#define BENCH_DEPTH_MAX 32768u

enum bench_what {
	BENCH_READ,
	BENCH_WRITE,
	BENCH_LOOP,    /* what is sent comes back */
	BENCH_SEND,    /* the device takes what is sent */
	BENCH_RECEIVE, /* the device sends by itself */
};

struct bench_options {
	bool net, json, poll, sequential;
	enum bench_what what;
	const char *socket, *backend; /* one of them */
	struct vdpa_attr attrs[BENCH_ATTRS_MAX + 1];
	unsigned nattrs;
	uint64_t size, depth, rate, queue_size;
	double seconds;
	int cpu, device_cpu; /* -1: any */
};

struct bench;

struct bench_ops {
	int (*open)(struct bench *b, struct vdpa_error *err);
	/* One more, shown to the device with the next kick(). -ENOSPC: no room, later. */
	int (*submit)(struct bench *b, uint64_t began_ns);
	void (*kick)(struct bench *b);
	void (*poll)(struct bench *b);
	void (*close)(struct bench *b); /* after bench_disconnect(); also what open() left */
};

extern const struct bench_ops bench_blk_ops, bench_net_ops;

struct bench {
	const struct bench_options *opt;
	const struct bench_ops *ops;
	void *priv; /* of ops */
	struct vdpa_ctx *ctx;
	struct vdpa_loop *loop; /* control loop: this thread's */
	struct vdpa_device *vdev;
	struct virtio_device *dev;
	int peer_pid;	 /* with a socket, 0: not known */
	uint64_t now_ns; /* of this turn */
	uint64_t started, out, done, failed, lost;
	bool counting;
	struct histogram latency;
};

struct bench_result {
	double seconds, device_cpu, driver_cpu; /* device_cpu < 0: not known */
	uint64_t done, failed, lost;
};

/* ---- bench_target.c ---- */

int bench_connect(struct bench *b, struct vdpa_error *err);
void bench_disconnect(struct bench *b);
/* CPU seconds until now. */
double bench_driver_cpu(void);
double bench_device_cpu(const struct bench *b);
int bench_pin(int cpu, struct vdpa_error *err);

/* ---- bench_run.c ---- */

int bench_run(struct bench *b, struct bench_result *result, struct vdpa_error *err);

/* One request or packet is done; @began_ns: when it was submitted, or due. */
static inline void bench_done(struct bench *b, uint64_t began_ns, bool good)
{
	if (b->out)
		b->out--;
	if (!b->counting)
		return;
	b->done++;
	b->failed += !good;
	histogram_add(&b->latency, b->now_ns > began_ns ? b->now_ns - began_ns : 0);
}

#endif
