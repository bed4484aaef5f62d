// SPDX-License-Identifier: BSD-3-Clause
/* The checks of wire structures: one good value, and one refusal per field and reason. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "driver/vhost_user/protocol.h"

#define TOP UINT64_MAX

#define refused(call, text)                                                                        \
	do {                                                                                       \
		const char *why = "";                                                              \
		assert_false(call);                                                                \
		assert_non_null(strstr(why, text));                                                \
	} while (0)

static void test_header(void **state)
{
	struct vhost_user_hdr h = {.request = 1, .flags = 1, .size = VHOST_USER_MAX_PAYLOAD};

	assert_true(vhost_user_hdr_valid(&h, false, NULL));
	refused(vhost_user_hdr_valid(&h, true, &why), "request where a reply");
	h.flags = 1 | VHOST_USER_FLAG_NEED_REPLY;
	assert_true(vhost_user_hdr_valid(&h, false, NULL));
	h.flags = 1 | VHOST_USER_FLAG_REPLY;
	assert_true(vhost_user_hdr_valid(&h, true, NULL));
	refused(vhost_user_hdr_valid(&h, false, &why), "reply where a request");
	for (uint32_t version = 0; version < 4; version++) {
		h.flags = version;
		assert_int_equal(vhost_user_hdr_valid(&h, false, NULL), version == 1);
	}
	for (unsigned bit = 4; bit < 32; bit++) {
		h.flags = 1 | 1u << bit;
		refused(vhost_user_hdr_valid(&h, false, &why), "unknown flags");
	}
	h.flags = 1;
	h.size = VHOST_USER_MAX_PAYLOAD + 1;
	refused(vhost_user_hdr_valid(&h, false, &why), "too large");
	h.size = UINT32_MAX;
	refused(vhost_user_hdr_valid(&h, false, &why), "too large");
}

static void test_vring_fd(void **state)
{
	assert_true(vhost_user_vring_fd_valid(0, 1, NULL));
	assert_true(vhost_user_vring_fd_valid(0xff, 1, NULL));
	assert_true(vhost_user_vring_fd_valid(0x1ff, 0, NULL));
	refused(vhost_user_vring_fd_valid(0, 0, &why), "exactly one");
	refused(vhost_user_vring_fd_valid(0, 2, &why), "exactly one");
	refused(vhost_user_vring_fd_valid(0x100, 1, &why), "none does");
	for (unsigned bit = 9; bit < 64; bit++)
		refused(vhost_user_vring_fd_valid(1ull << bit, 1, &why), "reserved");
}

static void test_vring_state(void **state)
{
	struct vhost_vring_state s = {.index = 0, .num = 1};

	assert_true(vhost_user_vring_flag_valid(&s, NULL));
	refused(vhost_user_vring_reserved_valid(&s, &why), "reserved");
	s.num = 2;
	refused(vhost_user_vring_flag_valid(&s, &why), "neither 0 nor 1");
	s.num = UINT16_MAX;
	assert_true(vhost_user_vring_base_split_valid(&s, NULL));
	s.num = UINT16_MAX + 1;
	refused(vhost_user_vring_base_split_valid(&s, &why), "reserved bits");
	s.num = 0;
	assert_true(vhost_user_vring_flag_valid(&s, NULL));
	assert_true(vhost_user_vring_reserved_valid(&s, NULL));
}

static void test_vring_addr(void **state)
{
	struct vhost_vring_addr a = {
		.flags = 1, .desc_user_addr = 16, .avail_user_addr = 2, .used_user_addr = 4};

	assert_true(vhost_user_vring_addr_valid(&a, NULL));
	a.flags = 2;
	refused(vhost_user_vring_addr_valid(&a, &why), "flags");
	a.flags = 0;
	a.desc_user_addr = 8;
	refused(vhost_user_vring_addr_valid(&a, &why), "descriptor");
	a.desc_user_addr = 0;
	a.avail_user_addr = 1;
	refused(vhost_user_vring_addr_valid(&a, &why), "available");
	a.avail_user_addr = 0;
	a.used_user_addr = 2;
	refused(vhost_user_vring_addr_valid(&a, &why), "used");
}

static void test_ranges(void **state)
{
	assert_true(vhost_user_range_valid(0, TOP));
	assert_true(vhost_user_range_valid(TOP, 1));
	assert_true(vhost_user_range_valid(1, TOP));
	assert_false(vhost_user_range_valid(2, TOP));
	assert_false(vhost_user_range_valid(TOP, 2));
	assert_false(vhost_user_range_valid(5, 0));
	assert_true(vhost_user_ranges_overlap(0, 10, 9, 1));
	assert_false(vhost_user_ranges_overlap(0, 10, 10, 1));
	assert_true(vhost_user_ranges_overlap(TOP, 1, 0, TOP) == false);
	assert_true(vhost_user_ranges_overlap(TOP - 1, 2, TOP, 1));
}

static void test_region(void **state)
{
	const struct vhost_user_mem_region good = {0, 0x1000, 0x5000, 0};
	struct vhost_user_mem_region r = good;

	assert_true(vhost_user_mem_region_valid(&r, NULL));
	r.size = 0;
	refused(vhost_user_mem_region_valid(&r, &why), "size 0");
	r = good;
	r.guest_addr = TOP - 0x800;
	refused(vhost_user_mem_region_valid(&r, &why), "guest address");
	r = good;
	r.user_addr = TOP - 0x800;
	refused(vhost_user_mem_region_valid(&r, &why), "user address");
	r = good;
	r.mmap_offset = TOP - 0x800;
	refused(vhost_user_mem_region_valid(&r, &why), "offset");
}

static void test_table(void **state)
{
	struct vhost_user_mem_table t = {2, 0, {{0, 4096, 0, 0}, {4096, 4096, 4096, 0}}};

	assert_true(vhost_user_mem_table_valid(&t, 72, NULL));
	refused(vhost_user_mem_table_valid(&t, 71, &why), "size");
	refused(vhost_user_mem_table_valid(&t, 73, &why), "size");
	refused(vhost_user_mem_table_valid(&t, 4, &why), "too many");
	t.region[1].guest_addr = 4095;
	refused(vhost_user_mem_table_valid(&t, 72, &why), "guest addresses overlap");
	t.region[1].guest_addr = 4096;
	t.region[1].user_addr = 1;
	refused(vhost_user_mem_table_valid(&t, 72, &why), "user addresses overlap");
	t.region[1].size = 0;
	refused(vhost_user_mem_table_valid(&t, 72, &why), "size 0");
	t.nregions = 9;
	refused(vhost_user_mem_table_valid(&t, 8 + 9 * 32, &why), "too many");
	t.nregions = 0x8000000; /* times 32 is 0 in 32 bits */
	refused(vhost_user_mem_table_valid(&t, 8, &why), "too many");
	t.nregions = 0;
	assert_true(vhost_user_mem_table_valid(&t, 8, NULL));
}

