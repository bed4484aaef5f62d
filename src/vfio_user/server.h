/* SPDX-License-Identifier: BSD-3-Clause */
/* The server's own. All fields are the server's loop's, unless another rule is given. */
#ifndef VFIO_USER_SERVER_H
#define VFIO_USER_SERVER_H

#include <uvdpa/log.h>
#include <uvdpa/vfio_user.h>

#include "base/listener.h"
#include "vfio_user/conn.h"

/* A piece of the client's memory. */
struct vfu_map {
	iova_t iova;
	uint64_t size;
	uint64_t mapped_bytes; /* here; 0: by message */
	struct vdpa_region *region;
};

/* Interrupts of one index; fds under the server's irq_lock. */
struct vfu_irq {
	struct vfio_user_irqs info;
	int *fds;	 /* count; -1: not asked for */
	int *mask_fds;	 /* signalled when one is masked; rarely used */
	int *unmask_fds; /* and unmasked */
};

/* What a handler says: 0 (answer by what is in cmd.reply), -errno, or */
#define VFU_LATER 1 /* vfu_device_done() was given to the device */

/* The command that is being handled; or, without a message, the end of a client. */
struct vfu_cmd_state {
	struct vfu_msg *msg;
	void *reply; /* NULL: none but the header */
	size_t reply_len;
	int fds[VFU_FDS_MAX]; /* with the reply; not owned */
	unsigned nfds;
	/* Goes on after the device's part, and says what a handler says; NULL: answer. */
	int (*then)(struct vfio_user_server *srv, int result);
	uint64_t at; /* the handler's */
	void *p;     /* the handler's */
	bool in_handler, over;
	int result; /* of the device's part */
};

struct vfio_user_server {
	struct vdpa_loop *loop;
	struct vfio_user_config config;
	char *name;
	const struct vfio_user_ops *ops;
	void *arg;
	struct vfio_user_region regions[VFIO_USER_REGIONS_MAX];
	struct vfu_irq irqs[VFIO_USER_IRQS_MAX];
	pthread_mutex_t irq_lock;
	struct vdpa_listener listen;
	struct vdpa_loop_msg start, stop, over; /* between the control thread and the loop */
	struct vdpa_done freed;
	bool stopping;
	struct vdpa_ratelimit limit;

	/* The client. */
	struct vfu_conn *conn; /* NULL: none */
	bool versioned;
	uint32_t peer_xfer, peer_fds;
	void *maps; /* tsearch(3): struct vfu_map by address */
	unsigned nmaps;
	uint64_t mapped_bytes; /* of all of them */
	struct vfu_cmd_state cmd;
	struct vdpa_loop_msg cmd_over;
	enum vfio_user_mig_state mig_state, mig_next;
	struct vdpa_dirty_log *dirty; /* NULL: nothing is logged */

	_Atomic uint64_t clients, commands, refused, reads, writes, posted, maps_now;
};

#define vfu_count(counter) atomic_fetch_add_explicit(&(counter), 1, memory_order_relaxed)

/* dispatch.c */
extern const struct vfu_conn_ops vfu_server_conn_ops;
/* For the device: its part has ended. Any thread. */
struct vdpa_done vfu_device_done(struct vfio_user_server *srv);
/* @r of the operation that was given vfu_device_done(), for the handler to return. */
int vfu_later(int r);
/* Room for the reply's payload, zeroed; NULL: no memory. */
void *vfu_reply(struct vfio_user_server *srv, size_t len);

/* version.c */
int vfu_version(struct vfio_user_server *srv, struct vfu_msg *msg);

/* dma.c */
int vfu_dma_map(struct vfio_user_server *srv, struct vfu_msg *msg);
int vfu_dma_unmap(struct vfio_user_server *srv, struct vfu_msg *msg);
/* One after the other; for a client that asked, or at its end. A then(). */
int vfu_dma_unmap_all(struct vfio_user_server *srv, int result);

/* info.c */
int vfu_get_info(struct vfio_user_server *srv, struct vfu_msg *msg);
int vfu_get_region_info(struct vfio_user_server *srv, struct vfu_msg *msg);
int vfu_get_region_io_fds(struct vfio_user_server *srv, struct vfu_msg *msg);
int vfu_get_irq_info(struct vfio_user_server *srv, struct vfu_msg *msg);

/* access.c */
int vfu_region_read(struct vfio_user_server *srv, struct vfu_msg *msg);
int vfu_region_write(struct vfio_user_server *srv, struct vfu_msg *msg);
int vfu_region_write_multi(struct vfio_user_server *srv, struct vfu_msg *msg);
int vfu_reset(struct vfio_user_server *srv, struct vfu_msg *msg);

/* irq.c */
int vfu_irqs_init(struct vfio_user_server *srv);
void vfu_irqs_free(struct vfio_user_server *srv);
/* The client has gone. */
void vfu_irqs_forget(struct vfio_user_server *srv);
int vfu_set_irqs(struct vfio_user_server *srv, struct vfu_msg *msg);

/* migration.c */
int vfu_feature(struct vfio_user_server *srv, struct vfu_msg *msg);
int vfu_mig_data_read(struct vfio_user_server *srv, struct vfu_msg *msg);
int vfu_mig_data_write(struct vfio_user_server *srv, struct vfu_msg *msg);

/* dirty.c */
int vfu_dirty_start(struct vfio_user_server *srv, struct vfu_msg *msg);
int vfu_dirty_stop(struct vfio_user_server *srv, struct vfu_msg *msg);
int vfu_dirty_report(struct vfio_user_server *srv, struct vfu_msg *msg);
void vfu_dirty_forget(struct vfio_user_server *srv);

/* dispatch.c: run @fn as if it were a handler, for the end of a client. */
void vfu_run(struct vfio_user_server *srv, int (*fn)(struct vfio_user_server *srv, int result));
/* server.c: nothing of the client is left. */
void vfu_session_over(struct vfio_user_server *srv);

#endif
