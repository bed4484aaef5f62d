// SPDX-License-Identifier: BSD-3-Clause
/*
 * A software NIC: what it offers, its birth, and its management device (net.h).
 *
 * The driver sets its receive filter by the control queue. Until it does, everything is received,
 * because a front end that keeps that queue to itself (QEMU's, for vhost-user) never tells the
 * addresses that its guest wants; a bridge in the guest would lose packets. A NIC with "filter on"
 * begins with its own address, broadcast and multicast.
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include "parent/soft/mgmt.h"
#include "parent/soft/net_ctrl.h"
#include "parent/soft/net_steer.h"

#define NET_DEFAULT_MTU 1500
/* mac, status, max_virtqueue_pairs, mtu (5.1.4) */
#define NET_CONFIG_BYTES 12

_Static_assert(offsetof(struct virtio_net_config, mtu) + 2 == NET_CONFIG_BYTES,
	       "layout of section 5.1.4");

/* ---- features ---- */

static uint64_t offload_features(uint64_t offload)
{
	uint64_t f = 0;

	if (!(offload & NET_OFFLOAD_CSUM))
		return 0;
	f |= VDPA_BIT(VIRTIO_NET_F_CSUM) | VDPA_BIT(VIRTIO_NET_F_GUEST_CSUM);
	if (offload & NET_OFFLOAD_TSO4)
		f |= VDPA_BIT(VIRTIO_NET_F_HOST_TSO4) | VDPA_BIT(VIRTIO_NET_F_GUEST_TSO4);
	if (offload & NET_OFFLOAD_TSO6)
		f |= VDPA_BIT(VIRTIO_NET_F_HOST_TSO6) | VDPA_BIT(VIRTIO_NET_F_GUEST_TSO6);
	if (offload & NET_OFFLOAD_ECN)
		f |= VDPA_BIT(VIRTIO_NET_F_HOST_ECN) | VDPA_BIT(VIRTIO_NET_F_GUEST_ECN);
	return f;
}

#define NET_FEATURES                                                                               \
	(VDPA_BIT(VIRTIO_NET_F_MAC) | VDPA_BIT(VIRTIO_NET_F_MTU) | VDPA_BIT(VIRTIO_NET_F_STATUS) | \
	 VDPA_BIT(VIRTIO_NET_F_MRG_RXBUF))

/* What the control queue can do; the queue is there with CTRL_VQ. */
#define NET_CTRL_FEATURES                                                                          \
	(VDPA_BIT(VIRTIO_NET_F_CTRL_VQ) | VDPA_BIT(VIRTIO_NET_F_CTRL_RX) |                         \
	 VDPA_BIT(VIRTIO_NET_F_CTRL_RX_EXTRA) | VDPA_BIT(VIRTIO_NET_F_CTRL_VLAN) |                 \
	 VDPA_BIT(VIRTIO_NET_F_CTRL_MAC_ADDR) | VDPA_BIT(VIRTIO_NET_F_GUEST_ANNOUNCE) |            \
	 VDPA_BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) | VDPA_BIT(VIRTIO_NET_F_NOTF_COAL) |           \
	 VDPA_BIT(VIRTIO_NET_F_VQ_NOTF_COAL) | VDPA_BIT(VIRTIO_NET_F_DEVICE_STATS))

#define HASH_FEATURES (VDPA_BIT(VIRTIO_NET_F_RSS) | VDPA_BIT(VIRTIO_NET_F_HASH_REPORT))

/*
 * On request only. A driver that may have them takes them, and then each packet costs a hash,
 * which the kernel or the switch has worked out before.
 */
static uint64_t hash_features(const struct soft_add *add)
{
	const struct vdpa_attr *attrs = add->attrs.parent;
	uint64_t f = 0;

	if (add->config->mask & VDPA_CFG_FEATURES)
		f |= add->config->device_features & HASH_FEATURES;
	if (vdpa_attr_bool(attrs, "rss", false))
		f |= VDPA_BIT(VIRTIO_NET_F_RSS);
	if (vdpa_attr_bool(attrs, "hash_report", false))
		f |= VDPA_BIT(VIRTIO_NET_F_HASH_REPORT);
	return f;
}

struct needs {
	unsigned bit;
	uint64_t one_of;
};

