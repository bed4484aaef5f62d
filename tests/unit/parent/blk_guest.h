/* SPDX-License-Identifier: BSD-3-Clause */
/* A virtio-blk driver of a few lines, on soft_guest. */
#ifndef TESTS_PARENT_BLK_GUEST_H
#define TESTS_PARENT_BLK_GUEST_H

#include <endian.h>
#include "soft_guest.h"

#define BG_HDR SG_DATA		  /* header */
#define BG_STATUS (SG_DATA + 64)  /* status byte */
#define BG_BUF (SG_DATA + 0x1000) /* data */

static inline void bg_header(struct soft_guest *g, size_t at, uint32_t type, uint64_t sector)
{
	struct virtio_blk_outhdr h = {.type = htole32(type), .sector = htole64(sector)};

	memcpy(g->mem + at, &h, sizeof(h));
}

/* A request with @len bytes at BG_BUF; its status. *@used: used length. */
static inline uint8_t bg_rw_used(struct soft_guest *g, uint32_t type, uint64_t sector, uint32_t len,
				 uint32_t *used)
{
	bool write = type != VIRTIO_BLK_T_IN && type != VIRTIO_BLK_T_GET_ID;
	struct virtqueue_sg sg[3];
	unsigned n = 0, nout = 1;

	bg_header(g, BG_HDR, type, sector);
	g->mem[BG_STATUS] = 0xee;
	sg[n++] = sg_at(BG_HDR, 16);
	if (len) {
		sg[n++] = sg_at(BG_BUF, len);
		nout += write;
	}
	sg[n++] = sg_at(BG_STATUS, 1);
	*used = sg_io(g, 0, sg, nout, n - nout);
	return g->mem[BG_STATUS];
}

static inline uint8_t bg_rw(struct soft_guest *g, uint32_t type, uint64_t sector, uint32_t len)
{
	uint32_t used;

	return bg_rw_used(g, type, sector, len, &used);
}

/* DISCARD, WRITE_ZEROES. */
static inline uint8_t bg_range(struct soft_guest *g, uint32_t type, uint64_t sector, uint32_t n,
			       uint32_t flags)
{
	struct virtio_blk_discard_write_zeroes r = {
		.sector = htole64(sector),
		.num_sectors = htole32(n),
		.flags = htole32(flags),
	};

	memcpy(g->mem + BG_BUF, &r, sizeof(r));
	return bg_rw(g, type, 0, sizeof(r));
}

#define BG_FEATURES                                                                                \
	(SG_V1 | VDPA_BIT(VIRTIO_BLK_F_FLUSH) | VDPA_BIT(VIRTIO_BLK_F_DISCARD) |                   \
	 VDPA_BIT(VIRTIO_BLK_F_WRITE_ZEROES) | VDPA_BIT(VIRTIO_BLK_F_SEG_MAX) |                    \
	 VDPA_BIT(VIRTIO_BLK_F_BLK_SIZE))

static inline void bg_fill(struct soft_guest *g, size_t at, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		g->mem[at + i] = (uint8_t)(seed * 131 + i * 7 + (i >> 8));
}

static inline bool bg_filled(struct soft_guest *g, size_t at, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		if (g->mem[at + i] != (uint8_t)(seed * 131 + i * 7 + (i >> 8)))
			return false;
	return true;
}

static inline bool bg_zero(struct soft_guest *g, size_t at, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (g->mem[at + i])
			return false;
	return true;
}

#endif
