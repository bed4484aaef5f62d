// SPDX-License-Identifier: BSD-3-Clause
/* Errors for people, and the attributes that people type. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <uvdpa/types.h>
#include "base/cmocka_inc.h"

static struct vdpa_error err;

static const char *const colours[] = {"red", "green", NULL};
static const struct vdpa_attr_spec spec[] = {
	{.name = "n", .type = VDPA_ATTR_U64, .min = 2, .max = 100},
	{.name = "any", .type = VDPA_ATTR_U64},
	{.name = "size", .type = VDPA_ATTR_SIZE, .min = 512},
	{.name = "on", .type = VDPA_ATTR_BOOL},
	{.name = "mac", .type = VDPA_ATTR_MAC},
	{.name = "colour", .type = VDPA_ATTR_ENUM, .choices = colours},
	{.name = "fd", .type = VDPA_ATTR_FD},
	{.name = "path", .type = VDPA_ATTR_PATH},
	{.name = "text", .type = VDPA_ATTR_STRING},
	{.name = NULL},
};

static int check(const char *key, const char *value)
{
	const struct vdpa_attr attrs[] = {{key, value}, {NULL, NULL}};
	int ret;

	memset(&err, 0, sizeof(err));
	ret = vdpa_attr_check(attrs, spec, "dev/d0", &err);
	if (ret) {
		assert_string_equal(err.object, "dev/d0");
		assert_non_null(strstr(err.msg, key));
		assert_non_null(strstr(err.msg, value));
	} else {
		assert_string_equal(err.msg, "");
	}
	return ret;
}

static void error_is_filled_and_returned(void **state)
{
	assert_int_equal(vdpa_error_set(NULL, EBUSY, "x", "%d", 1), -EBUSY);
	assert_int_equal(vdpa_error_set(&err, EBUSY, "dev/d0", "%s is %d", "it", 7), -EBUSY);
	assert_string_equal(err.object, "dev/d0");
	assert_string_equal(err.msg, "it is 7");
	vdpa_error_set(&err, EBUSY, NULL, "again");
	assert_string_equal(err.object, "dev/d0");
}

static void error_is_one_harmless_line_that_fits(void **state)
{
	char longer[2000];

	vdpa_error_set(&err, EINVAL, "a\nb", "x\ny\x1b[2Jz\x7f \xc3\xa4");
	assert_string_equal(err.object, "a?b");
	assert_string_equal(err.msg, "x?y?[2Jz? \xc3\xa4");
	memset(longer, 'm', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	vdpa_error_set(&err, EINVAL, longer, "%s", longer);
	assert_int_equal(strlen(err.object), sizeof(err.object) - 1);
	assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
}

static void numbers(void **state)
{
	static const char *const bad[] = {"",	" 5", "5 ",  "+5",  "-5", "0x",
					  "5x", "x5", "0b1", "5.0", "0xg"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(check("n", bad[i]), -EINVAL);
	assert_int_equal(check("n", "1"), -ERANGE);
	assert_int_equal(check("n", "2"), 0);
	assert_int_equal(check("n", "100"), 0);
	assert_int_equal(check("n", "101"), -ERANGE);
	assert_int_equal(check("n", "0x64"), 0);
	assert_int_equal(check("n", "0x65"), -ERANGE);
	assert_int_equal(check("n", "010"), 0); /* ten, not eight */
	assert_int_equal(check("any", "18446744073709551615"), 0);
	assert_int_equal(check("any", "0xFFFFFFFFFFFFFFFF"), 0);
	assert_int_equal(check("any", "18446744073709551616"), -ERANGE);
	assert_int_equal(check("any", "0x10000000000000000"), -ERANGE);
	assert_int_equal(check("any", "5K"), -EINVAL);
}

static void sizes(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {{"512", 512},	{"1k", 1024},
		    {"4K", 4096},	{"1M", 1 << 20},
		    {"2g", 2ull << 30}, {"1T", 1ull << 40},
		    {"0x10k", 0x4000},	{"16777215T", 16777215ull << 40}};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		const struct vdpa_attr attrs[] = {{"size", good[i].text}, {NULL, NULL}};

		assert_int_equal(check("size", good[i].text), 0);
		assert_true(vdpa_attr_size(attrs, "size", 1) == good[i].bytes);
	}
	assert_int_equal(check("size", "511"), -ERANGE);
	assert_int_equal(check("size", "16777216T"), -ERANGE);
	assert_int_equal(check("size", "1KB"), -EINVAL);
	assert_int_equal(check("size", "K"), -EINVAL);
	assert_int_equal(check("size", "1P"), -EINVAL);
}

