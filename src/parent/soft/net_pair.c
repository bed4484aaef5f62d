// SPDX-License-Identifier: BSD-3-Clause
/* A queue pair: which port it has, and who waits for whom. */
#include <errno.h>
#include <stdlib.h>
#include "parent/soft/net_steer.h"

static struct net_pair *pair_of(struct vdpa_soft_vq *vq)
{
	return vdpa_soft_vq_get_priv(vq);
}

static bool is_tx(const struct vdpa_soft_vq *vq)
{
	return vdpa_soft_vq_index(vq) & 1;
}

/* ---- memory ---- */

int net_pairs_new(struct soft_net *net)
{
	int r = net_steer_new(net);

	if (r)
		return r;
	net->pairs = calloc(net->npairs, sizeof(net->pairs[0]));
	if (!net->pairs)
		return -ENOMEM;
	for (unsigned i = 0; i < net->npairs; i++) {
		struct net_pair *pair = &net->pairs[i];

		pair->net = net;
		pair->index = i;
		pair->last_parcel = &pair->parcels;
		pair->be = net->be;
		pair->be_offload = net->info.offload;
		vdpa_soft_vq_set_priv(vdpa_soft_get_vq(&net->soft, (uint16_t)(2 * i)), pair);
		vdpa_soft_vq_set_priv(vdpa_soft_get_vq(&net->soft, (uint16_t)(2 * i + 1)), pair);
	}
	return 0;
}

static void room_free(struct net_pair *pair)
{
	free(pair->frame);
	free(pair->segment);
	free(pair->iov);
	free(pair->plain);
	pair->frame = pair->segment = NULL;
	pair->iov = NULL;
	pair->plain = NULL;
}

/* Once a queue of it starts, and from then on: a NIC that nobody uses does without. */
static int room_new(struct net_pair *pair)
{
	if (pair->plain)
		return 0;
	pair->frame = malloc(NET_MAX_FRAME);
	pair->segment = malloc(NET_MAX_FRAME);
	pair->iov = malloc(NET_TX_IOVS * sizeof(pair->iov[0]));
	pair->plain = calloc(NET_BATCH, sizeof(pair->plain[0]));
	if (!pair->frame || !pair->segment || !pair->iov || !pair->plain) {
		room_free(pair);
		return -ENOMEM;
	}
	for (unsigned p = 0; p < NET_BATCH; p++)
		pair->plain[p][0] =
			(struct iovec){(void *)(uintptr_t)net_plain_header, NET_HDR_BYTES};
	return 0;
}

void net_pairs_free(struct soft_net *net)
{
	for (unsigned i = 0; net->pairs && i < net->npairs; i++)
		room_free(&net->pairs[i]);
	free(net->pairs);
	free(net->steer);
	net->pairs = NULL;
	net->steer = NULL;
}

/* ---- the port ---- */

uint64_t net_offload(uint64_t features, bool guest)
{
	uint64_t o = 0;

	if (features & VDPA_BIT(guest ? VIRTIO_NET_F_GUEST_CSUM : VIRTIO_NET_F_CSUM))
		o |= NET_OFFLOAD_CSUM;
	if (features & VDPA_BIT(guest ? VIRTIO_NET_F_GUEST_TSO4 : VIRTIO_NET_F_HOST_TSO4))
		o |= NET_OFFLOAD_TSO4;
	if (features & VDPA_BIT(guest ? VIRTIO_NET_F_GUEST_TSO6 : VIRTIO_NET_F_HOST_TSO6))
		o |= NET_OFFLOAD_TSO6;
	if (features & VDPA_BIT(guest ? VIRTIO_NET_F_GUEST_ECN : VIRTIO_NET_F_HOST_ECN))
		o |= NET_OFFLOAD_ECN;
	return o;
}

static void writable(void *arg)
{
	struct net_pair *pair = arg;

	pair->blocked = false;
	if (pair->tx)
		vdpa_soft_vq_wake(pair->tx);
}

static void forget(void *arg)
{
	struct net_pair *pair = arg;

	pair->next_segment = 0;
}

int net_port_open(struct net_pair *pair, struct vdpa_loop *loop)
{
	struct soft_net *net = pair->net;
	struct net_port_config config = {
		.size = sizeof(config),
		.loop = loop,
		.pair = pair->index,
		.deliver = net_rx_deliver,
		.writable = writable,
		.arg = pair,
		.forget = forget,
		.sent = net_tx_sent,
	};
	int r;

	pair->features = vdpa_soft_features(&net->soft);
	config.offload = net_offload(pair->features, true);
	/* 5.1.6.1: num_buffers is there with MRG_RXBUF, and since 1.0 always. */
	pair->hdr_bytes =
		pair->features & (VDPA_BIT(VIRTIO_F_VERSION_1) | VDPA_BIT(VIRTIO_NET_F_MRG_RXBUF))
			? 12
			: 10;
	if (pair->features & VDPA_BIT(VIRTIO_NET_F_HASH_REPORT))
		pair->hdr_bytes = NET_HDR_BYTES + NET_REPORT_BYTES;
	pair->soften = net_offload(pair->features, false) & ~pair->be_offload;
	pair->starved = pair->blocked = false;
	pair->next_segment = pair->next_soft = 0;
	if (net->steer)
		net_spread_port(pair, loop);
	r = pair->be->ops->port_open(pair->be, &config, &pair->port);
	if (r && net->steer)
		net_spread_port(pair, NULL);
	return r;
}

