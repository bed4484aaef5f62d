// SPDX-License-Identifier: BSD-3-Clause
/*
 * The portal in process: engines, one queue and one space, with threads of their own.
 *
 * Nobody runs this group's control loop. Only changes of the map need it, and whoever asks for one
 * runs it until that is done.
 */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "dsa/impl.h"

#define MAX_ENGINES 64u
#define DEFAULT_ENTRIES 128u
#define DEFAULT_BUSYLOOP_US 50u
/* Looks at a record before the processor is given to somebody else, and between two naps. */
#define SPINS 4096u
#define NAP_NS 20000

struct dsa_portal {
	struct dsa_portal_params params;
	struct vdpa_loop_group *group;
	struct dsa_engine *engine;
	struct dsa_space *space;
	struct dsa_queue *queue;
	pthread_mutex_t map_lock; /* of the control side: as, and the control loop */
	struct vdpa_as *as;	  /* params.mapped */
};

/* ---- waiting ---- */

struct gate {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool open;
};

#define GATE                                                                                       \
	{                                                                                          \
		PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false                         \
	}

static void gate_open(void *arg, int result)
{
	struct gate *gate = arg;

	pthread_mutex_lock(&gate->lock);
	gate->open = true;
	pthread_cond_signal(&gate->cond);
	pthread_mutex_unlock(&gate->lock);
}

static void gate_wait(struct gate *gate)
{
	pthread_mutex_lock(&gate->lock);
	while (!gate->open)
		pthread_cond_wait(&gate->cond, &gate->lock);
	pthread_mutex_unlock(&gate->lock);
	pthread_cond_destroy(&gate->cond);
	pthread_mutex_destroy(&gate->lock);
}

static const struct dsa_select everything = {NULL, DSA_ANY_PASID};

void dsa_portal_drain(struct dsa_portal *portal)
{
	struct gate gate = GATE;
	struct dsa_wait wait = {.done = {gate_open, &gate}};

	dsa_drain(portal->engine, &everything, &wait);
	gate_wait(&gate);
}

void dsa_portal_abort(struct dsa_portal *portal)
{
	struct gate gate = GATE;
	struct dsa_wait wait = {.done = {gate_open, &gate}};

	dsa_abort(portal->engine, &everything, &wait);
	gate_wait(&gate);
}

/* Nobody tells of a byte in memory: look, for long at first, then now and then. */
uint8_t dsa_portal_wait(const void *record, int64_t timeout_ns)
{
	uint64_t since = timeout_ns < 0 ? 0 : vdpa_clock_ns();
	uint8_t status;

	for (unsigned i = 1; !(status = __atomic_load_n((const uint8_t *)record, __ATOMIC_ACQUIRE));
	     i++) {
		if (i < SPINS)
			continue;
		if (timeout_ns >= 0 && vdpa_clock_ns() - since >= (uint64_t)timeout_ns)
			return 0;
		if (i < 2 * SPINS)
			sched_yield();
		else
			nanosleep(&(struct timespec){.tv_nsec = NAP_NS}, NULL);
	}
	return status;
}

/* ---- memory ---- */

/* That nobody has mapped it is no error: a descriptor that blocks waits for it. */
static void on_miss(void *arg, unsigned asid, iova_t iova, uint32_t perm)
{
}

static uint32_t perm_of(int prot)
{
	if (!(prot & (PROT_READ | PROT_WRITE)) || prot & ~(PROT_READ | PROT_WRITE))
		return 0;
	return (prot & PROT_READ ? VHOST_MAP_RO : 0) | (prot & PROT_WRITE ? VHOST_MAP_WO : 0);
}

int dsa_portal_map(struct dsa_portal *portal, void *addr, size_t size, int prot)
{
	uint64_t first = (uintptr_t)addr;
	uint32_t perm = perm_of(prot);
	struct vdpa_region *region;
	int ret;

	if (!portal->as || !size || !perm || first + (size - 1) < first)
		return -EINVAL;
	pthread_mutex_lock(&portal->map_lock);
	ret = vdpa_region_wrap(addr, size, 0, &region);
	if (!ret) {
		ret = vdpa_as_map(portal->as, first, size, vdpa_region_addr(region, 0), perm,
				  region);
		vdpa_region_put(region);
	}
	pthread_mutex_unlock(&portal->map_lock);
	return ret;
}

struct removal {
	bool done;
};

static void on_removed(void *arg, int result)
{
	((struct removal *)arg)->done = true;
}

int dsa_portal_unmap(struct dsa_portal *portal, void *addr, size_t size)
{
	uint64_t first = (uintptr_t)addr;
	struct removal removal = {false};
	struct vdpa_done done = {on_removed, &removal};
	int ret;

	if (!portal->as || !size || first + (size - 1) < first)
		return -EINVAL;
	pthread_mutex_lock(&portal->map_lock);
	ret = vdpa_as_unmap(portal->as, first, first + (size - 1), &done);
	while (!ret && !removal.done)
		vdpa_loop_run_once(vdpa_loop_group_control(portal->group), -1);
	pthread_mutex_unlock(&portal->map_lock);
	return ret;
}

/* ---- what is told ---- */

static void on_interrupt(void *arg, uint16_t handle)
{
	const struct dsa_portal_params *p = &((struct dsa_portal *)arg)->params;

	if (p->interrupt)
		p->interrupt(p->arg, handle);
}

static void on_error(void *arg, const struct dsa_error *error)
{
	const struct dsa_portal_params *p = &((struct dsa_portal *)arg)->params;

	if (p->error)
		p->error(p->arg, error);
}

