// SPDX-License-Identifier: BSD-3-Clause
/* The system calls that reach the kernel's VDUSE. Tests on machines without one stand in here. */
#include "driver/vduse_export/export.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>

int vde_sys_open(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int vde_sys_ioctl(int fd, unsigned long cmd, void *arg)
{
	int ret = ioctl(fd, cmd, arg);

	return ret < 0 ? -errno : ret;
}
