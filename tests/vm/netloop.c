/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sends frames out of an interface and expects every one of them back, in
 * order and byte for byte: a test of a loopback NIC, run inside a guest.
 *
 *	netloop INTERFACE COUNT [PAIRS]
 *
 * PAIRS: let the interface use so many pairs of queues from now on.
 * Half of the frames go to the interface's own address, half to everybody.
 * Sizes go through all of 60 to 1514 bytes. At most WINDOW are on their way.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define ETHERTYPE 0x88b5 /* IEEE 802, local experimental */
#define WINDOW 16
#define FRAME_MIN 60
#define FRAME_MAX 1514
#define TIMEOUT_MS 10000

struct loop {
	int fd;
	uint8_t mac[ETH_ALEN];
};

static unsigned int frame_size(uint32_t n)
{
	return FRAME_MIN + n * 7 % (FRAME_MAX - FRAME_MIN + 1);
}

/* The whole of frame number n, which both ends know. */
static unsigned int make_frame(const struct loop *l, uint32_t n, uint8_t *p)
{
	unsigned int i, size = frame_size(n);
	uint32_t x = n * 2654435761u + 1;

	if (n & 1)
		memset(p, 0xff, ETH_ALEN);
	else
		memcpy(p, l->mac, ETH_ALEN);
	memcpy(p + ETH_ALEN, l->mac, ETH_ALEN);
	p[12] = ETHERTYPE >> 8;
	p[13] = ETHERTYPE & 0xff;
	for (i = ETH_HLEN; i < size; i++) {
		x = x * 1664525u + 1013904223u;
		p[i] = x >> 24;
	}
	return size;
}

static int open_loop(struct loop *l, const char *name)
{
	struct sockaddr_ll addr = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETHERTYPE),
		.sll_ifindex = if_nametoindex(name),
	};
	struct ifreq req = {0};

	l->fd = socket(AF_PACKET, SOCK_RAW, htons(ETHERTYPE));
	if (l->fd < 0)
		return -errno;
	if (bind(l->fd, (struct sockaddr *)&addr, sizeof(addr)))
		return -errno;
	strncpy(req.ifr_name, name, IFNAMSIZ - 1);
	if (ioctl(l->fd, SIOCGIFHWADDR, &req))
		return -errno;
	memcpy(l->mac, req.ifr_hwaddr.sa_data, ETH_ALEN);
	return 0;
}

static int send_frame(const struct loop *l, uint32_t n)
{
	uint8_t frame[FRAME_MAX];
	unsigned int size = make_frame(l, n, frame);

	return send(l->fd, frame, size, 0) == (ssize_t)size ? 0 : -errno;
}

/* The next frame that came in, not the copy of one that went out. */
static ssize_t receive(const struct loop *l, uint8_t *frame, size_t size)
{
	struct pollfd p = {.fd = l->fd, .events = POLLIN};
	struct sockaddr_ll from;
	socklen_t len;
	ssize_t n;

	do {
		if (poll(&p, 1, TIMEOUT_MS) <= 0)
			return -ETIMEDOUT;
		len = sizeof(from);
		n = recvfrom(l->fd, frame, size, 0, (struct sockaddr *)&from, &len);
		if (n < 0)
			return -errno;
	} while (from.sll_pkttype == PACKET_OUTGOING);
	return n;
}

static int expect_frame(const struct loop *l, uint32_t n)
{
	uint8_t want[FRAME_MAX], got[FRAME_MAX + 64];
	ssize_t size = make_frame(l, n, want), len;

	len = receive(l, got, sizeof(got));
	if (len < 0) {
		fprintf(stderr, "frame %u did not come back: %s\n", n, strerror(-len));
		return -1;
	}
	if (len != size || memcmp(want, got, size)) {
		fprintf(stderr, "frame %u came back wrong: %zd bytes, not %zd\n", n, len, size);
		return -1;
	}
	return 0;
}

static int use_pairs(const struct loop *l, const char *name, uint32_t pairs)
{
	struct ethtool_channels channels = {.cmd = ETHTOOL_SCHANNELS, .combined_count = pairs};
	struct ifreq req = {.ifr_data = (void *)&channels};

	strncpy(req.ifr_name, name, IFNAMSIZ - 1);
	return ioctl(l->fd, SIOCETHTOOL, &req) ? -errno : 0;
}

int main(int argc, char **argv)
{
	uint32_t sent = 0, back = 0, count;
	struct loop l;
	int ret;

	if (argc != 3 && argc != 4) {
		fprintf(stderr, "usage: %s INTERFACE COUNT [PAIRS]\n", argv[0]);
		return 2;
	}
	count = strtoul(argv[2], NULL, 0);
	ret = open_loop(&l, argv[1]);
	if (!ret && argc == 4)
		ret = use_pairs(&l, argv[1], strtoul(argv[3], NULL, 0));
	if (ret) {
		fprintf(stderr, "%s: %s\n", argv[1], strerror(-ret));
		return 1;
	}
	while (back < count) {
		if (sent < count && sent - back < WINDOW) {
			ret = send_frame(&l, sent++);
			if (ret) {
				fprintf(stderr, "send: %s\n", strerror(-ret));
				return 1;
			}
		} else if (expect_frame(&l, back++)) {
			return 1;
		}
	}
	printf("netloop: %u frames came back\n", back);
	return 0;
}
