// SPDX-License-Identifier: BSD-3-Clause
/*
 * Rings of the front end. Size, base and addresses are sent when the driver sets a queue up; the
 * descriptors that start it when the driver says DRIVER_OK, with the in-flight area before them
 * ("Ring states", "Inflight I/O tracking").
 */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include "driver/vhost_user/frontend.h"

static int send_state(struct fe *fe, uint32_t request, uint32_t index, uint32_t num)
{
	struct fe_msg msg = {
		.hdr = {.request = request, .size = sizeof(struct vhost_vring_state)},
	};

	msg.p.state = (struct vhost_vring_state){.index = index, .num = num};
	return fe_set(fe, &msg, NULL, 0);
}

static int send_fd(struct fe *fe, uint32_t request, uint16_t index, int fd)
{
	struct fe_msg msg = {.hdr = {.request = request, .size = 8}};

	msg.p.u64 = fd < 0 ? index | VHOST_USER_VRING_NOFD : index;
	return fe_set(fe, &msg, &fd, fd < 0 ? 0 : 1);
}

static bool is_packed(const struct virtio_vq *vq)
{
	return virtio_has_feature(vq->dev, VIRTIO_F_RING_PACKED);
}

/* "Ring states": what SET_VRING_BASE carries; packed: both places, each with its wrap counter. */
static uint32_t wire_base(const struct virtio_vq *vq, const struct vdpa_vq_state *s)
{
	if (!is_packed(vq))
		return s->split.avail_index;
	return s->packed.last_avail_idx | (uint32_t)s->packed.last_avail_counter << 15 |
	       (uint32_t)s->packed.last_used_idx << 16 |
	       (uint32_t)s->packed.last_used_counter << 31;
}

static uint16_t used_index(const struct virtio_vq *vq)
{
	iova_t desc, driver, device;
	volatile const uint16_t *idx;

	virtqueue_addrs(vq->ring, &desc, &driver, &device);
	idx = (const void *)((const char *)vq->mem + (device - vq->mem_iova) + 2);
	return *idx;
}

/*
 * In poll mode the ring is another thread's, and nothing of it may be looked at here but the memory
 * that the device shares. That is enough for split rings; of packed ones the in-flight area knows
 * more than the base says.
 */
static int polled_state(struct fe *fe, const struct virtio_vq *vq, struct vdpa_vq_state *s)
{
	if (is_packed(vq)) {
		*s = virtqueue_first_state(vq->ring);
		return fe->inflight_fd >= 0 ? 0 : -ENOTSUP;
	}
	*s = (struct vdpa_vq_state){.split.avail_index = used_index(vq)};
	return 0;
}

/* Where a back end that starts anew goes on: where the used ring stands. */
static int restart_base(struct fe *fe, const struct virtio_vq *vq, uint32_t *base)
{
	struct vdpa_vq_state s;
	int r = vq->dev->opts.poll ? polled_state(fe, vq, &s)
				   : virtqueue_device_state(vq->ring, &s);

	*base = wire_base(vq, &s);
	/* The in-flight area tells which requests are open. */
	if (r == -ESTALE && fe->inflight_fd >= 0)
		return 0;
	if (!r)
		return 0;
	virtio_log(&fe->vd, VDPA_LOG_ERR,
		   "queue %u: without requests tracked in flight nobody knows which ones are open",
		   vq->index);
	return -ENOTSUP;
}

static int send_addr(struct fe *fe, const struct virtio_vq *vq)
{
	struct fe_msg msg = {
		.hdr = {.request = VHOST_USER_SET_VRING_ADDR,
			.size = sizeof(struct vhost_vring_addr)},
	};
	iova_t desc, driver, device;
	uint64_t d, a, u;
	gpa_t log = 0;
	int r;

	virtqueue_addrs(vq->ring, &desc, &driver, &device);
	r = fe_ring_addr(fe, desc, &d);
	if (!r)
		r = fe_ring_addr(fe, driver, &a);
	if (!r)
		r = fe_ring_addr(fe, device, &u);
	if (!r)
		r = fe_slot_gpa(fe, device, is_packed(vq) ? 4 : 4 + 8ull * vq->num, &log);
	if (r)
		return r;
	msg.p.addr = (struct vhost_vring_addr){
		.index = vq->index,
		/* So that logging can be switched on while the ring runs. */
		.flags = fe_has(fe, VHOST_USER_PROTOCOL_F_LOG_SHMFD) ? 1u << VHOST_VRING_F_LOG : 0,
		.desc_user_addr = d,
		.used_user_addr = u,
		.avail_user_addr = a,
		.log_guest_addr = log,
	};
	return fe_set(fe, &msg, NULL, 0);
}

