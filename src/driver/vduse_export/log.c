// SPDX-License-Identifier: BSD-3-Clause
/*
 * The log: a file, mapped, that outlives this process as the kernel's device does. The kernel keeps
 * what the driver told it (addresses and sizes of rings, features); it does not know which requests
 * were taken, and nobody keeps the status. So the file has the status, the address space of each
 * group, and an area per queue in the format of vhost-user's "Inflight I/O tracking".
 *
 * Order, so that a crash between any two steps is survived: the status is written before the kernel
 * is answered, and 0 before a reset begins; a message that was not answered comes again.
 *
 * Who attacks: whoever may write the file, thus its owner, who is us. Its head is checked as a
 * whole against the device, areas are checked by the ring; a lock keeps two daemons apart.
 */
#include "driver/vduse_export/export.h"

#include <errno.h>
#include <stdatomic.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"

static const char magic[8] = "uvdpavd1";

/* The head's, so that areas behind it are aligned. */
#define HEAD_BYTES 4096u
_Static_assert(sizeof(struct vde_log_head) <= HEAD_BYTES, "it fits");

static uint64_t area_stride(const struct vde_log_id *id)
{
	size_t split = vringh_inflight_bytes(id->num_max, false);
	size_t packed = vringh_inflight_bytes(id->num_max, true);

	return split > packed ? split : packed;
}

static int open_file(struct vde_log *log, const char *path, struct vdpa_error *err)
{
	struct stat st;

	log->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (log->fd < 0)
		return vdpa_error_set(err, errno, NULL,
				      "the log %s cannot be opened: %s; name another with \"log\"",
				      path, strerror(errno));
	if (fstat(log->fd, &st) || !S_ISREG(st.st_mode))
		return vdpa_error_set(err, EINVAL, NULL, "the log %s is not a regular file", path);
	if (flock(log->fd, LOCK_EX | LOCK_NB))
		return vdpa_error_set(err, EBUSY, NULL, "the log %s is in use by another process",
				      path);
	return 0;
}

static bool is_of(const struct vde_log_head *head, const struct vde_log_id *id, uint64_t bytes)
{
	return !memcmp(head->magic, magic, sizeof(magic)) && head->bytes == bytes &&
	       !memcmp(&head->id, id, sizeof(*id)) && head->status <= UINT8_MAX;
}

static int map_file(struct vde_log *log, uint64_t bytes, struct vdpa_error *err)
{
	int ret = vdpa_region_map(log->fd, 0, bytes, 0, PROT_READ | PROT_WRITE, &log->region, NULL);

	if (ret)
		return vdpa_error_set(err, -ret, NULL,
				      "the log %s cannot be mapped: %s; name one on a local file "
				      "system with \"log\"",
				      log->path, strerror(-ret));
	log->head = vdpa_region_base(log->region);
	return 0;
}

static int begin(struct vde_log *log, const struct vde_log_id *id, uint64_t bytes,
		 struct vdpa_error *err)
{
	int ret = ftruncate(log->fd, 0) ? errno : posix_fallocate(log->fd, 0, (off_t)bytes);

	/* Blocks now, not a signal when there are none left. */
	if (ret)
		return vdpa_error_set(err, ret, NULL, "the log %s cannot have %llu bytes: %s",
				      log->path, (unsigned long long)bytes, strerror(ret));
	ret = map_file(log, bytes, err);
	if (ret)
		return ret;
	log->head->id = *id;
	log->head->bytes = bytes;
	/* For whoever reads it after we were killed: program order is enough. */
	atomic_signal_fence(memory_order_release);
	memcpy(log->head->magic, magic, sizeof(magic));
	return 0;
}

static int go_on(struct vde_log *log, const struct vde_log_id *id, uint64_t bytes,
		 struct vdpa_error *err)
{
	struct stat st;
	int ret = -ENOENT;

	if (!fstat(log->fd, &st) && (uint64_t)st.st_size == bytes)
		ret = map_file(log, bytes, err);
	if (!ret && is_of(log->head, id, bytes))
		return 0;
	return vdpa_error_set(err, EEXIST, NULL,
			      "the kernel has a device called %.80s already, and the log %s is not "
			      "this device's: choose another \"name\", or bind it as it was before",
			      id->name, log->path);
}

int vde_log_open(struct vde_log *log, const char *path, const struct vde_log_id *id, bool again,
		 struct vdpa_error *err)
{
	uint64_t bytes;
	int ret;

	if (strlen(path) >= sizeof(log->path))
		return vdpa_error_set(err, ENAMETOOLONG, NULL, "the path of the log is too long");
	strcpy(log->path, path);
	log->stride = area_stride(id);
	bytes = HEAD_BYTES + id->nvqs * log->stride;
	ret = open_file(log, path, err);
	if (!ret)
		ret = again ? go_on(log, id, bytes, err) : begin(log, id, bytes, err);
	if (ret)
		vde_log_close(log, false);
	return ret;
}

void vde_log_set_status(struct vde_log *log, uint8_t status)
{
	__atomic_store_n(&log->head->status, status, __ATOMIC_RELEASE);
}

void *vde_log_area(const struct vde_log *log, uint32_t idx)
{
	return (uint8_t *)log->head + HEAD_BYTES + idx * log->stride;
}

/* A version of 0 says "nothing was ever written here". */
void vde_log_clear_areas(struct vde_log *log)
{
	memset(vde_log_area(log, 0), 0, vdpa_region_size(log->region) - HEAD_BYTES);
}

void vde_log_close(struct vde_log *log, bool forget)
{
	if (forget && log->fd >= 0)
		unlink(log->path);
	vdpa_region_put(log->region);
	log->region = NULL;
	log->head = NULL;
	vdpa_fd_close(&log->fd);
}
