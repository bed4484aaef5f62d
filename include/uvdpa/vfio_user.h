/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vfio-user: a device that lives in this process is used by a client in another one (a VMM) through
 * a UNIX socket. The server's end is for whoever has a device: regions, interrupts, reset, and the
 * client's memory; it knows nothing of PCI. The client's end is a driver's, for tests and tools.
 *
 * Specification: QEMU, docs/interop/vfio-user.rst, version 0.1; region, interrupt and device flags
 * are those of linux/vfio.h.
 *
 * Threads: a server belongs to one loop of the group, the control loop or a worker, on which all of
 * its operations run. A server on a loop of its own stalls nobody else.
 *
 * Since 0.1.
 */
#ifndef UVDPA_VFIO_USER_H
#define UVDPA_VFIO_USER_H

#include <uvdpa/loop.h>
#include <uvdpa/mem.h>
#include <uvdpa/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the server's end ---- */

struct vfio_user_server;

#define VFIO_USER_REGIONS_MAX 16
#define VFIO_USER_IRQS_MAX 8
#define VFIO_USER_AREAS_MAX 32

/** A piece of a region that the client may map. */
struct vfio_user_area {
	uint64_t offset, size;
};

struct vfio_user_region {
	uint64_t size;	/**< bytes; 0: there is no such region */
	uint32_t flags; /**< VFIO_REGION_INFO_FLAG_READ, _WRITE, _MMAP */
	/** With MMAP: the file that the client maps, from @fd_offset on. The owner's. */
	int fd;
	uint64_t fd_offset;
	/** With MMAP: only these pieces; none: all of it. The owner's, while the server lives. */
	const struct vfio_user_area *areas;
	unsigned nareas;
};

struct vfio_user_irqs {
	uint32_t count; /**< 0: no such interrupts */
	uint32_t flags; /**< VFIO_IRQ_INFO_EVENTFD, _MASKABLE, _AUTOMASKED, _NORESIZE */
};

/** An eventfd that is signalled by a write to a place of a region. */
struct vfio_user_ioeventfd {
	uint64_t offset, size; /**< size 0: of any size */
	int fd;		       /**< the owner's */
	bool match;	       /**< only for the value @datamatch */
	uint64_t datamatch;
};

/** Memory of the client's that the device may use from now on. */
struct vfio_user_dma {
	iova_t iova;
	uint64_t size;
	uint32_t perm; /**< VHOST_MAP_* of vhost_iotlb.h */
	/**
	 * Mapped when a file came with it, else by message: reached by requests to the client,
	 * for which the calling thread waits. Its GPA is the IOVA. The caller's: take a
	 * reference.
	 */
	struct vdpa_region *region;
};

/** States of migration: those of enum vfio_device_mig_state in linux/vfio.h. */
enum vfio_user_mig_state {
	VFIO_USER_MIG_ERROR,
	VFIO_USER_MIG_STOP,
	VFIO_USER_MIG_RUNNING,
	VFIO_USER_MIG_STOP_COPY,
	VFIO_USER_MIG_RESUMING,
	VFIO_USER_MIG_RUNNING_P2P,
	VFIO_USER_MIG_PRE_COPY,
	VFIO_USER_MIG_PRE_COPY_P2P,
};

/**
 * What a device does. All on the server's loop. One operation at a time: the client's next command
 * waits until @done of the one before was called, which may be later and on any thread.
 * Where nothing else is said: 0, and @done is called exactly once with 0 or -errno, which goes to
 * the client; or -errno, and @done is not called.
 */
