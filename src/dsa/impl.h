/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inside of the engine.
 *
 * One descriptor on its way: a slot of its queue's ring, where submitters put it -> pending (it
 * takes up an entry of its queue) -> running (an engine has it; the entry is free again, before the
 * record can be seen) -> free. From running it may go to parked (blocked on a fault, until its
 * space's map changes) or waiting (a drain, until those before it have ended), and back.
 *
 * A running descriptor is executed in slices: between two of them the loop runs its messages, so
 * that no map change and nobody else's queue waits for a long transfer. No translation is kept from
 * one slice to the next.
 *
 * One lock per dsa_engine guards lists, states and counts. It is held to link and unlink, never
 * while memory is touched or a callback runs.
 */
#ifndef DSA_IMPL_H
#define DSA_IMPL_H

#include <endian.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/list.h"
#include "dsa/engine.h"
#include "dsa/idxd.h"

/* ---- memory ---- */

#define DSA_SCRATCH 16384u

/* One engine's access to the space of the descriptor that it executes. */
struct dsa_mem {
	struct vdpa_view *view; /* NULL: this process's own */
	size_t limit;		/* no more than this at a time: a larger piece met a fault */
	uint64_t fault_addr;	/* of the access that failed with -EFAULT or -EAGAIN */
	bool fault_write;
	uint8_t bounce[2][DSA_SCRATCH]; /* of dsa_mem_src(), dsa_mem_dst() */
	uint8_t scratch[DSA_SCRATCH];	/* the operation's own */
};

/* What is asked for: @unit bytes or a multiple, at most @want, which is one itself. */
struct dsa_range {
	iova_t iova;
	size_t want, unit;
};

struct dsa_piece {
	uint8_t *p;
	size_t len;   /* a multiple of the unit, at least one */
	bool bounced; /* a copy */
};

/*
 * All of these: 0; -EFAULT, -EAGAIN (a miss, or the map has changed), with the address in @mem;
 * -EINTR: nothing happened, try again (@mem->limit is smaller now); else memory by message failed.
 */
int dsa_mem_src(struct dsa_mem *mem, const struct dsa_range *range, unsigned bounce,
		struct dsa_piece *out);
int dsa_mem_dst(struct dsa_mem *mem, const struct dsa_range *range, struct dsa_piece *out);
/* @piece of dsa_mem_dst() was filled. */
int dsa_mem_commit(struct dsa_mem *mem, const struct dsa_range *range, struct dsa_piece *piece);
/* All of it, or nothing. */
int dsa_mem_read(struct dsa_mem *mem, iova_t iova, void *buf, size_t len);
int dsa_mem_write(struct dsa_mem *mem, iova_t iova, const void *buf, size_t len, size_t unit);

/* ---- one descriptor being executed ---- */

struct dsa_desc {
	uint8_t raw[DSA_DESC_BYTES];
	uint32_t flags;
	uint8_t op;
	uint64_t record, src, dst;
	uint32_t size;
	uint16_t handle;
};

static inline uint16_t dsa_desc_u16(const struct dsa_desc *d, unsigned off)
{
	uint16_t v;

	memcpy(&v, d->raw + off, sizeof(v));
	return le16toh(v);
}

static inline uint32_t dsa_desc_u32(const struct dsa_desc *d, unsigned off)
{
	uint32_t v;

	memcpy(&v, d->raw + off, sizeof(v));
	return le32toh(v);
}

static inline uint64_t dsa_desc_u64(const struct dsa_desc *d, unsigned off)
{
	uint64_t v;

	memcpy(&v, d->raw + off, sizeof(v));
	return le64toh(v);
}

struct dsa_dif_tags {
	uint32_t ref;
	uint16_t app;
};

enum dsa_stage { DSA_STAGE_CHECK, DSA_STAGE_BODY, DSA_STAGE_RECORD };

struct dsa_run {
	struct dsa_desc d;
	enum dsa_stage stage;
	uint8_t status, result;
	bool begun;	    /* the operation's state below is set up */
	uint64_t done;	    /* bytes (of a batch: descriptors) processed */
	uint32_t completed; /* what the record says of it */
	uint32_t invalid_flags;
	uint64_t fault_addr;
	union {
		uint32_t crc;
		struct {
			uint32_t bytes; /* of the record written */
			uint32_t next;	/* least offset that may come, in words */
		} delta;
		struct {
			struct dsa_dif_tags src, dst;
		} dif;
		struct {
			/* Which ones run between two fences, and the place of the one that does. */
			uint32_t first, end, at;
			bool failed; /* one of it did not succeed */
		} batch;
	};
};

/* What one call of an operation did. */
enum { DSA_STEP_DONE = 0, DSA_STEP_MORE = 1 };

struct dsa_op_info {
	uint32_t flags;	   /* that may be set, beside those of every operation */
	uint64_t reserved; /* bit n: byte n of the descriptor is zero */
	/* What is to be known of it beyond flags and reserved bytes; 0 or a status. NULL: nothing.
	 */
	uint8_t (*check)(const struct dsa_desc *d);
	/*
	 * Go on from run->done: DSA_STEP_MORE, DSA_STEP_DONE (run->status is set), or an error of
	 * dsa_mem_*(), which leaves run as it was before the piece that met it. NULL: nothing to
	 * do.
	 */
	int (*step)(struct dsa_mem *mem, struct dsa_run *run);
	/* Fill what is the operation's own in the record's bytes 16 to 31. NULL: zeros. */
	void (*record)(const struct dsa_run *run, uint8_t *record);
	bool sized; /* 1 <= size <= the queue's limit */
};

/* NULL: no such operation. */
const struct dsa_op_info *dsa_op_info(uint8_t op);

/* Most that one step processes: what a loop can be kept from its messages by. */
#define DSA_STEP_BYTES (1u << 20)

static inline size_t dsa_left(const struct dsa_run *run)
{
	size_t left = run->d.size - run->done;

	return left < DSA_STEP_BYTES ? left : DSA_STEP_BYTES;
}

/* op_*.c */
int dsa_step_memmove(struct dsa_mem *mem, struct dsa_run *run);
int dsa_step_fill(struct dsa_mem *mem, struct dsa_run *run);
int dsa_step_dualcast(struct dsa_mem *mem, struct dsa_run *run);
int dsa_step_cflush(struct dsa_mem *mem, struct dsa_run *run);
int dsa_step_compare(struct dsa_mem *mem, struct dsa_run *run);
int dsa_step_compval(struct dsa_mem *mem, struct dsa_run *run);
int dsa_step_cr_delta(struct dsa_mem *mem, struct dsa_run *run);
int dsa_step_ap_delta(struct dsa_mem *mem, struct dsa_run *run);
int dsa_step_crcgen(struct dsa_mem *mem, struct dsa_run *run);
int dsa_step_copy_crc(struct dsa_mem *mem, struct dsa_run *run);
int dsa_step_dif_check(struct dsa_mem *mem, struct dsa_run *run);
int dsa_step_dif_ins(struct dsa_mem *mem, struct dsa_run *run);
int dsa_step_dif_strp(struct dsa_mem *mem, struct dsa_run *run);
int dsa_step_dif_updt(struct dsa_mem *mem, struct dsa_run *run);
int dsa_step_dix_gen(struct dsa_mem *mem, struct dsa_run *run);

uint8_t dsa_check_dualcast(const struct dsa_desc *d);
uint8_t dsa_check_copy(const struct dsa_desc *d);
uint8_t dsa_check_compare(const struct dsa_desc *d);
uint8_t dsa_check_cr_delta(const struct dsa_desc *d);
uint8_t dsa_check_ap_delta(const struct dsa_desc *d);
uint8_t dsa_check_crc(const struct dsa_desc *d);
uint8_t dsa_check_dif_check(const struct dsa_desc *d);
uint8_t dsa_check_dif_ins(const struct dsa_desc *d);
uint8_t dsa_check_dif_strp(const struct dsa_desc *d);
uint8_t dsa_check_dif_updt(const struct dsa_desc *d);
uint8_t dsa_check_dix_gen(const struct dsa_desc *d);

void dsa_record_cr_delta(const struct dsa_run *run, uint8_t *record);
void dsa_record_crc(const struct dsa_run *run, uint8_t *record);
void dsa_record_dif_src(const struct dsa_run *run, uint8_t *record);
void dsa_record_dif_dst(const struct dsa_run *run, uint8_t *record);
void dsa_record_dif_updt(const struct dsa_run *run, uint8_t *record);

/* desc.c */
void dsa_desc_parse(struct dsa_desc *d, const uint8_t *raw);
bool dsa_overlap(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len);
/* 0 or a status; of a descriptor of @queue, or of a batch in it. */
uint8_t dsa_desc_check(const struct dsa_queue *queue, struct dsa_run *run, bool in_batch);

/* ---- descriptors in flight ---- */

enum dsa_state { DSA_FREE, DSA_PENDING, DSA_RUNNING, DSA_PARKED, DSA_WAITING };

struct dsa_work {
	struct list node;     /* by its state, the lock */
	struct list inflight; /* in queue->inflight, in order of submission; the lock */
	enum dsa_state state; /* the lock */
	uint64_t seq;
	uint64_t left; /* waiting: how many are before it; the lock */
	struct dsa_queue *queue;
	struct dsa_space *space;
	void *cookie;
	bool seized; /* aborted before it was taken: it has an entry still; the lock */
	_Atomic bool abort;
	/* Whose it is while it runs. */
	struct dsa_run run, child; /* @child: of a batch */
	bool in_child;
};

/* What a submitter leaves: the only memory that it shares with engines while nobody sleeps. */
struct dsa_slot {
	uint8_t desc[DSA_DESC_BYTES];
	struct dsa_space *space;
	void *cookie;
} __attribute__((aligned(64)));

struct dsa_queue {
	struct dsa_engine *engine;
	struct dsa_queue_config config;
	uint32_t max_xfer, max_batch;
	uint64_t opcap;
	unsigned max_running;
	struct dsa_slot *ring; /* config.size of them */
	struct dsa_work *works;
	struct list node, all; /* in engine->queues and ->all; the lock */
	/* Submitters', under their own lock. */
	pthread_mutex_t submit_lock __attribute__((aligned(64)));
	unsigned at;	       /* of the next in the ring */
	uint64_t taken_seen;   /* no more than taken */
	_Atomic uint64_t tail; /* submitted ever */
	/* The lock. */
	struct list free __attribute__((aligned(64)));
	struct list pending, inflight;
	unsigned npending, nrunning;
	unsigned got_at;	/* of the next to get from the ring */
	uint64_t got;		/* from the ring, ever */
	_Atomic uint64_t taken; /* entries given back, ever */
};

struct dsa_space_view {
	struct dsa_space *space;
	struct vdpa_view *view; /* NULL: this process's own memory */
	struct list parked;	/* the lock */
};

struct dsa_space {
	struct dsa_engine *engine;
	uint32_t pasid;
	uint64_t inflight; /* the lock */
	struct dsa_space_view views[];
};

/* One engine. */
struct dsa_worker {
	struct dsa_engine *engine;
	unsigned index;
	struct vdpa_loop *loop;
	struct vdpa_loop_msg start, stop;
	bool awake;   /* on its loop's pollers, or about to be; the lock */
	bool looking; /* and with nothing to do; the lock, but for itself to read */
	/* The loop's. */
	struct vdpa_loop_poller poller;
	/*
	 * Taken and not begun, or not finished; executed and not ended. An engine alone takes
	 * several at a time, so that the lock, before which its stores have to arrive wherever they
	 * go, is not taken for each.
	 */
	struct list mine, ended;
	unsigned most;
	uint64_t worked_ns;
	struct dsa_mem *mem;
};

struct dsa_engine {
	/*
	 * Of submitters and engines. A submitter fills a slot, then looks whether anybody has to be
	 * told; an engine says what it will do, then looks whether there is a slot. All of that is
	 * sequentially consistent, so one of the two sees the other. They are on a line of their
	 * own, which submitters keep: the lock's goes from engine to engine.
	 */
	_Atomic bool ready;		    /* there may be something to take */
	_Atomic unsigned nlooking, nasleep; /* written under the lock */
	pthread_mutex_t lock __attribute__((aligned(64)));
	/* The lock. */
	struct list all;     /* queues */
	struct list queues;  /* that something can be taken from, in turns */
	struct list resumed; /* first of all */
	struct list drains;  /* waiting */
	struct dsa_wait *waits;
	uint64_t seq;
	/* Constant. */
	uint64_t spin_ns;
	struct vdpa_done done;
	_Atomic unsigned stopping;
	unsigned nworkers;
	struct dsa_worker workers[];
};

/* exec.c: on the worker's loop. */
enum dsa_outcome {
	DSA_ENDED,   /* or aborted; work->run.status says which */
	DSA_YIELDED, /* there is more to do */
	DSA_BLOCKED, /* on a fault */
};
enum dsa_outcome dsa_exec(struct dsa_worker *worker, struct dsa_work *work);

/* queue.c */
/* Calls completed(). */
void dsa_tell_completed(struct dsa_work *work);
/* What was executed has ended; take what is next. */
void dsa_swap(struct dsa_worker *worker);
void dsa_park(struct dsa_worker *worker, struct dsa_work *work);
/* What is parked in @view may go on. */
void dsa_unpark(struct dsa_space_view *view);
/* Nothing to do for long enough: true when that is still so, and the worker may sleep. */
bool dsa_may_sleep(struct dsa_worker *worker);
/* engine.c */
void dsa_lock_init(pthread_mutex_t *lock);
/* Zeroed, and on cache lines of its own. */
void *dsa_zalloc(size_t bytes);
/* An engine that sleeps, if there is one, and none that looks. The lock is held. */
void dsa_wake(struct dsa_engine *engine);

#endif
