// SPDX-License-Identifier: BSD-3-Clause
/*
 * In-flight tracking: what the area says at each moment, a device process that dies at any store,
 * and a peer that writes whatever it likes into the area.
 */
#include "ring_test.h"
#include "alloc_fail.h"

struct area_desc {
	uint8_t inflight;
	uint8_t padding[5];
	uint16_t next;
	uint64_t counter;
};

struct area {
	uint64_t features;
	uint16_t version, desc_num, last_batch_head, used_idx;
	struct area_desc desc[RT_NUM];
};

static struct area area __attribute__((aligned(64)));

/* ---- death at the n-th store (the library of this test calls the hook around each) ---- */

static long crash_in = -1;
static jmp_buf crash_to;

void ring_crash_hook(void);
void ring_crash_hook(void)
{
	if (crash_in >= 0 && crash_in-- == 0)
		longjmp(crash_to, 1);
}

/* ---- life ---- */

static struct vringh_inflight *attach(void)
{
	struct vringh_inflight *in = NULL;
	struct vdpa_error err = {0};

	if (vringh_inflight_new(&area, sizeof(area), RT_NUM, false, &in, &err))
		fail_msg("vringh_inflight_new: %s", err.msg);
	return in;
}

static void start(struct ring_test *t, struct vringh_inflight *in, uint16_t avail)
{
	struct vringh_config config = fake_ring_config(&t->r, 0);
	struct vdpa_error err = {0};

	config.inflight = in;
	config.state.split.avail_index = avail;
	if (vringh_init(&config, &t->vr, &err))
		fail_msg("vringh_init: %s", err.msg);
	t->g.vr = t->vr;
}

static void stop(struct ring_test *t, struct vringh_inflight *in)
{
	t->g.vr = NULL;
	vringh_free(t->vr);
	t->vr = NULL;
	vringh_inflight_free(in);
}

static void layout(void **state)
{
	(void)state;
	assert_int_equal(sizeof(area), 16 + 16 * RT_NUM);
	assert_int_equal(vringh_inflight_bytes(RT_NUM, false), 320); /* in steps of 64 */
	assert_int_equal(vringh_inflight_bytes(256, false), 4160);
}

/* The area at each step, as the specification has it. */
static void steps(void **state)
{
	struct ring_test t;
	struct vringh_inflight *in;

	(void)state;
	memset(&area, 0, sizeof(area));
	rt_prepare(&t, GUEST_LINEAR, GUEST_LINEAR);
	in = attach();
	start(&t, in, 0);
	for (unsigned i = 0; i < 4; i++)
		rt_simple(&t, i * 2);
	assert_int_equal(vringh_getdesc(t.vr, t.chains, 64), 4);
	assert_int_equal(area.version, 1);
	assert_int_equal(area.desc_num, RT_NUM);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(area.desc[i * 2].inflight, 1);
		assert_int_equal(area.desc[i * 2].counter, i);
		assert_int_equal(area.desc[i * 2 + 1].inflight, 0);
	}
	vringh_abandon(t.vr, 1);
	assert_int_equal(area.desc[6].inflight, 0);
	vringh_complete(t.vr, t.chains[1], 0);
	vringh_complete(t.vr, t.chains[0], 0);
	assert_int_equal(area.desc[0].inflight, 1);
	assert_int_equal(vringh_flush(t.vr), 0);
	assert_int_equal(area.desc[0].inflight, 0);
	assert_int_equal(area.desc[2].inflight, 0);
	assert_int_equal(area.desc[4].inflight, 1);
	assert_int_equal(area.last_batch_head, 0);
	assert_int_equal(area.desc[0].next, 2);
	assert_int_equal(area.used_idx, 2);
	/* A cancelled one is still to be done. */
	vringh_cancel(t.vr, t.chains[2]);
	assert_int_equal(area.desc[4].inflight, 1);
	stop(&t, in);

	in = attach();
	start(&t, in, 2);
	assert_int_equal(vringh_getdesc(t.vr, t.chains, 64), 2);
	assert_int_equal(t.chains[0]->head, 4);
	assert_int_equal(t.chains[1]->head, 6);
	assert_int_equal(vringh_state(t.vr).split.avail_index, 4);
	stop(&t, in);
	rt_end(&t);
}

