// SPDX-License-Identifier: BSD-3-Clause
/*
 * The core of mediated devices, with a bus, classes, parents and drivers of the test's own: it
 * needs neither VFIO nor virtio.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <uvdpa/mdev.h>
#include "alloc_fail.h"

#define U1 "11111111-1111-1111-1111-111111111111"
#define U2 "22222222-2222-2222-2222-222222222222"
#define U3 "33333333-3333-3333-3333-aBcDeF333333"
enum { CLASS_RED = 0x10a, CLASS_BLUE = 0x10b };

static struct vdpa_ctx *ctx;
static struct vdpa_error err;
static char trace[256], last_log[256], last_alias[128];

static void note(const char *word)
{
	strncat(trace, word, sizeof(trace) - strlen(trace) - 1);
}

static void on_log(void *arg, enum vdpa_log_level level, const char *object, const char *msg)
{
	if (level <= VDPA_LOG_WARN)
		snprintf(last_log, sizeof(last_log), "%s", msg);
}

/* ---- a parent ---- */

/* The device is in the middle of a large structure. */
struct toy {
	char before[4096];
	struct mdev_device mdev;
	char after[4096];
};

static const struct red_ops {
	int unused;
} red_ops = {1}, blue_ops = {2};

static struct {
	int fail;
	bool no_class, twice, unknown_class, again, hold;
	struct vdpa_done held;
	unsigned created, removed;
} plan;

static struct toy *to_toy(struct mdev_device *mdev)
{
	return (struct toy *)(void *)((char *)mdev - offsetof(struct toy, mdev));
}

static int toy_create(struct mdev_device *mdev, struct vdpa_error *e)
{
	bool red = !strcmp(mdev->type->id, "red");

	memset(to_toy(mdev)->before, 'b', sizeof(to_toy(mdev)->before));
	memset(to_toy(mdev)->after, 'a', sizeof(to_toy(mdev)->after));
	if (plan.fail)
		return vdpa_error_set(e, -plan.fail, NULL, "the toy's reason");
	plan.created++;
	if (plan.no_class)
		return 0;
	if (plan.again) {
		plan.again = false;
		assert_int_equal(mdev_create(&(struct mdev_request){mdev->parent, mdev->type,
								    mdev->uuid, NULL},
					     NULL, NULL),
				 0);
	}
	if (plan.unknown_class) {
		assert_int_equal(mdev_set_class(mdev, 77, &red_ops), -EINVAL);
		assert_int_equal(mdev_set_class(mdev, CLASS_RED, NULL), -EINVAL);
		return 0;
	}
	assert_int_equal(
		mdev_set_class(mdev, red ? CLASS_RED : CLASS_BLUE, red ? &red_ops : &blue_ops), 0);
	if (plan.twice)
		assert_int_equal(mdev_set_class(mdev, CLASS_BLUE, &blue_ops), -EALREADY);
	assert_int_equal(mdev_remove(mdev, NULL), -EBUSY);
	return 0;
}

static void toy_remove(struct mdev_device *mdev, const struct vdpa_done *done)
{
	note("r");
	plan.removed++;
	if (plan.hold)
		plan.held = *done;
	else
		vdpa_done_call(done, 0);
}

static int toy_set_attr(struct mdev_device *mdev, const char *key, const char *value,
			struct vdpa_error *e)
{
	if (!strcmp(value, "7"))
		return vdpa_error_set(e, EIO, NULL, "seven is broken");
	snprintf(to_toy(mdev)->after, 16, "%s", value);
	return 0;
}

static const struct vdpa_attr_spec toy_attrs[] = {
	{.name = "size", .type = VDPA_ATTR_U64, .max = 100, .help = "how big"},
	{0},
};
static const struct mdev_type toy_types[] = {
	{.id = "red", .device_api = "toy-api", .instances = 2, .attrs = toy_attrs},
	{.id = "blue", .name = "Blue one", .device_api = "toy-api", .instances = 1},
	{0},
};
static const struct mdev_parent_ops toy_ops = {
	.size = sizeof(toy_ops),
	.device_size = sizeof(struct mdev_device),
	.struct_size = sizeof(struct toy),
	.offset = offsetof(struct toy, mdev),
	.create = toy_create,
	.remove = toy_remove,
	.set_attr = toy_set_attr,
};
static struct mdev_parent parent;

