// SPDX-License-Identifier: BSD-3-Clause
/* The virtio bus: names, life, memory, conformance, what is left behind (nothing). */
#include <sys/mman.h>
#include "alloc_fail.h"
#include "driver/virtio/device.h"
#include "virtio_test.h"

static struct fake *disk(struct vdpa_ctx *ctx, const char *name)
{
	return fake_disk_new(ctx, name, (struct fake_opts){0});
}

/* ---- names ---- */

static bool count(void *arg, struct virtio_device *dev)
{
	++*(unsigned *)arg;
	return true;
}

static void test_names(void **state)
{
	struct vdpa_ctx *ctx = ctx_new(0), *other = ctx_new(0);
	struct fake *d[3], *o = disk(other, "d0");
	struct virtio_device *dev;
	unsigned n = 0;

	for (int i = 0; i < 3; i++) {
		char name[8];

		snprintf(name, sizeof(name), "d%d", i);
		d[i] = disk(ctx, name);
		fake_bind(d[i], NULL);
	}
	dev = virtio_find(ctx, "virtio1");
	assert_ptr_equal(dev, virtio_vdpa_device(&d[1]->vdpa));
	assert_string_equal(virtio_bus_name(dev), "vdpa/d1");
	assert_string_equal(virtio_driver_name(dev), "virtio-blk");
	assert_int_equal(virtio_get_id(dev), VIRTIO_ID_BLOCK);
	assert_ptr_equal(virtio_get_ctx(dev), ctx);
	/* The smallest free number is used again. */
	fake_unbind(d[1]);
	assert_null(virtio_find(ctx, "virtio1"));
	assert_null(virtio_vdpa_device(&d[1]->vdpa));
	assert_string_equal(virtio_name(fake_bind(d[1], NULL)), "virtio1");
	/* Another context has a bus of its own. */
	assert_string_equal(virtio_name(fake_bind(o, NULL)), "virtio0");
	virtio_for_each(ctx, count, &n);
	assert_int_equal(n, 3);
	for (int i = 0; i < 3; i++) {
		fake_unbind(d[i]);
		fake_del(d[i]);
	}
	fake_unbind(o);
	fake_del(o);
	ctx_del(ctx);
	ctx_del(other);
}

static void test_unknown_device(void **state)
{
	struct vdpa_ctx *ctx = ctx_new(0);
	struct fake *fake =
		fake_new(ctx, "x0", &(struct fake_opts){.id = 4, .features = FAKE_BASE_FEATURES});
	struct virtio_device *dev = fake_bind(fake, NULL);

	assert_null(virtio_driver_name(dev));
	assert_null(virtio_blk_of(dev));
	assert_null(virtio_net_of(dev));
	assert_int_equal(virtio_attach(dev, NULL, NULL), -ENODEV);
	fake_unbind(fake);
	fake_del(fake);
	ctx_del(ctx);
}

static void test_feature_names(void **state)
{
	char buf[64], tiny[8];

	assert_string_equal(virtio_feature_name(VIRTIO_ID_BLOCK, 6), "BLK_SIZE");
	assert_string_equal(virtio_feature_name(VIRTIO_ID_NET, 5), "MAC");
	assert_string_equal(virtio_feature_name(VIRTIO_ID_NET, 33), "ACCESS_PLATFORM");
	assert_null(virtio_feature_name(VIRTIO_ID_BLOCK, 45));
	assert_null(virtio_feature_name(VIRTIO_ID_BLOCK, 64));
	virtio_feature_names(VIRTIO_ID_BLOCK, 1ull << 6 | 1ull << 45 | 1ull << 32, buf,
			     sizeof(buf));
	assert_string_equal(buf, "BLK_SIZE VERSION_1 bit_45");
	virtio_feature_names(VIRTIO_ID_BLOCK, 1ull << 5 | 1ull << 6, tiny, sizeof(tiny));
	assert_string_equal(tiny, "RO");
}

/* ---- callbacks ---- */

/* A driver without callback: the device sees none. */
static void test_no_callback(void **state)
{
	struct vdpa_attr poll[] = {{"mode", "poll"}, {0}};
	struct vdpa_ctx *ctx = ctx_new(0);
	struct fake *fake = disk(ctx, "d0");

	fake_bind(fake, NULL);
	assert_non_null(fake->vqs[0].cb.callback);
	fake_unbind(fake);
	fake_bind(fake, poll);
	assert_true(fake->vqs[0].ready);
	assert_null(fake->vqs[0].cb.callback);
	assert_int_equal(fake->vqs[0].cb.trigger, -1);
	fake_unbind(fake);
	fake_del(fake);
	ctx_del(ctx);
}

