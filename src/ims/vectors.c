// SPDX-License-Identifier: BSD-3-Clause
/*
 * Which slot a vector has, and whether its number was asked for, is one atomic word, since work
 * that runs looks at it while the device's thread changes it. A slot that was lost is given back at
 * once: what was under way to it is not delivered, and the guest, who was told, asks again.
 *
 * Who attacks: the guest, by handles that it never had, or has no more, or that are another's.
 */
#include "ims/vectors.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#define ASKED 0x10000u /* beside the slot's number */

struct ims_vectors {
	struct ims_vectors_config config;
	_Atomic uint32_t slot[IMS_VECTORS_MAX]; /* of those that have one */
};

static unsigned nslots(const struct ims_vectors *v)
{
	return v->config.count - v->config.emulated;
}

static void give_back(struct ims_vectors *v, const unsigned *slots)
{
	for (unsigned i = 0; i < nslots(v); i++)
		ims_release(v->config.ims, slots[i]);
}

static int take(struct ims_vectors *v, unsigned *slots)
{
	struct ims_irq irqs[IMS_VECTORS_MAX];
	int r;

	for (unsigned i = 0; i < nslots(v); i++)
		irqs[i] = (struct ims_irq){.fire = v->config.signal,
					   .arg = v->config.arg,
					   .vector = v->config.emulated + i,
					   .owner = v->config.owner};
	r = ims_alloc_many(v->config.ims, irqs, nslots(v), slots);
	if (r)
		return r;
	for (unsigned i = 0; i < nslots(v) && !r; i++) {
		r = ims_set_pasid(v->config.ims, slots[i], v->config.pasid);
		if (!r)
			r = ims_unmask(v->config.ims, slots[i]);
	}
	if (r)
		give_back(v, slots);
	return r;
}

static void adopt(struct ims_vectors *v, const unsigned *slots)
{
	for (unsigned i = 0; i < nslots(v); i++)
		atomic_store(&v->slot[v->config.emulated + i], slots[i]);
}

int ims_vectors_new(const struct ims_vectors_config *config, struct ims_vectors **out)
{
	unsigned slots[IMS_VECTORS_MAX];
	struct ims_vectors *v;
	int r;

	if (!config->count || config->count > IMS_VECTORS_MAX || config->emulated > config->count ||
	    !config->signal)
		return -EINVAL;
	v = calloc(1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	v->config = *config;
	r = take(v, slots);
	if (r) {
		free(v);
		return r;
	}
	adopt(v, slots);
	*out = v;
	return 0;
}

static void slots_now(struct ims_vectors *v, unsigned *slots)
{
	for (unsigned i = 0; i < nslots(v); i++)
		slots[i] = atomic_load(&v->slot[v->config.emulated + i]) & ~ASKED;
}

void ims_vectors_free(struct ims_vectors *v)
{
	unsigned slots[IMS_VECTORS_MAX];

	if (!v)
		return;
	slots_now(v, slots);
	give_back(v, slots);
	free(v);
}

int ims_vectors_signal(struct ims_vectors *v, unsigned vector)
{
	if (vector >= v->config.emulated)
		return -EINVAL;
	v->config.signal(v->config.arg, vector);
	return 0;
}

int ims_vectors_request(struct ims_vectors *v, unsigned vector, uint16_t *handle)
{
	if (vector < v->config.emulated || vector >= v->config.count)
		return -EINVAL;
	*handle = (uint16_t)atomic_fetch_or(&v->slot[vector], ASKED);
	return 0;
}

/* Which vector @handle leads to, or -ENOENT. */
static int vector_of(struct ims_vectors *v, uint16_t handle)
{
	for (unsigned i = v->config.emulated; i < v->config.count; i++) {
		if (atomic_load(&v->slot[i]) == (ASKED | handle))
			return (int)i;
	}
	return -ENOENT;
}

int ims_vectors_release(struct ims_vectors *v, uint16_t handle)
{
	int vector = vector_of(v, handle);

	if (vector < 0)
		return vector;
	atomic_fetch_and(&v->slot[vector], ~ASKED);
	return 0;
}

int ims_vectors_revoke(struct ims_vectors *v)
{
	unsigned old[IMS_VECTORS_MAX], new[IMS_VECTORS_MAX];
	int r = take(v, new);

	if (r)
		return r;
	slots_now(v, old);
	adopt(v, new);
	give_back(v, old);
	return 0;
}

void ims_vectors_reset(struct ims_vectors *v)
{
	for (unsigned i = v->config.emulated; i < v->config.count; i++)
		atomic_fetch_and(&v->slot[i], ~ASKED);
}

bool ims_vectors_valid(struct ims_vectors *v, uint16_t handle)
{
	return vector_of(v, handle) >= 0;
}

int ims_vectors_send(struct ims_vectors *v, uint16_t handle, uint32_t pasid)
{
	int vector = vector_of(v, handle);

	return vector < 0 ? vector : ims_send(v->config.ims, handle, pasid);
}
