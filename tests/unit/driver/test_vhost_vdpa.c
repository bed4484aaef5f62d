// SPDX-License-Identifier: BSD-3-Clause
/* The vhost uAPI's rules and errors, on a parent that remembers what it was told. */
#include <sys/eventfd.h>
#include <fcntl.h>
#include <unistd.h>
#include <uvdpa/vhost_user.h>
#include <uvdpa/vhost_vdpa.h>
#include "../vdpa/mock.h"
#include "alloc_fail.h"
#include "patience.h"

#define PAGE 4096ull

struct fixture {
	struct vdpa_ctx *ctx;
	struct mock *m;
	struct vhost_vdpa *v;
	struct vdpa_region *region;
	uint8_t *mem;
	struct counted_done done;
};

/* User addresses: 0x10000 is the start of the region; it has two pieces, as two regions would. */
static int resolve(void *arg, uint64_t uaddr, uint64_t size, struct vhost_vdpa_piece *piece)
{
	struct fixture *f = arg;

	if (uaddr < 0x10000 || uaddr >= 0x10000 + 16 * PAGE)
		return -EFAULT;
	piece->region = f->region;
	piece->off = uaddr - 0x10000;
	piece->size = (uaddr < 0x10000 + 8 * PAGE ? 8 : 16) * PAGE - piece->off;
	if (piece->size > size)
		piece->size = size;
	return 0;
}

static void spin(struct fixture *f)
{
	for (int i = 0; i < 20; i++)
		vdpa_loop_run_once(vdpa_ctx_control(f->ctx), 0);
}

/* For the next begin(); 0: as many as usual. */
static unsigned max_entries;

static void begin(struct fixture *f, const struct vdpa_config_ops *ops, unsigned flags)
{
	struct vhost_vdpa_params params = {.size = sizeof(params),
					   .flags = flags,
					   .resolve = resolve,
					   .arg = f,
					   .max_entries = max_entries};
	struct vdpa_done done;

	memset(f, 0, sizeof(*f));
	f->ctx = mock_ctx();
	f->m = mock_new(f->ctx, "m0", ops);
	assert_int_equal(vdpa_register_device(&f->m->vdpa, MOCK_VQS, NULL), 0);
	f->mem = calloc(16, PAGE);
	assert_int_equal(vdpa_region_wrap(f->mem, 16 * PAGE, 0, &f->region), 0);
	assert_int_equal(vhost_vdpa_new(&f->m->vdpa, &params, &f->v), 0);
	done = counted_done(&f->done);
	assert_int_equal(vhost_vdpa_open(f->v, &done), 0);
	assert_int_equal(f->done.calls, 1);
	assert_int_equal(f->m->resets, 1);
}

static void end(struct fixture *f)
{
	struct counted_done count = {0};
	struct vdpa_done done = counted_done(&count);

	f->m->fail = 0;
	assert_int_equal(vhost_vdpa_release(f->v, &done), 0);
	spin(f);
	assert_int_equal(count.calls, 1);
	assert_int_equal(vhost_vdpa_release(f->v, &done), -EBADF);
	vhost_vdpa_free(f->v);
	vdpa_region_put(f->region);
	free(f->mem);
	count.calls = 0;
	assert_int_equal(vdpa_unregister_device(&f->m->vdpa, &done), 0);
	spin(f);
	assert_int_equal(count.calls, 1);
	assert_int_equal(vdpa_ctx_free(f->ctx), 0);
}

static void test_owner(void **state)
{
	struct fixture f;

	begin(&f, &mock_ops, 0);
	assert_int_equal(vhost_vdpa_open(f.v, NULL), -EBUSY);
	assert_int_equal(vhost_vdpa_iotlb_batch_begin(f.v, 0), -EPERM);
	assert_int_equal(vhost_vdpa_iotlb_invalidate(f.v, 0, 0, 1, NULL), -EPERM);
	assert_int_equal(vhost_vdpa_set_owner(f.v), 0);
	assert_int_equal(vhost_vdpa_set_owner(f.v), -EBUSY);
	end(&f);
}

