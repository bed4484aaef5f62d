// SPDX-License-Identifier: BSD-3-Clause
/*
 * NIC operations: packets of our own kind (an Ethernet type for local experiments, IEEE 802) go to
 * the NIC's own address, and are checked when they come back. One job at a time per NIC, since a
 * NIC has one receiver.
 *
 * A job has no request that brings the news when its device goes away; it looks before each use.
 */
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/list.h"
#include "ctl/drv_impl.h"
#include "ctl/json.h"

#define ETHERTYPE_LOCAL 0x88b5
#define MAGIC 0x75766470u
#define WINDOW 64
#define FRAME_MIN 60
#define FRAME_MAX 1514
#define QUIET_NS 2000000000ull

struct probe {
	uint8_t dst[6], src[6];
	uint16_t type;
	uint32_t magic, job;
	uint64_t seq, time_ns;
} __attribute__((packed));

struct drv_reply {
	drv_done_fn done;
	void *arg;
};

struct net_job {
	struct vdpa_ctx *ctx;
	struct virtio_device *dev;
	struct virtio_net *net;
	char name[32];
	uint8_t mac[6];
	uint32_t id;
	uint64_t count, sent, received, bad;
	uint64_t min_ns, max_ns, sum_ns, started_ns, last_ns;
	unsigned window;
	size_t size;
	uint8_t *frame;
	bool posted;
	struct vdpa_loop_msg step;
	struct vdpa_loop_timer timer;
	struct drv_poll poll;
	drv_done_fn done;
	void *arg;
};

static bool job_alive(const struct net_job *job)
{
	return drv_alive(job->ctx, job->name, job->dev) && virtio_net_of(job->dev) == job->net;
}

static json_t *job_result(const struct net_job *job)
{
	uint64_t ns = job->last_ns - job->started_ns;

	return json_pack(
		"{s:o, s:o, s:o, s:i, s:o, s:o, s:o, s:o, s:o}", "sent", ctl_json_u64(job->sent),
		"received", ctl_json_u64(job->received), "bad", ctl_json_u64(job->bad), "size",
		(int)job->size, "min_ns", ctl_json_u64(job->received ? job->min_ns : 0), "avg_ns",
		ctl_json_u64(job->received ? job->sum_ns / job->received : 0), "max_ns",
		ctl_json_u64(job->max_ns), "time_ns", ctl_json_u64(ns), "packets_per_s",
		ctl_json_u64(ns ? (uint64_t)((double)job->received * 1e9 / (double)ns) : 0));
}

static void job_end(struct net_job *job, int ret, const char *why)
{
	struct vdpa_error err = {0};

	vdpa_loop_timer_cancel(&job->timer);
	drv_poll_stop(&job->poll);
	if (job_alive(job)) {
		virtio_net_on_receive(job->net, NULL, NULL);
		virtio_net_on_room(job->net, NULL, NULL);
	}
	if (ret)
		vdpa_error_set(&err, -ret, job->name, "%s", why);
	job->done(job->arg, ret, ret ? NULL : job_result(job), ret ? &err : NULL);
	free(job->frame);
	free(job);
}

/* End as failed; what came back and what did not is part of the message. */
static void job_fail(struct net_job *job, int ret)
{
	const char *what = job->received ? "packets were lost"
					 : "nothing comes back: is its backend a loopback?";
	char text[160];

	if (!job_alive(job)) {
		ret = -ENODEV;
		what = "went away";
	} else if (virtio_is_broken(job->dev)) {
		ret = -EIO;
		what = "is broken, or its back end is gone";
	} else if (ret != -ETIMEDOUT) {
		what = strerror(-ret);
	} else if (job->received) {
		ret = -EIO;
	}
	snprintf(text, sizeof(text),
		 "%s: %" PRIu64 " of %" PRIu64 " packets sent, %" PRIu64 " received, %" PRIu64
		 " bad",
		 what, job->sent, job->count, job->received, job->bad);
	job_end(job, ret, text);
}

static void job_watch(struct net_job *job);

/* Quiet for too long: what was sent and has not come back by now is lost. */
static void job_timeout(struct vdpa_loop_timer *timer)
{
	struct net_job *job = vdpa_container_of(timer, struct net_job, timer);

	if (job->posted)
		job_watch(job); /* job_step() is about to look */
	else
		job_fail(job, -ETIMEDOUT);
}

