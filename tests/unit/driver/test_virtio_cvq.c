// SPDX-License-Identifier: BSD-3-Clause
/*
 * The driver's control queue, on devices that break the rules, one rule each. Whatever they do:
 * each command ends exactly once, the device is reset where it must be, and can be used again.
 */
#include "virtio_test.h"

#define CTRL 2

uint64_t __real_vdpa_clock_ns(void);
uint64_t __wrap_vdpa_clock_ns(void);

/* So that nobody has to wait for ten seconds. */
static _Atomic uint64_t later_ns;

uint64_t __wrap_vdpa_clock_ns(void)
{
	return __real_vdpa_clock_ns() + atomic_load(&later_ns);
}

struct answer {
	unsigned calls;
	int ret;
	size_t bytes;
	uint8_t result[64];
};

struct rig {
	struct vdpa_ctx *ctx;
	struct fake *fake;
	struct virtio_device *dev;
	struct virtio_net *net;
	struct answer answer;
};

/* What it does with the control queue is in @user; of the other queues it keeps everything. */
typedef int64_t (*handler)(struct fake *dev, struct fake_vq *vq, struct fake_req *req);
struct plan {
	handler handle;
	_Atomic unsigned commands;
	uint32_t head; /* of a command that was kept */
};

static int64_t dispatch(struct fake *dev, struct fake_vq *vq, struct fake_req *req)
{
	struct plan *plan = dev->user;

	if (vq->idx != CTRL)
		return -1;
	atomic_fetch_add(&plan->commands, 1);
	return plan->handle(dev, vq, req);
}

static int64_t honest(struct fake *dev, struct fake_vq *vq, struct fake_req *req)
{
	uint8_t *in = req->in[0].iov_base;

	memset(in, 0xab, req->in[0].iov_len);
	in[0] = VIRTIO_NET_OK;
	return (int64_t)req->in[0].iov_len;
}

static void answered(void *arg, int ret, const void *result, size_t bytes)
{
	struct answer *a = arg;

	a->calls++;
	a->ret = ret;
	a->bytes = bytes;
	assert_true(bytes <= sizeof(a->result));
	if (bytes)
		memcpy(a->result, result, bytes);
}

static int command(struct rig *rig, size_t room)
{
	static const uint8_t on = 1;

	return virtio_net_command(rig->net, &(struct virtio_net_command){
						    .class_ = VIRTIO_NET_CTRL_RX,
						    .command = VIRTIO_NET_CTRL_RX_PROMISC,
						    .data = &on,
						    .len = 1,
						    .room = room,
						    .done = answered,
						    .arg = &rig->answer,
					    });
}

static void attached(struct rig *rig)
{
	fake_until(rig->ctx, (rig->net = virtio_net_of(rig->dev)) &&
				     virtio_get_status(rig->dev) & VIRTIO_CONFIG_S_DRIVER_OK);
}

static void up(struct rig *rig, struct plan *plan, handler handle, unsigned workers)
{
	struct virtio_net_config config = {.mac = {2, 0, 0, 0, 0, 1}, .mtu = 1500};
	struct fake_opts opts = {
		.id = VIRTIO_ID_NET,
		.nvqs = 3,
		.async = workers > 0,
		.features = FAKE_BASE_FEATURES | VDPA_BIT(VIRTIO_NET_F_MAC) |
			    VDPA_BIT(VIRTIO_NET_F_STATUS) | VDPA_BIT(VIRTIO_NET_F_CTRL_VQ) |
			    VDPA_BIT(VIRTIO_NET_F_CTRL_RX) | VDPA_BIT(VIRTIO_NET_F_GUEST_ANNOUNCE),
	};

	atomic_store(&later_ns, 0);
	*rig = (struct rig){.ctx = ctx_new(workers)};
	rig->fake = fake_new(rig->ctx, "n0", &opts);
	config.status = VIRTIO_NET_S_LINK_UP;
	memcpy(rig->fake->config, &config, sizeof(config));
	*plan = (struct plan){.handle = handle};
	rig->fake->user = plan;
	rig->fake->handle = dispatch;
	rig->dev = fake_bind(rig->fake, NULL);
	attached(rig);
}