static int send_setup(struct fe *fe, const struct virtio_vq *vq, uint32_t base)
{
	int r = send_state(fe, VHOST_USER_SET_VRING_NUM, vq->index, vq->num);

	if (!r)
		r = send_state(fe, VHOST_USER_SET_VRING_BASE, vq->index, base);
	return r ? r : send_addr(fe, vq);
}

/* ---- descriptors ---- */

static void called(struct vdpa_loop_fd *watch, uint32_t revents)
{
	struct fe_ring *ring = vdpa_container_of(watch, struct fe_ring, call_watch);

	(void)revents;
	vdpa_eventfd_drain(ring->call);
	virtio_vq_interrupt(ring->vq);
}

static void failed(struct vdpa_loop_fd *watch, uint32_t revents)
{
	struct fe_ring *ring = vdpa_container_of(watch, struct fe_ring, err_watch);

	(void)revents;
	vdpa_eventfd_drain(ring->err);
	virtio_device_broken(ring->vq->dev, "the back end reports an error of a ring");
}

static int watch(struct fe *fe, struct vdpa_loop_fd *lfd, int *fd,
		 void (*fn)(struct vdpa_loop_fd *lfd, uint32_t revents))
{
	*fd = vdpa_eventfd_new();
	if (*fd < 0)
		return *fd;
	return vdpa_loop_fd_add(vdpa_ctx_control(fe->vd.ctx), lfd, *fd, EPOLLIN, fn);
}

static int ring_open(struct fe *fe, struct fe_ring *ring)
{
	int r = 0;

	ring->kick = vdpa_eventfd_new();
	if (ring->kick < 0)
		return ring->kick;
	/*
	 * Without a callback calls are suppressed, and nobody looks at the descriptor. It is there
	 * because suppression is a hint, and QEMU's back ends give up when they cannot call.
	 */
	if (ring->vq->callback)
		r = watch(fe, &ring->call_watch, &ring->call, called);
	else if ((ring->call = vdpa_eventfd_new()) < 0)
		r = ring->call;
	if (!r)
		r = watch(fe, &ring->err_watch, &ring->err, failed);
	return r;
}

void fe_ring_close(struct fe_ring *ring)
{
	vdpa_loop_fd_del(&ring->call_watch);
	vdpa_loop_fd_del(&ring->err_watch);
	vdpa_fd_close(&ring->kick);
	vdpa_fd_close(&ring->call);
	vdpa_fd_close(&ring->err);
	ring->vq = NULL;
	ring->started = false;
	ring->ready = false;
}

/* ---- in-flight area ---- */

static int inflight_send(struct fe *fe)
{
	struct fe_msg msg = {
		.hdr = {.request = VHOST_USER_SET_INFLIGHT_FD, .size = sizeof(fe->inflight)},
	};

	msg.p.inflight = fe->inflight;
	return fe_set(fe, &msg, &fe->inflight_fd, 1);
}

/* The back end makes the area; we keep it, and never look into it. */
static int inflight_get(struct fe *fe, uint16_t queues, uint16_t size)
{
	static const struct fe_expect expect = {
		.min = VHOST_USER_INFLIGHT_MIN_BYTES,
		.max = sizeof(struct vhost_user_inflight),
		.max_fds = 1,
	};
	struct fe_msg msg = {
		.hdr = {.request = VHOST_USER_GET_INFLIGHT_FD,
			.size = sizeof(struct vhost_user_inflight)},
	};
	int r;

	msg.p.inflight = (struct vhost_user_inflight){.num_queues = queues, .queue_size = size};
	r = fe_get(fe, &msg, &expect);
	if (r)
		return r;
	/* A size of 0 is how the back end says that it failed. */
	if (msg.fds.n != 1 || !vhost_user_inflight_valid(&msg.p.inflight, true, NULL) ||
	    msg.p.inflight.num_queues != queues || msg.p.inflight.queue_size != size) {
		vdpa_fds_close(&msg.fds);
		return -EREMOTEIO;
	}
	memset(&fe->inflight, 0, sizeof(fe->inflight));
	fe->inflight.mmap_size = msg.p.inflight.mmap_size;
	fe->inflight.mmap_offset = msg.p.inflight.mmap_offset;
	fe->inflight.num_queues = queues;
	fe->inflight.queue_size = size;
	fe->inflight_fd = vdpa_fds_take(&msg.fds, 0);
	return 0;
}

static int inflight_start(struct fe *fe)
{
	uint16_t queues = 0, size = 0;
	int r = 0;

	if (!fe_has(fe, VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD))
		return 0;
	/* A queue that is reset may come back larger. */
	if (virtio_has_feature(&fe->vd, VIRTIO_F_RING_RESET))
		size = (uint16_t)fe->queue_size_max;
	for (unsigned i = 0; i < fe->queues; i++) {
		if (!fe->rings[i].ready)
			continue;
		queues = (uint16_t)(i + 1);
		if (fe->rings[i].vq->num > size)
			size = (uint16_t)fe->rings[i].vq->num;
	}
	if (!queues)
		return 0;
	if (fe->inflight_fd < 0)
		r = inflight_get(fe, queues, size);
	return r ? r : inflight_send(fe);
}

