// SPDX-License-Identifier: BSD-3-Clause
/* virtio-net over virtio-vdpa, on a NIC that loops frames back, in one buffer or in many, honestly
 * or not. */
#include "virtio_test.h"

/* What the NIC does with a frame that it is given. */
struct nic {
	struct fake *fake;
	uint16_t say_buffers; /* 0: the truth */
	size_t piece;	      /* bytes of each receive buffer that it fills; 0: all */
	uint32_t say_len;     /* 0: the truth */
	uint8_t flags;
	unsigned sent;
	/* Receive buffers that wait. */
	struct {
		uint16_t head;
		struct iovec iov;
	} rx[64];
	unsigned nrx;
	/* Frames that it has taken, and not given back. */
	uint16_t held[128];
	unsigned nheld;
};

static void rx_fill(struct nic *nic, const uint8_t *frame, size_t len)
{
	struct fake_vq *vq = &nic->fake->vqs[0];
	struct virtio_net_hdr_v1 hdr = {.flags = nic->flags};
	static uint8_t whole[70000];
	size_t total = sizeof(hdr) + len, off = 0;
	unsigned n = 0, used[64];
	uint32_t lens[64];

	if (len > 66000)
		abort();
	memcpy(whole, &hdr, sizeof(hdr));
	memcpy(whole + sizeof(hdr), frame, len);
	while (off < total && nic->nrx) {
		struct iovec iov = nic->rx[--nic->nrx].iov;
		size_t room = nic->piece && nic->piece < iov.iov_len ? nic->piece : iov.iov_len;
		size_t part = total - off < room ? total - off : room;

		memcpy(iov.iov_base, whole + off, part);
		if (!n) {
			/* Not aligned for the type in general: written byte by byte below. */
			hdr.num_buffers = 0;
		}
		used[n] = nic->rx[nic->nrx].head;
		lens[n++] = (uint32_t)part;
		off += part;
		if (n == 1)
			nic->rx[63].iov = iov; /* the first, for num_buffers */
	}
	assert_int_equal(off, total);
	hdr.num_buffers = nic->say_buffers ? nic->say_buffers : (uint16_t)n;
	if (nic->say_buffers == 0xffff)
		hdr.num_buffers = 0;
	memcpy((uint8_t *)nic->rx[63].iov.iov_base +
		       offsetof(struct virtio_net_hdr_v1, num_buffers),
	       &hdr.num_buffers, 2);
	for (unsigned i = 0; i < n; i++)
		fake_push(nic->fake, vq, used[i], nic->say_len ? nic->say_len : lens[i]);
	fake_call(vq);
}

static int64_t nic_handle(struct fake *fake, struct fake_vq *vq, struct fake_req *req)
{
	struct nic *nic = fake->user;
	uint8_t frame[70000];
	size_t len = 0;

	if (vq->idx == 0) {
		nic->rx[nic->nrx].head = req->head;
		nic->rx[nic->nrx++].iov = req->in[0];
		return -1;
	}
	for (unsigned i = 0; i < req->nout; i++) {
		memcpy(frame + len, req->out[i].iov_base, req->out[i].iov_len);
		len += req->out[i].iov_len;
	}
	nic->sent++;
	if (nic->nrx)
		rx_fill(nic, frame + sizeof(struct virtio_net_hdr_v1),
			len - sizeof(struct virtio_net_hdr_v1));
	return 0;
}

struct rig {
	struct vdpa_ctx *ctx;
	struct nic nic;
	struct virtio_device *dev;
	struct virtio_net *net;
	bool poll;
	/* Received. */
	unsigned packets;
	uint8_t last[70000];
	size_t last_len;
	struct virtio_net_offload offload;
};

static void received(void *arg, unsigned pair, const struct virtio_net_packet *pkt)
{
	struct rig *rig = arg;
	size_t off = 0;

	rig->packets++;
	for (unsigned i = 0; i < pkt->niov; i++) {
		memcpy(rig->last + off, pkt->iov[i].iov_base, pkt->iov[i].iov_len);
		off += pkt->iov[i].iov_len;
	}
	assert_int_equal(off, pkt->len);
	rig->last_len = off;
	rig->offload = pkt->offload;
}

