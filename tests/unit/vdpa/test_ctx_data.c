// SPDX-License-Identifier: BSD-3-Clause
/* What floors above keep for a context: found by its key, in its context alone, freed with it. */
#include <errno.h>
#include "mock.h"
#include "alloc_fail.h"

static unsigned freed;

static void note_free(void *data)
{
	freed += *(unsigned *)data;
}

static void data_of_a_context(void **state)
{
	static const char key_a, key_b;
	unsigned one = 1, ten = 10;
	struct vdpa_ctx *ctx = mock_ctx(), *other = mock_ctx();

	assert_null(vdpa_ctx_get_data(ctx, &key_a));
	assert_int_equal(vdpa_ctx_set_data(ctx, &key_a, &one, note_free), 0);
	assert_int_equal(vdpa_ctx_set_data(ctx, &key_b, &ten, note_free), 0);
	assert_int_equal(vdpa_ctx_set_data(ctx, &key_a, &ten, note_free), -EEXIST);
	assert_ptr_equal(vdpa_ctx_get_data(ctx, &key_a), &one);
	assert_ptr_equal(vdpa_ctx_get_data(ctx, &key_b), &ten);
	assert_null(vdpa_ctx_get_data(other, &key_a));
	assert_int_equal(vdpa_ctx_set_data(other, &key_a, &ten, NULL), 0);
	assert_int_equal(vdpa_ctx_free(other), 0);
	assert_int_equal(freed, 0);
	assert_int_equal(vdpa_ctx_free(ctx), 0);
	assert_int_equal(freed, 11);
}

static void no_memory(void **state)
{
	static const char key;
	struct vdpa_ctx *ctx = mock_ctx();
	int data = 0;

	alloc_fail_begin();
	assert_true(alloc_fail_more());
	assert_int_equal(vdpa_ctx_set_data(ctx, &key, &data, NULL), -ENOMEM);
	alloc_fail_off();
	assert_null(vdpa_ctx_get_data(ctx, &key));
	assert_int_equal(vdpa_ctx_free(ctx), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(data_of_a_context),
		cmocka_unit_test(no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
