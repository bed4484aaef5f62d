/* SPDX-License-Identifier: BSD-3-Clause */
/* Plugins (uvdpa/plugin.h). */
#ifndef DAEMON_PLUGINS_H
#define DAEMON_PLUGINS_H

#include "daemon.h"

/* Look at those in d->opt.plugin_dir. One that cannot be used is logged, and left out. 0 or -errno
 * with @err: the folder. */
int plugins_init(struct daemon *d, struct vdpa_error *err);
/* Start those that are for @modalias: how many were started. */
unsigned plugins_request(struct daemon *d, const char *modalias);
/* After the context was freed. */
void plugins_fini(struct daemon *d);
/* New reference: [{name, path, aliases, started}]. */
json_t *plugins_describe(struct daemon *d);

#endif
