// SPDX-License-Identifier: BSD-3-Clause
/* The ioctls of VDUSE, for both ends of the socket. */
#include <string.h>

#include "vdpa/vduse_rfc3.h"
#include "vdpa/vduse_wire.h"

#define SIMPLE(cmd_, in_, out_, control_)                                                          \
	{                                                                                          \
		.cmd = (cmd_), .name = #cmd_, .in = (in_), .out = (out_), .control = (control_),   \
		.fd_at = -1, .more_at = -1                                                         \
	}
#define SIZE(type) ((uint32_t)sizeof(type))

static const struct vduse_ioctl ioctls[] = {
	SIMPLE(VDUSE_GET_API_VERSION, 0, SIZE(uint64_t), true),
	SIMPLE(VDUSE_SET_API_VERSION, SIZE(uint64_t), 0, true),
	{.cmd = VDUSE_CREATE_DEV,
	 .name = "VDUSE_CREATE_DEV",
	 .in = SIZE(struct vduse_dev_config),
	 .control = true,
	 .fd_at = -1,
	 .more_at = offsetof(struct vduse_dev_config, config_size),
	 .more_max = VDUSE_CONFIG_MAX},
	SIMPLE(VDUSE_DESTROY_DEV, VDUSE_NAME_BYTES, 0, true),
	{.cmd = VDUSE_IOTLB_GET_FD,
	 .name = "VDUSE_IOTLB_GET_FD",
	 .in = SIZE(struct vduse_iotlb_entry_v0),
	 .out = SIZE(struct vduse_iotlb_entry_v0),
	 .returns_fd = true,
	 .fd_at = -1,
	 .more_at = -1},
	SIMPLE(VDUSE_DEV_GET_FEATURES, 0, SIZE(uint64_t), false),
	{.cmd = VDUSE_DEV_SET_CONFIG,
	 .name = "VDUSE_DEV_SET_CONFIG",
	 .in = SIZE(struct vduse_config_data),
	 .fd_at = -1,
	 .more_at = offsetof(struct vduse_config_data, length),
	 .more_max = VDUSE_CONFIG_MAX},
	SIMPLE(VDUSE_DEV_INJECT_CONFIG_IRQ, 0, 0, false),
	SIMPLE(VDUSE_VQ_SETUP, SIZE(struct vduse_vq_config), 0, false),
	SIMPLE(VDUSE_VQ_GET_INFO, SIZE(struct vduse_vq_info), SIZE(struct vduse_vq_info), false),
	{.cmd = VDUSE_VQ_SETUP_KICKFD,
	 .name = "VDUSE_VQ_SETUP_KICKFD",
	 .in = SIZE(struct vduse_vq_eventfd),
	 .fd_at = offsetof(struct vduse_vq_eventfd, fd),
	 .more_at = -1},
	SIMPLE(VDUSE_VQ_INJECT_IRQ, SIZE(uint32_t), 0, false),
	SIMPLE(VDUSE_IOTLB_REG_UMEM, SIZE(struct vduse_iova_umem), 0, false),
	SIMPLE(VDUSE_IOTLB_DEREG_UMEM, SIZE(struct vduse_iova_umem), 0, false),
	SIMPLE(VDUSE_IOTLB_GET_INFO, SIZE(struct vduse_iova_info), SIZE(struct vduse_iova_info),
	       false),
	{.cmd = VDUSE_IOTLB_GET_FD2,
	 .name = "VDUSE_IOTLB_GET_FD2",
	 .in = SIZE(struct vduse_iotlb_entry),
	 .out = SIZE(struct vduse_iotlb_entry),
	 .returns_fd = true,
	 .fd_at = -1,
	 .more_at = -1},
	/* The device is opened by its name then: here a connection is one open file. */
	SIMPLE(VDUSE_RFC3_CREATE_DEV, SIZE(struct vduse_rfc3_dev), 0, true),
	{.cmd = VDUSE_RFC3_DESTROY_DEV,
	 .name = "VDUSE_RFC3_DESTROY_DEV",
	 .in = SIZE(uint32_t),
	 .control = true,
	 .by_value = true,
	 .fd_at = -1,
	 .more_at = -1},
	{.cmd = VDUSE_RFC3_IOTLB_GET_FD,
	 .name = "VDUSE_RFC3_IOTLB_GET_FD",
	 .in = SIZE(struct vduse_rfc3_entry),
	 .out = SIZE(struct vduse_rfc3_entry),
	 .returns_fd = true,
	 .fd_at = -1,
	 .more_at = -1},
	{.cmd = VDUSE_RFC3_VQ_SETUP_KICKFD,
	 .name = "VDUSE_RFC3_VQ_SETUP_KICKFD",
	 .in = SIZE(struct vduse_vq_eventfd),
	 .fd_at = offsetof(struct vduse_vq_eventfd, fd),
	 .more_at = -1},
	{.cmd = VDUSE_RFC3_VQ_SETUP_IRQFD,
	 .name = "VDUSE_RFC3_VQ_SETUP_IRQFD",
	 .in = SIZE(struct vduse_vq_eventfd),
	 .fd_at = offsetof(struct vduse_vq_eventfd, fd),
	 .more_at = -1},
};

const struct vduse_ioctl *vduse_ioctl_find(uint32_t cmd)
{
	for (size_t i = 0; i < sizeof(ioctls) / sizeof(ioctls[0]); i++) {
		if (ioctls[i].cmd == cmd)
			return &ioctls[i];
	}
	return NULL;
}

size_t vduse_ioctl_bytes(const struct vduse_ioctl *ioctl, const void *arg)
{
	uint32_t more;

	if (ioctl->more_at < 0)
		return ioctl->in;
	memcpy(&more, (const char *)arg + ioctl->more_at, sizeof(more));
	return more > ioctl->more_max ? 0 : (size_t)ioctl->in + more;
}
