/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inside of the virtio bus: what transports implement (struct virtio_config_ops), what drivers
 * implement (struct virtio_driver), and the device between them. Everything here belongs to the
 *control thread, but what is marked otherwise.
 *
 * States of a device. Changes of state that have to wait (for a reset) exclude each other; a
 *removal that comes meanwhile is remembered and starts when the other one ends.
 *
 *	DETACHED   reset, no driver, no queues
 *	ATTACHED   the driver has it (or its probe is running)
 *	BROKEN     as ATTACHED, but the device was reset because it broke the rules: nothing is out
 *	BUSY       one of: breaking, detaching, conformance run, removal
 */
#ifndef DRIVER_VIRTIO_DEVICE_H
#define DRIVER_VIRTIO_DEVICE_H

#include <stdatomic.h>
#include <uvdpa/compat.h>
#include <uvdpa/virtio.h>
#include "base/list.h"

/** A queue: the ring, its memory, and the way of its interrupts. */
struct virtio_vq {
	struct virtio_device *dev;
	uint16_t index;
	uint32_t num;
	uint32_t num_max; /* what the device said before it was told @num: it may say that since */
	struct virtqueue *ring;
	void *mem;
	iova_t mem_iova;
	/* Control loop; NULL: the device is not given a callback. */
	void (*callback)(struct virtio_vq *vq);
	void *priv;
	void *transport;
	/* Any thread. */
	struct vdpa_loop_msg msg;
	_Atomic bool pending;
	_Atomic uint64_t kicks, calls;
};

/**
 * A transport. All mandatory unless marked O. Those that return int: 0 or -errno. None of them
 * waits without a deadline.
 */
struct virtio_config_ops {
	const char *transport; /* "vdpa" */
	int (*get)(struct virtio_device *dev, unsigned offset, void *buf, unsigned len);
	int (*set)(struct virtio_device *dev, unsigned offset, const void *buf, unsigned len);
	uint32_t (*generation)(struct virtio_device *dev); /* O */
	uint8_t (*get_status)(struct virtio_device *dev);
	int (*set_status)(struct virtio_device *dev, uint8_t status); /* never 0 */
	/* After @done nothing of the device runs, and no interrupt comes. */
	int (*reset)(struct virtio_device *dev, const struct vdpa_done *done);
	uint64_t (*get_features)(struct virtio_device *dev);
	/* Give the device dev->features; refuse what the transport cannot work with. */
	int (*finalize_features)(struct virtio_device *dev, struct vdpa_error *err);
	unsigned (*num_vqs)(struct virtio_device *dev);
	uint32_t (*vq_num_max)(struct virtio_device *dev, uint16_t index);
	/* Tell the device about a queue and make it ready. */
	int (*setup_vq)(struct virtio_device *dev, struct virtio_vq *vq, struct vdpa_error *err);
	/* O: forget what setup_vq made; the device was reset. */
	void (*del_vq)(struct virtio_device *dev, struct virtio_vq *vq);
	bool (*vq_ready)(struct virtio_device *dev, uint16_t index);
	/* O: with RING_RESET. After @done the device has let go of the queue's memory, and setup_vq
	 * may be called for it again. */
	int (*reset_vq)(struct virtio_device *dev, struct virtio_vq *vq,
			const struct vdpa_done *done);
	void (*notify)(struct virtio_device *dev, struct virtio_vq *vq); /* any thread */
	struct vdpa_iova_range (*iova_range)(struct virtio_device *dev);
	int (*map)(struct virtio_device *dev, iova_t iova, struct vdpa_region *region);
	int (*unmap)(struct virtio_device *dev, iova_t iova, struct vdpa_region *region,
		     const struct vdpa_done *done);
	/* O */
	void (*show)(struct virtio_device *dev, vdpa_emit_fn emit, void *arg);
	/* The device was reset and is going away: nothing may be posted from here on. */
	void (*disconnect)(struct virtio_device *dev);
	/* The device is off the bus: free it. */
	void (*release)(struct virtio_device *dev);
};

