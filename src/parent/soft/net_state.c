// SPDX-License-Identifier: BSD-3-Clause
/*
 * What the driver of a NIC has configured by commands, as one object (net_ctrl.h): its defaults,
 * how it is published, and how it is kept over a move to another device. There it has the form of
 * the commands that lead to it, as the specification's device parts have it (5.1.5.1.1), so that
 * what is loaded goes through the same checks as what a driver sends.
 *
 * Who attacks: whoever made the object that is loaded. All of it is checked before any of it is
 * used.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "parent/soft/net_ctrl.h"
#include "parent/soft/net_steer.h"

/* ---- birth and end ---- */

void net_macs_put(struct net_macs *macs)
{
	if (macs && !--macs->refs)
		free(macs);
}

void net_state_drop(struct net_state *s)
{
	net_macs_put(s->macs);
	net_rss_put(s->rss);
	free(s);
}

struct net_state *net_state_copy(struct soft_net *net)
{
	struct net_state *s = malloc(sizeof(*s));

	if (!s)
		return NULL;
	*s = *net_state_get(net);
	if (s->macs)
		s->macs->refs++;
	if (s->rss)
		s->rss->refs++;
	return s;
}

/*
 * Everything is received, unless "filter on": then what is for the NIC, and for groups. The
 * specification would have nothing pass that was not asked for, but lets packets through as it
 * likes (5.1.6.5.1); front ends that shadow the queue rely on it that a device begins with
 * promiscuous mode on.
 */
struct net_state *net_state_default(struct soft_net *net)
{
	struct net_state *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->net = net;
	s->rx = net->filter ? NET_RX(ALLMULTI) : NET_RX(PROMISC);
	s->pairs = 1;
	memcpy(s->mac, net->perm_mac, sizeof(s->mac));
	return s;
}

static void derive(struct net_state *s)
{
	const struct vdpa_soft *dev = &s->net->soft;
	bool promisc = s->rx & NET_RX(PROMISC);

	/* 5.1.6.5.1: promiscuous mode is above the other filters; but only if it was asked for. */
	s->vlan_filter = vdpa_soft_has(dev, VIRTIO_NET_F_CTRL_VLAN) &&
			 !(promisc && vdpa_soft_has(dev, VIRTIO_NET_F_CTRL_RX));
	s->filter = !promisc || s->vlan_filter;
	net_state_steer(s);
	s->guest_off = s->offloads_off;
	/* 5.1.3.1: what needs an offload that is off is off with it. */
	if (s->guest_off & VDPA_BIT(VIRTIO_NET_F_GUEST_CSUM))
		s->guest_off |=
			VDPA_BIT(VIRTIO_NET_F_GUEST_TSO4) | VDPA_BIT(VIRTIO_NET_F_GUEST_TSO6);
	if ((s->guest_off & VDPA_BIT(VIRTIO_NET_F_GUEST_TSO4)) &&
	    (s->guest_off & VDPA_BIT(VIRTIO_NET_F_GUEST_TSO6)))
		s->guest_off |= VDPA_BIT(VIRTIO_NET_F_GUEST_ECN);
}

int net_state_init(struct soft_net *net)
{
	struct net_state *s = net_state_default(net);

	if (!s)
		return -ENOMEM;
	derive(s);
	atomic_store(&net->state, s);
	return 0;
}

void net_state_fini(struct soft_net *net)
{
	struct net_state *s = atomic_load(&net->state);

	if (s)
		net_state_drop(s);
	atomic_store(&net->state, NULL);
}

/* ---- publication ---- */

static void retired(struct vdpa_loop_sync *sync)
{
	struct net_state *s = vdpa_container_of(sync, struct net_state, sync);
	struct soft_net *net = s->net;

	if (s->then)
		s->then(net);
	net_state_drop(s);
	vdpa_put_device(&net->soft.vdpa);
}

/* What others know of the state. */
static void tell(struct soft_net *net, const struct net_state *old, const struct net_state *s)
{
	struct vdpa_soft *dev = &net->soft;

	if (memcmp(old->mac, s->mac, sizeof(s->mac))) {
		vdpa_soft_config_store(dev, offsetof(struct virtio_net_config, mac), s->mac, 6);
		net_tell_mac(net->be, s->mac);
		vdpa_notify(&dev->vdpa, VDPA_EVENT_CHANGE, "config");
	}
	if (memcmp(old->on, s->on, sizeof(s->on)))
		net_spread_look_all(net);
	/* The driver knows that it has answered. */
	if (old->announce != s->announce)
		net_show_status(net, s->announce);
	net_coal_apply(net, old, s);
}

void net_state_publish(struct net_state *s, void (*then)(struct soft_net *net))
{
	struct soft_net *net = s->net;
	struct net_state *old;

	derive(s);
	old = atomic_exchange_explicit(&net->state, s, memory_order_acq_rel);
	tell(net, old, s);
	old->then = then;
	vdpa_get_device(&net->soft.vdpa);
	vdpa_loop_group_sync(vdpa_ctx_loops(net->soft.vdpa.ctx), &old->sync, retired);
}

static void publish_or_break(struct soft_net *net, struct net_state *s)
{
	if (s)
		net_state_publish(s, NULL);
	else
		vdpa_soft_broken(&net->soft, "no memory for its state");
}

void net_state_reset(struct vdpa_soft *dev)
{
	struct soft_net *net = to_net(dev);

	publish_or_break(net, net_state_default(net));
}

void net_state_driver_ok(struct vdpa_soft *dev)
{
	struct soft_net *net = to_net(dev);

	publish_or_break(net, net_state_copy(net));
}

