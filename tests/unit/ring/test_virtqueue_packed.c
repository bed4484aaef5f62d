// SPDX-License-Identifier: BSD-3-Clause
/* The driver's end of a packed ring: what it lays into memory, and what it lets a hostile device
 * get away with (nothing). The device is a few lines here: it writes used descriptors. */
#include "ring_test.h"
#include "alloc_fail.h"

#include <uvdpa/virtqueue.h>

#define NUM 7 /* no power of two */
#define V1 (VDPA_BIT(VIRTIO_F_VERSION_1) | VDPA_BIT(VIRTIO_F_RING_PACKED))
#define F_ORDER VDPA_BIT(VIRTIO_F_IN_ORDER)
#define MEM_IOVA 0x40000000ull
#define AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define USED (1u << VRING_PACKED_DESC_F_USED)
#define EVENT_WRAP (1u << VRING_PACKED_EVENT_F_WRAP_CTR)

struct vq_test {
	struct virtqueue *vq;
	uint8_t *mem;
	struct vring_packed_desc *d;
	struct vring_packed_desc_event *driver, *device;
	unsigned used;
	bool wrap;
};

static void vt_new_num(struct vq_test *t, uint64_t features, uint32_t num)
{
	size_t bytes = virtqueue_mem_bytes(num, features);
	struct virtqueue_config config = {
		.size = sizeof(config), .num = num, .features = features, .mem_iova = MEM_IOVA};
	iova_t desc, driver, device;

	memset(t, 0, sizeof(*t));
	t->mem = aligned_alloc(4096, bytes);
	memset(t->mem, 0, bytes);
	config.mem = t->mem;
	assert_int_equal(virtqueue_new(&config, &t->vq), 0);
	virtqueue_addrs(t->vq, &desc, &driver, &device);
	assert_int_equal(virtqueue_num(t->vq), num);
	assert_int_equal(desc % 16, 0);
	t->d = (struct vring_packed_desc *)(void *)(t->mem + (desc - MEM_IOVA));
	t->driver = (struct vring_packed_desc_event *)(void *)(t->mem + (driver - MEM_IOVA));
	t->device = (struct vring_packed_desc_event *)(void *)(t->mem + (device - MEM_IOVA));
	t->wrap = true;
}

static void vt_new(struct vq_test *t, uint64_t features)
{
	vt_new_num(t, features, NUM);
}

static void vt_end(struct vq_test *t)
{
	virtqueue_free(t->vq);
	free(t->mem);
}

static uint16_t used_flags(bool wrap)
{
	return wrap ? AVAIL | USED : 0;
}

/* A used descriptor, for a request of @count places; @flags: WRITE. */
static void device_says(struct vq_test *t, uint16_t id, uint32_t len, unsigned count,
			uint16_t flags)
{
	struct vring_packed_desc *d = &t->d[t->used];

	d->id = id;
	d->len = len;
	d->flags = flags | used_flags(t->wrap);
	t->used += count;
	if (t->used >= virtqueue_num(t->vq)) {
		t->used -= virtqueue_num(t->vq);
		t->wrap = !t->wrap;
	}
}

static const struct virtqueue_sg sg[] = {{0x1000, 10}, {0x2000, 20}, {0x3000, 30}};

static bool available(const struct vring_packed_desc *d, bool wrap)
{
	return !!(d->flags & AVAIL) == wrap && !!(d->flags & USED) == !wrap;
}

