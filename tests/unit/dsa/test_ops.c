// SPDX-License-Identifier: BSD-3-Clause
/*
 * Each operation once, as its user would, with known answers. What each does with every flag,
 * layout of memory and fault is test_random's.
 */
#include "single.h"

static const uint8_t digits[] = "123456789";

static int setup(void **state)
{
	struct bench_config config = {.workers = 1, .queue.block_on_fault = true};

	bench_open(b, &config);
	return 0;
}

static int setup_reversed(void **state)
{
	struct bench_config config = {.workers = 1,
				      .queue = {.batch_reversed = true, .max_batch_shift = 7}};

	bench_open(b, &config);
	return 0;
}

static void fill_random(uint64_t off, size_t len)
{
	uint64_t seed = 0x1234567 + off;

	for (size_t i = 0; i < len; i++)
		*bench_at(b, off + i) = (uint8_t)rng(&seed);
}

/* ---- moving ---- */

static void noop(void **state)
{
	make(DSA_OPCODE_NOOP, 0, 0, 0);
	assert_int_equal(run(), DSA_COMP_SUCCESS);
	for (unsigned i = 1; i < DSA_RECORD_BYTES; i++)
		assert_int_equal(record[i], 0);
}

static void no_record_is_written_that_nobody_asked_for(void **state)
{
	make(DSA_OPCODE_NOOP, 0, 0, 0);
	put32(d + 4, IDXD_OP_FLAG_CRAV);
	assert_int_equal(run(), 0xee);
	assert_int_equal(bench_told(b).status, DSA_COMP_SUCCESS);
	/* But of an error it is. */
	d[20] = 1;
	assert_int_equal(run(), DSA_COMP_NOZERO_RESERVE);
}

static void memmove_copies(void **state)
{
	fill_random(SRC, 20000);
	make(DSA_OPCODE_MEMMOVE, iova_of(SRC + 1), iova_of(DST + 3), 12345);
	assert_int_equal(run(), DSA_COMP_SUCCESS);
	assert_memory_equal(b->mem + SRC + 1, b->mem + DST + 3, 12345);
	assert_int_equal(b->mem[DST + 2], 0);
	assert_int_equal(b->mem[DST + 3 + 12345], 0);
}

static void memmove_overlaps(void **state)
{
	static uint8_t before[ARENA_BYTES];
	const int shifts[] = {1, -1, 64, -64, 5000, -5000};

	for (unsigned i = 0; i < 6; i++) {
		fill_random(0, 60000);
		memcpy(before, b->mem, ARENA_BYTES);
		make(DSA_OPCODE_MEMMOVE, iova_of(6000), iova_of((uint64_t)(6000 + shifts[i])),
		     40000);
		assert_int_equal(run(), DSA_COMP_SUCCESS);
		assert_memory_equal(b->mem + 6000 + shifts[i], before + 6000, 40000);
	}
}

/* The rest is still to be copied: of the beginning, and the record says so. */
static void memmove_stops_at_the_beginning(void **state)
{
	b->pages[1].perm = 0;
	bench_map(b);
	fill_random(2 * PAGE, 3 * PAGE);
	make(DSA_OPCODE_MEMMOVE, iova_of(PAGE), iova_of(PAGE + 512), 4 * PAGE);
	assert_int_equal(run(), DSA_COMP_PAGE_FAULT_NOBOF);
	assert_int_equal(record[1], 1);
	assert_int_equal(get32(record + 4), 3 * PAGE);
	assert_int_equal(get64(record + 8), iova_of(2 * PAGE - 1));
}

static void fill_repeats_its_pattern(void **state)
{
	make(DSA_OPCODE_MEMFILL, 0x0807060504030201ull, iova_of(DST + 5), 1003);
	assert_int_equal(run(), DSA_COMP_SUCCESS);
	for (unsigned i = 0; i < 1003; i++)
		assert_int_equal(b->mem[DST + 5 + i], i % 8 + 1);
	assert_int_equal(b->mem[DST + 5 + 1003], 0);
}

