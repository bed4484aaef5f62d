// SPDX-License-Identifier: BSD-3-Clause
/*
 * A sample parent of class virtio, to copy from: NICs that receive what they send. It uses public
 * headers only, so that it can be built outside of this tree as it is.
 *
 * Two structures: struct mvnet_mdev is the mediated device, from "create" to "remove"; struct mvnet
 * is the vDPA device, which is there while the driver virtio_mdev has the mediated one. All of a
 * virtio device that is not a NIC's is the kit's (uvdpa/soft.h).
 *
 * Both queues run on one loop. A packet is copied once, from the transmit queue's buffers to the
 * receive queue's, in pieces; the guest may change it meanwhile, and harms its own packet only.
 */
#include <endian.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <uvdpa/compat.h>
#include <uvdpa/mdev_class.h>
#include <uvdpa/soft.h>
#include "sample/samples.h"

#define QUEUES 2
#define QUEUE_SIZE 256
#define MTU 1500
/* In front of each packet (virtio 1.3, section 5.1.6), with VERSION_1. */
#define HEADER_BYTES 12
#define FRAME_MIN 14
#define FRAME_MAX (MTU + 14 + 4)
/* After so many packets other queues of the loop have their turn. */
#define BATCH 4
#define INSTANCES 16

/* What a driver must take: this device reaches memory by what its parent maps only. */
#define MANDATORY (VDPA_BIT(VIRTIO_F_VERSION_1) | VDPA_BIT(VIRTIO_F_ACCESS_PLATFORM))

/* ---- the vDPA device ---- */

struct mvnet {
	struct vdpa_soft soft;	      /* first: the kit allocates the whole structure */
	struct vdpa_soft_vq *rx, *tx; /* while they run; their loop's */
	bool starved;		      /* packets wait for receive buffers */
	_Atomic uint64_t packets, bytes, drops;
};

static struct mvnet *to_mvnet(struct vdpa_soft *dev)
{
	return (struct mvnet *)(void *)dev;
}

