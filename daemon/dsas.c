// SPDX-License-Identifier: BSD-3-Clause
/* Software DSAs as JSON, in both directions. */
#include "dsas.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "ctl/json.h"
#include "ctl/params.h"
#include "dsa_dev/dev.h"
#include "plugins.h"

#define DEVICES_MAX 64u /* of a file */

struct dsa_path_text {
	char s[64];
};

static struct dsa_path_text path_of(const struct dsa_dev *dev, const char *what, unsigned i)
{
	const char *name = dsa_dev_name(dev);
	struct dsa_path_text path;

	snprintf(path.s, sizeof(path.s), "%s/%s%s.%u", name, what, name + strlen("dsa"), i);
	return path;
}

/* ---- shown ---- */

/* Numbers are numbers in accel-config's files; names are not, whatever they look like. */
static void emit(void *arg, const char *key, const char *value)
{
	char *end;
	long long n = strtoll(value, &end, 10);
	bool number = *value && !*end && strcmp(key, "name") && strcmp(key, "driver_name");

	json_object_set_new(arg, key, number ? json_integer(n) : ctl_json_text(value));
}

/* {"dev": "wq0.1", ...} */
static json_t *describe_path(struct daemon *d, const char *path)
{
	const char *slash = strchr(path, '/');
	json_t *obj = json_pack("{s:s}", "dev", slash ? slash + 1 : path);

	dsa_show(d->ctx, path, emit, obj);
	return obj;
}

static void add_portals(json_t *wq, unsigned i)
{
	static const char *const names[] = {"unlimited", "limited", "ims_unlimited", "ims_limited"};
	json_t *portals = json_object();

	for (unsigned p = 0; p < DSA_PORTALS_PER_WQ; p++)
		json_object_set_new(portals, names[p],
				    json_integer((i * DSA_PORTALS_PER_WQ + p) * DSA_PORTAL_BYTES));
	json_object_set_new(wq, "portals", portals);
}

static json_t *describe_dev(struct daemon *d, struct dsa_dev *dev)
{
	json_t *obj = describe_path(d, dsa_dev_name(dev));
	json_t *groups = json_array(), *engines = json_array(), *wqs = json_array();
	struct dsa_counts n;

	dsa_dev_counts(dev, &n);
	for (unsigned i = 0; i < n.groups; i++)
		json_array_append_new(groups, describe_path(d, path_of(dev, "group", i).s));
	for (unsigned i = 0; i < n.engines; i++)
		json_array_append_new(engines, describe_path(d, path_of(dev, "engine", i).s));
	for (unsigned i = 0; i < n.wqs; i++) {
		json_t *wq = describe_path(d, path_of(dev, "wq", i).s);

		add_portals(wq, i);
		json_array_append_new(wqs, wq);
	}
	json_object_set_new(obj, "groups", groups);
	json_object_set_new(obj, "engines", engines);
	json_object_set_new(obj, "wqs", wqs);
	return obj;
}

struct collect {
	struct daemon *d;
	json_t *list;
	json_t *(*describe)(struct daemon *d, struct dsa_dev *dev);
};

static bool collect_one(void *arg, struct dsa_dev *dev)
{
	struct collect *c = arg;

	json_array_append_new(c->list, c->describe(c->d, dev));
	return true;
}

static json_t *collect(struct daemon *d, json_t *(*describe)(struct daemon *d, struct dsa_dev *dev))
{
	struct collect c = {d, json_array(), describe};

	dsa_dev_for_each(d->ctx, collect_one, &c);
	return c.list;
}

json_t *dsas_describe(struct daemon *d)
{
	return collect(d, describe_dev);
}

/* ---- drivers of queues ---- */

static bool is_enabled(const json_t *obj)
{
	const char *state = json_string_value(json_object_get(obj, "state"));

	return state && strcmp(state, "disabled") && strcmp(state, "leaving");
}

struct drivers {
	struct daemon *d;
	json_t *list;
	const char *name; /* of the driver in hand */
	json_t *queues;
};

static bool add_queues(void *arg, struct dsa_dev *dev)
{
	struct drivers *r = arg;
	struct dsa_counts n;

	dsa_dev_counts(dev, &n);
	for (unsigned i = 0; i < n.wqs; i++) {
		struct dsa_path_text path = path_of(dev, "wq", i);
		const char *driver = dsa_wq_driver_name(r->d->ctx, path.s);
		json_t *wq = describe_path(r->d, path.s);

		if (driver && !strcmp(driver, r->name) && is_enabled(wq))
			json_array_append_new(r->queues, json_string(path.s));
		json_decref(wq);
	}
	return true;
}