static void test_features_and_status(void **state)
{
	struct fixture f;

	begin(&f, &mock_ops, 0);
	assert_int_equal(vhost_vdpa_set_features(f.v, 1ull << 60), -EINVAL);
	assert_int_equal(vhost_vdpa_set_features(f.v, 1), 0);
	assert_int_equal(vhost_vdpa_set_status(f.v, 3, NULL), 0);
	assert_int_equal(vhost_vdpa_set_features(f.v, 3), 0);
	assert_int_equal(vhost_vdpa_set_status(f.v, 11, NULL), 0);
	assert_int_equal(vhost_vdpa_set_features(f.v, 1), -EBUSY);
	assert_int_equal(vhost_vdpa_set_status(f.v, 3, NULL), -EINVAL);
	assert_int_equal(vhost_vdpa_set_status(f.v, 15, NULL), 0);
	assert_int_equal(vhost_vdpa_set_group_asid(f.v, 0, 0), -EBUSY);
	assert_int_equal(vhost_vdpa_set_status(f.v, 0, NULL), 0);
	assert_int_equal(f.m->resets, 2);
	assert_int_equal(vhost_vdpa_get_status(f.v), 0);
	end(&f);
}

static void test_backend_features(void **state)
{
	struct fixture f;
	uint64_t offered;

	begin(&f, &mock_ops, 0);
	offered = vhost_vdpa_get_backend_features(f.v);
	for (unsigned bit = 1; bit <= 5; bit++)
		assert_true(offered & VDPA_BIT(bit));
	for (unsigned bit = 0; bit < 64; bit++)
		if (!(offered & VDPA_BIT(bit)))
			assert_int_equal(vhost_vdpa_set_backend_features(f.v, VDPA_BIT(bit)),
					 -EOPNOTSUPP);
	assert_int_equal(vhost_vdpa_set_backend_features(f.v, VDPA_BIT(VHOST_BACKEND_F_DESC_ASID)),
			 -EINVAL);
	assert_int_equal(vhost_vdpa_set_backend_features(f.v, offered), 0);
	end(&f);
}

static bool persistent(const struct vdpa_config_ops *ops)
{
	struct fixture f;
	uint64_t offered;

	begin(&f, ops, 0);
	offered = vhost_vdpa_get_backend_features(f.v);
	end(&f);
	return offered & VDPA_BIT(VHOST_BACKEND_F_IOTLB_PERSIST);
}

static uint64_t says_persist(struct vdpa_device *vdev)
{
	return VDPA_BIT(VHOST_BACKEND_F_IOTLB_PERSIST);
}

/* Only where maps do outlive a reset. */
static void test_persistent_maps(void **state)
{
	struct vdpa_config_ops ops = mock_ops, table = mock_set_map_ops, own = mock_ops;

	assert_true(persistent(&mock_ops));
	assert_true(persistent(&mock_set_map_ops));
	own.dma_map = NULL;
	own.dma_unmap = NULL;
	own.reset_map = NULL;
	assert_true(persistent(&own));
	ops.reset_map = table.reset_map = NULL;
	assert_false(persistent(&ops));
	assert_false(persistent(&table));
	ops.get_backend_features = says_persist;
	assert_true(persistent(&ops));
}

static void test_groups(void **state)
{
	struct fixture f;
	uint32_t group;

	begin(&f, &mock_ops, 0);
	assert_int_equal(vhost_vdpa_get_group_num(f.v), 2);
	assert_int_equal(vhost_vdpa_get_as_num(f.v), 2);
	assert_int_equal(vhost_vdpa_set_group_asid(f.v, 2, 0), -EINVAL);
	assert_int_equal(vhost_vdpa_set_group_asid(f.v, 0, 2), -EINVAL);
	assert_int_equal(vhost_vdpa_set_group_asid(f.v, 1, 1), 0);
	assert_int_equal(vhost_vdpa_get_vring_group(f.v, MOCK_VQS - 1, &group), 0);
	assert_int_equal(group, 1);
	assert_int_equal(vhost_vdpa_get_vring_group(f.v, MOCK_VQS, &group), -ENOBUFS);
	/* The parent's answer is out of range: that is an error of its own. */
	assert_int_equal(vhost_vdpa_get_vring_desc_group(f.v, 0, &group), -EIO);
	end(&f);
}

