/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vfio-user, version 0.1 of the protocol (QEMU, docs/interop/vfio-user.rst): commands, flags and
 * the bytes of every message. Everything is in the host's byte order. What is the same in VFIO
 * itself (regions, interrupts, features of a device) is in linux/vfio.h.
 */
#ifndef VFIO_USER_PROTOCOL_H
#define VFIO_USER_PROTOCOL_H

#include <linux/vfio.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum vfu_cmd {
	VFU_VERSION = 1,
	VFU_DMA_MAP = 2,
	VFU_DMA_UNMAP = 3,
	VFU_DEVICE_GET_INFO = 4,
	VFU_DEVICE_GET_REGION_INFO = 5,
	VFU_DEVICE_GET_REGION_IO_FDS = 6,
	VFU_DEVICE_GET_IRQ_INFO = 7,
	VFU_DEVICE_SET_IRQS = 8,
	VFU_REGION_READ = 9,
	VFU_REGION_WRITE = 10,
	VFU_DMA_READ = 11,  /* server to client */
	VFU_DMA_WRITE = 12, /* server to client */
	VFU_DEVICE_RESET = 13,
	VFU_REGION_WRITE_MULTI = 15,
	VFU_DEVICE_FEATURE = 16,
	VFU_MIG_DATA_READ = 17,
	VFU_MIG_DATA_WRITE = 18,
	VFU_CMDS
};

#define VFU_F_TYPE 0xfu /* of flags: 0 command, 1 reply */
#define VFU_F_REPLY 0x1u
#define VFU_F_NO_REPLY 0x10u
#define VFU_F_ERROR 0x20u

#define VFU_MAJOR 0
#define VFU_MINOR 1

/* What holds where the peer says nothing. */
#define VFU_XFER_DEFAULT (1u << 20)
#define VFU_FDS_DEFAULT 1

/* What we take. */
#define VFU_XFER_MAX (1u << 20)
#define VFU_FDS_MAX 16
#define VFU_DMA_MAPS_MAX 65535u
/* The longest command: data of the longest transfer, and what stands before them. */
#define VFU_PAYLOAD_MAX (VFU_XFER_MAX + 4096u)

struct vfu_header {
	uint16_t id;
	uint16_t cmd;
	uint32_t size; /* of the whole message */
	uint32_t flags;
	uint32_t error; /* errno, of a reply with F_ERROR; 0 is allowed */
};

struct vfu_version {
	uint16_t major, minor;
	/* JSON, with its NUL */
};

#define VFU_DMA_F_READ 0x1u
#define VFU_DMA_F_WRITE 0x2u
/* Later drafts of the protocol say how a descriptor may be used. */
#define VFU_DMA_F_MMAP 0x4u
#define VFU_DMA_F_FILE_IO 0x8u

struct vfu_dma_map {
	uint32_t argsz, flags;
	uint64_t offset, addr, size;
};

#define VFU_DMA_UNMAP_F_DIRTY 0x1u
#define VFU_DMA_UNMAP_F_ALL 0x2u

struct vfu_dma_unmap {
	uint32_t argsz, flags;
	uint64_t addr, size;
};

struct vfu_device_info {
	uint32_t argsz, flags, num_regions, num_irqs;
};

struct vfu_io_fds {
	uint32_t argsz, flags, index, count;
	/* struct vfu_ioeventfd[count] */
};

#define VFU_IO_FD_IOEVENTFD 0
#define VFU_IOEVENTFD_F_DATAMATCH 0x1u /* KVM_IOEVENTFD_FLAG_DATAMATCH */

struct vfu_ioeventfd {
	uint64_t offset, size;
	uint32_t fd_index, type, flags, padding;
	uint64_t datamatch;
};

struct vfu_access {
	uint64_t offset;
	uint32_t region, count;
	/* data */
};

struct vfu_write_one {
	uint64_t offset;
	uint32_t region, count;
	uint8_t data[8];
};

struct vfu_dma_access {
	uint64_t addr, count;
	/* data */
};

struct vfu_feature {
	uint32_t argsz, flags;
	/* data */
};

/* Numbers of linux/vfio.h, which the build machine's may not have yet. */
#define VFU_FEATURE_MIGRATION 1
#define VFU_FEATURE_MIG_STATE 2
#define VFU_FEATURE_LOG_START 6
#define VFU_FEATURE_LOG_STOP 7
#define VFU_FEATURE_LOG_REPORT 8

#define VFU_MIGRATION_STOP_COPY 0x1u
#define VFU_MIGRATION_PRE_COPY 0x4u

struct vfu_mig_state {
	uint32_t state, data_fd;
};

struct vfu_log_control {
	uint64_t page_size;
	uint32_t num_ranges, reserved;
	/* struct vfu_log_range[num_ranges] */
};

struct vfu_log_range {
	uint64_t iova, length;
};

struct vfu_log_report {
	uint64_t iova, length, page_size;
	/* bitmap */
};

struct vfu_mig_data {
	uint32_t argsz, size;
	/* data */
};

/* "REGION_READ"; "?" for a number that is none. */
const char *vfu_cmd_name(unsigned cmd);

#endif
