// SPDX-License-Identifier: BSD-3-Clause
/*
 * Which worker serves a queue, and how it comes to another one while it runs.
 *
 * A move is a stop and a start: what is out is drained on the old loop, the ring's position is
 * kept, and the ring is looked at when it starts on the new one, so nothing is lost and nothing is
 * done twice. Queues that share a loop (equal vq_affinity) wait for each other: none starts before
 * all have stopped. In between a message goes through the old loop, which hands the queue over:
 * kicks and new eventfds that are under way to the old loop find there that they have to go
 * further, and none of them touches the queue beside the new one.
 *
 * A backend that does not give its requests back makes the device broken, as with every stop.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "parent/soft/kit.h"

static unsigned key_of(struct vdpa_soft_vq *vq)
{
	struct vdpa_soft *dev = vq->dev;

	return soft_has_op(dev, vq_affinity) ? dev->ops->vq_affinity(dev, vq->idx) : vq->idx;
}

/* ---- lists of workers ---- */

/* "1" or "0,1,2": the queues, or groups of them, in turn. */
int soft_workers_parse(struct vdpa_soft_core *core, const char *text, struct soft_workers **out,
		       struct vdpa_error *err)
{
	unsigned max = vdpa_loop_group_workers(vdpa_ctx_loops(core->dev->vdpa.ctx));
	struct soft_workers *list = calloc(1, sizeof(*list) + strlen(text) * sizeof(list->at[0]));
	const char *at = text;
	char *end;

	if (!list)
		return vdpa_error_set(err, ENOMEM, core->dev->vdpa.name, "no memory");
	do {
		unsigned long n = *at >= '0' && *at <= '9' ? strtoul(at, &end, 10) : max;

		if (n >= max || (*end && *end != ',')) {
			free(list);
			return vdpa_error_set(err, EINVAL, core->dev->vdpa.name,
					      "workers \"%.40s\": numbers below %u, with commas "
					      "between them, are allowed",
					      text, max);
		}
		list->at[list->n++] = (uint16_t)n;
		at = end + 1;
	} while (*end);
	*out = list;
	return 0;
}

static bool for_control(const struct vdpa_soft_vq *vq)
{
	return soft_has_op(vq->dev, vq_control) && vq->dev->ops->vq_control(vq->dev, vq->idx);
}

struct vdpa_loop *soft_default_loop(struct vdpa_soft_vq *vq)
{
	const struct soft_workers *list = vq->core->workers;
	struct vdpa_device *vdev = &vq->dev->vdpa;
	unsigned key = key_of(vq);

	if (for_control(vq))
		return vq->core->control;
	/* Devices start at different workers, and queues with equal keys meet on one. */
	return vdpa_loop_group_worker(vdpa_ctx_loops(vdev->ctx),
				      list ? list->at[key % list->n] : vdev->index + key);
}

struct vdpa_loop *soft_get_vq_loop(struct vdpa_device *vdev, uint16_t idx)
{
	return atomic_load(&soft_vq(vdev, idx)->loop);
}

int soft_set_workers(struct vdpa_soft_core *core, const char *text, struct vdpa_error *err)
{
	struct soft_workers *list;
	int r = soft_workers_parse(core, text, &list, err);

	if (r)
		return r;
	free(core->workers);
	core->workers = list;
	for (uint32_t i = 0; i < core->nvqs; i++)
		soft_move(&core->vqs[i], soft_default_loop(&core->vqs[i]));
	return 0;
}

/* ---- moving ---- */

static void moved(struct vdpa_loop_msg *msg);

/* On the old loop: from here on it leaves the queue alone. */
static void hand_over(struct vdpa_loop_msg *msg)
{
	struct vdpa_soft_vq *vq = vdpa_container_of(msg, struct vdpa_soft_vq, move_msg);

	atomic_store(&vq->loop, vq->move_now);
	vdpa_loop_post(vq->core->control, &vq->move_msg, moved);
}

/* Do they have to be on one loop? */
static bool together(struct vdpa_soft_vq *vq, struct vdpa_soft_vq *other)
{
	return key_of(vq) == key_of(other) && for_control(vq) == for_control(other);
}

static bool can_move(struct vdpa_soft_vq *vq)
{
	for (uint32_t i = 0; i < vq->core->nvqs; i++) {
		struct vdpa_soft_vq *other = &vq->core->vqs[i];

		if (other->move_to && (other->state != SOFT_IDLE || other->move_now) &&
		    together(vq, other))
			return false;
	}
	return true;
}

