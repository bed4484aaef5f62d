// SPDX-License-Identifier: BSD-3-Clause
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "virtio_fake.h"
#include "base/list.h"

static struct fake *fake_of(struct vdpa_device *vdev)
{
	return vdpa_container_of(vdev, struct fake, vdpa);
}

/* ---- memory ---- */

void *fake_at(struct fake *dev, iova_t iova, uint64_t len)
{
	void *p = NULL;

	pthread_mutex_lock(&dev->maps_lock);
	for (unsigned i = 0; i < dev->nmaps; i++) {
		struct fake_map *m = &dev->maps[i];

		if (iova >= m->iova && iova - m->iova < m->size &&
		    len <= m->size - (iova - m->iova))
			p = (void *)(uintptr_t)(m->addr + (iova - m->iova));
	}
	if (!p)
		dev->faults++;
	pthread_mutex_unlock(&dev->maps_lock);
	return p;
}

static int fake_dma_map(struct vdpa_device *vdev, unsigned asid, iova_t iova, uint64_t size,
			uint64_t addr, uint32_t perm, void *opaque)
{
	struct fake *dev = fake_of(vdev);
	int r = dev->map_error;

	pthread_mutex_lock(&dev->maps_lock);
	if (!r && dev->nmaps == FAKE_MAPS)
		r = -ENOSPC;
	if (!r)
		dev->maps[dev->nmaps++] = (struct fake_map){iova, size, addr};
	pthread_mutex_unlock(&dev->maps_lock);
	return r;
}

static int fake_dma_unmap(struct vdpa_device *vdev, unsigned asid, iova_t iova, uint64_t size)
{
	struct fake *dev = fake_of(vdev);

	pthread_mutex_lock(&dev->maps_lock);
	for (unsigned i = 0; i < dev->nmaps; i++) {
		if (dev->maps[i].iova == iova && dev->maps[i].size == size)
			dev->maps[i--] = dev->maps[--dev->nmaps];
	}
	pthread_mutex_unlock(&dev->maps_lock);
	return 0;
}

static int fake_set_map(struct vdpa_device *vdev, unsigned asid, struct vhost_iotlb *iotlb)
{
	struct fake *dev = fake_of(vdev);
	const struct vhost_iotlb_map *m;

	if (dev->map_error)
		return dev->map_error;
	pthread_mutex_lock(&dev->maps_lock);
	dev->nmaps = 0;
	for (m = vhost_iotlb_itree_first(iotlb, 0, UINT64_MAX); m;
	     m = vhost_iotlb_itree_next(iotlb, m, 0, UINT64_MAX))
		dev->maps[dev->nmaps++] =
			(struct fake_map){m->start, m->last - m->start + 1, m->addr};
	pthread_mutex_unlock(&dev->maps_lock);
	return 0;
}

/* ---- rings ---- */

void fake_push(struct fake *dev, struct fake_vq *vq, uint32_t id, uint32_t len)
{
	struct vring_used *used = fake_at(dev, vq->device, 4 + 8ull * vq->num);

	if (!used)
		return;
	used->ring[vq->used % vq->num] = (struct vring_used_elem){id, len};
	__atomic_store_n(&used->idx, ++vq->used, __ATOMIC_RELEASE);
}

void fake_call(struct fake_vq *vq)
{
	if (vq->cb.callback)
		vq->cb.callback(vq->cb.priv);
}

static void walk(struct fake *dev, iova_t table, unsigned i, struct fake_req *req)
{
	struct vring_desc *d;

	do {
		d = fake_at(dev, table + 16ull * i, 16);
		if (!d)
			return;
		if (d->flags & VRING_DESC_F_INDIRECT) {
			walk(dev, d->addr, 0, req);
			return;
		}
		if (d->flags & VRING_DESC_F_WRITE)
			req->in[req->nin++] = (struct iovec){fake_at(dev, d->addr, d->len), d->len};
		else
			req->out[req->nout++] =
				(struct iovec){fake_at(dev, d->addr, d->len), d->len};
		i = d->next;
	} while (d->flags & VRING_DESC_F_NEXT);
}

static void serve(struct fake *dev, struct fake_vq *vq)
{
	struct fake_req req;
	struct vring_avail *avail = fake_at(dev, vq->driver, 6 + 2ull * vq->num);
	bool any = false;
	uint16_t end;

	if (!avail)
		return;
	/* No further: what comes meanwhile is kicked for, and other queues have their turn first.
	 */
	end = __atomic_load_n(&avail->idx, __ATOMIC_ACQUIRE);
	while (vq->ready && vq->avail != end) {
		int64_t len;

		req.head = avail->ring[vq->avail % vq->num];
		vq->avail++;
		req.nout = req.nin = 0;
		walk(dev, vq->desc, req.head, &req);
		len = dev->handle(dev, vq, &req);
		if (len < 0)
			continue;
		fake_push(dev, vq, req.head, (uint32_t)len);
		any = true;
	}
	if (any)
		fake_call(vq);
}