/* 5.1.3.1: which bits need which others. */
static const struct needs needs[] = {
	{VIRTIO_NET_F_GUEST_TSO4, VDPA_BIT(VIRTIO_NET_F_GUEST_CSUM)},
	{VIRTIO_NET_F_GUEST_TSO6, VDPA_BIT(VIRTIO_NET_F_GUEST_CSUM)},
	{VIRTIO_NET_F_GUEST_ECN,
	 VDPA_BIT(VIRTIO_NET_F_GUEST_TSO4) | VDPA_BIT(VIRTIO_NET_F_GUEST_TSO6)},
	{VIRTIO_NET_F_HOST_TSO4, VDPA_BIT(VIRTIO_NET_F_CSUM)},
	{VIRTIO_NET_F_HOST_TSO6, VDPA_BIT(VIRTIO_NET_F_CSUM)},
	{VIRTIO_NET_F_HOST_ECN,
	 VDPA_BIT(VIRTIO_NET_F_HOST_TSO4) | VDPA_BIT(VIRTIO_NET_F_HOST_TSO6)},
	{VIRTIO_NET_F_CTRL_RX, VDPA_BIT(VIRTIO_NET_F_CTRL_VQ)},
	{VIRTIO_NET_F_CTRL_VLAN, VDPA_BIT(VIRTIO_NET_F_CTRL_VQ)},
	{VIRTIO_NET_F_CTRL_MAC_ADDR, VDPA_BIT(VIRTIO_NET_F_CTRL_VQ)},
	{VIRTIO_NET_F_MQ, VDPA_BIT(VIRTIO_NET_F_CTRL_VQ)},
	{VIRTIO_NET_F_RSS, VDPA_BIT(VIRTIO_NET_F_CTRL_VQ)},
	{VIRTIO_NET_F_GUEST_ANNOUNCE, VDPA_BIT(VIRTIO_NET_F_CTRL_VQ)},
	{VIRTIO_NET_F_NOTF_COAL, VDPA_BIT(VIRTIO_NET_F_CTRL_VQ)},
	{VIRTIO_NET_F_VQ_NOTF_COAL, VDPA_BIT(VIRTIO_NET_F_CTRL_VQ)},
};

/* What is there without what it needs; NULL: nothing. */
static const struct needs *missing(uint64_t features)
{
	for (size_t i = 0; i < sizeof(needs) / sizeof(needs[0]); i++)
		if ((features & VDPA_BIT(needs[i].bit)) && !(features & needs[i].one_of))
			return &needs[i];
	return NULL;
}

static int net_check_features(struct vdpa_soft *dev, uint64_t features)
{
	return missing(features) ? -EINVAL : 0;
}

/* ---- the device ---- */

/* Both queues of a pair share a loop; the control queue has a key of its own. */
static unsigned net_vq_affinity(struct vdpa_soft *dev, uint16_t idx)
{
	const struct soft_net *net = to_net(dev);

	return net_is_ctrl(net, idx) ? net->npairs + 1 : idx / 2;
}

static bool net_vq_control(struct vdpa_soft *dev, uint16_t idx)
{
	return net_is_ctrl(to_net(dev), idx);
}

static bool driver_runs(struct vdpa_soft *dev)
{
	return dev->vdpa.config->get_status(&dev->vdpa) & VIRTIO_CONFIG_S_DRIVER_OK;
}

int net_announce(struct vdpa_soft *dev, const uint8_t mac[6])
{
	struct soft_net *net = to_net(dev);
	struct net_state *s;

	net->announced++;
	if (vdpa_soft_has(dev, VIRTIO_NET_F_GUEST_ANNOUNCE) && driver_runs(dev)) {
		s = net_state_copy(net);
		if (!s)
			return -ENOMEM;
		s->announce = true;
		net_state_publish(s, NULL);
	}
	/* Without anybody to tell, all who need to know do. */
	return net->be->ops->announce ? net->be->ops->announce(net->be, mac) : 0;
}

