/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guests whose NICs are ports of one switch. Of the pair that a port is at, the first queue
 * receives, the second one sends.
 */
#ifndef TESTS_PARENT_SWITCH_GUEST_H
#define TESTS_PARENT_SWITCH_GUEST_H

#include "net_guest.h"

#define SW_PORTS 3
/* Of each port; they have workers of their own. */
#ifndef SW_PAIRS
#define SW_PAIRS 1
#endif
#define SW_NUM 64
#define SW_BUF 2048
#define SW_RX (SG_DATA + 0x100000)
#define SW_TX SG_DATA
#define SW_AT(p) ((p)->at * SW_NUM * SW_BUF)

struct sw_port {
	struct soft_guest g;
	unsigned at;				       /* the pair */
	uint64_t rx_free[SW_PAIRS], tx_free[SW_PAIRS]; /* slots, a bit each */
};

struct sw_net {
	struct sw_port p[SW_PORTS];
};

static inline void sw_mac(uint8_t mac[6], unsigned n)
{
	const uint8_t m[6] = {0x02, 0, 0, 0, (uint8_t)(n >> 8), (uint8_t)n};

	memcpy(mac, m, 6);
}

static inline void sw_start(struct sw_port *p, uint64_t features)
{
	memset(p->rx_free, 0xff, sizeof(p->rx_free));
	memset(p->tx_free, 0xff, sizeof(p->tx_free));
	sg_start(&p->g, features, 2 * SW_PAIRS, SW_NUM);
}

/* Device @i of the switch: its address ends in i + 1. */
static inline void sw_add(struct sw_net *n, unsigned i, const struct vdpa_attr *attrs,
			  uint64_t features)
{
	struct vdpa_dev_set_config config = {.mask = VDPA_CFG_NET_MAC | VDPA_CFG_NET_MAX_VQP,
					     .net.max_vq_pairs = SW_PAIRS,
					     .attrs = attrs};
	struct vdpa_error err = {.msg = ""};
	struct sw_port *p = &n->p[i];
	char name[8];
	int r;

	snprintf(name, sizeof(name), "d%u", i);
	sw_mac(config.net.mac, i + 1);
	r = sg_try_add(&p->g, "soft_net", name, &config, &err);
	if (r)
		fail_msg("%d %s", r, err.msg);
	sg_use(&p->g, vdpa_find_device(p->g.ctx, name));
	sw_start(p, features);
}

static inline void sw_open(struct sw_net *n, unsigned workers, const struct vdpa_attr *attrs)
{
	memset(n, 0, sizeof(*n));
	for (unsigned i = 0; i < SW_PORTS; i++) {
		if (i)
			sg_join(&n->p[i].g, &n->p[0].g);
		else
			sg_open(&n->p[0].g, workers);
		sw_add(n, i, attrs, NG_FEATURES);
	}
	/* Queues start on their own loops: a packet that comes before is lost. */
	sg_turn(&n->p[0].g);
}

static inline void sw_close(struct sw_net *n)
{
	for (unsigned i = 1; i < SW_PORTS; i++)
		sg_leave(&n->p[i].g);
	sg_close(&n->p[0].g);
}

/* Give the device @count more buffers of @len bytes. */
static inline void sw_rx_post(struct sw_port *p, unsigned count, uint32_t len)
{
	while (count-- && p->rx_free[p->at]) {
		unsigned slot = (unsigned)__builtin_ctzll(p->rx_free[p->at]);
		struct virtqueue_sg sg = sg_at(SW_RX + SW_AT(p) + slot * SW_BUF, len);

		p->rx_free[p->at] &= ~(1ull << slot);
		sg_send(&p->g, 2 * p->at, &sg, 0, 1, (void *)(uintptr_t)(slot + 1));
	}
}

/* A packet that came, or NULL; its buffer is the guest's again (until the next sw_rx_post). */
static inline uint8_t *sw_rx(struct sw_port *p, uint32_t *len, int64_t ns)
{
	uintptr_t slot = (uintptr_t)sg_get(&p->g, 2 * p->at, len, ns);

	if (!slot)
		return NULL;
	p->rx_free[p->at] |= 1ull << (slot - 1);
	return p->g.mem + SW_RX + SW_AT(p) + (slot - 1) * SW_BUF;
}

/* The slot of the next packet to send; NULL: all are out. */
static inline uint8_t *sw_tx_slot(struct sw_port *p)
{
	uint32_t len;
	uintptr_t slot;

	while ((slot = (uintptr_t)virtqueue_get(p->g.q[2 * p->at + 1].vq, &len)))
		p->tx_free[p->at] |= 1ull << (slot - 1);
	if (!p->tx_free[p->at])
		return NULL;
	return p->g.mem + SW_TX + SW_AT(p) + (size_t)__builtin_ctzll(p->tx_free[p->at]) * SW_BUF;
}

/* Send the packet in the slot: header and @len bytes of frame. */
static inline void sw_tx_post(struct sw_port *p, uint32_t len)
{
	unsigned slot = (unsigned)__builtin_ctzll(p->tx_free[p->at]);
	struct virtqueue_sg sg = sg_at(SW_TX + SW_AT(p) + slot * SW_BUF, 12 + len);

	p->tx_free[p->at] &= ~(1ull << slot);
	sg_send(&p->g, 2 * p->at + 1, &sg, 1, 0, (void *)(uintptr_t)(slot + 1));
}

/* A frame of 60 bytes, @seq in it. Waits for a slot. */
static inline void sw_send(struct sw_port *p, const uint8_t dst[6], const uint8_t src[6],
			   uint32_t seq)
{
	uint8_t *f;

	while (!(f = sw_tx_slot(p)))
		sg_run(&p->g, SG_SECOND / 1000);
	memset(f, 0, 72);
	memcpy(f + 12, dst, 6);
	memcpy(f + 18, src, 6);
	f[24] = 0x88;
	f[25] = 0xb5;
	memcpy(f + 26, &seq, sizeof(seq));
	sw_tx_post(p, 60);
}

/* From port @from to the address that ends in @to; 0: broadcast. */
static inline void sw_send_to(struct sw_net *n, unsigned from, unsigned to, uint32_t seq)
{
	uint8_t dst[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, src[6];

	if (to)
		sw_mac(dst, to);
	sw_mac(src, from + 1);
	sw_send(&n->p[from], dst, src, seq);
}

/* Everything that was sent has ended. */
static inline bool sw_tx_idle(struct sw_port *p)
{
	for (unsigned i = 0; i < SG_TRIES; i++) {
		sw_tx_slot(p);
		if (p->tx_free[p->at] == UINT64_MAX)
			return true;
		sg_run(&p->g, SG_SECOND / 1000);
	}
	return false;
}

struct sw_find {
	const char *key;
	uint64_t value;
};

static inline void sw_on_show(void *arg, const char *key, const char *value)
{
	struct sw_find *find = arg;

	if (!strcmp(key, find->key))
		find->value = strtoull(value, NULL, 10);
}

static inline uint64_t sw_show(struct sw_port *p, const char *key)
{
	struct sw_find find = {key, UINT64_MAX};

	p->g.dev->ext->show(p->g.dev, sw_on_show, &find);
	return find.value;
}

#endif
