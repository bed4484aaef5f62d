/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * uvdpa run: an unmodified program sees /dev/vhost-vdpa-N and /dev/vduse where the kernel has no
 * vDPA.
 *
 * run_ns.c     the program's view of /dev and /proc/devices: a mount namespace of its own
 * run_trap.c   open(2) of one of these paths: a seccomp notification, answered with a descriptor
 * run_file.c   what that descriptor is: a file of a FUSE mount that nobody else sees
 * run_vduse.c  /dev/vduse: opens and ioctls of device processes, carried to the daemon's endpoint
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
#include "vdpa/vduse_abi.h"

#define RUN_DEVS_MAX 64

struct run_dev {
	char name[CDEV_NAME_BYTES]; /* below /dev */
	char socket[108];
};

struct vduse_file;

struct run {
	struct run_dev dev[RUN_DEVS_MAX];
	unsigned ndevs;
	char vduse[108];		/* the endpoint behind /dev/vduse; "": none */
	struct vduse_file *vduse_files; /* run_trap.c's thread */
	int mount;			/* O_PATH of the FUSE mount's root */
	dev_t node_dev;			/* what the paths below /dev are: one inode for all */
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

struct run_ioctl;

/*
 * Is the process still in this call? It may have been killed meanwhile, and its number be
 * another's: to be asked before what was found out by the number is made use of.
 */
bool run_trap_is_waiting(const struct run_ioctl *call);
/* In the program's process: install the filter. The listener's descriptor or -errno. */
int run_trap_install(const struct run *run);
/* Answer notifications until no process is left that can send any. */
void run_trap_serve(struct run *run, int listener);

/* ---- run_vduse.c; the thread of run_trap_serve() ---- */

/* An ioctl(2) of process @pid: notification @id of @listener. */
struct run_ioctl {
	int listener;
	uint64_t id;
	pid_t pid;
	int fd;
	uint32_t cmd;
	uint64_t arg;
};

#define RUN_NOT_OURS -4096

/* Is @path one of /dev/vduse's? (Which /dev that is the caller knows.) */
bool run_vduse_name(const struct run *run, const char *path, char name[VDUSE_NAME_BYTES]);
/* Is the folder @path /dev/vduse itself, which is the control node of the first design? */
bool run_vduse_folder(const struct run *run, const char *path, char name[VDUSE_NAME_BYTES]);
/* What the program's open(2) returns, as a descriptor of ours. -errno. */
int run_vduse_open(struct run *run, const char *name, int flags);
/* What its ioctl(2) returns; with *@is_fd a descriptor of ours. RUN_NOT_OURS: the kernel's. */
int run_vduse_ioctl(struct run *run, const struct run_ioctl *call, bool *is_fd);
void run_vduse_end(struct run *run);

#endif
