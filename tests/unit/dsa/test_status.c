// SPDX-License-Identifier: BSD-3-Clause
/*
 * Every status that can occur, each from a descriptor that is right but for one thing; errors that
 * no record can tell; memory that changes while it is read.
 */
#include "single.h"

#include <stdatomic.h>
#include <stdlib.h>

#define LIST 0x18000u

static int setup(void **state)
{
	struct bench_config config = {.workers = 1};

	bench_open(b, &config);
	return 0;
}

static int setup_bof(void **state)
{
	struct bench_config config = {.workers = 1, .queue.block_on_fault = true};

	bench_open(b, &config);
	return 0;
}

static void make_move(void)
{
	make(DSA_OPCODE_MEMMOVE, iova_of(SRC), iova_of(DST), 4096);
}

static void add_flags(uint32_t flags)
{
	put32(d + 4, get32(d + 4) | flags);
}

static void lose_page(uint64_t off)
{
	b->pages[off / PAGE].perm = 0;
	bench_map(b);
}

/* ---- faults ---- */

static void s03_page_fault(void **state)
{
	make(DSA_OPCODE_MEMMOVE, iova_of(SRC), iova_of(DST), 3 * PAGE);
	lose_page(SRC + PAGE);
	assert_int_equal(run(), DSA_COMP_PAGE_FAULT_NOBOF);
	assert_int_equal(get32(record + 4), PAGE);
	assert_int_equal(get64(record + 8), iova_of(SRC + PAGE));
	b->pages[SRC / PAGE + 1].perm = VHOST_MAP_RW;
	b->pages[DST / PAGE + 2].perm = VHOST_MAP_RO;
	bench_map(b);
	assert_int_equal(run(), DSA_COMP_PAGE_FAULT_NOBOF | DSA_COMP_STATUS_WRITE);
	assert_int_equal(get32(record + 4), 2 * PAGE);
	assert_int_equal(get64(record + 8), iova_of(DST + 2 * PAGE));
}

/* Nobody will ever map it: waiting would be in vain. */
static void s04_page_fault_that_blocking_does_not_mend(void **state)
{
	make_move();
	add_flags(IDXD_OP_FLAG_BOF);
	lose_page(SRC);
	assert_int_equal(run(), DSA_COMP_PAGE_FAULT_IR);
	assert_int_equal(get32(record + 4), 0);
}

static void s06_batch_list_fault(void **state)
{
	for (unsigned i = 0; i < PAGE / 64; i++) {
		uint8_t raw[64];

		desc_make(raw, &(struct desc){DSA_OPCODE_NOOP, 0, 0, 0, 0, 0, 0});
		bench_put(b, LIST + 64 * i, raw, 64);
	}
	make(DSA_OPCODE_BATCH, iova_of(LIST + PAGE - 5 * 64), 0, 8);
	lose_page(LIST + PAGE);
	assert_int_equal(run(), DSA_COMP_BATCH_PAGE_FAULT);
	assert_int_equal(get32(record + 4), 5);
	assert_int_equal(get64(record + 8), iova_of(LIST + PAGE));
}

static void s1a_record_cannot_be_written(void **state)
{
	make_move();
	b->mem[SRC] = 7;
	put64(d + 8, iova_of(0x10000));
	lose_page(0x10000);
	bench_run(b, d);
	assert_int_equal(bench_told(b).status, DSA_COMP_CRA_XLAT | DSA_COMP_STATUS_WRITE);
	assert_int_equal(bench_told(b).errors, 1);
	assert_int_equal(bench_told(b).error.status, DSA_COMP_CRA_XLAT | DSA_COMP_STATUS_WRITE);
	assert_int_equal(bench_told(b).error.op, DSA_OPCODE_MEMMOVE);
	assert_int_equal(bench_told(b).error.pasid, 7);
	assert_int_equal(bench_told(b).error.fault_addr, iova_of(0x10000));
	/* What it did is done. */
	assert_int_equal(b->mem[DST], 7);
}

