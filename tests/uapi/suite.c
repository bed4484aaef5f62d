// SPDX-License-Identifier: BSD-3-Clause
/*
 * vhost-vdpa-suite PATH: one suite for every /dev/vhost-vdpa-N that is a disk, the kernel's (PATH
 * is the character device) and ours (PATH is the socket that stands for it). It prints a line for
 * each check and "N checks, N failed" at the end; the exit status says whether all passed.
 */
#include "disk.h"
#include "uapi.h"

/* Newer than the oldest headers that this builds on. */
#define GET_VRING_DESC_GROUP _IOWR(VHOST_VIRTIO, 0x7F, struct vhost_vring_state)
#define SUSPEND _IO(VHOST_VIRTIO, 0x7D)
#define RESUME _IO(VHOST_VIRTIO, 0x7E)

/* The kernel says EFAULT of every message that it refuses, whatever was wrong; ours says what. */
static void refused(const char *what, long got, long why)
{
	is(what, got == -EFAULT ? why : got, why);
}

/* Of what a device need not have. */
static void is_or_absent(const char *what, long got, long want)
{
	is(what, got == -EOPNOTSUPP ? want : got, want);
}

/* ---- what must hold of any device ---- */

static void test_open(void)
{
	struct cdev_client a, b;

	open_or_exit(&a);
	is("a second open is refused", cdev_client_open(&b, path), -EBUSY);
	cdev_client_close(&a);
	open_or_exit(&a);
	is("status is 0 after open", get_status(&a), 0);
	is("device id is a disk's", get32(&a, VHOST_VDPA_GET_DEVICE_ID), VIRTIO_ID_BLOCK);
	cdev_client_close(&a);
}

static void test_owner(void)
{
	struct cdev_client c;

	open_or_exit(&c);
	is("vring before owner", set_state(&c, VHOST_SET_VRING_NUM, 0, NUM), -EPERM);
	refused("message before owner", message(&c, VHOST_IOTLB_UPDATE, BASE, PAGE), -EPERM);
	is("owner", do_ioctl(&c, VHOST_SET_OWNER, NULL, 0), 0);
	is("owner again", do_ioctl(&c, VHOST_SET_OWNER, NULL, 0), -EBUSY);
	cdev_client_close(&c);
}

static void test_status_and_features(void)
{
	struct cdev_client c;
	uint64_t offered;

	open_or_exit(&c);
	offered = get64(&c, VHOST_GET_FEATURES);
	check(offered & VDPA_BIT(VIRTIO_F_VERSION_1), "VERSION_1 is offered");
	check(offered & VDPA_BIT(VIRTIO_F_ACCESS_PLATFORM), "ACCESS_PLATFORM is offered");
	is("acknowledge", set_status(&c, 1), 0);
	is("driver", set_status(&c, 3), 0);
	is("a bit is taken away", set_status(&c, 2), -EINVAL);
	is("features", set64(&c, VHOST_SET_FEATURES, offered), 0);
	is("features ok", set_status(&c, 11), 0);
	is("status reads back", get_status(&c), 11);
	is("features after FEATURES_OK", set64(&c, VHOST_SET_FEATURES, offered), -EBUSY);
	is("reset", set_status(&c, 0), 0);
	is("status after reset", get_status(&c), 0);
	cdev_client_close(&c);
}

static void test_backend_features(void)
{
	struct cdev_client c;
	uint64_t offered;

	open_or_exit(&c);
	offered = get64(&c, VHOST_GET_BACKEND_FEATURES);
	check(offered & VDPA_BIT(VHOST_BACKEND_F_IOTLB_MSG_V2), "IOTLB_MSG_V2 is offered");
	check(offered & VDPA_BIT(VHOST_BACKEND_F_IOTLB_BATCH), "IOTLB_BATCH is offered");
	is("unknown bit", set64(&c, VHOST_SET_BACKEND_FEATURES, 1ull << 60), -EOPNOTSUPP);
	is("what is offered", set64(&c, VHOST_SET_BACKEND_FEATURES, offered), 0);
	cdev_client_close(&c);
}

