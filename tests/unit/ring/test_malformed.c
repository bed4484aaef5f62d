// SPDX-License-Identifier: BSD-3-Clause
/* What a hostile or broken driver writes: each offence stops this ring, says why, and nothing else.
 */
#include "ring_test.h"

/* ---- indices ---- */

/* Every distance that the index can jump. */
static void available_index_jumps(void **state)
{
	struct ring_test t;

	(void)state;
	if (fake_packed())
		return;
	rt_prepare(&t, GUEST_LINEAR, GUEST_LINEAR);
	for (unsigned i = 0; i < RT_NUM; i++) {
		fake_ring_desc(&t.r, i, RT_BUF, 1, 0, 0);
		t.r.a->ring[i] = (uint16_t)i;
	}
	for (unsigned jump = 0; jump < 65536; jump++) {
		int rc;

		rt_start(&t, 0);
		t.r.a->idx = (uint16_t)jump;
		rc = vringh_getdesc(t.vr, t.chains, 64);
		if (jump <= RT_NUM)
			assert_int_equal(rc, jump);
		else
			assert_int_equal(rc, -EBADMSG);
		t.g.vr = NULL;
		vringh_free(t.vr);
	}
	t.vr = NULL;
	rt_end(&t);
}

static void head_beyond_the_ring(void **state)
{
	static const uint16_t heads[] = {RT_NUM, RT_NUM + 1, 32768, 65535};

	(void)state;
	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		struct ring_test t;

		rt_new(&t, 0);
		fake_ring_avail(&t.r, heads[i]);
		fake_ring_publish(&t.r);
		rt_expect_bad(&t, "the ring has 16");
		rt_end(&t);
	}
}

static void next_beyond_the_table(void **state)
{
	struct ring_test t;

	(void)state;
	if (fake_packed())
		return;
	rt_new(&t, 0);
	fake_ring_desc(&t.r, 0, RT_BUF, 1, NEXT, RT_NUM);
	fake_ring_avail(&t.r, 0);
	fake_ring_publish(&t.r);
	rt_expect_bad(&t, "next 16, the table has 16");
	rt_end(&t);
}

/* All are out, and one more comes: there is no slot for it, and none is looked for (ASan would see
 * it). */
static void one_more_than_all(void **state)
{
	struct vringh_chain *c[RT_NUM + 1];
	struct ring_test t;

	(void)state;
	rt_new(&t, 0);
	for (unsigned i = 0; i < RT_NUM; i++) {
		fake_ring_desc(&t.r, i, RT_BUF + i * 64, 16, WRITE, 0);
		fake_ring_avail(&t.r, (uint16_t)i);
	}
	fake_ring_publish(&t.r);
	assert_int_equal(vringh_getdesc(t.vr, c, RT_NUM + 1), RT_NUM);
	fake_ring_avail(&t.r, 0);
	fake_ring_publish(&t.r);
	assert_int_equal(vringh_getdesc(t.vr, c + RT_NUM, 1), -EBADMSG);
	for (unsigned i = 0; i < RT_NUM; i++)
		vringh_complete(t.vr, c[i], 0);
	rt_end(&t);
}

static void head_twice(void **state)
{
	struct ring_test t;
	struct vringh_chain *c;

	(void)state;
	/* In one batch: the first of them is good. */
	rt_new(&t, 0);
	rt_simple(&t, 0);
	fake_ring_avail(&t.r, 0);
	fake_ring_publish(&t.r);
	assert_int_equal(vringh_getdesc(t.vr, &c, 64), 1);
	assert_int_equal(vringh_getdesc(t.vr, &c, 64), -EBADMSG);
	assert_non_null(strstr(vringh_error(t.vr), "0 was made available while it is out"));
	/* The good one still has its answer. */
	rt_complete_flush(&t, c, 16);
	assert_int_equal(fake_ring_used_idx(&t.r), 1);
	rt_end(&t);

	/* Completed, but not visible to the driver: it cannot know, so it cannot offer it. */
	rt_new(&t, 0);
	rt_simple(&t, 0);
	c = rt_get(&t);
	vringh_complete(t.vr, c, 0);
	rt_simple(&t, 0);
	rt_expect_bad(&t, "while it is out");
	rt_end(&t);

	/* Visible: its own again. */
	rt_new(&t, 0);
	rt_simple(&t, 0);
	rt_complete_flush(&t, rt_get(&t), 0);
	rt_simple(&t, 0);
	rt_complete_flush(&t, rt_get(&t), 0);
	rt_end(&t);
}