/* ---- drivers, and the test's own bus ---- */

static struct {
	int fail;
	bool hold, remove_inside;
	struct vdpa_done held;
	unsigned probes, removes;
} drv;

static int drv_probe(struct mdev_device *mdev, const struct vdpa_attr *attrs, struct vdpa_error *e)
{
	drv.probes++;
	assert_int_not_equal(mdev_class_id(mdev), 0);
	if (drv.remove_inside)
		assert_int_equal(mdev_remove(mdev, NULL), -EBUSY);
	return drv.fail;
}

static void drv_remove(struct mdev_device *mdev, const struct vdpa_done *done)
{
	note("u");
	drv.removes++;
	if (drv.hold)
		drv.held = *done;
	else
		vdpa_done_call(done, 0);
}

static const uint16_t red_table[] = {CLASS_RED, 0};
static const struct mdev_driver red_driver = {
	.name = "red_driver",
	.bus = "toybus",
	.id_table = red_table,
	.probe = drv_probe,
	.remove = drv_remove,
	.autoprobe = true,
};
static const struct mdev_class classes[] = {{CLASS_RED, "red", ""}, {CLASS_BLUE, "blue", ""}, {0}};
static const struct mdev_bus bus = {"toybus", classes};

static void on_event(struct mdev_subscriber *sub, const struct mdev_event *event)
{
	static const char *const letters[] = {"A", "D", "B", "U", "C", "P", "Q"};

	note(letters[event->type]);
	snprintf(last_alias, sizeof(last_alias), "%s", event->modalias);
}

static struct mdev_subscriber events = {.fn = on_event};

static int setup(void **state)
{
	const struct vdpa_ctx_config config = {
		.size = sizeof(config),
		.log = {.fn = on_log, .level = VDPA_LOG_DEBUG},
	};

	memset(&plan, 0, sizeof(plan));
	memset(&drv, 0, sizeof(drv));
	parent = (struct mdev_parent){
		.name = "toy0", .driver = "toy", .ops = &toy_ops, .types = toy_types};
	assert_int_equal(vdpa_ctx_new(&config, &ctx), 0);
	assert_int_equal(mdev_register_bus(ctx, &bus), 0);
	assert_int_equal(mdev_register_parent(ctx, &parent, &err), 0);
	assert_int_equal(mdev_subscribe(ctx, &events), 0);
	trace[0] = last_log[0] = '\0';
	return 0;
}

static int teardown(void **state)
{
	mdev_unsubscribe(ctx, &events);
	return vdpa_ctx_free(ctx);
}

static struct mdev_device *make(unsigned type, const char *uuid)
{
	struct mdev_device *mdev = NULL;

	assert_int_equal(mdev_create(&(struct mdev_request){&parent, &toy_types[type], uuid, NULL},
				     &mdev, &err),
			 0);
	return mdev;
}

/* ---- tests ---- */

static void a_device_is_in_its_owners_structure(void **state)
{
	struct mdev_device *mdev = make(0, U3);
	struct toy *toy = to_toy(mdev);

	assert_string_equal(mdev->uuid, "33333333-3333-3333-3333-abcdef333333");
	assert_ptr_equal(mdev_find(ctx, U3), mdev);
	assert_int_equal(toy->before[0], 'b');
	assert_int_equal(toy->before[4095], 'b');
	assert_int_equal(toy->after[4095], 'a');
	assert_string_equal(mdev_type_name(&parent, mdev->type).s, "toy-red");
	assert_ptr_equal(mdev_find_type(&parent, "toy-blue"), &toy_types[1]);
	assert_null(mdev_find_type(&parent, "red"));
	assert_ptr_equal(mdev_find_parent(ctx, "toy0"), &parent);
	assert_int_equal(vdpa_ctx_free(ctx), -EBUSY);
	assert_int_equal(mdev_remove(mdev, NULL), 0);
	assert_string_equal(trace, "ArD");
}

