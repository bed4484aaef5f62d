/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writes a pseudo-random pattern to a vhost-user or vhost-vdpa disk through libblkio,
 * flushes, reads it back and compares every byte; then overwrites, zeroes and
 * discards some of it in random order, and does all of that again.
 *
 *	blkio_verify PATH MIB DEPTH eventfd|poll [QUEUES]
 *	blkio_verify PATH MIB DEPTH check        (only read and compare)
 *
 * The pattern of a block depends on its number and generation. A block that is
 * on its way has one request at a time, so that an answer is never ambiguous.
 */
#include <blkio.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BLOCK 16384u
#define DEPTH_MAX 256
#define QUEUES_MAX 8
#define TIMEOUT_S 30

enum op { OP_WRITE, OP_READ, OP_FLUSH, OP_ZERO, OP_DISCARD };

/* What a block has to have: its pattern, zeroes, or whatever it likes. */
enum content { PATTERN, ZEROES, ANYTHING };

struct slot {
	uint32_t block;
	enum op op;
	bool busy;
};

struct run {
	struct blkio *b;
	struct blkioq *q[QUEUES_MAX];
	struct blkio_mem_region mem;
	struct slot slots[DEPTH_MAX];
	uint8_t *generation; /* per block */
	uint8_t *content;
	uint32_t blocks, depth, queues, errors;
	bool polling;
};

static void die(const char *what, int err)
{
	fprintf(stderr, "%s: %s (%s)\n", what, strerror(-err), blkio_get_error_msg());
	exit(1);
}

static void must(const char *what, int ret)
{
	if (ret < 0)
		die(what, ret);
}

static uint8_t *slot_buffer(struct run *r, uint32_t slot)
{
	return (uint8_t *)r->mem.addr + (size_t)slot * BLOCK;
}

static void make_pattern(struct run *r, uint32_t block, uint64_t *p)
{
	uint64_t x = ((uint64_t)block << 8 | r->generation[block]) + 1;
	unsigned int i;

	if (r->content[block] == ZEROES) {
		memset(p, 0, BLOCK);
		return;
	}
	for (i = 0; i < BLOCK / sizeof(*p); i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		p[i] = x;
	}
}

static void check_block(struct run *r, uint32_t slot)
{
	uint32_t block = r->slots[slot].block;
	static uint64_t want[BLOCK / 8];

	make_pattern(r, block, want);
	if (r->content[block] == ANYTHING || !memcmp(want, slot_buffer(r, slot), BLOCK))
		return;
	if (r->errors++ < 10)
		fprintf(stderr,
			"block %u, generation %u, is not what was "
			"written\n",
			block, r->generation[block]);
}

static void submit(struct run *r, uint32_t slot, enum op op, uint32_t block)
{
	struct blkioq *q = r->q[slot % r->queues];
	uint8_t *buf = slot_buffer(r, slot);
	uint64_t start = (uint64_t)block * BLOCK;
	void *data = (void *)(uintptr_t)slot;

	r->slots[slot] = (struct slot){block, op, true};
	if (op == OP_WRITE) {
		r->content[block] = PATTERN;
		make_pattern(r, block, (uint64_t *)buf);
		blkioq_write(q, start, buf, BLOCK, data, 0);
	} else if (op == OP_ZERO) {
		r->content[block] = ZEROES;
		blkioq_write_zeroes(q, start, BLOCK, data, block & 1 ? BLKIO_REQ_NO_UNMAP : 0);
	} else if (op == OP_DISCARD) {
		r->content[block] = ANYTHING;
		blkioq_discard(q, start, BLOCK, data, 0);
	} else if (op == OP_READ) {
		memset(buf, 0xee, BLOCK);
		blkioq_read(q, start, buf, BLOCK, data, 0);
	} else {
		blkioq_flush(q, data, 0);
	}
}

static void complete(struct run *r, const struct blkio_completion *c)
{
	uint32_t slot = (uintptr_t)c->user_data;

	if (slot >= r->depth || !r->slots[slot].busy) {
		fprintf(stderr, "a completion of nothing\n");
		exit(1);
	}
	if (c->ret) {
		fprintf(stderr, "op %d of block %u: %s\n", r->slots[slot].op, r->slots[slot].block,
			strerror(-c->ret));
		r->errors++;
	} else if (r->slots[slot].op == OP_READ) {
		check_block(r, slot);
	}
	r->slots[slot].busy = false;
}

/* Submits what is new and takes what is done, without a wait. */
static unsigned int reap(struct run *r, uint32_t queue)
{
	struct blkio_completion done[32];
	int i, n;

	n = blkioq_do_io(r->q[queue], done, 0, 32, NULL);
	must("do_io", n);
	for (i = 0; i < n; i++)
		complete(r, &done[i]);
	return n;
}

static void wait_events(struct run *r)
{
	struct pollfd p[QUEUES_MAX];
	uint64_t count;
	uint32_t i;

	for (i = 0; i < r->queues; i++)
		p[i] = (struct pollfd){
			.fd = blkioq_get_completion_fd(r->q[i]),
			.events = POLLIN,
		};
	if (poll(p, r->queues, TIMEOUT_S * 1000) <= 0) {
		fprintf(stderr, "no completion in %d s\n", TIMEOUT_S);
		exit(1);
	}
	for (i = 0; i < r->queues; i++)
		if (p[i].revents && read(p[i].fd, &count, 8) < 0 && errno != EAGAIN)
			die("completion fd", -errno);
}

