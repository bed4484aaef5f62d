// SPDX-License-Identifier: BSD-3-Clause
/*
 * The control node. Rules and errors are Linux's, but for what Linux refuses and this has: device
 * types, a NIC's control queue, devices without ACCESS_PLATFORM. CONFIG_WCE of disks is refused as
 * there: it is set by a write to the configuration, for which there is no message.
 */
#include "parent/vduse/vduse.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vdpa/name_list.h"

#define ALIGN_MAX 4096u

/* ---- a device ---- */

void vdu_dev_free(struct vdu_dev *d)
{
	vdpa_loop_timer_cancel(&d->timer);
	vdpa_loop_timer_cancel(&d->start_timer);
	vdu_messages_fail(d, -ECANCELED);
	for (uint32_t i = 0; d->vq && i < d->nvqs; i++) {
		int fd = atomic_load(&d->vq[i].kickfd);

		d->ep->nkicks -= fd >= 0;
		vdpa_fd_close(&fd);
	}
	if (d->as)
		vdu_map_clear(d);
	list_del(&d->node);
	d->ep->ndevs--;
	d->ep->nvqs -= d->nvqs;
	pthread_mutex_destroy(&d->config_lock);
	free(d->vq);
	free(d->as);
	free(d->config);
	free(d);
}

static void init_vqs(struct vdu_dev *d)
{
	for (uint32_t i = 0; i < d->nvqs; i++) {
		d->vq[i].d = d;
		d->vq[i].idx = (uint16_t)i;
		d->vq[i].kickfd = -1;
		d->vq[i].cb.trigger = -1;
		list_init(&d->vq[i].stops);
	}
}

static int dev_new(struct vdu_endpoint *ep, const struct vduse_dev_config *c, uint64_t api,
		   struct vdu_dev **out)
{
	struct vdu_dev *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	d->ep = ep;
	d->profile = &vdu_linux;
	d->api = api;
	memcpy(d->name, c->name, sizeof(d->name));
	d->device_id = c->device_id;
	d->vendor_id = c->vendor_id;
	d->align = c->vq_align;
	d->features = c->features;
	d->nvqs = c->vq_num;
	d->ngroups = api ? c->ngroups : 1;
	d->nas = api ? c->nas : 1;
	d->config_bytes = c->config_size;
	d->timeout_ns = VDU_TIMEOUT_MS * 1000000ull;
	d->config_cb.trigger = -1;
	d->limit = d->limit_life = (struct vdpa_ratelimit)VDPA_RATELIMIT_INIT;
	list_init(&d->msgs);
	list_init(&d->resets);
	list_init(&d->suspends);
	list_init(&d->woken);
	pthread_mutex_init(&d->config_lock, NULL);
	list_add_tail(&ep->devs, &d->node);
	ep->ndevs++;
	ep->nvqs += d->nvqs;
	d->vq = calloc(d->nvqs + 1, sizeof(*d->vq));
	d->as = calloc(d->nas, sizeof(*d->as));
	d->config = calloc(1, d->config_bytes + 1);
	if (d->vq)
		init_vqs(d);
	if (!d->vq || !d->as || !d->config) {
		vdu_dev_free(d);
		return -ENOMEM;
	}
	memcpy(d->config, c->config, d->config_bytes);
	for (uint32_t i = 0; i < d->nas; i++)
		vhost_iotlb_init(&d->as[i], 0, 0);
	vdpa_log_limited(
		vdpa_ctx_log(ep->ctx), &ep->limit_made, VDPA_LOG_INFO, d->name,
		"vduse: a process made this device: \"uvdpa dev add name %s mgmtdev vduse\" puts "
		"it on the bus",
		d->name);
	*out = d;
	return 0;
}

/* ---- checks ---- */

static bool all_zero(const void *p, size_t n)
{
	const uint8_t *byte = p;

	while (n && !byte[n - 1])
		n--;
	return !n;
}

/* One that can be on the bus; and it is written to logs. */
static bool name_valid(const char name[VDUSE_NAME_BYTES])
{
	return memchr(name, '\0', VDUSE_NAME_BYTES) && vdpa_name_valid(name);
}

