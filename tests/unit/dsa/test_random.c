// SPDX-License-Identifier: BSD-3-Clause
/*
 * Random descriptors and batches, on pages that are anywhere, read-only, reached by messages or
 * missing: the engine against the naive reference, byte for byte, with records, interrupts and
 * errors.
 *
 *	UVDPA_TEST_SEED=N test-dsa-random: that round again
 *	UVDPA_TEST_ROUNDS=200: 10 million descriptors
 */
#include "ref.h"

#include <stdio.h>
#include <stdlib.h>

#define ROUNDS 50
#define PER_ROUND 1000
#define MAX_LIST 8

static const uint8_t opcodes[] = {0x00, 0x02, 0x03, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x10,
				  0x11, 0x12, 0x13, 0x14, 0x15, 0x17, 0x20, 0x01, 0x01, 0x01};
static const uint32_t blocks[4] = {512, 520, 4096, 4104};

struct world {
	uint64_t rng, seed;
	struct bench b;
	struct ref ref;
	unsigned descriptors, batches;
};

static uint32_t below(struct world *w, uint32_t n)
{
	return n ? rng(&w->rng) % n : 0;
}

static bool once_in(struct world *w, uint32_t n)
{
	return !below(w, n);
}

/* ---- layouts ---- */

static void shuffle_pages(struct world *w)
{
	struct bench *b = &w->b;

	for (unsigned i = 0; i < ARENA_PAGES; i++) {
		struct page *p = &b->pages[i];
		uint32_t kind = below(w, 16);

		*p = (struct page){.perm = VHOST_MAP_RW, .at = i};
		p->remote = kind < 3;
		if (kind == 3)
			p->perm = VHOST_MAP_RO;
		if (kind == 4)
			p->perm = 0;
	}
	/* Half of the time scattered, else long pieces. */
	for (unsigned i = 0; i < ARENA_PAGES && w->seed & 1; i++) {
		unsigned j = below(w, ARENA_PAGES), at = b->pages[i].at;

		b->pages[i].at = b->pages[j].at;
		b->pages[j].at = at;
	}
	for (unsigned i = 0; i < ARENA_PAGES; i++)
		w->ref.perm[i] = b->pages[i].perm;
	bench_map(b);
}

static void load_memory(struct world *w)
{
	for (unsigned i = 0; i < ARENA_BYTES; i += 4)
		put32(w->ref.mem + i, below(w, 4) ? 0 : rng(&w->rng));
	bench_put(&w->b, 0, w->ref.mem, ARENA_BYTES);
}

/* ---- descriptors ---- */

static uint64_t address(struct world *w)
{
	uint64_t off = below(w, ARENA_BYTES);

	switch (below(w, 40)) {
	case 0:
		return ((uint64_t)rng(&w->rng) << 32) | rng(&w->rng);
	case 1:
		return UINT64_MAX - below(w, 200);
	case 2:
	case 3:
		return ARENA_IOVA + off;
	case 4:
		/* About a page's end. */
		return ARENA_IOVA + (off & ~(PAGE - 1)) + PAGE - below(w, 80);
	default:
		return ARENA_IOVA + (off & ~63u);
	}
}

static uint32_t length(struct world *w)
{
	switch (below(w, 12)) {
	case 0:
		return 0;
	case 1:
		return below(w, 40000);
	case 2:
		return rng(&w->rng);
	case 3:
	case 4:
	case 5:
		return below(w, 6000) & ~7u;
	default:
		return below(w, 600);
	}
}

/* What the reference's memory has becomes what is asked for: so that checks pass, and deltas apply.
 */
static void plant(struct world *w, uint64_t addr, const void *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		uint64_t off = addr - ARENA_IOVA + i;

		if (addr < ARENA_IOVA || off >= ARENA_BYTES)
			continue;
		w->ref.mem[off] = ((const uint8_t *)bytes)[i];
		*bench_at(&w->b, off) = ((const uint8_t *)bytes)[i];
	}
}

static void plant_delta(struct world *w, const uint8_t *d)
{
	uint32_t entries = get32(d + 40) / 10, words = get32(d + 32) / 8, offset = 0;
	uint8_t entry[10];

	for (uint32_t i = 0; i < entries && i < 200; i++) {
		offset += once_in(w, 40) ? 0 : 1 + below(w, 1 + words / (entries + 1));
		put16(entry, (uint16_t)offset);
		put64(entry + 2, (uint64_t)rng(&w->rng) << 32 | i);
		plant(w, get64(d + 16) + 10ull * i, entry, 10);
	}
}

