/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * /dev/vhost-vdpa-N on a socket: what a process that has no such character device says instead of
 * open, ioctl, write and close. SOCK_SEQPACKET, host byte order (both ends are on one machine), one
 * message each way at a time; the connection is the open file, its end is close(2).
 *
 *	connect      the server speaks first: a reply of type OPEN, with the result of open(2)
 *	IOCTL        an ioctl's number and argument; a descriptor in the argument comes as
 *SCM_RIGHTS. Reply: the result, and the bytes to write back WRITE        an IOTLB message. The
 *memory that it names comes as descriptors, one for each struct cdev_mem. Reply: bytes written or
 *-errno; the effect is there then
 */
#ifndef VHOST_CDEV_WIRE_H
#define VHOST_CDEV_WIRE_H

#include <stdint.h>
#include <uvdpa/vhost_uapi.h>

#include "base/fd.h"

#define CDEV_VERSION 1u
#define CDEV_NAME_BYTES 32
#define CDEV_MEM_MAX VDPA_FDS_MAX

enum cdev_type {
	CDEV_OPEN = 1,
	CDEV_IOCTL,
	CDEV_WRITE,
};

struct cdev_request {
	uint32_t type;
	uint32_t cmd;	/* IOCTL */
	uint32_t nmem;	/* WRITE: how many struct cdev_mem follow */
	uint32_t bytes; /* of argument or message, behind them */
};

/* Bytes [uaddr, uaddr + size) of the caller's memory are the file's from @offset on. */
struct cdev_mem {
	uint64_t uaddr, size, offset;
	uint32_t writable, reserved;
};

struct cdev_reply {
	uint32_t type;
	int32_t result;
	uint32_t bytes; /* that follow */
	uint32_t reserved;
};

/* What follows the reply OPEN when it succeeded. */
struct cdev_hello {
	uint32_t version;
	uint32_t device_id;
	char name[CDEV_NAME_BYTES]; /* "vhost-vdpa-0" */
};

#define CDEV_REQUEST_MAX                                                                           \
	(sizeof(struct cdev_request) + CDEV_MEM_MAX * sizeof(struct cdev_mem) + VHOST_UAPI_ARG_MAX)
#define CDEV_REPLY_MAX (sizeof(struct cdev_reply) + VHOST_UAPI_ARG_MAX)

#endif
