/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The parent "vduse": devices that live in other processes, which speak VDUSE to a socket of ours
 * (vdpa/vduse_wire.h) as they would to a kernel.
 *
 * endpoint.c  the socket, its connections, which file each of them has open
 * control.c   what the control node does: make devices, and delete them
 * ioctl.c     what a device's node does
 * message.c   requests to the process: one at a time, each with a deadline
 * wire.c      what they look like, in both designs (struct vdu_profile)
 * rfc3.c      what only the first published design has
 * engine.c    brings the process to where the driver is: status, queues that run
 * map.c       the driver's memory: what the process may have, and the end of that
 * device.c    config ops: memory is shared with the process
 * bounce.c    the same with isolation: the process sees bounce pages only
 * mgmt.c      the management device
 *
 * Everything belongs to the control thread but kicks. No operation waits for the process: those of
 * the bus that end when the process has answered take a vdpa_done, and a process that does not
 * answer in time fails them. It is then broken: its connection is closed, its device needs a reset,
 * and goes on once a process has opened it again.
 *
 * What the driver asks for and what the process was told are two things. The process starts when it
 * is told DRIVER_OK, with the queues that are ready then, and knows no way to start or stop a queue
 * alone. So a queue that becomes ready later, or is to stop, makes the engine reset the process,
 * and start it again with the queues and places in them as they are. Where a split ring stands is
 * what its used index says, after the process has stopped.
 *
 * Who attacks: the process, by every byte of its ioctls and answers, and by giving none. It reaches
 * the memory that is mapped for the device, and nothing else.
 */
#ifndef PARENT_VDUSE_H
#define PARENT_VDUSE_H

#include <pthread.h>
#include <stdatomic.h>
#include <uvdpa/compat.h>
#include <uvdpa/vdpa.h>
#include <uvdpa/vduse.h>

#include "base/fd.h"
#include "base/list.h"
#include "base/listener.h"
#include "vdpa/vduse_rfc3.h"
#include "vdpa/vduse_wire.h"

#define VDU_CONNS_MAX 1024u
#define VDU_DEVS_MAX 4096u
#define VDU_VQS_MAX 262144u /* of all devices together: what a process makes is our memory */
#define VDU_GROUPS_MAX 64u
#define VDU_TIMEOUT_MS 30000u
#define VDU_BOUNCE_BYTES (64ull << 20)

struct vdu_dev;
struct vdu_vq;

/* ---- endpoint.c ---- */

struct vdu_endpoint {
	struct vdpa_ctx *ctx;
	struct vdpa_listener listen;
	struct list conns, devs;
	unsigned nconns, ndevs, nvqs, nkicks;
	int nowhere;	  /* an eventfd that nobody reads: where kicks go that nobody waits for */
	uint64_t refused; /* messages that were none */
	struct vdpa_ratelimit limit, limit_made;
};

/* One open file. */
struct vdu_conn {
	struct list node;
	struct vdu_endpoint *ep;
	int sock;  /* ioctls */
	pid_t pid; /* who connected */
	struct vdpa_loop_fd lfd;
	int file; /* our end of what the process reads and writes; -1: not open yet */
	struct vdpa_loop_fd file_lfd;
	struct vdu_dev *dev; /* NULL: the control node, or not open yet */
	bool *gone;	     /* while an ioctl is carried out: it is told when this is closed */
	uint64_t api;	     /* control node */
	bool api_chosen;
};

/* One ioctl, while it is carried out. */
struct vdu_call {
	const struct vduse_ioctl *ioctl;
	uint8_t *arg;  /* all of it, and room for VDUSE_WIRE_ARG_MAX */
	int fd;	       /* that came along; whoever keeps it sets -1 */
	int result_fd; /* goes with the answer, and is closed then; -1: none */
};

struct vdu_endpoint *vdu_endpoint(struct vdpa_ctx *ctx);
struct vdu_dev *vdu_find(struct vdu_endpoint *ep, const char *name);
/* May processes make us have @n descriptors more? */
bool vdu_fds_left(const struct vdu_endpoint *ep, unsigned n);
/* The process is cut off; what it left undone is the next one's. */
void vdu_conn_close(struct vdu_conn *c);

/* ---- control.c, ioctl.c ---- */

/* @config is checked but for what no design has. 0 or -errno. */
int vdu_dev_make(struct vdu_endpoint *ep, const struct vduse_dev_config *config, uint64_t api,
		 struct vdu_dev **out);