static void job_watch(struct net_job *job)
{
	vdpa_loop_timer_set(vdpa_ctx_control(job->ctx), &job->timer, vdpa_clock_ns() + QUIET_NS,
			    job_timeout);
}

static uint8_t filler(uint64_t seq, size_t i)
{
	return (uint8_t)(seq * 31 + i);
}

static int send_one(struct net_job *job)
{
	struct probe p = {
		.type = htobe16(ETHERTYPE_LOCAL),
		.magic = htobe32(MAGIC),
		.job = job->id,
		.seq = job->sent,
		.time_ns = vdpa_clock_ns(),
	};
	struct iovec iov = {.iov_base = job->frame, .iov_len = job->size};
	int ret;

	memcpy(p.dst, job->mac, 6);
	memcpy(p.src, job->mac, 6);
	memcpy(job->frame, &p, sizeof(p));
	for (size_t i = sizeof(p); i < job->size; i++)
		job->frame[i] = filler(job->sent, i);
	ret = virtio_net_send(job->net, 0, &iov, 1, NULL);
	if (!ret)
		job->sent++;
	return ret;
}

/* Keep the window full; what finds no room is sent by has_room(). 0, or an error that ends the job.
 */
static int send_more(struct net_job *job)
{
	uint64_t before = job->sent;
	int ret = 0;

	while (!ret && job->sent < job->count && job->sent - job->received < job->window)
		ret = send_one(job);
	if (job->sent != before)
		virtio_net_kick(job->net, 0);
	return ret == -ENOSPC ? 0 : ret;
}

static bool frame_good(const struct net_job *job, const uint8_t *frame, size_t len, struct probe *p)
{
	if (len < sizeof(*p))
		return false;
	memcpy(p, frame, sizeof(*p));
	if (p->magic != htobe32(MAGIC) || p->job != job->id || len != job->size ||
	    memcmp(p->dst, job->mac, 6))
		return false;
	for (size_t i = sizeof(*p); i < len; i++) {
		if (frame[i] != filler(p->seq, i))
			return false;
	}
	return true;
}

static void count_one(struct net_job *job, const struct probe *p)
{
	uint64_t now = vdpa_clock_ns(), rtt = now - p->time_ns;

	job->received++;
	job->last_ns = now;
	job->sum_ns += rtt;
	if (rtt < job->min_ns)
		job->min_ns = rtt;
	if (rtt > job->max_ns)
		job->max_ns = rtt;
}

/* After a batch of packets: go on, or end. Not from inside the receiver, whose hook the end takes
 * away. */
static void job_step(struct vdpa_loop_msg *msg)
{
	struct net_job *job = vdpa_container_of(msg, struct net_job, step);
	int ret;

	job->posted = false;
	ret = job_alive(job) ? send_more(job) : -ENODEV;
	if (ret)
		job_fail(job, ret);
	else if (job->received >= job->count)
		job_end(job, 0, NULL);
}

static void job_post(struct net_job *job)
{
	if (job->posted)
		return;
	job->posted = true;
	vdpa_loop_post(vdpa_ctx_control(job->ctx), &job->step, job_step);
}

/* The packet lies in memory that the device can still change: copy once, check the copy. */
static void received(void *arg, unsigned pair, const struct virtio_net_packet *pkt)
{
	struct net_job *job = arg;
	struct probe p;
	uint8_t copy[FRAME_MAX];
	size_t len = 0;

	(void)pair;
	for (unsigned i = 0; i < pkt->niov && len + pkt->iov[i].iov_len <= sizeof(copy); i++) {
		memcpy(copy + len, pkt->iov[i].iov_base, pkt->iov[i].iov_len);
		len += pkt->iov[i].iov_len;
	}
	if (!frame_good(job, copy, len, &p)) {
		job->bad++;
		return;
	}
	count_one(job, &p);
	job_watch(job);
	job_post(job);
}

static void has_room(void *arg, unsigned pair)
{
	(void)pair;
	job_post(arg);
}