static void net_show(struct vdpa_soft *dev, vdpa_emit_fn emit, void *arg)
{
	struct soft_net *net = to_net(dev);
	char announced[16];

	snprintf(announced, sizeof(announced), "%u", net->announced);
	emit(arg, "backend", net->be->ops->name);
	emit(arg, "filter", net->filter ? "on" : "off");
	emit(arg, "announced", announced);
	net_state_show_filter(net_state_get(net), emit, arg);
	net_state_show_steer(net_state_get(net), emit, arg);
	if (dev->vdpa.nvqs % 2)
		net_ctrl_show(net, emit, arg);
	if (net->be->ops->show)
		net->be->ops->show(net->be, emit, arg);
}

static void net_free(struct vdpa_soft *dev)
{
	struct soft_net *net = to_net(dev);

	net_pairs_free(net);
	net_ctrl_free(net);
	if (net->be)
		net->be->ops->close(net->be);
}

/* 5.1.2: transmit queues have odd indices. */
static bool net_vq_read_only(struct vdpa_soft *dev, uint16_t idx)
{
	return idx & 1;
}

/* ---- queues: a pair's, or the control queue ---- */

static bool is_ctrl(struct vdpa_soft *dev, struct vdpa_soft_vq *vq)
{
	return net_is_ctrl(to_net(dev), vdpa_soft_vq_index(vq));
}

/* The last queue is nobody's when the control queue was not negotiated, or is elsewhere. */
static bool is_pair(struct vdpa_soft *dev, struct vdpa_soft_vq *vq)
{
	return vdpa_soft_vq_get_priv(vq) && !is_ctrl(dev, vq);
}

static bool run(struct vdpa_soft *dev, struct vdpa_soft_vq *vq, unsigned budget)
{
	if (is_ctrl(dev, vq))
		return net_ctrl_run(to_net(dev), vq, budget);
	return is_pair(dev, vq) && net_run(dev, vq, budget);
}

static int start(struct vdpa_soft *dev, struct vdpa_soft_vq *vq)
{
	return is_pair(dev, vq) ? net_start(dev, vq) : 0;
}

/* A command ends by itself, soon. */
static void stop(struct vdpa_soft *dev, struct vdpa_soft_vq *vq)
{
	if (is_pair(dev, vq))
		net_stop(dev, vq);
}

static void stopped(struct vdpa_soft *dev, struct vdpa_soft_vq *vq)
{
	if (is_pair(dev, vq))
		net_stopped(dev, vq);
}

static void reclaim(struct vdpa_soft *dev, struct vdpa_soft_vq *vq)
{
	if (is_pair(dev, vq))
		net_reclaim(dev, vq);
}

static void vq_stats(struct vdpa_soft *dev, struct vdpa_soft_vq *vq, vdpa_stat_fn emit, void *arg)
{
	if (is_pair(dev, vq))
		net_vq_stats(dev, vq, emit, arg);
	else
		net_ctrl_stats(to_net(dev), emit, arg);
}

static const struct vdpa_soft_ops net_ops = {
	.size = sizeof(net_ops),
	.run = run,
	.start = start,
	.stop = stop,
	.stopped = stopped,
	.reclaim = reclaim,
	.check_features = net_check_features,
	.driver_ok = net_state_driver_ok,
	.reset = net_state_reset,
	.vq_affinity = net_vq_affinity,
	.vq_control = net_vq_control,
	.vq_reset = net_coal_vq_reset,
	.vq_stats = vq_stats,
	.vq_read_only = net_vq_read_only,
	.save_state = net_state_save,
	.load_state = net_state_load,
	.announce = net_announce,
	.show = net_show,
	.free = net_free,
};

/* ---- birth ---- */

/* Under its address the context keeps what backends share. */
static const char net_shared_key;

static const struct vdpa_attr_spec net_attrs[] = {
	{.name = "backend",
	 .type = VDPA_ATTR_STRING,
	 .help = "what it is connected to: loopback (default), switch, tap, socket, packet; its "
		 "own "
		 "attributes follow"},
	{.name = "filter",
	 .type = VDPA_ATTR_BOOL,
	 .help = "drop frames that are for another address, also before the driver asks for it "
		 "(default off)"},
	{.name = "rss",
	 .type = VDPA_ATTR_BOOL,
	 .help = "offer receive-side scaling: the driver says which queue gets which flow (default "
		 "off)"},
	{.name = "hash_report",
	 .type = VDPA_ATTR_BOOL,
	 .help = "offer to tell the driver each packet's hash (default off)"},
	{.name = "intercept",
	 .type = VDPA_ATTR_BOOL,
	 .help = "keep the last commands of the control queue for who asks (default off)"},
	{0},
};