static void direct_layout(void **state)
{
	struct vq_test t;
	uint32_t len;
	int token[2];

	(void)state;
	vt_new(&t, V1);
	assert_int_equal(virtqueue_add(t.vq, sg, 2, 1, &token[0]), 0);
	assert_int_equal(virtqueue_add(t.vq, sg, 1, 0, &token[1]), 0);
	/* All but the first may be seen: nobody looks at them. */
	assert_false(available(&t.d[0], true));
	assert_true(virtqueue_publish(t.vq));
	assert_false(virtqueue_publish(t.vq));
	for (unsigned i = 0; i < 4; i++) {
		assert_true(available(&t.d[i], true));
		assert_int_equal(t.d[i].addr, sg[i % 3].addr);
		assert_int_equal(t.d[i].len, sg[i % 3].len);
	}
	assert_int_equal(t.d[0].flags & 7, NEXT);
	assert_int_equal(t.d[1].flags & 7, NEXT);
	assert_int_equal(t.d[2].flags & 7, WRITE);
	assert_int_equal(t.d[2].id, t.d[0].id);
	assert_int_equal(t.d[3].flags & 7, 0);
	assert_int_not_equal(t.d[3].id, t.d[2].id);
	assert_int_equal(virtqueue_num_free(t.vq), NUM - 4);
	assert_int_equal(virtqueue_outstanding(t.vq), 2);
	assert_null(virtqueue_get(t.vq, &len));
	/* Out of order: the second first, at the place of the first. */
	device_says(&t, t.d[3].id, 0, 1, 0);
	assert_ptr_equal(virtqueue_get(t.vq, &len), &token[1]);
	assert_int_equal(len, 0);
	assert_null(virtqueue_get(t.vq, &len));
	device_says(&t, t.d[2].id, 30, 3, WRITE);
	assert_ptr_equal(virtqueue_get(t.vq, &len), &token[0]);
	assert_int_equal(len, 30);
	assert_int_equal(virtqueue_num_free(t.vq), NUM);
	assert_null(virtqueue_get(t.vq, NULL));
	assert_false(virtqueue_broken(t.vq));
	vt_end(&t);
}

/* Chains that run over the end of the ring: the flags change their meaning in the middle. */
static void wraps(void **state)
{
	struct vq_test t;
	unsigned at = 0;
	bool wrap = true;
	int token;

	(void)state;
	vt_new(&t, V1);
	assert_int_equal(virtqueue_next_avail(t.vq), 0x8000);
	for (unsigned round = 0; round < 50; round++) {
		uint16_t id;

		assert_int_equal(virtqueue_add(t.vq, sg, 1, 2, &token), 0);
		virtqueue_publish(t.vq);
		id = t.d[(at + 2) % NUM].id;
		for (unsigned i = 0; i < 3; i++) {
			assert_true(available(&t.d[at], wrap));
			if (++at == NUM) {
				at = 0;
				wrap = !wrap;
			}
		}
		assert_int_equal(virtqueue_next_avail(t.vq), at | wrap << 15);
		assert_null(virtqueue_get(t.vq, NULL));
		device_says(&t, id, 50, 3, WRITE);
		assert_ptr_equal(virtqueue_get(t.vq, NULL), &token);
		assert_null(virtqueue_get(t.vq, NULL));
	}
	vt_end(&t);
}

static void indirect_layout(void **state)
{
	struct vring_packed_desc *table;
	struct vq_test t;
	int token[NUM + 1];

	(void)state;
	vt_new(&t, V1 | F_INDIRECT);
	for (unsigned i = 0; i < NUM; i++)
		assert_int_equal(virtqueue_add(t.vq, sg, 1, 2, &token[i]), 0);
	assert_int_equal(virtqueue_add(t.vq, sg, 1, 2, &token[NUM]), -ENOSPC);
	virtqueue_publish(t.vq);
	for (unsigned i = 0; i < NUM; i++) {
		assert_int_equal(t.d[i].flags, INDIRECT | AVAIL);
		assert_int_equal(t.d[i].len, 48);
		assert_in_range(t.d[i].addr, MEM_IOVA,
				MEM_IOVA + virtqueue_mem_bytes(NUM, V1 | F_INDIRECT) - 48);
		table = (struct vring_packed_desc *)(void *)(t.mem + (t.d[i].addr - MEM_IOVA));
		assert_int_equal(table[0].flags, 0);
		assert_int_equal(table[1].flags, WRITE);
		assert_int_equal(table[2].flags, WRITE);
		assert_int_equal(table[2].len, 30);
	}
	vt_end(&t);
}

static void birth(void **state)
{
	struct virtqueue_config config = {.size = sizeof(config), .features = V1};
	static uint8_t mem[16384] __attribute__((aligned(4096)));
	struct virtqueue *vq = NULL;

	(void)state;
	config.mem = mem;
	assert_int_equal(virtqueue_new(&config, &vq), -EINVAL);
	for (config.num = 1; config.num < 100; config.num++) {
		assert_true(virtqueue_mem_bytes(config.num, V1) <= sizeof(mem));
		assert_int_equal(virtqueue_new(&config, &vq), 0);
		virtqueue_free(vq);
	}
	config.num = 32769;
	assert_int_equal(virtqueue_new(&config, &vq), -EINVAL);
	config.num = NUM;
	for (alloc_fail_begin(); alloc_fail_more();) {
		int rc = virtqueue_new(&config, &vq);

		alloc_fail_off();
		assert_true(rc == 0 || rc == -ENOMEM);
		if (!rc)
			virtqueue_free(vq);
	}
}

