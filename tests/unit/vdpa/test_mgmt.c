// SPDX-License-Identifier: BSD-3-Clause
/* Management devices: add, delete, change, and going away themselves. */
#include "mock.h"
#include "alloc_fail.h"

static struct vdpa_ctx *ctx;
static struct vdpa_error err;
static const uint32_t net_only[] = {VIRTIO_ID_NET, 0};

/* What the parent's ops are to do, and what they were asked. */
static struct {
	int add_result, del_result, set_result;
	bool forget; /* dev_add returns 0 without a device */
	unsigned adds, dels, sets;
	uint64_t mask;
	bool half; /* allocate, then fail before registration */
} parent;

static int parent_add(struct vdpa_mgmt_dev *mdev, const char *name,
		      const struct vdpa_dev_set_config *config, struct vdpa_error *e)
{
	struct mock *m;
	int ret;

	parent.adds++;
	parent.mask = config->mask;
	if (parent.add_result || parent.forget)
		return parent.add_result;
	m = vdpa_alloc_device(mdev->ctx, struct mock, vdpa, &mock_ops, mdev->name, 1, 1, name,
			      false, e);
	if (!m)
		return -ENOMEM;
	m->offered = 0xff;
	ret = parent.half ? -EIO : vdpa_register_device(&m->vdpa, MOCK_VQS, e);
	if (ret)
		vdpa_put_device(&m->vdpa);
	return ret;
}

static int parent_del(struct vdpa_mgmt_dev *mdev, struct vdpa_device *vdev,
		      const struct vdpa_done *done)
{
	parent.dels++;
	return parent.del_result ? parent.del_result : vdpa_unregister_device(vdev, done);
}

static int parent_set(struct vdpa_mgmt_dev *mdev, struct vdpa_device *vdev,
		      const struct vdpa_dev_set_config *config, struct vdpa_error *e)
{
	parent.sets++;
	return parent.set_result;
}

static const struct vdpa_mgmtdev_ops ops = {
	.dev_add = parent_add,
	.dev_del = parent_del,
	.dev_set_attr = parent_set,
};

static struct vdpa_mgmt_dev mdev;

static int setup(void **state)
{
	ctx = mock_ctx();
	memset(&parent, 0, sizeof(parent));
	memset(&err, 0, sizeof(err));
	mdev = (struct vdpa_mgmt_dev){
		.name = "soft",
		.ops = &ops,
		.id_table = net_only,
		.config_attr_mask = VDPA_CFG_FEATURES | VDPA_CFG_NET_MAC | VDPA_CFG_NET_MTU,
		.supported_features = UINT64_MAX,
	};
	return vdpa_mgmtdev_register(ctx, &mdev);
}

static int teardown(void **state)
{
	return vdpa_ctx_free(ctx);
}

static void registry_and_lookup(void **state)
{
	struct vdpa_mgmt_dev on_bus = mdev, same = mdev, broken = mdev;
	const struct vdpa_mgmtdev_ops no_del = {.dev_add = parent_add};

	assert_int_equal(vdpa_mgmtdev_register(ctx, &same), -EEXIST);
	on_bus.bus = "pci";
	assert_int_equal(vdpa_mgmtdev_register(ctx, &on_bus), 0);
	broken.name = "broken";
	broken.ops = &no_del;
	assert_int_equal(vdpa_mgmtdev_register(ctx, &broken), -EINVAL);
	assert_ptr_equal(vdpa_mgmtdev_find(ctx, "soft"), &mdev);
	assert_ptr_equal(vdpa_mgmtdev_find(ctx, "pci/soft"), &on_bus);
	assert_null(vdpa_mgmtdev_find(ctx, "usb/soft"));
	assert_null(vdpa_mgmtdev_find(ctx, "pci/"));
	assert_null(vdpa_mgmtdev_find(ctx, "pci"));
	assert_null(vdpa_mgmtdev_find(ctx, "/soft"));
	assert_null(vdpa_mgmtdev_find(ctx, ""));
	assert_int_equal(vdpa_mgmtdev_unregister(&on_bus, NULL), 0);
	assert_null(vdpa_mgmtdev_find(ctx, "pci/soft"));
	assert_int_equal(vdpa_mgmtdev_unregister(&on_bus, NULL), -EINVAL);
}

struct seen {
	struct vdpa_subscriber sub;
	bool attrs, mdev;
};