static void plant_dif(struct world *w, const uint8_t *d)
{
	uint32_t len = blocks[d[42] & 3], n = get32(d + 32) / (len + 8);
	uint32_t ref = get32(d + 48);
	uint16_t app = get16(d + 54);
	uint64_t src = get64(d + 16);

	for (uint32_t i = 0; i < n && i < 16; i++, src += len + 8) {
		uint64_t off = src - ARENA_IOVA;
		uint8_t dif[8];
		uint16_t crc;

		if (src < ARENA_IOVA || off + len + 8 > ARENA_BYTES)
			return;
		crc = ref_crc16(d[42] & 4 ? 0xffff : 0, w->ref.mem + off, len);
		crc = d[42] & 8 ? (uint16_t)~crc : crc;
		for (unsigned k = 0; k < 2; k++) {
			dif[k] = (uint8_t)(crc >> (8 - 8 * k));
			dif[2 + k] = (uint8_t)(app >> (8 - 8 * k));
		}
		for (unsigned k = 0; k < 4; k++)
			dif[4 + k] = (uint8_t)(ref >> (24 - 8 * k));
		if (once_in(w, 12))
			dif[below(w, 8)] ^= (uint8_t)(1 + below(w, 255));
		if (once_in(w, 12))
			memset(dif + 2 * below(w, 2), 0xff, 6);
		if (once_in(w, 20))
			memset(dif, 0xff, 8);
		plant(w, src + len, dif, 8);
		ref += !(d[40] & 0x80);
		app = (uint16_t)(app + !!(d[40] & 0x10));
	}
}

static void random_crc(struct world *w, uint8_t *d, uint32_t *flags)
{
	put32(d + 40, rng(&w->rng));
	*flags |= below(w, 4) << 17;
	if (once_in(w, 3)) {
		*flags |= DSA_FLAG_CRC_SEED_ADDR;
		put64(d + 48, address(w) & ~(uint64_t)(once_in(w, 10) ? 0 : 3));
	}
	if (d[7] == 0x10)
		put64(d + 24, 0);
}

static void random_dif(struct world *w, uint8_t *d)
{
	uint8_t op = d[7];
	bool in = op == 0x12 || op == 0x14 || op == 0x15;
	uint32_t unit;

	d[42] = (uint8_t)(below(w, 4) | (once_in(w, 3) ? below(w, 4) << 2 : 0));
	unit = blocks[d[42] & 3] + (in ? 8 : 0);
	if (!once_in(w, 20))
		put32(d + 32, unit * (1 + below(w, unit > 1000 ? 2 : 6)));
	if (in) {
		d[40] = once_in(w, 2) ? (uint8_t)rng(&w->rng) : 0;
		put32(d + 48, rng(&w->rng));
		put16(d + 52, once_in(w, 3) ? (uint16_t)rng(&w->rng) : 0);
		put16(d + 54, (uint16_t)rng(&w->rng));
	}
	if (op == 0x13 || op == 0x15 || op == 0x17) {
		d[41] = (uint8_t)(rng(&w->rng) & (op == 0x15 ? 0xf8 : 0x90));
		put32(d + 56, rng(&w->rng));
		put16(d + 60, once_in(w, 3) ? (uint16_t)rng(&w->rng) : 0);
		put16(d + 62, (uint16_t)rng(&w->rng));
	}
	if (op == 0x12)
		put64(d + 24, 0);
	if (in && !once_in(w, 4))
		plant_dif(w, d);
}

static void random_delta(struct world *w, uint8_t *d)
{
	put32(d + 32, (get32(d + 32) % 4096) & ~7u);
	put64(d + 16, get64(d + 16) & ~7ull);
	put64(d + 24, get64(d + 24) & ~7ull);
	if (d[7] == 0x07) {
		put64(d + 40, address(w) & ~7ull);
		put32(d + 48, 80 + 10 * below(w, 200));
		d[56] = (uint8_t)below(w, 8);
		return;
	}
	put32(d + 40, 10 * (1 + below(w, 60)));
	if (!once_in(w, 4))
		plant_delta(w, d);
}

