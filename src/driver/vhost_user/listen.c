// SPDX-License-Identifier: BSD-3-Clause
/*
 * Where sessions come from: a socket file, a descriptor that was given, or a connection of our own.
 *
 * Who attacks: local users. The socket's file has the permissions asked for from the moment it
 * exists; a path is used as given; a file is only ever replaced when it is a socket on which nobody
 * listens, and only removed when it is still the one that was made here.
 */
#include "driver/vhost_user/server.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define RETRY_NS 1000000000ull
#define BACKLOG 8

static void retry_connect(struct vdpa_loop_timer *timer);

static struct vdpa_loop *control(const struct vu_dev *dev)
{
	return vdpa_ctx_control(dev->vdev->ctx);
}

/* ---- the socket file ---- */

static int address(const char *path, struct sockaddr_un *addr, struct vdpa_error *err)
{
	*addr = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (!*path || strlen(path) >= sizeof(addr->sun_path))
		return vdpa_error_set(err, ENAMETOOLONG, NULL,
				      "%s: a socket's path has 1 to %zu bytes, this one has %zu",
				      path, sizeof(addr->sun_path) - 1, strlen(path));
	memcpy(addr->sun_path, path, strlen(path) + 1);
	return 0;
}

static int socket_new(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd < 0 ? -errno : fd;
}

/* 0: nobody listens there; -EADDRINUSE: somebody does, or it is no socket. */
static int stale(const struct sockaddr_un *addr, struct vdpa_error *err)
{
	const char *path = addr->sun_path;
	struct stat st;
	int fd, ret;

	if (lstat(path, &st))
		return errno == ENOENT
			       ? 0
			       : vdpa_error_set(err, errno, NULL, "%s: %s", path, strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return vdpa_error_set(err, EADDRINUSE, NULL,
				      "%s: the file exists and is no socket; it is left alone",
				      path);
	fd = socket_new();
	if (fd < 0)
		return vdpa_error_set(err, -fd, NULL, "%s: %s", path, strerror(-fd));
	ret = connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) ? errno : 0;
	close(fd);
	if (ret == ECONNREFUSED || ret == ENOENT)
		return 0;
	return vdpa_error_set(err, EADDRINUSE, NULL, "%s: another process listens on this socket",
			      path);
}

struct owner {
	uid_t uid;
	gid_t gid;
	mode_t mode;
	bool chown, chmod;
};

static int parse_owner(const char *text, struct owner *o, struct vdpa_error *err)
{
	char name[128];
	const char *colon = strchr(text, ':');
	size_t len = colon ? (size_t)(colon - text) : strlen(text);
	const struct passwd *pw;
	const struct group *gr;

	o->uid = (uid_t)-1;
	o->gid = (gid_t)-1;
	o->chown = true;
	if (len >= sizeof(name))
		return vdpa_error_set(err, EINVAL, NULL, "socket_owner %s: too long", text);
	memcpy(name, text, len);
	name[len] = '\0';
	if (len) {
		pw = getpwnam(name);
		if (!pw)
			return vdpa_error_set(err, EINVAL, NULL, "socket_owner: no user %s", name);
		o->uid = pw->pw_uid;
	}
	if (colon) {
		gr = getgrnam(colon + 1);
		if (!gr)
			return vdpa_error_set(err, EINVAL, NULL, "socket_owner: no group %s",
					      colon + 1);
		o->gid = gr->gr_gid;
	}
	return 0;
}

static int parse_rights(const struct vdpa_attr *attrs, struct owner *o, struct vdpa_error *err)
{
	const char *mode = vdpa_attr_get(attrs, "socket_mode");
	const char *owner = vdpa_attr_get(attrs, "socket_owner");
	char *end;

	*o = (struct owner){0};
	if (mode) {
		unsigned long bits = strtoul(mode, &end, 8);

		if (!*mode || *end || *mode == '-' || bits > 0777)
			return vdpa_error_set(err, EINVAL, NULL, "socket_mode %s: octal, 0 to 0777",
					      mode);
		o->mode = (mode_t)bits;
		o->chmod = true;
	}
	return owner ? parse_owner(owner, o, err) : 0;
}

