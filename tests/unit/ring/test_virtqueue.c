// SPDX-License-Identifier: BSD-3-Clause
/* The driver's end: what it lays into memory, and what it lets a hostile device get away with
 * (nothing). */
#include "ring_test.h"
#include "alloc_fail.h"

#include <uvdpa/virtqueue.h>

#define VQ_NUM 8
#define V1 VDPA_BIT(VIRTIO_F_VERSION_1)
#define F_ORDER VDPA_BIT(VIRTIO_F_IN_ORDER)
#define MEM_IOVA 0x40000000ull

struct vq_test {
	struct virtqueue *vq;
	uint8_t *mem;
	struct vring_desc *d;
	struct vring_avail *a;
	struct vring_used *u;
	uint16_t used_idx;
};

static void vt_new(struct vq_test *t, uint64_t features)
{
	size_t bytes = virtqueue_mem_bytes(VQ_NUM, features);
	struct virtqueue_config config = {
		.size = sizeof(config), .num = VQ_NUM, .features = features, .mem_iova = MEM_IOVA};
	iova_t desc, driver, device;

	memset(t, 0, sizeof(*t));
	t->mem = aligned_alloc(4096, bytes);
	memset(t->mem, 0, bytes);
	config.mem = t->mem;
	assert_int_equal(virtqueue_new(&config, &t->vq), 0);
	virtqueue_addrs(t->vq, &desc, &driver, &device);
	assert_int_equal(virtqueue_num(t->vq), VQ_NUM);
	assert_int_equal(device % 4096, 0);
	t->d = (struct vring_desc *)(void *)(t->mem + (desc - MEM_IOVA));
	t->a = (struct vring_avail *)(void *)(t->mem + (driver - MEM_IOVA));
	t->u = (struct vring_used *)(void *)(t->mem + (device - MEM_IOVA));
}

static void vt_end(struct vq_test *t)
{
	virtqueue_free(t->vq);
	free(t->mem);
}

static void device_says(struct vq_test *t, uint32_t id, uint32_t len)
{
	t->u->ring[t->used_idx % VQ_NUM].id = id;
	t->u->ring[t->used_idx % VQ_NUM].len = len;
	t->u->idx = ++t->used_idx;
}

static const struct virtqueue_sg sg[] = {{0x1000, 10}, {0x2000, 20}, {0x3000, 30}};

static void direct_layout(void **state)
{
	struct vq_test t;
	uint32_t len;
	int token;

	(void)state;
	vt_new(&t, V1);
	assert_int_equal(virtqueue_add(t.vq, sg, 2, 1, &token), 0);
	assert_int_equal(t.a->idx, 0);
	assert_true(virtqueue_publish(t.vq));
	assert_false(virtqueue_publish(t.vq));
	assert_int_equal(t.a->idx, 1);
	assert_int_equal(t.a->ring[0], 0);
	assert_int_equal(t.d[0].addr, 0x1000);
	assert_int_equal(t.d[0].len, 10);
	assert_int_equal(t.d[0].flags, NEXT);
	assert_int_equal(t.d[t.d[0].next].flags, NEXT);
	assert_int_equal(t.d[t.d[t.d[0].next].next].addr, 0x3000);
	assert_int_equal(t.d[t.d[t.d[0].next].next].flags, WRITE);
	assert_int_equal(virtqueue_num_free(t.vq), VQ_NUM - 3);
	assert_int_equal(virtqueue_outstanding(t.vq), 1);
	assert_null(virtqueue_get(t.vq, &len));
	device_says(&t, 0, 30);
	assert_ptr_equal(virtqueue_get(t.vq, &len), &token);
	assert_int_equal(len, 30);
	assert_int_equal(virtqueue_num_free(t.vq), VQ_NUM);
	assert_null(virtqueue_get(t.vq, NULL));
	assert_false(virtqueue_broken(t.vq));
	vt_end(&t);
}

