// SPDX-License-Identifier: BSD-3-Clause
/*
 * Device statistics (virtio 1.3, section 5.1.6.5.10): what "vstats" shows a person, in the layout
 * that a driver expects. Every request is checked as a whole before anything is answered.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>
#include "parent/soft/net_ctrl.h"

#define REPLY_HEADER_BYTES 8u
#define FIELDS 6

/* One type of statistics: a reply, whose fields have the values of these counters, in order. */
struct stats_type {
	unsigned bit; /* also what the reply is called */
	enum { STATS_RX, STATS_TX, STATS_CVQ } queue;
	uint64_t one_of; /* features; 0: none is needed */
	const char *fields[FIELDS];
};

static const struct stats_type types[] = {
	{0, STATS_RX, 0, {"kicks", "rx packets", "rx bytes", "calls", "rx drops", "rx overruns"}},
	{2,
	 STATS_RX,
	 VDPA_BIT(VIRTIO_NET_F_GUEST_TSO4) | VDPA_BIT(VIRTIO_NET_F_GUEST_TSO6),
	 /* Nothing is coalesced. */
	 {"rx gso packets", "rx gso bytes", "", ""}},
	{16, STATS_TX, 0, {"kicks", "tx packets", "tx bytes", "calls", "tx errors", "tx errors"}},
	{17, STATS_TX, VDPA_BIT(VIRTIO_NET_F_CSUM), {"tx csum none", "tx needs csum"}},
	{32, STATS_CVQ, 0, {"cvq requests", "cvq successes"}},
};

#define NTYPES (sizeof(types) / sizeof(types[0]))

/* ---- the counters of a queue ---- */

struct collect {
	const struct stats_type *type;
	uint64_t values[FIELDS];
};

static void collect_one(void *arg, const char *name, uint64_t value)
{
	struct collect *c = arg;

	for (unsigned i = 0; i < FIELDS && c->type->fields[i]; i++)
		if (!strcmp(c->type->fields[i], name))
			c->values[i] = value;
}

static void reply(struct net_ctrl_cmd *cmd, const struct stats_type *type, uint16_t idx)
{
	struct vdpa_device *vdev = &cmd->net->soft.vdpa;
	struct collect c = {.type = type};
	uint8_t buf[REPLY_HEADER_BYTES + FIELDS * 8] = {0};
	uint32_t len = REPLY_HEADER_BYTES;

	vdev->config->get_vendor_vq_stats(vdev, idx, collect_one, &c, NULL);
	/* This command is going to succeed. */
	if (type->queue == STATS_CVQ)
		c.values[1]++;
	for (unsigned i = 0; i < FIELDS && type->fields[i]; i++, len += 8) {
		uint64_t value = htole64(c.values[i]);

		memcpy(buf + len, &value, sizeof(value));
	}
	buf[0] = (uint8_t)type->bit;
	buf[2] = (uint8_t)idx;
	buf[3] = (uint8_t)(idx >> 8);
	buf[6] = (uint8_t)len;
	net_ctrl_result(cmd, buf, len);
}

/* ---- requests ---- */

static bool available(const struct soft_net *net, const struct stats_type *type)
{
	return !type->one_of || (vdpa_soft_features(&net->soft) & type->one_of);
}

int net_ctrl_stats_query(struct net_ctrl_cmd *cmd)
{
	uint64_t all = 0;

	for (size_t i = 0; i < NTYPES; i++)
		all |= 1ull << types[i].bit;
	all = htole64(all);
	net_ctrl_result(cmd, &all, sizeof(all));
	return 0;
}

/* 16 bytes: vq_index, six reserved, the types. */
struct request {
	uint16_t idx;
	uint64_t bits;
};

static struct request get_request(const uint8_t *from)
{
	struct request r;

	memcpy(&r.idx, from, sizeof(r.idx));
	memcpy(&r.bits, from + 8, sizeof(r.bits));
	r.idx = le16toh(r.idx);
	r.bits = le64toh(r.bits);
	return r;
}

/* Which of the types are there for this queue? 0: there is no such queue. */
static uint64_t types_of(const struct soft_net *net, uint16_t idx)
{
	unsigned queue = net_is_ctrl(net, idx) ? STATS_CVQ : idx & 1 ? STATS_TX : STATS_RX;
	uint64_t bits = 0;

	if (queue != STATS_CVQ && idx >= 2 * net->npairs)
		return 0;
	for (size_t i = 0; i < NTYPES; i++)
		if (types[i].queue == queue && available(net, &types[i]))
			bits |= 1ull << types[i].bit;
	return bits;
}

static bool valid(const struct soft_net *net, struct request r)
{
	uint64_t bits = types_of(net, r.idx);

	return bits && !(r.bits & ~bits);
}

int net_ctrl_stats_get(struct net_ctrl_cmd *cmd)
{
	if (cmd->len % 16)
		return -EINVAL;
	for (uint32_t at = 0; at < cmd->len; at += 16)
		if (!valid(cmd->net, get_request(cmd->data + at)))
			return -EINVAL;
	for (uint32_t at = 0; at < cmd->len; at += 16) {
		struct request r = get_request(cmd->data + at);

		for (size_t i = 0; i < NTYPES; i++)
			if (r.bits >> types[i].bit & 1)
				reply(cmd, &types[i], r.idx);
	}
	return 0;
}
