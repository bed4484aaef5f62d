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
		{"mode", "dedicated", 0},
		{"threshold", "65", 0}, /* a dedicated queue has none */
		{"mode", "shared", -EINVAL},
		{"threshold", "0", 0},
		{"mode", "shared", 0},
		{"size", "64", 0},
		{"size", "65", -ERANGE},
		{"size", "x", -EINVAL},
		{"threshold", "65", -EINVAL},
		{"threshold", "64", 0},
		{"size", "63", -EINVAL}, /* below the threshold */
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
		{"max_transfer_size", "3000", 0}, /* rounded up */
		{"max_transfer_size", "0", -ERANGE},
		{"max_transfer_size", "2G", 0},
		{"max_transfer_size", "4G", -ERANGE},
		{"max_batch_size", "1024", 0},
		{"max_batch_size", "48", 0},
		{"op_config", "1,00bf03ff", 0},
		{"op_config",
		 "00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000008", 0},
		{"op_config", "0,0,0,0,0,0,0,0,8", -EINVAL}, /* nine words */
		{"op_config", "80000000,00000000", -EINVAL}, /* nothing that is here */
		{"op_config", "0x8", -EINVAL},
		{"op_config", "8,", -EINVAL},
		{"op_config", ",8", -EINVAL},
		{"op_config", "000000008", -EINVAL},
		{"op_config", "-8", -EINVAL},
		{"op_config", "", -EINVAL},
		{"batch_order", "reversed", 0},
		{"batch_order", "in-order", 0},
		{"batch_order", "shuffled", -EINVAL},
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
	assert_int_equal(config("dsa0/group0.0", "read_buffers_allowed", "0"), 0); /* no limit */
	assert_int_equal(config("dsa0/group0.0", "read_buffers_reserved", "5"), 0);
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
	static const unsigned counts[] = {7, 14, 1, 3};
	char none[] = "dsa9";

	assert_int_equal(add("dsa0"), 0);
	for (unsigned i = 0; i < 4; i++) {
		shown = 0;
		assert_int_equal(host_call(show, names[i]), 0);
		assert_int_equal(shown, counts[i]);
	}
	assert_int_equal(host_call(show, none), -ENODEV);
}

/* Operations that a queue does not have are none to its guest. */
static void test_operations(void **state)
{
	struct dsa_hw_desc desc;
	struct guest g;

	host_dsa("8");
	assert_int_equal(host_disable("dsa0/wq0.0"), 0);
	assert_int_equal(config("dsa0/wq0.0", "op_config", "80000000,00000009"), 0);
	assert_int_equal(enable("dsa0/wq0.0"), 0);
	guest_create(&g, "idxd-1dwq-v1", "11111111-1111-4111-8111-111111111111", NULL);
	guest_connect(&g, false);
	guest_enable(&g);
	assert_int_equal(guest_read(&g, DSA_OPCAP_REG), 9);
	assert_int_equal(guest_read(&g, DSA_OPCAP_REG + 4), 0);
	desc = guest_move(&g, 0x40000, 0x10000, 64, 0x1000);
	assert_int_equal(guest_submit(&g, 0, &desc), 0);
	assert_int_equal(guest_complete(&g, 0x1000), DSA_COMP_SUCCESS);
	desc = guest_move(&g, 0x40000, 0x10000, 64, 0x1000);
	desc.opcode = DSA_OPCODE_MEMFILL;
	assert_int_equal(guest_submit(&g, 0, &desc), 0);
	assert_int_equal(guest_complete(&g, 0x1000), DSA_COMP_BAD_OPCODE);
	guest_down(&g);
}

