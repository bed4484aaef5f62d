// SPDX-License-Identifier: BSD-3-Clause
/*
 * Devices that break the rules, one rule each. Whatever they do: no request is lost or completed
 * twice, the device is reset where it must be, and the disk can be attached again.
 */
#include "virtio_test.h"

struct rig {
	struct vdpa_ctx *ctx;
	struct fake *fake;
	struct virtio_device *dev;
	struct virtio_blk *blk;
};

static struct rig up(bool poll, unsigned workers)
{
	struct vdpa_attr attrs[] = {{"mode", poll ? "poll" : "callback"}, {0}};
	struct rig rig = {.ctx = ctx_new(workers)};

	rig.fake = fake_disk_new(
		rig.ctx, "d0",
		(struct fake_opts){.async = workers > 0,
				   .features = VDPA_BIT(VIRTIO_RING_F_INDIRECT_DESC)});
	rig.dev = fake_bind(rig.fake, attrs);
	fake_until(rig.ctx, (rig.blk = virtio_blk_of(rig.dev)) &&
				    virtio_get_status(rig.dev) & VIRTIO_CONFIG_S_DRIVER_OK);
	return rig;
}

static void down(struct rig *rig)
{
	fake_unbind(rig->fake);
	assert_int_equal(rig->fake->nmaps, 0);
	fake_del(rig->fake);
	ctx_del(rig->ctx);
}

/* After the device broke: reset, attach, and it works. */
static void recover(struct rig *rig)
{
	struct outcome o = {0};
	uint8_t buf[512];

	fake_until(rig->ctx, virtio_is_broken(rig->dev));
	fake_until(rig->ctx, virtio_reset(rig->dev, &(struct vdpa_done){set_outcome, &o}) == 0);
	fake_until(rig->ctx, o.done);
	assert_null(virtio_blk_of(rig->dev));
	rig->fake->handle = fake_disk;
	assert_int_equal(virtio_attach(rig->dev, NULL, NULL), 0);
	assert_int_equal(virtio_attach(rig->dev, NULL, NULL), -EBUSY);
	rig->blk = virtio_blk_of(rig->dev);
	assert_int_equal(virtio_blk_read(rig->blk, 0, buf, 512), 0);
}

struct tally {
	struct virtio_blk_request req;
	unsigned calls;
	int result;
};

static void tally(struct virtio_blk_request *req, int result)
{
	struct tally *t = vdpa_container_of(req, struct tally, req);

	t->calls++;
	t->result = result;
}

static void submit_read(struct rig *rig, struct tally *t)
{
	static struct virtqueue_sg sg;

	*t = (struct tally){0};
	assert_non_null(virtio_mem_alloc(rig->dev, 4096, &sg.addr));
	sg.len = 4096;
	t->req = (struct virtio_blk_request){
		.type = VIRTIO_BLK_T_IN, .sg = &sg, .nsg = 1, .done = tally};
	assert_int_equal(virtio_blk_submit(rig->blk, 0, &t->req), 0);
	virtio_blk_kick(rig->blk, 0);
}

/* ---- used entries that cannot be ---- */

static int64_t id_beyond(struct fake *dev, struct fake_vq *vq, struct fake_req *req)
{
	fake_push(dev, vq, vq->num, 1);
	fake_call(vq);
	return -1;
}

static int64_t id_huge(struct fake *dev, struct fake_vq *vq, struct fake_req *req)
{
	fake_push(dev, vq, 0xfffffff0u + req->head, 1);
	fake_call(vq);
	return -1;
}

static int64_t id_not_out(struct fake *dev, struct fake_vq *vq, struct fake_req *req)
{
	fake_push(dev, vq, (req->head + 7) % vq->num, 1);
	fake_call(vq);
	return -1;
}

static int64_t index_jumps(struct fake *dev, struct fake_vq *vq, struct fake_req *req)
{
	vq->used = (uint16_t)(vq->used + vq->num + 5);
	fake_push(dev, vq, req->head, 1);
	fake_call(vq);
	return -1;
}

static int64_t length_beyond(struct fake *dev, struct fake_vq *vq, struct fake_req *req)
{
	fake_disk(dev, vq, req);
	return 1ll << 31;
}

typedef int64_t (*handler)(struct fake *dev, struct fake_vq *vq, struct fake_req *req);
static const handler breaking[] = {id_beyond, id_huge, id_not_out, index_jumps, length_beyond};

