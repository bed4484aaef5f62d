// SPDX-License-Identifier: BSD-3-Clause
/*
 * The control queue (virtio 1.3, section 5.1.6.5): class, command and command-specific data in the
 * part of a chain that the device reads, then an answer of one byte and of some commands a result
 * in the part that it writes. How either part is cut into pieces does not matter (2.6.4). One
 * command per chain, one command at a time, on the control thread; the next one is got when the
 * former has been answered, so a driver that floods the queue waits for itself.
 *
 * Who attacks: the driver. The command is copied once, at most NET_CTRL_DATA_MAX bytes of it; what
 * has no place for an answer is not carried out.
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "parent/soft/net_ctrl.h"

#define ACK_BYTES 1u
#define HEADER_BYTES 2u

enum net_ctrl_stat {
	CTRL_REQUESTS,
	CTRL_OK,
	CTRL_ERRORS,
	CTRL_STATS,
};

#define SEEN 8u

struct net_ctrl {
	struct net_ctrl_seen seen[SEEN];
	uint64_t nseen;
	struct vdpa_soft_vq *vq;
	struct vringh_chain *chain; /* whose command is under way */
	_Atomic uint64_t stats[CTRL_STATS];
	uint8_t *data; /* of that command */
	uint32_t data_bytes;
};

/* ---- commands ---- */

/* 5.1.6.5.4: the driver has seen it. */
static int announce_ack(struct net_ctrl_cmd *cmd)
{
	cmd->to->announce = false;
	return 0;
}

static uint32_t announce_save(const struct net_state *s, const struct net_ctrl_row *row,
			      uint8_t *buf)
{
	buf[0] = s->announce;
	return 1;
}

static int announce_load(struct net_ctrl_cmd *cmd)
{
	if (cmd->len != 1 || cmd->data[0] > 1)
		return -EINVAL;
	cmd->to->announce = cmd->data[0];
	return 0;
}

/* In the command an offload has the number of its feature. */
#define GUEST_OFFLOADS                                                                             \
	(VDPA_BIT(VIRTIO_NET_F_GUEST_CSUM) | VDPA_BIT(VIRTIO_NET_F_GUEST_TSO4) |                   \
	 VDPA_BIT(VIRTIO_NET_F_GUEST_TSO6) | VDPA_BIT(VIRTIO_NET_F_GUEST_ECN) |                    \
	 VDPA_BIT(VIRTIO_NET_F_GUEST_UFO))

/* 5.1.6.5.8: those that were negotiated can be on or off. */
static int offloads_set(struct net_ctrl_cmd *cmd)
{
	uint64_t all = vdpa_soft_features(&cmd->net->soft) & GUEST_OFFLOADS, on;

	memcpy(&on, cmd->data, sizeof(on));
	on = le64toh(on);
	if (on & ~all)
		return -EINVAL;
	cmd->to->offloads_off = all & ~on;
	return 0;
}

static uint32_t offloads_save(const struct net_state *s, const struct net_ctrl_row *row,
			      uint8_t *buf)
{
	uint64_t all = vdpa_soft_features(&s->net->soft) & GUEST_OFFLOADS;
	uint64_t on = htole64(all & ~s->offloads_off);

	memcpy(buf, &on, sizeof(on));
	return sizeof(on);
}

#define RX_ROW(cmd, text, bit)                                                                     \
	{                                                                                          \
		.class = VIRTIO_NET_CTRL_RX, .command = cmd, .name = text, .feature = bit,         \
		.min = 1, .max = 1, .handle = net_ctrl_rx_mode, .save = net_ctrl_rx_save,          \
	}

