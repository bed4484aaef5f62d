/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A listening socket on a loop. Who has it says of each connection what becomes of it, and may let
 * further ones wait in the socket's backlog.
 *
 * Without free descriptors or memory a listening socket stays readable: then nothing is accepted
 * for a second, and the log is told, not often.
 */
#ifndef BASE_LISTENER_H
#define BASE_LISTENER_H

#include <uvdpa/log.h>
#include <uvdpa/loop.h>
#include "base/unix.h"

struct vdpa_listener {
	/* Set before it is resumed for the first time. */
	struct vdpa_loop *loop;
	const struct vdpa_log *log; /* NULL: none */
	const char *object, *what;  /* for the log: "d0", "vhost-user" */
	/*
	 * A connection, close-on-exec and not blocking; @fd is the callee's whatever it returns.
	 * -errno: no memory, or alike; told and tried again as above. May pause.
	 */
	int (*accepted)(struct vdpa_listener *listener, int fd);
	/* O: may somebody come in now? False: paused. */
	bool (*ready)(struct vdpa_listener *listener);

	struct vdpa_unix sock; /* .fd -1: none; the socket may have been made by others */
	struct vdpa_loop_fd lfd;
	struct vdpa_loop_timer retry;
	struct vdpa_ratelimit limit;
};

/* Ready for vdpa_listener_resume() and _close(); the members above are set by the caller then. */
#define VDPA_LISTENER_INIT                                                                         \
	((struct vdpa_listener){.sock = {.fd = -1}, .limit = VDPA_RATELIMIT_INIT})

/* vdpa_unix_listen(), then vdpa_listener_resume(): 0 or -errno with @err, and then it is closed. */
int vdpa_listener_open(struct vdpa_listener *listener, const char *path, int type,
		       const struct vdpa_attr *attrs, struct vdpa_error *err);
/*
 * Take connections, from now on or again; nothing when it does or has no socket. 0, or -errno, and
 * it is tried again in a second. The loop's thread, as are the next two.
 */
int vdpa_listener_resume(struct vdpa_listener *listener);
/* Take none until resumed; those that come wait. */
void vdpa_listener_pause(struct vdpa_listener *listener);
/* Pause for good: the loop knows nothing of it any more. */
void vdpa_listener_stop(struct vdpa_listener *listener);
/* Stop, close the socket and remove its file. */
void vdpa_listener_close(struct vdpa_listener *listener);

#endif
