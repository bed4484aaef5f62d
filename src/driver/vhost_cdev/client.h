/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An open /dev/vhost-vdpa-N: the kernel's character device, or one of ours on a socket. Calls wait
 * for their answer. One thread at a time for each open file.
 */
#ifndef VHOST_CDEV_CLIENT_H
#define VHOST_CDEV_CLIENT_H

#include "driver/vhost_cdev/wire.h"

struct cdev_client {
	int fd;
	bool socket; /* ours; else the kernel's */
	struct cdev_hello hello;
};

/* Memory of the caller's that a message names. */
struct cdev_client_mem {
	struct cdev_mem mem;
	int fd; /* stays the caller's */
};

/* @path: a socket or a character device. 0, -EBUSY (somebody has it open), -EPROTO, or -errno. */
int cdev_client_open(struct cdev_client *c, const char *path);
void cdev_client_close(struct cdev_client *c);
/*
 * ioctl(2): 0 or -errno. @arg as for Linux, of @bytes bytes (what vhost_uapi_size() says). @fd: the
 * descriptor that the argument names, or -1; for the kernel's device it is the argument that
 * counts.
 */
int cdev_client_ioctl(struct cdev_client *c, uint32_t cmd, void *arg, size_t bytes, int fd);
/*
 * write(2) of an IOTLB message: bytes or -errno. @mem: what an UPDATE names (at most CDEV_MEM_MAX);
 * the kernel finds it by itself.
 */
ssize_t cdev_client_write(struct cdev_client *c, const void *msg, size_t bytes,
			  const struct cdev_client_mem *mem, unsigned nmem);

#endif
