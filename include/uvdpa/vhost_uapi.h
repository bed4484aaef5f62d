/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The character device of vhost-vdpa (/dev/vhost-vdpa-N) as bytes: its ioctls and the messages that
 * are written to it, on a struct vhost_vdpa. Whoever brings them (a supervisor that catches another
 * program's system calls, CUSE, a test) moves bytes and descriptors; what they mean is said here,
 * with the errors of Linux's drivers/vhost/vdpa.c and vhost.c. Linux: include/uapi/linux/vhost.h.
 *
 * Threads: the control thread of the device's context; vhost_uapi_size() any.
 *
 * Since 0.1, unless a function says otherwise.
 */
#ifndef UVDPA_VHOST_UAPI_H
#define UVDPA_VHOST_UAPI_H

#include <uvdpa/types.h>
#include <uvdpa/vhost_vdpa.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Most bytes that the argument of an ioctl has. */
#define VHOST_UAPI_ARG_MAX 4104u
/** Bytes of an IOTLB message, of either version. */
#define VHOST_UAPI_MSG_BYTES 72u

/**
 * An extension of ours: the dirty log, which Linux's vhost-vdpa does not have. Offered and
 * negotiated as a backend feature; without it the ioctl is ENOTTY. Bit n of the log is page n (4
 * KiB) of the file behind the caller's memory: a page of any of its files that were named by
 * messages. @fd: a shared file, in which the log is @size bytes from @offset on; bits are set
 * atomically, and cleared by the caller. -1 ends the log. It has taken effect, for every write from
 * then on, when the ioctl returns; the end of the open file ends it too. EINVAL: @flags, or no file
 * that can be mapped so.
 */
#define VHOST_BACKEND_F_UVDPA_LOG 48
struct vhost_uvdpa_log {
	uint64_t offset, size;
	int32_t fd;
	uint32_t flags; /**< 0 */
};
#define VHOST_UVDPA_SET_LOG _IOW(0xAF, 0xE0, struct vhost_uvdpa_log)

/** What an ioctl moves between the caller's memory and the device. */
struct vhost_uapi_size {
	uint32_t in;  /**< bytes to read from the caller's memory */
	uint32_t out; /**< bytes to write there when it succeeded */
	bool more;    /**< @in is only a head: ask again once it was read */
	int fd_at;    /**< byte offset of the int that is a descriptor; -1: there is none */
};

/**
 * How much of the caller's memory does @cmd concern? @head: the first @head_bytes of the argument,
 * as far as they were read; for an ioctl of variable size the whole size is known from them. 0;
 * -ENOTTY: no such ioctl (also those of vhost that vhost-vdpa refuses: memory tables, logs,
 * workers); -EINVAL: longer than any configuration space; -E2BIG: more words than any device
 * has features in.
 */
VDPA_API int vhost_uapi_size(uint32_t cmd, const void *head, size_t head_bytes,
			     struct vhost_uapi_size *size);

struct vhost_uapi_call {
	size_t size; /**< sizeof(struct vhost_uapi_call) */
	uint32_t cmd;
	void *arg; /**< the larger of in and out bytes of vhost_uapi_size(); stays until done */
	size_t arg_bytes;
	/**
	 * What the argument's descriptor is here; -1: the caller passed -1, or none. Taken in any
	 * case.
	 */
	int fd;
	struct vdpa_done done; /**< result: 0 or -errno; out bytes are in @arg */
};

/**
 * ioctl(2). Returns 0 when it was begun: done is called, once, perhaps before this returns. Else
 * -errno, and done is not called: -ENOTTY; -EINVAL (@arg_bytes is too small, or @fd is no
 * eventfd); -EPERM (no owner
 * yet); -ENOBUFS (no such vring); and those of the function in <uvdpa/vhost_vdpa.h> that it stands
 * for.
 */
VDPA_API int vhost_uapi_ioctl(struct vhost_vdpa *v, struct vhost_uapi_call *call);

/** Does this message name memory of the caller's (an UPDATE)? Then *@update; all as it was written.
 */
VDPA_API bool vhost_uapi_msg_update(const void *msg, size_t bytes,
				    struct vhost_vdpa_update *update);

/**
 * write(2) of an IOTLB message, struct vhost_msg or struct vhost_msg_v2. As above; the result is
 * the number of bytes written or -errno: -EINVAL (short, or not known), -EEXIST (overlap), -EFAULT
 * (memory that the front cannot reach), -EPERM, -ENOSPC, -ENOMEM.
 */
VDPA_API int vhost_uapi_write(struct vhost_vdpa *v, const void *msg, size_t bytes,
			      const struct vdpa_done *done);

#ifdef __cplusplus
}
#endif
#endif