void net_port_close(struct net_pair *pair)
{
	if (pair->port)
		pair->be->ops->port_close(pair->port);
	pair->port = NULL;
	if (pair->net->steer)
		net_spread_port(pair, NULL);
}

int net_start(struct vdpa_soft *dev, struct vdpa_soft_vq *vq)
{
	struct net_pair *pair = pair_of(vq);
	int r = room_new(pair);

	if (!r && !pair->port)
		r = net_port_open(pair, vdpa_soft_vq_loop(vq));
	if (r)
		return r;
	if (is_tx(vq)) {
		pair->tx = vq;
		pair->blocked = false;
	} else {
		pair->rx = vq;
		pair->rx_num = dev->vdpa.config->get_vq_size(&dev->vdpa, vdpa_soft_vq_index(vq));
		if (pair->net->steer)
			net_spread_begin(pair, vdpa_soft_vq_loop(vq));
	}
	return 0;
}

/*
 * What the backend holds comes back: soon by itself, and at once when nobody needs to have it. A
 * backend that holds nothing is in the middle of a packet at most, and that one goes on.
 */
void net_stop(struct vdpa_soft *dev, struct vdpa_soft_vq *vq)
{
	struct net_pair *pair = pair_of(vq);

	if (!is_tx(vq))
		return;
	pair->next_soft = 0;
	if (!pair->be->ops->send_held)
		pair->next_segment = 0;
	if (vdpa_soft_vq_cancelling(vq))
		net_reclaim(dev, vq);
}

void net_reclaim(struct vdpa_soft *dev, struct vdpa_soft_vq *vq)
{
	struct net_pair *pair = pair_of(vq);
	const struct net_backend_ops *ops = pair->be->ops;

	if (is_tx(vq) && ops->revoke && pair->port)
		ops->revoke(pair->port);
}

void net_stopped(struct vdpa_soft *dev, struct vdpa_soft_vq *vq)
{
	struct net_pair *pair = pair_of(vq);

	if (is_tx(vq))
		pair->tx = NULL;
	else
		pair->rx = NULL;
	if (pair->net->steer && !is_tx(vq))
		net_spread_end(pair);
	if (pair->rx || pair->tx)
		return;
	net_port_close(pair);
}

/* A kick of the receive queue: there are buffers; somebody may wait for them. */
static bool rx_run(struct net_pair *pair)
{
	if (pair->starved) {
		pair->starved = false;
		if (pair->net->steer)
			net_spread_resume(pair);
		else
			pair->be->ops->resume(pair->port);
	}
	return false;
}

bool net_run(struct vdpa_soft *dev, struct vdpa_soft_vq *vq, unsigned budget)
{
	struct net_pair *pair = pair_of(vq);

	return is_tx(vq) ? net_tx_run(pair, budget) : rx_run(pair);
}

/* ---- counters ---- */

void net_vq_stats(struct vdpa_soft *dev, struct vdpa_soft_vq *vq, vdpa_stat_fn emit, void *arg)
{
	static const char *const rx[NET_STATS] = {"rx packets",	    "rx bytes",	   "rx errors",
						  "rx drops",	    "rx overruns", "rx needs csum",
						  "rx gso packets", "rx gso bytes"};
	static const char *const tx[NET_STATS] = {"tx packets",	    "tx bytes",	   "tx errors",
						  "tx drops",	    NULL,	   "tx needs csum",
						  "tx gso packets", "tx gso bytes"};
	struct net_pair *pair = pair_of(vq);
	_Atomic uint64_t *stats = is_tx(vq) ? pair->tx_stats : pair->rx_stats;

	for (unsigned i = 0; i < NET_STATS; i++) {
		const char *name = is_tx(vq) ? tx[i] : rx[i];
		uint64_t value = atomic_load_explicit(&stats[i], memory_order_relaxed);

		if (i == NET_STAT_DROPS && !is_tx(vq))
			value += atomic_load_explicit(&pair->parcels_lost, memory_order_relaxed);
		if (name)
			emit(arg, name, value);
	}
	if (is_tx(vq))
		emit(arg, "tx csum none",
		     atomic_load_explicit(&stats[NET_STAT_PACKETS], memory_order_relaxed) -
			     atomic_load_explicit(&stats[NET_STAT_CSUM], memory_order_relaxed));
}