static void indirect_layout(void **state)
{
	struct vq_test t;
	struct vring_desc *table;
	int token[VQ_NUM + 1];

	(void)state;
	vt_new(&t, V1 | F_INDIRECT);
	for (unsigned i = 0; i < VQ_NUM; i++)
		assert_int_equal(virtqueue_add(t.vq, sg, 1, 2, &token[i]), 0);
	assert_int_equal(virtqueue_add(t.vq, sg, 1, 2, &token[VQ_NUM]), -ENOSPC);
	for (unsigned i = 0; i < VQ_NUM; i++) {
		assert_int_equal(t.d[i].flags, INDIRECT);
		assert_int_equal(t.d[i].len, 48);
		assert_in_range(t.d[i].addr, MEM_IOVA,
				MEM_IOVA + virtqueue_mem_bytes(VQ_NUM, F_INDIRECT) - 48);
		table = (struct vring_desc *)(void *)(t.mem + (t.d[i].addr - MEM_IOVA));
		assert_int_equal(table[0].flags, NEXT);
		assert_int_equal(table[0].next, 1);
		assert_int_equal(table[1].flags, NEXT | WRITE);
		assert_int_equal(table[2].flags, WRITE);
		assert_int_equal(table[2].len, 30);
	}
	vt_end(&t);
}

static void limits(void **state)
{
	struct vq_test t;
	struct virtqueue_sg many[VQ_NUM + 1] = {{0}};
	int token;

	(void)state;
	vt_new(&t, V1);
	assert_int_equal(virtqueue_add(t.vq, many, 0, 0, &token), -EINVAL);
	assert_int_equal(virtqueue_add(t.vq, many, 1, 0, NULL), -EINVAL);
	assert_int_equal(virtqueue_add(t.vq, many, VQ_NUM, 1, &token), -EINVAL);
	assert_int_equal(virtqueue_add(t.vq, many, 0xffffffff, 2, &token), -EINVAL);
	assert_int_equal(virtqueue_add(t.vq, many, VQ_NUM - 1, 0, &token), 0);
	assert_int_equal(virtqueue_add(t.vq, many, 2, 0, &token), -ENOSPC);
	assert_int_equal(virtqueue_add(t.vq, many, 1, 0, &token), 0);
	assert_int_equal(virtqueue_add(t.vq, many, 1, 0, &token), -ENOSPC);
	vt_end(&t);
}

static void birth(void **state)
{
	struct virtqueue_config config = {.size = sizeof(config), .num = VQ_NUM};
	static uint8_t mem[16384] __attribute__((aligned(4096)));
	struct virtqueue *vq = NULL;

	(void)state;
	config.mem = mem;
	for (uint32_t num = 0; num < 100; num++) {
		config.num = num;
		if (num && !(num & (num - 1)) && num <= 64) {
			assert_int_equal(virtqueue_new(&config, &vq), 0);
			virtqueue_free(vq);
		} else {
			assert_int_equal(virtqueue_new(&config, &vq), -EINVAL);
		}
	}
	config.num = 65536;
	assert_int_equal(virtqueue_new(&config, &vq), -EINVAL);
	config.num = VQ_NUM;
	config.mem = mem + 8;
	assert_int_equal(virtqueue_new(&config, &vq), -EINVAL);
	config.mem = mem;
	for (alloc_fail_begin(); alloc_fail_more();) {
		int rc = virtqueue_new(&config, &vq);

		alloc_fail_off();
		assert_true(rc == 0 || rc == -ENOMEM);
		if (!rc)
			virtqueue_free(vq);
	}
}

/* ---- a hostile device ---- */

static void hostile(uint64_t features, uint16_t idx, uint32_t id, uint32_t len, bool breaks)
{
	struct vq_test t;
	int token;
	uint32_t got = 0;

	vt_new(&t, features);
	assert_int_equal(virtqueue_add(t.vq, sg, 1, 1, &token), 0);
	virtqueue_publish(t.vq);
	device_says(&t, id, len);
	t.u->idx = idx;
	if (breaks) {
		assert_null(virtqueue_get(t.vq, &got));
		assert_true(virtqueue_broken(t.vq));
		/* For good, also when the device thinks better of it. */
		t.used_idx = 0;
		device_says(&t, 0, 0);
		assert_null(virtqueue_get(t.vq, &got));
		assert_int_equal(virtqueue_add(t.vq, sg, 1, 0, &token), -ENOSPC);
		assert_ptr_equal(virtqueue_detach_unused(t.vq), &token);
		assert_null(virtqueue_detach_unused(t.vq));
		assert_int_equal(virtqueue_outstanding(t.vq), 0);
	} else {
		assert_ptr_equal(virtqueue_get(t.vq, &got), &token);
		assert_int_equal(got, len < 20 ? len : 20);
		assert_false(virtqueue_broken(t.vq));
	}
	vt_end(&t);
}