static void add_driver(void *arg, const char *name, const char *help)
{
	struct drivers *r = arg;

	r->name = name;
	r->queues = json_array();
	dsa_dev_for_each(r->d->ctx, add_queues, r);
	json_array_append_new(r->list, json_pack("{s:s, s:s, s:o}", "name", name, "help", help,
						 "queues", r->queues));
}

json_t *dsas_drivers(struct daemon *d)
{
	struct drivers r = {.d = d, .list = json_array()};

	dsa_wq_for_each_driver(d->ctx, add_driver, &r);
	return r.list;
}

int dsas_enable(struct daemon *d, const char *path, struct vdpa_error *err)
{
	const char *driver = dsa_wq_driver_name(d->ctx, path);
	char alias[96];

	if (driver && *driver && !dsa_wq_driver_exists(d->ctx, driver)) {
		snprintf(alias, sizeof(alias), "dsa_driver:%s", driver);
		plugins_request(d, alias);
	}
	return dsa_enable(d->ctx, path, err);
}

/* ---- accel-config's file ---- */

static json_int_t group_of(const json_t *thing)
{
	return json_integer_value(json_object_get(thing, "group_id"));
}

/* The kernel refuses names that are empty; what accel-config does not know, it reads over. */
static void drop_usual(json_t *thing)
{
	static const char *const usual[][2] = {
		{"name", ""}, {"driver_name", ""}, {"batch_order", "in-order"}};

	for (unsigned i = 0; i < sizeof(usual) / sizeof(usual[0]); i++) {
		const char *is = json_string_value(json_object_get(thing, usual[i][0]));

		if (is && !strcmp(is, usual[i][1]))
			json_object_del(thing, usual[i][0]);
	}
	json_object_del(thing, "state");
	json_object_del(thing, "portals");
}

/* Has anybody said anything of a queue that is in no group? */
static bool is_configured(const json_t *wq)
{
	const char *type = json_string_value(json_object_get(wq, "type"));

	return json_object_get(wq, "name") || json_integer_value(json_object_get(wq, "size")) ||
	       (type && strcmp(type, "none"));
}

/* As @key of @obj, if there are any: accel-config does not take a list that is empty. */
static void add_members(json_t *obj, const char *key, json_t *things, json_int_t group)
{
	json_t *list = json_array(), *thing;
	size_t i;

	json_array_foreach(things, i, thing)
	{
		if (group_of(thing) != group)
			continue;
		drop_usual(thing);
		if (group >= 0 || is_configured(thing))
			json_array_append(list, thing);
	}
	if (json_array_size(list))
		json_object_set(obj, key, list);
	json_decref(list);
}

static json_t *save_dev(struct daemon *d, struct dsa_dev *dev)
{
	json_t *all = describe_dev(d, dev), *groups = json_array(), *group;
	json_t *obj = json_pack("{s:O, s:O, s:o}", "dev", json_object_get(all, "dev"),
				"read_buffer_limit", json_object_get(all, "read_buffer_limit"),
				"groups", groups);
	size_t i;

	json_array_foreach(json_object_get(all, "groups"), i, group)
	{
		add_members(group, "grouped_workqueues", json_object_get(all, "wqs"),
			    (json_int_t)i);
		add_members(group, "grouped_engines", json_object_get(all, "engines"),
			    (json_int_t)i);
		json_array_append(groups, group);
	}
	add_members(obj, "ungrouped_workqueues", json_object_get(all, "wqs"), -1);
	json_decref(all);
	return obj;
}

json_t *dsas_save(struct daemon *d)
{
	return collect(d, save_dev);
}

/* What hardware has and this has not: read over. Our own: taken from elsewhere. */
static bool is_ignored(const char *key)
{
	static const char *const keys[] = {"dev",
					   "groups",
					   "grouped_workqueues",
					   "grouped_engines",
					   "ungrouped_workqueues",
					   "ungrouped_engines",
					   "ats_disable",
					   "prs_disable",
					   "traffic_class_a",
					   "traffic_class_b",
					   "desc_progress_limit",
					   "batch_progress_limit",
					   "event_log_size",
					   NULL};

	for (unsigned i = 0; keys[i]; i++) {
		if (!strcmp(key, keys[i]))
			return true;
	}
	return false;
}

