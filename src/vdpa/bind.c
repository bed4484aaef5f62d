// SPDX-License-Identifier: BSD-3-Clause
/*
 * Devices and drivers find each other. Binding is at once; unbinding waits for the driver, which
 * may have requests in flight, and everything that has to wait for it (an unregistration) goes on
 * in unbind_finish().
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "vdpa/attrs.h"
#include "vdpa/core.h"
#include "vdpa/name_list.h"

const struct vdpa_driver *vdpa_device_driver(const struct vdpa_device *vdev)
{
	const struct vdpa_device_core *core = vdev->core;

	return core->bind == VDPA_BOUND || core->bind == VDPA_UNBINDING ? core->drv->drv : NULL;
}

const struct vdpa_attr *vdpa_device_bind_attrs(const struct vdpa_device *vdev)
{
	return vdev->core->bind_attrs ? vdev->core->bind_attrs : vdpa_attrs_none;
}

const struct vdpa_attr *vdpa_device_add_attrs(const struct vdpa_device *vdev)
{
	return vdev->core->add_attrs ? vdev->core->add_attrs : vdpa_attrs_none;
}

void vdpa_set_drvdata(struct vdpa_device *vdev, void *data)
{
	vdev->core->drvdata = data;
}

void *vdpa_get_drvdata(const struct vdpa_device *vdev)
{
	return vdev->core->drvdata;
}

int vdpa_set_driver_override(struct vdpa_device *vdev, const char *driver)
{
	char *copy = NULL;

	if (driver && *driver) {
		copy = strdup(driver);
		if (!copy)
			return -ENOMEM;
	}
	free(vdev->core->driver_override);
	vdev->core->driver_override = copy;
	return 0;
}

const char *vdpa_get_driver_override(const struct vdpa_device *vdev)
{
	return vdev->core->driver_override;
}

static bool override_allows(const struct vdpa_device *vdev, const char *driver)
{
	const char *only = vdev->core->driver_override;

	return !only || !strcmp(only, driver);
}

/* May @drv have the device, as things are? */
static int bind_check(struct vdpa_device *vdev, const struct vdpa_driver *drv,
		      const struct vdpa_attr *attrs, struct vdpa_error *err)
{
	struct vdpa_device_core *core = vdev->core;
	struct vdpa_object_name object = vdpa_dev_object(vdev->name);

	if (core->state != VDPA_DEV_LIVE)
		return vdpa_error_set(err, ENODEV, object.s, "the device is not on the bus");
	if (vdev->ctx->shutting_down)
		return vdpa_error_set(err, ESHUTDOWN, object.s, "the bus is shutting down");
	if (core->bind != VDPA_UNBOUND)
		return vdpa_error_set(err, EBUSY, object.s,
				      "the device is bound to driver %s: unbind it first",
				      core->drv->drv->name);
	if (!override_allows(vdev, drv->name))
		return vdpa_error_set(err, EPERM, object.s,
				      "driver_override allows only driver %s, not %s",
				      core->driver_override, drv->name);
	if (drv->match) {
		struct vdpa_error why = {.msg = ""};

		if (!drv->match(vdev, &why))
			return vdpa_error_set(err, ENXIO, object.s,
					      "driver %s does not take this device%s%s", drv->name,
					      why.msg[0] ? ": " : "", why.msg);
	}
	return vdpa_attr_check(attrs, drv->attrs, object.s, err);
}

static void bind_undo(struct vdpa_device *vdev)
{
	struct vdpa_device_core *core = vdev->core;

	core->drv->users--;
	core->drv = NULL;
	core->drvdata = NULL;
	core->bind = VDPA_UNBOUND;
	free(core->bind_attrs);
	core->bind_attrs = NULL;
}