static void count(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* One packet: its bytes to @in, behind a header that leaves nothing to do. How many with that. */
static uint32_t copy(struct mvnet *net, const struct vringh_chain *out, struct vringh_chain *in)
{
	/* No checksum to fill, no segments; it takes one buffer (5.1.6.4). */
	static const uint8_t header[HEADER_BYTES] = {[10] = 1};
	uint64_t at = HEADER_BYTES;
	uint8_t piece[512];

	vdpa_soft_push(net->rx, in, 0, header, sizeof(header));
	while (at < out->out_len) {
		size_t n = vringh_iov_pull(out, at, piece, sizeof(piece));

		if (!n || vdpa_soft_push(net->rx, in, at, piece, n) != n)
			break;
		at += n;
	}
	return (uint32_t)at;
}

/* Is this a packet? One that is none is the driver's error, counted and logged. */
static bool is_packet(struct mvnet *net, const struct vringh_chain *out)
{
	const char *why = out->out_len < HEADER_BYTES + FRAME_MIN ? "shorter than a frame" : NULL;

	if (out->out_len > HEADER_BYTES + FRAME_MAX)
		why = "longer than the MTU allows";
	if (why)
		vdpa_soft_bad_request(net->tx, out, why);
	return !why;
}

/* What was sent, to the receive buffers: how many of those were used. */
static unsigned loop_back(struct mvnet *net, struct vringh_chain **out, unsigned nout,
			  struct vringh_chain **in)
{
	unsigned used = 0;

	for (unsigned i = 0; i < nout; i++) {
		if (is_packet(net, out[i]) && in[used]->in_len >= out[i]->out_len) {
			count(&net->packets, 1);
			count(&net->bytes, out[i]->out_len - HEADER_BYTES);
			vdpa_soft_complete(net->rx, in[used], copy(net, out[i], in[used]));
			used++;
		} else {
			count(&net->drops, 1);
		}
		vdpa_soft_complete(net->tx, out[i], 0);
	}
	return used;
}

/* No receive queue: the packets go nowhere. */
static bool drop(struct mvnet *net, struct vringh_chain **out, unsigned n)
{
	count(&net->drops, n);
	vdpa_soft_complete_n(net->tx, out, NULL, n);
	return n == BATCH;
}

static bool transmit(struct mvnet *net)
{
	struct vringh_chain *out[BATCH], *in[BATCH];
	unsigned nout = vdpa_soft_getdesc(net->tx, out, BATCH), nin;

	if (!nout || !net->rx)
		return drop(net, out, nout);
	nin = vdpa_soft_getdesc(net->rx, in, nout);
	/* What has no buffer stays in the ring: nothing is lost. A kick of the receive queue says
	 * that there are some. */
	if (nin < nout)
		vdpa_soft_abandon(net->tx, nout - nin);
	net->starved = nin < nout;
	vdpa_soft_abandon(net->rx, nin - loop_back(net, out, nin, in));
	vdpa_soft_flush(net->rx);
	return nout == BATCH && !net->starved;
}

/* A queue's turn, on its loop. True: there may be more. */
static bool mvnet_run(struct vdpa_soft *dev, struct vdpa_soft_vq *vq, unsigned budget)
{
	struct mvnet *net = to_mvnet(dev);

	(void)budget; /* is never less than BATCH */
	if (vq == net->tx)
		return transmit(net);
	if (net->starved && net->tx)
		vdpa_soft_vq_wake(net->tx);
	return false;
}

static int mvnet_start(struct vdpa_soft *dev, struct vdpa_soft_vq *vq)
{
	/* 5.1.2: transmit queues have odd indices. */
	if (vdpa_soft_vq_index(vq) % 2)
		to_mvnet(dev)->tx = vq;
	else
		to_mvnet(dev)->rx = vq;
	return 0;
}

static void mvnet_stopped(struct vdpa_soft *dev, struct vdpa_soft_vq *vq)
{
	struct mvnet *net = to_mvnet(dev);

	if (vq == net->tx)
		net->tx = NULL;
	if (vq == net->rx)
		net->rx = NULL;
	net->starved = false;
}

/* Both queues share a loop. */
static unsigned mvnet_vq_affinity(struct vdpa_soft *dev, uint16_t idx)
{
	return 0;
}

static bool mvnet_vq_read_only(struct vdpa_soft *dev, uint16_t idx)
{
	return idx % 2;
}

static int mvnet_check_features(struct vdpa_soft *dev, uint64_t features)
{
	return (features & MANDATORY) == MANDATORY ? 0 : -EINVAL;
}

static void mvnet_stats(struct vdpa_soft *dev, struct vdpa_soft_vq *vq, vdpa_stat_fn emit,
			void *arg)
{
	struct mvnet *net = to_mvnet(dev);

	emit(arg, "packets", net->packets);
	emit(arg, "bytes", net->bytes);
	emit(arg, "drops", net->drops);
}

static const struct vdpa_soft_ops mvnet_ops = {
	.size = sizeof(mvnet_ops),
	.run = mvnet_run,
	.start = mvnet_start,
	.stopped = mvnet_stopped,
	.vq_affinity = mvnet_vq_affinity,
	.vq_read_only = mvnet_vq_read_only,
	.check_features = mvnet_check_features,
	.vq_stats = mvnet_stats,
};

/* ---- the mediated device ---- */

struct mvnet_mdev {
	struct mdev_device mdev;
	uint8_t mac[6];
};

static struct mvnet_mdev *to_mvnet_mdev(struct mdev_device *mdev)
{
	return (struct mvnet_mdev *)(void *)((char *)mdev - offsetof(struct mvnet_mdev, mdev));
}

/* The driver virtio_mdev wants the vDPA device. */
static int mvnet_add(struct mdev_device *mdev, const char *name, struct vdpa_device **out,
		     struct vdpa_error *err)
{
	struct virtio_net_config config = {
		.status = htole16(VIRTIO_NET_S_LINK_UP),
		.max_virtqueue_pairs = htole16(1),
		.mtu = htole16(MTU),
	};
	const struct vdpa_soft_params params = {
		.size = sizeof(params),
		.struct_size = sizeof(struct mvnet),
		.ops = &mvnet_ops,
		.name = name,
		.parent = mdev->parent->name,
		.device_id = VIRTIO_ID_NET,
		.features = VDPA_BIT(VIRTIO_NET_F_MAC) | VDPA_BIT(VIRTIO_NET_F_MTU) |
			    VDPA_BIT(VIRTIO_NET_F_STATUS),
		.nvqs = QUEUES,
		.num_max = QUEUE_SIZE,
		.config = &config,
		.config_bytes = offsetof(struct virtio_net_config, mtu) + sizeof(config.mtu),
	};
	struct mvnet *net;
	int r;

	memcpy(config.mac, to_mvnet_mdev(mdev)->mac, sizeof(config.mac));
	net = vdpa_soft_alloc(mdev->ctx, &params, err);
	if (!net)
		return -ENOMEM;
	r = vdpa_soft_register(&net->soft, err);
	if (r)
		vdpa_put_device(&net->soft.vdpa);
	*out = &net->soft.vdpa;
	return r;
}

static int mvnet_del(struct mdev_device *mdev, struct vdpa_device *vdev,
		     const struct vdpa_done *done)
{
	return vdpa_soft_dev_del(NULL, vdev, done);
}

static const struct mdev_virtio_ops mvnet_virtio_ops = {
	.size = sizeof(mvnet_virtio_ops),
	.add = mvnet_add,
	.del = mvnet_del,
};

static int mvnet_create(struct mdev_device *mdev, struct vdpa_error *err)
{
	uint8_t *mac = to_mvnet_mdev(mdev)->mac;

	if (getrandom(mac, 6, 0) != 6)
		return vdpa_error_set(err, EIO, NULL, "no random address");
	mac[0] = (uint8_t)((mac[0] & 0xfc) | 0x02); /* one station, locally administered */
	return mdev_set_virtio_ops(mdev, &mvnet_virtio_ops);
}

/* Before the driver has the device, or while it does: its driver is told. */
static int mvnet_set_attr(struct mdev_device *mdev, const char *key, const char *value,
			  struct vdpa_error *err)
{
	const struct vdpa_attr attrs[] = {{key, value}, {NULL, NULL}};
	struct vdpa_device *vdev = mdev_virtio_vdpa(mdev);
	uint8_t mac[6];

	if (!vdpa_attr_mac(attrs, "mac", mac) || (mac[0] & 1))
		return vdpa_error_set(err, EINVAL, NULL, "mac %s: not a station's address", value);
	memcpy(to_mvnet_mdev(mdev)->mac, mac, sizeof(mac));
	return vdev ? vdpa_soft_config_set(vdpa_to_soft(vdev),
					   offsetof(struct virtio_net_config, mac), mac,
					   sizeof(mac))
		    : 0;
}

static void mvnet_show(struct mdev_device *mdev, vdpa_emit_fn emit, void *arg)
{
	const uint8_t *m = to_mvnet_mdev(mdev)->mac;
	char mac[18];

	snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4],
		 m[5]);
	emit(arg, "mac", mac);
}

