// SPDX-License-Identifier: BSD-3-Clause
/*
 * Bus driver "virtio-vdpa": a transport of the virtio bus whose operations are the vDPA config ops,
 * so that drivers in this process use a vDPA device. All memory is mapped into address space 0,
 * where every virtqueue group is after a reset.
 *
 * As in Linux, a device is used only with VERSION_1 and ACCESS_PLATFORM: its addresses are IOVAs.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "driver/virtio/device.h"

struct virtio_vdpa {
	struct virtio_device vd;
	struct vdpa_device *vdpa;
	struct vhost_iotlb
		map; /* what the device was given, when it wants the whole table at once */
	struct vdpa_done reset_done;
};

static struct virtio_vdpa *to_vdpa(struct virtio_device *dev)
{
	return vdpa_container_of(dev, struct virtio_vdpa, vd);
}

/* ---- configuration, status, features ---- */

static int vv_get(struct virtio_device *dev, unsigned offset, void *buf, unsigned len)
{
	return vdpa_get_config(to_vdpa(dev)->vdpa, offset, buf, len);
}

static int vv_set(struct virtio_device *dev, unsigned offset, const void *buf, unsigned len)
{
	return vdpa_set_config(to_vdpa(dev)->vdpa, offset, buf, len);
}

static uint32_t vv_generation(struct virtio_device *dev)
{
	return vdpa_get_generation(to_vdpa(dev)->vdpa);
}

static uint8_t vv_get_status(struct virtio_device *dev)
{
	return vdpa_get_status(to_vdpa(dev)->vdpa);
}

static int vv_set_status(struct virtio_device *dev, uint8_t status)
{
	return vdpa_set_status(to_vdpa(dev)->vdpa, status);
}

/* A parent forgets its callbacks when it is reset; one that was not may still call, for a queue
 * that is freed next. */
static void forget_vq_cbs(struct virtio_vdpa *vv)
{
	for (unsigned i = 0; i < vv->vdpa->nvqs; i++)
		vdpa_set_vq_cb(vv->vdpa, (uint16_t)i, NULL);
}

static void reset_over(void *arg, int result)
{
	struct virtio_vdpa *vv = arg;
	struct vdpa_done done = vv->reset_done;

	if (result)
		forget_vq_cbs(vv);
	vdpa_done_call(&done, result);
}

static int vv_reset(struct virtio_device *dev, const struct vdpa_done *done)
{
	struct virtio_vdpa *vv = to_vdpa(dev);
	int r;

	vv->reset_done = *done;
	r = vdpa_reset(vv->vdpa, &(struct vdpa_done){reset_over, vv});
	if (r)
		forget_vq_cbs(vv);
	return r;
}

static uint64_t vv_get_features(struct virtio_device *dev)
{
	return vdpa_get_device_features(to_vdpa(dev)->vdpa);
}

static void vv_config_changed(void *priv)
{
	virtio_config_changed(priv);
}

static int vv_finalize_features(struct virtio_device *dev, struct vdpa_error *err)
{
	int r;

	/* Offered, but the parent has no such doorbell: as Linux, go without. */
	if (!to_vdpa(dev)->vdpa->config->kick_vq_with_data)
		dev->features &= ~VDPA_BIT(VIRTIO_F_NOTIFICATION_DATA);
	if (!vdpa_has_ext(to_vdpa(dev)->vdpa, reset_vq))
		dev->features &= ~VDPA_BIT(VIRTIO_F_RING_RESET);

	if (!virtio_has_feature(dev, VIRTIO_F_VERSION_1))
		return vdpa_error_set(
			err, ENOTSUP, dev->name,
			"virtio-vdpa needs VERSION_1, which the device does not offer");
	if (!virtio_has_feature(dev, VIRTIO_F_ACCESS_PLATFORM))
		return vdpa_error_set(
			err, ENOTSUP, dev->name,
			"virtio-vdpa needs ACCESS_PLATFORM, which the device does not offer");
	r = vdpa_set_features(to_vdpa(dev)->vdpa, dev->features);
	if (r)
		return vdpa_error_set(err, -r, dev->name, "the device refuses features %#llx",
				      (unsigned long long)dev->features);
	vdpa_set_config_cb(
		to_vdpa(dev)->vdpa,
		&(struct vdpa_callback){.callback = vv_config_changed, .priv = dev, .trigger = -1});
	return 0;
}

