// SPDX-License-Identifier: BSD-3-Clause
/* Who attacks: local users, by what lies at the path. */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/unix.h"

#define BACKLOG 8

int vdpa_unix_address(const char *path, struct sockaddr_un *addr, struct vdpa_error *err)
{
	*addr = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (!*path || strlen(path) >= sizeof(addr->sun_path))
		return vdpa_error_set(err, ENAMETOOLONG, NULL,
				      "%s: a socket's path has 1 to %zu bytes, this one has %zu",
				      path, sizeof(addr->sun_path) - 1, strlen(path));
	memcpy(addr->sun_path, path, strlen(path) + 1);
	return 0;
}

int vdpa_unix_socket(int type)
{
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd < 0 ? -errno : fd;
}

/* 0: nobody listens there; -EADDRINUSE: somebody does, or it is no socket. */
static int stale(const struct sockaddr_un *addr, int type, struct vdpa_error *err)
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
	fd = vdpa_unix_socket(type);
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

/* Bound to the file; a stale one is replaced. */
static int bind_file(struct vdpa_unix *u, const struct sockaddr_un *addr, int type,
		     struct vdpa_error *err)
{
	const char *path = addr->sun_path;
	int ret = bind(u->fd, (const struct sockaddr *)addr, sizeof(*addr)) ? errno : 0;
	struct stat st;

	if (ret == EADDRINUSE) {
		ret = stale(addr, type, err);
		if (ret)
			return ret;
		unlink(path);
		ret = bind(u->fd, (const struct sockaddr *)addr, sizeof(*addr)) ? errno : 0;
	}
	if (ret)
		return vdpa_error_set(err, ret, NULL, "%s: cannot bind: %s", path, strerror(ret));
	if (lstat(path, &st))
		return vdpa_error_set(err, errno, NULL, "%s: %s", path, strerror(errno));
	u->dev = st.st_dev;
	u->ino = st.st_ino;
	u->path = strdup(path);
	if (!u->path) {
		unlink(path);
		return vdpa_error_set(err, ENOMEM, NULL, "%s: no memory", path);
	}
	return 0;
}

static int listen_file(struct vdpa_unix *u, const struct sockaddr_un *addr, int type,
		       const struct owner *o, struct vdpa_error *err)
{
	const char *path = addr->sun_path;
	int ret;

	if (o->chmod && fchmod(u->fd, o->mode))
		return vdpa_error_set(err, errno, NULL, "%s: %s", path, strerror(errno));
	ret = bind_file(u, addr, type, err);
	if (ret)
		return ret;
	if (o->chown && lchown(path, o->uid, o->gid))
		return vdpa_error_set(err, errno, NULL, "%s: cannot change the owner: %s", path,
				      strerror(errno));
	if (o->chmod && chmod(path, o->mode))
		return vdpa_error_set(err, errno, NULL, "%s: cannot change the mode: %s", path,
				      strerror(errno));
	if (type != SOCK_DGRAM && listen(u->fd, BACKLOG))
		return vdpa_error_set(err, errno, NULL, "%s: cannot listen: %s", path,
				      strerror(errno));
	return 0;
}

int vdpa_unix_listen(struct vdpa_unix *u, const char *path, int type, const struct vdpa_attr *attrs,
		     struct vdpa_error *err)
{
	struct sockaddr_un addr;
	struct owner owner;
	int ret;

	*u = (struct vdpa_unix){.fd = -1};
	ret = parse_rights(attrs, &owner, err);
	if (!ret)
		ret = vdpa_unix_address(path, &addr, err);
	if (ret)
		return ret;
	u->fd = vdpa_unix_socket(type);
	if (u->fd < 0)
		return vdpa_error_set(err, -u->fd, NULL, "%s: %s", path, strerror(-u->fd));
	ret = listen_file(u, &addr, type, &owner, err);
	if (ret)
		vdpa_unix_close(u);
	return ret;
}

void vdpa_unix_close(struct vdpa_unix *u)
{
	struct stat st;

	if (u->path && lstat(u->path, &st) == 0 && st.st_dev == u->dev && st.st_ino == u->ino)
		unlink(u->path);
	free(u->path);
	u->path = NULL;
	vdpa_fd_close(&u->fd);
}
