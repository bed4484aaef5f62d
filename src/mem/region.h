/* SPDX-License-Identifier: BSD-3-Clause */
/* Inside of a region, for the files of this floor. */
#ifndef MEM_REGION_H
#define MEM_REGION_H

#include <stdatomic.h>
#include <sys/mman.h>

#include <uvdpa/mem.h>

#include "base/ref.h"

struct sigbus_slot;

enum region_kind {
	REGION_MAPPED,	/* ours: unmapped with the last reference */
	REGION_WRAPPED, /* somebody else's memory in this process */
	REGION_MESSAGE, /* no memory in this process at all */
};

/*
 * All but the counts and @broken is constant from birth to the last put. @refs keep the memory,
 * @weak keeps this structure: tables that views still read may name regions whose memory is gone.
 */
struct vdpa_region {
	struct vdpa_ref refs;
	struct vdpa_ref weak; /* all of refs together hold one */
	enum region_kind kind;
	int prot;
	char *base;
	uint64_t size;
	gpa_t gpa;
	int fd;
	uint64_t offset;
	void *map; /* MAPPED: what was given to mmap */
	size_t map_bytes;
	struct sigbus_slot *slot;
	const struct vdpa_region_ops *ops;
	void *arg;
	_Atomic bool broken;
};

void region_weak_get(struct vdpa_region *region);
void region_weak_put(struct vdpa_region *region);

/* May a map send [@addr, @addr + @last_off] with @perm here? */
bool region_takes(const struct vdpa_region *region, uint64_t addr, uint64_t last_off,
		  uint32_t perm);

static inline bool region_by_message(const struct vdpa_region *region)
{
	return region->kind == REGION_MESSAGE;
}

#endif
