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
#include "ctl/json.h"
#include "ctl/proto.h"

static void refused(const char *text, size_t len, const char *says)
{
	struct vdpa_error err = {0};

	assert_null(ctl_json_parse(text, len, &err));
	assert_non_null(strstr(err.msg, says));
	assert_null(ctl_json_parse(text, len, NULL));
}

static void test_refused(void **state)
{
	refused("", 0, "not valid JSON");
	refused("{", 1, "line 1");
	refused("{\"a\":1,\"a\":2}", 13, "duplicate");
	refused("{\"a\":\"\\u0000\"}", 14, "not valid JSON");
	refused("{\"a\":\"\0\"}", 9, "not valid JSON");
	refused("{}\0", 3, "not valid JSON");
	refused("{} {}", 5, "not valid JSON");
	refused("[1e999999]", 10, "not valid JSON");
	refused("[99999999999999999999]", 22, "not valid JSON");
	refused("\"\\", 2, "not valid JSON");
}

static void test_depth(void **state)
{
	for (int depth = 1; depth <= CTL_DEPTH_MAX + 1; depth++) {
		char text[2 * CTL_DEPTH_MAX + 4] = "";
		json_t *root;

		for (int i = 0; i < depth; i++)
			strcat(text, "[");
		for (int i = 0; i < depth; i++)
			strcat(text, "]");
		root = ctl_json_parse(text, strlen(text), NULL);
		assert_int_equal(root != NULL, depth <= CTL_DEPTH_MAX);
		json_decref(root);
	}
	refused("[[[[[[[[[[[[[[[[[[[[[[[[", 24, "nested deeper");
}

/* Brackets in strings are no nesting, and an escaped quote does not end a string. */
static void test_depth_in_strings(void **state)
{
	static const char text[] = "[\"[[[[[[[[[[[[[[[[[[[[\\\"[[[[\"]";
	json_t *root = ctl_json_parse(text, sizeof(text) - 1, NULL);

	assert_non_null(root);
	json_decref(root);
}

static void test_numbers(void **state)
{
	json_t *v = ctl_json_hex(UINT64_MAX);

	assert_string_equal(json_string_value(v), "0xffffffffffffffff");
	json_decref(v);
	v = ctl_json_u64(UINT64_MAX);
	assert_int_equal(json_integer_value(v), INT64_MAX);
	json_decref(v);
}

static void test_text(void **state)
{
	json_t *v = ctl_json_text("a\xff\xfe"
				  "b");

	assert_string_equal(json_string_value(v), "a??b");
	json_decref(v);
	v = ctl_json_text(NULL);
	assert_string_equal(json_string_value(v), "");
	json_decref(v);
}

static void test_errno(void **state)
{
	for (int i = 1; i < 134; i++) {
		if (strcmp(ctl_errno_name(i), "E?"))
			assert_int_equal(ctl_errno_from_name(ctl_errno_name(i)), i);
	}
	assert_int_equal(ctl_errno_from_name("ENONSENSE"), EIO);
	assert_int_equal(ctl_errno_from_name(NULL), EIO);
	assert_string_equal(ctl_errno_name(100000), "E?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_depth_in_strings),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_errno),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