static void down(struct rig *rig)
{
	fake_unbind(rig->fake);
	assert_int_equal(rig->fake->nmaps, 0);
	fake_del(rig->fake);
	ctx_del(rig->ctx);
}

static void run(struct rig *rig, size_t room)
{
	rig->answer = (struct answer){0};
	assert_int_equal(command(rig, room), 0);
	fake_until(rig->ctx, rig->answer.calls);
}

/* After the device broke: no more commands; reset, attach, and it works. */
static void recover(struct rig *rig, struct plan *plan)
{
	struct answer before = rig->answer;
	struct outcome o = {0};

	fake_until(rig->ctx, virtio_is_broken(rig->dev));
	assert_non_null(strstr(last_log, "broken"));
	assert_true(rig->fake->resets >= 1);
	assert_int_equal(rig->fake->status, 0);
	assert_int_equal(command(rig, 0), -EIO);
	assert_int_equal(rig->answer.calls, before.calls);
	plan->handle = honest;
	fake_until(rig->ctx, virtio_reset(rig->dev, &(struct vdpa_done){set_outcome, &o}) == 0);
	fake_until(rig->ctx, o.done);
	assert_int_equal(virtio_attach(rig->dev, NULL, NULL), 0);
	attached(rig);
	run(rig, 3);
	assert_int_equal(rig->answer.ret, 0);
	assert_int_equal(rig->answer.bytes, 3);
}

/* ---- answers that are as they may be ---- */

static int64_t refuses(struct fake *dev, struct fake_vq *vq, struct fake_req *req)
{
	*(uint8_t *)req->in[0].iov_base = VIRTIO_NET_ERR;
	return 1;
}

static int64_t garbage_ack(struct fake *dev, struct fake_vq *vq, struct fake_req *req)
{
	*(uint8_t *)req->in[0].iov_base = 0x5a;
	return (int64_t)req->in[0].iov_len;
}

/* It says that it wrote an answer, and did not: that is no VIRTIO_NET_OK of an earlier one. */
static int64_t nothing_written(struct fake *dev, struct fake_vq *vq, struct fake_req *req)
{
	return (int64_t)req->in[0].iov_len;
}

static int64_t short_result(struct fake *dev, struct fake_vq *vq, struct fake_req *req)
{
	honest(dev, vq, req);
	return 3;
}

static void test_answers(void **state)
{
	static const struct {
		handler handle;
		int ret;
		size_t bytes;
	} cases[] = {
		{honest, 0, 8},
		{refuses, -EREMOTEIO, 0},
		{garbage_ack, -EREMOTEIO, 0},
		{nothing_written, -EREMOTEIO, 0},
		{short_result, 0, 2},
	};
	struct plan plan;
	struct rig rig;

	up(&rig, &plan, honest, 0);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		plan.handle = cases[i].handle;
		run(&rig, 8);
		assert_int_equal(rig.answer.calls, 1);
		assert_int_equal(rig.answer.ret, cases[i].ret);
		assert_int_equal(rig.answer.bytes, cases[i].bytes);
		for (size_t b = 0; b < rig.answer.bytes; b++)
			assert_int_equal(rig.answer.result[b], 0xab);
	}
	assert_false(virtio_is_broken(rig.dev));
	down(&rig);
}

/* ---- answers that cannot be ---- */

static int64_t length_zero(struct fake *dev, struct fake_vq *vq, struct fake_req *req)
{
	honest(dev, vq, req);
	return 0;
}

static int64_t length_beyond(struct fake *dev, struct fake_vq *vq, struct fake_req *req)
{
	return honest(dev, vq, req) + 1;
}

static int64_t length_huge(struct fake *dev, struct fake_vq *vq, struct fake_req *req)
{
	honest(dev, vq, req);
	return UINT32_MAX;
}

