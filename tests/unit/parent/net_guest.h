/* SPDX-License-Identifier: BSD-3-Clause */
/* A virtio-net driver of a few lines, on soft_guest. Queue 0 receives, queue 1 sends. */
#ifndef TESTS_PARENT_NET_GUEST_H
#define TESTS_PARENT_NET_GUEST_H

#include "soft_guest.h"

#define NG_RX (SG_DATA + 0x100000) /* receive buffers, NG_RX_BYTES apart */
#define NG_RX_BYTES 0x20000u
#define NG_TX SG_DATA
#define NG_FEATURES (SG_V1 | VDPA_BIT(VIRTIO_NET_F_MAC))
#define NG_MRG VDPA_BIT(VIRTIO_NET_F_MRG_RXBUF)
#define NG_CSUM VDPA_BIT(VIRTIO_NET_F_CSUM)
#define NG_GCSUM VDPA_BIT(VIRTIO_NET_F_GUEST_CSUM)

struct ng_hdr {
	uint8_t flags, gso_type;
	uint16_t hdr_len, gso_size, csum_start, csum_offset, num_buffers;
};

/* A frame for @dst (last byte of its address) with @len bytes in all, behind a header at NG_TX. */
static inline void ng_frame(struct soft_guest *g, unsigned hdr_bytes, const struct ng_hdr *hdr,
			    uint8_t dst, uint32_t len)
{
	uint8_t *p = g->mem + NG_TX;

	memset(p, 0, 12);
	if (hdr)
		memcpy(p, hdr, hdr_bytes);
	p += hdr_bytes;
	for (uint32_t i = 0; i < len; i++)
		p[i] = (uint8_t)(i * 5 + 1);
	memset(p, 0, 12);
	p[0] = p[6] = 0x02;
	p[5] = dst;
	p[12] = 0x08;
	p[13] = 0x00;
}

static inline void ng_rx_post(struct soft_guest *g, unsigned slot, uint32_t len)
{
	struct virtqueue_sg sg = sg_at(NG_RX + slot * NG_RX_BYTES, len);

	memset(g->mem + NG_RX + slot * NG_RX_BYTES, 0xee, len);
	sg_send(g, 0, &sg, 0, 1, g->mem + NG_RX + slot * NG_RX_BYTES);
}

/* Send what ng_frame() made; do not wait. */
static inline void ng_tx_post(struct soft_guest *g, uint32_t bytes)
{
	struct virtqueue_sg sg = sg_at(NG_TX, bytes);

	sg_send(g, 1, &sg, 1, 0, g->mem + NG_TX);
}

static inline bool ng_tx_done(struct soft_guest *g, int64_t ns)
{
	uint32_t len;
	void *token = sg_get(g, 1, &len, ns);

	if (token)
		assert_int_equal(len, 0);
	return token != NULL;
}

/* Next received buffer. */
static inline uint8_t *ng_rx(struct soft_guest *g, uint32_t *len)
{
	return sg_get(g, 0, len, SG_PATIENCE);
}

/* Or NULL when none comes. */
static inline uint8_t *ng_rx_any(struct soft_guest *g, uint32_t *len)
{
	return sg_get_any(g, 0, len, SG_SECOND / 10);
}

#endif
