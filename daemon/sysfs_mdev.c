// SPDX-License-Identifier: BSD-3-Clause
/*
 * Mediated devices in the tree, where Linux has them: Documentation/ABI/testing/sysfs-bus-vdpa and
 * Documentation/driver-api/vfio-mediated-device.rst.
 *
 *	class/mdev_bus/PARENT -> devices/virtual/mdev/PARENT
 *		mdev_supported_types/TYPE/{create,name,description,device_api,
 *					   available_instances,devices/UUID}
 *		UUID/{remove,mdev_type,driver,subsystem,modalias,uevent,class_id,ATTRIBUTE...}
 *	bus/BUS/devices/UUID, bus/BUS/drivers/DRIVER/{bind,unbind}
 *	bus/vdpa/devices/NAME, bus/virtio/devices/virtioN
 *
 * bus/mdev has all mediated devices, of whatever class, because that is where mdevctl looks.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <uvdpa/mdev_class.h>
#include <uvdpa/virtio.h>
#include "sysfs.h"

#define ROOT "devices/virtual/mdev"
/* Parts of a path below ROOT. */
enum { PARENT = 3, UUID = 4, TYPE = 5 };

struct names {
	const struct sysfs_path *path;
	sysfs_emit_fn emit;
	void *arg;
};

/* ---- parents and types ---- */

static bool name_parent(void *arg, struct mdev_parent *parent)
{
	struct names *n = arg;

	n->emit(n->arg, parent->name);
	return true;
}

static void list_parents(const struct sysfs_path *dir, sysfs_emit_fn emit, void *arg)
{
	struct names n = {dir, emit, arg};

	mdev_for_each_parent(dir->d->ctx, name_parent, &n);
}

static int read_parent_link(const struct sysfs_path *p, char *buf, size_t size)
{
	return sysfs_print(buf, size, "../../" ROOT "/%s", p->part[2]);
}

static struct mdev_parent *parent_of(const struct sysfs_path *p)
{
	return mdev_find_parent(p->d->ctx, p->part[PARENT]);
}

/* What is above is there: so are these two. */
static const struct mdev_type *type_of(const struct sysfs_path *p)
{
	return mdev_find_type(parent_of(p), p->part[TYPE]);
}

static void list_types(const struct sysfs_path *dir, sysfs_emit_fn emit, void *arg)
{
	const struct mdev_parent *parent = parent_of(dir);

	for (const struct mdev_type *t = parent->types; t->id; t++)
		emit(arg, mdev_type_name(parent, t).s);
}

static int read_instances(const struct sysfs_path *p, char *buf, size_t size)
{
	return sysfs_print(buf, size, "%u\n", mdev_available_instances(parent_of(p), type_of(p)));
}

static int read_api(const struct sysfs_path *p, char *buf, size_t size)
{
	return sysfs_print(buf, size, "%s\n", type_of(p)->device_api);
}

static int read_name(const struct sysfs_path *p, char *buf, size_t size)
{
	return sysfs_print(buf, size, "%s\n", type_of(p)->name ? type_of(p)->name : p->part[TYPE]);
}

static bool has_description(const struct sysfs_path *p)
{
	return type_of(p)->description;
}

static int read_description(const struct sysfs_path *p, char *buf, size_t size)
{
	return sysfs_print(buf, size, "%s\n", type_of(p)->description);
}

static void complain(const struct sysfs_path *p, const struct vdpa_error *err)
{
	vdpa_log(&p->d->log.log, VDPA_LOG_WARN, err->object, "%s", err->msg);
}

static int write_create(const struct sysfs_path *p, const char *text, const struct vdpa_done *done)
{
	const struct mdev_request req = {parent_of(p), type_of(p), text, NULL};
	struct vdpa_error err = {.msg = ""};
	int r = mdev_create(&req, NULL, &err);

	if (r)
		complain(p, &err);
	else
		vdpa_done_call(done, 0);
	return r;
}

/* ---- devices ---- */

static bool name_of_parent(void *arg, struct mdev_device *mdev)
{
	struct names *n = arg;

	if (mdev->parent && !strcmp(mdev->parent->name, n->path->part[PARENT]))
		n->emit(n->arg, mdev->uuid);
	return true;
}

