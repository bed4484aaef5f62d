/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For who waits on a loop's thread for another one, and goes on with what is urgent:
 * vdpa_loop_serve_urgent() until what is waited for is there, which the other one says by a nudge.
 */
#ifndef BASE_LOOP_URGENT_H
#define BASE_LOOP_URGENT_H

#include <uvdpa/loop.h>

/*
 * The inner loop of the one of @group that this thread runs. NULL: it runs none, or it is being
 * served already, further down the stack.
 */
struct vdpa_loop *vdpa_loop_group_urgent(struct vdpa_loop_group *group);
/* Whoever waits in @loop, or will next, looks again. Any thread. */
void vdpa_loop_nudge(struct vdpa_loop *loop);

#endif