static void dualcast_copies_twice(void **state)
{
	fill_random(SRC, 9000);
	make(DSA_OPCODE_DUALCAST, iova_of(SRC + 7), iova_of(DST + 100), 8000);
	put64(d + 40, iova_of(DST + 0x4000 + 100));
	assert_int_equal(run(), DSA_COMP_SUCCESS);
	assert_memory_equal(b->mem + SRC + 7, b->mem + DST + 100, 8000);
	assert_memory_equal(b->mem + SRC + 7, b->mem + DST + 0x4000 + 100, 8000);
}

static void cflush_wants_memory(void **state)
{
	make(DSA_OPCODE_CFLUSH, 0, iova_of(DST), 8192);
	assert_int_equal(run(), DSA_COMP_SUCCESS);
	b->pages[DST / PAGE + 1].perm = 0;
	bench_map(b);
	assert_int_equal(run(), DSA_COMP_PAGE_FAULT_NOBOF);
	assert_int_equal(get32(record + 4), PAGE);
}

/* ---- comparing ---- */

static void compare_finds_the_first_difference(void **state)
{
	fill_random(SRC, 5000);
	memcpy(b->mem + DST, b->mem + SRC, 5000);
	make(DSA_OPCODE_COMPARE, iova_of(SRC), iova_of(DST), 5000);
	assert_int_equal(run(), DSA_COMP_SUCCESS);
	assert_int_equal(record[1], 0);
	b->mem[DST + 4321] ^= 1;
	b->mem[DST + 4500] ^= 1;
	assert_int_equal(run(), DSA_COMP_SUCCESS);
	assert_int_equal(record[1], 1);
	assert_int_equal(get32(record + 4), 4321);
	/* Checked against what is expected. */
	put32(d + 4, get32(d + 4) | IDXD_OP_FLAG_CR);
	assert_int_equal(run(), DSA_COMP_SUCCESS_PRED);
	d[40] = 1;
	assert_int_equal(run(), DSA_COMP_SUCCESS);
}

static void compval_compares_with_a_pattern(void **state)
{
	for (unsigned i = 0; i < 100; i++)
		b->mem[SRC + 3 + i] = (uint8_t)(i % 8 + 1);
	make(DSA_OPCODE_COMPVAL, iova_of(SRC + 3), 0x0807060504030201ull, 100);
	assert_int_equal(run(), DSA_COMP_SUCCESS);
	assert_int_equal(record[1], 0);
	b->mem[SRC + 3 + 99] = 0;
	assert_int_equal(run(), DSA_COMP_SUCCESS);
	assert_int_equal(record[1], 1);
	assert_int_equal(get32(record + 4), 99);
}

/* ---- delta records ---- */

#define DELTA 0x10000u

static void make_delta(uint32_t max)
{
	make(DSA_OPCODE_CR_DELTA, iova_of(SRC), iova_of(DST), 0x4000);
	put64(d + 40, iova_of(DELTA));
	put32(d + 48, max);
}

static void delta_record_goes_and_comes(void **state)
{
	fill_random(SRC, 0x4000);
	memcpy(b->mem + DST, b->mem + SRC, 0x4000);
	make_delta(1000);
	assert_int_equal(run(), DSA_COMP_SUCCESS);
	assert_int_equal(record[1], 0);
	assert_int_equal(get32(record + 16), 0);
	b->mem[DST + 17] ^= 0xff;
	b->mem[DST + 0x3fff] ^= 0xff;
	assert_int_equal(run(), DSA_COMP_SUCCESS);
	assert_int_equal(record[1], 1);
	assert_int_equal(get32(record + 16), 20);
	assert_int_equal(get16(b->mem + DELTA), 2);
	assert_memory_equal(b->mem + DELTA + 2, b->mem + DST + 16, 8);
	assert_int_equal(get16(b->mem + DELTA + 10), 0x7ff);
	/* Applied to the first, it makes the second. */
	make(DSA_OPCODE_AP_DELTA, iova_of(DELTA), iova_of(SRC), 0x4000);
	put32(d + 40, 20);
	assert_int_equal(run(), DSA_COMP_SUCCESS);
	assert_memory_equal(b->mem + SRC, b->mem + DST, 0x4000);
}

