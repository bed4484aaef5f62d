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

int dsa_queue_new(struct dsa_engine *engine, const struct dsa_queue_config *config,
		  struct dsa_queue **out)
{
	unsigned running = engine->nworkers + MORE_RUNNING, nworks = config->size + running;
	struct dsa_queue *queue;

	if (!config->size || config->size > DSA_MAX_QUEUE ||
	    config->max_xfer_shift > DSA_MAX_XFER_SHIFT ||
	    config->max_batch_shift > DSA_MAX_BATCH_SHIFT)
		return -EINVAL;
	queue = calloc(1, sizeof(*queue) + nworks * sizeof(queue->works[0]));
	if (!queue)
		return -ENOMEM;
	queue->engine = engine;
	queue->config = *config;
	queue->max_xfer = 1u << config->max_xfer_shift;
	queue->max_batch = 1u << config->max_batch_shift;
	queue->opcap = config->opcap ? config->opcap : DSA_OPCAP;
	queue->max_running = running;
	list_init(&queue->free);
	list_init(&queue->pending);
	list_init(&queue->node);
	for (unsigned i = 0; i < nworks; i++) {
		queue->works[i].queue = queue;
		list_init(&queue->works[i].inflight);
		list_add_tail(&queue->free, &queue->works[i].node);
	}
	*out = queue;
	return 0;
}

void dsa_queue_free(struct dsa_queue *queue)
{
	if (!queue)
		return;
	/* Whoever ended its last descriptor holds the lock for the last time. */
	pthread_mutex_lock(&queue->engine->lock);
	assert(!queue->npending && !queue->nrunning);
	pthread_mutex_unlock(&queue->engine->lock);
	free(queue);
}

unsigned dsa_queue_occupancy(struct dsa_queue *queue)
{
	unsigned n;

	pthread_mutex_lock(&queue->engine->lock);
	n = queue->npending + queue->nrunning;
	pthread_mutex_unlock(&queue->engine->lock);
	return n;
}

/* May something of @queue be taken? Then it is in the round. The lock is held, as in all below. */
static void queue_ready(struct dsa_queue *queue)
{
	bool ready = queue->npending && queue->nrunning < queue->max_running;

	if (ready && list_empty(&queue->node))
		list_add_tail(&queue->engine->queues, &queue->node);
	else if (!ready)
		list_del(&queue->node);
}

static void set_ready(struct dsa_engine *engine)
{
	bool ready = !list_empty(&engine->resumed) || !list_empty(&engine->queues);

	atomic_store_explicit(&engine->ready, ready, memory_order_relaxed);
	if (ready)
		dsa_wake(engine);
}

int dsa_submit(struct dsa_queue *queue, struct dsa_space *space, const void *desc, void *cookie)
{
	struct dsa_engine *engine = queue->engine;
	struct list *node = NULL;
	struct dsa_work *work;

	pthread_mutex_lock(&engine->lock);
	if (queue->npending < queue->config.size)
		node = list_pop(&queue->free);
	if (!node) {
		pthread_mutex_unlock(&engine->lock);
		return -EAGAIN;
	}
	work = list_entry(node, struct dsa_work, node);
	memset(&work->run, 0, sizeof(work->run));
	dsa_desc_parse(&work->run.d, desc);
	work->space = space;
	work->cookie = cookie;
	work->in_child = false;
	atomic_store_explicit(&work->abort, false, memory_order_relaxed);
	work->seq = engine->seq++;
	work->state = DSA_PENDING;
	space->inflight++;
	queue->npending++;
	list_add_tail(&queue->pending, &work->node);
	list_add_tail(&engine->inflight, &work->inflight);
	queue_ready(queue);
	set_ready(engine);
	pthread_mutex_unlock(&engine->lock);
	return 0;
}

/* ---- what an engine does next ---- */

static bool selected(const struct dsa_select *select, const struct dsa_work *work)
{
	return (!select->queue || select->queue == work->queue) &&
	       (select->pasid == DSA_ANY_PASID || select->pasid == work->space->pasid);
}

/* How many that are selected were submitted before @seq. */
static uint64_t count_before(struct dsa_engine *engine, const struct dsa_select *select,
			     uint64_t seq)
{
	struct dsa_work *work;
	uint64_t n = 0;

	list_for_each_entry (work, &engine->inflight, inflight) {
		if (work->seq >= seq)
			break;
		n += selected(select, work);
	}
	return n;
}

