// SPDX-License-Identifier: BSD-3-Clause
/* Portals: descriptors in one piece, in pieces, from two processors, and as memory. */
#include "rig.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define PAGE DSA_PORTAL_BYTES

static struct rig rig;

static int start(void **state)
{
	rig_start(&rig, &rig_dedicated);
	rig_enable_all(&rig);
	return 0;
}

static int start_shared(void **state)
{
	rig_start(&rig, &rig_shared);
	rig_enable_all(&rig);
	return 0;
}

static int end(void **state)
{
	rig_end(&rig);
	return 0;
}

static void make(uint8_t *desc, uint8_t seed)
{
	for (unsigned i = 0; i < DSA_DESC_BYTES; i++)
		desc[i] = (uint8_t)(seed + i);
}

static int put(uint64_t off, const void *buf, size_t len)
{
	return dsa_vdev_portal_write(rig.vdev, off, buf, len);
}

static struct dsa_vdev_stats stats(void)
{
	struct dsa_vdev_stats s;

	dsa_vdev_get_stats(rig.vdev, &s);
	return s;
}

static void test_all_portals_all_places(void **state)
{
	uint8_t desc[DSA_DESC_BYTES];

	make(desc, 1);
	for (unsigned portal = 0; portal < 4; portal++) {
		for (unsigned slot = 0; slot < 64; slot++) {
			rig.n = 0;
			assert_int_equal(put(portal * PAGE + slot * 64, desc, 64), 0);
			assert_int_equal(rig.n, 1);
			assert_memory_equal(rig.descs[0], desc, 64);
		}
	}
}

/* Any division into pieces, in any order, gives the descriptor. */
static void test_pieces(void **state)
{
	uint8_t desc[DSA_DESC_BYTES];

	srand(7);
	for (unsigned round = 0; round < 500; round++) {
		unsigned starts[65], n = 0, at;

		make(desc, (uint8_t)round);
		for (at = 0; at < 64; at += 1 + (unsigned)rand() % 16)
			starts[n++] = at;
		starts[n] = 64;
		rig.n = 0;
		for (unsigned i = 0; i < n; i++) {
			unsigned p = round % 2 ? i : n - 1 - i;

			assert_int_equal(rig.n, 0);
			put(5 * 64 + starts[p], desc + starts[p], starts[p + 1] - starts[p]);
		}
		assert_int_equal(rig.n, 1);
		assert_memory_equal(rig.descs[0], desc, 64);
	}
	assert_int_equal(stats().torn, 0);
}

/* One write over several places, which begins and ends inside of one. */
static void test_write_across_places(void **state)
{
	uint8_t data[4 * DSA_DESC_BYTES];

	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)i;
	put(32, data + 32, 3 * 64);
	assert_int_equal(rig.n, 2);
	put(0, data, 32);
	put(3 * 64 + 32, data + 3 * 64 + 32, 32);
	assert_int_equal(rig.n, 4);
	assert_memory_equal(rig.descs[0], data + 64, 64);
	assert_memory_equal(rig.descs[1], data + 128, 64);
	assert_memory_equal(rig.descs[2], data, 64);
	assert_memory_equal(rig.descs[3], data + 192, 64);
}

/* Two processors at one place, the second never before the first: both come, whole. */
static void test_two_processors(void **state)
{
	uint8_t a[DSA_DESC_BYTES], b[DSA_DESC_BYTES];

	srand(3);
	make(a, 10);
	make(b, 100);
	for (unsigned round = 0; round < 300; round++) {
		unsigned na = 0, nb = 0;

		rig.n = 0;
		while (na < 8 || nb < 8) {
			bool second = na == 8 || (nb < na && rand() % 2);
			unsigned *n = second ? &nb : &na;

			put(64 + *n * 8, (second ? b : a) + *n * 8, 8);
			(*n)++;
		}
		assert_int_equal(rig.n, 2);
		assert_memory_equal(rig.descs[0], a, 64);
		assert_memory_equal(rig.descs[1], b, 64);
	}
	assert_int_equal(stats().torn, 0);
}

/* Whatever the order is, none is lost. */
static void test_none_is_lost(void **state)
{
	uint8_t desc[DSA_DESC_BYTES];

	srand(4);
	make(desc, 0);
	for (unsigned round = 0; round < 300; round++) {
		unsigned n[3] = {0}, sum = 0;

		rig.n = 0;
		while (sum < 24) {
			unsigned who = (unsigned)rand() % 3;

			if (n[who] == 8)
				continue;
			put(n[who] * 8, desc + n[who] * 8, 8);
			n[who]++;
			sum++;
		}
		assert_int_equal(rig.n, 3);
	}
}

