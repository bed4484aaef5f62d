// SPDX-License-Identifier: BSD-3-Clause
/*
 * Queues that are looked at before their loop sleeps; polling and sleeping in turn, and from worker
 * to worker, under load.
 */
#include <poll.h>
#include "hold_dev.h"

#define MS (SG_SECOND / 1000)
#define SLOTS 16u

static struct vdpa_loop_stats stats_of(struct soft_guest *g, unsigned loop)
{
	struct vdpa_loop_group *loops = vdpa_ctx_loops(g->ctx);
	struct vdpa_loop_stats stats;

	vdpa_loop_get_stats(loop ? vdpa_loop_group_worker(loops, loop - 1)
				 : vdpa_loop_group_control(loops),
			    &stats);
	return stats;
}

/* One request, and how it is answered; true when the driver was asked for a kick. */
static bool one(struct soft_guest *g, unsigned slot)
{
	struct virtqueue_sg sg = sg_at(SG_DATA + slot * 4096, 64);
	uint32_t len;
	bool kick;
	int token;

	assert_int_equal(virtqueue_add(g->q[0].vq, &sg, 0, 1, &token), 0);
	kick = virtqueue_publish(g->q[0].vq);
	if (kick)
		sg_kick(g, 0);
	assert_ptr_equal(sg_get(g, 0, &len, SG_PATIENCE), &token);
	return kick;
}

/* A driver that comes back soon finds a queue that is looked at: no kick is asked for, and none is
 * needed. */
static void test_polled(void **state)
{
	struct soft_guest g;
	struct hold_dev *dev = hold_open(&g, NULL);
	unsigned kicks = 0;

	vdpa_soft_set_busyloop(&dev->soft, 1000000);
	assert_int_equal(vdpa_soft_get_busyloop(&dev->soft), 1000000);
	sg_start(&g, SG_V1, 1, 16);
	/* From nothing to the whole of it. */
	for (unsigned i = 0; i < 40; i++)
		kicks += one(&g, i % SLOTS);
	assert_true(kicks >= 1);
	for (unsigned i = 0; i < 40; i++)
		assert_false(one(&g, i % SLOTS));
	assert_int_equal(dev->q[0].served, 80);
	/* Off: the wait that is under way ends, and the next one is none. */
	vdpa_soft_set_busyloop(&dev->soft, 0);
	one(&g, 0);
	sg_run(&g, 1100 * MS);
	assert_true(one(&g, 0));
	sg_close(&g);
}

/* One that comes back late is not waited for after some time. */
static void test_adapts(void **state)
{
	struct vdpa_loop_stats before, after;
	struct soft_guest g;
	struct hold_dev *dev = hold_open(&g, NULL);

	vdpa_soft_set_busyloop(&dev->soft, 1000000);
	sg_start(&g, SG_V1, 1, 16);
	for (unsigned i = 0; i < 40; i++)
		one(&g, i % SLOTS);
	vdpa_soft_set_busyloop(&dev->soft, 1000);
	sg_run(&g, 1100 * MS);
	for (unsigned i = 0; i < 14; i++) {
		assert_true(one(&g, i));
		sg_run(&g, 5 * MS);
	}
	before = stats_of(&g, 0);
	one(&g, 0);
	sg_run(&g, 5 * MS);
	after = stats_of(&g, 0);
	assert_int_equal(after.spins, before.spins);
	assert_true(after.sleeps > before.sleeps);
	sg_close(&g);
}

/* Without a busyloop a queue sleeps when it has nothing to do; and an idle loop stays asleep. */
static void test_idle_sleeps(void **state)
{
	struct vdpa_loop_stats before, after;
	struct vdpa_error err = {.msg = ""};
	struct soft_guest g;
	struct hold_dev *dev;
	bool never = false;
	uint64_t end;

	sg_open(&g, 1);
	dev = hold_make(g.ctx, "h0", NULL, &err);
	assert_non_null(dev);
	assert_int_equal(vdpa_soft_register(&dev->soft, &err), 0);
	sg_use(&g, &dev->soft.vdpa);
	sg_start(&g, SG_V1, 1, 16);
	for (unsigned i = 0; i < 400; i++)
		one(&g, i % SLOTS);
	end = vdpa_clock_ns() + SG_PATIENCE;
	/* It may be some time before it comes to sleep. */
	do {
		before = stats_of(&g, 1);
		vdpa_ctx_wait(g.ctx, &never, 50 * MS);
		after = stats_of(&g, 1);
	} while (memcmp(&before, &after, sizeof(before)) && vdpa_clock_ns() < end);
	assert_int_equal(after.spins, before.spins);
	assert_int_equal(after.looks, before.looks);
	assert_int_equal(after.wakeups, before.wakeups);
	sg_close(&g);
}