/* In the order of class and command. */
const struct net_ctrl_row net_ctrl_rows[] = {
	RX_ROW(VIRTIO_NET_CTRL_RX_PROMISC, "promisc", VIRTIO_NET_F_CTRL_RX),
	RX_ROW(VIRTIO_NET_CTRL_RX_ALLMULTI, "allmulti", VIRTIO_NET_F_CTRL_RX),
	RX_ROW(VIRTIO_NET_CTRL_RX_ALLUNI, "alluni", VIRTIO_NET_F_CTRL_RX_EXTRA),
	RX_ROW(VIRTIO_NET_CTRL_RX_NOMULTI, "nomulti", VIRTIO_NET_F_CTRL_RX_EXTRA),
	RX_ROW(VIRTIO_NET_CTRL_RX_NOUNI, "nouni", VIRTIO_NET_F_CTRL_RX_EXTRA),
	RX_ROW(VIRTIO_NET_CTRL_RX_NOBCAST, "nobcast", VIRTIO_NET_F_CTRL_RX_EXTRA),
	{
		.class = VIRTIO_NET_CTRL_MAC,
		.command = VIRTIO_NET_CTRL_MAC_TABLE_SET,
		.name = "mac_table",
		.feature = VIRTIO_NET_F_CTRL_RX,
		.min = 8,
		.max = NET_CTRL_DATA_MAX,
		.handle = net_ctrl_mac_table,
		.save = net_ctrl_mac_table_save,
	},
	{
		.class = VIRTIO_NET_CTRL_MAC,
		.command = VIRTIO_NET_CTRL_MAC_ADDR_SET,
		.name = "mac",
		.feature = VIRTIO_NET_F_CTRL_MAC_ADDR,
		.min = 6,
		.max = 6,
		.handle = net_ctrl_mac_addr,
		.save = net_ctrl_mac_addr_save,
	},
	{
		.class = VIRTIO_NET_CTRL_VLAN,
		.command = VIRTIO_NET_CTRL_VLAN_ADD,
		.name = "vlan_add",
		.feature = VIRTIO_NET_F_CTRL_VLAN,
		.min = 2,
		.max = 2,
		.handle = net_ctrl_vlan,
		.save = net_ctrl_vlan_save,
		.load = net_ctrl_vlan_load,
	},
	{
		.class = VIRTIO_NET_CTRL_VLAN,
		.command = VIRTIO_NET_CTRL_VLAN_DEL,
		.name = "vlan_del",
		.feature = VIRTIO_NET_F_CTRL_VLAN,
		.min = 2,
		.max = 2,
		.handle = net_ctrl_vlan,
	},
	{
		.class = VIRTIO_NET_CTRL_ANNOUNCE,
		.command = VIRTIO_NET_CTRL_ANNOUNCE_ACK,
		.name = "announce_ack",
		.feature = VIRTIO_NET_F_GUEST_ANNOUNCE,
		.handle = announce_ack,
		.save = announce_save,
		.load = announce_load,
	},
	{
		.class = VIRTIO_NET_CTRL_MQ,
		.command = VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET,
		.name = "vq_pairs",
		.feature = VIRTIO_NET_F_MQ,
		.min = 2,
		.max = 2,
		.handle = net_ctrl_pairs,
		.save = net_ctrl_pairs_save,
	},
	{
		.class = VIRTIO_NET_CTRL_MQ,
		.command = VIRTIO_NET_CTRL_MQ_RSS_CONFIG,
		.name = "rss",
		.feature = VIRTIO_NET_F_RSS,
		.min = NET_CTRL_RSS_MIN,
		.max = NET_CTRL_RSS_MAX,
		.handle = net_ctrl_rss,
		.save = net_ctrl_rss_save,
		.load = net_ctrl_rss_load,
	},
	{
		.class = VIRTIO_NET_CTRL_MQ,
		.command = VIRTIO_NET_CTRL_MQ_HASH_CONFIG,
		.name = "hash",
		.feature = VIRTIO_NET_F_HASH_REPORT,
		.min = NET_CTRL_HASH_MIN,
		.max = NET_CTRL_HASH_MAX,
		.handle = net_ctrl_hash,
		.save = net_ctrl_hash_save,
	},
	{
		.class = VIRTIO_NET_CTRL_GUEST_OFFLOADS,
		.command = VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET,
		.name = "guest_offloads",
		.feature = VIRTIO_NET_F_CTRL_GUEST_OFFLOADS,
		.min = 8,
		.max = 8,
		.handle = offloads_set,
		.save = offloads_save,
	},
	{
		.class = VIRTIO_NET_CTRL_NOTF_COAL,
		.command = VIRTIO_NET_CTRL_NOTF_COAL_TX_SET,
		.name = "coal_tx",
		.feature = VIRTIO_NET_F_NOTF_COAL,
		.min = 8,
		.max = 8,
		.handle = net_ctrl_coal,
		.save = net_ctrl_coal_save,
	},
	{
		.class = VIRTIO_NET_CTRL_NOTF_COAL,
		.command = VIRTIO_NET_CTRL_NOTF_COAL_RX_SET,
		.name = "coal_rx",
		.feature = VIRTIO_NET_F_NOTF_COAL,
		.min = 8,
		.max = 8,
		.handle = net_ctrl_coal,
		.save = net_ctrl_coal_save,
	},
	{
		.class = VIRTIO_NET_CTRL_NOTF_COAL,
		.command = VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET,
		.name = "coal_vq",
		.feature = VIRTIO_NET_F_VQ_NOTF_COAL,
		.min = 12,
		.max = 12,
		.handle = net_ctrl_coal_vq_set,
		.save = net_ctrl_coal_vq_save,
		.load = net_ctrl_coal_vq_load,
	},
	{
		.class = VIRTIO_NET_CTRL_NOTF_COAL,
		.command = VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET,
		.name = "coal_vq_get",
		.feature = VIRTIO_NET_F_VQ_NOTF_COAL,
		.min = 2,
		.max = 12,
		.query = true,
		.handle = net_ctrl_coal_vq_get,
	},
	{
		.class = VIRTIO_NET_CTRL_STATS,
		.command = VIRTIO_NET_CTRL_STATS_QUERY,
		.name = "stats_query",
		.feature = VIRTIO_NET_F_DEVICE_STATS,
		.query = true,
		.handle = net_ctrl_stats_query,
	},
	{
		.class = VIRTIO_NET_CTRL_STATS,
		.command = VIRTIO_NET_CTRL_STATS_GET,
		.name = "stats",
		.feature = VIRTIO_NET_F_DEVICE_STATS,
		.min = 16,
		.max = 16 * 1024,
		.query = true,
		.handle = net_ctrl_stats_get,
	},
	{.name = NULL},
};

