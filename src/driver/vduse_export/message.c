// SPDX-License-Identifier: BSD-3-Clause
/*
 * Messages of the kernel, one at a time: a request is read, carried out to its end, and answered;
 * meanwhile further ones stay with the kernel. It waits for an answer as long as msg_timeout says
 * (/sys/class/vduse/NAME, 30 s at first), and gives the device up after that.
 *
 * A request that was read and not answered when its reader dies is given to the next one. So
 * everything here can be done twice.
 *
 * Who attacks: nobody; the kernel says what its driver may.
 */
#include "driver/vduse_export/export.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

/* ---- answers ---- */

static void answer(struct vde *d, int result)
{
	struct vduse_dev_response resp = d->resp;

	d->pending = false;
	resp.request_id = d->req.request_id;
	resp.result = result ? VDUSE_REQ_RESULT_FAILED : VDUSE_REQ_RESULT_OK;
	/* ENOENT: the kernel waits no more. */
	if (write(d->fd, &resp, sizeof(resp)) != sizeof(resp) && errno != ENOENT)
		vde_log_limited(d, VDPA_LOG_ERR, "vduse: an answer of type %u is not taken: %s",
				d->req.type, strerror(errno));
	if (d->lfd.loop)
		vdpa_loop_fd_mod(&d->lfd, EPOLLIN);
	vde_answered(d);
}

static void answer_cb(void *arg, int result)
{
	answer(arg, result);
}

/* ---- configuration ---- */

void vde_push_config(struct vde *d, bool tell)
{
	struct vduse_config_data *c = malloc(sizeof(*c) + VDUSE_CONFIG_MAX);
	uint32_t bytes = d->id.config_bytes;
	int ret = c ? 0 : -ENOMEM;

	if (!ret && bytes)
		ret = vdpa_read_config(d->vdev, 0, c->buffer, bytes, NULL);
	if (ret || !bytes || !memcmp(c->buffer, d->config, bytes)) {
		free(c);
		return;
	}
	c->offset = 0;
	c->length = bytes;
	ret = vde_ioctl(d, VDUSE_DEV_SET_CONFIG, c);
	if (!ret)
		memcpy(d->config, c->buffer, bytes);
	if (!ret && tell)
		ret = vde_ioctl(d, VDUSE_DEV_INJECT_CONFIG_IRQ, NULL);
	if (ret && !d->broken)
		vde_log_limited(d, VDPA_LOG_WARN,
				"vduse: the kernel does not take the configuration: %s",
				strerror(-ret));
	free(c);
}

/* ---- status ---- */

static int take_features(struct vde *d)
{
	uint64_t features;
	int ret = vde_ioctl(d, VDUSE_DEV_GET_FEATURES, &features);

	return ret ? ret : vhost_vdpa_set_features(d->v, features & ~d->added);
}

/* To a status that has more bits than ours. -EIO: the device does not grant them. */
static int raise_status(struct vde *d, uint8_t want)
{
	uint8_t have = vhost_vdpa_get_status(d->v), added = want & (uint8_t)~have;
	int ret = 0;

	if (added & VIRTIO_CONFIG_S_FEATURES_OK)
		ret = take_features(d);
	if (!ret && (added & VIRTIO_CONFIG_S_FEATURES_OK))
		ret = vhost_vdpa_set_status(d->v, want & (uint8_t)~VIRTIO_CONFIG_S_DRIVER_OK, NULL);
	if (!ret && (added & VIRTIO_CONFIG_S_DRIVER_OK))
		ret = vde_vrings_start(d);
	if (!ret)
		ret = vhost_vdpa_set_status(d->v, want, NULL);
	if (!ret && (want & ~vhost_vdpa_get_status(d->v)))
		ret = -EIO;
	return ret;
}

static void set_status_end(struct vde *d, int ret)
{
	char names[128];

	if (!ret)
		ret = raise_status(d, d->req.status);
	if (!ret)
		vde_log_set_status(&d->log, d->req.status);
	else
		vde_log_limited(d, VDPA_LOG_WARN, "vduse: status %s is refused: %s",
				vdpa_status_names(d->req.status, names, sizeof(names)),
				strerror(-ret));
	vde_push_config(d, false);
	answer(d, ret);
}

/* Linux's reset puts each group into address space 0, and does not say so. */
static void reset_groups(struct vde *d)
{
	for (uint32_t i = 0; d->vdev->nas > 1 && i < d->vdev->ngroups; i++) {
		vhost_vdpa_set_group_asid(d->v, i, 0);
		d->log.head->asid[i] = 0;
	}
}

