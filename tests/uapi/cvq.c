// SPDX-License-Identifier: BSD-3-Clause
/*
 * vhost-vdpa-cvq PATH: a NIC as a hypervisor uses it that keeps the control queue to itself. The
 * queue's memory is in an address space of its own; commands are answered; and a control queue that
 * is put where only the guest's address space has memory stops the device. Between the two it says
 * "configured" and waits for a line, so that somebody can look at the device.
 */
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include <uvdpa/virtqueue.h>

#include "uapi.h"

#define PAGE 4096ull
#define BYTES (16 * PAGE)
#define GUEST_IOVA 0x100000ull /* in address space 0 */
#define CVQ_IOVA 0x800000ull   /* in address space 1 */
#define NUM 16u
#define CTRL 2u

static const uint8_t mac[6] = {0x02, 0, 0, 0, 0, 0x77};

/* Memory of one address space, and what is in it. */
struct room {
	uint8_t *mem;
	int fd;
	uint32_t asid;
	uint64_t iova;
};

struct nic {
	struct cdev_client c;
	struct room guest, own;
	uint64_t features;
	struct virtqueue *vq;
	int kick, call;
	uint8_t *io; /* behind the ring */
	uint64_t io_iova;
};

static struct room room_new(uint32_t asid, uint64_t iova)
{
	struct room r = {.fd = memfd_create("room", MFD_CLOEXEC), .asid = asid, .iova = iova};

	if (r.fd < 0 || ftruncate(r.fd, BYTES))
		exit(2);
	r.mem = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, r.fd, 0);
	if (r.mem == MAP_FAILED)
		exit(2);
	return r;
}

static long map(struct nic *n, const struct room *r)
{
	struct vhost_msg_v2 msg = {.type = VHOST_IOTLB_MSG_V2, .asid = r->asid};
	struct cdev_client_mem m = {{.uaddr = (uintptr_t)r->mem, .size = BYTES, .writable = true},
				    r->fd};

	msg.iotlb.iova = r->iova;
	msg.iotlb.size = BYTES;
	msg.iotlb.uaddr = (uintptr_t)r->mem;
	msg.iotlb.perm = VHOST_ACCESS_RW;
	msg.iotlb.type = VHOST_IOTLB_UPDATE;
	return cdev_client_write(&n->c, &msg, sizeof(msg), &m, 1);
}

static uint32_t group_of(struct nic *n, uint32_t vq)
{
	struct vhost_vring_state s = {.index = vq, .num = UINT32_MAX};

	do_ioctl(&n->c, VHOST_VDPA_GET_VRING_GROUP, &s, sizeof(s));
	return s.num;
}

/* Up to FEATURES_OK, both memories mapped, the control queue's group moved. */
static void negotiate(struct nic *n)
{
	const uint64_t want = VDPA_BIT(VIRTIO_F_VERSION_1) | VDPA_BIT(VIRTIO_F_ACCESS_PLATFORM) |
			      VDPA_BIT(VIRTIO_NET_F_MAC) | VDPA_BIT(VIRTIO_NET_F_CTRL_VQ) |
			      VDPA_BIT(VIRTIO_NET_F_CTRL_RX) | VDPA_BIT(VIRTIO_NET_F_CTRL_MAC_ADDR);

	open_or_exit(&n->c);
	is("it is a NIC", get32(&n->c, VHOST_VDPA_GET_DEVICE_ID), VIRTIO_ID_NET);
	n->features = get64(&n->c, VHOST_GET_FEATURES) & want;
	check(n->features == want, "it has a control queue");
	is("owner", do_ioctl(&n->c, VHOST_SET_OWNER, NULL, 0), 0);
	set64(&n->c, VHOST_SET_BACKEND_FEATURES, get64(&n->c, VHOST_GET_BACKEND_FEATURES));
	check(group_of(n, CTRL) != group_of(n, 0) && group_of(n, 0) == group_of(n, 1),
	      "the control queue is in a group of its own");
	is("its address space", set_state(&n->c, VHOST_VDPA_SET_GROUP_ASID, group_of(n, CTRL), 1),
	   0);
	is("the guest's memory", map(n, &n->guest), 72);
	is("the control queue's memory", map(n, &n->own), 72);
	set_status(&n->c, 1);
	set_status(&n->c, 3);
	is("features", set64(&n->c, VHOST_SET_FEATURES, n->features), 0);
	is("features ok", set_status(&n->c, 11), 0);
}

