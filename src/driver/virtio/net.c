// SPDX-License-Identifier: BSD-3-Clause
/*
 * virtio-net driver: virtio 1.3, section 5.1. Several pairs of queues with MQ, when they are asked
 * for; the control queue is in net_cvq.c. The device is hostile; see net_rx.c.
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "driver/virtio/net.h"

#define cfg(field) offsetof(struct virtio_net_config, field)
#define MTU_MIN 68

static int read_config(struct virtio_device *dev, struct virtio_net_info *info)
{
	int r = 0;

	info->features = dev->features;
	info->link_up = true;
	info->mergeable = virtio_has_feature(dev, VIRTIO_NET_F_MRG_RXBUF);
	info->has_mac = virtio_has_feature(dev, VIRTIO_NET_F_MAC);
	if (info->has_mac)
		r = virtio_config_read(dev, cfg(mac), info->mac, sizeof(info->mac));
	if (!r && virtio_has_feature(dev, VIRTIO_NET_F_MTU))
		r = virtio_cread16(dev, cfg(mtu), &info->mtu);
	/* 5.1.4.1: the device must not say less. */
	if (info->mtu && info->mtu < MTU_MIN) {
		virtio_log(dev, VDPA_LOG_WARN, "impossible MTU %u: ignored", info->mtu);
		info->mtu = 0;
	}
	return r;
}

/* 5.1.4: how many there are, and with them where the control queue is; and how many are wanted. */
static int read_pairs(struct virtio_net *net)
{
	unsigned want = net->dev->opts.queues ? net->dev->opts.queues : 1;
	uint16_t max = 1;
	int r = 0;

	if (virtio_has_feature(net->dev, VIRTIO_NET_F_MQ))
		r = virtio_cread16(net->dev, cfg(max_virtqueue_pairs), &max);
	if (!r && (!max || max > 0x8000 || 2u * max > net->dev->ops->num_vqs(net->dev)))
		r = -EINVAL;
	net->max_pairs = max;
	net->info.pairs = want < max ? want : max;
	return r;
}

static uint16_t read_status(struct virtio_net *net)
{
	uint16_t status = VIRTIO_NET_S_LINK_UP;

	if (virtio_has_feature(net->dev, VIRTIO_NET_F_STATUS) &&
	    virtio_cread16(net->dev, cfg(status), &status))
		return 0;
	net->info.link_up = status & VIRTIO_NET_S_LINK_UP;
	return status;
}

static int net_probe(struct virtio_device *dev, struct vdpa_error *err)
{
	struct virtio_net *net = calloc(1, sizeof(*net));
	int r;

	if (!net)
		return vdpa_error_set(err, ENOMEM, dev->name, "no memory");
	net->dev = dev;
	r = read_config(dev, &net->info);
	if (!r)
		r = read_pairs(net);
	if (!r) {
		net->pairs = calloc(net->info.pairs, sizeof(*net->pairs));
		r = net->pairs ? 0 : -ENOMEM;
	}
	if (r) {
		free(net);
		return vdpa_error_set(err, -r, dev->name, "cannot use the NIC's configuration: %s",
				      strerror(-r));
	}
	dev->priv = net;
	for (unsigned i = 0; !r && i < net->info.pairs; i++) {
		net->pairs[i].net = net;
		net->pairs[i].index = i;
		r = net_rx_init(&net->pairs[i], err);
		if (!r)
			r = net_tx_init(&net->pairs[i], err);
	}
	return r ? r : net_cvq_init(net, err);
}

static void net_ready(struct virtio_device *dev)
{
	struct virtio_net *net = dev->priv;

	read_status(net);
	for (unsigned i = 0; i < net->info.pairs; i++)
		net_rx_fill(&net->pairs[i]);
	net_cvq_ready(net);
}

static void net_stop(struct virtio_device *dev)
{
	struct virtio_net *net = dev->priv;

	for (unsigned i = 0; i < net->info.pairs; i++)
		atomic_store(&net->pairs[i].state, NET_STOPPED);
}

