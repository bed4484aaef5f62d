// SPDX-License-Identifier: BSD-3-Clause
/* Messages: the one thing that crosses threads (loop_impl.h has the theory). */
#include <stddef.h>
#include "base/fd.h"
#include "base/loop_impl.h"
#include "base/loop_urgent.h"

/* Async-signal-safe. */
void loop_wake(struct vdpa_loop *loop)
{
	vdpa_eventfd_signal(loop->wakefd);
}

void vdpa_loop_nudge(struct vdpa_loop *loop)
{
	loop_wake(loop);
}

void vdpa_loop_post(struct vdpa_loop *loop, struct vdpa_loop_msg *msg,
		    void (*fn)(struct vdpa_loop_msg *msg))
{
	struct vdpa_loop_msg *head = atomic_load_explicit(&loop->inbox, memory_order_relaxed);

	msg->fn = fn;
	do {
		msg->next = head;
	} while (!atomic_compare_exchange_weak(&loop->inbox, &head, msg));
	/* From here on the message may have run. The first look is for the common case: no write.
	 */
	if (atomic_load(&loop->sleeping) && atomic_exchange(&loop->sleeping, false))
		loop_wake(loop);
}

void vdpa_loop_call(struct vdpa_loop *loop, struct vdpa_loop_msg *msg,
		    void (*fn)(struct vdpa_loop_msg *msg))
{
	if (vdpa_loop_is_current(loop))
		fn(msg);
	else
		vdpa_loop_post(loop, msg, fn);
}

/*
 * What is there now, oldest first. What these messages post is the next batch: one that posts
 * itself for ever takes turns with everything else.
 */
bool loop_messages(struct vdpa_loop *loop)
{
	struct vdpa_loop_msg *msg, *next, *batch = NULL;

	if (!atomic_load_explicit(&loop->inbox, memory_order_relaxed))
		return false;
	for (msg = atomic_exchange(&loop->inbox, NULL); msg; msg = next) {
		next = msg->next;
		msg->next = batch;
		batch = msg;
	}
	for (msg = batch; msg; msg = next) {
		next = msg->next;
		msg->fn(msg);
	}
	return batch != NULL;
}