static void test_config(void)
{
	uint8_t buf[8 + 4096] = {0};
	uint32_t head[2] = {0, 8}, size;
	struct cdev_client c;

	open_or_exit(&c);
	size = get32(&c, VHOST_VDPA_GET_CONFIG_SIZE);
	check(size >= 60 && size <= 4096, "config has %u bytes", size);
	memcpy(buf, head, 8);
	is("config is read", do_ioctl(&c, VHOST_VDPA_GET_CONFIG, buf, 16), 0);
	check(buf[8] || buf[9] || buf[10] || buf[11] || buf[12], "the disk has a capacity");
	head[1] = 0;
	memcpy(buf, head, 8);
	is("no bytes of config", do_ioctl(&c, VHOST_VDPA_GET_CONFIG, buf, 8), -EINVAL);
	head[1] = size + 1;
	memcpy(buf, head, 8);
	is("beyond config", do_ioctl(&c, VHOST_VDPA_GET_CONFIG, buf, 8 + size + 1), -EINVAL);
	head[0] = size + 1;
	head[1] = 1;
	memcpy(buf, head, 8);
	is("behind config", do_ioctl(&c, VHOST_VDPA_GET_CONFIG, buf, 9), -EINVAL);
	cdev_client_close(&c);
}

static void test_numbers(void)
{
	struct vhost_vdpa_iova_range range = {0};
	struct cdev_client c;
	uint16_t max = 0;

	open_or_exit(&c);
	is("largest ring", do_ioctl(&c, VHOST_VDPA_GET_VRING_NUM, &max, 2), 0);
	check(max >= NUM, "rings of %u", max);
	check(get32(&c, VHOST_VDPA_GET_VQS_COUNT) >= 1, "there are queues");
	check(get32(&c, VHOST_VDPA_GET_GROUP_NUM) >= 1, "there are groups");
	check(get32(&c, VHOST_VDPA_GET_AS_NUM) >= 1, "there are address spaces");
	is("range", do_ioctl(&c, VHOST_VDPA_GET_IOVA_RANGE, &range, sizeof(range)), 0);
	check(range.first <= BASE && range.last > BASE + MEM_BYTES, "the range is usable");
	is("log", set64(&c, VHOST_SET_LOG_BASE, 0), -ENOTTY);
	do_ioctl(&c, VHOST_SET_OWNER, NULL, 0);
	is("unknown ioctl", set_state(&c, _IO(VHOST_VIRTIO, 0xEE), 0, 0), -ENOTTY);
	cdev_client_close(&c);
}

static void test_vrings(void)
{
	struct cdev_client c;
	uint32_t nvqs;
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), none = -1;

	open_or_exit(&c);
	do_ioctl(&c, VHOST_SET_OWNER, NULL, 0);
	nvqs = get32(&c, VHOST_VDPA_GET_VQS_COUNT);
	is("number of no vring", set_state(&c, VHOST_SET_VRING_NUM, nvqs, NUM), -ENOBUFS);
	is("kick of no vring", set_fd(&c, VHOST_SET_VRING_KICK, nvqs, fd), -ENOBUFS);
	is("group of no vring", set_state(&c, VHOST_VDPA_GET_VRING_GROUP, nvqs, 0), -ENOBUFS);
	is("ring of 0", set_state(&c, VHOST_SET_VRING_NUM, 0, 0), -EINVAL);
	is("ring of 3", set_state(&c, VHOST_SET_VRING_NUM, 0, 3), -EINVAL);
	is("ring of 64", set_state(&c, VHOST_SET_VRING_NUM, 0, NUM), 0);
	is("base", set_state(&c, VHOST_SET_VRING_BASE, 0, 7), 0);
	is("asid of a group that is none", set_state(&c, VHOST_VDPA_SET_GROUP_ASID, 0, 99),
	   -EINVAL);
	is("kick", set_fd(&c, VHOST_SET_VRING_KICK, 0, fd), 0);
	is("call", set_fd(&c, VHOST_SET_VRING_CALL, 0, fd), 0);
	is("no call", set_fd(&c, VHOST_SET_VRING_CALL, 0, -1), 0);
	is("err", set_fd(&c, VHOST_SET_VRING_ERR, 0, fd), 0);
	is("a kick that is no eventfd", set_fd(&c, VHOST_SET_VRING_KICK, 0, mem_fd), -EINVAL);
	is("config call", cdev_client_ioctl(&c, VHOST_VDPA_SET_CONFIG_CALL, &fd, 4, fd), 0);
	is("no config call", cdev_client_ioctl(&c, VHOST_VDPA_SET_CONFIG_CALL, &none, 4, none), 0);
	is("busy loop", set_state(&c, VHOST_SET_VRING_BUSYLOOP_TIMEOUT, 0, 5), 0);
	is_or_absent("a vring's group", set_state(&c, VHOST_VDPA_GET_VRING_GROUP, 0, 0), 0);
	is("asid that is none",
	   set_state(&c, VHOST_VDPA_SET_GROUP_ASID, 0, get32(&c, VHOST_VDPA_GET_AS_NUM)), -EINVAL);
	cdev_client_close(&c);
	close(fd);
}