static void other_types(void **state)
{
	static const char *const bad_mac[] = {"",
					      "52:54:00:12:34",
					      "52:54:00:12:34:56:78",
					      "52-54-00-12-34-56",
					      "52:54:00:12:34:5",
					      "52:54:00:12:34:5g",
					      "5:54:00:12:34:56",
					      "52:54:00:12:34:56 "};
	char path[PATH_MAX + 1];

	for (size_t i = 0; i < sizeof(bad_mac) / sizeof(bad_mac[0]); i++)
		assert_int_equal(check("mac", bad_mac[i]), -EINVAL);
	assert_int_equal(check("mac", "52:54:00:aB:34:56"), 0);
	assert_int_equal(check("on", "on"), 0);
	assert_int_equal(check("on", "No"), 0);
	assert_int_equal(check("on", "2"), -EINVAL);
	assert_int_equal(check("on", ""), -EINVAL);
	assert_int_equal(check("colour", "green"), 0);
	assert_int_equal(check("colour", "gree"), -EINVAL);
	assert_non_null(strstr(err.msg, "red, green"));
	assert_int_equal(check("fd", "3"), 0);
	assert_int_equal(check("fd", "-1"), -EINVAL);
	assert_int_equal(check("fd", "2147483648"), -EINVAL);
	assert_int_equal(check("path", ""), -EINVAL);
	assert_int_equal(check("path", "x"), 0);
	memset(path, 'p', sizeof(path));
	path[PATH_MAX - 1] = '\0';
	assert_int_equal(check("path", path), 0);
	path[PATH_MAX - 1] = 'p';
	path[PATH_MAX] = '\0';
	{
		const struct vdpa_attr attrs[] = {{"path", path}, {NULL, NULL}};

		assert_int_equal(vdpa_attr_check(attrs, spec, "x", &err), -EINVAL);
	}
	assert_int_equal(check("text", ""), 0);
}

static void lists(void **state)
{
	static const struct vdpa_attr_spec required[] = {
		{.name = "a", .type = VDPA_ATTR_STRING, .required = true, .help = "the first"},
		{.name = "b", .type = VDPA_ATTR_STRING},
		{.name = NULL},
	};
	const struct vdpa_attr unknown[] = {{"a", "1"}, {"c", "2"}, {NULL, NULL}};
	const struct vdpa_attr twice[] = {{"a", "1"}, {"b", "2"}, {"a", "1"}, {NULL, NULL}};
	const struct vdpa_attr no_value[] = {{"a", NULL}, {NULL, NULL}};
	const struct vdpa_attr only_b[] = {{"b", "1"}, {NULL, NULL}};

	assert_int_equal(vdpa_attr_check(unknown, required, "o", &err), -EINVAL);
	assert_non_null(strstr(err.msg, "\"c\" is not known; allowed: a, b"));
	assert_int_equal(vdpa_attr_check(twice, required, "o", &err), -EINVAL);
	assert_non_null(strstr(err.msg, "a is given twice"));
	assert_int_equal(vdpa_attr_check(no_value, required, "o", &err), -EINVAL);
	assert_int_equal(vdpa_attr_check(only_b, required, "o", &err), -EINVAL);
	assert_non_null(strstr(err.msg, "a is missing (the first)"));
	assert_int_equal(vdpa_attr_check(NULL, required, "o", &err), -EINVAL);
	assert_int_equal(vdpa_attr_check(NULL, NULL, "o", &err), 0);
	assert_int_equal(vdpa_attr_check(only_b, NULL, "o", &err), -EINVAL);
	assert_non_null(strstr(err.msg, "allowed: none"));
	assert_int_equal(vdpa_attr_check(only_b, NULL, "o", NULL), -EINVAL);
}

static void typed_reads_fall_back(void **state)
{
	const struct vdpa_attr attrs[] = {{"n", "0x10"},    {"bad", "x"},
					  {"on", "yes"},    {"mac", "02:00:00:00:00:ff"},
					  {"badmac", "02"}, {NULL, NULL}};
	uint8_t mac[6] = {0};

	assert_int_equal(vdpa_attr_u64(attrs, "n", 5), 16);
	assert_int_equal(vdpa_attr_u64(attrs, "bad", 5), 5);
	assert_int_equal(vdpa_attr_u64(attrs, "none", 5), 5);
	assert_int_equal(vdpa_attr_u64(NULL, "n", 5), 5);
	assert_int_equal(vdpa_attr_size(attrs, "bad", 5), 5);
	assert_true(vdpa_attr_bool(attrs, "on", false));
	assert_true(vdpa_attr_bool(attrs, "bad", true));
	assert_false(vdpa_attr_bool(attrs, "none", false));
	assert_false(vdpa_attr_mac(attrs, "badmac", mac));
	assert_int_equal(mac[0], 0);
	assert_true(vdpa_attr_mac(attrs, "mac", mac));
	assert_int_equal(mac[5], 0xff);
	assert_null(vdpa_attr_get(attrs, "none"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(error_is_filled_and_returned),
		cmocka_unit_test(error_is_one_harmless_line_that_fits),
		cmocka_unit_test(numbers),
		cmocka_unit_test(sizes),
		cmocka_unit_test(other_types),
		cmocka_unit_test(lists),
		cmocka_unit_test(typed_reads_fall_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
