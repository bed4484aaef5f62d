// SPDX-License-Identifier: BSD-3-Clause
/*
 * Config ops. What the driver sets is kept here, and the engine brings it to the process; nothing
 * is refused later that was accepted here, but by a device that needs a reset then.
 *
 * A kick writes to the eventfd of the process, from any thread, without a lock: a queue keeps one
 * descriptor number of its own, and dup2() puts another eventfd behind it.
 */
#include "parent/vduse/vduse.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct vdu_vdpa *vdu_of(struct vdpa_device *vdev)
{
	return vdpa_container_of(vdev, struct vdu_vdpa, vdpa);
}

static struct vdu_dev *dev_of(struct vdpa_device *vdev)
{
	return vdu_of(vdev)->d;
}

void vdu_call(const struct vdpa_callback *cb)
{
	if (cb->trigger >= 0)
		vdpa_eventfd_signal_shared(cb->trigger);
	else if (cb->callback)
		cb->callback(cb->priv);
}

void vdu_call_vq(struct vdu_vq *vq)
{
	vq->calls++;
	vdu_call(&vq->cb);
}

/* ---- kicks ---- */

int vdu_set_kickfd(struct vdu_vq *vq, int fd)
{
	int mine = atomic_load(&vq->kickfd), ret = 0;
	bool given = fd >= 0;

	if (mine < 0 && given && !vdu_fds_left(vq->d->ep, 1)) {
		vdpa_fd_close(&fd);
		ret = -EMFILE;
	} else if (mine < 0) {
		vq->d->ep->nkicks += given;
		if (given)
			atomic_store(&vq->kickfd, fd);
	} else {
		if (dup3(fd >= 0 ? fd : vq->d->ep->nowhere, mine, O_CLOEXEC) < 0)
			ret = -errno;
		vdpa_fd_close(&fd);
	}
	/* What came before it is not lost: it looks at the ring once in any case. */
	if (!ret && given && vq->runs)
		vdpa_eventfd_signal_shared(atomic_load(&vq->kickfd));
	return ret;
}

void vdu_kick(struct vdu_vq *vq)
{
	int fd = atomic_load_explicit(&vq->kickfd, memory_order_acquire);

	atomic_fetch_add_explicit(&vq->kicks, 1, memory_order_relaxed);
	if (fd >= 0)
		vdpa_eventfd_signal_shared(fd);
}

static void op_kick_vq(struct vdpa_device *vdev, uint16_t idx)
{
	vdu_kick(&dev_of(vdev)->vq[idx]);
}

/* ---- queues ---- */

static int op_set_vq_address(struct vdpa_device *vdev, uint16_t idx, iova_t desc, iova_t driver,
			     iova_t device)
{
	struct vdu_vq *vq = &dev_of(vdev)->vq[idx];

	if (atomic_load(&vq->ready) || vq->runs)
		return -EBUSY;
	vq->desc = desc;
	vq->driver = driver;
	vq->device = device;
	return 0;
}

static void op_set_vq_num(struct vdpa_device *vdev, uint16_t idx, uint32_t num)
{
	dev_of(vdev)->vq[idx].num = num;
}

static void op_set_vq_cb(struct vdpa_device *vdev, uint16_t idx, const struct vdpa_callback *cb)
{
	dev_of(vdev)->vq[idx].cb = *cb;
}

static void op_set_vq_ready(struct vdpa_device *vdev, uint16_t idx, bool ready)
{
	struct vdu_dev *d = dev_of(vdev);

	atomic_store(&d->vq[idx].ready, ready);
	vdu_engine_run(d);
}

static bool op_get_vq_ready(struct vdpa_device *vdev, uint16_t idx)
{
	return atomic_load(&dev_of(vdev)->vq[idx].ready);
}

static int op_stop_vq(struct vdpa_device *vdev, uint16_t idx, const struct vdpa_done *done)
{
	struct vdu_vq *vq = &dev_of(vdev)->vq[idx];
	int ret;

	if (!vq->runs) {
		atomic_store(&vq->ready, false);
		return vdu_done(vq->d, done);
	}
	ret = vdu_wait(&vq->stops, done);
	if (ret)
		return ret;
	op_set_vq_ready(vdev, idx, false);
	return 0;
}