/* Virtio 1.3, section 2.9: the queue, and where the next request will be. */
static void test_notification_data(void **state)
{
	struct vdpa_ctx *ctx = ctx_new(0);
	struct fake *fake = disk(ctx, "d0");
	struct virtio_device *dev;
	uint8_t buf[512];

	dev = fake_bind(fake, NULL);
	assert_int_equal(virtio_blk_read(virtio_blk_of(dev), 0, buf, sizeof(buf)), 0);
	assert_int_equal(fake->kick_data, 0);
	fake_unbind(fake);
	fake->features |= VDPA_BIT(VIRTIO_F_NOTIFICATION_DATA);
	dev = fake_bind(fake, NULL);
	for (unsigned i = 1; i < 100; i++) {
		assert_int_equal(virtio_blk_read(virtio_blk_of(dev), 0, buf, sizeof(buf)), 0);
		assert_int_equal(fake->kick_data, i << 16);
	}
	fake_unbind(fake);
	fake_del(fake);
	ctx_del(ctx);
}

/* One queue's reset needs the feature, a queue and a size. */
static void test_queue_reset_refused(void **state)
{
	struct vdpa_ctx *ctx = ctx_new(0);
	struct fake *fake = disk(ctx, "d0");
	struct vdpa_error err = {0};
	struct virtio_device *dev;
	struct outcome o = {0};

	/* Offered, but this parent has no such operation. */
	fake->features |= VDPA_BIT(VIRTIO_F_RING_RESET);
	dev = fake_bind(fake, NULL);
	assert_false(virtio_has_feature(dev, VIRTIO_F_RING_RESET));
	assert_int_equal(virtio_queue_reset(dev, 0, 0, NULL, &err), -EOPNOTSUPP);
	assert_non_null(strstr(err.msg, "RING_RESET"));
	assert_int_equal(virtio_reset(dev, &(struct vdpa_done){set_outcome, &o}), 0);
	fake_until(ctx, o.done);
	assert_int_equal(virtio_queue_reset(dev, 0, 0, NULL, &err), -EBUSY);
	fake_unbind(fake);
	fake_del(fake);
	ctx_del(ctx);
}

/* ---- queue sizes ---- */

static void test_queue_size(void **state)
{
	struct vdpa_attr size[] = {{"queue_size", "16"}, {0}};
	struct vdpa_attr bad[] = {{"queue_size", "3"}, {0}};
	struct vdpa_attr big[] = {{"queue_size", "128"}, {0}};
	struct vdpa_ctx *ctx = ctx_new(0);
	struct fake *fake = disk(ctx, "d0");
	struct vdpa_error err = {0};

	fake_bind(fake, size);
	assert_int_equal(fake->vqs[0].num, 16);
	fake_unbind(fake);
	assert_int_equal(vdpa_bind(&fake->vdpa, "virtio-vdpa", bad, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "3"));
	assert_non_null(strstr(last_log, "invalid size 3"));
	assert_int_equal(vdpa_bind(&fake->vdpa, "virtio-vdpa", big, &err), -EINVAL);
	assert_non_null(strstr(last_log, "at most 64"));
	fake_del(fake);
	ctx_del(ctx);
}

/* No request is longer than the queue: fewer pieces, or no disk at all. */
static void test_tiny_queue(void **state)
{
	struct vdpa_attr four[] = {{"queue_size", "4"}, {0}};
	struct vdpa_attr two[] = {{"queue_size", "2"}, {0}};
	struct vdpa_ctx *ctx = ctx_new(0);
	struct fake *fake = disk(ctx, "d0");
	struct vdpa_error err = {0};
	struct virtio_blk_info info;
	struct virtio_device *dev;
	uint8_t buf[4096];

	dev = fake_bind(fake, four);
	virtio_blk_get_info(virtio_blk_of(dev), &info);
	assert_int_equal(info.seg_max, 2);
	assert_int_equal(virtio_blk_read(virtio_blk_of(dev), 0, buf, sizeof(buf)), 0);
	fake_unbind(fake);
	assert_int_equal(vdpa_bind(&fake->vdpa, "virtio-vdpa", two, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "more than 2"));
	fake_del(fake);
	ctx_del(ctx);
}

