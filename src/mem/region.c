// SPDX-License-Identifier: BSD-3-Clause
/*
 * Regions. Who attacks: the peer, who chooses file, offset and size, and may change the file
 * later. What we map is checked against the file as it is now; what the file becomes later is
 * the SIGBUS handler's business (sigbus.c).
 */
#include <errno.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/fd.h"
#include "mem/region.h"
#include "mem/sigbus.h"

static struct vdpa_region *region_new(enum region_kind kind, uint64_t size, gpa_t gpa)
{
	struct vdpa_region *region = calloc(1, sizeof(*region));

	if (!region)
		return NULL;
	vdpa_ref_init(&region->refs);
	vdpa_ref_init(&region->weak);
	region->kind = kind;
	region->prot = PROT_READ | PROT_WRITE;
	region->size = size;
	region->gpa = gpa;
	region->fd = -1;
	return region;
}

void region_weak_get(struct vdpa_region *region)
{
	vdpa_ref_get(&region->weak);
}

void region_weak_put(struct vdpa_region *region)
{
	if (vdpa_ref_put(&region->weak))
		free(region);
}

struct vdpa_region *vdpa_region_get(struct vdpa_region *region)
{
	if (region)
		vdpa_ref_get(&region->refs);
	return region;
}

void vdpa_region_put(struct vdpa_region *region)
{
	if (!region || !vdpa_ref_put(&region->refs))
		return;
	sigbus_unregister(region->slot);
	if (region->map)
		munmap(region->map, region->map_bytes);
	vdpa_fd_close(&region->fd);
	if (region->ops && region->ops->release)
		region->ops->release(region->arg);
	region_weak_put(region);
}

static bool range_wraps(uint64_t first, uint64_t size)
{
	return size == 0 || first + (size - 1) < first;
}

/* Page size of the file: mmap and munmap of hugetlbfs want multiples of it. */
static uint64_t file_page_bytes(int fd, const struct stat *st)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) == 0 && fs.f_type == HUGETLBFS_MAGIC && st->st_blksize > 0)
		return (uint64_t)st->st_blksize;
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

/*
 * Does the file reach the end of what is claimed? A file need not be a multiple of the page size:
 * the rest of its last page can be touched too.
 */
static int check_file(int fd, uint64_t offset, uint64_t size, uint64_t *page,
		      struct vdpa_error *err)
{
	struct stat st;
	uint64_t bytes;

	if (fstat(fd, &st))
		return vdpa_error_set(err, errno, NULL, "memory file descriptor %d: %s", fd,
				      strerror(errno));
	*page = file_page_bytes(fd, &st);
	/* Devices say nothing about their size; mmap refuses what they do not have. */
	if (!S_ISREG(st.st_mode))
		return 0;
	bytes = (uint64_t)st.st_size;
	if (bytes % *page)
		bytes += *page - bytes % *page;
	if (offset + size > bytes)
		return vdpa_error_set(err, EINVAL, NULL,
				      "memory file has 0x%llx bytes, but 0x%llx from offset 0x%llx "
				      "were claimed: send the file's real size",
				      (unsigned long long)st.st_size, (unsigned long long)size,
				      (unsigned long long)offset);
	return 0;
}

static int map_file(struct vdpa_region *region, uint64_t page, struct vdpa_error *err)
{
	uint64_t lead = region->offset % page;
	uint64_t bytes = lead + region->size;
	struct sigbus_range range;

	bytes += (page - bytes % page) % page;
	if (bytes > SIZE_MAX)
		return vdpa_error_set(err, ENOMEM, NULL, "0x%llx bytes do not fit this machine",
				      (unsigned long long)bytes);
	region->map = mmap(NULL, bytes, region->prot, MAP_SHARED | MAP_NORESERVE, region->fd,
			   (off_t)(region->offset - lead));
	if (region->map == MAP_FAILED) {
		region->map = NULL;
		return vdpa_error_set(err, errno, NULL,
				      "cannot map 0x%llx bytes at offset 0x%llx: %s",
				      (unsigned long long)bytes,
				      (unsigned long long)(region->offset - lead), strerror(errno));
	}
	region->map_bytes = bytes;
	region->base = (char *)region->map + lead;
	/* The driver's memory is not ours to write into a core file. */
	madvise(region->map, bytes, MADV_DONTDUMP);
	range = (struct sigbus_range){region->map, bytes, page, region->prot, &region->broken};
	if (sigbus_register(&range, &region->slot))
		return vdpa_error_set(err, ENOMEM, NULL, "out of memory");
	return 0;
}

