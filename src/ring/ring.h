/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The inside of a vringh: one walker, several ring formats.
 *
 * vringh.c   life of a ring, and what the formats share around a batch
 * chain.c    a chain: descriptor copies -> checks -> iovec, its memory
 * ahead.c    the translations of a batch in a large map, looked up at once
 * split.c    the split format: indices, rings, suppression
 * packed.c   the packed format
 * inflight.c, inflight_packed.c: the shared area that survives this process
 *
 * A format moves whole batches; there is no call through a pointer per descriptor.
 *
 * States of a slot: free -> out (popped) -> free, by complete, abandon or cancel. A head stays
 * marked from the moment it is popped until its completion is visible to the driver: a driver that
 * offers it again in between is malformed.
 */
#ifndef RING_RING_H
#define RING_RING_H

#include <uvdpa/compat.h>
#include <uvdpa/vringh.h>

#include "ring/area.h"
#include "ring/guest.h"
#include "ring/xlate.h"

/* Pieces that a chain holds without asking the pool. */
#define RING_INLINE_IOV 8
/* Blocks of the pool: 16, 32, ... VRINGH_MAX_IOV pieces. */
#define RING_IOV_CLASSES 7
#define RING_IOV_CLASS_MIN 16
/* Memory that chains of one queue may take for buffers that are reached by message. */
#define RING_BOUNCE_MAX_BYTES (64ull << 20)
/* virtio 1.3, 2.7.4.1: a chain is at most 2^32 bytes. */
#define RING_CHAIN_MAX_BYTES (1ull << 32)
/* Heads that are read ahead of their descriptors. */
#define RING_BATCH 32

#define RING_SLOT_OUT 0x1u
#define RING_SLOT_RESUBMITTED 0x2u
#define RING_SLOT_CLASS_SHIFT 8 /* class of its block + 1 */

/* A buffer that is reached by message: where it lies, and which piece stands for it. */
struct ring_bounce_piece {
	iova_t iova;
	unsigned piece;
};

struct ring_bounce {
	uint64_t bytes;
	unsigned n;
	uint8_t *data;
	struct ring_bounce_piece pieces[];
};

struct ring_slot {
	struct vringh_chain chain;
	struct ring_bounce *bounce;
	struct iovec iov[RING_INLINE_IOV];
} __attribute__((aligned(64)));

enum ring_park {
	RING_RUNS,
	RING_PARKED_MAP,    /* until the map changes */
	RING_PARKED_MEMORY, /* until a chain ends, or the map changes */
};

/* A completion that waits for the flush. */
struct ring_pending {
	uint32_t len;
	uint16_t id;
	uint16_t rest; /* descriptors of the ring that it takes, less one (packed); RING_SILENT */
};

#define RING_SILENT 0x8000u /* a later one may speak for it */

/* IN_ORDER: a completion that waits for those before it. */
struct ring_held {
	struct ring_pending done;
	bool ended;
};

struct ring_iov_block {
	struct ring_iov_block *next;
	struct iovec iov[];
};

enum ring_notify {
	RING_NOTIFY_UNKNOWN,
	RING_NOTIFY_OFF,
	RING_NOTIFY_ON,
};

struct vringh {
	/* Set at birth, read on every batch. */
	const struct vringh_format *fmt;
	uint32_t num;
	bool event_idx, indirect, notify_on_empty, in_order;
	uint16_t table_write; /* the flag that says so in a table of a packed ring */
	struct vdpa_view *ring_view, *buf_view;
	uint8_t *head_out;	 /* per head: popped, and not yet visibly used */
	struct ring_slot *slots; /* num */
	uint16_t *free;		 /* stack of free slots */
	uint16_t *got;		 /* slots in the order in which they were got, modulo num */
	struct ring_pending *pending;
	struct ring_held *held; /* beside got; NULL: any order will do */

	/* The loop's. */
	struct ring_area desc, avail, used;
	bool areas_valid;
	bool started; /* the ring was looked at */
	bool dead;
	enum ring_park park;
	enum ring_notify notify;
	uint16_t last_avail; /* next to pop; packed: a position, see there */
	uint16_t last_used;  /* next to publish */
	uint16_t signalled;  /* last_used at the last decision about a call */
	bool signalled_valid;
	bool call_owed;	      /* also when nothing is new */
	uint16_t avail_event; /* as last written */
	uint32_t descs_out;   /* packed: popped, not yet published as used */
	uint32_t descs_used;  /* packed: since the last decision about a call */
	uint32_t got_pos;     /* where in got the next one goes */
	uint32_t held_next;   /* the oldest that was not handed to pending */
	uint32_t nheld;	      /* ended, and not handed to pending */
	uint32_t nfree;
	uint32_t npending;
	uint32_t pending_descs; /* packed: that they take */
	uint32_t budget;	/* direct descriptors that this batch may still walk */

