// SPDX-License-Identifier: BSD-3-Clause
/* The client's memory, mapped and by message, used on the server's loop and on another. */
#include "toy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <uvdpa/vhost_iotlb.h>

#define SIZE (4u << 20)

static int copy(uint64_t reg, uint64_t from, uint64_t to, uint64_t len)
{
	uint64_t words[3] = {from, to, len};

	return vfio_user_region_write(toy.client, 0, reg, words, sizeof(words));
}

static void fill(uint8_t *mem, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++) {
		seed = seed * 1103515245 + 12345;
		mem[i] = (uint8_t)(seed >> 16);
	}
}

/* Both ways, larger than one message may be, from an odd place. */
static void exercise(uint8_t *mem, uint64_t iova)
{
	const uint64_t regs[] = {TOY_COPY_HERE, TOY_COPY_THERE};

	for (unsigned i = 0; i < 2; i++) {
		fill(mem, SIZE, i);
		assert_int_equal(copy(regs[i], iova + 1, iova + SIZE / 2 + 3, 3 * SIZE / 8), 0);
		assert_memory_equal(mem + 1, mem + SIZE / 2 + 3, 3 * SIZE / 8);
		assert_int_equal(copy(regs[i], iova + SIZE - 4, iova, 8), -EFAULT);
		assert_int_equal(copy(regs[i], iova - 1, iova, 1), -EFAULT);
	}
}

static void test_mapped(void **state)
{
	struct vfio_user_mem mem = {.iova = 0x100000, .size = SIZE, .perm = VHOST_MAP_RW};
	void *at;

	mem.fd = toy_memfd(SIZE, &at);
	assert_int_equal(vfio_user_dma_map(toy.client, &mem), 0);
	exercise(at, 0x100000);
	assert_int_equal(vfio_user_dma_unmap(toy.client, 0x100000, SIZE), 0);
	assert_int_equal(copy(TOY_COPY_HERE, 0x100000, 0x100008, 8), -EFAULT);
	munmap(at, SIZE);
	close(mem.fd);
}

static void test_by_message(void **state)
{
	uint8_t *at = malloc(SIZE);
	struct vfio_user_mem mem = {
		.iova = 0x100000, .size = SIZE, .perm = VHOST_MAP_RW, .fd = -1, .mem = at};

	assert_int_equal(vfio_user_dma_map(toy.client, &mem), 0);
	exercise(at, 0x100000);
	assert_int_equal(vfio_user_dma_unmap(toy.client, 0x100000, SIZE), 0);
	assert_int_equal(copy(TOY_COPY_THERE, 0x100000, 0x100008, 8), -EFAULT);
	free(at);
}

/* Requests of both sides cross: posted writes on their way while the device asks for memory. */
static void test_crossing(void **state)
{
	uint8_t *at = malloc(SIZE);
	struct vfio_user_mem mem = {
		.iova = 0, .size = SIZE, .perm = VHOST_MAP_RW, .fd = -1, .mem = at};
	uint64_t words[3] = {0, SIZE / 2, 4096};
	uint32_t one = 1;
	uint8_t byte;

	assert_int_equal(vfio_user_dma_map(toy.client, &mem), 0);
	fill(at, SIZE, 3);
	for (unsigned i = 0; i < 200; i++) {
		uint64_t reg = i & 1 ? TOY_COPY_THERE : TOY_COPY_HERE;

		words[0] = i * 4096ull;
		words[1] = SIZE / 2 + i * 4096ull;
		assert_int_equal(vfio_user_region_post(toy.client, 0, reg, words, sizeof(words)),
				 0);
		for (unsigned n = 0; n < 20; n++)
			assert_int_equal(vfio_user_region_post(toy.client, 0, TOY_COUNT, &one, 4),
					 0);
	}
	assert_int_equal(vfio_user_region_read(toy.client, 0, 0, &byte, 1), 0);
	assert_int_equal(toy.count, 4000);
	assert_memory_equal(at, at + SIZE / 2, 200 * 4096);
	free(at);
}