/* What reaches the memory does not work. */
static void s20_memory_by_message_fails(void **state)
{
	b->pages[SRC / PAGE].remote = true;
	bench_map(b);
	make_move();
	assert_int_equal(run(), DSA_COMP_SUCCESS);
	b->remote_broken = true;
	assert_int_equal(run(), DSA_COMP_HW_ERR1);
	make(DSA_OPCODE_MEMMOVE, iova_of(DST), iova_of(SRC), 4096);
	assert_int_equal(run(), DSA_COMP_HW_ERR1);
}

/* ---- descriptors ---- */

static void s05_batch_fail(void **state)
{
	uint8_t raw[64];

	for (unsigned i = 0; i < 3; i++) {
		desc_make(raw, &(struct desc){i == 1 ? 0x33 : 0, 0, 0, 0, 0, 0, 0});
		bench_put(b, LIST + 64 * i, raw, 64);
	}
	make(DSA_OPCODE_BATCH, iova_of(LIST), 0, 3);
	assert_int_equal(run(), DSA_COMP_BATCH_FAIL);
	assert_int_equal(get32(record + 4), 3);
	assert_int_equal(bench_told(b).errors, 1);
	assert_int_equal(bench_told(b).error.status, DSA_COMP_BAD_OPCODE);
	assert_true(bench_told(b).error.batch);
	assert_int_equal(bench_told(b).error.batch_index, 1);
}

static void s07_s08_delta_offsets(void **state)
{
	uint8_t *delta = b->mem + SRC;

	make(DSA_OPCODE_AP_DELTA, iova_of(SRC), iova_of(DST), 80);
	put32(d + 40, 30);
	put16(delta, 3);
	put16(delta + 10, 3);
	assert_int_equal(run(), DSA_COMP_DR_OFFSET_NOINC);
	assert_int_equal(get32(record + 4), 10);
	put16(delta + 10, 9);
	put16(delta + 20, 10);
	assert_int_equal(run(), DSA_COMP_DR_OFFSET_ERANGE);
	assert_int_equal(get32(record + 4), 20);
}

static void s09_dif_error(void **state)
{
	make(DSA_OPCODE_DIF_CHECK, iova_of(SRC), 0, 520);
	b->mem[SRC] = 1;
	assert_int_equal(run(), DSA_COMP_DIF_ERR);
	assert_int_equal(record[1], DSA_DIF_BAD_GUARD);
}

static void s10_opcodes(void **state)
{
	for (unsigned op = 0; op < 256; op++) {
		make((uint8_t)op, 0, 0, 0);
		if (op < 64 && DSA_OPCAP >> op & 1)
			assert_int_not_equal(run(), DSA_COMP_BAD_OPCODE);
		else
			assert_int_equal(run(), DSA_COMP_BAD_OPCODE);
	}
}

/* Neither a batch nor a drain is allowed in a batch. */
static void s10_nested(void **state)
{
	const uint8_t ops[] = {DSA_OPCODE_BATCH, DSA_OPCODE_DRAIN};

	for (unsigned i = 0; i < 2; i++) {
		uint8_t raw[64];

		desc_make(raw, &(struct desc){ops[i], CRAV_RCR, iova_of(0x10000), iova_of(LIST), 0,
					      2, 0});
		bench_put(b, LIST, raw, 64);
		desc_make(raw, &(struct desc){DSA_OPCODE_NOOP, 0, 0, 0, 0, 0, 0});
		bench_put(b, LIST + 64, raw, 64);
		make(DSA_OPCODE_BATCH, iova_of(LIST), 0, 2);
		assert_int_equal(run(), DSA_COMP_BATCH_FAIL);
		assert_int_equal(b->mem[0x10000], DSA_COMP_BAD_OPCODE);
	}
}

