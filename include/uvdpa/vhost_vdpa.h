/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vhost_vdpa: the state of the vhost uAPI for one vDPA device. Functions are named after the ioctls
 * of Linux's drivers/vhost/vdpa.c and have their errors. A front (the vhost-user socket, a
 * character device) sits on top of it and brings the requests; this knows none of them.
 *
 * What a front decides for itself: where user addresses lie (resolve), and whether rings may be set
 * up one by one after DRIVER_OK (VHOST_VDPA_F_LIVE_RINGS, which vhost-user needs and vhost-vdpa
 * does not allow).
 *
 * Threads: the control thread of the device's context, all of it. What has to wait takes a struct
 * vdpa_done; when such a function returns an error, nothing was begun and @done is not called.
 *
 * Since 0.1, unless a function says otherwise.
 */
#ifndef UVDPA_VHOST_VDPA_H
#define UVDPA_VHOST_VDPA_H

#include <uvdpa/types.h>
#include <uvdpa/vdpa.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vhost_vdpa;
struct vhost_vring_addr; /* linux/vhost_types.h */

/** Where a user address lies: the first piece of what was asked for. */
struct vhost_vdpa_piece {
	struct vdpa_region *region;
	uint64_t off;  /**< bytes from the start of the region */
	uint64_t size; /**< bytes, 1 .. what was asked for */
};

/** Rings are set up while they are not enabled, whatever the device's status is. */
#define VHOST_VDPA_F_LIVE_RINGS 1u

/** Most IOTLB entries of an address space, unless the front says otherwise. */
#define VHOST_VDPA_MAX_ENTRIES 65536u

struct vhost_vdpa_params {
	size_t size; /**< sizeof(struct vhost_vdpa_params) */
	unsigned flags;
	/** Find [@uaddr, @uaddr + @size): 0 and *@piece, or -EFAULT. Needed for iotlb_update only.
	 */
	int (*resolve)(void *arg, uint64_t uaddr, uint64_t size, struct vhost_vdpa_piece *piece);
	void *arg;
	unsigned max_entries; /**< per address space; 0: VHOST_VDPA_MAX_ENTRIES */
};

/**
 * Make the object. It holds a reference on @vdev. 0, -EINVAL, -ENOMEM.
 */
VDPA_API int vhost_vdpa_new(struct vdpa_device *vdev, const struct vhost_vdpa_params *params,
			    struct vhost_vdpa **out);
/** NULL is allowed. The object must not be open. */
VDPA_API void vhost_vdpa_free(struct vhost_vdpa *v);
VDPA_API struct vdpa_device *vhost_vdpa_device(const struct vhost_vdpa *v);

/**
 * open(2): -EBUSY while it is open, -EIO when the parent did not take back the mappings of an
 * earlier user; the device is reset, then @done.
 */
VDPA_API int vhost_vdpa_open(struct vhost_vdpa *v, const struct vdpa_done *done);
/**
 * close(2): resets the device, takes all mappings back, closes all descriptors, forgets the owner;
 * then @done. -EBADF when not open. No other call may be waiting for its completion.
 */
VDPA_API int vhost_vdpa_release(struct vhost_vdpa *v, const struct vdpa_done *done);

/* ---- device ---- */

/** VHOST_SET_OWNER: -EBUSY when there is one. */
VDPA_API int vhost_vdpa_set_owner(struct vhost_vdpa *v);
VDPA_API bool vhost_vdpa_has_owner(const struct vhost_vdpa *v);
VDPA_API uint64_t vhost_vdpa_get_features(struct vhost_vdpa *v);
/** -EBUSY after FEATURES_OK; -EINVAL for bits that are not offered. */
VDPA_API int vhost_vdpa_set_features(struct vhost_vdpa *v, uint64_t features);
/** What this implements, and the device's own. */
VDPA_API uint64_t vhost_vdpa_get_backend_features(struct vhost_vdpa *v);
/** -EOPNOTSUPP: not a subset; -EINVAL: DESC_ASID without IOTLB_ASID; -EBUSY with an open batch. */
VDPA_API int vhost_vdpa_set_backend_features(struct vhost_vdpa *v, uint64_t features);
VDPA_API uint32_t vhost_vdpa_get_device_id(struct vhost_vdpa *v);
VDPA_API uint8_t vhost_vdpa_get_status(struct vhost_vdpa *v);
/**
 * -EINVAL: bits would be cleared (0 is a reset: @done once it is complete; for all else @done is
 * called before this returns). DRIVER_OK: also the errors of the rings that are enabled.
 */