static struct dsa_select drained_by(const struct dsa_work *work)
{
	return (struct dsa_select){work->queue, work->space->pasid};
}

/* From pending to running; a drain may have to wait first. */
static struct dsa_work *take_pending(struct dsa_engine *engine)
{
	struct dsa_queue *queue;
	struct dsa_work *work;
	struct dsa_select before;

	while (!list_empty(&engine->queues)) {
		queue = list_entry(list_pop(&engine->queues), struct dsa_queue, node);
		work = list_entry(list_pop(&queue->pending), struct dsa_work, node);
		queue->npending--;
		queue->nrunning++;
		queue_ready(queue);
		work->state = DSA_RUNNING;
		if (work->run.d.op != DSA_OPCODE_DRAIN)
			return work;
		before = drained_by(work);
		work->left = count_before(engine, &before, work->seq);
		if (!work->left)
			return work;
		work->state = DSA_WAITING;
		list_add_tail(&engine->drains, &work->node);
	}
	return NULL;
}

struct dsa_work *dsa_take(struct dsa_worker *worker)
{
	struct dsa_engine *engine = worker->engine;
	struct dsa_work *work;
	struct list *node;

	if (worker->looking && !atomic_load_explicit(&engine->ready, memory_order_relaxed))
		return NULL;
	pthread_mutex_lock(&engine->lock);
	node = list_pop(&engine->resumed);
	if (node) {
		work = list_entry(node, struct dsa_work, node);
		work->state = DSA_RUNNING;
	} else {
		work = take_pending(engine);
	}
	if (worker->looking != !work) {
		worker->looking = !work;
		engine->nlooking += worker->looking ? 1 : -1u;
	}
	set_ready(engine);
	pthread_mutex_unlock(&engine->lock);
	return work;
}

bool dsa_may_sleep(struct dsa_worker *worker)
{
	struct dsa_engine *engine = worker->engine;
	bool may;

	pthread_mutex_lock(&engine->lock);
	may = !atomic_load_explicit(&engine->ready, memory_order_relaxed);
	if (may) {
		if (worker->looking)
			engine->nlooking--;
		worker->looking = worker->awake = false;
		engine->nasleep++;
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

/* completed() before anybody is told that this has ended: its argument lives until then. */
void dsa_finish(struct dsa_work *work)
{
	struct dsa_queue *queue = work->queue;
	const struct dsa_queue_ops *ops = queue->config.ops;
	struct dsa_engine *engine = queue->engine;
	struct dsa_wait *over = NULL;

	if (ops && ops->completed)
		ops->completed(queue->config.arg, work->cookie, work->run.status);
	pthread_mutex_lock(&engine->lock);
	list_del(&work->inflight);
	work->state = DSA_FREE;
	work->space->inflight--;
	queue->nrunning--;
	settle_waits(engine, work, &over);
	settle_drains(engine, work);
	list_add(&queue->free, &work->node);
	queue_ready(queue);
	set_ready(engine);
	pthread_mutex_unlock(&engine->lock);
	tell_waits(over);
}

/* ---- waiting and aborting ---- */

/* True: there is nothing to wait for. */
static bool wait_begin(struct dsa_engine *engine, const struct dsa_select *select,
		       struct dsa_wait *wait)
{
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
		queue->npending--;
		queue->nrunning++;
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

void dsa_abort(struct dsa_engine *engine, const struct dsa_select *select, struct dsa_wait *wait)
{
	struct dsa_work *work;
	struct list mine, *node;
	bool over;

	list_init(&mine);
	pthread_mutex_lock(&engine->lock);
	over = wait_begin(engine, select, wait);
	list_for_each_entry (work, &engine->inflight, inflight) {
		if (!selected(select, work))
			continue;
		atomic_store(&work->abort, true);
		if (seize(work))
			list_add_tail(&mine, &work->node);
	}
	set_ready(engine);
	pthread_mutex_unlock(&engine->lock);
	while ((node = list_pop(&mine)))
		dsa_finish(list_entry(node, struct dsa_work, node));
	if (over)
		vdpa_done_call(&wait->done, 0);
}