/* ---- a hostile device ---- */

struct lie {
	uint16_t id;
	uint32_t len;
	uint16_t flags;
	bool breaks;
	uint32_t got;
};

static void tell(uint64_t features, const struct lie *lie)
{
	struct vq_test t;
	uint32_t got = 0;
	int token;

	vt_new(&t, features);
	assert_int_equal(virtqueue_add(t.vq, sg, 1, 1, &token), 0);
	virtqueue_publish(t.vq);
	device_says(&t, lie->id, lie->len, 2, lie->flags);
	if (lie->breaks) {
		assert_null(virtqueue_get(t.vq, &got));
		assert_true(virtqueue_broken(t.vq));
		/* For good, also when the device thinks better of it. */
		t.used = 0;
		device_says(&t, 0, 0, 2, 0);
		assert_null(virtqueue_get(t.vq, &got));
		assert_int_equal(virtqueue_add(t.vq, sg, 1, 0, &token), -ENOSPC);
		assert_ptr_equal(virtqueue_detach_unused(t.vq), &token);
		assert_null(virtqueue_detach_unused(t.vq));
		assert_int_equal(virtqueue_outstanding(t.vq), 0);
	} else {
		assert_ptr_equal(virtqueue_get(t.vq, &got), &token);
		assert_int_equal(got, lie->got);
		assert_false(virtqueue_broken(t.vq));
	}
	vt_end(&t);
}