static void test_try_queue(void **state)
{
	struct vdpa_ctx *ctx = ctx_new(0);
	struct fake *fake = disk(ctx, "d0");
	struct virtio_device *dev = fake_bind(fake, NULL);
	struct vdpa_error err = {0};
	struct outcome o = {0};

	assert_int_equal(virtio_try_queue(dev, 0, 16, &err), -EBUSY);
	assert_int_equal(virtio_reset(dev, &(struct vdpa_done){set_outcome, &o}), 0);
	fake_until(ctx, o.done);
	assert_int_equal(virtio_get_status(dev), 0);
	assert_false(virtio_queue_ready(dev, 0));
	assert_int_equal(virtio_try_queue(dev, 0, 16, &err), 0);
	last_log[0] = 0;
	assert_int_equal(virtio_try_queue(dev, 0, 3, &err), -EINVAL);
	assert_non_null(strstr(last_log, "invalid size 3"));
	assert_int_equal(virtio_try_queue(dev, 0, 0, &err), -EINVAL);
	assert_int_equal(virtio_try_queue(dev, 0, 128, &err), -EINVAL);
	assert_int_equal(virtio_try_queue(dev, 9, 16, &err), -EINVAL);
	assert_int_equal(virtio_queue_num_max(dev, 0), 64);
	assert_int_equal(virtio_queue_num_max(dev, 9), 0);
	assert_int_equal(virtio_num_queues(dev), 2);
	assert_int_equal(virtio_get_status(dev), 0);
	assert_int_equal(virtio_attach(dev, NULL, &err), 0);
	fake_unbind(fake);
	fake_del(fake);
	ctx_del(ctx);
}

/* ---- memory ---- */

static void test_mem_alloc(void **state)
{
	struct vdpa_ctx *ctx = ctx_new(0);
	struct fake *fake = disk(ctx, "d0");
	struct virtio_device *dev = fake_bind(fake, NULL);
	unsigned before = fake->nmaps;
	uint8_t *p[64];
	iova_t iova[64], found;

	for (unsigned i = 0; i < 64; i++) {
		size_t len = 1 + i * 997 % 9000;

		p[i] = virtio_mem_alloc(dev, len, &iova[i]);
		assert_non_null(p[i]);
		assert_int_equal(iova[i] % (len >= 4096 ? 4096 : 64), 0);
		assert_ptr_equal(fake_at(fake, iova[i], len), p[i]);
		assert_int_not_equal(iova[i], (uintptr_t)p[i]);
		for (size_t k = 0; k < len; k++)
			assert_int_equal(p[i][k], 0);
		memset(p[i], 0xa5, len);
		assert_int_equal(virtio_mem_iova(dev, p[i] + len - 1, 1, &found), 0);
		assert_int_equal(found, iova[i] + len - 1);
	}
	/* In an order that makes every kind of merge. */
	for (unsigned i = 0; i < 64; i += 2)
		virtio_mem_free(dev, p[i]);
	for (unsigned i = 1; i < 64; i += 2)
		virtio_mem_free(dev, p[i]);
	/* All came from, and went back to, what was there; then one that is larger than an arena.
	 */
	assert_int_equal(fake->nmaps, before);
	p[0] = virtio_mem_alloc(dev, 9u << 20, &iova[0]);
	assert_non_null(p[0]);
	assert_ptr_equal(fake_at(fake, iova[0], 9u << 20), p[0]);
	assert_int_equal(fake->nmaps, before + 1);
	/* Neighbours do not touch: what runs over the end faults. */
	assert_null(fake_at(fake, iova[0] + (9u << 20), 1));
	assert_null(fake_at(fake, 0, 1));
	assert_null(virtio_mem_alloc(dev, 0, &found));
	assert_int_equal(virtio_mem_iova(dev, &found, 1, &found), -EFAULT);
	fake_unbind(fake);
	assert_int_equal(fake->nmaps, 0);
	fake_del(fake);
	ctx_del(ctx);
}

