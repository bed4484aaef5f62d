// SPDX-License-Identifier: BSD-3-Clause
/*
 * virtio-net, sending: virtio 1.3, section 5.1.6.2. Frames are copied into buffers of the driver's:
 * the caller's memory need not be mapped, and is free at once.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "driver/virtio/net.h"

#define TX_GSO_BUFS_MAX 64u

static bool host_gso(const struct virtio_device *dev)
{
	return dev->features & (VDPA_BIT(VIRTIO_NET_F_HOST_TSO4) |
				VDPA_BIT(VIRTIO_NET_F_HOST_TSO6) | VDPA_BIT(VIRTIO_NET_F_HOST_UFO));
}

static int bufs_new(struct virtio_net_pair *p)
{
	struct virtio_device *dev = p->net->dev;
	iova_t iova;

	p->net->info.queue_size = p->tx->num;
	p->ntx = p->tx->num;
	if (host_gso(dev) && p->ntx > TX_GSO_BUFS_MAX)
		p->ntx = TX_GSO_BUFS_MAX;
	p->tx_free = 0;
	p->tx_bufs = calloc(p->ntx, sizeof(*p->tx_bufs));
	p->tx_mem = virtio_mem_alloc(dev, p->ntx * p->tx_buf_bytes, &iova);
	if (!p->tx_bufs || !p->tx_mem)
		return -ENOMEM;
	for (unsigned i = 0; i < p->ntx; i++) {
		p->tx_bufs[i].mem = (uint8_t *)p->tx_mem + i * p->tx_buf_bytes;
		p->tx_bufs[i].iova = iova + i * p->tx_buf_bytes;
		p->tx_bufs[i].next = (uint16_t)(i + 1);
	}
	return 0;
}

int net_tx_init(struct virtio_net_pair *p, struct vdpa_error *err)
{
	struct virtio_device *dev = p->net->dev;
	struct virtio_vq_params params = {
		.index = (uint16_t)(2 * p->index + 1),
		.num = dev->opts.queue_size,
		.callback = dev->opts.poll ? NULL : net_tx_used,
		.priv = p,
	};
	size_t mtu = p->net->info.mtu > 1500 ? p->net->info.mtu : 1500;
	int r = virtio_setup_vq(dev, &params, &p->tx, err);

	if (r)
		return r;
	p->net->info.max_frame = host_gso(dev) ? GSO_FRAME_MAX : mtu + ETH_HDR_MAX;
	p->tx_buf_bytes = (NET_HDR + p->net->info.max_frame + 63) & ~(size_t)63;
	if (bufs_new(p))
		return vdpa_error_set(err, ENOMEM, dev->name, "no memory for send buffers");
	return 0;
}

int net_tx_restart(struct virtio_net_pair *p)
{
	return bufs_new(p);
}

void net_tx_free(struct virtio_net_pair *p)
{
	free(p->tx_bufs);
	virtio_mem_free(p->net->dev, p->tx_mem);
	p->tx_bufs = NULL;
	p->tx_mem = NULL;
}

static int check_gso(const struct virtio_device *dev, const struct virtio_net_offload *o)
{
	unsigned need;

	switch (o->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_NONE:
		return 0;
	case VIRTIO_NET_HDR_GSO_TCPV4:
		need = VIRTIO_NET_F_HOST_TSO4;
		break;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		need = VIRTIO_NET_F_HOST_TSO6;
		break;
	case VIRTIO_NET_HDR_GSO_UDP:
		need = VIRTIO_NET_F_HOST_UFO;
		break;
	default:
		return -EINVAL;
	}
	if (!virtio_has_feature(dev, need))
		return -EOPNOTSUPP;
	if (o->gso_type & VIRTIO_NET_HDR_GSO_ECN && !virtio_has_feature(dev, VIRTIO_NET_F_HOST_ECN))
		return -EOPNOTSUPP;
	return o->gso_size ? 0 : -EINVAL;
}

/* 5.1.6.2.1: what the driver must not ask for. */
static int check_offload(const struct virtio_device *dev, const struct virtio_net_offload *o,
			 size_t len)
{
	bool csum = o->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM;

	if (o->flags & ~VIRTIO_NET_HDR_F_NEEDS_CSUM)
		return -EINVAL;
	if (csum && !virtio_has_feature(dev, VIRTIO_NET_F_CSUM))
		return -EOPNOTSUPP;
	if (csum && (size_t)o->csum_start + o->csum_offset + 2 > len)
		return -EINVAL;
	if (o->gso_type && !csum)
		return -EINVAL;
	return check_gso(dev, o);
}