static void hostile_device(void **state)
{
	static const struct lie lies[] = {
		{.id = 0, .len = 20, .flags = WRITE, .got = 20},
		{.id = 0, .len = 20, .got = 20}, /* QEMU's */
		{.id = 0, .len = 21},		 /* 2.8.5: means nothing */
		{.id = 0, .len = 21, .flags = WRITE, .breaks = true},
		{.id = 0, .len = 0xffffffff, .flags = WRITE, .breaks = true},
		{.id = 1, .breaks = true},
		{.id = NUM, .breaks = true},
		{.id = 0x8000, .breaks = true},
		{.id = 0xffff, .breaks = true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		tell(V1, &lies[i]);
		tell(V1 | F_INDIRECT, &lies[i]);
		tell(V1 | F_ORDER, &lies[i]);
	}
}

/* Flags that are used ones of another lap, or half so, say nothing; a used one where nothing is out
 * is a lie. */
static void wrong_flags(void **state)
{
	struct vq_test t;
	int token;

	(void)state;
	vt_new(&t, V1);
	assert_int_equal(virtqueue_add(t.vq, sg, 1, 0, &token), 0);
	virtqueue_publish(t.vq);
	t.d[0].flags = 0;
	assert_null(virtqueue_get(t.vq, NULL));
	t.d[0].flags = USED;
	assert_null(virtqueue_get(t.vq, NULL));
	assert_false(virtqueue_broken(t.vq));
	device_says(&t, 0, 0, 1, 0);
	assert_ptr_equal(virtqueue_get(t.vq, NULL), &token);
	device_says(&t, 0, 0, 1, 0);
	assert_null(virtqueue_get(t.vq, NULL));
	assert_true(virtqueue_broken(t.vq));
	vt_end(&t);
}

/* The device scribbles over everything; nothing of it is read back, but the used descriptor. */
static void scribbled(void **state)
{
	struct vq_test t;
	int token[3];

	(void)state;
	vt_new(&t, V1 | F_INDIRECT);
	for (unsigned round = 0; round < 50; round++) {
		uint16_t id[3];
		unsigned at = t.used;

		for (unsigned i = 0; i < 3; i++)
			assert_int_equal(virtqueue_add(t.vq, sg, 1, i % 2, &token[i]), 0);
		virtqueue_publish(t.vq);
		for (unsigned i = 0; i < 3; i++)
			id[i] = t.d[(at + i) % NUM].id;
		memset(t.d, t.wrap ? 0x7f : 0x80, NUM * sizeof(*t.d));
		for (unsigned i = 0; i < 3; i++) {
			device_says(&t, id[2 - i], 0, 1, 0);
			assert_ptr_equal(virtqueue_get(t.vq, NULL), &token[2 - i]);
		}
		assert_int_equal(virtqueue_num_free(t.vq), NUM);
	}
	vt_end(&t);
}

/* ---- in order ---- */

static void in_order_batch(void **state)
{
	struct vq_test t;
	int token[NUM];
	uint32_t len;

	(void)state;
	vt_new(&t, V1 | F_ORDER);
	for (unsigned round = 0; round < 40; round++) {
		unsigned first = t.used;
		uint16_t last;

		for (unsigned i = 0; i < 3; i++)
			assert_int_equal(virtqueue_add(t.vq, sg, i % 2, 1, &token[i]), 0);
		virtqueue_publish(t.vq);
		last = t.d[(first + 3) % NUM].id;
		/* 1 + 2 + 1 places, one used descriptor at the first. */
		device_says(&t, last, 7, 4, WRITE);
		assert_true(virtqueue_enable_cb(t.vq));
		for (unsigned i = 0; i < 3; i++) {
			assert_ptr_equal(virtqueue_get(t.vq, &len), &token[i]);
			assert_int_equal(len, i < 2 ? sg[i % 2].len : 7);
		}
		assert_null(virtqueue_get(t.vq, &len));
		assert_false(virtqueue_enable_cb(t.vq));
		assert_int_equal(virtqueue_num_free(t.vq), NUM);
	}
	vt_end(&t);
}

/* ---- where a device that starts anew goes on ---- */

static void device_state(void **state)
{
	struct vdpa_vq_state s;
	struct vq_test t;
	int token[4];

	(void)state;
	vt_new(&t, V1);
	s = virtqueue_first_state(t.vq);
	assert_int_equal(s.packed.last_avail_idx, 0);
	assert_int_equal(s.packed.last_used_idx, 0);
	assert_int_equal(s.packed.last_avail_counter, 1);
	assert_int_equal(s.packed.last_used_counter, 1);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(virtqueue_add(t.vq, sg, 1, i == 1, &token[i]), 0);
	virtqueue_publish(t.vq);
	assert_int_equal(virtqueue_device_state(t.vq, &s), 0);
	assert_int_equal(s.packed.last_avail_idx, 0);
	device_says(&t, t.d[0].id, 0, 1, 0);
	assert_int_equal(virtqueue_device_state(t.vq, &s), 0);
	assert_int_equal(s.packed.last_avail_idx, 1);
	assert_int_equal(s.packed.last_used_idx, 1);
	/* The second is open, and its first descriptor was overwritten with the used one of the
	 * third. */
	device_says(&t, t.d[3].id, 0, 1, 0);
	assert_int_equal(virtqueue_device_state(t.vq, &s), -ESTALE);
	assert_non_null(virtqueue_get(t.vq, NULL));
	assert_non_null(virtqueue_get(t.vq, NULL));
	assert_int_equal(virtqueue_device_state(t.vq, &s), -ESTALE);
	device_says(&t, t.d[2].id, 0, 2, 0);
	assert_int_equal(virtqueue_device_state(t.vq, &s), 0);
	assert_int_equal(s.packed.last_used_idx, 4);
	assert_int_equal(s.packed.last_used_counter, 1);
	device_says(&t, 0x4000, 0, 1, 0);
	assert_int_equal(virtqueue_device_state(t.vq, &s), -EBADMSG);
	vt_end(&t);
}

static void device_state_in_order(void **state)
{
	struct vdpa_vq_state s;
	struct vq_test t;
	int token[6];
	uint16_t id;

	(void)state;
	vt_new(&t, V1 | F_ORDER);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(virtqueue_add(t.vq, sg, 1, 0, &token[i]), 0);
	virtqueue_publish(t.vq);
	id = t.d[4].id;
	device_says(&t, t.d[2].id, 0, 3, 0);
	assert_non_null(virtqueue_get(t.vq, NULL));
	/* Two of the batch are still to be handed out. */
	assert_int_equal(virtqueue_device_state(t.vq, &s), 0);
	assert_int_equal(s.packed.last_used_idx, 3);
	device_says(&t, id, 0, 2, 0);
	assert_int_equal(virtqueue_device_state(t.vq, &s), 0);
	assert_int_equal(s.packed.last_used_idx, 5);
	vt_end(&t);
}

/* ---- suppression ---- */

static void kick_flags(void **state)
{
	struct vq_test t;
	int token;

	(void)state;
	vt_new(&t, V1);
	t.device->flags = VRING_PACKED_EVENT_FLAG_DISABLE;
	assert_int_equal(virtqueue_add(t.vq, sg, 1, 0, &token), 0);
	assert_false(virtqueue_publish(t.vq));
	/* Not negotiated, and no value at all: better once too often. */
	for (t.device->flags = 2; t.device->flags < 4; t.device->flags++) {
		assert_int_equal(virtqueue_add(t.vq, sg, 1, 0, &token), 0);
		assert_true(virtqueue_publish(t.vq));
	}
	vt_end(&t);
}

/* An event at each place of this lap and of the next, batches of every size: a kick when the batch
 * covers it. */
static void kick_event(unsigned start, unsigned n, unsigned event)
{
	bool covered = event >= start && event < start + n;
	bool wrap = event < NUM;
	struct vq_test t;
	int token;

	vt_new(&t, V1 | F_EVENT);
	for (unsigned i = 0; i < start; i++) {
		uint16_t at = (uint16_t)i;

		assert_int_equal(virtqueue_add(t.vq, sg, 1, 0, &token), 0);
		virtqueue_publish(t.vq);
		device_says(&t, t.d[at].id, 0, 1, 0);
		assert_non_null(virtqueue_get(t.vq, NULL));
	}
	t.device->flags = VRING_PACKED_EVENT_FLAG_DESC;
	t.device->off_wrap = (uint16_t)(event % NUM | (wrap ? EVENT_WRAP : 0));
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(virtqueue_add(t.vq, sg, 1, 0, &token), 0);
	assert_int_equal(virtqueue_publish(t.vq), covered);
	vt_end(&t);
}

static void kick_events(void **state)
{
	(void)state;
	for (unsigned start = 0; start < NUM; start++)
		for (unsigned n = 1; n <= NUM; n++)
			for (unsigned event = start; event < start + NUM; event++)
				kick_event(start, n, event);
}

static void callbacks(void **state)
{
	struct vq_test t;
	int token;

	(void)state;
	vt_new(&t, V1);
	assert_int_equal(t.driver->flags, VRING_PACKED_EVENT_FLAG_ENABLE);
	virtqueue_disable_cb(t.vq);
	assert_int_equal(t.driver->flags, VRING_PACKED_EVENT_FLAG_DISABLE);
	assert_int_equal(virtqueue_add(t.vq, sg, 1, 0, &token), 0);
	virtqueue_publish(t.vq);
	device_says(&t, 0, 0, 1, 0);
	assert_true(virtqueue_enable_cb(t.vq));
	assert_int_equal(t.driver->flags, VRING_PACKED_EVENT_FLAG_ENABLE);
	assert_non_null(virtqueue_get(t.vq, NULL));
	assert_false(virtqueue_enable_cb(t.vq));
	vt_end(&t);

	vt_new(&t, V1 | F_EVENT);
	assert_int_equal(t.driver->flags, VRING_PACKED_EVENT_FLAG_DESC);
	assert_int_equal(t.driver->off_wrap, EVENT_WRAP);
	for (unsigned i = 0; i < NUM; i++) {
		assert_int_equal(virtqueue_add(t.vq, sg, 1, 0, &token), 0);
		virtqueue_publish(t.vq);
		device_says(&t, t.d[i].id, 0, 1, 0);
		assert_non_null(virtqueue_get(t.vq, NULL));
		/* Of the next lap when the ring is through. */
		assert_int_equal(t.driver->off_wrap, i + 1 < NUM ? (i + 1) | EVENT_WRAP : 0);
	}
	virtqueue_disable_cb(t.vq);
	assert_int_equal(t.driver->flags, VRING_PACKED_EVENT_FLAG_DISABLE);
	assert_false(virtqueue_enable_cb(t.vq));
	assert_int_equal(t.driver->flags, VRING_PACKED_EVENT_FLAG_DESC);
	vt_end(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(direct_layout),   cmocka_unit_test(wraps),
		cmocka_unit_test(indirect_layout), cmocka_unit_test(birth),
		cmocka_unit_test(hostile_device),  cmocka_unit_test(wrong_flags),
		cmocka_unit_test(scribbled),	   cmocka_unit_test(in_order_batch),
		cmocka_unit_test(device_state),	   cmocka_unit_test(device_state_in_order),
		cmocka_unit_test(kick_flags),	   cmocka_unit_test(kick_events),
		cmocka_unit_test(callbacks),
	};

	return cmocka_run_group_tests_name("ring-virtqueue-packed", tests, NULL, NULL);
}
