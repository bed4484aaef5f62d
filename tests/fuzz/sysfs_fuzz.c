// SPDX-License-Identifier: BSD-3-Clause
/*
 * Fuzz target: the tree in the shape of sysfs, by what the kernel's requests become: paths that are
 * looked up, directories, links, files that are read and written, removals that take their time.
 * Asserted besides "does not crash": what a directory lists is there, and what it does not is not;
 * a link leads to something; what is read fits; a write ends once; and nothing is left at the end.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "daemon_harness.h"
#include "fuzz_input.h"
#include "sysfs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define U1 "11111111-2222-3333-4444-555555555555"
#define U2 "11111111-2222-3333-4444-66666666666a"
#define PATH_MAX_ 600
#define STEPS_MAX 400

static struct daemon *d;
static unsigned writes, ended;

/* What people write, and what they should not. */
static const char *const words[] = {
	U1,	"11111111-2222-3333-4444-66666666666A",
	U2,	"1",
	"0",	"-1",
	"9000", "52:54:00:12:34:56",
	"",	"..",
	".",	"/",
	"*",	"create",
	"bus",	"11111111-2222-3333-4444-55555555555",
	"%s%n", NULL,
};

/* ---- directories ---- */

struct listed {
	unsigned n, want;
	char name[256]; /* number @want */
};

static void take_name(void *arg, const char *name)
{
	struct listed *l = arg;

	assert(*name && !strchr(name, '/') && strlen(name) < sizeof(l->name));
	if (l->n++ == l->want)
		snprintf(l->name, sizeof(l->name), "%s", name);
}

/* The name of entry @want of the directory at @path; how many there are. */
static unsigned entry_of(const char *path, unsigned want, char name[256])
{
	struct listed l = {.want = want};
	struct sysfs_path p;
	const struct sysfs_rule *rule = sysfs_find(d, path, &p);

	if (rule && S_ISDIR(rule->mode))
		sysfs_list(rule, &p, take_name, &l);
	snprintf(name, 256, "%s", l.name);
	return l.n;
}

/* Everything in it is there. */
static void check_directory(const char *path)
{
	char name[256], text[PATH_MAX_ + 260];
	unsigned n = entry_of(path, 0, name);
	struct sysfs_path p;

	for (unsigned i = 0; i < n; i++) {
		entry_of(path, i, name);
		snprintf(text, sizeof(text), "%s%s%s", path, *path ? "/" : "", name);
		assert(sysfs_find(d, text, &p));
	}
}

/* ---- paths ---- */

static void append(char *path, const char *name)
{
	size_t len = strlen(path);

	if (len + strlen(name) + 2 < PATH_MAX_)
		snprintf(path + len, PATH_MAX_ - len, "%s%s", len ? "/" : "", name);
}

/* Mostly along what there is. */
static void walk(char *path, struct input *in)
{
	char name[256];
	unsigned n;

	for (unsigned depth = 1 + take(in, 1) % 8; depth; depth--) {
		uint8_t what = (uint8_t)take(in, 1);

		n = entry_of(path, 0, name);
		if (what < 0xf0 && n) {
			entry_of(path, what % n, name);
		} else if (what < 0xf0) {
			return;
		} else if (what < 0xfc) {
			snprintf(name, sizeof(name), "%s",
				 words[take(in, 1) % (sizeof(words) / sizeof(words[0]) - 1)]);
		} else {
			n = take(in, 1) % 200;
			for (unsigned i = 0; i < n; i++)
				name[i] = (char)take(in, 1);
			name[n] = '\0';
		}
		/* The kernel's names are so. */
		if (*name && !strchr(name, '/'))
			append(path, name);
	}
}

/* Where the link at @path leads: "../" takes off a part. */
static void check_link(const char *path, const char *to)
{
	char text[PATH_MAX_];
	struct sysfs_path p;
	char *slash;

	snprintf(text, sizeof(text), "%s", path);
	*strrchr(text, '/') = '\0';
	for (; !strncmp(to, "../", 3); to += 3) {
		slash = strrchr(text, '/');
		assert(slash || *text);
		*(slash ? slash : text) = '\0';
	}
	append(text, to);
	assert(sysfs_find(d, text, &p));
}

/* ---- files ---- */

static void count_end(void *arg, int result)
{
	assert(result <= 0);
	ended++;
}

static void write_file(const struct sysfs_rule *rule, const struct sysfs_path *p, struct input *in)
{
	char text[256];
	unsigned what = (unsigned)take(in, 1), n;
	int r;

	if (what < 0xe0) {
		snprintf(text, sizeof(text), "%s",
			 words[what % (sizeof(words) / sizeof(words[0]) - 1)]);
	} else {
		n = take(in, 1) % sizeof(text);
		for (unsigned i = 0; i < n; i++)
			text[i] = (char)take(in, 1);
		text[n] = '\0';
	}
	writes++;
	r = rule->write(p, text, &(struct vdpa_done){count_end, NULL});
	assert(r <= 0);
	ended += r < 0;
}

static void visit(const char *path, struct input *in)
{
	char buf[SYSFS_BYTES_MAX];
	struct sysfs_path p;
	const struct sysfs_rule *rule = sysfs_find(d, path, &p);
	int n;

	if (!rule)
		return;
	if (S_ISDIR(rule->mode)) {
		check_directory(path);
		return;
	}
	if (rule->read) {
		n = rule->read(&p, buf, sizeof(buf));
		assert(n < (int)sizeof(buf) && (n < 0 || strlen(buf) == (size_t)n));
		if (S_ISLNK(rule->mode) && n >= 0)
			check_link(path, buf);
	}
	if (rule->write && take(in, 1) & 1)
		write_file(rule, &p, in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	char path[PATH_MAX_];

	d = harness_daemon();
	writes = ended = 0;
	for (unsigned i = 0; i < STEPS_MAX && in.left; i++) {
		path[0] = '\0';
		walk(path, &in);
		visit(path, &in);
		if (take(&in, 1) & 1)
			vdpa_loop_run_once(d->loop, 0);
	}
	harness_clean();
	assert(writes == ended);
	return 0;
}