/* What the driver's features are for the process. */
uint64_t vdu_features_for_process(const struct vdu_dev *d);
/* @set the eventfd of a queue, -1 for none, of which @call speaks; it takes it over. 0 or -errno.
 */
int vdu_setup_eventfd(struct vdu_dev *d, struct vdu_call *call,
		      int (*set)(struct vdu_vq *vq, int fd));
/* The entry's first region: its descriptor is the result. 0 or -errno. */
int vdu_get_fd(struct vdu_dev *d, struct vdu_call *call, struct vduse_iotlb_entry *e);
int vdu_control_ioctl(struct vdu_conn *c, struct vdu_call *call);
int vdu_device_ioctl(struct vdu_conn *c, struct vdu_call *call);
void vdu_dev_free(struct vdu_dev *d);

/* ---- a device of a process ---- */

struct vdu_vq {
	struct vdu_dev *d;
	uint16_t idx;
	uint16_t num_max; /* 0: the process has not set it up */
	uint32_t num, group;
	iova_t desc, driver, device;
	struct vdpa_vq_state state;
	_Atomic bool ready;
	bool runs;	    /* the process was started with it */
	_Atomic int kickfd; /* a number of its own for good, once it had one: see device.c */
	struct vdpa_callback cb;
	struct list stops;	     /* struct vdu_waiter: that it has stopped */
	struct vdpa_loop_fd irq_lfd; /* rfc3.c: an eventfd of ours while it has a loop */
	_Atomic uint64_t kicks;
	uint64_t calls;
};

struct vdu_waiter {
	struct list node;
	struct vdpa_done done;
	int result;
};

/* What a process can be told or asked. */
enum vdu_op {
	VDU_SET_VQ_NUM,
	VDU_SET_VQ_ADDR,
	VDU_SET_VQ_READY,
	VDU_GET_VQ_READY,
	VDU_SET_VQ_STATE,
	VDU_GET_VQ_STATE,
	VDU_SET_FEATURES,
	VDU_GET_FEATURES,
	VDU_SET_STATUS,
	VDU_GET_STATUS,
	VDU_SET_CONFIG,
	VDU_GET_CONFIG,
	VDU_UPDATE_IOTLB,
	VDU_SET_GROUP_ASID,
	VDU_OPS,
};

/* Valid as far as its message has such a thing. */
struct vdu_answer {
	uint32_t id;
	bool failed;
	struct vduse_vq_state vq_state;
	uint64_t features;
	uint8_t status;
	bool ready;
	const uint8_t *config; /* VDUSE_RFC3_DATA bytes */
};

struct vdu_msg {
	struct list node;
	enum vdu_op op;
	uint32_t id;
	union {
		/* The queue; what is said of it is looked up when it is sent. Or the group. */
		uint32_t index;
		uint8_t status;
		struct {
			uint64_t start, last;
			uint32_t asid;
		} iova;
		struct {
			uint32_t group, asid;
		} group;
		struct vduse_rfc3_config config;
	};
	bool sent;
	uint64_t deadline_ns; /* once it is the first */
	/* @a: NULL with an error. The message is freed by whoever calls it, afterwards. */
	void (*done)(struct vdu_msg *msg, const struct vdu_answer *a, int result);
	struct vdu_dev *d;
	struct vdpa_done then;
};

#define VDU_WIRE_MAX 512u

/* How a process speaks: the design by whose ioctl it has made its device. */
struct vdu_profile {
	const char *name;
	size_t response_bytes;
	/* @msg as it goes out, at most VDU_WIRE_MAX bytes. How many. */
	size_t (*encode)(const struct vdu_msg *msg, void *buf);
	/* @buf: response_bytes of it. */
	void (*decode)(const void *buf, struct vdu_answer *a);
	int (*ioctl)(struct vdu_conn *c, struct vdu_call *call);
	/*
	 * Nothing can be read back by ioctls: all that the process has to know it is told, anew
	 * when it is another one; and it says by itself what it offers. Its eventfds stay when it
	 * is reset.
	 */
	bool tells_all;
};

/* Who has the driver's queues itself, and gives the process rings of its own. */
struct vdu_user {
	/* The process has stopped, and is about to be started: set its queues up. */
	void (*prepare)(struct vdu_dev *d);
	void (*started)(struct vdu_dev *d);
	/* vdu_break() */
	void (*broke)(struct vdu_dev *d, const char *why);
};

