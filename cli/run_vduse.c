// SPDX-License-Identifier: BSD-3-Clause
/*
 * /dev/vduse for the program: its opens and its ioctls become messages to an endpoint (the daemon's
 * --vduse). What the program has open is the endpoint's own descriptor, so read, write, poll, fork
 * and exec need nothing from us, and memory that it asks for comes as the driver's own files.
 *
 * An ioctl is known by the descriptor it is made on: by the inode of the socket behind it. We keep
 * no copy of that, so that the endpoint sees when the program has closed the last one.
 *
 * Who attacks: the program. It reaches what the endpoint gives to anybody.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "run.h"
#include "vdpa/vduse_rfc3.h"
#include "vdpa/vduse_wire.h"

#define NODES "/dev/vduse"
/* Of the endpoint: the program's end is waited for, and must come. */
#define TIMEOUT_MS 30000u

/* One open file of the program. */
struct vduse_file {
	struct vduse_file *next;
	struct vduse_client client; /* its fd is -1: the program has it */
	dev_t dev;
	ino_t ino;
};

/* ---- nodes ---- */

/*
 * What is there already when the program starts is a device node, as in a kernel; what comes later
 * may be a plain file to it, since a mount does not reach every namespace. Nobody looks: who made
 * the device opens it.
 */
static void node_add(const char *name)
{
	char path[sizeof(NODES) + VDUSE_NAME_BYTES + 1];
	int fd;

	snprintf(path, sizeof(path), NODES "/%.255s", name);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return;
	close(fd);
	mount("/dev/null", path, NULL, MS_BIND, NULL);
}

static void node_remove(const char *name)
{
	char path[sizeof(NODES) + VDUSE_NAME_BYTES + 1];

	snprintf(path, sizeof(path), NODES "/%.255s", name);
	umount2(path, MNT_DETACH);
	unlink(path);
}

bool run_vduse_folder(const struct run *run, const char *path, char name[VDUSE_NAME_BYTES])
{
	size_t n = strlen(path), end = strlen("/vduse");

	if (!*run->vduse || n < end || strcmp(path + n - end, "/vduse"))
		return false;
	strcpy(name, "control");
	return true;
}

bool run_vduse_name(const struct run *run, const char *path, char name[VDUSE_NAME_BYTES])
{
	static const char folder[] = "/vduse/";
	const char *slash = strrchr(path, '/');
	size_t at = slash ? (size_t)(slash - path) : 0;

	if (!*run->vduse || at + 1 < sizeof(folder) - 1 ||
	    strncmp(slash + 1 - (sizeof(folder) - 1), folder, sizeof(folder) - 1) || !slash[1] ||
	    strlen(slash + 1) >= VDUSE_NAME_BYTES)
		return false;
	strcpy(name, slash + 1);
	return true;
}

/* ---- files ---- */

static bool is_closed(const struct vduse_file *file)
{
	struct pollfd pfd = {.fd = file->client.conn};

	return poll(&pfd, 1, 0) > 0;
}

/* Forget what the program has closed. */
static void sweep(struct run *run)
{
	struct vduse_file **at = &run->vduse_files, *file;

	while ((file = *at)) {
		if (is_closed(file)) {
			*at = file->next;
			vduse_client_close(&file->client);
			free(file);
		} else {
			at = &file->next;
		}
	}
}

int run_vduse_open(struct run *run, const char *name, int flags)
{
	struct vduse_file *file = calloc(1, sizeof(*file));
	struct stat st;
	int ret = -ENOMEM, fd;

	if (file) {
		file->client.timeout_ms = TIMEOUT_MS;
		ret = vduse_client_open(run->vduse, name, &file->client);
	}
	sweep(run);
	if (!ret && fstat(file->client.fd, &st))
		ret = -errno;
	if (!ret && (flags & O_NONBLOCK))
		ret = vdpa_fd_set_nonblock(file->client.fd, true);
	if (ret) {
		if (file)
			vduse_client_close(&file->client);
		free(file);
		return ret;
	}
	fd = vdpa_fd_take(&file->client.fd);
	file->dev = st.st_dev;
	file->ino = st.st_ino;
	file->next = run->vduse_files;
	run->vduse_files = file;
	return fd;
}

static struct vduse_file *find(struct run *run, pid_t pid, int number)
{
	int fd = cdev_peer_fd(pid, number);
	struct vduse_file *file = run->vduse_files;
	struct stat st;

	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) || !S_ISSOCK(st.st_mode))
		file = NULL;
	while (file && (file->dev != st.st_dev || file->ino != st.st_ino))
		file = file->next;
	close(fd);
	return file;
}

