// SPDX-License-Identifier: BSD-3-Clause
#include "dsa_harness.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dsa/engine.h"
#include "dsa/idxd.h"

#define READ_ONLY 4u
#define REMOTE 5u
#define HOLE 6u

static struct vdpa_loop_group *group;
static struct dsa_engine *engine;
static struct dsa_space *space;
static struct dsa_queue *queue, *reversed;
static uint8_t *memory, before[FUZZ_BYTES];
static unsigned ended;

static int remote_read(void *arg, uint64_t off, void *buf, size_t len)
{
	assert(off + len <= FUZZ_BYTES);
	memcpy(buf, memory + off, len);
	return 0;
}

static int remote_write(void *arg, uint64_t off, const void *buf, size_t len)
{
	assert(off + len <= FUZZ_BYTES);
	memcpy(memory + off, buf, len);
	return 0;
}

static void on_completed(void *arg, void *cookie, uint8_t status)
{
	assert(status != DSA_COMP_NONE);
	ended++;
}

static void on_error(void *arg, const struct dsa_error *error)
{
	assert(error->status > DSA_COMP_SUCCESS_PRED);
}

static const struct vdpa_region_ops remote_ops = {.read = remote_read, .write = remote_write};
static const struct dsa_queue_ops queue_ops = {.completed = on_completed, .error = on_error};

static void map(struct vdpa_as *as, struct vdpa_region *local, struct vdpa_region *remote)
{
	for (unsigned i = 0; i < FUZZ_PAGES; i++) {
		struct vdpa_region *region = i == REMOTE ? remote : local;
		uint64_t off = (uint64_t)i * FUZZ_PAGE;

		if (i != HOLE)
			assert(!vdpa_as_map(as, FUZZ_IOVA + off, FUZZ_PAGE,
					    vdpa_region_addr(region, off),
					    i == READ_ONLY ? VHOST_MAP_RO : VHOST_MAP_RW, region));
	}
}

static void open_engine(void)
{
	struct dsa_queue_config config = {
		.size = 2,
		.max_xfer_shift = 16,
		.max_batch_shift = 4,
		.block_on_fault = true,
		.priv = true,
		.ops = &queue_ops,
	};
	struct vdpa_region *local, *remote;
	struct vdpa_as *as;

	memory = aligned_alloc(FUZZ_PAGE, FUZZ_BYTES);
	assert(memory && !vdpa_loop_group_new(0, &group) && !vdpa_as_new(group, 0, &as));
	assert(!vdpa_region_wrap(memory, FUZZ_BYTES, 0, &local));
	assert(!vdpa_region_by_message(&remote_ops, NULL, FUZZ_BYTES, 0, &remote));
	map(as, local, remote);
	assert(!dsa_engine_new(group, &(struct dsa_engine_config){0}, &engine));
	assert(!dsa_space_new(engine, 1, as, &space));
	assert(!dsa_queue_new(engine, &config, &queue));
	config.batch_reversed = true;
	assert(!dsa_queue_new(engine, &config, &reversed));
}

void dsa_fuzz_begin(const uint8_t *data, size_t size)
{
	if (!group)
		open_engine();
	for (size_t i = 0; i < FUZZ_BYTES; i++)
		memory[i] = size ? data[i % size] : 0;
}

uint8_t *dsa_fuzz_memory(void)
{
	return memory;
}

void dsa_fuzz_aim(uint8_t *desc)
{
	static const unsigned fields[] = {8, 16, 24, 40, 48};

	for (unsigned i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		uint64_t v;

		memcpy(&v, desc + fields[i], sizeof(v));
		if (!v || v >> 56 >= 0xf0)
			continue;
		/* Seeds and tags are there too: those that are small stay. */
		if (fields[i] >= 40 && v >> 40 == 0)
			continue;
		v = FUZZ_IOVA + v % (FUZZ_BYTES + 64);
		memcpy(desc + fields[i], &v, sizeof(v));
	}
}

static void unchanged(unsigned page)
{
	assert(!memcmp(memory + page * FUZZ_PAGE, before + page * FUZZ_PAGE, FUZZ_PAGE));
}

static void run_in(struct dsa_queue *in, const uint8_t *desc)
{
	memcpy(before, memory, FUZZ_BYTES);
	ended = 0;
	assert(!dsa_submit(in, space, desc, NULL));
	for (unsigned i = 0; !ended; i++) {
		assert(i < 10000);
		vdpa_loop_run_once(vdpa_loop_group_control(group), 0);
	}
	assert(ended == 1 && !dsa_queue_occupancy(in));
	unchanged(READ_ONLY);
	unchanged(HOLE);
}

void dsa_fuzz_run(const uint8_t *desc)
{
	run_in(queue, desc);
}

void dsa_fuzz_run_reversed(const uint8_t *desc)
{
	run_in(reversed, desc);
}