static void look_at_add(struct vdpa_subscriber *sub, const struct vdpa_event *event)
{
	struct seen *seen = (struct seen *)sub;

	if (event->type != VDPA_EVENT_ADD)
		return;
	seen->attrs = vdpa_attr_get(vdpa_device_add_attrs(event->vdev), "mac") != NULL;
	seen->mdev = event->vdev->mdev == &mdev;
}

static void added_device_knows_where_it_comes_from(void **state)
{
	const struct vdpa_dev_set_config config = {
		.mask = VDPA_CFG_NET_MAC | VDPA_CFG_NET_MTU | VDPA_CFG_FEATURES,
		.device_features = VDPA_BIT(VIRTIO_NET_F_MAC) | VDPA_BIT(VIRTIO_NET_F_MTU),
		.net = {.mac = {0x52, 0x54, 0, 0x12, 0x34, 0x56}, .mtu = 1500},
	};
	struct seen seen = {.sub.fn = look_at_add};
	const struct vdpa_attr *attrs;
	struct vdpa_device *vdev;

	vdpa_subscribe(ctx, &seen.sub);
	assert_int_equal(vdpa_dev_add(&mdev, "n0", &config, &err), 0);
	/* Already when the first one hears of it. */
	assert_true(seen.attrs && seen.mdev);
	vdev = vdpa_find_device(ctx, "n0");
	assert_ptr_equal(vdev->mdev, &mdev);
	attrs = vdpa_device_add_attrs(vdev);
	assert_string_equal(vdpa_attr_get(attrs, "mac"), "52:54:00:12:34:56");
	assert_string_equal(vdpa_attr_get(attrs, "mtu"), "1500");
	assert_string_equal(vdpa_attr_get(attrs, "device_features"), "0x28");
	assert_null(vdpa_attr_get(attrs, "max_vqp"));
	assert_int_equal(parent.mask, config.mask);
	assert_int_equal(vdpa_dev_add(&mdev, "n0", &config, &err), -EEXIST);
	assert_int_equal(parent.adds, 1);
	assert_int_equal(vdpa_dev_del(vdev, NULL, &err), 0);
	assert_null(vdpa_find_device(ctx, "n0"));
	vdpa_unsubscribe(ctx, &seen.sub);
}

static void failed_add_says_why(void **state)
{
	parent.add_result = -ENOSPC;
	assert_int_equal(vdpa_dev_add(&mdev, "n0", NULL, &err), -ENOSPC);
	assert_string_equal(err.object, "dev/n0");
	assert_non_null(strstr(err.msg, "soft"));
	parent.add_result = 0;
	parent.half = true;
	assert_int_equal(vdpa_dev_add(&mdev, "n0", NULL, &err), -EIO);
	parent.half = false;
	parent.forget = true;
	assert_int_equal(vdpa_dev_add(&mdev, "n0", NULL, &err), -EIO);
	assert_non_null(strstr(err.msg, "made no device"));
	parent.forget = false;
	assert_int_equal(vdpa_dev_add(&mdev, "n0", NULL, NULL), 0);
	/* The halves that failed have given their numbers back. */
	assert_int_equal(vdpa_find_device(ctx, "n0")->index, 0);
	assert_int_equal(vdpa_dev_del(vdpa_find_device(ctx, "n0"), NULL, NULL), 0);
}

static void only_created_devices_can_be_deleted(void **state)
{
	struct mock *m = mock_add(ctx, "own");

	assert_int_equal(vdpa_dev_del(&m->vdpa, NULL, &err), -EINVAL);
	assert_string_equal(err.msg, "only user created device can be deleted by user");
	assert_int_equal(parent.dels, 0);
	assert_int_equal(vdpa_unregister_device(&m->vdpa, NULL), 0);
}

static void deletion_waits_for_the_driver(void **state)
{
	struct counted_done done;
	struct vdpa_done d = counted_done(&done);
	struct vdpa_device *vdev;

	assert_int_equal(vdpa_register_driver(ctx, &mock_driver), 0);
	assert_int_equal(vdpa_dev_add(&mdev, "n0", NULL, &err), 0);
	vdev = vdpa_find_device(ctx, "n0");
	parent.del_result = -EPERM;
	assert_int_equal(vdpa_dev_del(vdev, &d, &err), -EPERM);
	parent.del_result = 0;
	assert_int_equal(vdpa_bind(vdev, "mock-driver", NULL, &err), 0);
	mock_driver_state.hold = true;
	assert_int_equal(vdpa_dev_del(vdev, &d, &err), 0);
	assert_int_equal(vdpa_dev_del(vdev, &d, &err), -EALREADY);
	assert_int_equal(done.calls, 0);
	mock_driver_let_go(0);
	assert_int_equal(done.calls, 1);
}

