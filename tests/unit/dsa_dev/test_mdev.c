// SPDX-License-Identifier: BSD-3-Clause
/*
 * Mediated devices, as their guests see them through vfio-user: a DSA that works, two that do not
 * reach each other, errors, and the end of things while they are in use.
 */
#include "host.h"

#include "alloc_fail.h"

static const char uuid_a[] = "11111111-1111-4111-8111-111111111111";
static const char uuid_b[] = "22222222-2222-4222-8222-222222222222";
static const char uuid_c[] = "33333333-3333-4333-8333-333333333333";

static struct guest a, b;

static void up(struct guest *g, const char *uuid, bool by_message)
{
	guest_create(g, "idxd-1dwq-v1", uuid, NULL);
	guest_connect(g, by_message);
	guest_enable(g);
}

static unsigned slots_used(void)
{
	return ims_used(dsa_dev_ims(dsa_dev_find(host.ctx, "dsa0")));
}

/* ---- one guest ---- */

static void check_copies(bool by_message)
{
	struct dsa_hw_desc desc;

	up(&a, uuid_a, by_message);
	for (unsigned i = 0; i < 40; i++) {
		unsigned len = 1 + i * 977;

		for (unsigned n = 0; n < len; n++)
			a.mem[0x10000 + n] = (uint8_t)(n * 7 + i);
		memset(a.mem + 0x40000, 0, len + 1);
		desc = guest_move(&a, 0x40000, 0x10000, len, 0x1000);
		assert_int_equal(guest_submit(&a, i % 4, &desc), 0);
		assert_true(guest_wait(&a, a.irq[1]));
		/* The record is there before its interrupt, and the data before the record. */
		assert_int_equal(guest_status(&a, 0x1000), DSA_COMP_SUCCESS);
		assert_memory_equal(a.mem + 0x40000, a.mem + 0x10000, len);
		assert_int_equal(a.mem[0x40000 + len], 0);
	}
	assert_int_equal(vdpa_eventfd_drain(a.irq[0]), 0);
	guest_down(&a);
}

static void test_copies(void **state)
{
	check_copies(false);
}

static void test_copies_by_message(void **state)
{
	check_copies(true);
}

/* Engines, registers and the guest's messages on one thread. */
static void test_copies_on_one_thread(void **state)
{
	check_copies(false);
	check_copies(true);
}

static int start_alone(void **state)
{
	host_start(0);
	host_dsa("8");
	return 0;
}

static void test_identity(void **state)
{
	struct vfio_user_device_info info;
	struct vfio_user_region_info region;
	uint32_t id, class;

	guest_create(&a, "idxd-1dwq-v1", uuid_a, NULL);
	guest_connect(&a, false);
	assert_int_equal(vfio_user_get_info(a.client, &info), 0);
	assert_int_equal(info.flags, VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET);
	assert_int_equal(vfio_user_region_read(a.client, VFIO_PCI_CONFIG_REGION_INDEX, 0, &id, 4),
			 0);
	assert_int_equal(id, 0x0b258086);
	vfio_user_region_read(a.client, VFIO_PCI_CONFIG_REGION_INDEX, 8, &class, 4);
	assert_int_equal(class >> 8, 0x088000);
	assert_int_equal(vfio_user_get_region(a.client, 0, &region), 0);
	assert_int_equal(region.size, 0x10000);
	assert_int_equal(vfio_user_get_region(a.client, 2, &region), 0);
	assert_int_equal(region.size, 0x20000);
	assert_int_equal(region.flags & VFIO_REGION_INFO_FLAG_MMAP, 0);
	/* The host's interrupt message storage is in no region, and no offset leads there. */
	assert_int_equal(guest_read(&a, DSA_OFFSETS + 4) >> 16, 0);
	assert_int_equal(guest_read(&a, DSA_GENCAP) >> 25 & 0x3f, 0);
	assert_int_equal(vfio_user_region_read(a.client, 0, 0x10000, &id, 4), -EINVAL);
	/* Read-only configuration. */
	assert_int_equal(guest_read(&a, DSA_GENCAP) >> 31, 0);
	guest_write(&a, DSA_WQCFG, 1);
	assert_int_equal(guest_read(&a, DSA_WQCFG), 16);
	guest_down(&a);
}