/** A driver; one per device id. */
struct virtio_driver {
	const char *name;
	uint32_t device_id;
	uint64_t features; /* that it can use, besides those of the ring */
	uint32_t num_min;  /* entries that a queue of it must have */
	/* Features are negotiated: read the configuration, set up queues. DRIVER_OK follows. */
	int (*probe)(struct virtio_device *dev, struct vdpa_error *err);
	/* O: DRIVER_OK is set. */
	void (*ready)(struct virtio_device *dev);
	/* Take nothing new: the device is going to be reset. After a failed probe it may not be
	 * called. */
	void (*stop)(struct virtio_device *dev);
	/* The device was reset because it broke the rules: what is out ends with -EIO. */
	void (*broken)(struct virtio_device *dev);
	/* The device was reset: what is out ends with -EIO, free everything but the queues. Also
	 * after a failed probe. */
	void (*remove)(struct virtio_device *dev);
	void (*config_changed)(struct virtio_device *dev);
	void (*show)(struct virtio_device *dev, vdpa_emit_fn emit, void *arg);
	/* One queue is going to be reset: take nothing new for it. */
	void (*vq_stop)(struct virtio_vq *vq);
	/* It was: what is out ends, what belongs to its size is freed. */
	void (*vq_drained)(struct virtio_vq *vq);
	/* It has a new ring, of vq->num entries, and the device has it. */
	int (*vq_restart)(struct virtio_vq *vq);
};

enum virtio_state {
	VIRTIO_DETACHED,
	VIRTIO_ATTACHED,
	VIRTIO_BROKEN,
	VIRTIO_BUSY,
};

struct virtio_device {
	struct vdpa_ctx *ctx;
	const struct virtio_config_ops *ops;
	const struct virtio_driver *drv;
	void *priv; /* the driver's */
	uint32_t id;
	unsigned index;
	char name[16];
	char bus_name[128];
	struct list link; /* the bus's */
	enum virtio_state state;
	struct virtio_options opts;
	uint64_t features; /* negotiated; while negotiating: wanted */

	struct virtio_vq **vqs;
	unsigned nvqs;
	struct list mappings; /* ordered by IOVA */

	/* Change of state under way. */
	void (*next)(struct virtio_device *dev, int result);  /* after the reset, the unmapping */
	void (*after)(struct virtio_device *dev, int result); /* after the detaching */
	int reset_result, start_error;
	struct vdpa_done done;
	bool waiting_idle; /* a reset is through; interrupts that were posted have to run */
	bool waiting_all;
	bool remove_wanted;
	struct vdpa_done remove_done;
	unsigned unmapping;
	void *conform;
	struct virtio_vq *reset_vq; /* queue that is reset alone, and the size that it gets */
	uint32_t reset_num;
	struct vdpa_error *start_err; /* of a registration that is still inside its caller */
	int *start_result;

	/* Any thread. */
	struct vdpa_loop_msg config_msg, broken_msg, reset_msg;
	_Atomic bool config_pending, broken_pending;
	_Atomic(const char *) broken_why;
	_Atomic unsigned epoch, broken_epoch; /* which attachment */
	_Atomic unsigned depth; /* callbacks of a user's that run now: a reset waits for them */
};

#define virtio_log(dev, level, ...)                                                                \
	vdpa_log(vdpa_ctx_log((dev)->ctx), level, (dev)->name, __VA_ARGS__)

/* bus.c */
extern const struct virtio_driver virtio_blk_driver, virtio_net_driver;
const struct virtio_driver *virtio_match(uint32_t device_id);
int virtio_bus_add(struct virtio_device *dev);
void virtio_bus_del(struct virtio_device *dev);

/* device.c: for transports */
void virtio_device_init(struct virtio_device *dev, struct vdpa_ctx *ctx,
			const struct virtio_config_ops *ops, uint32_t id);
/**
 * Name it, put it on the bus, reset it, attach the driver for its id (none: it stays detached). An
 * error is returned when it is known at once (then ops->release was or will be called); errors that
 * come later are logged. @opts is copied; NULL: defaults.
 */
int virtio_device_register(struct virtio_device *dev, const struct virtio_options *opts,
			   struct vdpa_error *err);
/** Detach, reset, unmap, release; then @done. */
void virtio_device_unregister(struct virtio_device *dev, const struct vdpa_done *done);
/** Any thread: the configuration changed. */
void virtio_config_changed(struct virtio_device *dev);
/** Any thread: the device broke the rules; it is going to be reset. @why: for the log. */
void virtio_device_broken(struct virtio_device *dev, const char *why);

/* life.c */
/** Reset, wait until posted interrupts have run, then @next with the reset's result. */
void virtio_reset_then(struct virtio_device *dev,
		       void (*next)(struct virtio_device *dev, int result));
