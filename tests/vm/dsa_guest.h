/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A DSA without a driver, from a guest's user space: its BARs as sysfs has them, its memory one
 * huge page, whose physical address is what the device is told.
 */
#ifndef TESTS_VM_DSA_GUEST_H
#define TESTS_VM_DSA_GUEST_H

#include <stdio.h>
#include <stdlib.h>

#include "bytes.h"
#include "dsa_dev/regs.h"

#define MEMORY (2u << 20)
/* Where the guest's memory ends: nothing is behind it, and firmware's tables are before it. */
#define HOLE (512ull << 20)
#define TIMEOUT_S 60
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

struct dsa {
	const char *dir; /* in sysfs */
	int config;
	volatile uint32_t *regs;
	volatile uint64_t *portal;
	unsigned slot; /* of the next descriptor */
	uint16_t handle;
	uint8_t *mem;
	uint64_t phys;
	/* SWERR, of the last that take_error() found. */
	struct dsa_error error;
	bool overflow, has_desc;
};

extern struct dsa dsa;

#define CHECK_EQ(is, should)                                                                       \
	do {                                                                                       \
		unsigned long long is_ = (is), should_ = (should);                                 \
		if (is_ != should_) {                                                              \
			fprintf(stderr, "%s:%d: %s is %#llx, not %#llx\n", __FILE__, __LINE__,     \
				#is, is_, should_);                                                \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

void dsa_open(const char *dir);
void dsa_set_bus_master(bool on);
uint32_t reg(unsigned off);
void set_reg(unsigned off, uint32_t value);
/* What CMDSTS says in the end. */
uint32_t command(enum dsa_cmd cmd, uint32_t operand);
/* Device, queue, and an interrupt handle. */
void dsa_enable(void);

/* The address that the device knows byte @off of the memory by. */
static inline uint64_t addr(uint64_t off)
{
	return dsa.phys + off;
}

void submit(const uint8_t *desc);
/* Until all that was submitted has ended. */
void drain(void);
/* Until the status byte of a record at @off is not 0. */
uint8_t wait_record(uint64_t off);
/* Whatever SWERR has, and clear it. False: nothing. */
bool take_error(void);

/* dsa_guest_random.c: so many descriptors, against the reference. */
void random_descriptors(unsigned n);

#endif