static void test_mem_map(void **state)
{
	struct vdpa_ctx *ctx = ctx_new(1);
	struct fake *fake = fake_disk_new(ctx, "d0", (struct fake_opts){.async = true});
	struct virtio_device *dev = fake_bind(fake, NULL);
	struct vdpa_region *region, *second;
	struct outcome o = {0};
	static uint8_t mine[8192], yours[4096];
	iova_t iova, iova2, found;

	fake_until(ctx, virtio_blk_of(dev) != NULL);
	assert_int_equal(vdpa_region_wrap(mine, sizeof(mine), 0, &region), 0);
	assert_int_equal(vdpa_region_wrap(yours, sizeof(yours), 0, &second), 0);
	assert_int_equal(virtio_mem_unmap(dev, region, NULL), -ENOENT);
	assert_int_equal(virtio_mem_map(dev, region, &iova), 0);
	assert_int_equal(virtio_mem_map(dev, region, &iova2), -EEXIST);
	assert_int_equal(virtio_mem_map(dev, second, &iova2), 0);
	assert_ptr_equal(fake_at(fake, iova + 100, 8000), mine + 100);
	assert_int_equal(virtio_mem_iova(dev, mine + 8191, 1, &found), 0);
	assert_int_equal(found, iova + 8191);
	assert_int_equal(virtio_mem_iova(dev, mine + 8191, 2, &found), -EFAULT);
	assert_int_equal(virtio_mem_unmap(dev, region, &(struct vdpa_done){set_outcome, &o}), 0);
	fake_until(ctx, o.done);
	assert_int_equal(o.result, 0);
	assert_null(fake_at(fake, iova, 1));
	/* One unmapping is under way, one region is left: unbinding waits for the one and ends the
	 * other. */
	assert_int_equal(virtio_mem_map(dev, region, &iova), 0);
	o = (struct outcome){0};
	assert_int_equal(virtio_mem_unmap(dev, region, &(struct vdpa_done){set_outcome, &o}), 0);
	fake_unbind(fake);
	assert_true(o.done);
	assert_int_equal(fake->nmaps, 0);
	vdpa_region_put(region);
	vdpa_region_put(second);
	fake_del(fake);
	ctx_del(ctx);
}

/* ---- life ---- */

static void rebind(unsigned workers, unsigned times)
{
	struct vdpa_ctx *ctx = ctx_new(workers);
	struct fake *fake = fake_disk_new(ctx, "d0", (struct fake_opts){.async = workers > 0});
	uint8_t buf[512];
	unsigned fds;

	fake_bind(fake, NULL);
	fake_unbind(fake);
	fds = open_fds();
	for (unsigned i = 0; i < times; i++) {
		struct virtio_device *dev;

		/* Left as somebody had it: then it is reset first, which may take until after the
		 * bind. */
		fake->status = i % 2;
		dev = fake_bind(fake, NULL);
		if (i % 10 == 0) {
			assert_int_equal(virtio_wait_attached(dev, 10000000000ll), 0);
			assert_int_equal(virtio_blk_read(virtio_blk_of(dev), 0, buf, 512), 0);
		}
		fake_unbind(fake);
		assert_int_equal(fake->nmaps, 0);
	}
	assert_int_equal(open_fds(), fds);
	assert_int_equal(vdpa_device_refs(&fake->vdpa), 1);
	fake_del(fake);
	ctx_del(ctx);
}

static void test_rebind(void **state)
{
	rebind(0, 1000);
	rebind(1, 1000);
}

/* A removal while a reset is under way waits for it. */
static void test_unbind_while_resetting(void **state)
{
	struct vdpa_ctx *ctx = ctx_new(1);
	struct fake *fake = fake_disk_new(ctx, "d0", (struct fake_opts){.async = true});
	struct virtio_device *dev;
	struct outcome o = {0};

	fake->status = VIRTIO_CONFIG_S_ACKNOWLEDGE;
	dev = fake_bind(fake, NULL);
	/* Still starting. */
	assert_int_equal(virtio_reset(dev, NULL), -EBUSY);
	assert_int_equal(virtio_attach(dev, NULL, NULL), -EBUSY);
	assert_int_equal(virtio_conform(dev, NULL, NULL, NULL), -EBUSY);
	assert_int_equal(virtio_wait_attached(dev, 10000000000ll), 0);
	assert_int_equal(virtio_reset(dev, &(struct vdpa_done){set_outcome, &o}), 0);
	assert_int_equal(virtio_reset(dev, NULL), -EBUSY);
	fake_unbind(fake);
	assert_true(o.done);
	fake->status = VIRTIO_CONFIG_S_ACKNOWLEDGE;
	fake_bind(fake, NULL);
	fake_unbind(fake); /* at once: it is starting */
	fake_del(fake);
	ctx_del(ctx);
}