/* Linux gives the file the mode of the unbound socket, less the umask: so it never has more than
 * asked. */
static int bind_file(struct vu_dev *dev, int fd, const struct sockaddr_un *addr,
		     const struct owner *o, struct vdpa_error *err)
{
	const char *path = addr->sun_path;
	struct stat st;
	int ret;

	if (o->chmod && fchmod(fd, o->mode))
		return vdpa_error_set(err, errno, NULL, "%s: %s", path, strerror(errno));
	ret = bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) ? errno : 0;
	if (ret == EADDRINUSE) {
		ret = stale(addr, err);
		if (ret)
			return ret;
		unlink(path);
		ret = bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) ? errno : 0;
	}
	if (ret)
		return vdpa_error_set(err, ret, NULL, "%s: cannot bind: %s", path, strerror(ret));
	if (lstat(path, &st) == 0) {
		dev->unlink = true;
		dev->sock_dev = st.st_dev;
		dev->sock_ino = st.st_ino;
	}
	if (o->chown && lchown(path, o->uid, o->gid))
		return vdpa_error_set(err, errno, NULL, "%s: cannot change the owner: %s", path,
				      strerror(errno));
	if (o->chmod && chmod(path, o->mode))
		return vdpa_error_set(err, errno, NULL, "%s: cannot change the mode: %s", path,
				      strerror(errno));
	if (listen(fd, BACKLOG))
		return vdpa_error_set(err, errno, NULL, "%s: cannot listen: %s", path,
				      strerror(errno));
	return 0;
}

static void unlink_file(struct vu_dev *dev)
{
	struct stat st;

	if (dev->unlink && lstat(dev->path, &st) == 0 && st.st_dev == dev->sock_dev &&
	    st.st_ino == dev->sock_ino)
		unlink(dev->path);
	dev->unlink = false;
}

/* ---- server ---- */

static void retry_accept(struct vdpa_loop_timer *timer)
{
	vu_listen_resume(vdpa_container_of(timer, struct vu_dev, retry));
}

static void retry_later(struct vu_dev *dev, void (*fn)(struct vdpa_loop_timer *timer))
{
	vdpa_loop_timer_set(control(dev), &dev->retry, vdpa_clock_ns() + RETRY_NS, fn);
}

/* Not now, not often: without free descriptors the listener would stay readable. */
static void accept_failed(struct vu_dev *dev, int err)
{
	vdpa_log_limited(vdpa_ctx_log(dev->vdev->ctx), &dev->limit, VDPA_LOG_ERR, dev->vdev->name,
			 "vhost-user: cannot take a connection: %s", strerror(err));
	vdpa_loop_fd_del(&dev->listen_lfd);
	retry_later(dev, retry_accept);
}

static void accept_ready(struct vdpa_loop_fd *lfd, uint32_t revents)
{
	struct vu_dev *dev = vdpa_container_of(lfd, struct vu_dev, listen_lfd);
	int fd, err;

	if (dev->session) {
		vdpa_loop_fd_del(lfd);
		vdpa_log_limited(vdpa_ctx_log(dev->vdev->ctx), &dev->limit, VDPA_LOG_INFO,
				 dev->vdev->name,
				 "vhost-user: another front end waits until this one is gone");
		return;
	}
	fd = accept4(lfd->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0) {
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			accept_failed(dev, errno);
		return;
	}
	err = vu_session_new(dev, fd);
	if (err)
		accept_failed(dev, -err);
}

static int listen_path(struct vu_dev *dev, const struct vdpa_attr *attrs, struct vdpa_error *err)
{
	struct sockaddr_un addr;
	struct owner owner;
	int ret = parse_rights(attrs, &owner, err);

	if (!ret)
		ret = address(dev->path, &addr, err);
	if (ret)
		return ret;
	dev->listen_fd = socket_new();
	if (dev->listen_fd < 0)
		return vdpa_error_set(err, -dev->listen_fd, NULL, "%s: %s", dev->path,
				      strerror(-dev->listen_fd));
	ret = bind_file(dev, dev->listen_fd, &addr, &owner, err);
	if (!ret) {
		ret = vdpa_loop_fd_add(control(dev), &dev->listen_lfd, dev->listen_fd, EPOLLIN,
				       accept_ready);
		if (ret)
			vdpa_error_set(err, -ret, NULL, "%s: %s", dev->path, strerror(-ret));
	}
	if (ret)
		vu_listen_stop(dev);
	return ret;
}