static void one_parent_two_types_two_classes(void **state)
{
	struct mdev_device *red = make(0, U1), *blue = make(1, U2);

	assert_int_equal(mdev_class_id(red), CLASS_RED);
	assert_int_equal(mdev_class_id(blue), CLASS_BLUE);
	assert_ptr_equal(mdev_class_ops(red, CLASS_RED), &red_ops);
	assert_null(mdev_class_ops(red, CLASS_BLUE));
	assert_null(mdev_class_ops(red, MDEV_CLASS_ID_NONE));
	assert_string_equal(mdev_modalias(red).s, "toybus:c10A");
	assert_string_equal(last_alias, "toybus:c10B");
	mdev_remove(red, NULL);
	mdev_remove(blue, NULL);
}

static void class_is_set_once_and_must_be(void **state)
{
	struct mdev_device *mdev;

	plan.no_class = true;
	assert_int_equal(
		mdev_create(&(struct mdev_request){&parent, &toy_types[0], U1, NULL}, NULL, &err),
		-EINVAL);
	assert_string_equal(last_log, "class id not specified");
	assert_non_null(strstr(err.msg, "did not specify"));
	assert_int_equal(plan.removed, 1);
	plan.no_class = false;
	plan.unknown_class = true;
	assert_int_equal(
		mdev_create(&(struct mdev_request){&parent, &toy_types[0], U1, NULL}, NULL, &err),
		-EINVAL);
	assert_int_equal(plan.removed, 2);
	plan.unknown_class = false;
	plan.twice = true;
	mdev = make(0, U1);
	assert_non_null(strstr(last_log, "class id set twice"));
	assert_int_equal(mdev_class_id(mdev), CLASS_RED);
	assert_int_equal(mdev_set_class(mdev, CLASS_BLUE, &blue_ops), -EALREADY);
	mdev_remove(mdev, NULL);
	assert_string_equal(trace, "rrArD");
}

static void creation_is_refused_with_linux_errors(void **state)
{
	static const char *const bad[] = {"", "1", U1 "0", "g1111111-1111-1111-1111-111111111111",
					  "111111111111-1111-1111-111111111111-"};
	struct mdev_device *a = make(0, U1), *b;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(
			mdev_create(&(struct mdev_request){&parent, &toy_types[0], bad[i], NULL},
				    NULL, &err),
			-EINVAL);
	assert_int_equal(
		mdev_create(&(struct mdev_request){&parent, &toy_types[1], U1, NULL}, NULL, &err),
		-EEXIST);
	assert_string_equal(err.object, "mdev/" U1);
	assert_int_equal(mdev_available_instances(&parent, &toy_types[0]), 1);
	b = make(0, U2);
	assert_int_equal(mdev_available_instances(&parent, &toy_types[0]), 0);
	assert_int_equal(
		mdev_create(&(struct mdev_request){&parent, &toy_types[0], U3, NULL}, NULL, &err),
		-EUSERS);
	assert_non_null(strstr(err.msg, "toy-red"));
	plan.fail = -EIO;
	assert_int_equal(
		mdev_create(&(struct mdev_request){&parent, &toy_types[1], U3, NULL}, NULL, &err),
		-EIO);
	assert_string_equal(err.msg, "the toy's reason");
	plan.fail = 0;
	plan.again = true; /* create() makes another one with the same UUID */
	assert_int_equal(
		mdev_create(&(struct mdev_request){&parent, &toy_types[1], U3, NULL}, NULL, &err),
		-EEXIST);
	assert_int_equal(mdev_count(&parent, NULL), 3);
	mdev_remove(mdev_find(ctx, U3), NULL);
	mdev_remove(a, NULL);
	mdev_remove(b, NULL);
	assert_int_equal(mdev_count(&parent, NULL), 0);
}

