// SPDX-License-Identifier: BSD-3-Clause
/*
 * One open file. A request is handled to its end before the next one is read; the device's own
 * control work goes on meanwhile. When the peer goes away, what is pending ends first, then the
 * device is closed: reset, all mappings taken back.
 *
 * Who attacks: the peer, by every byte. A message that is no message ends the connection; a
 * request that the device refuses has its errno.
 */
#include "driver/vhost_cdev/cdev.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

static void request_done(void *arg, int result);
static void readable(struct vdpa_loop_fd *lfd, uint32_t revents);

/*
 * Only while nothing is pending: a peer's end would be told of all the time, and must not have
 * what it sent last be read beside the request that is under way.
 */
static int listen_to(struct cdev_session *s)
{
	return vdpa_loop_fd_add(vdpa_ctx_control(s->cdev->vdev->ctx), &s->lfd, s->fd, EPOLLIN,
				readable);
}

static void session_free(struct cdev_session *s)
{
	struct cdev *cdev = s->cdev;

	vdpa_loop_fd_del(&s->lfd);
	vdpa_fd_close(&s->fd);
	cdev_mem_free(s);
	free(s);
	cdev->session = NULL;
	cdev_session_gone(cdev);
}

static void released(void *arg, int result)
{
	session_free(arg);
}

/* Nothing is pending: close the device, and end. */
static void close_now(struct cdev_session *s)
{
	int err;

	s->pending = true;
	if (!s->open) {
		session_free(s);
		return;
	}
	s->open = false;
	err = vhost_vdpa_release(s->cdev->v, &(struct vdpa_done){.fn = released, .arg = s});
	if (err)
		session_free(s);
}

void cdev_session_close(struct cdev_session *s)
{
	if (s->gone)
		return;
	s->gone = true;
	vdpa_loop_fd_del(&s->lfd);
	if (!s->pending)
		close_now(s);
}

bool cdev_session_ends(const struct cdev_session *s)
{
	struct pollfd pfd = {.fd = s->fd};

	return s->gone || (poll(&pfd, 1, 0) > 0 && (pfd.revents & POLLHUP));
}

/* ---- replies ---- */

static int send_reply(int fd, uint32_t type, int result, const void *data, uint32_t bytes)
{
	struct cdev_reply head = {.type = type, .result = result, .bytes = bytes};
	struct iovec iov[2] = {{&head, sizeof(head)}, {(void *)(uintptr_t)data, bytes}};
	ssize_t n = vdpa_sock_send(fd, iov, bytes ? 2 : 1, NULL, 0);

	return n < 0 ? (int)n : 0;
}

void cdev_refuse(int fd, int result)
{
	send_reply(fd, CDEV_OPEN, result, NULL, 0);
	close(fd);
}

/* The request has ended; @bytes of the argument go back. */
static void answer(struct cdev_session *s, uint32_t type, int result, uint32_t bytes)
{
	s->pending = false;
	s->nmem = 0;
	if (result < 0)
		s->cdev->refused++;
	if (s->gone) {
		close_now(s);
		return;
	}
	/* One request at a time: there is room, unless the peer does not play by the rules. */
	if (send_reply(s->fd, type, result, s->arg, result < 0 ? 0 : bytes) || listen_to(s))
		cdev_session_close(s);
}

/* ---- requests ---- */

static void ioctl_done(void *arg, int result)
{
	struct cdev_session *s = arg;
	struct vhost_uapi_size size = {0};

	vhost_uapi_size(s->call.cmd, s->arg, s->call.arg_bytes, &size);
	answer(s, CDEV_IOCTL, result, size.out);
}

static void do_ioctl(struct cdev_session *s, uint32_t cmd, struct vdpa_fds *fds)
{
	int err;

	s->cdev->ioctls++;
	/* All of it: what the peer did not send is 0, and the sizes are checked by the callee. */
	s->call = (struct vhost_uapi_call){.size = sizeof(s->call),
					   .cmd = cmd,
					   .arg = s->arg,
					   .arg_bytes = sizeof(s->arg),
					   .fd = vdpa_fds_take(fds, 0),
					   .done = {.fn = ioctl_done, .arg = s}};
	err = vhost_uapi_ioctl(s->cdev->v, &s->call);
	if (err)
		ioctl_done(s, err);
}

