// SPDX-License-Identifier: BSD-3-Clause
/* Regions, interrupts, reset: by our own client, at once and answered later from another thread. */
#include "toy.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

static void test_info(void **state)
{
	struct vfio_user_device_info info;
	struct vfio_user_region_info r;
	struct vfio_user_irqs irqs;

	assert_int_equal(vfio_user_get_info(toy.client, &info), 0);
	assert_int_equal(info.flags, VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET);
	assert_int_equal(info.nregions, 4);
	assert_int_equal(info.nirqs, 3);
	assert_int_equal(vfio_user_get_region(toy.client, 0, &r), 0);
	assert_int_equal(r.size, TOY_REGS);
	assert_int_equal(r.fd, -1);
	assert_int_equal(vfio_user_get_region(toy.client, 3, &r), 0);
	assert_int_equal(r.size, 0);
	assert_int_equal(vfio_user_get_region(toy.client, 4, &r), -EINVAL);
	assert_int_equal(vfio_user_get_irqs(toy.client, 2, &irqs), 0);
	assert_int_equal(irqs.count, 16);
	assert_int_equal(vfio_user_get_irqs(toy.client, 3, &irqs), -EINVAL);
}

static void test_mapped_region(void **state)
{
	struct vfio_user_region_info r;
	uint8_t *ours, *theirs;

	assert_int_equal(vfio_user_get_region(toy.client, 1, &r), 0);
	assert_int_equal(r.flags, VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE |
					  VFIO_REGION_INFO_FLAG_MMAP | VFIO_REGION_INFO_FLAG_CAPS);
	assert_int_equal(r.nareas, 2);
	assert_int_equal(r.areas[1].offset, 0x3000);
	ours = mmap(NULL, 0x1000, PROT_READ | PROT_WRITE, MAP_SHARED, r.fd, 0x3000);
	theirs = mmap(NULL, 0x1000, PROT_READ | PROT_WRITE, MAP_SHARED, toy.memfd, 0x3000);
	ours[5] = 77;
	assert_int_equal(theirs[5], 77);
	munmap(ours, 0x1000);
	munmap(theirs, 0x1000);
	close(r.fd);
}

static void test_access(void **state)
{
	uint8_t buf[64], got[TOY_REGS];
	struct vfio_user_stats stats;
	uint32_t one = 1;

	for (unsigned i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)(i + 1);
	assert_int_equal(vfio_user_region_write(toy.client, 0, 3, buf, sizeof(buf)), 0);
	assert_int_equal(vfio_user_region_read(toy.client, 0, 0, got, sizeof(got)), 0);
	assert_memory_equal(got + 3, buf, sizeof(buf));
	/* Up to the end, and not beyond; what wraps. */
	assert_int_equal(vfio_user_region_read(toy.client, 0, TOY_REGS - 1, got, 1), 0);
	assert_int_equal(vfio_user_region_read(toy.client, 0, TOY_REGS - 1, got, 2), -EINVAL);
	assert_int_equal(vfio_user_region_read(toy.client, 0, TOY_REGS, got, 1), -EINVAL);
	assert_int_equal(vfio_user_region_read(toy.client, 0, UINT64_MAX, got, 2), -EINVAL);
	assert_int_equal(vfio_user_region_write(toy.client, 2, 0, buf, 1), -EACCES);
	assert_int_equal(vfio_user_region_read(toy.client, 3, 0, got, 1), -EINVAL);
	assert_int_equal(vfio_user_region_read(toy.client, 9, 0, got, 1), -EINVAL);
	toy.refuse = true;
	assert_int_equal(vfio_user_region_read(toy.client, 0, 0, got, 1), -EIO);
	toy.refuse = false;
	/* Posted writes are done before what comes after them is answered. */
	for (unsigned i = 0; i < 5000; i++)
		assert_int_equal(vfio_user_region_post(toy.client, 0, TOY_COUNT, &one, 4), 0);
	assert_int_equal(vfio_user_region_read(toy.client, 0, 0, got, 1), 0);
	assert_int_equal(toy.count, 5000);
	vfio_user_server_stats(toy.srv, &stats);
	assert_int_equal(stats.posted, 5000);
	assert_int_equal(stats.refused, 7);
}

static void test_ioeventfds(void **state)
{
	struct vfio_user_ioeventfd list[8];
	uint64_t value = 0;

	assert_int_equal(vfio_user_get_ioeventfds(toy.client, 1, list, 8), 0);
	assert_int_equal(vfio_user_get_ioeventfds(toy.client, 0, list, 2), -E2BIG);
	assert_int_equal(vfio_user_get_ioeventfds(toy.client, 0, list, 8), 3);
	assert_int_equal(list[2].offset, 8);
	assert_true(list[2].match && !list[1].match);
	assert_int_equal(eventfd_write(list[1].fd, 3), 0);
	assert_int_equal(read(toy.doorbell, &value, 8), 8);
	assert_int_equal(value, 3);
	for (unsigned i = 0; i < 3; i++)
		close(list[i].fd);
}

