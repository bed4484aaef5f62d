// SPDX-License-Identifier: BSD-3-Clause
/* Birth, visibility, references, numbers and death of a device. */
#include <pthread.h>
#include "mock.h"
#include "vdpa/ids.h"
#include "alloc_fail.h"

static struct vdpa_ctx *ctx;
static struct vdpa_error err;

static int setup(void **state)
{
	ctx = mock_ctx();
	return 0;
}

static int teardown(void **state)
{
	return vdpa_ctx_free(ctx);
}

static bool count_device(void *arg, struct vdpa_device *vdev)
{
	(*(unsigned *)arg)++;
	return true;
}

static unsigned devices(void)
{
	unsigned n = 0;

	vdpa_for_each_device(ctx, count_device, &n);
	return n;
}

static void invisible_until_registered(void **state)
{
	struct mock *m = mock_new(ctx, "d0", &mock_ops);
	struct event_log log;

	event_log_start(ctx, &log);
	assert_non_null(m);
	assert_null(vdpa_find_device(ctx, "d0"));
	assert_int_equal(devices(), 0);
	vdpa_notify(&m->vdpa, VDPA_EVENT_CHANGE, "nobody hears it");
	assert_int_equal(vdpa_bind(&m->vdpa, "mock-driver", NULL, &err), -ENODEV);
	assert_string_equal(log.trace, "");
	assert_int_equal(vdpa_register_device(&m->vdpa, 3, &err), 0);
	assert_ptr_equal(vdpa_find_device(ctx, "d0"), &m->vdpa);
	assert_int_equal(devices(), 1);
	assert_int_equal(m->vdpa.nvqs, 3);
	assert_string_equal(log.trace, "A");
	assert_int_equal(vdpa_register_device(&m->vdpa, 3, &err), -EINVAL);
	assert_int_equal(vdpa_unregister_device(&m->vdpa, NULL), 0);
	assert_string_equal(log.trace, "AD");
	assert_string_equal(log.last_name, "d0");
	vdpa_unsubscribe(ctx, &log.sub);
}

static void put_before_registration_undoes(void **state)
{
	unsigned freed = 0;
	struct mock *m = mock_new(ctx, "d0", &mock_ops);

	m->freed = &freed;
	assert_int_equal(vdpa_ctx_free(ctx), -EBUSY);
	assert_int_equal(vdpa_unregister_device(&m->vdpa, NULL), -EINVAL);
	vdpa_put_device(&m->vdpa);
	assert_int_equal(freed, 1);
}

static void fields_are_what_was_asked_for(void **state)
{
	const struct vdpa_alloc_params p = {
		.device_size = sizeof(struct vdpa_device),
		.size = sizeof(struct mock),
		.offset = offsetof(struct mock, vdpa),
		.config = &mock_ops,
		.parent = "pci/0000:00:0a.0",
		.dma_device = "iommu3",
	};
	struct mock *m = vdpa_alloc_device_params(ctx, &p, &err);

	assert_non_null(m);
	assert_string_equal(m->vdpa.name, "vdpa0");
	assert_string_equal(m->vdpa.parent, "pci/0000:00:0a.0");
	assert_string_equal(m->vdpa.dma_device, "iommu3");
	assert_int_equal(m->vdpa.ngroups, 1);
	assert_int_equal(m->vdpa.nas, 1);
	assert_int_equal(vdpa_device_refs(&m->vdpa), 1);
	assert_null(vdpa_device_driver(&m->vdpa));
	assert_null(vdpa_device_bind_attrs(&m->vdpa)->key);
	assert_null(vdpa_device_add_attrs(&m->vdpa)->key);
	vdpa_put_device(&m->vdpa);
}

static void failed_registration_gives_its_number_back(void **state)
{
	struct mock *a = mock_add(ctx, "d0"), *b, *c;

	b = mock_new(ctx, NULL, &mock_ops);
	assert_int_equal(b->vdpa.index, 1);
	assert_int_equal(vdpa_register_device(&b->vdpa, 70000, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "70000"));
	assert_null(vdpa_find_device(ctx, "vdpa1"));
	vdpa_put_device(&b->vdpa);
	c = mock_new(ctx, NULL, &mock_ops);
	assert_int_equal(c->vdpa.index, 1);
	vdpa_put_device(&c->vdpa);
	assert_int_equal(vdpa_unregister_device(&a->vdpa, NULL), 0);
}

