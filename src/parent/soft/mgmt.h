/* SPDX-License-Identifier: BSD-3-Clause */
/* What the management devices of software parents share: attributes, features. */
#ifndef PARENT_SOFT_MGMT_H
#define PARENT_SOFT_MGMT_H

#include <uvdpa/soft.h>

#define SOFT_MGMT_ATTRS 24

/** A management device on the heap, with its table of attributes (its own and the kit's). */
struct soft_mgmt {
	struct vdpa_mgmt_dev mdev;
	struct vdpa_attr_spec attrs[SOFT_MGMT_ATTRS];
};

/** Copy @tmpl, append the kit's attributes to @own, register it. Freed when the bus forgets it. */
int soft_mgmt_register(struct vdpa_ctx *ctx, const struct vdpa_mgmt_dev *tmpl,
		       const struct vdpa_attr_spec *own);

/** Attributes, told apart by whose they are. A key that both know goes to both. */
struct soft_attrs {
	struct vdpa_attr *parent, *backend;
};

/** Tell @attrs apart and check the parent's. 0 or -errno with @err. */
int soft_attrs_split(const struct vdpa_attr *attrs, const struct vdpa_attr_spec *parent,
		     const struct vdpa_attr_spec *backend, struct soft_attrs *out,
		     struct vdpa_error *err);
void soft_attrs_free(struct soft_attrs *attrs);

/**
 * The features that a device offers when its user asked for @config->device_features: sets @params'
 * features and features_off. -EINVAL with @err: one that it does not have.
 */
int soft_apply_features(struct vdpa_soft_params *params, const struct vdpa_dev_set_config *config,
			struct vdpa_error *err);

int soft_blk_register(struct vdpa_ctx *ctx);
int soft_net_register(struct vdpa_ctx *ctx);

#endif
