// SPDX-License-Identifier: BSD-3-Clause
/* Devices and drivers: match, probe, override, unbind that waits, deletion while bound. */
#include "mock.h"
#include "alloc_fail.h"
#include "vdpa/name_list.h"

static struct vdpa_ctx *ctx;
static struct vdpa_error err;
static struct event_log events;

static int setup(void **state)
{
	ctx = mock_ctx();
	event_log_start(ctx, &events);
	memset(&err, 0, sizeof(err));
	return vdpa_register_driver(ctx, &mock_driver);
}

static int teardown(void **state)
{
	vdpa_unsubscribe(ctx, &events.sub);
	return vdpa_ctx_free(ctx);
}

static int bind(struct mock *m)
{
	return vdpa_bind(&m->vdpa, "mock-driver", NULL, &err);
}

static void delete_device(struct mock *m)
{
	assert_int_equal(vdpa_unregister_device(&m->vdpa, NULL), 0);
}

static void bind_and_unbind(void **state)
{
	struct mock *m = mock_add(ctx, "d0");
	struct counted_done done;
	struct vdpa_done d = counted_done(&done);

	assert_int_equal(vdpa_unbind(&m->vdpa, &d), -ENODEV);
	assert_int_equal(bind(m), 0);
	assert_ptr_equal(vdpa_device_driver(&m->vdpa), &mock_driver);
	assert_int_equal(vdpa_device_refs(&m->vdpa), 2);
	assert_int_equal(bind(m), -EBUSY);
	assert_non_null(strstr(err.msg, "mock-driver"));
	assert_int_equal(vdpa_unbind(&m->vdpa, &d), 0);
	assert_int_equal(done.calls, 1);
	assert_null(vdpa_device_driver(&m->vdpa));
	assert_null(vdpa_get_drvdata(&m->vdpa));
	assert_int_equal(vdpa_device_refs(&m->vdpa), 1);
	delete_device(m);
	assert_string_equal(events.trace, "ABUD");
}

static void unbind_waits_for_the_driver(void **state)
{
	struct mock *m = mock_add(ctx, "d0");
	struct counted_done done;
	struct vdpa_done d = counted_done(&done);

	assert_int_equal(bind(m), 0);
	mock_driver_state.hold = true;
	assert_int_equal(vdpa_unbind(&m->vdpa, &d), 0);
	assert_int_equal(done.calls, 0);
	assert_int_equal(vdpa_unbind(&m->vdpa, &d), -EALREADY);
	assert_int_equal(bind(m), -EBUSY);
	assert_ptr_equal(vdpa_device_driver(&m->vdpa), &mock_driver);
	assert_int_equal(vdpa_unregister_driver(ctx, &mock_driver), -EBUSY);
	mock_driver_let_go(-EIO);
	assert_int_equal(done.calls, 1);
	assert_int_equal(done.result, -EIO);
	assert_int_equal(vdpa_unregister_driver(ctx, &mock_driver), 0);
	delete_device(m);
}

static struct vdpa_done settling;

static int drv_settle(struct vdpa_device *vdev, struct vdpa_error *why,
		      const struct vdpa_done *done)
{
	if (settling.fn)
		return -EBUSY;
	settling = *done;
	return 0;
}

/* A driver that began something in probe says when that has come to its end; others have at once.
 */
static void bindings_settle(void **state)
{
	struct vdpa_driver slow = mock_driver;
	struct mock *m = mock_add(ctx, "d0");
	struct counted_done done = {0};
	struct vdpa_done d = counted_done(&done);

	assert_int_equal(vdpa_settle(&m->vdpa, &err, &d), -ENODEV);
	assert_int_equal(bind(m), 0);
	assert_int_equal(vdpa_settle(&m->vdpa, &err, &d), 0);
	assert_int_equal(done.calls, 1);
	assert_int_equal(done.result, 0);
	assert_int_equal(vdpa_unbind(&m->vdpa, NULL), 0);
	slow.name = "slow";
	slow.settle = drv_settle;
	settling = (struct vdpa_done){0};
	assert_int_equal(vdpa_register_driver(ctx, &slow), 0);
	assert_int_equal(vdpa_bind(&m->vdpa, "slow", NULL, &err), 0);
	assert_int_equal(vdpa_settle(&m->vdpa, &err, &d), 0);
	assert_int_equal(vdpa_settle(&m->vdpa, &err, &d), -EBUSY);
	assert_int_equal(done.calls, 1);
	vdpa_done_call(&settling, -EIO);
	assert_int_equal(done.calls, 2);
	assert_int_equal(done.result, -EIO);
	delete_device(m);
	assert_int_equal(vdpa_unregister_driver(ctx, &slow), 0);
}

