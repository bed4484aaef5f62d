// SPDX-License-Identifier: BSD-3-Clause
/*
 * Descriptors in flight: submitting, taking, ending, waiting for them, aborting them.
 *
 * Who attacks: somebody who fills a queue, or blocks descriptors on faults, to keep others from the
 * engines. Queues with something to do take turns; blocked descriptors hold no engine; of one
 * queue only so many may be taken and not ended (max_running), and its memory is all allocated when
 * it is made.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "dsa/impl.h"

/* Taken and not ended, beside one for each engine: blocked ones and drains. */
#define MORE_RUNNING 64u

/* ---- queues ---- */

static void queue_destroy(struct dsa_queue *queue)
{
	pthread_mutex_destroy(&queue->submit_lock);
	free(queue->ring);
	free(queue->works);
	free(queue);
}

static void works_init(struct dsa_queue *queue, unsigned n)
{
	list_init(&queue->free);
	list_init(&queue->pending);
	list_init(&queue->inflight);
	list_init(&queue->node);
	for (unsigned i = 0; i < n; i++) {
		queue->works[i].queue = queue;
		list_init(&queue->works[i].inflight);
		list_add_tail(&queue->free, &queue->works[i].node);
	}
}

int dsa_queue_new(struct dsa_engine *engine, const struct dsa_queue_config *config,
		  struct dsa_queue **out)
{
	unsigned running = engine->nworkers + MORE_RUNNING, nworks = config->size + running;
	struct dsa_queue *queue;

	if (!config->size || config->size > DSA_MAX_QUEUE ||
	    config->max_xfer_shift > DSA_MAX_XFER_SHIFT ||
	    config->max_batch_shift > DSA_MAX_BATCH_SHIFT)
		return -EINVAL;
	queue = dsa_zalloc(sizeof(*queue));
	if (!queue)
		return -ENOMEM;
	dsa_lock_init(&queue->submit_lock);
	queue->ring = dsa_zalloc(config->size * sizeof(queue->ring[0]));
	queue->works = calloc(nworks, sizeof(queue->works[0]));
	if (!queue->ring || !queue->works) {
		queue_destroy(queue);
		return -ENOMEM;
	}
	queue->engine = engine;
	queue->config = *config;
	queue->max_xfer = 1u << config->max_xfer_shift;
	queue->max_batch = 1u << config->max_batch_shift;
	queue->opcap = config->opcap ? config->opcap : DSA_OPCAP;
	queue->max_running = running;
	works_init(queue, nworks);
	pthread_mutex_lock(&engine->lock);
	list_add_tail(&engine->all, &queue->all);
	pthread_mutex_unlock(&engine->lock);
	*out = queue;
	return 0;
}

void dsa_queue_free(struct dsa_queue *queue)
{
	if (!queue)
		return;
	/* Whoever ended its last descriptor holds the lock for the last time. */
	pthread_mutex_lock(&queue->engine->lock);
	assert(atomic_load(&queue->tail) == atomic_load(&queue->taken) && !queue->nrunning);
	list_del(&queue->all);
	pthread_mutex_unlock(&queue->engine->lock);
	/* And whoever submitted it, its own: it may have ended before that returned. */
	pthread_mutex_lock(&queue->submit_lock);
	pthread_mutex_unlock(&queue->submit_lock);
	queue_destroy(queue);
}

unsigned dsa_queue_occupancy(struct dsa_queue *queue)
{
	unsigned n;

	pthread_mutex_lock(&queue->engine->lock);
	n = (unsigned)(atomic_load(&queue->tail) - atomic_load(&queue->taken)) + queue->nrunning;
	pthread_mutex_unlock(&queue->engine->lock);
	return n;
}

/* ---- submitting ---- */

/* A slot was filled: does anybody look? */
static void ring_bell(struct dsa_engine *engine)
{
	if (!atomic_load(&engine->ready))
		atomic_store(&engine->ready, true);
	if (atomic_load(&engine->nlooking) || !atomic_load(&engine->nasleep))
		return;
	pthread_mutex_lock(&engine->lock);
	dsa_wake(engine);
	pthread_mutex_unlock(&engine->lock);
}

/* Engines write what they have taken to a line of their own: it is read when it has to be. */
static bool is_full(struct dsa_queue *queue, uint64_t tail)
{
	if (tail - queue->taken_seen < queue->config.size)
		return false;
	queue->taken_seen = atomic_load_explicit(&queue->taken, memory_order_acquire);
	return tail - queue->taken_seen == queue->config.size;
}

