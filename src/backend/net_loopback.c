// SPDX-License-Identifier: BSD-3-Clause
/*
 * A cable whose ends are the same device: what a queue pair sends, it receives. Nothing is lost
 * and nothing is kept: send() takes exactly what the receiver took, and tells the device when it
 * can go on. A packet goes back with the header it came with, so an offload works only when the
 * device's driver negotiated both sides of it; that is the device's to see to.
 */
#include <errno.h>
#include <stdlib.h>
#include "backend/backends.h"

#define LOOPBACK_MAX_PAIRS 256

struct loopback_port {
	struct net_port port;
	struct net_port_config config;
	bool blocked; /* a send() was cut short */
	bool sending; /* the receiver may ask for more while it takes what we give it */
};

static const struct vdpa_attr_spec loopback_attrs[] = {
	{0},
};

static struct loopback_port *to_port(struct net_port *port)
{
	return vdpa_container_of(port, struct loopback_port, port);
}

static int loopback_open(const struct backend_open_params *params, struct net_backend **out,
			 struct vdpa_error *err)
{
	struct net_backend *be = calloc(1, sizeof(*be));

	if (!be)
		return vdpa_error_set(err, ENOMEM, params->name, "no memory for the backend");
	be->ops = &net_loopback_ops;
	*out = be;
	return 0;
}

static void loopback_close(struct net_backend *be)
{
	free(be);
}

static void loopback_get_info(struct net_backend *be, struct net_backend_info *info)
{
	*info = (struct net_backend_info){
		.offload = NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6 |
			   NET_OFFLOAD_ECN | NET_OFFLOAD_UFO,
		.link_up = true,
		.max_pairs = LOOPBACK_MAX_PAIRS,
	};
}

static int loopback_port_open(struct net_backend *be, const struct net_port_config *config,
			      struct net_port **out)
{
	struct loopback_port *lp = calloc(1, sizeof(*lp));

	if (!lp)
		return -ENOMEM;
	lp->port.be = be;
	lp->config = *config;
	*out = &lp->port;
	return 0;
}

static void loopback_port_close(struct net_port *port)
{
	free(to_port(port));
}

static unsigned loopback_send(struct net_port *port, const struct net_packet *pkts, unsigned n)
{
	struct loopback_port *lp = to_port(port);
	unsigned taken;

	lp->sending = true;
	taken = lp->config.deliver(lp->config.arg, pkts, n);
	lp->sending = false;
	lp->blocked = taken < n;
	return taken;
}

static void loopback_resume(struct net_port *port)
{
	struct loopback_port *lp = to_port(port);

	if (!lp->blocked || lp->sending)
		return;
	lp->blocked = false;
	lp->config.writable(lp->config.arg);
}

const struct net_backend_ops net_loopback_ops = {
	.name = "loopback",
	.help = "every packet comes back to the queue pair that sent it",
	.attrs = loopback_attrs,
	.open = loopback_open,
	.close = loopback_close,
	.get_info = loopback_get_info,
	.port_open = loopback_port_open,
	.port_close = loopback_port_close,
	.send = loopback_send,
	.resume = loopback_resume,
};