static int set(uint32_t index, uint32_t flags, uint32_t start, uint32_t count, const void *data)
{
	struct vfio_user_irq_set s = {
		.flags = flags, .index = index, .start = start, .count = count, .data = data};

	return vfio_user_set_irqs(toy.client, &s);
}

#define TRIGGER VFIO_IRQ_SET_ACTION_TRIGGER
#define NONE VFIO_IRQ_SET_DATA_NONE
#define BOOL VFIO_IRQ_SET_DATA_BOOL
#define EVENTFD VFIO_IRQ_SET_DATA_EVENTFD

static unsigned signalled(int fd)
{
	uint64_t value = 0;

	return read(fd, &value, 8) == 8 ? (unsigned)value : 0;
}

static void test_irqs(void **state)
{
	const uint8_t bools[3] = {1, 0, 1};
	int fds[4], copy;

	for (unsigned i = 0; i < 4; i++)
		fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_int_equal(vfio_user_irq_trigger(toy.srv, 2, 0), -ENOENT);
	assert_int_equal(vfio_user_irq_trigger(toy.srv, 2, 16), -EINVAL);
	assert_int_equal(vfio_user_irq_trigger(toy.srv, 1, 0), -EINVAL);
	/* QEMU enables without a vector. */
	assert_int_equal(set(2, TRIGGER | EVENTFD, 0, 1, NULL), 0);
	assert_int_equal(set(2, TRIGGER | EVENTFD, 1, 3, fds), 0);
	assert_int_equal(vfio_user_irq_trigger(toy.srv, 2, 2), 0);
	assert_int_equal(signalled(fds[1]), 1);
	copy = vfio_user_irq_fd(toy.srv, 2, 3);
	assert_true(copy >= 0);
	assert_int_equal(eventfd_write(copy, 1), 0);
	assert_int_equal(signalled(fds[2]), 1);
	close(copy);
	/* By the client itself: those that are true, or all. */
	assert_int_equal(set(2, TRIGGER | BOOL, 1, 3, bools), 0);
	assert_int_equal(signalled(fds[0]) + 2 * signalled(fds[1]) + 4 * signalled(fds[2]), 5);
	assert_int_equal(set(2, TRIGGER | NONE, 0, 16, NULL), 0);
	assert_int_equal(signalled(fds[0]) + signalled(fds[1]) + signalled(fds[2]), 3);
	/* Another one; none; all end. */
	assert_int_equal(set(2, TRIGGER | EVENTFD, 2, 1, fds + 3), 0);
	assert_int_equal(set(2, TRIGGER | EVENTFD, 1, 1, NULL), 0);
	assert_int_equal(vfio_user_irq_trigger(toy.srv, 2, 1), -ENOENT);
	assert_int_equal(vfio_user_irq_trigger(toy.srv, 2, 2), 0);
	assert_int_equal(signalled(fds[3]), 1);
	assert_int_equal(signalled(fds[1]), 0);
	assert_int_equal(set(2, TRIGGER | NONE, 0, 0, NULL), 0);
	assert_int_equal(vfio_user_irq_trigger(toy.srv, 2, 2), -ENOENT);
	assert_int_equal(toy.irq_changes, 5);
	for (unsigned i = 0; i < 4; i++)
		close(fds[i]);
}

static void test_irqs_refused(void **state)
{
	int fd = eventfd(0, EFD_CLOEXEC), other = toy.memfd, two[2];

	two[0] = two[1] = fd;
	assert_int_equal(set(1, TRIGGER | NONE, 0, 0, NULL), -EINVAL);
	assert_int_equal(set(3, TRIGGER | NONE, 0, 0, NULL), -EINVAL);
	assert_int_equal(set(2, TRIGGER | NONE, 16, 1, NULL), -EINVAL);
	assert_int_equal(set(2, TRIGGER | NONE, 1, UINT32_MAX, NULL), -EINVAL);
	assert_int_equal(set(2, TRIGGER | NONE | BOOL, 0, 1, &fd), -EINVAL);
	assert_int_equal(set(2, NONE, 0, 1, NULL), -EINVAL);
	assert_int_equal(set(2, TRIGGER, 0, 1, NULL), -EINVAL);
	assert_int_equal(set(2, 0x80 | TRIGGER | NONE, 0, 1, NULL), -EINVAL);
	assert_int_equal(set(2, VFIO_IRQ_SET_ACTION_MASK | NONE, 0, 1, NULL), -EINVAL);
	/* Descriptors that are no eventfds, or of another number. */
	assert_int_equal(set(2, TRIGGER | EVENTFD, 0, 1, &other), -EINVAL);
	assert_int_equal(set(2, TRIGGER | EVENTFD, 15, 2, two), -EINVAL);
	assert_int_equal(toy.irq_changes, 0);
	close(fd);
}

