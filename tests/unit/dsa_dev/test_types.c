// SPDX-License-Identifier: BSD-3-Clause
/*
 * Kinds of mediated devices: with two queues, and with queues that their guest configures, as
 * drivers from before read-only configuration want it.
 */
#include "host.h"

static const char uuid_a[] = "11111111-1111-4111-8111-111111111111";
static const char uuid_b[] = "22222222-2222-4222-8222-222222222222";
static const char uuid_c[] = "33333333-3333-4333-8333-333333333333";

static struct guest a;

struct left {
	const char *type;
	unsigned n;
};

static int ask_left(void *arg)
{
	struct left *left = arg;
	struct mdev_parent *parent = mdev_find_parent(host.ctx, "dsa0");

	left->n = mdev_available_instances(parent, mdev_find_type(parent, left->type));
	return 0;
}

static unsigned available(const char *type)
{
	struct left left = {.type = type};

	host_call(ask_left, &left);
	return left.n;
}

static int start_without_remapping(void **state)
{
	host_start(2);
	host_dsa_with("8", "off");
	return 0;
}

/* ---- two queues ---- */

/* Both queues of the guest work; handles[i] and irqs[i] are those of queue i. */
static uint16_t handles[2];
static int irqs[2];

static void up_two(const char *portals)
{
	guest_create(&a, "idxd-2dwq-v1", uuid_a, portals);
	guest_connect(&a, false);
	guest_enable(&a);
	assert_int_equal(guest_cmd(&a, DSA_CMD_ENABLE_WQ, 1), 0);
	irqs[0] = a.irq[1];
	guest_irq(&a, VFIO_PCI_MSIX_IRQ_INDEX, 2, &irqs[1]);
	handles[0] = a.handle;
	handles[1] = (uint16_t)(guest_cmd(&a, DSA_CMD_REQUEST_INT_HANDLE, 2) >> 8);
	assert_int_not_equal(handles[0], handles[1]);
}

static void down_two(void)
{
	guest_down(&a);
	vdpa_fd_close(&irqs[1]);
}

static struct dsa_hw_desc move_on(unsigned wq, unsigned rec)
{
	struct dsa_hw_desc desc = guest_move(&a, 0x40000 + wq * 0x1000, 0x10000, 512, rec);

	desc.int_handle = handles[wq];
	return desc;
}

static void test_two_queues(void **state)
{
	struct vfio_user_irqs msix = {0};
	uint32_t wqcap;

	up_two(NULL);
	assert_int_equal(vfio_user_get_irqs(a.client, VFIO_PCI_MSIX_IRQ_INDEX, &msix), 0);
	assert_int_equal(msix.count, 3);
	wqcap = guest_read(&a, DSA_WQCAP);
	assert_int_equal(wqcap >> DSA_WQCAP_NUM_SHIFT & 0xff, 2);
	assert_int_equal(wqcap & 0xffff, 32);
	for (unsigned i = 0; i < 40; i++) {
		unsigned wq = i % 2;
		struct dsa_hw_desc desc = move_on(wq, 0x1000);

		memset(a.mem + 0x10000, (int)i + 1, 512);
		assert_int_equal(guest_submit(&a, wq * DSA_PORTALS_PER_WQ + i / 2 % 4, &desc), 0);
		assert_true(guest_wait(&a, irqs[wq]));
		assert_int_equal(vdpa_eventfd_drain(irqs[!wq]), 0);
		assert_int_equal(guest_status(&a, 0x1000), DSA_COMP_SUCCESS);
		assert_memory_equal(a.mem + 0x40000 + wq * 0x1000, a.mem + 0x10000, 512);
	}
	down_two();
}

static void block(unsigned wq)
{
	struct dsa_hw_desc desc = move_on(wq, 0x2000);

	desc.flags |= IDXD_OP_FLAG_BOF;
	desc.src_addr = GUEST_IOVA + GUEST_BYTES;
	assert_int_equal(guest_submit(&a, wq * DSA_PORTALS_PER_WQ, &desc), 0);
}

