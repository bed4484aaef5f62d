/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The bus driver "vduse": a bound device appears on the host kernel's vDPA bus; or, where there is
 * an endpoint instead of a kernel (vdpa/vduse_wire.h), on that of the daemon behind it.
 *
 * driver.c   bind, unbind, show
 * kernel.c   the ritual: version, creation, queues, removal; what is wrong when it fails
 * sys.c      the system calls that reach the kernel's VDUSE, and nothing else
 * message.c  what the kernel says: status, state of queues, address spaces
 * vring.c    queues: start, kicks, calls
 * memory.c   regions that the kernel hands out, mapped when a queue first needs them
 * log.c      the file that outlives this process
 * attach.c   the kernel's bus: attach, choose a driver, wait for the node; detach
 * netlink.c  the two netlink messages for that
 *
 * Everything belongs to the control thread but what is marked. The kernel waits for answers while
 * it attaches and detaches a device, so those two run in a thread of their own (struct vde_job),
 * which touches nothing but its job.
 *
 * Life of a binding:
 *
 *	probe   device created in the kernel, or found there after a crash; nothing is attached
 *	opened  our device is reset; where there was a crash, brought back to where it was
 *	attach  a thread attaches it; meanwhile the kernel's driver sets it up through messages
 *	settled there is a node, or an error
 *	detach  a thread takes it off the kernel's bus; then it is closed, and destroyed
 */
#ifndef VDUSE_EXPORT_H
#define VDUSE_EXPORT_H

#include <pthread.h>
#include <stdatomic.h>
#include <uvdpa/compat.h>
#include <uvdpa/vhost_vdpa.h>

#include "base/list.h"
#include "driver/vduse_export/netlink.h"
#include "vdpa/vduse_wire.h"

/* Of these there are one or two; the log has room for so many. */
#define VDE_GROUPS_MAX 64u
/* Per queue: of its rings, and of its buffers. */
#define VDE_MISSES 2u
#define VDE_PATH_BYTES 320

struct vde;

/* ---- log.c ---- */

/* What has to be the same for the device in the file to be the one at hand. */
struct vde_log_id {
	char name[VDUSE_NAME_BYTES];
	uint64_t features;
	uint64_t api;
	uint32_t device_id, nvqs, num_max, config_bytes;
	uint32_t ngroups, nas;
};

struct vde_log_head {
	char magic[8];
	uint64_t bytes; /* of the file */
	struct vde_log_id id;
	uint32_t status;	       /* as the kernel was last told */
	uint32_t asid[VDE_GROUPS_MAX]; /* of each group */
};

struct vde_log {
	char path[VDE_PATH_BYTES];
	int fd; /* locked; -1: none */
	struct vdpa_region *region;
	struct vde_log_head *head;
	uint64_t stride; /* bytes of a queue's area */
};

/*
 * Begin the file at @path: device @id, status 0; or (@again) open it as it is: -EEXIST when it is
 * not of the device @id. 0 or -errno with @err.
 */
int vde_log_open(struct vde_log *log, const char *path, const struct vde_log_id *id, bool again,
		 struct vdpa_error *err);
void vde_log_set_status(struct vde_log *log, uint8_t status);
void *vde_log_area(const struct vde_log *log, uint32_t idx);
/* No request is in flight in any queue. */
void vde_log_clear_areas(struct vde_log *log);
/* @forget: the device is gone, and so is the file. */
void vde_log_close(struct vde_log *log, bool forget);

/* ---- attach.c ---- */

struct vde_job {
	pthread_t thread;
	struct vdpa_loop_msg msg;
	struct vdpa_loop *control;
	void (*done)(struct vde_job *job); /* on the control thread; the thread has ended */
	bool detach;
	char name[VDUSE_NAME_BYTES];
	const char *driver; /* the one to be bound to; NULL: whichever */
	uint32_t device_id;
	_Atomic bool cancel;
	int result;
	struct vdpa_error err;
	char node[64]; /* "/dev/vda", "eth0", "/dev/vhost-vdpa-0" */
};

/* Start it; everything above result is set. 0 or -errno: done() will not come. */
int vde_job_start(struct vde_job *job);

/* ---- sys.c; any thread ---- */

/* open(2), ioctl(2): a descriptor, or what ioctl returns, or -errno. */
int vde_sys_open(const char *path, int flags);
int vde_sys_ioctl(int fd, unsigned long cmd, void *arg);

/* ---- kernel.c ---- */

/*
 * Is VDUSE there, and may we? Opens the control node of the kernel, or of @endpoint (not NULL), and
 * chooses *@api. 0 or -errno with @err.
 */
int vde_control_open(const char *endpoint, struct vduse_client *control, uint64_t *api,
		     struct vdpa_error *err);
