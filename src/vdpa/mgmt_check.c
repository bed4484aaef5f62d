// SPDX-License-Identifier: BSD-3-Clause
/*
 * What may be asked of a management device: the checks of Linux's netlink front door, in its order,
 * with the attributes called by the names that a person typed.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uvdpa/compat.h>
#include "vdpa/attrs.h"
#include "vdpa/core.h"
#include "vdpa/name_list.h"

#define NET_ATTRS (VDPA_CFG_NET_MAC | VDPA_CFG_NET_MTU | VDPA_CFG_NET_MAX_VQP)
/* Feature bits of a device type; 24 to 49 are the ring's, the transport's or reserved (virtio 1.3,
 * section 6). */
#define DEVICE_FEATURES_MASK (~(((1ull << 50) - 1) & ~((1ull << 24) - 1)))
#define NET_MTU_MIN 68 /* what IPv4 requires (RFC 791), and Linux's policy */

static const struct {
	uint64_t bit;
	const char *name;
} attr_names[] = {
	{VDPA_CFG_FEATURES, "device_features"},
	{VDPA_CFG_NET_MAC, "mac"},
	{VDPA_CFG_NET_MTU, "mtu"},
	{VDPA_CFG_NET_MAX_VQP, "max_vqp"},
};

static struct vdpa_name_list names_of(uint64_t mask)
{
	struct vdpa_name_list list = VDPA_NAME_LIST_INIT;

	for (size_t i = 0; i < sizeof(attr_names) / sizeof(attr_names[0]); i++) {
		if (mask & attr_names[i].bit)
			vdpa_name_list_add(&list, attr_names[i].name);
		mask &= ~attr_names[i].bit;
	}
	if (mask)
		vdpa_name_list_add(&list, "(unknown)");
	return list;
}

static int check_name(const struct vdpa_mgmt_dev *mdev, const char *name, struct vdpa_error *err)
{
	struct vdpa_object_name object = vdpa_dev_object(name);

	if (!name || !vdpa_name_valid(name))
		return vdpa_error_set(err, EINVAL, object.s,
				      "\"%s\" is not a name: 1 to %d letters, digits, and . _ : - "
				      "but for the first",
				      name ? name : "", VDPA_NAME_MAX);
	if (vdpa_find_device(mdev->ctx, name))
		return vdpa_error_set(err, EEXIST, object.s,
				      "a device of this name exists already");
	return 0;
}

static int check_supported(const struct vdpa_mgmt_dev *mdev, uint64_t mask, const char *object,
			   struct vdpa_error *err)
{
	uint64_t bad = mask & ~mdev->config_attr_mask;

	if (!bad)
		return 0;
	return vdpa_error_set(err, EOPNOTSUPP, object,
			      "management device %s does not support: %s (it supports: %s)",
			      mdev->name, names_of(bad).s, names_of(mdev->config_attr_mask).s);
}

static int check_net_values(const struct vdpa_dev_set_config *c, const char *object,
			    struct vdpa_error *err)
{
	if (c->mask & VDPA_CFG_NET_MTU && c->net.mtu < NET_MTU_MIN)
		return vdpa_error_set(err, EINVAL, object, "mtu %u is too small: at least %d",
				      c->net.mtu, NET_MTU_MIN);
	if (c->mask & VDPA_CFG_NET_MAX_VQP && !c->net.max_vq_pairs)
		return vdpa_error_set(err, EINVAL, object,
				      "max_vqp 0: at least one pair of virtqueues is required");
	return 0;
}

/* Attributes ask for features; with an explicit feature set they have to be in it. */
static int check_net_features(const struct vdpa_mgmt_dev *mdev, const struct vdpa_dev_set_config *c,
			      const char *object, struct vdpa_error *err)
{
	uint64_t missing = 0;
	char lacks[64], has[256];

	if (!(c->mask & VDPA_CFG_FEATURES))
		return 0;
	if (c->mask & VDPA_CFG_NET_MAC)
		missing |= VDPA_BIT(VIRTIO_NET_F_MAC);
	if (c->mask & VDPA_CFG_NET_MTU)
		missing |= VDPA_BIT(VIRTIO_NET_F_MTU);
	/* Without a control queue of its own the device does not have the bit: whoever drives it by
	 * a protocol of several pairs (vhost-user) offers it. */
	if (c->mask & VDPA_CFG_NET_MAX_VQP && c->net.max_vq_pairs > 1)
		missing |= VDPA_BIT(VIRTIO_NET_F_MQ) & mdev->supported_features;
	missing &= ~c->device_features;
	if (!missing)
		return 0;
	return vdpa_error_set(
		err, EINVAL, object,
		"missing features %s for the attributes given (device_features: %s)",
		vdpa_feature_names(VIRTIO_ID_NET, missing, lacks, sizeof(lacks)),
		c->device_features
			? vdpa_feature_names(VIRTIO_ID_NET, c->device_features, has, sizeof(has))
			: "none");
}

