/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control socket's clients. This file knows lines, not what is in them: a whole line goes to
 * server_params.line, and whatever wants to answer holds a reference to the connection until it
 * has.
 *
 * Control thread only.
 */
#ifndef DAEMON_SERVER_H
#define DAEMON_SERVER_H

#include <stdbool.h>
#include <sys/types.h>
#include <uvdpa/log.h>
#include <uvdpa/loop.h>

struct server;
struct conn;

struct server_params {
	struct vdpa_loop *loop;
	const struct vdpa_log *log;
	unsigned max_clients;
	/* Besides root and our own user; (uid_t)-1, (gid_t)-1: nobody. */
	uid_t allow_uid;
	gid_t allow_gid;
	void (*line)(void *arg, struct conn *conn, char *line, size_t len);
	/* The last connection is gone and there is no listener: nobody can come any more. May be
	 * NULL. */
	void (*deserted)(void *arg);
	void *arg;
};

struct server_stats {
	unsigned clients;
	uint64_t accepted, refused, evicted, dropped;
};

int server_new(const struct server_params *params, struct server **out);
/* Closes all connections; answers that still come for them go nowhere. NULL is allowed. */
void server_free(struct server *s);
/* Accept on @fd, which stays the caller's. 0 or -errno. */
int server_listen(struct server *s, int fd);
/* Serve @fd, a connected socket, which becomes the server's in any case. 0 or -errno. */
int server_adopt(struct server *s, int fd);
/* No new connections from here on. */
void server_stop_listening(struct server *s);
void server_get_stats(const struct server *s, struct server_stats *stats);
/* Send to all subscribed connections. One that does not read is dropped. */
void server_broadcast(struct server *s, const char *line, size_t len);

/* Queue a line. A connection that is closed, or does not read, swallows it. */
void conn_send(struct conn *conn, const char *line, size_t len);
/* There is no memory for an answer: the end of the connection tells as much. */
void conn_hang_up(struct conn *conn);
void conn_subscribe(struct conn *conn);
/* While held, the memory stays, and no more than a few requests of this connection are taken on. */
void conn_hold(struct conn *conn);
void conn_release(struct conn *conn);

#endif
