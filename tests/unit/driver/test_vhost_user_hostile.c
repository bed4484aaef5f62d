// SPDX-License-Identifier: BSD-3-Clause
/*
 * The front end against back ends that break the protocol: each answer spoiled in each way. It
 * gives up in time, with an error, and leaves nothing behind.
 */
#include <uvdpa/vhost_user.h>
#include "hostile_back.h"
#include "virtio_test.h"

/* Long enough for a loaded machine to answer, where an answer comes. */
#define TIMEOUT_NS 20000000000ull
#define END_NS 400000000ull /* of one that is silent in the end */
/* Where none comes. */
#define SHORT_NS 50000000ull

static int connect_within(struct vdpa_ctx *ctx, struct hostile *h, uint64_t timeout_ns,
			  struct virtio_device **dev)
{
	struct vhost_user_frontend_config config = {
		.size = sizeof(config),
		.fd = hostile_start(h),
		.device_id = VIRTIO_ID_BLOCK,
		.timeout_ns = timeout_ns,
		.iommu = h->features >> VIRTIO_F_ACCESS_PLATFORM & 1,
	};

	return vhost_user_frontend_new(ctx, &config, dev, NULL);
}

static int connect_to(struct vdpa_ctx *ctx, struct hostile *h, struct virtio_device **dev)
{
	return connect_within(ctx, h, TIMEOUT_NS, dev);
}

static void front_free(struct vdpa_ctx *ctx, struct virtio_device *dev)
{
	bool done = false;

	vhost_user_frontend_free(dev, &(struct vdpa_done){set_flag, &done});
	fake_until(ctx, done);
}

static void test_honest(void **state)
{
	struct vdpa_ctx *ctx = ctx_new(0);
	static struct hostile h;
	struct virtio_device *dev;

	h = (struct hostile){0};
	assert_int_equal(connect_to(ctx, &h, &dev), 0);
	assert_non_null(virtio_blk_of(dev));
	assert_int_equal(vhost_user_frontend_log_start(dev, NULL), 0);
	front_free(ctx, dev);
	hostile_end(&h);
	assert_int_equal(h.seen[VHOST_USER_GET_VRING_BASE], 1);
	assert_int_equal(h.seen[VHOST_USER_SET_LOG_BASE], 1);
	assert_int_equal(h.status, 0);
	ctx_del(ctx);
}

/* ---- honest, and of few words ---- */

/* qemu-storage-daemon takes no notice of where in the configuration a read begins. */
static void test_configuration_without_offset(void **state)
{
	struct vdpa_ctx *ctx = ctx_new(0);
	static struct hostile h;
	struct virtio_blk_info info;
	struct virtio_device *dev;
	uint32_t seg_max;

	h = (struct hostile){
		.ignores_offset = true,
		.config = {.blk_size = 4096, .seg_max = 5},
		.features = VDPA_BIT(VIRTIO_F_VERSION_1) | VDPA_BIT(VIRTIO_BLK_F_BLK_SIZE) |
			    VDPA_BIT(VIRTIO_BLK_F_SEG_MAX) |
			    VDPA_BIT(VHOST_USER_F_PROTOCOL_FEATURES),
	};
	assert_int_equal(connect_to(ctx, &h, &dev), 0);
	virtio_blk_get_info(virtio_blk_of(dev), &info);
	assert_int_equal(info.capacity_sectors, 2048);
	assert_int_equal(info.block_bytes, 4096);
	assert_int_equal(virtio_config_read(dev, 12, &seg_max, 4), 0);
	assert_int_equal(seg_max, 5);
	assert_int_equal(virtio_config_read(dev, UINT32_MAX, &seg_max, 4), -EINVAL);
	assert_int_equal(virtio_config_read(dev, 254, &seg_max, 4), -EINVAL);
	front_free(ctx, dev);
	hostile_end(&h);
	ctx_del(ctx);
}

/* Whoever polls has something to be called by all the same: libvhost-user gives up without. */
static void test_polling_gives_a_descriptor(void **state)
{
	struct virtio_options options = {.size = sizeof(options), .poll = true};
	struct vdpa_ctx *ctx = ctx_new(0);
	static struct hostile h;
	struct vhost_user_frontend_config config = {
		.size = sizeof(config),
		.device_id = VIRTIO_ID_BLOCK,
		.timeout_ns = TIMEOUT_NS,
		.options = &options,
	};
	struct virtio_device *dev;

	h = (struct hostile){0};
	config.fd = hostile_start(&h);
	assert_int_equal(vhost_user_frontend_new(ctx, &config, &dev, NULL), 0);
	front_free(ctx, dev);
	hostile_end(&h);
	assert_int_equal(h.call_fds, 1);
	ctx_del(ctx);
}