static void test_log(void **state)
{
	struct vhost_user_log l = {.mmap_size = 4096, .mmap_offset = 0};

	assert_true(vhost_user_log_valid(&l, NULL));
	l.mmap_offset = TOP - 100;
	refused(vhost_user_log_valid(&l, &why), "wrap");
	l.mmap_offset = 1ull << 63;
	refused(vhost_user_log_valid(&l, &why), "beyond");
	l = (struct vhost_user_log){.mmap_size = VHOST_USER_SHARED_MAX};
	assert_true(vhost_user_log_valid(&l, NULL));
	l.mmap_size++;
	refused(vhost_user_log_valid(&l, &why), "1 TiB");
	l = (struct vhost_user_log){0, 0};
	refused(vhost_user_log_valid(&l, &why), "size 0");
}

static void test_config(void **state)
{
	struct vhost_user_config c = {.offset = 0, .size = 8};

	assert_true(vhost_user_config_valid(&c, 20, NULL));
	refused(vhost_user_config_valid(&c, 11, &why), "header");
	refused(vhost_user_config_valid(&c, 19, &why), "size does not fit");
	refused(vhost_user_config_valid(&c, 21, &why), "size does not fit");
	c.size = 257;
	refused(vhost_user_config_valid(&c, 12 + 257, &why), "256");
	c.size = UINT32_MAX - 3; /* 12 more is 8 in 32 bits */
	refused(vhost_user_config_valid(&c, 12, &why), "256");
	c.size = 8;
	c.offset = UINT32_MAX - 7;
	refused(vhost_user_config_valid(&c, 20, &why), "offset");
	c.offset = UINT32_MAX - 8;
	assert_true(vhost_user_config_valid(&c, 20, NULL));
	c.flags = 2;
	refused(vhost_user_config_valid(&c, 20, &why), "flags");
}