static void delete_while_bound_waits(void **state)
{
	unsigned freed = 0;
	struct mock *m = mock_add(ctx, "d0");
	struct counted_done done;
	struct vdpa_done d = counted_done(&done);

	m->freed = &freed;
	assert_int_equal(bind(m), 0);
	mock_driver_state.hold = true;
	assert_int_equal(vdpa_unregister_device(&m->vdpa, &d), 0);
	assert_int_equal(vdpa_unregister_device(&m->vdpa, &d), -EALREADY);
	assert_int_equal(done.calls, 0);
	/* Still visible, its name still taken, but for nobody to bind. */
	assert_ptr_equal(vdpa_find_device(ctx, "d0"), &m->vdpa);
	assert_null(mock_new(ctx, "d0", &mock_ops));
	assert_int_equal(bind(m), -ENODEV);
	assert_int_equal(freed, 0);
	mock_driver_let_go(0);
	assert_int_equal(done.calls, 1);
	assert_int_equal(freed, 1);
	assert_string_equal(events.trace, "ABUD");
}

static void delete_while_unbinding_waits_too(void **state)
{
	unsigned freed = 0;
	struct mock *m = mock_add(ctx, "d0");
	struct counted_done unbound, deleted;
	struct vdpa_done u = counted_done(&unbound), d = counted_done(&deleted);

	m->freed = &freed;
	assert_int_equal(bind(m), 0);
	mock_driver_state.hold = true;
	assert_int_equal(vdpa_unbind(&m->vdpa, &u), 0);
	assert_int_equal(vdpa_unregister_device(&m->vdpa, &d), 0);
	assert_int_equal(unbound.calls + deleted.calls, 0);
	mock_driver_let_go(0);
	assert_int_equal(unbound.calls, 1);
	assert_int_equal(deleted.calls, 1);
	assert_int_equal(freed, 1);
	assert_int_equal(mock_driver_state.removes, 1);
}

static void on_unbound_delete(void *arg, int result)
{
	struct mock *m = arg;

	assert_int_equal(vdpa_unregister_device(&m->vdpa, NULL), 0);
}

static void deleted_from_the_unbind_completion(void **state)
{
	unsigned freed = 0;
	struct mock *m = mock_add(ctx, "d0");
	const struct vdpa_done done = {.fn = on_unbound_delete, .arg = m};

	m->freed = &freed;
	assert_int_equal(bind(m), 0);
	assert_int_equal(vdpa_unbind(&m->vdpa, &done), 0);
	assert_int_equal(freed, 1);
}

static void on_unbound_rebind_delete(void *arg, int result)
{
	struct mock *m = arg;

	assert_int_equal(bind(m), 0);
	mock_driver_state.hold = true;
	assert_int_equal(vdpa_unregister_device(&m->vdpa, NULL), 0);
}

static void rebound_and_deleted_from_the_unbind_completion(void **state)
{
	unsigned freed = 0;
	struct mock *m = mock_add(ctx, "d0");
	const struct vdpa_done done = {.fn = on_unbound_rebind_delete, .arg = m};

	m->freed = &freed;
	assert_int_equal(bind(m), 0);
	assert_int_equal(vdpa_unbind(&m->vdpa, &done), 0);
	assert_int_equal(freed, 0);
	mock_driver_let_go(0);
	assert_int_equal(freed, 1);
	assert_string_equal(events.trace, "ABUBUD");
}