/* What was out comes again, oldest first, before anything new; abandoned, it comes again again. */
static void resubmission(void **state)
{
	static const uint16_t order[] = {6, 0, 10, 4};
	struct ring_test t;
	struct vringh_inflight *in;

	(void)state;
	memset(&area, 0, sizeof(area));
	rt_prepare(&t, GUEST_LINEAR, GUEST_LINEAR);
	in = attach();
	start(&t, in, 0);
	for (unsigned i = 0; i < 4; i++)
		rt_simple(&t, order[i]);
	assert_int_equal(vringh_getdesc(t.vr, t.chains, 64), 4);
	stop(&t, in);
	rt_simple(&t, 12);

	in = attach();
	start(&t, in, 0);
	assert_true(vringh_notify_enable(t.vr));
	assert_int_equal(vringh_getdesc(t.vr, t.chains, 3), 3);
	vringh_abandon(t.vr, 2);
	assert_true(vringh_notify_enable(t.vr));
	assert_int_equal(vringh_getdesc(t.vr, t.chains + 1, 64), 4);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(t.chains[i]->head, order[i]);
	assert_int_equal(t.chains[4]->head, 12);
	vringh_abandon(t.vr, 3);
	assert_int_equal(vringh_getdesc(t.vr, t.chains + 2, 64), 3);
	for (unsigned i = 0; i < 5; i++)
		vringh_complete(t.vr, t.chains[i], 0);
	assert_int_equal(vringh_flush(t.vr), 0);
	assert_int_equal(fake_ring_used_idx(&t.r), 5);
	assert_int_equal(vringh_state(t.vr).split.avail_index, 5);
	for (unsigned i = 0; i < RT_NUM; i++)
		assert_int_equal(area.desc[i].inflight, 0);
	stop(&t, in);
	rt_end(&t);
}

/* The ring is stopped and started in one life: what was cancelled is got again. */
static void restart_with_the_same_area(void **state)
{
	struct ring_test t;
	struct vringh_inflight *in;

	(void)state;
	memset(&area, 0, sizeof(area));
	rt_prepare(&t, GUEST_LINEAR, GUEST_LINEAR);
	in = attach();
	start(&t, in, 0);
	for (unsigned i = 0; i < 4; i++)
		rt_simple(&t, i * 2);
	assert_int_equal(vringh_getdesc(t.vr, t.chains, 64), 4);
	vringh_complete(t.vr, t.chains[1], 0);
	assert_int_equal(vringh_flush(t.vr), 0);
	/* Completed and not flushed: the driver did not see it. */
	vringh_complete(t.vr, t.chains[3], 0);
	vringh_cancel(t.vr, t.chains[0]);
	vringh_cancel(t.vr, t.chains[2]);
	vringh_free(t.vr);
	start(&t, in, 1);
	assert_int_equal(vringh_getdesc(t.vr, t.chains, 64), 3);
	assert_int_equal(t.chains[0]->head, 0);
	assert_int_equal(t.chains[1]->head, 4);
	assert_int_equal(t.chains[2]->head, 6);
	assert_int_equal(vringh_state(t.vr).split.avail_index, 4);
	stop(&t, in);
	rt_end(&t);
}

/* The driver offers a head that is being done again. */
static void resubmitted_and_offered(void **state)
{
	struct ring_test t;
	struct vringh_inflight *in;

	(void)state;
	memset(&area, 0, sizeof(area));
	rt_prepare(&t, GUEST_LINEAR, GUEST_LINEAR);
	in = attach();
	start(&t, in, 0);
	rt_simple(&t, 0);
	assert_int_equal(vringh_getdesc(t.vr, t.chains, 64), 1);
	stop(&t, in);
	fake_ring_avail(&t.r, 0);
	fake_ring_publish(&t.r);
	in = attach();
	start(&t, in, 0);
	assert_int_equal(vringh_getdesc(t.vr, t.chains, 64), 1);
	assert_int_equal(vringh_getdesc(t.vr, t.chains + 1, 64), -EBADMSG);
	stop(&t, in);
	rt_end(&t);
}

static void forget(void **state)
{
	struct ring_test t;
	struct vringh_inflight *in;

	(void)state;
	memset(&area, 0, sizeof(area));
	rt_prepare(&t, GUEST_LINEAR, GUEST_LINEAR);
	in = attach();
	start(&t, in, 0);
	rt_simple(&t, 0);
	assert_int_equal(vringh_getdesc(t.vr, t.chains, 64), 1);
	t.g.vr = NULL;
	vringh_free(t.vr);
	vringh_inflight_forget(in);
	fake_ring_init(&t.r, &t.g, RT_RING, RT_NUM);
	start(&t, in, 0);
	assert_int_equal(vringh_getdesc(t.vr, t.chains, 64), 0);
	assert_int_equal(area.version, 1);
	stop(&t, in);
	rt_end(&t);
}

/* ---- death ---- */

