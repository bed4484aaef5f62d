// SPDX-License-Identifier: BSD-3-Clause
/*
 * Features, protocol features, ownership, status, reset.
 *
 * vhost-user differs from a virtio transport in that most front ends never speak of a device
 * status, may set features again while rings run (to switch the dirty log), and may start rings
 * before DRIVER_OK. So the status that the front end sees is kept here, and the device's own is
 * driven as a virtio driver would do it: acknowledged and started at the latest when the first ring
 * starts.
 */
#include "driver/vhost_user/server.h"

#include <errno.h>
#include <string.h>

#define LOG_ALL VDPA_BIT(VHOST_F_LOG_ALL)
#define PROTOCOL VDPA_BIT(VHOST_USER_F_PROTOCOL_FEATURES)
#define PLATFORM VDPA_BIT(VIRTIO_F_ACCESS_PLATFORM)

/* The front end keeps the control queue of a NIC to itself: what needs one is not offered. */
#define NET_CONTROL                                                                                \
	(VDPA_BIT(VIRTIO_NET_F_CTRL_VQ) | VDPA_BIT(VIRTIO_NET_F_CTRL_RX) |                         \
	 VDPA_BIT(VIRTIO_NET_F_CTRL_VLAN) | VDPA_BIT(VIRTIO_NET_F_CTRL_RX_EXTRA) |                 \
	 VDPA_BIT(VIRTIO_NET_F_CTRL_MAC_ADDR) | VDPA_BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) |       \
	 VDPA_BIT(VIRTIO_NET_F_GUEST_ANNOUNCE) | VDPA_BIT(VIRTIO_NET_F_MQ) |                       \
	 VDPA_BIT(VIRTIO_NET_F_RSS) | VDPA_BIT(VIRTIO_NET_F_HASH_REPORT) |                         \
	 VDPA_BIT(VIRTIO_NET_F_NOTF_COAL) | VDPA_BIT(VIRTIO_NET_F_VQ_NOTF_COAL) |                  \
	 VDPA_BIT(VIRTIO_NET_F_DEVICE_STATS))

/* Of a NIC with several pairs, so that the guest can have them: the control queue that goes with it
 * is the front end's, and so are these bits (virtio 1.3, sections 5.1.3 and 5.1.6.5.6). */
#define NET_PAIRS (VDPA_BIT(VIRTIO_NET_F_MQ) | VDPA_BIT(VIRTIO_NET_F_CTRL_VQ))

static bool is_net(const struct vu_dev *dev)
{
	return vdpa_get_device_id(dev->vdev) == VIRTIO_ID_NET;
}

/* Those that are the device's to have. */
static uint64_t device_features(const struct vu_dev *dev)
{
	uint64_t features = vhost_vdpa_get_features(dev->v);

	/* No field of the protocol carries the data of a kick. */
	features &= ~(VDPA_BIT(VIRTIO_F_NOTIFICATION_DATA) | LOG_ALL | PROTOCOL);
	if (is_net(dev) && !dev->control_queue)
		features &= ~NET_CONTROL;
	return features;
}

uint64_t vu_features(const struct vu_dev *dev)
{
	uint64_t features = device_features(dev);

	if (is_net(dev) && !dev->control_queue && dev->vdev->nvqs >= 4)
		features |= NET_PAIRS;
	if (!dev->iommu)
		features &= ~PLATFORM;
	if (vdpa_has_ext(dev->vdev, set_dirty_log))
		features |= LOG_ALL;
	return features | PROTOCOL;
}

/* Never 21 and 22: implementations disagree about what they mean. */
uint64_t vu_protocol_features(const struct vu_dev *dev)
{
	uint64_t proto = VDPA_BIT(VHOST_USER_PROTOCOL_F_MQ) |
			 VDPA_BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK) |
			 VDPA_BIT(VHOST_USER_PROTOCOL_F_BACKEND_REQ) |
			 VDPA_BIT(VHOST_USER_PROTOCOL_F_RESET_DEVICE) |
			 VDPA_BIT(VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS) |
			 VDPA_BIT(VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS) |
			 VDPA_BIT(VHOST_USER_PROTOCOL_F_STATUS);

	if (vdpa_has_ext(dev->vdev, set_dirty_log))
		proto |= VDPA_BIT(VHOST_USER_PROTOCOL_F_LOG_SHMFD);
	if (vdpa_has_ext(dev->vdev, set_vq_inflight))
		proto |= VDPA_BIT(VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD);
	if (vhost_vdpa_get_config_size(dev->v))
		proto |= VDPA_BIT(VHOST_USER_PROTOCOL_F_CONFIG);
	if (is_net(dev))
		proto |= VDPA_BIT(VHOST_USER_PROTOCOL_F_MTU);
	if (is_net(dev) && vdpa_has_ext(dev->vdev, announce))
		proto |= VDPA_BIT(VHOST_USER_PROTOCOL_F_RARP);
	return proto;
}

/* ---- the device's status ---- */

