// SPDX-License-Identifier: BSD-3-Clause
/*
 * virtio-net, receiving: virtio 1.3, section 5.1.6.3 and 5.1.6.4.
 *
 * With MRG_RXBUF a packet comes in num_buffers buffers, which the device says in the header of the
 * first; it is copied once and then checked: none, or more than the queue has, cannot be. A packet
 * that is malformed is counted and dropped, and its buffers go back.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "driver/virtio/net.h"

#define RX_BATCH 64u
#define RX_BUF_BYTES 2048u
#define RX_BUF_BYTES_MIN 64u

static bool guest_gso(const struct virtio_device *dev)
{
	return dev->features &
	       (VDPA_BIT(VIRTIO_NET_F_GUEST_TSO4) | VDPA_BIT(VIRTIO_NET_F_GUEST_TSO6) |
		VDPA_BIT(VIRTIO_NET_F_GUEST_UFO));
}

static size_t frame_max(const struct virtio_net *net)
{
	size_t mtu = net->info.mtu > 1500 ? net->info.mtu : 1500;

	return guest_gso(net->dev) ? GSO_FRAME_MAX : mtu + ETH_HDR_MAX;
}

/* Without mergeable buffers each must hold the largest packet (5.1.6.3.1). */
static size_t buf_bytes(const struct virtio_net *net)
{
	if (net->info.mergeable)
		return net->dev->opts.rx_buf_bytes ? net->dev->opts.rx_buf_bytes : RX_BUF_BYTES;
	return (NET_HDR + frame_max(net) + 63) & ~(size_t)63;
}

/* All buffers together must hold a frame, or it never comes. */
static bool holds_frame(const struct virtio_net_pair *p)
{
	const struct virtio_device *dev = p->net->dev;
	unsigned n = virtio_pieces(dev, p->rx_buf_bytes, p->rx->num);
	bool table =
		virtio_has_feature(dev, VIRTIO_RING_F_INDIRECT_DESC) && n >= dev->opts.indirect_min;

	return p->rx->num / (table ? 1 : n) * p->rx_buf_bytes >= NET_HDR + frame_max(p->net);
}

static int bufs_new(struct virtio_net_pair *p)
{
	size_t stride = (p->rx_buf_bytes + 63) & ~(size_t)63;
	iova_t iova;

	if (!holds_frame(p))
		return -EINVAL;
	p->rx_bufs = calloc(p->rx->num, sizeof(*p->rx_bufs));
	p->parts = calloc(p->rx->num, sizeof(*p->parts));
	p->part_bufs = calloc(p->rx->num, sizeof(struct net_buf *));
	p->rx_mem = virtio_mem_alloc(p->net->dev, p->rx->num * stride, &iova);
	if (!p->rx_bufs || !p->parts || !p->part_bufs || !p->rx_mem)
		return -ENOMEM;
	for (unsigned i = 0; i < p->rx->num; i++) {
		p->rx_bufs[i].mem = (uint8_t *)p->rx_mem + i * stride;
		p->rx_bufs[i].iova = iova + i * stride;
	}
	return 0;
}

int net_rx_init(struct virtio_net_pair *p, struct vdpa_error *err)
{
	struct virtio_device *dev = p->net->dev;
	struct virtio_vq_params params = {
		.index = (uint16_t)(2 * p->index),
		.num = dev->opts.queue_size,
		.callback = dev->opts.poll ? NULL : net_rx_used,
		.priv = p,
	};
	int r = virtio_setup_vq(dev, &params, &p->rx, err);

	if (r)
		return r;
	p->rx_buf_bytes = buf_bytes(p->net);
	if (p->rx_buf_bytes < RX_BUF_BYTES_MIN)
		return vdpa_error_set(err, EINVAL, dev->name,
				      "receive buffers of %zu bytes: at least %u", p->rx_buf_bytes,
				      RX_BUF_BYTES_MIN);
	r = bufs_new(p);
	if (r == -EINVAL)
		return vdpa_error_set(err, EINVAL, dev->name,
				      "%u entries with buffers of %zu bytes do not hold a frame",
				      p->rx->num, p->rx_buf_bytes);
	return r ? vdpa_error_set(err, -r, dev->name, "no memory for receive buffers") : 0;
}

int net_rx_restart(struct virtio_net_pair *p)
{
	int r;

	p->want_parts = 0;
	r = bufs_new(p);
	if (!r)
		net_rx_fill(p);
	return r;
}

