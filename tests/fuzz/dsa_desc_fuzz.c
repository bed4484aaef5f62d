// SPDX-License-Identifier: BSD-3-Clause
/* Fuzz target: one descriptor, 64 bytes of the input; the rest is what it finds in memory. */
#include <string.h>

#include "dsa_harness.h"

#define DESC 64u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t desc[DESC];

	if (size < DESC)
		return 0;
	memcpy(desc, data, DESC);
	dsa_fuzz_begin(data + DESC, size - DESC);
	dsa_fuzz_aim(desc);
	/* An operation that there is, mostly. */
	if (desc[7] & 0x40)
		desc[7] &= 0x1f;
	dsa_fuzz_run(desc);
	return 0;
}
