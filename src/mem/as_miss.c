// SPDX-License-Identifier: BSD-3-Clause
/*
 * Outstanding misses: each is reported once, whichever queues run into it, until a range is added
 * there, or until whoever was told says that the answer is over (it was refused, say): the next
 * access asks again then. The table is bounded; what falls out of it is reported again, which is
 * harmless.
 */
#include <string.h>

#include "mem/as.h"

/* Under the lock. */
static void miss_remove(struct as_misses *misses, unsigned i)
{
	misses->n--;
	memmove(&misses->m[i], &misses->m[i + 1], (misses->n - i) * sizeof(misses->m[0]));
}

static unsigned miss_find(const struct as_misses *misses, iova_t iova, uint32_t perm)
{
	unsigned i = 0;

	while (i < misses->n && (misses->m[i].iova != iova || misses->m[i].perm != perm))
		i++;
	return i;
}

/* True when it was not outstanding. Any thread. */
bool as_miss_add(struct vdpa_as *as, iova_t iova, uint32_t perm)
{
	struct as_misses *misses = &as->misses;
	bool fresh;
	unsigned i;

	pthread_mutex_lock(&misses->lock);
	i = miss_find(misses, iova, perm);
	fresh = i == misses->n;
	if (!fresh) {
		misses->m[i].again = true;
	} else {
		if (misses->n == AS_MISSES)
			miss_remove(misses, 0);
		misses->m[misses->n++] = (struct as_miss){.iova = iova, .perm = perm};
	}
	pthread_mutex_unlock(&misses->lock);
	return fresh;
}

void as_miss_del(struct vdpa_as *as, iova_t iova, uint32_t perm)
{
	struct as_misses *misses = &as->misses;
	unsigned i;

	pthread_mutex_lock(&misses->lock);
	i = miss_find(misses, iova, perm);
	if (i < misses->n)
		miss_remove(misses, i);
	pthread_mutex_unlock(&misses->lock);
}

bool vdpa_as_miss_settled(struct vdpa_as *as, iova_t iova, uint32_t perm)
{
	struct as_misses *misses = &as->misses;
	bool again = false;
	unsigned i;

	pthread_mutex_lock(&misses->lock);
	i = miss_find(misses, iova, perm);
	if (i < misses->n) {
		again = misses->m[i].again;
		misses->m[i].again = false;
		if (!again)
			miss_remove(misses, i);
	}
	pthread_mutex_unlock(&misses->lock);
	return again;
}

/* A range was added; the answer counts from when it is published, even if it is removed again by
 * then. */
void as_miss_answered(struct vdpa_as *as, iova_t first, iova_t last)
{
	struct as_misses *misses = &as->misses;

	if (!as->miss)
		return;
	pthread_mutex_lock(&misses->lock);
	for (unsigned i = 0; i < misses->n; i++) {
		if (misses->m[i].iova >= first && misses->m[i].iova <= last)
			misses->m[i].answered = true;
	}
	pthread_mutex_unlock(&misses->lock);
}

void as_miss_published(struct vdpa_as *as)
{
	struct as_misses *misses = &as->misses;
	struct as_miss *miss;
	unsigned n = 0;

	if (!as->miss && !as->misses_stale)
		return;
	pthread_mutex_lock(&misses->lock);
	/* Whoever answers from now on was told of none of them. */
	for (unsigned i = 0; i < misses->n && !as->misses_stale; i++) {
		miss = &misses->m[i];
		if (!miss->answered && !vhost_iotlb_itree_first(&as->map, miss->iova, miss->iova))
			misses->m[n++] = *miss;
	}
	misses->n = n;
	pthread_mutex_unlock(&misses->lock);
	as->misses_stale = false;
}
