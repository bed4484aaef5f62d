// SPDX-License-Identifier: BSD-3-Clause
/* Mediated devices: made, shown, removed; and what a configuration says of them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uvdpa/mdev_class.h>
#include "base/list.h"
#include "ctl/json.h"
#include "ctl/params.h"
#include "describe.h"
#include "mdevs.h"
#include "plugins.h"
#include "rpc.h"
#include "vdpa/name_list.h"

struct mdev_object {
	char s[64];
};

static struct mdev_object object_of(const char *uuid)
{
	struct mdev_object o;

	snprintf(o.s, sizeof(o.s), "mdev/%.48s", uuid);
	return o;
}

/* ---- found ---- */

static bool list_one(void *arg, struct mdev_device *mdev)
{
	vdpa_name_list_add(arg, mdev->uuid);
	return true;
}

struct mdev_device *mdevs_find(struct daemon *d, const char *uuid, struct vdpa_error *err)
{
	struct vdpa_name_list list = VDPA_NAME_LIST_INIT;
	struct mdev_device *mdev = mdev_find(d->ctx, uuid);

	if (mdev)
		return mdev;
	mdev_for_each(d->ctx, list_one, &list);
	vdpa_error_set(err, ENODEV, object_of(uuid).s,
		       "there is no such mediated device; there are: %s", list.s);
	return NULL;
}

static bool count_one(void *arg, struct mdev_device *mdev)
{
	(*(unsigned *)arg)++;
	return true;
}

unsigned mdevs_count(struct daemon *d)
{
	unsigned n = 0;

	mdev_for_each(d->ctx, count_one, &n);
	return n;
}

/* The parent of a wish, and its type. */
struct choice {
	const struct mdev_wish *wish;
	struct mdev_parent *parent;
	const struct mdev_type *type;
	unsigned n;
	struct vdpa_name_list types, parents;
};

static bool choose_one(void *arg, struct mdev_parent *parent)
{
	struct choice *c = arg;
	const struct mdev_type *type = mdev_find_type(parent, c->wish->type);

	vdpa_name_list_add(&c->parents, parent->name);
	for (const struct mdev_type *t = parent->types; t->id; t++)
		vdpa_name_list_add(&c->types, mdev_type_name(parent, t).s);
	if (!type || (c->wish->parent && strcmp(c->wish->parent, parent->name)))
		return true;
	c->parent = parent;
	c->type = type;
	c->n++;
	return true;
}

static int choose(struct daemon *d, struct choice *c, struct vdpa_error *err)
{
	const struct mdev_wish *w = c->wish;

	char alias[160];

	mdev_for_each_parent(d->ctx, choose_one, c);
	snprintf(alias, sizeof(alias), "mdev_type:%.128s", w->type);
	if (!c->n && plugins_request(d, alias))
		mdev_for_each_parent(d->ctx, choose_one, c);
	if (c->n == 1)
		return 0;
	if (c->n)
		return vdpa_error_set(err, EINVAL, object_of(w->uuid).s,
				      "several parents have type \"%s\": name one", w->type);
	if (w->parent && !mdev_find_parent(d->ctx, w->parent))
		return vdpa_error_set(err, ENODEV, object_of(w->uuid).s,
				      "there is no parent \"%.63s\"; there are: %s", w->parent,
				      c->parents.s);
	return vdpa_error_set(err, ENOENT, object_of(w->uuid).s,
			      "there is no type \"%.63s\"; there are: %s", w->type, c->types.s);
}

/* ---- made ---- */

static int bind(struct mdev_device *mdev, const struct mdev_wish *w, struct vdpa_error *err)
{
	struct vdpa_attr *attrs = NULL;
	int ret = ctl_attrs_from_json(w->driver_attrs, object_of(w->uuid).s, &attrs, err);

	if (!ret)
		ret = mdev_bind(mdev, w->driver, attrs, err);
	ctl_attrs_free(attrs);
	return ret;
}

/* A driver that was named is instead of one that took the device by itself. */
static int bind_wished(struct mdev_device *mdev, const struct mdev_wish *w, struct vdpa_error *err)
{
	const struct mdev_driver *drv = mdev_device_driver(mdev);
	const bool same = drv && !strcmp(drv->name, w->driver);

	if (same && !json_object_size(w->driver_attrs))
		return 0;
	if (drv)
		return vdpa_error_set(err, EBUSY, object_of(w->uuid).s,
				      "driver %s has taken the device by itself", drv->name);
	return bind(mdev, w, err);
}