static void test_messages(void)
{
	struct cdev_client c;

	open_or_exit(&c);
	do_ioctl(&c, VHOST_SET_OWNER, NULL, 0);
	set64(&c, VHOST_SET_BACKEND_FEATURES, get64(&c, VHOST_GET_BACKEND_FEATURES));
	is("update", message(&c, VHOST_IOTLB_UPDATE, BASE, 4 * PAGE), 72);
	refused("overlap", message(&c, VHOST_IOTLB_UPDATE, BASE + PAGE, PAGE), -EEXIST);
	is("update of nothing", message(&c, VHOST_IOTLB_UPDATE, BASE + 8 * PAGE, 0), -EINVAL);
	is("invalidate", message(&c, VHOST_IOTLB_INVALIDATE, BASE, 4 * PAGE), 72);
	is("invalidate what is not there", message(&c, VHOST_IOTLB_INVALIDATE, BASE, PAGE), 72);
	is("update again", message(&c, VHOST_IOTLB_UPDATE, BASE + PAGE, PAGE), 72);
	is("batch", message(&c, VHOST_IOTLB_BATCH_BEGIN, 0, 0), 72);
	is("in a batch", message(&c, VHOST_IOTLB_UPDATE, BASE + 2 * PAGE, PAGE), 72);
	is("end of the batch", message(&c, VHOST_IOTLB_BATCH_END, 0, 0), 72);
	refused("unknown message", message(&c, 77, BASE, PAGE), -EINVAL);
	is("short message", cdev_client_write(&c, "abcdefgh", 8, NULL, 0), -EINVAL);
	cdev_client_close(&c);
}

/* ---- groups and address spaces ---- */

static long in_as(uint32_t as, struct cdev_client *c, uint8_t type, uint64_t iova, uint64_t size)
{
	long ret;

	asid = as;
	ret = message(c, type, iova, size);
	asid = 0;
	return ret;
}

static void test_address_spaces(void)
{
	struct cdev_client c;
	uint32_t nas;

	open_or_exit(&c);
	do_ioctl(&c, VHOST_SET_OWNER, NULL, 0);
	set64(&c, VHOST_SET_BACKEND_FEATURES, get64(&c, VHOST_GET_BACKEND_FEATURES));
	nas = get32(&c, VHOST_VDPA_GET_AS_NUM);
	refused("invalidate where nothing ever was",
		message(&c, VHOST_IOTLB_INVALIDATE, BASE, PAGE), -EINVAL);
	refused("end of a batch where nothing ever was", message(&c, VHOST_IOTLB_BATCH_END, 0, 0),
		-EINVAL);
	for (uint32_t i = 0; i < nas; i++)
		is("the same address in each", in_as(i, &c, VHOST_IOTLB_UPDATE, BASE, PAGE), 72);
	for (uint32_t i = 0; i < nas; i++)
		refused("overlap", in_as(i, &c, VHOST_IOTLB_UPDATE, BASE, PAGE), -EEXIST);
	refused("update of none", in_as(nas, &c, VHOST_IOTLB_UPDATE, BASE + PAGE, PAGE), -EINVAL);
	refused("batch of none", in_as(nas, &c, VHOST_IOTLB_BATCH_BEGIN, 0, 0), -EINVAL);
	is("batch of the last", in_as(nas - 1, &c, VHOST_IOTLB_BATCH_BEGIN, 0, 0), 72);
	is("invalidate in it", in_as(nas - 1, &c, VHOST_IOTLB_INVALIDATE, BASE, PAGE), 72);
	if (nas > 1) {
		refused("update of another", in_as(0, &c, VHOST_IOTLB_UPDATE, BASE + PAGE, PAGE),
			-EINVAL);
		refused("another's batch end", in_as(0, &c, VHOST_IOTLB_BATCH_END, 0, 0), -EINVAL);
	}
	is("end of the batch", in_as(nas - 1, &c, VHOST_IOTLB_BATCH_END, 0, 0), 72);
	if (nas > 1)
		refused("the others stayed", in_as(0, &c, VHOST_IOTLB_UPDATE, BASE, PAGE), -EEXIST);
	cdev_client_close(&c);
}

