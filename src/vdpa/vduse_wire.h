/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VDUSE without a kernel: the same interface over a UNIX seqpacket socket (docs/vduse.md).
 *
 * One connection is one open file, of /dev/vduse/control or of /dev/vduse/NAME. The first message
 * says which; the answer to it brings a descriptor, which stands for the file: of a device, read(2)
 * gives requests (struct vduse_dev_request), write(2) takes responses, and poll(2) says when. It is
 * a socket, so each is one message. What would be ioctl(2) goes over the connection, one request
 * and one answer at a time, with the interface's own numbers and structures, and descriptors beside
 * them. The file is closed when the connection or the descriptor's last copy is.
 *
 * Host byte order: both ends are on one machine.
 */
#ifndef VDPA_VDUSE_WIRE_H
#define VDPA_VDUSE_WIRE_H

#include <stddef.h>
#include <uvdpa/types.h>

#include "vdpa/vduse_abi.h"

#define VDUSE_WIRE_VERSION 1
#define VDUSE_WIRE_ARG_MAX (sizeof(struct vduse_dev_config) + VDUSE_CONFIG_MAX)

enum vduse_wire_type { VDUSE_WIRE_OPEN = 1, VDUSE_WIRE_IOCTL };

/* Behind it: @bytes of the ioctl's argument. One descriptor where the argument has one. */
struct vduse_wire_request {
	uint32_t type;
	uint32_t cmd; /* OPEN: VDUSE_WIRE_VERSION */
	uint32_t bytes;
	uint32_t reserved;
};

/* OPEN: @name of the device, "control" for the control node. */
struct vduse_wire_open {
	char name[VDUSE_NAME_BYTES];
};

/* Behind it: @bytes of the argument, as it is afterwards. @result: what ioctl(2) returns, or
 * -errno; where that is a descriptor: 0, and the descriptor comes along. */
struct vduse_wire_reply {
	uint32_t type;
	int32_t result;
	uint32_t bytes;
	uint32_t reserved;
};

#define VDUSE_WIRE_REQUEST_MAX (sizeof(struct vduse_wire_request) + VDUSE_WIRE_ARG_MAX)
#define VDUSE_WIRE_REPLY_MAX (sizeof(struct vduse_wire_reply) + VDUSE_WIRE_ARG_MAX)

/* ---- vduse_ioctl.c: what ioctls look like ---- */

struct vduse_ioctl {
	uint32_t cmd;
	const char *name;
	uint32_t in, out; /* bytes of the argument that are read, written */
	bool control;	  /* of the control node; else of a device */
	bool by_value;	  /* the argument is the call's, and not at an address */
	bool returns_fd;  /* the result is a descriptor */
	int fd_at;	  /* offset of a descriptor in the argument; -1: it has none */
	int more_at;	  /* offset of a number of bytes that follow; -1: none do */
	uint32_t more_max;
};

/* NULL: not one of VDUSE's. */
const struct vduse_ioctl *vduse_ioctl_find(uint32_t cmd);
/* Bytes of the argument whose head, of ioctl->in bytes, is at @arg; 0: more than is allowed. */
size_t vduse_ioctl_bytes(const struct vduse_ioctl *ioctl, const void *arg);

/* ---- vduse_client.c: the device process's end, and whoever stands in for a kernel ---- */

struct vduse_client {
	int conn; /* the connection; -1: none */
	int fd;	  /* the descriptor that stands for the file; -1: none */
	/* Of each answer; 0: none. After -ETIMEDOUT the connection has ended. */
	unsigned timeout_ms;
};

/* Of @c the limit is given. 0; -ENXIO: nobody serves @socket; -EDEADLK: this process does; or what
 * open(2) says. May wait. */
int vduse_client_open(const char *socket, const char *name, struct vduse_client *c);
void vduse_client_close(struct vduse_client *c);
/*
 * As ioctl(2) of a program whose argument is at @arg. @fd:
 * the argument's descriptor, as one of this process (stays the caller's); -1: none. A descriptor
 * that is the result is the caller's. May wait.
 */
int vduse_client_ioctl(const struct vduse_client *c, uint32_t cmd, void *arg, int fd);

#endif
