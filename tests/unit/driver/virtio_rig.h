/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The software disk and NIC, driven by the drivers of the virtio bus: in process, or through the
 * vhost-user socket of a back end in another process; in every shape that rings can have. What is
 * checked here holds for all of them.
 */
#ifndef TESTS_VIRTIO_RIG_H
#define TESTS_VIRTIO_RIG_H

#include "driver/vhost_user/protocol.h"
#include "vhost_user_back.h"
#include "../patience.h"
#include "uvdpa-config.h"
#ifdef VDPA_HAVE_VIRTIO_PCI
#include "pci_front.h"
#endif

struct transport {
	const char *name;
	bool vhost_user;
	unsigned workers;
	bool poll;
	const char *map; /* of a vDPA device: how it is told its memory */
	bool iommu;
	uint64_t protocol_off;
	bool pci; /* through vfio-user; and of that: */
	bool by_message, intx, post;
};

/* The device is in another process. */
static inline bool remote(const struct transport *t)
{
	return t->vhost_user || t->pci;
}

/* What the rings look like. Zeroes: all that the device offers. */
struct shape {
	const char *name;
	bool split, any_order, no_event_idx, no_mergeable, no_indirect;
	uint32_t queue_size, indirect_min, piece_bytes, rx_buf_bytes;
};

static inline uint64_t shape_features_off(const struct shape *s, uint32_t id)
{
	uint64_t off = 0;

	if (s->split)
		off |= VDPA_BIT(VIRTIO_F_RING_PACKED);
	if (s->any_order)
		off |= VDPA_BIT(VIRTIO_F_IN_ORDER);
	if (s->no_event_idx)
		off |= VDPA_BIT(VIRTIO_RING_F_EVENT_IDX);
	if (s->no_indirect)
		off |= VDPA_BIT(VIRTIO_RING_F_INDIRECT_DESC);
	if (s->no_mergeable && id == VIRTIO_ID_NET)
		off |= VDPA_BIT(VIRTIO_NET_F_MRG_RXBUF);
	return off;
}

struct rig {
	const struct transport *t;
	struct shape shape;
	struct vdpa_ctx *ctx;
	struct vdpa_device *vdev;
	struct back back;
	struct virtio_device *dev;
};

static inline void up_vdpa(struct rig *rig, const char *mgmtdev, const struct vdpa_attr *attrs)
{
	const struct shape *s = &rig->shape;
	char num[4][16];
	struct vdpa_attr bind[] = {
		{"mode", rig->t->poll ? "poll" : "callback"},
		{"queues", "2"},
		{"packed", s->split ? "off" : "on"},
		{"in_order", s->any_order ? "off" : "on"},
		{"event_idx", s->no_event_idx ? "off" : "on"},
		{"indirect_desc", s->no_indirect ? "off" : "on"},
		{"mrg_rxbuf", s->no_mergeable ? "off" : "on"},
		{"queue_size", num[0]},
		{"indirect_min", num[1]},
		{"piece_bytes", num[2]},
		{"rx_buf_bytes", num[3]},
		{0},
	};
	struct vdpa_error err = {0};

	snprintf(num[0], sizeof(num[0]), "%u", s->queue_size ? s->queue_size : 64);
	snprintf(num[1], sizeof(num[1]), "%u", s->indirect_min ? s->indirect_min : 2);
	snprintf(num[2], sizeof(num[2]), "%u", s->piece_bytes ? s->piece_bytes : UINT32_MAX);
	snprintf(num[3], sizeof(num[3]), "%u", s->rx_buf_bytes ? s->rx_buf_bytes : 2048);

	assert_int_equal(back_device(rig->ctx, mgmtdev, attrs, &rig->vdev), 0);
	if (vdpa_bind(rig->vdev, "virtio-vdpa", bind, &err))
		fail_msg("%s: %s", rig->t->name, err.msg);
	rig->dev = virtio_vdpa_device(rig->vdev);
}