/* Nobody waits for a frame that was sent. */
static void net_broken(struct virtio_device *dev)
{
	net_cvq_end(dev->priv);
}

static void net_remove(struct virtio_device *dev)
{
	struct virtio_net *net = dev->priv;

	if (!net)
		return;
	net_cvq_end(net);
	net_cvq_free(net);
	for (unsigned i = 0; i < net->info.pairs; i++) {
		/* Those that a failed probe did not come to have nothing. */
		if (!net->pairs[i].net)
			break;
		net_rx_free(&net->pairs[i]);
		net_tx_free(&net->pairs[i]);
	}
	free(net->pairs);
	free(net);
	dev->priv = NULL;
}

static bool is_rx(const struct virtio_vq *vq)
{
	return vq->index % 2 == 0;
}

static void net_vq_stop(struct virtio_vq *vq)
{
	struct virtio_net_pair *p = vq->priv;

	if (!p)
		return;
	atomic_store(is_rx(vq) ? &p->rx_off : &p->tx_off, true);
}

static void net_vq_drained(struct virtio_vq *vq)
{
	if (!vq->priv)
		net_cvq_end(vq->dev->priv);
	while (virtqueue_detach_unused(vq->ring)) {
	}
	if (!vq->priv)
		return;
	if (is_rx(vq))
		net_rx_free(vq->priv);
	else
		net_tx_free(vq->priv);
}

static int net_vq_restart(struct virtio_vq *vq)
{
	struct virtio_net_pair *p = vq->priv;
	int r;

	if (!p)
		return 0; /* the control queue */
	r = is_rx(vq) ? net_rx_restart(p) : net_tx_restart(p);
	if (r)
		return r;
	atomic_store(is_rx(vq) ? &p->rx_off : &p->tx_off, false);
	virtio_vq_again(vq); /* who was refused meanwhile */
	return 0;
}

static void net_config_changed(struct virtio_device *dev)
{
	struct virtio_net *net = dev->priv;

	if (read_status(net) & VIRTIO_NET_S_ANNOUNCE)
		net_cvq_announce(net);
	if (net->on_change)
		net->on_change(net->on_change_arg);
}

static void emit_u64(vdpa_emit_fn emit, void *arg, const char *key, uint64_t value)
{
	char buf[24];

	snprintf(buf, sizeof(buf), "%llu", (unsigned long long)value);
	emit(arg, key, buf);
}

static void net_show(struct virtio_device *dev, vdpa_emit_fn emit, void *arg)
{
	struct virtio_net *net = dev->priv;
	const uint8_t *m = net->info.mac;
	struct virtio_net_stats s;
	char mac[18];

	virtio_net_get_stats(net, 0, &s);
	snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4],
		 m[5]);
	if (net->info.has_mac)
		emit(arg, "mac", mac);
	emit(arg, "link", net->info.link_up ? "up" : "down");
	emit_u64(emit, arg, "queue_size", net->info.queue_size);
	emit(arg, "mode", dev->opts.poll ? "poll" : "callback");
	emit_u64(emit, arg, "rx_packets", s.rx_packets);
	emit_u64(emit, arg, "rx_bytes", s.rx_bytes);
	emit_u64(emit, arg, "rx_errors", s.rx_errors);
	emit_u64(emit, arg, "rx_dropped", s.rx_dropped);
	emit_u64(emit, arg, "tx_packets", s.tx_packets);
	emit_u64(emit, arg, "tx_bytes", s.tx_bytes);
	emit_u64(emit, arg, "tx_full", s.tx_full);
	emit_u64(emit, arg, "kicks", s.kicks);
	emit_u64(emit, arg, "calls", s.calls);
}

