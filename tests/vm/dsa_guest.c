// SPDX-License-Identifier: BSD-3-Clause
/*
 * A guest's program for a DSA that no driver is bound to: commands, every operation, and every
 * status that can occur here, of a device which is given by its directory in sysfs.
 *
 *	dsa_guest DIR work [N]	all of it, N random descriptors, and leave it enabled
 *	dsa_guest DIR halted TYPE	it was halted, and wants a reset of this type
 *
 * What is expected stands here in numbers, or comes from the naive reference.
 */
#include "dsa_guest.h"
#include "ref.h"

#include <fcntl.h>
#include <unistd.h>

/* Where things are in the memory, behind what random descriptors use. */
#define SRC 0x100000u
#define DST 0x110000u
#define THIRD 0x120000u
#define LIST 0x130000u
#define SAVED 0x140000u
#define CHILD 0x150000u /* records of a batch's descriptors */
#define RECORD 0x160000u

static const uint8_t digits[] = "123456789";

static uint8_t d[DESC_BYTES];

static uint8_t *at(uint64_t off)
{
	return dsa.mem + off;
}

static void fill_random(uint64_t off, size_t len)
{
	uint64_t seed = off + 1;

	for (size_t i = 0; i < len; i++)
		*at(off + i) = (uint8_t)rng(&seed);
}

static bool blocks(void)
{
	return reg(DSA_GENCAP) & DSA_GENCAP_BOF;
}

/* ---- one descriptor ---- */

static void make(uint8_t op, uint64_t src, uint64_t dst, uint32_t size)
{
	struct desc desc = {op, CRAV_RCR, addr(RECORD), src, dst, size, 0};

	desc_make(d, &desc);
}

static void make_move(void)
{
	make(DSA_OPCODE_MEMMOVE, addr(SRC), addr(DST), 4096);
}

static void add_flags(uint32_t flags)
{
	put32(d + 4, get32(d + 4) | flags);
}

/* Its status, out of its record; 0xee: none was written. */
static uint8_t run(void)
{
	memset(at(RECORD), 0xee, 64);
	submit(d);
	drain();
	return *at(RECORD);
}

static uint32_t completed(void)
{
	return get32(at(RECORD) + 4);
}

static uint64_t fault_addr(void)
{
	return get64(at(RECORD) + 8);
}

static void copy(uint64_t src, uint64_t dst, uint32_t size)
{
	make(DSA_OPCODE_MEMMOVE, src, dst, size);
	CHECK_EQ(run(), DSA_COMP_SUCCESS);
}

/* ---- commands ---- */

static void before_it_is_enabled(void)
{
	const uint32_t wq_cmds[] = {DSA_CMD_DISABLE_WQ, DSA_CMD_DRAIN_WQ, DSA_CMD_ABORT_WQ,
				    DSA_CMD_RESET_WQ};

	CHECK_EQ(command(DSA_CMD_RESET_DEVICE, 0), 0);
	CHECK_EQ(reg(DSA_GENSTS), DSA_DISABLED);
	for (unsigned i = 0; i < ARRAY_SIZE(wq_cmds); i++)
		CHECK_EQ(command(wq_cmds[i], 1), DSA_CMDSTS_DEV_NOT_EN);
	CHECK_EQ(command(DSA_CMD_DRAIN_ALL, 0), DSA_CMDSTS_DEV_NOT_EN);
	CHECK_EQ(command(DSA_CMD_ABORT_ALL, 0), DSA_CMDSTS_DEV_NOT_EN);
	CHECK_EQ(command(DSA_CMD_DISABLE_DEVICE, 0), DSA_CMDSTS_DIS_DEV_EN);
	CHECK_EQ(command(DSA_CMD_ENABLE_WQ, 0), DSA_CMDSTS_DEV_NOTEN);
	CHECK_EQ(command(0, 0), DSA_CMDSTS_INVAL_CMD);
	CHECK_EQ(command(31, 0), DSA_CMDSTS_INVAL_CMD);
	dsa_set_bus_master(false);
	CHECK_EQ(command(DSA_CMD_ENABLE_DEVICE, 0), DSA_CMDSTS_BUSMASTER);
	dsa_set_bus_master(true);
}

