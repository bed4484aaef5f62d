// SPDX-License-Identifier: BSD-3-Clause
/*
 * Queues for code in this process: drivers, users, and descriptors whose addresses are pointers.
 */
#include "host.h"

#include <uvdpa/dsa_wq.h>

#include "alloc_fail.h"

#define TURNS 40000 /* of half a millisecond: 20 s */

/* Somebody who has a queue open. What the control thread writes, the test reads when it is over. */
struct user {
	struct dsa_wq_client *client;
	struct vdpa_error err;
	_Atomic unsigned completed, aborted;
	_Atomic bool told, closed;
	bool keep; /* does not close when it is told */
};

static void until(_Atomic bool *flag)
{
	for (unsigned i = 0; i < TURNS && !atomic_load(flag); i++)
		usleep(500);
	assert_true(atomic_load(flag));
}

static void on_closed(void *arg, int result)
{
	atomic_store(&((struct user *)arg)->closed, true);
}

static void on_gone(void *arg)
{
	struct user *u = arg;
	const struct vdpa_done done = {on_closed, u};

	atomic_store(&u->told, true);
	if (!u->keep)
		dsa_wq_close(u->client, &done);
}

static void on_completed(void *arg, void *cookie, uint8_t status)
{
	struct user *u = arg;

	assert_ptr_equal(cookie, u);
	atomic_fetch_add(status == DSA_COMP_NONE ? &u->aborted : &u->completed, 1);
}

static int open_queue(struct dsa_wq *wq, struct user *u)
{
	const struct dsa_wq_params params = {
		.size = sizeof(params), .completed = on_completed, .gone = on_gone, .arg = u};

	return dsa_wq_open(wq, &params, &u->client, &u->err);
}

static int do_open(void *arg)
{
	struct dsa_wq *wq = dsa_wq_find(host.ctx, "dsa0/wq0.0");

	return wq ? open_queue(wq, arg) : -ENODEV;
}

static int do_close(void *arg)
{
	struct user *u = arg;
	const struct vdpa_done done = {on_closed, u};

	dsa_wq_close(u->client, &done);
	return 0;
}

static void close_queue(struct user *u)
{
	host_call(do_close, u);
	until(&u->closed);
}

/* ---- a driver ---- */

static struct user driven;
static int probe_result;
static unsigned probes, removes;

static int probe(struct dsa_wq *wq, struct vdpa_error *err)
{
	probes++;
	assert_ptr_equal(dsa_wq_ctx(wq), host.ctx);
	assert_string_equal(dsa_wq_path(wq), "dsa0/wq0.0");
	assert_int_equal(open_queue(wq, &driven), 0);
	return probe_result ? vdpa_error_set(err, -probe_result, "test", "no, thank you") : 0;
}

static void remove_queue(struct dsa_wq *wq)
{
	removes++;
}

static const struct dsa_wq_driver driver = {.size = sizeof(driver),
					    .name = "test",
					    .help = "a driver",
					    .probe = probe,
					    .remove = remove_queue};

static int do_register(void *arg)
{
	return dsa_wq_register_driver(host.ctx, arg, NULL);
}

static int do_unregister(void *arg)
{
	return dsa_wq_unregister_driver(host.ctx, arg);
}

static int start(void **state)
{
	memset(&driven, 0, sizeof(driven));
	probe_result = 0;
	probes = removes = 0;
	host_start(2);
	assert_int_equal(host_words(host_do_add, "dsa0", NULL), 0);
	assert_int_equal(host_words(host_do_config, "dsa0/engine0.0", "group_id", "0", NULL), 0);
	assert_int_equal(host_words(host_do_config, "dsa0/wq0.0", "group_id", "0", "name", "w",
				    "size", "16", "block_on_fault", "on", NULL),
			 0);
	assert_int_equal(host_words(host_do_enable, "dsa0", NULL), 0);
	return 0;
}

static int end(void **state)
{
	host_end();
	return 0;
}

