// SPDX-License-Identifier: BSD-3-Clause
/* A lane as its own loop sees it: opened, closed, and what waits until its device has buffers. */
#include <errno.h>
#include <stdlib.h>
#include "backend/net_switch.h"

static void expire(struct vdpa_loop_timer *timer);

/* ---- what waits ---- */

static struct switch_batch *pop_first(struct switch_lane *lane)
{
	struct switch_batch *batch = lane->first;

	lane->first = batch->next;
	if (!lane->first)
		lane->last = &lane->first;
	return batch;
}

/* Packets that the device has not got are lost; if it had begun with one, it is to know. */
static void drop_rest(struct switch_lane *lane, struct switch_batch *batch)
{
	lane_count(lane, LANE_TX_DROPPED, batch->n - batch->at);
	lane->config.forget(lane->config.arg);
	switch_batch_end(batch);
}

static unsigned deliver(struct switch_lane *lane, const struct net_packet *pkts, unsigned n)
{
	uint64_t bytes = 0;
	unsigned taken;

	lane->delivering = true;
	taken = lane->config.deliver(lane->config.arg, pkts, n);
	lane->delivering = false;
	for (unsigned i = 0; i < taken; i++)
		bytes += pkts[i].len_bytes - NET_HDR_BYTES;
	lane_count(lane, LANE_TX_PACKETS, taken);
	lane_count(lane, LANE_TX_BYTES, bytes);
	return taken;
}

static void append(struct switch_lane *lane, struct switch_batch *batch)
{
	batch->next = NULL;
	*lane->last = batch;
	lane->last = &batch->next;
	if (lane->first == batch)
		vdpa_loop_timer_set(lane->config.loop, &lane->timer, batch->deadline_ns, expire);
}

/* It had its turn, and stays the first. */
static void put_first(struct switch_lane *lane, struct switch_batch *batch)
{
	batch->next = lane->first;
	if (!lane->first)
		lane->last = &batch->next;
	lane->first = batch;
}

/* The first of those that wait: false when its sender took it back, and it is gone. */
static bool begin(struct switch_lane *lane, struct switch_batch *batch)
{
	if (switch_batch_begin(batch))
		return true;
	lane->config.forget(lane->config.arg);
	return false;
}

/* In their turn, while there are buffers. */
static void drain(struct switch_lane *lane)
{
	while (lane->first) {
		struct switch_batch *batch = pop_first(lane);

		if (!begin(lane, batch))
			continue;
		batch->at += deliver(lane, batch->pkts + batch->at, batch->n - batch->at);
		if (batch->at == batch->n) {
			switch_batch_end(batch);
		} else if (switch_batch_pause(batch)) {
			put_first(lane, batch);
			return;
		} else {
			drop_rest(lane, batch);
		}
	}
	vdpa_loop_timer_cancel(&lane->timer);
}

static void expire(struct vdpa_loop_timer *timer)
{
	struct switch_lane *lane = vdpa_container_of(timer, struct switch_lane, timer);
	uint64_t now = vdpa_clock_ns();

	while (lane->first && lane->first->deadline_ns <= now) {
		struct switch_batch *batch = pop_first(lane);

		if (!begin(lane, batch))
			continue;
		atomic_store_explicit(&lane->stuck, true, memory_order_relaxed);
		drop_rest(lane, batch);
	}
	if (lane->first)
		vdpa_loop_timer_set(lane->config.loop, timer, lane->first->deadline_ns, expire);
}

/* ---- from senders ---- */

unsigned switch_lane_deliver(struct switch_lane *lane, const struct net_packet *pkts, unsigned n)
{
	return lane->first || lane->delivering ? 0 : deliver(lane, pkts, n);
}

void switch_lane_queue(struct switch_lane *lane, struct switch_batch *batch)
{
	batch->deadline_ns = vdpa_clock_ns() + SWITCH_WAIT_NS;
	append(lane, batch);
	/* What came over from another loop was not tried yet. */
	if (lane->first == batch && batch->there != batch->home && !lane->delivering)
		drain(lane);
}

/* ---- life ---- */

static struct switch_lane *lane_new(struct switch_port *sp, unsigned index)
{
	struct switch_lane *lane = calloc(1, sizeof(*lane));

	if (!lane)
		return NULL;
	lane->sp = sp;
	lane->index = index;
	lane->port.be = &sp->be;
	lane->last = &lane->first;
	list_init(&lane->out);
	return lane;
}

int switch_lane_open(struct net_backend *be, const struct net_port_config *config,
		     struct net_port **out)
{
	struct switch_port *sp = vdpa_container_of(be, struct switch_port, be);
	struct switch_lane *lane;

	if (config->pair >= SWITCH_LANES || !config->sent || !config->forget)
		return -EINVAL;
	lane = atomic_load(&sp->lanes[config->pair]);
	if (!lane)
		lane = lane_new(sp, config->pair);
	if (!lane)
		return -ENOMEM;
	lane->config = *config;
	lane->blocked = false;
	lane->learned_mac = 0;
	atomic_store(&lane->stuck, false);
	atomic_store(&lane->loop, config->loop);
	atomic_store(&sp->lanes[config->pair], lane);
	*out = &lane->port;
	return 0;
}

void switch_lane_close(struct net_port *port)
{
	struct switch_lane *lane = switch_lane_of(port);

	atomic_store(&lane->loop, NULL);
	vdpa_loop_timer_cancel(&lane->timer);
	while (lane->first) {
		struct switch_batch *batch = pop_first(lane);

		if (switch_batch_begin(batch))
			drop_rest(lane, batch);
	}
	switch_revoke(port);
	switch_lane_trim(lane);
}

void switch_lane_resume(struct net_port *port)
{
	struct switch_lane *lane = switch_lane_of(port);

	atomic_store_explicit(&lane->stuck, false, memory_order_relaxed);
	if (!lane->delivering)
		drain(lane);
}