static void while_it_is_enabled(void)
{
	CHECK_EQ(reg(DSA_GENSTS), DSA_ENABLED);
	CHECK_EQ(command(DSA_CMD_ENABLE_DEVICE, 0), DSA_CMDSTS_DEV_ENABLED);
	CHECK_EQ(command(DSA_CMD_ENABLE_WQ, 0), DSA_CMDSTS_WQ_ENABLED);
	CHECK_EQ(command(DSA_CMD_ENABLE_WQ, 1), DSA_CMDSTS_INVAL_WQIDX);
	CHECK_EQ(command(DSA_CMD_DRAIN_WQ, 2), DSA_CMDSTS_INVAL_WQIDX);
	CHECK_EQ(command(DSA_CMD_REQUEST_INT_HANDLE, 99), DSA_CMDSTS_INVAL_INT_IDX);
	CHECK_EQ(command(DSA_CMD_RELEASE_INT_HANDLE, dsa.handle ^ 0x8000),
		 DSA_CMDSTS_INVAL_INT_IDX);
	CHECK_EQ(command(DSA_CMD_DRAIN_ALL, 0), 0);
	CHECK_EQ(command(DSA_CMD_DRAIN_PASID, 0), 0);
	/* Whoever asks to be told when one is complete is. */
	CHECK_EQ(reg(DSA_INTCAUSE), 0);
	CHECK_EQ(command(DSA_CMD_DRAIN_ALL + (DSA_CMD_INT >> DSA_CMD_SHIFT), 0), 0);
	CHECK_EQ(reg(DSA_INTCAUSE), DSA_INTCAUSE_CMD);
	set_reg(DSA_INTCAUSE, DSA_INTCAUSE_CMD);
	CHECK_EQ(reg(DSA_INTCAUSE), 0);
}

/* ---- known answers ---- */

static void check_values(void)
{
	CHECK_EQ(ref_crc16(0, digits, 9), 0xd0db);
	memcpy(at(SRC), digits, 9);
	make(DSA_OPCODE_CRCGEN, addr(SRC), 0, 9);
	CHECK_EQ(run(), DSA_COMP_SUCCESS);
	CHECK_EQ(get32(at(RECORD) + 16), 0xe3069283);
	/* Zeros before the digits are nothing to this one. */
	memset(at(SRC), 0, 512);
	memcpy(at(SRC) + 503, digits, 9);
	make(DSA_OPCODE_DIF_INS, addr(SRC), addr(DST), 512);
	CHECK_EQ(run(), DSA_COMP_SUCCESS);
	CHECK_EQ(*at(DST + 512) << 8 | *at(DST + 513), 0xd0db);
}

/* ---- each status, from a descriptor that is right but for one thing ---- */

static void wrong_values(void)
{
	make(DSA_OPCODE_COMPVAL, addr(SRC), 0, 8);
	put64(at(SRC), 1);
	add_flags(IDXD_OP_FLAG_CR);
	CHECK_EQ(run(), DSA_COMP_SUCCESS_PRED);
	make(DSA_OPCODE_DIF_CHECK, addr(SRC), 0, 520);
	memset(at(SRC), 0, 520);
	*at(SRC) = 1;
	CHECK_EQ(run(), DSA_COMP_DIF_ERR);
	CHECK_EQ(*at(RECORD + 1), DSA_DIF_BAD_GUARD);
	make(DSA_OPCODE_AP_DELTA, addr(SRC), addr(DST), 80);
	put32(d + 40, 20);
	put16(at(SRC), 3);
	put16(at(SRC) + 10, 3);
	CHECK_EQ(run(), DSA_COMP_DR_OFFSET_NOINC);
	put16(at(SRC) + 10, 10);
	CHECK_EQ(run(), DSA_COMP_DR_OFFSET_ERANGE);
}

