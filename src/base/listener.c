// SPDX-License-Identifier: BSD-3-Clause
/* Who attacks: local users, by how often and how many of them connect. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include "base/fd.h"
#include "base/list.h"
#include "base/listener.h"

#define RETRY_NS 1000000000ull

static void retry(struct vdpa_loop_timer *timer)
{
	vdpa_listener_resume(vdpa_container_of(timer, struct vdpa_listener, retry));
}

static void retry_later(struct vdpa_listener *l)
{
	vdpa_loop_fd_del(&l->lfd);
	vdpa_loop_timer_set(l->loop, &l->retry, vdpa_clock_ns() + RETRY_NS, retry);
}

static void failed(struct vdpa_listener *l, int err)
{
	if (l->log)
		vdpa_log_limited(l->log, &l->limit, VDPA_LOG_ERR, l->object,
				 "%s: cannot take a connection: %s", l->what, strerror(err));
	retry_later(l);
}

static void connection(struct vdpa_loop_fd *lfd, uint32_t revents)
{
	struct vdpa_listener *l = vdpa_container_of(lfd, struct vdpa_listener, lfd);
	int fd, err;

	if (l->ready && !l->ready(l)) {
		vdpa_listener_pause(l);
		return;
	}
	fd = accept4(lfd->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0) {
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			failed(l, errno);
		return;
	}
	err = l->accepted(l, fd);
	if (err)
		failed(l, -err);
}

int vdpa_listener_resume(struct vdpa_listener *l)
{
	int ret;

	if (l->sock.fd < 0 || l->lfd.loop)
		return 0;
	vdpa_loop_timer_cancel(&l->retry);
	ret = vdpa_loop_fd_add(l->loop, &l->lfd, l->sock.fd, EPOLLIN, connection);
	if (ret)
		retry_later(l);
	return ret;
}

int vdpa_listener_open(struct vdpa_listener *l, const char *path, int type,
		       const struct vdpa_attr *attrs, struct vdpa_error *err)
{
	int ret = vdpa_unix_listen(&l->sock, path, type, attrs, err);

	if (ret)
		return ret;
	ret = vdpa_listener_resume(l);
	if (!ret)
		return 0;
	vdpa_listener_close(l);
	return vdpa_error_set(err, -ret, l->object, "%s: %s", path, strerror(-ret));
}

void vdpa_listener_pause(struct vdpa_listener *l)
{
	vdpa_loop_fd_del(&l->lfd);
}

void vdpa_listener_stop(struct vdpa_listener *l)
{
	vdpa_loop_timer_cancel(&l->retry);
	vdpa_loop_fd_del(&l->lfd);
}

void vdpa_listener_close(struct vdpa_listener *l)
{
	vdpa_listener_stop(l);
	vdpa_unix_close(&l->sock);
}
