// SPDX-License-Identifier: BSD-3-Clause
/*
 * The device half of the vhost uAPI: ownership, features, status, configuration, groups, suspend,
 * and the life of the object. Closing it is the one thing that must never fail: it resets the
 * device, takes every mapping back and closes every descriptor. Where a mapping cannot be taken
 * back it tries again, and after that the device is broken and cannot be opened any more.
 */
#include "driver/vhost_vdpa/impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"

/* For want of memory it works sooner or later; a parent that refuses does so for ever. */
#define RETRY_NS 100000000ull
#define RETRIES 20

static const struct vdpa_callback no_callback = {.trigger = -1};

int vhost_vdpa_new(struct vdpa_device *vdev, const struct vhost_vdpa_params *params,
		   struct vhost_vdpa **out)
{
	struct vhost_vdpa *v;

	if (params && params->size != sizeof(*params))
		return -EINVAL;
	v = calloc(1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	v->vring = calloc(vdev->nvqs ? vdev->nvqs : 1, sizeof(*v->vring));
	v->as = calloc(vdev->nas ? vdev->nas : 1, sizeof(*v->as));
	v->as_used = calloc(vdev->nas ? vdev->nas : 1, sizeof(*v->as_used));
	if (!v->vring || !v->as || !v->as_used) {
		free(v->vring);
		free(v->as);
		free(v->as_used);
		free(v);
		return -ENOMEM;
	}
	if (params)
		v->params = *params;
	if (!v->params.max_entries)
		v->params.max_entries = VHOST_VDPA_MAX_ENTRIES;
	v->limit = (struct vdpa_ratelimit)VDPA_RATELIMIT_INIT;
	v->vdev = vdpa_get_device(vdev);
	for (uint32_t i = 0; i < vdev->nas; i++)
		vhost_iotlb_init(&v->as[i], 0, 0);
	vv_vrings_init(v);
	*out = v;
	return 0;
}

void vhost_vdpa_free(struct vhost_vdpa *v)
{
	if (!v)
		return;
	for (uint32_t i = 0; i < v->vdev->nas; i++)
		vhost_iotlb_reset(&v->as[i]);
	vdpa_put_device(v->vdev);
	free(v->vring);
	free(v->as);
	free(v->as_used);
	free(v);
}

struct vdpa_device *vhost_vdpa_device(const struct vhost_vdpa *v)
{
	return v->vdev;
}

/* ---- open, reset, release ---- */

static int begin(struct vhost_vdpa *v, const struct vdpa_done *done)
{
	if (v->busy)
		return -EBUSY;
	v->busy = true;
	v->done = done ? *done : (struct vdpa_done){0};
	return 0;
}

static void end(struct vhost_vdpa *v, int result)
{
	struct vdpa_done done = v->done;

	v->busy = false;
	vdpa_done_call(&done, result);
}

static void open_reset(void *arg, int result)
{
	struct vhost_vdpa *v = arg;

	v->open = !result;
	end(v, result);
}

int vhost_vdpa_open(struct vhost_vdpa *v, const struct vdpa_done *done)
{
	int err;

	if (v->open)
		return -EBUSY;
	if (v->broken)
		return -EIO;
	err = begin(v, done);
	if (err)
		return err;
	err = vdpa_reset(v->vdev, &(struct vdpa_done){.fn = open_reset, .arg = v});
	if (err)
		v->busy = false;
	return err;
}

static void release_passed(struct vdpa_loop_sync *sync)
{
	struct vhost_vdpa *v = vdpa_container_of(sync, struct vhost_vdpa, sync);

	if (v->retiring) {
		vdpa_loop_group_sync(vdpa_ctx_loops(v->vdev->ctx), &v->sync, release_passed);
		return;
	}
	v->open = false;
	v->owner = false;
	v->suspended = false;
	v->backend_features = 0;
	memset(v->as_used, 0, v->vdev->nas * sizeof(*v->as_used));
	end(v, 0);
}

static void release_maps(struct vdpa_loop_timer *timer);

/* What the parent may still use must stay: its regions are not given back, ever. */
static void give_up(struct vhost_vdpa *v, int result)
{
	static const char why[] = "mappings could not be taken back";

	v->broken = true;
	vdpa_dev_log(v->vdev, VDPA_LOG_ERR, "%s (%d): the memory stays, and the device is broken",
		     why, -result);
	vdpa_notify(v->vdev, VDPA_EVENT_BROKEN, why);
}

static void release_unmapped(void *arg, int result)
{
	struct vhost_vdpa *v = arg;

	if (result && ++v->retries < RETRIES) {
		vdpa_loop_timer_set(vdpa_ctx_control(v->vdev->ctx), &v->retry,
				    vdpa_clock_ns() + RETRY_NS, release_maps);
		return;
	}
	if (result)
		give_up(v, result);
	vdpa_loop_group_sync(vdpa_ctx_loops(v->vdev->ctx), &v->sync, release_passed);
}

static void release_maps(struct vdpa_loop_timer *timer)
{
	struct vhost_vdpa *v = vdpa_container_of(timer, struct vhost_vdpa, retry);
	int err = vv_log_release(v);

	if (!err)
		err = vv_iotlb_release(v, &(struct vdpa_done){.fn = release_unmapped, .arg = v});
	if (err)
		release_unmapped(v, err);
}

static void release_reset(void *arg, int result)
{
	struct vhost_vdpa *v = arg;

	if (result)
		vdpa_dev_log(v->vdev, VDPA_LOG_ERR, "reset at close failed (%d)", -result);
	vv_vrings_were_reset(v);
	vv_vrings_release(v);
	vhost_vdpa_set_config_call(v, -1);
	v->retries = 0;
	release_maps(&v->retry);
}

int vhost_vdpa_release(struct vhost_vdpa *v, const struct vdpa_done *done)
{
	int err;

	if (!v->open)
		return -EBADF;
	err = begin(v, done);
	if (err)
		return err;
	/* Not the driver's reset: what is in flight shall be found by who opens it next. */
	vv_vrings_untrack(v);
	err = vdpa_reset(v->vdev, &(struct vdpa_done){.fn = release_reset, .arg = v});
	if (err)
		release_reset(v, err);
	return 0;
}

/* ---- device ---- */

int vhost_vdpa_set_owner(struct vhost_vdpa *v)
{
	if (v->owner)
		return -EBUSY;
	v->owner = true;
	return 0;
}

bool vhost_vdpa_has_owner(const struct vhost_vdpa *v)
{
	return v->owner;
}

uint64_t vhost_vdpa_get_features(struct vhost_vdpa *v)
{
	return vdpa_get_device_features(v->vdev);
}

int vhost_vdpa_set_features(struct vhost_vdpa *v, uint64_t features)
{
	if (vdpa_get_status(v->vdev) & VIRTIO_CONFIG_S_FEATURES_OK)
		return -EBUSY;
	return vdpa_set_features(v->vdev, features);
}

/*
 * Do mappings outlive a reset of the device? Of a parent that keeps its own map only the parent can
 * say; one that can be told to reset it does not do so by itself (Linux: the same).
 */
static bool persistent_map(const struct vdpa_config_ops *ops)
{
	return (!ops->set_map && !ops->dma_map) || ops->reset_map;
}

uint64_t vhost_vdpa_get_backend_features(struct vhost_vdpa *v)
{
	const struct vdpa_config_ops *ops = v->vdev->config;
	uint64_t features = VDPA_BIT(VHOST_BACKEND_F_IOTLB_MSG_V2) |
			    VDPA_BIT(VHOST_BACKEND_F_IOTLB_BATCH) |
			    VDPA_BIT(VHOST_BACKEND_F_IOTLB_ASID);

	if (persistent_map(ops))
		features |= VDPA_BIT(VHOST_BACKEND_F_IOTLB_PERSIST);
	if (ops->suspend)
		features |= VDPA_BIT(VHOST_BACKEND_F_SUSPEND);
	if (ops->resume)
		features |= VDPA_BIT(VHOST_BACKEND_F_RESUME);
	if (ops->get_vq_desc_group)
		features |= VDPA_BIT(VHOST_BACKEND_F_DESC_ASID);
	if (vdpa_has_ext(v->vdev, set_dirty_log))
		features |= VDPA_BIT(VHOST_BACKEND_F_UVDPA_LOG);
	return features | vdpa_get_backend_features(v->vdev);
}

int vhost_vdpa_set_backend_features(struct vhost_vdpa *v, uint64_t features)
{
	if ((features & VDPA_BIT(VHOST_BACKEND_F_DESC_ASID)) &&
	    !(features & VDPA_BIT(VHOST_BACKEND_F_IOTLB_ASID)))
		return -EINVAL;
	if (features & ~vhost_vdpa_get_backend_features(v))
		return -EOPNOTSUPP;
	if (v->in_batch)
		return -EBUSY;
	v->backend_features = features;
	return 0;
}

uint32_t vhost_vdpa_get_device_id(struct vhost_vdpa *v)
{
	return vdpa_get_device_id(v->vdev);
}

uint8_t vhost_vdpa_get_status(struct vhost_vdpa *v)
{
	return vdpa_get_status(v->vdev);
}

static void status_reset(void *arg, int result)
{
	struct vhost_vdpa *v = arg;

	if (!result) {
		vv_vrings_were_reset(v);
		v->suspended = false;
	}
	end(v, result);
}

int vhost_vdpa_set_status(struct vhost_vdpa *v, uint8_t status, const struct vdpa_done *done)
{
	int err;

	if (!status) {
		err = begin(v, done);
		if (err)
			return err;
		err = vdpa_reset(v->vdev, &(struct vdpa_done){.fn = status_reset, .arg = v});
		if (err)
			v->busy = false;
		return err;
	}
	if (vdpa_get_status(v->vdev) & ~status & ~VIRTIO_CONFIG_S_NEEDS_RESET)
		return -EINVAL;
	err = status & VIRTIO_CONFIG_S_DRIVER_OK ? vv_vrings_start(v) : 0;
	if (!err)
		err = vdpa_set_status(v->vdev, status);
	if (!err)
		vdpa_done_call(done, 0);
	return err;
}

static int check_config(struct vhost_vdpa *v, uint32_t off, uint32_t len)
{
	size_t size = vdpa_get_config_size(v->vdev);

	return !len || off > size || len > size - off ? -EINVAL : 0;
}

int vhost_vdpa_get_config(struct vhost_vdpa *v, uint32_t off, void *buf, uint32_t len)
{
	int err = check_config(v, off, len);

	return err ? err : vdpa_get_config(v->vdev, off, buf, len);
}

int vhost_vdpa_set_config(struct vhost_vdpa *v, uint32_t off, const void *buf, uint32_t len)
{
	int err = check_config(v, off, len);

	return err ? err : vdpa_set_config(v->vdev, off, buf, len);
}

uint32_t vhost_vdpa_get_config_size(struct vhost_vdpa *v)
{
	return (uint32_t)vdpa_get_config_size(v->vdev);
}

int vhost_vdpa_set_config_call(struct vhost_vdpa *v, int fd)
{
	struct vdpa_callback cb = no_callback;
	struct vv_fd *vfd;
	int err = vv_fd_new(v, fd, &vfd);

	if (err)
		return err;
	if (vfd)
		cb.trigger = vfd->fd;
	vdpa_set_config_cb(v->vdev, &cb);
	vv_fd_retire(&v->config_call);
	v->config_call = vfd;
	return 0;
}

void vhost_vdpa_set_config_cb(struct vhost_vdpa *v, const struct vdpa_callback *cb)
{
	vdpa_set_config_cb(v->vdev, cb ? cb : &no_callback);
	vv_fd_retire(&v->config_call);
}

struct vdpa_iova_range vhost_vdpa_get_iova_range(struct vhost_vdpa *v)
{
	return vdpa_get_iova_range(v->vdev);
}

uint32_t vhost_vdpa_get_vqs_count(struct vhost_vdpa *v)
{
	return v->vdev->nvqs;
}

uint32_t vhost_vdpa_get_group_num(struct vhost_vdpa *v)
{
	return v->vdev->ngroups;
}

uint32_t vhost_vdpa_get_as_num(struct vhost_vdpa *v)
{
	return v->vdev->nas;
}

int vhost_vdpa_set_group_asid(struct vhost_vdpa *v, uint32_t group, uint32_t asid)
{
	if (group >= v->vdev->ngroups || asid >= v->vdev->nas)
		return -EINVAL;
	if (vdpa_get_status(v->vdev) & VIRTIO_CONFIG_S_DRIVER_OK)
		return -EBUSY;
	return vdpa_set_group_asid(v->vdev, group, asid);
}

static void suspended(void *arg, int result)
{
	struct vhost_vdpa *v = arg;

	v->suspended = !result;
	end(v, result);
}

int vhost_vdpa_suspend(struct vhost_vdpa *v, const struct vdpa_done *done)
{
	int err;

	if (!(vdpa_get_status(v->vdev) & VIRTIO_CONFIG_S_DRIVER_OK)) {
		vdpa_done_call(done, 0);
		return 0;
	}
	if (!v->vdev->config->suspend)
		return -EOPNOTSUPP;
	err = begin(v, done);
	if (err)
		return err;
	err = vdpa_suspend(v->vdev, &(struct vdpa_done){.fn = suspended, .arg = v});
	if (err)
		v->busy = false;
	return err;
}

int vhost_vdpa_resume(struct vhost_vdpa *v)
{
	int err;

	if (!(vdpa_get_status(v->vdev) & VIRTIO_CONFIG_S_DRIVER_OK))
		return 0;
	if (!v->vdev->config->resume)
		return -EOPNOTSUPP;
	err = vdpa_resume(v->vdev);
	if (!err)
		v->suspended = false;
	return err;
}