static inline struct virtio_options rig_options(const struct rig *rig, uint32_t id)
{
	const struct shape *s = &rig->shape;

	return (struct virtio_options){
		.size = sizeof(struct virtio_options),
		.queues = 2,
		.poll = rig->t->poll,
		.queue_size = s->queue_size,
		.features_off = shape_features_off(s, id),
		.indirect_min = s->indirect_min,
		.piece_bytes = s->piece_bytes,
		.rx_buf_bytes = s->rx_buf_bytes,
	};
}

static inline void up_vhost_user(struct rig *rig, const char *mgmtdev, uint32_t id,
				 const struct vdpa_attr *attrs)
{
	struct virtio_options options = rig_options(rig, id);
	struct vhost_user_frontend_config config = {
		.path = rig->back.path,
		.device_id = id,
		.options = &options,
		.iommu = rig->t->iommu,
		.protocol_features_off = rig->t->protocol_off,
	};

	back_start(&rig->back, mgmtdev, attrs, rig->t->workers);
	assert_int_equal(front_connect(rig->ctx, &config, &rig->dev), 0);
}

#ifdef VDPA_HAVE_VIRTIO_PCI
/* Connects as soon as it listens. */
static inline void pci_connect(struct rig *rig, uint32_t id)
{
	struct virtio_options options = rig_options(rig, id);
	struct pci_front_config config = {
		.path = rig->back.path,
		.options = &options,
		.by_message = rig->t->by_message,
		.intx = rig->t->intx,
		.post = rig->t->post,
	};
	struct vdpa_error err = {0};
	int r = -ENOENT;

	for (unsigned i = 0; i < 6000 && (r == -ENOENT || r == -ECONNREFUSED); i++) {
		if (i)
			usleep(10000);
		r = pci_front_new(rig->ctx, &config, &rig->dev, &err);
	}
	if (r)
		fail_msg("%s: %s: %s", rig->t->name, strerror(-r), err.msg);
	/* Else the doorbells would not be of the kind that is tested. */
	assert_int_equal(pci_front_has_ioeventfd(rig->dev, 0), !rig->t->post);
}

static inline void up_pci(struct rig *rig, const char *mgmtdev, uint32_t id,
			  const struct vdpa_attr *attrs)
{
	rig->back.driver = "virtio-pci";
	back_start(&rig->back, mgmtdev, attrs, rig->t->workers);
	pci_connect(rig, id);
}

static inline void down_pci(struct rig *rig)
{
	bool done = false;

	pci_front_free(rig->dev, &(struct vdpa_done){set_flag, &done});
	fake_until(rig->ctx, done);
	back_kill(&rig->back);
}
#else
static inline void up_pci(struct rig *rig, const char *mgmtdev, uint32_t id,
			  const struct vdpa_attr *attrs)
{
}

static inline void down_pci(struct rig *rig)
{
}
#endif

static inline void up_shaped(struct rig *rig, const struct transport *t, const struct shape *shape,
			     uint32_t id)
{
	bool disk = id == VIRTIO_ID_BLOCK;
	const char *map = t->map ? t->map : "dma_map";
	struct vdpa_attr blk[] = {
		{"backend", "ram"}, {"size", "4M"}, {"num_queues", "2"}, {"dma", map}, {0}};
	struct vdpa_attr net[] = {{"backend", "loopback"}, {"dma", map}, {0}};
	const char *mgmtdev = disk ? "soft_blk" : "soft_net";
	struct vdpa_ctx_config config = {
		.size = sizeof(config),
		.workers = remote(t) ? 0 : t->workers,
		.log = {.fn = log_line, .level = VDPA_LOG_WARN},
	};

	*rig = (struct rig){.t = t};
	if (shape)
		rig->shape = *shape;
	/* The child is made before there are threads. */
	assert_int_equal(vdpa_ctx_new(&config, &rig->ctx), 0);
	assert_int_equal(vdpa_register_builtin(rig->ctx), 0);
	if (t->pci)
		up_pci(rig, mgmtdev, id, disk ? blk : net);
	else if (t->vhost_user)
		up_vhost_user(rig, mgmtdev, id, disk ? blk : net);
	else
		up_vdpa(rig, mgmtdev, disk ? blk : net);
	fake_until(rig->ctx, virtio_driver_name(rig->dev) &&
				     virtio_get_status(rig->dev) & VIRTIO_CONFIG_S_DRIVER_OK);
}

