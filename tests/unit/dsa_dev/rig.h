/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A virtual device whose queues are played by the test: descriptors are kept, quiet comes when the
 * test says so.
 */
#ifndef TESTS_DSA_DEV_RIG_H
#define TESTS_DSA_DEV_RIG_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "dsa_dev/vdev.h"

#define RIG_DESCS 256

struct rig {
	struct dsa_vdev *vdev;
	struct ims *ims;
	struct ims_vectors *vectors;
	unsigned interrupts;	   /* of vector 0 */
	unsigned vector[4];	   /* of the others */
	bool bus_master, no_queue; /* no_queue: enable_wq fails */
	unsigned room;		   /* of each queue */
	unsigned n;
	uint8_t descs[RIG_DESCS][DSA_DESC_BYTES];
	unsigned desc_wq[RIG_DESCS];
	unsigned enabled; /* bits */
	struct dsa_vdev_wq config;
	struct {
		unsigned calls;
		uint32_t wqs;
		bool abort, pending;
	} quiet[DSA_VDEV_WHYS];
	bool at_once; /* nothing is in flight */
	unsigned resets;
};

static int rig_submit(void *arg, unsigned wq, const void *desc, bool limited)
{
	struct rig *rig = arg;

	if (rig->n >= rig->room || (limited && rig->n >= rig->config.threshold))
		return -EAGAIN;
	memcpy(rig->descs[rig->n], desc, DSA_DESC_BYTES);
	rig->desc_wq[rig->n++] = wq;
	return 0;
}

static bool rig_full(void *arg, unsigned wq, bool limited)
{
	struct rig *rig = arg;

	return rig->n >= rig->room || (limited && rig->n >= rig->config.threshold);
}

static void rig_quiesce(void *arg, enum dsa_vdev_why why, uint32_t wqs, bool abort)
{
	struct rig *rig = arg;

	assert_false(rig->quiet[why].pending);
	rig->quiet[why].calls++;
	rig->quiet[why].wqs = wqs;
	rig->quiet[why].abort = abort;
	rig->quiet[why].pending = true;
	if (rig->at_once) {
		rig->quiet[why].pending = false;
		dsa_vdev_idle(rig->vdev, why);
	}
}

static inline void rig_quiet(struct rig *rig, enum dsa_vdev_why why)
{
	assert_true(rig->quiet[why].pending);
	rig->quiet[why].pending = false;
	dsa_vdev_idle(rig->vdev, why);
}

static int rig_enable(void *arg, unsigned wq, const struct dsa_vdev_wq *config)
{
	struct rig *rig = arg;

	if (rig->no_queue)
		return -ENOMEM;
	assert_false(rig->enabled >> wq & 1);
	rig->enabled |= 1u << wq;
	rig->config = *config;
	return 0;
}

static void rig_disable(void *arg, unsigned wq)
{
	struct rig *rig = arg;

	assert_true(rig->enabled >> wq & 1);
	rig->enabled &= ~(1u << wq);
}

static bool rig_bus_master(void *arg)
{
	return ((struct rig *)arg)->bus_master;
}

static const struct dsa_vdev_ops rig_ops = {
	.submit = rig_submit,
	.full = rig_full,
	.quiesce = rig_quiesce,
	.enable_wq = rig_enable,
	.disable_wq = rig_disable,
	.bus_master = rig_bus_master,
};

static void rig_interrupt(void *arg)
{
	((struct rig *)arg)->interrupts++;
}

static void rig_signal(void *arg, unsigned vector)
{
	((struct rig *)arg)->vector[vector]++;
}

static inline void rig_reset_done(void *arg, int result)
{
	assert_int_equal(result, 0);
	((struct rig *)arg)->resets++;
}

static inline const struct vdpa_done *rig_reset(struct rig *rig)
{
	static struct vdpa_done done;

	done = (struct vdpa_done){rig_reset_done, rig};
	return &done;
}

static const struct dsa_vdev_wq rig_dedicated = {
	.size = 64, .dedicated = true, .priority = 10, .xfer_shift = 21, .batch_shift = 5};
static const struct dsa_vdev_wq rig_shared = {
	.size = 64, .threshold = 48, .priority = 10, .xfer_shift = 21, .batch_shift = 5};

/* @wqs of @nwqs queues; the rest may be changed before rig_start(). */
static inline struct dsa_vdev_config rig_config(struct rig *rig, const struct dsa_vdev_wq *wqs,
						unsigned nwqs)
{
	struct ims_config ims = {.slots = 8, .need_pasid = true};
	struct ims_vectors_config v = {
		.count = 2, .emulated = 1, .pasid = 9, .signal = rig_signal, .arg = rig};

	memset(rig, 0, sizeof(*rig));
	rig->bus_master = true;
	rig->room = RIG_DESCS;
	assert_int_equal(ims_new(&ims, &rig->ims), 0);
	v.ims = rig->ims;
	assert_int_equal(ims_vectors_new(&v, &rig->vectors), 0);
	return (struct dsa_vdev_config){
		.ops = &rig_ops,
		.arg = rig,
		.nwqs = nwqs,
		.wqs = wqs,
		.nengines = 2,
		.gencap = DSA_GENCAP_OVERLAP,
		.xfer_shift = 21,
		.batch_shift = 5,
		.opcap = DSA_OPCAP,
		.nvectors = 2,
		.vectors = rig->vectors,
		.interrupt = rig_interrupt,
	};
}

static inline void rig_start(struct rig *rig, const struct dsa_vdev_wq *wq)
{
	struct dsa_vdev_config config = rig_config(rig, wq, 1);

	assert_int_equal(dsa_vdev_new(&config, &rig->vdev), 0);
	rig->at_once = true;
}

static inline void rig_end(struct rig *rig)
{
	dsa_vdev_free(rig->vdev);
	ims_vectors_free(rig->vectors);
	assert_int_equal(ims_used(rig->ims), 0);
	ims_free(rig->ims);
}

static inline uint32_t rig_read(struct rig *rig, unsigned off)
{
	uint32_t value = 0xdeadbeef;

	assert_int_equal(dsa_vdev_read(rig->vdev, off, &value, 4), 0);
	return value;
}

static inline void rig_write(struct rig *rig, unsigned off, uint32_t value)
{
	assert_int_equal(dsa_vdev_write(rig->vdev, off, &value, 4), 0);
}

/* What CMDSTS says afterwards. */
static inline uint32_t rig_cmd(struct rig *rig, enum dsa_cmd cmd, uint32_t operand)
{
	rig_write(rig, DSA_CMD, (uint32_t)cmd << DSA_CMD_SHIFT | operand);
	return rig_read(rig, DSA_CMDSTS);
}

static inline void rig_enable_all(struct rig *rig)
{
	assert_int_equal(rig_cmd(rig, DSA_CMD_ENABLE_DEVICE, 0), 0);
	assert_int_equal(rig_cmd(rig, DSA_CMD_ENABLE_WQ, 0), 0);
}

#endif