/* When it cannot start after all, the bind has returned already: the log tells, and the device is
 * detached. */
static void test_late_failure(void **state)
{
	struct vdpa_ctx *ctx = ctx_new(1);
	struct fake *fake = fake_disk_new(ctx, "d0", (struct fake_opts){.async = true});
	struct virtio_device *dev;

	fake->status = VIRTIO_CONFIG_S_ACKNOWLEDGE;
	fake->vq_error = -EIO;
	dev = fake_bind(fake, NULL);
	assert_int_equal(virtio_wait_attached(dev, 10000000000ll), -ENODEV);
	assert_non_null(strstr(last_log, "cannot start"));
	assert_null(virtio_driver_name(dev));
	fake->vq_error = 0;
	assert_int_equal(virtio_attach(dev, NULL, NULL), 0);
	fake_unbind(fake);
	fake_del(fake);
	ctx_del(ctx);
}

/* A device that does not reset may call: the queue that it would call for is gone. */
static void test_reset_fails(void **state)
{
	struct vdpa_ctx *ctx = ctx_new(1);
	uint8_t buf[512];

	for (unsigned async = 0; async < 2; async++) {
		struct fake *fake = fake_disk_new(ctx, "d0", (struct fake_opts){.async = async});
		struct virtio_device *dev = fake_bind(fake, NULL);

		assert_int_equal(virtio_blk_read(virtio_blk_of(dev), 0, buf, sizeof(buf)), 0);
		assert_non_null(fake->vqs[0].cb.callback);
		fake->reset_error = -EIO;
		fake_unbind(fake);
		assert_true(fake->vqs[0].ready);
		assert_null(fake->vqs[0].cb.callback);
		fake->reset_error = 0;
		dev = fake_bind(fake, NULL);
		assert_int_equal(virtio_wait_attached(dev, 20000000000ll), 0);
		assert_non_null(fake->vqs[0].cb.callback);
		fake_unbind(fake);
		fake_del(fake);
	}
	ctx_del(ctx);
}

/* From its own completion a program may reset the device. */
static struct outcome reset_outcome;

static void reset_inside(struct virtio_blk_request *req, int result)
{
	struct virtio_device *dev = req->user;

	assert_int_equal(result, 0);
	assert_int_equal(virtio_reset(dev, &(struct vdpa_done){set_outcome, &reset_outcome}), 0);
	assert_int_equal(virtio_reset(dev, NULL), -EBUSY);
}

static void test_reset_inside_callback(void **state)
{
	struct vdpa_ctx *ctx = ctx_new(0);
	struct fake *fake = disk(ctx, "d0");
	struct virtio_device *dev = fake_bind(fake, NULL);
	struct virtio_blk_request req = {
		.type = VIRTIO_BLK_T_FLUSH, .done = reset_inside, .user = dev};

	reset_outcome = (struct outcome){0};
	assert_int_equal(virtio_blk_submit(virtio_blk_of(dev), 0, &req), 0);
	virtio_blk_kick(virtio_blk_of(dev), 0);
	fake_until(ctx, reset_outcome.done);
	assert_null(virtio_blk_of(dev));
	assert_int_equal(virtio_get_status(dev), 0);
	fake_unbind(fake);
	fake_del(fake);
	ctx_del(ctx);
}

struct shown {
	char text[2048];
};

static void show(void *arg, const char *key, const char *value)
{
	struct shown *s = arg;
	size_t n = strlen(s->text);

	snprintf(s->text + n, sizeof(s->text) - n, "%s=%s;", key, value);
}

static void test_show(void **state)
{
	struct vdpa_ctx *ctx = ctx_new(0);
	struct fake *fake = disk(ctx, "d0");
	struct virtio_device *dev = fake_bind(fake, NULL);
	struct shown s = {""};
	uint8_t buf[512];

	assert_int_equal(virtio_blk_read(virtio_blk_of(dev), 0, buf, 512), 0);
	virtio_vdpa_driver.show(&fake->vdpa, show, &s);
	assert_non_null(strstr(s.text, "virtio=virtio0;bus=vdpa/d0;virtio_driver=virtio-blk;"));
	assert_non_null(strstr(s.text, "FLUSH"));
	assert_non_null(strstr(s.text, "reads=1;"));
	assert_non_null(strstr(s.text, "read_bytes=512;"));
	fake_unbind(fake);
	fake_del(fake);
	ctx_del(ctx);
}