static void up(struct rig *rig, uint64_t features, bool poll, unsigned workers)
{
	struct vdpa_attr attrs[] = {{"mode", poll ? "poll" : "callback"}, {0}};
	struct virtio_net_config config = {
		.mac = {2, 0, 0, 0, 0, 7}, .status = VIRTIO_NET_S_LINK_UP, .mtu = 1500};
	struct fake_opts opts = {
		.id = VIRTIO_ID_NET,
		.nvqs = 2,
		.async = workers > 0,
		.features = FAKE_BASE_FEATURES | VDPA_BIT(VIRTIO_NET_F_MAC) |
			    VDPA_BIT(VIRTIO_NET_F_STATUS) | VDPA_BIT(VIRTIO_NET_F_MTU) | features,
	};

	memset(rig, 0, sizeof(*rig));
	rig->ctx = ctx_new(workers);
	rig->poll = poll;
	rig->nic.fake = fake_new(rig->ctx, "n0", &opts);
	rig->nic.fake->user = &rig->nic;
	rig->nic.fake->handle = nic_handle;
	memcpy(rig->nic.fake->config, &config, sizeof(config));
	rig->dev = fake_bind(rig->nic.fake, attrs);
	fake_until(rig->ctx, (rig->net = virtio_net_of(rig->dev)) &&
				     virtio_get_status(rig->dev) & VIRTIO_CONFIG_S_DRIVER_OK);
	virtio_net_on_receive(rig->net, received, rig);
}

static void down(struct rig *rig)
{
	assert_int_equal(rig->nic.fake->faults, 0);
	fake_unbind(rig->nic.fake);
	assert_int_equal(rig->nic.fake->nmaps, 0);
	fake_del(rig->nic.fake);
	ctx_del(rig->ctx);
}

static void pump(struct rig *rig)
{
	if (rig->poll)
		virtio_net_poll(rig->net, 0, 16);
	vdpa_loop_run_once(vdpa_ctx_control(rig->ctx), rig->poll ? 0 : 1000000);
}

static void pump_until(struct rig *rig, const unsigned *counter, unsigned value)
{
	for (uint64_t end = vdpa_clock_ns() + PATIENCE_NS;
	     *counter < value && vdpa_clock_ns() < end;)
		pump(rig);
	assert_int_equal(*counter, value);
}

static int send_frame(struct rig *rig, const uint8_t *frame, size_t len)
{
	/* In two pieces, so that gathering is used. */
	struct iovec iov[2] = {
		{.iov_base = (void *)(uintptr_t)frame, .iov_len = len / 3},
		{.iov_base = (void *)(uintptr_t)(frame + len / 3), .iov_len = len - len / 3},
	};
	int r = virtio_net_send(rig->net, 0, iov, 2, NULL);

	virtio_net_kick(rig->net, 0);
	return r;
}

/* ---- echo ---- */

static void echo(uint64_t features, bool poll, unsigned workers, size_t piece)
{
	static struct rig rig;
	struct virtio_net_stats stats;
	uint8_t frame[1518];
	uint64_t bytes = 0;

	up(&rig, features, poll, workers);
	rig.nic.piece = piece;
	for (unsigned i = 0; i < 200; i++) {
		size_t len = 14 + i * 37 % 1501;

		fill_pattern(frame, len, i);
		assert_int_equal(send_frame(&rig, frame, len), 0);
		pump_until(&rig, &rig.packets, i + 1);
		assert_int_equal(rig.last_len, len);
		assert_memory_equal(rig.last, frame, len);
		bytes += len;
	}
	virtio_net_get_stats(rig.net, 0, &stats);
	assert_int_equal(stats.tx_packets, 200);
	assert_int_equal(stats.rx_packets, 200);
	assert_int_equal(stats.rx_bytes, bytes);
	assert_int_equal(stats.tx_bytes, bytes);
	assert_int_equal(stats.rx_errors + stats.rx_dropped, 0);
	fake_until(rig.ctx,
		   (virtio_net_poll(rig.net, 0, 1), !virtio_net_tx_outstanding(rig.net, 0)));
	down(&rig);
}

static void test_echo(void **state)
{
	uint64_t mrg = VDPA_BIT(VIRTIO_NET_F_MRG_RXBUF);

	echo(0, false, 0, 0);
	echo(0, true, 0, 0);
	echo(0, false, 1, 0);
	echo(mrg, false, 0, 0);
	echo(mrg, true, 1, 256);
	echo(mrg, false, 1, 100); /* up to 16 buffers for a frame */
}

/* ---- configuration ---- */

static void note_change(void *arg)
{
	++*(unsigned *)arg;
}