/* Serve @n requests in batches, out of order; dies where the hook says. */
static void serve(struct ring_test *t, struct fake_rng *rng)
{
	struct vringh_chain *out[RT_NUM];
	int n = vringh_getdesc(t->vr, out, 1 + fake_below(rng, 6));

	assert_true(n >= 0);
	for (int i = 0; i < n; i++) {
		int j = (int)fake_below(rng, (uint32_t)n);
		struct vringh_chain *c = out[i];

		out[i] = out[j];
		out[j] = c;
	}
	for (int i = 0; i < n; i++) {
		vringh_complete(t->vr, out[i], 0);
		if (fake_below(rng, 3) == 0)
			assert_int_equal(vringh_flush(t->vr), 0);
	}
	assert_int_equal(vringh_flush(t->vr), 0);
}

/* Dies at store @at of a life; true when it came that far. */
static bool one_life(struct ring_test *t, struct fake_rng *rng, long at)
{
	struct vringh_inflight *in = NULL;
	volatile bool died = true;

	in = attach();
	start(t, in, fake_ring_used_idx(&t->r));
	if (!setjmp(crash_to)) {
		crash_in = at;
		for (unsigned i = 0; i < 3; i++)
			serve(t, rng);
		died = false;
	}
	crash_in = -1;
	stop(t, in);
	return died;
}

/*
 * For every store: requests of which some are done, death at that store, one more life; every
 * request is used exactly once.
 */
static void death_at_every_store(void **state)
{
	bool died = true;

	(void)state;
	for (long at = 0; died; at++) {
		struct fake_rng rng = {0x9e3779b97f4a7c15ull + (uint64_t)at};
		struct ring_test t;
		unsigned used[RT_NUM] = {0};

		memset(&area, 0, sizeof(area));
		rt_prepare(&t, GUEST_LINEAR, GUEST_LINEAR);
		for (unsigned i = 0; i < RT_NUM / 2; i++)
			rt_simple(&t, i * 2);
		died = one_life(&t, &rng, at);
		/* It dies once more while it repairs what the first death left. */
		one_life(&t, &rng, at % 13);
		for (unsigned i = 0; i < 4; i++)
			one_life(&t, &rng, -1);
		assert_int_equal(fake_ring_used_idx(&t.r), RT_NUM / 2);
		for (unsigned i = 0; i < RT_NUM / 2; i++)
			used[t.r.u->ring[i].id]++;
		for (unsigned i = 0; i < RT_NUM; i++) {
			assert_int_equal(used[i], i % 2 == 0);
			assert_int_equal(area.desc[i].inflight, 0);
		}
		assert_int_equal(area.used_idx, RT_NUM / 2);
		rt_end(&t);
		assert_true(at < 10000);
	}
}

/* The batch reached the ring, the process died before the call: the next one owes it. */
static void owes_a_call(void **state)
{
	struct ring_test t;
	struct vringh_inflight *in;

	(void)state;
	memset(&area, 0, sizeof(area));
	rt_prepare(&t, GUEST_LINEAR, GUEST_LINEAR);
	in = attach();
	start(&t, in, 0);
	rt_simple(&t, 0);
	rt_complete_flush(&t, rt_get(&t), 0);
	stop(&t, in);
	area.used_idx = 0;
	area.desc[0].inflight = 1;
	in = attach();
	start(&t, in, 0);
	assert_int_equal(vringh_getdesc(t.vr, t.chains, 64), 0);
	assert_true(vringh_need_notify(t.vr));
	assert_false(vringh_need_notify(t.vr));
	stop(&t, in);
	rt_end(&t);
}

/* ---- a hostile peer ---- */

static void refuse(size_t bytes, uint32_t num, bool packed, int code, const char *why)
{
	struct vringh_inflight *in = NULL;
	struct vdpa_error err = {0};

	assert_int_equal(vringh_inflight_new(&area, bytes, num, packed, &in, &err), code);
	assert_null(in);
	if (!strstr(err.msg, why))
		fail_msg("\"%s\" does not say \"%s\"", err.msg, why);
}

