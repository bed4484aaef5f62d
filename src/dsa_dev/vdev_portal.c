// SPDX-License-Identifier: BSD-3-Clause
/*
 * Portals. A queue has four pages, for limited or unlimited use, with interrupts by MSI-X or IMS;
 * in each, any 64 bytes are a place to write a descriptor to.
 *
 * A descriptor that comes in one write is taken at once. One that comes in pieces (a processor, or
 * a VMM, without 64-byte stores) is put together; it is whole when each byte has been written.
 * Pieces say nothing of who wrote them. When two processors use one place at a time, a byte that is
 * written again begins another descriptor there: the oldest that lacks a piece gets it, so that
 * none is lost, and as long as both write in the same order, and one does not overtake the other,
 * none is mixed either. (A driver that can have two writers at a place at a time needs stores of 64
 * bytes, on hardware as well.)
 *
 * Portals as memory: the driver's stores do not come here at all; pages are looked through. A
 * descriptor is there when its first 8 bytes are not zero, which are written last, or all 64 at
 * once. It is copied, then its first 8 bytes are cleared if they still are what was copied, and no
 * others: whoever writes to the place again has not done so before, or is seen. A full queue
 * leaves it where it is.
 *
 * Who attacks: the guest, by pieces that never become whole: they have a bound, and the oldest
 * goes.
 */
#include "dsa_dev/vdev_impl.h"

#include <errno.h>
#include <string.h>

#define WHOLE UINT64_MAX
#define SLOTS (DSA_PORTAL_BYTES / DSA_DESC_BYTES)

static void not_enabled(struct dsa_vdev *vdev, unsigned wq)
{
	struct dsa_error error = {.status = DSA_SWERR_WQ_NOT_ENABLED};

	vdev_count(vdev->dropped);
	if (wq < vdev->config.nwqs)
		dsa_vdev_error(vdev, wq, &error);
}

static bool takes(struct dsa_vdev *vdev, unsigned wq)
{
	return wq < vdev->config.nwqs && vdev_wq_enabled(vdev, wq) && !(vdev->closed >> wq & 1);
}

static bool is_dedicated(struct dsa_vdev *vdev, unsigned wq)
{
	return *vdev_wqcfg(vdev, wq, DSA_WQW_MODE) & DSA_WQCFG_DEDICATED;
}

/* A threshold is for shared queues. */
static bool is_limited(struct dsa_vdev *vdev, unsigned portal)
{
	return portal & DSA_PORTAL_LIMITED && !is_dedicated(vdev, portal / DSA_PORTALS_PER_WQ);
}

/* A whole descriptor was written. */
static int dispatch(struct dsa_vdev *vdev, unsigned portal, const void *desc)
{
	unsigned wq = portal / DSA_PORTALS_PER_WQ;
	int r;

	if (!takes(vdev, wq)) {
		not_enabled(vdev, wq);
		return 0;
	}
	r = vdev->config.ops->submit(vdev->config.arg, wq, desc, is_limited(vdev, portal));
	if (!r)
		vdev_count(vdev->submitted);
	if (r != -EAGAIN)
		return 0;
	if (is_dedicated(vdev, wq)) {
		vdev_count(vdev->dropped);
		return 0;
	}
	vdev_count(vdev->retried);
	return -EAGAIN;
}

/* ---- in pieces ---- */

static void forget(struct dsa_vdev *vdev, struct vdev_part *part)
{
	part->have = 0;
	vdev_count(vdev->torn);
}

static struct vdev_part *oldest(struct dsa_vdev *vdev)
{
	struct vdev_part *oldest = &vdev->parts[0];

	for (unsigned i = 1; i < VDEV_PARTS; i++) {
		if (vdev->parts[i].age < oldest->age)
			oldest = &vdev->parts[i];
	}
	return oldest;
}

static struct vdev_part *free_part(struct dsa_vdev *vdev)
{
	struct vdev_part *part;

	for (unsigned i = 0; i < vdev->nparts; i++) {
		if (!vdev->parts[i].have)
			return &vdev->parts[i];
	}
	if (vdev->nparts < VDEV_PARTS)
		return &vdev->parts[vdev->nparts++];
	part = oldest(vdev);
	forget(vdev, part);
	return part;
}

/* The oldest at this place that lacks all of @bytes; else a new one. */
static struct vdev_part *part_for(struct dsa_vdev *vdev, unsigned portal, unsigned slot,
				  uint64_t bytes)
{
	struct vdev_part *found = NULL;

	for (unsigned i = 0; i < vdev->nparts; i++) {
		struct vdev_part *p = &vdev->parts[i];

		if (p->have && p->portal == portal && p->slot == slot && !(p->have & bytes) &&
		    (!found || p->age < found->age))
			found = p;
	}
	if (found)
		return found;
	found = free_part(vdev);
	found->portal = portal;
	found->slot = slot;
	found->age = ++vdev->age;
	return found;
}

