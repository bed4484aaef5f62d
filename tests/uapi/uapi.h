/* SPDX-License-Identifier: BSD-3-Clause */
/* What programs share that try a /dev/vhost-vdpa-N: a line for each check, and the calls. */
#ifndef TESTS_UAPI_UAPI_H
#define TESTS_UAPI_UAPI_H

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <uvdpa/compat.h>

#include "driver/vhost_cdev/client.h"

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

/* ---- calls ---- */

static inline int do_ioctl(struct cdev_client *c, uint32_t cmd, void *arg, size_t bytes)
{
	return cdev_client_ioctl(c, cmd, arg, bytes, -1);
}

static inline int set_state(struct cdev_client *c, uint32_t cmd, uint32_t index, uint32_t num)
{
	struct vhost_vring_state s = {.index = index, .num = num};

	return do_ioctl(c, cmd, &s, sizeof(s));
}

static inline int set_status(struct cdev_client *c, uint8_t status)
{
	return do_ioctl(c, VHOST_VDPA_SET_STATUS, &status, 1);
}

static inline uint8_t get_status(struct cdev_client *c)
{
	uint8_t status = 0xff;

	do_ioctl(c, VHOST_VDPA_GET_STATUS, &status, 1);
	return status;
}

static inline uint64_t get64(struct cdev_client *c, uint32_t cmd)
{
	uint64_t value = 0;

	do_ioctl(c, cmd, &value, sizeof(value));
	return value;
}

static inline uint32_t get32(struct cdev_client *c, uint32_t cmd)
{
	uint32_t value = 0;

	do_ioctl(c, cmd, &value, sizeof(value));
	return value;
}

static inline int set64(struct cdev_client *c, uint32_t cmd, uint64_t value)
{
	return do_ioctl(c, cmd, &value, sizeof(value));
}

static inline int set_fd(struct cdev_client *c, uint32_t cmd, uint32_t index, int fd)
{
	struct vhost_vring_file file = {.index = index, .fd = fd};

	return cdev_client_ioctl(c, cmd, &file, sizeof(file), fd);
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
