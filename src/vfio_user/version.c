// SPDX-License-Identifier: BSD-3-Clause
/*
 * VERSION: the first command, and only that. What the client says of itself is JSON; what it does
 * not say has a default. Capabilities that we do not know are of no interest.
 */
#include "vfio_user/server.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* A positive number: else what is there stays. */
static int take_number(const json_t *caps, const char *key, uint32_t max, uint32_t *to)
{
	json_t *value = json_object_get(caps, key);
	json_int_t n = json_integer_value(value);

	if (!value)
		return 0;
	if (!json_is_integer(value) || n < 1)
		return -EINVAL;
	*to = n > (json_int_t)max ? max : (uint32_t)n;
	return 0;
}

static int take_caps(struct vfio_user_server *srv, const json_t *caps)
{
	int r;

	if (caps && !json_is_object(caps))
		return -EINVAL;
	r = take_number(caps, "max_data_xfer_size", VFU_XFER_MAX, &srv->peer_xfer);
	return r ? r : take_number(caps, "max_msg_fds", VFU_FDS_MAX, &srv->peer_fds);
}

static int parse(struct vfio_user_server *srv, const char *text, size_t len)
{
	json_t *root;
	int r;

	if (!len)
		return 0;
	if (text[len - 1])
		return -EINVAL;
	root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	r = json_is_object(root) ? take_caps(srv, json_object_get(root, "capabilities")) : -EINVAL;
	json_decref(root);
	return r;
}

static char *our_caps(void)
{
	json_t *root =
		json_pack("{s:{s:i, s:i, s:i, s:i, s:b}}", "capabilities", "max_msg_fds",
			  VFU_FDS_MAX, "max_data_xfer_size", (int)VFU_XFER_MAX, "max_dma_maps",
			  (int)VFU_DMA_MAPS_MAX, "pgsizes", 4096, "write_multiple", 1);
	char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;

	json_decref(root);
	return text;
}

int vfu_version(struct vfio_user_server *srv, struct vfu_msg *msg)
{
	struct vfu_version v;
	char *caps, *reply;
	int r;

	memcpy(&v, msg->data, sizeof(v));
	if (v.major != VFU_MAJOR)
		return -EPROTONOSUPPORT;
	srv->peer_xfer = VFU_XFER_DEFAULT;
	srv->peer_fds = VFU_FDS_DEFAULT;
	r = parse(srv, (const char *)msg->data + sizeof(v), msg->len - sizeof(v));
	if (r)
		return r;
	caps = our_caps();
	reply = caps ? vfu_reply(srv, sizeof(v) + strlen(caps) + 1) : NULL;
	if (reply) {
		if (v.minor > VFU_MINOR)
			v.minor = VFU_MINOR;
		memcpy(reply, &v, sizeof(v));
		memcpy(reply + sizeof(v), caps, strlen(caps) + 1);
	}
	free(caps);
	if (!reply)
		return -ENOMEM;
	srv->versioned = true;
	vfu_count(srv->clients);
	if (srv->ops->connected)
		srv->ops->connected(srv->arg);
	return 0;
}
