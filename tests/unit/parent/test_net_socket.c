// SPDX-License-Identifier: BSD-3-Clause
/* The software NIC on sockets: streams and datagrams, peers that come, go, stall and lie. */
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "net_guest.h"
#include "net_wire.h"

#include "alloc_fail.h"

#define TSO4 (NG_CSUM | VDPA_BIT(VIRTIO_NET_F_HOST_TSO4))
#define STATUS VDPA_BIT(VIRTIO_NET_F_STATUS)

static char dir[] = "/tmp/uvdpa-sock-XXXXXX";
static char sock_path[64], local_path[64];

struct fixture {
	struct soft_guest g;
	int peer; /* of a socket pair */
};

static void add_with(struct soft_guest *g, const char *k1, const char *v1, const char *k2,
		     const char *v2)
{
	sg_add(g, "soft_net",
	       (struct vdpa_attr[]){
		       {"backend", "socket"}, {k1, v1}, {"reconnect", "20"}, {k2, v2}, {0}});
}

static void start_pair(struct fixture *f, unsigned workers, int type, uint64_t features)
{
	char num[12];
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fd), 0);
	snprintf(num, sizeof(num), "%d", fd[0]);
	sg_open(&f->g, workers);
	add_with(&f->g, "fd", num, NULL, NULL);
	close(fd[0]);
	f->peer = fd[1];
	sg_start(&f->g, NG_FEATURES | features, 2, 64);
}

static void end_pair(struct fixture *f)
{
	close(f->peer);
	sg_close(&f->g);
}

static uint64_t shown(struct soft_guest *g, const char *key)
{
	struct nw_shown s = {.key = key};

	g->dev->ext->show(g->dev, nw_show, &s);
	return strtoull(s.value, NULL, 10);
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

/* ---- the peer ---- */

/* Exactly @len bytes, while the guest's loop runs. */
static void peer_reads(struct soft_guest *g, int fd, void *buf, size_t len)
{
	size_t done = 0;

	for (unsigned i = 0; i < SG_TRIES && done < len; i++) {
		ssize_t n = recv(fd, (char *)buf + done, len - done, MSG_DONTWAIT);

		if (n > 0)
			done += (size_t)n;
		else
			sg_run(g, SG_SECOND / 1000);
	}
	assert_int_equal(done, len);
}

static uint32_t peer_frame(struct soft_guest *g, int fd, uint8_t *frame)
{
	uint8_t len[4];
	uint32_t n;

	peer_reads(g, fd, len, 4);
	n = (uint32_t)len[0] << 24 | (uint32_t)len[1] << 16 | (uint32_t)len[2] << 8 | len[3];
	assert_in_range(n, 14, 65557);
	peer_reads(g, fd, frame, n);
	return n;
}

static uint32_t make_frame(uint8_t *p, uint32_t payload)
{
	struct nw_flow flow = {.dst_port = 1, .payload = payload};
	uint32_t len = nw_udp(&flow, p + 4);

	p[0] = p[1] = 0;
	p[2] = (uint8_t)(len >> 8);
	p[3] = (uint8_t)len;
	return len + 4;
}

static void guest_posts(struct soft_guest *g, uint32_t payload)
{
	const uint8_t *len = g->mem + NG_TX + 12 + 16; /* of the IP packet */
	struct nw_flow flow = {.dst_port = 1, .payload = payload};

	if (payload <= 3900) {
		nw_post_udp(g, &flow);
		return;
	}
	/* A large one is written once, and sent as often as it is asked for in a row. */
	if ((len[0] << 8 | len[1]) != (int)payload + 28)
		nw_udp(&flow, g->mem + NG_TX + 12);
	ng_tx_post(g, 12 + 42 + payload);
}

static void guest_gets(struct soft_guest *g, uint32_t payload)
{
	uint32_t len = 0;
	uint8_t *p = sg_get(g, 0, &len, SG_PATIENCE);

	assert_non_null(p);
	assert_int_equal(len, 12 + 42 + payload);
	assert_true(nw_payload_good(p + 54, 0, payload));
	assert_memory_equal(p, "\0\0\0\0\0\0\0\0\0\0\1\0", 12);
}

/* ---- tests ---- */

static void test_stream(void **state)
{
	static uint8_t buf[70000], frame[70000];
	uint32_t len = 0, at;
	struct fixture f;

	start_pair(&f, (unsigned)(uintptr_t)*state, SOCK_STREAM, 0);
	assert_true(link_up(&f.g));
	for (unsigned i = 0; i < 5; i++)
		guest_posts(&f.g, 100);
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(peer_frame(&f.g, f.peer, frame), 142);
		assert_true(nw_payload_good(frame + 42, 0, 100));
	}
	/* Several frames at a time; one cut in pieces, in the length too. */
	for (unsigned i = 0; i < 8; i++)
		ng_rx_post(&f.g, i, 2048);
	for (unsigned i = 0; i < 4; i++)
		len += make_frame(buf + len, 200 + i);
	assert_int_equal(write(f.peer, buf, len), len);
	for (unsigned i = 0; i < 4; i++)
		guest_gets(&f.g, 200 + i);
	len = make_frame(buf, 300);
	for (at = 0; at < len; at += at < 8 ? 1 : 77) {
		size_t n = at < 8 ? 1 : len - at < 77 ? len - at : 77;

		assert_int_equal(write(f.peer, buf + at, n), n);
		sg_run(&f.g, SG_SECOND / 1000);
	}
	guest_gets(&f.g, 300);
	end_pair(&f);
}