static int make(struct daemon *d, const struct mdev_wish *w, struct mdev_device **out,
		struct vdpa_error *err)
{
	struct choice c = {.wish = w, .types = VDPA_NAME_LIST_INIT, .parents = VDPA_NAME_LIST_INIT};
	struct vdpa_attr *attrs = NULL;
	int ret = choose(d, &c, err);

	if (!ret)
		ret = ctl_attrs_from_json(w->attrs, object_of(w->uuid).s, &attrs, err);
	if (!ret) {
		const struct mdev_request req = {c.parent, c.type, w->uuid, attrs};

		ret = mdev_create(&req, out, err);
	}
	ctl_attrs_free(attrs);
	return ret;
}

int mdevs_create(struct daemon *d, const struct mdev_wish *w, struct vdpa_error *err)
{
	struct mdev_device *mdev;
	int ret = make(d, w, &mdev, err);

	if (ret || !w->driver)
		return ret;
	ret = bind_wished(mdev, w, err);
	if (ret)
		mdev_remove(mdev, NULL);
	return ret;
}

int mdevs_set(struct mdev_device *mdev, const json_t *obj, struct vdpa_error *err)
{
	struct vdpa_attr *attrs = NULL;
	int ret = ctl_attrs_from_json(obj, object_of(mdev->uuid).s, &attrs, err);

	for (struct vdpa_attr *a = attrs; !ret && a && a->key; a++)
		ret = mdev_set_attr(mdev, a->key, a->value, err);
	ctl_attrs_free(attrs);
	return ret;
}

/* ---- shown ---- */

static void emit(void *arg, const char *key, const char *value)
{
	json_object_set_new(arg, key, ctl_json_text(value));
}

static json_t *driver_json(struct mdev_device *mdev)
{
	const struct mdev_driver *drv = mdev_device_driver(mdev);
	json_t *show = json_object();

	if (!drv) {
		json_decref(show);
		return json_null();
	}
	if (drv->show)
		drv->show(mdev, emit, show);
	return json_pack("{s:s, s:o, s:o}", "name", drv->name, "attrs",
			 ctl_attrs_to_json(mdev_bind_attrs(mdev)), "show", show);
}

json_t *mdevs_describe(struct mdev_device *mdev)
{
	const uint16_t id = mdev_class_id(mdev);
	const struct mdev_class *class = NULL;
	const struct mdev_bus *bus = mdev_bus_of(mdev->ctx, id, &class);
	json_t *show = json_object();

	if (!mdev->parent) {
		json_decref(show);
		return json_null();
	}
	mdev_show(mdev, emit, show);
	return json_pack("{s:s, s:s, s:s, s:s, s:i, s:s, s:s, s:s, s:s, s:o, s:o, s:o}", "uuid",
			 mdev->uuid, "parent", mdev->parent->name, "mdev_type",
			 mdev_type_name(mdev->parent, mdev->type).s, "device_api",
			 mdev->type->device_api, "class_id", id, "class", class->name, "bus",
			 bus->name, "modalias", mdev_modalias(mdev).s, "dma_device",
			 mdev->parent->name, "attrs", ctl_attrs_to_json(mdev_attrs(mdev)), "show",
			 show, "driver", driver_json(mdev));
}

/* ---- in a configuration ---- */

static const struct ctl_param keys[] = {
	{.name = "uuid", .type = CTL_STRING, .required = true, .help = "of the device"},
	{.name = "parent", .type = CTL_STRING, .required = true, .help = "that makes it"},
	{.name = "mdev_type", .type = CTL_STRING, .required = true, .help = "of the parent"},
	{.name = "attrs", .type = CTL_ATTRS, .help = "of the type"},
	{.name = "start", .type = CTL_STRING, .help = "it is defined: auto or manual"},
	{.name = "active", .type = CTL_BOOL, .help = "it is there (default)"},
	{.name = "driver", .type = CTL_OBJECT, .help = "of the mediated device: {name, attrs}"},
	{.name = "vdpa_driver", .type = CTL_OBJECT, .help = "of its vDPA device: {name, attrs}"},
	{.name = NULL},
};

static json_t *binding(const char *name, const struct vdpa_attr *attrs)
{
	return json_pack("{s:s, s:o}", "name", name, "attrs", ctl_attrs_to_json(attrs));
}

struct dump {
	struct daemon *d;
	json_t *list;
};

