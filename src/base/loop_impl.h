/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inside of the event loop, for src/base/loop*.c alone.
 *
 * Theory. Other threads reach a loop in one way: they push a message on @inbox, a stack that the
 * loop takes as a whole and turns round. A loop that is about to wait says so in @sleeping first
 * and looks at the inbox once more; a poster pushes first and looks at @sleeping then. Both pairs
 * are sequentially consistent, so at least one side sees the other: no message is left lying, and
 * posting to a busy loop is no system call. A loop that nobody runs at the moment counts as
 * sleeping: its epoll fd polls readable when something comes, which is what vdpa_loop_pollfd()
 * promises.
 */
#ifndef BASE_LOOP_IMPL_H
#define BASE_LOOP_IMPL_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <uvdpa/loop.h>

/* Most descriptors served per iteration; the kernel hands the rest out next time, in turn. */
#define LOOP_EVENTS 64
/* A loop that does not sleep looks at its descriptors so often. */
#define LOOP_LOOK_NS 20000u

enum loop_counter { LOOP_SLEEPS, LOOP_WAKEUPS, LOOP_SPINS, LOOP_LOOKS, LOOP_COUNTERS };

struct vdpa_loop {
	struct vdpa_loop_group *group;
	unsigned index;
	int epfd, wakefd, timerfd;

	/* Any thread. */
	_Atomic(struct vdpa_loop_msg *) inbox;
	atomic_bool sleeping;
	atomic_bool stop;
	atomic_bool running;			  /* somebody is inside an iteration */
	_Atomic(uintptr_t) owner;		  /* thread that ran it last; 0: none yet */
	_Atomic uint64_t counters[LOOP_COUNTERS]; /* written by the loop's thread */

	/* The loop's thread. */
	struct vdpa_loop_fd wake_fd, timer_fd;
	uint64_t now_ns;  /* of this iteration; 0: nobody asked yet */
	uint64_t look_ns; /* when the descriptors were looked at */
	struct epoll_event events[LOOP_EVENTS];
	int nevents, at_event;		 /* events[at_event..] are still to be served */
	struct vdpa_loop_timer *timers;	 /* by deadline */
	struct vdpa_loop_timer *expired; /* taken from timers, to be run in this iteration */
	uint64_t timerfd_ns;		 /* what timerfd is armed for; 0: nothing */
	struct vdpa_loop_poller *pollers;
	struct vdpa_loop_poller *next_poller; /* cursor of a walk */

	struct vdpa_loop *urgent; /* the one inside of it; NULL: this is one */
	struct vdpa_loop_fd urgent_fd;
};

int loop_init(struct vdpa_loop *loop, struct vdpa_loop_group *group, unsigned index);
void loop_fini(struct vdpa_loop *loop);
int loop_run(struct vdpa_loop *loop);
/* What there is for the loop inside. */
void loop_on_urgent(struct vdpa_loop_fd *lfd, uint32_t revents);
void loop_claim(struct vdpa_loop *loop);

/* Each returns whether something ran. */
bool loop_messages(struct vdpa_loop *loop);
bool loop_fds(struct vdpa_loop *loop);
bool loop_timers(struct vdpa_loop *loop);

void loop_timer_arm(struct vdpa_loop *loop);
void loop_wake(struct vdpa_loop *loop);
static inline bool loop_has_messages(struct vdpa_loop *loop)
{
	return atomic_load(&loop->inbox) != NULL;
}

#endif
