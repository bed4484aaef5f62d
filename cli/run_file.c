// SPDX-License-Identifier: BSD-3-Clause
/*
 * The file system behind the descriptors: one file per device, each open of which is one connection
 * to the device's socket. A request is answered when the device has carried it out, so the program
 * that waits for it in write(2) or ioctl(2) sees its effect.
 *
 * Who attacks: the program.
 */
#define FUSE_USE_VERSION 312
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/list.h"
#include "run.h"

#define THREADS 4
/* A file system that nothing else changes. */
#define FOREVER 1e9

struct run_files {
	const struct run *run;
	struct fuse_session *session;
	pthread_t thread;
	pthread_mutex_t lock; /* of open */
	struct list open;     /* struct open_file */
};

/* What the kernel does not close before the mount goes away, we close then. */
struct open_file {
	struct list link;
	struct cdev_proxy *proxy;
};

static const struct run *run_of(fuse_req_t req)
{
	return ((const struct run_files *)fuse_req_userdata(req))->run;
}

static struct cdev_proxy *file_of(const struct fuse_file_info *fi)
{
	return ((const struct open_file *)(uintptr_t)fi->fh)->proxy;
}

/* ---- names: the root is 1, device i is i + 2 ---- */

static bool attr_of(const struct run *run, fuse_ino_t ino, struct stat *st)
{
	*st = (struct stat){.st_ino = ino, .st_nlink = 1, .st_uid = geteuid(), .st_gid = getegid()};
	st->st_mode = ino == FUSE_ROOT_ID ? S_IFDIR | 0755 : S_IFREG | 0666;
	return ino == FUSE_ROOT_ID || ino - 2 < run->ndevs;
}

static void on_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e = {.attr_timeout = FOREVER, .entry_timeout = FOREVER};
	const struct run *run = run_of(req);

	for (unsigned i = 0; i < run->ndevs; i++) {
		if (strcmp(run->dev[i].name, name))
			continue;
		e.ino = i + 2;
		attr_of(run, e.ino, &e.attr);
		fuse_reply_entry(req, &e);
		return;
	}
	fuse_reply_err(req, ENOENT);
}

static void on_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;

	if (attr_of(run_of(req), ino, &st))
		fuse_reply_attr(req, &st, FOREVER);
	else
		fuse_reply_err(req, ENOENT);
}

/* ---- open, close ---- */

static void close_file(struct run_files *files, struct open_file *file)
{
	pthread_mutex_lock(&files->lock);
	list_del(&file->link);
	pthread_mutex_unlock(&files->lock);
	cdev_proxy_close(file->proxy);
	free(file);
}

static void on_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct run_files *files = fuse_req_userdata(req);
	struct open_file *file = calloc(1, sizeof(*file));
	int err = file ? -ENXIO : -ENOMEM;

	if (file && ino - 2 < files->run->ndevs)
		err = cdev_proxy_open(files->run->dev[ino - 2].socket, &file->proxy);
	if (err) {
		free(file);
		fuse_reply_err(req, -err);
		return;
	}
	pthread_mutex_lock(&files->lock);
	list_add(&files->open, &file->link);
	pthread_mutex_unlock(&files->lock);
	fi->fh = (uintptr_t)file;
	fi->direct_io = 1;
	fi->nonseekable = 1;
	if (fuse_reply_open(req, fi))
		close_file(files, file);
}

static void on_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	close_file(fuse_req_userdata(req), (struct open_file *)(uintptr_t)fi->fh);
	fuse_reply_err(req, 0);
}

/* ---- write ---- */

static void on_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
		     struct fuse_file_info *fi)
{
	struct vdpa_error err = {0};
	ssize_t n = cdev_proxy_write(file_of(fi), fuse_req_ctx(req)->pid, buf, size, &err);

	if (err.msg[0])
		fprintf(stderr, "uvdpa: run: %s\n", err.msg);
	if (n < 0)
		fuse_reply_err(req, (int)-n);
	else
		fuse_reply_write(req, (size_t)n);
}

/* ---- ioctl ---- */

static void on_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned int cmd, void *arg,
		     struct fuse_file_info *fi, unsigned flags, const void *in_buf, size_t in_size,
		     size_t out_size)
{
	int err;

	if (flags & FUSE_IOCTL_COMPAT) {
		fuse_reply_err(req, ENOTTY);
		return;
	}
	err = cdev_proxy_ioctl(file_of(fi), fuse_req_ctx(req)->pid, cmd, (uintptr_t)arg);
	if (err)
		fuse_reply_err(req, -err);
	else
		fuse_reply_ioctl(req, 0, NULL, 0);
}

/* ---- life ---- */

static const struct fuse_lowlevel_ops ops = {
	.lookup = on_lookup,
	.getattr = on_getattr,
	.open = on_open,
	.release = on_release,
	.write = on_write,
	.ioctl = on_ioctl,
};

static void *serve(void *arg)
{
	struct run_files *files = arg;
	struct fuse_loop_config *config = fuse_loop_cfg_create();

	if (config) {
		fuse_loop_cfg_set_max_threads(config, THREADS);
		fuse_session_loop_mt(files->session, config);
		fuse_loop_cfg_destroy(config);
	}
	return NULL;
}

static int open_fuse(void)
{
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		fprintf(stderr,
			"uvdpa: run: /dev/fuse: %s: load the module (modprobe fuse), or let this "
			"user "
			"open it\n",
			strerror(errno));
	return fd;
}

int run_files_start(struct run *run, struct run_files **out)
{
	char *argv[] = {"uvdpa", NULL};
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	struct run_files *files = calloc(1, sizeof(*files));
	char mounted[32];
	int fd = open_fuse();

	if (!files || fd < 0 || run_ns_mount_fuse(run, fd))
		return -1;
	files->run = run;
	pthread_mutex_init(&files->lock, NULL);
	list_init(&files->open);
	files->session = fuse_session_new(&args, &ops, sizeof(ops), files);
	fuse_opt_free_args(&args);
	snprintf(mounted, sizeof(mounted), "/dev/fd/%d", fd);
	if (!files->session || fuse_session_mount(files->session, mounted) ||
	    run_thread(&files->thread, serve, files)) {
		fprintf(stderr, "uvdpa: run: FUSE cannot be served\n");
		return -1;
	}
	*out = files;
	return 0;
}

void run_files_stop(struct run *run, struct run_files *files)
{
	struct timespec end;
	struct list *node;

	/* Our descriptor was the last that kept the mount, unless one was sent elsewhere. */
	close(run->mount);
	run->mount = -1;
	fuse_session_exit(files->session);
	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += 2;
	if (pthread_timedjoin_np(files->thread, NULL, &end))
		return; /* it goes on with what it holds, until this process ends */
	fuse_session_destroy(files->session);
	while ((node = list_first(&files->open)))
		close_file(files, list_entry(node, struct open_file, link));
	pthread_mutex_destroy(&files->lock);
	free(files);
}
