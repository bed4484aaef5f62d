/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Interrupt Message Storage: an array of {address, data, control} in a device's memory, from which
 * the device sends its interrupts, instead of the few entries of an MSI-X table. One domain owns
 * one array. A slot is allocated for one interrupt of one owner, and may be tied to a PASID: then
 * only work of that PASID sends it.
 *
 * A message leads back to the interrupt that it was composed for, and to no other: what is written
 * over a slot's address and data from elsewhere is not delivered.
 *
 * Threads: all functions but ims_new() and ims_free() on any thread. An interrupt's function runs
 * on the thread that sends, under the slot's lock: it must not call back. Once a slot is given back
 * its function does not run any more.
 */
#ifndef IMS_IMS_H
#define IMS_IMS_H

#include <stdbool.h>
#include <stdint.h>

#define IMS_SLOT_BYTES 16u
#define IMS_SLOTS_MAX 65536u /* a handle has 16 bits */

/* The control word. */
#define IMS_CTRL_MASK (1u << 0)
#define IMS_CTRL_PENDING (1u << 1) /* came while it was masked */
#define IMS_CTRL_PASID_EN (1u << 3)
#define IMS_CTRL_PASID_SHIFT 12
#define IMS_PASID_MAX 0xfffffu

/* A slot as it lies in the device's memory. */
struct ims_slot {
	uint64_t addr;
	uint32_t data;
	uint32_t ctrl;
};

struct ims;

struct ims_config {
	unsigned slots; /* 1 .. IMS_SLOTS_MAX */
	/* Messages in the remappable format, with an index, or in the compatible one, with a
	 * destination and a vector. */
	bool remap;
	bool need_pasid; /* a slot without a PASID cannot be unmasked */
	/* Each access to the array: at which byte, and what; may be NULL. For traces. */
	void (*trace)(void *arg, bool write, uint32_t off, uint32_t value);
	void *trace_arg;
};

/* Who is interrupted. */
struct ims_irq {
	void (*fire)(void *arg, unsigned vector);
	void *arg;
	unsigned vector;
	const char *owner; /* for dumps; copied */
};

struct ims_stats {
	uint64_t delivered;
	uint64_t held;	/* came while masked */
	uint64_t pasid; /* not sent: of another PASID */
	uint64_t bad;	/* not sent: no such slot, or a message that was not composed here */
};

/* 0; -EINVAL (number of slots), -ENOMEM. */
int ims_new(const struct ims_config *config, struct ims **out);
/* No slot is allocated any more. NULL is allowed. */
void ims_free(struct ims *ims);
unsigned ims_slots(const struct ims *ims);
unsigned ims_used(struct ims *ims);
bool ims_remaps(const struct ims *ims);

/*
 * A slot for @irq: its message is written, it is masked and has no PASID. Slots are given out in
 * turn, so that one that was just given back is not the next. 0, -ENOSPC, -EINVAL.
 */
int ims_alloc(struct ims *ims, const struct ims_irq *irq, unsigned *slot);
/* All @n or none. */
int ims_alloc_many(struct ims *ims, const struct ims_irq *irqs, unsigned n, unsigned *slots);
/* Zeroed and masked, as one that was never used. -ENOENT: not allocated. */
int ims_release(struct ims *ims, unsigned slot);

/* 0; -ENOENT; -EINVAL (not a PASID). */
int ims_set_pasid(struct ims *ims, unsigned slot, uint32_t pasid);
int ims_clear_pasid(struct ims *ims, unsigned slot);
/* Written, and read back so that it has arrived. 0; -ENOENT. */
int ims_mask(struct ims *ims, unsigned slot);
/* As above, and what is pending is sent. -EINVAL: it needs a PASID and has none. */
int ims_unmask(struct ims *ims, unsigned slot);
/*
 * Send the message of @slot for work of @pasid: 0 (also when it is masked: pending); -EPERM (the
 * slot is another PASID's); -ENOENT; -EIO (what lies in the slot is no message of ours).
 */
int ims_send(struct ims *ims, unsigned slot, uint32_t pasid);

/* One slot as it is; true: allocated, and @owner (if not NULL) has @size bytes for its name. */
bool ims_look(struct ims *ims, unsigned slot, struct ims_slot *out, char *owner, unsigned size);
/* What a host's driver writes to the array by itself, in words of 4 bytes. -EINVAL: not in it. */
int ims_poke(struct ims *ims, uint32_t off, uint32_t value);
void ims_get_stats(struct ims *ims, struct ims_stats *stats);

#endif
