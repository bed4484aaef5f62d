/* SPDX-License-Identifier: BSD-3-Clause */
/* What a descriptor does, byte by byte, one after the other: the judge of the engine. */
#ifndef TESTS_DSA_REF_H
#define TESTS_DSA_REF_H

#include "dsa_test.h"

struct ref {
	uint8_t mem[ARENA_BYTES]; /* by address */
	uint32_t perm[ARENA_PAGES];
	uint32_t max_xfer, max_batch;
	bool bof, priv;
	/* What came of it. */
	uint8_t status;
	unsigned interrupts, errors;
	struct dsa_error error;
	/* How often, over all runs: a status; success of an operation, or a fault in it. */
	unsigned seen[256], succeeded[64], faulted[64];
};

void ref_run(struct ref *r, const uint8_t *desc);

uint32_t ref_crc32c(uint32_t crc, const uint8_t *p, size_t len, bool data_msb);
uint16_t ref_crc16(uint16_t crc, const uint8_t *p, size_t len);

#endif