static inline void down(struct rig *rig)
{
	bool done = false;

	if (rig->t->pci) {
		down_pci(rig);
	} else if (rig->t->vhost_user) {
		front_free(rig->ctx, rig->dev);
		back_kill(&rig->back);
	} else {
		assert_int_equal(vdpa_unbind(rig->vdev, &(struct vdpa_done){set_flag, &done}), 0);
		fake_until(rig->ctx, done);
		done = false;
		assert_int_equal(
			vdpa_dev_del(rig->vdev, &(struct vdpa_done){set_flag, &done}, NULL), 0);
		fake_until(rig->ctx, done);
	}
	/* A worker may still hold the device for a moment. */
	fake_until(rig->ctx, vdpa_ctx_free(rig->ctx) == 0);
}

/* ---- what must work ---- */

static inline void check_disk(struct rig *rig)
{
	struct virtio_blk *blk = virtio_blk_of(rig->dev);
	static uint8_t out[3 << 20], in[3 << 20];
	struct virtio_blk_info info;
	char id[21];

	assert_non_null(blk);
	virtio_blk_get_info(blk, &info);
	assert_int_equal(info.capacity_sectors, (4 << 20) / 512);
	fill_pattern(out, sizeof(out), 5);
	/* Larger than one request of the helper. */
	assert_int_equal(virtio_blk_write(blk, 512, out, sizeof(out)), 0);
	assert_int_equal(virtio_blk_flush(blk), 0);
	assert_int_equal(virtio_blk_read(blk, 512, in, sizeof(in)), 0);
	assert_memory_equal(in, out, sizeof(in));
	assert_int_equal(virtio_blk_get_id(blk, id), 0);
	if (info.write_zeroes) {
		assert_int_equal(virtio_blk_write_zeroes(blk, 520, 8, true), 0);
		assert_int_equal(virtio_blk_read(blk, 512, in, 32 * 512), 0);
		memset(out + 8 * 512, 0, 8 * 512);
		assert_memory_equal(in, out, 32 * 512);
	}
	if (info.discard)
		assert_int_equal(virtio_blk_discard(blk, 0, 64), 0);
	assert_int_equal(virtio_blk_read(blk, info.capacity_sectors, in, 512), -EINVAL);
	assert_false(virtio_is_broken(rig->dev));
}

/* Load on two queues. */
#define DEPTH 24
#define ROUNDS 40

struct io {
	struct virtio_blk_request req;
	struct virtio_blk *blk;
	struct virtqueue_sg sg[3];
	uint8_t *mem;
	unsigned queue, slot, n;
	bool bad, idle;
};

static inline void io_next(struct io *io);

static inline void io_done(struct virtio_blk_request *req, int result)
{
	struct io *io = vdpa_container_of(req, struct io, req);
	uint8_t expect[4096];

	fill_pattern(expect, sizeof(expect), io->n / 2 + io->slot * 100);
	if (result || memcmp(io->mem, expect, sizeof(expect)))
		io->bad = true;
	io->n++;
	io_next(io);
}

/* Odd rounds read back what the even ones wrote, in pieces of uneven lengths. */
static inline void io_next(struct io *io)
{
	bool write = io->n % 2 == 0;

	io->idle = io->n == 2 * ROUNDS;
	if (io->idle)
		return;
	memset(io->mem, 0, 4096);
	if (write)
		fill_pattern(io->mem, 4096, io->n / 2 + io->slot * 100);
	io->req = (struct virtio_blk_request){
		.type = write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN,
		.sector = (io->queue * DEPTH + io->slot) * 8,
		.sg = io->sg,
		.nsg = 3,
		.done = io_done,
	};
	if (virtio_blk_submit(io->blk, io->queue, &io->req))
		io->bad = io->idle = true;
}