static void test_info(void **state)
{
	static struct rig rig;
	struct virtio_net_config *config;
	struct virtio_net_info info;
	unsigned changes = 0;

	up(&rig, VDPA_BIT(VIRTIO_NET_F_MRG_RXBUF), false, 0);
	virtio_net_get_info(rig.net, &info);
	assert_true(info.has_mac && info.link_up && info.mergeable);
	assert_int_equal(info.mac[5], 7);
	assert_int_equal(info.mtu, 1500);
	assert_int_equal(info.max_frame, 1518);
	assert_int_equal(info.queue_size, 64);
	virtio_net_on_change(rig.net, note_change, &changes);
	config = (void *)rig.nic.fake->config;
	config->status = 0;
	rig.nic.fake->config_cb.callback(rig.nic.fake->config_cb.priv);
	pump_until(&rig, &changes, 1);
	virtio_net_get_info(rig.net, &info);
	assert_false(info.link_up);
	down(&rig);
}

/* ---- sending ---- */

static void test_send_refused(void **state)
{
	static struct rig rig;
	static uint8_t frame[70000];
	struct iovec iov = {frame, 100};
	struct virtio_net_offload csum = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16};
	struct virtio_net_offload gso = csum, odd = {.flags = 0x80};

	gso.gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
	gso.gso_size = 1448;
	up(&rig, 0, false, 0);
	assert_int_equal(send_frame(&rig, frame, 1519), -EMSGSIZE);
	assert_int_equal(send_frame(&rig, frame, 0), -EINVAL);
	assert_int_equal(virtio_net_send(rig.net, 1, &iov, 1, NULL), -EINVAL);
	assert_int_equal(virtio_net_send(rig.net, 0, &iov, 1, &csum), -EOPNOTSUPP);
	down(&rig);

	up(&rig, VDPA_BIT(VIRTIO_NET_F_CSUM), false, 0);
	assert_int_equal(virtio_net_send(rig.net, 0, &iov, 1, &csum), 0);
	assert_int_equal(virtio_net_send(rig.net, 0, &iov, 1, &odd), -EINVAL);
	assert_int_equal(virtio_net_send(rig.net, 0, &iov, 1, &gso), -EOPNOTSUPP);
	csum.csum_start = 90;
	assert_int_equal(virtio_net_send(rig.net, 0, &iov, 1, &csum), -EINVAL);
	down(&rig);

	up(&rig, VDPA_BIT(VIRTIO_NET_F_CSUM) | VDPA_BIT(VIRTIO_NET_F_HOST_TSO4), false, 0);
	iov.iov_len = 65000;
	assert_int_equal(virtio_net_send(rig.net, 0, &iov, 1, &gso), 0);
	gso.gso_size = 0;
	assert_int_equal(virtio_net_send(rig.net, 0, &iov, 1, &gso), -EINVAL);
	gso.gso_type = 0x77;
	assert_int_equal(virtio_net_send(rig.net, 0, &iov, 1, &gso), -EINVAL);
	down(&rig);
}

static int64_t swallow(struct fake *fake, struct fake_vq *vq, struct fake_req *req)
{
	return -1;
}

static void test_send_full(void **state)
{
	static struct rig rig;
	struct virtio_net_stats stats;
	uint8_t frame[60] = {0};

	up(&rig, 0, false, 0);
	rig.nic.fake->handle = swallow;
	for (unsigned i = 0; i < 65; i++)
		assert_int_equal(send_frame(&rig, frame, 60), i < 64 ? 0 : -ENOSPC);
	virtio_net_get_stats(rig.net, 0, &stats);
	assert_int_equal(stats.tx_full, 1);
	assert_int_equal(virtio_net_tx_outstanding(rig.net, 0), 64);
	down(&rig);
}

struct room {
	struct rig *rig;
	unsigned calls, sent;
};

static void has_room(void *arg, unsigned pair)
{
	struct room *room = arg;
	uint8_t frame[60] = {0};

	assert_int_equal(pair, 0);
	room->calls++;
	while (!send_frame(room->rig, frame, 60))
		room->sent++;
}

static int64_t swallow_counted(struct fake *fake, struct fake_vq *vq, struct fake_req *req)
{
	struct nic *nic = fake->user;

	if (vq->idx == 1)
		nic->held[nic->nheld++ % 128] = req->head;
	return -1;
}

/* The device gives the first buffers back: who was refused is told, once, and may send at once. */
static void room_again(bool poll)
{
	static struct rig rig;
	struct room room = {.rig = &rig};
	uint8_t frame[60] = {0};

	up(&rig, 0, poll, 0);
	rig.nic.fake->handle = swallow_counted;
	virtio_net_on_room(rig.net, has_room, &room);
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(send_frame(&rig, frame, 60), 0);
	pump_until(&rig, &rig.nic.nheld, 64);
	for (unsigned i = 0; i < 16; i++)
		fake_push(rig.nic.fake, &rig.nic.fake->vqs[1], rig.nic.held[i], 0);
	fake_call(&rig.nic.fake->vqs[1]);
	for (unsigned i = 0; i < 100; i++)
		pump(&rig);
	assert_int_equal(room.calls, 0); /* nobody was refused */

	for (unsigned i = 0; i < 17; i++)
		assert_int_equal(send_frame(&rig, frame, 60), i < 16 ? 0 : -ENOSPC);
	pump_until(&rig, &rig.nic.nheld, 80);
	for (unsigned i = 16; i < 48; i++)
		fake_push(rig.nic.fake, &rig.nic.fake->vqs[1], rig.nic.held[i], 0);
	fake_call(&rig.nic.fake->vqs[1]);
	pump_until(&rig, &room.sent, 32);
	assert_int_equal(room.calls, 1);
	down(&rig);
}

