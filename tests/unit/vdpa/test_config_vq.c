// SPDX-License-Identifier: BSD-3-Clause
/* Wrappers of one virtqueue: indices one past the end, ring sizes, states. */
#include "mock.h"

static struct vdpa_ctx *ctx;
static struct mock *m;
static struct vdpa_device *v;
static struct vdpa_error err;

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

static void no_stats(void *arg, const char *name, uint64_t value)
{
	fail();
}

static void index_past_the_end_is_refused_everywhere(void **state)
{
	static const uint16_t beyond[] = {MOCK_VQS, MOCK_VQS + 1, UINT16_MAX};
	const struct vdpa_callback cb = {.trigger = 3};
	const struct vdpa_cpumask mask = {0};
	struct vdpa_vq_state s;

	for (size_t i = 0; i < 3; i++) {
		uint16_t x = beyond[i];

		assert_int_equal(vdpa_set_vq_address(v, x, 0, 0, 0), -EINVAL);
		assert_int_equal(vdpa_set_vq_num(v, x, 64), -EINVAL);
		assert_int_equal(vdpa_set_vq_cb(v, x, &cb), -EINVAL);
		assert_int_equal(vdpa_set_vq_ready(v, x), -EINVAL);
		assert_int_equal(vdpa_stop_vq(v, x, NULL), -EINVAL);
		assert_int_equal(vdpa_reset_vq(v, x, NULL), -EINVAL);
		assert_false(vdpa_get_vq_ready(v, x));
		memset(&s, 0xff, sizeof(s));
		assert_int_equal(vdpa_get_vq_state(v, x, &s), -EINVAL);
		assert_int_equal(s.split.avail_index, 0);
		assert_int_equal(vdpa_set_vq_state(v, x, &s), -EINVAL);
		assert_int_equal(vdpa_kick_vq(v, x), -EINVAL);
		assert_int_equal(vdpa_kick_vq_with_data(v, x), -EINVAL);
		assert_int_equal(vdpa_get_vq_stats(v, x, no_stats, NULL, &err), -EINVAL);
		assert_non_null(strstr(err.msg, "there are 4"));
		assert_int_equal(vdpa_get_vq_size(v, x), 0);
		assert_int_equal(vdpa_get_vq_group(v, x), 0);
		assert_int_equal(vdpa_get_vq_desc_group(v, x), 0);
		assert_int_equal(vdpa_get_vq_notification(v, x).size, 0);
		assert_int_equal(vdpa_set_vq_affinity(v, x, &mask), -EINVAL);
	}
	assert_int_equal(m->kicks, 0);
}

static void ring_size_limits_split(void **state)
{
	static const uint32_t bad[] = {0, 1, 2, 3, 5, 255, 257, 512, 32768, 65536, UINT32_MAX};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(vdpa_set_vq_num(v, 0, bad[i]), -EINVAL);
	assert_int_equal(m->last_num, 0);
	for (uint32_t n = 4; n <= 256; n *= 2) {
		assert_int_equal(vdpa_set_vq_num(v, 0, n), 0);
		assert_int_equal(m->last_num, n);
	}
}

static void ring_size_limits_packed(void **state)
{
	assert_int_equal(vdpa_set_features(v, VDPA_BIT(VIRTIO_F_RING_PACKED)), 0);
	assert_int_equal(vdpa_set_vq_num(v, 0, 5), 0);
	assert_int_equal(vdpa_set_vq_num(v, 0, 255), 0);
	assert_int_equal(vdpa_set_vq_num(v, 0, 257), -EINVAL);
	assert_int_equal(vdpa_set_vq_num(v, 0, 3), -EINVAL);
}

static void ring_size_of_a_ready_queue_stays(void **state)
{
	assert_int_equal(vdpa_set_vq_ready(v, 0), 0);
	assert_true(vdpa_get_vq_ready(v, 0));
	assert_int_equal(vdpa_set_vq_num(v, 0, 64), -EBUSY);
	assert_int_equal(vdpa_set_vq_num(v, 1, 64), 0);
	assert_int_equal(vdpa_stop_vq(v, 0, NULL), 0);
	assert_false(vdpa_get_vq_ready(v, 0));
	assert_int_equal(vdpa_set_vq_num(v, 0, 64), 0);
}

static void state_address_and_kick_reach_the_parent(void **state)
{
	struct vdpa_vq_state s = {.split.avail_index = 77};

	assert_int_equal(vdpa_set_vq_state(v, 2, &s), 0);
	s.split.avail_index = 0;
	assert_int_equal(vdpa_get_vq_state(v, 2, &s), 0);
	assert_int_equal(s.split.avail_index, 77);
	m->fail = -EBUSY;
	assert_int_equal(vdpa_set_vq_address(v, 0, 1, 2, 3), -EBUSY);
	m->fail = 0;
	assert_int_equal(vdpa_kick_vq(v, 3), 0);
	assert_int_equal(vdpa_kick_vq_with_data(v, 0xffff0000u | 3), 0);
	assert_int_equal(m->kicks, 101);
}

