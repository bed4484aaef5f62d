// SPDX-License-Identifier: BSD-3-Clause
/* The front end with our own back end: killed and started again under load, dirty log, what NICs
 * are told. */
#include <fcntl.h>
#include "alloc_fail.h"
#include "driver/vhost_user/protocol.h"
#include "vhost_user_back.h"

static struct vdpa_attr ram[] = {{"backend", "ram"}, {"size", "4M"}, {0}};

static struct vdpa_ctx *front_ctx(void)
{
	struct vdpa_ctx *ctx = ctx_new(0);

	return ctx;
}

static bool running(struct virtio_device *dev)
{
	return virtio_driver_name(dev) && virtio_get_status(dev) & VIRTIO_CONFIG_S_DRIVER_OK;
}

/* ---- the back end dies and comes back ---- */

#define DEPTH 32
#define BLOCK 4096

struct writer {
	struct virtio_blk_request req;
	struct virtqueue_sg sg;
	struct virtio_blk *blk;
	uint8_t *mem;
	unsigned slot, written, errors;
	bool stop, idle;
};

static void write_next(struct writer *w);

static void written(struct virtio_blk_request *req, int result)
{
	struct writer *w = vdpa_container_of(req, struct writer, req);

	if (result)
		w->errors++;
	w->written++;
	write_next(w);
}

static void write_next(struct writer *w)
{
	w->idle = w->stop;
	if (w->idle)
		return;
	fill_pattern(w->mem, BLOCK, w->slot * 1000 + w->written + 1);
	w->req = (struct virtio_blk_request){
		.type = VIRTIO_BLK_T_OUT,
		.sector = w->slot * (BLOCK / 512),
		.sg = &w->sg,
		.nsg = 1,
		.done = written,
	};
	if (virtio_blk_submit(w->blk, 0, &w->req)) {
		w->errors++;
		w->idle = true;
	}
}

static void writers_start(struct virtio_device *dev, struct writer *w)
{
	for (unsigned i = 0; i < DEPTH; i++) {
		w[i] = (struct writer){.blk = virtio_blk_of(dev), .slot = i};
		w[i].mem = virtio_mem_alloc(dev, BLOCK, &w[i].sg.addr);
		assert_non_null(w[i].mem);
		w[i].sg.len = BLOCK;
		write_next(&w[i]);
	}
	virtio_blk_kick(virtio_blk_of(dev), 0);
}

static bool all_idle(const struct writer *w)
{
	for (unsigned i = 0; i < DEPTH; i++) {
		if (!w[i].idle)
			return false;
	}
	return true;
}

static void run_for(struct vdpa_ctx *ctx, uint64_t ns)
{
	uint64_t end = vdpa_clock_ns() + ns;

	while (vdpa_clock_ns() < end)
		vdpa_loop_run_once(vdpa_ctx_control(ctx), 200000);
}

/* Shapes of rings: what is not negotiated of what is offered. */
static const uint64_t shapes[] = {
	0,
	VDPA_BIT(VIRTIO_F_RING_PACKED),
	VDPA_BIT(VIRTIO_F_IN_ORDER),
	VDPA_BIT(VIRTIO_F_RING_PACKED) | VDPA_BIT(VIRTIO_F_IN_ORDER),
};

static void kill_under_load(uint64_t features_off, unsigned kills)
{
	char file[] = "/tmp/uvdpa-test-disk-XXXXXX";
	struct vdpa_attr attrs[] = {{"backend", "file"}, {"path", file}, {0}};
	int fd = mkstemp(file);
	struct vdpa_ctx *ctx = front_ctx();
	struct back back = {0};
	static struct writer w[DEPTH];
	struct virtio_options options = {.size = sizeof(options), .features_off = features_off};
	struct vhost_user_frontend_config config = {.path = back.path,
						    .device_id = VIRTIO_ID_BLOCK,
						    .options = &options,
						    .reconnect = true};
	struct virtio_device *dev;
	uint8_t expect[BLOCK], got[BLOCK];

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 4 << 20), 0);
	back_start(&back, "soft_blk", attrs, 0);
	assert_int_equal(front_connect(ctx, &config, &dev), 0);
	assert_true(vhost_user_frontend_protocol_features(dev) &
		    VDPA_BIT(VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD));
	writers_start(dev, w);
	for (unsigned i = 0; i < kills; i++) {
		unsigned before = vhost_user_frontend_reconnects(dev);

		run_for(ctx, 3000000 + i * 1700000);
		back_kill(&back);
		run_for(ctx, i % 3 * 20000000);
		back_start(&back, "soft_blk", attrs, 0);
		fake_until(ctx, vhost_user_frontend_reconnects(dev) > before);
	}
	run_for(ctx, 10000000);
	for (unsigned i = 0; i < DEPTH; i++)
		w[i].stop = true;
	fake_until(ctx, all_idle(w));
	assert_int_equal(virtio_blk_flush(virtio_blk_of(dev)), 0);
	for (unsigned i = 0; i < DEPTH; i++) {
		assert_int_equal(w[i].errors, 0);
		assert_true(w[i].written > 0);
		fill_pattern(expect, BLOCK, i * 1000 + w[i].written);
		assert_int_equal(pread(fd, got, BLOCK, i * BLOCK), BLOCK);
		assert_memory_equal(got, expect, BLOCK);
	}
	front_free(ctx, dev);
	back_kill(&back);
	close(fd);
	unlink(file);
	ctx_del(ctx);
}

