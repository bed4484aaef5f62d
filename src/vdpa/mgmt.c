// SPDX-License-Identifier: BSD-3-Clause
/*
 * Management devices: what makes devices on request. The core checks the request, keeps a copy of
 * it for dumps, and gives it to the device at registration, before anybody sees that.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "vdpa/attrs.h"
#include "vdpa/core.h"

static struct vdpa_mgmt_core *mgmt_core(const struct vdpa_mgmt_dev *mdev)
{
	return mdev->reserved[0];
}

/* Is @handle "NAME" or "BUS/NAME" of @mdev? */
static bool mgmt_is(const struct vdpa_mgmt_dev *mdev, const char *handle)
{
	size_t len;

	if (!mdev->bus)
		return !strcmp(handle, mdev->name);
	len = strlen(mdev->bus);
	return !strncmp(handle, mdev->bus, len) && handle[len] == '/' &&
	       !strcmp(handle + len + 1, mdev->name);
}

struct vdpa_mgmt_dev *vdpa_mgmtdev_find(struct vdpa_ctx *ctx, const char *name)
{
	struct vdpa_mgmt_core *core;

	list_for_each_entry (core, &ctx->mgmtdevs, node) {
		if (mgmt_is(core->mdev, name))
			return core->mdev;
	}
	return NULL;
}

static bool mgmt_same(const struct vdpa_mgmt_dev *a, const struct vdpa_mgmt_dev *b)
{
	return !strcmp(a->name, b->name) && !strcmp(a->bus ? a->bus : "", b->bus ? b->bus : "");
}

int vdpa_mgmtdev_register(struct vdpa_ctx *ctx, struct vdpa_mgmt_dev *mdev)
{
	struct vdpa_mgmt_core *core;

	assert(vdpa_loop_is_current(vdpa_ctx_control(ctx)));
	if (!mdev->name || !*mdev->name || !mdev->ops || !mdev->ops->dev_add || !mdev->ops->dev_del)
		return -EINVAL;
	list_for_each_entry (core, &ctx->mgmtdevs, node) {
		if (mgmt_same(core->mdev, mdev))
			return -EEXIST;
	}
	core = calloc(1, sizeof(*core));
	if (!core)
		return -ENOMEM;
	core->mdev = mdev;
	mdev->ctx = ctx;
	mdev->reserved[0] = core;
	list_add_tail(&ctx->mgmtdevs, &core->node);
	return 0;
}

void vdpa_for_each_mgmtdev(struct vdpa_ctx *ctx, bool (*fn)(void *arg, struct vdpa_mgmt_dev *mdev),
			   void *arg)
{
	struct walk walk;
	bool more = true;

	walk_begin(&ctx->walks, &walk, ctx->mgmtdevs.next);
	while (more && walk.next != &ctx->mgmtdevs) {
		struct list *node = walk.next;

		walk.next = node->next;
		more = fn(arg, list_entry(node, struct vdpa_mgmt_core, node)->mdev);
	}
	walk_end(&ctx->walks, &walk);
}

static bool mgmt_has_devices(const struct vdpa_mgmt_dev *mdev)
{
	struct vdpa_device_core *core;

	list_for_each_entry (core, &mdev->ctx->devices, node) {
		if (core->vdev->mdev == mdev)
			return true;
	}
	return false;
}

/* Nobody has it any more: forget it, and say whom to tell. */
static struct vdpa_done mgmt_finish(struct vdpa_mgmt_dev *mdev)
{
	struct vdpa_mgmt_core *core = mgmt_core(mdev);
	struct vdpa_done done = core->done;

	walk_list_remove(mdev->ctx->walks, &core->node);
	mdev->reserved[0] = NULL;
	mdev->ctx = NULL;
	free(core);
	if (mdev->release)
		mdev->release(mdev);
	return done;
}

struct vdpa_done vdpa_mgmt_device_gone(struct vdpa_device *vdev)
{
	struct vdpa_mgmt_dev *mdev = vdev->mdev;

	/* Whoever still holds the device may outlive its management device. */
	vdev->mdev = NULL;
	if (!mdev || !mgmt_core(mdev) || !mgmt_core(mdev)->going || mgmt_has_devices(mdev))
		return (struct vdpa_done){0};
	return mgmt_finish(mdev);
}

