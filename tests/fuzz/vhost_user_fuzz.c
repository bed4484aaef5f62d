// SPDX-License-Identifier: BSD-3-Clause
/*
 * Fuzz target: a vhost-user session, from the first byte on the socket to a device that runs on
 * what was sent. The input is a program of messages; the table of messages gives them sizes and
 * descriptors that are mostly right, so that handlers are reached in all states and orders.
 *
 * Asserted besides "does not crash": the device can be had back after every input, and no
 * descriptor is left.
 */
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "driver/vhost_user/server.h"
#include "testdisk.h"
#include "fuzz_input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MEM_BYTES (1u << 20)
#define GPA 0x100000ull
#define UVA 0x7f0000000000ull
#define MAX_MESSAGES 200

static struct vdpa_ctx *ctx;
static struct testdisk *disk;
static int memory_fd, event_fd, null_fd;
static int channel[2]; /* ours, theirs; new for each input */
static uint8_t *memory;
static unsigned baseline;

static void set_up(void)
{
	struct vdpa_ctx_config config = {.size = sizeof(config)};
	struct testdisk_params params = {.bytes = 1 << 16, .nvqs = 2, .device_id = 2};

	memory_fd = memfd_create("guest", MFD_CLOEXEC);
	event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (memory_fd < 0 || ftruncate(memory_fd, MEM_BYTES) || event_fd < 0 || null_fd < 0)
		abort();
	memory = mmap(NULL, MEM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, memory_fd, 0);
	if (memory == MAP_FAILED || vdpa_sigbus_install() || vdpa_ctx_new(&config, &ctx) ||
	    vdpa_register_driver(ctx, vhost_user_driver()) ||
	    testdisk_new(ctx, &params, &disk, NULL))
		abort();
}

/* ---- payloads that mean something ---- */

static void put_region(struct input *in, struct vhost_user_mem_region *r)
{
	uint64_t shift = take(in, 1) & 3;

	r->guest_addr = GPA + (shift << 20);
	r->user_addr = UVA + (shift << 20);
	r->size = MEM_BYTES >> (take(in, 1) & 3);
	r->mmap_offset = take(in, 1) & 1 ? 4096 : 0;
	if (r->mmap_offset && r->size == MEM_BYTES)
		r->size -= 4096;
}

static void put_u64(struct input *in, uint32_t request, uint64_t *out)
{
	static const uint64_t features[] = {
		1ull << 32,
		1ull << 32 | 1u << 30,
		1ull << 32 | 1u << 30 | 1u << 26,
		1ull << 32 | 1u << 30 | 1ull << 33,
		1u << 30 | 1u << 29,
		0,
	};

	if (request == VHOST_USER_SET_FEATURES)
		*out = features[take(in, 1) % 6];
	else if (request == VHOST_USER_SET_PROTOCOL_FEATURES)
		*out = 0x1f22bull & ~(1ull << (take(in, 1) & 31));
	else if (request == VHOST_USER_SET_STATUS)
		*out = (uint64_t[]){0, 1, 3, 11, 15, 8}[take(in, 1) % 6];
	else
		*out = take(in, 1) & 1 ? (take(in, 1) & 0x101) : (take(in, 1) & 1);
}

static void put_payload(struct input *in, uint32_t request, union vhost_user_payload *p)
{
	struct vhost_vring_addr *a = &p->addr;

	switch (request) {
	case VHOST_USER_SET_MEM_TABLE:
		p->table.nregions = 1;
		put_region(in, &p->table.region[0]);
		break;
	case VHOST_USER_ADD_MEM_REG:
	case VHOST_USER_REM_MEM_REG:
		put_region(in, &p->mem_reg.region);
		break;
	case VHOST_USER_SET_VRING_ADDR:
		a->index = take(in, 1) & 1;
		a->desc_user_addr = UVA + (take(in, 1) << 8);
		a->avail_user_addr = UVA + (take(in, 1) << 8);
		a->used_user_addr = UVA + (take(in, 1) << 8);
		break;
	case VHOST_USER_IOTLB_MSG:
		p->iotlb.iova = UVA + (take(in, 1) << 12);
		p->iotlb.size = take(in, 1) << 12;
		p->iotlb.uaddr = UVA + (take(in, 1) << 12);
		p->iotlb.perm = take(in, 1) & 3;
		p->iotlb.type = 2 + (take(in, 1) & 1);
		break;
	case VHOST_USER_GET_INFLIGHT_FD:
	case VHOST_USER_SET_INFLIGHT_FD:
		p->inflight.num_queues = take(in, 1) & 3;
		p->inflight.queue_size = (uint16_t)(1u << (take(in, 1) & 7));
		p->inflight.mmap_size = 8192;
		break;
	case VHOST_USER_SET_LOG_BASE:
		p->log.mmap_size = take(in, 2);
		p->log.mmap_offset = take(in, 1);
		break;
	case VHOST_USER_GET_CONFIG:
	case VHOST_USER_SET_CONFIG:
		p->config.offset = (uint32_t)take(in, 1);
		p->config.size = 8;
		break;
	default:
		if (vu_msg_spec(request) && vu_msg_spec(request)->handler != vu_get_vring_base &&
		    request != VHOST_USER_SET_VRING_NUM && request != VHOST_USER_SET_VRING_BASE &&
		    request != VHOST_USER_SET_VRING_ENABLE && request != VHOST_USER_VRING_KICK) {
			put_u64(in, request, &p->u64);
			break;
		}
		p->state.index = take(in, 1) & 1;
		p->state.num = request == VHOST_USER_SET_VRING_NUM ? 1u << (take(in, 1) & 7)
								   : (uint32_t)take(in, 1) & 1;
	}
}

