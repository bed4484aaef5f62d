// SPDX-License-Identifier: BSD-3-Clause
/* Names of the protocol's features: both ends show them. */
#include <stdio.h>
#include <string.h>

#include "driver/vhost_user/protocol.h"

static const char *const proto_names[] = {
	[VHOST_USER_PROTOCOL_F_MQ] = "MQ",
	[VHOST_USER_PROTOCOL_F_LOG_SHMFD] = "LOG_SHMFD",
	[VHOST_USER_PROTOCOL_F_RARP] = "RARP",
	[VHOST_USER_PROTOCOL_F_REPLY_ACK] = "REPLY_ACK",
	[VHOST_USER_PROTOCOL_F_MTU] = "MTU",
	[VHOST_USER_PROTOCOL_F_BACKEND_REQ] = "BACKEND_REQ",
	[VHOST_USER_PROTOCOL_F_CONFIG] = "CONFIG",
	[VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD] = "INFLIGHT_SHMFD",
	[VHOST_USER_PROTOCOL_F_RESET_DEVICE] = "RESET_DEVICE",
	[VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS] = "INBAND_NOTIFICATIONS",
	[VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS] = "CONFIGURE_MEM_SLOTS",
	[VHOST_USER_PROTOCOL_F_STATUS] = "STATUS",
};

const char *vu_proto_name(unsigned bit)
{
	return bit < sizeof(proto_names) / sizeof(proto_names[0]) ? proto_names[bit] : NULL;
}

void vu_show_proto(uint64_t proto, vdpa_emit_fn emit, void *arg)
{
	char text[256] = "";

	for (size_t i = 0; i < sizeof(proto_names) / sizeof(proto_names[0]); i++) {
		size_t len = strlen(text);

		if ((proto & VDPA_BIT(i)) && proto_names[i])
			snprintf(text + len, sizeof(text) - len, "%s%s", len ? " " : "",
				 vu_proto_name((unsigned)i));
	}
	emit(arg, "protocol_features", text);
}
