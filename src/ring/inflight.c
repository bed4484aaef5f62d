// SPDX-License-Identifier: BSD-3-Clause
/*
 * In-flight tracking (vhost-user specification, "Inflight I/O tracking", split virtqueue; the
 * packed one: inflight_packed.c).
 *
 * A small area in memory that outlives this process says which heads were popped and not yet used,
 * and in what order. Written at two places: when a chain is popped (counter, then the mark), and
 * around the publication of a batch (link the batch's heads, publish the used index, clear the
 * marks, note the index). Death may come between any two stores. The index tells: when it differs
 * from the ring's, the marks of the last batch may be stale, and the list says which they are.
 *
 * Who attacks: the peer, which shares the area and may change it at any time. So it is read exactly
 * once, into a shadow that is then checked; from there on the shadow decides and the area is only
 * written.
 */
#include <errno.h>
#include <stdlib.h>

#include "ring/inflight.h"

/* Areas of several queues follow each other at this alignment, as other back-ends lay them out. */
#define INFLIGHT_ALIGN 64

static size_t area_bytes(uint32_t num, bool packed)
{
	if (packed)
		return sizeof(struct inflight_packed_area) + num * sizeof(struct inflight_pdesc);
	return sizeof(struct inflight_area) + num * sizeof(struct inflight_desc);
}

size_t vringh_inflight_bytes(uint32_t num, bool packed)
{
	return (area_bytes(num, packed) + INFLIGHT_ALIGN - 1) & ~(size_t)(INFLIGHT_ALIGN - 1);
}

static int inflight_check(const void *area, size_t bytes, uint32_t num, bool packed,
			  struct vdpa_error *err)
{
	if (num == 0 || num > 32768)
		return vdpa_error_set(err, EINVAL, NULL,
				      "in-flight area for a ring of %u, allowed are 1 to 32768",
				      num);
	if (!area || ((uintptr_t)area & 7))
		return vdpa_error_set(err, EINVAL, NULL, "in-flight area is not 8-byte aligned");
	if (bytes < area_bytes(num, packed))
		return vdpa_error_set(err, EINVAL, NULL,
				      "in-flight area of %zu bytes is too small for a ring of %u",
				      bytes, num);
	return 0;
}

/* Both layouts begin alike. */
static int head_check(const struct vringh_inflight *in, uint64_t features, uint16_t version,
		      uint16_t desc_num, struct vdpa_error *err)
{
	if (version != INFLIGHT_VERSION || features)
		return vdpa_error_set(
			err, EINVAL, NULL,
			"in-flight area of version %u with features 0x%llx, known is %u", version,
			(unsigned long long)features, INFLIGHT_VERSION);
	if (desc_num != in->num)
		return vdpa_error_set(err, EINVAL, NULL,
				      "in-flight area is for a ring of %u, the ring has %u",
				      desc_num, in->num);
	return 0;
}

/* Copy the area, once; then check the copy. */
static int inflight_attach(struct vringh_inflight *in, struct vdpa_error *err)
{
	struct inflight_area head;
	int rc;

	memcpy(&head, in->area, sizeof(head));
	memcpy(in->shadow, in->area->desc, in->num * sizeof(in->shadow[0]));
	__asm__ volatile("" : "+m"(head) : : "memory");
	if (head.version == 0) {
		memset(in->shadow, 0, in->num * sizeof(in->shadow[0]));
		return 0;
	}
	rc = head_check(in, head.features, head.version, head.desc_num, err);
	if (rc)
		return rc;
	in->known = true;
	in->used_idx = head.used_idx;
	in->last_batch_head = head.last_batch_head;
	return 0;
}

static int attach_packed(struct vringh_inflight *in, struct vdpa_error *err)
{
	int rc;

	inflight_packed_attach(in);
	if (in->phead.version == 0)
		return 0;
	rc = head_check(in, in->phead.features, in->phead.version, in->phead.desc_num, err);
	in->known = rc == 0;
	return rc;
}

static int inflight_alloc(struct vringh_inflight *in)
{
	in->resub = calloc(in->num, sizeof(in->resub[0]));
	if (!in->resub)
		return -ENOMEM;
	if (in->packed)
		return inflight_packed_alloc(in);
	in->shadow = calloc(in->num, sizeof(in->shadow[0]));
	return in->shadow ? 0 : -ENOMEM;
}

int vringh_inflight_new(void *area, size_t bytes, uint32_t num, bool packed,
			struct vringh_inflight **out, struct vdpa_error *err)
{
	struct vringh_inflight *in;
	int rc = inflight_check(area, bytes, num, packed, err);

	if (rc)
		return rc;
	in = calloc(1, sizeof(*in));
	if (!in)
		return vdpa_error_set(err, ENOMEM, NULL, "no memory for in-flight tracking");
	in->area = area;
	in->num = num;
	in->packed = packed;
	rc = inflight_alloc(in);
	if (rc)
		vdpa_error_set(err, ENOMEM, NULL, "no memory for in-flight tracking");
	else
		rc = packed ? attach_packed(in, err) : inflight_attach(in, err);
	if (rc) {
		vringh_inflight_free(in);
		return rc;
	}
	*out = in;
	return 0;
}