static void test_bus_master(void **state)
{
	guest_create(&a, "idxd-1dwq-v1", uuid_a, NULL);
	guest_connect(&a, false);
	assert_int_equal(guest_cmd(&a, DSA_CMD_ENABLE_DEVICE, 0), DSA_CMDSTS_BUSMASTER);
	guest_enable(&a);
	guest_down(&a);
}

/* What blocks on a fault is waited for by a drain, and cancelled by an abort. */
static void block(struct guest *g)
{
	struct dsa_hw_desc desc = guest_move(g, 0x40000, 0x10000, 4096, 0x1000);

	desc.flags |= IDXD_OP_FLAG_BOF;
	desc.src_addr = GUEST_IOVA + GUEST_BYTES; /* nothing there yet */
	assert_int_equal(guest_submit(g, 0, &desc), 0);
}

/* Cleared under a device that works: nothing is in flight when the write is over. */
static void test_bus_master_is_taken(void **state)
{
	for (int by_message = 0; by_message < 2; by_message++) {
		struct dsa_hw_desc desc;

		up(&a, uuid_a, by_message);
		block(&a);
		guest_config(&a, 4, 2);
		assert_int_equal(guest_read(&a, DSA_GENSTS), DSA_HALTED);
		assert_int_equal(guest_status(&a, 0x1000), 0); /* no record of it */
		assert_int_equal(vdpa_eventfd_drain(a.irq[0]), 0);
		desc = guest_move(&a, 0x40000, 0x10000, 64, 0x2000);
		guest_submit(&a, 0, &desc);
		assert_int_equal(guest_cmd(&a, DSA_CMD_DRAIN_ALL, 0), DSA_CMDSTS_HW_ERR);
		assert_int_equal(guest_status(&a, 0x2000), 0);
		/* Setting it again is not enough: the driver resets what lost its work. */
		guest_config(&a, 4, 6);
		assert_int_equal(guest_cmd(&a, DSA_CMD_ENABLE_WQ, 0), DSA_CMDSTS_HW_ERR);
		assert_int_equal(guest_cmd(&a, DSA_CMD_RESET_DEVICE, 0), 0);
		guest_enable(&a);
		desc = guest_move(&a, 0x40000, 0x10000, 64, 0x2000);
		assert_int_equal(guest_submit(&a, 0, &desc), 0);
		assert_int_equal(guest_complete(&a, 0x2000), DSA_COMP_SUCCESS);
		/* Of one that is not enabled it is nothing: also what is written again. */
		assert_int_equal(guest_cmd(&a, DSA_CMD_DISABLE_DEVICE, 0), 0);
		guest_config(&a, 4, 2);
		guest_config(&a, 4, 2);
		assert_int_equal(guest_read(&a, DSA_GENSTS), DSA_DISABLED);
		guest_down(&a);
	}
}

static void test_command_interrupt(void **state)
{
	up(&a, uuid_a, false);
	assert_int_equal(guest_cmd(&a, DSA_CMD_DRAIN_ALL, DSA_CMD_INT), 0);
	assert_true(guest_wait(&a, a.irq[0]));
	assert_int_equal(guest_read(&a, DSA_INTCAUSE), DSA_INTCAUSE_CMD);
	guest_down(&a);
}

static void test_drain_waits(void **state)
{
	struct vfio_user_mem more = {
		.iova = GUEST_IOVA + GUEST_BYTES, .size = 4096, .perm = VHOST_MAP_RW};

	up(&a, uuid_a, false);
	block(&a);
	guest_write(&a, DSA_CMD, DSA_CMD_DRAIN_WQ << DSA_CMD_SHIFT | 1 | DSA_CMD_INT);
	for (unsigned i = 0; i < 50; i++) {
		assert_int_equal(guest_read(&a, DSA_CMDSTS), DSA_CMDSTS_ACTIVE);
		usleep(1000);
	}
	assert_int_equal(guest_status(&a, 0x1000), 0);
	/* The memory comes: the descriptor ends, then the command. */
	more.fd = a.fd;
	assert_int_equal(vfio_user_dma_map(a.client, &more), 0);
	assert_true(guest_wait(&a, a.irq[0]));
	assert_int_equal(guest_read(&a, DSA_CMDSTS), 0);
	assert_int_equal(guest_status(&a, 0x1000), DSA_COMP_SUCCESS);
	assert_memory_equal(a.mem + 0x40000, a.mem, 4096);
	guest_down(&a);
}

