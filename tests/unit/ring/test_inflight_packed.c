// SPDX-License-Identifier: BSD-3-Clause
/*
 * In-flight tracking of packed rings: what the area says at each moment, a device process that dies
 * at any store to area or ring, and a peer that writes whatever it likes into the area.
 */
#include "ring_test.h"
#include "alloc_fail.h"

struct area_desc {
	uint8_t inflight;
	uint8_t padding;
	uint16_t next, last, num;
	uint64_t counter;
	uint16_t id, flags;
	uint32_t len;
	uint64_t addr;
};

struct area {
	uint64_t features;
	uint16_t version, desc_num, free_head, old_free_head, used_idx, old_used_idx;
	uint8_t used_wrap, old_used_wrap, padding[7];
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

	if (vringh_inflight_new(&area, sizeof(area), RT_NUM, true, &in, &err))
		fail_msg("vringh_inflight_new: %s", err.msg);
	return in;
}

/* The front end knows of the state that the ring once began with, and no other. */
static void start(struct ring_test *t, struct vringh_inflight *in)
{
	struct vringh_config config = fake_ring_config(&t->r, rt_extra);
	struct vdpa_error err = {0};

	config.inflight = in;
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

static void begin(struct ring_test *t)
{
	memset(&area, 0, sizeof(area));
	rt_prepare(t, GUEST_LINEAR, GUEST_LINEAR);
}

static void layout(void **state)
{
	(void)state;
	assert_int_equal(sizeof(area), 32 + 32 * RT_NUM);
	assert_int_equal(vringh_inflight_bytes(RT_NUM, true), 576); /* in steps of 64 */
	assert_int_equal(vringh_inflight_bytes(256, true), 8256);
}

/* The area at each step, as the specification has it. */
static void steps(void **state)
{
	struct ring_test t;
	struct vringh_inflight *in;

	(void)state;
	begin(&t);
	in = attach();
	start(&t, in);
	for (unsigned i = 0; i < 4; i++)
		rt_simple(&t, i * 2);
	assert_int_equal(vringh_getdesc(t.vr, t.chains, 64), 4);
	assert_int_equal(area.version, 1);
	assert_int_equal(area.desc_num, RT_NUM);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(area.desc[i * 2].inflight, 1);
		assert_int_equal(area.desc[i * 2].counter, i);
		assert_int_equal(area.desc[i * 2].num, 2);
		assert_int_equal(area.desc[i * 2].last, i * 2 + 1);
		assert_int_equal(area.desc[i * 2].addr, GUEST_IOVA + RT_BUF + i * 2 * 64);
		assert_int_equal(area.desc[i * 2].len, 8);
		assert_int_equal(area.desc[i * 2 + 1].id, i * 2);
		assert_int_equal(area.desc[i * 2 + 1].inflight, 0);
		assert_int_equal(area.desc[i * 2 + 1].flags & (NEXT | WRITE), WRITE);
	}
	assert_int_equal(area.free_head, 8);
	assert_int_equal(area.old_free_head, 8);
	vringh_abandon(t.vr, 1);
	assert_int_equal(area.desc[6].inflight, 0);
	assert_int_equal(area.old_free_head, 6);
	assert_int_equal(area.desc[7].next, 8);
	vringh_complete(t.vr, t.chains[0], 0);
	vringh_complete(t.vr, t.chains[1], 0);
	assert_int_equal(area.desc[0].inflight, 1);
	assert_int_equal(vringh_flush(t.vr), 0);
	assert_int_equal(area.desc[0].inflight, 0);
	assert_int_equal(area.desc[2].inflight, 0);
	assert_int_equal(area.desc[4].inflight, 1);
	assert_int_equal(area.used_idx, 4);
	assert_int_equal(area.old_used_idx, 4);
	assert_int_equal(area.used_wrap, 1);
	assert_int_equal(area.old_used_wrap, 1);
	assert_int_equal(area.free_head, 2);
	assert_int_equal(area.old_free_head, 2);
	/* A cancelled one is still to be done. */
	vringh_cancel(t.vr, t.chains[2]);
	stop(&t, in);

	in = attach();
	start(&t, in);
	assert_int_equal(vringh_getdesc(t.vr, t.chains, 64), 2);
	assert_int_equal(t.chains[0]->head, 4);
	assert_int_equal(t.chains[1]->head, 6);
	rt_expect_got(&t, 4, 2);
	stop(&t, in);
	rt_end(&t);
}

/*
 * What was out comes again, oldest first, also when its descriptors were overwritten by what was
 * used meanwhile; abandoned, it comes again again.
 */
