// SPDX-License-Identifier: BSD-3-Clause
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <linux/virtio_ids.h>
#include <uvdpa/compat.h>
#include <uvdpa/vdpa.h>
#include "ctl/names.h"

static void test_round_trip(void **state)
{
	static const uint32_t ids[] = {0, VIRTIO_ID_NET, VIRTIO_ID_BLOCK, 99};

	for (size_t i = 0; i < 4; i++) {
		for (unsigned bit = 0; bit < 64; bit++) {
			const char *name = vdpa_feature_name(ids[i], bit);

			if (name)
				assert_int_equal(ctl_feature_bit(ids[i], name), bit);
		}
		assert_null(vdpa_feature_name(ids[i], 64));
		assert_int_equal(ctl_feature_bit(ids[i], "NONSENSE"), -1);
	}
}

/* Against the kernel's constants, and iproute2's spelling. */
static void test_values(void **state)
{
	assert_int_equal(ctl_feature_bit(VIRTIO_ID_NET, "MAC"), VIRTIO_NET_F_MAC);
	assert_int_equal(ctl_feature_bit(VIRTIO_ID_NET, "CTRL_MAC_ADDR"),
			 VIRTIO_NET_F_CTRL_MAC_ADDR);
	assert_int_equal(ctl_feature_bit(VIRTIO_ID_NET, "MRG_RXBUF"), VIRTIO_NET_F_MRG_RXBUF);
	assert_int_equal(ctl_feature_bit(VIRTIO_ID_NET, "HASH_REPORT"), VIRTIO_NET_F_HASH_REPORT);
	assert_int_equal(ctl_feature_bit(VIRTIO_ID_NET, "SPEED_DUPLEX"), VIRTIO_NET_F_SPEED_DUPLEX);
	assert_int_equal(ctl_feature_bit(VIRTIO_ID_BLOCK, "SEG_MAX"), VIRTIO_BLK_F_SEG_MAX);
	assert_int_equal(ctl_feature_bit(VIRTIO_ID_BLOCK, "WRITE_ZEROES"),
			 VIRTIO_BLK_F_WRITE_ZEROES);
	assert_int_equal(ctl_feature_bit(0, "RING_INDIRECT_DESC"), VIRTIO_RING_F_INDIRECT_DESC);
	assert_int_equal(ctl_feature_bit(0, "RING_EVENT_IDX"), VIRTIO_RING_F_EVENT_IDX);
	assert_int_equal(ctl_feature_bit(0, "VERSION_1"), VIRTIO_F_VERSION_1);
	assert_int_equal(ctl_feature_bit(0, "ACCESS_PLATFORM"), VIRTIO_F_ACCESS_PLATFORM);
	assert_int_equal(ctl_feature_bit(0, "RING_RESET"), 40);
	assert_int_equal(ctl_feature_bit(VIRTIO_ID_BLOCK, "MAC"), -1);
}

static void expect_features(uint32_t id, uint64_t features, const char *want)
{
	json_t *list = ctl_features_json(id, features);
	char *text = json_dumps(list, JSON_COMPACT);

	assert_string_equal(text, want);
	free(text);
	json_decref(list);
}

/* Bits without a name are numbers, as iproute2's JSON has them. */
static void test_json(void **state)
{
	expect_features(VIRTIO_ID_NET, 0, "[]");
	expect_features(VIRTIO_ID_NET, 1ull << 32 | 1u << 5, "[\"MAC\",\"VERSION_1\"]");
	expect_features(VIRTIO_ID_NET, 1u << 4 | 1ull << 49, "[4,49]");
	expect_features(99, 1u | 1ull << 63, "[0,63]");
}

static void test_parse(void **state)
{
	static const struct {
		const char *text;
		int ret;
		uint64_t features;
	} cases[] = {
		{"0x100000020", 0, 0x100000020},
		{"100000020", 0, 0x100000020},
		{"0xffffffffffffffff", 0, UINT64_MAX},
		{"MAC,VERSION_1", 0, 0x100000020},
		{"bit_5,bit_32", 0, 0x100000020},
		{"", 0, 0},
		{"0x", -EINVAL, 0},
		{"0x10000000000000000", -EINVAL, 0},
		{"bit_64", -EINVAL, 0},
		{"bit_-1", -EINVAL, 0},
		{"bit_5x", -EINVAL, 0},
		{"mac", -EINVAL, 0},
		{"MAC VERSION_1", -EINVAL, 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vdpa_error err = {0};
		uint64_t got = 0;
		int ret = ctl_features_parse(VIRTIO_ID_NET, cases[i].text, &got, "dev/x", &err);

		assert_int_equal(ret, cases[i].ret);
		if (!ret)
			assert_true(got == cases[i].features);
		else
			assert_string_equal(err.object, "dev/x");
	}
}

static void test_parse_long(void **state)
{
	char text[2000];
	uint64_t got;

	memset(text, ',', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(ctl_features_parse(1, text, &got, NULL, NULL), -EINVAL);
}

static void test_status(void **state)
{
	json_t *list = ctl_status_json(0xff);
	char *text = json_dumps(list, JSON_COMPACT);

	assert_string_equal(
		text, "[\"ACKNOWLEDGE\",\"DRIVER\",\"DRIVER_OK\",\"FEATURES_OK\",\"SUSPEND\",5,"
		      "\"NEEDS_RESET\",\"FAILED\"]");
	free(text);
	json_decref(list);
}

static void test_types(void **state)
{
	assert_string_equal(ctl_type_name(VIRTIO_ID_NET), "network");
	assert_string_equal(ctl_type_name(VIRTIO_ID_BLOCK), "block");
	assert_string_equal(ctl_type_name(26), "<unknown type>");
	assert_string_equal(ctl_class_name(VIRTIO_ID_NET), "net");
	assert_string_equal(ctl_class_name(26), "< unknown class >");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip), cmocka_unit_test(test_values),
		cmocka_unit_test(test_json),	   cmocka_unit_test(test_parse),
		cmocka_unit_test(test_parse_long), cmocka_unit_test(test_status),
		cmocka_unit_test(test_types),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
