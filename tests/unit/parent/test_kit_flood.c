// SPDX-License-Identifier: BSD-3-Clause
/*
 * Malformed requests without end, of every kind that there is: each is answered, memory does not
 * grow, the log is capped, and the next good request is served. UVDPA_TEST_ROUNDS times as many.
 */
#include <malloc.h>
#include <stdlib.h>
#include <unistd.h>
#include "blk_guest.h"
#include "net_guest.h"

#define REQUESTS 20000u
#define RINGS 100u
#define LOG_LINES 60u /* for a burst; and so many a second: */
#define LOG_PER_SECOND 12u
#define SLACK_BYTES (1u << 20)

static unsigned rounds(void)
{
	const char *text = getenv("UVDPA_TEST_ROUNDS");

	return text ? (unsigned)atoi(text) : 1;
}

static size_t rss(void)
{
	unsigned long size, resident = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%lu %lu", &size, &resident), 2);
	fclose(f);
	return resident * (size_t)sysconf(_SC_PAGESIZE);
}

struct watch {
	size_t rss, heap;
	uint64_t since_ns;
	unsigned lines;
};

static struct watch watch_begin(const struct soft_guest *g)
{
	return (struct watch){rss(), mallinfo2().uordblks, vdpa_clock_ns(), g->log_lines};
}

static void watch_end(const struct soft_guest *g, const struct watch *w)
{
	uint64_t seconds = (vdpa_clock_ns() - w->since_ns) / SG_SECOND;

	/* Sanitizers keep what was freed. Their own counts stand for the heap. */
	assert_true(mallinfo2().uordblks <= w->heap + 8192);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	assert_true(rss() <= w->rss + SLACK_BYTES);
#endif
	assert_true(g->log_lines - w->lines <= LOG_LINES + LOG_PER_SECOND * seconds);
}

/* ---- disk ---- */

static const struct bad_blk {
	uint32_t header, type;
	uint64_t sector;
	uint32_t out, in; /* bytes beside header and status */
	bool no_status;
} bad_blk[] = {
	{.header = 8, .no_status = true},
	{.header = 8},
	{.header = 15, .in = 512},
	{.header = 16, .no_status = true},
	{.header = 16, .type = VIRTIO_BLK_T_OUT, .out = 512, .no_status = true},
	{.header = 16, .type = 77},
	{.header = 16, .type = UINT32_MAX, .out = 512, .in = 512},
	{.header = 16, .type = VIRTIO_BLK_T_IN, .sector = 2048, .in = 512},
	{.header = 16, .type = VIRTIO_BLK_T_IN, .sector = UINT64_MAX, .in = 1024},
	{.header = 16, .type = VIRTIO_BLK_T_IN, .sector = 2047, .in = 1024},
	{.header = 16, .type = VIRTIO_BLK_T_IN, .in = 100},
	{.header = 16, .type = VIRTIO_BLK_T_OUT, .sector = UINT64_MAX / 512, .out = 512},
	{.header = 16, .type = VIRTIO_BLK_T_OUT, .out = 513},
	{.header = 16, .type = VIRTIO_BLK_T_DISCARD, .out = 7},
	{.header = 16, .type = VIRTIO_BLK_T_DISCARD, .out = 16},
	{.header = 16, .type = VIRTIO_BLK_T_WRITE_ZEROES, .out = 17},
	{.header = 16, .type = VIRTIO_BLK_T_WRITE_ZEROES, .out = 16},
};

static void send_bad_blk(struct soft_guest *g, const struct bad_blk *b)
{
	struct virtqueue_sg sg[4];
	unsigned nout = 0, n;

	bg_header(g, BG_HDR, b->type, b->sector);
	g->mem[BG_STATUS] = 0xee;
	sg[nout++] = sg_at(BG_HDR, b->header);
	if (b->out)
		sg[nout++] = sg_at(BG_BUF, b->out);
	n = nout;
	if (b->in)
		sg[n++] = sg_at(BG_BUF, b->in);
	if (!b->no_status)
		sg[n++] = sg_at(BG_STATUS, 1);
	sg_io(g, 0, sg, nout, n - nout);
	if (!b->no_status)
		assert_in_range(g->mem[BG_STATUS], VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_UNSUPP);
}

static void test_disk(void **state)
{
	unsigned kinds = sizeof(bad_blk) / sizeof(bad_blk[0]), n = REQUESTS * rounds();
	struct soft_guest g;
	struct watch w;

	sg_open(&g, 0);
	sg_add(&g, "soft_blk", (struct vdpa_attr[]){{"size", "1M"}, {0}});
	sg_start(&g, BG_FEATURES, 1, 64);
	/* More sectors than the disk has: for the ranges of DISCARD and WRITE_ZEROES. */
	memset(g.mem + BG_BUF, 0xff, 1024);
	for (unsigned i = 0; i < 1000; i++)
		send_bad_blk(&g, &bad_blk[i % kinds]);
	w = watch_begin(&g);
	for (unsigned i = 0; i < n; i++)
		send_bad_blk(&g, &bad_blk[i % kinds]);
	watch_end(&g, &w);
	assert_int_equal(bg_rw(&g, VIRTIO_BLK_T_IN, 0, 512), VIRTIO_BLK_S_OK);
	printf("%u malformed requests\n", n);
	sg_close(&g);
}