	/* Chains that were in flight when a former process died. */
	struct vringh_inflight *inflight;
	uint32_t resub_next, resub_count;
	uint32_t batch_marked; /* of pending: are in the area's list of the last batch */

	struct ring_iov_block *blocks[RING_IOV_CLASSES];
	struct iovec *scratch; /* VRINGH_MAX_IOV */
	iova_t *scratch_iova;  /* per piece in scratch: where, for pieces by message */
	uint64_t bounce_bytes; /* of chains that are out */
	uint8_t *priv;
	struct vringh_stats stats;
	char error[160];
};

/* What a ring format is. Every function runs on the queue's loop unless stated. */
struct vringh_format {
	const char *name;
	/* Check the geometry and set the areas up; control thread. 0 or -EINVAL with @err. */
	int (*init)(struct vringh *vr, const struct vringh_config *config, struct vdpa_error *err);
	/* Translate the areas; 0 or -EAGAIN. */
	int (*resolve)(struct vringh *vr);
	/* First look at the ring; 0 or -errno. */
	int (*start)(struct vringh *vr);
	/* Pop up to @max chains: how many, or -errno when there was none before the error. */
	int (*pop)(struct vringh *vr, struct vringh_chain **chains, unsigned max);
	/* @chain, the last one that came from the ring (not a resubmitted one), goes back. */
	void (*unpop)(struct vringh *vr, const struct vringh_chain *chain);
	/* Publish what is pending; 0 or -errno. */
	int (*flush)(struct vringh *vr);
	bool (*need_notify)(struct vringh *vr);
	bool (*notify_enable)(struct vringh *vr);
	void (*notify_disable)(struct vringh *vr);
	struct vdpa_vq_state (*state)(const struct vringh *vr);
};

extern const struct vringh_format ring_split_format;
extern const struct vringh_format ring_packed_format;

static inline bool ring_slot_out(const struct ring_slot *slot)
{
	return slot->chain.state & RING_SLOT_OUT;
}

/* The top of the free stack was made a chain. */
static inline void ring_got(struct vringh *vr)
{
	uint16_t slot = vr->free[--vr->nfree];

	vr->got[vr->got_pos] = slot;
	vr->slots[slot].chain.order = (uint16_t)vr->got_pos;
	if (++vr->got_pos == vr->num)
		vr->got_pos = 0;
}

/* As ring_got(), of the @n topmost ones, which are @chains. */
static inline void ring_got_n(struct vringh *vr, struct vringh_chain *const *chains, unsigned n)
{
	uint16_t *got = vr->got;
	uint32_t pos = vr->got_pos, num = vr->num;

	for (unsigned i = 0; i < n; i++) {
		got[pos] = chains[i]->index;
		chains[i]->order = (uint16_t)pos;
		if (++pos == num)
			pos = 0;
	}
	vr->got_pos = pos;
	vr->nfree -= n;
}

static inline struct ring_slot *ring_chain_slot(struct vringh_chain *chain)
{
	return (struct ring_slot *)(void *)((char *)chain - offsetof(struct ring_slot, chain));
}

static inline uint32_t ring_pending_descs(const struct ring_pending *p)
{
	return (p->rest & ~RING_SILENT) + 1u;
}

/*
 * IN_ORDER (virtio 1.3, 2.7.9 and 2.8.8): one used element may stand for a whole batch, with the id
 * of its last buffer, and the driver takes it that the buffers before were used completely. The one
 * before @i, of pending, speaks for those before it that can do with that; @i becomes the first of
 * them. Returns how many descriptors they take.
 */
static inline uint32_t ring_pending_batch(const struct vringh *vr, uint32_t *i)
{
	uint32_t descs = ring_pending_descs(&vr->pending[--*i]);

	while (*i > 0 && (vr->pending[*i - 1].rest & RING_SILENT))
		descs += ring_pending_descs(&vr->pending[--*i]);
	return descs;
}

/* All that is pending is visible: the heads are the driver's. */
static inline void ring_pending_published(struct vringh *vr)
{
	const struct ring_pending *pending = vr->pending;
	uint8_t *head_out = vr->head_out;
	uint32_t n = vr->npending;

	for (uint32_t i = 0; i < n; i++)
		head_out[pending[i].id] = 0;
	vr->npending = vr->pending_descs = 0;
}

/* ---- vringh.c: what formats call ---- */