static int check_classes(const struct vdpa_mgmt_dev *mdev, const struct vdpa_dev_set_config *c,
			 const char *object, struct vdpa_error *err)
{
	uint32_t id = 0;
	bool net = false;
	unsigned classes = 0;
	char given[96], known[192];

	for (const uint32_t *p = mdev->id_table; p && *p; p++, classes++)
		net |= *p == VIRTIO_ID_NET;
	if (classes == 1)
		id = mdev->id_table[0];
	if (c->mask & NET_ATTRS && !net)
		return vdpa_error_set(
			err, EINVAL, object,
			"%s: attributes of a network device, but management device %s "
			"makes none",
			names_of(c->mask & NET_ATTRS).s, mdev->name);
	if (!(c->mask & VDPA_CFG_FEATURES))
		return 0;
	if (!(c->mask & NET_ATTRS) && net && classes > 1 &&
	    c->device_features & DEVICE_FEATURES_MASK)
		return vdpa_error_set(err, EINVAL, object,
				      "management device %s makes several classes of device: "
				      "in device_features %s is ambiguous; bits 24 to 49 mean the "
				      "same for all",
				      mdev->name,
				      vdpa_feature_names(0,
							 c->device_features & DEVICE_FEATURES_MASK,
							 given, sizeof(given)));
	if (c->device_features & ~mdev->supported_features)
		return vdpa_error_set(
			err, EINVAL, object,
			"device_features has %s, which management device %s does not support (it "
			"supports %s)",
			vdpa_feature_names(id, c->device_features & ~mdev->supported_features,
					   given, sizeof(given)),
			mdev->name,
			vdpa_feature_names(id, mdev->supported_features, known, sizeof(known)));
	return 0;
}

static bool in_table(const struct vdpa_attr_spec *spec, const char *key)
{
	for (; spec && spec->name; spec++) {
		if (!strcmp(spec->name, key))
			return true;
	}
	return false;
}

bool vdpa_mgmt_own_attr(const struct vdpa_mgmt_dev *mdev, const char *key)
{
	for (size_t i = 0; i < sizeof(attr_names) / sizeof(attr_names[0]); i++)
		if (!strcmp(attr_names[i].name, key))
			return true;
	return in_table(mdev->attrs, key);
}

/*
 * Attributes of the management device's own table are checked here. When that table has a
 * "backend", keys that it does not know are the chosen backend's, and are checked by the parent,
 * who knows it.
 */
static int check_attrs(const struct vdpa_mgmt_dev *mdev, const struct vdpa_attr *attrs,
		       const char *object, struct vdpa_error *err)
{
	struct vdpa_attr *own;
	size_t n = 0;
	int ret;

	if (!in_table(mdev->attrs, "backend"))
		return vdpa_attr_check(attrs, mdev->attrs, object, err);
	own = calloc(vdpa_attrs_count(attrs) + 1, sizeof(*own));
	if (!own)
		return vdpa_error_set(err, ENOMEM, object, "no memory");
	for (; attrs && attrs->key; attrs++) {
		if (in_table(mdev->attrs, attrs->key))
			own[n++] = *attrs;
	}
	ret = vdpa_attr_check(own, mdev->attrs, object, err);
	free(own);
	return ret;
}

int vdpa_mgmt_check_add(const struct vdpa_mgmt_dev *mdev, const char *name,
			const struct vdpa_dev_set_config *config, struct vdpa_error *err)
{
	struct vdpa_object_name object = vdpa_dev_object(name);
	int ret = check_name(mdev, name, err);

	if (!ret)
		ret = check_net_values(config, object.s, err);
	if (!ret)
		ret = check_net_features(mdev, config, object.s, err);
	if (!ret)
		ret = check_supported(mdev, config->mask, object.s, err);
	if (!ret)
		ret = check_classes(mdev, config, object.s, err);
	if (!ret)
		ret = check_attrs(mdev, config->attrs, object.s, err);
	return ret;
}

int vdpa_mgmt_check_set(struct vdpa_device *vdev, const struct vdpa_dev_set_config *config,
			struct vdpa_error *err)
{
	struct vdpa_object_name object = vdpa_dev_object(vdev->name);
	int ret;

	if (!vdev->mdev)
		return vdpa_error_set(err, EINVAL, object.s,
				      "only a device that was created through a management device "
				      "can be changed");
	if (!vdev->mdev->ops->dev_set_attr)
		return vdpa_error_set(err, EOPNOTSUPP, object.s,
				      "management device %s does not change devices",
				      vdev->mdev->name);
	if (config->mask & VDPA_CFG_FEATURES)
		return vdpa_error_set(err, EINVAL, object.s,
				      "device_features are chosen when a device is added");
	ret = check_supported(vdev->mdev, config->mask, object.s, err);
	if (!ret)
		ret = check_net_values(config, object.s, err);
	if (ret)
		return ret;
	if (config->mask & NET_ATTRS && vdpa_get_device_id(vdev) != VIRTIO_ID_NET)
		return vdpa_error_set(err, EINVAL, object.s,
				      "%s: the device is not a network device",
				      names_of(config->mask & NET_ATTRS).s);
	if (config->mask & VDPA_CFG_NET_MAC &&
	    !(vdpa_get_device_features(vdev) & VDPA_BIT(VIRTIO_NET_F_MAC)))
		return vdpa_error_set(err, EINVAL, object.s,
				      "the device does not offer the feature MAC");
	return 0;
}