static void delta_record_overflows(void **state)
{
	fill_random(SRC, 0x4000);
	fill_random(DST, 0x4000);
	make_delta(80);
	assert_int_equal(run(), DSA_COMP_SUCCESS);
	assert_int_equal(record[1], 2);
	assert_int_equal(get32(record + 4), 64);
	assert_int_equal(get32(record + 16), 80);
	assert_int_equal(b->mem[DELTA + 80], 0);
	put32(d + 4, get32(d + 4) | IDXD_OP_FLAG_CR);
	d[56] = 3;
	assert_int_equal(run(), DSA_COMP_SUCCESS_PRED);
	d[56] = 4;
	assert_int_equal(run(), DSA_COMP_SUCCESS);
}

/* ---- checksums ---- */

static void reference_has_the_known_check_values(void **state)
{
	assert_int_equal(ref_crc16(0, digits, 9), 0xd0db);
	bench_put(b, SRC, digits, 9);
	make(DSA_OPCODE_CRCGEN, iova_of(SRC), 0, 9);
	assert_int_equal(run(), DSA_COMP_SUCCESS);
	assert_int_equal(get32(record + 16), 0xe3069283);
	assert_int_equal(get32(record + 20), 0);
}

static void crc_goes_on_from_a_seed(void **state)
{
	uint32_t whole, part;

	fill_random(SRC, 5000);
	make(DSA_OPCODE_CRCGEN, iova_of(SRC), 0, 5000);
	run();
	whole = get32(record + 16);
	make(DSA_OPCODE_CRCGEN, iova_of(SRC), 0, 1234);
	run();
	part = get32(record + 16);
	make(DSA_OPCODE_CRCGEN, iova_of(SRC + 1234), 0, 5000 - 1234);
	put32(d + 40, part);
	run();
	assert_int_equal(get32(record + 16), whole);
	/* The same seed, out of memory. */
	put32(d + 40, 0);
	put32(b->mem + DST, part);
	put64(d + 48, iova_of(DST));
	put32(d + 4, get32(d + 4) | DSA_FLAG_CRC_SEED_ADDR);
	assert_int_equal(run(), DSA_COMP_SUCCESS);
	assert_int_equal(get32(record + 16), whole);
}

static void copy_crc_does_both(void **state)
{
	bench_put(b, SRC, digits, 9);
	make(DSA_OPCODE_COPY_CRC, iova_of(SRC), iova_of(DST), 9);
	assert_int_equal(run(), DSA_COMP_SUCCESS);
	assert_int_equal(get32(record + 16), 0xe3069283);
	assert_memory_equal(b->mem + DST, digits, 9);
}

/* ---- integrity fields ---- */

static void make_dif(uint8_t op, uint32_t from, uint32_t to, uint32_t size)
{
	make(op, iova_of(from), iova_of(to), size);
	if (op == DSA_OPCODE_DIF_INS || op == DSA_DIX_GEN) {
		put32(d + 56, 0xabba0001);
		put16(d + 62, 0xface);
		return;
	}
	if (op == DSA_OPCODE_DIF_CHECK)
		put64(d + 24, 0);
	put32(d + 48, 0xabba0001);
	put16(d + 54, 0xface);
}

static void dif_is_inserted_checked_and_stripped(void **state)
{
	static const uint8_t tags[6] = {0xfa, 0xce, 0xab, 0xba, 0x00, 0x02};
	uint16_t guard;

	fill_random(SRC, 3 * 512);
	make_dif(DSA_OPCODE_DIF_INS, SRC, DST, 3 * 512);
	assert_int_equal(run(), DSA_COMP_SUCCESS);
	for (unsigned i = 0; i < 3; i++)
		assert_memory_equal(b->mem + SRC + i * 512, b->mem + DST + i * 520, 512);
	guard = ref_crc16(0, b->mem + SRC + 512, 512);
	assert_int_equal(b->mem[DST + 520 + 512], guard >> 8);
	assert_int_equal(b->mem[DST + 520 + 513], guard & 0xff);
	assert_memory_equal(b->mem + DST + 520 + 514, tags, 6);
	assert_int_equal(get32(record + 24), 0xabba0004);
	make_dif(DSA_OPCODE_DIF_CHECK, DST, 0, 3 * 520);
	assert_int_equal(run(), DSA_COMP_SUCCESS);
	make_dif(DSA_OPCODE_DIF_STRP, DST, DELTA, 3 * 520);
	assert_int_equal(run(), DSA_COMP_SUCCESS);
	assert_memory_equal(b->mem + SRC, b->mem + DELTA, 3 * 512);
}

