// SPDX-License-Identifier: BSD-3-Clause
/*
 * Dirty log: page n is bit n % 8 of byte n / 8, as the vhost-user specification lays it out
 * ("Migration"). Whoever reads the log clears a bit and then copies the page; so a bit is always
 * set after the data was written, and always with an atomic OR: to skip a bit that is set already
 * would race with that reader.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <uvdpa/mem.h>

#include "base/ref.h"

/* More guest memory than any machine has (52 address bits) is a mistake. */
#define LOG_MAX_BYTES ((1ull << 52) / VDPA_DIRTY_PAGE_BYTES / 8)

struct vdpa_dirty_log {
	struct vdpa_ref refs;
	struct vdpa_region *region; /* the shared file, or */
	void *own;		    /* memory of our own */
	_Atomic uint8_t *bits;
	uint64_t bytes;
	_Atomic uint64_t beyond;
};

static struct vdpa_dirty_log *log_new(uint64_t bytes)
{
	struct vdpa_dirty_log *log = calloc(1, sizeof(*log));

	if (!log)
		return NULL;
	vdpa_ref_init(&log->refs);
	log->bytes = bytes;
	return log;
}

int vdpa_dirty_log_new(gpa_t gpa_limit, struct vdpa_dirty_log **out)
{
	uint64_t pages = gpa_limit / VDPA_DIRTY_PAGE_BYTES + !!(gpa_limit % VDPA_DIRTY_PAGE_BYTES);
	uint64_t bytes = (pages + 7) / 8;
	struct vdpa_dirty_log *log;

	if (!gpa_limit)
		return -EINVAL;
	log = log_new(bytes);
	if (!log)
		return -ENOMEM;
	log->own = bytes <= LOG_MAX_BYTES && bytes <= SIZE_MAX ? calloc(1, (size_t)bytes) : NULL;
	if (!log->own) {
		free(log);
		return -ENOMEM;
	}
	log->bits = log->own;
	*out = log;
	return 0;
}

int vdpa_dirty_log_map(int fd, uint64_t offset, uint64_t size_bytes, struct vdpa_dirty_log **out,
		       struct vdpa_error *err)
{
	struct vdpa_dirty_log *log = log_new(size_bytes);
	int ret;

	if (!log)
		return vdpa_error_set(err, ENOMEM, NULL, "out of memory");
	ret = vdpa_region_map(fd, offset, size_bytes, 0, PROT_READ | PROT_WRITE, &log->region, err);
	if (ret) {
		free(log);
		return ret;
	}
	log->bits = vdpa_region_base(log->region);
	*out = log;
	return 0;
}

struct vdpa_dirty_log *vdpa_dirty_log_get(struct vdpa_dirty_log *log)
{
	if (log)
		vdpa_ref_get(&log->refs);
	return log;
}

void vdpa_dirty_log_put(struct vdpa_dirty_log *log)
{
	if (!log || !vdpa_ref_put(&log->refs))
		return;
	vdpa_region_put(log->region);
	free(log->own);
	free(log);
}

uint64_t vdpa_dirty_log_beyond(const struct vdpa_dirty_log *log)
{
	return atomic_load_explicit(&log->beyond, memory_order_relaxed);
}

/* Bits of byte @at that belong to pages [@first, @last]. */
static uint8_t byte_mask(uint64_t at, uint64_t first, uint64_t last)
{
	unsigned mask = 0xff;

	if (at == first / 8)
		mask &= 0xffu << (first % 8);
	if (at == last / 8)
		mask &= 0xffu >> (7 - last % 8);
	return (uint8_t)mask;
}

void vdpa_dirty_log_mark(struct vdpa_dirty_log *log, gpa_t gpa, uint64_t len)
{
	uint64_t first = gpa / VDPA_DIRTY_PAGE_BYTES, limit = log->bytes * 8, last;

	if (!len)
		return;
	last = (gpa + (len - 1) < gpa ? UINT64_MAX : gpa + (len - 1)) / VDPA_DIRTY_PAGE_BYTES;
	if (last >= limit) {
		atomic_fetch_add_explicit(&log->beyond, last - (first > limit ? first : limit) + 1,
					  memory_order_relaxed);
		if (first >= limit)
			return;
		last = limit - 1;
	}
	for (uint64_t at = first / 8; at <= last / 8; at++)
		atomic_fetch_or_explicit(&log->bits[at], byte_mask(at, first, last),
					 memory_order_acq_rel);
}

/* The marked ones among the pages of @mask in byte @at. */
static uint8_t take_byte(struct vdpa_dirty_log *log, uint64_t at, uint8_t mask, bool clear)
{
	uint8_t bits = atomic_load_explicit(&log->bits[at], memory_order_acquire);

	if (clear && (bits & mask))
		bits = atomic_fetch_and_explicit(&log->bits[at], (uint8_t)~mask,
						 memory_order_acq_rel);
	return bits & mask;
}

/* OR the bits of one log byte, whose bit 0 is page @page, into the caller's bitmap from page @first
 * on. */
static void put_byte(uint64_t *bitmap, uint64_t first, uint64_t page, uint8_t bits)
{
	for (; bits; bits &= (uint8_t)(bits - 1)) {
		uint64_t n = page + (unsigned)__builtin_ctz(bits) - first;

		bitmap[n / 64] |= 1ull << (n % 64);
	}
}

int vdpa_dirty_log_sync(struct vdpa_dirty_log *log, gpa_t gpa, uint64_t npages, uint64_t *bitmap,
			bool clear)
{
	uint64_t first = gpa / VDPA_DIRTY_PAGE_BYTES, limit = log->bytes * 8, last;
	uint8_t bits;

	if (gpa % VDPA_DIRTY_PAGE_BYTES || npages > UINT64_MAX / VDPA_DIRTY_PAGE_BYTES + 1 - first)
		return -EINVAL;
	memset(bitmap, 0, (npages + 63) / 64 * 8);
	if (!npages || first >= limit)
		return 0;
	last = npages > limit - first ? limit - 1 : first + npages - 1;
	for (uint64_t at = first / 8; at <= last / 8; at++) {
		bits = take_byte(log, at, byte_mask(at, first, last), clear);
		put_byte(bitmap, first, at * 8, bits);
	}
	return 0;
}
