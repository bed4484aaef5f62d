// SPDX-License-Identifier: BSD-3-Clause
/* The sample mvnet_loopback, as its driver sees it: what it copies, what it drops, what it keeps.
 */
#include <uvdpa/mdev_class.h>
#include "alloc_fail.h"
#include "net_guest.h"

#define U1 "11111111-1111-1111-1111-111111111111"
#define U2 "22222222-2222-2222-2222-222222222222"
#define HDR 12u
#define FRAME_MAX 1518u

static struct soft_guest g;

static void create(struct soft_guest *guest, const char *uuid)
{
	struct mdev_parent *parent = mdev_find_parent(guest->ctx, "mvnet_loopback");
	struct mdev_request req = {parent, mdev_find_type(parent, "mvnet_loopback-virtio"), uuid,
				   NULL};

	assert_int_equal(mdev_create(&req, NULL, NULL), 0);
	sg_use(guest, vdpa_find_device(guest->ctx, uuid));
}

static int setup(void **state)
{
	sg_open(&g, 1);
	create(&g, U1);
	return 0;
}

/* Its queues on this thread. */
static int setup_inline(void **state)
{
	sg_open(&g, 0);
	create(&g, U1);
	return 0;
}

/* The device goes while its driver has it. */
static void destroy(struct soft_guest *guest, const char *uuid)
{
	struct vdpa_callback none = {.trigger = -1};
	struct sg_wait wait = {0};
	struct vdpa_done done = sg_done(&wait);

	vdpa_set_config_cb(guest->dev, &none);
	assert_int_equal(mdev_remove(mdev_find(guest->ctx, uuid), &done), 0);
	sg_wait(guest, &wait);
	vdpa_put_device(guest->dev);
	guest->dev = NULL;
}

static int teardown(void **state)
{
	destroy(&g, U1);
	sg_close(&g);
	return 0;
}

static void start(void)
{
	sg_start(&g, NG_FEATURES, 2, 64);
}

/* Send a frame of @len bytes whose address ends in @dst. */
static void send_frame(uint8_t dst, uint32_t len)
{
	ng_frame(&g, HDR, NULL, dst, len);
	ng_tx_post(&g, HDR + len);
	assert_true(ng_tx_done(&g, SG_PATIENCE));
}

static void packets_come_back(void **state)
{
	static const uint32_t sizes[] = {14, 60, 500, 512, 513, 1514, FRAME_MAX};
	uint32_t len = 0;
	uint8_t *got;

	start();
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		ng_rx_post(&g, i, 2048);
		send_frame((uint8_t)i, sizes[i]);
		got = ng_rx(&g, &len);
		assert_ptr_equal(got, g.mem + NG_RX + i * NG_RX_BYTES);
		assert_int_equal(len, HDR + sizes[i]);
		assert_memory_equal(got + HDR, g.mem + NG_TX + HDR, sizes[i]);
		/* Nothing is left to do, and it took one buffer. */
		assert_memory_equal(got, "\0\0\0\0\0\0\0\0\0\0\1\0", HDR);
		assert_int_equal(got[HDR + sizes[i]], 0xee);
	}
	assert_int_equal(sg_stat(&g, 1, "packets"), sizeof(sizes) / sizeof(sizes[0]));
	assert_int_equal(sg_stat(&g, 1, "drops"), 0);
}

/* What the driver left to others is not passed on: the header is ours. */
static void header_is_not_looped(void **state)
{
	const struct ng_hdr hdr = {.flags = 0xff, .gso_type = 0xff, .num_buffers = 77};
	uint32_t len;
	uint8_t *got;

	start();
	ng_rx_post(&g, 0, 2048);
	ng_frame(&g, HDR, &hdr, 1, 60);
	ng_tx_post(&g, HDR + 60);
	assert_true(ng_tx_done(&g, SG_PATIENCE));
	got = ng_rx(&g, &len);
	assert_memory_equal(got, "\0\0\0\0\0\0\0\0\0\0\1\0", HDR);
}

static void what_is_no_packet_is_dropped(void **state)
{
	uint32_t len;
	uint8_t *got;

	start();
	ng_rx_post(&g, 0, 4096);
	send_frame(1, 13);
	send_frame(2, FRAME_MAX + 1);
	ng_tx_post(&g, 5);
	assert_true(ng_tx_done(&g, SG_PATIENCE));
	assert_null(ng_rx_any(&g, &len));
	assert_int_equal(sg_stat(&g, 1, "drops"), 3);
	assert_true(g.log_lines > 0);
	/* The buffer is still there. */
	send_frame(3, 60);
	got = ng_rx(&g, &len);
	assert_non_null(got);
	assert_int_equal(got[HDR + 5], 3);
}

static void a_buffer_that_is_too_small_is_kept(void **state)
{
	uint32_t len;
	uint8_t *got;

	start();
	ng_rx_post(&g, 0, HDR + 100);
	send_frame(1, 101);
	assert_null(ng_rx_any(&g, &len));
	assert_int_equal(sg_stat(&g, 1, "drops"), 1);
	send_frame(2, 100);
	got = ng_rx(&g, &len);
	assert_non_null(got);
	assert_int_equal(len, HDR + 100);
	assert_int_equal(got[HDR + 5], 2);
}

/* Frame @i of 60 bytes in a place of its own; nobody waits. */
static void post_frame(unsigned i)
{
	struct virtqueue_sg sg = sg_at(NG_TX + i * 4096, HDR + 60);

	memset(g.mem + NG_TX + i * 4096, 0, HDR);
	memset(g.mem + NG_TX + i * 4096 + HDR, (int)i, 60);
	sg_send(&g, 1, &sg, 1, 0, g.mem + NG_TX + i * 4096);
}

