/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The inside of the software-device kit.
 *
 * kit.c        birth, registration, the ops tables, what a device may ask
 * kit_status.c features, status, config space, reset, suspend
 * kit_vq.c     a queue as the control thread sees it: set up, start, stop, deadline
 * kit_run.c    a queue as its loop sees it: serve, complete, kicks and calls
 * kit_move.c   which worker serves a queue, and how it changes
 * kit_coal.c   notifications that wait for more
 * kit_spin.c   how long a queue is looked at before its loop sleeps
 * kit_wire.c   the eventfds and callbacks that tie a queue to its driver; they change while it runs
 * kit_map.c    address spaces, dirty log
 * kit_group.c  virtqueue groups, and the address space of each
 * kit_state.c  save and load
 * kit_wait.c   who waits for an operation
 *
 * Who owns what. Everything is the control thread's but: struct soft_vq_loop, the queue's loop's;
 * struct soft_vq_shared, under its mutex or atomic; status, features and the counters, atomic.
 * Control and loop talk by messages. Each message is embedded, so none can fail for want of
 * memory; a flag says whether it is queued. While a queue has a ring, and while a message is
 *queued, a reference on the device is held.
 *
 * Life of a queue, as the control thread has it:
 *
 *	IDLE      no ring. -> RUNNING when DRIVER_OK, ready, and neither suspended, broken nor in
 *reset RUNNING   the loop serves it. -> STOPPING when one of these ends STOPPING  the loop was
 *told; what is out comes back. -> IDLE when all is back
 *	          -> OVERDUE after stop_timeout: the device is broken, everything is cancelled
 *	OVERDUE   completions are dropped from here on, and nothing is written to guest memory. ->
 *IDLE when all is back; -> STRANDED after one more second STRANDED  a backend still holds requests.
 *Whoever waited was told -ETIMEDOUT. -> IDLE when all is back; a new stop or reset waits for that
 *again
 *
 * A queue that should run when it becomes IDLE is started again.
 */
#ifndef PARENT_SOFT_KIT_H
#define PARENT_SOFT_KIT_H

#include <pthread.h>
#include <stdatomic.h>
#include <uvdpa/compat.h>
#include <uvdpa/soft.h>
#include "base/list.h"

#define SOFT_NUM_MAX 256
#define SOFT_BUDGET 64
#define SOFT_STOP_TIMEOUT_NS 30000000000ull
#define SOFT_CANCEL_TIMEOUT_NS 1000000000ull
#define SOFT_BUSYLOOP_MAX_US 1000000
#define SOFT_WHY_BYTES 192

enum soft_vq_state { SOFT_IDLE, SOFT_RUNNING, SOFT_STOPPING, SOFT_OVERDUE, SOFT_STRANDED };

struct soft_waiter {
	struct soft_waiter *next;
	struct vdpa_done done;
	int result;
};

/* Counters: one writer (the queue's loop), read by the control thread. */
enum soft_counter {
	SOFT_CHAINS,
	SOFT_COMPLETED,
	SOFT_KICKS,
	SOFT_CALLS,
	SOFT_CALLS_SUPPRESSED,
	SOFT_MISSES,
	SOFT_BAD_RINGS,
	SOFT_BAD_REQUESTS,
	SOFT_COUNTERS,
};

/* The queue's end of an eventfd or callback. */
struct soft_call {
	void (*callback)(void *priv);
	void *priv;
	int fd; /* our own duplicate; -1: none */
};

/* What the control thread wants and the loop has not taken over yet. */
struct soft_vq_shared {
	pthread_mutex_t lock;
	bool call_new, kick_new;
	struct soft_call call;
	int kick_fd;
	bool kick_edges;	  /* it is an eventfd */
	char why[SOFT_WHY_BYTES]; /* of an error */
	_Atomic bool apply_queued, kick_queued, cancel_queued, coal_queued;
	_Atomic uint64_t coal;	    /* max_requests in the upper half, max_usecs in the lower */
	_Atomic bool cancel_wanted; /* by the stop under way: what is out shall be cancelled */
	_Atomic bool drop;	    /* nothing may be written to guest memory any more */
	_Atomic uint32_t base;	    /* vringh_state(), as VRING_BASE has it */
	_Atomic uint64_t counters[SOFT_COUNTERS];
};

