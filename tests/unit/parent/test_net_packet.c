// SPDX-License-Identifier: BSD-3-Clause
/* The software NIC on one end of a veth pair, by packet sockets; the kernel has the other end. */
#include <linux/capability.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "net_guest.h"
#include "net_wire.h"
#include "netns.h"

#define MAC_TEXT "02:00:00:00:00:02"
#define TSO4 (NG_CSUM | VDPA_BIT(VIRTIO_NET_F_HOST_TSO4))
#define GTSO4 (NG_GCSUM | VDPA_BIT(VIRTIO_NET_F_GUEST_TSO4))
#define STATUS VDPA_BIT(VIRTIO_NET_F_STATUS)

static const struct vdpa_attr v0[] = {{"backend", "packet"}, {"ifname", "v0"}, {0}};

static int veth(void **state)
{
	if (netns_fresh(state))
		return -1;
	netns_ip("link add v0 type veth peer name v1");
	netns_ip("link set v0 up");
	netns_ip("link set v1 up");
	netns_addr("v1", MAC_TEXT);
	return 0;
}

static void ready(struct soft_guest *g, unsigned tx)
{
	struct nw_flow flow = {.dst = {2}};
	struct virtqueue_sg sg;
	uint32_t len;

	memset(g->mem + NG_TX, 0, 12);
	sg = sg_at(NG_TX, 12 + nw_udp(&flow, g->mem + NG_TX + 12));
	sg_send(g, tx, &sg, 1, 0, g->mem);
	assert_non_null(sg_get(g, tx, &len, SG_PATIENCE));
}

static void start(struct soft_guest *g, unsigned workers, uint64_t features)
{
	sg_open(g, workers);
	sg_add(g, "soft_net", v0);
	sg_start(g, NG_FEATURES | features, 2, 64);
	ready(g, 1);
}

static bool link_up(struct soft_guest *g)
{
	uint8_t status[2];

	vdpa_get_config(g->dev, offsetof(struct virtio_net_config, status), status, 2);
	return status[0] & VIRTIO_NET_S_LINK_UP;
}

static void until_link(struct soft_guest *g, bool up)
{
	for (unsigned i = 0; i < SG_TRIES && link_up(g) != up; i++)
		sg_run(g, SG_SECOND / 1000);
	assert_int_equal(link_up(g), up);
}

static void kernel_sends(int fd, uint32_t payload)
{
	struct sockaddr_in to = nw_addr("10.7.0.2", 6000);
	uint8_t buf[1500];

	nw_payload(buf, 0, payload);
	assert_int_equal(sendto(fd, buf, payload, 0, (struct sockaddr *)&to, sizeof(to)), payload);
}

static void test_both_ways(void **state)
{
	struct nw_flow flow = {.dst_port = 5000, .partial = true, .payload = 600};
	struct soft_guest g;
	uint8_t buf[2048], *p;
	uint32_t len;
	int fd;

	start(&g, (unsigned)(uintptr_t)*state, NG_CSUM | NG_GCSUM);
	fd = nw_udp_socket(5000);
	netns_mac("v1", flow.dst);
	p = g.mem + NG_TX;
	memset(p, 0, 12);
	len = nw_udp(&flow, p + 12);
	p[0] = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	p[6] = 34;
	p[8] = 6;
	ng_tx_post(&g, len + 12);
	assert_int_equal(nw_recv(&g, fd, buf, sizeof(buf)), 600);
	assert_true(nw_payload_good(buf, 0, 600));
	/* More than one block of the ring holds, with few buffers: all of it, in order. */
	for (unsigned round = 0; round < 40; round++) {
		for (unsigned i = 0; i < 50; i++)
			kernel_sends(fd, 100 + i);
		for (unsigned i = 0; i < 50; i++) {
			ng_rx_post(&g, i % 4, 2048);
			p = sg_get(&g, 0, &len, SG_PATIENCE);
			assert_non_null(p);
			assert_int_equal(len, 12 + 42 + 100 + i);
			assert_true(nw_payload_good(p + 54, 0, 100 + i));
			assert_int_equal(p[0], VIRTIO_NET_HDR_F_NEEDS_CSUM);
		}
	}
	close(fd);
	sg_close(&g);
}