int vdpa_region_map(int fd, uint64_t offset, uint64_t size, gpa_t gpa, int prot,
		    struct vdpa_region **out, struct vdpa_error *err)
{
	struct vdpa_region *region;
	uint64_t page = 0;
	int ret;

	if (range_wraps(offset, size) || size > INT64_MAX || offset > INT64_MAX - size ||
	    range_wraps(gpa, size))
		return vdpa_error_set(err, EINVAL, NULL,
				      "memory of 0x%llx bytes at offset 0x%llx, address 0x%llx: "
				      "size 0 or end beyond the last address",
				      (unsigned long long)size, (unsigned long long)offset,
				      (unsigned long long)gpa);
	if (prot != PROT_READ && prot != (PROT_READ | PROT_WRITE))
		return vdpa_error_set(err, EINVAL, NULL,
				      "memory protection %d: must be read or read and write", prot);
	ret = check_file(fd, offset, size, &page, err);
	if (ret)
		return ret;
	region = region_new(REGION_MAPPED, size, gpa);
	if (!region)
		return vdpa_error_set(err, ENOMEM, NULL, "out of memory");
	region->prot = prot;
	region->offset = offset;
	region->fd = vdpa_fd_dup(fd);
	if (region->fd < 0)
		ret = vdpa_error_set(err, -region->fd, NULL, "cannot keep file descriptor %d: %s",
				     fd, strerror(-region->fd));
	else
		ret = map_file(region, page, err);
	if (ret) {
		vdpa_region_put(region);
		return ret;
	}
	*out = region;
	return 0;
}

int vdpa_region_wrap(void *addr, uint64_t size, gpa_t gpa, struct vdpa_region **out)
{
	struct vdpa_region *region;

	if (range_wraps((uintptr_t)addr, size) || range_wraps(gpa, size) ||
	    (uintptr_t)addr + (size - 1) > UINTPTR_MAX)
		return -EINVAL;
	region = region_new(REGION_WRAPPED, size, gpa);
	if (!region)
		return -ENOMEM;
	region->base = addr;
	*out = region;
	return 0;
}

int vdpa_region_by_message(const struct vdpa_region_ops *ops, void *arg, uint64_t size, gpa_t gpa,
			   struct vdpa_region **out)
{
	struct vdpa_region *region;

	if (!ops || !ops->read || !ops->write || range_wraps(gpa, size))
		return -EINVAL;
	region = region_new(REGION_MESSAGE, size, gpa);
	if (!region)
		return -ENOMEM;
	region->ops = ops;
	region->arg = arg;
	*out = region;
	return 0;
}

void *vdpa_region_base(const struct vdpa_region *region)
{
	return region->base;
}

uint64_t vdpa_region_size(const struct vdpa_region *region)
{
	return region->size;
}

gpa_t vdpa_region_gpa(const struct vdpa_region *region)
{
	return region->gpa;
}

int vdpa_region_fd(const struct vdpa_region *region, uint64_t *offset)
{
	if (offset)
		*offset = region->offset;
	return region->fd;
}

uint64_t vdpa_region_addr(const struct vdpa_region *region, uint64_t off)
{
	return (uintptr_t)region->base + off;
}

bool vdpa_region_broken(const struct vdpa_region *region)
{
	return atomic_load(&region->broken);
}

bool region_takes(const struct vdpa_region *region, uint64_t addr, uint64_t last_off, uint32_t perm)
{
	uint64_t base = (uintptr_t)region->base;

	if ((perm & VHOST_MAP_WO) && !(region->prot & PROT_WRITE))
		return false;
	/* addr + last_off was found not to wrap, or is found out of range here. */
	return addr >= base && last_off < region->size &&
	       addr - base <= region->size - 1 - last_off;
}
