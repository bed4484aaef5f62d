/* SPDX-License-Identifier: BSD-3-Clause */
/* What the management devices of software parents share: attributes, features. */
#ifndef PARENT_SOFT_MGMT_H
#define PARENT_SOFT_MGMT_H

#include <uvdpa/backend.h>
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

/** A request for a device, or for another backend of one. */
struct soft_add {
	struct vdpa_mgmt_dev *mdev;
	const char *name;
	const struct vdpa_dev_set_config *config;
	const char *backend;		    /**< that was chosen, */
	const struct vdpa_attr_spec *specs; /**< and its attributes */
	struct soft_attrs attrs;	    /**< made by soft_add() */
};

/** Tell the attributes apart, check the parent's, and @then do it. 0 or -errno with @err. */
int soft_add(struct soft_add *add,
	     int (*then)(void *arg, const struct soft_add *add, struct vdpa_error *err), void *arg,
	     struct vdpa_error *err);
/** What its backend is opened with. */
struct backend_open_params soft_open_params(const struct soft_add *add);
/**
 * The end of a birth: @r is how far it got (0, or -ENOMEM: no memory for the device's queues). The
 * device is registered, or freed with its backend.
 */
int soft_born(struct vdpa_soft *dev, int r, struct vdpa_error *err);

/**
 * The features that a device offers when its user asked for @config->device_features: sets @params'
 * features and features_off. -EINVAL with @err: one that it does not have.
 */
int soft_apply_features(struct vdpa_soft_params *params, const struct vdpa_dev_set_config *config,
			struct vdpa_error *err);

int soft_blk_register(struct vdpa_ctx *ctx);
int soft_net_register(struct vdpa_ctx *ctx);

#endif
