/* SPDX-License-Identifier: BSD-3-Clause */
/* The virtio-blk driver's own. */
#ifndef DRIVER_VIRTIO_BLK_H
#define DRIVER_VIRTIO_BLK_H

#include "driver/virtio/device.h"

/* What the device reads and writes of a request besides the data; one cache line each. */
struct virtio_blk_shared {
	struct virtio_blk_outhdr hdr;		      /* device reads */
	struct virtio_blk_discard_write_zeroes range; /* device reads */
	uint8_t pad[31];
	volatile uint8_t status; /* device writes */
};

/* What we know of it; the device cannot reach this. */
struct virtio_blk_slot {
	struct virtio_blk_request *req;
	uint64_t bytes;
	bool from_device; /* data goes from device to driver */
	uint16_t next;	  /* free slots */
};

enum virtio_blk_vq_state {
	BLK_VQ_RUNNING,
	BLK_VQ_STOPPED, /* a reset is coming: nothing new */
	BLK_VQ_DEAD,	/* the device was reset: what is out ends with -EIO */
};

/* One queue: its thread's ([q]), but @state. */
struct virtio_blk_vq {
	struct virtio_blk *blk;
	struct virtio_vq *vq;
	struct virtio_blk_slot *slots;
	struct virtio_blk_shared *shared;
	iova_t shared_iova;
	uint16_t free_slot; /* vq->num: none */
	_Atomic int state;
	_Atomic uint64_t reads, writes, others, read_bytes, written_bytes, errors;
};

struct virtio_blk {
	struct virtio_device *dev;
	struct virtio_blk_info info;
	struct virtio_blk_vq *vqs;
	void (*on_change)(void *arg);
	void *on_change_arg;
	bool *gone; /* set when this is freed: somebody waits for room in a queue */
};

#define virtio_blk_cfg(field) offsetof(struct virtio_blk_config, field)

/* blk_config.c: features are negotiated. 0, or -errno when there is nothing to work with. */
int virtio_blk_read_config(struct virtio_device *dev, struct virtio_blk_info *info);

#endif