/* ---- loops ---- */

static void loops(void **state)
{
	struct ring_test t;

	(void)state;
	if (fake_packed())
		return;
	/* Onto itself, empty, so that no count of pieces ends it. */
	rt_new(&t, 0);
	fake_ring_desc(&t.r, 3, RT_BUF, 0, NEXT, 3);
	fake_ring_avail(&t.r, 3);
	fake_ring_publish(&t.r);
	rt_expect_bad(&t, "loop");
	rt_end(&t);

	/* A cycle of two behind a stem. */
	rt_new(&t, 0);
	fake_ring_desc(&t.r, 0, RT_BUF, 1, NEXT, 1);
	fake_ring_desc(&t.r, 1, RT_BUF, 1, NEXT, 2);
	fake_ring_desc(&t.r, 2, RT_BUF, 1, NEXT, 1);
	fake_ring_avail(&t.r, 0);
	fake_ring_publish(&t.r);
	rt_expect_bad(&t, "loop");
	rt_end(&t);
}

/* Heads whose chains share descriptors would make a batch walk num * num of them. */
static void shared_tails(void **state)
{
	struct ring_test t;

	(void)state;
	if (fake_packed())
		return;
	rt_new(&t, 0);
	for (unsigned i = 0; i < RT_NUM; i++) {
		fake_ring_desc(&t.r, i, RT_BUF, 0, i + 1 < RT_NUM ? NEXT : 0, (uint16_t)(i + 1));
		fake_ring_avail(&t.r, (uint16_t)i);
	}
	fake_ring_publish(&t.r);
	assert_int_equal(vringh_getdesc(t.vr, t.chains, 64), 1);
	vringh_cancel(t.vr, t.chains[0]);
	rt_expect_bad(&t, "shared");
	rt_end(&t);
}

/* ---- indirect tables ---- */

static struct vring_desc *split_table(struct ring_test *t)
{
	return (struct vring_desc *)(void *)(t->g.mem + RT_TABLE);
}

static void start_table(struct ring_test *t, uint64_t features, uint32_t len, uint16_t flags)
{
	rt_new(t, features);
	fake_ring_desc(&t->r, 0, RT_TABLE, len, INDIRECT | flags, 1);
	fake_ring_desc(&t->r, 1, RT_BUF, 1, 0, 0);
	fake_ring_entry(&t->r, RT_TABLE, 0, GUEST_IOVA + RT_BUF, 8, 0);
	fake_ring_avail(&t->r, 0);
	fake_ring_publish(&t->r);
}

static void indirect_not_negotiated(void **state)
{
	struct ring_test t;

	(void)state;
	if (rt_extra & F_INDIRECT)
		return;
	start_table(&t, 0, 16, 0);
	rt_expect_bad(&t, "without the feature");
	rt_end(&t);
}

static void indirect_with_next(void **state)
{
	struct ring_test t;

	(void)state;
	start_table(&t, F_INDIRECT, 16, NEXT);
	rt_expect_bad(&t, "both INDIRECT and NEXT");
	rt_end(&t);
}

static void indirect_length(void **state)
{
	static const uint32_t lens[] = {0, 1, 15, 17, 31, 0xffffffff};

	(void)state;
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		struct ring_test t;

		start_table(&t, F_INDIRECT, lens[i], 0);
		rt_expect_bad(&t, "indirect table of");
		rt_end(&t);
	}
}

