// SPDX-License-Identifier: BSD-3-Clause
/* The software NIC on tap interfaces of a network namespace of its own; the kernel is the peer. */
#include <linux/capability.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "cvq_guest.h"
#include "net_wire.h"
#include "netns.h"

#define MAC_TEXT "02:00:00:00:00:02"
#define TSO4 (NG_CSUM | VDPA_BIT(VIRTIO_NET_F_HOST_TSO4))
#define GTSO4 (NG_GCSUM | VDPA_BIT(VIRTIO_NET_F_GUEST_TSO4))
#define STATUS VDPA_BIT(VIRTIO_NET_F_STATUS)

static const struct vdpa_attr t0[] = {{"backend", "tap"}, {"ifname", "t0"}, {0}};

/* A pair that has sent something, to nobody, has its port. */
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
	sg_add(g, "soft_net", t0);
	netns_addr("t0", MAC_TEXT);
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

static uint64_t shown(struct soft_guest *g, const char *key)
{
	struct nw_shown s = {.key = key};

	g->dev->ext->show(g->dev, nw_show, &s);
	return strtoull(s.value, NULL, 10);
}

/* ---- to the kernel ---- */

static void guest_sends_udp(struct soft_guest *g, uint16_t port, bool csum, uint32_t payload)
{
	struct nw_flow flow = {.dst_port = port, .partial = csum, .payload = payload};
	uint8_t *p = g->mem + NG_TX;
	uint32_t len;

	memcpy(flow.src, (uint8_t[]){2, 0, 0, 0, 0, 2}, 6);
	netns_mac("t0", flow.dst);
	len = nw_udp(&flow, p + 12);
	memset(p, 0, 12);
	if (csum) {
		p[0] = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		p[6] = 34;
		p[8] = 6;
	}
	ng_tx_post(g, len + 12);
	assert_true(ng_tx_done(g, SG_PATIENCE));
}

static void test_guest_to_kernel(void **state)
{
	struct soft_guest g;
	uint8_t buf[2048];
	int fd;

	start(&g, (unsigned)(uintptr_t)*state, NG_CSUM);
	fd = nw_udp_socket(5000);
	for (unsigned csum = 0; csum < 2; csum++) {
		guest_sends_udp(&g, 5000, csum, 700 + csum);
		assert_int_equal(nw_recv(&g, fd, buf, sizeof(buf)), 700 + csum);
		assert_true(nw_payload_good(buf, 0, 700 + csum));
	}
	close(fd);
	sg_close(&g);
}

