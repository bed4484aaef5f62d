/* SPDX-License-Identifier: BSD-3-Clause */
/* The calls of an open /dev/vhost-vdpa-N; 0 or -errno, where nothing else is said. */
#ifndef TESTS_UAPI_CALLS_H
#define TESTS_UAPI_CALLS_H

#include <uvdpa/compat.h>

#include "driver/vhost_cdev/client.h"

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

#endif