void net_rx_free(struct virtio_net_pair *p)
{
	free(p->rx_bufs);
	free(p->parts);
	free(p->part_bufs);
	virtio_mem_free(p->net->dev, p->rx_mem);
	p->rx_bufs = NULL;
	p->parts = NULL;
	p->part_bufs = NULL;
	p->rx_mem = NULL;
}

/* What comes back was in there before: there is room for it. */
static int give(struct virtio_net_pair *p, struct net_buf *buf)
{
	struct virtqueue_sg sg[VIRTIO_PIECES_MAX];
	struct virtqueue_sg whole = {buf->iova, (uint32_t)p->rx_buf_bytes};
	unsigned n = virtio_cut(p->net->dev, sg, whole, p->rx->num);

	return virtqueue_add(p->rx->ring, sg, 0, n, buf);
}

/* As many buffers as there are entries; fewer when each takes several. */
void net_rx_fill(struct virtio_net_pair *p)
{
	for (unsigned i = 0; i < p->rx->num && !give(p, &p->rx_bufs[i]); i++) {
	}
	virtio_vq_kick(p->rx);
}

/* The first buffer of a packet: header, then data. */
static void packet_begin(struct virtio_net_pair *p, struct net_buf *buf, uint32_t len)
{
	struct virtio_net_hdr_v1 hdr;

	p->nparts = 0;
	p->packet_len = 0;
	p->want_parts = 1;
	p->discard = len < NET_HDR || len > p->rx_buf_bytes;
	if (p->discard)
		return;
	memcpy(&hdr, buf->mem, sizeof(hdr));
	p->offload = (struct virtio_net_offload){
		.flags = hdr.flags,
		.gso_type = hdr.gso_type,
		.hdr_len = le16toh(hdr.hdr_len),
		.gso_size = le16toh(hdr.gso_size),
		.csum_start = le16toh(hdr.csum_start),
		.csum_offset = le16toh(hdr.csum_offset),
	};
	if (p->net->info.mergeable)
		p->want_parts = le16toh(hdr.num_buffers);
	if (!p->want_parts || p->want_parts > p->rx->num) {
		p->want_parts = 1;
		p->discard = true;
	}
}

static void packet_part(struct virtio_net_pair *p, struct net_buf *buf, uint32_t len)
{
	size_t skip = p->nparts ? 0 : NET_HDR;

	if (len > p->rx_buf_bytes || !len)
		p->discard = true;
	p->part_bufs[p->nparts] = buf;
	p->parts[p->nparts] = (struct iovec){buf->mem + skip, p->discard ? 0 : len - skip};
	p->packet_len += p->parts[p->nparts].iov_len;
	p->nparts++;
}

static void deliver(struct virtio_net_pair *p)
{
	struct virtio_net_packet pkt = {
		.iov = p->parts,
		.niov = p->nparts,
		.len = p->packet_len,
		.offload = p->offload,
	};

	if (p->discard || !pkt.len) {
		net_count(p->rx_errors, 1);
		return;
	}
	net_count(p->rx_packets, 1);
	net_count(p->rx_bytes, pkt.len);
	if (p->net->on_rx)
		p->net->on_rx(p->net->on_rx_arg, p->index, &pkt);
	else
		net_count(p->rx_dropped, 1);
}

unsigned net_rx_reap(struct virtio_net_pair *p, unsigned max)
{
	struct net_buf *buf;
	unsigned n = 0;
	uint32_t len;

	while (n < max && (buf = virtqueue_get(p->rx->ring, &len))) {
		if (!p->want_parts)
			packet_begin(p, buf, len);
		packet_part(p, buf, len);
		if (p->nparts < p->want_parts)
			continue;
		deliver(p);
		for (unsigned i = 0; i < p->nparts; i++)
			give(p, p->part_bufs[i]);
		p->want_parts = 0;
		n++;
	}
	if (atomic_load_explicit(&p->state, memory_order_acquire) != NET_RUNNING)
		return n;
	if (virtqueue_broken(p->rx->ring))
		virtio_device_broken(p->net->dev, "a used entry that cannot be (receive)");
	else if (n)
		virtio_vq_kick(p->rx);
	return n;
}

void net_rx_used(struct virtio_vq *vq)
{
	struct virtio_net_pair *p = vq->priv;

	if (atomic_load(&p->rx_off))
		return;
	virtqueue_disable_cb(vq->ring);
	if (net_rx_reap(p, RX_BATCH) == RX_BATCH || virtqueue_enable_cb(vq->ring))
		virtio_vq_again(vq);
	/* What the callbacks sent. */
	if (atomic_load_explicit(&p->state, memory_order_relaxed) == NET_RUNNING &&
	    !atomic_load(&p->tx_off))
		virtio_vq_kick(p->tx);
}
