// SPDX-License-Identifier: BSD-3-Clause
/* uvdpa vfu: accesses, reset, and memory that is lent to the device. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/vfio.h>
#include <uvdpa/vhost_iotlb.h>
#include "base/fd.h"
#include "vfu.h"

#define MEMORY_MAX (1ull << 30)

static bool is_word(uint64_t size)
{
	return size == 1 || size == 2 || size == 4 || size == 8;
}

/* ---- data ---- */

static void print_data(const json_t *value)
{
	const char *number = json_string_value(json_object_get(value, "value"));

	if (number)
		puts(number);
	else
		cli_vfu_print_bytes(json_string_value(json_object_get(value, "data")));
}

/* Little-endian, as PCI is. */
static json_t *data_json(const uint8_t *data, size_t len)
{
	json_t *value = json_pack("{s:o}", "data", cli_vfu_hex(data, len));
	uint64_t number = 0;

	if (!is_word(len))
		return value;
	for (size_t i = len; i--;)
		number = number << 8 | data[i];
	json_object_set_new(value, "value",
			    json_sprintf("0x%0*llx", (int)(2 * len), (unsigned long long)number));
	return value;
}

/* SIZE and VALUE: the bytes. */
static int value_args(const struct cli *cli, const char *size, const char *value, uint8_t data[8],
		      uint64_t *len)
{
	uint64_t number;

	if (cli_number(size, 8, len) || !is_word(*len))
		return cli_usage(cli, "size \"%s\": 1, 2, 4 or 8 is allowed", size);
	if (cli_number(value, UINT64_MAX >> (64 - 8 * *len), &number))
		return cli_usage(cli, "value \"%s\": a number of %s bytes is allowed", value, size);
	for (unsigned i = 0; i < *len; i++)
		data[i] = (uint8_t)(number >> 8 * i);
	return EXIT_OK;
}

static int size_arg(const struct cli *cli, const char *word, uint64_t max, uint64_t *size)
{
	return cli_number(word, max, size) || !*size
		       ? cli_usage(cli, "size \"%s\": 1 to %llu is allowed", word,
				   (unsigned long long)max)
		       : EXIT_OK;
}

/* ---- regions ---- */

/* Why an access was refused is mostly seen from the region. */
static int access_failed(struct cli *cli, unsigned region, int err)
{
	struct vfio_user_region_info info;

	cli_vfu_failed(cli, err);
	if (err == -ETIMEDOUT || err == -EPROTO || err == -EIO)
		return EXIT_FAILED;
	if (region >= cli->vfu->info.nregions) {
		fprintf(stderr, "  there are %u regions\n", cli->vfu->info.nregions);
	} else if (!vfio_user_get_region(cli->vfu->client, region, &info)) {
		vdpa_fd_close(&info.fd);
		fprintf(stderr,
			"  the region has 0x%llx bytes, and can%s be read and can%s be written\n",
			(unsigned long long)info.size,
			info.flags & VFIO_REGION_INFO_FLAG_READ ? "" : "not",
			info.flags & VFIO_REGION_INFO_FLAG_WRITE ? "" : "not");
	}
	return EXIT_FAILED;
}

int cmd_vfu_region_read(struct cli *cli, int argc, char **argv)
{
	uint64_t offset, size;
	unsigned region;
	uint8_t *data;
	int ret = cli_args(cli, argc, 3, 3), err;

	if (ret < 0)
		ret = cli_vfu_region_arg(cli, argv[0], &region);
	if (!ret)
		ret = cli_vfu_number_arg(cli, "offset", argv[1], &offset);
	if (!ret)
		ret = size_arg(cli, argv[2], VFU_ACCESS_MAX, &size);
	if (!ret)
		ret = cli_vfu_open(cli);
	if (ret)
		return ret;
	data = calloc(1, size);
	if (!data)
		return cli_vfu_failed(cli, -ENOMEM);
	err = vfio_user_region_read(cli->vfu->client, region, offset, data, size);
	ret = err ? access_failed(cli, region, err)
		  : cli_vfu_answer(cli, data_json(data, size), print_data);
	free(data);
	return ret;
}

int cmd_vfu_region_write(struct cli *cli, int argc, char **argv)
{
	uint64_t offset, size;
	unsigned region;
	uint8_t data[8];
	int ret = cli_args(cli, argc, 4, 4), err;

	if (ret < 0)
		ret = cli_vfu_region_arg(cli, argv[0], &region);
	if (!ret)
		ret = cli_vfu_number_arg(cli, "offset", argv[1], &offset);
	if (!ret)
		ret = value_args(cli, argv[2], argv[3], data, &size);
	if (!ret)
		ret = cli_vfu_open(cli);
	if (ret)
		return ret;
	err = vfio_user_region_write(cli->vfu->client, region, offset, data, size);
	return err ? access_failed(cli, region, err) : cli_vfu_answer(cli, NULL, NULL);
}

int cmd_vfu_reset(struct cli *cli, int argc, char **argv)
{
	int ret = cli_vfu_begin(cli, argc), err;

	(void)argv;
	if (ret)
		return ret;
	err = vfio_user_reset(cli->vfu->client);
	return err ? cli_vfu_failed(cli, err) : cli_vfu_answer(cli, NULL, NULL);
}

