// SPDX-License-Identifier: BSD-3-Clause
#include "testdisk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <uvdpa/compat.h>

#define SECTOR 512u
#define TICK_NS 200000ull

struct held {
	struct vringh_chain *chain;
	struct held *next;
	uint64_t since_ns;
};

struct queue {
	struct testdisk *disk;
	struct vdpa_soft_vq *vq;
	struct vdpa_loop_timer timer;
	struct held *first, **last;
};

struct testdisk {
	struct vdpa_soft soft;
	uint8_t *data;
	size_t bytes;
	_Atomic uint64_t delay_us;
	_Atomic unsigned out;
	uint8_t announced[6];
	bool net, stuck;
};

static struct testdisk *to_disk(struct vdpa_soft *soft)
{
	return (struct testdisk *)(void *)soft;
}

/* One request of virtio-blk; its status byte is the last byte of the writable part. */
static uint32_t handle(struct testdisk *d, const struct vringh_chain *chain)
{
	struct virtio_blk_outhdr hdr;
	uint8_t status = VIRTIO_BLK_S_OK;
	uint64_t off, len;

	if (d->net)
		return 0;
	if (vringh_iov_pull(chain, 0, &hdr, sizeof(hdr)) != sizeof(hdr) || !chain->in_len)
		return 0;
	off = le64toh(hdr.sector) * SECTOR;
	len = le32toh(hdr.type) == VIRTIO_BLK_T_OUT ? chain->out_len - sizeof(hdr)
						    : chain->in_len - 1;
	if (off > d->bytes || len > d->bytes - off)
		status = VIRTIO_BLK_S_IOERR;
	else if (le32toh(hdr.type) == VIRTIO_BLK_T_OUT)
		vringh_iov_pull(chain, sizeof(hdr), d->data + off, len);
	else if (le32toh(hdr.type) == VIRTIO_BLK_T_IN)
		vringh_iov_push(chain, 0, d->data + off, len);
	else if (le32toh(hdr.type) != VIRTIO_BLK_T_FLUSH)
		status = VIRTIO_BLK_S_UNSUPP;
	vringh_iov_push(chain, chain->in_len - 1, &status, 1);
	return (uint32_t)chain->in_len;
}

static void end_first(struct queue *q, bool cancel)
{
	struct held *h = q->first;

	q->first = h->next;
	if (!q->first)
		q->last = &q->first;
	if (cancel)
		vdpa_soft_cancel(q->vq, h->chain);
	else
		vdpa_soft_complete(q->vq, h->chain, handle(q->disk, h->chain));
	atomic_fetch_sub(&q->disk->out, 1);
	free(h);
}

static void tick(struct vdpa_loop_timer *timer)
{
	struct queue *q = (struct queue *)(void *)((char *)timer - offsetof(struct queue, timer));
	uint64_t delay = atomic_load(&q->disk->delay_us), now = vdpa_clock_ns();
	bool any = false;

	while (q->first && delay != ~0ull && now - q->first->since_ns >= delay * 1000) {
		end_first(q, false);
		any = true;
	}
	if (any)
		vdpa_soft_flush(q->vq);
	if (q->first)
		vdpa_loop_timer_set(vdpa_soft_vq_loop(q->vq), timer, now + TICK_NS, tick);
}

static bool run(struct vdpa_soft *dev, struct vdpa_soft_vq *vq, unsigned budget)
{
	struct queue *q = vdpa_soft_vq_get_priv(vq);
	struct vringh_chain *chains[16];
	unsigned n = vdpa_soft_getdesc(vq, chains, budget < 16 ? budget : 16);

	for (unsigned i = 0; i < n; i++) {
		struct held *h = calloc(1, sizeof(*h));

		if (!h)
			abort();
		h->chain = chains[i];
		h->since_ns = vdpa_clock_ns();
		*q->last = h;
		q->last = &h->next;
		atomic_fetch_add(&q->disk->out, 1);
	}
	tick(&q->timer);
	return n > 0;
}

static int start(struct vdpa_soft *dev, struct vdpa_soft_vq *vq)
{
	struct queue *q = calloc(1, sizeof(*q));

	if (!q)
		return -ENOMEM;
	q->disk = to_disk(dev);
	q->vq = vq;
	q->last = &q->first;
	vdpa_soft_vq_set_priv(vq, q);
	return 0;
}