static void check_breaks(handler handle, bool poll, unsigned workers)
{
	struct rig rig = up(poll, workers);
	struct tally t;

	rig.fake->handle = handle;
	submit_read(&rig, &t);
	for (uint64_t end = vdpa_clock_ns() + PATIENCE_NS; !t.calls && vdpa_clock_ns() < end;) {
		if (poll)
			virtio_blk_poll(rig.blk, 0, 8);
		vdpa_loop_run_once(vdpa_ctx_control(rig.ctx), poll ? 0 : 1000000);
	}
	assert_int_equal(t.calls, 1);
	assert_int_equal(t.result, -EIO);
	assert_true(rig.fake->resets >= 1);
	assert_int_equal(rig.fake->status, 0);
	assert_non_null(strstr(last_log, "broken"));
	/* Nothing more is taken. */
	assert_int_equal(virtio_blk_submit(rig.blk, 0, &t.req), -EIO);
	recover(&rig);
	assert_int_equal(t.calls, 1);
	down(&rig);
}

static void test_used_entries(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(breaking); i++) {
		check_breaks(breaking[i], false, 0);
		check_breaks(breaking[i], true, 0);
		check_breaks(breaking[i], false, 1);
	}
}

/* In poll mode on a thread of its own: the control thread resets the device, the queue's thread
 * ends its requests. */
struct poller {
	pthread_t thread;
	struct rig *rig;
	struct virtio_blk_request req;
	struct virtqueue_sg sg;
	_Atomic bool ended;
	unsigned completed;
	int last;
};

static void polled(struct virtio_blk_request *req, int result)
{
	struct poller *p = vdpa_container_of(req, struct poller, req);

	p->completed++;
	p->last = result;
}

static void *poll_run(void *arg)
{
	struct poller *p = arg;
	uint64_t end = vdpa_clock_ns() + PATIENCE_NS;
	unsigned submitted = 0;

	while (!p->last && vdpa_clock_ns() < end) {
		if (submitted == p->completed && !virtio_blk_submit(p->rig->blk, 0, &p->req))
			submitted++;
		virtio_blk_kick(p->rig->blk, 0);
		virtio_blk_poll(p->rig->blk, 0, 8);
	}
	assert_int_equal(submitted, p->completed);
	atomic_store(&p->ended, true);
	return NULL;
}

static int64_t break_at_100(struct fake *dev, struct fake_vq *vq, struct fake_req *req)
{
	if (vq->used < 100)
		return fake_disk(dev, vq, req);
	fake_push(dev, vq, vq->num, 1);
	return -1;
}

static void test_breaks_under_thread(void **state)
{
	struct rig rig = up(true, 1);
	struct poller p = {.rig = &rig};

	rig.fake->handle = break_at_100;
	assert_non_null(virtio_mem_alloc(rig.dev, 4096, &p.sg.addr));
	p.sg.len = 4096;
	p.req = (struct virtio_blk_request){
		.type = VIRTIO_BLK_T_IN, .sg = &p.sg, .nsg = 1, .done = polled};
	assert_int_equal(pthread_create(&p.thread, NULL, poll_run, &p), 0);
	fake_until(rig.ctx, atomic_load(&p.ended));
	pthread_join(p.thread, NULL);
	assert_int_equal(p.completed, 101);
	assert_int_equal(p.last, -EIO);
	recover(&rig);
	down(&rig);
}

/* Once is once: the same head used twice breaks the queue, and is not completed twice. */
static int64_t used_twice(struct fake *dev, struct fake_vq *vq, struct fake_req *req)
{
	int64_t len = fake_disk(dev, vq, req);

	fake_push(dev, vq, req->head, (uint32_t)len);
	return len;
}

static void test_used_twice(void **state)
{
	struct rig rig = up(false, 0);
	struct tally t;

	rig.fake->handle = used_twice;
	submit_read(&rig, &t);
	recover(&rig);
	assert_int_equal(t.calls, 1);
	down(&rig);
}

/* ---- statuses and lengths of one request ---- */

static int64_t short_read(struct fake *dev, struct fake_vq *vq, struct fake_req *req)
{
	fake_disk(dev, vq, req);
	return 100;
}

static int64_t no_status(struct fake *dev, struct fake_vq *vq, struct fake_req *req)
{
	return 4097;
}

static int64_t odd_status(struct fake *dev, struct fake_vq *vq, struct fake_req *req)
{
	*(uint8_t *)req->in[req->nin - 1].iov_base = 77;
	return 4097;
}

static int64_t unsupported(struct fake *dev, struct fake_vq *vq, struct fake_req *req)
{
	*(uint8_t *)req->in[req->nin - 1].iov_base = VIRTIO_BLK_S_UNSUPP;
	return 1;
}

static void test_requests_fail_alone(void **state)
{
	const struct {
		handler handle;
		int result;
	} cases[] = {{short_read, -EIO},
		     {no_status, -EIO},
		     {odd_status, -EIO},
		     {unsupported, -EOPNOTSUPP}};
	struct rig rig = up(false, 0);
	struct virtio_blk_stats stats;
	uint8_t buf[4096];

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		rig.fake->handle = cases[i].handle;
		assert_int_equal(virtio_blk_read(rig.blk, 0, buf, sizeof(buf)), cases[i].result);
	}
	virtio_blk_get_stats(rig.blk, 0, &stats);
	assert_int_equal(stats.errors, ARRAY_LEN(cases));
	assert_false(virtio_is_broken(rig.dev));
	rig.fake->handle = fake_disk;
	assert_int_equal(virtio_blk_read(rig.blk, 0, buf, sizeof(buf)), 0);
	down(&rig);
}

