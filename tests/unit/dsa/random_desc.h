/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Random descriptors and batches that mean something: most are right, and find memory that makes
 * them succeed; the rest is wrong in one thing or another.
 */
#ifndef TESTS_DSA_RANDOM_DESC_H
#define TESTS_DSA_RANDOM_DESC_H

#include "ref.h"

struct source {
	uint64_t rng;
	struct ref *ref;
	/* Where in the reference's memory addresses are, but for those that are nowhere. */
	uint32_t at, bytes;
	/* Other people's memory is near: what is nowhere is far away. */
	bool tame;
	/* The reference's byte @off is @value now: so is the other side's. */
	void (*put)(void *arg, uint64_t off, uint8_t value);
	void *arg;
};

void random_desc(struct source *s, uint8_t *desc);

#endif
