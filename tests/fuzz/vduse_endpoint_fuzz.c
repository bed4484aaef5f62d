// SPDX-License-Identifier: BSD-3-Clause
/*
 * Fuzz target: the endpoint for device processes. The input is a program of what processes do
 * (connections, ioctls that are mostly right, answers, bytes that are nothing) and of what a driver
 * does meanwhile, with memory shared and with bounce pages; of both designs of VDUSE.
 *
 * Asserted besides "does not crash": after every input the devices can be deleted, the context
 * goes, and no descriptor is left.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uvdpa/compat.h>
#include <uvdpa/vduse.h>

#include "base/fd.h"
#include "base/unix.h"
#include "fuzz_input.h"
#include "vdpa/vduse_rfc3.h"
#include "vdpa/vduse_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CONNS 4
#define STEPS 120
#define IOVA 0x10000u
#define MEM_BYTES 0x10000u

static char path[108];
static int event_fd = -1;
static struct vdpa_region *region;
static unsigned baseline;

struct conn {
	int sock, file;
	uint32_t id; /* of the last request that was read */
	/* Of the first design: what it was, and the status that was set. */
	bool rfc3;
	uint32_t type;
	uint8_t status;
};

struct fuzz {
	struct vdpa_ctx *ctx;
	struct conn conn[CONNS];
	struct input *in;
	const char *name; /* of the device */
};

static const uint32_t cmds[] = {
	VDUSE_GET_API_VERSION,	    VDUSE_SET_API_VERSION,	 VDUSE_CREATE_DEV,
	VDUSE_DESTROY_DEV,	    VDUSE_IOTLB_GET_FD,		 VDUSE_DEV_GET_FEATURES,
	VDUSE_DEV_SET_CONFIG,	    VDUSE_DEV_INJECT_CONFIG_IRQ, VDUSE_VQ_SETUP,
	VDUSE_VQ_GET_INFO,	    VDUSE_VQ_SETUP_KICKFD,	 VDUSE_VQ_INJECT_IRQ,
	VDUSE_IOTLB_GET_INFO,	    VDUSE_IOTLB_GET_FD2,	 VDUSE_VQ_SETUP,
	VDUSE_CREATE_DEV,	    VDUSE_VQ_INJECT_IRQ,	 0x81fe,
	VDUSE_RFC3_CREATE_DEV,	    VDUSE_RFC3_DESTROY_DEV,	 VDUSE_RFC3_IOTLB_GET_FD,
	VDUSE_RFC3_VQ_SETUP_KICKFD, VDUSE_RFC3_VQ_SETUP_IRQFD,
};

/* ---- processes ---- */

static void settle(struct fuzz *f)
{
	uint8_t buf[VDUSE_WIRE_REPLY_MAX];
	struct vduse_wire_reply head;
	struct vdpa_fds fds;
	ssize_t n;

	for (int i = 0; i < 8 && vdpa_loop_run_once(vdpa_ctx_control(f->ctx), 0) > 0; i++)
		;
	for (struct conn *c = f->conn; c < f->conn + CONNS; c++) {
		while (c->sock >= 0 &&
		       (n = vdpa_sock_recv(c->sock, buf, sizeof(buf), &fds, MSG_DONTWAIT)) > 0) {
			assert((size_t)n >= sizeof(head));
			memcpy(&head, buf, sizeof(head));
			assert(head.bytes == (size_t)n - sizeof(head));
			if (head.type == VDUSE_WIRE_OPEN && c->file < 0)
				c->file = vdpa_fds_take(&fds, 0);
			vdpa_fds_close(&fds);
		}
	}
}

static void close_conn(struct conn *c)
{
	vdpa_fd_close(&c->sock);
	vdpa_fd_close(&c->file);
}

static void send_request(const struct conn *c, struct vduse_wire_request head, const void *arg,
			 int fd)
{
	struct iovec iov[2] = {{&head, sizeof(head)}, {(void *)(uintptr_t)arg, head.bytes}};

	vdpa_sock_send(c->sock, iov, head.bytes ? 2 : 1, &fd, fd >= 0);
}

static void open_name(struct conn *c, const char *name)
{
	struct vduse_wire_open open = {.name = ""};
	struct sockaddr_un addr;

	close_conn(c);
	if (name)
		strcpy(open.name, name);
	else
		memset(open.name, 'x', sizeof(open.name));
	assert(!vdpa_unix_address(path, &addr, NULL));
	c->sock = vdpa_unix_socket(SOCK_SEQPACKET);
	assert(c->sock >= 0);
	if (connect(c->sock, (struct sockaddr *)&addr, sizeof(addr)))
		close_conn(c);
	else
		send_request(c,
			     (struct vduse_wire_request){.type = VDUSE_WIRE_OPEN,
							 .cmd = VDUSE_WIRE_VERSION,
							 .bytes = sizeof(open)},
			     &open, -1);
}

