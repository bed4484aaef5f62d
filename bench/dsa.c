// SPDX-License-Identifier: BSD-3-Clause
/*
 * The software DSA through its portal in process, beside what it does done directly, in turns, in
 * the same run, on the same buffers.
 *
 *	move-64k, move-1m, move-4k	MEMMOVE beside memcpy(), several in flight
 *	crc-64k				CRCGEN beside isa-l
 *	noop				from submission to completion, one at a time, beside a
 *					memcpy() of 4 KiB
 *
 *	bench-dsa [--quick] [--json FILE]
 */
#include <getopt.h>
#include <isa-l/crc.h>
#include <linux/idxd.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <uvdpa/dsa.h>

#define FLIGHT 8u
#define MAX_BYTES (1u << 20)

struct slot {
	struct dsa_completion_record record __attribute__((aligned(64)));
	uint8_t *from, *to;
};

struct row {
	const char *id, *unit;
	uint8_t op;
	uint32_t bytes;
};

static const struct row rows[] = {
	{"move-64k", "GB/s", DSA_OPCODE_MEMMOVE, 65536},
	{"move-1m", "GB/s", DSA_OPCODE_MEMMOVE, MAX_BYTES},
	{"move-4k", "Mop/s", DSA_OPCODE_MEMMOVE, 4096},
	{"crc-64k", "GB/s", DSA_OPCODE_CRCGEN, 65536},
	{"noop", "ns", DSA_OPCODE_NOOP, 4096},
};

static struct slot slots[FLIGHT];
static struct dsa_portal *portal;
static double seconds = 0.5;
static volatile uint32_t sink;

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void submit(const struct row *row, struct slot *slot)
{
	struct dsa_hw_desc desc = {
		.opcode = row->op,
		.flags = IDXD_OP_FLAG_CRAV | IDXD_OP_FLAG_RCR,
		.completion_addr = (uintptr_t)&slot->record,
	};

	if (row->op != DSA_OPCODE_NOOP) {
		desc.src_addr = (uintptr_t)slot->from;
		desc.xfer_size = row->bytes;
	}
	if (row->op == DSA_OPCODE_MEMMOVE)
		desc.dst_addr = (uintptr_t)slot->to;
	slot->record.status = 0;
	if (dsa_portal_submit(portal, &desc, NULL))
		die("submit");
}

static void finish(struct slot *slot)
{
	if (dsa_portal_wait((const void *)&slot->record, -1) != DSA_COMP_SUCCESS) {
		fprintf(stderr, "status %#x\n", slot->record.status);
		exit(1);
	}
}

/* Operations per second, @flight of them at a time. */
static double ours(const struct row *row, unsigned flight)
{
	double start, spent;
	uint64_t n = 0;

	for (unsigned i = 0; i < flight; i++)
		submit(row, &slots[i]);
	start = now();
	do {
		for (unsigned i = 0; i < flight; i++) {
			finish(&slots[i]);
			submit(row, &slots[i]);
		}
		n += flight;
		spent = now() - start;
	} while (spent < seconds);
	for (unsigned i = 0; i < flight; i++)
		finish(&slots[i]);
	return (double)n / spent;
}

static void directly(const struct row *row, struct slot *slot)
{
	if (row->op == DSA_OPCODE_CRCGEN) {
		sink = ~crc32_iscsi(slot->from, (int)row->bytes, 0xffffffff);
		return;
	}
	memcpy(slot->to, slot->from, row->bytes);
	/* Every copy counts, also the one that nobody looks at. */
	__asm__ volatile("" ::"r"(slot->to) : "memory");
}

static double peer(const struct row *row, unsigned flight)
{
	double start = now(), spent;
	uint64_t n = 0;

	do {
		for (unsigned i = 0; i < flight; i++)
			directly(row, &slots[i]);
		n += flight;
		spent = now() - start;
	} while (spent < seconds);
	return (double)n / spent;
}

static double in_unit(const struct row *row, double per_second)
{
	if (!strcmp(row->unit, "ns"))
		return 1e9 / per_second;
	if (!strcmp(row->unit, "Mop/s"))
		return per_second / 1e6;
	return per_second * row->bytes / 1e9;
}

static void measure(const struct row *row, FILE *json)
{
	unsigned flight = row->op == DSA_OPCODE_NOOP ? 1 : FLIGHT;
	double mine = in_unit(row, ours(row, flight)), theirs = in_unit(row, peer(row, flight));

	printf("%-10s %10.3f %10.3f %s\n", row->id, mine, theirs, row->unit);
	if (json)
		fprintf(json,
			"{\"id\": \"%s\", \"ours\": %.4f, \"peer\": %.4f, \"unit\": \"%s\"}\n",
			row->id, mine, theirs, row->unit);
}

/* The first and the last processor that this may run on: engine and submitter do not meet. */
static void move_to(unsigned which, const cpu_set_t *allowed)
{
	cpu_set_t one;
	int cpu = which ? CPU_SETSIZE - 1 : 0;

	while (cpu >= 0 && cpu < CPU_SETSIZE && !CPU_ISSET(cpu, allowed))
		cpu += which ? -1 : 1;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	if (sched_setaffinity(0, sizeof(one), &one))
		die("sched_setaffinity");
}

static void open_all(void)
{
	struct dsa_portal_params params = {.size = sizeof(params), .busyloop_us = 1000};
	struct vdpa_error err = {.msg = ""};
	cpu_set_t allowed;

	if (sched_getaffinity(0, sizeof(allowed), &allowed))
		die("sched_getaffinity");
	move_to(0, &allowed);
	if (dsa_portal_new(&params, &portal, &err)) {
		fprintf(stderr, "%s\n", err.msg);
		exit(1);
	}
	move_to(1, &allowed);
	for (unsigned i = 0; i < FLIGHT; i++) {
		uint8_t *p = mmap(NULL, 2 * MAX_BYTES, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

		if (p == MAP_FAILED)
			die("mmap");
		memset(p, (int)i + 1, 2 * MAX_BYTES);
		slots[i].from = p;
		slots[i].to = p + MAX_BYTES;
	}
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"quick", no_argument, NULL, 'q'}, {"json", required_argument, NULL, 'j'}, {0}};
	FILE *json = NULL;
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == 'q')
			seconds = 0.05;
		else if (opt == 'j')
			json = fopen(optarg, "w");
		else
			return 2;
		if (opt == 'j' && !json)
			die(optarg);
	}
	open_all();
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		measure(&rows[i], json);
	if (json && fclose(json))
		die("json");
	dsa_portal_free(portal);
	return 0;
}
