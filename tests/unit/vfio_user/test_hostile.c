// SPDX-License-Identifier: BSD-3-Clause
/* Clients and servers that do not keep to the protocol: raw bytes on the socket. */
#include "alloc_fail.h"
#include "toy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "vfio_user/protocol.h"

static int up(void **state)
{
	toy_up(&toy);
	return 0;
}

static int dial(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct timeval patience = {.tv_sec = 30};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, toy.path);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	return fd;
}

static void send_cmd(int fd, unsigned cmd, const void *payload, size_t len, unsigned nfds)
{
	struct vfu_header head = {.id = 7, .cmd = (uint16_t)cmd, .size = (uint32_t)(16 + len)};
	struct iovec iov[2] = {{&head, sizeof(head)}, {(void *)(uintptr_t)payload, len}};
	int fds[VFU_FDS_MAX];
	ssize_t n;

	for (unsigned i = 0; i < nfds; i++)
		fds[i] = toy.memfd;
	while ((n = vdpa_sock_send(fd, iov, 2, fds, nfds)) == -EAGAIN)
		usleep(1000);
	assert_int_equal(n, 16 + len);
}

/* The errno of the answer, 0, or -1: the connection has ended. */
static int answer_of(int fd)
{
	struct vfu_header head;
	uint8_t rest[4096];

	if (recv(fd, &head, sizeof(head), MSG_WAITALL) != sizeof(head))
		return -1;
	assert_int_equal(head.id, 7);
	assert_int_equal(head.flags & VFU_F_TYPE, VFU_F_REPLY);
	assert_true(head.size >= 16 && head.size <= 16 + sizeof(rest));
	if (head.size > 16)
		assert_int_equal(recv(fd, rest, head.size - 16, MSG_WAITALL), head.size - 16);
	return head.flags & VFU_F_ERROR ? (int)head.error : 0;
}

static int version(const char *json, uint16_t major)
{
	uint8_t payload[512] = {0};
	size_t len = json ? strlen(json) + 1 : 0;
	int fd = dial(), r;

	memcpy(payload, &major, 2);
	if (json)
		memcpy(payload + 4, json, len);
	send_cmd(fd, VFU_VERSION, payload, 4 + len, 0);
	r = answer_of(fd);
	if (!r)
		return fd;
	assert_int_equal(recv(fd, payload, 1, 0), 0); /* and it ends */
	close(fd);
	return -r;
}

static void test_version(void **state)
{
	static const char *const good[] = {
		NULL,
		"{}",
		"{\"capabilities\":{}}",
		"{\"other\":[1,2]}",
		"{\"capabilities\":{\"max_msg_fds\":1,\"max_data_xfer_size\":1}}",
		"{\"capabilities\":{\"max_msg_fds\":999999,\"twin_socket\":{\"supported\":true}}}"};
	static const char *const bad[] = {"",
					  "{",
					  "[]",
					  "7",
					  "{\"capabilities\":7}",
					  "{\"capabilities\":{\"max_msg_fds\":0}}",
					  "{\"capabilities\":{\"max_data_xfer_size\":-1}}",
					  "{\"capabilities\":{\"max_data_xfer_size\":\"1\"}}"};

	for (unsigned i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		int fd = version(good[i], 0);

		assert_true(fd >= 0);
		/* A second time is refused, and what is there stays. */
		send_cmd(fd, VFU_VERSION, "\0\0\0\0", 4, 0);
		assert_int_equal(answer_of(fd), EPROTO);
		send_cmd(fd, VFU_DEVICE_RESET, NULL, 0, 0);
		assert_int_equal(answer_of(fd), 0);
		close(fd);
	}
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(version(bad[i], 0), -EINVAL);
	assert_int_equal(version(NULL, 1), -EPROTONOSUPPORT);
	toy_until(&toy.connected, 6);
	toy_until(&toy.gone, 6);
}

/* Before there is a version, whatever it is ends the session. */
static void test_no_version(void **state)
{
	uint8_t payload[64] = {0};

	for (unsigned cmd = 2; cmd < 22; cmd++) {
		int fd = dial();

		send_cmd(fd, cmd, payload, 32, 0);
		assert_int_not_equal(answer_of(fd), 0);
		assert_int_equal(recv(fd, payload, 1, 0), 0);
		close(fd);
	}
	assert_int_equal(toy.connected, 0);
}