static void resubmission(void **state)
{
	static const uint16_t order[] = {6, 0, 10, 4};
	struct ring_test t;
	struct vringh_inflight *in;

	(void)state;
	begin(&t);
	in = attach();
	start(&t, in);
	for (unsigned i = 0; i < 4; i++)
		rt_simple(&t, order[i]);
	assert_int_equal(vringh_getdesc(t.vr, t.chains, 64), 4);
	if (!fake_in_order()) {
		vringh_complete(t.vr, t.chains[3], 0);
		vringh_complete(t.vr, t.chains[2], 0);
		assert_int_equal(vringh_flush(t.vr), 0);
		assert_int_equal(fake_ring_used_idx(&t.r), 2);
		rt_simple(&t, 4);
		rt_simple(&t, 10);
	}
	stop(&t, in);
	rt_simple(&t, 12);

	in = attach();
	start(&t, in);
	assert_true(vringh_notify_enable(t.vr));
	assert_int_equal(vringh_getdesc(t.vr, t.chains, 2), 2);
	vringh_abandon(t.vr, 1);
	assert_true(vringh_notify_enable(t.vr));
	assert_int_equal(vringh_getdesc(t.vr, t.chains + 1, 64), 4);
	for (unsigned i = 0; i < 2; i++) {
		struct vringh_chain *c = t.chains[i];

		assert_int_equal(c->head, order[i]);
		assert_int_equal(c->out_len, 8);
		assert_int_equal(c->in_len, 16);
		assert_ptr_equal(c->iov[0].iov_base,
				 (uint8_t *)vdpa_region_base(t.g.a) + RT_BUF + order[i] * 64);
	}
	assert_int_equal(t.chains[4]->head, 12);
	vringh_abandon(t.vr, 3);
	assert_int_equal(vringh_getdesc(t.vr, t.chains + 2, 64), 3);
	for (unsigned i = 0; i < 5; i++)
		vringh_complete(t.vr, t.chains[i], 1);
	assert_int_equal(vringh_flush(t.vr), 0);
	assert_int_equal(fake_ring_used_idx(&t.r), t.r.idx);
	rt_expect_got(&t, t.r.idx, 2);
	for (unsigned i = 0; i < RT_NUM; i++)
		assert_int_equal(area.desc[i].inflight, 0);
	stop(&t, in);
	rt_end(&t);
}

