// SPDX-License-Identifier: BSD-3-Clause
/*
 * Commands about what is received: modes, addresses, VLANs (virtio 1.3, sections 5.1.6.5.1 to
 * 5.1.6.5.3).
 *
 * Who attacks: the driver, by counts that are larger than what follows them. Nothing is allocated
 * by a count that was not compared with the length of the data before.
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parent/soft/net_ctrl.h"

/* ---- modes ---- */

int net_ctrl_rx_mode(struct net_ctrl_cmd *cmd)
{
	uint8_t bit = (uint8_t)(1u << cmd->row->command);

	if (cmd->data[0] > 1)
		return -EINVAL;
	if (cmd->data[0])
		cmd->to->rx |= bit;
	else
		cmd->to->rx &= (uint8_t)~bit;
	return 0;
}

uint32_t net_ctrl_rx_save(const struct net_state *s, const struct net_ctrl_row *row, uint8_t *buf)
{
	buf[0] = s->rx >> row->command & 1;
	return 1;
}

/* ---- addresses ---- */

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/*
 * The number of addresses of a table at @off, which has them all, and @after bytes follow; -EINVAL.
 */
static int table_entries(const struct net_ctrl_cmd *cmd, uint32_t off, uint32_t *n)
{
	uint32_t entries, left = cmd->len - off;

	if (left < sizeof(entries))
		return -EINVAL;
	memcpy(&entries, cmd->data + off, sizeof(entries));
	*n = le32toh(entries);
	return *n <= (left - sizeof(entries)) / 6 ? 0 : -EINVAL;
}

static void add_macs(struct net_macs *macs, const uint8_t *from, uint32_t n, bool multi)
{
	for (uint32_t i = 0; i < n; i++) {
		const uint8_t *mac = from + 6 * (size_t)i;

		if ((mac[0] & 1) != multi)
			continue;
		macs->addr[macs->nuni + macs->nmulti] = net_mac_number(mac);
		if (multi)
			macs->nmulti++;
		else
			macs->nuni++;
	}
}

/*
 * Two tables, the first for stations and the second for groups. What an address is, it says itself;
 * a driver that has put one into the wrong table means it all the same.
 */
int net_ctrl_mac_table(struct net_ctrl_cmd *cmd)
{
	const uint8_t *uni, *multi;
	struct net_macs *macs;
	uint32_t n, m, off;

	if (table_entries(cmd, 0, &n))
		return -EINVAL;
	off = 4 + 6 * n;
	if (table_entries(cmd, off, &m) || cmd->len - off != 4 + 6 * (uint64_t)m)
		return -EINVAL;
	uni = cmd->data + 4;
	multi = cmd->data + off + 4;
	macs = calloc(1, sizeof(*macs) + ((size_t)n + m) * sizeof(macs->addr[0]));
	if (!macs)
		return -ENOMEM;
	macs->refs = 1;
	add_macs(macs, uni, n, false);
	add_macs(macs, multi, m, false);
	add_macs(macs, uni, n, true);
	add_macs(macs, multi, m, true);
	qsort(macs->addr, macs->nuni, sizeof(macs->addr[0]), compare);
	qsort(macs->addr + macs->nuni, macs->nmulti, sizeof(macs->addr[0]), compare);
	net_macs_put(cmd->to->macs);
	cmd->to->macs = macs;
	return 0;
}

static uint32_t put_macs(uint8_t *to, const uint64_t *from, uint32_t n)
{
	uint32_t entries = htole32(n);

	memcpy(to, &entries, sizeof(entries));
	for (uint32_t i = 0; i < n; i++)
		memcpy(to + 4 + 6 * (size_t)i, &from[i], 6);
	return 4 + 6 * n;
}

uint32_t net_ctrl_mac_table_save(const struct net_state *s, const struct net_ctrl_row *row,
				 uint8_t *buf)
{
	const struct net_macs *macs = s->macs;
	uint32_t n;

	if (!macs)
		return 0;
	n = put_macs(buf, macs->addr, macs->nuni);
	return n + put_macs(buf + n, macs->addr + macs->nuni, macs->nmulti);
}

int net_ctrl_mac_addr(struct net_ctrl_cmd *cmd)
{
	if (!net_mac_valid(cmd->data))
		return -EINVAL;
	memcpy(cmd->to->mac, cmd->data, 6);
	return 0;
}

uint32_t net_ctrl_mac_addr_save(const struct net_state *s, const struct net_ctrl_row *row,
				uint8_t *buf)
{
	memcpy(buf, s->mac, 6);
	return 6;
}

/* ---- VLANs ---- */

int net_ctrl_vlan(struct net_ctrl_cmd *cmd)
{
	unsigned id = cmd->data[0] | cmd->data[1] << 8;

	if (id >= NET_VLANS)
		return -EINVAL;
	if (cmd->row->command == VIRTIO_NET_CTRL_VLAN_ADD)
		cmd->to->vlans[id / 64] |= 1ull << (id % 64);
	else
		cmd->to->vlans[id / 64] &= ~(1ull << (id % 64));
	return 0;
}

/* The whole table, a bit each. */
uint32_t net_ctrl_vlan_save(const struct net_state *s, const struct net_ctrl_row *row, uint8_t *buf)
{
	memset(buf, 0, NET_VLANS / 8);
	for (unsigned id = 0; id < NET_VLANS; id++)
		buf[id / 8] |= (uint8_t)((s->vlans[id / 64] >> (id % 64) & 1) << (id % 8));
	return NET_VLANS / 8;
}

int net_ctrl_vlan_load(struct net_ctrl_cmd *cmd)
{
	if (cmd->len != NET_VLANS / 8)
		return -EINVAL;
	for (unsigned id = 0; id < NET_VLANS; id++)
		cmd->to->vlans[id / 64] |= (uint64_t)(cmd->data[id / 8] >> (id % 8) & 1)
					   << (id % 64);
	return 0;
}

/* ---- to look at ---- */

/* So many VLANs are named one by one. */
#define SHOW_VLANS 32u

static void show_modes(const struct net_state *s, vdpa_emit_fn emit, void *arg)
{
	static const char *const names[] = {"promisc", "allmulti", "alluni",
					    "nomulti", "nouni",	   "nobcast"};
	char text[64] = "none";
	size_t at = 0;

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (s->rx >> i & 1)
			at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s", at ? " " : "",
					       names[i]);
	emit(arg, "rx_modes", text);
}

static void show_vlans(const struct net_state *s, vdpa_emit_fn emit, void *arg)
{
	char text[SHOW_VLANS * 5 + 32] = "none";
	unsigned n = 0;
	size_t at = 0;

	for (unsigned i = 0; i < NET_VLANS; i++) {
		if (!(s->vlans[i / 64] >> i % 64 & 1))
			continue;
		if (n++ < SHOW_VLANS)
			at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%u", at ? "," : "",
					       i);
	}
	if (n > SHOW_VLANS)
		snprintf(text + at, sizeof(text) - at, " and %u more", n - SHOW_VLANS);
	emit(arg, "vlans", text);
}

void net_state_show_filter(const struct net_state *s, vdpa_emit_fn emit, void *arg)
{
	char text[48];

	snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", s->mac[0], s->mac[1],
		 s->mac[2], s->mac[3], s->mac[4], s->mac[5]);
	emit(arg, "address", text);
	show_modes(s, emit, arg);
	snprintf(text, sizeof(text), "%u unicast, %u multicast", s->macs ? s->macs->nuni : 0,
		 s->macs ? s->macs->nmulti : 0);
	emit(arg, "mac_table", text);
	show_vlans(s, emit, arg);
}