/* kit_spin.c has the theory. */
struct soft_spin {
	uint64_t since_ns;   /* there is nothing to do since; 0: there is, or nobody asks */
	uint64_t limit_ns;   /* of this wait */
	uint64_t adapted_ns; /* with a busyloop: of the next one */
	uint64_t saved_ns;   /* without: what requests have paid for */
	unsigned price;	     /* they pay a fraction of it */
	bool trusted;	     /* the last wait that was paid for was not in vain */
	bool gave_up;	     /* the queue is no longer looked at */
};

/* kit_coal.c has the theory. */
struct soft_coal {
	uint32_t max_requests, max_usecs; /* 0: nothing waits */
	uint64_t told;			  /* so many were completed when the driver was last told */
	uint64_t since_ns;		  /* of the first one that it was not told of */
	struct vdpa_loop_timer timer;	  /* while there are such */
};

struct soft_vq_loop {
	struct vringh *vr; /* NULL: the queue does not run */
	bool live;	   /* gets requests */
	bool started;	   /* the device's start() was called */
	bool stopping, cancelling, failed;
	bool drained; /* and the control thread was told */
	bool drain_queued;
	bool in_run;
	bool short_of;	 /* the last getdesc found the ring empty */
	bool dry;	 /* and had nothing at all for it */
	bool look_again; /* more came, before the driver knew that it has to kick */
	unsigned got;	 /* requests, in this run */
	struct soft_spin spin;
	struct soft_coal coal;
	bool kicks_off;
	bool unpublished;	  /* completions that the driver cannot see yet */
	bool parked;		  /* the last getdesc could not go on */
	bool reclaim;		  /* memory of what is out is wanted back */
	bool ask_owed;		  /* a process that died may owe a call */
	uint64_t misses_answered; /* so many of the ring's misses were before the newest map */
	struct vdpa_loop_poller poller;
	struct vdpa_loop_fd kick_lfd;
	int kick_fd; /* ours; -1: none */
	bool kick_edges;
	struct soft_call call;
	struct vdpa_ratelimit limit;
	uint64_t base[SOFT_COUNTERS]; /* of the rings that this queue had before */
};

struct vdpa_soft_vq {
	struct vdpa_soft_core *core;
	struct vdpa_soft *dev;
	struct vdpa_loop *_Atomic loop; /* changes while the queue is idle: kit_move.c */
	uint16_t idx;
	void *priv;

	/* Control. */
	enum soft_vq_state state;
	bool ready, failed;
	uint32_t num;
	iova_t desc, driver, device;
	bool vstate_known; /* else it begins as a new ring */
	struct vdpa_vq_state vstate;
	struct vdpa_callback err;
	void *inflight_area;
	size_t inflight_bytes;
	struct vringh *vr;
	struct vringh_inflight *inflight;
	struct vdpa_view *ring_view, *buf_view; /* equal when in one address space */
	struct vdpa_loop_timer timer;
	struct soft_waiter *waiters;
	struct vdpa_loop *move_to;  /* does not start before it is there; NULL: is there */
	struct vdpa_loop *move_now; /* the message for it is under way */
	struct vdpa_cpumask *affinity;
	char object[VDPA_NAME_MAX + 16]; /* "d0/vq1" */

	/* Messages: start, stop, apply, kick, cancel and drain run on the loop, the others on
	 * control. */
	struct vdpa_loop_msg start_msg, stop_msg, apply_msg, kick_msg, cancel_msg, drain_msg,
		coal_msg;
	struct vdpa_loop_msg stopped_msg, error_msg;
	struct vdpa_loop_msg move_msg; /* on the loop, then on control */

	struct soft_vq_shared shared;
	struct soft_vq_loop l;
};

struct soft_workers {
	unsigned n;
	uint16_t at[];
};

struct vdpa_soft_core {
	struct vdpa_soft *dev;
	struct vdpa_loop *control;
	/* Set at birth. */
	uint32_t device_id, vendor_id, nvqs;
	uint64_t offered;
	uint16_t num_max;
	size_t priv_bytes;
	uint64_t stop_timeout_ns;
	unsigned budget;
	unsigned nas, ngroups;
	enum vdpa_soft_groups groups; /* never DEFAULT */
	bool desc_group;
	struct vdpa_soft_vq *vqs;
	struct vdpa_as **as;
	unsigned *group_asid;

	/* Written by the control thread, read by any. */
	_Atomic uint64_t features;
	_Atomic uint8_t status;
	_Atomic unsigned epoch; /* counts resets */
	_Atomic uint32_t busyloop_us;