static int add_status(struct vu_session *s, uint8_t bits)
{
	uint8_t status = vhost_vdpa_get_status(s->dev->v);

	if ((status & bits) == bits)
		return 0;
	return vhost_vdpa_set_status(s->dev->v, status | bits, NULL);
}

static const char *feature_names(const struct vu_session *s, uint64_t features, char *buf,
				 size_t len)
{
	return vdpa_feature_names(vdpa_get_device_id(s->dev->vdev), features, buf, len);
}

static int features_ok(struct vu_session *s)
{
	char names[768];
	int err = 0;

	if (vhost_vdpa_get_status(s->dev->v) & VIRTIO_CONFIG_S_FEATURES_OK)
		return 0;
	if (!s->features_set)
		err = vhost_vdpa_set_features(s->dev->v, 0);
	if (!err)
		err = add_status(s, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	if (!err)
		err = add_status(s, VIRTIO_CONFIG_S_DRIVER);
	if (!err)
		err = add_status(s, VIRTIO_CONFIG_S_FEATURES_OK);
	if (!err && !(vhost_vdpa_get_status(s->dev->v) & VIRTIO_CONFIG_S_FEATURES_OK)) {
		vu_log(s, VDPA_LOG_WARN, "vhost-user: the device does not work with features %s",
		       feature_names(s, s->features, names, sizeof(names)));
		err = -EINVAL;
	}
	return err;
}

int vu_activate(struct vu_session *s)
{
	int err = features_ok(s);

	return err ? err : add_status(s, VIRTIO_CONFIG_S_DRIVER_OK);
}

/* ---- reset ---- */

static void reset_settled(struct vu_session *s, int result)
{
	s->after_reset(s, result);
}

static void reset_done(void *arg, int result)
{
	struct vu_session *s = arg;
	struct vdpa_done done;
	int err;

	for (unsigned i = 0; i < s->nrings; i++) {
		s->ring[i].running = false;
		s->ring[i].started = false;
		s->ring[i].have_base = false;
	}
	s->features_set = false;
	if (!result)
		vu_inflight_clear(s);
	if (result || s->closing) {
		s->after_reset(s, s->closing ? -ECANCELED : result);
		return;
	}
	vu_wait_begin(s, reset_settled);
	done = vu_wait_add(s);
	err = vu_iotlb_forget(s, &done);
	if (err)
		vu_wait_put(s, err);
	if (s->logging) {
		done = vu_wait_add(s);
		err = vu_log_apply(s, &done);
		if (err)
			vu_wait_put(s, err);
	}
	vu_wait_put(s, 0);
}

int vu_reset(struct vu_session *s, void (*then)(struct vu_session *s, int result))
{
	struct vdpa_done done = {.fn = reset_done, .arg = s};
	int err;

	for (unsigned i = 0; i < s->nrings; i++)
		vu_discard_stop(&s->ring[i]);
	s->after_reset = then;
	err = vhost_vdpa_set_status(s->dev->v, 0, &done);
	return err ? err : VU_DEFERRED;
}

static void reset_answer(struct vu_session *s, int result)
{
	vu_session_done(s, result);
}

/* Requests in flight are forgotten, as the guest's driver has forgotten them; the memory table
 * stays. */
int vu_reset_device(struct vu_session *s, struct vu_msg *msg)
{
	for (unsigned i = 0; i < s->nrings; i++)
		s->ring[i].enabled = false;
	s->status = 0;
	return vu_reset(s, reset_answer);
}

/* ---- features ---- */

int vu_get_features(struct vu_session *s, struct vu_msg *msg)
{
	vu_reply_u64(s, vu_features(s->dev));
	return 0;
}

static void features_logged(void *arg, int result)
{
	vu_session_done(arg, result);
}

/* Last step: log or not. */
static void features_switched(struct vu_session *s, int result)
{
	bool log = s->features & LOG_ALL;
	struct vdpa_done done = {.fn = features_logged, .arg = s};

	if (result || s->closing || log == s->logging) {
		vu_session_done(s, result);
		return;
	}
	s->logging = log;
	result = s->log ? vu_log_apply(s, &done) : 0;
	if (result || !s->log)
		vu_session_done(s, result);
}

/* The device has its features: enable rings, see what addresses mean from now on. */
static void features_set(struct vu_session *s, uint64_t features)
{
	int err = 0;

	s->features = features;
	s->features_set = true;
	if (!(features & PROTOCOL))
		for (unsigned i = 0; i < s->nrings && !err; i++) {
			vu_discard_stop(&s->ring[i]);
			s->ring[i].enabled = true;
			err = vu_ring_update(&s->ring[i]);
		}
	vu_iotlb_update_miss(s);
	if (!err)
		err = vu_mem_switch(s, features & PLATFORM, features_switched);
	if (err != VU_DEFERRED)
		features_switched(s, err);
}

static void features_reset(struct vu_session *s, int result)
{
	uint64_t features = s->payload.u64;

	if (!result)
		result = vhost_vdpa_set_features(s->dev->v, features & device_features(s->dev));
	if (result) {
		vu_session_done(s, result);
		return;
	}
	s->status &= ~(VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK);
	features_set(s, features);
}

int vu_set_features(struct vu_session *s, struct vu_msg *msg)
{
	uint64_t features = msg->payload->u64, offered = vu_features(s->dev);
	char names[768];
	bool same = s->features_set && !((features ^ s->features) & ~(LOG_ALL | PROTOCOL));
	int err;

	if (features & ~offered) {
		vu_log(s, VDPA_LOG_WARN, "vhost-user: SET_FEATURES: not offered: %s",
		       feature_names(s, features & ~offered, names, sizeof(names)));
		return -EINVAL;
	}
	if (!same && (vhost_vdpa_get_status(s->dev->v) & VIRTIO_CONFIG_S_FEATURES_OK)) {
		if (vu_ring_any_running(s)) {
			vu_log(s, VDPA_LOG_WARN,
			       "vhost-user: SET_FEATURES: features cannot change while rings run");
			return -EBUSY;
		}
		/* Firmware is done with the device, and the next driver wants other features. */
		return vu_reset(s, features_reset);
	}
	if (!same) {
		err = vhost_vdpa_set_features(s->dev->v, features & device_features(s->dev));
		if (err)
			return err;
	}
	features_set(s, features);
	return VU_DEFERRED;
}

int vu_get_protocol_features(struct vu_session *s, struct vu_msg *msg)
{
	vu_reply_u64(s, vu_protocol_features(s->dev));
	return 0;
}

int vu_set_protocol_features(struct vu_session *s, struct vu_msg *msg)
{
	const uint64_t inband_needs = VDPA_BIT(VHOST_USER_PROTOCOL_F_BACKEND_REQ) |
				      VDPA_BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK);
	uint64_t proto = msg->payload->u64, offered = vu_protocol_features(s->dev);
	char names[512];

	if (proto & ~offered) {
		vu_log(s, VDPA_LOG_WARN, "vhost-user: SET_PROTOCOL_FEATURES: not offered: %s",
		       vu_proto_names(proto & ~offered, names, sizeof(names)));
		return -EINVAL;
	}
	if (proto != s->proto && vu_session_state(s) == VU_RUNNING) {
		vu_log(s, VDPA_LOG_WARN, "vhost-user: SET_PROTOCOL_FEATURES: a ring is started");
		return -EBUSY;
	}
	if ((proto & VDPA_BIT(VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS)) &&
	    (proto & inband_needs) != inband_needs) {
		/* "In-band notifications": closing is the one way to say so. */
		vu_session_close(s, "in-band notifications without BACKEND_REQ and REPLY_ACK");
		return -EINVAL;
	}
	s->proto = proto;
	return 0;
}

