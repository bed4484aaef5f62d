// SPDX-License-Identifier: BSD-3-Clause
/* Birth, registration and end of a software device, and the two tables of config ops. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "parent/soft/kit.h"

/* ---- ops ---- */

static uint32_t get_vq_align(struct vdpa_device *vdev)
{
	return 4096;
}

static uint16_t get_vq_num_max(struct vdpa_device *vdev)
{
	return soft_core(vdev)->num_max;
}

static uint16_t get_vq_num_min(struct vdpa_device *vdev)
{
	return 1;
}

static uint32_t get_device_id(struct vdpa_device *vdev)
{
	return soft_core(vdev)->device_id;
}

static uint32_t get_vendor_id(struct vdpa_device *vdev)
{
	return soft_core(vdev)->vendor_id;
}

/* By queue; as many as fit. */
static void show_workers(struct vdpa_soft *dev, vdpa_emit_fn emit, void *arg)
{
	char text[256] = "";
	size_t at = 0;

	for (uint32_t i = 0; i < dev->core->nvqs && at + 12 < sizeof(text); i++) {
		unsigned n = vdpa_loop_index(atomic_load(&dev->core->vqs[i].loop));

		/* 0 is the control loop: there are no workers. */
		if (n)
			at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%u", i ? "," : "",
					       n - 1);
	}
	emit(arg, "workers", text);
}

static void soft_show(struct vdpa_device *vdev, vdpa_emit_fn emit, void *arg)
{
	struct vdpa_soft *dev = vdpa_to_soft(vdev);

	char text[16];

	emit(arg, "dma", vdev->config->set_map ? "set_map" : "dma_map");
	snprintf(text, sizeof(text), "%u", vdpa_soft_get_busyloop(dev));
	emit(arg, "busyloop", text);
	show_workers(dev, emit, arg);
	soft_show_groups(dev->core, emit, arg);
	if (soft_has_op(dev, show))
		dev->ops->show(dev, emit, arg);
}

static int soft_announce(struct vdpa_device *vdev, const uint8_t mac[6])
{
	struct vdpa_soft *dev = vdpa_to_soft(vdev);

	return soft_has_op(dev, announce) ? dev->ops->announce(dev, mac) : -EOPNOTSUPP;
}

static void core_free(struct vdpa_soft_core *core)
{
	for (uint32_t i = 0; core->vqs && i < core->nvqs; i++)
		soft_vq_fini(&core->vqs[i]);
	free(core->vqs);
	soft_map_fini(core);
	pthread_mutex_destroy(&core->config_lock);
	pthread_mutex_destroy(&core->broken_lock);
	free(core->config);
	free(core->workers);
	free(core);
}

/* The last reference is gone: no queue runs, no message is queued. */
static void soft_free(struct vdpa_device *vdev)
{
	struct vdpa_soft *dev = vdpa_to_soft(vdev);

	if (dev->ops && soft_has_op(dev, free))
		dev->ops->free(dev);
	if (dev->core)
		core_free(dev->core);
	dev->core = NULL;
}

#define SOFT_CONFIG_OPS                                                                            \
	.set_vq_address = soft_set_vq_address, .set_vq_num = soft_set_vq_num,                      \
	.kick_vq = soft_kick_vq, .kick_vq_with_data = soft_kick_vq_with_data,                      \
	.set_vq_cb = soft_set_vq_cb, .set_vq_ready = soft_set_vq_ready,                            \
	.get_vq_ready = soft_get_vq_ready, .set_vq_state = soft_set_vq_state,                      \
	.get_vq_state = soft_get_vq_state, .get_vendor_vq_stats = soft_get_vq_stats,               \
	.get_vq_size = soft_get_vq_size, .get_vq_align = get_vq_align,                             \
	.get_vq_group = soft_get_vq_group, .get_device_features = soft_get_device_features,        \
	.get_backend_features = soft_get_backend_features,                                         \
	.set_driver_features = soft_set_driver_features,                                           \
	.get_driver_features = soft_get_driver_features, .set_config_cb = soft_set_config_cb,      \
	.get_vq_num_max = get_vq_num_max, .get_vq_num_min = get_vq_num_min,                        \
	.get_device_id = get_device_id, .get_vendor_id = get_vendor_id,                            \
	.get_status = soft_get_status, .set_status = soft_set_status, .reset = soft_reset,         \
	.suspend = soft_suspend, .resume = soft_resume, .get_config_size = soft_get_config_size,   \
	.get_config = soft_get_config, .set_config = soft_set_config,                              \
	.set_vq_affinity = soft_set_vq_affinity, .get_vq_affinity = soft_get_vq_affinity,          \
	.get_generation = soft_get_generation, .get_iova_range = soft_get_iova_range,              \
	.reset_map = soft_reset_map, .set_group_asid = soft_set_group_asid, .free = soft_free

