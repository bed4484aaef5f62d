// SPDX-License-Identifier: BSD-3-Clause
/*
 * From the doorbell to the completion, one request at a time, by our own driver: a disk behind
 * vfio-user beside one behind vhost-user. Both sides sleep in between, so that what counts is the
 * way of a doorbell to the queue and that of the interrupt back. Short slices of each, in turns.
 *
 *	event	the doorbell over vfio-user is an ioeventfd
 *	post	it is a message without an answer
 *
 *	bench-doorbell [--quick] [--json FILE] VHOST_USER VFIO_USER VFIO_USER_POSTED
 *
 * Each argument is the socket of a disk of its own, since each of them serves one client.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>

#include <uvdpa/vhost_user.h>
#include <uvdpa/virtio.h>

#include "pci_front.h"

#define BYTES 4096u
#define WAIT_NS 5000000000ll

enum way { VHOST_USER, EVENT, POST, WAYS };

struct side {
	struct virtio_device *dev;
	struct virtio_blk *blk;
	struct virtio_blk_request req;
	struct virtqueue_sg sg;
	bool done;
	uint64_t n, ns;
};

static const char *const names[WAYS] = {"vhost-user", "event", "post"};
static struct side sides[WAYS];
static struct vdpa_ctx *ctx;
static uint64_t slice_ns = 50000000;
static unsigned slices = 20;

static void die(const char *what, const char *why)
{
	fprintf(stderr, "bench-doorbell: %s: %s\n", what, why);
	exit(1);
}

static void completed(struct virtio_blk_request *req, int result)
{
	if (result)
		die("request", strerror(-result));
	((struct side *)req->user)->done = true;
}

static void one(struct side *s)
{
	uint64_t began;
	int ret;

	s->done = false;
	began = vdpa_clock_ns();
	ret = virtio_blk_submit(s->blk, 0, &s->req);
	if (ret)
		die("submit", strerror(-ret));
	virtio_blk_kick(s->blk, 0);
	if (vdpa_ctx_wait(ctx, &s->done, WAIT_NS))
		die(virtio_bus_name(s->dev), "no completion");
	s->ns += vdpa_clock_ns() - began;
	s->n++;
}

static void slice(struct side *s)
{
	uint64_t end = vdpa_clock_ns() + slice_ns;

	do {
		one(s);
	} while (vdpa_clock_ns() < end);
}

/* ---- devices ---- */

static int open_vhost_user(const char *path, struct virtio_device **dev, struct vdpa_error *err)
{
	const struct vhost_user_frontend_config front = {
		.size = sizeof(front),
		.path = path,
		.device_id = VIRTIO_ID_BLOCK,
	};

	return vhost_user_frontend_new(ctx, &front, dev, err);
}

static int open_vfio_user(const char *path, bool post, struct virtio_device **dev,
			  struct vdpa_error *err)
{
	const struct pci_front_config front = {.path = path, .post = post, .unserved = true};
	int ret = pci_front_new(ctx, &front, dev, err);

	/* Nothing else than what the row says. */
	if (!ret && pci_front_has_ioeventfd(*dev, 0) == post)
		die(path, post ? "has an ioeventfd" : "gave no ioeventfd");
	return ret;
}

static void open_side(enum way way, const char *path)
{
	struct side *s = &sides[way];
	struct vdpa_error err = {.msg = ""};
	iova_t iova = 0;
	int ret;

	if (way == VHOST_USER)
		ret = open_vhost_user(path, &s->dev, &err);
	else
		ret = open_vfio_user(path, way == POST, &s->dev, &err);
	if (ret)
		die(path, *err.msg ? err.msg : strerror(-ret));
	ret = virtio_wait_attached(s->dev, WAIT_NS);
	if (ret)
		die(path, strerror(-ret));
	s->blk = virtio_blk_of(s->dev);
	if (!s->blk || !virtio_mem_alloc(s->dev, BYTES, &iova))
		die(path, "no disk, or no memory");
	s->sg = (struct virtqueue_sg){iova, BYTES};
	s->req = (struct virtio_blk_request){
		.type = VIRTIO_BLK_T_IN, .sg = &s->sg, .nsg = 1, .done = completed, .user = s};
}

static void ended(void *arg, int result)
{
	(void)result;
	*(bool *)arg = true;
}

static void close_side(enum way way)
{
	bool gone = false;
	struct vdpa_done done = {ended, &gone};

	if (way == VHOST_USER)
		vhost_user_frontend_free(sides[way].dev, &done);
	else
		pci_front_free(sides[way].dev, &done);
	if (vdpa_ctx_wait(ctx, &gone, WAIT_NS))
		die(names[way], "does not end");
}

/* ---- the run ---- */

static void measure(void)
{
	for (unsigned way = 0; way < WAYS; way++) {
		slice(&sides[way]); /* to warm up */
		sides[way].n = sides[way].ns = 0;
	}
	for (unsigned i = 0; i < slices; i++)
		for (unsigned k = 0; k < WAYS; k++)
			slice(&sides[i % 2 ? WAYS - 1 - k : k]);
}

static double us_of(enum way way)
{
	return (double)sides[way].ns / (double)sides[way].n / 1e3;
}

static void report(const char *path)
{
	FILE *json = path ? fopen(path, "we") : NULL;

	if (path && !json)
		die(path, strerror(errno));
	printf("%-10s %10s %10s\n", "", "vfio-user", "vhost-user");
	for (enum way way = EVENT; way < WAYS; way++) {
		printf("%-10s %10.3f %10.3f us\n", names[way], us_of(way), us_of(VHOST_USER));
		if (json)
			fprintf(json, "{\"id\": \"%s\", \"ours\": %.4f, \"peer\": %.4f}\n",
				names[way], us_of(way), us_of(VHOST_USER));
	}
	if (json && fclose(json))
		die(path, strerror(errno));
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"quick", no_argument, NULL, 'q'}, {"json", required_argument, NULL, 'j'}, {0}};
	const char *json = NULL;
	int opt, ret;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == 'q') {
			slice_ns = 10000000;
			slices = 2;
		} else if (opt == 'j') {
			json = optarg;
		} else {
			return 2;
		}
	}
	if (argc - optind != WAYS)
		die("arguments", "the sockets of three disks");
	ret = vdpa_ctx_new(NULL, &ctx);
	if (!ret)
		ret = vdpa_register_builtin(ctx);
	if (ret)
		die("context", strerror(-ret));
	for (enum way way = 0; way < WAYS; way++)
		open_side(way, argv[optind + (int)way]);
	measure();
	for (enum way way = 0; way < WAYS; way++)
		close_side(way);
	report(json);
	while (vdpa_ctx_free(ctx) == -EBUSY)
		vdpa_loop_run_once(vdpa_ctx_control(ctx), 10000000);
	return 0;
}