/* Nothing that was submitted is lost: after kills at any moment each slot holds its last write. */
static void test_kill_under_load(void **state)
{
	back_full_featured = true;
	for (unsigned i = 0; i < ARRAY_LEN(shapes); i++)
		kill_under_load(shapes[i], i < 2 ? 10 : 5);
	back_full_featured = false;
}

/*
 * The first request is held, the second is answered, the back end dies. The next one is told by the
 * in-flight area which of them is still out; by the rings alone it would take the second for it.
 * So without such an area the device is lost, and the request ends in an error.
 */
static void held_request(uint64_t features_off, bool tracked)
{
	struct vdpa_ctx *ctx = front_ctx();
	struct back back = {0};
	struct virtio_options options = {.size = sizeof(options), .features_off = features_off};
	struct vhost_user_frontend_config config = {.path = back.path,
						    .device_id = VIRTIO_ID_BLOCK,
						    .options = &options,
						    .reconnect = true};
	struct virtio_device *dev;
	static struct writer w;
	uint8_t buf[512];

	if (!tracked)
		config.protocol_features_off = VDPA_BIT(VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD);
	back_start(&back, "hold", NULL, 0);
	assert_int_equal(front_connect(ctx, &config, &dev), 0);
	w = (struct writer){.blk = virtio_blk_of(dev), .stop = true};
	w.mem = virtio_mem_alloc(dev, 512, &w.sg.addr);
	w.sg.len = 512;
	w.req = (struct virtio_blk_request){
		.type = VIRTIO_BLK_T_OUT, .sg = &w.sg, .nsg = 1, .done = written};
	assert_int_equal(virtio_blk_submit(w.blk, 0, &w.req), 0);
	assert_int_equal(virtio_blk_read(w.blk, 8, buf, 512), 0);
	assert_false(w.idle);
	back_kill(&back);
	back_start(&back, "no-hold", NULL, 0);
	fake_until(ctx, w.idle);
	assert_int_equal(w.errors, !tracked);
	if (tracked) {
		assert_int_equal(w.written, 1);
		assert_int_equal(virtio_blk_read(w.blk, 8, buf, 512), 0);
	}
	assert_int_equal(virtio_is_broken(dev), !tracked);
	front_free(ctx, dev);
	back_kill(&back);
	ctx_del(ctx);
}

static void test_held_request(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		held_request(shapes[i], true);
		held_request(shapes[i], false);
	}
}

/* Without "reconnect" the loss is final, and everybody is told. */
static void test_kill_for_good(void **state)
{
	struct vdpa_ctx *ctx = front_ctx();
	struct back back = {0};
	struct vhost_user_frontend_config config = {.path = back.path,
						    .device_id = VIRTIO_ID_BLOCK};
	struct virtio_device *dev;
	uint8_t buf[512];

	back_start(&back, "soft_blk", ram, 0);
	assert_int_equal(front_connect(ctx, &config, &dev), 0);
	assert_int_equal(virtio_blk_read(virtio_blk_of(dev), 0, buf, 512), 0);
	assert_true(vhost_user_frontend_connected(dev));
	back_kill(&back);
	assert_int_equal(virtio_blk_read(virtio_blk_of(dev), 0, buf, 512), -EIO);
	fake_until(ctx, virtio_is_broken(dev));
	assert_false(vhost_user_frontend_connected(dev));
	front_free(ctx, dev);
	ctx_del(ctx);
}

/* While it is away programs get errors, not hangs; removal works. */
static void test_away(void **state)
{
	struct vdpa_ctx *ctx = front_ctx();
	struct back back = {0};
	struct vhost_user_frontend_config config = {
		.path = back.path, .device_id = VIRTIO_ID_BLOCK, .reconnect = true};
	struct virtio_device *dev;
	uint8_t byte;

	back_start(&back, "soft_blk", ram, 0);
	assert_int_equal(front_connect(ctx, &config, &dev), 0);
	back_kill(&back);
	fake_until(ctx, !vhost_user_frontend_connected(dev));
	assert_int_equal(virtio_config_read(dev, 0, &byte, 1), -ENOTCONN);
	assert_int_equal(virtio_config_write(dev, 0, &byte, 1), -ENOTCONN);
	assert_int_equal(vhost_user_frontend_log_start(dev, NULL), -ENOTCONN);
	/* Memory that is added now is told later. */
	assert_non_null(virtio_mem_alloc(dev, 8 << 20, NULL));
	back_start(&back, "soft_blk", ram, 0);
	fake_until(ctx, vhost_user_frontend_connected(dev) && running(dev));
	back_kill(&back);
	front_free(ctx, dev);
	ctx_del(ctx);
}