#define SOFT_EXT_OPS                                                                               \
	.size = sizeof(struct vdpa_ext_ops), .stop_vq = soft_stop_vq, .reset = soft_reset_done,    \
	.suspend = soft_suspend_done, .reset_map = soft_reset_map_done, .reset_vq = soft_reset_vq, \
	.set_vq_kick = soft_set_vq_kick, .set_vq_err = soft_set_vq_err,                            \
	.set_vq_inflight = soft_set_vq_inflight, .set_miss = soft_set_miss,                        \
	.miss_settled = soft_miss_settled, .set_dirty_log = soft_set_dirty_log,                    \
	.save_state = soft_save_state, .load_state = soft_load_state, .get_iotlb = soft_get_iotlb, \
	.show = soft_show, .announce = soft_announce, .get_group_asid = soft_get_group_asid,       \
	.get_vq_loop = soft_get_vq_loop

#define SOFT_DMA_MAP .dma_map = soft_dma_map, .dma_unmap = soft_dma_unmap
#define SOFT_DESC_GROUP .get_vq_desc_group = soft_get_vq_desc_group

/* By the way of mapping; and whether there are descriptor groups, which the op's presence says. */
static const struct vdpa_config_ops config_ops[2][2] = {
	[VDPA_SOFT_DMA_MAP] = {{SOFT_CONFIG_OPS, SOFT_DMA_MAP},
			       {SOFT_CONFIG_OPS, SOFT_DMA_MAP, SOFT_DESC_GROUP}},
	[VDPA_SOFT_SET_MAP] = {{SOFT_CONFIG_OPS, .set_map = soft_set_map},
			       {SOFT_CONFIG_OPS, .set_map = soft_set_map, SOFT_DESC_GROUP}},
};

static const struct vdpa_ext_ops dma_map_ext = {
	SOFT_EXT_OPS,
	.dma_unmap = soft_dma_unmap_done,
};

static const struct vdpa_ext_ops set_map_ext = {
	SOFT_EXT_OPS,
	.set_map = soft_set_map_done,
};

/* ---- birth ---- */

static int check_params(const struct vdpa_soft_params *p, struct vdpa_error *err)
{
	const char *name = p->name ? p->name : "";

	if (p->size != sizeof(*p) || p->struct_size < sizeof(struct vdpa_soft))
		return vdpa_error_set(err, EINVAL, name,
				      "the device was built for another version of this library");
	if (!p->ops || p->ops->size < offsetof(struct vdpa_soft_ops, start) || !p->ops->run)
		return vdpa_error_set(err, EINVAL, name, "a software device needs a run function");
	if (!p->nvqs || p->nvqs > UINT16_MAX)
		return vdpa_error_set(err, EINVAL, name, "%u queues: 1 to 65535 are possible",
				      p->nvqs);
	if (p->num_max & (p->num_max - 1))
		return vdpa_error_set(err, EINVAL, name, "ring size %u is not a power of two",
				      p->num_max);
	if (p->num_max > 32768)
		return vdpa_error_set(err, EINVAL, name, "ring size %u: at most 32768", p->num_max);
	if (p->config_bytes && !p->config)
		return vdpa_error_set(err, EINVAL, name, "a config space without contents");
	return soft_check_groups(p, err);
}

/*
 * Not offered unless somebody asks: in order, a request waits for slower ones before it; and the
 * data of a notification are of no use here.
 */
#define KIT_ON_REQUEST (VDPA_BIT(VIRTIO_F_IN_ORDER) | VDPA_BIT(VIRTIO_F_NOTIFICATION_DATA))

uint64_t vdpa_soft_kit_features(void)
{
	return VDPA_BIT(VIRTIO_F_VERSION_1) | VDPA_BIT(VIRTIO_F_ACCESS_PLATFORM) |
	       VDPA_BIT(VIRTIO_F_ANY_LAYOUT) | VDPA_BIT(VIRTIO_RING_F_INDIRECT_DESC) |
	       VDPA_BIT(VIRTIO_RING_F_EVENT_IDX) | VDPA_BIT(VIRTIO_F_RING_RESET) |
	       VDPA_BIT(VIRTIO_F_RING_PACKED) | KIT_ON_REQUEST;
}

static struct vdpa_soft_core *core_new(struct vdpa_soft *dev, const struct vdpa_soft_params *p)
{
	struct vdpa_soft_core *core = calloc(1, sizeof(*core));