static void test_abort_cancels(void **state)
{
	static const struct {
		unsigned cmd, operand;
	} aborts[] = {{DSA_CMD_ABORT_WQ, 1},
		      {DSA_CMD_ABORT_ALL, 0},
		      {DSA_CMD_ABORT_PASID, 0},
		      {DSA_CMD_RESET_WQ, 1},
		      {DSA_CMD_RESET_DEVICE, 0}};

	for (unsigned i = 0; i < sizeof(aborts) / sizeof(aborts[0]); i++) {
		up(&a, uuid_a, false);
		block(&a);
		assert_int_equal(guest_cmd(&a, aborts[i].cmd, aborts[i].operand), 0);
		assert_int_equal(guest_status(&a, 0x1000), 0); /* no record of it */
		guest_down(&a);
	}
}

/* A reset, by either way, ends a drain that would never end. */
static void test_reset_over_a_drain(void **state)
{
	for (int flr = 0; flr < 2; flr++) {
		uint8_t config[256];
		unsigned at;

		up(&a, uuid_a, false);
		block(&a);
		guest_write(&a, DSA_CMD, DSA_CMD_DRAIN_WQ << DSA_CMD_SHIFT | 1 | DSA_CMD_INT);
		vfio_user_region_read(a.client, VFIO_PCI_CONFIG_REGION_INDEX, 0, config, 256);
		for (at = config[0x34]; config[at] != 0x10; at = config[at + 1])
			;
		if (flr)
			guest_config(&a, at + 8, 0x8000);
		else
			assert_int_equal(vfio_user_reset(a.client), 0);
		assert_int_equal(guest_read(&a, DSA_GENSTS), 0);
		assert_int_equal(guest_read(&a, DSA_CMDSTS), 0);
		assert_int_equal(vdpa_eventfd_drain(a.irq[0]), 0);
		guest_enable(&a);
		guest_down(&a);
	}
}

/* Memory that descriptors wait for, or use, goes away. */
static void test_unmap_while_blocked(void **state)
{
	up(&a, uuid_a, false);
	block(&a);
	assert_int_equal(vfio_user_dma_unmap(a.client, GUEST_IOVA, GUEST_BYTES), 0);
	assert_int_equal(guest_cmd(&a, DSA_CMD_ABORT_ALL, 0), 0);
	guest_down(&a);
}

static void test_swerr(void **state)
{
	struct dsa_hw_desc desc = {.opcode = 0x33};

	up(&a, uuid_a, false);
	assert_int_equal(guest_submit(&a, 0, &desc), 0); /* no such operation, and no record */
	assert_true(guest_wait(&a, a.irq[0]));
	assert_int_equal(guest_read(&a, DSA_INTCAUSE), DSA_INTCAUSE_ERR);
	assert_int_equal(guest_read(&a, DSA_SWERR), 0x0000100d);
	assert_int_equal(guest_read(&a, DSA_SWERR + 4), 0x33); /* and no PASID of the host's */
	assert_int_equal(host_inject(a.mdev, "swerr"), 0);
	assert_int_equal(guest_read(&a, DSA_SWERR) & 3, 3);
	guest_down(&a);
}

static void test_revocation(void **state)
{
	struct dsa_hw_desc desc;
	uint16_t old;

	up(&a, uuid_a, false);
	old = a.handle;
	assert_int_equal(host_inject(a.mdev, "revoke"), 0);
	assert_true(guest_wait(&a, a.irq[0]));
	assert_int_equal(guest_read(&a, DSA_INTCAUSE), DSA_INTCAUSE_REVOKED);
	guest_write(&a, DSA_INTCAUSE, DSA_INTCAUSE_REVOKED);
	desc = guest_move(&a, 0x40000, 0x10000, 64, 0x1000);
	assert_int_equal(guest_submit(&a, 0, &desc), 0);
	assert_int_equal(guest_complete(&a, 0x1000), DSA_COMP_INT_HANDLE_INVAL);
	a.handle = (uint16_t)(guest_cmd(&a, DSA_CMD_REQUEST_INT_HANDLE, 1) >> 8);
	assert_int_not_equal(a.handle, old);
	desc = guest_move(&a, 0x40000, 0x10000, 64, 0x1000);
	assert_int_equal(guest_submit(&a, 0, &desc), 0);
	assert_true(guest_wait(&a, a.irq[1]));
	assert_int_equal(guest_status(&a, 0x1000), DSA_COMP_SUCCESS);
	assert_int_equal(vdpa_eventfd_drain(a.irq[1]), 0); /* the first one did not interrupt */
	guest_down(&a);
}