/* ---- polling and sleeping in turn ---- */

struct load {
	struct soft_guest g;
	struct hold_dev *dev;
	unsigned depth;
	bool poll; /* the driver does not wait for calls */
	bool out[2][SLOTS];
	uint64_t sent, got, waits;
};

static void submit(struct load *load, unsigned idx)
{
	struct virtqueue *vq = load->g.q[idx].vq;
	bool any = false;

	for (unsigned i = 0; i < load->depth; i++) {
		unsigned slot = idx * SLOTS + i;
		struct virtqueue_sg sg = sg_at(SG_DATA + slot * 4096, 8);

		if (load->out[idx][i])
			continue;
		load->g.mem[SG_DATA + slot * 4096] = 0;
		load->out[idx][i] = any = true;
		load->sent++;
		assert_int_equal(virtqueue_add(vq, &sg, 0, 1, &load->out[idx][i]), 0);
	}
	if (any && virtqueue_publish(vq))
		sg_kick(&load->g, idx);
}

static bool reap(struct load *load, unsigned idx)
{
	bool any = false, *token;
	uint32_t len;

	while ((token = virtqueue_get(load->g.q[idx].vq, &len))) {
		unsigned slot = idx * SLOTS + (unsigned)(token - load->out[idx]);

		assert_true(*token);
		assert_int_equal(len, 8);
		assert_int_equal(load->g.mem[SG_DATA + slot * 4096], HOLD_FILL);
		*token = false;
		load->got++;
		any = true;
	}
	return any;
}

/* A call has to come: nobody looks at the rings meanwhile. The control loop runs as it would. */
static void wait_call(struct load *load)
{
	struct vdpa_loop *control = vdpa_ctx_control(load->g.ctx);
	struct pollfd pfd[3] = {{load->g.q[0].call, POLLIN, 0},
				{load->g.q[1].call, POLLIN, 0},
				{vdpa_loop_pollfd(control), POLLIN, 0}};
	uint64_t end = vdpa_clock_ns() + SG_PATIENCE, drained;

	if (virtqueue_enable_cb(load->g.q[0].vq) || virtqueue_enable_cb(load->g.q[1].vq))
		return;
	load->waits++;
	assert_int_equal(load->got + virtqueue_outstanding(load->g.q[0].vq) +
				 virtqueue_outstanding(load->g.q[1].vq),
			 load->sent);
	do {
		if (poll(pfd, 3, SG_PATIENCE / MS) <= 0 || vdpa_clock_ns() > end)
			fail_msg("an event was lost: nothing came of %u and %u requests",
				 virtqueue_outstanding(load->g.q[0].vq),
				 virtqueue_outstanding(load->g.q[1].vq));
		if (pfd[2].revents)
			vdpa_loop_run_once(control, 0);
	} while (!pfd[0].revents && !pfd[1].revents);
	for (unsigned i = 0; i < 2; i++) {
		ssize_t r = read(pfd[i].fd, &drained, sizeof(drained));

		(void)r;
		virtqueue_disable_cb(load->g.q[i].vq);
	}
}

static void run_load(struct load *load, uint64_t ns)
{
	uint64_t end = vdpa_clock_ns() + ns;
	bool any;

	do {
		submit(load, 0);
		submit(load, 1);
		any = reap(load, 0);
		any |= reap(load, 1);
		if (!any && !load->poll)
			wait_call(load);
		else if (!any)
			vdpa_loop_run_once(vdpa_ctx_control(load->g.ctx), 0);
	} while (vdpa_clock_ns() < end);
}

static void drain_load(struct load *load)
{
	uint64_t end = vdpa_clock_ns() + SG_PATIENCE;

	while (load->got != load->sent) {
		vdpa_loop_run_once(vdpa_ctx_control(load->g.ctx), 0);
		reap(load, 0);
		reap(load, 1);
		assert_true(vdpa_clock_ns() < end);
	}
}

static unsigned rounds(void)
{
	const char *text = getenv("UVDPA_TEST_ROUNDS");

	return text ? (unsigned)atoi(text) : 1;
}

static void load_begin(struct load *load, uint64_t features, unsigned workers)
{
	struct vdpa_error err = {.msg = ""};

	memset(load, 0, sizeof(*load));
	sg_open(&load->g, workers);
	load->dev = hold_make(load->g.ctx, "h0", NULL, &err);
	assert_non_null(load->dev);
	assert_int_equal(vdpa_soft_register(&load->dev->soft, &err), 0);
	sg_use(&load->g, &load->dev->soft.vdpa);
	sg_start(&load->g, features, 2, 16);
}