/* Every command in every size, with too many descriptors: answered, nothing leaks. */
static void test_sizes(void **state)
{
	int fd = version(NULL, 0);
	unsigned fds = toy_open_fds();
	uint8_t payload[96];

	for (unsigned cmd = 2; cmd < 40; cmd++) {
		for (size_t len = 0; len < sizeof(payload); len++) {
			memset(payload, (int)len, sizeof(payload));
			send_cmd(fd, cmd, payload, len, len % 3 ? 0 : (unsigned)len % 17);
			assert_true(answer_of(fd) >= 0);
		}
	}
	send_cmd(fd, VFU_DEVICE_RESET, NULL, 0, 0);
	assert_int_equal(answer_of(fd), 0);
	assert_int_equal(toy_open_fds(), fds);
	close(fd);
}

/* What cannot be a message ends the session. */
static void test_no_message(void **state)
{
	static const struct vfu_header heads[] = {
		{.size = 15},
		{.size = 0},
		{.size = 0xffffffff},
		{.size = 16 + VFU_PAYLOAD_MAX + 1},
		{.size = 16, .flags = 2},
		{.size = 16, .flags = 0xf},
		/* A reply that nobody waits for. */
		{.size = 16, .flags = VFU_F_REPLY, .cmd = VFU_DMA_READ},
	};
	uint8_t byte;

	for (unsigned i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		int fd = version(NULL, 0);

		assert_int_equal(send(fd, &heads[i], sizeof(heads[i]), MSG_NOSIGNAL), 16);
		assert_int_equal(recv(fd, &byte, 1, 0), 0);
		close(fd);
	}
}

/* Byte by byte, and a thousand at once whose answers nobody reads for a while. */
static void test_stream(void **state)
{
	struct vfu_header head = {.id = 7, .cmd = VFU_DEVICE_RESET, .size = 16};
	int fd = version(NULL, 0);

	for (unsigned i = 0; i < 16; i++) {
		assert_int_equal(send(fd, (char *)&head + i, 1, 0), 1);
		usleep(1000);
	}
	assert_int_equal(answer_of(fd), 0);
	for (unsigned i = 0; i < 1000; i++)
		send_cmd(fd, VFU_DEVICE_RESET, NULL, 0, 0);
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(answer_of(fd), 0);
	close(fd);
}

/* One who asks for much and reads nothing is sent away; the next one is served. */
static void test_never_reads(void **state)
{
	struct vfu_access a = {.offset = 0, .region = 0, .count = TOY_REGS};
	struct vfu_header head = {.id = 7, .cmd = VFU_REGION_READ, .size = 16 + sizeof(a)};
	struct iovec iov[2] = {{&head, sizeof(head)}, {&a, sizeof(a)}};
	int fd = version(NULL, 0);
	ssize_t n = 0;

	for (unsigned i = 0; i < 1000000 && (n >= 0 || n == -EAGAIN); i++)
		n = vdpa_sock_send(fd, iov, 2, NULL, 0);
	assert_true(n == -EPIPE || n == -ECONNRESET);
	close(fd);
	toy_connect(&toy);
	assert_int_equal(vfio_user_reset(toy.client), 0);
}

/* A second client waits until the first has gone. */
static void test_two(void **state)
{
	int first = version(NULL, 0), second = dial();
	uint8_t byte;

	send_cmd(second, VFU_VERSION, "\0\0\0\0", 4, 0);
	usleep(20000);
	assert_int_equal(recv(second, &byte, 1, MSG_DONTWAIT), -1);
	close(first);
	assert_int_equal(answer_of(second), 0);
	close(second);
}

/* ---- servers ---- */

struct liar {
	int fd;
	unsigned reply; /* which of the lies */
};

/* Exactly one request. */
static bool take(int fd, struct vfu_header *head)
{
	uint8_t rest[4096];

	return recv(fd, head, sizeof(*head), MSG_WAITALL) == sizeof(*head) &&
	       head->size <= sizeof(rest) &&
	       recv(fd, rest, head->size - 16, MSG_WAITALL) == (ssize_t)head->size - 16;
}

