// SPDX-License-Identifier: BSD-3-Clause
/* The endpoint for device processes: the n-th allocation fails, and who waits when a device goes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <uvdpa/compat.h>
#include <uvdpa/vduse.h>

#include "alloc_fail.h"
#include "vduse_conn.h"

#define MEM_BYTES 0x10000u

static struct vdpa_ctx *ctx;
static struct vdpa_region *region;
static char path[108];
static int control, conn, file;

static void turn(void)
{
	vduse_turn(ctx);
}

static void process_begins(void)
{
	const struct vduse_dev_config config = {.name = "a",
						.device_id = VIRTIO_ID_BLOCK,
						.features = VDPA_BIT(VIRTIO_F_VERSION_1) |
							    VDPA_BIT(VIRTIO_F_ACCESS_PLATFORM),
						.vq_num = 1,
						.vq_align = 4096};
	const struct vduse_vq_config vq = {.max_size = 16};
	int fd = vduse_open_file(ctx, path, "control", &control);

	vduse_say(ctx, control, VDUSE_CREATE_DEV, &config, sizeof(config));
	vdpa_fd_close(&fd);
	file = vduse_open_file(ctx, path, "a", &conn);
	vduse_say(ctx, conn, VDUSE_VQ_SETUP, &vq, sizeof(vq));
}

static void answer_all(void)
{
	struct vduse_dev_request req;

	while (file >= 0 && recv(file, &req, sizeof(req), MSG_DONTWAIT) == sizeof(req)) {
		struct vduse_dev_response resp = {.request_id = req.request_id};

		send(file, &resp, sizeof(resp), MSG_NOSIGNAL);
		turn();
	}
}

static void add(const char *isolation)
{
	struct vdpa_attr attrs[] = {{"isolation", isolation}, {"bounce_size", "1M"}, {0}};
	struct vdpa_dev_set_config config = {.attrs = attrs};

	vdpa_dev_add(vdpa_mgmtdev_find(ctx, "vduse"), "a", &config, NULL);
}

static void drive(struct vdpa_device *dev)
{
	vdpa_dma_map(dev, 0, MEM_BYTES, MEM_BYTES, vdpa_region_addr(region, 0), VHOST_MAP_RW,
		     region);
	vdpa_set_status(dev, 3);
	vdpa_set_features(dev, VDPA_BIT(VIRTIO_F_VERSION_1) | VDPA_BIT(VIRTIO_F_ACCESS_PLATFORM));
	vdpa_set_status(dev, 11);
	vdpa_set_vq_num(dev, 0, 16);
	vdpa_set_vq_address(dev, 0, MEM_BYTES, MEM_BYTES + 0x1000, MEM_BYTES + 0x2000);
	vdpa_set_vq_ready(dev, 0);
	vdpa_set_status(dev, 15);
	turn();
	answer_all();
}

static void stop(struct vdpa_device *dev)
{
	vdpa_stop_vq(dev, 0, NULL);
	answer_all();
	vdpa_suspend(dev, NULL);
	answer_all();
	vdpa_dma_unmap(dev, 0, MEM_BYTES, MEM_BYTES, NULL);
	answer_all();
	vdpa_reset(dev, NULL);
	answer_all();
}

static void all_gone(void)
{
	struct vdpa_device *dev = vdpa_find_device(ctx, "a");

	vdpa_fd_close(&file);
	vdpa_fd_close(&conn);
	vdpa_fd_close(&control);
	turn();
	vduse_all_gone(ctx, dev);
}

static void alloc(const char *isolation)
{
	struct vdpa_device *dev;

	for (alloc_fail_begin(); alloc_fail_more();) {
		file = conn = control = -1;
		if (!vduse_listen(ctx, path, NULL, NULL)) {
			process_begins();
			add(isolation);
			dev = vdpa_find_device(ctx, "a");
			if (dev) {
				drive(dev);
				stop(dev);
			}
		}
		alloc_fail_off();
		all_gone();
	}
}

static void test_alloc_shared(void **state)
{
	alloc("shared");
}

static void test_alloc_bounce(void **state)
{
	alloc("bounce");
}

/* A reset that nobody waits for is under way when the device goes. */
static void test_deleted_in_a_reset(void **state)
{
	struct vdpa_device *dev;

	assert_int_equal(vduse_listen(ctx, path, NULL, NULL), 0);
	process_begins();
	add("shared");
	dev = vdpa_find_device(ctx, "a");
	assert_non_null(dev);
	drive(dev);
	assert_int_equal(vdpa_stop_vq(dev, 0, NULL), 0);
	assert_int_equal(vdpa_reset(dev, NULL), 0);
	assert_int_equal(vdpa_dev_del(dev, NULL, NULL), 0);
	turn();
	answer_all();
	all_gone();
}

static int set_up(void **state)
{
	snprintf(path, sizeof(path), "/tmp/uvdpa-test-vduse.%d", (int)getpid());
	return vduse_set_up(&ctx, &region, MEM_BYTES);
}

static int tear_down(void **state)
{
	return vduse_tear_down(ctx, region);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alloc_shared),
		cmocka_unit_test(test_alloc_bounce),
		cmocka_unit_test(test_deleted_in_a_reset),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
