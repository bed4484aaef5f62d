// SPDX-License-Identifier: BSD-3-Clause
/*
 * Fuzz target: the bus driver vduse, on a kernel that is a stand-in. The input is what the kernel
 * and its driver say: messages of every type with any contents, queues and memory that are told of
 * when asked, features, kicks, and what is in the memory meanwhile.
 *
 * Asserted besides "does not crash": every message is answered, once, with its number and zeroes
 * where nothing is said; the device can be unbound at the end, which leaves nothing in the kernel;
 * and no descriptor stays open.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "vduse_kernel.h"
#include "fuzz_input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MS (SG_SECOND / 1000)
#define MAX_STEPS 400
#define GUEST_BYTES (1u << 20)

struct rig {
	struct vdpa_ctx *ctx;
	struct vdpa_device *vdev;
	struct hold_dev *dev;
	char log[192];
	uint8_t *mem;
	int memfd;
};

static void run(struct rig *r, int64_t ns)
{
	bool never = false;

	vdpa_ctx_wait(r->ctx, &never, ns);
}

/* What is to be done at once. */
static void turn(struct rig *r)
{
	for (unsigned i = 0; i < 4; i++)
		vdpa_loop_run_once(vdpa_ctx_control(r->ctx), 0);
}

static int wait_for(struct rig *r, struct sg_wait *wait)
{
	assert_int_equal(vdpa_ctx_wait(r->ctx, &wait->done, 20 * SG_SECOND), 0);
	return wait->result;
}

/* ---- life ---- */

static void up(struct rig *r, struct input *in)
{
	struct vdpa_ctx_config config = {.size = sizeof(config)};
	struct hold_params params = {.ngroups = 1 + take(in, 1) % 3, .nas = 1};
	struct vdpa_attr attrs[] = {{"log", r->log}, {0}};
	struct vdpa_error err = {.msg = ""};
	struct sg_wait wait = {0};
	struct vdpa_done done = sg_done(&wait);

	params.nas = params.ngroups;
	vk_start();
	vk.api_max = take(in, 1) & 1;
	vk.driver = "vhost_vdpa"; /* whose node is there at once */
	snprintf(r->log, sizeof(r->log), "%s/log", vk.root);
	assert_int_equal(vdpa_ctx_new(&config, &r->ctx), 0);
	assert_int_equal(vdpa_register_builtin(r->ctx), 0);
	r->dev = hold_make(r->ctx, "h0", &params, &err);
	assert_non_null(r->dev);
	assert_int_equal(vdpa_soft_register(&r->dev->soft, &err), 0);
	r->vdev = &r->dev->soft.vdpa;
	r->memfd = memfd_create("guest", MFD_CLOEXEC);
	assert_int_equal(ftruncate(r->memfd, GUEST_BYTES), 0);
	r->mem = mmap(NULL, GUEST_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, r->memfd, 0);
	assert_ptr_not_equal(r->mem, MAP_FAILED);
	assert_int_equal(vdpa_bind(r->vdev, "vduse", attrs, &err), 0);
	assert_int_equal(vdpa_settle(r->vdev, &err, &done), 0);
	assert_int_equal(wait_for(r, &wait), 0);
}

static void down(struct rig *r)
{
	struct sg_wait unbound = {0}, gone = {0};
	struct vdpa_done done = sg_done(&unbound);

	hold_release(r->dev, 0);
	assert_int_equal(vdpa_unbind(r->vdev, &done), 0);
	assert_int_equal(wait_for(r, &unbound), 0);
	assert_false(vk.created);
	done = sg_done(&gone);
	assert_int_equal(vdpa_unregister_device(r->vdev, &done), 0);
	assert_int_equal(wait_for(r, &gone), 0);
	munmap(r->mem, GUEST_BYTES);
	close(r->memfd);
	assert_int_equal(vdpa_ctx_free(r->ctx), 0);
	vk_stop();
}

/* ---- what the kernel says ---- */

/* An address: in the guest's memory mostly, near its edges, or anywhere. */
static uint64_t address(struct input *in)
{
	uint64_t how = take(in, 1), off = take(in, 2) * 16;

	if (how < 200)
		return SG_IOVA + off;
	return how < 220 ? SG_IOVA + GUEST_BYTES - off % 64 : take(in, 8);
}