static void list_of_parent(const struct sysfs_path *dir, sysfs_emit_fn emit, void *arg)
{
	struct names n = {dir, emit, arg};

	mdev_for_each(dir->d->ctx, name_of_parent, &n);
}

static bool name_of_type(void *arg, struct mdev_device *mdev)
{
	struct names *n = arg;

	if (mdev->parent == parent_of(n->path) && mdev->type == type_of(n->path))
		n->emit(n->arg, mdev->uuid);
	return true;
}

static void list_of_type(const struct sysfs_path *dir, sysfs_emit_fn emit, void *arg)
{
	struct names n = {dir, emit, arg};

	mdev_for_each(dir->d->ctx, name_of_type, &n);
}

static int read_up_link(const struct sysfs_path *p, char *buf, size_t size)
{
	return sysfs_print(buf, size, "../../../%s", p->part[p->n - 1]);
}

static struct mdev_device *device_of(const struct sysfs_path *p)
{
	return mdev_find(p->d->ctx, p->part[UUID]);
}

static const char *bus_name(const struct mdev_device *mdev)
{
	return mdev_bus_of(mdev->ctx, mdev_class_id(mdev), NULL)->name;
}

static int read_type_link(const struct sysfs_path *p, char *buf, size_t size)
{
	const struct mdev_device *mdev = device_of(p);

	return sysfs_print(buf, size, "../mdev_supported_types/%s",
			   mdev_type_name(mdev->parent, mdev->type).s);
}

static bool has_driver(const struct sysfs_path *p)
{
	return mdev_device_driver(device_of(p));
}

static int read_driver_link(const struct sysfs_path *p, char *buf, size_t size)
{
	const struct mdev_device *mdev = device_of(p);

	return sysfs_print(buf, size, "../../../../../bus/%s/drivers/%s", bus_name(mdev),
			   mdev_device_driver(mdev)->name);
}

static int read_subsystem_link(const struct sysfs_path *p, char *buf, size_t size)
{
	return sysfs_print(buf, size, "../../../../../bus/%s", bus_name(device_of(p)));
}

static int read_modalias(const struct sysfs_path *p, char *buf, size_t size)
{
	return sysfs_print(buf, size, "%s\n", mdev_modalias(device_of(p)).s);
}

static int read_uevent(const struct sysfs_path *p, char *buf, size_t size)
{
	const struct mdev_driver *drv = mdev_device_driver(device_of(p));

	return sysfs_print(buf, size, "%s%s%sMODALIAS=%s\n", drv ? "DRIVER=" : "",
			   drv ? drv->name : "", drv ? "\n" : "", mdev_modalias(device_of(p)).s);
}

static int read_class(const struct sysfs_path *p, char *buf, size_t size)
{
	return sysfs_print(buf, size, "%u\n", mdev_class_id(device_of(p)));
}

/* As Linux: any number but 0. Answered when it is gone. */
static int write_remove(const struct sysfs_path *p, const char *text, const struct vdpa_done *done)
{
	if (strspn(text, "0123456789") != strlen(text) || !*text)
		return -EINVAL;
	if (strspn(text, "0") == strlen(text)) {
		vdpa_done_call(done, 0);
		return 0;
	}
	return mdev_remove(device_of(p), done);
}

/* ---- attributes ---- */

static void list_attrs(const struct sysfs_path *dir, sysfs_emit_fn emit, void *arg)
{
	const struct vdpa_attr_spec *spec = device_of(dir)->type->attrs;

	for (; spec && spec->name; spec++)
		emit(arg, spec->name);
}

struct value {
	const char *key;
	char text[256];
};

static void take_value(void *arg, const char *key, const char *value)
{
	struct value *v = arg;

	if (!strcmp(key, v->key))
		snprintf(v->text, sizeof(v->text), "%s", value);
}

/* As the device shows it, or else as it was set. */
static int read_attr(const struct sysfs_path *p, char *buf, size_t size)
{
	struct mdev_device *mdev = device_of(p);
	struct value v = {.key = p->part[UUID + 1], .text = ""};
	const char *set = vdpa_attr_get(mdev_attrs(mdev), v.key);

	mdev_show(mdev, take_value, &v);
	return sysfs_print(buf, size, "%s\n", *v.text ? v.text : set ? set : "");
}

