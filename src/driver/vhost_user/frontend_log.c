// SPDX-License-Identifier: BSD-3-Clause
/*
 * Dirty log of the front end ("Migration"): a bitmap in a file that the back end maps (LOG_SHMFD),
 * a bit for each page below the highest guest address; the back end sets bits while LOG_ALL is
 * among the features.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "driver/vhost_user/frontend.h"

static uint64_t bytes_needed(struct fe *fe)
{
	gpa_t limit = 0;

	for (unsigned i = 0; i < fe->nslots; i++) {
		gpa_t end = fe->slots[i].gpa + vdpa_region_size(fe->slots[i].region);

		if (end > limit)
			limit = end;
	}
	/* Room for arenas that are added while it runs; the file is sparse. */
	limit += 1ull << 30;
	return ((limit / VDPA_DIRTY_PAGE_BYTES + 7) / 8 + 4095) & ~4095ull;
}

static int log_open(struct fe *fe, struct vdpa_error *err)
{
	int r;

	fe->log_bytes = bytes_needed(fe);
	fe->log_fd = memfd_create("uvdpa-dirty-log", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fe->log_fd < 0)
		return vdpa_error_set(err, errno, fe->vd.name, "cannot make a log");
	if (ftruncate(fe->log_fd, (off_t)fe->log_bytes) ||
	    fcntl(fe->log_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
		r = vdpa_error_set(err, errno, fe->vd.name, "cannot make a log");
		vdpa_fd_close(&fe->log_fd);
		return r;
	}
	r = vdpa_dirty_log_map(fe->log_fd, 0, fe->log_bytes, &fe->log, err);
	if (r)
		vdpa_fd_close(&fe->log_fd);
	return r;
}

void fe_log_close(struct fe *fe)
{
	vdpa_dirty_log_put(fe->log);
	fe->log = NULL;
	vdpa_fd_close(&fe->log_fd);
}

/* Its reply has no payload, or one that means nothing: it says that the new log is in use. */
static int send_base(struct fe *fe)
{
	static const struct fe_expect expect = {.min = 0, .max = sizeof(struct vhost_user_log)};
	struct fe_msg msg = {
		.hdr = {.request = VHOST_USER_SET_LOG_BASE,
			.flags = VHOST_USER_VERSION,
			.size = sizeof(struct vhost_user_log)},
	};
	int r;

	if (!fe->connected)
		return -ENOTCONN;
	msg.p.log = (struct vhost_user_log){.mmap_size = fe->log_bytes};
	r = fe_transact(&fe->ch, &msg, &fe->log_fd, 1, &expect);
	if (r)
		fe_lose(fe, "no log");
	return r;
}

int fe_log_restore(struct fe *fe)
{
	return fe->log ? send_base(fe) : 0;
}

int vhost_user_frontend_log_start(struct virtio_device *dev, struct vdpa_error *err)
{
	struct fe *fe = to_fe(dev);
	int r;

	if (fe->log)
		return -EALREADY;
	if (!fe->connected)
		return -ENOTCONN;
	if (!fe_has(fe, VHOST_USER_PROTOCOL_F_LOG_SHMFD) || !(fe->features >> VHOST_F_LOG_ALL & 1))
		return vdpa_error_set(err, EOPNOTSUPP, dev->name,
				      "the back end keeps no dirty log");
	r = log_open(fe, err);
	if (r)
		return r;
	r = send_base(fe);
	if (!r)
		r = fe_send_features(fe);
	if (!r)
		return 0;
	fe_log_close(fe);
	return vdpa_error_set(err, -r, dev->name, "the back end does not start to log: %s",
			      strerror(-r));
}

int vhost_user_frontend_log_stop(struct virtio_device *dev)
{
	struct fe *fe = to_fe(dev);

	if (!fe->log)
		return -EALREADY;
	fe_log_close(fe);
	return fe->connected ? fe_send_features(fe) : 0;
}

int vhost_user_frontend_log_sync(struct virtio_device *dev, const void *addr, uint64_t npages,
				 uint64_t *bitmap)
{
	struct fe *fe = to_fe(dev);
	iova_t iova;
	gpa_t gpa;
	int r;

	if (!fe->log || !npages || npages > fe->log_bytes * 8)
		return -EINVAL;
	r = virtio_mem_iova(dev, addr, npages * VDPA_DIRTY_PAGE_BYTES, &iova);
	if (!r)
		r = fe_slot_gpa(fe, iova, npages * VDPA_DIRTY_PAGE_BYTES, &gpa);
	if (!r && gpa % VDPA_DIRTY_PAGE_BYTES)
		r = -EINVAL;
	return r ? r : vdpa_dirty_log_sync(fe->log, gpa, npages, bitmap, true);
}
