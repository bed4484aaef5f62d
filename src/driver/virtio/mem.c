// SPDX-License-Identifier: BSD-3-Clause
/*
 * Memory that a device can reach: arenas (anonymous files, so that every transport can map them)
 * and regions of the caller's. IOVAs are given out first fit, with an unmapped page between
 * neighbours: a device that runs over the end of a mapping faults, and never lands in another.
 *
 * The device can write all of it, and a peer has the file: what the allocator knows is kept
 * outside, and the files are sealed against shrinking.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/fd.h"
#include "driver/virtio/device.h"

#define PAGE_BYTES 4096ull
#define ALIGN_BYTES 64ull
#define ARENA_BYTES (4ull << 20)
/* Not zero, and not what the address would be in this process: a device that confuses them is found
 * out. */
#define IOVA_BASE (1ull << 20)
#define ARENA_BYTES_MAX (1ull << 40)

struct block {
	struct list link; /* ordered by offset, without holes */
	uint64_t off, len;
	bool used;
};

struct mapping {
	struct list link;
	struct virtio_device *dev;
	iova_t iova;
	uint64_t size; /* whole pages */
	struct vdpa_region *region;
	bool arena;
	bool unmapping;
	bool counted;	    /* the device's release waits for it */
	struct list blocks; /* arena */
	struct vdpa_done done;
};

static uint64_t align_up(uint64_t v, uint64_t to)
{
	return (v + to - 1) & ~(to - 1);
}

void virtio_mem_init(struct virtio_device *dev)
{
	list_init(&dev->mappings);
}

/* Find room for @m and put it into the list, which stays ordered. */
static int place(struct virtio_device *dev, struct mapping *m)
{
	struct vdpa_iova_range range = dev->ops->iova_range(dev);
	uint64_t first = range.first > IOVA_BASE ? range.first : IOVA_BASE;
	struct list *before = &dev->mappings;
	struct mapping *other;

	if (first > UINT64_MAX - PAGE_BYTES)
		return -ENOSPC;
	first = align_up(first, PAGE_BYTES);
	list_for_each_entry (other, &dev->mappings, link) {
		if (other->iova > first && other->iova - first >= m->size + PAGE_BYTES) {
			before = &other->link;
			break;
		}
		first = other->iova + other->size + PAGE_BYTES;
	}
	if (first > range.last || range.last - first < m->size - 1)
		return -ENOSPC;
	m->iova = first;
	list_add_tail(before, &m->link);
	return 0;
}

static void mapping_free(struct mapping *m)
{
	struct block *b, *tmp;

	list_for_each_entry_safe (b, tmp, &m->blocks, link)
		free(b);
	list_del(&m->link);
	vdpa_region_put(m->region);
	free(m);
}

static struct mapping *mapping_new(struct virtio_device *dev, uint64_t size)
{
	struct mapping *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->dev = dev;
	m->size = align_up(size, PAGE_BYTES);
	list_init(&m->link);
	list_init(&m->blocks);
	return m;
}

static int arena_file(uint64_t size)
{
	int fd = memfd_create("uvdpa-virtio", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int r;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)size) ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
		r = -errno;
		vdpa_fd_close(&fd);
		return r;
	}
	return fd;
}

static int arena_new(struct virtio_device *dev, uint64_t size, struct mapping **out)
{
	struct mapping *m = mapping_new(dev, size);
	struct block *all = calloc(1, sizeof(*all));
	int fd = -1, r = -ENOMEM;

	if (!m || !all)
		goto fail;
	m->arena = true;
	all->len = m->size;
	list_add(&m->blocks, &all->link);
	all = NULL;
	r = place(dev, m);
	if (r)
		goto fail;
	fd = r = arena_file(m->size);
	if (fd < 0)
		goto fail;
	r = vdpa_region_map(fd, 0, m->size, m->iova, PROT_READ | PROT_WRITE, &m->region, NULL);
	vdpa_fd_close(&fd);
	if (r)
		goto fail;
	r = dev->ops->map(dev, m->iova, m->region);
	if (r)
		goto fail;
	*out = m;
	return 0;
fail:
	free(all);
	if (m)
		mapping_free(m);
	return r;
}

static int block_split(struct block *b, uint64_t len)
{
	struct block *rest;

	if (b->len == len)
		return 0;
	rest = calloc(1, sizeof(*rest));
	if (!rest)
		return -ENOMEM;
	rest->off = b->off + len;
	rest->len = b->len - len;
	b->len = len;
	list_add(&b->link, &rest->link);
	return 0;
}

/* First fit; an alignment gap becomes a block of its own. */
static struct block *arena_take(struct mapping *m, uint64_t len, uint64_t align)
{
	struct block *b;

	list_for_each_entry (b, &m->blocks, link) {
		uint64_t gap = align_up(b->off, align) - b->off;

		if (b->used || b->len < gap || b->len - gap < len)
			continue;
		if (gap) {
			if (block_split(b, gap))
				return NULL;
			b = list_entry(b->link.next, struct block, link);
		}
		if (block_split(b, len))
			return NULL;
		b->used = true;
		return b;
	}
	return NULL;
}