static void hostile_device(void **state)
{
	(void)state;
	hostile(V1, 1, 0, 20, false);
	hostile(V1, 1, VQ_NUM, 0, true);
	hostile(V1, 1, 0xffffffff, 0, true);
	hostile(V1, 1, 0x10000, 0, true); /* not truncated to 16 bits */
	hostile(V1, 1, 1, 0, true);	  /* inside the chain, not its head */
	hostile(V1, 1, 5, 0, true);	  /* nothing there */
	hostile(V1, 2, 0, 0, true);	  /* more than was given */
	hostile(V1, 65535, 0, 0, true);
	hostile(V1, 1, 0, 21, true);
	hostile(V1, 1, 0, 0xffffffff, true);
	/* Legacy devices are known to report too much. */
	hostile(0, 1, 0, 30, false);
	/* Through an indirect table too. */
	hostile(V1 | F_INDIRECT, 1, 0, 20, false);
	hostile(V1 | F_INDIRECT, 1, 0, 21, true);
}

static void completed_twice(void **state)
{
	struct vq_test t;
	int token[2];

	(void)state;
	vt_new(&t, V1);
	assert_int_equal(virtqueue_add(t.vq, sg, 1, 0, &token[0]), 0);
	assert_int_equal(virtqueue_add(t.vq, sg, 1, 0, &token[1]), 0);
	virtqueue_publish(t.vq);
	device_says(&t, 0, 0);
	assert_ptr_equal(virtqueue_get(t.vq, NULL), &token[0]);
	device_says(&t, 0, 0);
	assert_null(virtqueue_get(t.vq, NULL));
	assert_true(virtqueue_broken(t.vq));
	vt_end(&t);
}

/* The device scribbles over all of the driver's half; nothing of it is read back. */
static void scribbled_driver_area(void **state)
{
	struct vq_test t;
	int token[4];

	(void)state;
	vt_new(&t, V1 | F_INDIRECT);
	for (unsigned round = 0; round < 50; round++) {
		for (unsigned i = 0; i < 4; i++)
			assert_int_equal(virtqueue_add(t.vq, sg, 1, i % 2, &token[i]), 0);
		virtqueue_publish(t.vq);
		for (unsigned i = 0; i < 4; i++) {
			uint16_t head = t.a->ring[(round * 4 + i) % VQ_NUM];

			device_says(&t, head, 0);
		}
		memset(t.d, 0xff, (size_t)((uint8_t *)t.u - (uint8_t *)t.d));
		for (unsigned i = 0; i < 4; i++)
			assert_ptr_equal(virtqueue_get(t.vq, NULL), &token[i]);
		assert_int_equal(virtqueue_num_free(t.vq), VQ_NUM);
	}
	vt_end(&t);
}

/* ---- in order ---- */

/* 2.7.5: chains follow each other in the table, and link to the next entry, across its end too. */
static void in_order_layout(void **state)
{
	struct vq_test t;
	int token;

	(void)state;
	vt_new(&t, V1 | F_ORDER);
	for (unsigned i = 0; i < 20; i++) {
		uint16_t head = (uint16_t)(3 * i % VQ_NUM);

		assert_int_equal(virtqueue_add(t.vq, sg, 1, 2, &token), 0);
		virtqueue_publish(t.vq);
		assert_int_equal(t.a->ring[i % VQ_NUM], head);
		assert_int_equal(t.d[head].next, (head + 1) % VQ_NUM);
		assert_int_equal(t.d[(head + 1) % VQ_NUM].next, (head + 2) % VQ_NUM);
		assert_int_equal(t.d[(head + 2) % VQ_NUM].flags, WRITE);
		device_says(&t, head, 5);
		assert_ptr_equal(virtqueue_get(t.vq, NULL), &token);
	}
	vt_end(&t);
}

