// SPDX-License-Identifier: BSD-3-Clause
/*
 * Copies, checks and repairs with a DSA that is a library: what a program for the hardware does,
 * with submission and completion records as there. Then the same with memory that is missing in
 * part, and a copy that goes on where the fault was. Exit status 0 when all of it worked.
 */
#include <linux/idxd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <uvdpa/dsa.h>

#define PAGE 4096u
#define SIZE (64 * PAGE)
#define RECORD (IDXD_OP_FLAG_CRAV | IDXD_OP_FLAG_RCR)

static uint8_t from[SIZE] __attribute__((aligned(4096)));
static uint8_t to[SIZE] __attribute__((aligned(4096)));
static struct dsa_completion_record record __attribute__((aligned(4096)));
static struct dsa_completion_record records[3] __attribute__((aligned(32)));

static void check(int good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "failed: %s\n", what);
	exit(1);
}

static uint8_t run(struct dsa_portal *portal, struct dsa_hw_desc *desc)
{
	record.status = 0;
	desc->completion_addr = (uintptr_t)&record;
	desc->flags |= RECORD;
	check(!dsa_portal_submit(portal, desc, NULL), "submit");
	return dsa_portal_wait((const void *)&record, -1);
}

static struct dsa_hw_desc move(uint8_t *dst, const uint8_t *src, uint32_t size)
{
	return (struct dsa_hw_desc){
		.opcode = DSA_OPCODE_MEMMOVE,
		.src_addr = (uintptr_t)src,
		.dst_addr = (uintptr_t)dst,
		.xfer_size = size,
	};
}

static void copy_and_checksum(struct dsa_portal *portal)
{
	struct dsa_hw_desc copy = move(to, from, SIZE);
	struct dsa_hw_desc crc = {
		.opcode = DSA_OPCODE_CRCGEN,
		.src_addr = (uintptr_t) "123456789",
		.xfer_size = 9,
	};

	check(run(portal, &copy) == DSA_COMP_SUCCESS, "copy");
	check(!memcmp(to, from, SIZE), "the copy is the original");
	check(run(portal, &crc) == DSA_COMP_SUCCESS, "checksum");
	check(record.crc_val == 0xe3069283, "the checksum's value");
}

/* One submission: what differs goes into a record, which, after a fence, is applied. */
static void repair_in_a_batch(struct dsa_portal *portal)
{
	static uint8_t delta[800] __attribute__((aligned(64)));
	struct dsa_hw_desc list[3] __attribute__((aligned(64))) = {
		{.opcode = DSA_OPCODE_CR_DELTA,
		 .src_addr = (uintptr_t)to,
		 .src2_addr = (uintptr_t)from,
		 .xfer_size = SIZE,
		 .delta_addr = (uintptr_t)delta,
		 .max_delta_size = sizeof(delta)},
		{.opcode = DSA_OPCODE_AP_DELTA,
		 .src_addr = (uintptr_t)delta,
		 .dst_addr = (uintptr_t)to,
		 .xfer_size = SIZE,
		 .delta_rec_size = 20},
		{.opcode = DSA_OPCODE_COMPARE,
		 .src_addr = (uintptr_t)from,
		 .src2_addr = (uintptr_t)to,
		 .xfer_size = SIZE},
	};
	struct dsa_hw_desc batch = {
		.opcode = DSA_OPCODE_BATCH,
		.desc_list_addr = (uintptr_t)list,
		.desc_count = 3,
	};

	to[100] ^= 1;
	to[SIZE - 1] ^= 1;
	for (unsigned i = 0; i < 3; i++) {
		list[i].flags = RECORD | (i ? IDXD_OP_FLAG_FENCE : 0);
		list[i].completion_addr = (uintptr_t)&records[i];
	}
	check(run(portal, &batch) == DSA_COMP_SUCCESS, "batch");
	check(records[0].result == 1 && records[0].delta_rec_size == 20, "two words differ");
	check(records[2].result == 0, "none does any more");
}

static void go_on_after_a_fault(struct dsa_portal *portal)
{
	struct dsa_hw_desc copy = move(to, from, SIZE);

	memset(to, 0, SIZE);
	dsa_portal_map(portal, &record, PAGE, PROT_READ | PROT_WRITE);
	dsa_portal_map(portal, from, SIZE, PROT_READ);
	dsa_portal_map(portal, to, 10 * PAGE, PROT_READ | PROT_WRITE);
	check(run(portal, &copy) == (DSA_COMP_PAGE_FAULT_NOBOF | DSA_COMP_STATUS_WRITE), "fault");
	check(record.bytes_completed == 10 * PAGE, "ten pages were copied");
	check(record.fault_addr == (uintptr_t)to + 10 * PAGE, "where it was");
	dsa_portal_map(portal, to + 10 * PAGE, SIZE - 10 * PAGE, PROT_READ | PROT_WRITE);
	copy = move(to + 10 * PAGE, from + 10 * PAGE, SIZE - 10 * PAGE);
	check(run(portal, &copy) == DSA_COMP_SUCCESS, "the rest");
	check(!memcmp(to, from, SIZE), "all was copied");
}

int main(void)
{
	struct dsa_portal_params params = {.size = sizeof(params), .mapped = true};
	struct vdpa_error err = {.msg = ""};
	struct dsa_portal *portal;

	for (unsigned i = 0; i < SIZE; i++)
		from[i] = (uint8_t)(i * 7 + i / 251);
	if (dsa_portal_new(NULL, &portal, &err)) {
		fprintf(stderr, "%s\n", err.msg);
		return 1;
	}
	copy_and_checksum(portal);
	repair_in_a_batch(portal);
	dsa_portal_free(portal);
	if (dsa_portal_new(&params, &portal, &err)) {
		fprintf(stderr, "%s\n", err.msg);
		return 1;
	}
	go_on_after_a_fault(portal);
	dsa_portal_free(portal);
	printf("copied, checked, repaired, resumed\n");
	return 0;
}
