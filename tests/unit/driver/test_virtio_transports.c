// SPDX-License-Identifier: BSD-3-Clause
/*
 * The same drivers over every transport, on the software disk and NIC: in process, and through the
 * vhost-user socket of a back end in another process. One suite, one table.
 */
#include "virtio_rig.h"

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
#ifdef VDPA_HAVE_VIRTIO_PCI
	{"vfio-user", .pci = true},
	{"vfio-user, worker", .pci = true, .workers = 1},
	{"vfio-user, poll", .pci = true, .poll = true, .workers = 1},
	{"vfio-user, INTx", .pci = true, .intx = true, .workers = 1},
	{"vfio-user, posted doorbells", .pci = true, .post = true},
	{"vfio-user, posted doorbells, worker", .pci = true, .post = true, .workers = 1},
	{"vfio-user, memory by message", .pci = true, .by_message = true},
	{"vfio-user, memory by message, worker", .pci = true, .by_message = true, .workers = 1},
#endif
};

static void up(struct rig *rig, const struct transport *t, uint32_t id)
{
	up_shaped(rig, t, NULL, id);
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

static void test_disk(void **state)
{
	each(check_disk, VIRTIO_ID_BLOCK);
}

/* ---- load on two queues ---- */

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
	uint64_t end = vdpa_clock_ns() + PATIENCE_NS;
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

		if (remote(&transports[i]))
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