int dsa_submit(struct dsa_queue *queue, struct dsa_space *space, const void *desc, void *cookie)
{
	struct dsa_engine *engine = queue->engine;
	struct dsa_slot *slot;
	uint64_t tail;

	pthread_mutex_lock(&queue->submit_lock);
	tail = atomic_load_explicit(&queue->tail, memory_order_relaxed);
	if (is_full(queue, tail)) {
		pthread_mutex_unlock(&queue->submit_lock);
		return -EAGAIN;
	}
	slot = &queue->ring[queue->at];
	queue->at = queue->at + 1 == queue->config.size ? 0 : queue->at + 1;
	memcpy(slot->desc, desc, DSA_DESC_BYTES);
	slot->space = space;
	slot->cookie = cookie;
	atomic_store(&queue->tail, tail + 1);
	pthread_mutex_unlock(&queue->submit_lock);
	/* It may have ended by now, and the queue be gone. */
	ring_bell(engine);
	return 0;
}

/* ---- what was submitted (the lock is held, as in all below) ---- */

/* An entry is free again. */
static void give_back(struct dsa_queue *queue)
{
	uint64_t taken = atomic_load_explicit(&queue->taken, memory_order_relaxed);

	atomic_store_explicit(&queue->taken, taken + 1, memory_order_release);
}

/* May something of @queue be taken? Then it is in the round. */
static void queue_ready(struct dsa_queue *queue)
{
	bool ready = queue->npending && queue->nrunning < queue->max_running;

	if (ready && list_empty(&queue->node))
		list_add_tail(&queue->engine->queues, &queue->node);
	else if (!ready && !list_empty(&queue->node))
		list_del(&queue->node);
}

/* From the ring to pending. There are as many works as entries and those that may run. */
static void get_one(struct dsa_queue *queue)
{
	struct dsa_slot *slot = &queue->ring[queue->got_at];
	struct list *node = list_pop(&queue->free);
	struct dsa_work *work;

	assert(node);
	work = list_entry(node, struct dsa_work, node);
	memset(&work->run, 0, sizeof(work->run));
	dsa_desc_parse(&work->run.d, slot->desc);
	work->space = slot->space;
	work->cookie = slot->cookie;
	work->in_child = work->seized = false;
	atomic_store_explicit(&work->abort, false, memory_order_relaxed);
	work->seq = queue->engine->seq++;
	work->state = DSA_PENDING;
	work->space->inflight++;
	list_add_tail(&queue->pending, &work->node);
	list_add_tail(&queue->inflight, &work->inflight);
	queue->npending++;
	queue->got++;
	queue->got_at = queue->got_at + 1 == queue->config.size ? 0 : queue->got_at + 1;
}

static void get_submitted(struct dsa_engine *engine)
{
	struct list *node;

	list_for_each (node, &engine->all) {
		struct dsa_queue *queue = list_entry(node, struct dsa_queue, all);
		uint64_t tail = atomic_load(&queue->tail);

		if (queue->got == tail)
			continue;
		while (queue->got != tail)
			get_one(queue);
		queue_ready(queue);
	}
}

static bool has_ready(const struct dsa_engine *engine)
{
	return !list_empty(&engine->resumed) || !list_empty(&engine->queues);
}

static void set_ready(struct dsa_engine *engine)
{
	if (!has_ready(engine)) {
		/* Said first, looked second: see impl.h. */
		atomic_store(&engine->ready, false);
		get_submitted(engine);
	}
	if (!has_ready(engine))
		return;
	/* Submitters read it all the time: it is not written when it says so already. */
	if (!atomic_load_explicit(&engine->ready, memory_order_relaxed))
		atomic_store_explicit(&engine->ready, true, memory_order_relaxed);
	dsa_wake(engine);
}

/* ---- what an engine does next ---- */

static bool selected(const struct dsa_select *select, const struct dsa_work *work)
{
	return (!select->queue || select->queue == work->queue) &&
	       (select->pasid == DSA_ANY_PASID || select->pasid == work->space->pasid);
}

/* How many that are selected were submitted before @seq. */
static uint64_t count_of_queue(struct dsa_queue *queue, const struct dsa_select *select,
			       uint64_t seq)
{
	struct dsa_work *work;
	uint64_t n = 0;

	list_for_each_entry (work, &queue->inflight, inflight) {
		if (work->seq >= seq)
			break;
		n += selected(select, work);
	}
	return n;
}

static uint64_t count_before(struct dsa_engine *engine, const struct dsa_select *select,
			     uint64_t seq)
{
	struct dsa_queue *queue;
	uint64_t n = 0;

	list_for_each_entry (queue, &engine->all, all)
		n += count_of_queue(queue, select, seq);
	return n;
}

static struct dsa_select drained_by(const struct dsa_work *work)
{
	return (struct dsa_select){work->queue, work->space->pasid};
}

