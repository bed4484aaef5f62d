// SPDX-License-Identifier: BSD-3-Clause
/*
 * The endpoint: who connects, what is open, and one ioctl after the other.
 *
 * Who attacks: the processes. A message that is no message ends its connection; an ioctl that is
 * refused has its errno.
 */
#include "parent/vduse/vduse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static const char key[1];

struct vdu_endpoint *vdu_endpoint(struct vdpa_ctx *ctx)
{
	return vdpa_ctx_get_data(ctx, key);
}

struct vdpa_loop *vdu_loop(const struct vdu_dev *d)
{
	return vdpa_ctx_control(d->ep->ctx);
}

struct vdu_dev *vdu_find(struct vdu_endpoint *ep, const char *name)
{
	struct vdu_dev *d;

	list_for_each_entry (d, &ep->devs, node) {
		if (!strcmp(d->name, name))
			return d;
	}
	return NULL;
}

void vdu_conn_close(struct vdu_conn *c)
{
	struct vdu_dev *d = c->dev;

	vdpa_loop_fd_del(&c->lfd);
	vdpa_loop_fd_del(&c->file_lfd);
	vdpa_fd_close(&c->sock);
	vdpa_fd_close(&c->file);
	list_del(&c->node);
	c->ep->nconns--;
	if (c->gone)
		*c->gone = true;
	free(c);
	if (!d)
		return;
	d->conn = NULL;
	vdu_messages_disconnected(d);
}

/* Half of what we may have is the most: others need descriptors, too. */
bool vdu_fds_left(const struct vdu_endpoint *ep, unsigned n)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_NOFILE, &limit) ||
	       2ull * ep->nconns + ep->nkicks + n <= limit.rlim_cur / 2;
}

/* ---- answers ---- */

/* False: the peer takes no answer, and is gone with that. */
static bool reply(struct vdu_conn *c, uint32_t type, int result, const struct iovec *data, int fd)
{
	struct vduse_wire_reply head = {
		.type = type, .result = result, .bytes = data ? (uint32_t)data->iov_len : 0};
	struct iovec iov[2] = {{&head, sizeof(head)}};
	ssize_t n;

	if (data)
		iov[1] = *data;
	n = vdpa_sock_send(c->sock, iov, head.bytes ? 2 : 1, &fd, fd >= 0);
	if (n < 0)
		vdu_conn_close(c);
	return n >= 0;
}

/* ---- open ---- */

static void file_ready(struct vdpa_loop_fd *lfd, uint32_t revents)
{
	struct vdu_conn *c = vdpa_container_of(lfd, struct vdu_conn, file_lfd);

	if (c->dev && !(revents & (EPOLLHUP | EPOLLERR)))
		vdu_messages_ready(c->dev, revents);
	else if (revents & (EPOLLHUP | EPOLLERR))
		vdu_conn_close(c);
	else if (recv(c->file, &revents, sizeof(revents), MSG_DONTWAIT) == 0)
		vdu_conn_close(c);
}

/* Both ends of what stands for the file; the process's is the result. -errno. */
static int make_file(struct vdu_conn *c)
{
	int pair[2], ret;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	c->file = pair[0];
	ret = vdpa_fd_set_nonblock(c->file, true);
	if (!ret)
		ret = vdpa_loop_fd_add(vdpa_ctx_control(c->ep->ctx), &c->file_lfd, c->file, EPOLLIN,
				       file_ready);
	if (!ret)
		return pair[1];
	vdpa_fd_close(&c->file);
	close(pair[1]);
	return ret;
}

static int open_node(struct vdu_conn *c, const char *name, struct vdu_dev **dev)
{
	*dev = NULL;
	if (!strcmp(name, "control"))
		return make_file(c);
	*dev = vdu_find(c->ep, name);
	if (!*dev)
		return -ENOENT;
	if ((*dev)->conn)
		return -EBUSY;
	return make_file(c);
}

static bool handle_open(struct vdu_conn *c, const struct vduse_wire_request *head,
			const uint8_t *body)
{
	struct vduse_wire_open open;
	struct vdu_dev *dev;
	int fd;
	bool sent;

	if (head->bytes != sizeof(open) || c->file >= 0)
		return false;
	memcpy(&open, body, sizeof(open));
	if (!memchr(open.name, '\0', sizeof(open.name)))
		return false;
	fd = head->cmd == VDUSE_WIRE_VERSION ? open_node(c, open.name, &dev) : -EPROTO;
	sent = reply(c, VDUSE_WIRE_OPEN, fd < 0 ? fd : 0, NULL, fd);
	if (fd < 0)
		return true;
	close(fd);
	if (!sent || !dev)
		return true;
	c->dev = dev;
	dev->conn = c;
	dev->connects++;
	vdu_messages_connected(dev);
	return true;
}

