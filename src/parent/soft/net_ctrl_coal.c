// SPDX-License-Identifier: BSD-3-Clause
/*
 * Commands about notification coalescing (virtio 1.3, section 5.1.6.5.9). The kit delays
 * notifications; here is who may ask for how much. A packet is counted by the buffers that it
 * takes: a packet in several of them brings the notification sooner, which the specification
 * allows.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>
#include "parent/soft/net_ctrl.h"

/* max_packets, then max_usecs. */
#define COAL_BYTES 8u
/* vq_index, two reserved bytes, and these. */
#define COAL_VQ_BYTES 12u

static struct net_coal get_coal(const uint8_t *from)
{
	uint32_t packets, usecs;

	memcpy(&packets, from, sizeof(packets));
	memcpy(&usecs, from + 4, sizeof(usecs));
	return (struct net_coal){le32toh(packets), le32toh(usecs)};
}

static void put_coal(uint8_t to[COAL_BYTES], struct net_coal coal)
{
	uint32_t packets = htole32(coal.max_packets), usecs = htole32(coal.max_usecs);

	memcpy(to, &packets, sizeof(packets));
	memcpy(to + 4, &usecs, sizeof(usecs));
}

/* ---- all queues of a direction ---- */

int net_ctrl_coal(struct net_ctrl_cmd *cmd)
{
	bool tx = cmd->row->command == VIRTIO_NET_CTRL_NOTF_COAL_TX_SET;
	struct net_coal coal = get_coal(cmd->data);

	*(tx ? &cmd->to->coal_tx : &cmd->to->coal_rx) = coal;
	for (unsigned i = tx; i < 2 * cmd->net->npairs; i += 2)
		cmd->to->coal[i] = coal;
	return 0;
}

uint32_t net_ctrl_coal_save(const struct net_state *s, const struct net_ctrl_row *row, uint8_t *buf)
{
	bool tx = row->command == VIRTIO_NET_CTRL_NOTF_COAL_TX_SET;

	put_coal(buf, tx ? s->coal_tx : s->coal_rx);
	return COAL_BYTES;
}

/* ---- one queue ---- */

/* Of a receive or transmit queue; NULL: it is none. */
static struct net_coal *coal_of(struct net_ctrl_cmd *cmd, unsigned idx)
{
	return idx < 2 * cmd->net->npairs && !net_is_ctrl(cmd->net, (uint16_t)idx)
		       ? &cmd->to->coal[idx]
		       : NULL;
}

/* And it is enabled. */
static struct net_coal *enabled(struct net_ctrl_cmd *cmd)
{
	struct vdpa_device *vdev = &cmd->net->soft.vdpa;
	unsigned idx = cmd->data[0] | cmd->data[1] << 8;
	struct net_coal *coal = coal_of(cmd, idx);

	return coal && vdev->config->get_vq_ready(vdev, (uint16_t)idx) ? coal : NULL;
}

int net_ctrl_coal_vq_set(struct net_ctrl_cmd *cmd)
{
	struct net_coal *coal = enabled(cmd);

	if (!coal)
		return -EINVAL;
	*coal = get_coal(cmd->data + 4);
	return 0;
}

/*
 * The parameters are the command-specific result, behind the answer, where every command has it;
 * drivers may leave out of the part that is read what only has the place of the result there.
 */
int net_ctrl_coal_vq_get(struct net_ctrl_cmd *cmd)
{
	const struct net_coal *coal = enabled(cmd);
	uint8_t result[COAL_BYTES];

	if (!coal)
		return -EINVAL;
	put_coal(result, *coal);
	net_ctrl_result(cmd, result, sizeof(result));
	return 0;
}

uint32_t net_ctrl_coal_vq_save(const struct net_state *s, const struct net_ctrl_row *row,
			       uint8_t *buf)
{
	unsigned n = 2 * s->net->npairs;

	memset(buf, 0, n * COAL_VQ_BYTES);
	for (unsigned i = 0; i < n; i++) {
		buf[i * COAL_VQ_BYTES] = (uint8_t)i;
		buf[i * COAL_VQ_BYTES + 1] = (uint8_t)(i >> 8);
		put_coal(buf + i * COAL_VQ_BYTES + 4, s->coal[i]);
	}
	return n * COAL_VQ_BYTES;
}

int net_ctrl_coal_vq_load(struct net_ctrl_cmd *cmd)
{
	unsigned n = 2 * cmd->net->npairs;

	if (cmd->len != n * COAL_VQ_BYTES)
		return -EINVAL;
	for (unsigned i = 0; i < n; i++) {
		const uint8_t *from = cmd->data + i * COAL_VQ_BYTES;

		if ((unsigned)(from[0] | from[1] << 8) != i || from[2] || from[3])
			return -EINVAL;
		cmd->to->coal[i] = get_coal(from + 4);
	}
	return 0;
}

/* ---- queues ---- */

void net_coal_apply(struct soft_net *net, const struct net_state *old, const struct net_state *s)
{
	if (!memcmp(old->coal, s->coal, sizeof(s->coal)))
		return;
	for (unsigned i = 0; i < 2 * net->npairs; i++)
		if (memcmp(&old->coal[i], &s->coal[i], sizeof(s->coal[i])))
			vdpa_soft_set_coal(&net->soft, (uint16_t)i, s->coal[i].max_packets,
					   s->coal[i].max_usecs);
}

/* A queue that is enabled again has what all of its direction were given. */
void net_coal_vq_reset(struct vdpa_soft *dev, uint16_t idx)
{
	struct soft_net *net = to_net(dev);
	struct net_state *s;

	if (idx >= 2 * net->npairs)
		return;
	s = net_state_copy(net);
	if (!s) {
		vdpa_soft_broken(dev, "no memory for its state");
		return;
	}
	s->coal[idx] = idx & 1 ? s->coal_tx : s->coal_rx;
	net_state_publish(s, NULL);
}
