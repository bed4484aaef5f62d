// SPDX-License-Identifier: BSD-3-Clause
/* What a well-behaved driver sees; over both ring formats, in order and not. */
#include "ring_test.h"

static void one_request(void **state)
{
	struct ring_test t;
	struct vringh_chain *c;
	char buf[16] = "";

	(void)state;
	rt_new(&t, 0);
	memcpy(t.g.mem + RT_BUF, "question", 8);
	assert_int_equal(vringh_getdesc(t.vr, &c, 1), 0);
	rt_simple(&t, 0);
	c = rt_get(&t);
	assert_int_equal(c->head, 0);
	assert_int_equal(c->nout, 1);
	assert_int_equal(c->nin, 1);
	assert_int_equal(c->out_len, 8);
	assert_int_equal(c->in_len, 16);
	assert_non_null(c->priv);
	assert_int_equal(vringh_outstanding(t.vr), 1);
	assert_int_equal(vringh_iov_pull(c, 0, buf, 16), 8);
	assert_memory_equal(buf, "question", 8);
	assert_int_equal(vringh_iov_push(c, 4, "answer", 6), 6);
	vringh_complete(t.vr, c, 10);
	assert_int_equal(fake_ring_used_idx(&t.r), 0);
	assert_int_equal(vringh_flush(t.vr), 0);
	assert_int_equal(fake_ring_used_idx(&t.r), 1);
	assert_int_equal(t.r.u->ring[0].id, 0);
	assert_int_equal(t.r.u->ring[0].len, 10);
	assert_memory_equal(t.g.mem + RT_BUF + 32 + 4, "answer", 6);
	assert_int_equal(vringh_outstanding(t.vr), 0);
	rt_expect_got(&t, 1, 2);
	assert_int_equal(vringh_get_stats(t.vr)->chains, 1);
	assert_int_equal(vringh_get_stats(t.vr)->completed, 1);
	assert_int_equal(vringh_get_stats(t.vr)->bytes_out, 8);
	assert_int_equal(vringh_get_stats(t.vr)->bytes_in, 10);
	rt_end(&t);
}

static void batch_out_of_order(void **state)
{
	struct ring_test t;

	(void)state;
	rt_new(&t, 0);
	for (unsigned i = 0; i < 8; i++)
		rt_simple(&t, i * 2);
	assert_int_equal(vringh_getdesc(t.vr, t.chains, 5), 5);
	assert_int_equal(vringh_getdesc(t.vr, t.chains + 5, 64), 3);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(t.chains[i]->head, i * 2);
	for (unsigned i = 8; i-- > 0;)
		vringh_complete(t.vr, t.chains[i], i);
	assert_int_equal(vringh_flush(t.vr), 0);
	assert_int_equal(fake_ring_used_idx(&t.r), 8);
	for (unsigned i = 0; i < 8; i++) {
		unsigned k = fake_in_order() ? i : 7 - i;

		assert_int_equal(t.r.u->ring[i].id, k * 2);
		assert_int_equal(t.r.u->ring[i].len, k);
	}
	rt_end(&t);
}

/* Indices run through 2^16, the used ring through its end, in batches that straddle both. */
static void wrap(void **state)
{
	struct ring_test t;
	struct vringh_config config;

	(void)state;
	rt_prepare(&t, GUEST_LINEAR, GUEST_LINEAR);
	fake_ring_start_at(&t.r, 65530);
	config = fake_ring_config(&t.r, 0);
	assert_int_equal(vringh_init(&config, &t.vr, NULL), 0);
	for (unsigned round = 0; round < 5000; round++) {
		uint16_t at = (uint16_t)(65530 + round * 5);

		for (unsigned i = 0; i < 5; i++)
			rt_simple(&t, i * 2);
		assert_int_equal(vringh_getdesc(t.vr, t.chains, 64), 5);
		for (unsigned i = 0; i < 5; i++)
			vringh_complete(t.vr, t.chains[i], i);
		assert_int_equal(vringh_flush(t.vr), 0);
		assert_int_equal(fake_ring_used_idx(&t.r), (uint16_t)(at + 5));
		for (unsigned i = 0; i < 5; i++) {
			assert_int_equal(t.r.u->ring[(at + i) % RT_NUM].id, i * 2);
			assert_int_equal(t.r.u->ring[(at + i) % RT_NUM].len, i);
		}
	}
	rt_end(&t);
}

