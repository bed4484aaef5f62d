/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The vhost-user front end's own. Layers, bottom up:
 *
 *	frontend_msg.c      one message out, one reply in, each with a deadline; any peer
 *	frontend_backend.c  the channel on which the back end asks
 *	frontend_conn.c     connect, negotiate, lose the connection, come back
 *	frontend_mem.c      memory table, slots, IOTLB
 *	frontend_ring.c     rings, their eventfds, the in-flight area
 *	frontend_log.c      dirty log
 *	frontend.c          the virtio device on top
 *
 * Everything belongs to the control thread, but fe_ring.kick (any thread signals it).
 */
#ifndef DRIVER_VHOST_USER_FRONTEND_H
#define DRIVER_VHOST_USER_FRONTEND_H

#include "base/fd.h"
#include "driver/vhost_user/protocol.h"
#include "driver/virtio/device.h"
#include <uvdpa/vhost_user.h>

/* ---- raw layer ---- */

/** One end of a socket that speaks the protocol. */
struct fe_channel {
	int sock;
	uint64_t timeout_ns;
	/* O: something else to look after while waiting: an fd that is readable (-1: none). */
	int (*other_fd)(void *arg);
	void (*other)(void *arg);
	void *arg;
};

/** A message, with its payload. */
struct fe_msg {
	struct vhost_user_hdr hdr;
	union vhost_user_payload p;
	struct vdpa_fds fds; /* received: the caller's to close */
};

/** Bytes of payload are @size. Descriptors stay the caller's. 0, -ETIMEDOUT, -EPIPE, ... */
int fe_send(struct fe_channel *ch, const struct fe_msg *msg, const int *fds, unsigned nfds);
/**
 * One whole message; header checked for version, flags, direction and size, nothing else. On error
 * nothing is left open. -ECONNRESET: end of stream; -EPROTO: malformed; -ETIMEDOUT.
 */
int fe_recv(struct fe_channel *ch, struct fe_msg *msg, bool reply);
/** What a request expects of its reply. */
struct fe_expect {
	uint32_t min, max; /* bytes of payload */
	unsigned max_fds;
};
/** Send @msg and wait for the reply to it, into @msg. */
int fe_transact(struct fe_channel *ch, struct fe_msg *msg, const int *fds, unsigned nfds,
		const struct fe_expect *expect);

/* ---- the front end ---- */

struct fe_ring {
	struct virtio_vq *vq; /* NULL: not set up */
	bool ready;	      /* set up, and not reset since */
	struct vdpa_loop_fd call_watch, err_watch;
	int kick, call, err;
	bool started;
};

/* A region that the device is given. */
struct fe_slot {
	iova_t iova;
	gpa_t gpa;
	struct vdpa_region *region;
};

struct fe {
	struct virtio_device vd;
	char *path;
	uint64_t timeout_ns, protocol_off;
	uint32_t queue_size_max;
	bool iommu, reconnect;

	/* Connection. */
	struct fe_channel ch, backend;
	struct vdpa_loop_fd sock_watch, backend_watch;
	struct vdpa_loop_timer timer;
	struct vdpa_loop_msg lost_msg;
	bool connected, lost, ever_connected, closing;
	bool transacting; /* waiting for a reply: what the back end asks now must not wait as well
			   */
	unsigned reconnects;
	uint64_t features; /* offered */
	uint64_t protocol; /* negotiated */
	unsigned queues;   /* virtqueues */
	unsigned max_slots;

	/* Device, as it has to be after a reconnect. */
	uint8_t status;
	bool features_set;
	uint64_t driver_features;
	struct fe_slot *slots;
	unsigned nslots;
	struct fe_ring *rings; /* queues */
	int inflight_fd;
	struct vhost_user_inflight inflight;

	/* Dirty log. */
	struct vdpa_dirty_log *log;
	int log_fd;
	uint64_t log_bytes;

	struct vdpa_ratelimit rl;
};

static inline struct fe *to_fe(struct virtio_device *dev)
{
	return vdpa_container_of(dev, struct fe, vd);
}

static inline bool fe_has(const struct fe *fe, unsigned protocol_feature)
{
	return fe->protocol >> protocol_feature & 1;
}

extern const struct virtio_config_ops vhost_user_fe_ops;

/* frontend_conn.c */
/** Requests on the main channel. An error that says that the peer cannot be talked to ends the
 * connection. */
int fe_get(struct fe *fe, struct fe_msg *msg, const struct fe_expect *expect);
int fe_get_u64(struct fe *fe, uint32_t request, uint64_t *value);
/** Without reply: with REPLY_ACK its acknowledgment is waited for. -EREMOTEIO: the back end
 * refuses. */
int fe_set(struct fe *fe, struct fe_msg *msg, const int *fds, unsigned nfds);
int fe_set_u64(struct fe *fe, uint32_t request, uint64_t value);
int fe_connect(struct fe *fe, int fd, struct vdpa_error *err);
void fe_lose(struct fe *fe, const char *why);
void fe_close(struct fe *fe);
int fe_send_features(struct fe *fe);

/* frontend_backend.c */
int fe_backend_open(struct fe *fe);
void fe_backend_close(struct fe *fe);
void fe_backend_serve(struct fe *fe);

/* frontend_mem.c */
int fe_map(struct virtio_device *dev, iova_t iova, struct vdpa_region *region);
int fe_unmap(struct virtio_device *dev, iova_t iova, struct vdpa_region *region,
	     const struct vdpa_done *done);
int fe_mem_restore(struct fe *fe);
int fe_iotlb_miss(struct fe *fe, iova_t iova);
/** Address that the back end is told for @iova in SET_VRING_ADDR. */
int fe_ring_addr(struct fe *fe, iova_t iova, uint64_t *addr);
int fe_slot_gpa(struct fe *fe, iova_t iova, uint64_t bytes, gpa_t *gpa);

/* frontend_ring.c */
/** While the device runs the ring starts at once. */
int fe_ring_setup(struct fe *fe, struct virtio_vq *vq, struct vdpa_error *err);
/** Stopped and drained by the back end, or there is none; ready to be set up again. */
void fe_ring_reset(struct fe *fe, struct virtio_vq *vq);
/** Frees its descriptors: nobody kicks any more. */
void fe_ring_close(struct fe_ring *ring);
int fe_rings_start(struct fe *fe);
void fe_rings_stop(struct fe *fe);
int fe_rings_restore(struct fe *fe);

/* frontend_log.c */
void fe_log_close(struct fe *fe);
int fe_log_restore(struct fe *fe);

#endif