static void served(struct vdpa_loop_msg *msg)
{
	struct fake_vq *vq = vdpa_container_of(msg, struct fake_vq, msg);
	struct fake *dev = vq->dev;

	atomic_store(&vq->posted, false);
	if (vq->ready && dev->handle)
		serve(dev, vq);
}

static struct vdpa_loop *loop_of(struct fake *dev)
{
	return vdpa_loop_group_worker(vdpa_ctx_loops(dev->vdpa.ctx), 0);
}

static void fake_kick(struct vdpa_device *vdev, uint16_t idx)
{
	struct fake *dev = fake_of(vdev);
	struct fake_vq *vq = &dev->vqs[idx];

	atomic_fetch_add(&vq->kicks, 1);
	if (!atomic_exchange(&vq->posted, true))
		vdpa_loop_post(loop_of(dev), &vq->msg, served);
}

static void fake_kick_with_data(struct vdpa_device *vdev, uint32_t data)
{
	atomic_store(&fake_of(vdev)->kick_data, data);
	fake_kick(vdev, (uint16_t)data);
}

static int fake_address(struct vdpa_device *vdev, uint16_t idx, iova_t desc, iova_t driver,
			iova_t device)
{
	struct fake_vq *vq = &fake_of(vdev)->vqs[idx];

	vq->desc = desc;
	vq->driver = driver;
	vq->device = device;
	return fake_of(vdev)->vq_error;
}

static void fake_num(struct vdpa_device *vdev, uint16_t idx, uint32_t num)
{
	fake_of(vdev)->vqs[idx].num = num;
}

static void fake_cb(struct vdpa_device *vdev, uint16_t idx, const struct vdpa_callback *cb)
{
	fake_of(vdev)->vqs[idx].cb = *cb;
}

static void fake_set_ready(struct vdpa_device *vdev, uint16_t idx, bool ready)
{
	fake_of(vdev)->vqs[idx].ready = ready;
}

static bool fake_get_ready(struct vdpa_device *vdev, uint16_t idx)
{
	return fake_of(vdev)->vqs[idx].ready;
}

static int fake_set_state(struct vdpa_device *vdev, uint16_t idx, const struct vdpa_vq_state *state)
{
	fake_of(vdev)->vqs[idx].avail = state->split.avail_index;
	return 0;
}

static int fake_get_state(struct vdpa_device *vdev, uint16_t idx, struct vdpa_vq_state *state)
{
	state->split.avail_index = fake_of(vdev)->vqs[idx].avail;
	return 0;
}

/* ---- device ---- */

static uint32_t fake_align(struct vdpa_device *vdev)
{
	return 4096;
}

static uint64_t fake_features(struct vdpa_device *vdev)
{
	return fake_of(vdev)->features;
}

static int fake_set_features(struct vdpa_device *vdev, uint64_t features)
{
	fake_of(vdev)->driver_features = features;
	return 0;
}

static uint64_t fake_driver_features(struct vdpa_device *vdev)
{
	return fake_of(vdev)->driver_features;
}

static void fake_config_cb(struct vdpa_device *vdev, const struct vdpa_callback *cb)
{
	fake_of(vdev)->config_cb = *cb;
}

static uint16_t fake_num_max(struct vdpa_device *vdev)
{
	return 64;
}

static uint32_t fake_id(struct vdpa_device *vdev)
{
	return fake_of(vdev)->id;
}

static uint32_t fake_vendor(struct vdpa_device *vdev)
{
	return 0x1af4;
}

static uint8_t fake_status(struct vdpa_device *vdev)
{
	return fake_of(vdev)->status;
}

static void fake_set_status(struct vdpa_device *vdev, uint8_t status)
{
	struct fake *dev = fake_of(vdev);

	if (dev->refuse_features_ok)
		status &= (uint8_t)~VIRTIO_CONFIG_S_FEATURES_OK;
	dev->status = status;
}

static int fake_reset(struct vdpa_device *vdev)
{
	struct fake *dev = fake_of(vdev);

	if (dev->reset_error)
		return dev->reset_error;
	dev->status = 0;
	dev->driver_features = 0;
	dev->generation++;
	dev->resets++;
	for (unsigned i = 0; i < FAKE_VQS; i++) {
		struct fake_vq *vq = &dev->vqs[i];

		vq->ready = false;
		vq->avail = vq->used = 0;
		vq->num = 0;
		vq->cb = (struct vdpa_callback){.trigger = -1};
	}
	return 0;
}

/* The rings belong to the worker: stop them there, then finish here. */
struct later {
	struct vdpa_loop_msg msg;
	struct fake *dev;
	struct vdpa_done done;
	iova_t iova;
	uint64_t size;
	bool reset;
	int result;
};

