// SPDX-License-Identifier: BSD-3-Clause
/*
 * Software DSAs in the tree, where Linux has a real one:
 *Documentation/ABI/stable/sysfs-driver-dma-idxd.
 *
 *	bus/dsa/devices/{dsa0,wq0.1,engine0.0,group0.0}/ATTRIBUTE
 *	bus/dsa/drivers/{idxd,mdev,user,...}/{bind,unbind}	idxd enables devices, others queues
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "dsa_dev/dev.h"
#include "dsas.h"
#include "sysfs.h"

/* Parts of a path. */
enum { DRIVER = 3, THING = 3, ATTR = 4 };

struct dsa_path_text {
	char s[64];
};

/* "wq0.1" is "dsa0/wq0.1". */
static struct dsa_path_text path_of(const char *thing)
{
	struct dsa_path_text path;
	size_t letters = strcspn(thing, "0123456789");
	size_t digits = strspn(thing + letters, "0123456789");

	if (strlen(thing) >= sizeof(path.s) / 2)
		path.s[0] = '\0';
	else if (thing[letters + digits] == '.')
		snprintf(path.s, sizeof(path.s), "dsa%.*s/%s", (int)digits, thing + letters, thing);
	else
		snprintf(path.s, sizeof(path.s), "%s", thing);
	return path;
}

/* ---- what there is ---- */

struct names {
	sysfs_emit_fn emit;
	void *arg;
};

static void name_things(const struct names *n, const char *kind, const char *number, unsigned count)
{
	char name[32];

	for (unsigned i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "%s%.8s.%u", kind, number, i);
		n->emit(n->arg, name);
	}
}

static bool name_dsa(void *arg, struct dsa_dev *dev)
{
	const char *name = dsa_dev_name(dev), *number = name + strlen("dsa");
	const struct names *n = arg;
	struct dsa_counts counts;

	dsa_dev_counts(dev, &counts);
	n->emit(n->arg, name);
	name_things(n, "wq", number, counts.wqs);
	name_things(n, "engine", number, counts.engines);
	name_things(n, "group", number, counts.groups);
	return true;
}

static void list_things(const struct sysfs_path *dir, sysfs_emit_fn emit, void *arg)
{
	struct names n = {emit, arg};

	dsa_dev_for_each(dir->d->ctx, name_dsa, &n);
}

/* ---- attributes ---- */

static void name_attr(void *arg, const char *key, const char *value)
{
	const struct names *n = arg;

	n->emit(n->arg, key);
}

static void list_attrs(const struct sysfs_path *dir, sysfs_emit_fn emit, void *arg)
{
	struct names n = {emit, arg};

	dsa_show(dir->d->ctx, path_of(dir->part[THING]).s, name_attr, &n);
}

struct value {
	const char *key;
	char text[128];
};

static void take_value(void *arg, const char *key, const char *value)
{
	struct value *v = arg;

	if (!strcmp(key, v->key))
		snprintf(v->text, sizeof(v->text), "%s", value);
}

static int read_attr(const struct sysfs_path *p, char *buf, size_t size)
{
	struct value v = {.key = p->part[ATTR], .text = ""};

	dsa_show(p->d->ctx, path_of(p->part[THING]).s, take_value, &v);
	return sysfs_print(buf, size, "%s\n", v.text);
}

static int ended(const struct sysfs_path *p, int r, const struct vdpa_error *err)
{
	if (r)
		vdpa_log(&p->d->log.log, VDPA_LOG_WARN, err->object, "%s", err->msg);
	return r;
}

static int write_attr(const struct sysfs_path *p, const char *text, const struct vdpa_done *done)
{
	const struct vdpa_attr attrs[] = {{p->part[ATTR], text}, {NULL, NULL}};
	struct vdpa_error err = {.msg = ""};
	int r = dsa_config(p->d->ctx, path_of(p->part[THING]).s, attrs, &err);

	if (!r)
		vdpa_done_call(done, 0);
	return ended(p, r, &err);
}

/* ---- drivers ---- */

static void name_driver(void *arg, const char *name, const char *help)
{
	const struct names *n = arg;

	n->emit(n->arg, name);
}

static void list_drivers(const struct sysfs_path *dir, sysfs_emit_fn emit, void *arg)
{
	struct names n = {emit, arg};

	emit(arg, "idxd");
	dsa_wq_for_each_driver(dir->d->ctx, name_driver, &n);
}

static bool is_for(const struct sysfs_path *p, const char *thing)
{
	const char *driver;

	if (!strcmp(p->part[DRIVER], "idxd"))
		return !strncmp(thing, "dsa", 3);
	driver = dsa_wq_driver_name(p->d->ctx, path_of(thing).s);
	return driver && !strcmp(driver, p->part[DRIVER]);
}

static int write_bind(const struct sysfs_path *p, const char *text, const struct vdpa_done *done)
{
	struct vdpa_error err = {.msg = ""};
	int r;

	if (!is_for(p, text))
		return -ENODEV;
	r = dsas_enable(p->d, path_of(text).s, &err);
	if (!r)
		vdpa_done_call(done, 0);
	return ended(p, r, &err);
}

static int write_unbind(const struct sysfs_path *p, const char *text, const struct vdpa_done *done)
{
	struct vdpa_error err = {.msg = ""};

	if (!is_for(p, text))
		return -ENODEV;
	return ended(p, dsa_disable(p->d->ctx, path_of(text).s, done, &err), &err);
}

#define DIR_ (S_IFDIR | 0755)

const struct sysfs_rule sysfs_dsa_rules[] = {
	{.pattern = "bus/dsa", .mode = DIR_},
	{.pattern = "bus/dsa/devices", .mode = DIR_},
	{.pattern = "bus/dsa/devices/*", .mode = DIR_, .list = list_things},
	{.pattern = "bus/dsa/devices/*/*",
	 .mode = S_IFREG | 0644,
	 .list = list_attrs,
	 .read = read_attr,
	 .write = write_attr},
	{.pattern = "bus/dsa/drivers", .mode = DIR_},
	{.pattern = "bus/dsa/drivers/*", .mode = DIR_, .list = list_drivers},
	{.pattern = "bus/dsa/drivers/*/bind", .mode = S_IFREG | 0200, .write = write_bind},
	{.pattern = "bus/dsa/drivers/*/unbind", .mode = S_IFREG | 0200, .write = write_unbind},
	{.pattern = NULL},
};