VDPA_API int vhost_vdpa_set_status(struct vhost_vdpa *v, uint8_t status,
				   const struct vdpa_done *done);
/** -EINVAL: beyond the config space, or @len 0. */
VDPA_API int vhost_vdpa_get_config(struct vhost_vdpa *v, uint32_t off, void *buf, uint32_t len);
VDPA_API int vhost_vdpa_set_config(struct vhost_vdpa *v, uint32_t off, const void *buf,
				   uint32_t len);
VDPA_API uint32_t vhost_vdpa_get_config_size(struct vhost_vdpa *v);
/** Takes @fd (an eventfd; -1: none). */
VDPA_API int vhost_vdpa_set_config_call(struct vhost_vdpa *v, int fd);
/** As above with a callback; NULL: none. Copied. Runs on any loop. */
VDPA_API void vhost_vdpa_set_config_cb(struct vhost_vdpa *v, const struct vdpa_callback *cb);
VDPA_API struct vdpa_iova_range vhost_vdpa_get_iova_range(struct vhost_vdpa *v);
VDPA_API uint32_t vhost_vdpa_get_vqs_count(struct vhost_vdpa *v);
VDPA_API uint32_t vhost_vdpa_get_group_num(struct vhost_vdpa *v);
VDPA_API uint32_t vhost_vdpa_get_as_num(struct vhost_vdpa *v);
/** -EINVAL: no such group or address space; -EBUSY after DRIVER_OK. */
VDPA_API int vhost_vdpa_set_group_asid(struct vhost_vdpa *v, uint32_t group, uint32_t asid);
/** Nothing to do before DRIVER_OK: 0. -EOPNOTSUPP: the device cannot. */
VDPA_API int vhost_vdpa_suspend(struct vhost_vdpa *v, const struct vdpa_done *done);
VDPA_API int vhost_vdpa_resume(struct vhost_vdpa *v);

/* ---- vrings: -ENOBUFS for an index that does not exist ---- */

/** VHOST_VDPA_GET_VRING_NUM: the largest size. */
VDPA_API uint16_t vhost_vdpa_get_vring_num(struct vhost_vdpa *v);
/** VHOST_VDPA_GET_VRING_SIZE: of one vring. */
VDPA_API int vhost_vdpa_get_vring_size(struct vhost_vdpa *v, uint32_t idx, uint32_t *size);
VDPA_API int vhost_vdpa_get_vring_group(struct vhost_vdpa *v, uint32_t idx, uint32_t *group);
VDPA_API int vhost_vdpa_get_vring_desc_group(struct vhost_vdpa *v, uint32_t idx, uint32_t *group);
/** -EINVAL: not a power of two, or too large; -EBUSY while the device works on the ring. */
VDPA_API int vhost_vdpa_set_vring_num(struct vhost_vdpa *v, uint32_t idx, uint32_t num);
/**
 * VHOST_SET/GET_VRING_BUSYLOOP_TIMEOUT, microseconds. Kept and given back, as Linux's vhost-vdpa
 * does; how long a device polls is its own attribute.
 */
VDPA_API int vhost_vdpa_set_vring_busyloop(struct vhost_vdpa *v, uint32_t idx, uint32_t us);
VDPA_API int vhost_vdpa_get_vring_busyloop(struct vhost_vdpa *v, uint32_t idx, uint32_t *us);
/** Addresses are IOVAs. -EINVAL while running. */
VDPA_API int vhost_vdpa_set_vring_addr(struct vhost_vdpa *v, uint32_t idx,
				       const struct vhost_vring_addr *addr);
/** Split: the index; packed: as GET_VRING_BASE. -EINVAL while running or not representable. */
VDPA_API int vhost_vdpa_set_vring_base(struct vhost_vdpa *v, uint32_t idx, uint32_t base);
VDPA_API int vhost_vdpa_get_vring_base(struct vhost_vdpa *v, uint32_t idx, uint32_t *base);
/**
 * Take @fd (-1: none) in any case, also on error. What was there is closed once no loop uses it any
 * more.
 */
VDPA_API int vhost_vdpa_set_vring_kick(struct vhost_vdpa *v, uint32_t idx, int fd);
VDPA_API int vhost_vdpa_set_vring_call(struct vhost_vdpa *v, uint32_t idx, int fd);
VDPA_API int vhost_vdpa_set_vring_err(struct vhost_vdpa *v, uint32_t idx, int fd);
/**
 * A descriptor that was replaced is closed when no loop uses it any more. Are there too many that
 * wait for this? Then true, and @done when they have gone: let the peer wait for so long, it could
 * use up all numbers otherwise. Else false, and @done is not called. One call at a time. Control
 * thread.
 */