/* ---- the device as a whole ---- */

static void test_needs_reset(void **state)
{
	struct rig rig = up(false, 0);

	rig.fake->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	rig.fake->config_cb.callback(rig.fake->config_cb.priv);
	recover(&rig);
	down(&rig);
}

static void bind_fails(struct fake *fake, int error, const char *word)
{
	struct vdpa_error err = {0};

	assert_int_equal(vdpa_bind(&fake->vdpa, "virtio-vdpa", NULL, &err), error);
	assert_non_null(strstr(err.msg, word));
	assert_null(vdpa_device_driver(&fake->vdpa));
	assert_int_equal(fake->nmaps, 0);
	assert_null(virtio_find(fake->vdpa.ctx, "virtio0"));
}

static void test_bad_configuration(void **state)
{
	struct vdpa_ctx *ctx = ctx_new(0);
	struct fake *fake = fake_disk_new(ctx, "d0", (struct fake_opts){0});
	struct virtio_blk_config *config = (void *)fake->config;
	struct virtio_blk_info info;
	struct virtio_device *dev;

	/* Values that cannot be are replaced by ones that can. */
	config->blk_size = 12345;
	config->seg_max = 0xffffffff;
	config->num_queues = 0xffff;
	dev = fake_bind(fake, NULL);
	virtio_blk_get_info(virtio_blk_of(dev), &info);
	assert_int_equal(info.block_bytes, 512);
	assert_int_equal(info.seg_max, 62); /* the queue has 64 entries */
	assert_int_equal(info.queues, 1);
	fake_unbind(fake);
	config->num_queues = 0;
	config->seg_max = 0;
	dev = fake_bind(fake, NULL);
	virtio_blk_get_info(virtio_blk_of(dev), &info);
	assert_int_equal(info.seg_max, 1);
	fake_unbind(fake);
	/* A configuration that is too short, or never holds still. */
	fake->config_size = 20;
	bind_fails(fake, -EINVAL, "configuration");
	fake->config_size = 64;
	fake->generation_spins = true;
	bind_fails(fake, -EAGAIN, "configuration");
	fake->generation_spins = false;
	fake_del(fake);
	ctx_del(ctx);
}

static void test_refusals(void **state)
{
	struct vdpa_ctx *ctx = ctx_new(0);
	struct fake *fake = fake_disk_new(ctx, "d0", (struct fake_opts){0});
	uint64_t features = fake->features;
	struct fake *none;

	fake->features = features & ~VDPA_BIT(VIRTIO_F_VERSION_1);
	bind_fails(fake, -ENOTSUP, "VERSION_1");
	fake->features = features & ~VDPA_BIT(VIRTIO_F_ACCESS_PLATFORM);
	bind_fails(fake, -ENOTSUP, "ACCESS_PLATFORM");
	fake->features = features;
	fake->refuse_features_ok = true;
	bind_fails(fake, -ENOTSUP, "features");
	fake->refuse_features_ok = false;
	fake->vq_error = -EIO;
	bind_fails(fake, -EIO, "queue 0");
	assert_non_null(strstr(last_log, "queue 0"));
	fake->vq_error = 0;
	fake->map_error = -EPERM;
	bind_fails(fake, -ENOMEM, "queue 0");
	fake->map_error = 0;
	fake_bind(fake, NULL);
	fake_unbind(fake);
	fake_del(fake);

	none = fake_new(ctx, "n0", &(struct fake_opts){.no_dma = true, .id = VIRTIO_ID_BLOCK});
	bind_fails(none, -EOPNOTSUPP, "map");
	fake_del(none);
	ctx_del(ctx);
}

/* A device that never answers: the request ends by a reset, and in time. (30 s are too long for a
 * unit test: unbound.) */
static int64_t swallow(struct fake *dev, struct fake_vq *vq, struct fake_req *req)
{
	return -1;
}

static void test_swallowed(void **state)
{
	struct rig rig = up(false, 1);
	struct tally t;

	rig.fake->handle = swallow;
	submit_read(&rig, &t);
	down(&rig);
	assert_int_equal(t.calls, 1);
	assert_int_equal(t.result, -EIO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_used_entries), cmocka_unit_test(test_breaks_under_thread),
		cmocka_unit_test(test_used_twice),   cmocka_unit_test(test_requests_fail_alone),
		cmocka_unit_test(test_needs_reset),  cmocka_unit_test(test_bad_configuration),
		cmocka_unit_test(test_refusals),     cmocka_unit_test(test_swallowed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