bool net_mac_valid(const uint8_t mac[6])
{
	static const uint8_t none[6];

	return !(mac[0] & 1) && memcmp(mac, none, 6);
}

static int choose_mac(const struct vdpa_dev_set_config *config, uint8_t mac[6],
		      struct vdpa_error *err)
{
	if (!(config->mask & VDPA_CFG_NET_MAC)) {
		if (getrandom(mac, 6, 0) != 6)
			return vdpa_error_set(err, EIO, NULL, "no random address; give one: mac");
		mac[0] = (uint8_t)((mac[0] & 0xfc) | 0x02); /* one station, locally administered */
		return 0;
	}
	memcpy(mac, config->net.mac, 6);
	if (!net_mac_valid(mac))
		return vdpa_error_set(
			err, EINVAL, NULL,
			"mac %02x:%02x:%02x:%02x:%02x:%02x is not one NIC's: it may not be "
			"zero, and its first byte is even",
			mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
	return 0;
}

static int check_pairs(const struct soft_net *net, struct vdpa_error *err)
{
	unsigned max = net->info.max_pairs < NET_MAX_PAIRS ? net->info.max_pairs : NET_MAX_PAIRS;

	if (net->npairs >= 1 && net->npairs <= max)
		return 0;
	return vdpa_error_set(err, EINVAL, NULL, "max_vqp %u: this backend takes 1 to %u",
			      net->npairs, max);
}

void net_tell_mac(struct net_backend *be, const uint8_t mac[6])
{
	if (be->ops->set_mac)
		be->ops->set_mac(be, mac);
}

static int make_config(struct soft_net *net, const struct vdpa_dev_set_config *config, uint8_t *to,
		       struct vdpa_error *err)
{
	uint16_t usual = net->info.mtu ? net->info.mtu : NET_DEFAULT_MTU;
	uint16_t mtu = config->mask & VDPA_CFG_NET_MTU ? config->net.mtu : usual;
	struct virtio_net_config c;
	int r;

	memset(&c, 0, sizeof(c));
	r = choose_mac(config, c.mac, err);
	if (r)
		return r;
	if (net->info.mtu && mtu > net->info.mtu)
		return vdpa_error_set(err, EINVAL, NULL, "mtu %u: this backend takes at most %u",
				      mtu, net->info.mtu);
	r = check_pairs(net, err);
	if (r)
		return r;
	memcpy(net->perm_mac, c.mac, sizeof(c.mac));
	c.status = htole16(net->info.link_up ? VIRTIO_NET_S_LINK_UP : 0);
	c.max_virtqueue_pairs = htole16((uint16_t)net->npairs);
	c.mtu = htole16(mtu);
	/* Unknown: there is no VIRTIO_NET_F_SPEED_DUPLEX. */
	c.speed = htole32(UINT32_MAX);
	c.duplex = UINT8_MAX;
	c.rss_max_key_size = NET_RSS_KEY;
	c.rss_max_indirection_table_length = htole16(NET_RSS_TABLE);
	c.supported_hash_types = htole32(NET_RSS_TYPES);
	memcpy(to, &c, sizeof(c));
	return 0;
}

/* Takes the backend over, whatever happens. */
static int make_device(struct vdpa_mgmt_dev *mdev, const struct soft_net *plan,
		       const struct vdpa_soft_params *params, struct vdpa_error *err)
{
	struct soft_net *net = vdpa_soft_alloc(mdev->ctx, params, err);
	int r;

	if (!net) {
		plan->be->ops->close(plan->be);
		return -ENOMEM;
	}
	net->be = plan->be;
	net->info = plan->info;
	net->npairs = plan->npairs;
	net->filter = plan->filter;
	memcpy(net->perm_mac, plan->perm_mac, sizeof(net->perm_mac));
	net->soft.vdpa.mdev = mdev;
	r = net_pairs_new(net);
	if (!r)
		r = net_ctrl_new(net);
	if (!r)
		r = net_ctrl_intercept(net, plan->intercept);
	r = soft_born(&net->soft, r, err);
	if (!r)
		net_link_watch(net);
	return r;
}

struct backend_open_params net_open_params(const struct soft_add *add)
{
	struct backend_open_params open = soft_open_params(add);