/* Where an area lies, against what the specification wants. 0 or -EINVAL. */
int ring_area_check(const struct ring_area *area, unsigned align, const char *name,
		    struct vdpa_error *err);

/* The ring stops for good: remember why (the first reason stays). Returns -EBADMSG. */
int ring_bad(struct vringh *vr, const char *fmt, ...) VDPA_PRINTF(2, 3);
/* Areas translated and the ring looked at: 0, -EAGAIN or -EBADMSG. */
int ring_ready_slow(struct vringh *vr);
static inline int ring_ready(struct vringh *vr)
{
	return ring_likely(vr->areas_valid && vr->started) ? 0 : ring_ready_slow(vr);
}
/* An access to ring memory failed with @rc: -EAGAIN stays, all else ends the ring. */
int ring_access_failed(struct vringh *vr, const char *what, int rc);

/* ---- chain.c ---- */

/* A chain being put together. */
struct ring_walk {
	struct vringh *vr;
	struct ring_slot *slot;
	struct iovec *iov; /* the slot's own, or the ring's scratch */
	unsigned n, cap;
	unsigned nout;
	unsigned nremote;
	/* Apart, or the compiler moves both by one wide load, which stalls behind the narrow
	 * stores. */
	uint64_t out_len, remote_bytes, in_len;
	uint16_t head;
	bool writable; /* a writable descriptor was seen */
};

/* Field by field: what is stored here is loaded again at once, at the same width. */
static inline void ring_walk_begin(struct ring_walk *w, struct vringh *vr, uint16_t head)
{
	w->vr = vr;
	w->slot = &vr->slots[vr->free[vr->nfree - 1]];
	w->iov = w->slot->iov;
	w->n = 0;
	w->cap = RING_INLINE_IOV;
	w->nout = 0;
	w->nremote = 0;
	w->out_len = 0;
	w->in_len = 0;
	w->remote_bytes = 0;
	w->head = head;
	w->writable = false;
}

/* Rarely needed half of ring_walk_add(): no recent hit, several pieces, memory by message, errors.
 */
int ring_walk_add_slow(struct ring_walk *w, iova_t addr, uint32_t len);

/* Add the buffer of one descriptor. 0, -EAGAIN (miss), or -EBADMSG. */
static inline int ring_walk_add(struct ring_walk *w, iova_t addr, uint32_t len, bool write)
{
	int n;

	/* virtio 1.3, 2.7.4.2: readable buffers come first. */
	if (ring_unlikely(w->writable && !write))
		return ring_bad(w->vr, "head %u: readable buffer after a writable one", w->head);
	w->writable = write;
	/* Pointless, not forbidden: the descriptor counts as a step, and is no piece. */
	if (ring_unlikely(len == 0))
		return 0;
	if (ring_likely(w->n < w->cap &&
			ring_xlate_hit(w->vr->buf_view, addr, len,
				       write ? VHOST_MAP_WO : VHOST_MAP_RO, w->iov + w->n))) {
		n = 1;
	} else {
		n = ring_walk_add_slow(w, addr, len);
		if (n < 0)
			return n;
	}
	w->n += (unsigned)n;
	if (write) {
		w->in_len += len;
	} else {
		w->nout = w->n;
		w->out_len += len;
	}
	return 0;
}

/*
 * The chain does not lie in its slot, or is too long: its memory. Sets iov and state. 0, -EAGAIN or
 * -EBADMSG.
 */
int ring_walk_settle(struct ring_walk *w);

/* All descriptors were seen: the slot becomes the chain. On an error nothing is left behind. */
static inline int ring_walk_commit(struct ring_walk *w)
{
	struct vringh_chain *chain = &w->slot->chain;

	chain->state = 0;
	chain->iov = w->slot->iov;
	if (ring_unlikely(w->iov != chain->iov || w->out_len + w->in_len > RING_CHAIN_MAX_BYTES)) {
		int rc = ring_walk_settle(w);

		if (rc)
			return rc;
	}
	chain->state |= RING_SLOT_OUT;
	chain->nout = (uint16_t)w->nout;
	chain->nin = (uint16_t)(w->n - w->nout);
	chain->head = w->head;
	chain->out_len = w->out_len;
	chain->in_len = w->in_len;
	return 0;
}

/* The slot becomes a chain of one buffer. */
static inline void ring_single_fill(struct ring_slot *slot, uint16_t head, void *base, uint32_t len,
				    bool write)
{
	struct vringh_chain *chain = &slot->chain;

	slot->iov[0].iov_base = base;
	slot->iov[0].iov_len = len;
	chain->iov = slot->iov;
	chain->state = RING_SLOT_OUT;
	chain->nout = !write;
	chain->nin = write;
	chain->head = head;
	chain->out_len = write ? 0 : len;
	chain->in_len = write ? len : 0;
}

