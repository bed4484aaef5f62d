// SPDX-License-Identifier: BSD-3-Clause
/* Birth and death: every allocation failing, contexts side by side, deletion under traffic. */
#include <pthread.h>
#include "blk_guest.h"
#include "cvq_guest.h"
#include "hold_dev.h"

#include "alloc_fail.h"

#define MS (SG_SECOND / 1000)

static void test_alloc_kit(void **state)
{
	struct vdpa_error err;
	struct soft_guest g;

	sg_open(&g, 0);
	for (alloc_fail_begin(); alloc_fail_more();) {
		struct hold_dev *dev = hold_make(g.ctx, "h0", NULL, &err);
		int r = dev ? vdpa_soft_register(&dev->soft, &err) : -ENOMEM;

		alloc_fail_off();
		if (dev && r)
			vdpa_put_device(&dev->soft.vdpa);
		if (!r) {
			sg_use(&g, &dev->soft.vdpa);
			sg_del(&g);
		}
		sg_run(&g, 1);
		assert_null(vdpa_find_device(g.ctx, "h0"));
	}
	sg_close(&g);
}

static void add_failing(const char *mgmtdev, const struct vdpa_attr *attrs)
{
	struct vdpa_dev_set_config config = {.attrs = attrs};
	struct vdpa_error err = {.msg = ""};
	struct soft_guest g;
	unsigned fds;

	sg_open(&g, 0);
	fds = sg_open_fds();
	for (alloc_fail_begin(); alloc_fail_more();) {
		int r = sg_try_add(&g, mgmtdev, "d0", &config, &err);

		alloc_fail_off();
		if (r) {
			assert_null(vdpa_find_device(g.ctx, "d0"));
			assert_int_equal(sg_open_fds(), fds);
			continue;
		}
		sg_use(&g, vdpa_find_device(g.ctx, "d0"));
		sg_del(&g);
	}
	sg_close(&g);
}

static void test_alloc_devices(void **state)
{
	char path[] = "/tmp/uvdpa-life-XXXXXX";
	int fd = mkstemp(path);

	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	add_failing("soft_blk", (struct vdpa_attr[]){{"num_queues", "3"}, {0}});
	add_failing("soft_blk", (struct vdpa_attr[]){{"backend", "null"}, {0}});
	add_failing("soft_blk", (struct vdpa_attr[]){{"backend", "file"}, {"path", path}, {0}});
	add_failing("soft_net", (struct vdpa_attr[]){{"filter", "on"}, {"intercept", "on"}, {0}});
	add_failing("soft_net", (struct vdpa_attr[]){{"backend", "switch"}, {"switch", "b"}, {0}});
	add_failing("soft_net", (struct vdpa_attr[]){{"backend", "null"}, {"rss", "on"}, {0}});
	close(fd);
	unlink(path);
}

static void test_alloc_register(void **state)
{
	for (alloc_fail_begin(); alloc_fail_more();) {
		struct vdpa_ctx *ctx;
		int r;

		r = vdpa_ctx_new(NULL, &ctx);
		if (!r)
			r = vdpa_register_builtin(ctx) ? 1 : 0;
		alloc_fail_off();
		if (r >= 0)
			assert_int_equal(vdpa_ctx_free(ctx), 0);
	}
}

/* A queue whose ring cannot be had: the device needs a reset, and then works. */
static void test_alloc_start(void **state)
{
	struct soft_guest g;
	uint32_t len;

	sg_open(&g, 0);
	sg_add(&g, "soft_blk", (struct vdpa_attr[]){{"size", "1M"}, {0}});
	for (alloc_fail_begin(); alloc_fail_more();) {
		long round = alloc_fail_round;

		alloc_fail_off();
		sg_map(&g);
		sg_negotiate(&g, SG_V1);
		sg_queue(&g, 0, 16);
		alloc_fail_countdown = round;
		vdpa_set_status(g.dev, 15);
		sg_run(&g, 2 * MS);
		alloc_fail_off();
		if (alloc_fail_hit)
			assert_true(vdpa_get_status(g.dev) & VIRTIO_CONFIG_S_NEEDS_RESET);
		else
			assert_int_equal(bg_rw(&g, VIRTIO_BLK_T_IN, 0, 512), 0);
		sg_reset(&g);
	}
	sg_start(&g, SG_V1, 1, 16);
	assert_int_equal(bg_rw_used(&g, VIRTIO_BLK_T_IN, 0, 512, &len), 0);
	sg_close(&g);
}

