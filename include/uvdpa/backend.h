/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Backends: where the bytes of a disk or a NIC go. They know no virtio. A backend is opened on the
 * control thread and has one queue (or port) per queue of the device, which lives on that queue's
 * loop. What is submitted is completed exactly once, on the queue's loop, possibly inside submit.
 *
 * Since 0.1, unless a function says otherwise.
 */
#ifndef UVDPA_BACKEND_H
#define UVDPA_BACKEND_H

#include <uvdpa/log.h>
#include <uvdpa/loop.h>
#include <uvdpa/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What backends of one context have in common: things that several of them find by name. */
struct net_backend_shared;
/** NULL: no memory. Control thread, as all that use it. */
VDPA_API struct net_backend_shared *net_backend_shared_new(void);
/** No backend is open any more; workers may still run. NULL is allowed. */
VDPA_API void net_backend_shared_free(struct net_backend_shared *shared);

/** What open() gets. @name: of the device, for messages. */
struct backend_open_params {
	size_t size;			   /**< sizeof(struct backend_open_params) */
	struct net_backend_shared *shared; /**< NULL: backends that need it cannot be opened */
	struct vdpa_loop_group *loops;
	const struct vdpa_log *log;
	const char *name;
	const struct vdpa_attr
		*attrs; /**< checked against the backend's table; alive during open only */
	unsigned pairs; /**< NICs: queue pairs that the device will have; 0: one */
	uint16_t mtu;	/**< NICs: for an interface that open() makes; 0: whatever it has */
};

/* ---- disks ---- */

struct blk_backend;
struct blk_queue;

enum blk_op {
	BLK_READ,
	BLK_WRITE,
	BLK_FLUSH, /**< what was completed before is on stable storage when this completes */
	BLK_DISCARD,
	BLK_WRITE_ZEROES, /**< with BLK_F_UNMAP space may be given back */
};

#define BLK_F_FUA 1u /**< on stable storage before completion */
#define BLK_F_UNMAP 2u

/** One request; the submitter's memory, must stay until done. */
struct blk_request {
	enum blk_op op;
	uint32_t flags;
	uint64_t offset_bytes, len_bytes; /**< inside the capacity: checked by the submitter */
	const struct iovec *iov; /**< READ, WRITE: exactly len_bytes in all; stays until done */
	unsigned niov;
	/** Exactly once, on the queue's loop. @result: 0 or -errno (-ECANCELED after blk_queue
	 * cancel). */
	void (*done)(struct blk_request *req, int result);
	/* The backend's own, while submitted. */
	struct blk_request *next;
	uint64_t backend[6];
};

struct blk_backend_info {
	uint64_t capacity_bytes;
	uint32_t block_bytes;		     /**< logical block */
	uint32_t physical_block_bytes;	     /**< 0: as logical */
	uint32_t min_io_bytes, opt_io_bytes; /**< 0: unknown */
	uint32_t alignment_bytes; /**< of buffers in memory that avoids a copy; 1: none */
	bool read_only, discard, write_zeroes, write_zeroes_unmap;
	bool volatile_cache; /**< completed writes need a FLUSH to be on stable storage */
	char serial[21];     /**< NUL-terminated; "" when there is none */
};

struct blk_backend_ops {
	const char *name;
	const char *help;
	const struct vdpa_attr_spec *attrs;
	int (*open)(const struct backend_open_params *params, struct blk_backend **out,
		    struct vdpa_error *err);
	void (*close)(struct blk_backend *be); /**< all queues are closed */
	void (*get_info)(struct blk_backend *be, struct blk_backend_info *info);
	/** Writeback (true) or writethrough. NULL: always writethrough. Any loop. */
	void (*set_writeback)(struct blk_backend *be, bool writeback);
	/** On @loop's thread. @depth: most requests at a time. */
	int (*queue_open)(struct blk_backend *be, struct vdpa_loop *loop, unsigned depth,
			  struct blk_queue **out);
	/** Nothing is submitted any more. On the loop. */
	void (*queue_close)(struct blk_queue *q);
	/** Take @n requests (all of them, always); started together. On the loop. */
	void (*submit)(struct blk_queue *q, struct blk_request **reqs, unsigned n);
	/** Try to end early what is submitted; done() still comes for each. NULL: cannot. On the
	 * loop. */
	void (*cancel)(struct blk_queue *q);
	/**
	 * Memory at these addresses is being taken away: let go of what is kept of it beyond
	 * requests. NULL: nothing is. On the loop.
	 */
	void (*memory_gone)(struct blk_queue *q, uintptr_t first, uintptr_t last);
	/** Look for completions now, without waiting; true when there were some. NULL: nothing to
	 * poll. */
	bool (*poll)(struct blk_queue *q);
	void (*show)(struct blk_backend *be,
		     void (*emit)(void *arg, const char *key, const char *value), void *arg);
};

/** Embedded by each backend's own structures. */
struct blk_backend {
	const struct blk_backend_ops *ops;
};
struct blk_queue {
	struct blk_backend *be;
	/**
	 * Set after queue_open, or NULL: first and last address of the memory around @addr that
	 * comes and goes as one; memory_gone() ends it. False: not known. On the loop.
	 */
	bool (*bounds)(void *arg, const void *addr, uintptr_t *first, uintptr_t *last);
	void *bounds_arg;
};