static void fill(struct net_buf *buf, const struct iovec *iov, unsigned niov,
		 const struct virtio_net_offload *o)
{
	struct virtio_net_hdr_v1 hdr = {0};
	uint8_t *to = buf->mem + NET_HDR;

	if (o) {
		hdr.flags = o->flags;
		hdr.gso_type = o->gso_type;
		hdr.hdr_len = htole16(o->hdr_len);
		hdr.gso_size = htole16(o->gso_size);
		hdr.csum_start = htole16(o->csum_start);
		hdr.csum_offset = htole16(o->csum_offset);
	}
	memcpy(buf->mem, &hdr, sizeof(hdr));
	for (unsigned i = 0; i < niov; i++) {
		if (iov[i].iov_len)
			memcpy(to, iov[i].iov_base, iov[i].iov_len);
		to += iov[i].iov_len;
	}
}

static struct net_buf *buf_get(struct virtio_net_pair *p)
{
	struct net_buf *buf;

	if (p->tx_free == p->ntx || !virtqueue_num_free(p->tx->ring))
		net_tx_reap(p);
	if (p->tx_free == p->ntx) {
		net_count(p->tx_full, 1);
		p->tx_refused = true;
		return NULL;
	}
	buf = &p->tx_bufs[p->tx_free];
	p->tx_free = buf->next;
	return buf;
}

static void buf_put(struct virtio_net_pair *p, struct net_buf *buf)
{
	buf->next = p->tx_free;
	p->tx_free = (uint16_t)(buf - p->tx_bufs);
}

int virtio_net_send(struct virtio_net *net, unsigned pair, const struct iovec *iov, unsigned niov,
		    const struct virtio_net_offload *offload)
{
	struct virtqueue_sg sg[VIRTIO_PIECES_MAX], whole;
	struct virtio_net_pair *p;
	struct net_buf *buf;
	size_t len = 0;
	unsigned n;
	int r;

	if (pair >= net->info.pairs)
		return -EINVAL;
	p = &net->pairs[pair];
	if (atomic_load_explicit(&p->state, memory_order_acquire) != NET_RUNNING)
		return -EIO;
	if (atomic_load_explicit(&p->tx_off, memory_order_acquire)) {
		p->tx_refused = true;
		return -ENOSPC;
	}
	for (unsigned i = 0; i < niov; i++) {
		if (iov[i].iov_len > net->info.max_frame - len)
			return -EMSGSIZE;
		len += iov[i].iov_len;
	}
	if (!len)
		return -EINVAL;
	r = offload ? check_offload(net->dev, offload, len) : 0;
	if (r)
		return r;
	buf = buf_get(p);
	if (!buf)
		return -ENOSPC;
	fill(buf, iov, niov, offload);
	whole = (struct virtqueue_sg){buf->iova, (uint32_t)(NET_HDR + len)};
	n = virtio_cut(net->dev, sg, whole, p->tx->num);
	r = virtqueue_add(p->tx->ring, sg, n, 0, buf);
	if (r) {
		buf_put(p, buf);
		p->tx_refused = true;
		return virtqueue_broken(p->tx->ring) ? -EIO : r;
	}
	net_count(p->tx_packets, 1);
	net_count(p->tx_bytes, len);
	return 0;
}

void net_tx_reap(struct virtio_net_pair *p)
{
	struct net_buf *buf;
	uint32_t len;

	while ((buf = virtqueue_get(p->tx->ring, &len)))
		buf_put(p, buf);
	if (virtqueue_broken(p->tx->ring) &&
	    atomic_load_explicit(&p->state, memory_order_relaxed) == NET_RUNNING)
		virtio_device_broken(p->net->dev, "a used entry that cannot be (send)");
}

void net_tx_done(struct virtio_net_pair *p)
{
	net_tx_reap(p);
	if (!p->tx_refused || p->tx_free == p->ntx || !virtqueue_num_free(p->tx->ring))
		return;
	p->tx_refused = false;
	if (p->net->on_room)
		p->net->on_room(p->net->on_room_arg, p->index);
}

void net_tx_used(struct virtio_vq *vq)
{
	struct virtio_net_pair *p = vq->priv;

	if (atomic_load(&p->tx_off))
		return;
	virtqueue_disable_cb(vq->ring);
	net_tx_done(p);
	if (virtqueue_enable_cb(vq->ring))
		virtio_vq_again(vq);
}

void virtio_net_kick(struct virtio_net *net, unsigned pair)
{
	struct virtio_net_pair *p;

	if (pair >= net->info.pairs)
		return;
	p = &net->pairs[pair];
	if (atomic_load_explicit(&p->state, memory_order_acquire) == NET_RUNNING &&
	    !atomic_load(&p->tx_off))
		virtio_vq_kick(p->tx);
}

unsigned virtio_net_tx_outstanding(struct virtio_net *net, unsigned pair)
{
	return pair < net->info.pairs ? virtqueue_outstanding(net->pairs[pair].tx->ring) : 0;
}