/*
 * A packet that needs several buffers, of a driver that gives them one by one: each time there are
 * some, and too few, and the next one has to be asked for.
 */
static void test_one_by_one(void **state)
{
	static uint8_t buf[4096];
	struct fixture f;
	uint32_t len, done = 0;

	start_pair(&f, 0, SOCK_STREAM, NG_MRG | (uintptr_t)*state);
	for (unsigned round = 0; round < 5; round++) {
		len = make_frame(buf, 3000);
		assert_int_equal(write(f.peer, buf, len), len);
		for (unsigned i = 0; i < 4; i++) {
			sg_run(&f.g, SG_SECOND / 50);
			ng_rx_post(&f.g, i, 800);
		}
		for (unsigned i = 0; i < 4; i++) {
			assert_non_null(sg_get(&f.g, 0, &len, SG_PATIENCE));
			done += len;
		}
		assert_int_equal(done, (round + 1) * (12 + 42 + 3000));
	}
	end_pair(&f);
}

/* The queues stop and start in the middle of a frame, both ways. */
static void test_restart_in_a_frame(void **state)
{
	static uint8_t buf[4096], frame[70000];
	int small = 4096;
	unsigned sent = 0;
	struct fixture f;
	uint32_t len;

	start_pair(&f, (unsigned)(uintptr_t)*state, SOCK_STREAM, 0);
	setsockopt(f.peer, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	len = make_frame(buf, 500);
	assert_int_equal(write(f.peer, buf, 99), 99);
	for (; sent < 60; sent++)
		guest_posts(&f.g, 60000);
	sg_run(&f.g, SG_SECOND / 20);
	sg_reset(&f.g);
	sg_start(&f.g, NG_FEATURES, 2, 16);
	ng_rx_post(&f.g, 0, 2048);
	assert_int_equal(write(f.peer, buf + 99, len - 99), len - 99);
	guest_gets(&f.g, 500);
	guest_posts(&f.g, 777);
	/* Some of the large ones, all of them whole, and then this one. */
	for (len = 0; len != 42 + 777;)
		len = peer_frame(&f.g, f.peer, frame);
	assert_true(nw_payload_good(frame + 42, 0, 777));
	end_pair(&f);
}

/* A peer that does not read stops the guest's ring, and costs nothing; nothing is lost. */
static void test_stalled_peer(void **state)
{
	int type = (int)(uintptr_t)*state;
	static uint8_t frame[70000];
	struct fixture f;
	unsigned done = 0;
	uint64_t cpu;

	start_pair(&f, 0, type, 0);
	for (unsigned i = 0; i < 60; i++)
		guest_posts(&f.g, 20000);
	while (ng_tx_done(&f.g, SG_SECOND / 20))
		done++;
	assert_in_range(done, 1, 59);
	cpu = nw_cpu_ns();
	sg_run(&f.g, SG_SECOND / 5);
	assert_true(nw_cpu_ns() - cpu < SG_SECOND / 10);
	for (unsigned i = 0; i < 60; i++) {
		if (type == SOCK_STREAM)
			assert_int_equal(peer_frame(&f.g, f.peer, frame), 20042);
		else
			assert_int_equal(nw_recv(&f.g, f.peer, frame, sizeof(frame)), 20042);
		assert_true(nw_payload_good(frame + 42, 0, 20000));
	}
	for (; done < 60; done++)
		assert_true(ng_tx_done(&f.g, SG_PATIENCE));
	assert_int_equal(shown(&f.g, "backend_tx_dropped"), 0);
	end_pair(&f);
}

static int dial(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, sock_path);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static int serve(int type, const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, path);
	unlink(path);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 5), 0);
	return fd;
}