static int op_set_vq_state(struct vdpa_device *vdev, uint16_t idx,
			   const struct vdpa_vq_state *state)
{
	struct vdu_vq *vq = &dev_of(vdev)->vq[idx];

	if (atomic_load(&vq->ready) || vq->runs)
		return -EBUSY;
	vq->state = *state;
	return 0;
}

static int op_get_vq_state(struct vdpa_device *vdev, uint16_t idx, struct vdpa_vq_state *state)
{
	struct vdu_vq *vq = &dev_of(vdev)->vq[idx];

	if (vq->runs)
		vdu_vq_look(vq);
	*state = vq->state;
	return 0;
}

static int op_get_vq_stats(struct vdpa_device *vdev, uint16_t idx, vdpa_stat_fn emit, void *arg,
			   struct vdpa_error *err)
{
	struct vdu_vq *vq = &dev_of(vdev)->vq[idx];

	emit(arg, "kicks", atomic_load(&vq->kicks));
	emit(arg, "calls", vq->calls);
	return 0;
}

static uint16_t op_get_vq_size(struct vdpa_device *vdev, uint16_t idx)
{
	return dev_of(vdev)->vq[idx].num_max;
}

static uint16_t op_get_vq_num_max(struct vdpa_device *vdev)
{
	struct vdu_dev *d = dev_of(vdev);
	uint16_t max = 1;

	for (uint32_t i = 0; i < d->nvqs; i++) {
		if (d->vq[i].num_max > max)
			max = d->vq[i].num_max;
	}
	return max;
}

static uint32_t op_get_vq_align(struct vdpa_device *vdev)
{
	return dev_of(vdev)->align;
}

static uint32_t op_get_vq_group(struct vdpa_device *vdev, uint16_t idx)
{
	return dev_of(vdev)->vq[idx].group;
}

/* ---- features, status ---- */

static uint64_t op_get_device_features(struct vdpa_device *vdev)
{
	return vdu_of(vdev)->features;
}

static uint64_t op_get_backend_features(struct vdpa_device *vdev)
{
	struct vdu_dev *d = dev_of(vdev);
	uint64_t features = VDPA_BIT(VHOST_BACKEND_F_IOTLB_MSG_V2) |
			    VDPA_BIT(VHOST_BACKEND_F_IOTLB_BATCH) |
			    VDPA_BIT(VHOST_BACKEND_F_SUSPEND) | VDPA_BIT(VHOST_BACKEND_F_RESUME) |
			    VDPA_BIT(VHOST_BACKEND_F_ENABLE_AFTER_DRIVER_OK);

	return d->nas > 1 ? features | VDPA_BIT(VHOST_BACKEND_F_IOTLB_ASID) : features;
}

static int op_set_driver_features(struct vdpa_device *vdev, uint64_t features)
{
	struct vdu_dev *d = dev_of(vdev);

	if (features & ~vdu_of(vdev)->features)
		return -EINVAL;
	if (atomic_load(&d->status) & VIRTIO_CONFIG_S_FEATURES_OK)
		return features == atomic_load(&d->driver_features) ? 0 : -EBUSY;
	atomic_store(&d->driver_features, features);
	return 0;
}

static uint64_t op_get_driver_features(struct vdpa_device *vdev)
{
	return atomic_load(&dev_of(vdev)->driver_features);
}

static uint8_t op_get_status(struct vdpa_device *vdev)
{
	return atomic_load(&dev_of(vdev)->status);
}

