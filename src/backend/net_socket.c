// SPDX-License-Identifier: BSD-3-Clause
/* Frames over a socket: the connection, on the control loop (net_socket.h). */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "backend/net_socket.h"

static void retry(struct vdpa_loop_timer *timer);

/* ---- the link ---- */

static void show(struct net_sock *ns, bool up)
{
	if (ns->up == up)
		return;
	ns->up = up;
	if (ns->changed)
		ns->changed(ns->arg);
}

static void hand_over(struct net_sock *ns, int fd)
{
	pthread_mutex_lock(&ns->lock);
	vdpa_fd_close(&ns->fd);
	ns->fd = fd;
	ns->life++;
	ns->lost = false;
	ns->why = NULL;
	pthread_mutex_unlock(&ns->lock);
	vdpa_eventfd_signal(ns->wake_port);
}

/* ---- the end of a connection ---- */

void net_socket_disconnect(struct net_sock *ns)
{
	vdpa_loop_fd_del(&ns->end_lfd);
	hand_over(ns, -1);
	show(ns, false);
}

static void again(struct net_sock *ns)
{
	if (ns->client && ns->retry_ns)
		vdpa_loop_timer_set(ns->control, &ns->retry, vdpa_clock_ns() + ns->retry_ns, retry);
	else if (ns->server)
		vdpa_listener_resume(&ns->listen);
}

static void ended(struct net_sock *ns, const char *why)
{
	vdpa_log_limited(ns->log, &ns->limit, VDPA_LOG_INFO, ns->name, "socket: %s", why);
	net_socket_disconnect(ns);
	/* A server takes the next one at once, a client waits: who hangs up may do so for ever. */
	again(ns);
}

static void peer_gone(struct vdpa_loop_fd *lfd, uint32_t revents)
{
	ended(vdpa_container_of(lfd, struct net_sock, end_lfd), "the peer has gone");
}

/* ---- the beginning ---- */

int net_socket_connected(struct net_sock *ns, int fd)
{
	/* Datagrams have no end that epoll would tell; the port finds out. */
	int r = ns->type == SOCK_STREAM
			? vdpa_loop_fd_add(ns->control, &ns->end_lfd, fd, EPOLLRDHUP, peer_gone)
			: 0;

	if (r) {
		close(fd);
		return r;
	}
	ns->connects++;
	ns->told = false;
	hand_over(ns, fd);
	show(ns, true);
	return 0;
}

/* A datagram socket is bound before it is connected: a peer that answers has to know whom. */
static int connect_one(struct net_sock *ns)
{
	int fd, r = 0;

	if (ns->local.sun_path[0]) {
		vdpa_unix_close(&ns->listen.sock);
		r = vdpa_unix_listen(&ns->listen.sock, ns->local.sun_path, ns->type, NULL, NULL);
		fd = r ? r : vdpa_fd_take(&ns->listen.sock.fd);
	} else {
		fd = vdpa_unix_socket(ns->type);
	}
	if (fd < 0)
		return fd;
	if (connect(fd, (struct sockaddr *)&ns->peer, sizeof(ns->peer)))
		r = -errno;
	if (r) {
		close(fd);
		return r;
	}
	return net_socket_connected(ns, fd);
}

static int try_connect(struct net_sock *ns)
{
	int r = connect_one(ns);

	if (!r)
		return 0;
	if (!ns->told)
		vdpa_log(ns->log, VDPA_LOG_INFO, ns->name, "socket: %s: %s%s", ns->peer.sun_path,
			 strerror(-r), ns->retry_ns ? ", trying again" : "");
	ns->told = true;
	again(ns);
	return r;
}

/* ---- server ---- */

/* One at a time; the next waits in the listener until this one is gone. */
static bool ready(struct vdpa_listener *listener)
{
	return vdpa_container_of(listener, struct net_sock, listen)->fd < 0;
}

static int accepted(struct vdpa_listener *listener, int fd)
{
	return net_socket_connected(vdpa_container_of(listener, struct net_sock, listen), fd);
}

void net_socket_listen_init(struct net_sock *ns)
{
	ns->listen = VDPA_LISTENER_INIT;
	ns->listen.loop = ns->control;
	ns->listen.log = ns->log;
	ns->listen.what = "socket";
	ns->listen.ready = ready;
	ns->listen.accepted = accepted;
}

static void retry(struct vdpa_loop_timer *timer)
{
	try_connect(vdpa_container_of(timer, struct net_sock, retry));
}

/* ---- what the port says ---- */