static void wrong_descriptors(void)
{
	const struct {
		uint8_t status, op;
		uint32_t flags, src, dst, size;
		unsigned off; /* a byte that is @value */
		uint8_t value;
	} rows[] = {
		{0x10, 0x33, 0, SRC, DST, 8, 0, 0},
		{0x11, DSA_OPCODE_MEMMOVE, 1u << 14, SRC, DST, 8, 0, 0},
		{0x11, DSA_OPCODE_MEMMOVE, IDXD_OP_FLAG_FENCE, SRC, DST, 8, 0, 0},
		{0x12, DSA_OPCODE_MEMMOVE, 0, SRC, DST, 8, 40, 1},
		{0x13, DSA_OPCODE_MEMMOVE, 0, SRC, DST, 0, 0, 0},
		{0x13, DSA_OPCODE_MEMMOVE, 0, SRC, DST, 65537, 0, 0},
		{0x15, DSA_OPCODE_CR_DELTA, 0, SRC, DST, 64, 48, 70},
		{0x16, DSA_OPCODE_COPY_CRC, 0, SRC, SRC + 7, 8, 0, 0},
		{0x19, DSA_OPCODE_MEMMOVE, IDXD_OP_FLAG_RCI, SRC, DST, 8, 37, 0x7f},
		{0x1c, DSA_OPCODE_CR_DELTA, 0, SRC + 4, DST, 64, 48, 80},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		make(rows[i].op, addr(rows[i].src), addr(rows[i].dst), rows[i].size);
		add_flags(rows[i].flags);
		d[rows[i].off] |= rows[i].value;
		CHECK_EQ(run(), rows[i].status);
	}
	make(DSA_OPCODE_BATCH, addr(LIST), 0, 1);
	CHECK_EQ(run(), DSA_COMP_DESC_CNT_ERANGE);
	make(DSA_OPCODE_BATCH, addr(LIST + 32), 0, 2);
	CHECK_EQ(run(), DSA_COMP_DESCLIST_ALIGN);
	make(DSA_OPCODE_DUALCAST, addr(SRC), addr(DST), 8);
	put64(d + 40, addr(THIRD + 1));
	CHECK_EQ(run(), DSA_COMP_DCAST_ERR);
	CHECK_EQ(take_error(), false);
}

/* What no record can tell. */
static void errors_without_a_record(void)
{
	make_move();
	put64(d + 8, addr(RECORD + 16));
	CHECK_EQ(run(), 0xee);
	CHECK_EQ(take_error(), true);
	CHECK_EQ(dsa.error.status, DSA_COMP_CRA_ALIGN);
	make_move();
	put64(d + 8, HOLE);
	CHECK_EQ(run(), 0xee);
	CHECK_EQ(take_error(), true);
	CHECK_EQ(dsa.error.status, DSA_COMP_CRA_XLAT | DSA_COMP_STATUS_WRITE);
	CHECK_EQ(dsa.error.fault_addr, HOLE);
	CHECK_EQ(dsa.overflow, false);
	/* The first is kept. */
	make(0x33, 0, 0, 0);
	put32(d + 4, 0x33u << 24);
	submit(d);
	drain();
	make_move();
	put64(d + 8, HOLE);
	submit(d);
	drain();
	CHECK_EQ(take_error(), true);
	CHECK_EQ(dsa.overflow, true);
	CHECK_EQ(dsa.error.status, DSA_COMP_BAD_OPCODE);
	CHECK_EQ(dsa.error.op, 0x33);
	CHECK_EQ(dsa.error.pasid, 0);
}

/* ---- page faults ---- */

static void source_ends(void)
{
	memset(at(DST), 0x55, 8192);
	copy(HOLE - 4096, addr(THIRD), 4096);
	make(DSA_OPCODE_MEMMOVE, HOLE - 4096, addr(DST), 8192);
	CHECK_EQ(run(), DSA_COMP_PAGE_FAULT_NOBOF);
	CHECK_EQ(completed(), 4096);
	CHECK_EQ(fault_addr(), HOLE);
	CHECK_EQ(memcmp(at(DST), at(THIRD), 4096), 0);
	for (unsigned i = 4096; i < 8192; i++)
		CHECK_EQ(*at(DST + i), 0x55);
}

/* What is before the hole is the firmware's: it gets back what it had. */
static void destination_ends(void)
{
	copy(HOLE - 256, addr(SAVED), 256);
	make(DSA_OPCODE_MEMFILL, 0x0807060504030201ull, HOLE - 256, 512);
	CHECK_EQ(run(), DSA_COMP_PAGE_FAULT_NOBOF | DSA_COMP_STATUS_WRITE);
	CHECK_EQ(completed(), 256);
	CHECK_EQ(fault_addr(), HOLE);
	copy(HOLE - 256, addr(DST), 256);
	for (unsigned i = 0; i < 256; i++)
		CHECK_EQ(*at(DST + i), i % 8 + 1);
	copy(addr(SAVED), HOLE - 256, 256);
}

static void put_child(unsigned i, uint8_t op, uint32_t flags, uint32_t size)
{
	struct desc child = {op,
			     CRAV_RCR | flags,
			     addr(CHILD + 32 * i),
			     addr(SRC + 64 * i),
			     addr(DST + 64 * i),
			     size,
			     0};

	desc_make(at(LIST + DESC_BYTES * i), &child);
	memset(at(CHILD + 32 * i), 0, 32);
}

