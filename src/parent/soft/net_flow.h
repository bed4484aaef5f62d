/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What flow a packet belongs to, and hashes of it: for receive-side scaling and reports of hashes
 * (Toeplitz; virtio 1.3, section 5.1.6.4.3), and for a table of flows of our own.
 *
 * Nothing here knows a queue. net_flow.c reads headers, net_rss.c computes hashes.
 */
#ifndef PARENT_SOFT_NET_FLOW_H
#define PARENT_SOFT_NET_FLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* So much of a frame is looked at; ports that come later are not seen. */
#define NET_FLOW_BYTES 256

#define NET_IP_BYTES 16

struct net_addrs {
	uint8_t src[NET_IP_BYTES], dst[NET_IP_BYTES]; /* of IPv4: four bytes */
};

struct net_flow {
	uint8_t ip;	  /* 4 or 6; 0: it is neither, or not whole, and nothing else is set */
	uint8_t proto;	  /* IPPROTO_TCP or IPPROTO_UDP with its ports, else 0 */
	bool extended;	  /* IPv6 with extension headers */
	uint8_t ports[4]; /* source, destination, as in the packet */
	struct net_addrs addrs;
	/* IPv6: of the home address option and the routing header of type 2; else as addrs. */
	struct net_addrs home;
};

/*
 * Find out about the frame that begins with these @len bytes (of @frame_bytes in all). The bytes
 * are read several times: they are a copy.
 */
void net_flow_parse(struct net_flow *flow, const uint8_t *bytes, size_t len, size_t frame_bytes);

/* The same number for both directions of a flow; 0: it is none. */
uint32_t net_flow_hash(const struct net_flow *flow, uint64_t seed);

/* ---- Toeplitz ---- */

#define NET_RSS_KEY 40	 /* bytes */
#define NET_RSS_INPUT 36 /* two IPv6 addresses and two ports */

/* A key, worked out: what each half byte of the input contributes. */
struct net_toeplitz {
	uint32_t part[2 * NET_RSS_INPUT][16];
};

#define NET_RSS_TYPES 0x1ffu /* VIRTIO_NET_RSS_HASH_TYPE_* that are understood */

/* A key that is shorter is one that goes on with zeroes. */
void net_toeplitz_key(struct net_toeplitz *t, const uint8_t *key, size_t len);
uint32_t net_toeplitz_hash(const struct net_toeplitz *t, const uint8_t *input, size_t len);

/*
 * The hash of @flow, of the types that are enabled. Returns what it is of
 * (VIRTIO_NET_HASH_REPORT_*); VIRTIO_NET_HASH_REPORT_NONE: there is none, *@hash is 0.
 */
uint16_t net_rss_hash(const struct net_toeplitz *t, uint32_t types, const struct net_flow *flow,
		      uint32_t *hash);

#endif