static void test_injection(void **state)
{
	up(&a, uuid_a, false);
	assert_int_equal(host_inject(a.mdev, "flood"), -EINVAL);
	assert_int_equal(host_inject(a.mdev, "err"), 0);
	assert_true(guest_wait(&a, a.err_irq));
	assert_int_equal(host_inject(a.mdev, "request"), 0);
	assert_true(guest_wait(&a, a.req_irq));
	block(&a);
	assert_int_equal(host_inject(a.mdev, "halt"), 0);
	assert_true(guest_wait(&a, a.irq[0]));
	assert_int_equal(guest_read(&a, DSA_INTCAUSE), DSA_INTCAUSE_HALT);
	assert_int_equal(guest_read(&a, DSA_GENSTS), DSA_HALTED);
	assert_int_equal(guest_cmd(&a, DSA_CMD_DRAIN_ALL, 0), DSA_CMDSTS_HW_ERR);
	assert_int_equal(guest_cmd(&a, DSA_CMD_RESET_DEVICE, 0), 0);
	assert_int_equal(guest_status(&a, 0x1000), 0);
	guest_enable(&a);
	assert_int_equal(host_inject(a.mdev, "flr"), 0);
	assert_int_equal(guest_cmd(&a, DSA_CMD_RESET_DEVICE, 0), DSA_CMDSTS_HW_ERR);
	assert_int_equal(vfio_user_reset(a.client), 0);
	guest_enable(&a);
	guest_down(&a);
}

/* ---- queues ---- */

static void test_dedicated_queue_drops(void **state)
{
	struct dsa_vdev_stats stats;

	up(&a, uuid_a, false);
	for (unsigned i = 0; i < 200; i++)
		block(&a); /* 16 wait, some are with the engines */
	dsa_vdev_get_stats(dsa_mdev_vdev(a.mdev), &stats);
	assert_in_range(stats.submitted, 16, 199);
	assert_int_equal(stats.dropped, 200 - stats.submitted);
	assert_int_equal(stats.errors, 0);
	guest_down(&a);
}

static void test_shared_queue_says_retry(void **state)
{
	struct dsa_hw_desc desc;
	int r = 0;

	guest_create(&a, "idxd-1swq-v1", uuid_a, NULL);
	guest_connect(&a, false);
	guest_enable(&a);
	assert_int_equal(guest_read(&a, DSA_WQCFG + 8) & 1, 0);
	desc = guest_move(&a, 0x40000, 0x10000, 4096, 0x1000);
	desc.flags |= IDXD_OP_FLAG_BOF;
	desc.src_addr = GUEST_IOVA + GUEST_BYTES;
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(guest_submit(&a, 1, &desc), 0);
	assert_int_equal(guest_submit(&a, 1, &desc), -EAGAIN); /* the threshold */
	for (unsigned i = 0; i < 200 && !r; i++)
		r = guest_submit(&a, 0, &desc);
	assert_int_equal(r, -EAGAIN); /* the end */
	/* And when there is room again, it is taken. */
	assert_int_equal(guest_cmd(&a, DSA_CMD_ABORT_WQ, 1), 0);
	desc = guest_move(&a, 0x40000, 0x10000, 4096, 0x1000);
	r = guest_submit(&a, 1, &desc);
	assert_int_equal(r, 0);
	assert_true(guest_wait(&a, a.irq[1]));
	guest_down(&a);
}

