// SPDX-License-Identifier: BSD-3-Clause
/*
 * The tree as a file system, by FUSE. Requests are served on the control loop, one after the other,
 * which owns everything that is shown; a write whose operation has to wait (a removal) is answered
 * when that is over, and others go on meanwhile. The kernel keeps nothing: objects come and go.
 *
 * Who attacks: whoever may open the files, which is the daemon's user for those that change
 * something; names and numbers from the kernel are checked like anybody's.
 */
#define FUSE_USE_VERSION 312
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <unistd.h>
#include "base/list.h"
#include "sysfs.h"

/* What the kernel has looked up, and the number that it knows it by. */
struct node {
	struct list link;
	fuse_ino_t ino;
	uint64_t lookups;
	char path[]; /* "" for the root */
};

struct sysfs {
	struct daemon *d;
	struct fuse_session *session;
	struct vdpa_loop_fd lfd;
	struct fuse_buf buf;
	struct list nodes;
	fuse_ino_t last_ino;
	struct list writes; /* that are not answered yet */
};

static struct sysfs *sysfs_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* ---- numbers ---- */

/* Only what the kernel was given, and has not forgotten. */
static const char *path_of(fuse_req_t req, fuse_ino_t ino)
{
	struct node *node;

	if (ino == FUSE_ROOT_ID)
		return "";
	list_for_each_entry (node, &sysfs_of(req)->nodes, link) {
		if (node->ino == ino)
			return node->path;
	}
	return NULL;
}

static struct node *node_get(struct sysfs *fs, const char *path)
{
	size_t len = strlen(path) + 1;
	struct node *node;

	list_for_each_entry (node, &fs->nodes, link) {
		if (!strcmp(node->path, path)) {
			node->lookups++;
			return node;
		}
	}
	node = malloc(sizeof(*node) + len);
	if (!node)
		return NULL;
	node->lookups = 1;
	node->ino = ++fs->last_ino;
	memcpy(node->path, path, len);
	list_add(&fs->nodes, &node->link);
	return node;
}

static void on_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
	struct node *node;

	list_for_each_entry (node, &sysfs_of(req)->nodes, link) {
		if (node->ino != ino)
			continue;
		node->lookups = node->lookups > n ? node->lookups - n : 0;
		if (!node->lookups) {
			list_del(&node->link);
			free(node);
		}
		break;
	}
	fuse_reply_none(req);
}

/* What is at @ino now; NULL: the request has been answered. */
static const struct sysfs_rule *rule_of(fuse_req_t req, fuse_ino_t ino, struct sysfs_path *path)
{
	const char *text = path_of(req, ino);
	const struct sysfs_rule *rule = text ? sysfs_find(sysfs_of(req)->d, text, path) : NULL;

	if (!rule)
		fuse_reply_err(req, ENOENT);
	return rule;
}

static void stat_of(const struct sysfs_rule *rule, fuse_ino_t ino, struct stat *st)
{
	*st = (struct stat){
		.st_ino = ino,
		.st_mode = rule->mode,
		.st_nlink = 1,
		.st_uid = geteuid(),
		.st_gid = getegid(),
		.st_size = S_ISREG(rule->mode) ? SYSFS_BYTES_MAX : 0,
	};
}

/* ---- names ---- */

static void on_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e = {.ino = 0};
	const char *dir = path_of(req, parent);
	const struct sysfs_rule *rule = NULL;
	struct sysfs_path path;
	char text[512];
	struct node *node;
	int n = dir ? snprintf(text, sizeof(text), "%s%s%s", dir, *dir ? "/" : "", name) : -1;

	if (n > 0 && (size_t)n < sizeof(text))
		rule = sysfs_find(sysfs_of(req)->d, text, &path);
	if (!rule) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	node = node_get(sysfs_of(req), text);
	if (!node) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	e.ino = node->ino;
	stat_of(rule, e.ino, &e.attr);
	fuse_reply_entry(req, &e);
}

static void on_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct sysfs_path path;
	const struct sysfs_rule *rule = rule_of(req, ino, &path);
	struct stat st;

	if (!rule)
		return;
	stat_of(rule, ino, &st);
	fuse_reply_attr(req, &st, 0);
}

