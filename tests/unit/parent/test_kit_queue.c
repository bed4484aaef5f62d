// SPDX-License-Identifier: BSD-3-Clause
/* Life of a queue: start, kick, call, drain, reset, suspend, deadline. */
#include <sys/eventfd.h>
#include "hold_dev.h"

#define NR VIRTIO_CONFIG_S_NEEDS_RESET
#define MS (SG_SECOND / 1000)

static bool filled(struct soft_guest *g, unsigned slot)
{
	return g->mem[SG_DATA + slot * 4096] == HOLD_FILL;
}

static int stop(struct soft_guest *g, unsigned idx)
{
	struct sg_wait wait = {0};
	struct vdpa_done done = sg_done(&wait);

	assert_int_equal(vdpa_stop_vq(g->dev, (uint16_t)idx, &done), 0);
	return sg_wait(g, &wait);
}

static uint16_t where(struct soft_guest *g, unsigned idx)
{
	struct vdpa_vq_state state;

	assert_int_equal(vdpa_get_vq_state(g->dev, (uint16_t)idx, &state), 0);
	return state.split.avail_index;
}

static void test_ready_then_ok(void **state)
{
	struct soft_guest g;
	struct hold_dev *dev = hold_open(&g, NULL);
	uint32_t len;

	sg_map(&g);
	sg_negotiate(&g, SG_V1);
	sg_queue(&g, 0, 16);
	hold_post(&g, 0, 0, 10);
	sg_run(&g, 5 * MS);
	assert_int_equal(dev->q[0].starts, 0);
	assert_false(filled(&g, 0));
	sg_driver_ok(&g);
	assert_int_equal(dev->driver_oks, 1);
	assert_non_null(sg_get(&g, 0, &len, SG_PATIENCE));
	/* And one that comes later. */
	sg_queue(&g, 1, 16);
	hold_post(&g, 1, 1, 10);
	assert_non_null(sg_get(&g, 1, &len, SG_PATIENCE));
	assert_true(vdpa_get_vq_ready(g.dev, 1));
	assert_false(vdpa_get_vq_ready(g.dev, 2));
	sg_close(&g);
}

static void test_busy_while_running(void **state)
{
	struct soft_guest g;
	struct vdpa_vq_state zero = {0};

	hold_open(&g, NULL);
	sg_start(&g, SG_V1, 1, 16);
	sg_run(&g, 5 * MS);
	assert_int_equal(vdpa_set_vq_address(g.dev, 0, 1, 2, 3), -EBUSY);
	assert_int_equal(vdpa_set_vq_state(g.dev, 0, &zero), -EBUSY);
	assert_int_equal(vdpa_set_vq_inflight(g.dev, 0, &zero, 1024), -EBUSY);
	vdpa_set_vq_num(g.dev, 0, 8);
	assert_int_equal(g.dev->config->get_vq_size(g.dev, 0), 16);
	sg_close(&g);
}

/* What is out is completed first; then the position is exact, and the queue can go on from there.
 */
