// SPDX-License-Identifier: BSD-3-Clause
/*
 * The kernel's vDPA bus, by generic netlink (family "vdpa"). The kernel does what is asked inside
 * the system call that sends it, which takes as long as its drivers' probe: these block.
 */
#include "driver/vduse_export/netlink.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/vdpa.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>

static int to_errno(int nle)
{
	static const struct {
		int nle, err;
	} table[] = {
		{NLE_PERM, EPERM},   {NLE_NOACCESS, EACCES},	  {NLE_EXIST, EEXIST},
		{NLE_BUSY, EBUSY},   {NLE_INVAL, EINVAL},	  {NLE_OBJ_NOTFOUND, ENODEV},
		{NLE_NODEV, ENODEV}, {NLE_OPNOTSUPP, EOPNOTSUPP}, {NLE_NOMEM, ENOMEM},
		{NLE_RANGE, ERANGE},
	};

	if (nle >= 0)
		return 0;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (table[i].nle == -nle)
			return -table[i].err;
	return -EIO;
}

static int send_message(struct nl_sock *sock, int family, uint8_t cmd, const char *name)
{
	struct nl_msg *msg = nlmsg_alloc();
	int ret = -NLE_NOMEM;

	if (!msg)
		return ret;
	if (genlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ, family, 0, 0, cmd, VDPA_GENL_VERSION) &&
	    !nla_put_string(msg, VDPA_ATTR_DEV_NAME, name) &&
	    (cmd != VDPA_CMD_DEV_NEW || !nla_put_string(msg, VDPA_ATTR_MGMTDEV_DEV_NAME, "vduse")))
		ret = nl_send_auto(sock, msg);
	nlmsg_free(msg);
	return ret < 0 ? ret : nl_wait_for_ack(sock);
}

static int request(uint8_t cmd, const char *name)
{
	struct nl_sock *sock = nl_socket_alloc();
	int ret, family;

	if (!sock)
		return -ENOMEM;
	ret = genl_connect(sock);
	if (!ret) {
		family = genl_ctrl_resolve(sock, VDPA_GENL_NAME);
		ret = family < 0 ? family : send_message(sock, family, cmd, name);
	}
	nl_socket_free(sock);
	return to_errno(ret);
}

int vde_netlink_add(const char *name)
{
	return request(VDPA_CMD_DEV_NEW, name);
}

int vde_netlink_del(const char *name)
{
	return request(VDPA_CMD_DEV_DEL, name);
}
