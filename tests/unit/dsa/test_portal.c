// SPDX-License-Identifier: BSD-3-Clause
/*
 * The portal in process: many threads, engines side by side, draining and aborting at any time,
 * memory that comes and goes, allocations that fail.
 */
#include "dsa_test.h"

#include <errno.h>
#include <linux/idxd.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "alloc_fail.h"

#define BUF (16 * PAGE)
#define MANY 2000u
#define SLOTS 64u
#define SLOT_BYTES (BUF / SLOTS)

/* Whoever comes to a closed door waits for it: how a test holds an engine. */
struct door {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool open;
	unsigned waiting;
};

struct rig {
	struct dsa_portal *portal;
	struct door door;
	void *held; /* the cookie whose completion waits at the door */
	_Atomic unsigned completed, aborted, failed, interrupts, errors, faults;
	_Atomic bool busy[SLOTS]; /* whose number is the cookie */
};

struct buffers {
	uint8_t from[BUF], to[BUF];
	struct dsa_completion_record record[256] __attribute__((aligned(32)));
};

static struct rig rig, *r = &rig;
static struct buffers *m;

static void door_pass(struct door *door)
{
	pthread_mutex_lock(&door->lock);
	door->waiting++;
	pthread_cond_broadcast(&door->cond);
	while (!door->open)
		pthread_cond_wait(&door->cond, &door->lock);
	pthread_mutex_unlock(&door->lock);
}

static void door_wait_for(struct door *door, unsigned waiting)
{
	pthread_mutex_lock(&door->lock);
	while (door->waiting < waiting)
		pthread_cond_wait(&door->cond, &door->lock);
	pthread_mutex_unlock(&door->lock);
}

static void door_open(struct door *door)
{
	pthread_mutex_lock(&door->lock);
	door->open = true;
	pthread_cond_broadcast(&door->cond);
	pthread_mutex_unlock(&door->lock);
}

static void on_completed(void *arg, void *cookie, uint8_t status)
{
	if (r->held && cookie == r->held)
		door_pass(&r->door);
	else if (cookie)
		atomic_store(&r->busy[(uintptr_t)cookie - 1], false);
	atomic_fetch_add(status == DSA_COMP_SUCCESS ? &r->completed
			 : status		    ? &r->failed
						    : &r->aborted,
			 1);
}

static void on_interrupt(void *arg, uint16_t handle)
{
	atomic_fetch_add(&r->interrupts, handle == 77);
}

static void on_error(void *arg, const struct dsa_error *error)
{
	atomic_fetch_add(error->status == DSA_COMP_BAD_OPCODE ? &r->errors : &r->faults, 1);
}

