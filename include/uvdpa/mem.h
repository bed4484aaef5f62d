/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest memory: regions, address spaces, and the only functions that touch it.
 *
 * A region is a piece of the driver's memory. An address space (one per ASID) maps IOVAs to
 * regions. A view is one queue's window into one address space: it belongs to the queue's loop,
 * keeps the last hits, and picks a new version of the map up between batches.
 *
 * Life of a change: the control thread changes the address space, which publishes a new root.
 * Adding never waits. Removing completes (by a vdpa_done) when every loop has passed and no request
 * that is in flight overlaps what was removed; then the region may be released.
 *
 * Since 0.1, unless a function says otherwise.
 */
#ifndef UVDPA_MEM_H
#define UVDPA_MEM_H

#include <uvdpa/loop.h>
#include <uvdpa/types.h>
#include <uvdpa/vhost_iotlb.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- regions ---- */

struct vdpa_region;

/** Memory that is reached by messages (no file descriptor came with it): slow, and without atomics.
 */
struct vdpa_region_ops {
	/** @off: bytes from the region's start. Return 0 or -errno. The queue's loop; may block. */
	int (*read)(void *arg, uint64_t off, void *buf, size_t len);
	int (*write)(void *arg, uint64_t off, const void *buf, size_t len);
	/** The last reference is gone. Any thread. May be NULL. */
	void (*release)(void *arg);
};

/**
 * Map [@offset, @offset + @size) of @fd, shared. Nothing is prefaulted or pinned; what is not
 * page-aligned is covered by a larger mapping. @fd stays the caller's (the region keeps a
 * duplicate). @gpa: where the driver sees it, for the dirty log. @prot: PROT_READ|PROT_WRITE or
 * PROT_READ. Returns 0; -EINVAL (size 0, wrap), -EBADF, -EACCES, -ENODEV, -ENOMEM with @err filled.
 * Any thread. A file shorter than claimed is refused with -EINVAL; one that shrinks later is caught
 * (see below).
 */
VDPA_API int vdpa_region_map(int fd, uint64_t offset, uint64_t size, gpa_t gpa, int prot,
			     struct vdpa_region **out, struct vdpa_error *err);
/**
 * What the files of one peer, a front end or client, may take of this process's addresses: 16 TiB,
 * an eighth of what there is on x86-64. Holes cost a peer nothing, and others need addresses too.
 */
#define VDPA_PEER_BYTES_MAX (1ull << 44)
/** A region over memory of this process that stays its owner's: trusted drivers in the same
 * process. */
VDPA_API int vdpa_region_wrap(void *addr, uint64_t size, gpa_t gpa, struct vdpa_region **out);
VDPA_API int vdpa_region_by_message(const struct vdpa_region_ops *ops, void *arg, uint64_t size,
				    gpa_t gpa, struct vdpa_region **out);

/** References; atomic. The last put unmaps. NULL is allowed. */
VDPA_API struct vdpa_region *vdpa_region_get(struct vdpa_region *region);
VDPA_API void vdpa_region_put(struct vdpa_region *region);

/** Start in this process; NULL for a region by message (whose map addresses are offsets into it).
 */
VDPA_API void *vdpa_region_base(const struct vdpa_region *region);
VDPA_API uint64_t vdpa_region_size(const struct vdpa_region *region);
VDPA_API gpa_t vdpa_region_gpa(const struct vdpa_region *region);
/** The region's file (owned by the region; -1: none) and the offset in it of the region's start. */
VDPA_API int vdpa_region_fd(const struct vdpa_region *region, uint64_t *offset);
/** The address to put into a map for byte @off of the region. */
VDPA_API uint64_t vdpa_region_addr(const struct vdpa_region *region, uint64_t off);
/** True once the file behind the region shrank and a page was replaced (see vdpa_sigbus_install()).
 */
VDPA_API bool vdpa_region_broken(const struct vdpa_region *region);

/**
 * Install, process-wide, a SIGBUS handler that replaces a lost page of a mapped region by zeroes
 * and marks the region broken; other SIGBUS go on to the handler that was there. Programs ask for
 * it, before queues run; the library does not do it by itself. Threads that use a view have SIGBUS
 * unblocked from then on. Returns 0 or -errno.
 */
VDPA_API int vdpa_sigbus_install(void);

/* ---- dirty log ---- */

/** One bit per 4 KiB page of guest physical memory; set atomically, may live in memory shared with
 * a peer. */
struct vdpa_dirty_log;

#define VDPA_DIRTY_PAGE_BYTES 4096ull