struct vfio_user_ops {
	size_t size; /**< sizeof(struct vfio_user_ops) */
	/**
	 * The server is on a loop that is inside of another one (vdpa_loop_urgent()), and
	 * operations may also begin while something on the outer one waits for a client's memory by
	 * message: a client that serves such a request only after its own read was answered gets
	 * the answer. They must not touch what may wait there then.
	 */
	bool reentrant;
	/** A client has come, and its version fits. May be NULL. */
	void (*connected)(void *arg);
	/**
	 * It has gone. Its memory is still mapped, until it is unmapped one by one after @done; its
	 * eventfds are gone. The device keeps its state (a client may come back). May be NULL.
	 */
	void (*gone)(void *arg, const struct vdpa_done *done);
	int (*dma_map)(void *arg, const struct vfio_user_dma *dma, const struct vdpa_done *done);
	/** Exactly what was mapped; @done when nothing uses it any more. An error changes nothing.
	 */
	int (*dma_unmap)(void *arg, iova_t iova, uint64_t size, const struct vdpa_done *done);
	/** [@off, @off + @len) lies in the region; @buf lives until @done. */
	int (*region_read)(void *arg, unsigned region, uint64_t off, void *buf, size_t len,
			   const struct vdpa_done *done);
	int (*region_write)(void *arg, unsigned region, uint64_t off, const void *buf, size_t len,
			    const struct vdpa_done *done);
	/** At most @max; how many. May be NULL: none. */
	unsigned (*region_ioeventfds)(void *arg, unsigned region, struct vfio_user_ioeventfd *out,
				      unsigned max);
	/** Eventfds of these interrupts came or went: vfio_user_irq_fd(). May be NULL. */
	void (*irqs_changed)(void *arg, unsigned index, unsigned start, unsigned count);
	/** The client masks or unmasks one. NULL: none is maskable. */
	void (*irq_mask)(void *arg, unsigned index, unsigned sub, bool mask);
	/** NULL: there is no reset. The server's migration state becomes RUNNING. */
	int (*reset)(void *arg, const struct vdpa_done *done);
	/**
	 * One direct arc of the state machine (never one of P2P; those with PRE_COPY only where
	 * @precopy). After an error the state is the one before. NULL: no migration.
	 */
	int (*mig_arc)(void *arg, enum vfio_user_mig_state from, enum vfio_user_mig_state to,
		       const struct vdpa_done *done);
	/** In a saving state: at most @len bytes of the device's state; 0: that was all; -errno. */
	ssize_t (*mig_read)(void *arg, void *buf, size_t len);
	/** In RESUMING: all of @len bytes: 0 or -errno. */
	int (*mig_write)(void *arg, const void *buf, size_t len);
	bool precopy; /**< PRE_COPY is supported */
	/** Log every write to the client's memory into @log; NULL: end that. NULL: no logging. */
	int (*dirty_log)(void *arg, struct vdpa_dirty_log *log, const struct vdpa_done *done);
};

struct vfio_user_config {
	size_t size;	  /**< sizeof(struct vfio_user_config) */
	const char *path; /**< of the socket; copied */
	const char *name; /**< for the log; copied */
	/** socket_mode and socket_owner, as for every socket of ours; may be NULL. */
	const struct vdpa_attr *attrs;
	uint32_t flags; /**< VFIO_DEVICE_FLAGS_PCI, ... (_RESET follows from the ops) */
	const struct vfio_user_region *regions; /**< copied */
	unsigned nregions;
	const struct vfio_user_irqs *irqs; /**< copied */
	unsigned nirqs;
	uint64_t dma_timeout_ns; /**< for a request to the client; 0: 4 s */
	/**
	 * For the parts of all waits for its answers that went beyond 100 ms, less a tenth of the
	 * time that has passed: a client that needs more is sent away. 0: 20 s
	 */
	uint64_t dma_budget_ns;
	const struct vdpa_log *log;	 /**< lives as long as the server; NULL: none */
	const struct vfio_user_ops *ops; /**< lives as long as the server */
	void *arg;
};

/**
 * Listen. Control thread; @loop: the server's. 0; -EINVAL with @err (what of the configuration
 * cannot be); -ENOMEM; and the errors of a listening socket, all with @err. One client at a time: a
 * second waits until the first has gone.
 */
VDPA_API int vfio_user_server_new(struct vdpa_loop *loop, const struct vfio_user_config *config,
				  struct vfio_user_server **out, struct vdpa_error *err);
/**
 * The client is sent away, its memory unmapped, gone() called; then the server is freed, and @done
 * runs on the control loop. Control thread.
 */
VDPA_API void vfio_user_server_free(struct vfio_user_server *srv, const struct vdpa_done *done);
/**
 * Signal an interrupt: 0; -ENOENT (the client has not asked for it); -EINVAL. Any thread.
 */
VDPA_API int vfio_user_irq_trigger(struct vfio_user_server *srv, unsigned index, unsigned sub);
/** A duplicate of an interrupt's eventfd (the caller's), or -errno as above. Any thread. */
VDPA_API int vfio_user_irq_fd(struct vfio_user_server *srv, unsigned index, unsigned sub);

struct vfio_user_stats {
	uint64_t clients;  /**< that came */
	uint64_t commands; /**< handled */
	uint64_t refused;  /**< answered with an error */
	uint64_t reads, writes, posted;
	uint64_t maps; /**< now */
};
/** Any thread. */
VDPA_API void vfio_user_server_stats(struct vfio_user_server *srv, struct vfio_user_stats *stats);

