// SPDX-License-Identifier: BSD-3-Clause
/*
 * Fuzz target: vfio-user, both ends. The first byte says which. A server gets a program of messages
 * whose sizes and descriptors are mostly right; a client gets answers of the right number and
 * command whose payload is the input.
 *
 * Asserted besides "does not crash": a server can be had by the next client after every input, with
 * nothing of this one mapped, and no descriptor is left.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <uvdpa/vfio_user.h>

#include "base/fd.h"
#include "vfio_user/protocol.h"
#include "fuzz_input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MEM_BYTES (1u << 20)
#define MAX_MESSAGES 200

static struct vdpa_loop_group *group;
static struct vdpa_loop *loop;
static struct vfio_user_server *server;
static struct vdpa_as *as;
static struct vdpa_view *view;
static char path[108];
static int memory_fd, event_fd;
static unsigned connected, gone, maps, baseline;

/* ---- a device ---- */

static void on_connected(void *arg)
{
	connected++;
}

static void on_gone(void *arg, const struct vdpa_done *done)
{
	gone++;
	vdpa_done_call(done, 0);
}

static int on_map(void *arg, const struct vfio_user_dma *dma, const struct vdpa_done *done)
{
	int r = vdpa_as_map(as, dma->iova, dma->size, vdpa_region_addr(dma->region, 0), dma->perm,
			    dma->region);

	if (r)
		return r;
	maps++;
	vdpa_done_call(done, 0);
	return 0;
}

static int on_unmap(void *arg, iova_t iova, uint64_t size, const struct vdpa_done *done)
{
	maps--;
	return vdpa_as_unmap(as, iova, iova + size - 1, done);
}

static int on_read(void *arg, unsigned region, uint64_t off, void *buf, size_t len,
		   const struct vdpa_done *done)
{
	memset(buf, 0x5a, len);
	vdpa_done_call(done, 0);
	return 0;
}

/* What is written is where to write. */
static int on_write(void *arg, unsigned region, uint64_t off, const void *buf, size_t len,
		    const struct vdpa_done *done)
{
	uint64_t iova = 0;

	memcpy(&iova, buf, len < 8 ? len : 8);
	vdpa_view_refresh(view);
	vdpa_view_write(view, iova, "written", 7);
	vdpa_done_call(done, 0);
	return 0;
}

static int on_reset(void *arg, const struct vdpa_done *done)
{
	vdpa_done_call(done, 0);
	return 0;
}

static int on_arc(void *arg, enum vfio_user_mig_state from, enum vfio_user_mig_state to,
		  const struct vdpa_done *done)
{
	assert(from != to && to != VFIO_USER_MIG_ERROR);
	vdpa_done_call(done, 0);
	return 0;
}

static ssize_t on_mig_read(void *arg, void *buf, size_t len)
{
	memset(buf, 1, len);
	return (ssize_t)len;
}

static int on_mig_write(void *arg, const void *buf, size_t len)
{
	return 0;
}

static int on_dirty(void *arg, struct vdpa_dirty_log *log, const struct vdpa_done *done)
{
	return vdpa_as_set_dirty_log(as, log, done);
}

static const struct vfio_user_ops ops = {
	.size = sizeof(ops),
	.connected = on_connected,
	.gone = on_gone,
	.dma_map = on_map,
	.dma_unmap = on_unmap,
	.region_read = on_read,
	.region_write = on_write,
	.reset = on_reset,
	.mig_arc = on_arc,
	.mig_read = on_mig_read,
	.mig_write = on_mig_write,
	.precopy = true,
	.dirty_log = on_dirty,
};

static void set_up(void)
{
	const struct vfio_user_irqs irqs[] = {{1, VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_MASKABLE},
					      {8, VFIO_IRQ_INFO_EVENTFD}};
	struct vfio_user_region regions[2] = {
		{.size = 0x1000, .flags = 3, .fd = -1},
		{.size = 0x2000, .flags = 7},
	};
	struct vfio_user_config config = {
		.size = sizeof(config),
		.path = path,
		.name = "fuzz",
		.regions = regions,
		.nregions = 2,
		.irqs = irqs,
		.nirqs = 2,
		.dma_timeout_ns = 1000000,
		.ops = &ops,
	};

	memory_fd = memfd_create("guest", MFD_CLOEXEC);
	event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	snprintf(path, sizeof(path), "/tmp/uvdpa-vfio-fuzz-%d.sock", getpid());
	if (memory_fd < 0 || ftruncate(memory_fd, MEM_BYTES) || event_fd < 0)
		abort();
	regions[1].fd = memory_fd;
	if (vdpa_sigbus_install() || vdpa_loop_group_new(0, &group))
		abort();
	loop = vdpa_loop_group_control(group);
	if (vdpa_as_new(group, 0, &as) || vdpa_view_attach(as, loop, NULL, NULL, &view) ||
	    vfio_user_server_new(loop, &config, &server, NULL))
		abort();
	/* It listens from here on. */
	vdpa_loop_run_once(loop, 0);
}

