// SPDX-License-Identifier: BSD-3-Clause
/*
 * Interrupt message storage on a parent made for it: two mediated devices, each with two vectors
 * whose interrupts are eventfds.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "alloc_fail.h"
#include "base/fd.h"
#include "ims/ims.h"
#include "ims/vectors.h"

#define SLOTS 8

/* ---- slots ---- */

struct line {
	_Atomic unsigned fired;
	unsigned vector;
};

static void fire(void *arg, unsigned vector)
{
	struct line *line = arg;

	line->vector = vector;
	line->fired++;
}

static struct ims *new_ims(bool remap, bool need_pasid)
{
	struct ims_config config = {.slots = SLOTS, .remap = remap, .need_pasid = need_pasid};
	struct ims *ims;

	assert_int_equal(ims_new(&config, &ims), 0);
	return ims;
}

static unsigned new_slot(struct ims *ims, struct line *line)
{
	struct ims_irq irq = {.fire = fire, .arg = line, .vector = 7, .owner = "m0"};
	unsigned slot;

	assert_int_equal(ims_alloc(ims, &irq, &slot), 0);
	return slot;
}

static uint32_t ctrl_of(struct ims *ims, unsigned slot)
{
	struct ims_slot s;

	ims_look(ims, slot, &s, NULL, 0);
	return s.ctrl;
}

static void check_formats(bool remap)
{
	struct ims *ims = new_ims(remap, false);
	struct line line[SLOTS] = {0};
	char owner[8];

	assert_int_equal(ims_remaps(ims), remap);
	for (unsigned i = 0; i < SLOTS; i++) {
		unsigned slot = new_slot(ims, &line[i]);
		struct ims_slot s;

		assert_true(ims_look(ims, slot, &s, owner, sizeof(owner)));
		assert_string_equal(owner, "m0");
		assert_int_equal(s.ctrl, IMS_CTRL_MASK);
		assert_int_equal(s.addr & 0xfff00000, 0xfee00000);
		assert_int_equal(!!(s.addr & 0x10), remap);
		assert_int_equal(ims_unmask(ims, slot), 0);
		assert_int_equal(ims_send(ims, slot, 0), 0);
		assert_int_equal(line[i].fired, 1);
		assert_int_equal(line[i].vector, 7);
	}
	for (unsigned i = 0; i < SLOTS; i++)
		assert_int_equal(ims_release(ims, i), 0);
	assert_int_equal(ims_used(ims), 0);
	ims_free(ims);
}

static void test_formats(void **state)
{
	check_formats(false);
	check_formats(true);
}

/* Every slot's message differs from every other's, with as many as there can be. */
static void test_messages_differ(void **state)
{
	for (int remap = 0; remap < 2; remap++) {
		struct ims_config config = {.slots = IMS_SLOTS_MAX, .remap = remap};
		uint64_t *seen = calloc(IMS_SLOTS_MAX, sizeof(*seen));
		struct line line = {0};
		struct ims *ims;

		assert_int_equal(ims_new(&config, &ims), 0);
		for (unsigned i = 0; i < IMS_SLOTS_MAX; i++) {
			unsigned slot = new_slot(ims, &line);
			struct ims_slot s;

			ims_look(ims, slot, &s, NULL, 0);
			seen[slot] = s.addr << 8 | s.data;
			assert_true(!slot || seen[slot] != seen[slot - 1]);
			/* Another's message in this slot leads nowhere. */
			assert_int_equal(ims_unmask(ims, slot), 0);
			assert_int_equal(
				ims_poke(ims, slot * IMS_SLOT_BYTES, (uint32_t)s.addr ^ 0x20), 0);
			assert_int_equal(ims_send(ims, slot, 0), -EIO);
		}
		assert_int_equal(line.fired, 0);
		for (unsigned i = 0; i < IMS_SLOTS_MAX; i++)
			ims_release(ims, i);
		ims_free(ims);
		free(seen);
	}
}

