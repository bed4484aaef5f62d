/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of the vhost-user server share.
 *
 * Everything belongs to the control thread, but what is marked [any]. One front end at a time: the
 * next one waits in the listener's backlog until the device has been reset.
 *
 * A message is handled to its end before the next one of its session is read. When the handler has
 * to wait (a drain, an unmap, a reset) it returns VU_DEFERRED, the socket is not read meanwhile,
 * and other sessions go on. A session whose peer goes away while it waits is taken down when the
 * waiting ends.
 */
#ifndef VHOST_USER_SERVER_H
#define VHOST_USER_SERVER_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>
#include <uvdpa/vdpa.h>
#include <uvdpa/vhost_user.h>
#include <uvdpa/vhost_vdpa.h>

#include "base/fd.h"
#include "base/list.h"
#include "base/listener.h"
#include "driver/vhost_user/protocol.h"

struct vu_dev;
struct vu_session;

/* A handler's answer besides 0 and -errno: vu_session_done() will be, or has been, called. */
#define VU_DEFERRED 1

/* ---- messages (dispatch.c) ---- */

enum vu_state {
	VU_NEW = 1,	/* no SET_OWNER yet */
	VU_OWNED = 2,	/* owner, no ring started */
	VU_RUNNING = 4, /* a ring is started */
};
#define VU_ANY (VU_NEW | VU_OWNED | VU_RUNNING)
#define VU_OWNER (VU_OWNED | VU_RUNNING)

#define VU_NO_FEATURE (-1)
/* Flags of a message. */
#define VU_REPLIES 1u /* has an answer of its own; an error ends the session */
#define VU_OFFERED 4u /* the protocol feature need only be offered */
#define VU_SOFT                                                                                    \
	2u /* an error that cannot be told does not end the session: a guest can cause it          \
	    */

struct vu_msg {
	struct vhost_user_hdr hdr;
	union vhost_user_payload *payload;
	struct vdpa_fds fds;
};

struct vu_msg_spec {
	const char *name;
	uint16_t min, max; /* bytes of payload */
	uint8_t fds_min, fds_max;
	int8_t feature; /* protocol feature it needs, or VU_NO_FEATURE */
	uint8_t states; /* VU_* in which it is legal */
	uint8_t flags;
	int (*handler)(struct vu_session *s, struct vu_msg *msg);
	const char *what; /* one line, for the documentation */
};

/* NULL for a request that does not exist or that this server does not know. */
const struct vu_msg_spec *vu_msg_spec(uint32_t request);

/* ---- sessions (session.c) ---- */

/* One running count of operations that a handler waits for; @next is called after the last. */
struct vu_wait {
	unsigned n;
	int result;
	void (*next)(struct vu_session *s, int result);
};

struct vu_ring {
	struct vu_session *s;
	uint16_t idx;
	bool started; /* SET_VRING_KICK or VRING_KICK came, GET_VRING_BASE did not */
	bool enabled;
	bool running; /* the device works on it: started, enabled, and completely set up */
	bool have_addr, have_base;
	bool call_set, err_set; /* by message: no in-band notification */
	bool poll;		/* SET_VRING_KICK said that no kicks come */
	uint32_t poll_seen;	/* where it stood at the last look */
	uint32_t num;		/* 0: not set */
	uint32_t base;
	struct vhost_vring_addr addr;		/* as it came: front-end addresses, or IOVAs */
	struct vhost_vring_addr iova;		/* what the device was given */
	_Atomic bool call_pending, err_pending; /* [any] in-band notifications to send */
	struct vdpa_done stop_done;
	struct vu_discard *discard; /* started and disabled, and the device is one that discards */
};

struct vu_region {
	struct vhost_user_mem_region wire;
	struct vdpa_region *region;
	dev_t dev; /* with ino: which file it is */
	ino_t ino;
};

struct vu_inflight {
	struct vdpa_region *region;
	uint64_t stride; /* bytes from one queue's area to the next one's */
	uint16_t num_queues, queue_size;
};

/* A change of the memory table that is under way (mem.c). */
struct vu_remap {
	struct vu_region *add[VHOST_USER_MAX_TABLE_REGIONS];
	struct vu_region *del[VHOST_USER_MAX_MEM_SLOTS];
	unsigned nadd, ndel;
};

