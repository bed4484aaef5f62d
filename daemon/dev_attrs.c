// SPDX-License-Identifier: BSD-3-Clause
#include <errno.h>
#include <string.h>
#include "ctl/json.h"
#include "ctl/names.h"
#include "dev_attrs.h"
#include "devs.h"

/* Linux's own attributes of "dev add": every management device that supports them takes them so. */
static const struct vdpa_attr_spec common[] = {
	{.name = "mac", .type = VDPA_ATTR_MAC},
	{.name = "mtu", .type = VDPA_ATTR_U64, .max = UINT16_MAX},
	{.name = "max_vqp", .type = VDPA_ATTR_U64, .min = 1, .max = UINT16_MAX},
	{.name = "device_features", .type = VDPA_ATTR_STRING},
	{.name = NULL},
};

static const struct vdpa_attr_spec *spec_of(const struct vdpa_attr_spec *spec, const char *name)
{
	for (; spec && spec->name; spec++) {
		if (!strcmp(spec->name, name))
			return spec;
	}
	return NULL;
}

int dev_attrs_check_local(const struct vdpa_attr *attrs, const struct vdpa_attr_spec *spec,
			  const char *object, struct vdpa_error *err)
{
	for (; attrs && attrs->key; attrs++) {
		const struct vdpa_attr_spec *s = spec_of(spec, attrs->key);

		if (s && s->type == VDPA_ATTR_PATH && attrs->value[0] != '/')
			return vdpa_error_set(err, EINVAL, object,
					      "%s \"%s\" is a relative path: the daemon takes "
					      "absolute ones only",
					      attrs->key, attrs->value);
		if (s && s->type == VDPA_ATTR_FD)
			return vdpa_error_set(err, EPERM, object,
					      "%s cannot be given here: file descriptors of the "
					      "daemon are not its clients' to name",
					      attrs->key);
	}
	return 0;
}

static int split(struct dev_attrs *a, const struct vdpa_mgmt_dev *mdev, struct vdpa_attr **standard)
{
	int ret = 0;

	for (const struct vdpa_attr *p = a->all; p && p->key && !ret; p++) {
		bool is_common = spec_of(common, p->key) && !spec_of(mdev->attrs, p->key);

		ret = ctl_attrs_append(is_common ? standard : &a->parent, p->key, p->value);
	}
	return ret;
}

static int fill_config(struct dev_attrs *a, const struct vdpa_mgmt_dev *mdev,
		       const struct vdpa_attr *standard, const char *object, struct vdpa_error *err)
{
	struct vdpa_dev_set_config *c = &a->config;
	const char *features = vdpa_attr_get(standard, "device_features");
	uint32_t id = mdev->id_table && mdev->id_table[0] ? mdev->id_table[0] : 0;

	if (vdpa_attr_mac(standard, "mac", c->net.mac))
		c->mask |= VDPA_CFG_NET_MAC;
	if (vdpa_attr_get(standard, "mtu")) {
		c->mask |= VDPA_CFG_NET_MTU;
		c->net.mtu = (uint16_t)vdpa_attr_u64(standard, "mtu", 0);
	}
	if (vdpa_attr_get(standard, "max_vqp")) {
		c->mask |= VDPA_CFG_NET_MAX_VQP;
		c->net.max_vq_pairs = (uint16_t)vdpa_attr_u64(standard, "max_vqp", 0);
	}
	if (!features)
		return 0;
	c->mask |= VDPA_CFG_FEATURES;
	return ctl_features_parse(id, features, &c->device_features, object, err);
}

int dev_attrs_init(struct dev_attrs *a, struct vdpa_mgmt_dev *mdev, const json_t *attrs,
		   const char *object, struct vdpa_error *err)
{
	struct vdpa_attr *standard = NULL;
	const char *backend;
	int ret;

	memset(a, 0, sizeof(*a));
	ret = ctl_attrs_from_json(attrs, object, &a->all, err);
	if (ret)
		return ret;
	ret = split(a, mdev, &standard);
	if (ret)
		vdpa_error_set(err, -ret, object, "out of memory");
	else
		ret = vdpa_attr_check(standard, common, object, err);
	if (!ret)
		ret = fill_config(a, mdev, standard, object, err);
	ctl_attrs_free(standard);
	if (!ret)
		ret = dev_attrs_check_local(a->parent, mdev->attrs, object, err);
	backend = vdpa_attr_get(a->parent, "backend");
	if (!ret && backend)
		ret = dev_attrs_check_local(a->parent, devs_backend_attrs(backend), object, err);
	a->config.attrs = a->parent;
	return ret;
}

void dev_attrs_fini(struct dev_attrs *a)
{
	ctl_attrs_free(a->all);
	ctl_attrs_free(a->parent);
	memset(a, 0, sizeof(*a));
}
