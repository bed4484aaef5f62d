/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VDUSE's binary interface, API versions 0 and 1 (Linux: include/uapi/linux/vduse.h, as of 7.2).
 * Defined here, because the oldest system's header knows version 0 only. Structures of both
 * versions have one size: version 1 uses what was reserved (and has to be 0) in version 0. Host
 * byte order.
 */
#ifndef VDPA_VDUSE_ABI_H
#define VDPA_VDUSE_ABI_H

#include <linux/ioctl.h>
#include <stdint.h>

#define VDUSE_CONTROL "/dev/vduse/control"
#define VDUSE_IOC 0x81

#define VDUSE_API_MAX 1
#define VDUSE_NAME_BYTES 256
#define VDUSE_CONFIG_MAX 4096
#define VDUSE_VQS_MAX 0xffff
#define VDUSE_GROUPS_MAX 0xffff

struct vduse_dev_config {
	char name[VDUSE_NAME_BYTES];
	uint32_t vendor_id, device_id;
	uint64_t features;
	uint32_t vq_num, vq_align;
	uint32_t ngroups, nas; /* version 1 */
	uint32_t reserved[11];
	uint32_t config_size;
	uint8_t config[];
};

struct vduse_vq_config {
	uint32_t index;
	uint16_t max_size, reserved1;
	uint32_t group; /* version 1 */
	uint16_t reserved2[10];
};

struct vduse_state_packed {
	uint16_t last_avail_counter, last_avail_idx;
	uint16_t last_used_counter, last_used_idx;
};

union vduse_state {
	uint16_t avail_index; /* split */
	struct vduse_state_packed packed;
};

struct vduse_vq_info {
	uint32_t index, num;
	uint64_t desc_addr, driver_addr, device_addr;
	union vduse_state state;
	uint8_t ready;
};

struct vduse_vq_eventfd {
	uint32_t index;
	int32_t fd;
};

struct vduse_config_data {
	uint32_t offset, length;
	uint8_t buffer[];
};

/* Of both versions: IOTLB_GET_FD takes the bytes before asid. */
struct vduse_iotlb_entry {
	uint64_t offset, start, last;
	uint8_t perm, padding[7];
	uint32_t asid, reserved[11];
};
struct vduse_iotlb_entry_v0 {
	uint64_t offset, start, last;
	uint8_t perm;
};

/* What is mapped at an address. */
struct vduse_iova_info {
	uint64_t start, last, capability;
	uint32_t asid, padding; /* version 1 */
	uint64_t reserved[2];
};

/* The process's own memory in the place of bounce pages. */
struct vduse_iova_umem {
	uint64_t uaddr, iova, size;
	uint32_t asid, padding; /* version 1 */
	uint64_t reserved[2];
};

/* Of struct vduse_vq_eventfd: none any more. */
#define VDUSE_EVENTFD_DEASSIGN -1

#define VDUSE_GET_API_VERSION _IOR(VDUSE_IOC, 0x00, uint64_t)
#define VDUSE_SET_API_VERSION _IOW(VDUSE_IOC, 0x01, uint64_t)
#define VDUSE_CREATE_DEV _IOW(VDUSE_IOC, 0x02, struct vduse_dev_config)
#define VDUSE_DESTROY_DEV _IOW(VDUSE_IOC, 0x03, char[VDUSE_NAME_BYTES])
#define VDUSE_IOTLB_GET_FD _IOWR(VDUSE_IOC, 0x10, struct vduse_iotlb_entry_v0)
#define VDUSE_DEV_GET_FEATURES _IOR(VDUSE_IOC, 0x11, uint64_t)
#define VDUSE_DEV_SET_CONFIG _IOW(VDUSE_IOC, 0x12, struct vduse_config_data)
#define VDUSE_DEV_INJECT_CONFIG_IRQ _IO(VDUSE_IOC, 0x13)
#define VDUSE_VQ_SETUP _IOW(VDUSE_IOC, 0x14, struct vduse_vq_config)
#define VDUSE_VQ_GET_INFO _IOWR(VDUSE_IOC, 0x15, struct vduse_vq_info)
#define VDUSE_VQ_SETUP_KICKFD _IOW(VDUSE_IOC, 0x16, struct vduse_vq_eventfd)
#define VDUSE_VQ_INJECT_IRQ _IOW(VDUSE_IOC, 0x17, uint32_t)
#define VDUSE_IOTLB_REG_UMEM _IOW(VDUSE_IOC, 0x18, struct vduse_iova_umem)
#define VDUSE_IOTLB_DEREG_UMEM _IOW(VDUSE_IOC, 0x19, struct vduse_iova_umem)
#define VDUSE_IOTLB_GET_INFO _IOWR(VDUSE_IOC, 0x1a, struct vduse_iova_info)
#define VDUSE_IOTLB_GET_FD2 _IOWR(VDUSE_IOC, 0x1b, struct vduse_iotlb_entry)

enum vduse_req_type {
	VDUSE_GET_VQ_STATE,
	VDUSE_SET_STATUS,
	VDUSE_UPDATE_IOTLB,
	VDUSE_SET_VQ_GROUP_ASID, /* version 1 */
	VDUSE_REQ_TYPES,
};

struct vduse_vq_state {
	uint32_t index;
	union vduse_state state;
};

struct vduse_dev_request {
	uint32_t type, request_id, reserved[4];
	union {
		struct vduse_vq_state vq_state;
		uint8_t status;
		struct {
			uint64_t start, last;
			uint32_t asid, padding; /* version 1 */
		} iova;
		struct {
			uint32_t group, asid;
		} vq_group_asid;
		uint32_t padding[32];
	};
};

#define VDUSE_REQ_RESULT_OK 0
#define VDUSE_REQ_RESULT_FAILED 1

struct vduse_dev_response {
	uint32_t request_id, result, reserved[4];
	union {
		struct vduse_vq_state vq_state;
		uint32_t padding[32];
	};
};

_Static_assert(sizeof(struct vduse_dev_config) == 336, "size of the interface");
_Static_assert(sizeof(struct vduse_vq_config) == 32, "size of the interface");
_Static_assert(sizeof(struct vduse_vq_info) == 48, "size of the interface");
_Static_assert(sizeof(struct vduse_iotlb_entry) == 80, "size of the interface");
_Static_assert(sizeof(struct vduse_iotlb_entry_v0) == 32, "size of the interface");
_Static_assert(sizeof(struct vduse_iova_info) == 48, "size of the interface");
_Static_assert(sizeof(struct vduse_iova_umem) == 48, "size of the interface");
_Static_assert(sizeof(struct vduse_dev_request) == 152, "size of the interface");
_Static_assert(sizeof(struct vduse_dev_response) == 152, "size of the interface");

#endif
