// SPDX-License-Identifier: BSD-3-Clause
/*
 * The engine: one step at a time, each a message, until what the process was told is what the
 * driver asks for. See the top of vduse.h for why a queue alone cannot be started or stopped.
 *
 *	told		what the process was told last, and agreed to
 *	target()	what it should be told
 *
 * Bits go up in the order of virtio 1.3, section 3.1.1; they go down by a reset only. Before one
 * that is not the driver's own, the process is asked where its queues stand.
 *
 * Drivers of vhost-user start queues one by one, after DRIVER_OK. A process is started when all of
 * them are ready, or when a moment has passed without that.
 */
#include "parent/vduse/vduse.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define START_NS 50000000ull

bool vdu_packed(const struct vdu_dev *d)
{
	return atomic_load(&d->driver_features) & VDPA_BIT(VIRTIO_F_RING_PACKED);
}

/* ---- who waits ---- */

int vdu_wait(struct list *waiters, const struct vdpa_done *done)
{
	struct vdu_waiter *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->done = done ? *done : (struct vdpa_done){0};
	list_add_tail(waiters, &w->node);
	return 0;
}

static void tell_woken(struct vdpa_loop_msg *msg)
{
	struct vdu_dev *d = vdpa_container_of(msg, struct vdu_dev, wake_msg);
	struct vdpa_device *vdev = d->vdev;
	struct list all = LIST_INIT(all), *node;

	d->wake_posted = false;
	list_splice_tail(&all, &d->woken);
	while ((node = list_pop(&all))) {
		struct vdu_waiter *w = list_entry(node, struct vdu_waiter, node);

		vdpa_done_call(&w->done, w->result);
		free(w);
	}
	vdpa_put_device(vdev);
}

void vdu_wake(struct vdu_dev *d, struct list *waiters, int result)
{
	struct vdu_waiter *w;

	if (list_empty(waiters))
		return;
	list_for_each_entry (w, waiters, node)
		w->result = result;
	list_splice_tail(&d->woken, waiters);
	if (d->wake_posted)
		return;
	d->wake_posted = true;
	vdpa_get_device(d->vdev);
	vdpa_loop_post(vdu_loop(d), &d->wake_msg, tell_woken);
}

void vdu_forget(struct list *waiters)
{
	struct list *node;

	while ((node = list_pop(waiters)))
		free(list_entry(node, struct vdu_waiter, node));
}

int vdu_done(struct vdu_dev *d, const struct vdpa_done *done)
{
	struct list one = LIST_INIT(one);
	int ret = vdu_wait(&one, done);

	if (!ret)
		vdu_wake(d, &one, 0);
	return ret;
}

static void wake_stops(struct vdu_dev *d, int result)
{
	for (uint32_t i = 0; i < d->nvqs; i++) {
		if (!d->vq[i].runs)
			vdu_wake(d, &d->vq[i].stops, result);
	}
}

/* ---- what should be ---- */

static bool may_start(struct vdu_dev *d)
{
	bool all = true, any = false;

	for (uint32_t i = 0; i < d->nvqs; i++) {
		bool ready = atomic_load(&d->vq[i].ready);

		all &= ready;
		any |= ready;
	}
	return any && (all || d->start_now) && !d->suspended;
}

static uint8_t target(struct vdu_dev *d)
{
	uint8_t status = atomic_load(&d->status);

	if (status & VIRTIO_CONFIG_S_NEEDS_RESET)
		return 0;
	if ((status & VIRTIO_CONFIG_S_DRIVER_OK) && !may_start(d))
		status &= (uint8_t)~VIRTIO_CONFIG_S_DRIVER_OK;
	return status;
}

/* Is what runs not what is ready? */
static bool other_queues(const struct vdu_dev *d)
{
	for (uint32_t i = 0; i < d->nvqs; i++) {
		if (d->vq[i].runs != atomic_load(&d->vq[i].ready))
			return true;
	}
	return false;
}