static void *lie(void *arg)
{
	struct liar *liar = arg;
	uint8_t reply[256] = {0};
	struct vfu_header head;
	uint32_t size = 16;

	if (!take(liar->fd, &head))
		return NULL;
	head.flags = VFU_F_REPLY;
	head.size = 20;
	memcpy(reply, &head, 16);
	send(liar->fd, reply, 20, MSG_NOSIGNAL);
	if (!take(liar->fd, &head))
		return NULL;
	head.flags = VFU_F_REPLY;
	switch (liar->reply) {
	case 0: /* too short */
		size = 16 + 8;
		break;
	case 1: /* another number */
		head.id++;
		size = 16 + 32;
		break;
	case 2: /* another command */
		head.cmd++;
		size = 16 + 32;
		break;
	case 3: /* areas beyond the answer */
		size = 16 + 32 + 16;
		((struct vfio_region_info *)(void *)(reply + 16))->flags =
			VFIO_REGION_INFO_FLAG_CAPS;
		((struct vfio_region_info *)(void *)(reply + 16))->cap_offset = 32;
		reply[16 + 32] = VFIO_REGION_INFO_CAP_SPARSE_MMAP;
		reply[16 + 40] = 30;
		break;
	case 4: /* a list without end */
		size = 16 + 32 + 8;
		((struct vfio_region_info *)(void *)(reply + 16))->flags =
			VFIO_REGION_INFO_FLAG_CAPS;
		((struct vfio_region_info *)(void *)(reply + 16))->cap_offset = 32;
		reply[16 + 32] = 99;
		reply[16 + 36] = 32;
		break;
	case 5: /* a place far away */
		size = 16 + 32;
		((struct vfio_region_info *)(void *)(reply + 16))->flags =
			VFIO_REGION_INFO_FLAG_CAPS;
		((struct vfio_region_info *)(void *)(reply + 16))->cap_offset = 0xfffffff0;
		break;
	default: /* it can be mapped, but no file comes */
		size = 16 + 32;
		((struct vfio_region_info *)(void *)(reply + 16))->flags =
			VFIO_REGION_INFO_FLAG_MMAP;
		break;
	}
	head.size = size;
	memcpy(reply, &head, 16);
	send(liar->fd, reply, size, MSG_NOSIGNAL);
	return NULL;
}