static void enable(const char *type, const char *mode)
{
	assert_int_equal(host_words(host_do_config, "dsa0/wq0.0", "type", type, "driver_name",
				    "test", "mode", mode, "threshold", "8", NULL),
			 0);
	assert_int_equal(host_words(host_do_enable, "dsa0/wq0.0", NULL), 0);
}

struct work {
	uint8_t record[32] __attribute__((aligned(32)));
	uint8_t from[4096], to[4096];
};

static struct dsa_hw_desc copy_of(struct work *w)
{
	memset(w->record, 0, sizeof(w->record));
	return (struct dsa_hw_desc){.opcode = DSA_OPCODE_MEMMOVE,
				    .flags = IDXD_OP_FLAG_CRAV | IDXD_OP_FLAG_RCR,
				    .completion_addr = (uintptr_t)w->record,
				    .src_addr = (uintptr_t)w->from,
				    .dst_addr = (uintptr_t)w->to,
				    .xfer_size = sizeof(w->from)};
}

/* On the stack, as any other memory of the process. */
static void check_copy(struct user *u, uint8_t with)
{
	unsigned before = u->completed;
	struct work w;
	struct dsa_hw_desc desc = copy_of(&w);

	memset(w.from, with, sizeof(w.from));
	memset(w.to, 0, sizeof(w.to));
	assert_int_equal(dsa_wq_submit(u->client, &desc, u), 0);
	assert_int_equal(dsa_portal_wait(w.record, 20000000000), DSA_COMP_SUCCESS);
	assert_memory_equal(w.from, w.to, sizeof(w.to));
	for (unsigned i = 0; i < TURNS && u->completed == before; i++)
		usleep(500);
	assert_int_equal(u->completed, before + 1);
}

static void test_driver(void **state)
{
	assert_int_equal(host_words(host_do_config, "dsa0/wq0.0", "type", "kernel", NULL), 0);
	assert_int_equal(host_words(host_do_enable, "dsa0/wq0.0", NULL), -EINVAL);
	assert_int_equal(host_words(host_do_config, "dsa0/wq0.0", "driver_name", "test", NULL), 0);
	assert_int_equal(host_words(host_do_enable, "dsa0/wq0.0", NULL), -ENODEV);
	assert_int_equal(host_call(do_register, (void *)(uintptr_t)&driver), 0);
	enable("kernel", "dedicated");
	assert_int_equal(probes, 1);
	assert_int_equal(host_words(host_do_enable, "dsa0/wq0.0", NULL), -EALREADY);
	assert_int_equal(host_words(host_do_config, "dsa0/wq0.0", "name", "x", NULL), -EBUSY);
	for (unsigned i = 0; i < 20; i++)
		check_copy(&driven, (uint8_t)i);
	/* It is a driver's, not anybody's. */
	assert_int_equal(host_call(do_open, &(struct user){0}), -ENODEV);
	assert_int_equal(host_call(do_unregister, (void *)(uintptr_t)&driver), -EBUSY);
	assert_int_equal(host_disable("dsa0/wq0.0"), 0);
	assert_int_equal(removes, 1);
	assert_true(driven.told && driven.closed);
	assert_int_equal(host_call(do_unregister, (void *)(uintptr_t)&driver), 0);
	assert_int_equal(host_call(do_unregister, (void *)(uintptr_t)&driver), -ENOENT);
	assert_int_equal(host_words(host_do_enable, "dsa0/wq0.0", NULL), -ENODEV);
}

/* A driver that does not want the queue, after it has opened it. */
static void test_probe_fails(void **state)
{
	assert_int_equal(host_call(do_register, (void *)(uintptr_t)&driver), 0);
	assert_int_equal(host_words(host_do_config, "dsa0/wq0.0", "type", "kernel", "driver_name",
				    "test", NULL),
			 0);
	probe_result = -EIO;
	assert_int_equal(host_words(host_do_enable, "dsa0/wq0.0", NULL), -EIO);
	until(&driven.closed);
	assert_int_equal(removes, 0);
	probe_result = 0;
	assert_int_equal(host_words(host_do_enable, "dsa0/wq0.0", NULL), 0);
	check_copy(&driven, 1);
}