static void callbacks_can_be_taken_back(void **state)
{
	const struct vdpa_callback cb = {.trigger = 3};

	assert_int_equal(vdpa_set_vq_cb(v, 0, &cb), 0);
	assert_int_equal(m->cb.trigger, 3);
	assert_int_equal(vdpa_set_vq_cb(v, 0, NULL), 0);
	assert_int_equal(m->cb.trigger, -1);
	assert_null(m->cb.callback);
	vdpa_set_config_cb(v, &cb);
	assert_int_equal(m->cb.trigger, 3);
	vdpa_set_config_cb(v, NULL);
	assert_int_equal(m->cb.trigger, -1);
}

static void one_stat(void *arg, const char *name, uint64_t value)
{
	assert_string_equal(name, "requests");
	*(uint64_t *)arg = value;
}

static void statistics_after_features_ok(void **state)
{
	uint64_t value = 99;

	assert_int_equal(vdpa_get_vq_stats(v, 2, one_stat, &value, &err), -EAGAIN);
	assert_int_equal(vdpa_set_status(v, VIRTIO_CONFIG_S_FEATURES_OK), 0);
	assert_int_equal(vdpa_get_vq_stats(v, 2, one_stat, &value, &err), 0);
	assert_int_equal(value, 2);
	m->fail = -EIO;
	assert_int_equal(vdpa_get_vq_stats(v, 2, one_stat, &value, &err), -EIO);
	assert_true(err.msg[0]);
	assert_int_equal(vdpa_get_vq_stats(v, 2, one_stat, &value, NULL), -EIO);
	m->fail = 0;
}

static void groups_and_sizes_come_from_the_parent(void **state)
{
	assert_int_equal(vdpa_get_vq_group(v, 0), 0);
	assert_int_equal(vdpa_get_vq_group(v, MOCK_VQS - 1), 1);
	assert_int_equal(vdpa_get_vq_desc_group(v, 0), 2);
	assert_int_equal(vdpa_get_vq_size(v, 1), 32);
	assert_int_equal(vdpa_get_vq_num_max(v), 256);
	assert_int_equal(vdpa_get_vq_num_min(v), 4);
	assert_int_equal(vdpa_get_vq_align(v), 4096);
	assert_int_equal(vdpa_get_vq_notification(v, 0).size, 4096);
	assert_int_equal(vdpa_get_device_id(v), VIRTIO_ID_NET);
	assert_int_equal(vdpa_get_vendor_id(v), 0x1af4);
	assert_int_equal(vdpa_get_iova_range(v).first, 0x1000);
}

static void bare_parent_has_defaults(void **state)
{
	struct mock *bare = vdpa_alloc_device(ctx, struct mock, vdpa, &mock_bare_ops, NULL, 1, 1,
					      "bare", false, &err);
	struct vdpa_device *b = &bare->vdpa;
	const struct vdpa_cpumask mask = {0};
	uint64_t value;

	assert_int_equal(vdpa_register_device(b, MOCK_VQS, &err), 0);
	assert_int_equal(vdpa_get_vq_num_min(b), 1);
	assert_int_equal(vdpa_set_vq_num(b, 0, 1), 0);
	assert_int_equal(vdpa_set_vq_num(b, 0, 0), -EINVAL);
	assert_int_equal(vdpa_get_vq_size(b, 0), 256);
	assert_int_equal(vdpa_get_vq_group(b, 3), 0);
	assert_int_equal(vdpa_get_vq_desc_group(b, 3), 0);
	assert_int_equal(vdpa_get_vq_stats(b, 0, one_stat, &value, &err), -EOPNOTSUPP);
	assert_int_equal(vdpa_kick_vq_with_data(b, 0), -EOPNOTSUPP);
	assert_int_equal(vdpa_set_vq_affinity(b, 0, &mask), -EOPNOTSUPP);
	assert_int_equal(vdpa_get_vq_notification(b, 0).size, 0);
	assert_int_equal(vdpa_unregister_device(b, NULL), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(index_past_the_end_is_refused_everywhere),
		T(ring_size_limits_split),
		T(ring_size_limits_packed),
		T(ring_size_of_a_ready_queue_stays),
		T(state_address_and_kick_reach_the_parent),
		T(callbacks_can_be_taken_back),
		T(statistics_after_features_ok),
		T(groups_and_sizes_come_from_the_parent),
		T(bare_parent_has_defaults),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