static void test_liars(void **state)
{
	unsigned fds = toy_open_fds();

	for (unsigned i = 0; i < 7; i++) {
		struct vfio_user_region_info info;
		struct vfio_user_client *c;
		struct liar liar = {.reply = i};
		pthread_t thread;
		int pair[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
		liar.fd = pair[1];
		assert_int_equal(pthread_create(&thread, NULL, lie, &liar), 0);
		assert_int_equal(vfio_user_client_new_fd(pair[0], 2000000000ull, &c, NULL), 0);
		assert_int_equal(vfio_user_get_region(c, 0, &info), -EPROTO);
		/* It has ended. */
		assert_int_equal(vfio_user_reset(c), -EIO);
		vfio_user_client_free(c);
		pthread_join(thread, NULL);
		close(pair[1]);
	}
	assert_int_equal(toy_open_fds(), fds);
}

/* A server that asks for memory which is not its business. */
static void test_asks_for_more(void **state)
{
	static const uint64_t asks[][2] = {{0x0fff, 1},		{0x1000, 0x1001}, {0x1fff, 2},
					   {0x2000, 1},		{0x1000, 0},	  {UINT64_MAX, 2},
					   {0x1000, UINT64_MAX}};
	uint8_t memory[0x1000] = {0}, reply[4096];
	struct vfio_user_mem mem = {
		.iova = 0x1000, .size = 0x1000, .perm = 1 /* read */, .fd = -1, .mem = memory};
	int pair[2];

	for (unsigned i = 0; i < 7; i++) {
		struct vfu_header head = {.id = 7, .cmd = VFU_DMA_READ, .size = 32};
		struct liar liar = {.reply = 2};
		struct vfio_user_client *c;
		pthread_t thread;

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
		liar.fd = pair[1];
		assert_int_equal(pthread_create(&thread, NULL, lie, &liar), 0);
		assert_int_equal(vfio_user_client_new_fd(pair[0], 2000000000ull, &c, NULL), 0);
		/* The memory is known from before it is told of: the liar's answer ends it all. */
		assert_int_equal(send(pair[1], &head, 16, MSG_NOSIGNAL), 16);
		assert_int_equal(send(pair[1], asks[i], 16, MSG_NOSIGNAL), 16);
		assert_int_equal(vfio_user_dma_map(c, &mem), -EPROTO);
		pthread_join(thread, NULL);
		vfio_user_client_free(c);
		assert_true(recv(pair[1], reply, sizeof(reply), MSG_DONTWAIT) >= 16);
		memcpy(&head, reply, sizeof(head));
		assert_int_equal(head.cmd, VFU_DMA_READ);
		assert_int_equal(head.flags, VFU_F_REPLY | VFU_F_ERROR);
		close(pair[1]);
	}
}

static void test_allocations(void **state)
{
	struct vfio_user_config config = {
		.size = sizeof(config),
		.path = "/tmp/uvdpa-toy-alloc.sock",
		.name = "a",
		.regions = (struct vfio_user_region[]){{.size = 16, .flags = 1, .fd = -1}},
		.nregions = 1,
		.irqs = (struct vfio_user_irqs[]){{4, 1}},
		.nirqs = 1,
		.ops = &toy_ops,
	};
	struct vdpa_loop_group *group;
	struct vfio_user_server *srv;
	struct vdpa_error err;
	int r = -1;

	assert_int_equal(vdpa_loop_group_new(0, &group), 0);
	for (alloc_fail_begin(); alloc_fail_more();) {
		r = vfio_user_server_new(vdpa_loop_group_control(group), &config, &srv, &err);
		assert_true(r == 0 || r == -ENOMEM);
		if (r)
			continue;
		vfio_user_server_free(srv, NULL);
		while (vdpa_loop_run_once(vdpa_loop_group_control(group), 1000000) > 0) {
		}
	}
	assert_int_equal(r, 0);
	vdpa_loop_group_free(group);
}

/* ---- answers that come late, each in time ---- */

static int slow_up(void **state)
{
	toy_dma_budget_ns = 300000000;
	toy_up(&toy);
	toy_dma_budget_ns = 0;
	return 0;
}

static int patient_up(void **state)
{
	toy_dma_budget_ns = 60000000000;
	toy_up(&toy);
	toy_dma_budget_ns = 0;
	return 0;
}

/* Serve the device's requests, each after @before: 0 when the client's own was answered, -1 when
 * the connection has ended. */
static int serve_after(int fd, void (*before)(void))
{
	static uint8_t data[64 << 10];
	struct vfu_header head;
	struct vfu_dma_access a;
	size_t len;

	while (recv(fd, &head, sizeof(head), MSG_WAITALL) == sizeof(head)) {
		len = head.size - sizeof(head);
		assert_true(len <= sizeof(data));
		if (len && recv(fd, data, len, MSG_WAITALL) != (ssize_t)len)
			return -1;
		if (head.cmd == VFU_REGION_WRITE)
			return 0;
		memcpy(&a, data, sizeof(a));
		assert_true(sizeof(a) + a.count <= sizeof(data));
		head.size = (uint32_t)(sizeof(head) + sizeof(a) +
				       (head.cmd == VFU_DMA_READ ? a.count : 0));
		head.flags = VFU_F_REPLY;
		before();
		if (send(fd, &head, sizeof(head), MSG_NOSIGNAL) < 0 ||
		    send(fd, data, head.size - sizeof(head), MSG_NOSIGNAL) < 0)
			return -1;
	}
	return -1;
}

/* A copy of 1 MiB, of which each piece is two requests, by what waits at register @reg. */
static int copy_by_message(uint64_t reg, void (*before)(void))
{
	const struct vfu_dma_map map = {.argsz = sizeof(map), .flags = 3, .size = 4 << 20};
	struct {
		struct vfu_access a;
		uint64_t words[3];
	} write = {{.offset = reg, .count = 24}, {0, 2 << 20, 1 << 20}};
	int fd = version(NULL, 0), r;

	send_cmd(fd, VFU_DMA_MAP, &map, sizeof(map), 0);
	assert_int_equal(answer_of(fd), 0);
	send_cmd(fd, VFU_REGION_WRITE, &write, sizeof(write), 0);
	r = serve_after(fd, before);
	close(fd);
	return r;
}

static void a_while(void)
{
	usleep(200000);
}

/* Each answer is in time, and all of them together hold up whoever waits: it is sent away. */
static void test_slow_answers(void **state)
{
	const uint64_t regs[] = {TOY_COPY_HERE, TOY_COPY_THERE};
	int fd;

	for (unsigned i = 0; i < 2; i++) {
		toy.said_slow = false;
		assert_int_equal(copy_by_message(regs[i], a_while), -1);
		toy_until(&toy.gone, 2 * i + 1);
		assert_true(toy.said_slow);
		/* The next one is served. */
		fd = version(NULL, 0);
		assert_true(fd >= 0);
		close(fd);
		toy_until(&toy.gone, 2 * i + 2);
	}
}

/* ---- what is urgent on the thread that waits ---- */

static struct vdpa_loop *waiting;
static _Atomic unsigned went_on;

static void go_on(struct vdpa_loop_msg *msg)
{
	went_on++;
}

static void until_it_goes_on(void)
{
	static struct vdpa_loop_msg msg;
	unsigned was = went_on;

	vdpa_loop_post(vdpa_loop_urgent(waiting), &msg, go_on);
	toy_until(&went_on, was + 1);
}

static void test_urgent_goes_on(void **state)
{
	waiting = toy.loop;
	assert_int_equal(copy_by_message(TOY_COPY_HERE, until_it_goes_on), 0);
	toy_until(&toy.gone, 1);
	waiting = vdpa_loop_group_worker(toy.group, 0);
	assert_int_equal(copy_by_message(TOY_COPY_THERE, until_it_goes_on), 0);
	toy_until(&toy.gone, 2);
}

static void test_config(void **state)
{
	struct vfio_user_region region = {.size = 0x2000, .fd = -1};
	struct vfio_user_area area = {0, 0x3000};
	struct vfio_user_ops ops = toy_ops;
	struct vfio_user_config good = {.size = sizeof(good),
					.path = "/tmp/uvdpa-none.sock",
					.name = "a",
					.regions = &region,
					.nregions = 1,
					.ops = &ops};
	struct vdpa_loop_group *group;
	struct vfio_user_server *srv;
	struct vdpa_error err;

	assert_int_equal(vdpa_loop_group_new(0, &group), 0);
#define REFUSED(change, undo, why)                                                                 \
	change;                                                                                    \
	err.msg[0] = '\0';                                                                         \
	assert_int_equal(vfio_user_server_new(vdpa_loop_group_control(group), &good, &srv, &err),  \
			 -EINVAL);                                                                 \
	assert_non_null(strstr(err.msg, why));                                                     \
	undo
	REFUSED(good.size = 8, good.size = sizeof(good), "size");
	REFUSED(ops.size = 8, ops.size = sizeof(ops), "size");
	REFUSED(good.nregions = 17, good.nregions = 1, "at most 16");
	REFUSED(ops.dma_map = NULL, ops.dma_map = toy_ops.dma_map, "dma_map");
	REFUSED(ops.mig_read = NULL, ops.mig_read = toy_ops.mig_read, "mig_read");
	REFUSED(region.flags = 0x80, region.flags = 0, "unknown flags");
	REFUSED(region.flags = VFIO_REGION_INFO_FLAG_MMAP, region.flags = 0, "MMAP");
	region.fd = toy.memfd;
	region.flags = VFIO_REGION_INFO_FLAG_MMAP;
	region.areas = &area;
	region.nareas = 1;
	REFUSED(area.size = 0x3000, area.size = 0x1000, "not inside");
	REFUSED(area.offset = 1, area.offset = 0, "whole pages");
	vdpa_loop_group_free(group);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_version, up, toy_teardown),
		cmocka_unit_test_setup_teardown(test_no_version, up, toy_teardown),
		cmocka_unit_test_setup_teardown(test_sizes, up, toy_teardown),
		cmocka_unit_test_setup_teardown(test_no_message, up, toy_teardown),
		cmocka_unit_test_setup_teardown(test_stream, up, toy_teardown),
		cmocka_unit_test_setup_teardown(test_never_reads, up, toy_teardown),
		cmocka_unit_test_setup_teardown(test_two, up, toy_teardown),
		cmocka_unit_test_setup_teardown(test_slow_answers, slow_up, toy_teardown),
		cmocka_unit_test_setup_teardown(test_urgent_goes_on, patient_up, toy_teardown),
		cmocka_unit_test(test_liars),
		cmocka_unit_test(test_asks_for_more),
		cmocka_unit_test(test_allocations),
		cmocka_unit_test(test_config),
	};

	return cmocka_run_group_tests_name("vfio-user hostile", tests, NULL, NULL);
}
