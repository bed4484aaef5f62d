/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A tree of files in the shape of Linux's sysfs (--sysfs DIR), for scripts and programs that make
 * mediated devices by writing to it. What is where is a table of rules; who has objects to show
 * adds a table of its own to sysfs.c.
 */
#ifndef DAEMON_SYSFS_H
#define DAEMON_SYSFS_H

#include <sys/stat.h>
#include "daemon.h"

#define SYSFS_DEPTH_MAX 12
/* As in Linux: what is read or written at once. */
#define SYSFS_BYTES_MAX 4096

/* A path in parts: part[0] to part[n - 1]. */
struct sysfs_path {
	struct daemon *d;
	unsigned n;
	const char *part[SYSFS_DEPTH_MAX];
	char text[512]; /* the parts' */
};

typedef void (*sysfs_emit_fn)(void *arg, const char *name);

struct sysfs_rule {
	/** As "class/mdev_bus/" and "*": a part that is "*" is a name that list() gives. The
	 * directory that it is in has a rule of its own. NULL ends a table. */
	const char *pattern;
	mode_t mode; /* kind and permissions */
	/** O. Is it there, when what is above is? */
	bool (*exists)(const struct sysfs_path *path);
	/** With "*" as the last part: the names in the directory @dir. */
	void (*list)(const struct sysfs_path *dir, sysfs_emit_fn emit, void *arg);
	/** A file's content, or where a link leads: bytes in @buf, or -errno. */
	int (*read)(const struct sysfs_path *path, char *buf, size_t size);
	/** @text: what was written, without the newline at its end. 0, and @done is called once; or
	 * -errno. */
	int (*write)(const struct sysfs_path *path, const char *text, const struct vdpa_done *done);
};

/* One table per file. */
extern const struct sysfs_rule sysfs_mdev_rules[];
extern const struct sysfs_rule sysfs_dsa_rules[];

/* The rule of what is at @text ("", "class/mdev_bus"), with @path filled; NULL: nothing is. */
const struct sysfs_rule *sysfs_find(struct daemon *d, const char *text, struct sysfs_path *path);
/* The names in the directory @dir, which is of @rule. */
void sysfs_list(const struct sysfs_rule *rule, const struct sysfs_path *dir, sysfs_emit_fn emit,
		void *arg);
/* Formatted text for read(): how many bytes. */
int sysfs_print(char *buf, size_t size, const char *fmt, ...) VDPA_PRINTF(3, 4);

/* sysfs_fuse.c: mount it at d->opt.sysfs. 0 or -errno with @err. */
int sysfs_start(struct daemon *d, struct vdpa_error *err);
void sysfs_stop(struct daemon *d);

#endif
