// SPDX-License-Identifier: BSD-3-Clause
/*
 * One request (virtio 1.3, section 5.2.6): a header of 16 bytes, data, and a status byte, which is
 * the last byte that the device may write. With ANY_LAYOUT or VERSION_1 these may be cut into
 * descriptors anywhere, so nothing here looks at where one descriptor ends and the next begins.
 *
 * Who attacks: the driver. The header is copied once and checked as a copy; the sum of sector and
 * length is checked without wrapping; what the data is, decides the chain's length and not the
 * driver's word. The only requests without a status are those that have no room for one.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "parent/soft/blk.h"

struct blk_header {
	uint32_t type;
	uint32_t ioprio; /* reserved */
	uint64_t sector;
};

struct blk_range {
	uint64_t sector;
	uint32_t num_sectors;
	uint32_t flags;
};

#define RANGE_F_UNMAP 1u

static void count(struct blk_vq *bv, enum blk_stat stat, uint64_t n)
{
	_Atomic uint64_t *c = &bv->stats[stat];

	atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

/*
 * The whole writable part counts as written, whatever happened: 5.2.6 puts the status at its end,
 * which is the end of the last piece (no piece is empty).
 */
static void finish(struct blk_vq *bv, struct vringh_chain *chain, uint8_t status)
{
	const struct iovec *last = &chain->iov[chain->nout + chain->nin - 1];

	if (status != VIRTIO_BLK_S_OK)
		count(bv, BLK_STAT_ERRORS, 1);
	if (!vdpa_soft_vq_dropping(bv->vq))
		((uint8_t *)last->iov_base)[last->iov_len - 1] = status;
	vdpa_soft_complete(bv->vq, chain,
			   chain->in_len > UINT32_MAX ? UINT32_MAX : (uint32_t)chain->in_len);
}

static void blk_done(struct blk_request *req, int result)
{
	struct blk_io *io = vdpa_container_of(req, struct blk_io, req);
	struct blk_vq *bv = io->bv;
	uint8_t status = VIRTIO_BLK_S_OK;

	if (io->copy) {
		free(io->copy);
		io->copy = NULL;
	}
	if (result)
		status = result == -EOPNOTSUPP ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR;
	if (result == -ECANCELED && vdpa_soft_vq_cancelling(bv->vq))
		vdpa_soft_cancel(bv->vq, io->chain);
	else
		finish(bv, io->chain, status);
	if (bv->submitting)
		return; /* published with its batch */
	/* Completions that come together are published together, at the queue's next turn. */
	bv->unflushed = true;
	if (vdpa_soft_vq_running(bv->vq))
		vdpa_soft_vq_wake(bv->vq);
	else
		vdpa_soft_flush(bv->vq);
}

/* ---- data ---- */

/* The pieces of @iov from byte @skip on, as many bytes as the request has: as they are, or trimmed
 * copies. */
static int cut_pieces(struct blk_io *io, const struct iovec *iov, unsigned n, uint64_t skip)
{
	struct blk_request *req = &io->req;
	uint64_t len = req->len_bytes;
	struct iovec *to;
	unsigned last;

	while (n && skip >= iov->iov_len) {
		skip -= iov->iov_len;
		iov++;
		n--;
	}
	for (last = 0, len += skip; last < n && len > iov[last].iov_len; last++)
		len -= iov[last].iov_len;
	/* @len: bytes used of piece @last. */
	req->niov = last + 1;
	req->iov = iov;
	if (!skip && len == iov[last].iov_len)
		return 0;
	to = io->small;
	if (req->niov > BLK_SMALL_IOV) {
		to = malloc(req->niov * sizeof(*to));
		if (!to)
			return -ENOMEM;
		io->copy = to;
	}
	memcpy(to, iov, req->niov * sizeof(*to));
	to[last].iov_len = len;
	to[0].iov_base = (char *)to[0].iov_base + skip;
	to[0].iov_len -= skip;
	req->iov = to;
	return 0;
}

/*
 * Most drivers put header and status into descriptors of their own; then the data are whole pieces.
 * No sum overflows: the chain's lengths are the sums of its pieces.
 */
static int data_pieces(struct blk_io *io, bool write)
{
	const struct vringh_chain *chain = io->chain;
	const struct iovec *in = chain->iov + chain->nout;
	struct blk_request *req = &io->req;

	if (write) {
		if (chain->iov->iov_len != sizeof(struct blk_header))
			return cut_pieces(io, chain->iov, chain->nout, sizeof(struct blk_header));
		req->iov = chain->iov + 1;
		req->niov = chain->nout - 1u;
		return 0;
	}
	if (in[chain->nin - 1].iov_len != 1)
		return cut_pieces(io, in, chain->nin, 0);
	req->iov = in;
	req->niov = chain->nin - 1u;
	return 0;
}

static bool in_capacity(const struct soft_blk *blk, uint64_t sector, uint64_t sectors)
{
	return sector <= blk->capacity_sectors && sectors <= blk->capacity_sectors - sector;
}

/* A status: the request is over. -1: it goes to the backend. */
static int read_write(struct soft_blk *blk, struct blk_io *io, uint64_t sector, bool write)
{
	struct vringh_chain *chain = io->chain;
	struct blk_request *req = &io->req;
	uint64_t len = write ? chain->out_len - sizeof(struct blk_header) : chain->in_len - 1;

	if (write && blk->read_only)
		return VIRTIO_BLK_S_IOERR;
	if (len % BLK_SECTOR || !in_capacity(blk, sector, len / BLK_SECTOR))
		return VIRTIO_BLK_S_IOERR;
	if (!len)
		return VIRTIO_BLK_S_OK;
	req->op = write ? BLK_WRITE : BLK_READ;
	req->offset_bytes = sector * BLK_SECTOR;
	req->len_bytes = len;
	count(io->bv, write ? BLK_STAT_WRITES : BLK_STAT_READS, 1);
	count(io->bv, write ? BLK_STAT_WRITE_BYTES : BLK_STAT_READ_BYTES, len);
	return data_pieces(io, write) ? VIRTIO_BLK_S_IOERR : -1;
}

/* ---- ranges ---- */

/* 5.2.6.2: unknown flags, and unmap in a discard, are not supported; beyond the limits is an error.
 */
static int discard_zeroes(struct soft_blk *blk, struct blk_io *io, bool discard)
{
	unsigned bit = discard ? VIRTIO_BLK_F_DISCARD : VIRTIO_BLK_F_WRITE_ZEROES;
	uint64_t len = io->chain->out_len - sizeof(struct blk_header);
	struct blk_request *req = &io->req;
	struct blk_range range;
	uint32_t flags, sectors;

	if (blk->read_only)
		return VIRTIO_BLK_S_IOERR;
	if (!vdpa_soft_has(&blk->soft, bit))
		return VIRTIO_BLK_S_UNSUPP;
	/* max_discard_seg and max_write_zeroes_seg are 1. */
	if (len != sizeof(range))
		return VIRTIO_BLK_S_IOERR;
	vringh_iov_pull(io->chain, sizeof(struct blk_header), &range, sizeof(range));
	flags = le32toh(range.flags);
	sectors = le32toh(range.num_sectors);
	if (flags & (discard ? ~0u : ~RANGE_F_UNMAP))
		return VIRTIO_BLK_S_UNSUPP;
	if (sectors > (discard ? BLK_MAX_DISCARD : BLK_MAX_ZEROES) ||
	    !in_capacity(blk, le64toh(range.sector), sectors))
		return VIRTIO_BLK_S_IOERR;
	count(io->bv, discard ? BLK_STAT_DISCARDS : BLK_STAT_ZEROES, 1);
	if (!sectors)
		return VIRTIO_BLK_S_OK;
	req->op = discard ? BLK_DISCARD : BLK_WRITE_ZEROES;
	req->flags = flags & RANGE_F_UNMAP ? BLK_F_UNMAP : 0;
	req->offset_bytes = le64toh(range.sector) * BLK_SECTOR;
	req->len_bytes = (uint64_t)sectors * BLK_SECTOR;
	return -1;
}

/* ---- the others ---- */

static int get_id(struct soft_blk *blk, struct blk_io *io)
{
	uint64_t room = io->chain->in_len - 1;

	vdpa_soft_push(io->bv->vq, io->chain, 0, blk->id,
		       room < sizeof(blk->id) ? (size_t)room : sizeof(blk->id));
	return VIRTIO_BLK_S_OK;
}

static int flush(struct blk_io *io)
{
	io->req.op = BLK_FLUSH;
	count(io->bv, BLK_STAT_FLUSHES, 1);
	return -1;
}

static int dispatch(struct soft_blk *blk, struct blk_io *io, const struct blk_header *h)
{
	switch (le32toh(h->type)) {
	case VIRTIO_BLK_T_IN:
		return read_write(blk, io, le64toh(h->sector), false);
	case VIRTIO_BLK_T_OUT:
		return read_write(blk, io, le64toh(h->sector), true);
	case VIRTIO_BLK_T_FLUSH:
		return flush(io);
	case VIRTIO_BLK_T_GET_ID:
		return get_id(blk, io);
	case VIRTIO_BLK_T_DISCARD:
		return discard_zeroes(blk, io, true);
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return discard_zeroes(blk, io, false);
	}
	return VIRTIO_BLK_S_UNSUPP;
}

/* The first piece holds all of it, as a rule. */
static void pull_header(const struct vringh_chain *chain, struct blk_header *h)
{
	if (chain->iov->iov_len >= sizeof(*h))
		memcpy(h, chain->iov->iov_base, sizeof(*h));
	else
		vringh_iov_pull(chain, 0, h, sizeof(*h));
	/* Checked is the copy, not what the driver may write meanwhile. */
	__asm__ volatile("" : "+m"(*h));
}

/* True when the backend is to have it. */
static bool begin(struct soft_blk *blk, struct blk_vq *bv, struct vringh_chain *chain)
{
	struct blk_io *io = chain->priv;
	struct blk_header h;
	int status;

	if (!chain->in_len) {
		vdpa_soft_bad_request(bv->vq, chain, "no room for a status");
		count(bv, BLK_STAT_ERRORS, 1);
		vdpa_soft_complete(bv->vq, chain, 0);
		return false;
	}
	if (chain->out_len < sizeof(h)) {
		vdpa_soft_bad_request(bv->vq, chain, "shorter than a header");
		finish(bv, chain, VIRTIO_BLK_S_IOERR);
		return false;
	}
	pull_header(chain, &h);
	/* Ranges have no pieces; what only the backend uses it sets by itself. */
	io->req.flags = 0;
	io->req.offset_bytes = io->req.len_bytes = 0;
	io->req.iov = NULL;
	io->req.niov = 0;
	io->req.done = blk_done;
	io->bv = bv;
	io->chain = chain;
	io->copy = NULL;
	status = dispatch(blk, io, &h);
	if (status < 0)
		return true;
	finish(bv, chain, (uint8_t)status);
	return false;
}

/*
 * Header and status lie in cache lines that the driver's processor wrote last: have them fetched
 * all at once, instead of waiting for one after the other. No address is looked at, only told.
 */
static void prefetch(struct vringh_chain *const *chains, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		const struct vringh_chain *chain = chains[i];
		unsigned pieces = chain->nout + chain->nin;

		if (!pieces)
			continue;
		__builtin_prefetch(chain->iov->iov_base);
		__builtin_prefetch(chain->iov[pieces - 1].iov_base, 1);
	}
}