static void test_mapped_portal(void **state)
{
	struct vfio_user_region_info region;
	struct dsa_hw_desc desc;
	uint64_t *page;

	guest_create(&a, "idxd-1dwq-v1", uuid_a, "mapped");
	guest_connect(&a, false);
	guest_enable(&a);
	assert_int_equal(vfio_user_get_region(a.client, 2, &region), 0);
	assert_true(region.flags & VFIO_REGION_INFO_FLAG_MMAP);
	assert_int_equal(region.nareas, 1);
	assert_int_equal(region.areas[0].offset, 0);
	assert_int_equal(region.areas[0].size, 0x2000);
	page = mmap(NULL, 0x2000, PROT_READ | PROT_WRITE, MAP_SHARED, region.fd,
		    (off_t)region.fd_offset);
	assert_true(page != MAP_FAILED);
	assert_int_equal(ftruncate(region.fd, 0), -1); /* nor can it be taken away */
	close(region.fd);
	for (unsigned i = 0; i < 300; i++) {
		volatile uint64_t *place = page + i % 128 * 8;
		uint64_t words[8];

		memset(a.mem + 0x10000, (int)i, 256);
		desc = guest_move(&a, 0x40000, 0x10000, 256, 0x1000);
		memcpy(words, &desc, sizeof(words));
		for (unsigned w = 1; w < 8; w++)
			place[w] = words[w];
		__atomic_store_n(&place[0], words[0], __ATOMIC_RELEASE);
		assert_true(guest_wait(&a, a.irq[1]));
		assert_int_equal(guest_status(&a, 0x1000), DSA_COMP_SUCCESS);
		assert_memory_equal(a.mem + 0x40000, a.mem + 0x10000, 256);
	}
	/* The trapped way is open as well. */
	desc = guest_move(&a, 0x40000, 0x10000, 256, 0x1000);
	assert_int_equal(guest_submit(&a, 3, &desc), 0);
	assert_true(guest_wait(&a, a.irq[1]));
	munmap(page, 0x2000);
	guest_down(&a);
}

/* What a descriptor writes becomes no descriptor: its own portals are not memory to a device. */
static void test_own_portals(void **state)
{
	const uint32_t bar = 0x70000000;
	struct vfio_user_mem mem = {.iova = bar, .size = GUEST_BYTES, .perm = VHOST_MAP_RW};
	struct vfio_user_region_info region;
	struct dsa_hw_desc desc;

	guest_create(&a, "idxd-1dwq-v1", uuid_a, "mapped");
	guest_connect(&a, false);
	guest_config(&a, 0x18, 0); /* BAR 2 */
	guest_config(&a, 0x1a, bar >> 16);
	guest_enable(&a);
	mem.fd = a.fd;
	assert_int_equal(vfio_user_dma_map(a.client, &mem), 0);
	memset(a.mem, 0xee, 64);
	desc = guest_move(&a, 0, 0x10000, 64, 0x1000);
	desc.dst_addr = bar;
	assert_int_equal(guest_submit(&a, 0, &desc), 0);
	assert_int_equal(guest_complete(&a, 0x1000) & DSA_COMP_STATUS_MASK,
			 DSA_COMP_PAGE_FAULT_NOBOF);
	assert_int_equal(a.mem[0], 0xee);
	desc = guest_move(&a, 0x40000, 0x10000, 64, 0x1000);
	desc.completion_addr = bar + 64;
	assert_int_equal(guest_submit(&a, 0, &desc), 0);
	assert_true(guest_wait(&a, a.irq[0]));
	assert_int_equal(guest_read(&a, DSA_SWERR) >> 8 & 0x7f, DSA_COMP_CRA_XLAT);
	assert_int_equal(vfio_user_dma_unmap(a.client, bar, GUEST_BYTES), 0);
	/* Nor by their file, wherever. */
	assert_int_equal(vfio_user_get_region(a.client, 2, &region), 0);
	mem.iova = 0x90000000;
	mem.size = 0x2000;
	mem.fd = region.fd;
	assert_int_equal(vfio_user_dma_map(a.client, &mem), -EINVAL);
	close(region.fd);
	guest_down(&a);
}

/* ---- two guests ---- */

/* The same addresses, and other memory: neither reads or writes what is the other's. */
static void test_memory_is_apart(void **state)
{
	struct dsa_hw_desc desc;

	up(&a, uuid_a, false);
	up(&b, uuid_b, false);
	memset(a.mem + 0x10000, 0xaa, 4096);
	memset(b.mem + 0x10000, 0xbb, 4096);
	desc = guest_move(&a, 0x40000, 0x10000, 4096, 0x1000);
	desc.pasid = 2; /* whatever it says: it has one PASID, its own */
	assert_int_equal(guest_submit(&a, 0, &desc), 0);
	assert_true(guest_wait(&a, a.irq[1]));
	assert_int_equal(a.mem[0x40000], 0xaa);
	assert_int_equal(b.mem[0x40000], 0);
	assert_int_equal(b.mem[0x1000], 0);
	/* What only the other one has mapped is a fault. */
	vfio_user_dma_unmap(a.client, GUEST_IOVA, GUEST_BYTES);
	assert_int_equal(guest_submit(&a, 0, &desc), 0);
	assert_true(guest_wait(&a, a.irq[0])); /* not even the record has a place */
	assert_int_equal(guest_read(&a, DSA_SWERR) >> 8 & 0x7f, DSA_COMP_CRA_XLAT);
	assert_int_equal(b.mem[0x40000], 0);
	assert_int_equal(guest_read(&b, DSA_SWERR), 0);
	guest_down(&a);
	guest_down(&b);
}

