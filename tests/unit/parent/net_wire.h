/* SPDX-License-Identifier: BSD-3-Clause */
/* Frames with a payload that can be told, between a guest (10.7.0.2) and the kernel (10.7.0.1). */
#ifndef TESTS_PARENT_NET_WIRE_H
#define TESTS_PARENT_NET_WIRE_H

#include <arpa/inet.h>
#include <time.h>
#include "net_guest.h"

struct nw_flow {
	uint8_t dst[6], src[6];
	uint16_t src_port, dst_port;
	bool partial; /* leave the checksum to others */
	uint32_t payload;
};

struct nw_shown {
	const char *key;
	char value[64];
};

static inline void nw_show(void *arg, const char *key, const char *value)
{
	struct nw_shown *s = arg;

	if (!strcmp(key, s->key))
		snprintf(s->value, sizeof(s->value), "%s", value);
}

/* Bytes [@from, @from + @len) of what is told. */
static inline void nw_payload(uint8_t *p, uint32_t from, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		p[i] = (uint8_t)((from + i) * 7 + ((from + i) >> 8));
}

static inline bool nw_payload_good(const uint8_t *p, uint32_t from, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		if (p[i] != (uint8_t)((from + i) * 7 + ((from + i) >> 8)))
			return false;
	return true;
}

static inline void nw_put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline uint32_t nw_sum(uint32_t s, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		s += i & 1 ? p[i] : (uint32_t)p[i] << 8;
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return s;
}

static inline void nw_ip(const struct nw_flow *flow, uint8_t *f, uint8_t proto, uint32_t l4_bytes)
{
	uint8_t *ip = f + 14;

	memcpy(f, flow->dst, 6);
	memcpy(f + 6, flow->src, 6);
	nw_put16(f + 12, 0x0800);
	memset(ip, 0, 20);
	ip[0] = 0x45;
	nw_put16(ip + 2, 20 + l4_bytes);
	ip[8] = 64;
	ip[9] = proto;
	memcpy(ip + 12, (uint8_t[]){10, 7, 0, 2, 10, 7, 0, 1}, 8);
	nw_put16(ip + 10, (uint16_t)~nw_sum(0, ip, 20));
}

static inline void nw_csum(const struct nw_flow *flow, uint8_t *f, uint32_t l4_bytes, unsigned at)
{
	uint32_t pseudo = nw_sum(f[23] + l4_bytes, f + 26, 8);

	nw_put16(f + 34 + at, 0);
	nw_put16(f + 34 + at, flow->partial ? pseudo : (uint16_t)~nw_sum(pseudo, f + 34, l4_bytes));
}

/* A UDP frame; its length. */
static inline uint32_t nw_udp(const struct nw_flow *flow, uint8_t *f)
{
	uint32_t l4 = 8 + flow->payload;

	nw_ip(flow, f, 17, l4);
	nw_put16(f + 34, flow->src_port ? flow->src_port : 6000);
	nw_put16(f + 36, flow->dst_port);
	nw_put16(f + 38, l4);
	nw_payload(f + 42, 0, flow->payload);
	nw_csum(flow, f, l4, 6);
	return 34 + l4;
}

static inline uint32_t nw_tcp(const struct nw_flow *flow, uint8_t *f)
{
	uint32_t l4 = 20 + flow->payload;

	nw_ip(flow, f, 6, l4);
	memset(f + 34, 0, 20);
	nw_put16(f + 34, 6000);
	nw_put16(f + 36, flow->dst_port);
	f[46] = 5 << 4;
	f[47] = 0x10; /* ACK */
	nw_payload(f + 54, 0, flow->payload);
	nw_csum(flow, f, l4, 16);
	return 34 + l4;
}

/* Of a frame of nw_tcp(), to be cut into segments of @mss. */
static inline void nw_gso_header(uint8_t wire[12], uint16_t mss)
{
	memset(wire, 0, 12);
	wire[0] = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	wire[1] = VIRTIO_NET_HDR_GSO_TCPV4;
	wire[2] = 54;
	wire[4] = (uint8_t)mss;
	wire[5] = (uint8_t)(mss >> 8);
	wire[6] = 34;
	wire[8] = 16;
}

/* Send it, from memory that the device does not read any more. At most 4000 bytes. */
static inline void nw_post_udp(struct soft_guest *g, const struct nw_flow *flow)
{
	static unsigned n;
	size_t off = NG_TX + n++ % 256 * 4096u;
	struct virtqueue_sg sg;

	memset(g->mem + off, 0, 12);
	sg = sg_at(off, 12 + nw_udp(flow, g->mem + off + 12));
	sg_send(g, 1, &sg, 1, 0, g->mem + off);
}

/* Is the checksum of TCP or UDP right? */
static inline bool nw_l4_good(const uint8_t *f, uint32_t len)
{
	uint32_t l4 = len - 34;

	return nw_sum(nw_sum(f[23] + l4, f + 26, 8), f + 34, l4) == 0xffff;
}

/* ---- the kernel's sockets ---- */

static inline struct sockaddr_in nw_addr(const char *ip, uint16_t port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};

	inet_pton(AF_INET, ip, &a.sin_addr);
	return a;
}

static inline int nw_udp_socket(uint16_t port)
{
	struct sockaddr_in a = nw_addr("10.7.0.1", port);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

/* What comes within a second, while the guest's control loop runs; 0: nothing. */
static inline ssize_t nw_recv(struct soft_guest *g, int fd, void *buf, size_t len)
{
	for (unsigned i = 0; i < 1000; i++) {
		ssize_t n = recv(fd, buf, len, MSG_DONTWAIT);

		if (n >= 0)
			return n;
		sg_run(g, SG_SECOND / 1000);
	}
	return 0;
}

static inline uint64_t nw_cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

#endif
