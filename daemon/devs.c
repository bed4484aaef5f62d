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

static int bind(struct vdpa_device *vdev, const char *driver, const json_t *attrs,
		struct vdpa_error *err)
{
	const struct vdpa_driver *drv = vdpa_find_driver(vdev->ctx, driver);
	struct vdpa_attr *list = NULL;
	int ret = ctl_attrs_from_json(attrs, dev_object(vdev->name).s, &list, err);

	if (!ret && drv)
		ret = dev_attrs_check_local(list, drv->attrs, dev_object(vdev->name).s, err);
	if (!ret)
		ret = vdpa_bind(vdev, driver, list, err);
	ctl_attrs_free(list);
	return ret;
}

/* A binding that a driver only began. */
struct binding {
	struct vdpa_device *vdev; /* a reference */
	devs_done_fn done;
	void *arg;
	int ret;
	struct vdpa_error err;
};

static void binding_end(void *arg, int result)
{
	struct binding *b = arg;

	b->done(b->arg, b->ret, b->ret ? &b->err : NULL);
	vdpa_put_device(b->vdev);
	free(b);
}

static void settled(void *arg, int result)
{
	struct binding *b = arg;

	b->ret = result;
	if (result && !b->err.msg[0])
		vdpa_error_set(&b->err, -result, dev_object(b->vdev->name).s, "bind failed: %s",
			       strerror(-result));
	/* What did not come about is taken back; maybe somebody does so already. */
	if (!result || vdpa_unbind(b->vdev, &(struct vdpa_done){binding_end, b}))
		binding_end(b, 0);
}

void devs_bind(struct vdpa_device *vdev, const char *driver, const json_t *attrs, devs_done_fn done,
	       void *arg)
{
	struct vdpa_error err = {0};
	struct binding *b;
	int ret = bind(vdev, driver, attrs, &err);

	b = ret ? NULL : calloc(1, sizeof(*b));
	if (!b) {
		if (!ret)
			ret = vdpa_error_set(&err, ENOMEM, dev_object(vdev->name).s,
					     "out of memory");
		done(arg, ret, &err);
		return;
	}
	*b = (struct binding){.vdev = vdpa_get_device(vdev), .done = done, .arg = arg};
	ret = vdpa_settle(vdev, &b->err, &(struct vdpa_done){settled, b});
	if (ret)
		settled(b, ret);
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

/* A device that is there, but not yet as it was wished. */
struct creation {
	struct daemon *d;
	char name[VDPA_NAME_MAX + 1];
	devs_done_fn done;
	void *arg;
};

static void created(void *arg, int ret, const struct vdpa_error *err)
{
	struct creation c = *(struct creation *)arg;
	struct vdpa_device *vdev = vdpa_find_device(c.d->ctx, c.name);

	free(arg);
	if (ret && vdev)
		remove_then(vdev, ret, err, c.done, c.arg);
	else
		c.done(c.arg, ret, err);
}

static void finish_create(struct creation *c, const struct dev_wish *wish)
{
	struct vdpa_device *vdev = vdpa_find_device(c->d->ctx, c->name);
	struct vdpa_error err = {0};
	int ret = wish->override ? vdpa_set_driver_override(vdev, wish->override) : 0;

	if (ret)
		vdpa_error_set(&err, -ret, dev_object(c->name).s, "driver_override: %s",
			       strerror(-ret));
	if (!ret && wish->driver)
		devs_bind(vdev, wish->driver, wish->driver_attrs, created, c);
	else
		created(c, ret, ret ? &err : NULL);
}

void devs_create(struct daemon *d, const struct dev_wish *wish, devs_done_fn done, void *arg)
{
	struct creation *c = calloc(1, sizeof(*c));
	struct vdpa_error err = {0};
	int ret = c ? add(d, wish, &err)
		    : vdpa_error_set(&err, ENOMEM, dev_object(wish->name).s, "out of memory");

	if (ret) {
		free(c);
		done(arg, ret, &err);
		return;
	}
	*c = (struct creation){.d = d, .done = done, .arg = arg};
	snprintf(c->name, sizeof(c->name), "%s", wish->name);
	finish_create(c, wish);
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
