/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device of four queues that fills what it gets with 0x5a, at once or when it is told: for what
 * happens while requests are out. Run with the queues on the control loop, so that tests may look
 * inside.
 */
#ifndef TESTS_PARENT_HOLD_DEV_H
#define TESTS_PARENT_HOLD_DEV_H

#include "soft_guest.h"

#define HOLD_QUEUES 4
#define HOLD_FILL 0x5a
/* Bits that the device offers; BAD makes its check_features refuse. */
#define HOLD_F_ONE VDPA_BIT(0)
#define HOLD_F_BAD VDPA_BIT(1)

struct hold_queue {
	struct vdpa_soft_vq *vq; /* while it runs */
	struct vringh_chain *held[1024];
	unsigned n;
	uint64_t served;
	unsigned starts, stops, stoppeds;
};

struct hold_dev {
	struct vdpa_soft soft;
	struct hold_queue q[HOLD_QUEUES];
	bool hold;	  /* keep requests */
	bool ignore_stop; /* a backend that cannot be cancelled */
	bool endless;	  /* run says that there is always more */
	int start_error;
	unsigned driver_oks, resets, frees;
	_Atomic unsigned max_budget, runs; /* of all queues, each on its loop */
	uint32_t own;			   /* saved and loaded */
	unsigned *freed;
};

struct hold_params {
	enum vdpa_soft_map map;
	uint64_t stop_timeout_ns;
	unsigned nas, ngroups;
	enum vdpa_soft_groups groups; /* DEFAULT: see hold_group() */
	bool desc_group;
	bool control; /* the last queue is a control queue */
	unsigned budget;
};

static inline struct hold_dev *hold_of(struct vdpa_soft *dev)
{
	return (struct hold_dev *)(void *)((char *)dev - offsetof(struct hold_dev, soft));
}

/* End everything that is held. */
void hold_release(struct hold_dev *dev, unsigned idx);
struct hold_dev *hold_make(struct vdpa_ctx *ctx, const char *name, const struct hold_params *params,
			   struct vdpa_error *err);
/* A guest with such a device, registered and in use. */
struct hold_dev *hold_open(struct soft_guest *g, const struct hold_params *params);
/* A writable buffer of @len bytes at SG_DATA + slot * 4096. */
void hold_post(struct soft_guest *g, unsigned idx, unsigned slot, uint32_t len);

#endif