/* ---- NIC ---- */

static const struct bad_net {
	struct ng_hdr hdr;
	uint32_t bytes; /* with the header */
} bad_net[] = {
	{.bytes = 1},
	{.bytes = 11},
	{.bytes = 12 + 13},
	{.bytes = 12 + 70000},
	{.hdr = {.flags = 1, .csum_start = 0xffff, .csum_offset = 0xffff}, .bytes = 12 + 100},
	{.hdr = {.flags = 1, .csum_start = 99, .csum_offset = 0}, .bytes = 12 + 100},
	{.hdr = {.gso_type = 1, .gso_size = 0, .hdr_len = 54}, .bytes = 12 + 100},
	{.hdr = {.gso_type = 1, .gso_size = 1, .hdr_len = 0xffff}, .bytes = 12 + 100},
	{.hdr = {.gso_type = 0x7f, .gso_size = 1400}, .bytes = 12 + 100},
	{.hdr = {.flags = 0xff, .gso_type = 0xff}, .bytes = 12 + 14},
};

static void send_bad_net(struct soft_guest *g, const struct bad_net *b)
{
	ng_frame(g, 12, &b->hdr, 2, 100);
	ng_tx_post(g, b->bytes);
	assert_true(ng_tx_done(g, SG_PATIENCE));
}

static void test_nic(void **state)
{
	unsigned kinds = sizeof(bad_net) / sizeof(bad_net[0]), n = REQUESTS * rounds();
	struct vdpa_attr attrs[] = {{"backend", "loopback"}, {0}};
	struct soft_guest g;
	struct watch w;

	sg_open(&g, 0);
	sg_add(&g, "soft_net", attrs);
	sg_start(&g, NG_FEATURES, 2, 64);
	for (unsigned i = 0; i < 1000; i++)
		send_bad_net(&g, &bad_net[i % kinds]);
	w = watch_begin(&g);
	for (unsigned i = 0; i < n; i++)
		send_bad_net(&g, &bad_net[i % kinds]);
	watch_end(&g, &w);
	assert_int_equal(sg_stat(&g, 1, "bad_requests"), 1000 + n);
	printf("%u malformed requests\n", n);
	sg_close(&g);
}

/* ---- rings ---- */

/* What makes a ring end: a head that is none, a loop, too many at once, a buffer that is nowhere.
 */
static void spoil_ring(struct soft_guest *g, unsigned kind)
{
	iova_t desc, driver, device;
	struct vring_desc *d;
	uint16_t *avail;

	virtqueue_addrs(g->q[0].vq, &desc, &driver, &device);
	d = (void *)(g->mem + (desc - SG_IOVA));
	avail = (void *)(g->mem + (driver - SG_IOVA));
	d[0] = (struct vring_desc){htole64(SG_IOVA + SG_DATA), htole32(16), 0, 0};
	avail[2] = 0;
	if (kind == 0)
		avail[2] = htole16(0xffff);
	else if (kind == 1)
		d[0].flags = htole16(VRING_DESC_F_NEXT);
	else if (kind == 2)
		d[0].addr = htole64(UINT64_MAX - 7);
	else if (kind == 3)
		d[0].flags = htole16(VRING_DESC_F_INDIRECT);
	avail[1] = htole16(kind == 4 ? 1000 : 1);
	sg_kick(g, 0);
	sg_until_status(g, VIRTIO_CONFIG_S_NEEDS_RESET);
}

static void spoil_and_reset(struct soft_guest *g, unsigned kind)
{
	sg_map(g);
	sg_negotiate(g, SG_V1);
	sg_queue(g, 0, 16);
	sg_driver_ok(g);
	spoil_ring(g, kind);
	sg_reset(g);
}

static void test_rings(void **state)
{
	unsigned n = RINGS * rounds();
	struct soft_guest g;
	struct watch w;

	sg_open(&g, 0);
	sg_add(&g, "soft_blk", (struct vdpa_attr[]){{"size", "1M"}, {0}});
	for (unsigned i = 0; i < 50; i++)
		spoil_and_reset(&g, i % 5);
	w = watch_begin(&g);
	for (unsigned i = 0; i < n; i++)
		spoil_and_reset(&g, i % 5);
	watch_end(&g, &w);
	sg_start(&g, BG_FEATURES, 1, 16);
	assert_int_equal(bg_rw(&g, VIRTIO_BLK_T_IN, 0, 512), VIRTIO_BLK_S_OK);
	sg_close(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_disk),
		cmocka_unit_test(test_nic),
		cmocka_unit_test(test_rings),
	};

	return cmocka_run_group_tests_name("kit flood", tests, NULL, NULL);
}