static int bind_probe(struct vdpa_device *vdev, struct vdpa_driver_entry *entry,
		      const struct vdpa_attr *attrs, struct vdpa_error *err)
{
	struct vdpa_device_core *core = vdev->core;
	struct vdpa_error why = {.msg = ""};
	int ret;

	core->bind_attrs = vdpa_attrs_join(attrs, NULL);
	if (!core->bind_attrs)
		return vdpa_error_set(err, ENOMEM, vdpa_dev_object(vdev->name).s, "no memory");
	core->drv = entry;
	core->bind = VDPA_BINDING;
	entry->users++;
	ret = entry->drv->probe(vdev, core->bind_attrs, &why);
	if (!ret) {
		core->bind = VDPA_BOUND;
		return 0;
	}
	bind_undo(vdev);
	return vdpa_error_set(err, -ret, vdpa_dev_object(vdev->name).s, "%s",
			      why.msg[0] ? why.msg : strerror(-ret));
}

static int bind_to(struct vdpa_device *vdev, struct vdpa_driver_entry *entry,
		   const struct vdpa_attr *attrs, struct vdpa_error *err)
{
	int ret = bind_check(vdev, entry->drv, attrs, err);

	if (!ret)
		ret = bind_probe(vdev, entry, attrs, err);
	if (ret)
		return ret;
	/* The binding's own reference: a device does not go while a driver has it. */
	vdpa_get_device(vdev);
	vdpa_dev_log(vdev, VDPA_LOG_INFO, "bound to driver %s", entry->drv->name);
	vdpa_notify(vdev, VDPA_EVENT_BIND, entry->drv->name);
	return 0;
}

static bool list_driver(void *arg, const struct vdpa_driver *drv)
{
	vdpa_name_list_add(arg, drv->name);
	return true;
}

static int no_driver(struct vdpa_device *vdev, const char *driver, struct vdpa_error *err)
{
	struct vdpa_name_list list = VDPA_NAME_LIST_INIT;

	vdpa_for_each_driver(vdev->ctx, list_driver, &list);
	return vdpa_error_set(err, ENODEV, vdpa_dev_object(vdev->name).s,
			      "there is no driver \"%s\"; there are: %s", driver ? driver : "",
			      list.s);
}

int vdpa_bind(struct vdpa_device *vdev, const char *driver, const struct vdpa_attr *attrs,
	      struct vdpa_error *err)
{
	struct vdpa_driver_entry *entry = vdpa_driver_entry_find(vdev->ctx, driver);

	assert(vdpa_loop_is_current(vdpa_ctx_control(vdev->ctx)));
	if (!entry)
		return no_driver(vdev, driver, err);
	return bind_to(vdev, entry, attrs, err);
}

int vdpa_settle(struct vdpa_device *vdev, struct vdpa_error *err, const struct vdpa_done *done)
{
	const struct vdpa_device_core *core = vdev->core;

	assert(vdpa_loop_is_current(vdpa_ctx_control(vdev->ctx)));
	if (core->bind != VDPA_BOUND)
		return -ENODEV;
	if (core->drv->drv->settle)
		return core->drv->drv->settle(vdev, err, done);
	vdpa_done_call(done, 0);
	return 0;
}

static bool any_bound(struct vdpa_ctx *ctx)
{
	struct vdpa_device_core *core;

	list_for_each_entry (core, &ctx->devices, node) {
		if (core->bind != VDPA_UNBOUND)
			return true;
	}
	return false;
}

/* One more driver has let go. What to call now: nothing, unless a shutdown waited for it. */
static struct vdpa_done shutdown_progress(struct vdpa_ctx *ctx)
{
	struct vdpa_done done = ctx->shutdown_done;

	if (any_bound(ctx))
		return (struct vdpa_done){0};
	ctx->shutdown_done = (struct vdpa_done){0};
	return done;
}