static inline void io_init(struct rig *rig, struct io *io, unsigned queue, unsigned slot)
{
	iova_t iova;

	*io = (struct io){.blk = virtio_blk_of(rig->dev), .queue = queue, .slot = slot};
	io->mem = virtio_mem_alloc(rig->dev, 4096, &iova);
	assert_non_null(io->mem);
	io->sg[0] = (struct virtqueue_sg){iova, 1000};
	io->sg[1] = (struct virtqueue_sg){iova + 1000, 1};
	io->sg[2] = (struct virtqueue_sg){iova + 1001, 3095};
}

static inline void io_start(struct rig *rig, struct io *io, unsigned queue, unsigned slot)
{
	io_init(rig, io, queue, slot);
	io_next(io);
}

static inline bool io_pump(struct rig *rig, struct io *io, unsigned queues)
{
	struct virtio_blk *blk = virtio_blk_of(rig->dev);
	bool busy = false;

	for (unsigned q = 0; q < queues; q++) {
		if (rig->t->poll) {
			virtio_blk_poll(blk, q, 16);
			virtio_blk_kick(blk, q);
		}
		for (unsigned i = 0; i < DEPTH; i++)
			busy |= !io[q * DEPTH + i].idle;
	}
	if (busy)
		vdpa_loop_run_once(vdpa_ctx_control(rig->ctx), rig->t->poll ? 0 : 1000000);
	return busy;
}

static inline void check_load(struct rig *rig)
{
	static struct io io[2 * DEPTH];
	uint64_t end = vdpa_clock_ns() + PATIENCE_NS;
	struct virtio_blk_info info;

	virtio_blk_get_info(virtio_blk_of(rig->dev), &info);
	for (unsigned q = 0; q < info.queues; q++) {
		for (unsigned i = 0; i < DEPTH; i++)
			io_start(rig, &io[q * DEPTH + i], q, i);
		virtio_blk_kick(virtio_blk_of(rig->dev), q);
	}
	while (io_pump(rig, io, info.queues) && vdpa_clock_ns() < end)
		;
	for (unsigned i = 0; i < info.queues * DEPTH; i++) {
		assert_true(io[i].idle);
		assert_false(io[i].bad);
		virtio_mem_free(rig->dev, io[i].mem);
	}
}

struct sink {
	unsigned packets, bad;
	uint8_t expect[1514];
	size_t len;
};

static inline void sink_rx(void *arg, unsigned pair, const struct virtio_net_packet *pkt)
{
	struct sink *sink = arg;
	size_t off = 0;

	sink->packets++;
	if (pkt->len != sink->len)
		sink->bad++;
	for (unsigned i = 0; i < pkt->niov && off < sink->len; i++) {
		size_t n = pkt->iov[i].iov_len;

		if (n > sink->len - off || memcmp(sink->expect + off, pkt->iov[i].iov_base, n))
			sink->bad++;
		off += n;
	}
}

static inline void check_nic(struct rig *rig)
{
	struct virtio_net *net = virtio_net_of(rig->dev);
	static struct sink sink;
	struct virtio_net_info info;

	assert_non_null(net);
	memset(&sink, 0, sizeof(sink));
	virtio_net_get_info(net, &info);
	assert_true(info.link_up);
	virtio_net_on_receive(net, sink_rx, &sink);
	for (unsigned n = 0; n < 300; n++) {
		struct iovec iov = {sink.expect, 60 + n * 53 % 1455};
		uint64_t end = vdpa_clock_ns() + PATIENCE_NS;

		sink.len = iov.iov_len;
		fill_pattern(sink.expect, sink.len, n);
		memcpy(sink.expect, info.mac, 6);
		assert_int_equal(virtio_net_send(net, 0, &iov, 1, NULL), 0);
		virtio_net_kick(net, 0);
		while (sink.packets == n && vdpa_clock_ns() < end) {
			if (rig->t->poll)
				virtio_net_poll(net, 0, 16);
			vdpa_loop_run_once(vdpa_ctx_control(rig->ctx), rig->t->poll ? 0 : 1000000);
		}
		assert_int_equal(sink.packets, n + 1);
	}
	assert_int_equal(sink.bad, 0);
}

#endif