/** Driver off, reset, driver and queues gone, then @after. State: BUSY. */
void virtio_detach(struct virtio_device *dev, void (*after)(struct virtio_device *dev, int result));
/** Attach the driver; the device was reset. When that fails a detach is under way afterwards. */
int virtio_start(struct virtio_device *dev, struct vdpa_error *err);
/** Status up to FEATURES_OK, with those of @wanted that the device offers. */
int virtio_negotiate(struct virtio_device *dev, uint64_t wanted, struct vdpa_error *err);
/** What was under way has ended: @state; tells dev->done; a removal that waits starts. */
void virtio_life_ended(struct virtio_device *dev, enum virtio_state state, int result);
/**
 * Around whatever calls a user's functions: those may reset or unbind the device, which then
 * happens after they have returned.
 */
static inline void virtio_enter(struct virtio_device *dev)
{
	atomic_fetch_add(&dev->depth, 1);
}

static inline void virtio_leave(struct virtio_device *dev)
{
	atomic_fetch_sub(&dev->depth, 1);
}

/** Something posted ran while virtio_reset_then() waits for it. */
void virtio_posted_ran(struct virtio_device *dev);

/* device.c */
/** Little-endian configuration fields of 2, 4 and 8 bytes. */
int virtio_cread16(struct virtio_device *dev, unsigned offset, uint16_t *value);
int virtio_cread32(struct virtio_device *dev, unsigned offset, uint32_t *value);
int virtio_cread64(struct virtio_device *dev, unsigned offset, uint64_t *value);

/* vq.c */
struct virtio_vq_params {
	uint16_t index;
	uint32_t num; /* 0: chosen */
	void (*callback)(struct virtio_vq *vq);
	void *priv;
};
int virtio_setup_vq(struct virtio_device *dev, const struct virtio_vq_params *params,
		    struct virtio_vq **out, struct vdpa_error *err);
/** The device was reset and no interrupt is pending. */
void virtio_del_vqs(struct virtio_device *dev);
bool virtio_vqs_idle(const struct virtio_device *dev);
/** A new ring of @num entries for a queue that the device has let go of; on error the old one
 * stays.
 */
int virtio_vq_renew(struct virtio_vq *vq, uint32_t num, struct vdpa_error *err);
/** In use, or NULL. */
struct virtio_vq *virtio_vq_find(const struct virtio_device *dev, uint16_t index);
/** @num: 0: chosen. 0, -EINVAL or -ENODEV with @err and a line in the log. */
int virtio_vq_check_num(struct virtio_device *dev, uint16_t index, uint32_t *num,
			struct vdpa_error *err);
/** Any thread: the device says that it used buffers. */
void virtio_vq_interrupt(struct virtio_vq *vq);
/** Have the callback run again soon. Control thread. */
void virtio_vq_again(struct virtio_vq *vq);
/** Publish; kick if the device wants that. */
void virtio_vq_kick(struct virtio_vq *vq);

/* Of struct virtio_options, piece_bytes. */
#define VIRTIO_PIECES_MAX 8u

/** How many pieces @len bytes are cut into, and no more than @max. */
static inline unsigned virtio_pieces(const struct virtio_device *dev, uint64_t len, unsigned max)
{
	uint32_t each = dev->opts.piece_bytes;
	uint64_t n = each ? (len + each - 1) / each : 1;

	if (max > VIRTIO_PIECES_MAX)
		max = VIRTIO_PIECES_MAX;
	return n < max ? (unsigned)n : max;
}

/** Cut [@iova, @iova + @len) into as many as virtio_pieces() says, into @sg; returns how many. */
static inline unsigned virtio_cut(const struct virtio_device *dev, struct virtqueue_sg *sg,
				  struct virtqueue_sg whole, unsigned max)
{
	unsigned n = virtio_pieces(dev, whole.len, max);

	for (unsigned i = 0; i + 1 < n; i++) {
		sg[i] = (struct virtqueue_sg){whole.addr, dev->opts.piece_bytes};
		whole.addr += sg[i].len;
		whole.len -= sg[i].len;
	}
	sg[n - 1] = whole;
	return n;
}

/* mem.c */
void virtio_mem_init(struct virtio_device *dev);
/** Unmap all; dev->next when the device has let go of everything. */
void virtio_mem_release(struct virtio_device *dev,
			void (*next)(struct virtio_device *dev, int result));

#endif
