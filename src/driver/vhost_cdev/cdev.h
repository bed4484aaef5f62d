/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The bus driver "vhost-vdpa": the vhost-vdpa character device of a bound device, on a socket.
 *
 * driver.c  bind, unbind, show
 * session.c one open file: who has it, what it asks
 * memory.c  files behind the memory that IOTLB messages name
 * client.c  the other end
 * cuse.c    a real character device, whose opens are connections like all others
 * proxy.c   the other end for a process that makes system calls (with peer.c)
 *
 * Everything here belongs to the control thread. One open file at a time, as in Linux: another
 * one is told -EBUSY, unless the one before is being closed just then; it waits for that.
 */
#ifndef VHOST_CDEV_CDEV_H
#define VHOST_CDEV_CDEV_H

#include <sys/types.h>
#include <uvdpa/vhost_uapi.h>

#include "base/list.h"
#include "base/listener.h"
#include "driver/vhost_cdev/cuse.h"
#include "driver/vhost_cdev/wire.h"

struct cdev_session;

struct cdev {
	struct list link; /* of all in the context */
	struct vdpa_device *vdev;
	struct vhost_vdpa *v;
	unsigned index; /* N of vhost-vdpa-N */
	struct vdpa_listener listen;
	struct cdev_session *session;
	struct cdev_cuse *cuse; /* NULL: no node */
	struct vdpa_ratelimit limit;
	bool removing;
	struct vdpa_done removed;
	uint64_t opens, busy, ioctls, writes, refused;
};

/* A file that messages named, as far as it is mapped. */
struct cdev_file {
	struct cdev_file *next;
	dev_t dev;
	ino_t ino;
	bool writable;
	uint64_t offset, size;
	struct vdpa_region *region;
};

struct cdev_session {
	struct cdev *cdev;
	int fd;
	struct vdpa_loop_fd lfd;
	bool open;    /* the device is */
	bool pending; /* open, a request, or release is under way */
	bool gone;    /* the peer, or the binding */
	struct cdev_file *files;
	unsigned nfiles;

	/* The request. */
	struct cdev_mem mem[CDEV_MEM_MAX];
	struct cdev_file *mem_file[CDEV_MEM_MAX];
	unsigned nmem;
	struct vhost_uapi_call call;
	uint8_t arg[VHOST_UAPI_ARG_MAX];
};

/* ---- session.c ---- */

/* Takes @fd, also on error. 0 or -errno. */
int cdev_session_new(struct cdev *cdev, int fd);
/* Nothing more is read; cdev_session_gone() once the device is closed. */
void cdev_session_close(struct cdev_session *s);
/* Its peer, or the binding, is gone: cdev_session_gone() comes by itself. */
bool cdev_session_ends(const struct cdev_session *s);
/* driver.c: the device is closed, and the session freed. */
void cdev_session_gone(struct cdev *cdev);
/* Answer a connection that cannot be taken. Takes @fd. */
void cdev_refuse(int fd, int result);

/* ---- memory.c ---- */

/* The request's descriptors become files; those of @fds that are needed are duplicated. 0, -EINVAL,
 * -EFAULT (the file does not have the bytes), -EACCES, -ENOMEM. */
int cdev_mem_take(struct cdev_session *s, const struct vdpa_fds *fds);
/* For vhost_vdpa_params.resolve; @arg: struct cdev. */
int cdev_mem_resolve(void *arg, uint64_t uaddr, uint64_t size, struct vhost_vdpa_piece *piece);
void cdev_mem_free(struct cdev_session *s);

/* ---- driver.c ---- */

const struct vdpa_driver *vhost_cdev_driver(void);

#endif