	if (!core)
		return NULL;
	core->dev = dev;
	core->control = vdpa_ctx_control(dev->vdpa.ctx);
	core->device_id = p->device_id;
	core->vendor_id = p->vendor_id;
	core->nvqs = p->nvqs;
	core->offered =
		p->features | (vdpa_soft_kit_features() & ~KIT_ON_REQUEST & ~p->features_off);
	core->num_max = p->num_max ? p->num_max : SOFT_NUM_MAX;
	core->priv_bytes = p->priv_bytes;
	core->stop_timeout_ns = p->stop_timeout_ns ? p->stop_timeout_ns : SOFT_STOP_TIMEOUT_NS;
	core->budget = p->budget ? p->budget : SOFT_BUDGET;
	atomic_init(&core->busyloop_us, p->busyloop_us);
	core->nas = dev->vdpa.nas;
	core->ngroups = dev->vdpa.ngroups;
	core->groups = soft_groups(p);
	core->desc_group = soft_has_desc_group(p);
	core->config_cb.trigger = -1;
	core->limit = (struct vdpa_ratelimit)VDPA_RATELIMIT_INIT;
	pthread_mutex_init(&core->config_lock, NULL);
	pthread_mutex_init(&core->broken_lock, NULL);
	soft_wait_init(core);
	return core;
}

static int core_setup(struct vdpa_soft_core *core, const struct vdpa_soft_params *p)
{
	core->vqs = calloc(core->nvqs, sizeof(core->vqs[0]));
	if (!core->vqs)
		return -ENOMEM;
	for (uint32_t i = 0; i < core->nvqs; i++)
		soft_vq_init(core, (uint16_t)i);
	core->config_bytes = p->config_bytes;
	core->config = calloc(1, p->config_bytes ? p->config_bytes : 1);
	if (!core->config)
		return -ENOMEM;
	if (p->config_bytes)
		memcpy(core->config, p->config, p->config_bytes);
	return soft_map_init(core);
}

void *vdpa_soft_alloc(struct vdpa_ctx *ctx, const struct vdpa_soft_params *p,
		      struct vdpa_error *err)
{
	bool set_map = p->map == VDPA_SOFT_SET_MAP;
	struct vdpa_alloc_params alloc = {
		.device_size = sizeof(struct vdpa_device),
		.size = p->struct_size,
		.offset = offsetof(struct vdpa_soft, vdpa),
		.name = p->name,
		.parent = p->parent,
		.use_va = true,
	};
	struct vdpa_soft *dev;
	int r = check_params(p, err);

	if (r)
		return NULL;
	alloc.config = &config_ops[set_map][soft_has_desc_group(p)];
	alloc.ngroups = soft_ngroups(p);
	alloc.nas = p->nas || soft_groups(p) == VDPA_SOFT_GROUPS_OWN ? p->nas : alloc.ngroups;
	dev = vdpa_alloc_device_params(ctx, &alloc, err);
	if (!dev)
		return NULL;
	dev->vdpa.ext = set_map ? &set_map_ext : &dma_map_ext;
	dev->core = core_new(dev, p);
	r = dev->core ? core_setup(dev->core, p) : -ENOMEM;
	if (r)
		vdpa_error_set(err, -r, dev->vdpa.name, "no memory for another device");
	else if (p->workers)
		r = soft_workers_parse(dev->core, p->workers, &dev->core->workers, err);
	if (r) {
		vdpa_put_device(&dev->vdpa);
		return NULL;
	}
	dev->ops = p->ops;
	return dev;
}

int vdpa_soft_register(struct vdpa_soft *dev, struct vdpa_error *err)
{
	int r;

	/* A bus driver may take it before the registration has returned. */
	for (uint32_t i = 0; i < dev->core->nvqs; i++)
		dev->core->vqs[i].loop = soft_default_loop(&dev->core->vqs[i]);
	dev->core->registered = true;
	r = vdpa_register_device(&dev->vdpa, dev->core->nvqs, err);
	if (r)
		dev->core->registered = false;
	return r;
}

struct vdpa_soft_vq *vdpa_soft_get_vq(struct vdpa_soft *dev, uint16_t idx)
{
	return idx < dev->core->nvqs ? &dev->core->vqs[idx] : NULL;
}

/* ---- deletion ---- */

struct soft_del {
	struct vdpa_soft *dev;
	struct vdpa_done done;
	struct vdpa_loop_sync sync;
};

/*
 * The device first: who is told that it is gone may use at once what it had, an image or a tap, and
 * may do so from another process.
 */
static void del_told(struct vdpa_loop_sync *sync)
{
	struct soft_del *del = vdpa_container_of(sync, struct soft_del, sync);
	struct vdpa_done done = del->done;

	vdpa_put_device(&del->dev->vdpa);
	free(del);
	vdpa_done_call(&done, 0);
}

/* Messages that are under way to its queues, and the one that brought us here, hold the device. */
static void del_end(void *arg, int result)
{
	struct soft_del *del = arg;

	vdpa_loop_group_sync(vdpa_ctx_loops(del->dev->vdpa.ctx), &del->sync, del_told);
}