static long group_of(struct cdev_client *c, uint32_t cmd, uint32_t vq)
{
	struct vhost_vring_state s = {.index = vq};
	int err = do_ioctl(c, cmd, &s, sizeof(s));

	return err ? err : (long)s.num;
}

static void test_groups(void)
{
	uint32_t nvqs, ngroups, nas;
	struct cdev_client c;
	bool desc;
	long group;

	open_or_exit(&c);
	do_ioctl(&c, VHOST_SET_OWNER, NULL, 0);
	desc = get64(&c, VHOST_GET_BACKEND_FEATURES) & VDPA_BIT(VHOST_BACKEND_F_DESC_ASID);
	is("DESC_ASID without IOTLB_ASID",
	   set64(&c, VHOST_SET_BACKEND_FEATURES, VDPA_BIT(VHOST_BACKEND_F_DESC_ASID)), -EINVAL);
	nvqs = get32(&c, VHOST_VDPA_GET_VQS_COUNT);
	ngroups = get32(&c, VHOST_VDPA_GET_GROUP_NUM);
	nas = get32(&c, VHOST_VDPA_GET_AS_NUM);
	for (uint32_t i = 0; i < nvqs; i++) {
		group = group_of(&c, VHOST_VDPA_GET_VRING_GROUP, i);
		check(group == -EOPNOTSUPP || (group >= 0 && group < ngroups), "group %ld", group);
		group = group_of(&c, GET_VRING_DESC_GROUP, i);
		check(desc ? group >= 0 && group < ngroups : group == -EOPNOTSUPP,
		      "descriptor group %ld", group);
	}
	/* VDUSE refuses also what is there already, of a daemon that knows no groups. */
	for (uint32_t i = 0; i < ngroups; i++) {
		if (nas > 1)
			is_or_absent("last address space",
				     set_state(&c, VHOST_VDPA_SET_GROUP_ASID, i, nas - 1), 0);
		is("one too many", set_state(&c, VHOST_VDPA_SET_GROUP_ASID, i, nas), -EINVAL);
	}
	is("a group that is none",
	   set_state(&c, VHOST_VDPA_SET_GROUP_ASID, nvqs > ngroups ? nvqs : ngroups, 0), -ENOBUFS);
	if (ngroups < nvqs)
		is_or_absent("a group that only a vring is",
			     set_state(&c, VHOST_VDPA_SET_GROUP_ASID, ngroups, 0), -EINVAL);
	cdev_client_close(&c);
}

/* ---- a disk in use ---- */

static void disk_open(struct disk *d)
{
	uint64_t want = VDPA_BIT(VIRTIO_F_VERSION_1) | VDPA_BIT(VIRTIO_F_ACCESS_PLATFORM) |
			VDPA_BIT(VIRTIO_RING_F_EVENT_IDX) | VDPA_BIT(VIRTIO_RING_F_INDIRECT_DESC);
	uint64_t features;

	disk_init(d);
	open_or_exit(&d->c);
	features = get64(&d->c, VHOST_GET_FEATURES) & want;
	is("disk: owner", do_ioctl(&d->c, VHOST_SET_OWNER, NULL, 0), 0);
	set64(&d->c, VHOST_SET_BACKEND_FEATURES, get64(&d->c, VHOST_GET_BACKEND_FEATURES));
	is("disk: memory", message(&d->c, VHOST_IOTLB_UPDATE, BASE, MEM_BYTES), 72);
	for (uint32_t i = 0; asid && i < get32(&d->c, VHOST_VDPA_GET_GROUP_NUM); i++)
		is("disk: asid", set_state(&d->c, VHOST_VDPA_SET_GROUP_ASID, i, asid), 0);
	set_status(&d->c, 1);
	set_status(&d->c, 3);
	is("disk: features", set64(&d->c, VHOST_SET_FEATURES, features), 0);
	is("disk: features ok", set_status(&d->c, 11), 0);
	is("disk: ring", ring_up(d, features), 0);
	is("disk: driver ok", set_status(&d->c, 15), 0);
}

