// SPDX-License-Identifier: BSD-3-Clause
/*
 * FUSE and CUSE copy only the bytes that an ioctl's number speaks of, in the direction it speaks
 * of. The numbers of vhost do not always say the truth (GET_CONFIG reads a length first, and more
 * than it says), so arguments are read from, and written to, the process's memory here; the caller
 * waits meanwhile, and its other threads can harm nobody but it.
 *
 * Who attacks: the process, by every byte and every moment at which it changes.
 */
#include "driver/vhost_cdev/proxy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The lock, since threads of the process may use the file at once. */
struct cdev_proxy {
	struct cdev_client client;
	pthread_mutex_t lock;
};

int cdev_proxy_open(const char *socket, struct cdev_proxy **out)
{
	struct cdev_proxy *p = calloc(1, sizeof(*p));
	int err = p ? cdev_client_open(&p->client, socket) : -ENOMEM;

	if (err) {
		free(p);
		/* As of a device whose parent is gone. */
		return err == -ENOENT || err == -ECONNREFUSED ? -ENXIO : err;
	}
	pthread_mutex_init(&p->lock, NULL);
	*out = p;
	return 0;
}

void cdev_proxy_close(struct cdev_proxy *p)
{
	cdev_client_close(&p->client);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

ssize_t cdev_proxy_write(struct cdev_proxy *p, pid_t pid, const void *msg, size_t bytes,
			 struct vdpa_error *err)
{
	struct cdev_client_mem mem[CDEV_MEM_MAX];
	struct vhost_vdpa_update update;
	ssize_t n = 0;
	int nmem = 0;

	if (bytes > VHOST_UAPI_ARG_MAX)
		return -EINVAL;
	if (vhost_uapi_msg_update(msg, bytes, &update))
		nmem = cdev_peer_memory(pid, &update, mem, CDEV_MEM_MAX, err);
	if (nmem == -EROFS)
		return (ssize_t)bytes;
	if (nmem < 0)
		return nmem;
	pthread_mutex_lock(&p->lock);
	n = cdev_client_write(&p->client, msg, bytes, mem, (unsigned)nmem);
	pthread_mutex_unlock(&p->lock);
	for (int i = 0; i < nmem; i++)
		close(mem[i].fd);
	return n;
}

/* The whole argument; its size is known from its head where it varies. */
static int read_arg(pid_t pid, uint32_t cmd, uint64_t addr, uint8_t *arg,
		    struct vhost_uapi_size *size)
{
	int err = vhost_uapi_size(cmd, NULL, 0, size);
	uint32_t head;

	if (!err)
		err = cdev_peer_read(pid, addr, arg, size->in);
	if (err || !size->more)
		return err;
	head = size->in;
	err = vhost_uapi_size(cmd, arg, head, size);
	if (!err && size->in > head)
		err = cdev_peer_read(pid, addr + head, arg + head, size->in - head);
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
	fd = cdev_peer_fd(pid, fd);
	return fd == -1 ? -EBADF : fd;
}

int cdev_proxy_ioctl(struct cdev_proxy *p, pid_t pid, uint32_t cmd, uint64_t addr)
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
	pthread_mutex_lock(&p->lock);
	err = cdev_client_ioctl(&p->client, cmd, arg, sizeof(arg), fd);
	pthread_mutex_unlock(&p->lock);
	if (fd >= 0)
		close(fd);
	return err < 0 ? err : cdev_peer_write(pid, addr, arg, size.out);
}
