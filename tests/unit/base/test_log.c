// SPDX-License-Identifier: BSD-3-Clause
/* Levels, one line per line, and the rate limit. */
#include <stdio.h>
#include <string.h>
#include <uvdpa/log.h>
#include <uvdpa/loop.h>
#include "base/cmocka_inc.h"

static struct {
	unsigned n;
	enum vdpa_log_level level;
	char object[64], msg[2048], previous[2048];
} seen;

static void on_line(void *arg, enum vdpa_log_level level, const char *object, const char *msg)
{
	seen.n++;
	seen.level = level;
	snprintf(seen.object, sizeof(seen.object), "%s", object);
	snprintf(seen.previous, sizeof(seen.previous), "%s", seen.msg);
	snprintf(seen.msg, sizeof(seen.msg), "%s", msg);
}

static const struct vdpa_log info = {.fn = on_line, .level = VDPA_LOG_INFO};

static int setup(void **state)
{
	memset(&seen, 0, sizeof(seen));
	return 0;
}

static void levels(void **state)
{
	const struct vdpa_log nobody = {.level = VDPA_LOG_DEBUG};

	vdpa_log(&info, VDPA_LOG_DEBUG, "d0", "dropped");
	vdpa_log(&nobody, VDPA_LOG_ERR, "d0", "dropped");
	vdpa_log(NULL, VDPA_LOG_ERR, "d0", "dropped");
	assert_int_equal(seen.n, 0);
	vdpa_log(&info, VDPA_LOG_INFO, "d0/vq1", "number %d", 7);
	assert_int_equal(seen.n, 1);
	assert_int_equal(seen.level, VDPA_LOG_INFO);
	assert_string_equal(seen.object, "d0/vq1");
	assert_string_equal(seen.msg, "number 7");
	vdpa_log(&info, VDPA_LOG_ERR, NULL, "no object");
	assert_string_equal(seen.object, "");
}

static void lines_stay_lines(void **state)
{
	char longer[4000];

	vdpa_log(&info, VDPA_LOG_ERR, "d0", "peer said \"%s\"", "a\n<3>forged\x1b[1m");
	assert_null(strchr(seen.msg, '\n'));
	assert_null(strchr(seen.msg, '\x1b'));
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	vdpa_log(&info, VDPA_LOG_ERR, "d0", "%s", longer);
	assert_true(strlen(seen.msg) < 2000);
}

static void burst_then_silence_then_the_count(void **state)
{
	struct vdpa_ratelimit rl = {.interval_ns = 20000000, .burst = 3};
	uint64_t start = vdpa_clock_ns();

	for (int i = 0; i < 1000; i++)
		vdpa_log_limited(&info, &rl, VDPA_LOG_WARN, "d0", "line %d", i);
	if (vdpa_clock_ns() - start < rl.interval_ns) {
		assert_int_equal(seen.n, 3);
		assert_string_equal(seen.msg, "line 2");
		assert_int_equal(rl.suppressed, 997);
	}
	while (vdpa_clock_ns() - start < 2 * rl.interval_ns)
		;
	rl.suppressed = 997;
	seen.n = 0;
	vdpa_log_limited(&info, &rl, VDPA_LOG_WARN, "d0", "next");
	assert_int_equal(seen.n, 2);
	assert_string_equal(seen.previous, "997 similar lines suppressed");
	assert_string_equal(seen.msg, "next");
	assert_int_equal(rl.suppressed, 0);
}

static void a_flood_is_capped(void **state)
{
	struct vdpa_ratelimit rl = VDPA_RATELIMIT_INIT;

	for (int i = 0; i < 1000000; i++)
		vdpa_log_limited(&info, &rl, VDPA_LOG_WARN, "d0", "malformed");
	assert_true(seen.n <= 11 * 2);
}

static void unwanted_lines_do_not_count(void **state)
{
	struct vdpa_ratelimit rl = VDPA_RATELIMIT_INIT;

	for (int i = 0; i < 100; i++)
		vdpa_log_limited(&info, &rl, VDPA_LOG_DEBUG, "d0", "debug");
	assert_int_equal(rl.suppressed, 0);
	assert_int_equal(rl.in_window, 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup(f, setup)
	const struct CMUnitTest tests[] = {
		T(levels),
		T(lines_stay_lines),
		T(burst_then_silence_then_the_count),
		T(a_flood_is_capped),
		T(unwanted_lines_do_not_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
