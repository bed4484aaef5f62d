/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sends frames through DPDK's virtio-user driver and expects every one of
 * them back, in order and byte for byte.
 *
 *	dpdk_loop EAL-OPTION... -- COUNT
 *
 * Sizes go through 60 to 1514 bytes; each third frame is a chain of two
 * buffers. The device is the first port that the EAL options make. With a
 * second one frames go out by the first and come in by the second, and then
 * the other way round, as many again.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#define FRAME_MIN 60u
#define FRAME_MAX 1514u
#define BURST 32u
#define WINDOW 64u
#define RING 256
#define TIMEOUT_S 10

struct loop {
	struct rte_mempool *pool;
	struct rte_ether_addr mac, to_mac;
	uint16_t port, to;
	uint32_t sent, back, count;
};

static void die(const char *what, int err)
{
	fprintf(stderr, "%s: %s\n", what, rte_strerror(err < 0 ? -err : err));
	exit(1);
}

static uint32_t frame_size(uint32_t n)
{
	return FRAME_MIN + n * 7 % (FRAME_MAX - FRAME_MIN + 1);
}

/* The whole of frame number n, which both ends know. */
static uint32_t make_frame(const struct loop *l, uint32_t n, uint8_t *p)
{
	uint32_t i, size = frame_size(n), x = n * 2654435761u + 1;

	memset(p, 0xff, 6);
	if (!(n & 1))
		memcpy(p, &l->to_mac, 6);
	memcpy(p + 6, &l->mac, 6);
	p[12] = 0x88;
	p[13] = 0xb5;
	for (i = 14; i < size; i++) {
		x = x * 1664525u + 1013904223u;
		p[i] = x >> 24;
	}
	return size;
}

static struct rte_mbuf *take_mbuf(struct loop *l, const uint8_t *p, uint32_t len)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(l->pool);

	if (!m)
		die("no buffers", ENOMEM);
	memcpy(rte_pktmbuf_append(m, len), p, len);
	return m;
}

static struct rte_mbuf *make_mbuf(struct loop *l, uint32_t n)
{
	uint8_t frame[FRAME_MAX];
	uint32_t size = make_frame(l, n, frame);
	uint32_t first = n % 3 ? size : size / 2;
	struct rte_mbuf *m = take_mbuf(l, frame, first);

	if (first < size && rte_pktmbuf_chain(m, take_mbuf(l, frame + first, size - first)))
		die("chain", EOVERFLOW);
	return m;
}

static void check_mbuf(struct loop *l, struct rte_mbuf *m)
{
	uint8_t want[FRAME_MAX], got[FRAME_MAX];
	uint32_t size = make_frame(l, l->back, want);
	const void *p;

	p = rte_pktmbuf_read(m, 0, size, got);
	if (m->pkt_len != size || !p || memcmp(p, want, size)) {
		fprintf(stderr, "frame %u came back wrong: %u bytes, not %u\n", l->back, m->pkt_len,
			size);
		exit(1);
	}
	l->back++;
	rte_pktmbuf_free(m);
}

static void send_some(struct loop *l)
{
	struct rte_mbuf *burst[BURST];
	uint32_t i, n = 0, done;

	while (n < BURST && l->sent + n < l->count && l->sent + n - l->back < WINDOW) {
		burst[n] = make_mbuf(l, l->sent + n);
		n++;
	}
	done = rte_eth_tx_burst(l->port, 0, burst, n);
	l->sent += done;
	for (i = done; i < n; i++)
		rte_pktmbuf_free(burst[i]);
}

static uint32_t receive_some(struct loop *l)
{
	struct rte_mbuf *burst[BURST];
	uint32_t i, n = rte_eth_rx_burst(l->to, 0, burst, BURST);

	for (i = 0; i < n; i++)
		check_mbuf(l, burst[i]);
	return n;
}

