// SPDX-License-Identifier: BSD-3-Clause
/*
 * Two workers translate and touch memory all the time, while the control thread adds and removes
 * ranges and frees the memory behind them as soon as a removal says it is done. Each piece of
 * memory says in its first word where it is mapped. What is wrong shows as a use after free or a
 * race under a sanitizer, and as a wrong word without.
 */
#include "memtest.h"

#define SLOTS 512u
#define ROUNDS 20000u
#define INFLIGHT 4

struct queue {
	struct vdpa_loop_msg msg; /* first: found again by a cast */
	struct vdpa_loop *loop;
	struct vdpa_view *view;
	uint64_t rng;
	uint64_t *held[INFLIGHT];
	uint64_t hits, faults;
	bool parked;
	unsigned stop, stopped;
};

struct piece {
	struct vdpa_region *region;
	uint64_t *mem;
	struct piece **home;
	unsigned *busy;
};

static uint64_t next(uint64_t *rng)
{
	*rng ^= *rng << 13;
	*rng ^= *rng >> 7;
	*rng ^= *rng << 17;
	return *rng;
}

static bool queue_in_use(void *arg, uintptr_t first, uintptr_t last)
{
	struct queue *q = arg;

	for (unsigned i = 0; i < INFLIGHT; i++) {
		uintptr_t at = (uintptr_t)q->held[i];

		if (at && at <= last && first <= at + 7)
			return true;
	}
	return false;
}

static void queue_changed(void *arg)
{
	struct queue *q = arg;

	q->parked = false;
}

static const struct vdpa_view_ops ops = {queue_in_use, queue_changed};

/* One request ends, one begins. */
static void queue_step(struct queue *q)
{
	unsigned i = (unsigned)(next(&q->rng) % INFLIGHT);
	uint64_t slot = next(&q->rng) % SLOTS, word;
	struct iovec iov;
	int ret;

	if (q->held[i]) {
		__atomic_fetch_add(q->held[i] + 1, 1, __ATOMIC_RELAXED);
		vdpa_view_dirty(q->view, q->held[i], 16);
		q->held[i] = NULL;
		vdpa_view_request_done(q->view);
		return;
	}
	ret = vdpa_view_xlate(q->view, slot * PAGE, 16, VHOST_MAP_RW, &iov, 1);
	if (ret == 1) {
		q->held[i] = iov.iov_base;
		assert_int_equal(q->held[i][0], slot);
		assert_int_equal(vdpa_view_read(q->view, slot * PAGE, &word, 8), 0);
		assert_int_equal(word, slot);
		q->hits++;
		return;
	}
	assert_true(ret == -EFAULT || ret == -EAGAIN);
	q->faults++;
	q->parked = ret == -EAGAIN;
}

static void queue_run(struct vdpa_loop_msg *msg)
{
	struct queue *q = (struct queue *)(void *)msg;

	vdpa_view_refresh(q->view);
	for (unsigned i = 0; i < 16 && !q->parked; i++)
		queue_step(q);
	if (!__atomic_load_n(&q->stop, __ATOMIC_ACQUIRE)) {
		vdpa_loop_post(q->loop, &q->msg, queue_run);
		return;
	}
	memset(q->held, 0, sizeof(q->held));
	vdpa_view_request_done(q->view);
	__atomic_store_n(&q->stopped, 1, __ATOMIC_RELEASE);
}

static void piece_add(struct vdpa_as *as, struct piece **home, uint64_t slot, unsigned *busy)
{
	struct piece *p = calloc(1, sizeof(*p));

	p->mem = calloc(1, 16);
	p->mem[0] = slot;
	p->home = home;
	p->busy = busy;
	assert_int_equal(vdpa_region_wrap(p->mem, 16, slot * PAGE, &p->region), 0);
	assert_int_equal(
		vdpa_as_map(as, slot * PAGE, 16, (uintptr_t)p->mem, VHOST_MAP_RW, p->region), 0);
	*home = p;
}

static void piece_removed(void *arg, int result)
{
	struct piece *p = arg;

	p->mem[0] = ~0ull;
	vdpa_region_put(p->region);
	(*p->busy)--;
	free(p->mem);
	free(p);
}

static void piece_remove(struct vdpa_as *as, struct piece **home)
{
	struct piece *p = *home;
	iova_t iova = vdpa_region_gpa(p->region);

	*home = NULL;
	(*p->busy)++;
	assert_int_equal(vdpa_as_unmap(as, iova, iova, &(struct vdpa_done){piece_removed, p}), 0);
}

static void churn(struct vdpa_loop_group *group, struct vdpa_as *as, struct piece **pieces,
		  unsigned *busy)
{
	uint64_t rng = 12345;

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t slot = next(&rng) % SLOTS;
		bool batch = next(&rng) % 8 == 0;

		if (batch)
			vdpa_as_batch_begin(as);
		for (unsigned k = 0; k < (batch ? 5u : 1u); k++, slot = (slot + 1) % SLOTS) {
			if (pieces[slot])
				piece_remove(as, &pieces[slot]);
			else
				piece_add(as, &pieces[slot], slot, busy);
		}
		if (batch)
			vdpa_as_batch_end(as);
		if (*busy > 32 || next(&rng) % 16 == 0)
			vdpa_loop_run_once(vdpa_loop_group_control(group), 0);
	}
}

static void run(bool with_log)
{
	static struct piece *pieces[SLOTS];
	struct queue q[2] = {{.rng = 1}, {.rng = 99}};
	struct vdpa_dirty_log *log = NULL;
	struct vdpa_loop_group *group;
	struct vdpa_as *as;
	unsigned busy = 0;

	assert_int_equal(vdpa_loop_group_new(2, &group), 0);
	assert_int_equal(vdpa_as_new(group, 0, &as), 0);
	if (with_log) {
		assert_int_equal(vdpa_dirty_log_new(SLOTS * PAGE, &log), 0);
		assert_int_equal(vdpa_as_set_dirty_log(as, log, NULL), 0);
	}
	for (unsigned i = 0; i < 2; i++) {
		q[i].loop = vdpa_loop_group_worker(group, i);
		assert_int_equal(vdpa_view_attach(as, q[i].loop, &ops, &q[i], &q[i].view), 0);
		vdpa_loop_post(q[i].loop, &q[i].msg, queue_run);
	}
	churn(group, as, pieces, &busy);
	for (unsigned i = 0; i < 2; i++) {
		__atomic_store_n(&q[i].stop, 1, __ATOMIC_RELEASE);
		memtest_run_until(group, &q[i].stopped, 1);
		assert_true(q[i].hits > 0);
	}
	for (unsigned i = 0; i < SLOTS; i++) {
		if (pieces[i])
			piece_remove(as, &pieces[i]);
	}
	vdpa_view_detach(q[0].view);
	memtest_run_until(group, &busy, 0);
	vdpa_view_detach(q[1].view);
	vdpa_as_free(as);
	vdpa_dirty_log_put(log);
	memtest_settle(group);
	vdpa_loop_group_free(group);
}

static void test_churn(void **state)
{
	run(false);
}

static void test_churn_log(void **state)
{
	run(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_churn),
		cmocka_unit_test(test_churn_log),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
