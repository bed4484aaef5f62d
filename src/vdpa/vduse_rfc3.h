/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The first published design of VDUSE ("RFC v3", January 2021), before Linux took it in another
 * form (vduse_abi.h). A device has a number and no name; what it offers, and its configuration, the
 * process says by messages, and all that the driver sets comes by messages. Host byte order, the
 * layout of 64-bit machines.
 *
 * Its ioctls have the type of the later ones, and other numbers or sizes: a command is of one
 * design only.
 */
#ifndef VDPA_VDUSE_RFC3_H
#define VDPA_VDUSE_RFC3_H

#include <linux/ioctl.h>
#include <stdint.h>

#include "vdpa/vduse_abi.h" /* struct vduse_vq_eventfd is that of both */

#define VDUSE_RFC3_IOC 0x81
/* Bytes of configuration in one message. */
#define VDUSE_RFC3_DATA 256
/* What a device is called where the later design has a name. */
#define VDUSE_RFC3_NAME "vduse%u"

enum vduse_rfc3_type {
	VDUSE_RFC3_SET_VQ_NUM,
	VDUSE_RFC3_SET_VQ_ADDR,
	VDUSE_RFC3_SET_VQ_READY,
	VDUSE_RFC3_GET_VQ_READY,
	VDUSE_RFC3_SET_VQ_STATE,
	VDUSE_RFC3_GET_VQ_STATE,
	VDUSE_RFC3_SET_FEATURES,
	VDUSE_RFC3_GET_FEATURES,
	VDUSE_RFC3_SET_STATUS,
	VDUSE_RFC3_GET_STATUS,
	VDUSE_RFC3_SET_CONFIG,
	VDUSE_RFC3_GET_CONFIG,
	VDUSE_RFC3_UPDATE_IOTLB,
	VDUSE_RFC3_TYPES,
};

struct vduse_rfc3_addr {
	uint32_t index;
	uint64_t desc, driver, device;
};

struct vduse_rfc3_config {
	uint32_t offset, len;
	uint8_t data[VDUSE_RFC3_DATA];
};

union vduse_rfc3_payload {
	struct {
		uint32_t index, num;
	} num;
	struct vduse_rfc3_addr addr;
	struct {
		uint32_t index;
		uint8_t ready;
	} ready;
	struct {
		uint32_t index;
		uint16_t avail_index;
	} state;
	struct vduse_rfc3_config config;
	struct {
		uint64_t start, last;
	} iova; /* of a request only */
	uint64_t features;
	uint8_t status;
};

struct vduse_rfc3_request {
	uint32_t type, id;
	uint32_t flags, size; /* of the payload, of what was set of it */
	union vduse_rfc3_payload body;
};

struct vduse_rfc3_response {
	uint32_t id;
	int32_t result; /* 0: done */
	union vduse_rfc3_payload body;
};

struct vduse_rfc3_dev {
	uint32_t id, vendor_id, device_id;
	uint64_t bounce_bytes;
	uint16_t vq_num, vq_size_max;
	uint32_t vq_align;
};

struct vduse_rfc3_entry {
	uint64_t offset, start, last;
	uint8_t perm;
};

/* Of the control node, /dev/vduse then. The first returns the device's descriptor; the argument of
 * the second is the number itself. */
#define VDUSE_RFC3_CREATE_DEV _IOW(VDUSE_RFC3_IOC, 0x01, struct vduse_rfc3_dev)
#define VDUSE_RFC3_DESTROY_DEV _IO(VDUSE_RFC3_IOC, 0x02)
#define VDUSE_RFC3_IOTLB_GET_FD _IOWR(VDUSE_RFC3_IOC, 0x04, struct vduse_rfc3_entry)
#define VDUSE_RFC3_VQ_SETUP_KICKFD _IOW(VDUSE_RFC3_IOC, 0x05, struct vduse_vq_eventfd)
#define VDUSE_RFC3_VQ_SETUP_IRQFD _IOW(VDUSE_RFC3_IOC, 0x06, struct vduse_vq_eventfd)

_Static_assert(sizeof(struct vduse_rfc3_request) == 280, "size of the interface");
_Static_assert(sizeof(struct vduse_rfc3_response) == 272, "size of the interface");
_Static_assert(sizeof(struct vduse_rfc3_dev) == 32, "size of the interface");
_Static_assert(sizeof(struct vduse_rfc3_entry) == 32, "size of the interface");

#endif
