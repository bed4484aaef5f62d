// SPDX-License-Identifier: BSD-3-Clause
/* Who attacks: nobody; the server is trusted, but a reply that is none is -EPROTO. */
#include "driver/vhost_cdev/client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/unix.h"

/* A reply of @type: its result; at most @bytes of what follows go to @data. */
static int receive(struct cdev_client *c, uint32_t type, void *data, size_t bytes)
{
	uint8_t buf[CDEV_REPLY_MAX];
	struct cdev_reply head;
	ssize_t n;

	do {
		n = recv(c->fd, buf, sizeof(buf), 0);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (n == 0)
		return -ENODEV;
	if ((size_t)n < sizeof(head))
		return -EPROTO;
	memcpy(&head, buf, sizeof(head));
	if (head.type != type || head.bytes != (size_t)n - sizeof(head))
		return -EPROTO;
	if (head.result >= 0 && data)
		memcpy(data, buf + sizeof(head), head.bytes < bytes ? head.bytes : bytes);
	return head.result;
}

static int open_socket(struct cdev_client *c, const char *path)
{
	struct sockaddr_un addr;
	int err = vdpa_unix_address(path, &addr, NULL);

	if (err)
		return err;
	c->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return -errno;
	c->socket = true;
	if (connect(c->fd, (struct sockaddr *)&addr, sizeof(addr)))
		err = -errno;
	else
		err = receive(c, CDEV_OPEN, &c->hello, sizeof(c->hello));
	if (!err && c->hello.version != CDEV_VERSION)
		err = -EPROTO;
	c->hello.name[CDEV_NAME_BYTES - 1] = '\0';
	return err;
}

int cdev_client_open(struct cdev_client *c, const char *path)
{
	struct stat st;
	int err = 0;

	*c = (struct cdev_client){.fd = -1};
	if (stat(path, &st))
		return -errno;
	if (S_ISSOCK(st.st_mode)) {
		err = open_socket(c, path);
	} else {
		c->fd = open(path, O_RDWR | O_CLOEXEC);
		err = c->fd < 0 ? -errno : 0;
	}
	if (err)
		cdev_client_close(c);
	return err;
}

void cdev_client_close(struct cdev_client *c)
{
	vdpa_fd_close(&c->fd);
}

/* All of it in one message, waiting for room. */
static int send_request(struct cdev_client *c, const struct iovec *iov, unsigned niov,
			const int *fds, unsigned nfds)
{
	for (;;) {
		struct pollfd pfd = {.fd = c->fd, .events = POLLOUT};
		ssize_t n = vdpa_sock_send(c->fd, iov, niov, fds, nfds);

		if (n >= 0)
			return 0;
		if (n != -EAGAIN && n != -EINTR)
			return n == -EPIPE ? -ENODEV : (int)n;
		poll(&pfd, 1, -1);
	}
}

int cdev_client_ioctl(struct cdev_client *c, uint32_t cmd, void *arg, size_t bytes, int fd)
{
	struct cdev_request req = {.type = CDEV_IOCTL, .cmd = cmd};
	struct iovec iov[2] = {{&req, sizeof(req)}, {arg, 0}};
	struct vhost_uapi_size size;
	int err;

	if (!c->socket)
		return ioctl(c->fd, cmd, arg) < 0 ? -errno : 0;
	err = vhost_uapi_size(cmd, arg, bytes, &size);
	if (!err && (size.more || bytes < size.in || bytes < size.out))
		err = -EFAULT;
	if (err)
		return err;
	req.bytes = size.in;
	iov[1].iov_len = size.in;
	err = send_request(c, iov, size.in ? 2 : 1, &fd, fd >= 0);
	return err ? err : receive(c, CDEV_IOCTL, arg, size.out);
}

ssize_t cdev_client_write(struct cdev_client *c, const void *msg, size_t bytes,
			  const struct cdev_client_mem *mem, unsigned nmem)
{
	struct cdev_request req = {.type = CDEV_WRITE, .nmem = nmem, .bytes = (uint32_t)bytes};
	struct cdev_mem wire[CDEV_MEM_MAX];
	int fds[CDEV_MEM_MAX], err;
	struct iovec iov[3] = {{&req, sizeof(req)},
			       {wire, nmem * sizeof(wire[0])},
			       {(void *)(uintptr_t)msg, bytes}};
	ssize_t n;

	if (!c->socket) {
		n = write(c->fd, msg, bytes);
		return n < 0 ? -errno : n;
	}
	if (nmem > CDEV_MEM_MAX || bytes > VHOST_UAPI_ARG_MAX)
		return -E2BIG;
	for (unsigned i = 0; i < nmem; i++) {
		wire[i] = mem[i].mem;
		fds[i] = mem[i].fd;
	}
	err = send_request(c, iov, 3, fds, nmem);
	return err ? err : receive(c, CDEV_WRITE, NULL, 0);
}
