// SPDX-License-Identifier: BSD-3-Clause
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include "soft_guest.h"
#include "../open_fds.h"

static void on_log(void *arg, enum vdpa_log_level level, const char *object, const char *msg)
{
	struct soft_guest *g = arg;

	if (getenv("SG_LOG"))
		fprintf(stderr, "<%d> %s: %s\n", level, object, msg);
	if (level > VDPA_LOG_WARN)
		return;
	__atomic_fetch_add(&g->log_lines, 1, __ATOMIC_RELAXED);
}

static void make_guest(struct soft_guest *g, struct vdpa_ctx *ctx)
{
	memset(g, 0, sizeof(*g));
	for (unsigned i = 0; i < SG_QUEUES; i++)
		g->q[i].kick = g->q[i].call = -1;
	g->ctx = ctx;
	g->mem = mmap(NULL, SG_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(g->mem, MAP_FAILED);
	assert_int_equal(vdpa_region_wrap(g->mem, SG_BYTES, SG_IOVA, &g->region), 0);
}

void sg_open(struct soft_guest *g, unsigned workers)
{
	struct vdpa_ctx_config config = {
		.size = sizeof(config),
		.workers = workers,
		.log = {on_log, g, VDPA_LOG_DEBUG},
	};

	struct vdpa_ctx *ctx;

	assert_int_equal(vdpa_ctx_new(&config, &ctx), 0);
	assert_int_equal(vdpa_register_builtin(ctx), 0);
	make_guest(g, ctx);
}

void sg_join(struct soft_guest *g, const struct soft_guest *first)
{
	make_guest(g, first->ctx);
}

static void config_called(void *priv)
{
	struct soft_guest *g = priv;

	g->config_calls++;
}

void sg_use(struct soft_guest *g, struct vdpa_device *dev)
{
	struct vdpa_callback cb = {config_called, g, -1};

	g->dev = vdpa_get_device(dev);
	vdpa_set_config_cb(dev, &cb);
}

int sg_try_add(struct soft_guest *g, const char *mgmtdev, const char *name,
	       const struct vdpa_dev_set_config *config, struct vdpa_error *err)
{
	struct vdpa_mgmt_dev *mdev = vdpa_mgmtdev_find(g->ctx, mgmtdev);

	assert_non_null(mdev);
	return vdpa_dev_add(mdev, name, config, err);
}

void sg_add(struct soft_guest *g, const char *mgmtdev, const struct vdpa_attr *attrs)
{
	struct vdpa_dev_set_config config = {.attrs = attrs};
	struct vdpa_error err = {.msg = ""};
	int r = sg_try_add(g, mgmtdev, "d0", &config, &err);

	if (r)
		fail_msg("dev add: %d %s: %s", r, err.object, err.msg);
	sg_use(g, vdpa_find_device(g->ctx, "d0"));
}

void sg_map(struct soft_guest *g)
{
	struct vhost_iotlb *iotlb;
	struct sg_wait wait = {0};
	struct vdpa_done done = sg_done(&wait);

	/* A map outlives a reset. */
	if (g->mapped)
		return;
	g->mapped = true;
	if (vdpa_has_dma_map(g->dev)) {
		assert_int_equal(vdpa_dma_map(g->dev, g->asid, SG_IOVA, SG_BYTES,
					      vdpa_region_addr(g->region, 0), VHOST_MAP_RW,
					      g->region),
				 0);
		return;
	}
	iotlb = vhost_iotlb_alloc(0, 0);
	assert_non_null(iotlb);
	assert_int_equal(vhost_iotlb_add_range_ctx(iotlb, SG_IOVA, SG_IOVA + SG_BYTES - 1,
						   vdpa_region_addr(g->region, 0), VHOST_MAP_RW,
						   g->region),
			 0);
	assert_int_equal(vdpa_set_map(g->dev, g->asid, iotlb, &done), 0);
	assert_int_equal(sg_wait(g, &wait), 0);
	vhost_iotlb_free(iotlb);
}

void sg_negotiate(struct soft_guest *g, uint64_t features)
{
	uint8_t ok = features & VDPA_BIT(VIRTIO_F_VERSION_1) ? VIRTIO_CONFIG_S_FEATURES_OK : 0;

	vdpa_set_status(g->dev, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	vdpa_set_status(g->dev, SG_ACK);
	assert_int_equal(vdpa_set_features(g->dev, features), 0);
	vdpa_set_status(g->dev, SG_ACK | ok);
	assert_int_equal(vdpa_get_status(g->dev), SG_ACK | ok);
}

static void free_queue(struct sg_queue *q)
{
	virtqueue_free(q->vq);
	q->vq = NULL;
	if (q->kick >= 0)
		close(q->kick);
	if (q->call >= 0)
		close(q->call);
	q->kick = q->call = -1;
}

/* Anew, when it was set up before. */
void sg_queue_setup(struct soft_guest *g, unsigned idx, uint32_t num)
{
	struct virtqueue_config config = {
		.size = sizeof(config),
		.num = num,
		.features = vdpa_get_driver_features(g->dev),
		.mem = g->mem + idx * SG_RING_BYTES,
		.mem_iova = SG_IOVA + idx * SG_RING_BYTES,
	};
	struct sg_queue *q = &g->q[idx];
	iova_t desc, driver, device;
	struct vdpa_vq_state first;
	struct vdpa_callback cb;

	assert_true(virtqueue_mem_bytes(num, config.features) <= SG_RING_BYTES);
	memset(config.mem, 0, SG_RING_BYTES);
	free_queue(q);
	assert_int_equal(virtqueue_new(&config, &q->vq), 0);
	virtqueue_addrs(q->vq, &desc, &driver, &device);
	q->kick = eventfd(0, EFD_CLOEXEC);
	q->call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_true(q->kick >= 0 && q->call >= 0);
	cb = (struct vdpa_callback){NULL, NULL, q->call};
	first = virtqueue_first_state(q->vq);
	assert_int_equal(vdpa_set_vq_state(g->dev, (uint16_t)idx, &first), 0);
	assert_int_equal(vdpa_set_vq_num(g->dev, (uint16_t)idx, num), 0);
	assert_int_equal(vdpa_set_vq_address(g->dev, (uint16_t)idx, desc, driver, device), 0);
	assert_int_equal(vdpa_set_vq_cb(g->dev, (uint16_t)idx, &cb), 0);
	assert_int_equal(vdpa_set_vq_kick(g->dev, (uint16_t)idx, q->kick), 0);
}

void sg_queue(struct soft_guest *g, unsigned idx, uint32_t num)
{
	sg_queue_setup(g, idx, num);
	assert_int_equal(vdpa_set_vq_ready(g->dev, (uint16_t)idx), 0);
}

void sg_driver_ok(struct soft_guest *g)
{
	uint8_t status = vdpa_get_status(g->dev) | VIRTIO_CONFIG_S_DRIVER_OK;

	vdpa_set_status(g->dev, status);
	assert_int_equal(vdpa_get_status(g->dev), status);
}

/* What UVDPA_TEST_RINGS wants besides, as far as the device offers it. */
static uint64_t more_features(const struct soft_guest *g)
{
	static const struct {
		const char *word;
		uint64_t feature;
	} words[] = {
		{"packed", VDPA_BIT(VIRTIO_F_RING_PACKED)},
		{"in_order", VDPA_BIT(VIRTIO_F_IN_ORDER)},
		{"event_idx", VDPA_BIT(VIRTIO_RING_F_EVENT_IDX)},
	};
	const char *env = getenv("UVDPA_TEST_RINGS");
	uint64_t features = 0;

	for (size_t i = 0; env && i < sizeof(words) / sizeof(words[0]); i++)
		features |= strstr(env, words[i].word) ? words[i].feature : 0;
	return features & vdpa_get_device_features(g->dev);
}

void sg_start(struct soft_guest *g, uint64_t features, unsigned nqueues, uint32_t num)
{
	sg_map(g);
	if (features & VDPA_BIT(VIRTIO_F_VERSION_1))
		features |= more_features(g);
	sg_negotiate(g, features);
	for (unsigned i = 0; i < nqueues; i++)
		sg_queue(g, i, num);
	sg_driver_ok(g);
}

static void waited(void *arg, int result)
{
	struct sg_wait *wait = arg;

	assert_false(wait->done);
	wait->result = result;
	wait->done = true;
}

struct vdpa_done sg_done(struct sg_wait *wait)
{
	return (struct vdpa_done){waited, wait};
}

int sg_wait(struct soft_guest *g, struct sg_wait *wait)
{
	assert_int_equal(vdpa_ctx_wait(g->ctx, &wait->done, SG_PATIENCE), 0);
	return wait->result;
}

struct turn {
	struct vdpa_loop_sync sync; /* first */
	bool done;
};

static void turned(struct vdpa_loop_sync *sync)
{
	((struct turn *)(void *)sync)->done = true;
}

void sg_turn(struct soft_guest *g)
{
	struct turn turn = {.done = false};

	vdpa_loop_group_sync(vdpa_ctx_loops(g->ctx), &turn.sync, turned);
	assert_int_equal(vdpa_ctx_wait(g->ctx, &turn.done, SG_PATIENCE), 0);
}

void sg_run(struct soft_guest *g, int64_t ns)
{
	bool never = false;

	vdpa_ctx_wait(g->ctx, &never, ns);
	for (unsigned i = 0; ns >= SG_MOMENT && i < SG_TURNS; i++)
		sg_turn(g);
}

static void free_queues(struct soft_guest *g)
{
	for (unsigned i = 0; i < SG_QUEUES; i++)
		free_queue(&g->q[i]);
}

void sg_reset(struct soft_guest *g)
{
	struct sg_wait wait = {0};
	struct vdpa_done done = sg_done(&wait);

	assert_int_equal(vdpa_reset(g->dev, &done), 0);
	assert_int_equal(sg_wait(g, &wait), 0);
	assert_int_equal(vdpa_get_status(g->dev), 0);
	free_queues(g);
}

void sg_del(struct soft_guest *g)
{
	struct sg_wait wait = {0};
	struct vdpa_done done = sg_done(&wait);
	struct vdpa_callback none = {.trigger = -1};

	vdpa_set_config_cb(g->dev, &none);
	if (g->dev->mdev)
		assert_int_equal(vdpa_dev_del(g->dev, &done, NULL), 0);
	else
		assert_int_equal(vdpa_soft_dev_del(NULL, g->dev, &done), 0);
	sg_wait(g, &wait);
	vdpa_put_device(g->dev);
	g->dev = NULL;
}

void sg_close(struct soft_guest *g)
{
	int r = 0;

	if (g->dev)
		sg_del(g);
	free_queues(g);
	for (unsigned i = 0; i < SG_TRIES; i++) {
		r = vdpa_ctx_free(g->ctx);
		if (r != -EBUSY)
			break;
		sg_run(g, SG_SECOND / 1000);
	}
	assert_int_equal(r, 0);
	vdpa_region_put(g->region);
	munmap(g->mem, SG_BYTES);
}

void sg_leave(struct soft_guest *g)
{
	if (g->dev)
		sg_del(g);
	free_queues(g);
	vdpa_region_put(g->region);
	munmap(g->mem, SG_BYTES);
}

void sg_send(struct soft_guest *g, unsigned idx, const struct virtqueue_sg *sg, unsigned nout,
	     unsigned nin, void *token)
{
	assert_int_equal(virtqueue_add(g->q[idx].vq, sg, nout, nin, token), 0);
	if (virtqueue_publish(g->q[idx].vq))
		sg_kick(g, idx);
}

void sg_kick(struct soft_guest *g, unsigned idx)
{
	uint64_t one = 1;

	assert_int_equal(write(g->q[idx].kick, &one, sizeof(one)), sizeof(one));
}

void *sg_get(struct soft_guest *g, unsigned idx, uint32_t *len, int64_t ns)
{
	uint64_t end = vdpa_clock_ns() + (uint64_t)ns;
	uint64_t drained;
	ssize_t r;
	void *token;

	for (;;) {
		token = virtqueue_get(g->q[idx].vq, len);
		if (token || vdpa_clock_ns() > end)
			return token;
		if (virtqueue_enable_cb(g->q[idx].vq))
			continue;
		vdpa_loop_run_once(vdpa_ctx_control(g->ctx), SG_SECOND / 1000);
		r = read(g->q[idx].call, &drained, sizeof(drained));
		(void)r;
	}
}

void *sg_get_any(struct soft_guest *g, unsigned idx, uint32_t *len, int64_t ns)
{
	void *token = sg_get(g, idx, len, ns);

	if (token)
		return token;
	sg_run(g, SG_MOMENT);
	return sg_get(g, idx, len, 0);
}

uint32_t sg_io(struct soft_guest *g, unsigned idx, const struct virtqueue_sg *sg, unsigned nout,
	       unsigned nin)
{
	uint32_t len = 0;
	int token;

	sg_send(g, idx, sg, nout, nin, &token);
	assert_ptr_equal(sg_get(g, idx, &len, SG_PATIENCE), &token);
	return len;
}

struct find_stat {
	const char *name;
	uint64_t value;
};

static void on_stat(void *arg, const char *name, uint64_t value)
{
	struct find_stat *find = arg;

	if (!strcmp(name, find->name))
		find->value = value;
}

uint64_t sg_stat(struct soft_guest *g, unsigned idx, const char *name)
{
	struct find_stat find = {name, UINT64_MAX};

	g->dev->config->get_vendor_vq_stats(g->dev, (uint16_t)idx, on_stat, &find, NULL);
	return find.value;
}

void sg_until_status(struct soft_guest *g, uint8_t bits)
{
	for (unsigned i = 0; i < SG_TRIES; i++) {
		if ((vdpa_get_status(g->dev) & bits) == bits)
			return;
		sg_run(g, SG_SECOND / 1000);
	}
	fail_msg("status 0x%02x never got 0x%02x", vdpa_get_status(g->dev), bits);
}

unsigned sg_open_fds(void)
{
	return open_fds();
}
