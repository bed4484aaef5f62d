// SPDX-License-Identifier: BSD-3-Clause
/*
 * Who waits for an operation. Completions are told from a message of the control loop, so that no
 * caller sees its own done() before its call has returned, and none runs under a device's lock.
 */
#include <errno.h>
#include <stdlib.h>
#include "parent/soft/kit.h"

int soft_wait(struct soft_waiter **list, const struct vdpa_done *done)
{
	struct soft_waiter *w;

	if (!done || !done->fn)
		return 0;
	w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	w->done = *done;
	while (*list)
		list = &(*list)->next;
	*list = w;
	return 0;
}

static void tell(struct vdpa_loop_msg *msg)
{
	struct vdpa_soft_core *core = vdpa_container_of(msg, struct vdpa_soft_core, tell_msg);
	struct vdpa_device *vdev = &core->dev->vdpa;
	struct soft_waiter *w = core->finished;

	core->finished = NULL;
	core->finished_tail = &core->finished;
	core->tell_queued = false;
	while (w) {
		struct soft_waiter *next = w->next;

		vdpa_done_call(&w->done, w->result);
		free(w);
		w = next;
	}
	vdpa_put_device(vdev);
}

void soft_wake_waiters(struct vdpa_soft_core *core, struct soft_waiter **list, int result)
{
	if (!*list)
		return;
	*core->finished_tail = *list;
	for (struct soft_waiter *w = *list; w; w = w->next) {
		w->result = result;
		core->finished_tail = &w->next;
	}
	*list = NULL;
	if (core->tell_queued)
		return;
	core->tell_queued = true;
	vdpa_get_device(&core->dev->vdpa);
	vdpa_loop_post(core->control, &core->tell_msg, tell);
}

void soft_wait_init(struct vdpa_soft_core *core)
{
	core->finished_tail = &core->finished;
}
