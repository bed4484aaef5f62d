// SPDX-License-Identifier: BSD-3-Clause
/* The switch's table of addresses: aging, moving, fixed addresses, shares; and with threads. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "backend/net_switch.h"

static struct switch_fdb *make(uint32_t limit)
{
	struct switch_fdb *fdb = calloc(1, sizeof(*fdb));

	assert_non_null(fdb);
	fdb_init(fdb, 300);
	for (unsigned i = 0; i < SWITCH_PORTS; i++)
		fdb->limit[i] = limit;
	return fdb;
}

static void test_aging(void **state)
{
	struct switch_fdb *fdb = make(100);

	assert_int_equal(fdb_lookup(fdb, 0x1234, 1000), FDB_NONE);
	assert_false(fdb_learn(fdb, 0x1234, 5, 1000));
	assert_int_equal(fdb_lookup(fdb, 0x1234, 1000), 5);
	assert_int_equal(fdb_lookup(fdb, 0x1234, 1299), 5);
	assert_int_equal(fdb_lookup(fdb, 0x1234, 1300), FDB_NONE);
	/* Heard again, it stays. */
	assert_false(fdb_learn(fdb, 0x1234, 5, 1299));
	assert_int_equal(fdb_lookup(fdb, 0x1234, 1500), 5);
	/* The clock of another loop may be a second behind. */
	assert_int_equal(fdb_lookup(fdb, 0x1234, 1298), 5);
	assert_int_equal(atomic_load(&fdb->count[5]), 1);
	free(fdb);
}

static void test_move(void **state)
{
	struct switch_fdb *fdb = make(100);

	assert_false(fdb_learn(fdb, 0x1234, 5, 1));
	assert_true(fdb_learn(fdb, 0x1234, 6, 2));
	assert_int_equal(fdb_lookup(fdb, 0x1234, 2), 6);
	assert_int_equal(atomic_load(&fdb->count[5]), 0);
	assert_int_equal(atomic_load(&fdb->count[6]), 1);
	/* What was forgotten does not move, it comes anew. */
	assert_false(fdb_learn(fdb, 0x1234, 5, 1000));
	fdb_forget(fdb, 5, false);
	assert_int_equal(fdb_lookup(fdb, 0x1234, 1000), FDB_NONE);
	assert_int_equal(atomic_load(&fdb->count[5]), 0);
	free(fdb);
}

static void test_static(void **state)
{
	struct switch_fdb *fdb = make(100);

	fdb_learn(fdb, 0xaa, 3, 1);
	assert_true(fdb_add_static(fdb, 0xaa, 4));
	assert_int_equal(atomic_load(&fdb->count[3]), 0);
	assert_int_equal(atomic_load(&fdb->count[4]), 0);
	assert_false(fdb_learn(fdb, 0xaa, 3, 2));
	assert_int_equal(fdb_lookup(fdb, 0xaa, 1000000), 4);
	/* Nor does another port get it by configuration. */
	assert_false(fdb_add_static(fdb, 0xaa, 5));
	assert_true(fdb_add_static(fdb, 0xaa, 4));
	/* All that is learned does not displace it. */
	for (uint64_t mac = 0x1000; mac < 0x20000; mac++)
		fdb_learn(fdb, mac << 8, (unsigned)(mac % SWITCH_PORTS), 3);
	assert_int_equal(fdb_lookup(fdb, 0xaa, 4), 4);
	fdb_forget(fdb, 4, true);
	assert_int_equal(fdb_lookup(fdb, 0xaa, 4), FDB_NONE);
	free(fdb);
}

/* One port floods without end: it has no more than its share, and the others keep theirs. */
static void test_shares(void **state)
{
	struct switch_fdb *fdb = make(FDB_BUCKETS * FDB_WAYS);
	unsigned kept = 0;

	fdb->limit[1] = 1000;
	for (uint64_t mac = 0; mac < 100000; mac++) {
		fdb_learn(fdb, 0x010000000000 + (mac << 8), 1, 10);
		assert_true(atomic_load(&fdb->count[1]) <= 1000);
	}
	assert_true(atomic_load(&fdb->count[1]) > 900);
	/* Without a limit it fills the table; a few addresses of others find room all the same. */
	for (uint64_t mac = 0; mac < 100000; mac++)
		fdb_learn(fdb, 0x020000000000 + (mac << 8), 2, 10);
	for (uint64_t mac = 0; mac < 200; mac++)
		fdb_learn(fdb, 0x030000000000 + (mac << 8), 3, 10);
	for (uint64_t mac = 0; mac < 100000; mac++)
		fdb_learn(fdb, 0x040000000000 + (mac << 8), 2, 10);
	for (uint64_t mac = 0; mac < 200; mac++)
		kept += fdb_lookup(fdb, 0x030000000000 + (mac << 8), 10) == 3;
	/* But where several of them meet in a bucket, which the secret decides. */
	assert_true(kept > 180);
	free(fdb);
}

/* ---- several loops ---- */

struct thread {
	pthread_t id;
	struct switch_fdb *fdb;
	unsigned port;
};

static void *learner(void *arg)
{
	struct thread *t = arg;

	for (uint32_t i = 0; i < 200000; i++) {
		uint64_t mac = (uint64_t)(i * 2654435761u % 5000 + 1) << 4;

		fdb_learn(t->fdb, mac, t->port, i / 1000);
		fdb_lookup(t->fdb, mac ^ 0x10, i / 1000);
	}
	return NULL;
}

static void test_threads(void **state)
{
	struct switch_fdb *fdb = make(500);
	struct thread threads[3];

	for (unsigned i = 0; i < 3; i++) {
		threads[i] = (struct thread){.fdb = fdb, .port = i};
		assert_int_equal(pthread_create(&threads[i].id, NULL, learner, &threads[i]), 0);
	}
	for (unsigned i = 0; i < 20; i++)
		fdb_add_static(fdb, 0xff0000 + i, 9);
	for (unsigned i = 0; i < 3; i++)
		pthread_join(threads[i].id, NULL);
	/* The counts are those of the table. */
	for (unsigned p = 0; p < 3; p++) {
		uint32_t n = 0;

		for (unsigned i = 0; i < FDB_BUCKETS * FDB_WAYS; i++) {
			uint64_t key = atomic_load(&fdb->entries[i / FDB_WAYS][i % FDB_WAYS].key);

			n += key && (key >> 48 & 0xff) == p + 1;
		}
		assert_int_equal(atomic_load(&fdb->count[p]), n);
		/* Loops that learn at once may exceed it by one each. */
		assert_true(n <= 502);
		fdb_forget(fdb, p, false);
		assert_int_equal(atomic_load(&fdb->count[p]), 0);
	}
	free(fdb);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_aging),	cmocka_unit_test(test_move),
		cmocka_unit_test(test_static),	cmocka_unit_test(test_shares),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests_name("net_switch_fdb", tests, NULL, NULL);
}