/* Large packets go through whole where both ends can, and in segments where not. */
static void test_tso(void **state)
{
	static uint8_t buf[65536];

	for (unsigned tso = 0; tso < 2; tso++) {
		struct nw_flow flow = {.dst_port = 1, .partial = true, .payload = 20000};
		struct virtio_net_hdr *hdr = (void *)buf;
		uint32_t len, want = tso ? 20000 : 1000;
		uint8_t *p, wire[12];
		struct soft_guest g;
		int fd;

		start(&g, 0, tso ? TSO4 | GTSO4 : TSO4);
		fd = netns_packet("v1", true);
		for (unsigned i = 0; i < 20; i++)
			ng_rx_post(&g, i, tso ? 0x10000 : 2048);
		len = nw_tcp(&flow, buf + sizeof(*hdr));
		nw_gso_header(wire, 1000);
		memcpy(buf, wire, sizeof(*hdr));
		assert_int_equal(write(fd, buf, sizeof(*hdr) + len), sizeof(*hdr) + len);
		for (uint32_t at = 0; at < 20000; at += want) {
			p = ng_rx(&g, &len);
			assert_non_null(p);
			assert_int_equal(len, 12 + 54 + want);
			assert_true(nw_payload_good(p + 66, at, want));
			assert_int_equal(p[0], tso ? VIRTIO_NET_HDR_F_NEEDS_CSUM : 0);
			if (!tso)
				assert_true(nw_l4_good(p + 12, len - 12));
		}
		/* And back. (Its own packets the socket sees, too.) */
		close(fd);
		fd = netns_packet("v1", true);
		p = g.mem + NG_TX;
		len = nw_tcp(&flow, p + 12);
		nw_gso_header(p, 1000);
		ng_tx_post(&g, len + 12);
		assert_int_equal(nw_recv(&g, fd, buf, sizeof(buf)), sizeof(*hdr) + len);
		assert_int_equal(hdr->gso_size, 1000);
		assert_true(nw_payload_good(buf + sizeof(*hdr) + 54, 0, 20000));
		close(fd);
		sg_close(&g);
	}
}

/* The kernel takes a VLAN tag out of a frame; the guest gets it where it was. */
static void test_vlan(void **state)
{
	for (unsigned csum = 0; csum < 2; csum++) {
		struct nw_flow flow = {.dst_port = 1, .partial = true, .payload = 300};
		struct virtio_net_hdr hdr = {VIRTIO_NET_HDR_F_NEEDS_CSUM, 0, 0, 0, 38, 6};
		uint8_t buf[512], plain[512], *p;
		struct soft_guest g;
		uint32_t len;
		int fd;

		start(&g, 0, csum ? NG_GCSUM : 0);
		ng_rx_post(&g, 0, 2048);
		fd = netns_packet("v1", true);
		len = nw_udp(&flow, plain);
		memcpy(buf, &hdr, sizeof(hdr));
		memcpy(buf + sizeof(hdr), plain, 12);
		memcpy(buf + sizeof(hdr) + 12, "\x81\x00\x00\x05", 4);
		memcpy(buf + sizeof(hdr) + 16, plain + 12, len - 12);
		assert_int_equal(write(fd, buf, sizeof(hdr) + 4 + len), sizeof(hdr) + 4 + len);
		p = ng_rx(&g, &len);
		assert_non_null(p);
		assert_int_equal(len, 12 + 46 + 300);
		assert_memory_equal(p + 12 + 12, "\x81\x00\x00\x05\x08\x00", 6);
		assert_true(nw_payload_good(p + 12 + 46, 0, 300));
		assert_int_equal(p[0], csum ? VIRTIO_NET_HDR_F_NEEDS_CSUM : 0);
		assert_int_equal(p[6], csum ? 38 : 0);
		if (!csum) {
			memmove(p + 12 + 12, p + 12 + 16, 30 + 300);
			assert_true(nw_l4_good(p + 12, len - 12 - 4));
		}
		close(fd);
		sg_close(&g);
	}
}

/* What the host itself sends by our interface is not what comes in by it. */
static void test_outgoing(void **state)
{
	uint8_t frame[60] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5};
	struct soft_guest g;
	uint32_t len;
	int fd;

	start(&g, 0, 0);
	ng_rx_post(&g, 0, 2048);
	fd = netns_packet("v0", false);
	assert_int_equal(write(fd, frame, sizeof(frame)), sizeof(frame));
	assert_null(ng_rx_any(&g, &len));
	close(fd);
	sg_close(&g);
}

