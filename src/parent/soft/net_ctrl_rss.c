// SPDX-License-Identifier: BSD-3-Clause
/*
 * Commands about several queue pairs (virtio 1.3, sections 5.1.6.5.6 and 5.1.6.5.7): how many are
 * used, receive-side scaling, and which hashes are reported. Of steering the last command decides
 * how it is done.
 *
 * Who attacks: the driver. Every queue that it names is checked here, once, so that nobody has to
 * who has a packet in his hands.
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "parent/soft/net_ctrl.h"
#include "parent/soft/net_steer.h"

/* hash_types, indirection_table_mask, unclassified_queue; the table; max_tx_vq, hash_key_length */
#define RSS_HEAD 8u
#define RSS_TAIL 3u
/* hash_types, reserved, hash_key_length */
#define HASH_HEAD 13u

_Static_assert(NET_CTRL_RSS_MIN == RSS_HEAD + 2 + RSS_TAIL, "a table of one entry, no key");
_Static_assert(NET_CTRL_RSS_MAX == RSS_HEAD + 2 * NET_RSS_TABLE + RSS_TAIL + NET_RSS_KEY, "all");
_Static_assert(NET_CTRL_HASH_MIN == HASH_HEAD, "no key");

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t get32(const uint8_t *p)
{
	return get16(p) | (uint32_t)get16(p + 2) << 16;
}

static uint8_t *put16(uint8_t *p, uint16_t v)
{
	*p++ = (uint8_t)v;
	*p++ = (uint8_t)(v >> 8);
	return p;
}

static uint8_t *put32(uint8_t *p, uint32_t v)
{
	return put16(put16(p, (uint16_t)v), (uint16_t)(v >> 16));
}

void net_rss_put(struct net_rss *rss)
{
	if (rss && !--rss->refs)
		free(rss);
}

static void use(struct net_state *s, struct net_rss *rss, bool by_rss)
{
	net_rss_put(s->rss);
	s->rss = rss;
	s->by_rss = by_rss;
}

/* ---- how many ---- */

int net_ctrl_pairs(struct net_ctrl_cmd *cmd)
{
	unsigned n = get16(cmd->data);

	if (!n || n > cmd->net->npairs)
		return -EINVAL;
	cmd->to->pairs = (uint16_t)n;
	cmd->to->by_rss = false;
	return 0;
}

uint32_t net_ctrl_pairs_save(const struct net_state *s, const struct net_ctrl_row *row,
			     uint8_t *buf)
{
	put16(buf, s->pairs);
	return 2;
}

/* ---- hashes ---- */

static struct net_rss *rss_new(uint32_t types, const uint8_t *key, size_t key_bytes)
{
	struct net_rss *rss = calloc(1, sizeof(*rss));

	if (!rss)
		return NULL;
	rss->refs = 1;
	rss->types = types;
	rss->key_bytes = (uint8_t)key_bytes;
	memcpy(rss->key, key, key_bytes);
	net_toeplitz_key(&rss->toeplitz, key, key_bytes);
	return rss;
}

/* One byte of length and the key are what is left of the command. */
static bool key_valid(const uint8_t *at, size_t left)
{
	return left >= 1 && at[0] <= NET_RSS_KEY && left == 1u + at[0];
}

int net_ctrl_hash(struct net_ctrl_cmd *cmd)
{
	static const uint8_t reserved[8];
	const uint8_t *key = cmd->data + HASH_HEAD - 1;
	uint32_t types = get32(cmd->data);
	struct net_rss *rss;

	if (types & ~NET_RSS_TYPES || memcmp(cmd->data + 4, reserved, sizeof(reserved)) ||
	    !key_valid(key, cmd->len - (HASH_HEAD - 1)))
		return -EINVAL;
	rss = rss_new(types, key + 1, key[0]);
	if (!rss)
		return -ENOMEM;
	use(cmd->to, rss, false);
	return 0;
}

static uint8_t *put_key(uint8_t *p, const struct net_rss *rss)
{
	*p++ = rss->key_bytes;
	memcpy(p, rss->key, rss->key_bytes);
	return p + rss->key_bytes;
}

/* With RSS its own command says the same, and more. */
uint32_t net_ctrl_hash_save(const struct net_state *s, const struct net_ctrl_row *row, uint8_t *buf)
{
	uint8_t *p = buf;

	if (!s->rss || s->rss->max_tx_vq)
		return 0;
	p = put32(p, s->rss->types);
	memset(p, 0, 8);
	return (uint32_t)(put_key(p + 8, s->rss) - buf);
}

/* ---- RSS ---- */

/* Receive queues are named by bits 1 to 16 of their index, which is the pair's number. */
static bool read_table(struct net_rss *rss, const uint8_t *at, unsigned npairs)
{
	for (unsigned i = 0; i <= rss->mask; i++) {
		rss->table[i] = get16(at + 2 * (size_t)i);
		if (rss->table[i] >= npairs)
			return false;
	}
	return rss->unclassified < npairs && rss->max_tx_vq && rss->max_tx_vq <= npairs;
}

