// SPDX-License-Identifier: BSD-3-Clause
/*
 * A cable that ends nowhere: what is sent vanishes. With "generate", packets of that size come out
 * of it besides, as many as the receiver takes. For measuring everything around a NIC.
 *
 * The generator is a poller of the receiver's loop while the receiver takes packets, and nothing at
 * all while it does not: resume() brings it back.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backend/backends.h"

#define FRAME_MIN 14u /* an Ethernet header */
#define FRAME_MAX 65535u
#define BATCHES 4u /* of a turn of the loop, so that other queues have theirs */
#define MAX_PAIRS 256

struct net_null {
	struct net_backend be;
	unsigned generate_bytes; /* 0: nothing comes */
	uint8_t *packet;	 /* header, then frame */
};

struct null_port {
	struct net_port port;
	struct net_port_config config;
	struct vdpa_loop_poller poller;
	struct iovec iov;
	struct net_packet packets[NET_PACKETS_MAX]; /* all the same */
};

static const struct vdpa_attr_spec null_attrs[] = {
	{.name = "generate",
	 .type = VDPA_ATTR_U64,
	 .min = FRAME_MIN,
	 .max = FRAME_MAX,
	 .help = "frames of so many bytes come without end (default: nothing comes)"},
	{0},
};

static struct net_null *to_null(struct net_backend *be)
{
	return vdpa_container_of(be, struct net_null, be);
}

static struct null_port *to_port(struct net_port *port)
{
	return vdpa_container_of(port, struct null_port, port);
}

/* To everybody, from a local address, of the Ethernet type for local experiments (IEEE 802). */
static const uint8_t eth_header[FRAME_MIN] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02,
					      0,    0,	  0,	0,    0x01, 0x88, 0xb5};

static int null_open(const struct backend_open_params *params, struct net_backend **out,
		     struct vdpa_error *err)
{
	struct net_null *n = calloc(1, sizeof(*n));

	if (n) {
		n->generate_bytes = (unsigned)vdpa_attr_u64(params->attrs, "generate", 0);
		n->packet = calloc(1, NET_HDR_BYTES + FRAME_MIN + n->generate_bytes);
	}
	if (!n || !n->packet) {
		free(n);
		return vdpa_error_set(err, ENOMEM, params->name, "no memory for the backend");
	}
	n->be.ops = &net_null_ops;
	memcpy(n->packet + NET_HDR_BYTES, eth_header, sizeof(eth_header));
	*out = &n->be;
	return 0;
}

static void null_close(struct net_backend *be)
{
	free(to_null(be)->packet);
	free(to_null(be));
}

static void null_get_info(struct net_backend *be, struct net_backend_info *info)
{
	*info = (struct net_backend_info){
		.offload = NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6 |
			   NET_OFFLOAD_ECN | NET_OFFLOAD_UFO,
		.link_up = true,
		.max_pairs = MAX_PAIRS,
	};
}

static bool generate(struct vdpa_loop_poller *poller)
{
	struct null_port *np = vdpa_container_of(poller, struct null_port, poller);

	for (unsigned i = 0; i < BATCHES; i++) {
		unsigned n = np->config.deliver(np->config.arg, np->packets, NET_PACKETS_MAX);

		if (n < NET_PACKETS_MAX) {
			vdpa_loop_poller_del(&np->poller);
			return i || n;
		}
	}
	return true;
}

static void null_resume(struct net_port *port)
{
	struct null_port *np = to_port(port);

	if (to_null(port->be)->generate_bytes && !np->poller.loop)
		vdpa_loop_poller_add(np->config.loop, &np->poller, generate);
}

static int null_port_open(struct net_backend *be, const struct net_port_config *config,
			  struct net_port **out)
{
	struct net_null *n = to_null(be);
	struct null_port *np = calloc(1, sizeof(*np));

	if (!np)
		return -ENOMEM;
	np->port.be = be;
	np->config = *config;
	np->iov = (struct iovec){n->packet, NET_HDR_BYTES + n->generate_bytes};
	for (unsigned i = 0; i < NET_PACKETS_MAX; i++)
		np->packets[i] = (struct net_packet){&np->iov, 1, np->iov.iov_len, NULL};
	null_resume(&np->port);
	*out = &np->port;
	return 0;
}

static void null_port_close(struct net_port *port)
{
	struct null_port *np = to_port(port);

	if (np->poller.loop)
		vdpa_loop_poller_del(&np->poller);
	free(np);
}

static unsigned null_send(struct net_port *port, const struct net_packet *pkts, unsigned n)
{
	(void)port;
	(void)pkts;
	return n;
}

static void null_show(struct net_backend *be,
		      void (*emit)(void *arg, const char *key, const char *value), void *arg)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", to_null(be)->generate_bytes);
	emit(arg, "generate", text);
}

const struct net_backend_ops net_null_ops = {
	.name = "null",
	.help = "packets vanish, and none come but those that are made up",
	.attrs = null_attrs,
	.open = null_open,
	.close = null_close,
	.get_info = null_get_info,
	.port_open = null_port_open,
	.port_close = null_port_close,
	.send = null_send,
	.resume = null_resume,
	.show = null_show,
};