/* ---- ioctl ---- */

/* What it does may call the driver, and what that does may break the device: -ECONNRESET, and @c is
 * no more. */
static int carry_out(struct vdu_conn *c, struct vdu_call *call)
{
	bool gone = false;
	int ret;

	c->gone = &gone;
	ret = c->dev ? c->dev->profile->ioctl(c, call) : vdu_control_ioctl(c, call);
	if (gone)
		return -ECONNRESET;
	c->gone = NULL;
	return ret;
}

static bool handle_ioctl(struct vdu_conn *c, const struct vduse_wire_request *head, uint8_t *arg,
			 int *fd)
{
	struct vdu_call call = {.ioctl = vduse_ioctl_find(head->cmd),
				.arg = arg,
				.fd = vdpa_fd_take(fd),
				.result_fd = -1};
	const struct vduse_ioctl *ioctl = call.ioctl;
	struct iovec out = {arg, 0};
	int ret;

	if (c->file < 0) {
		*fd = call.fd;
		return false;
	}
	if (!ioctl || ioctl->control != !c->dev)
		ret = -ENOTTY;
	else if (head->bytes < ioctl->in || head->bytes != vduse_ioctl_bytes(ioctl, arg))
		ret = -EINVAL;
	else
		ret = carry_out(c, &call);
	if (!ret)
		out.iov_len = ioctl->out;
	vdpa_fd_close(&call.fd);
	if (ret != -ECONNRESET)
		reply(c, VDUSE_WIRE_IOCTL, ret, &out, call.result_fd);
	vdpa_fd_close(&call.result_fd);
	return true;
}

/* ---- connections ---- */

static bool handle(struct vdu_conn *c, uint8_t *buf, size_t n, int *fd)
{
	struct vduse_wire_request head;

	if (n < sizeof(head))
		return false;
	memcpy(&head, buf, sizeof(head));
	if (head.reserved || head.bytes != n - sizeof(head))
		return false;
	/* What the peer did not send is 0. */
	memset(buf + n, 0, VDUSE_WIRE_REQUEST_MAX - n);
	if (head.type == VDUSE_WIRE_OPEN)
		return handle_open(c, &head, buf + sizeof(head));
	return head.type == VDUSE_WIRE_IOCTL && handle_ioctl(c, &head, buf + sizeof(head), fd);
}

static void conn_ready(struct vdpa_loop_fd *lfd, uint32_t revents)
{
	struct vdu_conn *c = vdpa_container_of(lfd, struct vdu_conn, lfd);
	struct vdu_endpoint *ep = c->ep;
	/* The argument is looked at as the structure that it is. */
	_Alignas(uint64_t) uint8_t buf[VDUSE_WIRE_REQUEST_MAX + 1];
	struct vdpa_fds fds;
	ssize_t n = vdpa_sock_recv(c->sock, buf, sizeof(buf), &fds, 0);
	int fd = vdpa_fds_take(&fds, 0);
	bool surplus = fds.surplus || fds.truncated || fds.n > 1;

	vdpa_fds_close(&fds);
	if (n == -EAGAIN || n == -EINTR)
		return;
	if (n <= 0) {
		vdu_conn_close(c);
	} else if (surplus || (size_t)n > VDUSE_WIRE_REQUEST_MAX ||
		   !handle(c, buf, (size_t)n, &fd)) {
		ep->refused++;
		vdpa_log_limited(vdpa_ctx_log(ep->ctx), &ep->limit, VDPA_LOG_WARN, "vduse",
				 "a message of %zd bytes is none: its connection is closed", n);
		vdu_conn_close(c);
	}
	vdpa_fd_close(&fd);
}

static int adopt(struct vdu_endpoint *ep, int sock, pid_t pid)
{
	struct vdu_conn *c = calloc(1, sizeof(*c));
	int ret;

	if (!c)
		return -ENOMEM;
	c->ep = ep;
	c->sock = sock;
	c->pid = pid;
	c->file = -1;
	ret = vdpa_loop_fd_add(vdpa_ctx_control(ep->ctx), &c->lfd, sock, EPOLLIN, conn_ready);
	if (ret) {
		free(c);
		return ret;
	}
	list_add_tail(&ep->conns, &c->node);
	ep->nconns++;
	return 0;
}