static void dif_tells_what_is_wrong(void **state)
{
	fill_random(SRC, 3 * 512);
	make_dif(DSA_OPCODE_DIF_INS, SRC, DST, 3 * 512);
	run();
	make_dif(DSA_OPCODE_DIF_CHECK, DST, 0, 3 * 520);
	for (unsigned i = 0; i < 8; i++) {
		uint8_t *p = b->mem + DST + 520 + 512 + i;

		*p ^= 0x10;
		assert_int_equal(run(), DSA_COMP_DIF_ERR);
		assert_int_equal(record[1], i < 2   ? DSA_DIF_BAD_GUARD
					    : i < 4 ? DSA_DIF_BAD_APP
						    : DSA_DIF_BAD_REF);
		assert_int_equal(get32(record + 4), 520);
		assert_int_equal(get32(record + 16), 0xabba0002);
		*p ^= 0x10;
	}
	b->mem[DST + 2 * 520] ^= 1;
	assert_int_equal(run(), DSA_COMP_DIF_ERR);
	assert_int_equal(record[1], DSA_DIF_BAD_GUARD);
	assert_int_equal(get32(record + 4), 2 * 520);
}

static void dif_is_updated(void **state)
{
	fill_random(SRC, 2 * 512);
	make_dif(DSA_OPCODE_DIF_INS, SRC, DST, 2 * 512);
	run();
	make_dif(DSA_OPCODE_DIF_UPDT, DST, DELTA, 2 * 520);
	put32(d + 56, 5);
	put16(d + 62, 6);
	assert_int_equal(run(), DSA_COMP_SUCCESS);
	assert_int_equal(b->mem[DELTA + 519], 5);
	assert_int_equal(b->mem[DELTA + 515], 6);
	assert_int_equal(b->mem[DELTA + 520 + 519], 6);
	assert_memory_equal(b->mem + DELTA, b->mem + DST, 514);
}

static void dix_is_the_fields_alone(void **state)
{
	static uint8_t fields[3 * 8];

	fill_random(SRC, 3 * 512);
	make_dif(DSA_OPCODE_DIF_INS, SRC, DST, 3 * 512);
	run();
	for (unsigned i = 0; i < 3; i++)
		bench_get(b, DST + i * 520 + 512, fields + 8 * i, 8);
	make_dif(DSA_DIX_GEN, SRC, DELTA, 3 * 512);
	assert_int_equal(run(), DSA_COMP_SUCCESS);
	assert_memory_equal(b->mem + DELTA, fields, sizeof(fields));
}

/* ---- batches ---- */

#define LIST 0x18000u

static void put_child(unsigned i, const struct desc *desc)
{
	uint8_t raw[DSA_DESC_BYTES];

	desc_make(raw, desc);
	bench_put(b, LIST + i * DSA_DESC_BYTES, raw, DSA_DESC_BYTES);
}

static void make_batch(unsigned n)
{
	make(DSA_OPCODE_BATCH, iova_of(LIST), 0, n);
}

static void batch_runs_all_of_it(void **state)
{
	fill_random(SRC, PAGE);
	for (unsigned i = 0; i < 8; i++)
		put_child(i, &(struct desc){DSA_OPCODE_MEMMOVE, CRAV_RCR, iova_of(DELTA + 32 * i),
					    iova_of(SRC + 64 * i), iova_of(DST + 64 * i), 64, 0});
	make_batch(8);
	assert_int_equal(run(), DSA_COMP_SUCCESS);
	assert_int_equal(get32(record + 4), 8);
	assert_memory_equal(b->mem + SRC, b->mem + DST, 8 * 64);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(b->mem[DELTA + 32 * i], DSA_COMP_SUCCESS);
}

