/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of a connection share. */
#ifndef VFIO_USER_CONN_IMPL_H
#define VFIO_USER_CONN_IMPL_H

#include "vfio_user/conn.h"

/* Somebody who waits for a reply; on its stack. Under the lock. */
struct vfu_waiter {
	struct list link;
	struct vfu_call *call;
	uint16_t id;
	bool done;
	int result;
	struct vdpa_loop *urgent; /* what its thread serves meanwhile; NULL: it only waits */
};

/* conn.c: have the reader look; any thread. */
void vfu_conn_wake(struct vfu_conn *conn);
/* Handle the commands that wait. Reader's thread. */
void vfu_conn_dispatch(struct vfu_conn *conn);

/* conn_send.c: 0 or -errno; what is sent by the reader when it can. */
int vfu_conn_flush(struct vfu_conn *conn);
bool vfu_conn_unsent(struct vfu_conn *conn);
void vfu_conn_drop_unsent(struct vfu_conn *conn);

/* conn_call.c: a reply came; takes it. 0, or -EPROTO: nobody asked. All who wait: -EPROTO for
 * that, else -EIO. */
int vfu_conn_reply(struct vfu_conn *conn, struct vfu_msg *msg);
void vfu_conn_fail_waiters(struct vfu_conn *conn, int why);

/*
 * conn_read.c: read what is there. 1: something came; 0: nothing is there; or -errno (0 bytes:
 * -ECONNRESET).
 */
int vfu_conn_read(struct vfu_conn *conn);
/* Wait for the socket (and send) until @deadline_ns (UINT64_MAX: without end), then read; what is
 * urgent on the reader's thread goes on. As above; -ETIMEDOUT. */
int vfu_conn_read_wait(struct vfu_conn *conn, uint64_t deadline_ns);
void vfu_msg_free(struct vfu_msg *msg);

#endif