static int64_t id_not_out(struct fake *dev, struct fake_vq *vq, struct fake_req *req)
{
	fake_push(dev, vq, (req->head + 3) % vq->num, 1);
	fake_call(vq);
	return -1;
}

static int64_t id_beyond(struct fake *dev, struct fake_vq *vq, struct fake_req *req)
{
	fake_push(dev, vq, vq->num + req->head, 1);
	fake_call(vq);
	return -1;
}

static int64_t index_jumps(struct fake *dev, struct fake_vq *vq, struct fake_req *req)
{
	vq->used = (uint16_t)(vq->used + vq->num + 3);
	fake_push(dev, vq, req->head, 1);
	fake_call(vq);
	return -1;
}

static void test_impossible_answers(void **state)
{
	static const handler breaking[] = {length_zero, length_beyond, length_huge,
					   id_not_out,	id_beyond,     index_jumps};
	struct plan plan;
	struct rig rig;

	for (size_t i = 0; i < 2 * ARRAY_LEN(breaking); i++) {
		up(&rig, &plan, breaking[i / 2], i % 2);
		run(&rig, 8);
		assert_int_equal(rig.answer.calls, 1);
		assert_int_equal(rig.answer.ret, -EIO);
		assert_int_equal(rig.answer.bytes, 0);
		recover(&rig, &plan);
		down(&rig);
	}
}

/* Two at once are more than was asked for: neither counts. */
static int64_t twice(struct fake *dev, struct fake_vq *vq, struct fake_req *req)
{
	honest(dev, vq, req);
	fake_push(dev, vq, req->head, 1);
	return 1;
}

static void test_answered_twice(void **state)
{
	struct plan plan;
	struct rig rig;

	for (unsigned workers = 0; workers < 2; workers++) {
		up(&rig, &plan, twice, workers);
		run(&rig, 0);
		assert_int_equal(rig.answer.ret, -EIO);
		assert_int_equal(rig.answer.calls, 1);
		recover(&rig, &plan);
		down(&rig);
	}
}

/* The first answer is one; the second is to nothing, and must not be looked at for ever. Calls
 * without an answer are legal. */
static void test_answer_to_nothing(void **state)
{
	struct plan plan;
	struct rig rig;

	up(&rig, &plan, honest, 0);
	for (unsigned i = 0; i < 100; i++)
		fake_call(&rig.fake->vqs[CTRL]);
	run(&rig, 0);
	assert_int_equal(rig.answer.ret, 0);
	fake_push(rig.fake, &rig.fake->vqs[CTRL], 0, 1);
	fake_call(&rig.fake->vqs[CTRL]);
	recover(&rig, &plan);
	down(&rig);
}

/* ---- answers that do not come, or late ---- */

static int64_t keeps(struct fake *dev, struct fake_vq *vq, struct fake_req *req)
{
	struct plan *plan = dev->user;

	plan->head = req->head;
	return -1;
}

static void test_never_answered(void **state)
{
	struct fake_vq old;
	struct plan plan;
	struct rig rig;

	for (unsigned workers = 0; workers < 2; workers++) {
		up(&rig, &plan, keeps, workers);
		assert_int_equal(command(&rig, 8), 0);
		fake_until(rig.ctx, atomic_load(&plan.commands) == 1);
		assert_int_equal(command(&rig, 8), -EBUSY);
		/* Not before its time. */
		atomic_store(&later_ns, 5000000000ull);
		vdpa_loop_run_once(vdpa_ctx_control(rig.ctx), 0);
		assert_int_equal(rig.answer.calls, 0);
		atomic_store(&later_ns, 11000000000ull);
		old = rig.fake->vqs[CTRL];
		fake_until(rig.ctx, rig.answer.calls);
		assert_int_equal(rig.answer.ret, -EIO);
		/* It comes late, into a ring that is not its any more: who asked was told. */
		fake_push(rig.fake, &old, plan.head, 1);
		fake_call(&old);
		recover(&rig, &plan);
		assert_int_equal(rig.answer.calls, 1);
		down(&rig);
	}
}