/** Log in memory of its own, for guest physical addresses below @gpa_limit. */
VDPA_API int vdpa_dirty_log_new(gpa_t gpa_limit, struct vdpa_dirty_log **out);
/** Log in [@offset, @offset + @size_bytes) of the shared file @fd (stays the caller's): LOG_SHMFD.
 */
VDPA_API int vdpa_dirty_log_map(int fd, uint64_t offset, uint64_t size_bytes,
				struct vdpa_dirty_log **out, struct vdpa_error *err);
VDPA_API struct vdpa_dirty_log *vdpa_dirty_log_get(struct vdpa_dirty_log *log);
VDPA_API void vdpa_dirty_log_put(struct vdpa_dirty_log *log);
/** Mark [@gpa, @gpa + @len). Pages beyond the log are counted, not written. Any thread. */
VDPA_API void vdpa_dirty_log_mark(struct vdpa_dirty_log *log, gpa_t gpa, uint64_t len);
/** How many pages were marked that lie beyond the log. Any thread. */
VDPA_API uint64_t vdpa_dirty_log_beyond(const struct vdpa_dirty_log *log);
/**
 * Copy out (and, with @clear, clear) the bits of @npages pages from @gpa on; 64 pages a word, page
 * n in bit n % 64; pages beyond the log read as clean. -EINVAL when @gpa is no multiple of a page.
 * Any thread.
 */
VDPA_API int vdpa_dirty_log_sync(struct vdpa_dirty_log *log, gpa_t gpa, uint64_t npages,
				 uint64_t *bitmap, bool clear);

/* ---- address spaces ---- */

struct vdpa_as;

/**
 * An access found no translation, and the address space says that this can mend itself (a vIOMMU).
 * Called on the queue's loop, rate-limited to one call per distinct miss while it is outstanding.
 */
typedef void (*vdpa_as_miss_fn)(void *arg, unsigned asid, iova_t iova, uint32_t perm);

/** A new, empty address space; every access faults. Control thread, as all that follow. */
VDPA_API int vdpa_as_new(struct vdpa_loop_group *group, unsigned asid, struct vdpa_as **out);
/**
 * Nothing may be attached any more. What is under way (removals whose messages have not come back)
 * is completed first, while the control loop runs: before the group is freed, wait for one
 * vdpa_loop_group_sync().
 */
VDPA_API void vdpa_as_free(struct vdpa_as *as);

/**
 * Add [@iova, @iova + @size - 1] -> @addr in @region. The address space holds its own reference on
 * the region until the removal has completed. Errors as vhost_iotlb_add_range(), -EINVAL also when
 * the piece does not lie inside @region or asks to write what @region cannot; published at once
 * unless inside a batch.
 */
VDPA_API int vdpa_as_map(struct vdpa_as *as, iova_t iova, uint64_t size, uint64_t addr,
			 uint32_t perm, struct vdpa_region *region);
/**
 * Remove what overlaps [@iova, @last]; published at once unless inside a batch. @done: see the top.
 * An error (-ENOMEM) changes nothing and does not call @done.
 */
VDPA_API int vdpa_as_unmap(struct vdpa_as *as, iova_t iova, iova_t last,
			   const struct vdpa_done *done);
/**
 * Replace the whole map by @iotlb (whose opaques are regions), as one step; @iotlb stays the
 * caller's. What is the same in both is not removed. @done: as vdpa_as_unmap(). 0; -EINVAL, -ENOMEM
 * as vdpa_as_map(): nothing was changed.
 */
VDPA_API int vdpa_as_set_map(struct vdpa_as *as, struct vhost_iotlb *iotlb,
			     const struct vdpa_done *done);
/** Between begin and end nothing is published; they nest. */
VDPA_API void vdpa_as_batch_begin(struct vdpa_as *as);
VDPA_API void vdpa_as_batch_end(struct vdpa_as *as);
/**
 * Holes are misses from now on (@fn not NULL), or faults (NULL). Parked queues try again. The
 * earlier
 * @fn is not called any more once a vdpa_loop_group_sync() that follows has completed.
 * 0 or -ENOMEM (nothing was changed).
 */
VDPA_API int vdpa_as_set_miss(struct vdpa_as *as, vdpa_as_miss_fn fn, void *arg);
/**
 * Whoever was told of this miss has answered: where there still is no range (it was refused), the
 * next access reports it again. True: an access ran into it meanwhile, and nobody else will; the
 * caller asks again itself, and says so again when that is answered. Any thread.
 */