static struct net_job *job_new(struct virtio_device *dev, const json_t *params, drv_done_fn done,
			       void *arg)
{
	static uint32_t last_id;
	struct net_job *job = calloc(1, sizeof(*job));

	if (!job)
		return NULL;
	job->size = (size_t)ctl_get_int(params, "size", FRAME_MIN);
	job->frame = malloc(job->size);
	if (!job->frame) {
		free(job);
		return NULL;
	}
	job->ctx = virtio_get_ctx(dev);
	job->dev = dev;
	job->net = virtio_net_of(dev);
	job->id = ++last_id;
	job->min_ns = UINT64_MAX;
	job->done = done;
	job->arg = arg;
	snprintf(job->name, sizeof(job->name), "%s", virtio_name(dev));
	return job;
}

static void job_start(struct net_job *job)
{
	struct virtio_net_info info;

	virtio_net_get_info(job->net, &info);
	memset(job->mac, 0xff, sizeof(job->mac));
	if (info.has_mac)
		memcpy(job->mac, info.mac, sizeof(job->mac));
	if (job->size > info.max_frame) {
		job_end(job, -EMSGSIZE, "the NIC takes no frames of this size");
		return;
	}
	virtio_net_on_receive(job->net, received, job);
	virtio_net_on_room(job->net, has_room, job);
	job->started_ns = job->last_ns = vdpa_clock_ns();
	drv_poll_start(&job->poll, job->dev);
	job_watch(job);
	job_post(job);
}

static void run(struct virtio_device *dev, const json_t *params, unsigned window, json_int_t count,
		struct drv_reply reply)
{
	struct net_job *job;

	if (!virtio_net_of(dev)) {
		drv_fail(dev, reply.done, reply.arg, -ENODEV,
			 "is not a NIC, or its driver is not attached");
		return;
	}
	job = job_new(dev, params, reply.done, reply.arg);
	if (!job) {
		drv_fail(dev, reply.done, reply.arg, -ENOMEM, "out of memory");
		return;
	}
	job->count = (uint64_t)ctl_get_int(params, "count", count);
	job->window = window;
	job_start(job);
}

void drv_net_ping(struct virtio_device *dev, const json_t *params, drv_done_fn done, void *arg)
{
	run(dev, params, 1, 5, (struct drv_reply){done, arg});
}

void drv_net_pktgen(struct virtio_device *dev, const json_t *params, drv_done_fn done, void *arg)
{
	run(dev, params, WINDOW, 1000, (struct drv_reply){done, arg});
}

void drv_net_info(struct virtio_device *dev, const json_t *params, drv_done_fn done, void *arg)
{
	struct virtio_net *net = virtio_net_of(dev);
	struct virtio_net_info i;
	struct virtio_net_stats s;

	(void)params;
	if (!net) {
		drv_fail(dev, done, arg, -ENODEV, "is not a NIC, or its driver is not attached");
		return;
	}
	virtio_net_get_info(net, &i);
	virtio_net_get_stats(net, 0, &s);
	done(arg, 0,
	     json_pack("{s:o, s:b, s:i, s:i, s:I, s:b, s:o, s:o, s:o, s:o, s:o, s:o}", "mac",
		       json_sprintf("%02x:%02x:%02x:%02x:%02x:%02x", i.mac[0], i.mac[1], i.mac[2],
				    i.mac[3], i.mac[4], i.mac[5]),
		       "link_up", i.link_up, "mtu", (int)i.mtu, "pairs", (int)i.pairs, "queue_size",
		       (json_int_t)i.queue_size, "mergeable", i.mergeable, "rx_packets",
		       ctl_json_u64(s.rx_packets), "rx_bytes", ctl_json_u64(s.rx_bytes),
		       "rx_errors", ctl_json_u64(s.rx_errors), "rx_dropped",
		       ctl_json_u64(s.rx_dropped), "tx_packets", ctl_json_u64(s.tx_packets),
		       "tx_bytes", ctl_json_u64(s.tx_bytes)),
	     NULL);
}

#define COUNT(text)                                                                                \
	{                                                                                          \
		.name = "count", .type = CTL_INT, .min = 1, .max = 1000000000, .help = text        \
	}
#define SIZE                                                                                       \
	{                                                                                          \
		.name = "size", .type = CTL_INT, .min = FRAME_MIN, .max = FRAME_MAX,               \
		.help = "of a frame, 60"                                                           \
	}

const struct ctl_param drv_ping_params[] = {COUNT("packets, 5"), SIZE, {.name = NULL}};
const struct ctl_param drv_pktgen_params[] = {COUNT("packets, 1000"), SIZE, {.name = NULL}};
