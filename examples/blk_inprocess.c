// SPDX-License-Identifier: BSD-3-Clause
/*
 * A disk and its driver in one process: adds a software disk, binds it to virtio-vdpa, and uses it
 * in two ways: one request after the other with the simple calls, and many at a time with
 * completions. One thread, no daemon.
 */
#include <linux/virtio_blk.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uvdpa/vdpa.h>
#include <uvdpa/virtio.h>

#define SECOND 1000000000ll
#define DEPTH 32
#define BLOCK 4096u
#define TOTAL 10000u

struct io {
	struct virtio_blk_request req;
	struct virtqueue_sg sg;
	struct load *load;
};

struct load {
	struct virtio_blk *blk;
	unsigned started, ended, failed;
	bool done;
	struct io io[DEPTH];
};

static void check(int r, const char *what, const struct vdpa_error *err)
{
	if (!r)
		return;
	fprintf(stderr, "%s: %s%s%s\n", what, strerror(-r), err && err->msg[0] ? ": " : "",
		err ? err->msg : "");
	exit(1);
}

static void on_gone(void *arg, int result)
{
	*(bool *)arg = true;
}

static void next(struct io *io);

/* On the control loop; may submit again. What is submitted here is kicked once, after the batch. */
static void on_done(struct virtio_blk_request *req, int result)
{
	struct load *load = req->user;

	load->ended++;
	load->failed += result != 0;
	load->done = load->ended == TOTAL;
	if (load->started < TOTAL)
		next((struct io *)(void *)req);
}

static void next(struct io *io)
{
	struct load *load = io->load;

	io->req = (struct virtio_blk_request){
		.type = load->started % 2 ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT,
		.sector = load->started % 1024 * (BLOCK / VIRTIO_BLK_SECTOR_BYTES),
		.sg = &io->sg,
		.nsg = 1,
		.done = on_done,
		.user = load,
	};
	load->started++;
	check(virtio_blk_submit(load->blk, 0, &io->req), "submit", NULL);
}

static void many(struct virtio_device *dev)
{
	static struct load load;
	uint64_t start = vdpa_clock_ns();

	load.blk = virtio_blk_of(dev);
	for (unsigned i = 0; i < DEPTH; i++) {
		/* The device reaches only what was mapped for it. */
		if (!virtio_mem_alloc(dev, BLOCK, &load.io[i].sg.addr))
			check(-12, "buffer", NULL);
		load.io[i].sg.len = BLOCK;
		load.io[i].load = &load;
		next(&load.io[i]);
	}
	virtio_blk_kick(load.blk, 0);
	check(virtio_wait(dev, &load.done, 60 * SECOND), "completions", NULL);
	check(load.failed ? -5 : 0, "requests", NULL);
	printf("%u requests of %u bytes, %u at a time: %.0f per second\n", TOTAL, BLOCK, DEPTH,
	       TOTAL * 1e9 / (double)(vdpa_clock_ns() - start));
}

static void simple(struct virtio_blk *blk)
{
	char out[BLOCK] = "written in process", in[BLOCK];
	struct virtio_blk_info info;

	virtio_blk_get_info(blk, &info);
	printf("%llu sectors, %u queue(s) of %u\n", (unsigned long long)info.capacity_sectors,
	       info.queues, info.queue_size);
	check(virtio_blk_write(blk, 8, out, sizeof(out)), "write", NULL);
	if (info.flush)
		check(virtio_blk_flush(blk), "flush", NULL);
	check(virtio_blk_read(blk, 8, in, sizeof(in)), "read", NULL);
	check(memcmp(in, out, sizeof(in)) ? -5 : 0, "what was read back", NULL);
	printf("read back: %s\n", in);
}

int main(void)
{
	struct vdpa_attr attrs[] = {{"backend", "ram"}, {"size", "16M"}, {0}};
	struct vdpa_dev_set_config config = {.attrs = attrs};
	struct vdpa_error err = {0};
	struct virtio_device *dev;
	struct vdpa_device *disk;
	struct vdpa_ctx *ctx;
	bool unbound = false, deleted = false;

	check(vdpa_ctx_new(NULL, &ctx), "context", NULL);
	check(vdpa_register_builtin(ctx), "built-in drivers", NULL);
	check(vdpa_dev_add(vdpa_mgmtdev_find(ctx, "soft_blk"), "d0", &config, &err), "add", &err);
	disk = vdpa_find_device(ctx, "d0");
	check(vdpa_bind(disk, "virtio-vdpa", NULL, &err), "bind", &err);
	dev = virtio_vdpa_device(disk);
	printf("%s is %s, driven by %s\n", virtio_bus_name(dev), virtio_name(dev),
	       virtio_driver_name(dev));
	simple(virtio_blk_of(dev));
	many(dev);

	check(vdpa_unbind(disk, &(struct vdpa_done){on_gone, &unbound}), "unbind", NULL);
	check(vdpa_ctx_wait(ctx, &unbound, 10 * SECOND), "unbind", NULL);
	check(vdpa_dev_del(disk, &(struct vdpa_done){on_gone, &deleted}, &err), "delete", &err);
	check(vdpa_ctx_wait(ctx, &deleted, 10 * SECOND), "delete", NULL);
	check(vdpa_ctx_free(ctx), "free", NULL);
	return 0;
}