void soft_move_go_on(struct vdpa_soft_vq *vq)
{
	struct vdpa_soft_core *core = vq->core;

	if (!vq->move_to || !can_move(vq))
		return;
	for (uint32_t i = 0; i < core->nvqs; i++) {
		struct vdpa_soft_vq *other = &core->vqs[i];

		if (!other->move_to || !together(vq, other))
			continue;
		other->move_now = other->move_to;
		vdpa_get_device(&core->dev->vdpa);
		vdpa_loop_post(atomic_load(&other->loop), &other->move_msg, hand_over);
	}
}

bool soft_moving(struct vdpa_soft_vq *vq)
{
	for (uint32_t i = 0; i < vq->core->nvqs; i++)
		if (vq->core->vqs[i].move_to && together(vq, &vq->core->vqs[i]))
			return true;
	return false;
}

static void moved(struct vdpa_loop_msg *msg)
{
	struct vdpa_soft_vq *vq = vdpa_container_of(msg, struct vdpa_soft_vq, move_msg);
	struct vdpa_soft_core *core = vq->core;

	if (vq->move_to == vq->move_now)
		vq->move_to = NULL;
	vq->move_now = NULL;
	/* Who waited for this one moves, or starts. */
	for (uint32_t i = 0; i < core->nvqs; i++) {
		soft_move_go_on(&core->vqs[i]);
		if (together(vq, &core->vqs[i]))
			soft_vq_update(&core->vqs[i]);
	}
	vdpa_put_device(&core->dev->vdpa);
}

/* All that belong together know where to before the first of them goes. */
void soft_move(struct vdpa_soft_vq *vq, struct vdpa_loop *loop)
{
	struct vdpa_soft_core *core = vq->core;

	for (uint32_t i = 0; i < core->nvqs; i++) {
		struct vdpa_soft_vq *other = &core->vqs[i];

		if ((other->move_to || atomic_load(&other->loop) != loop) && together(vq, other))
			other->move_to = loop;
	}
	for (uint32_t i = 0; i < core->nvqs; i++)
		if (core->vqs[i].move_to && together(vq, &core->vqs[i]))
			soft_vq_update(&core->vqs[i]);
	soft_move_go_on(vq);
}

/* ---- affinity, as Linux has it ---- */

static bool mask_has(const struct vdpa_cpumask *mask, unsigned cpu)
{
	return cpu < 8 * sizeof(mask->bits) && (mask->bits[cpu / 64] >> (cpu % 64) & 1);
}

/* The worker that runs on one of these processors; where none is tied to any: in turn. */
static int choose(struct vdpa_loop_group *loops, const struct vdpa_cpumask *mask)
{
	unsigned n = vdpa_loop_group_workers(loops);
	bool tied = false;

	for (unsigned i = 0; i < n; i++) {
		int cpu = vdpa_loop_group_get_cpu(loops, i);

		if (cpu >= 0 && mask_has(mask, (unsigned)cpu))
			return (int)i;
		tied |= cpu >= 0;
	}
	for (unsigned cpu = 0; !tied && cpu < 8 * sizeof(mask->bits); cpu++)
		if (mask_has(mask, cpu))
			return n ? (int)(cpu % n) : 0;
	return -EINVAL;
}

/* NULL: wherever the device's workers put it. */
int soft_set_vq_affinity(struct vdpa_device *vdev, uint16_t idx, const struct vdpa_cpumask *mask)
{
	struct vdpa_soft_core *core = soft_core(vdev);
	struct vdpa_soft_vq *vq = &core->vqs[idx];
	struct vdpa_loop *loop = soft_default_loop(vq);
	struct vdpa_cpumask *copy = NULL;
	int worker;

	if (mask) {
		worker = choose(vdpa_ctx_loops(vdev->ctx), mask);
		if (worker < 0)
			return worker;
		copy = malloc(sizeof(*copy));
		if (!copy)
			return -ENOMEM;
		*copy = *mask;
		loop = vdpa_loop_group_worker(vdpa_ctx_loops(vdev->ctx), (unsigned)worker);
	}
	free(vq->affinity);
	vq->affinity = copy;
	if (for_control(vq))
		return 0;
	soft_move(vq, loop);
	return 0;
}

void soft_place_all(struct vdpa_soft_core *core)
{
	for (uint32_t i = 0; soft_has_op(core->dev, vq_control) && i < core->nvqs; i++) {
		struct vdpa_soft_vq *vq = &core->vqs[i];
		struct vdpa_loop *at = vq->move_to ? vq->move_to : atomic_load(&vq->loop);

		if (for_control(vq))
			soft_move(vq, core->control);
		else if (at == core->control)
			soft_set_vq_affinity(&core->dev->vdpa, vq->idx, vq->affinity);
	}
}

const struct vdpa_cpumask *soft_get_vq_affinity(struct vdpa_device *vdev, uint16_t idx)
{
	return soft_vq(vdev, idx)->affinity;
}