static void start_due(struct vdpa_loop_timer *timer)
{
	struct vdu_dev *d = vdpa_container_of(timer, struct vdu_dev, start_timer);

	d->start_now = true;
	vdu_engine_run(d);
}

/* ---- where rings stand ---- */

void vdu_vq_look(struct vdu_vq *vq)
{
	struct vdu_dev *d = vq->d;
	uint16_t idx;

	/* Virtio 1.3, section 2.7.8: flags, then the index. */
	if (vdu_packed(d) || vdu_map_read(d, d->asid[vq->group], vq->device + 2, &idx, 2))
		return;
	if (atomic_load(&d->driver_features) & VDPA_BIT(VIRTIO_F_VERSION_1))
		idx = le16toh(idx);
	vq->state.split.avail_index = idx;
}

/* The process has let go of all queues. */
static void all_stopped(struct vdu_dev *d)
{
	for (uint32_t i = 0; i < d->nvqs; i++) {
		struct vdu_vq *vq = &d->vq[i];

		if (vq->runs && atomic_load(&d->status))
			vdu_vq_look(vq);
		vq->runs = false;
		if (!d->profile->tells_all)
			vdu_set_kickfd(vq, -1);
	}
	d->told = 0;
	wake_stops(d, 0);
}

static bool state_valid(const struct vdu_vq *vq, const struct vduse_vq_state *s)
{
	/* The first design has no index in its answer. */
	if (s->index != vq->idx && !vq->d->profile->tells_all)
		return false;
	return !vdu_packed(vq->d) || ((s->state.packed.last_avail_idx & 0x7fff) < vq->num &&
				      (s->state.packed.last_used_idx & 0x7fff) < vq->num);
}

static void take_state(struct vdu_vq *vq, const struct vduse_vq_state *s)
{
	if (!vdu_packed(vq->d)) {
		vq->state.split.avail_index = s->state.avail_index;
		return;
	}
	vq->state.packed.last_avail_counter = s->state.packed.last_avail_counter & 1;
	vq->state.packed.last_avail_idx = s->state.packed.last_avail_idx & 0x7fff;
	vq->state.packed.last_used_counter = s->state.packed.last_used_counter & 1;
	vq->state.packed.last_used_idx = s->state.packed.last_used_idx & 0x7fff;
}

/* ---- groups ---- */

static void group_answered(struct vdu_msg *msg, const struct vdu_answer *a, int result)
{
	if (a && result)
		vdu_break(msg->d, result, "its process refuses the address space of a group");
}

int vdu_tell_group(struct vdu_dev *d, unsigned group)
{
	struct vdu_msg *msg = vdu_msg_unsent(d, VDU_SET_GROUP_ASID, group);

	if (msg) {
		msg->group.asid = d->asid[group];
		return 0;
	}
	msg = vdu_msg_new(d, VDU_SET_GROUP_ASID, group_answered);
	if (!msg)
		return -ENOMEM;
	msg->group.group = group;
	msg->group.asid = d->asid[group];
	vdu_send(msg);
	return 0;
}

/* ---- steps ---- */

/* Refused, or no memory to ask: the driver is told, and what waits fails. */
static void step_failed(struct vdu_dev *d, int result)
{
	char names[128], why[192];

	snprintf(why, sizeof(why), "its process refuses the status %s",
		 d->telling ? vdpa_status_names(d->telling, names, sizeof(names)) : "0 (reset)");
	vdu_break(d, result, result == -ENOMEM ? "no memory for a message" : why);
}

/* A reset ties all groups to address space 0; one that is not the driver's own must not. */
static int tell_groups(struct vdu_dev *d)
{
	int ret = 0;

	for (uint32_t i = 0; i < d->ngroups && !ret; i++) {
		if (d->asid[i])
			ret = vdu_tell_group(d, i);
	}
	return ret;
}