/* 0: it cannot be said. */
static pid_t peer_of(int sock)
{
	struct ucred peer = {0};
	socklen_t len = sizeof(peer);

	return getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &len) ? 0 : peer.pid;
}

/* One process has half of what all may have, at most. */
static bool has_too_many(struct vdu_endpoint *ep, pid_t pid)
{
	struct vdu_conn *c;
	struct rlimit limit;
	unsigned n = 0, all = VDU_CONNS_MAX;

	/* As vdu_fds_left() counts. */
	if (!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur / 4 < all)
		all = (unsigned)(limit.rlim_cur / 4);
	list_for_each_entry (c, &ep->conns, node)
		n += c->pid == pid;
	return n >= all / 2;
}

/* One too many is sent away; the others need not wait for that. */
static int accepted(struct vdpa_listener *listener, int sock)
{
	struct vdu_endpoint *ep = vdpa_container_of(listener, struct vdu_endpoint, listen);
	pid_t pid = peer_of(sock);
	bool room = ep->nconns < VDU_CONNS_MAX && vdu_fds_left(ep, 2) && !has_too_many(ep, pid);
	int ret = room ? adopt(ep, sock, pid) : -EUSERS;

	if (!room)
		vdpa_log_limited(
			vdpa_ctx_log(ep->ctx), &ep->limit, VDPA_LOG_WARN, "vduse",
			"process %d is sent away: it has half of the open files that there may "
			"be, or there is no room",
			(int)pid);
	if (ret)
		close(sock);
	return ret == -EUSERS ? 0 : ret;
}

/* ---- life ---- */

static void endpoint_close(struct vdu_endpoint *ep)
{
	struct list *node;

	vdpa_listener_close(&ep->listen);
	while ((node = list_first(&ep->conns)))
		vdu_conn_close(list_entry(node, struct vdu_conn, node));
	while ((node = list_first(&ep->devs)))
		vdu_dev_free(list_entry(node, struct vdu_dev, node));
}

static void endpoint_free(void *data)
{
	struct vdu_endpoint *ep = data;

	endpoint_close(ep);
	vdpa_fd_close(&ep->nowhere);
	free(ep);
}

static struct vdu_endpoint *endpoint_new(struct vdpa_ctx *ctx)
{
	struct vdu_endpoint *ep = calloc(1, sizeof(*ep));

	if (!ep)
		return NULL;
	ep->ctx = ctx;
	ep->listen = VDPA_LISTENER_INIT;
	ep->listen.loop = vdpa_ctx_control(ctx);
	ep->listen.log = vdpa_ctx_log(ctx);
	ep->listen.object = ep->listen.what = "vduse";
	ep->listen.accepted = accepted;
	ep->limit = ep->limit_made = (struct vdpa_ratelimit)VDPA_RATELIMIT_INIT;
	list_init(&ep->conns);
	list_init(&ep->devs);
	ep->nowhere = vdpa_eventfd_new();
	if (ep->nowhere >= 0 && !vdpa_ctx_set_data(ctx, key, ep, endpoint_free))
		return ep;
	vdpa_fd_close(&ep->nowhere);
	free(ep);
	return NULL;
}

int vduse_listen(struct vdpa_ctx *ctx, const char *path, const struct vdpa_attr *attrs,
		 struct vdpa_error *err)
{
	struct vdu_endpoint *ep = vdu_endpoint(ctx);

	if (ep && ep->listen.sock.fd >= 0)
		return vdpa_error_set(err, EALREADY, NULL, "VDUSE is served already, at %s",
				      ep->listen.sock.path);
	if (!ep)
		ep = endpoint_new(ctx);
	if (!ep)
		return vdpa_error_set(err, ENOMEM, NULL, "no memory");
	return vdpa_listener_open(&ep->listen, path, SOCK_SEQPACKET, attrs, err);
}

int vduse_unlisten(struct vdpa_ctx *ctx)
{
	struct vdu_endpoint *ep = vdu_endpoint(ctx);
	struct vdu_dev *d;

	if (!ep)
		return 0;
	list_for_each_entry (d, &ep->devs, node) {
		if (d->vdev)
			return -EBUSY;
	}
	endpoint_close(ep);
	return 0;
}

const char *vduse_path(struct vdpa_ctx *ctx)
{
	struct vdu_endpoint *ep = vdu_endpoint(ctx);

	return ep ? ep->listen.sock.path : NULL;
}
