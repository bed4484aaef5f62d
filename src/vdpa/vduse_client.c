// SPDX-License-Identifier: BSD-3-Clause
/* Who attacks: nobody; the server is trusted, but an answer that is none is -EPROTO. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/unix.h"
#include "vdpa/vduse_wire.h"

/* The answer to a request of @type: its result; *@fd: the descriptor that came, or -1. */
static int receive(int conn, uint32_t type, void *data, size_t bytes, int *fd)
{
	uint8_t buf[VDUSE_WIRE_REPLY_MAX];
	struct vduse_wire_reply head;
	struct vdpa_fds fds;
	ssize_t n;

	do {
		n = vdpa_sock_recv(conn, buf, sizeof(buf), &fds, 0);
	} while (n == -EINTR);
	*fd = vdpa_fds_take(&fds, 0);
	vdpa_fds_close(&fds);
	if (n <= 0)
		return n ? (int)n : -ENODEV;
	memcpy(&head, buf, sizeof(head));
	if ((size_t)n < sizeof(head) || head.type != type ||
	    head.bytes != (size_t)n - sizeof(head)) {
		vdpa_fd_close(fd);
		return -EPROTO;
	}
	if (head.result >= 0 && data)
		memcpy(data, buf + sizeof(head), head.bytes < bytes ? head.bytes : bytes);
	return head.result;
}

/* All of it in one message, waiting for room. */
static int request(int conn, const struct iovec *iov, unsigned niov, int fd)
{
	for (;;) {
		struct pollfd pfd = {.fd = conn, .events = POLLOUT};
		ssize_t n = vdpa_sock_send(conn, iov, niov, &fd, fd >= 0);

		if (n >= 0)
			return 0;
		if (n != -EAGAIN && n != -EINTR)
			return n == -EPIPE || n == -ECONNRESET ? -ENODEV : (int)n;
		poll(&pfd, 1, -1);
	}
}

static int say_open(struct vduse_client *c, const char *name)
{
	struct vduse_wire_request head = {.type = VDUSE_WIRE_OPEN,
					  .cmd = VDUSE_WIRE_VERSION,
					  .bytes = sizeof(struct vduse_wire_open)};
	struct vduse_wire_open open = {.name = ""};
	struct iovec iov[2] = {{&head, sizeof(head)}, {&open, sizeof(open)}};
	int ret;

	if (strlen(name) >= sizeof(open.name))
		return -ENAMETOOLONG;
	strcpy(open.name, name);
	ret = request(c->conn, iov, 2, -1);
	return ret ? ret : receive(c->conn, VDUSE_WIRE_OPEN, NULL, 0, &c->fd);
}

/* The thread that would answer is the one that waits for it. */
static bool is_ourselves(int conn)
{
	struct ucred peer = {0};
	socklen_t len = sizeof(peer);

	return !getsockopt(conn, SOL_SOCKET, SO_PEERCRED, &peer, &len) && peer.pid == getpid();
}

int vduse_client_open(const char *socket_path, const char *name, struct vduse_client *c)
{
	struct sockaddr_un addr;
	int ret = vdpa_unix_address(socket_path, &addr, NULL);

	*c = (struct vduse_client){-1, -1};
	if (ret)
		return ret;
	c->conn = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (c->conn < 0)
		return -errno;
	if (connect(c->conn, (struct sockaddr *)&addr, sizeof(addr)))
		ret = errno == ENOENT || errno == ECONNREFUSED ? -ENXIO : -errno;
	else if (is_ourselves(c->conn))
		ret = -EDEADLK;
	else
		ret = say_open(c, name);
	if (!ret && c->fd < 0)
		ret = -EPROTO;
	if (ret)
		vduse_client_close(c);
	return ret;
}

void vduse_client_close(struct vduse_client *c)
{
	vdpa_fd_close(&c->conn);
	vdpa_fd_close(&c->fd);
}

int vduse_client_ioctl(const struct vduse_client *c, uint32_t cmd, void *arg, int fd)
{
	const struct vduse_ioctl *ioctl = vduse_ioctl_find(cmd);
	struct vduse_wire_request head = {.type = VDUSE_WIRE_IOCTL, .cmd = cmd};
	struct iovec iov[2] = {{&head, sizeof(head)}, {arg, 0}};
	int ret, got = -1;

	if (!ioctl)
		return -ENOTTY;
	iov[1].iov_len = vduse_ioctl_bytes(ioctl, arg);
	if (ioctl->in && !iov[1].iov_len)
		return -EINVAL;
	head.bytes = (uint32_t)iov[1].iov_len;
	ret = request(c->conn, iov, head.bytes ? 2 : 1, fd);
	if (!ret)
		ret = receive(c->conn, VDUSE_WIRE_IOCTL, arg, ioctl->out, &got);
	if (ioctl->returns_fd && !ret)
		return got < 0 ? -EMFILE : got;
	vdpa_fd_close(&got);
	return ret;
}