static void port_says(struct vdpa_loop_fd *lfd, uint32_t revents)
{
	struct net_sock *ns = vdpa_container_of(lfd, struct net_sock, wake_lfd);
	const char *why;
	bool lost;

	vdpa_eventfd_drain(lfd->fd);
	pthread_mutex_lock(&ns->lock);
	lost = ns->lost && ns->fd >= 0;
	why = ns->why;
	ns->lost = false;
	pthread_mutex_unlock(&ns->lock);
	if (lost)
		ended(ns, why);
}

int net_socket_begin(struct net_sock *ns)
{
	int r = vdpa_loop_fd_add(ns->control, &ns->wake_lfd, ns->wake_control, EPOLLIN, port_says);

	if (r || (!ns->client && !ns->server))
		return r;
	if (ns->server)
		return vdpa_listener_resume(&ns->listen);
	r = try_connect(ns);
	/* Not there, or not yet; anything else is no better later. */
	return ns->retry_ns && (r == -ENOENT || r == -ECONNREFUSED || r == -EAGAIN) ? 0 : r;
}

/* ---- what it is ---- */

static void sock_get_info(struct net_backend *be, struct net_backend_info *info)
{
	*info = (struct net_backend_info){.link_up = to_sock(be)->up, .max_pairs = 1};
}

static void sock_watch(struct net_backend *be, void (*changed)(void *arg), void *arg)
{
	struct net_sock *ns = to_sock(be);

	ns->changed = changed;
	ns->arg = arg;
}

/* In a stream only the port knows where a frame may begin. */
static int sock_announce(struct net_backend *be, const uint8_t mac[6])
{
	struct net_sock *ns = to_sock(be);

	pthread_mutex_lock(&ns->lock);
	memcpy(ns->mac, mac, 6);
	ns->announce = true;
	pthread_mutex_unlock(&ns->lock);
	return vdpa_eventfd_signal(ns->wake_port);
}

static void sock_show(struct net_backend *be,
		      void (*emit)(void *arg, const char *key, const char *value), void *arg)
{
	struct net_sock *ns = to_sock(be);
	char text[24];

	emit(arg, "type", ns->type == SOCK_STREAM ? "stream" : "dgram");
	if (ns->client)
		emit(arg, "connects_to", ns->peer.sun_path);
	if (ns->server && ns->listen.sock.path)
		emit(arg, "listens_on", ns->listen.sock.path);
	emit(arg, "connected", ns->up ? "yes" : "no");
	snprintf(text, sizeof(text), "%u", ns->connects);
	emit(arg, "connections", text);
	snprintf(text, sizeof(text), "%" PRIu64, atomic_load(&ns->bad_frames));
	emit(arg, "bad_frames", text);
	net_io_show(&ns->stats, emit, arg);
}

static const char *const types[] = {"stream", "dgram", NULL};

static const struct vdpa_attr_spec sock_attrs[] = {
	{.name = "path", .type = VDPA_ATTR_PATH, .help = "UNIX socket of the peer"},
	{.name = "fd",
	 .type = VDPA_ATTR_FD,
	 .help = "instead: a connected socket, stream or datagram, or one that listens"},
	{.name = "type",
	 .type = VDPA_ATTR_ENUM,
	 .choices = types,
	 .help = "of the socket at path (default stream)"},
	{.name = "listen",
	 .type = VDPA_ATTR_BOOL,
	 .help = "make the socket at path, and wait for the peer (default off: connect)"},
	{.name = "socket_mode",
	 .type = VDPA_ATTR_STRING,
	 .help = "octal, of the socket that listens"},
	{.name = "socket_owner",
	 .type = VDPA_ATTR_STRING,
	 .help = "USER, USER:GROUP or :GROUP of the socket that listens"},
	{.name = "local",
	 .type = VDPA_ATTR_PATH,
	 .help = "datagrams: our own socket, for the peer to send to"},
	{.name = "reconnect",
	 .type = VDPA_ATTR_U64,
	 .max = 3600000,
	 .help = "milliseconds between tries to connect (default 1000; 0: the first one has to "
		 "succeed, and is the last)"},
	{0},
};

const struct net_backend_ops net_socket_ops = {
	.name = "socket",
	.help = "another process, by a socket: passt, or QEMU's -netdev stream and dgram",
	.attrs = sock_attrs,
	.open = net_socket_open,
	.close = net_socket_close,
	.get_info = sock_get_info,
	.port_open = net_socket_port_open,
	.port_close = net_socket_port_close,
	.send = net_io_send,
	.resume = net_io_resume,
	.poll = net_io_poll,
	.announce = sock_announce,
	.watch = sock_watch,
	.show = sock_show,
};
