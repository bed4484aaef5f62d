// SPDX-License-Identifier: BSD-3-Clause
/*
 * Definitions of mediated devices: in memory, and as mdevctl's files when there is a folder for
 * them. A file is replaced whole, or not at all; one that cannot be read is logged and left alone.
 * The folder is mdevctl's as well: whoever asks for definitions is given what is there now.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uvdpa/mdev_class.h>
#include "ctl/json.h"
#include "mdevs.h"

static const char *str(const json_t *obj, const char *key)
{
	const char *s = json_string_value(json_object_get(obj, key));

	return s ? s : "";
}

/* As a file's name: what is not the daemon's to choose must not lead out of the folder. */
static bool parent_valid(const char *name)
{
	return *name && *name != '.' && strlen(name) <= VDPA_NAME_MAX && !strchr(name, '/');
}

static int path_of(struct daemon *d, const json_t *def, const char *suffix, char *path, size_t size)
{
	int n = snprintf(path, size, "%s/%s/%s%s", d->opt.mdev_dir, str(def, "parent"),
			 str(def, "uuid"), suffix);

	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

/* ---- the file's form ---- */

static json_t *to_file(const json_t *def)
{
	json_t *attrs = json_array(), *value;
	const char *key;

	json_object_foreach(json_object_get(def, "attrs"), key, value)
		json_array_append_new(attrs, json_pack("{s:O}", key, value));
	return json_pack("{s:s, s:s, s:o}", "mdev_type", str(def, "mdev_type"), "start",
			 str(def, "start"), "attrs", attrs);
}

static json_t *from_file(const json_t *file, const char *parent, const char *uuid)
{
	json_t *attrs = json_object(), *one, *value;
	const char *key;
	size_t i;

	json_array_foreach(json_object_get(file, "attrs"), i, one)
	{
		json_object_foreach(one, key, value) json_object_set(attrs, key, value);
	}
	return json_pack("{s:s, s:s, s:s, s:s, s:o}", "uuid", uuid, "parent", parent, "mdev_type",
			 str(file, "mdev_type"), "start", str(file, "start"), "attrs", attrs);
}

static int write_file(struct daemon *d, const json_t *def, struct vdpa_error *err)
{
	char path[PATH_MAX], temp[PATH_MAX], dir[PATH_MAX];
	json_t *file = to_file(def);
	int ret = path_of(d, def, "", path, sizeof(path));

	if (!ret)
		ret = path_of(d, def, ".new", temp, sizeof(temp));
	if (!ret) {
		snprintf(dir, sizeof(dir), "%.3800s/%.63s", d->opt.mdev_dir, str(def, "parent"));
		if (mkdir(dir, 0755) && errno != EEXIST)
			ret = -errno;
	}
	if (!ret && json_dump_file(file, temp, JSON_INDENT(2)))
		ret = errno ? -errno : -EIO;
	if (!ret && rename(temp, path))
		ret = -errno;
	json_decref(file);
	return ret ? vdpa_error_set(err, -ret, d->opt.mdev_dir, "the definition of %s: %s",
				    str(def, "uuid"), strerror(-ret))
		   : 0;
}

/* ---- kept ---- */

const json_t *mdevs_definition(struct daemon *d, const char *uuid)
{
	char lower[MDEV_UUID_BYTES];

	return mdev_uuid_valid(uuid, lower) ? json_object_get(d->mdev_defs, lower) : NULL;
}

static int check(const json_t *def, struct vdpa_error *err)
{
	const char *start = str(def, "start"), *uuid = str(def, "uuid");

	if (!mdev_uuid_valid(uuid, NULL))
		return vdpa_error_set(err, EINVAL, uuid, "no UUID: 8-4-4-4-12 hexadecimal digits");
	if (!parent_valid(str(def, "parent")))
		return vdpa_error_set(err, EINVAL, uuid, "\"%.63s\" is no name of a parent",
				      str(def, "parent"));
	if (strcmp(start, "auto") && strcmp(start, "manual"))
		return vdpa_error_set(err, EINVAL, uuid, "start \"%.63s\": auto or manual", start);
	return 0;
}

static int keep(struct daemon *d, const json_t *def, bool file, struct vdpa_error *err)
{
	char uuid[MDEV_UUID_BYTES];
	json_t *copy, *attrs;
	int ret = check(def, err);

	if (ret)
		return ret;
	mdev_uuid_valid(str(def, "uuid"), uuid);
	attrs = json_deep_copy(json_object_get(def, "attrs"));
	copy = json_pack("{s:s, s:s, s:s, s:s, s:o}", "uuid", uuid, "parent", str(def, "parent"),
			 "mdev_type", str(def, "mdev_type"), "start", str(def, "start"), "attrs",
			 attrs ? attrs : json_object());
	if (!copy)
		return vdpa_error_set(err, ENOMEM, uuid, "no memory");
	ret = file && d->opt.mdev_dir ? write_file(d, copy, err) : 0;
	if (!ret && json_object_set(d->mdev_defs, uuid, copy))
		ret = vdpa_error_set(err, ENOMEM, uuid, "no memory");
	json_decref(copy);
	return ret;
}

int mdevs_define(struct daemon *d, const json_t *def, struct vdpa_error *err)
{
	if (mdevs_definition(d, str(def, "uuid")))
		return vdpa_error_set(err, EEXIST, str(def, "uuid"), "it is defined already");
	return keep(d, def, true, err);
}

int mdevs_undefine(struct daemon *d, const char *uuid, struct vdpa_error *err)
{
	const json_t *def = mdevs_definition(d, uuid);
	char path[PATH_MAX];

	if (!def)
		return vdpa_error_set(err, ENOENT, uuid, "it is not defined");
	if (d->opt.mdev_dir && !path_of(d, def, "", path, sizeof(path)) && unlink(path) &&
	    errno != ENOENT)
		return vdpa_error_set(err, errno, path, "%s", strerror(errno));
	json_object_del(d->mdev_defs, str(def, "uuid"));
	return 0;
}

int mdevs_start(struct daemon *d, const char *uuid, struct vdpa_error *err)
{
	const json_t *def = mdevs_definition(d, uuid);
	struct mdev_wish wish;

	if (!def)
		return vdpa_error_set(err, ENOENT, uuid, "it is not defined");
	wish = (struct mdev_wish){
		.uuid = str(def, "uuid"),
		.parent = str(def, "parent"),
		.type = str(def, "mdev_type"),
		.attrs = json_object_get(def, "attrs"),
	};
	return mdevs_create(d, &wish, err);
}

/* ---- the folder ---- */

static void read_one(struct daemon *d, const char *parent, const char *uuid)
{
	struct vdpa_error err = {.msg = ""};
	char path[PATH_MAX], lower[MDEV_UUID_BYTES];
	json_error_t why;
	json_t *file, *def;
	int n = snprintf(path, sizeof(path), "%s/%s/%s", d->opt.mdev_dir, parent, uuid);

	if (n < 0 || (size_t)n >= sizeof(path) || !mdev_uuid_valid(uuid, lower))
		return;
	if (strcmp(uuid, lower)) {
		/* It could stand beside one that is, and it would not be found to be deleted. */
		vdpa_log(&d->log.log, VDPA_LOG_WARN, path,
			 "no definition: the name is to be in lower case, %s", lower);
		return;
	}
	file = json_load_file(path, JSON_REJECT_DUPLICATES, &why);
	def = file ? from_file(file, parent, uuid) : NULL;
	if (!file)
		vdpa_log(&d->log.log, VDPA_LOG_WARN, path, "no definition: %s", why.text);
	else if (!def || keep(d, def, false, &err))
		vdpa_log(&d->log.log, VDPA_LOG_WARN, path, "no definition: %s", err.msg);
	json_decref(def);
	json_decref(file);
}

/* In the order of names, which is that of what is shown. 0 or -errno. */
static int read_names(struct daemon *d, const char *path, const char *parent,
		      void (*fn)(struct daemon *d, const char *parent, const char *name))
{
	struct dirent **names;
	int n = scandir(path, &names, NULL, alphasort);

	if (n < 0)
		return -errno;
	for (int i = 0; i < n; i++) {
		fn(d, parent, names[i]->d_name);
		free(names[i]);
	}
	free(names);
	return 0;
}

static void read_parent(struct daemon *d, const char *none, const char *parent)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%.3800s/%.63s", d->opt.mdev_dir, parent);
	if (parent_valid(parent))
		read_names(d, path, parent, read_one);
}

