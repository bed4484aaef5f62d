/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A process's open file, carried to the device's socket: what a FUSE or CUSE server does with the
 * system calls that the kernel hands it.
 *
 * proxy.c arguments of ioctls, messages
 * peer.c  memory and descriptors of the process
 *
 * Any thread; calls wait for their answer, and for the process's memory, which may be slow on
 * purpose.
 */
#ifndef VHOST_CDEV_PROXY_H
#define VHOST_CDEV_PROXY_H

#include <pthread.h>
#include <sys/types.h>

#include "driver/vhost_cdev/client.h"

struct cdev_proxy;

/* 0; -ENXIO: nobody serves the device; or what open(2) is to say. */
int cdev_proxy_open(const char *socket, struct cdev_proxy **out);
void cdev_proxy_close(struct cdev_proxy *p);
/* write(2) by process @pid: bytes or -errno. @err: empty, and filled where a sentence helps. */
ssize_t cdev_proxy_write(struct cdev_proxy *p, pid_t pid, const void *msg, size_t bytes,
			 struct vdpa_error *err);
/* ioctl(2) by process @pid, whose argument is at @addr. 0 or -errno. */
int cdev_proxy_ioctl(struct cdev_proxy *p, pid_t pid, uint32_t cmd, uint64_t addr);

/* ---- peer.c ---- */

/*
 * The files behind the memory of process @pid that @update names. Returns how many pieces
 * (descriptors are the caller's), or -errno. -EROFS: private memory that the device shall only
 * read, such as the ROMs that a VMM makes known with all else. No driver lets a device read those;
 * a device that does it faults.
 */
int cdev_peer_memory(pid_t pid, const struct vhost_vdpa_update *update, struct cdev_client_mem *mem,
		     unsigned max, struct vdpa_error *err);
/* Descriptor @fd of process @pid, as one of ours. fd or -errno. */
int cdev_peer_fd(pid_t pid, int fd);
/* Of the memory of process @pid: 0 or -EFAULT. */
int cdev_peer_read(pid_t pid, uint64_t addr, void *buf, size_t len);
int cdev_peer_write(pid_t pid, uint64_t addr, void *buf, size_t len);

#endif
