/* SPDX-License-Identifier: BSD-3-Clause */
/* What programs share that try a /dev/vhost-vdpa-N: a line for each check. */
#ifndef TESTS_UAPI_UAPI_H
#define TESTS_UAPI_UAPI_H

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "calls.h"

static const char *path;
static unsigned checks, failed;

static inline void check(bool ok, const char *fmt, ...)
{
	va_list ap;

	checks++;
	failed += !ok;
	printf("%s ", ok ? "ok  " : "FAIL");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
}

static inline void is(const char *what, long got, long want)
{
	if (got == want)
		check(true, "%s", what);
	else
		check(false, "%s: %ld (%s), not %ld", what, got, got < 0 ? strerror((int)-got) : "",
		      want);
}

static inline void open_or_exit(struct cdev_client *c)
{
	int err = 0;

	/* The kernel closes late what another process held. */
	for (int i = 0; i < 100; i++) {
		err = cdev_client_open(c, path);
		if (err != -EBUSY)
			break;
		usleep(20000);
	}
	if (err) {
		fprintf(stderr, "%s: %s\n", path, strerror(-err));
		exit(2);
	}
}

#endif