/* Queues take turns: this one is the last of the next round. */
static struct dsa_queue *next_queue(struct dsa_engine *engine)
{
	struct list *first = engine->queues.next;

	if (first != engine->queues.prev) {
		list_del(first);
		list_add_tail(&engine->queues, first);
	}
	return list_entry(first, struct dsa_queue, node);
}

/* From pending to running; a drain may have to wait first. NULL: there is nothing. */
static struct dsa_work *take_one(struct dsa_engine *engine)
{
	struct dsa_queue *queue;
	struct dsa_work *work;
	struct dsa_select before;
	struct list *node = list_pop(&engine->resumed);

	if (node)
		return list_entry(node, struct dsa_work, node);
	while (!list_empty(&engine->queues)) {
		queue = next_queue(engine);
		work = list_entry(list_pop(&queue->pending), struct dsa_work, node);
		queue->npending--;
		queue->nrunning++;
		/* Its entry is free before its record can be seen. */
		give_back(queue);
		queue_ready(queue);
		work->state = DSA_RUNNING;
		if (work->run.d.op != DSA_OPCODE_DRAIN)
			return work;
		before = drained_by(work);
		/* A queue is taken from in order: what is before it runs, so these are few. */
		work->left = count_of_queue(queue, &before, work->seq);
		if (!work->left)
			return work;
		work->state = DSA_WAITING;
		list_add_tail(&engine->drains, &work->node);
	}
	return NULL;
}

/* What @worker executes next, in its list. */
static void take_some(struct dsa_worker *worker)
{
	struct dsa_engine *engine = worker->engine;
	struct dsa_work *work;
	bool looking;

	/* One queue alone is looked at when what it had is done: its submitters write there. */
	if (!has_ready(engine) || engine->all.next != engine->all.prev)
		get_submitted(engine);
	for (unsigned i = 0; i < worker->most && (work = take_one(engine)); i++)
		list_add_tail(&worker->mine, &work->node);
	looking = list_empty(&worker->mine);
	if (worker->looking != looking) {
		worker->looking = looking;
		atomic_fetch_add(&engine->nlooking, looking ? 1 : -1u);
	}
	if (looking || has_ready(engine))
		set_ready(engine);
}

bool dsa_may_sleep(struct dsa_worker *worker)
{
	struct dsa_engine *engine = worker->engine;
	bool may;

	pthread_mutex_lock(&engine->lock);
	if (worker->looking)
		atomic_fetch_sub(&engine->nlooking, 1);
	atomic_fetch_add(&engine->nasleep, 1);
	worker->looking = worker->awake = false;
	get_submitted(engine);
	may = !has_ready(engine);
	if (!may) {
		worker->awake = true;
		atomic_fetch_sub(&engine->nasleep, 1);
	}
	pthread_mutex_unlock(&engine->lock);
	return may;
}

/* ---- faults ---- */

static void resume(struct dsa_engine *engine, struct dsa_work *work)
{
	list_add_tail(&engine->resumed, &work->node);
	work->state = DSA_RUNNING;
}

void dsa_park(struct dsa_worker *worker, struct dsa_work *work)
{
	struct dsa_engine *engine = worker->engine;

	pthread_mutex_lock(&engine->lock);
	if (atomic_load(&work->abort)) {
		resume(engine, work);
		set_ready(engine);
	} else {
		work->state = DSA_PARKED;
		list_add_tail(&work->space->views[worker->index].parked, &work->node);
	}
	pthread_mutex_unlock(&engine->lock);
}

void dsa_unpark(struct dsa_space_view *view)
{
	struct dsa_engine *engine = view->space->engine;
	struct list *node;

	pthread_mutex_lock(&engine->lock);
	while ((node = list_pop(&view->parked)))
		resume(engine, list_entry(node, struct dsa_work, node));
	set_ready(engine);
	pthread_mutex_unlock(&engine->lock);
}

/* ---- ends ---- */

/* Waits that are over, to be told when the lock is not held. */
static void settle_waits(struct dsa_engine *engine, const struct dsa_work *work,
			 struct dsa_wait **over)
{
	struct dsa_wait **at = &engine->waits, *wait;

	while ((wait = *at)) {
		if (work->seq < wait->before && selected(&wait->select, work) && !--wait->left) {
			*at = wait->next;
			wait->next = *over;
			*over = wait;
		} else {
			at = &wait->next;
		}
	}
}

/* Drains that waited for @work. */
static void settle_drains(struct dsa_engine *engine, const struct dsa_work *work)
{
	struct dsa_work *drain, *next;

	list_for_each_entry_safe (drain, next, &engine->drains, node) {
		struct dsa_select before = drained_by(drain);

		if (work->seq < drain->seq && selected(&before, work) && !--drain->left) {
			list_del(&drain->node);
			resume(engine, drain);
		}
	}
}