/* The process is where it was told to be. */
static void status_done(struct vdu_dev *d)
{
	uint8_t status = d->telling;
	int ret = 0;

	d->engine_busy = false;
	if (!status) {
		d->stale = false;
		all_stopped(d);
		ret = tell_groups(d);
	}
	if (ret) {
		vdu_break(d, ret, "no memory for a message");
		return;
	}
	d->told = status;
	if ((status & VIRTIO_CONFIG_S_DRIVER_OK) && d->user)
		d->user->started(d);
	/* Of what came before, into an eventfd that it had already, it took no notice. */
	for (uint32_t i = 0;
	     (status & VIRTIO_CONFIG_S_DRIVER_OK) && d->profile->tells_all && i < d->nvqs; i++) {
		if (d->vq[i].runs)
			vdu_kick(&d->vq[i]);
	}
	vdu_engine_run(d);
}

/* It was asked where it is. */
static void status_said(struct vdu_msg *msg, const struct vdu_answer *a, int result)
{
	struct vdu_dev *d = msg->d;
	uint8_t want = d->telling;

	if (!a)
		return;
	if (result || (want ? (a->status & want) != want : a->status) ||
	    (a->status & VIRTIO_CONFIG_S_NEEDS_RESET))
		step_failed(d, -EIO);
	else
		status_done(d);
}

static void status_answered(struct vdu_msg *msg, const struct vdu_answer *a, int result)
{
	struct vdu_dev *d = msg->d;

	if (!a) {
		d->engine_busy = false;
		return;
	}
	if (result) {
		step_failed(d, result);
		return;
	}
	if (!d->profile->tells_all) {
		status_done(d);
		return;
	}
	msg = vdu_msg_new(d, VDU_GET_STATUS, status_said);
	if (msg)
		vdu_send(msg);
	else
		step_failed(d, -ENOMEM);
}

int vdu_say_status(struct vdu_dev *d)
{
	struct vdu_msg *msg = vdu_msg_new(d, VDU_SET_STATUS, status_answered);

	if (!msg)
		return -ENOMEM;
	msg->status = d->telling;
	vdu_send(msg);
	return 0;
}

static void tell_status(struct vdu_dev *d, uint8_t status)
{
	d->engine_busy = true;
	d->telling = status;
	if ((status & VIRTIO_CONFIG_S_DRIVER_OK) && d->user)
		d->user->prepare(d);
	/* The process reads its queues before it answers. */
	for (uint32_t i = 0; (status & VIRTIO_CONFIG_S_DRIVER_OK) && i < d->nvqs; i++)
		d->vq[i].runs = atomic_load(&d->vq[i].ready);
	if (d->profile->tells_all ? vdu_rfc3_before(d) : vdu_say_status(d))
		step_failed(d, -ENOMEM);
}

static void ask_next(struct vdu_dev *d);

static void state_answered(struct vdu_msg *msg, const struct vdu_answer *a, int result)
{
	struct vdu_dev *d = msg->d;
	struct vdu_vq *vq = &d->vq[d->asking];

	d->engine_busy = false;
	if (!a)
		return;
	if (!result && state_valid(vq, &a->vq_state))
		take_state(vq, &a->vq_state);
	else
		vdu_log(d, VDPA_LOG_WARN, "vduse: its process does not say where queue %u stands",
			vq->idx);
	d->asking++;
	ask_next(d);
}

/* Where do the queues stand? Then the reset. */
static void ask_next(struct vdu_dev *d)
{
	struct vdu_msg *msg;

	while (d->asking < d->nvqs && !d->vq[d->asking].runs)
		d->asking++;
	if (d->asking == d->nvqs || !atomic_load(&d->status)) {
		tell_status(d, 0);
		return;
	}
	msg = vdu_msg_new(d, VDU_GET_VQ_STATE, state_answered);
	if (!msg) {
		step_failed(d, -ENOMEM);
		return;
	}
	d->engine_busy = true;
	msg->index = d->asking;
	vdu_send(msg);
}