static void test_config(void **state)
{
	struct fixture f;
	uint8_t buf[64];

	begin(&f, &mock_ops, 0);
	for (uint32_t off = 0; off < 20; off++)
		for (uint32_t len = 0; len < 20; len++) {
			int want = len && off + len <= MOCK_CONFIG_BYTES ? 0 : -EINVAL;

			assert_int_equal(vhost_vdpa_get_config(f.v, off, buf, len), want);
			assert_int_equal(vhost_vdpa_set_config(f.v, off, buf, len), want);
		}
	assert_int_equal(vhost_vdpa_get_config(f.v, UINT32_MAX, buf, 2), -EINVAL);
	assert_int_equal(vhost_vdpa_get_config(f.v, 2, buf, UINT32_MAX), -EINVAL);
	end(&f);
}

static void test_vring_errors(void **state)
{
	struct vhost_vring_addr addr = {0};
	struct fixture f;
	uint32_t value;

	begin(&f, &mock_ops, 0);
	assert_int_equal(vhost_vdpa_set_vring_num(f.v, MOCK_VQS, 16), -ENOBUFS);
	assert_int_equal(vhost_vdpa_set_vring_addr(f.v, MOCK_VQS, &addr), -ENOBUFS);
	assert_int_equal(vhost_vdpa_set_vring_base(f.v, MOCK_VQS, 0), -ENOBUFS);
	assert_int_equal(vhost_vdpa_get_vring_base(f.v, MOCK_VQS, &value), -ENOBUFS);
	assert_int_equal(vhost_vdpa_set_vring_enable(f.v, MOCK_VQS, true, NULL), -ENOBUFS);
	assert_int_equal(vhost_vdpa_get_vring_size(f.v, MOCK_VQS, &value), -ENOBUFS);
	assert_int_equal(vhost_vdpa_set_vring_num(f.v, 0, 0), -EINVAL);
	assert_int_equal(vhost_vdpa_set_vring_num(f.v, 0, 24), -EINVAL);
	assert_int_equal(vhost_vdpa_set_vring_num(f.v, 0, 512), -EINVAL);
	assert_int_equal(vhost_vdpa_set_vring_num(f.v, 0, 0x10010), -EINVAL);
	assert_int_equal(vhost_vdpa_set_vring_num(f.v, 0, 64), 0);
	assert_int_equal(f.m->last_num, 64);
	assert_int_equal(vhost_vdpa_set_vring_base(f.v, 0, 0x10000), -EINVAL);
	assert_int_equal(vhost_vdpa_set_vring_base(f.v, 0, 0xffff), 0);
	assert_int_equal(vhost_vdpa_get_vring_base(f.v, 0, &value), 0);
	assert_int_equal(value, 0xffff);
	end(&f);
}

static void test_running(void **state)
{
	struct vhost_vring_addr addr = {0};
	struct fixture f;

	begin(&f, &mock_ops, 0);
	/* Enabled, and set up afterwards: the device is told at DRIVER_OK. */
	assert_int_equal(vhost_vdpa_set_vring_enable(f.v, 0, true, NULL), 0);
	assert_int_equal(vhost_vdpa_set_vring_num(f.v, 0, 64), 0);
	assert_false(f.m->ready[0]);
	assert_int_equal(vhost_vdpa_set_status(f.v, 15, NULL), 0);
	assert_true(f.m->ready[0]);
	assert_int_equal(vhost_vdpa_set_vring_num(f.v, 0, 64), -EBUSY);
	/* As Linux: after DRIVER_OK no vring is set up, enabled or not. */
	assert_int_equal(vhost_vdpa_set_vring_addr(f.v, 1, &addr), -EINVAL);
	assert_int_equal(vhost_vdpa_set_vring_base(f.v, 1, 0), -EINVAL);
	assert_int_equal(vhost_vdpa_suspend(f.v, NULL), 0);
	assert_int_equal(vhost_vdpa_set_vring_addr(f.v, 1, &addr), 0);
	assert_int_equal(vhost_vdpa_set_vring_base(f.v, 1, 0), 0);
	assert_int_equal(vhost_vdpa_resume(f.v), 0);
	assert_int_equal(vhost_vdpa_set_vring_addr(f.v, 1, &addr), -EINVAL);
	end(&f);
	/* Rings one by one: only the ring itself counts. */
	begin(&f, &mock_ops, VHOST_VDPA_F_LIVE_RINGS);
	assert_int_equal(vhost_vdpa_set_vring_enable(f.v, 0, true, NULL), 0);
	assert_int_equal(vhost_vdpa_set_status(f.v, 15, NULL), 0);
	assert_int_equal(vhost_vdpa_set_vring_addr(f.v, 1, &addr), 0);
	assert_int_equal(vhost_vdpa_set_vring_addr(f.v, 0, &addr), -EINVAL);
	end(&f);
}

