// SPDX-License-Identifier: BSD-3-Clause
/*
 * Memory that changes between two reads of the same word. The rings of this test are built so that
 * every word is overwritten the moment it was read; by message, the second read of a byte answers
 * something else. What comes out must be what was read first, and nothing may be read twice.
 */
#include "ring_test.h"

static struct fake_guest *guest; /* the hook overwrites its memory; NULL: off */
static struct fake_rng noise = {99};
static uint8_t read_before[RT_BYTES];
static unsigned rereads;

void ring_guest_read_hook(const void *addr, size_t len);
void ring_guest_read_hook(const void *addr, size_t len)
{
	uintptr_t p = (uintptr_t)addr;
	uintptr_t bases[2];

	if (!guest)
		return;
	bases[0] = (uintptr_t)vdpa_region_base(guest->a);
	bases[1] = (uintptr_t)vdpa_region_base(guest->b);
	for (unsigned i = 0; i < 2; i++) {
		size_t off = p - bases[i];

		if (off >= guest->bytes)
			continue;
		for (size_t k = 0; k < len; k++, off++) {
			rereads += read_before[off];
			read_before[off] = 1;
			guest->mem[off] = (uint8_t)fake_rand(&noise);
		}
		return;
	}
	fail_msg("a word outside of the guest was read as if it were the guest's");
}

/*
 * A hint may be anything: until it was taken, a descriptor has an address in @lie, and then the
 * true one.
 */
static struct {
	uint64_t *at, truth;
	bool told;
} lies[8];
static unsigned nlies;

void ring_guest_hint_hook(const void *addr, size_t len);
void ring_guest_hint_hook(const void *addr, size_t len)
{
	size_t off;

	(void)len;
	if (!guest)
		return;
	off = (uintptr_t)addr - (uintptr_t)vdpa_region_base(guest->a);
	for (unsigned i = 0; i < nlies; i++) {
		if ((uint8_t *)lies[i].at != guest->mem + off)
			continue;
		*lies[i].at = lies[i].truth;
		lies[i].told = true;
	}
}

/* The descriptor of the buffer or table at @off, wherever it is, will lie. */
static void lie(struct ring_test *t, size_t off, uint64_t instead)
{
	uint64_t *w = (uint64_t *)(void *)t->g.mem;

	while (*w != GUEST_IOVA + off)
		w++;
	lies[nlies].at = w;
	lies[nlies].truth = *w;
	lies[nlies++].told = false;
	*w = instead;
}

static void fickle_on(struct ring_test *t)
{
	memset(read_before, 0, sizeof(read_before));
	memset(t->g.seen, 0, t->g.bytes);
	rereads = t->g.rereads = 0;
	t->g.fickle = true;
	guest = &t->g;
}

static void fickle_off(struct ring_test *t)
{
	guest = NULL;
	t->g.fickle = false;
	assert_int_equal(rereads, 0);
	assert_int_equal(t->g.rereads, 0);
}

/* A plain chain of three and a table of three; ring memory as @ring says. */
static void lay_out(struct ring_test *t, unsigned round)
{
	fake_ring_init(&t->r, &t->g, RT_RING, RT_NUM);
	fake_ring_start_at(&t->r, (uint16_t)(2 * round));
	if (fake_packed())
		t->r.pos = t->r.used_pos = 4 * round % (2 * RT_NUM);
	fake_ring_desc(&t->r, 2, RT_BUF, 11, NEXT, 9);
	fake_ring_desc(&t->r, 9, RT_BUF + 100, 12, NEXT | WRITE, 4);
	fake_ring_desc(&t->r, 4, RT_BUF + 200, 13, WRITE, 0);
	fake_ring_entry(&t->r, RT_TABLE, 0, GUEST_IOVA + RT_BUF + 300, 21, NEXT);
	fake_ring_entry(&t->r, RT_TABLE, 1, GUEST_IOVA + RT_BUF + 400, 22, NEXT);
	fake_ring_entry(&t->r, RT_TABLE, 2, GUEST_IOVA + RT_BUF + 500, 23, WRITE);
	fake_ring_desc(&t->r, 7, RT_TABLE, 48, INDIRECT, 0);
	fake_ring_avail(&t->r, 2);
	fake_ring_avail(&t->r, 7);
	fake_ring_publish(&t->r);
}

static void expect_piece(struct ring_test *t, const struct iovec *v, size_t off, size_t len)
{
	assert_ptr_equal(v->iov_base, (uint8_t *)vdpa_region_base(t->g.a) + off);
	assert_int_equal(v->iov_len, len);
}