static void indirect_in_indirect(void **state)
{
	struct ring_test t;

	(void)state;
	if (fake_packed())
		return;
	start_table(&t, F_INDIRECT, 32, 0);
	fake_ring_entry(&t.r, RT_TABLE, 0, GUEST_IOVA + RT_TABLE + 16, 16, INDIRECT);
	rt_expect_bad(&t, "in an indirect table");
	rt_end(&t);
}

static void indirect_next(void **state)
{
	struct ring_test t;

	(void)state;
	if (fake_packed())
		return;
	start_table(&t, F_INDIRECT, 32, 0);
	fake_desc(&split_table(&t)[0], GUEST_IOVA + RT_BUF, 8, NEXT, 2);
	rt_expect_bad(&t, "next 2 in an indirect table of 2");
	rt_end(&t);
}

static void indirect_loop(void **state)
{
	struct ring_test t;

	(void)state;
	if (fake_packed())
		return;
	start_table(&t, F_INDIRECT, 32, 0);
	fake_desc(&split_table(&t)[0], GUEST_IOVA + RT_BUF, 0, NEXT, 1);
	fake_desc(&split_table(&t)[1], GUEST_IOVA + RT_BUF, 0, NEXT, 0);
	rt_expect_bad(&t, "loop in");
	rt_end(&t);
}

/* The whole address space as a table: not mapped, and its length is not what bounds the work. */
static void indirect_huge(void **state)
{
	struct ring_test t;

	(void)state;
	rt_prepare(&t, GUEST_MESSAGE, GUEST_LINEAR);
	rt_start(&t, F_INDIRECT);
	fake_ring_desc(&t.r, 0, RT_TABLE, 0xfffffff0, INDIRECT, 0);
	fake_desc(&split_table(&t)[0], GUEST_IOVA + RT_BUF, 0, NEXT, 0);
	fake_ring_avail(&t.r, 0);
	fake_ring_publish(&t.r);
	if (fake_packed()) {
		rt_expect_bad(&t, "at most 1024 are taken");
		assert_in_range(t.g.reads, 0, 10);
	} else {
		rt_expect_bad(&t, "too long");
		assert_in_range(t.g.reads, VRINGH_MAX_IOV, VRINGH_MAX_IOV + 10);
	}
	rt_end(&t);
}

static void indirect_wraps(void **state)
{
	struct ring_test t;

	(void)state;
	rt_new(&t, F_INDIRECT);
	fake_desc(&t.r.d[0], ~0ull - 15, 32, INDIRECT, 0);
	fake_ring_avail(&t.r, 0);
	fake_ring_publish(&t.r);
	rt_expect_bad(&t, "cannot be reached");
	rt_end(&t);
}

/* ---- lists of a packed ring ---- */

/* Available, in the @pos-th place of the first lap. */
static void put(struct ring_test *t, uint32_t pos, uint16_t id, uint16_t flags)
{
	fake_packed_desc(&t->r, pos, GUEST_IOVA + RT_BUF, 1, id,
			 flags | fake_packed_avail(&t->r, pos));
}

/* Each descriptor goes on to the next: the ring is one list without an end. */
static void list_of_all(void **state)
{
	struct ring_test t;

	(void)state;
	if (!fake_packed())
		return;
	rt_new(&t, 0);
	for (unsigned i = 0; i < RT_NUM; i++)
		put(&t, i, 0, NEXT);
	rt_expect_bad(&t, "a list of more than the 16 descriptors");
	rt_end(&t);
}

