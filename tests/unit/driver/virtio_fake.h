/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A vDPA device for tests of the virtio bus: split rings walked by a few lines of its own, a
 * handler per test (honest or hostile), asynchronous resets, failures on request. It reaches the
 * driver's memory only through what was mapped.
 */
#ifndef TESTS_VIRTIO_FAKE_H
#define TESTS_VIRTIO_FAKE_H

#include <pthread.h>
#include <stdatomic.h>
#include <uvdpa/compat.h>
#include <uvdpa/vdpa.h>
#include <uvdpa/virtio.h>
#include "../patience.h"

#define FAKE_VQS 4
#define FAKE_MAPS 64

struct fake;

/** A request as the handler gets it. */
struct fake_req {
	uint16_t head;
	struct iovec out[300], in[300];
	unsigned nout, nin;
};

struct fake_vq {
	iova_t desc, driver, device;
	uint32_t num;
	bool ready;
	struct vdpa_callback cb;
	uint16_t avail, used;
	_Atomic unsigned kicks;
	struct vdpa_loop_msg msg;
	_Atomic bool posted;
	struct fake *dev;
	uint16_t idx;
};

struct fake_map {
	iova_t iova;
	uint64_t size, addr;
};

struct fake {
	struct vdpa_device vdpa;
	uint32_t id;
	uint64_t features, driver_features;
	uint8_t status;
	uint8_t config[256];
	size_t config_size;
	uint32_t generation;
	bool generation_spins; /* the configuration never holds still */
	struct vdpa_callback config_cb;
	struct fake_vq vqs[FAKE_VQS];
	struct fake_map maps[FAKE_MAPS];
	pthread_mutex_t maps_lock;
	unsigned nmaps;
	unsigned faults; /* accesses that were not mapped */
	bool refuse_features_ok;
	int vq_error, map_error; /* returned */
	unsigned resets;
	int reset_error;	    /* -errno: it does not reset */
	_Atomic uint32_t kick_data; /* of the last notification with data */
	/* [q] Returns the used length; < 0: keep the request. May write used entries by itself. */
	int64_t (*handle)(struct fake *dev, struct fake_vq *vq, struct fake_req *req);
	void *disk; /* of the honest disk */
	size_t disk_bytes;
	void *user;
};

struct fake_opts {
	uint32_t id;
	uint64_t features;
	unsigned nvqs;
	bool set_map;
	bool async;  /* resets, and removals from the map, complete later */
	bool no_dma; /* no map ops at all */
};

/** Registered; removed by fake_del(), which waits. */
struct fake *fake_new(struct vdpa_ctx *ctx, const char *name, const struct fake_opts *opts);
void fake_del(struct fake *dev);

/** [q] Where the device sees [@iova, @iova + @len), or NULL (a fault). */
void *fake_at(struct fake *dev, iova_t iova, uint64_t len);
/** [q] Push a used entry, whatever it says. */
void fake_push(struct fake *dev, struct fake_vq *vq, uint32_t id, uint32_t len);
/** [q] Call the driver. */
void fake_call(struct fake_vq *vq);

/** A disk that does as it should, on dev->disk. */
int64_t fake_disk(struct fake *dev, struct fake_vq *vq, struct fake_req *req);
#define FAKE_DISK_FEATURES                                                                         \
	(VDPA_BIT(VIRTIO_BLK_F_FLUSH) | VDPA_BIT(VIRTIO_BLK_F_SEG_MAX) |                           \
	 VDPA_BIT(VIRTIO_BLK_F_BLK_SIZE) | VDPA_BIT(VIRTIO_BLK_F_MQ) |                             \
	 VDPA_BIT(VIRTIO_BLK_F_DISCARD) | VDPA_BIT(VIRTIO_BLK_F_WRITE_ZEROES))
#define FAKE_BASE_FEATURES (VDPA_BIT(VIRTIO_F_VERSION_1) | VDPA_BIT(VIRTIO_F_ACCESS_PLATFORM))
struct fake *fake_disk_new(struct vdpa_ctx *ctx, const char *name, struct fake_opts opts);

/** Bind to virtio-vdpa; the virtio device. */
struct virtio_device *fake_bind(struct fake *dev, const struct vdpa_attr *attrs);
void fake_unbind(struct fake *dev);

/** Control loop until @cond is true (evaluated often). */
#define fake_until(ctx, cond)                                                                      \
	do {                                                                                       \
		uint64_t end_ = vdpa_clock_ns() + PATIENCE_NS;                                     \
		bool ok_;                                                                          \
		while (!(ok_ = (cond)) && vdpa_clock_ns() < end_)                                  \
			vdpa_loop_run_once(vdpa_ctx_control(ctx), 1000000);                        \
		assert_true(ok_);                                                                  \
	} while (0)

#endif
