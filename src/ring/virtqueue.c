// SPDX-License-Identifier: BSD-3-Clause
/*
 * The driver's end of a ring: what the formats share. See virtqueue_impl.h for the parts, and for
 * who attacks.
 */
#include <stdlib.h>

#include "ring/virtqueue_impl.h"

static bool is_packed(uint64_t features)
{
	return features & VDPA_BIT(VIRTIO_F_RING_PACKED);
}

static void layout(uint32_t num, uint64_t features, struct vq_layout *l)
{
	if (is_packed(features))
		vq_packed_layout(num, l);
	else
		vq_split_layout(num, l);
}

static uint32_t table_entries(uint32_t num, uint64_t features)
{
	if (!(features & VDPA_BIT(VIRTIO_RING_F_INDIRECT_DESC)))
		return 0;
	return num < VQ_INDIRECT_MAX ? num : VQ_INDIRECT_MAX;
}

size_t virtqueue_mem_bytes(uint32_t num, uint64_t features)
{
	size_t tables = (size_t)num * table_entries(num, features) * sizeof(struct guest_desc);
	struct vq_layout l;

	layout(num, features, &l);
	return vq_align(l.tables + tables, VQ_PAGE);
}

/* ---- birth ---- */

static int check(const struct virtqueue_config *config)
{
	uint32_t num = config->num;

	if (config->size != sizeof(*config) || !config->mem || ((uintptr_t)config->mem & 63))
		return -EINVAL;
	if (num == 0 || num > VQ_MAX_NUM)
		return -EINVAL;
	/* 2.7: a power of two. 2.8.10.1: any. */
	return (num & (num - 1)) && !is_packed(config->features) ? -EINVAL : 0;
}

int virtqueue_new(const struct virtqueue_config *config, struct virtqueue **out)
{
	uint64_t features = config->features;
	struct vq_layout l;
	struct virtqueue *vq;
	int rc = check(config);

	if (rc)
		return rc;
	vq = calloc(1, sizeof(*vq) + config->num * sizeof(vq->req[0]));
	if (!vq)
		return -ENOMEM;
	layout(config->num, features, &l);
	vq->num = config->num;
	vq->ntable = table_entries(config->num, features);
	vq->indirect_min = config->indirect_min > 1 ? config->indirect_min : 2;
	vq->packed = is_packed(features);
	vq->in_order = features & VDPA_BIT(VIRTIO_F_IN_ORDER);
	vq->event_idx = features & VDPA_BIT(VIRTIO_RING_F_EVENT_IDX);
	vq->modern = features & VDPA_BIT(VIRTIO_F_VERSION_1);
	vq->native = !vq->modern;
	vq->want_cb = true;
	vq->mem = config->mem;
	vq->mem_iova = config->mem_iova;
	vq->desc = config->mem;
	vq->avail = vq->mem + l.driver;
	vq->used = vq->mem + l.device;
	vq->table_off = l.tables;
	vq->nfree = config->num;
	if (vq->packed)
		vq_packed_init(vq);
	else
		vq_split_init(vq);
	*out = vq;
	return 0;
}

void virtqueue_free(struct virtqueue *vq)
{
	free(vq);
}

/* ---- what goes to the format ---- */

int virtqueue_add(struct virtqueue *vq, const struct virtqueue_sg *sg, unsigned nout, unsigned nin,
		  void *token)
{
	if (!token)
		return -EINVAL;
	return vq->packed ? vq_packed_add(vq, sg, nout, nin, token)
			  : vq_split_add(vq, sg, nout, nin, token);
}

bool virtqueue_publish(struct virtqueue *vq)
{
	return vq->packed ? vq_packed_publish(vq) : vq_split_publish(vq);
}

uint16_t virtqueue_next_avail(const struct virtqueue *vq)
{
	return vq->packed ? vq_packed_next_avail(vq) : vq_split_next_avail(vq);
}

void *virtqueue_get(struct virtqueue *vq, uint32_t *len)
{
	return vq->packed ? vq_packed_get(vq, len) : vq_split_get(vq, len);
}

bool virtqueue_enable_cb(struct virtqueue *vq)
{
	vq->want_cb = true;
	return vq->packed ? vq_packed_enable_cb(vq) : vq_split_enable_cb(vq);
}

void virtqueue_disable_cb(struct virtqueue *vq)
{
	vq->want_cb = false;
	if (vq->packed)
		vq_packed_disable_cb(vq);
	else
		vq_split_disable_cb(vq);
}

void *virtqueue_detach_unused(struct virtqueue *vq)
{
	for (uint32_t i = 0; i < vq->num; i++) {
		if (vq->req[i].token)
			return vq->packed ? vq_packed_release(vq, (uint16_t)i)
					  : vq_split_release(vq, (uint16_t)i);
	}
	return NULL;
}

struct vdpa_vq_state virtqueue_first_state(const struct virtqueue *vq)
{
	struct vdpa_vq_state state = {0};

	if (vq->packed)
		state.packed.last_avail_counter = state.packed.last_used_counter = 1;
	return state;
}

int virtqueue_device_state(const struct virtqueue *vq, struct vdpa_vq_state *state)
{
	return vq->packed ? vq_packed_device_state(vq, state) : vq_split_device_state(vq, state);
}

/* ---- questions ---- */

void virtqueue_addrs(const struct virtqueue *vq, iova_t *desc, iova_t *driver, iova_t *device)
{
	*desc = vq->mem_iova;
	*driver = vq->mem_iova + (iova_t)(vq->avail - vq->mem);
	*device = vq->mem_iova + (iova_t)(vq->used - vq->mem);
}

uint32_t virtqueue_num(const struct virtqueue *vq)
{
	return vq->num;
}

unsigned virtqueue_outstanding(const struct virtqueue *vq)
{
	return vq->outstanding;
}

unsigned virtqueue_num_free(const struct virtqueue *vq)
{
	return vq->nfree;
}

bool virtqueue_broken(const struct virtqueue *vq)
{
	return vq->broken;
}