/* A list may not take descriptors that are the device's, whatever their flags say. */
static void list_into_what_is_out(void **state)
{
	struct ring_test t;

	(void)state;
	if (!fake_packed())
		return;
	rt_new(&t, 0);
	for (unsigned i = 0; i < 4; i++)
		put(&t, i, (uint16_t)i, 0);
	assert_int_equal(vringh_getdesc(t.vr, t.chains, 64), 4);
	for (unsigned i = 4; i < RT_NUM + 4; i++)
		put(&t, i, 9, NEXT);
	assert_int_equal(vringh_getdesc(t.vr, t.chains + 4, 64), -EBADMSG);
	assert_non_null(strstr(vringh_error(t.vr), "a list of more than the 12 descriptors"));
	rt_end(&t);
}

static void list_of_what_is_not_available(void **state)
{
	struct ring_test t;

	(void)state;
	if (!fake_packed())
		return;
	rt_new(&t, 0);
	put(&t, 0, 0, NEXT);
	rt_expect_bad(&t, "not available");
	rt_end(&t);
}

static void table_in_a_list(void **state)
{
	struct ring_test t;

	(void)state;
	if (!fake_packed())
		return;
	rt_new(&t, F_INDIRECT);
	put(&t, 1, 0, INDIRECT);
	put(&t, 0, 0, NEXT);
	rt_expect_bad(&t, "indirect table in a list");
	rt_end(&t);
}

/* All are out, and the driver makes the next lap available. */
static void lap_too_far(void **state)
{
	struct ring_test t;

	(void)state;
	if (!fake_packed())
		return;
	rt_new(&t, 0);
	for (unsigned i = 0; i < RT_NUM; i++)
		put(&t, i, (uint16_t)i, 0);
	assert_int_equal(vringh_getdesc(t.vr, t.chains, 64), RT_NUM);
	assert_false(vringh_notify_enable(t.vr));
	put(&t, RT_NUM, 0, 0);
	assert_true(vringh_notify_enable(t.vr));
	assert_int_equal(vringh_getdesc(t.vr, t.chains, 64), -EBADMSG);
	assert_non_null(strstr(vringh_error(t.vr), "descriptor 0 was made available"));
	rt_end(&t);
}

/* 2.8.7: in a table only WRITE means something; there is no second level. */
static void flags_in_a_table(void **state)
{
	struct ring_test t;
	struct vringh_chain *c;

	(void)state;
	if (!fake_packed())
		return;
	rt_new(&t, F_INDIRECT);
	fake_ring_entry(&t.r, RT_TABLE, 0, GUEST_IOVA + RT_BUF, 16, INDIRECT | 0x8080);
	fake_ring_entry(&t.r, RT_TABLE, 1, GUEST_IOVA + RT_BUF, 8, WRITE | NEXT);
	fake_ring_desc(&t.r, 0, RT_TABLE, 32, INDIRECT | WRITE, 0);
	fake_ring_avail(&t.r, 0);
	fake_ring_publish(&t.r);
	c = rt_get(&t);
	assert_int_equal(c->out_len, 16);
	assert_int_equal(c->in_len, 8);
	rt_complete_flush(&t, c, 0);
	rt_end(&t);
}

/* ---- buffers ---- */

static void readable_after_writable(void **state)
{
	struct ring_test t;

	(void)state;
	rt_new(&t, 0);
	fake_ring_desc(&t.r, 0, RT_BUF, 1, NEXT | WRITE, 1);
	fake_ring_desc(&t.r, 1, RT_BUF, 1, 0, 0);
	fake_ring_avail(&t.r, 0);
	fake_ring_publish(&t.r);
	rt_expect_bad(&t, "readable buffer after a writable one");
	rt_end(&t);
}

