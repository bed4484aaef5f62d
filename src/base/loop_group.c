// SPDX-License-Identifier: BSD-3-Clause
/* A control loop and its workers; the grace period. */
#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/list.h"
#include "base/loop_impl.h"
#include "base/loop_urgent.h"

/* More than any machine of today has processors. */
#define LOOP_WORKERS_MAX 1024

struct vdpa_loop_group {
	unsigned workers; /* that run */
	unsigned slots;	  /* of loops[] */
	pthread_t *threads;
	struct vdpa_loop **loops; /* [0]: control, [1 + i]: worker i */
	int *cpus;		  /* that workers are tied to; -1: none */
};

static void *worker_main(void *arg)
{
	struct vdpa_loop *loop = arg;

	loop_run(loop);
	return NULL;
}

static void loop_free(struct vdpa_loop *loop)
{
	if (!loop)
		return;
	loop_free(loop->urgent);
	loop_fini(loop);
	free(loop);
}

static int loop_new_one(struct vdpa_loop_group *group, unsigned index, struct vdpa_loop **out)
{
	/* A line of its own: loops are written to by many threads. */
	size_t bytes = (sizeof(struct vdpa_loop) + 63) / 64 * 64;
	struct vdpa_loop *loop = aligned_alloc(64, bytes);
	int ret;

	if (!loop)
		return -ENOMEM;
	ret = loop_init(loop, group, index);
	if (ret) {
		free(loop);
		return ret;
	}
	*out = loop;
	return 0;
}

static int loop_new(struct vdpa_loop_group *group, unsigned index, struct vdpa_loop **out)
{
	struct vdpa_loop *loop;
	int ret = loop_new_one(group, index, &loop);

	if (ret)
		return ret;
	ret = loop_new_one(group, index, &loop->urgent);
	if (!ret)
		ret = vdpa_loop_fd_add(loop, &loop->urgent_fd, loop->urgent->epfd, EPOLLIN,
				       loop_on_urgent);
	if (ret)
		loop_free(loop);
	else
		*out = loop;
	return ret;
}

/*
 * Signals are the program's: no worker takes one, but for those that its own instructions raise.
 * SIGBUS has a handler where guest memory is mapped (vdpa_sigbus_install()); blocked, it would end
 * the process instead.
 */
static void worker_signals(sigset_t *set)
{
	sigfillset(set);
	sigdelset(set, SIGBUS);
	sigdelset(set, SIGSEGV);
	sigdelset(set, SIGILL);
	sigdelset(set, SIGFPE);
}

static int worker_start(struct vdpa_loop_group *group, unsigned i)
{
	struct vdpa_loop *loop;
	sigset_t all, old;
	char name[16];
	int ret;

	ret = loop_new(group, i + 1, &group->loops[i + 1]);
	if (ret)
		return ret;
	loop = group->loops[i + 1];
	worker_signals(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = pthread_create(&group->threads[i], NULL, worker_main, loop);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (ret)
		return -ret;
	/* Before anybody can ask whether the loop is his: the thread may not have come to it yet.
	 */
	atomic_store_explicit(&loop->owner, (uintptr_t)group->threads[i], memory_order_relaxed);
	atomic_store_explicit(&loop->urgent->owner, (uintptr_t)group->threads[i],
			      memory_order_relaxed);
	snprintf(name, sizeof(name), "vdpa-worker%u", i);
	pthread_setname_np(group->threads[i], name);
	group->workers++;
	return 0;
}

int vdpa_loop_group_new(unsigned workers, struct vdpa_loop_group **out)
{
	struct vdpa_loop_group *group;
	int ret = -ENOMEM;

	if (workers > LOOP_WORKERS_MAX)
		return -EINVAL;
	group = calloc(1, sizeof(*group));
	if (!group)
		return -ENOMEM;
	group->slots = workers + 1;
	group->loops = calloc(workers + 1, sizeof(struct vdpa_loop *));
	group->threads = calloc(workers + 1, sizeof(pthread_t));
	group->cpus = calloc(workers + 1, sizeof(int));
	if (!group->loops || !group->threads || !group->cpus)
		goto err;
	for (unsigned i = 0; i < workers; i++)
		group->cpus[i] = -1;
	ret = loop_new(group, 0, &group->loops[0]);
	for (unsigned i = 0; !ret && i < workers; i++)
		ret = worker_start(group, i);
	if (ret)
		goto err;
	*out = group;
	return 0;
err:
	vdpa_loop_group_free(group);
	return ret;
}

void vdpa_loop_group_free(struct vdpa_loop_group *group)
{
	if (!group)
		return;
	for (unsigned i = 0; i < group->workers; i++) {
		vdpa_loop_stop(group->loops[i + 1]);
		pthread_join(group->threads[i], NULL);
	}
	for (unsigned i = 0; group->loops && i < group->slots; i++)
		loop_free(group->loops[i]);
	free(group->loops);
	free(group->threads);
	free(group->cpus);
	free(group);
}

struct vdpa_loop *vdpa_loop_group_control(struct vdpa_loop_group *group)
{
	return group->loops[0];
}

unsigned vdpa_loop_group_workers(const struct vdpa_loop_group *group)
{
	return group->workers;
}

struct vdpa_loop *vdpa_loop_group_worker(struct vdpa_loop_group *group, unsigned i)
{
	return group->workers ? group->loops[1 + i % group->workers] : group->loops[0];
}

int vdpa_loop_group_set_cpu(struct vdpa_loop_group *group, unsigned i, unsigned cpu)
{
	cpu_set_t set;
	int r;

	if (i >= group->workers || cpu >= CPU_SETSIZE)
		return -EINVAL;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	r = pthread_setaffinity_np(group->threads[i], sizeof(set), &set);
	if (!r)
		group->cpus[i] = (int)cpu;
	return -r;
}

int vdpa_loop_group_get_cpu(const struct vdpa_loop_group *group, unsigned i)
{
	return i < group->workers ? group->cpus[i] : -1;
}

struct vdpa_loop *vdpa_loop_group_urgent(struct vdpa_loop_group *group)
{
	uintptr_t self = (uintptr_t)pthread_self();

	for (unsigned i = 0; i <= group->workers; i++) {
		struct vdpa_loop *loop = group->loops[i];

		if (atomic_load_explicit(&loop->owner, memory_order_relaxed) == self)
			return atomic_load(&loop->urgent->running) ? NULL : loop->urgent;
	}
	return NULL;
}

/* One hop: this loop is between two batches now. The last hop is the control loop. */
static void sync_hop(struct vdpa_loop_msg *msg)
{
	struct vdpa_loop_sync *sync = vdpa_container_of(msg, struct vdpa_loop_sync, msg);
	struct vdpa_loop_group *group = sync->group;

	if (!sync->at) {
		sync->done(sync);
		return;
	}
	sync->at = sync->at < group->workers ? sync->at + 1 : 0;
	vdpa_loop_post(group->loops[sync->at], msg, sync_hop);
}

void vdpa_loop_group_sync(struct vdpa_loop_group *group, struct vdpa_loop_sync *sync,
			  void (*done)(struct vdpa_loop_sync *sync))
{
	assert(vdpa_loop_is_current(group->loops[0]));
	sync->group = group;
	sync->done = done;
	sync->at = group->workers ? 1 : 0;
	vdpa_loop_post(group->loops[sync->at], &sync->msg, sync_hop);
}