/* A flag at a time: what is not allowed is named, for every operation. */
static void s11_flags(void **state)
{
	for (unsigned op = 0; op < 64; op++) {
		for (unsigned bit = 0; bit < 24; bit++) {
			uint8_t status;

			if (!(DSA_OPCAP >> op & 1) || bit == 4)
				continue;
			make((uint8_t)op, 0, 0, 0);
			put32(d + 4, get32(d + 4) | 1u << bit);
			status = run();
			if (status == DSA_COMP_INVALID_FLAGS)
				assert_int_equal(get32(record + 16), 1u << bit);
			/* In no operation: fence, block on fault, readback, and the reserved. */
			if (bit < 2 || bit == 6 || bit == 14 || bit > 19)
				assert_int_equal(status, DSA_COMP_INVALID_FLAGS);
		}
	}
}

static void s11_record_without_address(void **state)
{
	make_move();
	put32(d + 4, (uint32_t)DSA_OPCODE_MEMMOVE << 24 | IDXD_OP_FLAG_RCR);
	assert_int_equal(run(), 0xee);
	assert_int_equal(bench_told(b).error.status, DSA_COMP_INVALID_FLAGS);
	assert_int_equal(bench_told(b).error.invalid_flags, IDXD_OP_FLAG_RCR);
}

static void s12_reserved(void **state)
{
	const unsigned bytes[] = {2, 3, 38, 39};

	for (unsigned i = 0; i < sizeof(bytes) / sizeof(bytes[0]); i++) {
		make_move();
		d[bytes[i]] = 0x10;
		assert_int_equal(run(), DSA_COMP_NOZERO_RESERVE);
	}
	for (unsigned bit = 8 * 40; bit < 8 * DSA_DESC_BYTES; bit++) {
		make_move();
		d[bit / 8] = (uint8_t)(1u << bit % 8);
		assert_int_equal(run(), DSA_COMP_NOZERO_RESERVE);
	}
}

static void s13_sizes(void **state)
{
	const uint32_t sizes[] = {0, (1u << 21) + 1, UINT32_MAX};

	for (unsigned i = 0; i < 3; i++) {
		make(DSA_OPCODE_MEMMOVE, iova_of(SRC), iova_of(DST), sizes[i]);
		assert_int_equal(run(), DSA_COMP_XFER_ERANGE);
	}
	make(DSA_OPCODE_CR_DELTA, iova_of(SRC), iova_of(DST), 12);
	assert_int_equal(run(), DSA_COMP_XFER_ERANGE);
	make(DSA_OPCODE_DIF_CHECK, iova_of(SRC), 0, 519);
	assert_int_equal(run(), DSA_COMP_XFER_ERANGE);
}

static void s14_counts(void **state)
{
	const uint32_t counts[] = {0, 1, 33, UINT32_MAX};

	for (unsigned i = 0; i < 4; i++) {
		make(DSA_OPCODE_BATCH, iova_of(LIST), 0, counts[i]);
		assert_int_equal(run(), DSA_COMP_DESC_CNT_ERANGE);
	}
}

static void s15_delta_record_sizes(void **state)
{
	make(DSA_OPCODE_CR_DELTA, iova_of(SRC), iova_of(DST), 64);
	put64(d + 40, iova_of(0x10000));
	put32(d + 48, 70);
	assert_int_equal(run(), DSA_COMP_DR_ERANGE);
	put32(d + 48, 85);
	assert_int_equal(run(), DSA_COMP_DR_ERANGE);
	put32(d + 48, 80);
	assert_int_equal(run(), DSA_COMP_SUCCESS);
}

static void s16_overlaps(void **state)
{
	make(DSA_OPCODE_COPY_CRC, iova_of(SRC), iova_of(SRC + 99), 100);
	assert_int_equal(run(), DSA_COMP_OVERLAP_BUFFERS);
	make(DSA_OPCODE_COPY_CRC, iova_of(SRC), iova_of(SRC + 100), 100);
	assert_int_equal(run(), DSA_COMP_SUCCESS);
	/* A range that wraps is no way around. */
	make(DSA_OPCODE_COPY_CRC, UINT64_MAX - 10, UINT64_MAX - 5, 100);
	assert_int_equal(run(), DSA_COMP_OVERLAP_BUFFERS);
}

