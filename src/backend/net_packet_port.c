// SPDX-License-Identifier: BSD-3-Clause
/* A network interface by packet sockets: the ring, and sending (net_packet.h). */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include "backend/net_packet.h"
#include "base/fd.h"

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23 /* Linux 4.20 */
#endif
#ifndef PACKET_FANOUT_FLAG_UNIQUEID
#define PACKET_FANOUT_FLAG_UNIQUEID 0x2000
#endif

#define RING_BLOCK_BYTES (256u << 10) /* more than the largest packet */
#define RING_BLOCKS 8u
#define RING_FRAME_BYTES 2048u /* has no meaning for TPACKET_V3, but has to fit */
#define RING_BLOCK_MS 1	       /* that a packet waits for more, at most */
#define VNET_BYTES sizeof(struct virtio_net_hdr)
#define PACKET_PIECES 64
#define ADDRS_BYTES 12 /* where a VLAN tag goes in a frame */

struct packet_port {
	struct net_io io;
	struct packet_if *pi;
	int fd;
	bool member;
	uint8_t *ring; /* MAP_FAILED: none */
	unsigned block;
	/* Of the block that is being looked at; NULL: none. */
	struct tpacket_block_desc *desc;
	uint8_t *next;
	unsigned left;
	struct iovec iov[NET_IO_BATCH][4];
	uint8_t wire[NET_IO_BATCH][NET_HDR_BYTES + 4]; /* header; VLAN tag */
};

static struct packet_port *to_packet_port(struct net_io *io)
{
	return vdpa_container_of(io, struct packet_port, io);
}

/* ---- receiving ---- */

