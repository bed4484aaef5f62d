// SPDX-License-Identifier: BSD-3-Clause
/* virtio-blk over virtio-vdpa, on a disk that does as it should: each way of mapping, waiting and
 * completing. */
#include "virtio_test.h"

struct mode {
	const char *name;
	unsigned workers;
	bool set_map, async, poll;
	uint64_t ring;
};

#define INDIRECT VDPA_BIT(VIRTIO_RING_F_INDIRECT_DESC)

static const struct mode modes[] = {
	{"plain", 0, false, false, false, 0},
	{"set_map", 0, true, false, false, 0},
	{"async", 0, false, true, false, INDIRECT},
	{"poll", 0, false, false, true, 0},
	{"worker", 1, false, true, false, INDIRECT},
	{"worker set_map", 1, true, true, false, INDIRECT},
	{"worker poll", 1, false, true, true, INDIRECT},
};

struct rig {
	struct vdpa_ctx *ctx;
	struct fake *fake;
	struct virtio_device *dev;
	struct virtio_blk *blk;
};

static struct rig up(const struct mode *mode, const char *queues)
{
	struct vdpa_attr attrs[] = {
		{"mode", mode->poll ? "poll" : "callback"}, {"queues", queues}, {0}};
	struct rig rig = {.ctx = ctx_new(mode->workers)};

	rig.fake = fake_disk_new(rig.ctx, "d0",
				 (struct fake_opts){.set_map = mode->set_map,
						    .async = mode->async,
						    .features = mode->ring});
	rig.dev = fake_bind(rig.fake, attrs);
	assert_non_null(rig.dev);
	fake_until(rig.ctx, (rig.blk = virtio_blk_of(rig.dev)) &&
				    virtio_get_status(rig.dev) & VIRTIO_CONFIG_S_DRIVER_OK);
	return rig;
}

static void down(struct rig *rig)
{
	assert_int_equal(rig->fake->faults, 0);
	fake_unbind(rig->fake);
	assert_int_equal(rig->fake->nmaps, 0);
	assert_int_equal(rig->fake->status, 0);
	fake_del(rig->fake);
	ctx_del(rig->ctx);
}

/* ---- one after the other ---- */

static void check_sync(const struct mode *mode)
{
	static uint8_t out[64 * 512], in[64 * 512];
	struct rig rig = up(mode, "1");
	struct virtio_blk_stats stats;
	char id[21];

	fill_pattern(out, sizeof(out), 3);
	assert_int_equal(virtio_blk_write(rig.blk, 100, out, sizeof(out)), 0);
	assert_memory_equal((char *)rig.fake->disk + 100 * 512, out, sizeof(out));
	assert_int_equal(virtio_blk_flush(rig.blk), 0);
	assert_int_equal(virtio_blk_read(rig.blk, 100, in, sizeof(in)), 0);
	assert_memory_equal(in, out, sizeof(in));
	assert_int_equal(virtio_blk_get_id(rig.blk, id), 0);
	assert_string_equal(id, "fake disk");
	/* More than one request of the device's maximum (64 sectors). */
	assert_int_equal(virtio_blk_discard(rig.blk, 0, 130), 0);
	assert_int_equal(virtio_blk_write_zeroes(rig.blk, 130, 2, true), 0);
	assert_int_equal(virtio_blk_read(rig.blk, 100, in, 32 * 512), 0);
	for (size_t i = 0; i < 32 * 512; i++)
		assert_int_equal(in[i], 0);
	virtio_blk_get_stats(rig.blk, 0, &stats);
	assert_int_equal(stats.reads, 2);
	assert_int_equal(stats.writes, 1);
	assert_int_equal(stats.written_bytes, sizeof(out));
	assert_int_equal(stats.errors, 0);
	assert_true(stats.kicks > 0);
	assert_int_equal(stats.calls > 0, !mode->poll);
	down(&rig);
}

static void test_sync(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(modes); i++)
		check_sync(&modes[i]);
}

/* ---- many at a time ---- */

#define DEPTH 16
#define ROUNDS 20

struct load {
	struct rig *rig;
	unsigned queue, issued, completed, failed;
	struct io {
		struct virtio_blk_request req;
		struct load *load;
		struct virtqueue_sg sg[2];
		uint8_t *mem;
		iova_t iova;
		unsigned n;
	} io[DEPTH];
};

static void load_next(struct load *load, struct io *io);

