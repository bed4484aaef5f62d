/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A driver for tests of software devices: a context, a device, memory that is mapped into it, and
 * queues driven through the library's own virtqueue. Offsets are into the guest's memory.
 */
#ifndef TESTS_PARENT_SOFT_GUEST_H
#define TESTS_PARENT_SOFT_GUEST_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <uvdpa/compat.h>
#include <uvdpa/soft.h>
#include <uvdpa/vdpa.h>
#include <uvdpa/virtqueue.h>
#include "../patience.h"

#define SG_IOVA 0x10000000ull
#define SG_BYTES (8u << 20)
#define SG_QUEUES 8
/* Rings from the start of the memory, a slice each; data behind them. */
#define SG_RING_BYTES (256u << 10)
#define SG_DATA (SG_QUEUES * SG_RING_BYTES)
#define SG_SECOND 1000000000ll
#define SG_PATIENCE PATIENCE_NS
#define SG_TRIES 30000u /* of a millisecond each, at least */

#define SG_ACK (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER)
#define SG_V1 (VDPA_BIT(VIRTIO_F_VERSION_1) | VDPA_BIT(VIRTIO_F_ACCESS_PLATFORM))

struct sg_queue {
	struct virtqueue *vq;
	int kick, call;
};

struct soft_guest {
	struct vdpa_ctx *ctx;
	struct vdpa_device *dev;
	struct vdpa_region *region;
	uint8_t *mem;
	unsigned asid;
	bool mapped;
	struct sg_queue q[SG_QUEUES];
	unsigned log_lines;
	char last_log[256];
	unsigned config_calls;
};

/* A context with its built-in parents. @workers: queue threads. */
void sg_open(struct soft_guest *g, unsigned workers);
/* Another guest in the context of @first, with memory of its own; it leaves before that closes. */
void sg_join(struct soft_guest *g, const struct soft_guest *first);
void sg_leave(struct soft_guest *g);
/* Adopt a device that the test made itself; or have one made by a management device. */
void sg_use(struct soft_guest *g, struct vdpa_device *dev);
int sg_try_add(struct soft_guest *g, const char *mgmtdev, const char *name,
	       const struct vdpa_dev_set_config *config, struct vdpa_error *err);
void sg_add(struct soft_guest *g, const char *mgmtdev, const struct vdpa_attr *attrs);
/* Map all of the guest's memory. */
void sg_map(struct soft_guest *g);
/* ACKNOWLEDGE, DRIVER, features, FEATURES_OK. */
void sg_negotiate(struct soft_guest *g, uint64_t features);
/* A ring of @num for queue @idx, ready. */
void sg_queue(struct soft_guest *g, unsigned idx, uint32_t num);
void sg_queue_setup(struct soft_guest *g, unsigned idx, uint32_t num);
void sg_driver_ok(struct soft_guest *g);
/* All of the above. */
void sg_start(struct soft_guest *g, uint64_t features, unsigned nqueues, uint32_t num);
void sg_reset(struct soft_guest *g);
/*
 * Run the control loop for a moment. After one of SG_MOMENT or more, each loop has taken SG_TURNS
 * turns, too, however busy the machine is: what needs no more than that has happened.
 */
#define SG_MOMENT (SG_SECOND / 500)
#define SG_TURNS 8
void sg_run(struct soft_guest *g, int64_t ns);
/* Every loop passes between two batches. */
void sg_turn(struct soft_guest *g);
/* Reset, delete the device, free everything. */
void sg_close(struct soft_guest *g);
void sg_del(struct soft_guest *g);

struct sg_wait {
	bool done;
	int result;
};
struct vdpa_done sg_done(struct sg_wait *wait);
/* Wait for it, with patience. */
int sg_wait(struct soft_guest *g, struct sg_wait *wait);

static inline struct virtqueue_sg sg_at(size_t off, uint32_t len)
{
	return (struct virtqueue_sg){SG_IOVA + off, len};
}

/* Make a request available; returns without waiting. */
void sg_send(struct soft_guest *g, unsigned idx, const struct virtqueue_sg *sg, unsigned nout,
	     unsigned nin, void *token);
/* Kick whatever the ring says. */
void sg_kick(struct soft_guest *g, unsigned idx);
/* Next completion within @ns, or NULL. */
void *sg_get(struct soft_guest *g, unsigned idx, uint32_t *len, int64_t ns);
/* The same, after SG_TURNS of each loop at the earliest: for what need not come. */
void *sg_get_any(struct soft_guest *g, unsigned idx, uint32_t *len, int64_t ns);
/* Send and wait; returns the used length. */
uint32_t sg_io(struct soft_guest *g, unsigned idx, const struct virtqueue_sg *sg, unsigned nout,
	       unsigned nin);
/* Value of one of queue @idx's statistics; UINT64_MAX: there is none of this name. */
uint64_t sg_stat(struct soft_guest *g, unsigned idx, const char *name);
/* Run until the status has @bits. */
void sg_until_status(struct soft_guest *g, uint8_t bits);
unsigned sg_open_fds(void);

#endif
