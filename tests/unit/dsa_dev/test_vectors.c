// SPDX-License-Identifier: BSD-3-Clause
/*
 * Interrupts of a mediated device on their way to the eventfd of their vector: MSI-X's masks and
 * pending bits, the host's mask of the slot behind a vector, bus master. The table is in BAR 0, for
 * clients that do not keep it to themselves.
 */
#include "host.h"

static struct guest a;

static int up(void **state)
{
	host_up(state);
	guest_create(&a, "idxd-1dwq-v1", "11111111-1111-4111-8111-111111111111", NULL);
	guest_connect(&a, false);
	guest_enable(&a);
	return 0;
}

static int down(void **state)
{
	guest_down(&a);
	return host_down(state);
}

static void mask_vector(struct guest *g, unsigned vector, bool mask)
{
	guest_write(g, DSA_MSIX_TABLE + vector * 16 + 12, mask);
}

/* Pending, and not told. */
static void until_pending(struct guest *g, unsigned vector)
{
	uint32_t pba = 0;

	for (unsigned i = 0; i < 30000 && pba != 1u << vector; i++) {
		usleep(i ? 1000 : 0);
		pba = guest_read(g, DSA_MSIX_PBA);
	}
	assert_int_equal(pba, 1u << vector);
	assert_int_equal(vdpa_eventfd_drain(g->irq[vector]), 0);
}

/* Told once, of what was pending. */
static void was_pending(struct guest *g, unsigned vector)
{
	assert_true(guest_wait(g, g->irq[vector]));
	assert_int_equal(guest_read(g, DSA_MSIX_PBA), 0);
	assert_int_equal(vdpa_eventfd_drain(g->irq[vector]), 0);
}

static void copy_once(struct guest *g)
{
	struct dsa_hw_desc desc = guest_move(g, 0x40000, 0x10000, 64, 0x1000);

	assert_int_equal(guest_submit(g, 0, &desc), 0);
	assert_int_equal(guest_complete(g, 0x1000), DSA_COMP_SUCCESS);
}

/* A completion, an error and a command, each while its vector is masked, and then not. */
static void test_vectors_are_masked(void **state)
{
	struct dsa_hw_desc bad = {.opcode = 0x33};

	mask_vector(&a, 1, true);
	copy_once(&a);
	until_pending(&a, 1);
	mask_vector(&a, 1, false);
	was_pending(&a, 1);
	copy_once(&a);
	assert_true(guest_wait(&a, a.irq[1]));

	mask_vector(&a, 0, true);
	assert_int_equal(guest_submit(&a, 0, &bad), 0);
	until_pending(&a, 0);
	assert_int_equal(guest_read(&a, DSA_INTCAUSE), DSA_INTCAUSE_ERR);
	mask_vector(&a, 0, false);
	was_pending(&a, 0);
	guest_write(&a, DSA_INTCAUSE, DSA_INTCAUSE_ERR);

	mask_vector(&a, 0, true);
	assert_int_equal(guest_cmd(&a, DSA_CMD_DRAIN_ALL, DSA_CMD_INT), 0);
	until_pending(&a, 0);
	assert_int_equal(guest_read(&a, DSA_INTCAUSE), DSA_INTCAUSE_CMD);
	mask_vector(&a, 0, false);
	was_pending(&a, 0);
}

/* All at once, by the function's mask. */
static void test_function_is_masked(void **state)
{
	unsigned msix;

	msix = guest_msix_cap(&a) + 2;
	guest_config(&a, msix, 0xc000);
	copy_once(&a);
	until_pending(&a, 1);
	guest_config(&a, msix, 0x8000);
	was_pending(&a, 1);
	/* Without MSI-X it has no way to tell: there is no INTx. */
	guest_config(&a, msix, 0);
	assert_int_equal(guest_cmd(&a, DSA_CMD_DRAIN_ALL, DSA_CMD_INT), 0);
	assert_int_equal(guest_read(&a, DSA_MSIX_PBA), 0);
	assert_int_equal(vdpa_eventfd_drain(a.irq[0]), 0);
}

/* An interrupt is a write to memory: none without bus master. */
static void test_no_interrupt_without_bus_master(void **state)
{
	guest_config(&a, 4, 2);
	assert_int_equal(host_inject(a.mdev, "revoke"), 0);
	assert_int_equal(guest_read(&a, DSA_INTCAUSE), DSA_INTCAUSE_REVOKED);
	until_pending(&a, 0);
	guest_config(&a, 4, 6);
	was_pending(&a, 0);
}

/* Its slot of the host's storage is masked: the host's tool keeps it from the guest for a time. */
static void test_slot_is_masked(void **state)
{
	struct ims *ims = dsa_dev_ims(dsa_dev_find(host.ctx, "dsa0"));
	struct ims_slot slot = {0};

	assert_int_equal(ims_mask(ims, a.handle), 0);
	copy_once(&a);
	for (unsigned i = 0; i < 30000 && !(slot.ctrl & IMS_CTRL_PENDING); i++) {
		usleep(i ? 1000 : 0);
		assert_true(ims_look(ims, a.handle, &slot, NULL, 0));
	}
	assert_true(slot.ctrl & IMS_CTRL_PENDING);
	assert_int_equal(vdpa_eventfd_drain(a.irq[1]), 0);
	assert_int_equal(guest_read(&a, DSA_MSIX_PBA), 0); /* the guest sees none of it */
	assert_int_equal(ims_unmask(ims, a.handle), 0);
	was_pending(&a, 1);
	/* Both masks: the host's first, then the guest's. */
	assert_int_equal(ims_mask(ims, a.handle), 0);
	mask_vector(&a, 1, true);
	copy_once(&a);
	assert_int_equal(guest_cmd(&a, DSA_CMD_DRAIN_ALL, 0), 0);
	assert_int_equal(ims_unmask(ims, a.handle), 0);
	until_pending(&a, 1);
	mask_vector(&a, 1, false);
	was_pending(&a, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_vectors_are_masked, up, down),
		cmocka_unit_test_setup_teardown(test_function_is_masked, up, down),
		cmocka_unit_test_setup_teardown(test_no_interrupt_without_bus_master, up, down),
		cmocka_unit_test_setup_teardown(test_slot_is_masked, up, down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
