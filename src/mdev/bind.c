// SPDX-License-Identifier: BSD-3-Clause
/*
 * Devices and their drivers: of the same bus, and of a class that is in the driver's table. Binding
 * is at once; unbinding waits for the driver, and a removal goes on when it is over.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "mdev/core.h"
#include "vdpa/attrs.h"
#include "vdpa/name_list.h"

const struct mdev_driver *mdev_device_driver(const struct mdev_device *mdev)
{
	const struct mdev_core *core = mdev->core;

	return core->bind == MDEV_BOUND || core->bind == MDEV_UNBINDING ? core->drv->drv : NULL;
}

const struct vdpa_attr *mdev_bind_attrs(const struct mdev_device *mdev)
{
	return mdev->core->bind_attrs ? mdev->core->bind_attrs : vdpa_attrs_none;
}

void mdev_set_drvdata(struct mdev_device *mdev, void *data)
{
	mdev->core->drvdata = data;
}

void *mdev_get_drvdata(const struct mdev_device *mdev)
{
	return mdev->core->drvdata;
}

/* ---- drivers ---- */

static struct mdev_driver_entry *entry_find(struct vdpa_ctx *ctx, const char *name)
{
	struct mdev_state *st = mdev_state(ctx, false);
	struct mdev_driver_entry *entry;

	if (!st || !name)
		return NULL;
	list_for_each_entry (entry, &st->drivers, node) {
		if (!strcmp(entry->drv->name, name))
			return entry;
	}
	return NULL;
}

const struct mdev_driver *mdev_find_driver(struct vdpa_ctx *ctx, const char *name)
{
	struct mdev_driver_entry *entry = entry_find(ctx, name);

	return entry ? entry->drv : NULL;
}

void mdev_for_each_driver(struct vdpa_ctx *ctx,
			  bool (*fn)(void *arg, const struct mdev_driver *drv), void *arg)
{
	struct mdev_state *st = mdev_state(ctx, false);
	struct walk walk;
	bool more = true;

	if (!st)
		return;
	walk_begin(&st->walks, &walk, st->drivers.next);
	while (more && walk.next != &st->drivers) {
		struct list *node = walk.next;

		walk.next = node->next;
		more = fn(arg, list_entry(node, struct mdev_driver_entry, node)->drv);
	}
	walk_end(&st->walks, &walk);
}

/* Why not; NULL: it is for this device. */
static const char *no_match(const struct mdev_device *mdev, const struct mdev_driver *drv)
{
	const uint16_t id = mdev->core->class_id;
	const struct mdev_bus *bus = mdev_bus_of(mdev->ctx, id, NULL);
	const uint16_t *at;

	if (!bus || strcmp(bus->name, drv->bus))
		return "the device is on another bus";
	for (at = drv->id_table; *at; at++) {
		if (*at == id)
			return NULL;
	}
	return "the device's class is not in the driver's table";
}

/* ---- binding ---- */

static void bind_undo(struct mdev_core *core)
{
	core->drv->users--;
	core->drv = NULL;
	core->drvdata = NULL;
	core->bind = MDEV_UNBOUND;
	free(core->bind_attrs);
	core->bind_attrs = NULL;
}

static int bind_check(struct mdev_device *mdev, const struct mdev_driver *drv,
		      const struct vdpa_attr *attrs, struct vdpa_error *err)
{
	struct mdev_object_name object = mdev_object(mdev->uuid);
	const char *why;

	if (mdev->core->state != MDEV_LIVE)
		return vdpa_error_set(err, ENODEV, object.s, "the device is being removed");
	if (mdev->core->bind != MDEV_UNBOUND)
		return vdpa_error_set(err, EBUSY, object.s,
				      "the device is bound to driver %s: unbind it first",
				      mdev->core->drv->drv->name);
	why = no_match(mdev, drv);
	if (why)
		return vdpa_error_set(err, ENXIO, object.s, "driver %s: %s", drv->name, why);
	return vdpa_attr_check(attrs, drv->attrs, object.s, err);
}

static int bind_to(struct mdev_device *mdev, struct mdev_driver_entry *entry,
		   const struct vdpa_attr *attrs, struct vdpa_error *err)
{
	struct mdev_core *core = mdev->core;
	struct vdpa_error why = {.msg = ""};
	int ret = bind_check(mdev, entry->drv, attrs, err);

	if (ret)
		return ret;
	core->bind_attrs = vdpa_attrs_join(attrs, NULL);
	if (!core->bind_attrs)
		return vdpa_error_set(err, ENOMEM, mdev_object(mdev->uuid).s, "no memory");
	core->drv = entry;
	core->bind = MDEV_BINDING;
	entry->users++;
	/* The binding's own reference: a device does not go while a driver has it. */
	mdev_get(mdev);
	ret = entry->drv->probe(mdev, core->bind_attrs, &why);
	if (ret) {
		bind_undo(core);
		vdpa_error_set(err, -ret, mdev_object(mdev->uuid).s, "%s",
			       why.msg[0] ? why.msg : strerror(-ret));
		mdev_put(mdev);
		return ret;
	}
	core->bind = MDEV_BOUND;
	mdev_log(mdev, VDPA_LOG_INFO, "bound to driver %s", entry->drv->name);
	mdev_notify_device(mdev, MDEV_EVENT_BIND, entry->drv->name);
	return 0;
}

