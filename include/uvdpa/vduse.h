/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VDUSE: devices that live in other processes. A process that is written for the kernel's
 * /dev/vduse makes a device through the endpoint; the management device "vduse" puts it on the bus
 * by the same name.
 *
 * Since 0.1.
 */
#ifndef UVDPA_VDUSE_H
#define UVDPA_VDUSE_H

#include <uvdpa/vdpa.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Serve VDUSE at the UNIX seqpacket socket @path, one per context. @attrs (may be NULL):
 * socket_mode, socket_owner. 0; -EALREADY; -EADDRINUSE and others, all with @err. Control thread.
 */
VDPA_API int vduse_listen(struct vdpa_ctx *ctx, const char *path, const struct vdpa_attr *attrs,
			  struct vdpa_error *err);
/**
 * End that: every process is cut off, and its device forgotten. -EBUSY while one of them is on the
 * bus; nothing is changed then. Not needed before vdpa_ctx_free(). Control thread.
 */
VDPA_API int vduse_unlisten(struct vdpa_ctx *ctx);
/** Where it listens; NULL: nowhere. Control thread. */
VDPA_API const char *vduse_path(struct vdpa_ctx *ctx);

#ifdef __cplusplus
}
#endif
#endif
