// SPDX-License-Identifier: BSD-3-Clause
/*
 * The array is words, as a device has them; all else about a slot is beside it. Each slot has a
 * lock of its own: interrupts of different owners do not meet.
 *
 * A message is composed from the slot's number, in one of the two formats of x86: "compatible"
 * (destination in address bits 19:12, vector in the data) and "remappable" (bit 4 of the address
 * set, an index in bits 19:5 and 2).
 *
 * Who attacks: a guest, whose descriptors name a slot by its number. It must not reach another's:
 * the PASID of the work is compared with the slot's.
 */
#include "ims/ims.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS (IMS_SLOT_BYTES / 4)
#define WORD_DATA 2
#define WORD_CTRL 3

#define MSI_BASE 0xfee00000ull
#define MSI_REMAPPABLE (1u << 4)
#define VECTOR_FIRST 0x30u
#define VECTORS 0xc0u	   /* per destination */
#define DEST_SHIFT 12	   /* 8 bits; more of them above bit 32 */
#define DEST_HIGH_SHIFT 40 /* extended destinations */
#define INDEX_LOW_MASK 0x7fffu
#define INDEX_LOW_SHIFT 5
#define INDEX_HIGH_SHIFT 2

#define OWNER_MAX 48

struct slot {
	pthread_mutex_t lock;
	bool used; /* also under the domain's lock when it changes */
	struct ims_irq irq;
	char owner[OWNER_MAX];
};

struct ims {
	struct ims_config config;
	pthread_mutex_t lock; /* which are free */
	unsigned used, next;
	struct slot *slots;
	_Atomic uint32_t *mem; /* the device's memory; written under the slot's lock */
	_Atomic uint64_t delivered, held, pasid, bad;
};

/* ---- the array ---- */

static uint32_t mem_read(struct ims *ims, unsigned word)
{
	uint32_t value = atomic_load(&ims->mem[word]);

	if (ims->config.trace)
		ims->config.trace(ims->config.trace_arg, false, word * 4, value);
	return value;
}

static void mem_write(struct ims *ims, unsigned word, uint32_t value)
{
	atomic_store(&ims->mem[word], value);
	if (ims->config.trace)
		ims->config.trace(ims->config.trace_arg, true, word * 4, value);
}

static void write_ctrl(struct ims *ims, unsigned slot, uint32_t ctrl)
{
	mem_write(ims, slot * WORDS + WORD_CTRL, ctrl);
	(void)mem_read(ims, slot * WORDS + WORD_CTRL); /* a posted write has arrived then */
}

static uint32_t read_ctrl(struct ims *ims, unsigned slot)
{
	return atomic_load(&ims->mem[slot * WORDS + WORD_CTRL]);
}

static void write_message(struct ims *ims, unsigned slot, uint64_t addr, uint32_t data)
{
	mem_write(ims, slot * WORDS, (uint32_t)addr);
	mem_write(ims, slot * WORDS + 1, (uint32_t)(addr >> 32));
	mem_write(ims, slot * WORDS + WORD_DATA, data);
}

static struct ims_slot read_slot(struct ims *ims, unsigned slot)
{
	const _Atomic uint32_t *w = &ims->mem[slot * WORDS];

	return (struct ims_slot){
		.addr = atomic_load(&w[0]) | (uint64_t)atomic_load(&w[1]) << 32,
		.data = atomic_load(&w[WORD_DATA]),
		.ctrl = atomic_load(&w[WORD_CTRL]),
	};
}

/* ---- messages ---- */

static void compose(const struct ims *ims, unsigned index, uint64_t *addr, uint32_t *data)
{
	unsigned dest = index / VECTORS;

	if (ims->config.remap) {
		*addr = MSI_BASE | MSI_REMAPPABLE | (index & INDEX_LOW_MASK) << INDEX_LOW_SHIFT |
			(index >> 15) << INDEX_HIGH_SHIFT;
		*data = 0;
		return;
	}
	*addr = MSI_BASE | (dest & 0xff) << DEST_SHIFT | (uint64_t)(dest >> 8) << DEST_HIGH_SHIFT;
	*data = VECTOR_FIRST + index % VECTORS;
}

/* Does what lies in the slot lead to the slot's own interrupt? */
static bool message_is_ours(const struct ims *ims, unsigned slot, const struct ims_slot *s)
{
	uint64_t addr;
	uint32_t data;

	compose(ims, slot, &addr, &data);
	return s->addr == addr && s->data == data;
}

/* ---- life ---- */

static void reset_slot(struct ims *ims, unsigned slot)
{
	write_message(ims, slot, 0, 0);
	write_ctrl(ims, slot, IMS_CTRL_MASK);
}