void *virtio_mem_alloc(struct virtio_device *dev, size_t bytes, iova_t *iova)
{
	uint64_t align = bytes >= PAGE_BYTES ? PAGE_BYTES : ALIGN_BYTES;
	struct mapping *m;
	struct block *b = NULL;
	uint64_t len;
	uint8_t *p;

	if (!bytes || bytes > ARENA_BYTES_MAX)
		return NULL;
	len = align_up(bytes, ALIGN_BYTES);
	list_for_each_entry (m, &dev->mappings, link) {
		if (m->arena && !m->unmapping && (b = arena_take(m, len, align)))
			break;
	}
	if (!b) {
		if (arena_new(dev, len > ARENA_BYTES ? len : ARENA_BYTES, &m))
			return NULL;
		b = arena_take(m, len, align);
		if (!b)
			return NULL;
	}
	p = (uint8_t *)vdpa_region_base(m->region) + b->off;
	memset(p, 0, len);
	if (iova)
		*iova = m->iova + b->off;
	return p;
}

/* The mapping that has all of [@addr, @addr + @bytes), and where in it. */
static struct mapping *find(struct virtio_device *dev, const void *addr, size_t bytes,
			    uint64_t *off)
{
	uintptr_t p = (uintptr_t)addr;
	struct mapping *m;

	list_for_each_entry (m, &dev->mappings, link) {
		uintptr_t base = (uintptr_t)vdpa_region_base(m->region);
		uint64_t size = vdpa_region_size(m->region);

		if (m->unmapping || p < base || p - base >= size || bytes > size - (p - base))
			continue;
		*off = p - base;
		return m;
	}
	return NULL;
}

static void block_merge_next(struct mapping *m, struct block *b)
{
	struct block *next;

	if (b->used || b->link.next == &m->blocks)
		return;
	next = list_entry(b->link.next, struct block, link);
	if (next->used)
		return;
	b->len += next->len;
	list_del(&next->link);
	free(next);
}

void virtio_mem_free(struct virtio_device *dev, void *addr)
{
	struct mapping *m;
	struct block *b;
	uint64_t off;

	if (!addr)
		return;
	m = find(dev, addr, 1, &off);
	assert(m && m->arena);
	list_for_each_entry (b, &m->blocks, link) {
		if (b->off == off && b->used)
			break;
	}
	assert(&b->link != &m->blocks);
	b->used = false;
	block_merge_next(m, b);
	if (b->link.prev != &m->blocks)
		block_merge_next(m, list_entry(b->link.prev, struct block, link));
}

int virtio_mem_iova(struct virtio_device *dev, const void *addr, size_t bytes, iova_t *iova)
{
	struct mapping *m;
	uint64_t off;

	m = find(dev, addr, bytes, &off);
	if (!m)
		return -EFAULT;
	*iova = m->iova + off;
	return 0;
}

static struct mapping *find_region(struct virtio_device *dev, const struct vdpa_region *region)
{
	struct mapping *m;

	list_for_each_entry (m, &dev->mappings, link) {
		if (m->region == region && !m->arena && !m->unmapping)
			return m;
	}
	return NULL;
}

int virtio_mem_map(struct virtio_device *dev, struct vdpa_region *region, iova_t *iova)
{
	uint64_t size = vdpa_region_size(region);
	struct mapping *m;
	int r;

	if (!vdpa_region_base(region) || !size || size > ARENA_BYTES_MAX)
		return -EOPNOTSUPP;
	if (find_region(dev, region))
		return -EEXIST;
	m = mapping_new(dev, size);
	if (!m)
		return -ENOMEM;
	m->region = vdpa_region_get(region);
	r = place(dev, m);
	if (!r)
		r = dev->ops->map(dev, m->iova, region);
	if (r) {
		mapping_free(m);
		return r;
	}
	*iova = m->iova;
	return 0;
}

static void release_step(struct virtio_device *dev)
{
	if (--dev->unmapping == 0)
		dev->next(dev, 0);
}

static void unmapped(void *arg, int result)
{
	struct mapping *m = arg;
	struct virtio_device *dev = m->dev;
	struct vdpa_done done = m->done;
	bool counted = m->counted;

	if (result)
		virtio_log(dev, VDPA_LOG_ERR, "unmap of %#llx failed: %s",
			   (unsigned long long)m->iova, strerror(-result));
	mapping_free(m);
	vdpa_done_call(&done, result);
	if (counted)
		release_step(dev);
}

static int unmap(struct mapping *m, const struct vdpa_done *done)
{
	int r;

	m->unmapping = true;
	m->done = done ? *done : (struct vdpa_done){0};
	r = m->dev->ops->unmap(m->dev, m->iova, m->region, &(struct vdpa_done){unmapped, m});
	if (r)
		m->unmapping = false;
	return r;
}

int virtio_mem_unmap(struct virtio_device *dev, struct vdpa_region *region,
		     const struct vdpa_done *done)
{
	struct mapping *m = find_region(dev, region);

	return m ? unmap(m, done) : -ENOENT;
}

void virtio_mem_release(struct virtio_device *dev,
			void (*next)(struct virtio_device *dev, int result))
{
	struct list *pos, *tmp;

	dev->next = next;
	dev->unmapping = 1;
	list_for_each_safe (pos, tmp, &dev->mappings) {
		struct mapping *m = list_entry(pos, struct mapping, link);
		int r;

		m->counted = true;
		dev->unmapping++;
		if (m->unmapping)
			continue; /* the caller's own: under way */
		r = unmap(m, NULL);
		if (r) {
			/* The address space keeps references of its own: nothing dangles. */
			virtio_log(dev, VDPA_LOG_ERR, "cannot unmap %#llx: %s",
				   (unsigned long long)m->iova, strerror(-r));
			mapping_free(m);
			dev->unmapping--;
		}
	}
	release_step(dev);
}
