// SPDX-License-Identifier: BSD-3-Clause
/* Who attacks: nobody; the server is trusted, but may hang, and an answer that is none is -EPROTO.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include <uvdpa/loop.h>

#include "base/fd.h"
#include "base/unix.h"
#include "vdpa/vduse_wire.h"

/* Until @events; 0 or -ETIMEDOUT. */
static int wait_for(const struct vduse_client *c, short events, uint64_t deadline)
{
	struct pollfd pfd = {.fd = c->conn, .events = events};
	int n, left = -1;

	do {
		uint64_t now = vdpa_clock_ns();

		if (c->timeout_ms)
			left = now < deadline ? (int)((deadline - now) / 1000000) + 1 : 0;
		n = poll(&pfd, 1, left);
	} while (n < 0 && errno == EINTR);
	if (n)
		return 0;
	/* An answer that comes now would be taken for that to the next question. */
	shutdown(c->conn, SHUT_RDWR);
	return -ETIMEDOUT;
}

static uint64_t deadline_of(const struct vduse_client *c)
{
	return vdpa_clock_ns() + c->timeout_ms * 1000000ull;
}

/* The answer to a request of @type: its result; *@fd: the descriptor that came, or -1. */
static int receive(const struct vduse_client *c, uint32_t type, void *data, size_t bytes, int *fd)
{
	uint8_t buf[VDUSE_WIRE_REPLY_MAX];
	struct vduse_wire_reply head;
	struct vdpa_fds fds;
	uint64_t deadline = deadline_of(c);
	ssize_t n;

	*fd = -1;
	do {
		if (wait_for(c, POLLIN, deadline))
			return -ETIMEDOUT;
		n = vdpa_sock_recv(c->conn, buf, sizeof(buf), &fds, MSG_DONTWAIT);
	} while (n == -EINTR || n == -EAGAIN);
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
static int request(const struct vduse_client *c, const struct iovec *iov, unsigned niov, int fd)
{
	uint64_t deadline = deadline_of(c);

	for (;;) {
		ssize_t n = vdpa_sock_send(c->conn, iov, niov, &fd, fd >= 0);

		if (n >= 0)
			return 0;
		if (n != -EAGAIN && n != -EINTR)
			return n == -EPIPE || n == -ECONNRESET ? -ENODEV : (int)n;
		if (wait_for(c, POLLOUT, deadline))
			return -ETIMEDOUT;
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
	ret = request(c, iov, 2, -1);
	return ret ? ret : receive(c, VDUSE_WIRE_OPEN, NULL, 0, &c->fd);
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
	const struct timeval limit = {.tv_sec = c->timeout_ms / 1000,
				      .tv_usec = c->timeout_ms % 1000 * 1000};
	struct sockaddr_un addr;
	int ret = vdpa_unix_address(socket_path, &addr, NULL);

	c->conn = c->fd = -1;
	if (ret)
		return ret;
	c->conn = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (c->conn < 0)
		return -errno;
	/* Where many come at once a connection waits, too. */
	setsockopt(c->conn, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(c->conn, (struct sockaddr *)&addr, sizeof(addr)))
		ret = errno == ENOENT || errno == ECONNREFUSED ? -ENXIO
		      : errno == EAGAIN			       ? -ETIMEDOUT
							       : -errno;
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
	ret = request(c, iov, head.bytes ? 2 : 1, fd);
	if (!ret)
		ret = receive(c, VDUSE_WIRE_IOCTL, arg, ioctl->out, &got);
	if (ioctl->returns_fd && !ret)
		return got < 0 ? -EMFILE : got;
	vdpa_fd_close(&got);
	return ret;
}
