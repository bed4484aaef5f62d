// SPDX-License-Identifier: BSD-3-Clause
/*
 * The same drivers over every transport, on the software disk and NIC: in process, and through the
 * vhost-user socket of a back end in another process. One suite, one table.
 */
#include "driver/vhost_user/protocol.h"
#include "vhost_user_back.h"

struct transport {
	const char *name;
	bool vhost_user;
	unsigned workers;
	bool poll;
	const char *map; /* of a vDPA device: how it is told its memory */
	bool iommu;
	uint64_t protocol_off;
};

static const struct transport transports[] = {
	{"vdpa", .workers = 0},
	{"vdpa, worker", .workers = 1},
	{"vdpa, poll", .workers = 0, .poll = true},
	{"vdpa, worker, poll", .workers = 1, .poll = true},
	{"vdpa, set_map", .workers = 1, .map = "set_map"},
	{"vhost-user", .vhost_user = true},
	{"vhost-user, poll", .vhost_user = true, .poll = true, .workers = 1},
	{"vhost-user, iommu", .vhost_user = true, .iommu = true},
	{"vhost-user, table", .vhost_user = true,
	 .protocol_off = 1ull << VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS},
	{"vhost-user, no acknowledgments", .vhost_user = true,
	 .protocol_off = 1ull << VHOST_USER_PROTOCOL_F_REPLY_ACK},
	{"vhost-user, no status", .vhost_user = true,
	 .protocol_off = 1ull << VHOST_USER_PROTOCOL_F_STATUS},
	{"vhost-user, bare", .vhost_user = true,
	 .protocol_off = ~(1ull << VHOST_USER_PROTOCOL_F_CONFIG)},
};

struct rig {
	const struct transport *t;
	struct vdpa_ctx *ctx;
	struct vdpa_device *vdev;
	struct back back;
	struct virtio_device *dev;
};

static void up_vdpa(struct rig *rig, const char *mgmtdev, const struct vdpa_attr *attrs)
{
	struct vdpa_attr bind[] = {
		{"mode", rig->t->poll ? "poll" : "callback"}, {"queues", "2"}, {0}};
	struct vdpa_error err = {0};

	assert_int_equal(back_device(rig->ctx, mgmtdev, attrs, &rig->vdev), 0);
	if (vdpa_bind(rig->vdev, "virtio-vdpa", bind, &err))
		fail_msg("%s: %s", rig->t->name, err.msg);
	rig->dev = virtio_vdpa_device(rig->vdev);
}

static void up_vhost_user(struct rig *rig, const char *mgmtdev, uint32_t id,
			  const struct vdpa_attr *attrs)
{
	struct virtio_options options = {
		.size = sizeof(options), .queues = 2, .poll = rig->t->poll};
	struct vhost_user_frontend_config config = {
		.path = rig->back.path,
		.device_id = id,
		.options = &options,
		.iommu = rig->t->iommu,
		.protocol_features_off = rig->t->protocol_off,
	};

	back_start(&rig->back, mgmtdev, attrs, rig->t->workers);
	assert_int_equal(front_connect(rig->ctx, &config, &rig->dev), 0);
}

static void up(struct rig *rig, const struct transport *t, uint32_t id)
{
	bool disk = id == VIRTIO_ID_BLOCK;
	const char *map = t->map ? t->map : "dma_map";
	struct vdpa_attr blk[] = {
		{"backend", "ram"}, {"size", "4M"}, {"num_queues", "2"}, {"dma", map}, {0}};
	struct vdpa_attr net[] = {{"backend", "loopback"}, {"dma", map}, {0}};
	const char *mgmtdev = disk ? "soft_blk" : "soft_net";
	struct vdpa_ctx_config config = {
		.size = sizeof(config),
		.workers = t->vhost_user ? 0 : t->workers,
		.log = {.fn = log_line, .level = VDPA_LOG_WARN},
	};

	*rig = (struct rig){.t = t};
	/* The child is made before there are threads. */
	assert_int_equal(vdpa_ctx_new(&config, &rig->ctx), 0);
	assert_int_equal(vdpa_register_builtin(rig->ctx), 0);
	if (t->vhost_user)
		up_vhost_user(rig, mgmtdev, id, disk ? blk : net);
	else
		up_vdpa(rig, mgmtdev, disk ? blk : net);
	fake_until(rig->ctx, virtio_driver_name(rig->dev) &&
				     virtio_get_status(rig->dev) & VIRTIO_CONFIG_S_DRIVER_OK);
}