static void dump_drivers(json_t *obj, struct mdev_device *mdev)
{
	const struct mdev_driver *drv = mdev_device_driver(mdev);
	struct vdpa_device *vdev = mdev_virtio_vdpa(mdev);
	const struct vdpa_driver *vdrv = vdev ? vdpa_device_driver(vdev) : NULL;

	if (drv && mdev_bind_attrs(mdev)->key)
		json_object_set_new(obj, "driver", binding(drv->name, mdev_bind_attrs(mdev)));
	if (vdrv)
		json_object_set_new(obj, "vdpa_driver",
				    binding(vdrv->name, vdpa_device_bind_attrs(vdev)));
}

static bool dump_active(void *arg, struct mdev_device *mdev)
{
	struct dump *dump = arg;
	const json_t *def = mdevs_definition(dump->d, mdev->uuid);
	json_t *obj;

	if (!mdev->parent)
		return true;
	obj = json_pack("{s:s, s:s, s:s, s:o}", "uuid", mdev->uuid, "parent", mdev->parent->name,
			"mdev_type", mdev_type_name(mdev->parent, mdev->type).s, "attrs",
			ctl_attrs_to_json(mdev_attrs(mdev)));
	if (def)
		json_object_set(obj, "start", json_object_get(def, "start"));
	dump_drivers(obj, mdev);
	json_array_append_new(dump->list, obj);
	return true;
}

json_t *mdevs_dump(struct daemon *d)
{
	struct dump dump = {.d = d, .list = json_array()};
	const char *uuid;
	json_t *def;

	mdevs_reread(d);
	mdev_for_each(d->ctx, dump_active, &dump);
	json_object_foreach(d->mdev_defs, uuid, def)
	{
		json_t *obj;

		if (mdev_find(d->ctx, uuid))
			continue;
		obj = json_deep_copy(def);
		json_object_set_new(obj, "active", json_false());
		json_array_append_new(dump.list, obj);
	}
	if (json_array_size(dump.list))
		return dump.list;
	json_decref(dump.list);
	return NULL;
}

int mdevs_check(const json_t *list, struct vdpa_error *err)
{
	char path[32];
	json_t *obj;
	int ret = 0;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)list, i, obj)
	{
		snprintf(path, sizeof(path), "$.mdevs[%zu]", i);
		if (!json_is_object(obj))
			return vdpa_error_set(err, EINVAL, path, "must be an object");
		ret = ctl_params_check(keys, obj, path, err);
		if (ret)
			break;
	}
	return ret;
}

static int bind_vdpa(struct mdev_device *mdev, const json_t *drv, struct vdpa_error *err)
{
	const char *name = json_string_value(json_object_get(drv, "name"));
	struct vdpa_device *vdev = mdev_virtio_vdpa(mdev);
	struct vdpa_attr *attrs = NULL;
	int ret;

	if (!vdev)
		return vdpa_error_set(err, ENODEV, object_of(mdev->uuid).s,
				      "it has no vDPA device");
	ret = ctl_attrs_from_json(json_object_get(drv, "attrs"), object_of(mdev->uuid).s, &attrs,
				  err);
	if (!ret)
		ret = vdpa_bind(vdev, name ? name : "", attrs, err);
	ctl_attrs_free(attrs);
	return ret;
}

/* What of an entry was done: to be undone when it, or a later one, fails. */
struct loaded {
	struct mdev_device *mdev; /* NULL: it is not there; held */
	bool defined;
};

static int load_active(struct daemon *d, const json_t *obj, struct loaded *l,
		       struct vdpa_error *err)
{
	const json_t *drv = json_object_get(obj, "driver");
	const json_t *vdrv = json_object_get(obj, "vdpa_driver");
	const struct mdev_wish wish = {
		.uuid = json_string_value(json_object_get(obj, "uuid")),
		.parent = json_string_value(json_object_get(obj, "parent")),
		.type = json_string_value(json_object_get(obj, "mdev_type")),
		.attrs = json_object_get(obj, "attrs"),
		.driver = json_string_value(json_object_get(drv, "name")),
		.driver_attrs = json_object_get(drv, "attrs"),
	};
	int ret = make(d, &wish, &l->mdev, err);

	if (ret)
		return ret;
	mdev_get(l->mdev);
	if (wish.driver)
		ret = bind_wished(l->mdev, &wish, err);
	return !ret && vdrv ? bind_vdpa(l->mdev, vdrv, err) : ret;
}

