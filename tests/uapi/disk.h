/* SPDX-License-Identifier: BSD-3-Clause */
/* A disk behind a /dev/vhost-vdpa-N, in use: memory that it is told of, one ring, one request at a
 * time. */
#ifndef TESTS_UAPI_DISK_H
#define TESTS_UAPI_DISK_H

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <uvdpa/virtqueue.h>

#include "calls.h"

#define PAGE 4096ull
#define MEM_BYTES (64 * PAGE)
#define BASE 0x100000ull /* IOVA of the memory */
#define NUM 64u

static uint8_t *mem;
static int mem_fd;
static uint32_t asid; /* that messages are for, and a disk's groups are tied to */

/* 0, or -1 with errno. */
static inline int mem_new(void)
{
	mem_fd = memfd_create("disk", MFD_CLOEXEC);
	if (mem_fd < 0 || ftruncate(mem_fd, MEM_BYTES))
		return -1;
	mem = mmap(NULL, MEM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, mem_fd, 0);
	return mem == MAP_FAILED ? -1 : 0;
}

static inline long message(struct cdev_client *c, uint8_t type, uint64_t iova, uint64_t size)
{
	struct vhost_msg_v2 msg = {.type = VHOST_IOTLB_MSG_V2, .asid = asid};
	uint64_t off = iova >= BASE && iova < BASE + MEM_BYTES ? iova - BASE : 0;
	struct cdev_client_mem m = {{.uaddr = (uintptr_t)mem + off,
				     .size = size && size <= MEM_BYTES ? size : PAGE,
				     .offset = off,
				     .writable = true},
				    mem_fd};

	msg.iotlb.iova = iova;
	msg.iotlb.size = size;
	msg.iotlb.uaddr = (uintptr_t)mem + off;
	msg.iotlb.perm = VHOST_ACCESS_RW;
	msg.iotlb.type = type;
	return cdev_client_write(c, &msg, sizeof(msg), &m, type == VHOST_IOTLB_UPDATE ? 1 : 0);
}

struct disk {
	struct cdev_client c;
	struct virtqueue *vq;
	int kick, call;
	uint8_t *io; /* behind the ring */
	uint64_t io_iova;
};

static inline void disk_init(struct disk *d)
{
	memset(d, 0, sizeof(*d));
	d->kick = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	d->call = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
}

static inline int ring_up(struct disk *d, uint64_t features)
{
	struct virtqueue_config config = {.size = sizeof(config),
					  .num = NUM,
					  .features = features,
					  .mem = mem,
					  .mem_iova = BASE};
	struct vhost_vring_addr addr = {.index = 0};
	size_t ring = virtqueue_mem_bytes(NUM, features);
	iova_t desc, driver, device;
	int err;

	memset(mem, 0, ring);
	d->io = mem + ring;
	d->io_iova = BASE + ring;
	err = virtqueue_new(&config, &d->vq);
	if (err)
		return err;
	virtqueue_addrs(d->vq, &desc, &driver, &device);
	addr.desc_user_addr = desc;
	addr.avail_user_addr = driver;
	addr.used_user_addr = device;
	err = set_state(&d->c, VHOST_SET_VRING_NUM, 0, NUM);
	if (!err)
		err = do_ioctl(&d->c, VHOST_SET_VRING_ADDR, &addr, sizeof(addr));
	if (!err)
		err = set_state(&d->c, VHOST_SET_VRING_BASE, 0, 0);
	if (!err)
		err = set_fd(&d->c, VHOST_SET_VRING_KICK, 0, d->kick);
	if (!err)
		err = set_fd(&d->c, VHOST_SET_VRING_CALL, 0, d->call);
	return err ? err : set_state(&d->c, VHOST_VDPA_SET_VRING_ENABLE, 0, 1);
}

static inline void disk_close(struct disk *d)
{
	cdev_client_close(&d->c);
	virtqueue_free(d->vq);
	close(d->kick);
	close(d->call);
}

/* One request of @sectors from @sector on; data at io + PAGE. It is under way afterwards. */
static inline int disk_submit(struct disk *d, uint32_t type, uint64_t sector, uint32_t sectors)
{
	struct virtio_blk_outhdr head = {.type = type, .sector = sector};
	struct virtqueue_sg sg[3] = {{d->io_iova, sizeof(head)},
				     {d->io_iova + PAGE, sectors * 512},
				     {d->io_iova + 512, 1}};
	bool out = type == VIRTIO_BLK_T_OUT;
	uint64_t one = 1;
	int err;

	memcpy(d->io, &head, sizeof(head));
	d->io[512] = 0xff;
	err = virtqueue_add(d->vq, sg, out ? 2 : 1, out ? 1 : 2, d);
	if (err)
		return err;
	if (virtqueue_publish(d->vq) && write(d->kick, &one, 8) != 8)
		return -errno;
	return 0;
}

/* The same, to its end. Its status byte, or -errno. */
static inline int request(struct disk *d, uint32_t type, uint64_t sector, uint32_t sectors)
{
	struct pollfd pfd = {.fd = d->call, .events = POLLIN};
	int err = disk_submit(d, type, sector, sectors);
	uint64_t n;
	uint32_t len;

	if (err)
		return err;
	while (!virtqueue_get(d->vq, &len)) {
		if (virtqueue_broken(d->vq))
			return -EIO;
		if (virtqueue_enable_cb(d->vq))
			continue;
		if (poll(&pfd, 1, 20000) != 1)
			return -ETIMEDOUT;
		if (read(d->call, &n, 8) != 8)
			return -errno;
	}
	return d->io[512];
}

#endif
