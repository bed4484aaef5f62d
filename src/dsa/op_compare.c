// SPDX-License-Identifier: BSD-3-Clause
/*
 * Compare and Compare Pattern. The result is 1 when there is a difference, whose place is then the
 * record's count of bytes.
 *
 * Who attacks: memory that changes while it is compared. A difference that was seen and is gone at
 * the second look is one at the beginning of the piece.
 */
#include "dsa/impl.h"

/* Expected Result, descriptor byte 40, has one bit. */
uint8_t dsa_check_compare(const struct dsa_desc *d)
{
	return d->raw[40] > 1 ? DSA_COMP_NOZERO_RESERVE : 0;
}

/* The comparison has ended with @result, at run->done. */
static int ended(struct dsa_run *run, uint8_t result)
{
	run->result = result;
	if (result)
		run->completed = (uint32_t)run->done;
	if (run->d.flags & IDXD_OP_FLAG_CR && run->d.raw[40] != result)
		run->status = DSA_COMP_SUCCESS_PRED;
	return DSA_STEP_DONE;
}

/* Index of the first difference. */
static size_t difference(const uint8_t *a, const uint8_t *b, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (a[i] != b[i])
			return i;
	}
	return 0;
}

static int compared(struct dsa_run *run, const uint8_t *a, const uint8_t *b, size_t len)
{
	if (memcmp(a, b, len)) {
		run->done += difference(a, b, len);
		return ended(run, 1);
	}
	run->done += len;
	return run->done < run->d.size ? DSA_STEP_MORE : ended(run, 0);
}

int dsa_step_compare(struct dsa_mem *mem, struct dsa_run *run)
{
	struct dsa_range one = {run->d.src + run->done, dsa_left(run), 1};
	struct dsa_range two = {run->d.dst + run->done, one.want, 1};
	struct dsa_piece a, b;
	int ret = dsa_mem_src(mem, &one, 0, &a);

	if (ret)
		return ret;
	two.want = a.len;
	ret = dsa_mem_src(mem, &two, 1, &b);
	return ret ? ret : compared(run, a.p, b.p, b.len);
}

int dsa_step_compval(struct dsa_mem *mem, struct dsa_run *run)
{
	struct dsa_range src = {run->d.src + run->done, dsa_left(run), 1};
	uint64_t pattern = htole64(run->d.dst);
	struct dsa_piece a;
	size_t phase = run->done % 8, n = 0;
	int ret;

	if (src.want > DSA_SCRATCH - 8)
		src.want = DSA_SCRATCH - 8;
	ret = dsa_mem_src(mem, &src, 0, &a);
	if (ret)
		return ret;
	for (; n < a.len + phase; n += sizeof(pattern))
		memcpy(mem->scratch + n, &pattern, sizeof(pattern));
	return compared(run, a.p, mem->scratch + phase, a.len);
}
