// SPDX-License-Identifier: BSD-3-Clause
/* Requests in flight in a shared area: who finds them again, and who must not. */
#include "hold_dev.h"

#define MS (SG_SECOND / 1000)
#define NUM 16

/* The layout of the specification ("Inflight I/O tracking", split virtqueue). */
struct area {
	uint64_t features;
	uint16_t version, desc_num, last_batch_head, used_idx;
	struct {
		uint8_t inflight, padding[5];
		uint16_t next;
		uint64_t counter;
	} desc[NUM];
};

struct tracked {
	struct soft_guest g;
	struct hold_dev *dev;
	struct area *area;
	size_t bytes;
};

static void open_tracked(struct tracked *t)
{
	t->bytes = vringh_inflight_bytes(NUM, false);
	t->area = calloc(1, t->bytes);
	assert_true(t->area && t->bytes >= sizeof(*t->area));
	t->dev = hold_open(&t->g, NULL);
	sg_map(&t->g);
	sg_negotiate(&t->g, SG_V1);
	sg_queue_setup(&t->g, 0, NUM);
	assert_int_equal(vdpa_set_vq_inflight(t->g.dev, 0, t->area, t->bytes), 0);
	vdpa_set_vq_ready(t->g.dev, 0);
	sg_driver_ok(&t->g);
}

static void close_tracked(struct tracked *t)
{
	sg_close(&t->g);
	free(t->area);
}

/* Two requests that the device holds. */
static void hold_two(struct tracked *t)
{
	t->dev->hold = true;
	hold_post(&t->g, 0, 0, 10);
	hold_post(&t->g, 0, 1, 10);
	sg_run(&t->g, 5 * MS);
	assert_int_equal(t->dev->q[0].n, 2);
}

/* The next process: the same ring of the same driver, from the used index on. */
static void take_up(struct tracked *t, uint16_t used)
{
	struct vdpa_vq_state state = {0};
	iova_t desc, driver, device;

	virtqueue_addrs(t->g.q[0].vq, &desc, &driver, &device);
	t->dev->hold = false;
	sg_negotiate(&t->g, SG_V1);
	vdpa_set_vq_num(t->g.dev, 0, NUM);
	vdpa_set_vq_address(t->g.dev, 0, desc, driver, device);
	state.split.avail_index = used;
	vdpa_set_vq_state(t->g.dev, 0, &state);
	vdpa_set_vq_cb(t->g.dev, 0, &(struct vdpa_callback){NULL, NULL, t->g.q[0].call});
	vdpa_set_vq_kick(t->g.dev, 0, t->g.q[0].kick);
	assert_int_equal(vdpa_set_vq_inflight(t->g.dev, 0, t->area, t->bytes), 0);
	vdpa_set_vq_ready(t->g.dev, 0);
	sg_driver_ok(&t->g);
}

static void reset_device(struct tracked *t)
{
	struct sg_wait wait = {0};
	struct vdpa_done done = sg_done(&wait);

	assert_int_equal(vdpa_reset(t->g.dev, &done), 0);
	assert_int_equal(sg_wait(&t->g, &wait), 0);
}

static unsigned marks(const struct tracked *t)
{
	unsigned n = 0;

	for (unsigned i = 0; t->area->version && i < NUM; i++)
		n += t->area->desc[i].inflight;
	return n;
}

/* The device was given back by who had it, not reset by the driver: what it held is got again. */
static void test_got_again(void **state)
{
	struct tracked t;
	uint32_t len;

	open_tracked(&t);
	hold_two(&t);
	assert_int_equal(vdpa_set_vq_inflight(t.g.dev, 0, NULL, 0), 0);
	reset_device(&t);
	assert_int_equal(marks(&t), 2);
	take_up(&t, 0);
	assert_non_null(sg_get(&t.g, 0, &len, SG_PATIENCE));
	assert_non_null(sg_get(&t.g, 0, &len, SG_PATIENCE));
	assert_int_equal(marks(&t), 0);
	close_tracked(&t);
}

/* The driver's reset: nobody is to do it again. */
static void test_reset_forgets(void **state)
{
	struct tracked t;

	open_tracked(&t);
	hold_two(&t);
	assert_int_equal(marks(&t), 2);
	reset_device(&t);
	assert_int_equal(marks(&t), 0);
	/* The same ring, taken up behind what was cancelled. */
	take_up(&t, 2);
	sg_run(&t.g, 20 * MS);
	assert_int_equal(t.dev->q[0].served, 2);
	close_tracked(&t);
}