static void test_server(void **state)
{
	struct soft_guest g;
	uint8_t buf[2048];
	uint32_t len;
	int fd, next;

	sg_open(&g, (unsigned)(uintptr_t)*state);
	add_with(&g, "path", sock_path, "listen", "on");
	sg_start(&g, NG_FEATURES | STATUS, 2, 64);
	assert_false(link_up(&g));
	/* Nobody there: what is sent is gone, and counted. */
	guest_posts(&g, 100);
	assert_true(ng_tx_done(&g, SG_PATIENCE));
	assert_int_equal(shown(&g, "backend_tx_dropped"), 1);
	fd = dial();
	until_link(&g, true);
	next = dial();
	for (unsigned i = 0; i < 8; i++)
		ng_rx_post(&g, i, 2048);
	len = make_frame(buf, 400);
	/* What was sent before the end arrives; then the next one has its turn. */
	assert_int_equal(write(fd, buf, len), len);
	close(fd);
	guest_gets(&g, 400);
	for (unsigned i = 0; i < SG_TRIES && shown(&g, "connections") < 2; i++)
		sg_run(&g, SG_SECOND / 1000);
	until_link(&g, true);
	guest_posts(&g, 123);
	assert_int_equal(peer_frame(&g, next, buf), 42 + 123);
	close(next);
	until_link(&g, false);
	assert_true(g.config_calls >= 4);
	sg_close(&g);
	assert_int_equal(access(sock_path, F_OK), -1);
}

static void test_client(void **state)
{
	struct soft_guest g;
	uint8_t buf[2048];

	sg_open(&g, (unsigned)(uintptr_t)*state);
	add_with(&g, "path", sock_path, NULL, NULL);
	sg_start(&g, NG_FEATURES | STATUS, 2, 64);
	assert_false(link_up(&g));
	for (unsigned life = 0; life < 3; life++) {
		int listener = serve(SOCK_STREAM, sock_path), fd;

		until_link(&g, true);
		fd = accept(listener, NULL, NULL);
		close(listener);
		unlink(sock_path);
		guest_posts(&g, 50 + life);
		assert_int_equal(peer_frame(&g, fd, buf), 42 + 50 + life);
		close(fd);
		until_link(&g, false);
	}
	sg_close(&g);
}