struct mgmt_delete {
	struct vdpa_mgmt_dev *mdev;
	int ret;
};

static bool mgmt_delete_one(void *arg, struct vdpa_device *vdev)
{
	struct mgmt_delete *del = arg;

	if (vdev->mdev != del->mdev || vdev->core->state != VDPA_DEV_LIVE)
		return true;
	del->ret = del->mdev->ops->dev_del(del->mdev, vdev, NULL);
	return !del->ret;
}

int vdpa_mgmtdev_unregister(struct vdpa_mgmt_dev *mdev, const struct vdpa_done *done)
{
	struct vdpa_mgmt_core *core = mgmt_core(mdev);
	struct mgmt_delete del = {.mdev = mdev};
	struct vdpa_done finished;

	if (!core)
		return -EINVAL;
	if (core->going)
		return -EALREADY;
	if (!mgmt_has_devices(mdev)) {
		core->done = done ? *done : (struct vdpa_done){0};
		finished = mgmt_finish(mdev);
		vdpa_done_call(&finished, 0);
		return 0;
	}
	core->done = done ? *done : (struct vdpa_done){0};
	core->going = true;
	/* The last device to go, which may be within this call, finishes. */
	vdpa_for_each_device(mdev->ctx, mgmt_delete_one, &del);
	if (del.ret)
		core->going = false;
	return del.ret;
}

/* The request in the words that a person would use to make it again. */
static struct vdpa_attr *config_to_attrs(const struct vdpa_dev_set_config *c)
{
	struct vdpa_attr attrs[5] = {{NULL, NULL}};
	char features[24], mac[24], mtu[8], vqp[8];
	size_t n = 0;

	if (c->mask & VDPA_CFG_FEATURES) {
		snprintf(features, sizeof(features), "0x%" PRIx64, c->device_features);
		attrs[n++] = (struct vdpa_attr){"device_features", features};
	}
	if (c->mask & VDPA_CFG_NET_MAC) {
		snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", c->net.mac[0],
			 c->net.mac[1], c->net.mac[2], c->net.mac[3], c->net.mac[4], c->net.mac[5]);
		attrs[n++] = (struct vdpa_attr){"mac", mac};
	}
	if (c->mask & VDPA_CFG_NET_MTU) {
		snprintf(mtu, sizeof(mtu), "%u", c->net.mtu);
		attrs[n++] = (struct vdpa_attr){"mtu", mtu};
	}
	if (c->mask & VDPA_CFG_NET_MAX_VQP) {
		snprintf(vqp, sizeof(vqp), "%u", c->net.max_vq_pairs);
		attrs[n++] = (struct vdpa_attr){"max_vqp", vqp};
	}
	return vdpa_attrs_join(attrs, c->attrs);
}

void vdpa_mgmt_adopt(struct vdpa_device *vdev)
{
	struct vdpa_adding *adding;

	for (adding = vdev->ctx->adding; adding; adding = adding->outer) {
		if (strcmp(adding->name, vdev->name))
			continue;
		vdev->mdev = adding->mdev;
		free(vdev->core->add_attrs);
		vdev->core->add_attrs = adding->attrs;
		adding->attrs = NULL;
		return;
	}
}

static int mgmt_add(struct vdpa_mgmt_dev *mdev, const char *name,
		    const struct vdpa_dev_set_config *config, struct vdpa_error *err)
{
	struct vdpa_adding adding = {.mdev = mdev, .name = name, .outer = mdev->ctx->adding};
	struct vdpa_object_name object = vdpa_dev_object(name);
	struct vdpa_ctx *ctx = mdev->ctx;
	int ret;

	adding.attrs = config_to_attrs(config);
	if (!adding.attrs)
		return vdpa_error_set(err, ENOMEM, object.s, "no memory");
	ctx->adding = &adding;
	if (err)
		err->msg[0] = '\0';
	ret = mdev->ops->dev_add(mdev, name, config, err);
	ctx->adding = adding.outer;
	if (ret && err && !err->msg[0])
		vdpa_error_set(err, -ret, object.s, "management device %s: %s", mdev->name,
			       strerror(-ret));
	if (err && ret && !err->object[0])
		snprintf(err->object, sizeof(err->object), "%s", object.s);
	/* Still here: no device of that name was registered. */
	if (!ret && adding.attrs)
		ret = vdpa_error_set(err, EIO, object.s,
				     "management device %s made no device of this name",
				     mdev->name);
	free(adding.attrs);
	return ret;
}

