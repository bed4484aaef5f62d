/* SPDX-License-Identifier: BSD-3-Clause */
/* A parent that remembers what it was told, and a driver that does; for the tests of the bus. */
#ifndef TESTS_VDPA_MOCK_H
#define TESTS_VDPA_MOCK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uvdpa/compat.h>
#include <uvdpa/vdpa.h>

#define MOCK_VQS 4
#define MOCK_CONFIG_BYTES 16

struct mock {
	char before[24]; /* so that the vdpa_device is not the first member */
	struct vdpa_device vdpa;
	uint64_t offered, driver_features;
	uint8_t status;
	uint8_t config[MOCK_CONFIG_BYTES];
	uint32_t generation, generation_moves; /* how often it will still change under a reader */
	unsigned resets, kicks, last_num, map_calls, set_features_calls;
	bool ready[MOCK_VQS];
	struct vdpa_vq_state state[MOCK_VQS];
	struct vdpa_callback cb;
	struct vdpa_iova_range unmapped; /* the last dma_unmap */
	int fail;			 /* what ops that can fail return */
	struct vdpa_done pending;
	bool at_once; /* asynchronous forms complete before they return */
	unsigned *freed;
};

static inline struct mock *to_mock(struct vdpa_device *vdev)
{
	return (struct mock *)(void *)((char *)vdev - offsetof(struct mock, vdpa));
}

/** Every op of struct vdpa_config_ops but set_map (which mock_set_map_ops has instead of dma_map).
 */
extern const struct vdpa_config_ops mock_ops, mock_set_map_ops;
/** Only what is mandatory. */
extern const struct vdpa_config_ops mock_bare_ops;
/** Asynchronous forms that keep the completion in mock->pending. */
extern const struct vdpa_ext_ops mock_async_ops;

struct mock *mock_new(struct vdpa_ctx *ctx, const char *name, const struct vdpa_config_ops *ops);
/** mock_new() and registration; both must succeed. */
struct mock *mock_add(struct vdpa_ctx *ctx, const char *name);
void mock_complete(struct mock *m, int result);

/** A driver of the test: one at a time, counters are reset by mock_driver_reset(). */
struct mock_driver_state {
	int probe_result, probes, removes;
	bool refuse, hold; /* match says no; remove keeps the completion */
	struct vdpa_done held;
	const struct vdpa_attr *attrs;
};
extern struct mock_driver_state mock_driver_state;
extern const struct vdpa_driver mock_driver, mock_auto_driver, mock_auto_driver2;
void mock_driver_reset(void);
void mock_driver_let_go(int result);

/** A completion that counts. */
struct counted_done {
	unsigned calls;
	int result;
};
struct vdpa_done counted_done(struct counted_done *c);

/** Collects events as letters: A(dd) D(el) B(ind) U(nbind) C(hange) X (broken). */
struct event_log {
	struct vdpa_subscriber sub;
	char trace[64];
	char last_name[VDPA_NAME_MAX + 1];
};
void event_log_start(struct vdpa_ctx *ctx, struct event_log *log);

struct vdpa_ctx *mock_ctx(void);

#endif