static void later_end(struct vdpa_loop_msg *msg)
{
	struct later *l = vdpa_container_of(msg, struct later, msg);
	struct vdpa_done done = l->done;
	int result = l->result;

	if (!l->reset)
		fake_dma_unmap(&l->dev->vdpa, 0, l->iova, l->size);
	free(l);
	vdpa_done_call(&done, result);
}

static void later_worker(struct vdpa_loop_msg *msg)
{
	struct later *l = vdpa_container_of(msg, struct later, msg);

	if (l->reset)
		l->result = fake_reset(&l->dev->vdpa);
	vdpa_loop_post(vdpa_ctx_control(l->dev->vdpa.ctx), &l->msg, later_end);
}

static int later(struct later what)
{
	struct later *l = malloc(sizeof(*l));

	if (!l)
		return -ENOMEM;
	*l = what;
	vdpa_loop_post(loop_of(l->dev), &l->msg, later_worker);
	return 0;
}

static int fake_ext_reset(struct vdpa_device *vdev, const struct vdpa_done *done)
{
	return later((struct later){.dev = fake_of(vdev), .done = *done, .reset = true});
}

static int fake_ext_unmap(struct vdpa_device *vdev, unsigned asid, iova_t iova, uint64_t size,
			  const struct vdpa_done *done)
{
	return later(
		(struct later){.dev = fake_of(vdev), .done = *done, .iova = iova, .size = size});
}

static size_t fake_config_size(struct vdpa_device *vdev)
{
	return fake_of(vdev)->config_size;
}

static void fake_get_config(struct vdpa_device *vdev, unsigned offset, void *buf, unsigned len)
{
	if (len)
		memcpy(buf, fake_of(vdev)->config + offset, len);
}

static void fake_set_config(struct vdpa_device *vdev, unsigned offset, const void *buf,
			    unsigned len)
{
	memcpy(fake_of(vdev)->config + offset, buf, len);
}

static uint32_t fake_generation(struct vdpa_device *vdev)
{
	struct fake *dev = fake_of(vdev);

	return dev->generation_spins ? dev->generation++ : dev->generation;
}

static void fake_free(struct vdpa_device *vdev)
{
	pthread_mutex_destroy(&fake_of(vdev)->maps_lock);
	free(fake_of(vdev)->disk);
}

#define FAKE_OPS                                                                                   \
	.set_vq_address = fake_address, .set_vq_num = fake_num, .kick_vq = fake_kick,              \
	.kick_vq_with_data = fake_kick_with_data, .set_vq_cb = fake_cb,                            \
	.set_vq_ready = fake_set_ready, .get_vq_ready = fake_get_ready,                            \
	.set_vq_state = fake_set_state, .get_vq_state = fake_get_state,                            \
	.get_vq_align = fake_align, .get_device_features = fake_features,                          \
	.set_driver_features = fake_set_features, .get_driver_features = fake_driver_features,     \
	.set_config_cb = fake_config_cb, .get_vq_num_max = fake_num_max, .get_device_id = fake_id, \
	.get_vendor_id = fake_vendor, .get_status = fake_status, .set_status = fake_set_status,    \
	.reset = fake_reset, .get_config_size = fake_config_size, .get_config = fake_get_config,   \
	.set_config = fake_set_config, .get_generation = fake_generation, .free = fake_free

static const struct vdpa_config_ops ops_dma_map = {
	FAKE_OPS,
	.dma_map = fake_dma_map,
	.dma_unmap = fake_dma_unmap,
};
static const struct vdpa_config_ops ops_set_map = {FAKE_OPS, .set_map = fake_set_map};
static const struct vdpa_config_ops ops_no_dma = {FAKE_OPS};

static const struct vdpa_ext_ops ext_async = {
	.size = sizeof(ext_async),
	.reset = fake_ext_reset,
	.dma_unmap = fake_ext_unmap,
};
static const struct vdpa_ext_ops ext_async_set_map = {
	.size = sizeof(ext_async_set_map),
	.reset = fake_ext_reset,
};

struct fake *fake_new(struct vdpa_ctx *ctx, const char *name, const struct fake_opts *opts)
{
	const struct vdpa_config_ops *ops = opts->no_dma    ? &ops_no_dma
					    : opts->set_map ? &ops_set_map
							    : &ops_dma_map;
	struct fake *dev =
		vdpa_alloc_device(ctx, struct fake, vdpa, ops, "fake", 1, 1, name, false, NULL);

