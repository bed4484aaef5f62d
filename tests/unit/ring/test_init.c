// SPDX-License-Identifier: BSD-3-Clause
/* Birth of a ring: geometry that is refused, memory that runs out, areas that are not there yet. */
#include "ring_test.h"
#include "alloc_fail.h"

static void refused(struct ring_test *t, const struct vringh_config *config, int code,
		    const char *why)
{
	struct vdpa_error err = {0};
	struct vringh *vr = NULL;

	assert_int_equal(vringh_init(config, &vr, &err), code);
	assert_null(vr);
	if (!strstr(err.msg, why))
		fail_msg("\"%s\" does not say \"%s\"", err.msg, why);
}

static void sizes(void **state)
{
	struct ring_test t;

	(void)state;
	rt_prepare(&t, GUEST_LINEAR, GUEST_LINEAR);
	for (uint32_t num = 0; num < 70000; num++) {
		struct vringh_config config = fake_ring_config(&t.r, 0);
		struct vringh *vr;
		bool good = num && num <= 32768 && !(num & (num - 1));

		config.num = num;
		config.priv_bytes = 0;
		if (good) {
			assert_int_equal(vringh_init(&config, &vr, NULL), 0);
			vringh_free(vr);
		} else {
			refused(&t, &config, -EINVAL, "not a power of two");
		}
	}
	rt_end(&t);
}

static void alignment(void **state)
{
	struct ring_test t;

	(void)state;
	rt_prepare(&t, GUEST_LINEAR, GUEST_LINEAR);
	for (unsigned off = 0; off < 16; off++) {
		struct vringh_config config = fake_ring_config(&t.r, 0);
		struct vringh *vr;

		config.desc = 0x10000 + off;
		if (off)
			refused(&t, &config, -EINVAL, "descriptor table at");
		config = fake_ring_config(&t.r, 0);
		config.driver = 0x10000 + off;
		if (off % 2)
			refused(&t, &config, -EINVAL, "available ring at");
		config = fake_ring_config(&t.r, 0);
		config.device = 0x10000 + off;
		if (off % 4) {
			refused(&t, &config, -EINVAL, "used ring at");
		} else {
			assert_int_equal(vringh_init(&config, &vr, NULL), 0);
			vringh_free(vr);
		}
	}
	rt_end(&t);
}

/* An area may end at the last byte of the address space, and not behind it. */
static void area_wraps(void **state)
{
	struct ring_test t;
	struct vringh_config config;
	struct vringh *vr;

	(void)state;
	rt_prepare(&t, GUEST_LINEAR, GUEST_LINEAR);
	config = fake_ring_config(&t.r, 0);
	config.desc = 0 - 16ull * RT_NUM;
	assert_int_equal(vringh_init(&config, &vr, NULL), 0);
	vringh_free(vr);
	config.desc += 16;
	refused(&t, &config, -EINVAL, "descriptor table at");
	config = fake_ring_config(&t.r, 0);
	config.driver = ~1ull;
	refused(&t, &config, -EINVAL, "available ring at");
	config = fake_ring_config(&t.r, 0);
	config.device = ~3ull;
	refused(&t, &config, -EINVAL, "used ring at");
	rt_end(&t);
}

static void other_formats_and_versions(void **state)
{
	struct ring_test t;
	struct vringh_config config;

	(void)state;
	rt_prepare(&t, GUEST_LINEAR, GUEST_LINEAR);
	config = fake_ring_config(&t.r, 0);
	config.size--;
	refused(&t, &config, -EINVAL, "vringh_config of");
	config = fake_ring_config(&t.r, 0);
	config.ring_view = NULL;
	refused(&t, &config, -EINVAL, "view");
	rt_end(&t);
}

static void no_memory(void **state)
{
	struct ring_test t;
	struct vringh_config config;
	unsigned rounds = 0;

	(void)state;
	rt_prepare(&t, GUEST_LINEAR, GUEST_LINEAR);
	config = fake_ring_config(&t.r, 0);
	for (alloc_fail_begin(); alloc_fail_more();) {
		struct vringh *vr = NULL;
		struct vdpa_error err = {0};
		int rc = vringh_init(&config, &vr, &err);

		alloc_fail_off();
		rounds++;
		if (rc) {
			assert_int_equal(rc, -ENOMEM);
			assert_true(err.msg[0]);
		} else {
			vringh_free(vr);
		}
	}
	assert_in_range(rounds, 9, 20);
	config.priv_bytes = SIZE_MAX / 2;
	refused(&t, &config, -ENOMEM, "no memory");
	vringh_free(NULL);
	rt_end(&t);
}

