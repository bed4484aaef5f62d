// SPDX-License-Identifier: BSD-3-Clause
/*
 * Rings, tables and buffers wherever they may lie: scattered over pages, over single bytes, by
 * message; memory that is missing, comes, goes, or answers errors.
 */
#include "ring_test.h"

/* One plain and one indirect request, over the end of the ring. */
static void round_trip(struct ring_test *t, unsigned round)
{
	uint8_t buf[100], want[100];
	struct vringh_chain *c;

	memset(want, (int)round, sizeof(want));
	memcpy(t->g.mem + RT_BUF + 10, want, 100);
	fake_ring_desc(&t->r, 0, RT_BUF + 10, 100, NEXT, 1);
	fake_ring_desc(&t->r, 1, RT_BUF + GUEST_PAGE - 50, 100, WRITE, 0);
	fake_ring_entry(&t->r, RT_TABLE, 0, GUEST_IOVA + RT_BUF + 10, 60, NEXT);
	fake_ring_entry(&t->r, RT_TABLE, 1, GUEST_IOVA + RT_BUF + 70, 40, NEXT);
	fake_ring_entry(&t->r, RT_TABLE, 2, GUEST_IOVA + RT_BUF + 300, 100, WRITE);
	fake_ring_desc(&t->r, 5, RT_TABLE, 48, INDIRECT, 0);
	fake_ring_avail(&t->r, 0);
	fake_ring_avail(&t->r, 5);
	fake_ring_publish(&t->r);
	assert_int_equal(vringh_getdesc(t->vr, t->chains, 64), 2);
	for (unsigned i = 0; i < 2; i++) {
		c = t->chains[i];
		assert_int_equal(vringh_iov_pull(c, 0, buf, 100), 100);
		assert_memory_equal(buf, want, 100);
		memset(buf, 0x40 + (int)(i + round), 100);
		assert_int_equal(vringh_iov_push(c, 0, buf, 90), 90);
		vringh_complete(t->vr, c, 90);
	}
	assert_int_equal(vringh_flush(t->vr), 0);
	memset(want, 0x40 + (int)round, 90);
	assert_memory_equal(t->g.mem + RT_BUF + GUEST_PAGE - 50, want, 90);
	memset(want, 0x41 + (int)round, 90);
	assert_memory_equal(t->g.mem + RT_BUF + 300, want, 90);
	assert_int_equal(fake_ring_used_idx(&t->r), t->r.idx);
	assert_int_equal(t->r.u->ring[(t->r.idx - 2) % RT_NUM].id, 0);
	assert_int_equal(t->r.u->ring[(t->r.idx - 2) % RT_NUM].len, 90);
	assert_int_equal(t->r.u->ring[(t->r.idx - 1) % RT_NUM].id, 5);
}

static void every_layout(void **state)
{
	(void)state;
	for (unsigned ring = 0; ring < GUEST_NLAYOUTS; ring++) {
		for (unsigned buf = 0; buf < GUEST_NLAYOUTS; buf++) {
			struct ring_test t;

			rt_prepare(&t, ring, buf);
			rt_start(&t, F_INDIRECT | F_EVENT);
			for (unsigned round = 0; round < 20; round++)
				round_trip(&t, round);
			rt_end(&t);
		}
	}
}

/* A ring larger than a page, whose pages are not neighbours. */
static void large_ring_over_pages(void **state)
{
	struct ring_test t;
	struct vringh_config config;

	(void)state;
	memset(&t, 0, sizeof(t));
	assert_int_equal(fake_guest_init(&t.g, 64 * GUEST_PAGE), 0);
	fake_guest_map(&t.g, 0, 64 * GUEST_PAGE, GUEST_PAGES, VHOST_MAP_RW);
	fake_ring_init(&t.r, &t.g, 0, 2048);
	config = fake_ring_config(&t.r, 0);
	assert_int_equal(vringh_init(&config, &t.vr, NULL), 0);
	for (unsigned round = 0; round < 5; round++) {
		for (unsigned i = 0; i < 1500; i++) {
			unsigned d = (round * 1500 + i) % 2048;

			fake_ring_desc(&t.r, d, 60 * GUEST_PAGE, 4, WRITE, 0);
			fake_ring_avail(&t.r, (uint16_t)d);
		}
		fake_ring_publish(&t.r);
		for (unsigned i = 0; i < 1500;) {
			int n = vringh_getdesc(t.vr, t.chains, 64);

			assert_true(n > 0);
			for (int k = 0; k < n; k++, i++) {
				assert_int_equal(t.chains[k]->head, (round * 1500 + i) % 2048);
				vringh_complete(t.vr, t.chains[k], 4);
			}
			assert_int_equal(vringh_flush(t.vr), 0);
		}
		assert_int_equal(fake_ring_used_idx(&t.r), (round + 1) * 1500);
	}
	assert_int_equal(fake_ring_used_idx(&t.r), 7500);
	for (unsigned i = 0; i < 1500; i++)
		assert_int_equal(t.r.u->ring[(6000 + i) % 2048].id, (6000 + i) % 2048);
	rt_end(&t);
}