/* Read buffers were called tokens once, in accel-config's own examples too. */
static const char *name_of(const char *key)
{
	static const char *const old[][2] = {{"token_limit", "read_buffer_limit"},
					     {"tokens_reserved", "read_buffers_reserved"},
					     {"tokens_allowed", "read_buffers_allowed"},
					     {"use_token_limit", "use_read_buffer_limit"}};

	for (unsigned i = 0; i < sizeof(old) / sizeof(old[0]); i++) {
		if (!strcmp(key, old[i][0]))
			return old[i][1];
	}
	return key;
}

static const char *dev_of(const json_t *obj)
{
	const char *dev = json_string_value(json_object_get(obj, "dev"));

	return dev ? dev : "";
}

/* @parent: "dsa0", or NULL: @obj is a device. */
static int apply_one(struct daemon *d, const char *parent, const json_t *obj,
		     struct vdpa_error *err)
{
	json_t *attrs = json_object(), *value;
	struct vdpa_attr *list = NULL;
	const char *key;
	char path[128];
	int r;

	json_object_foreach((json_t *)(uintptr_t)obj, key, value)
	{
		if (!is_ignored(key))
			json_object_set(attrs, name_of(key), value);
	}
	if (!*dev_of(obj)) {
		json_decref(attrs);
		return vdpa_error_set(err, EINVAL, parent ? parent : "$",
				      "what has no \"dev\" is no device, group, queue or engine");
	}
	snprintf(path, sizeof(path), "%s%s%s", parent ? parent : "", parent ? "/" : "",
		 dev_of(obj));
	r = ctl_attrs_from_json(attrs, path, &list, err);
	if (!r)
		r = dsa_config(d->ctx, path, list, err);
	ctl_attrs_free(list);
	json_decref(attrs);
	return r;
}

/* The list @key of @obj; there may be none. */
static int list_of(const json_t *obj, const char *key, json_t **out, struct vdpa_error *err)
{
	*out = json_object_get(obj, key);
	if (*out && !json_is_array(*out))
		return vdpa_error_set(err, EINVAL, dev_of(obj), "\"%s\" must be a list", key);
	return 0;
}

static int apply_list(struct daemon *d, const char *parent, const json_t *group, const char *key,
		      struct vdpa_error *err)
{
	json_t *obj, *list;
	size_t i;
	int r = list_of(group, key, &list, err);

	if (r)
		return r;
	json_array_foreach(list, i, obj)
	{
		r = apply_one(d, parent, obj, err);
		if (r)
			break;
	}
	return r;
}

static int apply_dev(struct daemon *d, const json_t *obj, struct vdpa_error *err)
{
	json_t *group, *groups;
	size_t i;
	int r = list_of(obj, "groups", &groups, err);

	if (!r)
		r = apply_one(d, NULL, obj, err);
	json_array_foreach(groups, i, group)
	{
		if (!r)
			r = apply_one(d, dev_of(obj), group, err);
		if (!r)
			r = apply_list(d, dev_of(obj), group, "grouped_engines", err);
		if (!r)
			r = apply_list(d, dev_of(obj), group, "grouped_workqueues", err);
	}
	if (!r)
		r = apply_list(d, dev_of(obj), obj, "ungrouped_engines", err);
	return r ? r : apply_list(d, dev_of(obj), obj, "ungrouped_workqueues", err);
}

/* The device @obj and those behind it, of which none is changed if one cannot be. */
static int apply_from(struct daemon *d, const json_t *doc, size_t i, struct vdpa_error *err)
{
	const json_t *obj = json_array_get(doc, i);
	struct dsa_change *change;
	struct dsa_dev *dev;
	int r;

	if (!obj)
		return 0;
	dev = dsa_dev_find(d->ctx, dev_of(obj));
	change = dev ? dsa_dev_begin(dev) : NULL;
	if (dev && !change)
		return vdpa_error_set(err, ENOMEM, dev_of(obj), "no memory");
	r = apply_dev(d, obj, err);
	if (!r)
		r = apply_from(d, doc, i + 1, err);
	return change ? dsa_dev_end(change, r, err) : r;
}

int dsas_apply(struct daemon *d, const json_t *doc, struct vdpa_error *err)
{
	if (json_array_size(doc) > DEVICES_MAX)
		return vdpa_error_set(err, EINVAL, "$", "at most %u devices are allowed",
				      DEVICES_MAX);
	return apply_from(d, doc, 0, err);
}

/* ---- in a configuration ---- */