/* Lengths that cannot be end the connection; what cannot be a frame is counted. */
static void test_garbage(void **state)
{
	static const uint8_t bad[][4] = {
		{0xff, 0xff, 0xff, 0xff}, {0x80, 0, 0, 0}, {0, 1, 0, 0x16}, {'G', 'E', 'T', ' '}};
	uint8_t buf[2048] = {0}, runts[4 + 4 + 13] = {[7] = 13};
	struct soft_guest g;
	uint32_t len;

	sg_open(&g, (unsigned)(uintptr_t)*state);
	add_with(&g, "path", sock_path, "listen", "on");
	sg_start(&g, NG_FEATURES | STATUS, 2, 64);
	for (unsigned i = 0; i < 8; i++)
		ng_rx_post(&g, i, 2048);
	for (unsigned i = 0; i < 4; i++) {
		int fd = dial();

		until_link(&g, true);
		/* A good one in front is delivered. */
		len = make_frame(buf, 60);
		memcpy(buf + len, bad[i], 4);
		assert_int_equal(write(fd, buf, len + 4), len + 4);
		guest_gets(&g, 60);
		until_link(&g, false);
		assert_int_equal(read(fd, buf, 1), 0);
		assert_true(shown(&g, "bad_frames") > i);
		close(fd);
	}
	len = 0;
	{
		int fd = dial();

		until_link(&g, true);
		assert_int_equal(write(fd, runts, sizeof(runts)), sizeof(runts));
		len = make_frame(buf, 70);
		assert_int_equal(write(fd, buf, len), len);
		guest_gets(&g, 70);
		assert_int_equal(sg_stat(&g, 0, "rx errors"), 2);
		close(fd);
	}
	sg_close(&g);
}

/* Frames without end for a guest without buffers: they wait in the socket. */
static void test_flood(void **state)
{
	struct fixture f;
	uint8_t buf[2048];
	uint32_t len = make_frame(buf, 100);
	unsigned n = 0;
	uint64_t cpu;

	start_pair(&f, 0, SOCK_STREAM, 0);
	for (unsigned i = 0; i < 2000; i++) {
		ssize_t r = send(f.peer, buf, len, MSG_DONTWAIT);

		if (r != (ssize_t)len)
			sg_run(&f.g, SG_SECOND / 1000);
		if (r > 0 && r != (ssize_t)len)
			break;
		n += r > 0;
	}
	sg_run(&f.g, SG_SECOND / 50);
	cpu = nw_cpu_ns();
	sg_run(&f.g, SG_SECOND / 5);
	assert_true(nw_cpu_ns() - cpu < SG_SECOND / 10);
	for (unsigned i = 0; i < n; i++) {
		ng_rx_post(&f.g, i % 8, 2048);
		guest_gets(&f.g, 100);
	}
	end_pair(&f);
}

static void test_datagrams(void **state)
{
	uint8_t buf[2048];
	struct fixture f;
	uint32_t len;

	start_pair(&f, (unsigned)(uintptr_t)*state, SOCK_DGRAM, 0);
	guest_posts(&f.g, 100);
	assert_int_equal(nw_recv(&f.g, f.peer, buf, sizeof(buf)), 142);
	ng_rx_post(&f.g, 0, 2048);
	len = make_frame(buf, 200);
	assert_int_equal(send(f.peer, buf + 4, len - 4, 0), len - 4);
	guest_gets(&f.g, 200);
	/* A peer that has gone is found when something is sent. */
	close(f.peer);
	f.peer = -1;
	guest_posts(&f.g, 100);
	until_link(&f.g, false);
	end_pair(&f);
}

