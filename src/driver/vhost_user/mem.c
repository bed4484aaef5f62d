// SPDX-License-Identifier: BSD-3-Clause
/*
 * The memory table: files of the front end, mapped here, and where they lie in guest and user
 * addresses.
 *
 * Without ACCESS_PLATFORM the device's address space is the guest's physical one, one range per
 * region; with it, the address space is filled by IOTLB messages and the table only says where user
 * addresses lie.
 *
 * Who attacks: the front end chooses all numbers. Regions that wrap or overlap are refused, files
 * shorter than claimed too (a file that shrinks later is the memory floor's matter), a range is
 * good only inside one region. Files of holes cost nothing, but what maps them is ours:
 * VDPA_PEER_BYTES_MAX.
 *
 * A change of the table (remap) goes in steps: stop rings whose areas would move or vanish, change
 * the map as one step, wait until no request uses what went, start the stopped rings where they are
 * now. All other rings go on: memory hotplug must not disturb them, so a region that is unchanged
 * stays as it is.
 */
#include "driver/vhost_user/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

static void region_free(struct vu_region *r)
{
	if (!r)
		return;
	vdpa_region_put(r->region);
	free(r);
}

/* Beside what is mapped and what this change has mapped so far: is there room for @size? */
static int check_room(const struct vu_session *s, uint64_t size)
{
	uint64_t room = VDPA_PEER_BYTES_MAX;

	for (unsigned i = 0; i < s->nregions; i++)
		room -= s->region[i]->wire.size;
	for (unsigned i = 0; i < s->remap.nadd; i++)
		room -= s->remap.add[i]->wire.size;
	if (size <= room)
		return 0;
	vu_log(s, VDPA_LOG_WARN,
	       "vhost-user: region of 0x%llx bytes: a front end may have 0x%llx mapped, and 0x%llx "
	       "are left",
	       (unsigned long long)size, (unsigned long long)VDPA_PEER_BYTES_MAX,
	       (unsigned long long)room);
	return -ENOSPC;
}

/* @fd stays the message's. */
static int region_new(struct vu_session *s, const struct vhost_user_mem_region *wire, int fd,
		      struct vu_region **out)
{
	struct vdpa_error error = {0};
	struct vu_region *r;
	struct stat st;
	int err;

	err = check_room(s, wire->size);
	if (err)
		return err;
	if (fstat(fd, &st))
		return -errno;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->wire = *wire;
	r->dev = st.st_dev;
	r->ino = st.st_ino;
	err = vdpa_region_map(fd, wire->mmap_offset, wire->size, wire->guest_addr,
			      PROT_READ | PROT_WRITE, &r->region, &error);
	if (err) {
		vu_log(s, VDPA_LOG_WARN, "vhost-user: region at 0x%llx: %s",
		       (unsigned long long)wire->guest_addr, error.msg);
		free(r);
		return err;
	}
	*out = r;
	return 0;
}

void vu_mem_free(struct vu_session *s)
{
	while (s->nregions)
		region_free(s->region[--s->nregions]);
}

/* ---- translation ---- */

static const struct vu_region *find_user(const struct vu_session *s, uint64_t uaddr)
{
	for (unsigned i = 0; i < s->nregions; i++) {
		const struct vhost_user_mem_region *w = &s->region[i]->wire;

		if (uaddr >= w->user_addr && uaddr - w->user_addr < w->size)
			return s->region[i];
	}
	return NULL;
}

int vu_mem_xlate(const struct vu_session *s, uint64_t uaddr, uint64_t size, uint64_t *gpa)
{
	const struct vu_region *r = find_user(s, uaddr);
	uint64_t off;

	if (!r)
		return -EFAULT;
	off = uaddr - r->wire.user_addr;
	if (size > r->wire.size - off)
		return -EFAULT;
	*gpa = r->wire.guest_addr + off;
	return 0;
}

int vu_mem_resolve(void *arg, uint64_t uaddr, uint64_t size, struct vhost_vdpa_piece *piece)
{
	struct vu_dev *dev = arg;
	const struct vu_region *r = find_user(dev->session, uaddr);

	if (!r)
		return -EFAULT;
	piece->region = r->region;
	piece->off = uaddr - r->wire.user_addr;
	piece->size = r->wire.size - piece->off;
	if (piece->size > size)
		piece->size = size;
	return 0;
}

/* ---- the map ---- */

static int map_region(struct vu_session *s, const struct vu_region *r)
{
	struct vhost_vdpa_update update = {
		.asid = 0,
		.perm = VHOST_MAP_RW,
		.iova = r->wire.guest_addr,
		.size = r->wire.size,
		.uaddr = r->wire.user_addr,
	};
	struct vdpa_done done = vu_wait_add(s);
	int err = vhost_vdpa_iotlb_map(s->dev->v, &update, r->region, 0, &done);

	if (err) {
		vu_log(s, VDPA_LOG_WARN, "vhost-user: region at 0x%llx cannot be mapped: %s",
		       (unsigned long long)update.iova, strerror(-err));
		vu_wait_put(s, err);
	}
	return err;
}

