/* SPDX-License-Identifier: BSD-3-Clause */
/* The client's own: one thread's. */
#ifndef VFIO_USER_CLIENT_H
#define VFIO_USER_CLIENT_H

#include <uvdpa/vfio_user.h>

#include "vfio_user/conn.h"

/* Memory that is reached by message. */
struct vfu_client_mem {
	struct list link;
	struct vfio_user_mem mem;
};

struct vfio_user_client {
	struct vfu_conn *conn;
	uint64_t timeout_ns;
	uint32_t peer_xfer;
	struct list mems;
};

/* A request whose payload is in @iov, and its answer: 0 or -errno. */
struct vfu_client_call {
	uint16_t cmd;
	struct iovec iov[3];
	unsigned niov;
	const int *fds;
	unsigned nfds;
	void *reply;
	size_t reply_min, reply_max;
	size_t reply_len; /* out */
	struct vdpa_fds *reply_fds;
};

int vfu_client_call(struct vfio_user_client *c, struct vfu_client_call *call);

#endif