static void down(struct rig *rig)
{
	bool done = false;

	if (rig->t->vhost_user) {
		front_free(rig->ctx, rig->dev);
		back_kill(&rig->back);
	} else {
		assert_int_equal(vdpa_unbind(rig->vdev, &(struct vdpa_done){set_flag, &done}), 0);
		fake_until(rig->ctx, done);
		done = false;
		assert_int_equal(
			vdpa_dev_del(rig->vdev, &(struct vdpa_done){set_flag, &done}, NULL), 0);
		fake_until(rig->ctx, done);
	}
	/* A worker may still hold the device for a moment. */
	fake_until(rig->ctx, vdpa_ctx_free(rig->ctx) == 0);
}

static void each(void (*check)(struct rig *rig), uint32_t id)
{
	for (size_t i = 0; i < ARRAY_LEN(transports); i++) {
		unsigned fds = open_fds();
		static struct rig rig;

		print_message("           %s\n", transports[i].name);
		up(&rig, &transports[i], id);
		check(&rig);
		down(&rig);
		assert_int_equal(open_fds(), fds);
	}
}

/* ---- disk ---- */

static void check_disk(struct rig *rig)
{
	struct virtio_blk *blk = virtio_blk_of(rig->dev);
	static uint8_t out[3 << 20], in[3 << 20];
	struct virtio_blk_info info;
	char id[21];

	assert_non_null(blk);
	virtio_blk_get_info(blk, &info);
	assert_int_equal(info.capacity_sectors, (4 << 20) / 512);
	fill_pattern(out, sizeof(out), 5);
	/* Larger than one request of the helper. */
	assert_int_equal(virtio_blk_write(blk, 512, out, sizeof(out)), 0);
	assert_int_equal(virtio_blk_flush(blk), 0);
	assert_int_equal(virtio_blk_read(blk, 512, in, sizeof(in)), 0);
	assert_memory_equal(in, out, sizeof(in));
	assert_int_equal(virtio_blk_get_id(blk, id), 0);
	if (info.write_zeroes) {
		assert_int_equal(virtio_blk_write_zeroes(blk, 520, 8, true), 0);
		assert_int_equal(virtio_blk_read(blk, 512, in, 32 * 512), 0);
		memset(out + 8 * 512, 0, 8 * 512);
		assert_memory_equal(in, out, 32 * 512);
	}
	if (info.discard)
		assert_int_equal(virtio_blk_discard(blk, 0, 64), 0);
	assert_int_equal(virtio_blk_read(blk, info.capacity_sectors, in, 512), -EINVAL);
	assert_false(virtio_is_broken(rig->dev));
}

static void test_disk(void **state)
{
	each(check_disk, VIRTIO_ID_BLOCK);
}

/* ---- load on two queues ---- */

#define DEPTH 24
#define ROUNDS 40

struct io {
	struct virtio_blk_request req;
	struct virtio_blk *blk;
	struct virtqueue_sg sg[3];
	uint8_t *mem;
	unsigned queue, slot, n;
	bool bad, idle;
};

static void io_next(struct io *io);

static void io_done(struct virtio_blk_request *req, int result)
{
	struct io *io = vdpa_container_of(req, struct io, req);
	uint8_t expect[4096];

	fill_pattern(expect, sizeof(expect), io->n / 2 + io->slot * 100);
	if (result || memcmp(io->mem, expect, sizeof(expect)))
		io->bad = true;
	io->n++;
	io_next(io);
}