static void tell_waits(struct dsa_wait *over)
{
	while (over) {
		struct dsa_wait *next = over->next;
		/* Its memory may be gone as soon as it is told. */
		struct vdpa_done done = over->done;

		vdpa_done_call(&done, 0);
		over = next;
	}
}

/* Before anybody is told that it has ended: the argument lives until then. */
void dsa_tell_completed(struct dsa_work *work)
{
	const struct dsa_queue_config *config = &work->queue->config;

	if (config->ops && config->ops->completed)
		config->ops->completed(config->arg, work->cookie, work->run.status);
}

static void finish(struct dsa_work *work, struct dsa_wait **over)
{
	struct dsa_queue *queue = work->queue;
	struct dsa_engine *engine = queue->engine;

	list_del(&work->inflight);
	work->state = DSA_FREE;
	work->space->inflight--;
	if (work->seized)
		give_back(queue);
	else
		queue->nrunning--;
	settle_waits(engine, work, over);
	settle_drains(engine, work);
	list_add(&queue->free, &work->node);
	queue_ready(queue);
}

void dsa_swap(struct dsa_worker *worker)
{
	struct dsa_engine *engine = worker->engine;
	struct dsa_wait *over = NULL;
	struct list *node;

	if (worker->looking && list_empty(&worker->ended) &&
	    !atomic_load_explicit(&engine->ready, memory_order_relaxed))
		return;
	pthread_mutex_lock(&engine->lock);
	while ((node = list_pop(&worker->ended)))
		finish(list_entry(node, struct dsa_work, node), &over);
	take_some(worker);
	pthread_mutex_unlock(&engine->lock);
	tell_waits(over);
}

/* ---- waiting and aborting ---- */

/* True: there is nothing to wait for. */
static bool wait_begin(struct dsa_engine *engine, const struct dsa_select *select,
		       struct dsa_wait *wait)
{
	get_submitted(engine);
	wait->select = *select;
	wait->before = engine->seq;
	wait->left = count_before(engine, select, wait->before);
	if (!wait->left)
		return true;
	wait->next = engine->waits;
	engine->waits = wait;
	return false;
}

void dsa_drain(struct dsa_engine *engine, const struct dsa_select *select, struct dsa_wait *wait)
{
	bool over;

	pthread_mutex_lock(&engine->lock);
	over = wait_begin(engine, select, wait);
	pthread_mutex_unlock(&engine->lock);
	if (over)
		vdpa_done_call(&wait->done, 0);
}

/* Nobody executes it: it is ours now. */
static bool seize(struct dsa_work *work)
{
	struct dsa_queue *queue = work->queue;

	switch (work->state) {
	case DSA_PENDING:
		list_del(&work->node);
		work->seized = true;
		queue->npending--;
		queue_ready(queue);
		break;
	case DSA_PARKED:
	case DSA_WAITING:
		list_del(&work->node);
		break;
	default:
		return false;
	}
	work->state = DSA_RUNNING;
	work->run.status = DSA_COMP_NONE;
	return true;
}

/* What was seized: told, then ended. */
static void finish_mine(struct dsa_engine *engine, struct list *mine)
{
	struct dsa_wait *over = NULL;
	struct dsa_work *work;
	struct list *node;

	list_for_each_entry (work, mine, node)
		dsa_tell_completed(work);
	pthread_mutex_lock(&engine->lock);
	while ((node = list_pop(mine)))
		finish(list_entry(node, struct dsa_work, node), &over);
	if (has_ready(engine))
		set_ready(engine);
	pthread_mutex_unlock(&engine->lock);
	tell_waits(over);
}

static void abort_queue(struct dsa_queue *queue, const struct dsa_select *select, struct list *mine)
{
	struct dsa_work *work;

	list_for_each_entry (work, &queue->inflight, inflight) {
		if (!selected(select, work))
			continue;
		atomic_store(&work->abort, true);
		if (seize(work))
			list_add_tail(mine, &work->node);
	}
}

void dsa_abort(struct dsa_engine *engine, const struct dsa_select *select, struct dsa_wait *wait)
{
	struct dsa_queue *queue;
	struct list mine;
	bool over;

	list_init(&mine);
	pthread_mutex_lock(&engine->lock);
	over = wait_begin(engine, select, wait);
	list_for_each_entry (queue, &engine->all, all)
		abort_queue(queue, select, &mine);
	set_ready(engine);
	pthread_mutex_unlock(&engine->lock);
	finish_mine(engine, &mine);
	if (over)
		vdpa_done_call(&wait->done, 0);
}