/* No memory for a long chain: the ring waits for a chain to end; when none is out, it says so. */
static void no_memory_for_a_chain(void **state)
{
	struct ring_test t;
	struct vringh_chain *c, *d;

	(void)state;
	rt_new(&t, 0);
	rt_simple(&t, 14);
	for (unsigned i = 0; i < 12; i++)
		fake_ring_desc(&t.r, i, RT_BUF + i * 100, 1, i < 11 ? NEXT : 0, (uint16_t)(i + 1));
	fake_ring_avail(&t.r, 0);
	fake_ring_publish(&t.r);
	c = rt_get(&t);
	alloc_fail_countdown = 0;
	assert_int_equal(vringh_getdesc(t.vr, &d, 1), -EAGAIN);
	alloc_fail_off();
	assert_int_equal(vringh_getdesc(t.vr, &d, 1), -EAGAIN);
	assert_false(vringh_notify_enable(t.vr));
	rt_complete_flush(&t, c, 0);
	alloc_fail_countdown = 0;
	assert_int_equal(vringh_getdesc(t.vr, &d, 1), -EBADMSG);
	alloc_fail_off();
	assert_non_null(strstr(vringh_error(t.vr), "no memory for its buffers"));
	rt_end(&t);
}

/* A queue in its stride does not allocate, however long its chains. */
static void no_allocation_in_steady_state(void **state)
{
	struct ring_test t;

	(void)state;
	rt_new(&t, 0);
	for (unsigned round = 0; round < 100; round++) {
		if (round == 2)
			alloc_fail_countdown = 0;
		for (unsigned i = 0; i < RT_NUM; i++)
			fake_ring_desc(&t.r, i, RT_BUF + i * 100, 1, i < 15 ? NEXT : 0,
				       (uint16_t)(i + 1));
		fake_ring_avail(&t.r, 0);
		fake_ring_publish(&t.r);
		if (vringh_getdesc(t.vr, t.chains, 1) != 1)
			break;
		vringh_complete(t.vr, t.chains[0], 0);
		if (vringh_flush(t.vr))
			break;
	}
	alloc_fail_off();
	assert_int_equal(fake_ring_used_idx(&t.r), 100);
	rt_end(&t);
}

/* Nothing is touched at birth; the areas may be mapped later. */
static void areas_come_later(void **state)
{
	struct ring_test t;

	(void)state;
	memset(&t, 0, sizeof(t));
	assert_int_equal(fake_guest_init(&t.g, RT_BYTES), 0);
	fake_guest_misses(&t.g);
	fake_ring_init(&t.r, &t.g, RT_RING, RT_NUM);
	rt_start(&t, 0);
	rt_simple(&t, 0);
	assert_int_equal(vringh_getdesc(t.vr, t.chains, 1), -EAGAIN);
	assert_int_equal(vringh_getdesc(t.vr, t.chains, 1), -EAGAIN);
	assert_false(vringh_notify_enable(t.vr));
	fake_guest_map(&t.g, 0, RT_BYTES, GUEST_LINEAR, VHOST_MAP_RW);
	assert_int_equal(vringh_getdesc(t.vr, t.chains, 1), 1);
	rt_complete_flush(&t, t.chains[0], 0);
	rt_end(&t);

	/* Without anybody who could mend it, a hole is an offence. */
	memset(&t, 0, sizeof(t));
	assert_int_equal(fake_guest_init(&t.g, RT_BYTES), 0);
	fake_ring_init(&t.r, &t.g, RT_RING, RT_NUM);
	rt_start(&t, 0);
	rt_expect_bad(&t, "cannot be reached");
	rt_end(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes),
		cmocka_unit_test(alignment),
		cmocka_unit_test(area_wraps),
		cmocka_unit_test(other_formats_and_versions),
		cmocka_unit_test(no_memory),
		cmocka_unit_test(no_memory_for_a_chain),
		cmocka_unit_test(no_allocation_in_steady_state),
		cmocka_unit_test(areas_come_later),
	};

	return cmocka_run_group_tests_name("ring-init", tests, NULL, NULL);
}