/* The kernel's header has its numbers in our order. */
static void wire_from_vnet(const uint8_t *from, uint8_t *wire, unsigned vlan_bytes, bool csum)
{
	struct virtio_net_hdr h;
	uint16_t le[4];

	memcpy(&h, from, sizeof(h));
	/* The tag was taken out before the header was made. */
	if (h.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		h.csum_start = (uint16_t)(h.csum_start + vlan_bytes);
	if (h.gso_type != VIRTIO_NET_HDR_GSO_NONE)
		h.hdr_len = (uint16_t)(h.hdr_len + vlan_bytes);
	le[0] = htole16(h.hdr_len);
	le[1] = htole16(h.gso_size);
	le[2] = htole16(h.csum_start);
	le[3] = htole16(h.csum_offset);
	/* "Was found right" is for drivers that do checksums (virtio 1.3, section 5.1.6.4.1). */
	wire[0] = csum ? h.flags : h.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM;
	wire[1] = h.gso_type;
	memcpy(wire + 2, le, sizeof(le));
	wire[10] = wire[11] = 0;
}

static bool is_ours(const uint8_t *hdr)
{
	const struct sockaddr_ll *ll =
		(const void *)(hdr + TPACKET_ALIGN(sizeof(struct tpacket3_hdr)));

	return ll->sll_pkttype != PACKET_OUTGOING;
}

static void add_packet(struct packet_port *pp, unsigned i, const struct tpacket3_hdr *hdr)
{
	uint8_t *frame = pp->next + hdr->tp_mac, *wire = pp->wire[i];
	bool tagged = hdr->tp_status & TP_STATUS_VLAN_VALID && hdr->tp_snaplen >= ADDRS_BYTES;
	bool csum = pp->io.config.offload & NET_OFFLOAD_CSUM;
	struct iovec *iov = pp->iov[i];
	unsigned n = 0;

	wire_from_vnet(frame - VNET_BYTES, wire, tagged ? 4 : 0, csum);
	iov[n++] = (struct iovec){wire, NET_HDR_BYTES};
	if (tagged) {
		uint16_t tpid = hdr->tp_status & TP_STATUS_VLAN_TPID_VALID ? hdr->hv1.tp_vlan_tpid
									   : ETH_P_8021Q;
		uint16_t tag[2] = {htons(tpid), htons((uint16_t)hdr->hv1.tp_vlan_tci)};

		memcpy(wire + NET_HDR_BYTES, tag, sizeof(tag));
		iov[n++] = (struct iovec){frame, ADDRS_BYTES};
		iov[n++] = (struct iovec){wire + NET_HDR_BYTES, sizeof(tag)};
		frame += ADDRS_BYTES;
	}
	iov[n++] = (struct iovec){frame, hdr->tp_snaplen - (tagged ? ADDRS_BYTES : 0)};
	pp->io.pkts[i] = (struct net_packet){
		iov, n, NET_HDR_BYTES + (uint64_t)hdr->tp_snaplen + (tagged ? 4 : 0)};
}

/* The next block that the kernel has filled; the one before is given back. */
static bool next_block(struct packet_port *pp)
{
	struct tpacket_block_desc *desc;

	if (pp->desc) {
		__atomic_store_n(&pp->desc->hdr.bh1.block_status, TP_STATUS_KERNEL,
				 __ATOMIC_RELEASE);
		pp->block = (pp->block + 1) % RING_BLOCKS;
		pp->desc = NULL;
	}
	desc = (void *)(pp->ring + (size_t)pp->block * RING_BLOCK_BYTES);
	if (!(__atomic_load_n(&desc->hdr.bh1.block_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER))
		return false;
	pp->desc = desc;
	pp->left = desc->hdr.bh1.num_pkts;
	pp->next = (uint8_t *)desc + desc->hdr.bh1.offset_to_first_pkt;
	return true;
}

static int packet_fill(struct net_io *io)
{
	struct packet_port *pp = to_packet_port(io);
	unsigned n = 0;

	while (!n) {
		if ((!pp->desc || !pp->left) && !next_block(pp))
			return 0;
		while (n < NET_IO_BATCH && pp->left) {
			const struct tpacket3_hdr *hdr = (const void *)pp->next;

			if (hdr->tp_snaplen < hdr->tp_len)
				net_io_drop(&io->stats->rx_dropped, 1);
			else if (is_ours(pp->next))
				add_packet(pp, n++, hdr);
			pp->next += hdr->tp_next_offset;
			pp->left--;
		}
	}
	return (int)n;
}

/* ---- sending ---- */

struct packet_batch {
	struct mmsghdr msgs[NET_IO_BATCH];
	struct virtio_net_hdr vnet[NET_IO_BATCH];
	struct iovec iov[NET_IO_BATCH][PACKET_PIECES];
};

static void vnet_from_wire(const struct net_packet *pkt, struct virtio_net_hdr *h)
{
	uint8_t wire[NET_HDR_BYTES];
	uint16_t le[4];

	net_io_copy(pkt, 0, wire, sizeof(wire));
	memcpy(le, wire + 2, sizeof(le));
	*h = (struct virtio_net_hdr){
		.flags = wire[0],
		.gso_type = wire[1],
		.hdr_len = le16toh(le[0]),
		.gso_size = le16toh(le[1]),
		.csum_start = le16toh(le[2]),
		.csum_offset = le16toh(le[3]),
	};
}

/* Packet @pkt as number @i of the batch. False: it has too many pieces, and is not the first. */
static bool add_message(struct net_io *io, struct packet_batch *b, unsigned i,
			const struct net_packet *pkt)
{
	struct iovec *iov = b->iov[i];
	unsigned n = net_io_pieces(pkt, NET_HDR_BYTES, iov + 1, PACKET_PIECES - 1);

	if (!n) {
		if (i)
			return false;
		iov[1].iov_base = net_io_linear(io, pkt, NET_HDR_BYTES, &iov[1].iov_len);
		n = iov[1].iov_base != NULL;
	}
	vnet_from_wire(pkt, &b->vnet[i]);
	iov[0] = (struct iovec){&b->vnet[i], VNET_BYTES};
	b->msgs[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = iov, .msg_iovlen = 1 + n}};
	return true;
}

/* How many were taken; 0: none, there is no room. */
static unsigned send_some(struct net_io *io, const struct net_packet *pkts, unsigned n)
{
	struct packet_port *pp = to_packet_port(io);
	struct packet_batch b;
	unsigned count = 0;
	int r;

	while (count < n && count < NET_IO_BATCH && add_message(io, &b, count, &pkts[count]))
		count++;
	do {
		r = sendmmsg(pp->fd, b.msgs, count, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (r < 0 && errno == EINTR);
	if (r > 0)
		return (unsigned)r;
	if (errno == EAGAIN)
		return 0;
	/* The first one: too long, its header is nonsense, or the interface is down. */
	net_io_drop(&io->stats->tx_dropped, 1);
	return 1;
}

static unsigned packet_transmit(struct net_io *io, const struct net_packet *pkts, unsigned n)
{
	unsigned done = 0, some = 1;

	while (done < n && some) {
		some = send_some(io, pkts + done, n - done);
		done += some;
	}
	return done;
}

/* An interface that goes down is an error that goes by being read. */
static void packet_hangup(struct net_io *io)
{
	socklen_t len = sizeof(int);
	int error = 0;

	if (getsockopt(to_packet_port(io)->fd, SOL_SOCKET, SO_ERROR, &error, &len) || !error)
		net_io_detach(io);
}

static const struct net_io_ops packet_io_ops = {
	.fill = packet_fill,
	.transmit = packet_transmit,
	.hangup = packet_hangup,
};

/* ---- ports ---- */

static int make_ring(struct packet_port *pp)
{
	struct tpacket_req3 req = {
		.tp_block_size = RING_BLOCK_BYTES,
		.tp_block_nr = RING_BLOCKS,
		.tp_frame_size = RING_FRAME_BYTES,
		.tp_frame_nr = RING_BLOCKS * (RING_BLOCK_BYTES / RING_FRAME_BYTES),
		.tp_retire_blk_tov = RING_BLOCK_MS,
	};
	int version = TPACKET_V3, one = 1;

	if (setsockopt(pp->fd, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)) ||
	    setsockopt(pp->fd, SOL_PACKET, PACKET_RX_RING, &req, sizeof(req)))
		return -errno;
	/* Where the kernel cannot do it, is_ours() does. */
	setsockopt(pp->fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one));
	pp->ring = mmap(NULL, (size_t)RING_BLOCKS * RING_BLOCK_BYTES, PROT_READ | PROT_WRITE,
			MAP_SHARED, pp->fd, 0);
	return pp->ring == MAP_FAILED ? -errno : 0;
}

static int bind_port(struct packet_port *pp)
{
	struct sockaddr_ll ll = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = (int)pp->pi->ifindex,
	};
	struct packet_mreq mreq = {
		.mr_ifindex = (int)pp->pi->ifindex,
		.mr_type = PACKET_MR_PROMISC,
	};

	if (bind(pp->fd, (struct sockaddr *)&ll, sizeof(ll)))
		return -errno;
	if (pp->pi->promisc &&
	    setsockopt(pp->fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &mreq, sizeof(mreq)))
		return -errno;
	return 0;
}