	open.shared = vdpa_ctx_get_data(add->mdev->ctx, &net_shared_key);
	return open;
}

/* Features, and the queues that go with them. */
static int choose_features(struct vdpa_soft_params *params,
			   const struct vdpa_dev_set_config *config, const struct soft_net *plan,
			   struct vdpa_error *err)
{
	const struct needs *lack;
	char has[32], needs_one[64];
	int r;

	/* In order: nothing that a queue of it does takes longer than what came before it. */
	params->features |= NET_FEATURES | NET_CTRL_FEATURES | VDPA_BIT(VIRTIO_NET_F_MQ) |
			    offload_features(plan->info.offload) | VDPA_BIT(VIRTIO_F_IN_ORDER);
	r = soft_apply_features(params, config, err);
	if (r)
		return r;
	if (plan->npairs == 1 && !(config->mask & VDPA_CFG_FEATURES))
		params->features &= ~VDPA_BIT(VIRTIO_NET_F_MQ);
	lack = missing(params->features);
	if (lack)
		return vdpa_error_set(
			err, EINVAL, NULL, "device_features has %s, which needs %s",
			vdpa_feature_names(VIRTIO_ID_NET, VDPA_BIT(lack->bit), has, sizeof(has)),
			vdpa_feature_names(VIRTIO_ID_NET, lack->one_of, needs_one,
					   sizeof(needs_one)));
	params->control_vq = params->features & VDPA_BIT(VIRTIO_NET_F_CTRL_VQ);
	params->nvqs = 2 * plan->npairs + params->control_vq;
	if (params->features & HASH_FEATURES)
		params->config_bytes = sizeof(struct virtio_net_config);
	return 0;
}

static int add_with(void *arg, const struct soft_add *add, struct vdpa_error *err)
{
	const struct vdpa_dev_set_config *config = add->config;
	struct backend_open_params open = net_open_params(add);
	uint8_t space[sizeof(struct virtio_net_config)];
	struct vdpa_soft_params params = {
		.size = sizeof(params),
		.struct_size = sizeof(struct soft_net),
		.ops = &net_ops,
		.name = add->name,
		.parent = add->mdev->name,
		.device_id = VIRTIO_ID_NET,
		.config = space,
		.config_bytes = NET_CONFIG_BYTES,
	};
	struct soft_net plan = {0};
	int r;

	plan.npairs = config->mask & VDPA_CFG_NET_MAX_VQP ? config->net.max_vq_pairs : 1;
	open.pairs = plan.npairs;
	open.mtu = config->mask & VDPA_CFG_NET_MTU ? config->net.mtu : 0;
	r = net_backend_open(add->backend, &open, &plan.be, err);
	if (r)
		return r;
	plan.be->ops->get_info(plan.be, &plan.info);
	plan.filter = vdpa_attr_bool(add->attrs.parent, "filter", false);
	plan.intercept = vdpa_attr_bool(add->attrs.parent, "intercept", false);
	vdpa_soft_params_attrs(&params, add->attrs.parent);
	params.features = hash_features(add);
	r = make_config(&plan, config, space, err);
	if (!r)
		r = choose_features(&params, config, &plan, err);
	if (r) {
		plan.be->ops->close(plan.be);
		return r;
	}
	net_tell_mac(plan.be, space);
	return make_device(add->mdev, &plan, &params, err);
}

/* Attributes of the backend that the request names. */
static int with_backend(struct soft_add *add, const char *backend,
			int (*then)(void *arg, const struct soft_add *add, struct vdpa_error *err),
			void *arg, struct vdpa_error *err)
{
	const struct net_backend_ops *ops = net_backend_find(backend);

	if (!ops)
		return net_backend_open(backend, &(struct backend_open_params){.name = add->name},
					NULL, err);
	add->backend = ops->name;
	add->specs = ops->attrs;
	return soft_add(add, then, arg, err);
}

static int net_dev_add(struct vdpa_mgmt_dev *mdev, const char *name,
		       const struct vdpa_dev_set_config *config, struct vdpa_error *err)
{
	struct soft_add add = {.mdev = mdev, .name = name, .config = config};
	const char *backend = vdpa_attr_get(config->attrs, "backend");

	return with_backend(&add, backend ? backend : "loopback", add_with, NULL, err);
}

/* In use at once, and after a reset. */
static int set_mac(struct soft_net *net, const uint8_t mac[6], struct vdpa_error *err)
{
	struct net_state *s = net_state_copy(net);

	if (!s)
		return vdpa_error_set(err, ENOMEM, net->soft.vdpa.name, "no memory");
	memcpy(net->perm_mac, mac, sizeof(net->perm_mac));
	memcpy(s->mac, mac, sizeof(s->mac));
	net_state_publish(s, NULL);
	return vdpa_soft_config_set(&net->soft, offsetof(struct virtio_net_config, mac), mac, 6);
}

static int set_intercept(struct soft_net *net, const struct vdpa_dev_set_config *config,
			 struct vdpa_error *err)
{
	int r = vdpa_attr_check(config->attrs, net_attrs, net->soft.vdpa.name, err);