static void test_interrupts_are_apart(void **state)
{
	struct dsa_hw_desc desc;
	struct ims_stats stats;

	up(&a, uuid_a, false);
	up(&b, uuid_b, false);
	assert_int_not_equal(a.handle, b.handle);
	desc = guest_move(&a, 0x40000, 0x10000, 64, 0x1000);
	desc.int_handle = b.handle;
	assert_int_equal(guest_submit(&a, 0, &desc), 0);
	assert_int_equal(guest_complete(&a, 0x1000), DSA_COMP_INT_HANDLE_INVAL);
	assert_int_equal(guest_cmd(&a, DSA_CMD_RELEASE_INT_HANDLE, b.handle),
			 DSA_CMDSTS_INVAL_INT_IDX);
	desc = guest_move(&b, 0x40000, 0x10000, 64, 0x1000);
	assert_int_equal(guest_submit(&b, 0, &desc), 0);
	assert_true(guest_wait(&b, b.irq[1]));
	assert_int_equal(vdpa_eventfd_drain(b.irq[1]), 0);
	assert_int_equal(vdpa_eventfd_drain(a.irq[1]), 0);
	/* And the storage itself looks at whose work it is. */
	assert_int_equal(ims_send(dsa_dev_ims(dsa_dev_find(host.ctx, "dsa0")), b.handle, 77),
			 -EPERM);
	assert_int_equal(vdpa_eventfd_drain(b.irq[1]), 0);
	ims_get_stats(dsa_dev_ims(dsa_dev_find(host.ctx, "dsa0")), &stats);
	assert_int_equal(stats.pasid, 1);
	guest_down(&a);
	guest_down(&b);
}

/* One stands still; the other does not notice. */
static void test_queues_are_apart(void **state)
{
	struct dsa_hw_desc desc;

	up(&a, uuid_a, false);
	up(&b, uuid_b, false);
	for (unsigned i = 0; i < 20; i++)
		block(&a);
	desc = guest_move(&b, 0x40000, 0x10000, 64, 0x1000);
	for (unsigned i = 0; i < 50; i++) {
		assert_int_equal(guest_submit(&b, 0, &desc), 0);
		assert_true(guest_wait(&b, b.irq[1]));
	}
	assert_int_equal(guest_cmd(&b, DSA_CMD_DRAIN_ALL, 0), 0);
	assert_int_equal(guest_cmd(&b, DSA_CMD_RESET_DEVICE, 0), 0);
	assert_int_equal(guest_read(&a, DSA_GENSTS), DSA_ENABLED);
	/* No page of a's registers or portals leads to b. */
	desc = guest_move(&a, 0x50000, 0x10000, 64, 0x2000);
	for (unsigned portal = 4; portal < 32; portal++)
		assert_int_equal(guest_submit(&a, portal, &desc), 0);
	assert_int_equal(guest_cmd(&a, DSA_CMD_ABORT_ALL, 0), 0);
	assert_int_equal(guest_status(&a, 0x2000), 0);
	assert_int_equal(guest_status(&b, 0x2000), 0);
	guest_down(&a);
	guest_down(&b);
}

/* ---- types, ends ---- */