static void request_done(void *arg, int result)
{
	answer(arg, CDEV_WRITE, result, 0);
}

static void do_write(struct cdev_session *s, uint32_t bytes, const struct vdpa_fds *fds)
{
	int err = fds->n == s->nmem ? cdev_mem_take(s, fds) : -EINVAL;

	s->cdev->writes++;
	if (!err)
		err = vhost_uapi_write(s->cdev->v, s->arg, bytes,
				       &(struct vdpa_done){.fn = request_done, .arg = s});
	if (err)
		request_done(s, err);
}

/* A request of @n bytes in @buf: false when it is none. */
static bool parse(struct cdev_session *s, const uint8_t *buf, size_t n, struct cdev_request *req)
{
	size_t mem;

	if (n < sizeof(*req))
		return false;
	memcpy(req, buf, sizeof(*req));
	if (req->nmem > CDEV_MEM_MAX || req->bytes > VHOST_UAPI_ARG_MAX)
		return false;
	mem = req->nmem * sizeof(struct cdev_mem);
	if (n != sizeof(*req) + mem + req->bytes)
		return false;
	s->nmem = req->nmem;
	memcpy(s->mem, buf + sizeof(*req), mem);
	memcpy(s->arg, buf + sizeof(*req) + mem, req->bytes);
	memset(s->arg + req->bytes, 0, sizeof(s->arg) - req->bytes);
	return req->type == CDEV_WRITE || (req->type == CDEV_IOCTL && !req->nmem);
}

static void readable(struct vdpa_loop_fd *lfd, uint32_t revents)
{
	struct cdev_session *s = vdpa_container_of(lfd, struct cdev_session, lfd);
	uint8_t buf[CDEV_REQUEST_MAX + 1];
	struct cdev_request req;
	struct vdpa_fds fds;
	ssize_t n = vdpa_sock_recv(s->fd, buf, sizeof(buf), &fds, 0);

	if (n == -EAGAIN || n == -EINTR) {
		vdpa_fds_close(&fds);
		return;
	}
	if (n <= 0 || fds.truncated || !parse(s, buf, (size_t)n, &req)) {
		vdpa_fds_close(&fds);
		if (n > 0)
			vdpa_log_limited(vdpa_ctx_log(s->cdev->vdev->ctx), &s->cdev->limit,
					 VDPA_LOG_WARN, s->cdev->vdev->name,
					 "vhost-vdpa: a message of %zd bytes is none; closed", n);
		cdev_session_close(s);
		return;
	}
	s->pending = true;
	/* The peer's end is looked at when the answer is out. */
	vdpa_loop_fd_del(lfd);
	if (req.type == CDEV_IOCTL)
		do_ioctl(s, req.cmd, &fds);
	else
		do_write(s, req.bytes, &fds);
	vdpa_fds_close(&fds);
}

/* ---- open ---- */

static void opened(void *arg, int result)
{
	struct cdev_session *s = arg;
	struct cdev_hello hello = {.version = CDEV_VERSION};

	s->open = !result;
	if (result || s->gone) {
		if (!s->gone)
			send_reply(s->fd, CDEV_OPEN, result, NULL, 0);
		s->gone = true;
		close_now(s);
		return;
	}
	s->cdev->opens++;
	hello.device_id = vhost_vdpa_get_device_id(s->cdev->v);
	snprintf(hello.name, sizeof(hello.name), "vhost-vdpa-%u", s->cdev->index);
	memcpy(s->arg, &hello, sizeof(hello));
	answer(s, CDEV_OPEN, 0, sizeof(hello));
}

int cdev_session_new(struct cdev *cdev, int fd)
{
	struct cdev_session *s = calloc(1, sizeof(*s));
	int err;

	if (!s) {
		close(fd);
		return -ENOMEM;
	}
	s->cdev = cdev;
	s->fd = fd;
	s->pending = true;
	cdev->session = s;
	err = vhost_vdpa_open(cdev->v, &(struct vdpa_done){.fn = opened, .arg = s});
	if (err)
		opened(s, err);
	return 0;
}