/* ---- dirty log ---- */

static void test_dirty_log(void **state)
{
	struct vdpa_ctx *ctx = front_ctx();
	struct back back = {0};
	struct vhost_user_frontend_config config = {.path = back.path,
						    .device_id = VIRTIO_ID_BLOCK};
	struct virtio_blk_request req = {0};
	static struct writer w;
	struct virtio_device *dev;
	uint64_t bits = 0;
	uint8_t *mem;
	iova_t iova;

	back_start(&back, "soft_blk", ram, 0);
	assert_int_equal(front_connect(ctx, &config, &dev), 0);
	mem = virtio_mem_alloc(dev, 16 * 4096, &iova);
	assert_non_null(mem);
	assert_int_equal(vhost_user_frontend_log_sync(dev, mem, 16, &bits), -EINVAL);
	assert_int_equal(vhost_user_frontend_log_stop(dev), -EALREADY);
	assert_int_equal(vhost_user_frontend_log_start(dev, NULL), 0);
	assert_int_equal(vhost_user_frontend_log_start(dev, NULL), -EALREADY);
	/* A read of two sectors into page 5, across into page 6. */
	w = (struct writer){.blk = virtio_blk_of(dev), .mem = mem, .stop = true};
	w.sg = (struct virtqueue_sg){iova + 6 * 4096 - 512, 1024};
	w.req = req;
	w.req.type = VIRTIO_BLK_T_IN;
	w.req.sg = &w.sg;
	w.req.nsg = 1;
	w.req.done = written;
	assert_int_equal(virtio_blk_submit(virtio_blk_of(dev), 0, &w.req), 0);
	virtio_blk_kick(virtio_blk_of(dev), 0);
	fake_until(ctx, w.idle);
	assert_int_equal(w.errors, 0);
	assert_int_equal(vhost_user_frontend_log_sync(dev, mem, 16, &bits), 0);
	assert_int_equal(bits & 0xffff, 1 << 5 | 1 << 6);
	bits = 0;
	assert_int_equal(vhost_user_frontend_log_sync(dev, mem, 16, &bits), 0);
	assert_int_equal(bits, 0);
	assert_int_equal(vhost_user_frontend_log_sync(dev, &bits, 1, &bits), -EFAULT);
	assert_int_equal(vhost_user_frontend_log_sync(dev, mem + 64, 1, &bits), -EINVAL);
	assert_int_equal(vhost_user_frontend_log_stop(dev), 0);
	front_free(ctx, dev);
	back_kill(&back);
	ctx_del(ctx);
}

/* ---- NICs ---- */

static void test_nic_messages(void **state)
{
	struct vdpa_attr attrs[] = {{"backend", "loopback"}, {0}};
	struct vdpa_ctx *ctx = front_ctx();
	struct back back = {0};
	struct vhost_user_frontend_config config = {.path = back.path, .device_id = VIRTIO_ID_NET};
	struct virtio_device *dev;
	const uint8_t mac[6] = {2, 0, 0, 0, 0, 1};
	uint64_t protocol;

	back_start(&back, "soft_net", attrs, 0);
	assert_int_equal(front_connect(ctx, &config, &dev), 0);
	protocol = vhost_user_frontend_protocol_features(dev);
	if (protocol & VDPA_BIT(VHOST_USER_PROTOCOL_F_MTU)) {
		assert_int_equal(vhost_user_frontend_set_mtu(dev, 1400), 0);
		assert_int_equal(vhost_user_frontend_set_mtu(dev, 20), -EREMOTEIO);
	} else {
		assert_int_equal(vhost_user_frontend_set_mtu(dev, 1400), -EOPNOTSUPP);
	}
	if (protocol & VDPA_BIT(VHOST_USER_PROTOCOL_F_RARP))
		assert_int_equal(vhost_user_frontend_send_rarp(dev, mac), 0);
	else
		assert_int_equal(vhost_user_frontend_send_rarp(dev, mac), -EOPNOTSUPP);
	assert_true(vhost_user_frontend_connected(dev));
	front_free(ctx, dev);
	back_kill(&back);
	ctx_del(ctx);
}

