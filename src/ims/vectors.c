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
#define NO_SLOT UINT32_MAX

struct ims_vectors {
	struct ims_vectors_config config;
	_Atomic bool asked;			/* for any handle, since the last reset */
	_Atomic uint32_t slot[IMS_VECTORS_MAX]; /* of those that have one */
};

static void give_back(struct ims_vectors *v)
{
	for (unsigned i = v->config.emulated; i < v->config.count; i++) {
		uint32_t slot = atomic_exchange(&v->slot[i], NO_SLOT);

		if (slot != NO_SLOT)
			ims_release(v->config.ims, slot & ~ASKED);
	}
}

static int take(struct ims_vectors *v, unsigned vector)
{
	struct ims_irq irq = {.fire = v->config.signal,
			      .arg = v->config.arg,
			      .vector = vector,
			      .owner = v->config.owner};
	unsigned slot;
	int r = ims_alloc(v->config.ims, &irq, &slot);

	if (r)
		return r;
	r = ims_set_pasid(v->config.ims, slot, v->config.pasid);
	if (!r)
		r = ims_unmask(v->config.ims, slot);
	if (r)
		ims_release(v->config.ims, slot);
	else
		atomic_store(&v->slot[vector], slot);
	return r;
}

int ims_vectors_new(const struct ims_vectors_config *config, struct ims_vectors **out)
{
	struct ims_vectors *v;
	int r = 0;

	if (!config->count || config->count > IMS_VECTORS_MAX || config->emulated > config->count ||
	    !config->signal)
		return -EINVAL;
	v = calloc(1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	v->config = *config;
	for (unsigned i = 0; i < IMS_VECTORS_MAX; i++)
		atomic_init(&v->slot[i], NO_SLOT);
	for (unsigned i = config->emulated; i < config->count && !r; i++)
		r = take(v, i);
	if (r)
		ims_vectors_free(v);
	else
		*out = v;
	return r;
}

void ims_vectors_free(struct ims_vectors *v)
{
	if (!v)
		return;
	give_back(v);
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
	if (atomic_load(&v->slot[vector]) == NO_SLOT) {
		int r = take(v, vector);

		if (r)
			return r;
	}
	atomic_store(&v->asked, true);
	*handle = (uint16_t)atomic_fetch_or(&v->slot[vector], ASKED);
	return 0;
}

static bool by_number(struct ims_vectors *v, uint16_t handle)
{
	return !atomic_load(&v->asked) && handle >= v->config.emulated &&
	       handle < v->config.count && atomic_load(&v->slot[handle]) != NO_SLOT;
}

/* Which vector @handle leads to, or -ENOENT. */
static int vector_of(struct ims_vectors *v, uint16_t handle)
{
	if (by_number(v, handle))
		return handle;
	for (unsigned i = v->config.emulated; i < v->config.count; i++) {
		if (atomic_load(&v->slot[i]) == (ASKED | handle))
			return (int)i;
	}
	return -ENOENT;
}

int ims_vectors_release(struct ims_vectors *v, uint16_t handle)
{
	int vector = vector_of(v, handle);

	if (vector < 0 || !atomic_load(&v->asked))
		return -ENOENT;
	atomic_fetch_and(&v->slot[vector], ~ASKED);
	return 0;
}

void ims_vectors_revoke(struct ims_vectors *v)
{
	give_back(v);
}

void ims_vectors_reset(struct ims_vectors *v)
{
	atomic_store(&v->asked, false);
	for (unsigned i = v->config.emulated; i < v->config.count; i++) {
		uint32_t slot = atomic_load(&v->slot[i]);

		if (slot != NO_SLOT)
			atomic_store(&v->slot[i], slot & ~ASKED);
	}
}

bool ims_vectors_valid(struct ims_vectors *v, uint16_t handle)
{
	return vector_of(v, handle) >= 0;
}

int ims_vectors_send(struct ims_vectors *v, uint16_t handle, uint32_t pasid)
{
	int vector = vector_of(v, handle);

	/* One that is lost meanwhile is nobody's, or another PASID's. */
	return vector < 0 ? vector
			  : ims_send(v->config.ims, atomic_load(&v->slot[vector]) & ~ASKED, pasid);
}