static uint8_t next_bit(uint8_t missing)
{
	static const uint8_t order[] = {VIRTIO_CONFIG_S_ACKNOWLEDGE, VIRTIO_CONFIG_S_DRIVER,
					VIRTIO_CONFIG_S_FEATURES_OK, VIRTIO_CONFIG_S_DRIVER_OK};

	for (unsigned i = 0; i < sizeof(order); i++) {
		if (missing & order[i])
			return order[i];
	}
	return missing;
}

/* What was asked for is so. */
static void settle(struct vdu_dev *d)
{
	wake_stops(d, 0);
	if (!atomic_load(&d->status))
		vdu_wake(d, &d->resets, 0);
	vdu_wake(d, &d->suspends, 0);
}

static bool must_stop(const struct vdu_dev *d, uint8_t want)
{
	return (d->told & ~want) || ((d->told & VIRTIO_CONFIG_S_DRIVER_OK) && other_queues(d));
}

/*
 * There is no process, so nobody uses the driver's memory: what is to stop has stopped. The next
 * one is reset first, since it may go on with what it finds in a log of its own.
 */
void vdu_stop_alone(struct vdu_dev *d)
{
	vdu_messages_fail(d, -ECANCELED);
	d->engine_busy = false;
	d->stale = true;
	all_stopped(d);
}

static void arm_start(struct vdu_dev *d)
{
	if ((atomic_load(&d->status) & VIRTIO_CONFIG_S_DRIVER_OK) && !d->start_now &&
	    !d->start_timer.loop)
		vdpa_loop_timer_set(vdu_loop(d), &d->start_timer, vdpa_clock_ns() + START_NS,
				    start_due);
}

void vdu_engine_run(struct vdu_dev *d)
{
	uint8_t want = target(d);

	arm_start(d);
	/* Of rings of our own nobody has to go on with what a process left; nor can a process that
	 * cannot ask where they are. */
	if (!d->conn && !d->broken &&
	    (must_stop(d, want) || (!want && d->engine_busy) ||
	     ((d->user || d->profile->tells_all) && d->told)))
		vdu_stop_alone(d);
	if (d->engine_busy || d->broken)
		return;
	if (must_stop(d, want)) {
		if (want)
			d->restarts++;
		/* Who stands between knows himself. */
		d->asking = d->user ? d->nvqs : 0;
		ask_next(d);
	} else if (!d->conn && d->suspended) {
		settle(d);
	} else if (d->stale && (d->conn || want)) {
		tell_status(d, 0);
	} else if (d->told != want) {
		tell_status(d, d->told | next_bit(want & (uint8_t)~d->told));
	} else {
		settle(d);
	}
}

/* ---- failure and return ---- */

void vdu_break(struct vdu_dev *d, int result, const char *why)
{
	uint8_t status = atomic_load(&d->status);

	if (d->broken)
		return;
	d->broken = true;
	d->engine_busy = false;
	vdu_log_life(d, VDPA_LOG_ERR,
		     "vduse: broken: %s; it goes on when a process opens it again and the driver "
		     "resets it",
		     why);
	if (d->conn)
		vdu_conn_close(d->conn);
	d->stale = true;
	all_stopped(d);
	if (status)
		atomic_fetch_or(&d->status, VIRTIO_CONFIG_S_NEEDS_RESET);
	vdu_messages_fail(d, result);
	vdu_wake(d, &d->resets, result);
	vdu_wake(d, &d->suspends, result);
	if (!d->vdev)
		return;
	if (d->user) {
		d->user->broke(d, why);
		return;
	}
	vdpa_notify(d->vdev, VDPA_EVENT_BROKEN, why);
	if (status & VIRTIO_CONFIG_S_DRIVER_OK)
		vdu_call(&d->config_cb);
}

void vdu_engine_connected(struct vdu_dev *d)
{
	d->broken = false;
	/* What another one was told it does not know. */
	if (vdu_rfc3_connected(d) || (!d->stale && tell_groups(d))) {
		vdu_break(d, -ENOMEM, "no memory for a message");
		return;
	}
	vdu_engine_run(d);
}
