/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The virtio bus in this process: virtio devices and the drivers (virtio-blk, virtio-net) that use
 * them. A device gets here through a transport: the bus driver "virtio-vdpa" (a vDPA device of the
 * same process) or the vhost-user front end (<uvdpa/vhost_user.h>). The drivers know no transport.
 *
 * The device is not trusted: what it writes into rings, status bytes, configuration and lengths is
 * checked. A device that breaks the rules is reset; what was submitted ends with -EIO then.
 *
 * Threads. All calls: the control thread of the context, unless marked [q]. In callback mode (the
 * default) completions run on the control loop, and [q] is the control thread as well. In poll mode
 * there are no callbacks and no interrupts: each queue belongs to the one thread that submits to it
 * and polls it; that thread must have stopped before the device is unbound, reset or freed.
 *
 * Memory. The device reaches only what was mapped for it: memory of virtio_mem_alloc(), and regions
 * of virtio_mem_map(). Its addresses (IOVAs) are chosen by the bus; they are not this process's.
 *
 * Since 0.1, unless a function says otherwise.
 */
#ifndef UVDPA_VIRTIO_H
#define UVDPA_VIRTIO_H

#include <uvdpa/types.h>
#include <uvdpa/vdpa.h>
#include <uvdpa/virtqueue.h>