/* What comes by message is written back to the byte, and shows nothing of our heap. */
static void by_message_exactly(void **state)
{
	struct ring_test t;
	struct vringh_chain *c;
	uint64_t before;

	(void)state;
	rt_prepare(&t, GUEST_LINEAR, GUEST_MESSAGE);
	rt_start(&t, 0);
	memset(t.g.mem + RT_BUF, 0xee, 4096);
	fake_ring_desc(&t.r, 0, RT_BUF, 10, WRITE | NEXT, 1);
	fake_ring_desc(&t.r, 1, RT_BUF + 100, 10, WRITE | NEXT, 2);
	fake_ring_desc(&t.r, 2, RT_BUF + 200, 10, WRITE, 0);
	fake_ring_avail(&t.r, 0);
	fake_ring_publish(&t.r);
	c = rt_get(&t);
	vringh_iov_push(c, 0, "0123456789abcdef", 13);
	before = t.g.bytes_written;
	rt_complete_flush(&t, c, 15);
	assert_int_equal(t.g.bytes_written - before, 15);
	assert_memory_equal(t.g.mem + RT_BUF, "0123456789\xee", 11);
	assert_memory_equal(t.g.mem + RT_BUF + 100, "abc\0\0\xee", 6);
	assert_int_equal(t.g.mem[RT_BUF + 200], 0xee);
	rt_end(&t);
}

/* A hostile peer offers more by message than a queue may hold. */
static void by_message_is_bounded(void **state)
{
	struct ring_test t;
	struct fake_guest big;
	struct vringh_config config;
	struct vringh_chain *c[3];
	size_t mb = 1 << 20;

	(void)state;
	rt_prepare(&t, GUEST_LINEAR, GUEST_LINEAR);
	assert_int_equal(fake_guest_init(&big, 128 * mb), 0);
	fake_guest_map(&big, 0, 128 * mb, GUEST_MESSAGE, VHOST_MAP_RW);
	config = fake_ring_config(&t.r, 0);
	config.buf_view = big.view;
	assert_int_equal(vringh_init(&config, &t.vr, NULL), 0);
	fake_ring_desc(&t.r, 0, 0, 40 * mb, WRITE, 0);
	fake_ring_desc(&t.r, 1, 0, 40 * mb, WRITE, 0);
	fake_ring_desc(&t.r, 2, 0, 65 * mb, WRITE, 0);
	for (uint16_t i = 0; i < 3; i++)
		fake_ring_avail(&t.r, i);
	fake_ring_publish(&t.r);
	assert_int_equal(vringh_getdesc(t.vr, c, 3), 1);
	assert_int_equal(vringh_getdesc(t.vr, c + 1, 1), -EAGAIN);
	rt_complete_flush(&t, c[0], 0);
	assert_int_equal(vringh_getdesc(t.vr, c + 1, 1), 1);
	rt_complete_flush(&t, c[1], 0);
	assert_int_equal(vringh_getdesc(t.vr, c + 2, 1), -EBADMSG);
	assert_non_null(strstr(vringh_error(t.vr), "by message, at most"));
	rt_end(&t);
	fake_guest_fini(&big);
}

/* ---- misses ---- */

