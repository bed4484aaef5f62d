/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One connection, either end: messages are cut out of the stream, sent whole, and told apart. A
 * reply goes to whoever waits for its number, at once and whatever else is going on; commands are
 * queued and handled one after the other, in their order, each to its end.
 *
 * There is one reader: the connection's loop, or, without a loop, whoever waits. A thread that
 * waits for a reply and is not the reader sleeps, or, where it runs a loop, serves the one inside
 * of that meanwhile; the reader itself reads on until its reply is there, and keeps the commands
 * that come in between. So a request of ours can never be mistaken for one of the peer's, and two
 * that cross do not wait for each other.
 */
#ifndef VFIO_USER_CONN_H
#define VFIO_USER_CONN_H

#include <pthread.h>
#include <stdatomic.h>
#include <uvdpa/loop.h>

#include "base/fd.h"
#include "base/list.h"
#include "vfio_user/protocol.h"

struct vfu_conn;

/* A message that came, with its descriptors. */
struct vfu_msg {
	struct list link;
	struct vfu_header head;
	struct vdpa_fds fds;
	size_t len; /* of data */
	uint8_t data[];
};

struct vfu_conn_ops {
	/*
	 * A command: the callee's until vfu_conn_next(), which ends and frees it. The reader's
	 * thread.
	 */
	void (*command)(void *arg, struct vfu_msg *msg);
	/* The connection has ended, and nothing more comes. Once; the reader's thread. */
	void (*closed)(void *arg, int why);
};

/* A message that goes; its size is put in. The descriptors stay the caller's. */
struct vfu_out {
	struct vfu_header head;
	const struct iovec *iov; /* of the payload, at most 4 */
	unsigned niov;
	const int *fds;
	unsigned nfds;
};

/* A request of ours that waits. */
struct vfu_call {
	uint16_t cmd;
	const struct iovec *iov; /* of the payload */
	unsigned niov;
	const int *fds;
	unsigned nfds;
	void *reply; /* payload: at most @reply_max bytes */
	size_t reply_max;
	size_t reply_len;	    /* out */
	struct vdpa_fds *reply_fds; /* NULL: none are expected, and such a reply is an error */
	uint64_t timeout_ns;
};

struct vfu_conn {
	_Atomic unsigned refs;
	struct vdpa_loop *loop; /* NULL: whoever waits reads */
	int fd;
	const struct vfu_conn_ops *ops;
	void *arg;
	bool reentrant;	    /* commands are handled while the reader itself waits for a reply */
	uint64_t budget_ns; /* of slow replies, as in vfio_user.h; 0: without end */

	/* The reader's. */
	struct vdpa_loop_fd lfd;
	struct vdpa_loop_msg wake; /* look at the commands, and at what is to be sent */
	_Atomic bool woken;
	struct vfu_header head;
	struct vdpa_fds fds;
	size_t got; /* bytes of the message that is coming */
	struct vfu_msg *in;
	struct list cmds;
	size_t ncmds, cmd_bytes;
	struct vfu_msg *current;
	bool dispatching, closing, told;

	/* Under the lock: any thread. */
	pthread_mutex_t lock;
	pthread_cond_t answered;
	struct list out, waiters;
	size_t out_bytes;
	uint16_t last_id;
	uint64_t slow_ns, slow_at; /* of the budget: what is used, and when it was looked at */
	int ended_by;		   /* the first reason */
	_Atomic bool dead;
	_Atomic bool paused; /* the reader does not read: too many commands wait */
};

/*
 * @fd becomes the connection's, also on an error. Loop's thread. 0 or -errno. The caller has the
 * first reference.
 */
int vfu_conn_new(struct vdpa_loop *loop, int fd, const struct vfu_conn_ops *ops, void *arg,
		 struct vfu_conn **out);
struct vfu_conn *vfu_conn_get(struct vfu_conn *conn);
void vfu_conn_put(struct vfu_conn *conn);
/*
 * End it: who waits gets -EIO. closed() is called when no command is being handled (at once, or by
 * vfu_conn_next()). Reader's thread.
 */
void vfu_conn_close(struct vfu_conn *conn, int why);
/* The same, from any thread: soon. */
void vfu_conn_abort(struct vfu_conn *conn, int why);
/* The command has ended: the next one. Reader's thread. */
void vfu_conn_next(struct vfu_conn *conn);
/* Without a loop: read for at most @timeout_ns (-1: until something came); 0, -ETIMEDOUT, -EIO. */
int vfu_conn_pump(struct vfu_conn *conn, int64_t timeout_ns);

/* Send one message, or queue it: any thread. 0, -EIO (ended), -ENOMEM, -ENOBUFS (the peer does not
 * read). */
int vfu_conn_send(struct vfu_conn *conn, const struct vfu_out *out);
/* Send and wait: any thread. 0, the errno of the reply, -ETIMEDOUT, -EIO (ended), -EPROTO. A reply
 * by which the budget is used up is the last one: the connection ends with -ETIME. */
int vfu_conn_call(struct vfu_conn *conn, struct vfu_call *call);

#endif
