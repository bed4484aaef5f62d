/* SPDX-License-Identifier: BSD-3-Clause */
/* One descriptor at a time, its record at a known place. For the one file of a test that includes
 * it. */
#ifndef TESTS_DSA_SINGLE_H
#define TESTS_DSA_SINGLE_H

#include "dsa_test.h"
#include "ref.h"

#define RECORD 0x1f000u
#define SRC 0x0u
#define DST 0x8000u

static struct bench bench, *b = &bench;
static uint8_t d[DSA_DESC_BYTES], record[DSA_RECORD_BYTES];

static int teardown(void **state)
{
	bench_close(b);
	return 0;
}

static void make(uint8_t op, uint64_t src, uint64_t dst, uint32_t size)
{
	struct desc desc = {op, CRAV_RCR, iova_of(RECORD), src, dst, size, 0};

	desc_make(d, &desc);
}

/* Run @d; its record is in @record. */
static uint8_t run(void)
{
	memset(bench_at(b, RECORD), 0xee, DSA_RECORD_BYTES);
	bench_run(b, d);
	bench_get(b, RECORD, record, DSA_RECORD_BYTES);
	return record[0];
}

#endif
