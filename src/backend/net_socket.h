/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames over a socket, to another process. A stream has each frame's length in front of it, four
 * bytes, big endian: what passt speaks, and QEMU's "-netdev stream". In datagrams a frame is a
 * datagram: "-netdev dgram". Frames come without a virtio header, so nothing is left to others.
 *
 * The control loop has the connection: it connects, accepts, notices the end, and shows the link.
 * The port, on its own loop, reads and writes a duplicate of the descriptor. They tell each other
 * that something is new by an eventfd each, watched for as long as its reader lives; what is new is
 * under the lock. So there is no message that could outlive its receiver.
 *
 * Who attacks: the peer. It may send lengths that cannot be (the connection ends), stop reading
 * (the guest's packets wait in its ring), stop in the middle of a frame, or go away (what is sent
 * meanwhile is dropped and counted, the driver sees no link; what came before is delivered).
 */
#ifndef BACKEND_NET_SOCKET_H
#define BACKEND_NET_SOCKET_H

#include <pthread.h>
#include <sys/socket.h>
#include "backend/net_io.h"
#include "base/fd.h"
#include "base/listener.h"

#define SOCK_LENGTH_BYTES 4u
#define SOCK_FRAME_MAX (NET_IO_BYTES - NET_HDR_BYTES)
#define SOCK_STREAM_BYTES (256u << 10) /* read at a time */

struct sock_port;

struct net_sock {
	struct net_backend be;
	/* Set at birth. */
	const struct vdpa_log *log;
	struct vdpa_loop *control;
	char *name; /* of the device */
	struct sockaddr_un peer, local;
	int type; /* SOCK_STREAM or SOCK_DGRAM */
	bool client, server;
	uint64_t retry_ns; /* 0: once */

	/* Control. */
	struct vdpa_listener
		listen; /* datagrams: the file only, the descriptor is the connection's */
	struct vdpa_loop_fd end_lfd, wake_lfd;
	struct vdpa_loop_timer retry;
	struct vdpa_ratelimit limit;
	bool up, told;
	unsigned connects;
	void (*changed)(void *arg);
	void *arg;

	/* Readable: look again. Written by the other one. */
	int wake_control, wake_port;

	/* Under the lock. */
	pthread_mutex_t lock;
	int fd;	       /* of the connection; -1: none */
	unsigned life; /* counts what happened to it */
	bool lost;     /* the port: the peer is gone, or talks nonsense */
	const char *why;
	bool announce;
	uint8_t mac[6];

	/* There is one port at a time. What it has read of a stream, and what it has sent of a
	 * frame, the next one goes on with. */
	struct sock_port *port;

	_Atomic uint64_t bad_frames;
	struct net_io_stats stats;
};

static inline struct net_sock *to_sock(struct net_backend *be)
{
	return vdpa_container_of(be, struct net_sock, be);
}

/* net_socket_open.c */
int net_socket_open(const struct backend_open_params *params, struct net_backend **out,
		    struct vdpa_error *err);
void net_socket_close(struct net_backend *be);

/* net_socket.c: control. */
/* Begin: take connections, or make the first one. 0 or -errno. */
int net_socket_begin(struct net_sock *ns);
/* For a new one, whether it will listen or not. */
void net_socket_listen_init(struct net_sock *ns);
/* A connection (taken over in any case). 0 or -errno. */
int net_socket_connected(struct net_sock *ns, int fd);
/* The connection, if any, is no more; the port is told. */
void net_socket_disconnect(struct net_sock *ns);

/* net_socket_port.c */
int net_socket_port_open(struct net_backend *be, const struct net_port_config *config,
			 struct net_port **out);
void net_socket_port_close(struct net_port *port);
void net_socket_port_free(struct sock_port *sp);

#endif
