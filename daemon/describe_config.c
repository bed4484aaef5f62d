// SPDX-License-Identifier: BSD-3-Clause
/* Configuration spaces, virtio 1.3 sections 5.1.4 and 5.2.4, and queue statistics. */
#include <endian.h>
#include <string.h>
#include <uvdpa/compat.h>
#include "ctl/json.h"
#include "ctl/names.h"
#include "describe.h"
#include "devs.h"

/*
 * A read through vdpa_get_config() before the driver has set features means a legacy driver, and
 * sets them to 0. We are no driver: until then nobody else touches the device, and its op is called
 * directly.
 */
void describe_peek(struct vdpa_device *vdev, unsigned offset, void *buf, unsigned len)
{
	size_t size = vdpa_get_config_size(vdev);

	memset(buf, 0, len);
	if (offset >= size)
		return;
	if (len > size - offset)
		len = (unsigned)(size - offset);
	if (!vdev->features_valid)
		vdev->config->get_config(vdev, offset, buf, len);
	else if (vdpa_get_config(vdev, offset, buf, len))
		memset(buf, 0, len);
}

static bool has(uint64_t features, unsigned bit)
{
	return features >> bit & 1;
}

static json_t *mac_json(const uint8_t mac[6])
{
	return json_sprintf("%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
			    mac[5]);
}

/* Keys, order and the blanks at the end of two of them are iproute2's. */
static void net_config(json_t *obj, struct vdpa_device *vdev, uint64_t features)
{
	struct virtio_net_config c;
	uint16_t status;

	describe_peek(vdev, 0, &c, sizeof(c));
	status = le16toh(c.status);
	if (has(features, VIRTIO_NET_F_MAC))
		json_object_set_new(obj, "mac", mac_json(c.mac));
	if (has(features, VIRTIO_NET_F_STATUS)) {
		json_object_set_new(obj, "link ",
				    json_string(status & VIRTIO_NET_S_LINK_UP ? "up" : "down"));
		json_object_set_new(obj, "link_announce ",
				    json_boolean(status & VIRTIO_NET_S_ANNOUNCE));
	}
	if (has(features, VIRTIO_NET_F_MQ))
		json_object_set_new(obj, "max_vq_pairs",
				    json_integer(le16toh(c.max_virtqueue_pairs)));
	if (has(features, VIRTIO_NET_F_MTU))
		json_object_set_new(obj, "mtu", json_integer(le16toh(c.mtu)));
}

static void blk_limits(json_t *obj, const struct virtio_blk_config *c, uint64_t features)
{
	if (has(features, VIRTIO_BLK_F_DISCARD)) {
		json_object_set_new(obj, "max_discard_sectors",
				    json_integer(le32toh(c->max_discard_sectors)));
		json_object_set_new(obj, "max_discard_seg",
				    json_integer(le32toh(c->max_discard_seg)));
		json_object_set_new(obj, "discard_sector_alignment",
				    json_integer(le32toh(c->discard_sector_alignment)));
	}
	if (has(features, VIRTIO_BLK_F_WRITE_ZEROES)) {
		json_object_set_new(obj, "max_write_zeroes_sectors",
				    json_integer(le32toh(c->max_write_zeroes_sectors)));
		json_object_set_new(obj, "write_zeroes_may_unmap",
				    json_boolean(c->write_zeroes_may_unmap));
	}
}

