// SPDX-License-Identifier: BSD-3-Clause
/* Engines: their life, their loops, and the spaces whose views are on these loops. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "dsa/impl.h"

/* Descriptors in one turn of a loop; and that an engine takes at a time. */
#define TURN 16u
#define SEVERAL 8u

/* ---- an engine's turn ---- */

/* False: there is more of it to do, in another turn. */
static bool execute(struct dsa_worker *worker, struct dsa_work *work)
{
	switch (dsa_exec(worker, work)) {
	case DSA_ENDED:
		dsa_tell_completed(work);
		list_add_tail(&worker->ended, &work->node);
		break;
	case DSA_YIELDED:
		list_add(&worker->mine, &work->node);
		return false;
	case DSA_BLOCKED:
		dsa_park(worker, work);
		break;
	}
	return true;
}

static bool worker_turn(struct vdpa_loop_poller *poller)
{
	struct dsa_worker *worker = vdpa_container_of(poller, struct dsa_worker, poller);
	struct list *node;
	unsigned n;

	for (n = 0; n < TURN; n++) {
		if (list_empty(&worker->mine))
			dsa_swap(worker);
		node = list_pop(&worker->mine);
		if (!node)
			break;
		if (!execute(worker, list_entry(node, struct dsa_work, node)))
			return true;
	}
	if (n)
		worker->worked_ns = vdpa_clock_ns();
	else if (vdpa_clock_ns() - worker->worked_ns >= worker->engine->spin_ns &&
		 dsa_may_sleep(worker))
		vdpa_loop_poller_del(poller);
	return n;
}

static void worker_start(struct vdpa_loop_msg *msg)
{
	struct dsa_worker *worker = vdpa_container_of(msg, struct dsa_worker, start);

	worker->worked_ns = vdpa_clock_ns();
	vdpa_loop_poller_add(worker->loop, &worker->poller, worker_turn);
}

void dsa_wake(struct dsa_engine *engine)
{
	struct dsa_worker *worker = engine->workers;

	if (atomic_load(&engine->nlooking) || !atomic_load(&engine->nasleep))
		return;
	while (worker->awake)
		worker++;
	worker->awake = true;
	atomic_fetch_sub(&engine->nasleep, 1);
	vdpa_loop_post(worker->loop, &worker->start, worker_start);
}

/* ---- engines ---- */

static void engine_destroy(struct dsa_engine *engine)
{
	for (unsigned i = 0; i < engine->nworkers; i++)
		free(engine->workers[i].mem);
	pthread_mutex_destroy(&engine->lock);
	free(engine);
}

void *dsa_zalloc(size_t bytes)
{
	void *p;

	bytes = (bytes + 63) / 64 * 64;
	p = aligned_alloc(64, bytes);
	if (p)
		memset(p, 0, bytes);
	return p;
}

/* It is held for so short that to sleep for it would cost more than to look again. */
void dsa_lock_init(pthread_mutex_t *lock)
{
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ADAPTIVE_NP);
	pthread_mutex_init(lock, &attr);
	pthread_mutexattr_destroy(&attr);
}

int dsa_engine_new(struct vdpa_loop_group *group, const struct dsa_engine_config *config,
		   struct dsa_engine **out)
{
	unsigned n = config->engines ? config->engines : vdpa_loop_group_workers(group);
	struct dsa_engine *engine;

	n = n ? n : 1;
	engine = dsa_zalloc(sizeof(*engine) + n * sizeof(engine->workers[0]));
	if (!engine)
		return -ENOMEM;
	dsa_lock_init(&engine->lock);
	list_init(&engine->queues);
	list_init(&engine->all);
	list_init(&engine->resumed);
	list_init(&engine->drains);
	engine->spin_ns = 1000ull * config->busyloop_us;
	engine->nworkers = n;
	atomic_init(&engine->nasleep, n);
	for (unsigned i = 0; i < n; i++) {
		struct dsa_worker *worker = &engine->workers[i];

		worker->engine = engine;
		worker->index = i;
		worker->loop = vdpa_loop_group_worker(group, i);
		list_init(&worker->mine);
		list_init(&worker->ended);
		worker->most = n == 1 ? SEVERAL : 1;
		worker->mem = malloc(sizeof(*worker->mem));
		if (!worker->mem) {
			engine_destroy(engine);
			return -ENOMEM;
		}
	}
	*out = engine;
	return 0;
}

static void worker_stop(struct vdpa_loop_msg *msg)
{
	struct dsa_worker *worker = vdpa_container_of(msg, struct dsa_worker, stop);
	struct dsa_engine *engine = worker->engine;
	struct vdpa_done done = engine->done;

	vdpa_loop_poller_del(&worker->poller);
	if (atomic_fetch_sub(&engine->stopping, 1) != 1)
		return;
	engine_destroy(engine);
	vdpa_done_call(&done, 0);
}

void dsa_engine_free(struct dsa_engine *engine, const struct vdpa_done *done)
{
	unsigned n = engine->nworkers;

	assert(list_empty(&engine->all));
	engine->done = done ? *done : (struct vdpa_done){0};
	atomic_store(&engine->stopping, n);
	/* The last one frees it, perhaps before this has returned. */
	for (unsigned i = 0; i < n; i++)
		vdpa_loop_post(engine->workers[i].loop, &engine->workers[i].stop, worker_stop);
}

/* ---- spaces ---- */

static void view_changed(void *arg)
{
	dsa_unpark(arg);
}

static const struct vdpa_view_ops view_ops = {.changed = view_changed};

int dsa_space_new(struct dsa_engine *engine, uint32_t pasid, struct vdpa_as *as,
		  struct dsa_space **out)
{
	unsigned n = engine->nworkers;
	struct dsa_space *space = calloc(1, sizeof(*space) + n * sizeof(space->views[0]));
	int ret = 0;

	if (!space)
		return -ENOMEM;
	space->engine = engine;
	space->pasid = pasid;
	for (unsigned i = 0; i < n && !ret; i++) {
		struct dsa_space_view *view = &space->views[i];

		view->space = space;
		list_init(&view->parked);
		if (as)
			ret = vdpa_view_attach(as, engine->workers[i].loop, &view_ops, view,
					       &view->view);
	}
	if (ret) {
		dsa_space_free(space);
		return ret;
	}
	*out = space;
	return 0;
}

void dsa_space_free(struct dsa_space *space)
{
	if (!space)
		return;
	pthread_mutex_lock(&space->engine->lock);
	assert(!space->inflight);
	pthread_mutex_unlock(&space->engine->lock);
	for (unsigned i = 0; i < space->engine->nworkers; i++)
		vdpa_view_detach(space->views[i].view);
	free(space);
}
