// SPDX-License-Identifier: BSD-3-Clause
/*
 * Who attacks: other local users. The socket is never reachable with more permissions than asked
 * for, not even for a moment: its mode is set on the descriptor, before bind() makes the file.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/fd.h"
#include "ctl/listen.h"

#define BACKLOG 128

#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif

/* fd, -EAGAIN (somebody else has it, or just removed it), or another -errno with @err. */
static int lock_once(const char *path, struct vdpa_error *err)
{
	struct stat ours, there;
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return vdpa_error_set(err, errno, path, "cannot be opened: %s", strerror(errno));
	/* Whoever held it may have removed the file between our open and our lock. */
	if (!flock(fd, LOCK_EX | LOCK_NB) && !fstat(fd, &ours) && !stat(path, &there) &&
	    ours.st_ino == there.st_ino && ours.st_dev == there.st_dev)
		return fd;
	close(fd);
	return -EAGAIN;
}

static int lock_path(const char *path, struct vdpa_error *err)
{
	char lock[PATH_MAX];

	snprintf(lock, sizeof(lock), "%s.lock", path);
	/* A daemon that is just ending gives the lock up within moments. */
	for (int i = 0; i < 16; i++) {
		int fd = lock_once(lock, err);

		if (fd != -EAGAIN)
			return fd;
		usleep(2000);
	}
	return vdpa_error_set(err, EADDRINUSE, path,
			      "another daemon serves this socket: stop it, or give this one "
			      "another path with --socket");
}

static int remove_stale(const char *path, struct vdpa_error *err)
{
	struct stat st;

	if (lstat(path, &st))
		return errno == ENOENT ? 0
				       : vdpa_error_set(err, errno, path, "%s", strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return vdpa_error_set(
			err, EEXIST, path,
			"exists and is not a socket: remove it, or choose another path");
	if (unlink(path))
		return vdpa_error_set(err, errno, path, "a stale socket cannot be removed: %s",
				      strerror(errno));
	return 0;
}

/* Does somebody without our lock (another program) serve the path? */
static bool is_served(const struct sockaddr_un *addr)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool served = fd >= 0 && (!connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) ||
				  errno == EAGAIN);

	vdpa_fd_close(&fd);
	return served;
}

static int bind_path(const struct ctl_listen_params *p, const struct sockaddr_un *addr,
		     struct vdpa_error *err)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int ret;

	if (fd < 0)
		return vdpa_error_set(err, errno, p->path, "socket: %s", strerror(errno));
	if (fchmod(fd, 0600) || bind(fd, (const struct sockaddr *)addr, sizeof(*addr))) {
		ret = vdpa_error_set(err, errno, p->path, "cannot be bound: %s", strerror(errno));
		close(fd);
		return ret;
	}
	ret = 0;
	if ((p->uid != (uid_t)-1 || p->gid != (gid_t)-1) && lchown(p->path, p->uid, p->gid))
		ret = vdpa_error_set(err, errno, p->path, "its owner cannot be set: %s",
				     strerror(errno));
	else if (chmod(p->path, p->mode))
		ret = vdpa_error_set(err, errno, p->path, "its mode cannot be set: %s",
				     strerror(errno));
	else if (listen(fd, BACKLOG))
		ret = vdpa_error_set(err, errno, p->path, "listen: %s", strerror(errno));
	if (!ret)
		return fd;
	unlink(p->path);
	close(fd);
	return ret;
}

int ctl_listen_open(struct ctl_listen *l, const struct ctl_listen_params *p, struct vdpa_error *err)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int ret;

	if (!*p->path || strlen(p->path) >= sizeof(addr.sun_path))
		return vdpa_error_set(err, ENAMETOOLONG, p->path,
				      "the path of a socket has 1 to %zu bytes",
				      sizeof(addr.sun_path) - 1);
	memcpy(addr.sun_path, p->path, strlen(p->path) + 1);
	ret = lock_path(p->path, err);
	if (ret < 0)
		return ret;
	l->lock = ret;
	l->path = strdup(p->path);
	ret = l->path ? 0 : -ENOMEM;
	if (!ret && is_served(&addr))
		ret = vdpa_error_set(err, EADDRINUSE, p->path,
				     "another program serves this socket");
	if (!ret)
		ret = remove_stale(p->path, err);
	if (!ret) {
		l->fd = bind_path(p, &addr, err);
		ret = l->fd < 0 ? l->fd : 0;
	}
	if (ret)
		ctl_listen_close(l);
	return ret;
}

void ctl_listen_close(struct ctl_listen *l)
{
	char lock[PATH_MAX];

	/* Only who bound it removes the socket; only who holds it removes the lock. */
	if (l->path && l->fd >= 0)
		unlink(l->path);
	vdpa_fd_close(&l->fd);
	if (l->path && l->lock >= 0) {
		snprintf(lock, sizeof(lock), "%s.lock", l->path);
		unlink(lock);
	}
	vdpa_fd_close(&l->lock);
	free(l->path);
	l->path = NULL;
}

int ctl_default_path(char *buf, size_t size, struct vdpa_error *err)
{
	const char *env = getenv("UVDPA_SOCKET");
	const char *run = getenv("XDG_RUNTIME_DIR");
	int n;

	if (env && *env)
		n = snprintf(buf, size, "%s", env);
	else if (geteuid() == 0)
		n = snprintf(buf, size, "/run/uvdpa/ctl.sock");
	else if (run && *run == '/')
		n = snprintf(buf, size, "%s/uvdpa/ctl.sock", run);
	else
		return vdpa_error_set(err, ENOENT, NULL,
				      "there is no default socket: XDG_RUNTIME_DIR is not set; "
				      "give a path with --socket");
	if (n < 0 || (size_t)n >= size)
		return vdpa_error_set(err, ENAMETOOLONG, NULL,
				      "the path of the socket is too long");
	return 0;
}

int ctl_default_dir(const char *path, struct vdpa_error *err)
{
	char dir[PATH_MAX];
	char *slash;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (!slash || slash == dir)
		return 0;
	*slash = '\0';
	if (mkdir(dir, geteuid() ? 0700 : 0755) && errno != EEXIST)
		return vdpa_error_set(err, errno, dir, "cannot be made: %s", strerror(errno));
	return 0;
}

int ctl_peer(int fd, pid_t *pid, uid_t *uid, gid_t *gid)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len))
		return -errno;
	*pid = cred.pid;
	*uid = cred.uid;
	*gid = cred.gid;
	return 0;
}

bool ctl_peer_in_group(int fd, gid_t gid)
{
	gid_t groups[256];
	socklen_t len = sizeof(groups);
	pid_t pid;
	uid_t uid;
	gid_t primary = 0;

	if (!ctl_peer(fd, &pid, &uid, &primary) && primary == gid)
		return true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len))
		return false;
	for (size_t i = 0; i < len / sizeof(groups[0]); i++) {
		if (groups[i] == gid)
			return true;
	}
	return false;
}
