// SPDX-License-Identifier: BSD-3-Clause
#include "mock.h"

struct mock_driver_state mock_driver_state;

static int op_set_vq_address(struct vdpa_device *v, uint16_t i, iova_t a, iova_t b, iova_t c)
{
	return to_mock(v)->fail;
}

static void op_set_vq_num(struct vdpa_device *v, uint16_t i, uint32_t num)
{
	to_mock(v)->last_num = num;
}

static void op_kick_vq(struct vdpa_device *v, uint16_t i)
{
	to_mock(v)->kicks++;
}

static void op_kick_vq_with_data(struct vdpa_device *v, uint32_t data)
{
	to_mock(v)->kicks += 100;
}

static void op_set_vq_cb(struct vdpa_device *v, uint16_t i, const struct vdpa_callback *cb)
{
	to_mock(v)->cb = *cb;
}

static void op_set_vq_ready(struct vdpa_device *v, uint16_t i, bool ready)
{
	to_mock(v)->ready[i] = ready;
}

static bool op_get_vq_ready(struct vdpa_device *v, uint16_t i)
{
	return to_mock(v)->ready[i];
}

static int op_set_vq_state(struct vdpa_device *v, uint16_t i, const struct vdpa_vq_state *s)
{
	to_mock(v)->state[i] = *s;
	return to_mock(v)->fail;
}

static int op_get_vq_state(struct vdpa_device *v, uint16_t i, struct vdpa_vq_state *s)
{
	*s = to_mock(v)->state[i];
	return to_mock(v)->fail;
}

static int op_get_vendor_vq_stats(struct vdpa_device *v, uint16_t i, vdpa_stat_fn emit, void *arg,
				  struct vdpa_error *err)
{
	emit(arg, "requests", i);
	return to_mock(v)->fail;
}

static struct vdpa_notification_area op_get_vq_notification(struct vdpa_device *v, uint16_t i)
{
	return (struct vdpa_notification_area){.addr = 4096, .size = 4096};
}

static uint16_t op_get_vq_size(struct vdpa_device *v, uint16_t i)
{
	return (uint16_t)(16 << i);
}

static uint32_t op_get_vq_align(struct vdpa_device *v)
{
	return 4096;
}

static uint32_t op_get_vq_group(struct vdpa_device *v, uint16_t i)
{
	return i == MOCK_VQS - 1;
}

static uint32_t op_get_vq_desc_group(struct vdpa_device *v, uint16_t i)
{
	return 2;
}

static uint64_t op_get_device_features(struct vdpa_device *v)
{
	return to_mock(v)->offered;
}

static uint64_t op_get_backend_features(struct vdpa_device *v)
{
	return 0x55;
}

static int op_set_driver_features(struct vdpa_device *v, uint64_t features)
{
	to_mock(v)->set_features_calls++;
	if (to_mock(v)->fail)
		return to_mock(v)->fail;
	to_mock(v)->driver_features = features;
	return 0;
}

static uint64_t op_get_driver_features(struct vdpa_device *v)
{
	return to_mock(v)->driver_features;
}

static void op_set_config_cb(struct vdpa_device *v, const struct vdpa_callback *cb)
{
	to_mock(v)->cb = *cb;
}

static uint16_t op_get_vq_num_max(struct vdpa_device *v)
{
	return 256;
}

static uint16_t op_get_vq_num_min(struct vdpa_device *v)
{
	return 4;
}

static uint32_t op_get_device_id(struct vdpa_device *v)
{
	return VIRTIO_ID_NET;
}

static uint32_t op_get_vendor_id(struct vdpa_device *v)
{
	return 0x1af4;
}

static uint8_t op_get_status(struct vdpa_device *v)
{
	return to_mock(v)->status;
}

static void op_set_status(struct vdpa_device *v, uint8_t status)
{
	to_mock(v)->status = status;
}

static int op_reset(struct vdpa_device *v)
{
	to_mock(v)->resets++;
	to_mock(v)->status = 0;
	to_mock(v)->driver_features = 0;
	return to_mock(v)->fail;
}

