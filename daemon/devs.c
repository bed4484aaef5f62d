// SPDX-License-Identifier: BSD-3-Clause
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uvdpa/backend.h>
#include "ctl/json.h"
#include "dev_attrs.h"
#include "devs.h"
#include "vdpa/name_list.h"

/* A removal under way. */
struct removal {
	devs_done_fn done;
	void *arg;
	int ret; /* what to report when the removal went well */
	struct vdpa_error err;
};

struct dev_object dev_object(const char *name)
{
	struct dev_object o;

	snprintf(o.s, sizeof(o.s), "dev/%s", name);
	return o;
}

const char *devs_handle(const struct vdpa_mgmt_dev *mdev, char *buf, size_t size)
{
	snprintf(buf, size, "%s%s%s", mdev->bus ? mdev->bus : "", mdev->bus ? "/" : "", mdev->name);
	return buf;
}

static bool list_device(void *arg, struct vdpa_device *vdev)
{
	vdpa_name_list_add(arg, vdev->name);
	return true;
}

struct vdpa_device *devs_find(struct daemon *d, const char *name, struct vdpa_error *err)
{
	struct vdpa_device *vdev = vdpa_find_device(d->ctx, name);
	struct vdpa_name_list list = VDPA_NAME_LIST_INIT;

	if (vdev)
		return vdev;
	vdpa_for_each_device(d->ctx, list_device, &list);
	vdpa_error_set(err, ENODEV, dev_object(name).s, "there is no such device; there are: %s",
		       list.s);
	return NULL;
}

static bool list_driver(void *arg, const struct vdpa_driver *drv)
{
	vdpa_name_list_add(arg, drv->name);
	return true;
}

const struct vdpa_driver *devs_driver(struct daemon *d, const char *name, struct vdpa_error *err)
{
	const struct vdpa_driver *drv = vdpa_find_driver(d->ctx, name);
	struct vdpa_name_list list = VDPA_NAME_LIST_INIT;

	if (drv)
		return drv;
	vdpa_for_each_driver(d->ctx, list_driver, &list);
	vdpa_error_set(err, ENODEV, NULL, "there is no driver \"%s\"; there are: %s", name, list.s);
	return NULL;
}

struct find_mgmtdev {
	const char *name;
	struct vdpa_mgmt_dev *found;
	struct vdpa_name_list list;
};

static bool match_mgmtdev(void *arg, struct vdpa_mgmt_dev *mdev)
{
	struct find_mgmtdev *f = arg;
	char handle[128];

	devs_handle(mdev, handle, sizeof(handle));
	if (!strcmp(handle, f->name))
		f->found = mdev;
	vdpa_name_list_add(&f->list, handle);
	return !f->found;
}

struct vdpa_mgmt_dev *devs_mgmtdev(struct daemon *d, const char *name, struct vdpa_error *err)
{
	struct find_mgmtdev f = {.name = name, .list = VDPA_NAME_LIST_INIT};

	vdpa_for_each_mgmtdev(d->ctx, match_mgmtdev, &f);
	if (!f.found)
		vdpa_error_set(err, ENODEV, NULL,
			       "there is no management device \"%s\"; there are: %s", name,
			       f.list.s);
	return f.found;
}

const struct vdpa_attr_spec *devs_backend_attrs(const char *name)
{
	const struct blk_backend_ops *blk = blk_backend_find(name);
	const struct net_backend_ops *net = blk ? NULL : net_backend_find(name);

	return blk ? blk->attrs : net ? net->attrs : NULL;
}

static bool count_one(void *arg, struct vdpa_device *vdev)
{
	(void)vdev;
	++*(unsigned *)arg;
	return true;
}

unsigned devs_count(struct daemon *d)
{
	unsigned n = 0;

	vdpa_for_each_device(d->ctx, count_one, &n);
	return n;
}

static void removed(void *arg, int result)
{
	struct removal *r = arg;

	if (result)
		r->ret = vdpa_error_set(&r->err, -result, NULL, "could not be removed: %s",
					strerror(-result));
	r->done(r->arg, r->ret, r->ret ? &r->err : NULL);
	free(r);
}