static void list_ends(void)
{
	fill_random(SRC, 256);
	put_child(0, DSA_OPCODE_MEMMOVE, 0, 64);
	put_child(1, DSA_OPCODE_MEMMOVE, 0, 64);
	copy(HOLE - 128, addr(SAVED), 128);
	copy(addr(LIST), HOLE - 128, 128);
	make(DSA_OPCODE_BATCH, HOLE - 128, 0, 3);
	CHECK_EQ(run(), DSA_COMP_BATCH_PAGE_FAULT);
	CHECK_EQ(completed(), 2);
	CHECK_EQ(fault_addr(), HOLE);
	CHECK_EQ(memcmp(at(SRC), at(DST), 128), 0);
	CHECK_EQ(*at(CHILD + 32), DSA_COMP_SUCCESS);
	copy(addr(SAVED), HOLE - 128, 128);
}

/* A hole may be filled some day: what waits for that ends when it is aborted, without a record. */
static void blocked(void)
{
	make(DSA_OPCODE_MEMMOVE, HOLE, addr(DST), 8);
	add_flags(IDXD_OP_FLAG_BOF);
	if (!blocks()) {
		CHECK_EQ(run(), DSA_COMP_INVALID_FLAGS);
		CHECK_EQ(get32(at(RECORD) + 16), IDXD_OP_FLAG_BOF);
		return;
	}
	memset(at(RECORD), 0, 32);
	submit(d);
	CHECK_EQ(command(DSA_CMD_ABORT_WQ, 1), 0);
	CHECK_EQ(*at(RECORD), 0);
	make_move();
	add_flags(IDXD_OP_FLAG_BOF);
	CHECK_EQ(run(), DSA_COMP_SUCCESS);
	CHECK_EQ(take_error(), false);
}

/* ---- batches, and several at a time ---- */

static void fences(void)
{
	fill_random(SRC, 512);
	memset(at(DST), 0, 512);
	put_child(0, DSA_OPCODE_MEMMOVE, 0, 64);
	put_child(1, 0x33, 0, 64);
	put_child(2, DSA_OPCODE_MEMMOVE, 0, 64);
	put_child(3, DSA_OPCODE_MEMMOVE, IDXD_OP_FLAG_FENCE, 64);
	make(DSA_OPCODE_BATCH, addr(LIST), 0, 4);
	CHECK_EQ(run(), DSA_COMP_BATCH_FAIL);
	CHECK_EQ(completed(), 3);
	CHECK_EQ(*at(CHILD + 32), DSA_COMP_BAD_OPCODE);
	CHECK_EQ(memcmp(at(SRC + 128), at(DST + 128), 64), 0);
	CHECK_EQ(*at(CHILD + 96), 0);
	CHECK_EQ(get64(at(DST + 192)), 0);
	/* All is well: the fence is passed. */
	put_child(1, DSA_OPCODE_MEMMOVE, 0, 64);
	CHECK_EQ(run(), DSA_COMP_SUCCESS);
	CHECK_EQ(completed(), 4);
	CHECK_EQ(memcmp(at(SRC), at(DST), 256), 0);
	/* Neither a batch nor a drain is allowed in one. */
	put_child(1, DSA_OPCODE_DRAIN, 0, 0);
	CHECK_EQ(run(), DSA_COMP_BATCH_FAIL);
	CHECK_EQ(*at(CHILD + 32), DSA_COMP_BAD_OPCODE);
}

#define FLIGHT 16u

/* When the drain's record is there, all are that were submitted before it. */
static void several(void)
{
	fill_random(SRC, FLIGHT * 4096);
	memset(at(DST), 0, FLIGHT * 4096);
	memset(at(CHILD), 0, (FLIGHT + 1) * 32);
	for (unsigned i = 0; i <= FLIGHT; i++) {
		if (i < FLIGHT)
			make(DSA_OPCODE_MEMMOVE, addr(SRC + i * 4096), addr(DST + i * 4096), 4096);
		else
			make(DSA_OPCODE_DRAIN, 0, 0, 0);
		put64(d + 8, addr(CHILD + 32 * i));
		submit(d);
	}
	CHECK_EQ(wait_record(CHILD + 32 * FLIGHT), DSA_COMP_SUCCESS);
	for (unsigned i = 0; i < FLIGHT; i++)
		CHECK_EQ(*at(CHILD + 32 * i), DSA_COMP_SUCCESS);
	CHECK_EQ(memcmp(at(SRC), at(DST), FLIGHT * 4096), 0);
}

/* ---- queues that take nothing ---- */