/** Table of what is built in; ends with NULL. */
VDPA_API const struct blk_backend_ops *const *blk_backend_list(void);
VDPA_API const struct blk_backend_ops *blk_backend_find(const char *name);
/** Check the attributes, then open. -ENOENT: no such backend (@err lists them). */
VDPA_API int blk_backend_open(const char *name, const struct backend_open_params *params,
			      struct blk_backend **out, struct vdpa_error *err);

/* ---- NICs ---- */

struct net_backend;
struct net_port;

/** Bytes of the header at the front of every packet: as Linux's tun has it, with num_buffers. */
#define NET_HDR_BYTES 12

/** One packet: NET_HDR_BYTES of header (flags, gso_type, hdr_len, gso_size, csum_start,
 * csum_offset, num_buffers, little endian), then the frame. A device puts the header into a piece
 * of its own; backends need not. */
struct net_packet {
	const struct iovec *iov;
	unsigned niov;
	uint64_t len_bytes; /**< header included */
	void *cookie;	    /**< the sender's, for sent() */
};

/** Most packets of one send() or deliver(). */
#define NET_PACKETS_MAX 32

/** What a device gives to its port. All calls on the port's loop. */
struct net_port_config {
	size_t size; /**< sizeof(struct net_port_config) */
	struct vdpa_loop *loop;
	unsigned pair;	  /**< queue pair */
	uint64_t offload; /**< NET_OFFLOAD_* that the receiver (the guest) accepts */
	/**
	 * Packets for the guest. Returns how many were taken, from the front; fewer than @n: no
	 * more buffers; the device calls ops->resume when there are some again.
	 */
	unsigned (*deliver)(void *arg, const struct net_packet *pkts, unsigned n);
	/** The port takes packets again after send() took fewer than asked. */
	void (*writable)(void *arg);
	void *arg;
	/** The packet that deliver() did not take, though it had begun to, will not come again. */
	void (*forget)(void *arg);
	/**
	 * Packets that send_held() kept are not needed any more: each exactly once, in any order,
	 * possibly inside of any call. Also after port_close(), soon, if one was being copied then.
	 */
	void (*sent)(void *arg, void *const *cookies, unsigned n);
};

#define NET_OFFLOAD_CSUM 1u /**< partial checksums */
#define NET_OFFLOAD_TSO4 2u
#define NET_OFFLOAD_TSO6 4u
#define NET_OFFLOAD_ECN 8u
#define NET_OFFLOAD_UFO 16u

struct net_backend_info {
	uint64_t offload; /**< NET_OFFLOAD_* that send() accepts */
	uint16_t mtu;	  /**< 0: no limit of its own */
	bool link_up;
	unsigned max_pairs;
};

struct net_backend_ops {
	const char *name;
	const char *help;
	const struct vdpa_attr_spec *attrs;
	int (*open)(const struct backend_open_params *params, struct net_backend **out,
		    struct vdpa_error *err);
	void (*close)(struct net_backend *be);
	void (*get_info)(struct net_backend *be, struct net_backend_info *info);
	int (*port_open)(struct net_backend *be, const struct net_port_config *config,
			 struct net_port **out);
	void (*port_close)(struct net_port *port);
	/** Send; returns how many were taken, from the front. Taken means copied: the buffers are
	 * free again. */
	unsigned (*send)(struct net_port *port, const struct net_packet *pkts, unsigned n);
	/**
	 * Instead of send(), by a backend that takes all offloads; NULL: it keeps nothing. Bit i of
	 * @held: packet i was taken, but the memory of its frame is needed until sent(). The array
	 * of pieces, and the header, are needed during the call only.
	 */
	unsigned (*send_held)(struct net_port *port, const struct net_packet *pkts, unsigned n,
			      uint32_t *held);
	/**
	 * Give back what is held, as if lost: what nobody copies at this moment inside of this
	 * call, the rest soon. NULL when there is no send_held.
	 */
	void (*revoke)(struct net_port *port);
	/** The device's address; on the control thread, after open and when it changes. NULL: of no
	 * interest. */
	void (*set_mac)(struct net_backend *be, const uint8_t mac[6]);
	/** The device has receive buffers again. */
	void (*resume)(struct net_port *port);
	bool (*poll)(struct net_port *port);			       /**< NULL: nothing to poll */
	int (*announce)(struct net_backend *be, const uint8_t mac[6]); /**< NULL: nobody to tell */
	/**
	 * Tell @changed, from the control loop, when get_info() says something new; NULL: tell
	 * nobody any more. NULL op: nothing changes. Control thread.
	 */
	void (*watch)(struct net_backend *be, void (*changed)(void *arg), void *arg);
	void (*show)(struct net_backend *be,
		     void (*emit)(void *arg, const char *key, const char *value), void *arg);
};

struct net_backend {
	const struct net_backend_ops *ops;
};
struct net_port {
	struct net_backend *be;
};

VDPA_API const struct net_backend_ops *const *net_backend_list(void);
VDPA_API const struct net_backend_ops *net_backend_find(const char *name);
VDPA_API int net_backend_open(const char *name, const struct backend_open_params *params,
			      struct net_backend **out, struct vdpa_error *err);

#ifdef __cplusplus
}
#endif
#endif
