// SPDX-License-Identifier: BSD-3-Clause
/*
 * vhost-user front end: a transport of the virtio bus. The device is another process's; what a vDPA
 * parent is told by config ops is told here by messages. See frontend.h for the layers below.
 *
 * Who attacks: the back end. Its replies are checked in frontend_msg.c and where they are used; its
 * requests in frontend_backend.c; what it writes into rings in the drivers, as for every transport.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "driver/vhost_user/frontend.h"

#define TIMEOUT_NS 5000000000ull
#define QUEUE_SIZE_MAX 256u

/* ---- configuration ---- */

static int config_msg(struct fe *fe, struct fe_msg *msg, unsigned offset, unsigned len)
{
	if (!fe_has(fe, VHOST_USER_PROTOCOL_F_CONFIG))
		return fe->connected ? -EOPNOTSUPP : -ENOTCONN;
	if (!len || len > VHOST_USER_CONFIG_MAX || offset > VHOST_USER_CONFIG_MAX - len)
		return -EINVAL;
	memset(msg, 0, sizeof(msg->hdr) + sizeof(msg->p.config));
	msg->hdr.size = VHOST_USER_CONFIG_HDR_BYTES + len;
	msg->p.config.offset = offset;
	msg->p.config.size = len;
	return 0;
}

/* From the beginning, whatever is asked for: qemu-storage-daemon 11.1 answers so for every offset.
 */
static int fe_config_get(struct virtio_device *dev, unsigned offset, void *buf, unsigned len)
{
	struct fe *fe = to_fe(dev);
	struct fe_expect expect = {
		.min = 0,
	};
	struct fe_msg msg;
	unsigned end;
	int r;

	if (!len || __builtin_add_overflow(offset, len, &end))
		return -EINVAL;
	expect.max = VHOST_USER_CONFIG_HDR_BYTES + end;
	r = config_msg(fe, &msg, 0, end);
	if (r)
		return r;
	msg.hdr.request = VHOST_USER_GET_CONFIG;
	r = fe_get(fe, &msg, &expect);
	if (r)
		return r;
	/* A shorter payload is how a back end refuses. */
	if (msg.hdr.size != VHOST_USER_CONFIG_HDR_BYTES + end)
		return -EINVAL;
	if (msg.p.config.offset || msg.p.config.size != end) {
		fe_lose(fe, "a configuration that was not asked for");
		return -EPROTO;
	}
	memcpy(buf, msg.p.config.region + offset, len);
	return 0;
}

static int fe_config_set(struct virtio_device *dev, unsigned offset, const void *buf, unsigned len)
{
	struct fe *fe = to_fe(dev);
	struct fe_msg msg;
	int r = config_msg(fe, &msg, offset, len);

	if (r)
		return r;
	msg.hdr.request = VHOST_USER_SET_CONFIG;
	memcpy(msg.p.config.region, buf, len);
	return fe_set(fe, &msg, NULL, 0);
}

/* ---- status and features ---- */

static uint8_t fe_get_status(struct virtio_device *dev)
{
	struct fe *fe = to_fe(dev);
	uint64_t status;

	if (!fe_has(fe, VHOST_USER_PROTOCOL_F_STATUS) ||
	    fe_get_u64(fe, VHOST_USER_GET_STATUS, &status))
		return fe->status;
	return (uint8_t)status;
}

static int fe_set_status(struct virtio_device *dev, uint8_t status)
{
	struct fe *fe = to_fe(dev);
	int r = 0;

	if (!status)
		return -EINVAL;
	if (!fe->connected)
		return -ENOTCONN;
	if (status & VIRTIO_CONFIG_S_DRIVER_OK && !(status & VIRTIO_CONFIG_S_FAILED))
		r = fe_rings_start(fe);
	if (!r && fe_has(fe, VHOST_USER_PROTOCOL_F_STATUS))
		r = fe_set_u64(fe, VHOST_USER_SET_STATUS, status);
	if (!r)
		fe->status = status;
	return r;
}

