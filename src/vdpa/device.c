// SPDX-License-Identifier: BSD-3-Clause
/*
 * Life of a device: allocated with one reference, registered (visible), unregistered (that
 * reference is dropped), freed with the last one. Its number is taken at allocation and given back
 * at release, so that undoing a failed registration is nothing but a put.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "vdpa/core.h"

struct vdpa_object_name vdpa_dev_object(const char *name)
{
	struct vdpa_object_name o;

	snprintf(o.s, sizeof(o.s), "dev/%s", name ? name : "");
	return o;
}

static int core_init_lock(struct vdpa_device_core *core)
{
	pthread_mutexattr_t attr;
	int ret;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
	ret = pthread_mutex_init(&core->lock, &attr);
	pthread_mutexattr_destroy(&attr);
	return -ret;
}

static void core_free(struct vdpa_device_core *core)
{
	free(core->parent);
	free(core->dma_device);
	free(core->driver_override);
	free(core->add_attrs);
	free(core->bind_attrs);
	free(core->alloc);
	free(core);
}

/* Memory for everything; -ENOMEM leaves nothing behind. */
static struct vdpa_device_core *core_new(const struct vdpa_alloc_params *p)
{
	struct vdpa_device_core *core = calloc(1, sizeof(*core));

	if (!core)
		return NULL;
	core->alloc = calloc(1, p->size);
	core->parent = strdup(p->parent ? p->parent : "");
	core->dma_device = strdup(p->dma_device ? p->dma_device : p->parent ? p->parent : "");
	if (!core->alloc || !core->parent || !core->dma_device || core_init_lock(core)) {
		core_free(core);
		return NULL;
	}
	vdpa_ref_init(&core->ref);
	list_init(&core->node);
	list_init(&core->name_node);
	core->vdev = (struct vdpa_device *)(void *)((char *)core->alloc + p->offset);
	return core;
}

static void device_init(struct vdpa_ctx *ctx, struct vdpa_device_core *core,
			const struct vdpa_alloc_params *p, unsigned index)
{
	struct vdpa_device *vdev = core->vdev;

	vdev->ctx = ctx;
	vdev->core = core;
	vdev->config = p->config;
	vdev->name = core->name;
	vdev->parent = core->parent;
	vdev->dma_device = core->dma_device;
	vdev->index = index;
	vdev->ngroups = p->ngroups ? p->ngroups : 1;
	vdev->nas = p->nas ? p->nas : 1;
	vdev->use_va = p->use_va;
	if (p->name)
		snprintf(core->name, sizeof(core->name), "%s", p->name);
	else
		snprintf(core->name, sizeof(core->name), "vdpa%u", index);
}

static int name_taken(struct vdpa_ctx *ctx, const char *name, struct vdpa_error *err)
{
	if (!vdpa_find_device(ctx, name))
		return 0;
	return vdpa_error_set(err, EEXIST, vdpa_dev_object(name).s,
			      "a device of this name exists already");
}

void *vdpa_alloc_device_params(struct vdpa_ctx *ctx, const struct vdpa_alloc_params *params,
			       struct vdpa_error *err)
{
	struct vdpa_device_core *core;
	unsigned index;
	int ret;

	assert(vdpa_loop_is_current(vdpa_ctx_control(ctx)));
	if (vdpa_validate_params(params, err))
		return NULL;
	if (params->name && name_taken(ctx, params->name, err))
		return NULL;
	core = core_new(params);
	ret = core ? vdpa_ids_get(&ctx->ids, &index) : -ENOMEM;
	if (ret) {
		if (core) {
			pthread_mutex_destroy(&core->lock);
			core_free(core);
		}
		vdpa_error_set(err, -ret, params->name, "no memory for another device");
		return NULL;
	}
	device_init(ctx, core, params, index);
	ctx->alive++;
	return core->alloc;
}

static void device_release(struct vdpa_loop_msg *msg)
{
	struct vdpa_device_core *core =
		vdpa_container_of(msg, struct vdpa_device_core, release_msg);
	struct vdpa_device *vdev = core->vdev;
	struct vdpa_ctx *ctx = vdev->ctx;

	assert(core->state == VDPA_DEV_NEW || core->state == VDPA_DEV_GONE);
	if (vdev->config->free)
		vdev->config->free(vdev);
	vdpa_ids_put(&ctx->ids, vdev->index);
	pthread_mutex_destroy(&core->lock);
	core_free(core);
	ctx->alive--;
}

struct vdpa_device *vdpa_get_device(struct vdpa_device *vdev)
{
	vdpa_ref_get(&vdev->core->ref);
	return vdev;
}

