// SPDX-License-Identifier: BSD-3-Clause
/*
 * Drives the device of rng_device.c by hand, through what a bus driver uses: adds it, maps memory,
 * negotiates, sets one queue up, asks for random bytes, deletes it. Everything on one thread; exit
 * status 0 when all of it worked.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uvdpa/compat.h>
#include <uvdpa/vdpa.h>
#include <uvdpa/virtqueue.h>
#include "rng_device.h"

#define IOVA 0x100000000ull
#define RING_BYTES 16384u
#define BUF_BYTES 4096u
#define SECOND 1000000000ll

static uint8_t memory[RING_BYTES + BUF_BYTES] __attribute__((aligned(4096)));
static bool called, gone;

static void check(int r, const char *what, const struct vdpa_error *err)
{
	if (!r)
		return;
	fprintf(stderr, "%s: %s%s%s\n", what, strerror(-r), err && err->msg[0] ? ": " : "",
		err ? err->msg : "");
	exit(1);
}

static void on_call(void *priv)
{
	called = true;
}

static void on_deleted(void *arg, int result)
{
	gone = true;
}

/* virtio 1.3, section 3.1.1: the order in which a driver starts a device. */
static void start(struct vdpa_device *dev, struct virtqueue **vq)
{
	const uint64_t features = VDPA_BIT(VIRTIO_F_VERSION_1) | VDPA_BIT(VIRTIO_F_ACCESS_PLATFORM);
	struct virtqueue_config config = {
		.size = sizeof(config),
		.num = 16,
		.features = features,
		.mem = memory,
		.mem_iova = IOVA,
	};
	struct vdpa_callback cb = {on_call, NULL, -1};
	uint8_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;
	iova_t desc, driver, device;

	check(vdpa_set_status(dev, status), "DRIVER", NULL);
	check(vdpa_set_features(dev, features), "features", NULL);
	status |= VIRTIO_CONFIG_S_FEATURES_OK;
	check(vdpa_set_status(dev, status), "FEATURES_OK", NULL);
	check(vdpa_get_status(dev) == status ? 0 : -22, "the device refused the features", NULL);
	check(virtqueue_new(&config, vq), "ring", NULL);
	virtqueue_addrs(*vq, &desc, &driver, &device);
	check(vdpa_set_vq_num(dev, 0, config.num), "ring size", NULL);
	check(vdpa_set_vq_address(dev, 0, desc, driver, device), "ring address", NULL);
	check(vdpa_set_vq_cb(dev, 0, &cb), "callback", NULL);
	check(vdpa_set_vq_ready(dev, 0), "ready", NULL);
	check(vdpa_set_status(dev, status | VIRTIO_CONFIG_S_DRIVER_OK), "DRIVER_OK", NULL);
}

/* One buffer in two pieces; returns how many bytes the device says it wrote. */
static uint32_t ask(struct vdpa_ctx *ctx, struct vdpa_device *dev, struct virtqueue *vq)
{
	const struct virtqueue_sg sg[2] = {{IOVA + RING_BYTES, 1000},
					   {IOVA + RING_BYTES + 1000, BUF_BYTES - 1000}};
	uint32_t len = 0;

	called = false;
	check(virtqueue_add(vq, sg, 0, 2, memory), "request", NULL);
	if (virtqueue_publish(vq))
		check(vdpa_kick_vq(dev, 0), "kick", NULL);
	check(vdpa_ctx_wait(ctx, &called, SECOND), "no answer", NULL);
	check(virtqueue_get(vq, &len) == memory ? 0 : -5, "no completion", NULL);
	return len;
}

int main(void)
{
	struct vdpa_attr attrs[] = {{"max_bytes", "4000"}, {0}};
	struct vdpa_dev_set_config config = {.attrs = attrs};
	struct vdpa_error err = {.msg = ""};
	struct vdpa_region *region;
	struct vdpa_device *dev;
	struct virtqueue *vq;
	struct vdpa_ctx *ctx;
	unsigned zeroes = 0;
	uint32_t len;

	check(vdpa_ctx_new(NULL, &ctx), "context", NULL);
	check(rng_register(ctx), "register", NULL);
	check(vdpa_dev_add(vdpa_mgmtdev_find(ctx, "example_rng"), "r0", &config, &err), "add",
	      &err);
	dev = vdpa_find_device(ctx, "r0");
	check(vdpa_region_wrap(memory, sizeof(memory), 0, &region), "region", NULL);
	check(vdpa_dma_map(dev, 0, IOVA, sizeof(memory), vdpa_region_addr(region, 0), VHOST_MAP_RW,
			   region),
	      "map", NULL);
	start(dev, &vq);
	len = ask(ctx, dev, vq);
	for (uint32_t i = 0; i < len; i++)
		zeroes += !memory[RING_BYTES + i];
	printf("%u random bytes, %u of them zero\n", len, zeroes);
	check(vdpa_dev_del(dev, &(struct vdpa_done){on_deleted, NULL}, &err), "delete", &err);
	check(vdpa_ctx_wait(ctx, &gone, SECOND), "deletion", NULL);
	virtqueue_free(vq);
	vdpa_region_put(region);
	check(vdpa_ctx_free(ctx), "end", NULL);
	return len == 4000 && zeroes < 200 ? 0 : 1;
}
