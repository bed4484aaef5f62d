/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vhost_iotlb: an ordered map of IOVA ranges, with the names and the semantics of Linux's
 * drivers/vhost/iotlb.c. Ranges are inclusive, [start, last]; they do not overlap.
 *
 * The tree behind it is persistent (path-copying): vhost_iotlb_snapshot() is O(1), and a snapshot
 * never changes afterwards; a change of a table that has snapshots copies O(log n) nodes, one that
 * has none is made in place. While the table is small its root is one flat sorted array.
 *
 * Threads: a table and its snapshots belong to one writer thread (reference counts are plain).
 * Other threads may read a snapshot that was handed to them, until they give it back to the writer.
 *
 * Since 0.1, unless a function says otherwise.
 */
#ifndef UVDPA_VHOST_IOTLB_H
#define UVDPA_VHOST_IOTLB_H

#include <uvdpa/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Permissions of a range and of an access; the values of VHOST_ACCESS_* in linux/vhost_types.h. */
#define VHOST_MAP_RO 0x1u
#define VHOST_MAP_WO 0x2u
#define VHOST_MAP_RW 0x3u

/** When the limit is reached, the oldest range gives way, instead of -ENOMEM. */
#define VHOST_IOTLB_FLAG_RETIRE 0x1u

struct vhost_iotlb_node; /* private */

struct vhost_iotlb_map {
	iova_t start;
	iova_t last;   /**< inclusive */
	uint64_t addr; /**< what start stands for: an address in this process, or a cookie of the
			  region */
	void *opaque;  /**< here: the struct vdpa_region behind the range, or NULL; not owned */
	uint32_t perm; /**< VHOST_MAP_* */
	uint32_t flags;
};

/**
 * A table. Authors may embed one (its size is part of the ABI); all fields are private but nmaps.
 */
struct vhost_iotlb {
	struct vhost_iotlb_node *root;
	uint64_t nmaps; /**< number of ranges */
	unsigned limit; /**< 0: none */
	unsigned flags;
	uint64_t txn;
	void *fifo; /* order of insertion, kept only with a limit and RETIRE */
	void *reserved[3];
};

/** Allocate a table. @limit: most ranges, 0 for no limit. NULL without memory. */
VDPA_API struct vhost_iotlb *vhost_iotlb_alloc(unsigned limit, unsigned flags);
/** Initialise an embedded table; end it with vhost_iotlb_reset(). */
VDPA_API void vhost_iotlb_init(struct vhost_iotlb *iotlb, unsigned limit, unsigned flags);
/** Free a table of vhost_iotlb_alloc(). NULL is allowed. */
VDPA_API void vhost_iotlb_free(struct vhost_iotlb *iotlb);
/** Remove every range; the table stays usable. */
VDPA_API void vhost_iotlb_reset(struct vhost_iotlb *iotlb);

/**
 * Add [@start, @last] -> @addr. The full range [0, 2^64-1] is stored as two, as Linux does (its
 * size would not fit 64 bits). Returns 0; -EINVAL (last < start, perm not 1..3, addr + size wraps);
 * -EEXIST (it overlaps a range that is there: nothing was changed); -ENOMEM (no memory, or limit
 * reached without RETIRE: nothing was changed).
 */
VDPA_API int vhost_iotlb_add_range(struct vhost_iotlb *iotlb, iova_t start, iova_t last,
				   uint64_t addr, uint32_t perm);
VDPA_API int vhost_iotlb_add_range_ctx(struct vhost_iotlb *iotlb, iova_t start, iova_t last,
				       uint64_t addr, uint32_t perm, void *opaque);
/**
 * Remove every range that overlaps [@start, @last], whole, as Linux does. @fn (may be NULL) is told
 * each removed range. Returns how many, or -ENOMEM when a path could not be copied (nothing was
 * changed).
 */
VDPA_API int vhost_iotlb_del_range(struct vhost_iotlb *iotlb, iova_t start, iova_t last,
				   void (*fn)(void *arg, const struct vhost_iotlb_map *map),
				   void *arg);
/** Remove one range that was found by the functions below. Invalidates pointers to maps. 0 or
 * -ENOMEM. */
VDPA_API int vhost_iotlb_map_free(struct vhost_iotlb *iotlb, const struct vhost_iotlb_map *map);

/**
 * First range that overlaps [@start, @last], or NULL. O(log n). The pointer is valid until the
 * table changes.
 */
VDPA_API const struct vhost_iotlb_map *vhost_iotlb_itree_first(const struct vhost_iotlb *iotlb,
							       iova_t start, iova_t last);
/** The range after @map that overlaps [@start, @last], or NULL. O(log n). */
VDPA_API const struct vhost_iotlb_map *vhost_iotlb_itree_next(const struct vhost_iotlb *iotlb,
							      const struct vhost_iotlb_map *map,
							      iova_t start, iova_t last);

/**
 * Make @snap a snapshot of @iotlb: O(1), shares all nodes. @snap must be empty or uninitialised;
 * end it with vhost_iotlb_reset(). A snapshot is a table of its own: changing either does not
 * change the other.
 */
VDPA_API void vhost_iotlb_snapshot(struct vhost_iotlb *iotlb, struct vhost_iotlb *snap);

#ifdef __cplusplus
}
#endif
#endif