int ims_new(const struct ims_config *config, struct ims **out)
{
	struct ims *ims;

	if (!config->slots || config->slots > IMS_SLOTS_MAX)
		return -EINVAL;
	ims = calloc(1, sizeof(*ims));
	if (!ims)
		return -ENOMEM;
	ims->config = *config;
	ims->slots = calloc(config->slots, sizeof(*ims->slots));
	ims->mem = calloc(config->slots, IMS_SLOT_BYTES);
	if (!ims->slots || !ims->mem) {
		free(ims->slots);
		free(ims->mem);
		free(ims);
		return -ENOMEM;
	}
	pthread_mutex_init(&ims->lock, NULL);
	ims->next = 1 % config->slots; /* handle 0 is what a careless driver names: the last one */
	for (unsigned i = 0; i < config->slots; i++) {
		pthread_mutex_init(&ims->slots[i].lock, NULL);
		reset_slot(ims, i);
	}
	*out = ims;
	return 0;
}

void ims_free(struct ims *ims)
{
	if (!ims)
		return;
	for (unsigned i = 0; i < ims->config.slots; i++)
		pthread_mutex_destroy(&ims->slots[i].lock);
	pthread_mutex_destroy(&ims->lock);
	free(ims->slots);
	free(ims->mem);
	free(ims);
}

unsigned ims_slots(const struct ims *ims)
{
	return ims->config.slots;
}

bool ims_remaps(const struct ims *ims)
{
	return ims->config.remap;
}

unsigned ims_used(struct ims *ims)
{
	unsigned used;

	pthread_mutex_lock(&ims->lock);
	used = ims->used;
	pthread_mutex_unlock(&ims->lock);
	return used;
}

/* Under the domain's lock: the next free one, which there is. */
static unsigned take_next(struct ims *ims)
{
	unsigned at;

	while (ims->slots[ims->next].used)
		ims->next = (ims->next + 1) % ims->config.slots;
	at = ims->next;
	ims->next = (at + 1) % ims->config.slots;
	ims->used++;
	return at;
}

static void set_up(struct ims *ims, unsigned at, const struct ims_irq *irq)
{
	struct slot *slot = &ims->slots[at];
	uint64_t addr;
	uint32_t data;

	compose(ims, at, &addr, &data);
	pthread_mutex_lock(&slot->lock);
	slot->used = true;
	slot->irq = *irq;
	snprintf(slot->owner, sizeof(slot->owner), "%s", irq->owner ? irq->owner : "");
	slot->irq.owner = slot->owner;
	reset_slot(ims, at);
	write_message(ims, at, addr, data);
	pthread_mutex_unlock(&slot->lock);
}

int ims_alloc_many(struct ims *ims, const struct ims_irq *irqs, unsigned n, unsigned *slots)
{
	int r = 0;

	for (unsigned i = 0; i < n; i++) {
		if (!irqs[i].fire)
			return -EINVAL;
	}
	pthread_mutex_lock(&ims->lock);
	if (n > ims->config.slots - ims->used)
		r = -ENOSPC;
	for (unsigned i = 0; !r && i < n; i++) {
		slots[i] = take_next(ims);
		set_up(ims, slots[i], &irqs[i]);
	}
	pthread_mutex_unlock(&ims->lock);
	return r;
}

int ims_alloc(struct ims *ims, const struct ims_irq *irq, unsigned *slot)
{
	return ims_alloc_many(ims, irq, 1, slot);
}

/* The slot, locked; NULL when it is not allocated. */
static struct slot *lock_slot(struct ims *ims, unsigned at)
{
	struct slot *slot;

	if (at >= ims->config.slots)
		return NULL;
	slot = &ims->slots[at];
	pthread_mutex_lock(&slot->lock);
	if (slot->used)
		return slot;
	pthread_mutex_unlock(&slot->lock);
	return NULL;
}

int ims_release(struct ims *ims, unsigned at)
{
	struct slot *slot;

	pthread_mutex_lock(&ims->lock);
	slot = lock_slot(ims, at);
	if (slot) {
		slot->used = false;
		memset(&slot->irq, 0, sizeof(slot->irq));
		slot->owner[0] = '\0';
		reset_slot(ims, at);
		pthread_mutex_unlock(&slot->lock);
		ims->used--;
	}
	pthread_mutex_unlock(&ims->lock);
	return slot ? 0 : -ENOENT;
}

/* ---- control ---- */