/* ---- queues ---- */

static unsigned vv_num_vqs(struct virtio_device *dev)
{
	return to_vdpa(dev)->vdpa->nvqs;
}

static uint32_t vv_vq_num_max(struct virtio_device *dev, uint16_t index)
{
	struct vdpa_device *vdpa = to_vdpa(dev)->vdpa;
	uint32_t max = vdpa_get_vq_num_max(vdpa);

	if (vdpa->config->get_vq_size && vdpa->config->get_vq_size(vdpa, index))
		max = vdpa->config->get_vq_size(vdpa, index);
	return max;
}

static void vv_used(void *priv)
{
	virtio_vq_interrupt(priv);
}

static int vv_setup_vq(struct virtio_device *dev, struct virtio_vq *vq, struct vdpa_error *err)
{
	struct vdpa_device *vdpa = to_vdpa(dev)->vdpa;
	/* No callback: the device is told so, and need not think about interrupts. */
	struct vdpa_callback cb = {
		.callback = vq->callback ? vv_used : NULL,
		.priv = vq->callback ? vq : NULL,
		.trigger = -1,
	};
	struct vdpa_vq_state state = virtqueue_first_state(vq->ring);
	iova_t desc, driver, device;
	const char *step;
	int r;

	virtqueue_addrs(vq->ring, &desc, &driver, &device);
	step = "size";
	r = vdpa_set_vq_num(vdpa, vq->index, vq->num);
	if (!r) {
		step = "addresses";
		r = vdpa_set_vq_address(vdpa, vq->index, desc, driver, device);
	}
	if (!r) {
		step = "callback";
		r = vdpa_set_vq_cb(vdpa, vq->index, &cb);
	}
	if (!r) {
		step = "state";
		r = vdpa_set_vq_state(vdpa, vq->index, &state);
	}
	if (!r) {
		step = "ready";
		r = vdpa_set_vq_ready(vdpa, vq->index);
	}
	if (r)
		return vdpa_error_set(err, -r, dev->name, "queue %u: the device refuses its %s: %s",
				      vq->index, step, strerror(-r));
	return 0;
}

static bool vv_vq_ready(struct virtio_device *dev, uint16_t index)
{
	return vdpa_get_vq_ready(to_vdpa(dev)->vdpa, index);
}

static int vv_reset_vq(struct virtio_device *dev, struct virtio_vq *vq,
		       const struct vdpa_done *done)
{
	return vdpa_reset_vq(to_vdpa(dev)->vdpa, vq->index, done);
}

/* Virtio 1.3, section 2.9. */
static void vv_notify(struct virtio_device *dev, struct virtio_vq *vq)
{
	struct vdpa_device *vdpa = to_vdpa(dev)->vdpa;

	if (virtio_has_feature(dev, VIRTIO_F_NOTIFICATION_DATA))
		vdpa_kick_vq_with_data(vdpa, vq->index | (uint32_t)virtqueue_next_avail(vq->ring)
								 << 16);
	else
		vdpa_kick_vq(vdpa, vq->index);
}

/* ---- memory ---- */

static struct vdpa_iova_range vv_iova_range(struct virtio_device *dev)
{
	return vdpa_get_iova_range(to_vdpa(dev)->vdpa);
}

static uint64_t pages(const struct vdpa_region *region)
{
	return (vdpa_region_size(region) + 4095) & ~4095ull;
}

static void set_map_done(void *arg, int result)
{
	if (result)
		virtio_device_broken(arg, "the device does not take its memory map");
}

static int vv_map(struct virtio_device *dev, iova_t iova, struct vdpa_region *region)
{
	struct virtio_vdpa *vv = to_vdpa(dev);
	uint64_t size = vdpa_region_size(region), addr = vdpa_region_addr(region, 0);
	int r;

	if (vdpa_has_dma_map(vv->vdpa))
		return vdpa_dma_map(vv->vdpa, 0, iova, size, addr, VHOST_MAP_RW, region);
	if (!vdpa_has_set_map(vv->vdpa))
		return -EOPNOTSUPP;
	r = vhost_iotlb_add_range_ctx(&vv->map, iova, iova + size - 1, addr, VHOST_MAP_RW, region);
	if (r)
		return r;
	r = vdpa_set_map(vv->vdpa, 0, &vv->map, &(struct vdpa_done){set_map_done, dev});
	if (r)
		vhost_iotlb_del_range(&vv->map, iova, iova + pages(region) - 1, NULL, NULL);
	return r;
}

