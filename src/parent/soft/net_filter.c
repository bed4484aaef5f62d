// SPDX-License-Identifier: BSD-3-Clause
/*
 * Which packets the driver wants (virtio 1.3, sections 5.1.6.5.1 to 5.1.6.5.3), on the loop of the
 * queue that would receive them.
 *
 * Who attacks: who sends. What is looked at is a copy.
 */
#include <string.h>
#include "parent/soft/net_ctrl.h"

#define ETHERTYPE_VLAN 0x8100u

static bool in_table(const struct net_macs *macs, bool multi, uint64_t addr)
{
	uint32_t lo = 0, hi;
	const uint64_t *at;

	if (!macs)
		return false;
	at = multi ? macs->addr + macs->nuni : macs->addr;
	hi = multi ? macs->nmulti : macs->nuni;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (at[mid] == addr)
			return true;
		if (at[mid] < addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return false;
}

/* A packet without tag is of no VLAN: the table does not apply to it. */
static bool vlan_passes(const struct net_state *s, const uint8_t *head)
{
	unsigned id;

	if ((unsigned)(head[12] << 8 | head[13]) != ETHERTYPE_VLAN)
		return true;
	id = (unsigned)(head[14] & 0xf) << 8 | head[15];
	return s->vlans[id / 64] >> (id % 64) & 1;
}

bool net_filter_pass(const struct net_state *s, const uint8_t head[NET_HEAD_BYTES])
{
	static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

	if (s->vlan_filter && !vlan_passes(s, head))
		return false;
	if (s->rx & NET_RX(PROMISC))
		return true;
	if (!memcmp(head, broadcast, 6))
		return !(s->rx & NET_RX(NOBCAST));
	if (head[0] & 1) {
		if (s->rx & NET_RX(NOMULTI))
			return false;
		return (s->rx & NET_RX(ALLMULTI)) || in_table(s->macs, true, net_mac_number(head));
	}
	if (s->rx & NET_RX(NOUNI))
		return false;
	return (s->rx & NET_RX(ALLUNI)) || !memcmp(head, s->mac, 6) ||
	       in_table(s->macs, false, net_mac_number(head));
}