/* Features that the kernel takes, of those of a device; what it does not is logged. */
uint64_t vde_features(struct vdpa_device *vdev, bool packed, bool endpoint);
/* 0, -EEXIST, or -errno with @err. */
int vde_create(const struct vde *d, struct vdpa_error *err);
int vde_setup_vqs(struct vde *d, struct vdpa_error *err);
/* 0, -EBUSY, -errno. */
int vde_destroy(const struct vde *d);
/* The device's node: d->fd. 0; -ENOENT, -EBUSY, -errno with @err. */
int vde_device_open(struct vde *d, struct vdpa_error *err);
void vde_device_close(struct vde *d);
/* ioctl(2) of the device's node. Any thread. */
int vde_ioctl(struct vde *d, unsigned long cmd, void *arg);
/* The file of the region around @iova: a descriptor, and *@entry; -EINVAL: there is none. */
int vde_iotlb_fd(struct vde *d, unsigned asid, iova_t first, iova_t last,
		 struct vduse_iotlb_entry *entry);

/* ---- the binding ---- */

struct vde_vq {
	struct vde *d;
	uint32_t idx;
	_Atomic uint64_t calls;
	struct vdpa_loop_fd early; /* kicks of a queue that was not ready at DRIVER_OK */
	int early_fd;		   /* -1: none */
};

struct vde_miss {
	unsigned asid;
	iova_t iova;
	uint32_t perm;
};

enum vde_state { VDE_OPENING, VDE_ATTACHING, VDE_ATTACHED, VDE_FAILED, VDE_GOING };

struct vde {
	struct vdpa_device *vdev;
	struct vhost_vdpa *v;
	enum vde_state state;
	struct vde_log_id id;
	struct vde_log log;
	uint64_t added;	      /* features that the kernel wants and our device does not have */
	const char *endpoint; /* NULL: the kernel */
	struct vduse_client control;
	int fd;
	int conn; /* ioctls of an endpoint's device, one at a time; -1: the kernel's */
	pthread_mutex_t conn_lock;
	struct vdpa_loop_fd lfd;
	struct vdpa_ratelimit limit;
	bool broken; /* the kernel waited too long, and talks no more */

	/* The message that is being answered. */
	struct vduse_dev_request req;
	struct vduse_dev_response resp;
	bool pending;
	unsigned unmap_asid;
	void (*unmapped)(struct vde *d, int result);

	struct vde_vq *vq;
	uint32_t nvqs;
	bool *faulting;	 /* by asid: holes are faults, since the kernel said so */
	uint8_t *config; /* as the kernel has it */

	/* Of any thread, under the lock. */
	pthread_mutex_t miss_lock;
	struct vde_miss *miss;
	unsigned nmisses;
	_Atomic bool config_changed, event_posted;
	struct vdpa_loop_msg event_msg;

	/* Attach, detach. */
	struct vde_job job;
	bool job_runs;
	char node[64];
	const char *kernel_driver;
	struct vdpa_error why;
	int settled_result;
	struct vdpa_done settle; /* who waits for the end of the attachment */
	struct vdpa_error *settle_err;

	/* Removal. */
	bool removing, detached, left; /* left: it stays in the kernel, somebody has it open */
	struct vdpa_done removed;
	struct vdpa_loop_sync sync;
	struct vdpa_loop_timer retry;
	unsigned retries;

	uint64_t messages, regions, misses, faults;
};

#define vde_log_limited(d, level, ...)                                                             \
	vdpa_log_limited(vdpa_ctx_log((d)->vdev->ctx), &(d)->limit, level, (d)->vdev->name,        \
			 __VA_ARGS__)

/* driver.c: something for the control thread. Any thread. */
void vde_post(struct vde *d);
/* A message has been answered. */
void vde_answered(struct vde *d);
/* The kernel talks no more to this device. */
void vde_broke(struct vde *d);

/* message.c */
int vde_messages_start(struct vde *d);
void vde_messages_stop(struct vde *d);
/* Bring our device to where the log says that the driver's is. 0 or -errno. */
int vde_restore(struct vde *d);
/* The configuration space, where it differs, to the kernel. */
void vde_push_config(struct vde *d, bool tell);

/* vring.c */
bool vde_packed(const struct vde *d);
int vde_vrings_start(struct vde *d);
void vde_vrings_stopped(struct vde *d);
int vde_vring_state(struct vde *d, uint32_t idx, union vduse_state *state);

/* memory.c */
void vde_miss(void *arg, unsigned asid, iova_t iova, uint32_t perm);
void vde_memory_misses(struct vde *d);
/* Holes are misses from now on: the kernel is asked what belongs there. */
void vde_memory_listen(struct vde *d, unsigned asid);
/* The kernel's map of [@first, @last] changed: what is no longer true is taken out, then @done. */
int vde_memory_update(struct vde *d, unsigned asid, iova_t first, iova_t last,
		      const struct vdpa_done *done);
/* Take everything out of every address space, then d->unmapped(). */
void vde_memory_release(struct vde *d, void (*unmapped)(struct vde *d, int result));

const struct vdpa_driver *vduse_export_driver(void);

#endif
