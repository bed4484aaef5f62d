// SPDX-License-Identifier: BSD-3-Clause
#include "dsa_guest.h"

#include <fcntl.h>
#include <linux/pci_regs.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

struct dsa dsa;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static time_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

static void not_for_ever(time_t since, const char *what)
{
	if (now() - since < TIMEOUT_S)
		return;
	fprintf(stderr, "%s: no %s\n", dsa.dir, what);
	exit(1);
}

static int open_in(const char *name)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dsa.dir, name);
	fd = open(path, O_RDWR | O_SYNC);
	if (fd < 0)
		die(path);
	return fd;
}

static volatile void *map_bar(const char *name, size_t size)
{
	int fd = open_in(name);
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		die(name);
	close(fd);
	return p;
}

static uint64_t phys_of(const void *p)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	uint64_t entry;

	if (fd < 0 || pread(fd, &entry, 8, (off_t)((uintptr_t)p / 4096 * 8)) != 8)
		die("pagemap");
	close(fd);
	return (entry & ((1ull << 55) - 1)) * 4096;
}

void dsa_set_bus_master(bool on)
{
	uint16_t cmd = PCI_COMMAND_MEMORY | (on ? PCI_COMMAND_MASTER : 0);

	if (pwrite(dsa.config, &cmd, 2, PCI_COMMAND) != 2)
		die("config");
}

void dsa_open(const char *dir)
{
	dsa.dir = dir;
	dsa.config = open_in("config");
	dsa_set_bus_master(true);
	dsa.regs = map_bar("resource0", DSA_BAR0_BYTES);
	dsa.portal = map_bar("resource2", 2 * DSA_PORTAL_BYTES);
	dsa.mem = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_POPULATE, -1, 0);
	if (dsa.mem == MAP_FAILED)
		die("huge page");
	dsa.phys = phys_of(dsa.mem);
	CHECK_EQ(dsa.phys % MEMORY, 0);
}

uint32_t reg(unsigned off)
{
	return dsa.regs[off / 4];
}

void set_reg(unsigned off, uint32_t value)
{
	dsa.regs[off / 4] = value;
}

uint32_t command(enum dsa_cmd cmd, uint32_t operand)
{
	time_t since = now();
	uint32_t sts;

	set_reg(DSA_CMD, (uint32_t)cmd << DSA_CMD_SHIFT | operand);
	while ((sts = reg(DSA_CMDSTS)) & DSA_CMDSTS_ACTIVE)
		not_for_ever(since, "end of a command");
	return sts;
}

void dsa_enable(void)
{
	uint32_t sts;

	CHECK_EQ(command(DSA_CMD_ENABLE_DEVICE, 0), 0);
	CHECK_EQ(command(DSA_CMD_ENABLE_WQ, 0), 0);
	sts = command(DSA_CMD_REQUEST_INT_HANDLE, 1);
	CHECK_EQ(sts & 0xff, 0);
	dsa.handle = (uint16_t)(sts >> DSA_CMDSTS_RESULT_SHIFT);
	set_reg(DSA_GENCTRL, DSA_GENCTRL_SOFTERR | DSA_GENCTRL_HALT);
	set_reg(DSA_INTCAUSE, DSA_INTCAUSE_ALL);
}

/* By pieces, the first one last: a portal that is memory takes it for the sign that all are there.
 */
void submit(const uint8_t *desc)
{
	volatile uint64_t *to = dsa.portal + (size_t)dsa.slot * 8;
	time_t since = now();
	uint64_t pieces[8];

	memcpy(pieces, desc, sizeof(pieces));
	dsa.slot = (dsa.slot + 1) % (2 * DSA_PORTAL_BYTES / DESC_BYTES);
	/* Of one that traps this is 0. */
	while (to[0])
		not_for_ever(since, "room in the portal");
	for (unsigned i = 1; i < 8; i++)
		to[i] = pieces[i];
	__sync_synchronize();
	to[0] = pieces[0];
	__sync_synchronize();
}

void drain(void)
{
	CHECK_EQ(command(DSA_CMD_DRAIN_WQ, 1), 0);
	__sync_synchronize();
}

uint8_t wait_record(uint64_t off)
{
	time_t since = now();
	uint8_t status;

	while (!(status = __atomic_load_n(dsa.mem + off, __ATOMIC_ACQUIRE)))
		not_for_ever(since, "completion record");
	return status;
}

bool take_error(void)
{
	uint32_t w[6];

	for (unsigned i = 0; i < 6; i++)
		w[i] = reg(DSA_SWERR + 4 * i);
	if (!(w[0] & DSA_SWERR_VALID))
		return false;
	dsa.error = (struct dsa_error){
		.status = (uint8_t)((w[0] >> DSA_SWERR_ERROR_SHIFT & 0x7f) |
				    (w[0] & DSA_SWERR_WRITE ? 0x80 : 0)),
		.op = (uint8_t)w[1],
		.pasid = w[1] >> DSA_SWERR_PASID_SHIFT,
		.priv = w[0] & DSA_SWERR_PRIV,
		.batch = w[0] & DSA_SWERR_BATCH,
		.batch_index = (uint16_t)w[2],
		.invalid_flags = w[3],
		.fault_addr = w[4] | (uint64_t)w[5] << 32,
	};
	dsa.overflow = w[0] & DSA_SWERR_OVERFLOW;
	dsa.has_desc = w[0] & DSA_SWERR_DESC_VALID;
	CHECK_EQ(w[0] & DSA_SWERR_WQ_VALID, DSA_SWERR_WQ_VALID);
	CHECK_EQ(w[0] >> DSA_SWERR_WQ_SHIFT & 0xff, 0);
	CHECK_EQ(reg(DSA_INTCAUSE) & DSA_INTCAUSE_ERR, DSA_INTCAUSE_ERR);
	set_reg(DSA_SWERR, DSA_SWERR_VALID | DSA_SWERR_OVERFLOW);
	set_reg(DSA_INTCAUSE, DSA_INTCAUSE_ERR);
	CHECK_EQ(reg(DSA_SWERR) & (DSA_SWERR_VALID | DSA_SWERR_OVERFLOW), 0);
	CHECK_EQ(reg(DSA_INTCAUSE) & DSA_INTCAUSE_ERR, 0);
	return true;
}
