// SPDX-License-Identifier: BSD-3-Clause
/* What is at a path: from the root on, the rule of each part is one of those beneath the last. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "sysfs.h"
#include "uvdpa-config.h"

static const struct sysfs_rule root_rule = {.pattern = "", .mode = S_IFDIR | 0755};

static const struct sysfs_rule *const tables[] = {
	sysfs_mdev_rules,
#ifdef VDPA_HAVE_DSA_DEV
	sysfs_dsa_rules,
#endif
};

#define NTABLES (sizeof(tables) / sizeof(tables[0]))

int sysfs_print(char *buf, size_t size, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(buf, size, fmt, ap);
	va_end(ap);
	if (n < 0)
		return -EIO;
	return (size_t)n < size ? n : (int)size - 1;
}

/* The last part of @rule's pattern, when it is of something in the directory of rule @dir. */
static const char *child_of(const struct sysfs_rule *rule, const struct sysfs_rule *dir)
{
	size_t len = strlen(dir->pattern);
	const char *last = rule->pattern;

	if (len) {
		if (strncmp(last, dir->pattern, len) || last[len] != '/')
			return NULL;
		last += len + 1;
	}
	return strchr(last, '/') ? NULL : last;
}

struct look {
	const char *name;
	bool found;
};

static void look_for(void *arg, const char *name)
{
	struct look *look = arg;

	look->found |= !strcmp(look->name, name);
}

/* @path: with the part that is looked for. */
static bool is_there(const struct sysfs_rule *rule, const char *last, const struct sysfs_path *path)
{
	struct look look = {.name = path->part[path->n - 1]};
	struct sysfs_path dir;

	if (strcmp(last, "*"))
		return !strcmp(last, look.name) && (!rule->exists || rule->exists(path));
	dir = *path;
	dir.n--;
	rule->list(&dir, look_for, &look);
	return look.found;
}

/* Names of rules win over names that are listed. */
static const struct sysfs_rule *rule_in(const struct sysfs_rule *dir, const struct sysfs_path *path)
{
	const struct sysfs_rule *any = NULL;

	for (size_t i = 0; i < NTABLES; i++) {
		for (const struct sysfs_rule *r = tables[i]; r->pattern; r++) {
			const char *last = child_of(r, dir);

			if (!last || !is_there(r, last, path))
				continue;
			if (strcmp(last, "*"))
				return r;
			any = r;
		}
	}
	return any;
}

static int split(struct daemon *d, const char *text, struct sysfs_path *path)
{
	size_t len = strlen(text);
	char *at = path->text;

	path->d = d;
	path->n = 0;
	if (len >= sizeof(path->text))
		return -ENAMETOOLONG;
	memcpy(path->text, text, len + 1);
	while (*at) {
		size_t n = strcspn(at, "/");

		if (path->n == SYSFS_DEPTH_MAX)
			return -ENAMETOOLONG;
		path->part[path->n++] = at;
		if (!at[n])
			break;
		at[n] = '\0';
		at += n + 1;
	}
	return 0;
}

const struct sysfs_rule *sysfs_find(struct daemon *d, const char *text, struct sysfs_path *path)
{
	const struct sysfs_rule *rule = &root_rule;
	unsigned n;

	if (split(d, text, path))
		return NULL;
	n = path->n;
	for (path->n = 1; rule && path->n <= n; path->n++)
		rule = rule_in(rule, path);
	path->n = n;
	return rule;
}

static void list_rule(const struct sysfs_rule *rule, const char *last, const struct sysfs_path *dir,
		      sysfs_emit_fn emit, void *arg)
{
	struct sysfs_path child = *dir;

	if (!strcmp(last, "*")) {
		rule->list(dir, emit, arg);
		return;
	}
	child.part[child.n++] = last;
	if (!rule->exists || rule->exists(&child))
		emit(arg, last);
}

void sysfs_list(const struct sysfs_rule *rule, const struct sysfs_path *dir, sysfs_emit_fn emit,
		void *arg)
{
	for (size_t i = 0; dir->n < SYSFS_DEPTH_MAX && i < NTABLES; i++) {
		for (const struct sysfs_rule *r = tables[i]; r->pattern; r++) {
			const char *last = child_of(r, rule);

			if (last)
				list_rule(r, last, dir, emit, arg);
		}
	}
}
