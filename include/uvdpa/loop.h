/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Event loops. One control loop and any number of queue loops ("workers") form a group. Everything
 * that belongs to a loop is touched by the thread that runs it, and by no other; other threads post
 * messages. Loops post and never wait for each other.
 *
 * One iteration: 1. messages, 2. ready file descriptors (after each of them: new messages), 3.
 * timers,
 * 4. pollers. Messages that were posted before an event became visible are thus run before that
 * event.
 *
 * Since 0.1, unless a function says otherwise.
 */
#ifndef UVDPA_LOOP_H
#define UVDPA_LOOP_H

#include <uvdpa/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vdpa_loop;
struct vdpa_loop_group;

/** A watched file descriptor, embedded in its owner. All fields are the loop's. */
struct vdpa_loop_fd {
	int fd;
	uint32_t events;
	void (*fn)(struct vdpa_loop_fd *lfd, uint32_t revents);
	struct vdpa_loop *loop; /* NULL: not watched */
};

/** A timer, embedded in its owner. All fields are the loop's. */
struct vdpa_loop_timer {
	uint64_t deadline_ns;
	void (*fn)(struct vdpa_loop_timer *timer);
	struct vdpa_loop *loop; /* NULL: not armed */
	struct vdpa_loop_timer *next;
};

/** A message, embedded in its owner; free for use again once @fn has been entered. */
struct vdpa_loop_msg {
	void (*fn)(struct vdpa_loop_msg *msg);
	struct vdpa_loop_msg *next;
};

/**
 * Called once per iteration while added; returns true when it did work. A loop with pollers does
 * not sleep; it looks at its descriptors, which is a system call, every 20 us.
 */
struct vdpa_loop_poller {
	bool (*fn)(struct vdpa_loop_poller *poller);
	struct vdpa_loop *loop; /* NULL: not added */
	struct vdpa_loop_poller *next;
};

/**
 * Make a group: one control loop, run by the caller's thread(s) through vdpa_loop_run(), and
 * @workers loops with a thread each (0 is allowed: queues then live on the control loop, and the
 * library starts no thread). Returns 0 or -errno.
 */
VDPA_API int vdpa_loop_group_new(unsigned workers, struct vdpa_loop_group **out);
/** Stops and joins the workers. Nothing may be watched, armed or posted any more. */
VDPA_API void vdpa_loop_group_free(struct vdpa_loop_group *group);
VDPA_API struct vdpa_loop *vdpa_loop_group_control(struct vdpa_loop_group *group);
VDPA_API unsigned vdpa_loop_group_workers(const struct vdpa_loop_group *group);
/** Worker @i, modulo their number; the control loop when there are none. */
VDPA_API struct vdpa_loop *vdpa_loop_group_worker(struct vdpa_loop_group *group, unsigned i);

/** Tie worker @i to processor @cpu. 0, -EINVAL (no such worker), or -errno. Control thread. */
VDPA_API int vdpa_loop_group_set_cpu(struct vdpa_loop_group *group, unsigned i, unsigned cpu);
/** The processor that worker @i is tied to; -1: none. Control thread. */
VDPA_API int vdpa_loop_group_get_cpu(const struct vdpa_loop_group *group, unsigned i);

/**
 * Grace period: @done runs on the control loop once every loop of the group has passed between two
 * batches after this call. Control thread.
 */
struct vdpa_loop_sync {
	struct vdpa_loop_msg msg;
	struct vdpa_loop_group *group;
	unsigned at;
	void (*done)(struct vdpa_loop_sync *sync);
};
VDPA_API void vdpa_loop_group_sync(struct vdpa_loop_group *group, struct vdpa_loop_sync *sync,
				   void (*done)(struct vdpa_loop_sync *sync));

VDPA_API struct vdpa_loop_group *vdpa_loop_get_group(struct vdpa_loop *loop);
/** Position in the group: 0 for the control loop, 1.. for workers. */
VDPA_API unsigned vdpa_loop_index(const struct vdpa_loop *loop);
/** True when the calling thread runs @loop (or, for a loop that never ran, might). */
VDPA_API bool vdpa_loop_is_current(const struct vdpa_loop *loop);

/**
 * Run iterations until vdpa_loop_stop(). Returns 0 or -errno. The control loop only (workers run by
 * themselves).
 */
