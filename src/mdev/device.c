// SPDX-License-Identifier: BSD-3-Clause
/*
 * Life of a mediated device: made by its parent, which says what class it is of; visible; removed,
 * which waits for its driver and then for its parent; freed with the last reference. Whoever holds
 * one may outlive its parent, and finds only what the core itself has in it.
 */
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "mdev/core.h"
#include "vdpa/attrs.h"

struct mdev_object_name mdev_object(const char *uuid)
{
	struct mdev_object_name o;

	snprintf(o.s, sizeof(o.s), "mdev/%.36s", uuid);
	return o;
}

bool mdev_uuid_valid(const char *text, char out[MDEV_UUID_BYTES])
{
	size_t i;

	for (i = 0; i < MDEV_UUID_BYTES - 1; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? text[i] != '-' : !isxdigit((unsigned char)text[i]))
			return false;
	}
	if (text[i])
		return false;
	for (i = 0; out && i < MDEV_UUID_BYTES; i++)
		out[i] = (char)tolower((unsigned char)text[i]);
	return true;
}

/* ---- found ---- */

struct mdev_device *mdev_find(struct vdpa_ctx *ctx, const char *uuid)
{
	struct mdev_state *st = mdev_state(ctx, false);
	char lower[MDEV_UUID_BYTES];
	struct mdev_core *core;

	if (!st || !mdev_uuid_valid(uuid, lower))
		return NULL;
	list_for_each_entry (core, &st->devices, node) {
		if (!strcmp(core->uuid, lower))
			return core->mdev;
	}
	return NULL;
}

void mdev_for_each(struct vdpa_ctx *ctx, bool (*fn)(void *arg, struct mdev_device *mdev), void *arg)
{
	struct mdev_state *st = mdev_state(ctx, false);
	struct walk walk;
	bool more = true;

	if (!st)
		return;
	walk_begin(&st->walks, &walk, st->devices.next);
	while (more && walk.next != &st->devices) {
		struct list *node = walk.next;

		walk.next = node->next;
		more = fn(arg, list_entry(node, struct mdev_core, node)->mdev);
	}
	walk_end(&st->walks, &walk);
}

struct mdev_device *mdev_get(struct mdev_device *mdev)
{
	vdpa_ref_get(&mdev->core->ref);
	return mdev;
}

static void core_free(struct mdev_core *core)
{
	free(core->attrs);
	free(core->bind_attrs);
	free(core->alloc);
	free(core);
}

void mdev_put(struct mdev_device *mdev)
{
	struct mdev_core *core;

	if (!mdev || !vdpa_ref_put(&mdev->core->ref))
		return;
	core = mdev->core;
	assert(core->state == MDEV_GONE);
	vdpa_ctx_release(core->state_of->ctx);
	core_free(core);
}

/* ---- class ---- */

int mdev_set_class(struct mdev_device *mdev, uint16_t id, const void *ops)
{
	struct mdev_core *core = mdev->core;

	if (core->class_id) {
		mdev_log(mdev, VDPA_LOG_WARN, "class id set twice: it stays %u, and is not %u",
			 core->class_id, id);
		return -EALREADY;
	}
	if (core->state != MDEV_NEW || !ops || !mdev_bus_of(mdev->ctx, id, NULL)) {
		mdev_log(mdev, VDPA_LOG_WARN, "class id %u: %s", id,
			 core->state != MDEV_NEW ? "the device exists already"
			 : !ops			 ? "it has no ops"
						 : "no bus has this class");
		return -EINVAL;
	}
	core->class_id = id;
	core->class_ops = ops;
	return 0;
}

uint16_t mdev_class_id(const struct mdev_device *mdev)
{
	return mdev->core->class_id;
}

const void *mdev_class_ops(const struct mdev_device *mdev, uint16_t id)
{
	return id && mdev->core->class_id == id ? mdev->core->class_ops : NULL;
}

struct mdev_modalias mdev_modalias(const struct mdev_device *mdev)
{
	const uint16_t id = mdev->core->class_id;
	const struct mdev_bus *bus = mdev_bus_of(mdev->ctx, id, NULL);
	struct mdev_modalias alias;

	snprintf(alias.s, sizeof(alias.s), "%s:c%02X", bus ? bus->name : "", id);
	return alias;
}

/* ---- attributes ---- */

const struct vdpa_attr *mdev_attrs(const struct mdev_device *mdev)
{
	return mdev->core->attrs ? mdev->core->attrs : vdpa_attrs_none;
}

/* @attrs were checked. Nothing that has no memory leaves an attribute unset but remembered. */
static int set_attrs(struct mdev_device *mdev, const struct vdpa_attr *attrs,
		     struct vdpa_error *err)
{
	struct vdpa_attr *joined = vdpa_attrs_join(attrs, mdev->core->attrs);
	struct vdpa_error why = {.msg = ""};
	int ret = 0;