static void test_datagram_paths(void **state)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	struct soft_guest g;
	uint8_t buf[2048];
	uint32_t len;

	strcpy(to.sun_path, local_path);
	sg_open(&g, (unsigned)(uintptr_t)*state);
	sg_add(&g, "soft_net",
	       (struct vdpa_attr[]){{"backend", "socket"},
				    {"path", sock_path},
				    {"type", "dgram"},
				    {"local", local_path},
				    {"reconnect", "20"},
				    {0}});
	sg_start(&g, NG_FEATURES | STATUS, 2, 64);
	assert_false(link_up(&g));
	for (unsigned life = 0; life < 2; life++) {
		int fd = serve(SOCK_DGRAM, sock_path);

		until_link(&g, true);
		ng_rx_post(&g, 0, 2048);
		len = make_frame(buf, 200);
		assert_int_equal(
			sendto(fd, buf + 4, len - 4, 0, (struct sockaddr *)&to, sizeof(to)),
			len - 4);
		guest_gets(&g, 200);
		close(fd);
		unlink(sock_path);
		guest_posts(&g, 100);
		until_link(&g, false);
	}
	sg_close(&g);
	assert_int_equal(access(local_path, F_OK), -1);
}

/*
 * A driver that negotiated offloads on another backend: its large packets are cut and their
 * checksums filled, however often the socket is full in between.
 */
