// SPDX-License-Identifier: BSD-3-Clause
/* What a parent must bring along: every mandatory op in turn, pairs, sizes. */
#include "mock.h"

static struct vdpa_ctx *ctx;
static struct vdpa_error err;

static int setup(void **state)
{
	ctx = mock_ctx();
	return 0;
}

static int teardown(void **state)
{
	return vdpa_ctx_free(ctx);
}

static struct vdpa_alloc_params params(const struct vdpa_config_ops *ops)
{
	return (struct vdpa_alloc_params){
		.device_size = sizeof(struct vdpa_device),
		.size = sizeof(struct mock),
		.offset = offsetof(struct mock, vdpa),
		.config = ops,
		.name = "d0",
	};
}

static bool accepted(const struct vdpa_alloc_params *p)
{
	struct mock *m;

	memset(&err, 0, sizeof(err));
	m = vdpa_alloc_device_params(ctx, p, &err);
	if (m)
		vdpa_put_device(&m->vdpa);
	else
		assert_true(err.msg[0]);
	return m != NULL;
}

static void bare_parent_is_enough(void **state)
{
	struct vdpa_alloc_params p = params(&mock_bare_ops);

	assert_true(accepted(&p));
}

/* The test's own list, so that one that is lost from the core's table is missed. */
#define M(op)                                                                                      \
	{                                                                                          \
#op, offsetof(struct vdpa_config_ops, op)                                          \
	}
static const struct {
	const char *name;
	size_t offset;
} mandatory[] = {
	M(set_vq_address),
	M(set_vq_num),
	M(kick_vq),
	M(set_vq_cb),
	M(set_vq_ready),
	M(get_vq_ready),
	M(set_vq_state),
	M(get_vq_state),
	M(get_vq_align),
	M(get_device_features),
	M(set_driver_features),
	M(get_driver_features),
	M(set_config_cb),
	M(get_vq_num_max),
	M(get_device_id),
	M(get_vendor_id),
	M(get_status),
	M(set_status),
	M(reset),
	M(get_config_size),
	M(get_config),
	M(set_config),
};

static void each_mandatory_op_is_asked_for_by_name(void **state)
{
	for (size_t i = 0; i < sizeof(mandatory) / sizeof(mandatory[0]); i++) {
		struct vdpa_config_ops ops = mock_ops;
		struct vdpa_alloc_params p = params(&ops);
		char want[64];

		memset((char *)&ops + mandatory[i].offset, 0, sizeof(void (*)(void)));
		assert_false(accepted(&p));
		snprintf(want, sizeof(want), "mandatory op %s", mandatory[i].name);
		assert_non_null(strstr(err.msg, want));
		/* The whole name: get_config is not get_config_size. */
		assert_int_equal(strlen(strstr(err.msg, want)), strlen(want));
	}
}

static void no_optional_op_is_mandatory(void **state)
{
	const size_t n = sizeof(struct vdpa_config_ops) / sizeof(void (*)(void));
	size_t optional = 0;

	for (size_t i = 0; i < n; i++) {
		struct vdpa_config_ops ops = mock_set_map_ops;
		struct vdpa_alloc_params p = params(&ops);

		memset((char *)&ops + i * sizeof(void (*)(void)), 0, sizeof(void (*)(void)));
		optional += accepted(&p);
	}
	assert_int_equal(n - optional, sizeof(mandatory) / sizeof(mandatory[0]));
}

static void dma_ops_come_in_pairs(void **state)
{
	struct vdpa_config_ops ops = mock_ops;
	struct vdpa_alloc_params p = params(&ops);

	ops.dma_unmap = NULL;
	assert_false(accepted(&p));
	assert_non_null(strstr(err.msg, "dma_map without dma_unmap"));
	ops = mock_ops;
	ops.dma_map = NULL;
	assert_false(accepted(&p));
	assert_non_null(strstr(err.msg, "dma_unmap without dma_map"));
	ops = mock_ops;
	ops.set_map = mock_set_map_ops.set_map;
	assert_true(accepted(&p));
}

static void use_va_needs_a_map_op(void **state)
{
	struct vdpa_config_ops ops = mock_bare_ops;
	struct vdpa_alloc_params p = params(&ops);

	p.use_va = true;
	assert_false(accepted(&p));
	ops.set_map = mock_set_map_ops.set_map;
	assert_true(accepted(&p));
	ops = mock_ops;
	assert_true(accepted(&p));
}

static void groups_and_spaces_need_their_ops(void **state)
{
	struct vdpa_config_ops ops = mock_bare_ops;
	struct vdpa_alloc_params p = params(&ops);

	p.ngroups = 2;
	assert_false(accepted(&p));
	assert_non_null(strstr(err.msg, "get_vq_group"));
	ops.get_vq_group = mock_ops.get_vq_group;
	assert_true(accepted(&p));
	p.nas = 2;
	assert_false(accepted(&p));
	assert_non_null(strstr(err.msg, "set_group_asid"));
	ops.set_group_asid = mock_ops.set_group_asid;
	assert_true(accepted(&p));
}

static void sizes_are_checked(void **state)
{
	struct vdpa_alloc_params p = params(&mock_ops);

	p.device_size--;
	assert_false(accepted(&p));
	assert_non_null(strstr(err.msg, "headers"));
	p = params(&mock_ops);
	p.size = p.offset + sizeof(struct vdpa_device) - 1;
	assert_false(accepted(&p));
	p = params(&mock_ops);
	p.offset = SIZE_MAX - 7;
	assert_false(accepted(&p));
	p = params(&mock_ops);
	p.offset += 1;
	assert_false(accepted(&p));
	p = params(NULL);
	assert_false(accepted(&p));
}

static uint16_t num_zero(struct vdpa_device *vdev)
{
	return 0;
}

static uint16_t num_big(struct vdpa_device *vdev)
{
	return 1024;
}

static void ring_sizes_must_not_exclude_each_other(void **state)
{
	struct vdpa_config_ops ops = mock_ops;
	struct mock *m = mock_new(ctx, "d0", &ops);

	ops.get_vq_num_max = num_zero;
	assert_int_equal(vdpa_register_device(&m->vdpa, 1, &err), -EINVAL);
	ops.get_vq_num_max = mock_ops.get_vq_num_max;
	ops.get_vq_num_min = num_big;
	assert_int_equal(vdpa_register_device(&m->vdpa, 1, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "1024"));
	ops.get_vq_num_min = NULL;
	assert_int_equal(vdpa_register_device(&m->vdpa, 65536, &err), 0);
	assert_int_equal(vdpa_unregister_device(&m->vdpa, NULL), 0);
}

static void extension_table_needs_a_size(void **state)
{
	struct vdpa_ext_ops ext = mock_async_ops;
	struct mock *m = mock_new(ctx, "d0", &mock_ops);

	ext.size = 0;
	m->vdpa.ext = &ext;
	assert_int_equal(vdpa_register_device(&m->vdpa, 1, &err), -EINVAL);
	ext.size = sizeof(ext);
	assert_int_equal(vdpa_register_device(&m->vdpa, 1, &err), 0);
	assert_int_equal(vdpa_unregister_device(&m->vdpa, NULL), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(bare_parent_is_enough),
		T(each_mandatory_op_is_asked_for_by_name),
		T(no_optional_op_is_mandatory),
		T(dma_ops_come_in_pairs),
		T(use_va_needs_a_map_op),
		T(groups_and_spaces_need_their_ops),
		T(sizes_are_checked),
		T(ring_sizes_must_not_exclude_each_other),
		T(extension_table_needs_a_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