static int write_attr(const struct sysfs_path *p, const char *text, const struct vdpa_done *done)
{
	struct vdpa_error err = {.msg = ""};
	int r = mdev_set_attr(device_of(p), p->part[UUID + 1], text, &err);

	if (r)
		complain(p, &err);
	else
		vdpa_done_call(done, 0);
	return r;
}

/* ---- buses ---- */

static bool name_bus(void *arg, const struct mdev_bus *bus)
{
	struct names *n = arg;

	n->emit(n->arg, bus->name);
	return true;
}

static void list_buses(const struct sysfs_path *dir, sysfs_emit_fn emit, void *arg)
{
	struct names n = {dir, emit, arg};

	mdev_for_each_bus(dir->d->ctx, name_bus, &n);
}

static bool name_on_bus(void *arg, struct mdev_device *mdev)
{
	struct names *n = arg;
	const char *bus = n->path->part[1];

	if (mdev->parent && (!strcmp(bus, "mdev") || !strcmp(bus, bus_name(mdev))))
		n->emit(n->arg, mdev->uuid);
	return true;
}

static void list_on_bus(const struct sysfs_path *dir, sysfs_emit_fn emit, void *arg)
{
	struct names n = {dir, emit, arg};

	mdev_for_each(dir->d->ctx, name_on_bus, &n);
}

static int read_device_link(const struct sysfs_path *p, char *buf, size_t size)
{
	const struct mdev_device *mdev = mdev_find(p->d->ctx, p->part[3]);

	return sysfs_print(buf, size, "../../../" ROOT "/%s/%s", mdev->parent->name, mdev->uuid);
}

static bool name_driver(void *arg, const struct mdev_driver *drv)
{
	struct names *n = arg;

	if (!strcmp(drv->bus, n->path->part[1]))
		n->emit(n->arg, drv->name);
	return true;
}

static void list_drivers(const struct sysfs_path *dir, sysfs_emit_fn emit, void *arg)
{
	struct names n = {dir, emit, arg};

	mdev_for_each_driver(dir->d->ctx, name_driver, &n);
}

static int write_bind(const struct sysfs_path *p, const char *text, const struct vdpa_done *done)
{
	struct mdev_device *mdev = mdev_find(p->d->ctx, text);
	struct vdpa_error err = {.msg = ""};
	int r = mdev ? mdev_bind(mdev, p->part[3], NULL, &err) : -ENODEV;

	if (r && mdev)
		complain(p, &err);
	if (!r)
		vdpa_done_call(done, 0);
	return r;
}

static int write_unbind(const struct sysfs_path *p, const char *text, const struct vdpa_done *done)
{
	struct mdev_device *mdev = mdev_find(p->d->ctx, text);
	const struct mdev_driver *drv = mdev ? mdev_device_driver(mdev) : NULL;

	if (!drv || strcmp(drv->name, p->part[3]))
		return -ENODEV;
	return mdev_unbind(mdev, done);
}

/* ---- the vDPA bus, and virtio's ---- */

static bool name_vdpa(void *arg, struct vdpa_device *vdev)
{
	struct names *n = arg;

	n->emit(n->arg, vdev->name);
	return true;
}

static void list_vdpa(const struct sysfs_path *dir, sysfs_emit_fn emit, void *arg)
{
	struct names n = {dir, emit, arg};

	vdpa_for_each_device(dir->d->ctx, name_vdpa, &n);
}

static int read_vdpa_parent(const struct sysfs_path *p, char *buf, size_t size)
{
	return sysfs_print(buf, size, "%s\n", vdpa_find_device(p->d->ctx, p->part[3])->parent);
}

static int read_vdpa_driver(const struct sysfs_path *p, char *buf, size_t size)
{
	const struct vdpa_driver *drv = vdpa_device_driver(vdpa_find_device(p->d->ctx, p->part[3]));

	return sysfs_print(buf, size, "%s\n", drv ? drv->name : "");
}

static bool name_virtio(void *arg, struct virtio_device *dev)
{
	struct names *n = arg;

	n->emit(n->arg, virtio_name(dev));
	return true;
}

static void list_virtio(const struct sysfs_path *dir, sysfs_emit_fn emit, void *arg)
{
	struct names n = {dir, emit, arg};

	virtio_for_each(dir->d->ctx, name_virtio, &n);
}

