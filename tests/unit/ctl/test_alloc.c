// SPDX-License-Identifier: BSD-3-Clause
/* The n-th allocation fails, for every n; that of the JSON library included. */
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
#include <sys/socket.h>
#include "alloc_fail.h"
#include "ctl/client.h"
#include "ctl/drv.h"
#include "ctl/frame.h"
#include "ctl/json.h"
#include "ctl/listen.h"
#include "ctl/names.h"
#include "ctl/params.h"

static int setup(void **state)
{
	json_set_alloc_funcs(__wrap_malloc, free);
	return 0;
}

static void test_frames(void **state)
{
	for (alloc_fail_begin(); alloc_fail_more();) {
		struct ctl_in in;
		struct ctl_out out;

		ctl_in_init(&in, 100000);
		ctl_out_init(&out, 100000);
		if (!ctl_in_put(&in, "abc\n", 4))
			assert_int_equal(in.used, 4);
		if (!ctl_out_line(&out, "abc", 3))
			assert_int_equal(ctl_out_waiting(&out), 4);
		else
			assert_int_equal(ctl_out_waiting(&out), 0);
		ctl_in_fini(&in);
		ctl_out_fini(&out);
	}
}

static void test_attrs(void **state)
{
	for (alloc_fail_begin(); alloc_fail_more();) {
		json_t *obj = ctl_json_parse("{\"a\":\"1\",\"b\":2,\"c\":true}", 24, NULL);
		struct vdpa_attr *list = NULL;

		if (obj && !ctl_attrs_from_json(obj, "x", &list, NULL)) {
			json_t *back = ctl_attrs_to_json(list);

			assert_string_equal(vdpa_attr_get(list, "b"), "2");
			json_decref(back);
		}
		ctl_attrs_free(list);
		json_decref(obj);
	}
}

static void test_json(void **state)
{
	static const struct ctl_param spec[] = {
		{.name = "a", .type = CTL_INT, .max = 9, .help = "x"}, {.name = NULL}};

	for (alloc_fail_begin(); alloc_fail_more();) {
		json_decref(ctl_features_json(1, UINT64_MAX));
		json_decref(ctl_status_json(0xff));
		json_decref(ctl_json_hex(1));
		json_decref(ctl_json_text("\xff"));
		json_decref(ctl_params_json(spec));
	}
}

static void test_base64(void **state)
{
	for (alloc_fail_begin(); alloc_fail_more();) {
		uint8_t *data = NULL;
		size_t len;

		free(drv_base64((const uint8_t *)"abc", 3));
		if (!drv_unbase64("YWJj", &data, &len))
			assert_int_equal(len, 3);
		free(data);
	}
}

static void test_listen_and_client(void **state)
{
	char path[64];

	snprintf(path, sizeof(path), "/tmp/uvdpa-alloc-%d", (int)getpid());
	for (alloc_fail_begin(); alloc_fail_more();) {
		struct ctl_listen_params p = {
			.path = path, .mode = 0600, .uid = (uid_t)-1, .gid = (gid_t)-1};
		struct ctl_listen l = CTL_LISTEN_INIT;
		struct ctl_client *c = NULL;

		if (!ctl_listen_open(&l, &p, NULL) && !ctl_client_open(path, &c, NULL)) {
			json_t *result = NULL;

			ctl_client_set_timeout(c, 1000000);
			assert_true(ctl_client_call(c, "x", NULL, &result, NULL) < 0);
			assert_null(result);
		}
		ctl_client_close(c);
		ctl_listen_close(&l);
		alloc_fail_off();
		assert_int_equal(access(path, F_OK), -1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frames),
		cmocka_unit_test(test_attrs),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_base64),
		cmocka_unit_test(test_listen_and_client),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