static void reset_unmapped(struct vde *d, int result)
{
	vde_log_clear_areas(&d->log);
	reset_groups(d);
	for (unsigned i = 0; i < d->vdev->nas; i++)
		vde_memory_listen(d, i);
	if (result || !d->req.status)
		answer(d, result);
	else
		set_status_end(d, 0);
}

static void reset_done(void *arg, int result)
{
	struct vde *d = arg;

	vde_vrings_stopped(d);
	/* What a backend still holds stays mapped: our device is broken, as the kernel is told. */
	if (result)
		answer(d, result);
	else
		vde_memory_release(d, reset_unmapped);
}

static int msg_set_status(struct vde *d)
{
	uint8_t have = vhost_vdpa_get_status(d->v) & (uint8_t)~VIRTIO_CONFIG_S_NEEDS_RESET;

	if (d->req.status && !(have & ~d->req.status)) {
		set_status_end(d, 0);
		return 0;
	}
	/* First this: from here on there is nothing to go on with. */
	vde_log_set_status(&d->log, 0);
	return vhost_vdpa_set_status(d->v, 0, &(struct vdpa_done){reset_done, d});
}

/* ---- the others ---- */

static int msg_vq_state(struct vde *d)
{
	uint32_t idx = d->req.vq_state.index;
	int ret = vde_vring_state(d, idx, &d->resp.vq_state.state);

	d->resp.vq_state.index = idx;
	if (!ret)
		answer(d, 0);
	return ret;
}

static int msg_update_iotlb(struct vde *d)
{
	return vde_memory_update(d, d->id.api ? d->req.iova.asid : 0, d->req.iova.start,
				 d->req.iova.last, &(struct vdpa_done){answer_cb, d});
}

static int msg_group_asid(struct vde *d)
{
	uint32_t group = d->req.vq_group_asid.group, asid = d->req.vq_group_asid.asid;
	int ret = vhost_vdpa_set_group_asid(d->v, group, asid);

	if (ret)
		return ret;
	d->log.head->asid[group] = asid;
	answer(d, 0);
	return 0;
}

/* Each ends in answer(), or returns an error. */
static int (*const handlers[VDUSE_REQ_TYPES])(struct vde *d) = {
	[VDUSE_GET_VQ_STATE] = msg_vq_state,
	[VDUSE_SET_STATUS] = msg_set_status,
	[VDUSE_UPDATE_IOTLB] = msg_update_iotlb,
	[VDUSE_SET_VQ_GROUP_ASID] = msg_group_asid,
};

static void readable(struct vdpa_loop_fd *lfd, uint32_t revents)
{
	struct vde *d = vdpa_container_of(lfd, struct vde, lfd);
	ssize_t n;
	int ret;

	if (revents & (EPOLLERR | EPOLLHUP)) {
		vde_broke(d);
		return;
	}
	if (d->pending)
		return;
	n = read(d->fd, &d->req, sizeof(d->req));
	if (n != sizeof(d->req))
		return;
	d->messages++;
	d->pending = true;
	memset(&d->resp, 0, sizeof(d->resp));
	/* An answer at once asks for more; one that comes later, then. */
	vdpa_loop_fd_mod(lfd, 0);
	ret = d->req.type < VDUSE_REQ_TYPES ? handlers[d->req.type](d) : -EOPNOTSUPP;
	if (ret) {
		vde_log_limited(d, VDPA_LOG_WARN, "vduse: a message of type %u fails: %s",
				d->req.type, strerror(-ret));
		answer(d, ret);
	}
}

int vde_messages_start(struct vde *d)
{
	return vdpa_loop_fd_add(vdpa_ctx_control(d->vdev->ctx), &d->lfd, d->fd, EPOLLIN, readable);
}

void vde_messages_stop(struct vde *d)
{
	vdpa_loop_fd_del(&d->lfd);
}

/* ---- after a crash ---- */

int vde_restore(struct vde *d)
{
	uint8_t status = (uint8_t)d->log.head->status;
	uint64_t features;
	int ret = vde_ioctl(d, VDUSE_DEV_GET_FEATURES, &features);

	if (ret)
		return ret;
	/* The kernel forgot its driver's features: it reset the device when nobody answered. */
	if ((status & VIRTIO_CONFIG_S_FEATURES_OK) && !features)
		status = 0;
	if (!status) {
		vde_log_set_status(&d->log, 0);
		vde_log_clear_areas(&d->log);
		return 0;
	}
	for (uint32_t i = 0; d->vdev->nas > 1 && i < d->vdev->ngroups; i++)
		vhost_vdpa_set_group_asid(d->v, i, d->log.head->asid[i]);
	return raise_status(d, status);
}