/* ---- conformance ---- */

struct report {
	unsigned passed, failed;
	char text[2048];
};

static void report(void *arg, const char *op, bool pass, const char *detail)
{
	struct report *r = arg;
	size_t n = strlen(r->text);

	pass ? r->passed++ : r->failed++;
	if (!pass)
		snprintf(r->text + n, sizeof(r->text) - n, "%s (%s);", op, detail);
}

static void test_conform(void **state)
{
	for (unsigned workers = 0; workers < 2; workers++) {
		struct vdpa_ctx *ctx = ctx_new(workers);
		struct fake *fake =
			fake_disk_new(ctx, "d0", (struct fake_opts){.async = workers > 0});
		struct virtio_device *dev = fake_bind(fake, NULL);
		struct report r = {0};
		struct outcome o = {0};
		uint8_t buf[512];

		fake_until(ctx, virtio_blk_of(dev) != NULL);
		assert_int_equal(
			virtio_conform(dev, report, &r, &(struct vdpa_done){set_outcome, &o}), 0);
		fake_until(ctx, o.done);
		assert_string_equal(r.text, "");
		assert_int_equal(o.result, 0);
		assert_true(r.passed >= 20);
		/* The driver is back. */
		assert_int_equal(virtio_blk_read(virtio_blk_of(dev), 0, buf, 512), 0);
		fake_unbind(fake);
		assert_int_equal(fake->nmaps, 0);
		fake_del(fake);
		ctx_del(ctx);
	}
}

/* A device that does not do as it should is found out. */
static void test_conform_finds(void **state)
{
	struct vdpa_ctx *ctx = ctx_new(0);
	struct fake *fake = disk(ctx, "d0");
	struct virtio_device *dev = fake_bind(fake, NULL);
	struct report r = {0};
	struct outcome o = {0};

	fake->refuse_features_ok = true;
	assert_int_equal(virtio_conform(dev, report, &r, &(struct vdpa_done){set_outcome, &o}), 0);
	fake_until(ctx, o.done);
	assert_int_not_equal(o.result, 0);
	assert_non_null(strstr(r.text, "finalize_features ("));
	fake_unbind(fake);
	fake_del(fake);
	ctx_del(ctx);
}

/* ---- no memory ---- */

static void test_alloc_failures(void **state)
{
	struct vdpa_ctx *ctx = ctx_new(0);
	struct fake *fake = disk(ctx, "d0");
	unsigned fds = open_fds(), rounds = 0, failed = 0;

	for (alloc_fail_begin(); alloc_fail_more();) {
		int r = vdpa_bind(&fake->vdpa, "virtio-vdpa", NULL, NULL);

		alloc_fail_off();
		rounds++;
		if (r) {
			failed++;
			assert_int_equal(r, -ENOMEM);
			assert_int_equal(fake->nmaps, 0);
			assert_int_equal(open_fds(), fds);
			assert_null(virtio_find(ctx, "virtio0"));
		} else {
			fake_unbind(fake);
		}
	}
	assert_true(rounds > 10 && failed >= rounds - 3);
	fake_del(fake);
	ctx_del(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_unknown_device),
		cmocka_unit_test(test_feature_names),
		cmocka_unit_test(test_no_callback),
		cmocka_unit_test(test_notification_data),
		cmocka_unit_test(test_queue_reset_refused),
		cmocka_unit_test(test_queue_size),
		cmocka_unit_test(test_tiny_queue),
		cmocka_unit_test(test_try_queue),
		cmocka_unit_test(test_mem_alloc),
		cmocka_unit_test(test_mem_map),
		cmocka_unit_test(test_rebind),
		cmocka_unit_test(test_unbind_while_resetting),
		cmocka_unit_test(test_late_failure),
		cmocka_unit_test(test_reset_fails),
		cmocka_unit_test(test_reset_inside_callback),
		cmocka_unit_test(test_show),
		cmocka_unit_test(test_conform),
		cmocka_unit_test(test_conform_finds),
		cmocka_unit_test(test_alloc_failures),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
