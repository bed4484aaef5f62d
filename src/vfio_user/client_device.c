// SPDX-License-Identifier: BSD-3-Clause
/* The client's end: what it asks the device for. See client.c for who attacks. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vfio_user/client.h"

static int broken(struct vfio_user_client *c)
{
	vfu_conn_close(c->conn, -EPROTO);
	return -EPROTO;
}

int vfio_user_get_info(struct vfio_user_client *c, struct vfio_user_device_info *info)
{
	struct vfu_device_info q = {.argsz = sizeof(q)}, reply;
	struct vfu_client_call call = {
		.cmd = VFU_DEVICE_GET_INFO,
		.iov = {{&q, sizeof(q)}},
		.niov = 1,
		.reply = &reply,
		.reply_min = sizeof(reply),
		.reply_max = sizeof(reply),
	};
	int r = vfu_client_call(c, &call);

	if (!r)
		*info = (struct vfio_user_device_info){
			.flags = reply.flags,
			.nregions = reply.num_regions,
			.nirqs = reply.num_irqs,
		};
	return r;
}

/* ---- regions ---- */

#define REGION_REPLY_MAX                                                                           \
	(sizeof(struct vfio_region_info) + sizeof(struct vfio_region_info_cap_sparse_mmap) +       \
	 VFIO_USER_AREAS_MAX * sizeof(struct vfio_region_sparse_mmap_area) + 256)

/* Areas of the answer, or -EPROTO: the list of capabilities must lie in it, and end. */
static int take_areas(const uint8_t *reply, size_t len, const struct vfio_region_info *head,
		      struct vfio_user_region_info *info)
{
	struct vfio_region_info_cap_sparse_mmap cap;
	uint32_t at = head->cap_offset;

	for (unsigned i = 0; at; i++, at = cap.header.next) {
		if (i == 16 || at < sizeof(*head) || at > len || len - at < sizeof(cap.header))
			return -EPROTO;
		memcpy(&cap.header, reply + at, sizeof(cap.header));
		if (cap.header.id == VFIO_REGION_INFO_CAP_SPARSE_MMAP)
			break;
	}
	if (!at)
		return 0;
	if (len - at < sizeof(cap))
		return -EPROTO;
	memcpy(&cap, reply + at, sizeof(cap));
	if (cap.nr_areas > VFIO_USER_AREAS_MAX ||
	    cap.nr_areas > (len - at - sizeof(cap)) / sizeof(cap.areas[0]))
		return -EPROTO;
	info->nareas = cap.nr_areas;
	memcpy(info->areas, reply + at + sizeof(cap), info->nareas * sizeof(info->areas[0]));
	for (unsigned i = 0; i < info->nareas; i++) {
		const struct vfio_user_area *a = &info->areas[i];

		if (a->offset > head->size || a->size > head->size - a->offset)
			return -EPROTO;
	}
	return 0;
}

static int take_region(const uint8_t *reply, size_t len, unsigned region, struct vdpa_fds *fds,
		       struct vfio_user_region_info *info)
{
	struct vfio_region_info head;

	memcpy(&head, reply, sizeof(head));
	if (head.index != region || head.argsz > REGION_REPLY_MAX || fds->n > 1 ||
	    fds->n != !!(head.flags & VFIO_REGION_INFO_FLAG_MMAP))
		return -EPROTO;
	info->size = head.size;
	info->flags = head.flags;
	info->fd_offset = head.offset;
	if (head.flags & VFIO_REGION_INFO_FLAG_CAPS && take_areas(reply, len, &head, info))
		return -EPROTO;
	info->fd = vdpa_fds_take(fds, 0);
	return 0;
}

int vfio_user_get_region(struct vfio_user_client *c, unsigned region,
			 struct vfio_user_region_info *info)
{
	struct vfio_region_info q = {.argsz = REGION_REPLY_MAX, .index = region};
	uint8_t reply[REGION_REPLY_MAX];
	struct vdpa_fds fds;
	struct vfu_client_call call = {
		.cmd = VFU_DEVICE_GET_REGION_INFO,
		.iov = {{&q, sizeof(q)}},
		.niov = 1,
		.reply = reply,
		.reply_min = sizeof(q),
		.reply_max = sizeof(reply),
		.reply_fds = &fds,
	};
	int r = vfu_client_call(c, &call);

	*info = (struct vfio_user_region_info){.fd = -1};
	if (r)
		return r;
	r = take_region(reply, call.reply_len, region, &fds, info);
	vdpa_fds_close(&fds);
	return r ? broken(c) : 0;
}