/* ---- answers ---- */

static const uint32_t asked[] = {
	VHOST_USER_GET_FEATURES,      VHOST_USER_GET_PROTOCOL_FEATURES,
	VHOST_USER_SET_OWNER,	      VHOST_USER_GET_QUEUE_NUM,
	VHOST_USER_GET_MAX_MEM_SLOTS, VHOST_USER_SET_BACKEND_REQ_FD,
	VHOST_USER_SET_STATUS,	      VHOST_USER_SET_FEATURES,
	VHOST_USER_GET_CONFIG,	      VHOST_USER_ADD_MEM_REG,
	VHOST_USER_SET_VRING_NUM,     VHOST_USER_SET_VRING_BASE,
	VHOST_USER_SET_VRING_ADDR,    VHOST_USER_GET_INFLIGHT_FD,
	VHOST_USER_SET_INFLIGHT_FD,   VHOST_USER_SET_VRING_ERR,
	VHOST_USER_SET_VRING_CALL,    VHOST_USER_SET_VRING_KICK,
	VHOST_USER_SET_VRING_ENABLE,
};

static bool waits(enum spoil spoil)
{
	return spoil == SILENT || spoil == HALF_HEADER || spoil == HALF_PAYLOAD;
}

static void spoil_one(struct vdpa_ctx *ctx, uint32_t request, enum spoil spoil)
{
	unsigned fds = open_fds(), seen = 0;
	static struct hostile h;
	struct virtio_device *dev;

	/* With little time an honest answer may come too late as well: then again. */
	for (unsigned i = 0; i < 20 && !seen; i++) {
		uint64_t limit = vdpa_clock_ns() + 5 * TIMEOUT_NS;

		h = (struct hostile){.request = request, .spoil = spoil};
		assert_true(connect_within(ctx, &h, waits(spoil) ? SHORT_NS : TIMEOUT_NS, &dev) <
			    0);
		assert_true(vdpa_clock_ns() < limit);
		seen = h.seen[request];
		fake_until(ctx, !virtio_find(ctx, "virtio0"));
		hostile_end(&h);
	}
	assert_true(seen > 0);
	assert_int_equal(open_fds(), fds);
}

static void test_spoiled_answers(void **state)
{
	struct vdpa_ctx *ctx = ctx_new(0);

	for (size_t i = 0; i < ARRAY_LEN(asked); i++) {
		for (enum spoil s = SILENT; s < VALUE; s++)
			spoil_one(ctx, asked[i], s);
	}
	ctx_del(ctx);
}

static void spoil_value(struct vdpa_ctx *ctx, uint32_t request, uint64_t value, int expect)
{
	static struct hostile h;
	struct virtio_device *dev;

	h = (struct hostile){.request = request, .spoil = VALUE, .value = value};
	assert_int_equal(connect_to(ctx, &h, &dev), expect);
	fake_until(ctx, !virtio_find(ctx, "virtio0"));
	hostile_end(&h);
}

static void test_values(void **state)
{
	struct vdpa_ctx *ctx = ctx_new(0);

	spoil_value(ctx, VHOST_USER_GET_FEATURES, 0, -ENOTSUP); /* no VERSION_1 */
	spoil_value(ctx, VHOST_USER_GET_QUEUE_NUM, 0, -EPROTO);
	spoil_value(ctx, VHOST_USER_GET_QUEUE_NUM, 1ull << 40, -EPROTO);
	spoil_value(ctx, VHOST_USER_GET_MAX_MEM_SLOTS, 0, -EPROTO);
	spoil_value(ctx, VHOST_USER_SET_OWNER, 1, -EREMOTEIO);
	spoil_value(ctx, VHOST_USER_SET_VRING_NUM, 22, -EREMOTEIO);
	spoil_value(ctx, VHOST_USER_GET_CONFIG, 0, -EPROTO);
	spoil_value(ctx, VHOST_USER_GET_INFLIGHT_FD, 0, -EREMOTEIO);
	spoil_value(ctx, VHOST_USER_GET_INFLIGHT_FD, 7, -EREMOTEIO);
	spoil_value(ctx, VHOST_USER_SET_FEATURES, 1, -EREMOTEIO);
	ctx_del(ctx);
}

/* The answers at the end of a life: they cannot be refused, and must not be waited for without end.
 */
