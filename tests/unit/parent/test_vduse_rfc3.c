// SPDX-License-Identifier: BSD-3-Clause
/*
 * Device processes of the first published design: every message with every answer that is none, the
 * n-th message and the n-th allocation failing, interrupts, the configuration.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>
#include <uvdpa/compat.h>
#include <uvdpa/vduse.h>
#include <uvdpa/vringh.h>

#include "alloc_fail.h"
#include "vduse_conn.h"
#include "vdpa/vduse_rfc3.h"

#define NAME "vduse5"
#define MEM_BYTES 0x10000u
#define FEATURES (VDPA_BIT(VIRTIO_F_VERSION_1) | VDPA_BIT(VIRTIO_F_ACCESS_PLATFORM))
#define AVAIL 7

enum how {
	GOOD,
	SHORT,	 /* a byte less, and then the answer */
	LONG,	 /* a byte more, and then the answer */
	OTHER,	 /* of another question, and then the answer */
	TWICE,	 /* the answer, twice */
	LATE,	 /* not before the driver has asked for more */
	REFUSED, /* a result that is not 0 */
	LIE,	 /* of the messages that ask: what cannot be */
	MISSING, /* none */
	DEATH,	 /* the process ends instead */
	HOWS,
};

static struct vdpa_ctx *ctx;
static struct vdpa_region *region;
static char path[108];

/* The process. */
static struct {
	int control, control_file, conn, file;
	uint64_t features, accepted;
	uint8_t status, ready;
	struct vduse_rfc3_addr addr;
	uint32_t num;
	uint16_t avail;
	uint8_t space[VDUSE_RFC3_DATA];
	unsigned seen[VDUSE_RFC3_TYPES], total;
	/* What it does wrong: with each message of @type, or (-1) with the @nth. */
	int type;
	unsigned nth;
	enum how how;
	struct vduse_rfc3_response held;
	bool holds;
} proc;

/* ---- the process ---- */

static void turn(void)
{
	vduse_turn(ctx);
}

static void process_opens(void)
{
	vdpa_fd_close(&proc.conn);
	vdpa_fd_close(&proc.file);
	proc.status = proc.ready = 0;
	proc.holds = false;
	proc.file = vduse_open_file(ctx, path, NAME, &proc.conn);
}

static void process_begins(void)
{
	const struct vduse_rfc3_dev dev = {.id = 5,
					   .device_id = VIRTIO_ID_BLOCK,
					   .bounce_bytes = 1 << 20,
					   .vq_num = 1,
					   .vq_size_max = 16,
					   .vq_align = 4096};

	memset(&proc, 0, sizeof(proc));
	proc.control = proc.conn = proc.file = proc.type = -1;
	proc.features = VDPA_BIT(VIRTIO_F_VERSION_1) | VDPA_BIT(VIRTIO_F_RING_PACKED);
	proc.space[0] = 128;
	proc.control_file = vduse_open_file(ctx, path, "control", &proc.control);
	vduse_say(ctx, proc.control, VDUSE_RFC3_CREATE_DEV, &dev, sizeof(dev));
	process_opens();
}

static void get_fd(uint64_t iova)
{
	struct vduse_rfc3_entry e = {.start = iova, .last = iova};
	int fd = vduse_say(ctx, proc.conn, VDUSE_RFC3_IOTLB_GET_FD, &e, sizeof(e));

	vdpa_fd_close(&fd);
}

static void set_status(uint8_t status)
{
	proc.status = status;
	if (!status)
		proc.ready = 0;
	/* From here on it has to be told when memory goes. */
	if (status & VIRTIO_CONFIG_S_DRIVER_OK)
		get_fd(proc.addr.desc);
}