/* Each of many processors is interrupted in the middle of one; some share a place. */
static void test_many_processors(void **state)
{
	uint8_t desc[DSA_DESC_BYTES];

	make(desc, 5);
	for (unsigned half = 0; half < 2; half++) {
		for (unsigned cpu = 0; cpu < RIG_DESCS; cpu++)
			put(PAGE + cpu % 64 * 64 + half * 32, desc + half * 32, 32);
	}
	assert_int_equal(rig.n, RIG_DESCS);
	for (unsigned i = 0; i < RIG_DESCS; i++)
		assert_memory_equal(rig.descs[i], desc, 64);
	assert_int_equal(stats().torn, 0);
}

/* What never becomes whole has a bound, and is in nobody's way. */
static void test_torn(void **state)
{
	uint8_t desc[DSA_DESC_BYTES];

	make(desc, 9);
	for (unsigned i = 0; i < 100000; i++)
		put(i % 2048 * 8 % (4 * PAGE), desc, 1 + i % 7);
	assert_true(stats().torn > 10000);
	rig.n = 0;
	put(PAGE + 64, desc, 64);
	assert_int_equal(rig.n, 1);
	assert_memory_equal(rig.descs[0], desc, 64);
	/* A reset forgets them: the rest of one is not taken for its end. */
	rig_cmd(&rig, DSA_CMD_RESET_DEVICE, 0);
	rig_enable_all(&rig);
	rig.n = 0;
	put(2 * PAGE, desc, 32);
	rig_cmd(&rig, DSA_CMD_RESET_DEVICE, 0);
	rig_enable_all(&rig);
	put(2 * PAGE + 32, desc + 32, 32);
	assert_int_equal(rig.n, 0);
}

static void test_bounds(void **state)
{
	uint8_t data[2 * DSA_DESC_BYTES] = {0};

	assert_int_equal(put(DSA_BAR2_BYTES - 64, data, 65), -EINVAL);
	assert_int_equal(put(DSA_BAR2_BYTES, data, 1), -EINVAL);
	assert_int_equal(put(UINT64_MAX, data, 8), -EINVAL);
	assert_int_equal(put(0, data, 0), -EINVAL);
	assert_int_equal(stats().refused, 4);
	/* Pages of queues that there are not. */
	assert_int_equal(put(4 * PAGE, data, 64), 0);
	assert_int_equal(put(DSA_BAR2_BYTES - 64, data, 64), 0);
	assert_int_equal(stats().dropped, 2);
	assert_int_equal(rig.n, 0);
	assert_int_equal(stats().errors, 0);
}

static void test_dedicated_queue_full(void **state)
{
	uint8_t desc[DSA_DESC_BYTES];

	make(desc, 0);
	rig.room = 2;
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(put(i * 64, desc, 64), 0); /* silently */
	assert_int_equal(rig.n, 2);
	assert_int_equal(stats().dropped, 3);
	assert_int_equal(stats().submitted, 2);
	assert_int_equal(stats().errors, 0);
}

static void test_shared_queue_full(void **state)
{
	uint8_t desc[DSA_DESC_BYTES];

	make(desc, 0);
	rig.room = 50;
	/* The limited portal ends at the threshold, the unlimited one at the end of the queue. */
	for (unsigned i = 0; i < 48; i++)
		assert_int_equal(put(PAGE, desc, 64), 0);
	assert_int_equal(put(PAGE, desc, 64), -EAGAIN);
	assert_int_equal(put(3 * PAGE, desc, 64), -EAGAIN);
	assert_int_equal(put(2 * PAGE, desc, 64), 0);
	assert_int_equal(put(0, desc, 64), 0);
	assert_int_equal(put(0, desc, 64), -EAGAIN);
	assert_int_equal(stats().retried, 3);
	assert_int_equal(stats().dropped, 0);
}

/* A dedicated queue has no threshold: its limited portal is as the other. */
static void test_limited_portal_of_a_dedicated_queue(void **state)
{
	uint8_t desc[DSA_DESC_BYTES];

	make(desc, 0);
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(put(PAGE, desc, 64), 0);
	assert_int_equal(rig.n, 64);
}

static void test_not_enabled(void **state)
{
	uint8_t desc[DSA_DESC_BYTES];

	make(desc, 0);
	rig_cmd(&rig, DSA_CMD_DISABLE_WQ, 1);
	assert_int_equal(put(0, desc, 64), 0);
	assert_int_equal(rig.n, 0);
	assert_int_equal(rig_read(&rig, DSA_SWERR), 0x00005109);
	rig_cmd(&rig, DSA_CMD_DISABLE_DEVICE, 0);
	assert_int_equal(put(0, desc, 64), 0);
	assert_int_equal(rig.n, 0);
	assert_int_equal(rig_read(&rig, DSA_SWERR) & 3, 3);
}

/* ---- as memory ---- */

static void *memory;
static _Atomic uint64_t *pages; /* the same */

static int map(void **state)
{
	start(state);
	memory = aligned_alloc(PAGE, DSA_BAR2_BYTES);
	assert_non_null(memory);
	memset(memory, 0xff, DSA_BAR2_BYTES);
	pages = memory;
	dsa_vdev_set_pages(rig.vdev, memory);
	return 0;
}

