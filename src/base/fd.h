/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * File descriptors: every one has an owner, is close-on-exec from birth, and is closed once.
 * Descriptors that a peer sends are accounted for exactly: those that fit the caller's table are
 * the caller's, all others are closed here.
 */
#ifndef BASE_FD_H
#define BASE_FD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/** Most descriptors that Linux lets through in one message (SCM_MAX_FD). */
#define VDPA_FDS_LIMIT 253
/** Most that any message of our protocols carries; vhost-user: 8. */
#define VDPA_FDS_MAX 16

/** Descriptors that came with, or go with, one message. */
struct vdpa_fds {
	int fd[VDPA_FDS_MAX];
	unsigned n;
	unsigned surplus; /**< received beyond the table; closed already */
	bool truncated;	  /**< the kernel dropped some (no free descriptor numbers) */
};

/** Close *@fd unless negative, and forget it. errno is kept. */
void vdpa_fd_close(int *fd);
/** Hand *@fd over: returns it, and the variable forgets it. */
int vdpa_fd_take(int *fd);
/** Close what is left in @fds. */
void vdpa_fds_close(struct vdpa_fds *fds);
/** Take number @i out of @fds: the caller owns it then. -1 when there is none. */
int vdpa_fds_take(struct vdpa_fds *fds, unsigned i);

/** Duplicate, close-on-exec. fd or -errno. */
int vdpa_fd_dup(int fd);
/** 0 or -errno. */
int vdpa_fd_set_nonblock(int fd, bool on);
int vdpa_fd_set_cloexec(int fd, bool on);

/** Non-blocking, close-on-exec eventfd with counter 0. fd or -errno. */
int vdpa_eventfd_new(void);
/** Add 1. Async-signal-safe. 0 or -errno; a counter at its end is 0 too: the reader will wake. */
int vdpa_eventfd_signal(int fd);
/** The same for one that a peer shares, which may have taken O_NONBLOCK off; see there. */
int vdpa_eventfd_signal_shared(int fd);
/** Do both stand for one file (or device)? False too when that cannot be found out. */
bool vdpa_fd_same_file(int a, int b);
/** Is @fd an eventfd? 1, 0, or -errno when that cannot be found out. */
int vdpa_fd_is_eventfd(int fd);
/** Read the counter; 0 when it was 0, the count, or -errno. Does not wait, whatever the fd's flags.
 */
int64_t vdpa_eventfd_drain(int fd);

/**
 * One recvmsg() of at most @len bytes. Returns bytes (0: end of stream) or -errno. @fds is always
 * filled: also when an error is returned nothing is left open that it does not name.
 */
ssize_t vdpa_sock_recv(int sock, void *buf, size_t len, struct vdpa_fds *fds, int flags);
/**
 * One sendmsg() of @iov with @nfds descriptors (which stay the caller's), without SIGPIPE and
 * without waiting, whatever the socket's flags: a peer may share those. Returns bytes (maybe fewer
 * than given: the descriptors went with the first) or -errno; -EINVAL for too many.
 */
ssize_t vdpa_sock_send(int sock, const struct iovec *iov, unsigned niov, const int *fds,
		       unsigned nfds);

#endif