static int unmap_region(struct vu_session *s, const struct vu_region *r)
{
	struct vdpa_done done = vu_wait_add(s);
	int err;

	if (s->iommu)
		err = vhost_vdpa_iotlb_forget(s->dev->v, r->region, &done);
	else
		err = vhost_vdpa_iotlb_invalidate(s->dev->v, 0, r->wire.guest_addr,
						  r->wire.guest_addr + (r->wire.size - 1), &done);
	if (err)
		vu_wait_put(s, err);
	return err;
}

static void table_del(struct vu_session *s, const struct vu_region *r)
{
	for (unsigned i = 0; i < s->nregions; i++)
		if (s->region[i] == r) {
			s->region[i] = s->region[--s->nregions];
			return;
		}
}

/* ---- a change of the table ---- */

static void remap_stop(struct vu_session *s);

/* Rings that were stopped for the change go on where the table has them now. */
static void remap_applied(struct vu_session *s, int result)
{
	struct vu_remap *m = &s->remap;
	int err;

	while (m->ndel)
		region_free(m->del[--m->ndel]);
	if (result) {
		/* Map and table are no longer the same thing. */
		if (!s->closing)
			vu_session_close(s, "the memory table could not be changed");
		vu_session_done(s, result);
		return;
	}
	for (unsigned i = 0; i < s->nrings; i++) {
		err = vu_ring_update(&s->ring[i]);
		if (err)
			vu_log(s, VDPA_LOG_WARN, "vhost-user: ring %u stays stopped: %s", i,
			       strerror(-err));
	}
	vu_session_done(s, 0);
}

static void remap_apply(struct vu_session *s, int result)
{
	struct vu_remap *m = &s->remap;
	struct vdpa_done done;
	int err = result;

	vu_wait_begin(s, remap_applied);
	if (!err)
		err = vhost_vdpa_iotlb_batch_begin(s->dev->v, 0);
	for (unsigned i = 0; i < m->ndel && !err; i++)
		err = unmap_region(s, m->del[i]);
	for (unsigned i = 0; i < m->nadd && !err && !s->iommu; i++)
		err = map_region(s, m->add[i]);
	if (!err) {
		done = vu_wait_add(s);
		err = vhost_vdpa_iotlb_batch_end(s->dev->v, 0, &done);
		if (err)
			vu_wait_put(s, err);
	}
	vu_wait_put(s, err);
}

/* Is there something else at the same guest addresses? Between unmap and map they are a hole. */
static bool remap_replaces(const struct vu_remap *m)
{
	for (unsigned i = 0; i < m->ndel; i++)
		for (unsigned j = 0; j < m->nadd; j++)
			if (vhost_user_ranges_overlap(
				    m->del[i]->wire.guest_addr, m->del[i]->wire.size,
				    m->add[j]->wire.guest_addr, m->add[j]->wire.size))
				return true;
	return false;
}

/* Put the new table into force for translations; stop the rings that the change would break. */
static void remap_stop(struct vu_session *s)
{
	struct vu_remap *m = &s->remap;
	bool all = remap_replaces(m);

	for (unsigned i = 0; i < m->ndel; i++)
		table_del(s, m->del[i]);
	for (unsigned i = 0; i < m->nadd; i++)
		s->region[s->nregions++] = m->add[i];
	vu_wait_begin(s, remap_apply);
	for (unsigned i = 0; i < s->nrings; i++) {
		struct vu_ring *r = &s->ring[i];
		struct vdpa_done done;
		int err;

		vu_discard_stop(r);
		if (!r->running || (!all && vu_ring_in_place(r)))
			continue;
		done = vu_wait_add(s);
		err = vu_ring_stop(r, &done);
		if (err)
			vu_wait_put(s, err);
	}
	vu_wait_put(s, 0);
}

static bool same_region(const struct vu_region *r, const struct vhost_user_mem_region *wire,
			const struct stat *st)
{
	return r->wire.guest_addr == wire->guest_addr && r->wire.size == wire->size &&
	       r->wire.user_addr == wire->user_addr && r->wire.mmap_offset == wire->mmap_offset &&
	       r->dev == st->st_dev && r->ino == st->st_ino;
}

static struct vu_region *find_same(struct vu_session *s, const struct vhost_user_mem_region *wire,
				   int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		return NULL;
	for (unsigned i = 0; i < s->nregions; i++)
		if (same_region(s->region[i], wire, &st))
			return s->region[i];
	return NULL;
}

static void remap_drop(struct vu_remap *m)
{
	while (m->nadd)
		region_free(m->add[--m->nadd]);
	m->ndel = 0;
}