/* What belongs to single operations. */
static void random_own(struct world *w, uint8_t *d, uint32_t *flags)
{
	uint8_t op = d[7];

	if (op == 0x05 || op == 0x06)
		d[40] = (uint8_t)below(w, 2);
	if (op == 0x06 && once_in(w, 2))
		put64(d + 24, 0);
	if (op >= 0x05 && op <= 0x07 && once_in(w, 2))
		*flags |= IDXD_OP_FLAG_CR;
	/* Equal for a while. */
	if ((op == 0x05 || op == 0x07) && once_in(w, 2))
		put64(d + 24, get64(d + 16));
	if (op == 0x03 && once_in(w, 3))
		put64(d + 24, get64(d + 16) + below(w, 3000) - 1500);
	if (op == 0x09)
		put64(d + 40, address(w));
	if (op == 0x09 && !once_in(w, 8))
		put64(d + 40, (get64(d + 40) & ~4095ull) | (get64(d + 24) & 4095));
	if (op == 0x07 || op == 0x08)
		random_delta(w, d);
	if (op == 0x10 || op == 0x11)
		random_crc(w, d, flags);
	if (op >= 0x12 && op <= 0x17)
		random_dif(w, d);
	if (op == 0x20)
		put64(d + 16, 0);
	if (op == 0x00 || op == 0x02)
		memset(d + 16, 0, 20);
}

static void random_desc(struct world *w, uint8_t *d, bool in_batch);

static void random_list(struct world *w, uint8_t *d)
{
	uint64_t list = ARENA_IOVA + (below(w, ARENA_BYTES) & ~63u);
	uint32_t n = 2 + below(w, MAX_LIST - 1);
	uint8_t child[64];

	put64(d + 16, once_in(w, 40) ? address(w) : list);
	put64(d + 24, 0);
	put32(d + 32, once_in(w, 40) ? length(w) : n);
	for (uint32_t i = 0; i < n; i++) {
		random_desc(w, child, true);
		plant(w, list + 64ull * i, child, 64);
	}
}

static void random_desc(struct world *w, uint8_t *d, bool in_batch)
{
	uint32_t flags = once_in(w, 12) ? 0 : CRAV_RCR;
	uint8_t op = opcodes[below(w, sizeof(opcodes))];

	if (in_batch && op <= 2 && !once_in(w, 30))
		op = 3;
	if (once_in(w, 60))
		op = (uint8_t)rng(&w->rng);
	memset(d, 0, 64);
	d[7] = op;
	put64(d + 8, address(w) & ~(uint64_t)(once_in(w, 60) ? 0 : 31));
	put64(d + 16, address(w));
	put64(d + 24, address(w));
	put32(d + 32, length(w));
	put16(d + 36, (uint16_t)rng(&w->rng));
	if (op == 0x01)
		random_list(w, d);
	else
		random_own(w, d, &flags);
	if (once_in(w, 4))
		flags |= IDXD_OP_FLAG_RCI;
	if (once_in(w, 6) && op > 2)
		flags |= IDXD_OP_FLAG_BOF;
	if (in_batch && once_in(w, 4))
		flags |= IDXD_OP_FLAG_FENCE;
	if (once_in(w, 8))
		flags |= IDXD_OP_FLAG_CR_TCS | IDXD_OP_FLAG_CRSTS;
	if (once_in(w, 50))
		flags ^= 1u << below(w, 24);
	if (once_in(w, 60))
		d[below(w, 64)] ^= (uint8_t)(1u << below(w, 8));
	if (once_in(w, 60))
		d[3] |= 0x80;
	if (once_in(w, 60))
		put16(d + 36, 0xffff);
	put32(d + 4, flags | (uint32_t)d[7] << 24);
}

/* ---- both sides ---- */

static void show(const char *what, const uint8_t *p, size_t n)
{
	fprintf(stderr, "%s:", what);
	for (size_t i = 0; i < n; i++)
		fprintf(stderr, " %02x", p[i]);
	fprintf(stderr, "\n");
}

static void fail_desc(struct world *w, const uint8_t *d, const char *what)
{
	show("descriptor", d, 64);
	fprintf(stderr, "status %#x, reference %#x\n", bench_told(&w->b).status, w->ref.status);
	fail_msg("seed %llu: %s", (unsigned long long)w->seed, what);
}