static void bind_refuses(void **state)
{
	const struct vdpa_attr bad[] = {{"colour", "red"}, {NULL, NULL}};
	struct mock *m = mock_add(ctx, "d0");

	assert_int_equal(vdpa_bind(&m->vdpa, "nobody", NULL, &err), -ENODEV);
	assert_string_equal(err.msg, "there is no driver \"nobody\"; there are: mock-driver");
	assert_string_equal(err.object, "dev/d0");
	assert_non_null(strstr(err.msg, "nobody"));
	assert_int_equal(vdpa_bind(&m->vdpa, "mock-driver", bad, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "colour"));
	mock_driver_state.refuse = true;
	assert_int_equal(bind(m), -ENXIO);
	assert_non_null(strstr(err.msg, "not my kind"));
	mock_driver_state.refuse = false;
	mock_driver_state.probe_result = -ENOSPC;
	assert_int_equal(bind(m), -ENOSPC);
	assert_true(err.msg[0]);
	assert_null(vdpa_device_driver(&m->vdpa));
	assert_int_equal(vdpa_device_refs(&m->vdpa), 1);
	assert_int_equal(vdpa_unregister_driver(ctx, &mock_driver), 0);
	delete_device(m);
	assert_string_equal(events.trace, "AD");
}

static void override_names_the_only_driver(void **state)
{
	struct mock *m = mock_add(ctx, "d0");

	assert_null(vdpa_get_driver_override(&m->vdpa));
	assert_int_equal(vdpa_set_driver_override(&m->vdpa, "other"), 0);
	assert_string_equal(vdpa_get_driver_override(&m->vdpa), "other");
	assert_int_equal(bind(m), -EPERM);
	assert_non_null(strstr(err.msg, "other"));
	assert_int_equal(vdpa_set_driver_override(&m->vdpa, "mock-driver"), 0);
	assert_int_equal(bind(m), 0);
	assert_int_equal(vdpa_unbind(&m->vdpa, NULL), 0);
	assert_int_equal(vdpa_set_driver_override(&m->vdpa, "other"), 0);
	assert_int_equal(vdpa_set_driver_override(&m->vdpa, NULL), 0);
	assert_int_equal(bind(m), 0);
	delete_device(m);
}

static void bind_attributes_are_kept_while_bound(void **state)
{
	char value[] = "/run/d0.sock";
	const struct vdpa_attr attrs[] = {{"path", value}, {NULL, NULL}};
	struct mock *m = mock_add(ctx, "d0");

	assert_int_equal(vdpa_bind(&m->vdpa, "mock-driver", attrs, &err), 0);
	value[0] = 'X';
	assert_string_equal(vdpa_attr_get(vdpa_device_bind_attrs(&m->vdpa), "path"),
			    "/run/d0.sock");
	/* What the driver was given is the copy: it may keep pointers. */
	assert_ptr_equal(mock_driver_state.attrs, vdpa_device_bind_attrs(&m->vdpa));
	assert_int_equal(vdpa_unbind(&m->vdpa, NULL), 0);
	assert_null(vdpa_device_bind_attrs(&m->vdpa)->key);
	delete_device(m);
}

static void first_registered_takes_new_devices(void **state)
{
	struct mock *m;

	assert_int_equal(vdpa_register_driver(ctx, &mock_auto_driver), 0);
	assert_int_equal(vdpa_register_driver(ctx, &mock_auto_driver2), 0);
	m = mock_add(ctx, "d0");
	assert_ptr_equal(vdpa_device_driver(&m->vdpa), &mock_auto_driver);
	delete_device(m);
	mock_driver_state.refuse = true;
	m = mock_add(ctx, "d0");
	assert_ptr_equal(vdpa_device_driver(&m->vdpa), &mock_auto_driver2);
	delete_device(m);
	/* With an override the other one has no say. */
	mock_driver_state.refuse = false;
	m = mock_new(ctx, "d0", &mock_ops);
	assert_int_equal(vdpa_set_driver_override(&m->vdpa, "mock-auto2"), 0);
	assert_int_equal(vdpa_register_device(&m->vdpa, 1, &err), 0);
	assert_ptr_equal(vdpa_device_driver(&m->vdpa), &mock_auto_driver2);
	delete_device(m);
}

