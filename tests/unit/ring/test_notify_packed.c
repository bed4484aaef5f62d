// SPDX-License-Identifier: BSD-3-Clause
/*
 * Suppression of kicks and calls of a packed ring (virtio 1.3, 2.8.10 and 2.8.14), and which pages
 * it dirties.
 */
#include "ring_test.h"

#define ENABLE VRING_PACKED_EVENT_FLAG_ENABLE
#define DISABLE VRING_PACKED_EVENT_FLAG_DISABLE
#define DESC VRING_PACKED_EVENT_FLAG_DESC

/* @n requests of one descriptor, got, completed and flushed. */
static void serve(struct ring_test *t, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		uint16_t id = (uint16_t)((t->r.idx + i) % RT_NUM);

		fake_ring_desc(&t->r, id, RT_BUF, 8, WRITE, 0);
	}
	for (unsigned i = 0; i < n; i++)
		fake_ring_avail(&t->r, (uint16_t)(t->r.idx % RT_NUM));
	fake_ring_publish(&t->r);
	assert_int_equal(vringh_getdesc(t->vr, t->chains, 64), n);
	for (unsigned i = 0; i < n; i++)
		vringh_complete(t->vr, t->chains[i], 1);
	assert_int_equal(vringh_flush(t->vr), 0);
	assert_int_equal(fake_ring_used_idx(&t->r), t->r.idx);
}

static void driver_wants(struct ring_test *t, uint32_t pos, uint16_t flags)
{
	pos %= 2 * RT_NUM;
	t->r.driver_event->off_wrap = (uint16_t)(pos % RT_NUM | (pos < RT_NUM) << 15);
	t->r.driver_event->flags = flags;
}

static void calls_by_flag(void **state)
{
	static const struct {
		uint16_t flags;
		bool call;
	} cases[] = {
		{ENABLE, true}, {DISABLE, false},	   {ENABLE, true},
		{3, true},	{0xfffc | DISABLE, false}, {0xfffc | ENABLE, true},
	};

	(void)state;
	for (unsigned event = 0; event < 2; event++) {
		struct ring_test t;

		rt_new(&t, event ? F_EVENT : 0);
		assert_false(vringh_need_notify(t.vr));
		serve(&t, 1);
		assert_true(vringh_need_notify(t.vr));
		assert_false(vringh_need_notify(t.vr));
		for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
			driver_wants(&t, 5, cases[i].flags);
			serve(&t, 2);
			assert_int_equal(vringh_need_notify(t.vr), cases[i].call);
		}
		/* Not negotiated: the flag is not known, better one call too many. */
		if (!event) {
			driver_wants(&t, 5, DESC);
			serve(&t, 1);
			assert_true(vringh_need_notify(t.vr));
		}
		rt_end(&t);
	}
}

/* Every position of the event relative to every batch, over the end of both laps. */
static void calls_by_event(void **state)
{
	(void)state;
	for (uint16_t start = 0; start < 2 * RT_NUM; start++) {
		for (unsigned n = 1; n <= RT_NUM; n += 5) {
			for (int event = -4; event < 2 * RT_NUM - 4; event++) {
				struct ring_test t;

				rt_prepare(&t, GUEST_LINEAR, GUEST_LINEAR);
				fake_ring_start_at(&t.r, start);
				rt_start(&t, F_EVENT);
				/* The first decision of a life has nothing to compare with. */
				serve(&t, 1);
				assert_true(vringh_need_notify(t.vr));
				driver_wants(&t, (uint32_t)(start + 1 + event + 2 * RT_NUM), DESC);
				serve(&t, n);
				assert_int_equal(vringh_need_notify(t.vr),
						 event >= 0 && event < (int)n);
				rt_end(&t);
			}
		}
	}
}

/* Two laps without a decision, and an index that is none. */
static void calls_by_event_beyond(void **state)
{
	struct ring_test t;

	(void)state;
	rt_new(&t, F_EVENT);
	serve(&t, 1);
	assert_true(vringh_need_notify(t.vr));
	driver_wants(&t, 0, DESC);
	for (unsigned i = 0; i < 4; i++)
		serve(&t, RT_NUM / 2);
	assert_true(vringh_need_notify(t.vr));
	for (unsigned i = 0; i < 100000; i++)
		serve(&t, 2);
	assert_true(vringh_need_notify(t.vr));
	t.r.driver_event->off_wrap = RT_NUM;
	serve(&t, 1);
	assert_true(vringh_need_notify(t.vr));
	rt_end(&t);
}

static void kicks_by_flag(void **state)
{
	struct ring_test t;

	(void)state;
	rt_new(&t, 0);
	/* What a dead predecessor left behind. */
	t.r.device_event->flags = DISABLE;
	assert_false(vringh_notify_enable(t.vr));
	assert_int_equal(t.r.device_event->flags, ENABLE);
	vringh_notify_disable(t.vr);
	assert_int_equal(t.r.device_event->flags, DISABLE);
	rt_simple(&t, 0);
	assert_true(vringh_notify_enable(t.vr));
	assert_int_equal(t.r.device_event->flags, ENABLE);
	rt_complete_flush(&t, rt_get(&t), 0);
	assert_false(vringh_notify_enable(t.vr));
	assert_int_equal(t.r.device_event->off_wrap, 0);
	rt_end(&t);
}