static int op_compat_reset(struct vdpa_device *v, uint32_t flags)
{
	return to_mock(v)->fail;
}

static int op_plain(struct vdpa_device *v)
{
	return to_mock(v)->fail;
}

static size_t op_get_config_size(struct vdpa_device *v)
{
	return MOCK_CONFIG_BYTES;
}

/* Fills one byte less than it was asked for, as a sloppy parent would. */
static void op_get_config(struct vdpa_device *v, unsigned offset, void *buf, unsigned len)
{
	assert_true(offset + len <= MOCK_CONFIG_BYTES);
	memcpy(buf, to_mock(v)->config + offset, len - 1);
}

static void op_set_config(struct vdpa_device *v, unsigned offset, const void *buf, unsigned len)
{
	assert_true(offset + len <= MOCK_CONFIG_BYTES);
	memcpy(to_mock(v)->config + offset, buf, len);
}

static uint32_t op_get_generation(struct vdpa_device *v)
{
	struct mock *m = to_mock(v);

	if (m->generation_moves) {
		m->generation_moves--;
		m->generation++;
		m->config[0]++;
	}
	return m->generation;
}

static struct vdpa_iova_range op_get_iova_range(struct vdpa_device *v)
{
	return (struct vdpa_iova_range){.first = 0x1000, .last = 0xffffffff};
}

static int op_set_vq_affinity(struct vdpa_device *v, uint16_t i, const struct vdpa_cpumask *mask)
{
	return to_mock(v)->fail;
}

static const struct vdpa_cpumask *op_get_vq_affinity(struct vdpa_device *v, uint16_t i)
{
	return NULL;
}

static int op_set_map(struct vdpa_device *v, unsigned asid, struct vhost_iotlb *iotlb)
{
	to_mock(v)->map_calls++;
	return to_mock(v)->fail;
}

static int op_dma_map(struct vdpa_device *v, unsigned asid, iova_t iova, uint64_t size,
		      uint64_t addr, uint32_t perm, void *opaque)
{
	to_mock(v)->map_calls++;
	return to_mock(v)->fail;
}

static int op_dma_unmap(struct vdpa_device *v, unsigned asid, iova_t iova, uint64_t size)
{
	to_mock(v)->unmapped = (struct vdpa_iova_range){iova, iova + (size - 1)};
	to_mock(v)->map_calls++;
	return to_mock(v)->fail;
}

static int op_reset_map(struct vdpa_device *v, unsigned asid)
{
	to_mock(v)->map_calls++;
	return to_mock(v)->fail;
}

static int op_set_group_asid(struct vdpa_device *v, unsigned group, unsigned asid)
{
	to_mock(v)->map_calls++;
	return to_mock(v)->fail;
}

static void op_free(struct vdpa_device *v)
{
	if (to_mock(v)->freed)
		(*to_mock(v)->freed)++;
}

#define MANDATORY                                                                                  \
	.set_vq_address = op_set_vq_address, .set_vq_num = op_set_vq_num, .kick_vq = op_kick_vq,   \
	.set_vq_cb = op_set_vq_cb, .set_vq_ready = op_set_vq_ready,                                \
	.get_vq_ready = op_get_vq_ready, .set_vq_state = op_set_vq_state,                          \
	.get_vq_state = op_get_vq_state, .get_vq_align = op_get_vq_align,                          \
	.get_device_features = op_get_device_features,                                             \
	.set_driver_features = op_set_driver_features,                                             \
	.get_driver_features = op_get_driver_features, .set_config_cb = op_set_config_cb,          \
	.get_vq_num_max = op_get_vq_num_max, .get_device_id = op_get_device_id,                    \
	.get_vendor_id = op_get_vendor_id, .get_status = op_get_status,                            \
	.set_status = op_set_status, .reset = op_reset, .get_config_size = op_get_config_size,     \
	.get_config = op_get_config, .set_config = op_set_config, .free = op_free

