/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An engine with one queue and one space over an arena of pages. Each page of the arena is at
 * ARENA_IOVA plus its number, is in memory wherever it likes, and may be read-only, reached by
 * messages, or missing.
 */
#ifndef TESTS_DSA_TEST_H
#define TESTS_DSA_TEST_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "bytes.h"
#include "dsa/engine.h"

#define PAGE 4096u
#define ARENA_PAGES 32u
#define ARENA_BYTES (ARENA_PAGES * PAGE)
#define ARENA_IOVA 0x100000000ull

struct page {
	uint32_t perm; /* VHOST_MAP_*, 0: none */
	bool remote;
	unsigned at; /* place in memory */
};

struct told {
	unsigned completed, interrupts, errors;
	uint8_t status;		/* of the last that completed */
	uint16_t handle;	/* of the last interrupt */
	struct dsa_error error; /* the last */
};

struct bench {
	struct vdpa_loop_group *group;
	struct dsa_engine *engine;
	struct vdpa_as *as;
	struct dsa_space *space;
	struct dsa_queue *queue;
	struct vdpa_region *region, *remote;
	struct page pages[ARENA_PAGES];
	uint8_t *mem; /* ARENA_BYTES */
	bool handles_refused, remote_broken;
	/* Before memory is read by a message; NULL: nothing happens then. */
	void (*on_read)(struct bench *b);
	pthread_mutex_t lock;
	pthread_cond_t cond;
	struct told told; /* the lock */
};

struct bench_config {
	unsigned workers;
	struct dsa_queue_config queue; /* ops and arg are filled in; size 0: 16 */
	bool misses;		       /* holes are misses */
};

/* A machine with all pages mapped for reading and writing, in order. */
void bench_open(struct bench *b, const struct bench_config *config);
void bench_close(struct bench *b);
/* Map again, by b->pages. */
void bench_map(struct bench *b);
/* In memory: byte @off of the arena. Nothing that is contiguous is longer than a page. */
uint8_t *bench_at(struct bench *b, uint64_t off);
void bench_put(struct bench *b, uint64_t off, const void *from, size_t len);
void bench_get(struct bench *b, uint64_t off, void *to, size_t len);
/* Submit @desc and wait until it has ended; its status. */
uint8_t bench_run(struct bench *b, const uint8_t *desc);
void bench_submit(struct bench *b, const uint8_t *desc);
/* Until so many have completed since bench_open(). */
void bench_wait(struct bench *b, unsigned completed);
struct told bench_told(struct bench *b);
/* Everything that was submitted; dsa_drain() and dsa_abort(). */
void bench_drain(struct bench *b);
void bench_abort(struct bench *b);

/* ---- waiting ---- */

struct flag {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool set;
};

#define FLAG                                                                                       \
	{                                                                                          \
		PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false                         \
	}

/* As the function of a vdpa_done. */
void flag_set(void *arg, int result);
void flag_wait(struct flag *f);

extern const struct dsa_select everything;

static inline uint64_t iova_of(uint64_t off)
{
	return ARENA_IOVA + off;
}

#endif
