// SPDX-License-Identifier: BSD-3-Clause
/* What vdpa_dev_add() refuses before the parent hears of it, and what it says. */
#include "mock.h"

static struct vdpa_ctx *ctx;
static struct vdpa_error err;
static unsigned reached;

static int parent_add(struct vdpa_mgmt_dev *mdev, const char *name,
		      const struct vdpa_dev_set_config *config, struct vdpa_error *e)
{
	reached++;
	return vdpa_error_set(e, ENOTTY, NULL, "reached the parent");
}

static int parent_del(struct vdpa_mgmt_dev *mdev, struct vdpa_device *vdev,
		      const struct vdpa_done *done)
{
	return -ENOTTY;
}

static const struct vdpa_mgmtdev_ops ops = {.dev_add = parent_add, .dev_del = parent_del};
static const uint32_t net_only[] = {VIRTIO_ID_NET, 0}, blk_only[] = {VIRTIO_ID_BLOCK, 0},
		      both[] = {VIRTIO_ID_NET, VIRTIO_ID_BLOCK, 0};
static struct vdpa_mgmt_dev mdev;

static int setup(void **state)
{
	ctx = mock_ctx();
	reached = 0;
	memset(&err, 0, sizeof(err));
	mdev = (struct vdpa_mgmt_dev){
		.name = "soft",
		.ops = &ops,
		.id_table = net_only,
		.config_attr_mask = VDPA_CFG_FEATURES | VDPA_CFG_NET_MAC | VDPA_CFG_NET_MTU |
				    VDPA_CFG_NET_MAX_VQP,
		.supported_features = 0xffffffff,
	};
	return vdpa_mgmtdev_register(ctx, &mdev);
}

static int teardown(void **state)
{
	return vdpa_ctx_free(ctx);
}

static void refused(const struct vdpa_dev_set_config *c, int code, const char *words)
{
	unsigned before = reached;

	assert_int_equal(vdpa_dev_add(&mdev, "n0", c, &err), code);
	assert_int_equal(reached, before);
	assert_string_equal(err.object, "dev/n0");
	if (!strstr(err.msg, words))
		fail_msg("\"%s\" does not say \"%s\"", err.msg, words);
}

static void passes(const struct vdpa_dev_set_config *c)
{
	unsigned before = reached;

	assert_int_equal(vdpa_dev_add(&mdev, "n0", c, &err), -ENOTTY);
	assert_int_equal(reached, before + 1);
}

static void names(void **state)
{
	assert_int_equal(vdpa_dev_add(&mdev, NULL, NULL, &err), -EINVAL);
	assert_int_equal(vdpa_dev_add(&mdev, "", NULL, &err), -EINVAL);
	assert_int_equal(vdpa_dev_add(&mdev, "../x", NULL, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "../x"));
	assert_int_equal(reached, 0);
	passes(NULL);
}

static void unsupported_attributes_are_named(void **state)
{
	struct vdpa_dev_set_config c = {.mask = VDPA_CFG_NET_MTU | VDPA_CFG_NET_MAC,
					.net.mtu = 1500};

	mdev.config_attr_mask = VDPA_CFG_NET_MAC | VDPA_CFG_FEATURES;
	refused(&c, -EOPNOTSUPP, "does not support: mtu (it supports: device_features, mac)");
	c.mask = VDPA_CFG_NET_MAC;
	passes(&c);
	c.mask |= 1u << 20;
	refused(&c, -EOPNOTSUPP, "(unknown)");
}

static void mtu_and_pairs_have_a_minimum(void **state)
{
	struct vdpa_dev_set_config c = {.mask = VDPA_CFG_NET_MTU, .net.mtu = 67};

	refused(&c, -EINVAL, "mtu 67 is too small: at least 68");
	c.net.mtu = 68;
	passes(&c);
	c.mask = VDPA_CFG_NET_MAX_VQP;
	refused(&c, -EINVAL, "at least one pair");
	c.net.max_vq_pairs = 1;
	passes(&c);
}

