/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Attach to, or take off, the kernel's vDPA bus. 0 or -errno. May block; any thread. (A header of
 * its own: the kernel's linux/vdpa.h and ours have names in common.)
 */
#ifndef VDUSE_EXPORT_NETLINK_H
#define VDUSE_EXPORT_NETLINK_H

int vde_netlink_add(const char *name);
int vde_netlink_del(const char *name);

#endif