/* ---- a client that means harm ---- */

static const uint16_t sizes[VFU_CMDS] = {
	[VFU_DMA_MAP] = 32,
	[VFU_DMA_UNMAP] = 24,
	[VFU_DEVICE_GET_INFO] = 16,
	[VFU_DEVICE_GET_REGION_INFO] = 32,
	[VFU_DEVICE_GET_REGION_IO_FDS] = 16,
	[VFU_DEVICE_GET_IRQ_INFO] = 16,
	[VFU_DEVICE_SET_IRQS] = 20,
	[VFU_REGION_READ] = 16,
	[VFU_REGION_WRITE] = 24,
	[VFU_REGION_WRITE_MULTI] = 56,
	[VFU_DEVICE_FEATURE] = 48,
	[VFU_MIG_DATA_READ] = 8,
	[VFU_MIG_DATA_WRITE] = 16,
};

/* Values that get past the first checks, here and there spoiled by what comes behind them. */
static void fill(struct input *in, unsigned cmd, uint8_t *p)
{
	static const uint32_t features[] = {1, 2, 6, 7, 8, 3};
	uint32_t w[14] = {0};

	w[0] = 64; /* argsz, or what lies there */
	switch (cmd) {
	case VFU_DMA_MAP:
		w[1] = 1 + take(in, 1) % 3;
		w[4] = (uint32_t)take(in, 1) << 12;
		w[6] = (uint32_t)(1 + (take(in, 1) & 15)) << 12;
		break;
	case VFU_DMA_UNMAP:
		w[2] = (uint32_t)take(in, 1) << 12;
		w[4] = (uint32_t)(1 + (take(in, 1) & 15)) << 12;
		break;
	case VFU_DEVICE_SET_IRQS:
		w[1] = 1u << (take(in, 1) % 3) | 8u << (take(in, 1) % 3);
		w[2] = take(in, 1) & 1;
		w[3] = take(in, 1) & 7;
		w[4] = take(in, 1) & 7;
		break;
	case VFU_REGION_READ:
	case VFU_REGION_WRITE:
		w[0] = (uint32_t)take(in, 1) << 4;
		w[2] = take(in, 1) & 1;
		w[3] = cmd == VFU_REGION_WRITE ? 8 : (uint32_t)take(in, 2);
		w[4] = (uint32_t)take(in, 1) << 12;
		break;
	case VFU_REGION_WRITE_MULTI:
		w[0] = 2;
		w[5] = w[11] = (uint32_t)take(in, 1) & 15;
		break;
	case VFU_DEVICE_FEATURE:
		w[1] = features[take(in, 1) % 6] | (uint32_t)(take(in, 1) & 7) << 16;
		w[2] = (uint32_t)take(in, 1) & 7;
		w[4] = (uint32_t)take(in, 1) << 12;
		w[6] = 4096;
		break;
	default:
		w[1] = (uint32_t)take(in, 1);
		w[2] = (uint32_t)take(in, 1) & 7;
		break;
	}
	memcpy(p, w, sizeof(w));
	if (take(in, 1) > 200)
		p[take(in, 1) % sizeof(w)] ^= (uint8_t)take(in, 1);
}

static void message(struct input *in, int fd)
{
	unsigned cmd = (unsigned)take(in, 1) % (VFU_CMDS + 1), how = (unsigned)take(in, 1);
	struct vfu_header head = {.id = 1, .cmd = (uint16_t)cmd};
	uint8_t payload[64] = {0};
	size_t len = cmd < VFU_CMDS ? sizes[cmd] : 8;
	struct iovec iov[2] = {{&head, sizeof(head)}, {payload, 0}};
	int fds[2] = {how & 1 ? memory_fd : event_fd, event_fd};

	fill(in, cmd, payload);
	if (how > 240)
		len = take(in, 1) & 63;
	head.size = (uint32_t)(sizeof(head) + len);
	if (how == 239)
		head.size = (uint32_t)take(in, 4);
	head.flags = how & 8 ? VFU_F_NO_REPLY : 0;
	if (how == 238)
		head.flags = (uint32_t)take(in, 1);
	iov[1].iov_len = len;
	vdpa_sock_send(fd, iov, 2, fds, how & 2 ? 1 + (how >> 2 & 1) : 0);
}

