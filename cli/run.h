/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * uvdpa run: an unmodified program sees /dev/vhost-vdpa-N where the kernel has no vDPA.
 *
 * run_ns.c     the program's view of /dev and /proc/devices: a mount namespace of its own
 * run_trap.c   open(2) of one of these paths: a seccomp notification, answered with a descriptor
 * run_file.c   what that descriptor is: a file of a FUSE mount that nobody else sees
 *
 * Why so. Nothing is preloaded, so static programs and all languages work. The path is a character
 * device for stat(2) (a bind mount of /dev/null, and the same major number in /proc/devices), since
 * programs look at that. Only open(2) to write of what exists already is caught: few programs do
 * that often, and all other system calls run at the kernel's speed. The descriptor is FUSE's,
 * so that write(2) has taken effect, or failed, when it returns, in order with ioctl(2), and that
 * poll, close, fork and exec work; a socket could not give that.
 *
 * This process is an ancestor of the program's, in the same user namespace: so it may look into
 * the program's memory and take its descriptors, and nobody else's.
 */
#ifndef CLI_RUN_H
#define CLI_RUN_H

#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>

#include "driver/vhost_cdev/proxy.h"

#define RUN_DEVS_MAX 64

struct run_dev {
	char name[CDEV_NAME_BYTES]; /* below /dev */
	char socket[108];
};

struct run {
	struct run_dev dev[RUN_DEVS_MAX];
	unsigned ndevs;
	int mount;	/* O_PATH of the FUSE mount's root */
	dev_t node_dev; /* what the paths below /dev are: one inode for all */
	ino_t node_ino;
	dev_t dev_dev; /* of the new /dev itself */
};

/* ---- run_ns.c ---- */

/* Enter the namespaces and mount; before any thread exists. 0, or -1 after a message. */
int run_ns_enter(struct run *run);
/* The FUSE file system of @fd, seen by this process only: run->mount. 0, or -1 after a message. */
int run_ns_mount_fuse(struct run *run, int fd);

/* ---- cmd_run.c ---- */

/* A thread that takes no signals: those are for the one that waits for the program. 0 or an errno.
 */
int run_thread(pthread_t *thread, void *(*fn)(void *arg), void *arg);

/* ---- run_file.c ---- */

struct run_files;

/* Open /dev/fuse, mount, and serve by threads of its own. 0, or -1 after a message. */
int run_files_start(struct run *run, struct run_files **out);
/* The program has ended: unmount, and free. */
void run_files_stop(struct run *run, struct run_files *files);

/* ---- run_trap.c ---- */

/* In the program's process: install the filter. The listener's descriptor or -errno. */
int run_trap_install(void);
/* Answer notifications until no process is left that can send any. */
void run_trap_serve(const struct run *run, int listener);

#endif