int net_ctrl_rss(struct net_ctrl_cmd *cmd)
{
	const uint8_t *p = cmd->data;
	uint32_t types = get32(p);
	unsigned mask = get16(p + 4);
	size_t tail = RSS_HEAD + 2 * ((size_t)mask + 1);
	struct net_rss *rss;

	if (types & ~NET_RSS_TYPES || mask >= NET_RSS_TABLE || mask & (mask + 1) ||
	    cmd->len < tail + RSS_TAIL || !key_valid(p + tail + 2, cmd->len - tail - 2))
		return -EINVAL;
	rss = rss_new(types, p + tail + RSS_TAIL, p[tail + 2]);
	if (!rss)
		return -ENOMEM;
	rss->mask = (uint16_t)mask;
	rss->unclassified = get16(p + 6);
	rss->max_tx_vq = get16(p + tail);
	if (!read_table(rss, p + RSS_HEAD, cmd->net->npairs)) {
		free(rss);
		return -EINVAL;
	}
	use(cmd->to, rss, true);
	return 0;
}

/* And a byte: is it in force, or was the number of pairs set after it? */
uint32_t net_ctrl_rss_save(const struct net_state *s, const struct net_ctrl_row *row, uint8_t *buf)
{
	const struct net_rss *rss = s->rss;
	uint8_t *p = buf;

	if (!rss || !rss->max_tx_vq)
		return 0;
	p = put32(p, rss->types);
	p = put16(p, rss->mask);
	p = put16(p, rss->unclassified);
	for (unsigned i = 0; i <= rss->mask; i++)
		p = put16(p, rss->table[i]);
	p = put16(p, rss->max_tx_vq);
	p = put_key(p, rss);
	*p++ = s->by_rss;
	return (uint32_t)(p - buf);
}

int net_ctrl_rss_load(struct net_ctrl_cmd *cmd)
{
	uint8_t in_force;
	int r;

	if (cmd->len < NET_CTRL_RSS_MIN + 1 || cmd->len > NET_CTRL_RSS_MAX + 1)
		return -EINVAL;
	in_force = cmd->data[--cmd->len];
	if (in_force > 1)
		return -EINVAL;
	r = net_ctrl_rss(cmd);
	if (!r)
		cmd->to->by_rss = in_force;
	return r;
}

/* ---- what follows from it ---- */

static void allow(struct net_state *s, unsigned pair)
{
	s->on[pair / 64] |= 1ull << pair % 64;
}

void net_state_steer(struct net_state *s)
{
	const struct vdpa_soft *dev = &s->net->soft;
	const struct net_rss *rss = s->rss;

	/* Who keeps the control queue to himself (a vhost-user front end) starts and stops the
	 * queues themselves: all that run are in use. */
	s->spread = vdpa_soft_has(dev, VIRTIO_NET_F_CTRL_VQ) ? s->pairs : (uint16_t)s->net->npairs;
	memset(s->on, 0, sizeof(s->on));
	if (!s->by_rss) {
		for (unsigned i = 0; i < s->spread; i++)
			allow(s, i);
		return;
	}
	allow(s, rss->unclassified);
	for (unsigned i = 0; i <= rss->mask; i++)
		allow(s, rss->table[i]);
}

/* ---- what can be seen ---- */

static void show_types(uint32_t types, vdpa_emit_fn emit, void *arg)
{
	static const char *const names[] = {"ipv4",  "tcpv4",	"udpv4",    "ipv6",    "tcpv6",
					    "udpv6", "ipv6_ex", "tcpv6_ex", "udpv6_ex"};
	char text[96] = "none";
	size_t at = 0;

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (types >> i & 1)
			at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s", at ? " " : "",
					       names[i]);
	emit(arg, "hash_types", text);
}

static void show_rss(const struct net_rss *rss, vdpa_emit_fn emit, void *arg)
{
	char text[5 * NET_RSS_TABLE];
	size_t at = 0;

	for (unsigned i = 0; i <= rss->mask; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%u", i ? "," : "",
				       rss->table[i]);
	emit(arg, "rss_table", text);
	snprintf(text, sizeof(text), "%u", rss->unclassified);
	emit(arg, "rss_unclassified", text);
	snprintf(text, sizeof(text), "%u", rss->max_tx_vq);
	emit(arg, "rss_max_tx", text);
}

void net_state_show_steer(const struct net_state *s, vdpa_emit_fn emit, void *arg)
{
	char text[16];

	if (s->net->npairs > 1) {
		snprintf(text, sizeof(text), "%u", s->spread);
		emit(arg, "pairs", text);
		emit(arg, "steering", s->by_rss ? "rss" : "automatic");
	}
	if (s->rss)
		show_types(s->rss->types, emit, arg);
	if (s->rss && s->rss->max_tx_vq)
		show_rss(s->rss, emit, arg);
}
