// SPDX-License-Identifier: BSD-3-Clause
/* The context: what everything hangs off. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "vdpa/core.h"

/* Size-prefixed: what an older caller does not have is zero; what a newer one has and we do not
 * must be. */
static int ctx_config_copy(const struct vdpa_ctx_config *from, struct vdpa_ctx_config *to)
{
	memset(to, 0, sizeof(*to));
	if (!from)
		return 0;
	if (from->size < offsetof(struct vdpa_ctx_config, workers))
		return -EINVAL;
	for (size_t i = sizeof(*to); i < from->size; i++) {
		if (((const char *)from)[i])
			return -EINVAL;
	}
	memcpy(to, from, from->size < sizeof(*to) ? from->size : sizeof(*to));
	return 0;
}

int vdpa_ctx_new(const struct vdpa_ctx_config *config, struct vdpa_ctx **out)
{
	struct vdpa_ctx_config c;
	struct vdpa_ctx *ctx;
	int ret;

	ret = ctx_config_copy(config, &c);
	if (ret)
		return ret;
	ctx = calloc(1, sizeof(*ctx));
	if (!ctx)
		return -ENOMEM;
	ctx->log = c.log;
	list_init(&ctx->devices);
	for (unsigned i = 0; i < VDPA_NAME_BUCKETS; i++)
		list_init(&ctx->names[i]);
	list_init(&ctx->drivers);
	list_init(&ctx->mgmtdevs);
	list_init(&ctx->data);
	ret = vdpa_loop_group_new(c.workers, &ctx->loops);
	if (ret) {
		free(ctx);
		return ret;
	}
	*out = ctx;
	return 0;
}

static void ctx_data_free(struct vdpa_ctx *ctx)
{
	struct list *node;

	while ((node = list_pop(&ctx->data))) {
		struct vdpa_ctx_datum *d = list_entry(node, struct vdpa_ctx_datum, node);

		if (d->free)
			d->free(d->data);
		free(d);
	}
}

int vdpa_ctx_set_data(struct vdpa_ctx *ctx, const void *key, void *data,
		      void (*free_fn)(void *data))
{
	struct vdpa_ctx_datum *d;

	if (vdpa_ctx_get_data(ctx, key))
		return -EEXIST;
	d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->key = key;
	d->data = data;
	d->free = free_fn;
	list_add_tail(&ctx->data, &d->node);
	return 0;
}

void *vdpa_ctx_get_data(struct vdpa_ctx *ctx, const void *key)
{
	struct vdpa_ctx_datum *d;

	list_for_each_entry (d, &ctx->data, node) {
		if (d->key == key)
			return d->data;
	}
	return NULL;
}

int vdpa_ctx_free(struct vdpa_ctx *ctx)
{
	struct list *node;

	if (!ctx)
		return 0;
	if (ctx->alive)
		return -EBUSY;
	while ((node = list_pop(&ctx->drivers)))
		free(list_entry(node, struct vdpa_driver_entry, node));
	while ((node = list_pop(&ctx->mgmtdevs))) {
		struct vdpa_mgmt_core *core = list_entry(node, struct vdpa_mgmt_core, node);

		core->mdev->ctx = NULL;
		core->mdev->reserved[0] = NULL;
		if (core->mdev->release)
			core->mdev->release(core->mdev);
		free(core);
	}
	ctx_data_free(ctx);
	vdpa_loop_group_free(ctx->loops);
	vdpa_ids_fini(&ctx->ids);
	free(ctx);
	return 0;
}

void vdpa_ctx_hold(struct vdpa_ctx *ctx)
{
	ctx->alive++;
}

void vdpa_ctx_release(struct vdpa_ctx *ctx)
{
	ctx->alive--;
}

struct vdpa_loop_group *vdpa_ctx_loops(struct vdpa_ctx *ctx)
{
	return ctx->loops;
}

struct vdpa_loop *vdpa_ctx_control(struct vdpa_ctx *ctx)
{
	return vdpa_loop_group_control(ctx->loops);
}

const struct vdpa_log *vdpa_ctx_log(struct vdpa_ctx *ctx)
{
	return &ctx->log;
}

int vdpa_ctx_wait(struct vdpa_ctx *ctx, const bool *flag, int64_t timeout_ns)
{
	struct vdpa_loop *loop = vdpa_ctx_control(ctx);
	uint64_t start = vdpa_clock_ns();

	while (!*flag) {
		int64_t left = -1;
		int ret;

		if (timeout_ns >= 0) {
			uint64_t passed = vdpa_clock_ns() - start;

			if (passed > (uint64_t)timeout_ns)
				return -ETIMEDOUT;
			left = timeout_ns - (int64_t)passed;
		}
		ret = vdpa_loop_run_once(loop, left);
		if (ret < 0)
			return ret;
		if (!ret && !left)
			return *flag ? 0 : -ETIMEDOUT;
	}
	return 0;
}
