// SPDX-License-Identifier: BSD-3-Clause
/* A driver, or its peer, that means harm: eventfds, floods, memory that goes away. */
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include "blk_guest.h"
#include "hold_dev.h"

#define MS (SG_SECOND / 1000)

struct drainer {
	struct vdpa_loop_msg msg;
	int fd;
};

static void drain(struct vdpa_loop_msg *msg)
{
	struct drainer *d = (struct drainer *)msg;
	uint64_t n;

	assert_int_equal(read(d->fd, &n, sizeof(n)), sizeof(n));
}

/* The peer takes the kick away between its becoming visible and our reading it. */
static void test_kick_drained(void **state)
{
	struct drainer d;
	struct soft_guest g;
	uint32_t len;

	hold_open(&g, NULL);
	sg_start(&g, SG_V1, 1, 16);
	sg_run(&g, 5 * MS);
	assert_int_equal(fcntl(g.q[0].kick, F_SETFL, 0), 0);
	d.fd = g.q[0].kick;
	sg_kick(&g, 0);
	vdpa_loop_post(vdpa_ctx_control(g.ctx), &d.msg, drain);
	/* Were the read to wait, this would never return. */
	sg_run(&g, 5 * MS);
	hold_post(&g, 0, 0, 10);
	assert_non_null(sg_get(&g, 0, &len, SG_PATIENCE));
	sg_close(&g);
}

/* The peer filled the call's counter: the write must not wait for somebody to read it. */
static void test_call_full(void **state)
{
	uint64_t most = UINT64_MAX - 1;
	struct vdpa_callback cb = {NULL, NULL, eventfd(0, EFD_CLOEXEC)};
	struct soft_guest g;

	hold_open(&g, NULL);
	sg_start(&g, SG_V1, 1, 16);
	assert_int_equal(write(cb.trigger, &most, sizeof(most)), sizeof(most));
	assert_int_equal(vdpa_set_vq_cb(g.dev, 0, &cb), 0);
	hold_post(&g, 0, 0, 10);
	sg_run(&g, 20 * MS);
	assert_int_equal(g.mem[SG_DATA], HOLD_FILL);
	close(cb.trigger);
	sg_close(&g);
}

/* The file behind the driver's memory shrinks. */
static void test_memory_goes(void **state)
{
	int fd = memfd_create("guest", MFD_CLOEXEC);
	struct vdpa_region *region;
	struct vdpa_error err;
	struct soft_guest g;
	struct virtqueue_sg sg;

	assert_int_equal(vdpa_sigbus_install(), 0);
	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	hold_open(&g, NULL);
	sg_map(&g);
	assert_int_equal(vdpa_region_map(fd, 0, 1 << 20, 0, PROT_READ | PROT_WRITE, &region, &err),
			 0);
	assert_int_equal(vdpa_dma_map(g.dev, 0, 0x100000000, 1 << 20, vdpa_region_addr(region, 0),
				      VHOST_MAP_RW, region),
			 0);
	vdpa_region_put(region);
	sg_negotiate(&g, SG_V1);
	sg_queue(&g, 0, 16);
	sg_queue(&g, 1, 16);
	sg_driver_ok(&g);
	sg_run(&g, 5 * MS);
	assert_int_equal(ftruncate(fd, 0), 0);
	sg = (struct virtqueue_sg){0x100000000 + 8192, 4096};
	sg_send(&g, 0, &sg, 0, 1, &g);
	sg_until_status(&g, VIRTIO_CONFIG_S_NEEDS_RESET);
	sg_run(&g, 5 * MS);
	/* This device is broken, all of it; the process goes on. */
	assert_int_equal(hold_of(vdpa_to_soft(g.dev))->q[1].stoppeds, 1);
	close(fd);
	sg_close(&g);
}

/* No queue: what was given and what is used are two different things at every level. */
static void test_bounds(void **state)
{
	struct soft_guest g;

	hold_open(&g, NULL);
	assert_int_equal(vdpa_set_vq_num(g.dev, 0, 512), -EINVAL);
	assert_int_equal(vdpa_set_vq_num(g.dev, 0, 3), -EINVAL);
	g.dev->config->set_vq_num(g.dev, 0, 512);
	assert_int_equal(g.dev->config->get_vq_size(g.dev, 0), 256);
	g.dev->config->set_vq_num(g.dev, 0, 0);
	assert_int_equal(g.dev->config->get_vq_size(g.dev, 0), 256);
	assert_int_equal(vdpa_set_vq_address(g.dev, HOLD_QUEUES, 0, 0, 0), -EINVAL);
	assert_null(vdpa_soft_get_vq(vdpa_to_soft(g.dev), HOLD_QUEUES));
	/* Rings that are nowhere, or that wrap: the queue fails, nothing else. */
	sg_map(&g);
	sg_negotiate(&g, SG_V1);
	vdpa_set_vq_address(g.dev, 0, UINT64_MAX - 15, UINT64_MAX - 1, UINT64_MAX - 3);
	vdpa_set_vq_ready(g.dev, 0);
	vdpa_set_status(g.dev, 15);
	sg_until_status(&g, VIRTIO_CONFIG_S_NEEDS_RESET);
	sg_close(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kick_drained),
		cmocka_unit_test(test_call_full),
		cmocka_unit_test(test_memory_goes),
		cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests_name("kit hostile", tests, NULL, NULL);
}