/* ---- the parent ---- */

static const struct vdpa_attr_spec mvnet_attrs[] = {
	{.name = "mac", .type = VDPA_ATTR_MAC, .help = "address (default: random)"},
	{0},
};

static const struct mdev_type mvnet_types[] = {
	{
		.id = "virtio",
		.name = "Loopback NIC",
		.description = "virtio-net, 2 queues of 256, receives what it sends",
		.device_api = "virtio-mdev",
		.instances = INSTANCES,
		.attrs = mvnet_attrs,
	},
	{0},
};

static const struct mdev_parent_ops mvnet_parent_ops = {
	.size = sizeof(mvnet_parent_ops),
	.device_size = sizeof(struct mdev_device),
	.struct_size = sizeof(struct mvnet_mdev),
	.offset = offsetof(struct mvnet_mdev, mdev),
	.create = mvnet_create,
	.set_attr = mvnet_set_attr,
	.show = mvnet_show,
};

static void mvnet_release(struct mdev_parent *parent)
{
	free(parent);
}

int mvnet_loopback_register(struct vdpa_ctx *ctx)
{
	struct mdev_parent *parent = calloc(1, sizeof(*parent));
	int r;

	if (!parent)
		return -ENOMEM;
	parent->name = "mvnet_loopback";
	parent->help = "NICs that receive what they send (a sample)";
	parent->ops = &mvnet_parent_ops;
	parent->types = mvnet_types;
	parent->release = mvnet_release;
	r = mdev_register_parent(ctx, parent, NULL);
	if (r)
		free(parent);
	return r;
}
