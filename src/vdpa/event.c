// SPDX-License-Identifier: BSD-3-Clause
/* Events. Subscribers may come and go inside a callback; one that comes hears of the next event
 * first. */
#include "vdpa/core.h"

void vdpa_subscribe(struct vdpa_ctx *ctx, struct vdpa_subscriber *sub)
{
	sub->next = ctx->subscribers;
	ctx->subscribers = sub;
}

void vdpa_unsubscribe(struct vdpa_ctx *ctx, struct vdpa_subscriber *sub)
{
	struct vdpa_subscriber **at;

	for (at = &ctx->subscribers; *at; at = &(*at)->next) {
		if (*at != sub)
			continue;
		walk_skip(ctx->walks, sub, sub->next);
		*at = sub->next;
		sub->next = NULL;
		return;
	}
}

void vdpa_notify(struct vdpa_device *vdev, enum vdpa_event_type type, const char *detail)
{
	const struct vdpa_event event = {
		.type = type,
		.vdev = vdev,
		.detail = detail ? detail : "",
	};
	struct vdpa_ctx *ctx = vdev->ctx;
	struct vdpa_subscriber *sub;
	struct walk walk;

	/* Of what nobody can see nobody is told. */
	if (vdev->core->state == VDPA_DEV_NEW)
		return;
	if (vdev->core->state == VDPA_DEV_GONE && type != VDPA_EVENT_DEL)
		return;
	vdpa_get_device(vdev);
	walk_begin(&ctx->walks, &walk, ctx->subscribers);
	while ((sub = walk.next)) {
		walk.next = sub->next;
		sub->fn(sub, &event);
	}
	walk_end(&ctx->walks, &walk);
	vdpa_put_device(vdev);
}