static int vv_unmap(struct virtio_device *dev, iova_t iova, struct vdpa_region *region,
		    const struct vdpa_done *done)
{
	struct virtio_vdpa *vv = to_vdpa(dev);
	uint64_t size = vdpa_region_size(region);
	int r;

	if (vdpa_has_dma_map(vv->vdpa))
		return vdpa_dma_unmap(vv->vdpa, 0, iova, size, done);
	r = vhost_iotlb_del_range(&vv->map, iova, iova + size - 1, NULL, NULL);
	if (r < 0)
		return r;
	return vdpa_set_map(vv->vdpa, 0, &vv->map, done);
}

/* ---- birth and end ---- */

static void vv_disconnect(struct virtio_device *dev)
{
	vdpa_set_config_cb(to_vdpa(dev)->vdpa, &(struct vdpa_callback){.trigger = -1});
}

static void vv_release(struct virtio_device *dev)
{
	struct virtio_vdpa *vv = to_vdpa(dev);

	vhost_iotlb_reset(&vv->map);
	if (vdpa_get_drvdata(vv->vdpa) == vv)
		vdpa_set_drvdata(vv->vdpa, NULL);
	vdpa_put_device(vv->vdpa);
	free(vv);
}

static const struct virtio_config_ops vv_ops = {
	.transport = "vdpa",
	.get = vv_get,
	.set = vv_set,
	.generation = vv_generation,
	.get_status = vv_get_status,
	.set_status = vv_set_status,
	.reset = vv_reset,
	.get_features = vv_get_features,
	.finalize_features = vv_finalize_features,
	.num_vqs = vv_num_vqs,
	.vq_num_max = vv_vq_num_max,
	.setup_vq = vv_setup_vq,
	.vq_ready = vv_vq_ready,
	.reset_vq = vv_reset_vq,
	.notify = vv_notify,
	.iova_range = vv_iova_range,
	.map = vv_map,
	.unmap = vv_unmap,
	.disconnect = vv_disconnect,
	.release = vv_release,
};

/* Attributes that are off: features that are not negotiated. The names are those of QEMU's devices.
 */
static const struct {
	const char *attr;
	unsigned bit;
	bool net; /* another meaning for other types */
} switches[] = {
	{"packed", VIRTIO_F_RING_PACKED, false},
	{"in_order", VIRTIO_F_IN_ORDER, false},
	{"event_idx", VIRTIO_RING_F_EVENT_IDX, false},
	{"indirect_desc", VIRTIO_RING_F_INDIRECT_DESC, false},
	{"mrg_rxbuf", VIRTIO_NET_F_MRG_RXBUF, true},
};

static uint64_t features_off(const struct vdpa_attr *attrs, uint32_t id)
{
	uint64_t off = 0;

	for (size_t i = 0; i < sizeof(switches) / sizeof(switches[0]); i++) {
		if (!vdpa_attr_bool(attrs, switches[i].attr, true) &&
		    (!switches[i].net || id == VIRTIO_ID_NET))
			off |= VDPA_BIT(switches[i].bit);
	}
	return off;
}

static void options(const struct vdpa_attr *attrs, uint32_t id, struct virtio_options *opts)
{
	const char *mode = vdpa_attr_get(attrs, "mode");

	*opts = (struct virtio_options){
		.size = sizeof(*opts),
		.queues = (unsigned)vdpa_attr_u64(attrs, "queues", 0),
		.queue_size = (uint32_t)vdpa_attr_u64(attrs, "queue_size", 0),
		.poll = mode && !strcmp(mode, "poll"),
		.features_off = features_off(attrs, id),
		.indirect_min = (uint32_t)vdpa_attr_u64(attrs, "indirect_min", 0),
		.piece_bytes = (uint32_t)vdpa_attr_u64(attrs, "piece_bytes", 0),
		.rx_buf_bytes = (uint32_t)vdpa_attr_u64(attrs, "rx_buf_bytes", 0),
	};
}

