// SPDX-License-Identifier: BSD-3-Clause
/*
 * The functional suite over {split, packed} x {in order, or not} x {event index, or not} x
 * {mergeable, or not}, in process and through a vhost-user socket; with layouts of chains, sizes of
 * queues and of buffers that change from one to the next. And one queue's reset.
 */
#include "virtio_rig.h"

static const struct transport transports[] = {
	{"vdpa", .workers = 0},
	{"vdpa, worker, poll", .workers = 1, .poll = true},
	{"vhost-user", .vhost_user = true},
#ifdef VDPA_HAVE_VIRTIO_PCI
	{"vfio-user", .pci = true},
#endif
};

#define NSHAPES 16u

/* The four features as bits of @i, the rest as it comes. */
static struct shape shape_of(unsigned i)
{
	static const uint32_t pieces[] = {0, 1, 5, 12, 13};
	struct shape s = {
		.split = i & 1,
		.any_order = i & 2,
		.no_event_idx = i & 4,
		.no_mergeable = i & 8,
		.no_indirect = i % 5 == 3,
		.indirect_min = i % 3 ? 0 : 4,
		.piece_bytes = pieces[(i + i / 5) % ARRAY_LEN(pieces)],
		.rx_buf_bytes = i % 3 ? 300 : 0,
	};

	/* Chains of eight take the ring's own descriptors: a frame would not fit. */
	if (i % 2 && !s.no_indirect)
		s.rx_buf_bytes = 64;

	s.queue_size = s.split ? 128 : 101 + i;
	/* Chains take the ring's own descriptors: the load must fit. */
	if (s.no_indirect) {
		s.queue_size = s.split ? 256 : 255;
		s.piece_bytes = i & 4 ? 5 : 0;
	}
	return s;
}

/* What was wanted is what was negotiated. */
static void check_features(struct rig *rig, uint32_t id)
{
	uint64_t off = shape_features_off(&rig->shape, id);
	uint64_t all = VDPA_BIT(VIRTIO_F_RING_PACKED) | VDPA_BIT(VIRTIO_F_IN_ORDER) |
		       VDPA_BIT(VIRTIO_RING_F_EVENT_IDX) | VDPA_BIT(VIRTIO_RING_F_INDIRECT_DESC) |
		       VDPA_BIT(VIRTIO_F_RING_RESET);

	if (id == VIRTIO_ID_NET)
		all |= VDPA_BIT(VIRTIO_NET_F_MRG_RXBUF);
	assert_int_equal(virtio_driver_features(rig->dev) & all, all & ~off);
}

static void each(void (*check)(struct rig *rig), uint32_t id)
{
	for (unsigned i = 0; i < ARRAY_LEN(transports) * NSHAPES; i++) {
		const struct transport *t = &transports[i / NSHAPES];
		struct shape s = shape_of(i % NSHAPES);
		unsigned fds = open_fds();
		static struct rig rig;

		/* A disk has nothing to merge. */
		if (id == VIRTIO_ID_BLOCK && s.no_mergeable)
			continue;
		if (getenv("VERBOSE"))
			print_message("%s, shape %u\n", t->name, i % NSHAPES);
		up_shaped(&rig, t, &s, id);
		check_features(&rig, id);
		check(&rig);
		assert_false(virtio_is_broken(rig.dev));
		down(&rig);
		if (open_fds() != fds)
			fail_msg("%s, shape %u: descriptors leak", t->name, i % NSHAPES);
	}
}

static void disk_and_load(struct rig *rig)
{
	check_disk(rig);
	check_load(rig);
}

static void test_disk(void **state)
{
	each(disk_and_load, VIRTIO_ID_BLOCK);
}

static void test_nic(void **state)
{
	each(check_nic, VIRTIO_ID_NET);
}

/* ---- one queue's reset ---- */

static int reset_queue(struct rig *rig, uint16_t index, uint32_t num)
{
	struct outcome o = {0};
	struct vdpa_error err = {0};
	int r = virtio_queue_reset(rig->dev, index, num, &(struct vdpa_done){set_outcome, &o},
				   &err);

	if (r) {
		assert_string_not_equal(err.msg, "");
		return r;
	}
	if (!o.done)
		assert_int_equal(virtio_queue_reset(rig->dev, index, 0, NULL, NULL), -EBUSY);
	fake_until(rig->ctx, o.done);
	fake_until(rig->ctx, virtio_wait_attached(rig->dev, 0) == 0);
	return o.result;
}

/* Requests are out on both queues; those of the one that is reset end, in success or by the reset,
 * and the other one goes on. */
