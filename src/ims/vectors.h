/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The interrupts of one mediated device: a few vectors, of which some are emulated (sent by the
 * code that plays the device) and the others are slots of the parent's interrupt message storage
 * (sent by the hardware, or what plays it, for work of the device's PASID). Work names such a
 * vector by a handle, the slot's number, which the guest asks for, gives back, and may lose. A
 * driver that has never asked (the first ones: Linux 5.6) names the vector itself.
 *
 * Threads: request, release and revoke on the device's thread; the others on any.
 */
#ifndef IMS_VECTORS_H
#define IMS_VECTORS_H

#include <stdbool.h>
#include <stdint.h>

#include "ims/ims.h"

#define IMS_VECTORS_MAX 64u

struct ims_vectors;

struct ims_vectors_config {
	struct ims *ims;
	unsigned count;	   /* all; 1 .. IMS_VECTORS_MAX */
	unsigned emulated; /* the first so many have no slot */
	uint32_t pasid;	   /* of the device */
	const char *owner;
	/* Signal the device's user. Under a slot's lock for those that have one: no call back. */
	void (*signal)(void *arg, unsigned vector);
	void *arg;
};

/* Takes its slots, tied to the PASID and unmasked. 0; -ENOSPC (of slots), -EINVAL, -ENOMEM. */
int ims_vectors_new(const struct ims_vectors_config *config, struct ims_vectors **out);
/* signal() does not run any more. NULL is allowed. */
void ims_vectors_free(struct ims_vectors *v);

/* An emulated one. -EINVAL: it is not. */
int ims_vectors_signal(struct ims_vectors *v, unsigned vector);

/* The handle of @vector from now on: 0; -EINVAL (emulated, or none); -ENOSPC (its slot was lost,
 * and there is no other). The same until it is given back or lost. */
int ims_vectors_request(struct ims_vectors *v, unsigned vector, uint16_t *handle);
/* -ENOENT: not a handle of this device that was asked for. */
int ims_vectors_release(struct ims_vectors *v, uint16_t handle);
/* All handles are void, and their slots are lost: who asks again gets others. */
void ims_vectors_revoke(struct ims_vectors *v);
/* Void as well, but the slots stay. */
void ims_vectors_reset(struct ims_vectors *v);
/* May work of this device name it? */
bool ims_vectors_valid(struct ims_vectors *v, uint16_t handle);
/* Work of @pasid ended: as ims_send(), and -ENOENT when the handle is not this device's. */
int ims_vectors_send(struct ims_vectors *v, uint16_t handle, uint32_t pasid);

#endif
