// SPDX-License-Identifier: BSD-3-Clause
/*
 * Plugins: shared objects whose code becomes ours, so that folder and file must be of root or of
 * the daemon's user, and nobody else may write to them. They are opened when the daemon starts, to
 * see what they are for, and started when a MODALIAS asks for that.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uvdpa/plugin.h>
#include "base/list.h"
#include "plugins.h"

struct plugin {
	struct list node;
	void *handle;
	const struct uvdpa_plugin *is;
	bool started; /* or tried to */
	char path[];
};

struct plugins {
	struct list all;
};

static const char *not_trusted(const char *path)
{
	struct stat st;

	if (stat(path, &st))
		return strerror(errno);
	if (st.st_uid && st.st_uid != geteuid())
		return "is neither root's nor ours";
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		return "others may write to it";
	return NULL;
}

static const char *not_usable(const struct uvdpa_plugin *is)
{
	if (!is)
		return "it exports no uvdpa_plugin";
	if (is->version != UVDPA_PLUGIN_VERSION)
		return "it is for another version";
	if (is->size < sizeof(*is) || !is->name || !is->aliases || !is->init)
		return "its description is not complete";
	return NULL;
}

/* What is wrong with the object at @path; NULL: it is one of ours now. */
static const char *add(struct daemon *d, const char *path)
{
	const char *why = not_trusted(path);
	struct plugin *p;

	if (why)
		return why;
	p = calloc(1, sizeof(*p) + strlen(path) + 1);
	if (!p)
		return "no memory";
	strcpy(p->path, path);
	p->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!p->handle) {
		free(p);
		return dlerror();
	}
	p->is = dlsym(p->handle, "uvdpa_plugin");
	why = not_usable(p->is);
	if (why) {
		dlclose(p->handle);
		free(p);
		return why;
	}
	list_add_tail(&d->plugins->all, &p->node);
	return NULL;
}

static int is_object(const struct dirent *e)
{
	const size_t len = strlen(e->d_name);

	return len > 3 && !strcmp(e->d_name + len - 3, ".so");
}

static void add_named(struct daemon *d, const char *name)
{
	const char *why = "its path is too long";
	char path[PATH_MAX];
	int n = snprintf(path, sizeof(path), "%s/%s", d->opt.plugin_dir, name);

	if (n > 0 && (size_t)n < sizeof(path))
		why = add(d, path);
	if (why)
		vdpa_log(&d->log.log, VDPA_LOG_WARN, name, "no plugin: %s", why);
}

int plugins_init(struct daemon *d, struct vdpa_error *err)
{
	const char *dir = d->opt.plugin_dir, *why = not_trusted(dir);
	struct dirent **names;
	int n;

	if (why)
		return vdpa_error_set(err, EPERM, dir, "plugins: %s", why);
	d->plugins = calloc(1, sizeof(*d->plugins));
	if (!d->plugins)
		return vdpa_error_set(err, ENOMEM, dir, "no memory");
	list_init(&d->plugins->all);
	n = scandir(dir, &names, is_object, alphasort);
	if (n < 0)
		return vdpa_error_set(err, errno, dir, "plugins: %s", strerror(errno));
	for (int i = 0; i < n; i++) {
		add_named(d, names[i]->d_name);
		free(names[i]);
	}
	free(names);
	plugins_request(d, "uvdpad:start");
	return 0;
}

static bool is_for(const struct plugin *p, const char *modalias)
{
	const char *const *alias;

	for (alias = p->is->aliases; *alias; alias++) {
		if (!fnmatch(*alias, modalias, 0))
			return true;
	}
	return false;
}

static bool start(struct daemon *d, struct plugin *p, const char *modalias)
{
	struct vdpa_error err = {.msg = ""};
	int r;

	p->started = true;
	r = p->is->init(d->ctx, &err);
	if (r)
		vdpa_log(&d->log.log, VDPA_LOG_WARN, p->is->name, "plugin does not start: %s",
			 err.msg[0] ? err.msg : strerror(-r));
	else
		vdpa_log(&d->log.log, VDPA_LOG_INFO, p->is->name, "plugin started for %s",
			 modalias);
	return !r;
}

unsigned plugins_request(struct daemon *d, const char *modalias)
{
	struct plugin *p;
	unsigned n = 0;

	if (!d->plugins)
		return 0;
	/* None goes before the daemon does. */
	list_for_each_entry (p, &d->plugins->all, node) {
		if (!p->started && is_for(p, modalias))
			n += start(d, p, modalias);
	}
	return n;
}

void plugins_fini(struct daemon *d)
{
	struct list *node;

	while (d->plugins && (node = list_pop(&d->plugins->all))) {
		struct plugin *p = list_entry(node, struct plugin, node);

		dlclose(p->handle);
		free(p);
	}
	free(d->plugins);
	d->plugins = NULL;
}

json_t *plugins_describe(struct daemon *d)
{
	json_t *list = json_array();
	struct plugin *p;

	if (!d->plugins)
		return list;
	list_for_each_entry (p, &d->plugins->all, node) {
		json_t *aliases = json_array();

		for (const char *const *a = p->is->aliases; *a; a++)
			json_array_append_new(aliases, json_string(*a));
		json_array_append_new(list, json_pack("{s:s, s:s, s:o, s:b}", "name", p->is->name,
						      "path", p->path, "aliases", aliases,
						      "started", p->started));
	}
	return list;
}