static void test_reset_on_alloc_and_release(void **state)
{
	struct ims *ims = new_ims(true, false);
	struct line line = {0};
	unsigned slot = new_slot(ims, &line);
	struct ims_slot s;

	assert_int_equal(ims_set_pasid(ims, slot, 0x12345), 0);
	assert_int_equal(ims_unmask(ims, slot), 0);
	assert_int_equal(ctrl_of(ims, slot), 0x12345008);
	assert_int_equal(ims_release(ims, slot), 0);
	assert_false(ims_look(ims, slot, &s, NULL, 0));
	assert_true(!s.addr && !s.data && s.ctrl == IMS_CTRL_MASK);
	assert_int_equal(ims_send(ims, slot, 0x12345), -ENOENT);
	/* What somebody left in it meanwhile goes when it is allocated. */
	for (unsigned i = 0; i < SLOTS * IMS_SLOT_BYTES; i += 4)
		assert_int_equal(ims_poke(ims, i, 0xffffffff), 0);
	slot = new_slot(ims, &line);
	assert_int_equal(ctrl_of(ims, slot), IMS_CTRL_MASK);
	assert_int_equal(ims_release(ims, slot), 0);
	assert_int_equal(ims_release(ims, slot), -ENOENT);
	assert_int_equal(line.fired, 0);
	ims_free(ims);
}

static void test_exhaustion(void **state)
{
	struct ims *ims = new_ims(true, false);
	struct ims_irq irqs[4] = {{fire, NULL, 0, "a"}, {fire, NULL, 1, "a"}, {fire, NULL, 2, "a"}};
	struct line line = {0};
	unsigned slots[4], last;

	assert_int_equal(ims_alloc_many(ims, irqs, 4, slots), -EINVAL); /* one has no function */
	irqs[3].fire = fire;
	assert_int_equal(ims_alloc_many(ims, irqs, 4, slots), 0);
	assert_int_equal(ims_used(ims), 4);
	for (unsigned i = 0; i < SLOTS - 5; i++)
		new_slot(ims, &line);
	assert_int_equal(ims_alloc_many(ims, irqs, 2, slots), -ENOSPC); /* all or none */
	assert_int_equal(ims_used(ims), SLOTS - 1);
	last = new_slot(ims, &line);
	assert_int_equal(ims_alloc(ims, irqs, slots), -ENOSPC);
	assert_int_equal(ims_release(ims, last), 0);
	assert_int_equal(new_slot(ims, &line), last);
	for (unsigned i = 0; i < SLOTS; i++)
		assert_int_equal(ims_release(ims, i), 0);
	ims_free(ims);
}

/* One that was given back is the last to come again. */
static void test_in_turn(void **state)
{
	struct ims *ims = new_ims(true, false);
	struct line line = {0};
	unsigned slot = new_slot(ims, &line);

	for (unsigned i = 0; i < SLOTS - 1; i++) {
		unsigned next;

		ims_release(ims, slot);
		next = new_slot(ims, &line);
		assert_int_not_equal(next, slot);
		slot = next;
	}
	ims_release(ims, slot);
	ims_free(ims);
}

static void test_mask_and_pending(void **state)
{
	struct ims *ims = new_ims(true, false);
	struct line line = {0};
	unsigned slot = new_slot(ims, &line);
	struct ims_stats stats;

	assert_int_equal(ims_send(ims, slot, 0), 0);
	assert_int_equal(ims_send(ims, slot, 0), 0);
	assert_int_equal(line.fired, 0);
	assert_int_equal(ctrl_of(ims, slot), IMS_CTRL_MASK | IMS_CTRL_PENDING);
	assert_int_equal(ims_unmask(ims, slot), 0);
	assert_int_equal(line.fired, 1); /* once, however often */
	assert_int_equal(ctrl_of(ims, slot), 0);
	assert_int_equal(ims_unmask(ims, slot), 0);
	assert_int_equal(line.fired, 1);
	assert_int_equal(ims_mask(ims, slot), 0);
	assert_int_equal(ims_send(ims, slot, 0), 0);
	assert_int_equal(ims_release(ims, slot), 0); /* and what is pending goes with the slot */
	assert_int_equal(line.fired, 1);
	assert_int_equal(ims_mask(ims, slot), -ENOENT);
	assert_int_equal(ims_unmask(ims, slot), -ENOENT);
	assert_int_equal(ims_mask(ims, SLOTS), -ENOENT);
	ims_get_stats(ims, &stats);
	assert_int_equal(stats.held, 3);
	assert_int_equal(stats.delivered, 1);
	ims_free(ims);
}

struct access {
	bool write;
	uint32_t off, value;
};

static struct access seen[16];
static unsigned nseen;

static void trace(void *arg, bool write, uint32_t off, uint32_t value)
{
	if (nseen < 16)
		seen[nseen++] = (struct access){write, off, value};
}