VDPA_API bool vdpa_as_miss_settled(struct vdpa_as *as, iova_t iova, uint32_t perm);
/**
 * Log writes through this address space from now on; NULL ends it. @done: every loop uses it. 0 or
 * -ENOMEM (nothing was changed, @done is not called).
 */
VDPA_API int vdpa_as_set_dirty_log(struct vdpa_as *as, struct vdpa_dirty_log *log,
				   const struct vdpa_done *done);
/** The map as it is, for dumps. Valid until the next change. */
VDPA_API const struct vhost_iotlb *vdpa_as_iotlb(const struct vdpa_as *as);

/* ---- views: a queue's window ---- */

struct vdpa_view;

struct vdpa_view_ops {
	/** Is a request in flight whose memory overlaps [@first, @last] (addresses in this
	 * process)? */
	bool (*in_use)(void *arg, uintptr_t first, uintptr_t last);
	/**
	 * The map changed: translate again what is cached; retry what was parked. Runs from a
	 * message, thus between batches, after the view was refreshed. May detach the view when
	 * @loop is the control loop.
	 */
	void (*changed)(void *arg);
};

/**
 * Attach a view for a queue that runs on @loop. Called on the control thread before the queue
 * starts. 0 or -ENOMEM.
 * @ops (or members of it) may be NULL: nothing is ever in use, nothing is cached; else called on
 * @loop. Detach after the queue has stopped: control thread. No op runs once it has returned;
 * removals that waited for this view go on.
 */
VDPA_API int vdpa_view_attach(struct vdpa_as *as, struct vdpa_loop *loop,
			      const struct vdpa_view_ops *ops, void *arg, struct vdpa_view **out);
VDPA_API void vdpa_view_detach(struct vdpa_view *view);

/* All below: the view's loop. */

/**
 * Pick up the newest map; between batches only. Returns true when it changed (cached translations
 * are void then).
 */
VDPA_API bool vdpa_view_refresh(struct vdpa_view *view);

/**
 * Translate [@iova, @iova + @len) for @perm (VHOST_MAP_*) into at most @max pieces; pieces that are
 * adjacent in this process are joined. Returns the number of pieces; -EFAULT (hole, permission,
 * wrap); -EAGAIN (miss: it was reported, try again after changed()); -E2BIG (more than @max);
 * -EREMOTE (memory by message: use read and write below). @len 0 gives 0.
 *
 * A fault or a miss is never answered from an out-of-date map: when a newer one is there already,
 * the answer is -EAGAIN, nothing is reported, and changed() follows by itself at the end of the
 * batch.
 */
VDPA_API int vdpa_view_xlate(struct vdpa_view *view, iova_t iova, uint64_t len, uint32_t perm,
			     struct iovec *iov, unsigned max);
/** At most so many addresses are looked up ahead. */
#define VDPA_VIEW_AHEAD 64
/**
 * A hint: @n addresses, of which the first VDPA_VIEW_AHEAD count, are translated next, mostly in
 * this order. In a map that is larger than the processor's caches they are looked up together,
 * several times faster than one after the other; in any other this does nothing. It reports no miss
 * and changes no answer: addresses need not be mapped, and need not be asked for. It holds until
 * the next one, and until vdpa_view_refresh() picks up another map.
 */
VDPA_API void vdpa_view_ahead(struct vdpa_view *view, const iova_t *iova, unsigned n);
/** Copy from and to guest memory, of either kind. 0, -EFAULT, -EAGAIN, or the region's error. */
VDPA_API int vdpa_view_read(struct vdpa_view *view, iova_t iova, void *buf, size_t len);
/** As above; marks the dirty log with exactly what was written. */
VDPA_API int vdpa_view_write(struct vdpa_view *view, iova_t iova, const void *buf, size_t len);
/** Somebody wrote @len bytes at @addr through a translation: mark the dirty log (no-op without
 * one). */
VDPA_API void vdpa_view_dirty(struct vdpa_view *view, const void *addr, size_t len);
/**
 * Which memory of the driver, in this process, holds the byte at @addr (from a translation): first
 * and last address of the region. False: none that is known. Who keeps something per region is told
 * of its end by in_use().
 */
VDPA_API bool vdpa_view_bounds(struct vdpa_view *view, const void *addr, uintptr_t *first,
			       uintptr_t *last);
/** A request ended: lets removals that wait for it go on. Cheap when none waits. */
VDPA_API void vdpa_view_request_done(struct vdpa_view *view);
/** True when memory that was reached through this view lost a page (the device must be broken
 * then). */
VDPA_API bool vdpa_view_broken(struct vdpa_view *view);

#ifdef __cplusplus
}
#endif
#endif