static void message(struct rig *r, struct input *in)
{
	static const uint8_t steps[] = {0, 1, 3, 11, 15, 15, 11, 0x4f, 0x80, 0};
	struct vduse_dev_request req = {.type = (uint32_t)take(in, 1) % 5};
	struct vduse_dev_response resp;
	uint8_t *raw = (uint8_t *)&req;
	bool answered = false;

	switch (req.type) {
	case VDUSE_GET_VQ_STATE:
		req.vq_state.index = (uint32_t)take(in, 1) % 7;
		break;
	case VDUSE_SET_STATUS:
		req.status = steps[take(in, 1) % sizeof(steps)];
		break;
	case VDUSE_UPDATE_IOTLB:
		req.iova.start = address(in);
		req.iova.last = take(in, 1) & 1 ? UINT64_MAX : address(in);
		req.iova.asid = (uint32_t)take(in, 1) % 4;
		break;
	case VDUSE_SET_VQ_GROUP_ASID:
		req.vq_group_asid.group = (uint32_t)take(in, 1) % 5;
		req.vq_group_asid.asid = (uint32_t)take(in, 1) % 5;
		break;
	default:
		req.type = (uint32_t)take(in, 4);
	}
	/* Any contents, also where nothing should be. */
	for (uint64_t n = take(in, 1) % 8; n > 5; n--)
		raw[8 + take(in, 1) % (sizeof(req) - 8)] = (uint8_t)take(in, 1);
	vk_request(&req);
	for (unsigned i = 0; i < 20000 && !answered; i++) {
		answered = vk_answer(&resp);
		if (!answered && i < 4)
			turn(r);
		else if (!answered)
			run(r, MS / 4);
		/* A reset waits for what the device holds. */
		if (i % 16 == 15)
			for (unsigned q = 0; q < HOLD_QUEUES; q++)
				hold_release(r->dev, q);
	}
	assert_true(answered);
	assert_true(resp.result == VDUSE_REQ_RESULT_OK || resp.result == VDUSE_REQ_RESULT_FAILED);
	assert_false(vk_answer(&resp));
}

/* All that the driver of a small ring would have said, at once. */
static void whole_driver(struct rig *r, struct input *in)
{
	bool packed = take(in, 1) & 1;

	for (unsigned i = 0; i < HOLD_QUEUES; i++) {
		struct vduse_vq_info *info = &vk.info[i];

		*info = (struct vduse_vq_info){.num = 16, .ready = 1};
		info->desc_addr = SG_IOVA + i * 0x4000;
		info->driver_addr = info->desc_addr + 0x1000;
		info->device_addr = info->desc_addr + 0x2000;
		if (packed)
			info->state.packed = (struct vduse_state_packed){1, 0, 1, 0};
	}
	if (vk.map[0].fd < 0)
		vk.map[0] = (struct vk_map){.start = SG_IOVA,
					    .last = SG_IOVA + GUEST_BYTES - 1,
					    .perm = VHOST_MAP_RW,
					    .fd = dup(r->memfd)};
	vk.driver_features = SG_V1 | (packed ? VDPA_BIT(VIRTIO_F_RING_PACKED) : 0);
}

static void queue_info(struct input *in)
{
	struct vduse_vq_info *info = &vk.info[take(in, 1) % HOLD_QUEUES];

	info->num = take(in, 1) & 1 ? 1u << take(in, 1) % 16 : (uint32_t)take(in, 4);
	info->desc_addr = address(in);
	info->driver_addr = address(in);
	info->device_addr = address(in);
	info->ready = (uint8_t)take(in, 1);
	info->state.packed =
		(struct vduse_state_packed){(uint16_t)take(in, 1), (uint16_t)take(in, 2),
					    (uint16_t)take(in, 1), (uint16_t)take(in, 2)};
}

static void region(struct rig *r, struct input *in)
{
	struct vk_map *m = &vk.map[take(in, 1) % VK_MAPS];

	if (m->fd >= 0)
		close(m->fd);
	m->fd = -1;
	if (take(in, 1) & 1)
		return;
	*m = (struct vk_map){.start = address(in) & ~4095ull,
			     .offset = take(in, 1) & 1 ? take(in, 8) : take(in, 1) << 12,
			     .asid = (uint32_t)take(in, 1) % 3,
			     .perm = (uint8_t)take(in, 1) & 3,
			     .fd = dup(r->memfd)};
	m->last = m->start + (take(in, 2) << 12) - 1;
}

static void scribble(struct rig *r, struct input *in)
{
	uint64_t at = take(in, 3) % (GUEST_BYTES - 256);

	for (uint64_t n = take(in, 1); n; n--)
		r->mem[at + n] = (uint8_t)take(in, 1);
}

static void kick(struct rig *r)
{
	for (unsigned i = 0; i < HOLD_QUEUES; i++)
		if (vk.kick[i] >= 0)
			assert_int_equal(write(vk.kick[i], &(uint64_t){1}, 8), 8);
	turn(r);
}

static void step(struct rig *r, struct input *in)
{
	switch (take(in, 1) % 12) {
	case 0:
		queue_info(in);
		break;
	case 1:
		region(r, in);
		break;
	case 2:
		whole_driver(r, in);
		break;
	case 3:
		vk.driver_features = take(in, 1) & 3 ? take(in, 8) & vk.dev.features : take(in, 8);
		break;
	case 4:
	case 5:
		scribble(r, in);
		break;
	case 6:
		kick(r);
		break;
	case 7:
		r->dev->hold = take(in, 1) & 1;
		break;
	default:
		message(r, in);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned fds = open_fds();
	struct input in = {data, size};
	struct rig r = {.memfd = -1};

	/* What is asserted by the stand-in aborts, as it does in every target. */
	setenv("CMOCKA_TEST_ABORT", "1", 1);
	up(&r, &in);
	for (unsigned i = 0; i < MAX_STEPS && in.left; i++)
		step(&r, &in);
	for (unsigned q = 0; q < HOLD_QUEUES; q++)
		hold_release(r.dev, q);
	r.dev->hold = false;
	down(&r);
	assert_int_equal(open_fds(), fds);
	return 0;
}