static void on_completed(void *arg, void *cookie, uint8_t status)
{
	const struct dsa_portal_params *p = &((struct dsa_portal *)arg)->params;

	if (p->completed)
		p->completed(p->arg, cookie, status);
}

static const struct dsa_queue_ops queue_ops = {
	.interrupt = on_interrupt,
	.error = on_error,
	.completed = on_completed,
};

int dsa_portal_submit(struct dsa_portal *portal, const struct dsa_hw_desc *desc, void *cookie)
{
	return dsa_submit(portal->queue, portal->space, desc, cookie);
}

/* ---- birth and death ---- */

static void on_synced(struct vdpa_loop_sync *sync)
{
	vdpa_loop_stop(vdpa_loop_group_control(sync->group));
}

static void space_end(struct dsa_portal *portal)
{
	struct vdpa_loop_sync sync;

	dsa_space_free(portal->space);
	if (!portal->as)
		return;
	vdpa_as_free(portal->as);
	vdpa_loop_group_sync(portal->group, &sync, on_synced);
	vdpa_loop_run(vdpa_loop_group_control(portal->group));
}

/* Of every half-built one. */
static void portal_destroy(struct dsa_portal *portal)
{
	struct gate gone = GATE;

	dsa_queue_free(portal->queue);
	space_end(portal);
	if (portal->engine) {
		dsa_engine_free(portal->engine, &(struct vdpa_done){gate_open, &gone});
		gate_wait(&gone);
	}
	vdpa_loop_group_free(portal->group);
	pthread_mutex_destroy(&portal->map_lock);
	free(portal);
}

static int space_begin(struct dsa_portal *portal)
{
	int ret = 0;

	if (portal->params.mapped) {
		ret = vdpa_as_new(portal->group, 0, &portal->as);
		if (!ret)
			ret = vdpa_as_set_miss(portal->as, on_miss, portal);
	}
	return ret ? ret : dsa_space_new(portal->engine, 0, portal->as, &portal->space);
}

static int portal_init(struct dsa_portal *portal)
{
	const struct dsa_portal_params *p = &portal->params;
	struct dsa_engine_config engine = {.engines = p->engines, .busyloop_us = p->busyloop_us};
	struct dsa_queue_config queue = {
		.size = p->entries,
		.max_xfer_shift = p->max_xfer_shift,
		.max_batch_shift = p->max_batch_shift,
		.block_on_fault = p->block_on_fault,
		.priv = p->privileged,
		.batch_reversed = p->batch_reversed,
		.ops = &queue_ops,
		.arg = portal,
	};
	int ret = vdpa_loop_group_new(p->engines, &portal->group);

	if (!ret)
		ret = dsa_engine_new(portal->group, &engine, &portal->engine);
	if (!ret)
		ret = space_begin(portal);
	return ret ? ret : dsa_queue_new(portal->engine, &queue, &portal->queue);
}

static void set_default(unsigned *v, unsigned value)
{
	*v = *v ? *v : value;
}

/* An older program's structure is shorter: what it does not have is 0. */
static void take_params(struct dsa_portal *portal, const struct dsa_portal_params *params)
{
	struct dsa_portal_params *p = &portal->params;

	if (params)
		memcpy(p, params, params->size < sizeof(*p) ? params->size : sizeof(*p));
	set_default(&p->engines, 1);
	set_default(&p->entries, DEFAULT_ENTRIES);
	set_default(&p->max_xfer_shift, DSA_MAX_XFER_SHIFT);
	set_default(&p->max_batch_shift, DSA_MAX_BATCH_SHIFT);
	set_default(&p->busyloop_us, DEFAULT_BUSYLOOP_US);
}

static int check_params(const struct dsa_portal_params *p, struct vdpa_error *err)
{
	if (p->engines > MAX_ENGINES)
		return vdpa_error_set(err, EINVAL, NULL, "%u engines: 1 to %u are allowed",
				      p->engines, MAX_ENGINES);
	if (p->entries > DSA_MAX_QUEUE)
		return vdpa_error_set(err, EINVAL, NULL, "%u queue entries: 1 to %u are allowed",
				      p->entries, DSA_MAX_QUEUE);
	if (p->max_xfer_shift > DSA_MAX_XFER_SHIFT)
		return vdpa_error_set(err, EINVAL, NULL,
				      "a transfer of 2^%u bytes: 2^%u is the largest allowed",
				      p->max_xfer_shift, DSA_MAX_XFER_SHIFT);
	if (p->max_batch_shift > DSA_MAX_BATCH_SHIFT)
		return vdpa_error_set(err, EINVAL, NULL,
				      "a batch of 2^%u descriptors: 2^%u is the largest allowed",
				      p->max_batch_shift, DSA_MAX_BATCH_SHIFT);
	return 0;
}

int dsa_portal_new(const struct dsa_portal_params *params, struct dsa_portal **out,
		   struct vdpa_error *err)
{
	struct dsa_portal *portal = calloc(1, sizeof(*portal));
	int ret;

	if (!portal)
		return vdpa_error_set(err, ENOMEM, NULL, "no memory for a portal");
	pthread_mutex_init(&portal->map_lock, NULL);
	take_params(portal, params);
	ret = check_params(&portal->params, err);
	if (!ret) {
		ret = portal_init(portal);
		if (ret)
			vdpa_error_set(err, -ret, NULL, "%u engines with %u queue entries: %s",
				       portal->params.engines, portal->params.entries,
				       strerror(-ret));
	}
	if (ret) {
		portal_destroy(portal);
		return ret;
	}
	*out = portal;
	return 0;
}

void dsa_portal_free(struct dsa_portal *portal)
{
	if (!portal)
		return;
	dsa_portal_abort(portal);
	portal_destroy(portal);
}
