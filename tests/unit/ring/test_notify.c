// SPDX-License-Identifier: BSD-3-Clause
/* Suppression of kicks and calls, by flags and by event index (virtio 1.3, 2.7.7 and 2.7.10). */
#include "ring_test.h"

#define F_ON_EMPTY VDPA_BIT(VIRTIO_F_NOTIFY_ON_EMPTY)

static uint16_t *used_event(struct ring_test *t)
{
	return &t->r.a->ring[RT_NUM];
}

static uint16_t *avail_event(struct ring_test *t)
{
	return (uint16_t *)(void *)&t->r.u->ring[RT_NUM];
}

/* @n requests, got, completed and flushed. */
static void serve(struct ring_test *t, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		rt_simple(t, (i % (RT_NUM / 2)) * 2);
	assert_int_equal(vringh_getdesc(t->vr, t->chains, n), n);
	for (unsigned i = 0; i < n; i++)
		vringh_complete(t->vr, t->chains[i], 0);
	assert_int_equal(vringh_flush(t->vr), 0);
}

static void calls_by_flag(void **state)
{
	struct ring_test t;

	(void)state;
	rt_new(&t, 0);
	assert_false(vringh_need_notify(t.vr));
	serve(&t, 1);
	assert_true(vringh_need_notify(t.vr));
	assert_false(vringh_need_notify(t.vr));
	t.r.a->flags = VRING_AVAIL_F_NO_INTERRUPT;
	serve(&t, 3);
	assert_false(vringh_need_notify(t.vr));
	t.r.a->flags = 0;
	serve(&t, 1);
	assert_true(vringh_need_notify(t.vr));
	assert_int_equal(vringh_get_stats(t.vr)->notify_sent, 2);
	assert_int_equal(vringh_get_stats(t.vr)->notify_suppressed, 3);
	rt_end(&t);
}

static void calls_on_empty(void **state)
{
	struct ring_test t;

	(void)state;
	rt_new(&t, F_ON_EMPTY);
	t.r.a->flags = VRING_AVAIL_F_NO_INTERRUPT;
	serve(&t, 1);
	assert_true(vringh_need_notify(t.vr));
	/* Not empty: as the flag says. */
	rt_simple(&t, 0);
	rt_simple(&t, 2);
	rt_complete_flush(&t, rt_get(&t), 0);
	assert_false(vringh_need_notify(t.vr));
	rt_end(&t);

	/* Not negotiated. */
	rt_new(&t, 0);
	t.r.a->flags = VRING_AVAIL_F_NO_INTERRUPT;
	serve(&t, 1);
	assert_false(vringh_need_notify(t.vr));
	rt_end(&t);
}

/* Every position of the event relative to every batch, also around 2^16. */
static void calls_by_event(void **state)
{
	(void)state;
	for (unsigned n = 1; n <= 4; n++) {
		for (int event = -3; event < 8; event++) {
			struct ring_test t;
			struct vringh_config config;
			uint16_t start = 65533;

			rt_prepare(&t, GUEST_LINEAR, GUEST_LINEAR);
			t.r.idx = start;
			t.r.a->idx = start;
			t.r.u->idx = start;
			config = fake_ring_config(&t.r, F_EVENT);
			config.state.split.avail_index = start;
			assert_int_equal(vringh_init(&config, &t.vr, NULL), 0);
			/* The first decision of a life has nothing to compare with. */
			serve(&t, 1);
			assert_true(vringh_need_notify(t.vr));
			*used_event(&t) = (uint16_t)(start + 1 + event);
			serve(&t, n);
			assert_int_equal(vringh_need_notify(t.vr), event >= 0 && event < (int)n);
			rt_end(&t);
		}
	}
}

/* 2^16 completions without a decision: the difference of indices means nothing. */
static void calls_by_event_after_a_lap(void **state)
{
	struct ring_test t;

	(void)state;
	rt_new(&t, F_EVENT);
	serve(&t, 1);
	assert_true(vringh_need_notify(t.vr));
	*used_event(&t) = 5;
	for (unsigned i = 0; i < 65536 / 8; i++)
		serve(&t, 8);
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
	t.r.u->flags = VRING_USED_F_NO_NOTIFY;
	assert_false(vringh_notify_enable(t.vr));
	assert_int_equal(t.r.u->flags, 0);
	vringh_notify_disable(t.vr);
	assert_int_equal(t.r.u->flags, VRING_USED_F_NO_NOTIFY);
	rt_simple(&t, 0);
	assert_true(vringh_notify_enable(t.vr));
	assert_int_equal(t.r.u->flags, 0);
	rt_complete_flush(&t, rt_get(&t), 0);
	assert_false(vringh_notify_enable(t.vr));
	rt_end(&t);
}

static void kicks_by_event(void **state)
{
	struct ring_test t;

	(void)state;
	rt_new(&t, F_EVENT);
	serve(&t, 3);
	assert_int_equal(*avail_event(&t), 0);
	assert_false(vringh_notify_enable(t.vr));
	assert_int_equal(*avail_event(&t), 3);
	vringh_notify_disable(t.vr);
	rt_simple(&t, 0);
	assert_true(vringh_notify_enable(t.vr));
	rt_complete_flush(&t, rt_get(&t), 0);
	assert_int_equal(*avail_event(&t), 3);
	assert_false(vringh_notify_enable(t.vr));
	assert_int_equal(*avail_event(&t), 4);
	assert_int_equal(t.r.u->flags, 0);
	rt_end(&t);
}

/* After the ring moved, wishes are written to the new place. */
static void wishes_survive_restart(void **state)
{
	struct ring_test t;

	(void)state;
	rt_new(&t, F_EVENT);
	serve(&t, 2);
	assert_false(vringh_notify_enable(t.vr));
	t.g.vr = NULL;
	vringh_free(t.vr);
	*avail_event(&t) = 77;
	{
		struct vringh_config config = fake_ring_config(&t.r, F_EVENT);

		config.state.split.avail_index = 2;
		assert_int_equal(vringh_init(&config, &t.vr, NULL), 0);
	}
	assert_false(vringh_notify_enable(t.vr));
	assert_int_equal(*avail_event(&t), 2);
	rt_end(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calls_by_flag),
		cmocka_unit_test(calls_on_empty),
		cmocka_unit_test(calls_by_event),
		cmocka_unit_test(calls_by_event_after_a_lap),
		cmocka_unit_test(kicks_by_flag),
		cmocka_unit_test(kicks_by_event),
		cmocka_unit_test(wishes_survive_restart),
	};

	return cmocka_run_group_tests_name("ring-notify", tests, NULL, NULL);
}