static void do_open(struct fuzz *f, struct conn *c)
{
	uint8_t which = (uint8_t)take(f->in, 1);

	open_name(c, which & 1 ? "control" : which >> 1 ? f->name : NULL);
}

/* What would be right, before the input changes a byte or two of it. */
static void fill(uint32_t cmd, uint8_t *arg)
{
	struct vduse_dev_config config = {.name = "a",
					  .device_id = VIRTIO_ID_BLOCK,
					  .features = VDPA_BIT(VIRTIO_F_VERSION_1) |
						      VDPA_BIT(VIRTIO_F_ACCESS_PLATFORM),
					  .vq_num = 2,
					  .vq_align = 4096,
					  .config_size = 60};
	struct vduse_vq_config vq = {.max_size = 16};
	struct vduse_iotlb_entry entry = {.last = UINT64_MAX};
	struct vduse_rfc3_dev dev = {.id = 1,
				     .device_id = VIRTIO_ID_BLOCK,
				     .bounce_bytes = 1 << 20,
				     .vq_num = 2,
				     .vq_size_max = 16,
				     .vq_align = 4096};

	if (cmd == VDUSE_CREATE_DEV)
		memcpy(arg, &config, sizeof(config));
	else if (cmd == VDUSE_DESTROY_DEV)
		memcpy(arg, config.name, sizeof(config.name));
	else if (cmd == VDUSE_VQ_SETUP)
		memcpy(arg, &vq, sizeof(vq));
	else if (cmd == VDUSE_IOTLB_GET_FD || cmd == VDUSE_IOTLB_GET_FD2 ||
		 cmd == VDUSE_IOTLB_GET_INFO || cmd == VDUSE_RFC3_IOTLB_GET_FD)
		memcpy(arg, &entry, sizeof(entry.offset) * 3);
	else if (cmd == VDUSE_RFC3_CREATE_DEV)
		memcpy(arg, &dev, sizeof(dev));
	else if (cmd == VDUSE_RFC3_DESTROY_DEV)
		memcpy(arg, &dev.id, sizeof(dev.id));
}

static void do_ioctl(struct fuzz *f, struct conn *c)
{
	uint8_t arg[VDUSE_WIRE_ARG_MAX] = {0}, how = (uint8_t)take(f->in, 1);
	uint32_t cmd = cmds[take(f->in, 1) % (sizeof(cmds) / sizeof(cmds[0]))];
	const struct vduse_ioctl *ioctl = vduse_ioctl_find(cmd);
	struct vduse_wire_request head = {.type = VDUSE_WIRE_IOCTL, .cmd = cmd};

	fill(cmd, arg);
	arg[0] ^= how & 1 && (cmd == VDUSE_VQ_SETUP || cmd == VDUSE_RFC3_VQ_SETUP_IRQFD ||
			      cmd == VDUSE_RFC3_VQ_SETUP_KICKFD);
	for (unsigned n = how >> 6; n; n--)
		arg[take(f->in, 2) % 400] = (uint8_t)take(f->in, 1);
	head.bytes = ioctl ? (uint32_t)vduse_ioctl_bytes(ioctl, arg) : 8;
	if ((how & 0x3e) == 0x3e)
		head.bytes = (uint32_t)(take(f->in, 2) % sizeof(arg));
	send_request(c, head, arg, how & 2 ? event_fd : -1);
}

static size_t linux_answer(struct fuzz *f, const struct conn *c, uint8_t how, uint32_t id,
			   void *buf)
{
	struct vduse_dev_response resp = {.request_id = id};

	resp.result = (how & 0x7e) == 0x7e;
	resp.vq_state.index = (how >> 1) & 1;
	resp.vq_state.state.avail_index = (uint16_t)take(f->in, 2);
	memcpy(buf, &resp, sizeof(resp));
	return sizeof(resp);
}

/* Mostly what would be right, too: a wrong one is the end of a device. */
static size_t rfc3_answer(struct fuzz *f, const struct conn *c, uint8_t how, uint32_t id, void *buf)
{
	struct vduse_rfc3_response resp;

	memset(&resp, 0, sizeof(resp));
	resp.id = id;
	resp.result = (how & 0x7e) == 0x7e;
	if (c->type == VDUSE_RFC3_GET_STATUS)
		resp.body.status = c->status;
	else if (c->type == VDUSE_RFC3_GET_VQ_READY)
		resp.body.ready.ready = 1;
	else if (c->type == VDUSE_RFC3_GET_FEATURES)
		resp.body.features = VDPA_BIT(VIRTIO_F_VERSION_1);
	if ((how & 0x78) == 0x70)
		resp.body.features = take(f->in, 8);
	memcpy(buf, &resp, sizeof(resp));
	return sizeof(resp);
}

