// SPDX-License-Identifier: BSD-3-Clause
/* Wrappers of the device as a whole, of its maps, and of the extension table. */
#include <limits.h>
#include <pthread.h>
#include "mock.h"

static struct vdpa_ctx *ctx;
static struct mock *m;
static struct vdpa_device *v;

static int setup(void **state)
{
	ctx = mock_ctx();
	m = mock_add(ctx, "d0");
	v = &m->vdpa;
	return 0;
}

static int teardown(void **state)
{
	assert_int_equal(vdpa_unregister_device(v, NULL), 0);
	return vdpa_ctx_free(ctx);
}

static void features_are_a_subset(void **state)
{
	assert_int_equal(vdpa_set_features(v, VDPA_BIT(50)), -EINVAL);
	assert_int_equal(m->set_features_calls, 0);
	assert_false(v->features_valid);
	assert_int_equal(vdpa_set_features(v, 0x3), 0);
	assert_int_equal(vdpa_get_driver_features(v), 0x3);
	assert_true(v->features_valid);
	m->fail = -EBUSY;
	assert_int_equal(vdpa_set_features(v, 0x1), -EBUSY);
	m->fail = 0;
	assert_int_equal(vdpa_get_device_features(v), m->offered);
	assert_int_equal(vdpa_get_backend_features(v), 0x55);
}

static void legacy_read_sets_no_features(void **state)
{
	uint8_t byte;

	m->driver_features = 0xff;
	assert_int_equal(vdpa_get_config(v, 0, &byte, 1), 0);
	assert_int_equal(m->driver_features, 0);
	assert_true(v->features_valid);
	assert_int_equal(vdpa_set_features(v, 0x7), 0);
	assert_int_equal(vdpa_get_config(v, 0, &byte, 1), 0);
	assert_int_equal(m->driver_features, 0x7);
	assert_int_equal(vdpa_reset(v, NULL), 0);
	assert_false(v->features_valid);
}

static void status_zero_is_a_reset(void **state)
{
	assert_int_equal(vdpa_set_status(v, 0x0f), 0);
	assert_int_equal(vdpa_set_status(v, 0), -EINVAL);
	assert_int_equal(vdpa_get_status(v), 0x0f);
	assert_int_equal(vdpa_reset(v, NULL), 0);
	assert_int_equal(vdpa_get_status(v), 0);
}

/* Every offset and length around the end, and such that wrap. */
static void config_bounds(void **state)
{
	static const unsigned more[] = {UINT_MAX, UINT_MAX - 1, UINT_MAX - MOCK_CONFIG_BYTES,
					1u << 31};
	uint8_t buf[2 * MOCK_CONFIG_BYTES] = {0};

	for (unsigned off = 0; off <= MOCK_CONFIG_BYTES + 1; off++) {
		for (unsigned len = 0; len <= MOCK_CONFIG_BYTES + 1; len++) {
			int want = len && off + len <= MOCK_CONFIG_BYTES ? 0 : -EINVAL;

			assert_int_equal(vdpa_get_config(v, off, buf, len), want);
			assert_int_equal(vdpa_set_config(v, off, buf, len), want);
			assert_int_equal(vdpa_read_config(v, off, buf, len, NULL), want);
		}
	}
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(vdpa_get_config(v, more[i], buf, 1), -EINVAL);
		assert_int_equal(vdpa_get_config(v, more[i], buf, 0u - more[i]), -EINVAL);
		assert_int_equal(vdpa_get_config(v, 1, buf, more[i]), -EINVAL);
		assert_int_equal(vdpa_set_config(v, 1, buf, more[i]), -EINVAL);
		assert_int_equal(vdpa_set_config(v, more[i], buf, 0u - more[i]), -EINVAL);
	}
	assert_int_equal(vdpa_get_config_size(v), MOCK_CONFIG_BYTES);
}

/* The mock fills a byte less than it is asked for: what comes out must not be old memory. */
static void config_is_zero_filled(void **state)
{
	uint8_t buf[8];

	memset(m->config, 0x11, sizeof(m->config));
	memset(buf, 0xee, sizeof(buf));
	assert_int_equal(vdpa_get_config(v, 0, buf, sizeof(buf)), 0);
	assert_int_equal(buf[6], 0x11);
	assert_int_equal(buf[7], 0);
	memset(buf, 0xee, sizeof(buf));
	assert_int_equal(vdpa_read_config(v, 0, buf, sizeof(buf), NULL), 0);
	assert_int_equal(buf[7], 0);
}