/* 2.7.9: one entry for all up to the one that it names; those that are skipped were used wholly. */
static void in_order_batch(void **state)
{
	struct vq_test t;
	int token[VQ_NUM];
	uint32_t len;

	(void)state;
	vt_new(&t, V1 | F_ORDER);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(virtqueue_add(t.vq, sg, 0, 1, &token[i]), 0);
	virtqueue_publish(t.vq);
	t.u->ring[0] = (struct vring_used_elem){2, 7};
	t.u->idx = 3;
	for (unsigned i = 0; i < 3; i++) {
		assert_true(virtqueue_enable_cb(t.vq));
		assert_ptr_equal(virtqueue_get(t.vq, &len), &token[i]);
		assert_int_equal(len, i < 2 ? sg[0].len : 7);
	}
	assert_null(virtqueue_get(t.vq, &len));
	assert_false(virtqueue_enable_cb(t.vq));
	/* The next one where the device skipped to. */
	t.u->ring[3] = (struct vring_used_elem){3, 0};
	t.u->idx = 4;
	assert_ptr_equal(virtqueue_get(t.vq, &len), &token[3]);
	assert_int_equal(len, 0);
	assert_int_equal(virtqueue_outstanding(t.vq), 1);
	vt_end(&t);
}

static void in_order_lie(uint16_t idx, uint32_t id, uint32_t len)
{
	struct vq_test t;
	int token[4];

	vt_new(&t, V1 | F_ORDER);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(virtqueue_add(t.vq, sg, 0, 1, &token[i]), 0);
	virtqueue_publish(t.vq);
	t.u->ring[0] = (struct vring_used_elem){id, len};
	t.u->idx = idx;
	assert_null(virtqueue_get(t.vq, NULL));
	assert_true(virtqueue_broken(t.vq));
	assert_int_equal(virtqueue_outstanding(t.vq), 4);
	vt_end(&t);
}

static void in_order_hostile(void **state)
{
	(void)state;
	in_order_lie(1, 1, 0);	     /* a batch of two, one used */
	in_order_lie(3, 3, 0);	     /* of four, three used */
	in_order_lie(4, 4, 0);	     /* nothing there */
	in_order_lie(4, VQ_NUM, 0);  /* no such descriptor */
	in_order_lie(4, 0x10003, 0); /* not truncated */
	in_order_lie(5, 3, 0);	     /* more than were given */
	in_order_lie(4, 3, 11);	     /* longer than the buffer */
}

/* The used index goes back in the middle of a batch. */
static void in_order_index_back(void **state)
{
	struct vq_test t;
	int token[4];

	(void)state;
	vt_new(&t, V1 | F_ORDER);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(virtqueue_add(t.vq, sg, 0, 1, &token[i]), 0);
	virtqueue_publish(t.vq);
	t.u->ring[0] = (struct vring_used_elem){3, 0};
	t.u->idx = 4;
	assert_ptr_equal(virtqueue_get(t.vq, NULL), &token[0]);
	assert_ptr_equal(virtqueue_get(t.vq, NULL), &token[1]);
	t.u->idx = 0;
	assert_null(virtqueue_get(t.vq, NULL));
	assert_true(virtqueue_broken(t.vq));
	vt_end(&t);
}

/* ---- where a device that starts anew goes on ---- */