int cmd_vfu_sleep(struct cli *cli, int argc, char **argv)
{
	uint64_t ms;
	int ret = cli_args(cli, argc, 1, 1);

	if (ret >= 0)
		return ret;
	if (cli_number(argv[0], 10000, &ms))
		return cli_usage(cli, "\"%s\": up to 10000 milliseconds are allowed", argv[0]);
	usleep((useconds_t)ms * 1000);
	return cli_vfu_answer(cli, NULL, NULL);
}

/* ---- memory ---- */

struct vfu_memory {
	struct vfu_memory *next;
	struct vfio_user_mem mem;
};

static void free_memory(struct vfu_memory *m)
{
	if (m->mem.mem)
		munmap(m->mem.mem, m->mem.size);
	vdpa_fd_close(&m->mem.fd);
	free(m);
}

void cli_vfu_drop_memory(struct vfu *v)
{
	struct vfu_memory *m;

	while ((m = v->mems)) {
		v->mems = m->next;
		free_memory(m);
	}
}

static struct vfu_memory *new_memory(uint64_t iova, uint64_t size)
{
	struct vfu_memory *m = calloc(1, sizeof(*m));
	void *at = MAP_FAILED;

	if (!m)
		return NULL;
	m->mem = (struct vfio_user_mem){.iova = iova,
					.size = size,
					.perm = VHOST_MAP_RW,
					.fd = memfd_create("uvdpa-vfu", MFD_CLOEXEC)};
	if (m->mem.fd >= 0 && !ftruncate(m->mem.fd, (off_t)size))
		at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, m->mem.fd, 0);
	if (at == MAP_FAILED) {
		free_memory(m);
		return NULL;
	}
	m->mem.mem = at;
	return m;
}

static int range_args(struct cli *cli, char **argv, uint64_t max, uint64_t *iova, uint64_t *size)
{
	int ret = cli_vfu_number_arg(cli, "IOVA", argv[0], iova);

	if (!ret)
		ret = size_arg(cli, argv[1], max, size);
	return ret ? ret : cli_vfu_open(cli);
}

int cmd_vfu_dma_map(struct cli *cli, int argc, char **argv)
{
	struct vfu_memory *m;
	uint64_t iova, size;
	int ret = cli_args(cli, argc, 2, 2), err;

	if (ret < 0)
		ret = range_args(cli, argv, MEMORY_MAX, &iova, &size);
	if (ret)
		return ret;
	m = new_memory(iova, size);
	if (!m)
		return cli_vfu_failed(cli, -ENOMEM);
	err = vfio_user_dma_map(cli->vfu->client, &m->mem);
	if (err) {
		free_memory(m);
		return cli_vfu_failed(cli, err);
	}
	m->next = cli->vfu->mems;
	cli->vfu->mems = m;
	return cli_vfu_answer(cli, NULL, NULL);
}

int cmd_vfu_dma_unmap(struct cli *cli, int argc, char **argv)
{
	struct vfu_memory **at = &cli->vfu->mems, *m;
	uint64_t iova, size;
	int ret = cli_args(cli, argc, 2, 2), err;

	if (ret < 0)
		ret = range_args(cli, argv, UINT64_MAX, &iova, &size);
	if (ret)
		return ret;
	err = vfio_user_dma_unmap(cli->vfu->client, iova, size);
	if (err)
		return cli_vfu_failed(cli, err);
	while (*at && (*at)->mem.iova != iova)
		at = &(*at)->next;
	m = *at;
	if (m) {
		*at = m->next;
		free_memory(m);
	}
	return cli_vfu_answer(cli, NULL, NULL);
}

/* NULL after a message. */
static uint8_t *memory_at(const struct cli *cli, uint64_t iova, uint64_t size)
{
	for (const struct vfu_memory *m = cli->vfu->mems; m; m = m->next) {
		uint64_t off = iova - m->mem.iova;

		if (iova >= m->mem.iova && off < m->mem.size && size <= m->mem.size - off)
			return (uint8_t *)m->mem.mem + off;
	}
	fprintf(stderr, "uvdpa: 0x%llx, %llu bytes: no \"dma map\" of this line has them all\n",
		(unsigned long long)iova, (unsigned long long)size);
	return NULL;
}

int cmd_vfu_dma_read(struct cli *cli, int argc, char **argv)
{
	uint64_t iova, size;
	const uint8_t *data;
	int ret = cli_args(cli, argc, 2, 2);

	if (ret < 0)
		ret = range_args(cli, argv, VFU_ACCESS_MAX, &iova, &size);
	if (ret)
		return ret;
	data = memory_at(cli, iova, size);
	return data ? cli_vfu_answer(cli, data_json(data, size), print_data) : EXIT_FAILED;
}

int cmd_vfu_dma_write(struct cli *cli, int argc, char **argv)
{
	uint64_t iova, size;
	uint8_t data[8], *to;
	int ret = cli_args(cli, argc, 3, 3);

	if (ret < 0)
		ret = cli_vfu_number_arg(cli, "IOVA", argv[0], &iova);
	if (!ret)
		ret = value_args(cli, argv[1], argv[2], data, &size);
	if (ret)
		return ret;
	to = memory_at(cli, iova, size);
	if (!to)
		return EXIT_FAILED;
	memcpy(to, data, size);
	return cli_vfu_answer(cli, NULL, NULL);
}
