// SPDX-License-Identifier: BSD-3-Clause
/*
 * Switches by name. One comes into being when the first device joins it, and ends with the last.
 * Everything here runs on the control thread; what a lane's loop does is in the other files.
 */
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backend/net_switch.h"

/* For batches that are on their way when the context ends. */
#define SWITCH_SWEEP_NS 1000000000ull

static const struct vdpa_attr_spec switch_attrs[] = {
	{.name = "switch",
	 .type = VDPA_ATTR_STRING,
	 .required = true,
	 .help = "name of the switch to join; the first one makes it"},
	{.name = "isolated",
	 .type = VDPA_ATTR_BOOL,
	 .help = "exchange nothing with other isolated ports (default off)"},
	{.name = "aging",
	 .type = VDPA_ATTR_U64,
	 .min = 1,
	 .max = 1000000,
	 .help = "seconds until the switch forgets a silent address (default 300); the same for "
		 "all "
		 "of its ports"},
	{.name = "fdb_max_learned",
	 .type = VDPA_ATTR_U64,
	 .min = 0,
	 .max = FDB_BUCKETS * FDB_WAYS,
	 .help = "most addresses that may be behind this port (default 1024)"},
	{0},
};

static struct switch_port *to_port(struct net_backend *be)
{
	return vdpa_container_of(be, struct switch_port, be);
}

/* ---- switches ---- */

static void switch_free(struct net_switch *sw)
{
	for (unsigned i = 0; i < SWITCH_PORTS; i++) {
		struct switch_port *sp = atomic_load(&sw->ports[i]);

		for (unsigned l = 0; sp && l < SWITCH_LANES; l++) {
			struct switch_lane *lane = atomic_load(&sp->lanes[l]);

			if (lane)
				switch_lane_trim(lane);
			free(lane);
		}
		free(sp);
	}
	list_del(&sw->node);
	free(sw);
}

void net_switches_sweep(struct net_backend_shared *shared, bool wait)
{
	uint64_t end = vdpa_clock_ns() + SWITCH_SWEEP_NS;
	struct net_switch *sw, *next;

	list_for_each_entry_safe (sw, next, &shared->switches, node) {
		while (wait && !sw->open && atomic_load_explicit(&sw->away, memory_order_acquire) &&
		       vdpa_clock_ns() < end)
			sched_yield();
		if (!sw->open && !atomic_load_explicit(&sw->away, memory_order_acquire))
			switch_free(sw);
	}
}

static struct net_switch *switch_find(struct net_backend_shared *shared, const char *name)
{
	struct net_switch *sw;

	/* One without ports is on its way out. */
	list_for_each_entry (sw, &shared->switches, node) {
		if (sw->open && !strcmp(sw->name, name))
			return sw;
	}
	return NULL;
}

static struct net_switch *switch_new(struct net_backend_shared *shared, const char *name,
				     uint32_t aging_s)
{
	struct net_switch *sw = calloc(1, sizeof(*sw));

	if (!sw)
		return NULL;
	sw->shared = shared;
	snprintf(sw->name, sizeof(sw->name), "%s", name);
	fdb_init(&sw->fdb, aging_s);
	list_add_tail(&shared->switches, &sw->node);
	return sw;
}

/* The named switch, made if need be. */
static int switch_get(const struct backend_open_params *params, struct net_switch **out,
		      struct vdpa_error *err)
{
	const char *name = vdpa_attr_get(params->attrs, "switch");
	uint32_t aging_s = (uint32_t)vdpa_attr_u64(params->attrs, "aging", 0);
	struct net_switch *sw;

	if (!params->shared)
		return vdpa_error_set(err, EOPNOTSUPP, params->name,
				      "there are no switches in this program");
	if (!*name || strlen(name) >= SWITCH_NAME_MAX)
		return vdpa_error_set(err, EINVAL, params->name,
				      "switch \"%.64s\": a name of 1 to %d characters is allowed",
				      name, SWITCH_NAME_MAX - 1);
	net_switches_sweep(params->shared, false);
	sw = switch_find(params->shared, name);
	if (!sw)
		sw = switch_new(params->shared, name, aging_s ? aging_s : SWITCH_AGING_S);
	if (!sw)
		return vdpa_error_set(err, ENOMEM, params->name, "no memory for a switch");
	if (aging_s && aging_s != sw->fdb.aging_s)
		return vdpa_error_set(
			err, EINVAL, params->name,
			"aging %u: switch \"%s\" has %u, and all of its ports the same", aging_s,
			name, sw->fdb.aging_s);
	*out = sw;
	return 0;
}

/* ---- ports ---- */

/* Numbers are used again as late as possible: a packet may be on its way to the last owner. */
static struct switch_port *port_get(struct net_switch *sw)
{
	for (unsigned i = 0; i < SWITCH_PORTS; i++) {
		unsigned id = (sw->next_id + i) % SWITCH_PORTS;
		struct switch_port *sp = atomic_load(&sw->ports[id]);

		if (sp && atomic_load(&sp->open))
			continue;
		/* A batch that is out may name its lanes: the memory stays a port's. */
		if (!sp)
			sp = calloc(1, sizeof(*sp));
		if (!sp)
			return NULL;
		sp->id = id;
		sw->next_id = id + 1;
		return sp;
	}
	return NULL;
}

