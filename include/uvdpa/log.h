/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Log: the library never writes to stderr. Each context has one callback; lines carry the object.
 *
 * Since 0.1, unless a function says otherwise.
 */
#ifndef UVDPA_LOG_H
#define UVDPA_LOG_H

#include <uvdpa/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Levels are syslog's numbers, so that a daemon can print "<4>" prefixes. */
enum vdpa_log_level {
	VDPA_LOG_ERR = 3,  /**< something was lost or a device is broken */
	VDPA_LOG_WARN = 4, /**< a guest or peer misbehaved, or a fallback was taken */
	VDPA_LOG_INFO = 6, /**< life of objects */
	VDPA_LOG_DEBUG = 7,
};

/** @object: "d0", "d0/vq1", "" ; @msg: one line without newline. Called on any thread. */
typedef void (*vdpa_log_fn)(void *arg, enum vdpa_log_level level, const char *object,
			    const char *msg);

struct vdpa_log {
	vdpa_log_fn fn; /**< NULL: nothing is logged */
	void *arg;
	enum vdpa_log_level
		level; /**< lines above this number are dropped before they are formatted */
};

VDPA_API void vdpa_log(const struct vdpa_log *log, enum vdpa_log_level level, const char *object,
		       const char *fmt, ...) VDPA_PRINTF(4, 5);

/**
 * Rate limit for lines that a guest or peer can cause: @burst lines per @interval_ns; what was
 * suppressed is counted. One thread at a time.
 */
struct vdpa_ratelimit {
	uint64_t interval_ns;
	unsigned burst;
	uint64_t window_start_ns;
	unsigned in_window;
	uint64_t suppressed;
};

#define VDPA_RATELIMIT_INIT                                                                        \
	{                                                                                          \
		.interval_ns = 5000000000ull, .burst = 10                                          \
	}

/** True when a line may be written now. */
VDPA_API bool vdpa_ratelimit_ok(struct vdpa_ratelimit *rl);

/**
 * vdpa_log() when @rl allows; when a new window opens after suppression, first a line that says how
 * many were suppressed.
 */
VDPA_API void vdpa_log_limited(const struct vdpa_log *log, struct vdpa_ratelimit *rl,
			       enum vdpa_log_level level, const char *object, const char *fmt, ...)
	VDPA_PRINTF(5, 6);

#ifdef __cplusplus
}
#endif
#endif
