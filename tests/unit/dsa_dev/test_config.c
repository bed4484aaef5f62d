// SPDX-License-Identifier: BSD-3-Clause
/* What an administrator says to a software DSA: what is taken, what is refused, and why. */
#include "host.h"

static int start(void **state)
{
	host_start(1);
	return 0;
}

static int end(void **state)
{
	host_end();
	return 0;
}

static int config(const char *path, const char *key, const char *value)
{
	return host_words(host_do_config, path, key, value, NULL);
}

static int enable(const char *path)
{
	return host_words(host_do_enable, path, NULL);
}

static int add(const char *name)
{
	return host_words(host_do_add, name, "wq_size", "64", NULL);
}

static void test_names(void **state)
{
	static const char *const bad[] = {"dsa",   "dsa00", "dsa01",	 "dsa1x", "wq0",  "",
					  "dsa-1", "DSA0",  "dsa123456", "dsa 1", "xdsa1"};
	static const char *const nothing[] = {"dsa1",	      "dsa0/wq0.8",	"dsa0/wq1.0",
					      "dsa0/",	      "dsa0/engine0.4", "dsa0/group0.4",
					      "dsa0/wq0.0/x", "dsa0/wq0.00",	"/wq0.0"};

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(add(bad[i]), -EINVAL);
	assert_int_equal(add("dsa0"), 0);
	assert_int_equal(add("dsa0"), -EEXIST);
	assert_int_equal(add("dsa12345"), 0);
	for (unsigned i = 0; i < sizeof(nothing) / sizeof(nothing[0]); i++)
		assert_int_equal(config(nothing[i], "name", "x"), -ENODEV);
	assert_int_equal(host_words(host_do_add, "dsa1", "wqs", "9", NULL), -ERANGE);
	assert_int_equal(host_words(host_do_add, "dsa1", "colour", "9", NULL), -EINVAL);
}

static void test_queue_values(void **state)
{
	static const struct {
		const char *key, *value;
		int r;
	} tries[] = {
		{"size", "64", 0},
		{"size", "65", -ERANGE},
		{"size", "x", -EINVAL},
		{"threshold", "65", -EINVAL},
		{"threshold", "64", 0},
		{"size", "63", -EINVAL}, /* below the threshold */
		{"mode", "shared", 0},
		{"mode", "both", -EINVAL},
		{"type", "mdev", 0},
		{"type", "gpu", -EINVAL},
		{"priority", "0", -ERANGE},
		{"priority", "15", 0},
		{"priority", "16", -ERANGE},
		{"group_id", "3", 0},
		{"group_id", "4", -EINVAL},
		{"group_id", "-1", 0},
		{"group_id", "-2", -EINVAL},
		{"group_id", "1x", -EINVAL},
		{"max_transfer_size", "3000", -EINVAL},
		{"max_transfer_size", "2G", 0},
		{"max_transfer_size", "4G", -ERANGE},
		{"max_batch_size", "1024", 0},
		{"max_batch_size", "48", -EINVAL},
		{"max_batch_size", "2048", -ERANGE},
		{"block_on_fault", "1", 0},
		{"name", "a-name", 0},
		{"name", "0123456789012345678901234567890123456789012345678901234567890123456789",
		 -EINVAL},
		{"driver_name", "mdev", 0},
		{"state", "enabled", -EINVAL},
	};

	assert_int_equal(add("dsa0"), 0);
	for (unsigned i = 0; i < sizeof(tries) / sizeof(tries[0]); i++) {
		int r = config("dsa0/wq0.7", tries[i].key, tries[i].value);

		if (r != tries[i].r)
			fail_msg("%s=%s: %d, not %d", tries[i].key, tries[i].value, r, tries[i].r);
	}
	/* All or nothing. */
	assert_int_equal(
		host_words(host_do_config, "dsa0/wq0.6", "priority", "3", "size", "1", NULL),
		-ERANGE);
}

static void test_other_values(void **state)
{
	assert_int_equal(add("dsa0"), 0);
	assert_int_equal(config("dsa0/engine0.0", "group_id", "0"), 0);
	assert_int_equal(config("dsa0/engine0.0", "group_id", "9"), -EINVAL);
	assert_int_equal(config("dsa0/engine0.0", "size", "9"), -EINVAL);
	assert_int_equal(config("dsa0/group0.0", "read_buffers_allowed", "4"), 0);
	assert_int_equal(config("dsa0/group0.0", "read_buffers_reserved", "5"), -EINVAL);
	assert_int_equal(config("dsa0/group0.0", "use_read_buffer_limit", "1"), 0);
	assert_int_equal(config("dsa0", "read_buffer_limit", "8"), 0);
	assert_int_equal(config("dsa0", "read_buffer_limit", "9"), -ERANGE);
}