static void compare_page(struct world *w, const uint8_t *d, unsigned page)
{
	const uint8_t *is = bench_at(&w->b, (uint64_t)page * PAGE),
		      *should = w->ref.mem + page * PAGE;

	if (!memcmp(is, should, PAGE))
		return;
	for (unsigned k = 0; k < PAGE; k += 32) {
		if (!memcmp(is + k, should + k, 32))
			continue;
		fprintf(stderr, "at %#x\n", page * PAGE + k);
		show("is", is + k, 32);
		show("should", should + k, 32);
		fail_desc(w, d, "memory");
	}
}

static void compare_error(struct world *w, const uint8_t *d)
{
	struct dsa_error is = bench_told(&w->b).error, should = w->ref.error;

	if (is.status != should.status || is.op != should.op || is.pasid != should.pasid ||
	    is.batch != should.batch || is.batch_index != should.batch_index ||
	    is.fault_addr != should.fault_addr || is.invalid_flags != should.invalid_flags) {
		fprintf(stderr,
			"error %#x op %#x batch %u/%u fault %#llx flags %#x, not %#x %#x %u/%u "
			"%#llx %#x\n",
			is.status, is.op, is.batch, is.batch_index,
			(unsigned long long)is.fault_addr, is.invalid_flags, should.status,
			should.op, should.batch, should.batch_index,
			(unsigned long long)should.fault_addr, should.invalid_flags);
		fail_desc(w, d, "error");
	}
}

static void both(struct world *w)
{
	struct told before, after;
	uint8_t d[64];

	random_desc(w, d, false);
	w->descriptors++;
	w->batches += d[7] == 1;
	before = bench_told(&w->b);
	ref_run(&w->ref, d);
	if (bench_run(&w->b, d) != w->ref.status)
		fail_desc(w, d, "status");
	after = bench_told(&w->b);
	if (after.interrupts - before.interrupts != w->ref.interrupts)
		fail_desc(w, d, "interrupts");
	if (after.errors - before.errors != w->ref.errors)
		fail_desc(w, d, "errors");
	if (w->ref.errors)
		compare_error(w, d);
	for (unsigned i = 0; i < ARENA_PAGES; i++)
		compare_page(w, d, i);
}

static void one_round(struct world *w)
{
	struct bench_config config = {.workers = 1};

	config.queue.block_on_fault = w->ref.bof = w->seed & 2;
	config.queue.priv = w->ref.priv = w->seed & 4;
	config.queue.max_xfer_shift = 16;
	config.queue.max_batch_shift = 3;
	w->ref.max_xfer = 1u << 16;
	w->ref.max_batch = 8;
	bench_open(&w->b, &config);
	for (unsigned i = 0; i < PER_ROUND; i++) {
		if (i % 100 == 0)
			shuffle_pages(w);
		if (i % 100 == 0)
			load_memory(w);
		both(w);
	}
	bench_close(&w->b);
}

/* That it was a test of everything: each status and operation, often enough. */
static void all_were_met(const struct world *w)
{
	static const uint8_t expected[] = {0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09,
					   0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18,
					   0x19, 0x1b, 0x1c, 0x1d, 0x83, 0x84, 0x9a};

	for (unsigned i = 0; i < sizeof(expected); i++) {
		if (w->ref.seen[expected[i]] < 2)
			fail_msg("status %#x was met less than twice", expected[i]);
	}
	for (unsigned op = 0; op < 64; op++) {
		if (!(DSA_OPCAP >> op & 1))
			continue;
		assert_true(w->ref.succeeded[op] > 100);
		assert_true(op == 0 || op == 2 || w->ref.faulted[op] > 100);
	}
}

static void engine_is_the_reference(void **state)
{
	const char *seed = getenv("UVDPA_TEST_SEED"), *times = getenv("UVDPA_TEST_ROUNDS");
	unsigned rounds = ROUNDS * (times ? (unsigned)atoi(times) : 1);
	static struct world w;

#ifdef __SANITIZE_THREAD__
	rounds = (rounds + 9) / 10;
#endif
	for (unsigned i = 0; i < rounds; i++) {
		w.seed = seed ? strtoull(seed, NULL, 0) : i + 1;
		w.rng = (w.seed + 1) * 0x9e3779b97f4a7c15ull;
		one_round(&w);
		if (seed)
			break;
	}
	printf("%u descriptors, %u batches\n", w.descriptors, w.batches);
	if (!seed && rounds == ROUNDS)
		all_were_met(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(engine_is_the_reference)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
