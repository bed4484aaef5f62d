// SPDX-License-Identifier: BSD-3-Clause
/*
 * The dirty log names every page that the device wrote, and no other: buffers to the byte that was
 * claimed, used elements, the used index, suppression words. And memory whose file shrank under the
 * device.
 */
#include "ring_test.h"

#include <unistd.h>

#define NUM 512
#define USED                                                                                       \
	GUEST_PAGE /* index and elements in page 1, the last element and the event in page 2       \
		    */
#define BUF (4 * GUEST_PAGE) /* pages 4 to 7 */
#define PAGES 16

struct dirty_test {
	struct ring_test t;
	struct vdpa_dirty_log *log;
	struct fake_ring r;
};

/* Bits of the pages that were written since the last call. */
static unsigned dirtied(struct dirty_test *d)
{
	uint64_t bits = 0;

	assert_int_equal(vdpa_dirty_log_sync(d->log, 0, PAGES, &bits, true), 0);
	return (unsigned)bits;
}

static void dirty_start(struct dirty_test *d, enum guest_layout layout, uint64_t features)
{
	struct vringh_config config;

	memset(d, 0, sizeof(*d));
	assert_int_equal(fake_guest_init(&d->t.g, RT_BYTES), 0);
	fake_guest_map(&d->t.g, 0, BUF, layout, VHOST_MAP_RW);
	fake_guest_map(&d->t.g, BUF, RT_BYTES - BUF, layout == GUEST_BYTES ? GUEST_PAGES : layout,
		       VHOST_MAP_RW);
	fake_ring_init(&d->r, &d->t.g, 8 * GUEST_PAGE, NUM);
	config = fake_ring_config(&d->r, features);
	config.device = GUEST_IOVA + USED;
	assert_int_equal(vringh_init(&config, &d->t.vr, NULL), 0);
	d->t.g.vr = d->t.vr;
	assert_int_equal(vdpa_dirty_log_new(PAGES * GUEST_PAGE, &d->log), 0);
	assert_int_equal(vdpa_as_set_dirty_log(d->t.g.as, d->log, NULL), 0);
	fake_guest_settle(&d->t.g);
	assert_int_equal(dirtied(d), 0);
}

static void dirty_end(struct dirty_test *d)
{
	assert_int_equal(vdpa_as_set_dirty_log(d->t.g.as, NULL, NULL), 0);
	fake_guest_settle(&d->t.g);
	vdpa_dirty_log_put(d->log);
	rt_end(&d->t);
}

/* A request of one readable page and writable pieces in pages 5, 6 and 7. */
static struct vringh_chain *request(struct dirty_test *d)
{
	struct vringh_chain *c;

	fake_ring_desc(&d->r, 0, BUF, 100, NEXT, 1);
	fake_ring_desc(&d->r, 1, BUF + GUEST_PAGE + 10, 50, WRITE | NEXT, 2);
	fake_ring_desc(&d->r, 2, BUF + 3 * GUEST_PAGE - 50, 100, WRITE, 0);
	fake_ring_avail(&d->r, 0);
	fake_ring_publish(&d->r);
	assert_int_equal(vringh_getdesc(d->t.vr, &c, 1), 1);
	return c;
}

static void what_was_written(void **state)
{
	static const struct {
		uint32_t written;
		unsigned pages;
	} cases[] = {
		{0, 0},
		{1, 1 << 5},
		{50, 1 << 5},
		{51, 1 << 5 | 1 << 6},
		{100, 1 << 5 | 1 << 6},
		{101, 1 << 5 | 1 << 6 | 1 << 7},
		{150, 1 << 5 | 1 << 6 | 1 << 7},
	};

	(void)state;
	for (unsigned layout = 0; layout < GUEST_NLAYOUTS; layout++) {
		struct dirty_test d;

		dirty_start(&d, layout, 0);
		for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
			struct vringh_chain *c = request(&d);

			assert_int_equal(dirtied(&d), 0);
			vringh_complete(d.t.vr, c, cases[i].written);
			assert_int_equal(dirtied(&d), cases[i].pages);
			assert_int_equal(vringh_flush(d.t.vr), 0);
			assert_int_equal(dirtied(&d), 1 << 1);
			c = request(&d);
			vringh_cancel(d.t.vr, c);
			assert_int_equal(dirtied(&d), 0);
			/* The head is never given back: a ring of its own for the next case. */
			dirty_end(&d);
			dirty_start(&d, layout, 0);
		}
		dirty_end(&d);
	}
}

/* The element in one page, the index in another; a batch over the end of the ring. */
static void used_ring(void **state)
{
	(void)state;
	for (unsigned layout = 0; layout < GUEST_NLAYOUTS; layout++) {
		struct dirty_test d;

		dirty_start(&d, layout, 0);
		for (unsigned i = 0; i < NUM - 1; i++) {
			vringh_complete(d.t.vr, request(&d), 0);
			assert_int_equal(vringh_flush(d.t.vr), 0);
		}
		assert_int_equal(dirtied(&d), 1 << 1);
		/* Element 511 lies at 4 + 8 * 511, over the page's end. */
		vringh_complete(d.t.vr, request(&d), 0);
		assert_int_equal(vringh_flush(d.t.vr), 0);
		assert_int_equal(dirtied(&d), 1 << 1 | 1 << 2);
		dirty_end(&d);
	}
}

static void suppression(void **state)
{
	(void)state;
	for (unsigned layout = 0; layout < GUEST_NLAYOUTS; layout++) {
		struct dirty_test d;

		dirty_start(&d, layout, F_EVENT);
		assert_false(vringh_notify_enable(d.t.vr));
		assert_int_equal(dirtied(&d), 1 << 2);
		vringh_notify_disable(d.t.vr);
		assert_int_equal(dirtied(&d), 0);
		dirty_end(&d);

		dirty_start(&d, layout, 0);
		assert_false(vringh_notify_enable(d.t.vr));
		assert_int_equal(dirtied(&d), 1 << 1);
		vringh_notify_disable(d.t.vr);
		assert_int_equal(dirtied(&d), 1 << 1);
		dirty_end(&d);
	}
}

/* The file behind the buffers shrinks: the page is replaced, the ring stops, the process lives. */
static void file_shrinks(void **state)
{
	struct ring_test t;
	struct vringh_chain *c;
	char buf[8];

	(void)state;
	assert_int_equal(vdpa_sigbus_install(), 0);
	rt_new(&t, 0);
	memset(t.g.mem + RT_BUF, 'x', 8);
	rt_simple(&t, 0);
	c = rt_get(&t);
	assert_int_equal(ftruncate(t.g.fd, RT_BUF), 0);
	assert_int_equal(vringh_iov_pull(c, 0, buf, 8), 8);
	assert_int_equal(buf[0], 0);
	rt_complete_flush(&t, c, 0);
	rt_simple(&t, 2);
	assert_in_range(vringh_getdesc(t.vr, &c, 1) + 200, 0, 201);
	assert_int_equal(vringh_getdesc(t.vr, &c, 1), -EBADMSG);
	assert_non_null(strstr(vringh_error(t.vr), "shrank"));
	rt_end(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_written),
		cmocka_unit_test(used_ring),
		cmocka_unit_test(suppression),
		cmocka_unit_test(file_shrinks),
	};

	return cmocka_run_group_tests_name("ring-dirty", tests, NULL, NULL);
}
