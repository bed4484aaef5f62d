/* SPDX-License-Identifier: BSD-3-Clause */
/* What every test of this folder starts with: one guest, one ring, one device end. */
#ifndef TESTS_RING_RING_TEST_H
#define TESTS_RING_RING_TEST_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake_guest.h"

#define NEXT VRING_DESC_F_NEXT
#define WRITE VRING_DESC_F_WRITE
#define INDIRECT VRING_DESC_F_INDIRECT
#define F_INDIRECT VDPA_BIT(VIRTIO_RING_F_INDIRECT_DESC)
#define F_EVENT VDPA_BIT(VIRTIO_RING_F_EVENT_IDX)
#define F_PACKED VDPA_BIT(VIRTIO_F_RING_PACKED)
#define F_IN_ORDER VDPA_BIT(VIRTIO_F_IN_ORDER)

#define RT_NUM 16
#define RT_BYTES (16 * GUEST_PAGE)
#define RT_RING 0
#define RT_TABLE (2 * GUEST_PAGE) /* room for indirect tables */
#define RT_BUF (4 * GUEST_PAGE)	  /* room for buffers */

struct ring_test {
	struct fake_guest g;
	struct fake_ring r;
	struct vringh *vr;
	struct vringh_chain *chains[64];
};

/* Of the run that goes on, see rt_run(): the map is large. */
static bool rt_deep;

/* A guest with a ring of RT_NUM; ring memory in @ring, the rest in @buf; nothing started. */
static inline void rt_prepare(struct ring_test *t, enum guest_layout ring, enum guest_layout buf)
{
	memset(t, 0, sizeof(*t));
	assert_int_equal(fake_guest_init(&t->g, RT_BYTES), 0);
	fake_guest_map(&t->g, RT_RING, RT_TABLE - RT_RING, ring, VHOST_MAP_RW);
	fake_guest_map(&t->g, RT_TABLE, RT_BUF - RT_TABLE, ring, VHOST_MAP_RO);
	fake_guest_map(&t->g, RT_BUF, RT_BYTES - RT_BUF, buf, VHOST_MAP_RW);
	if (rt_deep)
		fake_guest_deepen(&t->g);
	fake_ring_init(&t->r, &t->g, RT_RING, RT_NUM);
}

/* Added by the run that goes on, see rt_run(): what a test did not ask for must not hurt it. */
static uint64_t rt_extra;

static inline void rt_start(struct ring_test *t, uint64_t features)
{
	struct vringh_config config = fake_ring_config(&t->r, features | rt_extra);
	struct vdpa_error err = {0};

	if (vringh_init(&config, &t->vr, &err))
		fail_msg("vringh_init: %s", err.msg);
	t->g.vr = t->vr;
}

static inline void rt_new(struct ring_test *t, uint64_t features)
{
	rt_prepare(t, GUEST_LINEAR, GUEST_LINEAR);
	rt_start(t, features);
}

static inline void rt_end(struct ring_test *t)
{
	t->g.vr = NULL;
	vringh_free(t->vr);
	fake_guest_fini(&t->g);
}

/* @n requests of @ndesc descriptors each were got and not given back. */
static inline void rt_expect_got(struct ring_test *t, uint16_t n, uint16_t ndesc)
{
	struct vdpa_vq_state is = vringh_state(t->vr);
	struct vdpa_vq_state want = fake_ring_state(&t->r, (uint16_t)(t->r.start + n), ndesc);

	if (!fake_packed()) {
		assert_int_equal(is.split.avail_index, want.split.avail_index);
		return;
	}
	assert_int_equal(is.packed.last_avail_idx, want.packed.last_avail_idx);
	assert_int_equal(is.packed.last_avail_counter, want.packed.last_avail_counter);
}

/* One readable piece of 8 bytes and one writable piece of 16 bytes, from descriptor @i on. */
static inline void rt_simple(struct ring_test *t, unsigned i)
{
	fake_ring_desc(&t->r, i, RT_BUF + i * 64, 8, NEXT, (uint16_t)(i + 1));
	fake_ring_desc(&t->r, i + 1, RT_BUF + i * 64 + 32, 16, WRITE, 0);
	fake_ring_avail(&t->r, (uint16_t)i);
	fake_ring_publish(&t->r);
}

static inline struct vringh_chain *rt_get(struct ring_test *t)
{
	struct vringh_chain *chain = NULL;

	assert_int_equal(vringh_getdesc(t->vr, &chain, 1), 1);
	return chain;
}

/* The ring must have stopped, with @why in the reason. */
static inline void rt_expect_bad(struct ring_test *t, const char *why)
{
	assert_int_equal(vringh_getdesc(t->vr, t->chains, 64), -EBADMSG);
	assert_non_null(vringh_error(t->vr));
	if (!strstr(vringh_error(t->vr), why))
		fail_msg("\"%s\" does not say \"%s\"", vringh_error(t->vr), why);
	assert_int_equal(vringh_get_stats(t->vr)->bad, 1);
	assert_int_equal(vringh_outstanding(t->vr), 0);
	/* For good. */
	assert_int_equal(vringh_getdesc(t->vr, t->chains, 64), -EBADMSG);
}

static inline void rt_complete_flush(struct ring_test *t, struct vringh_chain *chain, uint32_t n)
{
	vringh_complete(t->vr, chain, n);
	assert_int_equal(vringh_flush(t->vr), 0);
	fake_ring_used_idx(&t->r);
}

/*
 * All tests, once per format, order, and what else may be negotiated; and once more per format in a
 * large map.
 */
static inline int rt_run(const char *name, const struct CMUnitTest *tests, size_t n)
{
	static const uint64_t modes[] = {0, F_PACKED, F_IN_ORDER, F_PACKED | F_IN_ORDER};
	static const uint64_t extras[] = {0, F_EVENT, F_INDIRECT, F_EVENT | F_INDIRECT};
	int failed = 0;

	for (unsigned i = 0; i < 18; i++) {
		char full[100];

		rt_deep = i >= 16;
		fake_ring_mode = rt_deep ? modes[i - 16] : modes[i / 4];
		rt_extra = rt_deep ? 0 : extras[i % 4];
		snprintf(full, sizeof(full), "%s-%s%s%s%s%s", name,
			 fake_packed() ? "packed" : "split", fake_in_order() ? "-in-order" : "",
			 rt_extra & F_EVENT ? "-event-idx" : "",
			 rt_extra & F_INDIRECT ? "-indirect" : "", rt_deep ? "-large-map" : "");
		failed += _cmocka_run_group_tests(full, tests, n, NULL, NULL);
	}
	fake_ring_mode = rt_extra = 0;
	rt_deep = false;
	return failed;
}
#define RT_RUN(name, tests) rt_run(name, tests, sizeof(tests) / sizeof((tests)[0]))

#endif
