// SPDX-License-Identifier: BSD-3-Clause
/* The software disk: every request, whole and cut anywhere, good and bad. */
#include "blk_guest.h"

static const struct vdpa_attr ram[] = {{"backend", "ram"}, {"size", "4M"}, {0}};

static void test_requests(void **state)
{
	struct soft_guest g;
	uint32_t used;

	sg_open(&g, 1);
	sg_add(&g, "soft_blk", ram);
	sg_start(&g, BG_FEATURES, 1, 64);
	bg_fill(&g, BG_BUF, 8192, 1);
	assert_int_equal(bg_rw_used(&g, VIRTIO_BLK_T_OUT, 16, 8192, &used), VIRTIO_BLK_S_OK);
	assert_int_equal(used, 1);
	memset(g.mem + BG_BUF, 0, 8192);
	assert_int_equal(bg_rw_used(&g, VIRTIO_BLK_T_IN, 16, 8192, &used), VIRTIO_BLK_S_OK);
	assert_int_equal(used, 8193);
	assert_true(bg_filled(&g, BG_BUF, 8192, 1));
	assert_int_equal(bg_rw_used(&g, VIRTIO_BLK_T_FLUSH, 0, 0, &used), VIRTIO_BLK_S_OK);
	assert_int_equal(used, 1);
	memset(g.mem + BG_BUF, 0xff, 20);
	assert_int_equal(bg_rw_used(&g, VIRTIO_BLK_T_GET_ID, 0, 20, &used), VIRTIO_BLK_S_OK);
	assert_int_equal(used, 21);
	assert_memory_equal(g.mem + BG_BUF, "d0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
	assert_int_equal(sg_stat(&g, 0, "reads"), 1);
	assert_int_equal(sg_stat(&g, 0, "write bytes"), 8192);
	assert_int_equal(sg_stat(&g, 0, "errors"), 0);
	sg_close(&g);
}

static void test_ranges(void **state)
{
	struct soft_guest g;

	sg_open(&g, 0);
	sg_add(&g, "soft_blk", ram);
	sg_start(&g, BG_FEATURES, 1, 64);
	bg_fill(&g, BG_BUF, 65536, 2);
	assert_int_equal(bg_rw(&g, VIRTIO_BLK_T_OUT, 0, 65536), 0);
	assert_int_equal(bg_range(&g, VIRTIO_BLK_T_DISCARD, 1, 40, 0), 0);
	assert_int_equal(bg_range(&g, VIRTIO_BLK_T_WRITE_ZEROES, 64, 3, 0), 0);
	assert_int_equal(bg_range(&g, VIRTIO_BLK_T_WRITE_ZEROES, 80, 20, 1), 0);
	assert_int_equal(bg_rw(&g, VIRTIO_BLK_T_IN, 0, 65536), 0);
	assert_true(bg_zero(&g, BG_BUF + 512, 40 * 512));
	assert_true(bg_zero(&g, BG_BUF + 64 * 512, 3 * 512));
	assert_true(bg_zero(&g, BG_BUF + 80 * 512, 20 * 512));
	assert_true(bg_filled(&g, BG_BUF, 512, 2));
	bg_fill(&g, SG_DATA + (1 << 20), 65536, 2);
	assert_memory_equal(g.mem + BG_BUF + 41 * 512, g.mem + SG_DATA + (1 << 20) + 41 * 512,
			    23 * 512);
	assert_memory_equal(g.mem + BG_BUF + 100 * 512, g.mem + SG_DATA + (1 << 20) + 100 * 512,
			    28 * 512);
	/* Flags: virtio 1.3, 5.2.6.2. */
	assert_int_equal(bg_range(&g, VIRTIO_BLK_T_DISCARD, 0, 1, 1), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(bg_range(&g, VIRTIO_BLK_T_DISCARD, 0, 1, 2), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(bg_range(&g, VIRTIO_BLK_T_WRITE_ZEROES, 0, 1, 2), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(bg_range(&g, VIRTIO_BLK_T_WRITE_ZEROES, 0, 1, 0x80000001),
			 VIRTIO_BLK_S_UNSUPP);
	/* Limits and capacity. */
	assert_int_equal(bg_range(&g, VIRTIO_BLK_T_DISCARD, 8191, 1, 0), 0);
	assert_int_equal(bg_range(&g, VIRTIO_BLK_T_DISCARD, 8191, 2, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(bg_range(&g, VIRTIO_BLK_T_DISCARD, UINT64_MAX, 2, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(bg_range(&g, VIRTIO_BLK_T_WRITE_ZEROES, 0, UINT32_MAX, 0),
			 VIRTIO_BLK_S_IOERR);
	/* One range, no more and no less. */
	assert_int_equal(bg_rw(&g, VIRTIO_BLK_T_DISCARD, 0, 32), VIRTIO_BLK_S_IOERR);
	assert_int_equal(bg_rw(&g, VIRTIO_BLK_T_DISCARD, 0, 15), VIRTIO_BLK_S_IOERR);
	assert_int_equal(bg_rw(&g, VIRTIO_BLK_T_DISCARD, 0, 0), VIRTIO_BLK_S_IOERR);
	sg_close(&g);
}

/* Limits of a request, on a disk that is larger than they are. */
static void test_range_limits(void **state)
{
	struct virtio_blk_config c;
	struct soft_guest g;
	uint32_t discard, zeroes;

	sg_open(&g, 0);
	sg_add(&g, "soft_blk", (struct vdpa_attr[]){{"backend", "null"}, {0}});
	sg_start(&g, BG_FEATURES, 1, 64);
	vdpa_get_config(g.dev, 0, &c, 60);
	discard = le32toh(c.max_discard_sectors);
	zeroes = le32toh(c.max_write_zeroes_sectors);
	assert_int_equal(bg_range(&g, VIRTIO_BLK_T_DISCARD, 0, discard, 0), 0);
	assert_int_equal(bg_range(&g, VIRTIO_BLK_T_DISCARD, 0, discard + 1, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(bg_range(&g, VIRTIO_BLK_T_WRITE_ZEROES, 0, zeroes, 0), 0);
	assert_int_equal(bg_range(&g, VIRTIO_BLK_T_WRITE_ZEROES, 0, zeroes + 1, 0),
			 VIRTIO_BLK_S_IOERR);
	sg_close(&g);
}

static void test_bad(void **state)
{
	struct soft_guest g;
	struct virtqueue_sg sg[3];
	uint32_t used;

	sg_open(&g, 0);
	sg_add(&g, "soft_blk", ram);
	sg_start(&g, BG_FEATURES, 1, 64);
	/* 4 MiB: 8192 sectors. */
	assert_int_equal(bg_rw(&g, VIRTIO_BLK_T_IN, 8191, 512), 0);
	assert_int_equal(bg_rw_used(&g, VIRTIO_BLK_T_IN, 8191, 1024, &used), VIRTIO_BLK_S_IOERR);
	assert_int_equal(used, 1025);
	assert_int_equal(bg_rw(&g, VIRTIO_BLK_T_IN, 8192, 512), VIRTIO_BLK_S_IOERR);
	assert_int_equal(bg_rw(&g, VIRTIO_BLK_T_OUT, 8192, 512), VIRTIO_BLK_S_IOERR);
	assert_int_equal(bg_rw(&g, VIRTIO_BLK_T_IN, UINT64_MAX, 512), VIRTIO_BLK_S_IOERR);
	assert_int_equal(bg_rw(&g, VIRTIO_BLK_T_IN, UINT64_MAX / 512, 1024), VIRTIO_BLK_S_IOERR);
	assert_int_equal(bg_rw(&g, VIRTIO_BLK_T_IN, 1ull << 55, 512), VIRTIO_BLK_S_IOERR);
	assert_int_equal(bg_rw(&g, VIRTIO_BLK_T_IN, 0, 513), VIRTIO_BLK_S_IOERR);
	assert_int_equal(bg_rw(&g, VIRTIO_BLK_T_OUT, 0, 511), VIRTIO_BLK_S_IOERR);
	assert_int_equal(bg_rw(&g, VIRTIO_BLK_T_IN, 0, 0), VIRTIO_BLK_S_OK);
	for (uint32_t type = 2; type < 40; type++)
		if (type != VIRTIO_BLK_T_FLUSH && type != VIRTIO_BLK_T_GET_ID &&
		    type != VIRTIO_BLK_T_DISCARD && type != VIRTIO_BLK_T_WRITE_ZEROES)
			assert_int_equal(bg_rw(&g, type, 0, 512), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(bg_rw(&g, 0x80000000u, 0, 512), VIRTIO_BLK_S_UNSUPP);
	/* No room for a status; a header that is too short. */
	bg_header(&g, BG_HDR, VIRTIO_BLK_T_FLUSH, 0);
	sg[0] = sg_at(BG_HDR, 16);
	assert_int_equal(sg_io(&g, 0, sg, 1, 0), 0);
	sg[0] = sg_at(BG_HDR, 15);
	sg[1] = sg_at(BG_STATUS, 1);
	g.mem[BG_STATUS] = 0xee;
	assert_int_equal(sg_io(&g, 0, sg, 1, 1), 1);
	assert_int_equal(g.mem[BG_STATUS], VIRTIO_BLK_S_IOERR);
	g.mem[BG_STATUS] = 0xee;
	assert_int_equal(sg_io(&g, 0, sg + 1, 0, 1), 1);
	assert_int_equal(g.mem[BG_STATUS], VIRTIO_BLK_S_IOERR);
	assert_int_equal(sg_stat(&g, 0, "bad_requests"), 3);
	/* None of that is worth a reset. */
	assert_int_equal(vdpa_get_status(g.dev) & VIRTIO_CONFIG_S_NEEDS_RESET, 0);
	assert_int_equal(bg_rw(&g, VIRTIO_BLK_T_IN, 0, 512), 0);
	sg_close(&g);
}

/* Pieces [at, at + len) of guest memory, cut behind byte @cut. */
static unsigned cut_at(struct virtqueue_sg *sg, size_t at, uint32_t len, uint32_t cut)
{
	if (!cut || cut >= len) {
		sg[0] = sg_at(at, len);
		return 1;
	}
	/* Apart in memory, too: the second half is moved by the caller's layout. */
	sg[0] = sg_at(at, cut);
	sg[1] = sg_at(at + cut, len - cut);
	return 2;
}

/* One request as a flat readable and a flat writable part, cut at every byte. */
static void cut_everywhere(struct soft_guest *g, uint32_t type, uint32_t len)
{
	bool write = type == VIRTIO_BLK_T_OUT;
	uint32_t nout_bytes = 16 + (write ? len : 0), nin_bytes = 1 + (write ? 0 : len);

	for (uint32_t cut = 0; cut < nout_bytes + nin_bytes; cut++) {
		struct virtqueue_sg sg[4];
		uint32_t in_cut = cut > nout_bytes ? cut - nout_bytes : 0;
		size_t out = BG_BUF, in = BG_BUF + 0x10000;
		unsigned nout, nin;

		bg_header(g, out, type, 3);
		bg_fill(g, out + 16, len, write ? cut : 0);
		memset(g->mem + in, 0xee, nin_bytes);
		nout = cut_at(sg, out, nout_bytes, cut);
		nin = cut_at(sg + nout, in, nin_bytes, in_cut);
		assert_int_equal(sg_io(g, 0, sg, nout, nin), nin_bytes);
		assert_int_equal(g->mem[in + nin_bytes - 1], VIRTIO_BLK_S_OK);
		if (!write) {
			assert_true(bg_filled(g, in, len, 77));
			continue;
		}
		assert_int_equal(bg_rw(g, VIRTIO_BLK_T_IN, 3, len), 0);
		assert_true(bg_filled(g, BG_BUF, len, cut));
	}
}

static void test_any_layout(void **state)
{
	struct soft_guest g;

	sg_open(&g, 0);
	sg_add(&g, "soft_blk", ram);
	sg_start(&g, BG_FEATURES, 1, 64);
	cut_everywhere(&g, VIRTIO_BLK_T_OUT, 512);
	bg_fill(&g, BG_BUF, 512, 77);
	assert_int_equal(bg_rw(&g, VIRTIO_BLK_T_OUT, 3, 512), 0);
	cut_everywhere(&g, VIRTIO_BLK_T_IN, 512);
	sg_close(&g);
}

/* A byte per descriptor: more pieces than a request has room for by itself. */
static void test_many_pieces(void **state)
{
	struct soft_guest g;
	static struct virtqueue_sg sg[600];
	unsigned n = 0;

	sg_open(&g, 0);
	sg_add(&g, "soft_blk", (struct vdpa_attr[]){{"size", "1M"}, {"queue_size", "1024"}, {0}});
	sg_start(&g, BG_FEATURES, 1, 1024);
	/* Every other byte of a buffer twice as large, so that nothing can be joined. */
	for (unsigned i = 0; i < 16 + 512; i++)
		sg[n++] = sg_at(BG_BUF + 0x4000 + 2 * i, 1);
	bg_header(&g, BG_HDR, VIRTIO_BLK_T_OUT, 1);
	for (unsigned i = 0; i < 16; i++)
		g.mem[BG_BUF + 0x4000 + 2 * i] = g.mem[BG_HDR + i];
	for (unsigned i = 0; i < 512; i++)
		g.mem[BG_BUF + 0x4000 + 2 * (16 + i)] = (uint8_t)(i * 3);
	sg[n++] = sg_at(BG_STATUS, 1);
	assert_int_equal(sg_io(&g, 0, sg, n - 1, 1), 1);
	assert_int_equal(g.mem[BG_STATUS], 0);
	assert_int_equal(bg_rw(&g, VIRTIO_BLK_T_IN, 1, 512), 0);
	for (unsigned i = 0; i < 512; i++)
		assert_int_equal(g.mem[BG_BUF + i], (uint8_t)(i * 3));
	sg_close(&g);
}

static void test_read_only(void **state)
{
	struct soft_guest g;

	sg_open(&g, 0);
	sg_add(&g, "soft_blk", (struct vdpa_attr[]){{"size", "1M"}, {"read_only", "on"}, {0}});
	assert_true(vdpa_get_device_features(g.dev) & VDPA_BIT(VIRTIO_BLK_F_RO));
	assert_false(vdpa_get_device_features(g.dev) &
		     (VDPA_BIT(VIRTIO_BLK_F_DISCARD) | VDPA_BIT(VIRTIO_BLK_F_WRITE_ZEROES)));
	sg_start(&g, SG_V1 | VDPA_BIT(VIRTIO_BLK_F_FLUSH), 1, 64);
	bg_fill(&g, BG_BUF, 512, 9);
	assert_int_equal(bg_rw(&g, VIRTIO_BLK_T_OUT, 0, 512), VIRTIO_BLK_S_IOERR);
	assert_int_equal(bg_range(&g, VIRTIO_BLK_T_DISCARD, 0, 1, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(bg_range(&g, VIRTIO_BLK_T_WRITE_ZEROES, 0, 1, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(bg_rw(&g, VIRTIO_BLK_T_IN, 0, 512), 0);
	assert_true(bg_zero(&g, BG_BUF, 512));
	assert_int_equal(bg_rw(&g, VIRTIO_BLK_T_FLUSH, 0, 0), 0);
	sg_close(&g);
}

/* What was not negotiated is not done. */
static void test_not_negotiated(void **state)
{
	struct soft_guest g;

	sg_open(&g, 0);
	sg_add(&g, "soft_blk", ram);
	sg_start(&g, SG_V1, 1, 64);
	assert_int_equal(bg_range(&g, VIRTIO_BLK_T_DISCARD, 0, 1, 0), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(bg_range(&g, VIRTIO_BLK_T_WRITE_ZEROES, 0, 1, 0), VIRTIO_BLK_S_UNSUPP);
	sg_close(&g);
}

static void test_config(void **state)
{
	struct soft_guest g;
	struct virtio_blk_config c;

	sg_open(&g, 0);
	sg_add(&g, "soft_blk",
	       (struct vdpa_attr[]){{"size", "8M"},
				    {"num_queues", "4"},
				    {"serial", "01234567890123456789"},
				    {"block_size", "4096"},
				    {"queue_size", "128"},
				    {0}});
	assert_int_equal(vdpa_get_config_size(g.dev), 60);
	memset(&c, 0, sizeof(c));
	assert_int_equal(vdpa_get_config(g.dev, 0, &c, 60), 0);
	assert_int_equal(le64toh(c.capacity), 16384);
	assert_int_equal(le32toh(c.seg_max), 126);
	assert_int_equal(le32toh(c.blk_size), 4096);
	assert_int_equal(le16toh(c.num_queues), 4);
	assert_int_equal(le32toh(c.max_discard_seg), 1);
	assert_true(vdpa_get_device_features(g.dev) & VDPA_BIT(VIRTIO_BLK_F_MQ));
	assert_int_equal(g.dev->nvqs, 4);
	assert_int_equal(vdpa_get_config(g.dev, 60, &c, 1), -EINVAL);
	assert_int_equal(vdpa_get_config(g.dev, 1, &c, UINT32_MAX), -EINVAL);
	sg_start(&g, SG_V1, 4, 16);
	assert_int_equal(bg_rw(&g, VIRTIO_BLK_T_GET_ID, 0, 20), 0);
	assert_memory_equal(g.mem + BG_BUF, "01234567890123456789", 20);
	sg_close(&g);
}

static void expect_refused(struct soft_guest *g, const struct vdpa_attr *attrs, int code,
			   const char *word)
{
	struct vdpa_dev_set_config config = {.attrs = attrs};
	struct vdpa_error err = {.msg = ""};
	unsigned fds = sg_open_fds();

	assert_int_equal(sg_try_add(g, "soft_blk", "bad", &config, &err), code);
	if (!strstr(err.msg, word))
		fail_msg("\"%s\" does not mention \"%s\"", err.msg, word);
	assert_null(vdpa_find_device(g->ctx, "bad"));
	assert_int_equal(sg_open_fds(), fds);
}

#define ATTRS(...) ((struct vdpa_attr[]){__VA_ARGS__, {0}})

static void test_bad_attributes(void **state)
{
	struct soft_guest g;

	sg_open(&g, 0);
	expect_refused(&g, ATTRS({"backend", "tape"}), -ENOENT, "ram");
	expect_refused(&g, ATTRS({"size", "1000"}), -EINVAL, "1000");
	expect_refused(&g, ATTRS({"path", "/x"}), -EINVAL, "path");
	expect_refused(&g, ATTRS({"serial", "012345678901234567890"}), -EINVAL, "20");
	expect_refused(&g, ATTRS({"num_queues", "65"}), -ERANGE, "65");
	expect_refused(&g, ATTRS({"block_size", "1536"}), -EINVAL, "1536");
	expect_refused(&g, ATTRS({"size", "1536"}, {"block_size", "1024"}), -EINVAL, "1024");
	expect_refused(&g, ATTRS({"queue_size", "100"}), -EINVAL, "100");
	expect_refused(&g, ATTRS({"backend", "file"}), -EINVAL, "path");
	expect_refused(&g, ATTRS({"backend", "file"}, {"path", "/no/such/file"}), -ENOENT,
		       "/no/such/file");
	sg_close(&g);
}

static void test_device_features(void **state)
{
	struct soft_guest g;
	struct vdpa_dev_set_config config = {
		.mask = VDPA_CFG_FEATURES,
		.device_features = SG_V1 | VDPA_BIT(VIRTIO_BLK_F_FLUSH),
	};
	struct vdpa_error err = {.msg = ""};

	sg_open(&g, 0);
	assert_int_equal(sg_try_add(&g, "soft_blk", "d0", &config, &err), 0);
	sg_use(&g, vdpa_find_device(g.ctx, "d0"));
	assert_int_equal(vdpa_get_device_features(g.dev), config.device_features);
	config.device_features |= VDPA_BIT(17);
	assert_int_not_equal(sg_try_add(&g, "soft_blk", "d1", &config, &err), 0);
	sg_close(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests),	cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_range_limits),	cmocka_unit_test(test_bad),
		cmocka_unit_test(test_any_layout),	cmocka_unit_test(test_many_pieces),
		cmocka_unit_test(test_read_only),	cmocka_unit_test(test_not_negotiated),
		cmocka_unit_test(test_config),		cmocka_unit_test(test_bad_attributes),
		cmocka_unit_test(test_device_features),
	};

	return cmocka_run_group_tests_name("blk", tests, NULL, NULL);
}