/* Just in time, from a device that took nine seconds: an answer, and the clock is forgotten. */
static void test_late_but_in_time(void **state)
{
	struct fake_vq *vq;
	struct plan plan;
	struct rig rig;

	up(&rig, &plan, keeps, 0);
	vq = &rig.fake->vqs[CTRL];
	assert_int_equal(command(&rig, 0), 0);
	fake_until(rig.ctx, atomic_load(&plan.commands) == 1);
	atomic_store(&later_ns, 9000000000ull);
	*(uint8_t *)fake_at(rig.fake,
			    ((struct vring_desc *)fake_at(rig.fake, vq->desc, 32))[1].addr, 1) =
		VIRTIO_NET_OK;
	fake_push(rig.fake, vq, plan.head, 1);
	fake_call(vq);
	fake_until(rig.ctx, rig.answer.calls);
	assert_int_equal(rig.answer.ret, 0);
	atomic_store(&later_ns, 20000000000ull);
	plan.handle = honest;
	run(&rig, 1);
	assert_int_equal(rig.answer.ret, 0);
	assert_false(virtio_is_broken(rig.dev));
	down(&rig);
}

static void test_ends_with_the_device(void **state)
{
	struct plan plan;
	struct rig rig;

	/* Unbound while a command is out. */
	up(&rig, &plan, keeps, 1);
	assert_int_equal(command(&rig, 0), 0);
	down(&rig);
	assert_int_equal(rig.answer.calls, 1);
	assert_int_equal(rig.answer.ret, -EIO);
	/* It wants a reset meanwhile. */
	up(&rig, &plan, keeps, 0);
	assert_int_equal(command(&rig, 0), 0);
	rig.fake->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	rig.fake->config_cb.callback(rig.fake->config_cb.priv);
	fake_until(rig.ctx, rig.answer.calls);
	assert_int_equal(rig.answer.ret, -EIO);
	recover(&rig, &plan);
	assert_int_equal(rig.answer.calls, 1);
	down(&rig);
}

/* ---- more than it may ask for ---- */

/* It asks to be announced again and again, and never takes the bit away. */
static void test_announce_flood(void **state)
{
	struct virtio_net_config *config;
	struct plan plan;
	struct rig rig;

	up(&rig, &plan, keeps, 0);
	config = (struct virtio_net_config *)(void *)rig.fake->config;
	config->status |= VIRTIO_NET_S_ANNOUNCE;
	for (unsigned i = 0; i < 1000; i++) {
		rig.fake->config_cb.callback(rig.fake->config_cb.priv);
		vdpa_loop_run_once(vdpa_ctx_control(rig.ctx), 0);
	}
	/* One is under way, one more at most is remembered. */
	fake_until(rig.ctx, atomic_load(&plan.commands) == 1);
	assert_int_equal(command(&rig, 0), -EBUSY);
	config->status = VIRTIO_NET_S_LINK_UP;
	plan.handle = honest;
	*(uint8_t *)fake_at(
		rig.fake,
		((struct vring_desc *)fake_at(rig.fake, rig.fake->vqs[CTRL].desc, 32))[1].addr, 1) =
		VIRTIO_NET_OK;
	fake_push(rig.fake, &rig.fake->vqs[CTRL], plan.head, 1);
	fake_call(&rig.fake->vqs[CTRL]);
	fake_until(rig.ctx, command(&rig, 0) == 0);
	fake_until(rig.ctx, rig.answer.calls);
	assert_in_range(atomic_load(&plan.commands), 2, 3);
	down(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_impossible_answers),
		cmocka_unit_test(test_answered_twice),
		cmocka_unit_test(test_answer_to_nothing),
		cmocka_unit_test(test_never_answered),
		cmocka_unit_test(test_late_but_in_time),
		cmocka_unit_test(test_ends_with_the_device),
		cmocka_unit_test(test_announce_flood),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
