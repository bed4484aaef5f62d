// SPDX-License-Identifier: BSD-3-Clause
/*
 * Packets of our own kind (an Ethernet type for local experiments, IEEE 802) on the first pair of a
 * NIC. Each carries the time at which it was due, so that one that comes back tells how long it
 * took; what it carries came through the device's hands and is worth a statistic only.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "bench.h"

#define ETHERTYPE_LOCAL 0x88b5
#define MAGIC 0x75766462u
#define POLL_BATCH 64u

struct probe {
	uint8_t dst[6], src[6];
	uint16_t type;
	uint32_t magic;
	uint64_t began_ns;
} __attribute__((packed));

struct net_load {
	struct virtio_net *net;
	uint8_t *frame;
};

static bool take_probe(const struct virtio_net_packet *pkt, struct probe *p)
{
	size_t len = 0;

	for (unsigned i = 0; i < pkt->niov && len < sizeof(*p); i++) {
		size_t n = pkt->iov[i].iov_len;

		if (n > sizeof(*p) - len)
			n = sizeof(*p) - len;
		memcpy((char *)p + len, pkt->iov[i].iov_base, n);
		len += n;
	}
	return len == sizeof(*p) && p->magic == htobe32(MAGIC);
}

static void received(void *arg, unsigned pair, const struct virtio_net_packet *pkt)
{
	struct bench *b = arg;
	struct probe p;

	(void)pair;
	if (b->opt->what == BENCH_RECEIVE) {
		b->done += b->counting;
		return;
	}
	if (b->opt->what == BENCH_LOOP)
		bench_done(b, take_probe(pkt, &p) ? p.began_ns : b->now_ns, true);
}

static int net_submit(struct bench *b, uint64_t began_ns)
{
	struct net_load *l = b->priv;
	struct probe *p = (void *)l->frame;
	struct iovec iov = {l->frame, b->opt->size};

	if (b->opt->what == BENCH_RECEIVE)
		return -ENOSPC;
	p->began_ns = began_ns;
	return virtio_net_send(l->net, 0, &iov, 1, NULL);
}

static void net_kick(struct bench *b)
{
	virtio_net_kick(((struct net_load *)b->priv)->net, 0);
}

/* With SEND, done is what the device has taken: what was sent and is not out any more. */
static void count_sent(struct bench *b, const struct net_load *l)
{
	uint64_t out = virtio_net_tx_outstanding(l->net, 0);

	if (b->opt->what != BENCH_SEND || out >= b->out)
		return;
	if (b->counting)
		b->done += b->out - out;
	b->out = out;
}

static void net_poll(struct bench *b)
{
	struct net_load *l = b->priv;

	virtio_net_poll(l->net, 0, POLL_BATCH);
	count_sent(b, l);
}

static int net_open(struct bench *b, struct vdpa_error *err)
{
	struct net_load *l = calloc(1, sizeof(*l));
	struct virtio_net_info info;
	struct probe *p;

	b->priv = l;
	if (!l)
		return vdpa_error_set(err, ENOMEM, NULL, "no memory for the load");
	l->net = virtio_net_of(b->dev);
	if (!l->net)
		return vdpa_error_set(err, ENODEV, virtio_name(b->dev), "is no NIC");
	virtio_net_get_info(l->net, &info);
	if (b->opt->size > info.max_frame || b->opt->size < sizeof(*p))
		return vdpa_error_set(err, EINVAL, virtio_name(b->dev),
				      "frames of %llu bytes: %zu to %zu are allowed",
				      (unsigned long long)b->opt->size, sizeof(*p), info.max_frame);
	l->frame = calloc(1, b->opt->size);
	if (!l->frame)
		return vdpa_error_set(err, ENOMEM, NULL, "no memory for a frame");
	p = (void *)l->frame;
	memset(p->dst, 0xff, sizeof(p->dst));
	if (info.has_mac) {
		memcpy(p->dst, info.mac, sizeof(p->dst));
		memcpy(p->src, info.mac, sizeof(p->src));
	}
	p->type = htobe16(ETHERTYPE_LOCAL);
	p->magic = htobe32(MAGIC);
	virtio_net_on_receive(l->net, received, b);
	return 0;
}

static void net_close(struct bench *b)
{
	struct net_load *l = b->priv;

	if (l)
		free(l->frame);
	free(l);
}

const struct bench_ops bench_net_ops = {
	.open = net_open,
	.submit = net_submit,
	.kick = net_kick,
	.poll = net_poll,
	.close = net_close,
};
