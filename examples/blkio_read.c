// SPDX-License-Identifier: BSD-3-Clause
/*
 * Reads a vhost-user disk with libblkio, a client that is not ours, and writes it to stdout:
 *
 *	blkio_read SOCKET BYTES >FILE
 */
#include <blkio.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES (1ull << 20)

static int fail(const char *what)
{
	fprintf(stderr, "blkio_read: %s: %s\n", what, blkio_get_error_msg());
	return 1;
}

/* One read at a time, to @bytes. */
static int copy_out(struct blkioq *q, char *buf, unsigned long long bytes)
{
	struct blkio_completion done;

	for (unsigned long long at = 0; at < bytes; at += CHUNK_BYTES) {
		size_t len = bytes - at < CHUNK_BYTES ? bytes - at : CHUNK_BYTES;

		blkioq_read(q, at, buf, len, NULL, 0);
		if (blkioq_do_io(q, &done, 1, 1, NULL) != 1)
			return fail("do_io");
		if (done.ret) {
			fprintf(stderr, "blkio_read: at %llu: %s\n", at, strerror(-done.ret));
			return 1;
		}
		if (fwrite(buf, 1, len, stdout) != len) {
			perror("blkio_read: stdout");
			return 1;
		}
	}
	return fflush(stdout) ? 1 : 0;
}

int main(int argc, char **argv)
{
	struct blkio_mem_region mem;
	struct blkio *b;
	int ret;

	if (argc != 3) {
		fprintf(stderr, "usage: blkio_read SOCKET BYTES\n");
		return 2;
	}
	if (blkio_create("virtio-blk-vhost-user", &b))
		return fail("create");
	if (blkio_set_str(b, "path", argv[1]) || blkio_connect(b))
		return fail("connect");
	if (blkio_start(b))
		return fail("start");
	if (blkio_alloc_mem_region(b, &mem, CHUNK_BYTES) || blkio_map_mem_region(b, &mem))
		return fail("memory");
	ret = copy_out(blkio_get_queue(b, 0), mem.addr, strtoull(argv[2], NULL, 0));
	blkio_destroy(&b);
	return ret;
}
