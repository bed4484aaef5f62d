// SPDX-License-Identifier: BSD-3-Clause
/*
 * Who may come in, and how many. When the house is full, the client that has been silent for
 * longest makes room: a thousand silent connections do not keep anybody out. When descriptors run
 * out, a spare one is given up to accept and refuse, since a connection that nobody accepts would
 * keep the loop awake. Where somebody else took that one, too, nobody is looked for for a moment.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/fd.h"
#include "ctl/listen.h"
#include "server_impl.h"

#define ACCEPTS_PER_TURN 16
#define REST_NS 1000000000ull

static void keep_spare(struct server *s)
{
	if (s->spare_fd < 0)
		s->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

int server_new(const struct server_params *params, struct server **out)
{
	struct server *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->p = *params;
	s->rl = (struct vdpa_ratelimit)VDPA_RATELIMIT_INIT;
	list_init(&s->conns);
	s->spare_fd = -1;
	keep_spare(s);
	*out = s;
	return 0;
}

void server_free(struct server *s)
{
	struct conn *c, *tmp;

	if (!s)
		return;
	server_stop_listening(s);
	list_for_each_entry_safe (c, tmp, &s->conns, node)
		conn_close(c);
	vdpa_fd_close(&s->spare_fd);
	free(s);
}

void server_conn_gone(struct server *s)
{
	if (!s->stats.clients && !s->nlisteners && s->p.deserted)
		s->p.deserted(s->p.arg);
}

static void refuse(struct server *s, int fd, const char *why)
{
	char line[192];
	int n = snprintf(
		line, sizeof(line),
		"{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":%d,\"message\":\"%s\"}}\n",
		CTL_E_REQUEST, why);

	s->stats.refused++;
	if (n > 0 && send(fd, line, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		vdpa_log(s->p.log, VDPA_LOG_DEBUG, "ctl", "a refused client does not listen");
	close(fd);
}

static bool is_allowed(struct server *s, int fd)
{
	pid_t pid;
	uid_t uid;
	gid_t gid;

	if (ctl_peer(fd, &pid, &uid, &gid))
		return false;
	if (uid == 0 || uid == geteuid() || (s->p.allow_uid != (uid_t)-1 && uid == s->p.allow_uid))
		return true;
	if (s->p.allow_gid != (gid_t)-1 && ctl_peer_in_group(fd, s->p.allow_gid))
		return true;
	vdpa_log_limited(s->p.log, &s->rl, VDPA_LOG_WARN, "ctl",
			 "refused process %d of user %u: only this daemon's user, root, and who "
			 "--socket-owner names may come",
			 (int)pid, (unsigned)uid);
	return false;
}

/* Close the idle connection that has been silent for longest. */
static bool make_room(struct server *s)
{
	struct conn *c, *oldest = NULL;

	list_for_each_entry (c, &s->conns, node) {
		if (conn_is_idle(c) && (!oldest || c->active_ns < oldest->active_ns))
			oldest = c;
	}
	if (!oldest)
		return false;
	s->stats.evicted++;
	conn_close(oldest);
	return true;
}

static void admit(struct server *s, int fd)
{
	struct conn *c;

	if (!is_allowed(s, fd))
		return refuse(s, fd, "permission denied: this daemon belongs to another user");
	if (s->stats.clients >= s->p.max_clients && !make_room(s))
		return refuse(s, fd, "too many clients are busy: try again later");
	s->stats.accepted++;
	if (conn_new(s, fd, &c))
		s->stats.refused++;
}

static void listen_for(struct server *s, uint32_t events)
{
	for (unsigned i = 0; i < s->nlisteners; i++)
		vdpa_loop_fd_mod(&s->listener[i].lfd, events);
}

static void rested(struct vdpa_loop_timer *timer)
{
	listen_for(vdpa_container_of(timer, struct server, rest), EPOLLIN);
}

static void out_of_fds(struct server *s, int listener)
{
	int fd;

	if (make_room(s))
		return;
	vdpa_fd_close(&s->spare_fd);
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0) {
		refuse(s, fd, "the daemon has no file descriptor left");
	} else {
		listen_for(s, 0);
		vdpa_loop_timer_set(s->p.loop, &s->rest, vdpa_clock_ns() + REST_NS, rested);
	}
	keep_spare(s);
}

static void listener_event(struct vdpa_loop_fd *lfd, uint32_t revents)
{
	struct server *s = vdpa_container_of(lfd, struct listener, lfd)->server;

	(void)revents;
	keep_spare(s);
	for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
		int fd = accept4(lfd->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0) {
			admit(s, fd);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE)
			out_of_fds(s, lfd->fd);
		return;
	}
}

int server_listen(struct server *s, int fd)
{
	struct listener *l;
	int ret;

	if (s->nlisteners == SERVER_LISTENERS_MAX)
		return -ENOSPC;
	l = &s->listener[s->nlisteners];
	l->server = s;
	ret = vdpa_fd_set_nonblock(fd, true);
	if (!ret)
		ret = vdpa_loop_fd_add(s->p.loop, &l->lfd, fd, EPOLLIN, listener_event);
	if (!ret)
		s->nlisteners++;
	return ret;
}

int server_adopt(struct server *s, int fd)
{
	struct conn *c;

	return conn_new(s, fd, &c);
}

void server_stop_listening(struct server *s)
{
	for (unsigned i = 0; i < s->nlisteners; i++)
		vdpa_loop_fd_del(&s->listener[i].lfd);
	vdpa_loop_timer_cancel(&s->rest);
	s->nlisteners = 0;
}

void server_get_stats(const struct server *s, struct server_stats *stats)
{
	*stats = s->stats;
}

void server_broadcast(struct server *s, const char *line, size_t len)
{
	struct conn *c, *tmp;

	list_for_each_entry_safe (c, tmp, &s->conns, node) {
		if (!c->subscribed)
			continue;
		if (ctl_out_waiting(&c->out) + len <= CONN_EVENTS_MAX) {
			conn_send(c, line, len);
			continue;
		}
		vdpa_log_limited(s->p.log, &s->rl, VDPA_LOG_WARN, "ctl",
				 "dropped process %d: it does not read its events", (int)c->pid);
		s->stats.dropped++;
		conn_close(c);
	}
}
