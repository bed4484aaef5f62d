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

const char *vu_proto_names(uint64_t proto, char *buf, size_t len)
{
	buf[0] = '\0';
	for (unsigned bit = 0; bit < 64; bit++) {
		size_t used = strlen(buf);
		bool known = bit < sizeof(proto_names) / sizeof(proto_names[0]) && proto_names[bit];

		if (!(proto & VDPA_BIT(bit)))
			continue;
		if (known)
			snprintf(buf + used, len - used, "%s%s", used ? " " : "",
				 vu_proto_name(bit));
		else
			snprintf(buf + used, len - used, "%sbit_%u", used ? " " : "", bit);
	}
	return buf;
}

void vu_show_proto(uint64_t proto, vdpa_emit_fn emit, void *arg)
{
	char text[512];

	emit(arg, "protocol_features", vu_proto_names(proto, text, sizeof(text)));
}
