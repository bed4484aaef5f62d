/* SPDX-License-Identifier: BSD-3-Clause */
/* Making and removing devices, for requests and for configuration files alike. */
#ifndef DAEMON_DEVS_H
#define DAEMON_DEVS_H

#include "daemon.h"

/* The name under which errors and logs speak of a device: "dev/d0". */
struct dev_object {
	char s[80];
};
struct dev_object dev_object(const char *name);

/* What a request or a configuration says of one device. The strings and objects stay the caller's.
 */
struct dev_wish {
	const char *name, *mgmtdev;
	const json_t *attrs;	    /* NULL: none */
	const char *driver;	    /* NULL: do not bind */
	const json_t *driver_attrs; /* NULL: none */
	const char *override;	    /* NULL: none */
};

/* @err: NULL on success. */
typedef void (*devs_done_fn)(void *arg, int ret, const struct vdpa_error *err);

/*
 * Create, and bind when a driver is named; if that fails the device is removed again, and @done
 * comes when it is gone. @done exactly once, maybe before this returns.
 */
void devs_create(struct daemon *d, const struct dev_wish *wish, devs_done_fn done, void *arg);
/* Remove; @done when it is gone. */
void devs_delete(struct daemon *d, const char *name, devs_done_fn done, void *arg);
/*
 * Bind; @done once the driver has what it wants, or when it has let go again after an error;
 * exactly once, maybe before this returns.
 */
void devs_bind(struct vdpa_device *vdev, const char *driver, const json_t *attrs, devs_done_fn done,
	       void *arg);
/* Change attributes of a device ("mac", "mtu", ...). */
int devs_set(struct vdpa_device *vdev, const json_t *attrs, struct vdpa_error *err);
unsigned devs_count(struct daemon *d);

/* These three, NULL: not found, with @err that lists what there is. */
struct vdpa_device *devs_find(struct daemon *d, const char *name, struct vdpa_error *err);
const struct vdpa_driver *devs_driver(struct daemon *d, const char *name, struct vdpa_error *err);
/* @name: "NAME" or "BUS/NAME". */
struct vdpa_mgmt_dev *devs_mgmtdev(struct daemon *d, const char *name, struct vdpa_error *err);
/* "BUS/NAME" or "NAME". */
const char *devs_handle(const struct vdpa_mgmt_dev *mdev, char *buf, size_t size);
/* The attributes that the backend called @name has; NULL: none. */
const struct vdpa_attr_spec *devs_backend_attrs(const char *name);

#endif
