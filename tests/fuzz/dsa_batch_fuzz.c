// SPDX-License-Identifier: BSD-3-Clause
/*
 * Fuzz target: a batch. The first bytes are its place and length, the rest is the list, whose
 * descriptors may write to it and to each other's records; half of them run backwards.
 */
#include <string.h>

#include "dsa_harness.h"

#define DESC 64u
#define LIST_MAX 16u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t batch[DESC] = {[4] = 0x0c, [7] = 1};
	uint64_t list, record = FUZZ_IOVA;
	uint32_t n;

	if (size < 4 + DESC)
		return 0;
	list = FUZZ_IOVA + DESC * (data[0] % (FUZZ_BYTES / DESC - LIST_MAX));
	record += 32u * data[1];
	n = data[2] % (LIST_MAX + 2);
	dsa_fuzz_begin(data + 4, size - 4);
	for (unsigned i = 0; i < LIST_MAX; i++) {
		uint8_t *desc = dsa_fuzz_memory() + (list - FUZZ_IOVA) + i * DESC;

		dsa_fuzz_aim(desc);
		if (data[3] & 1)
			desc[7] &= 0x1f;
		if (data[3] & 2)
			memset(desc + 38, 0, 2);
	}
	memcpy(batch + 8, &record, sizeof(record));
	memcpy(batch + 16, &list, sizeof(list));
	memcpy(batch + 32, &n, sizeof(n));
	if (data[3] & 4)
		dsa_fuzz_run_reversed(batch);
	else
		dsa_fuzz_run(batch);
	return 0;
}