static void drain(int fd)
{
	uint8_t buf[65536];
	struct vdpa_fds fds;

	while (vdpa_sock_recv(fd, buf, sizeof(buf), &fds, MSG_DONTWAIT) > 0)
		vdpa_fds_close(&fds);
	vdpa_fds_close(&fds);
}

static void turn(void)
{
	for (unsigned i = 0; i < 100 && vdpa_loop_run_once(loop, 0) > 0; i++) {
	}
}

static void attack_server(struct input *in)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	unsigned before = connected;

	memcpy(addr.sun_path, path, strlen(path) + 1);
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)))
		abort();
	if (take(in, 1) != 255) {
		const struct vfu_header head = {.cmd = VFU_VERSION, .size = 20};
		uint8_t version[20] = {0};

		memcpy(version, &head, sizeof(head));
		if (send(fd, version, sizeof(version), MSG_NOSIGNAL) != sizeof(version))
			abort();
		turn();
		assert(connected == before + 1);
	}
	for (unsigned i = 0; i < MAX_MESSAGES && in->left; i++) {
		message(in, fd);
		if (i % 4 == 0)
			turn();
		drain(fd);
	}
	close(fd);
	for (unsigned i = 0; i < 1000 && (connected != gone || maps); i++)
		vdpa_loop_run_once(loop, 1000000);
	turn();
	assert(connected == gone && !maps);
	assert(open_fds() == baseline);
}

/* ---- a server that does ---- */

static void reply(int fd, uint16_t id, uint16_t cmd, struct input *in)
{
	uint8_t payload[256];
	size_t len = take(in, 1);
	struct vfu_header head = {.id = id, .cmd = cmd, .flags = VFU_F_REPLY};
	struct iovec iov[2] = {{&head, sizeof(head)}, {payload, len}};
	unsigned how = (unsigned)take(in, 1);

	for (size_t i = 0; i < len; i++)
		payload[i] = (uint8_t)take(in, 1);
	/* A region with capabilities, which begin where the input may say what they are. */
	if (cmd == VFU_DEVICE_GET_REGION_INFO && how & 2 && len >= 32) {
		struct vfio_region_info info = {.argsz = (uint32_t)len,
						.flags = 0xb | (how & 1 ? 4 : 0),
						.cap_offset = 32,
						.size = 0x10000};

		memcpy(payload, &info, sizeof(info));
		if (how & 4 && len >= 40)
			payload[32] = VFIO_REGION_INFO_CAP_SPARSE_MMAP;
	}
	head.size = (uint32_t)(sizeof(head) + len);
	vdpa_sock_send(fd, iov, 2, &event_fd, how & 1);
}

static void attack_client(struct input *in)
{
	struct vfio_user_ioeventfd events[8];
	struct vfio_user_region_info region = {.fd = -1};
	struct vfio_user_device_info info;
	struct vfio_user_irqs irqs;
	struct vfio_user_client *c;
	uint8_t buf[64];
	int pair[2], n;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		abort();
	reply(pair[1], 1, VFU_VERSION, &(struct input){(const uint8_t *)"\4\0\0\0\0\0", 6});
	reply(pair[1], 2, VFU_DEVICE_GET_INFO, in);
	reply(pair[1], 3, VFU_DEVICE_GET_REGION_INFO, in);
	reply(pair[1], 4, VFU_DEVICE_GET_REGION_IO_FDS, in);
	reply(pair[1], 5, VFU_DEVICE_GET_IRQ_INFO, in);
	reply(pair[1], 6, VFU_REGION_READ, in);
	reply(pair[1], 7, VFU_MIG_DATA_READ, in);
	shutdown(pair[1], SHUT_WR);
	if (!vfio_user_client_new_fd(pair[0], 1000000000, &c, NULL)) {
		vfio_user_get_info(c, &info);
		if (!vfio_user_get_region(c, 0, &region))
			vdpa_fd_close(&region.fd);
		n = vfio_user_get_ioeventfds(c, 0, events, 8);
		while (n > 0)
			vdpa_fd_close(&events[--n].fd);
		vfio_user_get_irqs(c, 0, &irqs);
		vfio_user_region_read(c, 0, 0, buf, sizeof(buf));
		vfio_user_mig_read(c, buf, sizeof(buf));
		vfio_user_client_free(c);
	}
	close(pair[1]);
	assert(open_fds() == baseline);
}

static void remove_path(void)
{
	unlink(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};

	if (!group) {
		set_up();
		atexit(remove_path);
		baseline = open_fds();
	}
	if (take(&in, 1) & 3)
		attack_server(&in);
	else
		attack_client(&in);
	return 0;
}
