// SPDX-License-Identifier: BSD-3-Clause
/*
 * What the device is. argsz of a question is how much the client has room for; an answer that needs
 * more is cut to its fixed part, and says how much it needs.
 */
#include "vfio_user/server.h"

#include <errno.h>
#include <string.h>

int vfu_get_info(struct vfio_user_server *srv, struct vfu_msg *msg)
{
	struct vfu_device_info q, *info;

	memcpy(&q, msg->data, sizeof(q));
	if (q.argsz < sizeof(q))
		return -EINVAL;
	info = vfu_reply(srv, sizeof(*info));
	if (!info)
		return -ENOMEM;
	info->argsz = sizeof(*info);
	info->flags = srv->config.flags | (srv->ops->reset ? VFIO_DEVICE_FLAGS_RESET : 0);
	info->num_regions = srv->config.nregions;
	info->num_irqs = srv->config.nirqs;
	return 0;
}

/* ---- regions ---- */

static void put_areas(struct vfio_region_info *info, const struct vfio_user_region *region)
{
	struct vfio_region_info_cap_sparse_mmap *cap = (void *)(info + 1);

	info->flags |= VFIO_REGION_INFO_FLAG_CAPS;
	info->cap_offset = sizeof(*info);
	cap->header.id = VFIO_REGION_INFO_CAP_SPARSE_MMAP;
	cap->header.version = 1;
	cap->nr_areas = region->nareas;
	for (unsigned i = 0; i < region->nareas; i++) {
		cap->areas[i].offset = region->areas[i].offset;
		cap->areas[i].size = region->areas[i].size;
	}
}

int vfu_get_region_info(struct vfio_user_server *srv, struct vfu_msg *msg)
{
	const struct vfio_user_region *region;
	struct vfio_region_info q, *info;
	size_t need = sizeof(q);
	bool fits;

	memcpy(&q, msg->data, sizeof(q));
	if (q.argsz < sizeof(q) || q.index >= srv->config.nregions)
		return -EINVAL;
	region = &srv->regions[q.index];
	if (region->nareas)
		need += sizeof(struct vfio_region_info_cap_sparse_mmap) +
			region->nareas * sizeof(struct vfio_region_sparse_mmap_area);
	fits = q.argsz >= need;
	info = vfu_reply(srv, fits ? need : sizeof(q));
	if (!info)
		return -ENOMEM;
	info->argsz = (uint32_t)need;
	info->index = q.index;
	info->size = region->size;
	info->flags = region->flags;
	if (!(region->flags & VFIO_REGION_INFO_FLAG_MMAP))
		return 0;
	info->offset = region->fd_offset;
	if (fits && region->nareas)
		put_areas(info, region);
	srv->cmd.fds[srv->cmd.nfds++] = region->fd;
	return 0;
}

/* Descriptors may be shared: the number of @fd among those of the reply. */
static int fd_index(struct vfu_cmd_state *cmd, unsigned max, int fd)
{
	for (unsigned i = 0; i < cmd->nfds; i++) {
		if (cmd->fds[i] == fd)
			return (int)i;
	}
	if (cmd->nfds == max)
		return -1;
	cmd->fds[cmd->nfds] = fd;
	return (int)cmd->nfds++;
}

#define IOEVENTFDS_MAX 256

/* Those whose descriptors fit into one message; a client that takes few asks with messages. */
static unsigned put_ioeventfds(struct vfio_user_server *srv, struct vfu_ioeventfd *out,
			       const struct vfio_user_ioeventfd *in, unsigned n)
{
	unsigned done = 0;

	for (unsigned i = 0; i < n; i++) {
		int at = fd_index(&srv->cmd, srv->peer_fds, in[i].fd);

		if (at < 0)
			continue;
		out[done++] = (struct vfu_ioeventfd){
			.offset = in[i].offset,
			.size = in[i].size,
			.fd_index = (uint32_t)at,
			.type = VFU_IO_FD_IOEVENTFD,
			.flags = in[i].match ? VFU_IOEVENTFD_F_DATAMATCH : 0,
			.datamatch = in[i].datamatch,
		};
	}
	return done;
}

int vfu_get_region_io_fds(struct vfio_user_server *srv, struct vfu_msg *msg)
{
	struct vfio_user_ioeventfd list[IOEVENTFDS_MAX];
	struct vfu_ioeventfd out[IOEVENTFDS_MAX];
	struct vfu_io_fds q, *reply;
	unsigned n = 0;
	size_t need;

	memcpy(&q, msg->data, sizeof(q));
	if (q.argsz < sizeof(q) || q.flags || q.index >= srv->config.nregions)
		return -EINVAL;
	if (srv->ops->region_ioeventfds)
		n = srv->ops->region_ioeventfds(srv->arg, q.index, list, IOEVENTFDS_MAX);
	n = put_ioeventfds(srv, out, list, n);
	need = sizeof(q) + n * sizeof(out[0]);
	if (q.argsz < need)
		srv->cmd.nfds = 0;
	reply = vfu_reply(srv, q.argsz < need ? sizeof(q) : need);
	if (!reply)
		return -ENOMEM;
	*reply = (struct vfu_io_fds){.argsz = (uint32_t)need, .index = q.index, .count = n};
	if (q.argsz >= need)
		memcpy(reply + 1, out, n * sizeof(out[0]));
	return 0;
}

/* ---- interrupts ---- */

int vfu_get_irq_info(struct vfio_user_server *srv, struct vfu_msg *msg)
{
	struct vfio_irq_info q, *info;

	memcpy(&q, msg->data, sizeof(q));
	if (q.argsz < sizeof(q) || q.index >= srv->config.nirqs)
		return -EINVAL;
	info = vfu_reply(srv, sizeof(*info));
	if (!info)
		return -ENOMEM;
	info->argsz = sizeof(*info);
	info->index = q.index;
	info->flags = srv->irqs[q.index].info.flags;
	info->count = srv->irqs[q.index].info.count;
	return 0;
}