static void config_is_of_one_generation(void **state)
{
	uint8_t buf[2];
	uint32_t generation;

	m->generation_moves = 5;
	assert_int_equal(vdpa_read_config(v, 0, buf, 2, &generation), 0);
	assert_int_equal(generation, m->generation);
	assert_int_equal(buf[0], m->config[0]);
	assert_int_equal(vdpa_get_generation(v), generation);
	m->generation_moves = 1000000;
	assert_int_equal(vdpa_read_config(v, 0, buf, 2, &generation), -EAGAIN);
	assert_true(m->generation_moves > 1000000 - 1000);
	m->generation_moves = 0;
}

static void defaults_of_a_bare_parent(void **state)
{
	struct vdpa_error err;
	struct mock *bare = vdpa_alloc_device(ctx, struct mock, vdpa, &mock_bare_ops, NULL, 0, 0,
					      "bare", false, &err);
	struct vdpa_device *b = &bare->vdpa;
	struct vdpa_iova_range range;
	uint32_t generation = 7;
	uint8_t byte;

	assert_int_equal(vdpa_register_device(b, MOCK_VQS, &err), 0);
	range = vdpa_get_iova_range(b);
	assert_int_equal(range.first, 0);
	assert_true(range.last == UINT64_MAX);
	assert_int_equal(vdpa_get_backend_features(b), 0);
	assert_int_equal(vdpa_get_generation(b), 0);
	assert_int_equal(vdpa_read_config(b, 0, &byte, 1, &generation), 0);
	assert_int_equal(generation, 0);
	assert_int_equal(vdpa_suspend(b, NULL), -EOPNOTSUPP);
	assert_int_equal(vdpa_resume(b), -EOPNOTSUPP);
	assert_false(vdpa_has_set_map(b));
	assert_false(vdpa_has_dma_map(b));
	assert_int_equal(vdpa_dma_map(b, 0, 0, 1, 0, 1, NULL), -EOPNOTSUPP);
	assert_int_equal(vdpa_dma_unmap(b, 0, 0, 1, NULL), -EOPNOTSUPP);
	assert_int_equal(vdpa_set_map(b, 0, NULL, NULL), -EOPNOTSUPP);
	assert_int_equal(vdpa_reset_map(b, 0, NULL), -EOPNOTSUPP);
	assert_int_equal(vdpa_set_group_asid(b, 0, 0), -EOPNOTSUPP);
	assert_int_equal(vdpa_unregister_device(b, NULL), 0);
}

static void map_arguments_are_checked(void **state)
{
	assert_int_equal(vdpa_dma_map(v, 2, 0, 4096, 0, VHOST_MAP_RW, NULL), -EINVAL);
	assert_int_equal(vdpa_dma_map(v, UINT_MAX, 0, 4096, 0, VHOST_MAP_RW, NULL), -EINVAL);
	assert_int_equal(vdpa_dma_map(v, 0, 0, 0, 0, VHOST_MAP_RW, NULL), -EINVAL);
	assert_int_equal(vdpa_dma_map(v, 0, UINT64_MAX, 2, 0, VHOST_MAP_RW, NULL), -EINVAL);
	assert_int_equal(vdpa_dma_map(v, 0, 4096, UINT64_MAX - 4094, 0, VHOST_MAP_RW, NULL),
			 -EINVAL);
	assert_int_equal(vdpa_dma_map(v, 0, 0, 4096, 0, 0, NULL), -EINVAL);
	assert_int_equal(vdpa_dma_map(v, 0, 0, 4096, 0, 4, NULL), -EINVAL);
	assert_int_equal(vdpa_dma_unmap(v, 2, 0, 4096, NULL), -EINVAL);
	assert_int_equal(vdpa_dma_unmap(v, 0, 0, 0, NULL), -EINVAL);
	assert_int_equal(vdpa_dma_unmap(v, 0, UINT64_MAX, 2, NULL), -EINVAL);
	assert_int_equal(vdpa_set_map(v, 2, NULL, NULL), -EINVAL);
	assert_int_equal(vdpa_reset_map(v, 2, NULL), -EINVAL);
	assert_int_equal(vdpa_set_group_asid(v, 2, 0), -EINVAL);
	assert_int_equal(vdpa_set_group_asid(v, 0, 2), -EINVAL);
	assert_int_equal(m->map_calls, 0);
	assert_int_equal(vdpa_dma_map(v, 1, UINT64_MAX, 1, 0, VHOST_MAP_WO, NULL), 0);
	assert_int_equal(vdpa_dma_map(v, 1, 1, UINT64_MAX, 0, VHOST_MAP_RO, NULL), 0);
	assert_int_equal(vdpa_dma_unmap(v, 1, 1, UINT64_MAX, NULL), 0);
	assert_int_equal(vdpa_set_group_asid(v, 1, 1), 0);
	assert_int_equal(m->map_calls, 4);
}