static void read_request(struct conn *c)
{
	uint8_t buf[512];
	struct vduse_rfc3_request req;
	ssize_t n = recv(c->file, buf, sizeof(buf), MSG_DONTWAIT);

	if (n <= 0)
		return;
	memcpy(&c->id, buf + sizeof(c->type), sizeof(c->id));
	c->rfc3 = n == sizeof(req);
	if (!c->rfc3)
		return;
	memcpy(&req, buf, sizeof(req));
	c->type = req.type;
	assert(req.type < VDUSE_RFC3_TYPES);
	if (req.type == VDUSE_RFC3_SET_STATUS)
		c->status = req.body.status;
}

static void do_answer(struct fuzz *f, struct conn *c)
{
	uint8_t how = (uint8_t)take(f->in, 1), buf[512];
	uint32_t id;
	size_t n;

	if (c->file < 0)
		return;
	read_request(c);
	id = how & 1 && !(how & 0x70) ? (uint32_t)take(f->in, 1) : c->id;
	n = c->rfc3 ? rfc3_answer(f, c, how, id, buf) : linux_answer(f, c, how, id, buf);
	send(c->file, buf, (how & 0x1c) == 0x1c ? take(f->in, 1) % n : n,
	     MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void do_raw(struct fuzz *f, struct conn *c)
{
	uint8_t buf[64];
	size_t n = take(f->in, 1) % sizeof(buf);

	for (size_t i = 0; i < n; i++)
		buf[i] = (uint8_t)take(f->in, 1);
	send(c->file >= 0 && n & 1 ? c->file : c->sock, buf, n, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void process_step(struct fuzz *f, uint8_t op)
{
	struct conn *c = &f->conn[take(f->in, 1) % CONNS];

	if (op == 0 || c->sock < 0)
		do_open(f, c);
	else if (op < 6)
		do_ioctl(f, c);
	else if (op < 10)
		do_answer(f, c);
	else if (op == 10)
		do_raw(f, c);
	else
		close_conn(c);
}

/* ---- the driver ---- */

static void add_device(struct fuzz *f)
{
	struct vdpa_attr attrs[] = {{"isolation", take(f->in, 1) & 1 ? "bounce" : "shared"},
				    {"bounce_size", "1M"},
				    {"msg_timeout_ms", "60000"},
				    {0}};
	struct vdpa_dev_set_config config = {.attrs = attrs};

	vdpa_dev_add(vdpa_mgmtdev_find(f->ctx, "vduse"), f->name, &config, NULL);
}

static void up(struct vdpa_device *dev)
{
	uint64_t addr = vdpa_region_addr(region, 0);

	vdpa_dma_map(dev, 0, IOVA, MEM_BYTES, addr, VHOST_MAP_RW, region);
	vdpa_set_status(dev, 3);
	vdpa_set_features(dev,
			  vdpa_get_device_features(dev) & (VDPA_BIT(VIRTIO_F_VERSION_1) |
							   VDPA_BIT(VIRTIO_F_ACCESS_PLATFORM)));
	vdpa_set_status(dev, 11);
	for (uint16_t i = 0; i < dev->nvqs && i < 2; i++) {
		vdpa_set_vq_num(dev, i, 16);
		vdpa_set_vq_address(dev, i, IOVA + i * 0x4000u, IOVA + i * 0x4000u + 0x1000,
				    IOVA + i * 0x4000u + 0x2000);
	}
}

static void driver_step(struct fuzz *f)
{
	struct vdpa_device *dev = vdpa_find_device(f->ctx, f->name);
	uint8_t op = (uint8_t)take(f->in, 1);
	uint16_t idx = (op >> 4) & 1;
	struct vdpa_vq_state state;
	uint8_t config[8] = {0};

	if (!dev) {
		add_device(f);
		return;
	}
	switch (op & 15) {
	case 0:
	case 1:
		up(dev);
		break;
	case 2:
	case 3:
		vdpa_set_vq_ready(dev, idx);
		break;
	case 4:
	case 5:
		vdpa_set_status(dev, 15);
		break;
	case 6:
		vdpa_stop_vq(dev, idx, NULL);
		break;
	case 7:
		vdpa_reset(dev, NULL);
		break;
	case 8:
		vdpa_suspend(dev, NULL);
		break;
	case 9:
		vdpa_resume(dev);
		break;
	case 10:
		vdpa_dma_unmap(dev, 0, IOVA, MEM_BYTES, NULL);
		break;
	case 11:
		vdpa_get_vq_state(dev, idx, &state);
		vdpa_get_config(dev, 0, config, sizeof(config));
		break;
	case 12:
		if (!(op >> 4))
			vdpa_dev_del(dev, NULL, NULL);
		break;
	case 13:
		vdpa_set_config(dev, op & 1, config, sizeof(config));
		break;
	default:
		vdpa_kick_vq(dev, idx);
	}
}

/* ---- one input ---- */

static void begin(struct fuzz *f)
{
	struct vdpa_ctx_config config = {.size = sizeof(config)};

	for (struct conn *c = f->conn; c < f->conn + CONNS; c++)
		*c = (struct conn){.sock = -1, .file = -1};
	assert(!vdpa_ctx_new(&config, &f->ctx));
	assert(!vdpa_register_builtin(f->ctx));
	assert(!vduse_listen(f->ctx, path, NULL, NULL));
}

static void say(struct fuzz *f, struct conn *c, uint32_t cmd, uint8_t first)
{
	const struct vduse_ioctl *ioctl = vduse_ioctl_find(cmd);
	uint8_t arg[VDUSE_WIRE_ARG_MAX] = {0};

	fill(cmd, arg);
	arg[0] |= first;
	send_request(c,
		     (struct vduse_wire_request){.type = VDUSE_WIRE_IOCTL,
						 .cmd = cmd,
						 .bytes = (uint32_t)vduse_ioctl_bytes(ioctl, arg)},
		     arg, -1);
	settle(f);
}

/* A device that works, so that inputs get further than to make one. */
static void running(struct fuzz *f, bool rfc3)
{
	struct vdpa_device *dev;

	open_name(&f->conn[0], "control");
	settle(f);
	say(f, &f->conn[0], rfc3 ? VDUSE_RFC3_CREATE_DEV : VDUSE_CREATE_DEV, 0);
	open_name(&f->conn[1], f->name);
	settle(f);
	if (!rfc3) {
		say(f, &f->conn[1], VDUSE_VQ_SETUP, 0);
		say(f, &f->conn[1], VDUSE_VQ_SETUP, 1);
	}
	/* GET_FEATURES, GET_CONFIG. */
	for (int i = 0; rfc3 && i < 2; i++) {
		struct input none = {NULL, 0};
		struct input *in = f->in;

		f->in = &none;
		do_answer(f, &f->conn[1]);
		f->in = in;
		settle(f);
	}
	add_device(f);
	dev = vdpa_find_device(f->ctx, f->name);
	assert(dev);
	up(dev);
	vdpa_set_vq_ready(dev, 0);
	vdpa_set_vq_ready(dev, 1);
	vdpa_set_status(dev, 15);
	settle(f);
}

static void end(struct fuzz *f)
{
	struct vdpa_device *dev = vdpa_find_device(f->ctx, f->name);

	for (struct conn *c = f->conn; c < f->conn + CONNS; c++)
		close_conn(c);
	settle(f);
	if (dev)
		vdpa_dev_del(dev, NULL, NULL);
	for (int i = 0; i < 1000 && vduse_unlisten(f->ctx); i++)
		vdpa_loop_run_once(vdpa_ctx_control(f->ctx), 1000000);
	for (int i = 0; i < 1000 && vdpa_ctx_free(f->ctx); i++)
		vdpa_loop_run_once(vdpa_ctx_control(f->ctx), 1000000);
	assert(open_fds() == baseline);
}

static void set_up(void)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	assert(fd >= 0 && !ftruncate(fd, MEM_BYTES));
	assert(!vdpa_region_map(fd, 0, MEM_BYTES, 0, PROT_READ | PROT_WRITE, &region, NULL));
	close(fd);
	event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	snprintf(path, sizeof(path), "/tmp/uvdpa-fuzz-vduse.%d", (int)getpid());
	baseline = open_fds();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	struct fuzz f = {.in = &in};
	uint8_t kind;

	if (event_fd < 0)
		set_up();
	begin(&f);
	kind = (uint8_t)take(&in, 1);
	f.name = kind & 4 ? "vduse1" : "a";
	if (kind & 3)
		running(&f, kind & 4);
	for (unsigned i = 0; i < STEPS && in.left; i++) {
		uint8_t op = (uint8_t)take(&in, 1) % 18;

		if (op < 12)
			process_step(&f, op);
		else
			driver_step(&f);
		settle(&f);
	}
	end(&f);
	return 0;
}