static void test_drivers_refused(void **state)
{
	struct dsa_wq_driver bad = driver;

	assert_int_equal(host_call(do_register, &bad), 0);
	assert_int_equal(host_call(do_register, (void *)(uintptr_t)&driver), -EEXIST);
	assert_int_equal(host_call(do_unregister, (void *)(uintptr_t)&driver), -ENOENT);
	for (unsigned i = 0; i < 3; i++) {
		static const char *const names[] = {"user", "mdev", ""};

		bad.name = names[i];
		assert_int_equal(host_call(do_register, &bad), -EINVAL);
	}
	bad.name = "other";
	bad.probe = NULL;
	assert_int_equal(host_call(do_register, &bad), -EINVAL);
	bad = driver; /* the context goes with it registered */
}

/* ---- users ---- */

static void test_user(void **state)
{
	struct user a = {0}, b = {0};

	assert_int_equal(host_call(do_open, &a), -ENODEV);
	enable("user", "dedicated");
	assert_int_equal(host_call(do_open, &a), 0);
	check_copy(&a, 7);
	assert_int_equal(host_call(do_open, &b), -EBUSY);
	close_queue(&a);
	assert_int_equal(host_call(do_open, &b), 0);
	check_copy(&b, 8);
	/* Whoever is told closes; the device waits for that. */
	b.keep = true;
	host_done_flag = false;
	assert_int_equal(host_words(host_do_disable, "dsa0", NULL), 0);
	assert_true(b.told);
	usleep(20000);
	assert_false(atomic_load(&host_done_flag));
	assert_int_equal(host_words(host_do_enable, "dsa0", NULL), -EBUSY);
	assert_int_equal(host_words(host_do_config, "dsa0/wq0.0", "name", "x", NULL), -EBUSY);
	check_copy(&b, 9); /* it works to the end */
	close_queue(&b);
	host_until(&host_done_flag);
	assert_int_equal(host_words(host_do_enable, "dsa0", NULL), 0);
}

/* Of the sum of the clients' descriptors, a shared queue takes as many as its threshold says. */
static void test_shared(void **state)
{
	struct user a = {0}, b = {0};
	static struct work work[64];
	unsigned n = 0;

	enable("user", "shared");
	assert_int_equal(host_call(do_open, &a), 0);
	assert_int_equal(host_call(do_open, &b), 0);
	assert_int_not_equal(dsa_wq_pasid(a.client), 0);
	assert_int_not_equal(dsa_wq_pasid(a.client), dsa_wq_pasid(b.client));
	for (unsigned i = 0; i < 64; i++) {
		struct user *u = i % 2 ? &a : &b;
		struct dsa_hw_desc desc = copy_of(&work[i]);
		int r;

		memset(work[i].from, (int)i + 1, sizeof(work[i].from));
		while ((r = dsa_wq_submit(u->client, &desc, u)) == -EAGAIN)
			n++;
		assert_int_equal(r, 0);
	}
	for (unsigned i = 0; i < 64; i++) {
		assert_int_equal(dsa_portal_wait(work[i].record, 20000000000), DSA_COMP_SUCCESS);
		assert_memory_equal(work[i].from, work[i].to, sizeof(work[i].to));
	}
	/* One goes, the other stays. */
	close_queue(&a);
	assert_int_equal(a.completed + a.aborted, 32);
	check_copy(&b, 3);
	close_queue(&b);
	print_message("%u retries\n", n);
}

