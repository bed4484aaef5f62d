// SPDX-License-Identifier: BSD-3-Clause
/* Copies between scattered guest memory and one buffer. */
#include <string.h>
#include "backend/backends.h"

enum iov_way { IOV_TO_BUF, IOV_FROM_BUF, IOV_ZERO };

static void iov_step(enum iov_way way, void *piece, void *to, const void *from, size_t n)
{
	if (way == IOV_TO_BUF)
		memcpy(to, piece, n);
	else if (way == IOV_FROM_BUF)
		memcpy(piece, from, n);
	else
		memset(piece, 0, n);
}

struct iov_range {
	const struct iovec *iov;
	unsigned niov;
	size_t skip, len;
};

static size_t iov_walk(enum iov_way way, const struct iov_range *range, char *to, const char *from)
{
	size_t skip = range->skip, done = 0;

	for (unsigned i = 0; i < range->niov && done < range->len; i++) {
		size_t n = range->iov[i].iov_len;

		if (skip >= n) {
			skip -= n;
			continue;
		}
		n -= skip;
		if (n > range->len - done)
			n = range->len - done;
		iov_step(way, (char *)range->iov[i].iov_base + skip, to ? to + done : NULL,
			 from ? from + done : NULL, n);
		skip = 0;
		done += n;
	}
	return done;
}

size_t blk_iov_to_buf(const struct iovec *iov, unsigned niov, size_t skip, void *buf, size_t len)
{
	return iov_walk(IOV_TO_BUF, &(struct iov_range){iov, niov, skip, len}, buf, NULL);
}

size_t blk_iov_from_buf(const struct iovec *iov, unsigned niov, size_t skip, const void *buf,
			size_t len)
{
	return iov_walk(IOV_FROM_BUF, &(struct iov_range){iov, niov, skip, len}, NULL, buf);
}

void blk_iov_zero(const struct iovec *iov, unsigned niov, size_t skip, size_t len)
{
	iov_walk(IOV_ZERO, &(struct iov_range){iov, niov, skip, len}, NULL, NULL);
}