	/* Control. */
	bool registered, suspended, resetting, broken;
	struct soft_workers *workers; /* NULL: in turn */
	struct vdpa_callback config_cb;
	struct soft_waiter *reset_waiters, *suspend_waiters;
	struct soft_waiter *finished, **finished_tail; /* to be told */
	struct vdpa_loop_msg tell_msg;
	bool tell_queued;
	struct vdpa_ratelimit limit;

	/* Config space, under the lock; the generation is atomic. */
	pthread_mutex_t config_lock;
	uint8_t *config;
	size_t config_bytes;
	_Atomic uint32_t generation;

	/* A device that breaks, from any loop. */
	pthread_mutex_t broken_lock;
	char broken_why[SOFT_WHY_BYTES];
	unsigned broken_epoch;
	bool broken_queued;
	struct vdpa_loop_msg broken_msg;
};

static inline struct vdpa_soft_core *soft_core(struct vdpa_device *vdev)
{
	return vdpa_to_soft(vdev)->core;
}

static inline struct vdpa_soft_vq *soft_vq(struct vdpa_device *vdev, uint16_t idx)
{
	return &soft_core(vdev)->vqs[idx];
}

static inline const struct vdpa_log *soft_log(const struct vdpa_soft_core *core)
{
	return vdpa_ctx_log(core->dev->vdpa.ctx);
}