static void test_pairs(void **state)
{
	struct vdpa_dev_set_config config = {
		.mask = VDPA_CFG_NET_MAX_VQP, .attrs = v0, .net.max_vq_pairs = 2};
	unsigned count[2] = {0, 0};
	struct vdpa_error err;
	struct soft_guest g;
	uint32_t len;

	sg_open(&g, (unsigned)(uintptr_t)*state);
	assert_int_equal(sg_try_add(&g, "soft_net", "d0", &config, &err), 0);
	sg_use(&g, vdpa_find_device(g.ctx, "d0"));
	for (unsigned pairs = 2; pairs; pairs--) {
		sg_start(&g, NG_FEATURES, 2 * pairs, 64);
		for (unsigned q = 0; q < pairs; q++)
			ready(&g, 2 * q + 1);
		for (unsigned i = 0; i < 48; i++) {
			struct virtqueue_sg sg = sg_at(NG_RX + i * 2048, 2048);

			sg_send(&g, pairs == 2 && (i & 1) ? 2 : 0, &sg, 0, 1, g.mem);
		}
		for (unsigned i = 0; i < 24; i++) {
			int fd = nw_udp_socket((uint16_t)(5000 + i));

			kernel_sends(fd, 300);
			close(fd);
		}
		for (unsigned q = 0; q < 2; q++)
			for (count[q] = 0;
			     q < pairs && sg_get_any(&g, 2 * q, &len, SG_SECOND / 10);)
				count[q]++;
		assert_int_equal(count[0] + count[1], 24);
		if (pairs == 2)
			assert_true(count[0] && count[1]);
		sg_reset(&g);
	}
	sg_close(&g);
}

static void test_link(void **state)
{
	struct nw_shown s = {.key = "backend_tx_dropped"};
	struct soft_guest g;
	uint32_t len;
	uint64_t cpu;
	int fd;

	start(&g, (unsigned)(uintptr_t)*state, STATUS);
	assert_true(link_up(&g));
	/* The other end of the cable; then ours. */
	netns_ip("link set v1 down");
	until_link(&g, false);
	netns_ip("link set v0 down");
	ready(&g, 1);
	g.dev->ext->show(g.dev, nw_show, &s);
	assert_string_equal(s.value, "1");
	cpu = nw_cpu_ns();
	sg_run(&g, SG_SECOND / 5);
	assert_true(nw_cpu_ns() - cpu < SG_SECOND / 10);
	netns_ip("link set v0 up");
	netns_ip("link set v1 up");
	until_link(&g, true);
	netns_ip("neigh replace 10.7.0.2 lladdr " MAC_TEXT " dev v1 nud permanent");
	fd = nw_udp_socket(5000);
	ng_rx_post(&g, 0, 2048);
	kernel_sends(fd, 10);
	assert_non_null(sg_get(&g, 0, &len, SG_PATIENCE));
	netns_ip("link del v0");
	until_link(&g, false);
	cpu = nw_cpu_ns();
	sg_run(&g, SG_SECOND / 5);
	assert_true(nw_cpu_ns() - cpu < SG_SECOND / 10);
	close(fd);
	sg_close(&g);
}

static void refuse(struct soft_guest *g, const char *ifname, const char *says)
{
	struct vdpa_attr attrs[] = {{"backend", "packet"}, {"ifname", ifname}, {0}};
	struct vdpa_dev_set_config config = {.attrs = attrs};
	struct vdpa_error err = {.msg = ""};
	unsigned fds = sg_open_fds();

	assert_true(sg_try_add(g, "soft_net", "d0", &config, &err) < 0);
	if (!strstr(err.msg, says))
		fail_msg("\"%s\" does not say \"%s\"", err.msg, says);
	assert_int_equal(sg_open_fds(), fds);
}

static void without_capability(void)
{
	struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct d[2];
	struct soft_guest g;

	assert_int_equal(syscall(SYS_capget, &h, d), 0);
	d[0].effective &= ~(1u << CAP_NET_RAW);
	assert_int_equal(syscall(SYS_capset, &h, d), 0);
	sg_open(&g, 0);
	refuse(&g, "v0", "CAP_NET_RAW");
	sg_close(&g);
	exit(0);
}

static void test_refused(void **state)
{
	struct soft_guest g;
	int status;
	pid_t pid;

	netns_ip("tuntap add dev t0 mode tun");
	sg_open(&g, 0);
	refuse(&g, "none", "there is no interface none");
	refuse(&g, "t0", "no Ethernet frames");
	sg_close(&g);
	fflush(NULL);
	pid = fork();
	if (!pid)
		without_capability();
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

#define WITH(test, value)                                                                          \
	{                                                                                          \
#test "_" #value, test, veth, NULL, (void *)value                                  \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH(test_both_ways, 0), WITH(test_both_ways, 1), WITH(test_tso, 0),
		WITH(test_vlan, 0),	 WITH(test_outgoing, 0),  WITH(test_pairs, 0),
		WITH(test_pairs, 2),	 WITH(test_link, 0),	  WITH(test_link, 1),
		WITH(test_refused, 0),
	};

	netns_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
