/* SPDX-License-Identifier: BSD-3-Clause */
/* A disk backend with one queue on a control loop of its own. */
#ifndef TESTS_BACKEND_BLK_BACKEND_H
#define TESTS_BACKEND_BLK_BACKEND_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <uvdpa/backend.h>
#include "../open_fds.h"

struct disk {
	struct vdpa_loop_group *loops;
	struct vdpa_loop *loop;
	struct blk_backend *be;
	struct blk_backend_info info;
	struct blk_queue *q;
	unsigned log_lines;
};

struct disk_io {
	struct blk_request req;
	struct iovec one;
	bool done;
	int result;
};

int disk_try_open(struct disk *d, const char *backend, const struct vdpa_attr *attrs,
		  struct vdpa_error *err);
void disk_open(struct disk *d, const char *backend, const struct vdpa_attr *attrs);
void disk_close(struct disk *d);
/* Fill in, submit; wait. */
void disk_prep(struct disk_io *io, enum blk_op op, uint64_t offset, void *buf, uint64_t len);
void disk_submit(struct disk *d, struct disk_io *io);
int disk_wait(struct disk *d, struct disk_io *io);
int disk_do(struct disk *d, enum blk_op op, uint64_t offset, void *buf, uint64_t len);
int disk_do_flags(struct disk *d, enum blk_op op, uint32_t flags, uint64_t offset, uint64_t len);
int disk_do_iov(struct disk *d, enum blk_op op, uint64_t offset, const struct iovec *iov,
		unsigned n);
/* A file of @bytes in @dir; its path is *@path (free it); open fd. */
int disk_file(const char *dir, uint64_t bytes, char **path);
void disk_pattern(void *buf, size_t len, unsigned seed);
bool disk_is_zero(const void *buf, size_t len);

#endif