/* A driver chooses how long its requests are: a turn ends with so many bytes, too. */
bool soft_blk_run(struct vdpa_soft *dev, struct vdpa_soft_vq *vq, unsigned budget)
{
	struct soft_blk *blk = to_blk(dev);
	struct blk_vq *bv = vdpa_soft_vq_get_priv(vq);
	struct vringh_chain *chains[BLK_BATCH];
	struct blk_request *reqs[BLK_BATCH];
	unsigned max = budget < BLK_BATCH ? budget : BLK_BATCH;
	unsigned n, nreqs = 0, i;
	uint64_t bytes = 0;

	if (bv->unflushed) {
		/* What the disk completed meanwhile, the driver sees before new requests begin. */
		bv->unflushed = false;
		vdpa_soft_flush(vq);
	}
	n = vdpa_soft_getdesc(vq, chains, max);
	prefetch(chains, n);
	bv->submitting = true;
	for (i = 0; i < n && bytes < BLK_TURN_BYTES; i++) {
		if (!begin(blk, bv, chains[i]))
			continue;
		reqs[nreqs++] = &((struct blk_io *)chains[i]->priv)->req;
		bytes += reqs[nreqs - 1]->len_bytes;
	}
	vdpa_soft_abandon(vq, n - i);
	if (nreqs)
		blk->be->ops->submit(bv->bq, reqs, nreqs);
	bv->submitting = false;
	return n == max || i < n;
}
