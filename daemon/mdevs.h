/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Mediated devices, for requests and for configurations: those that are there, and those that are
 * defined, which is what mdevctl calls a device that is to be made again. A definition is a file of
 * mdevctl's when there is a folder for them (--mdev-dir), FOLDER/PARENT/UUID:
 *
 *	{ "mdev_type": "mtty-1", "start": "auto", "attrs": [ { "KEY": "VALUE" }, ... ] }
 */
#ifndef DAEMON_MDEVS_H
#define DAEMON_MDEVS_H

#include <errno.h>
#include <uvdpa/mdev.h>
#include "devs.h"
#include "uvdpa-config.h"

/* What a request, a definition or a configuration says of one. @parent NULL: the one parent that
 * has the type. */
struct mdev_wish {
	const char *uuid, *parent, *type;
	const json_t *attrs; /* object; NULL: none */
	const char *driver;  /* of the mediated device; NULL: those that take it by themselves */
	const json_t *driver_attrs;
};

#ifdef VDPA_HAVE_MDEV

/* For mdevs_init(): hear of events. */
int mdevs_subscribe(struct daemon *d);
/* Folders and subscription, as the options say. Before the configuration is loaded. */
int mdevs_init(struct daemon *d, struct vdpa_error *err);
/* Make those that are defined to start by themselves. Failures are logged. */
void mdevs_autostart(struct daemon *d);
void mdevs_fini(struct daemon *d);
/* Begin to remove all. */
void mdevs_end(struct daemon *d);
unsigned mdevs_count(struct daemon *d);

int mdevs_create(struct daemon *d, const struct mdev_wish *wish, struct vdpa_error *err);
/* NULL with @err that lists what there is. */
struct mdev_device *mdevs_find(struct daemon *d, const char *uuid, struct vdpa_error *err);
/* Change attributes. */
int mdevs_set(struct mdev_device *mdev, const json_t *attrs, struct vdpa_error *err);

/* Definitions: {"uuid", "parent", "mdev_type", "start", "attrs": {}}. */
/* Others may have changed the folder of definitions: before who asks for one. */
void mdevs_reread(struct daemon *d);
int mdevs_define(struct daemon *d, const json_t *def, struct vdpa_error *err);
int mdevs_undefine(struct daemon *d, const char *uuid, struct vdpa_error *err);
/* Borrowed; NULL: it is not defined. */
const json_t *mdevs_definition(struct daemon *d, const char *uuid);
int mdevs_start(struct daemon *d, const char *uuid, struct vdpa_error *err);

/* New references. */
json_t *mdevs_describe(struct mdev_device *mdev);
/* NULL: there is nothing. */
json_t *mdevs_dump(struct daemon *d);
/*
 * The part of a configuration that is ours (NULL: none); all or none. After an error @done is
 * called, maybe before this returns, when what was made is gone.
 */
int mdevs_check(const json_t *list, struct vdpa_error *err);
int mdevs_load(struct daemon *d, const json_t *list, const struct vdpa_done *done,
	       struct vdpa_error *err);

#else

static inline int mdevs_init(struct daemon *d, struct vdpa_error *err)
{
	return 0;
}
static inline void mdevs_autostart(struct daemon *d)
{
}
static inline void mdevs_fini(struct daemon *d)
{
}
static inline void mdevs_end(struct daemon *d)
{
}
static inline unsigned mdevs_count(struct daemon *d)
{
	return 0;
}
static inline json_t *mdevs_dump(struct daemon *d)
{
	return NULL;
}
static inline int mdevs_check(const json_t *list, struct vdpa_error *err)
{
	return list ? vdpa_error_set(err, EOPNOTSUPP, "$.mdevs",
				     "mediated devices are not built in")
		    : 0;
}
static inline int mdevs_load(struct daemon *d, const json_t *list, const struct vdpa_done *done,
			     struct vdpa_error *err)
{
	return 0;
}

#endif
#endif