/* A shell cuts the file that it writes to: there is nothing to cut. */
static void on_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
		       struct fuse_file_info *fi)
{
	if (to_set & (FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID))
		fuse_reply_err(req, EPERM);
	else
		on_getattr(req, ino, fi);
}

static void on_readlink(fuse_req_t req, fuse_ino_t ino)
{
	char text[SYSFS_BYTES_MAX] = "";
	struct sysfs_path path;
	const struct sysfs_rule *rule = rule_of(req, ino, &path);

	if (!rule)
		return;
	if (S_ISLNK(rule->mode) && rule->read(&path, text, sizeof(text)) >= 0)
		fuse_reply_readlink(req, text);
	else
		fuse_reply_err(req, EINVAL);
}

struct listing {
	fuse_req_t req;
	char *buf;
	size_t size, used;
	off_t at, from; /* entries that the kernel has already are left out */
	bool full;
};

static void add_name(void *arg, const char *name)
{
	struct listing *l = arg;
	/* Numbers mean nothing here: the kernel looks the names up. */
	const struct stat st = {.st_ino = UINT32_MAX};
	size_t n;

	if (l->at++ < l->from || l->full)
		return;
	n = fuse_add_direntry(l->req, l->buf + l->used, l->size - l->used, name, &st, l->at);
	if (n > l->size - l->used)
		l->full = true;
	else
		l->used += n;
}

static void on_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		       struct fuse_file_info *fi)
{
	struct listing l = {.req = req, .size = size, .from = off};
	struct sysfs_path path;
	const struct sysfs_rule *rule = rule_of(req, ino, &path);

	if (!rule)
		return;
	l.buf = malloc(size);
	if (!l.buf) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	add_name(&l, ".");
	add_name(&l, "..");
	sysfs_list(rule, &path, add_name, &l);
	fuse_reply_buf(req, l.buf, l.used);
	free(l.buf);
}

/* ---- contents ---- */

static void on_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	fi->direct_io = 1;
	fuse_reply_open(req, fi);
}

static void on_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	char text[SYSFS_BYTES_MAX];
	struct sysfs_path path;
	const struct sysfs_rule *rule = rule_of(req, ino, &path);
	int n;

	if (!rule)
		return;
	n = rule->read && S_ISREG(rule->mode) ? rule->read(&path, text, sizeof(text)) : -EIO;
	if (n < 0) {
		fuse_reply_err(req, -n);
		return;
	}
	if (off >= n)
		off = n;
	if (size > (size_t)(n - off))
		size = (size_t)(n - off);
	fuse_reply_buf(req, text + off, size);
}

/* A write whose operation is under way. */
struct writing {
	struct list link;
	fuse_req_t req; /* NULL: answered, when the tree ended */
	size_t size;
};

static void written(void *arg, int result)
{
	struct writing *w = arg;

	if (w->req)
		list_del(&w->link);
	if (w->req && result)
		fuse_reply_err(w->req, -result);
	else if (w->req)
		fuse_reply_write(w->req, w->size);
	free(w);
}

/* The daemon ends without what they wait for, which may end yet, or never. */
static void end_writes(struct sysfs *fs)
{
	struct list *node;

	while ((node = list_pop(&fs->writes))) {
		struct writing *w = list_entry(node, struct writing, link);

		fuse_reply_err(w->req, ESHUTDOWN);
		w->req = NULL;
	}
}

/* One line, without what ends it. */
static int take_text(const char *buf, size_t size, char *text)
{
	if (size && buf[size - 1] == '\n')
		size--;
	if (size >= SYSFS_BYTES_MAX || memchr(buf, '\0', size))
		return -EINVAL;
	memcpy(text, buf, size);
	text[size] = '\0';
	return 0;
}

static void on_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
		     struct fuse_file_info *fi)
{
	char text[SYSFS_BYTES_MAX];
	struct sysfs_path path;
	const struct sysfs_rule *rule = rule_of(req, ino, &path);
	struct writing *w;
	int r;