/* Flows are spread over the pairs whose ports are open. */
static int join_group(struct packet_port *pp)
{
	struct packet_if *pi = pp->pi;
	int arg = PACKET_FANOUT_HASH << 16, r;
	socklen_t len = sizeof(arg);

	pthread_mutex_lock(&pi->lock);
	arg |= pi->group < 0 ? PACKET_FANOUT_FLAG_UNIQUEID << 16 : pi->group;
	r = setsockopt(pp->fd, SOL_PACKET, PACKET_FANOUT, &arg, sizeof(arg)) ? -errno : 0;
	if (!r && pi->group < 0) {
		r = getsockopt(pp->fd, SOL_PACKET, PACKET_FANOUT, &arg, &len) ? -errno : 0;
		pi->group = arg & 0xffff;
	}
	pp->member = !r;
	pi->members += !r;
	pthread_mutex_unlock(&pi->lock);
	return r;
}

/* The group ends with its last member. */
static void leave_group(struct packet_port *pp)
{
	struct packet_if *pi = pp->pi;

	pthread_mutex_lock(&pi->lock);
	vdpa_fd_close(&pp->fd);
	if (pp->member && !--pi->members)
		pi->group = -1;
	pthread_mutex_unlock(&pi->lock);
}

static int take_socket(struct packet_if *pi, unsigned pair)
{
	int fd;

	pthread_mutex_lock(&pi->lock);
	fd = vdpa_fd_take(&pi->fds[pair]);
	pthread_mutex_unlock(&pi->lock);
	return fd >= 0 ? fd : net_packet_socket();
}

void net_packet_port_close(struct net_port *port)
{
	struct packet_port *pp = to_packet_port(to_net_io(port));

	net_io_fini(&pp->io);
	if (pp->ring != MAP_FAILED)
		munmap(pp->ring, (size_t)RING_BLOCKS * RING_BLOCK_BYTES);
	leave_group(pp);
	free(pp);
}

int net_packet_port_open(struct net_backend *be, const struct net_port_config *config,
			 struct net_port **out)
{
	struct packet_if *pi = to_packet_if(be);
	struct packet_port *pp;
	int r;

	if (config->pair >= pi->pairs)
		return -EINVAL;
	pp = calloc(1, sizeof(*pp));
	if (!pp)
		return -ENOMEM;
	pp->pi = pi;
	pp->ring = MAP_FAILED;
	net_io_init(&pp->io, be, config, &packet_io_ops, &pi->stats);
	pp->fd = take_socket(pi, config->pair);
	r = pp->fd < 0 ? pp->fd : make_ring(pp);
	if (!r)
		r = bind_port(pp);
	if (!r && pi->pairs > 1)
		r = join_group(pp);
	if (!r)
		r = net_io_attach(&pp->io, pp->fd);
	if (r) {
		net_packet_port_close(&pp->io.port);
		return r;
	}
	*out = &pp->io.port;
	return 0;
}
