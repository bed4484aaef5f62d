/* SPDX-License-Identifier: BSD-3-Clause */
/* What a service owes whoever started it: sockets taken over, and word when it is ready. */
#ifndef CTL_SERVICE_H
#define CTL_SERVICE_H

#include <uvdpa/types.h>

/**
 * Number of descriptors passed by the socket-activation convention (LISTEN_FDS, LISTEN_PID; the
 * first is 3), 0 when there are none for this process. Clears the variables and marks them
 * close-on-exec.
 */
int ctl_listen_fds(void);
#define CTL_LISTEN_FDS_START 3

/** Send @state ("READY=1") to $NOTIFY_SOCKET. 0 (also when there is none) or -errno. */
int ctl_notify(const char *state);

/** Write a newline to @fd and close it, so that a reader sees either. */
void ctl_ready_fd(int fd);

/** Is @fd a stream socket of the UNIX kind? 0 or -EINVAL with @err; *@listening. */
int ctl_check_socket(int fd, bool *listening, struct vdpa_error *err);

/** Decimal number of a descriptor that is open: number, or -EINVAL with @err. */
int ctl_parse_fd(const char *text, const char *option, struct vdpa_error *err);

#endif