static void late_driver_takes_devices_that_are_there(void **state)
{
	struct mock *a = mock_add(ctx, "d0"), *b = mock_add(ctx, "d1");

	assert_int_equal(bind(a), 0);
	assert_int_equal(vdpa_register_driver(ctx, &mock_auto_driver), 0);
	assert_ptr_equal(vdpa_device_driver(&a->vdpa), &mock_driver);
	assert_ptr_equal(vdpa_device_driver(&b->vdpa), &mock_auto_driver);
	delete_device(a);
	delete_device(b);
}

static bool count_driver(void *arg, const struct vdpa_driver *drv)
{
	(*(unsigned *)arg)++;
	return true;
}

static void driver_registry(void **state)
{
	struct vdpa_driver broken = mock_driver;
	unsigned n = 0;

	assert_int_equal(vdpa_register_driver(ctx, &mock_driver), -EEXIST);
	broken.name = "broken";
	broken.remove = NULL;
	assert_int_equal(vdpa_register_driver(ctx, &broken), -EINVAL);
	broken = mock_driver;
	broken.probe = NULL;
	broken.name = "broken";
	assert_int_equal(vdpa_register_driver(ctx, &broken), -EINVAL);
	assert_ptr_equal(vdpa_find_driver(ctx, "mock-driver"), &mock_driver);
	assert_null(vdpa_find_driver(ctx, "mock-auto"));
	assert_int_equal(vdpa_unregister_driver(ctx, &mock_auto_driver), -ENOENT);
	assert_int_equal(vdpa_register_driver(ctx, &mock_auto_driver), 0);
	vdpa_for_each_driver(ctx, count_driver, &n);
	assert_int_equal(n, 2);
}

static void driver_in_use_stays(void **state)
{
	struct mock *m = mock_add(ctx, "d0");

	assert_int_equal(bind(m), 0);
	assert_int_equal(vdpa_unregister_driver(ctx, &mock_driver), -EBUSY);
	assert_int_equal(vdpa_unbind(&m->vdpa, NULL), 0);
	assert_int_equal(vdpa_unregister_driver(ctx, &mock_driver), 0);
	assert_int_equal(bind(m), -ENODEV);
	delete_device(m);
}

/* ASan's leak check and the reference count are the judges. */
static void thousand_rebinds_leave_nothing(void **state)
{
	const struct vdpa_attr attrs[] = {{"path", "/run/x"}, {NULL, NULL}};
	struct mock *m = mock_add(ctx, "d0");

	assert_int_equal(vdpa_register_driver(ctx, &mock_auto_driver), 0);
	for (int i = 0; i < 1000; i++) {
		const char *name = i & 1 ? "mock-auto" : "mock-driver";

		if (vdpa_device_driver(&m->vdpa))
			assert_int_equal(vdpa_unbind(&m->vdpa, NULL), 0);
		assert_int_equal(vdpa_bind(&m->vdpa, name, i & 1 ? NULL : attrs, &err), 0);
		assert_int_equal(vdpa_device_refs(&m->vdpa), 2);
	}
	assert_int_equal(mock_driver_state.probes, mock_driver_state.removes + 1);
	delete_device(m);
	assert_int_equal(mock_driver_state.probes, mock_driver_state.removes);
}

static unsigned shutdowns;

static void drv_shutdown(struct vdpa_device *vdev, const struct vdpa_done *done)
{
	shutdowns++;
	vdpa_done_call(done, 0);
}