static void op_set_status(struct vdpa_device *vdev, uint8_t status)
{
	struct vdu_dev *d = dev_of(vdev);
	uint8_t old = atomic_load(&d->status);

	status |= old & VIRTIO_CONFIG_S_NEEDS_RESET;
	if (old & ~status) {
		vdu_log(d, VDPA_LOG_WARN, "status bits can be taken back by a reset only");
		return;
	}
	/* Virtio 1.3, section 6: who does not take VERSION_1 is a legacy driver, and process of
	 * VDUSE are not made for those. */
	if ((status & ~old & VIRTIO_CONFIG_S_FEATURES_OK) &&
	    !(atomic_load(&d->driver_features) & VDPA_BIT(VIRTIO_F_VERSION_1)) &&
	    (vdu_of(vdev)->features & VDPA_BIT(VIRTIO_F_VERSION_1))) {
		vdu_log(d, VDPA_LOG_WARN, "a driver without VERSION_1: FEATURES_OK stays off");
		status &= (uint8_t) ~(VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK);
	}
	atomic_store(&d->status, status);
	vdu_engine_run(d);
}

/* Nothing of the driver is left here: a process that comes back calls nobody. */
static void forget_driver(struct vdu_dev *d, uint8_t status)
{
	vdpa_loop_timer_cancel(&d->start_timer);
	d->start_now = d->suspended = false;
	atomic_store(&d->status, status);
	atomic_store(&d->driver_features, 0);
	memset(d->asid, 0, sizeof(d->asid));
	for (uint32_t i = 0; i < d->nvqs; i++) {
		atomic_store(&d->vq[i].ready, false);
		d->vq[i].cb = (struct vdpa_callback){.trigger = -1};
		d->vq[i].state = (struct vdpa_vq_state){0};
	}
}

static int op_reset_done(struct vdpa_device *vdev, const struct vdpa_done *done)
{
	struct vdu_dev *d = dev_of(vdev);
	int ret;

	if (d->broken) {
		forget_driver(d, atomic_load(&d->status) & VIRTIO_CONFIG_S_NEEDS_RESET);
		return -EIO;
	}
	ret = vdu_wait(&d->resets, done);
	if (ret)
		return ret;
	forget_driver(d, 0);
	vdu_engine_run(d);
	return 0;
}

static int op_reset(struct vdpa_device *vdev)
{
	return op_reset_done(vdev, NULL);
}

static int op_suspend_done(struct vdpa_device *vdev, const struct vdpa_done *done)
{
	struct vdu_dev *d = dev_of(vdev);
	int ret = d->broken ? -EIO : vdu_wait(&d->suspends, done);

	if (ret)
		return ret;
	d->suspended = true;
	vdu_engine_run(d);
	return 0;
}

static int op_suspend(struct vdpa_device *vdev)
{
	return op_suspend_done(vdev, NULL);
}

static int op_resume(struct vdpa_device *vdev)
{
	struct vdu_dev *d = dev_of(vdev);

	d->suspended = false;
	vdu_wake(d, &d->suspends, -ECANCELED);
	vdu_engine_run(d);
	return 0;
}

/* ---- configuration ---- */

void vdu_config_changed(struct vdu_dev *d)
{
	vdu_call(&d->config_cb);
	if (d->vdev)
		vdpa_notify(d->vdev, VDPA_EVENT_CHANGE, "config");
}

static void op_set_config_cb(struct vdpa_device *vdev, const struct vdpa_callback *cb)
{
	dev_of(vdev)->config_cb = *cb;
}

static uint32_t op_get_device_id(struct vdpa_device *vdev)
{
	return dev_of(vdev)->device_id;
}

static uint32_t op_get_vendor_id(struct vdpa_device *vdev)
{
	return dev_of(vdev)->vendor_id;
}

static size_t op_get_config_size(struct vdpa_device *vdev)
{
	return dev_of(vdev)->config_bytes;
}

static void op_get_config(struct vdpa_device *vdev, unsigned offset, void *buf, unsigned len)
{
	struct vdu_dev *d = dev_of(vdev);

	pthread_mutex_lock(&d->config_lock);
	memcpy(buf, d->config + offset, len);
	pthread_mutex_unlock(&d->config_lock);
}

/* Linux's VDUSE has no message for it: there the configuration is the process's. */
static void op_set_config(struct vdpa_device *vdev, unsigned offset, const void *buf, unsigned len)
{
	struct vdu_dev *d = dev_of(vdev);

	if (d->profile != &vdu_rfc3) {
		vdu_log(d, VDPA_LOG_INFO,
			"a write of %u bytes of configuration at %u is ignored: VDUSE has none",
			len, offset);
		return;
	}
	pthread_mutex_lock(&d->config_lock);
	memcpy(d->config + offset, buf, len);
	pthread_mutex_unlock(&d->config_lock);
	vdu_rfc3_set_config(d, offset, len);
}

