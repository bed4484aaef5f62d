// SPDX-License-Identifier: BSD-3-Clause
/*
 * Memory of the front end. The back end is given the files of the regions ("Memory region
 * description"), one by one where it can (CONFIGURE_MEM_SLOTS), else as a whole table of at most 8.
 *
 * Without ACCESS_PLATFORM the ring's addresses are guest addresses, and each region's guest address
 * is the IOVA that the virtio bus chose. With it they are IOVAs, which the back end learns by IOTLB
 * messages: the regions get other guest addresses then, so that a back end that confuses them is
 * found out.
 */
#include <errno.h>
#include <stdlib.h>
#include "driver/vhost_user/frontend.h"

#define GPA_SHIFTED (1ull << 38)

static uint64_t slot_size(const struct fe_slot *slot)
{
	return vdpa_region_size(slot->region);
}

static struct fe_slot *find(struct fe *fe, iova_t iova)
{
	for (unsigned i = 0; i < fe->nslots; i++) {
		struct fe_slot *slot = &fe->slots[i];

		if (iova >= slot->iova && iova - slot->iova < slot_size(slot))
			return slot;
	}
	return NULL;
}

static int describe(const struct fe_slot *slot, struct vhost_user_mem_region *region)
{
	uint64_t offset = 0;
	int fd = vdpa_region_fd(slot->region, &offset);

	*region = (struct vhost_user_mem_region){
		.guest_addr = slot->gpa,
		.size = slot_size(slot),
		.user_addr = (uintptr_t)vdpa_region_base(slot->region),
		.mmap_offset = offset,
	};
	return fd;
}

static int send_one(struct fe *fe, const struct fe_slot *slot, bool add)
{
	struct fe_msg msg = {
		.hdr = {.request = add ? VHOST_USER_ADD_MEM_REG : VHOST_USER_REM_MEM_REG,
			.size = sizeof(struct vhost_user_mem_reg)},
	};
	int fd = describe(slot, &msg.p.mem_reg.region);

	return fe_set(fe, &msg, &fd, add ? 1 : 0);
}

static int send_table(struct fe *fe)
{
	struct fe_msg msg = {.hdr = {.request = VHOST_USER_SET_MEM_TABLE}};
	int fds[VHOST_USER_MAX_TABLE_REGIONS];

	if (fe->nslots > VHOST_USER_MAX_TABLE_REGIONS)
		return -ENOSPC;
	msg.p.table.nregions = fe->nslots;
	for (unsigned i = 0; i < fe->nslots; i++)
		fds[i] = describe(&fe->slots[i], &msg.p.table.region[i]);
	msg.hdr.size = (uint32_t)(8 + fe->nslots * sizeof(struct vhost_user_mem_region));
	return fe_set(fe, &msg, fds, fe->nslots);
}

static int send_iotlb(struct fe *fe, const struct fe_slot *slot, uint8_t type)
{
	struct fe_msg msg = {
		.hdr = {.request = VHOST_USER_IOTLB_MSG, .size = sizeof(struct vhost_iotlb_msg)},
	};

	msg.p.iotlb = (struct vhost_iotlb_msg){
		.iova = slot->iova,
		.size = slot_size(slot),
		.uaddr = (uintptr_t)vdpa_region_base(slot->region),
		.perm = VHOST_ACCESS_RW,
		.type = type,
	};
	return fe_set(fe, &msg, NULL, 0);
}

int fe_map(struct virtio_device *dev, iova_t iova, struct vdpa_region *region)
{
	struct fe *fe = to_fe(dev);
	struct fe_slot *slots;
	uint64_t offset;
	int r;

	if (vdpa_region_fd(region, &offset) < 0)
		return -EOPNOTSUPP;
	if (fe->nslots >= fe->max_slots)
		return -ENOSPC;
	slots = realloc(fe->slots, (fe->nslots + 1) * sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	fe->slots = slots;
	slots[fe->nslots++] = (struct fe_slot){
		.iova = iova,
		.gpa = fe->iommu ? iova + GPA_SHIFTED : iova,
		.region = region,
	};
	/* Away: it will be told when it is back. */
	if (!fe->connected && fe->reconnect)
		return 0;
	r = fe_has(fe, VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS)
		    ? send_one(fe, &slots[fe->nslots - 1], true)
		    : send_table(fe);
	if (r && !(fe->reconnect && !fe->connected))
		fe->nslots--;
	else
		r = 0;
	return r;
}

/* The back end is gone, or has acknowledged: either way it does not use the region any more. */
int fe_unmap(struct virtio_device *dev, iova_t iova, struct vdpa_region *region,
	     const struct vdpa_done *done)
{
	struct fe *fe = to_fe(dev);
	struct fe_slot *slot = find(fe, iova), gone;

	(void)region;
	if (!slot)
		return -ENOENT;
	gone = *slot;
	*slot = fe->slots[--fe->nslots];
	if (fe->connected && fe->iommu)
		send_iotlb(fe, &gone, VHOST_IOTLB_INVALIDATE);
	if (fe->connected && fe_has(fe, VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS))
		send_one(fe, &gone, false);
	else if (fe->connected && fe->nslots)
		send_table(fe);
	vdpa_done_call(done, 0);
	return 0;
}

int fe_mem_restore(struct fe *fe)
{
	int r = 0;

	if (!fe->nslots)
		return 0;
	if (!fe_has(fe, VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS))
		return send_table(fe);
	for (unsigned i = 0; !r && i < fe->nslots; i++)
		r = send_one(fe, &fe->slots[i], true);
	return r;
}

int fe_iotlb_miss(struct fe *fe, iova_t iova)
{
	struct fe_slot *slot = find(fe, iova);

	return slot ? send_iotlb(fe, slot, VHOST_IOTLB_UPDATE) : -ENOENT;
}

int fe_ring_addr(struct fe *fe, iova_t iova, uint64_t *addr)
{
	struct fe_slot *slot = find(fe, iova);

	if (!slot)
		return -EFAULT;
	*addr = fe->iommu ? iova : (uintptr_t)vdpa_region_base(slot->region) + (iova - slot->iova);
	return 0;
}

int fe_slot_gpa(struct fe *fe, iova_t iova, uint64_t bytes, gpa_t *gpa)
{
	struct fe_slot *slot = find(fe, iova);

	if (!slot || bytes > slot_size(slot) - (iova - slot->iova))
		return -EFAULT;
	*gpa = slot->gpa + (iova - slot->iova);
	return 0;
}