static void test_states(void **state)
{
	assert_int_equal(add("dsa0"), 0);
	assert_int_equal(enable("dsa0/wq0.0"), -EBUSY);
	assert_int_equal(enable("dsa0"), -EINVAL); /* no engine in a group */
	assert_int_equal(enable("dsa0/engine0.0"), -EINVAL);
	assert_int_equal(config("dsa0/engine0.0", "group_id", "0"), 0);
	assert_int_equal(host_disable("dsa0"), -EALREADY);
	assert_int_equal(enable("dsa0"), 0);
	assert_int_equal(enable("dsa0"), -EALREADY);

	/* A queue, one missing thing after the other. */
	assert_int_equal(enable("dsa0/wq0.0"), -EINVAL);
	assert_int_equal(config("dsa0/wq0.0", "type", "mdev"), 0);
	assert_int_equal(enable("dsa0/wq0.0"), -EINVAL);
	assert_int_equal(config("dsa0/wq0.0", "name", "m0"), 0);
	assert_int_equal(enable("dsa0/wq0.0"), -EINVAL);
	assert_int_equal(config("dsa0/wq0.0", "size", "16"), -EBUSY); /* the device is enabled */
	assert_int_equal(config("dsa0/engine0.0", "group_id", "1"), -EBUSY);
	assert_int_equal(host_disable("dsa0"), 0);
	assert_int_equal(config("dsa0/wq0.0", "size", "16"), 0);
	assert_int_equal(config("dsa0/wq0.0", "group_id", "1"), 0);
	assert_int_equal(enable("dsa0"), 0);
	assert_int_equal(enable("dsa0/wq0.0"), -EINVAL); /* a group without an engine */
	assert_int_equal(host_disable("dsa0"), 0);
	assert_int_equal(config("dsa0/wq0.0", "group_id", "0"), 0);
	assert_int_equal(config("dsa0/wq0.0", "mode", "shared"), 0);
	assert_int_equal(enable("dsa0"), 0);
	assert_int_equal(enable("dsa0/wq0.0"), -EINVAL); /* shared, without a threshold */
	assert_int_equal(config("dsa0/wq0.0", "threshold", "8"), 0);
	assert_int_equal(enable("dsa0/wq0.0"), 0);
	assert_int_equal(enable("dsa0/wq0.0"), -EALREADY);
	assert_int_equal(config("dsa0/wq0.0", "priority", "2"), -EBUSY);
	assert_int_equal(host_disable("dsa0/wq0.0"), 0);
	assert_int_equal(host_disable("dsa0/wq0.0"), -EALREADY);
	assert_int_equal(host_disable("dsa0/engine0.0"), -EINVAL);
	assert_int_equal(enable("dsa0/wq0.0"), 0);
	/* The device takes its queues with it. */
	assert_int_equal(host_disable("dsa0"), 0);
	assert_int_equal(host_disable("dsa0/wq0.0"), -EALREADY);
}

static int delete (void *arg)
{
	return dsa_dev_del(dsa_dev_find(host.ctx, arg), NULL);
}

static void test_delete(void **state)
{
	char name[] = "dsa0";

	assert_int_equal(add("dsa0"), 0);
	assert_int_equal(config("dsa0/engine0.0", "group_id", "0"), 0);
	assert_int_equal(enable("dsa0"), 0);
	assert_int_equal(host_call(delete, name), -EBUSY);
	assert_int_equal(host_disable("dsa0"), 0);
	assert_int_equal(host_call(delete, name), 0);
	assert_int_equal(config("dsa0", "read_buffer_limit", "1"), -ENODEV);
	assert_int_equal(add("dsa0"), 0);
}

static unsigned shown;

static void count_shown(void *arg, const char *key, const char *value)
{
	assert_non_null(value);
	shown++;
}

static int show(void *arg)
{
	return dsa_show(host.ctx, arg, count_shown, NULL);
}

static void test_show(void **state)
{
	static char names[][16] = {"dsa0", "dsa0/wq0.0", "dsa0/engine0.0", "dsa0/group0.0"};
	static const unsigned counts[] = {7, 12, 1, 3};
	char none[] = "dsa9";

	assert_int_equal(add("dsa0"), 0);
	for (unsigned i = 0; i < 4; i++) {
		shown = 0;
		assert_int_equal(host_call(show, names[i]), 0);
		assert_int_equal(shown, counts[i]);
	}
	assert_int_equal(host_call(show, none), -ENODEV);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_names, start, end),
		cmocka_unit_test_setup_teardown(test_queue_values, start, end),
		cmocka_unit_test_setup_teardown(test_other_values, start, end),
		cmocka_unit_test_setup_teardown(test_states, start, end),
		cmocka_unit_test_setup_teardown(test_delete, start, end),
		cmocka_unit_test_setup_teardown(test_show, start, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