static int vv_probe(struct vdpa_device *vdpa, const struct vdpa_attr *attrs, struct vdpa_error *err)
{
	struct virtio_options opts;
	struct virtio_vdpa *vv;
	int r;

	if (!vdpa_has_dma_map(vdpa) && !vdpa_has_set_map(vdpa))
		return vdpa_error_set(err, EOPNOTSUPP, vdpa->name,
				      "the parent has no way to map memory of this process");
	vv = calloc(1, sizeof(*vv));
	if (!vv)
		return vdpa_error_set(err, ENOMEM, vdpa->name, "no memory");
	vv->vdpa = vdpa_get_device(vdpa);
	vhost_iotlb_init(&vv->map, 0, 0);
	virtio_device_init(&vv->vd, vdpa->ctx, &vv_ops, vdpa_get_device_id(vdpa));
	snprintf(vv->vd.bus_name, sizeof(vv->vd.bus_name), "vdpa/%s", vdpa->name);
	options(attrs, vv->vd.id, &opts);
	vdpa_set_drvdata(vdpa, vv);
	r = virtio_device_register(&vv->vd, &opts, err);
	if (r)
		vdpa_set_drvdata(vdpa, NULL);
	return r;
}

static void vv_remove(struct vdpa_device *vdpa, const struct vdpa_done *done)
{
	struct virtio_vdpa *vv = vdpa_get_drvdata(vdpa);

	virtio_device_unregister(&vv->vd, done);
}

static void vv_show(struct vdpa_device *vdpa, vdpa_emit_fn emit, void *arg)
{
	struct virtio_vdpa *vv = vdpa_get_drvdata(vdpa);

	if (vv)
		virtio_show(&vv->vd, emit, arg);
}

struct virtio_device *virtio_vdpa_device(const struct vdpa_device *vdpa)
{
	struct virtio_vdpa *vv;

	if (vdpa_device_driver(vdpa) != &virtio_vdpa_driver)
		return NULL;
	vv = vdpa_get_drvdata(vdpa);
	return vv ? &vv->vd : NULL;
}

static const char *const modes[] = {"callback", "poll", NULL};

static const struct vdpa_attr_spec vv_attrs[] = {
	{.name = "queues",
	 .type = VDPA_ATTR_U64,
	 .min = 1,
	 .max = 65535,
	 .help = "queues (block) that the driver uses; default 1"},
	{.name = "queue_size",
	 .type = VDPA_ATTR_U64,
	 .min = 1,
	 .max = 32768,
	 .help = "entries of each queue, of split rings a power of two; default: the device's, at "
		 "most 256"},
	{.name = "mode",
	 .type = VDPA_ATTR_ENUM,
	 .choices = modes,
	 .help = "how completions are found: callback (default) or poll"},
	{.name = "packed",
	 .type = VDPA_ATTR_BOOL,
	 .help = "off: split rings, whatever is offered (default on)"},
	{.name = "in_order",
	 .type = VDPA_ATTR_BOOL,
	 .help = "off: requests may end in any order (default on, if offered)"},
	{.name = "event_idx", .type = VDPA_ATTR_BOOL, .help = "off: no event index (default on)"},
	{.name = "indirect_desc",
	 .type = VDPA_ATTR_BOOL,
	 .help = "off: no indirect tables (default on)"},
	{.name = "mrg_rxbuf",
	 .type = VDPA_ATTR_BOOL,
	 .help = "off: a NIC receives each packet in one buffer (default on)"},
	{.name = "indirect_min",
	 .type = VDPA_ATTR_U64,
	 .min = 1,
	 .max = UINT32_MAX,
	 .help = "pieces from which on a request goes through an indirect table; default 2"},
	{.name = "piece_bytes",
	 .type = VDPA_ATTR_U64,
	 .min = 1,
	 .max = UINT32_MAX,
	 .help = "cut headers and frames into pieces of so many bytes, at most eight; default: one "
		 "piece"},
	{.name = "rx_buf_bytes",
	 .type = VDPA_ATTR_U64,
	 .min = 64,
	 .max = 65536,
	 .help = "a NIC's receive buffers when several make a packet; default 2048"},
	{0},
};

const struct vdpa_driver virtio_vdpa_driver = {
	.name = "virtio-vdpa",
	.help = "virtio drivers of this process",
	.attrs = vv_attrs,
	.probe = vv_probe,
	.remove = vv_remove,
	.show = vv_show,
};