static void shutdown_waits_for_every_driver(void **state)
{
	struct vdpa_driver drv = mock_driver;
	struct counted_done done;
	struct vdpa_done d = counted_done(&done);
	struct mock *a = mock_add(ctx, "d0"), *b = mock_add(ctx, "d1"), *c = mock_add(ctx, "d2");

	drv.name = "with-shutdown";
	drv.shutdown = drv_shutdown;
	shutdowns = 0;
	assert_int_equal(vdpa_register_driver(ctx, &drv), 0);
	assert_int_equal(bind(a), 0);
	assert_int_equal(vdpa_bind(&b->vdpa, "with-shutdown", NULL, &err), 0);
	mock_driver_state.hold = true;
	assert_int_equal(vdpa_ctx_shutdown(ctx, &d), 0);
	assert_int_equal(vdpa_ctx_shutdown(ctx, &d), -EALREADY);
	assert_int_equal(shutdowns, 1);
	assert_int_equal(mock_driver_state.removes, 1);
	assert_int_equal(done.calls, 0);
	assert_int_equal(bind(c), -ESHUTDOWN);
	mock_driver_let_go(0);
	assert_int_equal(done.calls, 1);
	assert_null(vdpa_device_driver(&a->vdpa));
	assert_ptr_equal(vdpa_find_device(ctx, "d0"), &a->vdpa);
	delete_device(a);
	delete_device(b);
	delete_device(c);
	assert_int_equal(vdpa_unregister_driver(ctx, &drv), 0);
	assert_int_equal(done.calls, 1);
}

static void shutdown_without_waiting_is_done_at_once(void **state)
{
	struct counted_done done;
	struct vdpa_done d = counted_done(&done);
	struct mock *a = mock_add(ctx, "d0"), *b = mock_add(ctx, "d1");

	assert_int_equal(bind(a), 0);
	assert_int_equal(bind(b), 0);
	assert_int_equal(vdpa_ctx_shutdown(ctx, &d), 0);
	assert_int_equal(done.calls, 1);
	delete_device(a);
	delete_device(b);
	assert_int_equal(done.calls, 1);
}

static void bind_allocation_failures(void **state)
{
	const struct vdpa_attr attrs[] = {{"path", "/run/x"}, {NULL, NULL}};
	struct mock *m = mock_add(ctx, "d0");

	for (alloc_fail_begin(); alloc_fail_more();) {
		int ret = vdpa_bind(&m->vdpa, "mock-driver", attrs, &err);

		alloc_fail_off();
		assert_true(!ret || ret == -ENOMEM);
		if (!ret)
			assert_int_equal(vdpa_unbind(&m->vdpa, NULL), 0);
		assert_int_equal(vdpa_device_refs(&m->vdpa), 1);
	}
	for (alloc_fail_begin(); alloc_fail_more();) {
		int ret = vdpa_register_driver(ctx, &mock_auto_driver2);

		if (!ret && vdpa_device_driver(&m->vdpa))
			assert_int_equal(vdpa_unbind(&m->vdpa, NULL), 0);
		assert_true(!ret || ret == -ENOMEM);
		if (!ret)
			assert_int_equal(vdpa_unregister_driver(ctx, &mock_auto_driver2), 0);
	}
	delete_device(m);
}

static void lists_of_names(void **state)
{
	struct vdpa_name_list list = VDPA_NAME_LIST_INIT;

	assert_string_equal(list.s, "none");
	vdpa_name_list_add(&list, "a");
	vdpa_name_list_add(&list, "bc");
	assert_string_equal(list.s, "a, bc");
	for (unsigned i = 0; i < 100; i++)
		vdpa_name_list_add(&list, "a-longer-name");
	assert_non_null(strstr(list.s, "a-longer-name, ..."));
	assert_string_equal(strstr(list.s, "..."), "...");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(bind_and_unbind),
		T(lists_of_names),
		T(unbind_waits_for_the_driver),
		T(bindings_settle),
		T(delete_while_bound_waits),
		T(delete_while_unbinding_waits_too),
		T(deleted_from_the_unbind_completion),
		T(rebound_and_deleted_from_the_unbind_completion),
		T(bind_refuses),
		T(override_names_the_only_driver),
		T(bind_attributes_are_kept_while_bound),
		T(first_registered_takes_new_devices),
		T(late_driver_takes_devices_that_are_there),
		T(driver_registry),
		T(driver_in_use_stays),
		T(thousand_rebinds_leave_nothing),
		T(shutdown_waits_for_every_driver),
		T(shutdown_without_waiting_is_done_at_once),
		T(bind_allocation_failures),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