#define OPTIONAL                                                                                   \
	.kick_vq_with_data = op_kick_vq_with_data, .get_vendor_vq_stats = op_get_vendor_vq_stats,  \
	.get_vq_notification = op_get_vq_notification, .get_vq_size = op_get_vq_size,              \
	.get_vq_group = op_get_vq_group, .get_vq_desc_group = op_get_vq_desc_group,                \
	.get_backend_features = op_get_backend_features, .get_vq_num_min = op_get_vq_num_min,      \
	.compat_reset = op_compat_reset, .suspend = op_plain, .resume = op_plain,                  \
	.get_generation = op_get_generation, .get_iova_range = op_get_iova_range,                  \
	.set_vq_affinity = op_set_vq_affinity, .get_vq_affinity = op_get_vq_affinity,              \
	.reset_map = op_reset_map, .set_group_asid = op_set_group_asid

const struct vdpa_config_ops mock_ops = {
	MANDATORY,
	OPTIONAL,
	.dma_map = op_dma_map,
	.dma_unmap = op_dma_unmap,
};

const struct vdpa_config_ops mock_set_map_ops = {MANDATORY, OPTIONAL, .set_map = op_set_map};

const struct vdpa_config_ops mock_bare_ops = {MANDATORY};

static int hold(struct vdpa_device *v, const struct vdpa_done *done)
{
	if (to_mock(v)->fail)
		return to_mock(v)->fail;
	if (to_mock(v)->at_once) {
		vdpa_done_call(done, 0);
		return 0;
	}
	to_mock(v)->pending = done ? *done : (struct vdpa_done){0};
	return 0;
}

static int ext_vq(struct vdpa_device *v, uint16_t idx, const struct vdpa_done *done)
{
	return hold(v, done);
}

static int ext_set_map(struct vdpa_device *v, unsigned asid, struct vhost_iotlb *iotlb,
		       const struct vdpa_done *done)
{
	return hold(v, done);
}

static int ext_dma_unmap(struct vdpa_device *v, unsigned asid, iova_t iova, uint64_t size,
			 const struct vdpa_done *done)
{
	return hold(v, done);
}

static int ext_reset_map(struct vdpa_device *v, unsigned asid, const struct vdpa_done *done)
{
	return hold(v, done);
}

static int ext_set_vq_kick(struct vdpa_device *v, uint16_t idx, int fd)
{
	return fd;
}

static int ext_set_vq_err(struct vdpa_device *v, uint16_t idx, const struct vdpa_callback *cb)
{
	to_mock(v)->cb = *cb;
	return 0;
}

static int ext_set_vq_inflight(struct vdpa_device *v, uint16_t idx, void *area, size_t bytes)
{
	return (int)bytes;
}

static int ext_set_miss(struct vdpa_device *v, unsigned asid, vdpa_as_miss_fn fn, void *arg)
{
	return 0;
}

static bool ext_miss_settled(struct vdpa_device *v, unsigned asid, iova_t iova, uint32_t perm)
{
	return iova == 0x1000 && perm == VHOST_MAP_RO;
}

static int ext_set_dirty_log(struct vdpa_device *v, struct vdpa_dirty_log *log,
			     const struct vdpa_done *done)
{
	return hold(v, done);
}

static int ext_announce(struct vdpa_device *v, const uint8_t mac[6])
{
	return mac[5];
}

const struct vdpa_ext_ops mock_async_ops = {
	.size = sizeof(struct vdpa_ext_ops),
	.stop_vq = ext_vq,
	.reset = hold,
	.suspend = hold,
	.set_map = ext_set_map,
	.dma_unmap = ext_dma_unmap,
	.reset_map = ext_reset_map,
	.reset_vq = ext_vq,
	.set_vq_kick = ext_set_vq_kick,
	.set_vq_err = ext_set_vq_err,
	.set_vq_inflight = ext_set_vq_inflight,
	.set_miss = ext_set_miss,
	.miss_settled = ext_miss_settled,
	.set_dirty_log = ext_set_dirty_log,
	.announce = ext_announce,
};

void mock_complete(struct mock *m, int result)
{
	struct vdpa_done done = m->pending;

	m->pending = (struct vdpa_done){0};
	vdpa_done_call(&done, result);
}