/* Odd rounds read back what the even ones wrote, in pieces of uneven lengths. */
static void io_next(struct io *io)
{
	bool write = io->n % 2 == 0;

	io->idle = io->n == 2 * ROUNDS;
	if (io->idle)
		return;
	memset(io->mem, 0, 4096);
	if (write)
		fill_pattern(io->mem, 4096, io->n / 2 + io->slot * 100);
	io->req = (struct virtio_blk_request){
		.type = write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN,
		.sector = (io->queue * DEPTH + io->slot) * 8,
		.sg = io->sg,
		.nsg = 3,
		.done = io_done,
	};
	if (virtio_blk_submit(io->blk, io->queue, &io->req))
		io->bad = io->idle = true;
}

static void io_init(struct rig *rig, struct io *io, unsigned queue, unsigned slot)
{
	iova_t iova;

	*io = (struct io){.blk = virtio_blk_of(rig->dev), .queue = queue, .slot = slot};
	io->mem = virtio_mem_alloc(rig->dev, 4096, &iova);
	assert_non_null(io->mem);
	io->sg[0] = (struct virtqueue_sg){iova, 1000};
	io->sg[1] = (struct virtqueue_sg){iova + 1000, 1};
	io->sg[2] = (struct virtqueue_sg){iova + 1001, 3095};
}

static void io_start(struct rig *rig, struct io *io, unsigned queue, unsigned slot)
{
	io_init(rig, io, queue, slot);
	io_next(io);
}

static bool io_pump(struct rig *rig, struct io *io, unsigned queues)
{
	struct virtio_blk *blk = virtio_blk_of(rig->dev);
	bool busy = false;

	for (unsigned q = 0; q < queues; q++) {
		if (rig->t->poll) {
			virtio_blk_poll(blk, q, 16);
			virtio_blk_kick(blk, q);
		}
		for (unsigned i = 0; i < DEPTH; i++)
			busy |= !io[q * DEPTH + i].idle;
	}
	if (busy)
		vdpa_loop_run_once(vdpa_ctx_control(rig->ctx), rig->t->poll ? 0 : 1000000);
	return busy;
}

static void check_load(struct rig *rig)
{
	static struct io io[2 * DEPTH];
	uint64_t end = vdpa_clock_ns() + 20000000000ull;
	struct virtio_blk_info info;

	virtio_blk_get_info(virtio_blk_of(rig->dev), &info);
	for (unsigned q = 0; q < info.queues; q++) {
		for (unsigned i = 0; i < DEPTH; i++)
			io_start(rig, &io[q * DEPTH + i], q, i);
		virtio_blk_kick(virtio_blk_of(rig->dev), q);
	}
	while (io_pump(rig, io, info.queues) && vdpa_clock_ns() < end)
		;
	for (unsigned i = 0; i < info.queues * DEPTH; i++) {
		assert_true(io[i].idle);
		assert_false(io[i].bad);
		virtio_mem_free(rig->dev, io[i].mem);
	}
}

static void test_load(void **state)
{
	each(check_load, VIRTIO_ID_BLOCK);
}

/* ---- a thread for each queue ---- */

struct thread {
	pthread_t thread;
	struct virtio_blk *blk;
	unsigned queue;
	struct io io[DEPTH];
	_Atomic bool ended;
};

/* In poll mode a queue is its thread's: nothing but submit, kick and poll is called here. */
static void *thread_run(void *arg)
{
	struct thread *t = arg;
	uint64_t end = vdpa_clock_ns() + 20000000000ull;
	bool busy = true;

	for (unsigned i = 0; i < DEPTH; i++)
		io_next(&t->io[i]);
	while (busy && vdpa_clock_ns() < end) {
		virtio_blk_kick(t->blk, t->queue);
		virtio_blk_poll(t->blk, t->queue, 16);
		busy = false;
		for (unsigned i = 0; i < DEPTH; i++)
			busy |= !t->io[i].idle;
	}
	atomic_store(&t->ended, true);
	return NULL;
}