	if (!rule)
		return;
	r = rule->write ? take_text(buf, size, text) : -EIO;
	w = r ? NULL : malloc(sizeof(*w));
	if (!w) {
		fuse_reply_err(req, r ? -r : ENOMEM);
		return;
	}
	*w = (struct writing){.req = req, .size = size};
	list_add_tail(&sysfs_of(req)->writes, &w->link);
	r = rule->write(&path, text, &(struct vdpa_done){written, w});
	if (r)
		written(w, r);
}

/* ---- life ---- */

static const struct fuse_lowlevel_ops ops = {
	.lookup = on_lookup,
	.forget = on_forget,
	.getattr = on_getattr,
	.setattr = on_setattr,
	.readlink = on_readlink,
	.readdir = on_readdir,
	.open = on_open,
	.read = on_read,
	.write = on_write,
};

static void ready(struct vdpa_loop_fd *lfd, uint32_t revents)
{
	struct sysfs *fs = vdpa_container_of(lfd, struct sysfs, lfd);
	int n = fuse_session_receive_buf(fs->session, &fs->buf);

	if (n > 0)
		fuse_session_process_buf(fs->session, &fs->buf);
	if (n == -EINTR || n == -EAGAIN || (n > 0 && !fuse_session_exited(fs->session)))
		return;
	vdpa_log(&fs->d->log.log, VDPA_LOG_WARN, fs->d->opt.sysfs, "was unmounted");
	vdpa_loop_fd_del(lfd);
}

/* A daemon that was killed leaves its mount behind. */
static int prepare(const char *dir, struct vdpa_error *err)
{
	struct stat st;

	if (stat(dir, &st) && errno == ENOTCONN)
		umount2(dir, MNT_DETACH);
	if (mkdir(dir, 0755) && errno != EEXIST)
		return vdpa_error_set(err, errno, dir, "%s", strerror(errno));
	return 0;
}

static int mount_it(struct sysfs *fs, struct vdpa_error *err)
{
	char options[] = "default_permissions,fsname=uvdpa,subtype=uvdpa,allow_other";
	char *argv[] = {"uvdpad", "-o", options, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(3, argv);
	const char *dir = fs->d->opt.sysfs;
	int fd;

	/* Only root may let others in, unless the system's configuration says so. */
	if (geteuid())
		*strstr(options, ",allow_other") = '\0';
	fs->session = fuse_session_new(&args, &ops, sizeof(ops), fs);
	fuse_opt_free_args(&args);
	if (!fs->session || fuse_session_mount(fs->session, dir))
		return vdpa_error_set(err, EIO, dir,
				      "cannot be mounted: /dev/fuse, and root or fusermount3, are "
				      "needed");
	fd = fuse_session_fd(fs->session);
	if (fcntl(fd, F_SETFL, O_NONBLOCK) ||
	    vdpa_loop_fd_add(fs->d->loop, &fs->lfd, fd, EPOLLIN, ready))
		return vdpa_error_set(err, ENOMEM, dir, "cannot be served");
	return 0;
}

int sysfs_start(struct daemon *d, struct vdpa_error *err)
{
	struct sysfs *fs;
	int r = prepare(d->opt.sysfs, err);

	if (r)
		return r;
	fs = calloc(1, sizeof(*fs));
	if (!fs)
		return vdpa_error_set(err, ENOMEM, d->opt.sysfs, "no memory");
	fs->d = d;
	list_init(&fs->nodes);
	list_init(&fs->writes);
	fs->last_ino = FUSE_ROOT_ID;
	d->sysfs = fs;
	return mount_it(fs, err);
}

void sysfs_stop(struct daemon *d)
{
	struct sysfs *fs = d->sysfs;
	struct list *node;

	if (!fs)
		return;
	vdpa_loop_fd_del(&fs->lfd);
	end_writes(fs);
	if (fs->session) {
		fuse_session_unmount(fs->session);
		fuse_session_destroy(fs->session);
	}
	free(fs->buf.mem);
	while ((node = list_pop(&fs->nodes)))
		free(list_entry(node, struct node, link));
	free(fs);
	d->sysfs = NULL;
}