static void open_portal(const struct dsa_portal_params *extra)
{
	struct dsa_portal_params params = *extra;

	memset(&rig, 0, sizeof(rig));
	pthread_mutex_init(&r->door.lock, NULL);
	pthread_cond_init(&r->door.cond, NULL);
	params.size = sizeof(params);
	params.completed = on_completed;
	params.interrupt = on_interrupt;
	params.error = on_error;
	assert_int_equal(dsa_portal_new(&params, &r->portal, NULL), 0);
	m = mmap(NULL, sizeof(*m), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(m, MAP_FAILED);
	for (unsigned i = 0; i < BUF; i++)
		m->from[i] = (uint8_t)(i * 3 + i / 256);
}

static void close_portal(void)
{
	dsa_portal_free(r->portal);
	munmap(m, sizeof(*m));
	pthread_cond_destroy(&r->door.cond);
	pthread_mutex_destroy(&r->door.lock);
}

static struct dsa_hw_desc make(uint8_t op, const void *src, void *dst, uint32_t size)
{
	return (struct dsa_hw_desc){
		.opcode = op,
		.src_addr = (uintptr_t)src,
		.dst_addr = (uintptr_t)dst,
		.xfer_size = size,
	};
}

static void ask_record(struct dsa_hw_desc *desc, unsigned n)
{
	desc->flags |= CRAV_RCR;
	desc->completion_addr = (uintptr_t)&m->record[n];
}

static void submit(const struct dsa_hw_desc *desc, void *cookie)
{
	while (dsa_portal_submit(r->portal, desc, cookie))
		sched_yield();
}

static void nap(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

/* ---- as documented ---- */

static void numbers_are_checked(void **state)
{
	struct dsa_portal_params base = {.size = sizeof(base)}, p;
	struct dsa_portal *portal = NULL;
	struct vdpa_error err;
	unsigned *const members[] = {&p.engines, &p.entries, &p.max_xfer_shift, &p.max_batch_shift};
	const unsigned most[] = {64, 4096, 31, 10};

	for (unsigned i = 0; i < 4; i++) {
		p = base;
		*members[i] = most[i] + 1;
		err.msg[0] = 0;
		assert_int_equal(dsa_portal_new(&p, &portal, &err), -EINVAL);
		assert_true(err.msg[0]);
		assert_null(portal);
	}
	p = base;
	p.max_xfer_shift = 31;
	assert_int_equal(dsa_portal_new(&p, &portal, NULL), 0);
	assert_int_equal(dsa_portal_map(portal, &p, sizeof(p), PROT_READ), -EINVAL);
	assert_int_equal(dsa_portal_unmap(portal, &p, sizeof(p)), -EINVAL);
	dsa_portal_free(portal);
	dsa_portal_free(NULL);
	/* A program from before there were any but the first. */
	p = (struct dsa_portal_params){.size = offsetof(struct dsa_portal_params, entries),
				       .entries = 99999};
	assert_int_equal(dsa_portal_new(&p, &portal, NULL), 0);
	dsa_portal_free(portal);
}

static void failed_allocations_leave_nothing(void **state)
{
	struct dsa_portal_params p = {.size = sizeof(p), .engines = 2, .mapped = true};
	struct dsa_portal *portal = NULL;

	for (alloc_fail_begin(); alloc_fail_more();) {
		int ret = dsa_portal_new(&p, &portal, NULL);

		alloc_fail_off();
		if (ret)
			assert_int_equal(ret, -ENOMEM);
		else
			dsa_portal_free(portal);
	}
}

static void polling_and_callbacks(void **state)
{
	struct dsa_hw_desc desc;

	open_portal(&(struct dsa_portal_params){0});
	desc = make(DSA_OPCODE_MEMMOVE, m->from, m->to, BUF);
	ask_record(&desc, 0);
	desc.flags |= IDXD_OP_FLAG_RCI;
	desc.int_handle = 77;
	assert_int_equal(dsa_portal_wait((const void *)&m->record[0], 1000000), 0);
	submit(&desc, NULL);
	assert_int_equal(dsa_portal_wait((const void *)&m->record[0], -1), DSA_COMP_SUCCESS);
	assert_memory_equal(m->from, m->to, BUF);
	desc.opcode = 0x99;
	desc.flags = 0;
	submit(&desc, NULL);
	dsa_portal_drain(r->portal);
	assert_int_equal(r->interrupts, 1);
	assert_int_equal(r->errors, 1);
	assert_int_equal(r->completed, 1);
	assert_int_equal(r->failed, 1);
	close_portal();
}

/* The second copies what the first writes; what a fence there is for shows without one. */
static void batch_without_a_fence(void **state)
{
	struct dsa_hw_desc list[2] __attribute__((aligned(64))), desc;

	for (int reversed = 0; reversed < 2; reversed++) {
		open_portal(&(struct dsa_portal_params){.batch_reversed = reversed});
		m->from[0] = 7;
		list[0] = make(DSA_OPCODE_MEMMOVE, m->from, m->to, 1);
		list[1] = make(DSA_OPCODE_MEMMOVE, m->to, m->to + 1, 1);
		desc = make(DSA_OPCODE_BATCH, list, NULL, 2);
		ask_record(&desc, 0);
		submit(&desc, NULL);
		assert_int_equal(dsa_portal_wait((const void *)&m->record[0], -1),
				 DSA_COMP_SUCCESS);
		assert_int_equal(m->to[0], 7);
		assert_int_equal(m->to[1], reversed ? 0 : 7);
		close_portal();
	}
}

/* ---- threads and engines ---- */

static void *submitter(void *arg)
{
	unsigned me = (unsigned)(uintptr_t)arg;
	uint8_t *to = m->to + me * PAGE;

	for (unsigned i = 0; i < MANY; i++) {
		struct dsa_hw_desc desc = make(DSA_OPCODE_MEMMOVE, m->from + i % PAGE, to, PAGE);
		struct dsa_completion_record *record = &m->record[me];

		ask_record(&desc, me);
		record->status = 0;
		submit(&desc, NULL);
		if (dsa_portal_wait((const void *)record, -1) != DSA_COMP_SUCCESS ||
		    memcmp(to, m->from + i % PAGE, PAGE))
			return to; /* a copy that is none */
	}
	return NULL;
}

static void many_threads_submit(void **state)
{
	pthread_t threads[4];

	for (unsigned engines = 1; engines <= 3; engines += 2) {
		open_portal(&(struct dsa_portal_params){.engines = engines, .entries = 2});
		for (unsigned i = 0; i < 4; i++)
			pthread_create(&threads[i], NULL, submitter, (void *)(uintptr_t)i);
		for (unsigned i = 0; i < 4; i++) {
			void *wrong;

			pthread_join(threads[i], &wrong);
			assert_null(wrong);
		}
		dsa_portal_drain(r->portal);
		assert_int_equal(r->completed, 4 * MANY);
		close_portal();
	}
}

/* One engine is held; the other one goes on. */
static void engines_work_side_by_side(void **state)
{
	struct dsa_hw_desc noop = {.opcode = DSA_OPCODE_NOOP}, move;

	open_portal(&(struct dsa_portal_params){.engines = 2});
	r->held = &noop;
	submit(&noop, &noop);
	door_wait_for(&r->door, 1);
	for (unsigned i = 0; i < 200; i++) {
		move = make(DSA_OPCODE_MEMMOVE, m->from, m->to, 100);
		ask_record(&move, i);
		submit(&move, NULL);
		assert_int_equal(dsa_portal_wait((const void *)&m->record[i], -1),
				 DSA_COMP_SUCCESS);
	}
	door_open(&r->door);
	close_portal();
}

static void full_queue_says_so(void **state)
{
	struct dsa_hw_desc noop = {.opcode = DSA_OPCODE_NOOP};

	open_portal(&(struct dsa_portal_params){.entries = 5});
	r->held = &noop;
	submit(&noop, &noop);
	/* What an engine has takes up no entry. */
	door_wait_for(&r->door, 1);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(dsa_portal_submit(r->portal, &noop, NULL), 0);
	assert_int_equal(dsa_portal_submit(r->portal, &noop, NULL), -EAGAIN);
	door_open(&r->door);
	dsa_portal_drain(r->portal);
	assert_int_equal(r->completed, 6);
	assert_int_equal(dsa_portal_submit(r->portal, &noop, NULL), 0);
	close_portal();
}

/* ---- draining and aborting ---- */

/* It ends after what was submitted before it, though another engine is free; and nothing waits for
 * it. */
static void drain_descriptor_waits(void **state)
{
	struct dsa_hw_desc noop = {.opcode = DSA_OPCODE_NOOP}, drain = {.opcode = DSA_OPCODE_DRAIN};

	open_portal(&(struct dsa_portal_params){.engines = 2});
	r->held = &noop;
	submit(&noop, &noop);
	door_wait_for(&r->door, 1);
	ask_record(&drain, 0);
	submit(&drain, NULL);
	ask_record(&drain, 1);
	submit(&drain, NULL);
	ask_record(&noop, 2);
	submit(&noop, NULL);
	assert_int_equal(dsa_portal_wait((const void *)&m->record[2], -1), DSA_COMP_SUCCESS);
	nap();
	assert_int_equal(m->record[0].status, 0);
	assert_int_equal(m->record[1].status, 0);
	door_open(&r->door);
	assert_int_equal(dsa_portal_wait((const void *)&m->record[1], -1), DSA_COMP_SUCCESS);
	assert_int_equal(m->record[0].status, DSA_COMP_SUCCESS);
	close_portal();
}

static void *aborter(void *arg)
{
	dsa_portal_abort(r->portal);
	return NULL;
}

/* What is pending never runs; what runs ends; the abort waits for it. */
static void abort_cancels_what_is_pending(void **state)
{
	struct dsa_hw_desc noop = {.opcode = DSA_OPCODE_NOOP}, desc;
	pthread_t thread;

	open_portal(&(struct dsa_portal_params){0});
	r->held = &noop;
	submit(&noop, &noop);
	door_wait_for(&r->door, 1);
	for (unsigned i = 0; i < 10; i++) {
		desc = make(i ? DSA_OPCODE_MEMMOVE : DSA_OPCODE_DRAIN, i ? m->from : NULL,
			    i ? m->to : NULL, i ? 100 : 0);
		ask_record(&desc, i);
		submit(&desc, NULL);
	}
	pthread_create(&thread, NULL, aborter, NULL);
	while (atomic_load(&r->aborted) < 10)
		sched_yield();
	assert_int_equal(r->completed, 0);
	door_open(&r->door);
	pthread_join(thread, NULL);
	assert_int_equal(r->completed, 1);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(m->record[i].status, 0);
	assert_int_equal(m->to[1], 0);
	close_portal();
}

struct storm {
	_Atomic bool stop;
	_Atomic unsigned submitted;
};

/* A slot that nothing in flight writes to. */
static unsigned take_slot(void)
{
	for (unsigned i = 0;; i = (i + 1) % SLOTS) {
		if (!atomic_exchange(&r->busy[i], true))
			return i;
		if (i == SLOTS - 1)
			sched_yield();
	}
}

static void *storm_submitter(void *arg)
{
	struct storm *s = arg;
	uint64_t seed = 99;

	while (!atomic_load(&s->stop)) {
		unsigned slot = take_slot();
		struct dsa_hw_desc desc =
			make(DSA_OPCODE_MEMMOVE, m->from, m->to + slot * SLOT_BYTES,
			     1 + rng(&seed) % SLOT_BYTES);

		if (rng(&seed) % 8 == 0)
			desc = (struct dsa_hw_desc){.opcode = DSA_OPCODE_DRAIN};
		if (!dsa_portal_submit(r->portal, &desc, (void *)(uintptr_t)(slot + 1))) {
			atomic_fetch_add(&s->submitted, 1);
			continue;
		}
		atomic_store(&r->busy[slot], false);
		sched_yield();
	}
	return NULL;
}

/* Whatever meets whatever: each is told once, and after an abort nothing runs. */
static void aborts_and_drains_at_any_time(void **state)
{
	const char *times = getenv("UVDPA_TEST_ROUNDS");
	unsigned rounds = 30 * (times ? (unsigned)atoi(times) : 1);
	struct storm s;
	pthread_t thread;

	for (unsigned i = 0; i < rounds; i++) {
		memset(&s, 0, sizeof(s));
		open_portal(&(struct dsa_portal_params){.engines = 2, .entries = 1 + i % 40});
		pthread_create(&thread, NULL, storm_submitter, &s);
		for (unsigned k = 0; k < 20; k++) {
			if (k % 3)
				dsa_portal_abort(r->portal);
			else
				dsa_portal_drain(r->portal);
		}
		atomic_store(&s.stop, true);
		pthread_join(thread, NULL);
		dsa_portal_abort(r->portal);
		/* Nothing writes any more: the memory is somebody else's. */
		memset(m->to, 0xee, BUF);
		assert_int_equal(r->completed + r->aborted, s.submitted);
		assert_int_equal(m->to[0], 0xee);
		close_portal();
	}
	printf("%u stops\n", rounds * 20);
}

/* ---- memory that comes and goes ---- */

static void open_mapped(void)
{
	open_portal(
		&(struct dsa_portal_params){.engines = 2, .mapped = true, .block_on_fault = true});
	assert_int_equal(dsa_portal_map(r->portal, m->from, BUF, PROT_READ), 0);
}

static void blocked_descriptor_goes_on(void **state)
{
	struct dsa_hw_desc desc;

	open_mapped();
	assert_int_equal(dsa_portal_map(r->portal, m->to, PAGE, PROT_WRITE), 0);
	assert_int_equal(dsa_portal_map(r->portal, m->to, PAGE, PROT_WRITE), -EEXIST);
	assert_int_equal(dsa_portal_map(r->portal, m->to, 0, PROT_WRITE), -EINVAL);
	assert_int_equal(dsa_portal_map(r->portal, m->to, PAGE, 0), -EINVAL);
	desc = make(DSA_OPCODE_MEMMOVE, m->from, m->to, BUF);
	ask_record(&desc, 0);
	desc.flags |= IDXD_OP_FLAG_BOF;
	submit(&desc, NULL);
	for (unsigned i = 1; i < BUF / PAGE; i++) {
		assert_int_equal(m->record[0].status, 0);
		assert_int_equal(
			dsa_portal_map(r->portal, m->to + i * PAGE, PAGE, PROT_READ | PROT_WRITE),
			0);
	}
	/* Its data are there; its record is not memory yet. */
	nap();
	assert_int_equal(r->completed, 0);
	assert_int_equal(
		dsa_portal_map(r->portal, &m->record, sizeof(m->record), PROT_READ | PROT_WRITE),
		0);
	assert_int_equal(dsa_portal_wait((const void *)&m->record[0], -1), DSA_COMP_SUCCESS);
	assert_memory_equal(m->from, m->to, BUF);
	close_portal();
}

/* More than may be blocked at a time, and a drain behind them. */
static void blocked_descriptors_are_aborted(void **state)
{
	struct dsa_hw_desc desc;

	open_mapped();
	for (unsigned i = 0; i < 100; i++) {
		desc = make(DSA_OPCODE_MEMMOVE, m->from, m->to, BUF);
		desc.flags |= IDXD_OP_FLAG_BOF;
		submit(&desc, NULL);
	}
	desc = (struct dsa_hw_desc){.opcode = DSA_OPCODE_DRAIN};
	submit(&desc, NULL);
	nap();
	assert_int_equal(r->completed, 0);
	dsa_portal_abort(r->portal);
	assert_int_equal(r->aborted, 101);
	assert_int_equal(m->to[1], 0);
	/* And it works as before. */
	assert_int_equal(dsa_portal_map(r->portal, m->to, BUF, PROT_READ | PROT_WRITE), 0);
	desc = make(DSA_OPCODE_MEMMOVE, m->from, m->to, BUF);
	submit(&desc, NULL);
	dsa_portal_drain(r->portal);
	assert_int_equal(r->completed, 1);
	close_portal();
}

static void *filler(void *arg)
{
	struct storm *s = arg;

	while (!atomic_load(&s->stop)) {
		for (unsigned i = 0; i < 2; i++) {
			struct dsa_hw_desc desc =
				make(DSA_OPCODE_MEMMOVE, m->from, m->to + i * BUF / 2, BUF / 2);

			submit(&desc, NULL);
		}
		dsa_portal_drain(r->portal);
	}
	return NULL;
}

/* Once it is unmapped, it may go. */
static void unmapped_memory_is_not_touched(void **state)
{
	struct storm s;
	pthread_t thread;

	memset(&s, 0, sizeof(s));
	open_mapped();
	pthread_create(&thread, NULL, filler, &s);
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(dsa_portal_map(r->portal, m->to, BUF, PROT_READ | PROT_WRITE), 0);
		while (!atomic_load(&r->completed) && i == 0)
			sched_yield();
		assert_int_equal(dsa_portal_unmap(r->portal, m->to, BUF), 0);
		assert_int_equal(mprotect(m->to, BUF, PROT_NONE), 0);
		sched_yield();
		assert_int_equal(mprotect(m->to, BUF, PROT_READ | PROT_WRITE), 0);
	}
	atomic_store(&s.stop, true);
	pthread_join(thread, NULL);
	dsa_portal_drain(r->portal);
	assert_true(r->completed > 0);
	assert_int_equal(r->faults, r->failed);
	close_portal();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_checked),
		cmocka_unit_test(failed_allocations_leave_nothing),
		cmocka_unit_test(polling_and_callbacks),
		cmocka_unit_test(batch_without_a_fence),
		cmocka_unit_test(many_threads_submit),
		cmocka_unit_test(engines_work_side_by_side),
		cmocka_unit_test(full_queue_says_so),
		cmocka_unit_test(drain_descriptor_waits),
		cmocka_unit_test(abort_cancels_what_is_pending),
		cmocka_unit_test(aborts_and_drains_at_any_time),
		cmocka_unit_test(blocked_descriptor_goes_on),
		cmocka_unit_test(blocked_descriptors_are_aborted),
		cmocka_unit_test(unmapped_memory_is_not_touched),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