static void blk_config(json_t *obj, struct vdpa_device *vdev, uint64_t features)
{
	struct virtio_blk_config c;

	describe_peek(vdev, 0, &c, sizeof(c));
	json_object_set_new(obj, "capacity_sectors", ctl_json_u64(le64toh(c.capacity)));
	json_object_set_new(obj, "read_only", json_boolean(has(features, VIRTIO_BLK_F_RO)));
	if (has(features, VIRTIO_BLK_F_SIZE_MAX))
		json_object_set_new(obj, "size_max", json_integer(le32toh(c.size_max)));
	if (has(features, VIRTIO_BLK_F_SEG_MAX))
		json_object_set_new(obj, "seg_max", json_integer(le32toh(c.seg_max)));
	if (has(features, VIRTIO_BLK_F_BLK_SIZE))
		json_object_set_new(obj, "block_size", json_integer(le32toh(c.blk_size)));
	if (has(features, VIRTIO_BLK_F_TOPOLOGY)) {
		json_object_set_new(obj, "physical_block_exp", json_integer(c.physical_block_exp));
		json_object_set_new(obj, "min_io_size", json_integer(le16toh(c.min_io_size)));
		json_object_set_new(obj, "opt_io_size", json_integer(le32toh(c.opt_io_size)));
	}
	if (has(features, VIRTIO_BLK_F_CONFIG_WCE))
		json_object_set_new(obj, "writeback", json_boolean(c.wce));
	if (has(features, VIRTIO_BLK_F_MQ))
		json_object_set_new(obj, "num_queues", json_integer(le16toh(c.num_queues)));
	blk_limits(obj, &c, features);
}

json_t *describe_config(struct vdpa_device *vdev, bool all)
{
	uint64_t features = vdpa_get_device_features(vdev);
	uint32_t id = vdpa_get_device_id(vdev);
	json_t *obj = json_object();

	if (!obj)
		return NULL;
	if (id == VIRTIO_ID_NET)
		net_config(obj, vdev, features);
	else if (id == VIRTIO_ID_BLOCK && all)
		blk_config(obj, vdev, features);
	if (vdpa_get_status(vdev) & VIRTIO_CONFIG_S_FEATURES_OK)
		json_object_set_new(obj, "negotiated_features",
				    ctl_features_json(id, vdpa_get_driver_features(vdev)));
	if (all)
		json_object_set_new(obj, "device_features", ctl_features_json(id, features));
	return obj;
}

/* Those that count: negotiated, or before that offered. */
static uint64_t features_in_force(struct vdpa_device *vdev)
{
	return vdpa_get_status(vdev) & VIRTIO_CONFIG_S_FEATURES_OK ? vdpa_get_driver_features(vdev)
								   : vdpa_get_device_features(vdev);
}

/*
 * The control queue comes after the last pair that can be in use (virtio 1.3, section 5.1.2); one
 * that is left over is there for it, too.
 */
static const char *queue_type(struct vdpa_device *vdev, uint16_t idx)
{
	uint32_t id = vdpa_get_device_id(vdev);
	struct virtio_net_config c;
	uint32_t pairs = 1;
	uint64_t features;

	if (id == VIRTIO_ID_BLOCK)
		return "requestq";
	if (id != VIRTIO_ID_NET)
		return "unknown";
	features = features_in_force(vdev);
	if (has(features, VIRTIO_NET_F_MQ) || has(features, VIRTIO_NET_F_RSS)) {
		describe_peek(vdev, 0, &c, sizeof(c));
		pairs = le16toh(c.max_virtqueue_pairs);
	}
	if ((has(features, VIRTIO_NET_F_CTRL_VQ) && idx == 2 * pairs) ||
	    (vdev->nvqs % 2 && idx == vdev->nvqs - 1))
		return "control_vq";
	return idx % 2 ? "tx" : "rx";
}

static void emit_stat(void *arg, const char *name, uint64_t value)
{
	json_object_set_new(arg, name, ctl_json_u64(value));
}

int describe_vstats(struct vdpa_device *vdev, uint16_t idx, json_t **out, struct vdpa_error *err)
{
	json_t *obj = json_pack("{s:s}", "queue_type", queue_type(vdev, idx));
	int ret = vdpa_get_vq_stats(vdev, idx, emit_stat, obj, err);

	*out = ret ? NULL : obj;
	if (!ret)
		return 0;
	json_decref(obj);
	if (err && !*err->msg)
		vdpa_error_set(err, -ret, dev_object(vdev->name).s, "statistics of queue %u: %s",
			       idx, strerror(-ret));
	return ret;
}