static int take_fd(struct vu_dev *dev, int fd, struct vdpa_error *err)
{
	int domain = 0, listening = 0, ret;
	socklen_t len = sizeof(int);

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) || domain != AF_UNIX)
		return vdpa_error_set(err, EINVAL, NULL, "fd %d is not a UNIX socket", fd);
	getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len);
	vdpa_fd_set_cloexec(fd, true);
	if (!listening) {
		dev->mode = VU_CONNECTED;
		ret = vu_session_new(dev, fd);
		return ret ? vdpa_error_set(err, -ret, NULL, "fd %d: %s", fd, strerror(-ret)) : 0;
	}
	ret = vdpa_fd_set_nonblock(fd, true);
	if (!ret)
		ret = vdpa_loop_fd_add(control(dev), &dev->listen_lfd, fd, EPOLLIN, accept_ready);
	if (ret)
		return vdpa_error_set(err, -ret, NULL, "fd %d: %s", fd, strerror(-ret));
	dev->listen_fd = fd;
	return 0;
}

/* ---- client ---- */

static void try_connect(struct vu_dev *dev)
{
	struct sockaddr_un addr;
	int fd, err = address(dev->path, &addr, NULL);

	fd = err ? err : socket_new();
	if (fd < 0) {
		retry_later(dev, retry_connect);
		return;
	}
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		err = -errno;
		close(fd);
	} else {
		err = vu_session_new(dev, fd);
	}
	if (!err) {
		dev->told_retry = false;
		return;
	}
	if (!dev->told_retry)
		vdpa_dev_log(dev->vdev, VDPA_LOG_INFO,
			     "vhost-user: cannot connect to %s (%s), trying again every second",
			     dev->path, strerror(-err));
	dev->told_retry = true;
	retry_later(dev, retry_connect);
}

static void retry_connect(struct vdpa_loop_timer *timer)
{
	try_connect(vdpa_container_of(timer, struct vu_dev, retry));
}

/* ---- life ---- */

int vu_listen_start(struct vu_dev *dev, const struct vdpa_attr *attrs, struct vdpa_error *err)
{
	const char *path = vdpa_attr_get(attrs, "path");
	const char *fd = vdpa_attr_get(attrs, "fd");
	struct sockaddr_un addr;
	int ret;

	if (!path == !fd)
		return vdpa_error_set(err, EINVAL, dev->vdev->name,
				      "vhost-user needs either path or fd");
	if (fd && dev->mode == VU_CLIENT)
		return vdpa_error_set(err, EINVAL, dev->vdev->name,
				      "mode client needs a path to connect to");
	if (fd)
		return take_fd(dev, (int)vdpa_attr_u64(attrs, "fd", 0), err);
	dev->path = strdup(path);
	if (!dev->path)
		return vdpa_error_set(err, ENOMEM, dev->vdev->name, "no memory");
	if (dev->mode == VU_SERVER)
		return listen_path(dev, attrs, err);
	ret = address(path, &addr, err);
	if (!ret)
		try_connect(dev);
	return ret;
}

void vu_listen_stop(struct vu_dev *dev)
{
	vdpa_loop_timer_cancel(&dev->retry);
	vdpa_loop_fd_del(&dev->listen_lfd);
	unlink_file(dev);
	vdpa_fd_close(&dev->listen_fd);
}

void vu_listen_resume(struct vu_dev *dev)
{
	if (dev->mode == VU_CLIENT) {
		retry_later(dev, retry_connect);
		return;
	}
	if (dev->listen_fd < 0 || dev->listen_lfd.loop)
		return;
	if (vdpa_loop_fd_add(control(dev), &dev->listen_lfd, dev->listen_fd, EPOLLIN, accept_ready))
		retry_later(dev, retry_accept);
}