static void load_end(struct load *load, unsigned switches)
{
	drain_load(load);
	printf("%llu requests, %u switches, %llu waits\n", (unsigned long long)load->got, switches,
	       (unsigned long long)load->waits);
	vdpa_soft_set_busyloop(&load->dev->soft, 0);
	sg_reset(&load->g);
	assert_int_equal(load->dev->q[0].served + load->dev->q[1].served, load->got);
	sg_close(&load->g);
}

/* How the driver goes on. */
static void load_turn(struct load *load, unsigned *seed)
{
	*seed = *seed * 1103515245 + 12345;
	load->poll = (*seed >> 16) & 1;
	load->depth = 1 + (*seed >> 20) % SLOTS;
	run_load(load, 10 * MS);
}

static void toggle(uint64_t features, uint64_t ns)
{
	static const unsigned busyloops[] = {0, 20, 0, 100000, 500, 1000000};
	uint64_t end = vdpa_clock_ns() + ns;
	unsigned switches = 0, seed = 1;
	struct load load;

	load_begin(&load, features, 1);
	for (; vdpa_clock_ns() < end; switches++) {
		vdpa_soft_set_busyloop(&load.dev->soft, busyloops[switches % 6]);
		load_turn(&load, &seed);
	}
	load_end(&load, switches);
}

static void test_toggle(void **state)
{
	toggle(SG_V1, 300 * MS * rounds());
}

static void test_toggle_event_idx(void **state)
{
	toggle(SG_V1 | VDPA_BIT(VIRTIO_RING_F_EVENT_IDX), 300 * MS * rounds());
}

/* ---- from worker to worker ---- */

static void test_move(void **state)
{
	static const unsigned busyloops[] = {0, 100000};
	uint64_t end = vdpa_clock_ns() + 300 * MS * rounds();
	unsigned switches = 0, seed = 1;
	struct load load;

	load_begin(&load, SG_V1, 3);
	for (; vdpa_clock_ns() < end; switches++) {
		/* Processor n is worker n modulo 3, as none is tied to one. */
		struct vdpa_cpumask mask = {.bits = {1ull << (seed >> 24 & 31)}};

		vdpa_soft_set_busyloop(&load.dev->soft, busyloops[switches & 1]);
		assert_int_equal(vdpa_set_vq_affinity(load.g.dev, switches & 1, &mask), 0);
		/* And changing one's mind meanwhile. */
		mask.bits[0] = 1ull << (seed >> 16 & 31);
		if (seed & 0x10000)
			assert_int_equal(vdpa_set_vq_affinity(load.g.dev, 0, &mask), 0);
		load_turn(&load, &seed);
	}
	load_end(&load, switches);
}

/* What is out is drained where it is; the queue is on the other worker afterwards. */
static void test_affinity(void **state)
{
	struct vdpa_cpumask mask = {.bits = {0}};
	struct soft_guest *g;
	struct load load;

	load_begin(&load, SG_V1, 2);
	g = &load.g;
	assert_int_equal(vdpa_loop_group_get_cpu(vdpa_ctx_loops(g->ctx), 0), -1);
	assert_int_equal(vdpa_loop_group_set_cpu(vdpa_ctx_loops(g->ctx), 2, 0), -EINVAL);
	assert_int_equal(vdpa_loop_group_set_cpu(vdpa_ctx_loops(g->ctx), 1, 0), 0);
	assert_int_equal(vdpa_loop_group_get_cpu(vdpa_ctx_loops(g->ctx), 1), 0);
	/* No worker is tied to this one; nor to none. */
	mask.bits[1] = 1;
	assert_int_equal(vdpa_set_vq_affinity(g->dev, 0, &mask), -EINVAL);
	mask.bits[1] = 0;
	assert_int_equal(vdpa_set_vq_affinity(g->dev, 0, &mask), -EINVAL);
	assert_null(g->dev->config->get_vq_affinity(g->dev, 0));
	mask.bits[0] = 1;
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(vdpa_set_vq_affinity(g->dev, (uint16_t)i, &mask), 0);
		assert_int_equal(g->dev->config->get_vq_affinity(g->dev, (uint16_t)i)->bits[0], 1);
	}
	load.depth = 4;
	run_load(&load, 20 * MS);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(vdpa_loop_index(vdpa_soft_vq_loop(
					 vdpa_soft_get_vq(&load.dev->soft, (uint16_t)i))),
				 2);
	/* Back to where they were: devices begin at different workers. */
	assert_int_equal(vdpa_set_vq_affinity(g->dev, 0, NULL), 0);
	assert_null(g->dev->config->get_vq_affinity(g->dev, 0));
	run_load(&load, 20 * MS);
	load_end(&load, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_polled),		 cmocka_unit_test(test_adapts),
		cmocka_unit_test(test_idle_sleeps),	 cmocka_unit_test(test_toggle),
		cmocka_unit_test(test_toggle_event_idx), cmocka_unit_test(test_move),
		cmocka_unit_test(test_affinity),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