const struct virtio_driver virtio_net_driver = {
	.name = "virtio-net",
	.device_id = VIRTIO_ID_NET,
	.features = VDPA_BIT(VIRTIO_NET_F_CSUM) | VDPA_BIT(VIRTIO_NET_F_GUEST_CSUM) |
		    VDPA_BIT(VIRTIO_NET_F_MTU) | VDPA_BIT(VIRTIO_NET_F_MAC) |
		    VDPA_BIT(VIRTIO_NET_F_HOST_TSO4) | VDPA_BIT(VIRTIO_NET_F_HOST_TSO6) |
		    VDPA_BIT(VIRTIO_NET_F_HOST_ECN) | VDPA_BIT(VIRTIO_NET_F_MRG_RXBUF) |
		    VDPA_BIT(VIRTIO_NET_F_STATUS) | VDPA_BIT(VIRTIO_NET_F_CTRL_VQ) |
		    VDPA_BIT(VIRTIO_NET_F_CTRL_RX) | VDPA_BIT(VIRTIO_NET_F_CTRL_RX_EXTRA) |
		    VDPA_BIT(VIRTIO_NET_F_CTRL_VLAN) | VDPA_BIT(VIRTIO_NET_F_CTRL_MAC_ADDR) |
		    VDPA_BIT(VIRTIO_NET_F_GUEST_ANNOUNCE) | VDPA_BIT(VIRTIO_NET_F_MQ) |
		    VDPA_BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) | VDPA_BIT(VIRTIO_NET_F_NOTF_COAL) |
		    VDPA_BIT(VIRTIO_NET_F_VQ_NOTF_COAL) | VDPA_BIT(VIRTIO_NET_F_DEVICE_STATS),
	.num_min = 1,
	.probe = net_probe,
	.ready = net_ready,
	.stop = net_stop,
	.broken = net_broken,
	.remove = net_remove,
	.config_changed = net_config_changed,
	.show = net_show,
	.vq_stop = net_vq_stop,
	.vq_drained = net_vq_drained,
	.vq_restart = net_vq_restart,
};

struct virtio_net *virtio_net_of(struct virtio_device *dev)
{
	return dev->drv == &virtio_net_driver ? dev->priv : NULL;
}

struct virtio_device *virtio_net_device(struct virtio_net *net)
{
	return net->dev;
}

void virtio_net_get_info(struct virtio_net *net, struct virtio_net_info *info)
{
	read_status(net);
	*info = net->info;
}

void virtio_net_get_stats(struct virtio_net *net, unsigned pair, struct virtio_net_stats *stats)
{
	struct virtio_net_pair *p;

	memset(stats, 0, sizeof(*stats));
	if (pair >= net->info.pairs)
		return;
	p = &net->pairs[pair];
	stats->rx_packets = net_get_count(p->rx_packets);
	stats->rx_bytes = net_get_count(p->rx_bytes);
	stats->rx_errors = net_get_count(p->rx_errors);
	stats->rx_dropped = net_get_count(p->rx_dropped);
	stats->tx_packets = net_get_count(p->tx_packets);
	stats->tx_bytes = net_get_count(p->tx_bytes);
	stats->tx_full = net_get_count(p->tx_full);
	stats->kicks = net_get_count(p->rx->kicks) + net_get_count(p->tx->kicks);
	stats->calls = net_get_count(p->rx->calls) + net_get_count(p->tx->calls);
}

void virtio_net_on_change(struct virtio_net *net, void (*fn)(void *arg), void *arg)
{
	net->on_change = fn;
	net->on_change_arg = arg;
}

void virtio_net_on_receive(struct virtio_net *net, virtio_net_rx_fn fn, void *arg)
{
	net->on_rx = fn;
	net->on_rx_arg = arg;
}

void virtio_net_on_room(struct virtio_net *net, void (*fn)(void *arg, unsigned pair), void *arg)
{
	net->on_room = fn;
	net->on_room_arg = arg;
}

unsigned virtio_net_poll(struct virtio_net *net, unsigned pair, unsigned max)
{
	struct virtio_net_pair *p;
	unsigned n;

	if (pair >= net->info.pairs)
		return 0;
	p = &net->pairs[pair];
	if (atomic_load_explicit(&p->state, memory_order_acquire) != NET_RUNNING)
		return 0;
	virtio_enter(net->dev);
	if (!atomic_load(&p->tx_off))
		net_tx_done(p);
	n = atomic_load(&p->rx_off) ? 0 : net_rx_reap(p, max);
	virtio_leave(net->dev);
	return n;
}