static void names_are_unique_and_checked(void **state)
{
	static const char *const bad[] = {"", ".", "..", "-x", "a/b", "a b", "a\n", "\x1b[2J"};
	char name[VDPA_NAME_MAX + 2];
	struct mock *a, *b, *c;

	a = mock_new(ctx, "d0", &mock_ops);
	b = mock_new(ctx, "d0", &mock_ops);
	assert_non_null(b);
	assert_int_equal(vdpa_register_device(&a->vdpa, 1, &err), 0);
	assert_int_equal(vdpa_register_device(&b->vdpa, 1, &err), -EEXIST);
	assert_string_equal(err.object, "dev/d0");
	assert_null(mock_new(ctx, "d0", &mock_ops));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_null(mock_new(ctx, bad[i], &mock_ops));
	memset(name, 'n', sizeof(name));
	name[VDPA_NAME_MAX + 1] = '\0';
	assert_null(mock_new(ctx, name, &mock_ops));
	name[VDPA_NAME_MAX] = '\0';
	c = mock_new(ctx, name, &mock_ops);
	assert_non_null(c);
	vdpa_put_device(&c->vdpa);
	vdpa_put_device(&b->vdpa);
	assert_int_equal(vdpa_unregister_device(&a->vdpa, NULL), 0);
}

static void deleted_device_lives_while_it_is_held(void **state)
{
	unsigned freed = 0;
	struct counted_done done;
	struct vdpa_done d = counted_done(&done);
	struct mock *m = mock_add(ctx, "d0"), *again;

	m->freed = &freed;
	assert_int_equal(vdpa_device_refs(&m->vdpa), 1);
	vdpa_get_device(&m->vdpa);
	assert_int_equal(vdpa_device_refs(&m->vdpa), 2);
	assert_int_equal(vdpa_unregister_device(&m->vdpa, &d), 0);
	assert_int_equal(done.calls, 1);
	assert_int_equal(done.result, 0);
	assert_null(vdpa_find_device(ctx, "d0"));
	assert_int_equal(freed, 0);
	assert_int_equal(vdpa_get_vendor_id(&m->vdpa), 0x1af4);
	assert_int_equal(vdpa_unregister_device(&m->vdpa, NULL), -EINVAL);
	assert_int_equal(vdpa_ctx_free(ctx), -EBUSY);
	/* Its name is free at once, its number is not. */
	again = mock_add(ctx, "d0");
	assert_int_equal(again->vdpa.index, 1);
	vdpa_put_device(&m->vdpa);
	assert_int_equal(freed, 1);
	assert_int_equal(vdpa_unregister_device(&again->vdpa, NULL), 0);
}

static void *put_elsewhere(void *arg)
{
	vdpa_put_device(arg);
	return NULL;
}

/* The last reference is dropped on another thread: the release comes to the control thread. */
static void release_happens_on_the_control_thread(void **state)
{
	unsigned freed = 0;
	struct mock *m = mock_add(ctx, "d0");
	pthread_t thread;

	m->freed = &freed;
	assert_int_equal(vdpa_loop_run_once(vdpa_ctx_control(ctx), 0), 0);
	vdpa_get_device(&m->vdpa);
	assert_int_equal(vdpa_unregister_device(&m->vdpa, NULL), 0);
	assert_int_equal(pthread_create(&thread, NULL, put_elsewhere, &m->vdpa), 0);
	pthread_join(thread, NULL);
	assert_int_equal(freed, 0);
	assert_int_equal(vdpa_loop_run_once(vdpa_ctx_control(ctx), 0), 1);
	assert_int_equal(freed, 1);
}

struct killer {
	struct vdpa_subscriber sub;
	enum vdpa_event_type on;
};

static void kill_on_event(struct vdpa_subscriber *sub, const struct vdpa_event *event)
{
	struct killer *k = (struct killer *)sub;

	if (event->type == k->on)
		assert_int_equal(vdpa_unregister_device(event->vdev, NULL), 0);
}

static void subscriber_may_delete_what_was_just_added(void **state)
{
	struct killer k = {.sub.fn = kill_on_event, .on = VDPA_EVENT_ADD};
	struct mock *m;

	vdpa_register_driver(ctx, &mock_auto_driver);
	vdpa_subscribe(ctx, &k.sub);
	m = mock_new(ctx, "d0", &mock_ops);
	assert_int_equal(vdpa_register_device(&m->vdpa, 1, &err), 0);
	assert_int_equal(devices(), 0);
	assert_int_equal(mock_driver_state.probes, 0);
	vdpa_unsubscribe(ctx, &k.sub);
}

static bool unregister_all(void *arg, struct vdpa_device *vdev)
{
	/* This one and the next one, which the walk would come to. */
	struct vdpa_device *next = vdpa_find_device(vdev->ctx, "d1");

	if (next && next != vdev)
		assert_int_equal(vdpa_unregister_device(next, NULL), 0);
	assert_int_equal(vdpa_unregister_device(vdev, NULL), 0);
	(*(unsigned *)arg)++;
	return true;
}

static void walk_survives_deletions(void **state)
{
	unsigned visited = 0;

	mock_add(ctx, "d0");
	mock_add(ctx, "d1");
	mock_add(ctx, "d2");
	vdpa_for_each_device(ctx, unregister_all, &visited);
	assert_int_equal(visited, 2);
	assert_int_equal(devices(), 0);
}