	if (!joined)
		return vdpa_error_set(err, ENOMEM, mdev_object(mdev->uuid).s, "no memory");
	for (; !ret && attrs && attrs->key; attrs++)
		ret = mdev->parent->ops->set_attr(mdev, attrs->key, attrs->value, &why);
	if (ret) {
		free(joined);
		return vdpa_error_set(err, -ret, mdev_object(mdev->uuid).s, "%s",
				      why.msg[0] ? why.msg : strerror(-ret));
	}
	free(mdev->core->attrs);
	mdev->core->attrs = joined;
	return 0;
}

static int check_attrs(const struct mdev_request *req, struct vdpa_error *err)
{
	static const struct vdpa_attr_spec none[1];
	const bool can = mdev_op(req->parent, set_attr) && req->type->attrs;

	return vdpa_attr_check(req->attrs, can ? req->type->attrs : none, mdev_object(req->uuid).s,
			       err);
}

int mdev_set_attr(struct mdev_device *mdev, const char *key, const char *value,
		  struct vdpa_error *err)
{
	const struct vdpa_attr attrs[] = {{key, value}, {NULL, NULL}};
	const struct mdev_request req = {mdev->parent, mdev->type, mdev->uuid, attrs};
	int ret;

	if (mdev->core->state != MDEV_LIVE)
		return vdpa_error_set(err, ENODEV, mdev_object(mdev->uuid).s,
				      "it is being removed");
	ret = check_attrs(&req, err);
	if (!ret)
		ret = set_attrs(mdev, attrs, err);
	if (!ret)
		mdev_notify_device(mdev, MDEV_EVENT_CHANGE, key);
	return ret;
}

void mdev_show(struct mdev_device *mdev, vdpa_emit_fn emit, void *arg)
{
	if (mdev->core->state == MDEV_LIVE && mdev_op(mdev->parent, show))
		mdev->parent->ops->show(mdev, emit, arg);
}

/* ---- birth ---- */

static struct mdev_device *device_new(const struct mdev_request *req)
{
	struct mdev_parent *parent = req->parent;
	const struct mdev_parent_ops *ops = parent->ops;
	struct mdev_core *core = calloc(1, sizeof(*core));
	struct mdev_device *mdev;

	if (!core)
		return NULL;
	core->alloc = calloc(1, ops->struct_size ? ops->struct_size : sizeof(*mdev));
	if (!core->alloc) {
		free(core);
		return NULL;
	}
	mdev = (void *)((char *)core->alloc + ops->offset);
	core->mdev = mdev;
	core->state_of = mdev_state(parent->ctx, false);
	vdpa_ref_init(&core->ref);
	list_init(&core->node);
	mdev_uuid_valid(req->uuid, core->uuid);
	mdev->ctx = parent->ctx;
	mdev->core = core;
	mdev->parent = parent;
	mdev->type = req->type;
	mdev->uuid = core->uuid;
	vdpa_ctx_hold(parent->ctx);
	mdev_parent_entry(parent)->devices++;
	return mdev;
}

static int may_create(const struct mdev_request *req, struct vdpa_error *err)
{
	struct mdev_parent *parent = req->parent;
	struct mdev_parent_entry *entry = mdev_parent_entry(parent);
	struct mdev_object_name object = mdev_object(req->uuid);

	if (!mdev_uuid_valid(req->uuid, NULL))
		return vdpa_error_set(err, EINVAL, object.s,
				      "no UUID: 8-4-4-4-12 hexadecimal digits");
	if (!entry || entry->going)
		return vdpa_error_set(err, ENODEV, object.s, "parent %s is going", parent->name);
	if (mdev_state(parent->ctx, false)->shutting_down)
		return vdpa_error_set(err, ESHUTDOWN, object.s, "everything is shutting down");
	if (mdev_find(parent->ctx, req->uuid))
		return vdpa_error_set(err, EEXIST, object.s, "this UUID is in use");
	if (!mdev_available_instances(parent, req->type))
		return vdpa_error_set(err, EUSERS, object.s, "parent %s has no instance of %s left",
				      parent->name, mdev_type_name(parent, req->type).s);
	return 0;
}

/* The device as its parent makes it, with its attributes. */
static int device_make(struct mdev_device *mdev, const struct vdpa_attr *attrs,
		       struct vdpa_error *err)
{
	struct vdpa_error why = {.msg = ""};
	int ret = mdev->parent->ops->create(mdev, &why);

	if (ret)
		return vdpa_error_set(err, -ret, mdev_object(mdev->uuid).s, "%s",
				      why.msg[0] ? why.msg : strerror(-ret));
	mdev->core->state = MDEV_LIVE; /* it has to be removed */
	if (!mdev->core->class_id) {
		mdev_log(mdev, VDPA_LOG_WARN, "class id not specified");
		return vdpa_error_set(err, EINVAL, mdev_object(mdev->uuid).s,
				      "parent %s did not specify the device's class id",
				      mdev->parent->name);
	}
	/* create() may have made others. */
	if (mdev_find(mdev->ctx, mdev->uuid))
		return vdpa_error_set(err, EEXIST, mdev_object(mdev->uuid).s,
				      "this UUID is in use");
	return attrs && attrs->key ? set_attrs(mdev, attrs, err) : 0;
}

