// SPDX-License-Identifier: BSD-3-Clause
/*
 * CRC Generation and Copy with CRC Generation: CRC-32C (polynomial 0x1edc6f41), by isa-l.
 *
 * The running value is kept as the reflected algorithm has it. Seed and result are the inverse of
 * that, or, with DSA_FLAG_CRC_RAW, its bits in the other order; data whose reflection is bypassed
 * are the same data with the bits of each byte in the other order.
 *
 * A copy and its CRC are of the same bytes, also when the source is changed meanwhile.
 */
#include <isa-l/crc.h>

#include "dsa/impl.h"

static uint32_t reversed(uint32_t v)
{
	v = (v & 0x55555555u) << 1 | (v >> 1 & 0x55555555u);
	v = (v & 0x33333333u) << 2 | (v >> 2 & 0x33333333u);
	v = (v & 0x0f0f0f0fu) << 4 | (v >> 4 & 0x0f0f0f0fu);
	return __builtin_bswap32(v);
}

/* Each byte of @from with its bits in the other order. */
static void reverse_bytes(uint8_t *to, const uint8_t *from, size_t len)
{
	for (size_t i = 0; i < len; i++)
		to[i] = (uint8_t)(reversed(from[i]) >> 24);
}

static uint32_t running(uint32_t v, uint32_t flags)
{
	return flags & DSA_FLAG_CRC_RAW ? reversed(v) : ~v;
}

uint8_t dsa_check_crc(const struct dsa_desc *d)
{
	uint64_t seed = dsa_desc_u64(d, 48);

	if (!(d->flags & DSA_FLAG_CRC_SEED_ADDR))
		return seed ? DSA_COMP_NOZERO_RESERVE : 0;
	return seed % 4 ? DSA_COMP_ADDR_ALIGN : 0;
}

uint8_t dsa_check_copy(const struct dsa_desc *d)
{
	uint8_t status = dsa_check_crc(d);

	if (status)
		return status;
	return dsa_overlap(d->src, d->size, d->dst, d->size) ? DSA_COMP_OVERLAP_BUFFERS : 0;
}

static int begin(struct dsa_mem *mem, struct dsa_run *run)
{
	uint32_t seed = dsa_desc_u32(&run->d, 40);
	int ret;

	if (run->begun)
		return 0;
	if (run->d.flags & DSA_FLAG_CRC_SEED_ADDR) {
		ret = dsa_mem_read(mem, dsa_desc_u64(&run->d, 48), &seed, sizeof(seed));
		if (ret)
			return ret;
		seed = le32toh(seed);
	}
	run->crc = running(seed, run->d.flags);
	run->begun = true;
	return 0;
}

static uint32_t crc_of(uint32_t crc, uint8_t *p, size_t len)
{
	return crc32_iscsi(p, (int)len, crc);
}

int dsa_step_crcgen(struct dsa_mem *mem, struct dsa_run *run)
{
	struct dsa_range src = {run->d.src + run->done, dsa_left(run), 1};
	struct dsa_piece from;
	int ret = begin(mem, run);

	if (ret)
		return ret;
	if (run->d.flags & DSA_FLAG_CRC_DATA_MSB && src.want > DSA_SCRATCH)
		src.want = DSA_SCRATCH;
	ret = dsa_mem_src(mem, &src, 0, &from);
	if (ret)
		return ret;
	if (run->d.flags & DSA_FLAG_CRC_DATA_MSB) {
		reverse_bytes(mem->scratch, from.p, from.len);
		from.p = mem->scratch;
	}
	run->crc = crc_of(run->crc, from.p, from.len);
	run->done += from.len;
	return run->done < run->d.size;
}

int dsa_step_copy_crc(struct dsa_mem *mem, struct dsa_run *run)
{
	struct dsa_range src = {run->d.src + run->done, dsa_left(run), 1};
	struct dsa_piece from;
	int ret = begin(mem, run);

	if (ret)
		return ret;
	if (src.want > DSA_SCRATCH)
		src.want = DSA_SCRATCH;
	ret = dsa_mem_src(mem, &src, 0, &from);
	if (ret)
		return ret;
	memcpy(mem->scratch, from.p, from.len);
	ret = dsa_mem_write(mem, run->d.dst + run->done, mem->scratch, from.len, 1);
	if (ret)
		return ret;
	if (run->d.flags & DSA_FLAG_CRC_DATA_MSB)
		reverse_bytes(mem->scratch, mem->scratch, from.len);
	run->crc = crc_of(run->crc, mem->scratch, from.len);
	run->done += from.len;
	return run->done < run->d.size;
}

/* After a part, too: it is the seed of the rest. */
void dsa_record_crc(const struct dsa_run *run, uint8_t *record)
{
	uint32_t crc = htole32(run->begun ? running(run->crc, run->d.flags) : 0);

	memcpy(record + 16, &crc, sizeof(crc));
}
