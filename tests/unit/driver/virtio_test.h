/* SPDX-License-Identifier: BSD-3-Clause */
/* What the tests of the virtio bus share: a context with a log that remembers, fds counted. */
#ifndef TESTS_VIRTIO_TEST_H
#define TESTS_VIRTIO_TEST_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/list.h"
#include "virtio_fake.h"
#include "../open_fds.h"

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* The last warning or error. */
static char last_log[512];

static inline void log_line(void *arg, enum vdpa_log_level level, const char *object,
			    const char *msg)
{
	(void)arg;
	if (level <= VDPA_LOG_WARN)
		snprintf(last_log, sizeof(last_log), "%s: %s", object, msg);
}

static inline struct vdpa_ctx *ctx_new(unsigned workers)
{
	struct vdpa_ctx_config config = {
		.size = sizeof(config),
		.workers = workers,
		.log = {.fn = log_line, .level = VDPA_LOG_WARN},
	};
	struct vdpa_ctx *ctx;

	last_log[0] = 0;
	assert_int_equal(vdpa_ctx_new(&config, &ctx), 0);
	assert_int_equal(vdpa_register_driver(ctx, &virtio_vdpa_driver), 0);
	return ctx;
}

static inline void ctx_del(struct vdpa_ctx *ctx)
{
	assert_int_equal(vdpa_ctx_free(ctx), 0);
}

static inline void set_flag(void *arg, int result)
{
	(void)result;
	*(bool *)arg = true;
}

/* Result of an asynchronous operation. */
struct outcome {
	bool done;
	int result;
};

static inline void set_outcome(void *arg, int result)
{
	struct outcome *o = arg;

	assert_false(o->done);
	o->done = true;
	o->result = result;
}

static inline void fill_pattern(uint8_t *buf, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		buf[i] = (uint8_t)(seed * 31 + i * 7 + (i >> 9));
}

#endif
