// SPDX-License-Identifier: BSD-3-Clause
/*
 * Ring memory that is not one piece. Theory and attackers: see area.h. Nothing is kept between two
 * accesses, so there is nothing that a change of the map could leave stale.
 */
#include <errno.h>

#include "ring/area.h"

int ring_area_resolve(struct ring_area *area, uintptr_t align)
{
	struct iovec iov;
	int n;

	area->ptr = NULL;
	n = vdpa_view_xlate(area->view, area->iova, area->bytes, area->perm, &iov, 1);
	if (n == -EAGAIN)
		return n;
	if (n == 1 && ((uintptr_t)iov.iov_base & (align - 1)) == 0)
		area->ptr = iov.iov_base;
	return 0;
}

/*
 * The word at @off when it is one aligned piece: 1 and its address; 0: use vdpa_view_read() and
 * write(); or -errno.
 */
static int word_ptr(const struct ring_area *area, uint64_t off, size_t len, void **ptr)
{
	struct iovec iov;
	int n = vdpa_view_xlate(area->view, area->iova + off, len, area->perm, &iov, 1);

	if (n == -EREMOTE || n == -E2BIG)
		return 0;
	if (n < 0)
		return n;
	*ptr = iov.iov_base;
	return n == 1 && ((uintptr_t)iov.iov_base & 1) == 0;
}

int ring_area_slow_load16(const struct ring_area *area, uint64_t off, uint16_t *v)
{
	uint16_t raw;
	void *ptr;
	int rc = word_ptr(area, off, sizeof(raw), &ptr);

	if (rc < 0)
		return rc;
	if (rc) {
		*v = guest_load16_acquire(ptr, area->native);
		return 0;
	}
	rc = vdpa_view_read(area->view, area->iova + off, &raw, sizeof(raw));
	if (rc)
		return rc;
	ring_fence();
	*v = guest_cpu16(raw, area->native);
	return 0;
}

int ring_area_slow_store16(const struct ring_area *area, uint64_t off, uint16_t v)
{
	uint16_t raw = guest_cpu16(v, area->native);
	void *ptr;
	int rc = word_ptr(area, off, sizeof(raw), &ptr);

	if (rc < 0)
		return rc;
	if (rc) {
		guest_store16_release(ptr, v, area->native);
		vdpa_view_dirty(area->view, ptr, sizeof(raw));
		return 0;
	}
	ring_fence();
	return vdpa_view_write(area->view, area->iova + off, &raw, sizeof(raw));
}

int ring_area_slow_desc(const struct ring_area *area, uint32_t i, struct desc_copy *d)
{
	uint64_t off = (uint64_t)i * sizeof(struct guest_desc);
	struct guest_desc raw;
	void *ptr;
	int rc = word_ptr(area, off, sizeof(raw), &ptr);

	if (rc < 0)
		return rc;
	if (rc) {
		guest_desc_load(ptr, d, area->native);
		return 0;
	}
	rc = vdpa_view_read(area->view, area->iova + off, &raw, sizeof(raw));
	if (!rc)
		guest_desc_convert(&raw, d, area->native);
	return rc;
}

int ring_area_slow_pdesc(const struct ring_area *area, uint32_t i, struct pdesc_copy *d)
{
	uint64_t off = (uint64_t)i * sizeof(struct guest_pdesc);
	struct guest_pdesc raw;
	int rc = ring_area_slow_load16(area, off + offsetof(struct guest_pdesc, flags), &d->flags);

	/* What the flags make visible is read after them. */
	if (!rc)
		rc = vdpa_view_read(area->view, area->iova + off, &raw,
				    offsetof(struct guest_pdesc, flags));
	if (rc)
		return rc;
	d->addr = le64toh(raw.addr.raw);
	d->len = le32toh(raw.len.raw);
	d->id = le16toh(raw.id.raw);
	return 0;
}

int ring_area_slow_use(const struct ring_area *area, uint32_t i, uint32_t len, uint16_t id,
		       uint16_t flags)
{
	const size_t first = offsetof(struct guest_pdesc, len);
	const size_t last = offsetof(struct guest_pdesc, flags);
	uint64_t off = (uint64_t)i * sizeof(struct guest_pdesc);
	struct guest_pdesc raw = {.len.raw = htole32(len), .id.raw = htole16(id)};
	int rc = vdpa_view_write(area->view, area->iova + off + first, (char *)&raw + first,
				 last - first);

	return rc ? rc : ring_area_slow_store16(area, off + last, flags);
}