static void parked_and_retried(void **state)
{
	struct ring_test t;

	(void)state;
	rt_prepare(&t, GUEST_LINEAR, GUEST_LINEAR);
	rt_start(&t, 0);
	fake_guest_misses(&t.g);
	fake_guest_unmap(&t.g, RT_BUF, RT_BYTES - RT_BUF);
	fake_guest_map(&t.g, RT_BUF, GUEST_PAGE, GUEST_LINEAR, VHOST_MAP_RW);
	rt_simple(&t, 0);
	fake_ring_desc(&t.r, 2, RT_BUF, 8, NEXT, 3);
	fake_ring_desc(&t.r, 3, RT_BUF + 2 * GUEST_PAGE, 8, WRITE, 0);
	fake_ring_avail(&t.r, 2);
	rt_simple(&t, 4);
	/* The good one; then nothing until the map changes. */
	assert_int_equal(vringh_getdesc(t.vr, t.chains, 64), 1);
	assert_int_equal(vringh_getdesc(t.vr, t.chains + 1, 64), -EAGAIN);
	assert_int_equal(vringh_getdesc(t.vr, t.chains + 1, 64), -EAGAIN);
	rt_expect_got(&t, 1, 2);
	assert_int_equal(vringh_outstanding(t.vr), 1);
	assert_false(vringh_notify_enable(t.vr));
	/* A change that does not help. */
	fake_guest_map(&t.g, RT_BUF + GUEST_PAGE, GUEST_PAGE, GUEST_LINEAR, VHOST_MAP_RW);
	assert_int_equal(vringh_getdesc(t.vr, t.chains + 1, 64), -EAGAIN);
	fake_guest_map(&t.g, RT_BUF + 2 * GUEST_PAGE, GUEST_PAGE, GUEST_LINEAR, VHOST_MAP_RW);
	assert_int_equal(vringh_getdesc(t.vr, t.chains + 1, 64), 2);
	assert_int_equal(t.chains[1]->head, 2);
	assert_int_equal(t.chains[2]->head, 4);
	assert_int_equal(vringh_getdesc(t.vr, t.chains + 3, 64), 0);
	for (unsigned i = 0; i < 3; i++)
		vringh_complete(t.vr, t.chains[i], 0);
	assert_int_equal(vringh_flush(t.vr), 0);
	assert_int_equal(fake_ring_used_idx(&t.r), 3);
	assert_true(vringh_get_stats(t.vr)->misses >= 2);
	rt_end(&t);
}

/* The ring itself goes away and comes back; completions wait. */
static void used_ring_is_missing(void **state)
{
	struct ring_test t;

	(void)state;
	rt_prepare(&t, GUEST_LINEAR, GUEST_LINEAR);
	rt_start(&t, F_EVENT);
	fake_guest_misses(&t.g);
	rt_simple(&t, 0);
	rt_simple(&t, 2);
	assert_int_equal(vringh_getdesc(t.vr, t.chains, 64), 2);
	vringh_complete(t.vr, t.chains[0], 1);
	fake_guest_unmap(&t.g, RT_RING, RT_TABLE - RT_RING);
	assert_int_equal(vringh_flush(t.vr), -EAGAIN);
	vringh_complete(t.vr, t.chains[1], 2);
	assert_int_equal(vringh_flush(t.vr), -EAGAIN);
	assert_int_equal(fake_ring_used_idx(&t.r), 0);
	assert_true(vringh_need_notify(t.vr));
	vringh_notify_disable(t.vr);
	fake_guest_map(&t.g, RT_RING, RT_TABLE - RT_RING, GUEST_LINEAR, VHOST_MAP_RW);
	assert_int_equal(vringh_flush(t.vr), 0);
	assert_int_equal(fake_ring_used_idx(&t.r), 2);
	assert_int_equal(t.r.u->ring[0].len, 1);
	assert_int_equal(t.r.u->ring[1].len, 2);
	rt_end(&t);
}

/* Without a vIOMMU the same is the driver's fault. */
static void used_ring_is_gone(void **state)
{
	struct ring_test t;
	struct vringh_chain *c;

	(void)state;
	rt_new(&t, 0);
	rt_simple(&t, 0);
	c = rt_get(&t);
	vringh_complete(t.vr, c, 0);
	fake_guest_unmap(&t.g, RT_RING, RT_TABLE - RT_RING);
	assert_int_equal(vringh_flush(t.vr), -EBADMSG);
	assert_non_null(strstr(vringh_error(t.vr), "used ring"));
	rt_end(&t);
}

/* The ring moves in this process: nothing of the old place is used. */
static void ring_is_mapped_elsewhere(void **state)
{
	struct ring_test t;

	(void)state;
	rt_new(&t, F_INDIRECT);
	round_trip(&t, 1);
	for (unsigned layout = 0; layout < GUEST_NLAYOUTS; layout++) {
		fake_guest_unmap(&t.g, RT_RING, RT_TABLE - RT_RING);
		fake_guest_map(&t.g, RT_RING, RT_TABLE - RT_RING, layout, VHOST_MAP_RW);
		for (unsigned round = 0; round < 10; round++)
			round_trip(&t, round);
	}
	rt_end(&t);
}

/* Buffers that were used a moment ago are gone: their memory may be anybody's by now. */
static void buffers_are_gone(void **state)
{
	struct ring_test t;

	(void)state;
	for (unsigned used = 1; used < 10; used++) {
		rt_prepare(&t, GUEST_LINEAR, GUEST_PAGES);
		rt_start(&t, 0);
		for (unsigned i = 0; i < used; i++) {
			fake_ring_desc(&t.r, 0, RT_BUF + i * GUEST_PAGE, 8, 0, 0);
			fake_ring_avail(&t.r, 0);
			fake_ring_publish(&t.r);
			rt_complete_flush(&t, rt_get(&t), 0);
		}
		fake_guest_unmap(&t.g, RT_BUF, RT_BYTES - RT_BUF);
		fake_ring_avail(&t.r, 0);
		fake_ring_publish(&t.r);
		rt_expect_bad(&t, "is not mapped");
		rt_end(&t);
	}
}

