// SPDX-License-Identifier: BSD-3-Clause
/*
 * Packets that are out, and the batches that refer to them (net_switch.h has the states). A hold
 * counts the batches of one packet, which was flooded maybe; only the sender's loop touches it.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "backend/net_switch.h"

struct switch_hold *switch_hold_new(struct switch_lane *lane, void *cookie)
{
	struct switch_hold *hold = lane->free_holds;

	if (hold)
		lane->free_holds = hold->next;
	else
		hold = malloc(sizeof(*hold));
	if (hold)
		*hold = (struct switch_hold){.cookie = cookie};
	return hold;
}

void switch_hold_free(struct switch_lane *lane, struct switch_hold *hold)
{
	hold->next = lane->free_holds;
	lane->free_holds = hold;
}

/* One batch less refers to each of @holds; those that are not needed any more are told. */
static void holds_put(struct switch_lane *lane, struct switch_hold *const *holds, unsigned n,
		      void (*sent)(void *arg, void *const *cookies, unsigned n), void *arg)
{
	void *cookies[SWITCH_BATCH];
	unsigned done = 0;

	for (unsigned i = 0; i < n; i++) {
		if (--holds[i]->refs)
			continue;
		cookies[done++] = holds[i]->cookie;
		switch_hold_free(lane, holds[i]);
	}
	if (done)
		sent(arg, cookies, done);
}

/* ---- batches ---- */

struct switch_batch *switch_batch_new(struct switch_lane *from, struct switch_lane *to,
				      struct vdpa_loop *there)
{
	struct switch_batch *batch = from->free_batches;

	if (batch)
		from->free_batches = batch->next;
	else
		batch = malloc(sizeof(*batch));
	if (!batch)
		return NULL;
	atomic_init(&batch->state, BATCH_WAITS);
	batch->sw = from->sp->sw;
	batch->from = from;
	batch->to = to;
	batch->home = from->config.loop;
	batch->there = there;
	batch->sent = from->config.sent;
	batch->sent_arg = from->config.arg;
	batch->n = batch->at = batch->lost = 0;
	return batch;
}

/* Pieces that did not fit. */
static void free_pieces(struct switch_batch *batch)
{
	for (unsigned i = 0; i < batch->n; i++) {
		if (batch->pkts[i].iov != batch->iov[i])
			free((void *)(uintptr_t)batch->pkts[i].iov);
	}
	batch->n = 0;
}

bool switch_batch_add(struct switch_batch *batch, const struct net_packet *pkt,
		      struct switch_hold *hold)
{
	unsigned i = batch->n;
	struct iovec *iov = batch->iov[i];

	if (pkt->niov > SWITCH_IOVS)
		iov = malloc(pkt->niov * sizeof(*iov));
	if (!iov)
		return false;
	memcpy(iov, pkt->iov, pkt->niov * sizeof(*iov));
	memcpy(batch->wire[i], pkt->iov[0].iov_base, NET_HDR_BYTES);
	iov[0].iov_base = batch->wire[i];
	batch->pkts[i] = *pkt;
	batch->pkts[i].iov = iov;
	batch->holds[i] = hold;
	hold->refs++;
	batch->n++;
	return true;
}

static void batch_free(struct switch_batch *batch)
{
	struct net_switch *sw = batch->sw;

	free_pieces(batch);
	free(batch);
	/* The last access: the switch may go now. */
	atomic_fetch_sub_explicit(&sw->away, 1, memory_order_release);
}

static void unblock(struct switch_lane *lane)
{
	if (!lane->blocked)
		return;
	lane->blocked = false;
	lane->config.writable(lane->config.arg);
}

/* The sender's loop: nobody else knows the batch. */
static void come_home(struct switch_batch *batch)
{
	struct switch_lane *from = batch->from;

	list_del(&batch->out);
	from->nout[batch->to->sp->id]--;
	lane_count(from, LANE_LOST, batch->lost);
	holds_put(from, batch->holds, batch->n, batch->sent, batch->sent_arg);
	if (!atomic_load_explicit(&from->loop, memory_order_relaxed)) {
		switch_lane_trim(from);
		batch_free(batch);
		return;
	}
	free_pieces(batch);
	batch->next = from->free_batches;
	from->free_batches = batch;
	atomic_fetch_sub_explicit(&batch->sw->away, 1, memory_order_release);
	unblock(from);
}

