// SPDX-License-Identifier: BSD-3-Clause
/*
 * Which pages of the client's memory were written. The device logs in 4 KiB pages into one log that
 * begins at address 0; reports are of any page size that is a multiple, and clear what they tell.
 * How high an address can be is limited by what the log costs: a bit for each page, of which only
 * what is used takes memory.
 */
#include "vfio_user/server.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#define LOG_LIMIT (1ull << 44) /* 512 MiB of address space at most */

/* Everything that is mapped; more may be mapped later, in the holes. */
static void walk(const void *node, VISIT which, void *arg)
{
	const struct vfu_map *m = *(struct vfu_map *const *)node;
	uint64_t *end = arg;

	if ((which == postorder || which == leaf) && m->iova + m->size > *end)
		*end = m->iova + m->size;
}

/* Where the highest range ends; 0: they cannot be. */
static uint64_t ranges_end(const struct vfu_msg *msg, const struct vfu_log_control *c)
{
	const uint8_t *at = msg->data + sizeof(struct vfu_feature) + sizeof(*c);
	size_t room = msg->len - sizeof(struct vfu_feature) - sizeof(*c);
	uint64_t end = 1;

	if (c->num_ranges > room / sizeof(struct vfu_log_range))
		return 0;
	for (uint32_t i = 0; i < c->num_ranges; i++) {
		struct vfu_log_range r;

		memcpy(&r, at + i * sizeof(r), sizeof(r));
		if (!r.length || r.iova + r.length < r.iova)
			return 0;
		if (r.iova + r.length > end)
			end = r.iova + r.length;
	}
	return end;
}

static int started(struct vfio_user_server *srv, int result)
{
	if (result)
		vfu_dirty_forget(srv);
	return result;
}

int vfu_dirty_start(struct vfio_user_server *srv, struct vfu_msg *msg)
{
	struct vdpa_done done = vfu_device_done(srv);
	struct vfu_log_control c;
	uint64_t end;
	int r;

	memcpy(&c, msg->data + sizeof(struct vfu_feature), sizeof(c));
	end = ranges_end(msg, &c);
	if (srv->dirty || !end)
		return srv->dirty ? -EBUSY : -EINVAL;
	if (!c.num_ranges)
		twalk_r(srv->maps, walk, &end);
	if (end > LOG_LIMIT)
		return -E2BIG;
	if (!vfu_reply(srv, msg->len))
		return -ENOMEM;
	c.page_size = VDPA_DIRTY_PAGE_BYTES;
	memcpy(srv->cmd.reply, msg->data, msg->len);
	memcpy((char *)srv->cmd.reply + sizeof(struct vfu_feature), &c, sizeof(c));
	r = vdpa_dirty_log_new(end, &srv->dirty);
	if (r)
		return r;
	srv->cmd.then = started;
	r = srv->ops->dirty_log(srv->arg, srv->dirty, &done);
	if (r)
		vfu_dirty_forget(srv);
	return vfu_later(r);
}

void vfu_dirty_forget(struct vfio_user_server *srv)
{
	vdpa_dirty_log_put(srv->dirty);
	srv->dirty = NULL;
}

static int stopped(struct vfio_user_server *srv, int result)
{
	if (!result)
		vfu_dirty_forget(srv);
	return result;
}

int vfu_dirty_stop(struct vfio_user_server *srv, struct vfu_msg *msg)
{
	struct vdpa_done done = vfu_device_done(srv);

	if (!srv->dirty)
		return -EINVAL;
	if (!vfu_reply(srv, msg->len))
		return -ENOMEM;
	memcpy(srv->cmd.reply, msg->data, msg->len);
	srv->cmd.then = stopped;
	return vfu_later(srv->ops->dirty_log(srv->arg, NULL, &done));
}

/* Bits of 4 KiB pages become bits of larger ones. */
static void fold(uint64_t *to, const uint64_t *from, uint64_t npages, uint64_t per)
{
	for (uint64_t i = 0; i < npages; i++) {
		uint64_t page = i / per;

		if (from[i / 64] >> (i % 64) & 1)
			to[page / 64] |= 1ull << (page % 64);
	}
}

static int check_report(const struct vfu_log_report *q)
{
	uint64_t page = q->page_size;

	if (page < VDPA_DIRTY_PAGE_BYTES || page & (page - 1) || !q->length ||
	    q->iova + q->length < q->iova || q->iova % page || q->length % page)
		return -EINVAL;
	/* The answer is one message. */
	return q->length / VDPA_DIRTY_PAGE_BYTES / 8 > VFU_XFER_MAX ? -E2BIG : 0;
}

int vfu_dirty_report(struct vfio_user_server *srv, struct vfu_msg *msg)
{
	struct vfu_log_report q;
	void *reply;
	uint64_t npages, words, *bits;
	size_t bytes;
	int r;

	memcpy(&q, msg->data + sizeof(struct vfu_feature), sizeof(q));
	r = srv->dirty ? check_report(&q) : -EINVAL;
	if (r)
		return r;
	npages = q.length / VDPA_DIRTY_PAGE_BYTES;
	words = (npages + 63) / 64;
	bytes = (size_t)((q.length / q.page_size + 63) / 64 * 8);
	bits = calloc(words, sizeof(*bits));
	reply = bits ? vfu_reply(srv, sizeof(struct vfu_feature) + sizeof(q) + bytes) : NULL;
	if (!reply) {
		free(bits);
		return -ENOMEM;
	}
	memcpy(reply, msg->data, sizeof(struct vfu_feature) + sizeof(q));
	((struct vfu_feature *)reply)->argsz = (uint32_t)srv->cmd.reply_len;
	r = vdpa_dirty_log_sync(srv->dirty, q.iova, npages, bits, true);
	if (!r)
		fold((uint64_t *)(void *)((char *)reply + sizeof(struct vfu_feature) + sizeof(q)),
		     bits, npages, q.page_size / VDPA_DIRTY_PAGE_BYTES);
	free(bits);
	return r;
}
