/* SPDX-License-Identifier: BSD-3-Clause */
/* Inside of server.c and conn.c. */
#ifndef DAEMON_SERVER_IMPL_H
#define DAEMON_SERVER_IMPL_H

#include "base/list.h"
#include "ctl/frame.h"
#include "ctl/proto.h"
#include "server.h"

/* Requests of one connection that are under way at a time; the rest waits in its socket. */
#define CONN_PENDING_MAX 16
/* Requests taken from one connection before others have their turn. */
#define CONN_LINES_PER_TURN 16
/* With so much unread output no further request is taken on. */
#define CONN_OUT_SOFT (64u << 10)
/* A subscriber with so much unread output is dropped. */
#define CONN_EVENTS_MAX (1u << 20)

struct conn {
	struct list node;      /* server's; a list of its own when closed */
	struct server *server; /* NULL: closed */
	struct vdpa_loop_fd lfd;
	struct vdpa_loop_msg more;
	struct ctl_in in;
	struct ctl_out out;
	int fd;
	unsigned refs;	  /* the server's, one per call under way, one of a posted message */
	unsigned pending; /* calls under way */
	bool subscribed, eof, posted;
	uint64_t active_ns;
	pid_t pid;
	uid_t uid;
};

#define SERVER_LISTENERS_MAX 8

struct listener {
	struct vdpa_loop_fd lfd;
	struct server *server;
};

struct server {
	struct server_params p;
	struct list conns;
	struct listener listener[SERVER_LISTENERS_MAX];
	unsigned nlisteners;
	int spare_fd; /* given up for a moment to refuse somebody when descriptors run out; or -1 */
	struct vdpa_loop_timer rest; /* until listeners are looked at again */
	struct server_stats stats;
	struct vdpa_ratelimit rl;
};

/* Takes @fd over in any case. */
int conn_new(struct server *s, int fd, struct conn **out);
void conn_close(struct conn *conn);
/* May it be closed to make room? */
bool conn_is_idle(const struct conn *conn);
/* A connection went away by itself. */
void server_conn_gone(struct server *s);

#endif