static void test_room_again(void **state)
{
	room_again(false);
	room_again(true);
}

/* ---- hostile ---- */

/* One bad packet is counted and dropped, and the next one arrives. */
static void bad_packet(uint64_t features, uint16_t say_buffers, uint32_t say_len)
{
	static struct rig rig;
	struct virtio_net_stats stats = {0};
	uint8_t frame[60] = {1, 2, 3};

	up(&rig, features, true, 0);
	rig.nic.say_buffers = say_buffers;
	rig.nic.say_len = say_len;
	assert_int_equal(send_frame(&rig, frame, 60), 0);
	for (unsigned i = 0; i < 100000 && !stats.rx_errors; i++) {
		pump(&rig);
		virtio_net_get_stats(rig.net, 0, &stats);
	}
	assert_int_equal(stats.rx_errors, 1);
	assert_int_equal(rig.packets, 0);
	rig.nic.say_buffers = 0;
	rig.nic.say_len = 0;
	assert_int_equal(send_frame(&rig, frame, 60), 0);
	pump_until(&rig, &rig.packets, 1);
	assert_memory_equal(rig.last, frame, 60);
	assert_false(virtio_is_broken(rig.dev));
	down(&rig);
}

static void test_bad_packets(void **state)
{
	uint64_t mrg = VDPA_BIT(VIRTIO_NET_F_MRG_RXBUF);

	bad_packet(mrg, 0xffff, 0); /* no buffers */
	bad_packet(mrg, 1000, 0);   /* more than the queue has */
	bad_packet(mrg, 0, 11);	    /* shorter than a header */
	bad_packet(0, 0, 5);
	bad_packet(0, 0, 12); /* a header, and no frame */
}

/* Lengths beyond the buffer break the queue; the device is reset, and can be attached again. */
static void test_length_beyond(void **state)
{
	static struct rig rig;
	struct outcome o = {0};
	uint8_t frame[60] = {0};

	up(&rig, VDPA_BIT(VIRTIO_NET_F_MRG_RXBUF), false, 1);
	rig.nic.say_len = 100000;
	assert_int_equal(send_frame(&rig, frame, 60), 0);
	fake_until(rig.ctx, virtio_is_broken(rig.dev));
	fake_until(rig.ctx, virtio_reset(rig.dev, &(struct vdpa_done){set_outcome, &o}) == 0);
	fake_until(rig.ctx, o.done);
	assert_int_equal(rig.packets, 0);
	rig.nic.say_len = 0;
	rig.nic.nrx = 0;
	assert_int_equal(virtio_attach(rig.dev, NULL, NULL), 0);
	rig.net = virtio_net_of(rig.dev);
	virtio_net_on_receive(rig.net, received, &rig);
	assert_int_equal(send_frame(&rig, frame, 60), 0);
	/* The receive buffers may come to the device after the frame: then it has none for it. */
	for (unsigned i = 0; i < 50 && !rig.packets; i++) {
		pump(&rig);
		send_frame(&rig, frame, 60);
	}
	assert_true(rig.packets > 0);
	down(&rig);
}

/* Promised buffers that never come: the packet waits, nothing else happens, and unbinding is clean.
 */
static void test_unfinished_packet(void **state)
{
	static struct rig rig;
	uint8_t frame[60] = {0};

	up(&rig, VDPA_BIT(VIRTIO_NET_F_MRG_RXBUF), true, 0);
	rig.nic.say_buffers = 3;
	assert_int_equal(send_frame(&rig, frame, 60), 0);
	for (unsigned i = 0; i < 1000; i++)
		pump(&rig);
	assert_int_equal(rig.packets, 0);
	down(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_echo),	      cmocka_unit_test(test_info),
		cmocka_unit_test(test_send_refused),  cmocka_unit_test(test_send_full),
		cmocka_unit_test(test_room_again),    cmocka_unit_test(test_bad_packets),
		cmocka_unit_test(test_length_beyond), cmocka_unit_test(test_unfinished_packet),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