/* A comparison that fails, a copy that does not mind, a copy that does. */
static void fence_stops_after_a_failure(void **state)
{
	b->mem[SRC] = 1;
	put_child(0, &(struct desc){DSA_OPCODE_COMPVAL, CRAV_RCR | IDXD_OP_FLAG_CR, iova_of(DELTA),
				    iova_of(SRC), 0, 8, 0});
	put_child(1, &(struct desc){DSA_OPCODE_MEMMOVE, 0, 0, iova_of(SRC), iova_of(DST), 8, 0});
	put_child(2, &(struct desc){DSA_OPCODE_MEMMOVE, IDXD_OP_FLAG_FENCE, 0, iova_of(SRC),
				    iova_of(DST + 8), 8, 0});
	make_batch(3);
	assert_int_equal(run(), DSA_COMP_BATCH_FAIL);
	assert_int_equal(get32(record + 4), 2);
	assert_int_equal(b->mem[DELTA], DSA_COMP_SUCCESS_PRED);
	assert_int_equal(b->mem[DST], 1);
	assert_int_equal(b->mem[DST + 8], 0);
	/* It is as expected now: all of it. */
	b->mem[SRC] = 0;
	b->mem[DST] = b->mem[DST + 8] = 9;
	assert_int_equal(run(), DSA_COMP_SUCCESS);
	assert_int_equal(b->mem[DST + 8], 0);
}

/* The first writes the second. */
static void batch_reads_a_descriptor_when_its_turn_comes(void **state)
{
	uint8_t raw[DSA_DESC_BYTES];

	desc_make(raw, &(struct desc){DSA_OPCODE_MEMFILL, 0, 0, 0x4141414141414141ull, iova_of(DST),
				      8, 0});
	bench_put(b, SRC, raw, DSA_DESC_BYTES);
	put_child(0, &(struct desc){DSA_OPCODE_MEMMOVE, 0, 0, iova_of(SRC),
				    iova_of(LIST + DSA_DESC_BYTES), DSA_DESC_BYTES, 0});
	put_child(1, &(struct desc){DSA_OPCODE_NOOP, 0, 0, 0, 0, 0, 0});
	make_batch(2);
	assert_int_equal(run(), DSA_COMP_SUCCESS);
	assert_int_equal(b->mem[DST + 7], 0x41);
}

/* ---- and backwards ---- */

static void put_copy(unsigned i, uint32_t flags, uint64_t from, uint64_t to)
{
	put_child(i,
		  &(struct desc){DSA_OPCODE_MEMMOVE, flags, 0, iova_of(from), iova_of(to), 8, 0});
}

/* The second copies what the first one has not written yet; the third has a fence. */
static void reversed_batch_shows_where_a_fence_is_missing(void **state)
{
	b->mem[SRC] = 1;
	put_copy(0, 0, SRC, DST);
	put_copy(1, 0, DST, DST + 8);
	put_copy(2, IDXD_OP_FLAG_FENCE, DST, DST + 16);
	make_batch(3);
	assert_int_equal(run(), DSA_COMP_SUCCESS);
	assert_int_equal(get32(record + 4), 3);
	assert_int_equal(b->mem[DST], 1);
	assert_int_equal(b->mem[DST + 8], 0);
	assert_int_equal(b->mem[DST + 16], 1);
	/* With its fence all is well. */
	put_copy(1, IDXD_OP_FLAG_FENCE, DST, DST + 8);
	assert_int_equal(run(), DSA_COMP_SUCCESS);
	assert_int_equal(b->mem[DST + 8], 1);
}

/* Who is last to write the same place? A window of 32 at a time. */
static void reversed_batch_is_long(void **state)
{
	for (unsigned i = 0; i < 100; i++)
		put_child(i, &(struct desc){DSA_OPCODE_MEMFILL, i == 40 ? IDXD_OP_FLAG_FENCE : 0, 0,
					    i, iova_of(DST), 8, 0});
	for (unsigned n = 2; n <= 100; n++) {
		unsigned last = n <= 32 ? 0 : n <= 40 ? 32 : n <= 72 ? 40 : 72;

		make_batch(n);
		assert_int_equal(run(), DSA_COMP_SUCCESS);
		assert_int_equal(get32(record + 4), n);
		assert_int_equal(b->mem[DST], last);
	}
}