static void test_mask(void **state)
{
	const uint8_t no = 0, yes = 1;
	int fds[2] = {eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
		      eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};

	assert_int_equal(set(0, VFIO_IRQ_SET_ACTION_MASK | EVENTFD, 0, 1, fds), 0);
	assert_int_equal(set(0, VFIO_IRQ_SET_ACTION_UNMASK | EVENTFD, 0, 1, fds + 1), 0);
	assert_int_equal(set(0, VFIO_IRQ_SET_ACTION_MASK | NONE, 0, 1, NULL), 0);
	assert_int_equal(toy.masked, 1);
	assert_int_equal(signalled(fds[0]), 1);
	assert_int_equal(set(0, VFIO_IRQ_SET_ACTION_UNMASK | NONE, 0, 1, NULL), 0);
	assert_int_equal(toy.masked, 0);
	assert_int_equal(signalled(fds[1]), 1);
	/* Those that are true. */
	assert_int_equal(set(0, VFIO_IRQ_SET_ACTION_MASK | BOOL, 0, 1, &no), 0);
	assert_int_equal(toy.masked, 0);
	assert_int_equal(set(0, VFIO_IRQ_SET_ACTION_MASK | BOOL, 0, 1, &yes), 0);
	assert_int_equal(toy.masked, 1);
	assert_int_equal(signalled(fds[0]), 1);
	assert_int_equal(set(0, VFIO_IRQ_SET_ACTION_UNMASK | BOOL, 0, 1, &no), 0);
	assert_int_equal(toy.masked, 1);
	assert_int_equal(set(0, VFIO_IRQ_SET_ACTION_UNMASK | BOOL, 0, 1, &yes), 0);
	assert_int_equal(toy.masked, 0);
	assert_int_equal(signalled(fds[1]), 1);
	/* No descriptor takes away the one that was given. */
	assert_int_equal(set(0, VFIO_IRQ_SET_ACTION_MASK | EVENTFD, 0, 1, NULL), 0);
	assert_int_equal(set(0, VFIO_IRQ_SET_ACTION_UNMASK | EVENTFD, 0, 1, NULL), 0);
	assert_int_equal(set(0, VFIO_IRQ_SET_ACTION_MASK | NONE, 0, 1, NULL), 0);
	assert_int_equal(set(0, VFIO_IRQ_SET_ACTION_UNMASK | NONE, 0, 1, NULL), 0);
	assert_int_equal(signalled(fds[0]) + signalled(fds[1]), 0);
	close(fds[0]);
	close(fds[1]);
}

static void test_reset(void **state)
{
	uint8_t byte = 9;

	assert_int_equal(vfio_user_region_write(toy.client, 0, 0, &byte, 1), 0);
	assert_int_equal(vfio_user_reset(toy.client), 0);
	assert_int_equal(vfio_user_region_read(toy.client, 0, 0, &byte, 1), 0);
	assert_int_equal(byte, 0);
	assert_int_equal(toy.resets, 1);
}

/* One after the other; the device keeps its state, and loses the first one's eventfds. */
static void test_clients(void **state)
{
	unsigned fds = toy_open_fds();
	int fd = eventfd(0, EFD_CLOEXEC);
	uint8_t byte = 9;

	assert_int_equal(vfio_user_region_write(toy.client, 0, 0, &byte, 1), 0);
	assert_int_equal(set(2, TRIGGER | EVENTFD, 0, 1, &fd), 0);
	for (unsigned i = 0; i < 10; i++) {
		vfio_user_client_free(toy.client);
		toy_connect(&toy);
		assert_int_equal(vfio_user_irq_trigger(toy.srv, 2, 0), -ENOENT);
		assert_int_equal(vfio_user_region_read(toy.client, 0, 0, &byte, 1), 0);
		assert_int_equal(byte, 9);
	}
	assert_int_equal(toy.gone, 10);
	close(fd);
	assert_int_equal(toy_open_fds(), fds);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TOY_TEST(test_info), TOY_TEST(test_mapped_region), TOY_TEST(test_access),
		TOY_TEST(test_irqs), TOY_TEST(test_irqs_refused),  TOY_TEST(test_ioeventfds),
		TOY_TEST(test_mask), TOY_TEST(test_reset),	   TOY_TEST(test_clients),
	};

	return cmocka_run_group_tests_name("vfio-user device", tests, NULL, NULL);
}