static void unregistration_takes_all_devices_along(void **state)
{
	struct counted_done done;
	struct vdpa_done d = counted_done(&done);
	struct mock *own = mock_add(ctx, "own");

	assert_int_equal(vdpa_register_driver(ctx, &mock_driver), 0);
	for (int i = 0; i < 3; i++) {
		char name[16];

		snprintf(name, sizeof(name), "n%d", i);
		assert_int_equal(vdpa_dev_add(&mdev, name, NULL, &err), 0);
	}
	assert_int_equal(vdpa_bind(vdpa_find_device(ctx, "n1"), "mock-driver", NULL, &err), 0);
	mock_driver_state.hold = true;
	assert_int_equal(vdpa_mgmtdev_unregister(&mdev, &d), 0);
	assert_int_equal(done.calls, 0);
	assert_null(vdpa_find_device(ctx, "n0"));
	assert_null(vdpa_find_device(ctx, "n2"));
	assert_int_equal(vdpa_mgmtdev_unregister(&mdev, &d), -EALREADY);
	assert_int_equal(vdpa_dev_add(&mdev, "n9", NULL, &err), -ENODEV);
	mock_driver_let_go(0);
	assert_int_equal(done.calls, 1);
	assert_null(vdpa_mgmtdev_find(ctx, "soft"));
	assert_ptr_equal(vdpa_find_device(ctx, "own"), &own->vdpa);
	assert_int_equal(vdpa_unregister_device(&own->vdpa, NULL), 0);
}

static void unregistration_waits_for_a_deletion_under_way(void **state)
{
	struct counted_done deleted, gone;
	struct vdpa_done d = counted_done(&deleted), g = counted_done(&gone);
	struct vdpa_device *vdev;

	assert_int_equal(vdpa_register_driver(ctx, &mock_driver), 0);
	assert_int_equal(vdpa_dev_add(&mdev, "n0", NULL, &err), 0);
	vdev = vdpa_find_device(ctx, "n0");
	vdpa_get_device(vdev);
	assert_int_equal(vdpa_bind(vdev, "mock-driver", NULL, &err), 0);
	mock_driver_state.hold = true;
	assert_int_equal(vdpa_dev_del(vdev, &d, &err), 0);
	assert_int_equal(vdpa_mgmtdev_unregister(&mdev, &g), 0);
	assert_int_equal(gone.calls, 0);
	mock_driver_let_go(0);
	assert_int_equal(deleted.calls, 1);
	assert_int_equal(gone.calls, 1);
	/* We still hold the device; its management device may be gone from memory. */
	assert_null(vdev->mdev);
	vdpa_put_device(vdev);
}

static void refused_deletion_keeps_the_management_device(void **state)
{
	struct counted_done done;
	struct vdpa_done d = counted_done(&done);

	assert_int_equal(vdpa_dev_add(&mdev, "n0", NULL, &err), 0);
	parent.del_result = -EBUSY;
	assert_int_equal(vdpa_mgmtdev_unregister(&mdev, &d), -EBUSY);
	assert_int_equal(done.calls, 0);
	assert_ptr_equal(vdpa_mgmtdev_find(ctx, "soft"), &mdev);
	parent.del_result = 0;
	assert_int_equal(vdpa_mgmtdev_unregister(&mdev, &d), 0);
	assert_int_equal(done.calls, 1);
}

static void change_of_attributes(void **state)
{
	struct vdpa_dev_set_config c = {.mask = VDPA_CFG_NET_MAC, .net.mac = {2, 0, 0, 0, 0, 1}};
	struct vdpa_device *vdev;
	struct event_log log;

	assert_int_equal(vdpa_dev_add(&mdev, "n0", &c, &err), 0);
	vdev = vdpa_find_device(ctx, "n0");
	event_log_start(ctx, &log);
	c.net.mac[5] = 9;
	parent.set_result = -EIO;
	assert_int_equal(vdpa_dev_set(vdev, &c, &err), -EIO);
	assert_true(err.msg[0]);
	assert_string_equal(vdpa_attr_get(vdpa_device_add_attrs(vdev), "mac"), "02:00:00:00:00:01");
	parent.set_result = 0;
	assert_int_equal(vdpa_dev_set(vdev, &c, &err), 0);
	/* A dump gives what is, not what was. */
	assert_string_equal(vdpa_attr_get(vdpa_device_add_attrs(vdev), "mac"), "02:00:00:00:00:09");
	assert_string_equal(log.trace, "C");
	to_mock(vdev)->offered = 0;
	assert_int_equal(vdpa_dev_set(vdev, &c, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "MAC"));
	c.mask = VDPA_CFG_NET_MAX_VQP;
	c.net.max_vq_pairs = 2;
	assert_int_equal(vdpa_dev_set(vdev, &c, &err), -EOPNOTSUPP);
	c.mask = VDPA_CFG_FEATURES;
	assert_int_equal(vdpa_dev_set(vdev, &c, &err), -EINVAL);
	assert_int_equal(parent.sets, 2);
	vdpa_unsubscribe(ctx, &log.sub);
	assert_int_equal(vdpa_dev_del(vdev, NULL, &err), 0);
}