/* The control queue, its ring and commands in @r. */
static void ring_up(struct nic *n, struct room *r)
{
	struct virtqueue_config config = {.size = sizeof(config),
					  .num = NUM,
					  .features = n->features,
					  .mem = r->mem,
					  .mem_iova = r->iova};
	size_t ring = virtqueue_mem_bytes(NUM, n->features);
	struct vhost_vring_addr addr = {.index = CTRL};
	iova_t desc, driver, device;

	memset(r->mem, 0, BYTES);
	n->io = r->mem + ring;
	n->io_iova = r->iova + ring;
	if (virtqueue_new(&config, &n->vq))
		exit(2);
	virtqueue_addrs(n->vq, &desc, &driver, &device);
	addr.desc_user_addr = desc;
	addr.avail_user_addr = driver;
	addr.used_user_addr = device;
	is("size", set_state(&n->c, VHOST_SET_VRING_NUM, CTRL, NUM), 0);
	is("addresses", do_ioctl(&n->c, VHOST_SET_VRING_ADDR, &addr, sizeof(addr)), 0);
	is("base", set_state(&n->c, VHOST_SET_VRING_BASE, CTRL, 0), 0);
	is("kick", set_fd(&n->c, VHOST_SET_VRING_KICK, CTRL, n->kick), 0);
	is("call", set_fd(&n->c, VHOST_SET_VRING_CALL, CTRL, n->call), 0);
	is("enable", set_state(&n->c, VHOST_VDPA_SET_VRING_ENABLE, CTRL, 1), 0);
	is("driver ok", set_status(&n->c, 15), 0);
}

static int put(struct nic *n, uint8_t class, uint8_t command, const void *data, uint32_t len)
{
	struct virtqueue_sg sg[2] = {{n->io_iova, 2 + len}, {n->io_iova + 256, 1}};
	uint64_t one = 1;

	n->io[0] = class;
	n->io[1] = command;
	memcpy(n->io + 2, data, len);
	n->io[256] = 0xee;
	if (virtqueue_add(n->vq, sg, 1, 1, n))
		return -EIO;
	return virtqueue_publish(n->vq) && write(n->kick, &one, 8) != 8 ? -EIO : 0;
}

/* VIRTIO_NET_OK, VIRTIO_NET_ERR, or -errno. */
static int command(struct nic *n, uint8_t class, uint8_t cmd, const void *data, uint32_t len)
{
	struct pollfd pfd = {.fd = n->call, .events = POLLIN};
	uint64_t count;
	uint32_t got;
	int err = put(n, class, cmd, data, len);

	while (!err && !virtqueue_get(n->vq, &got)) {
		if (virtqueue_enable_cb(n->vq))
			continue;
		if (poll(&pfd, 1, 20000) != 1)
			return -ETIMEDOUT;
		if (read(n->call, &count, 8) != 8)
			return -errno;
	}
	return err ? err : n->io[256];
}

static void test_commands(struct nic *n)
{
	uint8_t off = 0, config[8 + 6] = {0};
	uint32_t head[2] = {0, 6};

	negotiate(n);
	ring_up(n, &n->own);
	is("address", command(n, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, mac, 6),
	   VIRTIO_NET_OK);
	is("mode", command(n, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, &off, 1),
	   VIRTIO_NET_OK);
	is("no such command", command(n, 99, 0, &off, 1), VIRTIO_NET_ERR);
	is("too short", command(n, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, mac, 5),
	   VIRTIO_NET_ERR);
	memcpy(config, head, 8);
	is("config", do_ioctl(&n->c, VHOST_VDPA_GET_CONFIG, config, sizeof(config)), 0);
	check(!memcmp(config + 8, mac, 6), "the address is the new one");
	printf("configured\n");
	getchar();
}

/* The guest's address space has the ring, the control queue's has not. */
static void test_isolation(struct nic *n)
{
	uint8_t on = 1;

	negotiate(n);
	ring_up(n, &n->guest);
	is("a command where its queue reaches nothing",
	   put(n, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, &on, 1), 0);
	for (int i = 0; i < 2000 && !(get_status(&n->c) & VIRTIO_CONFIG_S_NEEDS_RESET); i++)
		usleep(10000);
	check(get_status(&n->c) & VIRTIO_CONFIG_S_NEEDS_RESET, "the device stops");
	is("nothing was answered", n->io[256], 0xee);
}

int main(int argc, char **argv)
{
	struct nic n = {.kick = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC),
			.call = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};

	if (argc != 2) {
		fprintf(stderr, "usage: vhost-vdpa-cvq PATH\n");
		return 2;
	}
	path = argv[1];
	setvbuf(stdout, NULL, _IOLBF, 0);
	n.guest = room_new(0, GUEST_IOVA);
	n.own = room_new(1, CVQ_IOVA);
	test_commands(&n);
	cdev_client_close(&n.c);
	virtqueue_free(n.vq);
	test_isolation(&n);
	cdev_client_close(&n.c);
	virtqueue_free(n.vq);
	printf("%u checks, %u failed\n", checks, failed);
	return failed != 0;
}
