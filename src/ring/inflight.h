/* SPDX-License-Identifier: BSD-3-Clause */
/* What in-flight tracking of both ring formats shares; inflight.c says how it works. */
#ifndef RING_INFLIGHT_H
#define RING_INFLIGHT_H

#include "ring/ring.h"

#define INFLIGHT_VERSION 1

/* The layouts of the specification; both ends are on one machine, so they are native. */
struct inflight_desc {
	uint8_t inflight;
	uint8_t padding[5];
	uint16_t next;
	uint64_t counter;
};

struct inflight_area {
	uint64_t features;
	uint16_t version;
	uint16_t desc_num;
	uint16_t last_batch_head;
	uint16_t used_idx;
	struct inflight_desc desc[];
};

struct inflight_pdesc {
	uint8_t inflight;
	uint8_t padding;
	uint16_t next; /* of the free list, and of a list of descriptors */
	uint16_t last; /* of a list: its last entry; these and counter: its first entry only */
	uint16_t num;
	uint64_t counter;
	uint16_t id; /* the descriptor */
	uint16_t flags;
	uint32_t len;
	uint64_t addr;
};

struct inflight_packed_head {
	uint64_t features;
	uint16_t version;
	uint16_t desc_num;
	uint16_t free_head, old_free_head;
	uint16_t used_idx, old_used_idx;
	uint8_t used_wrap, old_used_wrap;
	uint8_t padding[7];
};

struct inflight_packed_area {
	struct inflight_packed_head head;
	struct inflight_pdesc desc[];
};

_Static_assert(sizeof(struct inflight_desc) == 16, "layout of the specification");
_Static_assert(sizeof(struct inflight_area) == 16, "layout of the specification");
_Static_assert(sizeof(struct inflight_pdesc) == 32, "layout of the specification");
_Static_assert(sizeof(struct inflight_packed_area) == 32, "layout of the specification");

struct vringh_inflight {
	union {
		struct inflight_area *area;
		struct inflight_packed_area *parea;
	};
	uint32_t num;
	bool packed;
	bool known; /* the shadow says something about the ring */
	bool repaired;
	uint64_t counter;
	uint32_t nresub;
	uint16_t *resub; /* split: heads; packed: first entries */

	/* Split. */
	uint16_t used_idx;
	uint16_t last_batch_head;
	struct inflight_desc *shadow;

	/* Packed. */
	struct inflight_packed_head phead;
	struct inflight_pdesc *pshadow;
	uint16_t *entry;	     /* by buffer id: its first entry */
	struct pdesc_copy *captured; /* of the chain that is being popped */
	uint32_t ncaptured;
	uint8_t *seen; /* of recovery: entries that were found to be in some list */
};

/* Stores of a process that may be killed between any two of them: made once, in this order. */
#define AREA_STORE(p, v)                                                                           \
	do {                                                                                       \
		ring_crash_point();                                                                \
		__atomic_store_n((p), (v), __ATOMIC_RELEASE);                                      \
		ring_crash_point();                                                                \
	} while (0)

/* inflight_packed.c */
int inflight_packed_alloc(struct vringh_inflight *in);
/* Copy the area, once. */
void inflight_packed_attach(struct vringh_inflight *in);

#endif