static void peer_answers_errors(void **state)
{
	struct ring_test t;
	struct vringh_chain *c;

	(void)state;
	rt_prepare(&t, GUEST_LINEAR, GUEST_MESSAGE);
	rt_start(&t, 0);
	rt_simple(&t, 0);
	t.g.fail_reads = -EIO;
	rt_expect_bad(&t, "a buffer by message cannot be reached");
	rt_end(&t);

	rt_prepare(&t, GUEST_LINEAR, GUEST_MESSAGE);
	rt_start(&t, 0);
	rt_simple(&t, 0);
	c = rt_get(&t);
	t.g.fail_writes = -EIO;
	vringh_complete(t.vr, c, 16);
	/* No data, no completion. */
	assert_int_equal(vringh_flush(t.vr), 0);
	assert_int_equal(fake_ring_used_idx(&t.r), 0);
	rt_expect_bad(&t, "cannot be written any more");
	rt_end(&t);
}

/* ---- who uses what ---- */

static void in_use(void **state)
{
	struct ring_test t;
	struct vringh_chain *c;
	uintptr_t p;

	(void)state;
	rt_new(&t, 0);
	rt_simple(&t, 0);
	assert_false(vringh_in_use(t.vr, 0, UINTPTR_MAX));
	c = rt_get(&t);
	assert_true(vringh_in_use(t.vr, 0, UINTPTR_MAX));
	p = (uintptr_t)c->iov[1].iov_base;
	assert_true(vringh_in_use(t.vr, p, p));
	assert_true(vringh_in_use(t.vr, p + 15, p + 15));
	assert_true(vringh_in_use(t.vr, p - 5, p));
	assert_false(vringh_in_use(t.vr, p + 16, p + 100));
	assert_false(vringh_in_use(t.vr, p - 5, p - 1));
	vringh_complete(t.vr, c, 0);
	assert_false(vringh_in_use(t.vr, 0, UINTPTR_MAX));
	rt_end(&t);
}

static void removed(void *arg, int result)
{
	*(int *)arg = result;
}

/* A removal of what a request uses waits for that request, and only for it. */
static void removal_waits(void **state)
{
	struct ring_test t;
	struct vringh_chain *c;
	int used = 1, unused = 1;
	const struct vdpa_done used_done = {removed, &used};
	const struct vdpa_done unused_done = {removed, &unused};
	iova_t buf = GUEST_IOVA + RT_BUF;

	(void)state;
	rt_prepare(&t, GUEST_LINEAR, GUEST_LINEAR);
	fake_guest_unmap(&t.g, RT_BUF, RT_BYTES - RT_BUF);
	fake_guest_map(&t.g, RT_BUF, GUEST_PAGE, GUEST_LINEAR, VHOST_MAP_RW);
	fake_guest_map(&t.g, RT_BUF + GUEST_PAGE, GUEST_PAGE, GUEST_LINEAR, VHOST_MAP_RW);
	rt_start(&t, 0);
	rt_simple(&t, 0);
	c = rt_get(&t);
	assert_int_equal(vdpa_as_unmap(t.g.as, buf, buf + GUEST_PAGE - 1, &used_done), 0);
	assert_int_equal(
		vdpa_as_unmap(t.g.as, buf + GUEST_PAGE, buf + 2 * GUEST_PAGE - 1, &unused_done), 0);
	fake_guest_settle(&t.g);
	assert_int_equal(unused, 0);
	assert_int_equal(used, 1);
	vringh_iov_push(c, 0, "still", 5);
	rt_complete_flush(&t, c, 5);
	fake_guest_settle(&t.g);
	assert_int_equal(used, 0);
	assert_memory_equal(t.g.mem + RT_BUF + 32, "still", 5);
	rt_end(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_layout),	       cmocka_unit_test(large_ring_over_pages),
		cmocka_unit_test(by_message_exactly),  cmocka_unit_test(by_message_is_bounded),
		cmocka_unit_test(parked_and_retried),  cmocka_unit_test(used_ring_is_missing),
		cmocka_unit_test(used_ring_is_gone),   cmocka_unit_test(ring_is_mapped_elsewhere),
		cmocka_unit_test(peer_answers_errors), cmocka_unit_test(in_use),
		cmocka_unit_test(removal_waits),       cmocka_unit_test(buffers_are_gone),
	};

	return RT_RUN("ring-layouts", tests);
}