static void test_none_is_left(void **state)
{
	struct host_create c = {.type = "idxd-1dwq-v1", .uuid = uuid_c};
	struct guest swq;

	guest_create(&a, "idxd-1dwq-v1", uuid_a, NULL);
	guest_create(&b, "idxd-1dwq-v1", uuid_b, NULL);
	assert_int_equal(slots_used(), 2);
	assert_int_equal(host_call(host_do_create, &c), -EUSERS);
	guest_create(&swq, "idxd-1swq-v1", uuid_c, NULL);
	/* Locked: neither queue nor device can be disabled or changed. */
	assert_int_equal(host_disable("dsa0/wq0.0"), -EBUSY);
	assert_int_equal(host_disable("dsa0"), -EBUSY);
	assert_int_equal(host_words(host_do_config, "dsa0/wq0.0", "name", "other", NULL), -EBUSY);
	host_remove(a.mdev);
	host_remove(swq.mdev);
	assert_int_equal(slots_used(), 1);
	assert_int_equal(host_disable("dsa0/wq0.0"), 0);
	assert_int_equal(host_call(host_do_create, &c), -EUSERS);
	assert_int_equal(host_words(host_do_enable, "dsa0/wq0.0", NULL), 0);
	assert_int_equal(host_call(host_do_create, &c), 0);
	host_remove(c.mdev);
	host_remove(b.mdev);
	assert_int_equal(slots_used(), 0);
	assert_int_equal(host_disable("dsa0"), 0);
}

/* Removed with its guest connected, and descriptors in flight: the guest is asked, then gone. */
static void test_remove_while_open(void **state)
{
	uint32_t value;

	up(&a, uuid_a, false);
	for (unsigned i = 0; i < 5; i++)
		block(&a);
	host_remove(a.mdev);
	assert_int_equal(vdpa_eventfd_drain(a.req_irq), 1);
	assert_true(vfio_user_region_read(a.client, 0, 0, &value, 4) < 0);
	assert_int_equal(slots_used(), 0);
	guest_disconnect(&a);
	/* Its queue is free again. */
	up(&b, uuid_b, false);
	guest_down(&b);
}

/* A guest that goes without a word, and the next one on the same device. */
static void test_next_client(void **state)
{
	up(&a, uuid_a, false);
	for (unsigned i = 0; i < 5; i++)
		block(&a);
	guest_disconnect(&a);
	guest_connect(&a, true);
	assert_int_equal(guest_read(&a, DSA_GENSTS), 0);
	guest_enable(&a);
	guest_down(&a);
}

/* ---- memory that is not there ---- */

static int create_without_memory(void *arg)
{
	struct host_create c = {.type = "idxd-1dwq-v1", .uuid = uuid_a};

	for (alloc_fail_begin(); alloc_fail_more();) {
		int r = host_do_create(&c);

		alloc_fail_off();
		if (!r)
			return 0;
		assert_int_equal(r, -ENOMEM);
		assert_null(mdev_find(host.ctx, uuid_a));
		assert_int_equal(ims_used(dsa_dev_ims(dsa_dev_find(host.ctx, "dsa0"))), 0);
	}
	return -EIO;
}

/* Whatever allocation fails, nothing is left, and the queue is free. */
static void test_create_without_memory(void **state)
{
	struct mdev_device *mdev;

	assert_int_equal(host_call(create_without_memory, NULL), 0);
	mdev = mdev_find(host.ctx, uuid_a);
	assert_non_null(mdev);
	host_remove(mdev);
	up(&a, uuid_a, false);
	guest_down(&a);
}

static int add_without_memory(void *arg)
{
	int r = -ENOMEM;

	for (alloc_fail_begin(); r && alloc_fail_more();) {
		r = dsa_dev_add(host.ctx, "dsa1", NULL, NULL, NULL);
		alloc_fail_off();
		if (r && (r != -ENOMEM || dsa_dev_find(host.ctx, "dsa1")))
			return -EIO;
	}
	return r;
}

static int change_without_memory(void *arg)
{
	struct dsa_dev *dev = dsa_dev_find(host.ctx, "dsa1");
	struct dsa_change *change = NULL;

	for (alloc_fail_begin(); !change && alloc_fail_more();) {
		change = dsa_dev_begin(dev);
		alloc_fail_off();
	}
	return dsa_dev_end(change, 0, NULL);
}

static void test_add_without_memory(void **state)
{
	assert_int_equal(host_call(add_without_memory, NULL), 0);
	assert_int_equal(host_call(change_without_memory, NULL), 0);
	assert_int_equal(host_words(host_do_config, "dsa1/engine1.0", "group_id", "0", NULL), 0);
	assert_int_equal(host_words(host_do_enable, "dsa1", NULL), 0);
}

/* ---- threads ---- */

static _Atomic bool stop;