static void forget(void **state)
{
	struct ring_test t;
	struct vringh_inflight *in;

	(void)state;
	begin(&t);
	in = attach();
	start(&t, in);
	rt_simple(&t, 0);
	assert_int_equal(vringh_getdesc(t.vr, t.chains, 64), 1);
	t.g.vr = NULL;
	vringh_free(t.vr);
	vringh_inflight_forget(in);
	fake_ring_init(&t.r, &t.g, RT_RING, RT_NUM);
	start(&t, in);
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
	if (n && !fake_in_order() && fake_below(rng, 4) == 0)
		n--; /* it stays out */
	for (int i = 0; i < n; i++) {
		vringh_complete(t->vr, out[i], out[i]->in_len ? 1 : 0);
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
	start(t, in);
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

/* Lists of one to three descriptors, in the middle of the ring's life. */
static void post(struct ring_test *t, struct fake_rng *rng, unsigned n, uint16_t first)
{
	for (unsigned i = 0; i < n; i++) {
		uint16_t id = (uint16_t)((first + i * 2) % RT_NUM);

		if (fake_below(rng, 2)) {
			rt_simple(t, id);
			continue;
		}
		fake_ring_desc(&t->r, id, RT_BUF + id * 64, 8, 0, 0);
		fake_ring_avail(&t->r, id);
		fake_ring_publish(&t->r);
	}
}

/*
 * For every store: requests of which some are done, death at that store, and once more while the
 * first death is repaired; every request is used exactly once.
 */
static void death_at_every_store(void **state)
{
	bool died = true;

	(void)state;
	for (long at = 0; died; at++) {
		struct fake_rng rng = {0x9e3779b97f4a7c15ull + (uint64_t)at};
		struct ring_test t;
		unsigned used[RT_NUM] = {0};

		begin(&t);
		fake_ring_start_at(&t.r, (uint16_t)(at * 3));
		post(&t, &rng, RT_NUM / 2, 0);
		died = one_life(&t, &rng, at);
		one_life(&t, &rng, at % 29);
		assert_in_range((uint16_t)(fake_ring_used_idx(&t.r) - t.r.start), 0, RT_NUM / 2);
		for (unsigned i = 0; i < 6; i++) {
			one_life(&t, &rng, -1);
			fake_ring_used_idx(&t.r);
		}
		assert_int_equal(t.r.u->idx, t.r.idx);
		for (unsigned i = 0; i < RT_NUM / 2; i++)
			used[t.r.u->ring[(t.r.start + i) % RT_NUM].id]++;
		for (unsigned i = 0; i < RT_NUM; i++) {
			assert_int_equal(used[i], i % 2 == 0);
			assert_int_equal(area.desc[i].inflight, 0);
		}
		assert_int_equal(area.used_idx, area.old_used_idx);
		rt_end(&t);
		assert_true(at < 10000);
	}
}

/* Used descriptors of a batch whose first was not written: the driver must not find them later. */
static void half_a_batch(void **state)
{
	volatile bool died = true;

	(void)state;
	for (volatile long at = 0; died; at++) {
		struct vringh_inflight *in;
		struct ring_test t;

		begin(&t);
		in = attach();
		start(&t, in);
		rt_simple(&t, 0);
		rt_simple(&t, 2);
		assert_int_equal(vringh_getdesc(t.vr, t.chains, 64), 2);
		vringh_complete(t.vr, t.chains[0], 1);
		vringh_complete(t.vr, t.chains[1], 1);
		if (!setjmp(crash_to)) {
			crash_in = at;
			assert_int_equal(vringh_flush(t.vr), 0);
			died = false;
		}
		crash_in = -1;
		stop(&t, in);
		if (fake_ring_used_idx(&t.r) == 0) {
			in = attach();
			start(&t, in);
			assert_int_equal(vringh_getdesc(t.vr, t.chains, 64), 2);
			rt_complete_flush(&t, t.chains[0], 1);
			assert_int_equal(fake_ring_used_idx(&t.r), 1);
			rt_complete_flush(&t, t.chains[1], 1);
			stop(&t, in);
		}
		assert_int_equal(fake_ring_used_idx(&t.r), 2);
		rt_end(&t);
	}
}

/* The batch reached the ring, the process died before the call: the next one owes it. */
static void owes_a_call(void **state)
{
	struct ring_test t;
	struct vringh_inflight *in;

	(void)state;
	begin(&t);
	in = attach();
	start(&t, in);
	rt_simple(&t, 0);
	rt_complete_flush(&t, rt_get(&t), 0);
	stop(&t, in);
	area.old_used_idx = 0;
	area.old_free_head = 2;
	area.desc[0].inflight = 1;
	in = attach();
	start(&t, in);
	assert_int_equal(vringh_getdesc(t.vr, t.chains, 64), 0);
	assert_true(vringh_need_notify(t.vr));
	assert_false(vringh_need_notify(t.vr));
	stop(&t, in);
	rt_end(&t);
}

/* A batch that cannot be published yet is not in the area either: requests may come meanwhile. */
static void batch_waits(void **state)
{
	struct ring_test t;
	struct vringh_inflight *in;

	(void)state;
	begin(&t);
	in = attach();
	start(&t, in);
	rt_simple(&t, 0);
	rt_simple(&t, 2);
	vringh_complete(t.vr, rt_get(&t), 1);
	fake_guest_misses(&t.g);
	fake_guest_unmap(&t.g, RT_RING, RT_TABLE - RT_RING);
	fake_guest_map(&t.g, RT_RING, RT_TABLE - RT_RING, GUEST_LINEAR, VHOST_MAP_RO);
	assert_int_not_equal(vringh_flush(t.vr), 0);
	assert_int_equal(area.desc[0].inflight, 1);
	assert_int_equal(area.free_head, area.old_free_head);
	assert_int_equal(area.used_idx, 0);
	stop(&t, in);
	fake_guest_unmap(&t.g, RT_RING, RT_TABLE - RT_RING);
	fake_guest_map(&t.g, RT_RING, RT_TABLE - RT_RING, GUEST_LINEAR, VHOST_MAP_RW);
	in = attach();
	start(&t, in);
	assert_int_equal(vringh_getdesc(t.vr, t.chains, 64), 2);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(t.chains[i]->head, i * 2);
		vringh_complete(t.vr, t.chains[i], 1);
	}
	assert_int_equal(vringh_flush(t.vr), 0);
	assert_int_equal(fake_ring_used_idx(&t.r), 2);
	stop(&t, in);
	rt_end(&t);
}

/* ---- a hostile peer ---- */

static void refuse(size_t bytes, uint32_t num, int code, const char *why)
{
	struct vringh_inflight *in = NULL;
	struct vdpa_error err = {0};

	assert_int_equal(vringh_inflight_new(&area, bytes, num, true, &in, &err), code);
	assert_null(in);
	if (!strstr(err.msg, why))
		fail_msg("\"%s\" does not say \"%s\"", err.msg, why);
}

static void refused(void **state)
{
	struct vringh_inflight *in;
	struct vdpa_error err;
	struct vringh_config config;
	struct ring_test t;
	struct vringh *vr;

	(void)state;
	memset(&area, 0, sizeof(area));
	refuse(sizeof(area) - 1, RT_NUM, -EINVAL, "too small");
	refuse(SIZE_MAX, 32769, -EINVAL, "allowed are");
	area.version = 2;
	area.desc_num = RT_NUM;
	refuse(sizeof(area), RT_NUM, -EINVAL, "version 2");
	area.version = 1;
	area.features = 1;
	refuse(sizeof(area), RT_NUM, -EINVAL, "features 0x1");
	area.features = 0;
	area.desc_num = RT_NUM * 2;
	refuse(sizeof(area), RT_NUM, -EINVAL, "for a ring of 32");

	/* An area of one format with a ring of the other. */
	begin(&t);
	assert_int_equal(vringh_inflight_new(&area, sizeof(area), RT_NUM, false, &in, &err), 0);
	config = fake_ring_config(&t.r, 0);
	config.inflight = in;
	assert_int_equal(vringh_init(&config, &vr, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "not for a packed ring"));
	vringh_inflight_free(in);
	rt_end(&t);
}

static void no_memory(void **state)
{
	(void)state;
	memset(&area, 0, sizeof(area));
	for (alloc_fail_begin(); alloc_fail_more();) {
		struct vringh_inflight *in = NULL;
		int rc = vringh_inflight_new(&area, sizeof(area), RT_NUM, true, &in, NULL);

		alloc_fail_off();
		assert_true(rc == 0 || rc == -ENOMEM);
		vringh_inflight_free(in);
	}
}

/* Bytes that look right to different degrees. */
static void scribble(struct fake_rng *rng, unsigned round)
{
	for (size_t i = 0; i < sizeof(area); i++)
		((uint8_t *)&area)[i] = (uint8_t)fake_rand(rng);
	area.version = 1;
	area.features = 0;
	area.desc_num = RT_NUM;
	if (round % 8 == 0)
		return;
	area.used_wrap &= 1;
	area.old_used_wrap &= 1;
	area.used_idx %= RT_NUM;
	area.old_used_idx %= RT_NUM;
	area.free_head %= RT_NUM + 1;
	area.old_free_head %= RT_NUM + 1;
	for (unsigned i = 0; i < RT_NUM; i++) {
		struct area_desc *d = &area.desc[i];

		d->next %= round % 3 ? RT_NUM + 1 : 65535;
		d->id = (uint16_t)(round % 2 ? i : d->id % (RT_NUM + 1));
		d->num %= round % 4 ? 3 : RT_NUM * 2;
		d->last = round % 5 ? (uint16_t)(d->num == 1 ? i : d->next) : d->last;
		d->inflight = fake_below(rng, 3) == 0;
		d->addr = GUEST_IOVA + (fake_below(rng, 3) ? RT_BUF : RT_TABLE);
		d->len = fake_below(rng, 64);
		d->flags &= round % 7 ? WRITE : 7;
	}
}

/* Any bytes: no crash, bounded work, at most num requests, each id once. */
static void garbage(void **state)
{
	struct fake_rng rng = {12345 + rt_extra};
	unsigned total = 0;

	(void)state;
	for (unsigned round = 0; round < 1000; round++) {
		struct ring_test t;
		struct vringh_inflight *in;
		uint32_t seen = 0;
		int n;

		scribble(&rng, round);
		rt_prepare(&t, GUEST_LINEAR, GUEST_LINEAR);
		for (unsigned i = 0; i < RT_NUM; i++)
			fake_packed_desc(&t.r, i, GUEST_IOVA + RT_BUF, 1, (uint16_t)i,
					 (uint16_t)fake_rand(&rng));
		in = attach();
		start(&t, in);
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
			total++;
		}
		stop(&t, in);
		rt_end(&t);
	}
	assert_true(total > 500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(layout),
		cmocka_unit_test(steps),
		cmocka_unit_test(resubmission),
		cmocka_unit_test(forget),
		cmocka_unit_test(death_at_every_store),
		cmocka_unit_test(owes_a_call),
		cmocka_unit_test(half_a_batch),
		cmocka_unit_test(batch_waits),
		cmocka_unit_test(refused),
		cmocka_unit_test(no_memory),
		cmocka_unit_test(garbage),
	};
	int failed = 0;

	fake_ring_mode = F_PACKED;
	failed += cmocka_run_group_tests_name("ring-inflight-packed", tests, NULL, NULL);
	fake_ring_mode = F_PACKED | F_IN_ORDER;
	failed += cmocka_run_group_tests_name("ring-inflight-packed-in-order", tests, NULL, NULL);
	return failed;
}
