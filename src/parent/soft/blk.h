/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-blk (virtio 1.3, section 5.2) on a disk backend.
 *
 * blk.c         what is offered, birth, the management device
 * blk_request.c one request: header, checks, backend, status
 */
#ifndef PARENT_SOFT_BLK_H
#define PARENT_SOFT_BLK_H

#include <stdatomic.h>
#include <uvdpa/backend.h>
#include <uvdpa/compat.h>
#include <uvdpa/soft.h>
#include "base/list.h"

#define BLK_SECTOR 512u
#define BLK_ID_BYTES 20
#define BLK_BATCH 64
/* Requests of one turn: no more once they have so many bytes. */
#define BLK_TURN_BYTES (4u << 20)
#define BLK_SMALL_IOV 4
/* Limits of one discard or write-zeroes request; in sectors. */
#define BLK_MAX_DISCARD (1u << 22)
#define BLK_MAX_ZEROES (1u << 21)

struct soft_blk {
	struct vdpa_soft soft;
	struct blk_backend *be;
	struct blk_backend_info info;
	uint64_t capacity_sectors;
	char id[BLK_ID_BYTES];
	bool read_only;
	unsigned num_queues;
	uint16_t depth;
};

enum blk_stat {
	BLK_STAT_READS,
	BLK_STAT_READ_BYTES,
	BLK_STAT_WRITES,
	BLK_STAT_WRITE_BYTES,
	BLK_STAT_FLUSHES,
	BLK_STAT_DISCARDS,
	BLK_STAT_ZEROES,
	BLK_STAT_ERRORS,
	BLK_STATS,
};

/* Per queue; the queue's loop, but the counters are read by the control thread. */
struct blk_vq {
	struct vdpa_soft_vq *vq;
	struct blk_queue *bq; /* while the queue runs */
	bool submitting;
	bool unflushed; /* completions that came outside of a turn */
	_Atomic uint64_t stats[BLK_STATS];
};

/* Per request, in the chain's priv area. */
struct blk_io {
	struct blk_request req;
	struct blk_vq *bv;
	struct vringh_chain *chain;
	struct iovec *copy; /* pieces that had to be trimmed; NULL: none, or small */
	struct iovec small[BLK_SMALL_IOV];
};

static inline struct soft_blk *to_blk(struct vdpa_soft *dev)
{
	return vdpa_container_of(dev, struct soft_blk, soft);
}

bool soft_blk_run(struct vdpa_soft *dev, struct vdpa_soft_vq *vq, unsigned budget);

#endif