struct vdu_dev {
	struct list node;
	struct vdu_endpoint *ep;
	char name[VDUSE_NAME_BYTES];
	const struct vdu_profile *profile;
	uint64_t api; /* of Linux's */
	uint32_t device_id, vendor_id, align;
	uint64_t features; /* offered */
	uint32_t nvqs, ngroups, nas;
	struct vdu_vq *vq;
	pthread_mutex_t config_lock;
	uint8_t *config;
	uint32_t config_bytes;
	_Atomic uint32_t generation;

	struct vdu_conn *conn;	     /* the process; NULL: none */
	struct vdpa_device *vdev;    /* on the bus; NULL: not yet */
	const struct vdu_user *user; /* who stands between; NULL: nobody, memory is shared */

	/* message.c */
	struct list msgs;
	uint32_t next_id;
	struct vdpa_loop_timer timer;
	uint64_t timeout_ns; /* 0: none */
	struct vdpa_ratelimit limit, limit_life;

	/* As the driver has it. */
	_Atomic uint8_t status;
	_Atomic uint64_t driver_features;
	bool suspended;
	struct vdpa_callback config_cb;
	uint32_t asid[VDU_GROUPS_MAX];
	struct vhost_iotlb *as; /* nas of them */

	/* engine.c: as the process has it. */
	uint8_t told;
	uint8_t telling; /* while the engine is busy with a status */
	bool engine_busy, broken;
	bool stale;	 /* the next thing that it is told is a reset */
	unsigned asking; /* the queue whose place is asked for */
	struct list resets, suspends;
	struct list woken; /* whose completions are due */
	struct vdpa_loop_msg wake_msg;
	bool wake_posted;
	struct vdpa_loop_timer start_timer;
	bool start_now; /* not all queues are ready, but that will not change soon */
	bool granted;	/* it has descriptors of memory */

	/* rfc3.c */
	uint64_t bounce_bytes;	/* that the process asks for; 0: it does not */
	bool knows_features;	/* what it offers and */
	bool knows_config;	/* its configuration have come */
	unsigned config_writes; /* that are not answered */
	bool config_asked, maps_asked, maps_new;

	uint64_t messages, answers_late, answers_bad, failures, connects, irqs, restarts;
};

#define vdu_log(d, level, ...)                                                                     \
	vdpa_log_limited(vdpa_ctx_log((d)->ep->ctx), &(d)->limit, level, (d)->name, __VA_ARGS__)

/* Of its life: what a process says besides does not keep these lines away. */
#define vdu_log_life(d, level, ...)                                                                \
	vdpa_log_limited(vdpa_ctx_log((d)->ep->ctx), &(d)->limit_life, level, (d)->name,           \
			 __VA_ARGS__)

struct vdpa_loop *vdu_loop(const struct vdu_dev *d);

/* ---- message.c ---- */

/* A message for vdu_send(), or NULL: no memory. */
struct vdu_msg *vdu_msg_new(struct vdu_dev *d, enum vdu_op op,
			    void (*done)(struct vdu_msg *msg, const struct vdu_answer *a,
					 int result));
/* Takes @msg; its done() comes later, never from inside of this. */
void vdu_send(struct vdu_msg *msg);
/*
 * One about @index that has not gone out yet: who says the same again changes it, so that many who
 * say it while nobody answers do not make the list long. NULL: there is none.
 */
struct vdu_msg *vdu_msg_unsent(const struct vdu_dev *d, enum vdu_op op, uint32_t index);
/* The process's file is readable: an answer, or its end. */
void vdu_messages_ready(struct vdu_dev *d, uint32_t revents);
/* There is a process again, or none any more. */
void vdu_messages_connected(struct vdu_dev *d);
void vdu_messages_disconnected(struct vdu_dev *d);
/* Every one of them fails. */
void vdu_messages_fail(struct vdu_dev *d, int result);

/* ---- wire.c ---- */

extern const struct vdu_profile vdu_linux, vdu_rfc3;

/* "SET_VQ_NUM" */
const char *vdu_op_name(enum vdu_op op);

/* ---- rfc3.c: for others it does nothing, where nothing else is said ---- */