/* What a process does that keeps to the design. */
static void obey(const struct vduse_rfc3_request *req, union vduse_rfc3_payload *said)
{
	const union vduse_rfc3_payload *p = &req->body;

	switch (req->type) {
	case VDUSE_RFC3_SET_VQ_NUM:
		proc.num = p->num.num;
		break;
	case VDUSE_RFC3_SET_VQ_ADDR:
		proc.addr = p->addr;
		break;
	case VDUSE_RFC3_SET_VQ_READY:
		proc.ready = p->ready.ready;
		break;
	case VDUSE_RFC3_SET_VQ_STATE:
		proc.avail = p->state.avail_index;
		break;
	case VDUSE_RFC3_SET_FEATURES:
		proc.accepted = p->features;
		break;
	case VDUSE_RFC3_SET_STATUS:
		set_status(p->status);
		break;
	case VDUSE_RFC3_SET_CONFIG:
		memcpy(proc.space + p->config.offset, p->config.data, p->config.len);
		break;
	case VDUSE_RFC3_GET_VQ_READY:
		said->ready.ready = proc.ready;
		break;
	case VDUSE_RFC3_GET_VQ_STATE:
		said->state.avail_index = AVAIL;
		break;
	case VDUSE_RFC3_GET_FEATURES:
		said->features = proc.features;
		break;
	case VDUSE_RFC3_GET_STATUS:
		said->status = proc.status;
		break;
	case VDUSE_RFC3_GET_CONFIG:
		memcpy(said->config.data, proc.space, p->config.len);
		break;
	default:
		assert_int_equal(req->type, VDUSE_RFC3_UPDATE_IOTLB);
	}
}