/* A NIC takes what it needs for its packets when it is used. */
static void test_alloc_start_nic(void **state)
{
	struct soft_guest g;

	sg_open(&g, 0);
	sg_add(&g, "soft_net", (struct vdpa_attr[]){{0}});
	for (alloc_fail_begin(); alloc_fail_more();) {
		long round = alloc_fail_round;

		alloc_fail_off();
		sg_map(&g);
		sg_negotiate(&g, NG_FEATURES);
		sg_queue(&g, 0, 16);
		sg_queue(&g, 1, 16);
		alloc_fail_countdown = round;
		vdpa_set_status(g.dev, 15);
		sg_run(&g, 2 * MS);
		alloc_fail_off();
		assert_int_equal(!!(vdpa_get_status(g.dev) & VIRTIO_CONFIG_S_NEEDS_RESET),
				 alloc_fail_hit);
		if (!alloc_fail_hit) {
			ng_rx_post(&g, 0, 2048);
			ng_frame(&g, 12, NULL, 1, 60);
			ng_tx_post(&g, 72);
			assert_true(ng_tx_done(&g, SG_PATIENCE));
		}
		sg_reset(&g);
	}
	sg_close(&g);
}

/* A command that there is no memory for is refused, and changes nothing. */
static void test_alloc_command(void **state)
{
	uint8_t mac[6] = {2, 0, 0, 0, 0, 9};
	uint8_t before[6], now[6];
	struct soft_guest g;
	unsigned refused = 0;

	sg_open(&g, 0);
	sg_add(&g, "soft_net", (struct vdpa_attr[]){{"intercept", "on"}, {0}});
	sg_start(&g, NG_FEATURES | CG_RX, 3, 16);
	/* Its queues have started, then. */
	assert_int_equal(cg_rx_mode(&g, VIRTIO_NET_CTRL_RX_PROMISC, 1), VIRTIO_NET_OK);
	assert_int_equal(vdpa_get_config(g.dev, 0, before, 6), 0);
	for (alloc_fail_begin(); alloc_fail_more();) {
		uint8_t ack =
			cg_send(&g, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, mac, 6);

		alloc_fail_off();
		assert_int_equal(vdpa_get_config(g.dev, 0, now, 6), 0);
		assert_memory_equal(now, ack == VIRTIO_NET_OK ? mac : before, 6);
		assert_true(alloc_fail_hit || ack == VIRTIO_NET_OK);
		refused += ack == VIRTIO_NET_ERR;
		memcpy(before, now, 6);
		mac[5]++;
	}
	assert_int_equal(refused, 2); /* the command, the state */
	sg_close(&g);
}

static void no_miss(void *arg, unsigned asid, iova_t iova, uint32_t perm)
{
}

/* Whoever is told that it was done hears when; whoever is told that it was not hears nothing more.
 */
static void test_alloc_switches(void **state)
{
	struct hold_params p = {.nas = 3, .ngroups = 3};
	struct vdpa_dirty_log *log;
	unsigned partly = 0;
	struct soft_guest g;

	hold_open(&g, &p);
	sg_start(&g, SG_V1, 1, 16);
	for (alloc_fail_begin(); alloc_fail_more();) {
		int r = vdpa_set_miss(g.dev, 0, no_miss, &g);

		alloc_fail_off();
		assert_int_equal(r, alloc_fail_hit ? -ENOMEM : 0);
	}
	assert_true(alloc_fail_round > 0);
	assert_int_equal(vdpa_dirty_log_new(1 << 20, &log), 0);
	for (alloc_fail_begin(); alloc_fail_more();) {
		struct sg_wait wait = {0};
		struct vdpa_done done = sg_done(&wait);
		int r = vdpa_set_dirty_log(g.dev, log, &done);

		alloc_fail_off();
		if (r) {
			assert_int_equal(r, -ENOMEM);
			sg_run(&g, 2 * MS);
			assert_false(wait.done);
		} else {
			r = sg_wait(&g, &wait);
			assert_int_equal(r, alloc_fail_hit ? -ENOMEM : 0);
			partly += r != 0;
		}
		assert_int_equal(vdpa_set_dirty_log(g.dev, NULL, NULL), 0);
	}
	assert_true(partly);
	vdpa_dirty_log_put(log);
	sg_close(&g);
}