/* ---- save and load ---- */

#define STATE_MAGIC 0x544e5655u /* "UVNT" */
#define STATE_VERSION 1u

struct state_header {
	uint32_t magic;
	uint16_t version;
	uint16_t nparts;
};

/* Followed by its bytes, and zeroes up to a multiple of eight. */
struct state_part {
	uint8_t class, command;
	uint8_t reserved[2];
	uint32_t bytes;
};

_Static_assert(sizeof(struct state_header) == 8 && sizeof(struct state_part) == 8, "no holes");

static size_t padded(size_t n)
{
	return (n + 7) & ~(size_t)7;
}

/* Where the next part goes, and what fits. */
struct state_writer {
	uint8_t *to;
	size_t room, used;
};

static void put(struct state_writer *w, const void *from, size_t n)
{
	if (w->used + n <= w->room)
		memcpy(w->to + w->used, from, n);
	w->used += n;
}

static unsigned put_parts(const struct soft_net *net, struct state_writer *w, uint8_t *buf)
{
	static const uint8_t zeroes[8];
	unsigned n = 0;

	for (const struct net_ctrl_row *row = net_ctrl_rows; row->name; row++) {
		struct state_part part = {.class = row->class, .command = row->command};
		uint32_t bytes = 0;

		if (row->save && vdpa_soft_has(&net->soft, row->feature))
			bytes = row->save(net_state_get(net), row, buf);
		if (!bytes)
			continue;
		part.bytes = htole32(bytes);
		put(w, &part, sizeof(part));
		put(w, buf, bytes);
		put(w, zeroes, padded(bytes) - bytes);
		n++;
	}
	return n;
}

int net_state_save(struct vdpa_soft *dev, void *buf, size_t *bytes)
{
	struct state_writer w = {.to = buf, .room = buf ? *bytes : 0};
	struct state_header h = {
		.magic = htole32(STATE_MAGIC),
		.version = htole16(STATE_VERSION),
	};
	uint8_t *part = malloc(NET_CTRL_DATA_MAX);
	unsigned n;

	if (!part)
		return -ENOMEM;
	put(&w, &h, sizeof(h));
	n = put_parts(to_net(dev), &w, part);
	free(part);
	h.nparts = htole16((uint16_t)n);
	if (w.used <= w.room)
		memcpy(buf, &h, sizeof(h));
	*bytes = w.used;
	return w.used <= w.room ? 0 : -ENOSPC;
}

static bool zero(const uint8_t *p, size_t n)
{
	while (n--)
		if (*p++)
			return false;
	return true;
}

/* One part at the start of @at, which has @left bytes; *@used of it, or 0 or -errno. */
static int load_part(struct net_state *s, const uint8_t *at, size_t left, size_t *used)
{
	struct net_ctrl_cmd cmd = {.net = s->net, .to = s, .data = at + sizeof(struct state_part)};
	const struct net_ctrl_row *row;
	struct state_part part;

	if (left < sizeof(part))
		return -EINVAL;
	memcpy(&part, at, sizeof(part));
	cmd.len = le32toh(part.bytes);
	if (cmd.len > NET_CTRL_DATA_MAX || padded(cmd.len) > left - sizeof(part))
		return -EINVAL;
	row = net_ctrl_find(s->net, part.class, part.command);
	if (!row || !row->save || part.reserved[0] || part.reserved[1] ||
	    !zero(cmd.data + cmd.len, padded(cmd.len) - cmd.len))
		return -EINVAL;
	cmd.row = row;
	*used = sizeof(part) + padded(cmd.len);
	if (row->load)
		return row->load(&cmd);
	return cmd.len < row->min || cmd.len > row->max ? -EINVAL : row->handle(&cmd);
}

static int load_parts(struct net_state *s, const uint8_t *at, size_t left, unsigned n)
{
	const struct state_part *last = NULL;
	int r = 0;

	while (!r && n--) {
		size_t used = 0;

		r = load_part(s, at, left, &used);
		/* In the order of class and command: none comes twice. */
		if (!r && last && memcmp(last, at, 2) >= 0)
			r = -EINVAL;
		last = (const struct state_part *)(const void *)at;
		at += used;
		left -= used;
	}
	return r ? r : left ? -EINVAL : 0;
}

int net_state_load(struct vdpa_soft *dev, const void *buf, size_t bytes, struct vdpa_error *err)
{
	struct soft_net *net = to_net(dev);
	struct state_header h;
	struct net_state *s;
	int r;

	if (bytes < sizeof(h))
		return vdpa_error_set(err, EINVAL, dev->vdpa.name,
				      "the state has nothing of a NIC's own");
	memcpy(&h, buf, sizeof(h));
	if (le32toh(h.magic) != STATE_MAGIC || le16toh(h.version) != STATE_VERSION)
		return vdpa_error_set(err, EINVAL, dev->vdpa.name,
				      "the NIC's part of the state is not version %u's",
				      STATE_VERSION);
	s = net_state_default(net);
	if (!s)
		return vdpa_error_set(err, ENOMEM, dev->vdpa.name, "no memory for the state");
	r = load_parts(s, (const uint8_t *)buf + sizeof(h), bytes - sizeof(h), le16toh(h.nparts));
	if (r) {
		net_state_drop(s);
		return vdpa_error_set(err, -r, dev->vdpa.name,
				      "the NIC's part of the state is not what its control queue "
				      "could have led to");
	}
	net_state_publish(s, NULL);
	return 0;
}
