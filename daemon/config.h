/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The configuration file is the state: what config_dump() writes, config_load() reads.
 *
 *	{ "version": 1, "devices": [ { "name": "d0", "mgmtdev": "soft_blk", "attrs": { "backend":
 *"ram", ... }, "driver_override": "vhost-user", "driver": { "name": "vhost-user", "attrs": {
 *"path": "..." } } } ], "mdevs": [ { "uuid": "...", "parent": "mtty", "mdev_type": "mtty-1",
 *"attrs": {}, "start": "auto" (it is defined), "active": false (it is not there), "driver": { ...
 *}, "vdpa_driver": { ... } } ] }
 */
#ifndef DAEMON_CONFIG_H
#define DAEMON_CONFIG_H

#include "devs.h"

/* New reference. */
json_t *config_dump(struct daemon *d);
/*
 * Create what @doc describes, all or nothing: when one device fails, those that this call made are
 * removed before @done. Errors name the place in the document ("$.devices[1].driver"). @done
 * exactly once, maybe before this returns. @doc: a reference is taken while needed.
 */
void config_load(struct daemon *d, json_t *doc, devs_done_fn done, void *arg);
/* Read and load a file, waiting for the end. For the start of the daemon. 0 or -errno with @err. */
int config_load_file(struct daemon *d, const char *path, struct vdpa_error *err);

/* Structure and types alone. 0 or -EINVAL with @err. */
int config_check(const json_t *doc, struct vdpa_error *err);

#endif
