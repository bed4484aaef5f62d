// SPDX-License-Identifier: BSD-3-Clause
/* Address spaces: both ways of mapping, groups, misses, the dirty log, regions in use. */
#include "hold_dev.h"

#define MS (SG_SECOND / 1000)

static void test_set_map(void **state)
{
	struct hold_params p = {.map = VDPA_SOFT_SET_MAP};
	struct sg_wait wait = {0};
	struct vdpa_done done = sg_done(&wait);
	struct vhost_iotlb *none;
	struct soft_guest g;
	uint32_t len;

	hold_open(&g, &p);
	assert_true(vdpa_has_set_map(g.dev));
	assert_false(vdpa_has_dma_map(g.dev));
	sg_start(&g, SG_V1, 1, 16);
	hold_post(&g, 0, 0, 10);
	assert_non_null(sg_get(&g, 0, &len, SG_PATIENCE));
	assert_int_equal(vdpa_set_map(g.dev, 1, NULL, &done), -EINVAL);
	/* An empty table: the next request is a fault. */
	none = vhost_iotlb_alloc(0, 0);
	assert_int_equal(vdpa_set_map(g.dev, 0, none, &done), 0);
	assert_int_equal(sg_wait(&g, &wait), 0);
	vhost_iotlb_free(none);
	hold_post(&g, 0, 0, 10);
	sg_kick(&g, 0);
	sg_until_status(&g, VIRTIO_CONFIG_S_NEEDS_RESET);
	sg_close(&g);
}

static void test_dma_map(void **state)
{
	struct sg_wait wait[2] = {{0}};
	struct vdpa_done done[2] = {sg_done(&wait[0]), sg_done(&wait[1])};
	const struct vhost_iotlb *iotlb;
	struct soft_guest g;
	struct hold_dev *dev = hold_open(&g, NULL);
	uint32_t len;

	assert_true(vdpa_has_dma_map(g.dev));
	assert_int_equal(vdpa_dma_map(g.dev, 1, 0, 4096, 0, VHOST_MAP_RW, g.region), -EINVAL);
	assert_int_equal(vdpa_dma_map(g.dev, 0, 0, 4096, 0, VHOST_MAP_RW, NULL), -EINVAL);
	assert_int_equal(vdpa_dma_unmap(g.dev, 0, 4096, 0, NULL), -EINVAL);
	assert_int_equal(vdpa_dma_unmap(g.dev, 0, 4096, UINT64_MAX, NULL), -EINVAL);
	assert_int_equal(vdpa_dma_unmap(g.dev, 1, 0, 4096, NULL), -EINVAL);
	sg_start(&g, SG_V1, 1, 16);
	assert_int_equal(vdpa_dma_map(g.dev, 0, SG_IOVA + 4096, 4096, vdpa_region_addr(g.region, 0),
				      VHOST_MAP_RW, g.region),
			 -EEXIST);
	iotlb = g.dev->ext->get_iotlb(g.dev, 0);
	assert_int_equal(iotlb->nmaps, 1);
	assert_null(g.dev->ext->get_iotlb(g.dev, 1));
	/* A removal waits for the request that is in there. */
	dev->hold = true;
	hold_post(&g, 0, 0, 10);
	sg_run(&g, 5 * MS);
	assert_int_equal(dev->q[0].n, 1);
	assert_int_equal(vdpa_dma_unmap(g.dev, 0, SG_IOVA, SG_BYTES, &done[0]), 0);
	sg_run(&g, 20 * MS);
	assert_false(wait[0].done);
	/* Its buffer is still good, and the ring is not: the completion cannot be told. */
	hold_release(dev, 0);
	assert_int_equal(g.mem[SG_DATA], HOLD_FILL);
	assert_int_equal(sg_wait(&g, &wait[0]), 0);
	sg_until_status(&g, VIRTIO_CONFIG_S_NEEDS_RESET);
	assert_null(sg_get(&g, 0, &len, 10 * MS));
	assert_int_equal(vdpa_reset_map(g.dev, 0, &done[1]), 0);
	assert_int_equal(sg_wait(&g, &wait[1]), 0);
	sg_close(&g);
}

/* Buffers of odd queues in address space 1; descriptors of all in address space 2. */
static void test_groups(void **state)
{
	struct hold_params p = {.nas = 3, .ngroups = 3};
	struct soft_guest g;
	uint32_t len;

	hold_open(&g, &p);
	assert_int_equal(vdpa_get_vq_group(g.dev, 1), 1);
	assert_int_equal(vdpa_set_group_asid(g.dev, 3, 0), -EINVAL);
	assert_int_equal(vdpa_set_group_asid(g.dev, 0, 3), -EINVAL);
	/* The ops do not rely on the wrapper. */
	assert_int_equal(g.dev->config->set_group_asid(g.dev, 3, 0), -EINVAL);
	assert_int_equal(g.dev->config->set_group_asid(g.dev, 0, 3), -EINVAL);
	assert_int_equal(g.dev->config->dma_map(g.dev, 3, 0, 4096, vdpa_region_addr(g.region, 0),
						VHOST_MAP_RW, g.region),
			 -EINVAL);
	assert_int_equal(g.dev->config->dma_unmap(g.dev, 3, 0, 4096), -EINVAL);
	assert_int_equal(g.dev->config->reset_map(g.dev, 3), -EINVAL);
	assert_int_equal(vdpa_set_group_asid(g.dev, 1, 1), 0);
	assert_int_equal(vdpa_set_group_asid(g.dev, 2, 2), 0);
	/* The data only in 1, the rings only in 2. */
	assert_int_equal(vdpa_dma_map(g.dev, 1, SG_IOVA + SG_DATA, SG_BYTES - SG_DATA,
				      vdpa_region_addr(g.region, SG_DATA), VHOST_MAP_RW, g.region),
			 0);
	assert_int_equal(vdpa_dma_map(g.dev, 2, SG_IOVA, SG_DATA, vdpa_region_addr(g.region, 0),
				      VHOST_MAP_RW, g.region),
			 0);
	g.mapped = true;
	sg_start(&g, SG_V1, 2, 16);
	hold_post(&g, 1, 0, 10);
	assert_non_null(sg_get(&g, 1, &len, SG_PATIENCE));
	assert_int_equal(vdpa_set_group_asid(g.dev, 1, 0), -EBUSY);
	assert_int_equal(vdpa_set_group_asid(g.dev, 2, 0), -EBUSY);
	/* The even queue has its buffers in 0, where nothing is. */
	hold_post(&g, 0, 1, 10);
	sg_until_status(&g, VIRTIO_CONFIG_S_NEEDS_RESET);
	assert_int_equal(g.mem[SG_DATA + 4096], 0);
	sg_close(&g);
}

