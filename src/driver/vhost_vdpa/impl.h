/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of vhost_vdpa share. Everything belongs to the control thread. */
#ifndef VHOST_VDPA_IMPL_H
#define VHOST_VDPA_IMPL_H

#include <uvdpa/compat.h>
#include <uvdpa/vhost_uapi.h>
#include <uvdpa/vhost_vdpa.h>

#include "base/list.h"

/*
 * A descriptor that a peer gave us and that a queue's loop may be using. It is closed after every
 * loop has passed once since it was replaced: a loop never polls or writes a number that means
 * something else.
 */
struct vv_fd {
	int fd;
	struct vhost_vdpa *v;
	struct vdpa_loop_sync sync;
};

struct vv_vring {
	struct vhost_vdpa *v;
	uint32_t idx;
	bool enabled;  /* the driver says so */
	bool started;  /* and the device was told */
	bool stopping; /* a drain is under way */
	uint32_t busyloop_us;
	struct vv_fd *kick, *call, *err;
	struct vdpa_callback call_cb, err_cb; /* in force while there is no eventfd */
	struct vdpa_loop_fd kick_watch;	      /* for parents that do not poll kicks by themselves */
	void *inflight;
	size_t inflight_bytes;
	struct vdpa_done stop_done;
};

struct vhost_vdpa {
	struct vdpa_device *vdev;
	struct vhost_vdpa_params params;
	bool open, owner, suspended, logging;
	bool broken;	  /* mappings that could not be taken back */
	unsigned retries; /* of taking them back */
	uint64_t backend_features;

	struct vv_vring *vring; /* vdev->nvqs */
	struct vhost_iotlb *as; /* vdev->nas */
	bool *as_used;		/* vdev->nas: there was an update or a batch, since it was opened */
	struct vdpa_ratelimit limit;
	bool in_batch;
	unsigned batch_asid;

	struct vv_fd *config_call;
	unsigned retiring; /* vv_fds that wait for the loops, and settled */
	struct vdpa_done settled;
	struct vdpa_loop_sync settle_sync;

	bool busy; /* open, release, reset or suspend is under way: done, sync and retry are its */
	struct vdpa_done done;
	struct vdpa_loop_sync sync;
	struct vdpa_loop_timer retry;
};

/* Several completions as one: @done is called with the first error after the last of them. */
struct vv_join {
	unsigned refs;
	int result;
	struct vdpa_done done;
};

struct vv_join *vv_join_new(const struct vdpa_done *done);
/* For one more operation: its completion. */
struct vdpa_done vv_join_add(struct vv_join *join);
/* An operation that vv_join_add() counted was refused at once. */
void vv_join_put(struct vv_join *join, int result);

/* fd.c. Takes @fd in any case; @fd -1 gives NULL. 0 or -ENOMEM. */
int vv_fd_new(struct vhost_vdpa *v, int fd, struct vv_fd **out);
void vv_fd_retire(struct vv_fd **vfd);

/* vring.c */
void vv_vrings_init(struct vhost_vdpa *v);
/* DRIVER_OK is about to be set: the device is told of the enabled rings. */
int vv_vrings_start(struct vhost_vdpa *v);
/* The device was reset: no ring is enabled any more. */
void vv_vrings_were_reset(struct vhost_vdpa *v);
/* The device's areas for requests in flight keep what they say, whatever becomes of the device. */
void vv_vrings_untrack(struct vhost_vdpa *v);
/* Drop all descriptors and callbacks. */
void vv_vrings_release(struct vhost_vdpa *v);

/* log.c. Takes @fd. 0 or -errno; and of the end of the open file, 0 or -ENOMEM. */
int vv_log_set(struct vhost_vdpa *v, const struct vhost_uvdpa_log *arg, int fd,
	       const struct vdpa_done *done);
int vv_log_release(struct vhost_vdpa *v);

/* iotlb.c. Checks that all messages share: 0, -EPERM, -EINVAL. */
int vv_iotlb_check(const struct vhost_vdpa *v, unsigned asid);
/* Take everything out of every address space. */
int vv_iotlb_release(struct vhost_vdpa *v, const struct vdpa_done *done);

#endif
