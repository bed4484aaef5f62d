// SPDX-License-Identifier: BSD-3-Clause
/*
 * The vhost-user server with the n-th allocation failing: binding, and all that a front end can
 * make it do. Whatever is refused, nothing is left behind, and the next front end is served.
 */
#include "alloc_fail.h"
#include "patience.h"
#include "driver/vhost_user/protocol.h"
#include "virtio_test.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <uvdpa/vhost_user.h>

#define BYTES (1u << 20)
#define UVA 0x7f0000000000ull
#define GPA 0x100000ull
#define NUM 16

struct rig {
	struct vdpa_ctx *ctx; /* no workers: the loop of this thread does everything */
	struct vdpa_device *vdev;
	char path[64];
	int mem, event, sock;
	unsigned answered, refused;
	bool closed;
};

static void rig_new(struct rig *r)
{
	static const struct vdpa_attr ram[] = {{"backend", "ram"}, {"size", "1M"}, {0}};
	struct vdpa_dev_set_config config = {.attrs = ram};

	*r = (struct rig){.sock = -1};
	assert_int_equal(
		vdpa_ctx_new(&(struct vdpa_ctx_config){.size = sizeof(struct vdpa_ctx_config)},
			     &r->ctx),
		0);
	snprintf(r->path, sizeof(r->path), "/tmp/uvdpa-alloc-%d.sock", getpid());
	assert_int_equal(vdpa_register_builtin(r->ctx), 0);
	if (!vdpa_find_driver(r->ctx, "vhost-user"))
		assert_int_equal(vdpa_register_driver(r->ctx, vhost_user_driver()), 0);
	assert_int_equal(vdpa_dev_add(vdpa_mgmtdev_find(r->ctx, "soft_blk"), "s0", &config, NULL),
			 0);
	r->vdev = vdpa_find_device(r->ctx, "s0");
	r->mem = memfd_create("guest", MFD_CLOEXEC);
	assert_int_equal(ftruncate(r->mem, BYTES), 0);
	r->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

static void turn(struct rig *r)
{
	for (unsigned i = 0; i < 4; i++)
		vdpa_loop_run_once(vdpa_ctx_control(r->ctx), 0);
}

static void rig_free(struct rig *r)
{
	bool done = false;

	assert_int_equal(vdpa_dev_del(r->vdev, &(struct vdpa_done){set_flag, &done}, NULL), 0);
	fake_until(r->ctx, done);
	close(r->mem);
	close(r->event);
	turn(r);
	ctx_del(r->ctx);
}

static int do_bind_to(struct rig *r, const char *driver)
{
	const struct vdpa_attr attrs[] = {{"path", r->path}, {0}};

	return vdpa_bind(r->vdev, driver, attrs, NULL);
}

static int do_bind(struct rig *r)
{
	return do_bind_to(r, "vhost-user");
}

static void do_unbind(struct rig *r)
{
	bool done = false;

	assert_int_equal(vdpa_unbind(r->vdev, &(struct vdpa_done){set_flag, &done}), 0);
	fake_until(r->ctx, done);
}

/* ---- a front end that says all there is ---- */

static void say(struct rig *r, uint32_t request, const void *payload, uint32_t size, int fd)
{
	struct vhost_user_hdr hdr = {request, VHOST_USER_VERSION | VHOST_USER_FLAG_NEED_REPLY,
				     size};
	union {
		struct cmsghdr cmsg;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {.cmsg = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
	struct iovec iov[2] = {{&hdr, sizeof(hdr)}, {(void *)(uintptr_t)payload, size}};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = size ? 2 : 1};
	char answer[512] = {0};
	uint64_t value;

	if (r->closed)
		return;
	if (fd >= 0) {
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
		memcpy(CMSG_DATA(&control.cmsg), &fd, sizeof(fd));
	}
	if (sendmsg(r->sock, &msg, MSG_NOSIGNAL) < 0) {
		r->closed = true;
		return;
	}
	/* An answer of its own, a number that says yes or no, or the end of the session. */
	for (uint64_t end = vdpa_clock_ns() + PATIENCE_NS; vdpa_clock_ns() < end;) {
		struct iovec in = {answer, sizeof(answer)};
		struct msghdr got = {.msg_iov = &in,
				     .msg_iovlen = 1,
				     .msg_control = &control,
				     .msg_controllen = sizeof(control)};
		ssize_t n;

		vdpa_loop_run_once(vdpa_ctx_control(r->ctx), 1000000);
		n = recvmsg(r->sock, &got, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		if (n < 0)
			continue;
		if (n > 0 && got.msg_controllen) {
			memcpy(&fd, CMSG_DATA(&control.cmsg), sizeof(fd));
			close(fd);
		}
		r->closed = n == 0;
		r->answered += n > 0;
		memcpy(&value, answer + sizeof(hdr), sizeof(value));
		r->refused += n == sizeof(hdr) + sizeof(value) && value &&
			      request != VHOST_USER_GET_FEATURES &&
			      request != VHOST_USER_GET_PROTOCOL_FEATURES &&
			      request != VHOST_USER_GET_VRING_BASE;
		return;
	}
	fail_msg("no answer to request %u", request);
}

static void say_u64(struct rig *r, uint32_t request, uint64_t value, int fd)
{
	say(r, request, &value, sizeof(value), fd);
}

static void say_state(struct rig *r, uint32_t request, uint32_t num)
{
	struct vhost_vring_state state = {.num = num};

	say(r, request, &state, sizeof(state), -1);
}

static void say_ring(struct rig *r, bool enable)
{
	struct vhost_vring_addr addr = {
		.desc_user_addr = UVA, .avail_user_addr = UVA + 4096, .used_user_addr = UVA + 8192};

	say_state(r, VHOST_USER_SET_VRING_NUM, NUM);
	say_state(r, VHOST_USER_SET_VRING_BASE, 0);
	say(r, VHOST_USER_SET_VRING_ADDR, &addr, sizeof(addr), -1);
	say_u64(r, VHOST_USER_SET_VRING_ERR, 0, r->event);
	say_u64(r, VHOST_USER_SET_VRING_CALL, 0, r->event);
	say_u64(r, VHOST_USER_SET_VRING_KICK, 0, r->event);
	say_state(r, VHOST_USER_SET_VRING_ENABLE, enable);
}

static void say_memory(struct rig *r)
{
	struct {
		uint32_t n, padding;
		struct vhost_user_mem_region region;
	} table = {1, 0, {GPA, BYTES / 2, UVA, 0}};
	struct vhost_user_mem_reg reg = {
		.region = {GPA + BYTES / 2, BYTES / 2, UVA + BYTES / 2, BYTES / 2}};

	say(r, VHOST_USER_SET_MEM_TABLE, &table, sizeof(table), r->mem);
	say(r, VHOST_USER_ADD_MEM_REG, &reg, sizeof(reg), r->mem);
	say(r, VHOST_USER_REM_MEM_REG, &reg, sizeof(reg), -1);
}

static void say_all(struct rig *r, uint64_t features)
{
	struct vhost_user_log log = {.mmap_size = 4096};
	struct vhost_user_inflight inflight = {.num_queues = 1, .queue_size = NUM};
	struct vhost_iotlb_msg update = {
		.size = 4096, .uaddr = UVA, .perm = VHOST_ACCESS_RW, .type = VHOST_IOTLB_UPDATE};
	int pair[2], fd = memfd_create("log", MFD_CLOEXEC);

	assert_int_equal(ftruncate(fd, 4096), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	say(r, VHOST_USER_GET_FEATURES, NULL, 0, -1);
	say(r, VHOST_USER_GET_PROTOCOL_FEATURES, NULL, 0, -1);
	say_u64(r, VHOST_USER_SET_PROTOCOL_FEATURES,
		1u << VHOST_USER_PROTOCOL_F_REPLY_ACK | 1u << VHOST_USER_PROTOCOL_F_LOG_SHMFD |
			1u << VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD |
			1u << VHOST_USER_PROTOCOL_F_BACKEND_REQ |
			1u << VHOST_USER_PROTOCOL_F_STATUS |
			1u << VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS,
		-1);
	say(r, VHOST_USER_SET_OWNER, NULL, 0, -1);
	say_u64(r, VHOST_USER_SET_FEATURES, features, -1);
	say(r, VHOST_USER_SET_BACKEND_REQ_FD, NULL, 0, pair[1]);
	say(r, VHOST_USER_SET_LOG_BASE, &log, sizeof(log), fd);
	say(r, VHOST_USER_GET_INFLIGHT_FD, &inflight, sizeof(inflight), -1);
	say_memory(r);
	if (features & VDPA_BIT(VIRTIO_F_ACCESS_PLATFORM))
		say(r, VHOST_USER_IOTLB_MSG, &update, sizeof(update), -1);
	say_ring(r, false);
	say_state(r, VHOST_USER_SET_VRING_ENABLE, true);
	say_u64(r, VHOST_USER_SET_FEATURES, features | VDPA_BIT(VHOST_F_LOG_ALL), -1);
	turn(r);
	say_state(r, VHOST_USER_GET_VRING_BASE, 0);
	close(fd);
	close(pair[0]);
	close(pair[1]);
}

static void session_connect(struct rig *r)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	strcpy(addr.sun_path, r->path);
	r->answered = r->refused = 0;
	r->closed = false;
	r->sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(r->sock, (struct sockaddr *)&addr, sizeof(addr)), 0);
}

static void session_end(struct rig *r, unsigned fds)
{
	close(r->sock);
	fake_until(r->ctx, open_fds() == fds);
}

/* ---- the tests ---- */

static void each_probe(const char *driver)
{
	unsigned fds, rounds = 0;
	struct stat st;
	struct rig r;

	rig_new(&r);
	assert_int_equal(do_bind_to(&r, driver), 0);
	do_unbind(&r);
	fds = open_fds();
	for (alloc_fail_begin(); alloc_fail_more(); rounds++) {
		int ret = do_bind_to(&r, driver);

		alloc_fail_off();
		assert_int_equal(ret, alloc_fail_hit ? -ENOMEM : 0);
		assert_int_equal(stat(r.path, &st), ret ? -1 : 0);
		if (!ret)
			do_unbind(&r);
		assert_int_equal(stat(r.path, &st), -1);
		turn(&r);
		assert_int_equal(open_fds(), fds);
	}
	assert_true(rounds > 3);
	rig_free(&r);
}

static void test_probe(void **state)
{
	each_probe("vhost-user");
}

/* The same of a character device. */
static void test_probe_cdev(void **state)
{
	struct rig r;
	bool there;

	rig_new(&r);
	there = vdpa_find_driver(r.ctx, "vhost-vdpa");
	rig_free(&r);
	if (there)
		each_probe("vhost-vdpa");
	else
		skip();
}

/* A connection that there is no memory for waits until there is: it is not dropped, and nobody
 * spins. */
static void test_listener(void **state)
{
	unsigned fds, rounds = 0;
	struct rig r;

	rig_new(&r);
	assert_int_equal(do_bind(&r), 0);
	fds = open_fds();
	for (alloc_fail_begin(); alloc_fail_more(); rounds++) {
		long round = alloc_fail_round;

		alloc_fail_off();
		session_connect(&r);
		say(&r, VHOST_USER_GET_FEATURES, NULL, 0, -1);
		assert_false(r.closed);
		session_end(&r, fds);
		session_connect(&r);
		alloc_fail_countdown = round;
		turn(&r);
		alloc_fail_off();
		if (!alloc_fail_hit) {
			say(&r, VHOST_USER_GET_FEATURES, NULL, 0, -1);
			assert_false(r.closed);
		}
		session_end(&r, fds);
	}
	assert_true(rounds > 2);
	do_unbind(&r);
	rig_free(&r);
}

static void each_session(uint64_t features)
{
	unsigned fds, rounds = 0, refused = 0, whole;
	struct rig r;

	rig_new(&r);
	assert_int_equal(do_bind(&r), 0);
	fds = open_fds();
	session_connect(&r);
	say_all(&r, features);
	assert_false(r.closed);
	assert_int_equal(r.refused, 0);
	whole = r.answered;
	session_end(&r, fds);
	for (alloc_fail_begin(); alloc_fail_more(); rounds++) {
		long round = alloc_fail_round;

		alloc_fail_off();
		session_connect(&r);
		turn(&r);
		alloc_fail_countdown = round;
		say_all(&r, features);
		alloc_fail_off();
		assert_true(alloc_fail_hit || (!r.closed && !r.refused && r.answered == whole));
		refused += r.closed || r.refused;
		session_end(&r, fds);
		/* The next one wants nothing of what the last one left. */
		session_connect(&r);
		say_all(&r, features);
		assert_false(r.closed);
		assert_int_equal(r.refused, 0);
		session_end(&r, fds);
	}
	assert_true(rounds > 20);
	assert_true(refused > 10);
	print_message("%u allocations, %u times the front end heard of it\n", rounds - 1, refused);
	do_unbind(&r);
	rig_free(&r);
}

static void test_session(void **state)
{
	each_session(VDPA_BIT(VIRTIO_F_VERSION_1) | VDPA_BIT(VHOST_USER_F_PROTOCOL_FEATURES));
}

static void test_session_iommu(void **state)
{
	each_session(VDPA_BIT(VIRTIO_F_VERSION_1) | VDPA_BIT(VHOST_USER_F_PROTOCOL_FEATURES) |
		     VDPA_BIT(VIRTIO_F_ACCESS_PLATFORM));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_probe),	      cmocka_unit_test(test_probe_cdev),
		cmocka_unit_test(test_listener),      cmocka_unit_test(test_session),
		cmocka_unit_test(test_session_iommu),
	};

	return cmocka_run_group_tests_name("vhost-user-alloc", tests, NULL, NULL);
}
