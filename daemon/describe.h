/* SPDX-License-Identifier: BSD-3-Clause */
/* Objects of the bus as JSON. New references; NULL without memory. Control thread. */
#ifndef DAEMON_DESCRIBE_H
#define DAEMON_DESCRIBE_H

#include <jansson.h>
#include <uvdpa/vdpa.h>

/* What iproute2 shows of a device; with @all what we know besides. */
json_t *describe_device(struct vdpa_device *vdev, bool all);
/* Its virtio configuration space, decoded; with @all also what iproute2 does not print. */
json_t *describe_config(struct vdpa_device *vdev, bool all);
/* One queue's statistics, "queue_type" first. NULL with @err. */
/* -EAGAIN: no driver has negotiated features yet; -EOPNOTSUPP: it keeps none. */
int describe_vstats(struct vdpa_device *vdev, uint16_t idx, json_t **out, struct vdpa_error *err);
/* The bound driver: name, attrs, show; JSON null when there is none. */
json_t *describe_binding(struct vdpa_device *vdev);
/* Where the bound driver has put the device: {"node": "/dev/vda"}; NULL when it says nothing. */
json_t *describe_node(struct vdpa_device *vdev);
/* What the parent wants shown. */
json_t *describe_parent(struct vdpa_device *vdev);
/* Of it what begins with @prefix, without the prefix; nothing of this is in describe_parent(). */
#define DESCRIBE_CVQ_STATE "cvq_state_"
#define DESCRIBE_CVQ_COMMAND "cvq_command_"
json_t *describe_part(struct vdpa_device *vdev, const char *prefix);
/* Its virtqueue groups, with the address space and the queues of each. */
json_t *describe_groups(struct vdpa_device *vdev, bool all);
/* Its address spaces, with at most so many ranges of all of them. */
#define DESCRIBE_RANGES_MAX 1000
json_t *describe_address_spaces(struct vdpa_device *vdev, bool all);
/* At most @max ranges from @from on; *@next is where the first that is left out begins, or 0. */
json_t *describe_ranges(const struct vhost_iotlb *iotlb, iova_t from, unsigned max, iova_t *next);
/* A table of attributes. */
json_t *describe_attrs(const struct vdpa_attr_spec *spec);
/* @mdev's name, classes, ...; with @all its attributes too. */
json_t *describe_mgmtdev(const struct vdpa_mgmt_dev *mdev, bool all);

/* Bytes of config space; does not count as a driver's read. What lies beyond its end reads as zero.
 */
void describe_peek(struct vdpa_device *vdev, unsigned offset, void *buf, unsigned len);

#endif
