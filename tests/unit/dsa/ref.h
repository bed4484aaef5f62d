/* SPDX-License-Identifier: BSD-3-Clause */
/* What a descriptor does, byte by byte, one after the other: the judge of the engine. */
#ifndef TESTS_DSA_REF_H
#define TESTS_DSA_REF_H

#include <stdbool.h>
#include <stddef.h>
#include <uvdpa/vhost_iotlb.h>

#include "bytes.h"

#define REF_PAGE 4096u
#define REF_PAGES 96u /* at most */

struct ref {
	/* The machine. Pages from @base on; elsewhere is no memory. */
	uint64_t base;
	unsigned pages;
	uint8_t mem[REF_PAGES * REF_PAGE];
	uint32_t perm[REF_PAGES]; /* VHOST_MAP_*, 0: none */
	uint32_t max_xfer, max_batch;
	uint16_t handle, handles; /* the first that is valid, and how many are */
	uint32_t pasid;
	bool bof, priv, reversed;
	/* What came of it. */
	uint8_t status;
	unsigned interrupts, errors;
	struct dsa_error first, error; /* the first and the last of them */
	/* How often, over all runs: a status; success of an operation, or a fault in it. */
	unsigned seen[256], succeeded[64], faulted[64];
};

void ref_run(struct ref *r, const uint8_t *desc);

uint32_t ref_crc32c(uint32_t crc, const uint8_t *p, size_t len, bool data_msb);
uint16_t ref_crc16(uint16_t crc, const uint8_t *p, size_t len);

#endif