/* ---- owner and status ---- */

int vu_set_owner(struct vu_session *s, struct vu_msg *msg)
{
	int err = vhost_vdpa_set_owner(s->dev->v);

	return err == -EBUSY ? 0 : err;
}

static void owner_stopped(struct vu_session *s, int result)
{
	vu_session_done(s, result);
}

int vu_reset_owner(struct vu_session *s, struct vu_msg *msg)
{
	vu_wait_begin(s, owner_stopped);
	for (unsigned i = 0; i < s->nrings; i++) {
		struct vdpa_done done;
		int err;

		vu_discard_stop(&s->ring[i]);
		s->ring[i].enabled = false;
		if (!s->ring[i].running)
			continue;
		done = vu_wait_add(s);
		err = vu_ring_stop(&s->ring[i], &done);
		if (err)
			vu_wait_put(s, err);
	}
	vu_wait_put(s, 0);
	return VU_DEFERRED;
}

int vu_get_status(struct vu_session *s, struct vu_msg *msg)
{
	uint8_t status = vhost_vdpa_get_status(s->dev->v);

	vu_reply_u64(s, s->status | (status & VIRTIO_CONFIG_S_NEEDS_RESET));
	return 0;
}

int vu_set_status(struct vu_session *s, struct vu_msg *msg)
{
	uint64_t status = msg->payload->u64;
	char names[128];
	int err = 0;

	if (status > UINT8_MAX)
		return -EINVAL;
	if (!status) {
		s->status = 0;
		return vu_reset(s, reset_answer);
	}
	if (s->status & ~status & ~VIRTIO_CONFIG_S_NEEDS_RESET) {
		vu_log(s, VDPA_LOG_WARN, "vhost-user: SET_STATUS would clear %s",
		       vdpa_status_names(s->status & ~(uint8_t)status, names, sizeof(names)));
		return -EINVAL;
	}
	/* What the device refuses the front end sees in GET_STATUS (virtio 1.3, section 3.1.1). */
	if ((status & VIRTIO_CONFIG_S_FEATURES_OK) && features_ok(s))
		status &= ~VIRTIO_CONFIG_S_FEATURES_OK;
	if (status & VIRTIO_CONFIG_S_DRIVER_OK)
		err = vu_activate(s);
	if (!err && (status & VIRTIO_CONFIG_S_FAILED))
		err = add_status(s, VIRTIO_CONFIG_S_FAILED);
	if (!err)
		s->status = (uint8_t)status & ~VIRTIO_CONFIG_S_NEEDS_RESET;
	return err;
}
