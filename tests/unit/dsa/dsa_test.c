// SPDX-License-Identifier: BSD-3-Clause
#include "dsa_test.h"

#include <errno.h>
#include <stdlib.h>

/* ---- memory ---- */

static int remote_read(void *arg, uint64_t off, void *buf, size_t len)
{
	struct bench *b = arg;

	if (b->on_read)
		b->on_read(b);
	if (b->remote_broken)
		return -EIO;
	memcpy(buf, b->mem + off, len);
	return 0;
}

static int remote_write(void *arg, uint64_t off, const void *buf, size_t len)
{
	struct bench *b = arg;

	if (b->remote_broken)
		return -EIO;
	memcpy(b->mem + off, buf, len);
	return 0;
}

static const struct vdpa_region_ops remote_ops = {.read = remote_read, .write = remote_write};

uint8_t *bench_at(struct bench *b, uint64_t off)
{
	return b->mem + (size_t)b->pages[off / PAGE].at * PAGE + off % PAGE;
}

void bench_put(struct bench *b, uint64_t off, const void *from, size_t len)
{
	for (size_t i = 0; i < len; i++)
		*bench_at(b, off + i) = ((const uint8_t *)from)[i];
}

void bench_get(struct bench *b, uint64_t off, void *to, size_t len)
{
	for (size_t i = 0; i < len; i++)
		((uint8_t *)to)[i] = *bench_at(b, off + i);
}

void bench_map(struct bench *b)
{
	struct vhost_iotlb *map = vhost_iotlb_alloc(0, 0);

	assert_non_null(map);
	for (unsigned i = 0; i < ARENA_PAGES; i++) {
		const struct page *p = &b->pages[i];
		struct vdpa_region *region = p->remote ? b->remote : b->region;
		uint64_t first = iova_of((uint64_t)i * PAGE);

		if (p->perm)
			assert_int_equal(vhost_iotlb_add_range_ctx(
						 map, first, first + PAGE - 1,
						 vdpa_region_addr(region, (uint64_t)p->at * PAGE),
						 p->perm, region),
					 0);
	}
	assert_int_equal(vdpa_as_set_map(b->as, map, NULL), 0);
	vhost_iotlb_free(map);
}

/* ---- what is told ---- */

static bool on_valid(void *arg, uint16_t handle)
{
	struct bench *b = arg;

	return !b->handles_refused && handle < 0xfff0;
}

static void on_interrupt(void *arg, uint16_t handle)
{
	struct bench *b = arg;

	pthread_mutex_lock(&b->lock);
	b->told.interrupts++;
	b->told.handle = handle;
	pthread_mutex_unlock(&b->lock);
}

static void on_error(void *arg, const struct dsa_error *error)
{
	struct bench *b = arg;

	pthread_mutex_lock(&b->lock);
	b->told.errors++;
	b->told.error = *error;
	pthread_mutex_unlock(&b->lock);
}

static void on_completed(void *arg, void *cookie, uint8_t status)
{
	struct bench *b = arg;

	pthread_mutex_lock(&b->lock);
	b->told.completed++;
	b->told.status = status;
	pthread_cond_broadcast(&b->cond);
	pthread_mutex_unlock(&b->lock);
}

static const struct dsa_queue_ops queue_ops = {
	.handle_valid = on_valid,
	.interrupt = on_interrupt,
	.error = on_error,
	.completed = on_completed,
};

struct told bench_told(struct bench *b)
{
	struct told told;

	pthread_mutex_lock(&b->lock);
	told = b->told;
	pthread_mutex_unlock(&b->lock);
	return told;
}

/* ---- running ---- */

static void on_miss(void *arg, unsigned asid, iova_t iova, uint32_t perm)
{
}