#ifdef __cplusplus
extern "C" {
#endif

struct virtio_device;

/** How a driver shall use its device. Zeroes are the defaults. */
struct virtio_options {
	size_t size; /**< sizeof(struct virtio_options) */
	/** blk: queues; net: pairs (with MQ). 0: one. More than the device has: what it has */
	unsigned queues;
	/** 0: the device's maximum, at most 256. Else what it allows; of split rings a power of two
	 */
	uint32_t queue_size;
	bool poll;	       /**< poll mode */
	uint64_t features_off; /**< do not negotiate these */
	/** With INDIRECT_DESC: requests of at least so many pieces go through a table; 0: two;
	 * UINT32_MAX: none. */
	uint32_t indirect_min;
	/**
	 * Cut what the driver lays out itself (a NIC's header and frame, a disk's header) into
	 * pieces of so many bytes, the last of at most eight with the rest; 0: one piece. Devices
	 * must not care (virtio 1.3, section 2.6.4).
	 */
	uint32_t piece_bytes;
	/** net with MRG_RXBUF: bytes of a receive buffer, at least 64; 0: 2048. */
	uint32_t rx_buf_bytes;
};

/**
 * The bus driver "virtio-vdpa": makes a virtio device of a vDPA device and binds the driver for its
 * device id. Attributes: queues, queue_size, mode (callback, poll). When the device was left reset
 * (status 0), the driver is attached when the bind returns; else see virtio_wait_attached().
 */
VDPA_API extern const struct vdpa_driver virtio_vdpa_driver;
/** The virtio device made of @vdev, or NULL when it is not bound to virtio-vdpa. */
VDPA_API struct virtio_device *virtio_vdpa_device(const struct vdpa_device *vdev);

/* ---- the bus ---- */

/** Every virtio device of @ctx, in order of their numbers; @fn returns false to stop. */
VDPA_API void virtio_for_each(struct vdpa_ctx *ctx,
			      bool (*fn)(void *arg, struct virtio_device *dev), void *arg);
/** By name ("virtio0"), or NULL. */
VDPA_API struct virtio_device *virtio_find(struct vdpa_ctx *ctx, const char *name);
VDPA_API const char *virtio_name(const struct virtio_device *dev);
/** Which transport, and what it leads to: "vdpa/d0", "vhost-user/PATH". */
VDPA_API const char *virtio_bus_name(const struct virtio_device *dev);
VDPA_API struct vdpa_ctx *virtio_get_ctx(const struct virtio_device *dev);
/** VIRTIO_ID_*. */
VDPA_API uint32_t virtio_get_id(const struct virtio_device *dev);
/** "virtio-blk", "virtio-net", or NULL when no driver is attached. */
VDPA_API const char *virtio_driver_name(const struct virtio_device *dev);
/** True after the device broke the rules (or asked for a reset): virtio_reset(), then
 * virtio_attach(). */
VDPA_API bool virtio_is_broken(const struct virtio_device *dev);
/** What a person wants to know: name, bus, driver, features, counters. */
VDPA_API void virtio_show(struct virtio_device *dev, vdpa_emit_fn emit, void *arg);

/** Offered by the device; negotiated by the driver (0 when none is attached). */
VDPA_API uint64_t virtio_device_features(struct virtio_device *dev);
VDPA_API uint64_t virtio_driver_features(const struct virtio_device *dev);
static inline bool virtio_has_feature(const struct virtio_device *dev, unsigned bit)
{
	return virtio_driver_features(dev) >> bit & 1;
}
/** The specification's name of bit @bit for devices of type @device_id ("BLK_SIZE"), or NULL. */
VDPA_API const char *virtio_feature_name(uint32_t device_id, unsigned bit);
/** Names of the bits of @features, separated by blanks; unnamed ones as bit_N. Returns @buf. */
VDPA_API const char *virtio_feature_names(uint32_t device_id, uint64_t features, char *buf,
					  size_t len);

VDPA_API uint8_t virtio_get_status(struct virtio_device *dev);
VDPA_API uint32_t virtio_get_generation(struct virtio_device *dev);
/**
 * Configuration space, as one consistent piece (virtio 1.3, section 2.5.3: read again when the
 * generation moved). 0, -EINVAL (outside), -EAGAIN (it never holds still), or the transport's
 * error.
 */
VDPA_API int virtio_config_read(struct virtio_device *dev, unsigned offset, void *buf,
				unsigned len);
VDPA_API int virtio_config_write(struct virtio_device *dev, unsigned offset, const void *buf,
				 unsigned len);
VDPA_API unsigned virtio_num_queues(struct virtio_device *dev);
VDPA_API uint32_t virtio_queue_num_max(struct virtio_device *dev, uint16_t index);
VDPA_API bool virtio_queue_ready(struct virtio_device *dev, uint16_t index);

/* ---- life ---- */

/**
 * Detach the driver and reset the device; @done when it has stopped (status 0, queues not ready,
 * memory of the driver freed). -EBUSY while another reset or a removal is under way.
 */
VDPA_API int virtio_reset(struct virtio_device *dev, const struct vdpa_done *done);
/**
 * Attach the driver again after virtio_reset(). @options may be NULL. -EBUSY (attached, or the
 * device is busy), -ENODEV (no driver for the device id), -EINVAL, -ENOTSUP (features) and others
 * with @err filled.
 */
VDPA_API int virtio_attach(struct virtio_device *dev, const struct virtio_options *options,
			   struct vdpa_error *err);
/**
 * Reset one queue, and enable it again with @num entries (0: as many as it has):
 * VIRTIO_F_RING_RESET, virtio 1.3 section 2.6.1. What is out on it ends: a disk's requests with
 * -EIO, frames that were to be sent are dropped, receive buffers are given anew. Other queues go
 * on. In poll mode the queue's thread must have stopped. @done: 0 when the queue runs again; else
 * an error, and the device is broken. -EBUSY (no driver attached, or a change of state is under
 * way), -EOPNOTSUPP (not negotiated), -EINVAL (no such queue, a size that cannot be), with @err.
 */
VDPA_API int virtio_queue_reset(struct virtio_device *dev, uint16_t index, uint32_t num,
				const struct vdpa_done *done, struct vdpa_error *err);
/**
 * Try to set up queue @index with @num entries, and take it down again; for people who want to see
 * what a device accepts. The driver must be detached (virtio_reset()): -EBUSY. An invalid size is
 * -EINVAL, with @err, and a warning in the log.
 */
VDPA_API int virtio_try_queue(struct virtio_device *dev, uint16_t index, uint32_t num,
			      struct vdpa_error *err);
/** One result of virtio_conform(). @detail: one line, "" when there is nothing to say. */
typedef void (*virtio_report_fn)(void *arg, const char *op, bool pass, const char *detail);
/**
 * Run each operation of the device's transport, and report pass or fail of each. The driver is
 * detached for the time (its requests end with -EIO), and attached again. @done: 0, or -EIO when
 * something failed. -EBUSY as virtio_reset().
 */
VDPA_API int virtio_conform(struct virtio_device *dev, virtio_report_fn report, void *arg,
			    const struct vdpa_done *done);
/**
 * Run the control loop until the driver is attached: a device that was not left reset is reset
 * first, which may take longer than binding. Nobody may unbind it meanwhile. 0, -ENODEV (no driver,
 * or it could not start: see the log), -EIO (broken), -ETIMEDOUT.
 */
VDPA_API int virtio_wait_attached(struct virtio_device *dev, int64_t timeout_ns);
/** Run the control loop until *@flag: vdpa_ctx_wait(). */
VDPA_API int virtio_wait(struct virtio_device *dev, const bool *flag, int64_t timeout_ns);

/* ---- memory ---- */

/**
 * Zeroed memory that the device can reach, contiguous in both address spaces; aligned to 64 bytes,
 * or to a page when @bytes is at least one. Freed with the device at the latest. NULL: no memory.
 */
VDPA_API void *virtio_mem_alloc(struct virtio_device *dev, size_t bytes, iova_t *iova);
/** Nothing that was submitted may use it any more. NULL is allowed. */
VDPA_API void virtio_mem_free(struct virtio_device *dev, void *addr);
/**
 * Map a region of the caller's into the device; a reference is taken. Not every transport can reach
 * memory without a file (vdpa_region_wrap()): -EOPNOTSUPP. -EEXIST: mapped already. Unmapped with
 * the device at the latest.
 */
VDPA_API int virtio_mem_map(struct virtio_device *dev, struct vdpa_region *region, iova_t *iova);
/** @done: the device does not touch it any more. -ENOENT. */
VDPA_API int virtio_mem_unmap(struct virtio_device *dev, struct vdpa_region *region,
			      const struct vdpa_done *done);
/** Where the device sees [@addr, @addr + @bytes), which must lie in one allocation or region: 0,
 * -EFAULT. */
VDPA_API int virtio_mem_iova(struct virtio_device *dev, const void *addr, size_t bytes,
			     iova_t *iova);

/* ---- virtio-blk ---- */

struct virtio_blk;

#define VIRTIO_BLK_SECTOR_BYTES 512u
/** Most pieces of data in a request; a device may allow fewer: info.seg_max. */
#define VIRTIO_BLK_SEGS_MAX 126u

struct virtio_blk_info {
	uint64_t capacity_sectors; /**< of 512 bytes, always */
	uint32_t block_bytes, physical_block_bytes;
	uint32_t min_io_blocks, opt_io_blocks; /**< 0: unknown */
	uint32_t seg_max;		       /**< pieces of data in a request */
	uint32_t size_max;		       /**< bytes in a piece; 0: no limit */
	unsigned queues;
	uint32_t queue_size;
	bool read_only, flush, discard, write_zeroes, writeback;
	uint32_t max_discard_sectors, max_write_zeroes_sectors; /**< 0: cannot */
	uint64_t features;					/**< negotiated */
};

/** The caller's; must stay until done. */
struct virtio_blk_request {
	uint32_t type; /**< VIRTIO_BLK_T_IN, OUT, FLUSH, GET_ID (20 bytes), DISCARD, WRITE_ZEROES */
	bool unmap;    /**< WRITE_ZEROES: space may be given back */
	uint64_t sector;
	uint64_t nsectors;	       /**< DISCARD, WRITE_ZEROES; else it follows from the data */
	const struct virtqueue_sg *sg; /**< data, as the device sees it; not used after submit */
	unsigned nsg;
	/** Exactly once [q]: 0, -EIO, -EOPNOTSUPP; may submit. */
	void (*done)(struct virtio_blk_request *req, int result);
	void *user;
};

struct virtio_blk_stats {
	uint64_t reads, writes, others; /**< completed */
	uint64_t read_bytes, written_bytes;
	uint64_t errors, kicks, calls;
};

/** The driver's state, or NULL when virtio-blk is not attached to @dev. Valid until it is detached.
 */
VDPA_API struct virtio_blk *virtio_blk_of(struct virtio_device *dev);
VDPA_API struct virtio_device *virtio_blk_device(struct virtio_blk *blk);
VDPA_API void virtio_blk_get_info(struct virtio_blk *blk, struct virtio_blk_info *info);
VDPA_API void virtio_blk_get_stats(struct virtio_blk *blk, unsigned queue,
				   struct virtio_blk_stats *stats);
/** Told on the control loop when the configuration changed (capacity, ...); NULL: nobody. */
VDPA_API void virtio_blk_on_change(struct virtio_blk *blk, void (*fn)(void *arg), void *arg);

/**
 * [q] Submit; the device sees it after virtio_blk_kick(). 0; -ENOSPC (queue full: after a
 * completion there is room); -EINVAL (beyond the capacity, not whole sectors, too many or too large
 * pieces, no such queue); -EROFS; -EOPNOTSUPP; -EIO (broken). On error done() is not called.
 */
VDPA_API int virtio_blk_submit(struct virtio_blk *blk, unsigned queue,
			       struct virtio_blk_request *req);
/** [q] Show the device what was submitted. */
VDPA_API void virtio_blk_kick(struct virtio_blk *blk, unsigned queue);
/** [q] Complete at most @max requests; returns how many. For poll mode; harmless in callback mode.
 */
VDPA_API unsigned virtio_blk_poll(struct virtio_blk *blk, unsigned queue, unsigned max);
/** [q] Requests that are out. */
VDPA_API unsigned virtio_blk_outstanding(struct virtio_blk *blk, unsigned queue);

/**
 * For simple programs: do it and wait, on queue 0, running the control loop; never from a callback.
 * Buffers are any memory (copied). 0, the request's error, or -ETIMEDOUT after 30 s (the device is
 * reset then).
 */
VDPA_API int virtio_blk_read(struct virtio_blk *blk, uint64_t sector, void *buf, size_t bytes);
VDPA_API int virtio_blk_write(struct virtio_blk *blk, uint64_t sector, const void *buf,
			      size_t bytes);
VDPA_API int virtio_blk_flush(struct virtio_blk *blk);
VDPA_API int virtio_blk_discard(struct virtio_blk *blk, uint64_t sector, uint64_t nsectors);
VDPA_API int virtio_blk_write_zeroes(struct virtio_blk *blk, uint64_t sector, uint64_t nsectors,
				     bool unmap);
/** NUL-terminated. */
VDPA_API int virtio_blk_get_id(struct virtio_blk *blk, char id[21]);
/** CONFIG_WCE: writeback or writethrough. -EOPNOTSUPP. */
VDPA_API int virtio_blk_set_writeback(struct virtio_blk *blk, bool writeback);

/* ---- virtio-net ---- */

struct virtio_net;

/** Offload header of a packet, in host byte order; values of struct virtio_net_hdr
 * (linux/virtio_net.h). */
struct virtio_net_offload {
	uint8_t flags;	  /**< VIRTIO_NET_HDR_F_* */
	uint8_t gso_type; /**< VIRTIO_NET_HDR_GSO_* */
	uint16_t hdr_len, gso_size, csum_start, csum_offset;
};

/** A received packet. Its bytes lie in memory that the device can still change: copy before
 * parsing. */
struct virtio_net_packet {
	const struct iovec *iov; /**< the frame, without header */
	unsigned niov;
	size_t len; /**< bytes in all */
	struct virtio_net_offload offload;
};

struct virtio_net_info {
	uint8_t mac[6];
	bool has_mac, link_up;
	uint16_t mtu; /**< 0: not told */
	unsigned pairs;
	uint32_t queue_size;
	size_t max_frame; /**< largest frame that send takes */
	bool mergeable;
	uint64_t features;
};

struct virtio_net_stats {
	uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes;
	uint64_t rx_errors;  /**< malformed: too short, impossible number of buffers */
	uint64_t rx_dropped; /**< nobody listens */
	uint64_t tx_full;    /**< send had no room */
	uint64_t kicks, calls;
};

VDPA_API struct virtio_net *virtio_net_of(struct virtio_device *dev);
VDPA_API struct virtio_device *virtio_net_device(struct virtio_net *net);
/** Reads the link status anew. */
VDPA_API void virtio_net_get_info(struct virtio_net *net, struct virtio_net_info *info);
VDPA_API void virtio_net_get_stats(struct virtio_net *net, unsigned pair,
				   struct virtio_net_stats *stats);
/** Told on the control loop when the configuration changed (link, ...); NULL: nobody. */
VDPA_API void virtio_net_on_change(struct virtio_net *net, void (*fn)(void *arg), void *arg);
/** @fn [q] gets every packet; it may send. NULL: they are dropped. */
typedef void (*virtio_net_rx_fn)(void *arg, unsigned pair, const struct virtio_net_packet *pkt);
VDPA_API void virtio_net_on_receive(struct virtio_net *net, virtio_net_rx_fn fn, void *arg);
/**
 * [q] Send one frame (copied). The device sees it after virtio_net_kick(). @offload: NULL for none.
 * 0; -ENOSPC; -EMSGSIZE; -EOPNOTSUPP (an offload that was not negotiated); -EINVAL; -EIO (broken).
 */
VDPA_API int virtio_net_send(struct virtio_net *net, unsigned pair, const struct iovec *iov,
			     unsigned niov, const struct virtio_net_offload *offload);
/**
 * @fn [q] is called when virtio_net_send() has said -ENOSPC and there is room again; it may send,
 * and kicks. Without it a sender that was refused asks again in its own time. NULL: nobody.
 */
VDPA_API void virtio_net_on_room(struct virtio_net *net, void (*fn)(void *arg, unsigned pair),
				 void *arg);
VDPA_API void virtio_net_kick(struct virtio_net *net, unsigned pair);

/** A command on the control queue: virtio 1.3, section 5.1.6.5. */
struct virtio_net_command {
	uint8_t class_, command;
	const void *data; /**< command-specific data; copied */
	size_t len;	  /**< at most VIRTIO_NET_COMMAND_BYTES */
	size_t room;	  /**< for a command-specific result; at most as many */
	/**
	 * Exactly once, on the control loop: 0 (VIRTIO_NET_OK), -EREMOTEIO (VIRTIO_NET_ERR), -EIO
	 * (the device broke, did not answer within ten seconds, or was reset). @result is valid
	 * inside of the call.
	 */
	void (*done)(void *arg, int ret, const void *result, size_t bytes);
	void *arg;
};
#define VIRTIO_NET_COMMAND_BYTES 16384u
/**
 * Carry it out. One at a time: -EBUSY while another is under way. -EOPNOTSUPP (no CTRL_VQ), -EINVAL
 * (too long), -EIO (broken). On error done() is not called. Control thread, also in poll mode.
 */
VDPA_API int virtio_net_command(struct virtio_net *net, const struct virtio_net_command *cmd);
/** [q] Receive at most @max packets and reclaim what was sent; returns how many came. */
VDPA_API unsigned virtio_net_poll(struct virtio_net *net, unsigned pair, unsigned max);
/** [q] Frames that the device has not taken yet. */
VDPA_API unsigned virtio_net_tx_outstanding(struct virtio_net *net, unsigned pair);

#ifdef __cplusplus
}
#endif
#endif