/* Misses that wait to be settled. There are not many: a queue stops at one. */
#define VU_SETTLED 64

/* Channel for our own requests (backend.c). */
struct vu_backend {
	struct vu_session *s;
	int fd;
	struct vdpa_loop_fd lfd;
	bool awaiting; /* a reply is due before the next request goes out */
	uint32_t awaited;
	struct vhost_iotlb_msg miss; /* the one that was sent last */
	struct vhost_iotlb_msg
		settled[VU_SETTLED]; /* were answered; looked at when the timer ends */
	unsigned nsettled;
	struct vdpa_loop_timer settle_timer;
	unsigned next_ring; /* fairness of in-band notifications */
	uint8_t tx[sizeof(struct vhost_user_hdr) + sizeof(struct vhost_iotlb_msg)];
	size_t tx_len, tx_off;
	uint8_t rx[sizeof(struct vhost_user_hdr) + sizeof(uint64_t)];
	size_t rx_len;
};

struct vu_session {
	struct vu_dev *dev;
	struct vdpa_loop_fd lfd;
	int fd;
	bool closing; /* nothing is read or sent any more; taken down once nothing is under way */
	bool down;    /* being taken down */
	bool in_handler, deferred, done_called;
	int done_result;

	/* Reading: header, then payload; descriptors come with the first byte of the header. */
	struct vu_msg msg;
	union vhost_user_payload payload;
	size_t rx_len;

	/* The one answer that did not fit into the socket. */
	uint8_t tx[sizeof(struct vhost_user_hdr) + 320];
	size_t tx_len, tx_off;

	uint64_t features; /* as SET_FEATURES had it */
	bool features_set;
	uint64_t proto; /* protocol features that are in force */
	uint8_t status; /* what the front end set, FEATURES_OK only when the device agreed */

	struct vu_ring *ring; /* nrings */
	unsigned nrings;
	struct vdpa_loop_timer poll_timer;
	uint64_t poll_ns; /* from one look to the next */

	struct vu_region *region[VHOST_USER_MAX_MEM_SLOTS];
	unsigned nregions;
	struct vu_remap remap;
	bool iommu; /* the address space holds IOVAs of the IOTLB, not guest addresses */

	struct vdpa_dirty_log *log;
	bool logging;
	int log_fd;

	struct vu_inflight inflight;
	struct vu_backend backend;
	struct vu_wait wait;
	void (*after_reset)(struct vu_session *s, int result);
	void (*after_switch)(struct vu_session *s, int result);
};

/* A queue reports a miss once, and stops there: so many per ring are the most that can be
 * outstanding.
 */
#define VU_MISSES 2u

/* ---- devices (driver.c, listen.c) ---- */

enum vu_mode { VU_SERVER, VU_CLIENT, VU_CONNECTED };

struct vu_dev {
	struct vdpa_device *vdev;
	struct vhost_vdpa *v;

	enum vu_mode mode;
	bool relisten, control_queue, iommu;
	char *path; /* NULL: a descriptor was given */
	struct vdpa_listener listen;
	struct vdpa_loop_timer retry; /* of a client */
	bool told_retry;

	struct vu_session *session; /* NULL: nobody is connected, and the device is reset */
	bool removing;
	struct vdpa_done removed;
	struct vdpa_loop_sync sync;

	/* [any] Loops tell the session of misses, calls and changes. */
	struct vdpa_loop_msg event_msg;
	_Atomic bool event_posted, config_changed;
	pthread_mutex_t miss_lock; /* of the two below */
	unsigned nmisses;
	struct vhost_iotlb_msg *miss; /* VU_MISSES per queue, behind this structure */

	struct vdpa_ratelimit limit;
	uint64_t connections, messages, refused;
	uint64_t count[VHOST_USER_REQUEST_END];
};

/* listen.c */
void vu_listen_init(struct vu_dev *dev);
int vu_listen_start(struct vu_dev *dev, const struct vdpa_attr *attrs, struct vdpa_error *err);
void vu_listen_stop(struct vu_dev *dev);
/* The last session is gone: take the next one. */
void vu_listen_resume(struct vu_dev *dev);

