// SPDX-License-Identifier: BSD-3-Clause
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "ctl/frame.h"

#define CHUNK_BYTES 4096u

void ctl_in_init(struct ctl_in *in, size_t max)
{
	*in = (struct ctl_in){.max = max};
}

void ctl_in_fini(struct ctl_in *in)
{
	free(in->buf);
	ctl_in_init(in, in->max);
}

/* Make room for @len more bytes and a NUL: first by moving, then by growing. */
static int make_room(char **buf, size_t *cap, size_t *start, size_t *used, size_t len)
{
	size_t have = *used - *start, want;
	char *grown;

	if (*start) {
		memmove(*buf, *buf + *start, have);
		*start = 0;
		*used = have;
	}
	want = have + len + 1;
	if (want <= *cap)
		return 0;
	if (want < *cap * 2)
		want = *cap * 2;
	grown = realloc(*buf, want);
	if (!grown)
		return -ENOMEM;
	*buf = grown;
	*cap = want;
	return 0;
}

static int in_room(struct ctl_in *in, size_t len)
{
	size_t start = in->start;
	int ret;

	if (in->cap - in->used > len)
		return 0;
	ret = make_room(&in->buf, &in->cap, &in->start, &in->used, len);
	in->scanned -= start - in->start;
	return ret;
}

/* Look for the end of the first line, each byte once. */
static char *in_newline(struct ctl_in *in)
{
	char *nl = NULL;

	if (in->scanned < in->used)
		nl = memchr(in->buf + in->scanned, '\n', in->used - in->scanned);
	in->scanned = nl ? (size_t)(nl - in->buf) : in->used;
	return nl;
}

static int in_check(struct ctl_in *in)
{
	in_newline(in);
	return in->scanned - in->start > in->max ? -EMSGSIZE : 0;
}

int ctl_in_put(struct ctl_in *in, const void *data, size_t len)
{
	int ret = in_room(in, len);

	if (ret)
		return ret;
	memcpy(in->buf + in->used, data, len);
	in->used += len;
	return in_check(in);
}

ssize_t ctl_in_read(struct ctl_in *in, int fd)
{
	ssize_t n;
	int ret = in_room(in, CHUNK_BYTES);

	if (ret)
		return ret;
	do {
		n = read(fd, in->buf + in->used, in->cap - in->used - 1);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	in->used += (size_t)n;
	ret = in_check(in);
	return ret ? ret : n;
}

bool ctl_in_line(struct ctl_in *in, char **line, size_t *len)
{
	char *nl = in_newline(in);

	if (!nl) {
		/* A client that once sent a long line does not keep its memory for ever. */
		if (in->start == in->used && in->cap > 4 * CHUNK_BYTES)
			ctl_in_fini(in);
		return false;
	}
	*nl = '\0';
	*line = in->buf + in->start;
	*len = (size_t)(nl - *line);
	in->start = in->scanned = in->start + *len + 1;
	return true;
}

void ctl_out_init(struct ctl_out *out, size_t max)
{
	*out = (struct ctl_out){.max = max};
}

void ctl_out_fini(struct ctl_out *out)
{
	free(out->buf);
	ctl_out_init(out, out->max);
}

int ctl_out_line(struct ctl_out *out, const char *line, size_t len)
{
	size_t waiting = ctl_out_waiting(out);

	if (waiting > out->max || len >= out->max - waiting)
		return -ENOBUFS;
	if (out->cap - out->used <= len + 1 &&
	    make_room(&out->buf, &out->cap, &out->start, &out->used, len + 1))
		return -ENOMEM;
	memcpy(out->buf + out->used, line, len);
	out->buf[out->used + len] = '\n';
	out->used += len + 1;
	return 0;
}

int ctl_out_write(struct ctl_out *out, int fd)
{
	while (out->start < out->used) {
		ssize_t n = send(fd, out->buf + out->start, out->used - out->start,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		out->start += (size_t)n;
	}
	out->start = out->used = 0;
	if (out->cap > 4 * CHUNK_BYTES)
		ctl_out_fini(out);
	return 0;
}