/* ---- ioctl ---- */

static int read_arg(pid_t pid, const struct vduse_ioctl *ioctl, uint64_t addr, uint8_t *arg)
{
	size_t bytes;
	int ret;

	if (ioctl->by_value) {
		memcpy(arg, &addr, ioctl->in);
		return 0;
	}
	ret = cdev_peer_read(pid, addr, arg, ioctl->in);
	if (ret)
		return ret;
	bytes = vduse_ioctl_bytes(ioctl, arg);
	if (bytes < ioctl->in)
		return -EINVAL;
	return cdev_peer_read(pid, addr + ioctl->in, arg + ioctl->in, bytes - ioctl->in);
}

/* The argument's descriptor, ours from here on; -1 when it has none. -errno < -1. */
static int take_fd(pid_t pid, const struct vduse_ioctl *ioctl, const uint8_t *arg)
{
	int fd = -1;

	if (ioctl->fd_at < 0)
		return -1;
	memcpy(&fd, arg + ioctl->fd_at, sizeof(fd));
	if (fd < 0)
		return -1;
	fd = cdev_peer_fd(pid, fd);
	return fd == -1 ? -EBADF : fd;
}

static void keep_nodes(uint32_t cmd, const uint8_t *arg, int ret)
{
	/* A name of the endpoint's making: what it refuses never comes here. */
	if (cmd == VDUSE_CREATE_DEV && (!ret || ret == -EEXIST) &&
	    !memchr(arg, '/', strlen((const char *)arg)))
		node_add((const char *)arg);
	else if (cmd == VDUSE_DESTROY_DEV && !ret)
		node_remove((const char *)arg);
}

/*
 * The first design's CREATE_DEV returns the device, open: here that is a file of its own. The
 * descriptor or -errno; then there is no device either.
 */
static int open_created(struct run *run, const struct run_ioctl *call, const uint8_t *arg)
{
	const struct vduse_file *control;
	struct vduse_rfc3_dev dev;
	char name[VDUSE_NAME_BYTES];
	int fd;

	memcpy(&dev, arg, sizeof(dev));
	snprintf(name, sizeof(name), VDUSE_RFC3_NAME, dev.id);
	fd = run_vduse_open(run, name, 0);
	/* Opening forgets files that have been closed. */
	control = fd < 0 ? find(run, call->pid, call->fd) : NULL;
	if (control)
		vduse_client_ioctl(&control->client, VDUSE_RFC3_DESTROY_DEV, &dev.id, -1);
	return fd;
}

int run_vduse_ioctl(struct run *run, const struct run_ioctl *call, bool *is_fd)
{
	const struct vduse_ioctl *ioctl = vduse_ioctl_find(call->cmd);
	const struct vduse_file *file = find(run, call->pid, call->fd);
	uint8_t arg[VDUSE_WIRE_ARG_MAX];
	int ret, fd, out;

	*is_fd = false;
	if (!file)
		return RUN_NOT_OURS;
	if (!ioctl)
		return -ENOTTY;
	memset(arg, 0, sizeof(arg));
	ret = read_arg(call->pid, ioctl, call->arg, arg);
	fd = ret ? ret : take_fd(call->pid, ioctl, arg);
	if (fd < -1)
		return fd;
	if (!run_trap_is_waiting(call)) {
		vdpa_fd_close(&fd);
		return -ESRCH;
	}
	ret = vduse_client_ioctl(&file->client, call->cmd, arg, fd);
	vdpa_fd_close(&fd);
	keep_nodes(call->cmd, arg, ret);
	if (ret < 0)
		return ret;
	if (call->cmd == VDUSE_RFC3_CREATE_DEV) {
		ret = open_created(run, call, arg);
		*is_fd = ret >= 0;
		return ret;
	}
	out = run_trap_is_waiting(call) ? cdev_peer_write(call->pid, call->arg, arg, ioctl->out)
					: -ESRCH;
	*is_fd = ioctl->returns_fd;
	if (!out)
		return ret;
	if (*is_fd)
		close(ret);
	return out;
}

void run_vduse_end(struct run *run)
{
	struct vduse_file *file;

	while ((file = run->vduse_files)) {
		run->vduse_files = file->next;
		vduse_client_close(&file->client);
		free(file);
	}
}