/* driver.c */
/* Queues of @vdev that a front end may set up. */
unsigned vu_rings(struct vdpa_device *vdev, bool control_queue);
/* Any loop. */
void vu_dev_post(struct vu_dev *dev);
/* A session begins: the device is reset. */
void vu_dev_opened(struct vu_dev *dev);
/* The session is gone and freed. */
void vu_dev_session_gone(struct vu_dev *dev);

/* session.c. Takes @fd in any case. */
int vu_session_new(struct vu_dev *dev, int fd);
/* End it; @why is for the log. It is freed later. */
void vu_session_close(struct vu_session *s, const char *why);
/* The deferred message is done: answer it and go on. */
void vu_session_done(struct vu_session *s, int result);
struct vdpa_done vu_session_done_cb(struct vu_session *s);
/* Queue the answer to the message at hand: its number, the reply flag. @fd: stays the caller's; -1:
 * none. */
void vu_reply(struct vu_session *s, const void *payload, uint32_t size, int fd);
void vu_reply_u64(struct vu_session *s, uint64_t value);
#define vu_log(s, level, ...)                                                                      \
	vdpa_log_limited(vdpa_ctx_log((s)->dev->vdev->ctx), &(s)->dev->limit, level,               \
			 (s)->dev->vdev->name, __VA_ARGS__)

/* Several completions as one; one such wait per session at a time. */
void vu_wait_begin(struct vu_session *s, void (*next)(struct vu_session *s, int result));
struct vdpa_done vu_wait_add(struct vu_session *s);
void vu_wait_put(struct vu_session *s, int result);

/* dispatch.c: handle s->msg, which is complete. */
void vu_dispatch(struct vu_session *s);
/* The handler's part is over: answer, or end the session. */
void vu_dispatch_end(struct vu_session *s, int result);
enum vu_state vu_session_state(const struct vu_session *s);
static inline bool vu_has_proto(const struct vu_session *s, unsigned bit)
{
	return s->proto & VDPA_BIT(bit);
}

/* feature.c */
uint64_t vu_features(const struct vu_dev *dev);
uint64_t vu_protocol_features(const struct vu_dev *dev);
/* See to it that the device is in DRIVER_OK: without STATUS nobody says so. */
int vu_activate(struct vu_session *s);
/* Reset the device; rings stop. @then runs when it is done. */
int vu_reset(struct vu_session *s, void (*then)(struct vu_session *s, int result));

/* mem.c */
int vu_mem_resolve(void *arg, uint64_t uaddr, uint64_t size, struct vhost_vdpa_piece *piece);
/* Guest address of [@uaddr, @uaddr + @size), which must lie in one region. 0 or -EFAULT. */
int vu_mem_xlate(const struct vu_session *s, uint64_t uaddr, uint64_t size, uint64_t *gpa);
void vu_mem_free(struct vu_session *s);
/* The features changed what addresses mean: map anew. No ring is running. 0, VU_DEFERRED or -errno.
 */
int vu_mem_switch(struct vu_session *s, bool iommu, void (*then)(struct vu_session *s, int result));

/* vring.c */
/* Start the ring if everything for it is there. 0: it runs, or something is still missing. */
int vu_ring_update(struct vu_ring *r);
/* Find out where the ring lies for the device. 0 or -EFAULT. */
int vu_ring_place(struct vu_ring *r);
/* Drain it. @done in any case, when 0 is returned. */
int vu_ring_stop(struct vu_ring *r, const struct vdpa_done *done);
bool vu_packed(const struct vu_session *s);
/* Where a ring that does not run goes on. */
uint32_t vu_ring_base(const struct vu_ring *r);
void vu_ring_set_base(struct vu_ring *r, uint32_t base);
/* Read the base of a ring that has stopped. */
void vu_ring_stopped(struct vu_ring *r);
/* Would the ring's areas be where they are, with the memory table as it is? */
bool vu_ring_in_place(const struct vu_ring *r);
bool vu_ring_any_running(const struct vu_session *s);

/* discard.c: a ring that is started and disabled takes requests and does nothing with them. */
struct vu_discard;
bool vu_discard_wanted(const struct vu_ring *r);
int vu_discard_start(struct vu_ring *r);
void vu_discard_stop(struct vu_ring *r);
/* From now on, @log or NULL. 0 or -ENOMEM; a ring that is not discarded has nothing to log. */
int vu_discard_log(struct vu_ring *r, struct vdpa_dirty_log *log);