static void test_spoiled_end(void **state)
{
	static const uint32_t last[] = {VHOST_USER_GET_VRING_BASE, VHOST_USER_RESET_DEVICE,
					VHOST_USER_REM_MEM_REG};
	struct vdpa_ctx *ctx = ctx_new(0);

	for (size_t i = 0; i < ARRAY_LEN(last); i++) {
		for (enum spoil s = SILENT; s < SPOILS; s++) {
			uint64_t limit = vdpa_clock_ns() + 20 * TIMEOUT_NS;
			unsigned fds = open_fds();
			static struct hostile h;
			struct virtio_device *dev;

			h = (struct hostile){.value = 99};
			assert_int_equal(connect_within(ctx, &h, END_NS, &dev), 0);
			h.spoil = s;
			h.request = last[i];
			front_free(ctx, dev);
			hostile_end(&h);
			assert_true(vdpa_clock_ns() < limit);
			assert_int_equal(open_fds(), fds);
		}
	}
	ctx_del(ctx);
}

/* A device that is broken off under its driver: requests end. */
static void failed(struct virtio_blk_request *req, int result)
{
	assert_int_equal(result, -EIO);
	*(bool *)req->user = true;
}

static void test_hangup_with_requests(void **state)
{
	struct vdpa_ctx *ctx = ctx_new(0);
	static struct hostile h;
	struct virtio_device *dev;
	bool ended = false;
	struct virtio_blk_request req = {
		.type = VIRTIO_BLK_T_FLUSH, .done = failed, .user = &ended};

	h = (struct hostile){0};
	assert_int_equal(connect_to(ctx, &h, &dev), 0);
	assert_int_equal(virtio_blk_submit(virtio_blk_of(dev), 0, &req), 0);
	virtio_blk_kick(virtio_blk_of(dev), 0);
	shutdown(h.sock, SHUT_RDWR);
	fake_until(ctx, ended);
	assert_true(virtio_is_broken(dev));
	front_free(ctx, dev);
	hostile_end(&h);
	ctx_del(ctx);
}

/* ---- what the back end asks ---- */

struct asking {
	struct vdpa_ctx *ctx;
	struct hostile h;
	struct virtio_device *dev;
};

static void ask_up(struct asking *a, bool iommu)
{
	*a = (struct asking){.ctx = ctx_new(0)};
	if (iommu)
		a->h.features = VDPA_BIT(VIRTIO_F_VERSION_1) | VDPA_BIT(VIRTIO_F_ACCESS_PLATFORM) |
				VDPA_BIT(VHOST_USER_F_PROTOCOL_FEATURES);
	assert_int_equal(connect_to(a->ctx, &a->h, &a->dev), 0);
	fake_until(a->ctx, atomic_load(&a->h.backend) >= 0);
}

static void ask_down(struct asking *a)
{
	front_free(a->ctx, a->dev);
	hostile_end(&a->h);
	ctx_del(a->ctx);
}

static void ask(struct asking *a, uint32_t request, uint32_t flags, const void *payload,
		uint32_t size)
{
	struct vhost_user_hdr hdr = {request, flags | VHOST_USER_VERSION, size};
	struct iovec iov[2] = {{&hdr, sizeof(hdr)}, {(void *)(uintptr_t)payload, size}};

	assert_true(vdpa_sock_send(atomic_load(&a->h.backend), iov, payload ? 2 : 1, NULL, 0) > 0);
}

/* @lost: it must end the connection; else it must not. */
static void check_alive(struct asking *a, bool lost)
{
	if (lost) {
		fake_until(a->ctx, !vhost_user_frontend_connected(a->dev));
		return;
	}
	for (unsigned i = 0; i < 20; i++)
		vdpa_loop_run_once(vdpa_ctx_control(a->ctx), 1000000);
	assert_true(vhost_user_frontend_connected(a->dev));
	assert_int_equal(virtio_get_status(a->dev) & VIRTIO_CONFIG_S_DRIVER_OK,
			 VIRTIO_CONFIG_S_DRIVER_OK);
}

static void note_change(void *arg)
{
	++*(unsigned *)arg;
}

static void test_asks_rightly(void **state)
{
	static struct asking a;
	struct __attribute__((packed)) {
		struct vhost_user_hdr hdr;
		uint64_t u64;
	} reply;
	unsigned changes = 0;

	ask_up(&a, false);
	virtio_blk_on_change(virtio_blk_of(a.dev), note_change, &changes);
	ask(&a, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG, VHOST_USER_FLAG_NEED_REPLY, NULL, 0);
	fake_until(a.ctx, changes == 1);
	assert_int_equal(recv(atomic_load(&a.h.backend), &reply, sizeof(reply), MSG_DONTWAIT),
			 sizeof(reply.hdr) + 8);
	assert_int_equal(reply.hdr.flags, VHOST_USER_VERSION | VHOST_USER_FLAG_REPLY);
	/* Something that we do not serve: refused, nothing worse. */
	ask(&a, 1234, VHOST_USER_FLAG_NEED_REPLY, NULL, 0);
	check_alive(&a, false);
	assert_true(recv(atomic_load(&a.h.backend), &reply, sizeof(reply), MSG_DONTWAIT) > 0);
	assert_int_not_equal(reply.u64, 0);
	/* A flood is coalesced, and the loop goes on. */
	for (unsigned i = 0; i < 1000; i++) {
		ask(&a, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG, 0, NULL, 0);
		if (i % 8 == 0)
			vdpa_loop_run_once(vdpa_ctx_control(a.ctx), 0);
	}
	check_alive(&a, false);
	assert_true(changes < 1000);
	ask_down(&a);
}