/* Back ends of NICs need have no configuration; what depends on it is not negotiated then. */
static void test_nic_without_configuration(void **state)
{
	struct vdpa_attr attrs[] = {{"backend", "loopback"}, {0}};
	struct vdpa_ctx *ctx = front_ctx();
	struct back back = {0};
	struct vhost_user_frontend_config config = {
		.path = back.path,
		.device_id = VIRTIO_ID_NET,
		.protocol_features_off = VDPA_BIT(VHOST_USER_PROTOCOL_F_CONFIG),
	};
	struct virtio_net_info info;
	struct virtio_device *dev;

	back_start(&back, "soft_net", attrs, 0);
	assert_int_equal(front_connect(ctx, &config, &dev), 0);
	assert_non_null(virtio_net_of(dev));
	virtio_net_get_info(virtio_net_of(dev), &info);
	assert_false(info.has_mac);
	assert_true(info.link_up);
	assert_false(virtio_has_feature(dev, VIRTIO_NET_F_STATUS));
	front_free(ctx, dev);
	back_kill(&back);
	ctx_del(ctx);
}

/* ---- sizes, errors, memory ---- */

static void test_errors(void **state)
{
	struct vdpa_ctx *ctx = front_ctx();
	struct vhost_user_frontend_config config = {.size = sizeof(config),
						    .path = "/nonexistent/socket",
						    .device_id = VIRTIO_ID_BLOCK};
	struct vdpa_error err = {0};
	struct virtio_device *dev;
	char longest[300];

	assert_int_equal(vhost_user_frontend_new(ctx, &config, &dev, &err), -ENOENT);
	assert_non_null(strstr(err.msg, "/nonexistent/socket"));
	memset(longest, 'x', sizeof(longest));
	longest[299] = 0;
	config.path = longest;
	assert_int_equal(vhost_user_frontend_new(ctx, &config, &dev, &err), -ENAMETOOLONG);
	config.size = 8;
	assert_int_equal(vhost_user_frontend_new(ctx, &config, &dev, &err), -EINVAL);
	ctx_del(ctx);
}

static void test_refused_sizes(void **state)
{
	struct vdpa_ctx *ctx = front_ctx();
	struct back back = {0};
	struct virtio_options options = {.size = sizeof(options), .queue_size = 1024};
	struct vhost_user_frontend_config config = {.path = back.path,
						    .device_id = VIRTIO_ID_BLOCK,
						    .options = &options,
						    .queue_size_max = 1024};
	struct vdpa_error err = {0};
	struct virtio_device *dev;

	back_start(&back, "soft_blk", ram, 0);
	/* The back end has 256: it refuses, and says so. */
	assert_int_equal(front_connect(ctx, &config, &dev), -EREMOTEIO);
	assert_non_null(strstr(last_log, "refused"));
	options.features_off = VDPA_BIT(VIRTIO_F_RING_PACKED);
	options.queue_size = 5;
	options.features_off = VDPA_BIT(VIRTIO_F_RING_PACKED);
	assert_int_equal(vhost_user_frontend_new(ctx, &config, &dev, &err), -EINVAL);
	options.features_off = 0;
	assert_int_equal(front_connect(ctx, &config, &dev), 0);
	front_free(ctx, dev);
	back_kill(&back);
	ctx_del(ctx);
}

static void test_alloc_failures(void **state)
{
	struct vdpa_ctx *ctx = front_ctx();
	struct back back = {0};
	struct vhost_user_frontend_config config = {
		.size = sizeof(config), .path = back.path, .device_id = VIRTIO_ID_BLOCK};
	struct virtio_device *dev;
	unsigned fds, rounds = 0;

	back_start(&back, "soft_blk", ram, 0);
	assert_int_equal(front_connect(ctx, &config, &dev), 0);
	front_free(ctx, dev);
	fds = open_fds();
	for (alloc_fail_begin(); alloc_fail_more();) {
		int r = vhost_user_frontend_new(ctx, &config, &dev, NULL);

		alloc_fail_off();
		rounds++;
		if (r)
			assert_int_equal(r, -ENOMEM);
		else
			front_free(ctx, dev);
		/* What was posted meanwhile has to run before the last of it is freed. */
		fake_until(ctx, !virtio_find(ctx, "virtio0"));
		assert_int_equal(open_fds(), fds);
	}
	assert_true(rounds > 10);
	back_kill(&back);
	ctx_del(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kill_under_load),
		cmocka_unit_test(test_held_request),
		cmocka_unit_test(test_kill_for_good),
		cmocka_unit_test(test_away),
		cmocka_unit_test(test_dirty_log),
		cmocka_unit_test(test_nic_messages),
		cmocka_unit_test(test_nic_without_configuration),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_refused_sizes),
		cmocka_unit_test(test_alloc_failures),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
