// SPDX-License-Identifier: BSD-3-Clause
/*
 * Who attacks: a peer that sends descriptors where none belong, or more than the message has, to
 * run this process out of them. The control buffer below takes the most that the kernel passes, so
 * that nothing is dropped unseen; what the caller's table does not hold is closed before the call
 * returns.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include "base/fd.h"

void vdpa_fd_close(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = saved;
}

int vdpa_fd_take(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

void vdpa_fds_close(struct vdpa_fds *fds)
{
	for (unsigned i = 0; i < fds->n; i++)
		vdpa_fd_close(&fds->fd[i]);
	fds->n = 0;
}

int vdpa_fds_take(struct vdpa_fds *fds, unsigned i)
{
	return i < fds->n ? vdpa_fd_take(&fds->fd[i]) : -1;
}

int vdpa_fd_dup(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	return copy < 0 ? -errno : copy;
}

int vdpa_fd_set_nonblock(int fd, bool on)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -errno;
	flags = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
	return fcntl(fd, F_SETFL, flags) < 0 ? -errno : 0;
}

int vdpa_fd_set_cloexec(int fd, bool on)
{
	int flags = fcntl(fd, F_GETFD);

	if (flags < 0)
		return -errno;
	flags = on ? flags | FD_CLOEXEC : flags & ~FD_CLOEXEC;
	return fcntl(fd, F_SETFD, flags) < 0 ? -errno : 0;
}

int vdpa_eventfd_new(void)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	return fd < 0 ? -errno : fd;
}

int vdpa_eventfd_signal(int fd)
{
	const uint64_t one = 1;
	int saved = errno;
	int ret = 0;

	while (write(fd, &one, sizeof(one)) < 0) {
		if (errno == EINTR)
			continue;
		ret = errno == EAGAIN ? 0 : -errno;
		break;
	}
	errno = saved;
	return ret;
}

/*
 * The flags of an eventfd belong to whoever shares it, and a peer that takes O_NONBLOCK off and
 * fills the counter would hold the calling thread, and with it all devices of that thread, until it
 * reads. The kernel has no write to an eventfd that does not wait whatever the flags, so the
 * counter is asked first (POLLOUT: 1 fits), and a full one needs no write. What remains: a peer
 * that fills the counter and takes the flag off between the two system calls. That cannot be closed
 * from here; it takes a peer that does nothing but that, and the two calls follow each other at
 * once.
 */
int vdpa_eventfd_signal_shared(int fd)
{
	struct pollfd pfd = {.fd = fd, .events = POLLOUT};
	int saved = errno;
	int n = poll(&pfd, 1, 0);

	errno = saved;
	if (n == 0 || (n > 0 && !(pfd.revents & (POLLOUT | POLLNVAL))))
		return 0;
	return vdpa_eventfd_signal(fd);
}

bool vdpa_fd_same_file(int a, int b)
{
	struct stat x, y;

	return !fstat(a, &x) && !fstat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

int vdpa_fd_is_eventfd(int fd)
{
	static const char eventfd_name[] = "anon_inode:[eventfd]";
	char path[32], name[sizeof(eventfd_name)];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, name, sizeof(name));
	if (n < 0)
		return -errno;
	return n == sizeof(name) - 1 && !memcmp(name, eventfd_name, sizeof(name) - 1);
}

static ssize_t read_now(int fd, uint64_t *count)
{
	struct iovec iov = {count, sizeof(*count)};
	ssize_t n = preadv2(fd, &iov, 1, -1, RWF_NOWAIT);

	if (n >= 0 || (errno != EOPNOTSUPP && errno != ENOSYS))
		return n;
	return read(fd, count, sizeof(*count));
}

int64_t vdpa_eventfd_drain(int fd)
{
	uint64_t count;
	ssize_t n;

	do {
		n = read_now(fd, &count);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	if (n != sizeof(count))
		return -EIO;
	return count > INT64_MAX ? INT64_MAX : (int64_t)count;
}

static void fds_accept(struct vdpa_fds *fds, const struct cmsghdr *cmsg)
{
	size_t n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);

	for (size_t i = 0; i < n; i++) {
		int fd;

		memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(fd));
		if (fds->n < VDPA_FDS_MAX) {
			fds->fd[fds->n++] = fd;
		} else {
			close(fd);
			fds->surplus++;
		}
	}
}

ssize_t vdpa_sock_recv(int sock, void *buf, size_t len, struct vdpa_fds *fds, int flags)
{
	union {
		char bytes[CMSG_SPACE(VDPA_FDS_LIMIT * sizeof(int)) + 256];
		struct cmsghdr align;
	} control;
	struct iovec iov = {.iov_base = buf, .iov_len = len};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	ssize_t n;

	fds->n = 0;
	fds->surplus = 0;
	fds->truncated = false;
	do {
		n = recvmsg(sock, &msg, flags | MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
			fds_accept(fds, c);
	}
	fds->truncated = (msg.msg_flags & MSG_CTRUNC) != 0;
	return n;
}

ssize_t vdpa_sock_send(int sock, const struct iovec *iov, unsigned niov, const int *fds,
		       unsigned nfds)
{
	union {
		char bytes[CMSG_SPACE(VDPA_FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct msghdr msg = {.msg_iovlen = niov};
	ssize_t n;

	if (nfds > VDPA_FDS_MAX)
		return -EINVAL;
	/* sendmsg() only reads the vector, but its type does not say so. */
	memcpy(&msg.msg_iov, &iov, sizeof(msg.msg_iov));
	if (nfds) {
		struct cmsghdr *c;

		memset(&control, 0, sizeof(control));
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, nfds * sizeof(int));
	}
	do {
		n = sendmsg(sock, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}