static void buffer_addresses(void **state)
{
	static const struct {
		uint64_t addr;
		uint32_t len;
		uint16_t flags;
	} bad[] = {
		{0, 1, 0},
		{GUEST_IOVA - 1, 2, 0},
		{GUEST_IOVA + RT_BYTES - 1, 2, 0},
		{GUEST_IOVA + RT_BYTES, 1, 0},
		{~0ull, 1, 0},
		{~0ull, 2, 0},
		{~0ull - 1, 0xffffffff, WRITE},
		{GUEST_IOVA + RT_TABLE, 1, WRITE}, /* read-only */
		{GUEST_IOVA + RT_TABLE - 1, 2, WRITE},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct ring_test t;

		rt_new(&t, 0);
		fake_desc(&t.r.d[0], bad[i].addr, bad[i].len, bad[i].flags, 0);
		fake_ring_avail(&t.r, 0);
		fake_ring_publish(&t.r);
		rt_expect_bad(&t, "is not mapped for the device");
		rt_end(&t);
	}
}

/* A range that was just hit for reading is no more writable than before. */
static void permission_of_a_recent_hit(void **state)
{
	struct ring_test t;
	struct vringh_chain *c;

	(void)state;
	rt_new(&t, 0);
	fake_ring_desc(&t.r, 0, RT_TABLE, 8, 0, 0);
	fake_ring_avail(&t.r, 0);
	fake_ring_publish(&t.r);
	c = rt_get(&t);
	rt_complete_flush(&t, c, 0);
	fake_ring_desc(&t.r, 1, RT_TABLE, 8, WRITE, 0);
	fake_ring_avail(&t.r, 1);
	fake_ring_publish(&t.r);
	rt_expect_bad(&t, "is not mapped for the device to write");
	rt_end(&t);
}

/* One buffer of @bytes, in memory of this layout. */
static int pieces(struct ring_test *t, enum guest_layout layout, uint32_t bytes)
{
	rt_prepare(t, GUEST_LINEAR, layout);
	rt_start(t, F_INDIRECT);
	fake_ring_desc(&t->r, 0, RT_BUF + 1, bytes, 0, 0);
	fake_ring_avail(&t->r, 0);
	fake_ring_publish(&t->r);
	return vringh_getdesc(t->vr, t->chains, 1);
}

static void too_many_pieces(void **state)
{
	struct ring_test t;

	(void)state;
	assert_int_equal(pieces(&t, GUEST_BYTES, VRINGH_MAX_IOV), 1);
	assert_int_equal(t.chains[0]->nout, VRINGH_MAX_IOV);
	vringh_complete(t.vr, t.chains[0], 0);
	rt_end(&t);
	assert_int_equal(pieces(&t, GUEST_BYTES, VRINGH_MAX_IOV + 1), -EBADMSG);
	assert_non_null(strstr(vringh_error(t.vr), "more than 1024 pieces"));
	rt_end(&t);
}

/* The same for one descriptor per piece, mapped and by message. */
static void too_many_descriptors(void **state)
{
	static const enum guest_layout layouts[] = {GUEST_LINEAR, GUEST_MESSAGE};

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		unsigned n = VRINGH_MAX_IOV + i / 2;
		struct ring_test t;
		struct vringh_config config;

		memset(&t, 0, sizeof(t));
		assert_int_equal(fake_guest_init(&t.g, 32 * GUEST_PAGE), 0);
		fake_guest_map(&t.g, 0, 16 * GUEST_PAGE, GUEST_LINEAR, VHOST_MAP_RW);
		fake_guest_map(&t.g, 16 * GUEST_PAGE, 16 * GUEST_PAGE, layouts[i % 2],
			       VHOST_MAP_RW);
		fake_ring_init(&t.r, &t.g, 0, 2048);
		for (unsigned k = 0; k < n; k++)
			fake_ring_desc(&t.r, k, 16 * GUEST_PAGE + 2 * k, 1, k + 1 < n ? NEXT : 0,
				       (uint16_t)(k + 1));
		fake_ring_avail(&t.r, 0);
		fake_ring_publish(&t.r);
		config = fake_ring_config(&t.r, 0);
		assert_int_equal(vringh_init(&config, &t.vr, NULL), 0);
		if (i < 2)
			rt_complete_flush(&t, rt_get(&t), 0);
		else
			rt_expect_bad(&t, "more than 1024 pieces");
		rt_end(&t);
	}
}