static int take_ioeventfds(const uint8_t *reply, size_t len, struct vdpa_fds *fds,
			   struct vfio_user_ioeventfd *out)
{
	struct vfu_io_fds head;
	unsigned n = 0;

	memcpy(&head, reply, sizeof(head));
	if (head.count > (len - sizeof(head)) / sizeof(struct vfu_ioeventfd))
		return -EPROTO;
	for (; n < head.count; n++) {
		struct vfu_ioeventfd e;

		memcpy(&e, reply + sizeof(head) + n * sizeof(e), sizeof(e));
		if (e.type != VFU_IO_FD_IOEVENTFD || e.fd_index >= fds->n)
			break;
		out[n] = (struct vfio_user_ioeventfd){
			.offset = e.offset,
			.size = e.size,
			/* Several may share one: each has its own here. */
			.fd = vdpa_fd_dup(fds->fd[e.fd_index]),
			.match = e.flags & VFU_IOEVENTFD_F_DATAMATCH,
			.datamatch = e.datamatch,
		};
		if (out[n].fd < 0)
			break;
	}
	if (n == head.count)
		return (int)n;
	while (n)
		vdpa_fd_close(&out[--n].fd);
	return -EPROTO;
}

int vfio_user_get_ioeventfds(struct vfio_user_client *c, unsigned region,
			     struct vfio_user_ioeventfd *out, unsigned max)
{
	size_t room = sizeof(struct vfu_io_fds) + max * sizeof(struct vfu_ioeventfd);
	struct vfu_io_fds q = {.argsz = (uint32_t)room, .index = region};
	uint8_t *reply = malloc(room);
	struct vdpa_fds fds = {.n = 0};
	struct vfu_client_call call = {
		.cmd = VFU_DEVICE_GET_REGION_IO_FDS,
		.iov = {{&q, sizeof(q)}},
		.niov = 1,
		.reply = reply,
		.reply_min = sizeof(q),
		.reply_max = room,
		.reply_fds = &fds,
	};
	int r = reply ? vfu_client_call(c, &call) : -ENOMEM;

	if (!r) {
		memcpy(&q, reply, sizeof(q));
		r = q.argsz > room ? -E2BIG : take_ioeventfds(reply, call.reply_len, &fds, out);
		if (r == -EPROTO)
			broken(c);
	}
	vdpa_fds_close(&fds);
	free(reply);
	return r;
}

/* ---- interrupts ---- */

int vfio_user_get_irqs(struct vfio_user_client *c, unsigned index, struct vfio_user_irqs *irqs)
{
	struct vfio_irq_info q = {.argsz = sizeof(q), .index = index}, reply;
	struct vfu_client_call call = {
		.cmd = VFU_DEVICE_GET_IRQ_INFO,
		.iov = {{&q, sizeof(q)}},
		.niov = 1,
		.reply = &reply,
		.reply_min = sizeof(reply),
		.reply_max = sizeof(reply),
	};
	int r = vfu_client_call(c, &call);

	if (!r)
		*irqs = (struct vfio_user_irqs){.count = reply.count, .flags = reply.flags};
	return r;
}

int vfio_user_set_irqs(struct vfio_user_client *c, const struct vfio_user_irq_set *set)
{
	bool bools = set->flags & VFIO_IRQ_SET_DATA_BOOL;
	bool fds = set->flags & VFIO_IRQ_SET_DATA_EVENTFD && set->data;
	struct vfio_irq_set q = {
		.argsz = (uint32_t)(sizeof(q) + (bools ? set->count : 0)),
		.flags = set->flags,
		.index = set->index,
		.start = set->start,
		.count = set->count,
	};
	struct vfu_client_call call = {
		.cmd = VFU_DEVICE_SET_IRQS,
		.iov = {{&q, sizeof(q)}, {(void *)(uintptr_t)set->data, bools ? set->count : 0}},
		.niov = 2,
		.fds = fds ? set->data : NULL,
		.nfds = fds ? set->count : 0,
	};

	return vfu_client_call(c, &call);
}

/* ---- access ---- */