static bool groups_valid(const struct vduse_dev_config *c, uint64_t api)
{
	if (!api)
		return !c->ngroups && !c->nas;
	return c->ngroups && c->ngroups <= VDU_GROUPS_MAX && c->nas && c->nas <= VDU_GROUPS_MAX;
}

static bool config_valid(const struct vduse_dev_config *c, uint64_t api)
{
	return name_valid(c->name) && all_zero(c->reserved, sizeof(c->reserved)) &&
	       groups_valid(c, api) && c->config_size <= VDUSE_CONFIG_MAX && c->device_id &&
	       c->vq_num <= VDUSE_VQS_MAX && c->vq_align && c->vq_align <= ALIGN_MAX &&
	       !(c->vq_align & (c->vq_align - 1));
}

static bool features_valid(const struct vduse_dev_config *c)
{
	return (c->device_id != VIRTIO_ID_NET || (c->features & VDPA_BIT(VIRTIO_F_VERSION_1))) &&
	       (c->device_id != VIRTIO_ID_BLOCK ||
		!(c->features & VDPA_BIT(VIRTIO_BLK_F_CONFIG_WCE)));
}

/* ---- ioctls ---- */

int vdu_dev_make(struct vdu_endpoint *ep, const struct vduse_dev_config *config, uint64_t api,
		 struct vdu_dev **out)
{
	if (!config_valid(config, api))
		return -EINVAL;
	if (!strcmp(config->name, "control") || vdu_find(ep, config->name))
		return -EEXIST;
	if (ep->ndevs >= VDU_DEVS_MAX || config->vq_num > VDU_VQS_MAX - ep->nvqs)
		return -ENOSPC;
	return dev_new(ep, config, api, out);
}

static int create(struct vdu_conn *c, const struct vduse_dev_config *config)
{
	struct vdu_dev *d;

	if (!features_valid(config))
		return -EINVAL;
	/* As in Linux: who asked for the version, and chose none, has the newest. */
	return vdu_dev_make(c->ep, config, c->api, &d);
}

static int destroy(struct vdu_conn *c, const char *name)
{
	struct vdu_dev *d = name_valid(name) ? vdu_find(c->ep, name) : NULL;

	if (!d)
		return -EINVAL;
	if (d->conn || d->vdev)
		return -EBUSY;
	vdu_dev_free(d);
	return 0;
}

static int destroy_rfc3(struct vdu_conn *c, uint32_t id)
{
	char name[VDUSE_NAME_BYTES];

	snprintf(name, sizeof(name), VDUSE_RFC3_NAME, id);
	return destroy(c, name);
}

static int set_api(struct vdu_conn *c, uint64_t api)
{
	if (api > VDUSE_API_MAX)
		return -EINVAL;
	c->api = api;
	c->api_chosen = true;
	return 0;
}

static int get_api(struct vdu_conn *c, uint64_t *api)
{
	if (!c->api_chosen)
		c->api = VDUSE_API_MAX;
	c->api_chosen = true;
	*api = c->api;
	return 0;
}

int vdu_control_ioctl(struct vdu_conn *c, struct vdu_call *call)
{
	struct vduse_rfc3_dev dev;
	uint64_t api = 0;
	uint32_t id;
	int ret;

	switch (call->ioctl->cmd) {
	case VDUSE_GET_API_VERSION:
		ret = get_api(c, &api);
		memcpy(call->arg, &api, sizeof(api));
		return ret;
	case VDUSE_SET_API_VERSION:
		memcpy(&api, call->arg, sizeof(api));
		return set_api(c, api);
	case VDUSE_CREATE_DEV:
		return create(c, (const struct vduse_dev_config *)(const void *)call->arg);
	case VDUSE_DESTROY_DEV:
		return destroy(c, (const char *)call->arg);
	case VDUSE_RFC3_CREATE_DEV:
		memcpy(&dev, call->arg, sizeof(dev));
		return vdu_rfc3_create(c, &dev);
	case VDUSE_RFC3_DESTROY_DEV:
		memcpy(&id, call->arg, sizeof(id));
		return destroy_rfc3(c, id);
	default:
		return -ENOTTY;
	}
}
