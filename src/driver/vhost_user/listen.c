// SPDX-License-Identifier: BSD-3-Clause
/*
 * Where sessions come from: a socket file, a descriptor that was given, or a connection of our own.
 *
 * Who attacks: local users, by what they connect to or hand over (base/unix.h cares for the file).
 */
#include "driver/vhost_user/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define RETRY_NS 1000000000ull

static void retry_connect(struct vdpa_loop_timer *timer);

static struct vdpa_loop *control(const struct vu_dev *dev)
{
	return vdpa_ctx_control(dev->vdev->ctx);
}

/* ---- server ---- */

static bool ready(struct vdpa_listener *listener)
{
	struct vu_dev *dev = vdpa_container_of(listener, struct vu_dev, listen);

	if (!dev->session)
		return true;
	vdpa_log_limited(vdpa_ctx_log(dev->vdev->ctx), &dev->limit, VDPA_LOG_INFO, dev->vdev->name,
			 "vhost-user: another front end waits until this one is gone");
	return false;
}

static int accepted(struct vdpa_listener *listener, int fd)
{
	return vu_session_new(vdpa_container_of(listener, struct vu_dev, listen), fd);
}

void vu_listen_init(struct vu_dev *dev)
{
	dev->listen = VDPA_LISTENER_INIT;
	dev->listen.loop = control(dev);
	dev->listen.log = vdpa_ctx_log(dev->vdev->ctx);
	dev->listen.object = dev->vdev->name;
	dev->listen.what = "vhost-user";
	dev->listen.ready = ready;
	dev->listen.accepted = accepted;
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
	if (ret)
		return vdpa_error_set(err, -ret, NULL, "fd %d: %s", fd, strerror(-ret));
	dev->listen.sock.fd = fd;
	ret = vdpa_listener_resume(&dev->listen);
	if (!ret)
		return 0;
	/* It is the caller's still. */
	vdpa_listener_stop(&dev->listen);
	dev->listen.sock.fd = -1;
	return vdpa_error_set(err, -ret, NULL, "fd %d: %s", fd, strerror(-ret));
}

/* ---- client ---- */

static void retry_later(struct vu_dev *dev)
{
	vdpa_loop_timer_set(control(dev), &dev->retry, vdpa_clock_ns() + RETRY_NS, retry_connect);
}

static void try_connect(struct vu_dev *dev)
{
	struct sockaddr_un addr;
	int fd, err = vdpa_unix_address(dev->path, &addr, NULL);

	fd = err ? err : vdpa_unix_socket(SOCK_STREAM);
	if (fd < 0) {
		retry_later(dev);
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
	retry_later(dev);
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
		return vdpa_listener_open(&dev->listen, dev->path, SOCK_STREAM, attrs, err);
	ret = vdpa_unix_address(path, &addr, err);
	if (!ret)
		try_connect(dev);
	return ret;
}

void vu_listen_stop(struct vu_dev *dev)
{
	vdpa_loop_timer_cancel(&dev->retry);
	vdpa_listener_close(&dev->listen);
}

void vu_listen_resume(struct vu_dev *dev)
{
	if (dev->mode == VU_CLIENT)
		retry_later(dev);
	else
		vdpa_listener_resume(&dev->listen);
}