/* virtio 1.3, 2.7.4.1: 2^32 bytes at most. Over one large mapping that nobody touches. */
static void too_long(void **state)
{
	(void)state;
	for (unsigned over = 0; over < 2; over++) {
		struct ring_test t;
		struct fake_guest big;
		struct vringh_config config;

		rt_prepare(&t, GUEST_LINEAR, GUEST_LINEAR);
		assert_int_equal(fake_guest_init(&big, 1ull << 31), 0);
		fake_guest_map(&big, 0, 1ull << 31, GUEST_LINEAR, VHOST_MAP_RW);
		config = fake_ring_config(&t.r, 0);
		config.buf_view = big.view;
		assert_int_equal(vringh_init(&config, &t.vr, NULL), 0);
		fake_ring_desc(&t.r, 0, 0, 1u << 31, NEXT, 1);
		fake_ring_desc(&t.r, 1, 0, 1u << 31, NEXT | WRITE, 2);
		fake_ring_desc(&t.r, 2, 0, over, WRITE, 0);
		fake_ring_avail(&t.r, 0);
		fake_ring_publish(&t.r);
		if (over) {
			rt_expect_bad(&t, "longer than 2^32 bytes");
		} else {
			struct vringh_chain *c = rt_get(&t);

			assert_int_equal(c->out_len + c->in_len, 1ull << 32);
			vringh_complete(t.vr, c, 0);
		}
		rt_end(&t);
		fake_guest_fini(&big);
	}
}

/* What was good before the offence is got, and can be answered. */
static void good_ones_before_a_bad_one(void **state)
{
	struct ring_test t;

	(void)state;
	rt_new(&t, 0);
	rt_simple(&t, 0);
	rt_simple(&t, 2);
	fake_ring_avail(&t.r, 99);
	rt_simple(&t, 4);
	assert_int_equal(vringh_getdesc(t.vr, t.chains, 64), 2);
	assert_true(vringh_notify_enable(t.vr)); /* there is something to hear */
	assert_int_equal(vringh_getdesc(t.vr, t.chains + 2, 64), -EBADMSG);
	vringh_complete(t.vr, t.chains[0], 1);
	vringh_complete(t.vr, t.chains[1], 1);
	assert_int_equal(vringh_flush(t.vr), 0);
	assert_int_equal(fake_ring_used_idx(&t.r), 2);
	rt_end(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(available_index_jumps),
		cmocka_unit_test(head_beyond_the_ring),
		cmocka_unit_test(next_beyond_the_table),
		cmocka_unit_test(one_more_than_all),
		cmocka_unit_test(head_twice),
		cmocka_unit_test(loops),
		cmocka_unit_test(shared_tails),
		cmocka_unit_test(indirect_not_negotiated),
		cmocka_unit_test(indirect_with_next),
		cmocka_unit_test(indirect_length),
		cmocka_unit_test(indirect_in_indirect),
		cmocka_unit_test(indirect_next),
		cmocka_unit_test(indirect_loop),
		cmocka_unit_test(indirect_huge),
		cmocka_unit_test(indirect_wraps),
		cmocka_unit_test(list_of_all),
		cmocka_unit_test(list_into_what_is_out),
		cmocka_unit_test(list_of_what_is_not_available),
		cmocka_unit_test(table_in_a_list),
		cmocka_unit_test(lap_too_far),
		cmocka_unit_test(flags_in_a_table),
		cmocka_unit_test(readable_after_writable),
		cmocka_unit_test(buffer_addresses),
		cmocka_unit_test(permission_of_a_recent_hit),
		cmocka_unit_test(too_many_pieces),
		cmocka_unit_test(too_many_descriptors),
		cmocka_unit_test(too_long),
		cmocka_unit_test(good_ones_before_a_bad_one),
	};

	return RT_RUN("ring-malformed", tests);
}