/* Masking is a write that is read back, so that it has arrived when the call returns. */
static void test_read_back(void **state)
{
	struct ims_config config = {.slots = SLOTS, .trace = trace};
	struct line line = {0};
	struct ims *ims;
	unsigned slot;

	assert_int_equal(ims_new(&config, &ims), 0);
	slot = new_slot(ims, &line);
	for (int mask = 0; mask < 2; mask++) {
		nseen = 0;
		assert_int_equal(mask ? ims_mask(ims, slot) : ims_unmask(ims, slot), 0);
		assert_int_equal(nseen, 2);
		assert_true(seen[0].write && !seen[1].write);
		assert_int_equal(seen[0].off, slot * IMS_SLOT_BYTES + 12);
		assert_int_equal(seen[1].off, seen[0].off);
		assert_int_equal(seen[0].value, mask);
		assert_int_equal(seen[1].value, mask);
	}
	ims_release(ims, slot);
	ims_free(ims);
}

static void test_pasid(void **state)
{
	struct ims *ims = new_ims(true, true);
	struct line line = {0};
	unsigned slot = new_slot(ims, &line);
	struct ims_stats stats;

	assert_int_equal(ims_unmask(ims, slot), -EINVAL); /* it has none */
	assert_int_equal(ims_set_pasid(ims, slot, IMS_PASID_MAX + 1), -EINVAL);
	assert_int_equal(ims_set_pasid(ims, slot, 5), 0);
	assert_int_equal(ims_unmask(ims, slot), 0);
	assert_int_equal(ims_send(ims, slot, 6), -EPERM);
	assert_int_equal(line.fired, 0);
	assert_int_equal(ims_send(ims, slot, 5), 0);
	assert_int_equal(line.fired, 1);
	/* Masked: another's work does not make it pending either. */
	ims_mask(ims, slot);
	assert_int_equal(ims_send(ims, slot, 6), -EPERM);
	ims_unmask(ims, slot);
	assert_int_equal(line.fired, 1);
	assert_int_equal(ims_clear_pasid(ims, slot), 0);
	assert_int_equal(ctrl_of(ims, slot), IMS_CTRL_MASK);
	assert_int_equal(ims_unmask(ims, slot), -EINVAL);
	ims_get_stats(ims, &stats);
	assert_int_equal(stats.pasid, 2);
	ims_release(ims, slot);
	assert_int_equal(ims_set_pasid(ims, slot, 5), -ENOENT);
	ims_free(ims);
}

static void test_bad_arguments(void **state)
{
	struct ims_config config = {.slots = 0};
	struct ims *ims;

	assert_int_equal(ims_new(&config, &ims), -EINVAL);
	config.slots = IMS_SLOTS_MAX + 1;
	assert_int_equal(ims_new(&config, &ims), -EINVAL);
	ims = new_ims(false, false);
	assert_int_equal(ims_slots(ims), SLOTS);
	assert_int_equal(ims_poke(ims, 2, 0), -EINVAL);
	assert_int_equal(ims_poke(ims, SLOTS * IMS_SLOT_BYTES, 0), -EINVAL);
	assert_int_equal(ims_send(ims, SLOTS, 0), -ENOENT);
	assert_int_equal(ims_release(ims, UINT32_MAX), -ENOENT);
	ims_free(ims);
	ims_free(NULL);
}

/* ---- a parent with mediated devices ---- */

struct mdev {
	int eventfd[2];
	struct ims_vectors *v;
};

static void ring(void *arg, unsigned vector)
{
	struct mdev *mdev = arg;

	assert_int_equal(vdpa_eventfd_signal(mdev->eventfd[vector]), 0);
}

static int mdev_new(struct ims *ims, struct mdev *mdev, uint32_t pasid)
{
	struct ims_vectors_config config = {.ims = ims,
					    .count = 2,
					    .emulated = 1,
					    .pasid = pasid,
					    .owner = "test",
					    .signal = ring,
					    .arg = mdev};

	for (int i = 0; i < 2; i++)
		mdev->eventfd[i] = vdpa_eventfd_new();
	return ims_vectors_new(&config, &mdev->v);
}

static void mdev_free(struct mdev *mdev)
{
	ims_vectors_free(mdev->v);
	for (int i = 0; i < 2; i++)
		vdpa_fd_close(&mdev->eventfd[i]);
}

