// SPDX-License-Identifier: BSD-3-Clause
/*
 * Queues. The kernel keeps size, addresses, base and readiness of each, and hands them over when it
 * is asked, at DRIVER_OK. Kicks come by an eventfd of ours; a call is an ioctl, made by the loop
 * that serves the queue.
 *
 * A queue that becomes ready later is announced by nothing but its first kick: for those that are
 * not ready the control thread watches the eventfd.
 *
 * Who attacks: the driver, by addresses, sizes and contents of rings; they are checked by who uses
 * them.
 */
#include "driver/vduse_export/export.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/fd.h"

bool vde_packed(const struct vde *d)
{
	return vdpa_get_driver_features(d->vdev) & VDPA_BIT(VIRTIO_F_RING_PACKED);
}

/* ---- state ---- */

static uint32_t base_of(const struct vde *d, const union vduse_state *state)
{
	const struct vduse_state_packed *p = &state->packed;
	uint32_t avail, used;

	if (!vde_packed(d))
		return state->avail_index;
	avail = (p->last_avail_idx & 0x7fffu) | (p->last_avail_counter & 1u) << 15;
	used = (p->last_used_idx & 0x7fffu) | (p->last_used_counter & 1u) << 15;
	return avail | used << 16;
}

int vde_vring_state(struct vde *d, uint32_t idx, union vduse_state *state)
{
	uint32_t base = 0;
	int ret = idx < d->nvqs ? vhost_vdpa_get_vring_base(d->v, idx, &base) : -EINVAL;

	memset(state, 0, sizeof(*state));
	if (ret)
		return ret;
	if (!vde_packed(d)) {
		state->avail_index = (uint16_t)base;
		return 0;
	}
	state->packed = (struct vduse_state_packed){
		.last_avail_counter = (base >> 15) & 1,
		.last_avail_idx = base & 0x7fff,
		.last_used_counter = (base >> 31) & 1,
		.last_used_idx = (base >> 16) & 0x7fff,
	};
	return 0;
}

/* ---- calls: the queue's loop ---- */

static void call(void *priv)
{
	struct vde_vq *q = priv;
	uint32_t idx = q->idx;

	/* A driver that has just stopped is not there to be told. */
	vde_ioctl(q->d, VDUSE_VQ_INJECT_IRQ, &idx);
	atomic_store_explicit(&q->calls, atomic_load_explicit(&q->calls, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}

/* ---- start ---- */

static int get_info(const struct vde_vq *q, struct vduse_vq_info *info)
{
	*info = (struct vduse_vq_info){.index = q->idx};
	return vde_ioctl(q->d, VDUSE_VQ_GET_INFO, info);
}

/* Set up and enable; @kick becomes the queue's, also on error. */
static int start(struct vde_vq *q, const struct vduse_vq_info *info, int kick)
{
	struct vhost_vring_addr addr = {
		.desc_user_addr = info->desc_addr,
		.avail_user_addr = info->driver_addr,
		.used_user_addr = info->device_addr,
	};
	struct vdpa_callback cb = {.callback = call, .priv = q, .trigger = -1};
	struct vde *d = q->d;
	int ret = vhost_vdpa_set_vring_kick(d->v, q->idx, kick);

	if (!ret)
		ret = vhost_vdpa_set_vring_num(d->v, q->idx, info->num);
	if (!ret)
		ret = vhost_vdpa_set_vring_addr(d->v, q->idx, &addr);
	if (!ret)
		ret = vhost_vdpa_set_vring_base(d->v, q->idx, base_of(d, &info->state));
	if (!ret)
		ret = vhost_vdpa_set_vring_inflight(d->v, q->idx, vde_log_area(&d->log, q->idx),
						    d->log.stride);
	/* A device that does not track can be used; it does not survive a crash. */
	if (ret == -EOPNOTSUPP)
		ret = vhost_vdpa_set_vring_inflight(d->v, q->idx, NULL, 0);
	if (!ret)
		ret = vhost_vdpa_set_vring_call_cb(d->v, q->idx, &cb);
	if (!ret)
		ret = vhost_vdpa_set_vring_enable(d->v, q->idx, true, NULL);
	if (ret)
		vde_log_limited(d, VDPA_LOG_ERR, "vduse: queue %u of %u entries: %s", q->idx,
				info->num, strerror(-ret));
	return ret;
}

static void forget_early(struct vde_vq *q)
{
	vdpa_loop_fd_del(&q->early);
	vdpa_fd_close(&q->early_fd);
}

static void early_kick(struct vdpa_loop_fd *lfd, uint32_t revents)
{
	struct vde_vq *q = vdpa_container_of(lfd, struct vde_vq, early);
	struct vduse_vq_info info;

	vdpa_eventfd_drain(lfd->fd);
	if (get_info(q, &info) || !info.ready)
		return;
	vdpa_loop_fd_del(lfd);
	start(q, &info, vdpa_fd_take(&q->early_fd));
}

static int watch_early(struct vde_vq *q, int kick)
{
	int ret = vdpa_loop_fd_add(vdpa_ctx_control(q->d->vdev->ctx), &q->early, kick, EPOLLIN,
				   early_kick);

	q->early_fd = kick;
	if (ret)
		forget_early(q);
	return ret;
}

static int start_one(struct vde_vq *q)
{
	struct vduse_vq_eventfd kick = {.index = q->idx};
	struct vduse_vq_info info;
	int ret = get_info(q, &info);

	/* DRIVER_OK once more, after one that was refused. */
	forget_early(q);
	if (ret)
		return ret;
	kick.fd = vdpa_eventfd_new();
	if (kick.fd < 0)
		return kick.fd;
	/* A kick that came before this is told at once. */
	ret = vde_ioctl(q->d, VDUSE_VQ_SETUP_KICKFD, &kick);
	if (ret) {
		close(kick.fd);
		return ret;
	}
	return info.ready ? start(q, &info, kick.fd) : watch_early(q, kick.fd);
}

int vde_vrings_start(struct vde *d)
{
	int ret = 0;

	for (uint32_t i = 0; i < d->nvqs && !ret; i++)
		ret = start_one(&d->vq[i]);
	return ret;
}

void vde_vrings_stopped(struct vde *d)
{
	for (uint32_t i = 0; i < d->nvqs; i++)
		forget_early(&d->vq[i]);
}
