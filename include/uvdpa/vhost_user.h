/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vhost-user: the bus driver that serves a device, and the front end that uses one.
 *
 * Since 0.1, unless a function says otherwise.
 */
#ifndef UVDPA_VHOST_USER_H
#define UVDPA_VHOST_USER_H

#include <uvdpa/types.h>
#include <uvdpa/vdpa.h>
#include <uvdpa/virtio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- back end (server): the bus driver "vhost-user" ---- */

/* clang-format off */
/*
 * Bind a device to it and it is served on a socket, to one front end at a time; the next one waits
 * in the socket's backlog until the device has been reset. Attributes of the binding:
 *
 *   path           socket to listen on, or (mode client) to connect to. The file is replaced when
 *                  nobody listens on it, and removed at the end; -EADDRINUSE when somebody does
 *   fd             instead of path: a listening or a connected socket. Taken over when the bind
 *                  succeeds
 *   mode           server (default), or client: connect, again every second
 *   on_disconnect  relisten (default), or exit-notify: the event VHOST_USER_EVENT_FINISHED, no
 *                  further session
 *   socket_mode    permissions of the socket file, octal
 *   socket_owner   USER, USER:GROUP or :GROUP of the socket file
 *   control_queue  on: offer the features of a NIC's control queue too (default off: front ends
 *                  keep it, and with several pairs are offered MQ and CTRL_VQ for it)
 *   iommu          off: do not offer VIRTIO_F_ACCESS_PLATFORM (default on)
 */
/* clang-format on */
VDPA_API const struct vdpa_driver *vhost_user_driver(void);

/** Details of the VDPA_EVENT_CHANGE events that a binding sends. */
#define VHOST_USER_EVENT_CONNECTED "vhost-user: connected"
#define VHOST_USER_EVENT_DISCONNECTED "vhost-user: disconnected"
/** No front end can come any more (on_disconnect exit-notify, or a connected descriptor was given).
 */
#define VHOST_USER_EVENT_FINISHED "vhost-user: finished"

/* ---- front end (client) ---- */

/*
 * A virtio device whose back end is another process, reached through a vhost-user socket. It stands
 * on the virtio bus: the virtio-blk and virtio-net drivers use it as any other. The control thread
 * sends requests and waits for their replies, each with a deadline; so the back end must not be
 * served by the same control loop. The back end is not trusted: a reply that is late, malformed, of
 * the wrong kind or with file descriptors that are not due ends the connection.
 */
struct vhost_user_frontend_config {
	size_t size;	  /**< sizeof(struct vhost_user_frontend_config) */
	const char *path; /**< socket to connect to; NULL: @fd */
	int fd; /**< a connected socket; becomes the front end's, also on error. Without @path only
		 */
	uint32_t device_id;		      /**< VIRTIO_ID_*: the protocol does not tell it */
	const struct virtio_options *options; /**< for the driver; NULL: defaults */
	bool iommu;	/**< negotiate ACCESS_PLATFORM and translate by IOTLB messages, on misses */
	bool reconnect; /**< with @path: when the back end goes away, come back and go on where it
			   was */
	uint64_t timeout_ns;		/**< for each reply; 0: 5 s */
	uint64_t protocol_features_off; /**< do not negotiate these (VHOST_USER_PROTOCOL_F_*) */
	uint32_t queue_size_max;	/**< the protocol does not tell it either; 0: 256 */
};

/**
 * Connect, negotiate, and put the device on the virtio bus with its driver attached. -EINVAL, the
 * errors of connect(), -ETIMEDOUT, -EPROTO, -ENOTSUP and others with @err filled. Control thread.
 */
VDPA_API int vhost_user_frontend_new(struct vdpa_ctx *ctx,
				     const struct vhost_user_frontend_config *config,
				     struct virtio_device **out, struct vdpa_error *err);
/** Detach the driver, reset the device, close; then @done. Before the context is freed. */
VDPA_API void vhost_user_frontend_free(struct virtio_device *dev, const struct vdpa_done *done);
/** False while the back end is away. */
VDPA_API bool vhost_user_frontend_connected(struct virtio_device *dev);
/** How often it came back. */
VDPA_API unsigned vhost_user_frontend_reconnects(struct virtio_device *dev);
/** Negotiated protocol features, VHOST_USER_PROTOCOL_F_* bits. */
VDPA_API uint64_t vhost_user_frontend_protocol_features(struct virtio_device *dev);

/**
 * Have the back end log every write to the driver's memory, from now on (LOG_SHMFD); stop. 0,
 * -EOPNOTSUPP, -EALREADY, -ENOTCONN.
 */
VDPA_API int vhost_user_frontend_log_start(struct virtio_device *dev, struct vdpa_error *err);
VDPA_API int vhost_user_frontend_log_stop(struct virtio_device *dev);
/**
 * Which of the pages (VDPA_DIRTY_PAGE_BYTES) of [@addr, @addr + @npages pages) were written since
 * the last call: a bit each. @addr: page-aligned, in memory of the device. 0, -EFAULT, -EINVAL.
 */
VDPA_API int vhost_user_frontend_log_sync(struct virtio_device *dev, const void *addr,
					  uint64_t npages, uint64_t *bitmap);

/** NET_SET_MTU and SEND_RARP: 0, -EOPNOTSUPP (not negotiated), or the back end's refusal,
 * -EREMOTEIO. */
VDPA_API int vhost_user_frontend_set_mtu(struct virtio_device *dev, uint16_t mtu);
VDPA_API int vhost_user_frontend_send_rarp(struct virtio_device *dev, const uint8_t mac[6]);

#ifdef __cplusplus
}
#endif
#endif