static uint64_t byte_mask(unsigned at, size_t len)
{
	return (len == DSA_DESC_BYTES ? WHOLE : (1ull << len) - 1) << at;
}

/* Bytes of one place. */
static int write_piece(struct dsa_vdev *vdev, uint64_t off, const void *buf, size_t len)
{
	unsigned portal = (unsigned)(off / DSA_PORTAL_BYTES);
	unsigned slot = (unsigned)(off % DSA_PORTAL_BYTES / DSA_DESC_BYTES);
	unsigned at = (unsigned)(off % DSA_DESC_BYTES);
	struct vdev_part *part;

	if (len == DSA_DESC_BYTES)
		return dispatch(vdev, portal, buf);
	part = part_for(vdev, portal, slot, byte_mask(at, len));
	memcpy(part->data + at, buf, len);
	part->have |= byte_mask(at, len);
	if (part->have != WHOLE)
		return 0;
	part->have = 0;
	return dispatch(vdev, portal, part->data);
}

int dsa_vdev_portal_write(struct dsa_vdev *vdev, uint64_t off, const void *buf, size_t len)
{
	const uint8_t *from = buf;
	int r = 0;

	if (off >= DSA_BAR2_BYTES || !len || len > DSA_BAR2_BYTES - off) {
		vdev_count(vdev->refused);
		return -EINVAL;
	}
	while (len && !r) {
		size_t n = DSA_DESC_BYTES - off % DSA_DESC_BYTES;

		n = n < len ? n : len;
		r = write_piece(vdev, off, from, n);
		off += n;
		from += n;
		len -= n;
	}
	return r;
}

void vdev_portal_reset(struct dsa_vdev *vdev)
{
	for (unsigned i = 0; i < vdev->nparts; i++) {
		if (vdev->parts[i].have)
			forget(vdev, &vdev->parts[i]);
	}
	vdev->nparts = 0;
	if (vdev->pages)
		dsa_vdev_set_pages(vdev, vdev->pages);
}

/* ---- as memory ---- */

static _Atomic uint64_t *place(struct dsa_vdev *vdev, unsigned portal, unsigned slot)
{
	return (_Atomic uint64_t *)vdev->pages + portal * (DSA_PORTAL_BYTES / 8) +
	       slot * (DSA_DESC_BYTES / 8);
}

/* Is there a descriptor? Copied then, and what is returned is what says so. */
static uint64_t copy_out(_Atomic uint64_t *from, uint64_t *desc)
{
	desc[0] = atomic_load(from);
	for (unsigned i = 1; desc[0] && i < DSA_DESC_BYTES / 8; i++)
		desc[i] = atomic_load_explicit(from + i, memory_order_relaxed);
	return desc[0];
}

static bool poll_place(struct dsa_vdev *vdev, unsigned portal, unsigned slot)
{
	_Atomic uint64_t *from = place(vdev, portal, slot);
	unsigned wq = portal / DSA_PORTALS_PER_WQ;
	uint64_t desc[DSA_DESC_BYTES / 8], seen = copy_out(from, desc);

	if (!seen)
		return false;
	/* Full: it stays; that is what the memory is for. */
	if (takes(vdev, wq) &&
	    vdev->config.ops->full(vdev->config.arg, wq, is_limited(vdev, portal)))
		return false;
	/* Before it can be completed: then the driver uses the place again. */
	if (!atomic_compare_exchange_strong(from, &seen, 0))
		return false;
	dispatch(vdev, portal, desc);
	return true;
}

bool dsa_vdev_poll(struct dsa_vdev *vdev)
{
	bool any = false;

	for (unsigned i = 0; vdev->pages && i < vdev->config.nwqs * 2 * SLOTS; i++) {
		unsigned wq = i / (2 * SLOTS), page = i / SLOTS % 2;

		any |= poll_place(vdev, wq * DSA_PORTALS_PER_WQ + page, i % SLOTS);
	}
	return any;
}

void dsa_vdev_set_pages(struct dsa_vdev *vdev, void *pages)
{
	vdev->pages = pages;
	for (unsigned i = 0; pages && i < vdev->config.nwqs * 2 * SLOTS; i++)
		atomic_store(place(vdev, i / (2 * SLOTS) * DSA_PORTALS_PER_WQ + i / SLOTS % 2,
				   i % SLOTS),
			     0);
}
