/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A kernel with VDUSE, for machines that have none: the system calls of
 * src/driver/vduse_export/sys.c and netlink.h end here (-Wl,--wrap). One device; its character
 * device is a socket; sysfs is a directory. The kernel's driver is the test.
 */
#ifndef TESTS_DRIVER_VDUSE_KERNEL_H
#define TESTS_DRIVER_VDUSE_KERNEL_H

#include "../parent/hold_dev.h"
#include "vdpa/vduse_abi.h"

#define VK_CONFIG 64
#define VK_MAPS 4

struct vk_map {
	uint64_t start, last, offset;
	uint32_t asid;
	uint8_t perm;
	int fd; /* -1: none */
};

struct vduse_kernel {
	char root[64];
	/* What it is like: set before. */
	int control_error, create_error, add_error; /* -errno; 0: none */
	uint64_t api_max;
	bool in_use;	    /* somebody has the character device open */
	const char *driver; /* which it binds; NULL: none */
	unsigned fail_at;   /* this ioctl from now on fails, but for DESTROY_DEV; 0: none */
	bool failed;	    /* it has */

	uint64_t api;
	bool created;
	uint8_t config[VK_CONFIG];
	struct vduse_vq_config vq[HOLD_QUEUES];
	struct vduse_vq_info info[HOLD_QUEUES];
	uint64_t driver_features;
	int kick[HOLD_QUEUES];
	unsigned irqs[HOLD_QUEUES], config_irqs, destroy_busy;
	struct vk_map map[VK_MAPS];
	int peer; /* our end of the character device; -1: it was never open */
	uint32_t next_id;
	struct vduse_dev_config dev; /* without its config; last, as it ends in an array */
};

extern struct vduse_kernel vk;

void vk_start(void);
void vk_stop(void);
/* Write a file below the root: "/lib/modules/..." */
void vk_file(const char *path, const char *text);
bool vk_exists(const char *path);
void vk_request(const struct vduse_dev_request *req);
/* The answer, if there is one. */
bool vk_answer(struct vduse_dev_response *resp);

#endif
