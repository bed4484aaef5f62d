/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What executes descriptors: engines (threads), work queues in front of them, address spaces behind
 * them. Registers, portals and interrupts are not here: whoever has those (the virtual device, the
 * portal in process) gives a queue its callbacks and submits what was written to its portals.
 *
 *	portal --dsa_submit()--> queue --> any free engine --> memory of a space
 *	                                        |
 *	                 completion record, then interrupt(), then completed()
 *
 * Numbers (opcodes, flags, status codes, layouts) are those of linux/idxd.h; "section" is one of
 * Intel's DSA architecture specification. docs/dsa.md says what was decided where it leaves room.
 *
 * Who attacks: who submits. All 64 bytes are hostile, so is the memory that they point to, which
 * changes while it is read. A descriptor is copied at submission, one of a batch when its turn
 * comes; what is checked is the copy.
 *
 * Threads. "Control" is the thread that may change the vdpa_as (mem.h). Submitting, draining and
 * aborting are for any thread. Callbacks come from engine threads, several at a time, and, out of
 * dsa_abort(), from its caller; no lock is held then, so they may submit; they must not block for
 * long.
 */
#ifndef DSA_ENGINE_H
#define DSA_ENGINE_H

#include <uvdpa/dsa.h>
#include <uvdpa/loop.h>
#include <uvdpa/mem.h>

struct dsa_engine; /* one or more engines with one list of pending work */
struct dsa_space;  /* an address space, as a PASID names one */
struct dsa_queue;  /* a work queue */

#define DSA_DESC_BYTES 64u
#define DSA_RECORD_BYTES 32u

/* What DSA_MAX_*_SHIFT a device may advertise at most. */
#define DSA_MAX_XFER_SHIFT 31u
#define DSA_MAX_BATCH_SHIFT 10u
/* Queue entries. */
#define DSA_MAX_QUEUE 4096u

/* Bit n: opcode n is executed. What OPCAP may advertise; bits of the first 64 opcodes. */
#define DSA_OPCAP 0x0000000100bf03ffull

/* ---- engines ---- */

struct dsa_engine_config {
	unsigned engines;     /* 0: as many as @group has workers, at least one */
	unsigned busyloop_us; /* an engine looks for work for so long after its last one */
};

/*
 * Engine i runs on worker i of @group, modulo their number (a group without workers: all on its
 * control loop, which then has to run). 0 or -ENOMEM. Control.
 */
int dsa_engine_new(struct vdpa_loop_group *group, const struct dsa_engine_config *config,
		   struct dsa_engine **out);
/*
 * There are no queues and no spaces any more. @done: nothing of it is left on any loop, and @group
 * may be freed; it runs on any loop's thread, possibly before this has returned. NULL is allowed.
 */
void dsa_engine_free(struct dsa_engine *engine, const struct vdpa_done *done);

/* ---- spaces ---- */

/*
 * Memory as seen through @as, which belongs to the engine's group and outlives the space. @as NULL:
 * this process's own, address for address, where a wrong one is a wrong pointer. 0 or -ENOMEM.
 * Control.
 */
int dsa_space_new(struct dsa_engine *engine, uint32_t pasid, struct vdpa_as *as,
		  struct dsa_space **out);
/* Nothing that was submitted with it is in flight: drain or abort first. NULL is allowed. Control.
 */
void dsa_space_free(struct dsa_space *space);

/* ---- queues ---- */

struct dsa_queue_ops {
	/* May descriptors ask for this interrupt? NULL: any. */
	bool (*handle_valid)(void *arg, uint16_t handle);
	/* The record, if any, is written. NULL: nobody listens. */
	void (*interrupt)(void *arg, uint16_t handle);
	/* What goes into SWERR. NULL: dropped. */
	void (*error)(void *arg, const struct dsa_error *error);
	/*
	 * A descriptor that was submitted (not: one of its batch) has ended, after its record and
	 * its interrupt; its place in the queue is free, but where it was aborted before it began.
	 * @status: DSA_COMP_*, DSA_COMP_NONE when it was aborted. NULL is allowed.
	 */
	void (*completed)(void *arg, void *cookie, uint8_t status);
};

struct dsa_queue_config {
	unsigned size;		  /* entries, 1 to DSA_MAX_QUEUE */
	unsigned max_xfer_shift;  /* WQCFG; at most DSA_MAX_XFER_SHIFT */
	unsigned max_batch_shift; /* at most DSA_MAX_BATCH_SHIFT */
	bool block_on_fault;	  /* WQCFG.bof; without, the flag is an invalid one */
	bool priv;		  /* descriptors may be privileged */
	uint64_t opcap;		  /* 0: all of DSA_OPCAP */
	/* Of a batch, what lies between two fences runs from its end to its beginning. */
	bool batch_reversed;
	const struct dsa_queue_ops *ops;
	void *arg;
};

/* All memory of its descriptors is allocated here. 0, -EINVAL (a limit above), -ENOMEM. Any thread.
 */
int dsa_queue_new(struct dsa_engine *engine, const struct dsa_queue_config *config,
		  struct dsa_queue **out);
/* Nothing of it is in flight: drain or abort first. NULL is allowed. Any thread. */
void dsa_queue_free(struct dsa_queue *queue);
/* Descriptors in flight. */
unsigned dsa_queue_occupancy(struct dsa_queue *queue);

/*
 * Take the descriptor at @desc (DSA_DESC_BYTES; copied), for memory in @space, whose PASID counts,
 * not the descriptor's. 0; -EAGAIN: the queue is full (ENQCMD's retry; a dedicated queue drops).
 * Whatever is wrong with the descriptor is told as the hardware tells it, not here.
 */
int dsa_submit(struct dsa_queue *queue, struct dsa_space *space, const void *desc, void *cookie);

/* ---- waiting and aborting ---- */

#define DSA_ANY_PASID UINT32_MAX

/* Which descriptors: all of @queue (NULL: of all queues), with this PASID. */
struct dsa_select {
	const struct dsa_queue *queue;
	uint32_t pasid; /* or DSA_ANY_PASID */
};

/* Its owner's memory, which stays until @done is called. */
struct dsa_wait {
	struct vdpa_done done;
	/* private */
	struct dsa_wait *next;
	struct dsa_select select;
	uint64_t before;
	uint64_t left;
};

/*
 * @wait->done is called, with 0, once everything that was submitted before and is selected has
 * ended: on the thread that ended the last of it, or on this one before this returns.
 */
void dsa_drain(struct dsa_engine *engine, const struct dsa_select *select, struct dsa_wait *wait);
/*
 * As above, but what has not begun, or is blocked on a fault, never runs: it gets no record and no
 * interrupt. What is being executed ends soon, at whatever point it is then, or completes. After
 * @done nothing of what was selected touches memory any more.
 */
void dsa_abort(struct dsa_engine *engine, const struct dsa_select *select, struct dsa_wait *wait);

#endif