/* Without an asynchronous form: the plain op, and the completion at once, exactly when it returned
 * 0. */
static void plain_ops_complete_at_once(void **state)
{
	struct counted_done c;
	struct vdpa_done d = counted_done(&c);
	unsigned want = 0;

	for (int fail = 0; fail >= -EIO; fail -= EIO) {
		m->fail = fail;
		assert_int_equal(vdpa_reset(v, &d), fail);
		want += !fail;
		assert_int_equal(c.calls, want);
		assert_int_equal(vdpa_suspend(v, &d), fail);
		want += !fail;
		assert_int_equal(c.calls, want);
		assert_int_equal(vdpa_dma_unmap(v, 0, 0, 1, &d), fail);
		want += !fail;
		assert_int_equal(c.calls, want);
		assert_int_equal(vdpa_reset_map(v, 0, &d), fail);
		want += !fail;
		assert_int_equal(c.calls, want);
		assert_int_equal(vdpa_resume(v), fail);
	}
	assert_int_equal(c.result, 0);
}

typedef int (*async_op)(const struct vdpa_done *done);

static int do_reset(const struct vdpa_done *done)
{
	return vdpa_reset(v, done);
}

static int do_suspend(const struct vdpa_done *done)
{
	return vdpa_suspend(v, done);
}

static int do_dma_unmap(const struct vdpa_done *done)
{
	return vdpa_dma_unmap(v, 0, 0, 1, done);
}

static int do_set_map(const struct vdpa_done *done)
{
	return vdpa_set_map(v, 0, NULL, done);
}

static int do_reset_map(const struct vdpa_done *done)
{
	return vdpa_reset_map(v, 0, done);
}

static int do_dirty_log(const struct vdpa_done *done)
{
	return vdpa_set_dirty_log(v, NULL, done);
}

static int do_stop_vq(const struct vdpa_done *done)
{
	return vdpa_stop_vq(v, 0, done);
}

static int do_reset_vq(const struct vdpa_done *done)
{
	return vdpa_reset_vq(v, 0, done);
}

static const async_op async_ops[] = {do_reset,	   do_suspend,	 do_dma_unmap, do_set_map,
				     do_reset_map, do_dirty_log, do_stop_vq,   do_reset_vq};
#define ASYNC_OPS (sizeof(async_ops) / sizeof(async_ops[0]))

static void asynchronous_forms_complete_later(void **state)
{
	struct counted_done c;

	v->ext = &mock_async_ops;
	for (size_t i = 0; i < ASYNC_OPS; i++) {
		struct vdpa_done d = counted_done(&c);

		m->fail = 0;
		assert_int_equal(async_ops[i](&d), 0);
		assert_int_equal(c.calls, 0);
		mock_complete(m, -ETIMEDOUT);
		assert_int_equal(c.calls, 1);
		assert_int_equal(c.result, -ETIMEDOUT);
		m->fail = -EIO;
		assert_int_equal(async_ops[i](&d), -EIO);
		assert_int_equal(c.calls, 1);
	}
}

static void suspended_until_resumed_or_reset(void **state)
{
	struct vdpa_done none = {0};

	assert_false(vdpa_suspended(v));
	m->fail = -EIO;
	assert_int_equal(vdpa_suspend(v, &none), -EIO);
	assert_false(vdpa_suspended(v));
	m->fail = 0;
	assert_int_equal(vdpa_suspend(v, &none), 0);
	assert_true(vdpa_suspended(v));
	m->fail = -EIO;
	assert_int_equal(vdpa_suspend(v, &none), -EIO);
	assert_int_equal(vdpa_resume(v), -EIO);
	assert_true(vdpa_suspended(v));
	m->fail = 0;
	assert_int_equal(vdpa_resume(v), 0);
	assert_false(vdpa_suspended(v));
	assert_int_equal(vdpa_suspend(v, &none), 0);
	assert_int_equal(vdpa_reset(v, &none), 0);
	assert_false(vdpa_suspended(v));
}

static void end_device(void *arg, int result)
{
	unsigned *freed = arg;

	assert_int_equal(result, 0);
	assert_int_equal(vdpa_unregister_device(v, NULL), 0);
	/* The op has not returned yet, and its wrapper holds a lock in there. */
	assert_int_equal(*freed, 0);
}

