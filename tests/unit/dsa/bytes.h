/* SPDX-License-Identifier: BSD-3-Clause */
/* Descriptors as bytes: little-endian fields, and the random numbers of tests. */
#ifndef TESTS_DSA_BYTES_H
#define TESTS_DSA_BYTES_H

#include <stdint.h>
#include <string.h>

#include "dsa/idxd.h"

#define DESC_BYTES 64u
#define CRAV_RCR (IDXD_OP_FLAG_CRAV | IDXD_OP_FLAG_RCR)

static inline void put16(uint8_t *p, uint16_t v)
{
	for (unsigned i = 0; i < 2; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

static inline void put32(uint8_t *p, uint32_t v)
{
	for (unsigned i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

static inline void put64(uint8_t *p, uint64_t v)
{
	for (unsigned i = 0; i < 8; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

static inline uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t get32(const uint8_t *p)
{
	return get16(p) | (uint32_t)get16(p + 2) << 16;
}

static inline uint64_t get64(const uint8_t *p)
{
	return get32(p) | (uint64_t)get32(p + 4) << 32;
}

struct desc {
	uint8_t op;
	uint32_t flags;
	uint64_t record, src, dst;
	uint32_t size;
	uint16_t handle;
};

static inline void desc_make(uint8_t *raw, const struct desc *d)
{
	memset(raw, 0, DESC_BYTES);
	put32(raw + 4, d->flags | (uint32_t)d->op << 24);
	put64(raw + 8, d->record);
	put64(raw + 16, d->src);
	put64(raw + 24, d->dst);
	put32(raw + 32, d->size);
	put16(raw + 36, d->handle);
}

static inline uint32_t rng(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return (uint32_t)((*s * 0x2545f4914f6cdd1dull) >> 32);
}

#endif