static uint32_t op_get_generation(struct vdpa_device *vdev)
{
	return atomic_load(&dev_of(vdev)->generation);
}

/* ---- memory ---- */

static int vdu_dma_map(struct vdpa_device *vdev, unsigned asid, iova_t iova, uint64_t size,
		       uint64_t addr, uint32_t perm, void *opaque)
{
	struct vhost_iotlb_map map = {.start = iova,
				      .last = iova + (size - 1),
				      .addr = addr,
				      .perm = perm,
				      .opaque = opaque};
	int ret = opaque ? vdu_map(dev_of(vdev), asid, &map) : -EINVAL;

	if (ret == -EOPNOTSUPP)
		vdu_log(dev_of(vdev), VDPA_LOG_ERR,
			"memory at 0x%llx is in no file, and cannot be handed to a process",
			(unsigned long long)iova);
	return ret;
}

static int op_dma_unmap_done(struct vdpa_device *vdev, unsigned asid, iova_t iova, uint64_t size,
			     const struct vdpa_done *done)
{
	return vdu_unmap(dev_of(vdev), asid, iova, iova + (size - 1), done);
}

static int op_dma_unmap(struct vdpa_device *vdev, unsigned asid, iova_t iova, uint64_t size)
{
	return op_dma_unmap_done(vdev, asid, iova, size, NULL);
}

static int op_reset_map_done(struct vdpa_device *vdev, unsigned asid, const struct vdpa_done *done)
{
	return vdu_unmap(dev_of(vdev), asid, 0, UINT64_MAX, done);
}

static int op_reset_map(struct vdpa_device *vdev, unsigned asid)
{
	return op_reset_map_done(vdev, asid, NULL);
}

/* Told with the next DRIVER_OK; version 1 has a message for it. */
static int op_set_group_asid(struct vdpa_device *vdev, unsigned group, unsigned asid)
{
	struct vdu_dev *d = dev_of(vdev);
	unsigned before;
	int ret;

	if (group >= d->ngroups || asid >= d->nas)
		return -EINVAL;
	if (atomic_load(&d->status) & VIRTIO_CONFIG_S_DRIVER_OK)
		return -EBUSY;
	if (d->asid[group] == asid)
		return 0;
	before = d->asid[group];
	d->asid[group] = asid;
	/* Who is to be reset first is told after that. */
	ret = d->stale ? 0 : vdu_tell_group(d, group);
	if (ret)
		d->asid[group] = before;
	return ret;
}

static unsigned op_get_group_asid(struct vdpa_device *vdev, unsigned group)
{
	return dev_of(vdev)->asid[group];
}

static const struct vhost_iotlb *op_get_iotlb(struct vdpa_device *vdev, unsigned asid)
{
	struct vdu_dev *d = dev_of(vdev);

	return asid < d->nas ? &d->as[asid] : NULL;
}

/* ---- life ---- */

void vdu_show_number(vdpa_emit_fn emit, void *arg, const char *name, uint64_t value)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	emit(arg, name, text);
}

void vdu_show(struct vdu_dev *d, const char *isolation, vdpa_emit_fn emit, void *arg)
{
	char names[128];

	emit(arg, "process", d->broken ? "broken" : d->conn ? "connected" : "none");
	if (d->profile == &vdu_rfc3)
		emit(arg, "api", d->profile->name);
	else
		vdu_show_number(emit, arg, "api", d->api);
	emit(arg, "isolation", isolation);
	vdu_show_number(emit, arg, "msg_timeout_ms", d->timeout_ns / 1000000);
	emit(arg, "told", vdpa_status_names(d->told, names, sizeof(names)));
	vdu_show_number(emit, arg, "opens", d->connects);
	vdu_show_number(emit, arg, "messages", d->messages);
	vdu_show_number(emit, arg, "refused", d->failures);
	vdu_show_number(emit, arg, "answers_late", d->answers_late);
	vdu_show_number(emit, arg, "answers_bad", d->answers_bad);
	vdu_show_number(emit, arg, "restarts", d->restarts);
	vdu_show_number(emit, arg, "config_calls", d->irqs);
}

