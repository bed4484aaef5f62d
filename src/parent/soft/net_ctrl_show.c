// SPDX-License-Identifier: BSD-3-Clause
/* What a person wants to know of the control queue: what it has led to, and the last commands. */
#include <stdio.h>
#include <string.h>
#include "parent/soft/net_ctrl.h"

struct text {
	char buf[512];
	size_t used;
};

/* One more word, while there is room. */
static void word(struct text *t, const char *fmt, unsigned a, unsigned b)
{
	char one[32];
	size_t n;

	snprintf(one, sizeof(one), fmt, a, b);
	n = strlen(one);
	if (t->used + n + 2 > sizeof(t->buf))
		return;
	if (t->used)
		t->buf[t->used++] = ' ';
	memcpy(t->buf + t->used, one, n + 1);
	t->used += n;
}

static void show_modes(const struct net_state *s, vdpa_emit_fn emit, void *arg)
{
	static const char *const names[] = {"promisc", "allmulti", "alluni",
					    "nomulti", "nouni",	   "nobcast"};
	struct text t = {.buf = ""};

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (s->rx >> i & 1)
			word(&t, names[i], 0, 0);
	emit(arg, "cvq_rx_mode", t.buf);
}

static void show_macs(const struct net_state *s, vdpa_emit_fn emit, void *arg)
{
	char text[64];

	snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", s->mac[0], s->mac[1],
		 s->mac[2], s->mac[3], s->mac[4], s->mac[5]);
	emit(arg, "cvq_mac", text);
	snprintf(text, sizeof(text), "%u unicast %u multicast", s->macs ? s->macs->nuni : 0,
		 s->macs ? s->macs->nmulti : 0);
	emit(arg, "cvq_mac_table", text);
}

static bool has_vlan(const struct net_state *s, unsigned id)
{
	return id < NET_VLANS && (s->vlans[id / 64] >> (id % 64) & 1);
}

/* As ranges. */
static void show_vlans(const struct net_state *s, vdpa_emit_fn emit, void *arg)
{
	struct text t = {.buf = ""};

	for (unsigned id = 0; id < NET_VLANS; id++) {
		unsigned last = id;

		if (!has_vlan(s, id))
			continue;
		while (has_vlan(s, last + 1))
			last++;
		word(&t, last > id ? "%u-%u" : "%u", id, last);
		id = last;
	}
	emit(arg, "cvq_vlans", t.buf);
}

static void show_coal(const char *key, struct net_coal coal, vdpa_emit_fn emit, void *arg)
{
	char text[48];

	snprintf(text, sizeof(text), "%u packets %u us", coal.max_packets, coal.max_usecs);
	emit(arg, key, text);
}

void net_ctrl_show(struct soft_net *net, vdpa_emit_fn emit, void *arg)
{
	const struct net_state *s = net_state_get(net);
	char text[256];

	snprintf(text, sizeof(text), "%d", net_ctrl_index(net));
	emit(arg, "cvq_queue", net_ctrl_index(net) < 0 ? "none" : text);
	show_modes(s, emit, arg);
	show_macs(s, emit, arg);
	show_vlans(s, emit, arg);
	snprintf(text, sizeof(text), "%u", s->pairs);
	emit(arg, "cvq_pairs", text);
	emit(arg, "cvq_announce", s->announce ? "asked" : "no");
	emit(arg, "cvq_offloads_off",
	     vdpa_feature_names(VIRTIO_ID_NET, s->guest_off, text, sizeof(text)));
	show_coal("cvq_coal_rx", s->coal_rx, emit, arg);
	show_coal("cvq_coal_tx", s->coal_tx, emit, arg);
	net_ctrl_show_last(net, emit, arg);
	net_ctrl_show_record(net, emit, arg);
}