const struct net_ctrl_row *net_ctrl_find(const struct soft_net *net, uint8_t class, uint8_t command)
{
	for (const struct net_ctrl_row *row = net_ctrl_rows; row->name; row++)
		if (row->class == class && row->command == command)
			return vdpa_soft_has(&net->soft, row->feature) ? row : NULL;
	return NULL;
}

void net_ctrl_result(struct net_ctrl_cmd *cmd, const void *buf, uint32_t len)
{
	vdpa_soft_push(cmd->net->ctrl->vq, cmd->chain, ACK_BYTES + (uint64_t)cmd->result_bytes, buf,
		       len);
	cmd->result_bytes += len;
}

/* ---- answers ---- */

static void answer(struct soft_net *net, uint8_t ack, uint32_t result_bytes)
{
	struct net_ctrl *ctrl = net->ctrl;
	struct vringh_chain *chain = ctrl->chain;
	uint64_t written = ACK_BYTES + (uint64_t)result_bytes;

	ctrl->chain = NULL;
	ctrl->seen[ctrl->nseen % SEEN].ack = ack;
	net_ctrl_record(net, &ctrl->seen[ctrl->nseen++ % SEEN], ctrl->data, ctrl->data_bytes);
	free(ctrl->data);
	ctrl->data = NULL;
	ctrl->data_bytes = 0;
	net_count(&ctrl->stats[ack == VIRTIO_NET_OK ? CTRL_OK : CTRL_ERRORS], 1);
	if (vdpa_soft_vq_cancelling(ctrl->vq)) {
		vdpa_soft_cancel(ctrl->vq, chain);
		return;
	}
	if (written > chain->in_len)
		written = chain->in_len;
	vdpa_soft_push(ctrl->vq, chain, 0, &ack, ACK_BYTES);
	vdpa_soft_complete(ctrl->vq, chain, (uint32_t)written);
}

/* What the command changed is what every loop goes by. */
static void changed(struct soft_net *net)
{
	answer(net, VIRTIO_NET_OK, 0);
	vdpa_soft_flush(net->ctrl->vq);
	vdpa_soft_vq_wake(net->ctrl->vq);
}

/* ---- carrying out ---- */

static void carry_out(struct soft_net *net, const struct net_ctrl_row *row, uint32_t len)
{
	struct net_ctrl_cmd cmd = {
		.net = net,
		.row = row,
		.data = net->ctrl->data,
		.len = len,
		.chain = net->ctrl->chain,
	};
	int r;

	if (row->query) {
		cmd.to = atomic_load(&net->state);
		r = row->handle(&cmd);
		answer(net, r ? VIRTIO_NET_ERR : VIRTIO_NET_OK, r ? 0 : cmd.result_bytes);
		return;
	}
	cmd.to = net_state_copy(net);
	r = cmd.to ? row->handle(&cmd) : -ENOMEM;
	if (!r) {
		net_state_publish(cmd.to, changed);
		return;
	}
	if (cmd.to)
		net_state_drop(cmd.to);
	answer(net, VIRTIO_NET_ERR, 0);
}