/* A back end that is gone is as good as reset: it is told nothing, and starts from nothing if it
 * comes back. */
static int fe_reset(struct virtio_device *dev, const struct vdpa_done *done)
{
	struct fe *fe = to_fe(dev);
	struct fe_msg msg = {.hdr = {.request = VHOST_USER_RESET_DEVICE}};

	fe_rings_stop(fe);
	if (fe_has(fe, VHOST_USER_PROTOCOL_F_RESET_DEVICE))
		fe_set(fe, &msg, NULL, 0);
	if (fe_has(fe, VHOST_USER_PROTOCOL_F_STATUS))
		fe_set_u64(fe, VHOST_USER_SET_STATUS, 0);
	fe->status = 0;
	fe->features_set = false;
	fe->driver_features = 0;
	vdpa_done_call(done, 0);
	return 0;
}

/*
 * What means nothing without a configuration space: a back end that has none offers it for the
 * front end's own, as DPDK's NIC does, and we have none either.
 */
#define NET_CONFIG_FEATURES                                                                        \
	(VDPA_BIT(VIRTIO_NET_F_MAC) | VDPA_BIT(VIRTIO_NET_F_STATUS) | VDPA_BIT(VIRTIO_NET_F_MTU) | \
	 VDPA_BIT(VIRTIO_NET_F_MQ) | VDPA_BIT(VIRTIO_NET_F_SPEED_DUPLEX))

/* The control queue of a NIC is the front end's, and we have none; what needs one is not used. */
#define NET_CONTROL_FEATURES                                                                       \
	(VDPA_BIT(VIRTIO_NET_F_CTRL_VQ) | VDPA_BIT(VIRTIO_NET_F_CTRL_RX) |                         \
	 VDPA_BIT(VIRTIO_NET_F_CTRL_VLAN) | VDPA_BIT(VIRTIO_NET_F_CTRL_RX_EXTRA) |                 \
	 VDPA_BIT(VIRTIO_NET_F_CTRL_MAC_ADDR) | VDPA_BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) |       \
	 VDPA_BIT(VIRTIO_NET_F_GUEST_ANNOUNCE) | VDPA_BIT(VIRTIO_NET_F_MQ) |                       \
	 VDPA_BIT(VIRTIO_NET_F_RSS) | VDPA_BIT(VIRTIO_NET_F_NOTF_COAL) |                           \
	 VDPA_BIT(VIRTIO_NET_F_VQ_NOTF_COAL) | VDPA_BIT(VIRTIO_NET_F_DEVICE_STATS))

static uint64_t fe_get_features(struct virtio_device *dev)
{
	struct fe *fe = to_fe(dev);
	/* No eventfd carries the data of a notification. */
	uint64_t not_virtio = VDPA_BIT(VHOST_USER_F_PROTOCOL_FEATURES) | VDPA_BIT(VHOST_F_LOG_ALL) |
			      VDPA_BIT(VIRTIO_F_NOTIFICATION_DATA);

	if (!fe->iommu)
		not_virtio |= VDPA_BIT(VIRTIO_F_ACCESS_PLATFORM);
	if (dev->id == VIRTIO_ID_NET)
		not_virtio |= NET_CONTROL_FEATURES;
	if (dev->id == VIRTIO_ID_NET && fe->connected && !fe_has(fe, VHOST_USER_PROTOCOL_F_CONFIG))
		not_virtio |= NET_CONFIG_FEATURES;
	return fe->features & ~not_virtio;
}

