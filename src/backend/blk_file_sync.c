// SPDX-License-Identifier: BSD-3-Clause
/* A step without a ring: the system call that the submission stands for (blk_file.h has the
 * theory). */
#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>
#include "backend/blk_file.h"

int blk_file_sync(const struct io_uring_sqe *sqe)
{
	void *addr = (void *)(uintptr_t)sqe->addr;
	struct iovec one = {addr, sqe->len};
	off_t off = (off_t)sqe->off;
	ssize_t r = -1;

	switch (sqe->opcode) {
	case IORING_OP_READ:
		r = pread(sqe->fd, addr, sqe->len, off);
		break;
	case IORING_OP_READV:
		r = preadv(sqe->fd, addr, (int)sqe->len, off);
		break;
	case IORING_OP_WRITE:
		r = sqe->rw_flags ? pwritev2(sqe->fd, &one, 1, off, sqe->rw_flags)
				  : pwrite(sqe->fd, addr, sqe->len, off);
		break;
	case IORING_OP_WRITEV:
		r = pwritev2(sqe->fd, addr, (int)sqe->len, off, sqe->rw_flags);
		break;
	case IORING_OP_FALLOCATE:
		/* The ring has the length where data have their address. */
		r = fallocate(sqe->fd, (int)sqe->len, off, (off_t)sqe->addr);
		break;
	case IORING_OP_FSYNC:
		r = fdatasync(sqe->fd);
		break;
	default:
		return -EOPNOTSUPP;
	}
	return r < 0 ? -errno : (int)r;
}