static void check_threads(struct rig *rig)
{
	static struct thread threads[2];
	struct virtio_blk_info info;

	if (!rig->t->poll)
		return;
	virtio_blk_get_info(virtio_blk_of(rig->dev), &info);
	for (unsigned q = 0; q < info.queues; q++) {
		struct thread *t = &threads[q];

		*t = (struct thread){.blk = virtio_blk_of(rig->dev), .queue = q};
		for (unsigned i = 0; i < DEPTH; i++)
			io_init(rig, &t->io[i], q, i);
		assert_int_equal(pthread_create(&t->thread, NULL, thread_run, t), 0);
	}
	for (unsigned q = 0; q < info.queues; q++) {
		while (!atomic_load(&threads[q].ended))
			vdpa_loop_run_once(vdpa_ctx_control(rig->ctx), 1000000);
		pthread_join(threads[q].thread, NULL);
		for (unsigned i = 0; i < DEPTH; i++) {
			assert_true(threads[q].io[i].idle);
			assert_false(threads[q].io[i].bad);
		}
	}
}

static void test_threads(void **state)
{
	each(check_threads, VIRTIO_ID_BLOCK);
}

/* ---- NIC ---- */

struct sink {
	unsigned packets, bad;
	uint8_t expect[1514];
	size_t len;
};

static void sink_rx(void *arg, unsigned pair, const struct virtio_net_packet *pkt)
{
	struct sink *sink = arg;
	size_t off = 0;

	sink->packets++;
	if (pkt->len != sink->len)
		sink->bad++;
	for (unsigned i = 0; i < pkt->niov && off < sink->len; i++) {
		size_t n = pkt->iov[i].iov_len;

		if (n > sink->len - off || memcmp(sink->expect + off, pkt->iov[i].iov_base, n))
			sink->bad++;
		off += n;
	}
}

static void check_nic(struct rig *rig)
{
	struct virtio_net *net = virtio_net_of(rig->dev);
	static struct sink sink;
	struct virtio_net_info info;

	assert_non_null(net);
	memset(&sink, 0, sizeof(sink));
	virtio_net_get_info(net, &info);
	assert_true(info.link_up);
	virtio_net_on_receive(net, sink_rx, &sink);
	for (unsigned n = 0; n < 300; n++) {
		struct iovec iov = {sink.expect, 60 + n * 53 % 1455};
		uint64_t end = vdpa_clock_ns() + 5000000000ull;

		sink.len = iov.iov_len;
		fill_pattern(sink.expect, sink.len, n);
		memcpy(sink.expect, info.mac, 6);
		assert_int_equal(virtio_net_send(net, 0, &iov, 1, NULL), 0);
		virtio_net_kick(net, 0);
		while (sink.packets == n && vdpa_clock_ns() < end) {
			if (rig->t->poll)
				virtio_net_poll(net, 0, 16);
			vdpa_loop_run_once(vdpa_ctx_control(rig->ctx), rig->t->poll ? 0 : 1000000);
		}
		assert_int_equal(sink.packets, n + 1);
	}
	assert_int_equal(sink.bad, 0);
}

static void test_nic(void **state)
{
	each(check_nic, VIRTIO_ID_NET);
}

/* ---- operations of the transport ---- */

struct report {
	unsigned passed;
	char failed[1024];
};

static void report(void *arg, const char *op, bool pass, const char *detail)
{
	struct report *r = arg;
	size_t n = strlen(r->failed);

	r->passed += pass;
	if (!pass)
		snprintf(r->failed + n, sizeof(r->failed) - n, "%s (%s);", op, detail);
}

static void conform(struct rig *rig)
{
	struct report r = {0};
	struct outcome o = {0};

	assert_int_equal(virtio_conform(rig->dev, report, &r, &(struct vdpa_done){set_outcome, &o}),
			 0);
	fake_until(rig->ctx, o.done);
	assert_string_equal(r.failed, "");
	assert_int_equal(o.result, 0);
	assert_true(r.passed >= 20);
	fake_until(rig->ctx, virtio_driver_name(rig->dev) != NULL);
}