/* Whoever drove it without a bus driver may have left queues running. */
static void del_reset(void *arg, int result)
{
	struct soft_del *del = arg;
	int r = soft_reset_done(&del->dev->vdpa, &(struct vdpa_done){del_end, del});

	if (r)
		del_end(del, r);
}

int vdpa_soft_dev_del(struct vdpa_mgmt_dev *mdev, struct vdpa_device *vdev,
		      const struct vdpa_done *done)
{
	struct soft_del *del = calloc(1, sizeof(*del));
	int r;

	if (!del)
		return -ENOMEM;
	del->dev = vdpa_to_soft(vdev);
	if (done)
		del->done = *done;
	vdpa_get_device(vdev);
	r = vdpa_unregister_device(vdev, &(struct vdpa_done){del_reset, del});
	if (r) {
		free(del);
		vdpa_put_device(vdev);
	}
	return r;
}

/* ---- attributes ---- */

static const char *const dma_choices[] = {"dma_map", "set_map", NULL};

const struct vdpa_attr_spec vdpa_soft_attrs[] = {
	{.name = "dma",
	 .type = VDPA_ATTR_ENUM,
	 .choices = dma_choices,
	 .help = "how maps come: one range at a time (dma_map, default), or whole tables "
		 "(set_map)"},
	{.name = "queue_size",
	 .type = VDPA_ATTR_U64,
	 .min = 2,
	 .max = 32768,
	 .help = "largest ring, a power of two (default 256)"},
	{.name = "stop_timeout_ms",
	 .type = VDPA_ATTR_U64,
	 .min = 1,
	 .max = 3600000,
	 .help = "how long a stop waits for requests before the device is broken (default 30000)"},
	{.name = "busyloop",
	 .type = VDPA_ATTR_U64,
	 .max = SOFT_BUSYLOOP_MAX_US,
	 .help = "how long a queue is polled after work before its worker sleeps, in microseconds; "
		 "can be changed (default 0: no longer than the work took)"},
	{.name = "workers",
	 .type = VDPA_ATTR_STRING,
	 .help = "which workers serve the queues (of a NIC: pairs), in turn, as 0,1; can be "
		 "changed "
		 "(default: all)"},
	{.name = "groups",
	 .type = VDPA_ATTR_ENUM,
	 .choices = soft_group_choices,
	 .help = "which queues share an address space: single (all), cvq (all but the control "
		 "queue; default of a device that has one), per-vq (none)"},
	{.name = "desc_group",
	 .type = VDPA_ATTR_BOOL,
	 .help = "rings and descriptor tables are in groups of their own, apart from the buffers "
		 "(default off)"},
	{.name = "nas",
	 .type = VDPA_ATTR_U64,
	 .min = 1,
	 .max = 1024,
	 .help = "address spaces (default: as many as groups)"},
	{0},
};

void vdpa_soft_params_attrs(struct vdpa_soft_params *params, const struct vdpa_attr *attrs)
{
	const char *dma = vdpa_attr_get(attrs, "dma");
	uint64_t ms = vdpa_attr_u64(attrs, "stop_timeout_ms", 0);
	uint64_t num = vdpa_attr_u64(attrs, "queue_size", 0);

	if (dma)
		params->map = !strcmp(dma, "set_map") ? VDPA_SOFT_SET_MAP : VDPA_SOFT_DMA_MAP;
	if (ms)
		params->stop_timeout_ns = ms * 1000000;
	if (num)
		params->num_max = (uint16_t)num;
	params->workers = vdpa_attr_get(attrs, "workers");
	soft_groups_attrs(params, attrs);
	params->busyloop_us = (unsigned)vdpa_attr_u64(attrs, "busyloop", params->busyloop_us);
}

int vdpa_soft_dev_set(struct vdpa_mgmt_dev *mdev, struct vdpa_device *vdev,
		      const struct vdpa_dev_set_config *config, struct vdpa_error *err)
{
	struct vdpa_soft *dev = vdpa_to_soft(vdev);
	const char *workers = vdpa_attr_get(config->attrs, "workers");
	int r = 0;

	for (const struct vdpa_attr *a = config->attrs; !r && a && a->key; a++)
		if (strcmp(a->key, "busyloop") && strcmp(a->key, "workers"))
			r = vdpa_error_set(err, EINVAL, vdev->name,
					   "%.40s cannot be set by itself on a device that exists; "
					   "busyloop and workers can",
					   a->key);
	if (!r)
		r = vdpa_attr_check(config->attrs, vdpa_soft_attrs, vdev->name, err);
	if (!r && workers)
		r = soft_set_workers(dev->core, workers, err);
	if (!r)
		vdpa_soft_set_busyloop(dev, (unsigned)vdpa_attr_u64(config->attrs, "busyloop",
								    vdpa_soft_get_busyloop(dev)));
	return r;
}