/* The counter's only writer adds to it. */
static inline void soft_count(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

/* Present member of the device's table? */
#define soft_has_op(dev, member)                                                                   \
	(offsetof(struct vdpa_soft_ops, member) + sizeof((dev)->ops->member) <=                    \
		 (dev)->ops->size &&                                                               \
	 (dev)->ops->member)

/* kit_status.c */
uint64_t soft_get_device_features(struct vdpa_device *vdev);
uint64_t soft_get_backend_features(struct vdpa_device *vdev);
int soft_set_driver_features(struct vdpa_device *vdev, uint64_t features);
uint64_t soft_get_driver_features(struct vdpa_device *vdev);
uint8_t soft_get_status(struct vdpa_device *vdev);
void soft_set_status(struct vdpa_device *vdev, uint8_t status);
int soft_reset(struct vdpa_device *vdev);
int soft_reset_done(struct vdpa_device *vdev, const struct vdpa_done *done);
int soft_suspend(struct vdpa_device *vdev);
int soft_suspend_done(struct vdpa_device *vdev, const struct vdpa_done *done);
int soft_resume(struct vdpa_device *vdev);
void soft_set_config_cb(struct vdpa_device *vdev, const struct vdpa_callback *cb);
size_t soft_get_config_size(struct vdpa_device *vdev);
void soft_get_config(struct vdpa_device *vdev, unsigned offset, void *buf, unsigned len);
void soft_set_config(struct vdpa_device *vdev, unsigned offset, const void *buf, unsigned len);
uint32_t soft_get_generation(struct vdpa_device *vdev);
/* May these features be used? 0 or -EINVAL. */
int soft_check_features(struct vdpa_soft_core *core, uint64_t features);
/* DEVICE_NEEDS_RESET, and everybody is told. */
void soft_needs_reset(struct vdpa_soft_core *core, const char *object, const char *why);
/* A queue changed its state: what was waiting for that goes on. */
void soft_settle(struct vdpa_soft_core *core);
void soft_callback(const struct vdpa_callback *cb);

static inline bool soft_packed(const struct vdpa_soft_core *core)
{
	return atomic_load_explicit(&core->features, memory_order_relaxed) &
	       VDPA_BIT(VIRTIO_F_RING_PACKED);
}

/* kit_vq.c */
/* Where an idle queue will start. */
struct vdpa_vq_state soft_vq_start_state(const struct vdpa_soft_vq *vq);
int soft_set_vq_address(struct vdpa_device *vdev, uint16_t idx, iova_t desc, iova_t driver,
			iova_t device);
void soft_set_vq_num(struct vdpa_device *vdev, uint16_t idx, uint32_t num);
void soft_set_vq_ready(struct vdpa_device *vdev, uint16_t idx, bool ready);
bool soft_get_vq_ready(struct vdpa_device *vdev, uint16_t idx);
int soft_set_vq_state(struct vdpa_device *vdev, uint16_t idx, const struct vdpa_vq_state *state);
int soft_get_vq_state(struct vdpa_device *vdev, uint16_t idx, struct vdpa_vq_state *state);
int soft_stop_vq(struct vdpa_device *vdev, uint16_t idx, const struct vdpa_done *done);
int soft_reset_vq(struct vdpa_device *vdev, uint16_t idx, const struct vdpa_done *done);
uint16_t soft_get_vq_size(struct vdpa_device *vdev, uint16_t idx);
int soft_get_vq_stats(struct vdpa_device *vdev, uint16_t idx, vdpa_stat_fn emit, void *arg,
		      struct vdpa_error *err);
int soft_set_vq_inflight(struct vdpa_device *vdev, uint16_t idx, void *area, size_t bytes);
void soft_vq_init(struct vdpa_soft_core *core, uint16_t idx);
void soft_vq_fini(struct vdpa_soft_vq *vq);
/*
 * The driver's reset: what was cancelled is not to be done again by who finds the area for requests
 * in flight. A drain keeps it, and so does who took the area away before the reset.
 */
void soft_vq_forget(struct vdpa_soft_vq *vq);
/* To what it is after a reset; IDLE. */
void soft_vq_clear(struct vdpa_soft_vq *vq);
/* Start or stop it, whatever the device's state asks for. */
void soft_vq_update(struct vdpa_soft_vq *vq);
void soft_update_all(struct vdpa_soft_core *core);
/* Stop. @cancel: what is out need not be done any more. */
void soft_vq_stop(struct vdpa_soft_vq *vq, bool cancel);
static inline bool soft_vq_settled(const struct vdpa_soft_vq *vq)
{
	return vq->state == SOFT_IDLE || vq->state == SOFT_STRANDED;
}
/* On control, from the loop. */
void soft_vq_stopped(struct vdpa_loop_msg *msg);
void soft_vq_error(struct vdpa_loop_msg *msg);

/* kit_run.c: messages that control sends, and the view's callbacks. */
void soft_vq_loop_start(struct vdpa_loop_msg *msg);
void soft_vq_loop_stop(struct vdpa_loop_msg *msg);
void soft_vq_loop_cancel(struct vdpa_loop_msg *msg);
extern const struct vdpa_view_ops soft_view_ops;

/* kit_move.c */
/* Which workers the user wants. 0, -EINVAL, -ENOMEM with @err. */
int soft_workers_parse(struct vdpa_soft_core *core, const char *text, struct soft_workers **out,
		       struct vdpa_error *err);
int soft_set_workers(struct vdpa_soft_core *core, const char *text, struct vdpa_error *err);
struct vdpa_loop *soft_default_loop(struct vdpa_soft_vq *vq);
struct vdpa_loop *soft_get_vq_loop(struct vdpa_device *vdev, uint16_t idx);
/* Features are negotiated: queues that are for the control thread go there, others leave it. */
void soft_place_all(struct vdpa_soft_core *core);
/* Move the queue, and those that share its loop, to @loop, now or when they have stopped. */
void soft_move(struct vdpa_soft_vq *vq, struct vdpa_loop *loop);
/* Is it under way, or one of those that go with it? Then it does not start. */
bool soft_moving(struct vdpa_soft_vq *vq);
/* The queue has become idle. */
void soft_move_go_on(struct vdpa_soft_vq *vq);
int soft_set_vq_affinity(struct vdpa_device *vdev, uint16_t idx, const struct vdpa_cpumask *mask);
const struct vdpa_cpumask *soft_get_vq_affinity(struct vdpa_device *vdev, uint16_t idx);

/* kit_coal.c, [q] */
void soft_coal_start(struct vdpa_soft_vq *vq);
/* Completions were made visible: does the notification wait? */
bool soft_coal_hold(struct vdpa_soft_vq *vq);
/* The queue stops: what waits comes now, unless @cancel. */
void soft_coal_stop(struct vdpa_soft_vq *vq, bool cancel);

/* kit_run.c, [q]: tell the driver of completions, if it wants that. */
void soft_vq_notify(struct vdpa_soft_vq *vq);

/* kit_spin.c, [q] */
void soft_spin_reset(struct vdpa_soft_vq *vq);
/* The queue had something to do: @requests, or completions. */
void soft_spin_worked(struct vdpa_soft_vq *vq, unsigned requests);
/* It has nothing to do: is it to be looked at once more? */
bool soft_spin_wait(struct vdpa_soft_vq *vq);

/* kit_wire.c */
void soft_kick_vq(struct vdpa_device *vdev, uint16_t idx);
void soft_kick_vq_with_data(struct vdpa_device *vdev, uint32_t data);
void soft_set_vq_cb(struct vdpa_device *vdev, uint16_t idx, const struct vdpa_callback *cb);
int soft_set_vq_kick(struct vdpa_device *vdev, uint16_t idx, int fd);
int soft_set_vq_err(struct vdpa_device *vdev, uint16_t idx, const struct vdpa_callback *cb);
/* [q] Take over what control wants; watch and do not watch the kick. */
void soft_wire_apply(struct vdpa_soft_vq *vq);
void soft_wire_watch(struct vdpa_soft_vq *vq);
void soft_wire_unwatch(struct vdpa_soft_vq *vq);
/*
 * A message to the loop of @vq, that came to the one which the queue has left meanwhile: it is sent
 * after it. False: it has not.
 */
bool soft_wire_gone(struct vdpa_soft_vq *vq, struct vdpa_loop_msg *msg,
		    void (*fn)(struct vdpa_loop_msg *msg));
/* [q] Call the driver. */
void soft_wire_call(struct vdpa_soft_vq *vq);
void soft_wire_init(struct vdpa_soft_vq *vq);
void soft_wire_fini(struct vdpa_soft_vq *vq);

/* kit_map.c */
uint32_t soft_get_vq_group(struct vdpa_device *vdev, uint16_t idx);
uint32_t soft_get_vq_desc_group(struct vdpa_device *vdev, uint16_t idx);
int soft_set_group_asid(struct vdpa_device *vdev, unsigned group, unsigned asid);
unsigned soft_get_group_asid(struct vdpa_device *vdev, unsigned group);
void soft_show_groups(const struct vdpa_soft_core *core, vdpa_emit_fn emit, void *arg);
/* Which groups a device with these parameters has: never DEFAULT. */
enum vdpa_soft_groups soft_groups(const struct vdpa_soft_params *p);
bool soft_has_desc_group(const struct vdpa_soft_params *p);
unsigned soft_ngroups(const struct vdpa_soft_params *p);
int soft_check_groups(const struct vdpa_soft_params *p, struct vdpa_error *err);
/* The words of the attribute "groups". */
extern const char *const soft_group_choices[];
void soft_groups_attrs(struct vdpa_soft_params *p, const struct vdpa_attr *attrs);
struct vdpa_iova_range soft_get_iova_range(struct vdpa_device *vdev);
int soft_set_map(struct vdpa_device *vdev, unsigned asid, struct vhost_iotlb *iotlb);
int soft_set_map_done(struct vdpa_device *vdev, unsigned asid, struct vhost_iotlb *iotlb,
		      const struct vdpa_done *done);
int soft_dma_map(struct vdpa_device *vdev, unsigned asid, iova_t iova, uint64_t size, uint64_t addr,
		 uint32_t perm, void *opaque);
int soft_dma_unmap(struct vdpa_device *vdev, unsigned asid, iova_t iova, uint64_t size);
int soft_dma_unmap_done(struct vdpa_device *vdev, unsigned asid, iova_t iova, uint64_t size,
			const struct vdpa_done *done);
int soft_reset_map(struct vdpa_device *vdev, unsigned asid);
int soft_reset_map_done(struct vdpa_device *vdev, unsigned asid, const struct vdpa_done *done);
int soft_set_miss(struct vdpa_device *vdev, unsigned asid, vdpa_as_miss_fn fn, void *arg);
bool soft_miss_settled(struct vdpa_device *vdev, unsigned asid, iova_t iova, uint32_t perm);
int soft_set_dirty_log(struct vdpa_device *vdev, struct vdpa_dirty_log *log,
		       const struct vdpa_done *done);
const struct vhost_iotlb *soft_get_iotlb(struct vdpa_device *vdev, unsigned asid);
struct vdpa_as *soft_group_as(struct vdpa_soft_core *core, unsigned group);
int soft_map_init(struct vdpa_soft_core *core);
/* The device was reset: every group is in address space 0. */
void soft_map_reset(struct vdpa_soft_core *core);
void soft_map_fini(struct vdpa_soft_core *core);

/* kit_state.c */
int soft_save_state(struct vdpa_device *vdev, void *buf, size_t *bytes);
int soft_load_state(struct vdpa_device *vdev, const void *buf, size_t bytes,
		    struct vdpa_error *err);

/* kit_wait.c */
/* Remember @done (may be NULL) in @list. 0 or -ENOMEM. */
int soft_wait(struct soft_waiter **list, const struct vdpa_done *done);
/* Everybody in @list is told @result, from a message: never inside the op that ends the wait. */
void soft_wake_waiters(struct vdpa_soft_core *core, struct soft_waiter **list, int result);
void soft_wait_init(struct vdpa_soft_core *core);

#endif
