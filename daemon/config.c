// SPDX-License-Identifier: BSD-3-Clause
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/list.h"
#include "config.h"
#include "ctl/json.h"
#include "ctl/proto.h"
#include "dsas.h"
#include "mdevs.h"

/* Largest configuration file. */
#define CONFIG_BYTES_MAX (16u << 20)

/*
 * The requests of a daemon that was killed are under way in the kernel for a while, and may still
 * write: until they are through they hold the locks of their disk images. Who starts the next
 * daemon at once, as a supervisor does, has not made a mistake.
 */
#define BUSY_TIMEOUT_NS 10000000000ull
#define BUSY_RETRY_NS 20000000ull

struct load {
	struct daemon *d;
	json_t *doc, *devices;
	size_t at;	  /* device that is being created, or (undoing) removed, plus one */
	bool busy, again; /* devs_create() and devs_delete() may complete at once: loop, do not
			     recurse */
	bool mdevs;	  /* have had their turn */
	struct vdpa_loop_timer retry;
	uint64_t busy_until; /* of the device at hand; 0: it was not busy yet */
	int ret;
	struct vdpa_error err;
	devs_done_fn done;
	void *arg;
};

static json_t *dump_device(struct vdpa_device *vdev)
{
	const struct vdpa_driver *drv = vdpa_device_driver(vdev);
	const char *override = vdpa_get_driver_override(vdev);
	char handle[128];
	json_t *dev;

	dev = json_pack("{s:s, s:s, s:o}", "name", vdev->name, "mgmtdev",
			devs_handle(vdev->mdev, handle, sizeof(handle)), "attrs",
			ctl_attrs_to_json(vdpa_device_add_attrs(vdev)));
	if (dev && override)
		json_object_set_new(dev, "driver_override", json_string(override));
	if (dev && drv)
		json_object_set_new(dev, "driver",
				    json_pack("{s:s, s:o}", "name", drv->name, "attrs",
					      ctl_attrs_to_json(vdpa_device_bind_attrs(vdev))));
	return dev;
}

static bool dump_one(void *arg, struct vdpa_device *vdev)
{
	if (vdev->mdev)
		json_array_append_new(arg, dump_device(vdev));
	return true;
}

json_t *config_dump(struct daemon *d)
{
	json_t *devices = json_array();

	vdpa_for_each_device(d->ctx, dump_one, devices);
	return json_pack("{s:i, s:o, s:o*, s:o*}", "version", CTL_CONFIG_VERSION, "devices",
			 devices, "dsas", dsas_dump(d), "mdevs", mdevs_dump(d));
}

static const char *device_name(const struct load *l, size_t i)
{
	return json_string_value(json_object_get(json_array_get(l->devices, i), "name"));
}

static void load_end(struct load *l)
{
	l->done(l->arg, l->ret, l->ret ? &l->err : NULL);
	json_decref(l->doc);
	free(l);
}

static void load_step(struct load *l);

static void load_again(struct load *l)
{
	if (l->busy)
		l->again = true;
	else
		load_step(l);
}

static void removed(void *arg, int ret, const struct vdpa_error *err)
{
	struct load *l = arg;

	if (ret)
		vdpa_log(&l->d->log.log, VDPA_LOG_ERR, device_name(l, l->at),
			 "left behind by a configuration that failed: %s", err->msg);
	load_again(l);
}

static void retry(struct vdpa_loop_timer *timer)
{
	load_again(vdpa_container_of(timer, struct load, retry));
}

/* Something is in use: try again soon? */
static bool wait_for_it(struct load *l, const struct vdpa_error *err)
{
	uint64_t now = vdpa_clock_ns();

	if (!l->busy_until) {
		l->busy_until = now + BUSY_TIMEOUT_NS;
		vdpa_log(&l->d->log.log, VDPA_LOG_WARN, device_name(l, l->at), "waits: %s",
			 err->msg);
	}
	if (now >= l->busy_until)
		return false;
	vdpa_loop_timer_set(l->d->loop, &l->retry, now + BUSY_RETRY_NS, retry);
	return true;
}

static void created(void *arg, int ret, const struct vdpa_error *err)
{
	struct load *l = arg;
	char object[96];

	if (!ret) {
		l->at++;
		l->busy_until = 0;
		load_again(l);
		return;
	}
	if (ret == -EBUSY && wait_for_it(l, err))
		return;
	l->ret = ret;
	snprintf(object, sizeof(object), "$.devices[%zu]", l->at);
	vdpa_error_set(&l->err, -ret, object, "%s: %s",
		       *err->object ? err->object : device_name(l, l->at), err->msg);
	load_again(l);
}