static uint32_t size_of(const struct vu_msg_spec *spec, uint32_t request)
{
	if (request == VHOST_USER_SET_MEM_TABLE)
		return 8 + sizeof(struct vhost_user_mem_region);
	if (request == VHOST_USER_GET_CONFIG || request == VHOST_USER_SET_CONFIG)
		return VHOST_USER_CONFIG_HDR_BYTES + 8;
	return spec ? spec->max : 8;
}

/* ---- the peer ---- */

static void turn(void)
{
	for (int i = 0; i < 8 && vdpa_loop_run_once(vdpa_ctx_control(ctx), 0) > 0; i++)
		;
}

static void read_answers(int sock)
{
	uint8_t buf[512];
	struct vdpa_fds fds;

	while (vdpa_sock_recv(sock, buf, sizeof(buf), &fds, MSG_DONTWAIT) > 0)
		vdpa_fds_close(&fds);
	vdpa_fds_close(&fds);
}

static bool send_message(struct input *in, int sock)
{
	uint32_t request = (uint32_t)take(in, 1) % 48;
	const struct vu_msg_spec *spec = vu_msg_spec(request);
	uint8_t odd = (uint8_t)take(in, 1);
	struct vhost_user_hdr hdr = {request, 1 | (odd & VHOST_USER_FLAG_NEED_REPLY),
				     size_of(spec, request)};
	const int kinds[] = {memory_fd, event_fd, null_fd, channel[1]};
	unsigned nfds = spec ? spec->fds_max : 0;
	static union vhost_user_payload payload;
	int fds[8];

	memset(&payload, 0, sizeof(payload));
	put_payload(in, request, &payload);
	if ((odd & 0xf0) == 0xf0) {
		hdr.size = (uint32_t)take(in, 1);
		nfds = take(in, 1) & 7;
	}
	if ((odd & 0xf0) == 0xe0)
		payload.bytes[take(in, 1)] ^= (uint8_t)take(in, 1);
	for (unsigned i = 0; i < nfds; i++)
		fds[i] = kinds[take(in, 1) & 3];
	if (nfds == 1 && (odd & 0xf0) < 0xd0)
		fds[0] = request == VHOST_USER_SET_BACKEND_REQ_FD ? channel[1]
			 : request >= VHOST_USER_SET_VRING_KICK &&
					 request <= VHOST_USER_SET_VRING_ERR
				 ? event_fd
				 : memory_fd;
	if ((payload.u64 & VHOST_USER_VRING_NOFD) && request >= VHOST_USER_SET_VRING_KICK &&
	    request <= VHOST_USER_SET_VRING_ERR)
		nfds = 0;

	struct iovec iov[2] = {{&hdr, sizeof(hdr)}, {payload.bytes, hdr.size}};

	return vdpa_sock_send(sock, iov, 2, fds, nfds) > 0;
}

static void say(int sock, uint32_t request, const void *payload, uint32_t size, int fd)
{
	struct vhost_user_hdr hdr = {request, VHOST_USER_VERSION, size};
	struct iovec iov[2] = {{&hdr, sizeof(hdr)}, {(void *)(uintptr_t)payload, size}};

	vdpa_sock_send(sock, iov, 2, &fd, fd >= 0);
	turn();
}

/* A session in which all is well so far: ring 0 runs. @flags: what is left out, or otherwise. */
static void begin_well(int sock, uint8_t flags)
{
	bool iommu = flags & 1;
	uint64_t features = 1ull << 32 | 1u << 30 | (iommu ? 1ull << 33 : 0), proto = 0x1f22b;
	struct vhost_user_mem_table table = {1, 0, {{GPA, MEM_BYTES, UVA, 0}}};
	struct vhost_vring_state num = {0, 16}, enable = {0, !(flags & 2)};
	struct vhost_vring_addr addr = {0, 0, UVA, UVA + 0x200, UVA + 0x100, 0};
	struct vhost_iotlb_msg map = {UVA, MEM_BYTES / 2, UVA, 3, VHOST_IOTLB_UPDATE};
	uint64_t zero = 0, none = VHOST_USER_VRING_NOFD;

	say(sock, VHOST_USER_SET_PROTOCOL_FEATURES, &proto, 8, -1);
	say(sock, VHOST_USER_SET_OWNER, NULL, 0, -1);
	say(sock, VHOST_USER_SET_FEATURES, &features, 8, -1);
	say(sock, VHOST_USER_SET_BACKEND_REQ_FD, NULL, 0, channel[1]);
	say(sock, VHOST_USER_SET_MEM_TABLE, &table, 40, memory_fd);
	if (iommu && !(flags & 4))
		say(sock, VHOST_USER_IOTLB_MSG, &map, sizeof(map), -1);
	say(sock, VHOST_USER_SET_VRING_NUM, &num, 8, -1);
	say(sock, VHOST_USER_SET_VRING_ADDR, &addr, 40, -1);
	say(sock, VHOST_USER_SET_VRING_ENABLE, &enable, 8, -1);
	if (flags & 8)
		say(sock, VHOST_USER_SET_VRING_KICK, &none, 8, -1);
	else
		say(sock, VHOST_USER_SET_VRING_KICK, &zero, 8, event_fd);
}