static void op_show(struct vdpa_device *vdev, vdpa_emit_fn emit, void *arg)
{
	vdu_show(dev_of(vdev), "shared", emit, arg);
	vdu_show_number(emit, arg, "bounce_copies", 0);
}

static void op_free(struct vdpa_device *vdev)
{
	struct vdu_dev *d = dev_of(vdev);

	if (!d)
		return;
	vdu_map_clear(d);
	/* Whoever began something and did not wait for it. */
	vdu_forget(&d->resets);
	vdu_forget(&d->suspends);
	for (uint32_t i = 0; i < d->nvqs; i++)
		vdu_forget(&d->vq[i].stops);
	d->vdev = NULL;
	forget_driver(d, 0);
	d->config_cb = (struct vdpa_callback){.trigger = -1};
	vdu_engine_run(d);
}

static const struct vdpa_config_ops config_ops = {
	.set_vq_address = op_set_vq_address,
	.set_vq_num = op_set_vq_num,
	.kick_vq = op_kick_vq,
	.set_vq_cb = op_set_vq_cb,
	.set_vq_ready = op_set_vq_ready,
	.get_vq_ready = op_get_vq_ready,
	.set_vq_state = op_set_vq_state,
	.get_vq_state = op_get_vq_state,
	.get_vendor_vq_stats = op_get_vq_stats,
	.get_vq_size = op_get_vq_size,
	.get_vq_align = op_get_vq_align,
	.get_vq_group = op_get_vq_group,
	.get_device_features = op_get_device_features,
	.get_backend_features = op_get_backend_features,
	.set_driver_features = op_set_driver_features,
	.get_driver_features = op_get_driver_features,
	.set_config_cb = op_set_config_cb,
	.get_vq_num_max = op_get_vq_num_max,
	.get_device_id = op_get_device_id,
	.get_vendor_id = op_get_vendor_id,
	.get_status = op_get_status,
	.set_status = op_set_status,
	.reset = op_reset,
	.suspend = op_suspend,
	.resume = op_resume,
	.get_config_size = op_get_config_size,
	.get_config = op_get_config,
	.set_config = op_set_config,
	.get_generation = op_get_generation,
	.dma_map = vdu_dma_map,
	.dma_unmap = op_dma_unmap,
	.reset_map = op_reset_map,
	.set_group_asid = op_set_group_asid,
	.free = op_free,
};

static const struct vdpa_ext_ops ext_ops = {
	.size = sizeof(ext_ops),
	.stop_vq = op_stop_vq,
	.reset = op_reset_done,
	.suspend = op_suspend_done,
	.dma_unmap = op_dma_unmap_done,
	.reset_map = op_reset_map_done,
	.get_iotlb = op_get_iotlb,
	.get_group_asid = op_get_group_asid,
	.show = op_show,
};

int vdu_vdpa_add(struct vdu_dev *d, const struct vdpa_dev_set_config *config,
		 struct vdpa_error *err)
{
	struct vdpa_alloc_params params = {.device_size = sizeof(struct vdpa_device),
					   .size = sizeof(struct vdu_vdpa),
					   .offset = offsetof(struct vdu_vdpa, vdpa),
					   .config = &config_ops,
					   .name = d->name,
					   .parent = "vduse",
					   .ngroups = d->ngroups,
					   .nas = d->nas};
	struct vdu_vdpa *v = vdpa_alloc_device_params(d->ep->ctx, &params, err);
	int ret;

	if (!v)
		return -EINVAL;
	v->vdpa.ext = &ext_ops;
	v->d = d;
	v->features = d->features;
	if (config->mask & VDPA_CFG_FEATURES)
		v->features &= config->device_features;
	d->vdev = &v->vdpa;
	ret = vdpa_register_device(&v->vdpa, d->nvqs, err);
	if (ret)
		vdpa_put_device(&v->vdpa);
	return ret;
}
