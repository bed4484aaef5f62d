/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A virtual DSA as its driver sees it: registers (BAR 0), portals (BAR 2), commands, interrupts. It
 * executes nothing: descriptors go to whoever made it, who tells it of errors and waits for it.
 *
 *	vdev_regs.c    what each register is after a reset, and what a write does
 *	vdev_cmd.c     the commands and the states of device and queues
 *	vdev_check.c   is the configuration one that can be enabled?
 *	vdev_event.c   interrupts, SWERR, halt, revocation
 *	vdev_portal.c  descriptors, as they are put together
 *
 * Threads: everything on the device's thread, where another rule is not given. Registers are
 * under a lock, since engines tell of errors on threads of their own; no operation is called with
 * it.
 */
#ifndef DSA_DEV_VDEV_H
#define DSA_DEV_VDEV_H

#include <pthread.h>
#include <stdatomic.h>
#include <uvdpa/types.h>

#include "dsa/engine.h"
#include "dsa_dev/regs.h"
#include "ims/vectors.h"

struct dsa_vdev;

/* A queue as it is configured before the driver sees it. */
struct dsa_vdev_wq {
	unsigned size, threshold; /* entries; threshold: of limited portals, shared queues only */
	bool dedicated;
	bool block_on_fault;
	unsigned priority;		  /* 1 .. 15 */
	unsigned xfer_shift, batch_shift; /* of the largest transfer and batch */
};

enum dsa_vdev_why { DSA_VDEV_COMMAND, DSA_VDEV_RESET, DSA_VDEV_WHYS };

struct dsa_vdev_ops {
	/*
	 * A descriptor (DSA_DESC_BYTES) for queue @wq: 0, or -EAGAIN: it is full, or, for a limited
	 * portal, beyond its threshold.
	 */
	int (*submit)(void *arg, unsigned wq, const void *desc, bool limited);
	/* Would it answer so? */
	bool (*full)(void *arg, unsigned wq, bool limited);
	/*
	 * Wait (or, with @abort, cancel) until nothing is in flight of what was submitted before to
	 * the enabled queues among the bits @wqs; then dsa_vdev_idle() with the same @why, possibly
	 * before this returns. There is one of each at a time.
	 */
	void (*quiesce)(void *arg, enum dsa_vdev_why why, uint32_t wqs, bool abort);
	/* Queue @wq was enabled, with what its WQCFG says. -errno: it cannot be. */
	int (*enable_wq)(void *arg, unsigned wq, const struct dsa_vdev_wq *config);
	/* It was disabled; nothing is in flight. */
	void (*disable_wq)(void *arg, unsigned wq);
	/* May the device read and write memory by itself (bus master)? */
	bool (*bus_master)(void *arg);
};

struct dsa_vdev_config {
	const struct dsa_vdev_ops *ops;
	void *arg;
	unsigned nwqs;		       /* 1 .. DSA_WQS_MAX */
	const struct dsa_vdev_wq *wqs; /* copied */
	unsigned nengines;	       /* 1 .. 8 */
	bool configurable;	       /* the driver may configure queues and groups */
	uint64_t gencap;	       /* DSA_GENCAP_*, but for the shifts and CONFIG */
	unsigned xfer_shift, batch_shift;
	uint64_t opcap;
	unsigned nvectors; /* of MSI-X; 0 is the device's own */
	struct ims_vectors *vectors;
	/* Interrupt 0. Any thread, with the lock of the device held. */
	void (*interrupt)(void *arg);
};

/* 0; -EINVAL (a number above), -ENOMEM. */
int dsa_vdev_new(const struct dsa_vdev_config *config, struct dsa_vdev **out);
/* Nothing is in flight. NULL is allowed. */
void dsa_vdev_free(struct dsa_vdev *vdev);

/*
 * An access of the driver's. 0; -EINVAL: a size, alignment or place that no register has; -EAGAIN:
 * the shared queue did not take the descriptor (what ENQCMD tells).
 */
int dsa_vdev_read(struct dsa_vdev *vdev, uint64_t off, void *buf, size_t len);
int dsa_vdev_write(struct dsa_vdev *vdev, uint64_t off, const void *buf, size_t len);
int dsa_vdev_portal_write(struct dsa_vdev *vdev, uint64_t off, const void *buf, size_t len);

/*
 * Portals as memory: @pages are BAR 2, of which the driver writes pages 4n and 4n + 1 by itself.
 * NULL: no more. dsa_vdev_poll() takes what is there: true when there was something.
 */
void dsa_vdev_set_pages(struct dsa_vdev *vdev, void *pages);
bool dsa_vdev_poll(struct dsa_vdev *vdev);

/*
 * Abort all, and be as after power on, then @done. One at a time; a command under way ends in it.
 */
void dsa_vdev_reset(struct dsa_vdev *vdev, const struct vdpa_done *done);
/* What quiesce() was asked for is so. */
void dsa_vdev_idle(struct dsa_vdev *vdev, enum dsa_vdev_why why);
/* The hardware failed: nothing goes on before a reset of this type. */
void dsa_vdev_halt(struct dsa_vdev *vdev, enum dsa_reset_type reset);
/*
 * It may not read and write memory by itself any more. One that is enabled halts, without an
 * interrupt (which would be a write), until a reset by command; @done when nothing is in flight.
 * One at a time.
 */
void dsa_vdev_stop(struct dsa_vdev *vdev, const struct vdpa_done *done);
/* Interrupt handles are void: the driver is told, and asks for others. */
void dsa_vdev_revoke(struct dsa_vdev *vdev);
/* An error of queue @wq that no completion record tells. Any thread. */
void dsa_vdev_error(struct dsa_vdev *vdev, unsigned wq, const struct dsa_error *error);

/* ---- for people ---- */

struct dsa_vdev_stats {
	uint64_t commands, ignored; /* ignored: one was under way */
	uint64_t submitted;
	uint64_t dropped;	    /* the queue was full, or not enabled */
	uint64_t retried;	    /* a shared queue said so */
	uint64_t torn;		    /* parts of descriptors that never became whole */
	uint64_t errors, overflows; /* SWERR */
	uint64_t refused;	    /* accesses */
};
/* Any thread. */
void dsa_vdev_get_stats(struct dsa_vdev *vdev, struct dsa_vdev_stats *stats);
/* A word of BAR 0, without effects. Any thread. */
uint32_t dsa_vdev_peek(struct dsa_vdev *vdev, unsigned off);
enum dsa_state dsa_vdev_state(struct dsa_vdev *vdev);
bool dsa_vdev_wq_enabled(struct dsa_vdev *vdev, unsigned wq);
/* The names of the registers, for dumps: calls @fn for each word that has one. */
void dsa_vdev_dump(struct dsa_vdev *vdev,
		   void (*fn)(void *arg, const char *name, unsigned off, uint32_t value),
		   void *arg);

#endif