/* Returns when at least one request is done. */
static void wait_some(struct run *r)
{
	time_t end = time(NULL) + TIMEOUT_S;
	unsigned int n;
	uint32_t i;

	for (;;) {
		for (n = 0, i = 0; i < r->queues; i++)
			n += reap(r, i);
		if (n)
			return;
		if (!r->polling)
			wait_events(r);
		else if (time(NULL) > end)
			die("polling", -ETIMEDOUT);
	}
}

static uint32_t free_slot(struct run *r)
{
	uint32_t i;

	for (;;) {
		for (i = 0; i < r->depth; i++)
			if (!r->slots[i].busy)
				return i;
		wait_some(r);
	}
}

static void drain(struct run *r)
{
	uint32_t i;

	for (i = 0; i < r->depth; i++)
		while (r->slots[i].busy)
			wait_some(r);
}

static void flush(struct run *r)
{
	submit(r, 0, OP_FLUSH, 0);
	drain(r);
}

static void all_blocks(struct run *r, enum op op)
{
	uint32_t block;

	for (block = 0; block < r->blocks; block++)
		submit(r, free_slot(r), op, block);
	drain(r);
}

static bool is_on_its_way(struct run *r, uint32_t block)
{
	uint32_t i;

	for (i = 0; i < r->depth; i++)
		if (r->slots[i].busy && r->slots[i].block == block)
			return true;
	return false;
}

static void change_some(struct run *r)
{
	static const enum op ops[] = {OP_WRITE, OP_WRITE, OP_ZERO, OP_WRITE, OP_DISCARD};
	uint32_t i, slot, block;

	for (i = 0; i < r->blocks / 2; i++) {
		slot = free_slot(r);
		block = rand() % r->blocks;
		while (is_on_its_way(r, block))
			wait_some(r);
		r->generation[block]++;
		submit(r, slot, ops[i % 5], block);
	}
	drain(r);
}

static void start(struct run *r, const char *path)
{
	uint64_t capacity;
	uint32_t i;

	must("create", blkio_create(strncmp(path, "/dev/", 5) ? "virtio-blk-vhost-user"
							      : "virtio-blk-vhost-vdpa",
				    &r->b));
	must("path", blkio_set_str(r->b, "path", path));
	must("connect", blkio_connect(r->b));
	must("capacity", blkio_get_uint64(r->b, "capacity", &capacity));
	if (capacity < (uint64_t)r->blocks * BLOCK)
		die("the disk is too small", -ENOSPC);
	must("num-queues", blkio_set_int(r->b, "num-queues", r->polling ? 0 : r->queues));
	must("num-poll-queues", blkio_set_int(r->b, "num-poll-queues", r->polling ? r->queues : 0));
	must("start", blkio_start(r->b));
	must("memory", blkio_alloc_mem_region(r->b, &r->mem, (size_t)r->depth * BLOCK));
	must("map", blkio_map_mem_region(r->b, &r->mem));
	for (i = 0; i < r->queues; i++) {
		r->q[i] = r->polling ? blkio_get_poll_queue(r->b, i) : blkio_get_queue(r->b, i);
		if (!r->polling)
			blkioq_set_completion_fd_enabled(r->q[i], true);
	}
}

static void stop(struct run *r)
{
	blkio_unmap_mem_region(r->b, &r->mem);
	blkio_free_mem_region(r->b, &r->mem);
	blkio_destroy(&r->b);
	free(r->generation);
	free(r->content);
}

int main(int argc, char **argv)
{
	static struct run r;
	bool check;

	if (argc < 5) {
		fprintf(stderr,
			"usage: %s SOCKET MIB DEPTH "
			"eventfd|poll|check [QUEUES]\n",
			argv[0]);
		return 2;
	}
	r.blocks = atoi(argv[2]) * (1048576 / BLOCK);
	r.depth = atoi(argv[3]);
	r.queues = argc > 5 ? atoi(argv[5]) : 1;
	if (!r.blocks || !r.depth || r.depth > DEPTH_MAX || !r.queues || r.queues > QUEUES_MAX)
		return 2;
	r.polling = !strcmp(argv[4], "poll");
	check = !strcmp(argv[4], "check");
	r.generation = calloc(r.blocks, 1);
	r.content = calloc(r.blocks, 1);
	start(&r, argv[1]);
	if (!check) {
		all_blocks(&r, OP_WRITE);
		flush(&r);
		all_blocks(&r, OP_READ);
		change_some(&r);
		all_blocks(&r, OP_READ);
		/* What a later "check" expects. */
		memset(r.generation, 0, r.blocks);
		all_blocks(&r, OP_WRITE);
		flush(&r);
	}
	all_blocks(&r, OP_READ);
	stop(&r);
	if (r.errors)
		return 1;
	printf("blkio_verify: %u blocks of %u bytes agree\n", r.blocks, BLOCK);
	return 0;
}