int vdu_rfc3_create(struct vdu_conn *c, const struct vduse_rfc3_dev *dev);
int vdu_rfc3_ioctl(struct vdu_conn *c, struct vdu_call *call);
/* May the device be put on the bus? -EAGAIN with @err: its process has not said what it is. */
int vdu_rfc3_known(const struct vdu_dev *d, struct vdpa_error *err);
/* A process has opened the device: it is asked what it offers. 0 or -ENOMEM. */
int vdu_rfc3_connected(struct vdu_dev *d);
void vdu_rfc3_disconnected(struct vdu_dev *d);
/* The driver has written into the configuration; what was written is at d->config. */
void vdu_rfc3_set_config(struct vdu_dev *d, unsigned offset, unsigned len);
/* There is more memory than it knows of. */
void vdu_rfc3_mapped(struct vdu_dev *d);
/* All that comes before a status; then vdu_say_status(). 0 or -ENOMEM. */
int vdu_rfc3_before(struct vdu_dev *d);

/* ---- engine.c ---- */

/* The status that the engine is about, d->telling, is said. 0 or -ENOMEM. */
int vdu_say_status(struct vdu_dev *d);
/* Tell the process which address space @group is tied to. 0 or -ENOMEM. */
int vdu_tell_group(struct vdu_dev *d, unsigned group);
/* There is no process: what it was told, or asked, is forgotten, and the next one begins anew. */
void vdu_stop_alone(struct vdu_dev *d);
/* Something changed that the process has to know. */
void vdu_engine_run(struct vdu_dev *d);
/* The process failed: what waits for it fails, and the device needs a reset. */
void vdu_break(struct vdu_dev *d, int result, const char *why);
/* A process has opened the device. */
void vdu_engine_connected(struct vdu_dev *d);
int vdu_wait(struct list *waiters, const struct vdpa_done *done);
/*
 * Completions come by a message, never from inside of an operation: they may be the end of the
 * device. It has to be on the bus.
 */
void vdu_wake(struct vdu_dev *d, struct list *waiters, int result);
/* Nobody waits any more. */
void vdu_forget(struct list *waiters);
/* @done is due. 0 or -ENOMEM. */
int vdu_done(struct vdu_dev *d, const struct vdpa_done *done);
/* Where the driver's ring stands, as far as one can see from here. */
void vdu_vq_look(struct vdu_vq *vq);
bool vdu_packed(const struct vdu_dev *d);

/* ---- map.c ---- */

int vdu_map(struct vdu_dev *d, unsigned asid, struct vhost_iotlb_map *map);
int vdu_unmap(struct vdu_dev *d, unsigned asid, iova_t iova, iova_t last,
	      const struct vdpa_done *done);
/* The entry of the first piece that is mapped in [@entry->start, @entry->last]. fd or -errno. */
int vdu_map_fd(struct vdu_dev *d, struct vduse_iotlb_entry *entry);
int vdu_map_info(struct vdu_dev *d, struct vduse_iova_info *info);
/* Copy @len bytes of the driver's memory. 0 or -EFAULT. */
int vdu_map_read(struct vdu_dev *d, unsigned asid, iova_t iova, void *buf, size_t len);
void vdu_map_clear(struct vdu_dev *d);

/* ---- device.c ---- */

struct vdu_vdpa {
	struct vdpa_device vdpa;
	struct vdu_dev *d; /* NULL: not yet */
	uint64_t features; /* offered to the driver */
	struct vdpa_done deleted;
};

int vdu_vdpa_add(struct vdu_dev *d, const struct vdpa_dev_set_config *config,
		 struct vdpa_error *err);
void vdu_config_changed(struct vdu_dev *d);
/* Takes @fd; -1: none. 0 or -errno. */
int vdu_set_kickfd(struct vdu_vq *vq, int fd);
/* The driver's callback of a queue is due. */
void vdu_call_vq(struct vdu_vq *vq);
void vdu_call(const struct vdpa_callback *cb);
/* Any thread. */
void vdu_kick(struct vdu_vq *vq);
void vdu_show_number(vdpa_emit_fn emit, void *arg, const char *name, uint64_t value);
void vdu_show(struct vdu_dev *d, const char *isolation, vdpa_emit_fn emit, void *arg);

/* ---- bounce.c ---- */

int vdu_bounce_add(struct vdu_dev *d, const struct vdpa_dev_set_config *config,
		   struct vdpa_error *err);

/* ---- mgmt.c ---- */

int vduse_parent_register(struct vdpa_ctx *ctx);

#endif
