/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands on a NIC's control queue, cut into pieces as a test likes it. */
#ifndef TESTS_PARENT_CVQ_GUEST_H
#define TESTS_PARENT_CVQ_GUEST_H

#include "net_guest.h"

/* Where a command is written to, and where its answer comes. */
#define CG_OUT (SG_DATA + 0x400000)
#define CG_IN (SG_DATA + 0x480000)
#define CG_NONE 0xee

#define CG_RX                                                                                      \
	(VDPA_BIT(VIRTIO_NET_F_CTRL_VQ) | VDPA_BIT(VIRTIO_NET_F_CTRL_RX) |                         \
	 VDPA_BIT(VIRTIO_NET_F_CTRL_RX_EXTRA) | VDPA_BIT(VIRTIO_NET_F_CTRL_MAC_ADDR))
#define CG_VLAN (VDPA_BIT(VIRTIO_NET_F_CTRL_VQ) | VDPA_BIT(VIRTIO_NET_F_CTRL_VLAN))

struct cg_cmd {
	unsigned vq; /* 0: 2 */
	uint8_t class, command;
	const void *data;
	uint32_t len;
	uint32_t result;  /* bytes of room behind the answer */
	uint32_t piece;	  /* cut both parts into pieces of so many bytes; 0: one each */
	uint32_t written; /* how much the device says */
};

static inline unsigned cg_cut(struct virtqueue_sg *sg, size_t at, uint32_t len, uint32_t piece)
{
	unsigned n = 0;

	while (len) {
		uint32_t part = piece && piece < len ? piece : len;

		sg[n++] = sg_at(at, part);
		at += part;
		len -= part;
	}
	return n;
}

/* The answer; CG_NONE: none was written. The result is at CG_IN + 1. */
static inline uint8_t cg_run(struct soft_guest *g, struct cg_cmd *cmd)
{
	static struct virtqueue_sg sg[128];
	uint8_t *out = g->mem + CG_OUT, *in = g->mem + CG_IN;
	unsigned nout, nin;

	out[0] = cmd->class;
	out[1] = cmd->command;
	if (cmd->len)
		memcpy(out + 2, cmd->data, cmd->len);
	memset(in, CG_NONE, 1 + cmd->result);
	nout = cg_cut(sg, CG_OUT, 2 + cmd->len, cmd->piece);
	nin = cg_cut(sg + nout, CG_IN, 1 + cmd->result, cmd->piece);
	cmd->written = sg_io(g, cmd->vq ? cmd->vq : 2, sg, nout, nin);
	return in[0];
}

static inline uint8_t cg_send(struct soft_guest *g, uint8_t class, uint8_t command,
			      const void *data, uint32_t len)
{
	return cg_run(
		g, &(struct cg_cmd){.class = class, .command = command, .data = data, .len = len});
}

static inline uint8_t cg_rx_mode(struct soft_guest *g, uint8_t command, uint8_t on)
{
	return cg_send(g, VIRTIO_NET_CTRL_RX, command, &on, 1);
}

static inline uint8_t cg_vlan(struct soft_guest *g, uint8_t command, uint16_t id)
{
	uint8_t data[2] = {(uint8_t)id, (uint8_t)(id >> 8)};

	return cg_send(g, VIRTIO_NET_CTRL_VLAN, command, data, 2);
}

/* A table of @n addresses 02:00:00:00:00:x, and one of @m 01:00:5e:00:00:x; its length. */
static inline uint32_t cg_mac_table(uint8_t *data, const uint8_t *uni, unsigned n,
				    const uint8_t *multi, unsigned m)
{
	uint8_t *p = data;

	memcpy(p, (uint8_t[]){(uint8_t)n, (uint8_t)(n >> 8), 0, 0}, 4);
	p += 4;
	for (unsigned i = 0; i < n; i++, p += 6)
		memcpy(p, (uint8_t[]){0x02, 0, 0, 0, 0, uni[i]}, 6);
	memcpy(p, (uint8_t[]){(uint8_t)m, (uint8_t)(m >> 8), 0, 0}, 4);
	p += 4;
	for (unsigned i = 0; i < m; i++, p += 6)
		memcpy(p, (uint8_t[]){0x01, 0, 0x5e, 0, 0, multi[i]}, 6);
	return (uint32_t)(p - data);
}

#endif