static void test_io(void)
{
	struct disk d;

	disk_open(&d);
	is("addresses after DRIVER_OK",
	   do_ioctl(&d.c, VHOST_SET_VRING_ADDR, &(struct vhost_vring_addr){0},
		    sizeof(struct vhost_vring_addr)),
	   -EINVAL);
	is("base after DRIVER_OK", set_state(&d.c, VHOST_SET_VRING_BASE, 0, 0), -EINVAL);
	is_or_absent("asid after DRIVER_OK", set_state(&d.c, VHOST_VDPA_SET_GROUP_ASID, 0, 0),
		     -EBUSY);
	for (unsigned i = 0; i < 8 * 512; i++)
		d.io[PAGE + i] = (uint8_t)(i * 7 + i / 512);
	is("write", request(&d, VIRTIO_BLK_T_OUT, 16, 8), VIRTIO_BLK_S_OK);
	memset(d.io + PAGE, 0, 8 * 512);
	is("read", request(&d, VIRTIO_BLK_T_IN, 16, 8), VIRTIO_BLK_S_OK);
	for (unsigned i = 0; i < 8 * 512; i++) {
		if (d.io[PAGE + i] != (uint8_t)(i * 7 + i / 512)) {
			check(false, "byte %u is %u", i, d.io[PAGE + i]);
			break;
		}
	}
	for (unsigned i = 0; i < 1000; i++) {
		int got = request(&d, VIRTIO_BLK_T_IN, i % 64, 1);

		if (got != VIRTIO_BLK_S_OK) {
			is("read of a thousand", got, VIRTIO_BLK_S_OK);
			break;
		}
	}
	disk_close(&d);
	/* The next one finds a device that was reset, with an empty map. */
	disk_open(&d);
	is("read after open", request(&d, VIRTIO_BLK_T_IN, 16, 8), VIRTIO_BLK_S_OK);
	check(d.io[PAGE + 1] == 7, "what was written is there");
	disk_close(&d);
}

/* In another address space everything works as in the first; and after a reset it is as it was. */
static void test_another_as(void)
{
	struct disk d;
	uint32_t nas;

	open_or_exit(&d.c);
	nas = get32(&d.c, VHOST_VDPA_GET_AS_NUM);
	cdev_client_close(&d.c);
	if (nas < 2) {
		printf("     there is one address space\n");
		return;
	}
	asid = nas - 1;
	disk_open(&d);
	is("read in another address space", request(&d, VIRTIO_BLK_T_IN, 16, 8), VIRTIO_BLK_S_OK);
	check(d.io[PAGE + 1] == 7, "what was written is there, too");
	asid = 0;
	disk_close(&d);
	disk_open(&d);
	is("read in the first again", request(&d, VIRTIO_BLK_T_IN, 16, 8), VIRTIO_BLK_S_OK);
	disk_close(&d);
}

static bool has_backend(struct cdev_client *c, unsigned bit)
{
	return get64(c, VHOST_GET_BACKEND_FEATURES) & VDPA_BIT(bit);
}

static uint32_t vring_base(struct disk *d)
{
	struct vhost_vring_state s = {.index = 0, .num = UINT32_MAX};

	is("base is read", do_ioctl(&d->c, VHOST_GET_VRING_BASE, &s, sizeof(s)), 0);
	return s.num;
}