static void create_next(struct load *l)
{
	const json_t *dev = json_array_get(l->devices, l->at);
	const json_t *drv = json_object_get(dev, "driver");
	struct dev_wish wish = {
		.name = device_name(l, l->at),
		.mgmtdev = json_string_value(json_object_get(dev, "mgmtdev")),
		.attrs = json_object_get(dev, "attrs"),
		.override = json_string_value(json_object_get(dev, "driver_override")),
		.driver = json_string_value(json_object_get(drv, "name")),
		.driver_attrs = json_object_get(drv, "attrs"),
	};

	devs_create(l->d, &wish, created, l);
}

static void mdevs_removed(void *arg, int result)
{
	struct load *l = arg;

	dsas_unload(l->d, json_object_get(l->doc, "dsas"));
	load_again(l);
}

/* When the devices are there; they do not wait for anything. False: they have failed, and go; what
 * they are made of goes after them. */
static bool load_mdevs(struct load *l)
{
	const struct vdpa_done done = {mdevs_removed, l};

	l->mdevs = true;
	l->ret = dsas_load(l->d, json_object_get(l->doc, "dsas"), &l->err);
	if (l->ret)
		return true;
	l->ret = mdevs_load(l->d, json_object_get(l->doc, "mdevs"), &done, &l->err);
	return !l->ret;
}

/* One device forward; or, after an error, one back. */
static bool load_once(struct load *l)
{
	if (!l->ret && l->at < json_array_size(l->devices)) {
		create_next(l);
		return true;
	}
	if (!l->ret && !l->mdevs && !load_mdevs(l))
		return true;
	if (l->ret && l->at) {
		l->at--;
		devs_delete(l->d, device_name(l, l->at), removed, l);
		return true;
	}
	return false;
}

static void load_step(struct load *l)
{
	l->busy = true;
	do {
		l->again = false;
		if (!load_once(l)) {
			load_end(l);
			return;
		}
	} while (l->again);
	l->busy = false;
}

void config_load(struct daemon *d, json_t *doc, devs_done_fn done, void *arg)
{
	struct vdpa_error err = {0};
	struct load *l;
	int ret = config_check(doc, &err);

	l = ret ? NULL : calloc(1, sizeof(*l));
	if (!l) {
		if (!ret)
			ret = vdpa_error_set(&err, ENOMEM, "$", "out of memory");
		done(arg, ret, &err);
		return;
	}
	*l = (struct load){.d = d, .doc = json_incref(doc), .done = done, .arg = arg};
	l->devices = json_object_get(doc, "devices");
	load_step(l);
}

struct file_load {
	bool ended;
	int ret;
	struct vdpa_error *err;
};

static void file_loaded(void *arg, int ret, const struct vdpa_error *err)
{
	struct file_load *f = arg;

	f->ended = true;
	f->ret = ret;
	if (err && f->err)
		*f->err = *err;
}

/* Without O_NONBLOCK a FIFO that nobody writes to would keep the daemon from starting. */
static int open_file(const char *path, FILE **f, struct vdpa_error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	int ret = 0;

	*f = NULL;
	if (fd < 0 || fstat(fd, &st))
		ret = vdpa_error_set(err, errno, path, "cannot be read: %s", strerror(errno));
	else if (!S_ISREG(st.st_mode))
		ret = vdpa_error_set(err, EINVAL, path, "cannot be read: it is not a regular file");
	else if (!(*f = fdopen(fd, "r")))
		ret = vdpa_error_set(err, ENOMEM, path, "cannot be read: out of memory");
	if (ret && fd >= 0)
		close(fd);
	return ret;
}

static int read_file(const char *path, char **text, size_t *len, struct vdpa_error *err)
{
	FILE *f;
	char *buf;
	int ret = open_file(path, &f, err);

	if (ret)
		return ret;
	buf = malloc(CONFIG_BYTES_MAX + 1);
	*len = buf ? fread(buf, 1, CONFIG_BYTES_MAX + 1, f) : 0;
	if (!buf || ferror(f) || *len > CONFIG_BYTES_MAX) {
		ret = vdpa_error_set(err, buf ? EFBIG : ENOMEM, path,
				     "cannot be read: it must be a file of at most %u bytes",
				     CONFIG_BYTES_MAX);
		free(buf);
		fclose(f);
		return ret;
	}
	fclose(f);
	*text = buf;
	return 0;
}

int config_load_file(struct daemon *d, const char *path, struct vdpa_error *err)
{
	struct file_load f = {.err = err};
	char *text = NULL;
	json_t *doc;
	size_t len = 0;
	int ret = read_file(path, &text, &len, err);

	if (ret)
		return ret;
	doc = ctl_json_parse(text, len, err);
	free(text);
	if (!doc)
		return -EINVAL;
	config_load(d, doc, file_loaded, &f);
	json_decref(doc);
	ret = vdpa_ctx_wait(d->ctx, &f.ended, -1);
	return ret ? ret : f.ret;
}
