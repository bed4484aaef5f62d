// SPDX-License-Identifier: BSD-3-Clause
/*
 * The area that says which requests are in flight ("Inflight I/O tracking"), shared with the front
 * end so that it outlives this process.
 *
 * Who attacks: the front end gives the area back after a crash of ours, with whatever contents and
 * size it likes, and may write to it at any time. Sizes are checked here for all queues; contents
 * are the ring's to check. Areas that are made here are sealed against being truncated.
 */
#include "driver/vhost_user/server.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static uint64_t stride(const struct vu_session *s, uint32_t queue_size)
{
	return vringh_inflight_bytes(queue_size, vu_packed(s));
}

static int check(struct vu_session *s, const struct vhost_user_inflight *wire, bool set,
		 const char *name)
{
	uint64_t each = stride(s, wire->queue_size);
	const char *why;
	bool ok = vhost_user_inflight_valid(wire, set, &why);

	if (ok && wire->num_queues > s->nrings)
		ok = vhost_user_bad(&why, "more queues than the device has");
	if (ok && set && wire->mmap_size < each * wire->num_queues)
		ok = vhost_user_bad(&why, "the area is too small");
	if (ok && set && (wire->mmap_offset & 7))
		ok = vhost_user_bad(&why, "the area is not aligned to 8 bytes");
	if (ok)
		return 0;
	vu_log(s, VDPA_LOG_WARN, "vhost-user: %s: %s", name, why);
	return -EINVAL;
}

/* Use [@wire's area of @fd]; @fd stays the caller's. No ring is started. */
static int attach(struct vu_session *s, const struct vhost_user_inflight *wire, int fd)
{
	struct vdpa_error error = {0};
	struct vdpa_region *region;
	int err = vdpa_region_map(fd, wire->mmap_offset, wire->mmap_size, 0, PROT_READ | PROT_WRITE,
				  &region, &error);

	if (err) {
		vu_log(s, VDPA_LOG_WARN, "vhost-user: area for requests in flight: %s", error.msg);
		return err;
	}
	/* A queue that still stops, say, writes to the old area: that must stay. */
	for (unsigned i = 0; i < s->nrings && !err; i++)
		err = vhost_vdpa_set_vring_inflight(s->dev->v, i, NULL, 0);
	if (err) {
		vu_log(s, VDPA_LOG_WARN, "vhost-user: area for requests in flight: in use: %s",
		       strerror(-err));
		vdpa_region_put(region);
		return err;
	}
	vdpa_region_put(s->inflight.region);
	s->inflight = (struct vu_inflight){
		.region = region,
		.stride = stride(s, wire->queue_size),
		.num_queues = wire->num_queues,
		.queue_size = wire->queue_size,
	};
	return 0;
}

static int area_new(uint64_t size)
{
	int fd = memfd_create("uvdpa-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)size) ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
		int err = -errno;

		close(fd);
		return err;
	}
	return fd;
}

int vu_get_inflight_fd(struct vu_session *s, struct vu_msg *msg)
{
	struct vhost_user_inflight *wire = &msg->payload->inflight;
	int err = check(s, wire, false, "GET_INFLIGHT_FD"), fd;

	if (err)
		return err;
	wire->mmap_size = stride(s, wire->queue_size) * wire->num_queues;
	wire->mmap_offset = 0;
	fd = area_new(wire->mmap_size);
	if (fd < 0)
		return fd;
	err = attach(s, wire, fd);
	if (!err)
		vu_reply(s, wire, msg->hdr.size, fd);
	close(fd);
	return err;
}

int vu_set_inflight_fd(struct vu_session *s, struct vu_msg *msg)
{
	int err = check(s, &msg->payload->inflight, true, "SET_INFLIGHT_FD");

	return err ? err : attach(s, &msg->payload->inflight, msg->fds.fd[0]);
}

static uint8_t *ring_area(const struct vu_ring *r)
{
	const struct vu_inflight *in = &r->s->inflight;

	if (!in->region || r->idx >= in->num_queues)
		return NULL;
	return (uint8_t *)vdpa_region_base(in->region) + r->idx * in->stride;
}

int vu_inflight_apply(struct vu_ring *r)
{
	const struct vu_inflight *in = &r->s->inflight;
	uint8_t *area = ring_area(r);

	if (area && r->num > in->queue_size) {
		vu_log(r->s, VDPA_LOG_WARN,
		       "vhost-user: ring %u has %u entries, the area for requests in flight %u",
		       r->idx, r->num, in->queue_size);
		return -EINVAL;
	}
	return vhost_vdpa_set_vring_inflight(r->s->dev->v, r->idx, area, area ? in->stride : 0);
}

/* A version of 0 says "nothing was ever written here"; the ring may come back with another size. */
void vu_inflight_clear_ring(struct vu_ring *r)
{
	uint8_t *area = ring_area(r);

	if (area)
		memset(area, 0, r->s->inflight.stride);
}

void vu_inflight_clear(struct vu_session *s)
{
	for (unsigned i = 0; i < s->nrings; i++)
		vu_inflight_clear_ring(&s->ring[i]);
}

void vu_inflight_free(struct vu_session *s)
{
	vdpa_region_put(s->inflight.region);
	s->inflight = (struct vu_inflight){0};
}
