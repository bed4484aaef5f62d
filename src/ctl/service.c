// SPDX-License-Identifier: BSD-3-Clause
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/fd.h"
#include "ctl/service.h"

static long env_number(const char *name)
{
	const char *s = getenv(name);
	char *end;
	long v;

	if (!s || !*s)
		return -1;
	errno = 0;
	v = strtol(s, &end, 10);
	return errno || *end || v < 0 ? -1 : v;
}

int ctl_listen_fds(void)
{
	long pid = env_number("LISTEN_PID"), n = env_number("LISTEN_FDS");

	if (pid != getpid() || n <= 0 || n > 64)
		n = 0;
	for (int fd = CTL_LISTEN_FDS_START; fd < CTL_LISTEN_FDS_START + n; fd++) {
		if (vdpa_fd_set_cloexec(fd, true))
			return 0;
	}
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	return (int)n;
}

int ctl_notify(const char *state)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	const char *path = getenv("NOTIFY_SOCKET");
	size_t len = path ? strlen(path) : 0;
	ssize_t n;
	int fd;

	if (!len)
		return 0;
	if ((path[0] != '/' && path[0] != '@') || len >= sizeof(addr.sun_path))
		return -EINVAL;
	memcpy(addr.sun_path, path, len);
	if (path[0] == '@')
		addr.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	n = sendto(fd, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&addr,
		   (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
	n = n < 0 ? -errno : 0;
	close(fd);
	return (int)n;
}

void ctl_ready_fd(int fd)
{
	ssize_t n;

	if (fd < 0)
		return;
	do {
		n = write(fd, "\n", 1);
	} while (n < 0 && errno == EINTR);
	close(fd);
}

int ctl_check_socket(int fd, bool *listening, struct vdpa_error *err)
{
	int type = 0, domain = 0, accepts = 0;
	socklen_t len = sizeof(int);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) ||
	    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) ||
	    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &accepts, &len) || type != SOCK_STREAM ||
	    domain != AF_UNIX)
		return vdpa_error_set(err, EINVAL, NULL,
				      "file descriptor %d is not a UNIX stream socket", fd);
	*listening = accepts != 0;
	return 0;
}

int ctl_parse_fd(const char *text, const char *option, struct vdpa_error *err)
{
	char *end;
	long v;

	errno = 0;
	v = strtol(text, &end, 10);
	if (errno || end == text || *end || v < 0 || v > INT_MAX || fcntl((int)v, F_GETFD) < 0)
		return vdpa_error_set(err, EINVAL, option,
				      "\"%s\" is not the number of an open file descriptor", text);
	return (int)v;
}