struct miss {
	unsigned n;
	iova_t iova;
};

static void on_miss(void *arg, unsigned asid, iova_t iova, uint32_t perm)
{
	struct miss *miss = arg;

	miss->n++;
	miss->iova = iova;
}

/* A vIOMMU: what is missing comes later, and the queue goes on by itself. */
static void test_miss(void **state)
{
	struct miss miss = {0};
	struct soft_guest g;
	uint32_t len;

	hold_open(&g, NULL);
	assert_int_equal(vdpa_set_miss(g.dev, 1, on_miss, &miss), -EINVAL);
	assert_int_equal(vdpa_set_miss(g.dev, 0, on_miss, &miss), 0);
	assert_int_equal(vdpa_dma_map(g.dev, 0, SG_IOVA, SG_DATA, vdpa_region_addr(g.region, 0),
				      VHOST_MAP_RW, g.region),
			 0);
	g.mapped = true;
	sg_start(&g, SG_V1, 1, 16);
	hold_post(&g, 0, 0, 10);
	sg_run(&g, 20 * MS);
	assert_true(miss.n >= 1);
	assert_int_equal(miss.iova, SG_IOVA + SG_DATA);
	assert_true(sg_stat(&g, 0, "misses") >= 1);
	assert_int_equal(vdpa_get_status(g.dev) & VIRTIO_CONFIG_S_NEEDS_RESET, 0);
	assert_int_equal(vdpa_dma_map(g.dev, 0, SG_IOVA + SG_DATA, 4096,
				      vdpa_region_addr(g.region, SG_DATA), VHOST_MAP_RW, g.region),
			 0);
	assert_non_null(sg_get(&g, 0, &len, SG_PATIENCE));
	assert_int_equal(len, 10);
	sg_close(&g);
}

/* Exactly the pages that were written: the buffer's, and the used ring's. */
static void test_dirty_log(void **state)
{
	struct sg_wait wait[2] = {{0}};
	struct vdpa_done done[2] = {sg_done(&wait[0]), sg_done(&wait[1])};
	uint64_t pages[SG_BYTES / 4096 / 64] = {0};
	struct vdpa_dirty_log *log;
	struct soft_guest g;
	unsigned data = 0, rings = 0;
	uint32_t len;

	hold_open(&g, NULL);
	assert_int_equal(vdpa_dirty_log_new(SG_IOVA + SG_BYTES, &log), 0);
	sg_start(&g, SG_V1, 1, 16);
	hold_post(&g, 0, 3, 10);
	assert_non_null(sg_get(&g, 0, &len, SG_PATIENCE));
	assert_int_equal(vdpa_set_dirty_log(g.dev, log, &done[0]), 0);
	assert_int_equal(sg_wait(&g, &wait[0]), 0);
	hold_post(&g, 0, 5, 4096);
	hold_post(&g, 0, 7, 1);
	assert_non_null(sg_get(&g, 0, &len, SG_PATIENCE));
	assert_non_null(sg_get(&g, 0, &len, SG_PATIENCE));
	assert_int_equal(vdpa_set_dirty_log(g.dev, NULL, &done[1]), 0);
	assert_int_equal(sg_wait(&g, &wait[1]), 0);
	hold_post(&g, 0, 9, 1);
	assert_non_null(sg_get(&g, 0, &len, SG_PATIENCE));
	assert_int_equal(vdpa_dirty_log_sync(log, SG_IOVA, SG_BYTES / 4096, pages, true), 0);
	for (unsigned i = 0; i < SG_BYTES / 4096; i++) {
		if (!(pages[i / 64] >> (i % 64) & 1))
			continue;
		if (i < SG_DATA / 4096)
			rings++;
		else
			data++;
	}
	assert_int_equal(data, 2);
	assert_true(pages[(SG_DATA / 4096 + 5) / 64] >> ((SG_DATA / 4096 + 5) % 64) & 1);
	assert_true(pages[(SG_DATA / 4096 + 7) / 64] >> ((SG_DATA / 4096 + 7) % 64) & 1);
	assert_int_equal(rings, 1);
	vdpa_dirty_log_put(log);
	sg_close(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set_map),	  cmocka_unit_test(test_dma_map),
		cmocka_unit_test(test_groups),	  cmocka_unit_test(test_miss),
		cmocka_unit_test(test_dirty_log),
	};

	return cmocka_run_group_tests_name("kit map", tests, NULL, NULL);
}