static void check_conform(struct rig *rig)
{
	uint8_t buf[512];

	conform(rig);
	assert_int_equal(virtio_blk_read(virtio_blk_of(rig->dev), 0, buf, 512), 0);
}

static void test_conform_disk(void **state)
{
	each(check_conform, VIRTIO_ID_BLOCK);
}

static void test_conform_nic(void **state)
{
	each(conform, VIRTIO_ID_NET);
}

/* ---- what the device has of our memory ---- */

static const struct vhost_iotlb_map *mapping(struct rig *rig, iova_t first, iova_t last)
{
	const struct vhost_iotlb *map = rig->vdev->ext->get_iotlb(rig->vdev, 0);

	return vhost_iotlb_itree_first(map, first, last);
}

/* The driver's mappings show in the device's map, and nothing else does; unbound it is empty. */
static void test_map_dump(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(transports); i++) {
		const struct vhost_iotlb_map *m;
		static struct rig rig;
		bool done = false;
		iova_t iova;
		void *mem;

		if (transports[i].vhost_user)
			continue;
		up(&rig, &transports[i], VIRTIO_ID_BLOCK);
		mem = virtio_mem_alloc(rig.dev, 20 << 20, &iova);
		assert_non_null(mem);
		m = mapping(&rig, iova, iova);
		assert_non_null(m);
		assert_int_equal(m->addr + (iova - m->start), (uintptr_t)mem);
		assert_true(m->last >= iova + (20 << 20) - 1);
		assert_int_equal(m->perm, VHOST_MAP_RW);
		/* Not by identity, and not from 0. */
		assert_null(mapping(&rig, 0, 0xfffff));
		assert_null(mapping(&rig, (uintptr_t)mem, (uintptr_t)mem));
		assert_int_equal(vdpa_unbind(rig.vdev, &(struct vdpa_done){set_flag, &done}), 0);
		fake_until(rig.ctx, done);
		assert_null(mapping(&rig, 0, UINT64_MAX));
		assert_int_equal(vdpa_bind(rig.vdev, "virtio-vdpa", NULL, NULL), 0);
		down(&rig);
	}
}

/* ---- reset under load, and again ---- */

static void check_reset(struct rig *rig)
{
	static struct io io[DEPTH];

	for (unsigned round = 0; round < 5; round++) {
		struct outcome o = {0};
		uint8_t buf[512];

		for (unsigned i = 0; i < DEPTH; i++)
			io_start(rig, &io[i], 0, i);
		virtio_blk_kick(virtio_blk_of(rig->dev), 0);
		for (unsigned i = 0; i < round * 3; i++)
			io_pump(rig, io, 1);
		assert_int_equal(virtio_reset(rig->dev, &(struct vdpa_done){set_outcome, &o}), 0);
		fake_until(rig->ctx, o.done);
		/* Every request has ended, in success or by the reset. */
		for (unsigned i = 0; i < DEPTH; i++) {
			assert_true(io[i].idle);
			virtio_mem_free(rig->dev, io[i].mem);
		}
		assert_int_equal(virtio_get_status(rig->dev), 0);
		assert_int_equal(virtio_attach(rig->dev, NULL, NULL), 0);
		assert_int_equal(virtio_blk_read(virtio_blk_of(rig->dev), 0, buf, 512), 0);
		if (rig->t->poll)
			return; /* attached in callback mode now */
	}
}

static void test_reset(void **state)
{
	each(check_reset, VIRTIO_ID_BLOCK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_disk),	     cmocka_unit_test(test_load),
		cmocka_unit_test(test_threads),	     cmocka_unit_test(test_nic),
		cmocka_unit_test(test_conform_disk), cmocka_unit_test(test_conform_nic),
		cmocka_unit_test(test_map_dump),     cmocka_unit_test(test_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