static void s17_dualcast(void **state)
{
	make(DSA_OPCODE_DUALCAST, iova_of(SRC), iova_of(DST), 100);
	put64(d + 40, iova_of(DST + 8 * PAGE + 1));
	assert_int_equal(run(), DSA_COMP_DCAST_ERR);
}

static void s18_list_alignment(void **state)
{
	make(DSA_OPCODE_BATCH, iova_of(LIST + 32), 0, 2);
	assert_int_equal(run(), DSA_COMP_DESCLIST_ALIGN);
}

static void s19_interrupt_handle(void **state)
{
	make(DSA_OPCODE_NOOP, 0, 0, 0);
	add_flags(IDXD_OP_FLAG_RCI);
	put16(d + 36, 5);
	assert_int_equal(run(), DSA_COMP_SUCCESS);
	assert_int_equal(bench_told(b).interrupts, 1);
	assert_int_equal(bench_told(b).handle, 5);
	b->handles_refused = true;
	assert_int_equal(run(), DSA_COMP_INT_HANDLE_INVAL);
	assert_int_equal(bench_told(b).interrupts, 1);
}

static void s1b_record_alignment(void **state)
{
	make_move();
	put64(d + 8, iova_of(RECORD + 16));
	assert_int_equal(run(), 0xee);
	assert_int_equal(bench_told(b).error.status, DSA_COMP_CRA_ALIGN);
}

static void s1c_alignment(void **state)
{
	make(DSA_OPCODE_CR_DELTA, iova_of(SRC + 4), iova_of(DST), 64);
	put64(d + 40, iova_of(0x10000));
	put32(d + 48, 80);
	assert_int_equal(run(), DSA_COMP_ADDR_ALIGN);
	make(DSA_OPCODE_CRCGEN, iova_of(SRC), 0, 64);
	add_flags(DSA_FLAG_CRC_SEED_ADDR);
	put64(d + 48, iova_of(DST + 2));
	assert_int_equal(run(), DSA_COMP_ADDR_ALIGN);
}

static void s1d_privilege(void **state)
{
	make_move();
	d[3] |= 0x80;
	assert_int_equal(run(), DSA_COMP_PRIV_BAD);
}

/* A success that nobody asked to be told of is told to nobody; an interrupt comes all the same. */
static void interrupt_alone(void **state)
{
	make_move();
	put32(d + 4, (uint32_t)DSA_OPCODE_MEMMOVE << 24 | IDXD_OP_FLAG_RCI);
	put64(d + 8, 0);
	put16(d + 36, 9);
	assert_int_equal(run(), 0xee);
	assert_int_equal(bench_told(b).status, DSA_COMP_SUCCESS);
	assert_int_equal(bench_told(b).errors, 0);
	assert_int_equal(bench_told(b).handle, 9);
}

/* ---- memory that changes ---- */

#ifndef __SANITIZE_THREAD__

#define TRIES 3000

struct fickle {
	uint8_t *p, one, two;
	_Atomic bool stop;
};