/* One that fails, its place; a fence behind it; a hole in the list. */
static void reversed_batch_fails(void **state)
{
	for (unsigned i = 0; i < 4; i++)
		put_child(i, &(struct desc){i == 1 ? 0x33 : DSA_OPCODE_NOOP,
					    i == 3 ? IDXD_OP_FLAG_FENCE : 0, 0, 0, 0, 0, 0});
	make_batch(4);
	assert_int_equal(run(), DSA_COMP_BATCH_FAIL);
	assert_int_equal(get32(record + 4), 3);
	assert_int_equal(bench_told(b).errors, 1);
	assert_int_equal(bench_told(b).error.batch_index, 1);

	for (unsigned i = 0; i < 5; i++)
		put_child(PAGE / 64 - 5 + i,
			  &(struct desc){DSA_OPCODE_MEMFILL, 0, 0, i + 1, iova_of(DST), 8, 0});
	b->pages[(LIST + PAGE) / PAGE].perm = 0;
	bench_map(b);
	make(DSA_OPCODE_BATCH, iova_of(LIST + PAGE - 5 * 64), 0, 8);
	assert_int_equal(run(), DSA_COMP_BATCH_PAGE_FAULT);
	assert_int_equal(get32(record + 4), 5);
	assert_int_equal(get64(record + 8), iova_of(LIST + PAGE));
	assert_int_equal(b->mem[DST], 1);
}

/* ---- who is interrupted, and who waits ---- */

/* Whatever is wrong with it besides: a handle that is not the submitter's reaches nobody. */
static void interrupt_needs_a_valid_handle(void **state)
{
	struct desc bad = {0x3f, CRAV_RCR | IDXD_OP_FLAG_RCI, iova_of(RECORD), 0, 0, 0, 0xffff};

	desc_make(d, &bad);
	assert_int_equal(run(), DSA_COMP_BAD_OPCODE);
	assert_int_equal(bench_told(b).interrupts, 0);
	put16(d + 36, 3);
	assert_int_equal(run(), DSA_COMP_BAD_OPCODE);
	assert_int_equal(bench_told(b).interrupts, 1);
	assert_int_equal(bench_told(b).handle, 3);
}

static void open_with_misses(bool block_on_fault)
{
	struct bench_config config = {
		.workers = 1, .queue.block_on_fault = block_on_fault, .misses = true};

	bench_open(b, &config);
	b->pages[RECORD / PAGE].perm = 0;
	bench_map(b);
}

/* A queue that does not block does not, also when the flag is what is wrong. */
static void record_does_not_block_a_queue_that_may_not(void **state)
{
	open_with_misses(false);
	make(DSA_OPCODE_MEMMOVE, iova_of(SRC), iova_of(DST), 8);
	put32(d + 4, get32(d + 4) | IDXD_OP_FLAG_BOF);
	bench_submit(b, d);
	desc_make(d, &(struct desc){.op = DSA_OPCODE_NOOP});
	bench_submit(b, d);
	bench_wait(b, 1);
	assert_int_equal(bench_told(b).errors, 1);
	assert_int_equal(bench_told(b).error.status, DSA_COMP_CRA_XLAT | DSA_COMP_STATUS_WRITE);
	bench_close(b);
}

static struct flag aborted = FLAG;
static struct dsa_wait abort_wait = {.done = {flag_set, &aborted}};

static void abort_it(struct bench *bench_)
{
	bench_->on_read = NULL;
	dsa_abort(bench_->engine, &everything, &abort_wait);
}

/* While its last bytes are copied; then its record waits for a page. */
static void abort_ends_what_blocks_after_it(void **state)
{
	open_with_misses(true);
	b->pages[SRC / PAGE].remote = true;
	bench_map(b);
	b->on_read = abort_it;
	make(DSA_OPCODE_MEMMOVE, iova_of(SRC), iova_of(DST), 8);
	put32(d + 4, get32(d + 4) | IDXD_OP_FLAG_BOF);
	bench_submit(b, d);
	flag_wait(&aborted);
	assert_int_equal(bench_told(b).status, DSA_COMP_NONE);
	assert_int_equal(bench_told(b).completed, 1);
	bench_close(b);
}

struct submission {
	struct dsa_queue *queue;
	struct flag ended;
};