static void device_state(void **state)
{
	struct vdpa_vq_state s;
	struct vq_test t;
	int token[3];

	(void)state;
	vt_new(&t, V1);
	s = virtqueue_first_state(t.vq);
	assert_int_equal(s.split.avail_index, 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(virtqueue_add(t.vq, sg, 0, 1, &token[i]), 0);
	virtqueue_publish(t.vq);
	assert_int_equal(virtqueue_next_avail(t.vq), 3);
	assert_int_equal(virtqueue_device_state(t.vq, &s), 0);
	assert_int_equal(s.split.avail_index, 0);
	device_says(&t, 0, 0);
	assert_int_equal(virtqueue_device_state(t.vq, &s), 0);
	assert_int_equal(s.split.avail_index, 1);
	/* The second is open, but the entry at the used index is that of the third, which is not.
	 */
	device_says(&t, 2, 0);
	assert_int_equal(virtqueue_device_state(t.vq, &s), -ESTALE);
	assert_int_equal(s.split.avail_index, 2);
	assert_non_null(virtqueue_get(t.vq, NULL));
	assert_non_null(virtqueue_get(t.vq, NULL));
	assert_int_equal(virtqueue_device_state(t.vq, &s), -ESTALE);
	device_says(&t, 1, 0);
	assert_int_equal(virtqueue_device_state(t.vq, &s), 0);
	assert_int_equal(s.split.avail_index, 3);
	t.u->idx = 9;
	assert_int_equal(virtqueue_device_state(t.vq, &s), -EBADMSG);
	vt_end(&t);
}

static void indirect_min(void **state)
{
	size_t bytes = virtqueue_mem_bytes(VQ_NUM, V1 | F_INDIRECT);
	struct virtqueue_config config = {.size = sizeof(config),
					  .num = VQ_NUM,
					  .features = V1 | F_INDIRECT,
					  .indirect_min = 3};
	struct virtqueue *vq;
	int token;

	(void)state;
	config.mem = aligned_alloc(4096, bytes);
	memset(config.mem, 0, bytes);
	assert_int_equal(virtqueue_new(&config, &vq), 0);
	assert_int_equal(virtqueue_add(vq, sg, 1, 1, &token), 0);
	assert_int_equal(virtqueue_num_free(vq), VQ_NUM - 2);
	assert_int_equal(virtqueue_add(vq, sg, 1, 2, &token), 0);
	assert_int_equal(virtqueue_num_free(vq), VQ_NUM - 3);
	virtqueue_free(vq);
	free(config.mem);
}

/* ---- suppression ---- */

static void kicks(void **state)
{
	struct vq_test t;
	uint16_t *avail_event;
	int token;

	(void)state;
	vt_new(&t, V1);
	t.u->flags = VRING_USED_F_NO_NOTIFY;
	assert_int_equal(virtqueue_add(t.vq, sg, 1, 0, &token), 0);
	assert_false(virtqueue_publish(t.vq));
	vt_end(&t);

	vt_new(&t, V1 | F_EVENT);
	avail_event = (uint16_t *)(void *)&t.u->ring[VQ_NUM];
	assert_int_equal(virtqueue_add(t.vq, sg, 1, 0, &token), 0);
	assert_true(virtqueue_publish(t.vq));
	assert_int_equal(virtqueue_add(t.vq, sg, 1, 0, &token), 0);
	assert_false(virtqueue_publish(t.vq));
	*avail_event = 3;
	assert_int_equal(virtqueue_add(t.vq, sg, 1, 0, &token), 0);
	assert_false(virtqueue_publish(t.vq));
	assert_int_equal(virtqueue_add(t.vq, sg, 1, 0, &token), 0);
	assert_int_equal(virtqueue_add(t.vq, sg, 1, 0, &token), 0);
	assert_true(virtqueue_publish(t.vq));
	vt_end(&t);
}

static void callbacks(void **state)
{
	struct vq_test t;
	int token;

	(void)state;
	vt_new(&t, V1);
	virtqueue_disable_cb(t.vq);
	assert_int_equal(t.a->flags, VRING_AVAIL_F_NO_INTERRUPT);
	assert_int_equal(virtqueue_add(t.vq, sg, 1, 0, &token), 0);
	virtqueue_publish(t.vq);
	device_says(&t, 0, 0);
	assert_true(virtqueue_enable_cb(t.vq));
	assert_int_equal(t.a->flags, 0);
	assert_non_null(virtqueue_get(t.vq, NULL));
	assert_false(virtqueue_enable_cb(t.vq));
	vt_end(&t);

	vt_new(&t, V1 | F_EVENT);
	assert_int_equal(t.a->ring[VQ_NUM], 0);
	assert_int_equal(virtqueue_add(t.vq, sg, 1, 0, &token), 0);
	virtqueue_publish(t.vq);
	device_says(&t, 0, 0);
	assert_non_null(virtqueue_get(t.vq, NULL));
	assert_int_equal(t.a->ring[VQ_NUM], 1);
	virtqueue_disable_cb(t.vq);
	assert_int_equal(t.a->ring[VQ_NUM], 0);
	assert_false(virtqueue_enable_cb(t.vq));
	assert_int_equal(t.a->ring[VQ_NUM], 1);
	vt_end(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(direct_layout),
		cmocka_unit_test(indirect_layout),
		cmocka_unit_test(limits),
		cmocka_unit_test(birth),
		cmocka_unit_test(hostile_device),
		cmocka_unit_test(completed_twice),
		cmocka_unit_test(scribbled_driver_area),
		cmocka_unit_test(in_order_layout),
		cmocka_unit_test(in_order_batch),
		cmocka_unit_test(in_order_hostile),
		cmocka_unit_test(in_order_index_back),
		cmocka_unit_test(device_state),
		cmocka_unit_test(indirect_min),
		cmocka_unit_test(kicks),
		cmocka_unit_test(callbacks),
	};

	return cmocka_run_group_tests_name("ring-virtqueue", tests, NULL, NULL);
}
