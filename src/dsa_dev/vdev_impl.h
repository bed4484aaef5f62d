/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the virtual device share. */
#ifndef DSA_DEV_VDEV_IMPL_H
#define DSA_DEV_VDEV_IMPL_H

#include "dsa_dev/vdev.h"

/* Descriptors that are being put together, at most: one of each processor; see vdev_portal.c. */
#define VDEV_PARTS 512u

struct vdev_part {
	uint32_t portal;
	uint32_t slot;
	uint64_t have; /* a bit per byte; 0: the entry is free */
	uint64_t age;
	uint8_t data[DSA_DESC_BYTES];
};

struct dsa_vdev {
	struct dsa_vdev_config config;
	struct dsa_vdev_wq wqs[DSA_WQS_MAX]; /* as after a reset */

	/* Written under the lock; the device's thread reads without what only it writes. */
	pthread_mutex_t lock;
	uint32_t regs[DSA_REGS_BYTES / 4];

	/* The device's thread. */
	bool waiting[DSA_VDEV_WHYS]; /* for dsa_vdev_idle() */
	bool cmd_waits;
	uint32_t cmd;	  /* that is waited for, */
	uint32_t cmd_wqs; /* and for which queues */
	uint32_t closed;  /* queues that take nothing, since they are to be disabled */
	bool resetting;
	struct vdpa_done reset_done, stop_done;
	unsigned nparts; /* beyond these none was ever used */
	struct vdev_part parts[VDEV_PARTS];
	uint64_t age;
	void *pages;

	_Atomic uint64_t commands, ignored, submitted, dropped, retried, torn, errors, overflows,
		refused;
};

#define vdev_count(counter) atomic_fetch_add_explicit(&(counter), 1, memory_order_relaxed)

static inline uint32_t *vdev_reg(struct dsa_vdev *vdev, unsigned off)
{
	return &vdev->regs[off / 4];
}

static inline uint32_t *vdev_wqcfg(struct dsa_vdev *vdev, unsigned wq, unsigned word)
{
	return vdev_reg(vdev, DSA_WQCFG + wq * DSA_WQCFG_STRIDE + word * 4);
}

static inline uint64_t vdev_reg64(struct dsa_vdev *vdev, unsigned off)
{
	return *vdev_reg(vdev, off) | (uint64_t)*vdev_reg(vdev, off + 4) << 32;
}

/* vdev_regs.c: with the lock */
void vdev_regs_reset(struct dsa_vdev *vdev);

/* vdev_cmd.c */
static inline enum dsa_state vdev_state(struct dsa_vdev *vdev)
{
	return *vdev_reg(vdev, DSA_GENSTS) & DSA_GENSTS_STATE;
}

static inline bool vdev_wq_enabled(struct dsa_vdev *vdev, unsigned wq)
{
	return *vdev_wqcfg(vdev, wq, DSA_WQW_STATE) >> DSA_WQCFG_STATE_SHIFT;
}

static inline uint32_t vdev_all_wqs(const struct dsa_vdev *vdev)
{
	return (1u << vdev->config.nwqs) - 1;
}

/* @value was written to CMD. */
void vdev_command(struct dsa_vdev *vdev, uint32_t value);
/* Wait, as ops->quiesce() does. */
void vdev_quiesce(struct dsa_vdev *vdev, enum dsa_vdev_why why, uint32_t wqs, bool abort);

/* vdev_check.c */
enum dsa_cmdsts vdev_check_device(struct dsa_vdev *vdev);
enum dsa_cmdsts vdev_check_wq(struct dsa_vdev *vdev, unsigned wq);
/* What its WQCFG says. */
void vdev_wq_config(struct dsa_vdev *vdev, unsigned wq, struct dsa_vdev_wq *out);

/* vdev_event.c: with the lock */
/* Set causes of an interrupt, and raise it. */
void vdev_cause(struct dsa_vdev *vdev, uint32_t causes);

/* vdev_portal.c */
void vdev_portal_reset(struct dsa_vdev *vdev);

#endif