static void contexts_do_not_see_each_other(void **state)
{
	struct vdpa_ctx *other;
	struct mock *m = mock_add(ctx, "d0"), *o;

	assert_int_equal(vdpa_ctx_new(NULL, &other), 0);
	assert_null(vdpa_find_device(other, "d0"));
	o = mock_add(other, "d0");
	assert_int_equal(o->vdpa.index, 0);
	assert_int_equal(vdpa_unregister_device(&o->vdpa, NULL), 0);
	assert_int_equal(vdpa_ctx_free(other), 0);
	assert_int_equal(vdpa_unregister_device(&m->vdpa, NULL), 0);
}

static void numbers_are_the_lowest_free_ones(void **state)
{
	struct vdpa_ids ids = {0};
	unsigned id;

	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(vdpa_ids_get(&ids, &id), 0);
		assert_int_equal(id, i);
	}
	for (unsigned i = 1; i < 100; i += 2)
		vdpa_ids_put(&ids, i);
	for (unsigned i = 1; i < 100; i += 2) {
		assert_int_equal(vdpa_ids_get(&ids, &id), 0);
		assert_int_equal(id, i);
	}
	for (unsigned i = 0; i < 100; i++)
		vdpa_ids_put(&ids, 99 - i);
	assert_int_equal(ids.n, 0);
	vdpa_ids_fini(&ids);
}

static void numbers_are_unsigned_and_reused_at_the_end(void **state)
{
	struct vdpa_ids ids = {0};
	unsigned id;

	assert_int_equal(vdpa_ids_reserve(&ids, 0x7fffffffu), 0);
	assert_int_equal(vdpa_ids_get(&ids, &id), 0);
	assert_int_equal(id, 0x80000000u);
	vdpa_ids_fini(&ids);
	assert_int_equal(vdpa_ids_reserve(&ids, 0xfffffffeu), 0);
	assert_int_equal(vdpa_ids_get(&ids, &id), 0);
	assert_true(id == 0xffffffffu);
	assert_int_equal(vdpa_ids_get(&ids, &id), -ENOSPC);
	vdpa_ids_put(&ids, 7);
	assert_int_equal(vdpa_ids_get(&ids, &id), 0);
	assert_int_equal(id, 7);
	assert_int_equal(vdpa_ids_get(&ids, &id), -ENOSPC);
	/* The first one is no different from the others. */
	vdpa_ids_put(&ids, 0);
	assert_int_equal(vdpa_ids_get(&ids, &id), 0);
	assert_int_equal(id, 0);
	assert_int_equal(vdpa_ids_get(&ids, &id), -ENOSPC);
	vdpa_ids_fini(&ids);
}

static void context_config_is_size_prefixed(void **state)
{
	struct {
		struct vdpa_ctx_config c;
		uint64_t newer;
	} big = {.c.size = sizeof(big)};
	struct vdpa_ctx_config small = {.size = 1};
	struct vdpa_ctx *c;

	assert_int_equal(vdpa_ctx_new(&small, &c), -EINVAL);
	assert_int_equal(vdpa_ctx_new(&big.c, &c), 0);
	assert_int_equal(vdpa_ctx_free(c), 0);
	big.newer = 1;
	assert_int_equal(vdpa_ctx_new(&big.c, &c), -EINVAL);
	assert_int_equal(vdpa_ctx_free(NULL), 0);
}

static void wait_ends(void **state)
{
	bool flag = false;

	assert_int_equal(vdpa_ctx_wait(ctx, &flag, 0), -ETIMEDOUT);
	assert_int_equal(vdpa_ctx_wait(ctx, &flag, 2000000), -ETIMEDOUT);
	flag = true;
	assert_int_equal(vdpa_ctx_wait(ctx, &flag, -1), 0);
}

static void allocation_failures_leave_nothing(void **state)
{
	const struct vdpa_ctx_config config = {.size = sizeof(config), .workers = 1};

	for (alloc_fail_begin(); alloc_fail_more();) {
		struct vdpa_ctx *c = NULL;
		struct mock *m;

		if (vdpa_ctx_new(&config, &c))
			continue;
		m = mock_new(c, "d0", &mock_ops);
		if (m && vdpa_register_device(&m->vdpa, 1, &err))
			vdpa_put_device(&m->vdpa);
		if (vdpa_find_device(c, "d0")) {
			vdpa_set_driver_override(&m->vdpa, "x");
			assert_int_equal(vdpa_unregister_device(&m->vdpa, NULL), 0);
		}
		alloc_fail_off();
		assert_int_equal(vdpa_ctx_free(c), 0);
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(invisible_until_registered),
		T(put_before_registration_undoes),
		T(fields_are_what_was_asked_for),
		T(failed_registration_gives_its_number_back),
		T(names_are_unique_and_checked),
		T(deleted_device_lives_while_it_is_held),
		T(release_happens_on_the_control_thread),
		T(subscriber_may_delete_what_was_just_added),
		T(walk_survives_deletions),
		T(contexts_do_not_see_each_other),
		T(wait_ends),
		cmocka_unit_test(numbers_are_the_lowest_free_ones),
		cmocka_unit_test(numbers_are_unsigned_and_reused_at_the_end),
		cmocka_unit_test(context_config_is_size_prefixed),
		cmocka_unit_test(allocation_failures_leave_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