/* Each slot has its own sectors: it writes, reads back, and compares. */
static void load_done(struct virtio_blk_request *req, int result)
{
	struct io *io = vdpa_container_of(req, struct io, req);
	struct load *load = io->load;
	uint8_t expect[1024];

	fill_pattern(expect, sizeof(expect), io->n / 2);
	load->completed++;
	if (result || memcmp(io->mem, expect, sizeof(expect)))
		load->failed++;
	io->n++;
	if (load->issued < DEPTH * ROUNDS)
		load_next(load, io);
}

static void load_next(struct load *load, struct io *io)
{
	bool write = io->n % 2 == 0;

	memset(io->mem, 0, 1024);
	if (write)
		fill_pattern(io->mem, 1024, io->n / 2);
	io->sg[0] = (struct virtqueue_sg){io->iova, 300};
	io->sg[1] = (struct virtqueue_sg){io->iova + 300, 724};
	io->req = (struct virtio_blk_request){
		.type = write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN,
		.sector = load->queue * 1024 + (unsigned)(io - load->io) * 2,
		.sg = io->sg,
		.nsg = 2,
		.done = load_done,
	};
	load->issued++;
	assert_int_equal(virtio_blk_submit(load->rig->blk, load->queue, &io->req), 0);
}

static void load_start(struct load *load, struct rig *rig, unsigned queue)
{
	*load = (struct load){.rig = rig, .queue = queue};
	for (unsigned i = 0; i < DEPTH; i++) {
		load->io[i].load = load;
		load->io[i].mem = virtio_mem_alloc(rig->dev, 1024, &load->io[i].iova);
		assert_non_null(load->io[i].mem);
	}
	/* Without indirect descriptors 64 entries carry 16 requests of 4 pieces. */
	for (unsigned i = 0; i < DEPTH; i++)
		load_next(load, &load->io[i]);
	virtio_blk_kick(rig->blk, queue);
}

static void check_async(const struct mode *mode)
{
	struct rig rig = up(mode, "8"); /* the disk has 2 */
	struct virtio_blk_info info;
	static struct load load[2];
	unsigned outstanding = 1;

	virtio_blk_get_info(rig.blk, &info);
	assert_int_equal(info.queues, 2);
	for (unsigned q = 0; q < 2; q++)
		load_start(&load[q], &rig, q);
	for (uint64_t end = vdpa_clock_ns() + PATIENCE_NS; outstanding && vdpa_clock_ns() < end;) {
		outstanding = 0;
		for (unsigned q = 0; q < 2; q++) {
			if (mode->poll) {
				virtio_blk_poll(rig.blk, q, 7);
				virtio_blk_kick(rig.blk, q);
			}
			outstanding += virtio_blk_outstanding(rig.blk, q);
		}
		vdpa_loop_run_once(vdpa_ctx_control(rig.ctx), mode->poll ? 0 : 1000000);
	}
	for (unsigned q = 0; q < 2; q++) {
		assert_int_equal(load[q].completed, DEPTH * ROUNDS);
		assert_int_equal(load[q].failed, 0);
		for (unsigned i = 0; i < DEPTH; i++)
			virtio_mem_free(rig.dev, load[q].io[i].mem);
	}
	down(&rig);
}

static void test_async(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(modes); i++)
		check_async(&modes[i]);
}

/* ---- what must not reach the device ---- */

static void unexpected(struct virtio_blk_request *req, int result)
{
	fail();
}

static int try(struct rig *rig, struct virtio_blk_request req)
{
	req.done = unexpected;
	return virtio_blk_submit(rig->blk, req.nsg > 100 ? 7 : 0, &req);
}

