/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control queue of a NIC (virtio 1.3, section 5.1.6.5), and the state that its commands make.
 *
 * net_ctrl.c        the queue: a command comes, is looked up, carried out, answered
 * net_ctrl_filter.c commands: what is received
 * net_ctrl_rss.c    commands: how many pairs, and which one receives
 * net_ctrl_coal.c   commands: notification coalescing
 * net_ctrl_stats.c  commands: device statistics
 * net_ctrl_show.c   for people
 * net_ctrl_record.c for a VMM: commands as they came, the state as commands
 * net_state.c       the state: defaults, publication, save and load
 * net_filter.c      the state as the receiving loops use it
 *
 * The state is one object that never changes once it is published: a command is carried out on a
 * copy, which takes the place of the old one when everything went well. The pairs' loops read it
 * between packets; the old one is freed, and the command answered, when all of them have passed. So
 * an answer means that no packet is judged by the former state any more.
 *
 * Everything here is the control thread's but what reads a published state.
 */
#ifndef PARENT_SOFT_NET_CTRL_H
#define PARENT_SOFT_NET_CTRL_H

#include "parent/soft/net.h"

/* Most bytes of command-specific data; a table of more than ten thousand addresses. */
#define NET_CTRL_DATA_MAX 65536u
#define NET_VLANS 4096u

/* Addresses to be received, in order, those of stations first. Not changed once made. */
struct net_macs {
	unsigned refs;
	uint32_t nuni, nmulti;
	uint64_t addr[];
};

/* As the commands of class VIRTIO_NET_CTRL_RX count them. */
#define NET_RX(command) ((uint8_t)(1u << VIRTIO_NET_CTRL_RX_##command))

struct net_rss;
struct net_coal {
	uint32_t max_packets, max_usecs;
};

struct net_state {
	/* Derived: has a packet to be looked at before it is received? Does the table of VLANs
	 * count? Which negotiated features of the driver are as if they were not? */
	bool filter, vlan_filter;
	uint16_t spread;		 /* pairs that automatic steering may use */
	uint64_t on[NET_MAX_PAIRS / 64]; /* pairs that may receive, a bit each */
	uint64_t guest_off;
	/* Set by commands. */
	uint8_t rx;	       /* NET_RX() */
	uint8_t mac[6];	       /* 5.1.6.5.2 */
	struct net_macs *macs; /* NULL: none */
	uint64_t vlans[NET_VLANS / 64];
	uint16_t pairs;				 /* in use */
	struct net_rss *rss;			 /* NULL: no hashes */
	bool by_rss;				 /* steering */
	bool announce;				 /* the driver was asked, and has not answered */
	uint64_t offloads_off;			 /* of GUEST_* features that were negotiated */
	struct net_coal coal_rx, coal_tx;	 /* of a queue that is enabled */
	struct net_coal coal[2 * NET_MAX_PAIRS]; /* by queue */
	/* Publication. */
	struct soft_net *net;
	struct vdpa_loop_sync sync;
	void (*then)(struct soft_net *net);
};

/* ---- commands ---- */

struct net_ctrl_row;

/* One that is being carried out. */
struct net_ctrl_cmd {
	struct soft_net *net;
	const struct net_ctrl_row *row;
	const uint8_t *data; /* a copy: command-specific data */
	uint32_t len;
	struct net_state *to; /* to be changed; of a query the state that is asked for */
	/* Of a query: where the command-specific result goes. NULL when a state is loaded. */
	struct vringh_chain *chain;
	uint32_t result_bytes;
};

struct net_ctrl_row {
	uint8_t class, command;
	const char *name;
	unsigned feature;  /* that must have been negotiated */
	uint32_t min, max; /* bytes of command-specific data */
	bool query;	   /* changes nothing, may have a result */
	/* 0: VIRTIO_NET_OK. -errno: VIRTIO_NET_ERR, and @cmd->to is thrown away. */
	int (*handle)(struct net_ctrl_cmd *cmd);
	/*
	 * What is saved of @s: command-specific data that @load (NULL: @handle) makes the same of;
	 * @buf has NET_CTRL_DATA_MAX bytes. 0: nothing. NULL: the command leaves nothing behind.
	 */
	uint32_t (*save)(const struct net_state *s, const struct net_ctrl_row *row, uint8_t *buf);
	int (*load)(struct net_ctrl_cmd *cmd);
};

/* Ends with a row without name. */
extern const struct net_ctrl_row net_ctrl_rows[];
/* NULL: there is none, or what it needs was not negotiated. */
const struct net_ctrl_row *net_ctrl_find(const struct soft_net *net, uint8_t class,
					 uint8_t command);
/* More of a query's result; what the driver has no room for is left out (5.1.6.5.10). */
void net_ctrl_result(struct net_ctrl_cmd *cmd, const void *buf, uint32_t len);

/* Index of the control queue, which depends on what was negotiated (5.1.2); -1: there is none. */
int net_ctrl_index(const struct soft_net *net);
static inline bool net_is_ctrl(const struct soft_net *net, uint16_t idx)
{
	return net_ctrl_index(net) == idx;
}
int net_ctrl_new(struct soft_net *net);
void net_ctrl_free(struct soft_net *net);
bool net_ctrl_run(struct soft_net *net, struct vdpa_soft_vq *vq, unsigned budget);
void net_ctrl_stats(struct soft_net *net, vdpa_stat_fn emit, void *arg);
/* The last commands, oldest first. */
void net_ctrl_show_last(const struct soft_net *net, vdpa_emit_fn emit, void *arg);
/* Of any command, or "unknown". */
const char *net_ctrl_name(uint8_t class, uint8_t command);
/* net_ctrl_show.c: keys that begin with "cvq_". */
void net_ctrl_show(struct soft_net *net, vdpa_emit_fn emit, void *arg);

