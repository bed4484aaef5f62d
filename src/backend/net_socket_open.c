// SPDX-License-Identifier: BSD-3-Clause
/* Frames over a socket: what was asked for, and the end of it (net_socket.h). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "backend/net_socket.h"

/* ---- by descriptor ---- */

static int take_fd(struct net_sock *ns, int fd, struct vdpa_error *err)
{
	int listening = 0, own;
	socklen_t len = sizeof(int);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &ns->type, &len) ||
	    (ns->type != SOCK_STREAM && ns->type != SOCK_DGRAM))
		return vdpa_error_set(err, EINVAL, ns->name,
				      "fd %d is not a stream or datagram socket", fd);
	getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len);
	own = vdpa_fd_dup(fd);
	if (own < 0)
		return vdpa_error_set(err, -own, ns->name, "fd %d: %s", fd, strerror(-own));
	if (!listening)
		return net_socket_connected(ns, own);
	ns->server = true;
	ns->listen.sock.fd = own;
	return vdpa_fd_set_nonblock(own, true);
}

/* ---- by path ---- */

static int use_path(struct net_sock *ns, const struct vdpa_attr *attrs, struct vdpa_error *err)
{
	const char *path = vdpa_attr_get(attrs, "path"), *local = vdpa_attr_get(attrs, "local");
	const char *type = vdpa_attr_get(attrs, "type");
	bool listens = vdpa_attr_bool(attrs, "listen", false);
	int r;

	ns->type = type && !strcmp(type, "dgram") ? SOCK_DGRAM : SOCK_STREAM;
	if (ns->type == SOCK_DGRAM && (listens || !local))
		return vdpa_error_set(err, EINVAL, ns->name,
				      "datagrams need path, of the peer, and local, where the peer "
				      "sends to; nobody listens");
	if (ns->type == SOCK_STREAM && local)
		return vdpa_error_set(err, EINVAL, ns->name, "local is for datagrams only");
	ns->server = listens;
	if (listens)
		return vdpa_unix_listen(&ns->listen.sock, path, SOCK_STREAM, attrs, err);
	ns->client = true;
	r = vdpa_unix_address(path, &ns->peer, err);
	return r || !local ? r : vdpa_unix_address(local, &ns->local, err);
}

/* ---- both ---- */

static int begin(struct net_sock *ns, const struct vdpa_attr *attrs, struct vdpa_error *err)
{
	const char *path = vdpa_attr_get(attrs, "path");
	int r = path ? use_path(ns, attrs, err)
		     : take_fd(ns, (int)vdpa_attr_u64(attrs, "fd", 0), err);

	if (r)
		return r;
	r = net_socket_begin(ns);
	return r ? vdpa_error_set(err, -r, ns->name, "%s: cannot connect: %s",
				  path ? path : "socket", strerror(-r))
		 : 0;
}

static struct net_sock *sock_new(const struct backend_open_params *params)
{
	struct net_sock *ns = calloc(1, sizeof(*ns));

	if (!ns)
		return NULL;
	ns->be.ops = &net_socket_ops;
	ns->log = params->log;
	ns->control = vdpa_loop_group_control(params->loops);
	ns->limit = (struct vdpa_ratelimit)VDPA_RATELIMIT_INIT;
	ns->retry_ns = vdpa_attr_u64(params->attrs, "reconnect", 1000) * 1000000;
	ns->fd = -1;
	net_socket_listen_init(ns);
	pthread_mutex_init(&ns->lock, NULL);
	ns->wake_control = vdpa_eventfd_new();
	ns->wake_port = vdpa_eventfd_new();
	ns->name = strdup(params->name);
	ns->listen.object = ns->name;
	if (ns->wake_control >= 0 && ns->wake_port >= 0 && ns->name)
		return ns;
	net_socket_close(&ns->be);
	return NULL;
}

int net_socket_open(const struct backend_open_params *params, struct net_backend **out,
		    struct vdpa_error *err)
{
	struct net_sock *ns;
	int r;

	if (!vdpa_attr_get(params->attrs, "path") == !vdpa_attr_get(params->attrs, "fd"))
		return vdpa_error_set(err, EINVAL, params->name,
				      "backend socket needs either path or fd");
	ns = sock_new(params);
	if (!ns)
		return vdpa_error_set(err, ENOMEM, params->name, "no memory for the backend");
	r = begin(ns, params->attrs, err);
	if (r) {
		net_socket_close(&ns->be);
		return r;
	}
	*out = &ns->be;
	return 0;
}

void net_socket_close(struct net_backend *be)
{
	struct net_sock *ns = to_sock(be);

	ns->changed = NULL;
	vdpa_loop_timer_cancel(&ns->retry);
	vdpa_loop_fd_del(&ns->end_lfd);
	vdpa_loop_fd_del(&ns->wake_lfd);
	vdpa_listener_close(&ns->listen);
	vdpa_fd_close(&ns->fd);
	vdpa_fd_close(&ns->wake_control);
	vdpa_fd_close(&ns->wake_port);
	net_socket_port_free(ns->port);
	pthread_mutex_destroy(&ns->lock);
	free(ns->name);
	free(ns);
}