static const struct ctl_param keys[] = {
	{.name = "name", .type = CTL_STRING, .required = true, .help = "of the device"},
	{.name = "attrs", .type = CTL_ATTRS, .help = "it is made with"},
	{.name = "config", .type = CTL_OBJECT, .help = "as accel-config saves a device"},
	{.name = "enabled", .type = CTL_ARRAY, .help = "paths of what is enabled, in order"},
	{.name = NULL},
};

static json_t *enabled_of(struct dsa_dev *dev, const json_t *all)
{
	json_t *list = json_array(), *wq;
	size_t i;

	if (is_enabled(all))
		json_array_append_new(list, json_string(dsa_dev_name(dev)));
	json_array_foreach(json_object_get(all, "wqs"), i, wq)
	{
		if (is_enabled(wq))
			json_array_append_new(list, json_string(path_of(dev, "wq", (unsigned)i).s));
	}
	return list;
}

static json_t *dump_dev(struct daemon *d, struct dsa_dev *dev)
{
	json_t *all = describe_dev(d, dev);
	struct dsa_counts n;
	json_t *obj;

	dsa_dev_counts(dev, &n);
	obj = json_pack("{s:s, s:{s:i, s:i, s:i, s:O, s:O, s:O}, s:o, s:o}", "name",
			dsa_dev_name(dev), "attrs", "engines", n.engines, "wqs", n.wqs, "groups",
			n.groups, "wq_size", json_object_get(all, "max_work_queues_size"),
			"ims_slots", json_object_get(all, "ims_size"), "ir",
			json_object_get(all, "ir"), "config", save_dev(d, dev), "enabled",
			enabled_of(dev, all));
	json_decref(all);
	return obj;
}

json_t *dsas_dump(struct daemon *d)
{
	json_t *list = collect(d, dump_dev);

	if (json_array_size(list))
		return list;
	json_decref(list);
	return NULL;
}

int dsas_check(const json_t *list, struct vdpa_error *err)
{
	char path[32];
	json_t *obj;
	size_t i;
	int r = 0;

	json_array_foreach((json_t *)(uintptr_t)list, i, obj)
	{
		snprintf(path, sizeof(path), "$.dsas[%zu]", i);
		if (!json_is_object(obj))
			return vdpa_error_set(err, EINVAL, path, "must be an object");
		r = ctl_params_check(keys, obj, path, err);
		if (r)
			break;
	}
	return r;
}

static int load_one(struct daemon *d, const json_t *obj, struct vdpa_error *err)
{
	const char *name = json_string_value(json_object_get(obj, "name"));
	const json_t *config = json_object_get(obj, "config");
	struct vdpa_attr *attrs = NULL;
	json_t *path;
	size_t i;
	int r = ctl_attrs_from_json(json_object_get(obj, "attrs"), name, &attrs, err);

	if (!r)
		r = dsa_dev_add(d->ctx, name, attrs, NULL, err);
	ctl_attrs_free(attrs);
	if (!r && config)
		r = apply_dev(d, config, err);
	json_array_foreach(json_object_get(obj, "enabled"), i, path)
	{
		const char *text = json_string_value(path);

		if (!r)
			r = dsas_enable(d, text ? text : "", err);
	}
	return r;
}

static void unload(struct daemon *d, const json_t *list, size_t n)
{
	while (n--) {
		const json_t *name = json_object_get(json_array_get(list, n), "name");
		struct dsa_dev *dev = dsa_dev_find(d->ctx, json_string_value(name));

		if (dev)
			dsa_dev_drop(dev);
	}
}

void dsas_unload(struct daemon *d, const json_t *list)
{
	unload(d, list, json_array_size(list));
}

int dsas_load(struct daemon *d, const json_t *list, struct vdpa_error *err)
{
	struct vdpa_error why = {.msg = ""};
	char path[32];
	json_t *obj;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)list, i, obj)
	{
		int r = load_one(d, obj, &why);

		if (!r)
			continue;
		/* One that was there before is none of ours. */
		unload(d, list, r == -EEXIST ? i : i + 1);
		snprintf(path, sizeof(path), "$.dsas[%zu]", i);
		return vdpa_error_set(err, -r, path, "%s: %s", why.object, why.msg);
	}
	return 0;
}

/* ---- the end ---- */

static bool count_one(void *arg, struct dsa_dev *dev)
{
	(*(unsigned *)arg)++;
	return true;
}

unsigned dsas_count(struct daemon *d)
{
	unsigned n = 0;

	dsa_dev_for_each(d->ctx, count_one, &n);
	return n;
}

void dsas_end(struct daemon *d)
{
	const struct vdpa_done nobody = {NULL, NULL};

	dsa_shutdown(d->ctx, &nobody);
}
