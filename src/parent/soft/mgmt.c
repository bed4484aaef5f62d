// SPDX-License-Identifier: BSD-3-Clause
/* What the management devices of software parents share. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "parent/soft/mgmt.h"

static void mgmt_release(struct vdpa_mgmt_dev *mdev)
{
	free((char *)mdev - offsetof(struct soft_mgmt, mdev));
}

int soft_mgmt_register(struct vdpa_ctx *ctx, const struct vdpa_mgmt_dev *tmpl,
		       const struct vdpa_attr_spec *own)
{
	struct soft_mgmt *mgmt = calloc(1, sizeof(*mgmt));
	unsigned n = 0;
	int r;

	if (!mgmt)
		return -ENOMEM;
	mgmt->mdev = *tmpl;
	for (; own->name && n < SOFT_MGMT_ATTRS - 1; own++)
		mgmt->attrs[n++] = *own;
	for (own = vdpa_soft_attrs; own->name && n < SOFT_MGMT_ATTRS - 1; own++)
		mgmt->attrs[n++] = *own;
	mgmt->mdev.attrs = mgmt->attrs;
	mgmt->mdev.release = mgmt_release;
	r = vdpa_mgmtdev_register(ctx, &mgmt->mdev);
	if (r)
		free(mgmt);
	return r;
}

static bool spec_has(const struct vdpa_attr_spec *spec, const char *key)
{
	for (; spec && spec->name; spec++)
		if (!strcmp(spec->name, key))
			return true;
	return false;
}

/* Those of @spec that are not @seen already. */
static void names_add(char *buf, size_t bytes, const struct vdpa_attr_spec *spec,
		      const struct vdpa_attr_spec *seen)
{
	for (; spec && spec->name; spec++) {
		size_t at = strlen(buf);

		if (spec_has(seen, spec->name))
			continue;
		snprintf(buf + at, bytes - at, "%s%s", at ? ", " : "", spec->name);
	}
}

static int check_queue_size(const struct vdpa_attr *attrs, struct vdpa_error *err)
{
	uint64_t num = vdpa_attr_u64(attrs, "queue_size", 0);

	if (!(num & (num - 1)))
		return 0;
	return vdpa_error_set(err, EINVAL, NULL, "queue_size %llu is not a power of two",
			      (unsigned long long)num);
}

static void attrs_free(struct soft_attrs *attrs)
{
	free(attrs->parent);
	free(attrs->backend);
	attrs->parent = attrs->backend = NULL;
}

static int attrs_split(const struct vdpa_attr *attrs, const struct vdpa_attr_spec *parent,
		       const struct vdpa_attr_spec *backend, struct soft_attrs *out,
		       struct vdpa_error *err)
{
	unsigned n = 0, np = 0, nb = 0;
	char names[384] = "";
	int r;

	while (attrs && attrs[n].key)
		n++;
	out->parent = calloc(n + 1, sizeof(*out->parent));
	out->backend = calloc(n + 1, sizeof(*out->backend));
	if (!out->parent || !out->backend) {
		attrs_free(out);
		return vdpa_error_set(err, ENOMEM, NULL, "no memory for the attributes");
	}
	for (unsigned i = 0; i < n; i++) {
		bool ours = spec_has(parent, attrs[i].key);
		bool theirs = spec_has(backend, attrs[i].key);

		if (ours)
			out->parent[np++] = attrs[i];
		if (theirs)
			out->backend[nb++] = attrs[i];
		if (ours || theirs)
			continue;
		names_add(names, sizeof(names), parent, NULL);
		names_add(names, sizeof(names), backend, parent);
		r = vdpa_error_set(err, EINVAL, NULL,
				   "unknown attribute \"%.40s\"; with this backend there are: %s",
				   attrs[i].key, names);
		attrs_free(out);
		return r;
	}
	r = vdpa_attr_check(out->parent, parent, NULL, err);
	if (!r)
		r = check_queue_size(out->parent, err);
	if (r)
		attrs_free(out);
	return r;
}

int soft_add(struct soft_add *add,
	     int (*then)(void *arg, const struct soft_add *add, struct vdpa_error *err), void *arg,
	     struct vdpa_error *err)
{
	int r = attrs_split(add->config->attrs, add->mdev->attrs, add->specs, &add->attrs, err);

	if (r)
		return r;
	r = then(arg, add, err);
	attrs_free(&add->attrs);
	return r;
}

struct backend_open_params soft_open_params(const struct soft_add *add)
{
	return (struct backend_open_params){
		.size = sizeof(struct backend_open_params),
		.loops = vdpa_ctx_loops(add->mdev->ctx),
		.log = vdpa_ctx_log(add->mdev->ctx),
		.name = add->name,
		.attrs = add->attrs.backend,
	};
}

int soft_born(struct vdpa_soft *dev, int r, struct vdpa_error *err)
{
	if (r)
		vdpa_error_set(err, -r, NULL, "no memory for the queues");
	else
		r = vdpa_soft_register(dev, err);
	if (r)
		vdpa_put_device(&dev->vdpa);
	return r;
}

int soft_apply_features(struct vdpa_soft_params *params, const struct vdpa_dev_set_config *config,
			struct vdpa_error *err)
{
	uint64_t have = params->features | vdpa_soft_kit_features();
	char lacks[128], has[256];

	if (!(config->mask & VDPA_CFG_FEATURES))
		return 0;
	if (config->device_features & ~have)
		return vdpa_error_set(
			err, EINVAL, NULL,
			"device_features has %s; with these attributes the device has: %s",
			vdpa_feature_names(params->device_id, config->device_features & ~have,
					   lacks, sizeof(lacks)),
			vdpa_feature_names(params->device_id, have, has, sizeof(has)));
	params->features = config->device_features;
	params->features_off = ~config->device_features;
	return 0;
}