/* A packed ring's base has two halves; one that says nothing of the used one means both. */
static void test_packed_base(void **state)
{
	struct fixture f;
	uint32_t value, both;

	begin(&f, &mock_ops, 0);
	assert_int_equal(vhost_vdpa_set_features(f.v, VDPA_BIT(VIRTIO_F_RING_PACKED)), 0);
	for (uint64_t base = 0; base <= UINT32_MAX; base = base * 3 + 0x8001) {
		assert_int_equal(vhost_vdpa_set_vring_base(f.v, 0, (uint32_t)base), 0);
		assert_int_equal(vhost_vdpa_get_vring_base(f.v, 0, &value), 0);
		both = (uint32_t)(base >> 16 ? base : base | base << 16);
		assert_int_equal(value, both);
	}
	end(&f);
}

static void test_suspend_before_driver_ok(void **state)
{
	struct vdpa_config_ops ops = mock_ops;
	struct fixture f;
	struct counted_done count = {0};
	struct vdpa_done done = counted_done(&count);

	begin(&f, &mock_ops, 0);
	f.m->fail = -EIO;
	assert_int_equal(vhost_vdpa_suspend(f.v, &done), 0);
	assert_int_equal(vhost_vdpa_resume(f.v), 0);
	assert_int_equal(count.calls, 1);
	end(&f);
	ops.suspend = NULL;
	ops.resume = NULL;
	begin(&f, &ops, 0);
	assert_int_equal(vhost_vdpa_set_status(f.v, 15, NULL), 0);
	assert_int_equal(vhost_vdpa_suspend(f.v, NULL), -EOPNOTSUPP);
	assert_int_equal(vhost_vdpa_resume(f.v), -EOPNOTSUPP);
	end(&f);
}

