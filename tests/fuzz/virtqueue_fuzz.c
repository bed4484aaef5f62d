// SPDX-License-Identifier: BSD-3-Clause
/*
 * Fuzz target: the driver's end of a ring against a device that writes what it likes. The input is
 * a program of steps of driver and device.
 *
 * Asserted: a completion is of a request that was made and not yet completed, its length is within
 * what may be written, the count of free descriptors is right, and the driver's memory is never
 * read outside.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <uvdpa/compat.h>
#include <uvdpa/virtqueue.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_NUM 16
#define MAX_SG 6

struct request {
	bool out;
	uint64_t writable;
	unsigned descs;
};

struct fuzz {
	const uint8_t *p;
	size_t left;
	struct virtqueue *vq;
	uint32_t num;
	uint64_t features;
	uint8_t *mem;
	size_t bytes, used;
	/* Packed: where a device that means well would write next. */
	unsigned place;
	bool wrap;
	struct request req[MAX_NUM];
	unsigned nout, ndescs;
};

static uint32_t take(struct fuzz *f, unsigned bytes)
{
	uint32_t v = 0;

	while (bytes-- && f->left) {
		v = v << 8 | *f->p++;
		f->left--;
	}
	return v;
}

/* ---- driver ---- */

static void add(struct fuzz *f)
{
	struct virtqueue_sg sg[2 * MAX_SG];
	struct request *r = &f->req[take(f, 1) % MAX_NUM];
	unsigned nout = take(f, 1) % MAX_SG, nin = take(f, 1) % MAX_SG;
	bool indirect = f->features & VDPA_BIT(VIRTIO_RING_F_INDIRECT_DESC);

	if (r->out)
		return;
	r->writable = 0;
	for (unsigned i = 0; i < nout + nin; i++) {
		sg[i].addr = 0x1000;
		sg[i].len = take(f, 1);
		if (i >= nout)
			r->writable += sg[i].len;
	}
	if (virtqueue_add(f->vq, sg, nout, nin, r))
		return;
	r->out = true;
	/* A table has as many entries as the ring. */
	r->descs = indirect && nout + nin > 1 && nout + nin <= f->num ? 1 : nout + nin;
	f->ndescs += r->descs;
	f->nout++;
}

static void get(struct fuzz *f)
{
	uint32_t len = 0;
	struct request *r = virtqueue_get(f->vq, &len);

	if (!r)
		return;
	assert(r >= f->req && r < f->req + MAX_NUM && r->out);
	assert(len <= r->writable);
	r->out = false;
	f->ndescs -= r->descs;
	f->nout--;
}

/* ---- device ---- */

static void put16(struct fuzz *f, size_t off, uint16_t v)
{
	memcpy(f->mem + off, &v, sizeof(v));
}

/* A used descriptor, mostly one that could be. */
static void device_packed(struct fuzz *f, uint8_t op)
{
	bool wrap = op & 4 ? f->wrap : !f->wrap;
	struct vring_packed_desc d = {
		.id = (uint16_t)(op & 8 ? take(f, 2) : take(f, 1) % f->num),
		.len = op & 16 ? take(f, 4) : take(f, 1),
		.flags = (uint16_t)(wrap ? 1u << VRING_PACKED_DESC_F_AVAIL |
						    1u << VRING_PACKED_DESC_F_USED
					 : 0),
	};

	if (op & 1)
		d.flags |= VRING_DESC_F_WRITE;
	memcpy(f->mem + 16 * f->place, &d, sizeof(d));
	f->place += take(f, 1) % 4;
	if (f->place >= f->num) {
		f->place %= f->num;
		f->wrap = !f->wrap;
	}
}

static void device(struct fuzz *f, uint8_t op)
{
	bool packed = f->features & VDPA_BIT(VIRTIO_F_RING_PACKED);
	size_t elem = f->used + 4 + 8 * (take(f, 1) % f->num);
	uint32_t v;

	switch (packed ? 3 : op & 3) {
	case 0:
		v = (op & 4) ? take(f, 4) : take(f, 1) % (f->num + 1);
		memcpy(f->mem + elem, &v, sizeof(v));
		v = (op & 8) ? take(f, 4) : take(f, 1);
		memcpy(f->mem + elem + 4, &v, sizeof(v));
		break;
	case 1: {
		uint16_t idx;

		memcpy(&idx, f->mem + f->used + 2, sizeof(idx));
		put16(f, f->used + 2, (uint16_t)(op & 4 ? take(f, 2) : idx + 1u));
		break;
	}
	default:
		put16(f, take(f, 2) % (f->bytes / 2) * 2, (uint16_t)take(f, 2));
	}
}

static void step(struct fuzz *f, uint8_t op)
{
	struct vdpa_vq_state state;

	switch (op >> 5) {
	case 0:
	case 1:
		add(f);
		break;
	case 2:
		virtqueue_publish(f->vq);
		break;
	case 3:
		get(f);
		break;
	case 4:
		if (op & 1)
			virtqueue_enable_cb(f->vq);
		else
			virtqueue_disable_cb(f->vq);
		break;
	case 5:
		if (f->features & VDPA_BIT(VIRTIO_F_RING_PACKED))
			device_packed(f, op);
		break;
	case 6:
		virtqueue_device_state(f->vq, &state);
		break;
	default:
		device(f, op);
	}
	assert(virtqueue_outstanding(f->vq) == f->nout);
	assert(virtqueue_num_free(f->vq) == f->num - f->ndescs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = {.p = data, .left = size, .wrap = true};
	struct virtqueue_config config = {.size = sizeof(config), .mem_iova = 0x10000};
	iova_t desc, driver, dev;
	uint32_t b = take(&f, 1);

	f.num = 1u << (b % 5);
	f.features = (uint64_t)(b >> 5 & 3) << VIRTIO_RING_F_INDIRECT_DESC;
	f.features |= (uint64_t)(take(&f, 1) & 3) << VIRTIO_F_RING_PACKED;
	if (f.features & VDPA_BIT(VIRTIO_F_RING_PACKED))
		f.num = 1 + b % MAX_NUM;
	if (b & 0x80)
		f.features |= VDPA_BIT(VIRTIO_F_VERSION_1);
	f.bytes = virtqueue_mem_bytes(f.num, f.features);
	f.mem = aligned_alloc(4096, f.bytes);
	if (!f.mem)
		return 0;
	memset(f.mem, 0, f.bytes);
	config.num = f.num;
	config.features = f.features;
	config.mem = f.mem;
	if (virtqueue_new(&config, &f.vq))
		abort();
	virtqueue_addrs(f.vq, &desc, &driver, &dev);
	f.used = dev - config.mem_iova;
	while (f.left)
		step(&f, (uint8_t)take(&f, 1));
	while (virtqueue_detach_unused(f.vq))
		f.nout--;
	assert(f.nout == 0);
	virtqueue_free(f.vq);
	free(f.mem);
	return 0;
}