static int read_dir(struct daemon *d, struct vdpa_error *err)
{
	int r;

	if (mkdir(d->opt.mdev_dir, 0755) && errno != EEXIST)
		return vdpa_error_set(err, errno, d->opt.mdev_dir, "%s", strerror(errno));
	r = read_names(d, d->opt.mdev_dir, NULL, read_parent);
	return r ? vdpa_error_set(err, -r, d->opt.mdev_dir, "%s", strerror(-r)) : 0;
}

void mdevs_reread(struct daemon *d)
{
	json_t *before = d->mdev_defs;
	struct vdpa_error err = {.msg = ""};

	if (!d->opt.mdev_dir)
		return;
	d->mdev_defs = json_object();
	if (d->mdev_defs && !read_dir(d, &err)) {
		json_decref(before);
		return;
	}
	vdpa_log(&d->log.log, VDPA_LOG_WARN, d->opt.mdev_dir, "definitions are not read: %s",
		 err.msg);
	json_decref(d->mdev_defs);
	d->mdev_defs = before;
}

int mdevs_init(struct daemon *d, struct vdpa_error *err)
{
	int ret = mdevs_subscribe(d);
	const char *uuid;
	json_t *def;

	d->mdev_defs = json_object();
#ifdef VDPA_HAVE_VFIO_USER
	if (!ret && d->opt.mdev_socket_dir)
		ret = mdev_vfio_set_folder(d->ctx, d->opt.mdev_socket_dir);
#endif
	if (ret || !d->mdev_defs)
		return vdpa_error_set(err, ENOMEM, NULL, "cannot start: no memory");
	ret = d->opt.mdev_dir ? read_dir(d, err) : 0;
	d->mdev_auto = json_object();
	json_object_foreach(d->mdev_defs, uuid, def)
		json_object_set(d->mdev_auto, uuid, json_object_get(def, "start"));
	return ret;
}

/* What a configuration defines, it also says of whether it is there: only the folder's are made. */
void mdevs_autostart(struct daemon *d)
{
	struct vdpa_error err;
	const char *uuid;
	json_t *start;

	json_object_foreach(d->mdev_auto, uuid, start)
	{
		err.msg[0] = '\0';
		if (strcmp(json_string_value(start), "auto") || mdev_find(d->ctx, uuid))
			continue;
		if (mdevs_start(d, uuid, &err))
			vdpa_log(&d->log.log, VDPA_LOG_WARN, uuid, "is not started: %s", err.msg);
	}
	json_decref(d->mdev_auto);
	d->mdev_auto = NULL;
}