static void refused(void **state)
{
	struct vringh_inflight *in;
	struct vdpa_error err;
	struct ring_test t;
	struct vringh_config config;
	struct vringh *vr;

	(void)state;
	memset(&area, 0, sizeof(area));
	refuse(sizeof(area) - 1, RT_NUM, false, -EINVAL, "too small");
	refuse(0, RT_NUM, false, -EINVAL, "too small");
	refuse(SIZE_MAX, 32769, false, -EINVAL, "allowed are");
	refuse(sizeof(area), 0, false, -EINVAL, "allowed are");
	assert_int_equal(
		vringh_inflight_new((uint8_t *)&area + 4, sizeof(area), 8, false, &in, &err),
		-EINVAL);
	area.version = 2;
	area.desc_num = RT_NUM;
	refuse(sizeof(area), RT_NUM, false, -EINVAL, "version 2");
	area.version = 1;
	area.features = 1;
	refuse(sizeof(area), RT_NUM, false, -EINVAL, "features 0x1");
	area.features = 0;
	area.desc_num = RT_NUM * 2;
	refuse(sizeof(area), RT_NUM, false, -EINVAL, "for a ring of 32");

	/* An area of one size with a ring of another. */
	memset(&area, 0, sizeof(area));
	rt_prepare(&t, GUEST_LINEAR, GUEST_LINEAR);
	assert_int_equal(vringh_inflight_new(&area, sizeof(area), 8, false, &in, &err), 0);
	config = fake_ring_config(&t.r, 0);
	config.inflight = in;
	assert_int_equal(vringh_init(&config, &vr, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "in-flight area is not for a split ring of 16"));
	vringh_inflight_free(in);
	vringh_inflight_free(NULL);
	rt_end(&t);
}

static void no_memory(void **state)
{
	(void)state;
	memset(&area, 0, sizeof(area));
	for (alloc_fail_begin(); alloc_fail_more();) {
		struct vringh_inflight *in = NULL;
		int rc = vringh_inflight_new(&area, sizeof(area), RT_NUM, false, &in, NULL);

		alloc_fail_off();
		assert_true(rc == 0 || rc == -ENOMEM);
		vringh_inflight_free(in);
	}
}

/* Any bytes: no crash, bounded work, at most num requests, each head once. */
static void garbage(void **state)
{
	struct fake_rng rng = {12345};

	(void)state;
	for (unsigned round = 0; round < 3000; round++) {
		struct ring_test t;
		struct vringh_inflight *in;
		uint32_t seen = 0;
		int n;

		for (size_t i = 0; i < sizeof(area); i++)
			((uint8_t *)&area)[i] = (uint8_t)fake_rand(&rng);
		area.version = 1;
		area.features = 0;
		area.desc_num = RT_NUM;
		area.used_idx = (uint16_t)(fake_rand(&rng) % 32 - 16);
		for (unsigned i = 0; i < RT_NUM; i++)
			area.desc[i].next %= round % 2 ? 65535 : RT_NUM;
		rt_prepare(&t, GUEST_LINEAR, GUEST_LINEAR);
		for (unsigned i = 0; i < RT_NUM; i++)
			fake_ring_desc(&t.r, i, RT_BUF, 1, 0, 0);
		in = attach();
		start(&t, in, 0);
		/* It is not read again. */
		memset(&area, 0xff, sizeof(area));
		n = vringh_getdesc(t.vr, t.chains, 64);
		assert_in_range(n + 200, 0, 200 + RT_NUM);
		for (int i = 0; i < n; i++) {
			assert_false(seen & 1u << t.chains[i]->head);
			seen |= 1u << t.chains[i]->head;
			vringh_complete(t.vr, t.chains[i], 0);
			memset(&area, (int)fake_rand(&rng), sizeof(area));
			assert_int_equal(vringh_flush(t.vr), 0);
		}
		stop(&t, in);
		rt_end(&t);
	}
}

/* An area that belongs to another life of the ring: it is started afresh. */
static void area_of_another_life(void **state)
{
	struct ring_test t;
	struct vringh_inflight *in;

	(void)state;
	memset(&area, 0, sizeof(area));
	area.version = 1;
	area.desc_num = RT_NUM;
	area.used_idx = 500;
	area.desc[3].inflight = 1;
	rt_prepare(&t, GUEST_LINEAR, GUEST_LINEAR);
	in = attach();
	start(&t, in, 0);
	rt_simple(&t, 0);
	assert_int_equal(vringh_getdesc(t.vr, t.chains, 64), 1);
	assert_int_equal(t.chains[0]->head, 0);
	assert_int_equal(area.desc[3].inflight, 0);
	stop(&t, in);
	rt_end(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(layout),
		cmocka_unit_test(steps),
		cmocka_unit_test(resubmission),
		cmocka_unit_test(restart_with_the_same_area),
		cmocka_unit_test(resubmitted_and_offered),
		cmocka_unit_test(forget),
		cmocka_unit_test(death_at_every_store),
		cmocka_unit_test(owes_a_call),
		cmocka_unit_test(refused),
		cmocka_unit_test(no_memory),
		cmocka_unit_test(garbage),
		cmocka_unit_test(area_of_another_life),
	};

	return cmocka_run_group_tests_name("ring-inflight", tests, NULL, NULL);
}