	if (r)
		return r;
	if (config->attrs[1].key)
		return vdpa_error_set(err, EINVAL, net->soft.vdpa.name,
				      "intercept is set by itself");
	r = net_ctrl_intercept(net, vdpa_attr_bool(config->attrs, "intercept", false));
	return r ? vdpa_error_set(err, ENOMEM, net->soft.vdpa.name, "no memory for commands") : 0;
}

/* As Linux: the address may be changed while the device exists. Here the backend may, too. */
static int net_dev_set(struct vdpa_mgmt_dev *mdev, struct vdpa_device *vdev,
		       const struct vdpa_dev_set_config *config, struct vdpa_error *err)
{
	struct soft_net *net = to_net(vdpa_to_soft(vdev));
	struct soft_add add = {.mdev = mdev, .name = vdev->name, .config = config};
	const char *backend = vdpa_attr_get(config->attrs, "backend");
	bool attrs = config->attrs && config->attrs->key;
	uint8_t mac[6];
	int r = 0;

	if ((config->mask & ~VDPA_CFG_NET_MAC) || (!config->mask && !attrs))
		return vdpa_error_set(err, EOPNOTSUPP, vdev->name,
				      "of this device only mac, busyloop, workers and intercept "
				      "can be changed, and backend with its attributes");
	if (config->mask)
		r = choose_mac(config, mac, err);
	if (!r && backend)
		r = with_backend(&add, backend, net_change_backend, net, err);
	else if (!r && vdpa_attr_get(config->attrs, "intercept"))
		r = set_intercept(net, config, err);
	else if (!r)
		r = vdpa_soft_dev_set(mdev, vdev, config, err);
	if (r || !config->mask)
		return r;
	return set_mac(net, mac, err);
}

static const struct vdpa_mgmtdev_ops net_mgmt_ops = {
	.dev_add = net_dev_add,
	.dev_del = vdpa_soft_dev_del,
	.dev_set_attr = net_dev_set,
};

static void free_shared(void *data)
{
	net_backend_shared_free(data);
}

static int make_shared(struct vdpa_ctx *ctx)
{
	struct net_backend_shared *shared = net_backend_shared_new();
	int r = shared ? vdpa_ctx_set_data(ctx, &net_shared_key, shared, free_shared) : -ENOMEM;

	if (r)
		net_backend_shared_free(shared);
	return r;
}

int soft_net_register(struct vdpa_ctx *ctx)
{
	static const uint32_t ids[] = {VIRTIO_ID_NET, 0};
	struct vdpa_mgmt_dev tmpl = {
		.name = "soft_net",
		.help = "network cards in software",
		.ops = &net_mgmt_ops,
		.id_table = ids,
		.config_attr_mask = VDPA_CFG_FEATURES | VDPA_CFG_NET_MAC | VDPA_CFG_NET_MTU |
				    VDPA_CFG_NET_MAX_VQP,
		.supported_features = vdpa_soft_kit_features() | NET_FEATURES | NET_CTRL_FEATURES |
				      VDPA_BIT(VIRTIO_NET_F_MQ) | HASH_FEATURES |
				      offload_features(NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4 |
						       NET_OFFLOAD_TSO6 | NET_OFFLOAD_ECN),
		.max_supported_vqs = 2 * NET_MAX_PAIRS + 1,
	};
	int r = make_shared(ctx);

	return r ? r : soft_mgmt_register(ctx, &tmpl, net_attrs);
}