/* log.c */
int vu_log_apply(struct vu_session *s, const struct vdpa_done *done);
void vu_log_free(struct vu_session *s);

/* inflight.c */
int vu_inflight_apply(struct vu_ring *r);
/* The driver forgot its requests: so does the area. */
void vu_inflight_clear(struct vu_session *s);
void vu_inflight_clear_ring(struct vu_ring *r);
void vu_inflight_free(struct vu_session *s);

/* iotlb.c */
void vu_iotlb_update_miss(struct vu_session *s);
/* No ring is in use: forget all translations. @done as everywhere. 0 or -errno. */
int vu_iotlb_forget(struct vu_session *s, const struct vdpa_done *done);
/* The front end answered a miss, or never will: a ring that is kicked may ask again, but not at
 * once. */
void vu_iotlb_settle(struct vu_session *s, const struct vhost_iotlb_msg *miss);
/* Is it there by now? Then it is not asked for. */
bool vu_iotlb_has(struct vu_session *s, const struct vhost_iotlb_msg *miss);
void vu_iotlb_miss(void *arg, unsigned asid, iova_t iova,
		   uint32_t perm); /* any loop; arg: vu_dev */

/* backend.c */
int vu_backend_set(struct vu_session *s, int fd);
void vu_backend_close(struct vu_session *s);
/* Something may have to be sent. */
void vu_backend_work(struct vu_session *s);
void vu_ring_apply_inband(struct vu_ring *r);

/* Handlers, by group. */
int vu_get_features(struct vu_session *s, struct vu_msg *msg);
int vu_set_features(struct vu_session *s, struct vu_msg *msg);
int vu_get_protocol_features(struct vu_session *s, struct vu_msg *msg);
int vu_set_protocol_features(struct vu_session *s, struct vu_msg *msg);
int vu_set_owner(struct vu_session *s, struct vu_msg *msg);
int vu_reset_owner(struct vu_session *s, struct vu_msg *msg);
int vu_reset_device(struct vu_session *s, struct vu_msg *msg);
int vu_set_status(struct vu_session *s, struct vu_msg *msg);
int vu_get_status(struct vu_session *s, struct vu_msg *msg);
int vu_set_mem_table(struct vu_session *s, struct vu_msg *msg);
int vu_get_max_mem_slots(struct vu_session *s, struct vu_msg *msg);
int vu_add_mem_reg(struct vu_session *s, struct vu_msg *msg);
int vu_rem_mem_reg(struct vu_session *s, struct vu_msg *msg);
int vu_set_vring_num(struct vu_session *s, struct vu_msg *msg);
int vu_set_vring_addr(struct vu_session *s, struct vu_msg *msg);
int vu_set_vring_base(struct vu_session *s, struct vu_msg *msg);
int vu_get_vring_base(struct vu_session *s, struct vu_msg *msg);
int vu_set_vring_kick(struct vu_session *s, struct vu_msg *msg);
int vu_set_vring_call(struct vu_session *s, struct vu_msg *msg);
int vu_set_vring_err(struct vu_session *s, struct vu_msg *msg);
int vu_set_vring_enable(struct vu_session *s, struct vu_msg *msg);
int vu_set_vring_endian(struct vu_session *s, struct vu_msg *msg);
int vu_vring_kick(struct vu_session *s, struct vu_msg *msg);
int vu_get_queue_num(struct vu_session *s, struct vu_msg *msg);
int vu_get_config(struct vu_session *s, struct vu_msg *msg);
int vu_set_config(struct vu_session *s, struct vu_msg *msg);
int vu_net_set_mtu(struct vu_session *s, struct vu_msg *msg);
int vu_send_rarp(struct vu_session *s, struct vu_msg *msg);
int vu_set_log_base(struct vu_session *s, struct vu_msg *msg);
int vu_set_log_fd(struct vu_session *s, struct vu_msg *msg);
int vu_get_inflight_fd(struct vu_session *s, struct vu_msg *msg);
int vu_set_inflight_fd(struct vu_session *s, struct vu_msg *msg);
int vu_iotlb_msg(struct vu_session *s, struct vu_msg *msg);
int vu_set_backend_req_fd(struct vu_session *s, struct vu_msg *msg);

#endif