static void *flip(void *arg)
{
	struct fickle *f = arg;

	while (!atomic_load_explicit(&f->stop, memory_order_relaxed)) {
		__atomic_store_n(f->p, f->one, __ATOMIC_RELAXED);
		__atomic_store_n(f->p, f->two, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* Run @d many times while a byte changes; look at each with @check. */
static void run_fickle(uint8_t *p, uint8_t one, uint8_t two, void (*check)(uint8_t status))
{
	struct fickle f = {.p = p, .one = one, .two = two};
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, flip, &f), 0);
	for (unsigned i = 0; i < TRIES; i++)
		check(run());
	atomic_store(&f.stop, true);
	pthread_join(thread, NULL);
}

static void checked_block(uint8_t status)
{
	if (status == DSA_COMP_SUCCESS)
		assert_int_equal(b->mem[DST + 300], 1);
	else
		assert_int_equal(status, DSA_COMP_DIF_ERR);
}

static void what_was_checked_is_what_is_copied(void **state)
{
	uint16_t guard;

	b->mem[SRC + 300] = 1;
	guard = ref_crc16(0, b->mem + SRC, 512);
	b->mem[SRC + 512] = (uint8_t)(guard >> 8);
	b->mem[SRC + 513] = (uint8_t)guard;
	make(DSA_OPCODE_DIF_STRP, iova_of(SRC), iova_of(DST), 520);
	run_fickle(b->mem + SRC + 300, 1, 2, checked_block);
	make(DSA_OPCODE_DIF_UPDT, iova_of(SRC), iova_of(DST), 520);
	run_fickle(b->mem + SRC + 300, 1, 2, checked_block);
}

static void crc_of_copy(uint8_t status)
{
	uint32_t seed = ~get32(record + 16), crc = 0xffffffff;

	assert_int_equal(status, DSA_COMP_SUCCESS);
	crc = ref_crc32c(crc, b->mem + DST, 64, false);
	for (unsigned i = 0; i < 32; i++)
		assert_int_equal(crc >> i & 1, seed >> (31 - i) & 1);
}

static void checksum_is_of_the_copy(void **state)
{
	make(DSA_OPCODE_COPY_CRC, iova_of(SRC), iova_of(DST), 64);
	run_fickle(b->mem + SRC + 30, 1, 2, crc_of_copy);
}

static void stayed_in_bounds(uint8_t status)
{
	static const uint8_t zeros[4096];

	assert_true(status == DSA_COMP_SUCCESS || status == DSA_COMP_DR_OFFSET_ERANGE);
	/* Where the other offset would have led. */
	assert_memory_equal(b->mem + DST + 64, zeros, sizeof(zeros));
}

static void offset_that_was_checked_is_used(void **state)
{
	memset(b->mem + SRC, 0x55, 10);
	b->mem[SRC + 1] = 0;
	make(DSA_OPCODE_AP_DELTA, iova_of(SRC), iova_of(DST), 64);
	put32(d + 40, 10);
	run_fickle(b->mem + SRC, 2, 200, stayed_in_bounds);
}

/* The child of a batch that is a drain by the second look. */
static void child_ended(uint8_t status)
{
	assert_true(status == DSA_COMP_SUCCESS || status == DSA_COMP_BATCH_FAIL);
}

static void descriptor_in_a_batch_is_read_once(void **state)
{
	uint8_t raw[64];

	desc_make(raw, &(struct desc){DSA_OPCODE_NOOP, 0, 0, 0, 0, 0, 0});
	bench_put(b, LIST, raw, 64);
	bench_put(b, LIST + 64, raw, 64);
	make(DSA_OPCODE_BATCH, iova_of(LIST), 0, 2);
	run_fickle(b->mem + LIST + 7, DSA_OPCODE_NOOP, DSA_OPCODE_BATCH, child_ended);
}

#endif

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(s03_page_fault),
		cmocka_unit_test_setup_teardown(s04_page_fault_that_blocking_does_not_mend,
						setup_bof, teardown),
		T(s05_batch_fail),
		T(s06_batch_list_fault),
		T(s07_s08_delta_offsets),
		T(s09_dif_error),
		T(s10_opcodes),
		T(s10_nested),
		T(s11_flags),
		T(s11_record_without_address),
		T(s12_reserved),
		T(s13_sizes),
		T(s14_counts),
		T(s15_delta_record_sizes),
		T(s16_overlaps),
		T(s17_dualcast),
		T(s18_list_alignment),
		T(s19_interrupt_handle),
		T(s1a_record_cannot_be_written),
		T(s1b_record_alignment),
		T(s1c_alignment),
		T(s1d_privilege),
		T(s20_memory_by_message_fails),
		T(interrupt_alone),
#ifndef __SANITIZE_THREAD__
		T(what_was_checked_is_what_is_copied),
		T(checksum_is_of_the_copy),
		T(offset_that_was_checked_is_used),
		T(descriptor_in_a_batch_is_read_once),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