static void every_word_once(void **state)
{
	(void)state;
	for (unsigned ring = 0; ring < GUEST_NLAYOUTS; ring++) {
		struct ring_test t;

		rt_prepare(&t, ring, GUEST_LINEAR);
		rt_start(&t, F_INDIRECT);
		for (unsigned round = 0; round < 200; round++) {
			lay_out(&t, round);
			fickle_on(&t);
			assert_int_equal(vringh_getdesc(t.vr, t.chains, 64), 2);
			fickle_off(&t);
			assert_int_equal(t.chains[0]->head, 2);
			assert_int_equal(t.chains[0]->nout, 1);
			assert_int_equal(t.chains[0]->nin, 2);
			expect_piece(&t, &t.chains[0]->iov[0], RT_BUF, 11);
			expect_piece(&t, &t.chains[0]->iov[1], RT_BUF + 100, 12);
			expect_piece(&t, &t.chains[0]->iov[2], RT_BUF + 200, 13);
			assert_int_equal(t.chains[0]->out_len, 11);
			assert_int_equal(t.chains[0]->in_len, 25);
			assert_int_equal(t.chains[1]->head, 7);
			expect_piece(&t, &t.chains[1]->iov[0], RT_BUF + 300, 21);
			expect_piece(&t, &t.chains[1]->iov[1], RT_BUF + 400, 22);
			expect_piece(&t, &t.chains[1]->iov[2], RT_BUF + 500, 23);
			/* The answer goes to the heads that were got, whatever the ring says by
			 * now. */
			vringh_complete(t.vr, t.chains[1], 1);
			vringh_complete(t.vr, t.chains[0], 2);
			fickle_on(&t);
			assert_int_equal(vringh_flush(t.vr), 0);
			fickle_off(&t);
			fake_ring_used_idx(&t.r);
			assert_int_equal(t.r.u->ring[(2 * round) % RT_NUM].id,
					 fake_in_order() ? 2 : 7);
			assert_int_equal(t.r.u->ring[(2 * round + 1) % RT_NUM].id,
					 fake_in_order() ? 7 : 2);
		}
		rt_end(&t);
	}
}

/* In a large map descriptors are looked at ahead of time: what was seen then counts for nothing. */
static void hints_are_not_believed(void **state)
{
	/* But of the first descriptor: that one is read before anybody looks ahead. */
	static const size_t buffers[] = {0, 100, 200, 300, 400, 500};
	static const uint64_t instead[] = {1ull << 40, 0, UINT64_MAX, GUEST_IOVA + RT_BUF + 100};

	(void)state;
	for (unsigned i = 0; rt_deep && i < 8; i++) {
		struct ring_test t;

		rt_prepare(&t, GUEST_LINEAR, GUEST_LINEAR);
		rt_start(&t, F_INDIRECT);
		lay_out(&t, 0);
		nlies = 0;
		if (i < 4) {
			lie(&t, RT_TABLE, instead[i]);
		} else {
			for (unsigned k = 1; k < 6; k++)
				lie(&t, RT_BUF + buffers[k], instead[i - 4]);
		}
		fickle_on(&t);
		assert_int_equal(vringh_getdesc(t.vr, t.chains, 64), 2);
		fickle_off(&t);
		for (unsigned k = 0; k < nlies; k++)
			assert_true(lies[k].told);
		for (unsigned k = 0; k < 6; k++)
			expect_piece(&t, &t.chains[k / 3]->iov[k % 3], RT_BUF + buffers[k],
				     (k < 3 ? 11 : 21 - 3) + k);
		nlies = 0;
		vringh_complete(t.vr, t.chains[0], 0);
		vringh_complete(t.vr, t.chains[1], 0);
		rt_end(&t);
	}
}

/* Buffers by message are read once, and are what they were then. */
static void buffers_by_message_once(void **state)
{
	struct ring_test t;
	uint8_t buf[11];

	(void)state;
	rt_prepare(&t, GUEST_MESSAGE, GUEST_MESSAGE);
	rt_start(&t, F_INDIRECT);
	lay_out(&t, 0);
	memset(t.g.mem + RT_BUF, 0x11, 11);
	fickle_on(&t);
	assert_int_equal(vringh_getdesc(t.vr, t.chains, 64), 2);
	fickle_off(&t);
	memset(t.g.mem + RT_BUF, 0x22, 11);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(vringh_iov_pull(t.chains[0], 0, buf, 11), 11);
		assert_int_equal(buf[0], 0x11);
		assert_int_equal(buf[10], 0x11);
	}
	vringh_complete(t.vr, t.chains[0], 0);
	vringh_complete(t.vr, t.chains[1], 0);
	rt_end(&t);
}

/* Each word of suppression too is read once per question. */
static void suppression_once(void **state)
{
	static const uint64_t features[] = {0, F_EVENT};

	(void)state;
	for (unsigned ring = 0; ring < GUEST_NLAYOUTS; ring++) {
		for (unsigned f = 0; f < 2; f++) {
			struct ring_test t;

			rt_prepare(&t, ring, GUEST_LINEAR);
			rt_start(&t, features[f]);
			rt_simple(&t, 0);
			rt_complete_flush(&t, rt_get(&t), 0);
			fickle_on(&t);
			vringh_need_notify(t.vr);
			fickle_off(&t);
			fickle_on(&t);
			vringh_notify_enable(t.vr);
			fickle_off(&t);
			rt_end(&t);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_word_once),
		cmocka_unit_test(hints_are_not_believed),
		cmocka_unit_test(buffers_by_message_once),
		cmocka_unit_test(suppression_once),
	};

	return RT_RUN("ring-fickle", tests);
}