/* A packet of 20 payloads in one piece: the kernel has it as it was, and what it is made of. */
static void test_guest_tso(void **state)
{
	static uint8_t buf[65536];
	struct nw_flow flow = {.dst_port = 1, .partial = true, .payload = 20000};
	struct virtio_net_hdr *hdr = (void *)buf;
	struct soft_guest g;
	uint8_t *p;
	uint32_t len;
	int fd;

	start(&g, 0, TSO4);
	p = g.mem + NG_TX;
	fd = netns_packet("t0", true);
	netns_mac("t0", flow.dst);
	len = nw_tcp(&flow, p + 12);
	nw_gso_header(p, 1000);
	ng_tx_post(&g, len + 12);
	assert_true(ng_tx_done(&g, SG_PATIENCE));
	assert_int_equal(nw_recv(&g, fd, buf, sizeof(buf)), sizeof(*hdr) + len);
	assert_int_equal(hdr->gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
	assert_int_equal(hdr->gso_size, 1000);
	assert_true(nw_payload_good(buf + sizeof(*hdr) + 54, 0, 20000));
	close(fd);
	sg_close(&g);
}

/* ---- from the kernel ---- */

static void kernel_sends_udp(int fd, uint32_t payload)
{
	struct sockaddr_in to = nw_addr("10.7.0.2", 6000);
	uint8_t buf[1500];

	nw_payload(buf, 0, payload);
	assert_int_equal(sendto(fd, buf, payload, 0, (struct sockaddr *)&to, sizeof(to)), payload);
}

static void test_kernel_to_guest(void **state)
{
	for (unsigned csum = 0; csum < 2; csum++) {
		struct soft_guest g;
		uint32_t len;
		uint8_t *p;
		int fd;

		start(&g, (unsigned)(uintptr_t)*state, csum ? NG_GCSUM : 0);
		fd = nw_udp_socket(5000);
		ng_rx_post(&g, 0, 2048);
		kernel_sends_udp(fd, 900);
		p = ng_rx(&g, &len);
		assert_non_null(p);
		assert_int_equal(len, 12 + 42 + 900);
		assert_true(nw_payload_good(p + 12 + 42, 0, 900));
		/* What the driver did not say it can do, was done for it. */
		assert_int_equal(p[0], csum ? VIRTIO_NET_HDR_F_NEEDS_CSUM : 0);
		if (!csum)
			assert_true(nw_l4_good(p + 12, len - 12));
		close(fd);
		sg_close(&g);
	}
}

/* A large packet reaches a driver that takes such in one piece, another one in segments. */
static void test_kernel_tso(void **state)
{
	static uint8_t buf[65536];

	for (unsigned tso = 0; tso < 2; tso++) {
		struct nw_flow flow = {.dst_port = 1, .partial = true, .payload = 20000};
		struct virtio_net_hdr *hdr = (void *)buf;
		uint32_t len, want = tso ? 20000 : 1000, got = 0;
		struct soft_guest g;
		uint8_t *p, wire[12];
		int fd;

		start(&g, 0, tso ? GTSO4 : NG_GCSUM);
		for (unsigned i = 0; i < 20; i++)
			ng_rx_post(&g, i, tso ? 0x10000 : 2048);
		fd = netns_packet("t0", true);
		len = nw_tcp(&flow, buf + sizeof(*hdr));
		nw_gso_header(wire, 1000);
		memcpy(buf, wire, sizeof(*hdr));
		assert_int_equal(write(fd, buf, sizeof(*hdr) + len), sizeof(*hdr) + len);
		for (; got < 20000; got += want) {
			p = ng_rx(&g, &len);
			assert_non_null(p);
			assert_int_equal(len, 12 + 54 + want);
			assert_int_equal(p[1], tso ? VIRTIO_NET_HDR_GSO_TCPV4 : 0);
			assert_true(nw_payload_good(p + 12 + 54, got, want));
		}
		close(fd);
		sg_close(&g);
	}
}

/* Packets for which there are no buffers wait: here, and in the kernel's queue. */
static void test_held(void **state)
{
	struct soft_guest g;
	uint32_t len;
	int fd;

	start(&g, (unsigned)(uintptr_t)*state, 0);
	fd = nw_udp_socket(5000);
	for (uint32_t i = 0; i < 100; i++)
		kernel_sends_udp(fd, 100 + i);
	sg_run(&g, SG_SECOND / 20);
	for (uint32_t i = 0; i < 100; i++) {
		ng_rx_post(&g, i % 8, 2048);
		assert_non_null(sg_get(&g, 0, &len, SG_PATIENCE));
		assert_int_equal(len, 12 + 42 + 100 + i);
	}
	close(fd);
	sg_close(&g);
}

/* ---- who it is for ---- */

#define PROTOCOL 0x88b5

static void kernel_sends_to(int fd, const uint8_t dst[6], uint8_t seq)
{
	uint8_t frame[60] = {0};

	memcpy(frame, dst, 6);
	frame[6] = 2;
	frame[11] = 99;
	frame[12] = PROTOCOL >> 8;
	frame[13] = PROTOCOL & 0xff;
	frame[14] = seq;
	assert_int_equal(write(fd, frame, sizeof(frame)), sizeof(frame));
}

/* The next one of ours, whatever else the kernel says on its interface. */
static void guest_gets(struct soft_guest *g, uint8_t seq)
{
	uint8_t *p, head[3];
	uint32_t len;

	do {
		p = sg_get(g, 0, &len, SG_PATIENCE);
		assert_non_null(p);
		memcpy(head, p + 12 + 12, 3);
		ng_rx_post(g, (unsigned)((size_t)(p - g->mem - NG_RX) / NG_RX_BYTES), 2048);
	} while (head[0] != PROTOCOL >> 8 || head[1] != (PROTOCOL & 0xff));
	assert_int_equal(head[2], seq);
}

/* Own address, groups and broadcast, until the driver says otherwise; the rest is dropped. */
static void test_filter(void **state)
{
	static const struct vdpa_attr filter[] = {
		{"backend", "tap"}, {"ifname", "t0"}, {"filter", "on"}, {0}};
	static const uint8_t own[6] = {2, 0, 0, 0, 0, 2}, other[6] = {2, 0, 0, 0, 0, 3},
			     all[6] = {255, 255, 255, 255, 255, 255},
			     many[6] = {1, 0, 0x5e, 0, 0, 1};
	struct vdpa_dev_set_config config = {.mask = VDPA_CFG_NET_MAC, .attrs = filter};
	struct vdpa_error err = {.msg = ""};
	struct soft_guest g;
	int fd;

	memcpy(config.net.mac, own, 6);
	sg_open(&g, (unsigned)(uintptr_t)*state);
	assert_int_equal(sg_try_add(&g, "soft_net", "d0", &config, &err), 0);
	sg_use(&g, vdpa_find_device(g.ctx, "d0"));
	netns_addr("t0", MAC_TEXT);
	sg_start(&g, NG_FEATURES | CG_RX, 3, 64);
	ready(&g, 1);
	fd = netns_packet("t0", false);
	for (unsigned i = 0; i < 7; i++)
		ng_rx_post(&g, i, 2048);
	/* Each is followed by one that comes, so that one that should not would be seen first. */
	kernel_sends_to(fd, other, 1);
	kernel_sends_to(fd, own, 2);
	guest_gets(&g, 2);
	kernel_sends_to(fd, all, 3);
	guest_gets(&g, 3);
	kernel_sends_to(fd, many, 4);
	guest_gets(&g, 4);
	assert_true(sg_stat(&g, 0, "rx drops") >= 1);
	/* It has another address from now on. */
	assert_int_equal(cg_send(&g, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, other, 6),
			 VIRTIO_NET_OK);
	kernel_sends_to(fd, own, 5);
	kernel_sends_to(fd, other, 6);
	guest_gets(&g, 6);
	assert_int_equal(cg_rx_mode(&g, VIRTIO_NET_CTRL_RX_NOBCAST, 1), VIRTIO_NET_OK);
	kernel_sends_to(fd, all, 7);
	kernel_sends_to(fd, other, 8);
	guest_gets(&g, 8);
	assert_int_equal(cg_rx_mode(&g, VIRTIO_NET_CTRL_RX_PROMISC, 1), VIRTIO_NET_OK);
	kernel_sends_to(fd, own, 9);
	guest_gets(&g, 9);
	close(fd);
	sg_close(&g);
}

/* ---- several queues ---- */

static void add_pairs(struct soft_guest *g, unsigned pairs, const struct vdpa_attr *attrs)
{
	struct vdpa_dev_set_config config = {.mask = VDPA_CFG_NET_MAX_VQP, .attrs = attrs};
	struct vdpa_error err = {.msg = ""};

	config.net.max_vq_pairs = (uint16_t)pairs;
	if (sg_try_add(g, "soft_net", "d0", &config, &err))
		fail_msg("%s", err.msg);
	sg_use(g, vdpa_find_device(g->ctx, "d0"));
}

/* Many flows from the kernel; how many came by each of the queues. */
static void flows(struct soft_guest *g, unsigned queues, unsigned count[2])
{
	uint32_t len;

	count[0] = count[1] = 0;
	for (unsigned i = 0; i < 24; i++) {
		int fd = nw_udp_socket((uint16_t)(5000 + i));

		kernel_sends_udp(fd, 300);
		close(fd);
	}
	for (unsigned q = 0; q < queues; q++)
		while (sg_get_any(g, 2 * q, &len, SG_SECOND / 10))
			count[q]++;
}

static void test_pairs(void **state)
{
	struct soft_guest g;
	unsigned count[2];
	uint8_t buf[2048];
	int fd;

	sg_open(&g, (unsigned)(uintptr_t)*state);
	add_pairs(&g, 2, t0);
	netns_addr("t0", MAC_TEXT);
	sg_start(&g, NG_FEATURES, 4, 64);
	ready(&g, 1);
	ready(&g, 3);
	for (unsigned i = 0; i < 48; i++) {
		struct virtqueue_sg sg = sg_at(NG_RX + i * 2048, 2048);

		sg_send(&g, i & 1 ? 2 : 0, &sg, 0, 1, g.mem);
	}
	flows(&g, 2, count);
	assert_int_equal(count[0] + count[1], 24);
	assert_true(count[0] && count[1]);
	/* Both send. */
	fd = nw_udp_socket(5000);
	for (unsigned q = 0; q < 2; q++) {
		struct nw_flow flow = {.dst_port = 5000, .payload = 200};
		struct virtqueue_sg sg;
		uint32_t len;

		netns_mac("t0", flow.dst);
		memset(g.mem + NG_TX, 0, 12);
		sg = sg_at(NG_TX, 12 + nw_udp(&flow, g.mem + NG_TX + 12));
		sg_send(&g, 2 * q + 1, &sg, 1, 0, g.mem);
		assert_non_null(sg_get(&g, 2 * q + 1, &len, SG_PATIENCE));
		assert_int_equal(nw_recv(&g, fd, buf, sizeof(buf)), 200);
	}
	close(fd);
	/* A pair that does not run gets no flows. */
	sg_reset(&g);
	sg_start(&g, NG_FEATURES, 2, 64);
	ready(&g, 1);
	for (unsigned i = 0; i < 24; i++)
		ng_rx_post(&g, i, 2048);
	flows(&g, 1, count);
	assert_int_equal(count[0], 24);
	sg_close(&g);
}

static uint8_t set_pairs(struct soft_guest *g, uint8_t n)
{
	uint8_t data[2] = {n, 0};
	struct cg_cmd cmd = {.vq = 4,
			     .class = VIRTIO_NET_CTRL_MQ,
			     .command = VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET,
			     .data = data,
			     .len = 2};

	return cg_run(g, &cmd);
}

/* The kernel spreads flows over both queues; the driver says which of them it uses. */
static void test_pairs_switched(void **state)
{
	struct soft_guest g;
	unsigned count[2];

	sg_open(&g, (unsigned)(uintptr_t)*state);
	add_pairs(&g, 2, t0);
	netns_addr("t0", MAC_TEXT);
	sg_start(&g, NG_FEATURES | VDPA_BIT(VIRTIO_NET_F_CTRL_VQ) | VDPA_BIT(VIRTIO_NET_F_MQ), 5,
		 64);
	ready(&g, 1);
	ready(&g, 3);
	for (unsigned round = 0; round < 3; round++) {
		bool both = round == 1;

		for (unsigned i = 0; i < (both ? 48 : 24); i++) {
			struct virtqueue_sg sg = sg_at(NG_RX + i * 2048, 2048);

			sg_send(&g, both && (i & 1) ? 2 : 0, &sg, 0, 1, g.mem);
		}
		assert_int_equal(set_pairs(&g, both ? 2 : 1), VIRTIO_NET_OK);
		flows(&g, 2, count);
		assert_int_equal(count[0] + count[1], 24);
		assert_int_equal(!!count[1], both);
	}
	sg_close(&g);
}

/* ---- link ---- */

static void test_link(void **state)
{
	struct soft_guest g;

	start(&g, (unsigned)(uintptr_t)*state, STATUS | NG_CSUM);
	assert_true(link_up(&g));
	netns_ip("link set t0 down");
	until_link(&g, false);
	assert_int_equal(g.config_calls, 1);
	/* An interface that is down takes nothing: dropped, counted, and the ring goes on. */
	guest_sends_udp(&g, 5000, false, 100);
	assert_int_equal(shown(&g, "backend_tx_dropped"), 1);
	netns_ip("link set t0 up");
	until_link(&g, true);
	assert_int_equal(g.config_calls, 2);
	sg_close(&g);
}

static void test_interface_deleted(void **state)
{
	struct nw_flow flow = {.payload = 100};
	struct soft_guest g;
	uint64_t cpu;

	start(&g, (unsigned)(uintptr_t)*state, STATUS);
	netns_ip("link del t0");
	until_link(&g, false);
	memset(g.mem + NG_TX, 0, 12);
	for (unsigned i = 0; i < 3; i++) {
		ng_tx_post(&g, 12 + nw_udp(&flow, g.mem + NG_TX + 12));
		assert_true(ng_tx_done(&g, SG_PATIENCE));
	}
	assert_int_equal(shown(&g, "backend_tx_dropped"), 3);
	/* A descriptor that is broken for good is not looked at any more. */
	cpu = nw_cpu_ns();
	sg_run(&g, SG_SECOND / 5);
	assert_true(nw_cpu_ns() - cpu < SG_SECOND / 10);
	sg_close(&g);
}

static void test_mtu(void **state)
{
	struct vdpa_dev_set_config config = {.mask = VDPA_CFG_NET_MTU, .attrs = t0};
	struct vdpa_error err;
	struct soft_guest g;
	uint8_t mtu[2];

	/* Of an interface that is there: its own, and no larger one. */
	netns_ip("tuntap add dev t0 mode tap vnet_hdr");
	netns_ip("link set t0 mtu 1400");
	sg_open(&g, 0);
	config.net.mtu = 1500;
	assert_int_equal(sg_try_add(&g, "soft_net", "d0", &config, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "at most 1400"));
	sg_add(&g, "soft_net", t0);
	vdpa_get_config(g.dev, offsetof(struct virtio_net_config, mtu), mtu, 2);
	assert_int_equal(mtu[0] | mtu[1] << 8, 1400);
	assert_false(link_up(&g));
	sg_del(&g);
	netns_ip("link del t0");
	/* One that is made gets what was asked for. */
	config.net.mtu = 9000;
	assert_int_equal(sg_try_add(&g, "soft_net", "d0", &config, &err), 0);
	sg_use(&g, vdpa_find_device(g.ctx, "d0"));
	assert_true(link_up(&g));
	assert_int_equal(system("ip link show t0 | grep -q 'mtu 9000'"), 0);
	sg_close(&g);
	assert_int_equal(if_nametoindex("t0"), 0);
}

/* ---- descriptors ---- */

static void test_fd(void **state)
{
	char num[2][12];
	struct vdpa_attr attrs[] = {{"backend", "tap"}, {"fd", num[0]}, {"fd1", num[1]}, {0}};
	int fd[2] = {netns_tap_fd("t1", IFF_VNET_HDR | IFF_MULTI_QUEUE),
		     netns_tap_fd("t1", IFF_VNET_HDR | IFF_MULTI_QUEUE)};
	struct soft_guest g;
	unsigned fds;

	snprintf(num[0], sizeof(num[0]), "%d", fd[0]);
	snprintf(num[1], sizeof(num[1]), "%d", fd[1]);
	netns_ip("link set t1 up");
	sg_open(&g, 0);
	fds = sg_open_fds();
	add_pairs(&g, 2, attrs);
	assert_true(link_up(&g));
	sg_start(&g, NG_FEATURES, 4, 16);
	sg_reset(&g);
	sg_del(&g);
	/* They are still ours to close. */
	assert_int_equal(sg_open_fds(), fds);
	close(fd[0]);
	close(fd[1]);
	sg_close(&g);
}

static int try(struct soft_guest *g, const struct vdpa_attr *attrs, struct vdpa_error *err)
{
	struct vdpa_dev_set_config config = {.attrs = attrs};

	err->msg[0] = '\0';
	return sg_try_add(g, "soft_net", "d0", &config, err);
}

static void refuse(struct soft_guest *g, const struct vdpa_attr *attrs, const char *says)
{
	struct vdpa_error err;
	unsigned fds = sg_open_fds();

	assert_true(try(g, attrs, &err) < 0);
	if (!strstr(err.msg, says))
		fail_msg("\"%s\" does not say \"%s\"", err.msg, says);
	assert_int_equal(sg_open_fds(), fds);
}

#define ATTRS(...) ((struct vdpa_attr[]){{"backend", "tap"}, __VA_ARGS__, {0}})

static void test_refused(void **state)
{
	int plain = netns_tap_fd("t1", 0), good = netns_tap_fd("t3", IFF_VNET_HDR), pipes[2];
	char num[3][12];
	struct soft_guest g;

	assert_int_equal(pipe(pipes), 0);
	snprintf(num[0], sizeof(num[0]), "%d", plain);
	snprintf(num[1], sizeof(num[1]), "%d", pipes[0]);
	snprintf(num[2], sizeof(num[2]), "%d", good);
	netns_ip("link add v0 type veth peer name v1");
	netns_ip("tuntap add dev t2 mode tap vnet_hdr");
	sg_open(&g, 0);
	refuse(&g, (struct vdpa_attr[]){{"backend", "tap"}, {0}}, "either ifname or fd");
	refuse(&g, ATTRS({"ifname", "t0"}, {"fd", "0"}), "either ifname or fd");
	refuse(&g,
	       ATTRS({"ifname", "a_name_of_16_by"
				"t"}),
	       "1 to 15 characters");
	refuse(&g, ATTRS({"ifname", "v0"}), "v0 is not a tap interface");
	refuse(&g, ATTRS({"ifname", "t1"}), "in use by another");
	refuse(&g, ATTRS({"fd", num[0]}), "IFF_VNET_HDR are needed");
	refuse(&g, ATTRS({"fd", num[1]}), "not the descriptor of a tap interface");
	refuse(&g, ATTRS({"fd", num[2]}, {"fd1", num[2]}), "fd1 is one too many");
	refuse(&g, ATTRS({"fd1", num[2]}), "either ifname or fd");
	assert_int_equal(if_nametoindex("t0"), 0);
	netns_ip("link del t2");
	netns_ip("link del v0");
	close(plain);
	close(good);
	close(pipes[0]);
	close(pipes[1]);
	sg_close(&g);
}

static void drop_net_admin(void)
{
	struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct d[2];

	assert_int_equal(syscall(SYS_capget, &h, d), 0);
	d[0].effective &= ~(1u << CAP_NET_ADMIN);
	assert_int_equal(syscall(SYS_capset, &h, d), 0);
}

static void without_capability(void)
{
	struct vdpa_error err;
	struct soft_guest g;

	drop_net_admin();
	sg_open(&g, 0);
	refuse(&g, t0, "making one needs CAP_NET_ADMIN");
	refuse(&g, ATTRS({"ifname", "t1"}), "belongs to somebody else");
	assert_int_equal(try(&g, ATTRS({"ifname", "t2"}), &err), 0);
	sg_use(&g, vdpa_find_device(g.ctx, "d0"));
	sg_close(&g);
	exit(0);
}

/* Without CAP_NET_ADMIN: nothing new, nothing of others, but what is one's own. */
static void test_capability(void **state)
{
	int status;
	pid_t pid;

	netns_ip("tuntap add dev t1 mode tap vnet_hdr user 12345");
	netns_ip("tuntap add dev t2 mode tap vnet_hdr user 0");
	fflush(NULL);
	pid = fork();
	if (!pid)
		without_capability();
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	netns_ip("link del t1");
	netns_ip("link del t2");
}

/* An interface of several queues does for a device of one. */
static void test_multi_queue_for_one(void **state)
{
	struct soft_guest g;
	uint32_t len;
	int fd;

	netns_ip("tuntap add dev t0 mode tap vnet_hdr multi_queue");
	netns_ip("link set t0 up");
	start(&g, 0, 0);
	fd = nw_udp_socket(5000);
	ng_rx_post(&g, 0, 2048);
	kernel_sends_udp(fd, 50);
	assert_non_null(ng_rx(&g, &len));
	close(fd);
	sg_close(&g);
	netns_ip("link del t0");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_guest_to_kernel, netns_fresh),
		{"guest_to_kernel_worker", test_guest_to_kernel, netns_fresh, NULL, (void *)1},
		cmocka_unit_test_setup(test_guest_tso, netns_fresh),
		cmocka_unit_test_setup(test_kernel_to_guest, netns_fresh),
		{"kernel_to_guest_worker", test_kernel_to_guest, netns_fresh, NULL, (void *)1},
		cmocka_unit_test_setup(test_kernel_tso, netns_fresh),
		cmocka_unit_test_setup(test_held, netns_fresh),
		{"held_worker", test_held, netns_fresh, NULL, (void *)1},
		cmocka_unit_test_setup(test_filter, netns_fresh),
		{"filter_worker", test_filter, netns_fresh, NULL, (void *)1},
		cmocka_unit_test_setup(test_pairs, netns_fresh),
		{"pairs_workers", test_pairs, netns_fresh, NULL, (void *)2},
		cmocka_unit_test_setup(test_pairs_switched, netns_fresh),
		{"pairs_switched_workers", test_pairs_switched, netns_fresh, NULL, (void *)2},
		cmocka_unit_test_setup(test_link, netns_fresh),
		{"link_worker", test_link, netns_fresh, NULL, (void *)1},
		cmocka_unit_test_setup(test_interface_deleted, netns_fresh),
		{"interface_deleted_worker", test_interface_deleted, netns_fresh, NULL, (void *)1},
		cmocka_unit_test_setup(test_mtu, netns_fresh),
		cmocka_unit_test_setup(test_fd, netns_fresh),
		cmocka_unit_test_setup(test_refused, netns_fresh),
		cmocka_unit_test_setup(test_capability, netns_fresh),
		cmocka_unit_test_setup(test_multi_queue_for_one, netns_fresh),
	};

	netns_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
