// SPDX-License-Identifier: BSD-3-Clause
/*
 * Log lines may quote what a guest or peer sent: they are made one line without control characters,
 * and those that a stranger can cause are rate-limited, so that nobody fills a disk from outside.
 */
#include <inttypes.h>
#include <stdio.h>
#include <uvdpa/log.h>
#include <uvdpa/loop.h>
#include "base/text.h"

#define LOG_LINE_BYTES 1024

static bool log_wanted(const struct vdpa_log *log, enum vdpa_log_level level)
{
	return log && log->fn && level <= log->level;
}

static void log_line(const struct vdpa_log *log, enum vdpa_log_level level, const char *object,
		     const char *fmt, va_list ap)
{
	char line[LOG_LINE_BYTES];

	vsnprintf(line, sizeof(line), fmt, ap);
	vdpa_text_one_line(line);
	log->fn(log->arg, level, object ? object : "", line);
}

void vdpa_log(const struct vdpa_log *log, enum vdpa_log_level level, const char *object,
	      const char *fmt, ...)
{
	va_list ap;

	if (!log_wanted(log, level))
		return;
	va_start(ap, fmt);
	log_line(log, level, object, fmt, ap);
	va_end(ap);
}

bool vdpa_ratelimit_ok(struct vdpa_ratelimit *rl)
{
	uint64_t now = vdpa_clock_ns();

	if (!rl->window_start_ns || now - rl->window_start_ns >= rl->interval_ns) {
		rl->window_start_ns = now;
		rl->in_window = 0;
	}
	if (rl->in_window < rl->burst) {
		rl->in_window++;
		return true;
	}
	rl->suppressed++;
	return false;
}

void vdpa_log_limited(const struct vdpa_log *log, struct vdpa_ratelimit *rl,
		      enum vdpa_log_level level, const char *object, const char *fmt, ...)
{
	va_list ap;

	/* A line that nobody wants must not use up the window of one that somebody does. */
	if (!log_wanted(log, level) || !vdpa_ratelimit_ok(rl))
		return;
	if (rl->suppressed) {
		vdpa_log(log, level, object, "%" PRIu64 " similar lines suppressed",
			 rl->suppressed);
		rl->suppressed = 0;
	}
	va_start(ap, fmt);
	log_line(log, level, object, fmt, ap);
	va_end(ap);
}
