// SPDX-License-Identifier: BSD-3-Clause
/* The bus drivers of a context. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "vdpa/core.h"
#include "vdpa/name_list.h"

struct vdpa_driver_entry *vdpa_driver_entry_find(struct vdpa_ctx *ctx, const char *name)
{
	struct vdpa_driver_entry *entry;

	if (!name)
		return NULL;
	list_for_each_entry (entry, &ctx->drivers, node) {
		if (!strcmp(entry->drv->name, name))
			return entry;
	}
	return NULL;
}

int vdpa_register_driver(struct vdpa_ctx *ctx, const struct vdpa_driver *drv)
{
	struct vdpa_driver_entry *entry;

	assert(vdpa_loop_is_current(vdpa_ctx_control(ctx)));
	if (!drv->name || !vdpa_name_valid(drv->name) || !drv->probe || !drv->remove)
		return -EINVAL;
	if (vdpa_driver_entry_find(ctx, drv->name))
		return -EEXIST;
	entry = calloc(1, sizeof(*entry));
	if (!entry)
		return -ENOMEM;
	entry->drv = drv;
	list_add_tail(&ctx->drivers, &entry->node);
	vdpa_driver_attach(ctx, entry);
	return 0;
}

int vdpa_unregister_driver(struct vdpa_ctx *ctx, const struct vdpa_driver *drv)
{
	struct vdpa_driver_entry *entry = vdpa_driver_entry_find(ctx, drv->name);

	assert(vdpa_loop_is_current(vdpa_ctx_control(ctx)));
	if (!entry || entry->drv != drv)
		return -ENOENT;
	if (entry->users)
		return -EBUSY;
	walk_list_remove(ctx->walks, &entry->node);
	free(entry);
	return 0;
}

const struct vdpa_driver *vdpa_find_driver(struct vdpa_ctx *ctx, const char *name)
{
	struct vdpa_driver_entry *entry = vdpa_driver_entry_find(ctx, name);

	return entry ? entry->drv : NULL;
}

void vdpa_for_each_driver(struct vdpa_ctx *ctx,
			  bool (*fn)(void *arg, const struct vdpa_driver *drv), void *arg)
{
	struct walk walk;
	bool more = true;

	walk_begin(&ctx->walks, &walk, ctx->drivers.next);
	while (more && walk.next != &ctx->drivers) {
		struct list *node = walk.next;

		walk.next = node->next;
		more = fn(arg, list_entry(node, struct vdpa_driver_entry, node)->drv);
	}
	walk_end(&ctx->walks, &walk);
}