static void attributes_are_checked_and_remembered(void **state)
{
	const struct vdpa_attr two[] = {{"size", "12"}, {NULL, NULL}};
	const struct vdpa_attr seven[] = {{"size", "7"}, {NULL, NULL}};
	const struct vdpa_attr other[] = {{"colour", "red"}, {NULL, NULL}};
	struct mdev_device *mdev;

	assert_int_equal(
		mdev_create(&(struct mdev_request){&parent, &toy_types[0], U1, other}, NULL, &err),
		-EINVAL);
	assert_int_equal(
		mdev_create(&(struct mdev_request){&parent, &toy_types[1], U1, two}, NULL, &err),
		-EINVAL);
	assert_int_equal(plan.created, 0);
	assert_int_equal(
		mdev_create(&(struct mdev_request){&parent, &toy_types[0], U1, seven}, NULL, &err),
		-EIO);
	assert_string_equal(err.msg, "seven is broken");
	assert_int_equal(plan.removed, 1);
	assert_int_equal(
		mdev_create(&(struct mdev_request){&parent, &toy_types[0], U1, two}, &mdev, &err),
		0);
	assert_string_equal(to_toy(mdev)->after, "12");
	assert_int_equal(mdev_set_attr(mdev, "size", "13", &err), 0);
	assert_int_equal(mdev_set_attr(mdev, "size", "7", &err), -EIO);
	assert_int_equal(mdev_set_attr(mdev, "size", "101", &err), -ERANGE);
	assert_string_equal(vdpa_attr_get(mdev_attrs(mdev), "size"), "13");
	mdev_remove(mdev, NULL);
	assert_string_equal(trace, "rACrD");
}

static void drivers_match_by_bus_and_table(void **state)
{
	static const uint16_t none[] = {0};
	struct mdev_driver bad = red_driver, elsewhere = red_driver;
	struct mdev_device *red, *blue = make(1, U2);

	bad.id_table = NULL;
	assert_int_equal(mdev_register_driver(ctx, &bad), -EINVAL);
	bad.id_table = none;
	assert_int_equal(mdev_register_driver(ctx, &bad), -EINVAL);
	elsewhere.name = "elsewhere";
	elsewhere.bus = "otherbus";
	assert_int_equal(mdev_register_driver(ctx, &elsewhere), 0);
	assert_int_equal(mdev_register_driver(ctx, &red_driver), 0);
	assert_int_equal(mdev_register_driver(ctx, &red_driver), -EEXIST);
	assert_int_equal(drv.probes, 0);
	red = make(0, U1);
	assert_ptr_equal(mdev_device_driver(red), &red_driver);
	assert_int_equal(mdev_bind(red, "red_driver", NULL, &err), -EBUSY);
	assert_int_equal(mdev_bind(blue, "red_driver", NULL, &err), -ENXIO);
	assert_int_equal(mdev_bind(blue, "elsewhere", NULL, &err), -ENXIO);
	assert_int_equal(mdev_bind(blue, "nobody", NULL, &err), -ENODEV);
	assert_non_null(strstr(err.msg, "elsewhere, red_driver"));
	assert_int_equal(mdev_unregister_driver(ctx, &red_driver), -EBUSY);
	assert_int_equal(mdev_unbind(blue, NULL), -ENODEV);
	assert_int_equal(mdev_unbind(red, NULL), 0);
	assert_int_equal(mdev_unregister_driver(ctx, &red_driver), 0);
	assert_int_equal(mdev_unregister_driver(ctx, &red_driver), -ENOENT);
	/* A driver that comes later finds the device. */
	assert_int_equal(mdev_register_driver(ctx, &red_driver), 0);
	assert_ptr_equal(mdev_device_driver(red), &red_driver);
	mdev_remove(red, NULL);
	mdev_remove(blue, NULL);
}

static void failed_probe_leaves_the_device(void **state)
{
	struct mdev_device *mdev;

	drv.fail = -ENODEV;
	drv.remove_inside = true;
	assert_int_equal(mdev_register_driver(ctx, &red_driver), 0);
	mdev = make(0, U1);
	assert_int_equal(drv.probes, 1);
	assert_null(mdev_device_driver(mdev));
	assert_int_equal(mdev_bind(mdev, "red_driver", NULL, &err), -ENODEV);
	drv.fail = 0;
	assert_int_equal(mdev_bind(mdev, "red_driver", NULL, &err), 0);
	mdev_remove(mdev, NULL);
	assert_string_equal(trace, "ABuUrD");
}

static void count_done(void *arg, int result)
{
	(*(unsigned *)arg)++;
}

