/* SPDX-License-Identifier: BSD-3-Clause */
/* Small unsigned numbers: always the lowest that is free, over the whole range of the type. */
#ifndef VDPA_IDS_H
#define VDPA_IDS_H

#include <stddef.h>

struct vdpa_ids_range {
	unsigned first, last; /* inclusive, used */
};

struct vdpa_ids {
	struct vdpa_ids_range *used; /* ascending; neighbours are joined */
	size_t n, room;
	size_t taken; /* how often get or reserve succeeded, less puts */
};

/** 0, -ENOMEM, or -ENOSPC when every number is taken. */
int vdpa_ids_get(struct vdpa_ids *ids, unsigned *out);
/** Give back a number that is taken. Never fails. */
void vdpa_ids_put(struct vdpa_ids *ids, unsigned id);
/** Take all of [0, @last] out of an empty set. 0 or -ENOMEM. */
int vdpa_ids_reserve(struct vdpa_ids *ids, unsigned last);
void vdpa_ids_fini(struct vdpa_ids *ids);

#endif