static void change_needs_a_management_device_that_can(void **state)
{
	const struct vdpa_mgmtdev_ops no_set = {.dev_add = parent_add, .dev_del = parent_del};
	const struct vdpa_dev_set_config c = {.mask = VDPA_CFG_NET_MAC};
	struct mock *own = mock_add(ctx, "own");
	struct vdpa_device *vdev;

	assert_int_equal(vdpa_dev_set(&own->vdpa, &c, &err), -EINVAL);
	assert_int_equal(vdpa_unregister_device(&own->vdpa, NULL), 0);
	mdev.ops = &no_set;
	assert_int_equal(vdpa_dev_add(&mdev, "n0", NULL, &err), 0);
	vdev = vdpa_find_device(ctx, "n0");
	assert_int_equal(vdpa_dev_set(vdev, &c, &err), -EOPNOTSUPP);
	assert_int_equal(vdpa_dev_del(vdev, NULL, &err), 0);
}

static unsigned released;

static void on_release(struct vdpa_mgmt_dev *m)
{
	released++;
	memset(m, 0xa5, sizeof(*m));
	free(m);
}

/* Whichever way the bus forgets it: once, and not touched afterwards. */
static void forgotten_management_device_is_released(void **state)
{
	struct vdpa_mgmt_dev *heap[3];
	struct counted_done done;
	struct vdpa_done d = counted_done(&done);

	released = 0;
	for (int i = 0; i < 3; i++) {
		static const char *const names[] = {"a", "b", "c"};

		heap[i] = malloc(sizeof(*heap[i]));
		*heap[i] = mdev;
		heap[i]->name = names[i];
		heap[i]->release = on_release;
		assert_int_equal(vdpa_mgmtdev_register(ctx, heap[i]), 0);
	}
	assert_int_equal(vdpa_mgmtdev_unregister(heap[0], &d), 0);
	assert_int_equal(done.calls, 1);
	assert_int_equal(released, 1);
	assert_int_equal(vdpa_dev_add(heap[1], "n0", NULL, &err), 0);
	assert_int_equal(vdpa_dev_add(heap[1], "n1", NULL, &err), 0);
	assert_int_equal(vdpa_mgmtdev_unregister(heap[1], &d), 0);
	assert_int_equal(done.calls, 2);
	assert_int_equal(released, 2);
	assert_int_equal(vdpa_ctx_free(ctx), 0);
	assert_int_equal(released, 3);
	ctx = mock_ctx();
}

static void allocation_failures_leave_nothing(void **state)
{
	const struct vdpa_dev_set_config c = {.mask = VDPA_CFG_NET_MAC};
	struct vdpa_mgmt_dev second = mdev;

	second.name = "second";
	for (alloc_fail_begin(); alloc_fail_more();) {
		int ret = vdpa_mgmtdev_register(ctx, &second);

		if (!ret)
			ret = vdpa_dev_add(&second, "n0", &c, &err);
		if (!ret)
			ret = vdpa_dev_set(vdpa_find_device(ctx, "n0"), &c, &err);
		alloc_fail_off();
		assert_true(!ret || ret == -ENOMEM);
		if (vdpa_mgmtdev_find(ctx, "second"))
			assert_int_equal(vdpa_mgmtdev_unregister(&second, NULL), 0);
		assert_null(vdpa_find_device(ctx, "n0"));
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(registry_and_lookup),
		T(added_device_knows_where_it_comes_from),
		T(failed_add_says_why),
		T(only_created_devices_can_be_deleted),
		T(deletion_waits_for_the_driver),
		T(unregistration_takes_all_devices_along),
		T(unregistration_waits_for_a_deletion_under_way),
		T(refused_deletion_keeps_the_management_device),
		T(change_of_attributes),
		T(change_needs_a_management_device_that_can),
		T(forgotten_management_device_is_released),
		T(allocation_failures_leave_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