static void test_drain(void **state)
{
	struct sg_wait wait = {0};
	struct vdpa_done done = sg_done(&wait);
	struct soft_guest g;
	struct hold_dev *dev = hold_open(&g, NULL);
	uint32_t len;

	dev->hold = true;
	sg_start(&g, SG_V1, 1, 16);
	for (unsigned i = 0; i < 3; i++)
		hold_post(&g, 0, i, 10);
	sg_run(&g, 5 * MS);
	assert_int_equal(dev->q[0].n, 3);
	assert_int_equal(vdpa_stop_vq(g.dev, 0, &done), 0);
	sg_run(&g, 20 * MS);
	assert_false(wait.done);
	/* Comes too late: it stays in the ring. */
	hold_post(&g, 0, 3, 10);
	sg_run(&g, 5 * MS);
	assert_int_equal(dev->q[0].n, 3);
	hold_release(dev, 0);
	assert_int_equal(sg_wait(&g, &wait), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_non_null(sg_get(&g, 0, &len, SG_PATIENCE));
	assert_int_equal(where(&g, 0), 3);
	assert_false(vdpa_get_vq_ready(g.dev, 0));
	dev->hold = false;
	assert_int_equal(vdpa_set_vq_ready(g.dev, 0), 0);
	assert_non_null(sg_get(&g, 0, &len, SG_PATIENCE));
	assert_int_equal(stop(&g, 0), 0);
	assert_int_equal(where(&g, 0), 4);
	/* Of a queue that does not run: at once. */
	assert_int_equal(stop(&g, 0), 0);
	assert_int_equal(stop(&g, 3), 0);
	sg_close(&g);
}

static void test_reset_in_flight(void **state)
{
	struct sg_wait wait[3] = {{0}};
	struct vdpa_done done[3] = {sg_done(&wait[0]), sg_done(&wait[1]), sg_done(&wait[2])};
	struct soft_guest g;
	struct hold_dev *dev = hold_open(&g, NULL);

	dev->hold = dev->ignore_stop = true;
	sg_start(&g, SG_V1, 1, 16);
	hold_post(&g, 0, 0, 10);
	sg_run(&g, 5 * MS);
	assert_int_equal(vdpa_reset(g.dev, &done[0]), 0);
	assert_int_equal(vdpa_reset(g.dev, &done[1]), 0);
	sg_run(&g, 20 * MS);
	assert_false(wait[0].done);
	/* Nothing is possible meanwhile. */
	assert_int_equal(vdpa_suspend(g.dev, &done[2]), -EBUSY);
	assert_int_equal(vdpa_resume(g.dev), -EBUSY);
	assert_int_equal(vdpa_set_features(g.dev, SG_V1 | HOLD_F_ONE), -EBUSY);
	vdpa_set_status(g.dev, 0x8f);
	assert_int_equal(vdpa_get_status(g.dev) & 0x80, 0);
	assert_int_equal(vdpa_set_vq_address(g.dev, 0, 0, 0, 0), -EBUSY);
	vdpa_set_vq_ready(g.dev, 0);
	assert_false(vdpa_get_vq_ready(g.dev, 0));
	hold_release(dev, 0);
	assert_int_equal(sg_wait(&g, &wait[0]), 0);
	assert_int_equal(sg_wait(&g, &wait[1]), 0);
	assert_int_equal(vdpa_get_status(g.dev), 0);
	assert_int_equal(dev->resets, 1);
	assert_int_equal(where(&g, 0), 0);
	sg_close(&g);
}

/* A device that can cancel does, and the buffer stays as it was. */
static void test_reset_cancels(void **state)
{
	struct soft_guest g;
	struct hold_dev *dev = hold_open(&g, NULL);

	dev->hold = true;
	sg_start(&g, SG_V1, 1, 16);
	hold_post(&g, 0, 0, 10);
	sg_run(&g, 5 * MS);
	sg_reset(&g);
	assert_int_equal(dev->q[0].n, 0);
	assert_false(filled(&g, 0));
	/* A drain does not: that would lose a request. */
	sg_start(&g, SG_V1, 1, 16);
	hold_post(&g, 0, 0, 10);
	sg_run(&g, 5 * MS);
	vdpa_stop_vq(g.dev, 0, NULL);
	sg_run(&g, 20 * MS);
	assert_int_equal(dev->q[0].n, 1);
	/* Until a reset overtakes it. */
	sg_reset(&g);
	assert_int_equal(dev->q[0].n, 0);
	assert_int_equal(dev->q[0].stoppeds, 2);
	sg_close(&g);
}

static void test_suspend(void **state)
{
	struct sg_wait wait[2] = {{0}};
	struct vdpa_done done[2] = {sg_done(&wait[0]), sg_done(&wait[1])};
	struct soft_guest g;
	struct hold_dev *dev = hold_open(&g, NULL);
	uint32_t len;

	dev->hold = true;
	sg_start(&g, SG_V1, 2, 16);
	hold_post(&g, 0, 0, 10);
	sg_run(&g, 5 * MS);
	assert_int_equal(vdpa_suspend(g.dev, &done[0]), 0);
	sg_run(&g, 20 * MS);
	assert_false(wait[0].done);
	hold_release(dev, 0);
	assert_int_equal(sg_wait(&g, &wait[0]), 0);
	dev->hold = false;
	assert_non_null(sg_get(&g, 0, &len, SG_PATIENCE));
	assert_int_equal(where(&g, 0), 1);
	/* Quiet: nothing is got, and the position can be set. */
	hold_post(&g, 0, 1, 10);
	sg_kick(&g, 0);
	assert_int_equal(vdpa_kick_vq(g.dev, 1), 0);
	sg_run(&g, 20 * MS);
	assert_int_equal(dev->q[0].served, 1);
	assert_true(vdpa_get_vq_ready(g.dev, 0));
	assert_int_equal(vdpa_suspend(g.dev, &done[1]), 0);
	assert_int_equal(sg_wait(&g, &wait[1]), 0);
	/* The kick that came meanwhile is not lost. */
	assert_int_equal(vdpa_resume(g.dev), 0);
	assert_non_null(sg_get(&g, 0, &len, SG_PATIENCE));
	sg_close(&g);
}

static void test_reset_ends_suspend(void **state)
{
	struct sg_wait s = {0}, r = {0};
	struct vdpa_done sd = sg_done(&s), rd = sg_done(&r);
	struct soft_guest g;
	struct hold_dev *dev = hold_open(&g, NULL);
	uint32_t len;

	dev->hold = dev->ignore_stop = true;
	sg_start(&g, SG_V1, 1, 16);
	hold_post(&g, 0, 0, 10);
	sg_run(&g, 5 * MS);
	assert_int_equal(vdpa_suspend(g.dev, &sd), 0);
	assert_int_equal(vdpa_reset(g.dev, &rd), 0);
	sg_run(&g, 20 * MS);
	assert_int_equal(s.result, -ECANCELED);
	assert_true(s.done && !r.done);
	hold_release(dev, 0);
	assert_int_equal(sg_wait(&g, &r), 0);
	sg_reset(&g);
	/* Not suspended any more. */
	dev->hold = false;
	sg_start(&g, SG_V1, 1, 16);
	hold_post(&g, 0, 0, 10);
	assert_non_null(sg_get(&g, 0, &len, SG_PATIENCE));
	sg_close(&g);
}

/* A resume that overtakes its suspend: the queue goes on when it has drained. */
static void test_resume_in_suspend(void **state)
{
	struct sg_wait wait = {0};
	struct vdpa_done done = sg_done(&wait);
	struct soft_guest g;
	struct hold_dev *dev = hold_open(&g, NULL);
	uint32_t len;

	dev->hold = true;
	sg_start(&g, SG_V1, 1, 16);
	hold_post(&g, 0, 0, 10);
	sg_run(&g, 5 * MS);
	assert_int_equal(vdpa_suspend(g.dev, &done), 0);
	assert_int_equal(vdpa_resume(g.dev), 0);
	assert_int_equal(sg_wait(&g, &wait), -ECANCELED);
	hold_release(dev, 0);
	dev->hold = false;
	hold_post(&g, 0, 1, 10);
	assert_non_null(sg_get(&g, 0, &len, SG_PATIENCE));
	assert_non_null(sg_get(&g, 0, &len, SG_PATIENCE));
	sg_close(&g);
}

/* The backend does not give back: broken, and what comes back late writes nothing. */
static void test_deadline(void **state)
{
	struct hold_params p = {.stop_timeout_ns = 30 * MS};
	struct soft_guest g;
	struct hold_dev *dev = hold_open(&g, &p);
	struct sg_wait wait = {0};
	struct vdpa_done done = sg_done(&wait);
	unsigned freed = 0;

	dev->freed = &freed;
	dev->hold = dev->ignore_stop = true;
	sg_start(&g, SG_V1, 2, 16);
	hold_post(&g, 0, 0, 10);
	sg_run(&g, 5 * MS);
	assert_int_equal(stop(&g, 0), -ETIMEDOUT);
	assert_true(vdpa_get_status(g.dev) & NR);
	assert_int_equal(dev->q[1].stoppeds, 1);
	/* A reset cannot do more. */
	assert_int_equal(vdpa_reset(g.dev, &done), 0);
	assert_int_equal(sg_wait(&g, &wait), -ETIMEDOUT);
	assert_int_equal(vdpa_get_status(g.dev), NR);
	hold_release(dev, 0);
	assert_false(filled(&g, 0));
	sg_run(&g, 5 * MS);
	assert_int_equal(dev->q[0].stoppeds, 1);
	/* All is back: now it can. */
	dev->hold = false;
	sg_reset(&g);
	sg_start(&g, SG_V1, 1, 16);
	hold_post(&g, 0, 0, 10);
	uint32_t len;
	assert_non_null(sg_get(&g, 0, &len, SG_PATIENCE));
	sg_close(&g);
	assert_int_equal(freed, 1);
}

/* Deleted while the backend holds a request: the device's memory stays until that is over. */
static void test_delete_stuck(void **state)
{
	struct hold_params p = {.stop_timeout_ns = 10 * MS};
	struct soft_guest g;
	struct hold_dev *dev = hold_open(&g, &p);
	unsigned freed = 0;

	dev->freed = &freed;
	dev->hold = dev->ignore_stop = true;
	sg_start(&g, SG_V1, 1, 16);
	hold_post(&g, 0, 0, 10);
	sg_run(&g, 5 * MS);
	sg_del(&g);
	assert_int_equal(freed, 0);
	assert_int_equal(vdpa_ctx_free(g.ctx), -EBUSY);
	hold_release(dev, 0);
	assert_false(filled(&g, 0));
	sg_close(&g);
	assert_int_equal(freed, 1);
}

/* virtio 1.3, 2.6.1 */
static void test_reset_vq(void **state)
{
	struct sg_wait wait = {0};
	struct vdpa_done done = sg_done(&wait);
	struct soft_guest g;
	struct hold_dev *dev = hold_open(&g, NULL);
	uint32_t len;

	dev->hold = true;
	sg_start(&g, SG_V1 | VDPA_BIT(VIRTIO_F_RING_RESET), 2, 16);
	hold_post(&g, 0, 0, 10);
	sg_run(&g, 5 * MS);
	assert_int_equal(g.dev->ext->reset_vq(g.dev, 0, &done), 0);
	assert_int_equal(sg_wait(&g, &wait), 0);
	assert_false(filled(&g, 0));
	assert_int_equal(where(&g, 0), 0);
	dev->hold = false;
	hold_post(&g, 1, 1, 10);
	assert_non_null(sg_get(&g, 1, &len, SG_PATIENCE));
	sg_queue(&g, 0, 16);
	hold_post(&g, 0, 2, 10);
	assert_non_null(sg_get(&g, 0, &len, SG_PATIENCE));
	sg_close(&g);
}

/* ---- kicks and calls ---- */

static void test_kick_fds(void **state)
{
	struct soft_guest g;
	uint32_t len;
	int fds[2];

	hold_open(&g, NULL);
	sg_start(&g, SG_V1, 1, 16);
	/* Without an eventfd: by the op. */
	assert_int_equal(vdpa_set_vq_kick(g.dev, 0, -1), 0);
	sg_run(&g, 5 * MS);
	hold_post(&g, 0, 0, 10);
	sg_run(&g, 20 * MS);
	assert_false(filled(&g, 0));
	vdpa_kick_vq(g.dev, 0);
	assert_non_null(sg_get(&g, 0, &len, SG_PATIENCE));
	/* A peer that hangs up is harmless, and costs nothing. */
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(vdpa_set_vq_kick(g.dev, 0, fds[0]), 0);
	sg_run(&g, 5 * MS);
	close(fds[0]);
	close(fds[1]);
	sg_run(&g, 5 * MS);
	assert_int_equal(vdpa_loop_run_once(vdpa_ctx_control(g.ctx), 0), 0);
	/* Something that cannot be polled. */
	fds[0] = fileno(tmpfile());
	assert_int_equal(vdpa_set_vq_kick(g.dev, 0, fds[0]), 0);
	sg_run(&g, 5 * MS);
	/* A new one, and the old one closed at once. */
	assert_int_equal(vdpa_set_vq_kick(g.dev, 0, g.q[0].kick), 0);
	hold_post(&g, 0, 1, 10);
	sg_kick(&g, 0);
	assert_non_null(sg_get(&g, 0, &len, SG_PATIENCE));
	assert_int_equal(vdpa_set_vq_kick(g.dev, 0, 100000), -EBADF);
	sg_close(&g);
}

static void called(void *priv)
{
	(*(unsigned *)priv)++;
}

static void test_calls(void **state)
{
	unsigned calls = 0;
	struct vdpa_callback cb = {called, &calls, -1};
	struct soft_guest g;
	uint64_t n;

	hold_open(&g, NULL);
	sg_start(&g, SG_V1, 1, 16);
	hold_post(&g, 0, 0, 10);
	sg_run(&g, 20 * MS);
	assert_int_equal(read(g.q[0].call, &n, 8), 8);
	/* Changed while it runs. */
	assert_int_equal(vdpa_set_vq_cb(g.dev, 0, &cb), 0);
	sg_run(&g, 5 * MS);
	calls = 0;
	hold_post(&g, 0, 1, 10);
	sg_run(&g, 20 * MS);
	assert_int_equal(calls, 1);
	assert_int_equal(read(g.q[0].call, &n, 8), -1);
	assert_int_equal(sg_stat(&g, 0, "calls"), 2);
	assert_int_equal(sg_stat(&g, 0, "received_desc"), 2);
	assert_int_equal(sg_stat(&g, 0, "completed_desc"), 2);
	/* Counters outlive a ring. */
	assert_int_equal(stop(&g, 0), 0);
	assert_int_equal(vdpa_set_vq_ready(g.dev, 0), 0);
	hold_post(&g, 0, 2, 10);
	sg_run(&g, 20 * MS);
	assert_int_equal(sg_stat(&g, 0, "completed_desc"), 3);
	sg_close(&g);
}

/* An idle device does nothing at all. */
static void test_idle(void **state)
{
	struct soft_guest g;
	struct hold_dev *dev = hold_open(&g, NULL);
	unsigned runs;
	uint32_t len;

	sg_start(&g, SG_V1, 2, 16);
	hold_post(&g, 0, 0, 10);
	assert_non_null(sg_get(&g, 0, &len, SG_PATIENCE));
	sg_run(&g, 5 * MS);
	runs = dev->runs;
	sg_run(&g, 50 * MS);
	assert_int_equal(dev->runs, runs);
	sg_close(&g);
}

/* A queue that always has more does not keep the others from their turn. */
static void test_fair(void **state)
{
	struct hold_params p = {.budget = 4};
	struct soft_guest g;
	struct hold_dev *dev = hold_open(&g, &p);
	uint32_t len;

	dev->endless = true;
	sg_start(&g, SG_V1, 2, 64);
	for (unsigned i = 0; i < 40; i++)
		hold_post(&g, 0, i, 10);
	hold_post(&g, 1, 50, 10);
	assert_non_null(sg_get(&g, 1, &len, SG_PATIENCE));
	assert_true(dev->max_budget <= 4);
	assert_true(dev->q[0].served <= 16);
	dev->endless = false;
	sg_close(&g);
}

#define MANY 1024

static bool fill_run(struct vdpa_soft *dev, struct vdpa_soft_vq *vq, unsigned budget)
{
	static const uint8_t text[] = "filled";
	struct vringh_chain *chain;
	unsigned n = vdpa_soft_getdesc(vq, &chain, 1);

	if (n)
		vdpa_soft_complete(vq, chain,
				   (uint32_t)vdpa_soft_push(vq, chain, 0, text, sizeof(text)));
	return n != 0;
}

static void open_many(struct soft_guest *g)
{
	static const struct vdpa_soft_ops ops = {.size = sizeof(ops), .run = fill_run};
	const struct vdpa_soft_params params = {
		.size = sizeof(params),
		.struct_size = sizeof(struct vdpa_soft),
		.ops = &ops,
		.name = "many",
		.parent = "test",
		.device_id = VIRTIO_ID_RNG,
		.nvqs = MANY,
	};
	struct vdpa_soft *dev;

	sg_open(g, 0);
	dev = vdpa_soft_alloc(g->ctx, &params, NULL);
	assert_non_null(dev);
	assert_int_equal(vdpa_soft_register(dev, NULL), 0);
	sg_use(g, &dev->vdpa);
	sg_map(g);
	sg_negotiate(g, SG_V1);
}

/* What the last queue fills, on a ring at the start of the memory. */
static void fill_by_the_last(struct soft_guest *g)
{
	const struct virtqueue_config config = {
		.size = sizeof(config),
		.num = 16,
		.features = SG_V1,
		.mem = g->mem,
		.mem_iova = SG_IOVA,
	};
	const struct virtqueue_sg sg = sg_at(SG_DATA, 16);
	iova_t desc, driver, device;
	struct virtqueue *vq;
	void *token = NULL;
	uint32_t len = 0;

	assert_int_equal(virtqueue_new(&config, &vq), 0);
	virtqueue_addrs(vq, &desc, &driver, &device);
	assert_int_equal(vdpa_set_vq_num(g->dev, MANY - 1, 16), 0);
	assert_int_equal(vdpa_set_vq_address(g->dev, MANY - 1, desc, driver, device), 0);
	assert_int_equal(vdpa_set_vq_state(g->dev, MANY - 1, &(struct vdpa_vq_state){0}), 0);
	assert_int_equal(vdpa_set_vq_ready(g->dev, MANY - 1), 0);
	sg_driver_ok(g);
	assert_int_equal(virtqueue_add(vq, &sg, 0, 1, vq), 0);
	virtqueue_publish(vq);
	assert_int_equal(vdpa_kick_vq(g->dev, MANY - 1), 0);
	for (unsigned i = 0; i < SG_TRIES && !token; i++) {
		sg_run(g, MS);
		token = virtqueue_get(vq, &len);
	}
	assert_ptr_equal(token, vq);
	assert_int_equal(len, sizeof("filled"));
	assert_string_equal((char *)g->mem + SG_DATA, "filled");
	sg_reset(g);
	virtqueue_free(vq);
}

/* What is kept of a queue is kept for each: none takes another's place, and the last one works. */
static void test_many_queues(void **state)
{
	struct soft_guest g;

	open_many(&g);
	for (unsigned i = 0; i < MANY; i++) {
		const struct vdpa_vq_state at = {.split.avail_index = (uint16_t)(i * 7 + 1)};

		assert_int_equal(vdpa_set_vq_state(g.dev, (uint16_t)i, &at), 0);
	}
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(where(&g, i), (uint16_t)(i * 7 + 1));
	fill_by_the_last(&g);
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(sg_stat(&g, i, "completed_desc"), i == MANY - 1);
	sg_close(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ready_then_ok),
		cmocka_unit_test(test_busy_while_running),
		cmocka_unit_test(test_drain),
		cmocka_unit_test(test_reset_in_flight),
		cmocka_unit_test(test_reset_cancels),
		cmocka_unit_test(test_suspend),
		cmocka_unit_test(test_reset_ends_suspend),
		cmocka_unit_test(test_resume_in_suspend),
		cmocka_unit_test(test_deadline),
		cmocka_unit_test(test_delete_stuck),
		cmocka_unit_test(test_reset_vq),
		cmocka_unit_test(test_kick_fds),
		cmocka_unit_test(test_calls),
		cmocka_unit_test(test_idle),
		cmocka_unit_test(test_fair),
		cmocka_unit_test(test_many_queues),
	};

	return cmocka_run_group_tests_name("kit queue", tests, NULL, NULL);
}
