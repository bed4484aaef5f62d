// SPDX-License-Identifier: BSD-3-Clause
#include <time.h>
#include <uvdpa/loop.h>

uint64_t vdpa_clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}