/* More than a batch, without buffers: they wait in the ring, and come in order. */
static void nothing_is_lost_for_want_of_buffers(void **state)
{
	uint32_t len;
	uint8_t *got;

	start();
	for (unsigned i = 0; i < 10; i++)
		post_frame(i);
	assert_false(ng_tx_done(&g, SG_SECOND / 10));
	for (unsigned i = 0; i < 10; i++) {
		ng_rx_post(&g, i, 2048);
		got = sg_get(&g, 0, &len, SG_PATIENCE);
		assert_non_null(got);
		assert_int_equal(got[HDR], i);
		assert_true(ng_tx_done(&g, SG_PATIENCE));
	}
	assert_int_equal(sg_stat(&g, 1, "drops"), 0);
}

static void without_a_receive_queue_packets_go_nowhere(void **state)
{
	sg_map(&g);
	sg_negotiate(&g, NG_FEATURES);
	sg_queue(&g, 1, 64);
	sg_driver_ok(&g);
	send_frame(1, 60);
	assert_int_equal(sg_stat(&g, 1, "drops"), 1);
}

static bool accepted(uint64_t features)
{
	bool ok;

	assert_int_equal(vdpa_set_status(g.dev, SG_ACK), 0);
	ok = !vdpa_set_features(g.dev, features) &&
	     !vdpa_set_status(g.dev, SG_ACK | VIRTIO_CONFIG_S_FEATURES_OK) &&
	     vdpa_get_status(g.dev) & VIRTIO_CONFIG_S_FEATURES_OK;
	sg_reset(&g);
	return ok;
}

static void features_that_are_mandatory(void **state)
{
	const uint64_t v1 = VDPA_BIT(VIRTIO_F_VERSION_1), dma = VDPA_BIT(VIRTIO_F_ACCESS_PLATFORM);

	assert_false(accepted(0));
	assert_false(accepted(v1));
	assert_false(accepted(dma));
	assert_true(accepted(v1 | dma));
	assert_int_equal(vdpa_get_vq_num_max(g.dev), 256);
	assert_int_equal(g.dev->nvqs, 2);
	sg_map(&g);
	start();
}

/* Where a queue stands is told when it is stopped, and it goes on from there. */
static void state_of_a_queue(void **state)
{
	struct sg_wait wait = {0};
	struct vdpa_done done = sg_done(&wait);
	struct vdpa_vq_state s;

	start();
	for (unsigned i = 0; i < 3; i++) {
		ng_rx_post(&g, i, 2048);
		send_frame(1, 60);
	}
	assert_int_equal(vdpa_stop_vq(g.dev, 1, &done), 0);
	sg_wait(&g, &wait);
	assert_int_equal(vdpa_get_vq_state(g.dev, 1, &s), 0);
	assert_int_equal(s.split.avail_index, 3);
	assert_int_equal(vdpa_set_vq_state(g.dev, 1, &s), 0);
	assert_int_equal(vdpa_set_vq_ready(g.dev, 1), 0);
	ng_rx_post(&g, 3, 2048);
	send_frame(1, 60);
	assert_int_equal(sg_stat(&g, 1, "packets"), 4);
}

/* From the kick to the call, whether packets come or are dropped. */
static void nothing_is_allocated_on_the_way(void **state)
{
	uint32_t len;

	start();
	ng_rx_post(&g, 0, 2048);
	send_frame(1, 60);
	assert_non_null(ng_rx(&g, &len));
	alloc_fail_hit = false;
	alloc_fail_countdown = 0;
	for (unsigned i = 0; i < 100; i++) {
		ng_rx_post(&g, 0, 2048);
		ng_tx_post(&g, 5);
		assert_true(ng_tx_done(&g, SG_PATIENCE));
		send_frame(1, 60 + i);
		assert_non_null(ng_rx(&g, &len));
	}
	alloc_fail_off();
	assert_false(alloc_fail_hit);
	assert_int_equal(sg_stat(&g, 1, "packets"), 101);
}

/* One with much to do lets the others on its loop have theirs after each batch. */
static void a_busy_device_yields(void **state)
{
	struct soft_guest other;
	uint32_t len;

	sg_join(&other, &g);
	create(&other, U2);
	start();
	sg_start(&other, NG_FEATURES, 2, 64);
	for (unsigned i = 0; i < 40; i++) {
		ng_rx_post(&g, i, 2048);
		post_frame(i);
	}
	ng_rx_post(&other, 0, 2048);
	ng_frame(&other, HDR, NULL, 1, 60);
	ng_tx_post(&other, HDR + 60);
	assert_non_null(ng_rx(&other, &len));
	assert_true(sg_stat(&g, 1, "packets") <= 16);
	destroy(&other, U2);
	sg_leave(&other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
		T(packets_come_back),
		T(header_is_not_looped),
		T(what_is_no_packet_is_dropped),
		T(a_buffer_that_is_too_small_is_kept),
		T(nothing_is_lost_for_want_of_buffers),
		T(without_a_receive_queue_packets_go_nowhere),
		T(features_that_are_mandatory),
		T(state_of_a_queue),
#define T0(test) cmocka_unit_test_setup_teardown(test, setup_inline, teardown)
		T0(nothing_is_allocated_on_the_way),
		T0(a_busy_device_yields),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