/* A descriptor that nobody takes changes nothing. */
static void refused(void)
{
	make_move();
	memset(at(RECORD), 0, 32);
	submit(d);
	command(DSA_CMD_DRAIN_ALL, 0);
	CHECK_EQ(*at(RECORD), 0);
	CHECK_EQ(take_error(), true);
	CHECK_EQ(dsa.error.status, DSA_SWERR_WQ_NOT_ENABLED);
	CHECK_EQ(dsa.has_desc, false);
}

static void disabled_queue(void)
{
	CHECK_EQ(command(DSA_CMD_DISABLE_WQ, 1), 0);
	refused();
	CHECK_EQ(command(DSA_CMD_ENABLE_WQ, 0), 0);
	copy(addr(SRC), addr(DST), 64);
	CHECK_EQ(command(DSA_CMD_RESET_WQ, 1), 0);
	CHECK_EQ(command(DSA_CMD_ENABLE_WQ, 0), 0);
	CHECK_EQ(command(DSA_CMD_DISABLE_DEVICE, 0), 0);
	CHECK_EQ(reg(DSA_GENSTS), DSA_DISABLED);
	refused();
	CHECK_EQ(command(DSA_CMD_RESET_DEVICE, 0), 0);
	dsa_enable();
	copy(addr(SRC), addr(DST), 64);
}

/* It halts, and says so in its registers only: to tell by itself would be a write. */
static void bus_master_is_taken(void)
{
	dsa_set_bus_master(false);
	CHECK_EQ(reg(DSA_GENSTS), DSA_HALTED);
	CHECK_EQ(reg(DSA_INTCAUSE), 0);
	refused();
	dsa_set_bus_master(true);
	CHECK_EQ(command(DSA_CMD_RESET_DEVICE, 0), 0);
	dsa_enable();
	copy(addr(SRC), addr(DST), 64);
}

/* ---- the whole ---- */

static void work(unsigned n)
{
	before_it_is_enabled();
	dsa_enable();
	while_it_is_enabled();
	check_values();
	wrong_values();
	wrong_descriptors();
	errors_without_a_record();
	source_ends();
	destination_ends();
	list_ends();
	blocked();
	fences();
	several();
	disabled_queue();
	bus_master_is_taken();
	if (n)
		random_descriptors(n);
	CHECK_EQ(take_error(), false);
	CHECK_EQ(reg(DSA_INTCAUSE), 0);
}

static void function_level_reset(void)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/reset", dsa.dir);
	fd = open(path, O_WRONLY);
	if (fd < 0 || write(fd, "1", 1) != 1) {
		perror(path);
		exit(1);
	}
	close(fd);
}

static void halted(enum dsa_reset_type type)
{
	CHECK_EQ(reg(DSA_GENSTS), DSA_HALTED | (uint32_t)type << DSA_GENSTS_RESET_SHIFT);
	CHECK_EQ(reg(DSA_INTCAUSE), DSA_INTCAUSE_HALT);
	refused();
	set_reg(DSA_INTCAUSE, DSA_INTCAUSE_ALL);
	CHECK_EQ(command(DSA_CMD_ENABLE_DEVICE, 0), DSA_CMDSTS_HW_ERR);
	CHECK_EQ(command(DSA_CMD_DISABLE_DEVICE, 0), DSA_CMDSTS_HW_ERR);
	CHECK_EQ(command(DSA_CMD_DRAIN_WQ, 1), DSA_CMDSTS_HW_ERR);
	CHECK_EQ(command(DSA_CMD_ENABLE_WQ, 0), DSA_CMDSTS_HW_ERR);
	if (type == DSA_RESET_FLR) {
		CHECK_EQ(command(DSA_CMD_RESET_DEVICE, 0), DSA_CMDSTS_HW_ERR);
		function_level_reset();
	} else {
		CHECK_EQ(command(DSA_CMD_RESET_DEVICE, 0), 0);
	}
	CHECK_EQ(reg(DSA_GENSTS), DSA_DISABLED);
	dsa_enable();
	check_values();
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	dsa_open(argv[1]);
	if (!strcmp(argv[2], "work"))
		work(argc > 3 ? (unsigned)atoi(argv[3]) : 0);
	else if (argc > 3 && !strcmp(argv[2], "halted"))
		halted(strcmp(argv[3], "flr") ? DSA_RESET_SOFTWARE : DSA_RESET_FLR);
	else
		return 2;
	printf("%s %s: well\n", argv[1], argv[2]);
	return 0;
}