static void test_vectors(void **state)
{
	struct ims *ims = new_ims(true, true);
	struct mdev a, b;
	uint16_t ha, hb, again;

	assert_int_equal(mdev_new(ims, &a, 1), 0);
	assert_int_equal(mdev_new(ims, &b, 2), 0);
	assert_int_equal(ims_used(ims), 2);
	assert_int_equal(ims_vectors_signal(a.v, 0), 0);
	assert_int_equal(ims_vectors_signal(a.v, 1), -EINVAL);
	assert_int_equal(vdpa_eventfd_drain(a.eventfd[0]), 1);

	assert_int_equal(ims_vectors_request(a.v, 0, &ha), -EINVAL); /* it is emulated */
	assert_int_equal(ims_vectors_request(a.v, 2, &ha), -EINVAL);
	assert_int_equal(ims_vectors_request(a.v, 1, &ha), 0);
	assert_int_equal(ims_vectors_request(a.v, 1, &again), 0);
	assert_int_equal(ha, again);
	assert_true(ims_vectors_valid(a.v, ha));
	assert_int_equal(ims_vectors_send(a.v, ha, 1), 0);
	assert_int_equal(vdpa_eventfd_drain(a.eventfd[1]), 1);

	/* The other's handle: neither by the device, nor by the slot. */
	assert_int_equal(ims_vectors_request(b.v, 1, &hb), 0);
	assert_int_not_equal(ha, hb);
	assert_false(ims_vectors_valid(a.v, hb));
	assert_int_equal(ims_vectors_send(a.v, hb, 1), -ENOENT);
	assert_int_equal(ims_send(ims, hb, 1), -EPERM);
	assert_int_equal(vdpa_eventfd_drain(b.eventfd[1]), 0);

	assert_int_equal(ims_vectors_release(a.v, hb), -ENOENT);
	assert_int_equal(ims_vectors_release(a.v, ha), 0);
	assert_int_equal(ims_vectors_release(a.v, ha), -ENOENT);
	assert_int_equal(ims_vectors_send(a.v, ha, 1), -ENOENT);
	mdev_free(&a);
	mdev_free(&b);
	assert_int_equal(ims_used(ims), 0);
	ims_free(ims);
}

/* A driver that has never asked for a handle names the vector, which may have any slot. */
static void test_by_number(void **state)
{
	struct ims *ims = new_ims(true, true);
	struct mdev a, b;
	uint16_t handle;

	assert_int_equal(mdev_new(ims, &a, 1), 0);
	assert_int_equal(mdev_new(ims, &b, 2), 0);
	for (unsigned round = 0; round < 2; round++) {
		assert_false(ims_vectors_valid(b.v, 0)); /* it is emulated */
		assert_false(ims_vectors_valid(b.v, 2));
		assert_true(ims_vectors_valid(b.v, 1));
		assert_int_equal(ims_vectors_release(b.v, 1), -ENOENT);
		assert_int_equal(ims_vectors_send(b.v, 1, 1), -EPERM);
		assert_int_equal(ims_vectors_send(b.v, 1, 2), 0);
		assert_int_equal(vdpa_eventfd_drain(b.eventfd[1]), 1);
		assert_int_equal(vdpa_eventfd_drain(a.eventfd[1]), 0);
		/* Whoever asks has handles, and nothing else, until the next reset. */
		assert_int_equal(ims_vectors_request(b.v, 1, &handle), 0);
		assert_int_not_equal(handle, 1);
		assert_false(ims_vectors_valid(b.v, 1));
		ims_vectors_reset(b.v);
	}
	ims_vectors_revoke(b.v);
	assert_false(ims_vectors_valid(b.v, 1));
	mdev_free(&a);
	mdev_free(&b);
	ims_free(ims);
}

static void test_revoke(void **state)
{
	struct ims *ims = new_ims(true, true);
	struct mdev a, more[SLOTS + 1];
	uint16_t before, after;
	unsigned n = 0;

	assert_int_equal(mdev_new(ims, &a, 1), 0);
	assert_int_equal(ims_vectors_request(a.v, 1, &before), 0);
	ims_vectors_revoke(a.v);
	assert_int_equal(ims_used(ims), 0);
	assert_false(ims_vectors_valid(a.v, before));
	assert_int_equal(ims_vectors_request(a.v, 1, &after), 0);
	assert_int_not_equal(before, after);
	assert_int_equal(ims_vectors_send(a.v, before, 1), -ENOENT);
	assert_int_equal(ims_vectors_send(a.v, after, 1), 0);
	assert_int_equal(vdpa_eventfd_drain(a.eventfd[1]), 1);
	ims_vectors_reset(a.v);
	assert_false(ims_vectors_valid(a.v, after));
	assert_int_equal(ims_used(ims), 1);
	/* Others took all slots meanwhile. */
	ims_vectors_revoke(a.v);
	while (!mdev_new(ims, &more[n], 10 + n))
		n++;
	assert_int_equal(n, SLOTS);
	assert_int_equal(ims_vectors_request(a.v, 1, &after), -ENOSPC);
	ims_vectors_reset(a.v);
	mdev_free(&more[--n]);
	assert_int_equal(ims_vectors_request(a.v, 1, &after), 0);
	for (int i = 0; i < 2; i++)
		vdpa_fd_close(&more[SLOTS].eventfd[i]);
	while (n)
		mdev_free(&more[--n]);
	mdev_free(&a);
	ims_free(ims);
}