static void stop(struct vdpa_soft *dev, struct vdpa_soft_vq *vq)
{
	struct queue *q = vdpa_soft_vq_get_priv(vq);

	while (!q->disk->stuck && vdpa_soft_vq_cancelling(vq) && q->first)
		end_first(q, true);
}

static void stopped(struct vdpa_soft *dev, struct vdpa_soft_vq *vq)
{
	struct queue *q = vdpa_soft_vq_get_priv(vq);

	vdpa_loop_timer_cancel(&q->timer);
	free(q);
	vdpa_soft_vq_set_priv(vq, NULL);
}

static void config_write(struct vdpa_soft *dev, unsigned offset, const void *buf, unsigned len)
{
	/* Only the write-cache byte is writable. */
	if (!to_disk(dev)->net && len == 1 && offset == offsetof(struct virtio_blk_config, wce))
		vdpa_soft_config_set(dev, offset, buf, len);
}

static int announce(struct vdpa_soft *dev, const uint8_t mac[6])
{
	memcpy(to_disk(dev)->announced, mac, 6);
	return 0;
}

static void disk_free(struct vdpa_soft *dev)
{
	struct testdisk *d = to_disk(dev);

	munmap(d->data, d->bytes);
}

static const struct vdpa_soft_ops ops = {
	.size = sizeof(ops),
	.run = run,
	.start = start,
	.stop = stop,
	.stopped = stopped,
	.config_write = config_write,
	.announce = announce,
	.free = disk_free,
};

static int map_data(struct testdisk *d, const struct testdisk_params *p)
{
	int fd = -1, flags = MAP_PRIVATE | MAP_ANONYMOUS;

	if (p->file) {
		fd = open(p->file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		if (fd < 0 || ftruncate(fd, (off_t)p->bytes))
			return -errno;
		flags = MAP_SHARED;
	}
	d->bytes = p->bytes;
	d->data = mmap(NULL, p->bytes, PROT_READ | PROT_WRITE, flags, fd, 0);
	if (fd >= 0)
		close(fd);
	return d->data == MAP_FAILED ? -errno : 0;
}

int testdisk_new(struct vdpa_ctx *ctx, const struct testdisk_params *p, struct testdisk **out,
		 struct vdpa_error *err)
{
	struct virtio_blk_config blk = {.capacity = htole64(p->bytes / SECTOR), .wce = 1};
	struct virtio_net_config net = {.mac = {2, 0, 0, 0, 0, 1}, .mtu = htole16(1500)};
	bool is_net = p->device_id == VIRTIO_ID_NET;
	struct vdpa_soft_params params = {
		.size = sizeof(params),
		.struct_size = sizeof(struct testdisk),
		.ops = &ops,
		.name = "t0",
		.parent = "test",
		.device_id = p->device_id,
		.features =
			is_net ? VDPA_BIT(VIRTIO_NET_F_MTU) | VDPA_BIT(VIRTIO_NET_F_MQ) |
					 VDPA_BIT(VIRTIO_NET_F_CTRL_VQ)
			       : VDPA_BIT(VIRTIO_BLK_F_FLUSH) | VDPA_BIT(VIRTIO_BLK_F_CONFIG_WCE),
		.nvqs = p->nvqs,
		.config = is_net ? (const void *)&net : (const void *)&blk,
		.config_bytes = p->no_config ? 0
				: is_net     ? sizeof(net)
					     : sizeof(blk),
		.map = p->set_map ? VDPA_SOFT_SET_MAP : VDPA_SOFT_DMA_MAP,
		.stop_timeout_ns = (p->stop_ms ? p->stop_ms : 20000u) * 1000000ull,
	};
	struct testdisk *d = vdpa_soft_alloc(ctx, &params, err);
	int ret;

	if (!d)
		return -ENOMEM;
	d->net = is_net;
	d->stuck = p->stuck;
	ret = map_data(d, p);
	if (!ret)
		ret = vdpa_soft_register(&d->soft, err);
	if (ret) {
		vdpa_put_device(&d->soft.vdpa);
		return ret;
	}
	*out = d;
	return 0;
}

struct vdpa_device *testdisk_device(struct testdisk *disk)
{
	return &disk->soft.vdpa;
}

void testdisk_delay(struct testdisk *disk, uint64_t us)
{
	atomic_store(&disk->delay_us, us);
}

unsigned testdisk_out(struct testdisk *disk)
{
	return atomic_load(&disk->out);
}

const uint8_t *testdisk_announced(struct testdisk *disk)
{
	return disk->announced;
}
