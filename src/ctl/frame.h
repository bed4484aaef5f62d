/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bytes of a stream, cut into lines, and lines on their way out. Both are bounded: the other end
 * may be anybody who can open the socket, and may send without end or never read.
 */
#ifndef CTL_FRAME_H
#define CTL_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct ctl_in {
	char *buf;
	size_t cap, start, used; /* [start, used) is there */
	size_t scanned;		 /* no newline in [start, scanned) */
	size_t max;		 /* longest line */
};

void ctl_in_init(struct ctl_in *in, size_t max);
void ctl_in_fini(struct ctl_in *in);
/** Append @len bytes. 0; -EMSGSIZE when an unfinished line is longer than allowed; -ENOMEM. */
int ctl_in_put(struct ctl_in *in, const void *data, size_t len);
/** One read() of @fd: bytes, 0 at the end of the stream, or -errno (as above, and read's). */
ssize_t ctl_in_read(struct ctl_in *in, int fd);
/** The next whole line, NUL-terminated, without newline; valid until the next call on @in. */
bool ctl_in_line(struct ctl_in *in, char **line, size_t *len);

struct ctl_out {
	char *buf;
	size_t cap, start, used;
	size_t max; /* most bytes that wait */
};

void ctl_out_init(struct ctl_out *out, size_t max);
void ctl_out_fini(struct ctl_out *out);
/** Append a line (the newline is added). 0, -ENOBUFS (the reader does not keep up), -ENOMEM:
 * nothing added. */
int ctl_out_line(struct ctl_out *out, const char *line, size_t len);
/** Write what fits: 0 when nothing is left, -EAGAIN when something is, or -errno. */
int ctl_out_write(struct ctl_out *out, int fd);
static inline size_t ctl_out_waiting(const struct ctl_out *out)
{
	return out->used - out->start;
}

#endif