static void send_answer(const struct vduse_rfc3_response *resp, size_t bytes)
{
	uint8_t buf[sizeof(*resp) + 1] = {0};

	memcpy(buf, resp, sizeof(*resp));
	send(proc.file, buf, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
	turn();
}

static void process_ends(void)
{
	vdpa_fd_close(&proc.file);
	vdpa_fd_close(&proc.conn);
	turn();
}

static void misbehave(struct vduse_rfc3_response *resp)
{
	struct vduse_rfc3_response other = *resp;

	switch (proc.how) {
	case SHORT:
		send_answer(resp, sizeof(*resp) - 1);
		break;
	case LONG:
		send_answer(resp, sizeof(*resp) + 1);
		break;
	case OTHER:
		other.id += 100;
		send_answer(&other, sizeof(other));
		break;
	case TWICE:
		send_answer(resp, sizeof(*resp));
		break;
	case REFUSED:
		resp->result = -1;
		break;
	case LIE:
		memset(&resp->body, 0, sizeof(resp->body));
		resp->body.status = proc.status ? 0 : 0xff;
		break;
	case LATE:
		proc.held = *resp;
		proc.holds = true;
		return;
	case DEATH:
		process_ends();
		return;
	default:
		return;
	}
	send_answer(resp, sizeof(*resp));
}

static bool is_victim(uint32_t type)
{
	if (proc.how == GOOD)
		return false;
	return proc.type < 0 ? proc.total == proc.nth : proc.type == (int)type;
}

static void process_runs(void)
{
	struct vduse_rfc3_request req;

	while (proc.file >= 0 && recv(proc.file, &req, sizeof(req), MSG_DONTWAIT) == sizeof(req)) {
		struct vduse_rfc3_response resp = {.id = req.id};
		bool victim = is_victim(req.type);

		assert_true(req.type < VDUSE_RFC3_TYPES);
		proc.seen[req.type]++;
		proc.total++;
		obey(&req, &resp.body);
		if (victim)
			misbehave(&resp);
		else
			send_answer(&resp, sizeof(resp));
	}
}

static void release(void)
{
	if (!proc.holds)
		return;
	proc.holds = false;
	proc.how = GOOD;
	send_answer(&proc.held, sizeof(proc.held));
	process_runs();
}

/* ---- the driver ---- */

static struct vdpa_device *dev(void)
{
	return vdpa_find_device(ctx, NAME);
}

static bool is_broken(void)
{
	return vdpa_get_status(dev()) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

static int add(const char *isolation, const char *timeout)
{
	struct vdpa_attr attrs[] = {{"isolation", isolation}, {"msg_timeout_ms", timeout}, {0}};
	struct vdpa_dev_set_config config = {.attrs = attrs};

	return vdpa_dev_add(vdpa_mgmtdev_find(ctx, "vduse"), NAME, &config, NULL);
}

static void set_status_of(struct vdpa_device *d, uint8_t status)
{
	vdpa_set_status(d, status);
	turn();
	process_runs();
}

static void up(struct vdpa_device *d)
{
	vdpa_dma_map(d, 0, MEM_BYTES, MEM_BYTES, vdpa_region_addr(region, 0), VHOST_MAP_RW, region);
	set_status_of(d, 3);
	vdpa_set_features(d, FEATURES);
	set_status_of(d, 11);
	vdpa_set_vq_num(d, 0, 16);
	vdpa_set_vq_address(d, 0, MEM_BYTES, MEM_BYTES + 0x1000, MEM_BYTES + 0x2000);
	vdpa_set_vq_state(d, 0, &(struct vdpa_vq_state){.split.avail_index = AVAIL - 2});
	vdpa_set_vq_ready(d, 0);
	set_status_of(d, 15);
}

static void down(struct vdpa_device *d)
{
	uint8_t byte = 9;

	vdpa_set_config(d, 32, &byte, 1);
	process_runs();
	vdpa_suspend(d, NULL);
	process_runs();
	vdpa_dma_unmap(d, 0, MEM_BYTES, MEM_BYTES, NULL);
	process_runs();
	vdpa_reset(d, NULL);
	process_runs();
}

static void drive(struct vdpa_device *d)
{
	up(d);
	release();
	down(d);
	release();
}

/* With bounce pages queues start and stop on a loop's time. */
static void until(uint8_t status)
{
	for (int i = 0; i < 20000 && proc.status != status; i++) {
		vdpa_loop_run_once(vdpa_ctx_control(ctx), 1000000);
		process_runs();
	}
	assert_int_equal(proc.status, status);
}

/* All of it, by a process that does everything well. */
static void assert_life(void)
{
	proc.how = GOOD;
	until(0);
	up(dev());
	until(15);
	assert_false(is_broken());
	assert_int_equal(proc.ready, 1);
	assert_int_equal(proc.num, 16);
	assert_true(proc.accepted & VDPA_BIT(VIRTIO_F_VERSION_1));
	down(dev());
	until(0);
	assert_int_equal(proc.space[32], 9);
}

static void all_gone(void)
{
	vdpa_fd_close(&proc.file);
	vdpa_fd_close(&proc.conn);
	vdpa_fd_close(&proc.control);
	vdpa_fd_close(&proc.control_file);
	turn();
	vduse_all_gone(ctx, dev());
}

static void begin(void)
{
	assert_int_equal(vduse_listen(ctx, path, NULL, NULL), 0);
	process_begins();
}

static bool is_cut_off(void)
{
	char byte;

	return proc.file < 0 || recv(proc.file, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0;
}

/* There is another process then, and a driver that begins with a reset; with @anew on a device that
 * has time. */
static void recover(const char *isolation, bool anew)
{
	proc.how = GOOD;
	proc.holds = false;
	process_ends();
	if (anew) {
		assert_int_equal(vdpa_dev_del(dev(), NULL, NULL), 0);
		for (int i = 0; i < 20000 && dev(); i++)
			vdpa_loop_run_once(vdpa_ctx_control(ctx), 1000000);
		turn();
	}
	process_opens();
	process_runs();
	if (anew)
		assert_int_equal(add(isolation, "0"), 0);
	vdpa_reset(dev(), NULL);
	process_runs();
	assert_life();
}

/* ---- tests ---- */

static void test_life(void **state)
{
	begin();
	/* Its process has not said yet what it is. */
	assert_int_equal(add("shared", "0"), -EAGAIN);
	process_runs();
	assert_int_equal(add("shared", "0"), 0);
	/* What has no place in its messages is not offered; addresses are IOVAs. */
	assert_int_equal(vdpa_get_device_features(dev()), FEATURES);
	up(dev());
	assert_int_equal(proc.addr.desc, MEM_BYTES);
	assert_int_equal(proc.addr.driver, MEM_BYTES + 0x1000);
	assert_int_equal(proc.addr.device, MEM_BYTES + 0x2000);
	assert_int_equal(proc.avail, AVAIL - 2);
	down(dev());
	assert_life();
	for (unsigned i = 0; i < VDUSE_RFC3_TYPES; i++)
		assert_true(proc.seen[i]);
	all_gone();
}

/* Is a process cut off that answers so? */
static bool is_fatal(int type, enum how how)
{
	if (how == REFUSED)
		return type != VDUSE_RFC3_GET_VQ_STATE && type != VDUSE_RFC3_SET_CONFIG &&
		       type != VDUSE_RFC3_GET_CONFIG;
	if (how == LIE)
		return type == VDUSE_RFC3_GET_VQ_READY || type == VDUSE_RFC3_GET_STATUS ||
		       type == VDUSE_RFC3_GET_FEATURES;
	return how == MISSING || how == DEATH;
}

static void one_answer(const char *isolation, int type, enum how how)
{
	begin();
	process_runs();
	assert_int_equal(add(isolation, how == MISSING ? "20" : "0"), 0);
	proc.type = type;
	proc.how = how;
	/* Asked for when a process opens the device. */
	if (type == VDUSE_RFC3_GET_FEATURES) {
		process_ends();
		process_opens();
		process_runs();
		release();
	}
	drive(dev());
	for (int i = 0; i < 20000 && how == MISSING && !is_cut_off(); i++)
		vdpa_loop_run_once(vdpa_ctx_control(ctx), 1000000);
	if (is_cut_off() != is_fatal(type, how))
		fail_msg("%s: message %d, answer %d", isolation, type, how);
	if (is_fatal(type, how))
		recover(isolation, how == MISSING);
	else
		assert_life();
	all_gone();
}

static void every_answer(const char *isolation)
{
	for (int type = 0; type < VDUSE_RFC3_TYPES; type++) {
		/* With bounce pages nobody has to ask where a ring stands. */
		if (type == VDUSE_RFC3_GET_VQ_STATE && !strcmp(isolation, "bounce"))
			continue;
		for (enum how how = SHORT; how < HOWS; how++)
			one_answer(isolation, type, how);
	}
}

static void test_answers_shared(void **state)
{
	every_answer("shared");
}

static void test_answers_bounce(void **state)
{
	every_answer("bounce");
}

/* In the middle of whatever: the next process is told everything, and the driver notices nothing.
 */
static void test_next_process(void **state)
{
	for (unsigned i = 0; i < 2 * VDUSE_RFC3_TYPES; i++) {
		begin();
		process_runs();
		assert_int_equal(add(i & 1 ? "bounce" : "shared", "0"), 0);
		proc.type = (int)i / 2;
		proc.how = DEATH;
		up(dev());
		proc.how = GOOD;
		process_ends();
		process_opens();
		until(15);
		assert_false(is_broken());
		assert_int_equal(proc.num, 16);
		assert_int_equal(proc.ready, 1);
		all_gone();
	}
}

static bool nth_fails(const char *isolation, unsigned n, enum how how)
{
	bool reached;

	begin();
	proc.nth = n;
	proc.how = how;
	process_runs();
	if (add(isolation, "0")) {
		proc.how = GOOD;
		process_opens();
		process_runs();
		assert_int_equal(add(isolation, "0"), 0);
	}
	drive(dev());
	reached = proc.total > n;
	if (is_cut_off())
		recover(isolation, false);
	else
		assert_life();
	all_gone();
	return reached;
}

static void test_nth_message(void **state)
{
	static const enum how hows[] = {REFUSED, DEATH};

	for (unsigned i = 0; i < 4; i++) {
		unsigned n = 0;

		while (nth_fails(i & 1 ? "shared" : "bounce", n, hows[i / 2]))
			n++;
		assert_true(n > 20);
	}
}

static void alloc(const char *isolation)
{
	for (alloc_fail_begin(); alloc_fail_more();) {
		memset(&proc, 0, sizeof(proc));
		proc.control = proc.control_file = proc.conn = proc.file = -1;
		if (!vduse_listen(ctx, path, NULL, NULL)) {
			process_begins();
			process_runs();
			if (!add(isolation, "0"))
				drive(dev());
		}
		alloc_fail_off();
		all_gone();
	}
}

static void test_alloc_shared(void **state)
{
	alloc("shared");
}

static void test_alloc_bounce(void **state)
{
	alloc("bounce");
}

/* ---- interrupts ---- */

static void count(void *priv)
{
	++*(unsigned *)priv;
}

static int setup_fd(uint32_t cmd, uint32_t index, int32_t number, int fd)
{
	const struct vduse_vq_eventfd e = {.index = index, .fd = number};
	int result;

	vduse_say_fd(ctx, proc.conn,
		     (struct vduse_wire_request){
			     .type = VDUSE_WIRE_IOCTL, .cmd = cmd, .bytes = sizeof(e)},
		     &e, fd, &result);
	return result;
}

static void test_irqfd(void **state)
{
	int irq = eventfd(0, EFD_CLOEXEC), kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
	    pipe_fd[2];
	unsigned calls = 0;
	uint64_t value;

	assert_int_equal(pipe(pipe_fd), 0);
	begin();
	process_runs();
	assert_int_equal(add("shared", "0"), 0);
	/* Once, before anything: they stay when the device is reset. */
	assert_int_equal(setup_fd(VDUSE_RFC3_VQ_SETUP_IRQFD, 0, 1, irq), 0);
	assert_int_equal(setup_fd(VDUSE_RFC3_VQ_SETUP_KICKFD, 0, 1, kick), 0);
	assert_int_equal(setup_fd(VDUSE_RFC3_VQ_SETUP_IRQFD, 1, 1, irq), -EINVAL);
	assert_int_equal(setup_fd(VDUSE_RFC3_VQ_SETUP_IRQFD, 0, 1, -1), -EBADF);
	assert_int_equal(setup_fd(VDUSE_RFC3_VQ_SETUP_IRQFD, 0, 1, pipe_fd[1]), -EINVAL);
	assert_int_equal(setup_fd(VDUSE_VQ_SETUP_KICKFD, 0, 1, kick), -ENOTTY);
	for (unsigned life = 1; life <= 2; life++) {
		vdpa_set_vq_cb(
			dev(), 0,
			&(struct vdpa_callback){.callback = count, .priv = &calls, .trigger = -1});
		/* Before the driver runs there is nobody to call. */
		eventfd_write(irq, 1);
		turn();
		assert_int_equal(calls, 3 * (life - 1));
		up(dev());
		/* A start is a kick. */
		assert_int_equal(eventfd_read(kick, &value), 0);
		for (unsigned i = 1; i <= 3; i++) {
			eventfd_write(irq, UINT32_MAX);
			turn();
			assert_int_equal(calls, 3 * (life - 1) + i);
		}
		vdpa_kick_vq(dev(), 0);
		assert_int_equal(eventfd_read(kick, &value), 0);
		down(dev());
	}
	/* What a process raised before it died is not lost. */
	up(dev());
	vdpa_set_vq_cb(dev(), 0,
		       &(struct vdpa_callback){.callback = count, .priv = &calls, .trigger = -1});
	eventfd_write(irq, 1);
	process_ends();
	assert_int_equal(calls, 7);
	eventfd_write(irq, 1);
	turn();
	assert_int_equal(calls, 7);
	close(irq);
	close(kick);
	close(pipe_fd[0]);
	close(pipe_fd[1]);
	all_gone();
}

/* A driver that resets the device when it is called, without memory for it. */
static void reset_at_once(void *priv)
{
	alloc_fail_countdown = *(long *)priv;
	vdpa_reset(dev(), NULL);
	alloc_fail_off();
}

/* An ioctl calls the driver, and the device breaks meanwhile: the process is cut off in the middle
 * of its own call. */
static void test_broken_in_an_ioctl(void **state)
{
	struct vduse_vq_eventfd e = {.index = 0};
	struct vduse_wire_request head = {
		.type = VDUSE_WIRE_IOCTL, .cmd = VDUSE_RFC3_VQ_SETUP_IRQFD, .bytes = sizeof(e)};
	struct iovec iov[2] = {{&head, sizeof(head)}, {&e, sizeof(e)}};
	int irq = eventfd(0, EFD_CLOEXEC), other = eventfd(0, EFD_CLOEXEC);
	unsigned broken = 0;

	for (unsigned i = 0; i < 8; i++) {
		long n = i / 2;

		begin();
		process_runs();
		assert_int_equal(add("shared", "0"), 0);
		assert_int_equal(setup_fd(VDUSE_RFC3_VQ_SETUP_IRQFD, 0, 1, irq), 0);
		up(dev());
		vdpa_set_vq_cb(dev(), 0,
			       &(struct vdpa_callback){
				       .callback = reset_at_once, .priv = &n, .trigger = -1});
		/* The ioctl comes first, and finds the interrupt. */
		e.fd = i & 1 ? other : VDUSE_EVENTFD_DEASSIGN;
		assert_true(vdpa_sock_send(proc.conn, iov, 2, &other, i & 1) > 0);
		eventfd_write(irq, 1);
		turn();
		if (is_cut_off())
			broken++;
		else
			process_runs();
		all_gone();
		eventfd_write(other, 1);
		turn();
	}
	assert_true(broken > 1);
	close(irq);
	close(other);
}

/* ---- configuration ---- */

/* The driver reads what it wrote, until the process says something else; then it is told. */
static void test_config(void **state)
{
	unsigned calls = 0;
	uint8_t byte = 0xaa;
	uint32_t generation;

	begin();
	process_runs();
	assert_int_equal(add("shared", "0"), 0);
	assert_int_equal(vdpa_get_config_size(dev()), 60);
	up(dev());
	vdpa_set_config_cb(
		dev(), &(struct vdpa_callback){.callback = count, .priv = &calls, .trigger = -1});
	generation = vdpa_get_generation(dev());
	assert_int_equal(vdpa_set_config(dev(), 32, &byte, 1), 0);
	process_runs();
	assert_int_equal(proc.space[32], 0xaa);
	assert_int_equal(vdpa_get_generation(dev()), generation);
	assert_int_equal(calls, 0);
	proc.type = VDUSE_RFC3_SET_CONFIG;
	proc.how = REFUSED;
	proc.space[33] = 5;
	byte = 0xbb;
	vdpa_set_config(dev(), 33, &byte, 1);
	vdpa_get_config(dev(), 33, &byte, 1);
	assert_int_equal(byte, 0xbb);
	/* Its own copy is what it was: obey() is not what a process does that refuses. */
	proc.how = GOOD;
	process_runs();
	proc.space[33] = 5;
	vdpa_set_config(dev(), 34, &byte, 1);
	process_runs();
	vdpa_get_config(dev(), 33, &byte, 1);
	assert_int_equal(byte, 5);
	assert_int_equal(calls, 1);
	assert_int_equal(vdpa_get_generation(dev()), generation + 1);
	all_gone();
}

/* A driver that writes faster than the process reads: what is lost is the driver's, not memory. */
static void test_config_flood(void **state)
{
	uint8_t byte;

	begin();
	process_runs();
	assert_int_equal(add("shared", "0"), 0);
	up(dev());
	for (unsigned i = 0; i < 5000; i++) {
		byte = (uint8_t)i;
		assert_int_equal(vdpa_set_config(dev(), 32, &byte, 1), 0);
	}
	proc.seen[VDUSE_RFC3_SET_CONFIG] = 0;
	process_runs();
	assert_int_equal(proc.seen[VDUSE_RFC3_SET_CONFIG], 1024);
	vdpa_get_config(dev(), 32, &byte, 1);
	assert_int_equal(byte, proc.space[32]);
	all_gone();
}

/* A ring that stands where the driver says it does, and is empty. */
static void set_ring(void)
{
	const uint16_t idx = AVAIL - 2;
	uint8_t *base = vdpa_region_base(region);

	memcpy(base + 0x1002, &idx, sizeof(idx));
	memcpy(base + 0x2002, &idx, sizeof(idx));
}

/* ---- bounce pages ---- */

static bool pulls_less;

size_t __real_vringh_iov_pull(const struct vringh_chain *chain, uint64_t off, void *buf,
			      size_t len);
size_t __wrap_vringh_iov_pull(const struct vringh_chain *chain, uint64_t off, void *buf,
			      size_t len);

size_t __wrap_vringh_iov_pull(const struct vringh_chain *chain, uint64_t off, void *buf, size_t len)
{
	return __real_vringh_iov_pull(chain, off, buf, len - pulls_less);
}

/* 16 bytes to read, one to write, the next in the ring (virtio 1.3, section 2.7). */
static void add_request(void)
{
	struct {
		uint64_t addr;
		uint32_t len;
		uint16_t flags, next;
	} desc[2] = {{MEM_BYTES + 0x3000, 16, 1, 1}, {MEM_BYTES + 0x4000, 1, 2, 0}};
	uint8_t *base = vdpa_region_base(region);
	uint16_t idx;

	memcpy(base, desc, sizeof(desc));
	memcpy(&idx, base + 0x1002, sizeof(idx));
	memset(base + 0x1004 + 2 * (idx % 16), 0, 2);
	idx++;
	memcpy(base + 0x1002, &idx, sizeof(idx));
}

/* What cannot be read as a whole does not reach the process. */
static void test_short_read(void **state)
{
	int kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	uint64_t value;

	begin();
	process_runs();
	assert_int_equal(add("bounce", "0"), 0);
	assert_int_equal(setup_fd(VDUSE_RFC3_VQ_SETUP_KICKFD, 0, 1, kick), 0);
	for (unsigned i = 0; i < 2; i++) {
		pulls_less = i;
		up(dev());
		until(15);
		eventfd_read(kick, &value);
		add_request();
		vdpa_kick_vq(dev(), 0);
		for (int k = 0; k < 20000 && !is_broken() && eventfd_read(kick, &value); k++)
			vdpa_loop_run_once(vdpa_ctx_control(ctx), 1000000);
		assert_int_equal(is_broken(), pulls_less);
		assert_int_equal(eventfd_read(kick, &value), -1);
		set_ring();
		vdpa_reset(dev(), NULL);
		until(0);
	}
	pulls_less = false;
	close(kick);
	all_gone();
}

/* ---- other ends ---- */

static int create(struct vduse_rfc3_dev dev)
{
	int result;

	vduse_say_fd(ctx, proc.control,
		     (struct vduse_wire_request){.type = VDUSE_WIRE_IOCTL,
						 .cmd = VDUSE_RFC3_CREATE_DEV,
						 .bytes = sizeof(dev)},
		     &dev, -1, &result);
	return result;
}

static int destroy(uint32_t id)
{
	int result;

	vduse_say_fd(ctx, proc.control,
		     (struct vduse_wire_request){.type = VDUSE_WIRE_IOCTL,
						 .cmd = VDUSE_RFC3_DESTROY_DEV,
						 .bytes = sizeof(id)},
		     &id, -1, &result);
	return result;
}

static void test_create(void **state)
{
	const struct vduse_rfc3_dev good = {.id = 6,
					    .device_id = VIRTIO_ID_NET,
					    .vq_num = 2,
					    .vq_size_max = 16,
					    .vq_align = 64};
	struct vduse_rfc3_dev bad = good;

	begin();
	bad.vq_size_max = 0;
	assert_int_equal(create(bad), -EINVAL);
	bad.vq_size_max = 32769;
	assert_int_equal(create(bad), -EINVAL);
	bad = good;
	bad.vq_align = 3;
	assert_int_equal(create(bad), -EINVAL);
	bad = good;
	bad.device_id = 0;
	assert_int_equal(create(bad), -EINVAL);
	assert_int_equal(create(good), 0);
	assert_int_equal(create(good), -EEXIST);
	assert_int_equal(destroy(6), 0);
	assert_int_equal(destroy(6), -EINVAL);
	assert_int_equal(destroy(5), -EBUSY);
	all_gone();
}

static void test_memory(void **state)
{
	struct vduse_rfc3_entry e = {.start = MEM_BYTES, .last = MEM_BYTES};
	unsigned before;
	int fd;

	begin();
	process_runs();
	assert_int_equal(add("shared", "0"), 0);
	up(dev());
	fd = vduse_say(ctx, proc.conn, VDUSE_RFC3_IOTLB_GET_FD, &e, sizeof(e));
	assert_true(fd >= 0);
	close(fd);
	/* More memory, while it runs: it is told, once for all that came meanwhile. */
	before = proc.seen[VDUSE_RFC3_UPDATE_IOTLB];
	for (unsigned i = 2; i < 6; i++)
		vdpa_dma_map(dev(), 0, i * MEM_BYTES, MEM_BYTES, vdpa_region_addr(region, 0),
			     VHOST_MAP_RW, region);
	process_runs();
	assert_int_equal(proc.seen[VDUSE_RFC3_UPDATE_IOTLB], before + 2);
	e.start = 3;
	e.last = 2;
	assert_int_equal(vduse_say(ctx, proc.conn, VDUSE_RFC3_IOTLB_GET_FD, &e, sizeof(e)), -1);
	all_gone();
}

static int set_up(void **state)
{
	snprintf(path, sizeof(path), "/tmp/uvdpa-test-rfc3.%d", (int)getpid());
	if (vduse_set_up(&ctx, &region, MEM_BYTES))
		return -1;
	set_ring();
	return 0;
}

static int tear_down(void **state)
{
	return vduse_tear_down(ctx, region);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_life),	       cmocka_unit_test(test_answers_shared),
		cmocka_unit_test(test_answers_bounce), cmocka_unit_test(test_next_process),
		cmocka_unit_test(test_nth_message),    cmocka_unit_test(test_alloc_shared),
		cmocka_unit_test(test_alloc_bounce),   cmocka_unit_test(test_irqfd),
		cmocka_unit_test(test_config),	       cmocka_unit_test(test_config_flood),
		cmocka_unit_test(test_create),	       cmocka_unit_test(test_memory),
		cmocka_unit_test(test_short_read),     cmocka_unit_test(test_broken_in_an_ioctl),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
