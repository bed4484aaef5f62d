// SPDX-License-Identifier: BSD-3-Clause
/*
 * The driver's memory, handed to the process as the files that it lies in, without a copy. What is
 * mapped only to be read goes as a descriptor that cannot write.
 *
 * A range that is taken away is no longer handed out at once; the process is told to let go of what
 * it has of it, and the removal is complete when it has said so, or is gone. It cannot be forced:
 * who does not trust a process with the driver's memory isolates it.
 *
 * Who attacks: the process, by addresses.
 */
#include "parent/vduse/vduse.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int vdu_map(struct vdu_dev *d, unsigned asid, struct vhost_iotlb_map *map)
{
	int ret;

	if (vdpa_region_fd(map->opaque, NULL) < 0)
		return -EOPNOTSUPP;
	ret = vhost_iotlb_add_range_ctx(&d->as[asid], map->start, map->last, map->addr, map->perm,
					map->opaque);
	if (ret)
		return ret;
	vdpa_region_get(map->opaque);
	vdu_rfc3_mapped(d);
	return 0;
}

static void put_region(void *arg, const struct vhost_iotlb_map *map)
{
	vdpa_region_put(map->opaque);
}

void vdu_map_clear(struct vdu_dev *d)
{
	for (uint32_t i = 0; i < d->nas; i++) {
		vhost_iotlb_del_range(&d->as[i], 0, UINT64_MAX, put_region, NULL);
		vhost_iotlb_reset(&d->as[i]);
	}
}

static void unmap_answered(struct vdu_msg *msg, const struct vdu_answer *a, int result)
{
	struct vdu_dev *d = msg->d;

	/* A process that is cut off uses nothing any more. */
	if (a && result)
		vdu_break(d, result, "its process does not let go of memory");
	vdpa_done_call(&msg->then, 0);
}

int vdu_unmap(struct vdu_dev *d, unsigned asid, iova_t iova, iova_t last,
	      const struct vdpa_done *done)
{
	struct vdu_msg *msg = NULL;
	int ret;

	if (d->conn && d->granted) {
		msg = vdu_msg_new(d, VDU_UPDATE_IOTLB, unmap_answered);
		if (!msg)
			return -ENOMEM;
	}
	ret = vhost_iotlb_del_range(&d->as[asid], iova, last, put_region, NULL);
	if (ret <= 0 || !msg) {
		free(msg);
		return ret < 0 ? ret : vdu_done(d, done);
	}
	msg->then = done ? *done : (struct vdpa_done){0};
	msg->iova.start = iova;
	msg->iova.last = last;
	msg->iova.asid = d->api ? asid : 0;
	vdu_send(msg);
	return 0;
}

/* ---- what the process asks for ---- */

static int dup_for(int fd, uint32_t perm)
{
	char path[64];
	int copy;

	if (perm & VHOST_MAP_WO)
		return vdpa_fd_dup(fd);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	copy = open(path, O_RDONLY | O_CLOEXEC);
	return copy < 0 ? -EACCES : copy;
}

int vdu_map_fd(struct vdu_dev *d, struct vduse_iotlb_entry *entry)
{
	const struct vhost_iotlb_map *map =
		vhost_iotlb_itree_first(&d->as[entry->asid], entry->start, entry->last);
	uint64_t offset;
	int fd;

	if (!map)
		return -EINVAL;
	fd = vdpa_region_fd(map->opaque, &offset);
	entry->start = map->start;
	entry->last = map->last;
	entry->perm = (uint8_t)map->perm;
	entry->offset = offset + (map->addr - vdpa_region_addr(map->opaque, 0));
	return dup_for(fd, map->perm);
}

int vdu_map_info(struct vdu_dev *d, struct vduse_iova_info *info)
{
	const struct vhost_iotlb_map *map =
		vhost_iotlb_itree_first(&d->as[info->asid], info->start, info->last);

	if (!map)
		return -EINVAL;
	info->start = map->start;
	info->last = map->last;
	info->capability = 0;
	return 0;
}

/* ---- our own look ---- */

int vdu_map_read(struct vdu_dev *d, unsigned asid, iova_t iova, void *buf, size_t len)
{
	const struct vhost_iotlb_map *map;

	if (len - 1 > UINT64_MAX - iova)
		return -EFAULT;
	map = vhost_iotlb_itree_first(&d->as[asid], iova, iova);
	if (!map || map->last - iova < len - 1 || !vdpa_region_base(map->opaque))
		return -EFAULT;
	memcpy(buf, (const void *)(uintptr_t)(map->addr + (iova - map->start)), len);
	return 0;
}