static int unmap(void **state)
{
	dsa_vdev_set_pages(rig.vdev, NULL);
	free(memory);
	return end(state);
}

/* As a processor without stores of 64 bytes does it: the first 8 last. */
static void store(unsigned place, uint64_t value)
{
	for (unsigned i = 1; i < 8; i++)
		atomic_store_explicit(&pages[place * 8 + i], value, memory_order_relaxed);
	atomic_store(&pages[place * 8], value);
}

static void test_pages(void **state)
{
	assert_false(dsa_vdev_poll(rig.vdev)); /* what was there is gone */
	store(3, 0x1111);
	store(64 + 63, 0x2222);
	atomic_store(&pages[9 * 8 + 1], 5); /* not begun: the first is zero */
	assert_true(dsa_vdev_poll(rig.vdev));
	assert_int_equal(rig.n, 2);
	assert_int_equal(((uint64_t *)rig.descs[0])[7], 0x1111);
	assert_int_equal(((uint64_t *)rig.descs[1])[0], 0x2222);
	assert_false(dsa_vdev_poll(rig.vdev));
	/* Pages of IMS portals are not memory; a written register is a trap as before. */
	store(2 * 64, 0x3333);
	assert_false(dsa_vdev_poll(rig.vdev));
}

/* A full queue leaves it where it is. */
static void test_pages_full(void **state)
{
	rig.room = 1;
	store(0, 1);
	store(1, 2);
	assert_true(dsa_vdev_poll(rig.vdev));
	assert_false(dsa_vdev_poll(rig.vdev));
	assert_int_equal(rig.n, 1);
	rig.room = 2;
	assert_true(dsa_vdev_poll(rig.vdev));
	assert_int_equal(rig.n, 2);
	assert_int_equal(stats().dropped, 0);
}

/* A command is written after descriptors: they are seen first. */
static void test_pages_before_command(void **state)
{
	store(0, 1);
	rig.at_once = false;
	rig_cmd(&rig, DSA_CMD_DRAIN_WQ, 1);
	assert_int_equal(rig.n, 1);
	rig_quiet(&rig, DSA_VDEV_COMMAND);
	rig.at_once = true;
	/* Of a queue that is not enabled: gone, and told. */
	rig_cmd(&rig, DSA_CMD_DISABLE_WQ, 1);
	store(0, 1);
	assert_true(dsa_vdev_poll(rig.vdev));
	assert_int_equal(rig.n, 1);
	assert_int_equal(stats().errors, 1);
	store(0, 1);
	rig_cmd(&rig, DSA_CMD_RESET_DEVICE, 0);
	assert_false(dsa_vdev_poll(rig.vdev));
}

#define STORES 20000u
static _Atomic unsigned taken;

/* Writes to a place again as soon as its descriptor was taken, which is when a driver may. */
static void *writer(void *arg)
{
	for (uint64_t i = 1; i <= STORES; i++) {
		store(7, i);
		while (atomic_load(&taken) < i)
			;
	}
	return NULL;
}

/* None is lost, doubled or mixed between being copied and cleared. */
static void test_pages_race(void **state)
{
	pthread_t t;

	pthread_create(&t, NULL, writer, NULL);
	for (uint64_t i = 1; i <= STORES;) {
		rig.n = 0;
		if (!dsa_vdev_poll(rig.vdev))
			continue;
		assert_int_equal(rig.n, 1);
		for (unsigned w = 0; w < 8; w++)
			assert_int_equal(((uint64_t *)rig.descs[0])[w], i);
		atomic_store(&taken, (unsigned)i++);
	}
	pthread_join(t, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_all_portals_all_places, start, end),
		cmocka_unit_test_setup_teardown(test_pieces, start, end),
		cmocka_unit_test_setup_teardown(test_write_across_places, start, end),
		cmocka_unit_test_setup_teardown(test_two_processors, start, end),
		cmocka_unit_test_setup_teardown(test_none_is_lost, start, end),
		cmocka_unit_test_setup_teardown(test_many_processors, start, end),
		cmocka_unit_test_setup_teardown(test_torn, start, end),
		cmocka_unit_test_setup_teardown(test_bounds, start, end),
		cmocka_unit_test_setup_teardown(test_dedicated_queue_full, start, end),
		cmocka_unit_test_setup_teardown(test_shared_queue_full, start_shared, end),
		cmocka_unit_test_setup_teardown(test_limited_portal_of_a_dedicated_queue, start,
						end),
		cmocka_unit_test_setup_teardown(test_not_enabled, start, end),
		cmocka_unit_test_setup_teardown(test_pages, map, unmap),
		cmocka_unit_test_setup_teardown(test_pages_full, map, unmap),
		cmocka_unit_test_setup_teardown(test_pages_before_command, map, unmap),
		cmocka_unit_test_setup_teardown(test_pages_race, map, unmap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