void vringh_inflight_free(struct vringh_inflight *in)
{
	if (!in)
		return;
	free(in->shadow);
	free(in->resub);
	free(in->pshadow);
	free(in->entry);
	free(in->captured);
	free(in->seen);
	free(in);
}

void vringh_inflight_forget(struct vringh_inflight *in)
{
	AREA_STORE(&in->area->version, (uint16_t)0);
	in->known = false;
}

bool ring_inflight_fits(const struct vringh_inflight *in, uint32_t num, bool packed)
{
	return in->num == num && in->packed == packed;
}

static void mark(struct vringh_inflight *in, uint16_t head, uint8_t inflight)
{
	in->shadow[head].inflight = inflight;
	AREA_STORE(&in->area->desc[head].inflight, inflight);
}

static void set_used(struct vringh_inflight *in, uint16_t used)
{
	in->used_idx = used;
	AREA_STORE(&in->area->used_idx, used);
}

/* Nothing is known: write an area that is valid and empty; the version comes last. */
static void inflight_init_area(struct vringh_inflight *in, uint16_t used)
{
	AREA_STORE(&in->area->version, (uint16_t)0);
	memset(in->shadow, 0, in->num * sizeof(in->shadow[0]));
	memset(in->area->desc, 0, in->num * sizeof(in->shadow[0]));
	in->counter = 0;
	in->nresub = 0;
	in->last_batch_head = 0;
	AREA_STORE(&in->area->features, (uint64_t)0);
	AREA_STORE(&in->area->desc_num, (uint16_t)in->num);
	AREA_STORE(&in->area->last_batch_head, (uint16_t)0);
	set_used(in, used);
	AREA_STORE(&in->area->version, (uint16_t)INFLIGHT_VERSION);
	in->known = true;
}

/* Clear the marks of the last batch, of @n heads: it reached the ring, the marks may not have
 * followed. */
static void repair_batch(struct vringh_inflight *in, uint16_t n)
{
	uint16_t head = in->last_batch_head;

	while (n-- && head < in->num) {
		mark(in, head, 0);
		head = in->shadow[head].next;
	}
}

static int by_counter(const void *a, const void *b, void *arg)
{
	const struct inflight_desc *shadow = arg;
	uint16_t i = *(const uint16_t *)a, j = *(const uint16_t *)b;

	if (shadow[i].counter != shadow[j].counter)
		return shadow[i].counter < shadow[j].counter ? -1 : 1;
	return i < j ? -1 : i > j;
}

int ring_inflight_recover(struct vringh_inflight *in, uint16_t ring_used)
{
	uint16_t batch = (uint16_t)(ring_used - in->used_idx);

	in->repaired = false;
	/* No batch is larger than the ring: the area is that of another life of the ring. */
	if (!in->known || batch > in->num) {
		inflight_init_area(in, ring_used);
		return -ENODATA;
	}
	if (batch) {
		repair_batch(in, batch);
		in->repaired = true;
	}
	set_used(in, ring_used);
	in->nresub = 0;
	in->counter = 0;
	for (uint32_t i = 0; i < in->num; i++) {
		if (!in->shadow[i].inflight)
			continue;
		in->resub[in->nresub++] = (uint16_t)i;
		if (in->counter <= in->shadow[i].counter)
			in->counter = in->shadow[i].counter + 1;
	}
	qsort_r(in->resub, in->nresub, sizeof(in->resub[0]), by_counter, in->shadow);
	return (int)in->nresub;
}

uint16_t ring_inflight_resubmit(const struct vringh_inflight *in, uint32_t i)
{
	return in->resub[i];
}

bool ring_inflight_repaired(const struct vringh_inflight *in)
{
	return in->repaired;
}

void ring_inflight_pop(struct vringh_inflight *in, uint16_t head)
{
	in->shadow[head].counter = in->counter;
	AREA_STORE(&in->area->desc[head].counter, in->counter);
	in->counter++;
	mark(in, head, 1);
}

void ring_inflight_unpop(struct vringh_inflight *in, uint16_t head)
{
	if (in->packed)
		ring_inflight_packed_unpop(in, head);
	else
		mark(in, head, 0);
}

void ring_inflight_batch_add(struct vringh_inflight *in, uint16_t head)
{
	in->shadow[head].next = in->last_batch_head;
	AREA_STORE(&in->area->desc[head].next, in->last_batch_head);
	in->last_batch_head = head;
	AREA_STORE(&in->area->last_batch_head, head);
}

void ring_inflight_batch_end(struct vringh_inflight *in, const struct ring_pending *batch,
			     uint32_t n, uint16_t used)
{
	for (uint32_t i = 0; i < n; i++)
		mark(in, batch[i].id, 0);
	set_used(in, used);
}
