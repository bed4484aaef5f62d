// SPDX-License-Identifier: BSD-3-Clause
/* Configuration space, number of queues, and the two messages that only NICs know. */
#include "driver/vhost_user/server.h"

#include <endian.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

/* RFC 791's minimum, which is also what the virtio specification wants at least (5.1.4.1). */
#define MTU_MIN 68

int vu_get_queue_num(struct vu_session *s, struct vu_msg *msg)
{
	uint64_t n = s->nrings;

	/* Front ends count a NIC's queues in pairs; an odd one is the control queue. */
	if (vdpa_get_device_id(s->dev->vdev) == VIRTIO_ID_NET)
		n = n / 2;
	vu_reply_u64(s, n);
	return 0;
}

/* An answer without payload is how an error looks. */
int vu_get_config(struct vu_session *s, struct vu_msg *msg)
{
	struct vhost_user_config *config = &msg->payload->config;
	const char *why;
	int err = 0;

	if (!vhost_user_config_valid(config, msg->hdr.size, &why)) {
		vu_log(s, VDPA_LOG_WARN, "vhost-user: GET_CONFIG: %s", why);
		err = -EINVAL;
	}
	if (!err)
		err = vhost_vdpa_get_config(s->dev->v, config->offset, config->region,
					    config->size);
	if (err) {
		s->dev->refused++;
		vu_reply(s, NULL, 0, -1);
	} else {
		vu_reply(s, config, msg->hdr.size, -1);
	}
	return 0;
}

/*
 * Whether a field may be written is the device's to know: it ignores a write to one that may not,
 * so what was written is read back. The destination of a migration may "write" what is there
 * anyway.
 */
int vu_set_config(struct vu_session *s, struct vu_msg *msg)
{
	const struct vhost_user_config *config = &msg->payload->config;
	uint8_t now[VHOST_USER_CONFIG_MAX];
	const char *why;
	int err;

	if (!vhost_user_config_valid(config, msg->hdr.size, &why)) {
		vu_log(s, VDPA_LOG_WARN, "vhost-user: SET_CONFIG: %s", why);
		return -EINVAL;
	}
	err = vhost_vdpa_set_config(s->dev->v, config->offset, config->region, config->size);
	if (!err)
		err = vhost_vdpa_get_config(s->dev->v, config->offset, now, config->size);
	if (!err && memcmp(now, config->region, config->size)) {
		vu_log(s, VDPA_LOG_WARN,
		       "vhost-user: SET_CONFIG: %u bytes at %u: the device did not take them",
		       config->size, config->offset);
		err = -EPERM;
	}
	return err;
}

/* The device has its MTU from the day it was made: this only says whether the front end's fits. */
int vu_net_set_mtu(struct vu_session *s, struct vu_msg *msg)
{
	uint64_t mtu = msg->payload->u64, most = UINT16_MAX;
	uint16_t limit;

	if ((vhost_vdpa_get_features(s->dev->v) & VDPA_BIT(VIRTIO_NET_F_MTU)) &&
	    !vhost_vdpa_get_config(s->dev->v, offsetof(struct virtio_net_config, mtu), &limit,
				   sizeof(limit)))
		most = le16toh(limit);
	if (mtu >= MTU_MIN && mtu <= most)
		return 0;
	vu_log(s, VDPA_LOG_WARN, "vhost-user: NET_SET_MTU: %llu is not in %u..%llu",
	       (unsigned long long)mtu, MTU_MIN, (unsigned long long)most);
	return -ERANGE;
}

int vu_send_rarp(struct vu_session *s, struct vu_msg *msg)
{
	return vdpa_announce(s->dev->vdev, msg->payload->bytes);
}
