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

static struct vdpa_attr *list_of(const char *text)
{
	json_t *obj = json_loads(text, 0, NULL);
	struct vdpa_attr *list = NULL;

	assert_non_null(obj);
	assert_int_equal(ctl_attrs_from_json(obj, "x", &list, NULL), 0);
	json_decref(obj);
	return list;
}

static void test_scalars(void **state)
{
	struct vdpa_attr *list = list_of("{\"s\":\"text\",\"n\":-7,\"t\":true,\"f\":false}");

	assert_string_equal(vdpa_attr_get(list, "s"), "text");
	assert_string_equal(vdpa_attr_get(list, "n"), "-7");
	assert_string_equal(vdpa_attr_get(list, "t"), "on");
	assert_string_equal(vdpa_attr_get(list, "f"), "off");
	assert_null(list[4].key);
	ctl_attrs_free(list);
}

static void test_none(void **state)
{
	struct vdpa_attr *list = list_of("{}");
	json_t *obj;

	assert_null(list);
	assert_int_equal(ctl_attrs_from_json(NULL, "x", &list, NULL), 0);
	assert_null(list);
	obj = ctl_attrs_to_json(NULL);
	assert_int_equal(json_object_size(obj), 0);
	json_decref(obj);
	ctl_attrs_free(NULL);
}

static void test_refused(void **state)
{
	static const char *const texts[] = {"{\"a\":1,\"b\":null}", "{\"b\":[]}", "{\"b\":{}}",
					    "{\"b\":1.5}"};

	for (size_t i = 0; i < 4; i++) {
		json_t *obj = json_loads(texts[i], 0, NULL);
		struct vdpa_error err = {0};
		struct vdpa_attr *list = NULL;

		assert_int_equal(ctl_attrs_from_json(obj, "dev/x", &list, &err), -EINVAL);
		assert_null(list);
		assert_string_equal(err.object, "dev/x");
		assert_non_null(strstr(err.msg, "\"b\""));
		json_decref(obj);
	}
}

/* Equal lists give equal text, whatever their order. */
static void test_sorted(void **state)
{
	struct vdpa_attr *a = list_of("{\"b\":\"1\",\"a\":\"2\",\"c\":\"3\",\"ab\":\"4\"}");
	struct vdpa_attr *b = list_of("{\"ab\":\"4\",\"c\":\"3\",\"b\":\"1\",\"a\":\"2\"}");
	json_t *ja = ctl_attrs_to_json(a), *jb = ctl_attrs_to_json(b);
	char *ta = json_dumps(ja, JSON_COMPACT), *tb = json_dumps(jb, JSON_COMPACT);

	assert_string_equal(ta, "{\"a\":\"2\",\"ab\":\"4\",\"b\":\"1\",\"c\":\"3\"}");
	assert_string_equal(ta, tb);
	free(ta);
	free(tb);
	json_decref(ja);
	json_decref(jb);
	ctl_attrs_free(a);
	ctl_attrs_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scalars),
		cmocka_unit_test(test_none),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_sorted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