/* ---- start and stop ---- */

static int ring_start(struct fe *fe, struct fe_ring *ring)
{
	uint16_t index = ring->vq->index;
	int r = send_fd(fe, VHOST_USER_SET_VRING_ERR, index, ring->err);

	if (!r)
		r = send_fd(fe, VHOST_USER_SET_VRING_CALL, index, ring->call);
	if (!r)
		r = send_fd(fe, VHOST_USER_SET_VRING_KICK, index, ring->kick);
	/* Without protocol features a ring is enabled from the start. */
	if (!r && fe->features >> VHOST_USER_F_PROTOCOL_FEATURES & 1)
		r = send_state(fe, VHOST_USER_SET_VRING_ENABLE, index, 1);
	if (!r)
		ring->started = true;
	return r;
}

int fe_ring_setup(struct fe *fe, struct virtio_vq *vq, struct vdpa_error *err)
{
	struct fe_ring *ring = &fe->rings[vq->index];
	struct vdpa_vq_state first = virtqueue_first_state(vq->ring);
	int r;

	ring->vq = vq;
	r = ring_open(fe, ring);
	if (!r)
		r = send_setup(fe, vq, wire_base(vq, &first));
	if (!r && fe->status & VIRTIO_CONFIG_S_DRIVER_OK)
		r = ring_start(fe, ring);
	if (!r) {
		ring->ready = true;
		return 0;
	}
	fe_ring_close(ring);
	return vdpa_error_set(err, -r, fe->vd.name,
			      "the back end does not take queue %u of %u entries: %s", vq->index,
			      vq->num, strerror(-r));
}

int fe_rings_start(struct fe *fe)
{
	int r = inflight_start(fe);

	for (unsigned i = 0; !r && i < fe->queues; i++) {
		if (fe->rings[i].ready && !fe->rings[i].started)
			r = ring_start(fe, &fe->rings[i]);
	}
	return r;
}

static void ring_stop(struct fe *fe, struct fe_ring *ring)
{
	static const struct fe_expect expect = {
		.min = sizeof(struct vhost_vring_state),
		.max = sizeof(struct vhost_vring_state),
	};
	struct fe_msg msg = {
		.hdr = {.request = VHOST_USER_GET_VRING_BASE,
			.size = sizeof(struct vhost_vring_state)},
	};

	if (fe->features >> VHOST_USER_F_PROTOCOL_FEATURES & 1)
		send_state(fe, VHOST_USER_SET_VRING_ENABLE, ring->vq->index, 0);
	/* Drains the ring: nothing of it is out when the reply comes. */
	msg.p.state.index = ring->vq->index;
	if (!fe_get(fe, &msg, &expect) && msg.p.state.index != ring->vq->index)
		fe_lose(fe, "a reply for another ring");
}

void fe_ring_reset(struct fe *fe, struct virtio_vq *vq)
{
	struct fe_ring *ring = &fe->rings[vq->index];

	if (ring->started && fe->connected)
		ring_stop(fe, ring);
	fe_ring_close(ring);
}

/* Stopped, by the back end's word or because there is none any more. */
void fe_rings_stop(struct fe *fe)
{
	for (unsigned i = 0; i < fe->queues; i++) {
		struct fe_ring *ring = &fe->rings[i];

		if (ring->started && fe->connected)
			ring_stop(fe, ring);
		/* The kick stays open: the driver's thread may be about to use it. */
		vdpa_loop_fd_del(&ring->call_watch);
		vdpa_loop_fd_del(&ring->err_watch);
		ring->started = false;
		ring->ready = false;
	}
	vdpa_fd_close(&fe->inflight_fd);
}

int fe_rings_restore(struct fe *fe)
{
	bool running = fe->status & VIRTIO_CONFIG_S_DRIVER_OK;
	uint32_t base;
	int r = 0;

	for (unsigned i = 0; !r && i < fe->queues; i++) {
		struct fe_ring *ring = &fe->rings[i];

		if (!ring->ready)
			continue;
		ring->started = false;
		r = restart_base(fe, ring->vq, &base);
		if (!r)
			r = send_setup(fe, ring->vq, base);
	}
	if (r || !running)
		return r;
	r = fe_rings_start(fe);
	for (unsigned i = 0; !r && i < fe->queues; i++) {
		/* A kick or a call may have been lost with the old back end. */
		if (!fe->rings[i].ready)
			continue;
		vdpa_eventfd_signal_shared(fe->rings[i].kick);
		virtio_vq_again(fe->rings[i].vq);
	}
	return r;
}