int vdpa_dev_add(struct vdpa_mgmt_dev *mdev, const char *name,
		 const struct vdpa_dev_set_config *config, struct vdpa_error *err)
{
	static const struct vdpa_dev_set_config none = {0};
	int ret;

	if (!mgmt_core(mdev) || mgmt_core(mdev)->going)
		return vdpa_error_set(err, ENODEV, vdpa_dev_object(name).s,
				      "management device %s is gone", mdev->name);
	assert(vdpa_loop_is_current(vdpa_ctx_control(mdev->ctx)));
	if (!config)
		config = &none;
	ret = vdpa_mgmt_check_add(mdev, name, config, err);
	return ret ? ret : mgmt_add(mdev, name, config, err);
}

int vdpa_dev_del(struct vdpa_device *vdev, const struct vdpa_done *done, struct vdpa_error *err)
{
	struct vdpa_object_name object = vdpa_dev_object(vdev->name);
	int ret;

	if (vdev->core->state == VDPA_DEV_GOING)
		return vdpa_error_set(err, EALREADY, object.s, "the device is being deleted");
	if (vdev->core->state != VDPA_DEV_LIVE)
		return vdpa_error_set(err, ENODEV, object.s, "the device is not on the bus");
	if (!vdev->mdev)
		return vdpa_error_set(err, EINVAL, object.s,
				      "only user created device can be deleted by user");
	ret = vdev->mdev->ops->dev_del(vdev->mdev, vdev, done);
	if (ret)
		return vdpa_error_set(err, -ret, object.s, "the device cannot be deleted: %s",
				      strerror(-ret));
	return 0;
}

/*
 * What a dump will say. With another backend, the attributes of the former one, which are those
 * that are neither everybody's nor the management device's own, are no longer true.
 */
static struct vdpa_attr *attrs_after(const struct vdpa_device *vdev,
				     const struct vdpa_dev_set_config *config)
{
	const struct vdpa_attr *old = vdev->core->add_attrs;
	struct vdpa_attr *changed = config_to_attrs(config), *joined = NULL, *kept;
	bool all = !vdpa_attr_get(config->attrs, "backend");
	size_t n = 0;

	kept = calloc(vdpa_attrs_count(old) + 1, sizeof(*kept));
	for (; kept && old && old->key; old++)
		if (all || vdpa_mgmt_own_attr(vdev->mdev, old->key))
			kept[n++] = *old;
	if (changed && kept)
		joined = vdpa_attrs_join(changed, kept);
	free(changed);
	free(kept);
	return joined;
}

int vdpa_dev_set(struct vdpa_device *vdev, const struct vdpa_dev_set_config *config,
		 struct vdpa_error *err)
{
	struct vdpa_object_name object = vdpa_dev_object(vdev->name);
	struct vdpa_attr *attrs;
	int ret = vdpa_mgmt_check_set(vdev, config, err);

	if (ret)
		return ret;
	/* Before anything can no longer be undone. */
	attrs = attrs_after(vdev, config);
	if (!attrs)
		return vdpa_error_set(err, ENOMEM, object.s, "no memory");
	if (err)
		err->msg[0] = '\0';
	ret = vdev->mdev->ops->dev_set_attr(vdev->mdev, vdev, config, err);
	if (ret) {
		free(attrs);
		if (err && !err->msg[0])
			vdpa_error_set(err, -ret, object.s, "management device %s: %s",
				       vdev->mdev->name, strerror(-ret));
		return ret;
	}
	free(vdev->core->add_attrs);
	vdev->core->add_attrs = attrs;
	vdpa_notify(vdev, VDPA_EVENT_CHANGE, "attributes");
	return 0;
}
