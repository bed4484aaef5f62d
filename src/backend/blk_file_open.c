// SPDX-License-Identifier: BSD-3-Clause
/* Opening a disk image: kind, size, lock, and what it can do, all found out without writing. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>
#include "backend/blk_file.h"
#include "base/fd.h"

#define DIRECT_ALIGN_GUESS 4096u /* where the kernel does not tell */

/* O_NONBLOCK: a FIFO in the file's place must not hang us; it is taken off once the kind is known.
 */
static int open_plain(struct file_disk *disk, struct vdpa_error *err)
{
	int flags = disk->read_only ? O_RDONLY : O_RDWR;
	struct stat st;
	int fl;

	disk->fd = open(disk->path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (disk->fd < 0)
		return vdpa_error_set(err, errno, disk->name, "cannot open %s for %s: %s%s",
				      disk->path, disk->read_only ? "reading" : "writing",
				      strerror(errno),
				      !disk->read_only && (errno == EACCES || errno == EROFS)
					      ? "; read_only on would do without writing"
					      : "");
	if (fstat(disk->fd, &st))
		return vdpa_error_set(err, errno, disk->name, "cannot stat %s: %s", disk->path,
				      strerror(errno));
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return vdpa_error_set(err, EINVAL, disk->name,
				      "%s is neither a regular file nor a block device",
				      disk->path);
	disk->block_device = S_ISBLK(st.st_mode);
	fl = fcntl(disk->fd, F_GETFL);
	if (fl < 0 || fcntl(disk->fd, F_SETFL, fl & ~O_NONBLOCK))
		return vdpa_error_set(err, errno, disk->name, "cannot use %s: %s", disk->path,
				      strerror(errno));
	return 0;
}

#define LOCK_TRIES 30 /* 10 ms apart */

static int set_lock(const struct file_disk *disk, short type)
{
	struct flock lock = {.l_type = type, .l_whence = SEEK_SET};

	return fcntl(disk->fd, F_OFD_SETLK, &lock);
}

/*
 * A lock of the open file description: it goes with the last descriptor, whatever happens to us. An
 * io_uring holds the file for a moment longer than the process that had it lived: somebody who was
 * killed and started again is not to be told that he is in his own way.
 */
static int take_lock(struct file_disk *disk, struct vdpa_error *err)
{
	const struct timespec moment = {.tv_nsec = 10000000};
	short type = disk->read_only ? F_RDLCK : F_WRLCK;
	int r = set_lock(disk, type);

	for (unsigned i = 0; r && errno == EAGAIN && i < LOCK_TRIES; i++) {
		nanosleep(&moment, NULL);
		r = set_lock(disk, type);
	}
	if (!r) {
		disk->locked = true;
		return 0;
	}
	if (errno == EAGAIN || errno == EACCES)
		return vdpa_error_set(err, EBUSY, disk->name,
				      "%s is in use by another device or process; \"lock off\" "
				      "opens it all the same, at the risk of its contents",
				      disk->path);
	vdpa_log(disk->log, VDPA_LOG_WARN, disk->name, "%s cannot be locked: %s", disk->path,
		 strerror(errno));
	return 0;
}

static int find_size(struct file_disk *disk, struct vdpa_error *err)
{
	uint64_t size = 0;
	struct stat st;
	int block = 0;
	unsigned physical = 0;

	if (disk->block_device) {
		if (ioctl(disk->fd, BLKGETSIZE64, &size) || ioctl(disk->fd, BLKSSZGET, &block) ||
		    ioctl(disk->fd, BLKPBSZGET, &physical))
			return vdpa_error_set(err, errno, disk->name, "cannot size %s: %s",
					      disk->path, strerror(errno));
	} else if (fstat(disk->fd, &st)) {
		return vdpa_error_set(err, errno, disk->name, "cannot stat %s: %s", disk->path,
				      strerror(errno));
	} else {
		size = (uint64_t)st.st_size;
	}
	disk->block_bytes = block > 0 ? (uint32_t)block : BLK_SECTOR_BYTES;
	disk->physical_block_bytes = physical ? physical : disk->block_bytes;
	disk->capacity_bytes = size / BLK_SECTOR_BYTES * BLK_SECTOR_BYTES;
	if (!disk->capacity_bytes)
		return vdpa_error_set(err, EINVAL, disk->name,
				      "%s has %llu bytes, which is less than a sector (512)",
				      disk->path, (unsigned long long)size);
	if (size != disk->capacity_bytes)
		vdpa_log(disk->log, VDPA_LOG_WARN, disk->name,
			 "the last %u bytes of %s are not a whole sector and stay out of reach",
			 (unsigned)(size - disk->capacity_bytes), disk->path);
	return 0;
}

/* What direct I/O wants; false: it is not possible here. */
static bool direct_alignment(struct file_disk *disk, int fd)
{
#ifdef STATX_DIOALIGN
	struct statx stx;

	if (!statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) &&
	    (stx.stx_mask & STATX_DIOALIGN)) {
		disk->mem_align = stx.stx_dio_mem_align;
		disk->offset_align = stx.stx_dio_offset_align;
		return disk->mem_align && disk->offset_align;
	}
#endif
	disk->mem_align = DIRECT_ALIGN_GUESS;
	disk->offset_align = DIRECT_ALIGN_GUESS;
	return true;
}

/* Some file systems take O_DIRECT at open and refuse it at the first read. */
static bool direct_trial(struct file_disk *disk, int fd)
{
	void *buf;
	ssize_t r;

	if (posix_memalign(&buf, 4096, FILE_BOUNCE_BYTES))
		return false;
	if (disk->mem_align > 4096 || disk->offset_align > FILE_BOUNCE_BYTES) {
		free(buf);
		return false;
	}
	r = pread(fd, buf, disk->offset_align > 4096 ? disk->offset_align : 4096, 0);
	free(buf);
	return r >= 0;
}