static void test_descriptors(void **state)
{
	struct fixture f;
	int fd, again;

	begin(&f, &mock_ops, 0);
	fd = eventfd(0, 0);
	assert_int_equal(vhost_vdpa_set_vring_call(f.v, 0, fd), 0);
	assert_int_equal(f.m->cb.trigger, fd);
	again = eventfd(0, 0);
	assert_int_equal(vhost_vdpa_set_vring_call(f.v, 0, again), 0);
	/* A loop may be using it: it is open until all have passed. */
	assert_true(fcntl(fd, F_GETFD) >= 0);
	spin(&f);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	/* It is taken on errors too. */
	fd = eventfd(0, 0);
	assert_int_equal(vhost_vdpa_set_vring_kick(f.v, MOCK_VQS, fd), -ENOBUFS);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	fd = eventfd(0, 0);
	assert_int_equal(vhost_vdpa_set_config_call(f.v, fd), 0);
	assert_int_equal(f.m->cb.trigger, fd);
	end(&f);
	assert_int_equal(fcntl(again, F_GETFD), -1);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

/* A parent that cannot poll: kicks are polled here, for enabled rings. */
static void test_kick_without_help(void **state)
{
	struct fixture f;
	int fd = eventfd(0, EFD_NONBLOCK);

	begin(&f, &mock_ops, 0);
	assert_int_equal(vhost_vdpa_set_vring_kick(f.v, 0, fd), 0);
	eventfd_write(fd, 1);
	spin(&f);
	assert_int_equal(f.m->kicks, 0);
	assert_int_equal(vhost_vdpa_set_vring_enable(f.v, 0, true, NULL), 0);
	assert_int_equal(vhost_vdpa_set_status(f.v, 15, NULL), 0);
	eventfd_write(fd, 1);
	spin(&f);
	assert_int_equal(f.m->kicks, 1);
	end(&f);
}

/* ---- IOTLB ---- */

static int update(struct fixture *f, unsigned asid, iova_t iova, uint64_t pages, uint64_t uaddr)
{
	struct vhost_vdpa_update u = {asid, VHOST_MAP_RW, iova, pages * PAGE, uaddr};

	return vhost_vdpa_iotlb_update(f->v, &u, NULL);
}

static uint64_t ranges(struct fixture *f, unsigned asid)
{
	return vhost_vdpa_iotlb(f->v, asid)->nmaps;
}

static void test_update_errors(void **state)
{
	struct vhost_vdpa_update u = {0, 0, 0x1000, PAGE, 0x10000};
	struct fixture f;

	begin(&f, &mock_ops, 0);
	assert_int_equal(vhost_vdpa_set_owner(f.v), 0);
	assert_null(vhost_vdpa_iotlb(f.v, 2));
	assert_int_equal(update(&f, 2, 0x1000, 1, 0x10000), -EINVAL);
	assert_int_equal(vhost_vdpa_iotlb_update(f.v, &u, NULL), -EINVAL);
	u.perm = 4;
	assert_int_equal(vhost_vdpa_iotlb_update(f.v, &u, NULL), -EINVAL);
	assert_int_equal(update(&f, 0, 0x1000, 0, 0x10000), -EINVAL);
	assert_int_equal(update(&f, 0, UINT64_MAX - 100, 1, 0x10000), -EINVAL);
	assert_int_equal(update(&f, 0, 0x1000, 1, UINT64_MAX - 100), -EINVAL);
	assert_int_equal(update(&f, 0, 0, 1, 0x10000), -EINVAL); /* below the device's range */
	assert_int_equal(update(&f, 0, 0x100000000, 1, 0x10000), -EINVAL);
	assert_int_equal(update(&f, 0, 0xfffff000, 1, 0x10000), 0);
	assert_int_equal(update(&f, 0, 0x1000, 1, 0xf000), -EFAULT);
	assert_int_equal(update(&f, 0, 0x1000, 1, 0x10000), 0);
	assert_int_equal(update(&f, 0, 0x1000, 1, 0x10000), -EEXIST);
	assert_int_equal(update(&f, 0, 0x1800, 1, 0x10000), -EEXIST);
	assert_int_equal(update(&f, 1, 0x1000, 1, 0x10000), 0); /* the other address space */
	assert_int_equal(ranges(&f, 0), 2);
	assert_int_equal(ranges(&f, 1), 1);
	assert_int_equal(vhost_vdpa_iotlb_invalidate(f.v, 0, 5, 4, NULL), -EINVAL);
	end(&f);
}

static void test_update_in_pieces(void **state)
{
	struct fixture f;

	begin(&f, &mock_ops, 0);
	assert_int_equal(vhost_vdpa_set_owner(f.v), 0);
	assert_int_equal(update(&f, 0, 0x1000, 16, 0x10000), 0);
	assert_int_equal(ranges(&f, 0), 2);
	assert_int_equal(f.m->map_calls, 2);
	/* The second half does not resolve: the first is taken back. */
	assert_int_equal(update(&f, 0, 0x100000, 16, 0x10000 + 4 * PAGE), -EFAULT);
	assert_int_equal(ranges(&f, 0), 2);
	/* Refused by the device: not recorded. */
	f.m->fail = -ENOSPC;
	assert_int_equal(update(&f, 0, 0x200000, 1, 0x10000), -ENOSPC);
	assert_int_equal(ranges(&f, 0), 2);
	end(&f);
}

static void test_invalidate_takes_whole_ranges(void **state)
{
	struct fixture f;

	begin(&f, &mock_ops, 0);
	assert_int_equal(vhost_vdpa_set_owner(f.v), 0);
	assert_int_equal(update(&f, 0, 0x1000, 4, 0x10000), 0);
	assert_int_equal(update(&f, 0, 0x10000, 4, 0x10000), 0);
	assert_int_equal(vhost_vdpa_iotlb_invalidate(f.v, 0, 0x2000, 0x2000, NULL), 0);
	assert_int_equal(ranges(&f, 0), 1);
	assert_int_equal(vhost_vdpa_iotlb_invalidate(f.v, 0, 0, UINT64_MAX, NULL), 0);
	assert_int_equal(ranges(&f, 0), 0);
	end(&f);
}

/* However many entries go, the device is told once; when it cannot, nothing has changed. */
static void test_invalidate_is_one_change(void **state)
{
	struct fixture f;
	unsigned before;

	begin(&f, &mock_ops, 0);
	assert_int_equal(vhost_vdpa_set_owner(f.v), 0);
	for (unsigned i = 1; i <= 200; i++)
		assert_int_equal(update(&f, 0, i * 0x4000, 1, 0x10000), 0);
	before = f.m->map_calls;
	f.m->fail = -ENOMEM;
	assert_int_equal(vhost_vdpa_iotlb_invalidate(f.v, 0, 0, UINT64_MAX, NULL), -ENOMEM);
	assert_int_equal(ranges(&f, 0), 200);
	assert_int_equal(f.m->map_calls, before + 1);
	f.m->fail = 0;
	/* Both ends lie inside of entries, which go whole. */
	assert_int_equal(vhost_vdpa_iotlb_invalidate(f.v, 0, 0x8800, 100 * 0x4000 + 1, NULL), 0);
	assert_int_equal(f.m->map_calls, before + 2);
	assert_int_equal(f.m->unmapped.first, 0x8000);
	assert_int_equal(f.m->unmapped.last, 100 * 0x4000 + PAGE - 1);
	assert_int_equal(ranges(&f, 0), 101);
	assert_int_equal(vhost_vdpa_iotlb_forget(f.v, f.region, NULL), 0);
	assert_int_equal(f.m->map_calls, before + 3);
	assert_int_equal(ranges(&f, 0), 0);
	end(&f);
}

static struct vdpa_iova_range whole_range(struct vdpa_device *vdev)
{
	return (struct vdpa_iova_range){0, UINT64_MAX};
}

/* From the first address to the last one: 2^64 bytes cannot be said in one size. */
static void test_invalidate_all_addresses(void **state)
{
	struct vdpa_config_ops ops = mock_ops;
	struct fixture f;

	ops.get_iova_range = whole_range;
	begin(&f, &ops, 0);
	assert_int_equal(vhost_vdpa_set_owner(f.v), 0);
	assert_int_equal(update(&f, 0, 0, 1, 0x10000), 0);
	assert_int_equal(update(&f, 0, 0x8000, 1, 0x10000), 0);
	assert_int_equal(update(&f, 0, UINT64_MAX - (PAGE - 1), 1, 0x10000), 0);
	assert_int_equal(vhost_vdpa_iotlb_invalidate(f.v, 0, 0, UINT64_MAX, NULL), 0);
	assert_int_equal(ranges(&f, 0), 0);
	assert_int_equal(f.m->map_calls, 5);
	assert_int_equal(f.m->unmapped.first, 0x8000);
	assert_int_equal(f.m->unmapped.last, UINT64_MAX);
	end(&f);
}

static void test_entries_are_limited(void **state)
{
	struct vhost_vdpa_update u = {0, VHOST_MAP_RO, 0x100000, PAGE, 0};
	struct fixture f;
	unsigned before;

	max_entries = 4;
	begin(&f, &mock_ops, 0);
	max_entries = 0;
	assert_int_equal(vhost_vdpa_set_owner(f.v), 0);
	for (unsigned i = 1; i <= 3; i++)
		assert_int_equal(update(&f, 0, i * 0x1000, 1, 0x10000), 0);
	before = f.m->map_calls;
	/* Two pieces, room for one: the device hears of none. */
	assert_int_equal(update(&f, 0, 0x10000, 16, 0x10000), -ENOSPC);
	assert_int_equal(f.m->map_calls, before);
	assert_int_equal(update(&f, 0, 0x10000, 1, 0x10000), 0);
	assert_int_equal(update(&f, 0, 0x20000, 1, 0x10000), -ENOSPC);
	assert_int_equal(vhost_vdpa_iotlb_map(f.v, &u, f.region, 0, NULL), -ENOSPC);
	assert_int_equal(ranges(&f, 0), 4);
	assert_int_equal(update(&f, 1, 0x20000, 1, 0x10000), 0); /* the other address space */
	assert_int_equal(vhost_vdpa_iotlb_invalidate(f.v, 0, 0x1000, 0x1fff, NULL), 0);
	assert_int_equal(update(&f, 0, 0x20000, 1, 0x10000), 0);
	end(&f);
}

static void test_batch_is_one_set_map(void **state)
{
	struct fixture f;
	unsigned before;

	begin(&f, &mock_set_map_ops, 0);
	assert_int_equal(vhost_vdpa_set_owner(f.v), 0);
	assert_int_equal(update(&f, 0, 0x1000, 1, 0x10000), 0);
	assert_int_equal(f.m->map_calls, 1);
	before = f.m->map_calls;
	assert_int_equal(vhost_vdpa_iotlb_batch_begin(f.v, 0), 0);
	for (unsigned i = 2; i < 10; i++)
		assert_int_equal(update(&f, 0, i * 0x1000, 1, 0x10000), 0);
	assert_int_equal(vhost_vdpa_iotlb_invalidate(f.v, 0, 0x1000, 0x1fff, NULL), 0);
	assert_int_equal(f.m->map_calls, before);
	/* A batch belongs to one address space. */
	assert_int_equal(update(&f, 1, 0x1000, 1, 0x10000), -EINVAL);
	assert_int_equal(vhost_vdpa_iotlb_invalidate(f.v, 1, 0, 1, NULL), -EINVAL);
	assert_int_equal(vhost_vdpa_iotlb_batch_begin(f.v, 1), -EINVAL);
	assert_int_equal(vhost_vdpa_iotlb_batch_end(f.v, 1, NULL), -EINVAL);
	assert_int_equal(vhost_vdpa_set_backend_features(f.v, 0), -EBUSY);
	assert_int_equal(vhost_vdpa_iotlb_batch_end(f.v, 0, NULL), 0);
	assert_int_equal(f.m->map_calls, before + 1);
	assert_int_equal(vhost_vdpa_iotlb_batch_end(f.v, 0, NULL), 0);
	assert_int_equal(f.m->map_calls, before + 1);
	assert_int_equal(ranges(&f, 0), 8);
	end(&f);
}

static void test_forget_a_region(void **state)
{
	struct vdpa_region *other;
	struct vhost_vdpa_update u = {0, VHOST_MAP_RO, 0x40000, PAGE, 0};
	uint8_t *mem = calloc(1, PAGE);
	struct fixture f;

	begin(&f, &mock_ops, 0);
	assert_int_equal(vdpa_region_wrap(mem, PAGE, 0, &other), 0);
	assert_int_equal(vhost_vdpa_set_owner(f.v), 0);
	assert_int_equal(update(&f, 0, 0x1000, 1, 0x10000), 0);
	assert_int_equal(vhost_vdpa_iotlb_map(f.v, &u, other, 1, NULL), -EFAULT);
	assert_int_equal(vhost_vdpa_iotlb_map(f.v, &u, other, 0, NULL), 0);
	u.asid = 1;
	assert_int_equal(vhost_vdpa_iotlb_map(f.v, &u, other, 0, NULL), 0);
	assert_int_equal(update(&f, 0, 0x80000, 1, 0x10000), 0);
	assert_int_equal(vhost_vdpa_iotlb_forget(f.v, other, NULL), 0);
	assert_int_equal(ranges(&f, 0), 2);
	assert_int_equal(ranges(&f, 1), 0);
	vdpa_region_put(other);
	free(mem);
	end(&f);
}

/* Completions that come later: the caller hears of the last of them, with the first error. */
static void test_asynchronous_unmap(void **state)
{
	struct vdpa_ext_ops ext = mock_async_ops;
	struct counted_done count = {0};
	struct vdpa_done done = counted_done(&count);
	struct fixture f;

	begin(&f, &mock_ops, 0);
	ext.set_vq_kick = NULL;
	f.m->vdpa.ext = &ext;
	assert_int_equal(vhost_vdpa_set_owner(f.v), 0);
	assert_int_equal(update(&f, 0, 0x1000, 1, 0x10000), 0);
	assert_int_equal(vhost_vdpa_iotlb_invalidate(f.v, 0, 0, UINT64_MAX, &done), 0);
	assert_int_equal(count.calls, 0);
	mock_complete(f.m, 0);
	assert_int_equal(count.calls, 1);
	/* And a drain. */
	assert_int_equal(vhost_vdpa_set_status(f.v, 15, NULL), 0);
	assert_int_equal(vhost_vdpa_set_vring_enable(f.v, 0, true, NULL), 0);
	assert_int_equal(vhost_vdpa_set_vring_enable(f.v, 0, false, &done), 0);
	assert_int_equal(count.calls, 1);
	assert_int_equal(vhost_vdpa_set_vring_enable(f.v, 0, true, NULL), -EBUSY);
	assert_int_equal(vhost_vdpa_set_vring_num(f.v, 0, 64), -EBUSY);
	mock_complete(f.m, -ETIMEDOUT);
	assert_int_equal(count.calls, 2);
	assert_int_equal(count.result, -ETIMEDOUT);
	f.m->vdpa.ext = NULL;
	end(&f);
}

static void test_release_takes_all_back(void **state)
{
	struct fixture f;

	begin(&f, &mock_ops, 0);
	assert_int_equal(vhost_vdpa_set_owner(f.v), 0);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(update(&f, i & 1, 0x1000 + i * 0x1000, 1, 0x10000), 0);
	assert_int_equal(vhost_vdpa_iotlb_batch_begin(f.v, 1), 0);
	f.m->map_calls = 0;
	end(&f);
}

/* A parent that never takes a mapping back: the close ends all the same, and there is no next. */
static void test_release_gives_up(void **state)
{
	struct counted_done count = {0};
	struct vdpa_done done = counted_done(&count);
	uint64_t deadline = vdpa_clock_ns() + PATIENCE_NS;
	struct event_log log;
	struct fixture f;

	begin(&f, &mock_ops, 0);
	event_log_start(f.ctx, &log);
	assert_int_equal(vhost_vdpa_set_owner(f.v), 0);
	assert_int_equal(update(&f, 0, 0x1000, 1, 0x10000), 0);
	f.m->fail = -EIO;
	assert_int_equal(vhost_vdpa_release(f.v, &done), 0);
	spin(&f);
	assert_int_equal(count.calls, 0);
	while (!count.calls && vdpa_clock_ns() < deadline)
		vdpa_loop_run_once(vdpa_ctx_control(f.ctx), 10000000);
	assert_int_equal(count.calls, 1);
	assert_string_equal(log.trace, "X");
	f.m->fail = 0;
	assert_int_equal(vhost_vdpa_open(f.v, &done), -EIO);
	/* The parent may still use the memory. */
	vhost_vdpa_free(f.v);
	vdpa_region_put(f.region);
	memset(f.mem, 1, PAGE);
	vdpa_region_put(f.region);
	free(f.mem);
	vdpa_unsubscribe(f.ctx, &log.sub);
	assert_int_equal(vdpa_unregister_device(&f.m->vdpa, &done), 0);
	spin(&f);
	assert_int_equal(vdpa_ctx_free(f.ctx), 0);
}

static void test_allocations(void **state)
{
	struct vdpa_ctx *ctx = mock_ctx();
	struct mock *m = mock_add(ctx, "m0");
	struct counted_done count = {0};
	struct vdpa_done done = counted_done(&count);
	struct vhost_vdpa *v;

	for (alloc_fail_begin(); alloc_fail_more();) {
		int err = vhost_vdpa_new(&m->vdpa, NULL, &v);

		alloc_fail_off();
		if (err)
			assert_int_equal(err, -ENOMEM);
		else
			vhost_vdpa_free(v);
	}
	assert_int_equal(vdpa_unregister_device(&m->vdpa, &done), 0);
	assert_int_equal(vdpa_ctx_free(ctx), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_owner),
		cmocka_unit_test(test_features_and_status),
		cmocka_unit_test(test_backend_features),
		cmocka_unit_test(test_persistent_maps),
		cmocka_unit_test(test_groups),
		cmocka_unit_test(test_config),
		cmocka_unit_test(test_vring_errors),
		cmocka_unit_test(test_running),
		cmocka_unit_test(test_packed_base),
		cmocka_unit_test(test_suspend_before_driver_ok),
		cmocka_unit_test(test_descriptors),
		cmocka_unit_test(test_kick_without_help),
		cmocka_unit_test(test_update_errors),
		cmocka_unit_test(test_update_in_pieces),
		cmocka_unit_test(test_invalidate_takes_whole_ranges),
		cmocka_unit_test(test_invalidate_is_one_change),
		cmocka_unit_test(test_invalidate_all_addresses),
		cmocka_unit_test(test_entries_are_limited),
		cmocka_unit_test(test_batch_is_one_set_map),
		cmocka_unit_test(test_forget_a_region),
		cmocka_unit_test(test_asynchronous_unmap),
		cmocka_unit_test(test_release_takes_all_back),
		cmocka_unit_test(test_release_gives_up),
		cmocka_unit_test(test_allocations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