static void test_refused(void **state)
{
	struct vfio_user_mem mem = {.iova = 0x10000, .size = 0x10000, .perm = VHOST_MAP_RO};
	void *at;

	mem.fd = toy_memfd(0x10000, &at);
	assert_int_equal(vfio_user_dma_map(toy.client, &mem), 0);
	/* It may be read only. */
	assert_int_equal(copy(TOY_COPY_HERE, 0x10000, 0x10010, 8), -EFAULT);
	assert_int_equal(vfio_user_dma_map(toy.client, &mem), -EEXIST);
	mem.iova = 0x1ffff;
	assert_int_equal(vfio_user_dma_map(toy.client, &mem), -EEXIST);
	mem.iova = 0x20000;
	mem.size = 0x10001; /* longer than its file */
	assert_int_equal(vfio_user_dma_map(toy.client, &mem), -EINVAL);
	mem.size = 0;
	assert_int_equal(vfio_user_dma_map(toy.client, &mem), -EINVAL);
	mem.iova = UINT64_MAX - 0xfff;
	mem.size = 0x1001;
	assert_int_equal(vfio_user_dma_map(toy.client, &mem), -EINVAL);
	mem.iova = 0x20000;
	mem.size = 0x10000;
	mem.perm = 0;
	assert_int_equal(vfio_user_dma_map(toy.client, &mem), -EINVAL);
	mem.perm = VHOST_MAP_RW;
	toy.refuse = true;
	assert_int_equal(vfio_user_dma_map(toy.client, &mem), -EIO);
	toy.refuse = false;
	/* What the device refused is not there. */
	assert_int_equal(vfio_user_dma_unmap(toy.client, 0x20000, 0x10000), -ENOENT);
	assert_int_equal(vfio_user_dma_map(toy.client, &mem), 0);
	/* A file of nothing but holes; what is refused, and what is gone, takes no room. */
	mem.iova = 1ull << 50;
	mem.size = VDPA_PEER_BYTES_MAX - 0x20000 + 0x1000;
	assert_int_equal(ftruncate(mem.fd, (off_t)(VDPA_PEER_BYTES_MAX + 0x10000)), 0);
	assert_int_equal(vfio_user_dma_map(toy.client, &mem), -ENOSPC);
	assert_int_equal(vfio_user_dma_map(toy.client, &mem), -ENOSPC);
	mem.size = 0x1000;
	assert_int_equal(vfio_user_dma_map(toy.client, &mem), 0);
	assert_int_equal(vfio_user_dma_unmap(toy.client, mem.iova, 0x1000), 0);
	/* Exactly what was mapped. */
	assert_int_equal(vfio_user_dma_unmap(toy.client, 0x10000, 0x8000), -ENOENT);
	assert_int_equal(vfio_user_dma_unmap(toy.client, 0x10000, 0x20000), -ENOENT);
	assert_int_equal(vfio_user_dma_unmap(toy.client, 0x10000, 0x10000), 0);
	assert_int_equal(toy.maps, 1);
	munmap(at, 0x10000);
	close(mem.fd);
}

/* A client that goes away with memory that is in use: what is asked of it ends. */
static void test_gone(void **state)
{
	uint8_t *at = malloc(SIZE);
	struct vfio_user_mem mem = {
		.iova = 0, .size = SIZE, .perm = VHOST_MAP_RW, .fd = -1, .mem = at};
	uint64_t words[3] = {0, SIZE / 2, SIZE / 4};

	for (unsigned i = 0; i < 10; i++) {
		uint64_t reg = i & 1 ? TOY_COPY_THERE : TOY_COPY_HERE;

		assert_int_equal(vfio_user_dma_map(toy.client, &mem), 0);
		assert_int_equal(vfio_user_region_post(toy.client, 0, reg, words, sizeof(words)),
				 0);
		vfio_user_client_free(toy.client);
		toy_connect(&toy);
		assert_int_equal(toy.maps, 0);
	}
	free(at);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TOY_TEST(test_mapped),	TOY_TEST(test_by_message), TOY_TEST(test_crossing),
		TOY_TEST(test_refused), TOY_TEST(test_gone),
	};

	return cmocka_run_group_tests_name("vfio-user dma", tests, NULL, NULL);
}