static void begin(struct soft_net *net, struct vringh_chain *chain)
{
	struct net_ctrl *ctrl = net->ctrl;
	const struct net_ctrl_row *row = NULL;
	uint8_t header[HEADER_BYTES];
	uint64_t len;

	net_count(&ctrl->stats[CTRL_REQUESTS], 1);
	if (chain->in_len < ACK_BYTES) {
		net_count(&ctrl->stats[CTRL_ERRORS], 1);
		vdpa_soft_bad_request(ctrl->vq, chain, "no place for an answer");
		vdpa_soft_complete(ctrl->vq, chain, 0);
		return;
	}
	ctrl->chain = chain;
	ctrl->seen[ctrl->nseen % SEEN] = (struct net_ctrl_seen){.len = chain->out_len};
	if (chain->out_len < HEADER_BYTES) {
		vdpa_soft_bad_request(ctrl->vq, chain, "shorter than a command");
		answer(net, VIRTIO_NET_ERR, 0);
		return;
	}
	vringh_iov_pull(chain, 0, header, sizeof(header));
	ctrl->seen[ctrl->nseen % SEEN].class = header[0];
	ctrl->seen[ctrl->nseen % SEEN].command = header[1];
	len = chain->out_len - HEADER_BYTES;
	row = net_ctrl_find(net, header[0], header[1]);
	if (row && len >= row->min && len <= row->max)
		ctrl->data = malloc(len + 1);
	if (!ctrl->data) {
		answer(net, VIRTIO_NET_ERR, 0);
		return;
	}
	vringh_iov_pull(chain, HEADER_BYTES, ctrl->data, len);
	ctrl->data_bytes = (uint32_t)len;
	carry_out(net, row, (uint32_t)len);
}

bool net_ctrl_run(struct soft_net *net, struct vdpa_soft_vq *vq, unsigned budget)
{
	struct net_ctrl *ctrl = net->ctrl;
	struct vringh_chain *chain;

	ctrl->vq = vq;
	while (!ctrl->chain && budget--) {
		if (!vdpa_soft_getdesc(vq, &chain, 1))
			return false;
		begin(net, chain);
	}
	return !ctrl->chain;
}

/* ---- the queue ---- */

int net_ctrl_index(const struct soft_net *net)
{
	if (!vdpa_soft_has(&net->soft, VIRTIO_NET_F_CTRL_VQ))
		return -1;
	if (vdpa_soft_has(&net->soft, VIRTIO_NET_F_MQ) ||
	    vdpa_soft_has(&net->soft, VIRTIO_NET_F_RSS))
		return (int)(2 * net->npairs);
	return 2;
}

void net_ctrl_stats(struct soft_net *net, vdpa_stat_fn emit, void *arg)
{
	/* As Linux's simulator calls them. */
	static const char *const names[CTRL_STATS] = {"cvq requests", "cvq successes",
						      "cvq errors"};

	for (unsigned i = 0; i < CTRL_STATS; i++)
		emit(arg, names[i],
		     atomic_load_explicit(&net->ctrl->stats[i], memory_order_relaxed));
}

const char *net_ctrl_name(uint8_t class, uint8_t command)
{
	for (const struct net_ctrl_row *row = net_ctrl_rows; row->name; row++)
		if (row->class == class && row->command == command)
			return row->name;
	return "unknown";
}

void net_ctrl_show_last(const struct soft_net *net, vdpa_emit_fn emit, void *arg)
{
	const struct net_ctrl *ctrl = net->ctrl;
	uint64_t first = ctrl->nseen > SEEN ? ctrl->nseen - SEEN : 0;
	char text[512] = "";
	size_t used = 0;

	for (uint64_t i = first; i < ctrl->nseen && used < sizeof(text); i++) {
		const struct net_ctrl_seen *seen = &ctrl->seen[i % SEEN];

		used += (size_t)snprintf(text + used, sizeof(text) - used,
					 "%s%s (%u %u, %llu bytes) %s", used ? ", " : "",
					 net_ctrl_name(seen->class, seen->command), seen->class,
					 seen->command, (unsigned long long)seen->len,
					 seen->ack == VIRTIO_NET_OK ? "OK" : "ERR");
	}
	emit(arg, "cvq_last", text);
}

int net_ctrl_new(struct soft_net *net)
{
	net->ctrl = calloc(1, sizeof(*net->ctrl));
	return net->ctrl ? net_state_init(net) : -ENOMEM;
}

void net_ctrl_free(struct soft_net *net)
{
	net_state_fini(net);
	net_ctrl_intercept(net, false);
	if (net->ctrl)
		free(net->ctrl->data);
	free(net->ctrl);
	net->ctrl = NULL;
}