int vu_set_mem_table(struct vu_session *s, struct vu_msg *msg)
{
	const struct vhost_user_mem_table *table = &msg->payload->table;
	struct vu_region *keep[VHOST_USER_MAX_TABLE_REGIONS] = {NULL};
	struct vu_remap *m = &s->remap;
	const char *why;
	int err = 0;

	if (!vhost_user_mem_table_valid(table, msg->hdr.size, &why)) {
		vu_log(s, VDPA_LOG_WARN, "vhost-user: SET_MEM_TABLE: %s", why);
		return -EINVAL;
	}
	if (msg->fds.n != table->nregions) {
		vu_log(s, VDPA_LOG_WARN, "vhost-user: SET_MEM_TABLE: %u regions, %u descriptors",
		       table->nregions, msg->fds.n);
		return -EINVAL;
	}
	*m = (struct vu_remap){0};
	for (uint32_t i = 0; i < table->nregions && !err; i++) {
		keep[i] = find_same(s, &table->region[i], msg->fds.fd[i]);
		if (keep[i])
			continue;
		err = region_new(s, &table->region[i], msg->fds.fd[i], &m->add[m->nadd]);
		m->nadd += !err;
	}
	if (err) {
		remap_drop(m);
		return err;
	}
	for (unsigned i = 0; i < s->nregions; i++) {
		bool kept = false;

		for (uint32_t j = 0; j < table->nregions; j++)
			kept |= keep[j] == s->region[i];
		if (!kept)
			m->del[m->ndel++] = s->region[i];
	}
	remap_stop(s);
	return VU_DEFERRED;
}

int vu_get_max_mem_slots(struct vu_session *s, struct vu_msg *msg)
{
	vu_reply_u64(s, VHOST_USER_MAX_MEM_SLOTS);
	return 0;
}

int vu_add_mem_reg(struct vu_session *s, struct vu_msg *msg)
{
	const struct vhost_user_mem_region *wire = &msg->payload->mem_reg.region;
	struct vu_remap *m = &s->remap;
	const char *why;
	bool ok = vhost_user_mem_region_valid(wire, &why);
	int err;

	for (unsigned i = 0; i < s->nregions && ok; i++)
		ok = vhost_user_mem_regions_disjoint(wire, &s->region[i]->wire, &why);
	if (ok && s->nregions == VHOST_USER_MAX_MEM_SLOTS)
		ok = vhost_user_bad(&why, "all 509 slots are taken");
	if (!ok) {
		vu_log(s, VDPA_LOG_WARN, "vhost-user: ADD_MEM_REG: %s", why);
		return -EINVAL;
	}
	*m = (struct vu_remap){0};
	err = region_new(s, wire, msg->fds.fd[0], &m->add[0]);
	if (err)
		return err;
	m->nadd = 1;
	remap_stop(s);
	return VU_DEFERRED;
}

/* A region is named by guest address, user address and size; a descriptor is closed with the
 * message. */
int vu_rem_mem_reg(struct vu_session *s, struct vu_msg *msg)
{
	const struct vhost_user_mem_region *wire = &msg->payload->mem_reg.region;
	struct vu_remap *m = &s->remap;

	for (unsigned i = 0; i < s->nregions; i++) {
		const struct vhost_user_mem_region *w = &s->region[i]->wire;

		if (w->guest_addr != wire->guest_addr || w->user_addr != wire->user_addr ||
		    w->size != wire->size)
			continue;
		*m = (struct vu_remap){.ndel = 1, .del = {s->region[i]}};
		remap_stop(s);
		return VU_DEFERRED;
	}
	vu_log(s, VDPA_LOG_WARN, "vhost-user: REM_MEM_REG: there is no such region");
	return -ENOENT;
}

/* ---- guest addresses or IOVAs ---- */

static void switched(struct vu_session *s, int result)
{
	s->after_switch(s, result);
}

static void switch_map(struct vu_session *s, int result)
{
	int err = result;

	vu_wait_begin(s, switched);
	for (unsigned i = 0; i < s->nregions && !err && !s->iommu; i++)
		err = map_region(s, s->region[i]);
	vu_wait_put(s, err);
}

int vu_mem_switch(struct vu_session *s, bool iommu, void (*then)(struct vu_session *s, int result))
{
	struct vdpa_done done;
	int err;

	if (iommu == s->iommu)
		return 0;
	s->iommu = iommu;
	if (!vhost_vdpa_has_owner(s->dev->v))
		return 0;
	s->after_switch = then;
	vu_wait_begin(s, switch_map);
	done = vu_wait_add(s);
	err = vhost_vdpa_iotlb_invalidate(s->dev->v, 0, 0, UINT64_MAX, &done);
	if (err)
		vu_wait_put(s, err);
	vu_wait_put(s, 0);
	return VU_DEFERRED;
}