int vfio_user_region_read(struct vfio_user_client *c, unsigned region, uint64_t off, void *buf,
			  size_t len)
{
	struct vfu_access a = {.offset = off, .region = region, .count = (uint32_t)len};
	uint8_t *reply;
	struct vfu_client_call call = {
		.cmd = VFU_REGION_READ,
		.iov = {{&a, sizeof(a)}},
		.niov = 1,
		.reply_min = sizeof(a) + len,
		.reply_max = sizeof(a) + len,
	};
	int r;

	if (!len || len > c->peer_xfer)
		return -EINVAL;
	reply = malloc(sizeof(a) + len);
	if (!reply)
		return -ENOMEM;
	call.reply = reply;
	r = vfu_client_call(c, &call);
	if (!r)
		memcpy(buf, reply + sizeof(a), len);
	free(reply);
	return r;
}

int vfio_user_region_write(struct vfio_user_client *c, unsigned region, uint64_t off,
			   const void *buf, size_t len)
{
	struct vfu_access a = {.offset = off, .region = region, .count = (uint32_t)len}, reply;
	struct vfu_client_call call = {
		.cmd = VFU_REGION_WRITE,
		.iov = {{&a, sizeof(a)}, {(void *)(uintptr_t)buf, len}},
		.niov = 2,
		.reply = &reply,
		.reply_min = sizeof(reply),
		.reply_max = sizeof(reply),
	};

	return len && len <= c->peer_xfer ? vfu_client_call(c, &call) : -EINVAL;
}

int vfio_user_region_post(struct vfio_user_client *c, unsigned region, uint64_t off,
			  const void *buf, size_t len)
{
	struct vfu_access a = {.offset = off, .region = region, .count = (uint32_t)len};
	struct iovec iov[2] = {{&a, sizeof(a)}, {(void *)(uintptr_t)buf, len}};
	struct vfu_out out = {
		.head = {.cmd = VFU_REGION_WRITE, .flags = VFU_F_NO_REPLY}, .iov = iov, .niov = 2};

	return len && len <= c->peer_xfer ? vfu_conn_send(c->conn, &out) : -EINVAL;
}

int vfio_user_reset(struct vfio_user_client *c)
{
	struct vfu_client_call call = {.cmd = VFU_DEVICE_RESET};

	return vfu_client_call(c, &call);
}

/* ---- features and migration ---- */

int vfio_user_feature(struct vfio_user_client *c, uint32_t flags, void *data, size_t len,
		      size_t max)
{
	struct vfu_feature f = {.argsz = (uint32_t)(sizeof(f) + (len > max ? len : max)),
				.flags = flags};
	size_t room = f.argsz;
	uint8_t *reply = malloc(room);
	struct vfu_client_call call = {
		.cmd = VFU_DEVICE_FEATURE,
		.iov = {{&f, sizeof(f)}, {data, len}},
		.niov = 2,
		.reply = reply,
		.reply_min = sizeof(f),
		.reply_max = room,
	};
	int r = reply ? vfu_client_call(c, &call) : -ENOMEM;
	size_t got;

	if (!r) {
		got = call.reply_len - sizeof(f);
		if (got > max)
			got = max;
		if (got)
			memcpy(data, reply + sizeof(f), got);
		r = (int)got;
	}
	free(reply);
	return r;
}

ssize_t vfio_user_mig_read(struct vfio_user_client *c, void *buf, size_t len)
{
	struct vfu_mig_data q = {.argsz = (uint32_t)(sizeof(q) + len), .size = (uint32_t)len};
	uint8_t *reply;
	struct vfu_client_call call = {
		.cmd = VFU_MIG_DATA_READ,
		.iov = {{&q, sizeof(q)}},
		.niov = 1,
		.reply_min = sizeof(q),
		.reply_max = sizeof(q) + len,
	};
	ssize_t r;

	if (!len || len > c->peer_xfer)
		return -EINVAL;
	reply = malloc(sizeof(q) + len);
	if (!reply)
		return -ENOMEM;
	call.reply = reply;
	r = vfu_client_call(c, &call);
	if (!r) {
		memcpy(&q, reply, sizeof(q));
		r = q.size == call.reply_len - sizeof(q) ? (ssize_t)q.size : broken(c);
	}
	if (r > 0)
		memcpy(buf, reply + sizeof(q), (size_t)r);
	free(reply);
	return r;
}

int vfio_user_mig_write(struct vfio_user_client *c, const void *buf, size_t len)
{
	struct vfu_mig_data q = {.argsz = (uint32_t)(sizeof(q) + len), .size = (uint32_t)len};
	struct vfu_client_call call = {
		.cmd = VFU_MIG_DATA_WRITE,
		.iov = {{&q, sizeof(q)}, {(void *)(uintptr_t)buf, len}},
		.niov = 2,
	};

	return len && len <= c->peer_xfer ? vfu_client_call(c, &call) : -EINVAL;
}