/* Our requests are answered, rightly or not. */
static void answer(struct input *in)
{
	struct vhost_user_hdr hdr = {1 + take(in, 1) % 5,
				     VHOST_USER_VERSION | VHOST_USER_FLAG_REPLY, 8};
	uint64_t result = take(in, 1) & 1;
	struct iovec iov[2] = {{&hdr, sizeof(hdr)}, {&result, sizeof(result)}};

	read_answers(channel[0]);
	vdpa_sock_send(channel[0], iov, 2, NULL, 0);
}

/* One request in the ring that begin_well() made: descriptors at 0, available at 0x100. */
static void request(struct input *in)
{
	struct vring_desc *d = (struct vring_desc *)(void *)memory;
	uint16_t *avail = (uint16_t *)(void *)(memory + 0x100);
	uint64_t base = take(in, 1) & 1 ? GPA : UVA;

	d[0] = (struct vring_desc){base + 0x1000, 16, VRING_DESC_F_NEXT, 1};
	d[1] = (struct vring_desc){base + (take(in, 1) << 12), 512, 3, 2};
	d[2] = (struct vring_desc){base + 0x1010, 1, VRING_DESC_F_WRITE, 0};
	avail[2 + avail[1] % 16] = 0;
	__atomic_store_n(&avail[1], (uint16_t)(avail[1] + 1), __ATOMIC_RELEASE);
	eventfd_write(event_fd, 1);
}

/* The guest: whatever the input says, anywhere in the first pages. */
static void write_memory(struct input *in)
{
	unsigned at = (unsigned)take(in, 2) % (MEM_BYTES / 16), n = take(in, 1) & 63;

	while (n-- && in->left)
		memory[at++] = (uint8_t)take(in, 1);
}

static void run(struct input *in, int sock)
{
	uint8_t flags = (uint8_t)take(in, 1);

	if (flags & 0xc0)
		begin_well(sock, flags);
	for (unsigned n = 0; n < MAX_MESSAGES && in->left; n++) {
		uint8_t op = (uint8_t)take(in, 1);

		if (op < 150) {
			if (!send_message(in, sock))
				break;
		} else if (op < 185) {
			request(in);
		} else if (op < 210) {
			answer(in);
		} else if (op < 230) {
			write_memory(in);
		} else if (op < 240) {
			eventfd_write(event_fd, 1);
		} else if (op < 250) {
			testdisk_delay(disk, op & 1 ? ~0ull : 0);
		} else {
			uint8_t raw = (uint8_t)take(in, 1);

			if (send(sock, &raw, 1, MSG_NOSIGNAL) < 0)
				break;
		}
		turn();
		read_answers(sock);
	}
}

static void gone(void *arg, int result)
{
	*(bool *)arg = true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	char number[16];
	struct vdpa_attr attrs[] = {{"fd", number}, {NULL, NULL}};
	struct vdpa_done done = {gone, &(bool){false}};
	int pair[2];

	if (!ctx) {
		set_up();
		turn();
		baseline = open_fds();
	}
	memset(memory, 0, MEM_BYTES / 16 + 64);
	eventfd_write(event_fd, 1);
	eventfd_read(event_fd, &(eventfd_t){0});
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, channel))
		abort();
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair))
		abort();
	snprintf(number, sizeof(number), "%d", pair[0]);
	if (vdpa_bind(testdisk_device(disk), "vhost-user", attrs, NULL))
		abort();
	turn();
	run(&in, pair[1]);
	testdisk_delay(disk, 0);
	if (size & 1)
		vdpa_fd_close(&pair[1]);
	if (vdpa_unbind(testdisk_device(disk), &done) ||
	    vdpa_ctx_wait(ctx, done.arg, 20000000000ll))
		abort();
	vdpa_fd_close(&pair[1]);
	close(channel[0]);
	close(channel[1]);
	/* What queues may have been using goes when their loops have passed. */
	for (int i = 0; i < 2000 && open_fds() != baseline; i++)
		vdpa_loop_run_once(vdpa_ctx_control(ctx), 1000000);
	assert(open_fds() == baseline);
	return 0;
}