static void test_refused(void **state)
{
	struct rig rig = up(&modes[0], "1");
	struct virtqueue_sg sg[20], odd = {0x200000, 100}, none = {0x200000, 0};
	uint64_t disk = 2048;

	for (size_t i = 0; i < ARRAY_LEN(sg); i++)
		sg[i] = (struct virtqueue_sg){0x200000 + i * 512, 512};
#define REQ(...) (struct virtio_blk_request){__VA_ARGS__}
	assert_int_equal(try(&rig, REQ(VIRTIO_BLK_T_IN, .sector = disk, .sg = sg, .nsg = 1)),
			 -EINVAL);
	assert_int_equal(try(&rig, REQ(VIRTIO_BLK_T_IN, .sector = disk - 1, .sg = sg, .nsg = 2)),
			 -EINVAL);
	assert_int_equal(try(&rig, REQ(VIRTIO_BLK_T_OUT, .sector = UINT64_MAX, .sg = sg, .nsg = 2)),
			 -EINVAL);
	assert_int_equal(try(&rig, REQ(VIRTIO_BLK_T_IN, .sg = sg, .nsg = 17)), -EINVAL);
	assert_int_equal(try(&rig, REQ(VIRTIO_BLK_T_IN, .sg = sg, .nsg = 0)), -EINVAL);
	assert_int_equal(try(&rig, REQ(VIRTIO_BLK_T_IN, .sg = &odd, .nsg = 1)), -EINVAL);
	assert_int_equal(try(&rig, REQ(VIRTIO_BLK_T_IN, .sg = &none, .nsg = 1)), -EINVAL);
	assert_int_equal(try(&rig, REQ(VIRTIO_BLK_T_GET_ID, .sg = sg, .nsg = 1)), -EINVAL);
	assert_int_equal(try(&rig, REQ(VIRTIO_BLK_T_DISCARD, .nsectors = 65)), -EINVAL);
	assert_int_equal(try(&rig, REQ(VIRTIO_BLK_T_DISCARD, .nsectors = 0)), -EINVAL);
	assert_int_equal(try(&rig, REQ(VIRTIO_BLK_T_WRITE_ZEROES, .sector = disk, .nsectors = 1)),
			 -EINVAL);
	assert_int_equal(try(&rig, REQ(99)), -EINVAL);
	assert_int_equal(try(&rig, REQ(VIRTIO_BLK_T_IN, .sg = sg, .nsg = 101)),
			 -EINVAL); /* queue 7 */
	assert_int_equal(virtio_blk_set_writeback(rig.blk, true), -EOPNOTSUPP);
	assert_int_equal(virtio_blk_write(rig.blk, 0, sg, 100), -EINVAL);
	down(&rig);
}

static void test_read_only(void **state)
{
	struct vdpa_ctx *ctx = ctx_new(0);
	struct fake *fake =
		fake_disk_new(ctx, "d0", (struct fake_opts){.features = VDPA_BIT(VIRTIO_BLK_F_RO)});
	struct virtio_device *dev = fake_bind(fake, NULL);
	uint8_t sector[512];

	assert_int_equal(virtio_blk_write(virtio_blk_of(dev), 0, sector, 512), -EROFS);
	assert_int_equal(virtio_blk_discard(virtio_blk_of(dev), 0, 1), -EROFS);
	assert_int_equal(virtio_blk_read(virtio_blk_of(dev), 0, sector, 512), 0);
	fake_unbind(fake);
	fake_del(fake);
	ctx_del(ctx);
}

/* The queue is full: -ENOSPC, and the sync helper waits for room. */
static int64_t hold(struct fake *dev, struct fake_vq *vq, struct fake_req *req)
{
	return -1;
}

static void count_down(struct virtio_blk_request *req, int result)
{
	assert_int_equal(result, -EIO);
	--*(unsigned *)req->user;
}

static void test_full_then_unbind(void **state)
{
	struct rig rig = up(&modes[4], "1"); /* worker, indirect: 64 requests */
	static struct virtio_blk_request reqs[65];
	unsigned left = 64;

	rig.fake->handle = hold;
	for (unsigned i = 0; i < 65; i++) {
		reqs[i] = REQ(VIRTIO_BLK_T_FLUSH, .done = count_down, .user = &left);
		assert_int_equal(virtio_blk_submit(rig.blk, 0, &reqs[i]), i < 64 ? 0 : -ENOSPC);
	}
	virtio_blk_kick(rig.blk, 0);
	/* Unbinding gives them back, all of them, once. */
	down(&rig);
	assert_int_equal(left, 0);
}

/* ---- configuration ---- */

static void note_change(void *arg)
{
	++*(unsigned *)arg;
}

static void test_resize(void **state)
{
	struct rig rig = up(&modes[0], "1");
	struct virtio_blk_info info;
	uint64_t capacity = 4096;
	unsigned changes = 0;

	virtio_blk_on_change(rig.blk, note_change, &changes);
	memcpy(rig.fake->config, &capacity, sizeof(capacity));
	rig.fake->generation++;
	rig.fake->config_cb.callback(rig.fake->config_cb.priv);
	fake_until(rig.ctx, changes == 1);
	virtio_blk_get_info(rig.blk, &info);
	assert_int_equal(info.capacity_sectors, 4096);
	down(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sync),
		cmocka_unit_test(test_async),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_read_only),
		cmocka_unit_test(test_full_then_unbind),
		cmocka_unit_test(test_resize),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
