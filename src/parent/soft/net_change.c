// SPDX-License-Identifier: BSD-3-Clause
/*
 * Another backend for a device that runs. The new one is opened first: when that fails, nothing has
 * happened. Then each pair, on its loop, closes its port and opens one of the new backend. What the
 * old port had received and the driver had no buffers for is dropped and counted there; the
 * driver's own packets stay in its ring, and go out by the new port. When all pairs have moved, the
 * old backend is closed, and the driver is told of the link.
 *
 * Features stay as they were negotiated (net_soften.c).
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "parent/soft/mgmt.h"
#include "parent/soft/net_ctrl.h"

struct net_move {
	struct net_change *change;
	struct net_pair *pair;
	struct vdpa_loop_msg msg, done;
};

struct net_change {
	struct soft_net *net;
	struct net_backend *to;
	struct net_backend_info info;
	unsigned left;		 /* pairs that have not moved yet */
	struct net_move moves[]; /* one for each pair */
};

/* ---- the link ---- */

void net_show_status(struct soft_net *net, bool tell)
{
	uint16_t status = (net->info.link_up ? VIRTIO_NET_S_LINK_UP : 0) |
			  (net_state_get(net)->announce ? VIRTIO_NET_S_ANNOUNCE : 0);
	const unsigned offset = offsetof(struct virtio_net_config, status);

	status = htole16(status);
	if (tell)
		vdpa_soft_config_set(&net->soft, offset, &status, sizeof(status));
	else
		vdpa_soft_config_store(&net->soft, offset, &status, sizeof(status));
}

static void link_changed(void *arg)
{
	struct soft_net *net = arg;
	bool up = net->info.link_up;

	net->be->ops->get_info(net->be, &net->info);
	if (net->info.link_up != up)
		net_show_status(net, true);
}

static void watch(struct soft_net *net, void (*changed)(void *arg))
{
	if (net->be->ops->watch)
		net->be->ops->watch(net->be, changed, net);
}

void net_link_watch(struct soft_net *net)
{
	watch(net, link_changed);
}

/* ---- moving ---- */

static void announce(struct soft_net *net)
{
	uint8_t mac[6];

	vdpa_soft_config_get(&net->soft, offsetof(struct virtio_net_config, mac), mac, sizeof(mac));
	net_tell_mac(net->be, mac);
	if (net->info.link_up)
		net_announce(&net->soft, mac);
}

static void finish(struct net_change *change)
{
	struct soft_net *net = change->net;

	net->be->ops->close(net->be);
	net->be = change->to;
	net->be->ops->get_info(net->be, &net->info);
	net->change = NULL;
	free(change);
	net_link_watch(net);
	net_show_status(net, true);
	announce(net);
	vdpa_put_device(&net->soft.vdpa);
}

static void moved(struct vdpa_loop_msg *msg)
{
	struct net_move *move = vdpa_container_of(msg, struct net_move, done);

	if (!--move->change->left)
		finish(move->change);
}

static void move_pair(struct vdpa_loop_msg *msg);

/* To the loop that the pair's queues have now: they may leave it before the message comes there. */
static void move_soon(struct net_move *move, struct vdpa_loop *loop)
{
	vdpa_loop_post(loop, &move->msg, move_pair);
}

static struct vdpa_loop *loop_of(struct net_pair *pair)
{
	return vdpa_soft_vq_loop(vdpa_soft_get_vq(&pair->net->soft, (uint16_t)(2 * pair->index)));
}

/* On the pair's loop. */
static void move_pair(struct vdpa_loop_msg *msg)
{
	struct net_move *move = vdpa_container_of(msg, struct net_move, msg);
	struct net_pair *pair = move->pair;
	struct vdpa_loop *loop = loop_of(pair);
	bool had_port;

	if (!vdpa_loop_is_current(loop)) {
		move_soon(move, loop);
		return;
	}
	had_port = pair->port != NULL;
	if (had_port)
		net_port_close(pair);
	pair->be = move->change->to;
	pair->be_offload = move->change->info.offload;
	if (had_port && net_port_open(pair, loop)) {
		pair->port = NULL;
		pair->blocked = true; /* nothing leaves the ring */
		vdpa_soft_broken(&pair->net->soft, "a queue cannot use the new backend");
	} else if (pair->tx) {
		vdpa_soft_vq_wake(pair->tx);
	}
	vdpa_loop_post(vdpa_ctx_control(pair->net->soft.vdpa.ctx), &move->done, moved);
}

static void start(struct soft_net *net, struct net_change *change)
{
	change->left = net->npairs;
	net->change = change;
	watch(net, NULL);
	vdpa_get_device(&net->soft.vdpa);
	for (unsigned i = 0; i < net->npairs; i++) {
		struct net_move *move = &change->moves[i];

		move->change = change;
		move->pair = &net->pairs[i];
		move_soon(move, loop_of(move->pair));
	}
}

/* ---- the new one ---- */

static int suits(struct soft_net *net, const struct net_backend_info *info, struct vdpa_error *err)
{
	uint16_t mtu;

	vdpa_soft_config_get(&net->soft, offsetof(struct virtio_net_config, mtu), &mtu,
			     sizeof(mtu));
	mtu = le16toh(mtu);
	if (info->max_pairs < net->npairs)
		return vdpa_error_set(err, EINVAL, NULL,
				      "the device has %u queue pairs: this backend takes 1 to %u",
				      net->npairs, info->max_pairs);
	if (info->mtu && mtu > info->mtu)
		return vdpa_error_set(err, EINVAL, NULL,
				      "the device has an mtu of %u: this backend takes at most %u",
				      mtu, info->mtu);
	return 0;
}

static int open_new(struct soft_net *net, const struct soft_add *add, struct net_change *change,
		    struct vdpa_error *err)
{
	struct backend_open_params params = net_open_params(add);
	int r;

	params.pairs = net->npairs;
	r = net_backend_open(add->backend, &params, &change->to, err);
	if (r)
		return r;
	change->to->ops->get_info(change->to, &change->info);
	r = suits(net, &change->info, err);
	if (r)
		change->to->ops->close(change->to);
	return r;
}

int net_change_backend(void *arg, const struct soft_add *add, struct vdpa_error *err)
{
	struct soft_net *net = arg;
	struct net_change *change;
	int r;

	if (net->change)
		return vdpa_error_set(err, EBUSY, add->name,
				      "the device is just getting another backend");
	for (const struct vdpa_attr *a = add->attrs.parent; a->key; a++)
		if (strcmp(a->key, "backend") != 0)
			return vdpa_error_set(
				err, EOPNOTSUPP, add->name,
				"%s cannot be changed, only mac, and backend with its "
				"attributes",
				a->key);
	change = calloc(1, sizeof(*change) + net->npairs * sizeof(change->moves[0]));
	if (!change)
		return vdpa_error_set(err, ENOMEM, add->name, "no memory");
	r = open_new(net, add, change, err);
	if (r) {
		free(change);
		return r;
	}
	change->net = net;
	start(net, change);
	return 0;
}
