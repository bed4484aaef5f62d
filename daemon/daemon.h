/* SPDX-License-Identifier: BSD-3-Clause */
/* The daemon: one context, one control socket, and what the handlers share. Control thread only. */
#ifndef DAEMON_DAEMON_H
#define DAEMON_DAEMON_H

#include <jansson.h>
#include <uvdpa/mdev.h>
#include "ctl/listen.h"
#include "logring.h"
#include "options.h"

struct server;
struct sysfs;
struct plugins;

struct daemon {
	struct options opt;
	struct vdpa_ctx *ctx;
	struct vdpa_loop *loop;
	struct server *server;
	struct logring log;
	struct ctl_listen listen;
	struct vdpa_subscriber events;
	struct mdev_subscriber mdev_events;
	json_t *mdev_defs; /* by UUID: mdevs.h */
	json_t *mdev_auto; /* of them, what the folder had: "auto" or "manual" */
	struct vdpa_loop_fd signals;
	struct plugins *plugins; /* NULL: none */
	struct sysfs *sysfs;	 /* NULL: none is mounted */
	uint64_t event_seq;
	uint64_t started_ns;
	unsigned calls; /* under way */
	unsigned quits; /* how often we were asked to end */
	int result;	/* of the whole program */
	char *vduse;	/* where device processes find us; NULL: nowhere */
};

/* End the main loop. */
void daemon_quit(struct daemon *d);
static inline bool daemon_is_ending(const struct daemon *d)
{
	return d->quits != 0;
}

#endif
