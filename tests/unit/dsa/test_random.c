// SPDX-License-Identifier: BSD-3-Clause
/*
 * Random descriptors and batches, on pages that are anywhere, read-only, reached by messages or
 * missing: the engine against the naive reference, byte for byte, with records, interrupts and
 * errors.
 *
 *	UVDPA_TEST_SEED=N test-dsa-random: that round again
 *	UVDPA_TEST_ROUNDS=200: 10 million descriptors
 */
#include "dsa_test.h"
#include "random_desc.h"

#include <stdio.h>
#include <stdlib.h>

#define ROUNDS 50
#define PER_ROUND 1000

struct world {
	uint64_t seed;
	struct source source;
	struct bench b;
	struct ref ref;
	unsigned descriptors, batches;
};

/* ---- layouts ---- */

static void shuffle_pages(struct world *w)
{
	struct bench *b = &w->b;

	for (unsigned i = 0; i < ARENA_PAGES; i++) {
		struct page *p = &b->pages[i];
		uint32_t kind = rng(&w->source.rng) % 16;

		*p = (struct page){.perm = VHOST_MAP_RW, .at = i};
		p->remote = kind < 3;
		if (kind == 3)
			p->perm = VHOST_MAP_RO;
		if (kind == 4)
			p->perm = 0;
	}
	/* Half of the time scattered, else long pieces. */
	for (unsigned i = 0; i < ARENA_PAGES && w->seed & 1; i++) {
		unsigned j = rng(&w->source.rng) % ARENA_PAGES, at = b->pages[i].at;

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
		put32(w->ref.mem + i, rng(&w->source.rng) % 4 ? 0 : rng(&w->source.rng));
	bench_put(&w->b, 0, w->ref.mem, ARENA_BYTES);
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

	random_desc(&w->source, d);
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

static void put(void *arg, uint64_t off, uint8_t value)
{
	struct world *w = arg;

	*bench_at(&w->b, off) = value;
}

static void one_round(struct world *w)
{
	struct bench_config config = {.workers = 1};

	w->source.ref = &w->ref;
	w->source.bytes = ARENA_BYTES;
	w->source.put = put;
	w->source.arg = w;
	w->ref.base = ARENA_IOVA;
	w->ref.pages = ARENA_PAGES;
	w->ref.handles = 0xfff0;
	w->ref.pasid = 7;
	config.queue.block_on_fault = w->ref.bof = w->seed & 2;
	config.queue.priv = w->ref.priv = w->seed & 4;
	config.queue.batch_reversed = w->ref.reversed = w->seed % 3 == 0;
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
		w.source.rng = (w.seed + 1) * 0x9e3779b97f4a7c15ull;
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
