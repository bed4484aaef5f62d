/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Software DSAs as JSON: what is shown, what a configuration says, and accel-config's own files
 * ("accel-config save-config"), which are an array of devices with groups, in which queues and
 * engines are.
 *
 *	configuration: "dsas": [ { "name": "dsa0", "attrs": { "wq_size": 128 },
 *	    "config": { accel-config's device }, "enabled": [ "dsa0", "dsa0/wq0.0" ] } ]
 */
#ifndef DAEMON_DSAS_H
#define DAEMON_DSAS_H

#include <errno.h>
#include "daemon.h"
#include "uvdpa-config.h"

#ifdef VDPA_HAVE_DSA_DEV

/* New references. All of a device; its part of accel-config's file; NULL: there is nothing. */
json_t *dsas_describe(struct daemon *d);
json_t *dsas_save(struct daemon *d);
json_t *dsas_dump(struct daemon *d);
/* accel-config's file, into devices that are there and disabled. */
int dsas_apply(struct daemon *d, const json_t *doc, struct vdpa_error *err);
/* New reference: list of {name, help, queues}. */
json_t *dsas_drivers(struct daemon *d);
/* dsa_enable(), after a plugin for a queue's driver was started, if that is not there. */
int dsas_enable(struct daemon *d, const char *path, struct vdpa_error *err);
/* The part of a configuration that is ours (NULL: none). */
int dsas_check(const json_t *list, struct vdpa_error *err);
int dsas_load(struct daemon *d, const json_t *list, struct vdpa_error *err);
/* Take back what it made: all of @list that is there. */
void dsas_unload(struct daemon *d, const json_t *list);
/* Delete all; they are gone when dsas_count() is 0. After the mediated devices. */
void dsas_end(struct daemon *d);
unsigned dsas_count(struct daemon *d);

#else

static inline json_t *dsas_dump(struct daemon *d)
{
	return NULL;
}
static inline int dsas_check(const json_t *list, struct vdpa_error *err)
{
	return list ? vdpa_error_set(err, EOPNOTSUPP, "$.dsas", "DSAs are not built in") : 0;
}
static inline int dsas_load(struct daemon *d, const json_t *list, struct vdpa_error *err)
{
	return 0;
}
static inline void dsas_unload(struct daemon *d, const json_t *list)
{
}
static inline void dsas_end(struct daemon *d)
{
}
static inline unsigned dsas_count(struct daemon *d)
{
	return 0;
}

#endif
#endif