static int set_pasid_bits(struct ims *ims, unsigned at, uint32_t bits)
{
	struct slot *slot = lock_slot(ims, at);

	if (!slot)
		return -ENOENT;
	write_ctrl(ims, at, (read_ctrl(ims, at) & (IMS_CTRL_MASK | IMS_CTRL_PENDING)) | bits);
	pthread_mutex_unlock(&slot->lock);
	return 0;
}

int ims_set_pasid(struct ims *ims, unsigned at, uint32_t pasid)
{
	if (pasid > IMS_PASID_MAX)
		return -EINVAL;
	return set_pasid_bits(ims, at, IMS_CTRL_PASID_EN | pasid << IMS_CTRL_PASID_SHIFT);
}

int ims_clear_pasid(struct ims *ims, unsigned at)
{
	return set_pasid_bits(ims, at, ims->config.need_pasid ? IMS_CTRL_MASK : 0);
}

int ims_mask(struct ims *ims, unsigned at)
{
	struct slot *slot = lock_slot(ims, at);

	if (!slot)
		return -ENOENT;
	write_ctrl(ims, at, read_ctrl(ims, at) | IMS_CTRL_MASK);
	pthread_mutex_unlock(&slot->lock);
	return 0;
}

/* Under the slot's lock. */
static int deliver(struct ims *ims, struct slot *slot, unsigned at)
{
	struct ims_slot s = read_slot(ims, at);

	if (!message_is_ours(ims, at, &s)) {
		atomic_fetch_add(&ims->bad, 1);
		return -EIO;
	}
	atomic_fetch_add(&ims->delivered, 1);
	slot->irq.fire(slot->irq.arg, slot->irq.vector);
	return 0;
}

int ims_unmask(struct ims *ims, unsigned at)
{
	struct slot *slot = lock_slot(ims, at);
	uint32_t ctrl;
	int r = 0;

	if (!slot)
		return -ENOENT;
	ctrl = read_ctrl(ims, at);
	if (ims->config.need_pasid && !(ctrl & IMS_CTRL_PASID_EN)) {
		r = -EINVAL;
	} else {
		write_ctrl(ims, at, ctrl & ~(IMS_CTRL_MASK | IMS_CTRL_PENDING));
		if (ctrl & IMS_CTRL_PENDING)
			deliver(ims, slot, at);
	}
	pthread_mutex_unlock(&slot->lock);
	return r;
}

static int send_locked(struct ims *ims, struct slot *slot, unsigned at, uint32_t pasid)
{
	uint32_t ctrl = read_ctrl(ims, at);

	if (ctrl & IMS_CTRL_PASID_EN && ctrl >> IMS_CTRL_PASID_SHIFT != pasid) {
		atomic_fetch_add(&ims->pasid, 1);
		return -EPERM;
	}
	if (!(ctrl & IMS_CTRL_MASK))
		return deliver(ims, slot, at);
	atomic_fetch_add(&ims->held, 1);
	mem_write(ims, at * WORDS + WORD_CTRL, ctrl | IMS_CTRL_PENDING);
	return 0;
}

int ims_send(struct ims *ims, unsigned at, uint32_t pasid)
{
	struct slot *slot = lock_slot(ims, at);
	int r;

	if (!slot) {
		atomic_fetch_add(&ims->bad, 1);
		return -ENOENT;
	}
	r = send_locked(ims, slot, at, pasid);
	pthread_mutex_unlock(&slot->lock);
	return r;
}

/* ---- the host's view ---- */

bool ims_look(struct ims *ims, unsigned at, struct ims_slot *out, char *owner, unsigned size)
{
	struct slot *slot;
	bool used;

	if (at >= ims->config.slots) {
		memset(out, 0, sizeof(*out));
		return false;
	}
	slot = &ims->slots[at];
	pthread_mutex_lock(&slot->lock);
	*out = read_slot(ims, at);
	used = slot->used;
	if (owner)
		snprintf(owner, size, "%s", slot->owner);
	pthread_mutex_unlock(&slot->lock);
	return used;
}

int ims_poke(struct ims *ims, uint32_t off, uint32_t value)
{
	unsigned at = off / IMS_SLOT_BYTES;

	if (off % 4 || at >= ims->config.slots)
		return -EINVAL;
	pthread_mutex_lock(&ims->slots[at].lock);
	mem_write(ims, off / 4, value);
	pthread_mutex_unlock(&ims->slots[at].lock);
	return 0;
}

void ims_get_stats(struct ims *ims, struct ims_stats *stats)
{
	*stats = (struct ims_stats){
		.delivered = atomic_load(&ims->delivered),
		.held = atomic_load(&ims->held),
		.pasid = atomic_load(&ims->pasid),
		.bad = atomic_load(&ims->bad),
	};
}