static void port_publish(struct net_switch *sw, struct switch_port *sp)
{
	sw->open++;
	atomic_store(&sp->open, true);
	atomic_store(&sw->ports[sp->id], sp);
	if (sp->id >= atomic_load(&sw->nports))
		atomic_store(&sw->nports, sp->id + 1);
}

static int switch_open(const struct backend_open_params *params, struct net_backend **out,
		       struct vdpa_error *err)
{
	struct net_switch *sw = NULL;
	struct switch_port *sp;
	int r = switch_get(params, &sw, err);

	if (r)
		return r;
	sp = port_get(sw);
	if (!sp) {
		net_switches_sweep(params->shared, false);
		return vdpa_error_set(err, ENOSPC, params->name, "a switch has at most %d ports",
				      SWITCH_PORTS);
	}
	sp->be.ops = &net_switch_ops;
	sp->sw = sw;
	sp->isolated = vdpa_attr_bool(params->attrs, "isolated", false);
	snprintf(sp->name, sizeof(sp->name), "%s", params->name);
	atomic_store(&sp->pairs, params->pairs < SWITCH_LANES ? params->pairs : SWITCH_LANES);
	sw->fdb.limit[sp->id] =
		(uint32_t)vdpa_attr_u64(params->attrs, "fdb_max_learned", SWITCH_LEARN_MAX);
	port_publish(sw, sp);
	*out = &sp->be;
	return 0;
}

static void switch_close(struct net_backend *be)
{
	struct switch_port *sp = to_port(be);
	struct net_switch *sw = sp->sw;

	atomic_store(&sp->open, false);
	fdb_forget(&sw->fdb, sp->id, false);
	sw->open--;
	net_switches_sweep(sw->shared, false);
}

static void switch_get_info(struct net_backend *be, struct net_backend_info *info)
{
	*info = (struct net_backend_info){
		.offload = NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6 | NET_OFFLOAD_ECN,
		.link_up = true,
		.max_pairs = SWITCH_LANES,
	};
}

static void switch_set_mac(struct net_backend *be, const uint8_t mac[6])
{
	struct switch_port *sp = to_port(be);
	uint64_t n = 0;

	for (unsigned i = 0; i < 6; i++)
		n |= (uint64_t)mac[i] << (8 * i);
	fdb_forget(&sp->sw->fdb, sp->id, true);
	/* Another port may have the same address: then it is found by learning, as any. */
	fdb_add_static(&sp->sw->fdb, n, sp->id);
}

/* ---- what can be seen ---- */

static uint64_t port_stat(const struct switch_port *sp, enum lane_stat stat)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < SWITCH_LANES; i++) {
		struct switch_lane *lane = atomic_load(&sp->lanes[i]);

		if (lane)
			sum += atomic_load_explicit(&lane->stats[stat], memory_order_relaxed);
	}
	return sum;
}

static void emit_number(uint64_t n, const char *key,
			void (*emit)(void *arg, const char *key, const char *value), void *arg)
{
	char value[24];

	snprintf(value, sizeof(value), "%" PRIu64, n);
	emit(arg, key, value);
}

static void switch_show(struct net_backend *be,
			void (*emit)(void *arg, const char *key, const char *value), void *arg)
{
	static const char *const names[LANE_STATS] = {
		[LANE_RX_PACKETS] = "port_rx_packets", [LANE_RX_BYTES] = "port_rx_bytes",
		[LANE_FLOODED] = "port_flooded",       [LANE_LOST] = "port_rx_lost",
		[LANE_MOVED] = "port_moved",	       [LANE_TX_PACKETS] = "port_tx_packets",
		[LANE_TX_BYTES] = "port_tx_bytes",     [LANE_TX_DROPPED] = "port_tx_dropped",
	};
	struct switch_port *sp = to_port(be);

	emit(arg, "switch", sp->sw->name);
	emit_number(sp->id, "port", emit, arg);
	emit(arg, "isolated", sp->isolated ? "on" : "off");
	emit_number(sp->sw->fdb.aging_s, "aging", emit, arg);
	emit_number(sp->sw->fdb.limit[sp->id], "fdb_max_learned", emit, arg);
	emit_number(atomic_load(&sp->sw->fdb.count[sp->id]), "fdb_learned", emit, arg);
	for (unsigned i = 0; i < LANE_STATS; i++)
		emit_number(port_stat(sp, i), names[i], emit, arg);
}

const struct net_backend_ops net_switch_ops = {
	.name = "switch",
	.help = "an Ethernet switch between NICs of this program",
	.attrs = switch_attrs,
	.open = switch_open,
	.close = switch_close,
	.get_info = switch_get_info,
	.port_open = switch_lane_open,
	.port_close = switch_lane_close,
	.send_held = switch_send_held,
	.revoke = switch_revoke,
	.set_mac = switch_set_mac,
	.resume = switch_lane_resume,
	.show = switch_show,
};