/* virtio 1.3, 2.6.1: so does the reset of one queue. */
static void test_queue_reset_forgets(void **state)
{
	struct sg_wait wait = {0};
	struct vdpa_done done = sg_done(&wait);
	struct tracked t;

	open_tracked(&t);
	hold_two(&t);
	assert_int_equal(t.g.dev->ext->reset_vq(t.g.dev, 0, &done), 0);
	assert_int_equal(sg_wait(&t.g, &wait), 0);
	assert_int_equal(marks(&t), 0);
	close_tracked(&t);
}

/* A stop or a suspend that a stuck backend keeps from ending forgets nothing. */
static void test_drain_keeps(void **state)
{
	struct sg_wait wait = {0};
	struct vdpa_done done = sg_done(&wait);
	struct tracked t;
	uint32_t len;

	open_tracked(&t);
	hold_two(&t);
	assert_int_equal(vdpa_suspend(t.g.dev, &done), 0);
	sg_run(&t.g, 20 * MS);
	assert_int_equal(marks(&t), 2);
	assert_int_equal(vdpa_stop_vq(t.g.dev, 0, NULL), 0);
	sg_run(&t.g, 20 * MS);
	assert_int_equal(marks(&t), 2);
	hold_release(t.dev, 0);
	assert_int_equal(sg_wait(&t.g, &wait), 0);
	assert_int_equal(t.area->version, 1);
	assert_int_equal(marks(&t), 0);
	assert_non_null(sg_get(&t.g, 0, &len, SG_PATIENCE));
	close_tracked(&t);
}

/* An area that was replaced while the queue stood still is not touched by a later reset. */
static void test_replaced(void **state)
{
	struct tracked t;
	uint32_t len;

	open_tracked(&t);
	hold_post(&t.g, 0, 0, 10);
	assert_non_null(sg_get(&t.g, 0, &len, SG_PATIENCE));
	assert_int_equal(vdpa_stop_vq(t.g.dev, 0, NULL), 0);
	sg_run(&t.g, 5 * MS);
	free(t.area);
	t.area = calloc(1, t.bytes);
	assert_int_equal(vdpa_set_vq_inflight(t.g.dev, 0, t.area, t.bytes), 0);
	reset_device(&t);
	close_tracked(&t);
}

/* The last process died between the used index and the call: the next one makes it, once. */
static void test_call_owed(void **state)
{
	struct tracked t;
	uint64_t calls, n;
	uint32_t len;

	open_tracked(&t);
	hold_post(&t.g, 0, 0, 10);
	sg_run(&t.g, 20 * MS);
	assert_int_equal(read(t.g.q[0].call, &n, sizeof(n)), sizeof(n));
	calls = sg_stat(&t.g, 0, "calls");
	assert_int_equal(vdpa_set_vq_inflight(t.g.dev, 0, NULL, 0), 0);
	reset_device(&t);
	t.area->desc[t.area->last_batch_head].inflight = 1;
	t.area->used_idx = 0;
	take_up(&t, 1);
	sg_run(&t.g, 20 * MS);
	assert_int_equal(sg_stat(&t.g, 0, "calls"), calls + 1);
	assert_int_equal(t.dev->q[0].served, 1);
	assert_non_null(sg_get(&t.g, 0, &len, SG_PATIENCE));
	sg_kick(&t.g, 0);
	sg_run(&t.g, 20 * MS);
	assert_int_equal(sg_stat(&t.g, 0, "calls"), calls + 1);
	close_tracked(&t);
}

static void test_unusable(void **state)
{
	struct tracked t;

	open_tracked(&t);
	sg_reset(&t.g);
	sg_negotiate(&t.g, SG_V1);
	sg_queue_setup(&t.g, 0, 8);
	vdpa_set_vq_inflight(t.g.dev, 0, t.area, 3);
	vdpa_set_vq_ready(t.g.dev, 0);
	vdpa_set_status(t.g.dev, 15);
	sg_until_status(&t.g, VIRTIO_CONFIG_S_NEEDS_RESET);
	close_tracked(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_got_again),
		cmocka_unit_test(test_reset_forgets),
		cmocka_unit_test(test_queue_reset_forgets),
		cmocka_unit_test(test_drain_keeps),
		cmocka_unit_test(test_replaced),
		cmocka_unit_test(test_call_owed),
		cmocka_unit_test(test_unusable),
	};

	return cmocka_run_group_tests_name("kit inflight", tests, NULL, NULL);
}