/* net_ctrl_record.c. What was asked: @len is the whole command's. */
struct net_ctrl_seen {
	uint8_t class, command, ack;
	uint64_t len;
};
/* From now on keep the last commands; or forget them. 0 or -ENOMEM. */
int net_ctrl_intercept(struct soft_net *net, bool on);
void net_ctrl_record(struct soft_net *net, const struct net_ctrl_seen *seen, const uint8_t *data,
		     uint32_t len);
/* Keys that begin with "cvq_state_" and "cvq_command_". */
void net_ctrl_show_record(const struct soft_net *net, vdpa_emit_fn emit, void *arg);

/* net_ctrl_filter.c */
int net_ctrl_rx_mode(struct net_ctrl_cmd *cmd);
uint32_t net_ctrl_rx_save(const struct net_state *s, const struct net_ctrl_row *row, uint8_t *buf);
int net_ctrl_mac_table(struct net_ctrl_cmd *cmd);
uint32_t net_ctrl_mac_table_save(const struct net_state *s, const struct net_ctrl_row *row,
				 uint8_t *buf);
int net_ctrl_mac_addr(struct net_ctrl_cmd *cmd);
uint32_t net_ctrl_mac_addr_save(const struct net_state *s, const struct net_ctrl_row *row,
				uint8_t *buf);
int net_ctrl_vlan(struct net_ctrl_cmd *cmd);
uint32_t net_ctrl_vlan_save(const struct net_state *s, const struct net_ctrl_row *row,
			    uint8_t *buf);
int net_ctrl_vlan_load(struct net_ctrl_cmd *cmd);
void net_state_show_filter(const struct net_state *s, vdpa_emit_fn emit, void *arg);

/* net_ctrl_rss.c */
#define NET_CTRL_RSS_MIN 13u
#define NET_CTRL_RSS_MAX 307u
#define NET_CTRL_HASH_MIN 13u
#define NET_CTRL_HASH_MAX 53u
int net_ctrl_pairs(struct net_ctrl_cmd *cmd);
uint32_t net_ctrl_pairs_save(const struct net_state *s, const struct net_ctrl_row *row,
			     uint8_t *buf);
int net_ctrl_rss(struct net_ctrl_cmd *cmd);
uint32_t net_ctrl_rss_save(const struct net_state *s, const struct net_ctrl_row *row, uint8_t *buf);
int net_ctrl_rss_load(struct net_ctrl_cmd *cmd);
int net_ctrl_hash(struct net_ctrl_cmd *cmd);
uint32_t net_ctrl_hash_save(const struct net_state *s, const struct net_ctrl_row *row,
			    uint8_t *buf);
void net_rss_put(struct net_rss *rss);
/* Work out which pairs may receive. */
void net_state_steer(struct net_state *s);
void net_state_show_steer(const struct net_state *s, vdpa_emit_fn emit, void *arg);
/* net_ctrl_coal.c */
int net_ctrl_coal(struct net_ctrl_cmd *cmd);
uint32_t net_ctrl_coal_save(const struct net_state *s, const struct net_ctrl_row *row,
			    uint8_t *buf);
int net_ctrl_coal_vq_set(struct net_ctrl_cmd *cmd);
uint32_t net_ctrl_coal_vq_save(const struct net_state *s, const struct net_ctrl_row *row,
			       uint8_t *buf);
int net_ctrl_coal_vq_load(struct net_ctrl_cmd *cmd);
int net_ctrl_coal_vq_get(struct net_ctrl_cmd *cmd);
/* The driver reset queue @idx alone. */
void net_coal_vq_reset(struct vdpa_soft *dev, uint16_t idx);
/* Tell the queues what has changed. */
void net_coal_apply(struct soft_net *net, const struct net_state *old, const struct net_state *s);

/* net_ctrl_stats.c */
int net_ctrl_stats_query(struct net_ctrl_cmd *cmd);
int net_ctrl_stats_get(struct net_ctrl_cmd *cmd);

/* ---- the state ---- */

/* The published one, for a pair's loop: until it returns to its loop. */
static inline const struct net_state *net_state_get(const struct soft_net *net)
{
	return atomic_load_explicit(&net->state, memory_order_acquire);
}
int net_state_init(struct soft_net *net);
void net_state_fini(struct soft_net *net);
/* A copy to be changed, or one with the defaults; NULL: no memory. Then published or dropped. */
struct net_state *net_state_copy(struct soft_net *net);
struct net_state *net_state_default(struct soft_net *net);
void net_state_drop(struct net_state *s);
/* @then (may be NULL): no loop uses the former one any more. */
void net_state_publish(struct net_state *s, void (*then)(struct soft_net *net));
/* The device was reset; features were negotiated, on which some of it depends. */
void net_state_reset(struct vdpa_soft *dev);
void net_state_driver_ok(struct vdpa_soft *dev);
int net_state_save(struct vdpa_soft *dev, void *buf, size_t *bytes);
int net_state_load(struct vdpa_soft *dev, const void *buf, size_t bytes, struct vdpa_error *err);
void net_macs_put(struct net_macs *macs);

/* net_change.c: the link, and whether the driver was asked to announce itself. */
void net_show_status(struct soft_net *net, bool tell);

/* ---- the filter ---- */

/* Is a frame that begins with @head (NET_HEAD_BYTES, zeroes behind its end) received? */
#define NET_HEAD_BYTES 16
bool net_filter_pass(const struct net_state *s, const uint8_t head[NET_HEAD_BYTES]);
static inline uint64_t net_mac_number(const uint8_t mac[6])
{
	uint64_t n = 0;

	memcpy(&n, mac, 6);
	return n;
}

#endif