static void check_reset_under_load(struct rig *rig)
{
	bool packed = virtio_has_feature(rig->dev, VIRTIO_F_RING_PACKED);
	static const uint32_t sizes[] = {0, 32, 64, 64, 16, 8};
	struct virtio_blk *blk = virtio_blk_of(rig->dev);
	static struct io io[2 * DEPTH];
	struct virtio_blk_info info;

	for (unsigned round = 0; round < ARRAY_LEN(sizes); round++) {
		uint32_t num = sizes[round] ? sizes[round] - packed : 0;
		uint8_t buf[512];

		for (unsigned i = 0; i < 2 * DEPTH; i++)
			io_start(rig, &io[i], i / DEPTH, i % DEPTH);
		virtio_blk_kick(blk, 0);
		virtio_blk_kick(blk, 1);
		for (unsigned i = 0; i < round * 3; i++)
			io_pump(rig, io, 2);
		/* A disk's queue needs more than header and status. */
		assert_int_equal(reset_queue(rig, 1, 2), -EINVAL);
		assert_int_equal(reset_queue(rig, 1, num), 0);
		for (unsigned i = DEPTH; i < 2 * DEPTH; i++)
			assert_true(io[i].idle);
		while (io_pump(rig, io, 1))
			;
		for (unsigned i = 0; i < 2 * DEPTH; i++) {
			assert_false(i < DEPTH && io[i].bad);
			virtio_mem_free(rig->dev, io[i].mem);
		}
		/* The one that was reset works. */
		io_start(rig, &io[DEPTH], 1, 0);
		virtio_blk_kick(blk, 1);
		memset(io, 0, sizeof(io[0]) * DEPTH);
		for (unsigned i = 0; i < 2 * DEPTH; i++)
			io[i].idle |= i != DEPTH;
		while (io_pump(rig, io, 2))
			;
		assert_false(io[DEPTH].bad);
		virtio_mem_free(rig->dev, io[DEPTH].mem);
		if (!rig->t->poll)
			assert_int_equal(virtio_blk_read(blk, 0, buf, 512), 0);
	}
	/* Header, data, status: no request may be longer than the smallest queue. */
	assert_int_equal(reset_queue(rig, 0, 4), 0);
	virtio_blk_get_info(blk, &info);
	assert_int_equal(info.seg_max, 2);
	io_start(rig, &io[0], 0, 0);
	assert_true(io[0].bad);
	virtio_mem_free(rig->dev, io[0].mem);
}

static void test_reset_under_load(void **state)
{
	static const struct shape shapes[] = {
		{.name = "packed", .queue_size = 64},
		{.name = "split", .queue_size = 64, .split = true},
		{.name = "packed, any order", .queue_size = 64, .any_order = true},
		{.name = "split, any order, chains",
		 .queue_size = 128,
		 .split = true,
		 .any_order = true,
		 .no_indirect = true},
	};

	for (unsigned i = 0; i < ARRAY_LEN(transports) * ARRAY_LEN(shapes); i++) {
		static struct rig rig;

		up_shaped(&rig, &transports[i / ARRAY_LEN(shapes)], &shapes[i % ARRAY_LEN(shapes)],
			  VIRTIO_ID_BLOCK);
		check_reset_under_load(&rig);
		down(&rig);
	}
}

/* Either queue of a NIC; frames come through again afterwards, in any number. */
static void check_reset_nic(struct rig *rig)
{
	bool packed = virtio_has_feature(rig->dev, VIRTIO_F_RING_PACKED);

	check_nic(rig);
	assert_int_equal(reset_queue(rig, 0, packed ? 50 : 32), 0);
	check_nic(rig);
	assert_int_equal(reset_queue(rig, 1, 16), 0);
	check_nic(rig);
	assert_int_equal(reset_queue(rig, 3, 16), -EINVAL);
	assert_int_equal(reset_queue(rig, 0, 65536), -EINVAL);
	assert_int_equal(reset_queue(rig, 1, packed ? 32769 : 24), -EINVAL);
}

static void test_reset_nic(void **state)
{
	for (unsigned i = 0; i < 2 * ARRAY_LEN(transports); i++) {
		struct shape s = {.split = i & 1, .queue_size = 64};
		static struct rig rig;

		up_shaped(&rig, &transports[i / 2], &s, VIRTIO_ID_NET);
		check_reset_nic(&rig);
		down(&rig);
	}
}

int main(void)
{
	back_full_featured = true;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_disk),
		cmocka_unit_test(test_nic),
		cmocka_unit_test(test_reset_under_load),
		cmocka_unit_test(test_reset_nic),
	};

	return cmocka_run_group_tests_name("virtio-formats", tests, NULL, NULL);
}