/* From now on everybody sees it. Who hears of it may remove it on the spot. */
static int device_publish(struct mdev_device *mdev)
{
	bool there;

	list_add_tail(&mdev->core->state_of->devices, &mdev->core->node);
	mdev_log(mdev, VDPA_LOG_INFO, "created: %s of %s, %s",
		 mdev_type_name(mdev->parent, mdev->type).s, mdev->parent->name,
		 mdev_modalias(mdev).s);
	mdev_get(mdev);
	mdev_notify_device(mdev, MDEV_EVENT_ADD, NULL);
	mdev_attach(mdev);
	there = mdev->core->state == MDEV_LIVE;
	mdev_put(mdev);
	return there ? 0 : -ENODEV;
}

/* ---- death ---- */

static struct vdpa_done shutdown_progress(struct mdev_state *st)
{
	struct vdpa_done done = st->shutdown_done;

	if (!st->shutting_down || !list_empty(&st->devices))
		return (struct vdpa_done){0};
	st->shutdown_done = (struct vdpa_done){0};
	return done;
}

/* The parent has let go. */
static void remove_finish(void *arg, int result)
{
	struct mdev_core *core = arg;
	struct mdev_device *mdev = core->mdev;
	struct mdev_parent *parent = mdev->parent;
	struct vdpa_done done = core->remove_done, last, shut = {0};
	bool visible = !list_empty(&core->node);

	assert(core->state == MDEV_GOING);
	core->state = MDEV_GONE;
	if (visible) {
		walk_list_remove(core->state_of->walks, &core->node);
		mdev_log(mdev, VDPA_LOG_INFO, "removed");
		mdev_notify_device(mdev, MDEV_EVENT_DEL, NULL);
		shut = shutdown_progress(core->state_of);
	}
	last = mdev_parent_left(parent);
	mdev->parent = NULL;
	mdev_put(mdev);
	vdpa_done_call(&done, result);
	vdpa_done_call(&last, 0);
	vdpa_done_call(&shut, 0);
}

void mdev_remove_go_on(struct mdev_device *mdev)
{
	const struct vdpa_done finish = {.fn = remove_finish, .arg = mdev->core};

	if (mdev_op(mdev->parent, remove))
		mdev->parent->ops->remove(mdev, &finish);
	else
		remove_finish(mdev->core, 0);
}

int mdev_remove(struct mdev_device *mdev, const struct vdpa_done *done)
{
	struct mdev_core *core = mdev->core;

	assert(vdpa_loop_is_current(vdpa_ctx_control(mdev->ctx)));
	if (core->state == MDEV_GOING || core->state == MDEV_GONE)
		return -EALREADY;
	if (core->state == MDEV_NEW || core->bind == MDEV_BINDING)
		return -EBUSY;
	core->state = MDEV_GOING;
	core->remove_done = done ? *done : (struct vdpa_done){0};
	if (core->bind == MDEV_BOUND)
		mdev_unbind_start(mdev, NULL);
	else if (core->bind == MDEV_UNBOUND)
		mdev_remove_go_on(mdev);
	return 0;
}

/* create() failed: nobody has seen the device. */
static void never_was(struct mdev_device *mdev)
{
	struct vdpa_done last;

	mdev->core->state = MDEV_GONE;
	last = mdev_parent_left(mdev->parent);
	mdev_put(mdev);
	vdpa_done_call(&last, 0);
}

int mdev_create(const struct mdev_request *req, struct mdev_device **out, struct vdpa_error *err)
{
	struct mdev_device *mdev;
	int ret = may_create(req, err);

	if (!ret)
		ret = check_attrs(req, err);
	if (ret)
		return ret;
	assert(vdpa_loop_is_current(vdpa_ctx_control(req->parent->ctx)));
	mdev = device_new(req);
	if (!mdev)
		return vdpa_error_set(err, ENOMEM, mdev_object(req->uuid).s, "no memory");
	ret = device_make(mdev, req->attrs, err);
	if (ret && mdev->core->state == MDEV_NEW)
		never_was(mdev);
	else if (ret)
		mdev_remove(mdev, NULL);
	if (ret)
		return ret;
	if (device_publish(mdev))
		return vdpa_error_set(err, ENODEV, mdev_object(req->uuid).s,
				      "it was removed at once");
	if (out)
		*out = mdev;
	return 0;
}

static bool remove_one(void *arg, struct mdev_device *mdev)
{
	mdev_remove(mdev, NULL);
	return true;
}

int mdev_shutdown(struct vdpa_ctx *ctx, const struct vdpa_done *done)
{
	struct mdev_state *st = mdev_state(ctx, true);

	if (!st)
		return -ENOMEM;
	if (st->shutting_down)
		return -EALREADY;
	st->shutting_down = true;
	/* Not before the walk is over: @done may be the end of the context. */
	mdev_for_each(ctx, remove_one, NULL);
	if (list_empty(&st->devices))
		vdpa_done_call(done, 0);
	else
		st->shutdown_done = done ? *done : (struct vdpa_done){0};
	return 0;
}