#define DIR_ (S_IFDIR | 0755)
#define LINK (S_IFLNK | 0777)
#define TYPES ROOT "/*/mdev_supported_types"
#define DEVICE ROOT "/*/*"

const struct sysfs_rule sysfs_mdev_rules[] = {
	{.pattern = "class", .mode = DIR_},
	{.pattern = "class/mdev_bus", .mode = DIR_},
	{.pattern = "class/mdev_bus/*",
	 .mode = LINK,
	 .list = list_parents,
	 .read = read_parent_link},
	{.pattern = "devices", .mode = DIR_},
	{.pattern = "devices/virtual", .mode = DIR_},
	{.pattern = ROOT, .mode = DIR_},
	{.pattern = ROOT "/*", .mode = DIR_, .list = list_parents},
	{.pattern = TYPES, .mode = DIR_},
	{.pattern = TYPES "/*", .mode = DIR_, .list = list_types},
	{.pattern = TYPES "/*/create", .mode = S_IFREG | 0200, .write = write_create},
	{.pattern = TYPES "/*/available_instances", .mode = S_IFREG | 0444, .read = read_instances},
	{.pattern = TYPES "/*/device_api", .mode = S_IFREG | 0444, .read = read_api},
	{.pattern = TYPES "/*/name", .mode = S_IFREG | 0444, .read = read_name},
	{.pattern = TYPES "/*/description",
	 .mode = S_IFREG | 0444,
	 .exists = has_description,
	 .read = read_description},
	{.pattern = TYPES "/*/devices", .mode = DIR_},
	{.pattern = TYPES "/*/devices/*", .mode = LINK, .list = list_of_type, .read = read_up_link},
	{.pattern = DEVICE, .mode = DIR_, .list = list_of_parent},
	{.pattern = DEVICE "/remove", .mode = S_IFREG | 0200, .write = write_remove},
	{.pattern = DEVICE "/mdev_type", .mode = LINK, .read = read_type_link},
	{.pattern = DEVICE "/driver", .mode = LINK, .exists = has_driver, .read = read_driver_link},
	{.pattern = DEVICE "/subsystem", .mode = LINK, .read = read_subsystem_link},
	{.pattern = DEVICE "/modalias", .mode = S_IFREG | 0444, .read = read_modalias},
	{.pattern = DEVICE "/uevent", .mode = S_IFREG | 0444, .read = read_uevent},
	{.pattern = DEVICE "/class_id", .mode = S_IFREG | 0444, .read = read_class},
	{.pattern = DEVICE "/*",
	 .mode = S_IFREG | 0644,
	 .list = list_attrs,
	 .read = read_attr,
	 .write = write_attr},
	{.pattern = "bus", .mode = DIR_},
	{.pattern = "bus/*", .mode = DIR_, .list = list_buses},
	{.pattern = "bus/*/devices", .mode = DIR_},
	{.pattern = "bus/*/devices/*", .mode = LINK, .list = list_on_bus, .read = read_device_link},
	{.pattern = "bus/*/drivers", .mode = DIR_},
	{.pattern = "bus/*/drivers/*", .mode = DIR_, .list = list_drivers},
	{.pattern = "bus/*/drivers/*/bind", .mode = S_IFREG | 0200, .write = write_bind},
	{.pattern = "bus/*/drivers/*/unbind", .mode = S_IFREG | 0200, .write = write_unbind},
	{.pattern = "bus/vdpa", .mode = DIR_},
	{.pattern = "bus/vdpa/devices", .mode = DIR_},
	{.pattern = "bus/vdpa/devices/*", .mode = DIR_, .list = list_vdpa},
	{.pattern = "bus/vdpa/devices/*/parent", .mode = S_IFREG | 0444, .read = read_vdpa_parent},
	{.pattern = "bus/vdpa/devices/*/driver_name",
	 .mode = S_IFREG | 0444,
	 .read = read_vdpa_driver},
	{.pattern = "bus/virtio", .mode = DIR_},
	{.pattern = "bus/virtio/devices", .mode = DIR_},
	{.pattern = "bus/virtio/devices/*", .mode = DIR_, .list = list_virtio},
	{.pattern = NULL},
};
