// SPDX-License-Identifier: BSD-3-Clause
/*
 * Create Delta Record and Apply Delta Record. A record has ten bytes for each word (of eight bytes)
 * that differs: its number, 16 bits, and what the second source has there.
 *
 * Who attacks: offsets of a record that is applied lead out of the destination, and change while
 * they are checked. So each is copied, once, and the copy is used; memory of the sources likewise.
 */
#include <errno.h>

#include "dsa/impl.h"

#define WORD 8u
#define ENTRY 10u
#define WORDS 512u /* at a time */
/* Offsets have 16 bits. */
#define MAX_BYTES (65536u * WORD)
#define LEAST_RECORD 80u

enum { SAME, DIFFERENT, OVERFLOW };

static uint64_t word_at(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

uint8_t dsa_check_cr_delta(const struct dsa_desc *d)
{
	uint64_t record = dsa_desc_u64(d, 40);
	uint32_t max = dsa_desc_u32(d, 48);

	/* Expected Result Mask: one bit for each result. */
	if (d->raw[56] & ~7u)
		return DSA_COMP_NOZERO_RESERVE;
	if (d->size % WORD || d->size > MAX_BYTES)
		return DSA_COMP_XFER_ERANGE;
	if (max % ENTRY || max < LEAST_RECORD)
		return DSA_COMP_DR_ERANGE;
	if ((d->src | d->dst | record) % WORD)
		return DSA_COMP_ADDR_ALIGN;
	if (dsa_overlap(d->src, d->size, record, max) || dsa_overlap(d->dst, d->size, record, max))
		return DSA_COMP_OVERLAP_BUFFERS;
	return 0;
}

static int created(struct dsa_run *run, uint8_t result)
{
	run->result = result;
	if (result == OVERFLOW)
		run->completed = (uint32_t)run->done;
	if (run->d.flags & IDXD_OP_FLAG_CR && !(run->d.raw[56] >> result & 1))
		run->status = DSA_COMP_SUCCESS_PRED;
	return DSA_STEP_DONE;
}

int dsa_step_cr_delta(struct dsa_mem *mem, struct dsa_run *run)
{
	size_t left = dsa_left(run);
	struct dsa_range one = {run->d.src + run->done, left, WORD}, two;
	uint32_t room = dsa_desc_u32(&run->d, 48) - run->delta.bytes, bytes = 0;
	struct dsa_piece a, b;
	size_t i;
	int ret;

	if (one.want > WORDS * WORD)
		one.want = WORDS * WORD;
	ret = dsa_mem_src(mem, &one, 0, &a);
	if (ret)
		return ret;
	two = (struct dsa_range){run->d.dst + run->done, a.len, WORD};
	ret = dsa_mem_src(mem, &two, 1, &b);
	if (ret)
		return ret;
	for (i = 0; i < b.len; i += WORD) {
		uint64_t was = word_at(a.p + i), is = word_at(b.p + i);
		uint16_t offset = htole16((uint16_t)((run->done + i) / WORD));

		if (was == is)
			continue;
		if (bytes + ENTRY > room)
			break;
		memcpy(mem->scratch + bytes, &offset, sizeof(offset));
		memcpy(mem->scratch + bytes + sizeof(offset), &is, sizeof(is));
		bytes += ENTRY;
	}
	ret = bytes ? dsa_mem_write(mem, dsa_desc_u64(&run->d, 40) + run->delta.bytes, mem->scratch,
				    bytes, ENTRY)
		    : 0;
	if (ret && ret != -EIO && i > WORD) {
		/* Entries come from words: fewer of these, down to the one that faults. */
		mem->limit = i / 2;
		return -EINTR;
	}
	if (ret)
		return ret;
	run->delta.bytes += bytes;
	run->done += i;
	if (i < b.len)
		return created(run, OVERFLOW);
	if (run->done < run->d.size)
		return DSA_STEP_MORE;
	return created(run, run->delta.bytes ? DIFFERENT : SAME);
}

void dsa_record_cr_delta(const struct dsa_run *run, uint8_t *record)
{
	uint32_t bytes = htole32(run->delta.bytes);

	memcpy(record + 16, &bytes, sizeof(bytes));
}

uint8_t dsa_check_ap_delta(const struct dsa_desc *d)
{
	uint32_t bytes = dsa_desc_u32(d, 40);

	if (d->size % WORD || d->size > MAX_BYTES)
		return DSA_COMP_XFER_ERANGE;
	if (!bytes || bytes % ENTRY || bytes > MAX_BYTES / WORD * ENTRY)
		return DSA_COMP_DR_ERANGE;
	if ((d->src | d->dst) % WORD)
		return DSA_COMP_ADDR_ALIGN;
	if (dsa_overlap(d->src, bytes, d->dst, d->size))
		return DSA_COMP_OVERLAP_BUFFERS;
	return 0;
}

/* One entry, which was copied. 0, a status, or a negative error. */
static int apply(struct dsa_mem *mem, struct dsa_run *run, const uint8_t *entry)
{
	uint32_t offset = (uint32_t)entry[0] | (uint32_t)entry[1] << 8;
	int ret;

	if (offset < run->delta.next)
		return DSA_COMP_DR_OFFSET_NOINC;
	if (offset >= run->d.size / WORD)
		return DSA_COMP_DR_OFFSET_ERANGE;
	ret = dsa_mem_write(mem, run->d.dst + (uint64_t)offset * WORD, entry + 2, WORD, WORD);
	if (ret)
		return ret;
	run->delta.next = offset + 1;
	run->done += ENTRY;
	return 0;
}

/* What is processed is the record: run->done counts its bytes. */
int dsa_step_ap_delta(struct dsa_mem *mem, struct dsa_run *run)
{
	uint32_t bytes = dsa_desc_u32(&run->d, 40);
	size_t left = bytes - run->done;
	struct dsa_range src = {run->d.src + run->done, left, ENTRY};
	struct dsa_piece piece;
	int ret;

	if (src.want > WORDS * ENTRY)
		src.want = WORDS * ENTRY;
	ret = dsa_mem_src(mem, &src, 0, &piece);
	if (ret)
		return ret;
	memcpy(mem->scratch, piece.p, piece.len);
	for (size_t i = 0; i < piece.len && !ret; i += ENTRY)
		ret = apply(mem, run, mem->scratch + i);
	if (ret < 0)
		return ret;
	if (ret > 0) {
		run->status = (uint8_t)ret;
		run->completed = (uint32_t)run->done;
		return DSA_STEP_DONE;
	}
	return run->done < bytes;
}
