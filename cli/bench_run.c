// SPDX-License-Identifier: BSD-3-Clause
/*
 * A load is open or closed. With a rate, request i is due at its own time, whatever became of those
 * before it, and its latency counts from there: a device that stalls is charged for all who had to
 * wait. Without one, as many as the depth are kept in flight.
 *
 * Waiting is polling, with interrupts off, or sleeping until the device calls or the next request
 * is due.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include "bench.h"

#define WARM_NS 200000000ull
#define SILENCE_NS 2000000000ull
#define LOST_NS 100000000ull

struct pace {
	uint64_t start_ns, n; /* n since start_ns */
	double interval_ns;   /* 0: no rate */
	uint64_t last_ns;     /* when something moved */
};

static uint64_t due_ns(const struct pace *p)
{
	return p->start_ns + (uint64_t)((double)p->n * p->interval_ns);
}

static void submit_due(struct bench *b, struct pace *p)
{
	bool any = false;

	while (b->out < b->opt->depth) {
		uint64_t began = p->interval_ns > 0 ? due_ns(p) : b->now_ns;

		if (began > b->now_ns || b->ops->submit(b, began))
			break;
		p->n++;
		b->out++;
		b->started++;
		any = true;
	}
	if (any)
		b->ops->kick(b);
}

/* Until the loop has something to do, or @until. */
static void sleep_until(struct bench *b, uint64_t until)
{
	struct pollfd fd = {.fd = vdpa_loop_pollfd(b->loop), .events = POLLIN};
	uint64_t ns = until > b->now_ns ? until - b->now_ns : 0;
	struct timespec ts = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};

	if (ns)
		ppoll(&fd, 1, &ts, NULL);
	b->now_ns = vdpa_clock_ns();
	while (vdpa_loop_run_once(b->loop, 0) > 0)
		;
}

static void wait_for_work(struct bench *b, const struct pace *p, uint64_t end)
{
	uint64_t until = end;

	if (b->opt->poll) {
		b->now_ns = vdpa_clock_ns();
		b->ops->poll(b);
		return;
	}
	if (p->interval_ns > 0 && b->out < b->opt->depth && due_ns(p) < until)
		until = due_ns(p);
	if (b->now_ns + LOST_NS < until)
		until = b->now_ns + LOST_NS;
	sleep_until(b, until);
}

/*
 * Packets may be lost, and then a full window would wait for them forever. Requests of a disk may
 * not.
 */
static int check_silence(struct bench *b, const struct pace *p, struct vdpa_error *err)
{
	uint64_t silence = b->now_ns - p->last_ns;

	if (b->opt->net && b->out && silence > LOST_NS) {
		b->lost += b->out;
		b->out = 0;
	}
	if (virtio_is_broken(b->dev))
		return vdpa_error_set(err, EIO, virtio_name(b->dev),
				      "is broken, or its back end is gone");
	if (b->out && silence > SILENCE_NS)
		return vdpa_error_set(err, ETIMEDOUT, virtio_name(b->dev),
				      "nothing comes back for 2 s, and %llu requests are out",
				      (unsigned long long)b->out);
	return 0;
}

static int run_until(struct bench *b, struct pace *p, uint64_t end, struct vdpa_error *err)
{
	unsigned turns = 0;
	int ret = 0;

	while (!ret && b->now_ns < end) {
		uint64_t before = b->out + b->done;

		submit_due(b, p);
		wait_for_work(b, p, end);
		if (b->out + b->done != before)
			p->last_ns = b->now_ns;
		if (!b->opt->poll)
			ret = check_silence(b, p, err);
		else if (!(++turns % 4096)) {
			/* Messages of the session; nothing of the data path is here. */
			vdpa_loop_run_once(b->loop, 0);
			ret = check_silence(b, p, err);
		}
	}
	return ret;
}

/* What is out comes home: an answer that never comes is no result. */
static int drain(struct bench *b, struct vdpa_error *err)
{
	struct pace none = {.last_ns = b->now_ns};
	int ret = 0;

	b->counting = false;
	while (b->out && !ret) {
		uint64_t before = b->out;

		wait_for_work(b, &none, b->now_ns + LOST_NS / 10);
		if (b->out != before)
			none.last_ns = b->now_ns;
		ret = check_silence(b, &none, err);
	}
	return ret;
}

int bench_run(struct bench *b, struct bench_result *result, struct vdpa_error *err)
{
	struct pace pace = {.start_ns = vdpa_clock_ns()};
	double device_cpu, driver_cpu;
	uint64_t began;
	int ret;

	if (b->opt->rate)
		pace.interval_ns = 1e9 / (double)b->opt->rate;
	b->now_ns = pace.last_ns = pace.start_ns;
	ret = run_until(b, &pace, pace.start_ns + WARM_NS, err);
	b->counting = true;
	b->lost = 0;
	device_cpu = bench_device_cpu(b);
	driver_cpu = bench_driver_cpu();
	began = b->now_ns = vdpa_clock_ns();
	if (!ret)
		ret = run_until(b, &pace, began + (uint64_t)(b->opt->seconds * 1e9), err);
	result->seconds = (double)(vdpa_clock_ns() - began) / 1e9;
	result->driver_cpu = bench_driver_cpu() - driver_cpu;
	result->device_cpu = device_cpu < 0 ? -1 : bench_device_cpu(b) - device_cpu;
	result->done = b->done;
	result->failed = b->failed;
	result->lost = b->lost;
	return ret ? ret : drain(b, err);
}