static void removal_waits_for_driver_and_parent(void **state)
{
	unsigned unbound = 0, removed = 0;
	const struct vdpa_done on_unbound = {count_done, &unbound},
			       on_removed = {count_done, &removed};
	struct mdev_device *mdev;

	drv.hold = plan.hold = true;
	assert_int_equal(mdev_register_driver(ctx, &red_driver), 0);
	mdev = make(0, U1);
	assert_int_equal(mdev_unbind(mdev, &on_unbound), 0);
	assert_int_equal(mdev_unbind(mdev, NULL), -EALREADY);
	assert_int_equal(mdev_remove(mdev, &on_removed), 0);
	assert_int_equal(mdev_remove(mdev, NULL), -EALREADY);
	assert_int_equal(mdev_bind(mdev, "red_driver", NULL, &err), -ENODEV);
	assert_int_equal(mdev_set_attr(mdev, "size", "1", &err), -ENODEV);
	assert_int_equal(
		mdev_create(&(struct mdev_request){&parent, &toy_types[0], U1, NULL}, NULL, &err),
		-EEXIST);
	assert_int_equal(unbound + removed, 0);
	vdpa_done_call(&drv.held, 0);
	assert_int_equal(unbound, 1);
	assert_int_equal(plan.removed, 1);
	assert_int_equal(removed, 0);
	mdev_get(mdev);
	vdpa_done_call(&plan.held, 0);
	assert_int_equal(removed, 1);
	assert_null(mdev_find(ctx, U1));
	/* Held, it outlives all of that, and has nothing to say. */
	mdev_show(mdev, NULL, NULL);
	assert_null(mdev->parent);
	assert_int_equal(vdpa_ctx_free(ctx), -EBUSY);
	mdev_put(mdev);
}

static void parent_takes_its_devices_along(void **state)
{
	unsigned gone = 0;
	const struct vdpa_done done = {count_done, &gone};

	assert_int_equal(mdev_register_driver(ctx, &red_driver), 0);
	make(0, U1);
	make(1, U2);
	drv.hold = true;
	assert_int_equal(mdev_unregister_parent(&parent, &done), 0);
	assert_int_equal(mdev_unregister_parent(&parent, &done), -EALREADY);
	assert_int_equal(gone, 0);
	assert_int_equal(
		mdev_create(&(struct mdev_request){&parent, &toy_types[1], U3, NULL}, NULL, &err),
		-ENODEV);
	vdpa_done_call(&drv.held, 0);
	assert_int_equal(gone, 1);
	assert_null(mdev_find_parent(ctx, "toy0"));
	assert_int_equal(mdev_unregister_parent(&parent, NULL), -EINVAL);
	assert_int_equal(trace[strlen(trace) - 1], 'Q');
}

static void shutdown_removes_everything(void **state)
{
	unsigned over = 0;
	const struct vdpa_done done = {count_done, &over};

	make(0, U1);
	plan.hold = true;
	make(0, U2);
	assert_int_equal(mdev_shutdown(ctx, &done), 0);
	assert_int_equal(mdev_shutdown(ctx, &done), -EALREADY);
	assert_int_equal(over, 0);
	assert_int_equal(
		mdev_create(&(struct mdev_request){&parent, &toy_types[1], U3, NULL}, NULL, &err),
		-ESHUTDOWN);
	mdev_remove(mdev_find(ctx, U1), NULL);
	vdpa_done_call(&plan.held, 0);
	assert_int_equal(over, 0);
	plan.held.arg = mdev_find(ctx, U1)->core;
	vdpa_done_call(&plan.held, 0);
	assert_int_equal(over, 1);
}

static void remove_it(struct mdev_subscriber *sub, const struct mdev_event *event)
{
	if (event->type == MDEV_EVENT_ADD)
		assert_int_equal(mdev_remove(event->mdev, NULL), 0);
	mdev_unsubscribe(ctx, sub);
}

static void who_hears_of_it_may_remove_it(void **state)
{
	struct mdev_subscriber sub = {.fn = remove_it};

	assert_int_equal(mdev_register_driver(ctx, &red_driver), 0);
	assert_int_equal(mdev_subscribe(ctx, &sub), 0);
	assert_int_equal(
		mdev_create(&(struct mdev_request){&parent, &toy_types[0], U1, NULL}, NULL, &err),
		-ENODEV);
	assert_int_equal(drv.probes, 0);
	assert_null(mdev_find(ctx, U1));
}