static int fe_finalize_features(struct virtio_device *dev, struct vdpa_error *err)
{
	struct fe *fe = to_fe(dev);
	int r;

	if (dev->features & ~fe_get_features(dev))
		return vdpa_error_set(err, EINVAL, dev->name,
				      "features that are not offered: %#llx",
				      (unsigned long long)(dev->features & ~fe_get_features(dev)));
	if (!virtio_has_feature(dev, VIRTIO_F_VERSION_1))
		return vdpa_error_set(err, ENOTSUP, dev->name,
				      "the back end does not offer VERSION_1");
	if (fe->iommu && (!virtio_has_feature(dev, VIRTIO_F_ACCESS_PLATFORM) ||
			  !fe_has(fe, VHOST_USER_PROTOCOL_F_BACKEND_REQ)))
		return vdpa_error_set(err, ENOTSUP, dev->name,
				      "the back end cannot translate: it needs ACCESS_PLATFORM and "
				      "requests of its own");
	fe->driver_features = dev->features;
	r = fe_send_features(fe);
	if (r)
		return vdpa_error_set(err, -r, dev->name, "the back end refuses features %#llx",
				      (unsigned long long)dev->features);
	fe->features_set = true;
	return 0;
}

/* ---- queues ---- */

static unsigned fe_num_vqs(struct virtio_device *dev)
{
	return to_fe(dev)->queues;
}

static uint32_t fe_vq_num_max(struct virtio_device *dev, uint16_t index)
{
	(void)index;
	return to_fe(dev)->queue_size_max;
}

static int fe_setup_vq(struct virtio_device *dev, struct virtio_vq *vq, struct vdpa_error *err)
{
	return fe_ring_setup(to_fe(dev), vq, err);
}

static void fe_del_vq(struct virtio_device *dev, struct virtio_vq *vq)
{
	fe_ring_close(&to_fe(dev)->rings[vq->index]);
}

static bool fe_vq_ready(struct virtio_device *dev, uint16_t index)
{
	return to_fe(dev)->rings[index].ready;
}

static int fe_reset_vq(struct virtio_device *dev, struct virtio_vq *vq,
		       const struct vdpa_done *done)
{
	fe_ring_reset(to_fe(dev), vq);
	vdpa_done_call(done, 0);
	return 0;
}

static void fe_notify(struct virtio_device *dev, struct virtio_vq *vq)
{
	vdpa_eventfd_signal_shared(to_fe(dev)->rings[vq->index].kick);
}

/* ---- the rest ---- */

/* As an IOMMU of 39 bits, so that guest addresses stay small too. */
static struct vdpa_iova_range fe_iova_range(struct virtio_device *dev)
{
	(void)dev;
	return (struct vdpa_iova_range){.first = 0, .last = (1ull << 38) - 1};
}

static void fe_show(struct virtio_device *dev, vdpa_emit_fn emit, void *arg)
{
	struct fe *fe = to_fe(dev);
	char buf[24];

	emit(arg, "connected", fe->connected ? "yes" : "no");
	vu_show_proto(fe->protocol, emit, arg);
	snprintf(buf, sizeof(buf), "%u", fe->reconnects);
	emit(arg, "reconnects", buf);
}

static void fe_disconnect(struct virtio_device *dev)
{
	fe_close(to_fe(dev));
}

static void fe_release(struct virtio_device *dev)
{
	struct fe *fe = to_fe(dev);

	fe_log_close(fe);
	vdpa_fd_close(&fe->inflight_fd);
	free(fe->rings);
	free(fe->slots);
	free(fe->path);
	free(fe);
}

const struct virtio_config_ops vhost_user_fe_ops = {
	.transport = "vhost-user",
	.get = fe_config_get,
	.set = fe_config_set,
	.get_status = fe_get_status,
	.set_status = fe_set_status,
	.reset = fe_reset,
	.get_features = fe_get_features,
	.finalize_features = fe_finalize_features,
	.num_vqs = fe_num_vqs,
	.vq_num_max = fe_vq_num_max,
	.setup_vq = fe_setup_vq,
	.del_vq = fe_del_vq,
	.vq_ready = fe_vq_ready,
	.reset_vq = fe_reset_vq,
	.notify = fe_notify,
	.iova_range = fe_iova_range,
	.map = fe_map,
	.unmap = fe_unmap,
	.show = fe_show,
	.disconnect = fe_disconnect,
	.release = fe_release,
};