static void test_asks_wrongly(void **state)
{
	const struct {
		bool iommu;
		uint32_t request, flags, size;
		struct vhost_iotlb_msg msg;
		bool lost;
	} cases[] = {
		/* A translation, without a vIOMMU. */
		{false,
		 VHOST_USER_BACKEND_IOTLB_MSG,
		 0,
		 32,
		 {.iova = 0x100000, .perm = 1, .type = VHOST_IOTLB_MISS},
		 true},
		{true,
		 VHOST_USER_BACKEND_IOTLB_MSG,
		 0,
		 32,
		 {.iova = 0x100000, .perm = 1, .type = VHOST_IOTLB_MISS},
		 false},
		/* One where nothing is: a line in the log. */
		{true,
		 VHOST_USER_BACKEND_IOTLB_MSG,
		 0,
		 32,
		 {.iova = 0x10, .perm = 1, .type = VHOST_IOTLB_MISS},
		 false},
		{true,
		 VHOST_USER_BACKEND_IOTLB_MSG,
		 0,
		 32,
		 {.iova = 0x100000, .perm = 9, .type = VHOST_IOTLB_MISS},
		 true},
		{true,
		 VHOST_USER_BACKEND_IOTLB_MSG,
		 0,
		 32,
		 {.iova = 0x100000, .perm = 1, .type = VHOST_IOTLB_UPDATE},
		 true},
		{true,
		 VHOST_USER_BACKEND_IOTLB_MSG,
		 0,
		 24,
		 {.iova = 0x100000, .perm = 1, .type = VHOST_IOTLB_MISS},
		 true},
		{false, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG, 0, 8, {0}, true},
		{false, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG, 0x2, 0, {0}, true}, /* version 3 */
		{false, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG, VHOST_USER_FLAG_REPLY, 0, {0}, true},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		static struct asking a;
		unsigned updates;

		ask_up(&a, cases[i].iommu);
		updates = a.h.seen[VHOST_USER_IOTLB_MSG];
		ask(&a, cases[i].request, cases[i].flags, cases[i].size ? &cases[i].msg : NULL,
		    cases[i].size);
		check_alive(&a, cases[i].lost);
		/* The one case that is right is answered. */
		assert_int_equal(a.h.seen[VHOST_USER_IOTLB_MSG] - updates, i == 1);
		if (i == 2)
			assert_non_null(strstr(last_log, "nothing is mapped"));
		ask_down(&a);
	}
}

/* Half a request, and then nothing: the deadline ends it. */
static void test_asks_by_halves(void **state)
{
	static struct asking a;

	ask_up(&a, false);
	assert_int_equal(write(atomic_load(&a.h.backend), "\2\0\0\0\1", 5), 5);
	check_alive(&a, true);
	ask_down(&a);
}

/* On the main channel the back end never speaks first. */
static void test_unsolicited(void **state)
{
	struct vhost_user_hdr hdr = {VHOST_USER_GET_FEATURES, 5, 0};
	static struct asking a;

	ask_up(&a, false);
	assert_int_equal(write(a.h.sock, &hdr, sizeof(hdr)), sizeof(hdr));
	check_alive(&a, true);
	ask_down(&a);
}

/* It may give up its channel. */
static void test_closes_channel(void **state)
{
	static struct asking a;

	ask_up(&a, false);
	shutdown(atomic_load(&a.h.backend), SHUT_RDWR);
	check_alive(&a, false);
	ask_down(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_honest),
		cmocka_unit_test(test_configuration_without_offset),
		cmocka_unit_test(test_polling_gives_a_descriptor),
		cmocka_unit_test(test_spoiled_answers),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_spoiled_end),
		cmocka_unit_test(test_hangup_with_requests),
		cmocka_unit_test(test_asks_rightly),
		cmocka_unit_test(test_asks_wrongly),
		cmocka_unit_test(test_asks_by_halves),
		cmocka_unit_test(test_unsolicited),
		cmocka_unit_test(test_closes_channel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
