/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DAEMON_DEV_ATTRS_H
#define DAEMON_DEV_ATTRS_H

#include <jansson.h>
#include <uvdpa/vdpa.h>

/* What dev_add and dev_set take, made of what a person gave. */
struct dev_attrs {
	struct vdpa_attr *all;	  /* as given */
	struct vdpa_attr *parent; /* without the ones that every management device knows */
	struct vdpa_dev_set_config config;
};

/*
 * mac, mtu, max_vqp and device_features go into the config, the rest is the parent's and its
 * backend's to check. Refused here: relative paths (our working directory is nobody's business) and
 * numbers of descriptors (which would be ours, not the caller's). 0 or -errno with @err;
 * dev_attrs_fini() in any case.
 */
int dev_attrs_init(struct dev_attrs *a, struct vdpa_mgmt_dev *mdev, const json_t *attrs,
		   const char *object, struct vdpa_error *err);
void dev_attrs_fini(struct dev_attrs *a);

/* The same two refusals for the attributes of a driver. */
int dev_attrs_check_local(const struct vdpa_attr *attrs, const struct vdpa_attr_spec *spec,
			  const char *object, struct vdpa_error *err);

#endif
