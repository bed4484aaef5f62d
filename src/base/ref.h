/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reference counts. A count that was driven to the top stays there for good: the object leaks,
 * which is harmless, where a wrapped count would free it under somebody's hands.
 */
#ifndef BASE_REF_H
#define BASE_REF_H

#include <assert.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>

#define VDPA_REF_SATURATED (UINT_MAX / 2)

struct vdpa_ref {
	_Atomic unsigned n;
};

static inline void vdpa_ref_init(struct vdpa_ref *ref)
{
	atomic_init(&ref->n, 1);
}

static inline unsigned vdpa_ref_read(const struct vdpa_ref *ref)
{
	return atomic_load_explicit(&ref->n, memory_order_relaxed);
}

/* The caller holds a reference. */
static inline void vdpa_ref_get(struct vdpa_ref *ref)
{
	unsigned n = atomic_load_explicit(&ref->n, memory_order_relaxed);

	do {
		assert(n != 0);
		if (n >= VDPA_REF_SATURATED)
			return;
	} while (!atomic_compare_exchange_weak_explicit(&ref->n, &n, n + 1, memory_order_relaxed,
							memory_order_relaxed));
}

/* Returns true for whoever dropped the last one, with everything that others did before visible. */
static inline bool vdpa_ref_put(struct vdpa_ref *ref)
{
	unsigned n = atomic_load_explicit(&ref->n, memory_order_relaxed);

	do {
		assert(n != 0);
		if (n >= VDPA_REF_SATURATED)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(&ref->n, &n, n - 1, memory_order_acq_rel,
							memory_order_relaxed));
	return n == 1;
}

#endif