/* What was submitted has ended, one way or the other, when the queue is closed. */
static void test_close_over_work(void **state)
{
	static struct work work[16];

	enable("user", "dedicated");
	for (unsigned round = 0; round < 50; round++) {
		struct user u = {0};
		unsigned n = 0;

		assert_int_equal(host_call(do_open, &u), 0);
		for (unsigned i = 0; i < 16; i++) {
			struct dsa_hw_desc desc = copy_of(&work[i]);

			n += !dsa_wq_submit(u.client, &desc, &u);
		}
		close_queue(&u);
		assert_int_equal(u.completed + u.aborted, n);
		assert_true(n);
	}
	/* Nothing of it counts for the next one. */
	driven.closed = false;
	assert_int_equal(host_call(do_open, &driven), 0);
	check_copy(&driven, 5);
}

static void test_open_refused(void **state)
{
	struct user u = {0};

	enable("mdev", "dedicated");
	assert_int_equal(host_call(do_open, &u), -ENODEV);
	assert_int_equal(host_disable("dsa0/wq0.0"), 0);
	enable("user", "dedicated");
	assert_int_equal(host_disable("dsa0/wq0.0"), 0);
	assert_int_equal(host_call(do_open, &u), -ENODEV);
}

static int open_without_memory(void *arg)
{
	int r = -ENOMEM;

	for (alloc_fail_begin(); r && alloc_fail_more();) {
		r = do_open(arg);
		alloc_fail_off();
		if (r && r != -ENOMEM)
			return r;
	}
	return r;
}

static void test_open_without_memory(void **state)
{
	enable("user", "dedicated");
	assert_int_equal(host_call(open_without_memory, &driven), 0);
	check_copy(&driven, 6);
}

/* ---- a process of its own ---- */

/*
 * A client of a mediated device whose map is its own address space: a descriptor's addresses are
 * pointers there as well, to anything, and nothing has to be registered.
 */
static void test_own_addresses(void **state)
{
	struct vfio_user_mem all = {.iova = 4096,
				    .size = (1ull << 47) - 8192,
				    .perm = VHOST_MAP_RW,
				    .fd = -1,
				    .mem = (void *)4096};
	struct work *heap = aligned_alloc(64, sizeof(*heap) + 64 - sizeof(*heap) % 64), stack;
	struct dsa_hw_desc desc;
	struct guest g;

	assert_int_equal(host_words(host_do_config, "dsa0/wq0.0", "type", "mdev", NULL), 0);
	assert_int_equal(host_words(host_do_enable, "dsa0/wq0.0", NULL), 0);
	guest_create(&g, "idxd-1dwq-v1", "11111111-1111-4111-8111-111111111111", NULL);
	guest_connect_with(&g, &all);
	guest_enable(&g);
	for (unsigned i = 0; i < 10; i++) {
		struct work *from = i % 2 ? heap : &stack, *to = i % 2 ? &stack : heap;

		memset(from->from, (int)i + 1, sizeof(from->from));
		desc = copy_of(from);
		desc.dst_addr = (uintptr_t)to->to;
		assert_int_equal(guest_submit(&g, 0, &desc), 0);
		for (unsigned n = 0; n < 20000 && !from->record[0]; n++)
			vfio_user_client_serve(g.client, 1000000);
		assert_int_equal(from->record[0], DSA_COMP_SUCCESS);
		assert_memory_equal(from->from, to->to, sizeof(to->to));
	}
	guest_disconnect(&g);
	host_remove(g.mdev);
	free(heap);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_driver, start, end),
		cmocka_unit_test_setup_teardown(test_probe_fails, start, end),
		cmocka_unit_test_setup_teardown(test_drivers_refused, start, end),
		cmocka_unit_test_setup_teardown(test_user, start, end),
		cmocka_unit_test_setup_teardown(test_shared, start, end),
		cmocka_unit_test_setup_teardown(test_close_over_work, start, end),
		cmocka_unit_test_setup_teardown(test_open_refused, start, end),
		cmocka_unit_test_setup_teardown(test_open_without_memory, start, end),
		cmocka_unit_test_setup_teardown(test_own_addresses, start, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