static void test_iotlb(void **state)
{
	const struct vhost_iotlb_msg good = {0x1000, 0x1000, 0x5000, 3, VHOST_IOTLB_UPDATE};
	struct vhost_iotlb_msg m = good;

	assert_true(vhost_user_iotlb_valid(&m, NULL));
	for (unsigned type = 0; type < 256; type++) {
		m.type = (uint8_t)type;
		assert_int_equal(vhost_user_iotlb_valid(&m, NULL), type == 2 || type == 3);
		assert_int_equal(vhost_user_iotlb_miss_valid(&m, NULL), type == 1 || type == 4);
	}
	m = good;
	for (unsigned perm = 0; perm < 256; perm++) {
		m.perm = (uint8_t)perm;
		assert_int_equal(vhost_user_iotlb_valid(&m, NULL), perm >= 1 && perm <= 3);
	}
	m = good;
	m.iova = TOP - 0x800;
	refused(vhost_user_iotlb_valid(&m, &why), "wraps");
	m = good;
	m.uaddr = TOP - 0x800;
	refused(vhost_user_iotlb_valid(&m, &why), "user address");
	m = good;
	m.size = 0;
	refused(vhost_user_iotlb_valid(&m, &why), "size 0");
	m.type = VHOST_IOTLB_INVALIDATE;
	refused(vhost_user_iotlb_valid(&m, &why), "size 0");
	m.iova = 0; /* all there is */
	assert_true(vhost_user_iotlb_valid(&m, NULL));
}

static void test_inflight(void **state)
{
	const struct vhost_user_inflight good = {4096, 0, 1, 64};
	struct vhost_user_inflight i = good;

	assert_true(vhost_user_inflight_valid(&i, true, NULL));
	i.num_queues = 0;
	refused(vhost_user_inflight_valid(&i, false, &why), "number of queues");
	i.num_queues = 257;
	refused(vhost_user_inflight_valid(&i, false, &why), "number of queues");
	i = good;
	i.queue_size = 0;
	refused(vhost_user_inflight_valid(&i, false, &why), "queue size");
	i.queue_size = 32769;
	refused(vhost_user_inflight_valid(&i, false, &why), "queue size");
	i = good;
	i.mmap_size = 0;
	assert_true(vhost_user_inflight_valid(&i, false, NULL));
	refused(vhost_user_inflight_valid(&i, true, &why), "size 0");
	i.mmap_size = 4096;
	i.mmap_offset = TOP - 100;
	refused(vhost_user_inflight_valid(&i, true, &why), "wrap");
	i.mmap_offset = 1ull << 63;
	refused(vhost_user_inflight_valid(&i, true, &why), "beyond");
	i.mmap_offset = 0;
	i.mmap_size = VHOST_USER_SHARED_MAX + 1;
	refused(vhost_user_inflight_valid(&i, true, &why), "1 TiB");
}

static void test_device_state(void **state)
{
	struct vhost_user_device_state d = {.direction = 1, .phase = 0};

	assert_true(vhost_user_device_state_valid(&d, NULL));
	d.direction = 2;
	refused(vhost_user_device_state_valid(&d, &why), "direction");
	d = (struct vhost_user_device_state){0, 1};
	refused(vhost_user_device_state_valid(&d, &why), "phase");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header),	    cmocka_unit_test(test_vring_fd),
		cmocka_unit_test(test_vring_state), cmocka_unit_test(test_vring_addr),
		cmocka_unit_test(test_ranges),	    cmocka_unit_test(test_region),
		cmocka_unit_test(test_table),	    cmocka_unit_test(test_log),
		cmocka_unit_test(test_config),	    cmocka_unit_test(test_iotlb),
		cmocka_unit_test(test_inflight),    cmocka_unit_test(test_device_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