/* What one queue waits for, the other does not; all of them are waited for together. */
static void test_queues_of_one(void **state)
{
	struct dsa_hw_desc desc;

	up_two(NULL);
	block(0);
	assert_int_equal(guest_cmd(&a, DSA_CMD_DRAIN_WQ, 2), 0);
	assert_int_equal(guest_cmd(&a, DSA_CMD_DISABLE_WQ, 2), 0);
	assert_int_equal(guest_cmd(&a, DSA_CMD_ENABLE_WQ, 1), 0);
	block(1);
	guest_write(&a, DSA_CMD, DSA_CMD_DRAIN_ALL << DSA_CMD_SHIFT);
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(guest_read(&a, DSA_CMDSTS), DSA_CMDSTS_ACTIVE);
		usleep(1000);
	}
	assert_int_equal(vfio_user_reset(a.client), 0);
	guest_enable(&a);
	assert_int_equal(guest_cmd(&a, DSA_CMD_ENABLE_WQ, 1), 0);
	block(0);
	block(1);
	assert_int_equal(guest_cmd(&a, DSA_CMD_ABORT_WQ, 1), 0);
	block(0);
	assert_int_equal(guest_cmd(&a, DSA_CMD_ABORT_ALL, 0), 0);
	/* An error says whose it was. */
	desc = (struct dsa_hw_desc){.opcode = 0x33};
	assert_int_equal(guest_submit(&a, DSA_PORTALS_PER_WQ, &desc), 0);
	assert_true(guest_wait(&a, a.irq[0]));
	assert_int_equal(guest_read(&a, DSA_SWERR) >> DSA_SWERR_WQ_SHIFT & 0xff, 1);
	block(0);
	block(1);
	down_two();
}

/* Each has its pages. */
static void test_two_mapped(void **state)
{
	struct vfio_user_region_info region;

	up_two("mapped");
	assert_int_equal(vfio_user_get_region(a.client, 2, &region), 0);
	assert_int_equal(region.nareas, 2);
	for (unsigned wq = 0; wq < 2; wq++) {
		struct dsa_hw_desc desc = move_on(wq, 0x1000);
		uint64_t words[8], *page;

		assert_int_equal(region.areas[wq].offset, wq * 0x4000);
		assert_int_equal(region.areas[wq].size, 0x2000);
		page = mmap(NULL, 0x2000, PROT_READ | PROT_WRITE, MAP_SHARED, region.fd,
			    (off_t)(region.fd_offset + region.areas[wq].offset));
		assert_true(page != MAP_FAILED);
		memcpy(words, &desc, sizeof(words));
		memcpy(page + 1, words + 1, 56);
		__atomic_store_n(page, words[0], __ATOMIC_RELEASE);
		assert_true(guest_wait(&a, irqs[wq]));
		munmap(page, 0x2000);
		/* The other one is looked at still. */
		if (!wq)
			assert_int_equal(guest_cmd(&a, DSA_CMD_DISABLE_WQ, 1), 0);
	}
	close(region.fd);
	down_two();
}