static void test_vectors_refused(void **state)
{
	struct ims *ims = new_ims(true, true);
	struct ims_vectors_config config = {
		.ims = ims, .count = 2, .emulated = 3, .pasid = 1, .signal = ring};
	struct ims_vectors *v;

	assert_int_equal(ims_vectors_new(&config, &v), -EINVAL);
	config.emulated = 1;
	config.count = IMS_VECTORS_MAX + 1;
	assert_int_equal(ims_vectors_new(&config, &v), -EINVAL);
	config.count = 2;
	config.pasid = IMS_PASID_MAX + 1;
	assert_int_equal(ims_vectors_new(&config, &v), -EINVAL);
	assert_int_equal(ims_used(ims), 0);
	ims_free(ims);
}

/* ---- threads, allocation ---- */

static struct ims *busy_ims;
static struct mdev busy;
static _Atomic bool stop;

static void *sender(void *arg)
{
	while (!stop) {
		for (unsigned h = 0; h < SLOTS; h++)
			ims_vectors_send(busy.v, h, 1);
	}
	return NULL;
}

static void *masker(void *arg)
{
	while (!stop) {
		for (unsigned s = 0; s < SLOTS; s++) {
			ims_mask(busy_ims, s);
			ims_unmask(busy_ims, s);
		}
	}
	return NULL;
}

/* Nothing is delivered beside a mask or a revocation, and nothing that was sent unmasked is lost:
 * at the end, one more arrives. */
static void test_threads(void **state)
{
	pthread_t t[2];
	uint16_t h;

	busy_ims = new_ims(true, true);
	assert_int_equal(mdev_new(busy_ims, &busy, 1), 0);
	pthread_create(&t[0], NULL, sender, NULL);
	pthread_create(&t[1], NULL, masker, NULL);
	for (int i = 0; i < 3000; i++) {
		assert_int_equal(ims_vectors_request(busy.v, 1, &h), 0);
		ims_vectors_revoke(busy.v);
	}
	stop = true;
	pthread_join(t[0], NULL);
	pthread_join(t[1], NULL);
	assert_int_equal(ims_vectors_request(busy.v, 1, &h), 0);
	vdpa_eventfd_drain(busy.eventfd[1]);
	assert_int_equal(ims_vectors_send(busy.v, h, 1), 0);
	assert_int_equal(vdpa_eventfd_drain(busy.eventfd[1]), 1);
	mdev_free(&busy);
	ims_free(busy_ims);
}

static void test_allocation(void **state)
{
	for (alloc_fail_begin(); alloc_fail_more();) {
		struct ims_config config = {.slots = SLOTS};
		struct ims *ims;
		struct mdev m;
		int r = ims_new(&config, &ims);

		if (r) {
			assert_int_equal(r, -ENOMEM);
			continue;
		}
		r = mdev_new(ims, &m, 1);
		alloc_fail_off();
		if (r) {
			assert_int_equal(r, -ENOMEM);
			m.v = NULL;
		}
		mdev_free(&m);
		assert_int_equal(ims_used(ims), 0);
		ims_free(ims);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_formats),
		cmocka_unit_test(test_messages_differ),
		cmocka_unit_test(test_reset_on_alloc_and_release),
		cmocka_unit_test(test_exhaustion),
		cmocka_unit_test(test_in_turn),
		cmocka_unit_test(test_mask_and_pending),
		cmocka_unit_test(test_read_back),
		cmocka_unit_test(test_pasid),
		cmocka_unit_test(test_bad_arguments),
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_by_number),
		cmocka_unit_test(test_revoke),
		cmocka_unit_test(test_vectors_refused),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_allocation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