static void home_msg(struct vdpa_loop_msg *msg)
{
	come_home(vdpa_container_of(msg, struct switch_batch, msg));
}

static void arrive_msg(struct vdpa_loop_msg *msg)
{
	struct switch_batch *batch = vdpa_container_of(msg, struct switch_batch, msg);
	struct switch_lane *to = batch->to;

	if (atomic_load(&to->loop) == batch->there) {
		switch_lane_queue(to, batch);
	} else if (switch_batch_begin(batch)) {
		batch->lost = batch->n;
		switch_batch_end(batch);
	}
}

void switch_batch_go(struct switch_batch *batch)
{
	struct switch_lane *from = batch->from;

	list_add_tail(&from->out, &batch->out);
	from->nout[batch->to->sp->id]++;
	atomic_fetch_add_explicit(&batch->sw->away, 1, memory_order_relaxed);
	if (batch->there == batch->home)
		switch_lane_queue(batch->to, batch);
	else
		vdpa_loop_post(batch->there, &batch->msg, arrive_msg);
}

bool switch_batch_begin(struct switch_batch *batch)
{
	unsigned waits = BATCH_WAITS;

	if (atomic_compare_exchange_strong(&batch->state, &waits, BATCH_BUSY))
		return true;
	batch_free(batch);
	return false;
}

bool switch_batch_pause(struct switch_batch *batch)
{
	unsigned busy = BATCH_BUSY;

	return atomic_compare_exchange_strong(&batch->state, &busy, BATCH_WAITS);
}

void switch_batch_end(struct switch_batch *batch)
{
	if (batch->there == batch->home)
		come_home(batch);
	else
		vdpa_loop_post(batch->home, &batch->msg, home_msg);
}

/* ---- taking back ---- */

/* True when its packets are ours again; then it must not be touched any more. */
static bool take_back(struct switch_batch *batch)
{
	unsigned state = BATCH_WAITS;

	if (atomic_compare_exchange_strong(&batch->state, &state, BATCH_EMPTY))
		return true;
	/* It is being copied; or it was until now, and waits again. */
	while (state == BATCH_BUSY || state == BATCH_WAITS) {
		unsigned to = state == BATCH_BUSY ? BATCH_WANTED : BATCH_EMPTY;

		if (atomic_compare_exchange_strong(&batch->state, &state, to))
			return to == BATCH_EMPTY;
	}
	return false;
}

void switch_revoke(struct net_port *port)
{
	struct switch_lane *lane = switch_lane_of(port);
	struct list *node, *last = lane->out.prev;
	bool more = !list_empty(&lane->out);

	while (more) {
		struct switch_hold *holds[SWITCH_BATCH];
		struct switch_batch *batch;
		unsigned n, to;

		node = lane->out.next;
		more = node != last;
		batch = list_entry(node, struct switch_batch, out);
		n = batch->n;
		to = batch->to->sp->id;
		memcpy(holds, batch->holds, n * sizeof(holds[0]));
		/* Out of the list first: once it is empty, the receiver may free it. */
		list_del(node);
		if (!take_back(batch)) {
			list_add_tail(&lane->out, node);
			continue;
		}
		lane->nout[to]--;
		lane_count(lane, LANE_LOST, n);
		holds_put(lane, holds, n, lane->config.sent, lane->config.arg);
	}
	unblock(lane);
}

void switch_lane_trim(struct switch_lane *lane)
{
	struct switch_batch *batch;
	struct switch_hold *hold;

	while ((batch = lane->free_batches)) {
		lane->free_batches = batch->next;
		free(batch);
	}
	while ((hold = lane->free_holds)) {
		lane->free_holds = hold->next;
		free(hold);
	}
}