/* ---- the client's end ---- */

/**
 * A client is one thread's. It serves the server's requests for its memory while it waits for
 * replies of its own, and in vfio_user_client_serve().
 */
struct vfio_user_client;

/** Connect and agree on a version. 0 or -errno with @err. */
VDPA_API int vfio_user_client_new(const char *path, uint64_t timeout_ns,
				  struct vfio_user_client **out, struct vdpa_error *err);
/** With a socket that is connected already, which becomes the client's, also on an error. */
VDPA_API int vfio_user_client_new_fd(int fd, uint64_t timeout_ns, struct vfio_user_client **out,
				     struct vdpa_error *err);
VDPA_API void vfio_user_client_free(struct vfio_user_client *c);

struct vfio_user_device_info {
	uint32_t flags, nregions, nirqs;
};
/** All that follow: 0; the server's errno; -ETIMEDOUT, -EIO (gone), -EPROTO (an answer that cannot
 * be: the connection has ended). */
VDPA_API int vfio_user_get_info(struct vfio_user_client *c, struct vfio_user_device_info *info);

struct vfio_user_region_info {
	uint64_t size, fd_offset;
	uint32_t flags;
	int fd; /**< -1: none; else the caller's */
	struct vfio_user_area areas[VFIO_USER_AREAS_MAX];
	unsigned nareas; /**< 0: all of it can be mapped, with _MMAP */
};
VDPA_API int vfio_user_get_region(struct vfio_user_client *c, unsigned region,
				  struct vfio_user_region_info *info);
/** At most @max, whose descriptors are the caller's; how many, or -errno. */
VDPA_API int vfio_user_get_ioeventfds(struct vfio_user_client *c, unsigned region,
				      struct vfio_user_ioeventfd *out, unsigned max);
VDPA_API int vfio_user_get_irqs(struct vfio_user_client *c, unsigned index,
				struct vfio_user_irqs *irqs);
struct vfio_user_irq_set {
	uint32_t flags, index, start, count;
	const void *data;
};
/**
 * SET_IRQS as VFIO has it: @flags VFIO_IRQ_SET_*; @data: with DATA_BOOL a byte for each, with
 * DATA_EVENTFD an int for each (stay the caller's), or NULL with DATA_EVENTFD: take them away.
 */
VDPA_API int vfio_user_set_irqs(struct vfio_user_client *c, const struct vfio_user_irq_set *set);
VDPA_API int vfio_user_region_read(struct vfio_user_client *c, unsigned region, uint64_t off,
				   void *buf, size_t len);
VDPA_API int vfio_user_region_write(struct vfio_user_client *c, unsigned region, uint64_t off,
				    const void *buf, size_t len);
/** The same without an answer: 0 when it was sent. */
VDPA_API int vfio_user_region_post(struct vfio_user_client *c, unsigned region, uint64_t off,
				   const void *buf, size_t len);
struct vfio_user_mem {
	iova_t iova;
	uint64_t size;
	uint32_t perm; /**< VHOST_MAP_* */
	int fd;
	uint64_t offset;
	void *mem;
};
/** Memory for the device: @fd (stays the caller's) from @offset on, or, with @fd -1, @mem, which is
 * reached by message. It must stay until unmapped. */
VDPA_API int vfio_user_dma_map(struct vfio_user_client *c, const struct vfio_user_mem *mem);
VDPA_API int vfio_user_dma_unmap(struct vfio_user_client *c, iova_t iova, uint64_t size);
VDPA_API int vfio_user_reset(struct vfio_user_client *c);
/** DEVICE_FEATURE: @flags as in VFIO; @data of @len bytes out, and at most @max back: how many. */
VDPA_API int vfio_user_feature(struct vfio_user_client *c, uint32_t flags, void *data, size_t len,
			       size_t max);
/** Bytes; 0: that was all; or -errno. */
VDPA_API ssize_t vfio_user_mig_read(struct vfio_user_client *c, void *buf, size_t len);
VDPA_API int vfio_user_mig_write(struct vfio_user_client *c, const void *buf, size_t len);
/** Serve the server's requests until nothing came for @timeout_ns: 0, or -EIO. */
VDPA_API int vfio_user_client_serve(struct vfio_user_client *c, uint64_t timeout_ns);

#ifdef __cplusplus
}
#endif
#endif