static void submission_ended(void *arg, void *cookie, uint8_t status)
{
	struct submission *s = arg;

	flag_set(&s->ended, 0);
}

static void *submit_noop(void *arg)
{
	struct submission *s = arg;

	assert_int_equal(dsa_submit(s->queue, b->space, d, NULL), 0);
	return NULL;
}

/* What was submitted has ended, so the queue may go; its submitter is still on the way back. */
static void queue_goes_before_its_submitter(void **state)
{
	static const struct dsa_queue_ops ops = {.completed = submission_ended};

	desc_make(d, &(struct desc){.op = DSA_OPCODE_NOOP});
	for (unsigned i = 0; i < 300; i++) {
		struct submission s = {.ended = FLAG};
		struct dsa_queue_config config = {.size = 4, .ops = &ops, .arg = &s};
		pthread_t thread;

		assert_int_equal(dsa_queue_new(b->engine, &config, &s.queue), 0);
		assert_int_equal(pthread_create(&thread, NULL, submit_noop, &s), 0);
		flag_wait(&s.ended);
		bench_drain(b);
		dsa_queue_free(s.queue);
		pthread_join(thread, NULL);
	}
}

#define EACH 10

struct turns {
	struct flag entered, go;
	unsigned n;
	char order[2 * EACH + 2];
};

/* The first one keeps the engine until all others are submitted. */
static void turn_ended(void *arg, void *cookie, uint8_t status)
{
	struct turns *t = arg;

	t->order[t->n++] = *(const char *)cookie;
	if (t->n > 1)
		return;
	flag_set(&t->entered, 0);
	flag_wait(&t->go);
}

/* Who fills a queue does not keep another one's descriptors waiting until it is empty. */
static void queues_take_turns(void **state)
{
	static const struct dsa_queue_ops ops = {.completed = turn_ended};
	static char names[] = "ab";
	struct turns t = {.entered = FLAG, .go = FLAG};
	struct dsa_queue_config config = {.size = EACH, .ops = &ops, .arg = &t};
	struct dsa_queue *queues[2];

	desc_make(d, &(struct desc){.op = DSA_OPCODE_NOOP});
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(dsa_queue_new(b->engine, &config, &queues[i]), 0);
	assert_int_equal(dsa_submit(queues[0], b->space, d, &names[0]), 0);
	flag_wait(&t.entered);
	for (unsigned i = 0; i < 2 * EACH; i++)
		assert_int_equal(dsa_submit(queues[i / EACH], b->space, d, &names[i / EACH]), 0);
	flag_set(&t.go, 0);
	bench_drain(b);
	for (unsigned i = 0; i < 2; i++)
		dsa_queue_free(queues[i]);
	assert_string_equal(t.order, "aabababababababababab");
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define R(name) cmocka_unit_test_setup_teardown(name, setup_reversed, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(noop),
		T(no_record_is_written_that_nobody_asked_for),
		T(memmove_copies),
		T(memmove_overlaps),
		T(memmove_stops_at_the_beginning),
		T(fill_repeats_its_pattern),
		T(dualcast_copies_twice),
		T(cflush_wants_memory),
		T(compare_finds_the_first_difference),
		T(compval_compares_with_a_pattern),
		T(delta_record_goes_and_comes),
		T(delta_record_overflows),
		T(reference_has_the_known_check_values),
		T(crc_goes_on_from_a_seed),
		T(copy_crc_does_both),
		T(dif_is_inserted_checked_and_stripped),
		T(dif_tells_what_is_wrong),
		T(dif_is_updated),
		T(dix_is_the_fields_alone),
		T(batch_runs_all_of_it),
		T(fence_stops_after_a_failure),
		T(batch_reads_a_descriptor_when_its_turn_comes),
		R(reversed_batch_shows_where_a_fence_is_missing),
		R(reversed_batch_is_long),
		R(reversed_batch_fails),
		T(interrupt_needs_a_valid_handle),
		T(queue_goes_before_its_submitter),
		T(queues_take_turns),
		cmocka_unit_test(record_does_not_block_a_queue_that_may_not),
		cmocka_unit_test(abort_ends_what_blocks_after_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