static void parents_are_checked(void **state)
{
	struct mdev_parent_ops ops = toy_ops;
	struct mdev_parent p = {.name = "p", .ops = &ops, .types = toy_types};

	assert_int_equal(mdev_register_parent(ctx, &parent, &err), -EEXIST);
	p.name = "a/b";
	assert_int_equal(mdev_register_parent(ctx, &p, &err), -EINVAL);
	p.name = "p";
	ops.create = NULL;
	assert_int_equal(mdev_register_parent(ctx, &p, &err), -EINVAL);
	ops = toy_ops;
	ops.device_size--;
	assert_int_equal(mdev_register_parent(ctx, &p, &err), -EINVAL);
	ops = toy_ops;
	ops.offset = ops.struct_size - ops.device_size + 1;
	assert_int_equal(mdev_register_parent(ctx, &p, &err), -EINVAL);
	ops.offset = SIZE_MAX;
	assert_int_equal(mdev_register_parent(ctx, &p, &err), -EINVAL);
	ops = toy_ops;
	p.types = &toy_types[2];
	assert_int_equal(mdev_register_parent(ctx, &p, &err), -EINVAL);
	assert_string_equal(err.msg, "no parent: there are no types");
}

static void buses_own_their_classes(void **state)
{
	static const struct mdev_class more[] = {{0x200, "third", ""}, {CLASS_RED, "red", ""}, {0}};
	const struct mdev_bus twice = {"toybus", classes}, stolen = {"other", more},
			      bad = {"a:b", classes};
	const struct mdev_class *class;

	assert_int_equal(mdev_register_bus(ctx, &twice), -EEXIST);
	assert_int_equal(mdev_register_bus(ctx, &stolen), -EEXIST);
	assert_int_equal(mdev_register_bus(ctx, &bad), -EINVAL);
	assert_ptr_equal(mdev_bus_of(ctx, CLASS_BLUE, &class), &bus);
	assert_string_equal(class->name, "blue");
	assert_null(mdev_bus_of(ctx, 0x200, NULL));
	assert_null(mdev_bus_of(ctx, 0, NULL));
}

static void without_memory_nothing_is_left(void **state)
{
	const struct vdpa_attr attrs[] = {{"size", "12"}, {NULL, NULL}};
	struct mdev_device *mdev;
	unsigned failed = 0;
	int r;

	assert_int_equal(mdev_register_driver(ctx, &red_driver), 0);
	for (alloc_fail_begin(); alloc_fail_more();) {
		r = mdev_create(&(struct mdev_request){&parent, &toy_types[0], U1, attrs}, &mdev,
				&err);
		alloc_fail_off();
		if (r) {
			assert_int_equal(r, -ENOMEM);
			assert_null(mdev_find(ctx, U1));
			failed++;
			continue;
		}
		mdev_remove(mdev, NULL);
	}
	assert_true(failed >= 3);
	assert_int_equal(mdev_count(&parent, NULL), 0);
}

static void without_memory_nothing_is_registered(void **state)
{
	for (alloc_fail_begin(); alloc_fail_more();) {
		struct mdev_parent p = {.name = "p", .ops = &toy_ops, .types = toy_types};
		struct vdpa_ctx *other = NULL;
		int r = vdpa_ctx_new(NULL, &other);

		if (!r)
			r = mdev_register_bus(other, &bus);
		if (!r)
			r = mdev_register_driver(other, &red_driver);
		if (!r)
			r = mdev_register_parent(other, &p, &err);
		alloc_fail_off();
		assert_true(!r || r == -ENOMEM || r == -EAGAIN);
		vdpa_ctx_free(other);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
		T(a_device_is_in_its_owners_structure),
		T(one_parent_two_types_two_classes),
		T(class_is_set_once_and_must_be),
		T(creation_is_refused_with_linux_errors),
		T(attributes_are_checked_and_remembered),
		T(drivers_match_by_bus_and_table),
		T(failed_probe_leaves_the_device),
		T(removal_waits_for_driver_and_parent),
		T(parent_takes_its_devices_along),
		T(shutdown_removes_everything),
		T(who_hears_of_it_may_remove_it),
		T(parents_are_checked),
		T(buses_own_their_classes),
		T(without_memory_nothing_is_left),
		T(without_memory_nothing_is_registered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