void vdpa_put_device(struct vdpa_device *vdev)
{
	if (vdev && vdpa_ref_put(&vdev->core->ref))
		vdpa_loop_call(vdpa_ctx_control(vdev->ctx), &vdev->core->release_msg,
			       device_release);
}

unsigned vdpa_device_refs(const struct vdpa_device *vdev)
{
	return vdpa_ref_read(&vdev->core->ref);
}

/* FNV-1a. */
static struct list *names_of(struct vdpa_ctx *ctx, const char *name)
{
	uint32_t hash = 2166136261u;

	while (*name)
		hash = (hash ^ (uint8_t)*name++) * 16777619u;
	return &ctx->names[hash % VDPA_NAME_BUCKETS];
}

int vdpa_register_device(struct vdpa_device *vdev, uint32_t nvqs, struct vdpa_error *err)
{
	struct vdpa_ctx *ctx = vdev->ctx;
	int ret;

	assert(vdpa_loop_is_current(vdpa_ctx_control(ctx)));
	if (vdev->core->state != VDPA_DEV_NEW)
		return vdpa_error_set(err, EINVAL, vdpa_dev_object(vdev->name).s,
				      "the device was registered before");
	ret = vdpa_validate_registration(vdev, nvqs, err);
	if (!ret)
		ret = name_taken(ctx, vdev->name, err);
	if (ret)
		return ret;
	vdev->nvqs = nvqs;
	vdpa_mgmt_adopt(vdev);
	list_add_tail(&ctx->devices, &vdev->core->node);
	list_add_tail(names_of(ctx, vdev->name), &vdev->core->name_node);
	vdev->core->state = VDPA_DEV_LIVE;
	/* A subscriber may delete it on the spot. */
	vdpa_get_device(vdev);
	vdpa_dev_log(vdev, VDPA_LOG_INFO, "added, parent \"%s\", %u virtqueues", vdev->parent,
		     nvqs);
	vdpa_notify(vdev, VDPA_EVENT_ADD, "");
	vdpa_device_attach(vdev);
	vdpa_put_device(vdev);
	return 0;
}

void vdpa_unregister_finish(struct vdpa_device *vdev)
{
	struct vdpa_device_core *core = vdev->core;
	struct vdpa_done done = core->unregister_done;
	struct vdpa_done mdev_done;

	assert(core->state == VDPA_DEV_GOING && core->bind == VDPA_UNBOUND);
	walk_list_remove(vdev->ctx->walks, &core->node);
	list_del(&core->name_node);
	core->state = VDPA_DEV_GONE;
	vdpa_dev_log(vdev, VDPA_LOG_INFO, "deleted");
	vdpa_notify(vdev, VDPA_EVENT_DEL, "");
	/* Who still holds the device may outlive its management device. */
	mdev_done = vdpa_mgmt_device_gone(vdev);
	vdpa_put_device(vdev);
	/* From here on even the context may go. */
	vdpa_done_call(&done, 0);
	vdpa_done_call(&mdev_done, 0);
}

int vdpa_unregister_device(struct vdpa_device *vdev, const struct vdpa_done *done)
{
	struct vdpa_device_core *core = vdev->core;

	assert(vdpa_loop_is_current(vdpa_ctx_control(vdev->ctx)));
	if (core->state == VDPA_DEV_GOING)
		return -EALREADY;
	if (core->state != VDPA_DEV_LIVE)
		return -EINVAL;
	if (core->bind == VDPA_BINDING)
		return -EBUSY;
	core->state = VDPA_DEV_GOING;
	core->unregister_done = done ? *done : (struct vdpa_done){0};
	/* Whoever unbinds, now or since before: the end of it goes on with us. */
	if (core->bind == VDPA_UNBOUND)
		vdpa_unregister_finish(vdev);
	else if (core->bind == VDPA_BOUND)
		vdpa_unbind(vdev, NULL);
	return 0;
}

struct vdpa_device *vdpa_find_device(struct vdpa_ctx *ctx, const char *name)
{
	struct vdpa_device_core *core;

	list_for_each_entry (core, names_of(ctx, name), name_node) {
		if (!strcmp(core->name, name))
			return core->vdev;
	}
	return NULL;
}

void vdpa_for_each_device(struct vdpa_ctx *ctx, bool (*fn)(void *arg, struct vdpa_device *vdev),
			  void *arg)
{
	struct walk walk;
	bool more = true;

	walk_begin(&ctx->walks, &walk, ctx->devices.next);
	while (more && walk.next != &ctx->devices) {
		struct list *node = walk.next;

		walk.next = node->next;
		more = fn(arg, list_entry(node, struct vdpa_device_core, node)->vdev);
	}
	walk_end(&ctx->walks, &walk);
}
