// SPDX-License-Identifier: BSD-3-Clause
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "ctl/params.h"

static const struct ctl_param spec[] = {
	{.name = "s", .type = CTL_STRING, .required = true, .help = "a string"},
	{.name = "i", .type = CTL_INT, .min = -1, .max = 5, .help = "a number"},
	{.name = "b", .type = CTL_BOOL, .help = "yes or no"},
	{.name = "o", .type = CTL_OBJECT, .help = "an object"},
	{.name = "a", .type = CTL_ARRAY, .help = "a list"},
	{.name = "k", .type = CTL_ATTRS, .help = "attributes"},
	{.name = NULL},
};

static void expect(const char *text, int want, const char *says)
{
	json_t *params = json_loads(text, 0, NULL);
	struct vdpa_error err = {0};

	assert_non_null(params);
	assert_int_equal(ctl_params_check(spec, params, "m", &err), want);
	if (want) {
		assert_string_equal(err.object, "m");
		assert_non_null(strstr(err.msg, says));
	}
	json_decref(params);
}

static void test_check(void **state)
{
	expect("{\"s\":\"x\"}", 0, NULL);
	expect("{\"s\":\"x\",\"i\":-1,\"b\":true,\"o\":{},\"a\":[],\"k\":{}}", 0, NULL);
	expect("{\"s\":\"x\",\"i\":5}", 0, NULL);
	expect("{}", -EINVAL, "\"s\" is missing (a string)");
	expect("{\"s\":1}", -EINVAL, "\"s\" must be of type string");
	expect("{\"s\":null}", -EINVAL, "must be of type string");
	expect("{\"s\":\"x\",\"i\":6}", -EINVAL, "\"i\" is 6: -1 to 5 is allowed");
	expect("{\"s\":\"x\",\"i\":-2}", -EINVAL, "-1 to 5 is allowed");
	expect("{\"s\":\"x\",\"i\":1.0}", -EINVAL, "must be of type integer");
	expect("{\"s\":\"x\",\"b\":1}", -EINVAL, "must be of type boolean");
	expect("{\"s\":\"x\",\"o\":[]}", -EINVAL, "must be of type object");
	expect("{\"s\":\"x\",\"a\":{}}", -EINVAL, "must be of type array");
	expect("{\"s\":\"x\",\"k\":[]}", -EINVAL, "must be of type attributes");
	expect("{\"s\":\"x\",\"z\":1}", -EINVAL, "\"z\" is not known; allowed: s, i, b, o, a, k");
}

static void test_without_a_table(void **state)
{
	json_t *params = json_loads("{\"x\":1}", 0, NULL), *none = json_object();
	struct vdpa_error err = {0};

	assert_int_equal(ctl_params_check(NULL, none, "m", &err), 0);
	assert_int_equal(ctl_params_check(NULL, params, "m", &err), -EINVAL);
	assert_non_null(strstr(err.msg, "allowed: none"));
	json_decref(params);
	json_decref(none);
}

static void test_getters(void **state)
{
	json_t *params = json_loads("{\"s\":\"x\",\"i\":3,\"b\":false}", 0, NULL);

	assert_string_equal(ctl_get_str(params, "s", "d"), "x");
	assert_string_equal(ctl_get_str(params, "i", "d"), "d");
	assert_int_equal(ctl_get_int(params, "i", 9), 3);
	assert_int_equal(ctl_get_int(params, "s", 9), 9);
	assert_false(ctl_get_bool(params, "b", true));
	assert_true(ctl_get_bool(params, "nothing", true));
	json_decref(params);
}

static void test_described(void **state)
{
	json_t *list = ctl_params_json(spec), *none = ctl_params_json(NULL);

	assert_int_equal(json_array_size(list), 6);
	assert_int_equal(json_array_size(none), 0);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(list, 1), "max")), 5);
	json_decref(list);
	json_decref(none);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_without_a_table),
		cmocka_unit_test(test_getters),
		cmocka_unit_test(test_described),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