/* Types take from the same queues, and a device has those of one group. */
static void test_instances(void **state)
{
	struct host_create c = {.type = "idxd-2dwq-v1", .uuid = uuid_b};
	struct guest one;

	assert_int_equal(available("idxd-2dwq-v1"), 1);
	assert_int_equal(available("idxd-1dwq-v1"), 2);
	guest_create(&a, "idxd-2dwq-v1", uuid_a, NULL);
	assert_int_equal(available("idxd-1dwq-v1"), 0);
	assert_int_equal(host_disable("dsa0/wq0.0"), -EBUSY);
	assert_int_equal(host_disable("dsa0/wq0.1"), -EBUSY);
	assert_int_equal(host_call(host_do_create, &c), -EUSERS);
	host_remove(a.mdev);
	guest_create(&one, "idxd-1dwq-v1", uuid_c, NULL);
	assert_int_equal(available("idxd-2dwq-v1"), 0);
	assert_int_equal(host_call(host_do_create, &c), -EUSERS);
	host_remove(one.mdev);
	assert_int_equal(host_disable("dsa0"), 0);
	assert_int_equal(host_words(host_do_config, "dsa0/wq0.1", "group_id", "1", NULL), 0);
	assert_int_equal(host_words(host_do_config, "dsa0/engine0.1", "group_id", "1", NULL), 0);
	assert_int_equal(host_words(host_do_enable, "dsa0", NULL), 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(host_words(host_do_enable, i ? "dsa0/wq0.1" : "dsa0/wq0.0", NULL),
				 0);
	assert_int_equal(available("idxd-1dwq-v1"), 2);
	assert_int_equal(available("idxd-2dwq-v1"), 0);
	assert_int_equal(host_call(host_do_create, &c), -EUSERS);
}

/* ---- a driver of the first stage ---- */

static void up_configured(const char *by)
{
	struct host_create c = {
		.type = "idxd-1dwq-v1", .uuid = uuid_a, .attrs = {{"configuration", by}}};

	memset(&a, 0, sizeof(a));
	assert_int_equal(host_call(host_do_create, &c), 0);
	a.mdev = c.mdev;
	guest_connect(&a, false);
}

static uint64_t read64(unsigned off)
{
	uint64_t value;

	assert_int_equal(vfio_user_region_read(a.client, 0, off, &value, 8), 0);
	return value;
}

static void write64(unsigned off, uint64_t value)
{
	assert_int_equal(vfio_user_region_write(a.client, 0, off, &value, 8), 0);
}

/* Linux 5.6, its accesses in their order: probe. */
static void old_probe(void)
{
	guest_config(&a, 4, 6);
	assert_int_equal(guest_read(&a, DSA_VER), DSA_VERSION);
	assert_int_equal(guest_cmd(&a, DSA_CMD_RESET_DEVICE, 0), 0);
	assert_true(read64(DSA_GENCAP));
	assert_true(read64(DSA_GRPCAP));
	assert_int_equal(read64(DSA_ENGCAP), 2);
	assert_true(read64(DSA_WQCAP) & DSA_WQCAP_DEDICATED);
	for (unsigned i = 0; i < 4; i++)
		read64(DSA_OPCAP_REG + i * 8);
	assert_int_equal(read64(DSA_OFFSETS) & 0xffff, DSA_GRPCFG / DSA_OFFSET_UNIT);
	read64(DSA_OFFSETS + 8);
	guest_config(&a, guest_msix_cap(&a) + 2, 0x8000);
	guest_write(&a, DSA_GENCTRL, guest_read(&a, DSA_GENCTRL) | DSA_GENCTRL_SOFTERR);
}

/* Its administrator's configuration is written, whole, when the device is bound. */
static void old_configure(unsigned size)
{
	const uint32_t wqcfg[8] = {
		size, 0, DSA_WQCFG_DEDICATED | 10u << DSA_WQCFG_PRIO_SHIFT,
		/* what GENCAP allows at most */
		(uint32_t)(read64(DSA_GENCAP) >> DSA_GENCAP_XFER_SHIFT & 0x1f) |
			(uint32_t)(read64(DSA_GENCAP) >> DSA_GENCAP_BATCH_SHIFT & 0xf)
				<< DSA_WQCFG_BATCH_SHIFT};

	for (unsigned i = 0; i < 8; i++)
		guest_write(&a, DSA_WQCFG + i * 4, wqcfg[i]);
	write64(DSA_GRPCFG, 1);
	for (unsigned i = 1; i < 4; i++)
		write64(DSA_GRPCFG + i * 8, 0);
	write64(DSA_GRPCFG + DSA_GRPCFG_ENGINES, 1);
	guest_write(&a, DSA_GRPCFG + DSA_GRPCFG_FLAGS, 0x9 | 8u << 20);
}

/* It polls commands, asks for no handle, and names vectors by their number. */
static void old_work(void)
{
	assert_int_equal(guest_cmd(&a, DSA_CMD_ENABLE_DEVICE, 0), 0);
	assert_int_equal(guest_cmd(&a, DSA_CMD_ENABLE_WQ, 0), 0);
	for (unsigned i = 0; i < 20; i++) {
		struct dsa_hw_desc desc = guest_move(&a, 0x40000, 0x10000, 4096, 0x1000);

		memset(a.mem + 0x10000, (int)i + 1, 4096);
		desc.int_handle = 1;
		assert_int_equal(guest_submit(&a, 0, &desc), 0);
		assert_true(guest_wait(&a, a.irq[1]));
		assert_int_equal(guest_status(&a, 0x1000), DSA_COMP_SUCCESS);
		assert_memory_equal(a.mem + 0x40000, a.mem + 0x10000, 4096);
	}
	assert_int_equal(guest_cmd(&a, DSA_CMD_DRAIN_WQ, 1), 0);
	assert_int_equal(guest_cmd(&a, DSA_CMD_DISABLE_WQ, 1), 0);
	assert_int_equal(guest_cmd(&a, DSA_CMD_DISABLE_DEVICE, 0), 0);
}

/* Bound, used, unbound, with another size, and once more. */
static void test_first_stage(void **state)
{
	up_configured("guest");
	assert_true(read64(DSA_GENCAP) & DSA_GENCAP_CONFIG);
	old_probe();
	for (unsigned size = 16; size; size /= 4) {
		old_configure(size);
		assert_int_equal(guest_read(&a, DSA_WQCFG), size);
		old_work();
	}
	/* Not more than the host's queue has. */
	old_configure(17);
	assert_int_equal(guest_cmd(&a, DSA_CMD_ENABLE_DEVICE, 0), DSA_CMDSTS_WQ_SIZES);
	guest_down(&a);
}

/* The same accesses where they change nothing: the host's configuration holds. */
static void test_first_stage_read_only(void **state)
{
	up_configured("read-only");
	assert_false(read64(DSA_GENCAP) & DSA_GENCAP_CONFIG);
	old_probe();
	old_configure(4);
	assert_int_equal(guest_read(&a, DSA_WQCFG), 16);
	old_work();
	guest_down(&a);
}

/* No capability of the function says that it can be divided (SIOV is a DVSEC of Intel's). */
static void test_not_divided_again(void **state)
{
	uint32_t config[1024], at = 0x100, n = 0;

	guest_create(&a, "idxd-1dwq-v1", uuid_a, NULL);
	guest_connect(&a, false);
	guest_config(&a, 0, 0); /* nor is it another device, when it is told so */
	assert_int_equal(vfio_user_region_read(a.client, VFIO_PCI_CONFIG_REGION_INDEX, 0, config,
					       sizeof(config)),
			 0);
	assert_int_equal(config[0], 0x0b258086);
	for (; at; at = config[at / 4] >> 20) {
		assert_true(at >= 0x100 && at % 4 == 0 && n++ < 64);
		assert_int_not_equal(config[at / 4] & 0xffff, 0x23);
	}
	guest_down(&a);
}

struct change {
	struct mdev_device *mdev;
	const char *key, *value;
	struct vdpa_error err;
};

static int do_change(void *arg)
{
	struct change *c = arg;

	return mdev_set_attr(c->mdev, c->key, c->value, &c->err);
}

/* Not under a VMM. */
static void test_configuration_is_changed(void **state)
{
	struct change c = {.key = "configuration", .value = "guest"};

	guest_create(&a, "idxd-1dwq-v1", uuid_a, NULL);
	c.mdev = a.mdev;
	assert_int_equal(host_call(do_change, &c), -EBUSY);
	guest_connect(&a, false);
	assert_false(read64(DSA_GENCAP) & DSA_GENCAP_CONFIG);
	guest_down(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_two_queues, host_up, host_down),
		/* Interrupts arrive, whatever their messages look like. */
		cmocka_unit_test_setup_teardown(test_two_queues, start_without_remapping,
						host_down),
		cmocka_unit_test_setup_teardown(test_queues_of_one, host_up, host_down),
		cmocka_unit_test_setup_teardown(test_two_mapped, host_up, host_down),
		cmocka_unit_test_setup_teardown(test_instances, host_up, host_down),
		cmocka_unit_test_setup_teardown(test_first_stage, host_up, host_down),
		cmocka_unit_test_setup_teardown(test_first_stage_read_only, host_up, host_down),
		cmocka_unit_test_setup_teardown(test_configuration_is_changed, host_up, host_down),
		cmocka_unit_test_setup_teardown(test_not_divided_again, host_up, host_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
