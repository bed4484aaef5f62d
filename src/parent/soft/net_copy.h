/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Copying frames. A guest may send from where it receives, so source and destination may overlap:
 * what arrives then is that guest's problem, but the copy must stay inside of both. Each byte of
 * the source is used for nothing but the destination, so it does not matter who changes it
 * meanwhile.
 */
#ifndef PARENT_SOFT_NET_COPY_H
#define PARENT_SOFT_NET_COPY_H

#include <stdint.h>
#include <string.h>

/* Up to here a loop in place costs less than a call that finds out what to do. */
#define NET_COPY_SMALL 256

/* Memory of any alignment and type. */
typedef uint64_t net_lump __attribute__((vector_size(16), aligned(1), may_alias));

static inline void net_copy(void *dst, const void *src, size_t len)
{
	uint8_t *to = dst;
	const uint8_t *from = src;
	size_t at = 0;

	if (__builtin_expect(len > NET_COPY_SMALL || len < sizeof(net_lump), 0)) {
		memmove(dst, src, len);
		return;
	}
	/* The last lump overlaps the one before. */
	for (; at < len - sizeof(net_lump); at += sizeof(net_lump))
		*(net_lump *)(void *)(to + at) = *(const net_lump *)(const void *)(from + at);
	at = len - sizeof(net_lump);
	*(net_lump *)(void *)(to + at) = *(const net_lump *)(const void *)(from + at);
}

/* Memory that is about to be read, or written to. */
static inline void net_prefetch(const void *p)
{
	__builtin_prefetch(p);
}

static inline void net_prefetch_write(const void *p)
{
#ifdef __x86_64__
	/* The compiler takes this instruction only when told that every processor has it; where it
	 * is missing it does nothing. */
	__asm__ volatile("prefetchw %0" : : "m"(*(const char *)p));
#else
	__builtin_prefetch(p, 1);
#endif
}

#endif
