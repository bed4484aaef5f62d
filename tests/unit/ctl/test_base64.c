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
#include "ctl/drv.h"

/* RFC 4648, section 10. */
static void test_vectors(void **state)
{
	static const char *const v[][2] = {
		{"", ""},
		{"f", "Zg=="},
		{"fo", "Zm8="},
		{"foo", "Zm9v"},
		{"foob", "Zm9vYg=="},
		{"fooba", "Zm9vYmE="},
		{"foobar", "Zm9vYmFy"},
	};

	for (size_t i = 0; i < 7; i++) {
		char *text = drv_base64((const uint8_t *)v[i][0], strlen(v[i][0]));
		uint8_t *data;
		size_t len;

		assert_string_equal(text, v[i][1]);
		assert_int_equal(drv_unbase64(text, &data, &len), 0);
		assert_int_equal(len, strlen(v[i][0]));
		assert_memory_equal(data, v[i][0], len);
		free(text);
		free(data);
	}
}

static void test_all_bytes(void **state)
{
	uint8_t in[256], *out;
	char *text;
	size_t len;

	for (size_t i = 0; i < 256; i++)
		in[i] = (uint8_t)i;
	for (size_t n = 0; n <= 256; n++) {
		text = drv_base64(in, n);
		assert_int_equal(drv_unbase64(text, &out, &len), 0);
		assert_int_equal(len, n);
		assert_memory_equal(out, in, n);
		free(text);
		free(out);
	}
}

static void test_refused(void **state)
{
	static const char *const bad[] = {
		"a",	"ab",	    "abc",  "====",  "a===",	   "ab=c",
		"=abc", "ab==abcd", "ab c", "ab\n=", "\xc3\xa4==", "ab-_"};
	uint8_t *out = NULL;
	size_t len;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(drv_unbase64(bad[i], &out, &len), -EINVAL);
	assert_null(out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_all_bytes),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
