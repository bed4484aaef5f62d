// SPDX-License-Identifier: BSD-3-Clause
/*
 * The file system behind the descriptors: one file per device, each open of which is one connection
 * to the device's socket. A request is answered when the device has carried it out, so the program
 * that waits for it in write(2) or ioctl(2) sees its effect.
 *
 * FUSE copies only the bytes that an ioctl's number speaks of, in the direction it speaks of. The
 * numbers of vhost do not always say the truth (GET_CONFIG reads a length first, and more than it
 * says), so arguments are read from, and written to, the program's memory here; the caller waits
 * meanwhile, and its other threads can harm nobody but it.
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
#include <sys/uio.h>
#include <unistd.h>

#include "run.h"

#define THREADS 4
/* A file system that nothing else changes. */
#define FOREVER 1e9

struct run_files {
	const struct run *run;
	struct fuse_session *session;
	pthread_t thread;
};

/* An open file; the lock, since threads of the program may use it at once. */
struct file {
	struct cdev_client client;
	pthread_mutex_t lock;
};

static const struct run *run_of(fuse_req_t req)
{
	return ((const struct run_files *)fuse_req_userdata(req))->run;
}

static struct file *file_of(const struct fuse_file_info *fi)
{
	return (struct file *)(uintptr_t)fi->fh;
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

static void on_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	const struct run *run = run_of(req);
	struct file *file = calloc(1, sizeof(*file));
	int err = file ? 0 : -ENOMEM;

	if (!err && ino - 2 >= run->ndevs)
		err = -ENXIO;
	if (!err)
		err = cdev_client_open(&file->client, run->dev[ino - 2].socket);
	if (err) {
		free(file);
		/* As of a device whose parent is gone. */
		fuse_reply_err(req, err == -ENOENT || err == -ECONNREFUSED ? ENXIO : -err);
		return;
	}
	pthread_mutex_init(&file->lock, NULL);
	fi->fh = (uintptr_t)file;
	fi->direct_io = 1;
	fi->nonseekable = 1;
	if (fuse_reply_open(req, fi)) {
		cdev_client_close(&file->client);
		free(file);
	}
}

static void on_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct file *file = file_of(fi);

	cdev_client_close(&file->client);
	pthread_mutex_destroy(&file->lock);
	free(file);
	fuse_reply_err(req, 0);
}

/* ---- write ---- */

static void on_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
		     struct fuse_file_info *fi)
{
	struct cdev_client_mem mem[CDEV_MEM_MAX];
	struct file *file = file_of(fi);
	struct vhost_vdpa_update update;
	ssize_t n = 0;
	int nmem = 0;

	if (size > VHOST_UAPI_ARG_MAX)
		n = -EINVAL;
	else if (vhost_uapi_msg_update(buf, size, &update))
		nmem = run_memory(fuse_req_ctx(req)->pid, &update, mem, CDEV_MEM_MAX);
	if (nmem == -EROFS)
		n = (ssize_t)size;
	else if (nmem < 0)
		n = nmem;
	if (!n) {
		pthread_mutex_lock(&file->lock);
		n = cdev_client_write(&file->client, buf, size, mem, (unsigned)nmem);
		pthread_mutex_unlock(&file->lock);
	}
	for (int i = 0; i < nmem; i++)
		close(mem[i].fd);
	if (n < 0)
		fuse_reply_err(req, (int)-n);
	else
		fuse_reply_write(req, (size_t)n);
}

/* ---- ioctl ---- */

static int copy_in(pid_t pid, uint64_t addr, void *buf, size_t len)
{
	struct iovec local = {buf, len}, remote = {(void *)(uintptr_t)addr, len};

	return !len || process_vm_readv(pid, &local, 1, &remote, 1, 0) == (ssize_t)len ? 0
										       : -EFAULT;
}

static int copy_out(pid_t pid, uint64_t addr, void *buf, size_t len)
{
	struct iovec local = {buf, len}, remote = {(void *)(uintptr_t)addr, len};

	return !len || process_vm_writev(pid, &local, 1, &remote, 1, 0) == (ssize_t)len ? 0
											: -EFAULT;
}

/* The whole argument; its size is known from its head where it varies. */
static int read_arg(pid_t pid, uint32_t cmd, uint64_t addr, uint8_t *arg,
		    struct vhost_uapi_size *size)
{
	int err = vhost_uapi_size(cmd, NULL, 0, size);
	uint32_t head;

	if (!err)
		err = copy_in(pid, addr, arg, size->in);
	if (err || !size->more)
		return err;
	head = size->in;
	err = vhost_uapi_size(cmd, arg, head, size);
	if (!err && size->in > head)
		err = copy_in(pid, addr + head, arg + head, size->in - head);
	return err;
}

/* The argument's descriptor, ours from here on; -1 when it has none. -errno < -1. */
static int take_fd(pid_t pid, const uint8_t *arg, const struct vhost_uapi_size *size)
{
	int fd = -1;

	if (size->fd_at < 0)
		return -1;
	memcpy(&fd, arg + size->fd_at, sizeof(fd));
	if (fd < 0)
		return -1;
	fd = run_take_fd(pid, fd);
	return fd == -1 ? -EBADF : fd;
}

static int carry_out(struct file *file, pid_t pid, uint32_t cmd, uint64_t addr)
{
	uint8_t arg[VHOST_UAPI_ARG_MAX];
	struct vhost_uapi_size size;
	int err, fd;

	memset(arg, 0, sizeof(arg));
	err = read_arg(pid, cmd, addr, arg, &size);
	if (err)
		return err;
	fd = take_fd(pid, arg, &size);
	if (fd < -1)
		return fd;
	pthread_mutex_lock(&file->lock);
	err = cdev_client_ioctl(&file->client, cmd, arg, sizeof(arg), fd);
	pthread_mutex_unlock(&file->lock);
	if (fd >= 0)
		close(fd);
	return err < 0 ? err : copy_out(pid, addr, arg, size.out);
}

static void on_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned int cmd, void *arg,
		     struct fuse_file_info *fi, unsigned flags, const void *in_buf, size_t in_size,
		     size_t out_size)
{
	int err;

	if (flags & FUSE_IOCTL_COMPAT) {
		fuse_reply_err(req, ENOTTY);
		return;
	}
	err = carry_out(file_of(fi), fuse_req_ctx(req)->pid, cmd, (uintptr_t)arg);
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
	files->session = fuse_session_new(&args, &ops, sizeof(ops), files);
	snprintf(mounted, sizeof(mounted), "/dev/fd/%d", fd);
	if (!files->session || fuse_session_mount(files->session, mounted) ||
	    pthread_create(&files->thread, NULL, serve, files)) {
		fprintf(stderr, "uvdpa: run: FUSE cannot be served\n");
		return -1;
	}
	*out = files;
	return 0;
}

void run_files_stop(struct run_files *files)
{
	fuse_session_exit(files->session);
}