/* Direct I/O is a wish: without it everything goes through the page cache. */
static void open_direct(struct file_disk *disk)
{
	int flags = disk->read_only ? O_RDONLY : O_RDWR;
	int fd;

	fd = open(disk->path, flags | O_CLOEXEC | O_NOCTTY | O_DIRECT);
	if (fd >= 0 && vdpa_fd_same_file(fd, disk->fd) && direct_alignment(disk, fd) &&
	    direct_trial(disk, fd)) {
		disk->direct_fd = fd;
		return;
	}
	vdpa_fd_close(&fd);
	vdpa_log(disk->log, VDPA_LOG_INFO, disk->name,
		 "%s does not take direct I/O: it goes through the page cache", disk->path);
}

static bool queue_can_discard(dev_t dev)
{
	char path[96];
	unsigned long long max = 0;
	FILE *f;

	/* A partition has no queue of its own: its parent's counts. */
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/queue/discard_max_bytes", major(dev),
		 minor(dev));
	f = fopen(path, "re");
	if (!f) {
		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/../queue/discard_max_bytes",
			 major(dev), minor(dev));
		f = fopen(path, "re");
	}
	if (!f)
		return false;
	if (fscanf(f, "%llu", &max) != 1)
		max = 0;
	fclose(f);
	return max > 0;
}

/* A hole beyond the end changes nothing, but says whether there can be holes. */
static void find_abilities(struct file_disk *disk)
{
	struct stat st;

	if (disk->read_only || fstat(disk->fd, &st))
		return;
	if (disk->block_device) {
		disk->punch = queue_can_discard(st.st_rdev);
		atomic_store(&disk->zero_range, true);
		return;
	}
	disk->punch =
		!fallocate(disk->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, st.st_size, 4096);
	atomic_store(&disk->zero_range, true); /* the first EOPNOTSUPP tells otherwise */
}

/* In containers io_uring is often forbidden: say so now, not at the first request. */
static int try_uring(struct file_disk *disk, struct vdpa_error *err)
{
	struct io_uring ring;
	int r = io_uring_queue_init(2, &ring, 0);

	if (!r)
		io_uring_queue_exit(&ring);
	else
		vdpa_error_set(
			err, -r, disk->name,
			"io_uring is not available here (%s): sysctl kernel.io_uring_disabled "
			"and the container's seccomp profile must allow it",
			strerror(-r));
	return r;
}

/* Are the file's data nowhere but in memory? */
static bool in_memory(int fd)
{
	struct statfs fs;

	return !fstatfs(fd, &fs) && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
}

/* QEMU's words, and what they mean. True: direct I/O is wanted. */
static bool choose_cache(struct file_disk *disk, const char *word)
{
	const char *const *choice = blk_file_caches;

	while (word && strcmp(*choice, word) != 0)
		choice++;
	disk->cache = *choice;
	disk->writethrough =
		!strcmp(disk->cache, "writethrough") || !strcmp(disk->cache, "directsync");
	disk->unsafe = !strcmp(disk->cache, "unsafe");
	return !strcmp(disk->cache, "none") || !strcmp(disk->cache, "direct") ||
	       !strcmp(disk->cache, "directsync");
}

static int file_setup(struct file_disk *disk, const struct vdpa_attr *attrs, struct vdpa_error *err)
{
	bool direct = choose_cache(disk, vdpa_attr_get(attrs, "cache"));
	int r = open_plain(disk, err);

	if (!r && vdpa_attr_bool(attrs, "lock", true))
		r = take_lock(disk, err);
	if (!r)
		r = find_size(disk, err);
	disk->in_memory = !r && !disk->block_device && in_memory(disk->fd);
	if (!r && !disk->in_memory)
		r = try_uring(disk, err);
	if (r)
		return r;
	if (direct && !disk->in_memory)
		open_direct(disk);
	find_abilities(disk);
	disk->fixed_buffers = disk->direct_fd >= 0 && vdpa_attr_bool(attrs, "fixed_buffers", false);
	return 0;
}

int blk_file_open(const struct backend_open_params *params, struct blk_backend **out,
		  struct vdpa_error *err)
{
	const char *path = vdpa_attr_get(params->attrs, "path");
	struct file_disk *disk = calloc(1, sizeof(*disk));
	int r;

	if (disk) {
		disk->path = strdup(path);
		disk->name = strdup(params->name ? params->name : "");
		disk->fd = -1;
		disk->direct_fd = -1;
		disk->be.ops = &blk_file_ops;
		disk->log = params->log;
		disk->read_only = vdpa_attr_bool(params->attrs, "read_only", false);
	}
	if (!disk || !disk->path || !disk->name)
		r = vdpa_error_set(err, ENOMEM, params->name, "no memory for the disk");
	else
		r = file_setup(disk, params->attrs, err);
	if (r) {
		if (disk)
			blk_file_close(&disk->be);
		return r;
	}
	*out = &disk->be;
	return 0;
}

void blk_file_close(struct blk_backend *be)
{
	struct file_disk *disk = to_file(be);

	/* Explicitly: the kernel gives up the file itself only when its io_uring is gone, which is
	 * later. */
	if (disk->locked)
		set_lock(disk, F_UNLCK);
	vdpa_fd_close(&disk->direct_fd);
	vdpa_fd_close(&disk->fd);
	free(disk->path);
	free(disk->name);
	free(disk);
}
