// SPDX-License-Identifier: BSD-3-Clause
/* Reading and writing regions, and the reset. The device never sees an access beyond a region. */
#include "vfio_user/server.h"

#include <errno.h>
#include <string.h>

static int check(const struct vfio_user_server *srv, const struct vfu_access *a, uint32_t flag)
{
	const struct vfio_user_region *region;

	if (a->region >= srv->config.nregions || !a->count || a->count > VFU_XFER_MAX)
		return -EINVAL;
	region = &srv->regions[a->region];
	if (a->offset > region->size || a->count > region->size - a->offset)
		return -EINVAL;
	return region->flags & flag ? 0 : -EACCES;
}

int vfu_region_read(struct vfio_user_server *srv, struct vfu_msg *msg)
{
	struct vdpa_done done = vfu_device_done(srv);
	struct vfu_access a, *reply;
	int r;

	vfu_count(srv->reads);
	memcpy(&a, msg->data, sizeof(a));
	r = check(srv, &a, VFIO_REGION_INFO_FLAG_READ);
	if (!r && a.count > srv->peer_xfer)
		r = -EINVAL;
	if (r)
		return r;
	reply = vfu_reply(srv, sizeof(a) + a.count);
	if (!reply)
		return -ENOMEM;
	*reply = a;
	return vfu_later(
		srv->ops->region_read(srv->arg, a.region, a.offset, reply + 1, a.count, &done));
}

int vfu_region_write(struct vfio_user_server *srv, struct vfu_msg *msg)
{
	struct vdpa_done done = vfu_device_done(srv);
	struct vfu_access a;
	int r;

	vfu_count(srv->writes);
	if (msg->head.flags & VFU_F_NO_REPLY)
		vfu_count(srv->posted);
	memcpy(&a, msg->data, sizeof(a));
	r = check(srv, &a, VFIO_REGION_INFO_FLAG_WRITE);
	if (!r && msg->len != sizeof(a) + a.count)
		r = -EINVAL;
	if (!r && !vfu_reply(srv, sizeof(a)))
		r = -ENOMEM;
	if (r)
		return r;
	memcpy(srv->cmd.reply, &a, sizeof(a));
	return vfu_later(srv->ops->region_write(srv->arg, a.region, a.offset, msg->data + sizeof(a),
						a.count, &done));
}

/* Several short writes, in their order; the first that fails ends it. */
static int next_write(struct vfio_user_server *srv, int result)
{
	const struct vfu_msg *msg = srv->cmd.msg;
	struct vdpa_done done = vfu_device_done(srv);
	uint64_t count, i = srv->cmd.at;
	struct vfu_write_one w;
	struct vfu_access a;
	const uint8_t *from;
	int r;

	if (result)
		return result;
	memcpy(&count, msg->data, sizeof(count));
	if (i == count)
		return 0;
	from = msg->data + sizeof(count) + i * sizeof(w);
	memcpy(&w, from, sizeof(w));
	a = (struct vfu_access){w.offset, w.region, w.count};
	r = check(srv, &a, VFIO_REGION_INFO_FLAG_WRITE);
	if (r || w.count > sizeof(w.data))
		return r ? r : -EINVAL;
	srv->cmd.at++;
	vfu_count(srv->writes);
	return vfu_later(srv->ops->region_write(srv->arg, w.region, w.offset,
						from + offsetof(struct vfu_write_one, data),
						w.count, &done));
}

int vfu_region_write_multi(struct vfio_user_server *srv, struct vfu_msg *msg)
{
	uint64_t count;

	memcpy(&count, msg->data, sizeof(count));
	if (count > (msg->len - sizeof(count)) / sizeof(struct vfu_write_one) ||
	    msg->len != sizeof(count) + count * sizeof(struct vfu_write_one))
		return -EINVAL;
	if (!vfu_reply(srv, sizeof(count)))
		return -ENOMEM;
	memcpy(srv->cmd.reply, &count, sizeof(count));
	if (msg->head.flags & VFU_F_NO_REPLY)
		vfu_count(srv->posted);
	srv->cmd.then = next_write;
	return next_write(srv, 0);
}

/* VFIO: a device that was reset runs. */
static int was_reset(struct vfio_user_server *srv, int result)
{
	if (!result)
		srv->mig_state = VFIO_USER_MIG_RUNNING;
	return result;
}

int vfu_reset(struct vfio_user_server *srv, struct vfu_msg *msg)
{
	struct vdpa_done done = vfu_device_done(srv);

	if (!srv->ops->reset)
		return -ENOTSUP;
	srv->cmd.then = was_reset;
	return vfu_later(srv->ops->reset(srv->arg, &done));
}