static void start_port(struct loop *l, uint16_t port, struct rte_ether_addr *mac)
{
	struct rte_eth_conf conf = {
		.txmode.offloads = RTE_ETH_TX_OFFLOAD_MULTI_SEGS,
	};
	int ret = rte_eth_dev_configure(port, 1, 1, &conf);

	if (ret)
		die("configure", ret);
	ret = rte_eth_rx_queue_setup(port, 0, RING, 0, NULL, l->pool);
	if (ret)
		die("rx queue", ret);
	ret = rte_eth_tx_queue_setup(port, 0, RING, 0, NULL);
	if (ret)
		die("tx queue", ret);
	ret = rte_eth_dev_start(port);
	if (ret)
		die("start", ret);
	rte_eth_macaddr_get(port, mac);
}

static void start(struct loop *l)
{
	l->port = rte_eth_find_next(0);
	if (l->port >= RTE_MAX_ETHPORTS)
		die("no port", ENODEV);
	l->pool = rte_pktmbuf_pool_create("frames", 4095, 128, 0, RTE_MBUF_DEFAULT_BUF_SIZE, 0);
	if (!l->pool)
		die("pool", rte_errno);
	start_port(l, l->port, &l->mac);
	l->to = rte_eth_find_next(l->port + 1);
	if (l->to < RTE_MAX_ETHPORTS) {
		start_port(l, l->to, &l->to_mac);
	} else {
		l->to = l->port;
		l->to_mac = l->mac;
	}
}

static void stop_port(uint16_t port)
{
	rte_eth_dev_stop(port);
	rte_eth_dev_close(port);
}

/*
 * The driver enables its rings by messages that nobody answers, so that the
 * other end may not know of the second ring when the first frame comes, and
 * may drop it. Small frames go out until one comes back and no more follow;
 * from there on every frame counts.
 */
static void wait_for_rings(struct loop *l)
{
	uint8_t hello[FRAME_MIN] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	struct rte_mbuf *m, *burst[BURST];
	uint32_t i, n, seen = 0, quiet = 0;

	memcpy(hello + 6, &l->mac, 6);
	for (i = 0; i < TIMEOUT_S * 100 && quiet < 10; i++) {
		if (!seen) {
			m = take_mbuf(l, hello, sizeof(hello));
			if (!rte_eth_tx_burst(l->port, 0, &m, 1))
				rte_pktmbuf_free(m);
		}
		usleep(10000);
		n = rte_eth_rx_burst(l->to, 0, burst, BURST);
		rte_pktmbuf_free_bulk(burst, n);
		seen += n;
		quiet = n || !seen ? 0 : quiet + 1;
	}
	if (!seen) {
		fprintf(stderr, "nothing comes back\n");
		exit(1);
	}
}

/* All frames, one way. */
static void run(struct loop *l)
{
	time_t last = time(NULL);

	l->sent = l->back = 0;
	while (l->back < l->count) {
		send_some(l);
		if (receive_some(l))
			last = time(NULL);
		if (time(NULL) > last + TIMEOUT_S) {
			fprintf(stderr,
				"frame %u of %u sent ones did not "
				"come back\n",
				l->back, l->sent);
			exit(1);
		}
	}
}

static struct loop turned(const struct loop *l)
{
	return (struct loop){.pool = l->pool,
			     .mac = l->to_mac,
			     .to_mac = l->mac,
			     .port = l->to,
			     .to = l->port,
			     .count = l->count};
}

int main(int argc, char **argv)
{
	static struct loop l, back;
	int used;

	used = rte_eal_init(argc, argv);
	if (used < 0)
		die("EAL", rte_errno);
	if (argc - used != 2) {
		fprintf(stderr, "usage: dpdk_loop EAL-OPTION... -- COUNT\n");
		return 2;
	}
	l.count = strtoul(argv[used + 1], NULL, 0);
	start(&l);
	wait_for_rings(&l);
	run(&l);
	if (l.to != l.port) {
		back = turned(&l);
		wait_for_rings(&back);
		run(&back);
		stop_port(l.to);
	}
	stop_port(l.port);
	rte_eal_cleanup();
	printf("dpdk_loop: %u frames came back\n", l.back);
	return 0;
}