static void indirect_after_direct(void **state)
{
	struct ring_test t;
	struct vring_desc *table;
	struct vringh_chain *c;

	(void)state;
	if (fake_packed())
		return;
	rt_new(&t, F_INDIRECT);
	/* One plain descriptor, then a table (2.7.5.3.2 allows it), whose WRITE flag means nothing.
	 */
	table = (struct vring_desc *)(void *)(t.g.mem + RT_TABLE);
	fake_desc(&table[0], GUEST_IOVA + RT_BUF + 100, 10, NEXT, 2);
	fake_desc(&table[2], GUEST_IOVA + RT_BUF + 200, 20, NEXT | WRITE, 1);
	fake_desc(&table[1], GUEST_IOVA + RT_BUF + 300, 30, WRITE, 0);
	fake_ring_desc(&t.r, 3, RT_BUF, 5, NEXT, 7);
	fake_ring_desc(&t.r, 7, RT_TABLE, 3 * 16, INDIRECT | WRITE, 0);
	fake_ring_avail(&t.r, 3);
	fake_ring_publish(&t.r);
	c = rt_get(&t);
	assert_int_equal(c->nout, 2);
	assert_int_equal(c->nin, 2);
	assert_int_equal(c->out_len, 15);
	assert_int_equal(c->in_len, 50);
	rt_complete_flush(&t, c, 50);
	assert_int_equal(t.r.u->ring[0].id, 3);
	assert_int_equal(t.r.u->ring[0].len, 50);
	rt_end(&t);
}

/* A table may lie at any address. */
static void indirect_unaligned(void **state)
{
	struct ring_test t;
	struct vringh_chain *c;

	(void)state;
	rt_new(&t, F_INDIRECT);
	fake_ring_entry(&t.r, RT_TABLE + 3, 0, GUEST_IOVA + RT_BUF, 10, NEXT);
	fake_ring_entry(&t.r, RT_TABLE + 3, 1, GUEST_IOVA + RT_BUF + 64, 7, WRITE);
	fake_ring_desc(&t.r, 0, RT_TABLE + 3, 32, INDIRECT, 0);
	fake_ring_avail(&t.r, 0);
	fake_ring_publish(&t.r);
	c = rt_get(&t);
	assert_int_equal(c->out_len, 10);
	assert_int_equal(c->in_len, 7);
	rt_complete_flush(&t, c, 7);
	rt_end(&t);
}

/* DPDK's driver leaves WRITE set in tables of packed rings: a device that only reads knows. */
static void read_only_queue(void **state)
{
	struct ring_test t;
	struct vringh_config config;
	struct vringh_chain *c;

	(void)state;
	if (!fake_packed())
		return;
	for (unsigned read_only = 0; read_only < 2; read_only++) {
		rt_prepare(&t, GUEST_LINEAR, GUEST_LINEAR);
		config = fake_ring_config(&t.r, F_INDIRECT);
		config.read_only = read_only;
		assert_int_equal(vringh_init(&config, &t.vr, NULL), 0);
		/* In memory that the device may only read. */
		fake_ring_entry(&t.r, RT_TABLE, 0, GUEST_IOVA + RT_TABLE + 64, 10, WRITE);
		fake_ring_entry(&t.r, RT_TABLE, 1, GUEST_IOVA + RT_BUF, 7, NEXT);
		fake_ring_desc(&t.r, 0, RT_TABLE, 32, INDIRECT, 0);
		fake_ring_avail(&t.r, 0);
		fake_ring_publish(&t.r);
		if (read_only) {
			c = rt_get(&t);
			assert_int_equal(c->nin, 0);
			assert_int_equal(c->out_len, 17);
			rt_complete_flush(&t, c, 0);
		} else {
			rt_expect_bad(&t, "is not mapped for the device to write");
		}
		rt_end(&t);
	}
}

static void empty_buffers_are_skipped(void **state)
{
	struct ring_test t;
	struct vringh_chain *c;

	(void)state;
	rt_new(&t, 0);
	fake_ring_desc(&t.r, 0, RT_BUF, 0, NEXT, 1);
	/* Nothing is mapped there, and nothing is there. */
	fake_desc(&t.r.d[1], 0xdead0000, 0, NEXT, 2);
	fake_ring_desc(&t.r, 2, RT_BUF, 3, NEXT, 3);
	fake_ring_desc(&t.r, 3, RT_BUF, 0, WRITE, 0);
	fake_ring_avail(&t.r, 0);
	fake_ring_desc(&t.r, 4, RT_BUF, 0, 0, 0);
	fake_ring_avail(&t.r, 4);
	fake_ring_publish(&t.r);
	c = rt_get(&t);
	assert_int_equal(c->nout, 1);
	assert_int_equal(c->nin, 0);
	rt_complete_flush(&t, c, 0);
	c = rt_get(&t);
	assert_int_equal(c->nout + c->nin, 0);
	rt_complete_flush(&t, c, 0);
	assert_int_equal(fake_ring_used_idx(&t.r), 2);
	rt_end(&t);
}

/* A chain of all descriptors; longer than what lies in the slot. */
static void long_chain(void **state)
{
	struct ring_test t;

	(void)state;
	rt_new(&t, 0);
	for (unsigned round = 0; round < 3; round++) {
		struct vringh_chain *c;
		char buf[RT_NUM];

		for (unsigned i = 0; i < RT_NUM; i++) {
			fake_ring_desc(&t.r, i, RT_BUF + i * 100, 1,
				       (i >= 8 ? WRITE : 0) | (i < RT_NUM - 1 ? NEXT : 0),
				       (uint16_t)(i + 1));
			t.g.mem[RT_BUF + i * 100] = (uint8_t)('a' + i);
		}
		fake_ring_avail(&t.r, 0);
		fake_ring_publish(&t.r);
		c = rt_get(&t);
		assert_int_equal(c->nout, 8);
		assert_int_equal(c->nin, 8);
		assert_int_equal(vringh_iov_pull(c, 0, buf, sizeof(buf)), 8);
		assert_memory_equal(buf, "abcdefgh", 8);
		assert_int_equal(vringh_iov_pull(c, 3, buf, 4), 4);
		assert_memory_equal(buf, "defg", 4);
		assert_int_equal(vringh_iov_pull(c, 8, buf, 4), 0);
		assert_int_equal(vringh_iov_push(c, 6, "XYZ", 3), 2);
		rt_complete_flush(&t, c, 8);
		assert_int_equal(t.g.mem[RT_BUF + 1400], 'X');
		assert_int_equal(t.g.mem[RT_BUF + 1500], 'Y');
	}
	rt_end(&t);
}

