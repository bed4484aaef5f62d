/* SPDX-License-Identifier: BSD-3-Clause */
/* A real character device for a device's socket, where the kernel has CUSE. */
#ifndef VHOST_CDEV_CUSE_H
#define VHOST_CDEV_CUSE_H

#include <uvdpa/log.h>
#include <uvdpa/loop.h>
#include <uvdpa/types.h>

struct cdev_cuse;

struct cdev_cuse_config {
	const char *name;   /* of the node, below /dev */
	const char *socket; /* each open is a connection to it */
	/* Of the context; they stay until cdev_cuse_stop() is done. */
	struct vdpa_loop *loop;
	const struct vdpa_log *log;
};

/* Make the node, and serve it by a thread. 0, or -errno with @err. */
int cdev_cuse_start(const struct cdev_cuse_config *config, struct cdev_cuse **out,
		    struct vdpa_error *err);
/*
 * The device goes; who has it open gets ENODEV or ENOTCONN. On @loop's thread; @done on it, too,
 * once the thread has ended, or gave no sign of it for 2 seconds: then it waits for a process's
 * memory, and ends by itself when it gets that.
 */
void cdev_cuse_stop(struct cdev_cuse *c, const struct vdpa_done *done);

#endif