/* The ring stands still, and its position is what was asked for; then it goes on. */
static void test_suspend(void)
{
	struct disk d;

	disk_open(&d);
	if (!has_backend(&d.c, VHOST_BACKEND_F_SUSPEND) ||
	    !has_backend(&d.c, VHOST_BACKEND_F_RESUME)) {
		printf("     SUSPEND and RESUME are not offered\n");
		disk_close(&d);
		return;
	}
	for (unsigned i = 0; i < 7; i++)
		request(&d, VIRTIO_BLK_T_IN, i, 1);
	is("suspend", do_ioctl(&d.c, SUSPEND, NULL, 0), 0);
	is("base of 7 requests", vring_base(&d), 7);
	is_or_absent("asid while suspended", set_state(&d.c, VHOST_VDPA_SET_GROUP_ASID, 0, 0),
		     -EBUSY);
	is("suspend again", do_ioctl(&d.c, SUSPEND, NULL, 0), 0);
	is("resume", do_ioctl(&d.c, RESUME, NULL, 0), 0);
	is("read after resume", request(&d, VIRTIO_BLK_T_IN, 16, 8), VIRTIO_BLK_S_OK);
	disk_close(&d);
}

static bool is_dirty(const uint64_t *log, const struct disk *d, uint64_t at)
{
	uint64_t page = ((uint64_t)(d->io - mem) + at) / PAGE;

	return log[page / 64] >> page % 64 & 1;
}

static int set_log(struct disk *d, int fd, uint32_t flags)
{
	struct vhost_uvdpa_log arg = {.size = PAGE, .fd = fd, .flags = flags};

	return cdev_client_ioctl(&d->c, VHOST_UVDPA_SET_LOG, &arg, sizeof(arg), fd);
}

/* Our extension: exactly what the device wrote, and only while it is on. */
static void test_log(void)
{
	int fd = memfd_create("log", MFD_CLOEXEC);
	uint64_t *log;
	struct disk d;

	disk_open(&d);
	if (!has_backend(&d.c, VHOST_BACKEND_F_UVDPA_LOG)) {
		printf("     UVDPA_LOG is not offered\n");
		disk_close(&d);
		close(fd);
		return;
	}
	log = ftruncate(fd, PAGE) ? MAP_FAILED
				  : mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (log == MAP_FAILED)
		exit(2);
	is("log with unknown flags", set_log(&d, fd, 1), -EINVAL);
	is("log that cannot be mapped", set_log(&d, d.kick, 0) < 0, 1);
	is("log", set_log(&d, fd, 0), 0);
	is("read", request(&d, VIRTIO_BLK_T_IN, 16, 8), VIRTIO_BLK_S_OK);
	check(is_dirty(log, &d, PAGE) && is_dirty(log, &d, 512), "data and status are logged");
	check(!is_dirty(log, &d, 8 * PAGE), "and no other page");
	is("no log", set_log(&d, -1, 0), 0);
	memset(log, 0, PAGE);
	is("read", request(&d, VIRTIO_BLK_T_IN, 16, 8), VIRTIO_BLK_S_OK);
	check(!is_dirty(log, &d, PAGE), "nothing is logged any more");
	is("log again", set_log(&d, fd, 0), 0);
	disk_close(&d);
	disk_open(&d);
	is("read", request(&d, VIRTIO_BLK_T_IN, 16, 8), VIRTIO_BLK_S_OK);
	check(!is_dirty(log, &d, PAGE), "the log ended with the open file");
	disk_close(&d);
	munmap(log, PAGE);
	close(fd);
}

/* Before there is a driver nothing runs: the kernel says that it worked. */
static void test_suspend_early(void)
{
	struct cdev_client c;

	open_or_exit(&c);
	is("suspend before DRIVER_OK", do_ioctl(&c, SUSPEND, NULL, 0), 0);
	is("resume before DRIVER_OK", do_ioctl(&c, RESUME, NULL, 0), 0);
	cdev_client_close(&c);
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: vhost-vdpa-suite PATH\n");
		return 2;
	}
	path = argv[1];
	if (mem_new())
		return perror("memory"), 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	test_open();
	test_owner();
	test_status_and_features();
	test_backend_features();
	test_config();
	test_numbers();
	test_vrings();
	test_messages();
	test_address_spaces();
	test_groups();
	test_io();
	test_another_as();
	test_suspend();
	test_suspend_early();
	test_log();
	printf("%u checks, %u failed\n", checks, failed);
	return failed != 0;
}