/* A guest's batch of two copies, the second of what the first writes, without a fence. */
static void test_batch_order(void **state)
{
	struct dsa_hw_desc *list, desc;
	struct guest g;

	host_dsa("8");
	for (int reversed = 0; reversed < 2; reversed++) {
		assert_int_equal(host_disable("dsa0/wq0.0"), 0);
		assert_int_equal(
			config("dsa0/wq0.0", "batch_order", reversed ? "reversed" : "in-order"), 0);
		assert_int_equal(enable("dsa0/wq0.0"), 0);
		guest_create(&g, "idxd-1dwq-v1", "11111111-1111-4111-8111-111111111111", NULL);
		guest_connect(&g, false);
		guest_enable(&g);
		g.mem[0x10000] = 7;
		list = (struct dsa_hw_desc *)(g.mem + 0x2000);
		list[0] = guest_move(&g, 0x40000, 0x10000, 8, 0x1000);
		list[1] = guest_move(&g, 0x50000, 0x40000, 8, 0x1020);
		desc = guest_move(&g, 0, 0x2000, 2, 0x1040);
		desc.opcode = DSA_OPCODE_BATCH;
		desc.dst_addr = 0;
		assert_int_equal(guest_submit(&g, 0, &desc), 0);
		assert_int_equal(guest_complete(&g, 0x1040), DSA_COMP_SUCCESS);
		assert_int_equal(g.mem[0x40000], 7);
		assert_int_equal(g.mem[0x50000], reversed ? 0 : 7);
		guest_down(&g);
	}
}

/* ---- several changes as one ---- */

static int change(const char *path, const char *key, const char *value)
{
	const struct vdpa_attr attrs[] = {{key, value}, {NULL, NULL}};

	return dsa_config(host.ctx, path, attrs, NULL);
}

/* What fits in the end need not fit on the way. */
static int swap_sizes(void *arg)
{
	struct dsa_change *c = dsa_dev_begin(dsa_dev_find(host.ctx, "dsa0"));
	int r;

	assert_non_null(c);
	r = change("dsa0/wq0.0", "size", "48");
	if (!r)
		r = change("dsa0/wq0.1", "size", arg);
	return dsa_dev_end(c, r, NULL);
}

static int fail_late(void *arg)
{
	struct dsa_change *outer = dsa_dev_begin(dsa_dev_find(host.ctx, "dsa0"));
	struct dsa_change *inner = dsa_dev_begin(dsa_dev_find(host.ctx, "dsa0"));

	assert_int_equal(change("dsa0", "read_buffer_limit", "3"), 0);
	assert_int_equal(change("dsa0/engine0.0", "group_id", "2"), 0);
	assert_int_equal(change("dsa0/group0.2", "read_buffers_allowed", "3"), 0);
	assert_int_equal(change("dsa0/wq0.0", "name", "other"), 0);
	assert_int_equal(dsa_dev_end(inner, 0, NULL), 0);
	return dsa_dev_end(outer, -EPERM, NULL);
}

static char text[2048];

static void append(void *arg, const char *key, const char *value)
{
	size_t n = strlen(text);

	snprintf(text + n, sizeof(text) - n, "%s=%s ", key, value);
}

static int describe(void *arg)
{
	static const char *const paths[] = {"dsa0", "dsa0/engine0.0", "dsa0/group0.2", "dsa0/wq0.0",
					    "dsa0/wq0.1"};

	text[0] = '\0';
	for (unsigned i = 0; i < 5; i++)
		dsa_show(host.ctx, paths[i], append, NULL);
	return 0;
}

static void test_as_one(void **state)
{
	char before[sizeof(text)];

	assert_int_equal(add("dsa0"), 0);
	assert_int_equal(config("dsa0/wq0.0", "size", "16"), 0);
	assert_int_equal(config("dsa0/wq0.1", "size", "48"), 0);
	assert_int_equal(config("dsa0/wq0.0", "size", "48"), -ERANGE);
	host_call(describe, NULL);
	memcpy(before, text, sizeof(before));
	assert_int_equal(host_call(swap_sizes, "17"), -ERANGE);
	assert_int_equal(host_call(swap_sizes, "x"), -EINVAL);
	assert_int_equal(host_call(fail_late, NULL), -EPERM);
	host_call(describe, NULL);
	assert_string_equal(text, before);
	assert_int_equal(host_call(swap_sizes, "16"), 0);
	host_call(describe, NULL);
	assert_non_null(strstr(text, "size=48 "));
	/* And it is looked at again. */
	assert_int_equal(config("dsa0/wq0.2", "size", "1"), -ERANGE);
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
		cmocka_unit_test_setup_teardown(test_operations, start, end),
		cmocka_unit_test_setup_teardown(test_batch_order, start, end),
		cmocka_unit_test_setup_teardown(test_as_one, start, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