struct mock *mock_new(struct vdpa_ctx *ctx, const char *name, const struct vdpa_config_ops *ops)
{
	struct vdpa_error err;
	struct mock *m =
		vdpa_alloc_device(ctx, struct mock, vdpa, ops, "mock", 2, 2, name, false, &err);

	if (!m)
		return NULL;
	m->offered = 0xff | VDPA_BIT(VIRTIO_F_VERSION_1) | VDPA_BIT(VIRTIO_F_RING_PACKED);
	return m;
}

struct mock *mock_add(struct vdpa_ctx *ctx, const char *name)
{
	struct mock *m = mock_new(ctx, name, &mock_ops);
	struct vdpa_error err;

	assert_non_null(m);
	assert_int_equal(vdpa_register_device(&m->vdpa, MOCK_VQS, &err), 0);
	return m;
}

static bool drv_match(const struct vdpa_device *vdev, struct vdpa_error *err)
{
	if (mock_driver_state.refuse)
		vdpa_error_set(err, ENXIO, NULL, "not my kind");
	return !mock_driver_state.refuse;
}

static int drv_probe(struct vdpa_device *vdev, const struct vdpa_attr *attrs,
		     struct vdpa_error *err)
{
	mock_driver_state.probes++;
	if (mock_driver_state.probe_result)
		return mock_driver_state.probe_result;
	mock_driver_state.attrs = attrs;
	vdpa_set_drvdata(vdev, &mock_driver_state);
	return 0;
}

static void drv_remove(struct vdpa_device *vdev, const struct vdpa_done *done)
{
	assert_ptr_equal(vdpa_get_drvdata(vdev), &mock_driver_state);
	mock_driver_state.removes++;
	if (mock_driver_state.hold)
		mock_driver_state.held = *done;
	else
		vdpa_done_call(done, 0);
}

void mock_driver_reset(void)
{
	memset(&mock_driver_state, 0, sizeof(mock_driver_state));
}

void mock_driver_let_go(int result)
{
	struct vdpa_done done = mock_driver_state.held;

	mock_driver_state.held = (struct vdpa_done){0};
	vdpa_done_call(&done, result);
}

static const struct vdpa_attr_spec drv_attrs[] = {
	{.name = "path", .type = VDPA_ATTR_PATH},
	{.name = NULL},
};

const struct vdpa_driver mock_driver = {
	.name = "mock-driver",
	.attrs = drv_attrs,
	.match = drv_match,
	.probe = drv_probe,
	.remove = drv_remove,
};

const struct vdpa_driver mock_auto_driver = {
	.name = "mock-auto",
	.match = drv_match,
	.probe = drv_probe,
	.remove = drv_remove,
	.autoprobe = true,
};

const struct vdpa_driver mock_auto_driver2 = {
	.name = "mock-auto2",
	.probe = drv_probe,
	.remove = drv_remove,
	.autoprobe = true,
};

static void count(void *arg, int result)
{
	struct counted_done *c = arg;

	c->calls++;
	c->result = result;
}

struct vdpa_done counted_done(struct counted_done *c)
{
	c->calls = 0;
	c->result = 1;
	return (struct vdpa_done){.fn = count, .arg = c};
}

static void on_event(struct vdpa_subscriber *sub, const struct vdpa_event *event)
{
	struct event_log *log =
		(struct event_log *)(void *)((char *)sub - offsetof(struct event_log, sub));
	const char letter[2] = {"ADBUCX"[event->type], '\0'};

	strncat(log->trace, letter, sizeof(log->trace) - strlen(log->trace) - 1);
	snprintf(log->last_name, sizeof(log->last_name), "%s", event->vdev->name);
}

void event_log_start(struct vdpa_ctx *ctx, struct event_log *log)
{
	memset(log, 0, sizeof(*log));
	log->sub.fn = on_event;
	vdpa_subscribe(ctx, &log->sub);
}

struct vdpa_ctx *mock_ctx(void)
{
	struct vdpa_ctx *ctx = NULL;

	assert_int_equal(vdpa_ctx_new(NULL, &ctx), 0);
	mock_driver_reset();
	return ctx;
}