void bench_open(struct bench *b, const struct bench_config *config)
{
	struct dsa_queue_config queue = config->queue;
	struct dsa_engine_config engine = {.busyloop_us = 20};

	memset(b, 0, sizeof(*b));
	pthread_mutex_init(&b->lock, NULL);
	pthread_cond_init(&b->cond, NULL);
	b->mem = aligned_alloc(PAGE, ARENA_BYTES);
	assert_non_null(b->mem);
	memset(b->mem, 0, ARENA_BYTES);
	assert_int_equal(vdpa_loop_group_new(config->workers ? config->workers : 1, &b->group), 0);
	assert_int_equal(vdpa_as_new(b->group, 0, &b->as), 0);
	assert_int_equal(vdpa_region_wrap(b->mem, ARENA_BYTES, 0, &b->region), 0);
	assert_int_equal(vdpa_region_by_message(&remote_ops, b, ARENA_BYTES, 0, &b->remote), 0);
	for (unsigned i = 0; i < ARENA_PAGES; i++)
		b->pages[i] = (struct page){.perm = VHOST_MAP_RW, .at = i};
	bench_map(b);
	if (config->misses)
		assert_int_equal(vdpa_as_set_miss(b->as, on_miss, b), 0);
	assert_int_equal(dsa_engine_new(b->group, &engine, &b->engine), 0);
	assert_int_equal(dsa_space_new(b->engine, 7, b->as, &b->space), 0);
	if (!queue.size)
		queue.size = 16;
	if (!queue.max_xfer_shift)
		queue.max_xfer_shift = 21;
	if (!queue.max_batch_shift)
		queue.max_batch_shift = 5;
	queue.ops = &queue_ops;
	queue.arg = b;
	assert_int_equal(dsa_queue_new(b->engine, &queue, &b->queue), 0);
}

void flag_set(void *arg, int result)
{
	struct flag *f = arg;

	pthread_mutex_lock(&f->lock);
	f->set = true;
	pthread_cond_signal(&f->cond);
	pthread_mutex_unlock(&f->lock);
}

void flag_wait(struct flag *f)
{
	pthread_mutex_lock(&f->lock);
	while (!f->set)
		pthread_cond_wait(&f->cond, &f->lock);
	pthread_mutex_unlock(&f->lock);
}

static void sync_done(struct vdpa_loop_sync *sync)
{
	vdpa_loop_stop(vdpa_loop_group_control(sync->group));
}

/* The control loop, until all loops have passed. */
static void run_control(struct bench *b)
{
	struct vdpa_loop_sync sync;

	vdpa_loop_group_sync(b->group, &sync, sync_done);
	assert_int_equal(vdpa_loop_run(vdpa_loop_group_control(b->group)), 0);
}

void bench_close(struct bench *b)
{
	struct flag gone = FLAG;

	bench_abort(b);
	assert_int_equal(dsa_queue_occupancy(b->queue), 0);
	dsa_queue_free(b->queue);
	dsa_space_free(b->space);
	dsa_engine_free(b->engine, &(struct vdpa_done){flag_set, &gone});
	flag_wait(&gone);
	vdpa_as_free(b->as);
	run_control(b);
	vdpa_region_put(b->region);
	vdpa_region_put(b->remote);
	vdpa_loop_group_free(b->group);
	free(b->mem);
	pthread_cond_destroy(&b->cond);
	pthread_mutex_destroy(&b->lock);
}

const struct dsa_select everything = {NULL, DSA_ANY_PASID};

void bench_drain(struct bench *b)
{
	struct flag over = FLAG;
	struct dsa_wait wait = {.done = {flag_set, &over}};

	dsa_drain(b->engine, &everything, &wait);
	flag_wait(&over);
}

void bench_abort(struct bench *b)
{
	struct flag over = FLAG;
	struct dsa_wait wait = {.done = {flag_set, &over}};

	dsa_abort(b->engine, &everything, &wait);
	flag_wait(&over);
}

void bench_submit(struct bench *b, const uint8_t *desc)
{
	assert_int_equal(dsa_submit(b->queue, b->space, desc, NULL), 0);
}

void bench_wait(struct bench *b, unsigned completed)
{
	pthread_mutex_lock(&b->lock);
	while (b->told.completed < completed)
		pthread_cond_wait(&b->cond, &b->lock);
	pthread_mutex_unlock(&b->lock);
}

uint8_t bench_run(struct bench *b, const uint8_t *desc)
{
	unsigned before = bench_told(b).completed;

	bench_submit(b, desc);
	bench_wait(b, before + 1);
	/* It has ended for everybody, not only for its callback. */
	bench_drain(b);
	return bench_told(b).status;
}
