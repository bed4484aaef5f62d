// SPDX-License-Identifier: BSD-3-Clause
/* The tables of backends, and opening one by its name. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backend/backends.h"
#include "uvdpa-config.h"

static const struct blk_backend_ops *const blk_backends[] = {
	&blk_ram_ops,
#ifdef VDPA_HAVE_BLK_FILE
	&blk_file_ops,
#endif
	&blk_null_ops,
	NULL,
};

static const struct net_backend_ops *const net_backends[] = {
	&net_loopback_ops, &net_switch_ops, &net_tap_ops, &net_socket_ops,
	&net_packet_ops,   &net_null_ops,   NULL,
};

struct net_backend_shared *net_backend_shared_new(void)
{
	struct net_backend_shared *shared = calloc(1, sizeof(*shared));

	if (shared)
		list_init(&shared->switches);
	return shared;
}

void net_backend_shared_free(struct net_backend_shared *shared)
{
	if (!shared)
		return;
	net_switches_sweep(shared, true);
	free(shared);
}

const struct blk_backend_ops *const *blk_backend_list(void)
{
	return blk_backends;
}

const struct net_backend_ops *const *net_backend_list(void)
{
	return net_backends;
}

const struct blk_backend_ops *blk_backend_find(const char *name)
{
	for (unsigned i = 0; blk_backends[i]; i++)
		if (!strcmp(blk_backends[i]->name, name))
			return blk_backends[i];
	return NULL;
}

const struct net_backend_ops *net_backend_find(const char *name)
{
	for (unsigned i = 0; net_backends[i]; i++)
		if (!strcmp(net_backends[i]->name, name))
			return net_backends[i];
	return NULL;
}

/* "a, b, c" */
static void names_add(char *buf, size_t bytes, const char *name)
{
	size_t at = strlen(buf);

	snprintf(buf + at, bytes - at, "%s%s", at ? ", " : "", name);
}

int blk_backend_open(const char *name, const struct backend_open_params *params,
		     struct blk_backend **out, struct vdpa_error *err)
{
	const struct blk_backend_ops *ops = blk_backend_find(name);
	char names[128] = "";
	int r;

	if (!ops) {
		for (unsigned i = 0; blk_backends[i]; i++)
			names_add(names, sizeof(names), blk_backends[i]->name);
		return vdpa_error_set(err, ENOENT, params->name,
				      "there is no disk backend \"%s\"; backends are: %s", name,
				      names);
	}
	r = vdpa_attr_check(params->attrs, ops->attrs, params->name, err);
	return r ? r : ops->open(params, out, err);
}

int net_backend_open(const char *name, const struct backend_open_params *params,
		     struct net_backend **out, struct vdpa_error *err)
{
	const struct net_backend_ops *ops = net_backend_find(name);
	char names[128] = "";
	int r;

	if (!ops) {
		for (unsigned i = 0; net_backends[i]; i++)
			names_add(names, sizeof(names), net_backends[i]->name);
		return vdpa_error_set(err, ENOENT, params->name,
				      "there is no network backend \"%s\"; backends are: %s", name,
				      names);
	}
	r = vdpa_attr_check(params->attrs, ops->attrs, params->name, err);
	return r ? r : ops->open(params, out, err);
}