	assert_non_null(dev);
	pthread_mutex_init(&dev->maps_lock, NULL);
	dev->id = opts->id;
	dev->features = opts->features;
	dev->config_size = 64;
	if (opts->async)
		dev->vdpa.ext = opts->set_map ? &ext_async_set_map : &ext_async;
	for (uint16_t i = 0; i < FAKE_VQS; i++) {
		dev->vqs[i].dev = dev;
		dev->vqs[i].idx = i;
		dev->vqs[i].cb.trigger = -1;
	}
	assert_int_equal(vdpa_register_device(&dev->vdpa, opts->nvqs ? opts->nvqs : 1, NULL), 0);
	return dev;
}

static void note(void *arg, int result)
{
	*(bool *)arg = true;
}

/* Kicks that were posted refer to the device: they run first. */
void fake_del(struct fake *dev)
{
	struct vdpa_ctx *ctx = dev->vdpa.ctx;
	bool gone = false;

	for (unsigned i = 0; i < FAKE_VQS; i++)
		fake_until(ctx, !atomic_load(&dev->vqs[i].posted));
	assert_int_equal(vdpa_unregister_device(&dev->vdpa, &(struct vdpa_done){note, &gone}), 0);
	fake_until(ctx, gone);
}

/* ---- the honest disk ---- */

static uint8_t disk_io(struct fake *dev, struct fake_req *req, uint64_t sector, bool write)
{
	struct iovec *iov = write ? req->out + 1 : req->in;
	unsigned n = write ? req->nout - 1 : req->nin - 1;
	uint64_t off = sector * 512;

	for (unsigned i = 0; i < n; i++) {
		if (off + iov[i].iov_len > dev->disk_bytes)
			return VIRTIO_BLK_S_IOERR;
		if (write)
			memcpy((char *)dev->disk + off, iov[i].iov_base, iov[i].iov_len);
		else
			memcpy(iov[i].iov_base, (char *)dev->disk + off, iov[i].iov_len);
		off += iov[i].iov_len;
	}
	return VIRTIO_BLK_S_OK;
}

int64_t fake_disk(struct fake *dev, struct fake_vq *vq, struct fake_req *req)
{
	struct virtio_blk_outhdr *hdr = req->out[0].iov_base;
	struct virtio_blk_discard_write_zeroes *range;
	uint8_t *status = req->in[req->nin - 1].iov_base;
	int64_t len = 1;

	*status = VIRTIO_BLK_S_OK;
	switch (hdr->type) {
	case VIRTIO_BLK_T_IN:
		*status = disk_io(dev, req, hdr->sector, false);
		for (unsigned i = 0; i + 1 < req->nin; i++)
			len += (int64_t)req->in[i].iov_len;
		break;
	case VIRTIO_BLK_T_OUT:
		*status = disk_io(dev, req, hdr->sector, true);
		break;
	case VIRTIO_BLK_T_FLUSH:
		break;
	case VIRTIO_BLK_T_GET_ID:
		strncpy(req->in[0].iov_base, "fake disk", 20);
		len = 21;
		break;
	case VIRTIO_BLK_T_DISCARD:
	case VIRTIO_BLK_T_WRITE_ZEROES:
		range = req->out[1].iov_base;
		memset((char *)dev->disk + range->sector * 512, 0, range->num_sectors * 512ull);
		break;
	default:
		*status = VIRTIO_BLK_S_UNSUPP;
	}
	return len;
}

struct fake *fake_disk_new(struct vdpa_ctx *ctx, const char *name, struct fake_opts opts)
{
	struct virtio_blk_config config = {
		.capacity = 2048,
		.seg_max = 16,
		.blk_size = 4096,
		.num_queues = 2,
		.max_discard_sectors = 64,
		.max_discard_seg = 1,
		.max_write_zeroes_sectors = 64,
		.max_write_zeroes_seg = 1,
	};
	struct fake *dev;

	opts.id = VIRTIO_ID_BLOCK;
	opts.nvqs = opts.nvqs ? opts.nvqs : 2;
	opts.features |= FAKE_BASE_FEATURES | FAKE_DISK_FEATURES;
	dev = fake_new(ctx, name, &opts);
	memcpy(dev->config, &config, sizeof(config));
	dev->disk_bytes = 2048 * 512;
	dev->disk = calloc(1, dev->disk_bytes);
	assert_non_null(dev->disk);
	dev->handle = fake_disk;
	return dev;
}

struct virtio_device *fake_bind(struct fake *dev, const struct vdpa_attr *attrs)
{
	struct vdpa_error err = {0};
	int r = vdpa_bind(&dev->vdpa, "virtio-vdpa", attrs, &err);

	if (r)
		print_message("bind: %d %s\n", r, err.msg);
	assert_int_equal(r, 0);
	return virtio_vdpa_device(&dev->vdpa);
}

void fake_unbind(struct fake *dev)
{
	bool done = false;

	assert_int_equal(vdpa_unbind(&dev->vdpa, &(struct vdpa_done){note, &done}), 0);
	fake_until(dev->vdpa.ctx, done);
}