static void *hammer(void *arg)
{
	struct guest *g = arg;
	struct dsa_hw_desc desc = guest_move(g, 0x40000, 0x10000, 512, 0x1000);
	struct dsa_hw_desc bad = {.opcode = 0x33};
	unsigned i = 0;

	while (!stop && !vfio_user_region_post(g->client, 2, i % 4 * DSA_PORTAL_BYTES, &desc, 64)) {
		uint32_t cmd = DSA_CMD_DRAIN_WQ << DSA_CMD_SHIFT | 1 | DSA_CMD_INT, value;

		if (i % 16 == 0)
			vfio_user_region_post(g->client, 2, 0, &bad, 64);
		if (i % 32 == 0)
			vfio_user_region_post(g->client, 0, DSA_CMD, &cmd, 4);
		if (i % 8 == 0 && vfio_user_region_read(g->client, 0, DSA_INTCAUSE, &value, 4) < 0)
			break;
		value = UINT32_MAX;
		vfio_user_region_post(g->client, 0, DSA_SWERR, &value, 4);
		i++;
	}
	return NULL;
}

/* Registers, portals, interrupts and the host's own tools at one time, then the device goes. */
static void test_threads(void **state)
{
	for (unsigned round = 0; round < 3; round++) {
		pthread_t t;

		stop = false;
		up(&a, uuid_a, false);
		pthread_create(&t, NULL, hammer, &a);
		for (unsigned i = 0; i < 100; i++) {
			struct ims *ims = dsa_dev_ims(dsa_dev_find(host.ctx, "dsa0"));
			struct dsa_vdev_stats stats;

			host_inject(a.mdev, i % 3 ? "swerr" : "revoke");
			ims_mask(ims, i % 8);
			ims_unmask(ims, i % 8);
			dsa_vdev_get_stats(dsa_mdev_vdev(a.mdev), &stats);
			dsa_vdev_peek(dsa_mdev_vdev(a.mdev), DSA_SWERR);
		}
		host_remove(a.mdev);
		stop = true;
		pthread_join(t, NULL);
		assert_int_equal(slots_used(), 0);
		guest_disconnect(&a);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_copies, host_up, host_down),
		cmocka_unit_test_setup_teardown(test_copies_by_message, host_up, host_down),
		cmocka_unit_test_setup_teardown(test_copies_on_one_thread, start_alone, host_down),
		cmocka_unit_test_setup_teardown(test_identity, host_up, host_down),
		cmocka_unit_test_setup_teardown(test_bus_master, host_up, host_down),
		cmocka_unit_test_setup_teardown(test_bus_master_is_taken, host_up, host_down),
		cmocka_unit_test_setup_teardown(test_command_interrupt, host_up, host_down),
		cmocka_unit_test_setup_teardown(test_drain_waits, host_up, host_down),
		cmocka_unit_test_setup_teardown(test_abort_cancels, host_up, host_down),
		cmocka_unit_test_setup_teardown(test_reset_over_a_drain, host_up, host_down),
		cmocka_unit_test_setup_teardown(test_unmap_while_blocked, host_up, host_down),
		cmocka_unit_test_setup_teardown(test_swerr, host_up, host_down),
		cmocka_unit_test_setup_teardown(test_revocation, host_up, host_down),
		cmocka_unit_test_setup_teardown(test_injection, host_up, host_down),
		cmocka_unit_test_setup_teardown(test_dedicated_queue_drops, host_up, host_down),
		cmocka_unit_test_setup_teardown(test_shared_queue_says_retry, host_up, host_down),
		cmocka_unit_test_setup_teardown(test_mapped_portal, host_up, host_down),
		cmocka_unit_test_setup_teardown(test_own_portals, host_up, host_down),
		cmocka_unit_test_setup_teardown(test_memory_is_apart, host_up, host_down),
		cmocka_unit_test_setup_teardown(test_interrupts_are_apart, host_up, host_down),
		cmocka_unit_test_setup_teardown(test_queues_are_apart, host_up, host_down),
		cmocka_unit_test_setup_teardown(test_none_is_left, host_up, host_down),
		cmocka_unit_test_setup_teardown(test_remove_while_open, host_up, host_down),
		cmocka_unit_test_setup_teardown(test_next_client, host_up, host_down),
		cmocka_unit_test_setup_teardown(test_create_without_memory, host_up, host_down),
		cmocka_unit_test_setup_teardown(test_add_without_memory, host_up, host_down),
		cmocka_unit_test_setup_teardown(test_threads, host_up, host_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