static void test_two_contexts(void **state)
{
	struct soft_guest a, b;

	sg_open(&a, 1);
	sg_open(&b, 0);
	sg_add(&a, "soft_blk", (struct vdpa_attr[]){{"size", "1M"}, {0}});
	/* The same name, and another disk. */
	sg_add(&b, "soft_blk", (struct vdpa_attr[]){{"size", "2M"}, {0}});
	sg_start(&a, BG_FEATURES, 1, 16);
	sg_start(&b, BG_FEATURES, 1, 16);
	bg_fill(&a, BG_BUF, 512, 1);
	bg_fill(&b, BG_BUF, 512, 2);
	assert_int_equal(bg_rw(&a, VIRTIO_BLK_T_OUT, 0, 512), 0);
	assert_int_equal(bg_rw(&b, VIRTIO_BLK_T_OUT, 0, 512), 0);
	assert_int_equal(bg_rw(&a, VIRTIO_BLK_T_IN, 0, 512), 0);
	assert_true(bg_filled(&a, BG_BUF, 512, 1));
	sg_close(&a);
	assert_int_equal(bg_rw(&b, VIRTIO_BLK_T_IN, 0, 512), 0);
	assert_true(bg_filled(&b, BG_BUF, 512, 2));
	sg_close(&b);
}

/* ---- under traffic ---- */

struct kicker {
	struct soft_guest *g;
	_Atomic bool stop;
};

static void *kick_all_the_time(void *arg)
{
	struct kicker *k = arg;

	while (!k->stop) {
		vdpa_kick_vq(k->g->dev, 0);
		vdpa_kick_vq(k->g->dev, 1);
	}
	return NULL;
}

/* The queues are on two threads: to each its own memory. */
static void traffic(struct soft_guest *g, unsigned rounds)
{
	for (unsigned i = 0; i < 2 * rounds; i++) {
		unsigned q = i & 1;
		size_t at = BG_BUF + q * 0x10000;
		struct virtqueue_sg sg[3] = {sg_at(BG_HDR, 16), sg_at(at, 4096),
					     sg_at(at + 0x8000, 1)};
		uint32_t len;

		while (virtqueue_num_free(g->q[q].vq) >= 3)
			sg_send(g, q, sg, 1, 2, g);
		virtqueue_get(g->q[q].vq, &len);
		vdpa_loop_run_once(vdpa_ctx_control(g->ctx), 0);
	}
}

static void busy(const struct vdpa_attr *attrs, unsigned workers)
{
	for (unsigned round = 0; round < 12; round++) {
		struct kicker k = {0};
		pthread_t thread;
		struct soft_guest g;

		sg_open(&g, workers);
		sg_add(&g, "soft_blk", attrs);
		bg_header(&g, BG_HDR, VIRTIO_BLK_T_IN, 0);
		sg_start(&g, SG_V1, 2, 64);
		k.g = &g;
		assert_int_equal(pthread_create(&thread, NULL, kick_all_the_time, &k), 0);
		traffic(&g, 20 + round * 10);
		if (round % 3 == 1) {
			vdpa_suspend(g.dev, NULL);
			traffic(&g, 5);
			vdpa_resume(g.dev);
			traffic(&g, 5);
		}
		if (round % 3 == 2) {
			vdpa_stop_vq(g.dev, 0, NULL);
			vdpa_set_vq_ready(g.dev, 0);
			traffic(&g, 5);
			sg_reset(&g);
			sg_start(&g, SG_V1, 2, 64);
			traffic(&g, 5);
		}
		k.stop = true;
		pthread_join(thread, NULL);
		/* Deleted as it is, requests out and all. */
		sg_close(&g);
	}
}

static void test_delete_ram(void **state)
{
	busy((struct vdpa_attr[]){{"size", "1M"}, {"num_queues", "2"}, {0}}, 2);
}

static void test_delete_file(void **state)
{
	char path[] = "/tmp/uvdpa-life-XXXXXX";
	int fd = mkstemp(path);
	struct vdpa_attr attrs[] = {{"backend", "file"}, {"path", path}, {"num_queues", "2"}, {0}};

	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	busy(attrs, 2);
	busy(attrs, 0);
	close(fd);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alloc_kit),	cmocka_unit_test(test_alloc_devices),
		cmocka_unit_test(test_alloc_register),	cmocka_unit_test(test_alloc_start),
		cmocka_unit_test(test_alloc_start_nic), cmocka_unit_test(test_alloc_command),
		cmocka_unit_test(test_alloc_switches),	cmocka_unit_test(test_two_contexts),
		cmocka_unit_test(test_delete_ram),	cmocka_unit_test(test_delete_file),
	};

	return cmocka_run_group_tests_name("kit life", tests, NULL, NULL);
}