static void completion_may_end_the_device(void **state)
{
	for (size_t i = 0; i < ASYNC_OPS; i++) {
		struct mock *other = m;
		unsigned freed = 0;
		struct vdpa_done d = {.fn = end_device, .arg = &freed};

		m = mock_add(v->ctx, "short-lived");
		m->freed = &freed;
		m->at_once = true;
		v = &m->vdpa;
		v->ext = &mock_async_ops;
		assert_int_equal(async_ops[i](&d), 0);
		assert_int_equal(freed, 1);
		m = other;
		v = &m->vdpa;
	}
}

static void extension_members_beyond_the_size_are_absent(void **state)
{
	const uint8_t mac[6] = {0, 0, 0, 0, 0, 9};
	struct vdpa_ext_ops ext = mock_async_ops;

	assert_int_equal(vdpa_set_vq_kick(v, 0, 5), -EOPNOTSUPP);
	assert_int_equal(vdpa_reset_vq(v, 0, NULL), -EOPNOTSUPP);
	assert_int_equal(vdpa_announce(v, mac), -EOPNOTSUPP);
	assert_int_equal(vdpa_set_dirty_log(v, NULL, NULL), -EOPNOTSUPP);
	assert_int_equal(vdpa_set_miss(v, 0, NULL, NULL), -EOPNOTSUPP);
	assert_false(vdpa_miss_settled(v, 0, 0x1000, VHOST_MAP_RO));
	assert_int_equal(vdpa_set_vq_err(v, 0, NULL), -EOPNOTSUPP);
	assert_int_equal(vdpa_set_vq_inflight(v, 0, NULL, 5), -EOPNOTSUPP);
	v->ext = &ext;
	assert_int_equal(vdpa_set_vq_kick(v, 0, 5), 5);
	assert_int_equal(vdpa_set_vq_kick(v, MOCK_VQS, 5), -EINVAL);
	assert_int_equal(vdpa_announce(v, mac), 9);
	assert_int_equal(vdpa_set_miss(v, 0, NULL, NULL), 0);
	assert_int_equal(vdpa_set_miss(v, 2, NULL, NULL), -EINVAL);
	assert_true(vdpa_miss_settled(v, 0, 0x1000, VHOST_MAP_RO));
	assert_false(vdpa_miss_settled(v, 2, 0x1000, VHOST_MAP_RO));
	assert_int_equal(vdpa_set_vq_inflight(v, 0, NULL, 5), 5);
	assert_int_equal(vdpa_set_vq_inflight(v, MOCK_VQS, NULL, 5), -EINVAL);
	assert_int_equal(vdpa_set_vq_err(v, MOCK_VQS, NULL), -EINVAL);
	m->cb.trigger = 3;
	assert_int_equal(vdpa_set_vq_err(v, 0, NULL), 0);
	assert_int_equal(m->cb.trigger, -1);
	ext.size = offsetof(struct vdpa_ext_ops, announce);
	assert_int_equal(vdpa_announce(v, mac), -EOPNOTSUPP);
	ext.size = offsetof(struct vdpa_ext_ops, announce) + sizeof(ext.announce) - 1;
	assert_int_equal(vdpa_announce(v, mac), -EOPNOTSUPP);
	v->ext = NULL;
}

static void take_lock_again(void *arg, int result)
{
	*(uint8_t *)arg = vdpa_get_status(v);
}

static void completion_may_call_back(void **state)
{
	uint8_t status = 0xff;
	const struct vdpa_done d = {.fn = take_lock_again, .arg = &status};

	assert_int_equal(vdpa_reset(v, &d), 0);
	assert_int_equal(status, 0);
}

static void *hammer(void *arg)
{
	uint8_t buf[4];
	uint32_t generation;

	for (int i = 0; i < 2000; i++) {
		vdpa_read_config(v, 0, buf, sizeof(buf), &generation);
		vdpa_set_status(v, (uint8_t)(i | 1));
		vdpa_set_config(v, 8, buf, sizeof(buf));
		vdpa_set_vq_num(v, 0, 64);
	}
	return NULL;
}

/* ThreadSanitizer is the judge. */
static void wrappers_lock_against_other_threads(void **state)
{
	pthread_t threads[3];

	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, hammer, NULL), 0);
	hammer(NULL);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(features_are_a_subset),
		T(legacy_read_sets_no_features),
		T(status_zero_is_a_reset),
		T(config_bounds),
		T(config_is_zero_filled),
		T(config_is_of_one_generation),
		T(defaults_of_a_bare_parent),
		T(map_arguments_are_checked),
		T(plain_ops_complete_at_once),
		T(asynchronous_forms_complete_later),
		T(suspended_until_resumed_or_reset),
		T(completion_may_end_the_device),
		T(extension_members_beyond_the_size_are_absent),
		T(completion_may_call_back),
		T(wrappers_lock_against_other_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