VDPA_API int vdpa_loop_run(struct vdpa_loop *loop);
/**
 * One iteration; waits at most @timeout_ns for something to do (-1: without end, 0: not at all).
 * Returns 1 when something ran, 0 when not, or -errno.
 */
VDPA_API int vdpa_loop_run_once(struct vdpa_loop *loop, int64_t timeout_ns);
/** Make vdpa_loop_run() return. Any thread, and async-signal-safe. */
VDPA_API void vdpa_loop_stop(struct vdpa_loop *loop);
/** File descriptor that polls readable when the loop has something to do: embed it elsewhere. Owned
 * by the loop. */
VDPA_API int vdpa_loop_pollfd(const struct vdpa_loop *loop);

/**
 * Watch @fd (not owned) for @events (EPOLLIN, EPOLLOUT; level-triggered, or with EPOLLET: @fn is
 * called once for what is there now and once for each time that more came, and need not read).
 * Loop's thread. Returns 0 or -errno.
 */
VDPA_API int vdpa_loop_fd_add(struct vdpa_loop *loop, struct vdpa_loop_fd *lfd, int fd,
			      uint32_t events,
			      void (*fn)(struct vdpa_loop_fd *lfd, uint32_t revents));
VDPA_API int vdpa_loop_fd_mod(struct vdpa_loop_fd *lfd, uint32_t events);
/** Stop watching (no-op when not watched); after it returns the callback is not called again. */
VDPA_API void vdpa_loop_fd_del(struct vdpa_loop_fd *lfd);

/** Arm (or re-arm) a one-shot timer at @deadline_ns, CLOCK_MONOTONIC. Loop's thread. */
VDPA_API void vdpa_loop_timer_set(struct vdpa_loop *loop, struct vdpa_loop_timer *timer,
				  uint64_t deadline_ns, void (*fn)(struct vdpa_loop_timer *timer));
VDPA_API void vdpa_loop_timer_cancel(struct vdpa_loop_timer *timer);

/**
 * Run @fn on @loop's thread. Any thread; messages of one sender keep their order. The message must
 * stay until its @fn is entered.
 */
VDPA_API void vdpa_loop_post(struct vdpa_loop *loop, struct vdpa_loop_msg *msg,
			     void (*fn)(struct vdpa_loop_msg *msg));
/** As vdpa_loop_post(), but runs @fn at once when the caller is the loop's thread. */
VDPA_API void vdpa_loop_call(struct vdpa_loop *loop, struct vdpa_loop_msg *msg,
			     void (*fn)(struct vdpa_loop_msg *msg));

VDPA_API void vdpa_loop_poller_add(struct vdpa_loop *loop, struct vdpa_loop_poller *poller,
				   bool (*fn)(struct vdpa_loop_poller *poller));
VDPA_API void vdpa_loop_poller_del(struct vdpa_loop_poller *poller);

/**
 * The loop inside of @loop, which its thread runs as well: what is watched on it and posted to it
 * is served with the rest, and also while something on @loop waits, by vdpa_loop_serve_urgent().
 * For what must go on then: it must not touch what may be waiting. Of an inner one: itself.
 */
VDPA_API struct vdpa_loop *vdpa_loop_urgent(struct vdpa_loop *loop);
/**
 * One iteration of an inner loop, by the thread of its outer one: 1, 0, or -errno as
 * vdpa_loop_run_once(); -EBUSY: it is being run already, further down the stack; -EINVAL: it is an
 * outer one.
 */
VDPA_API int vdpa_loop_serve_urgent(struct vdpa_loop *urgent, int64_t timeout_ns);

/** CLOCK_MONOTONIC in nanoseconds. */
VDPA_API uint64_t vdpa_clock_ns(void);
/** The same, read at most once per iteration of @loop. Loop's thread, inside of an iteration. */
VDPA_API uint64_t vdpa_loop_now(struct vdpa_loop *loop);

/** Totals of a loop since it was made. */
struct vdpa_loop_stats {
	uint64_t sleeps;  /**< times that it waited for something to do */
	uint64_t wakeups; /**< times that it woke because there was */
	uint64_t spins;	  /**< iterations without sleep in which nothing was found to do */
	uint64_t looks;	  /**< times that it looked at its descriptors without waiting */
};
/** Any thread. */
VDPA_API void vdpa_loop_get_stats(const struct vdpa_loop *loop, struct vdpa_loop_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
