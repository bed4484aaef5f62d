// SPDX-License-Identifier: BSD-3-Clause
/*
 * Random descriptors through the portal, against the naive reference: all of the memory, which has
 * the records, and SWERR, after each. A transfer begins in the middle, and cannot leave the pages
 * that are compared.
 */
#include "dsa_guest.h"
#include "random_desc.h"

#define PAGES 96u
#define BYTES (PAGES * REF_PAGE)

static struct ref ref;

static void put(void *arg, uint64_t off, uint8_t value)
{
	dsa.mem[off] = value;
}

static void load_memory(struct source *s)
{
	for (unsigned i = 0; i < BYTES; i += 4)
		put32(ref.mem + i, rng(&s->rng) % 4 ? 0 : rng(&s->rng));
	memcpy(dsa.mem, ref.mem, BYTES);
}

static void prepare(struct source *s)
{
	uint64_t gencap = reg(DSA_GENCAP) | (uint64_t)reg(DSA_GENCAP + 4) << 32;

	ref.base = dsa.phys;
	ref.pages = PAGES;
	for (unsigned i = 0; i < PAGES; i++)
		ref.perm[i] = VHOST_MAP_RW;
	ref.max_xfer = 1u << (gencap >> DSA_GENCAP_XFER_SHIFT & 0x1f);
	ref.max_batch = 1u << (gencap >> DSA_GENCAP_BATCH_SHIFT & 0xf);
	CHECK_EQ(ref.max_xfer, 65536);
	CHECK_EQ(gencap & DSA_GENCAP_BOF, 0);
	ref.handle = dsa.handle;
	ref.handles = 1;
	ref.priv = true;
	*s = (struct source){.rng = 0x9e3779b97f4a7c15ull,
			     .ref = &ref,
			     .at = BYTES / 3,
			     .bytes = BYTES / 3,
			     .tame = true,
			     .put = put};
}

static void fail(unsigned n, const uint8_t *desc, const char *what)
{
	fprintf(stderr, "%s: descriptor %u, status %#x: %s\n", dsa.dir, n, ref.status, what);
	for (unsigned i = 0; i < DESC_BYTES; i++)
		fprintf(stderr, "%02x%c", desc[i], i % 16 == 15 ? '\n' : ' ');
	exit(1);
}

static bool same_error(const struct dsa_error *a, const struct dsa_error *b)
{
	return a->status == b->status && a->op == b->op && a->pasid == b->pasid &&
	       a->priv == b->priv && a->batch == b->batch && a->batch_index == b->batch_index &&
	       a->invalid_flags == b->invalid_flags && a->fault_addr == b->fault_addr;
}

static void compare(unsigned n, const uint8_t *desc)
{
	for (unsigned i = 0; i < BYTES; i += 32) {
		if (memcmp(dsa.mem + i, ref.mem + i, 32)) {
			fprintf(stderr, "at %#x\n", i);
			fail(n, desc, "memory");
		}
	}
	if (take_error() != !!ref.errors)
		fail(n, desc, ref.errors ? "no error in SWERR" : "an error in SWERR");
	if (ref.errors && (!same_error(&dsa.error, &ref.first) || !dsa.has_desc))
		fail(n, desc, "another error in SWERR");
	if (ref.errors && dsa.overflow != (ref.errors > 1))
		fail(n, desc, "overflow of SWERR");
}

/* One whose first 8 bytes are 0 is not seen in a portal that is memory. */
static bool invisible(const uint8_t *desc)
{
	return !get64(desc);
}

/* Bit n: operation n. */
#define ALL_OPS 0x0000000100bf03ffull
#define ENOUGH 400u /* descriptors, for some of each to succeed */

static void all_were_met(void)
{
	CHECK_EQ(reg(DSA_OPCAP_REG) | (uint64_t)reg(DSA_OPCAP_REG + 4) << 32, ALL_OPS);
	for (unsigned op = 0; op < 64; op++) {
		if (ALL_OPS >> op & 1 && !ref.succeeded[op]) {
			fprintf(stderr, "operation %#x never succeeded\n", op);
			exit(1);
		}
	}
}

void random_descriptors(unsigned n)
{
	struct source source;
	uint8_t desc[DESC_BYTES];

	prepare(&source);
	for (unsigned i = 0; i < n; i++) {
		if (i % 100 == 0)
			load_memory(&source);
		random_desc(&source, desc);
		if (invisible(desc))
			continue;
		ref_run(&ref, desc);
		submit(desc);
		drain();
		compare(i, desc);
	}
	if (n >= ENOUGH)
		all_were_met();
}