static int load_one(struct daemon *d, const json_t *obj, struct loaded *l, struct vdpa_error *err)
{
	const json_t *active = json_object_get(obj, "active");
	const char *uuid = json_string_value(json_object_get(obj, "uuid"));
	int ret = !active || json_is_true(active) ? load_active(d, obj, l, err) : 0;

	if (ret || !json_object_get(obj, "start") || mdevs_definition(d, uuid))
		return ret;
	ret = mdevs_define(d, obj, err);
	l->defined = !ret;
	return ret;
}

/* Removals that somebody waits for, and one more while they begin. */
struct unload {
	unsigned left;
	struct vdpa_done done;
};

static void unloaded(void *arg, int result)
{
	struct unload *u = arg;
	struct vdpa_done done = u->done;

	if (--u->left)
		return;
	free(u);
	vdpa_done_call(&done, 0);
}

static void unload(struct daemon *d, const json_t *list, const struct loaded *l, struct unload *u)
{
	const struct vdpa_done done = {unloaded, u};

	u->left = 1;
	for (size_t i = json_array_size(list); i--;) {
		if (l[i].defined)
			mdevs_undefine(
				d,
				json_string_value(json_object_get(json_array_get(list, i), "uuid")),
				NULL);
		if (!l[i].mdev)
			continue;
		u->left++;
		if (mdev_remove(l[i].mdev, &done))
			u->left--;
	}
	unloaded(u, 0);
}

static int load_all(struct daemon *d, const json_t *list, struct loaded *l, struct vdpa_error *err)
{
	struct vdpa_error why = {.msg = ""};
	char path[32];
	json_t *obj;
	size_t i;
	int ret;

	json_array_foreach((json_t *)(uintptr_t)list, i, obj)
	{
		ret = load_one(d, obj, &l[i], &why);
		if (!ret)
			continue;
		snprintf(path, sizeof(path), "$.mdevs[%zu]", i);
		return vdpa_error_set(err, -ret, path, "%s: %s", why.object, why.msg);
	}
	return 0;
}

int mdevs_load(struct daemon *d, const json_t *list, const struct vdpa_done *done,
	       struct vdpa_error *err)
{
	const size_t n = json_array_size(list);
	struct unload *u = calloc(1, sizeof(*u));
	struct loaded *l = calloc(n + 1, sizeof(*l));
	int ret;

	if (!u || !l) {
		free(u);
		free(l);
		vdpa_done_call(done, 0);
		return vdpa_error_set(err, ENOMEM, "$.mdevs", "out of memory");
	}
	u->done = *done;
	mdevs_reread(d);
	ret = load_all(d, list, l, err);
	if (ret)
		unload(d, list, l, u);
	else
		free(u);
	for (size_t i = 0; i < n; i++)
		mdev_put(l[i].mdev);
	free(l);
	return ret;
}

/* ---- life of the daemon ---- */

static void on_event(struct mdev_subscriber *sub, const struct mdev_event *event)
{
	static const char *const names[] = {
		[MDEV_EVENT_ADD] = "add",
		[MDEV_EVENT_DEL] = "del",
		[MDEV_EVENT_BIND] = "bind",
		[MDEV_EVENT_UNBIND] = "unbind",
		[MDEV_EVENT_CHANGE] = "change",
		[MDEV_EVENT_PARENT_ADD] = "parent-add",
		[MDEV_EVENT_PARENT_DEL] = "parent-del",
	};
	struct daemon *d = vdpa_container_of(sub, struct daemon, mdev_events);

	if (event->type == MDEV_EVENT_ADD)
		plugins_request(d, event->modalias);
	d->event_seq++;
	rpc_event(d,
		  json_pack("{s:I, s:s, s:s, s:s, s:s, s:s, s:s}", "seq", (json_int_t)d->event_seq,
			    "event", names[event->type], "subsystem", "mdev", "dev",
			    event->mdev ? event->mdev->uuid : "", "parent", event->parent->name,
			    "modalias", event->modalias, "detail", event->detail));
}

int mdevs_subscribe(struct daemon *d)
{
	d->mdev_events.fn = on_event;
	return mdev_subscribe(d->ctx, &d->mdev_events);
}

void mdevs_end(struct daemon *d)
{
	mdev_shutdown(d->ctx, NULL);
}

void mdevs_fini(struct daemon *d)
{
	mdev_unsubscribe(d->ctx, &d->mdev_events);
	json_decref(d->mdev_defs);
	json_decref(d->mdev_auto);
	d->mdev_defs = d->mdev_auto = NULL;
}