VDPA_API bool vhost_vdpa_settle(struct vhost_vdpa *v, const struct vdpa_done *done);
/** Callbacks for fronts that do not notify by eventfd; an eventfd, once set, goes before. Copied;
 * NULL: none. */
VDPA_API int vhost_vdpa_set_vring_call_cb(struct vhost_vdpa *v, uint32_t idx,
					  const struct vdpa_callback *cb);
VDPA_API int vhost_vdpa_set_vring_err_cb(struct vhost_vdpa *v, uint32_t idx,
					 const struct vdpa_callback *cb);
/** Call the driver, by whatever was set for that. */
VDPA_API int vhost_vdpa_call_vring(struct vhost_vdpa *v, uint32_t idx);
/** A kick that came as a message. */
VDPA_API int vhost_vdpa_kick_vring(struct vhost_vdpa *v, uint32_t idx);
/**
 * VHOST_VDPA_SET_VRING_ENABLE. A ring that is enabled before DRIVER_OK may still be set up: the
 * device is told at DRIVER_OK, and what it refuses makes vhost_vdpa_set_status() fail. Disabling
 * drains the ring: @done once nothing of it is in flight; the base is exact then. Otherwise @done
 * is called before this returns.
 */
VDPA_API int vhost_vdpa_set_vring_enable(struct vhost_vdpa *v, uint32_t idx, bool enable,
					 const struct vdpa_done *done);
VDPA_API bool vhost_vdpa_get_vring_enable(const struct vhost_vdpa *v, uint32_t idx);
/** Track requests in @area from the next time the ring is enabled; NULL: do not. Stays the
 * caller's. */
VDPA_API int vhost_vdpa_set_vring_inflight(struct vhost_vdpa *v, uint32_t idx, void *area,
					   size_t bytes);

/* ---- IOTLB messages: -EPERM without an owner ---- */

/** What VHOST_IOTLB_UPDATE carries. */
struct vhost_vdpa_update {
	unsigned asid;
	uint32_t perm; /**< VHOST_MAP_* */
	iova_t iova;
	uint64_t size; /**< bytes */
	uint64_t uaddr;
};

/**
 * -EINVAL: no such address space, wrong permission, size 0, wrap, outside the device's range, or
 * another address space than the batch's; -EEXIST: overlaps what is mapped; -EFAULT: the user
 * address does not resolve; -ENOSPC: the address space is full (params.max_entries); -ENOMEM.
 */
VDPA_API int vhost_vdpa_iotlb_update(struct vhost_vdpa *v, const struct vhost_vdpa_update *update,
				     const struct vdpa_done *done);
/** As above for a front that has the region at hand: maps [@iova, +@size) to byte @off of @region.
 */
VDPA_API int vhost_vdpa_iotlb_map(struct vhost_vdpa *v, const struct vhost_vdpa_update *update,
				  struct vdpa_region *region, uint64_t off,
				  const struct vdpa_done *done);
/**
 * Removes every range that overlaps [@iova, @last], whole: one dma_unmap, from the first byte of
 * the first of them to the last of the last (two where that is all of 2^64 bytes). @done once no
 * request in flight uses them (in a batch of a device with set_map: at once, the batch's end
 * waits).
 */
VDPA_API int vhost_vdpa_iotlb_invalidate(struct vhost_vdpa *v, unsigned asid, iova_t iova,
					 iova_t last, const struct vdpa_done *done);
/** Removes every range that lies in @region, in all address spaces. */
VDPA_API int vhost_vdpa_iotlb_forget(struct vhost_vdpa *v, const struct vdpa_region *region,
				     const struct vdpa_done *done);
/** A batch belongs to one address space. -EINVAL inside a batch of another one. */
VDPA_API int vhost_vdpa_iotlb_batch_begin(struct vhost_vdpa *v, unsigned asid);
/** Ends in exactly one set_map where the device has that. @done when it is in force. */
VDPA_API int vhost_vdpa_iotlb_batch_end(struct vhost_vdpa *v, unsigned asid,
					const struct vdpa_done *done);
/** The map as it is, or NULL: no such address space. Valid until the next change. */
VDPA_API const struct vhost_iotlb *vhost_vdpa_iotlb(const struct vhost_vdpa *v, unsigned asid);

#ifdef __cplusplus
}
#endif
#endif