static void unbind_finish(void *arg, int result)
{
	struct vdpa_device_core *core = arg;
	struct vdpa_device *vdev = core->vdev;
	const char *name = core->drv->drv->name;
	struct vdpa_done done = core->unbind_done;
	struct vdpa_done shut;

	assert(vdpa_loop_is_current(vdpa_ctx_control(vdev->ctx)));
	assert(core->bind == VDPA_UNBINDING);
	if (result)
		vdpa_dev_log(vdev, VDPA_LOG_WARN, "driver %s let go with an error: %s", name,
			     strerror(-result));
	else
		vdpa_dev_log(vdev, VDPA_LOG_INFO, "unbound from driver %s", name);
	bind_undo(vdev);
	vdpa_notify(vdev, VDPA_EVENT_UNBIND, name);
	vdpa_done_call(&done, result);
	/* Either of the two may have bound it again, or deleted it altogether. */
	if (core->state == VDPA_DEV_GOING && core->bind == VDPA_UNBOUND)
		vdpa_unregister_finish(vdev);
	shut = shutdown_progress(vdev->ctx);
	vdpa_put_device(vdev);
	vdpa_done_call(&shut, 0);
}

static void unbind_start(struct vdpa_device *vdev, const struct vdpa_done *done, bool shutdown)
{
	struct vdpa_device_core *core = vdev->core;
	const struct vdpa_done finish = {.fn = unbind_finish, .arg = core};
	const struct vdpa_driver *drv = core->drv->drv;

	core->bind = VDPA_UNBINDING;
	core->unbind_done = done ? *done : (struct vdpa_done){0};
	if (shutdown && drv->shutdown)
		drv->shutdown(vdev, &finish);
	else
		drv->remove(vdev, &finish);
}

int vdpa_unbind(struct vdpa_device *vdev, const struct vdpa_done *done)
{
	struct vdpa_device_core *core = vdev->core;

	assert(vdpa_loop_is_current(vdpa_ctx_control(vdev->ctx)));
	if (core->bind == VDPA_UNBINDING)
		return -EALREADY;
	if (core->bind != VDPA_BOUND)
		return -ENODEV;
	unbind_start(vdev, done, false);
	return 0;
}

static bool shutdown_one(void *arg, struct vdpa_device *vdev)
{
	if (vdev->core->bind == VDPA_BOUND)
		unbind_start(vdev, NULL, true);
	return true;
}

int vdpa_ctx_shutdown(struct vdpa_ctx *ctx, const struct vdpa_done *done)
{
	assert(vdpa_loop_is_current(vdpa_ctx_control(ctx)));
	if (ctx->shutting_down)
		return -EALREADY;
	ctx->shutting_down = true;
	vdpa_for_each_device(ctx, shutdown_one, NULL);
	/* Only now: @done may be the end of the context that was walked. */
	if (any_bound(ctx))
		ctx->shutdown_done = done ? *done : (struct vdpa_done){0};
	else
		vdpa_done_call(done, 0);
	return 0;
}

/* A driver that takes devices by itself: its refusal is no error of anybody's. */
static void autoprobe(struct vdpa_device *vdev, struct vdpa_driver_entry *entry)
{
	struct vdpa_error err = {.msg = ""};

	if (!entry->drv->autoprobe || vdev->core->state != VDPA_DEV_LIVE)
		return;
	if (bind_to(vdev, entry, NULL, &err))
		vdpa_dev_log(vdev, VDPA_LOG_DEBUG, "driver %s: %s", entry->drv->name, err.msg);
}

void vdpa_device_attach(struct vdpa_device *vdev)
{
	struct vdpa_ctx *ctx = vdev->ctx;
	struct walk walk;

	walk_begin(&ctx->walks, &walk, ctx->drivers.next);
	while (walk.next != &ctx->drivers && vdev->core->bind == VDPA_UNBOUND) {
		struct list *node = walk.next;

		walk.next = node->next;
		autoprobe(vdev, list_entry(node, struct vdpa_driver_entry, node));
	}
	walk_end(&ctx->walks, &walk);
}

static bool attach_one(void *arg, struct vdpa_device *vdev)
{
	if (vdev->core->bind == VDPA_UNBOUND)
		autoprobe(vdev, arg);
	return true;
}

void vdpa_driver_attach(struct vdpa_ctx *ctx, struct vdpa_driver_entry *entry)
{
	/* Counts as a user, so that no callback can take the driver away meanwhile. */
	entry->users++;
	if (entry->drv->autoprobe)
		vdpa_for_each_device(ctx, attach_one, entry);
	entry->users--;
}
