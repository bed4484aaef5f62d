/* SPDX-License-Identifier: BSD-3-Clause */
/* Times by how long they were: 64 steps per power of two, so that a percentile is right to 1.6 %.
 */
#ifndef CLI_HISTOGRAM_H
#define CLI_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_STEP_BITS 6
#define HISTOGRAM_STEPS (1u << HISTOGRAM_STEP_BITS)
#define HISTOGRAM_BUCKETS (64u << HISTOGRAM_STEP_BITS)

struct histogram {
	uint64_t count, sum_ns, max_ns;
	uint64_t buckets[HISTOGRAM_BUCKETS];
};

static inline unsigned histogram_bucket(uint64_t ns)
{
	unsigned shift;

	if (ns < HISTOGRAM_STEPS)
		return (unsigned)ns;
	shift = 63 - (unsigned)__builtin_clzll(ns) - HISTOGRAM_STEP_BITS;
	return ((shift + 1) << HISTOGRAM_STEP_BITS) + (unsigned)(ns >> shift) - HISTOGRAM_STEPS;
}

/* The middle of a bucket. */
static inline uint64_t histogram_value_ns(unsigned bucket)
{
	unsigned shift = bucket >> HISTOGRAM_STEP_BITS;

	if (!shift)
		return bucket;
	shift--;
	return ((uint64_t)(HISTOGRAM_STEPS + (bucket & (HISTOGRAM_STEPS - 1))) << shift) +
	       ((1ull << shift) >> 1);
}

static inline void histogram_add(struct histogram *h, uint64_t ns)
{
	h->count++;
	h->sum_ns += ns;
	if (ns > h->max_ns)
		h->max_ns = ns;
	h->buckets[histogram_bucket(ns)]++;
}

/* The time that @share (0 to 1) of all do not exceed; 0 when there are none. */
static inline uint64_t histogram_percentile_ns(const struct histogram *h, double share)
{
	uint64_t want = (uint64_t)(share * (double)h->count), seen = 0;

	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += h->buckets[i];
		if (seen > want)
			return histogram_value_ns(i);
	}
	return h->max_ns;
}

static inline double histogram_mean_ns(const struct histogram *h)
{
	return h->count ? (double)h->sum_ns / (double)h->count : 0;
}

#endif