/* ---- ahead.c ---- */

struct ring_ahead_item {
	iova_t addr;
	uint32_t len;
	bool table; /* an indirect one */
};

/* What a batch will ask for, in the order of its walk; begins all zero. */
struct ring_ahead {
	unsigned n, used;
	struct ring_ahead_item item[VDPA_VIEW_AHEAD];
};

/* Is the map so large that looking ahead pays? Translations of the ring's memory are direct then.
 */
static inline bool ring_ahead_wanted(const struct vringh *vr)
{
	return ring_unlikely(vr->buf_view->deep || vr->ring_view->deep) && vr->desc.ptr;
}
/* Add what a descriptor says. False: no room, nothing was added. */
bool ring_ahead_add(struct ring_ahead *a, uint64_t addr, uint32_t len, bool table);
/* Look it all up. */
void ring_ahead_look(struct vringh *vr, const struct ring_ahead *a);

/* The chain ended: bounce and iov memory go back. */
void ring_chain_release(struct vringh *vr, struct ring_slot *slot);
/* Deliver @written bytes: marks the dirty log, writes out what is by message. 0 or -errno. */
int ring_chain_deliver(struct vringh *vr, struct ring_slot *slot, uint64_t written);
void ring_pool_free(struct vringh *vr);

/* ---- inflight.c ---- */

/*
 * A build of the tests dies before and behind each store that tells of requests, in the area and,
 * of a packed ring, in the ring.
 */
#ifdef RING_CRASH_HOOK
void ring_crash_hook(void);
#define ring_crash_point() ring_crash_hook()
#else
#define ring_crash_point()                                                                         \
	do {                                                                                       \
	} while (0)
#endif

bool ring_inflight_fits(const struct vringh_inflight *inflight, uint32_t num, bool packed);
/*
 * The ring's used index is @ring_used: repair the last batch, and find what has to be done again.
 * Returns how many; -ENODATA when the area says nothing about this ring (it is started afresh).
 */
int ring_inflight_recover(struct vringh_inflight *inflight, uint16_t ring_used);
/* The @i-th head to do again, oldest first. */
uint16_t ring_inflight_resubmit(const struct vringh_inflight *inflight, uint32_t i);
/* True when a batch was repaired: the driver may not have been told of it. */
bool ring_inflight_repaired(const struct vringh_inflight *inflight);
void ring_inflight_pop(struct vringh_inflight *inflight, uint16_t head);
void ring_inflight_unpop(struct vringh_inflight *inflight, uint16_t head);
/* Around the publication of a batch that ends with used index @used. */
void ring_inflight_batch_add(struct vringh_inflight *inflight, uint16_t head);
void ring_inflight_batch_end(struct vringh_inflight *inflight, const struct ring_pending *batch,
			     uint32_t n, uint16_t used);

/* ---- inflight_packed.c ---- */

/* Where the ring goes on: @used as given when nothing is known, and how many descriptors are out.
 */
struct ring_inflight_packed {
	uint16_t used_idx;
	bool used_wrap;
	uint32_t descs;
};

/* A batch was being published: the ring's descriptor at @index, which was available there, tells.
 */
bool ring_inflight_packed_in_doubt(const struct vringh_inflight *inflight, uint16_t *index,
				   bool *wrap);
/* As ring_inflight_recover(). May be called again. */
int ring_inflight_packed_recover(struct vringh_inflight *inflight, bool published,
				 struct ring_inflight_packed *out);
/* The descriptors of the @i-th chain to do again; at least one. */
const struct pdesc_copy *ring_inflight_packed_list(struct vringh_inflight *inflight, uint32_t i,
						   uint32_t *n);
/* A pop: begin, each descriptor, and, when the chain is good, that it is out. */
void ring_inflight_packed_begin(struct vringh_inflight *inflight);
void ring_inflight_capture(struct vringh_inflight *inflight, const struct pdesc_copy *d);
void ring_inflight_packed_pop(struct vringh_inflight *inflight, uint16_t id);
void ring_inflight_packed_unpop(struct vringh_inflight *inflight, uint16_t id);
/* Around the publication of a batch that ends at @used_idx; abort: it was not published. */
void ring_inflight_packed_batch(struct vringh_inflight *inflight, const struct ring_pending *batch,
				uint32_t n, uint16_t used_idx, bool used_wrap);
void ring_inflight_packed_abort(struct vringh_inflight *inflight);
void ring_inflight_packed_end(struct vringh_inflight *inflight, const struct ring_pending *batch,
			      uint32_t n);

#endif