static void abandon(void **state)
{
	struct ring_test t;

	(void)state;
	rt_new(&t, 0);
	for (unsigned i = 0; i < 8; i++)
		rt_simple(&t, i * 2);
	assert_int_equal(vringh_getdesc(t.vr, t.chains, 6), 6);
	vringh_abandon(t.vr, 4);
	assert_int_equal(vringh_outstanding(t.vr), 2);
	rt_expect_got(&t, 2, 2);
	assert_int_equal(vringh_get_stats(t.vr)->chains, 2);
	assert_int_equal(vringh_getdesc(t.vr, t.chains + 2, 64), 6);
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(t.chains[i]->head, i * 2);
		vringh_complete(t.vr, t.chains[i], 0);
	}
	assert_int_equal(vringh_flush(t.vr), 0);
	assert_int_equal(fake_ring_used_idx(&t.r), 8);
	rt_end(&t);
}

static void count_chain(void *arg, struct vringh_chain *chain)
{
	unsigned *heads = arg;

	*heads |= 1u << chain->head;
}

/* A reset: what is out is forgotten, nothing is written, the head is not the driver's. */
static void cancel(void **state)
{
	struct ring_test t;
	unsigned heads = 0;

	(void)state;
	rt_new(&t, 0);
	for (unsigned i = 0; i < 4; i++)
		rt_simple(&t, i * 2);
	assert_int_equal(vringh_getdesc(t.vr, t.chains, 64), 4);
	memset(t.chains[1]->priv, 0x77, 8);
	vringh_cancel(t.vr, t.chains[1]);
	vringh_for_each(t.vr, count_chain, &heads);
	assert_int_equal(heads, 1 << 0 | 1 << 4 | 1 << 6);
	assert_int_equal(vringh_outstanding(t.vr), 3);
	vringh_complete(t.vr, t.chains[0], 0);
	vringh_complete(t.vr, t.chains[2], 0);
	vringh_cancel(t.vr, t.chains[3]);
	assert_int_equal(vringh_flush(t.vr), 0);
	/* In order, nothing goes past the one that never ends. */
	assert_int_equal(fake_ring_used_idx(&t.r), fake_in_order() ? 1 : 2);
	assert_int_equal(vringh_outstanding(t.vr), 0);
	rt_simple(&t, 2);
	rt_expect_bad(&t, "while it is out");
	rt_end(&t);
}

static void completes_no_more_than_there_is(void **state)
{
	struct ring_test t;
	struct vringh_chain *c;

	(void)state;
	rt_new(&t, 0);
	rt_simple(&t, 0);
	c = rt_get(&t);
	rt_complete_flush(&t, c, 1000);
	assert_int_equal(fake_ring_used_idx(&t.r), 1);
	assert_int_equal(t.r.u->ring[0].len, 16);
	rt_end(&t);
}

/* A device that took over: the available index is given, the used index is in the ring. */
static void takes_up_where_the_ring_stands(void **state)
{
	struct ring_test t;
	struct vringh_config config;
	struct vringh_chain *c;

	(void)state;
	rt_prepare(&t, GUEST_LINEAR, GUEST_LINEAR);
	fake_ring_start_at(&t.r, 1000);
	rt_simple(&t, 4);
	config = fake_ring_config(&t.r, 0);
	assert_int_equal(vringh_init(&config, &t.vr, NULL), 0);
	rt_expect_got(&t, 0, 2);
	c = rt_get(&t);
	assert_int_equal(c->head, 4);
	rt_complete_flush(&t, c, 1);
	assert_int_equal(fake_ring_used_idx(&t.r), 1001);
	assert_int_equal(t.r.u->ring[1000 % RT_NUM].id, 4);
	rt_end(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_request),
		cmocka_unit_test(batch_out_of_order),
		cmocka_unit_test(wrap),
		cmocka_unit_test(indirect_after_direct),
		cmocka_unit_test(indirect_unaligned),
		cmocka_unit_test(read_only_queue),
		cmocka_unit_test(empty_buffers_are_skipped),
		cmocka_unit_test(long_chain),
		cmocka_unit_test(abandon),
		cmocka_unit_test(cancel),
		cmocka_unit_test(completes_no_more_than_there_is),
		cmocka_unit_test(takes_up_where_the_ring_stands),
	};

	return RT_RUN("ring-requests", tests);
}