static bool list_driver(void *arg, const struct mdev_driver *drv)
{
	vdpa_name_list_add(arg, drv->name);
	return true;
}

int mdev_bind(struct mdev_device *mdev, const char *driver, const struct vdpa_attr *attrs,
	      struct vdpa_error *err)
{
	struct mdev_driver_entry *entry = entry_find(mdev->ctx, driver);
	struct vdpa_name_list list = VDPA_NAME_LIST_INIT;

	assert(vdpa_loop_is_current(vdpa_ctx_control(mdev->ctx)));
	if (entry)
		return bind_to(mdev, entry, attrs, err);
	mdev_for_each_driver(mdev->ctx, list_driver, &list);
	return vdpa_error_set(err, ENODEV, mdev_object(mdev->uuid).s,
			      "there is no driver \"%s\"; there are: %s", driver ? driver : "",
			      list.s);
}

static void unbind_finish(void *arg, int result)
{
	struct mdev_core *core = arg;
	struct mdev_device *mdev = core->mdev;
	const char *name = core->drv->drv->name;
	struct vdpa_done done = core->unbind_done;

	assert(vdpa_loop_is_current(vdpa_ctx_control(mdev->ctx)));
	assert(core->bind == MDEV_UNBINDING);
	bind_undo(core);
	mdev_log(mdev, VDPA_LOG_INFO, "unbound from driver %s", name);
	mdev_notify_device(mdev, MDEV_EVENT_UNBIND, name);
	vdpa_done_call(&done, result);
	/* Either of the two may have bound it again, or removed it. */
	if (core->state == MDEV_GOING && core->bind == MDEV_UNBOUND)
		mdev_remove_go_on(mdev);
	mdev_put(mdev);
}

void mdev_unbind_start(struct mdev_device *mdev, const struct vdpa_done *done)
{
	struct mdev_core *core = mdev->core;
	const struct vdpa_done finish = {.fn = unbind_finish, .arg = core};

	core->bind = MDEV_UNBINDING;
	core->unbind_done = done ? *done : (struct vdpa_done){0};
	core->drv->drv->remove(mdev, &finish);
}

int mdev_unbind(struct mdev_device *mdev, const struct vdpa_done *done)
{
	assert(vdpa_loop_is_current(vdpa_ctx_control(mdev->ctx)));
	if (mdev->core->bind == MDEV_UNBINDING)
		return -EALREADY;
	if (mdev->core->bind != MDEV_BOUND)
		return -ENODEV;
	mdev_unbind_start(mdev, done);
	return 0;
}

/* ---- drivers that take devices by themselves ---- */

/* A refusal is no error of anybody's, but a person may ask. */
static void autoprobe(struct mdev_device *mdev, struct mdev_driver_entry *entry)
{
	struct vdpa_error err = {.msg = ""};

	if (!entry->drv->autoprobe || mdev->core->state != MDEV_LIVE || no_match(mdev, entry->drv))
		return;
	if (bind_to(mdev, entry, NULL, &err))
		mdev_log(mdev, VDPA_LOG_INFO, "driver %s: %s", entry->drv->name, err.msg);
}

void mdev_attach(struct mdev_device *mdev)
{
	struct mdev_state *st = mdev->core->state_of;
	struct walk walk;

	walk_begin(&st->walks, &walk, st->drivers.next);
	while (walk.next != &st->drivers && mdev->core->bind == MDEV_UNBOUND) {
		struct list *node = walk.next;

		walk.next = node->next;
		autoprobe(mdev, list_entry(node, struct mdev_driver_entry, node));
	}
	walk_end(&st->walks, &walk);
}

static bool attach_one(void *arg, struct mdev_device *mdev)
{
	if (mdev->core->bind == MDEV_UNBOUND)
		autoprobe(mdev, arg);
	return true;
}

int mdev_register_driver(struct vdpa_ctx *ctx, const struct mdev_driver *drv)
{
	struct mdev_state *st = mdev_state(ctx, true);
	struct mdev_driver_entry *entry;

	assert(vdpa_loop_is_current(vdpa_ctx_control(ctx)));
	if (!mdev_name_valid(drv->name) || !drv->bus || !drv->id_table || !drv->id_table[0] ||
	    !drv->probe || !drv->remove)
		return -EINVAL;
	if (entry_find(ctx, drv->name))
		return -EEXIST;
	entry = st ? calloc(1, sizeof(*entry)) : NULL;
	if (!entry)
		return -ENOMEM;
	entry->drv = drv;
	list_add_tail(&st->drivers, &entry->node);
	/* Counts as a user, so that no callback can take the driver away meanwhile. */
	entry->users++;
	mdev_for_each(ctx, attach_one, entry);
	entry->users--;
	return 0;
}

int mdev_unregister_driver(struct vdpa_ctx *ctx, const struct mdev_driver *drv)
{
	struct mdev_driver_entry *entry = entry_find(ctx, drv->name);

	assert(vdpa_loop_is_current(vdpa_ctx_control(ctx)));
	if (!entry || entry->drv != drv)
		return -ENOENT;
	if (entry->users)
		return -EBUSY;
	walk_list_remove(mdev_state(ctx, false)->walks, &entry->node);
	free(entry);
	return 0;
}
