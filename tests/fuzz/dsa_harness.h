/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An engine on this thread, over a few pages: writable ones, one read-only, one reached by
 * messages, a hole. After each descriptor: it has ended, once, and nothing was written where
 * nothing may be.
 */
#ifndef TESTS_FUZZ_DSA_HARNESS_H
#define TESTS_FUZZ_DSA_HARNESS_H

#include <stddef.h>
#include <stdint.h>

#define FUZZ_PAGE 4096u
#define FUZZ_PAGES 8u
#define FUZZ_BYTES (FUZZ_PAGES * FUZZ_PAGE)
#define FUZZ_IOVA 0x40000000ull

/* Fill memory from @data, over and over. */
void dsa_fuzz_begin(const uint8_t *data, size_t size);
uint8_t *dsa_fuzz_memory(void);
/* Addresses of a descriptor that are not far out lead into the pages, or just beyond them. */
void dsa_fuzz_aim(uint8_t *desc);
void dsa_fuzz_run(const uint8_t *desc);
/* In a queue whose batches run backwards. */
void dsa_fuzz_run_reversed(const uint8_t *desc);

#endif