static void kicks_by_event(void **state)
{
	struct ring_test t;

	(void)state;
	rt_new(&t, F_EVENT);
	serve(&t, 3);
	assert_false(vringh_notify_enable(t.vr));
	assert_int_equal(t.r.device_event->flags, DESC);
	assert_int_equal(t.r.device_event->off_wrap, 3 | 1 << 15);
	vringh_notify_disable(t.vr);
	assert_int_equal(t.r.device_event->flags, DISABLE);
	rt_simple(&t, 0);
	assert_true(vringh_notify_enable(t.vr));
	assert_int_equal(t.r.device_event->flags, DESC);
	rt_complete_flush(&t, rt_get(&t), 0);
	assert_false(vringh_notify_enable(t.vr));
	assert_int_equal(t.r.device_event->off_wrap, 5 | 1 << 15);
	serve(&t, RT_NUM - 5 + 2);
	assert_false(vringh_notify_enable(t.vr));
	assert_int_equal(t.r.device_event->off_wrap, 2);
	rt_end(&t);
}

/* ---- pages ---- */

#define NUM 512 /* 256 descriptors to a page */
#define PAGES 16

static unsigned dirtied(struct vdpa_dirty_log *log)
{
	uint64_t bits = 0;

	assert_int_equal(vdpa_dirty_log_sync(log, 0, PAGES, &bits, true), 0);
	return (unsigned)bits;
}

static void use(struct vringh *vr, struct fake_ring *r, unsigned n)
{
	struct vringh_chain *chains[64];

	for (unsigned i = 0; i < n; i++) {
		uint16_t id = (uint16_t)(r->idx % NUM);

		fake_ring_desc(r, id, 8 * GUEST_PAGE, 8, 0, 0);
		fake_ring_avail(r, id);
	}
	fake_ring_publish(r);
	assert_int_equal(vringh_getdesc(vr, chains, 64), n);
	for (unsigned i = 0; i < n; i++)
		vringh_complete(vr, chains[i], 0);
	assert_int_equal(vringh_flush(vr), 0);
	fake_ring_used_idx(r);
}

/* Used descriptors lie in pages 0 and 1, the device's event structure in page 2. */
static void dirty_pages(void **state)
{
	(void)state;
	for (unsigned layout = 0; layout < GUEST_NLAYOUTS; layout++) {
		struct ring_test t;
		struct vringh_config config;
		struct vdpa_dirty_log *log;

		memset(&t, 0, sizeof(t));
		assert_int_equal(fake_guest_init(&t.g, RT_BYTES), 0);
		fake_guest_map(&t.g, 0, 3 * GUEST_PAGE, layout, VHOST_MAP_RW);
		fake_guest_map(&t.g, 3 * GUEST_PAGE, RT_BYTES - 3 * GUEST_PAGE, GUEST_LINEAR,
			       VHOST_MAP_RW);
		fake_ring_init(&t.r, &t.g, 0, NUM);
		config = fake_ring_config(&t.r, 0);
		assert_int_equal(vringh_init(&config, &t.vr, NULL), 0);
		t.g.vr = t.vr;
		assert_int_equal(vdpa_dirty_log_new(PAGES * GUEST_PAGE, &log), 0);
		assert_int_equal(vdpa_as_set_dirty_log(t.g.as, log, NULL), 0);
		fake_guest_settle(&t.g);
		for (unsigned i = 0; i < 4; i++)
			use(t.vr, &t.r, 60);
		assert_int_equal(dirtied(log), 1 << 0);
		use(t.vr, &t.r, 20);
		/* In order, one descriptor speaks for all. */
		assert_int_equal(dirtied(log), fake_in_order() ? 1 << 0 : 1 << 0 | 1 << 1);
		use(t.vr, &t.r, 20);
		assert_int_equal(dirtied(log), 1 << 1);
		assert_false(vringh_notify_enable(t.vr));
		assert_int_equal(dirtied(log), 1 << 2);
		assert_int_equal(vdpa_as_set_dirty_log(t.g.as, NULL, NULL), 0);
		fake_guest_settle(&t.g);
		vdpa_dirty_log_put(log);
		rt_end(&t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calls_by_flag),	 cmocka_unit_test(calls_by_event),
		cmocka_unit_test(calls_by_event_beyond), cmocka_unit_test(kicks_by_flag),
		cmocka_unit_test(kicks_by_event),	 cmocka_unit_test(dirty_pages),
	};
	int failed = 0;

	fake_ring_mode = F_PACKED;
	failed += cmocka_run_group_tests_name("ring-notify-packed", tests, NULL, NULL);
	fake_ring_mode = F_PACKED | F_IN_ORDER;
	failed += cmocka_run_group_tests_name("ring-notify-packed-in-order", tests, NULL, NULL);
	return failed;
}