/* Remove @vdev, then report @ret and @err (0: the removal's own success). */
static void remove_then(struct vdpa_device *vdev, int ret, const struct vdpa_error *err,
			devs_done_fn done, void *arg)
{
	struct vdpa_error del_err = {0};
	struct removal *r = calloc(1, sizeof(*r));
	int del;

	if (!r) {
		vdpa_error_set(&del_err, ENOMEM, dev_object(vdev->name).s, "out of memory");
		done(arg, -ENOMEM, &del_err);
		return;
	}
	*r = (struct removal){.done = done, .arg = arg, .ret = ret};
	if (err)
		r->err = *err;
	else
		vdpa_error_set(&r->err, EIO, dev_object(vdev->name).s, "removal");
	del = vdpa_dev_del(vdev, &(struct vdpa_done){removed, r}, &del_err);
	if (!del)
		return;
	free(r);
	done(arg, ret ? ret : del, ret ? err : &del_err);
}

void devs_delete(struct daemon *d, const char *name, devs_done_fn done, void *arg)
{
	struct vdpa_error err = {0};
	struct vdpa_device *vdev = devs_find(d, name, &err);

	if (vdev)
		remove_then(vdev, 0, NULL, done, arg);
	else
		done(arg, -ENODEV, &err);
}

int devs_bind(struct daemon *d, struct vdpa_device *vdev, const char *driver, const json_t *attrs,
	      struct vdpa_error *err)
{
	const struct vdpa_driver *drv = vdpa_find_driver(d->ctx, driver);
	struct vdpa_attr *list = NULL;
	int ret = ctl_attrs_from_json(attrs, dev_object(vdev->name).s, &list, err);

	if (!ret && drv)
		ret = dev_attrs_check_local(list, drv->attrs, dev_object(vdev->name).s, err);
	if (!ret)
		ret = vdpa_bind(vdev, driver, list, err);
	ctl_attrs_free(list);
	return ret;
}

static int add(struct daemon *d, const struct dev_wish *wish, struct vdpa_error *err)
{
	struct vdpa_mgmt_dev *mdev;
	struct dev_attrs attrs;
	int ret;

	if (daemon_is_ending(d))
		return vdpa_error_set(err, ESHUTDOWN, dev_object(wish->name).s,
				      "the daemon is ending");
	mdev = devs_mgmtdev(d, wish->mgmtdev, err);
	if (!mdev)
		return -ENODEV;
	ret = dev_attrs_init(&attrs, mdev, wish->attrs, dev_object(wish->name).s, err);
	if (!ret)
		ret = vdpa_dev_add(mdev, wish->name, &attrs.config, err);
	dev_attrs_fini(&attrs);
	return ret;
}

void devs_create(struct daemon *d, const struct dev_wish *wish, devs_done_fn done, void *arg)
{
	struct vdpa_error err = {0};
	struct vdpa_device *vdev;
	int ret = add(d, wish, &err);

	if (ret) {
		done(arg, ret, &err);
		return;
	}
	vdev = vdpa_find_device(d->ctx, wish->name);
	if (wish->override)
		ret = vdpa_set_driver_override(vdev, wish->override);
	if (ret)
		vdpa_error_set(&err, -ret, dev_object(wish->name).s, "driver_override: %s",
			       strerror(-ret));
	else if (wish->driver)
		ret = devs_bind(d, vdev, wish->driver, wish->driver_attrs, &err);
	if (ret)
		remove_then(vdev, ret, &err, done, arg);
	else
		done(arg, 0, NULL);
}

int devs_set(struct vdpa_device *vdev, const json_t *attrs, struct vdpa_error *err)
{
	struct dev_attrs a;
	int ret;

	if (!vdev->mdev)
		return vdpa_error_set(err, EOPNOTSUPP, dev_object(vdev->name).s,
				      "was not created through a management device");
	if (!json_object_size(attrs))
		return vdpa_error_set(err, EINVAL, dev_object(vdev->name).s,
				      "no attribute is given; mac and backend are allowed");
	ret = dev_attrs_init(&a, vdev->mdev, attrs, dev_object(vdev->name).s, err);
	if (!ret)
		ret = vdpa_dev_set(vdev, &a.config, err);
	dev_attrs_fini(&a);
	return ret;
}