static int backend_fd(void *arg)
{
	struct fe *fe = arg;

	return fe->backend.sock;
}

static void backend_serve(void *arg)
{
	fe_backend_serve(arg);
}

static void init(struct fe *fe, struct vdpa_ctx *ctx,
		 const struct vhost_user_frontend_config *config)
{
	virtio_device_init(&fe->vd, ctx, &vhost_user_fe_ops, config->device_id);
	snprintf(fe->vd.bus_name, sizeof(fe->vd.bus_name), "vhost-user/%s",
		 config->path ? config->path : "fd");
	fe->timeout_ns = config->timeout_ns ? config->timeout_ns : TIMEOUT_NS;
	fe->protocol_off = config->protocol_features_off;
	fe->queue_size_max = config->queue_size_max ? config->queue_size_max : QUEUE_SIZE_MAX;
	fe->iommu = config->iommu;
	fe->reconnect = config->reconnect && config->path;
	fe->inflight_fd = fe->log_fd = -1;
	fe->backend = (struct fe_channel){.sock = -1, .timeout_ns = fe->timeout_ns};
	fe->ch = (struct fe_channel){
		.sock = -1,
		.timeout_ns = fe->timeout_ns,
		.other_fd = backend_fd,
		.other = backend_serve,
		.arg = fe,
	};
	fe->rl = (struct vdpa_ratelimit)VDPA_RATELIMIT_INIT;
}

int vhost_user_frontend_new(struct vdpa_ctx *ctx, const struct vhost_user_frontend_config *config,
			    struct virtio_device **out, struct vdpa_error *err)
{
	struct fe *fe;
	int r;

	if (config->size != sizeof(*config))
		return vdpa_error_set(err, EINVAL, "vhost-user", "a configuration of unknown size");
	fe = calloc(1, sizeof(*fe));
	if (!fe)
		return vdpa_error_set(err, ENOMEM, "vhost-user", "no memory");
	init(fe, ctx, config);
	if (config->path) {
		fe->path = strdup(config->path);
		if (!fe->path) {
			fe_release(&fe->vd);
			return vdpa_error_set(err, ENOMEM, "vhost-user", "no memory");
		}
	}
	r = fe_connect(fe, config->fd, err);
	if (r) {
		fe_release(&fe->vd);
		return r;
	}
	r = virtio_device_register(&fe->vd, config->options, err);
	if (!r)
		*out = &fe->vd;
	return r;
}

void vhost_user_frontend_free(struct virtio_device *dev, const struct vdpa_done *done)
{
	virtio_device_unregister(dev, done);
}

bool vhost_user_frontend_connected(struct virtio_device *dev)
{
	return to_fe(dev)->connected;
}

unsigned vhost_user_frontend_reconnects(struct virtio_device *dev)
{
	return to_fe(dev)->reconnects;
}

uint64_t vhost_user_frontend_protocol_features(struct virtio_device *dev)
{
	return to_fe(dev)->protocol;
}

int vhost_user_frontend_set_mtu(struct virtio_device *dev, uint16_t mtu)
{
	struct fe *fe = to_fe(dev);

	if (!fe_has(fe, VHOST_USER_PROTOCOL_F_MTU))
		return -EOPNOTSUPP;
	return fe_set_u64(fe, VHOST_USER_NET_SET_MTU, mtu);
}

int vhost_user_frontend_send_rarp(struct virtio_device *dev, const uint8_t mac[6])
{
	struct fe *fe = to_fe(dev);
	uint64_t value = 0;

	if (!fe_has(fe, VHOST_USER_PROTOCOL_F_RARP))
		return -EOPNOTSUPP;
	memcpy(&value, mac, 6);
	return fe_set_u64(fe, VHOST_USER_SEND_RARP, value);
}