static void attributes_need_their_features_when_those_are_given(void **state)
{
	struct vdpa_dev_set_config c = {
		.mask = VDPA_CFG_FEATURES | VDPA_CFG_NET_MAC | VDPA_CFG_NET_MTU |
			VDPA_CFG_NET_MAX_VQP,
		.net = {.mtu = 1500, .max_vq_pairs = 2},
	};

	refused(&c, -EINVAL, "missing features MTU MAC MQ for");
	c.device_features = 1 << VIRTIO_NET_F_MAC;
	refused(&c, -EINVAL,
		"missing features MTU MQ for the attributes given (device_features: MAC)");
	c.device_features |= 1 << VIRTIO_NET_F_MTU;
	refused(&c, -EINVAL, "missing features MQ for");
	c.net.max_vq_pairs = 1;
	passes(&c);
	c.net.max_vq_pairs = 2;
	c.device_features |= 1 << VIRTIO_NET_F_MQ;
	passes(&c);
	c.device_features |= VDPA_BIT(40);
	refused(&c, -EINVAL, "device_features has RING_RESET, which");
	c.mask &= ~(uint64_t)VDPA_CFG_FEATURES;
	c.device_features = 0;
	passes(&c);
}

static void net_attributes_need_a_net_class(void **state)
{
	struct vdpa_dev_set_config c = {.mask = VDPA_CFG_NET_MAC};

	mdev.id_table = blk_only;
	refused(&c, -EINVAL, "makes none");
	mdev.id_table = both;
	passes(&c);
}

static void device_bits_are_ambiguous_with_several_classes(void **state)
{
	struct vdpa_dev_set_config c = {.mask = VDPA_CFG_FEATURES, .device_features = 1 << 5};

	mdev.id_table = both;
	mdev.supported_features = UINT64_MAX;
	refused(&c, -EINVAL, "in device_features bit_5 is ambiguous");
	c.device_features = VDPA_BIT(55);
	refused(&c, -EINVAL, "ambiguous");
	c.device_features = VDPA_BIT(VIRTIO_F_VERSION_1) | VDPA_BIT(VIRTIO_RING_F_EVENT_IDX);
	passes(&c);
	c.device_features = 1 << 5;
	c.mask |= VDPA_CFG_NET_MAC;
	passes(&c);
	mdev.id_table = net_only;
	c.mask = VDPA_CFG_FEATURES;
	passes(&c);
}

static void attributes_of_its_own_are_checked(void **state)
{
	static const struct vdpa_attr_spec table[] = {
		{.name = "queues", .type = VDPA_ATTR_U64, .min = 1, .max = 8},
		{.name = NULL},
	};
	struct vdpa_attr attrs[] = {{"queues", "9"}, {NULL, NULL}, {NULL, NULL}};
	const struct vdpa_dev_set_config c = {.attrs = attrs};

	refused(&c, -EINVAL, "allowed: none");
	mdev.attrs = table;
	refused(&c, -ERANGE, "1 to 8");
	attrs[0].value = "8";
	passes(&c);
	attrs[1] = (struct vdpa_attr){"path", "x"};
	refused(&c, -EINVAL, "\"path\" is not known");
}

/* With a "backend" in the table, keys that are not in it are the backend's: the parent's to check.
 */
static void attributes_of_a_backend_are_left_to_the_parent(void **state)
{
	static const struct vdpa_attr_spec table[] = {
		{.name = "backend", .type = VDPA_ATTR_STRING, .required = true},
		{.name = "queues", .type = VDPA_ATTR_U64, .min = 1, .max = 8},
		{.name = NULL},
	};
	struct vdpa_attr attrs[] = {
		{"path", "x"}, {"backend", "file"}, {"queues", "9"}, {NULL, NULL}};
	const struct vdpa_dev_set_config c = {.attrs = attrs};

	mdev.attrs = table;
	refused(&c, -ERANGE, "1 to 8");
	attrs[2].value = "1";
	passes(&c);
	attrs[0].key = "queues";
	refused(&c, -EINVAL, "twice");
	attrs[1].key = NULL;
	refused(&c, -EINVAL, "queues");
	attrs[0] = (struct vdpa_attr){"path", "x"};
	refused(&c, -EINVAL, "backend is missing");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(names),
		T(unsupported_attributes_are_named),
		T(mtu_and_pairs_have_a_minimum),
		T(attributes_need_their_features_when_those_are_given),
		T(net_attributes_need_a_net_class),
		T(device_bits_are_ambiguous_with_several_classes),
		T(attributes_of_its_own_are_checked),
		T(attributes_of_a_backend_are_left_to_the_parent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