static void test_softened(void **state)
{
	struct nw_flow flow = {.dst_port = 1, .partial = true, .payload = 60000};
	struct vdpa_dev_set_config config = {0};
	uint8_t frame[70000];
	struct soft_guest g;
	char num[12];
	uint32_t len;
	int fd[2], small = 4096;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	setsockopt(fd[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	snprintf(num, sizeof(num), "%d", fd[0]);
	sg_open(&g, (unsigned)(uintptr_t)*state);
	sg_add(&g, "soft_net", (struct vdpa_attr[]){{"backend", "loopback"}, {0}});
	sg_start(&g, NG_FEATURES | TSO4, 2, 64);
	config.attrs = (struct vdpa_attr[]){{"backend", "socket"}, {"fd", num}, {0}};
	assert_int_equal(vdpa_dev_set(g.dev, &config, NULL), 0);
	for (unsigned i = 0; i < SG_TRIES && !shown(&g, "connections"); i++)
		sg_run(&g, SG_SECOND / 1000);
	/* The new peer's bridges are told where the guest is now. */
	assert_int_equal(peer_frame(&g, fd[1], frame), 60);
	assert_memory_equal(frame + 12, "\x80\x35", 2);
	len = nw_tcp(&flow, g.mem + NG_TX + 12);
	nw_gso_header(g.mem + NG_TX, 1000);
	ng_tx_post(&g, len + 12);
	for (uint32_t at = 0; at < 60000; at += 1000) {
		len = peer_frame(&g, fd[1], frame);
		assert_int_equal(len, 1054);
		assert_true(nw_payload_good(frame + 54, at, 1000));
		assert_true(nw_l4_good(frame, len));
	}
	assert_true(ng_tx_done(&g, SG_PATIENCE));
	/* A checksum only. */
	flow.payload = 500;
	len = nw_tcp(&flow, g.mem + NG_TX + 12);
	nw_gso_header(g.mem + NG_TX, 0);
	g.mem[NG_TX + 1] = 0;
	ng_tx_post(&g, len + 12);
	assert_int_equal(peer_frame(&g, fd[1], frame), 554);
	assert_true(nw_l4_good(frame, 554));
	assert_int_equal(sg_stat(&g, 1, "tx errors"), 0);
	close(fd[0]);
	close(fd[1]);
	sg_close(&g);
}

static void refuse(struct soft_guest *g, const struct vdpa_attr *attrs, const char *says)
{
	struct vdpa_dev_set_config config = {.attrs = attrs};
	struct vdpa_error err = {.msg = ""};
	unsigned fds = sg_open_fds();

	assert_true(sg_try_add(g, "soft_net", "d0", &config, &err) < 0);
	if (!strstr(err.msg, says))
		fail_msg("\"%s\" does not say \"%s\"", err.msg, says);
	assert_int_equal(sg_open_fds(), fds);
}

#define ATTRS(...) ((struct vdpa_attr[]){{"backend", "socket"}, __VA_ARGS__, {0}})

static void test_refused(void **state)
{
	struct soft_guest g;
	char file[80], num[12];
	int pipes[2], other = serve(SOCK_STREAM, sock_path);

	assert_int_equal(pipe(pipes), 0);
	snprintf(num, sizeof(num), "%d", pipes[0]);
	snprintf(file, sizeof(file), "%s/file", dir);
	close(open(file, O_CREAT | O_RDWR | O_CLOEXEC, 0600));
	sg_open(&g, 0);
	refuse(&g, (struct vdpa_attr[]){{"backend", "socket"}, {0}}, "either path or fd");
	refuse(&g, ATTRS({"path", "/x"}, {"fd", "0"}), "either path or fd");
	refuse(&g, ATTRS({"fd", num}), "not a stream or datagram socket");
	refuse(&g, ATTRS({"path", "/x"}, {"type", "dgram"}), "datagrams need path");
	refuse(&g, ATTRS({"path", "/x"}, {"local", "/y"}), "for datagrams only");
	refuse(&g, ATTRS({"path", "/x"}, {"type", "seqpacket"}), "stream, dgram");
	refuse(&g, ATTRS({"path", local_path}, {"reconnect", "0"}), "cannot connect");
	refuse(&g, ATTRS({"path", file}, {"listen", "on"}), "is no socket; it is left alone");
	refuse(&g, ATTRS({"path", sock_path}, {"listen", "on"}), "another process listens");
	unlink(file);
	unlink(sock_path);
	close(other);
	close(pipes[0]);
	close(pipes[1]);
	sg_close(&g);
}

static void test_allocations(void **state)
{
	struct vdpa_dev_set_config config = {
		.attrs = ATTRS({"path", sock_path}, {"listen", "on"}),
	};
	struct vdpa_error err;
	struct soft_guest g;
	unsigned fds;

	sg_open(&g, 0);
	fds = sg_open_fds();
	for (alloc_fail_begin(); alloc_fail_more();) {
		int r = sg_try_add(&g, "soft_net", "d0", &config, &err);

		alloc_fail_off();
		if (!r) {
			sg_use(&g, vdpa_find_device(g.ctx, "d0"));
			sg_del(&g);
		}
		assert_int_equal(sg_open_fds(), fds);
		assert_int_equal(access(sock_path, F_OK), -1);
	}
	sg_close(&g);
}

static int group_setup(void **state)
{
	if (!mkdtemp(dir))
		return -1;
	snprintf(sock_path, sizeof(sock_path), "%s/s", dir);
	snprintf(local_path, sizeof(local_path), "%s/l", dir);
	return 0;
}

static int group_teardown(void **state)
{
	return rmdir(dir);
}

#define WITH(test, value)                                                                          \
	{                                                                                          \
#test "_" #value, test, NULL, NULL, (void *)value                                  \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH(test_stream, 0),
		WITH(test_stream, 1),
		WITH(test_one_by_one, 0),
		WITH(test_one_by_one, VDPA_BIT(VIRTIO_RING_F_EVENT_IDX)),
		WITH(test_one_by_one, VDPA_BIT(VIRTIO_F_RING_PACKED)),
		WITH(test_restart_in_a_frame, 0),
		WITH(test_restart_in_a_frame, 1),
		WITH(test_stalled_peer, SOCK_STREAM),
		WITH(test_stalled_peer, SOCK_DGRAM),
		WITH(test_server, 0),
		WITH(test_server, 1),
		WITH(test_client, 0),
		WITH(test_client, 1),
		WITH(test_garbage, 0),
		WITH(test_garbage, 1),
		cmocka_unit_test(test_flood),
		WITH(test_datagrams, 0),
		WITH(test_datagrams, 1),
		WITH(test_datagram_paths, 0),
		WITH(test_datagram_paths, 1),
		WITH(test_softened, 0),
		WITH(test_softened, 1),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_allocations),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
